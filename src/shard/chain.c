/* SPDX-License-Identifier: Apache-2.0 */
/* What consensus fixed: chains of anchors, kept back to the newest below heard_all_reads. */
#include <stddef.h>

#include "base/buf.h"
#include "base/hash.h"
#include "shard/state.h"

static bool chain_has_id(const struct slot *slot, const void *sought)
{
    const struct chain *chain = slot->item;
    return bytes_equal(bytes_of(chain->id, chain->size), *(const ls_bytes *)sought);
}

static size_t anchor_size(size_t bytes)
{
    return offsetof(struct anchor, bytes) + bytes;
}

static struct anchor *anchor_new(struct ls_shard *shard, uint64_t height, ls_bytes bytes,
                                 uint64_t timestamp)
{
    struct anchor *anchor = pool_take(&shard->pool, anchor_size(bytes.size));
    if (anchor != NULL) {
        anchor->height = height;
        anchor->timestamp = timestamp;
        anchor->size = (uint32_t)bytes.size;
        if (bytes.size != 0) {
            memcpy(anchor->bytes, bytes.data, bytes.size);
        }
    }
    return anchor;
}

static struct chain *chain_new(struct ls_shard *shard, ls_bytes id, uint64_t hash)
{
    if (table_reserve(&shard->chains, 1, &shard->pool) != 0) {
        return NULL;
    }
    struct chain *chain = pool_take(&shard->pool, sizeof *chain + id.size);
    if (chain != NULL) {
        *chain = (struct chain){.hash = hash, .size = id.size};
        if (id.size != 0) {
            memcpy(chain->id, id.data, id.size);
        }
    }
    return chain;
}

/* NULL where none of this height is held. */
static struct anchor *anchor_at(const struct chain *chain, uint64_t height)
{
    struct anchor *anchor = chain->newest;
    if (anchor == NULL || height > anchor->height || height < chain->oldest->height) {
        return NULL;
    }
    while (anchor->height != height) {
        anchor = anchor_towards(anchor, height);
    }
    return anchor;
}

static void anchor_add(struct ls_shard *shard, struct chain *chain, struct anchor *anchor)
{
    anchor->older = chain->newest;
    anchor->newer = NULL;
    anchor->jump = anchor_at(chain, anchor_jump_height(anchor->height));
    *(chain->newest != NULL ? &chain->newest->newer : &chain->oldest) = anchor;
    chain->newest = anchor;
    shard->anchors++;
}

/* An anchor that is not the next: 0 where it is one that is held, else why not. */
static int anchor_compare(const struct chain *chain, uint64_t height, ls_bytes anchor,
                          uint64_t timestamp)
{
    const struct anchor *held = anchor_at(chain, height);
    if (held == NULL) {
        return shard_refuse(LS_ECONFLICT, chain->newest->height,
                            "height %llu is not the next after %llu", (unsigned long long)height,
                            (unsigned long long)chain->newest->height);
    }
    if (held->timestamp != timestamp || !bytes_equal(bytes_of(held->bytes, held->size), anchor)) {
        return shard_refuse(LS_ECONFLICT, chain->newest->height, "height %llu has another anchor",
                            (unsigned long long)height);
    }
    return 0;
}

int ls_shard_anchor(ls_shard *shard, ls_bytes chain_id, uint64_t learner, uint64_t height,
                    ls_bytes bytes, uint64_t timestamp)
{
    if (learner != shard->learner) {
        return shard_refuse(LS_ENOTFOUND, 0, "the shard follows learner %llu",
                            (unsigned long long)shard->learner);
    }
    if (chain_id.size > LS_SHARD_VALUE_MAX || bytes.size > LS_SHARD_VALUE_MAX) {
        return shard_refuse(LS_ETOOBIG, LS_SHARD_VALUE_MAX,
                            "a chain and an anchor have at most %d bytes", LS_SHARD_VALUE_MAX);
    }
    uint64_t hash = hash64(chain_id.data, chain_id.size, shard->seed);
    const struct slot *slot = table_find(&shard->chains, hash, chain_has_id, &chain_id);
    struct chain *chain = slot != NULL ? slot->item : NULL;
    if (chain != NULL && (height == 0 || height - 1 != chain->newest->height)) {
        return anchor_compare(chain, height, bytes, timestamp);
    }
    struct anchor *anchor = anchor_new(shard, height, bytes, timestamp);
    if (anchor == NULL) {
        return shard_no_memory(shard);
    }
    if (chain == NULL) {
        chain = chain_new(shard, chain_id, hash);
        if (chain == NULL) {
            int rc = shard_no_memory(shard);
            pool_give(&shard->pool, anchor, anchor_size(bytes.size));
            return rc;
        }
        chain->next = shard->chain != NULL ? shard->chain->next : chain;
        *(shard->chain != NULL ? &shard->chain->next : &shard->chain) = chain;
        (void)table_add(&shard->chains, hash, chain, &shard->pool);
    }
    anchor_add(shard, chain, anchor);
    shard->chains_due = table_count(&shard->chains);
    watermarks_raise(shard, timestamp);
    return 0;
}

void chain_collect_step(struct ls_shard *shard)
{
    struct chain *chain = shard->chain;
    struct anchor *anchor = chain->oldest;
    if (anchor->newer == NULL || anchor->newer->timestamp >= shard->heard_all_reads) {
        shard->chain = chain->next;
        shard->chains_due--;
        return;
    }
    chain->oldest = anchor->newer;
    chain->oldest->older = NULL;
    shard->anchors--;
    pool_give(&shard->pool, anchor, anchor_size(anchor->size));
}
