/* SPDX-License-Identifier: Apache-2.0 */
/* Recent versions in memory: each rule, and random operations against a plain list of versions. */
#include "txn/recent.h"

#include <stdio.h>
#include <stdlib.h>

#include "arbitrary.h"
#include "faults.h"
#include "fixture.h"

#define SEED 7

static ls_bytes text(const char *string)
{
    return bytes_of_text(string);
}

static void add(struct recent *r, uint64_t timestamp, const char *key, const char *value)
{
    assert_int_equal(recent_add(r, recent_next(r), timestamp, text(key),
                                value != NULL ? text(value) : bytes_of(NULL, 0), value == NULL),
                     0);
    recent_keep(r);
}

/* `value` NULL: there is none; "-": deleted. */
static void expect(const struct recent *r, const char *key, uint64_t below, const char *value,
                   bool last)
{
    struct recent_found found;
    bool any = recent_find(r, text(key), recent_hash(r, text(key)), below, &found);
    assert_int_equal(any, value != NULL);
    if (any) {
        assert_int_equal(found.deleted, value[0] == '-');
        assert_true(found.deleted || bytes_equal(found.value, text(value)));
        assert_int_equal(found.last, last);
    }
}

static struct recent *open_recent(void)
{
    struct recent *r;
    assert_int_equal(recent_open(&r, SEED), 0);
    return r;
}

static void the_newest_below_a_timestamp_is_found(void **state)
{
    (void)state;
    struct recent *r = open_recent();
    add(r, 3, "a", "3");
    add(r, 7, "a", NULL);
    add(r, 9, "a", "9");
    expect(r, "a", 3, NULL, false);
    expect(r, "a", 4, "3", true);
    expect(r, "a", 9, "-", true);
    expect(r, "a", UINT64_MAX, "9", true);
    expect(r, "b", UINT64_MAX, NULL, false);
    recent_close(r);
}

static void one_that_comes_late_stands_where_it_belongs(void **state)
{
    (void)state;
    struct recent *r = open_recent();
    add(r, 9, "a", "9");
    add(r, 5, "a", "5");
    expect(r, "a", UINT64_MAX, "9", true);
    expect(r, "a", 9, "5", true);
    assert_int_equal(recent_freeze(r), 0);
    add(r, 7, "a", "7");
    expect(r, "a", UINT64_MAX, "9", true);
    expect(r, "a", 9, "7", true);
    recent_release(r);
    expect(r, "a", UINT64_MAX, "7", false); /* what was moved may be newer */
    add(r, 10, "a", "10");
    expect(r, "a", UINT64_MAX, "10", true);
    recent_close(r);
}

static void what_others_moved_is_not_looked_at(void **state)
{
    (void)state;
    struct recent *r = open_recent();
    recent_reset(r, 100, 50);
    add(r, 60, "a", "60");
    add(r, 61, "b", "61");
    add(r, 55, "a", "55");
    expect(r, "a", UINT64_MAX, "60", true);
    recent_drop(r, 102);
    expect(r, "a", UINT64_MAX, "55", false);
    expect(r, "b", UINT64_MAX, NULL, false);
    assert_true(recent_has_below(r, text("a"), 56));
    assert_false(recent_has_below(r, text("a"), 55));
    recent_drop(r, 103);
    expect(r, "a", UINT64_MAX, NULL, false);
    recent_rest(r);
    assert_int_equal(recent_size(r).bytes, 0);
    recent_close(r);
}

static void what_was_there_before_the_first_may_be_newer(void **state)
{
    (void)state;
    struct recent *r = open_recent();
    recent_reset(r, 5, 20);
    add(r, 20, "a", "20");
    expect(r, "a", UINT64_MAX, "20", false);
    add(r, 21, "a", "21");
    expect(r, "a", UINT64_MAX, "21", true);
    recent_close(r);
}

static void all_of_a_generation_comes_in_byte_order(void **state)
{
    enum { KEYS = 5000 };
    (void)state;
    struct recent *r = open_recent();
    char name[32];
    for (unsigned i = 0; i < KEYS; i++) {
        int size = snprintf(name, sizeof(name), "k%u", i * 7919 % KEYS);
        name[1] = i % 3 == 0 ? '\0' : name[1]; /* zeros, and keys that begin others */
        ls_bytes key = bytes_of(name, (size_t)size);
        assert_int_equal(recent_add(r, i, i + 1, key, key, false), 0);
        recent_keep(r);
    }
    assert_int_equal(recent_freeze(r), 0);
    uint8_t last[32];
    size_t last_size = 0, count = 0;
    const struct recent_key *kept = NULL;
    for (const struct recent_key *key; (key = recent_peek(r)) != NULL; count++) {
        assert_true(bytes_compare(bytes_of(last, last_size), bytes_of(key->name, key->size)) < 0);
        memcpy(last, key->name, key->size);
        last_size = key->size;
        recent_take(r);
        if (count == KEYS / 4) {
            recent_taken(r);
            kept = recent_peek(r);
        } else if (count == KEYS / 3) { /* once */
            recent_take_again(r);
            assert_ptr_equal(recent_peek(r), kept);
            last_size = 0;
            count = KEYS / 2;
        }
    }
    assert_true(count > KEYS / 2);
    recent_release(r);
    recent_rest(r);
    assert_int_equal(recent_size(r).bytes, 0);
    recent_close(r);
}

static void memory_is_used_again_until_there_is_rest(void **state)
{
    enum { GENERATIONS = 5, KEYS = 30000 };
    struct recent *r = open_recent();
    size_t most = 0;
    (void)state;
    for (unsigned i = 0; i < GENERATIONS * KEYS; i++) {
        char name[32];
        int size = snprintf(name, sizeof(name), "%u", i);
        ls_bytes key = bytes_of(name, (size_t)size);
        assert_int_equal(recent_add(r, i, i + 1, key, key, false), 0);
        recent_keep(r);
        if (i % KEYS == KEYS - 1) {
            size_t bytes = recent_size(r).bytes;
            assert_true(most == 0 || bytes <= most + most / 4);
            most = most > 0 ? most : bytes;
            assert_int_equal(recent_freeze(r), 0);
            recent_release(r);
            assert_true(recent_size(r).bytes > most / 2);
        }
    }
    recent_rest(r);
    assert_int_equal(recent_size(r).bytes, 0);
    recent_close(r);
}

/* `there` tells which timestamps have a version. */
static void expect_newest_below(const struct recent *r, const bool *there, uint64_t count)
{
    uint64_t hash = recent_hash(r, text("hot"));
    uint64_t newest = 0;
    for (uint64_t below = 1; below <= count; below++) {
        struct recent_found found = {0};
        newest = there[below - 1] ? below - 1 : newest;
        assert_int_equal(recent_find(r, text("hot"), hash, below, &found), newest > 0);
        assert_int_equal(found.timestamp, newest);
    }
}

/* A walk from one version to the next would take more steps than this test has time for. */
static void a_key_of_many_versions_is_looked_through_in_few_steps(void **state)
{
    enum { COUNT = 100000, LATE = 8, UNDONE = 3000 };
    bool *there = calloc(COUNT + 1, sizeof(*there));
    struct recent *r = open_recent();
    uint64_t sequence = 0;
    (void)state;
    for (uint64_t t = 1; t <= COUNT; t++) {
        if (t % LATE != 0) {
            assert_int_equal(recent_add(r, sequence++, t, text("hot"), text("v"), false), 0);
            there[t] = true;
        }
    }
    recent_keep(r);
    uint64_t undone = sequence;
    for (uint64_t i = 0; i < 2; i++) { /* from the newest down, and all over the place */
        for (uint64_t j = 0; j < COUNT / LATE; j++) {
            uint64_t t = (i == 0 ? COUNT / LATE - j : j * 7919 % (COUNT / LATE) + 1) * LATE;
            assert_int_equal(recent_add(r, sequence++, t, text("hot"), text("v"), false), 0);
            there[t] = true;
        }
        if (i == 0) {
            expect_newest_below(r, there, COUNT);
            recent_undo(r, undone);
            sequence = undone;
            for (uint64_t t = LATE; t <= COUNT; t += LATE) {
                there[t] = false;
            }
            expect_newest_below(r, there, COUNT);
        }
    }
    expect_newest_below(r, there, COUNT);
    recent_undo(r, sequence - UNDONE);
    for (uint64_t j = COUNT / LATE - UNDONE; j < COUNT / LATE; j++) {
        there[(j * 7919 % (COUNT / LATE) + 1) * LATE] = false;
    }
    expect_newest_below(r, there, COUNT);
    recent_keep(r);
    assert_int_equal(recent_freeze(r), 0);
    for (uint64_t t = COUNT; t > COUNT - 100; t--) {
        const struct recent_version *version = recent_newest_due(r, recent_peek(r), t);
        assert_true(there[t] ? version->timestamp == t : version->timestamp < t);
    }
    recent_close(r);
    free(there);
}

static void a_large_value_is_kept(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    struct recent *r = open_recent();
    char *large = malloc(SIZE);
    struct recent_found found;
    assert_non_null(large);
    memset(large, 'x', SIZE);
    assert_int_equal(recent_add(r, 0, 1, text("a"), bytes_of(large, SIZE), false), 0);
    assert_int_equal(recent_add(r, 1, 2, text("b"), text("1"), false), 0);
    assert_true(recent_find(r, text("a"), recent_hash(r, text("a")), 9, &found));
    assert_true(bytes_equal(found.value, bytes_of(large, SIZE)));
    recent_undo(r, 0);
    assert_int_equal(recent_size(r).versions, 0);
    free(large);
    recent_close(r);
}

/* ---- against a list ---- */

enum { NAMES = 40, MOST = 4000 };

struct entry {
    uint64_t sequence, timestamp;
    unsigned name;
    bool deleted;
    unsigned value;
};

struct trial {
    struct recent *r;
    size_t size_max;
    uint64_t random;
    struct entry log[MOST]; /* by sequence; several have one */
    size_t count, kept;
    uint64_t moved;  /* sequence: what is below is no more in memory */
    uint64_t frozen; /* the end of the frozen generation; 0: none */
    uint64_t clock;
};

static uint64_t draw(struct trial *t, uint64_t below)
{
    return random_below(&t->random, below);
}

/* Some of them are the same. */
static ls_bytes name_of(unsigned name)
{
    static char names[NAMES][32];
    if (names[name][0] == 0) {
        snprintf(names[name], sizeof(names[name]), "%s%u", name % 2 == 0 ? "key" : "key/of/those",
                 name / 4);
    }
    return text(names[name]);
}

/* The newest below, of what has at least this sequence. */
static const struct entry *entry_below(const struct trial *t, unsigned name, uint64_t below,
                                       uint64_t from)
{
    const struct entry *best = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct entry *entry = &t->log[i];
        if (entry->sequence >= from && entry->timestamp < below &&
            bytes_equal(name_of(entry->name), name_of(name)) &&
            (best == NULL || best->timestamp < entry->timestamp)) {
            best = entry;
        }
    }
    return best;
}

static void check_looks(struct trial *t)
{
    for (int i = 0; i < 5; i++) {
        unsigned name = (unsigned)draw(t, NAMES);
        ls_bytes key = name_of(name);
        uint64_t below = draw(t, 3) == 0 ? UINT64_MAX : draw(t, t->clock + 2);
        const struct entry *wanted = entry_below(t, name, below, t->moved);
        const struct entry *ever = entry_below(t, name, below, 0);
        struct recent_found found;
        bool any = recent_find(t->r, key, recent_hash(t->r, key), below, &found);
        assert_int_equal(any, wanted != NULL);
        assert_int_equal(recent_has_below(t->r, key, below), wanted != NULL);
        if (any) {
            assert_int_equal(found.timestamp, wanted->timestamp);
            assert_int_equal(found.deleted, wanted->deleted);
            assert_true(found.deleted || bytes_equal(found.value, bytes_of(&wanted->value, 4)));
            assert_true(!found.last || ever == wanted);
        }
    }
}

static void write_some(struct trial *t)
{
    uint64_t sequence = recent_next(t->r);
    uint64_t timestamp = draw(t, 4) == 0 && t->clock > 20 ? t->clock - draw(t, 20) : ++t->clock;
    for (size_t i = 0; i < t->count; i++) {
        if (t->log[i].timestamp == timestamp) {
            timestamp = ++t->clock;
        }
    }
    unsigned first = (unsigned)draw(t, NAMES);
    for (unsigned i = 0; i <= draw(t, 3) && t->count < MOST; i++) {
        struct entry entry = {sequence, timestamp, (first + 4 * i) % NAMES, draw(t, 4) == 0,
                              (unsigned)draw(t, 1000)};
        if (entry_below(t, entry.name, timestamp + 1, sequence) != NULL) {
            break;
        }
        ls_bytes value = entry.deleted ? bytes_of(NULL, 0) : bytes_of(&entry.value, 4);
        if (draw(t, 5) == 0) {
            faults_fail_allocation(1 + (long)draw(t, 3));
        }
        int rc = recent_add(t->r, sequence, timestamp, name_of(entry.name), value, entry.deleted);
        faults_fail_allocation(0);
        if (rc != 0) {
            assert_int_equal(rc, LS_ENOMEM);
            recent_undo(t->r, sequence);
            while (t->count > 0 && t->log[t->count - 1].sequence == sequence) {
                t->count--;
            }
            return;
        }
        t->log[t->count++] = entry;
    }
}

static void keep_or_undo(struct trial *t)
{
    if (draw(t, 3) > 0) {
        recent_keep(t->r);
        t->kept = t->count;
        return;
    }
    if (t->count > t->kept) {
        size_t to = t->kept + draw(t, t->count - t->kept);
        uint64_t sequence = t->log[to].sequence;
        while (t->count > t->kept && t->log[t->count - 1].sequence >= sequence) {
            t->count--;
        }
        recent_undo(t->r, sequence);
        assert_int_equal(recent_next(t->r), sequence);
    }
}

static void move_some(struct trial *t)
{
    recent_keep(t->r);
    t->kept = t->count;
    if (recent_is_frozen(t->r)) {
        for (uint64_t i = draw(t, 20); i > 0 && recent_peek(t->r) != NULL; i--) {
            recent_take(t->r);
        }
        if (draw(t, 4) == 0) {
            recent_take_again(t->r);
        } else {
            recent_taken(t->r);
        }
        if (recent_peek(t->r) == NULL) {
            t->moved = recent_frozen_end(t->r);
            recent_release(t->r);
        }
    } else if (recent_size(t->r).active >= t->size_max && recent_freeze(t->r) == 0) {
        assert_int_equal(recent_frozen_end(t->r), recent_next(t->r));
    }
    if (draw(t, 20) == 0) {
        t->moved += draw(t, recent_next(t->r) - t->moved + 1);
        recent_drop(t->r, t->moved);
    }
}

static void it_is_as_a_list_of_all_versions_would_have_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct trial *t = calloc(1, sizeof(*t));
        assert_non_null(t);
        t->random = seed;
        t->r = open_recent();
        t->size_max = (size_t)100 << seed % 6;
        while (t->count < MOST / 4) {
            switch (draw(t, 8)) {
            case 0:
                keep_or_undo(t);
                break;
            case 1:
                move_some(t);
                break;
            default:
                write_some(t);
            }
            check_looks(t);
        }
        recent_close(t->r);
        free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_below_a_timestamp_is_found),
        cmocka_unit_test(one_that_comes_late_stands_where_it_belongs),
        cmocka_unit_test(what_others_moved_is_not_looked_at),
        cmocka_unit_test(what_was_there_before_the_first_may_be_newer),
        cmocka_unit_test(all_of_a_generation_comes_in_byte_order),
        cmocka_unit_test(memory_is_used_again_until_there_is_rest),
        cmocka_unit_test(a_key_of_many_versions_is_looked_through_in_few_steps),
        cmocka_unit_test(a_large_value_is_kept),
        cmocka_unit_test(it_is_as_a_list_of_all_versions_would_have_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
