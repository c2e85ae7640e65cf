/*
 * CBOR (RFC 8949) item by item: the check that bytes are one well-formed item, and a writer and a
 * reader for the flat maps that records are. No tree, no allocation per item, no recursion: nesting
 * is counted, and refused past CBOR_DEPTH_MAX. Floating point is libcbor's.
 */
#ifndef LS_CODEC_CBOR_H
#define LS_CODEC_CBOR_H

#include <stdint.h>

#include "base/buf.h"
#include "lockstep.h"

#define CBOR_DEPTH_MAX 128

/* Exactly one well-formed item, text strings valid UTF-8. 0, or LS_EBADCBOR with the offset of the
 * first byte that is wrong as the number. */
int cbor_check(ls_bytes item, struct ls_error *error);

/* ---- items ---- */

/* The major types of CBOR by their numbers, and the two that share that of CBOR_ITEM_SIMPLE. */
enum cbor_item_kind {
    CBOR_ITEM_UINT = 0,
    CBOR_ITEM_NEGATIVE = 1, /* -1 - argument */
    CBOR_ITEM_BYTES = 2,
    CBOR_ITEM_TEXT = 3,
    CBOR_ITEM_ARRAY = 4,
    CBOR_ITEM_MAP = 5,
    CBOR_ITEM_TAG = 6,
    CBOR_ITEM_SIMPLE = 7,
    CBOR_ITEM_FLOAT = 8,
    CBOR_ITEM_BREAK = 9
};

enum cbor_simple { CBOR_FALSE = 20, CBOR_TRUE = 21, CBOR_NULL = 22, CBOR_UNDEFINED = 23 };

/* One item without what is nested in it: the head and, for a definite string, its bytes. */
struct cbor_item {
    enum cbor_item_kind kind;
    bool indefinite;   /* BYTES, TEXT, ARRAY, MAP that a BREAK ends; the argument is then not set */
    uint64_t argument; /* UINT, NEGATIVE, ARRAY, MAP (pairs), TAG, SIMPLE */
    double number;     /* FLOAT */
    ls_bytes bytes;    /* BYTES, TEXT; points into the input */
    size_t end;        /* where the next item begins */
};

/* Reads the item at offset `at`. 0, or LS_EBADCBOR with the offset. Does not check UTF-8. */
int cbor_read(struct cbor_item *out, ls_bytes in, size_t at, struct ls_error *error);

/* Finds the end of the item at offset `at` with all that is nested in it, and checks it as
 * cbor_check does. */
int cbor_skip(size_t *end, ls_bytes in, size_t at, struct ls_error *error);

/* ---- writing ---- */

#define CBOR_HEAD_SIZE_MAX 9

/* How many bytes the shortest head with this argument has. */
static inline size_t cbor_head_size(uint64_t argument)
{
    return argument < 24            ? 1
           : argument <= UINT8_MAX  ? 2
           : argument <= UINT16_MAX ? 3
           : argument <= UINT32_MAX ? 5
                                    : 9;
}

/* Writes the shortest head to `out`, which has room for CBOR_HEAD_SIZE_MAX; gives its size. */
static inline size_t cbor_write_head(uint8_t *out, enum cbor_item_kind kind, uint64_t argument)
{
    uint8_t major = (uint8_t)(kind << 5);
    size_t size = cbor_head_size(argument);
    uint8_t bytes[8];
    put_be64(bytes, argument);
    switch (size) { /* copies of a constant size are one store each */
    case 1:
        out[0] = (uint8_t)(major | argument);
        break;
    case 2:
        out[0] = major | 24;
        out[1] = bytes[7];
        break;
    case 3:
        out[0] = major | 25;
        memcpy(out + 1, bytes + 6, 2);
        break;
    case 5:
        out[0] = major | 26;
        memcpy(out + 1, bytes + 4, 4);
        break;
    default:
        out[0] = major | 27;
        memcpy(out + 1, bytes, 8);
        break;
    }
    return size;
}

/* Writers append to a buf: 0 or LS_ENOMEM. Integers and lengths take their shortest form. */
int cbor_put_uint(struct buf *out, uint64_t value);
int cbor_put_negative(struct buf *out, uint64_t below); /* -1 - below */
int cbor_put_bytes(struct buf *out, ls_bytes value);
int cbor_put_text(struct buf *out, ls_bytes value);
int cbor_put_map(struct buf *out, uint64_t pairs);
int cbor_put_array(struct buf *out, uint64_t items);
int cbor_put_simple(struct buf *out, enum cbor_simple value);

/* ---- flat maps ---- */

/* One entry of a flat map. */
enum cbor_kind { CBOR_UINT, CBOR_BYTES, CBOR_TEXT, CBOR_OTHER };

struct cbor_entry {
    ls_bytes key; /* text */
    enum cbor_kind kind;
    uint64_t number; /* CBOR_UINT */
    ls_bytes bytes;  /* CBOR_BYTES, CBOR_TEXT; CBOR_OTHER: the whole encoded value */
    size_t offset;   /* of the entry in the record */
};

/* Walks a map with text keys in deterministic order. Refuses indefinite lengths, heads that are not
 * in shortest form, keys that are not text, keys out of order or twice, and anything after the map,
 * with LS_ERECORD and the offset. Start with cbor_map_open, then call cbor_map_next until it
 * returns 0 (no more entries); 1 means that *entry was filled. All pointers go into `record`. */
struct cbor_map {
    ls_bytes record;
    size_t offset;
    uint64_t left;
    ls_bytes last_key;
};
int cbor_map_open(struct cbor_map *map, ls_bytes record, struct ls_error *error);
int cbor_map_next(struct cbor_map *map, struct cbor_entry *entry, struct ls_error *error);

/* Takes the next entry if its key is `key`, else gives 0 and stays where it is. For a reader that
 * knows which keys to expect: it costs one comparison. The key is given encoded, its head one byte,
 * with a letter at least. Otherwise as cbor_map_next. */
int cbor_map_take(struct cbor_map *map, ls_bytes key, struct cbor_entry *entry,
                  struct ls_error *error);

#endif
