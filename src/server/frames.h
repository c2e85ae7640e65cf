/*
 * The box, encoded once for all who watch it. A block holds the push frames of consecutive
 * messages, and says which clocks it covers; watches send runs of its bytes by reference. The
 * newest block grows at its end, in place: bytes once written never move or change. Older pieces
 * are read from the store when a watch asks for them, and shared by those that stand at the same
 * clock.
 *
 * One cache for each way to encode: RESP2 or RESP3, CBOR or JSON.
 */
#ifndef LS_SERVER_FRAMES_H
#define LS_SERVER_FRAMES_H

#include <uv.h>

#include "coordinator/read.h"
#include "server/reads.h"

#define FRAMES_VARIANTS   4
#define FRAMES_CACHE      16
#define FRAMES_BLOCK_SIZE ((size_t)60 * 1024) /* a watch that is stuck in one holds below 64 KB */
#define FRAMES_CACHE_SIZE \
    (FRAMES_CACHE * FRAMES_BLOCK_SIZE) /* bytes kept, the newest block apart */

struct frames_block;

struct frames {
    int proto;
    bool json;
    struct frames_block *cache[FRAMES_CACHE]; /* the most recently used first */
    size_t count;
    struct buf scratch;
};

void frames_init(struct frames frames[FRAMES_VARIANTS]);
void frames_free(struct frames frames[FRAMES_VARIANTS]);

static inline unsigned frames_variant(int proto, bool json)
{
    return (proto == 3 ? 1U : 0U) + (json ? 2U : 0U);
}

/* The block that covers `from` on: 1 with *out, borrowed until the next call (frames_retain keeps
 * it); 0 where there is no message at or above `from`; or LS_ECOMPACTED with the oldest kept as the
 * number, LS_ENOMEM, or what the store says. */
int frames_find(struct frames *frames, struct reads *reads, uint64_t from,
                struct frames_block **out, struct ls_error *error);

/* Points `bufs` at the runs of frames at or above *next that match, as many as fit, and moves *next
 * behind what was looked at. *messages counts them. */
unsigned frames_gather(const struct frames_block *block, const struct box_filter *filter,
                       uint64_t *next, uv_buf_t *bufs, unsigned bufs_max, uint64_t *messages);

void frames_retain(struct frames_block *block);
void frames_release(struct frames_block *block); /* NULL is ignored */

/* Bytes that a reference of the block keeps; what was noted of its messages goes with the cache. */
size_t frames_block_memory(const struct frames_block *block);

/* Bytes that all caches hold, for INFO. */
size_t frames_memory(const struct frames frames[FRAMES_VARIANTS]);

#endif
