/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep get, put, del and scan: the object store. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"

#define SCAN_COUNT 500 /* objects asked for at once */
/* An argument that is a key: as it stands, or with --hex in hex. `out` holds the bytes. */
static int parse_key(const struct cli *cli, const char *text, struct buf *out)
{
    if (cli_option(cli, "hex") != NULL) {
        if (!cli_unhex(out, text)) {
            return cli_usage(cli, "with --hex a key is an even number of hex digits, not '%s'",
                             text);
        }
        return EXIT_OK;
    }
    return buf_append_text(out, text) == 0 ? EXIT_OK : cli_fail("%s", ls_strerror(LS_ENOMEM));
}

static void object_json(struct json *json, const ls_object *object, bool value)
{
    json_bytes(json, "key", object->key);
    if (value) {
        json_bytes(json, "value", object->value);
    }
    json_number(json, "created", object->created);
    json_number(json, "modified", object->modified);
}

/* A command that has a key and a handle: opens, runs `body`, closes. */
static int with_key(struct cli *cli, enum access access,
                    int (*body)(struct cli *cli, ls *handle, ls_bytes key))
{
    struct buf key = {0};
    ls *handle;
    int status = cli->argc > 0 ? parse_key(cli, cli->argv[0], &key) : EXIT_OK;
    if (status == EXIT_OK) {
        status = cli_open(cli, access, &handle);
    }
    if (status == EXIT_OK) {
        status = body(cli, handle, buf_bytes(&key));
        ls_close(handle);
    }
    buf_free(&key);
    return status;
}

/* ---- get ---- */

static int get_body(struct cli *cli, ls *handle, ls_bytes key)
{
    ls_objects *list;
    int rc = ls_get(handle, key, &list);
    if (rc == LS_ENOTFOUND) {
        return cli_fail("there is no object '%s'", cli->argv[0]);
    }
    if (rc != 0) {
        return cli_fail_ls();
    }
    const ls_object *object = ls_objects_get(list, 0);
    int status = EXIT_OK;
    if (cli->json) {
        struct json json = {0};
        object_json(&json, object, true);
        status = json_print(&json);
        buf_free(&json.text);
    } else {
        fwrite(object->value.data, 1, object->value.size, stdout);
        if (cli_option(cli, "raw") == NULL) {
            putchar('\n');
        }
    }
    ls_objects_free(list);
    return status;
}

static int run_get(struct cli *cli)
{
    return with_key(cli, ACCESS_READ, get_body);
}

/* ---- put ---- */

static int fail_conflict(const struct cli *cli)
{
    const ls_error *error = ls_last_error();
    if (error->code != LS_ECONFLICT) {
        return cli_fail_ls();
    }
    if (error->number == 0) {
        return cli_fail("nothing was changed: there is no object '%s'", cli->argv[0]);
    }
    return cli_fail("nothing was changed: '%s' was last modified at %" PRIu64, cli->argv[0],
                    error->number);
}

static int put_body(struct cli *cli, ls *handle, ls_bytes key)
{
    ls_put_options options = LS_PUT_OPTIONS_INIT;
    struct buf file = {0};
    ls_bytes value = bytes_of_text(cli->argv[1]);
    uint64_t clock;
    int status = EXIT_OK;
    options.only_if = cli_option(cli, "if") != NULL;
    options.only_if_absent = cli_option(cli, "nx") != NULL;
    options.only_if_present = cli_option(cli, "xx") != NULL;
    if (options.only_if) {
        (void)cli_parse_number(cli_option(cli, "if"), &options.if_modified);
    }
    if (strcmp(cli->argv[1], "-") == 0) {
        status = cli_read_file("-", CLI_INPUT_MAX, &file);
        value = buf_bytes(&file);
    }
    if (status == EXIT_OK) {
        status = ls_put(handle, key, value, &options, &clock) != 0 ? fail_conflict(cli)
                                                                   : cli_print_clock(cli, clock);
    }
    buf_free(&file);
    return status;
}

static int run_put(struct cli *cli)
{
    uint64_t modified = 0;
    if (cli_option(cli, "nx") != NULL && cli_option(cli, "xx") != NULL) {
        return cli_usage(cli, "--nx and --xx exclude each other");
    }
    int status = cli_option_number(cli, "if", 0, UINT64_MAX, &modified);
    return status != EXIT_OK ? status : with_key(cli, ACCESS_CHANGE, put_body);
}

/* ---- del ---- */

static int del_body(struct cli *cli, ls *handle, ls_bytes key)
{
    uint64_t clock;
    uint64_t modified;
    const char *condition = cli_option(cli, "if");
    int rc = condition != NULL && cli_parse_number(condition, &modified)
                 ? ls_del_if(handle, key, modified, &clock)
                 : ls_del(handle, key, &clock);
    return rc != 0 ? fail_conflict(cli) : cli_print_clock(cli, clock);
}

static int run_del(struct cli *cli)
{
    uint64_t modified = 0;
    int status = cli_option_number(cli, "if", 0, UINT64_MAX, &modified);
    return status != EXIT_OK ? status : with_key(cli, ACCESS_CHANGE, del_body);
}

/* ---- scan ---- */

struct scanner {
    const struct cli *cli;
    bool keys;
    uint64_t left;
    struct buf after;
    struct buf scratch;
    struct json json;
};

static int print_object(struct scanner *scanner, const ls_object *object)
{
    if (scanner->cli->json) {
        object_json(&scanner->json, object, !scanner->keys);
        return json_print(&scanner->json);
    }
    struct buf *out = &scanner->scratch;
    out->size = 0;
    int rc = 0;
    if (!scanner->keys) {
        rc = buf_printf(out, "%10" PRIu64 "  ", object->modified);
    }
    rc = rc != 0 ? rc : show_bytes(out, object->key);
    if (!scanner->keys) {
        rc = rc != 0 ? rc : buf_append_text(out, " = ");
        rc = rc != 0 ? rc : show_bytes(out, object->value);
    }
    rc = rc != 0 ? rc : buf_append_byte(out, '\n');
    if (rc != 0) {
        return cli_fail("%s", ls_strerror(rc));
    }
    fwrite(out->data, 1, out->size, stdout);
    return EXIT_OK;
}

/* Prints the list and moves `after` to its last key. */
static int print_list(struct scanner *scanner, const ls_objects *list)
{
    size_t count = ls_objects_count(list);
    int status = EXIT_OK;
    for (size_t i = 0; i < count && status == EXIT_OK; i++) {
        status = print_object(scanner, ls_objects_get(list, i));
        scanner->left--;
    }
    if (status == EXIT_OK && count > 0) {
        ls_bytes last = ls_objects_get(list, count - 1)->key;
        scanner->after.size = 0;
        if (buf_append(&scanner->after, last.data, last.size) != 0) {
            status = cli_fail("%s", ls_strerror(LS_ENOMEM));
        }
    }
    return status;
}

static int scan_all(struct scanner *scanner, ls *handle, ls_bytes prefix)
{
    const struct cli *cli = scanner->cli;
    const char *after = cli_option(cli, "after");
    int status = after != NULL ? parse_key(cli, after, &scanner->after) : EXIT_OK;
    if (status != EXIT_OK) {
        return status;
    }
    if (!cli->json && !scanner->keys) {
        printf("%s%10s  KEY = VALUE%s\n", cli_colour(cli, COLOUR_BOLD), "MODIFIED",
               cli_colour(cli, COLOUR_NONE));
    }
    size_t got = 1;
    while (status == EXIT_OK && got > 0 && scanner->left > 0 && !ferror(stdout)) {
        ls_objects *list;
        size_t max = scanner->left < SCAN_COUNT ? (size_t)scanner->left : SCAN_COUNT;
        if (ls_scan(handle, prefix, buf_bytes(&scanner->after), max, &list) != 0) {
            return cli_fail_ls();
        }
        got = ls_objects_count(list);
        status = print_list(scanner, list);
        ls_objects_free(list);
    }
    return status;
}

static int scan_body(struct cli *cli, ls *handle, ls_bytes prefix)
{
    struct scanner scanner = {.cli = cli, .left = UINT64_MAX};
    scanner.keys = cli_option(cli, "keys") != NULL;
    int status = cli_option_number(cli, "count", 1, UINT64_MAX, &scanner.left);
    if (status == EXIT_OK) {
        status = scan_all(&scanner, handle, prefix);
    }
    buf_free(&scanner.after);
    buf_free(&scanner.scratch);
    buf_free(&scanner.json.text);
    return status;
}

static int run_scan(struct cli *cli)
{
    return with_key(cli, ACCESS_READ, scan_body);
}

/* ---- the table ---- */

#define HEX_OPTION                           \
    {                                        \
        "hex", NULL, "keys are given in hex" \
    }
#define IF_OPTION                                                                       \
    {                                                                                   \
        "if", "CLOCK", "only if the object was last modified at this clock (0: absent)" \
    }

const struct command command_get = {
    .name = "get",
    .arguments = "KEY",
    .arguments_min = 1,
    .arguments_max = 1,
    .summary = "Print the value of an object",
    .text = "Fails where there is no such object.\n",
    .run = run_get,
    .options = {{"raw", NULL, "the value's bytes alone, without a line feed behind them"},
                HEX_OPTION},
};

const struct command command_put = {
    .name = "put",
    .arguments = "KEY VALUE|-",
    .arguments_min = 2,
    .arguments_max = 2,
    .summary = "Set an object and print the clock of the change",
    .text = "With '-' the value is all of standard input.\n",
    .run = run_put,
    .options = {IF_OPTION,
                {"nx", NULL, "only if it is absent"},
                {"xx", NULL, "only if it is there"},
                HEX_OPTION},
};

const struct command command_del = {
    .name = "del",
    .arguments = "KEY",
    .arguments_min = 1,
    .arguments_max = 1,
    .summary = "Delete an object and print the clock of the change",
    .text = "Prints 0 where there was no such object.\n",
    .run = run_del,
    .options = {IF_OPTION, HEX_OPTION},
};

const struct command command_scan = {
    .name = "scan",
    .arguments = "[PREFIX]",
    .arguments_min = 0,
    .arguments_max = 1,
    .summary = "List objects in byte order of their keys",
    .text = "",
    .run = run_scan,
    .options = {{"after", "KEY", "begin above this key"},
                {"count", "N", "at most N objects"},
                {"keys", NULL, "only the keys"},
                HEX_OPTION},
};
