/* What the ticks of one node add up to. All of it can be worked out again from the rows of
 * events.csv. */
#ifndef LS_MODEL_TALLY_H
#define LS_MODEL_TALLY_H

#include <stdint.h>

enum scale_kind {
    SCALE_INTERNAL,
    SCALE_SEND_ONE,
    SCALE_SEND_SECOND,
    SCALE_BROADCAST,
    SCALE_RECEIVE
};

#define SCALE_NO_NODE UINT32_MAX

/* One tick of one node, as it was when it was over. */
struct scale_event {
    enum scale_kind kind;
    uint32_t node; /* from 0 */
    uint32_t queue_length;
    uint32_t peer; /* whom it was received from, or sent to where to one; else SCALE_NO_NODE */
    uint64_t seq;  /* of the node, from 1 */
    uint64_t time_ns;
    uint64_t clock;
    uint64_t jump;       /* what the clock moved on by */
    uint64_t peer_clock; /* that the message received carried */
};

struct tally {
    uint64_t clock;
    uint64_t ticks; /* internal ones are those that neither sent nor received */
    uint64_t sent;
    uint64_t received;
    uint64_t jump_sum;
    uint64_t max_jump;
    uint64_t queue_sum;
    uint32_t max_queue;
};

static inline void tally_add(struct tally *tally, const struct scale_event *event)
{
    tally->clock = event->clock;
    tally->ticks++;
    tally->sent += event->kind != SCALE_INTERNAL && event->kind != SCALE_RECEIVE;
    tally->received += event->kind == SCALE_RECEIVE;
    tally->jump_sum += event->jump;
    tally->max_jump = event->jump > tally->max_jump ? event->jump : tally->max_jump;
    tally->queue_sum += event->queue_length;
    tally->max_queue =
        event->queue_length > tally->max_queue ? event->queue_length : tally->max_queue;
}

static inline uint64_t tally_internal(const struct tally *tally)
{
    return tally->ticks - tally->sent - tally->received;
}

#endif
