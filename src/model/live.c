/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a live run: starts them, hears what they tell, and ends them. */
#include "model/live.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

#define LOOK_MS  50                                   /* how soon a death or a signal is noticed */
#define START_NS (SCALE_NS_PER_SECOND / 20)           /* from all being joined to the start */
#define LATE_NS  (UINT64_C(10) * SCALE_NS_PER_SECOND) /* to join in, and past the deadline */

_Static_assert(sizeof(struct live_record) <= PIPE_BUF, "a pipe keeps a record whole");

struct crew {
    const struct live_options *options;
    struct live *live;
    struct live_server server;
    pid_t pids[LIVE_NODES_MAX]; /* 0: ended */
    bool done[LIVE_NODES_MAX];
    uint32_t ready;
    uint32_t ended;
    bool early;
    int go;   /* written to: the start, once for each node */
    int told; /* read from: what the nodes tell */
};

static int check(const struct scale *scale, struct ls_error *error)
{
    kernel_wide ticks = 0;
    if (scale->node_count > LIVE_NODES_MAX) {
        return error_set(error, LS_EINVAL, LIVE_NODES_MAX,
                         "a live run has a process for each node and at most %d, not %u; run more "
                         "in virtual time, without --live",
                         LIVE_NODES_MAX, scale->node_count);
    }
    for (uint32_t i = 0; i < scale->node_count; i++) {
        uint64_t most = LIVE_RATE_MAX * decimal_power(scale->rate_places);
        if (scale->nodes[i].rate > most) {
            return error_set(error, LS_EINVAL, LIVE_RATE_MAX,
                             "live, a node ticks at most %d times a second", LIVE_RATE_MAX);
        }
        ticks += (kernel_wide)scale->duration_ns / scale->nodes[i].period_ns;
    }
    return ticks <= LIVE_TICKS_MAX
               ? 0
               : error_set(error, LS_EINVAL, LIVE_TICKS_MAX,
                           "a live run has at most %d ticks in all: make it shorter, or the rates "
                           "lower",
                           LIVE_TICKS_MAX);
}

/* ---- starting ---- */

static int start_node(struct crew *crew, uint32_t number, const int go[2], const int told[2],
                      struct ls_error *error)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return error_set(error, LS_ENOMEM, 0, "no process for node %u: %s", number + 1,
                         strerror(errno));
    }
    if (pid > 0) {
        crew->pids[number] = pid;
        return 0;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(EXIT_FAILURE);
    }
    close(go[1]); /* or nobody would see that it was closed */
    close(told[0]);
    _exit(live_node_run(crew->options, number, go[0], told[1]));
}

static int start_nodes(struct crew *crew, struct ls_error *error)
{
    int go[2];
    int told[2];
    int rc = 0;

    if (pipe2(go, O_CLOEXEC) != 0) {
        return error_set(error, LS_EIO, 0, "no pipe: %s", strerror(errno));
    }
    if (pipe2(told, O_CLOEXEC) != 0) {
        rc = error_set(error, LS_EIO, 0, "no pipe: %s", strerror(errno));
        close(go[0]);
        close(go[1]);
        return rc;
    }
    for (uint32_t i = 0; i < crew->options->scale->node_count && rc == 0; i++) {
        rc = start_node(crew, i, go, told, error);
    }
    close(go[0]);
    close(told[1]);
    crew->go = go[1];
    crew->told = told[0];
    return rc;
}

/* Places are counted among all nodes that have joined, so there may be no others. One of its own
 * that is missing has left since, and says itself why. */
static int check_alone(const struct crew *crew, struct ls_error *error)
{
    ls *handle = NULL;
    ls_nodes *nodes = NULL;
    size_t up = 0;
    int rc = ls_open(&handle, crew->options->url, crew->options->connect);
    rc = rc == 0 ? ls_node_list(handle, &nodes) : rc;
    if (rc != 0) {
        *error = *ls_last_error();
    }
    for (size_t i = 0; rc == 0 && i < ls_nodes_count(nodes); i++) {
        up += ls_nodes_get(nodes, i)->state != LS_NODE_DOWN;
    }
    if (rc == 0 && up > crew->options->scale->node_count) {
        rc = error_set(error, LS_EINUSE, up,
                       "other nodes have joined at %s, and would get the run's messages",
                       crew->options->place);
    }
    ls_nodes_free(nodes);
    ls_close(handle);
    return rc;
}

static int give_start(struct crew *crew, struct ls_error *error)
{
    int rc = check_alone(crew, error);
    uint64_t start_ns = live_now_ns() + START_NS;
    for (uint32_t i = 0; i < crew->options->scale->node_count && rc == 0; i++) {
        if (write(crew->go, &start_ns, sizeof start_ns) != (ssize_t)sizeof start_ns) {
            rc = error_set(error, LS_EINTERNAL, 0, "the nodes are gone");
        }
    }
    return rc;
}

/* ---- hearing ---- */

static int keep(struct live *live, const struct scale_event *event)
{
    if (live->count == live->room) {
        size_t room = live->room > 0 ? live->room * 2 : 1024;
        struct scale_event *events = realloc(live->events, room * sizeof *events);
        if (events == NULL) {
            return LS_ENOMEM;
        }
        live->events = events;
        live->room = room;
    }
    live->events[live->count++] = *event;
    return 0;
}

static int hear(struct crew *crew, const struct live_record *record, struct ls_error *error)
{
    switch (record->kind) {
    case LIVE_READY:
        crew->ready++;
        /* Where all are told to stop already, some may have left. */
        return crew->ready == crew->options->scale->node_count && crew->go >= 0
                   ? give_start(crew, error)
                   : 0;
    case LIVE_TICK:
        return keep(crew->live, &record->event) == 0 ? 0 : error_code(error, LS_ENOMEM);
    case LIVE_END:
        crew->live->messages += record->messages;
        crew->live->lost += record->lost;
        crew->live->waiting += record->waiting;
        crew->early = crew->early || record->early;
        crew->done[record->node] = true;
        crew->ended++;
        return 0;
    default:
        return error_set(error, record->error.code, record->error.number, "node %u: %s",
                         record->node + 1, record->error.text);
    }
}

/* What ended before its time. */
static int check_deaths(struct crew *crew, struct ls_error *error)
{
    for (uint32_t i = 0; i < crew->options->scale->node_count; i++) {
        int status = 0;
        if (crew->pids[i] > 0 && waitpid(crew->pids[i], &status, WNOHANG) == crew->pids[i]) {
            crew->pids[i] = 0;
            if (!crew->done[i]) {
                return error_set(error, LS_EINTERNAL, 0, "the process of node %u died%s%s", i + 1,
                                 WIFSIGNALED(status) ? " of " : "",
                                 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "");
            }
        }
    }
    if (crew->server.pid > 0 && waitpid(crew->server.pid, NULL, WNOHANG) == crew->server.pid) {
        crew->server.pid = 0;
        return error_set(error, LS_ECONN, 0, "lockstepd died during the run");
    }
    return 0;
}

static void signal_nodes(const struct crew *crew, int number)
{
    for (uint32_t i = 0; i < LIVE_NODES_MAX; i++) {
        if (crew->pids[i] > 0) {
            kill(crew->pids[i], number);
        }
    }
}

static int hear_all(struct crew *crew, struct ls_error *error)
{
    uint64_t limit_ns = live_now_ns() + crew->options->scale->duration_ns + 2 * LATE_NS;
    bool stopping = false;
    int rc = 0;

    while (rc == 0 && crew->ended < crew->options->scale->node_count) {
        struct pollfd from = {.fd = crew->told, .events = POLLIN};
        struct live_record record;
        int ready = poll(&from, 1, LOOK_MS);
        if (ready > 0 && (from.revents & POLLIN) != 0) {
            ssize_t size = read(crew->told, &record, sizeof record);
            rc = size == (ssize_t)sizeof record ? hear(crew, &record, error) : 0;
        } else {
            rc = check_deaths(crew, error);
        }
        if (rc == 0 && !stopping && (*crew->options->stopped || crew->early)) {
            stopping = true;
            crew->live->interrupted = *crew->options->stopped;
            limit_ns = live_now_ns() + LATE_NS;
            signal_nodes(crew, SIGTERM);
            close(crew->go); /* for those that wait for the start */
            crew->go = -1;
        }
        if (rc == 0 && live_now_ns() > limit_ns) {
            rc = error_set(error, LS_EINTERNAL, 0, "the nodes did not end when they should have");
        }
    }
    crew->live->interrupted = crew->live->interrupted || *crew->options->stopped;
    if (rc == 0 && crew->early && !crew->live->interrupted) {
        rc = error_set(error, LS_EINTERNAL, 0, "a node was told to stop by another program");
    }
    return rc;
}

/* ---- ending ---- */

/* All leave and are waited for; by force where the run failed, or where they do not. */
static void end_nodes(struct crew *crew, bool failed)
{
    uint64_t limit_ns = live_now_ns() + LATE_NS;
    if (crew->go >= 0) {
        close(crew->go);
    }
    for (uint32_t i = 0; i < LIVE_NODES_MAX; i++) {
        while (crew->pids[i] > 0) {
            if (failed || live_now_ns() > limit_ns) {
                kill(crew->pids[i], SIGKILL);
            }
            if (waitpid(crew->pids[i], NULL, failed ? 0 : WNOHANG) != 0) {
                crew->pids[i] = 0;
            } else {
                poll(NULL, 0, 2);
            }
        }
    }
    if (crew->told >= 0) {
        close(crew->told);
    }
}

/* By time; of one node, in its own order. A receipt is later than its send by the same clock. */
static int compare_events(const void *a, const void *b)
{
    const struct scale_event *first = a;
    const struct scale_event *second = b;
    if (first->time_ns != second->time_ns) {
        return first->time_ns < second->time_ns ? -1 : 1;
    }
    if (first->node != second->node) {
        return first->node < second->node ? -1 : 1;
    }
    return first->seq < second->seq ? -1 : first->seq > second->seq;
}

int live_run(struct live *live, const struct live_options *options, struct ls_error *error)
{
    struct live_options own = *options;
    struct crew crew = {.options = &own, .live = live, .go = -1, .told = -1};

    *live = (struct live){0};
    int rc = check(options->scale, error);
    if (rc == 0 && own.url == NULL) {
        rc = live_server_start(&crew.server, error);
        own.url = crew.server.url;
        own.place = crew.server.url;
        own.connect = NULL; /* it has no password */
    }
    rc = rc == 0 ? start_nodes(&crew, error) : rc;
    rc = rc == 0 ? hear_all(&crew, error) : rc;
    end_nodes(&crew, rc != 0);
    live_server_stop(&crew.server);
    if (live->count > 0) {
        qsort(live->events, live->count, sizeof *live->events, compare_events);
        live->reached_ns = live->events[live->count - 1].time_ns;
    }
    if (!live->interrupted && rc == 0 && live->reached_ns < options->scale->duration_ns) {
        live->reached_ns = options->scale->duration_ns;
    }
    return rc;
}

void live_free(struct live *live)
{
    free(live->events);
    *live = (struct live){0};
}
