/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the lockstep command that can be held to every case at once: check against each bit
 * of each record flipped, lines of a dump against records of every kind, the counting of replies
 * against every cut, the histogram and the placeholders of bench.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cli/bench_plan.h"
#include "cli/check_walk.h"
#include "cli/dump_line.h"
#include "cli/histogram.h"
#include "cli/lines.h"
#include "cli/replies.h"
#include "codec/cbor.h"
#include "codec/key.h"
#include "codec/record.h"
#include "coordinator/coordinator.h"
#include "coordinator/layout.h"
#include "store/store.h"

/* ---- a store with something of everything ---- */

#define RECORDS_MAX 64

struct record {
    struct buf key;
    struct buf value;
};

struct fixture {
    struct store *store;
    struct coordinator *coordinator;
    struct store_txn *txn; /* a write transaction that is never committed */
    struct record records[RECORDS_MAX];
    size_t count;
};

static void must(int rc, const struct ls_error *error)
{
    if (rc < 0) {
        fail_msg("%s: %s", ls_errname(rc), error->text);
    }
}

static uint64_t apply(struct fixture *f, struct request *request)
{
    struct ls_error error;
    request->error = &error;
    must(coordinator_begin(f->coordinator, UINT64_C(1700000000000000000), &error), &error);
    must(coordinator_apply(f->coordinator, request), &error);
    must(coordinator_commit(f->coordinator, &error), &error);
    return request->clock;
}

static struct binding join(struct fixture *f, const char *host, uint8_t seed)
{
    static const uint8_t meta[] = {0xa1, 0x61, 'a', 0x01};
    struct request request = {.kind = REQUEST_NODE_JOIN};
    struct binding binding = {.host_size = (uint8_t)strlen(host)};
    memset(binding.id, seed, sizeof(binding.id));
    memcpy(binding.host, host, binding.host_size);
    request.in.join.host = bytes_of_text(host);
    memcpy(request.in.join.id, binding.id, sizeof(binding.id));
    request.in.join.ttl_ms = 10000;
    request.in.join.meta = bytes_of(meta, sizeof(meta));
    request.in.join.via = 1;
    binding.joined = apply(f, &request);
    return binding;
}

static void post(struct fixture *f, const struct binding *as, uint64_t seq, const char *to)
{
    struct request request = {.kind = REQUEST_POST, .as = as};
    request.in.post.type = LS_USER;
    request.in.post.has_seq = seq > 0;
    request.in.post.seq = seq;
    request.in.post.to = bytes_of_text(to);
    request.in.post.object = bytes_of("\x65hello", 6);
    apply(f, &request);
}

static void put(struct fixture *f, const struct binding *as, const char *key, const char *value)
{
    struct request request = {.kind = REQUEST_OBJECT_PUT, .as = as};
    request.in.put.key = bytes_of_text(key);
    request.in.put.value = bytes_of_text(value);
    request.in.put.owned = as != NULL;
    apply(f, &request);
}

static void fill(struct fixture *f)
{
    struct request epoch = {.kind = REQUEST_EPOCH};
    struct request trim = {.kind = REQUEST_TRIM};
    struct request del = {.kind = REQUEST_OBJECT_DEL};
    struct request ack = {.kind = REQUEST_NODE_ACK};
    apply(f, &epoch);
    post(f, NULL, 0, "");
    put(f, NULL, "old", "its message is discarded");
    trim.in.trim.before = 3;
    apply(f, &trim);
    struct binding alpha = join(f, "alpha", 0xa1);
    post(f, &alpha, 1, "alpha");
    put(f, NULL, "a", "1");
    put(f, NULL, "a", "2");
    put(f, NULL, "gone", "x");
    del.in.del.key = bytes_of_text("gone");
    apply(f, &del);
    put(f, &alpha, "mine", "owned");
    ack.as = &alpha;
    ack.in.ack.clock = 3;
    apply(f, &ack);
}

static void read_records(struct fixture *f)
{
    const struct store_driver *driver = f->store->driver;
    struct ls_error error;
    for (const char *category = KEY_CATEGORIES; *category != '\0'; category++) {
        struct store_cursor *cursor;
        ls_bytes key;
        ls_bytes value;
        int rc;
        must(driver->scan(f->txn, bytes_of(category, 1), bytes_of(NULL, 0), false, &cursor, &error),
             &error);
        while ((rc = driver->next(cursor, &key, &value, &error)) > 0) {
            assert_true(f->count < RECORDS_MAX);
            struct record *record = &f->records[f->count++];
            assert_int_equal(0, buf_append(&record->key, key.data, key.size));
            assert_int_equal(0, buf_append(&record->value, value.data, value.size));
        }
        must(rc, &error);
        driver->scan_end(cursor);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct store_options options = {.create = true};
    struct ls_error error;
    assert_non_null(f);
    must(store_open(&f->store, "mem:", &options, &error), &error);
    must(coordinator_open(&f->coordinator, f->store, &error), &error);
    fill(f);
    must(f->store->driver->begin(f->store, STORE_WRITE, &f->txn, &error), &error);
    read_records(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->store->driver->abort(f->txn);
    for (size_t i = 0; i < f->count; i++) {
        buf_free(&f->records[i].key);
        buf_free(&f->records[i].value);
    }
    coordinator_close(f->coordinator);
    store_close(f->store);
    free(f);
    return 0;
}

/* ---- check ---- */

static void forget_fault(void *context, const struct check_fault *fault)
{
    (void)context;
    assert_non_null(fault->text);
    assert_true(fault->text[0] != '\0');
}

static void print_fault(void *context, const struct check_fault *fault)
{
    (void)context;
    print_message("fault: %s\n", fault->text);
}

static uint64_t faults(struct fixture *f, bool print)
{
    struct reading reading = {.store = f->store, .txn = f->txn};
    struct check_report report = {.fault = print ? print_fault : forget_fault};
    struct check_totals totals;
    struct ls_error error;
    must(check_walk(&reading, &report, &totals, &error), &error);
    return totals.faults;
}

static void write_record(struct fixture *f, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    must(f->store->driver->put(f->txn, key, value, false, &error), &error);
}

static void remove_record(struct fixture *f, ls_bytes key)
{
    struct ls_error error;
    must(f->store->driver->del(f->txn, key, &error), &error);
}

static void a_whole_store_has_no_fault(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(0, faults(f, true));
    assert_true(f->count > 15);
}

static void each_flipped_bit_of_each_record_is_found(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        struct record *record = &f->records[i];
        for (size_t bit = 0; bit < record->value.size * 8; bit++) {
            record->value.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            write_record(f, buf_bytes(&record->key), buf_bytes(&record->value));
            if (faults(f, false) == 0) {
                fail_msg("bit %zu of record %zu (category %c) is not found", bit, i,
                         record->key.data[0]);
            }
            record->value.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        write_record(f, buf_bytes(&record->key), buf_bytes(&record->value));
    }
    assert_int_equal(0, faults(f, true));
}

/* Where the flipped key was that of another record, writes that one back. */
static void restore_other(struct fixture *f, const struct record *flipped)
{
    for (size_t i = 0; i < f->count; i++) {
        if (&f->records[i] != flipped &&
            bytes_equal(buf_bytes(&f->records[i].key), buf_bytes(&flipped->key))) {
            write_record(f, buf_bytes(&f->records[i].key), buf_bytes(&f->records[i].value));
        }
    }
}

static void each_flipped_bit_of_each_key_is_found(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        struct record *record = &f->records[i];
        for (size_t bit = 0; bit < record->key.size * 8; bit++) {
            struct ls_error error;
            remove_record(f, buf_bytes(&record->key));
            record->key.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            /* A category without a place in the store cannot be put there. */
            int rc = strchr(KEY_CATEGORIES, record->key.data[0]) != NULL
                         ? f->store->driver->put(f->txn, buf_bytes(&record->key),
                                                 buf_bytes(&record->value), false, &error)
                         : LS_EKEY;
            if (rc == 0) {
                if (faults(f, false) == 0) {
                    fail_msg("bit %zu of the key of record %zu (category %c) is not found", bit, i,
                             record->key.data[0]);
                }
                remove_record(f, buf_bytes(&record->key));
                restore_other(f, record);
            }
            record->key.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            write_record(f, buf_bytes(&record->key), buf_bytes(&record->value));
        }
    }
    assert_int_equal(0, faults(f, true));
}

/* What nothing else refers to may be missing: a producer and the count of processes. */
static bool is_needed(const struct record *record)
{
    struct key epoch;
    assert_int_equal(0, key_control(&epoch, bytes_of_text(CONTROL_EPOCH)));
    return record->key.data[0] != KEY_PRODUCER &&
           !bytes_equal(buf_bytes(&record->key), key_bytes(&epoch));
}

static void each_missing_record_is_found(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        struct record *record = &f->records[i];
        struct object object;
        /* One whose message was discarded is known to nobody. */
        bool old = record->key.data[0] == KEY_OBJECT &&
                   object_decode(&object, buf_bytes(&record->value), NULL) == 0 &&
                   object.modified < 3;
        remove_record(f, buf_bytes(&record->key));
        uint64_t found = faults(f, false);
        if ((found > 0) != (is_needed(record) && !old)) {
            fail_msg("record %zu (category %c) missing: %llu faults", i, record->key.data[0],
                     (unsigned long long)found);
        }
        write_record(f, buf_bytes(&record->key), buf_bytes(&record->value));
    }
}

static void a_record_that_is_older_than_its_newest_message_is_found(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct buf record = {0};
    struct object older = {.value = bytes_of_text("1"), .created = 5, .modified = 5};
    assert_int_equal(0, key_object(&key, bytes_of_text("a"), NULL));
    assert_int_equal(0, object_encode(&record, &older, key_bytes(&key)));
    write_record(f, key_bytes(&key), buf_bytes(&record));
    assert_int_equal(1, faults(f, false));
    buf_free(&record);
}

static void a_record_that_no_message_tells_of_is_found(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct buf record = {0};
    struct object object = {.value = bytes_of_text("x"), .created = 4, .modified = 4};
    assert_int_equal(0, key_object(&key, bytes_of_text("new"), NULL));
    assert_int_equal(0, object_encode(&record, &object, key_bytes(&key)));
    write_record(f, key_bytes(&key), buf_bytes(&record));
    assert_int_equal(1, faults(f, false));
    buf_free(&record);
}

static void an_index_of_live_nodes_that_names_another_is_found(void **state)
{
    struct fixture *f = *state;
    struct key alpha, other;
    struct buf record = {0};
    const struct control nothing = {{0}};
    live_key(&alpha, bytes_of_text("alpha"));
    live_key(&other, bytes_of_text("other"));
    assert_int_equal(0, control_encode(&record, &nothing, live_fields, key_bytes(&other)));
    write_record(f, key_bytes(&other), buf_bytes(&record));
    assert_int_equal(2, faults(f, false)); /* it is not there, and they are not so many */
    remove_record(f, key_bytes(&alpha));
    assert_int_equal(2, faults(f, false)); /* as many as there should be, but not those */
    buf_free(&record);
}

static void an_index_of_live_nodes_that_a_version_did_without_is_no_fault(void **state)
{
    static const char *const known[] = {"bytes", "chain", "count", "newest", NULL};
    struct fixture *f = *state;
    struct key key;
    struct buf record = {0};
    struct control box;
    struct ls_error error;
    ls_bytes value;
    assert_int_equal(0, key_control(&key, bytes_of_text(CONTROL_BOX)));
    struct reading reading;
    assert_int_equal(0, reading_begin(&reading, f->store, &error));
    assert_int_equal(0, f->store->driver->get(reading.txn, key_bytes(&key), &value));
    assert_int_equal(0, control_decode(&box, value, known, &error));
    reading_end(&reading);
    assert_int_equal(0, control_encode(&record, &box, known, key_bytes(&key)));
    write_record(f, key_bytes(&key), buf_bytes(&record));
    live_key(&key, bytes_of_text("alpha"));
    remove_record(f, key_bytes(&key));
    assert_int_equal(0, faults(f, true));
    buf_free(&record);
}

static void a_clock_behind_the_newest_message_is_found(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct buf record = {0};
    struct control clock = {{1}};
    assert_int_equal(0, key_control(&key, bytes_of_text(CONTROL_CLOCK)));
    assert_int_equal(0, control_encode(&record, &clock, control_clock_fields, key_bytes(&key)));
    write_record(f, key_bytes(&key), buf_bytes(&record));
    assert_true(faults(f, false) > 0);
    buf_free(&record);
}

/* ---- lines of a dump ---- */

static void assert_line_gives_back(ls_bytes key, ls_bytes value, bool decoded)
{
    struct dump_reader reader = {0};
    struct buf line = {0};
    struct buf again = {0};
    struct buf read = {0};
    struct key read_key;
    struct ls_error error;
    assert_int_equal(0, dump_line_write(&line, key, value));
    assert_int_equal('\n', line.data[line.size - 1]);
    must(dump_line_read(&reader, buf_bytes(&line), &read_key, &read, &error), &error);
    assert_true(bytes_equal(key, key_bytes(&read_key)));
    if (!bytes_equal(value, buf_bytes(&read))) {
        fail_msg("another record came back from %.*s", (int)line.size, (const char *)line.data);
    }
    assert_int_equal(0, dump_line_write(&again, key_bytes(&read_key), buf_bytes(&read)));
    assert_true(bytes_equal(buf_bytes(&line), buf_bytes(&again)));
    assert_int_equal(decoded, bytes_begin_with(buf_bytes(&line), bytes_of_text("{\"category\"")));
    buf_free(&line);
    buf_free(&again);
    buf_free(&read);
    dump_reader_free(&reader);
}

static void each_record_comes_back_from_its_line(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        assert_line_gives_back(buf_bytes(&f->records[i].key), buf_bytes(&f->records[i].value),
                               true);
    }
}

/* Whatever a flipped bit makes of a record, and however it must then be written. */
static void each_damaged_record_comes_back_from_its_line(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        struct record *record = &f->records[i];
        for (size_t bit = 0; bit < record->value.size * 8; bit++) {
            struct dump_reader reader = {0};
            struct buf line = {0};
            struct buf read = {0};
            struct key key;
            struct ls_error error;
            record->value.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(
                0, dump_line_write(&line, buf_bytes(&record->key), buf_bytes(&record->value)));
            must(dump_line_read(&reader, buf_bytes(&line), &key, &read, &error), &error);
            if (!bytes_equal(buf_bytes(&record->value), buf_bytes(&read))) {
                fail_msg("bit %zu of record %zu: another record came back", bit, i);
            }
            record->value.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            buf_free(&line);
            buf_free(&read);
            dump_reader_free(&reader);
        }
    }
}

static void keys_of_any_bytes_come_back_from_their_line(void **state)
{
    static const uint8_t record[] = {0xa0};
    struct key key;
    uint8_t name[3];
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        memset(name, byte, sizeof(name));
        assert_int_equal(0, key_object(&key, bytes_of(name, sizeof(name)), NULL));
        assert_line_gives_back(key_bytes(&key), bytes_of(record, 1), true);
        assert_int_equal(0, key_version(&key, bytes_of(name, sizeof(name)), 7, NULL));
        assert_line_gives_back(key_bytes(&key), bytes_of(record, 1), true);
    }
    assert_line_gives_back(bytes_of("X\x11zz", 4), bytes_of(record, 1), false);
    assert_line_gives_back(bytes_of("O\x21zz", 4), bytes_of(record, 1), false);
}

static void records_that_no_version_knows_come_back_from_their_line(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool decoded;
    } cases[] = {
        {"", 0, false},                                                 /* nothing */
        {"\xff", 1, false},                                             /* no CBOR */
        {"\xa1\x61\x61\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 12, true}, /* 2^64-1 */
        {"\xa1\x61\x61\x18\x01", 5, false},                             /* not the shortest head */
        {"\xa1\x61\x61\x20", 4, false},                                 /* a negative number */
        {"\xa1\x61\x61\xf5", 4, false},                                 /* true */
        {"\xa1\x61\x61\x82\x01\x02", 6, false},                         /* an array */
        {"\xa1\x61\x41\x01", 4, false},                                 /* a name in capitals */
        {"\xa1\x65\x61_hex\x01", 8, false},                             /* a name like a suffix */
        {"\xa1\x61\x61\x61\x0a", 5, false},                             /* a line feed in a text */
        {"\xa1\x61\x61\x61\x00", 5, false},                             /* a NUL in a text */
        {"\xa1\x61\x61\x61\xff", 5, false},            /* a text that is not UTF-8 */
        {"\xa1\x61\x61\x40", 4, true},                 /* an empty byte string */
        {"\xa1\x61\x61\x60", 4, true},                 /* an empty text */
        {"\xa2\x61\x62\x01\x61\x61\x01", 7, false},    /* out of order */
        {"\xa2\x61\x7a\x01\x62\x61\x61\x01", 8, true}, /* the shorter name first */
        {"\xa1\x61\x61\x01\x00", 5, false},            /* more behind the map */
    };
    struct key key;
    (void)state;
    assert_int_equal(0, key_object(&key, bytes_of_text("k"), NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_line_gives_back(key_bytes(&key), bytes_of(cases[i].bytes, cases[i].size),
                               cases[i].decoded);
    }
}

static void lines_that_no_dump_has_are_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "{}",
        "[]",
        "{\"category\":\"O\",\"key\":\"a\"}",
        "{\"category\":\"Q\",\"key\":\"a\",\"record\":{}}",
        "{\"category\":\"O\",\"key\":\"\",\"record\":{}}",
        "{\"category\":\"O\",\"key\":\"a\",\"record\":{},\"more\":1}",
        "{\"category\":\"O\",\"key_base64url\":\"a\",\"record\":{}}",
        "{\"category\":\"O\",\"key_base64url\":\"YR\",\"record\":{}}",
        "{\"category\":\"O\",\"key\":\"a\",\"record\":{\"x_hex\":\"1\"}}",
        "{\"category\":\"O\",\"key\":\"a\",\"record\":{\"x\":true}}",
        "{\"category\":\"O\",\"key\":\"a\",\"record\":{\"x\":1,\"x_hex\":\"0000000000000001\"}}",
        "{\"category\":\"M\",\"clock\":1,\"type\":256,\"record\":{}}",
        "{\"category\":\"P\",\"id\":\"zz\",\"record\":{}}",
        "{\"key_hex\":\"0g\",\"value_hex\":\"00\"}",
        "{\"key_hex\":\"000\",\"value_hex\":\"00\"}",
    };
    struct dump_reader reader = {0};
    struct buf value = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct key key;
        struct ls_error error = {0};
        int rc = dump_line_read(&reader, bytes_of_text(lines[i]), &key, &value, &error);
        if (rc >= 0 || error.code != rc || error.text[0] == '\0') {
            fail_msg("%s: %d, '%s'", lines[i], rc, error.text);
        }
    }
    buf_free(&value);
    dump_reader_free(&reader);
}

/* ---- bench ---- */

static void replies_are_counted_wherever_the_stream_is_cut(void **state)
{
    static const char stream[] = "+OK\r\n"
                                 ":-12\r\n"
                                 "$5\r\nhe\r\nl\r\n"
                                 "$0\r\n\r\n"
                                 "$-1\r\n"
                                 "*-1\r\n"
                                 "*0\r\n"
                                 "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n"
                                 "%1\r\n+a\r\n:1\r\n"
                                 "|1\r\n+a\r\n:1\r\n+b\r\n"
                                 ">2\r\n+p\r\n_\r\n"
                                 "-ERR first\r\n"
                                 "-ERR second\r\n"
                                 "#t\r\n,1.5\r\n(123\r\n"
                                 "=5\r\ntxt:a\r\n"
                                 "~1\r\n+a\r\n";
    const uint8_t *bytes = (const uint8_t *)stream;
    size_t size = sizeof(stream) - 1;
    (void)state;
    for (size_t cut = 0; cut <= size; cut++) {
        struct reply_counter counter = {0};
        struct reply_errors errors = {0};
        int64_t first = replies_count(&counter, bytes, cut, &errors);
        int64_t second = replies_count(&counter, bytes + cut, size - cut, &errors);
        if (first < 0 || second < 0 || first + second != 18) {
            fail_msg("cut at %zu: %lld and %lld replies", cut, (long long)first, (long long)second);
        }
        assert_int_equal(2, errors.count);
        assert_string_equal("ERR first", errors.first);
    }
}

static void what_is_not_resp_is_no_reply(void **state)
{
    struct reply_counter counter = {0};
    struct reply_errors errors = {0};
    (void)state;
    assert_int_equal(-1, replies_count(&counter, (const uint8_t *)"HTTP/1.1\n", 9, &errors));
    counter = (struct reply_counter){0};
    assert_int_equal(-1,
                     replies_count(&counter, (const uint8_t *)"$99999999999999\r\n", 17, &errors));
}

static void percentiles_are_right_within_two_percent(void **state)
{
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    (void)state;
    assert_non_null(histogram);
    assert_int_equal(0, histogram_at(histogram, 0.5));
    for (uint64_t i = 1; i <= 100000; i++) {
        histogram_add(histogram, i * 1000, 1);
    }
    for (int percent = 1; percent <= 100; percent++) {
        double exact = percent * 1e6;
        double given = (double)histogram_at(histogram, percent / 100.0);
        if (given < exact || given > exact * 1.02) {
            fail_msg("%d %%: %f", percent, given);
        }
    }
    assert_int_equal(100000000, histogram_at(histogram, 1));
    histogram_add(histogram, UINT64_MAX, 1);
    assert_true(histogram_at(histogram, 1) == UINT64_MAX);
    free(histogram);
}

static void placeholders_stand_where_the_numbers_go(void **state)
{
    struct bench_command command = {0};
    struct ls_error error;
    (void)state;
    must(bench_command_parse(&command, "SET k:__rand__ 'a __seq__' \"__data__\"", 3, &error),
         &error);
    static const char expected[] = "*4\r\n$3\r\nSET\r\n$14\r\nk:000000000000\r\n"
                                   "$14\r\na 000000000000\r\n$3\r\nahO\r\n";
    assert_int_equal(2, command.place_count);
    assert_int_equal(sizeof(expected) - 1, command.bytes.size);
    assert_memory_equal(expected, command.bytes.data, sizeof(expected) - 6);
    for (size_t i = 0; i < command.place_count; i++) {
        assert_memory_equal("000000000000\r\n", command.bytes.data + command.places[i].offset, 14);
    }
    assert_false(command.places[0].sequence);
    assert_true(command.places[1].sequence);
    buf_free(&command.bytes);
}

static void commands_that_are_no_words_are_refused(void **state)
{
    struct bench_command command = {0};
    struct ls_error error;
    (void)state;
    assert_int_equal(LS_EINVAL, bench_command_parse(&command, "   ", 1, &error));
    assert_int_equal(LS_EINVAL, bench_command_parse(&command, "SET 'a", 1, &error));
    assert_int_equal(0, command.bytes.size);
}

/* ---- lines ---- */

static const char lines_text[] = "one\n\nthree and more\nno end";

/* The text, of which each read gives so many bytes. */
static struct line_source lines_in_pieces(size_t piece)
{
    int ends[2];
    size_t left = sizeof lines_text - 1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    for (const char *at = lines_text; left > 0; at += piece) {
        piece = piece < left ? piece : left;
        assert_int_equal(write(ends[1], at, piece), piece);
        left -= piece;
    }
    close(ends[1]);
    return (struct line_source){.fd = ends[0]};
}

static void lines_come_whole_and_with_their_numbers(void **state)
{
    (void)state;
    static const char *const whole[] = {"one\n", "\n", "three and more\n", "no end"};
    for (size_t piece = 1; piece < sizeof lines_text; piece++) {
        struct line_source lines = lines_in_pieces(piece);
        struct ls_error error;
        char *line;
        size_t size;
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(lines_next(&lines, 14, &line, &size, &error), 1);
            assert_int_equal(size, strlen(whole[i]));
            assert_memory_equal(line, whole[i], size);
            assert_int_equal(lines.number, i + 1);
        }
        assert_int_equal(lines_next(&lines, 14, &line, &size, &error), 0);
        lines_free(&lines);
        close(lines.fd);
    }
}

static void a_line_that_is_too_long_is_named(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < sizeof lines_text; piece++) {
        struct line_source lines = lines_in_pieces(piece);
        struct ls_error error;
        char *line;
        size_t size;
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(lines_next(&lines, 13, &line, &size, &error), 1);
        }
        assert_int_equal(lines_next(&lines, 13, &line, &size, &error), LS_ETOOBIG);
        assert_string_equal(error.text, "line 3 is longer than 13 bytes");
        lines_free(&lines);
        close(lines.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_store_has_no_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(each_flipped_bit_of_each_record_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(each_flipped_bit_of_each_key_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(each_missing_record_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_is_older_than_its_newest_message_is_found,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_no_message_tells_of_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_index_of_live_nodes_that_names_another_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            an_index_of_live_nodes_that_a_version_did_without_is_no_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_behind_the_newest_message_is_found, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_record_comes_back_from_its_line, setup, teardown),
        cmocka_unit_test_setup_teardown(each_damaged_record_comes_back_from_its_line, setup,
                                        teardown),
        cmocka_unit_test(keys_of_any_bytes_come_back_from_their_line),
        cmocka_unit_test(records_that_no_version_knows_come_back_from_their_line),
        cmocka_unit_test(lines_that_no_dump_has_are_refused),
        cmocka_unit_test(lines_come_whole_and_with_their_numbers),
        cmocka_unit_test(a_line_that_is_too_long_is_named),
        cmocka_unit_test(replies_are_counted_wherever_the_stream_is_cut),
        cmocka_unit_test(what_is_not_resp_is_no_reply),
        cmocka_unit_test(percentiles_are_right_within_two_percent),
        cmocka_unit_test(placeholders_stand_where_the_numbers_go),
        cmocka_unit_test(commands_that_are_no_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
