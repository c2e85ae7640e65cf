/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying the checks of records. It knows no field of theirs but `check` itself. */
#include "base/error.h"
#include "base/hash.h"
#include "codec/cbor.h"
#include "codec/record.h"

/* Hashes the record as it was before `check` was inserted: one pair less, and without the entry. It
 * needs to know no field but that one, so it holds for records with keys that are not known. */
static int verify(ls_bytes record, uint64_t seed, struct ls_error *error)
{
    struct cbor_map map;
    struct cbor_entry check = {0};
    size_t check_end = 0;
    int rc = cbor_map_open(&map, record, error);
    uint64_t pairs = rc == 0 ? map.left : 0;
    size_t head_end = rc == 0 ? map.offset : 0;
    while (rc >= 0) {
        struct cbor_entry entry;
        rc = cbor_map_next(&map, &entry, error);
        if (rc <= 0) {
            break;
        }
        if (entry.kind == CBOR_UINT && bytes_equal(entry.key, bytes_of("check", 5))) {
            check = entry;
            check_end = map.offset;
        }
    }
    if (rc < 0) {
        if (error != NULL) {
            error->code = LS_ECORRUPT;
        }
        return LS_ECORRUPT;
    }
    if (check_end == 0) {
        return error_set(error, LS_ECORRUPT, 0, "the record has no check");
    }
    uint8_t head[CBOR_HEAD_SIZE_MAX];
    const uint8_t *data = record.data;
    const ls_bytes parts[] = {
        bytes_of(head, cbor_write_head(head, CBOR_ITEM_MAP, pairs - 1)),
        bytes_of(data + head_end, check.offset - head_end),
        bytes_of(data + check_end, record.size - check_end),
    };
    if (hash64_parts(parts, sizeof parts / sizeof parts[0], seed) != check.number) {
        return error_set(error, LS_ECORRUPT, 0, "the check of the record does not match");
    }
    return 0;
}

int message_verify(ls_bytes record, uint64_t previous_check, struct ls_error *error)
{
    return verify(record, previous_check, error);
}

int record_verify(ls_bytes record, ls_bytes key, struct ls_error *error)
{
    return verify(record, hash64(key.data, key.size, 0), error);
}
