/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions on the timeline of a key: placed open, then written or given up, and dropped once nobody
 * can ask for them. A version goes when the next one has its value and is below `collected`, and no
 * read that was heard still sees it. Where the caller keeps the versions, one that was written
 * stays only as long as an older one is open, or may still be placed, to stand before it.
 */
#include <assert.h>
#include <stddef.h>

#include "base/buf.h"
#include "shard/state.h"

struct version *version_seen(const struct mark *mark)
{
    if (mark->version != NULL) {
        return version_of(mark->version->stamp.prev);
    }
    return version_of(timeline_below(&mark->key->timeline, mark->of->stamp.timestamp));
}

static ls_bytes version_value(const struct version *version)
{
    return bytes_of(version->size <= VALUE_INLINE_MAX ? version->value.bytes : version->value.apart,
                    version->size);
}

enum ls_shard_content version_content(const struct ls_shard *shard, const struct version *version,
                                      ls_bytes *value)
{
    *value = bytes_of(NULL, 0);
    if (version == NULL) {
        return shard->stored ? LS_SHARD_STORED : LS_SHARD_ABSENT;
    }
    switch (version->state) {
    case VERSION_VALUE:
        *value = version_value(version);
        return LS_SHARD_VALUE;
    case VERSION_ABSENT:
        return LS_SHARD_ABSENT;
    case VERSION_STORED:
        return LS_SHARD_STORED;
    default:
        return LS_SHARD_OPEN;
    }
}

struct version *version_take(struct ls_shard *shard, struct key *key)
{
    for (size_t i = 0; i < VERSIONS_WITHIN; i++) {
        if (!key->taken[i]) {
            key->taken[i] = true;
            return &key->within[i];
        }
    }
    return pool_take(&shard->pool, sizeof(struct version));
}

void version_give(struct ls_shard *shard, struct key *key, struct version *version)
{
    for (size_t i = 0; i < VERSIONS_WITHIN; i++) {
        if (version == &key->within[i]) {
            key->taken[i] = false;
            return;
        }
    }
    pool_give(&shard->pool, version, sizeof *version);
}

bool version_place(struct ls_shard *shard, struct mark *mark)
{
    struct version *version = version_take(shard, mark->key);
    if (version == NULL) {
        return false;
    }
    version->stamp.timestamp = mark->of->stamp.timestamp;
    link_init(&version->readers);
    version->state = (mark->kinds & LS_SHARD_WILL) != 0 ? VERSION_WILL : VERSION_MAY;
    version->size = 0;
    timeline_insert(&mark->key->timeline, &version->stamp, &shard->dice, &shard->pool);
    mark->version = version;
    return true;
}

void version_remove(struct ls_shard *shard, struct key *key, struct version *version)
{
    assert(link_alone(&version->readers));
    if (!version_is_open(version)) {
        shard->versions--;
    }
    timeline_remove(&key->timeline, &version->stamp, &shard->pool);
    if (version->size > VALUE_INLINE_MAX) {
        pool_give(&shard->pool, version->value.apart, version->size);
    }
    version_give(shard, key, version);
}

/* ---- dropping ---- */

/* Whether every read that may still come sees the next version, or a later one. */
static bool version_is_superseded(const struct ls_shard *shard, const struct version *version)
{
    const struct version *next = version_of(version->stamp.next);
    return next != NULL && !version_is_open(next) && next->stamp.timestamp < shard->collected;
}

static void version_try_drop(struct ls_shard *shard, struct key *key, struct version *version)
{
    if (version == NULL || version_is_open(version) || !link_alone(&version->readers)) {
        return;
    }
    bool means_nothing = version->state == VERSION_ABSENT && version->stamp.prev == NULL &&
                         version->stamp.timestamp < shard->collected;
    if (means_nothing || version_is_superseded(shard, version)) {
        version_remove(shard, key, version);
    }
}

/* With `stored`: what was written stands only before what is open, or may still come in. */
static void stored_trim(struct ls_shard *shard, struct key *key)
{
    struct version *first = version_of(key->timeline.first);
    while (first != NULL && !version_is_open(first) &&
           first->stamp.timestamp <= shard->heard_all_writes) {
        version_remove(shard, key, first);
        first = version_of(key->timeline.first);
    }
}

void version_collect(struct ls_shard *shard, struct key *key, struct version *version)
{
    if (shard->stored) {
        stored_trim(shard, key);
        return;
    }
    if (version != NULL) {
        struct version *prev = version_of(version->stamp.prev);
        version_try_drop(shard, key, prev);
        version_try_drop(shard, key, version);
    }
    /* An absent one that is now the first means nothing any longer. */
    version_try_drop(shard, key, version_of(key->timeline.first));
}

/* ---- writing ---- */

static struct mark *mark_of_reader(struct link *reader)
{
    return (struct mark *)((uint8_t *)reader - offsetof(struct mark, readers));
}

/* Answers the readers of a list that wait, with what `now` says (NULL: what is below everything).
 * Lazy ones that were not asked for stay and hold on to it, where it is something to hold. */
static void readers_answer(struct ls_shard *shard, struct link *readers, struct version *now,
                           enum ls_shard_content content, ls_bytes value)
{
    bool holds = now != NULL && content != LS_SHARD_STORED && !shard->stored;
    struct link *next;
    for (struct link *reader = readers->next; reader != readers; reader = next) {
        next = reader->next;
        struct mark *mark = mark_of_reader(reader);
        if (mark->read == READ_WAITING) {
            link_remove(reader);
            shard->waiting--;
            read_answer(shard, mark, content, value);
        } else if (!holds) {
            link_remove(reader);
        } else if (&now->readers != readers) {
            link_remove(reader);
            link_add(&now->readers, reader);
        }
    }
}

bool version_write(struct ls_shard *shard, struct mark *mark, enum ls_shard_content content,
                   ls_bytes value)
{
    struct version *version = mark->version;
    struct key *key = mark->key;
    if (content == LS_SHARD_VALUE && !shard->stored) {
        uint8_t *bytes = version->value.bytes;
        if (value.size > VALUE_INLINE_MAX) {
            bytes = pool_take(&shard->pool, value.size);
            if (bytes == NULL) {
                return false;
            }
            version->value.apart = bytes;
        }
        if (value.size != 0) {
            memcpy(bytes, value.data, value.size);
        }
        version->size = (uint32_t)value.size;
    }
    version->state = shard->stored               ? VERSION_STORED
                     : content == LS_SHARD_VALUE ? VERSION_VALUE
                                                 : VERSION_ABSENT;
    shard->versions++;
    bool settled = shard->stored ? mark->of->heard : mark->of->passed;
    if (settled) {
        mark->version = NULL;
    }
    readers_answer(shard, &version->readers, version, content, value);
    if (settled) {
        version_collect(shard, key, version);
    }
    return true;
}

void version_give_up(struct ls_shard *shard, struct mark *mark)
{
    struct version *version = mark->version;
    struct key *key = mark->key;
    struct version *prev = version_of(version->stamp.prev);
    mark->version = NULL;
    if (prev != NULL && version_is_open(prev)) {
        if (!link_alone(&version->readers)) {
            struct link *first = version->readers.next;
            struct link *last = version->readers.prev;
            link_remove(&version->readers);
            first->prev = prev->readers.prev;
            last->next = &prev->readers;
            prev->readers.prev->next = first;
            prev->readers.prev = last;
        }
    } else {
        ls_bytes value;
        enum ls_shard_content content = version_content(shard, prev, &value);
        readers_answer(shard, &version->readers, prev, content, value);
    }
    version_remove(shard, key, version);
    version_collect(shard, key, prev);
}
