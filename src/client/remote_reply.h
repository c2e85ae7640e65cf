/*
 * What a server's replies mean: values of RESP3 as the types of lockstep.h. Views borrow from the
 * reply. Every function returns 0, or fills *error; what has not the shape that docs/protocol.md
 * gives is LS_EPROTO.
 */
#ifndef LS_CLIENT_REMOTE_REPLY_H
#define LS_CLIENT_REMOTE_REPLY_H

#include "client/handle.h"
#include "lockstep.h"
#include "resp/reply.h"

/* The code, number and sentence of an error reply; returns the code. */
int reply_error(const struct resp_value *value, struct ls_error *error);

/* LS_EPROTO: "a reply of another shape than ... has". */
int reply_unexpected(const char *command, struct ls_error *error);

int reply_number(const struct resp_value *value, uint64_t *out, struct ls_error *error);

/* The array of 7. */
int reply_message(const struct resp_reply *reply, const struct resp_value *value, ls_message *out,
                  struct ls_error *error);
/* The array of 8. */
int reply_node(const struct resp_reply *reply, const struct resp_value *value, ls_node *out,
               struct ls_error *error);
/* Key, value, created, modified, from `value` on. */
int reply_object(const struct resp_reply *reply, const struct resp_value *value, ls_object *out,
                 struct ls_error *error);
int reply_joined(const struct resp_reply *reply, ls_joined *out, struct ls_error *error);
int reply_box_info(const struct resp_reply *reply, ls_box_info *out, struct ls_error *error);

/* True for a text, simple or bulk, that is exactly `word`. */
bool reply_is(const struct resp_value *value, const char *word);

#endif
