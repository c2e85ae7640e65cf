/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of clients: some in one call, some step by step, some begun and left alone. A client
 * waits for the answer of each, since one may have to wait for another transaction.
 */
#include "sim.h"

bool is_transaction(enum ask ask)
{
    return ask >= ASK_BEGIN && ask <= ASK_TXN_GET;
}

/* Up to `most` keys. */
static unsigned some_keys(struct sim *sim, uint64_t most, int limit)
{
    unsigned keys = 0;
    for (uint64_t count = draw(sim, most + 1); count > 0; count--) {
        keys |= 1U << draw(sim, (uint64_t)limit);
    }
    return keys;
}

static int one_of(struct sim *sim, unsigned keys)
{
    int key;
    do {
        key = (int)draw(sim, KEYS);
    } while ((keys >> key & 1) == 0);
    return key;
}

static struct op *begin(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_BEGIN, (int)client->index);
    op->eager = some_keys(sim, 2, KEYS);
    op->lazy = some_keys(sim, 2, KEYS) & ~op->eager;
    op->will = some_keys(sim, 2, KEYS - COUNTERS);
    op->may = some_keys(sim, 2, KEYS - COUNTERS) & ~op->will;
    if ((op->eager | op->lazy | op->will | op->may) == 0) {
        op->eager = 1;
    }
    op->count = 100 + draw(sim, 1500);
    client->leaves = one_in(sim, 3);
    return op;
}

static void add_write(struct sim *sim, struct op *op, int key)
{
    op->writes[op->write_count++] = (struct op_write){.key = key, .del = one_in(sim, 4)};
}

/* All that it must write and some of what it may; at times too little, or too much. */
static struct op *commit(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_COMMIT, (int)client->index);
    bool forgets = one_in(sim, 30);
    op->timestamp = client->txn;
    op->will = client->will;
    for (int key = 0; key < KEYS; key++) {
        bool will = (client->will >> key & 1) != 0, may = (client->may >> key & 1) != 0;
        if ((will && !forgets) || (may && one_in(sim, 2))) {
            add_write(sim, op, key);
            op->eager |= will ? 1U << key : 0;
        }
    }
    int other = (int)draw(sim, KEYS - COUNTERS);
    if (op->write_count < OPS_TXN && one_in(sim, 30) &&
        ((client->will | client->may) >> other & 1) == 0) {
        add_write(sim, op, other);
        op->may = 1U << other;
    }
    return op;
}

static struct op *read_one(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_TXN_READ, (int)client->index);
    op->timestamp = client->txn;
    op->eager = 1U << one_of(sim, client->reads);
    if (one_in(sim, 30)) {
        op->eager = 1U << draw(sim, KEYS);
        op->may = op->eager & ~client->reads;
    }
    return op;
}

static struct op *go_on(struct sim *sim, struct client *client)
{
    uint64_t what = draw(sim, 8);
    if (what < 3 && client->reads != 0) {
        return read_one(sim, client);
    }
    if (what < 6) {
        return commit(sim, client);
    }
    struct op *op = oracle_new_op(sim, ASK_ABORT, (int)client->index);
    op->timestamp = client->txn;
    return op;
}

static void add_step(struct sim *sim, struct op *op)
{
    static const enum txn_op_kind kinds[] = {TXN_OP_GET, TXN_OP_PUT, TXN_OP_PUT, TXN_OP_DEL,
                                             TXN_OP_CHECK};
    struct op_write *step = &op->writes[op->write_count++];
    step->key = (int)draw(sim, KEYS);
    if (is_counter(step->key)) {
        for (size_t i = 0; i + 1 < op->write_count; i++) {
            if (op->writes[i].key == step->key) {
                return; /* as it is, TXN_OP_GET: a counter is changed once */
            }
        }
        step->step = one_in(sim, 8) ? TXN_OP_DEL : one_in(sim, 3) ? TXN_OP_GET : TXN_OP_INCR;
        step->del = step->step == TXN_OP_DEL;
        return;
    }
    const struct known_versions *versions = &sim->oracle.versions[step->key];
    step->step = kinds[draw(sim, sizeof kinds / sizeof *kinds)];
    if (step->step == TXN_OP_CHECK && versions->count == 0) {
        step->step = TXN_OP_PUT;
    }
    if (step->step == TXN_OP_CHECK) {
        const struct known_version *newest = &versions->items[versions->count - 1];
        step->check_number = newest->value.number;
        step->check_part = newest->value.part;
    }
    step->del = step->step == TXN_OP_DEL;
}

static struct op *run(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_RUN, (int)client->index);
    for (uint64_t count = 1 + draw(sim, OPS_TXN); count > 0; count--) {
        add_step(sim, op);
    }
    return op;
}

static struct op *get(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_TXN_GET, (int)client->index);
    uint64_t clock = sim->oracle.clock;
    op->eager = some_keys(sim, 3, KEYS) | 1;
    if (one_in(sim, 2)) {
        op->timestamp = one_in(sim, 20) ? clock + 1 + draw(sim, 3)
                                        : clock - draw(sim, clock < 400 ? clock : 400);
    }
    return op;
}

struct op *ask_transaction(struct sim *sim, struct client *client)
{
    client->blocked = true;
    if (client->txn != 0 && !client->leaves) {
        return go_on(sim, client);
    }
    switch (draw(sim, 4)) {
    case 0:
        return run(sim, client);
    case 1:
        return get(sim, client);
    default:
        return begin(sim, client);
    }
}

void heard_transaction(struct client *client, const struct op *op, const struct answer *answer)
{
    client->blocked = false;
    if (op->ask == ASK_BEGIN && answer->status == 0) {
        client->txn = answer->clock;
        client->reads = op->eager | op->lazy;
        client->will = op->will;
        client->may = op->may;
    } else if (((op->ask == ASK_COMMIT || op->ask == ASK_ABORT) && answer->status == 0) ||
               answer->status == LS_ETXNEXPIRED) {
        client->txn = 0;
    }
}
