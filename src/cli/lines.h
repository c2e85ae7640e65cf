/*
 * Lines of a descriptor one by one, none longer than whoever asks can use: what has no line feed
 * takes no more memory than that. A line is there as soon as it has arrived.
 */
#ifndef LS_CLI_LINES_H
#define LS_CLI_LINES_H

#include "base/buf.h"
#include "lockstep.h"

/* All zeros but for the descriptor is a fresh one. */
struct line_source {
    int fd;
    struct buf in;
    size_t at;       /* where in it the next line begins */
    size_t seen;     /* bytes of that which have no line feed */
    uint64_t number; /* of the last line that was taken, from 1 */
    bool ended;
};

/* The next line, with its line feed where it has one: that, or the byte behind a last line without
 * one, may be overwritten like the line. It is there until the next call. 1, 0 at the end,
 * LS_ETOOBIG with the number of the line, LS_EIO, LS_ENOMEM. */
int lines_next(struct line_source *lines, size_t size_max, char **line, size_t *size,
               struct ls_error *error);
void lines_free(struct line_source *lines);

#endif
