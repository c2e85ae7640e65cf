/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: what a turn of it does, in which order, and how it starts and stops. It knows no
 * command.
 */
#include "server/server.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "server/listen.h"
#include "server/listing.h"
#include "server/notify.h"
#include "server/retain.h"
#include "server/watch.h"

#define TICK_MS        1000               /* at the latest */
#define QUIT_MS        5000               /* how long replies may take to leave when stopping */
#define ROUND_SHORT_NS UINT64_C(500000)   /* a round of the watches that needs no rest */
#define REST_MAX_NS    UINT64_C(10000000) /* the longest rest after one */

struct buf *server_scratch(struct server *server)
{
    if (server->scratch.capacity > 64 * 1024) {
        buf_free(&server->scratch);
    }
    server->scratch.size = 0;
    return &server->scratch;
}

bool server_queues_more(const struct server *server, uint64_t bytes)
{
    size_t queued = server->queue.bytes;
    return queued > bytes && queued > bytes + txns_parked_bytes(server);
}

/* ---- a turn of the loop ---- */

/* Lets those go on that too much held up. */
static void unpause(struct server *server)
{
    uint64_t half = server->config.queue_max / 2;
    if (!list_empty(&server->choked) && !server_queues_more(server, half)) {
        LIST_EACH(at, after, &server->choked)
        {
            conn_unpause(LINK_OWNER(at, struct conn, resume), PAUSE_QUEUE);
        }
    }
    if (server->held_full && server->held <= half) {
        server->held_full = false;
        LIST_EACH(at, after, &server->holding)
        {
            conn_unpause(LINK_OWNER(at, struct conn, resume), PAUSE_HELD);
        }
    }
}

static void answer_all(struct server *server, struct request *request)
{
    waker_spare(&server->waker);
    reads_end(&server->reads);
    server->box_changed = true;
    for (struct request *next; request != NULL; request = next) {
        struct pending *pending = request->owner;
        struct conn *conn = pending->conn;
        next = request->next;
        if (conn != NULL) {
            conn_answered(conn, pending);
        } else {
            pending->answer(pending);
            queue_done(&server->queue, pending);
        }
    }
    txns_look(server);
}

/* A batch is over. */
static void on_done(uv_async_t *async)
{
    struct server *server = async->loop->data;
    struct request *request = sequencer_take(server->sequencer);
    if (request != NULL) {
        answer_all(server, request);
    }
    unpause(server);
}

static void on_woken(uv_async_t *async)
{
    struct server *server = async->loop->data;
    reads_end(&server->reads);
    server->box_changed = true;
    txns_woken(server);
}

static void resume_all(struct server *server)
{
    struct link taken;
    list_take(&taken, &server->resume);
    while (!list_empty(&taken)) { /* a command of one may close another */
        struct link *at = taken.next;
        list_remove(at);
        conn_resume(LINK_OWNER(at, struct conn, resume));
    }
}

static void flush_list(struct link *list)
{
    struct link taken;
    list_take(&taken, list);
    while (!list_empty(&taken)) {
        struct link *at = taken.next;
        list_remove(at);
        conn_flush(LINK_OWNER(at, struct conn, dirty));
    }
}

/* Those for which an earlier turn had no time left go first. */
static void flush_all(struct server *server)
{
    while (!list_empty(&server->late) && server->watched_ns < TURN_LOOK_NS) {
        struct link *at = server->late.next;
        list_remove(at);
        conn_flush(LINK_OWNER(at, struct conn, dirty));
    }
    flush_list(&server->dirty);
}

/* The turn that follows does what is due. */
static void on_rest(uv_timer_t *timer)
{
    (void)timer;
}

/* The round is over when the last of the watches had its time. */
static void end_round(struct server *server)
{
    if (server->round_ns > ROUND_SHORT_NS) {
        uint64_t rest_ns = server->round_ns < REST_MAX_NS ? server->round_ns : REST_MAX_NS;
        server->watches_rest_ns = uv_hrtime() + rest_ns;
    }
    server->round_ns = 0;
}

/* Lets every watch read on. Where there are so many that this takes long, it takes some turns, and
 * then the loop rests from it for as long again: commands get half of the time, and the next round
 * sends more at once. */
static void wake_watches(struct server *server)
{
    uint64_t now_ns = uv_hrtime();
    if (now_ns < server->watches_rest_ns) {
        uint64_t rest_ns = server->watches_rest_ns - now_ns;
        uv_timer_start(&server->rest, on_rest, (rest_ns + 999999) / 1000000, 0);
        return;
    }
    server->watches_due = false;
    LIST_EACH(at, after, &server->watchers)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, watching);
        if (conn->writing == NULL && !link_joined(&conn->dirty)) {
            conn_flush(conn);
        }
    }
}

static void on_tick(uv_timer_t *timer);

/* Looks after the nodes, or goes on with that, and sets the timer to when that is to be again. */
static void tick_nodes(struct server *server)
{
    uint64_t due_ms = nodes_tick(server);
    bool soon = due_ms > 0 && due_ms < TICK_MS;
    uv_timer_start(&server->tick, on_tick, soon ? due_ms : TICK_MS, 0);
}

static void try_to_end(struct server *server);

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* Behind everything that came in: see server.h for the order. */
static void turn(struct server *server)
{
    resume_all(server);
    queue_submit(&server->queue, server->sequencer);
    flush_all(server);
    bool changed = server->box_changed;
    server->box_changed = false;
    if (changed || server->reads_more) {
        server->reads_more = reads_go_on(server, changed);
    }
    server->listings_more = listings_go_on(server);
    if (server->nodes.looking) {
        tick_nodes(server);
    }
    server->watches_due = server->watches_due || changed;
    if (server->watches_due && list_empty(&server->late)) {
        wake_watches(server);
        flush_all(server);
    }
    server->round_ns += server->watched_ns;
    if (list_empty(&server->late)) {
        end_round(server);
    }
    reads_end(&server->reads);
    queue_submit(&server->queue, server->sequencer); /* the releases for those that are gone */
    server->looked_ns = 0;
    server->watched_ns = 0;
    if (server->stopping) {
        try_to_end(server);
    }
    if (server->reads_more || server->listings_more || server->nodes.looking ||
        !list_empty(&server->dirty) || !list_empty(&server->late) || !list_empty(&server->resume)) {
        uv_idle_start(&server->idle, on_idle);
    } else {
        uv_idle_stop(&server->idle);
    }
}

/* ---- the epoch of this process ---- */

/* The epoch names this process in the records of its nodes. Without room for it (a full store) the
 * server works but for joins, and asks again. */
static void on_epoch(struct pending *pending)
{
    struct server *server = pending->server;
    server->asking = false;
    if (pending->request.status == 0) {
        server->nodes.epoch = pending->request.clock;
    } else {
        log_write(LOG_WARNING, "nodes cannot join yet: %s", pending->error.text);
    }
    if (server->ready || server->stopping) {
        return;
    }
    server->ready = true;
    if (listen_start(server, &server->failure) != 0) {
        server_stop(server, "it cannot listen");
        return;
    }
    notify("READY=1");
    log_write(LOG_NOTICE, "ready");
}

static void ask_epoch(struct server *server)
{
    struct pending *pending = server->asking ? NULL : queue_new(&server->queue, 0);
    if (pending == NULL) {
        return;
    }
    server->asking = true;
    pending->server = server;
    pending->answer = on_epoch;
    pending->request.kind = REQUEST_EPOCH;
    queue_add(&server->queue, pending);
}

/* After timers, so that what they asked for does not wait for the next event. */
static void on_prepare(uv_prepare_t *prepare)
{
    turn(prepare->loop->data);
}

static void on_check(uv_check_t *check)
{
    turn(check->loop->data);
}

static void on_tick(uv_timer_t *timer)
{
    struct server *server = timer->loop->data;
    tick_nodes(server);
    listen_tick(server);
    if (server_now_ms(server) - server->ticked_ms >= TICK_MS) {
        server->ticked_ms = server_now_ms(server);
        conns_tick(server);
        reads_tick(server);
        object_watches_tick(server);
        retain_tick(server);
        if (server->nodes.epoch == 0) {
            ask_epoch(server);
        }
        if (server->box_watch_count == 0) {
            frames_free(server->frames);
        }
    }
}

/* ---- stopping ---- */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void close_all(struct server *server)
{
    LIST_EACH(at, after, &server->conns)
    {
        conn_close(LINK_OWNER(at, struct conn, all));
    }
    sequencer_close(server->sequencer); /* its thread wakes the loop through `done` */
    server->sequencer = NULL;
    txn_close(server->txns.txn);
    server->txns.txn = NULL;
    waker_stop(&server->waker);
    close_handle((uv_handle_t *)&server->prepare);
    close_handle((uv_handle_t *)&server->check);
    close_handle((uv_handle_t *)&server->idle);
    close_handle((uv_handle_t *)&server->tick);
    close_handle((uv_handle_t *)&server->quit_timer);
    close_handle((uv_handle_t *)&server->rest);
    close_handle((uv_handle_t *)&server->txns.timer);
    close_handle((uv_handle_t *)&server->sigterm);
    close_handle((uv_handle_t *)&server->sigint);
    close_handle((uv_handle_t *)&server->done);
    close_handle((uv_handle_t *)&server->woken);
}

/* Ends once every write is answered and every reply is written, or a slow client's time is up. */
static void try_to_end(struct server *server)
{
    if (server->queue.count > 0) {
        return;
    }
    bool late = !uv_is_active((uv_handle_t *)&server->quit_timer);
    LIST_EACH(at, after, &server->conns)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, all);
        if (late || conn_watches(conn) || (conn->writing == NULL && conn->out.size == 0)) {
            conn_close(conn);
        }
    }
    if (server->conn_count == 0) {
        close_all(server);
    }
}

static void on_quit_timer(uv_timer_t *timer)
{
    struct server *server = timer->loop->data;
    log_write(LOG_WARNING, "some clients did not take their replies in time");
    try_to_end(server);
}

void server_stop(struct server *server, const char *why)
{
    if (server->stopping) {
        return;
    }
    server->stopping = true;
    notify("STOPPING=1");
    log_write(LOG_NOTICE, "stopping: %s", why);
    listen_close(server);
    waker_stop(&server->waker);
    sequencer_hurry(server->sequencer);
    struct ls_error error;
    error_code(&error, LS_ESHUTDOWN);
    reads_refuse(server, &error);
    listings_refuse(server, &error);
    nodes_stop(server);
    LIST_EACH(at, after, &server->conns)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, all);
        uv_read_stop(&conn->socket.stream);
        txns_end(conn);
    }
    uv_timer_start(&server->quit_timer, on_quit_timer, QUIT_MS, 0);
    uv_timer_stop(&server->tick);
    uv_idle_start(&server->idle, on_idle); /* so that there is a turn even if nothing comes */
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct server *server = signal->loop->data;
    if (server->stopping) {
        log_write(LOG_WARNING, "stopped at once by a second signal");
        _exit(1);
    }
    server_stop(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* ---- starting ---- */

static void wake_done(void *context)
{
    struct server *server = context;
    uv_async_send(&server->done);
}

static void wake_changed(void *context)
{
    struct server *server = context;
    uv_async_send(&server->woken);
}

static void init_handles(struct server *server)
{
    uv_loop_t *loop = &server->loop;
    loop->data = server;
    uv_async_init(loop, &server->done, on_done);
    uv_async_init(loop, &server->woken, on_woken);
    uv_prepare_init(loop, &server->prepare);
    uv_prepare_start(&server->prepare, on_prepare);
    uv_check_init(loop, &server->check);
    uv_check_start(&server->check, on_check);
    uv_idle_init(loop, &server->idle);
    uv_timer_init(loop, &server->tick);
    uv_timer_init(loop, &server->quit_timer);
    uv_timer_init(loop, &server->rest);
    uv_timer_init(loop, &server->txns.timer);
    uv_signal_init(loop, &server->sigterm);
    uv_signal_init(loop, &server->sigint);
    uv_signal_start(&server->sigterm, on_signal, SIGTERM);
    uv_signal_start(&server->sigint, on_signal, SIGINT);
    struct link *const lists[] = {&server->listeners,  &server->conns,          &server->dirty,
                                  &server->late,       &server->resume,         &server->unread,
                                  &server->choked,     &server->holding,        &server->watchers,
                                  &server->read_waits, &server->snapshot_waits, &server->lingering,
                                  &server->listings};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        list_init(lists[i]);
    }
}

static int open_store(struct server *server, struct ls_error *error)
{
    const struct config *config = &server->config;
    const struct store_options options = {.sync = config->sync,
                                          .create = true,
                                          .map_size_max = config->map_size,
                                          .quota = config->quota};
    int rc = store_open(&server->store, config->store, &options, error);
    if (rc != 0) {
        return rc;
    }
    server->reads.store = server->store;
    rc = sequencer_open(&server->sequencer, server->store, error);
    if (rc == 0) {
        const struct txn_options txn = {.shards = (unsigned)config->shards,
                                        .ttl_ms = config->txn_ttl,
                                        .open_max = config->txn_open_max,
                                        .history_age_ms = config->txn_history_age,
                                        .memory = config->txn_memory,
                                        .seed = server->shards.seed,
                                        .lives_on = true};
        rc = txn_open(&server->txns.txn, server->sequencer, &txn, error);
    }
    if (rc == 0) {
        rc = sequencer_start(server->sequencer, wake_done, server, error);
    }
    if (rc == 0) {
        rc = waker_start(&server->waker, server->store, wake_changed, server, error);
    }
    return rc;
}

static int start(struct server *server, struct ls_error *error)
{
    frames_init(server->frames);
    server->input = malloc(INPUT_SIZE);
    int rc = server->input == NULL ? error_code(error, LS_ENOMEM) : 0;
    if (rc == 0) {
        rc = shards_init(&server->shards, error);
        server->txns.open.seed = server->shards.seed;
    }
    if (rc == 0 && nodes_init(&server->nodes, server->shards.seed) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    if (rc == 0) {
        listen_set_limit(server);
        rc = listen_open(server, error);
    }
    if (rc == 0) {
        rc = open_store(server, error);
    }
    if (rc == 0) {
        ask_epoch(server);
        server->stats.started_ms = server_now_ms(server);
        uv_timer_start(&server->tick, on_tick, TICK_MS, 0);
        uv_idle_start(&server->idle, on_idle);
        log_write(LOG_NOTICE, "lockstepd %s, store %s, sync %s, process %d", LS_VERSION,
                  server->config.store, server->config.sync ? "yes" : "no", (int)getpid());
    }
    return rc;
}

static void server_free(struct server *server)
{
    uv_loop_close(&server->loop);
    reads_end(&server->reads);
    if (server->store != NULL) {
        store_close(server->store);
    }
    queue_free(&server->queue);
    shards_free(&server->shards);
    txns_free(&server->txns);
    nodes_free(&server->nodes);
    frames_free(server->frames);
    while (server->spare_out_count > 0) {
        buf_free(&server->spare_out[--server->spare_out_count]);
    }
    buf_free(&server->scratch);
    free(server->input);
    config_free(&server->config);
    free(server);
}

int server_open(struct server **out, struct config *config, struct ls_error *error)
{
    struct server *server = calloc(1, sizeof *server);
    int rc = server == NULL ? UV_ENOMEM : uv_loop_init(&server->loop);
    if (rc != 0) {
        config_free(config);
        free(server);
        return error_set(error, LS_EIO, 0, "cannot make an event loop: %s", uv_strerror(rc));
    }
    server->config = *config;
    init_handles(server);
    rc = start(server, error);
    if (rc == 0) {
        *out = server;
        return 0;
    }
    listen_close(server);
    close_all(server);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    server_free(server);
    return rc;
}

int server_run(struct server *server, struct ls_error *error)
{
    uv_run(&server->loop, UV_RUN_DEFAULT);
    int rc = server->failure.code;
    if (rc != 0) {
        *error = server->failure;
    }
    server_free(server);
    return rc;
}

int server_apply_config(struct server *server, const struct config *old, struct ls_error *error)
{
    const struct config *now = &server->config;
    if (now->quota != old->quota) {
        int rc = server->store->driver->set_quota(server->store, now->quota, error);
        if (rc != 0) {
            return rc;
        }
    }
    txn_set_ttl(server->txns.txn, now->txn_ttl);
    txn_set_open_max(server->txns.txn, now->txn_open_max);
    txn_set_memory(server->txns.txn, now->txn_memory);
    txn_set_history_age(server->txns.txn, now->txn_history_age);
    log_set_level((enum log_level)now->log_level);
    if (now->connections_max != old->connections_max) {
        listen_set_limit(server);
    }
    return 0;
}
