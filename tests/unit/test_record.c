/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: their bytes, what a decoder takes and refuses, and that a check finds every bit that is
 * not as it was written. The rules that hold for all of them are tested over one sample of each.
 */
#include "codec/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "codec/cbor.h"
#include "faults.h"

#define PREVIOUS_CHECK UINT64_C(0x0123456789ABCDEF)

static const uint8_t one_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t other_id[16] = {16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
static const char *const control_names[] = {"next", "oldest", NULL};

static ls_bytes sample_key(void)
{
    return bytes_of_text("a key");
}

/* ---- one sample of each record ---- */

static struct message sample_message(void)
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

static struct node sample_node(void)
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

static const struct object *sample_object(void)
{
    static struct object object;
    object = (struct object){.value = bytes_of("\0value", 6),
                             .created = 1,
                             .modified = 70000,
                             .owner = bytes_of_text("alpha")};
    return &object;
}

static int put_message(struct buf *out)
{
    struct message message = sample_message();
    return message_encode(out, &message, PREVIOUS_CHECK);
}

static int put_node(struct buf *out)
{
    struct node node = sample_node();
    return node_encode(out, &node, sample_key());
}

static int put_object(struct buf *out)
{
    return object_encode(out, sample_object(), sample_key());
}

static int put_producer(struct buf *out)
{
    return producer_encode(out, &(struct producer){.seq = 3, .clock = 300}, sample_key());
}

static int put_control(struct buf *out)
{
    return control_encode(out, &(struct control){{1, 2}}, control_names, sample_key());
}

static int put_change(struct buf *out)
{
    struct change change = {.key = bytes_of("O\x11k", 3),
                            .value = bytes_of("\xA0", 1),
                            .has_value = true,
                            .previous = 9};
    return change_encode(out, &change);
}

static int get_message(ls_bytes record, struct ls_error *error)
{
    struct message out;
    return message_decode(&out, record, error);
}

static int get_node(ls_bytes record, struct ls_error *error)
{
    struct node out;
    return node_decode(&out, record, error);
}

static int get_object(ls_bytes record, struct ls_error *error)
{
    struct object out;
    return object_decode(&out, record, error);
}

static const struct logged_write sample_writes[] = {
    {{"a", 1}, {"1", 1}, false},
    {{"a\0b", 3}, {NULL, 0}, false},
    {{"b", 1}, {NULL, 0}, true},
};

static int put_logged(struct buf *out)
{
    return logged_encode(out, 500, sample_writes, 3, sample_key());
}

static int get_logged(ls_bytes record, struct ls_error *error)
{
    struct logged out;
    return logged_decode(&out, record, error);
}

static int get_producer(ls_bytes record, struct ls_error *error)
{
    struct producer out;
    return producer_decode(&out, record, error);
}

static int get_control(ls_bytes record, struct ls_error *error)
{
    struct control out;
    return control_decode(&out, record, control_names, error);
}

static int get_change(ls_bytes record, struct ls_error *error)
{
    struct change out;
    return change_decode(&out, record, error);
}

static int verify_message(ls_bytes record, struct ls_error *error)
{
    return message_verify(record, PREVIOUS_CHECK, error);
}

static int verify_record(ls_bytes record, struct ls_error *error)
{
    return record_verify(record, sample_key(), error);
}

static const struct sample {
    const char *name;
    int (*put)(struct buf *out);
    int (*get)(ls_bytes record, struct ls_error *error);
    int (*verify)(ls_bytes record, struct ls_error *error); /* NULL: it has no check of its own */
    const char *keys; /* in their order, optional ones in [] */
} samples[] = {
    {"message", put_message, get_message, verify_message,
     "[id] from [host] type check clock event object [from-id] timestamp"},
    {"node", put_node, get_node, verify_record,
     "id ttl via beat host [meta] check clock state joined modified timestamp"},
    {"object", put_object, get_object, verify_record, "check [owner] value created modified"},
    {"producer", put_producer, get_producer, verify_record, "seq check clock"},
    {"logged", put_logged, get_logged, verify_record, "check writes timestamp"},
    {"control", put_control, get_control, verify_record, "next check oldest"},
    {"change", put_change, get_change, NULL, "key [value] [previous]"},
};

#define SAMPLE_COUNT (sizeof samples / sizeof samples[0])

static struct buf encoded(const struct sample *sample)
{
    struct buf record = {0};
    assert_int_equal(sample->put(&record), 0);
    return record;
}

/* ---- what holds for all of them ---- */

static void every_record_is_a_deterministic_map_of_its_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct buf record = encoded(&samples[i]);
        assert_int_equal(cbor_check(buf_bytes(&record), NULL), 0);
        struct cbor_map map;
        struct cbor_entry entry;
        char keys[256] = "";
        size_t size = 0;
        assert_int_equal(cbor_map_open(&map, buf_bytes(&record), NULL), 0);
        int rc;
        while ((rc = cbor_map_next(&map, &entry, NULL)) > 0) {
            size += (size_t)snprintf(keys + size, sizeof keys - size, "%s%.*s", size > 0 ? " " : "",
                                     (int)entry.key.size, (const char *)entry.key.data);
        }
        assert_int_equal(rc, 0);
        char expected[256];
        size = 0;
        for (const char *at = samples[i].keys; *at != '\0'; at++) {
            if (*at != '[' && *at != ']') {
                expected[size++] = *at;
            }
        }
        expected[size] = '\0';
        assert_string_equal(keys, expected);
        buf_free(&record);
    }
}

static void what_is_encoded_decodes_and_verifies(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct ls_error error = {0};
        struct buf record = encoded(&samples[i]);
        if (samples[i].get(buf_bytes(&record), &error) != 0 ||
            (samples[i].verify != NULL && samples[i].verify(buf_bytes(&record), &error) != 0)) {
            fail_msg("%s: %s", samples[i].name, error.text);
        }
        buf_free(&record);
    }
}

static void a_record_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct buf record = encoded(&samples[i]);
        for (size_t cut = 0; cut < record.size; cut++) {
            uint8_t *exact = malloc(cut > 0 ? cut : 1);
            assert_non_null(exact);
            memcpy(exact, record.data, cut);
            struct ls_error error = {0};
            int rc = samples[i].get(bytes_of(exact, cut), &error);
            if (rc != LS_ERECORD || error.code != rc || error.number > cut) {
                fail_msg("%s cut at %zu: %d, offset %llu", samples[i].name, cut, rc,
                         (unsigned long long)error.number);
            }
            if (samples[i].verify != NULL) {
                rc = samples[i].verify(bytes_of(exact, cut), &error);
                assert_int_equal(rc, LS_ECORRUPT);
                assert_int_equal(error.code, LS_ECORRUPT);
            }
            free(exact);
        }
        buf_free(&record);
    }
}

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        if (samples[i].verify == NULL) {
            continue;
        }
        struct buf record = encoded(&samples[i]);
        for (size_t bit = 0; bit < record.size * 8; bit++) {
            record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            struct ls_error error = {0};
            if (samples[i].verify(buf_bytes(&record), &error) != LS_ECORRUPT) {
                fail_msg("%s: bit %zu", samples[i].name, bit);
            }
            assert_int_equal(error.code, LS_ECORRUPT);
            /* The decoder may take it or not, but must stay within it. */
            (void)samples[i].get(buf_bytes(&record), &error);
            record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(samples[i].verify(buf_bytes(&record), NULL), 0);
        buf_free(&record);
    }
}

static void what_follows_a_record_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct ls_error error = {0};
        struct buf record = encoded(&samples[i]);
        size_t size = record.size;
        assert_int_equal(buf_append_byte(&record, 0), 0);
        assert_int_equal(samples[i].get(buf_bytes(&record), &error), LS_ERECORD);
        assert_int_equal(error.number, size);
        buf_free(&record);
    }
}

/* Copies a record entry by entry: without the entry at `skipped`, with a value of another kind at
 * `changed`, and with unknown keys where asked. SIZE_MAX: at none. */
static struct buf rewritten(const struct sample *sample, size_t skipped, size_t changed,
                            bool unknown)
{
    struct buf record = encoded(sample);
    struct buf out = {0};
    struct cbor_map map;
    struct cbor_entry entry;
    assert_int_equal(cbor_map_open(&map, buf_bytes(&record), NULL), 0);
    uint64_t pairs = map.left - (skipped < map.left) + (unknown ? 4 : 0);
    assert_int_equal(cbor_put_map(&out, pairs), 0);
    if (unknown) {
        assert_int_equal(cbor_put_text(&out, bytes_of(NULL, 0)), 0);
        assert_int_equal(cbor_put_uint(&out, 1), 0);
        assert_int_equal(cbor_put_text(&out, bytes_of_text("x")), 0);
        assert_int_equal(buf_append(&out, "\x82\xA0\xF6", 3), 0);
    }
    for (size_t i = 0; cbor_map_next(&map, &entry, NULL) > 0; i++) {
        size_t key_end = entry.offset + 1 + entry.key.size;
        if (i == skipped) {
            continue;
        }
        assert_int_equal(buf_append(&out, record.data + entry.offset, 1 + entry.key.size), 0);
        if (i == changed) {
            assert_int_equal(cbor_put_simple(&out, CBOR_TRUE), 0);
        } else {
            assert_int_equal(buf_append(&out, record.data + key_end, map.offset - key_end), 0);
        }
    }
    if (unknown) {
        assert_int_equal(cbor_put_text(&out, bytes_of_text("zzzzzzzzzz")), 0);
        assert_int_equal(cbor_put_text(&out, bytes_of_text("a")), 0);
        assert_int_equal(cbor_put_text(&out, bytes_of_text("a long key that nobody knows")), 0);
        assert_int_equal(cbor_put_bytes(&out, bytes_of_text("b")), 0);
    }
    assert_int_equal(cbor_check(buf_bytes(&out), NULL), 0);
    buf_free(&record);
    return out;
}

static void keys_that_are_not_known_are_ignored(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct ls_error error = {0};
        struct buf record = rewritten(&samples[i], SIZE_MAX, SIZE_MAX, true);
        if (samples[i].get(buf_bytes(&record), &error) != 0) {
            fail_msg("%s: %s", samples[i].name, error.text);
        }
        buf_free(&record);
    }
}

/* The n-th key of a sample, and whether it is optional; false where there are no more. */
static bool nth_key(const struct sample *sample, size_t n, char *key, size_t size, bool *optional)
{
    const char *at = sample->keys;
    for (size_t i = 0; i < n; i++) {
        at = strchr(at, ' ');
        if (at == NULL) {
            return false;
        }
        at++;
    }
    *optional = *at == '[';
    at += *optional;
    size_t length = strcspn(at, "] ");
    assert_true(length < size);
    memcpy(key, at, length);
    key[length] = '\0';
    return true;
}

static void a_missing_key_is_refused_unless_it_is_optional(void **state)
{
    (void)state;
    char key[32];
    bool optional;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        for (size_t n = 0; nth_key(&samples[i], n, key, sizeof key, &optional); n++) {
            for (int unknown = 0; unknown <= 1; unknown++) {
                /* An id without its host is refused in a test of its own. */
                if (samples[i].get == get_message && strcmp(key, "host") == 0) {
                    continue;
                }
                struct ls_error error = {0};
                struct buf record = rewritten(&samples[i], n, SIZE_MAX, unknown != 0);
                int rc = samples[i].get(buf_bytes(&record), &error);
                if (rc != (optional ? 0 : LS_ERECORD) ||
                    (!optional && strncmp(error.text, key, strlen(key)) != 0)) {
                    fail_msg("%s without %s: %d, %s", samples[i].name, key, rc, error.text);
                }
                buf_free(&record);
            }
        }
    }
}

static void a_value_of_the_wrong_kind_is_refused(void **state)
{
    (void)state;
    char key[32];
    bool optional;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        for (size_t n = 0; nth_key(&samples[i], n, key, sizeof key, &optional); n++) {
            struct ls_error error = {0};
            struct buf record = rewritten(&samples[i], SIZE_MAX, n, false);
            int rc = samples[i].get(buf_bytes(&record), &error);
            if (rc != LS_ERECORD || strncmp(error.text, key, strlen(key)) != 0) {
                fail_msg("%s with another %s: %d, %s", samples[i].name, key, rc, error.text);
            }
            buf_free(&record);
        }
    }
}

static void a_record_cannot_be_moved_to_another_key(void **state)
{
    (void)state;
    struct ls_error error = {0};
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        if (samples[i].verify != verify_record) {
            continue;
        }
        struct buf record = encoded(&samples[i]);
        assert_int_equal(record_verify(buf_bytes(&record), bytes_of_text("b key"), &error),
                         LS_ECORRUPT);
        buf_free(&record);
    }
}

static void a_known_key_out_of_order_is_refused(void **state)
{
    (void)state;
    struct ls_error error = {0};
    struct change change;
    /* {"zzz": 1, "key": h'', "value": h''}, then the same in order */
    static const char wrong[] = "\xA3\x63zzz\1\x63key\x40\x65value\x40";
    static const char right[] = "\xA3\x63key\x40\x63zzz\1\x65value\x40";
    assert_int_equal(change_decode(&change, bytes_of(wrong, sizeof wrong - 1), &error), LS_ERECORD);
    assert_int_equal(error.number, 6);
    assert_int_equal(change_decode(&change, bytes_of(right, sizeof right - 1), &error), 0);
    assert_true(change.has_value);
    /* {"key": h'', "key": h''} */
    static const char twice[] = "\xA2\x63key\x40\x63key\x40";
    assert_int_equal(change_decode(&change, bytes_of(twice, sizeof twice - 1), &error), LS_ERECORD);
    assert_int_equal(error.number, 6);
}

static void a_check_covers_keys_that_are_not_known(void **state)
{
    (void)state;
    /* A map of 24 pairs has a longer head than it has without its check. */
    for (unsigned others = 1; others <= 30; others += others == 1 ? 20 : 1) {
        struct buf without = {0};
        struct buf with = {0};
        assert_int_equal(cbor_put_map(&without, others), 0);
        assert_int_equal(cbor_put_map(&with, others + 1), 0);
        size_t entries_at = without.size;
        for (unsigned i = 0; i < others; i++) {
            char name[8];
            snprintf(name, sizeof name, "name%02u", i);
            assert_int_equal(cbor_put_text(&without, bytes_of_text(name)), 0);
            assert_int_equal(cbor_put_uint(&without, i), 0);
        }
        uint64_t seed = hash64("a key", 5, 0);
        assert_int_equal(cbor_put_text(&with, bytes_of_text("check")), 0);
        assert_int_equal(cbor_put_uint(&with, hash64(without.data, without.size, seed)), 0);
        assert_int_equal(buf_append(&with, without.data + entries_at, without.size - entries_at),
                         0);
        assert_int_equal(record_verify(buf_bytes(&with), sample_key(), NULL), 0);
        buf_free(&without);
        buf_free(&with);
    }
}

static void a_record_without_a_check_does_not_verify(void **state)
{
    (void)state;
    struct ls_error error = {0};
    assert_int_equal(record_verify(bytes_of("\xA0", 1), sample_key(), &error), LS_ECORRUPT);
    assert_int_equal(record_verify(bytes_of("\xA1\x65"
                                            "check\x61"
                                            "1",
                                            9),
                                   sample_key(), &error),
                     LS_ECORRUPT);
    assert_int_equal(record_verify(bytes_of(NULL, 0), sample_key(), &error), LS_ECORRUPT);
}

static void encode_with_a_fault(void *context, long n)
{
    const struct sample *sample = context;
    struct buf out = {0};
    int rc = sample->put(&out);
    assert_int_equal(rc, n == 1 ? LS_ENOMEM : 0);
    assert_true(rc == 0 || out.size == 0);
    buf_free(&out);
}

static void encoding_allocates_at_most_once_and_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct sample sample = samples[i];
        faults_each_allocation(encode_with_a_fault, &sample);
    }
}

static void records_are_appended_to_what_is_there(void **state)
{
    (void)state;
    struct buf out = {0};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < SAMPLE_COUNT; i++) {
            size_t start = out.size;
            assert_int_equal(samples[i].put(&out), 0);
            ls_bytes record = bytes_of(out.data + start, out.size - start);
            assert_int_equal(samples[i].get(record, NULL), 0);
            if (samples[i].verify != NULL) {
                assert_int_equal(samples[i].verify(record, NULL), 0);
            }
        }
    }
    buf_free(&out);
}

/* ---- messages ---- */

static void a_message_has_the_bytes_of_the_format(void **state)
{
    (void)state;
    struct message message = {.clock = 1, .type = 'U', .object = bytes_of("\xF6", 1)};
    struct buf out = {0};
    assert_int_equal(message_encode(&out, &message, 0), 0);
    static const char without_check[] = "\xA6\x64"
                                        "from\x60\x64type\x18U\x65"
                                        "clock\1\x65"
                                        "event\0\x66object\x41\xF6\x69timestamp\0";
    assert_true(message.check == hash64(without_check, sizeof without_check - 1, 0));

    struct buf expected = {0};
    assert_int_equal(buf_append_text(&expected, "\xA7\x64"
                                                "from\x60\x64type\x18U\x65"
                                                "check"),
                     0);
    assert_int_equal(cbor_put_uint(&expected, message.check), 0);
    assert_int_equal(buf_append(&expected, without_check + 14, sizeof without_check - 15), 0);
    assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&expected)));
    buf_free(&out);
    buf_free(&expected);
}

static void a_message_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct message in = sample_message();
    struct message out;
    struct buf record = {0};
    assert_int_equal(message_encode(&record, &in, PREVIOUS_CHECK), 0);
    assert_int_equal(message_decode(&out, buf_bytes(&record), NULL), 0);
    assert_int_equal(out.clock, in.clock);
    assert_int_equal(out.timestamp_ns, in.timestamp_ns);
    assert_true(out.check == in.check);
    assert_int_equal(out.type, in.type);
    assert_int_equal(out.event, in.event);
    assert_true(out.has_from_id && out.has_id);
    assert_memory_equal(out.from_id, in.from_id, 16);
    assert_memory_equal(out.id, in.id, 16);
    assert_true(bytes_equal(out.from, in.from));
    assert_true(bytes_equal(out.host, in.host));
    assert_true(bytes_equal(out.object, in.object));
    buf_free(&record);
}

static void what_a_message_does_not_have_is_left_out(void **state)
{
    (void)state;
    struct message in = sample_message();
    struct message out;
    in.from = bytes_of(NULL, 0);
    in.host = bytes_of(NULL, 0); /* and with it the id */
    in.has_from_id = false;
    in.event = 0;
    struct buf record = {0};
    assert_int_equal(message_encode(&record, &in, 0), 0);
    assert_int_equal(record.data[0], 0xA7);
    assert_int_equal(message_decode(&out, buf_bytes(&record), NULL), 0);
    assert_false(out.has_id || out.has_from_id);
    assert_int_equal(out.from.size, 0);
    assert_int_equal(out.host.size, 0);
    assert_int_equal(out.event, 0);
    buf_free(&record);
}

static void the_checks_of_messages_are_a_chain(void **state)
{
    (void)state;
    struct message message = sample_message();
    struct buf record = {0};
    assert_int_equal(message_encode(&record, &message, 1), 0);
    uint64_t check = message.check;
    assert_int_equal(message_verify(buf_bytes(&record), 1, NULL), 0);
    assert_int_equal(message_verify(buf_bytes(&record), 2, NULL), LS_ECORRUPT);
    record.size = 0;
    assert_int_equal(message_encode(&record, &message, 2), 0);
    assert_true(message.check != check);
    buf_free(&record);
}

/* A message like the sample, but for one small number or string after a key. */
static void expect_message_refused(const char *key, const char *value, size_t size,
                                   const char *word)
{
    struct buf record = encoded(&samples[0]);
    struct buf changed = {0};
    struct cbor_map map;
    struct cbor_entry entry;
    struct ls_error error = {0};
    assert_int_equal(cbor_map_open(&map, buf_bytes(&record), NULL), 0);
    assert_int_equal(cbor_put_map(&changed, map.left - (value == NULL)), 0);
    while (cbor_map_next(&map, &entry, NULL) > 0) {
        size_t end = map.offset;
        bool hit = bytes_equal(entry.key, bytes_of_text(key));
        if (hit && value == NULL) {
            continue;
        }
        end = hit ? entry.offset + 1 + entry.key.size : end;
        assert_int_equal(buf_append(&changed, record.data + entry.offset, end - entry.offset), 0);
        assert_int_equal(buf_append(&changed, value, hit ? size : 0), 0);
    }
    assert_int_equal(get_message(buf_bytes(&changed), &error), LS_ERECORD);
    if (strstr(error.text, word) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, word);
    }
    buf_free(&record);
    buf_free(&changed);
}

static void values_that_no_message_has_are_refused(void **state)
{
    (void)state;
    expect_message_refused("type", "\x18X", 2, "type is not known");
    expect_message_refused("type", "\x19\1U", 3, "type is not known");
    expect_message_refused("event", "\x19\1\0", 3, "event is not one byte");
    expect_message_refused("id", "\x41x", 2, "id is not 16 bytes");
    expect_message_refused("from-id", "\x40", 1, "from-id is not 16 bytes");
    expect_message_refused("host", NULL, 0, "id stands without a host");
    expect_message_refused("from", "\x61\xFF", 2, "UTF-8");
    expect_message_refused("clock", "\x18\1", 2, "shortest");
}

/* ---- the others ---- */

static void a_node_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct node in = sample_node();
    for (int state_number = NODE_UP; state_number <= NODE_DOWN; state_number++) {
        struct node out;
        struct buf record = {0};
        in.state = (enum node_state)state_number;
        in.meta.size = state_number == NODE_DOWN ? 0 : 1;
        assert_int_equal(node_encode(&record, &in, sample_key()), 0);
        assert_int_equal(node_decode(&out, buf_bytes(&record), NULL), 0);
        assert_memory_equal(out.id, in.id, 16);
        assert_true(bytes_equal(out.host, in.host));
        assert_true(bytes_equal(out.meta, in.meta));
        assert_int_equal(out.joined, in.joined);
        assert_int_equal(out.modified, in.modified);
        assert_int_equal(out.state, in.state);
        assert_int_equal(out.clock, in.clock);
        assert_int_equal(out.timestamp_ns, in.timestamp_ns);
        assert_int_equal(out.ttl_ms, in.ttl_ms);
        assert_int_equal(out.beat, in.beat);
        assert_true(out.via == in.via);
        buf_free(&record);
    }
}

static void an_object_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct object in = *sample_object();
    for (int owned = 0; owned <= 1; owned++) {
        struct object out;
        struct buf record = {0};
        in.owner.size = owned ? 5 : 0;
        in.value.size = owned ? 6 : 0;
        assert_int_equal(object_encode(&record, &in, sample_key()), 0);
        assert_int_equal(object_decode(&out, buf_bytes(&record), NULL), 0);
        assert_true(bytes_equal(out.value, in.value));
        assert_true(bytes_equal(out.owner, in.owner));
        assert_int_equal(out.created, in.created);
        assert_int_equal(out.modified, in.modified);
        buf_free(&record);
    }
}

static void a_large_object_verifies_too(void **state)
{
    (void)state;
    struct object in = *sample_object();
    uint8_t *value = calloc(1, 100000);
    struct buf record = {0};
    assert_non_null(value);
    in.value = bytes_of(value, 100000);
    assert_int_equal(object_encode(&record, &in, sample_key()), 0);
    assert_int_equal(record_verify(buf_bytes(&record), sample_key(), NULL), 0);
    record.data[50000] ^= 1;
    assert_int_equal(record_verify(buf_bytes(&record), sample_key(), NULL), LS_ECORRUPT);
    buf_free(&record);
    free(value);
}

static void what_a_transaction_wrote_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct buf record = {0};
    struct logged logged;
    struct logged_write write;
    assert_int_equal(put_logged(&record), 0);
    assert_int_equal(logged_decode(&logged, buf_bytes(&record), NULL), 0);
    assert_int_equal(logged.timestamp, 500);
    for (size_t i = 0; i < 3; i++) {
        assert_true(logged_write_next(&logged.writes, &write));
        assert_true(bytes_equal(write.key, sample_writes[i].key));
        assert_true(bytes_equal(write.value, sample_writes[i].value));
        assert_int_equal(write.deleted, sample_writes[i].deleted);
    }
    assert_false(logged_write_next(&logged.writes, &write));
    buf_free(&record);
}

static void a_malformed_list_of_writes_is_refused(void **state)
{
    static const ls_bytes lists[] = {
        {"", 0},
        {"\0\1\0\0\0", 5},                  /* cut in its head */
        {"\0\1\0\0\0\1a", 7},               /* and in its value */
        {"\0\2\377\377\377\377a", 7},       /* and in its key */
        {"\0\1\0\0\0\0ab", 8},              /* more behind it */
        {"\0\0\0\0\0\1a", 7},               /* an empty key */
        {"\0\1\0\0\0\0a\0\1\0\0\0\0a", 14}, /* a key twice */
        {"\0\1\0\0\0\0b\0\1\0\0\0\0a", 14}, /* not in order */
        {"\0\1\377\377\377\376a", 7},       /* as large as can be said */
    };
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct buf record = {0};
        struct logged logged;
        struct ls_error error;
        assert_int_equal(cbor_put_map(&record, 3), 0);
        assert_int_equal(cbor_put_text(&record, bytes_of_text("check")), 0);
        assert_int_equal(cbor_put_uint(&record, 1), 0);
        assert_int_equal(cbor_put_text(&record, bytes_of_text("writes")), 0);
        assert_int_equal(cbor_put_bytes(&record, lists[i]), 0);
        assert_int_equal(cbor_put_text(&record, bytes_of_text("timestamp")), 0);
        assert_int_equal(cbor_put_uint(&record, 1), 0);
        assert_int_equal(logged_decode(&logged, buf_bytes(&record), &error), LS_ERECORD);
        buf_free(&record);
    }
}

static void producers_controls_and_changes_decode_to_what_they_were(void **state)
{
    (void)state;
    struct buf record = {0};
    struct producer producer;
    assert_int_equal(put_producer(&record), 0);
    assert_int_equal(producer_decode(&producer, buf_bytes(&record), NULL), 0);
    assert_int_equal(producer.seq, 3);
    assert_int_equal(producer.clock, 300);

    struct control control;
    record.size = 0;
    assert_int_equal(put_control(&record), 0);
    assert_int_equal(control_decode(&control, buf_bytes(&record), control_names, NULL), 0);
    assert_int_equal(control.value[0], 1);
    assert_int_equal(control.value[1], 2);
    assert_int_equal(control.value[2], 0);

    struct change change;
    record.size = 0;
    assert_int_equal(put_change(&record), 0);
    assert_int_equal(change_decode(&change, buf_bytes(&record), NULL), 0);
    assert_true(bytes_equal(change.key, bytes_of("O\x11k", 3)));
    assert_true(change.has_value);
    assert_true(bytes_equal(change.value, bytes_of("\xA0", 1)));
    assert_int_equal(change.previous, 9);

    record.size = 0;
    struct change deleted = {.key = bytes_of_text("k")};
    assert_int_equal(change_encode(&record, &deleted), 0);
    assert_int_equal(record.data[0], 0xA1);
    assert_int_equal(change_decode(&change, buf_bytes(&record), NULL), 0);
    assert_false(change.has_value);
    assert_int_equal(change.previous, 0);
    buf_free(&record);
}

static void the_check_of_a_control_record_stands_in_its_place(void **state)
{
    (void)state;
    static const char *const lists[][5] = {
        {NULL},
        {"clock", NULL},
        {"a", NULL},
        {"a", "chec", "check-2", "zzzzzzzzz", NULL},
        {"alpha", "chfck", NULL},
        {"four", NULL},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct control in = {{UINT64_MAX, 0, 23, 24}};
        struct control out;
        struct buf record = {0};
        assert_int_equal(control_encode(&record, &in, lists[i], sample_key()), 0);
        assert_int_equal(record_verify(buf_bytes(&record), sample_key(), NULL), 0);
        assert_int_equal(control_decode(&out, buf_bytes(&record), lists[i], NULL), 0);
        for (size_t n = 0; lists[i][n] != NULL; n++) {
            assert_true(out.value[n] == in.value[n]);
        }
        buf_free(&record);
    }
}

static void names_lead_to_their_letters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int type;
    } types[] = {{"user", 'U'},       {"USER", 'U'}, {"u", 'U'},      {"U", 'U'}, {"database", 'D'},
                 {"Collection", 'C'}, {"o", 'O'},    {"object", 'O'}, {"", -1},   {"-", -1},
                 {"users", -1},       {"use", -1},   {"X", -1}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(message_type_from_text(bytes_of_text(types[i].text)), types[i].type);
    }
    static const struct {
        const char *text;
        uint8_t type;
        int event;
    } events[] = {
        {"created", 'D', 'C'}, {"UPDATED", 'C', 'U'}, {"deleted", 'U', 'D'}, {"d", 'D', 'D'},
        {"C", 'C', 'C'},       {"x", 'D', -1},        {"-", 'D', -1},        {"", 'D', -1},
        {"x", 'U', 'x'},       {"c", 'U', 'c'},       {"-", 'U', 0},         {"", 'U', -1},
        {"xy", 'U', -1},       {"\xFF", 'U', 0xFF},
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        assert_int_equal(message_event_from_text(bytes_of_text(events[i].text), events[i].type),
                         events[i].event);
    }
    for (int number = NODE_UP; number <= NODE_DOWN; number++) {
        const char *name = node_state_name((enum node_state)number);
        assert_int_equal(node_state_from_name(bytes_of_text(name)), number);
    }
    assert_int_equal(node_state_from_name(bytes_of_text("Up")), -1);
    assert_int_equal(node_state_from_name(bytes_of(NULL, 0)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_a_deterministic_map_of_its_keys),
        cmocka_unit_test(what_is_encoded_decodes_and_verifies),
        cmocka_unit_test(a_record_cut_anywhere_is_refused),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(what_follows_a_record_is_refused),
        cmocka_unit_test(keys_that_are_not_known_are_ignored),
        cmocka_unit_test(a_missing_key_is_refused_unless_it_is_optional),
        cmocka_unit_test(a_value_of_the_wrong_kind_is_refused),
        cmocka_unit_test(a_record_cannot_be_moved_to_another_key),
        cmocka_unit_test(a_known_key_out_of_order_is_refused),
        cmocka_unit_test(a_check_covers_keys_that_are_not_known),
        cmocka_unit_test(a_record_without_a_check_does_not_verify),
        cmocka_unit_test(encoding_allocates_at_most_once_and_may_fail),
        cmocka_unit_test(records_are_appended_to_what_is_there),
        cmocka_unit_test(a_message_has_the_bytes_of_the_format),
        cmocka_unit_test(a_message_decodes_to_what_it_was),
        cmocka_unit_test(what_a_message_does_not_have_is_left_out),
        cmocka_unit_test(the_checks_of_messages_are_a_chain),
        cmocka_unit_test(values_that_no_message_has_are_refused),
        cmocka_unit_test(a_node_decodes_to_what_it_was),
        cmocka_unit_test(an_object_decodes_to_what_it_was),
        cmocka_unit_test(a_large_object_verifies_too),
        cmocka_unit_test(what_a_transaction_wrote_decodes_to_what_it_was),
        cmocka_unit_test(a_malformed_list_of_writes_is_refused),
        cmocka_unit_test(producers_controls_and_changes_decode_to_what_they_were),
        cmocka_unit_test(the_check_of_a_control_record_stands_in_its_place),
        cmocka_unit_test(names_lead_to_their_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
