/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to CBOR and back: what each becomes, what is refused and where, and want of memory. */
#include "codec/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "cbor_vectors.h"
#include "codec/cbor.h"
#include "faults.h"

static void hex_to_buf(struct buf *out, const char *hex)
{
    for (size_t i = 0; hex[i] != '\0'; i += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex + i, "%2x", &byte), 1);
        assert_int_equal(buf_append_byte(out, (uint8_t)byte), 0);
    }
}

static void buf_to_hex(char *hex, size_t size, const struct buf *in)
{
    assert_true(in->size * 2 < size);
    hex[0] = '\0';
    for (size_t i = 0; i < in->size; i++) {
        snprintf(hex + 2 * i, 3, "%02x", in->data[i]);
    }
}

static void expect_cbor(const char *json, const char *hex)
{
    struct buf out = {0};
    struct ls_error error = {0};
    char got[512];
    if (json_to_cbor(&out, bytes_of_text(json), &error) != 0) {
        fail_msg("%s: %s", json, error.text);
    }
    buf_to_hex(got, sizeof got, &out);
    assert_string_equal(got, hex);
    assert_int_equal(cbor_check(buf_bytes(&out), NULL), 0);
    buf_free(&out);
}

static void expect_bad_json(const char *json, size_t size, uint64_t offset)
{
    struct buf out = {0};
    struct ls_error error = {0};
    assert_int_equal(buf_append_text(&out, "kept"), 0);
    int rc = json_to_cbor(&out, bytes_of(json, size), &error);
    if (rc != LS_EBADJSON || error.code != rc || error.number != offset) {
        fail_msg("%s: %d at %llu, expected at %llu: %s", json, rc, (unsigned long long)error.number,
                 (unsigned long long)offset, error.text);
    }
    for (const char *at = error.text; *at != '\0'; at++) {
        assert_true((unsigned char)*at >= 0x20);
    }
    assert_true(bytes_equal(buf_bytes(&out), bytes_of_text("kept")));
    buf_free(&out);
}

static void expect_json(const char *hex, const char *json)
{
    struct buf in = {0};
    struct buf out = {0};
    struct ls_error error = {0};
    hex_to_buf(&in, hex);
    if (json_from_cbor(&out, buf_bytes(&in), &error) != 0) {
        fail_msg("%s: %s", hex, error.text);
    }
    assert_int_equal(buf_append_byte(&out, '\0'), 0);
    assert_string_equal((const char *)out.data, json);
    buf_free(&in);
    buf_free(&out);
}

/* ---- to CBOR ---- */

static void each_kind_of_value_becomes_its_own(void **state)
{
    (void)state;
    expect_cbor("null", "f6");
    expect_cbor(" true ", "f5");
    expect_cbor("false", "f4");
    expect_cbor("\"\"", "60");
    expect_cbor("\"\\u00fc\\ud800\\udd51\\n\"", "67c3bcf09085910a");
    expect_cbor("\"a\\u0000b\"", "63610062");
    expect_cbor("[]", "80");
    expect_cbor("[1,[2,3],{}]", "8301820203a0");
    expect_cbor("{\"a\":{\"b\":[null]}}", "a16161a1616281f6");
}

static void integers_stay_integers_over_the_range_of_cbor(void **state)
{
    (void)state;
    expect_cbor("0", "00");
    expect_cbor("-0", "00");
    expect_cbor("-1", "20");
    expect_cbor("1000000000000", "1b000000e8d4a51000");
    expect_cbor("9223372036854775807", "1b7fffffffffffffff");
    expect_cbor("9223372036854775808", "1b8000000000000000");
    expect_cbor("18446744073709551615", "1bffffffffffffffff");
    expect_cbor("-9223372036854775808", "3b7fffffffffffffff");
    expect_cbor("-9223372036854775809", "3b8000000000000000");
    expect_cbor("-18446744073709551615", "3bfffffffffffffffe");
    expect_cbor("-18446744073709551616", "3bffffffffffffffff");
}

static void integers_past_that_become_floats(void **state)
{
    (void)state;
    expect_cbor("18446744073709551616", "fa5f800000");
    expect_cbor("-18446744073709551617", "fadf800000");
    expect_cbor("100000000000000000000", "fb4415af1d78b58c40");
}

static void big_integers_are_told_from_the_reals_around_them(void **state)
{
    (void)state;
    expect_cbor("[1.5,18446744073709551615,2.5,9223372036854775808,0.0,{\"b\":1e1,"
                "\"a\":18446744073709551614,\"99999999999999999999\":0.0}]",
                "86f93e001bfffffffffffffffff941001b8000000000000000f90000a36161"
                "1bfffffffffffffffe6162f949007439393939393939393939393939393939393939"
                "39f90000");
}

static void floats_take_the_shortest_exact_form(void **state)
{
    (void)state;
    expect_cbor("0.0", "f90000");
    expect_cbor("-0.0", "f98000");
    expect_cbor("1.0", "f93c00");
    expect_cbor("1e0", "f93c00");
    expect_cbor("65504.0", "f97bff");
    expect_cbor("65505.0", "fa477fe100");
    expect_cbor("5.960464477539063e-8", "f90001");
    expect_cbor("0.00006103515625", "f90400");
    expect_cbor("0.00006097555160522461", "f903ff");
    expect_cbor("2.9802322387695312e-8", "fa33000000");
    expect_cbor("100000.0", "fa47c35000");
    expect_cbor("3.4028234663852886e38", "fa7f7fffff");
    expect_cbor("3.5e38", "fb47f074f8c4d3cd7b");
    expect_cbor("1.401298464324817e-45", "fa00000001");
    expect_cbor("1.1", "fb3ff199999999999a");
    expect_cbor("-4.1", "fbc010666666666666");
    expect_cbor("1e300", "fb7e37e43c8800759c");
    expect_cbor("1e-400", "f90000");
}

static void keys_take_the_order_of_their_encoding(void **state)
{
    (void)state;
    expect_cbor("{\"b\":1,\"aa\":2,\"a\":3,\"\":4}", "a4600461610361620162616102");
    expect_cbor("{\"z\":{\"y\":1,\"x\":[{\"d\":0,\"c\":0}]},\"a\":0}",
                "a2616100617aa2617881a26163006164006179"
                "01");
}

static void many_keys_are_put_in_order(void **state)
{
    (void)state;
    struct buf json = {0};
    struct buf out = {0};
    assert_int_equal(buf_append_byte(&json, '{'), 0);
    for (int i = 0; i < 500; i++) {
        int key = i * 7919 % 500;
        assert_int_equal(buf_printf(&json, "%s\"%d\":%d", i > 0 ? "," : "", key, key), 0);
    }
    assert_int_equal(buf_append_byte(&json, '}'), 0);
    assert_int_equal(json_to_cbor(&out, buf_bytes(&json), NULL), 0);
    struct cbor_map map;
    struct cbor_entry entry;
    int count = 0;
    int rc = cbor_map_open(&map, buf_bytes(&out), NULL);
    assert_int_equal(rc, 0);
    while ((rc = cbor_map_next(&map, &entry, NULL)) > 0) {
        assert_int_equal(entry.number, count);
        count++;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(count, 500);
    buf_free(&json);
    buf_free(&out);
}

static void malformed_text_is_refused_with_its_offset(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        uint64_t offset;
    } cases[] = {
        {"", 0},
        {" ", 1},
        {"[1,2", 4},
        {"[1] x", 5},
        {"[1]]", 4},
        {"01", 1},
        {"00000000000000000000000001", 1},
        {"-", 1},
        {"1e400", 5},
        {"[tru]", 4},
        {"\"a\nb\"", 2},
        {"\"ab", 3},
        {"\"\\", 2},
        {"\"\\ud800\"", 8},
        {"\"\\udc00\"", 8},
        {"[\"\xFF\"]", 2},
        {"\xFF", 0},
        {"{\"a\":1,\"a\":2}", 10},
        {"{\"\\u0000\":1}", 9},
        {"{1:2}", 2},
        {"[,]", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_bad_json(cases[i].json, strlen(cases[i].json), cases[i].offset);
    }
    expect_bad_json(NULL, 0, 0);
}

static void an_integer_too_large_for_a_double_is_refused(void **state)
{
    (void)state;
    char json[512];
    memset(json, '9', sizeof json);
    memcpy(json, "[1,", 3);
    json[sizeof json - 1] = ']';
    expect_bad_json(json, sizeof json, 3);
}

static void nesting_is_refused_past_its_limit(void **state)
{
    (void)state;
    char json[2 * CBOR_DEPTH_MAX + 2];
    struct buf out = {0};
    memset(json, '[', CBOR_DEPTH_MAX);
    memset(json + CBOR_DEPTH_MAX, ']', CBOR_DEPTH_MAX);
    assert_int_equal(json_to_cbor(&out, bytes_of(json, 2 * (size_t)CBOR_DEPTH_MAX), NULL), 0);
    assert_int_equal(cbor_check(buf_bytes(&out), NULL), 0);
    memset(json, '[', CBOR_DEPTH_MAX + 1);
    memset(json + CBOR_DEPTH_MAX + 1, ']', CBOR_DEPTH_MAX + 1);
    expect_bad_json(json, sizeof json, CBOR_DEPTH_MAX);
    expect_cbor("\"[[[[\\\"[[[[\"", "69"
                                    "5b5b5b5b225b5b5b5b");
    buf_free(&out);
}

static void brackets_in_strings_are_not_nesting(void **state)
{
    (void)state;
    struct buf json = {0};
    struct buf out = {0};
    assert_int_equal(buf_append_byte(&json, '"'), 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(buf_append_text(&json, "[{\\\""), 0);
    }
    assert_int_equal(buf_append_byte(&json, '"'), 0);
    assert_int_equal(json_to_cbor(&out, buf_bytes(&json), NULL), 0);
    buf_free(&json);
    buf_free(&out);
}

/* ---- from CBOR ---- */

static void every_vector_of_the_rfc_has_its_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < CBOR_VECTOR_COUNT; i++) {
        expect_json(cbor_vectors[i].hex, cbor_vectors[i].json);
    }
}

static void malformed_cbor_gives_no_text(void **state)
{
    (void)state;
    struct ls_error error = {0};
    struct buf out = {0};
    assert_int_equal(buf_append_text(&out, "kept"), 0);
    assert_int_equal(json_from_cbor(&out, bytes_of("\x82\1\xFF", 3), &error), LS_EBADCBOR);
    assert_int_equal(error.number, 2);
    assert_true(bytes_equal(buf_bytes(&out), bytes_of_text("kept")));
    buf_free(&out);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_int_equal(json_put_string(&out, bytes_of("\0\x1F\"\\/\b\f\n\r\t\x7F\xC3\xA9", 13)), 0);
    assert_int_equal(buf_append_byte(&out, '\0'), 0);
    assert_string_equal((const char *)out.data,
                        "\"\\u0000\\u001f\\\"\\\\/\\b\\f\\n\\r\\t\x7F\xC3\xA9\"");
    out.size = 0;
    assert_int_equal(json_put_string(&out, bytes_of_text("a\xFF\xC3z\xE2\x82")), 0);
    assert_int_equal(buf_append_byte(&out, '\0'), 0);
    assert_string_equal((const char *)out.data,
                        "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"");
    buf_free(&out);
}

static void bytes_are_base64url_without_padding(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    for (size_t size = 0; size <= 6; size++) {
        struct buf out = {0};
        assert_int_equal(json_put_base64(&out, bytes_of("foobar", size)), 0);
        assert_true(bytes_equal(buf_bytes(&out), bytes_of_text(texts[size])));
        buf_free(&out);
    }
    struct buf out = {0};
    assert_int_equal(json_put_base64(&out, bytes_of("\xFB\xEF\xFF", 3)), 0);
    assert_true(bytes_equal(buf_bytes(&out), bytes_of_text("--__")));
    buf_free(&out);
}

static void keys_that_are_not_text_become_text(void **state)
{
    (void)state;
    expect_json("a12001", "{\"-1\":1}");
    expect_json("a1f501", "{\"true\":1}");
    expect_json("a1f9380001", "{\"0.5\":1}");
    expect_json("a1410101", "{\"AQ\":1}");
    expect_json("a15f41014102ff01", "{\"AQI\":1}");
    expect_json("a17f61616162ff01", "{\"ab\":1}");
    expect_json("a1c1c261"
                "6101",
                "{\"a\":1}");
    expect_json("a1c10a01", "{\"10\":1}");
    expect_json("a182016161f5", "{\"[1,\\\"a\\\"]\":true}");
    expect_json("a1c18101f5", "{\"[1]\":true}");
    expect_json("a180a0", "{\"[]\":{}}");
    expect_json("bf9f01ff02ff", "{\"[1]\":2}");
    expect_json("82a1a1020304a101"
                "05",
                "[{\"{\\\"2\\\":3}\":4},{\"1\":5}]");
}

static void a_key_within_a_key_is_not_escaped_again(void **state)
{
    (void)state;
    /* {{{1: 2}: 3}: 4}: the innermost map is h'a10102'. */
    expect_json("a1a1a101020304", "{\"{\\\"oQEC\\\":3}\":4}");
    /* After such a key, the next one is written out as ever. */
    expect_json("a2a1810102038101"
                "04",
                "{\"{\\\"gQE\\\":2}\":3,\"[1]\":4}");
    expect_json("a181a18101028101", "{\"[{\\\"gQE\\\":2}]\":[1]}");
}

static void tags_and_chunks_leave_no_trace(void **state)
{
    (void)state;
    expect_json("82c1c10102", "[1,2]");
    expect_json("a16161c15f41014202"
                "03ff",
                "{\"a\":\"AQID\"}");
    expect_json("9f7fff5fffff", "[\"\",\"\"]");
    expect_json("c1bfff", "{}");
}

static void what_came_from_json_goes_back_to_it(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\":[1,-1,1.5,1e+300,0.1,-0.0],\"b\":{\"c\":null,\"d\":[true,false,[],{}]}}",
        "[18446744073709551615,-18446744073709551616,9223372036854775807,\"\\u0000\\n\xC3\xA9\"]",
        "[5e-324,1.7976931348623157e+308,2.2250738585072014e-308,123456789.12345679]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf cbor = {0};
        struct buf json = {0};
        assert_int_equal(json_to_cbor(&cbor, bytes_of_text(texts[i]), NULL), 0);
        assert_int_equal(json_from_cbor(&json, buf_bytes(&cbor), NULL), 0);
        assert_int_equal(buf_append_byte(&json, '\0'), 0);
        assert_string_equal(json.data, texts[i]);
        buf_free(&cbor);
        buf_free(&json);
    }
}

/* ---- payloads ---- */

static void a_payload_becomes_one_item_or_is_refused(void **state)
{
    (void)state;
    struct ls_error error = {0};
    struct buf out = {0};
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_CBOR, {"\x81\1", 2}}, &error), 0);
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_JSON, {"[1]", 3}}, &error), 0);
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_TEXT, {"ab", 2}}, &error), 0);
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_TEXT, {NULL, 0}}, &error), 0);
    assert_true(bytes_equal(buf_bytes(&out), bytes_of("\x81\1\x81\1\x62"
                                                      "ab\x60",
                                                      8)));

    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_CBOR, {"\x81", 1}}, &error),
                     LS_EBADCBOR);
    assert_int_equal(error.number, 1);
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_CBOR, {NULL, 0}}, &error), LS_EBADCBOR);
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_JSON, {"[1", 2}}, &error), LS_EBADJSON);
    assert_int_equal(payload_to_cbor(&out, (ls_payload){LS_TEXT, {"a\xFF", 2}}, &error), LS_EINVAL);
    assert_int_equal(error.number, 1);
    ls_payload unknown = {(enum ls_payload_kind)7, {"a", 1}};
    assert_int_equal(payload_to_cbor(&out, unknown, &error), LS_EINVAL);
    assert_int_equal(out.size, 8);
    buf_free(&out);
}

static void utf8_is_checked_to_the_letter(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad; /* SIZE_MAX: none */
    } cases[] = {
        {"", SIZE_MAX},
        {"plain ascii, longer than a word", SIZE_MAX},
        {"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", SIZE_MAX},
        {"12345678\x80", 8},
        {"1234567\x80", 7},
        {"\xC1\xBF", 0},
        {"a\xE0\x9F\xBF", 1},
        {"\xED\x9F\xBF\xED\xA0\x80", 3},
        {"\xF0\x8F\xBF\xBF", 0},
        {"\xF4\x90\x80\x80", 0},
        {"\xF5\x80\x80\x80", 0},
        {"\xE2\x82", 0},
        {"\xE2\x82"
         "a",
         0},
        {"\xF0\x9F\x98", 0},
        {"\xF0\x9F\x98"
         "a",
         0},
        {"\xFE", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bad = SIZE_MAX;
        bool valid = utf8_check(bytes_of_text(cases[i].text), &bad);
        assert_int_equal(valid, cases[i].bad == SIZE_MAX);
        assert_int_equal(bad, cases[i].bad);
    }
    uint8_t text[100];
    memset(text, 'a', sizeof text);
    assert_true(utf8_check(bytes_of(text, sizeof text), NULL));
    for (size_t i = 0; i < sizeof text; i++) {
        size_t bad = SIZE_MAX;
        text[i] = 0x80;
        assert_false(utf8_check(bytes_of(text, sizeof text), &bad));
        assert_int_equal(bad, i);
        assert_true(utf8_check(bytes_of(text, i), NULL));
        text[i] = 'a';
    }
}

/* ---- memory ---- */

static const char memory_sample[] =
    "{\"b\":[1,2.5,\"a text that is longer than a small one\",{\"y\":[],\"x\":{}}],"
    "\"a\":18446744073709551615,\"c\":99999999999999999999,\"aa\":[[[[null]]]]}";

static void convert_with_a_fault(void *context, long n)
{
    (void)context;
    (void)n;
    struct buf cbor = {0};
    struct ls_error error = {0};
    int rc = json_to_cbor(&cbor, bytes_of_text(memory_sample), &error);
    if (rc != 0) {
        assert_int_equal(rc, LS_ENOMEM);
        assert_int_equal(error.code, LS_ENOMEM);
        assert_int_equal(cbor.size, 0);
    } else {
        assert_int_equal(cbor_check(buf_bytes(&cbor), NULL), 0);
    }
    buf_free(&cbor);
}

/* As malloc, which tells why it failed. */
static void *counted_malloc(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        errno = ENOMEM;
    }
    return memory;
}

static void counted_free(void *memory)
{
    free(memory);
}

static void every_allocation_may_fail_on_the_way_to_cbor(void **state)
{
    (void)state;
    /* jansson's own allocations too: through these functions they meet the faults. */
    json_set_alloc_funcs(counted_malloc, counted_free);
    faults_each_allocation(convert_with_a_fault, NULL);
}

static void print_with_a_fault(void *context, long n)
{
    (void)n;
    const struct buf *cbor = context;
    struct buf json = {0};
    struct ls_error error = {0};
    int rc = json_from_cbor(&json, buf_bytes(cbor), &error);
    if (rc != 0) {
        assert_int_equal(rc, LS_ENOMEM);
        assert_int_equal(error.code, LS_ENOMEM);
        assert_int_equal(json.size, 0);
    }
    buf_free(&json);
}

static void every_allocation_may_fail_on_the_way_to_json(void **state)
{
    (void)state;
    struct buf cbor = {0};
    hex_to_buf(&cbor, "a3a1a1010203"
                      "5f4201024103ff"
                      "8201"
                      "627878"
                      "7f6161ff"
                      "fb3ff199999999999a"
                      "98190102030405060708090a0b0c0d0e0f10"
                      "1112131415161718181819");
    faults_each_allocation(print_with_a_fault, &cbor);
    buf_free(&cbor);
}

static void payload_with_a_fault(void *context, long n)
{
    (void)n;
    struct buf out = {0};
    struct ls_error error = {0};
    int rc = payload_to_cbor(&out, *(const ls_payload *)context, &error);
    assert_true(rc == 0 || (rc == LS_ENOMEM && error.code == LS_ENOMEM && out.size == 0));
    buf_free(&out);
}

static void every_allocation_may_fail_for_a_payload(void **state)
{
    (void)state;
    ls_payload payloads[] = {{LS_CBOR, {"\x81\1", 2}}, {LS_JSON, {"[1]", 3}}, {LS_TEXT, {"ab", 2}}};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        faults_each_allocation(payload_with_a_fault, &payloads[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_value_becomes_its_own),
        cmocka_unit_test(integers_stay_integers_over_the_range_of_cbor),
        cmocka_unit_test(integers_past_that_become_floats),
        cmocka_unit_test(big_integers_are_told_from_the_reals_around_them),
        cmocka_unit_test(floats_take_the_shortest_exact_form),
        cmocka_unit_test(keys_take_the_order_of_their_encoding),
        cmocka_unit_test(many_keys_are_put_in_order),
        cmocka_unit_test(malformed_text_is_refused_with_its_offset),
        cmocka_unit_test(an_integer_too_large_for_a_double_is_refused),
        cmocka_unit_test(nesting_is_refused_past_its_limit),
        cmocka_unit_test(brackets_in_strings_are_not_nesting),
        cmocka_unit_test(every_vector_of_the_rfc_has_its_json),
        cmocka_unit_test(malformed_cbor_gives_no_text),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(bytes_are_base64url_without_padding),
        cmocka_unit_test(keys_that_are_not_text_become_text),
        cmocka_unit_test(a_key_within_a_key_is_not_escaped_again),
        cmocka_unit_test(tags_and_chunks_leave_no_trace),
        cmocka_unit_test(what_came_from_json_goes_back_to_it),
        cmocka_unit_test(a_payload_becomes_one_item_or_is_refused),
        cmocka_unit_test(utf8_is_checked_to_the_letter),
        cmocka_unit_test(every_allocation_may_fail_on_the_way_to_cbor),
        cmocka_unit_test(every_allocation_may_fail_on_the_way_to_json),
        cmocka_unit_test(every_allocation_may_fail_for_a_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
