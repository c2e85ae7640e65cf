/* SPDX-License-Identifier: Apache-2.0 */
/* Control records and index keys: names and fields, nothing that reads or writes. */
#include "coordinator/layout.h"

#include <assert.h>

#include "base/buf.h"

#define OWNED      "owned/"
#define OWNED_SIZE (sizeof(OWNED) - 1)
#define LIVE       "live/"
#define LIVE_SIZE  (sizeof(LIVE) - 1)
#define TXN        "txn/"
#define TXN_SIZE   (sizeof(TXN) - 1)
#define LOG        "versions/"
#define LOG_SIZE   (sizeof(LOG) - 1)

const char *const control_format_fields[] = {"version", NULL};
const char *const control_epoch_fields[] = {"epoch", NULL};
const char *const control_clock_fields[] = {"clock", NULL};
const char *const control_box_fields[] = {"?live", "bytes", "chain", "count", "newest", NULL};
const char *const control_discarded_fields[] = {"chain", "clock", NULL};
const char *const control_txns_fields[] = {"open",      "logged",     "merged", "written",
                                           "collected", "generation", NULL};
const char *const live_fields[] = {NULL};

const char *const *control_fields(ls_bytes name)
{
    static const struct {
        const char *name;
        const char *const *fields;
    } known[] = {
        {CONTROL_FORMAT, control_format_fields},       {CONTROL_EPOCH, control_epoch_fields},
        {CONTROL_CLOCK, control_clock_fields},         {CONTROL_BOX, control_box_fields},
        {CONTROL_DISCARDED, control_discarded_fields}, {CONTROL_TXNS, control_txns_fields},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (bytes_equal(name, bytes_of_text(known[i].name))) {
            return known[i].fields;
        }
    }
    return NULL;
}

void owned_prefix(struct key *out, ls_bytes host)
{
    assert(host.size >= 1 && host.size <= KEY_HOST_SIZE_MAX);
    key_first(out, KEY_CONTROL);
    memcpy(out->data + out->size, OWNED, OWNED_SIZE);
    out->size = (uint16_t)(out->size + OWNED_SIZE);
    memcpy(out->data + out->size, host.data, host.size);
    out->size = (uint16_t)(out->size + host.size);
    out->data[out->size++] = 0;
}

void owned_key(struct key *out, ls_bytes host, uint64_t created)
{
    owned_prefix(out, host);
    put_be64(out->data + out->size, created);
    out->size = (uint16_t)(out->size + 8);
}

bool owned_name(ls_bytes name, ls_bytes *host, uint64_t *created)
{
    if (name.size < OWNED_SIZE + 1 + 1 + 8 || memcmp(name.data, OWNED, OWNED_SIZE) != 0) {
        return false;
    }
    const uint8_t *bytes = name.data;
    size_t host_end = name.size - 9;
    if (bytes[host_end] != 0) {
        return false;
    }
    *host = bytes_of(bytes + OWNED_SIZE, host_end - OWNED_SIZE);
    *created = get_be64(bytes + host_end + 1);
    return true;
}

void live_prefix(struct key *out)
{
    key_first(out, KEY_CONTROL);
    memcpy(out->data + out->size, LIVE, LIVE_SIZE);
    out->size = (uint16_t)(out->size + LIVE_SIZE);
}

void live_key(struct key *out, ls_bytes host)
{
    assert(host.size >= 1 && host.size <= KEY_HOST_SIZE_MAX);
    live_prefix(out);
    memcpy(out->data + out->size, host.data, host.size);
    out->size = (uint16_t)(out->size + host.size);
}

bool live_name(ls_bytes name, ls_bytes *host)
{
    if (name.size <= LIVE_SIZE || memcmp(name.data, LIVE, LIVE_SIZE) != 0) {
        return false;
    }
    *host = bytes_of((const uint8_t *)name.data + LIVE_SIZE, name.size - LIVE_SIZE);
    return true;
}

void txn_prefix(struct key *out)
{
    key_first(out, KEY_CONTROL);
    memcpy(out->data + out->size, TXN, TXN_SIZE);
    out->size = (uint16_t)(out->size + TXN_SIZE);
}

void txn_key(struct key *out, uint64_t timestamp)
{
    txn_prefix(out);
    put_be64(out->data + out->size, timestamp);
    out->size = (uint16_t)(out->size + 8);
}

bool txn_name(ls_bytes name, uint64_t *timestamp)
{
    if (name.size != TXN_SIZE + 8 || memcmp(name.data, TXN, TXN_SIZE) != 0) {
        return false;
    }
    *timestamp = get_be64((const uint8_t *)name.data + TXN_SIZE);
    return true;
}

void logged_key(struct key *out, uint64_t sequence)
{
    key_first(out, KEY_CONTROL);
    memcpy(out->data + out->size, LOG, LOG_SIZE);
    put_be64(out->data + out->size + LOG_SIZE, sequence);
    out->size = (uint16_t)(out->size + LOG_SIZE + 8);
}

bool logged_name(ls_bytes name, uint64_t *sequence)
{
    if (name.size != LOG_SIZE + 8 || memcmp(name.data, LOG, LOG_SIZE) != 0) {
        return false;
    }
    *sequence = get_be64((const uint8_t *)name.data + LOG_SIZE);
    return true;
}
