/* SPDX-License-Identifier: Apache-2.0 */
/* What every record of the store must be, as the model has it: encoded, and sorted by key. */
#include <stdlib.h>

#include "coordinator/coordinator.h"
#include "coordinator/layout.h"
#include "fixture.h"
#include "model.h"

struct entry {
    struct key key;
    struct buf value;
};

struct entries {
    struct entry *entry;
    size_t count;
    size_t capacity;
};

static struct entry *add(struct entries *entries)
{
    if (entries->count == entries->capacity) {
        entries->capacity = 2 * entries->capacity + 64;
        entries->entry = realloc(entries->entry, entries->capacity * sizeof *entries->entry);
        assert_non_null(entries->entry);
    }
    entries->entry[entries->count].value = (struct buf){0};
    return &entries->entry[entries->count++];
}

static void add_control(struct entries *entries, const char *name, const char *const *fields,
                        struct control control)
{
    struct entry *entry = add(entries);
    assert_int_equal(key_control(&entry->key, bytes_of_text(name)), 0);
    assert_int_equal(control_encode(&entry->value, &control, fields, key_bytes(&entry->key)), 0);
}

static void add_controls(const struct model *m, struct entries *entries)
{
    add_control(entries, CONTROL_FORMAT, control_format_fields,
                (struct control){{COORDINATOR_FORMAT}});
    add_control(entries, CONTROL_CLOCK, control_clock_fields, (struct control){{m->clock}});
    uint64_t live = 0;
    for (size_t i = 0; i < m->node_count; i++) {
        live += m->nodes[i].node.state != NODE_DOWN;
    }
    add_control(
        entries, CONTROL_BOX, control_box_fields,
        (struct control){{live, model_box_bytes(m), m->chain, m->message_count, m->newest}});
    add_control(entries, CONTROL_DISCARDED, control_discarded_fields,
                (struct control){{m->discarded_chain, m->discarded}});
    if (m->epoch != 0) {
        add_control(entries, CONTROL_EPOCH, control_epoch_fields, (struct control){{m->epoch}});
    }
}

static void add_node(struct entries *entries, const struct node *node)
{
    struct entry *entry = add(entries);
    assert_int_equal(key_node(&entry->key, node->host, NULL), 0);
    assert_int_equal(node_encode(&entry->value, node, key_bytes(&entry->key)), 0);
    if (node->state != NODE_DOWN) {
        const struct control nothing = {{0}};
        entry = add(entries);
        live_key(&entry->key, node->host);
        assert_int_equal(
            control_encode(&entry->value, &nothing, live_fields, key_bytes(&entry->key)), 0);
    }
}

static void add_object(struct entries *entries, const struct model_object *o)
{
    struct entry *entry = add(entries);
    assert_int_equal(key_object(&entry->key, o->key, NULL), 0);
    assert_int_equal(object_encode(&entry->value, &o->object, key_bytes(&entry->key)), 0);
    if (o->object.owner.size > 0) {
        entry = add(entries);
        owned_key(&entry->key, o->object.owner, o->object.created);
        assert_int_equal(owned_encode(&entry->value, o->key, key_bytes(&entry->key)), 0);
    }
}

static int by_key(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return bytes_compare(key_bytes(&left->key), key_bytes(&right->key));
}

void model_snapshot(const struct model *m, struct buf *out)
{
    struct entries entries = {0};
    add_controls(m, &entries);
    for (size_t i = 0; i < m->message_count; i++) {
        struct entry *entry = add(&entries);
        key_message(&entry->key, m->messages[i].clock, m->messages[i].type);
        assert_int_equal(
            buf_append(&entry->value, m->messages[i].record.data, m->messages[i].record.size), 0);
    }
    for (size_t i = 0; i < m->node_count; i++) {
        add_node(&entries, &m->nodes[i].node);
    }
    for (size_t i = 0; i < m->object_count; i++) {
        add_object(&entries, &m->objects[i]);
    }
    for (size_t i = 0; i < m->producer_count; i++) {
        struct entry *entry = add(&entries);
        key_producer(&entry->key, m->producers[i].id);
        assert_int_equal(
            producer_encode(&entry->value, &m->producers[i].producer, key_bytes(&entry->key)), 0);
    }
    qsort(entries.entry, entries.count, sizeof *entries.entry, by_key);
    out->size = 0;
    for (size_t i = 0; i < entries.count; i++) {
        snapshot_add(out, key_bytes(&entries.entry[i].key), buf_bytes(&entries.entry[i].value));
        buf_free(&entries.entry[i].value);
    }
    free(entries.entry);
}
