/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep status: a coordinator on one screen. What every kind has comes through the library; a
 * directory adds its size on disk, a server what it says of itself in INFO.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/talk.h"
#include "codec/key.h"
#include "coordinator/layout.h"
#include "coordinator/read.h"
#include "store/store.h"

struct status {
    uint64_t clock;
    ls_box_info box;
    uint64_t nodes[3]; /* by ls_node_state */
    bool has_store;    /* a directory */
    uint64_t objects;
    uint64_t versions; /* of the keys of transactions */
    uint64_t open;     /* transactions */
    struct store_stat store;
    struct talk talk; /* a server: holds the INFO text */
    bool has_info;
    ls_bytes info;
};

/* ---- asking ---- */

static int ask_library(const struct cli *cli, struct status *status)
{
    ls *handle;
    ls_nodes *nodes;
    int result = cli_open(cli, ACCESS_READ, &handle);
    if (result != EXIT_OK) {
        return result;
    }
    if (ls_clock_get(handle, &status->clock) != 0 || ls_box_info_get(handle, &status->box) != 0 ||
        ls_node_list(handle, &nodes) != 0) {
        result = cli_fail_ls();
    } else {
        for (size_t i = 0; i < ls_nodes_count(nodes); i++) {
            status->nodes[ls_nodes_get(nodes, i)->state]++;
        }
        ls_nodes_free(nodes);
    }
    ls_close(handle);
    return result;
}

/* Versions in the version log that are not in a place of their own yet. */
static int count_logged(struct reading *reading, const struct control *txns, uint64_t *versions,
                        struct ls_error *error)
{
    const struct store_driver *driver = reading->store->driver;
    struct store_cursor *cursor;
    struct key from, to;
    ls_bytes key, value;
    logged_key(&from, txns->value[TXNS_MERGED]);
    logged_key(&to, txns->value[TXNS_LOGGED]);
    int rc = driver->scan(reading->txn, key_bytes(&from), key_bytes(&to), false, &cursor, error);
    if (rc != 0) {
        return rc;
    }
    while ((rc = driver->next(cursor, &key, &value, error)) > 0) {
        struct logged logged;
        rc = logged_decode(&logged, value, error);
        if (rc != 0) {
            break;
        }
        for (struct logged_write write; logged_write_next(&logged.writes, &write);) {
            *versions += 1;
        }
    }
    driver->scan_end(cursor);
    return rc;
}

/* A store in which no transaction ever was has no record of them. */
static int count_transactions(struct reading *reading, struct status *status,
                              struct ls_error *error)
{
    struct key key;
    struct control txns;
    ls_bytes record;
    int rc = key_control(&key, bytes_of_text(CONTROL_TXNS));
    rc = rc != 0 ? rc : reading->store->driver->get(reading->txn, key_bytes(&key), &record);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    if (rc != 0) {
        return error_code(error, rc);
    }
    rc = control_decode(&txns, record, control_txns_fields, error);
    if (rc != 0) {
        return rc;
    }
    status->open = txns.value[TXNS_OPEN];
    return count_logged(reading, &txns, &status->versions, error);
}

static int count_keys(struct reading *reading, struct status *status, struct ls_error *error)
{
    const struct store_driver *driver = reading->store->driver;
    int rc = driver->count(reading->txn, KEY_OBJECT, &status->objects, error);
    rc = rc != 0 ? rc : driver->count(reading->txn, KEY_VERSION, &status->versions, error);
    return rc != 0 ? rc : count_transactions(reading, status, error);
}

static int ask_store(const char *directory, struct status *status)
{
    struct store_options options = {.read_only = true};
    struct ls_error error;
    struct store *store;
    struct reading reading;
    int rc = store_lmdb.open(&store, directory, &options, &error);
    if (rc != 0) {
        return cli_fail_error(&error);
    }
    rc = reading_begin(&reading, store, &error);
    if (rc == 0) {
        rc = count_keys(&reading, status, &error);
        reading_end(&reading);
    }
    rc = rc != 0 ? rc : store->driver->stat(store, &status->store, &error);
    store_close(store);
    status->has_store = rc == 0;
    return rc == 0 ? EXIT_OK : cli_fail_error(&error);
}

static int ask_server(const struct cli *cli, struct status *status)
{
    struct endpoint endpoint;
    struct ls_error error;
    ls_bytes argv[1] = {bytes_of_text("INFO")};
    const struct resp_value *reply;
    int rc = endpoint_parse(&endpoint, cli->url, &error);
    if (rc == 0) {
        rc = talk_open(&status->talk, &endpoint, &error);
        endpoint_free(&endpoint);
    }
    if (rc != 0) {
        return cli_fail_error(&error);
    }
    status->has_info = true;
    if (talk_call(&status->talk, 1, argv, &reply, &error) != 0) {
        return cli_fail_error(&error);
    }
    status->info = reply->text;
    return EXIT_OK;
}

/* One line of INFO, "name:value", and the section that it stands in. Names are unique in it. */
struct info_line {
    ls_bytes section;
    ls_bytes name;
    ls_bytes value;
};

/* The lines one by one, from one that is all zeros on. False at the end. */
static bool next_info(ls_bytes *rest, struct info_line *out)
{
    while (rest->size > 0) {
        const char *line = rest->data;
        const char *feed = memchr(line, '\n', rest->size);
        size_t size = feed != NULL ? (size_t)(feed - line) : rest->size;
        size_t used = size + (feed != NULL);
        rest->data = line + used;
        rest->size -= used;
        size -= size > 0 && line[size - 1] == '\r';
        const char *colon = memchr(line, ':', size);
        if (size > 2 && *line == '#') {
            out->section = bytes_of(line + 2, size - 2); /* behind "# " */
        } else if (colon != NULL) {
            out->name = bytes_of(line, (size_t)(colon - line));
            out->value = bytes_of(colon + 1, size - out->name.size - 1);
            return true;
        }
    }
    return false;
}

static bool find_info(const struct status *status, const char *section, const char *name,
                      ls_bytes *value)
{
    ls_bytes rest = status->info;
    struct info_line line = {0};
    while (next_info(&rest, &line)) {
        if (bytes_equal(line.name, bytes_of_text(name)) &&
            bytes_equal(line.section, bytes_of_text(section))) {
            *value = line.value;
            return true;
        }
    }
    return false;
}

/* ---- telling ---- */

enum kind { KIND_TEXT, KIND_SIZE, KIND_TIME };

#define SHOWN_MAX 4

/* What is shown of INFO, a line each, where the server says it: values, each with what stands
 * behind it. */
static const struct {
    const char *section;
    const char *label;
    struct {
        const char *name;
        enum kind kind;
        const char *behind;
    } parts[SHOWN_MAX];
} shown[] = {
    {"Server", "version", {{"lockstep_version", KIND_TEXT, ""}}},
    {"Server", "process", {{"process_id", KIND_TEXT, ""}}},
    {"Server", "up for", {{"uptime_in_seconds", KIND_TIME, ""}}},
    {"Memory", "memory", {{"resident_bytes", KIND_SIZE, ""}}},
    {"Clients", "connections", {{"connected_clients", KIND_TEXT, ""}}},
    {"Clients",
     "watches",
     {{"watchers", KIND_TEXT, " of the box, "}, {"object_watchers", KIND_TEXT, " of objects"}}},
    {"Stats", "commands", {{"total_commands_processed", KIND_TEXT, ""}}},
    {"Sequencer",
     "changes",
     {{"requests", KIND_TEXT, "; batches: "},
      {"batches", KIND_TEXT, ", the largest of "},
      {"batch_max", KIND_TEXT, ""}}},
    {"Transactions",
     "transactions",
     {{"open", KIND_TEXT, " open, "},
      {"waiting", KIND_TEXT, " waiting for them, "},
      {"expired", KIND_TEXT, " expired, "},
      {"released", KIND_TEXT, " released"}}},
    {"Store", "store", {{"store", KIND_TEXT, ""}}},
    {"Store", "sync", {{"sync", KIND_TEXT, ""}}},
    {"Store",
     "disk",
     {{"bytes_used", KIND_SIZE, " used of a file of "}, {"bytes_file", KIND_SIZE, ""}}},
};

/* "3 d 04:05:06". */
static void show_duration(char out[SHOW_SIZE_SIZE], uint64_t seconds)
{
    unsigned hours = (unsigned)(seconds / 3600 % 24);
    unsigned minutes = (unsigned)(seconds / 60 % 60);
    snprintf(out, SHOW_SIZE_SIZE, "%" PRIu64 " d %02u:%02u:%02u", seconds / 86400, hours, minutes,
             (unsigned)(seconds % 60));
}

static void show_info(enum kind kind, ls_bytes value)
{
    char digits[24];
    char text[SHOW_SIZE_SIZE];
    uint64_t number;
    snprintf(digits, sizeof(digits), "%.*s", (int)value.size, (const char *)value.data);
    if (kind == KIND_TEXT || !cli_parse_number(digits, &number)) {
        printf("%.*s", (int)value.size, (const char *)value.data);
        return;
    }
    if (kind == KIND_SIZE) {
        show_size(text, number);
    } else {
        show_duration(text, number);
    }
    fputs(text, stdout);
}

static void row(const struct cli *cli, const char *label)
{
    printf("%s%-14s%s ", cli_colour(cli, COLOUR_DIM), label, cli_colour(cli, COLOUR_NONE));
}

static void tell_info(const struct cli *cli, const struct status *status)
{
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        ls_bytes value;
        size_t told = 0;
        for (size_t k = 0; k < SHOWN_MAX && shown[i].parts[k].name != NULL; k++) {
            if (!find_info(status, shown[i].section, shown[i].parts[k].name, &value)) {
                continue;
            }
            if (told++ == 0) {
                row(cli, shown[i].label);
            }
            show_info(shown[i].parts[k].kind, value);
            fputs(shown[i].parts[k].behind, stdout);
        }
        if (told > 0) {
            putchar('\n');
        }
    }
}

static int tell_text(const struct cli *cli, const struct status *status)
{
    char size[SHOW_SIZE_SIZE];
    char other[SHOW_SIZE_SIZE];
    const ls_box_info *box = &status->box;
    row(cli, status->has_info ? "server" : "store");
    printf("%s%s%s\n", cli_colour(cli, COLOUR_BOLD), cli->place, cli_colour(cli, COLOUR_NONE));
    row(cli, "clock");
    printf("%" PRIu64 "\n", status->clock);
    row(cli, "box");
    show_size(size, box->bytes);
    if (box->count > 0) {
        printf("%" PRIu64 " message%s, %s, clocks %" PRIu64 " to %" PRIu64 "\n", box->count,
               cli_plural(box->count), size, box->oldest, box->newest);
    } else {
        printf("empty\n");
    }
    row(cli, "nodes");
    printf("%" PRIu64 " up, %" PRIu64 " leaving, %" PRIu64 " down\n", status->nodes[LS_NODE_UP],
           status->nodes[LS_NODE_LEAVING], status->nodes[LS_NODE_DOWN]);
    if (status->has_store) {
        row(cli, "objects");
        printf("%" PRIu64 "\n", status->objects);
        row(cli, "transactions");
        printf("%" PRIu64 " open, %" PRIu64 " version%s\n", status->open, status->versions,
               cli_plural(status->versions));
        row(cli, "disk");
        show_size(size, status->store.bytes_used);
        show_size(other, status->store.bytes_file);
        printf("%s used of a file of %s\n", size, other);
        row(cli, "commits");
        printf("%" PRIu64 "\n", status->store.commits);
    }
    if (status->has_info) {
        tell_info(cli, status);
    }
    return EXIT_OK;
}

/* "name" of bytes, cut to what a name of INFO may have; letters become small. */
static void info_name(char out[64], ls_bytes name)
{
    size_t size = name.size < 63 ? name.size : 63;
    for (size_t i = 0; i < size; i++) {
        out[i] = (char)tolower(((const unsigned char *)name.data)[i]);
    }
    out[size] = '\0';
}

/* Numbers as numbers. A store may have a name that looks like one. */
static void info_value(struct json *json, const char *name, ls_bytes value)
{
    char digits[24];
    uint64_t number;
    snprintf(digits, sizeof(digits), "%.*s", (int)value.size, (const char *)value.data);
    if (value.size < sizeof(digits) && strcmp(name, "store") != 0 &&
        cli_parse_number(digits, &number)) {
        json_number(json, name, number);
    } else {
        json_bytes(json, name, value);
    }
}

/* An object a section. */
static void info_json(struct json *json, ls_bytes info)
{
    struct info_line line = {0};
    ls_bytes section = {0};
    char name[64];
    while (next_info(&info, &line)) {
        if (line.section.data != section.data) {
            if (section.data != NULL) {
                json_close(json);
            }
            section = line.section;
            info_name(name, section);
            json_open(json, name);
        }
        info_name(name, line.name);
        info_value(json, name, line.value);
    }
    if (section.data != NULL) {
        json_close(json);
    }
}

static int tell_json(const struct cli *cli, const struct status *status)
{
    struct json json = {0};
    json_text(&json, "url", cli->place);
    json_number(&json, "clock", status->clock);
    json_open(&json, "box");
    json_number(&json, "oldest", status->box.oldest);
    json_number(&json, "newest", status->box.newest);
    json_number(&json, "count", status->box.count);
    json_number(&json, "bytes", status->box.bytes);
    json_close(&json);
    json_open(&json, "nodes");
    json_number(&json, "up", status->nodes[LS_NODE_UP]);
    json_number(&json, "leaving", status->nodes[LS_NODE_LEAVING]);
    json_number(&json, "down", status->nodes[LS_NODE_DOWN]);
    json_close(&json);
    if (status->has_store) {
        json_number(&json, "objects", status->objects);
        json_open(&json, "transactions");
        json_number(&json, "open", status->open);
        json_number(&json, "versions", status->versions);
        json_close(&json);
        json_open(&json, "store");
        json_number(&json, "bytes_used", status->store.bytes_used);
        json_number(&json, "bytes_file", status->store.bytes_file);
        json_number(&json, "bytes_free", status->store.bytes_free);
        json_number(&json, "bytes_limit", status->store.bytes_limit);
        json_number(&json, "commits", status->store.commits);
        json_number(&json, "readers", status->store.readers);
        json_close(&json);
    }
    if (status->has_info) {
        json_open(&json, "info");
        info_json(&json, status->info);
        json_close(&json);
    }
    int result = json_print(&json);
    buf_free(&json.text);
    return result;
}

static int run_status(struct cli *cli)
{
    struct status status = {0};
    const char *directory = cli_directory(cli);
    int result = ask_library(cli, &status);
    if (result == EXIT_OK && directory != NULL) {
        result = ask_store(directory, &status);
    } else if (result == EXIT_OK) {
        result = ask_server(cli, &status);
    }
    if (result == EXIT_OK) {
        result = cli->json ? tell_json(cli, &status) : tell_text(cli, &status);
    }
    if (status.has_info) {
        talk_close(&status.talk);
    }
    return result;
}

const struct command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "Show clock, box, nodes and the state of the store or server",
    .text = "",
    .run = run_status,
};
