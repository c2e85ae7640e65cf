/*
 * A deterministic simulation of one coordinator with nodes and watchers under virtual time. All
 * randomness comes from one seed, so a seed replays a run exactly; whatever does not hold ends the
 * program with the seed and the step.
 *
 * The process that keeps the store crashes: before a commit, in the middle of writing one, after
 * one whose answers are lost, and in between. What is on disk then is what the next one opens.
 */
#ifndef LS_TESTS_SIM_H
#define LS_TESTS_SIM_H

#include "coordinator/coordinator.h"
#include "coordinator/read.h"

#define ACTORS   6
#define WATCHERS 5
#define KEYS     24
#define TTL_MS   1000

/* A message as it was first seen to be committed. */
struct entry {
    uint64_t clock;
    uint64_t check;
    uint8_t type;
    int key;          /* of an object; -1: of something else */
    uint64_t present; /* the object's `modified`; 0: deleted */
};

/* A node, as a client of the coordinator that gets answers, or none. */
struct actor {
    char host[8];
    uint8_t id[16];
    struct binding life;
    bool joined;           /* as far as it knows */
    bool expired;          /* its life was ended, whether it knows or not */
    uint64_t acknowledged; /* the number of its last answered numbered post */
    uint64_t seen;         /* of its newest in the box, and that one's clock */
    uint64_t seen_clock;
    uint64_t silent_until_ns;
    uint64_t beat_ns; /* when its last sign of life was committed */

    /* What the observer, who gives nodes up, saw of it and since when. */
    uint64_t observed_joined;
    uint64_t observed_beat;
    uint64_t observed_since_ns;

    /* The request under way. */
    struct request request;
    struct ls_error error;
    struct object_operation operations[3];
    struct object_condition condition;
    uint8_t item[9];
    char keys[3][8];
};

/* A cursor on the box, and the objects as it follows them. */
struct watcher {
    uint64_t next; /* clock */
    size_t index;  /* of the first entry not seen yet */
    uint64_t objects[KEYS];
    uint64_t lost; /* how often it was told that it fell behind */
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t step;
    uint64_t now_ns;
    char parent[64];
    char directory[96];
    unsigned generation;
    struct store *store;
    struct coordinator *coordinator;
    uint64_t epoch;
    uint64_t highest_given; /* of all clock values that were answered */
    struct entry *log;
    size_t log_count;
    size_t log_capacity;
    uint64_t chain; /* check of the newest */
    struct actor actors[ACTORS];
    struct watcher watchers[WATCHERS];
    struct request late; /* gives up the node that was found late, where is_late */
    bool is_late;
    uint64_t expired;
    uint64_t crashes;
    uint64_t refused_for_space;
};

/* sim.c */
uint64_t draw(struct sim *sim, uint64_t limit);
bool one_in(struct sim *sim, uint64_t n);
void sim_fail(const struct sim *sim, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
void sim_check(const struct sim *sim, int rc, const struct ls_error *error, const char *doing);
void sim_open(struct sim *sim, uint64_t seed, const char *parent);
void sim_close(struct sim *sim);
/* Reads what was committed since the last time into the log: how much that was. */
size_t sim_observe(struct sim *sim);
/* The whole log must be in the store, as far as it was not discarded. */
void sim_compare_log(struct sim *sim);

/* crash.c: the process is gone, with what it did not commit; another opens what it left. */
enum crash { CRASH_IDLE, CRASH_BEFORE_COMMIT, CRASH_IN_COMMIT, CRASH_BEFORE_ANSWERS };
/* In the middle of a transaction, for all but CRASH_IDLE. */
void sim_crash(struct sim *sim, enum crash crash);
/* Removes the directory, with the store closed. */
void sim_remove(const struct sim *sim);

/* actor.c: which requests nodes send, and what the answers mean to them. */
void actors_open(struct sim *sim);
/* Makes the next request; false where the actor has nothing to say. */
bool actor_ask(struct sim *sim, struct actor *actor);
void actor_answered(struct sim *sim, struct actor *actor);
/* The connection broke, before an answer came or after. */
void actor_disconnected(struct actor *actor);
/* A numbered post of the actor was seen in the box. */
void actor_posted(struct sim *sim, const struct message *message);
/* Finds one that showed no life for its ttl; the next time, gives it up if that is still so. */
void actors_expire(struct sim *sim);

/* watcher.c */
void watchers_open(struct sim *sim);
/* Reads up to `most` messages. */
void watcher_read(struct sim *sim, struct watcher *watcher, uint64_t most);

/* "key-NN" */
int key_index(ls_bytes key);
void key_name(char out[8], int index);

/* One request in a transaction of its own. */
int sim_run(struct sim *sim, struct request *request);

#endif
