/*
 * The simulation kernel: discrete events in virtual time, nodes that crash and come back, and a
 * network between them that delays, loses, doubles and reorders, and that partitions cut.
 *
 * One seed determines everything: time is an integer number of nanoseconds, random numbers come
 * from the kernel's own generator, chances are integers, and events of one time happen in the order
 * in which they were scheduled. The kernel calls nobody back: the caller takes one event after the
 * other and does what it means.
 *
 * 1. A caller's `value` stays the caller's: each event that was scheduled comes out of
 *    kernel_next() exactly once, also one that no longer happens, whose `fate` says why. What is
 *    left is taken out with kernel_drain().
 * 2. A node's life begins with 1 and ends when it crashes. Timers belong to the life they were set
 *    in, messages to the life of the receiver they were sent to: in another they come out as
 *    KERNEL_DEAD.
 * 3. A message is checked against partitions when it is sent and again when it arrives: one that a
 *    partition overtakes comes out as KERNEL_CUT.
 *
 * Not for several threads at once.
 */
#ifndef LS_MODEL_KERNEL_H
#define LS_MODEL_KERNEL_H

#include "lockstep.h"
#include "model/kernel_queue.h"
#include "model/kernel_random.h"

enum kernel_fate {
    KERNEL_HAPPENS,
    KERNEL_DEAD, /* the node is down, or in another life */
    KERNEL_CUT   /* a partition lies between sender and receiver */
};

/* How messages travel: for `latency_ns` and up to `jitter_ns` more, drawn evenly. So with jitter
 * one overtakes another, unless they are `ordered`: then of two from one node to another the one
 * sent first arrives first. May be changed while it runs. */
struct kernel_network {
    uint64_t latency_ns;
    uint64_t jitter_ns;
    uint64_t loss;     /* chance that a message is lost */
    uint64_t doubling; /* chance that one not lost arrives twice, with a delay for each */
    bool ordered;      /* needs a table of all pairs: at most KERNEL_ORDERED_MAX nodes */
};

#define KERNEL_ORDERED_MAX 1024

struct kernel_options {
    uint64_t seed;
    uint32_t nodes;    /* numbered from 0; at most KERNEL_NODES_MAX */
    size_t events_max; /* pending at once; 0: as many as memory holds */
    struct kernel_network network;
};

#define KERNEL_NODES_MAX ((uint32_t)1 << 24)

struct kernel_node {
    uint32_t life;
    uint16_t side; /* of a partition: nodes of different sides do not hear each other */
    bool up;
};

/* The members may be read; only `random` and `network` may be changed from outside. */
struct kernel {
    uint64_t now_ns;
    struct kernel_random random;
    struct kernel_network network;
    struct kernel_queue queue;
    struct kernel_node *nodes;
    uint32_t node_count;
    size_t events_max;
    uint64_t *arrivals; /* with `ordered`, of the last message from each node to each */
    bool eventful;      /* a node crashed, or a partition was made, at some time */
    uint64_t happened;
    uint64_t lost; /* messages, by chance, partition or death, before or after they were sent */
};

/* All nodes are up, in life 1, on side 0; the time is 0. 0, LS_EINVAL (too many nodes), LS_ENOMEM.
 */
int kernel_open(struct kernel *kernel, const struct kernel_options *options,
                struct ls_error *error);
void kernel_close(struct kernel *kernel);

/* Schedules an event for `time_ns` (from now on, at most KERNEL_TIME_MAX) that happens whatever
 * becomes of the node. 0, LS_ENOMEM, LS_ENOSPACE (events_max), without changing anything. */
int kernel_at(struct kernel *kernel, uint64_t time_ns, uint32_t node, uint16_t kind,
              uint64_t value);

/* The same, for the node's present life. The node must be up. */
int kernel_timer(struct kernel *kernel, uint64_t time_ns, uint32_t node, uint16_t kind,
                 uint64_t value);

/* Sends a message. How many will arrive as things stand, each as an event of the receiver: 0 where
 * it is lost, 2 where it is doubled, both with the same `value`; LS_ENOMEM or LS_ENOSPACE where
 * none was sent. A node that is down sends nothing: 0. */
int kernel_send(struct kernel *kernel, uint32_t from, uint32_t to, uint16_t kind, uint64_t value);

/* Takes the next event that is due by `until_ns` (at most KERNEL_TIME_MAX) and moves time on to it.
 * False where there is none: time is then `until_ns`, unless it was later already. */
bool kernel_next(struct kernel *kernel, uint64_t until_ns, struct kernel_event *event);

/* The time of the next event; UINT64_MAX where there is none. */
static inline uint64_t kernel_next_time(const struct kernel *kernel)
{
    return kernel_queue_time(&kernel->queue);
}

/* Takes out what is pending, one by one, without moving time, for a caller that owns the values. No
 * event may be scheduled between or after such calls. */
bool kernel_drain(struct kernel *kernel, struct kernel_event *event);

/* Ends the life of a node that is up; begins the next of one that is down. */
void kernel_crash(struct kernel *kernel, uint32_t node);
void kernel_restart(struct kernel *kernel, uint32_t node);
bool kernel_is_up(const struct kernel *kernel, uint32_t node);

/* Puts a node on a side; nodes hear each other only within one side. Healing puts all on side 0. */
void kernel_partition(struct kernel *kernel, uint32_t node, uint16_t side);
void kernel_heal(struct kernel *kernel);
/* Whether both are up, on one side. */
bool kernel_connected(const struct kernel *kernel, uint32_t a, uint32_t b);

#endif
