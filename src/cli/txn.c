/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep txn: a transaction given as arguments, values of the past, and what an open transaction
 * waits for. A transaction step by step is in txn_steps.c. */
#include <inttypes.h>
#include <string.h>

#include "cli/txn.h"

#define OPERATIONS_MAX CLI_ARGUMENTS_MAX

/* ---- the operations ---- */

static const struct {
    const char *word;
    enum ls_txn_operation_kind kind;
    const char *value; /* what follows the key; NULL: nothing */
} operation_words[] = {
    {"get", LS_TXN_GET, NULL},          {"put", LS_TXN_PUT, "a value"},
    {"del", LS_TXN_DEL, NULL},          {"incrby", LS_TXN_INCRBY, "a number"},
    {"check", LS_TXN_CHECK, "a value"},
};

#define WORD_COUNT (sizeof operation_words / sizeof operation_words[0])

static int parse_amount(const struct cli *cli, const char *text, int64_t *out)
{
    uint64_t size;
    bool negative = *text == '-';
    if (!cli_parse_number(text + negative, &size) || size > (uint64_t)INT64_MAX + negative) {
        return cli_usage(cli, "'incrby' adds a number of 64 bits, not '%s'", text);
    }
    *out = negative ? (int64_t)(0 - size) : (int64_t)size;
    return EXIT_OK;
}

/* The operation that begins at argument *next, which moves behind it. */
static int parse_operation(const struct cli *cli, int *next, ls_txn_operation *out)
{
    const char *word = cli->argv[(*next)++];
    size_t index = 0;
    while (index < WORD_COUNT && strcmp(word, operation_words[index].word) != 0) {
        index++;
    }
    if (index == WORD_COUNT) {
        return cli_usage(cli, "there is no operation '%s'; there are get, put, del, incrby, check",
                         word);
    }
    const char *value = operation_words[index].value;
    if (*next == cli->argc) {
        return cli_usage(cli, "'%s' takes a key", word);
    }
    *out = (ls_txn_operation){.kind = operation_words[index].kind,
                              .key = bytes_of_text(cli->argv[(*next)++])};
    if (value == NULL) {
        return EXIT_OK;
    }
    if (*next == cli->argc) {
        return cli_usage(cli, "'%s' takes a key and %s", word, value);
    }
    const char *text = cli->argv[(*next)++];
    out->value = bytes_of_text(text);
    return out->kind == LS_TXN_INCRBY ? parse_amount(cli, text, &out->number) : EXIT_OK;
}

static int parse_operations(const struct cli *cli, ls_txn_operation *operations, size_t *count)
{
    int next = 0;
    int status = EXIT_OK;
    *count = 0;
    while (next < cli->argc && status == EXIT_OK) {
        status = parse_operation(cli, &next, &operations[(*count)++]);
    }
    return status;
}

/* ---- telling ---- */

int txn_say_value(const struct cli *cli, const char *operation, ls_bytes key, ls_bytes value)
{
    if (cli->json) {
        struct json json = {0};
        json_text(&json, "operation", operation);
        json_bytes(&json, "key", key);
        if (value.data == NULL) {
            json_raw(&json, "value", bytes_of_text("null"));
        } else {
            json_bytes(&json, "value", value);
        }
        int status = json_print(&json);
        buf_free(&json.text);
        return status;
    }
    struct buf line = {0};
    int rc = 0;
    if (cli_option(cli, "values") == NULL) {
        rc = show_bytes(&line, key);
        rc = rc != 0 ? rc : buf_append_text(&line, value.data != NULL ? " = " : " is absent");
    }
    if (rc == 0 && value.data != NULL) {
        rc = show_bytes(&line, value);
    }
    if (rc == 0) {
        printf("%.*s\n", (int)line.size, line.size > 0 ? (const char *)line.data : "");
    }
    buf_free(&line);
    return rc == 0 ? EXIT_OK : cli_fail("%s", ls_strerror(LS_ENOMEM));
}

static int say_results(const struct cli *cli, const ls_txn_operation *operations, size_t count,
                       const ls_values *values)
{
    int status = EXIT_OK;
    for (size_t i = 0; i < count && status == EXIT_OK; i++) {
        const ls_txn_operation *operation = &operations[i];
        if (operation->kind == LS_TXN_GET || operation->kind == LS_TXN_INCRBY) {
            status = txn_say_value(cli, operation_words[operation->kind].word, operation->key,
                                   *ls_values_get(values, i));
        }
    }
    return status;
}

/* ---- a whole transaction ---- */

static int get_at(const struct cli *cli, ls *handle, uint64_t at,
                  const ls_txn_operation *operations, size_t count)
{
    ls_bytes keys[OPERATIONS_MAX];
    ls_values *values;
    for (size_t i = 0; i < count; i++) {
        keys[i] = operations[i].key;
    }
    if (ls_txn_get(handle, at, keys, count, &values) != 0) {
        return cli_fail_ls();
    }
    int status = say_results(cli, operations, count, values);
    ls_values_free(values);
    return status;
}

static int execute(const struct cli *cli, ls *handle, const ls_txn_operation *operations,
                   size_t count)
{
    ls_values *values;
    if (ls_txn_execute(handle, operations, count, &values) != 0) {
        return cli_fail_ls();
    }
    int status = say_results(cli, operations, count, values);
    ls_values_free(values);
    return status;
}

/* What was asked for: operations, as of a timestamp where `at` is not 0. */
struct plan {
    ls_txn_operation operations[OPERATIONS_MAX];
    size_t count;
    uint64_t at;
};

static int parse_plan(const struct cli *cli, struct plan *plan)
{
    int status = parse_operations(cli, plan->operations, &plan->count);
    status = status != EXIT_OK ? status : cli_option_number(cli, "at", 1, UINT64_MAX, &plan->at);
    for (size_t i = 0; i < plan->count && status == EXIT_OK && plan->at != 0; i++) {
        if (plan->operations[i].kind != LS_TXN_GET) {
            status = cli_usage(cli, "with --at there is only 'get'");
        }
    }
    return status;
}

static enum access plan_access(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->operations[i].kind != LS_TXN_GET && plan->operations[i].kind != LS_TXN_CHECK) {
            return ACCESS_CHANGE;
        }
    }
    return ACCESS_THERE;
}

static int run_plan(const struct cli *cli, ls *handle, const struct plan *plan)
{
    return plan->at != 0 ? get_at(cli, handle, plan->at, plan->operations, plan->count)
                         : execute(cli, handle, plan->operations, plan->count);
}

/* ---- explain ---- */

static void append_kinds(struct buf *out, unsigned kinds)
{
    static const char *const words[] = {"eager", "lazy", "will", "may"};
    for (size_t i = 0; i < 4; i++) {
        if ((kinds & 1U << i) != 0) {
            (void)buf_printf(out, "%s%s", out->size > 0 ? " " : "", words[i]);
        }
    }
}

static int say_mark(const struct cli *cli, const ls_txn_mark *mark)
{
    struct buf kinds = {0};
    struct buf key = {0};
    int status = EXIT_OK;
    append_kinds(&kinds, mark->kinds);
    if (cli->json) {
        struct json json = {0};
        json_bytes(&json, "key", mark->key);
        json_bytes(&json, "kinds", buf_bytes(&kinds));
        if (mark->waits) {
            json_number(&json, "waits_for", mark->waits_for);
            json_text(&json, "waits_kind", mark->waits_kind == LS_TXN_WILL ? "will" : "may");
            json_number(&json, "waits_since_ns", mark->waits_since_ns);
        }
        status = json_print(&json);
        buf_free(&json.text);
    } else if (show_bytes(&key, mark->key) != 0) {
        status = cli_fail("%s", ls_strerror(LS_ENOMEM));
    } else {
        printf("%-12.*s  %.*s", (int)kinds.size, (const char *)kinds.data, (int)key.size,
               (const char *)key.data);
        if (mark->waits) {
            char since[SHOW_TIME_SIZE];
            show_time(since, mark->waits_since_ns);
            printf("  waits for %" PRIu64 ", which %s write it and began %s", mark->waits_for,
                   mark->waits_kind == LS_TXN_WILL ? "will" : "may", since);
        }
        putchar('\n');
    }
    buf_free(&key);
    buf_free(&kinds);
    return status;
}

static int say_info(const struct cli *cli, uint64_t timestamp, const ls_txn_info *info)
{
    if (cli->json) {
        struct json json = {0};
        json_number(&json, "timestamp", timestamp);
        json_number(&json, "began_ns", info->began_ns);
        json_number(&json, "expires_ms", info->expires_ms);
        json_number(&json, "waiting", info->waiting);
        int status = json_print(&json);
        buf_free(&json.text);
        return status;
    }
    char began[SHOW_TIME_SIZE];
    show_time(began, info->began_ns);
    printf("%stransaction %" PRIu64 "%s began %s, is released in %" PRIu64 " ms, %" PRIu64
           " wait%s for it\n",
           cli_colour(cli, COLOUR_BOLD), timestamp, cli_colour(cli, COLOUR_NONE), began,
           info->expires_ms, info->waiting, info->waiting == 1 ? "s" : "");
    return EXIT_OK;
}

static int explain(const struct cli *cli, ls *handle, uint64_t timestamp)
{
    ls_txn_info info;
    ls_txn_marks *marks;
    int rc = ls_txn_explain(handle, timestamp, &info, &marks);
    if (rc == LS_ETXNEXPIRED) {
        return cli_fail("no transaction with the timestamp %" PRIu64
                        " is open: it is over, or there never was one",
                        timestamp);
    }
    if (rc != 0) {
        return cli_fail_ls();
    }
    int status = say_info(cli, timestamp, &info);
    for (size_t i = 0; i < ls_txn_marks_count(marks) && status == EXIT_OK; i++) {
        status = say_mark(cli, ls_txn_marks_get(marks, i));
    }
    ls_txn_marks_free(marks);
    return status;
}

/* ---- the command ---- */

static int run_txn(struct cli *cli)
{
    bool steps = cli->argc == 1 && strcmp(cli->argv[0], "-") == 0;
    bool explains = strcmp(cli->argv[0], "explain") == 0;
    struct plan plan = {.count = 0};
    uint64_t timestamp = 0;
    ls *handle;
    enum access access = explains ? ACCESS_THERE : ACCESS_CHANGE;
    int status = EXIT_OK;
    if (explains) {
        status = cli->argc != 2 ? cli_usage(cli, "'txn explain' takes a timestamp")
                                : cli_number(cli, "the timestamp of a transaction", cli->argv[1], 1,
                                             UINT64_MAX, &timestamp);
    } else if (!steps) {
        status = parse_plan(cli, &plan);
        access = plan_access(&plan);
    }
    status = status != EXIT_OK ? status : cli_open(cli, access, &handle);
    if (status != EXIT_OK) {
        return status;
    }
    if (steps) {
        status = txn_steps(cli, handle);
    } else if (explains) {
        status = explain(cli, handle, timestamp);
    } else {
        status = run_plan(cli, handle, &plan);
    }
    ls_close(handle);
    return status;
}

const struct command command_txn = {
    .name = "txn",
    .arguments = "OPERATION ... | explain TIMESTAMP | -",
    .arguments_min = 1,
    .arguments_max = CLI_ARGUMENTS_MAX,
    .summary = "Run a transaction over versioned keys",
    .text = "The operations are one transaction. Each sees those before it:\n"
            "  get KEY            print its value\n"
            "  put KEY VALUE      write it\n"
            "  del KEY            delete it\n"
            "  incrby KEY N       add to its decimal number, absent: 0, and print the sum\n"
            "  check KEY VALUE    fail, with nothing written, unless this is its value\n"
            "\n"
            "'explain' tells what an open transaction has declared, and what it waits for.\n"
            "\n"
            "With '-' standard input has a transaction step by step, a line each:\n"
            "  begin [eager KEY ...] [lazy KEY ...] [will KEY ...] [may KEY ...] [ttl MS]\n"
            "  read KEY | put KEY VALUE | del KEY | commit | abort\n"
            "A value is the rest of its line. What is open at the end is aborted.\n",
    .run = run_txn,
    .options = {{"at", "TIMESTAMP", "with 'get' alone: the values as of then"},
                {"values", NULL, "only values, one a line; an absent one is an empty line"}},
};
