/* SPDX-License-Identifier: Apache-2.0 */
/* One node of a live run, from its joining to its leaving. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/clock.h"
#include "model/kernel_random.h"
#include "model/live.h"

#define NS_PER_MS    1000000
#define LOOK_MS      50 /* how soon a signal is noticed */
#define HOST_SIZE    24
#define HOST_FORMAT  "model-%06u" /* so that byte order is the order of the numbers */
#define PAYLOAD_SIZE 9
#define CBOR_BYTES_8 0x48 /* a string of eight bytes follows */

struct node {
    const struct live_options *options;
    ls *handle;
    struct kernel_random random;
    struct mail mail;
    struct mail_queue queue;
    uint32_t number;
    int told;
    uint64_t start_ns;
    uint64_t clock;
    uint64_t ticks;
    uint64_t messages;
    uint64_t lost;
    struct ls_error error;
};

uint64_t live_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SCALE_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t elapsed_ns(const struct node *node)
{
    uint64_t now = live_now_ns();
    return now > node->start_ns ? now - node->start_ns : 0;
}

/* A failure to tell means that the run is gone, which ends this process too. */
static void tell(const struct node *node, struct live_record *record)
{
    record->node = node->number;
    while (write(node->told, record, sizeof *record) < 0 && errno == EINTR) {
    }
}

static int library_failed(struct node *node)
{
    const ls_error *last = ls_last_error();
    node->error = *last;
    return last->code;
}

/* ---- mail ---- */

static int take_in(struct node *node, const ls_message *message)
{
    const uint8_t *object = message->object.data;
    char host[HOST_SIZE] = "";
    unsigned from = 0;

    size_t size = message->from.size < HOST_SIZE - 1 ? message->from.size : HOST_SIZE - 1;
    memcpy(host, message->from.data, size);
    if (message->object.size != PAYLOAD_SIZE || object[0] != CBOR_BYTES_8 ||
        sscanf(host, HOST_FORMAT, &from) != 1 || from == 0 ||
        from > node->options->scale->node_count) {
        return error_set(&node->error, LS_EINVAL, 0, "a message from %s is not of this run", host);
    }
    int rc = mail_put(&node->mail, &node->queue, get_be64(object + 1), from - 1);
    return rc == 0 ? 0 : error_code(&node->error, rc);
}

/* Takes mail in until `due_ns` after the start, and then what is there already. 1: stopped. */
static int wait_until(struct node *node, uint64_t due_ns)
{
    ls_message message;
    while (!*node->options->stopped) {
        uint64_t now_ns = elapsed_ns(node);
        uint64_t left_ns = now_ns < due_ns ? due_ns - now_ns : 0;
        int64_t wait_ms = (int64_t)(left_ns / NS_PER_MS);
        if (wait_ms == 0 && left_ns > 0) {
            struct timespec rest = {.tv_nsec = (long)left_ns};
            nanosleep(&rest, NULL);
        }
        int rc = ls_relay_next(node->handle, wait_ms < LOOK_MS ? wait_ms : LOOK_MS, &message);
        if (rc == LS_ETIMEOUT && wait_ms == 0) {
            return 0;
        }
        if (rc != 0 && rc != LS_ETIMEOUT) {
            return library_failed(node);
        }
        if (rc == 0 && take_in(node, &message) != 0) {
            return node->error.code;
        }
    }
    return 1;
}

/* ---- a tick ---- */

static int send_messages(struct node *node, struct scale_event *event)
{
    const struct scale *scale = node->options->scale;
    struct relay_targets targets = scale_route(scale, node->number, event->kind);
    uint8_t bytes[PAYLOAD_SIZE] = {CBOR_BYTES_8};
    put_be64(bytes + 1, event->clock);
    ls_payload payload = {LS_CBOR, bytes_of(bytes, sizeof bytes)};
    uint64_t wanted = 0;
    uint64_t handed_all = 0;
    size_t handed = 0;
    int rc = 0;

    for (size_t i = targets.first; i < targets.last && rc == 0; i++) {
        char host[HOST_SIZE];
        if (i == targets.skip) {
            continue;
        }
        uint32_t to = scale_peer(scale, node->number, (uint32_t)i);
        event->peer = event->kind != SCALE_BROADCAST ? to : SCALE_NO_NODE;
        wanted++;
        if (scale->peers > 0) {
            snprintf(host, sizeof host, HOST_FORMAT, to + 1);
            rc = ls_relay_to(node->handle, host, payload, &handed);
            handed_all += rc == 0 ? handed : 0;
        }
    }
    if (scale->peers == 0 && wanted > 0) {
        rc = event->kind == SCALE_BROADCAST
                 ? ls_relay_all(node->handle, payload, &handed)
                 : ls_relay_nth(node->handle, event->kind == SCALE_SEND_ONE ? 1 : 2, payload,
                                &handed);
        handed_all = handed;
    }
    if (rc != 0) {
        return library_failed(node);
    }
    node->messages += wanted;
    node->lost += wanted > handed_all ? wanted - handed_all : 0;
    return 0;
}

static int act(struct node *node, struct scale_event *event)
{
    int rc = clock_tick(&event->clock, 1, &node->error);
    if (rc != 0 || kernel_random_chance(&node->random, node->options->scale->internal)) {
        return rc;
    }
    event->kind = SCALE_SEND_ONE + (enum scale_kind)kernel_random_below(&node->random, 3);
    return send_messages(node, event);
}

static int tick(struct node *node)
{
    struct live_record record = {.kind = LIVE_TICK};
    struct scale_event *event = &record.event;
    int rc = 0;

    *event = (struct scale_event){.kind = SCALE_INTERNAL,
                                  .node = node->number,
                                  .peer = SCALE_NO_NODE,
                                  .seq = ++node->ticks,
                                  .time_ns = elapsed_ns(node),
                                  .clock = node->clock};
    if (node->queue.count > 0) {
        struct mail_message message = mail_take(&node->mail, &node->queue);
        event->kind = SCALE_RECEIVE;
        event->peer = message.from;
        event->peer_clock = message.clock;
        rc = clock_witness(&event->clock, message.clock, &node->error);
    } else {
        rc = act(node, event);
    }
    if (rc == 0) {
        event->jump = event->clock - node->clock;
        event->queue_length = node->queue.count;
        node->clock = event->clock;
        tell(node, &record);
    }
    return rc;
}

/* To the deadline, with the queue as it is then. 1: stopped before. */
static int run_ticks(struct node *node)
{
    const struct scale *scale = node->options->scale;
    const struct scale_node *pace = &scale->nodes[node->number];
    uint64_t due_ns = 0;
    uint64_t rest = 0;
    int rc = 0;

    while (rc == 0) {
        due_ns += pace->period_ns; /* exact, as in the virtual run */
        rest += pace->period_rest;
        if (rest >= pace->rate) {
            rest -= pace->rate;
            due_ns++;
        }
        bool over = due_ns > scale->duration_ns;
        rc = wait_until(node, over ? scale->duration_ns : due_ns);
        if (over) {
            break;
        }
        rc = rc == 0 ? tick(node) : rc;
    }
    return rc;
}

/* ---- a life ---- */

static int join(struct node *node)
{
    char host[HOST_SIZE];
    snprintf(host, sizeof host, HOST_FORMAT, node->number + 1);
    if (ls_open(&node->handle, node->options->url, node->options->connect) != 0 ||
        ls_node_join(node->handle, host, NULL, NULL) != 0) {
        return library_failed(node);
    }
    return 0;
}

/* Whether the number came; end of file is not one. */
static bool read_go(int go, uint64_t *number)
{
    ssize_t size = 0;
    do {
        size = read(go, number, sizeof *number);
    } while (size < 0 && errno == EINTR);
    return size == (ssize_t)sizeof *number;
}

int live_node_run(const struct live_options *options, uint32_t number, int go, int told)
{
    struct node node = {
        .options = options, .number = number, .told = told, .clock = options->scale->start_clock};
    struct live_record record = {.kind = LIVE_READY};
    uint64_t ignored;

    kernel_random_seed(&node.random, options->seed + number);
    int rc = join(&node);
    if (rc == 0) {
        tell(&node, &record);
        rc = read_go(go, &node.start_ns) ? run_ticks(&node) : 1;
    }
    record = (struct live_record){.kind = rc < 0 ? LIVE_FAILED : LIVE_END,
                                  .early = rc > 0,
                                  .waiting = node.queue.count,
                                  .messages = node.messages,
                                  .lost = node.lost,
                                  .error = node.error};
    tell(&node, &record);
    read_go(go, &ignored); /* the others still send by place: nobody leaves before all are done */
    if (node.handle != NULL && rc >= 0) {
        ls_node_leave(node.handle, NULL);
    }
    ls_close(node.handle);
    mail_free(&node.mail);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
