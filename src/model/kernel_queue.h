/*
 * Pending events in order of time, those of one time in the order in which they were put: a radix
 * heap. It relies on time not going back: an event is never put before the one taken last.
 *
 * Every event lies in the bucket numbered by the highest bit in which its time differs from that of
 * the event taken last; bucket 0 holds those of the very same time. When bucket 0 is empty, the
 * lowest bucket that is not is spread over those below it. So an event moves a few times, always to
 * the end of a run of memory, and no two are ever compared. Events of one time are always in one
 * bucket, which is why their order holds without a sequence number being stored.
 */
#ifndef LS_MODEL_KERNEL_QUEUE_H
#define LS_MODEL_KERNEL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens, to whom and when. The kernel reads time_ns, node, from and life; `kind` and `value`
 * are the caller's. */
struct kernel_event {
    uint64_t time_ns;
    uint64_t value;
    uint32_t node;
    uint32_t from; /* the sender of a message; the node itself for anything else */
    uint32_t life; /* the life of the node that it belongs to; 0: whatever becomes of the node */
    uint16_t kind;
    uint16_t fate; /* enum kernel_fate, as it turned out */
};

#define KERNEL_TIME_MAX (UINT64_MAX >> 1)

#define KERNEL_BUCKETS 64

struct kernel_chunk;
struct kernel_block;

struct kernel_bucket {
    struct kernel_chunk *first;
    struct kernel_chunk *last;
    uint64_t least_ns; /* the earliest time in it */
};

/* All zeros is valid and empty. */
struct kernel_queue {
    uint64_t now_ns; /* of the event taken last */
    size_t count;
    uint64_t occupied; /* bit b: bucket b is not empty */
    struct kernel_bucket buckets[KERNEL_BUCKETS];
    struct kernel_chunk *spare;
    size_t chunks; /* allocated, spare or not */
    struct kernel_block *blocks;
};

/* Copies the event in. now_ns <= time_ns <= KERNEL_TIME_MAX. 0 or LS_ENOMEM, nothing changed. */
int kernel_queue_put(struct kernel_queue *queue, const struct kernel_event *event);

/* The time of the next event; UINT64_MAX where there is none. */
static inline uint64_t kernel_queue_time(const struct kernel_queue *queue)
{
    return queue->occupied == 0 ? UINT64_MAX
                                : queue->buckets[__builtin_ctzll(queue->occupied)].least_ns;
}

/* Takes the next event out. False where there is none. */
bool kernel_queue_take(struct kernel_queue *queue, struct kernel_event *event);

/* The event `places` behind the next one among those of the present time, to fetch early what it
 * will need; NULL where there is none. Valid until the queue changes. */
const struct kernel_event *kernel_queue_ahead(const struct kernel_queue *queue, unsigned places);

void kernel_queue_free(struct kernel_queue *queue);

#endif
