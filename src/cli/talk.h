/*
 * A small RESP client that waits for each answer: for INFO, and to set up the connections of a
 * benchmark. It speaks to Redis as well.
 */
#ifndef LS_CLI_TALK_H
#define LS_CLI_TALK_H

#include "base/buf.h"
#include "client/remote_peer.h"
#include "lockstep.h"
#include "resp/reply.h"

/* What a lockstep:// or redis:// URL says; to a lockstep:// one the environment may add user and
 * password. */
struct endpoint {
    bool redis;
    struct peer peer;
};

/* 0, LS_EINVAL with a sentence, LS_ENOMEM. On success it is ended with endpoint_free. */
int endpoint_parse(struct endpoint *out, const char *url, struct ls_error *error);
void endpoint_free(struct endpoint *endpoint);

struct talk {
    int fd;
    struct buf out; /* commands that wait for talk_flush */
    struct buf in;
    size_t consumed; /* the bytes of the last reply, at the front of `in` */
    struct resp_reply reply;
};

/* Connects, and gives user and password where there is a password. 0, LS_ECONN, LS_EWRONGPASS,
 * LS_ENOMEM. On success it is ended with talk_close, or its `fd` taken with
 * talk_take. */
int talk_open(struct talk *talk, const struct endpoint *endpoint, struct ls_error *error);
void talk_close(struct talk *talk);

/* Gives the socket, now non-blocking, and ends the rest. */
int talk_take(struct talk *talk);

/* For many commands at once: gathers one; sends all that were gathered; waits for the next reply,
 * which is as that of talk_call. */
int talk_put(struct talk *talk, size_t argc, const ls_bytes *argv, struct ls_error *error);
int talk_flush(struct talk *talk, struct ls_error *error);
int talk_reply(struct talk *talk, const struct resp_value **reply, struct ls_error *error);

/* Sends one command and waits for its reply: *reply lives until the next call. An error reply is
 * LS_EINVAL or the code of its word, with its text. */
int talk_call(struct talk *talk, size_t argc, const ls_bytes *argv, const struct resp_value **reply,
              struct ls_error *error);

#endif
