/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The radix heap, its buckets as lists of small chunks. Chunks come from blocks and go back to one
 * list of spare ones; taking never allocates, because putting makes sure that there are enough for
 * the events however they spread.
 */
#include "model/kernel_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "lockstep.h"

#define CHUNK_EVENTS     127 /* a chunk is a page, so that memory is read in runs */
#define BLOCK_CHUNKS_MAX 1024

struct kernel_chunk {
    struct kernel_chunk *next;
    uint32_t first; /* of the events not taken yet */
    uint32_t count; /* where the next one is put */
    struct kernel_event events[CHUNK_EVENTS];
};

struct kernel_block {
    struct kernel_block *next;
    struct kernel_chunk chunks[];
};

/* Full chunks, one in part at the end of every bucket, one in part where events are taken from. */
static size_t chunks_needed(size_t count)
{
    return count / CHUNK_EVENTS + KERNEL_BUCKETS + 2;
}

static int add_block(struct kernel_queue *queue, size_t needed)
{
    size_t count = queue->chunks / 2;
    if (count > BLOCK_CHUNKS_MAX) {
        count = BLOCK_CHUNKS_MAX;
    }
    if (count < needed - queue->chunks) {
        count = needed - queue->chunks;
    }
    struct kernel_block *block = malloc(sizeof *block + count * sizeof block->chunks[0]);
    if (block == NULL) {
        return LS_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        block->chunks[i].next = queue->spare;
        queue->spare = &block->chunks[i];
    }
    block->next = queue->blocks;
    queue->blocks = block;
    queue->chunks += count;
    return 0;
}

/* A time may be put into the bucket of its highest bit that differs from now. */
static unsigned bucket_of(const struct kernel_queue *queue, uint64_t time_ns)
{
    uint64_t differs = time_ns ^ queue->now_ns;
    return differs == 0 ? 0 : 64 - (unsigned)__builtin_clzll(differs);
}

static void append(struct kernel_queue *queue, const struct kernel_event *event)
{
    unsigned number = bucket_of(queue, event->time_ns);
    struct kernel_bucket *bucket = &queue->buckets[number];
    struct kernel_chunk *chunk = bucket->last;

    if (chunk == NULL || chunk->count == CHUNK_EVENTS) {
        struct kernel_chunk *fresh = queue->spare;
        assert(fresh != NULL);
        queue->spare = fresh->next;
        fresh->next = NULL;
        fresh->first = 0;
        fresh->count = 0;
        if (chunk == NULL) {
            bucket->first = fresh;
            bucket->least_ns = event->time_ns;
            queue->occupied |= (uint64_t)1 << number;
        } else {
            chunk->next = fresh;
        }
        bucket->last = fresh;
        chunk = fresh;
    }
    chunk->events[chunk->count++] = *event;
    if (event->time_ns < bucket->least_ns) {
        bucket->least_ns = event->time_ns;
    }
}

int kernel_queue_put(struct kernel_queue *queue, const struct kernel_event *event)
{
    assert(event->time_ns >= queue->now_ns && event->time_ns <= KERNEL_TIME_MAX);
    size_t needed = chunks_needed(queue->count + 1);
    if (queue->chunks < needed) {
        int rc = add_block(queue, needed);
        if (rc != 0) {
            return rc;
        }
    }
    append(queue, event);
    queue->count++;
    return 0;
}

static void recycle(struct kernel_queue *queue, struct kernel_chunk *chunk)
{
    chunk->next = queue->spare;
    queue->spare = chunk;
}

/* Moves time on to the earliest event, which puts it and its equals into bucket 0 and the others of
 * its bucket into lower ones, all of them empty till then: so each keeps its place among its
 * equals. */
static void spread(struct kernel_queue *queue)
{
    unsigned number = (unsigned)__builtin_ctzll(queue->occupied);
    struct kernel_bucket *bucket = &queue->buckets[number];
    struct kernel_chunk *chunk = bucket->first;

    queue->now_ns = bucket->least_ns;
    *bucket = (struct kernel_bucket){0};
    queue->occupied &= ~((uint64_t)1 << number);
    while (chunk != NULL) {
        struct kernel_chunk *next = chunk->next;
        for (uint32_t i = chunk->first; i < chunk->count; i++) {
            append(queue, &chunk->events[i]);
        }
        recycle(queue, chunk);
        chunk = next;
    }
}

bool kernel_queue_take(struct kernel_queue *queue, struct kernel_event *event)
{
    if (queue->count == 0) {
        return false;
    }
    if ((queue->occupied & 1) == 0) {
        spread(queue);
    }
    struct kernel_bucket *bucket = &queue->buckets[0];
    struct kernel_chunk *chunk = bucket->first;
    assert(chunk != NULL && chunk->first < chunk->count);
    *event = chunk->events[chunk->first++];
    if (chunk->first == chunk->count) {
        bucket->first = chunk->next;
        if (bucket->first == NULL) {
            bucket->last = NULL;
            queue->occupied &= ~(uint64_t)1;
        }
        recycle(queue, chunk);
    }
    queue->count--;
    assert(event->time_ns == queue->now_ns);
    return true;
}

const struct kernel_event *kernel_queue_ahead(const struct kernel_queue *queue, unsigned places)
{
    const struct kernel_chunk *chunk = queue->buckets[0].first;
    assert(places < CHUNK_EVENTS);
    if (chunk == NULL) {
        return NULL;
    }
    uint32_t place = chunk->first + places;
    if (place >= chunk->count) {
        place -= chunk->count;
        chunk = chunk->next;
        if (chunk == NULL || place >= chunk->count) {
            return NULL;
        }
    }
    return &chunk->events[place];
}

void kernel_queue_free(struct kernel_queue *queue)
{
    while (queue->blocks != NULL) {
        struct kernel_block *next = queue->blocks->next;
        free(queue->blocks);
        queue->blocks = next;
    }
    *queue = (struct kernel_queue){0};
}
