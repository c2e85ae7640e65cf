/* SPDX-License-Identifier: Apache-2.0 */
/* The relay: payloads handed straight to connected nodes. */
#include "codec/clock.h"
#include "resp/writer.h"
#include "server/handlers.h"

/* The frame in both versions of the protocol: they differ in the first byte, and for clocks that no
 * RESP integer holds. */
static int encode_relay(struct buf *out, int proto, ls_bytes from, uint64_t clock, ls_bytes payload)
{
    int rc = resp_push(out, proto, 4);
    rc = rc != 0 ? rc : resp_bulk_text(out, "relay");
    rc = rc != 0 ? rc : resp_bulk(out, from);
    rc = rc != 0 ? rc : resp_clock(out, proto, clock);
    return rc != 0 ? rc : resp_bulk(out, payload);
}

/* The order, from argv[1] on; *at goes behind it. */
static int parse_order(struct call *call, struct relay_order *order, size_t *at)
{
    ls_bytes word = call->argv[1];
    bool has_value = call->argc > 2;
    uint64_t nth = 0;
    int rc = 0;
    *at = 2;
    *order = (struct relay_order){.rule = RELAY_NTH, .nth = 1};
    if (arg_is(word, "SECOND")) {
        order->nth = 2;
    } else if (arg_is(word, "BROADCAST")) {
        order->rule = RELAY_BROADCAST;
    } else if (arg_is(word, "NTH") && has_value) {
        rc = arg_number(call->argv[(*at)++], "NTH", &nth, call->error);
        if (rc == 0 && (nth == 0 || nth > SIZE_MAX)) {
            rc = error_set(call->error, LS_EINVAL, 0, "NTH counts from 1");
        }
        order->nth = (size_t)nth;
    } else if (arg_is(word, "TO") && has_value) {
        order->rule = RELAY_TO;
        order->host = call->argv[(*at)++];
    } else if (!arg_is(word, "ONE")) {
        rc = arg_refuse(call->error, word, "ONE, SECOND, NTH n, TO host or BROADCAST");
    }
    return rc;
}

/* A carried clock is refused where one of a post would be: those who receive it witness it. */
static int parse_clock(struct call *call, size_t *at, uint64_t *clock)
{
    const struct box_state *box = reads_box(&call->server->reads, call->error);
    if (box == NULL) {
        return call->error->code;
    }
    *clock = box->clock;
    if (*at + 1 >= call->argc || !arg_is(call->argv[*at], "CLOCK")) {
        return 0;
    }
    uint64_t now = box->clock;
    int rc = arg_number(call->argv[*at + 1], "CLOCK", clock, call->error);
    *at += 2;
    return rc != 0 ? rc : clock_witness(&now, *clock, call->error);
}

/* Hands the frames to the members: returns how many took one. */
static int64_t hand_out(struct server *server, struct relay_targets targets,
                        const struct buf frames[2])
{
    int64_t taken = 0;
    for (size_t i = targets.first; i < targets.last; i++) {
        if (i == targets.skip) {
            continue;
        }
        struct conn *conn = server->nodes.star.members[i].who;
        const struct buf *frame = &frames[conn->proto == 3];
        if (!conn->closing && conn_waiting(conn) + frame->size <= server->config.output_max) {
            answer_raw(conn, buf_bytes(frame));
            taken++;
        }
    }
    server->stats.relayed += (uint64_t)taken;
    return taken;
}

int command_relay_send(struct call *call)
{
    struct server *server = call->server;
    struct relay_order order;
    size_t at;
    uint64_t clock = 0;
    ls_bytes payload = {0};
    int rc = parse_order(call, &order, &at);
    if (rc == 0) {
        rc = parse_clock(call, &at, &clock);
    }
    if (rc == 0 && at + 2 != call->argc) {
        rc = error_set(call->error, LS_EINVAL, 0,
                       "expected CBOR, JSON or TEXT and a value at the end");
    }
    if (rc == 0) {
        rc = payload_arg(call, at, server->config.message_max, &payload);
    }
    if (rc == 0) {
        rc = nodes_verify(server, call->conn, call->error);
    }
    if (rc != 0) {
        return rc;
    }
    ls_bytes from = binding_host(call->conn->binding);
    struct relay_targets targets = relay_route(&server->nodes.star, from, &order);
    struct buf frames[2] = {{0}, {0}};
    int64_t taken = 0;
    if (relay_target_count(targets) > 0) {
        rc = encode_relay(&frames[0], 2, from, clock, payload);
        rc = rc != 0 ? rc : encode_relay(&frames[1], 3, from, clock, payload);
        if (rc == 0) {
            taken = hand_out(server, targets, frames);
        }
    }
    buf_free(&frames[0]);
    buf_free(&frames[1]);
    if (rc != 0) {
        return error_code(call->error, rc);
    }
    answer_integer(call->conn, taken);
    return 0;
}
