/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR as one line of JSON text, written in one walk over the items with no tree between. The walk
 * comes after cbor_check, so it meets only what is well-formed and nested no deeper than it has
 * levels for; the only failure left is memory.
 */
#include "codec/json.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "codec/cbor.h"

/* ---- strings ---- */

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

static int put_escape(struct buf *out, uint8_t byte)
{
    switch (byte) {
    case '"':
        return buf_append(out, "\\\"", 2);
    case '\\':
        return buf_append(out, "\\\\", 2);
    case '\b':
        return buf_append(out, "\\b", 2);
    case '\f':
        return buf_append(out, "\\f", 2);
    case '\n':
        return buf_append(out, "\\n", 2);
    case '\r':
        return buf_append(out, "\\r", 2);
    case '\t':
        return buf_append(out, "\\t", 2);
    default:
        return buf_printf(out, "\\u%04x", byte);
    }
}

static int put_escaped(struct buf *out, ls_bytes text)
{
    if (text.size == 0) {
        return 0;
    }
    const uint8_t *data = text.data;
    size_t run = 0; /* where the bytes not yet written begin */
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && at < text.size) {
        bool plain = data[at] >= 0x20 && data[at] < 0x80 && data[at] != '"' && data[at] != '\\';
        size_t size = plain ? 1 : utf8_sequence(bytes_of(data + at, text.size - at));
        if (plain || size > 1) {
            at += size;
            continue;
        }
        rc = buf_append(out, data + run, at - run);
        if (rc == 0) {
            rc = size == 0 ? buf_append_text(out, REPLACEMENT) : put_escape(out, data[at]);
        }
        run = ++at;
    }
    return rc != 0 ? rc : buf_append(out, data + run, text.size - run);
}

int json_put_string(struct buf *out, ls_bytes text)
{
    int rc = buf_append_byte(out, '"');
    if (rc == 0) {
        rc = put_escaped(out, text);
    }
    return rc != 0 ? rc : buf_append_byte(out, '"');
}

int json_put_base64(struct buf *out, ls_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *data = bytes.data;
    if (bytes.size > SIZE_MAX / 2) {
        return LS_ENOMEM;
    }
    int rc = buf_reserve(out, bytes.size / 3 * 4 + 3);
    if (rc != 0) {
        return rc;
    }
    uint8_t *to = out->data + out->size;
    for (size_t at = 0; at < bytes.size; at += 3) {
        size_t size = bytes.size - at < 3 ? bytes.size - at : 3;
        uint32_t group = (uint32_t)data[at] << 16;
        group |= size > 1 ? (uint32_t)data[at + 1] << 8 : 0;
        group |= size > 2 ? data[at + 2] : 0;
        for (size_t i = 0; i <= size; i++) {
            *to++ = (uint8_t)digits[group >> (18 - 6 * i) & 0x3F];
        }
    }
    out->size = (size_t)(to - out->data);
    return 0;
}

static int put_base64_string(struct buf *out, ls_bytes bytes)
{
    int rc = buf_append_byte(out, '"');
    if (rc == 0) {
        rc = json_put_base64(out, bytes);
    }
    return rc != 0 ? rc : buf_append_byte(out, '"');
}

/* ---- numbers ---- */

/* The fewest digits that read back as the same number, and always a fraction or an exponent, so
 * that it stays a float. */
static int put_double(struct buf *out, double number)
{
    if (!isfinite(number)) {
        return buf_append_text(out, "null");
    }
    char text[40];
    /* Only what is close to zero, where numbers hold less, can have fewer than 15 that do. */
    for (int digits = fabs(number) < DBL_MIN ? 1 : DBL_DIG; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    /* Both functions above use the decimal point of the locale, JSON does not. */
    const char *point = localeconv()->decimal_point;
    char *found = strstr(text, point);
    if (found != NULL) {
        size_t rest = strlen(found + strlen(point)) + 1;
        memmove(found + 1, found + strlen(point), rest);
        *found = '.';
    }
    int rc = buf_append_text(out, text);
    return rc == 0 && strpbrk(text, ".e") == NULL ? buf_append_text(out, ".0") : rc;
}

static int put_negative(struct buf *out, uint64_t below)
{
    if (below == UINT64_MAX) {
        return buf_append_text(out, "-18446744073709551616");
    }
    return buf_printf(out, "-%" PRIu64, below + 1);
}

static int put_simple(struct buf *out, uint64_t value)
{
    switch (value) {
    case CBOR_FALSE:
        return buf_append_text(out, "false");
    case CBOR_TRUE:
        return buf_append_text(out, "true");
    case CBOR_NULL:
    case CBOR_UNDEFINED:
        return buf_append_text(out, "null");
    default:
        return buf_printf(out, "%" PRIu64, value);
    }
}

/* ---- the walk ---- */

/* An open array, map, string of chunks or tag. */
struct level {
    enum cbor_item_kind kind;
    bool indefinite;
    bool in_key;      /* TAG: it stands where a key does */
    uint64_t came;    /* items that have ended in it */
    uint64_t left;    /* items to come, where not indefinite */
    size_t key_start; /* MAP: where in the output its last key begins */
};

struct printer {
    struct buf *out;
    ls_bytes in;
    struct buf scratch; /* the chunks of a byte string, or the text of a key to be quoted */
    size_t depth;
    size_t key_level; /* the map, counted from 1, that has an array or a map as the key that is
                               being written; 0: none */
    struct level levels[CBOR_DEPTH_MAX];
};

static struct level *top_level(struct printer *printer)
{
    return printer->depth == 0 ? NULL : &printer->levels[printer->depth - 1];
}

static bool at_key(const struct level *top)
{
    return top != NULL &&
           (top->kind == CBOR_ITEM_TAG ? top->in_key
                                       : top->kind == CBOR_ITEM_MAP && top->came % 2 == 0);
}

/* What stands between this item and the one before it. */
static int put_separator(struct printer *printer)
{
    struct level *top = top_level(printer);
    int rc = 0;
    if (top == NULL || (top->kind != CBOR_ITEM_ARRAY && top->kind != CBOR_ITEM_MAP)) {
        return 0;
    }
    if (top->kind == CBOR_ITEM_MAP && top->came % 2 != 0) {
        return buf_append_byte(printer->out, ':');
    }
    if (top->came > 0) {
        rc = buf_append_byte(printer->out, ',');
    }
    top->key_start = printer->out->size;
    return rc;
}

/* Makes a string of what was written for a key, unless it is one. */
static int quote_key(struct printer *printer, const struct level *map)
{
    struct buf *out = printer->out;
    if (printer->key_level == printer->depth) {
        printer->key_level = 0;
    }
    if (out->data[map->key_start] == '"') {
        return 0;
    }
    printer->scratch.size = 0;
    int rc = buf_append(&printer->scratch, out->data + map->key_start, out->size - map->key_start);
    if (rc == 0) {
        out->size = map->key_start;
        rc = json_put_string(out, buf_bytes(&printer->scratch));
    }
    return rc;
}

static int put_closing(struct printer *printer, const struct level *level)
{
    switch (level->kind) {
    case CBOR_ITEM_ARRAY:
        return buf_append_byte(printer->out, ']');
    case CBOR_ITEM_MAP:
        return buf_append_byte(printer->out, '}');
    case CBOR_ITEM_TEXT:
        return buf_append_byte(printer->out, '"');
    case CBOR_ITEM_BYTES:
        return put_base64_string(printer->out, buf_bytes(&printer->scratch));
    default:
        return 0;
    }
}

/* An item has ended: so has every level that it was the last item of. */
static int end_item(struct printer *printer)
{
    int rc = 0;
    while (rc == 0 && printer->depth > 0) {
        struct level *top = top_level(printer);
        if (top->kind == CBOR_ITEM_MAP && top->came % 2 == 0) {
            rc = quote_key(printer, top);
        }
        top->came++;
        if (rc != 0 || top->indefinite || --top->left > 0) {
            break;
        }
        rc = put_closing(printer, top);
        printer->depth--;
    }
    return rc;
}

static int open_level(struct printer *printer, const struct cbor_item *item)
{
    struct level level = {.kind = item->kind, .indefinite = item->indefinite};
    int rc = 0;
    switch (item->kind) {
    case CBOR_ITEM_ARRAY:
        level.left = item->argument;
        rc = buf_append_byte(printer->out, '[');
        break;
    case CBOR_ITEM_MAP:
        level.left = item->argument * 2;
        rc = buf_append_byte(printer->out, '{');
        break;
    case CBOR_ITEM_TEXT:
        rc = buf_append_byte(printer->out, '"');
        break;
    case CBOR_ITEM_BYTES:
        printer->scratch.size = 0;
        break;
    default:
        level.left = 1;
        level.in_key = at_key(top_level(printer));
        break;
    }
    if (rc != 0) {
        return rc;
    }
    if (!level.indefinite && level.left == 0) {
        rc = put_closing(printer, &level);
        return rc != 0 ? rc : end_item(printer);
    }
    assert(printer->depth < CBOR_DEPTH_MAX);
    printer->levels[printer->depth++] = level;
    return 0;
}

static int put_text(struct printer *printer, ls_bytes text)
{
    const struct level *top = top_level(printer);
    bool chunk = top != NULL && top->kind == CBOR_ITEM_TEXT;
    return chunk ? put_escaped(printer->out, text) : json_put_string(printer->out, text);
}

static int put_bytes(struct printer *printer, ls_bytes bytes)
{
    const struct level *top = top_level(printer);
    bool chunk = top != NULL && top->kind == CBOR_ITEM_BYTES;
    return chunk ? buf_append(&printer->scratch, bytes.data, bytes.size)
                 : put_base64_string(printer->out, bytes);
}

/* An array or map that is a key, or part of one. Within a key such a key is not written out. */
static int put_nested(struct printer *printer, struct cbor_item *item, size_t at)
{
    if (at_key(top_level(printer))) {
        if (printer->key_level > 0) {
            (void)cbor_skip(&item->end, printer->in, at, NULL);
            const uint8_t *data = printer->in.data;
            int rc = put_base64_string(printer->out, bytes_of(data + at, item->end - at));
            return rc != 0 ? rc : end_item(printer);
        }
        size_t map = printer->depth;
        while (printer->levels[map - 1].kind == CBOR_ITEM_TAG) {
            map--;
        }
        printer->key_level = map;
    }
    return open_level(printer, item);
}

static int put_scalar(struct printer *printer, const struct cbor_item *item)
{
    switch (item->kind) {
    case CBOR_ITEM_UINT:
        return buf_printf(printer->out, "%" PRIu64, item->argument);
    case CBOR_ITEM_NEGATIVE:
        return put_negative(printer->out, item->argument);
    case CBOR_ITEM_BYTES:
        return put_bytes(printer, item->bytes);
    case CBOR_ITEM_TEXT:
        return put_text(printer, item->bytes);
    case CBOR_ITEM_FLOAT:
        return put_double(printer->out, item->number);
    default:
        return put_simple(printer->out, item->argument);
    }
}

/* Writes the item at offset `at`; item->end is where the next one begins. */
static int put_item(struct printer *printer, struct cbor_item *item, size_t at)
{
    int rc = 0;
    if (item->kind == CBOR_ITEM_BREAK) {
        rc = put_closing(printer, top_level(printer));
        printer->depth--;
        return rc != 0 ? rc : end_item(printer);
    }
    rc = put_separator(printer);
    if (rc != 0) {
        return rc;
    }
    if (item->kind == CBOR_ITEM_ARRAY || item->kind == CBOR_ITEM_MAP) {
        return put_nested(printer, item, at);
    }
    if (item->kind == CBOR_ITEM_TAG || item->indefinite) {
        return open_level(printer, item);
    }
    rc = put_scalar(printer, item);
    return rc != 0 ? rc : end_item(printer);
}

int json_from_cbor(struct buf *out, ls_bytes item, struct ls_error *error)
{
    int rc = cbor_check(item, error);
    if (rc != 0) {
        return rc;
    }
    struct printer printer; /* not zeroed: only the levels up to `depth` are ever looked at */
    printer.out = out;
    printer.in = item;
    printer.scratch = (struct buf){0};
    printer.depth = 0;
    printer.key_level = 0;
    size_t start = out->size;
    size_t at = 0;
    while (rc == 0 && at < item.size) {
        struct cbor_item next;
        (void)cbor_read(&next, item, at, NULL);
        rc = put_item(&printer, &next, at);
        at = next.end;
    }
    buf_free(&printer.scratch);
    if (rc != 0) {
        out->size = start;
        return error_code(error, rc);
    }
    return 0;
}
