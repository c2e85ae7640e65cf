/*
 * The read transaction that everything in one turn of the loop shares. It is begun when somebody
 * first asks. Each command that reads looks whether any process has committed since, and then has
 * it begun anew, so that a read sees every write that was answered before it was sent; what one
 * command reads is of one commit.
 */
#ifndef LS_SERVER_READS_H
#define LS_SERVER_READS_H

#include "coordinator/read.h"

struct reads {
    struct store *store;
    struct reading reading;
    bool open;
    bool looked; /* since reads_look_again, or by a new beginning */
    bool has_box;
    uint32_t wake_word; /* of the store, just before `reading` was begun */
    struct box_state box;
};

/* A command begins. */
static inline void reads_look_again(struct reads *reads)
{
    reads->looked = false;
}

/* The reading, the same until the next command or reads_end, or NULL with the error. */
struct reading *reads_get(struct reads *reads, struct ls_error *error);

/* The box in that same reading, or NULL with the error. */
const struct box_state *reads_box(struct reads *reads, struct ls_error *error);

/* At the end of a turn, and when the requests of this process were committed. */
void reads_end(struct reads *reads);

#endif
