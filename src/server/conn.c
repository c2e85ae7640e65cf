/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: the rules in conn.h, over libuv's streams. What a command does is not known here. */
#include "server/conn.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "server/answer.h"
#include "server/command.h"
#include "server/frames.h"
#include "server/listing.h"
#include "server/server.h"
#include "server/watch.h"

#define SPARE_OUT_SIZE_MAX ((size_t)64 * 1024)
#define SPARE_OUT_COUNT    (sizeof((struct server *)0)->spare_out / sizeof(struct buf))
#define READ_AHEAD_MAX     ((size_t)64 * 1024) /* taken in while an MSG.READ waits */
#define READ_MORE          ((size_t)16 * 1024)
#define STRANGER_SIZE_MAX  ((size_t)16 * 1024)
#define INLINE_SIZE_MAX    ((size_t)64 * 1024)
#define HELD_LITTLE        ((size_t)16 * 1024)
#define QUEUE_SHARES       8 /* one connection's calls that may wait: so much of queue-max */

/* What is discarded of a client that was told why it is closed and sends on: for how long, how much
 * of it, how long without any, and of how many clients beyond those that there may be. */
#define LINGER_MS       10000
#define LINGER_SIZE_MAX ((size_t)64 * 1024 * 1024)
#define LINGER_QUIET_MS 2000
#define LINGER_EXTRA    16

/* ---- the end of a connection ---- */

static void conn_free(struct conn *conn)
{
    assert(conn->unanswered == 0 && conn->writing == NULL);
    resp_parser_free(&conn->parser);
    buf_free(&conn->in);
    buf_free(&conn->out);
    free(conn->binding);
    free(conn->name);
    free(conn->library);
    free(conn->library_version);
    free(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    conn->unhandled = true;
    if (conn->unanswered == 0) {
        conn_free(conn);
    }
}

static void forget_piece(struct conn *conn, struct held_piece *piece)
{
    conn->held -= held_piece_bytes(piece);
    conn->server->held -= held_piece_bytes(piece);
    free(piece);
}

static void drop_held(struct conn *conn)
{
    for (struct pending *pending = conn->oldest; pending != NULL; pending = pending->behind) {
        for (struct held_piece *piece; (piece = held_take(&pending->held)) != NULL;) {
            forget_piece(conn, piece);
        }
    }
    assert(conn->held == 0);
}

/* Nothing that the client asked for goes on. */
static void end_all(struct conn *conn)
{
    watch_end_all(conn);
    listing_end(conn);
    txns_end(conn);
    drop_held(conn);
    shards_end_listening(conn);
    nodes_unbind(&conn->server->nodes, conn);
    list_remove(&conn->dirty);
    list_remove(&conn->resume);
}

void conn_close(struct conn *conn)
{
    if (conn->closed) {
        return;
    }
    conn->closed = true;
    log_write(LOG_DEBUG, "client %llu is gone", (unsigned long long)conn->id);
    end_all(conn);
    list_remove(&conn->all);
    list_remove(&conn->unread);
    list_remove(&conn->watching);
    conn->server->conn_count--;
    uv_close(&conn->socket.handle, on_closed);
}

void conn_close_after_output(struct conn *conn)
{
    conn->closing = true;
    list_append(&conn->server->dirty, &conn->dirty);
}

static void update_reading(struct conn *conn);

/* Everything is written. Where bytes of the client were unread, or came later, closing now would
 * reset the connection, and a client that is still sending would not get to read why. So this side
 * alone is ended, and what comes is discarded until the client ends its own. */
static void linger(struct conn *conn)
{
    struct server *server = conn->server;
    bool many = server->conn_count > server->conn_max + LINGER_EXTRA;
    uv_os_fd_t fd;
    if (conn->eof || many || server->stopping || uv_fileno(&conn->socket.handle, &fd) != 0 ||
        shutdown(fd, SHUT_WR) != 0) {
        conn_close(conn);
        return;
    }
    end_all(conn);
    resp_parser_free(&conn->parser);
    buf_free(&conn->in);
    conn->in_start = 0;
    conn->lingering = true;
    conn->active_ms = server_now_ms(server);
    conn->linger_end_ms = conn->active_ms + LINGER_MS;
    list_append(&server->lingering, &conn->watching);
    update_reading(conn);
}

static void discard(struct conn *conn, size_t size)
{
    conn->discarded += size;
    if (conn->discarded > LINGER_SIZE_MAX) {
        conn_close(conn);
    }
}

/* Whether reading would fail. One whose client has only sent its last byte is not broken: it may
 * have sent commands that are to be run, and wait for their replies. */
static bool is_broken(const struct conn *conn)
{
    uv_os_fd_t fd;
    if (uv_fileno(&conn->socket.handle, &fd) != 0) {
        return false;
    }
    struct pollfd broken = {.fd = fd};
    return poll(&broken, 1, 0) > 0 && (broken.revents & POLLERR) != 0;
}

void conns_tick(struct server *server)
{
    uint64_t now_ms = server_now_ms(server);
    LIST_EACH(at, after, &server->unread)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, unread);
        if (is_broken(conn)) {
            conn_close(conn);
        }
    }
    LIST_EACH(at, after, &server->lingering)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, watching);
        if (now_ms >= conn->linger_end_ms || now_ms - conn->active_ms >= LINGER_QUIET_MS) {
            conn_close(conn);
        }
    }
}

/* ---- what waits for its answer ---- */

void conn_asked(struct conn *conn, struct pending *pending)
{
    conn->unanswered++;
    conn->may_wait += pending->may_wait ? pending->bytes : 0;
    pending->ahead = conn->newest;
    *(conn->newest != NULL ? &conn->newest->behind : &conn->oldest) = pending;
    conn->newest = pending;
}

static void send_held(struct conn *conn, struct held *held)
{
    for (struct held_piece *piece; (piece = held_take(held)) != NULL;) {
        answer_raw(conn, bytes_of(piece->data, piece->size));
        forget_piece(conn, piece);
    }
}

static void recycle(struct server *server, struct buf *bytes)
{
    if (bytes->capacity <= SPARE_OUT_SIZE_MAX && server->spare_out_count < SPARE_OUT_COUNT) {
        bytes->size = 0;
        server->spare_out[server->spare_out_count++] = *bytes;
        *bytes = (struct buf){0};
    } else {
        buf_free(bytes);
    }
}

/* As `answer`, with the reply put where those behind the one before it are. */
static void answer_later(struct conn *conn, struct pending *pending)
{
    struct held *held = &pending->ahead->held;
    struct buf out = conn->out;
    size_t bytes = 0;
    conn->out = (struct buf){0};
    pending->answer(pending);
    if (!conn->closed && held_add(held, buf_bytes(&conn->out), &bytes) != 0) {
        conn->failed = true;
    }
    recycle(conn->server, &conn->out);
    conn->out = out;
    conn->held += bytes;
    conn->server->held += bytes;
    held_join(held, &pending->held);
}

/* It is back: no more of it waits. */
static void leave_order(struct conn *conn, struct pending *pending)
{
    *(pending->ahead != NULL ? &pending->ahead->behind : &conn->oldest) = pending->behind;
    *(pending->behind != NULL ? &pending->behind->ahead : &conn->newest) = pending->ahead;
    conn->may_wait -= pending->may_wait ? pending->bytes : 0;
    conn->unanswered--;
    queue_done(&conn->server->queue, pending);
}

/* Whether so much waits for transactions, or behind what does, that nothing more is to join it from
 * this connection. Where all of them hold too much, those go on that hold little. */
static bool holds_much(struct conn *conn)
{
    struct server *server = conn->server;
    uint64_t queue_max = server->config.queue_max;
    if (conn->held > HELD_LITTLE && server->held > queue_max) {
        server->held_full = true;
        return true;
    }
    return conn->held > CONN_OUTPUT_PAUSE || conn->may_wait > queue_max / QUEUE_SHARES;
}

/* As for output that a client does not read. */
static void check_held(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn->held > server->config.output_max) {
        log_write(LOG_WARNING,
                  "closed client %llu: %zu bytes of replies waited, output-max is %llu",
                  (unsigned long long)conn->id, conn->held,
                  (unsigned long long)server->config.output_max);
        server->stats.output_closed++;
        conn_close(conn);
    } else if ((conn->pause & PAUSE_HELD) != 0 && !holds_much(conn)) {
        conn_unpause(conn, PAUSE_HELD);
    }
}

void conn_answered(struct conn *conn, struct pending *pending)
{
    conn->server->stats.errors += pending->request.status != 0;
    if (pending->ahead == NULL) {
        pending->answer(pending);
        send_held(conn, &pending->held);
    } else {
        answer_later(conn, pending);
    }
    leave_order(conn, pending);
    if (!conn->closed) {
        check_held(conn);
    }
    if (conn->unanswered > 0) {
        return;
    }
    if (conn->unhandled) {
        conn_free(conn);
    } else if (!conn->closed) {
        conn_unpause(conn, PAUSE_ANSWERS);
    }
}

/* ---- out ---- */

struct buf *conn_out(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn->out.data == NULL && server->spare_out_count > 0) {
        conn->out = server->spare_out[--server->spare_out_count];
    }
    if (!conn->closed) {
        list_append(&server->dirty, &conn->dirty);
    }
    return &conn->out;
}

size_t conn_waiting(const struct conn *conn)
{
    size_t waiting = conn->out.size;
    if (conn->writing != NULL && conn->writing->block == NULL) {
        waiting += conn->writing->size;
    }
    return waiting;
}

static size_t write_memory(const struct conn_write *write)
{
    return sizeof *write + write->bytes.capacity +
           (write->block == NULL ? 0 : frames_block_memory(write->block));
}

static size_t text_memory(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

size_t conn_memory(const struct conn *conn)
{
    size_t memory = sizeof *conn + resp_parser_memory(&conn->parser) + conn->in.capacity +
                    conn->out.capacity + text_memory(conn->name) + text_memory(conn->library) +
                    text_memory(conn->library_version);
    memory += box_watch_memory(conn->box_watch) + object_watch_memory(conn->object_watch) +
              read_memory(conn->read_wait) + listing_memory(conn->listing);
    if (conn->writing != NULL) {
        memory += write_memory(conn->writing);
    }
    if (conn->binding != NULL) {
        memory += sizeof *conn->binding;
    }
    for (const struct pending *at = conn->oldest; at != NULL; at = at->behind) {
        memory += at->bytes;
    }
    return memory + conn->held;
}

static void write_free(struct conn_write *write)
{
    buf_free(&write->bytes);
    frames_release(write->block);
    free(write);
}

static void on_written(uv_write_t *request, int status)
{
    struct conn_write *write = request->data;
    struct conn *conn = write->conn;
    conn->writing = NULL;
    write_free(write);
    if (conn->closed) {
        return;
    }
    if (status < 0) {
        conn_close(conn);
        return;
    }
    conn_flush(conn);
    if (!conn->closed && (conn->pause & PAUSE_OUTPUT) != 0 &&
        conn_waiting(conn) <= CONN_OUTPUT_PAUSE) {
        conn_unpause(conn, PAUSE_OUTPUT);
    }
}

/* Leaves the rest of what try_write did not take to libuv. `bufs` is changed. */
static void send_rest(struct conn *conn, struct conn_write *write, uv_buf_t *bufs, unsigned count,
                      size_t written)
{
    while (count > 0 && written >= bufs->len) {
        written -= bufs->len;
        bufs++;
        count--;
    }
    bufs->base += written;
    bufs->len -= written;
    for (unsigned i = 0; i < count; i++) {
        write->size += bufs[i].len;
    }
    write->request.data = write;
    write->conn = conn;
    conn->writing = write;
    if (uv_write(&write->request, &conn->socket.stream, bufs, count, on_written) != 0) {
        conn->writing = NULL;
        write_free(write);
        conn_close(conn);
    }
}

/* What the socket takes at once; SIZE_MAX where the connection had to be closed. */
static size_t send_now(struct conn *conn, const uv_buf_t *bufs, unsigned count)
{
    int n = uv_try_write(&conn->socket.stream, bufs, count);
    if (n >= 0) {
        conn->server->stats.bytes_out += (size_t)n;
        return (size_t)n;
    }
    if (n == UV_EAGAIN) {
        return 0;
    }
    conn_close(conn);
    return SIZE_MAX;
}

#define SEND_BUFS_MAX 64

void conn_send(struct conn *conn, const uv_buf_t *bufs, unsigned count, struct frames_block *block)
{
    assert(conn->writing == NULL && count <= SEND_BUFS_MAX);
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += bufs[i].len;
    }
    size_t written = send_now(conn, bufs, count);
    if (written >= size) {
        frames_release(block);
        return;
    }
    struct conn_write *write = calloc(1, sizeof *write);
    if (write == NULL) {
        frames_release(block);
        conn_close(conn);
        return;
    }
    write->block = block;
    conn->server->stats.bytes_out += size - written;
    uv_buf_t rest[SEND_BUFS_MAX];
    memcpy(rest, bufs, count * sizeof *bufs);
    send_rest(conn, write, rest, count, written);
}

void conn_send_bytes(struct conn *conn, struct buf *bytes)
{
    assert(conn->writing == NULL && bytes->size > 0);
    uv_buf_t whole = {.base = (char *)bytes->data, .len = bytes->size};
    size_t written = send_now(conn, &whole, 1);
    if (written >= bytes->size) {
        recycle(conn->server, bytes);
        return;
    }
    struct conn_write *write = calloc(1, sizeof *write);
    if (write == NULL) {
        conn_close(conn);
        return;
    }
    conn->server->stats.bytes_out += bytes->size - written;
    write->bytes = *bytes;
    *bytes = (struct buf){0};
    send_rest(conn, write, &whole, 1, written);
}

/* A client that sent its last byte is let go once it has every reply; one that is to be resumed may
 * have commands left. What it has open then, nobody can end any more. */
static void let_go(struct conn *conn)
{
    if (conn->eof && conn->in.size == conn->in_start) {
        txns_end(conn);
    }
    if (conn->eof && conn->pause == 0 && !link_joined(&conn->resume) && conn->unanswered == 0 &&
        conn->writing == NULL && conn->out.size == 0) {
        conn_close(conn);
    }
}

/* Lets its watches read on, where the turn has time left for that. */
static void read_on(struct conn *conn)
{
    struct server *server = conn->server;
    if (server->watched_ns >= TURN_LOOK_NS) {
        list_append(&server->late, &conn->dirty);
        return;
    }
    uint64_t begin_ns = uv_hrtime();
    watch_read_on(conn);
    server->watched_ns += uv_hrtime() - begin_ns;
}

void conn_flush(struct conn *conn)
{
    if (conn->closed) {
        return;
    }
    if (conn->failed) {
        log_write(LOG_WARNING, "closed client %llu: no memory for its reply",
                  (unsigned long long)conn->id);
        conn_close(conn);
        return;
    }
    if (conn->writing == NULL && conn->out.size > 0) {
        conn_send_bytes(conn, &conn->out);
    }
    if (conn->closed) {
        return;
    }
    if (conn->writing != NULL) {
        if (conn_waiting(conn) > conn->server->config.output_max) {
            log_write(LOG_WARNING,
                      "closed client %llu: %zu bytes of output waited, output-max is %llu",
                      (unsigned long long)conn->id, conn_waiting(conn),
                      (unsigned long long)conn->server->config.output_max);
            conn->server->stats.output_closed++;
            conn_close(conn);
        }
        return;
    }
    if (conn->closing) {
        if (!conn->lingering) {
            linger(conn);
        }
        return;
    }
    if (conn->box_watch != NULL || conn->object_watch != NULL) {
        read_on(conn);
    }
    if (!conn->closed) {
        let_go(conn);
    }
}

/* ---- in ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct conn *conn = handle->data;
    *out = uv_buf_init(NULL, 0);
    if (conn->in.size == conn->in_start) {
        *out = uv_buf_init(conn->server->input, INPUT_SIZE);
        return;
    }
    buf_drop(&conn->in, conn->in_start);
    conn->in_start = 0;
    if (buf_reserve(&conn->in, READ_MORE) == 0) {
        *out = uv_buf_init((char *)conn->in.data + conn->in.size,
                           (unsigned)(conn->in.capacity - conn->in.size));
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

/* Reads from the socket exactly while what comes can be used. */
static void update_reading(struct conn *conn)
{
    bool paused = (conn->pause & ~PAUSE_READ) != 0 ||
                  (conn->pause != 0 && conn->in.size - conn->in_start >= READ_AHEAD_MAX);
    bool wanted = conn->lingering || (!conn->eof && !conn->closing && !paused);
    bool want = wanted && !conn->server->stopping;
    if (conn->closed || want == conn->reading) {
        return;
    }
    conn->reading = want;
    conn->behind = 0;
    list_remove(&conn->unread);
    if (!want) {
        uv_read_stop(&conn->socket.stream);
        list_append(&conn->server->unread, &conn->unread);
    } else if (uv_read_start(&conn->socket.stream, on_alloc, on_read) != 0) {
        conn_close(conn);
    }
}

static void pause_for(struct conn *conn, enum pause pause)
{
    conn->pause |= (uint8_t)pause;
    if (pause == PAUSE_QUEUE) {
        list_append(&conn->server->choked, &conn->resume);
    } else if (pause == PAUSE_HELD) {
        list_append(&conn->server->holding, &conn->resume);
    }
}

void conn_unpause(struct conn *conn, enum pause pause)
{
    if (pause == PAUSE_QUEUE || pause == PAUSE_HELD) {
        list_remove(&conn->resume);
    }
    if ((conn->pause & pause) == 0 || conn->closed) {
        if (conn->eof && !conn->closed) {
            list_append(&conn->server->dirty, &conn->dirty);
        }
        return;
    }
    conn->pause &= (uint8_t)~pause;
    if (conn->pause == 0) {
        list_append(&conn->server->resume, &conn->resume);
    }
}

/* The bytes are no protocol: says so behind the replies before, and hangs up. */
static bool refuse_bytes(struct conn *conn, const struct ls_error *error)
{
    if (conn->unanswered > 0) {
        resp_parser_free(&conn->parser); /* so that the same bytes fail in the same way later */
        pause_for(conn, PAUSE_ANSWERS);
        return false;
    }
    answer_error(conn, error);
    conn->server->stats.errors++;
    conn_close_after_output(conn);
    return true;
}

/* A client that has not given the password has no need of long requests. */
static size_t request_size_max(const struct conn *conn)
{
    const struct config *config = &conn->server->config;
    bool stranger = config->password[0] != '\0' && !conn->authenticated;
    return stranger && config->request_max > STRANGER_SIZE_MAX ? STRANGER_SIZE_MAX
                                                               : config->request_max;
}

/* Runs the commands that the bytes begin with and returns how many bytes they took. */
static size_t run(struct conn *conn, const uint8_t *data, size_t size)
{
    struct server *server = conn->server;
    size_t at = 0;
    while (at < size && conn->pause == 0 && !conn->closing && !conn->closed && !server->stopping) {
        if (server_queues_more(server, server->config.queue_max)) {
            pause_for(conn, PAUSE_QUEUE);
            break;
        }
        if (holds_much(conn)) {
            pause_for(conn, PAUSE_HELD);
            break;
        }
        struct ls_error error;
        size_t used = 0;
        conn->parser.limits.request_size_max = request_size_max(conn);
        enum resp_status status =
            resp_parse(&conn->parser, bytes_of(data + at, size - at), &used, &error);
        if (status == RESP_MORE) {
            at += used;
            break;
        }
        if (status == RESP_FAILED) {
            at = refuse_bytes(conn, &error) ? size : at;
            break;
        }
        if (!command_run(conn, conn->parser.argc, conn->parser.argv)) {
            pause_for(conn, PAUSE_ANSWERS);
            break;
        }
        at += used;
        if (conn->out.size > CONN_OUTPUT_PAUSE && !conn->closed) {
            conn_flush(conn);
            if (!conn->closed && conn_waiting(conn) > CONN_OUTPUT_PAUSE) {
                pause_for(conn, PAUSE_OUTPUT);
            }
        }
    }
    resp_parser_rest(&conn->parser);
    return at;
}

void conn_resume(struct conn *conn)
{
    if (conn->closed) {
        return;
    }
    if (conn->in.size > conn->in_start) {
        conn->in_start += run(conn, conn->in.data + conn->in_start, conn->in.size - conn->in_start);
    }
    if (conn->in.size == conn->in_start || conn->closing) {
        buf_free(&conn->in);
        conn->in_start = 0;
    }
    if (conn->eof && !conn->closed) {
        list_append(&conn->server->dirty, &conn->dirty);
    }
    update_reading(conn);
}

/* The client is gone, or has sent its last byte. What it waits for without end ends here. */
static void on_end(struct conn *conn, ssize_t nread)
{
    if (nread != UV_EOF || conn->lingering || conn_watches(conn) || conn->read_wait != NULL) {
        conn_close(conn);
        return;
    }
    conn->eof = true;
    list_append(&conn->server->dirty, &conn->dirty);
    update_reading(conn);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    struct server *server = conn->server;
    if (nread == 0) {
        return;
    }
    if (nread < 0) {
        on_end(conn, nread);
        return;
    }
    size_t size = (size_t)nread;
    server->stats.bytes_in += size;
    conn->active_ms = server_now_ms(server);
    if (conn->lingering) {
        discard(conn, size);
        return;
    }
    nodes_heard(conn);
    if (buf->base != server->input) {
        conn->in.size += size;
        conn_resume(conn);
        return;
    }
    size_t used = run(conn, (const uint8_t *)buf->base, size);
    if (used < size && !conn->closed && !conn->closing &&
        buf_append(&conn->in, buf->base + used, size - used) != 0) {
        log_write(LOG_WARNING, "closed client %llu: no memory for its command",
                  (unsigned long long)conn->id);
        conn_close(conn);
    }
    update_reading(conn);
}

bool conn_is_left(const struct conn *conn)
{
    uv_os_fd_t fd;
    if (conn->reading || uv_fileno(&conn->socket.handle, &fd) != 0) {
        return false;
    }
    struct pollfd ended = {.fd = fd, .events = POLLRDHUP};
    return poll(&ended, 1, 0) > 0 && ended.revents != 0;
}

/* ---- the beginning of a connection ---- */

/* A connection whose socket is not connected yet. */
static struct conn *conn_new(struct server *server, uv_handle_type type)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return NULL;
    }
    conn->server = server;
    conn->id = ++server->conn_last_id;
    conn->proto = 2;
    conn->created_ms = server_now_ms(server);
    conn->active_ms = conn->created_ms;
    conn->parser.limits.inline_size_max = INLINE_SIZE_MAX;
    if (type == UV_NAMED_PIPE) {
        uv_pipe_init(&server->loop, &conn->socket.pipe, 0);
    } else {
        uv_tcp_init(&server->loop, &conn->socket.tcp);
    }
    conn->socket.handle.data = conn;
    list_init(&conn->txns);
    list_init(&conn->listens);
    list_append(&server->conns, &conn->all);
    server->conn_count++;
    server->stats.connections++;
    return conn;
}

/* Begins to read: NULL where it cannot. */
static struct conn *conn_begin(struct conn *conn)
{
    update_reading(conn);
    log_write(LOG_DEBUG, "client %llu came", (unsigned long long)conn->id);
    return conn->closed ? NULL : conn;
}

int conn_accept(struct server *server, uv_stream_t *listener, struct conn **out)
{
    struct conn *conn = conn_new(server, listener->type);
    *out = NULL;
    if (conn == NULL) {
        return LS_ENOMEM;
    }
    if (uv_accept(listener, &conn->socket.stream) != 0) {
        conn_close(conn);
        return 0;
    }
    if (listener->type == UV_TCP) {
        uv_tcp_nodelay(&conn->socket.tcp, 1);
        unsigned keepalive = (unsigned)server->config.tcp_keepalive;
        uv_tcp_keepalive(&conn->socket.tcp, keepalive > 0, keepalive);
    }
    *out = conn_begin(conn);
    return 0;
}

struct conn *conn_adopt(struct server *server, int fd)
{
    struct conn *conn = conn_new(server, UV_NAMED_PIPE);
    if (conn == NULL) {
        return NULL;
    }
    if (uv_pipe_open(&conn->socket.pipe, fd) != 0) {
        conn_close(conn);
        return NULL;
    }
    return conn_begin(conn);
}

void conn_address(const struct conn *conn, bool local, char *out, size_t size)
{
    snprintf(out, size, "?:0");
    if (conn->socket.handle.type != UV_TCP) {
        snprintf(out, size, "unix:0");
        return;
    }
    struct sockaddr_storage address;
    int length = sizeof address;
    int rc = local ? uv_tcp_getsockname(&conn->socket.tcp, (struct sockaddr *)&address, &length)
                   : uv_tcp_getpeername(&conn->socket.tcp, (struct sockaddr *)&address, &length);
    if (rc != 0) {
        return;
    }
    char name[INET6_ADDRSTRLEN];
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        uv_ip6_name(in6, name, sizeof name);
        snprintf(out, size, "[%s]:%u", name, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        uv_ip4_name(in, name, sizeof name);
        snprintf(out, size, "%s:%u", name, ntohs(in->sin_port));
    }
}
