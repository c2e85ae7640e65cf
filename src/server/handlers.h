/* Every command's handler, and what handlers share. The table of command.h names each once. */
#ifndef LS_SERVER_HANDLERS_H
#define LS_SERVER_HANDLERS_H

#include "base/error.h"
#include "server/answer.h"
#include "server/command.h"
#include "server/server.h"

/* Returned by a handler instead of an error: it must wait for the writes before it. */
#define CALL_WAIT 1

/* A write of the call's connection, with room for `bytes` of arguments. NULL with the call's error
 * set. Once filled it must be given to write_add. */
struct pending *write_new(struct call *call, enum request_kind kind, size_t bytes,
                          void (*answer)(struct pending *pending));
/* Queues it; always 0. */
int write_add(struct call *call, struct pending *pending);

/* Writes the error of a request that failed; true where it did. */
bool write_failed(struct pending *pending);
/* The answer of most writes: the change's clock, or the error. */
void answer_change(struct pending *pending);

/* The payload that argv[at] and argv[at + 1] make, as one CBOR item of at most `size_max` bytes. It
 * points into the arguments or the scratch buffer. */
int payload_arg(struct call *call, size_t at, uint64_t size_max, ls_bytes *item);

/* The object's value fits: 0 or LS_ETOOBIG. */
int check_value(struct call *call, ls_bytes value);

/* INFO's text, of the sections that are asked for (none: all). 0 or LS_ENOMEM. */
int info_write(struct server *server, size_t argc, const ls_bytes *sections, struct buf *out);

command_handler command_auth, command_client, command_clock_get, command_clock_next,
    command_clock_witness, command_command, command_config, command_del, command_echo,
    command_exists, command_get, command_hello, command_info, command_msg_info, command_msg_post,
    command_msg_read, command_msg_trim, command_msg_unwatch, command_msg_watch, command_node_ack,
    command_node_beat, command_node_get, command_node_join, command_node_leave, command_node_list,
    command_node_state, command_obj_del, command_obj_get, command_obj_put, command_obj_scan,
    command_obj_txn, command_obj_unwatch, command_obj_watch, command_ping, command_quit,
    command_relay_send, command_reset, command_select, command_set, command_shard_acquire,
    command_shard_anchor, command_shard_create, command_shard_drop, command_shard_info,
    command_shard_listen, command_shard_read, command_shard_release, command_shard_seen,
    command_shard_write, command_shutdown, command_time, command_txn_abort, command_txn_begin,
    command_txn_commit, command_txn_explain, command_txn_get, command_txn_read, command_txn_run;

#endif
