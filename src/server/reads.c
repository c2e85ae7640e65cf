/* SPDX-License-Identifier: Apache-2.0 */
/* The shared read transaction of one turn of the loop; see reads.h for when it is begun anew. */
#include "server/reads.h"

struct reading *reads_get(struct reads *reads, struct ls_error *error)
{
    if (reads->open && reads->looked) {
        return &reads->reading;
    }
    reads->looked = true;
    uint32_t word = reads->store->driver->wake_word(reads->store);
    if (reads->open && word == reads->wake_word) {
        return &reads->reading;
    }
    reads_end(reads);
    if (reading_begin(&reads->reading, reads->store, error) != 0) {
        return NULL;
    }
    reads->open = true;
    reads->wake_word = word;
    return &reads->reading;
}

const struct box_state *reads_box(struct reads *reads, struct ls_error *error)
{
    struct reading *reading = reads_get(reads, error);
    if (reading == NULL) {
        return NULL;
    }
    if (!reads->has_box) {
        if (box_state_read(reading, &reads->box, error) != 0) {
            return NULL;
        }
        reads->has_box = true;
    }
    return &reads->box;
}

void reads_end(struct reads *reads)
{
    if (reads->open) {
        reading_end(&reads->reading);
        reads->open = false;
        reads->has_box = false;
    }
}
