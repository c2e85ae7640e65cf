/* SPDX-License-Identifier: Apache-2.0 */
/* From a command's words to its handler, by the rules of the table. Knows no single command. */
#include "server/command.h"

#include <assert.h>
#include <ctype.h>

#include "base/hash.h"
#include "server/answer.h"
#include "server/handlers.h"
#include "server/server.h"

#define NAME_SIZE_MAX 32
#define INDEX_SIZE    256 /* a power of two, at least twice the number of commands */

static uint8_t index_slots[INDEX_SIZE]; /* place in the table plus one; 0: empty */
static uint8_t index_sizes[INDEX_SIZE]; /* of the names */

/* The upper-cased name and its hash; false where it is longer than any. */
static bool fold(ls_bytes name, char out[NAME_SIZE_MAX], uint64_t *hash)
{
    if (name.size > NAME_SIZE_MAX) {
        return false;
    }
    const char *from = name.data;
    for (size_t i = 0; i < name.size; i++) {
        char c = from[i];
        out[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    *hash = hash64(out, name.size, 0);
    return true;
}

void command_index(void)
{
    assert(command_count < INDEX_SIZE / 2);
    for (size_t i = 0; i < command_count; i++) {
        char name[NAME_SIZE_MAX];
        uint64_t hash;
        bool fits = fold(bytes_of_text(commands[i].name), name, &hash);
        assert(fits);
        (void)fits;
        size_t slot = hash % INDEX_SIZE;
        while (index_slots[slot] != 0) {
            slot = (slot + 1) % INDEX_SIZE;
        }
        index_slots[slot] = (uint8_t)(i + 1);
        index_sizes[slot] = (uint8_t)strlen(commands[i].name);
    }
}

const struct command *command_find(ls_bytes name)
{
    char upper[NAME_SIZE_MAX];
    uint64_t hash;
    if (!fold(name, upper, &hash)) {
        return NULL;
    }
    for (size_t slot = hash % INDEX_SIZE; index_slots[slot] != 0; slot = (slot + 1) % INDEX_SIZE) {
        const struct command *command = &commands[index_slots[slot] - 1];
        if (index_sizes[slot] == name.size && memcmp(command->name, upper, name.size) == 0) {
            return command;
        }
    }
    return NULL;
}

static int refuse_unknown(size_t argc, const ls_bytes *argv, struct ls_error *error)
{
    char words[96] = "";
    size_t size = 0;
    for (size_t i = 1; i < argc && size < sizeof words - 40; i++) {
        int n = snprintf(words + size, sizeof words - size, "'%.*s' ",
                         (int)(argv[i].size < 32 ? argv[i].size : 32), (const char *)argv[i].data);
        size += (size_t)n;
    }
    return error_set(error, LS_EINVAL, 0, "unknown command '%.*s', with args beginning with: %s",
                     (int)(argv[0].size < 64 ? argv[0].size : 64), (const char *)argv[0].data,
                     words);
}

/* Whether the command may be run by this connection as it is now. */
static int admit(const struct conn *conn, const struct command *command, size_t argc,
                 struct ls_error *error)
{
    bool few = argc < (size_t)command->args_min;
    bool many = command->args_max >= 0 && argc > (size_t)command->args_max;
    if (conn->server->config.password[0] != '\0' && !conn->authenticated &&
        (command->flags & COMMAND_NO_AUTH) == 0) {
        return error_set(error, LS_ENOAUTH, 0, "Authentication required.");
    }
    if (few || many) {
        char lower[NAME_SIZE_MAX + 1] = {0};
        for (size_t i = 0; command->name[i] != '\0'; i++) {
            lower[i] = (char)tolower((unsigned char)command->name[i]);
        }
        return error_set(error, LS_EINVAL, 0,
                         "wrong number of arguments for '%s' command: expected %s%s%s", lower,
                         command->name, command->arguments[0] == '\0' ? " alone" : " ",
                         command->arguments);
    }
    if (conn_watches(conn) && conn->proto == 2 && (command->flags & COMMAND_WATCHING) == 0) {
        return error_set(error, LS_EINVAL, 0,
                         "Can't execute '%s': only MSG.UNWATCH / OBJ.UNWATCH / PING / QUIT / RESET "
                         "are allowed in this context",
                         command->name);
    }
    return 0;
}

/* Most commands are like the one before. */
static const struct command *find_for(const struct conn *conn, ls_bytes name)
{
    const struct command *last = conn->last;
    return last != NULL && bytes_equal(name, bytes_of_text(last->name)) ? last : command_find(name);
}

bool command_run(struct conn *conn, size_t argc, const ls_bytes *argv)
{
    struct server *server = conn->server;
    struct ls_error error;
    const struct command *command = find_for(conn, argv[0]);
    bool queued = command != NULL && (command->flags & COMMAND_QUEUED) != 0;
    if (!queued && conn->unanswered > 0) {
        return false;
    }
    int rc =
        command == NULL ? refuse_unknown(argc, argv, &error) : admit(conn, command, argc, &error);
    if (rc == 0) {
        struct call call = {server, conn, command, argc, argv, &error};
        reads_look_again(&server->reads);
        rc = command->handler(&call);
        if (rc == CALL_WAIT) {
            return false;
        }
        /* What may not be sent on behind is not overtaken either. */
        if (rc == 0 && !queued && conn->unanswered > 0) {
            conn->pause |= PAUSE_ANSWERS;
        }
    }
    if (rc != 0) {
        if (conn->unanswered > 0) {
            return false;
        }
        server->stats.errors++;
        answer_error(conn, &error);
    }
    server->stats.commands++;
    conn->commands++;
    conn->last = command;
    nodes_heard(conn);
    return true;
}

int arg_number(ls_bytes arg, const char *what, uint64_t *out, struct ls_error *error)
{
    const char *digits = arg.data;
    uint64_t value = 0;
    bool wrong = arg.size == 0 || arg.size > 20;
    for (size_t i = 0; !wrong && i < arg.size; i++) {
        uint64_t digit = (uint64_t)(digits[i] - '0');
        wrong = digits[i] < '0' || digits[i] > '9' || value > (UINT64_MAX - digit) / 10;
        value = value * 10 + digit;
    }
    if (wrong) {
        return error_set(error, LS_EINVAL, 0, "%s must be a whole number from 0 to 2^64-1", what);
    }
    *out = value;
    return 0;
}

int arg_count(size_t count, size_t max, const char *taker, const char *what, struct ls_error *error)
{
    return count <= max
               ? 0
               : error_set(error, LS_ETOOBIG, max, "%s takes at most %zu %s", taker, max, what);
}

int arg_refuse(struct ls_error *error, ls_bytes arg, const char *expected)
{
    return error_set(error, LS_EINVAL, 0, "syntax error at '%.*s': expected %s",
                     (int)(arg.size < 40 ? arg.size : 40), (const char *)arg.data, expected);
}
