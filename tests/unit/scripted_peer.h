/*
 * A server that says what a test tells it to: it listens on a port of its own, and runs the test's
 * script once for each connection, each on a thread. It allocates nothing, so that tests may let
 * allocations fail meanwhile.
 */
#ifndef LS_TESTS_SCRIPTED_PEER_H
#define LS_TESTS_SCRIPTED_PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define LINKS_MAX     2048
#define ARGUMENTS_MAX 32

/* One connection, as its script sees it. */
struct peer_link {
    struct scripted_peer *peer;
    int number; /* of the connection, from 0 */
    int fd;
    size_t size;
    size_t used;
    size_t argc;
    char *argv[ARGUMENTS_MAX]; /* NUL-terminated, until the next link_next */
    size_t argv_size[ARGUMENTS_MAX];
    char data[65536];
};

struct scripted_peer {
    int listener;
    char url[64];
    void (*script)(struct peer_link *link, void *context);
    void *context;
    pthread_t acceptor;
    pthread_mutex_t lock;
    bool stopping;
    int count;
    int fds[LINKS_MAX]; /* -1: over */
    pthread_t threads[LINKS_MAX];
};

/* The connection is closed when the script returns. */
void peer_start(struct scripted_peer *peer, void (*script)(struct peer_link *link, void *context),
                void *context);
/* Cuts what is open, and returns when every script has. */
void peer_stop(struct scripted_peer *peer);

/* How many connections there were. */
int peer_count(struct scripted_peer *peer);

/* The next command; false when the client is gone. */
bool link_next(struct peer_link *link);
/* Whether the command under way begins with the word; the n-th argument, "" past the end. */
bool link_is(const struct peer_link *link, const char *word);
const char *link_argument(const struct peer_link *link, size_t n);
/* The argument behind a keyword such as SEQ, NULL where it is not there. */
const char *link_option(const struct peer_link *link, const char *keyword);
void link_say(struct peer_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Takes a HELLO and answers it. */
void link_hello(struct peer_link *link);
/* Answers the command as a healthy server might, in the simplest way that has its shape; numbers
 * are 42. */
void link_answer(struct peer_link *link);

#endif
