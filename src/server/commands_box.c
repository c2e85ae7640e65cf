/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the message box. */
#include <time.h>

#include "codec/key.h"
#include "server/handlers.h"
#include "server/watch.h"

#define COUNT_STANDARD 100
#define PAYLOAD_HINT   "TO, CLOCK, SEQ, CBOR, JSON or TEXT"

/* ---- MSG.POST ---- */

struct post {
    uint8_t type;
    uint8_t event;
    bool has_clock;
    bool has_seq;
    uint64_t clock;
    uint64_t seq;
    ls_bytes to;
    ls_bytes object;
};

static int parse_type(struct call *call, struct post *post)
{
    int type = message_type_from_text(call->argv[1]);
    if (type < 0) {
        return arg_refuse(call->error, call->argv[1],
                          "a type: user (U), database (D) or collection (C)");
    }
    if (type == LS_OBJECT) {
        return error_set(call->error, LS_EINVAL, 0,
                         "only the store posts messages of type O: use OBJ.PUT and OBJ.DEL");
    }
    int event = message_event_from_text(call->argv[2], (uint8_t)type);
    if (event < 0) {
        return arg_refuse(call->error, call->argv[2],
                          type == LS_USER ? "an event: one byte, or - for none"
                                          : "an event: created (C), updated (U) or deleted (D)");
    }
    post->type = (uint8_t)type;
    post->event = (uint8_t)event;
    return 0;
}

/* The options and the payload behind type and event. */
static int parse_post(struct call *call, struct post *post)
{
    size_t at = 3;
    int rc = parse_type(call, post);
    while (rc == 0 && at + 2 < call->argc) {
        ls_bytes word = call->argv[at];
        ls_bytes value = call->argv[at + 1];
        if (arg_is(word, "TO")) {
            post->to = value;
            rc = key_check_host(value, call->error);
        } else if (arg_is(word, "CLOCK")) {
            post->has_clock = true;
            rc = arg_number(value, "CLOCK", &post->clock, call->error);
        } else if (arg_is(word, "SEQ")) {
            post->has_seq = true;
            rc = arg_number(value, "SEQ", &post->seq, call->error);
        } else {
            rc = arg_refuse(call->error, word, PAYLOAD_HINT);
        }
        at += 2;
    }
    if (rc == 0 && at + 2 != call->argc) {
        rc = error_set(call->error, LS_EINVAL, 0,
                       "a payload is missing: expected CBOR, JSON or TEXT and a value at the end");
    }
    if (rc == 0 && post->has_seq && call->conn->binding == NULL) {
        rc = error_set(call->error, LS_ENOTJOINED, 0, "SEQ needs a joined node: join first");
    }
    return rc != 0 ? rc : payload_arg(call, at, call->server->config.message_max, &post->object);
}

int command_msg_post(struct call *call)
{
    struct post post = {0};
    int rc = parse_post(call, &post);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending =
        write_new(call, REQUEST_POST, post.object.size + post.to.size, answer_change);
    if (pending == NULL) {
        return call->error->code;
    }
    struct request *request = &pending->request;
    request->in.post.type = post.type;
    request->in.post.event = post.event;
    request->in.post.has_clock = post.has_clock;
    request->in.post.has_seq = post.has_seq;
    request->in.post.clock = post.clock;
    request->in.post.seq = post.seq;
    request->in.post.object = queue_copy(pending, post.object);
    request->in.post.to = queue_copy(pending, post.to);
    return write_add(call, pending);
}

/* ---- MSG.READ, MSG.WATCH ---- */

/* A clock, `-` for the oldest kept, or `$` for what comes after the newest. */
static int parse_from(struct call *call, uint64_t *from)
{
    ls_bytes text = call->argv[1];
    bool oldest = bytes_equal(text, bytes_of_text("-"));
    if (!oldest && !bytes_equal(text, bytes_of_text("$"))) {
        int rc = arg_number(text, "a clock", from, call->error);
        return rc == 0 ? 0
                       : arg_refuse(call->error, text,
                                    "a clock, - for the oldest kept or $ for after the newest");
    }
    const struct box_state *box = reads_box(&call->server->reads, call->error);
    if (box == NULL) {
        return call->error->code;
    }
    *from = (oldest ? box->discarded : box->newest) + 1;
    return 0;
}

static int parse_types(ls_bytes letters, char types[5], struct ls_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < letters.size; i++) {
        char c = ((const char *)letters.data)[i];
        char letter = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        if (letter == '\0' || strchr("ODCU", letter) == NULL) {
            return arg_refuse(error, letters, "TYPE with letters of O, D, C and U");
        }
        if (strchr(types, letter) == NULL) {
            types[count++] = letter;
        }
    }
    if (count == 0) {
        return arg_refuse(error, letters, "TYPE with letters of O, D, C and U");
    }
    return 0;
}

/* An option that has a value. `watch`: without those that only MSG.READ takes. */
static int parse_option(struct call *call, size_t at, bool watch, struct read_order *order)
{
    ls_bytes word = call->argv[at];
    ls_bytes value = call->argv[at + 1];
    if (arg_is(word, "TYPE")) {
        return parse_types(value, order->filter.types, call->error);
    }
    if (arg_is(word, "FOR")) {
        order->filter.has_for = true;
        order->filter.host = value;
        return key_check_host(value, call->error);
    }
    if (arg_is(word, "KEY")) {
        order->filter.has_key = true;
        order->filter.prefix = value;
        return 0;
    }
    if (!watch && arg_is(word, "COUNT")) {
        return arg_number(value, "COUNT", &order->count, call->error);
    }
    if (!watch && arg_is(word, "BLOCK")) {
        order->block = true;
        return arg_number(value, "BLOCK", &order->block_ms, call->error);
    }
    return arg_refuse(call->error, word,
                      watch ? "TYPE, FOR, KEY or JSON" : "COUNT, TYPE, FOR, KEY, BLOCK or JSON");
}

static int parse_order(struct call *call, bool watch, struct read_order *order)
{
    *order = (struct read_order){.count = COUNT_STANDARD};
    int rc = parse_from(call, &order->from);
    for (size_t at = 2; rc == 0 && at < call->argc;) {
        if (arg_is(call->argv[at], "JSON")) {
            order->json = true;
            at++;
        } else if (at + 1 < call->argc) {
            rc = parse_option(call, at, watch, order);
            at += 2;
        } else {
            rc = arg_refuse(call->error, call->argv[at],
                            watch ? "TYPE, FOR or KEY with a value, or JSON"
                                  : "COUNT, TYPE, FOR, KEY or BLOCK with a value, or JSON");
        }
    }
    return rc;
}

int command_msg_read(struct call *call)
{
    struct read_order order;
    int rc = parse_order(call, false, &order);
    return rc != 0 ? rc : read_begin(call->conn, &order, call->error);
}

int command_msg_watch(struct call *call)
{
    struct conn *conn = call->conn;
    struct read_order order;
    if (conn->box_watch != NULL) {
        return error_set(call->error, LS_EINVAL, 0,
                         "this connection watches the box already: MSG.UNWATCH first");
    }
    int rc = parse_order(call, true, &order);
    if (rc != 0) {
        return rc;
    }
    struct reading *reading = reads_get(&call->server->reads, call->error);
    struct box_cursor cursor;
    if (reading == NULL) {
        return call->error->code;
    }
    rc = box_open(&cursor, reading, order.from, NULL, call->error);
    if (rc != 0) {
        return rc;
    }
    box_end(&cursor);
    rc = box_watch_begin(conn, order.from, &order.filter, order.json);
    if (rc != 0) {
        return error_code(call->error, rc);
    }
    answer_clock(conn, order.from);
    return 0;
}

int command_msg_unwatch(struct call *call)
{
    box_watch_end(call->conn);
    answer_ok(call->conn);
    return 0;
}

/* ---- MSG.INFO, MSG.TRIM ---- */

int command_msg_info(struct call *call)
{
    struct server *server = call->server;
    const struct box_state *box = reads_box(&server->reads, call->error);
    if (box == NULL) {
        return call->error->code;
    }
    struct node slowest;
    int held = 0;
    if (server->config.retention_hold) {
        held = nodes_slowest(&server->reads.reading, &slowest, call->error);
        if (held < 0) {
            return held;
        }
    }
    struct conn *conn = call->conn;
    answer_map(conn, held > 0 ? 7 : 5);
    answer_text(conn, "oldest");
    answer_clock(conn, box->oldest);
    answer_text(conn, "newest");
    answer_clock(conn, box->newest);
    answer_text(conn, "count");
    answer_clock(conn, box->count);
    answer_text(conn, "bytes");
    answer_clock(conn, box->bytes);
    answer_text(conn, "watchers");
    answer_integer(conn, (int64_t)server->box_watch_count);
    if (held > 0) {
        answer_text(conn, "held-by");
        answer_bulk(conn, slowest.host);
        answer_text(conn, "held-from");
        answer_clock(conn, slowest.clock + 1);
    }
    return 0;
}

static void answer_trim(struct pending *pending)
{
    if (!write_failed(pending)) {
        pending->server->stats.discarded += pending->request.number;
        answer_integer(pending->conn, (int64_t)pending->request.number);
    }
}

int command_msg_trim(struct call *call)
{
    bool before = arg_is(call->argv[1], "BEFORE");
    if (!before && !arg_is(call->argv[1], "OLDER")) {
        return arg_refuse(call->error, call->argv[1], "BEFORE clock, or OLDER ms");
    }
    uint64_t value;
    int rc = arg_number(call->argv[2], before ? "BEFORE" : "OLDER", &value, call->error);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = write_new(call, REQUEST_TRIM, 0, answer_trim);
    if (pending == NULL) {
        return call->error->code;
    }
    if (before) {
        pending->request.in.trim.before = value;
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        bool all_of_time = value >= now_ns / 1000000;
        pending->request.in.trim.older_ns = all_of_time ? 1 : now_ns - value * 1000000;
    }
    return write_add(call, pending);
}
