/*
 * What was reached: how often each thing happened, over all seeds of a run. What never happened is
 * named, for a simulation proves nothing about it.
 */
#ifndef LS_TESTS_COVER_H
#define LS_TESTS_COVER_H

#include <stdbool.h>
#include <stdio.h>

/* X(name, what it means) */
#define COVER_MAP(X)                                                          \
    X(CRASH_IDLE, "a process dies between batches")                           \
    X(CRASH_BEFORE_COMMIT, "a process dies in a commit, of which nothing is") \
    X(CRASH_IN_COMMIT, "a process dies in a commit that counts")              \
    X(CRASH_BEFORE_ANSWERS, "a process dies with answers that nobody gets")   \
    X(FLUSH_FAILED, "a flush fails")                                          \
    X(RACE_LOST, "a commit loses a race")                                     \
    X(BATCH_OF_MANY, "a commit holds many requests")                          \
    X(BATCH_UNDONE, "a batch is undone and runs one by one")                  \
    X(DISK_FULL, "the disk is full")                                          \
    X(DISK_FREE, "the disk has room again")                                   \
    X(READ_IN_FLUSH, "somebody reads while a commit is flushed")              \
    X(STALL_PROCESS, "a process stops for a while")                           \
    X(STALL_CLIENT, "a client stops for a while")                             \
    X(WALL_BACK, "a wall clock goes back")                                    \
    X(PARTITION, "the network is cut in two")                                 \
    X(HEAL, "the network heals")                                              \
    X(PACKET_LOST, "a packet is lost")                                        \
    X(PACKET_TWICE, "a packet arrives twice")                                 \
    X(PACKET_LATE, "a packet arrives before one sent earlier")                \
    X(CONNECTION_GIVEN_UP, "a client gives a connection up")                  \
    X(CONNECTION_RESET, "a process learns that a client is gone")             \
    X(OLD_CONNECTION, "a packet arrives on a connection that was given up")   \
    X(POST_IN_DOUBT, "a numbered post is in doubt")                           \
    X(POST_FOUND, "a join tells that the post in doubt is there")             \
    X(POST_MISSING, "a join tells that the post in doubt is not there")       \
    X(POST_AGAIN, "a numbered post is made again and answered as before")     \
    X(TAKEN_OVER, "a node takes its own host over")                           \
    X(HOST_TAKEN, "a node takes the host of another")                         \
    X(EXPIRED, "a node is given up")                                          \
    X(EXPIRED_BY_HOLDER, "by the process that holds it")                      \
    X(EXPIRED_BY_OTHER, "by another process")                                 \
    X(EXPIRY_TOO_LATE, "an expiry comes after life was shown")                \
    X(OBJECTS_VANISHED, "owned objects go with their node")                   \
    X(OWNER_CHANGED, "an owned object gets another owner, or none")           \
    X(DISCARDED, "messages are discarded")                                    \
    X(DISCARDED_AGE, "for their age")                                         \
    X(DISCARDED_COUNT, "for their count")                                     \
    X(DISCARDED_BYTES, "for their bytes")                                     \
    X(DISCARDED_TRIM, "by a trim")                                            \
    X(HELD, "messages are held for a node")                                   \
    X(WATCH_READS_ON, "a watcher gets messages")                              \
    X(WATCH_LOST, "a watcher fell behind what is kept")                       \
    X(WATCH_AGAIN, "a watcher goes on over a new connection")                 \
    X(OBJECTS_SYNCED, "a watcher of objects has the snapshot")                \
    X(OBJECTS_RESYNC, "a watcher of objects begins anew")                     \
    X(OBJECTS_SAME, "a watcher of objects has what there is")                 \
    X(TXN_PARKED, "a transaction waits, and another process commits")         \
    X(TXN_EXPIRED, "a transaction is given up")                               \
    X(TXN_COLLECTED, "an old version is collected")                           \
    X(TXN_MERGED, "versions are moved from the log")                          \
    X(TXN_TRIMMED, "records of the version log are deleted")                  \
    X(EMBEDDED_AND_SERVED, "a library and a server share the store")

enum cover {
#define X(name, text) COVER_##name,
    COVER_MAP(X)
#undef X
        COVERS
};

void cover(enum cover what);
void cover_answer(int ask, int status);
void cover_fault(int call, int code);
/* Prints what was reached, and names what was not; `all`: with the counts. */
void cover_print(FILE *out, bool all);
/* How many of them never happened. */
int cover_missing(void);

#endif
