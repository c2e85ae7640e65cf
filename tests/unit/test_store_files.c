/* SPDX-License-Identifier: Apache-2.0 */
/* The LMDB driver's directories: opening, sharing between handles and users, and damage. What is
 * between processes is in test_store_processes.c. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "faults.h"
#include "store_directory_fixture.h"

#define NOBODY 65534

static int open_existing(struct store **out, const char *directory, bool read_only,
                         struct ls_error *error)
{
    struct store_options options = {.read_only = read_only};
    return store_open(out, directory, &options, error);
}

static struct store *opened(const char *directory)
{
    return opened_with(directory, (struct store_options){.create = true});
}

static off_t file_size(const char *directory, const char *name)
{
    char path[2 * SCRATCH_SIZE];
    struct stat found;
    file_path(path, directory, name);
    assert_int_equal(stat(path, &found), 0);
    return found.st_size;
}

static unsigned open_files(void)
{
    unsigned number = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        number++;
    }
    closedir(dir);
    return number;
}

/* ---- opening ---- */

static void a_missing_store_is_not_found_unless_it_may_be_created(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    const char *directory = directory_of(state);
    assert_code(open_existing(&store, directory, false, &error), LS_ENOTFOUND);
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_code(open_existing(&store, directory, false, &error), LS_ENOTFOUND);
    assert_code(open_existing(&store, directory, true, &error), LS_ENOTFOUND);
    struct store_options both = {.create = true, .read_only = true};
    assert_code(store_open(&store, directory, &both, &error), LS_ENOTFOUND);
    store_close(opened(directory));
    assert_ok(open_existing(&store, directory, false, &error));
    store_close(store);
}

static void only_the_last_directory_of_a_path_is_made(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    char path[2 * SCRATCH_SIZE];
    file_path(path, directory_of(state), "below");
    assert_code(open_store(&store, path, &error), LS_ENOTFOUND);
}

static void records_are_there_when_opened_again(void **state)
{
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    put_alone(store, text_key('O', "a"), "one");
    store_close(store);
    store = opened(directory);
    assert_value_now(store, text_key('O', "a"), "one");
    store_close(store);
}

static void a_url_names_the_driver(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    struct store_options options = {.create = true};
    char url[2 * SCRATCH_SIZE];
    snprintf(url, sizeof url, "lmdb:%s", directory_of(state));
    assert_ok(store_open(&store, url, &options, &error));
    assert_ptr_equal(store->driver, &store_lmdb);
    assert_string_equal(store->path, directory_of(state));
    store_close(store);
    assert_ok(store_open(&store, "mem:", &options, &error));
    assert_ptr_equal(store->driver, &store_mem);
    store_close(store);
    assert_code(store_open(&store, "tape:x", &options, &error), LS_EINVAL);
    assert_non_null(strstr(error.text, "tape"));
    assert_code(store_open(&store, "lmdb:", &options, &error), LS_EINVAL);
    assert_code(store_open(&store, "mem:name", &options, &error), LS_EINVAL);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    char path[5000];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = 0;
    (void)state;
    assert_true(open_store(&store, path, &error) < 0);
}

static void what_a_crash_left_of_a_new_store_is_swept_away(void **state)
{
    const char *directory = directory_of(state);
    char path[2 * SCRATCH_SIZE];
    assert_int_equal(mkdir(directory, 0700), 0);
    file_path(path, directory, "new");
    assert_int_equal(mkdir(path, 0700), 0);
    file_path(path, directory, "new/data.mdb");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("half a header", file);
    fclose(file);
    store_close(opened(directory));
    assert_int_equal(access(path, F_OK), -1);
}

/* Sets and gives the version in the wake page. */
static uint32_t wake_version(const char *directory, uint32_t new_version)
{
    char path[2 * SCRATCH_SIZE];
    uint32_t version;
    file_path(path, directory, "wake");
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &version, sizeof version, 4), sizeof version);
    if (new_version != 0) {
        assert_int_equal(pwrite(fd, &new_version, sizeof version, 4), sizeof version);
    }
    close(fd);
    return version;
}

static void a_wake_page_of_an_older_build_is_renewed_by_whoever_is_alone(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    const char *directory = directory_of(state);
    store_close(opened(directory));
    assert_int_equal(wake_version(directory, 1), 2);
    store_close(opened(directory));
    assert_int_equal(wake_version(directory, 3), 2);
    assert_code(open_store(&store, directory, &error), LS_EFORMAT);
}

static void a_wake_page_of_an_older_build_that_is_in_use_is_refused(void **state)
{
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    (void)wake_version(directory, 1);
    pid_t child = new_child();
    if (child == 0) {
        struct ls_error error = {0};
        struct store *mine;
        child_exit(open_store(&mine, directory, &error) == LS_EFORMAT ? 0 : 1);
    }
    assert_int_equal(end_of(child), 0);
    store_close(store);
}

static void opening_and_failing_to_open_leave_no_file_open(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    const char *directory = directory_of(state);
    store_close(opened(directory));
    unsigned before = open_files();
    for (int i = 0; i < 3; i++) {
        store_close(opened(directory));
        assert_code(open_existing(&store, "/no/such/place", false, &error), LS_ENOTFOUND);
        struct store_options small = {.create = true, .map_size_max = 1};
        assert_code(store_open(&store, directory, &small, &error), LS_EINVAL);
        struct store_options options = {.create = true};
        assert_ok(store_open(&store, "mem:", &options, &error));
        store_close(store);
    }
    assert_int_equal(open_files(), before);
}

static void a_private_store_leaves_nothing_in_its_directory(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    struct store_options options = {0};
    const char *before = getenv("TMPDIR");
    char *kept = before != NULL ? strdup(before) : NULL;
    assert_int_equal(mkdir(directory_of(state), 0700), 0);
    setenv("TMPDIR", directory_of(state), 1);
    assert_ok(store_open(&store, "mem:", &options, &error));
    assert_int_equal(rmdir(directory_of(state)), 0); /* it is empty while the store is open */
    put_alone(store, text_key('O', "a"), "one");
    assert_value_now(store, text_key('O', "a"), "one");
    store_close(store);
    if (kept != NULL) {
        setenv("TMPDIR", kept, 1);
        free(kept);
    } else {
        unsetenv("TMPDIR");
    }
}

static void open_with_failing_allocation(void *context, long n)
{
    const char *const *urls = context;
    for (int i = 0; i < 2; i++) {
        struct ls_error error = {0};
        struct store *store;
        int result = open_store(&store, urls[i], &error);
        if (result == 0) {
            store_close(store);
        } else if (result != LS_ENOMEM || error.code != LS_ENOMEM) {
            fail_msg("%s, allocation %ld: %s", urls[i], n, ls_errname(result));
        }
    }
}

static void every_failing_allocation_of_an_open_is_reported(void **state)
{
    const char *urls[] = {directory_of(state), "mem:"};
    unsigned before = open_files();
    faults_each_allocation(open_with_failing_allocation, urls);
    assert_int_equal(open_files(), before);
}

/* ---- several handles of one process ---- */

static void handles_of_one_process_share_a_directory(void **state)
{
    const char *directory = directory_of(state);
    struct store *first = opened(directory);
    struct store *second = opened(directory);
    char other_name[2 * SCRATCH_SIZE];
    file_path(other_name, directory, ".");
    struct store *third = opened(other_name);
    put_alone(first, text_key('O', "a"), "one");
    assert_value_now(second, text_key('O', "a"), "one");
    store_close(first);
    put_alone(second, text_key('O', "a"), "two");
    assert_value_now(third, text_key('O', "a"), "two");
    store_close(second);
    store_close(third);
}

static void a_handle_for_reading_cannot_write_and_sees_what_others_wrote(void **state)
{
    struct ls_error error = {0};
    struct store *reader;
    const char *directory = directory_of(state);
    store_close(opened(directory));
    assert_ok(open_existing(&reader, directory, true, &error));
    struct store_txn *txn;
    assert_code(reader->driver->begin(reader, STORE_WRITE, &txn, &error), LS_EREADONLY);
    struct store *writer = opened(directory);
    put_alone(writer, text_key('O', "a"), "one");
    assert_value_now(reader, text_key('O', "a"), "one");
    assert_code(reader->driver->begin(reader, STORE_WRITE, &txn, &error), LS_EREADONLY);
    store_close(reader);
    store_close(writer);
}

/* ---- users ---- */

static void set_modes(const char *directory, mode_t of_directory, mode_t of_data, mode_t of_others)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "wake"};
    char path[2 * SCRATCH_SIZE];
    for (int i = 0; i < 3; i++) {
        file_path(path, directory, names[i]);
        assert_int_equal(chmod(path, i == 0 ? of_data : of_others), 0);
    }
    assert_int_equal(chmod(directory, of_directory), 0);
}

/* What opening gives as another user; 200: it opens, and the record is there. */
static int open_as_nobody(const char *directory, bool read_only)
{
    pid_t child = new_child();
    if (child == 0) {
        struct ls_error error = {0};
        struct store *store;
        struct key key = text_key('O', "a");
        struct store_txn *txn;
        ls_bytes value;
        if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0) {
            child_exit(99);
        }
        int result = open_existing(&store, directory, read_only, &error);
        if (result != 0) {
            child_exit(-result);
        }
        if (store->driver->begin(store, STORE_READ, &txn, &error) != 0 ||
            store->driver->get(txn, key_bytes(&key), &value) != 0) {
            child_exit(98);
        }
        store->driver->abort(txn);
        uint32_t word = store->driver->wake_word(store);
        if (store->driver->wake_wait(store, word, 5)) {
            child_exit(97);
        }
        store_close(store);
        child_exit(200);
    }
    return end_of(child);
}

static void a_directory_of_another_user_is_refused_or_only_read(void **state)
{
    const char *directory = directory_of(state);
    if (getuid() != 0) {
        skip(); /* only root can become somebody else */
    }
    struct store *store = opened(directory);
    put_alone(store, text_key('O', "a"), "one");
    store_close(store);
    assert_int_equal(chmod(((struct fixture *)*state)->scratch, 0755), 0);
    set_modes(directory, 0700, 0600, 0600);
    assert_int_equal(open_as_nobody(directory, false), -LS_EREADONLY);
    assert_int_equal(open_as_nobody(directory, true), -LS_EREADONLY);
    set_modes(directory, 0755, 0644, 0644); /* readers need the lock file */
    assert_int_equal(open_as_nobody(directory, false), -LS_EREADONLY);
    assert_int_equal(open_as_nobody(directory, true), -LS_EREADONLY);
    set_modes(directory, 0755, 0644, 0666);
    assert_int_equal(open_as_nobody(directory, false), -LS_EREADONLY);
    assert_int_equal(open_as_nobody(directory, true), 200);
    set_modes(directory, 0755, 0666, 0666);
    assert_int_equal(open_as_nobody(directory, false), 200);
}

/* ---- damage ---- */

/* Opens in a child and reads every record; the child's end: 0, or the code of the refusal. */
static int open_and_walk(const char *directory)
{
    pid_t child = new_child();
    if (child == 0) {
        struct ls_error error = {0};
        struct store *store;
        struct store_txn *txn;
        int result = open_existing(&store, directory, false, &error);
        if (result == 0) {
            result = store->driver->begin(store, STORE_READ, &txn, &error);
        }
        for (const char *letter = KEY_CATEGORIES; result == 0 && *letter != 0; letter++) {
            struct store_cursor *cursor;
            ls_bytes key;
            ls_bytes value;
            uint8_t sum = 0;
            result = store->driver->scan(txn, bytes_of(letter, 1), (ls_bytes){0}, false, &cursor,
                                         &error);
            while (result == 0 &&
                   (result = store->driver->next(cursor, &key, &value, &error)) == 1) {
                for (size_t i = 0; i < value.size; i++) {
                    sum = (uint8_t)(sum + ((const uint8_t *)value.data)[i]);
                }
                result = 0;
                key.size = sum; /* so that the values are read */
            }
        }
        child_exit(-result);
    }
    return end_of(child);
}

/* A store with pages of every kind, some of them free. Bytes in use. */
static uint64_t make_filled(const char *directory)
{
    struct ls_error error = {0};
    struct store *store = opened(directory);
    char *value = malloc(20001);
    assert_non_null(value);
    memset(value, 'v', 20000);
    value[20000] = 0;
    put_alone(store, text_key('O', "first"), value);
    for (uint64_t i = 0; i < 40; i++) {
        struct store_txn *txn = begin(store, STORE_WRITE);
        put(store, txn, message_key(i), i % 4 == 0 ? value : "short");
        for (uint64_t j = 0; j < 20; j++) {
            put(store, txn, message_key(1000 + 40 * i + j), value + 19800);
        }
        if (i % 5 == 4) {
            struct key key = message_key(i - 4);
            assert_ok(store->driver->del(txn, key_bytes(&key), &error));
        }
        commit(store, txn);
    }
    free(value);
    for (uint64_t i = 0; i < 5; i++) { /* so that the roots move to free pages at the front */
        put_alone(store, text_key('O', "first"), "short");
        put_alone(store, message_key(1), "short");
    }
    struct store_stat stat;
    assert_ok(store->driver->stat(store, &stat, &error));
    store_close(store);
    return stat.bytes_file;
}

static void a_data_file_cut_anywhere_is_refused_or_whole(void **state)
{
    const char *directory = directory_of(state);
    char path[2 * SCRATCH_SIZE];
    uint64_t used = make_filled(directory);
    file_path(path, directory, "data.mdb");
    unsigned refused = 0;
    unsigned whole = 0;
    assert_true((uint64_t)file_size(directory, "data.mdb") >= used);
    assert_int_equal(truncate(path, (off_t)used), 0);
    assert_int_equal(open_and_walk(directory), 0);
    for (off_t size = (off_t)used - 2048; size >= 0; size -= 2048) {
        assert_int_equal(truncate(path, size), 0);
        int result = open_and_walk(directory);
        if (result != 0 && result != -LS_ECORRUPT) {
            fail_msg("cut to %lld of %llu bytes: %d", (long long)size, (unsigned long long)used,
                     result);
        }
        refused += result != 0;
        whole += result == 0;
    }
    print_message("%u refused, %u whole\n", refused, whole);
    assert_true(refused > 50);
}

/* The file extends behind its pages by nothing but what was taken and given back at once. */
static void a_file_that_lacks_only_free_pages_is_whole(void **state)
{
    struct ls_error error = {0};
    const char *directory = directory_of(state);
    char path[2 * SCRATCH_SIZE];
    struct store *store = opened(directory);
    char *value = malloc(200001);
    assert_non_null(value);
    memset(value, 'v', 200000);
    value[200000] = 0;
    put_alone(store, text_key('O', "kept"), "one");
    for (int i = 0; i < 3; i++) { /* the free pages of earlier commits stay free */
        struct store_txn *txn = begin(store, STORE_WRITE);
        struct key key = text_key('O', "large");
        put(store, txn, key, value);
        put(store, txn, text_key('O', "kept"), "two");
        assert_ok(store->driver->del(txn, key_bytes(&key), &error));
        commit(store, txn);
    }
    free(value);
    struct store_stat stat;
    assert_ok(store->driver->stat(store, &stat, &error));
    store_close(store);
    file_path(path, directory, "data.mdb");
    assert_int_equal(truncate(path, (off_t)(stat.bytes_file - 10 * 4096)), 0);
    assert_int_equal(open_and_walk(directory), 0);
    store = opened(directory);
    put_alone(store, text_key('O', "kept"), "three");
    store_close(store);
    assert_int_equal(open_and_walk(directory), 0);
}

static void garbage_and_foreign_files_are_refused(void **state)
{
    struct ls_error error = {0};
    struct store *store;
    const char *directory = directory_of(state);
    char path[2 * SCRATCH_SIZE];
    make_filled(directory);
    file_path(path, directory, "data.mdb");
    uint8_t garbage[8192];
    uint32_t version = 2;
    write_at(path, 20, &version, sizeof version);
    assert_code(open_store(&store, directory, &error), LS_EFORMAT);
    assert_int_equal(error.number, 2);
    version = 1;
    write_at(path, 20, &version, sizeof version);
    assert_int_equal(open_and_walk(directory), 0);
    for (size_t i = 0; i < sizeof garbage; i++) {
        garbage[i] = (uint8_t)(i * 167 >> 3);
    }
    write_at(path, 4096, garbage, 4096);
    assert_code(open_store(&store, directory, &error), LS_ECORRUPT);
    write_at(path, 0, garbage, sizeof garbage);
    assert_code(open_store(&store, directory, &error), LS_EFORMAT);
    assert_int_equal(truncate(path, 0), 0);
    assert_code(open_store(&store, directory, &error), LS_ECORRUPT);
}

static void a_root_page_that_is_overwritten_is_refused(void **state)
{
    struct ls_error error = {0};
    const char *directory = directory_of(state);
    char path[2 * SCRATCH_SIZE];
    uint64_t used = make_filled(directory);
    file_path(path, directory, "data.mdb");
    unsigned refused = 0;
    for (off_t page = 2; page < (off_t)(used / 4096); page++) {
        uint8_t before[4096];
        uint8_t zeros[4096] = {0};
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, before, sizeof before, page * 4096), sizeof before);
        close(fd);
        write_at(path, page * 4096, zeros, sizeof zeros);
        struct store *store;
        int result = open_store(&store, directory, &error);
        if (result == 0) {
            store_close(store);
        } else {
            assert_int_equal(result, LS_ECORRUPT);
            refused++;
        }
        write_at(path, page * 4096, before, sizeof before);
    }
    /* The trees of free pages, of names, of messages and of objects; the others are empty. */
    assert_int_equal(refused, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(a_missing_store_is_not_found_unless_it_may_be_created),
        EACH(only_the_last_directory_of_a_path_is_made),
        EACH(records_are_there_when_opened_again),
        EACH(a_url_names_the_driver),
        EACH(a_path_that_is_too_long_is_refused),
        EACH(what_a_crash_left_of_a_new_store_is_swept_away),
        EACH(a_wake_page_of_an_older_build_is_renewed_by_whoever_is_alone),
        EACH(a_wake_page_of_an_older_build_that_is_in_use_is_refused),
        EACH(opening_and_failing_to_open_leave_no_file_open),
        EACH(a_private_store_leaves_nothing_in_its_directory),
        EACH(every_failing_allocation_of_an_open_is_reported),
        EACH(handles_of_one_process_share_a_directory),
        EACH(a_handle_for_reading_cannot_write_and_sees_what_others_wrote),
        EACH(a_directory_of_another_user_is_refused_or_only_read),
        EACH(a_data_file_cut_anywhere_is_refused_or_whole),
        EACH(a_file_that_lacks_only_free_pages_is_whole),
        EACH(garbage_and_foreign_files_are_refused),
        EACH(a_root_page_that_is_overwritten_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
