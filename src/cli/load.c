/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep load: makes a new store of a dump. It is made in a directory beside the one that was
 * asked for, which is given its name only once every line was read and the hash was right; so
 * nothing half loaded is ever there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "cli/cli.h"
#include "cli/dump_line.h"
#include "cli/lines.h"
#include "codec/cbor.h"
#include "codec/json.h"
#include "store/store.h"

#define SUFFIX         ".loading"
#define DIRECTORY_MODE 0750               /* as the store makes its own */
#define COMMIT_BYTES   ((size_t)64 << 20) /* of records in one transaction */

/* The longest lines: a first one says little, and a record is at most a change of an object that
 * had 1 GiB before and has after it, in hex. */
#define LINE_FIRST_MAX ((size_t)4096)
#define LINE_MAX_SIZE  (((size_t)4 << 30) + 65536)

struct loader {
    struct store *store;
    struct store_txn *txn;
    size_t uncommitted;
    struct dump_reader reader;
    struct buf value;
    struct line_source lines;
    uint64_t hash;
    uint64_t records;
    bool ended;
    struct ls_error error;
};

/* ---- lines ---- */

/* The number and text fields of a flat line. */
static bool line_field(struct loader *loader, ls_bytes line, const char *name,
                       struct cbor_entry *out)
{
    struct cbor_map map;
    loader->reader.cbor.size = 0;
    if (json_to_cbor(&loader->reader.cbor, line, NULL) != 0 ||
        cbor_map_open(&map, buf_bytes(&loader->reader.cbor), NULL) != 0) {
        return false;
    }
    while (cbor_map_next(&map, out, NULL) > 0) {
        if (bytes_equal(out->key, bytes_of_text(name))) {
            return true;
        }
    }
    return false;
}

static int read_first(struct loader *loader, ls_bytes line)
{
    struct cbor_entry entry;
    if (!line_field(loader, line, "lockstep", &entry) || entry.kind != CBOR_TEXT ||
        !bytes_equal(entry.bytes, bytes_of_text("dump"))) {
        return error_set(&loader->error, LS_EINVAL, 0, "this is no dump of lockstep");
    }
    if (!line_field(loader, line, "format", &entry) || entry.kind != CBOR_UINT ||
        entry.number != 1) {
        return error_set(&loader->error, LS_EFORMAT, 0,
                         "the dump has a format that this version does not know");
    }
    return 0;
}

static bool is_last(ls_bytes line)
{
    static const char begin[] = "{\"end\":";
    return bytes_begin_with(line, bytes_of(begin, sizeof(begin) - 1));
}

static int read_last(struct loader *loader, ls_bytes line)
{
    struct cbor_entry entry;
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, loader->hash);
    if (!line_field(loader, line, "records", &entry) || entry.kind != CBOR_UINT ||
        entry.number != loader->records) {
        return error_set(&loader->error, LS_EINVAL, 0,
                         "the dump was cut or altered: it holds %" PRIu64
                         " records, but not as many as its last line says",
                         loader->records);
    }
    if (!line_field(loader, line, "hash", &entry) || entry.kind != CBOR_TEXT ||
        !bytes_equal(entry.bytes, bytes_of(hash, 16))) {
        return error_set(&loader->error, LS_EINVAL, 0,
                         "the dump was altered: its hash is not the one in its last line");
    }
    loader->ended = true;
    return 0;
}

static int commit(struct loader *loader)
{
    struct store_txn *txn = loader->txn;
    loader->txn = NULL;
    loader->uncommitted = 0;
    return txn != NULL ? loader->store->driver->commit(txn, &loader->error) : 0;
}

static int put(struct loader *loader, const struct key *key)
{
    const struct store_driver *driver = loader->store->driver;
    int rc = 0;
    if (loader->txn == NULL) {
        rc = driver->begin(loader->store, STORE_WRITE, &loader->txn, &loader->error);
    }
    rc = rc != 0 ? rc
                 : driver->room(loader->txn, STORE_ROOM_ADD, key->size + loader->value.size,
                                &loader->error);
    rc = rc != 0 ? rc
                 : driver->put(loader->txn, key_bytes(key), buf_bytes(&loader->value), true,
                               &loader->error);
    loader->uncommitted += key->size + loader->value.size;
    if (rc == 0 && loader->uncommitted >= COMMIT_BYTES) {
        rc = commit(loader);
    }
    return rc;
}

static int read_record(struct loader *loader, ls_bytes line)
{
    struct key key;
    int rc = dump_line_read(&loader->reader, line, &key, &loader->value, &loader->error);
    rc = rc != 0 ? rc : put(loader, &key);
    if (rc != 0) {
        struct ls_error cause = loader->error;
        return error_set(&loader->error, rc, cause.number, "line %" PRIu64 ": %.200s",
                         loader->lines.number, cause.text);
    }
    loader->records++;
    return 0;
}

static int read_line(struct loader *loader, ls_bytes line)
{
    bool first = loader->lines.number == 1;
    if (loader->ended) {
        return error_set(&loader->error, LS_EINVAL, 0, "there is more behind the end of the dump");
    }
    if (!first && is_last(line)) {
        return read_last(loader, line);
    }
    int rc = first ? read_first(loader, line) : read_record(loader, line);
    loader->hash = hash64(line.data, line.size, loader->hash);
    return rc;
}

static int read_all(struct loader *loader)
{
    size_t size_max = LINE_FIRST_MAX;
    char *line;
    size_t size;
    int rc;
    while ((rc = lines_next(&loader->lines, size_max, &line, &size, &loader->error)) > 0) {
        rc = read_line(loader, bytes_of(line, size));
        if (rc != 0) {
            break;
        }
        size_max = LINE_MAX_SIZE;
    }
    if (rc == 0 && !loader->ended) {
        rc = error_set(&loader->error, LS_EINVAL, 0,
                       "the dump was cut off after line %" PRIu64 ": its end is missing",
                       loader->lines.number);
    }
    if (rc == 0) {
        rc = commit(loader);
    }
    if (loader->txn != NULL) {
        loader->store->driver->abort(loader->txn);
    }
    return rc;
}

/* ---- the directory ---- */

static int fail_errno(struct ls_error *error, const char *path)
{
    return error_set(error, LS_EIO, 0, "%s: %s", path, strerror(errno));
}

/* Whether there is nothing at the path, or an empty directory. */
static int check_target(const char *path, struct ls_error *error)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return errno == ENOENT ? 0 : fail_errno(error, path);
    }
    bool empty = true;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(directory);
    return empty
               ? 0
               : error_set(error, LS_EINVAL, 0,
                           "%s is not empty; a dump is loaded into a new or empty directory", path);
}

/* Removes what a store is made of, and its directory. */
static void remove_store(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "redo", "wake"};
    char name[PATH_MAX];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (snprintf(name, sizeof(name), "%s/%s", path, files[i]) < (int)sizeof(name)) {
            unlink(name);
        }
    }
    rmdir(path);
}

/* The name reaches the disk with the directory above it. */
static int sync_parent(const char *path, struct ls_error *error)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int size = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(parent, sizeof(parent), "%.*s", size, slash == NULL ? "." : path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int rc = fail_errno(error, parent);
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    close(fd);
    return 0;
}

/* Takes the place of what is at the path, a directory of somebody's modes or nothing. */
static int take_place(const char *beside, const char *path, struct ls_error *error)
{
    struct stat found;
    bool there = stat(path, &found) == 0;
    if ((there && chmod(beside, found.st_mode & 07777) != 0) || rename(beside, path) != 0) {
        return fail_errno(error, path);
    }
    return 0;
}

static int load_beside(struct loader *loader, const char *path, const char *beside)
{
    struct store_options options = {.sync = true, .create = true};
    struct ls_error *error = &loader->error;
    if (mkdir(beside, DIRECTORY_MODE) != 0) {
        return errno == EEXIST
                   ? error_set(error, LS_EBUSY, 0,
                               "%s is there: another load is under way, or was killed; remove it",
                               beside)
                   : fail_errno(error, beside);
    }
    int rc = store_lmdb.open(&loader->store, beside, &options, error);
    if (rc == 0) {
        rc = read_all(loader);
        store_close(loader->store);
    }
    rc = rc != 0 ? rc : take_place(beside, path, error);
    if (rc != 0) {
        remove_store(beside);
        return rc;
    }
    return sync_parent(path, error);
}

/* The path without the slashes behind it, and the one beside it. */
static int name_paths(const char *directory, char path[PATH_MAX], char beside[PATH_MAX],
                      struct ls_error *error)
{
    size_t size = strlen(directory);
    while (size > 1 && directory[size - 1] == '/') {
        size--;
    }
    if (size == 0 || size + sizeof(SUFFIX) > PATH_MAX) {
        return error_set(error, LS_EINVAL, 0, "the directory's name is empty or too long");
    }
    memcpy(path, directory, size);
    path[size] = '\0';
    char resolved[PATH_MAX];
    if (realpath(path, resolved) != NULL && strlen(resolved) + sizeof(SUFFIX) <= PATH_MAX) {
        strncpy(path, resolved, PATH_MAX - 1);
    }
    snprintf(beside, PATH_MAX, "%.*s" SUFFIX, PATH_MAX - (int)sizeof(SUFFIX), path);
    return 0;
}

static int report(const struct cli *cli, const struct loader *loader)
{
    if (!cli->json) {
        printf("%" PRIu64 " record%s\n", loader->records, cli_plural(loader->records));
        return EXIT_OK;
    }
    struct json json = {0};
    json_number(&json, "records", loader->records);
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

static int run_load(struct cli *cli)
{
    const char *directory = cli_directory_argument(cli);
    char path[PATH_MAX];
    char beside[PATH_MAX];
    struct loader loader = {.lines.fd = STDIN_FILENO};
    if (directory == NULL) {
        return cli_usage(cli, "'load' takes a new or empty directory, not a server");
    }
    int rc = name_paths(directory, path, beside, &loader.error);
    rc = rc != 0 ? rc : check_target(path, &loader.error);
    rc = rc != 0 ? rc : load_beside(&loader, path, beside);
    dump_reader_free(&loader.reader);
    lines_free(&loader.lines);
    buf_free(&loader.value);
    return rc == 0 ? report(cli, &loader) : cli_fail_error(&loader.error);
}

const struct command command_load = {
    .name = "load",
    .arguments = "[DIR]",
    .arguments_min = 0,
    .arguments_max = 1,
    .summary = "Make a store of a dump on standard input, in a new or empty directory",
    .text = "A dump that was cut or altered is refused, and nothing is left of it.\n\n"
            "  lockstep load /var/lib/lockstep < backup.jsonl\n",
    .url = "the directory, where DIR is not given; by default $LOCKSTEP_URL",
    .run = run_load,
};
