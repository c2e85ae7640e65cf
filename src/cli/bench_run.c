/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a benchmark. Each connection sends a batch, waits for all of its replies and sends the
 * next. With watchers, one connection posts, and never gets further ahead of what all of them
 * together have received than a few batches: so the rate of delivery is what is measured, on any
 * server, and not how much it can pile up.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <errno.h>

#include "base/error.h"
#include "cli/bench_plan.h"

#define READ_SIZE     262144
#define EVENTS        256
#define SILENCE_MS    10000 /* without any reply, the server is given up */
#define AHEAD_BATCHES 8     /* that may be posted before all watchers together have the oldest */

/* One thread's part. */
struct part {
    struct wires wires;
    struct wire *list;
    unsigned count;
    uint64_t left;        /* requests still to be sent */
    uint64_t deadline_ns; /* nothing is sent after it; 0: none */
    uint64_t pending;     /* replies still to come */
    uint64_t end_ns;      /* of the last reply */
    uint8_t *room;
    struct bench_result result;
    struct ls_error error;
    int status;
    pthread_t thread;
    bool started;
};

static int part_open(struct part *part, const struct bench_plan *plan, unsigned count)
{
    part->wires = (struct wires){.plan = plan,
                                 .random = UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)part,
                                 .result = &part->result,
                                 .error = &part->error};
    part->wires.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (part->wires.epoll < 0) {
        return error_set(&part->error, LS_EIO, 0, "epoll: %s", strerror(errno));
    }
    part->list = calloc(count, sizeof(*part->list));
    part->room = malloc(READ_SIZE);
    if (part->list == NULL || part->room == NULL) {
        return error_code(&part->error, LS_ENOMEM);
    }
    return 0;
}

static int part_connect(struct part *part, unsigned count, const struct bench_command *setup)
{
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = wire_open(&part->wires, &part->list[part->count++], setup);
    }
    return rc;
}

static void part_close(struct part *part)
{
    for (unsigned i = 0; i < part->count; i++) {
        wire_close(&part->list[i]);
    }
    free(part->list);
    free(part->room);
    if (part->wires.epoll >= 0) {
        close(part->wires.epoll);
    }
}

/* The next batch of a connection, where there is one left to send. */
static int send_next(struct part *part, struct wire *wire)
{
    unsigned pipeline = part->wires.plan->pipeline;
    unsigned count = part->left < pipeline ? (unsigned)part->left : pipeline;
    if (count == 0 || (part->deadline_ns != 0 && bench_now_ns() >= part->deadline_ns)) {
        part->left = 0;
        return 0;
    }
    part->left -= count;
    part->pending += count;
    return wire_send(&part->wires, wire, count);
}

/* Counts what a connection received against its batch. */
static int take_replies(struct part *part, struct wire *wire)
{
    uint64_t ended;
    int rc = wire_receive(&part->wires, wire, part->room, READ_SIZE, &ended);
    if (rc != 0 || ended == 0) {
        return rc;
    }
    if (ended > wire->pending) {
        return error_set(&part->error, LS_EPROTO, 0,
                         "the server sent a reply that nobody asked for");
    }
    part->end_ns = bench_now_ns();
    histogram_add(&part->result.latency, part->end_ns - wire->sent_ns, ended);
    part->result.requests += ended;
    part->pending -= ended;
    wire->pending -= (unsigned)ended;
    return 0;
}

static int serve(struct part *part, struct wire *wire, uint32_t events)
{
    int rc = 0;
    if (events & EPOLLOUT) {
        rc = wire_resume(&part->wires, wire);
    }
    if (rc == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        rc = take_replies(part, wire);
        if (rc == 0 && wire->pending == 0) {
            rc = send_next(part, wire);
        }
    }
    return rc;
}

static int wait_events(struct part *part, struct epoll_event *events, int *count)
{
    *count = epoll_wait(part->wires.epoll, events, EVENTS, SILENCE_MS);
    if (*count == 0) {
        return error_set(&part->error, LS_ETIMEOUT, 0, "no reply for %d seconds",
                         SILENCE_MS / 1000);
    }
    if (*count < 0 && errno != EINTR) {
        return error_set(&part->error, LS_EIO, 0, "epoll: %s", strerror(errno));
    }
    return 0;
}

static void *run_part(void *context)
{
    struct part *part = context;
    int rc = 0;
    for (unsigned i = 0; i < part->count && rc == 0; i++) {
        rc = send_next(part, &part->list[i]);
    }
    while (rc == 0 && part->pending > 0) {
        struct epoll_event events[EVENTS];
        int count;
        rc = wait_events(part, events, &count);
        for (int i = 0; i < count && rc == 0; i++) {
            rc = serve(part, events[i].data.ptr, events[i].events);
        }
    }
    part->status = rc;
    return NULL;
}

/* ---- all threads ---- */

/* The n-th of `parts` nearly equal shares. */
static uint64_t share(uint64_t whole, unsigned parts, unsigned n)
{
    return whole / parts + (n < whole % parts ? 1 : 0);
}

static void begin_part(struct part *part, const struct bench_plan *plan, uint64_t start_ns,
                       uint64_t requests)
{
    part->left = plan->requests > 0 ? requests : UINT64_MAX;
    part->deadline_ns = plan->requests > 0 ? 0 : start_ns + plan->seconds * 1000000000;
    part->end_ns = start_ns;
}

static int add_result(struct bench_result *result, const struct part *part, uint64_t start_ns,
                      struct ls_error *error)
{
    if (part->status != 0) {
        *error = part->error;
        return part->status;
    }
    result->requests += part->result.requests;
    result->delivered += part->result.delivered;
    histogram_merge(&result->latency, &part->result.latency);
    if (result->errors.count == 0) {
        result->errors = part->result.errors;
    } else {
        result->errors.count += part->result.errors.count;
    }
    uint64_t elapsed = part->end_ns - start_ns;
    result->elapsed_ns = elapsed > result->elapsed_ns ? elapsed : result->elapsed_ns;
    return 0;
}

static int run_commands(const struct bench_plan *plan, struct bench_result *result,
                        struct ls_error *error)
{
    struct part *parts = calloc(plan->threads, sizeof(*parts));
    int rc = 0;
    if (parts == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    unsigned opened = 0;
    for (; opened < plan->threads && rc == 0; opened++) {
        unsigned count = (unsigned)share(plan->connections, plan->threads, opened);
        rc = part_open(&parts[opened], plan, count);
        rc = rc != 0 ? rc : part_connect(&parts[opened], count, NULL);
        parts[opened].status = rc;
    }
    uint64_t start_ns = bench_now_ns();
    for (unsigned i = 0; i < opened && rc == 0; i++) {
        begin_part(&parts[i], plan, start_ns, share(plan->requests, plan->threads, i));
        parts[i].started =
            i > 0 && pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) == 0;
    }
    for (unsigned i = 0; i < opened && rc == 0; i++) {
        if (!parts[i].started) {
            run_part(&parts[i]);
        }
    }
    for (unsigned i = 0; i < opened; i++) {
        if (parts[i].started) {
            pthread_join(parts[i].thread, NULL);
        }
        int failed = add_result(result, &parts[i], start_ns, error);
        rc = rc != 0 ? rc : failed;
        part_close(&parts[i]);
    }
    free(parts);
    return rc;
}

/* ---- with watchers ---- */

/* Posts on where the watchers, taken together, are near enough. */
static int post_next(struct part *part, struct wire *poster, uint64_t *posted)
{
    const struct bench_plan *plan = part->wires.plan;
    uint64_t ahead = (uint64_t)plan->pipeline * AHEAD_BATCHES;
    uint64_t received = part->result.delivered / plan->watchers;
    if (poster->pending > 0 || (*posted > ahead && *posted - ahead > received)) {
        return 0;
    }
    int rc = send_next(part, poster);
    *posted += poster->pending;
    return rc;
}

static int deliver(struct part *part, struct wire *wire)
{
    uint64_t ended;
    int rc = wire_receive(&part->wires, wire, part->room, READ_SIZE, &ended);
    part->result.delivered += ended;
    return rc;
}

static int run_watched(struct part *part)
{
    const struct bench_plan *plan = part->wires.plan;
    struct wire *poster = &part->list[plan->watchers];
    uint64_t posted = 0;
    int rc = post_next(part, poster, &posted);
    while (rc == 0 && (part->pending > 0 || part->left > 0 ||
                       part->result.delivered < posted * plan->watchers)) {
        struct epoll_event events[EVENTS];
        int count;
        rc = wait_events(part, events, &count);
        for (int i = 0; i < count && rc == 0; i++) {
            struct wire *wire = events[i].data.ptr;
            if (wire != poster) {
                rc = deliver(part, wire);
                continue;
            }
            rc = events[i].events & EPOLLOUT ? wire_resume(&part->wires, wire) : 0;
            if (rc == 0 && events[i].events & ~(uint32_t)EPOLLOUT) {
                rc = take_replies(part, wire);
            }
        }
        rc = rc != 0 ? rc : post_next(part, poster, &posted);
        if (part->result.errors.count > 0) {
            break; /* what was refused is never delivered */
        }
    }
    part->end_ns = bench_now_ns();
    return rc;
}

static int run_watchers(const struct bench_plan *plan, struct bench_result *result,
                        struct ls_error *error)
{
    struct bench_command watch = {0};
    struct part part = {0};
    int rc = bench_command_parse(&watch, plan->endpoint.redis ? "SUBSCRIBE bench" : "MSG.WATCH $",
                                 0, error);
    if (rc != 0) {
        return rc;
    }
    rc = part_open(&part, plan, plan->watchers + 1);
    rc = rc != 0 ? rc : part_connect(&part, plan->watchers, &watch);
    rc = rc != 0 ? rc : part_connect(&part, 1, NULL);
    uint64_t start_ns = bench_now_ns();
    if (rc == 0) {
        begin_part(&part, plan, start_ns, plan->requests);
        rc = run_watched(&part);
    }
    part.status = rc;
    rc = add_result(result, &part, start_ns, error);
    part_close(&part);
    buf_free(&watch.bytes);
    return rc;
}

/* As many descriptors as the system lets this process have. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int bench_run(const struct bench_plan *plan, struct bench_result *result, struct ls_error *error)
{
    raise_descriptors();
    *result = (struct bench_result){0};
    return plan->watchers > 0 ? run_watchers(plan, result, error)
                              : run_commands(plan, result, error);
}
