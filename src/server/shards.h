/*
 * Shards that live in this server's memory, for workers, executors and a consensus that speak to
 * it. The rules of a shard are the engine's (lockstep_shard.h); here are the names, and who gets
 * its messages.
 *
 * Rules:
 *  1. Workers, executors and learners are names on the wire and numbers in the engine: the hash of
 *     the name under a secret seed, so that no name need be remembered.
 *  2. What an executor reads is pushed to the one connection that listens as that executor. While
 *     nobody does it is kept, in order, up to `output-max` for an executor and `shard-memory` for
 *     all of a shard.
 *  3. An executor whose connection ends, or for whom there is more to keep than that, is gone: its
 *     open transactions are released, and what was kept for it is dropped. It may come again.
 */
#ifndef LS_SERVER_SHARDS_H
#define LS_SERVER_SHARDS_H

#include "lockstep_shard.h"
#include "server/list.h"
#include "server/map.h"

struct conn;
struct server;
struct served_shard;

struct shards {
    struct map by_name; /* by the number of the name */
    struct link all;
    size_t count;
    struct link gone; /* executors to be released once the engine's call is over */
    bool releasing;
    uint64_t seed;     /* of these hashes, and of all others of what clients choose */
    uint64_t released; /* transactions whose executor was gone, ever */
};

/* 0, or LS_EIO where there is no randomness. */
int shards_init(struct shards *shards, struct ls_error *error);
void shards_free(struct shards *shards);

/* NULL, and LS_ENOTFOUND, where there is none of this name. */
struct served_shard *shards_find(struct shards *shards, ls_bytes name, struct ls_error *error);

struct shard_parties {
    ls_bytes learner;
    const ls_bytes *workers;
    size_t worker_count;
};

/* LS_EINUSE: there is one of this name; LS_ENOSPACE: `shards-max`. */
int shards_create(struct server *server, ls_bytes name, const struct shard_parties *parties,
                  struct ls_error *error);
void shards_drop(struct served_shard *shard);

/* The messages in, as the engine's functions of the same names. */
int shards_acquire(struct served_shard *shard, uint64_t timestamp, ls_bytes worker,
                   ls_bytes executor, const ls_shard_lock *locks, size_t count,
                   struct ls_error *error);
int shards_read(struct served_shard *shard, uint64_t timestamp, ls_bytes key, bool actual,
                struct ls_error *error);
int shards_write(struct served_shard *shard, uint64_t timestamp, ls_bytes key,
                 enum ls_shard_content content, ls_bytes value, struct ls_error *error);
int shards_seen(struct served_shard *shard, ls_bytes worker, uint64_t timestamp, bool writes,
                struct ls_error *error);

struct shard_anchor {
    ls_bytes chain;
    ls_bytes learner;
    uint64_t height;
    ls_bytes anchor;
    uint64_t timestamp;
};

int shards_anchor(struct served_shard *shard, const struct shard_anchor *anchor,
                  struct ls_error *error);
int shards_release(struct served_shard *shard, uint64_t timestamp, struct ls_error *error);

/* Answers OK, and pushes what was kept. LS_EINUSE: another connection listens as this executor. */
int shards_listen(struct served_shard *shard, struct conn *conn, ls_bytes executor,
                  struct ls_error *error);
/* The connection is going away, or begins anew. */
void shards_end_listening(struct conn *conn);

const ls_shard *shards_engine(const struct served_shard *shard);
/* Bytes kept for executors for whom nobody listens. */
size_t shards_kept(const struct served_shard *shard);
/* The sums over all shards. */
void shards_sum(const struct shards *shards, ls_shard_info *sum, size_t *kept);

#endif
