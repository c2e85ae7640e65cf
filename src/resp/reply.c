/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reply parser. One step reads one value's own bytes (a line, a blob, or the header of an
 * aggregate); a small stack of open aggregates says what it belongs to. A text is kept as an
 * offset, in the integer that a text does not use, until the reply is whole: its bytes may move
 * before that.
 */
#include "resp/reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "resp/line.h"

#define REPLY_SIZE_MAX  ((size_t)512 << 20)
#define VALUE_COUNT_MAX ((size_t)4 << 20)
#define TEXT_LINE_MAX   ((size_t)64 << 10)
#define VALUE_SIZE_MIN  3 /* "_\r\n" */
#define CAPACITY_FIRST  16
#define DROPPED         SIZE_MAX

/* What one value's own bytes say. */
struct item {
    struct resp_value value;
    bool aggregate;
    bool attribute;
    size_t size; /* of its own bytes; where cut, at least */
};

static bool is_text(enum resp_type type)
{
    return type == RESP_SIMPLE || type == RESP_ERROR || type == RESP_BULK || type == RESP_DOUBLE ||
           type == RESP_BIGNUMBER || type == RESP_VERBATIM;
}

/* The text between the marker at `at` and CR LF. `allowed`: the characters it may have, NULL for
 * any; with some named it may not be empty. */
static enum line_status read_text(const uint8_t *at, const uint8_t *end, enum resp_type type,
                                  const char *allowed, struct item *item)
{
    const uint8_t *text = at + 1;
    size_t there = (size_t)(end - text);
    const uint8_t *cr = memchr(text, '\r', there > TEXT_LINE_MAX ? TEXT_LINE_MAX + 1 : there);

    if (cr == NULL) {
        item->size = there + VALUE_SIZE_MIN;
        return there > TEXT_LINE_MAX ? LINE_BAD : LINE_CUT;
    }
    item->size = (size_t)(cr - at) + 2;
    if (cr + 1 == end) {
        return LINE_CUT;
    }
    size_t size = (size_t)(cr - text);
    if (cr[1] != '\n' || (allowed != NULL && size == 0)) {
        return LINE_BAD;
    }
    for (size_t i = 0; allowed != NULL && i < size; i++) {
        if (text[i] == 0 || strchr(allowed, text[i]) == NULL) {
            return LINE_BAD;
        }
    }
    item->value.type = type;
    item->value.text.size = size;
    item->value.integer = 1;
    return LINE_WHOLE;
}

/* "#t" and "_": the type's marker, `letters` of which one follows (none where NULL), CR LF. */
static enum line_status read_fixed(const uint8_t *at, const uint8_t *end, enum resp_type type,
                                   const char *letters, struct item *item)
{
    size_t size = letters != NULL ? 4 : 3;

    item->size = size;
    if ((size_t)(end - at) < size) {
        return LINE_CUT;
    }
    if (at[size - 2] != '\r' || at[size - 1] != '\n') {
        return LINE_BAD;
    }
    if (letters != NULL && at[1] != letters[0] && at[1] != letters[1]) {
        return LINE_BAD;
    }
    item->value.type = type;
    item->value.integer = letters != NULL && at[1] == letters[1];
    return LINE_WHOLE;
}

/* "$", "!" and "=": a length line, that many bytes, CR LF. */
static enum line_status read_blob(const uint8_t *at, const uint8_t *end, enum resp_type type,
                                  size_t size_max, struct item *item)
{
    static const size_t kind_size = 4; /* "txt:" of a verbatim text */
    int64_t length;
    const uint8_t *after;

    item->size = (size_t)(end - at) + 1;
    enum line_status status = line_integer(at + 1, end, &length, &after);
    if (status != LINE_WHOLE) {
        return status;
    }
    size_t header_size = (size_t)(after - at);
    if (length == -1 && type == RESP_BULK) {
        item->value.type = RESP_NULL;
        item->size = header_size;
        return LINE_WHOLE;
    }
    if (length < 0 || (type == RESP_VERBATIM && (uint64_t)length < kind_size)) {
        return LINE_BAD;
    }
    if ((uint64_t)length > size_max) {
        item->size = size_max + 1;
        return LINE_CUT; /* and refused by the caller, before it asks for more */
    }
    item->size = header_size + (size_t)length + 2;
    if ((size_t)(end - at) < item->size) {
        return LINE_CUT;
    }
    const uint8_t *line_end = after + length;
    if (line_end[0] != '\r' || line_end[1] != '\n') {
        return LINE_BAD;
    }
    size_t skipped = type == RESP_VERBATIM ? kind_size : 0;
    if (skipped > 0 && after[skipped - 1] != ':') {
        return LINE_BAD;
    }
    item->value.type = type;
    item->value.text.size = (size_t)length - skipped;
    item->value.integer = (int64_t)(header_size + skipped);
    return LINE_WHOLE;
}

static enum line_status read_aggregate(const uint8_t *at, const uint8_t *end, enum resp_type type,
                                       struct item *item)
{
    int64_t count;
    const uint8_t *after;

    item->size = (size_t)(end - at) + 1;
    enum line_status status = line_integer(at + 1, end, &count, &after);
    if (status != LINE_WHOLE) {
        return status;
    }
    item->size = (size_t)(after - at);
    if (count == -1 && *at == '*') {
        item->value.type = RESP_NULL;
        return LINE_WHOLE;
    }
    if (count < 0) {
        return LINE_BAD;
    }
    item->value.type = type;
    item->value.count = (size_t)count;
    item->aggregate = true;
    item->attribute = *at == '|';
    return LINE_WHOLE;
}

static enum line_status read_integer(const uint8_t *at, const uint8_t *end, struct item *item)
{
    const uint8_t *after;

    item->size = (size_t)(end - at) + 1;
    enum line_status status = line_integer(at + 1, end, &item->value.integer, &after);
    if (status == LINE_WHOLE) {
        item->value.type = RESP_INTEGER;
        item->size = (size_t)(after - at);
    }
    return status;
}

/* Reads one value's own bytes at `at`, before `end`. */
static enum line_status read_item(const uint8_t *at, const uint8_t *end, size_t size_max,
                                  struct item *item)
{
    *item = (struct item){.value.span = 1};
    switch (*at) {
    case '+':
        return read_text(at, end, RESP_SIMPLE, NULL, item);
    case '-':
        return read_text(at, end, RESP_ERROR, NULL, item);
    case ',':
        return read_text(at, end, RESP_DOUBLE, "0123456789+-.eEinfa", item);
    case '(':
        return read_text(at, end, RESP_BIGNUMBER, "0123456789+-", item);
    case ':':
        return read_integer(at, end, item);
    case '#':
        return read_fixed(at, end, RESP_BOOLEAN, "ft", item);
    case '_':
        return read_fixed(at, end, RESP_NULL, NULL, item);
    case '$':
        return read_blob(at, end, RESP_BULK, size_max, item);
    case '!':
        return read_blob(at, end, RESP_ERROR, size_max, item);
    case '=':
        return read_blob(at, end, RESP_VERBATIM, size_max, item);
    case '*':
        return read_aggregate(at, end, RESP_ARRAY, item);
    case '~':
        return read_aggregate(at, end, RESP_SET, item);
    case '>':
        return read_aggregate(at, end, RESP_PUSH, item);
    case '%':
    case '|':
        return read_aggregate(at, end, RESP_MAP, item);
    default:
        return LINE_BAD;
    }
}

static bool is_dropping(const struct resp_reply *reply)
{
    return reply->depth > 0 && reply->levels[reply->depth - 1].value == DROPPED;
}

/* Puts the value behind the others, its text as an offset into the reply. 0 or LS_ENOMEM. */
static int keep(struct resp_reply *reply, const struct resp_value *value)
{
    if (reply->count == reply->capacity) {
        size_t capacity = reply->capacity == 0 ? CAPACITY_FIRST : reply->capacity * 2;
        struct resp_value *values = realloc(reply->values, capacity * sizeof *values);
        if (values == NULL) {
            return LS_ENOMEM;
        }
        reply->values = values;
        reply->capacity = capacity;
    }
    struct resp_value *kept = &reply->values[reply->count++];
    *kept = *value;
    if (is_text(kept->type)) {
        kept->integer += (int64_t)reply->offset;
    }
    return 0;
}

/* Closes every aggregate that has all its values. */
static void close_levels(struct resp_reply *reply)
{
    while (reply->depth > 0 && reply->levels[reply->depth - 1].left == 0) {
        size_t own = reply->levels[--reply->depth].value;
        if (own != DROPPED) {
            reply->values[own].span = reply->count - own;
        }
    }
}

/* Takes the item, whole, into the reply. 0, or a negative code with its sentence. */
static int take(struct resp_reply *reply, const struct item *item, size_t value_count_max,
                struct ls_error *error)
{
    bool dropped = item->attribute || is_dropping(reply);
    size_t children = 0;

    if (item->aggregate) {
        bool in_pairs = item->value.type == RESP_MAP;
        if (item->value.type == RESP_PUSH && reply->depth > 0) {
            return error_set(error, LS_EPROTO, 0, "a push inside a reply at byte %zu",
                             reply->offset);
        }
        if (item->value.count > value_count_max / (in_pairs ? 2 : 1)) {
            return error_set(error, LS_ETOOBIG, value_count_max, "a reply holds at most %zu values",
                             value_count_max);
        }
        children = item->value.count * (in_pairs ? 2 : 1);
        if (children > 0 && reply->depth == RESP_DEPTH_MAX) {
            return error_set(error, LS_EPROTO, 0, "a reply nested more than %d deep at byte %zu",
                             RESP_DEPTH_MAX, reply->offset);
        }
    }
    size_t pending = reply->pending - (item->attribute ? 0 : 1) + children;
    if (reply->count + (dropped ? 0 : 1) + pending > value_count_max) {
        return error_set(error, LS_ETOOBIG, value_count_max, "a reply holds at most %zu values",
                         value_count_max);
    }
    if (!dropped && keep(reply, &item->value) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    if (!item->attribute && reply->depth > 0) {
        reply->levels[reply->depth - 1].left--;
    }
    if (children > 0) {
        size_t own = dropped ? DROPPED : reply->count - 1;
        reply->levels[reply->depth++] = (struct resp_level){children, own};
    }
    reply->pending = pending;
    reply->offset += item->size;
    close_levels(reply);
    return 0;
}

/* The reply so far is wrong or whole: the next call begins another. */
static void restart(struct resp_reply *reply)
{
    reply->offset = 0;
    reply->pending = 0;
    reply->depth = 0;
    reply->needed = 0;
}

static int fail(struct resp_reply *reply, int code)
{
    restart(reply);
    reply->count = 0;
    return code;
}

static int finish(struct resp_reply *reply, const uint8_t *bytes, size_t *consumed)
{
    assert(reply->depth == 0 && reply->count > 0 && reply->values[0].span == reply->count);
    for (size_t i = 0; i < reply->count; i++) {
        struct resp_value *value = &reply->values[i];
        if (is_text(value->type)) {
            value->text.data = bytes + value->integer;
            value->integer = 0;
        }
    }
    *consumed = reply->offset;
    restart(reply);
    return 1;
}

int resp_reply_parse(struct resp_reply *reply, ls_bytes data, size_t *consumed,
                     struct ls_error *error)
{
    const uint8_t *bytes = data.data;
    size_t size_max = reply->reply_size_max > 0 ? reply->reply_size_max : REPLY_SIZE_MAX;
    size_t count_max = reply->value_count_max > 0 ? reply->value_count_max : VALUE_COUNT_MAX;

    /* So that no sum of sizes below can overflow. */
    size_max = size_max < SIZE_MAX / 8 ? size_max : SIZE_MAX / 8;
    count_max = count_max < SIZE_MAX / 16 ? count_max : SIZE_MAX / 16;

    if (reply->offset == 0) {
        reply->count = 0;
        reply->depth = 0;
        reply->pending = 1;
    }
    while (reply->pending > 0) {
        struct item item = {.size = VALUE_SIZE_MIN};
        enum line_status status = LINE_CUT;
        if (reply->offset < data.size) {
            status = read_item(bytes + reply->offset, bytes + data.size, size_max, &item);
        }
        if (status == LINE_BAD) {
            error_set(error, LS_EPROTO, 0, "not a RESP value at byte %zu of a reply",
                      reply->offset);
            return fail(reply, LS_EPROTO);
        }
        /* Everything that is still to come has its least size. */
        size_t others = reply->pending - (item.attribute ? 0 : 1);
        size_t own = item.size > VALUE_SIZE_MIN ? item.size : VALUE_SIZE_MIN;
        size_t needed = reply->offset + own + others * VALUE_SIZE_MIN;
        if (needed > size_max) {
            error_set(error, LS_ETOOBIG, size_max, "a reply takes at most %zu bytes", size_max);
            return fail(reply, LS_ETOOBIG);
        }
        if (status == LINE_CUT) {
            reply->needed = needed;
            return 0;
        }
        int rc = take(reply, &item, count_max, error);
        if (rc != 0) {
            return fail(reply, rc);
        }
    }
    return finish(reply, bytes, consumed);
}

const struct resp_value *resp_next(const struct resp_reply *reply, const struct resp_value *value)
{
    const struct resp_value *end = reply->values + reply->count;
    assert(value >= reply->values && value < end);
    return value + value->span < end ? value + value->span : NULL;
}

void resp_reply_free(struct resp_reply *reply)
{
    free(reply->values);
    *reply = (struct resp_reply){
        .reply_size_max = reply->reply_size_max,
        .value_count_max = reply->value_count_max,
    };
}
