/* SPDX-License-Identifier: Apache-2.0 */
/* A server's transactions: calls made of ops, results made of calls, releases and ticks. */
#include "process.h"

#include <assert.h>

/* The keys of a set, in their order. */
static struct txn_keys keys_of(ls_bytes out[OPS_TXN], unsigned set)
{
    struct txn_keys keys = {.keys = out};
    for (int key = 0; key < KEYS; key++) {
        if ((set >> key & 1) != 0) {
            assert(keys.count < OPS_TXN);
            out[keys.count++] = bytes_of_text(sim_key(key));
        }
    }
    return keys;
}

static void fill_steps(struct pending *pending, const struct op *op)
{
    struct txn_call *call = &pending->call;
    call->kind = TXN_RUN;
    call->ops = pending->ops;
    call->op_count = op->write_count;
    for (unsigned i = 0; i < op->write_count; i++) {
        const struct op_write *step = &op->writes[i];
        struct op checked = {.number = step->check_number};
        mark_make(pending->marks[i], op, i);
        if (step->step == TXN_OP_CHECK) {
            checked.actor =
                step->check_number == 0 ? 0 : oracle_op(sim_now, step->check_number)->actor;
            mark_make(pending->marks[i], &checked, step->check_part);
        }
        pending->ops[i] = (struct txn_op){.kind = step->step,
                                          .key = bytes_of_text(sim_key(step->key)),
                                          .value = bytes_of(pending->marks[i], MARK_SIZE),
                                          .amount = 1};
    }
}

static void fill_writes(struct pending *pending, const struct op *op)
{
    struct txn_call *call = &pending->call;
    call->kind = TXN_COMMIT;
    call->writes = pending->writes;
    call->write_count = op->write_count;
    for (unsigned i = 0; i < op->write_count; i++) {
        mark_make(pending->marks[i], op, i);
        pending->writes[i] = (struct txn_write){.key = bytes_of_text(sim_key(op->writes[i].key)),
                                                .value = bytes_of(pending->marks[i], MARK_SIZE),
                                                .del = op->writes[i].del};
    }
}

void request_fill_txn(struct pending *pending, const struct op *op)
{
    struct txn_call *call = &pending->call;
    call->timestamp = op->timestamp;
    call->values = pending->values;
    call->eager = keys_of(pending->keys[0], op->ask == ASK_COMMIT ? 0 : op->eager);
    switch (op->ask) {
    case ASK_BEGIN:
        call->kind = TXN_BEGIN;
        call->ttl_ms = op->count;
        call->lazy = keys_of(pending->keys[1], op->lazy);
        call->will = keys_of(pending->keys[2], op->will);
        call->may = keys_of(pending->keys[3], op->may);
        break;
    case ASK_TXN_READ:
        call->kind = TXN_READ;
        break;
    case ASK_COMMIT:
        fill_writes(pending, op);
        break;
    case ASK_ABORT:
        call->kind = TXN_ABORT;
        break;
    case ASK_RUN:
        fill_steps(pending, op);
        break;
    default:
        assert(op->ask == ASK_TXN_GET);
        call->kind = TXN_GET;
        call->has_at = op->timestamp != 0;
    }
    txn_request(&pending->request, call);
}

void answer_fill_txn(struct answer *answer, const struct pending *pending, const struct op *op)
{
    size_t at = 0;
    if (op->ask == ASK_RUN) {
        for (size_t i = 0; i < op->write_count; i++) {
            const struct txn_value *result = &pending->ops[i].result;
            answer->values[i] = value_read(op->writes[i].key, result->value,
                                           result->absent || op->writes[i].step == TXN_OP_PUT ||
                                               op->writes[i].step == TXN_OP_DEL);
        }
        return;
    }
    for (int key = 0; key < KEYS && op->ask != ASK_COMMIT; key++) {
        if ((op->eager >> key & 1) != 0) {
            const struct txn_value *value = &pending->values[at];
            answer->values[at++] = value_read(key, value->value, value->absent);
        }
    }
}

/* ---- ends ---- */

void process_release(struct sim *sim, struct process *process, uint64_t timestamp)
{
    struct pending *pending = pending_new(process, FOR_RELEASE);
    pending->call.kind = TXN_RELEASE;
    pending->call.timestamp = timestamp;
    txn_request(&pending->request, &pending->call);
    process_submit(sim, process, pending);
}

bool process_ends(const struct process *process, uint64_t timestamp)
{
    for (const struct pending *pending = process->pendings; pending != NULL;
         pending = pending->next) {
        const struct txn_call *call = &pending->call;
        if (call->kind == TXN_RUN && pending->request.kind == REQUEST_EXTENSION) {
            return true; /* one that had to wait holds its keys until it has run */
        }
        if (call->kind == TXN_BEGIN && pending->request.kind == REQUEST_EXTENSION &&
            pending->request.clock == timestamp && pending->request.status < 0) {
            return true; /* one that fails after it had to wait leaves nothing open */
        }
        if (call->timestamp == timestamp && timestamp != 0 &&
            (call->kind == TXN_COMMIT || call->kind == TXN_ABORT || call->kind == TXN_RELEASE)) {
            return true;
        }
    }
    return false;
}

/* ---- ticks ---- */

static void submit_tick(struct sim *sim, struct process *process)
{
    struct pending *pending = pending_new(process, FOR_TICK);
    pending->call.kind = TXN_TICK;
    txn_request(&pending->request, &pending->call);
    process->ticking = true;
    process_submit(sim, process, pending);
}

void process_tick(struct sim *sim, struct process *process)
{
    int64_t wait_ms = txn_wait_ms(process->txn);
    if (wait_ms == 0 && !process->ticking) {
        submit_tick(sim, process);
    }
    process_timer(sim, process, (wait_ms == 0 ? 10 : (uint64_t)wait_ms) * MS, EVENT_TICK);
}

void process_tick_others(struct sim *sim, struct process *process)
{
    struct txn_counters counters;
    txn_counters(process->txn, &counters);
    if (counters.parked > 0 && !process->ticking) {
        cover(COVER_TXN_PARKED);
        submit_tick(sim, process);
    }
}
