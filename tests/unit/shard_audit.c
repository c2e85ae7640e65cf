/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants of a shard, one function for each thing it consists of. */
#include "shard_audit.h"

#include <inttypes.h>

#include "shard/state.h"

#define HOLDS(condition)       \
    do {                       \
        if (!(condition)) {    \
            return #condition; \
        }                      \
    } while (0)

struct tally {
    uint64_t versions;
    uint64_t readers;
    uint64_t marks;
    uint64_t open;
    uint64_t waiting;
    uint64_t hanging;
};

static const char *audit_timeline(const struct timeline *timeline)
{
    size_t count = 0;
    const struct stamp *prev = NULL;
    for (const struct stamp *stamp = timeline->first; stamp != NULL; stamp = stamp->next) {
        HOLDS(stamp->prev == prev);
        HOLDS(prev == NULL || prev->timestamp < stamp->timestamp);
        prev = stamp;
        count++;
    }
    HOLDS(timeline->last == prev);
    HOLDS(timeline->count == count);
    for (const struct stamp *stamp = timeline->first; stamp != NULL; stamp = stamp->next) {
        HOLDS(timeline_below(timeline, stamp->timestamp) == stamp->prev);
    }
    return NULL;
}

static const char *audit_key(const struct ls_shard *shard, const struct key *key,
                             struct tally *tally)
{
    HOLDS(key->hash == key_hash(shard, key_name(key)));
    HOLDS(key->marks != 0);
    const char *fault = audit_timeline(&key->timeline);
    if (fault != NULL) {
        return fault;
    }
    for (struct stamp *stamp = key->timeline.first; stamp != NULL; stamp = stamp->next) {
        const struct version *version = version_of(stamp);
        const struct version *next = version_of(stamp->next);
        bool read = !link_alone(&version->readers);
        tally->versions += !version_is_open(version);
        for (struct link *r = version->readers.next; r != &version->readers; r = r->next) {
            HOLDS(r->next->prev == r);
            tally->readers++;
        }
        if (version_is_open(version)) {
            continue;
        }
        HOLDS((version->state == VERSION_STORED) == shard->stored);
        if (shard->stored) {
            HOLDS(!read);
            HOLDS(stamp->prev != NULL || stamp->timestamp > shard->heard_all_writes);
            continue;
        }
        HOLDS(read || next == NULL || version_is_open(next) ||
              next->stamp.timestamp >= shard->collected);
        HOLDS(read || stamp->prev != NULL || version->state != VERSION_ABSENT ||
              stamp->timestamp >= shard->collected);
    }
    tally->marks += key->marks;
    return NULL;
}

static const char *audit_slots(const struct ls_shard *shard, const struct slots *slots,
                               struct tally *tally)
{
    size_t count = 0;
    for (size_t i = 0; slots->at != NULL && i <= slots->mask; i++) {
        const struct cell *cell = (const struct cell *)slots_at(slots, i);
        if (cell->slot.item == NULL) {
            continue;
        }
        count++;
        HOLDS(cell->slot.hash == key_hash(shard, cell_name(cell)));
        HOLDS(cell_find(shard, cell_name(cell), cell->slot.hash) == cell);
        const struct key *key = cell_key(cell);
        if (key == NULL) { /* at rest, with its one version */
            HOLDS(!shard->stored);
            tally->versions++;
            continue;
        }
        HOLDS(bytes_equal(key_name(key), cell_name(cell)));
        const char *fault = audit_key(shard, key, tally);
        if (fault != NULL) {
            return fault;
        }
    }
    HOLDS(count == slots->count);
    return NULL;
}

static bool hangs_on(const struct mark *mark, const struct version *version)
{
    for (struct link *r = version->readers.next; r != &version->readers; r = r->next) {
        if (r == &mark->readers) {
            return true;
        }
    }
    return false;
}

static const char *audit_mark(const struct ls_shard *shard, const struct transaction *of,
                              const struct mark *mark, struct tally *tally)
{
    bool unread = mark->read != READ_NOT && mark->read != READ_DONE;
    HOLDS(mark->of == of);
    HOLDS(mark->write != WRITE_OPEN || (mark->version != NULL && version_is_open(mark->version)));
    HOLDS(mark->version == NULL || mark->version->stamp.timestamp == of->stamp.timestamp);
    HOLDS(mark->write == WRITE_OPEN || mark->version == NULL || !of->passed);
    tally->waiting += mark->read == READ_WAITING;
    if (!unread || !of->heard) {
        HOLDS(link_alone(&mark->readers));
        HOLDS(mark->read != READ_WAITING);
        return NULL;
    }
    const struct version *seen = version_seen(mark);
    HOLDS(mark->read != READ_ASKED);
    HOLDS(mark->read != READ_WAITING || (seen != NULL && version_is_open(seen)));
    bool hangs = seen != NULL && (version_is_open(seen) || !shard->stored);
    tally->hanging += hangs;
    HOLDS(hangs ? hangs_on(mark, seen) : link_alone(&mark->readers));
    return NULL;
}

static const char *audit_transaction(const struct ls_shard *shard,
                                     const struct transaction *transaction, struct tally *tally)
{
    uint64_t timestamp = transaction->stamp.timestamp;
    HOLDS(transaction_find(shard, timestamp) == transaction);
    HOLDS(transaction->heard == (timestamp <= shard->heard_all_writes));
    HOLDS(transaction->passed == (timestamp < shard->collected));
    HOLDS(!transaction->passed || transaction->open != 0);
    uint32_t open = 0;
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        const struct mark *mark = &transaction->marks[i];
        open += mark->read != READ_NOT && mark->read != READ_DONE;
        open += mark->write == WRITE_OPEN;
        const char *fault = audit_mark(shard, transaction, mark, tally);
        if (fault != NULL) {
            return fault;
        }
    }
    HOLDS(open == transaction->open);
    tally->open += open != 0;
    tally->marks -= transaction->mark_count;
    return NULL;
}

/* Adds up the anchors. */
static const char *audit_chain(const struct chain *chain, uint64_t *anchors)
{
    const struct anchor *older = NULL;
    for (const struct anchor *a = chain->oldest; a != NULL; a = a->newer) {
        uint64_t jump = anchor_jump_height(a->height);
        HOLDS(a->older == older);
        HOLDS(older == NULL || a->height == older->height + 1);
        HOLDS(older == NULL || jump < chain->oldest->height || a->jump->height == jump);
        older = a;
        ++*anchors;
    }
    HOLDS(older != NULL);
    HOLDS(chain->newest == older);
    return NULL;
}

static const char *audit_chains(const struct ls_shard *shard)
{
    size_t chains = 0;
    uint64_t anchors = 0;
    const struct chain *chain = shard->chain;
    while (chain != NULL) {
        const char *fault = audit_chain(chain, &anchors);
        if (fault != NULL) {
            return fault;
        }
        chains++;
        chain = chain->next != shard->chain ? chain->next : NULL;
    }
    HOLDS(table_count(&shard->chains) == chains);
    HOLDS(shard->anchors == anchors);
    return NULL;
}

const char *shard_audit(const ls_shard *shard)
{
    struct tally tally = {0};
    HOLDS(shard->collected <= shard->heard_all_reads);
    HOLDS(shard->heard_all_reads <= shard->heard_all_writes);
    const char *fault = audit_slots(shard, &shard->keys.now, &tally);
    fault = fault != NULL ? fault : audit_slots(shard, &shard->keys.old, &tally);
    fault = fault != NULL ? fault : audit_timeline(&shard->order);
    fault = fault != NULL ? fault : audit_chains(shard);
    if (fault != NULL) {
        return fault;
    }
    const struct stamp *unheard = NULL;
    const struct stamp *unpassed = NULL;
    for (struct stamp *stamp = shard->order.first; stamp != NULL; stamp = stamp->next) {
        fault = audit_transaction(shard, transaction_of(stamp), &tally);
        if (fault != NULL) {
            return fault;
        }
        unheard = unheard == NULL && !transaction_of(stamp)->heard ? stamp : unheard;
        unpassed = unpassed == NULL && !transaction_of(stamp)->passed ? stamp : unpassed;
    }
    HOLDS(shard->unheard == unheard);
    HOLDS(shard->unpassed == unpassed);
    HOLDS(shard->order.count == table_count(&shard->transactions));
    HOLDS(shard->versions == tally.versions);
    HOLDS(shard->open == tally.open);
    HOLDS(shard->waiting == tally.waiting);
    HOLDS(tally.readers == tally.hanging);
    HOLDS(tally.marks == 0);
    return NULL;
}

/* ---- as text ---- */

static int dump_timeline(struct buf *out, const struct key *key)
{
    int rc = 0;
    for (struct stamp *s = key->timeline.first; rc == 0 && s != NULL; s = s->next) {
        const struct version *version = version_of(s);
        rc = buf_printf(out, " %" PRIu64 ":%d", s->timestamp, (int)version->state);
        if (rc == 0 && version->state == VERSION_VALUE) {
            rc = buf_append_byte(out, '=');
            const uint8_t *bytes =
                version->size <= VALUE_INLINE_MAX ? version->value.bytes : version->value.apart;
            rc = rc == 0 ? buf_append(out, bytes, version->size) : rc;
        }
    }
    return rc;
}

static int dump_transaction(struct buf *out, const struct transaction *t)
{
    int rc = buf_printf(out,
                        "%" PRIu64 " worker %" PRIu64 " executor %" PRIu64 " open %" PRIu32
                        " heard %d passed %d\n",
                        t->stamp.timestamp, t->worker, t->executor, t->open, t->heard, t->passed);
    for (uint32_t i = 0; rc == 0 && i < t->mark_count; i++) {
        const struct mark *mark = &t->marks[i];
        ls_bytes name = key_name(mark->key);
        rc = buf_append(out, name.data, name.size);
        if (rc == 0) {
            rc = buf_printf(out, " kinds %d read %d write %d keeps %d:", mark->kinds, mark->read,
                            mark->write, mark->version != NULL);
        }
        if (rc == 0) {
            rc = dump_timeline(out, mark->key);
        }
        if (rc == 0) {
            rc = buf_append_byte(out, '\n');
        }
    }
    return rc;
}

int shard_dump(const ls_shard *shard, struct buf *out)
{
    ls_shard_info info = LS_SHARD_INFO_INIT;
    (void)ls_shard_info_get(shard, &info);
    info.memory = 0;
    int rc = buf_append(out, &info, sizeof info);
    for (size_t i = 0; rc == 0 && i < shard->worker_count; i++) {
        rc = buf_append(out, &shard->workers[i], sizeof shard->workers[i]);
    }
    for (struct stamp *s = shard->order.first; rc == 0 && s != NULL; s = s->next) {
        rc = dump_transaction(out, transaction_of(s));
    }
    return rc;
}
