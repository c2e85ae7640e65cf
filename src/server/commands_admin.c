/* SPDX-License-Identifier: Apache-2.0 */
/* The commands for operators and for clients that ask what the server is. */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <sys/time.h>

#include "base/log.h"
#include "server/handlers.h"

/* What COMMAND, CONFIG and INFO look up one by one. */
#define NAMES_MAX 1000

int command_time(struct call *call)
{
    struct timeval now;
    char text[24];
    gettimeofday(&now, NULL);
    answer_array(call->conn, 2);
    snprintf(text, sizeof text, "%lld", (long long)now.tv_sec);
    answer_text(call->conn, text);
    snprintf(text, sizeof text, "%ld", (long)now.tv_usec);
    answer_text(call->conn, text);
    return 0;
}

int command_shutdown(struct call *call)
{
    if (call->argc > 1 && !arg_is(call->argv[1], "NOSAVE") && !arg_is(call->argv[1], "SAVE")) {
        return arg_refuse(call->error, call->argv[1], "NOSAVE, SAVE or nothing");
    }
    server_stop(call->server, "SHUTDOWN from a client");
    return 0;
}

int command_info(struct call *call)
{
    int rc = arg_count(call->argc - 1, NAMES_MAX, "INFO", "sections", call->error);
    if (rc != 0) {
        return rc;
    }
    struct buf *scratch = server_scratch(call->server);
    rc = info_write(call->server, call->argc - 1, call->argv + 1, scratch);
    if (rc != 0) {
        return error_code(call->error, rc);
    }
    answer_verbatim(call->conn, buf_bytes(scratch));
    return 0;
}

/* ---- CONFIG ---- */

/* What clients written for Redis ask for and have no setting here. */
static const char *foreign_setting(const struct server *server, size_t i, const char **name)
{
    static const char *const names[] = {"save", "appendonly", "databases"};
    if (i >= sizeof names / sizeof names[0]) {
        return NULL;
    }
    *name = names[i];
    return i == 0 ? "" : i == 1 ? (server->config.sync ? "yes" : "no") : "1";
}

static bool asked(const struct call *call, const char *name)
{
    for (size_t i = 2; i < call->argc; i++) {
        char pattern[128];
        if (call->argv[i].size < sizeof pattern) {
            memcpy(pattern, call->argv[i].data, call->argv[i].size);
            pattern[call->argv[i].size] = '\0';
            if (fnmatch(pattern, name, FNM_CASEFOLD) == 0) {
                return true;
            }
        }
    }
    return false;
}

static int config_get_matching(struct call *call)
{
    struct server *server = call->server;
    const char *name;
    size_t count = 0;
    int rc = arg_count(call->argc - 2, NAMES_MAX, "CONFIG GET", "patterns", call->error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < setting_count; i++) {
        count += asked(call, settings[i].name);
    }
    for (size_t i = 0; foreign_setting(server, i, &name) != NULL; i++) {
        count += asked(call, name);
    }
    answer_map(call->conn, count);
    for (size_t i = 0; i < setting_count; i++) {
        if (asked(call, settings[i].name)) {
            struct buf *scratch = server_scratch(server);
            call->conn->failed |= config_get(&server->config, &settings[i], scratch) != 0;
            answer_text(call->conn, settings[i].name);
            answer_bulk(call->conn, buf_bytes(scratch));
        }
    }
    const char *value;
    for (size_t i = 0; (value = foreign_setting(server, i, &name)) != NULL; i++) {
        if (asked(call, name)) {
            answer_text(call->conn, name);
            answer_text(call->conn, value);
        }
    }
    return 0;
}

static int set_pairs(struct call *call, struct config *config)
{
    for (size_t i = 2; i < call->argc; i += 2) {
        const struct setting *setting = setting_find(call->argv[i]);
        if (setting == NULL) {
            return error_set(call->error, LS_EINVAL, 0, "there is no setting '%.*s'",
                             (int)(call->argv[i].size < 40 ? call->argv[i].size : 40),
                             (const char *)call->argv[i].data);
        }
        if (!setting->runtime) {
            return error_set(call->error, LS_EINVAL, 0, "%s can only be set when the server starts",
                             setting->name);
        }
        int rc = config_set(config, setting, call->argv[i + 1], call->error);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int config_set_all(struct call *call)
{
    struct server *server = call->server;
    struct config changed;
    if (call->argc < 4 || call->argc % 2 != 0) {
        return error_set(call->error, LS_EINVAL, 0, "expected CONFIG SET with name value pairs");
    }
    int rc = arg_count(call->argc / 2 - 1, NAMES_MAX, "CONFIG SET", "settings", call->error);
    if (rc != 0) {
        return rc;
    }
    if (config_copy(&changed, &server->config) != 0) {
        return error_code(call->error, LS_ENOMEM);
    }
    struct config old = server->config;
    rc = set_pairs(call, &changed);
    if (rc == 0) {
        server->config = changed;
        rc = server_apply_config(server, &old, call->error);
        if (rc != 0) {
            server->config = old;
        }
    }
    config_free(rc == 0 ? &old : &changed);
    if (rc == 0) {
        answer_ok(call->conn);
    }
    return rc;
}

int command_config(struct call *call)
{
    if (arg_is(call->argv[1], "GET") && call->argc >= 3) {
        return config_get_matching(call);
    }
    if (arg_is(call->argv[1], "SET")) {
        return config_set_all(call);
    }
    return error_set(call->error, LS_EINVAL, 0,
                     "expected CONFIG GET pattern.. or CONFIG SET name value..");
}

/* ---- COMMAND ---- */

static void lower_text(struct conn *conn, const char *text)
{
    char lower[64];
    size_t size = 0;
    for (; text[size] != '\0' && size < sizeof lower; size++) {
        lower[size] = (char)tolower((unsigned char)text[size]);
    }
    answer_bulk(conn, bytes_of(lower, size));
}

static void answer_flags(struct conn *conn, const struct command *command)
{
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {{COMMAND_WRITE, "write"},
                 {COMMAND_READ, "readonly"},
                 {COMMAND_ADMIN, "admin"},
                 {COMMAND_FAST, "fast"},
                 {COMMAND_NO_AUTH, "no_auth"}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        count += (command->flags & names[i].flag) != 0;
    }
    answer_array(conn, count);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((command->flags & names[i].flag) != 0) {
            answer_simple(conn, names[i].name);
        }
    }
}

static void answer_command(struct conn *conn, const struct command *command)
{
    bool exact = command->args_min == command->args_max;
    answer_array(conn, 10);
    lower_text(conn, command->name);
    answer_integer(conn, exact ? command->args_min : -command->args_min);
    answer_flags(conn, command);
    answer_integer(conn, command->key_first);
    answer_integer(conn, command->key_last);
    answer_integer(conn, command->key_step);
    for (int i = 0; i < 4; i++) {
        answer_array(conn, 0); /* ACL categories, tips, key specifications, subcommands */
    }
}

static void answer_docs(struct conn *conn, const struct command *command)
{
    lower_text(conn, command->name);
    answer_map(conn, 5);
    answer_text(conn, "summary");
    answer_text(conn, command->summary);
    answer_text(conn, "since");
    answer_text(conn, LS_VERSION);
    answer_text(conn, "group");
    answer_text(conn, command->group);
    answer_text(conn, "syntax");
    answer_text(conn, command->arguments);
    answer_text(conn, "reply");
    answer_text(conn, command->reply);
}

static int command_docs(struct call *call)
{
    size_t count = 0;
    int rc = arg_count(call->argc - 2, NAMES_MAX, "COMMAND DOCS", "names", call->error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 2; i < call->argc; i++) {
        count += command_find(call->argv[i]) != NULL;
    }
    answer_map(call->conn, call->argc == 2 ? command_count : count);
    for (size_t i = 0; call->argc == 2 && i < command_count; i++) {
        answer_docs(call->conn, &commands[i]);
    }
    for (size_t i = 2; i < call->argc; i++) {
        const struct command *command = command_find(call->argv[i]);
        if (command != NULL) {
            answer_docs(call->conn, command);
        }
    }
    return 0;
}

static void command_list(struct conn *conn, bool names)
{
    answer_array(conn, command_count);
    for (size_t i = 0; i < command_count; i++) {
        if (names) {
            lower_text(conn, commands[i].name);
        } else {
            answer_command(conn, &commands[i]);
        }
    }
}

static int command_info_of(struct call *call)
{
    int rc = arg_count(call->argc - 2, NAMES_MAX, "COMMAND INFO", "names", call->error);
    if (rc != 0) {
        return rc;
    }
    answer_array(call->conn, call->argc - 2);
    for (size_t i = 2; i < call->argc; i++) {
        const struct command *command = command_find(call->argv[i]);
        if (command == NULL) {
            answer_null(call->conn);
        } else {
            answer_command(call->conn, command);
        }
    }
    return 0;
}

int command_command(struct call *call)
{
    bool plain = call->argc == 1;
    if (plain ||
        (call->argc == 2 && (arg_is(call->argv[1], "INFO") || arg_is(call->argv[1], "LIST")))) {
        command_list(call->conn, !plain && arg_is(call->argv[1], "LIST"));
        return 0;
    }
    if (arg_is(call->argv[1], "COUNT") && call->argc == 2) {
        answer_integer(call->conn, (int64_t)command_count);
        return 0;
    }
    if (arg_is(call->argv[1], "DOCS")) {
        return command_docs(call);
    }
    if (arg_is(call->argv[1], "INFO")) {
        return command_info_of(call);
    }
    return arg_refuse(call->error, call->argv[1], "COUNT, DOCS, INFO or LIST");
}
