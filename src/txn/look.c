/* SPDX-License-Identifier: Apache-2.0 */
/* Looking: what keys hold as of a timestamp, and what a transaction waits for. */
#include <stdlib.h>

#include "base/error.h"
#include "txn/state.h"

/* As of which timestamp it reads: the one asked for, or the clock when it first ran, so that it
 * waits for nobody who began later. Where that is collected by now, for the clock once more. */
static int choose_timestamp(const struct txn *txn, struct coordinator *c, struct request *request)
{
    const struct txn_call *call = call_of(request);
    uint64_t clock = coordinator_clock_here(c);
    if (!call->has_at) {
        if (request->clock == 0 || request->clock < txn->now.collected) {
            request->clock = clock;
        }
        return 0;
    }
    if (call->timestamp > clock) {
        return error_set(request->error, LS_EINVAL, clock,
                         "%llu is above the clock, which is at %llu",
                         (unsigned long long)call->timestamp, (unsigned long long)clock);
    }
    if (call->timestamp < txn->now.collected) {
        return error_set(request->error, LS_ETOOOLD, txn->now.collected,
                         "what was there as of %llu is collected: oldest=%llu",
                         (unsigned long long)call->timestamp,
                         (unsigned long long)txn->now.collected);
    }
    request->clock = call->timestamp;
    return 0;
}

int txn_get(struct txn *txn, struct coordinator *c, struct request *request)
{
    struct txn_call *call = call_of(request);
    int rc = txn_check_size(call->eager.count, 0, request->error);
    rc = rc != 0 ? rc : choose_timestamp(txn, c, request);
    for (size_t i = 0; i < call->eager.count && rc == 0; i++) {
        uint64_t waits_for;
        ls_bytes key = call->eager.keys[i];
        rc = key_check_version(key, request->error);
        rc = rc != 0
                 ? rc
                 : txn_resolve(txn, c, call, request->clock + 1, key, recent_hash(txn->recent, key),
                               &call->values[i], &waits_for, request->error);
        if (rc > 0) {
            return txn_park(txn, request, waits_for);
        }
    }
    if (rc == 0) {
        txn_settle_values(call, call->eager.count);
    }
    return rc;
}

/* ---- explain ---- */

static int explain_key(struct txn *txn, struct coordinator *c, struct txn_call *call,
                       const struct open *open, const struct held *held, struct txn_mark *mark,
                       struct ls_error *error)
{
    *mark = (struct txn_mark){.kinds = held->kinds, .at = call->bytes.size};
    mark->key.size = held->key.size;
    if (buf_append(&call->bytes, held->key.data, held->key.size) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    if ((held->kinds & (TXN_EAGER | TXN_LAZY)) == 0) {
        return 0;
    }
    struct version version;
    uint64_t found = 0;
    uint64_t blocker;
    txn->touched = true; /* the watermark */
    int rc = index_waits_for(txn->index, open->timestamp, held->key, &blocker, error);
    if (rc != 0 || blocker == 0) {
        return rc;
    }
    rc = version_read(txn, c, held->key, recent_hash(txn->recent, held->key), open->timestamp,
                      &found, &version, error);
    if (rc < 0 || (rc > 0 && found > blocker)) {
        return rc < 0 ? rc : 0;
    }
    const struct open *before = index_find(txn->index, blocker);
    const struct held *its = before != NULL ? open_key(before, held->key) : NULL;
    mark->waits = true;
    mark->waits_for = blocker;
    mark->waits_since = before != NULL ? before->began_ns : 0;
    mark->waits_kind = its != NULL ? its->kinds & (TXN_WILL | TXN_MAY) : 0;
    return 0;
}

int txn_explain(struct txn *txn, struct coordinator *c, struct request *request)
{
    struct txn_call *call = call_of(request);
    struct open *open;
    int rc = txn_find(txn, c, call->timestamp, &open, request->error);
    if (rc != 0) {
        return rc;
    }
    free(call->marks);
    call->marks = calloc(open->count, sizeof(*call->marks));
    call->mark_count = 0;
    if (call->marks == NULL) {
        return error_code(request->error, LS_ENOMEM);
    }
    for (size_t i = 0; i < open->count && rc == 0; i++) {
        rc = explain_key(txn, c, call, open, &open->keys[i], &call->marks[i], request->error);
    }
    if (rc != 0) {
        return rc;
    }
    call->mark_count = open->count;
    for (size_t i = 0; i < open->count; i++) {
        call->marks[i].key.data = bytes_at(call, call->marks[i].at);
    }
    uint64_t now_ms = txn_now_ms(txn);
    uint64_t end_ms = open->seen_ms + open->ttl_ms;
    call->began_ns = open->began_ns;
    call->age_ms = now_ms - open->seen_ms;
    call->expire_ms = end_ms > now_ms ? end_ms - now_ms : 0;
    call->calls_waiting = 0;
    for (const struct txn_call *at = open->waiters; at != NULL; at = at->waiter_next) {
        call->calls_waiting++;
    }
    return 0;
}
