/*
 * One connection to a server: connecting with HELLO 3, sending whole requests, receiving whole
 * replies, each until a deadline. The socket never blocks; poll() waits. Belongs to one thread at a
 * time and knows nothing of what the requests mean.
 *
 * Every loss of the connection is LS_ECONN with a sentence; the stream must then be closed. Closing
 * forgets all that was received.
 */
#ifndef LS_CLIENT_REMOTE_STREAM_H
#define LS_CLIENT_REMOTE_STREAM_H

#include <time.h>

#include "base/buf.h"
#include "client/handle.h"
#include "client/remote_peer.h"
#include "lockstep.h"
#include "resp/reply.h"

struct stream {
    int fd;                  /* -1: none */
    size_t begin;            /* of what was not handed out yet, in `in` */
    struct buf in;           /* received */
    struct resp_reply reply; /* the one handed out, pointing into `in` */
};

#define STREAM_CLOSED ((struct stream){.fd = -1})

/* Connects and says HELLO. LS_ECONN, LS_ELOADING and LS_ESHUTDOWN may pass; LS_ENOAUTH,
 * LS_EWRONGPASS, LS_ENOPERM, LS_EPROTO and LS_EINVAL will not. On failure the stream is closed. A
 * name server that does not answer may keep it past the deadline. */
int stream_open(struct stream *stream, const struct peer *peer, const struct deadline *deadline,
                struct ls_error *error);
void stream_close(struct stream *stream);

static inline bool stream_is_open(const struct stream *stream)
{
    return stream->fd >= 0;
}

/* Receives what is there, without waiting: 1, 0 where nothing is, LS_ECONN, LS_ENOMEM. Replies
 * handed out before are no longer valid. */
int stream_fill(struct stream *stream, struct ls_error *error);

/* 1: the next whole reply is in stream->reply, valid until the next call on the stream; 0: more
 * must be received first; LS_EPROTO, LS_ETOOBIG, LS_ENOMEM. */
int stream_next(struct stream *stream, struct ls_error *error);

/* As stream_next, but receives and waits until the deadline: 0 when it passed. */
int stream_wait(struct stream *stream, const struct deadline *deadline, struct ls_error *error);

/* Sends one request, where no answer is under way. 0, LS_ENOMEM, LS_ETOOBIG, LS_ECONN, or what the
 * server refused it for: it did not get the whole of it, and does nothing. */
int stream_send(struct stream *stream, size_t argc, const ls_bytes *argv,
                const struct deadline *deadline, struct ls_error *error);

/* Sends one request and waits for what comes back first, which is in stream->reply. 0, the codes
 * above, LS_ECONN with a sentence when the deadline passed. An error reply is a success here. */
int stream_request(struct stream *stream, size_t argc, const ls_bytes *argv,
                   const struct deadline *deadline, struct ls_error *error);

/* NUL-terminates a text or blob of the reply handed out, in place of the CR behind it. */
void stream_terminate(struct stream *stream, ls_bytes text);

/* True for the codes that may pass when tried again: the server is not there, or not yet. */
bool stream_may_recover(int code);

/* When to try again: 10 ms, then twice as long each time up to 500 ms, or a quarter of the timeout
 * where that is less; each cut short by up to a half at random, so that clients of one server do
 * not return in step. All zeros: at once. */
struct backoff {
    uint32_t delay_ms; /* the last one; 0: none yet */
    uint64_t at_ms;    /* monotonic: not before this */
};
void backoff_grow(struct backoff *backoff, const struct peer *peer);
/* Sleeps until it is time or the deadline passed; false in the second case. */
bool backoff_wait(const struct backoff *backoff, const struct deadline *deadline);

/* The earlier of a deadline and `ms` from now. */
struct deadline deadline_within(const struct deadline *deadline, int64_t ms);
/* The same, but not sooner than 100 ms from now: so that one who only looks in, again and again,
 * with no time to wait, is connected again all the same. */
struct deadline deadline_connecting(const struct deadline *deadline, int64_t ms);
bool deadline_passed(const struct deadline *deadline);
/* As CLOCK_MONOTONIC has it; there must be one. */
struct timespec deadline_time(const struct deadline *deadline);
/* For poll(): what is left, -1 for no limit. */
int deadline_poll(const struct deadline *deadline);

#endif
