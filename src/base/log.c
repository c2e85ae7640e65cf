/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line a sentence, one write a line, so that lines of several threads never mix. A sentence
 * that is too long is cut. Control characters are escaped: what a client sent can end up in a
 * sentence, and must not be able to forge a line or drive a terminal.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SENTENCE_SIZE_MAX 1024

static _Atomic enum log_level log_level = LOG_NOTICE;

static const char *const level_names[] = {"error", "warning", "notice", "debug"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return atomic_load_explicit(&log_level, memory_order_relaxed);
}

int log_level_from_name(const char *name)
{
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            return level;
        }
    }
    return -1;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

/* "2024-01-31T23:59:59.123Z warning: " */
static size_t put_prefix(char *line, size_t size, enum log_level level)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    struct tm parts;
    char seconds[32] = "";
    if (gmtime_r(&now.tv_sec, &parts) != NULL) {
        (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
    }
    int written =
        snprintf(line, size, "%s.%03ldZ %s: ", seconds, now.tv_nsec / 1000000, level_names[level]);
    return written < 0 ? 0 : (size_t)written;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > log_get_level()) {
        return;
    }
    char sentence[SENTENCE_SIZE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (written < 0) {
        return;
    }

    char line[64 + 4 * SENTENCE_SIZE_MAX + 1];
    size_t size = put_prefix(line, 64, level);
    for (const char *at = sentence; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte < 0x20 || byte == 0x7F) {
            static const char hex[] = "0123456789abcdef";
            const char escaped[] = {'\\', 'x', hex[byte >> 4], hex[byte & 0x0F]};
            memcpy(line + size, escaped, sizeof escaped);
            size += sizeof escaped;
        } else {
            line[size++] = *at;
        }
    }
    line[size++] = '\n';
    /* There is nowhere left to report a failure of stderr. */
    ssize_t ignored = write(STDERR_FILENO, line, size);
    (void)ignored;
}
