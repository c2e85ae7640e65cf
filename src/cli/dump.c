/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep dump: the whole store as lines of JSON, out of one read transaction, so that it is the
 * store at one clock while others go on writing.
 */
#include <inttypes.h>

#include "base/error.h"
#include "base/hash.h"
#include "cli/cli.h"
#include "cli/dump_line.h"
#include "codec/key.h"
#include "coordinator/read.h"
#include "store/store.h"

/* What was written so far, and its hash line by line. */
struct dumper {
    struct buf line;
    uint64_t hash;
    uint64_t records;
};

static void write_line(struct dumper *dumper)
{
    dumper->hash = hash64(dumper->line.data, dumper->line.size, dumper->hash);
    fwrite(dumper->line.data, 1, dumper->line.size, stdout);
    dumper->line.size = 0;
}

static int dump_category(struct dumper *dumper, struct reading *reading, char category,
                         struct ls_error *error)
{
    const struct store_driver *driver = reading->store->driver;
    struct store_cursor *cursor;
    const struct key none = {0};
    struct key_walk walk;
    ls_bytes key;
    ls_bytes value;
    int rc = driver->scan(reading->txn, bytes_of(&category, 1), bytes_of(NULL, 0), false, &cursor,
                          error);
    if (rc != 0) {
        return rc;
    }
    key_walk_begin(&walk, &none);
    while ((rc = driver->next(cursor, &key, &value, error)) > 0 && !ferror(stdout)) {
        if (!key_walk_step(&walk, key)) {
            rc = error_set(error, LS_ECORRUPT, 0, "a record of category %c is not in its place",
                           category);
            break;
        }
        rc = dump_line_write(&dumper->line, key, value);
        if (rc != 0) {
            *error = (struct ls_error){.code = rc};
            break;
        }
        write_line(dumper);
        dumper->records++;
    }
    driver->scan_end(cursor);
    return rc < 0 ? rc : 0;
}

static int dump_all(struct dumper *dumper, struct reading *reading, struct ls_error *error)
{
    struct box_state box;
    int rc = box_state_read(reading, &box, error);
    if (rc != 0) {
        return rc;
    }
    rc = buf_printf(&dumper->line, "{\"lockstep\":\"dump\",\"format\":1,\"clock\":%" PRIu64 "}\n",
                    box.clock);
    if (rc != 0) {
        *error = (struct ls_error){.code = rc};
        return rc;
    }
    write_line(dumper);
    for (const char *category = KEY_CATEGORIES; *category != '\0' && rc == 0; category++) {
        rc = dump_category(dumper, reading, *category, error);
    }
    if (rc == 0) {
        printf("{\"end\":true,\"records\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\"}\n",
               dumper->records, dumper->hash);
    }
    return rc;
}

static int run_dump(struct cli *cli)
{
    const char *directory = cli_directory_argument(cli);
    struct dumper dumper = {0};
    struct store_options options = {.read_only = true};
    struct ls_error error;
    struct store *store;
    struct reading reading;
    if (directory == NULL) {
        return cli_usage(cli, "'dump' takes a data directory; a server's is dumped on its machine, "
                              "while it runs");
    }
    int rc = store_lmdb.open(&store, directory, &options, &error);
    if (rc != 0) {
        return cli_fail_error(&error);
    }
    rc = reading_begin(&reading, store, &error);
    if (rc == 0) {
        rc = dump_all(&dumper, &reading, &error);
        reading_end(&reading);
    }
    store_close(store);
    buf_free(&dumper.line);
    return rc == 0 ? EXIT_OK : cli_fail_error(&error);
}

const struct command command_dump = {
    .name = "dump",
    .arguments = "[DIR]",
    .arguments_min = 0,
    .arguments_max = 1,
    .summary = "Write the whole store as JSON lines, consistent at one clock",
    .text = "Can run while the directory is in use. 'lockstep load' makes the same store of it.\n\n"
            "  lockstep dump /var/lib/lockstep > backup.jsonl\n",
    .url = "the directory, where DIR is not given; by default $LOCKSTEP_URL",
    .run = run_dump,
};
