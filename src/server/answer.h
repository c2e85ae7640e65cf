/*
 * Replies to a connection in its version of the protocol. None of them fails: a reply that cannot
 * be written whole for want of memory closes the connection instead.
 */
#ifndef LS_SERVER_ANSWER_H
#define LS_SERVER_ANSWER_H

#include "base/error.h"
#include "server/conn.h"

void answer_ok(struct conn *conn);
void answer_simple(struct conn *conn, const char *text);
void answer_error(struct conn *conn, const struct ls_error *error);
void answer_integer(struct conn *conn, int64_t value);
void answer_clock(struct conn *conn, uint64_t clock);
void answer_bulk(struct conn *conn, ls_bytes bytes);
void answer_text(struct conn *conn, const char *text);
void answer_null(struct conn *conn);
void answer_array(struct conn *conn, size_t count);
void answer_map(struct conn *conn, size_t pairs);
void answer_push(struct conn *conn, size_t count);
void answer_verbatim(struct conn *conn, ls_bytes text);

/* Bytes that are already in RESP. */
void answer_raw(struct conn *conn, ls_bytes bytes);

/* An array of so many items that are already in RESP. Where they are large their memory is taken
 * over, since new memory for as much takes longer to get than they took to write. What is left in
 * *items is the caller's to free, and of no use. */
void answer_items(struct conn *conn, size_t count, struct buf *items);

#endif
