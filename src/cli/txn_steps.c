/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep txn -: transactions step by step, a line each, from a person or from another program.
 * Each answer is flushed, so that whoever reads it can decide what to do next. From a person, a
 * mistake is said and the next line taken; from a program it ends the command.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/lines.h"
#include "cli/txn.h"

#define STEP_KEYS_MAX 4096

struct steps {
    const struct cli *cli;
    ls *handle;
    ls_transaction *open; /* NULL: none */
};

/* The next word of the line, which it cuts off; NULL at the end. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    if (*word == '\0') {
        return NULL;
    }
    char *end = word + strcspn(word, " \t");
    *rest = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return word;
}

/* ---- begin ---- */

/* What a line declares. */
struct declaration {
    ls_txn_key keys[STEP_KEYS_MAX];
    size_t count;
    ls_txn_options options;
};

static unsigned kind_of(const char *word)
{
    static const struct {
        const char *word;
        unsigned kind;
    } kinds[] = {
        {"eager", LS_TXN_EAGER}, {"lazy", LS_TXN_LAZY}, {"will", LS_TXN_WILL}, {"may", LS_TXN_MAY}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(word, kinds[i].word) == 0) {
            return kinds[i].kind;
        }
    }
    return 0;
}

static int parse_declaration(struct declaration *out, char *rest)
{
    unsigned kind = 0;
    char *word;
    out->count = 0;
    out->options = (ls_txn_options)LS_TXN_OPTIONS_INIT;
    while ((word = next_word(&rest)) != NULL) {
        unsigned named = kind_of(word);
        if (named != 0) {
            kind = named;
        } else if (strcmp(word, "ttl") == 0) {
            char *number = next_word(&rest);
            if (number == NULL || !cli_parse_number(number, &out->options.ttl_ms)) {
                return cli_fail("'ttl' takes a number of milliseconds");
            }
        } else if (kind == 0) {
            return cli_fail("before the key '%s' stands eager, lazy, will or may", word);
        } else if (out->count == STEP_KEYS_MAX) {
            return cli_fail("a transaction declares at most %d keys", STEP_KEYS_MAX);
        } else {
            out->keys[out->count++] = (ls_txn_key){bytes_of_text(word), kind};
        }
    }
    return EXIT_OK;
}

static int say_timestamp(const struct steps *steps, const char *what)
{
    uint64_t timestamp = ls_txn_timestamp(steps->open);
    if (!steps->cli->json) {
        printf("%s %" PRIu64 "\n", what, timestamp);
        return EXIT_OK;
    }
    struct json json = {0};
    json_text(&json, "operation", what);
    json_number(&json, "timestamp", timestamp);
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

static int say_read(const struct steps *steps, const char *what, ls_bytes key)
{
    ls_bytes value;
    return ls_txn_read(steps->open, key, &value) != 0 ? cli_fail_ls()
                                                      : txn_say_value(steps->cli, what, key, value);
}

static int step_begin(struct steps *steps, char *rest)
{
    if (steps->open != NULL) {
        return cli_fail("a transaction is open already");
    }
    struct declaration *declaration = malloc(sizeof *declaration);
    if (declaration == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    int status = parse_declaration(declaration, rest);
    if (status == EXIT_OK && ls_txn_begin(steps->handle, declaration->keys, declaration->count,
                                          &declaration->options, &steps->open) != 0) {
        status = cli_fail_ls();
    }
    if (status == EXIT_OK) {
        status = say_timestamp(steps, "begin");
    }
    for (size_t i = 0; i < declaration->count && status == EXIT_OK; i++) {
        if (declaration->keys[i].kinds == LS_TXN_EAGER) {
            status = say_read(steps, "read", declaration->keys[i].key);
        }
    }
    free(declaration);
    return status;
}

/* ---- the other steps ---- */

static int step_read(struct steps *steps, char *rest)
{
    char *key = next_word(&rest);
    return key == NULL ? cli_fail("'read' takes a key")
                       : say_read(steps, "read", bytes_of_text(key));
}

static int step_put(struct steps *steps, char *rest)
{
    char *key = next_word(&rest);
    if (key == NULL) {
        return cli_fail("'put' takes a key and a value");
    }
    return ls_txn_put(steps->open, bytes_of_text(key), bytes_of_text(rest)) != 0 ? cli_fail_ls()
                                                                                 : EXIT_OK;
}

static int step_del(struct steps *steps, char *rest)
{
    char *key = next_word(&rest);
    if (key == NULL) {
        return cli_fail("'del' takes a key");
    }
    return ls_txn_del(steps->open, bytes_of_text(key)) != 0 ? cli_fail_ls() : EXIT_OK;
}

static int step_commit(struct steps *steps, char *rest)
{
    (void)rest;
    ls_transaction *transaction = steps->open;
    uint64_t timestamp = ls_txn_timestamp(transaction);
    steps->open = NULL;
    if (ls_txn_commit(transaction) != 0) {
        return cli_fail_ls();
    }
    if (steps->cli->json) {
        struct json json = {0};
        json_text(&json, "operation", "commit");
        json_number(&json, "timestamp", timestamp);
        int status = json_print(&json);
        buf_free(&json.text);
        return status;
    }
    printf("committed %" PRIu64 "\n", timestamp);
    return EXIT_OK;
}

static int step_abort(struct steps *steps, char *rest)
{
    (void)rest;
    ls_txn_abort(steps->open);
    steps->open = NULL;
    return EXIT_OK;
}

static int run_step(struct steps *steps, char *line)
{
    static const struct {
        const char *word;
        int (*run)(struct steps *steps, char *rest);
        bool inside; /* of a transaction */
    } known[] = {
        {"begin", step_begin, false}, {"read", step_read, true},     {"put", step_put, true},
        {"del", step_del, true},      {"commit", step_commit, true}, {"abort", step_abort, true},
    };
    char *rest = line;
    char *word = next_word(&rest);
    if (word == NULL || *word == '#') {
        return EXIT_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(word, known[i].word) != 0) {
            continue;
        }
        if (known[i].inside && steps->open == NULL) {
            return cli_fail("'%s' needs a transaction: 'begin' one first", word);
        }
        return known[i].run(steps, rest);
    }
    return cli_fail("there is no step '%s'; there are begin, read, put, del, commit, abort", word);
}

int txn_steps(const struct cli *cli, ls *handle)
{
    struct steps steps = {.cli = cli, .handle = handle};
    bool person = isatty(STDIN_FILENO);
    struct line_source lines = {.fd = STDIN_FILENO};
    struct ls_error error;
    char *line;
    size_t size;
    int status = EXIT_OK;
    int rc = 0;
    while ((status == EXIT_OK || person) &&
           (rc = lines_next(&lines, CLI_INPUT_MAX, &line, &size, &error)) > 0) {
        size_t length = size - (line[size - 1] == '\n');
        line[length] = '\0';
        status =
            strlen(line) < length ? cli_fail("a line has a byte of zero") : run_step(&steps, line);
        fflush(stdout);
    }
    lines_free(&lines);
    if (rc < 0) {
        status = cli_fail_error(&error);
    }
    if (steps.open != NULL) {
        ls_txn_abort(steps.open);
        if (status == EXIT_OK) {
            status = cli_fail("the transaction was aborted: there is no 'commit'");
        }
    }
    return status;
}
