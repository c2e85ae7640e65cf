/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients. Each talks to one process at a time over a connection, with a few requests under way.
 * One that hears nothing for a while gives its connection up and goes to another process, joins
 * again, and settles what is in doubt: a numbered post is made again under its number, or found to
 * be there.
 */
#include <assert.h>
#include <stdio.h>

#include "sim.h"

#define PATIENCE_NS (400 * MS)

const char *const ask_names[ASKS] = {"join",   "post",  "next", "witness", "trim",  "state",
                                     "leave",  "ack",   "beat", "put",     "del",   "txn",
                                     "read",   "get",   "scan", "watch",   "begin", "txn-read",
                                     "commit", "abort", "run",  "txn-get"};

/* ---- names and marks ---- */

static char host_names[HOSTS][8];
static char key_names[KEYS][8];

const char *sim_host(int host)
{
    assert(host >= 0 && host < HOSTS);
    snprintf(host_names[host], sizeof host_names[host], "node-%d", host);
    return host_names[host];
}

int sim_host_index(ls_bytes host)
{
    int index = host.size == 6 ? ((const char *)host.data)[5] - '0' : -1;
    if (index < 0 || index >= HOSTS) {
        sim_fail(sim_now, "a host that nobody named");
    }
    return index;
}

const char *sim_key(int key)
{
    assert(key >= 0 && key < KEYS);
    snprintf(key_names[key], sizeof key_names[key], "key-%02d", key);
    return key_names[key];
}

int sim_key_index(ls_bytes key)
{
    const char *text = key.data;
    int index = key.size == 6 ? (text[4] - '0') * 10 + text[5] - '0' : -1;
    if (index < 0 || index >= KEYS) {
        sim_fail(sim_now, "a key that nobody named");
    }
    return index;
}

int identity(int actor, int host)
{
    return actor * HOSTS + host;
}

void identity_make(uint8_t id[16], int actor, int host)
{
    memset(id, host + 1, 16);
    id[0] = (uint8_t)(actor + 1);
}

int identity_of(const uint8_t id[16])
{
    return identity(id[0] - 1, id[1] - 1);
}

void mark_make(uint8_t mark[MARK_SIZE], const struct op *op, unsigned part)
{
    put_be64(mark, op->number);
    put_be64(mark + 8, part);
    put_be64(mark + 16, (uint64_t)op->actor);
}

void item_make(uint8_t item[ITEM_SIZE], const struct op *op)
{
    item[0] = 0x58; /* a byte string, its size in the next byte */
    item[1] = MARK_SIZE;
    mark_make(item + 2, op, 0);
}

/* ---- what is asked ---- */

static int any_key(struct sim *sim)
{
    return (int)draw(sim, KEYS);
}

/* A clock that a reader may begin at: mostly one of what is kept. */
static uint64_t any_clock(struct sim *sim)
{
    const struct oracle *o = &sim->oracle;
    uint64_t span = o->newest - o->discarded;
    return one_in(sim, 8) ? draw(sim, o->newest + 2) : o->discarded + 1 + draw(sim, span + 1);
}

static void ask_post(struct sim *sim, struct op *op, uint64_t clock)
{
    op->type = "UUDC"[draw(sim, 4)];
    if (one_in(sim, 4)) {
        op->to = (int)draw(sim, HOSTS);
    }
    if (one_in(sim, 3)) {
        op->has_carried = true;
        op->carried = clock + draw(sim, 5);
        if (one_in(sim, 30)) {
            op->carried += UINT64_C(1) << (31 + draw(sim, 3));
        }
    }
}

static void ask_write(struct sim *sim, struct op *op)
{
    op->write_count = op->ask == ASK_TXN ? 1 + draw(sim, OPS_TXN) : 1;
    for (size_t i = 0; i < op->write_count; i++) {
        op->writes[i].key = any_key(sim);
        op->writes[i].del = op->ask == ASK_DEL || (op->ask == ASK_TXN && one_in(sim, 3));
    }
    if (op->ask != ASK_GET && one_in(sim, 3)) {
        op->has_if = true;
        op->if_key = op->ask == ASK_TXN ? any_key(sim) : op->writes[0].key;
        op->if_modified = sim->oracle.objects[op->if_key].modified;
        if (one_in(sim, 5)) {
            op->if_modified++;
        }
    } else if (op->ask == ASK_PUT) {
        op->nx = one_in(sim, 6);
        op->xx = !op->nx && one_in(sim, 6);
        op->if_key = op->writes[0].key;
    }
}

struct op *ask_anything(struct sim *sim, int actor, bool joined, uint64_t clock)
{
    static const enum ask asks[] = {ASK_POST,  ASK_POST, ASK_POST,  ASK_POST, ASK_NEXT, ASK_WITNESS,
                                    ASK_STATE, ASK_ACK,  ASK_ACK,   ASK_BEAT, ASK_PUT,  ASK_PUT,
                                    ASK_PUT,   ASK_PUT,  ASK_DEL,   ASK_TXN,  ASK_TXN,  ASK_READ,
                                    ASK_READ,  ASK_GET,  ASK_LEAVE, ASK_TRIM, ASK_SCAN};
    enum ask ask = asks[draw(sim, sizeof asks / sizeof *asks)];
    if ((ask == ASK_LEAVE || ask == ASK_TRIM) && !one_in(sim, 4)) {
        ask = ASK_POST;
    }
    struct op *op = oracle_new_op(sim, ask, actor);
    switch (ask) {
    case ASK_POST:
        ask_post(sim, op, clock);
        break;
    case ASK_NEXT:
        op->count = 1 + draw(sim, 20);
        break;
    case ASK_WITNESS:
        op->carried = clock + draw(sim, 10);
        break;
    case ASK_STATE:
        op->leaving = one_in(sim, 2);
        break;
    case ASK_ACK:
        op->carried = one_in(sim, 20) ? sim->oracle.clock + 10 : sim->oracle.clock;
        break;
    case ASK_PUT:
        op->owned = joined && one_in(sim, 2);
        ask_write(sim, op);
        break;
    case ASK_DEL:
    case ASK_TXN:
    case ASK_GET:
        ask_write(sim, op);
        break;
    case ASK_READ:
        op->from = any_clock(sim);
        break;
    case ASK_TRIM:
        if (one_in(sim, 2)) {
            op->from = any_clock(sim);
        } else {
            op->older_ns = WALL_NS + sim->kernel.now_ns - draw(sim, 4000 * MS);
        }
        break;
    default:
        break;
    }
    return op;
}

/* ---- asking ---- */

static void send_op(struct sim *sim, struct client *client, const struct op *op)
{
    uint32_t index = packet_new(sim, PACKET_REQUEST);
    struct packet *packet = packet_at(sim, index);
    packet->client = client->index;
    packet->connection = client->connection;
    packet->place = client->out++;
    packet->op = op->number;
    if (client->waiting == 0) {
        client->heard_ns = sim->kernel.now_ns;
    }
    assert(client->waiting < 2 * PIPELINE);
    client->sent[client->waiting++] = op->number;
    sim_trace(sim, "c%u asks p%u: op %llu (%s)", client->index, client->process,
              (unsigned long long)op->number, ask_names[op->ask]);
    packet_send(sim, PROCESSES + client->index, client->process, index);
}

static void connect(struct sim *sim, struct client *client)
{
    if (client->connection != 0) {
        cover(COVER_CONNECTION_GIVEN_UP);
    }
    do {
        client->process = (unsigned)draw(sim, sim->weather.processes);
    } while (sim->processes[client->process].embedded);
    inbox_clear(sim, &client->in);
    client->connection++;
    client->out = 0;
    client->waiting = 0;
    client->last_clock = 0;
    client->joined = client->joining = false;
    client->doubt_sent = false;
    client->blocked = false;
    client->txn = 0;
    client->watching = client->asked_watch = false;
    client->life = (struct binding){.joined = 0};
    if (client->doubt != 0) {
        cover(COVER_POST_IN_DOUBT);
    }
}

static void join(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_JOIN, (int)client->index);
    if (client->doubt != 0 && client->in_use) {
        /* Somebody else is there now: what is in doubt stays so. */
        client->known[oracle_op(sim, client->doubt)->host] = false;
        client->doubt = 0;
    }
    if (client->doubt != 0) {
        op->to = oracle_op(sim, client->doubt)->host;
    } else {
        op->to = client->in_use || one_in(sim, 4) ? (int)draw(sim, HOSTS) : (int)client->index;
    }
    op->count = sim->weather.ttl_ms;
    client->joining = true;
    send_op(sim, client, op);
}

static void watch(struct sim *sim, struct client *client)
{
    const struct oracle *o = &sim->oracle;
    struct op *op = oracle_new_op(sim, ASK_WATCH, (int)client->index);
    if (client->next != 0) {
        cover(COVER_WATCH_AGAIN);
    } else {
        client->watch_index = o->log_first + draw(sim, o->log_count - o->log_first + 1);
        client->next =
            client->watch_index < o->log_count ? o->log[client->watch_index].clock : o->newest + 1;
    }
    op->from = client->next;
    client->asked_watch = true;
    send_op(sim, client, op);
}

/* A numbered post, the next or the one in doubt. A number that is none is asked for at times. */
static void post_numbered(struct sim *sim, struct client *client)
{
    struct op *op;
    uint64_t last = client->seq[client->host];
    if (client->doubt != 0) {
        op = oracle_op(sim, client->doubt);
    } else {
        op = oracle_new_op(sim, ASK_POST, (int)client->index);
        ask_post(sim, op, client->clock);
        op->host = client->host;
        op->seq = last + 1;
        if (one_in(sim, 20)) {
            op->seq = one_in(sim, 2) || last < 2 ? last + 2 + draw(sim, 2) : last - 1;
        }
        if (op->seq == last + 1) {
            client->doubt = op->number;
            client->doubt_copies = 0;
        }
    }
    if (op->number == client->doubt) {
        client->doubt_sent = true;
        client->doubt_copies++;
    }
    send_op(sim, client, op);
}

static void post_plain(struct sim *sim, struct client *client)
{
    struct op *op = oracle_new_op(sim, ASK_POST, (int)client->index);
    op->type = LS_USER;
    send_op(sim, client, op);
}

void client_think(struct sim *sim, struct client *client)
{
    uint64_t now_ns = sim->kernel.now_ns;
    uint64_t next_ns = now_ns + 1 + draw(sim, 2 * sim->weather.think_ns);
    int rc = kernel_at(&sim->kernel, next_ns, PROCESSES + client->index, EVENT_THINK, 0);
    assert(rc == 0);
    if (now_ns < client->stalled_until_ns) {
        return;
    }
    if (client->connection == 0 ||
        (client->waiting > 0 && now_ns - client->heard_ns > PATIENCE_NS) || one_in(sim, 400)) {
        connect(sim, client);
    }
    if (client->joining || client->blocked || client->waiting >= PIPELINE) {
        return;
    }
    bool goes_on = client->txn != 0 && !client->leaves;
    if (client->waiting == 0 && one_in(sim, goes_on ? 2 : sim->weather.transactions)) {
        send_op(sim, client, ask_transaction(sim, client));
        return;
    }
    if (!client->joined && !one_in(sim, 10)) {
        join(sim, client);
    } else if (!client->watching && !client->asked_watch && one_in(sim, 4)) {
        watch(sim, client);
    } else if (client->joined && !client->doubt_sent && one_in(sim, 3)) {
        post_numbered(sim, client);
    } else {
        struct op *op = ask_anything(sim, (int)client->index, client->joined, client->clock);
        bool crowded = op->ask == ASK_LEAVE && client->joined && client->waiting + 3 <= PIPELINE;
        if (crowded) {
            post_plain(sim, client);
        }
        send_op(sim, client, op);
        if (crowded) {
            post_plain(sim, client); /* in a life that is over by then */
        }
    }
}

/* ---- hearing ---- */

static void settle(struct client *client, uint64_t seq)
{
    client->seq[client->host] = seq;
    client->doubt = 0;
    client->doubt_sent = false;
}

static void heard_join(struct sim *sim, struct client *client, const struct packet *packet)
{
    client->joining = false;
    client->in_use = packet->answer.status == LS_EINUSE;
    if (packet->answer.status < 0) {
        return;
    }
    uint64_t number = packet->answer.number;
    client->joined = true;
    client->life = packet->life;
    client->host = sim_host_index(binding_host(&client->life));
    uint64_t last = client->seq[client->host];
    bool found = client->doubt != 0 && number == last + 1;
    if (client->known[client->host] && number != last && !found) {
        sim_fail(sim, "c%u joins with number %llu, and posted %llu", client->index,
                 (unsigned long long)number, (unsigned long long)last);
    }
    client->known[client->host] = true;
    if (client->doubt == 0) {
        client->seq[client->host] = number;
        return;
    }
    cover(found ? COVER_POST_FOUND : COVER_POST_MISSING);
    if (one_in(sim, 2)) {
        settle(client, number); /* else it is made again */
    }
}

/* Requests of one connection are answered, and take effect, in the order sent. */
static void check_order(struct sim *sim, struct client *client, const struct op *op,
                        const struct answer *answer)
{
    if (client->waiting == 0 || client->sent[0] != op->number) {
        sim_fail(sim, "c%u is answered op %llu out of turn", client->index,
                 (unsigned long long)op->number);
    }
    client->waiting--;
    memmove(client->sent, client->sent + 1, client->waiting * sizeof *client->sent);
    /* A post that was made before, a read of the past. */
    bool again = op->submitted > 1 || (op->ask == ASK_TXN_GET && op->timestamp != 0);
    if (answer->clock != 0 && !again && answer->clock < client->last_clock) {
        sim_fail(sim, "c%u is answered op %llu with %llu after %llu", client->index,
                 (unsigned long long)op->number, (unsigned long long)answer->clock,
                 (unsigned long long)client->last_clock);
    }
    if (answer->clock > client->last_clock) {
        client->last_clock = answer->clock;
    }
}

static void heard_answer(struct sim *sim, struct client *client, const struct packet *packet)
{
    const struct op *op = oracle_op(sim, packet->op);
    const struct answer *answer = &packet->answer;
    check_order(sim, client, op, answer);
    if (op->ask == ASK_JOIN) {
        heard_join(sim, client, packet);
    } else if (is_transaction(op->ask)) {
        heard_transaction(client, op, answer);
    } else if (answer->status == LS_ENOTJOINED) {
        client->joined = false;
    } else if (op->ask == ASK_LEAVE && answer->status == 0) {
        client->joined = false;
    } else if (op->ask == ASK_WATCH) {
        client->watching = true;
    }
    if (op->number == client->doubt && answer->status == 0) {
        settle(client, op->seq);
    } else if (op->number == client->doubt && client->doubt_copies == 1) {
        settle(client, client->seq[client->host]);
    } else if (op->number == client->doubt) {
        client->doubt_sent = false; /* this copy was refused; another may be there */
    }
    if (answer->clock > client->clock) {
        client->clock = answer->clock;
    }
    if (op->calm) {
        sim->calm_answers[client->index]++;
    }
}

static void heard_messages(struct sim *sim, struct client *client, const struct packet *packet)
{
    const struct oracle *o = &sim->oracle;
    cover(COVER_WATCH_READS_ON);
    for (size_t i = 0; i < packet->count; i++) {
        if (client->watch_index == o->log_count ||
            o->log[client->watch_index].clock != packet->clocks[i] ||
            o->log[client->watch_index].check != packet->checks[i]) {
            sim_fail(sim, "c%u watches, and is given message %llu", client->index,
                     (unsigned long long)packet->clocks[i]);
        }
        client->watch_index++;
        client->next = packet->clocks[i] + 1;
    }
}

static void heard_lost(struct sim *sim, struct client *client, const struct packet *packet)
{
    cover(COVER_WATCH_LOST);
    client->watching = client->asked_watch = false;
    client->next = packet->answer.number;
    while (client->watch_index < sim->oracle.log_count &&
           sim->oracle.log[client->watch_index].clock < client->next) {
        client->watch_index++;
    }
}

/* Tells a process that nobody is there any more. */
static void reset(struct sim *sim, struct client *client, const struct packet *packet)
{
    uint64_t connection = packet->connection;
    uint32_t process = packet->from;
    uint32_t index = packet_new(sim, PACKET_RESET);
    packet_at(sim, index)->client = client->index;
    packet_at(sim, index)->connection = connection;
    packet_send(sim, PROCESSES + client->index, process, index);
}

void client_packet(struct sim *sim, struct client *client, uint32_t index)
{
    const struct packet *packet = packet_at(sim, index);
    if (packet->connection != client->connection) {
        cover(COVER_OLD_CONNECTION);
        reset(sim, client, packet);
        packet_release(sim, index);
        return;
    }
    inbox_put(sim, &client->in, index);
    while ((index = inbox_next(sim, &client->in)) != NOWHERE) {
        packet = packet_at(sim, index);
        switch (packet->kind) {
        case PACKET_ANSWER:
            client->heard_ns = sim->kernel.now_ns;
            heard_answer(sim, client, packet);
            break;
        case PACKET_MESSAGES:
            heard_messages(sim, client, packet);
            break;
        case PACKET_LOST_MESSAGES:
            heard_lost(sim, client, packet);
            break;
        default:
            assert(false);
        }
        packet_release(sim, index);
    }
}
