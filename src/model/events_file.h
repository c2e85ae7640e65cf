/*
 * events.csv: one row for each tick. Rows gather in memory and go out in large writes; whatever
 * happens, the file ends with a whole row.
 */
#ifndef LS_MODEL_EVENTS_FILE_H
#define LS_MODEL_EVENTS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "model/tally.h"

#define EVENTS_FILE_HEADER "node,seq,event,system_time,logical_clock,queue_length,peer,peer_clock\n"

struct events_file {
    int fd;
    char *rows;
    size_t size;
    uint64_t written; /* bytes, up to the end of a row */
    uint64_t count;   /* rows put */
};

/* Takes the descriptor over, of an empty file. 0, or LS_ENOMEM with the descriptor still the
 * caller's. */
int events_file_open(struct events_file *file, int fd);

/* 0, or LS_EIO or LS_ENOSPACE with errno set: then the file holds the rows up to some earlier one,
 * and takes no more. */
int events_file_put(struct events_file *file, const struct scale_event *event);

/* Writes what is left and closes. The same errors. */
int events_file_close(struct events_file *file);

#endif
