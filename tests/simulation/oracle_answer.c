/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the oracle makes of an answer as it leaves its process: what it says was done is on the
 * disk, under the clock that it says, in one commit; what it refuses has a reason, and is not
 * there; what was read is what the newest commit holds.
 */
#include "sim.h"

#define UNSIGNED(value) ((unsigned long long)(value))

/* The message of this clock, or NULL. It may have been discarded since. */
static const struct entry *entry_at(const struct oracle *o, uint64_t clock)
{
    size_t low = 0, high = o->log_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (o->log[middle].clock < clock) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < o->log_count && o->log[low].clock == clock ? &o->log[low] : NULL;
}

static const struct entry *must_be_there(struct sim *sim, const struct op *op, uint64_t clock)
{
    const struct entry *entry = entry_at(&sim->oracle, clock);
    if (entry == NULL) {
        sim_fail(sim, "op %llu was answered with %llu, and nothing of that is on the disk",
                 UNSIGNED(op->number), UNSIGNED(clock));
    }
    return entry;
}

static void wrong_answer(struct sim *sim, const struct op *op, const struct entry *entry)
{
    sim_fail(sim, "op %llu was answered with %llu, which is message %c%c of key %d, host %d",
             UNSIGNED(op->number), UNSIGNED(entry->clock), entry->type,
             entry->event == 0 ? '-' : entry->event, entry->key, entry->host);
}

/* The object's `modified` as the log has it, before the change of this clock. */
static uint64_t modified_before(const struct oracle *o, int key, uint64_t clock)
{
    for (size_t i = o->log_count; i > 0; i--) {
        const struct entry *entry = &o->log[i - 1];
        if (entry->clock < clock && entry->key == key) {
            return entry->there ? entry->clock : 0;
        }
    }
    return 0;
}

static void check_post(struct sim *sim, const struct op *op, const struct answer *answer)
{
    const struct entry *entry = must_be_there(sim, op, answer->clock);
    if (entry->number != op->number) {
        wrong_answer(sim, op, entry);
    }
    if (op->submitted > 1) {
        cover(COVER_POST_AGAIN);
    }
}

/* The condition held of what was there before the change. */
static void check_condition(struct sim *sim, const struct op *op, uint64_t before)
{
    if ((op->has_if && op->if_modified != before) || (op->nx && before != 0) ||
        (op->xx && before == 0)) {
        sim_fail(sim, "op %llu was done where %s was of %llu, which is not what it wanted",
                 UNSIGNED(op->number), sim_key(op->if_key), UNSIGNED(before));
    }
}

static void check_write(struct sim *sim, const struct op *op, size_t part, uint64_t clock)
{
    const struct op_write *write = &op->writes[part];
    if (write->del && clock == 0) {
        return; /* it was absent */
    }
    const struct entry *entry = must_be_there(sim, op, clock);
    if (entry->key != write->key || entry->there == write->del ||
        (!write->del && op->commit != entry->commit)) {
        wrong_answer(sim, op, entry);
    }
    if (!write->del && (op->parts >> part & 1) == 0) {
        sim_fail(sim, "part %zu of op %llu was not done", part, UNSIGNED(op->number));
    }
}

static void check_txn(struct sim *sim, const struct op *op, const struct answer *answer)
{
    uint64_t first = 0, commit = 0;
    for (size_t i = 0; i < op->write_count; i++) {
        uint64_t clock = answer->clocks[i];
        check_write(sim, op, i, clock);
        if (clock == 0) {
            continue;
        }
        const struct entry *entry = must_be_there(sim, op, clock);
        if (commit != 0 && entry->commit != commit) {
            sim_fail(sim, "op %llu is in two commits", UNSIGNED(op->number));
        }
        commit = entry->commit;
        first = first == 0 ? clock : first;
    }
    if (op->has_if && first != 0) {
        check_condition(sim, op, modified_before(&sim->oracle, op->if_key, first));
    }
}

static void check_join(struct sim *sim, const struct op *op, const struct answer *answer)
{
    const struct entry *entry = must_be_there(sim, op, answer->clock);
    if (entry->host == NOBODY || !entry->there || entry->actor != op->actor) {
        wrong_answer(sim, op, entry);
    }
    uint64_t posted = sim->oracle.posted[identity(op->actor, op->to)];
    if (answer->number > posted) {
        sim_fail(sim, "actor %d is told that it posted %llu, and posted %llu", op->actor,
                 UNSIGNED(answer->number), UNSIGNED(posted));
    }
}

static void check_node(struct sim *sim, const struct op *op, const struct answer *answer,
                       bool there)
{
    const struct entry *entry = must_be_there(sim, op, answer->clock);
    if (entry->host == NOBODY || entry->there != there || entry->actor != op->actor) {
        wrong_answer(sim, op, entry);
    }
}

static void check_done(struct sim *sim, const struct op *op, const struct answer *answer)
{
    switch (op->ask) {
    case ASK_POST:
        check_post(sim, op, answer);
        break;
    case ASK_NEXT:
        for (uint64_t i = 0; i < op->count; i++) {
            oracle_give(sim, answer->clock + i);
        }
        break;
    case ASK_WITNESS:
        if (answer->clock <= op->carried) {
            sim_fail(sim, "%llu was witnessed, and the clock is %llu", UNSIGNED(op->carried),
                     UNSIGNED(answer->clock));
        }
        oracle_give(sim, answer->clock);
        break;
    case ASK_PUT:
    case ASK_DEL:
        check_write(sim, op, 0, answer->clock);
        if (answer->clock != 0) {
            check_condition(sim, op, must_be_there(sim, op, answer->clock)->previous);
        }
        break;
    case ASK_TXN:
        check_txn(sim, op, answer);
        break;
    case ASK_JOIN:
        check_join(sim, op, answer);
        break;
    case ASK_STATE:
        check_node(sim, op, answer, true);
        break;
    case ASK_LEAVE:
        check_node(sim, op, answer, false);
        break;
    case ASK_BEGIN:
    case ASK_TXN_READ:
    case ASK_COMMIT:
    case ASK_ABORT:
    case ASK_RUN:
    case ASK_TXN_GET:
        oracle_txn_done(sim, op, answer);
        break;
    default:
        break;
    }
    if (answer->clock > sim->oracle.clock) {
        sim_fail(sim, "op %llu was answered with %llu, and the clock on disk is %llu",
                 UNSIGNED(op->number), UNSIGNED(answer->clock), UNSIGNED(sim->oracle.clock));
    }
}

/* A life is over for its holder only when it is over. */
static bool life_goes_on(const struct oracle *o, uint64_t life)
{
    for (int i = 0; i < HOSTS; i++) {
        if (o->nodes[i].there && o->nodes[i].joined == life && life != 0 &&
            o->nodes[i].state != NODE_DOWN) {
            return true;
        }
    }
    return false;
}

static bool refused_with_reason(const struct sim *sim, const struct op *op,
                                const struct answer *answer)
{
    uint64_t posted = sim->oracle.posted[identity(op->actor, op->host)];
    switch (answer->status) {
    case LS_ENOTJOINED:
        return !life_goes_on(&sim->oracle, answer->life);
    case LS_ECONFLICT:
        return op->ask == ASK_RUN || op->nx || op->xx ||
               (op->has_if && answer->number != op->if_modified);
    case LS_EDUPLICATE:
        return op->seq != 0 && op->seq < answer->number && answer->number <= posted;
    case LS_ESEQGAP:
        return op->seq > answer->number + 1 && answer->number <= posted;
    case LS_ECLOCKJUMP:
        return op->carried > op->clock_submitted + CLOCK_JUMP;
    case LS_EINVAL: /* an acknowledgement of what is not there yet, a write that is missing */
        return (op->ask == ASK_ACK && op->carried > op->clock_submitted) ||
               (op->ask == ASK_COMMIT && (op->will & ~op->eager) != 0) ||
               (op->ask == ASK_TXN_GET && op->timestamp > op->clock_submitted);
    case LS_ENOLOCK: /* `may` are then the keys that were not declared */
        return (op->ask == ASK_COMMIT || op->ask == ASK_TXN_READ) && op->may != 0;
    case LS_ETXNEXPIRED:
        return op->ask == ASK_BEGIN || !oracle_is_open(&sim->oracle, op->timestamp);
    case LS_ETOOOLD:
        return op->ask == ASK_TXN_GET && op->timestamp != 0 && op->timestamp < answer->number;
    case LS_EINUSE:
        return op->ask == ASK_JOIN;
    case LS_ENOSPACE:
    case LS_EIO:
    case LS_ENOMEM:
        return !op->calm;
    case LS_ERETRY:
        return sim->weather.optimistic;
    case LS_ENOTFOUND:
        return op->ask == ASK_GET;
    case LS_ECOMPACTED:
        return op->ask == ASK_READ || op->ask == ASK_WATCH;
    default:
        return false;
    }
}

void oracle_answered(struct sim *sim, struct op *op, const struct answer *answer)
{
    cover_answer((int)op->ask, answer->status);
    sim_trace(sim, "  op %llu (%s of %d) is answered: %d, %llu, %llu", UNSIGNED(op->number),
              ask_names[op->ask], op->actor, answer->status, UNSIGNED(answer->clock),
              UNSIGNED(answer->number));
    if (answer->status >= 0) {
        check_done(sim, op, answer);
        return;
    }
    op->refused++;
    if (!refused_with_reason(sim, op, answer)) {
        sim_fail(sim, "op %llu (%s of %d) was refused without reason: %s (%llu)",
                 UNSIGNED(op->number), ask_names[op->ask], op->actor, ls_errname(answer->status),
                 UNSIGNED(answer->number));
    }
    if (op->refused == op->submitted && op->commit != 0) {
        sim_fail(sim, "op %llu was refused, and is there", UNSIGNED(op->number));
    }
}

/* ---- reads ---- */

void oracle_read(struct sim *sim, uint64_t from, size_t most, int rc, uint64_t oldest,
                 const uint64_t *clocks, const uint64_t *checks, size_t count)
{
    const struct oracle *o = &sim->oracle;
    bool compacted = from <= o->discarded && o->discarded != 0;
    if ((rc == LS_ECOMPACTED) != compacted) {
        sim_fail(sim, "a read from %llu was told %s, discarded up to %llu", UNSIGNED(from),
                 ls_errname(rc), UNSIGNED(o->discarded));
    }
    if (compacted) {
        uint64_t first =
            o->log_first < o->log_count ? o->log[o->log_first].clock : o->discarded + 1;
        if (oldest != first) {
            sim_fail(sim, "a read was told of %llu as the oldest, not %llu", UNSIGNED(oldest),
                     UNSIGNED(first));
        }
        return;
    }
    size_t at = oracle_find(o, from);
    size_t wanted = o->log_count - at < most ? o->log_count - at : most;
    for (size_t i = 0; i < wanted && i < count; i++) {
        if (clocks[i] != o->log[at + i].clock ||
            (checks != NULL && checks[i] != o->log[at + i].check)) {
            sim_fail(sim, "a read gave message %llu instead of %llu", UNSIGNED(clocks[i]),
                     UNSIGNED(o->log[at + i].clock));
        }
    }
    if (count != wanted) {
        sim_fail(sim, "a read from %llu gave %zu messages of %zu", UNSIGNED(from), count, wanted);
    }
}

void oracle_object(struct sim *sim, int key, int rc, uint64_t created, uint64_t modified)
{
    const struct known_object *known = &sim->oracle.objects[key];
    if ((rc == 0) != known->there) {
        sim_fail(sim, "%s is %s, and was read as %s", sim_key(key),
                 known->there ? "there" : "absent", ls_errname(rc));
    }
    if (known->there && (created != known->created || modified != known->modified)) {
        sim_fail(sim, "%s is of %llu, and was read as of %llu", sim_key(key),
                 UNSIGNED(known->modified), UNSIGNED(modified));
    }
}
