/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reply writer. Every value reserves its room once and is then written straight into the buf;
 * numbers are formatted by hand, for they are in every reply.
 */
#include "resp/writer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digits.h"
#include "base/error.h"

#define NUMBER_LINE_MAX (1 + 1 + DIGITS_MAX + 2) /* marker, sign, digits, CR LF */
#define DOUBLE_MAX      32

/* What follows the marker of a line: digits and CR LF at `at`; returns the end. */
static uint8_t *put_count(uint8_t *at, uint64_t value)
{
    at += digits_put(at, value);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(at, data, size);
    }
    return at + size;
}

static uint8_t *put_bulk(uint8_t *at, ls_bytes bytes)
{
    *at++ = '$';
    at = put_count(at, bytes.size);
    at = put_bytes(at, bytes.data, bytes.size);
    return put_bytes(at, "\r\n", 2);
}

static uint8_t *tail(const struct buf *out)
{
    return out->data + out->size;
}

static void end_at(struct buf *out, const uint8_t *end)
{
    out->size = (size_t)(end - out->data);
    assert(out->size <= out->capacity);
}

static int write_text(struct buf *out, char marker, const char *text)
{
    size_t size = strlen(text);
    int rc = buf_reserve(out, size + 3);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = tail(out);
    *at++ = (uint8_t)marker;
    at = put_bytes(at, text, size);
    end_at(out, put_bytes(at, "\r\n", 2));
    return 0;
}

static int write_line(struct buf *out, char marker, uint64_t value)
{
    int rc = buf_reserve(out, NUMBER_LINE_MAX);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = tail(out);
    *at++ = (uint8_t)marker;
    end_at(out, put_count(at, value));
    return 0;
}

int resp_simple(struct buf *out, const char *text)
{
    assert(strpbrk(text, "\r\n") == NULL);
    return write_text(out, '+', text);
}

int resp_error(struct buf *out, const struct ls_error *error)
{
    const char *word = error_word(error->code);
    size_t word_size = strlen(word);
    size_t text_size = strnlen(error->text, sizeof error->text);

    int rc = buf_reserve(out, word_size + text_size + 4);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = tail(out);
    *at++ = '-';
    at = put_bytes(at, word, word_size);
    *at++ = ' ';
    for (size_t i = 0; i < text_size; i++) {
        char c = error->text[i];
        *at++ = c == '\r' || c == '\n' ? ' ' : (uint8_t)c;
    }
    end_at(out, put_bytes(at, "\r\n", 2));
    return 0;
}

int resp_integer(struct buf *out, int64_t value)
{
    if (value >= 0) {
        return write_line(out, ':', (uint64_t)value);
    }
    int rc = buf_reserve(out, NUMBER_LINE_MAX);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = tail(out);
    *at++ = ':';
    *at++ = '-';
    end_at(out, put_count(at, 0 - (uint64_t)value));
    return 0;
}

int resp_clock(struct buf *out, int proto, uint64_t value)
{
    if (value <= INT64_MAX) {
        return write_line(out, ':', value);
    }
    if (proto >= 3) {
        return write_line(out, '(', value);
    }
    uint8_t digits[DIGITS_MAX];
    return resp_bulk(out, bytes_of(digits, digits_put(digits, value)));
}

int resp_bulk(struct buf *out, ls_bytes bytes)
{
    if (bytes.size > SIZE_MAX - NUMBER_LINE_MAX - 2) {
        return LS_ENOMEM;
    }
    int rc = buf_reserve(out, NUMBER_LINE_MAX + bytes.size + 2);
    if (rc != 0) {
        return rc;
    }
    end_at(out, put_bulk(tail(out), bytes));
    return 0;
}

int resp_bulk_text(struct buf *out, const char *text)
{
    return resp_bulk(out, bytes_of_text(text));
}

int resp_null(struct buf *out, int proto)
{
    return buf_append_text(out, proto >= 3 ? "_\r\n" : "$-1\r\n");
}

int resp_array(struct buf *out, size_t count)
{
    return write_line(out, '*', count);
}

int resp_map(struct buf *out, int proto, size_t pairs)
{
    assert(pairs <= SIZE_MAX / 2);
    return proto >= 3 ? write_line(out, '%', pairs) : write_line(out, '*', pairs * 2);
}

int resp_push(struct buf *out, int proto, size_t count)
{
    return write_line(out, proto >= 3 ? '>' : '*', count);
}

/* Decimal text that reads back as `value`; "inf", "-inf" and "nan" as RESP3 has them. */
static void format_double(char text[DOUBLE_MAX], double value)
{
    if (isnan(value)) {
        memcpy(text, "nan", sizeof "nan");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, DOUBLE_MAX, "%.*g", precision, value);
        double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof value) == 0) {
            break;
        }
    }
    for (char *c = text; *c != '\0'; c++) {
        if (*c == ',') {
            *c = '.'; /* whatever the locale has for it */
        }
    }
}

int resp_double(struct buf *out, int proto, double value)
{
    char text[DOUBLE_MAX];
    format_double(text, value);
    if (proto < 3) {
        return resp_bulk_text(out, text);
    }
    return write_text(out, ',', text);
}

int resp_boolean(struct buf *out, int proto, bool value)
{
    if (proto >= 3) {
        return buf_append_text(out, value ? "#t\r\n" : "#f\r\n");
    }
    return resp_integer(out, value);
}

int resp_verbatim(struct buf *out, int proto, ls_bytes text)
{
    static const char kind[] = "txt:";
    size_t kind_size = sizeof kind - 1;

    if (proto < 3) {
        return resp_bulk(out, text);
    }
    if (text.size > SIZE_MAX - NUMBER_LINE_MAX - kind_size - 2) {
        return LS_ENOMEM;
    }
    int rc = buf_reserve(out, NUMBER_LINE_MAX + kind_size + text.size + 2);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = tail(out);
    *at++ = '=';
    at = put_count(at, kind_size + text.size);
    at = put_bytes(at, kind, kind_size);
    at = put_bytes(at, text.data, text.size);
    end_at(out, put_bytes(at, "\r\n", 2));
    return 0;
}

int resp_request(struct buf *out, size_t argc, const ls_bytes *argv)
{
    size_t room = NUMBER_LINE_MAX;

    for (size_t i = 0; i < argc; i++) {
        if (argv[i].size > SIZE_MAX - room - NUMBER_LINE_MAX - 2) {
            return LS_ENOMEM;
        }
        room += NUMBER_LINE_MAX + argv[i].size + 2;
    }
    int rc = buf_reserve(out, room);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = tail(out);
    *at++ = '*';
    at = put_count(at, argc);
    for (size_t i = 0; i < argc; i++) {
        at = put_bulk(at, argv[i]);
    }
    end_at(out, at);
    return 0;
}
