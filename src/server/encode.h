/*
 * What is read from the store, in RESP. Each appends to a buf: 0, LS_ENOMEM, or where JSON is asked
 * for and a stored item is no CBOR, LS_EBADCBOR.
 */
#ifndef LS_SERVER_ENCODE_H
#define LS_SERVER_ENCODE_H

#include "base/buf.h"
#include "coordinator/read.h"

/* A message as an array of 7. `as_push`: as the push `message` with that array behind it. */
int encode_message(struct buf *out, int proto, bool json, bool as_push,
                   const struct message *message);

/* A node as an array of 8. */
int encode_node(struct buf *out, int proto, bool json, const struct node *node);

/* An object as an array of 4. */
int encode_object(struct buf *out, int proto, ls_bytes key, const struct object *object);

/* The push `object` with key, value, created, modified; and `deleted` with key, clock. */
int encode_object_push(struct buf *out, int proto, ls_bytes key, const struct object *object);
int encode_deleted_push(struct buf *out, int proto, ls_bytes key, uint64_t clock);

#endif
