/*
 * CBOR (RFC 8949) over libcbor's streaming functions: the check that bytes are one well-formed item,
 * and a writer and a reader for the flat maps that records are. No tree, no allocation per item, no
 * recursion: nesting is counted, and refused past CBOR_DEPTH_MAX.
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

/* Writers append to a buf: 0 or LS_ENOMEM. Integers and lengths take their shortest form. */
int cbor_put_uint(struct buf *out, uint64_t value);
int cbor_put_bytes(struct buf *out, ls_bytes value);
int cbor_put_text(struct buf *out, ls_bytes value);
int cbor_put_map(struct buf *out, uint64_t pairs);
int cbor_put_array(struct buf *out, uint64_t items);

/* One entry of a flat map. */
enum cbor_kind { CBOR_UINT, CBOR_BYTES, CBOR_TEXT, CBOR_OTHER };

struct cbor_entry {
    ls_bytes key;          /* text */
    enum cbor_kind kind;
    uint64_t number;       /* CBOR_UINT */
    ls_bytes bytes;        /* CBOR_BYTES, CBOR_TEXT; CBOR_OTHER: the whole encoded value */
    size_t offset;         /* of the entry in the record */
};

/* Walks a map with text keys in deterministic order. Refuses indefinite lengths, keys that are not
 * text, keys out of order or twice, and anything after the map, with LS_ERECORD and the offset.
 * Start with cbor_map_open, then call cbor_map_next until it returns 0 (no more entries); 1 means
 * that *entry was filled. All pointers go into `record`. */
struct cbor_map {
    ls_bytes record;
    size_t offset;
    uint64_t left;
    ls_bytes last_key;
};
int cbor_map_open(struct cbor_map *map, ls_bytes record, struct ls_error *error);
int cbor_map_next(struct cbor_map *map, struct cbor_entry *entry, struct ls_error *error);

#endif
