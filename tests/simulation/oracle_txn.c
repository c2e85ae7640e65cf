/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the oracle makes of transactions. It keeps every version that ever was, and every read that
 * was answered. A read gives the newest version below its bound, and no version may come in between
 * afterwards: so all are as if run one at a time in the order of their timestamps.
 */
#include <stdlib.h>

#include "base/error.h"
#include "coordinator/layout.h"
#include "sim.h"

#define UNSIGNED(value) ((unsigned long long)(value))

void oracle_txn_close(struct oracle *o)
{
    for (int i = 0; i < KEYS; i++) {
        free(o->versions[i].items);
    }
    free(o->reads);
    free(o->txns);
}

bool is_counter(int key)
{
    return key >= KEYS - COUNTERS;
}

struct read_value value_read(int key, ls_bytes value, bool absent)
{
    struct read_value out = {.absent = absent};
    const uint8_t *bytes = value.data;
    if (!absent && is_counter(key)) {
        for (size_t i = 0; i < value.size; i++) {
            out.counter = 10 * out.counter + bytes[i] - '0';
        }
    } else if (!absent && value.size == MARK_SIZE) {
        out.number = get_be64(bytes);
        out.part = (unsigned)get_be64(bytes + 8);
    }
    return out;
}

static bool same_value(const struct read_value *a, const struct read_value *b)
{
    return a->absent == b->absent && a->number == b->number && a->part == b->part &&
           a->counter == b->counter;
}

/* ---- versions ---- */

/* How many versions of the key lie below the bound. */
static size_t below(const struct known_versions *versions, uint64_t bound)
{
    size_t count = versions->count;
    while (count > 0 && versions->items[count - 1].timestamp >= bound) {
        count--;
    }
    return count;
}

static struct read_value value_below(const struct oracle *o, int key, uint64_t bound,
                                     uint64_t *timestamp)
{
    const struct known_versions *versions = &o->versions[key];
    size_t count = below(versions, bound);
    *timestamp = count == 0 ? 0 : versions->items[count - 1].timestamp;
    return count == 0 ? (struct read_value){.absent = true} : versions->items[count - 1].value;
}

static struct known_version *version_at(struct oracle *o, int key, uint64_t timestamp)
{
    struct known_versions *versions = &o->versions[key];
    size_t count = below(versions, timestamp + 1);
    return count > 0 && versions->items[count - 1].timestamp == timestamp
               ? &versions->items[count - 1]
               : NULL;
}

static void version_add(struct sim *sim, int key, const struct known_version *version)
{
    struct known_versions *versions = &sim->oracle.versions[key];
    if (versions->count == versions->capacity) {
        versions->capacity = 2 * versions->capacity + 32;
        versions->items =
            sim_memory(realloc(versions->items, versions->capacity * sizeof *versions->items));
    }
    size_t at = below(versions, version->timestamp);
    memmove(versions->items + at + 1, versions->items + at,
            (versions->count - at) * sizeof *versions->items);
    versions->items[at] = *version;
    versions->count++;
}

/* Nobody who was answered may have missed it. */
static void check_reads(struct sim *sim, int key, uint64_t timestamp)
{
    const struct oracle *o = &sim->oracle;
    for (size_t i = 0; i < o->read_count; i++) {
        const struct known_read *read = &o->reads[i];
        if (read->key == key && read->bound > timestamp && read->timestamp < timestamp) {
            sim_fail(sim, "%s is written at %llu, and a read below %llu was given that of %llu",
                     sim_key(key), UNSIGNED(timestamp), UNSIGNED(read->bound),
                     UNSIGNED(read->timestamp));
        }
    }
}

static void check_counter(struct sim *sim, int key, const struct known_version *version)
{
    uint64_t timestamp;
    struct read_value before = value_below(&sim->oracle, key, version->timestamp, &timestamp);
    if (version->value.counter != before.counter + 1) {
        sim_fail(sim, "%s is %llu at %llu, and %llu at %llu", sim_key(key),
                 UNSIGNED(before.counter), UNSIGNED(timestamp), UNSIGNED(version->value.counter),
                 UNSIGNED(version->timestamp));
    }
}

static void version_written(struct sim *sim, uint64_t sequence, uint64_t timestamp,
                            const struct logged_write *write)
{
    unsigned part;
    int key = sim_key_index(write->key);
    struct known_version version = {.timestamp = timestamp,
                                    .sequence = sequence,
                                    .deleted = write->deleted,
                                    .value = value_read(key, write->value, write->deleted)};
    if (version_at(&sim->oracle, key, timestamp) != NULL) {
        sim_fail(sim, "%s is written twice at %llu", sim_key(key), UNSIGNED(timestamp));
    }
    if (!write->deleted && is_counter(key)) {
        check_counter(sim, key, &version);
    } else if (!write->deleted) {
        const struct op *op = oracle_write_seen(sim, write->value, &part);
        if (part >= op->write_count || op->writes[part].key != key || op->writes[part].del ||
            (op->ask == ASK_COMMIT && op->timestamp != timestamp) ||
            (op->ask != ASK_COMMIT && op->ask != ASK_RUN)) {
            sim_fail(sim, "%s at %llu is not what was written", sim_key(key), UNSIGNED(timestamp));
        }
    }
    check_reads(sim, key, timestamp);
    version_add(sim, key, &version);
}

void oracle_logged(struct sim *sim, uint64_t sequence, ls_bytes record)
{
    struct oracle *o = &sim->oracle;
    struct ls_error error;
    struct logged logged;
    if (record.data == NULL) {
        o->trimmed = sequence + 1 > o->trimmed ? sequence + 1 : o->trimmed;
        cover(COVER_TXN_TRIMMED);
        return;
    }
    sim_check(sim, logged_decode(&logged, record, &error), &error, "a record of the version log");
    if (sequence != o->logged) {
        sim_fail(sim, "record %llu of the version log comes after %llu", UNSIGNED(sequence),
                 UNSIGNED(o->logged));
    }
    o->logged++;
    for (struct logged_write write; logged_write_next(&logged.writes, &write);) {
        version_written(sim, sequence, logged.timestamp, &write);
    }
}

/* What is merged can be read under V, or cannot be read at all. */
static void check_merged(struct sim *sim, int key, uint64_t merged)
{
    const struct oracle *o = &sim->oracle;
    const struct known_versions *versions = &o->versions[key];
    for (size_t i = 0; i < versions->count; i++) {
        const struct known_version *version = &versions->items[i];
        bool replaced = i + 1 < versions->count && versions->items[i + 1].timestamp <= o->collected;
        bool forgotten = version->deleted && version->timestamp <= o->collected;
        if (version->sequence < merged && !version->stored && !replaced && !forgotten) {
            sim_fail(sim, "%s at %llu is said to be merged and is not there", sim_key(key),
                     UNSIGNED(version->timestamp));
        }
    }
}

void oracle_txns(struct sim *sim, const struct control *control)
{
    struct oracle *o = &sim->oracle;
    uint64_t merged = control->value[TXNS_MERGED];
    if (control->value[TXNS_LOGGED] != o->logged || merged > o->logged || merged < o->merged ||
        control->value[TXNS_COLLECTED] < o->collected) {
        sim_fail(sim, "the version log is said to end at %llu and to be merged up to %llu",
                 UNSIGNED(control->value[TXNS_LOGGED]), UNSIGNED(merged));
    }
    o->collected = control->value[TXNS_COLLECTED];
    for (int key = 0; key < KEYS && merged > o->merged; key++) {
        check_merged(sim, key, merged);
    }
    if (merged > o->merged) {
        cover(COVER_TXN_MERGED);
    }
    o->merged = merged;
}

void oracle_version(struct sim *sim, struct process *process, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct key_parts parts;
    struct version decoded;
    (void)process;
    sim_check(sim, key_decode(&parts, key, &error), &error, "the key of a version");
    int index = sim_key_index(parts.name);
    struct known_version *version = version_at(&sim->oracle, index, parts.clock);
    const struct known_versions *versions = &sim->oracle.versions[index];
    if (value.data != NULL) {
        sim_check(sim, record_verify(value, key, &error), &error, "a version");
        sim_check(sim, version_decode(&decoded, value, &error), &error, "a version");
        struct read_value moved = value_read(index, decoded.value, decoded.deleted);
        if (version == NULL || !same_value(&version->value, &moved)) {
            sim_fail(sim, "%s at %llu is not what was written", sim_key(index),
                     UNSIGNED(parts.clock));
        }
        version->stored = true;
        return;
    }
    if (version == NULL || !version->stored) {
        sim_fail(sim, "a version of %s was collected that is not there", sim_key(index));
    }
    if (version == &versions->items[versions->count - 1] && !version->deleted) {
        sim_fail(sim, "the newest version of %s was collected", sim_key(index));
    }
    cover(COVER_TXN_COLLECTED);
    version->stored = false;
}

/* ---- open transactions ---- */

static struct known_txn *find_open(const struct oracle *o, uint64_t timestamp)
{
    for (size_t i = 0; i < o->txn_count; i++) {
        if (o->txns[i].timestamp == timestamp) {
            return &o->txns[i];
        }
    }
    return NULL;
}

bool oracle_is_open(const struct oracle *o, uint64_t timestamp)
{
    return find_open(o, timestamp) != NULL;
}

void oracle_open(struct sim *sim, struct process *process, uint64_t timestamp, ls_bytes record)
{
    struct oracle *o = &sim->oracle;
    struct known_txn *txn = find_open(o, timestamp);
    struct transaction decoded;
    struct ls_error error;
    if (record.data != NULL && txn == NULL) {
        sim_check(sim, transaction_decode(&decoded, record, &error), &error, "a transaction");
        if (o->txn_count == o->txn_capacity) {
            o->txn_capacity = 2 * o->txn_capacity + 16;
            o->txns = sim_memory(realloc(o->txns, o->txn_capacity * sizeof *o->txns));
        }
        o->txns[o->txn_count++] = (struct known_txn){
            .timestamp = timestamp, .since_ns = sim->kernel.now_ns, .ttl_ms = decoded.ttl_ms};
        return;
    }
    if (record.data != NULL || txn == NULL) {
        return;
    }
    uint64_t open_ns = sim->kernel.now_ns - txn->since_ns;
    if (!process_ends(process, timestamp)) {
        cover(COVER_TXN_EXPIRED);
        sim_trace(sim, "  transaction %llu is given up after %llu ms", UNSIGNED(timestamp),
                  UNSIGNED(open_ns / MS));
        if (open_ns + MS < txn->ttl_ms * MS) {
            sim_fail(sim, "transaction %llu was given up after %llu ms of its %llu",
                     UNSIGNED(timestamp), UNSIGNED(open_ns / MS), UNSIGNED(txn->ttl_ms));
        }
    }
    *txn = o->txns[--o->txn_count];
}

/* ---- answers ---- */

/* What was read below the bound is the newest there, and nothing may come in between. */
static void check_value(struct sim *sim, int key, uint64_t bound, const struct read_value *value)
{
    struct oracle *o = &sim->oracle;
    uint64_t timestamp;
    struct read_value wanted = value_below(o, key, bound, &timestamp);
    if (!same_value(&wanted, value)) {
        sim_fail(sim, "a read of %s below %llu was not given that of %llu", sim_key(key),
                 UNSIGNED(bound), UNSIGNED(timestamp));
    }
    if (o->read_count == o->read_capacity) {
        o->read_capacity = 2 * o->read_capacity + 256;
        o->reads = sim_memory(realloc(o->reads, o->read_capacity * sizeof *o->reads));
    }
    o->reads[o->read_count++] =
        (struct known_read){.key = key, .bound = bound, .timestamp = timestamp};
}

static void check_values(struct sim *sim, const struct op *op, const struct answer *answer,
                         uint64_t bound)
{
    size_t at = 0;
    for (int key = 0; key < KEYS; key++) {
        if ((op->eager >> key & 1) != 0) {
            check_value(sim, key, bound, &answer->values[at++]);
        }
    }
}

static void check_written(struct sim *sim, const struct op *op, int key, uint64_t timestamp,
                          const struct read_value *value)
{
    const struct known_version *version = version_at(&sim->oracle, key, timestamp);
    if (version == NULL || !same_value(&version->value, value)) {
        sim_fail(sim, "op %llu was answered, and %s at %llu is not what it wrote",
                 UNSIGNED(op->number), sim_key(key), UNSIGNED(timestamp));
    }
}

static void check_commit(struct sim *sim, const struct op *op)
{
    for (unsigned i = 0; i < op->write_count; i++) {
        struct read_value value = {.absent = op->writes[i].del};
        if (!op->writes[i].del) {
            value.number = op->number;
            value.part = i;
        }
        check_written(sim, op, op->writes[i].key, op->timestamp, &value);
    }
    if (oracle_is_open(&sim->oracle, op->timestamp)) {
        sim_fail(sim, "transaction %llu was committed and is open", UNSIGNED(op->timestamp));
    }
}

/* One step of a run, with `value` as what the key is by then. */
static void check_step(struct sim *sim, const struct op *op, unsigned part,
                       const struct answer *answer, struct read_value *value)
{
    const struct op_write *step = &op->writes[part];
    const struct read_value *result = &answer->values[part];
    bool good = true;
    switch (step->step) {
    case TXN_OP_GET:
        good = same_value(result, value);
        break;
    case TXN_OP_PUT:
        *value = (struct read_value){.number = op->number, .part = part};
        break;
    case TXN_OP_DEL:
        *value = (struct read_value){.absent = true};
        break;
    case TXN_OP_INCR:
        *value = (struct read_value){.counter = value->counter + 1};
        good = result->counter == value->counter;
        break;
    case TXN_OP_CHECK:
        good = !value->absent && value->number == step->check_number &&
               value->part == step->check_part;
        break;
    }
    if (!good) {
        sim_fail(sim, "step %u of op %llu, on %s, did not see what was there", part,
                 UNSIGNED(op->number), sim_key(step->key));
    }
}

static bool step_writes(const struct op_write *step)
{
    return step->step == TXN_OP_PUT || step->step == TXN_OP_DEL || step->step == TXN_OP_INCR;
}

/* One that only reads does so as of its clock, which is nobody's; one that writes has its own. */
static void check_run(struct sim *sim, const struct op *op, const struct answer *answer)
{
    struct read_value values[KEYS];
    bool touched[KEYS] = {false}, written[KEYS] = {false}, writes = false;
    for (unsigned i = 0; i < op->write_count; i++) {
        writes = writes || step_writes(&op->writes[i]);
    }
    if (writes) {
        oracle_give(sim, answer->clock);
    }
    uint64_t bound = writes ? answer->clock : answer->clock + 1;
    for (unsigned i = 0; i < op->write_count; i++) {
        const struct op_write *step = &op->writes[i];
        if (!touched[step->key]) {
            uint64_t timestamp;
            touched[step->key] = true;
            values[step->key] = value_below(&sim->oracle, step->key, bound, &timestamp);
            if (step->step != TXN_OP_PUT && step->step != TXN_OP_DEL) {
                check_value(sim, step->key, bound, &values[step->key]);
            }
        }
        check_step(sim, op, i, answer, &values[step->key]);
        written[step->key] = written[step->key] || step_writes(step);
    }
    for (int key = 0; key < KEYS; key++) {
        if (written[key]) {
            check_written(sim, op, key, answer->clock, &values[key]);
        }
    }
}

void oracle_txn_done(struct sim *sim, const struct op *op, const struct answer *answer)
{
    switch (op->ask) {
    case ASK_BEGIN:
        oracle_give(sim, answer->clock);
        check_values(sim, op, answer, answer->clock);
        break;
    case ASK_TXN_READ:
        check_values(sim, op, answer, op->timestamp);
        break;
    case ASK_COMMIT:
        check_commit(sim, op);
        break;
    case ASK_ABORT:
        if (oracle_is_open(&sim->oracle, op->timestamp)) {
            sim_fail(sim, "transaction %llu was aborted and is open", UNSIGNED(op->timestamp));
        }
        break;
    case ASK_RUN:
        check_run(sim, op, answer);
        break;
    default: /* ASK_TXN_GET: with what the transaction of this timestamp wrote */
        check_values(sim, op, answer, answer->clock + 1);
        if (op->timestamp != 0 && answer->clock != op->timestamp) {
            sim_fail(sim, "op %llu read as of %llu", UNSIGNED(op->number), UNSIGNED(answer->clock));
        }
    }
}
