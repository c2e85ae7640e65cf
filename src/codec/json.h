/*
 * JSON to CBOR and back.
 *
 * To CBOR: deterministic encoding. Numbers written as integers stay integers where CBOR's reach
 * (-2^64 to 2^64-1), all others take the shortest float that holds the double exactly. Refused are
 * a duplicate key, a key with a NUL in it, a lone surrogate, a number too large for a double,
 * anything after the value, and nesting past CBOR_DEPTH_MAX.
 *
 * To JSON: byte strings become base64url without padding (RFC 8949, section 6.1), NaN, infinities
 * and undefined null, tags are dropped, other simple values become numbers. A map key that is not a
 * string becomes the text of its JSON; within such a key, a key that is an array or a map becomes
 * base64url of its encoding, so that quotes are never escaped more than once.
 */
#ifndef LS_CODEC_JSON_H
#define LS_CODEC_JSON_H

#include "base/buf.h"
#include "codec/utf8.h"
#include "lockstep.h"

/* Appends the item to `out`. 0, LS_EBADJSON with the offset as the number, LS_ENOMEM. This and the
 * next leave the content of `out` as it was on failure. */
int json_to_cbor(struct buf *out, ls_bytes json, struct ls_error *error);

/* Appends one line of JSON text to `out`. 0, LS_EBADCBOR with the offset, LS_ENOMEM. */
int json_from_cbor(struct buf *out, ls_bytes item, struct ls_error *error);

/* Appends a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. 0 or LS_ENOMEM. */
int json_put_string(struct buf *out, ls_bytes text);

/* base64url without padding, appended as it is. */
int json_put_base64(struct buf *out, ls_bytes bytes);

/* A payload as one CBOR item, appended to `out`: CBOR is checked, JSON converted, TEXT checked to
 * be UTF-8 and wrapped. 0, LS_EBADCBOR, LS_EBADJSON (for TEXT: LS_EINVAL), LS_ENOMEM. */
int payload_to_cbor(struct buf *out, ls_payload payload, struct ls_error *error);

#endif
