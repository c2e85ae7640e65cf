/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of memory for pendings, and the chain that a turn of the loop submits. */
#include "server/queue.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE      ((size_t)256 * 1024)
#define BLOCKS_SPARE    8
#define ALIGNMENT       alignof(max_align_t)
#define ROUND_UP(bytes) (((bytes) + ALIGNMENT - 1) & ~(ALIGNMENT - 1))

struct queue_block {
    struct queue_block *next; /* among the spare ones */
    size_t size;
    size_t used;
    size_t promised; /* end of the room of the newest pending */
    size_t pendings; /* not yet done */
    alignas(max_align_t) uint8_t data[];
};

static void release(struct queue *queue, struct queue_block *block)
{
    block->used = 0;
    block->promised = 0;
    if (block == queue->current) {
        return;
    }
    if (block->size == BLOCK_SIZE && queue->spare_count < BLOCKS_SPARE) {
        block->next = queue->spare;
        queue->spare = block;
        queue->spare_count++;
    } else {
        free(block);
    }
}

static struct queue_block *take_block(struct queue *queue, size_t needed)
{
    if (needed <= BLOCK_SIZE && queue->spare != NULL) {
        struct queue_block *block = queue->spare;
        queue->spare = block->next;
        queue->spare_count--;
        return block;
    }
    size_t size = needed <= BLOCK_SIZE ? BLOCK_SIZE : needed;
    struct queue_block *block = malloc(sizeof *block + size);
    if (block != NULL) {
        *block = (struct queue_block){.size = size};
    }
    return block;
}

/* The block has the room. */
static struct pending *begin(struct queue_block *block, size_t needed)
{
    struct pending *pending = (struct pending *)(block->data + block->promised);
    block->used = block->promised + ROUND_UP(sizeof *pending);
    block->promised += needed;
    block->pendings++;
    memset(pending, 0, offsetof(struct pending, error));
    pending->block = block;
    pending->bytes = needed;
    pending->request.owner = pending;
    pending->request.error = &pending->error;
    return pending;
}

struct pending *queue_new(struct queue *queue, size_t bytes)
{
    size_t needed = ROUND_UP(sizeof(struct pending)) + ROUND_UP(bytes);
    struct queue_block *block = queue->current;
    if (block == NULL || block->size - block->promised < needed) {
        struct queue_block *fresh = take_block(queue, needed);
        if (fresh == NULL) {
            return NULL;
        }
        queue->current = fresh;
        if (block != NULL && block->pendings == 0) {
            release(queue, block);
        }
        block = fresh;
    }
    return begin(block, needed);
}

struct pending *queue_new_alone(size_t bytes)
{
    size_t needed = ROUND_UP(sizeof(struct pending)) + ROUND_UP(bytes);
    struct queue_block *block = malloc(sizeof *block + needed);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct queue_block){.size = needed};
    return begin(block, needed);
}

void *queue_room(struct pending *pending, size_t size)
{
    struct queue_block *block = pending->block;
    assert(size <= block->promised - block->used);
    void *room = block->data + block->used;
    block->used += size;
    return room;
}

ls_bytes queue_copy(struct pending *pending, ls_bytes bytes)
{
    if (bytes.size == 0) {
        return (ls_bytes){0};
    }
    void *room = queue_room(pending, bytes.size);
    memcpy(room, bytes.data, bytes.size);
    return (ls_bytes){room, bytes.size};
}

static void leave_block(struct queue *queue, struct queue_block *block)
{
    assert(block->pendings > 0);
    if (--block->pendings == 0) {
        release(queue, block);
    }
}

void queue_cancel(struct queue *queue, struct pending *pending)
{
    leave_block(queue, pending->block);
}

void queue_add(struct queue *queue, struct pending *pending)
{
    if (queue->last == NULL) {
        queue->first = &pending->request;
    } else {
        queue->last->next = &pending->request;
    }
    queue->last = &pending->request;
    queue->bytes += pending->bytes;
    queue->count++;
    queue->bytes_peak = queue->bytes > queue->bytes_peak ? queue->bytes : queue->bytes_peak;
}

void queue_submit(struct queue *queue, struct sequencer *sequencer)
{
    if (queue->first != NULL) {
        struct request *first = queue->first;
        struct request *last = queue->last;
        queue->first = NULL;
        queue->last = NULL;
        sequencer_submit(sequencer, first, last);
    }
}

void queue_done(struct queue *queue, struct pending *pending)
{
    struct queue_block *block = pending->block;
    assert(queue->count > 0);
    queue->bytes -= pending->bytes;
    queue->count--;
    leave_block(queue, block);
}

void queue_hold(struct pending *pending)
{
    pending->block->pendings++;
}

void queue_let_go(struct queue *queue, struct pending *pending)
{
    leave_block(queue, pending->block);
}

void queue_free(struct queue *queue)
{
    assert(queue->count == 0);
    free(queue->current);
    while (queue->spare != NULL) {
        struct queue_block *next = queue->spare->next;
        free(queue->spare);
        queue->spare = next;
    }
    *queue = (struct queue){0};
}
