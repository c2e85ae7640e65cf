/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's transaction: what is known of the store is carried from one commit to the next
 * and read again only where another process wrote in between. A refused request leaves no trace.
 */
#include "coordinator/coordinator.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "codec/clock.h"
#include "coordinator/layout.h"
#include "coordinator/read.h"
#include "coordinator/state.h"

/* What a message takes beyond its texts and its object. */
#define MESSAGE_OVERHEAD 256

int state_put(struct coordinator *c, const struct key *key, ls_bytes value, bool append,
              struct ls_error *error)
{
    int rc = c->store->driver->put(c->txn, key_bytes(key), value, append, error);
    c->puts++;
    c->changed = true;
    if (rc < 0) {
        c->broken = true;
    }
    return rc;
}

int state_del(struct coordinator *c, const struct key *key, struct ls_error *error)
{
    int rc = c->store->driver->del(c->txn, key_bytes(key), error);
    c->puts++;
    c->changed = true;
    if (rc < 0 && rc != LS_ENOTFOUND) {
        c->broken = true;
    }
    return rc;
}

int state_get(struct coordinator *c, const struct key *key, ls_bytes *value)
{
    return c->store->driver->get(c->txn, key_bytes(key), value);
}

int state_room(struct coordinator *c, enum store_room room, size_t bytes, struct ls_error *error)
{
    return c->store->driver->room(c->txn, room, bytes, error);
}

int state_append(struct coordinator *c, struct message *message, struct ls_error *error)
{
    assert(message->clock > c->now.newest);
    message->timestamp_ns = c->now_ns;
    c->record.size = 0;
    int rc = message_encode(&c->record, message, c->now.chain);
    if (rc < 0) {
        return error_code(error, rc);
    }
    struct key key;
    key_message(&key, message->clock, message->type);
    rc = state_put(c, &key, buf_bytes(&c->record), true, error);
    if (rc < 0) {
        return rc;
    }
    c->now.newest = message->clock;
    c->now.chain = message->check;
    c->now.count++;
    c->now.bytes += key.size + c->record.size;
    return 0;
}

int state_tell(struct coordinator *c, const struct key *key, const struct buf *value,
               uint64_t previous, const struct binding *as, uint64_t clock, struct ls_error *error)
{
    struct change change = {.key = key_bytes(key), .previous = previous};
    if (value != NULL) {
        change.value = buf_bytes(value);
        change.has_value = true;
    }
    c->change.size = 0;
    int rc = change_encode(&c->change, &change);
    if (rc < 0) {
        return error_code(error, rc);
    }
    struct message message = {.clock = clock,
                              .type = LS_OBJECT,
                              .event = value == NULL   ? LS_DELETED
                                       : previous == 0 ? LS_CREATED
                                                       : LS_UPDATED,
                              .object = buf_bytes(&c->change)};
    if (as != NULL) {
        message.from = binding_host(as);
        message.has_from_id = true;
        memcpy(message.from_id, as->id, sizeof(as->id));
    }
    return state_append(c, &message, error);
}

int control_read(struct store *store, struct store_txn *txn, const char *name,
                 const char *const *fields, struct control *out, struct ls_error *error)
{
    struct key key;
    ls_bytes value;
    *out = (struct control){{0}};
    int rc = key_control(&key, bytes_of_text(name));
    assert(rc == 0);
    rc = store->driver->get(txn, key_bytes(&key), &value);
    if (rc == LS_ENOTFOUND) {
        return rc;
    }
    if (rc < 0) {
        return error_set(error, rc, 0, "the control record '%s' cannot be read", name);
    }
    struct ls_error detail;
    if (control_decode(out, value, fields, &detail) < 0 ||
        record_verify(value, key_bytes(&key), &detail) < 0) {
        return error_set(error, LS_ECORRUPT, 0, "the control record '%s' is damaged: %s", name,
                         detail.text);
    }
    return 0;
}

int control_write(struct coordinator *c, const char *name, const char *const *fields,
                  const struct control *control, struct ls_error *error)
{
    struct key key;
    int rc = key_control(&key, bytes_of_text(name));
    assert(rc == 0);
    c->record.size = 0;
    rc = control_encode(&c->record, control, fields, key_bytes(&key));
    if (rc < 0) {
        return error_code(error, rc);
    }
    return state_put(c, &key, buf_bytes(&c->record), false, error);
}

/* Reads what lies under C. */
static int state_load(struct coordinator *c, struct store_txn *txn, struct state *out,
                      struct ls_error *error)
{
    struct control clock, box, discarded;
    int rc = control_read(c->store, txn, CONTROL_CLOCK, control_clock_fields, &clock, error);
    if (rc == 0) {
        rc = control_read(c->store, txn, CONTROL_BOX, control_box_fields, &box, error);
    }
    if (rc == 0) {
        rc = control_read(c->store, txn, CONTROL_DISCARDED, control_discarded_fields, &discarded,
                          error);
    }
    if (rc == LS_ENOTFOUND) {
        return error_set(error, LS_ECORRUPT, 0, "a control record is missing");
    }
    if (rc < 0) {
        return rc;
    }
    *out = (struct state){.clock = clock.value[0],
                          .live = box.value[BOX_LIVE],
                          .count = box.value[BOX_COUNT],
                          .bytes = box.value[BOX_BYTES],
                          .newest = box.value[BOX_NEWEST],
                          .chain = box.value[BOX_CHAIN],
                          .discarded = discarded.value[DISCARDED_CLOCK],
                          .discarded_chain = discarded.value[DISCARDED_CHAIN]};
    return 0;
}

/* Writes under C what this transaction changed. */
static int state_store(struct coordinator *c, bool all, struct ls_error *error)
{
    const struct state *now = &c->now, *known = &c->known;
    int rc = 0;
    if (all || now->clock != known->clock) {
        struct control clock = {{now->clock}};
        rc = control_write(c, CONTROL_CLOCK, control_clock_fields, &clock, error);
    }
    if (rc == 0 && (all || now->newest != known->newest || now->count != known->count ||
                    now->live != known->live)) {
        struct control box = {{now->live, now->bytes, now->chain, now->count, now->newest}};
        rc = control_write(c, CONTROL_BOX, control_box_fields, &box, error);
    }
    if (rc == 0 && (all || now->discarded != known->discarded)) {
        struct control discarded = {{now->discarded_chain, now->discarded}};
        rc = control_write(c, CONTROL_DISCARDED, control_discarded_fields, &discarded, error);
    }
    return rc;
}

/* The newest message must be the one that the box record tells of, and not above the clock. */
static int state_check_newest(struct coordinator *c, struct store_txn *txn,
                              const struct state *state, struct ls_error *error)
{
    struct key first;
    struct store_cursor *cursor;
    ls_bytes key, value;
    key_first(&first, KEY_MESSAGE);
    int rc =
        c->store->driver->scan(txn, key_bytes(&first), (ls_bytes){NULL, 0}, true, &cursor, error);
    if (rc < 0) {
        return rc;
    }
    rc = c->store->driver->next(cursor, &key, &value, error);
    if (rc > 0) {
        struct key_parts parts;
        struct message message;
        struct ls_error detail;
        if (key_decode(&parts, key, &detail) < 0 || message_decode(&message, value, &detail) < 0) {
            rc = error_set(error, LS_ECORRUPT, 0, "the newest message is damaged: %s", detail.text);
        } else if (parts.clock > state->clock) {
            rc = error_set(error, LS_ECORRUPT, state->clock,
                           "the clock, %llu, is behind the newest message, %llu",
                           (unsigned long long)state->clock, (unsigned long long)parts.clock);
        } else if (parts.clock != state->newest || message.check != state->chain) {
            rc = error_set(error, LS_ECORRUPT, parts.clock,
                           "the newest message, %llu, is not the one recorded, %llu",
                           (unsigned long long)parts.clock, (unsigned long long)state->newest);
        } else {
            rc = 0;
        }
    } else if (rc == 0 && state->count != 0) {
        rc = error_set(error, LS_ECORRUPT, 0, "%llu messages are missing",
                       (unsigned long long)state->count);
    }
    c->store->driver->scan_end(cursor);
    return rc;
}

/* Reads the format: 1 where the store has one that is known, 0 where it is new. */
static int format_check(struct coordinator *c, struct store_txn *txn, struct ls_error *error)
{
    struct control format;
    int rc = control_read(c->store, txn, CONTROL_FORMAT, control_format_fields, &format, error);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    if (format.value[0] != COORDINATOR_FORMAT) {
        return error_set(error, LS_EFORMAT, format.value[0],
                         "the store has format %llu; this version knows format %d",
                         (unsigned long long)format.value[0], COORDINATOR_FORMAT);
    }
    return 1;
}

/* Lays the control records of a new store; another process may have been quicker. */
static int format_create(struct coordinator *c, struct ls_error *error)
{
    int rc = c->store->driver->begin(c->store, STORE_WRITE, &c->txn, error);
    if (rc < 0) {
        return rc;
    }
    rc = format_check(c, c->txn, error);
    if (rc == 0) {
        struct control format = {{COORDINATOR_FORMAT}};
        rc = control_write(c, CONTROL_FORMAT, control_format_fields, &format, error);
        if (rc == 0) {
            rc = state_store(c, true, error);
        }
        if (rc == 0) {
            struct store_txn *txn = c->txn;
            c->txn = NULL;
            return c->store->driver->commit(txn, error);
        }
    }
    c->store->driver->abort(c->txn);
    c->txn = NULL;
    return rc < 0 ? rc : 0;
}

int coordinator_open(struct coordinator **out, struct store *store, struct ls_error *error)
{
    struct coordinator *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    c->store = store;
    struct store_txn *txn;
    int rc = store->driver->begin(store, STORE_READ, &txn, error);
    if (rc < 0) {
        goto fail;
    }
    rc = format_check(c, txn, error);
    if (rc == 0) {
        store->driver->abort(txn);
        rc = format_create(c, error);
        if (rc == 0) {
            rc = store->driver->begin(store, STORE_READ, &txn, error);
        }
        if (rc < 0) {
            goto fail;
        }
    }
    if (rc >= 0) {
        rc = state_load(c, txn, &c->now, error);
    }
    if (rc == 0) {
        rc = state_check_newest(c, txn, &c->now, error);
    }
    store->driver->abort(txn);
    if (rc < 0) {
        goto fail;
    }
    c->changed = false;
    atomic_store(&c->clock, c->now.clock);
    if (c->now.live == CONTROL_ABSENT) {
        rc = live_lay(c, error);
        if (rc < 0) {
            goto fail;
        }
    }
    *out = c;
    return 0;
fail:
    coordinator_close(c);
    return rc;
}

void coordinator_close(struct coordinator *c)
{
    if (c == NULL) {
        return;
    }
    assert(c->txn == NULL);
    buf_free(&c->record);
    buf_free(&c->change);
    buf_free(&c->value);
    free(c);
}

static int begin(struct coordinator *c, enum store_mode mode, uint64_t now_ns,
                 struct ls_error *error)
{
    assert(c->txn == NULL);
    int rc = c->store->driver->begin(c->store, mode, &c->txn, error);
    if (rc < 0) {
        return rc;
    }
    uint64_t number = c->store->driver->number(c->txn);
    if (c->known_number == 0 || number != c->known_number + 1) {
        /* Somebody else wrote since: nothing that we remember can be trusted. */
        memset(c->verified, 0, sizeof(c->verified));
        c->reloads++;
        rc = state_load(c, c->txn, &c->known, error);
        if (rc < 0) {
            c->known_number = 0;
            c->store->driver->abort(c->txn);
            c->txn = NULL;
            return rc;
        }
        c->known_number = number - 1;
    }
    c->now = c->known;
    c->now_ns = now_ns;
    c->broken = false;
    c->changed = false;
    c->extended = false;
    return 0;
}

int coordinator_begin(struct coordinator *c, uint64_t now_ns, struct ls_error *error)
{
    return begin(c, STORE_WRITE, now_ns, error);
}

int coordinator_begin_ahead(struct coordinator *c, uint64_t now_ns, struct ls_error *error)
{
    bool can = c->store->driver->submit != NULL;
    return begin(c, can ? STORE_AHEAD : STORE_WRITE, now_ns, error);
}

static int clock_give(struct coordinator *c, struct request *request)
{
    uint64_t count = request->in.clock_next.count;
    if (request->kind == REQUEST_CLOCK_NEXT && (count == 0 || count > CLOCK_NEXT_MAX)) {
        return error_set(request->error, LS_EINVAL, CLOCK_NEXT_MAX,
                         "the count of clock values is 1 to %d", CLOCK_NEXT_MAX);
    }
    int rc = state_room(c, STORE_ROOM_DELETE, MESSAGE_OVERHEAD, request->error);
    if (rc < 0) {
        return rc;
    }
    if (request->kind == REQUEST_CLOCK_NEXT) {
        uint64_t before = c->now.clock;
        rc = clock_tick(&c->now.clock, count, request->error);
        request->clock = before + 1;
    } else {
        rc = clock_witness(&c->now.clock, request->in.clock_witness.seen, request->error);
        request->clock = c->now.clock;
    }
    c->changed = true;
    return rc;
}

int coordinator_epoch(struct coordinator *c, uint64_t *out, struct ls_error *error)
{
    struct control epoch;
    int rc = state_room(c, STORE_ROOM_DELETE, MESSAGE_OVERHEAD, error);
    if (rc < 0) {
        return rc;
    }
    rc = control_read(c->store, c->txn, CONTROL_EPOCH, control_epoch_fields, &epoch, error);
    if (rc < 0 && rc != LS_ENOTFOUND) {
        return rc;
    }
    *out = ++epoch.value[0];
    return control_write(c, CONTROL_EPOCH, control_epoch_fields, &epoch, error);
}

/* The first request of the extension in a transaction begins it. Where it cannot, the transaction
 * is of no use to anybody. */
static int extension_apply(struct coordinator *c, struct request *request)
{
    if (c->extension == NULL) {
        return error_set(request->error, LS_EINVAL, 0, "unknown kind of request");
    }
    if (!c->extended) {
        c->extended = true;
        int rc = c->extension->begin(c->extension->context, c, request->error);
        if (rc < 0) {
            c->broken = true;
            return rc;
        }
    }
    return c->extension->apply(c->extension->context, c, request);
}

static void extension_settled(struct coordinator *c, bool committed)
{
    if (c->extended) {
        c->extended = false;
        c->extension->settled(c->extension->context, c, committed);
    }
}

static int dispatch(struct coordinator *c, struct request *request)
{
    switch (request->kind) {
    case REQUEST_POST:
        return box_post(c, request);
    case REQUEST_CLOCK_NEXT:
    case REQUEST_CLOCK_WITNESS:
        return clock_give(c, request);
    case REQUEST_TRIM:
        return box_trim(c, request);
    case REQUEST_RETAIN:
        return box_retain(c, request);
    case REQUEST_EPOCH:
        return coordinator_epoch(c, &request->clock, request->error);
    case REQUEST_NODE_JOIN:
        return node_join(c, request);
    case REQUEST_NODE_STATE:
        return node_set_state(c, request);
    case REQUEST_NODE_LEAVE:
        return node_leave(c, request);
    case REQUEST_NODE_ACK:
        return node_ack(c, request);
    case REQUEST_NODE_BEAT:
        return node_beat(c, request);
    case REQUEST_NODE_EXPIRE:
        return node_expire(c, request);
    case REQUEST_OBJECT_PUT:
        return object_put(c, request);
    case REQUEST_OBJECT_DEL:
        return object_del(c, request);
    case REQUEST_OBJECT_TXN:
        return object_txn(c, request);
    case REQUEST_EXTENSION:
        return extension_apply(c, request);
    }
    return error_set(request->error, LS_EINVAL, 0, "unknown kind of request");
}

int coordinator_apply(struct coordinator *c, struct request *request)
{
    assert(c->txn != NULL && !c->broken && request->error != NULL);
    uint64_t clock = c->now.clock; /* the rest changes only with puts */
    bool changed = c->changed;
    c->puts = 0;
    request->again = false;
    request->parked = false;
    request->status = dispatch(c, request);
    if (request->status < 0) {
        request->again = false;
        request->parked = false;
        if (c->puts > 0) {
            c->broken = true;
        } else {
            c->now.clock = clock;
            c->changed = changed;
        }
    }
    return request->status;
}

void coordinator_approach(struct coordinator *c, const struct request *request, unsigned ahead)
{
    if (request->kind == REQUEST_EXTENSION && c->extended && c->extension->approach != NULL) {
        c->extension->approach(c->extension->context, request, ahead);
    }
}

bool coordinator_broken(const struct coordinator *c)
{
    return c->broken;
}

/* Puts all that is left to be put. After a failure the transaction is over. */
static int conclude(struct coordinator *c, struct ls_error *error)
{
    assert(c->txn != NULL && !c->broken);
    int rc = c->extended ? c->extension->end(c->extension->context, c, error) : 0;
    if (rc == 0 && c->changed) {
        rc = state_store(c, false, error);
    }
    if (rc < 0) {
        coordinator_abort(c);
    }
    return rc;
}

/* The transaction, which changed nothing, is over. */
static void leave(struct coordinator *c)
{
    extension_settled(c, true);
    coordinator_abort(c);
}

static void publish_clock(struct coordinator *c, uint64_t clock)
{
    if (clock > coordinator_clock(c)) {
        atomic_store_explicit(&c->clock, clock, memory_order_release);
    }
}

static void add_flight(struct coordinator *c, bool empty)
{
    assert(c->flight_count < STORE_FLIGHTS_MAX);
    c->flights[c->flight_count++] = (struct flight){.clock = c->now.clock, .empty = empty};
}

/* By the driver's commit, or its submit; what it returned. */
static int settle(struct coordinator *c, bool submit, void (*notify)(void *context), void *context,
                  struct ls_error *error)
{
    const struct store_driver *driver = c->store->driver;
    struct store_txn *txn = c->txn;
    uint64_t number = driver->number(txn);
    c->txn = NULL;
    int rc = submit ? driver->submit(txn, notify, context, error) : driver->commit(txn, error);
    if (rc < 0) {
        c->known_number = 0;
        extension_settled(c, false);
        return rc;
    }
    if (c->changed) {
        c->known = c->now;
        c->known_number = number;
    }
    extension_settled(c, true);
    if (submit && rc == 0) {
        add_flight(c, false);
    } else {
        publish_clock(c, c->now.clock);
    }
    return rc;
}

int coordinator_commit(struct coordinator *c, struct ls_error *error)
{
    int rc = conclude(c, error);
    if (rc == 0 && !c->changed) {
        leave(c);
        return 0;
    }
    return rc < 0 ? rc : settle(c, false, NULL, NULL, error);
}

int coordinator_submit(struct coordinator *c, void (*notify)(void *context), void *context,
                       struct ls_error *error)
{
    int rc = conclude(c, error);
    if (rc < 0) {
        return rc;
    }
    bool can_wait = c->store->driver->submit != NULL &&
                    (!c->extended || c->extension->can_wait(c->extension->context));
    if (!c->changed && (can_wait || c->flight_count == 0)) {
        bool alone = c->flight_count == 0;
        leave(c);
        if (!alone) { /* what it saw is not committed yet */
            add_flight(c, true);
        }
        return alone;
    }
    rc = settle(c, can_wait, notify, context, error);
    return rc < 0 || can_wait ? rc : 1;
}

/* Whether the oldest is committed: 1, 0 where that is not known yet, or why it is not. */
static int oldest_flight(struct coordinator *c, bool wait, struct ls_error *error)
{
    const struct flight *oldest = &c->flights[0];
    if (oldest->empty) {
        return oldest->lost ? error_code(error, LS_ERETRY) : 1;
    }
    return c->store->driver->finish(c->store, wait, error);
}

int coordinator_finish(struct coordinator *c, bool wait, struct ls_error *error)
{
    assert(c->txn == NULL);
    int rc = c->flight_count == 0 ? 0 : oldest_flight(c, wait, error);
    if (rc == 0) {
        return 0;
    }
    uint64_t clock = c->flights[0].clock;
    c->flight_count--;
    memmove(c->flights, c->flights + 1, c->flight_count * sizeof(c->flights[0]));
    if (rc > 0) {
        publish_clock(c, clock);
        return 1;
    }
    for (unsigned i = 0; i < c->flight_count; i++) {
        c->flights[i].lost = true;
    }
    c->known_number = 0;
    memset(c->verified, 0, sizeof(c->verified));
    if (c->extension != NULL) {
        c->extension->lost(c->extension->context);
    }
    return rc;
}

void coordinator_abort(struct coordinator *c)
{
    assert(c->txn != NULL);
    c->store->driver->abort(c->txn);
    c->txn = NULL;
    memset(c->verified, 0, sizeof(c->verified));
    extension_settled(c, false);
}

void coordinator_extend(struct coordinator *c, const struct extension *extension)
{
    assert(c->txn == NULL && c->extension == NULL);
    c->extension = extension;
}

const struct extension *coordinator_extension(const struct coordinator *c)
{
    return c->extension;
}

struct store *coordinator_store(const struct coordinator *c)
{
    return c->store;
}

struct store_txn *coordinator_txn(const struct coordinator *c)
{
    return c->txn;
}

int coordinator_earlier(struct coordinator *c, struct store_txn **out, struct ls_error *error)
{
    const struct store_driver *driver = c->store->driver;
    if (driver->earlier == NULL) {
        *out = c->txn;
        return 0;
    }
    return driver->earlier(c->txn, out, error);
}

uint64_t coordinator_now_ns(const struct coordinator *c)
{
    return c->now_ns;
}

uint64_t coordinator_reloads(const struct coordinator *c)
{
    return c->reloads;
}

uint64_t coordinator_clock_here(const struct coordinator *c)
{
    return c->now.clock;
}

int coordinator_tick(struct coordinator *c, uint64_t *out, struct ls_error *error)
{
    int rc = clock_tick(&c->now.clock, 1, error);
    if (rc == 0) {
        c->changed = true;
        *out = c->now.clock;
    }
    return rc;
}

int coordinator_room(struct coordinator *c, enum store_room room, size_t bytes,
                     struct ls_error *error)
{
    return state_room(c, room, bytes, error);
}

int coordinator_put(struct coordinator *c, const struct key *key, ls_bytes value,
                    struct ls_error *error)
{
    return state_put(c, key, value, false, error);
}

int coordinator_append(struct coordinator *c, const struct key *key, ls_bytes value,
                       struct ls_error *error)
{
    return state_put(c, key, value, true, error);
}

int coordinator_del(struct coordinator *c, const struct key *key, struct ls_error *error)
{
    return state_del(c, key, error);
}

int coordinator_drop(struct coordinator *c, struct store_cursor *cursor, struct ls_error *error)
{
    int rc = c->store->driver->drop(cursor, error);
    c->puts++;
    c->changed = true;
    c->broken = c->broken || rc < 0;
    return rc;
}

int coordinator_control(struct coordinator *c, const char *name, const char *const *fields,
                        struct control *out, struct ls_error *error)
{
    int rc = control_read(c->store, c->txn, name, fields, out, error);
    return rc == LS_ENOTFOUND ? 0 : rc;
}

int coordinator_set_control(struct coordinator *c, const char *name, const char *const *fields,
                            const struct control *control, struct ls_error *error)
{
    return control_write(c, name, fields, control, error);
}

uint64_t coordinator_clock(const struct coordinator *c)
{
    return atomic_load_explicit(&c->clock, memory_order_acquire);
}
