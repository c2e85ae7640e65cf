/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR from anywhere: what is well-formed has a JSON text that another parser reads, ends where it
 * is said to, and is not well-formed when it is cut; a walk over a map stays within its bytes.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"
#include "codec/cbor.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longer items are not cut at each byte, which would take quadratic time. */
#define CUT_SIZE_MAX 64

static void check_text(ls_bytes json)
{
    json_error_t error;
    json_t *tree = json_loadb(json.data, json.size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    /* jansson takes no NUL in a key, JSON does. */
    CHECK(tree != NULL || json_error_code(&error) == json_error_null_byte_in_key);
    json_decref(tree);
}

/* JSON of the item, as CBOR, as JSON, as CBOR: from the first CBOR on nothing changes. */
static void check_round_trip(ls_bytes json)
{
    struct buf cbor = {0};
    struct buf text = {0};
    struct buf again = {0};
    if (json_to_cbor(&cbor, json, NULL) == 0) {
        CHECK(cbor_check(buf_bytes(&cbor), NULL) == 0);
        CHECK(json_from_cbor(&text, buf_bytes(&cbor), NULL) == 0);
        CHECK(json_to_cbor(&again, buf_bytes(&text), NULL) == 0);
        CHECK(bytes_equal(buf_bytes(&cbor), buf_bytes(&again)));
    }
    buf_free(&cbor);
    buf_free(&text);
    buf_free(&again);
}

static void check_well_formed(ls_bytes item)
{
    struct buf json = {0};
    size_t end = 0;
    CHECK(cbor_skip(&end, item, 0, NULL) == 0 && end == item.size);
    CHECK(json_from_cbor(&json, item, NULL) == 0);
    CHECK(utf8_check(buf_bytes(&json), NULL));
    check_text(buf_bytes(&json));
    check_round_trip(buf_bytes(&json));
    buf_free(&json);
    for (size_t cut = 0; cut < item.size && item.size <= CUT_SIZE_MAX; cut++) {
        struct ls_error error = {0};
        CHECK(cbor_check(bytes_of(item.data, cut), &error) == LS_EBADCBOR);
        CHECK(error.number == cut);
    }
}

static void walk_map(ls_bytes record, bool well_formed)
{
    struct ls_error error = {0};
    struct cbor_map map;
    struct cbor_entry entry;
    int rc = cbor_map_open(&map, record, &error);
    for (rc = rc == 0 ? 1 : rc; rc > 0;) {
        rc = cbor_map_next(&map, &entry, &error);
    }
    CHECK(rc == 0 || (error.code == rc && error.number <= record.size));
    CHECK(rc == 0 || rc == LS_ERECORD);
    CHECK(rc != 0 || well_formed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error error = {0};
    ls_bytes item = bytes_of(data, size);
    int rc = cbor_check(item, &error);
    CHECK(rc == 0 || (rc == LS_EBADCBOR && error.code == rc && error.number <= size));
    if (rc == 0) {
        check_well_formed(item);
    }
    walk_map(item, rc == 0);
    return 0;
}
