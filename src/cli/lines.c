/* SPDX-License-Identifier: Apache-2.0 */
/* Lines out of a buffer that is read on while it holds no whole one. */
#include "cli/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/error.h"

#define READ_SIZE 65536

/* Reads on; there is room for a byte behind it all even at the end. */
static int fill(struct line_source *lines, struct ls_error *error)
{
    struct buf *in = &lines->in;
    buf_drop(in, lines->at);
    lines->at = 0;
    if (buf_reserve(in, READ_SIZE) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    ssize_t got = read(lines->fd, in->data + in->size, in->capacity - in->size - 1);
    if (got < 0 && errno != EINTR) {
        return error_set(error, LS_EIO, 0, "standard input cannot be read: %s", strerror(errno));
    }
    in->size += got > 0 ? (size_t)got : 0;
    lines->ended = got == 0;
    return 0;
}

int lines_next(struct line_source *lines, size_t size_max, char **line, size_t *size,
               struct ls_error *error)
{
    for (;;) {
        size_t left = lines->in.size - lines->at;
        char *start = left > 0 ? (char *)lines->in.data + lines->at : NULL;
        char *feed =
            left > lines->seen ? memchr(start + lines->seen, '\n', left - lines->seen) : NULL;
        size_t length = feed != NULL ? (size_t)(feed - start) : left;
        if (length > size_max) {
            return error_set(error, LS_ETOOBIG, size_max,
                             "line %" PRIu64 " is longer than %zu bytes", lines->number + 1,
                             size_max);
        }
        if (feed != NULL || (lines->ended && left > 0)) {
            *line = start;
            *size = length + (feed != NULL);
            lines->at += *size;
            lines->seen = 0;
            lines->number++;
            return 1;
        }
        if (lines->ended) {
            return 0;
        }
        lines->seen = left;
        int rc = fill(lines, error);
        if (rc != 0) {
            return rc;
        }
    }
}

void lines_free(struct line_source *lines)
{
    buf_free(&lines->in);
}
