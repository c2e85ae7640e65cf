/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of numbers, written two digits at a time. */
#include "model/events_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digits.h"
#include "lockstep.h"
#include "model/scale.h"

#define ROWS_SIZE ((size_t)1 << 18)
#define ROW_MAX   160 /* eight fields, the commas and the end of the line */

/* With nine places. */
static char *put_seconds(char *out, uint64_t time_ns)
{
    uint32_t rest = (uint32_t)(time_ns % SCALE_NS_PER_SECOND);
    out += digits_put(out, time_ns / SCALE_NS_PER_SECOND);
    *out++ = '.';
    for (int at = 7; at > 0; at -= 2) {
        digits_pair(out + at, rest % 100);
        rest /= 100;
    }
    *out = (char)('0' + rest);
    return out + 9;
}

int events_file_open(struct events_file *file, int fd)
{
    *file = (struct events_file){.fd = fd, .rows = malloc(ROWS_SIZE)};
    if (file->rows == NULL) {
        return LS_ENOMEM;
    }
    file->size = sizeof EVENTS_FILE_HEADER - 1;
    memcpy(file->rows, EVENTS_FILE_HEADER, file->size);
    return 0;
}

/* Cuts off the part of a row that a failed write left; `partial` bytes were written of the rows. */
static int cut(struct events_file *file, size_t partial)
{
    int saved = errno;
    const char *end = partial > 0 ? memrchr(file->rows, '\n', partial) : NULL;
    file->written += end != NULL ? (size_t)(end - file->rows) + 1 : 0;
    int ignored = ftruncate(file->fd, (off_t)file->written);
    (void)ignored; /* the file is as good as it can be made */
    file->size = 0;
    errno = saved;
    return saved == ENOSPC || saved == EDQUOT || saved == EFBIG ? LS_ENOSPACE : LS_EIO;
}

static int flush(struct events_file *file)
{
    size_t done = 0;
    while (done < file->size) {
        ssize_t n = write(file->fd, file->rows + done, file->size - done);
        if (n < 0 && errno != EINTR) {
            return cut(file, done);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    file->written += file->size;
    file->size = 0;
    return 0;
}

static char *put_word(char *out, const char *word)
{
    size_t size = strlen(word);
    memcpy(out, word, size);
    return out + size;
}

int events_file_put(struct events_file *file, const struct scale_event *event)
{
    char *out = file->rows + file->size;

    out += digits_put(out, event->node + UINT64_C(1));
    *out++ = ',';
    out += digits_put(out, event->seq);
    *out++ = ',';
    out = put_word(out, scale_kind_word(event->kind));
    *out++ = ',';
    out = put_seconds(out, event->time_ns);
    *out++ = ',';
    out += digits_put(out, event->clock);
    *out++ = ',';
    out += digits_put(out, event->queue_length);
    *out++ = ',';
    if (event->peer != SCALE_NO_NODE) {
        out += digits_put(out, event->peer + UINT64_C(1));
    }
    *out++ = ',';
    if (event->kind == SCALE_RECEIVE) {
        out += digits_put(out, event->peer_clock);
    }
    *out++ = '\n';
    file->size = (size_t)(out - file->rows);
    file->count++;
    return file->size > ROWS_SIZE - ROW_MAX ? flush(file) : 0;
}

int events_file_close(struct events_file *file)
{
    int rc = flush(file);
    int saved = errno;
    if (close(file->fd) != 0 && rc == 0) {
        saved = errno;
        rc = saved == ENOSPC || saved == EDQUOT ? LS_ENOSPACE : LS_EIO;
    }
    free(file->rows);
    *file = (struct events_file){.fd = -1};
    errno = saved;
    return rc;
}
