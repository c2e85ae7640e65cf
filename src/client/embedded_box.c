/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and watching the box, embedded. A watch is a place and a buffer: it reads a piece in one
 * read transaction, gives it out message by message with no transaction open, and reads on. However
 * slow its user is, it holds nothing of the store.
 */
#include "client/embedded.h"

#include <stdlib.h>

/* Messages looked at in one read transaction, whether or not they match. */
#define LOOK_MAX 16384

/* The filter as the coordinator knows it; it borrows the texts. */
static struct box_filter box_filter_of(const ls_filter *filter)
{
    struct box_filter out = {
        .has_for = filter->host != NULL, .has_key = filter->key.size != 0, .prefix = filter->key};
    if (filter->host != NULL) {
        out.host = bytes_of_text(filter->host);
    }
    if (filter->types != NULL) {
        size_t count = 0;
        for (const char *letter = "ODCU"; *letter != '\0'; letter++) {
            if (strchr(filter->types, *letter) != NULL) {
                out.types[count++] = *letter;
            }
        }
    }
    return out;
}

static int add_message(struct ls_messages *out, const struct message *message)
{
    ls_message item = {.clock = message->clock,
                       .timestamp_ns = message->timestamp_ns,
                       .type = (char)message->type,
                       .event = (char)message->event,
                       .from = message->from,
                       .to = message->host,
                       .object = message->object};
    return messages_add(out, &item);
}

/* The piece, from `from` on, in a transaction that is open. */
static int read_from(struct reading *reading, uint64_t from, struct box_place *place, size_t max,
                     struct ls_messages *out, bool *at_end, struct ls_error *error)
{
    struct box_cursor cursor;
    int result = box_open(&cursor, reading, from, NULL, error);
    if (result != 0) {
        return result;
    }
    struct message message;
    size_t looked = 0;
    result = 1;
    while (looked < LOOK_MAX && out->count < max && out->arena.used < LIST_SIZE_SOFT &&
           (result = box_next(&cursor, &message, error)) > 0) {
        if (box_filter_match(&place->filter, &message) && add_message(out, &message) != 0) {
            result = error_code(error, LS_ENOMEM);
            break;
        }
        place->next = message.clock + 1;
        looked++;
    }
    box_end(&cursor);
    *at_end = result == 0;
    return result < 0 ? result : 0;
}

static int read_piece(struct embedded *e, struct box_place *place, size_t max,
                      struct ls_messages *out, bool *at_end, struct ls_error *error)
{
    struct reading reading;
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    uint64_t from = place->next;
    if (from == 0) {
        struct box_state state;
        result = box_state_read(&reading, &state, error);
        from = result == 0 ? state.discarded + 1 : 0;
    }
    if (result == 0) {
        result = read_from(&reading, from, place, max, out, at_end, error);
    }
    reading_end(&reading);
    return result;
}

int embedded_read_on(struct embedded *e, struct box_place *place, size_t max, int64_t timeout_ms,
                     struct ls_messages *out, struct ls_error *error)
{
    struct deadline deadline = deadline_in(timeout_ms);
    for (;;) {
        bool at_end;
        uint32_t seen = e->store->driver->wake_word(e->store);
        int result = read_piece(e, place, max, out, &at_end, error);
        if (result != 0 || out->count != 0) {
            return result;
        }
        if (!at_end) {
            embedded_tend(e);
        } else if (!embedded_wait(e, seen, &deadline)) {
            return 0;
        }
    }
}

int embedded_read(struct ls *handle, uint64_t from, const ls_filter *filter, size_t max,
                  int64_t timeout_ms, struct ls_messages *out, struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct box_place place = {.next = from, .filter = box_filter_of(filter)};
    embedded_tend(e);
    return embedded_read_on(e, &place, max, timeout_ms, out, error);
}

/* ---- watches ---- */

struct embedded_watch {
    struct ls_watch base; /* first */
    struct box_place place;
    struct arena texts; /* of the filter */
    struct ls_messages piece;
    size_t given;
};

/* Where the watch begins, and whether it can. */
static int find_start(struct embedded *e, uint64_t from, uint64_t *start, struct ls_error *error)
{
    struct reading reading;
    struct box_state state;
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    result = box_state_read(&reading, &state, error);
    if (result == 0 && from == LS_AFTER_NEWEST) {
        from = state.newest + 1;
    } else if (result == 0 && from == LS_OLDEST) {
        from = state.discarded + 1;
    }
    if (result == 0) {
        struct box_cursor cursor;
        result = box_open(&cursor, &reading, from, NULL, error);
        if (result == 0) {
            box_end(&cursor);
            *start = from;
        }
    }
    reading_end(&reading);
    return result;
}

int embedded_watch_open(struct ls *handle, uint64_t from, const ls_filter *filter,
                        struct ls_watch **out, uint64_t *start, struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    embedded_tend(e);
    int result = find_start(e, from, &from, error);
    if (result != 0) {
        return result;
    }
    struct embedded_watch *watch = calloc(1, sizeof *watch);
    ls_filter own;
    if (watch == NULL || filter_copy(&own, &watch->texts, filter) != 0) {
        if (watch != NULL) {
            arena_free(&watch->texts);
        }
        free(watch);
        return error_code(error, LS_ENOMEM);
    }
    watch->base.handle = handle;
    watch->place = (struct box_place){.next = from, .filter = box_filter_of(&own)};
    *start = from;
    *out = &watch->base;
    return 0;
}

int embedded_watch_next(struct ls_watch *base, int64_t timeout_ms, ls_message *out,
                        struct ls_error *error)
{
    struct embedded_watch *watch = (struct embedded_watch *)base;
    struct embedded *e = embedded_of(base->handle);
    embedded_tend(e);
    if (watch->given == watch->piece.count) {
        messages_clear(&watch->piece);
        watch->given = 0;
        int result = embedded_read_on(e, &watch->place, MESSAGES_COUNT_SOFT, timeout_ms,
                                      &watch->piece, error);
        if (watch->piece.count == 0) {
            return result != 0 ? result : error_code(error, LS_ETIMEOUT);
        }
        /* What was read before a failure is given; the next piece meets the failure again. */
    }
    *out = watch->piece.items[watch->given++];
    return 0;
}

void embedded_watch_close(struct ls_watch *base)
{
    struct embedded_watch *watch = (struct embedded_watch *)base;
    messages_release(&watch->piece);
    arena_free(&watch->texts);
    free(watch);
}
