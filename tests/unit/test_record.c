/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that hold for all records, over one sample of each: their keys, what a decoder takes
 * and refuses, and that a check finds every bit that is not as it was written. What each kind of
 * record has of its own is in test_record_kinds.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "codec/cbor.h"
#include "faults.h"
#include "record_fixture.h"

/* ---- the samples ---- */

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

/* ---- the rules ---- */

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
