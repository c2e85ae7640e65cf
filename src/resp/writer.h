/*
 * RESP replies: values in, bytes out, for both versions of the protocol. Each appends one whole
 * value (or the header of an aggregate) to a buf and returns 0, or LS_ENOMEM and the buf's content
 * is untouched. `proto` is 2 or 3.
 */
#ifndef LS_RESP_WRITER_H
#define LS_RESP_WRITER_H

#include "base/buf.h"
#include "lockstep.h"

/* The text holds no line breaks. */
int resp_simple(struct buf *out, const char *text);
/* "-WORD sentence": the word of the code. Line breaks in the sentence become spaces. */
int resp_error(struct buf *out, const struct ls_error *error);
int resp_integer(struct buf *out, int64_t value);
/* Clocks are unsigned; what passes 2^63-1 is a bulk string in RESP2, a big number in RESP3. */
int resp_clock(struct buf *out, int proto, uint64_t value);
int resp_bulk(struct buf *out, ls_bytes bytes);
int resp_bulk_text(struct buf *out, const char *text);
int resp_null(struct buf *out, int proto);
int resp_array(struct buf *out, size_t count);
/* A map of pairs in RESP3, an array of twice as many in RESP2. */
int resp_map(struct buf *out, int proto, size_t pairs);
/* An out-of-band frame in RESP3, an array in RESP2. They differ in the first byte only. */
int resp_push(struct buf *out, int proto, size_t count);
/* 15 to 17 digits, as many as it takes to read back as the same number; a bulk string in RESP2. */
int resp_double(struct buf *out, int proto, double value);
/* 1 or 0 in RESP2. */
int resp_boolean(struct buf *out, int proto, bool value);
/* Text meant for a person (INFO): verbatim "txt" in RESP3, bulk in RESP2. */
int resp_verbatim(struct buf *out, int proto, ls_bytes text);

/* A request: an array of bulk strings, for clients. */
int resp_request(struct buf *out, size_t argc, const ls_bytes *argv);

#endif
