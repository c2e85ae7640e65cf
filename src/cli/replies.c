/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counting of replies: a state of a few numbers that goes on wherever the bytes were cut, with
 * no copy of them. Strings are stepped over unread; only the text of an error is kept.
 */
#include "cli/replies.h"

#include <string.h>

/* A number longer than this is no length that a server sends. */
#define NUMBER_MAX (UINT64_C(1) << 40)

static void note_error(struct reply_counter *counter, struct reply_errors *errors)
{
    if (errors->count++ == 0) {
        memcpy(errors->first, counter->text, counter->text_size);
        errors->first[counter->text_size] = '\0';
    }
}

/* Reads on in a line, up to `end`: where it stopped, behind the line feed where *whole is set. */
static const uint8_t *read_line(struct reply_counter *counter, const uint8_t *at,
                                const uint8_t *end, bool *whole)
{
    const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));
    const uint8_t *stop = feed != NULL ? feed : end;
    if (counter->type == '-') {
        for (const uint8_t *p = at; p < stop; p++) {
            if (*p != '\r' && counter->text_size < REPLIES_ERROR_SIZE - 1) {
                counter->text[counter->text_size++] = (char)*p;
            }
        }
    } else {
        for (const uint8_t *p = at; p < stop && counter->number < NUMBER_MAX; p++) {
            if (*p == '-') {
                counter->negative = true;
            } else if (*p >= '0' && *p <= '9') {
                counter->number = counter->number * 10 + (uint64_t)(*p - '0');
            }
        }
    }
    *whole = feed != NULL;
    return feed != NULL ? feed + 1 : end;
}

/* What a whole line means for what is still to come. False where it is not RESP. */
static bool end_line(struct reply_counter *counter, struct reply_errors *errors)
{
    uint64_t number = counter->negative ? 0 : counter->number;
    switch (counter->type) {
    case ':':
    case '+':
    case '_':
    case '#':
    case ',':
    case '(':
        counter->open--;
        break;
    case '-':
        note_error(counter, errors);
        counter->open--;
        break;
    case '$':
    case '=':
    case '!':
        if (counter->number >= NUMBER_MAX) {
            return false;
        }
        counter->skip = counter->negative ? 0 : number + 2;
        if (counter->negative) {
            counter->open--;
        }
        break;
    case '*':
    case '~':
    case '>':
        counter->open += number - 1;
        break;
    case '%':
        counter->open += 2 * number - 1;
        break;
    case '|':
        counter->open += 2 * number;
        break;
    default:
        return false;
    }
    counter->type = 0;
    return true;
}

static void begin_line(struct reply_counter *counter, uint8_t type)
{
    if (counter->open == 0) {
        counter->open = 1;
    }
    counter->type = type;
    counter->number = 0;
    counter->negative = false;
    counter->text_size = 0;
}

int64_t replies_count(struct reply_counter *counter, const uint8_t *data, size_t size,
                      struct reply_errors *errors)
{
    const uint8_t *at = data;
    const uint8_t *end = data + size;
    int64_t count = 0;
    while (at < end) {
        if (counter->skip > 0) {
            uint64_t left = (uint64_t)(end - at);
            uint64_t step = counter->skip < left ? counter->skip : left;
            at += step;
            counter->skip -= step;
            if (counter->skip > 0) {
                break;
            }
            counter->open--;
        } else {
            bool whole;
            if (counter->type == 0) {
                begin_line(counter, *at++);
            }
            at = read_line(counter, at, end, &whole);
            if (!whole) {
                break;
            }
            if (!end_line(counter, errors)) {
                return -1;
            }
            if (counter->skip > 0) {
                continue;
            }
        }
        count += counter->open == 0;
    }
    return count;
}
