/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep.h: the whole public interface of liblockstep.
 *
 * Lockstep keeps the nodes of a distributed system in step: one total order of messages under one
 * Lamport clock, and a node registry and an object store whose every change is such a message.
 *
 * Rules that hold for every function here; the comment at each function says only what is special.
 *
 *  1. A function that can fail returns 0 on success or a negative LS_E... code. ls_strerror() says
 *     what a code means; ls_last_error() adds, for the calling thread, the sentence and the number
 *     that belong to its last failure. On failure the outputs are untouched unless stated, and
 *     nothing was changed in the store. The one exception is LS_ECONN and LS_EINTERNAL on a
 *     lockstep:// handle: the connection was lost before the answer came, and the change may or may
 *     not have happened. A post with `once` set is never in doubt.
 *  2. An `ls` handle may be used by any number of threads at once. The objects made from it (lists,
 *     watches, batches) belong to one thread at a time. A watch may be waited on by one thread
 * while others use the handle. Close every watch and batch before the handle.
 *  3. Bytes passed in are only read, and only during the call. Bytes passed out belong to the object
 *     they came from and live until that object is freed, or, for a watch, until the next call on
 *     that watch. Text that is passed out is also NUL-terminated.
 *  4. The library starts no threads and installs no signal handlers. A joined handle stays `up` as
 *     long as it is used: every call on it is a beat, and a call that waits keeps beating.
 *  5. After fork(), the child must not use a handle of the parent; it opens its own.
 *  6. Clocks are logical, without unit. Times are nanoseconds since the Unix epoch where the name
 *     ends in _ns, durations are milliseconds where it ends in _ms, sizes are bytes.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LS_API __attribute__((visibility("default")))
#else
#define LS_API
#endif

#define LS_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------------------
 *
 * X(name, value, word on the wire, message). The word is what a server's error reply begins with.
 */
#define LS_ERROR_MAP(X)                                                           \
    X(LS_EINVAL, -1, "ERR", "invalid argument")                                   \
    X(LS_ENOMEM, -2, "ERR", "out of memory")                                      \
    X(LS_EIO, -3, "ERR", "input or output failed")                                \
    X(LS_ECORRUPT, -4, "ERR", "the store is damaged")                             \
    X(LS_EFORMAT, -5, "ERR", "the store has a format this version does not know") \
    X(LS_EREADONLY, -6, "ERR", "the store cannot be written")                     \
    X(LS_EBUSY, -7, "ERR", "in use")                                              \
    X(LS_ENOTFOUND, -8, "ERR", "not found")                                       \
    X(LS_EKEY, -9, "ERR", "malformed key")                                        \
    X(LS_ERECORD, -10, "ERR", "malformed record")                                 \
    X(LS_ENOTSUP, -11, "ERR", "not supported by this kind of store")              \
    X(LS_ETIMEOUT, -12, "ERR", "timed out")                                       \
    X(LS_ECONN, -13, "ERR", "the connection failed")                              \
    X(LS_EPROTO, -14, "ERR", "the peer does not follow the protocol")             \
    X(LS_ERETRY, -15, "ERR", "the transaction lost a race and must run again")    \
    X(LS_EINTERNAL, -16, "ERR", "an unexpected failure")                          \
    X(LS_ENOAUTH, -17, "NOAUTH", "authentication required")                       \
    X(LS_EWRONGPASS, -18, "WRONGPASS", "wrong user name or password")             \
    X(LS_ENOPERM, -19, "NOPERM", "not permitted")                                 \
    X(LS_ENOTJOINED, -20, "NOTJOINED", "this needs a joined node")                \
    X(LS_EINUSE, -21, "INUSE", "the host is held by another live node")           \
    X(LS_ECONFLICT, -22, "CONFLICT", "the condition does not hold")               \
    X(LS_ECOMPACTED, -23, "COMPACTED", "messages from there on were discarded")   \
    X(LS_ECLOCKJUMP, -24, "CLOCKJUMP", "the carried clock is too far ahead")      \
    X(LS_ESEQGAP, -25, "SEQGAP", "the number is not the next one")                \
    X(LS_EDUPLICATE, -26, "DUPLICATE", "the number was used before")              \
    X(LS_ETOOBIG, -27, "TOOBIG", "too big")                                       \
    X(LS_EBADCBOR, -28, "BADCBOR", "not one well-formed CBOR item")               \
    X(LS_EBADJSON, -29, "BADJSON", "not one well-formed JSON text")               \
    X(LS_ENOSPACE, -30, "NOSPACE", "no space left")                               \
    X(LS_ELOADING, -31, "LOADING", "the server is starting")                      \
    X(LS_ESHUTDOWN, -32, "SHUTDOWN", "the server is stopping")

enum ls_errors {
#define X(name, value, word, message) name = (value),
    LS_ERROR_MAP(X)
#undef X
};

/* What a code means, as static text; never NULL. Any thread. */
LS_API const char *ls_strerror(int code);

/* The code's own name, "LS_EINVAL" for LS_EINVAL; never NULL. Any thread. */
LS_API const char *ls_errname(int code);

/* The version of the library, "major.minor.patch". */
LS_API const char *ls_version(void);

/* The last failure of the calling thread. `number` is the one that belongs to the code: the clock
 * that is there for LS_ECONFLICT, the oldest kept for LS_ECOMPACTED, the last number for LS_ESEQGAP
 * and LS_EDUPLICATE, the limit for LS_ETOOBIG, the offset for LS_EBADCBOR and LS_EBADJSON, else 0.
 */
typedef struct ls_error {
    int code;
    uint64_t number;
    char text[232];
} ls_error;

/* Never NULL; `code` is 0 before the first failure. Valid until the thread's next call. */
LS_API const ls_error *ls_last_error(void);

/* ---- bytes and payloads ------------------------------------------------------------------------
 */

typedef struct ls_bytes {
    const void *data; /* may be NULL where size is 0 */
    size_t size;
} ls_bytes;

/* How a payload is written; it is stored as CBOR in each case. */
enum ls_payload_kind {
    LS_CBOR = 0, /* one well-formed CBOR item */
    LS_JSON = 1, /* one JSON text, converted */
    LS_TEXT = 2  /* UTF-8, stored as a CBOR text string */
};

typedef struct ls_payload {
    enum ls_payload_kind kind;
    ls_bytes bytes;
} ls_payload;

/* A payload from a C string of JSON, or of plain text. */
LS_API ls_payload ls_json(const char *json);
LS_API ls_payload ls_text(const char *text);
LS_API ls_payload ls_cbor(const void *data, size_t size);

/* One CBOR item as JSON text, NUL-terminated; free it with ls_free(). Byte strings become base64url
 * without padding, NaN and infinities null, tags are dropped. LS_EBADCBOR, LS_ENOMEM. */
LS_API int ls_cbor_to_json(ls_bytes cbor, char **out);

/* JSON text as one CBOR item in deterministic encoding; free *out with ls_free(). LS_EBADJSON,
 * LS_ENOMEM. */
LS_API int ls_cbor_from_json(ls_bytes json, void **out, size_t *out_size);

/* Frees what a function above gave with its ownership. NULL is ignored. */
LS_API void ls_free(void *memory);
