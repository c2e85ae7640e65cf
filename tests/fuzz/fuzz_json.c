/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from anywhere: what is taken becomes one well-formed item in deterministic encoding, whose
 * JSON becomes the same item again; and it is taken exactly where jansson takes it, but for what is
 * nested too deeply and for integers that jansson has no room for.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"
#include "codec/cbor.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_taken(const struct buf *cbor)
{
    struct buf json = {0};
    struct buf again = {0};
    CHECK(cbor_check(buf_bytes(cbor), NULL) == 0);
    CHECK(json_from_cbor(&json, buf_bytes(cbor), NULL) == 0);
    CHECK(json_to_cbor(&again, buf_bytes(&json), NULL) == 0);
    CHECK(bytes_equal(buf_bytes(cbor), buf_bytes(&again)));
    buf_free(&json);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error error = {0};
    struct buf cbor = {0};
    int rc = json_to_cbor(&cbor, bytes_of(data, size), &error);
    if (rc == 0) {
        check_taken(&cbor);
    } else {
        CHECK(rc == LS_EBADJSON && error.code == rc && error.number <= size);
        CHECK(cbor.size == 0);
    }
    json_error_t parse;
    json_t *tree = json_loadb((const char *)data, size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &parse);
    if (tree != NULL) {
        CHECK(rc == 0 || strstr(error.text, "nested deeper") != NULL);
    } else {
        CHECK(rc != 0 || json_error_code(&parse) == json_error_numeric_overflow);
    }
    json_decref(tree);
    buf_free(&cbor);

    struct buf text = {0};
    CHECK(json_put_string(&text, bytes_of(data, size)) == 0);
    CHECK(json_to_cbor(&cbor, buf_bytes(&text), NULL) == 0);
    buf_free(&text);
    buf_free(&cbor);
    return 0;
}
