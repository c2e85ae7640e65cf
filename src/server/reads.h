/*
 * The read transaction that everything in one turn of the loop shares. It is begun when somebody
 * first asks, and begun anew when any process has committed since, so that a read sees every write
 * that was answered before it was sent.
 */
#ifndef LS_SERVER_READS_H
#define LS_SERVER_READS_H

#include "coordinator/read.h"

struct reads {
    struct store *store;
    struct reading reading;
    bool open;
    bool has_box;
    uint32_t wake_word; /* of the store, just before `reading` was begun */
    struct box_state box;
};

/* The reading, good until the next call of any of these, or NULL with the error. */
struct reading *reads_get(struct reads *reads, struct ls_error *error);

/* The box in that same reading, or NULL with the error. */
const struct box_state *reads_box(struct reads *reads, struct ls_error *error);

/* At the end of a turn, and when the requests of this process were committed. */
void reads_end(struct reads *reads);

#endif
