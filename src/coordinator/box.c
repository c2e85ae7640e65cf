/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message box: posts, and the discarding of its oldest part. What is discarded is always a
 * prefix in clock order, in small steps, and leaves its last clock and check behind.
 */
#include <assert.h>

#include "base/error.h"
#include "codec/clock.h"
#include "coordinator/read.h"
#include "coordinator/state.h"

/* Sequence number and room that a numbered post needs. */
static int producer_check(struct coordinator *c, struct request *request, struct producer *out)
{
    struct key key;
    ls_bytes value;
    key_producer(&key, request->as->id);
    *out = (struct producer){0};
    int rc = state_get(c, &key, &value);
    if (rc == 0) {
        rc = producer_decode(out, value, request->error);
    } else if (rc == LS_ENOTFOUND) {
        rc = 0;
    } else {
        error_code(request->error, rc);
    }
    if (rc < 0) {
        return rc;
    }
    uint64_t seq = request->in.post.seq;
    if (seq < out->seq || seq == 0) {
        return error_set(request->error, LS_EDUPLICATE, out->seq, "last=%llu",
                         (unsigned long long)out->seq);
    }
    if (seq - out->seq > 1) {
        return error_set(request->error, LS_ESEQGAP, out->seq, "last=%llu",
                         (unsigned long long)out->seq);
    }
    return 0;
}

static int producer_write(struct coordinator *c, struct request *request, uint64_t clock)
{
    struct key key;
    struct producer producer = {.seq = request->in.post.seq, .clock = clock};
    key_producer(&key, request->as->id);
    c->record.size = 0;
    int rc = producer_encode(&c->record, &producer, key_bytes(&key));
    if (rc < 0) {
        return error_code(request->error, rc);
    }
    return state_put(c, &key, buf_bytes(&c->record), false, request->error);
}

/* The destination: its name must be one, and its ID is added where it is registered. */
static int destination(struct coordinator *c, ls_bytes to, struct message *message,
                       struct ls_error *error)
{
    struct key key;
    ls_bytes value;
    int rc = key_node(&key, to, error);
    if (rc < 0) {
        return rc;
    }
    message->host = to;
    rc = state_get(c, &key, &value);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    if (rc < 0) {
        return error_code(error, rc);
    }
    struct node node;
    rc = node_decode(&node, value, error);
    if (rc == 0) {
        message->has_id = true;
        memcpy(message->id, node.id, sizeof(node.id));
    }
    return rc;
}

static bool event_fits(uint8_t type, uint8_t event)
{
    switch (type) {
    case LS_DATABASE:
    case LS_COLLECTION:
        return event == LS_CREATED || event == LS_UPDATED || event == LS_DELETED;
    default:
        return type == LS_USER;
    }
}

int box_post(struct coordinator *c, struct request *request)
{
    struct ls_error *error = request->error;
    uint8_t type = request->in.post.type, event = request->in.post.event;
    if (!event_fits(type, event)) {
        return error_set(error, LS_EINVAL, 0,
                         type == LS_OBJECT ? "only the store posts messages of type O"
                         : type == LS_DATABASE || type == LS_COLLECTION
                             ? "an event of type D or C is created, updated or deleted"
                             : "a type is database, collection or user");
    }
    struct message message = {.type = type, .event = event, .object = request->in.post.object};
    int rc = 0;
    if (request->as != NULL) {
        rc = node_verify(c, request->as, error);
        message.from = binding_host(request->as);
        message.has_from_id = true;
        memcpy(message.from_id, request->as->id, sizeof(message.from_id));
    } else if (request->in.post.has_seq) {
        rc = error_set(error, LS_ENOTJOINED, 0, "a numbered post needs a joined node");
    }
    if (rc == 0 && request->in.post.has_seq) {
        struct producer last;
        rc = producer_check(c, request, &last);
        if (rc == 0 && last.seq == request->in.post.seq) {
            request->clock = last.clock;
            return 0;
        }
    }
    if (rc == 0 && request->in.post.to.size > 0) {
        rc = destination(c, request->in.post.to, &message, error);
    }
    if (rc == 0) {
        rc = state_room(c, STORE_ROOM_ADD, request_weight(request), error);
    }
    if (rc == 0) {
        rc = request->in.post.has_clock
                 ? clock_witness(&c->now.clock, request->in.post.clock, error)
                 : clock_tick(&c->now.clock, 1, error);
    }
    if (rc == 0) {
        message.clock = request->clock = c->now.clock;
        rc = state_append(c, &message, error);
    }
    if (rc == 0 && request->in.post.has_seq) {
        rc = producer_write(c, request, message.clock);
    }
    return rc;
}

/* What discarding may take: what any of the limits says, each 0 where it is off. */
struct cut {
    uint64_t last;       /* nothing above this clock, but for keep_bytes */
    uint64_t before;     /* clocks below this */
    uint64_t older_ns;   /* timestamps below this */
    uint64_t keep_count; /* all but so many */
    uint64_t keep_bytes; /* all but so many bytes */
};

static bool cut_takes(const struct cut *cut, const struct state *now, const struct message *message)
{
    if (cut->keep_bytes != 0 && now->bytes > cut->keep_bytes) {
        return true;
    }
    if (message->clock > cut->last) {
        return false;
    }
    return message->clock < cut->before || (cut->keep_count != 0 && now->count > cut->keep_count) ||
           (cut->older_ns != 0 && message->timestamp_ns < cut->older_ns);
}

/* Discards a step of messages from the oldest on, as long as the cut takes them. */
static int discard(struct coordinator *c, struct request *request, const struct cut *cut)
{
    const struct store_driver *driver = c->store->driver;
    struct ls_error *error = request->error;
    struct key first;
    struct store_cursor *cursor;
    int rc = state_room(c, STORE_ROOM_FREE, MESSAGE_KEY_SIZE * TRIM_STEP, error);
    if (rc < 0) {
        return rc;
    }
    key_first(&first, KEY_MESSAGE);
    rc = driver->scan(c->txn, key_bytes(&first), (ls_bytes){NULL, 0}, false, &cursor, error);
    if (rc < 0) {
        return rc;
    }
    uint64_t taken = 0;
    uint64_t bytes = c->now.bytes;
    ls_bytes key, value;
    while ((rc = driver->next(cursor, &key, &value, error)) > 0) {
        struct message message;
        rc = message_decode(&message, value, error);
        if (rc < 0 || !cut_takes(cut, &c->now, &message)) {
            break;
        }
        if (taken == TRIM_STEP || bytes - c->now.bytes >= TRIM_STEP_BYTES) {
            request->again = true;
            break;
        }
        c->now.bytes -= key.size + value.size;
        c->now.count--;
        c->now.discarded = message.clock;
        c->now.discarded_chain = message.check;
        c->puts++;
        c->changed = true;
        rc = driver->drop(cursor, error);
        if (rc < 0) {
            c->broken = true;
            break;
        }
        taken++;
    }
    driver->scan_end(cursor);
    request->number += taken;
    return rc < 0 ? rc : 0;
}

int box_trim(struct coordinator *c, struct request *request)
{
    /* What is posted between its steps was posted after the trim. */
    if (request->clock == 0) {
        request->clock = c->now.newest;
    }
    struct cut cut = {.last = request->clock,
                      .before = request->in.trim.before,
                      .older_ns = request->in.trim.older_ns};
    return discard(c, request, &cut);
}

int box_retain(struct coordinator *c, struct request *request)
{
    const struct retention *keep = &request->in.retain.keep;
    struct cut cut = {.last = UINT64_MAX, .keep_count = keep->count, .keep_bytes = keep->bytes};
    uint64_t age_ns;
    if (keep->age_ms != 0 && !__builtin_mul_overflow(keep->age_ms, 1000000, &age_ns) &&
        age_ns < c->now_ns) {
        cut.older_ns = c->now_ns - age_ns;
    }
    if (keep->hold) {
        struct reading reading = {c->store, c->txn};
        struct node slowest;
        int rc = nodes_slowest(&reading, &slowest, request->error);
        if (rc < 0) {
            return rc;
        }
        if (rc > 0) {
            cut.last = slowest.clock;
        }
    }
    return discard(c, request, &cut);
}
