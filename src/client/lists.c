/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists that reads give, and the arena their bytes stand in. An arena is a chain of chunks,
 * each at least twice the one before, so a list of any size costs a handful of allocations and its
 * pointers stay good while it grows.
 */
#include <stdlib.h>

#include "client/handle.h"

#define ARENA_FIRST 512
#define ARENA_MOST  1048576 /* chunks grow up to here, then only as one run of bytes needs */

struct arena_chunk {
    struct arena_chunk *next; /* the older ones */
    size_t capacity;
    size_t used;
    uint8_t data[];
};

static uint8_t *arena_take(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = arena->chunk;
    if (chunk == NULL || chunk->capacity - chunk->used < size) {
        size_t capacity = chunk == NULL ? ARENA_FIRST : 2 * chunk->capacity;
        if (capacity > ARENA_MOST) {
            capacity = ARENA_MOST;
        }
        if (capacity < size) {
            capacity = size;
        }
        struct arena_chunk *larger = malloc(sizeof *larger + capacity);
        if (larger == NULL) {
            return NULL;
        }
        *larger = (struct arena_chunk){.next = chunk, .capacity = capacity};
        arena->chunk = larger;
        chunk = larger;
    }
    uint8_t *place = chunk->data + chunk->used;
    chunk->used += size;
    arena->used += size;
    return place;
}

int arena_copy(struct arena *arena, ls_bytes bytes, ls_bytes *copy)
{
    if (bytes.size == SIZE_MAX) {
        return LS_ENOMEM;
    }
    uint8_t *place = arena_take(arena, bytes.size + 1);
    if (place == NULL) {
        return LS_ENOMEM;
    }
    if (bytes.size != 0) {
        memcpy(place, bytes.data, bytes.size);
    }
    place[bytes.size] = '\0';
    *copy = bytes_of(place, bytes.size);
    return 0;
}

void arena_clear(struct arena *arena)
{
    struct arena_chunk *largest = NULL;
    for (struct arena_chunk *chunk = arena->chunk, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (largest == NULL || chunk->capacity > largest->capacity) {
            free(largest);
            largest = chunk;
        } else {
            free(chunk);
        }
    }
    if (largest != NULL) {
        largest->next = NULL;
        largest->used = 0;
    }
    *arena = (struct arena){.chunk = largest};
}

void arena_free(struct arena *arena)
{
    arena_clear(arena);
    free(arena->chunk);
    *arena = (struct arena){0};
}

void *array_grow(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity) {
        return items;
    }
    size_t larger = *capacity == 0 ? 4 : 2 * *capacity;
    void *moved = realloc(items, larger * item_size);
    if (moved != NULL) {
        *capacity = larger;
    }
    return moved;
}

int messages_add(struct ls_messages *list, const ls_message *message)
{
    ls_message *items = array_grow(list->items, list->count, &list->capacity, sizeof *items);
    if (items == NULL) {
        return LS_ENOMEM;
    }
    list->items = items;

    int result;
    ls_message copy = *message;
    if ((result = arena_copy(&list->arena, message->from, &copy.from)) != 0 ||
        (result = arena_copy(&list->arena, message->to, &copy.to)) != 0 ||
        (result = arena_copy(&list->arena, message->object, &copy.object)) != 0) {
        return result;
    }
    list->items[list->count++] = copy;
    return 0;
}

int nodes_add(struct ls_nodes *list, const ls_node *node)
{
    ls_node *items = array_grow(list->items, list->count, &list->capacity, sizeof *items);
    if (items == NULL) {
        return LS_ENOMEM;
    }
    list->items = items;

    int result;
    ls_node copy = *node;
    if ((result = arena_copy(&list->arena, node->host, &copy.host)) != 0 ||
        (result = arena_copy(&list->arena, node->meta, &copy.meta)) != 0) {
        return result;
    }
    list->items[list->count++] = copy;
    return 0;
}

int objects_add(struct ls_objects *list, const ls_object *object)
{
    ls_object *items = array_grow(list->items, list->count, &list->capacity, sizeof *items);
    if (items == NULL) {
        return LS_ENOMEM;
    }
    list->items = items;

    int result;
    ls_object copy = *object;
    if ((result = arena_copy(&list->arena, object->key, &copy.key)) != 0 ||
        (result = arena_copy(&list->arena, object->value, &copy.value)) != 0) {
        return result;
    }
    list->items[list->count++] = copy;
    return 0;
}

static int value_copy(struct arena *arena, ls_bytes value, ls_bytes *copy)
{
    if (value.data == NULL) {
        *copy = bytes_of(NULL, 0);
        return 0;
    }
    return arena_copy(arena, value, copy);
}

int values_add(struct ls_values *list, ls_bytes value)
{
    ls_bytes *items = array_grow(list->items, list->count, &list->capacity, sizeof *items);
    if (items == NULL) {
        return LS_ENOMEM;
    }
    list->items = items;
    int result = value_copy(&list->arena, value, &items[list->count]);
    list->count += result == 0;
    return result;
}

int txn_marks_add(struct ls_txn_marks *list, const ls_txn_mark *mark)
{
    ls_txn_mark *items = array_grow(list->items, list->count, &list->capacity, sizeof *items);
    if (items == NULL) {
        return LS_ENOMEM;
    }
    list->items = items;
    ls_txn_mark copy = *mark;
    int result = arena_copy(&list->arena, mark->key, &copy.key);
    if (result == 0) {
        list->items[list->count++] = copy;
    }
    return result;
}

int txn_item_know(struct ls_transaction *transaction, struct txn_item *item, ls_bytes value)
{
    int result = value_copy(&transaction->arena, value, &item->value);
    item->known = result == 0;
    return result;
}

void messages_clear(struct ls_messages *list)
{
    arena_clear(&list->arena);
    list->count = 0;
}

void objects_clear(struct ls_objects *list)
{
    arena_clear(&list->arena);
    list->count = 0;
}

void messages_release(struct ls_messages *list)
{
    arena_free(&list->arena);
    free(list->items);
    *list = (struct ls_messages){0};
}

void nodes_release(struct ls_nodes *list)
{
    arena_free(&list->arena);
    free(list->items);
    *list = (struct ls_nodes){0};
}

void objects_release(struct ls_objects *list)
{
    arena_free(&list->arena);
    free(list->items);
    *list = (struct ls_objects){0};
}

size_t ls_messages_count(const ls_messages *messages)
{
    return messages == NULL ? 0 : messages->count;
}

const ls_message *ls_messages_get(const ls_messages *messages, size_t index)
{
    return index < ls_messages_count(messages) ? &messages->items[index] : NULL;
}

void ls_messages_free(ls_messages *messages)
{
    if (messages != NULL) {
        messages_release(messages);
        free(messages);
    }
}

size_t ls_nodes_count(const ls_nodes *nodes)
{
    return nodes == NULL ? 0 : nodes->count;
}

const ls_node *ls_nodes_get(const ls_nodes *nodes, size_t index)
{
    return index < ls_nodes_count(nodes) ? &nodes->items[index] : NULL;
}

void ls_nodes_free(ls_nodes *nodes)
{
    if (nodes != NULL) {
        nodes_release(nodes);
        free(nodes);
    }
}

size_t ls_objects_count(const ls_objects *objects)
{
    return objects == NULL ? 0 : objects->count;
}

const ls_object *ls_objects_get(const ls_objects *objects, size_t index)
{
    return index < ls_objects_count(objects) ? &objects->items[index] : NULL;
}

void ls_objects_free(ls_objects *objects)
{
    if (objects != NULL) {
        objects_release(objects);
        free(objects);
    }
}

size_t ls_values_count(const ls_values *values)
{
    return values == NULL ? 0 : values->count;
}

const ls_bytes *ls_values_get(const ls_values *values, size_t index)
{
    return index < ls_values_count(values) ? &values->items[index] : NULL;
}

void ls_values_free(ls_values *values)
{
    if (values != NULL) {
        arena_free(&values->arena);
        free(values->items);
        free(values);
    }
}

size_t ls_txn_marks_count(const ls_txn_marks *marks)
{
    return marks == NULL ? 0 : marks->count;
}

const ls_txn_mark *ls_txn_marks_get(const ls_txn_marks *marks, size_t index)
{
    return index < ls_txn_marks_count(marks) ? &marks->items[index] : NULL;
}

void ls_txn_marks_free(ls_txn_marks *marks)
{
    if (marks != NULL) {
        arena_free(&marks->arena);
        free(marks->items);
        free(marks);
    }
}
