/* What a benchmark does, and what came of it. */
#ifndef LS_CLI_BENCH_PLAN_H
#define LS_CLI_BENCH_PLAN_H

#include "base/buf.h"
#include "cli/histogram.h"
#include "cli/replies.h"
#include "cli/talk.h"

#define BENCH_PLACES_MAX 16
#define BENCH_DIGITS     12 /* that a number placed in a command always has */

/* One command, encoded, with the places whose digits change from one sending to the next. */
struct bench_command {
    struct buf bytes;
    size_t place_count;
    struct {
        size_t offset;
        bool sequence; /* else at random */
    } places[BENCH_PLACES_MAX];
};

/* From a line of words, quoted as in a shell: __data__ stands for `size` bytes, __rand__ for a
 * random number below the plan's `keys`, __seq__ for one that counts up. 0, LS_EINVAL,
 * LS_ENOMEM. */
int bench_command_parse(struct bench_command *out, const char *line, size_t size,
                        struct ls_error *error);

struct bench_plan {
    struct endpoint endpoint;
    struct bench_command command;
    unsigned connections;
    unsigned pipeline;
    unsigned threads;
    unsigned
        watchers; /* not 0: deliveries to these are what is counted, and one connection posts */
    uint64_t requests; /* 0: for `seconds` */
    uint64_t seconds;
    uint64_t keys;
};

struct bench_result {
    uint64_t requests;
    uint64_t delivered; /* to all watchers */
    uint64_t elapsed_ns;
    struct histogram latency; /* of each request, from its sending to its reply, in ns */
    struct reply_errors errors;
};

/* Runs it. 0, or LS_ECONN, LS_EPROTO, LS_ENOMEM, LS_EIO with the sentence. */
int bench_run(const struct bench_plan *plan, struct bench_result *result, struct ls_error *error);

/* ---- connections, shared by the two ways to run (bench_wire.c) ---- */

/* One connection that sends whole batches of the command and counts the replies. */
struct wire {
    int fd;
    unsigned pending;  /* replies still to come */
    uint64_t sent_ns;  /* when the batch was sent */
    size_t out_offset; /* how much of the batch was written */
    size_t out_size;
    bool blocked;   /* waits for room to write */
    struct buf out; /* as many copies of the command as the pipeline is long */
    struct reply_counter counter;
};

/* What the connections of one thread share. */
struct wires {
    const struct bench_plan *plan;
    int epoll;
    uint64_t sequence;
    uint64_t random;
    struct bench_result *result;
    struct ls_error *error;
};

uint64_t bench_now_ns(void);

/* Connects, sends what comes before the measuring (`setup`, may be NULL), and joins the epoll
 * set. */
int wire_open(struct wires *wires, struct wire *wire, const struct bench_command *setup);
void wire_close(struct wire *wire);

/* Sends a batch of `count` commands, at most the plan's pipeline. 0 or LS_ECONN. */
int wire_send(struct wires *wires, struct wire *wire, unsigned count);
/* Goes on with a batch that was not written at once. 0 or LS_ECONN. */
int wire_resume(struct wires *wires, struct wire *wire);
/* Reads once, into `room`: *ended is how many replies ended. 0, LS_ECONN, LS_EPROTO. */
int wire_receive(struct wires *wires, struct wire *wire, uint8_t *room, size_t size,
                 uint64_t *ended);

#endif
