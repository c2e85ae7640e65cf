/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR item by item. cbor_read is the one place that looks at encoded bytes; everything else, here
 * and in json.c, walks the items that it gives and counts nesting on a stack of fixed size.
 *
 * Heads with an integer argument are taken apart here: they are most of what a record is, and
 * libcbor refuses some that are well-formed (tags and simple values that nobody assigned). Floating
 * point is libcbor's.
 */
#include "codec/cbor.h"

#include <cbor.h>

#include "base/error.h"
#include "codec/utf8.h"

/* The low five bits of a head: the argument, or where it is. */
enum {
    ADDITIONAL_MASK = 0x1F,
    ADDITIONAL_ONE_BYTE = 24,
    ADDITIONAL_EIGHT_BYTES = 27,
    ADDITIONAL_INDEFINITE = 31
};

/* Below this, a simple value must be in the first byte. */
#define SIMPLE_EXTENDED_MIN 32

static int truncated(ls_bytes in, struct ls_error *error)
{
    return error_set(error, LS_EBADCBOR, in.size, "the item ends too early, at byte %zu", in.size);
}

static int bad_byte(const uint8_t *data, size_t at, struct ls_error *error)
{
    return error_set(error, LS_EBADCBOR, at, "byte 0x%02x at %zu begins no item", data[at], at);
}

static void on_float(void *number, float value)
{
    *(double *)number = (double)value;
}

static void on_double(void *number, double value)
{
    *(double *)number = value;
}

static int read_float(struct cbor_item *out, ls_bytes in, size_t at, struct ls_error *error)
{
    static const struct cbor_callbacks callbacks = {
        .float2 = on_float, .float4 = on_float, .float8 = on_double};
    const uint8_t *data = in.data;
    struct cbor_decoder_result result =
        cbor_stream_decode(data + at, in.size - at, &callbacks, &out->number);
    if (result.status != CBOR_DECODER_FINISHED) {
        return truncated(in, error);
    }
    out->kind = CBOR_ITEM_FLOAT;
    out->end = at + result.read;
    return 0;
}

/* The items whose first byte holds neither the argument nor the size of an integer argument. */
static int read_special(struct cbor_item *out, ls_bytes in, size_t at, struct ls_error *error)
{
    const uint8_t *data = in.data;
    uint8_t additional = data[at] & ADDITIONAL_MASK;
    if (additional == ADDITIONAL_INDEFINITE) {
        if (out->kind == CBOR_ITEM_SIMPLE) {
            out->kind = CBOR_ITEM_BREAK;
        } else if (out->kind >= CBOR_ITEM_BYTES && out->kind <= CBOR_ITEM_MAP) {
            out->indefinite = true;
        } else {
            return bad_byte(data, at, error);
        }
        out->end = at + 1;
        return 0;
    }
    if (additional > ADDITIONAL_EIGHT_BYTES) {
        return bad_byte(data, at, error);
    }
    if (additional > ADDITIONAL_ONE_BYTE) {
        return read_float(out, in, at, error);
    }
    if (in.size - at < 2) {
        return truncated(in, error);
    }
    if (data[at + 1] < SIMPLE_EXTENDED_MIN) {
        return bad_byte(data, at + 1, error);
    }
    out->argument = data[at + 1];
    out->end = at + 2;
    return 0;
}

int cbor_read(struct cbor_item *out, ls_bytes in, size_t at, struct ls_error *error)
{
    const uint8_t *data = in.data;
    if (at >= in.size) {
        return truncated(in, error);
    }
    uint8_t additional = data[at] & ADDITIONAL_MASK;
    out->kind = (enum cbor_item_kind)(data[at] >> 5);
    out->indefinite = false;
    out->end = at + 1;
    if (additional < ADDITIONAL_ONE_BYTE) {
        out->argument = additional;
    } else if (out->kind == CBOR_ITEM_SIMPLE || additional > ADDITIONAL_EIGHT_BYTES) {
        return read_special(out, in, at, error);
    } else {
        size_t size = (size_t)1 << (additional - ADDITIONAL_ONE_BYTE);
        if (in.size - out->end < size) {
            return truncated(in, error);
        }
        out->argument = 0;
        for (size_t i = 0; i < size; i++) {
            out->argument = out->argument << 8 | data[out->end++];
        }
    }
    if (out->kind == CBOR_ITEM_BYTES || out->kind == CBOR_ITEM_TEXT) {
        if (in.size - out->end < out->argument) {
            return truncated(in, error);
        }
        out->bytes = bytes_of(data + out->end, (size_t)out->argument);
        out->end += out->bytes.size;
    }
    return 0;
}

/* An open array, map, string of chunks or tag around the item that is read next. */
struct level {
    uint64_t left; /* items to come where not indefinite, else items that came */
    enum cbor_item_kind kind;
    bool indefinite;
};

struct walk {
    ls_bytes in;
    size_t at;
    size_t depth;
    struct level levels[CBOR_DEPTH_MAX];
};

/* An item has ended: so has every level that it was the last item of. */
static void end_item(struct walk *walk)
{
    while (walk->depth > 0) {
        struct level *top = &walk->levels[walk->depth - 1];
        if (top->indefinite) {
            top->left++;
            return;
        }
        if (--top->left > 0) {
            return;
        }
        walk->depth--;
    }
}

static bool opens_level(const struct cbor_item *item)
{
    switch (item->kind) {
    case CBOR_ITEM_ARRAY:
    case CBOR_ITEM_MAP:
    case CBOR_ITEM_TAG:
        return true;
    case CBOR_ITEM_BYTES:
    case CBOR_ITEM_TEXT:
        return item->indefinite;
    default:
        return false;
    }
}

static int open_level(struct walk *walk, const struct cbor_item *item, struct ls_error *error)
{
    if (walk->depth == CBOR_DEPTH_MAX) {
        return error_set(error, LS_EBADCBOR, walk->at, "nested deeper than %d, at byte %zu",
                         CBOR_DEPTH_MAX, walk->at);
    }
    uint64_t left = item->argument;
    if (item->indefinite) {
        left = 0;
    } else if (item->kind == CBOR_ITEM_TAG) {
        left = 1;
    } else if (item->kind == CBOR_ITEM_MAP) {
        /* Each item takes a byte at least, so this many cannot be there. */
        if (left > UINT64_MAX / 2) {
            return truncated(walk->in, error);
        }
        left *= 2;
    }
    if (left == 0 && !item->indefinite) {
        end_item(walk);
        return 0;
    }
    walk->levels[walk->depth++] =
        (struct level){.left = left, .kind = item->kind, .indefinite = item->indefinite};
    return 0;
}

static int close_indefinite(struct walk *walk, struct ls_error *error)
{
    const struct level *top = walk->depth == 0 ? NULL : &walk->levels[walk->depth - 1];
    if (top == NULL || !top->indefinite) {
        return error_set(error, LS_EBADCBOR, walk->at, "a break with nothing to end, at byte %zu",
                         walk->at);
    }
    if (top->kind == CBOR_ITEM_MAP && top->left % 2 != 0) {
        return error_set(error, LS_EBADCBOR, walk->at, "a map ends after a key, at byte %zu",
                         walk->at);
    }
    walk->depth--;
    return 0;
}

/* Whether the item may stand where it does, and what it is, in itself, is right. */
static int check_item(const struct walk *walk, const struct cbor_item *item, struct ls_error *error)
{
    if (walk->depth > 0) {
        const struct level *top = &walk->levels[walk->depth - 1];
        bool chunks = top->kind == CBOR_ITEM_BYTES || top->kind == CBOR_ITEM_TEXT;
        if (chunks && (item->kind != top->kind || item->indefinite)) {
            return error_set(error, LS_EBADCBOR, walk->at, "not a chunk of its string, at byte %zu",
                             walk->at);
        }
    }
    size_t bad;
    if (item->kind == CBOR_ITEM_TEXT && !item->indefinite && !utf8_check(item->bytes, &bad)) {
        bad += item->end - item->bytes.size;
        return error_set(error, LS_EBADCBOR, bad, "a text string is not UTF-8, at byte %zu", bad);
    }
    return 0;
}

int cbor_skip(size_t *end, ls_bytes in, size_t at, struct ls_error *error)
{
    struct walk walk; /* not zeroed: only the levels up to `depth` are ever looked at */
    walk.in = in;
    walk.at = at;
    walk.depth = 0;
    do {
        struct cbor_item item;
        int rc = cbor_read(&item, in, walk.at, error);
        if (rc != 0) {
            return rc;
        }
        if (item.kind == CBOR_ITEM_BREAK) {
            rc = close_indefinite(&walk, error);
            if (rc == 0) {
                end_item(&walk);
            }
        } else {
            rc = check_item(&walk, &item, error);
            if (rc == 0 && opens_level(&item)) {
                rc = open_level(&walk, &item, error);
            } else if (rc == 0) {
                end_item(&walk);
            }
        }
        if (rc != 0) {
            return rc;
        }
        walk.at = item.end;
    } while (walk.depth > 0);
    *end = walk.at;
    return 0;
}

int cbor_check(ls_bytes item, struct ls_error *error)
{
    size_t end;
    int rc = cbor_skip(&end, item, 0, error);
    if (rc == 0 && end != item.size) {
        return error_set(error, LS_EBADCBOR, end, "more follows the item, from byte %zu", end);
    }
    return rc;
}

static int put_head(struct buf *out, enum cbor_item_kind kind, uint64_t argument)
{
    uint8_t head[CBOR_HEAD_SIZE_MAX];
    return buf_append(out, head, cbor_write_head(head, kind, argument));
}

static int put_string(struct buf *out, enum cbor_item_kind kind, ls_bytes value)
{
    if (value.size > SIZE_MAX - CBOR_HEAD_SIZE_MAX) {
        return LS_ENOMEM;
    }
    int rc = buf_reserve(out, CBOR_HEAD_SIZE_MAX + value.size);
    if (rc != 0) {
        return rc;
    }
    out->size += cbor_write_head(out->data + out->size, kind, value.size);
    if (value.size > 0) {
        memcpy(out->data + out->size, value.data, value.size);
        out->size += value.size;
    }
    return 0;
}

int cbor_put_uint(struct buf *out, uint64_t value)
{
    return put_head(out, CBOR_ITEM_UINT, value);
}

int cbor_put_negative(struct buf *out, uint64_t below)
{
    return put_head(out, CBOR_ITEM_NEGATIVE, below);
}

int cbor_put_bytes(struct buf *out, ls_bytes value)
{
    return put_string(out, CBOR_ITEM_BYTES, value);
}

int cbor_put_text(struct buf *out, ls_bytes value)
{
    return put_string(out, CBOR_ITEM_TEXT, value);
}

int cbor_put_map(struct buf *out, uint64_t pairs)
{
    return put_head(out, CBOR_ITEM_MAP, pairs);
}

int cbor_put_array(struct buf *out, uint64_t items)
{
    return put_head(out, CBOR_ITEM_ARRAY, items);
}

int cbor_put_simple(struct buf *out, enum cbor_simple value)
{
    return put_head(out, CBOR_ITEM_SIMPLE, value);
}

/* ---- flat maps ---- */

#define OUT_OF_ORDER "a key out of order or twice"

static int refuse(struct ls_error *error, size_t at, const char *what)
{
    return error_set(error, LS_ERECORD, at, "%s, at byte %zu of the record", what, at);
}

/* An item that must be well-formed, of definite length and in shortest form. */
static inline int read_strict(struct cbor_item *out, ls_bytes record, size_t at,
                              struct ls_error *error)
{
    int rc = cbor_read(out, record, at, error);
    if (rc != 0) {
        return refuse(error, error == NULL ? at : (size_t)error->number, "no well-formed item");
    }
    if (out->indefinite) {
        return refuse(error, at, "an indefinite length");
    }
    size_t additional = ((const uint8_t *)record.data)[at] & ADDITIONAL_MASK;
    if (additional >= ADDITIONAL_ONE_BYTE && out->kind <= CBOR_ITEM_TAG &&
        cbor_head_size(out->argument) != 1 + ((size_t)1 << (additional - ADDITIONAL_ONE_BYTE))) {
        return refuse(error, at, "a number that is not in its shortest form");
    }
    return 0;
}

int cbor_map_open(struct cbor_map *map, ls_bytes record, struct ls_error *error)
{
    struct cbor_item head;
    int rc = read_strict(&head, record, 0, error);
    if (rc != 0) {
        return rc;
    }
    if (head.kind != CBOR_ITEM_MAP) {
        return refuse(error, 0, "the record is not a map");
    }
    *map = (struct cbor_map){.record = record, .offset = head.end, .left = head.argument};
    return 0;
}

/* The order of text keys in deterministic encoding: that of the encoded bytes, so shorter first. */
static bool key_follows(ls_bytes last, ls_bytes key)
{
    if (last.size != key.size) {
        return last.size < key.size;
    }
    return key.size > 0 && memcmp(last.data, key.data, key.size) < 0;
}

static int read_key(struct cbor_map *map, struct cbor_item *key, struct ls_error *error)
{
    int rc = read_strict(key, map->record, map->offset, error);
    if (rc != 0) {
        return rc;
    }
    if (key->kind != CBOR_ITEM_TEXT || !utf8_check(key->bytes, NULL)) {
        return refuse(error, map->offset, "a key that is not text");
    }
    if (map->last_key.data != NULL && !key_follows(map->last_key, key->bytes)) {
        return refuse(error, map->offset, OUT_OF_ORDER);
    }
    return 0;
}

/* Reads the value at offset `at` and moves the map past it. */
static int take_value(struct cbor_map *map, size_t at, struct cbor_entry *entry,
                      struct ls_error *error)
{
    struct cbor_item value;
    int rc = read_strict(&value, map->record, at, error);
    if (rc != 0) {
        return rc;
    }
    entry->offset = map->offset;
    entry->number = 0;
    entry->bytes = bytes_of(NULL, 0);
    switch (value.kind) {
    case CBOR_ITEM_UINT:
        entry->kind = CBOR_UINT;
        entry->number = value.argument;
        break;
    case CBOR_ITEM_BYTES:
        entry->kind = CBOR_BYTES;
        entry->bytes = value.bytes;
        break;
    case CBOR_ITEM_TEXT:
        if (!utf8_check(value.bytes, NULL)) {
            return refuse(error, at, "text that is not UTF-8");
        }
        entry->kind = CBOR_TEXT;
        entry->bytes = value.bytes;
        break;
    default:
        if (cbor_skip(&value.end, map->record, at, error) != 0) {
            return refuse(error, at, "a malformed value");
        }
        entry->kind = CBOR_OTHER;
        entry->bytes = bytes_of((const uint8_t *)map->record.data + at, value.end - at);
        break;
    }
    map->last_key = entry->key;
    map->offset = value.end;
    map->left--;
    return 1;
}

int cbor_map_next(struct cbor_map *map, struct cbor_entry *entry, struct ls_error *error)
{
    if (map->left == 0) {
        if (map->offset != map->record.size) {
            return refuse(error, map->offset, "more follows the map");
        }
        return 0;
    }
    struct cbor_item key;
    int rc = read_key(map, &key, error);
    if (rc != 0) {
        return rc;
    }
    entry->key = key.bytes;
    return take_value(map, key.end, entry, error);
}

int cbor_map_take(struct cbor_map *map, ls_bytes key, struct cbor_entry *entry,
                  struct ls_error *error)
{
    const uint8_t *at = (const uint8_t *)map->record.data + map->offset;
    const uint8_t *wanted = key.data;
    /* Most keys differ in their heads or first letters already. */
    if (map->left == 0 || map->record.size - map->offset < key.size || at[0] != wanted[0] ||
        at[1] != wanted[1] || memcmp(at, wanted, key.size) != 0) {
        return 0;
    }
    entry->key = bytes_of(at + 1, key.size - 1);
    if (map->last_key.data != NULL && !key_follows(map->last_key, entry->key)) {
        return refuse(error, map->offset, OUT_OF_ORDER);
    }
    return take_value(map, map->offset + key.size, entry, error);
}
