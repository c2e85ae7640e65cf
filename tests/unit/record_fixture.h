/* What the tests of records share: a sample of each, and its encoding. */
#ifndef LS_TESTS_RECORD_FIXTURE_H
#define LS_TESTS_RECORD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/record.h"

#define PREVIOUS_CHECK UINT64_C(0x0123456789ABCDEF)

static const uint8_t one_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t other_id[16] = {16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
static const char *const control_names[] = {"next", "oldest", NULL};

static inline ls_bytes sample_key(void)
{
    return bytes_of_text("a key");
}

static inline struct message sample_message(void)
{
    struct message message = {
        .clock = 300,
        .timestamp_ns = UINT64_C(1700000000123456789),
        .type = 'U',
        .event = 'C',
        .has_from_id = true,
        .has_id = true,
        .from = bytes_of_text("alpha"),
        .host = bytes_of_text("beta"),
        .object = bytes_of("\x82\1\2", 3),
    };
    memcpy(message.from_id, one_id, 16);
    memcpy(message.id, other_id, 16);
    return message;
}

static inline struct node sample_node(void)
{
    struct node node = {
        .host = bytes_of_text("alpha"),
        .joined = 17,
        .modified = 250,
        .state = NODE_LEAVING,
        .clock = 299,
        .timestamp_ns = UINT64_C(1700000000123456789),
        .ttl_ms = 10000,
        .beat = 5,
        .via = UINT64_MAX,
        .meta = bytes_of("\xA0", 1),
    };
    memcpy(node.id, one_id, 16);
    return node;
}

static inline const struct object *sample_object(void)
{
    static struct object object;
    object = (struct object){.value = bytes_of("\0value", 6),
                             .created = 1,
                             .modified = 70000,
                             .owner = bytes_of_text("alpha")};
    return &object;
}

static const struct logged_write sample_writes[] = {
    {{"a", 1}, {"1", 1}, false},
    {{"a\0b", 3}, {NULL, 0}, false},
    {{"b", 1}, {NULL, 0}, true},
};

static inline int put_message(struct buf *out)
{
    struct message message = sample_message();
    return message_encode(out, &message, PREVIOUS_CHECK);
}

static inline int put_node(struct buf *out)
{
    struct node node = sample_node();
    return node_encode(out, &node, sample_key());
}

static inline int put_object(struct buf *out)
{
    return object_encode(out, sample_object(), sample_key());
}

static inline int put_producer(struct buf *out)
{
    return producer_encode(out, &(struct producer){.seq = 3, .clock = 300}, sample_key());
}

static inline int put_control(struct buf *out)
{
    return control_encode(out, &(struct control){{1, 2}}, control_names, sample_key());
}

static inline int put_change(struct buf *out)
{
    struct change change = {.key = bytes_of("O\x11k", 3),
                            .value = bytes_of("\xA0", 1),
                            .has_value = true,
                            .previous = 9};
    return change_encode(out, &change);
}

static inline int put_logged(struct buf *out)
{
    return logged_encode(out, 500, sample_writes, 3, sample_key());
}

#endif
