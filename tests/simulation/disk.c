/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk is a version: for each category a sorted table of records. A transaction begins with a
 * reference to the newest version; a write transaction copies the tables that it changes, and its
 * version becomes the newest when it commits. Nothing that is shared is ever changed.
 */
#include "disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/key.h"

/* What a transaction may add beyond what it announced: its control records. */
#define UNANNOUNCED_MAX 4096

/* Kept back near the limit, from what adds and from what adds or deletes. */
#define RESERVE_ADD    8192
#define RESERVE_DELETE 4096

#define CATEGORIES 6

const char *const disk_call_names[DISK_CALLS] = {
    "begin (read)", "begin (write)", "get", "put", "del", "room", "scan", "next", "drop"};

struct record {
    size_t refs;
    size_t key_size;
    size_t value_size;
    bool deleted; /* in a list of edits */
    uint8_t bytes[];
};

struct table {
    size_t refs;
    size_t count;
    size_t capacity;
    struct record **records;
};

struct version {
    size_t refs;
    uint64_t number;
    uint64_t bytes;
    struct table *tables[CATEGORIES];
};

struct disk {
    struct disk_calls calls;
    bool optimistic;
    uint64_t limit;
    struct version *newest;
    uint64_t commits;
    size_t stores;
    size_t writers;
};

struct simulated_store {
    struct store base;
    struct disk *disk;
    unsigned process;
    bool read_only;
    bool dead;
    size_t transactions;
};

/* Bytes lent in a write transaction. */
struct loan {
    struct loan *next;
    size_t size;
    uint8_t bytes[];
};

struct store_txn {
    struct simulated_store *store;
    struct version *version;
    uint64_t base; /* the number of the version that it began with */
    uint64_t bytes_before;
    bool write;
    bool broken;
    size_t cursors;
    size_t promised;
    struct loan *loans;
    struct table edits; /* `records` in the order in which they were made */
};

struct store_cursor {
    struct store_txn *txn;
    size_t category;
    bool backward;
    bool has_end;
    bool ended;
    bool standing; /* on `at` */
    bool begun;
    struct key from;
    struct key to;
    struct key at;
};

/* The simulation runs on what memory there is. */
static void *have(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ---- records, tables, versions ---- */

static ls_bytes record_key(const struct record *record)
{
    return bytes_of(record->bytes, record->key_size);
}

static ls_bytes record_value(const struct record *record)
{
    return bytes_of(record->bytes + record->key_size, record->value_size);
}

static size_t record_size(const struct record *record)
{
    return record->key_size + record->value_size;
}

static struct record *record_new(ls_bytes key, ls_bytes value)
{
    struct record *record = have(malloc(sizeof *record + key.size + value.size));
    *record = (struct record){.refs = 1, .key_size = key.size, .value_size = value.size};
    memcpy(record->bytes, key.data, key.size);
    if (value.size > 0) {
        memcpy(record->bytes + key.size, value.data, value.size);
    }
    return record;
}

static void record_release(struct record *record)
{
    if (--record->refs == 0) {
        free(record);
    }
}

static void table_insert(struct table *table, size_t at, struct record *record)
{
    if (table->count == table->capacity) {
        table->capacity = 2 * table->capacity + 16;
        table->records = have(realloc(table->records, table->capacity * sizeof *table->records));
    }
    memmove(table->records + at + 1, table->records + at,
            (table->count - at) * sizeof *table->records);
    table->records[at] = record;
    table->count++;
}

static void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        record_release(table->records[i]);
    }
    free(table->records);
}

static void table_release(struct table *table)
{
    if (--table->refs == 0) {
        table_clear(table);
        free(table);
    }
}

/* The first record whose key is not below `key`. */
static size_t table_find(const struct table *table, ls_bytes key)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(record_key(table->records[middle]), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool table_has(const struct table *table, size_t at, ls_bytes key)
{
    return at < table->count && bytes_equal(record_key(table->records[at]), key);
}

static struct version *version_copy(const struct version *version)
{
    struct version *copy = have(malloc(sizeof *copy));
    *copy = *version;
    copy->refs = 1;
    for (size_t i = 0; i < CATEGORIES; i++) {
        copy->tables[i]->refs++;
    }
    return copy;
}

static void version_release(struct version *version)
{
    if (--version->refs == 0) {
        for (size_t i = 0; i < CATEGORIES; i++) {
            table_release(version->tables[i]);
        }
        free(version);
    }
}

/* The table of a write transaction's own. */
static struct table *own_table(struct store_txn *txn, size_t category)
{
    struct table **table = &txn->version->tables[category];
    if ((*table)->refs > 1) {
        struct table *copy = have(calloc(1, sizeof *copy));
        copy->refs = 1;
        copy->count = (*table)->count;
        copy->capacity = copy->count + 16;
        copy->records = have(malloc(copy->capacity * sizeof *copy->records));
        for (size_t i = 0; i < copy->count; i++) {
            copy->records[i] = (*table)->records[i];
            copy->records[i]->refs++;
        }
        (*table)->refs--;
        *table = copy;
    }
    return *table;
}

static size_t category_of(ls_bytes key)
{
    const char *found = key.size == 0 ? NULL : strchr(KEY_CATEGORIES, *(const char *)key.data);
    assert(found != NULL && *found != '\0');
    return (size_t)(found - KEY_CATEGORIES);
}

/* ---- the rules ---- */

static struct simulated_store *simulated(const struct store *store)
{
    return (struct simulated_store *)(uintptr_t)store;
}

static int fails(struct simulated_store *store, enum disk_call call, struct ls_error *error)
{
    if (store->dead) {
        return error_set(error, LS_EIO, 0, "the process is dead");
    }
    const struct disk_calls *calls = &store->disk->calls;
    int code = calls->fault(calls->context, &store->base, call);
    return code == 0 ? 0
                     : error_set(error, code, 0, "the simulated %s failed", disk_call_names[call]);
}

static ls_bytes lend(struct store_txn *txn, ls_bytes bytes)
{
    if (!txn->write) {
        return bytes;
    }
    struct loan *loan = have(malloc(sizeof *loan + bytes.size));
    loan->next = txn->loans;
    loan->size = bytes.size;
    memcpy(loan->bytes, bytes.data, bytes.size);
    txn->loans = loan;
    return bytes_of(loan->bytes, bytes.size);
}

/* What was lent is no longer to be used. */
static void call_in(struct store_txn *txn)
{
    for (struct loan *loan = txn->loans, *next; loan != NULL; loan = next) {
        next = loan->next;
        memset(loan->bytes, 0xdd, loan->size);
        free(loan);
    }
    txn->loans = NULL;
}

static void note_edit(struct store_txn *txn, struct record *record)
{
    table_insert(&txn->edits, txn->edits.count, record);
}

/* ---- the driver ---- */

static void simulated_close(struct store *base)
{
    struct simulated_store *store = simulated(base);
    assert(store->transactions == 0);
    store->disk->stores--;
    free(store);
}

static int simulated_begin(struct store *base, enum store_mode mode, struct store_txn **out,
                           struct ls_error *error)
{
    struct simulated_store *store = simulated(base);
    struct disk *disk = store->disk;
    bool write = mode == STORE_WRITE;
    int rc = fails(store, write ? DISK_BEGIN_WRITE : DISK_BEGIN_READ, error);
    if (rc == 0 && write && store->read_only) {
        rc = error_code(error, LS_EREADONLY);
    }
    if (rc < 0) {
        return rc;
    }
    assert(!write || disk->optimistic || disk->writers == 0);
    struct store_txn *txn = have(calloc(1, sizeof *txn));
    txn->store = store;
    txn->write = write;
    txn->base = disk->newest->number;
    txn->bytes_before = disk->newest->bytes;
    if (write) {
        txn->version = version_copy(disk->newest);
        txn->version->number++;
        disk->writers++;
    } else {
        txn->version = disk->newest;
        txn->version->refs++;
    }
    store->transactions++;
    *out = txn;
    return 0;
}

static void end(struct store_txn *txn)
{
    assert(txn->cursors == 0);
    call_in(txn);
    table_clear(&txn->edits);
    version_release(txn->version);
    txn->store->transactions--;
    txn->store->disk->writers -= txn->write;
    free(txn);
}

static int simulated_get(struct store_txn *txn, ls_bytes key, ls_bytes *value)
{
    assert(!txn->broken);
    int rc = fails(txn->store, DISK_GET, NULL);
    if (rc < 0) {
        return rc;
    }
    const struct table *table = txn->version->tables[category_of(key)];
    size_t at = table_find(table, key);
    if (!table_has(table, at, key)) {
        return LS_ENOTFOUND;
    }
    *value = lend(txn, record_value(table->records[at]));
    return 0;
}

static int simulated_put(struct store_txn *txn, ls_bytes key, ls_bytes value, bool append,
                         struct ls_error *error)
{
    assert(txn->write && !txn->broken && key.size <= KEY_SIZE_MAX);
    struct record *record = record_new(key, value);
    call_in(txn);
    int rc = fails(txn->store, DISK_PUT, error);
    struct table *table = own_table(txn, category_of(record_key(record)));
    size_t at = table_find(table, record_key(record));
    if (rc == 0 && append && at != table->count) {
        rc = error_set(error, LS_EINVAL, 0, "the appended key is not the greatest");
    }
    if (rc < 0) {
        record_release(record);
        txn->broken = true;
        return rc;
    }
    if (table_has(table, at, record_key(record))) {
        txn->version->bytes -= record_size(table->records[at]);
        record_release(table->records[at]);
        table->records[at] = record;
    } else {
        table_insert(table, at, record);
    }
    txn->version->bytes += record_size(record);
    record->refs++;
    note_edit(txn, record);
    return 0;
}

static void delete_at(struct store_txn *txn, struct table *table, size_t at)
{
    struct record *edit = record_new(record_key(table->records[at]), bytes_of(NULL, 0));
    edit->deleted = true;
    note_edit(txn, edit);
    txn->version->bytes -= record_size(table->records[at]);
    record_release(table->records[at]);
    table->count--;
    memmove(table->records + at, table->records + at + 1,
            (table->count - at) * sizeof *table->records);
}

static int simulated_del(struct store_txn *txn, ls_bytes key, struct ls_error *error)
{
    assert(txn->write && !txn->broken && key.size <= KEY_SIZE_MAX);
    struct key copy = {.size = (uint16_t)key.size};
    memcpy(copy.data, key.data, key.size);
    int rc = fails(txn->store, DISK_DEL, error);
    call_in(txn);
    if (rc < 0) {
        txn->broken = true;
        return rc;
    }
    struct table *table = own_table(txn, category_of(key_bytes(&copy)));
    size_t at = table_find(table, key_bytes(&copy));
    if (!table_has(table, at, key_bytes(&copy))) {
        return error_code(error, LS_ENOTFOUND);
    }
    delete_at(txn, table, at);
    return 0;
}

static int simulated_room(struct store_txn *txn, enum store_room room, size_t bytes,
                          struct ls_error *error)
{
    assert(txn->write && !txn->broken);
    struct disk *disk = txn->store->disk;
    int rc = fails(txn->store, DISK_ROOM, error);
    if (rc < 0) {
        return rc;
    }
    uint64_t reserve = room == STORE_ROOM_ADD ? RESERVE_ADD : RESERVE_DELETE;
    if (disk->limit != 0 && room != STORE_ROOM_FREE &&
        txn->version->bytes + txn->promised + bytes + reserve > disk->limit) {
        return error_set(error, LS_ENOSPACE, disk->limit, "the simulated disk is full");
    }
    txn->promised += bytes;
    return 0;
}

static int simulated_scan(struct store_txn *txn, ls_bytes from, ls_bytes to, bool backward,
                          struct store_cursor **out, struct ls_error *error)
{
    assert(!txn->broken && from.size <= KEY_SIZE_MAX && to.size <= KEY_SIZE_MAX);
    int rc = fails(txn->store, DISK_SCAN, error);
    if (rc < 0) {
        return rc;
    }
    struct store_cursor *cursor = have(calloc(1, sizeof *cursor));
    cursor->txn = txn;
    cursor->category = category_of(from);
    cursor->backward = backward;
    cursor->has_end = to.size > 0;
    cursor->from.size = (uint16_t)from.size;
    memcpy(cursor->from.data, from.data, from.size);
    if (to.size > 0) {
        cursor->to.size = (uint16_t)to.size;
        memcpy(cursor->to.data, to.data, to.size);
    }
    txn->cursors++;
    *out = cursor;
    return 0;
}

/* Where the cursor goes next; the table's count: nowhere. */
static size_t step(const struct store_cursor *cursor, const struct table *table)
{
    if (!cursor->backward) {
        if (!cursor->begun) {
            return table_find(table, key_bytes(&cursor->from));
        }
        size_t at = table_find(table, key_bytes(&cursor->at));
        return at + (table_has(table, at, key_bytes(&cursor->at)) ? 1 : 0);
    }
    const struct key *bound = cursor->begun ? &cursor->at : &cursor->to;
    size_t above =
        cursor->begun || cursor->has_end ? table_find(table, key_bytes(bound)) : table->count;
    return above == 0 ? table->count : above - 1;
}

static bool inside(const struct store_cursor *cursor, ls_bytes key)
{
    if (cursor->backward) {
        return bytes_compare(key, key_bytes(&cursor->from)) >= 0;
    }
    return !cursor->has_end || bytes_compare(key, key_bytes(&cursor->to)) < 0;
}

static int simulated_next(struct store_cursor *cursor, ls_bytes *key, ls_bytes *value,
                          struct ls_error *error)
{
    struct store_txn *txn = cursor->txn;
    assert(!txn->broken);
    int rc = fails(txn->store, DISK_NEXT, error);
    if (rc < 0 || cursor->ended) {
        return rc;
    }
    const struct table *table = txn->version->tables[cursor->category];
    size_t at = step(cursor, table);
    if (at >= table->count || !inside(cursor, record_key(table->records[at]))) {
        cursor->ended = true;
        cursor->standing = false;
        return 0;
    }
    const struct record *record = table->records[at];
    cursor->begun = cursor->standing = true;
    cursor->at.size = (uint16_t)record->key_size;
    memcpy(cursor->at.data, record->bytes, record->key_size);
    *key = lend(txn, record_key(record));
    *value = lend(txn, record_value(record));
    return 1;
}

static int simulated_drop(struct store_cursor *cursor, struct ls_error *error)
{
    struct store_txn *txn = cursor->txn;
    assert(txn->write && !txn->broken && cursor->standing);
    int rc = fails(txn->store, DISK_DROP, error);
    call_in(txn);
    if (rc < 0) {
        txn->broken = true;
        return rc;
    }
    cursor->standing = false;
    struct table *table = own_table(txn, cursor->category);
    size_t at = table_find(table, key_bytes(&cursor->at));
    if (table_has(table, at, key_bytes(&cursor->at))) {
        delete_at(txn, table, at);
    }
    return 0;
}

static void simulated_scan_end(struct store_cursor *cursor)
{
    if (cursor != NULL) {
        cursor->txn->cursors--;
        free(cursor);
    }
}

static void simulated_abort(struct store_txn *txn)
{
    end(txn);
}

/* Makes the transaction's version the newest, and tells of it. */
static void publish(struct store_txn *txn)
{
    struct simulated_store *store = txn->store;
    struct disk *disk = store->disk;
    struct disk_edit *edits = have(calloc(txn->edits.count, sizeof *edits));
    for (size_t i = 0; i < txn->edits.count; i++) {
        const struct record *record = txn->edits.records[i];
        edits[i].key = record_key(record);
        if (!record->deleted) {
            edits[i].value = record_value(record);
        }
    }
    version_release(disk->newest);
    disk->newest = txn->version;
    txn->version->refs++;
    disk->commits++;
    disk->calls.committed(disk->calls.context, &store->base, edits, txn->edits.count);
    free(edits);
}

static int simulated_commit(struct store_txn *txn, struct ls_error *error)
{
    struct simulated_store *store = txn->store;
    struct disk *disk = store->disk;
    enum disk_fate fate = DISK_KEPT;
    assert(!txn->broken && txn->cursors == 0);
    assert(txn->version->bytes <= txn->bytes_before + txn->promised + UNANNOUNCED_MAX);
    call_in(txn);
    if (store->dead) {
        end(txn);
        return error_set(error, LS_EIO, 0, "the process is dead");
    }
    if (txn->edits.count > 0) {
        fate = disk->calls.flush(disk->calls.context, &store->base);
        if (disk->newest->number != txn->base) {
            end(txn);
            return error_set(error, LS_ERETRY, 0, "another process committed first");
        }
    }
    if (txn->edits.count > 0 && (fate == DISK_KEPT || fate == DISK_DIED_KEPT)) {
        publish(txn);
    }
    end(txn);
    if (fate == DISK_DIED || fate == DISK_DIED_KEPT) {
        store->dead = true;
        return error_set(error, LS_EIO, 0, "the process is dead");
    }
    return fate == DISK_FAILED ? error_set(error, LS_EIO, 0, "the simulated flush failed") : 0;
}

static uint64_t simulated_number(struct store_txn *txn)
{
    return txn->version->number;
}

static int simulated_count(struct store_txn *txn, char category, uint64_t *out,
                           struct ls_error *error)
{
    (void)error;
    *out = txn->version->tables[category_of(bytes_of(&category, 1))]->count;
    return 0;
}

static int simulated_stat(struct store *base, struct store_stat *out, struct ls_error *error)
{
    const struct disk *disk = simulated(base)->disk;
    (void)error;
    *out = (struct store_stat){.bytes_used = disk->newest->bytes,
                               .bytes_file = disk->newest->bytes,
                               .bytes_limit = disk->limit,
                               .commits = disk->commits};
    return 0;
}

static int simulated_set_quota(struct store *base, uint64_t bytes, struct ls_error *error)
{
    (void)error;
    simulated(base)->disk->limit = bytes;
    return 0;
}

static uint32_t simulated_wake_word(struct store *base)
{
    return (uint32_t)simulated(base)->disk->commits;
}

/* Time does not pass in here. */
static bool simulated_wake_wait(struct store *base, uint32_t seen, int64_t timeout_ms)
{
    (void)timeout_ms;
    return simulated_wake_word(base) != seen;
}

static void simulated_wake_all(struct store *base)
{
    (void)base;
}

static const struct store_driver simulated_driver = {
    .version = 1,
    .name = "simulated",
    .close = simulated_close,
    .begin = simulated_begin,
    .get = simulated_get,
    .put = simulated_put,
    .del = simulated_del,
    .room = simulated_room,
    .scan = simulated_scan,
    .next = simulated_next,
    .drop = simulated_drop,
    .scan_end = simulated_scan_end,
    .commit = simulated_commit,
    .abort = simulated_abort,
    .number = simulated_number,
    .count = simulated_count,
    .stat = simulated_stat,
    .set_quota = simulated_set_quota,
    .wake_word = simulated_wake_word,
    .wake_wait = simulated_wake_wait,
    .wake_all = simulated_wake_all,
};

/* ---- the disk ---- */

struct disk *disk_new(const struct disk_calls *calls, bool optimistic)
{
    struct disk *disk = have(calloc(1, sizeof *disk));
    disk->calls = *calls;
    disk->optimistic = optimistic;
    disk->newest = have(calloc(1, sizeof *disk->newest));
    disk->newest->refs = 1;
    for (size_t i = 0; i < CATEGORIES; i++) {
        disk->newest->tables[i] = have(calloc(1, sizeof *disk->newest->tables[i]));
        disk->newest->tables[i]->refs = 1;
    }
    return disk;
}

void disk_free(struct disk *disk)
{
    assert(disk->stores == 0 && disk->writers == 0);
    version_release(disk->newest);
    free(disk);
}

void disk_limit(struct disk *disk, uint64_t bytes)
{
    disk->limit = bytes;
}

uint64_t disk_used(const struct disk *disk)
{
    return disk->newest->bytes;
}

bool disk_optimistic(const struct disk *disk)
{
    return disk->optimistic;
}

bool disk_busy(const struct disk *disk)
{
    return disk->writers > 0;
}

struct store *disk_open(struct disk *disk, unsigned process, bool read_only)
{
    struct simulated_store *store = have(calloc(1, sizeof *store));
    store->base.driver = &simulated_driver;
    store->disk = disk;
    store->process = process;
    store->read_only = read_only;
    disk->stores++;
    return &store->base;
}

unsigned disk_process(const struct store *store)
{
    return simulated(store)->process;
}

void disk_kill(struct store *store)
{
    simulated(store)->dead = true;
}

bool disk_killed(const struct store *store)
{
    return simulated(store)->dead;
}
