/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that wait: each is parked until the open transaction that it waits for is over, or the one
 * that it is part of is.
 */
#include "base/error.h"
#include "txn/state.h"

/* ---- lists of calls ---- */

void txn_calls_add(struct calls *calls, struct txn_call *call)
{
    call->parked_next = NULL;
    call->parked_previous = calls->last;
    *(calls->last != NULL ? &calls->last->parked_next : &calls->first) = call;
    calls->last = call;
}

void txn_calls_remove(struct calls *calls, struct txn_call *call)
{
    *(call->parked_previous != NULL ? &call->parked_previous->parked_next : &calls->first) =
        call->parked_next;
    *(call->parked_next != NULL ? &call->parked_next->parked_previous : &calls->last) =
        call->parked_previous;
}

void txn_calls_join(struct calls *to, struct calls *from)
{
    if (from->first == NULL) {
        return;
    }
    from->first->parked_previous = to->last;
    *(to->last != NULL ? &to->last->parked_next : &to->first) = from->first;
    to->last = from->last;
    *from = (struct calls){0};
}

/* ---- waiting ---- */

void txn_parked_no_more(struct txn *txn, const struct txn_call *call)
{
    txn->parked_count--;
    txn->parked_bytes -= call->memory;
}

int txn_check_parking(const struct txn *txn, struct ls_error *error)
{
    if (txn->parked_count >= TXN_PARKED_MAX) {
        return error_set(error, LS_ENOSPACE, TXN_PARKED_MAX,
                         "%d calls wait already, and no more can", TXN_PARKED_MAX);
    }
    return 0;
}

/* The open transaction that the call is part of; NULL: none. */
static struct open *find_whole(const struct txn *txn, const struct txn_call *call)
{
    switch (call->kind) {
    case TXN_BEGIN:
    case TXN_RUN:
        return index_find(txn->index, call->request->clock);
    case TXN_READ:
        return index_find(txn->index, call->timestamp);
    default:
        return NULL;
    }
}

static void join_waiters(struct txn_call *call, struct open *open)
{
    call->waits_for = open;
    call->waiter_next = NULL;
    call->waiter_previous = open->waiters_last;
    *(open->waiters_last != NULL ? &open->waiters_last->waiter_next : &open->waiters) = call;
    open->waiters_last = call;
}

static void leave_waiters(struct txn_call *call)
{
    struct open *open = call->waits_for;
    *(call->waiter_previous != NULL ? &call->waiter_previous->waiter_next : &open->waiters) =
        call->waiter_next;
    *(call->waiter_next != NULL ? &call->waiter_next->waiter_previous : &open->waiters_last) =
        call->waiter_previous;
}

static void join_parts(struct txn_call *call, struct open *open)
{
    call->part_of = open;
    if (open == NULL) {
        return;
    }
    call->part_previous = NULL;
    call->part_next = open->parts;
    if (open->parts != NULL) {
        open->parts->part_previous = call;
    }
    open->parts = call;
}

static void leave_parts(struct txn_call *call)
{
    if (call->part_of == NULL) {
        return;
    }
    *(call->part_previous != NULL ? &call->part_previous->part_next : &call->part_of->parts) =
        call->part_next;
    if (call->part_next != NULL) {
        call->part_next->part_previous = call->part_previous;
    }
}

int txn_park(struct txn *txn, struct request *request, uint64_t waits_for)
{
    struct txn_call *call = call_of(request);
    struct open *open = index_find(txn->index, waits_for);
    if (open == NULL) {
        return error_set(request->error, LS_EINTERNAL, waits_for,
                         "the transaction %llu that is waited for is not there",
                         (unsigned long long)waits_for);
    }
    int rc = txn_check_parking(txn, request->error);
    if (rc != 0) {
        return rc;
    }
    call->request = request;
    join_waiters(call, open);
    join_parts(call, find_whole(txn, call));
    txn_calls_add(&txn->parking, call);
    txn->parked_count++;
    txn->parked_bytes += call->memory;
    txn->counters.waited++;
    txn->touched = true;
    request->parked = true;
    return 0;
}

/* It runs again once this transaction is committed. */
static void wake(struct txn *txn, struct txn_call *call)
{
    leave_waiters(call);
    leave_parts(call);
    call->waiter_next = NULL;
    *(txn->waking != NULL ? &txn->waking_last->waiter_next : &txn->waking) = call;
    txn->waking_last = call;
}

void txn_wake_for(struct txn *txn, struct open *open)
{
    while (open->waiters != NULL) {
        wake(txn, open->waiters);
    }
    while (open->parts != NULL) {
        wake(txn, open->parts);
    }
}

void txn_wake_everybody(struct txn *txn)
{
    for (struct open *open = txn->index->oldest; open != NULL; open = open->newer) {
        open->waiters = open->waiters_last = NULL;
        open->parts = NULL;
    }
    txn->waking = NULL;
    txn_calls_join(&txn->ready, &txn->parked);
}
