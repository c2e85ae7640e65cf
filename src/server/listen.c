/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: TCP over IPv4 and IPv6, and Unix sockets. */
#include "server/listen.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "server/answer.h"

#define PORT_STANDARD 7411
#define BACKLOG       4096
#define FILES_OWN     64 /* open files beside those of clients */
#define ADDRESS_MAX   1024

struct listener {
    struct link link;
    union socket socket;
    const char *path; /* in the text: of a Unix socket, to be removed in the end; else NULL */
    bool waiting;     /* there was no memory for a client, which is to be let in later */
    char text[];      /* the address as the settings name it */
};

void listen_set_limit(struct server *server)
{
    struct rlimit limit;
    uint64_t connections_max = server->config.connections_max;
    rlim_t wanted = (rlim_t)connections_max + FILES_OWN;
    server->conn_max = connections_max;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = wanted;
    limit.rlim_max = limit.rlim_max < wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t files = limit.rlim_cur;
    server->conn_max = files > 2 * FILES_OWN ? files - FILES_OWN : files / 2;
    log_write(LOG_WARNING,
              "the system allows %llu open files: %llu connections instead of the %llu of "
              "connections-max",
              (unsigned long long)files, (unsigned long long)server->conn_max,
              (unsigned long long)connections_max);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct server *server = stream->loop->data;
    if (status < 0) {
        log_write(LOG_WARNING, "cannot let a client in: %s", uv_strerror(status));
        return;
    }
    bool full = server->conn_count >= server->conn_max;
    struct listener *listener = LINK_OWNER(stream, struct listener, socket);
    struct conn *conn;
    listener->waiting = conn_accept(server, stream, &conn) != 0;
    if (conn != NULL && full) {
        static const char text[] = "-ERR max number of clients reached\r\n";
        server->stats.connections_refused++;
        answer_raw(conn, bytes_of(text, sizeof text - 1));
        conn_close_after_output(conn);
    }
}

static int refuse_address(struct ls_error *error)
{
    return error_set(error, LS_EINVAL, 0,
                     "listen must be HOST, HOST:PORT, [IPV6]:PORT or unix:PATH");
}

/* Splits "HOST", "HOST:PORT" or "[IPV6]:PORT". */
static int split(const char *text, char *host, size_t host_size, int *port, struct ls_error *error)
{
    const char *end = text + strlen(text);
    const char *colon = NULL;
    if (text[0] == '[') {
        end = strchr(text, ']');
        colon = end == NULL || end[1] == '\0' ? NULL : end + 1;
        text++;
    } else {
        colon = strchr(text, ':');
        end = colon == NULL ? end : colon;
    }
    bool wrong = end == NULL || end == text || (size_t)(end - text) >= host_size ||
                 (colon != NULL && (colon[0] != ':' || !isdigit((unsigned char)colon[1])));
    *port = PORT_STANDARD;
    if (!wrong && colon != NULL) {
        char *rest;
        unsigned long value = strtoul(colon + 1, &rest, 10);
        wrong = *rest != '\0' || value > 65535;
        *port = (int)value;
    }
    if (wrong) {
        return refuse_address(error);
    }
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = '\0';
    return 0;
}

/* A numeric address, or the first that a name stands for. */
static int resolve(struct server *server, const char *host, int port,
                   struct sockaddr_storage *address, struct ls_error *error)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)address) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)address) == 0) {
        return 0;
    }
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    uv_getaddrinfo_t request;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int rc = uv_getaddrinfo(&server->loop, &request, NULL, host, service, &hints);
    if (rc != 0) {
        return error_set(error, LS_EINVAL, 0, "cannot listen on '%s': %s", host, uv_strerror(rc));
    }
    memcpy(address, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return 0;
}

static int bind_tcp(struct server *server, struct listener *listener, const char *text,
                    struct ls_error *error)
{
    char host[ADDRESS_MAX];
    int port;
    struct sockaddr_storage address;
    uv_tcp_init(&server->loop, &listener->socket.tcp);
    int rc = split(text, host, sizeof host, &port, error);
    if (rc == 0) {
        rc = resolve(server, host, port, &address, error);
    }
    if (rc != 0) {
        return rc;
    }
    rc = uv_tcp_bind(&listener->socket.tcp, (const struct sockaddr *)&address, 0);
    if (rc != 0) {
        return error_set(error, LS_EIO, 0, "cannot listen on %s: %s", text, uv_strerror(rc));
    }
    return 0;
}

/* A socket file that nobody answers on is left from before, and in the way. Whatever else keeps us
 * from connecting, it is somebody's. */
static void remove_stale(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISSOCK(info.st_mode)) {
        return;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    memcpy(address.sun_path, path, strlen(path));
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 &&
        errno == ECONNREFUSED) {
        unlink(path);
    }
    close(fd);
}

static int bind_pipe(struct server *server, struct listener *listener, const char *path,
                     struct ls_error *error)
{
    const size_t size_max = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    uv_pipe_init(&server->loop, &listener->socket.pipe, 0);
    if (path[0] == '\0' || strlen(path) > size_max) {
        return error_set(error, LS_EINVAL, 0, "the path of a Unix socket has from 1 to %zu bytes",
                         size_max);
    }
    remove_stale(path);
    int rc = uv_pipe_bind(&listener->socket.pipe, path);
    if (rc != 0) {
        return error_set(error, LS_EIO, 0, "cannot listen on unix:%s: %s", path, uv_strerror(rc));
    }
    listener->path = path;
    return 0;
}

static int open_one(struct server *server, const char *text, struct ls_error *error)
{
    struct listener *listener = calloc(1, sizeof *listener + strlen(text) + 1);
    if (listener == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    memcpy(listener->text, text, strlen(text) + 1);
    bool pipe = strncmp(text, "unix:", 5) == 0;
    int rc = pipe ? bind_pipe(server, listener, listener->text + 5, error)
                  : bind_tcp(server, listener, listener->text, error);
    listener->socket.handle.data = listener;
    list_append(&server->listeners, &listener->link);
    return rc;
}

int listen_open(struct server *server, struct ls_error *error)
{
    char *all = strdup(server->config.listen);
    if (all == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int rc = 0;
    char *rest = NULL;
    for (char *text = strtok_r(all, " ", &rest); rc == 0 && text != NULL;
         text = strtok_r(NULL, " ", &rest)) {
        rc = open_one(server, text, error);
    }
    free(all);
    return rc == 0 && list_empty(&server->listeners) ? refuse_address(error) : rc;
}

static void log_listening(struct listener *listener)
{
    if (listener->path != NULL) {
        log_write(LOG_NOTICE, "listening on unix:%s", listener->path);
        return;
    }
    struct sockaddr_storage address;
    int length = sizeof address;
    char name[INET6_ADDRSTRLEN] = "?";
    uv_tcp_getsockname(&listener->socket.tcp, (struct sockaddr *)&address, &length);
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        uv_ip6_name(in6, name, sizeof name);
        log_write(LOG_NOTICE, "listening on [%s]:%u", name, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        uv_ip4_name(in, name, sizeof name);
        log_write(LOG_NOTICE, "listening on %s:%u", name, ntohs(in->sin_port));
    }
}

int listen_start(struct server *server, struct ls_error *error)
{
    LIST_EACH(at, after, &server->listeners)
    {
        struct listener *listener = LINK_OWNER(at, struct listener, link);
        int rc = uv_listen(&listener->socket.stream, BACKLOG, on_connection);
        if (rc != 0) {
            return error_set(error, LS_EIO, 0, "cannot listen on %s: %s", listener->text,
                             uv_strerror(rc));
        }
        log_listening(listener);
    }
    return 0;
}

/* The loop tells of a client once, and of no other before that one was let in. */
void listen_tick(struct server *server)
{
    LIST_EACH(at, after, &server->listeners)
    {
        struct listener *listener = LINK_OWNER(at, struct listener, link);
        if (listener->waiting) {
            on_connection(&listener->socket.stream, 0);
        }
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void listen_close(struct server *server)
{
    LIST_EACH(at, after, &server->listeners)
    {
        struct listener *listener = LINK_OWNER(at, struct listener, link);
        list_remove(&listener->link);
        if (listener->path != NULL) {
            unlink(listener->path);
        }
        uv_close(&listener->socket.handle, on_closed);
    }
}
