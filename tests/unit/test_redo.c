/* SPDX-License-Identifier: Apache-2.0 */
/* The redo log's file: what was appended is read again, what is torn or stale ends the round before
 * it, and what is damaged is told where that can be known. */
#include <fcntl.h>
#include <sys/stat.h>

#include "faults.h"
#include "store/redo.h"
#include "store_fixture.h"

#define CAPACITY ((uint64_t)16 * REDO_BLOCK)
#define EDIT_MAX ((size_t)1 << 20)

struct fixture {
    char directory[SCRATCH_SIZE];
    char path[SCRATCH_SIZE + 8];
    struct redo redo;
    struct redo_record record;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ls_error error = {0};
    assert_non_null(f);
    scratch_make(f->directory);
    snprintf(f->path, sizeof f->path, "%s/" REDO_NAME, f->directory);
    assert_ok(redo_open(&f->redo, f->directory, CAPACITY, &error));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    redo_close(&f->redo);
    redo_record_free(&f->record);
    scratch_remove(f->directory);
    free(f);
    return 0;
}

static void fill_record(struct fixture *f, const char *key, const char *value)
{
    struct redo_edit edit = {REDO_PUT, bytes_of_text(key), bytes_of_text(value)};
    redo_record_reset(&f->record);
    assert_int_equal(redo_record_add(&f->record, &edit, EDIT_MAX), 0);
}

/* A round whose records put "0" to "<count - 1>", with this value. */
static void write_round(struct fixture *f, uint64_t round, unsigned count, const char *value)
{
    struct ls_error error = {0};
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        fill_record(f, key, value);
        if (i == 0) {
            assert_ok(redo_begin(&f->redo, round, &f->record, bytes_of_text("metas"), &error));
        } else {
            assert_ok(redo_append(&f->redo, &f->record, &error));
        }
    }
}

/* How many records are read, each of which must be that of write_round; negative: an error. */
static int read_round(struct fixture *f, const char *value, struct ls_error *error)
{
    struct redo_reader reader;
    struct redo_edit edit;
    int count = 0;
    int result = redo_reader_open(&reader, f->directory, CAPACITY, error);
    while (result == 1) {
        char key[16];
        snprintf(key, sizeof key, "%d", count);
        assert_int_equal(redo_reader_edit(&reader, &edit), 1);
        assert_true(bytes_equal(edit.key, bytes_of_text(key)));
        assert_true(bytes_equal(edit.value, bytes_of_text(value)));
        assert_int_equal(redo_reader_edit(&reader, &edit), 0);
        count++;
        result = redo_reader_next(&reader, error);
    }
    redo_reader_close(&reader);
    return result < 0 ? result : count;
}

static void assert_records(struct fixture *f, const char *value, int wanted)
{
    struct ls_error error = {0};
    int found = read_round(f, value, &error);
    if (found != wanted) {
        fail_msg("%d records, wanted %d: %s", found, wanted, error.text);
    }
}

static void read_file(const struct fixture *f, uint8_t out[CAPACITY])
{
    FILE *file = fopen(f->path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(out, 1, CAPACITY, file), CAPACITY);
    fclose(file);
}

static void write_file(const struct fixture *f, const uint8_t *data, size_t size, long offset)
{
    FILE *file = fopen(f->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void a_new_log_is_empty_and_as_large_as_asked(void **state)
{
    struct fixture *f = *state;
    struct stat found;
    assert_int_equal(stat(f->path, &found), 0);
    assert_int_equal(found.st_size, CAPACITY);
    assert_records(f, "", 0);
}

static void a_log_left_half_made_is_completed(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct stat found;
    redo_close(&f->redo);
    assert_int_equal(truncate(f->path, 10), 0);
    assert_records(f, "", 0);
    assert_ok(redo_open(&f->redo, f->directory, CAPACITY, &error));
    assert_int_equal(stat(f->path, &found), 0);
    assert_int_equal(found.st_size, CAPACITY);
}

static void a_missing_log_is_an_empty_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unlink(f->path), 0);
    assert_records(f, "", 0);
}

static void edits_and_meta_pages_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct redo_reader reader;
    struct redo_edit edit;
    char large[2 * REDO_BLOCK];
    memset(large, 'v', sizeof large);
    const struct redo_edit edits[] = {
        {REDO_APPEND, bytes_of_text("a"), bytes_of(large, sizeof large)},
        {REDO_DEL, bytes_of_text("bb"), {0}},
        {REDO_PUT, bytes_of_text("c"), {0}},
    };
    redo_record_reset(&f->record);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(redo_record_add(&f->record, &edits[i], EDIT_MAX), 0);
    }
    assert_ok(redo_begin(&f->redo, 7, &f->record, bytes_of_text("the meta pages"), &error));
    assert_int_equal(redo_reader_open(&reader, f->directory, CAPACITY, &error), 1);
    assert_int_equal(reader.round, 7);
    assert_true(bytes_equal(redo_reader_metas(&reader), bytes_of_text("the meta pages")));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(redo_reader_edit(&reader, &edit), 1);
        assert_int_equal(edit.operation, edits[i].operation);
        assert_true(bytes_equal(edit.key, edits[i].key));
        assert_true(bytes_equal(edit.value, edits[i].value));
    }
    assert_int_equal(redo_reader_edit(&reader, &edit), 0);
    assert_int_equal(redo_reader_next(&reader, &error), 0);
    redo_reader_close(&reader);
}

static void a_round_ends_where_the_file_does(void **state)
{
    struct fixture *f = *state;
    write_round(f, 1, CAPACITY / REDO_BLOCK, "x");
    assert_int_equal(f->redo.offset, CAPACITY);
    assert_records(f, "x", CAPACITY / REDO_BLOCK);
}

static void a_cleared_log_is_empty_and_knows_its_last_round(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct redo_reader reader;
    write_round(f, 5, 3, "x");
    assert_ok(redo_clear(&f->redo, 5, &error));
    assert_int_equal(redo_reader_open(&reader, f->directory, CAPACITY, &error), 0);
    assert_int_equal(reader.round, 5);
    redo_reader_close(&reader);
}

static void records_of_older_rounds_never_pass(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    for (uint64_t round = 1; round <= 5; round++) {
        write_round(f, round, (unsigned)(6 - round), "x");
        assert_records(f, "x", (int)(6 - round));
        assert_ok(redo_clear(&f->redo, round, &error));
    }
    /* Nor those of a round of the same number. */
    write_round(f, 9, 4, "one");
    write_round(f, 9, 2, "two");
    assert_records(f, "two", 2);
}

static void a_record_torn_at_any_byte_ends_the_round(void **state)
{
    struct fixture *f = *state;
    uint8_t before[CAPACITY];
    uint8_t after[CAPACITY];
    struct ls_error error = {0};
    write_round(f, 1, 4, "an older round");
    write_round(f, 2, 2, "x");
    read_file(f, before);
    fill_record(f, "2", "x");
    size_t size = f->record.size;
    assert_ok(redo_append(&f->redo, &f->record, &error));
    assert_records(f, "x", 3);
    read_file(f, after);
    long at = 2 * REDO_BLOCK;
    for (size_t cut = 0; cut <= size; cut++) {
        bool same_begin = memcmp(before + at, after + at, cut) == 0;
        bool same_end = memcmp(before + at + cut, after + at + cut, size - cut) == 0;
        write_file(f, before + at, REDO_BLOCK, at);
        write_file(f, after + at, cut, at);
        assert_records(f, "x", same_end ? 3 : 2);
        write_file(f, after + at, REDO_BLOCK, at);
        write_file(f, before + at, cut, at);
        assert_records(f, "x", same_begin ? 3 : 2);
    }
}

static void a_round_whose_first_record_is_torn_is_none(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct redo_reader reader;
    uint8_t before[CAPACITY];
    uint8_t after[CAPACITY];
    write_round(f, 1, 3, "x");
    assert_ok(redo_clear(&f->redo, 1, &error));
    read_file(f, before);
    char value[2 * REDO_BLOCK] = {0};
    memset(value, 'y', sizeof value - 1);
    write_round(f, 2, 1, value);
    read_file(f, after);
    size_t sectors = f->redo.offset / 512;
    for (size_t missing = 0; missing < sectors - 7; missing++) {
        write_file(f, after, sectors * 512, 0);
        write_file(f, before + missing * 512, 512, (long)(missing * 512));
        assert_int_equal(redo_reader_open(&reader, f->directory, CAPACITY, &error), 0);
        redo_reader_close(&reader);
    }
}

/* Damages the body of a record of write_round that takes one block. */
static void flip_body(const struct fixture *f, unsigned record)
{
    uint8_t data[CAPACITY];
    read_file(f, data);
    size_t at = (size_t)record * REDO_BLOCK + 60;
    data[at] ^= 0x10;
    write_file(f, &data[at], 1, (long)at);
}

static void assert_damage(struct fixture *f, const char *value, const char *words)
{
    struct ls_error error = {0};
    int found = read_round(f, value, &error);
    if (found != LS_ECORRUPT || strstr(error.text, words) == NULL) {
        fail_msg("%d records, wanted damage with '%s': %s", found, words, error.text);
    }
}

static void a_damaged_first_record_with_one_behind_it_is_reported(void **state)
{
    struct fixture *f = *state;
    write_round(f, 1, 2, "x");
    flip_body(f, 0);
    assert_damage(f, "x", "record 0 is not what was written");
}

static void a_torn_first_record_with_old_ones_behind_it_is_none(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    write_round(f, 1, 6, "x");
    assert_ok(redo_clear(&f->redo, 1, &error));
    write_round(f, 2, 1, "x");
    flip_body(f, 0);
    assert_records(f, "x", 0);
    /* Nor with those of a round of the same number. */
    write_round(f, 2, 6, "y");
    write_round(f, 2, 1, "x");
    flip_body(f, 0);
    assert_records(f, "x", 0);
}

static void a_damaged_record_is_reported_where_those_behind_it_show_that_it_was_whole(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 8 };
    for (unsigned record = 1; record < COUNT; record++) {
        write_round(f, record, COUNT, "x");
        flip_body(f, record);
        if (record + REDO_AHEAD_MAX < COUNT) {
            assert_damage(f, "x", "is not what was written");
        } else {
            assert_records(f, "x", (int)record); /* so many are written at once */
        }
    }
}

static void a_round_in_a_file_that_is_cut_short_is_damage(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct redo_reader reader;
    write_round(f, 1, 2, "x");
    assert_int_equal(truncate(f->path, CAPACITY - REDO_BLOCK), 0);
    assert_damage(f, "x", "record 0 is in a file that is cut short");
    /* Whatever size it had. */
    assert_int_equal(truncate(f->path, REDO_BLOCK + 57), 0);
    assert_int_equal(redo_reader_open(&reader, f->directory, 0, &error), 1);
    assert_int_equal(redo_reader_next(&reader, &error), LS_ECORRUPT);
    assert_non_null(strstr(error.text, "record 1 was cut off"));
    redo_reader_close(&reader);
    assert_ok(redo_clear(&f->redo, 1, &error));
    assert_records(f, "x", 0);
}

static void a_whole_record_of_something_else_is_damage(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct redo_edit edit = {(enum redo_operation)9, bytes_of_text("1"), bytes_of_text("x")};
    write_round(f, 1, 1, "x");
    redo_record_reset(&f->record);
    assert_int_equal(redo_record_add(&f->record, &edit, EDIT_MAX), 0);
    assert_ok(redo_append(&f->redo, &f->record, &error));
    assert_damage(f, "x", "record 1 cannot be understood");
}

static void a_clearing_that_is_cut_short_leaves_the_round_or_none(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    uint8_t before[CAPACITY];
    uint8_t after[CAPACITY];
    char value[1000] = {0};
    memset(value, 'x', sizeof value - 1);
    write_round(f, 2, 3, value);
    read_file(f, before);
    assert_ok(redo_clear(&f->redo, 2, &error));
    read_file(f, after);
    for (unsigned written = 0; written < 1u << REDO_BLOCK / 512; written++) {
        for (unsigned sector = 0; sector < REDO_BLOCK / 512; sector++) {
            const uint8_t *from = (written & 1u << sector) != 0 ? after : before;
            write_file(f, from + (size_t)sector * 512, 512, (long)sector * 512);
        }
        assert_records(f, value, (written & 1) != 0 ? 0 : 3);
    }
}

static void a_first_block_that_was_lost_is_damage(void **state)
{
    struct fixture *f = *state;
    const uint8_t zeros[REDO_BLOCK] = {0};
    /* The first round's first record, of which only the end was written. */
    char value[2 * REDO_BLOCK] = {0};
    memset(value, 'x', sizeof value - 1);
    write_round(f, 1, 1, value);
    write_file(f, zeros, 512, 0);
    assert_records(f, "", 0);
    write_round(f, 1, 2, "x");
    write_file(f, zeros, sizeof zeros, 0);
    assert_damage(f, "x", "its first block");
}

static void a_flipped_bit_ends_the_round_or_is_reported(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    uint8_t whole[CAPACITY];
    write_round(f, 1, 3, "x");
    read_file(f, whole);
    for (int record = 0; record < 3; record++) {
        for (size_t bit = 0; bit < (record == 0 ? 71 : 66) * 8; bit++) {
            size_t at = (size_t)record * REDO_BLOCK + bit / 8;
            uint8_t byte = whole[at] ^ (uint8_t)(1u << bit % 8);
            write_file(f, &byte, 1, (long)at);
            int found = read_round(f, "x", &error);
            write_file(f, &whole[at], 1, (long)at);
            bool good = found == (record == 0 ? LS_ECORRUPT : record);
            if (!good) {
                fail_msg("record %d, bit %zu: %d records", record, bit, found);
            }
        }
    }
    assert_records(f, "x", 3);
}

/* Also where it is a header that is damaged, so that it does not tell where the next one is. */
static void a_flipped_bit_of_what_was_durable_is_damage(void **state)
{
    enum { RECORDS = 2 + REDO_AHEAD_MAX, HEADER = 56 };
    struct fixture *f = *state;
    struct ls_error error = {0};
    uint8_t whole[CAPACITY];
    char value[2 * REDO_BLOCK] = {0};
    memset(value, 'y', sizeof value - 1);
    write_round(f, 1, RECORDS, "an older round");
    write_round(f, 2, RECORDS, value);
    read_file(f, whole);
    size_t size = f->redo.offset / RECORDS;
    for (size_t record = 0; record < RECORDS; record++) {
        for (size_t bit = 0; bit < (HEADER + 8 + 1 + sizeof value - 1) * 8;
             bit += bit < 600 ? 1 : 97) {
            size_t at = record * size + bit / 8;
            uint8_t byte = whole[at] ^ (uint8_t)(1u << bit % 8);
            write_file(f, &byte, 1, (long)at);
            int found = read_round(f, value, &error);
            write_file(f, &whole[at], 1, (long)at);
            if (found != (record < 2 ? LS_ECORRUPT : (int)record)) {
                fail_msg("record %zu, bit %zu: %d", record, bit, found);
            }
        }
    }
    assert_records(f, value, RECORDS);
}

static void a_first_block_of_something_else_is_damage(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    write_file(f, (const uint8_t *)"not a log, but something else, of this or another size....", 58,
               0);
    assert_int_equal(read_round(f, "x", &error), LS_ECORRUPT);
    assert_non_null(strstr(error.text, REDO_NAME));
}

static void a_record_larger_than_allowed_is_refused(void **state)
{
    struct fixture *f = *state;
    char value[1000];
    memset(value, 'x', sizeof value);
    struct redo_edit edit = {REDO_PUT, bytes_of_text("k"), bytes_of(value, sizeof value)};
    redo_record_reset(&f->record);
    assert_int_equal(redo_record_add(&f->record, &edit, 2000), 0);
    assert_int_equal(redo_record_add(&f->record, &edit, 2000), LS_ETOOBIG);
}

static void use_with_failing_allocation(void *context, long n)
{
    struct fixture *f = context;
    struct redo_record record = {0};
    struct ls_error error = {0};
    struct redo redo;
    char value[3 * REDO_BLOCK] = {0};
    struct redo_edit edit = {REDO_PUT, bytes_of_text("0"), bytes_of(value, sizeof value)};
    (void)n;
    redo_record_reset(&record);
    int result = redo_open(&redo, f->directory, 2 * CAPACITY, &error);
    if (result == 0) {
        result = redo_record_add(&record, &edit, EDIT_MAX);
        if (result == 0) {
            result = redo_begin(&redo, 1, &record, bytes_of_text("metas"), &error);
        }
        redo_close(&redo);
    }
    struct redo_reader reader;
    if (result == 0) {
        result = redo_reader_open(&reader, f->directory, CAPACITY, &error);
        redo_reader_close(&reader);
    }
    assert_true(result == 1 || result == LS_ENOMEM);
    redo_record_free(&record);
}

static void every_failing_allocation_is_reported(void **state)
{
    faults_each_allocation(use_with_failing_allocation, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_log_is_empty_and_as_large_as_asked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_log_left_half_made_is_completed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_log_is_an_empty_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edits_and_meta_pages_come_back_as_they_were, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_round_ends_where_the_file_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cleared_log_is_empty_and_knows_its_last_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(records_of_older_rounds_never_pass, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_torn_at_any_byte_ends_the_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_round_whose_first_record_is_torn_is_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_first_record_with_one_behind_it_is_reported,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_first_record_with_old_ones_behind_it_is_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_damaged_record_is_reported_where_those_behind_it_show_that_it_was_whole, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(a_whole_record_of_something_else_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_clearing_that_is_cut_short_leaves_the_round_or_none,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_first_block_that_was_lost_is_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flipped_bit_ends_the_round_or_is_reported, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_flipped_bit_of_what_was_durable_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_round_in_a_file_that_is_cut_short_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_first_block_of_something_else_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_record_larger_than_allowed_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_failing_allocation_is_reported, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
