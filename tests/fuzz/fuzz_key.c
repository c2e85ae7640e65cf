/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys: what decodes encodes to the same bytes, what encodes decodes to the same parts, and keys of
 * versions sort as their names do.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "check.h"
#include "codec/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(struct key *out, const struct key_parts *parts)
{
    switch (parts->category) {
    case KEY_CONTROL:
        CHECK(key_control(out, parts->name) == 0);
        break;
    case KEY_MESSAGE:
        key_message(out, parts->clock, parts->type);
        break;
    case KEY_NODE:
        CHECK(key_node(out, parts->name, NULL) == 0);
        break;
    case KEY_OBJECT:
        CHECK(key_object(out, parts->name, NULL) == 0);
        break;
    case KEY_PRODUCER:
        key_producer(out, parts->id);
        break;
    case KEY_VERSION:
        CHECK(key_version(out, parts->name, parts->clock, NULL) == 0);
        break;
    }
}

static void check_decoded(ls_bytes key)
{
    struct ls_error error = {0};
    struct key_parts parts;
    int rc = key_decode(&parts, key, &error);
    if (rc != 0) {
        CHECK(rc == LS_EKEY && error.code == LS_EKEY && error.text[0] != '\0');
        return;
    }
    struct key again;
    encode_again(&again, &parts);
    CHECK(bytes_equal(key_bytes(&again), key));
}

/* The timestamps are such that only the names can give the right order. */
static void check_version_order(ls_bytes a, ls_bytes b)
{
    struct key first;
    struct key second;
    if (key_version(&first, a, UINT64_MAX, NULL) != 0 || key_version(&second, b, 0, NULL) != 0) {
        return;
    }
    int names = bytes_compare(a, b);
    int keys = bytes_compare(key_bytes(&first), key_bytes(&second));
    CHECK(names == 0 ? keys > 0 : (names < 0) == (keys < 0));

    struct key_parts parts;
    CHECK(key_decode(&parts, key_bytes(&first), NULL) == 0);
    CHECK(parts.clock == UINT64_MAX && bytes_equal(parts.name, a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_decoded(bytes_of(data, size));
    if (size > 0) {
        size_t cut = 1 + data[0] % size;
        check_version_order(bytes_of(data + 1, cut - 1), bytes_of(data + cut, size - cut));
    }
    return 0;
}
