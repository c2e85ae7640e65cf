/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the clock, and what all commands that write share. */
#include <time.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "server/handlers.h"

#define COUNT_MAX ((uint64_t)1 << 20)

struct pending *write_new(struct call *call, enum request_kind kind, size_t bytes,
                          void (*answer)(struct pending *pending))
{
    struct pending *pending = queue_new(&call->server->queue, bytes);
    if (pending == NULL) {
        error_code(call->error, LS_ENOMEM);
        return NULL;
    }
    pending->server = call->server;
    pending->conn = call->conn;
    pending->answer = answer;
    pending->request.kind = kind;
    pending->request.as = call->conn->binding;
    return pending;
}

int write_add(struct call *call, struct pending *pending)
{
    conn_asked(call->conn, pending);
    queue_add(&call->server->queue, pending);
    return 0;
}

bool write_failed(struct pending *pending)
{
    const struct request *request = &pending->request;
    struct conn *conn = pending->conn;
    if (request->status == 0) {
        return false;
    }
    if (request->status == LS_ENOTJOINED && request->as == conn->binding) {
        nodes_unbind(&pending->server->nodes, conn);
    }
    answer_error(conn, request->error);
    return true;
}

void answer_change(struct pending *pending)
{
    if (!write_failed(pending)) {
        answer_clock(pending->conn, pending->request.clock);
    }
}

static int refuse_size(struct call *call, const char *what, uint64_t size_max)
{
    return error_set(call->error, LS_ETOOBIG, size_max, "%s may take at most %llu bytes", what,
                     (unsigned long long)size_max);
}

int payload_arg(struct call *call, size_t at, uint64_t size_max, ls_bytes *item)
{
    ls_bytes kind = call->argv[at];
    struct buf *scratch;
    struct ls_payload payload = {.kind = LS_CBOR};
    if (at + 1 >= call->argc) {
        return arg_refuse(call->error, kind, "CBOR, JSON or TEXT with a value behind it");
    }
    payload.bytes = call->argv[at + 1];
    int rc;
    if (arg_is(kind, "CBOR")) {
        *item = payload.bytes;
        rc = item->size > size_max ? 0 : cbor_check(*item, call->error);
    } else if (arg_is(kind, "JSON") || arg_is(kind, "TEXT")) {
        payload.kind = arg_is(kind, "JSON") ? LS_JSON : LS_TEXT;
        scratch = server_scratch(call->server);
        rc = payload_to_cbor(scratch, payload, call->error);
        *item = buf_bytes(scratch);
    } else {
        return arg_refuse(call->error, kind, "CBOR, JSON or TEXT with a value behind it");
    }
    if (rc == 0 && item->size > size_max) {
        rc = refuse_size(call, "the payload", size_max);
    }
    return rc;
}

int check_value(struct call *call, ls_bytes value)
{
    uint64_t size_max = call->server->config.object_max;
    return value.size > size_max ? refuse_size(call, "a value", size_max) : 0;
}

int command_clock_get(struct call *call)
{
    const struct box_state *box = reads_box(&call->server->reads, call->error);
    if (box == NULL) {
        return call->error->code;
    }
    answer_clock(call->conn, box->clock);
    return 0;
}

int command_clock_next(struct call *call)
{
    uint64_t count = 1;
    if (call->argc > 1) {
        int rc = arg_number(call->argv[1], "count", &count, call->error);
        if (rc != 0) {
            return rc;
        }
    }
    if (count < 1 || count > COUNT_MAX) {
        return error_set(call->error, LS_EINVAL, COUNT_MAX, "count must be from 1 to %llu",
                         (unsigned long long)COUNT_MAX);
    }
    struct pending *pending = write_new(call, REQUEST_CLOCK_NEXT, 0, answer_change);
    if (pending == NULL) {
        return call->error->code;
    }
    pending->request.in.clock_next.count = count;
    return write_add(call, pending);
}

int command_clock_witness(struct call *call)
{
    uint64_t seen;
    int rc = arg_number(call->argv[1], "the clock", &seen, call->error);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = write_new(call, REQUEST_CLOCK_WITNESS, 0, answer_change);
    if (pending == NULL) {
        return call->error->code;
    }
    pending->request.in.clock_witness.seen = seen;
    return write_add(call, pending);
}
