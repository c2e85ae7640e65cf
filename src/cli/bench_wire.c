/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a benchmark. A batch is encoded once and sent again and again: only the digits
 * of its numbers are written anew, so that the load costs little more than its system calls.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/bench_plan.h"

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int fail(const struct wires *wires, const char *doing)
{
    return error_set(wires->error, LS_ECONN, 0, "%s: %s", doing, strerror(errno));
}

/* xorshift64*: keys need no better. */
static uint64_t next_random(struct wires *wires)
{
    uint64_t x = wires->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    wires->random = x;
    return (x * UINT64_C(0x2545f4914f6cdd1d)) >> 16;
}

static void place_digits(uint8_t *at, uint64_t value)
{
    for (int i = BENCH_DIGITS - 1; i >= 0; i--) {
        at[i] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

static void place_numbers(struct wires *wires, struct wire *wire, unsigned count)
{
    const struct bench_command *command = &wires->plan->command;
    for (unsigned i = 0; i < count && command->place_count > 0; i++) {
        uint8_t *copy = wire->out.data + i * command->bytes.size;
        for (size_t j = 0; j < command->place_count; j++) {
            place_digits(copy + command->places[j].offset,
                         command->places[j].sequence ? wires->sequence++
                                                     : next_random(wires) % wires->plan->keys);
        }
    }
}

static int set_up(struct wires *wires, struct talk *talk, const struct bench_command *setup)
{
    struct ls_error *error = wires->error;
    ls_bytes bytes = buf_bytes(&setup->bytes);
    if (send(talk->fd, bytes.data, bytes.size, MSG_NOSIGNAL) != (ssize_t)bytes.size) {
        return fail(wires, "the connection failed");
    }
    uint8_t byte;
    struct reply_counter counter = {0};
    struct reply_errors errors = {0};
    int64_t count = 0;
    /* Byte by byte, so that nothing that follows the reply is taken with it. */
    while (count == 0) {
        if (recv(talk->fd, &byte, 1, 0) != 1) {
            return fail(wires, "the server closed the connection");
        }
        count = replies_count(&counter, &byte, 1, &errors);
    }
    if (count < 0) {
        return error_set(error, LS_EPROTO, 0, "the server does not speak RESP");
    }
    return errors.count == 0 ? 0 : error_set(error, LS_EPROTO, 0, "%s", errors.first);
}

int wire_open(struct wires *wires, struct wire *wire, const struct bench_command *setup)
{
    const struct bench_plan *plan = wires->plan;
    struct talk talk;
    wire->fd = -1;
    for (unsigned i = 0; i < plan->pipeline; i++) {
        const struct buf *command = &plan->command.bytes;
        if (buf_append(&wire->out, command->data, command->size) != 0) {
            return error_code(wires->error, LS_ENOMEM);
        }
    }
    int rc = talk_open(&talk, &plan->endpoint, wires->error);
    if (rc != 0) {
        return rc;
    }
    rc = setup != NULL ? set_up(wires, &talk, setup) : 0;
    if (rc != 0) {
        talk_close(&talk);
        return rc;
    }
    wire->fd = talk_take(&talk);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = wire};
    if (epoll_ctl(wires->epoll, EPOLL_CTL_ADD, wire->fd, &event) != 0) {
        return fail(wires, "epoll");
    }
    return 0;
}

void wire_close(struct wire *wire)
{
    if (wire->fd >= 0) {
        close(wire->fd);
    }
    buf_free(&wire->out);
}

static int wait_for_room(struct wires *wires, struct wire *wire, bool blocked)
{
    if (wire->blocked == blocked) {
        return 0;
    }
    struct epoll_event event = {.events = EPOLLIN | (blocked ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = wire};
    wire->blocked = blocked;
    return epoll_ctl(wires->epoll, EPOLL_CTL_MOD, wire->fd, &event) == 0 ? 0 : fail(wires, "epoll");
}

int wire_resume(struct wires *wires, struct wire *wire)
{
    while (wire->out_offset < wire->out_size) {
        ssize_t sent = send(wire->fd, wire->out.data + wire->out_offset,
                            wire->out_size - wire->out_offset, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return wait_for_room(wires, wire, true);
        }
        if (sent < 0 && errno != EINTR) {
            return fail(wires, "the connection failed");
        }
        wire->out_offset += sent > 0 ? (size_t)sent : 0;
    }
    return wait_for_room(wires, wire, false);
}

int wire_send(struct wires *wires, struct wire *wire, unsigned count)
{
    place_numbers(wires, wire, count);
    wire->pending = count;
    wire->out_offset = 0;
    wire->out_size = count * wires->plan->command.bytes.size;
    wire->sent_ns = bench_now_ns();
    return wire_resume(wires, wire);
}

int wire_receive(struct wires *wires, struct wire *wire, uint8_t *room, size_t size,
                 uint64_t *ended)
{
    *ended = 0;
    ssize_t got = recv(wire->fd, room, size, 0);
    if (got == 0) {
        return error_set(wires->error, LS_ECONN, 0, "the server closed a connection");
    }
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : fail(wires, "a connection failed");
    }
    int64_t count = replies_count(&wire->counter, room, (size_t)got, &wires->result->errors);
    if (count < 0) {
        return error_set(wires->error, LS_EPROTO, 0, "the server does not speak RESP");
    }
    *ended = (uint64_t)count;
    return 0;
}
