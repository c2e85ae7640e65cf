/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server, without its sockets: connections whose requests are taken in order, writes that go to
 * the sequencer, reads that wait for the writes before them, nodes that are bound to connections
 * and looked after, retention, and watches that are cursors.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "process.h"

static uint64_t now_ms(const struct process *process)
{
    return process_monotonic_ns(process) / MS;
}

static uint64_t monotonic_clock(void *context)
{
    return now_ms(context);
}

static uint64_t wall_clock(void *context)
{
    return process_wall_ns(context);
}

void process_timer(struct sim *sim, struct process *process, uint64_t delay_ns,
                   enum event_kind kind)
{
    int rc = kernel_timer(&sim->kernel, sim->kernel.now_ns + delay_ns, process->index,
                          (uint16_t)kind, 0);
    assert(rc == 0);
}

/* ---- requests ---- */

struct pending *pending_new(struct process *process, enum purpose purpose)
{
    struct pending *pending = sim_memory(calloc(1, sizeof *pending));
    pending->purpose = purpose;
    pending->request.owner = pending;
    pending->request.error = &pending->error;
    pending->next = process->pendings;
    process->pendings = pending;
    return pending;
}

static void pending_free(struct process *process, struct pending *pending)
{
    struct pending **link = &process->pendings;
    while (*link != pending) {
        link = &(*link)->next;
    }
    *link = pending->next;
    txn_call_free(&pending->call);
    free(pending);
}

void process_submit(struct sim *sim, struct process *process, struct pending *pending)
{
    sequencer_submit(process->sequencer, &pending->request, &pending->request);
    if (!process->stepping) {
        process->stepping = true;
        process_timer(sim, process, 1 + draw(sim, sim->weather.gather_ns), EVENT_STEP);
    }
}

/* ---- answers ---- */

void process_send(struct sim *sim, struct process *process, struct connection *connection,
                  unsigned client, uint32_t index)
{
    struct packet *packet = packet_at(sim, index);
    packet->client = client;
    packet->connection = connection->number;
    packet->place = connection->out++;
    packet_send(sim, process->index, PROCESSES + client, index);
}

static void send_answer(struct sim *sim, struct process *process, unsigned client,
                        const struct op *op, const struct answer *answer)
{
    struct connection *connection = &process->connections[client];
    uint32_t index = packet_new(sim, PACKET_ANSWER);
    packet_at(sim, index)->op = op->number;
    packet_at(sim, index)->answer = *answer;
    packet_at(sim, index)->life = connection->life;
    process_send(sim, process, connection, client, index);
}

static void unbind(struct process *process, struct connection *connection)
{
    if (connection->bound) {
        connection->bound = false;
        presence_unbind(process->presence, &connection->life);
    }
}

static void bind(struct sim *sim, struct process *process, struct connection *connection,
                 const struct pending *pending)
{
    const struct request *r = &pending->request;
    struct binding life = {.joined = r->clock, .host_size = (uint8_t)r->in.join.host.size};
    memcpy(life.id, r->in.join.id, sizeof life.id);
    memcpy(life.host, r->in.join.host.data, r->in.join.host.size);
    for (size_t i = 0; i < CLIENTS; i++) {
        struct connection *other = &process->connections[i];
        if (other->bound && bytes_equal(binding_host(&other->life), binding_host(&life))) {
            unbind(process, other);
        }
    }
    unbind(process, connection);
    connection->life = life;
    connection->bound = true;
    connection->heard_ns = sim->kernel.now_ns;
    int rc = presence_bind(process->presence, &life, r->in.join.ttl_ms, now_ms(process));
    assert(rc == 0);
}

static void take_requests(struct sim *sim, struct process *process, unsigned client);

static void answer_client(struct sim *sim, struct process *process, const struct pending *pending)
{
    const struct request *r = &pending->request;
    struct op *op = oracle_op(sim, pending->op);
    struct connection *connection = &process->connections[pending->client];
    struct answer answer = {.status = r->status,
                            .clock = r->status < 0 || op->ask == ASK_TRIM ? 0 : r->clock,
                            .number = r->status < 0 ? pending->error.number : r->number,
                            .life = r->as == NULL ? 0 : r->as->joined};
    for (size_t i = 0; i < op->write_count; i++) {
        answer.clocks[i] = pending->operations[i].clock;
    }
    if (is_transaction(op->ask) && r->status == 0) {
        answer_fill_txn(&answer, pending, op);
    }
    oracle_answered(sim, op, &answer);
    if (connection->number != pending->connection || connection->closed) {
        if (op->ask == ASK_BEGIN && r->status == 0) {
            process_release(sim, process, r->clock);
        }
        return;
    }
    if (op->ask == ASK_BEGIN && r->status == 0) {
        connection->txn = r->clock;
    } else if ((op->ask == ASK_COMMIT || op->ask == ASK_ABORT) && r->status == 0) {
        connection->txn = 0;
    }
    if (op->ask == ASK_JOIN && r->status == 0) {
        bind(sim, process, connection, pending);
    } else if (op->ask == ASK_LEAVE && r->status == 0) {
        unbind(process, connection);
    }
    connection->pending--;
    send_answer(sim, process, pending->client, op, &answer);
    take_requests(sim, process, pending->client);
}

static void expired(struct process *process, const struct request *r)
{
    if (r->status == 0 && r->number == 0) {
        cover(COVER_EXPIRY_TOO_LATE);
    }
    for (size_t i = 0; r->status == 0 && r->number == 1 && i < CLIENTS; i++) {
        if (process->connections[i].life.joined == r->in.expire.joined) {
            unbind(process, &process->connections[i]);
        }
    }
}

/* Hands out what is done. */
static void deliver(struct sim *sim, struct process *process)
{
    for (struct request *r = sequencer_take(process->sequencer), *next; r != NULL; r = next) {
        struct pending *pending = r->owner;
        next = r->next;
        switch (pending->purpose) {
        case FOR_CLIENT:
            answer_client(sim, process, pending);
            break;
        case FOR_EXPIRY:
            expired(process, r);
            break;
        case FOR_RETENTION:
            process->retaining = false;
            if (process->keep.hold && process->keep.count > 0 &&
                sim->oracle.count > process->keep.count) {
                cover(COVER_HELD);
            }
            break;
        case FOR_EPOCH:
            process->epoch = r->clock;
            break;
        case FOR_TICK:
            process->ticking = false;
            break;
        case FOR_RENEWAL:
        case FOR_RELEASE:
            break;
        }
        pending_free(process, pending);
    }
}

static void show_life(struct process *process, struct connection *connection)
{
    if (connection->bound) {
        connection->heard_ns = sim_now->kernel.now_ns;
        presence_beat(process->presence, &connection->life, now_ms(process));
    }
}

static void answer_read(struct sim *sim, struct process *process, unsigned client, struct op *op)
{
    struct connection *connection = &process->connections[client];
    struct answer answer = {.status = 0};
    struct packet page;
    switch (op->ask) {
    case ASK_READ:
        answer.status = process_read_box(sim, process, op->from, &page, &answer.number);
        break;
    case ASK_GET:
        process_read_object(sim, process, op, &answer);
        break;
    case ASK_SCAN:
        process_read_objects(sim, process, &answer);
        break;
    case ASK_WATCH:
        connection->watching = true;
        connection->next = op->from;
        process_timer(sim, process, MS, EVENT_WATCH);
        break;
    default:
        assert(op->ask == ASK_BEAT);
    }
    oracle_answered(sim, op, &answer);
    send_answer(sim, process, client, op, &answer);
}

/* ---- connections ---- */

static bool is_write(const struct op *op)
{
    return op->ask <= ASK_ACK || op->ask == ASK_PUT || op->ask == ASK_DEL || op->ask == ASK_TXN ||
           is_transaction(op->ask);
}

/* Writes go to the sequencer as they come; a read waits for the writes before it, and all else for
 * the read. */
static void take_requests(struct sim *sim, struct process *process, unsigned client)
{
    struct connection *connection = &process->connections[client];
    while (connection->waiting_count > 0) {
        struct op *op = oracle_op(sim, connection->waiting[0]);
        if (!is_write(op) && connection->pending > 0) {
            return;
        }
        connection->waiting_count--;
        memmove(connection->waiting, connection->waiting + 1,
                connection->waiting_count * sizeof *connection->waiting);
        if (!is_write(op)) {
            answer_read(sim, process, client, op);
            continue;
        }
        struct pending *pending = pending_new(process, FOR_CLIENT);
        pending->client = client;
        pending->connection = connection->number;
        pending->op = op->number;
        if (is_transaction(op->ask)) {
            request_fill_txn(pending, op);
        } else {
            request_fill(process, pending, op);
        }
        if (connection->life.joined != 0 && op->ask != ASK_JOIN) {
            pending->life = connection->life;
            pending->request.as = &pending->life;
        }
        connection->pending++;
        oracle_submitted(sim, op);
        process_submit(sim, process, pending);
    }
}

static void connection_end(struct sim *sim, struct process *process, struct connection *connection)
{
    unbind(process, connection);
    if (connection->txn != 0 && !disk_killed(process->store)) {
        process_release(sim, process, connection->txn);
    }
    inbox_clear(sim, &connection->in);
    *connection = (struct connection){.number = 0};
}

void process_packet(struct sim *sim, struct process *process, uint32_t index)
{
    const struct packet *packet = packet_at(sim, index);
    unsigned client = packet->client;
    struct connection *connection = &process->connections[client];
    if (packet->kind == PACKET_RESET && packet->connection == connection->number) {
        cover(COVER_CONNECTION_RESET);
        connection_end(sim, process, connection);
        connection->number = packet->connection;
        connection->closed = true;
        packet_release(sim, index);
        return;
    }
    if (packet->kind == PACKET_RESET || packet->connection < connection->number ||
        (packet->connection == connection->number && connection->closed) ||
        (packet->connection > connection->number && packet->place > 2 * PIPELINE)) {
        cover(COVER_OLD_CONNECTION);
        packet_release(sim, index);
        return;
    }
    if (packet->connection > connection->number) {
        connection_end(sim, process, connection);
        connection->number = packet->connection;
    }
    inbox_put(sim, &connection->in, index);
    while (connection->waiting_count < 2 * PIPELINE &&
           (index = inbox_next(sim, &connection->in)) != NOWHERE) {
        show_life(process, connection);
        connection->waiting[connection->waiting_count++] = packet_at(sim, index)->op;
        packet_release(sim, index);
    }
    take_requests(sim, process, client);
}

/* ---- batches ---- */

void process_step(struct sim *sim, struct process *process)
{
    (void)sequencer_step(process->sequencer);
    if (disk_killed(process->store)) {
        process_crash(sim, process);
        return;
    }
    process_timer(sim, process, 1 + draw(sim, sim->weather.flush_ns), EVENT_FLUSHED);
}

void process_flushed(struct sim *sim, struct process *process)
{
    struct sequencer_counters counters;
    if (disk_killed(process->store)) {
        process_crash(sim, process);
        return;
    }
    process->stepping = false;
    deliver(sim, process);
    sequencer_counters(process->sequencer, &counters);
    if (counters.retries > process->undone) {
        process->undone = counters.retries;
        cover(COVER_BATCH_UNDONE);
    }
    if (counters.queued > 0 && !process->stepping) {
        process->stepping = true;
        process_timer(sim, process, 1, EVENT_STEP);
    }
}

void process_meanwhile(struct sim *sim, struct process *process)
{
    if (!process->embedded && process->epoch != 0) {
        deliver(sim, process);
    }
}

/* ---- nodes and retention ---- */

/* Whether the life is bound to a connection, and when that was last heard of. */
static bool heard(const struct process *process, uint64_t joined, uint64_t *heard_ns)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct connection *connection = &process->connections[i];
        if (connection->bound && connection->life.joined == joined) {
            *heard_ns = connection->heard_ns;
            return true;
        }
    }
    return false;
}

bool process_silent(const struct process *process, uint64_t joined, uint64_t *silent_ns)
{
    if (process->embedded && process->joined && process->joined_clock == joined) {
        *silent_ns = sim_now->kernel.now_ns - process->used_ns;
        return true;
    }
    for (const struct pending *pending = process->pendings; pending != NULL;
         pending = pending->next) {
        if (pending->held && pending->request.in.expire.joined == joined) {
            *silent_ns = pending->silent_ns;
            return true;
        }
    }
    return false;
}

struct looking {
    struct sim *sim;
    struct process *process;
};

static void renew(void *context, const struct binding *binding)
{
    struct looking *looking = context;
    struct pending *pending = pending_new(looking->process, FOR_RENEWAL);
    pending->life = *binding;
    pending->request.kind = REQUEST_NODE_BEAT;
    pending->request.as = &pending->life;
    process_submit(looking->sim, looking->process, pending);
}

static void expire(void *context, const struct node *node)
{
    struct looking *looking = context;
    struct pending *pending = pending_new(looking->process, FOR_EXPIRY);
    uint64_t heard_ns = 0;
    pending->held = heard(looking->process, node->joined, &heard_ns);
    pending->silent_ns = looking->sim->kernel.now_ns - heard_ns;
    if (!looking->sim->calm && one_in(looking->sim, 4)) { /* what is found late is done later */
        looking->process->stalled_until_ns =
            looking->sim->kernel.now_ns + draw(looking->sim, looking->sim->weather.ttl_ms * MS);
    }
    pending->request.kind = REQUEST_NODE_EXPIRE;
    pending->request.in.expire.host = bytes_of_text(sim_host(sim_host_index(node->host)));
    pending->request.in.expire.joined = node->joined;
    pending->request.in.expire.beat = node->beat;
    process_submit(looking->sim, looking->process, pending);
}

void process_presence(struct sim *sim, struct process *process)
{
    struct looking looking = {sim, process};
    struct presence_calls calls = {renew, expire, NULL, &looking};
    struct reading reading;
    struct ls_error error;
    int64_t wait_ms = reading_begin(&reading, process->store, &error);
    if (wait_ms == 0) {
        wait_ms = presence_tick(process->presence, &reading, now_ms(process), &calls, &error);
        reading_end(&reading);
    }
    process_timer(sim, process, wait_ms < 0 ? 100 * MS : (uint64_t)wait_ms * MS, EVENT_PRESENCE);
}

void process_retain(struct sim *sim, struct process *process)
{
    const struct retention *keep = &process->keep;
    process_timer(sim, process, 250 * MS, EVENT_RETAIN);
    if (process->retaining || (keep->age_ms == 0 && keep->count == 0 && keep->bytes == 0)) {
        return;
    }
    struct pending *pending = pending_new(process, FOR_RETENTION);
    pending->request.kind = REQUEST_RETAIN;
    pending->request.in.retain.keep = *keep;
    process->retaining = true;
    process_submit(sim, process, pending);
}

/* ---- life ---- */

/* Comes up, or tries again later. */
void process_start(struct sim *sim, struct process *process)
{
    struct ls_error error;
    if (process->embedded) {
        embedded_start(sim, process);
        return;
    }
    process->store = disk_open(sim->disk, process->index, false);
    process->undone = 0;
    int rc = sequencer_open(&process->sequencer, process->store, &error);
    if (rc == 0) {
        sequencer_set_time(process->sequencer, wall_clock, process);
        rc = presence_open(&process->presence, 0);
    }
    if (rc == 0) {
        const struct txn_options options = {.shards = 3,
                                            .history_age_ms = sim->weather.history_ms,
                                            .memory = sim->weather.memory,
                                            .now_ms = monotonic_clock,
                                            .now_context = process};
        rc = txn_open(&process->txn, process->sequencer, &options, &error);
    }
    struct pending *epoch = pending_new(process, FOR_EPOCH);
    epoch->request.kind = REQUEST_EPOCH;
    if (rc == 0) {
        sequencer_submit(process->sequencer, &epoch->request, &epoch->request);
        (void)sequencer_step(process->sequencer);
        rc = epoch->request.status;
    }
    if (rc < 0 || disk_killed(process->store)) {
        sim_trace(sim, "p%u cannot start: %s", process->index, ls_errname(rc));
        process_crash(sim, process);
        return;
    }
    deliver(sim, process);
    if (process->epoch != sim->oracle.epoch) {
        sim_fail(sim, "p%u was given the epoch %llu, the disk has %llu", process->index,
                 (unsigned long long)process->epoch, (unsigned long long)sim->oracle.epoch);
    }
    process_timer(sim, process, draw(sim, 50 * MS), EVENT_PRESENCE);
    process_timer(sim, process, draw(sim, 250 * MS), EVENT_RETAIN);
    process_timer(sim, process, draw(sim, 20 * MS), EVENT_TICK);
}

void process_crash(struct sim *sim, struct process *process)
{
    if (process->embedded) {
        embedded_crash(sim, process);
        return;
    }
    disk_kill(process->store);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (process->presence != NULL) {
            connection_end(sim, process, &process->connections[i]);
        }
    }
    presence_close(process->presence);
    process->presence = NULL;
    sequencer_close(process->sequencer);
    process->sequencer = NULL;
    txn_close(process->txn);
    process->txn = NULL;
    if (process->store != NULL) {
        store_close(process->store);
        process->store = NULL;
    }
    while (process->pendings != NULL) {
        pending_free(process, process->pendings);
    }
    process->stepping = process->retaining = process->ticking = false;
    process->epoch = 0;
    sim_process_gone(sim, process);
}
