/* SPDX-License-Identifier: Apache-2.0 */
/* CBOR: the vectors of RFC 8949, what is refused and where, and the walk over flat maps. */
#include "codec/cbor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cbor_vectors.h"
#include "faults.h"

/* The bytes that the hexadecimal text stands for, in memory of exactly their size. */
static ls_bytes from_hex(const char *hex)
{
    size_t size = strlen(hex) / 2;
    uint8_t *data = malloc(size > 0 ? size : 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        data[i] = (uint8_t)byte;
    }
    return bytes_of(data, size);
}

static void expect_refused(const char *hex, uint64_t offset)
{
    struct ls_error error = {0};
    ls_bytes item = from_hex(hex);
    int rc = cbor_check(item, &error);
    if (rc != LS_EBADCBOR || error.code != rc || error.number != offset) {
        fail_msg("%s: %d at %llu, expected at %llu: %s", hex, rc, (unsigned long long)error.number,
                 (unsigned long long)offset, error.text);
    }
    free((void *)item.data);
}

static void expect_accepted(const char *hex)
{
    struct ls_error error = {0};
    ls_bytes item = from_hex(hex);
    if (cbor_check(item, &error) != 0) {
        fail_msg("%s: %s", hex, error.text);
    }
    free((void *)item.data);
}

static void every_vector_of_the_rfc_is_well_formed(void **state)
{
    (void)state;
    for (size_t i = 0; i < CBOR_VECTOR_COUNT; i++) {
        expect_accepted(cbor_vectors[i].hex);
    }
}

static void a_vector_cut_anywhere_is_refused_at_its_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < CBOR_VECTOR_COUNT; i++) {
        char hex[256];
        size_t size = strlen(cbor_vectors[i].hex);
        for (size_t cut = 0; cut < size; cut += 2) {
            memcpy(hex, cbor_vectors[i].hex, cut);
            hex[cut] = '\0';
            expect_refused(hex, cut / 2);
        }
    }
}

static void what_follows_the_item_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < CBOR_VECTOR_COUNT; i++) {
        char hex[256];
        snprintf(hex, sizeof hex, "%s00", cbor_vectors[i].hex);
        expect_refused(hex, strlen(cbor_vectors[i].hex) / 2);
    }
}

static void reserved_heads_are_refused(void **state)
{
    (void)state;
    char hex[64];
    for (int byte = 0; byte <= 0xFF; byte++) {
        int additional = byte & 0x1F;
        bool indefinite_number = byte == 0x1F || byte == 0x3F || byte == 0xDF;
        if ((additional >= 28 && additional <= 30) || indefinite_number || byte == 0xFF) {
            snprintf(hex, sizeof hex, "%02x0000000000000000", byte);
            expect_refused(hex, 0);
            snprintf(hex, sizeof hex, "8200%02x0000000000000000", byte);
            expect_refused(hex, 2);
        }
    }
}

static void simple_values_nobody_assigned_are_well_formed(void **state)
{
    (void)state;
    char hex[16];
    for (int byte = 0xE0; byte <= 0xF7; byte++) {
        snprintf(hex, sizeof hex, "%02x", byte);
        expect_accepted(hex);
    }
    for (int value = 0; value <= 0xFF; value++) {
        snprintf(hex, sizeof hex, "f8%02x", value);
        if (value < 32) {
            expect_refused(hex, 1);
        } else {
            expect_accepted(hex);
        }
    }
    for (int tag = 0xC0; tag <= 0xD7; tag++) {
        snprintf(hex, sizeof hex, "%02x00", tag);
        expect_accepted(hex);
    }
}

static void malformed_items_are_refused_where_they_go_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        uint64_t offset;
    } cases[] = {
        {"61ff", 1},                    /* not UTF-8 */
        {"6461c328ff", 2},              /* a bad continuation */
        {"62c3a9ff", 3},                /* good text, then more */
        {"63eda080", 1},                /* a surrogate */
        {"64f4908080", 1},              /* past U+10FFFF */
        {"62c080", 1},                  /* a long form */
        {"7f61c361a9ff", 2},            /* a sequence across two chunks */
        {"9f00ff00", 3},                /* more after the break */
        {"8200ff", 2},                  /* a break in a definite array */
        {"bf00ff", 2},                  /* a map that ends after a key */
        {"a100ff", 2},                  /* a break in place of a value */
        {"c0ff", 1},                    /* a break under a tag */
        {"9fc0ff", 2},                  /* the same, in an array that a break may end */
        {"5f00ff", 1},                  /* no chunk */
        {"5f6161ff", 1},                /* a chunk of the other kind */
        {"7f4161ff", 1},                /* likewise */
        {"5f5f4100ffff", 1},            /* an indefinite chunk */
        {"5fc04100ff", 1},              /* a tagged chunk */
        {"5f8000ff", 1},                /* an array as a chunk */
        {"f800", 1},                    /* false in two bytes */
        {"5bffffffffffffffff00", 10},   /* longer than memory */
        {"7b7fffffffffffffff61", 10},   /* likewise */
        {"9bffffffffffffffff00", 10},   /* more items than bytes */
        {"bbffffffffffffffff0000", 11}, /* pairs that overflow when doubled */
        {"bb80000000000000000000", 11}, /* likewise, to 0 */
        {"ba8000000000", 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_refused(cases[i].hex, cases[i].offset);
    }
    expect_refused("", 0);
}

/* `count` heads, one inside the other, and what is innermost. */
static void nest(char *hex, const char *head, int count, const char *innermost)
{
    *hex = '\0';
    for (int i = 0; i < count; i++) {
        memcpy(hex, head, strlen(head) + 1);
        hex += strlen(head);
    }
    memcpy(hex, innermost, strlen(innermost) + 1);
}

static void nesting_is_accepted_to_its_limit_and_no_further(void **state)
{
    (void)state;
    char hex[4 * CBOR_DEPTH_MAX + 16];
    static const char *const heads[] = {"81", "a100", "c0", "d864"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        nest(hex, heads[i], CBOR_DEPTH_MAX, "00");
        expect_accepted(hex);
        nest(hex, heads[i], CBOR_DEPTH_MAX + 1, "00");
        expect_refused(hex, CBOR_DEPTH_MAX * strlen(heads[i]) / 2);
        nest(hex, heads[i], CBOR_DEPTH_MAX, "80");
        expect_refused(hex, CBOR_DEPTH_MAX * strlen(heads[i]) / 2);
        nest(hex, heads[i], CBOR_DEPTH_MAX, "5fff");
        expect_refused(hex, CBOR_DEPTH_MAX * strlen(heads[i]) / 2);
    }
    nest(hex, "9f", CBOR_DEPTH_MAX + 1, "00");
    expect_refused(hex, CBOR_DEPTH_MAX);
}

static void checking_allocates_nothing(void **state)
{
    (void)state;
    ls_bytes item = from_hex("9bffffffffffffffff5f41005bffffffffffffffff");
    faults_fail_allocation(1);
    assert_int_equal(cbor_check(item, NULL), LS_EBADCBOR);
    assert_int_equal(faults_allocations(), 0);
    faults_fail_allocation(0);
    free((void *)item.data);
}

static void expect_head(uint64_t value, const char *hex)
{
    struct buf out = {0};
    ls_bytes expected = from_hex(hex);
    assert_int_equal(cbor_put_uint(&out, value), 0);
    if (!bytes_equal(buf_bytes(&out), expected)) {
        fail_msg("%llu is not %s", (unsigned long long)value, hex);
    }
    free((void *)expected.data);
    buf_free(&out);
}

static void numbers_take_their_shortest_form(void **state)
{
    (void)state;
    expect_head(0, "00");
    expect_head(23, "17");
    expect_head(24, "1818");
    expect_head(255, "18ff");
    expect_head(256, "190100");
    expect_head(65535, "19ffff");
    expect_head(65536, "1a00010000");
    expect_head(UINT32_MAX, "1affffffff");
    expect_head((uint64_t)UINT32_MAX + 1, "1b0000000100000000");
    expect_head(UINT64_MAX, "1bffffffffffffffff");
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_int_equal(cbor_put_array(&out, 6), 0);
    assert_int_equal(cbor_put_negative(&out, 99), 0);
    assert_int_equal(cbor_put_bytes(&out, bytes_of("\0\1", 2)), 0);
    assert_int_equal(cbor_put_text(&out, bytes_of_text("h\xC3\xA9")), 0);
    assert_int_equal(cbor_put_simple(&out, CBOR_NULL), 0);
    assert_int_equal(cbor_put_map(&out, 1), 0);
    assert_int_equal(cbor_put_text(&out, bytes_of(NULL, 0)), 0);
    assert_int_equal(cbor_put_uint(&out, 7), 0);
    assert_int_equal(cbor_put_simple(&out, CBOR_TRUE), 0);
    assert_int_equal(cbor_check(buf_bytes(&out), NULL), 0);

    ls_bytes in = buf_bytes(&out);
    struct cbor_item item;
    assert_int_equal(cbor_read(&item, in, 0, NULL), 0);
    assert_int_equal(item.kind, CBOR_ITEM_ARRAY);
    assert_int_equal(item.argument, 6);
    assert_int_equal(cbor_read(&item, in, item.end, NULL), 0);
    assert_int_equal(item.kind, CBOR_ITEM_NEGATIVE);
    assert_int_equal(item.argument, 99);
    assert_int_equal(cbor_read(&item, in, item.end, NULL), 0);
    assert_int_equal(item.kind, CBOR_ITEM_BYTES);
    assert_true(bytes_equal(item.bytes, bytes_of("\0\1", 2)));
    assert_int_equal(cbor_read(&item, in, item.end, NULL), 0);
    assert_int_equal(item.kind, CBOR_ITEM_TEXT);
    assert_true(bytes_equal(item.bytes, bytes_of_text("h\xC3\xA9")));
    assert_int_equal(cbor_read(&item, in, item.end, NULL), 0);
    assert_int_equal(item.kind, CBOR_ITEM_SIMPLE);
    assert_int_equal(item.argument, CBOR_NULL);
    size_t end;
    assert_int_equal(cbor_skip(&end, in, item.end, NULL), 0);
    assert_int_equal(cbor_read(&item, in, end, NULL), 0);
    assert_int_equal(item.argument, CBOR_TRUE);
    assert_int_equal(item.end, in.size);
    buf_free(&out);
}

static void write_each(void *context, long n)
{
    (void)context;
    (void)n;
    struct buf out = {0};
    int rc = cbor_put_bytes(&out, bytes_of("0123456789012345678901234567890123456789", 40));
    size_t size = out.size;
    assert_int_equal(size, rc == 0 ? 42 : 0);
    if (rc == 0) {
        rc = cbor_put_text(&out, bytes_of("0123456789012345678901234567890123456789", 40));
        assert_int_equal(out.size - size, rc == 0 ? 42 : 0);
    }
    assert_true(rc == 0 || rc == LS_ENOMEM);
    buf_free(&out);
}

static void a_string_is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    faults_each_allocation(write_each, NULL);
}

static void a_map_is_walked_in_order(void **state)
{
    (void)state;
    /* {"a": 1, "b": h'02', "c": "x", "aa": [1, {}], "ab": -1} */
    ls_bytes record = from_hex("a5616101616241026163617862616182"
                               "01a062616220");
    struct cbor_map map;
    struct cbor_entry entry;
    assert_int_equal(cbor_map_open(&map, record, NULL), 0);
    assert_int_equal(map.left, 5);

    assert_int_equal(cbor_map_next(&map, &entry, NULL), 1);
    assert_true(bytes_equal(entry.key, bytes_of_text("a")));
    assert_int_equal(entry.kind, CBOR_UINT);
    assert_int_equal(entry.number, 1);
    assert_int_equal(entry.offset, 1);
    assert_int_equal(cbor_map_next(&map, &entry, NULL), 1);
    assert_int_equal(entry.kind, CBOR_BYTES);
    assert_true(bytes_equal(entry.bytes, bytes_of("\2", 1)));
    assert_int_equal(cbor_map_take(&map, bytes_of_text("\141d"), &entry, NULL), 0);
    assert_int_equal(cbor_map_take(&map, bytes_of_text("\141c"), &entry, NULL), 1);
    assert_int_equal(entry.kind, CBOR_TEXT);
    assert_true(bytes_equal(entry.key, bytes_of_text("c")));
    assert_true(bytes_equal(entry.bytes, bytes_of_text("x")));
    assert_int_equal(cbor_map_next(&map, &entry, NULL), 1);
    assert_int_equal(entry.kind, CBOR_OTHER);
    assert_true(bytes_equal(entry.bytes, bytes_of("\x82\1\xA0", 3)));
    assert_int_equal(cbor_map_next(&map, &entry, NULL), 1);
    assert_int_equal(entry.kind, CBOR_OTHER);
    assert_int_equal(cbor_map_take(&map, bytes_of_text("\141z"), &entry, NULL), 0);
    assert_int_equal(cbor_map_next(&map, &entry, NULL), 0);
    free((void *)record.data);
}

static void expect_map_refused(const char *hex, uint64_t offset)
{
    struct ls_error error = {0};
    ls_bytes record = from_hex(hex);
    struct cbor_map map;
    struct cbor_entry entry;
    int rc = cbor_map_open(&map, record, &error);
    for (rc = rc == 0 ? 1 : rc; rc > 0;) {
        rc = cbor_map_next(&map, &entry, &error);
    }
    if (rc != LS_ERECORD || error.code != rc || error.number != offset) {
        fail_msg("%s: %d at %llu, expected at %llu: %s", hex, rc, (unsigned long long)error.number,
                 (unsigned long long)offset, error.text);
    }
    free((void *)record.data);
}

static void a_map_that_is_not_deterministic_is_refused(void **state)
{
    (void)state;
    expect_map_refused("", 0);
    expect_map_refused("80", 0);
    expect_map_refused("00", 0);
    expect_map_refused("bfff", 0);
    expect_map_refused("b800", 0); /* a head longer than needed */
    expect_map_refused("a0"
                       "00",
                       1);             /* more follows */
    expect_map_refused("a1", 1);       /* ends early */
    expect_map_refused("a10001", 1);   /* a key that is no text */
    expect_map_refused("a161ff01", 1); /* a key that is not UTF-8 */
    expect_map_refused("a1780161"
                       "01",
                       1);                     /* a key with a long head */
    expect_map_refused("a17f6161ff01", 1);     /* an indefinite key */
    expect_map_refused("a161611801", 3);       /* a number with a long head */
    expect_map_refused("a16161580101", 3);     /* a string with a long head */
    expect_map_refused("a161615f4101ff", 3);   /* an indefinite value */
    expect_map_refused("a161619fff", 3);       /* likewise */
    expect_map_refused("a1616161ff", 3);       /* text that is not UTF-8 */
    expect_map_refused("a16161ff", 3);         /* a break */
    expect_map_refused("a1616181", 3);         /* a nested item that ends early */
    expect_map_refused("a2616201616102", 4);   /* out of order */
    expect_map_refused("a2616101616102", 4);   /* twice */
    expect_map_refused("a262616101616202", 5); /* a longer key first */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_of_the_rfc_is_well_formed),
        cmocka_unit_test(a_vector_cut_anywhere_is_refused_at_its_end),
        cmocka_unit_test(what_follows_the_item_is_refused),
        cmocka_unit_test(reserved_heads_are_refused),
        cmocka_unit_test(simple_values_nobody_assigned_are_well_formed),
        cmocka_unit_test(malformed_items_are_refused_where_they_go_wrong),
        cmocka_unit_test(nesting_is_accepted_to_its_limit_and_no_further),
        cmocka_unit_test(checking_allocates_nothing),
        cmocka_unit_test(numbers_take_their_shortest_form),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_string_is_written_whole_or_not_at_all),
        cmocka_unit_test(a_map_is_walked_in_order),
        cmocka_unit_test(a_map_that_is_not_deterministic_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
