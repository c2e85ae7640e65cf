/* SPDX-License-Identifier: Apache-2.0 */
/* The commands about the connection itself, as clients of Redis expect them. */
#include <ctype.h>
#include <stdlib.h>

#include "server/handlers.h"
#include "server/watch.h"

int command_ping(struct call *call)
{
    struct conn *conn = call->conn;
    if (conn->proto == 2 && conn_watches(conn)) {
        answer_array(conn, 2);
        answer_text(conn, "pong");
        answer_bulk(conn, call->argc > 1 ? call->argv[1] : bytes_of(NULL, 0));
    } else if (call->argc > 1) {
        answer_bulk(conn, call->argv[1]);
    } else {
        answer_simple(conn, "PONG");
    }
    return 0;
}

int command_echo(struct call *call)
{
    answer_bulk(call->conn, call->argv[1]);
    return 0;
}

int command_quit(struct call *call)
{
    answer_ok(call->conn);
    conn_close_after_output(call->conn);
    return 0;
}

int command_select(struct call *call)
{
    uint64_t number;
    int rc = arg_number(call->argv[1], "the index", &number, call->error);
    if (rc == 0 && number != 0) {
        rc = error_set(call->error, LS_EINVAL, 0, "DB index is out of range");
    }
    if (rc == 0) {
        answer_ok(call->conn);
    }
    return rc;
}

/* ---- AUTH, HELLO, RESET ---- */

/* Takes time that does not depend on where the two differ. */
static bool same_secret(ls_bytes given, const char *secret)
{
    size_t size = strlen(secret);
    const uint8_t *bytes = given.data;
    uint8_t differs = given.size != size;
    for (size_t i = 0; i < given.size; i++) {
        differs |= (uint8_t)(bytes[i] ^ (size == 0 ? 1 : (uint8_t)secret[i % size]));
    }
    return differs == 0;
}

static int authenticate(struct call *call, ls_bytes user, ls_bytes password)
{
    const char *secret = call->server->config.password;
    bool wrong_user = !bytes_equal(user, bytes_of_text("default"));
    if (wrong_user || (secret[0] != '\0' && !same_secret(password, secret))) {
        return error_set(call->error, LS_EWRONGPASS, 0,
                         "invalid username-password pair or user is disabled.");
    }
    call->conn->authenticated = true;
    return 0;
}

int command_auth(struct call *call)
{
    bool with_user = call->argc == 3;
    if (!with_user && call->server->config.password[0] == '\0') {
        return error_set(call->error, LS_EINVAL, 0,
                         "AUTH <password> called without any password configured for the default "
                         "user. Are you sure your configuration is correct?");
    }
    int rc = authenticate(call, with_user ? call->argv[1] : bytes_of_text("default"),
                          call->argv[with_user ? 2 : 1]);
    if (rc == 0) {
        answer_ok(call->conn);
    }
    return rc;
}

static int set_text(char **at, ls_bytes text, struct ls_error *error)
{
    char *copy = NULL;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = ((const unsigned char *)text.data)[i];
        if (c <= ' ' || c > '~') {
            return error_set(error, LS_EINVAL, 0,
                             "Client names cannot contain spaces, newlines or special characters.");
        }
    }
    if (text.size > 0) {
        copy = strndup(text.data, text.size);
        if (copy == NULL) {
            return error_code(error, LS_ENOMEM);
        }
    }
    free(*at);
    *at = copy;
    return 0;
}

static void answer_hello(struct conn *conn)
{
    answer_map(conn, 7);
    answer_text(conn, "server");
    answer_text(conn, "lockstep");
    answer_text(conn, "version");
    answer_text(conn, LS_VERSION);
    answer_text(conn, "proto");
    answer_integer(conn, conn->proto);
    answer_text(conn, "id");
    answer_integer(conn, (int64_t)conn->id);
    answer_text(conn, "mode");
    answer_text(conn, "standalone");
    answer_text(conn, "role");
    answer_text(conn, "master");
    answer_text(conn, "modules");
    answer_array(conn, 0);
}

/* What HELLO asks for; all of it is done, or nothing. */
struct hello {
    uint64_t proto;
    bool has_auth;
    ls_bytes user;
    ls_bytes password;
    bool has_name;
    ls_bytes name;
};

static int parse_hello(struct call *call, struct hello *hello)
{
    hello->proto = call->conn->proto;
    if (call->argc > 1) {
        int rc = arg_number(call->argv[1], "Protocol version", &hello->proto, call->error);
        if (rc != 0) {
            return rc;
        }
    }
    for (size_t at = 2; at < call->argc;) {
        size_t left = call->argc - at;
        if (left >= 3 && arg_is(call->argv[at], "AUTH")) {
            hello->has_auth = true;
            hello->user = call->argv[at + 1];
            hello->password = call->argv[at + 2];
            at += 3;
        } else if (left >= 2 && arg_is(call->argv[at], "SETNAME")) {
            hello->has_name = true;
            hello->name = call->argv[at + 1];
            at += 2;
        } else {
            return arg_refuse(call->error, call->argv[at], "AUTH user password or SETNAME name");
        }
    }
    return 0;
}

int command_hello(struct call *call)
{
    struct conn *conn = call->conn;
    struct hello hello = {0};
    int rc = parse_hello(call, &hello);
    if (rc != 0) {
        return rc;
    }
    if (hello.proto != 2 && hello.proto != 3) {
        answer_raw(conn, bytes_of_text("-NOPROTO unsupported protocol version\r\n"));
        return 0;
    }
    if (hello.has_auth) {
        rc = authenticate(call, hello.user, hello.password);
    } else if (call->server->config.password[0] != '\0' && !conn->authenticated) {
        rc = error_set(call->error, LS_ENOAUTH, 0,
                       "HELLO must be called with the client already authenticated, otherwise the "
                       "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                       "client and select the RESP protocol version at the same time");
    }
    if (rc == 0 && hello.has_name) {
        rc = set_text(&conn->name, hello.name, call->error);
    }
    if (rc == 0) {
        conn->proto = (uint8_t)hello.proto;
        answer_hello(conn);
    }
    return rc;
}

int command_reset(struct call *call)
{
    struct conn *conn = call->conn;
    box_watch_end(conn);
    object_watch_end(conn);
    txns_end(conn);
    shards_end_listening(conn);
    nodes_forget(&call->server->nodes, conn);
    free(conn->name);
    conn->name = NULL;
    conn->proto = 2;
    conn->authenticated = false;
    answer_simple(conn, "RESET");
    return 0;
}

/* ---- CLIENT ---- */

#define WORD_SIZE (4 * 255 + 1)

/* The host of the node as one word, for a line that is split at spaces and at "=". */
static void put_host(const struct conn *conn, char out[WORD_SIZE])
{
    const char *host = conn->bound ? conn->binding->host : "";
    for (; *host != '\0'; host++) {
        if (*host == ' ' || *host == '=') {
            memcpy(out, *host == ' ' ? "\\x20" : "\\x3d", 4);
            out += 4;
        } else {
            *out++ = *host;
        }
    }
    *out = '\0';
}

/* The fields that say the same of every connection are there for clients that look for them. */
static int describe(struct buf *out, const struct conn *conn)
{
    char node[WORD_SIZE];
    char peer[128];
    char local[128];
    char command[40] = "NULL";
    const struct server *server = conn->server;
    uint64_t now = server_now_ms(server);
    conn_address(conn, false, peer, sizeof peer);
    conn_address(conn, true, local, sizeof local);
    put_host(conn, node);
    if (conn->last != NULL) {
        snprintf(command, sizeof command, "%s", conn->last->name);
        for (char *c = command; *c != '\0'; c++) {
            *c = (char)tolower((unsigned char)*c);
        }
    }
    return buf_printf(
        out,
        "id=%llu addr=%s laddr=%s name=%s age=%llu idle=%llu flags=%s db=0 sub=%d "
        "psub=0 multi=-1 qbuf=%zu qbuf-free=0 argv-mem=0 obl=0 oll=0 omem=%zu tot-mem=%zu "
        "tot-cmds=%llu cmd=%s user=default node=%s resp=%d "
        "lib-name=%s lib-ver=%s\n",
        (unsigned long long)conn->id, peer, local, conn->name == NULL ? "" : conn->name,
        (unsigned long long)(now - conn->created_ms) / 1000,
        (unsigned long long)(now - conn->active_ms) / 1000, conn_watches(conn) ? "P" : "N",
        (conn->box_watch != NULL) + (conn->object_watch != NULL), conn->in.size - conn->in_start,
        conn_waiting(conn), conn_memory(conn), (unsigned long long)conn->commands, command, node,
        conn->proto, conn->library == NULL ? "" : conn->library,
        conn->library_version == NULL ? "" : conn->library_version);
}

static int client_list(struct call *call)
{
    struct buf *scratch = server_scratch(call->server);
    int rc = 0;
    LIST_EACH(at, after, &call->server->conns)
    {
        rc = rc != 0 ? rc : describe(scratch, LINK_OWNER(at, struct conn, all));
    }
    if (rc != 0) {
        return error_code(call->error, rc);
    }
    answer_verbatim(call->conn, buf_bytes(scratch));
    return 0;
}

static int client_info(struct call *call)
{
    struct buf *scratch = server_scratch(call->server);
    int rc = describe(scratch, call->conn);
    if (rc != 0) {
        return error_code(call->error, rc);
    }
    answer_verbatim(call->conn, buf_bytes(scratch));
    return 0;
}

static bool is_killed(const struct conn *conn, bool by_id, uint64_t id, ls_bytes address)
{
    char peer[128];
    if (by_id) {
        return conn->id == id;
    }
    conn_address(conn, false, peer, sizeof peer);
    return bytes_equal(bytes_of_text(peer), address);
}

/* CLIENT KILL address, or with ID n or ADDR address, which answer how many there were. */
static int client_kill(struct call *call)
{
    bool old = call->argc == 3;
    bool by_id = call->argc == 4 && arg_is(call->argv[2], "ID");
    uint64_t id = 0;
    if (!old && !by_id && !(call->argc == 4 && arg_is(call->argv[2], "ADDR"))) {
        return error_set(call->error, LS_EINVAL, 0,
                         "expected CLIENT KILL with an address, ID n or ADDR address");
    }
    int rc = by_id ? arg_number(call->argv[3], "client-id", &id, call->error) : 0;
    if (rc != 0) {
        return rc;
    }
    int64_t killed = 0;
    LIST_EACH(at, after, &call->server->conns)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, all);
        if (!is_killed(conn, by_id, id, call->argv[call->argc - 1])) {
            continue;
        }
        killed++;
        if (conn == call->conn) {
            conn_close_after_output(conn);
        } else {
            conn_close(conn);
        }
    }
    if (!old) {
        answer_integer(call->conn, killed);
    } else if (killed > 0) {
        answer_ok(call->conn);
    } else {
        return error_set(call->error, LS_EINVAL, 0, "No such client");
    }
    return 0;
}

static int client_set(struct call *call)
{
    struct conn *conn = call->conn;
    int rc;
    if (arg_is(call->argv[1], "SETNAME")) {
        rc = set_text(&conn->name, call->argv[2], call->error);
    } else if (call->argc == 4 && arg_is(call->argv[2], "LIB-NAME")) {
        rc = set_text(&conn->library, call->argv[3], call->error);
    } else if (call->argc == 4 && arg_is(call->argv[2], "LIB-VER")) {
        rc = set_text(&conn->library_version, call->argv[3], call->error);
    } else {
        rc = error_set(call->error, LS_EINVAL, 0,
                       "expected CLIENT SETINFO with LIB-NAME or LIB-VER and a value");
    }
    if (rc == 0) {
        answer_ok(conn);
    }
    return rc;
}

int command_client(struct call *call)
{
    struct conn *conn = call->conn;
    ls_bytes word = call->argv[1];
    if (arg_is(word, "ID") && call->argc == 2) {
        answer_integer(conn, (int64_t)conn->id);
        return 0;
    }
    if (arg_is(word, "LIST") && call->argc == 2) {
        return client_list(call);
    }
    if (arg_is(word, "INFO") && call->argc == 2) {
        return client_info(call);
    }
    if (arg_is(word, "GETNAME") && call->argc == 2) {
        if (conn->name == NULL) {
            answer_null(conn);
        } else {
            answer_text(conn, conn->name);
        }
        return 0;
    }
    if ((arg_is(word, "SETNAME") && call->argc == 3) ||
        (arg_is(word, "SETINFO") && call->argc == 4)) {
        return client_set(call);
    }
    if (arg_is(word, "KILL") && call->argc >= 3) {
        return client_kill(call);
    }
    return error_set(call->error, LS_EINVAL, 0,
                     "unknown subcommand or wrong number of arguments for '%.*s': expected ID, "
                     "LIST, INFO, GETNAME, SETNAME, SETINFO or KILL",
                     (int)(word.size < 40 ? word.size : 40), (const char *)word.data);
}
