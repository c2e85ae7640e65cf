/* SPDX-License-Identifier: Apache-2.0 */
/* Looking without touching: values at a timestamp, how a transaction stands, counters, and a look
 * ahead. */
#include <string.h>

#include "shard/state.h"

int ls_shard_get(ls_shard *shard, uint64_t timestamp, ls_bytes name, enum ls_shard_content *content,
                 ls_bytes *value, uint64_t *waits_for)
{
    if (timestamp < shard->heard_all_reads && !shard->stored) {
        return shard_refuse(LS_ETOOOLD, shard->heard_all_reads,
                            "what reads before %llu see may be gone",
                            (unsigned long long)shard->heard_all_reads);
    }
    if (timestamp > shard->heard_all_writes) {
        return shard_refuse(LS_EINVAL, shard->heard_all_writes,
                            "not every write before %llu is known, only those before %llu",
                            (unsigned long long)timestamp,
                            (unsigned long long)shard->heard_all_writes);
    }
    const struct cell *cell = cell_find(shard, name, key_hash(shard, name));
    const struct key *key = cell != NULL ? cell_key(cell) : NULL;
    const struct version *version =
        key != NULL ? version_of(timeline_below(&key->timeline, timestamp)) : NULL;
    ls_bytes bytes;
    if (cell != NULL && key == NULL) {
        *content = LS_SHARD_VALUE;
        bytes = cell_value(cell);
    } else {
        *content = version_content(shard, version, &bytes);
    }
    if (*content == LS_SHARD_VALUE && value != NULL) {
        *value = bytes;
    }
    if (*content == LS_SHARD_OPEN && waits_for != NULL) {
        *waits_for = version->stamp.timestamp;
    }
    return 0;
}

static enum ls_shard_state read_state(const struct mark *mark)
{
    switch ((enum read_state)mark->read) {
    case READ_NOT:
        return LS_SHARD_NO_MARK;
    case READ_UNASKED:
        return LS_SHARD_UNASKED;
    case READ_ASKED:
        return LS_SHARD_UNHEARD;
    case READ_WAITING:
        return LS_SHARD_WAITING;
    default:
        return LS_SHARD_DONE;
    }
}

static enum ls_shard_state write_state(const struct mark *mark)
{
    static const enum ls_shard_state states[] = {
        [WRITE_NOT] = LS_SHARD_NO_MARK,
        [WRITE_OPEN] = LS_SHARD_UNWRITTEN,
        [WRITE_DONE] = LS_SHARD_DONE,
    };
    return states[mark->write];
}

int ls_shard_explain(ls_shard *shard, uint64_t timestamp, ls_bytes key, ls_shard_mark *out)
{
    if (out->size == 0 || out->size > sizeof *out) {
        return shard_refuse(LS_EINVAL, 0, "a mark of no size that this version knows");
    }
    struct transaction *transaction = transaction_find(shard, timestamp);
    struct mark *mark = transaction != NULL ? transaction_mark(shard, transaction, key) : NULL;
    if (mark == NULL) {
        return shard_refuse(LS_ENOLOCK, 0, "transaction %llu has no mark at this key",
                            (unsigned long long)timestamp);
    }
    ls_shard_mark found = {
        .size = out->size,
        .kinds = mark->kinds,
        .read = read_state(mark),
        .write = write_state(mark),
    };
    const struct version *version = version_seen(mark);
    if (mark->read != READ_NOT && mark->read != READ_DONE && version != NULL &&
        version_is_open(version)) {
        found.waits = true;
        found.waits_for = version->stamp.timestamp;
        found.waits_for_kind = version->state == VERSION_WILL ? LS_SHARD_WILL : LS_SHARD_MAY;
    }
    memcpy(out, &found, found.size);
    return 0;
}

int ls_shard_info_get(const ls_shard *shard, ls_shard_info *out)
{
    if (out->size == 0 || out->size > sizeof *out) {
        return shard_refuse(LS_EINVAL, 0, "counters of no size that this version knows");
    }
    ls_shard_info found = {
        .size = out->size,
        .heard_all_writes = shard->heard_all_writes,
        .heard_all_reads = shard->heard_all_reads,
        .keys = table_count(&shard->keys),
        .versions = shard->versions,
        .open = shard->open,
        .remembered = table_count(&shard->transactions),
        .waiting = shard->waiting,
        .anchors = shard->anchors,
        .collected = shard->collected,
        .memory = shard->pool.held,
    };
    memcpy(out, &found, found.size);
    return 0;
}

void ls_shard_expect(const ls_shard *shard, const ls_bytes *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        table_prefetch(&shard->keys, key_hash(shard, keys[i]));
    }
}
