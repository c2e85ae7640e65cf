/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk is aligned to its size, so that a piece finds its chunk by its address. Chunks that are
 * full stand on no list but that of all chunks; the others also on their class's. Pieces at hand
 * count as in use, so a chunk's header is touched only when more come back than fit at hand.
 */
#include "shard/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lockstep.h"

#define CHUNK_SIZE ((size_t)64 * 1024)
#define LARGE_PAGE ((size_t)2 * 1024 * 1024)

struct pool_chunk {
    struct pool_chunk *prev; /* of all chunks */
    struct pool_chunk *next;
    struct pool_chunk *room_prev; /* of those of the class that have room */
    struct pool_chunk *room_next;
    void *free;      /* pieces given back, each pointing to the next */
    uint32_t used;   /* pieces handed out */
    uint32_t carved; /* pieces that were ever handed out; behind them is fresh memory */
    uint32_t room;   /* pieces in all */
    uint32_t class;
};

struct pool_large {
    struct pool_large *prev;
    struct pool_large *next;
    size_t size; /* with this header */
};

/* Keeps a chunk's pieces, and what follows a large header, aligned. */
#define HEADER_SIZE 64
static_assert(sizeof(struct pool_chunk) <= HEADER_SIZE, "the header has its place");
static_assert(sizeof(struct pool_large) <= HEADER_SIZE, "and so has the other");

void pool_open(struct pool *pool, uint64_t limit)
{
    static const uint32_t sizes[POOL_CLASSES] = {16,  32,  48,  64,   96,   128,  192,  256,
                                                 384, 512, 768, 1024, 1536, 2048, 3072, 4096};
    memset(pool, 0, sizeof *pool);
    pool->limit = limit;
    size_t class = 0;
    for (size_t i = 0; i < POOL_CLASSES; i++) {
        pool->classes[i].piece_size = sizes[i];
    }
    for (size_t units = 0; units <= POOL_SMALL_MAX / 16; units++) {
        class += units * 16 > sizes[class];
        pool->class_of[units] = (uint8_t) class;
    }
}

static void large_free(struct pool_large *large)
{
    if (large->size >= LARGE_PAGE) {
        (void)munmap(large, large->size);
    } else {
        free(large);
    }
}

void pool_close(struct pool *pool)
{
    while (pool->chunks != NULL) {
        struct pool_chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        free(chunk);
    }
    while (pool->large != NULL) {
        struct pool_large *large = pool->large;
        pool->large = large->next;
        large_free(large);
    }
}

/* Whether `size` more bytes are within the limit; counts them where they are. */
static bool pool_charge(struct pool *pool, size_t size)
{
    pool->at_limit = pool->limit != 0 && size > pool->limit - pool->held;
    if (pool->at_limit) {
        return false;
    }
    pool->held += size;
    return true;
}

/* ---- chunks ---- */

static void room_add(struct pool_class *class, struct pool_chunk *chunk)
{
    chunk->room_prev = NULL;
    chunk->room_next = class->with_room;
    if (class->with_room != NULL) {
        class->with_room->room_prev = chunk;
    }
    class->with_room = chunk;
}

static void room_remove(struct pool_class *class, struct pool_chunk *chunk)
{
    if (chunk->room_next != NULL) {
        chunk->room_next->room_prev = chunk->room_prev;
    }
    if (chunk->room_prev != NULL) {
        chunk->room_prev->room_next = chunk->room_next;
    } else {
        class->with_room = chunk->room_next;
    }
}

static struct pool_chunk *chunk_add(struct pool *pool, uint32_t number)
{
    if (!pool_charge(pool, CHUNK_SIZE)) {
        return NULL;
    }
    struct pool_chunk *chunk = aligned_alloc(CHUNK_SIZE, CHUNK_SIZE);
    if (chunk == NULL) {
        pool->held -= CHUNK_SIZE;
        return NULL;
    }
    struct pool_class *class = &pool->classes[number];
    *chunk = (struct pool_chunk){
        .next = pool->chunks,
        .room = (uint32_t)(CHUNK_SIZE - HEADER_SIZE) / class->piece_size,
        .class = number,
    };
    if (pool->chunks != NULL) {
        pool->chunks->prev = chunk;
    }
    pool->chunks = chunk;
    room_add(class, chunk);
    return chunk;
}

static void chunk_free(struct pool *pool, struct pool_chunk *chunk)
{
    room_remove(&pool->classes[chunk->class], chunk);
    if (chunk->next != NULL) {
        chunk->next->prev = chunk->prev;
    }
    if (chunk->prev != NULL) {
        chunk->prev->next = chunk->next;
    } else {
        pool->chunks = chunk->next;
    }
    free(chunk);
    pool->held -= CHUNK_SIZE;
}

static void *chunk_take(struct pool *pool, uint32_t number)
{
    struct pool_class *class = &pool->classes[number];
    struct pool_chunk *chunk = class->with_room;
    if (chunk == NULL) {
        chunk = chunk_add(pool, number);
        if (chunk == NULL) {
            return NULL;
        }
    }
    void *piece = chunk->free;
    if (piece != NULL) {
        memcpy(&chunk->free, piece, sizeof chunk->free);
    } else {
        piece = (uint8_t *)chunk + HEADER_SIZE + (size_t)chunk->carved * class->piece_size;
        chunk->carved++;
    }
    chunk->used++;
    if (chunk->used == chunk->room) {
        room_remove(class, chunk);
    }
    return piece;
}

static void chunk_give(struct pool *pool, void *piece)
{
    struct pool_chunk *chunk = (void *)((uintptr_t)piece & ~(uintptr_t)(CHUNK_SIZE - 1));
    struct pool_class *class = &pool->classes[chunk->class];
    if (chunk->used == chunk->room) {
        room_add(class, chunk);
    }
    memcpy(piece, &chunk->free, sizeof chunk->free);
    chunk->free = piece;
    chunk->used--;
    /* The last chunk with room stays: the next piece would need it again. */
    bool only = class->with_room == chunk && chunk->room_next == NULL;
    if (chunk->used == 0 && !only) {
        chunk_free(pool, chunk);
    }
}

/* ---- large pieces ---- */

/* A table of millions of slots is looked at anywhere: it is mapped, aligned to large pages, which
 * spare a second access to memory at each look. All zeros. NULL: no memory. */
static void *large_map(size_t size)
{
    size_t slack = LARGE_PAGE;
    uint8_t *mapped =
        mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    size_t before = (size_t)(-(uintptr_t)mapped & (LARGE_PAGE - 1));
    if (before != 0) {
        (void)munmap(mapped, before);
    }
    (void)munmap(mapped + before + size, slack - before);
    (void)madvise(mapped + before, size, MADV_HUGEPAGE); /* only a hint */
    return mapped + before;
}

static size_t large_size(size_t size)
{
    size_t unit = HEADER_SIZE + size < LARGE_PAGE ? HEADER_SIZE : CHUNK_SIZE;
    return (HEADER_SIZE + size + unit - 1) & ~(unit - 1);
}

static void *large_take(struct pool *pool, size_t size, bool zeroed)
{
    if (size > SIZE_MAX / 2 || !pool_charge(pool, large_size(size))) {
        return NULL;
    }
    size_t whole = large_size(size);
    bool map = whole >= LARGE_PAGE;
    struct pool_large *large = map ? large_map(whole) : aligned_alloc(HEADER_SIZE, whole);
    if (large == NULL) {
        pool->held -= whole;
        return NULL;
    }
    if (zeroed && !map) {
        memset(large, 0, whole);
    }
    large->size = whole;
    large->prev = NULL;
    large->next = pool->large;
    if (pool->large != NULL) {
        pool->large->prev = large;
    }
    pool->large = large;
    return (uint8_t *)large + HEADER_SIZE;
}

static void large_give(struct pool *pool, void *piece)
{
    struct pool_large *large = (void *)((uint8_t *)piece - HEADER_SIZE);
    if (large->next != NULL) {
        large->next->prev = large->prev;
    }
    if (large->prev != NULL) {
        large->prev->next = large->next;
    } else {
        pool->large = large->next;
    }
    pool->held -= large->size;
    large_free(large);
}

/* ---- pieces ---- */

void *pool_take(struct pool *pool, size_t size)
{
    pool->at_limit = false;
    if (size > POOL_SMALL_MAX) {
        return large_take(pool, size, false);
    }
    uint32_t number = pool->class_of[(size + 15) / 16];
    struct pool_class *class = &pool->classes[number];
    if (class->at_hand_count != 0) {
        return class->at_hand[--class->at_hand_count];
    }
    return chunk_take(pool, number);
}

void *pool_take_zeroed(struct pool *pool, size_t size)
{
    if (size > POOL_SMALL_MAX) {
        pool->at_limit = false;
        return large_take(pool, size, true);
    }
    void *piece = pool_take(pool, size);
    if (piece != NULL) {
        memset(piece, 0, size);
    }
    return piece;
}

/* Gives the oldest pieces at hand back to their chunks: the newest are warm. */
static void at_hand_drop(struct pool *pool, struct pool_class *class, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        chunk_give(pool, class->at_hand[i]);
    }
    class->at_hand_count -= count;
    memmove(class->at_hand, class->at_hand + count,
            class->at_hand_count * sizeof class->at_hand[0]);
}

void pool_give(struct pool *pool, void *piece, size_t size)
{
    if (piece == NULL) {
        return;
    }
    if (size > POOL_SMALL_MAX) {
        large_give(pool, piece);
        return;
    }
    struct pool_class *class = &pool->classes[pool->class_of[(size + 15) / 16]];
    if (class->at_hand_count == POOL_AT_HAND) {
        at_hand_drop(pool, class, POOL_AT_HAND / 2);
    }
    class->at_hand[class->at_hand_count++] = piece;
}

void pool_trim(struct pool *pool)
{
    for (size_t i = 0; i < POOL_CLASSES; i++) {
        at_hand_drop(pool, &pool->classes[i], pool->classes[i].at_hand_count);
    }
}

int pool_failure(const struct pool *pool)
{
    return pool->at_limit ? LS_ENOSPACE : LS_ENOMEM;
}
