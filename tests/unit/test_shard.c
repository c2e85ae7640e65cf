/* SPDX-License-Identifier: Apache-2.0 */
/* The shard engine: what is answered when, what is held, what is forgotten. */
#include "shard_world.h"

/* ---- what is answered, and when ---- */

static void an_eager_read_is_answered_once_every_earlier_write_is_known(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", E), 0);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(ls_shard_seen(world.shard, 1, 5, true), 0);
    assert_said(&world, "");
    assert_int_equal(ls_shard_seen(world.shard, 2, 5, true), 0);
    assert_said(&world, "5 reads k=one;");
    seen(&world, 9, true);
    assert_said(&world, "");
    world_close(&world);
}

static void a_lazy_read_is_answered_only_when_asked(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", L), 0);
    seen(&world, 5, true);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(ls_shard_read(world.shard, 5, key("k"), true), 0);
    assert_said(&world, "5 reads k=one;");
    world_close(&world);
}

static void a_lazy_read_given_up_is_not_answered(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", L), 0);
    assert_int_equal(ls_shard_read(world.shard, 5, key("k"), false), 0);
    seen(&world, 5, true);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(ls_shard_read(world.shard, 5, key("k"), true), LS_ENOLOCK);
    assert_int_equal(info_of(&world).open, 0);
    world_close(&world);
}

static void a_read_below_every_version_finds_nothing(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    assert_int_equal(acquire(&world, 5, "k", W), 0);
    assert_int_equal(acquire(&world, 3, "k", E), 0);
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    seen(&world, 6, true);
    assert_said(&world, "locked 5 to 1;locked 3 to 1;3 reads k absent;");
    world_close(&world);
}

static void an_unresolved_may_write_between_a_read_and_its_value_holds_it(void **state)
{
    (void)state;
    for (int used = 0; used < 2; used++) {
        struct world world;
        world_with_value(&world, false);
        assert_int_equal(acquire(&world, 3, "k", M), 0);
        assert_int_equal(acquire(&world, 5, "k", E), 0);
        seen(&world, 9, true);
        assert_said(&world, "locked 3 to 1;locked 5 to 1;");
        assert_int_equal(info_of(&world).waiting, 1);
        assert_int_equal(used ? write_value(&world, 3, "k", "three") : write_none(&world, 3, "k"),
                         0);
        assert_said(&world, used ? "5 reads k=three;" : "5 reads k=one;");
        assert_int_equal(info_of(&world).waiting, 0);
        world_close(&world);
    }
}

static void a_read_falls_through_every_write_that_turns_out_none(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    for (uint64_t t = 3; t <= 6; t++) {
        assert_int_equal(acquire(&world, t, "k", t == 3 ? W : M), 0);
    }
    assert_int_equal(acquire(&world, 7, "k", E), 0);
    assert_int_equal(acquire(&world, 8, "k", L), 0);
    seen(&world, 9, true);
    world.said.size = 0;
    assert_int_equal(write_none(&world, 5, "k"), 0);
    assert_int_equal(write_none(&world, 6, "k"), 0);
    assert_int_equal(write_none(&world, 4, "k"), 0);
    world.said.data[0] = '\0';
    assert_said(&world, "");
    assert_int_equal(write_value(&world, 3, "k", "three"), 0);
    assert_said(&world, "7 reads k=three;");
    assert_int_equal(ls_shard_read(world.shard, 8, key("k"), true), 0);
    assert_said(&world, "8 reads k=three;");
    world_close(&world);
}

static void a_transaction_that_reads_and_writes_a_key_reads_the_version_before_its_own(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock locks[] = {{key("k"), E}, {key("k"), W}}; /* apart, as they stand on the wire */
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2), 0);
    assert_int_equal(acquire(&world, 6, "k", E | W), 0);
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    assert_int_equal(write_value(&world, 6, "k", "six"), 0);
    seen(&world, 7, true);
    assert_said(&world, "locked 5 to 1;locked 6 to 1;5 reads k=one;6 reads k=five;");
    world_close(&world);
}

static void a_deletion_is_a_version_that_is_absent(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 3, "k", W), 0);
    assert_int_equal(acquire(&world, 4, "k", E), 0);
    assert_int_equal(ls_shard_write(world.shard, 3, key("k"), LS_SHARD_ABSENT, key("")), 0);
    seen(&world, 4, true);
    assert_said(&world, "locked 3 to 1;locked 4 to 1;4 reads k absent;");
    seen(&world, 9, true);
    seen(&world, 9, false);
    assert_int_equal(info_of(&world).keys, 0);
    world_close(&world);
}

static void a_lazy_read_finds_its_value_after_newer_ones_were_collected(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 3, "k", L), 0);
    for (uint64_t t = 4; t <= 6; t++) {
        assert_int_equal(acquire(&world, t, "k", W), 0);
        assert_int_equal(write_value(&world, t, "k", LONG_VALUE), 0);
    }
    seen(&world, 20, true);
    seen(&world, 20, false);
    assert_int_equal(info_of(&world).versions, 2);
    world.said.size = 0;
    assert_int_equal(ls_shard_read(world.shard, 3, key("k"), true), 0);
    assert_said(&world, "3 reads k=one;");
    assert_int_equal(info_of(&world).versions, 1);
    world_close(&world);
}

static void with_stored_versions_only_what_is_open_is_held(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, true);
    assert_int_equal(acquire(&world, 3, "k", M), 0);
    assert_int_equal(acquire(&world, 5, "k", E | W), 0);
    assert_int_equal(acquire(&world, 6, "k", E), 0);
    assert_int_equal(acquire(&world, 7, "j", E), 0);
    seen(&world, 7, true);
    assert_said(&world,
                "locked 3 to 1;locked 5 to 1;locked 6 to 1;locked 7 to 1;7 reads j stored;");
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    assert_said(&world, "6 reads k=five;");
    assert_int_equal(write_none(&world, 3, "k"), 0);
    assert_said(&world, "5 reads k stored;");
    seen(&world, 8, true);
    seen(&world, 8, false);
    assert_int_equal(info_of(&world).keys, 0);
    world_close(&world);
}

static void a_stored_version_stands_before_a_lock_that_comes_late(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, true);
    assert_int_equal(acquire(&world, 6, "k", W), 0);
    assert_int_equal(write_value(&world, 6, "k", "six"), 0);
    assert_int_equal(acquire(&world, 4, "k", W), 0); /* allowed: nobody promised anything yet */
    assert_int_equal(acquire(&world, 7, "k", E), 0);
    seen(&world, 8, true);
    assert_said(&world, "locked 6 to 1;locked 4 to 1;locked 7 to 1;7 reads k stored;");
    world_close(&world);
}

/* ---- executors that vanish, workers that fall silent ---- */

static void a_release_gives_reads_up_and_makes_open_writes_none(void **state)
{
    (void)state;
    /* Before its writes, between them, after them. */
    for (int written = 0; written <= 2; written++) {
        struct world world;
        world_with_value(&world, false);
        ls_shard_lock locks[] = {{key("k"), E | W}, {key("j"), M}, {key("i"), L}};
        assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 3), 0);
        assert_int_equal(acquire(&world, 6, "k", E), 0);
        assert_int_equal(acquire(&world, 7, "j", E), 0);
        if (written > 0) {
            assert_int_equal(write_value(&world, 5, "k", "five"), 0);
        }
        if (written > 1) {
            assert_int_equal(write_value(&world, 5, "j", "too"), 0);
        }
        assert_int_equal(ls_shard_release(world.shard, 5), 0);
        assert_int_equal(ls_shard_release(world.shard, 5), 0); /* again: it is remembered */
        assert_int_equal(write_value(&world, 5, "k", "late"), LS_ENOLOCK);
        world.said.size = 0;
        seen(&world, 9, true);
        assert_said(&world, written == 0   ? "6 reads k=one;7 reads j absent;"
                            : written == 1 ? "6 reads k=five;7 reads j absent;"
                                           : "6 reads k=five;7 reads j=too;");
        assert_int_equal(info_of(&world).open, 0);
        world_close(&world);
    }
}

static void a_watermark_that_would_go_back_is_ignored(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    seen(&world, 8, true);
    seen(&world, 5, false);
    seen(&world, 3, true);
    seen(&world, 2, false);
    assert_int_equal(info_of(&world).heard_all_writes, 8);
    assert_int_equal(info_of(&world).heard_all_reads, 5);
    seen(&world, 20, false);
    assert_int_equal(info_of(&world).heard_all_reads, 8); /* never beyond the other */
    assert_whole(&world);
    world_close(&world);
}

static void a_worker_that_falls_silent_holds_reads_and_memory(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", E | W), 0);
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    assert_int_equal(ls_shard_seen(world.shard, 1, 100, true), 0);
    assert_int_equal(ls_shard_seen(world.shard, 1, 100, false), 0);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(info_of(&world).versions, 2);
    assert_int_equal(ls_shard_seen(world.shard, 2, 100, true), 0);
    assert_said(&world, "5 reads k=one;");
    assert_int_equal(info_of(&world).versions, 2);
    assert_int_equal(ls_shard_seen(world.shard, 2, 100, false), 0);
    assert_int_equal(info_of(&world).versions, 1);
    assert_int_equal(info_of(&world).remembered, 0);
    world_close(&world);
}

static void an_anchor_raises_the_write_mark_of_every_worker(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", E), 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 40, key("a"), 5), 0);
    assert_said(&world, "locked 5 to 1;5 reads k=one;");
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 41, key("b"), 6), 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 40, key("a"), 5), 0);
    assert_int_equal(info_of(&world).anchors, 2);
    assert_int_equal(info_of(&world).heard_all_writes, 6);
    seen(&world, 9, true);
    seen(&world, 9, false);
    while (ls_shard_collect(world.shard, 1)) {
    }
    assert_int_equal(info_of(&world).anchors, 1);
    world_close(&world);
}

static void the_same_locks_again_are_acknowledged_again(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock locks[] = {{key("k"), E | W}, {key("j"), M}};
    ls_shard_lock again[] = {{key("j"), M}, {key("k"), W}, {key("k"), E}};
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2), 0);
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, again, 3), 0);
    assert_said(&world, "locked 5 to 1;locked 5 to 1;");
    seen(&world, 9, true);
    assert_said(&world, "5 reads k=one;");
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2), 0); /* it is open still */
    assert_said(&world, "locked 5 to 1;");
    world_close(&world);
}

/* ---- keys at rest ---- */

static const char *name_of(uint64_t i, char text[80])
{
    snprintf(text, 80, i % 2 == 0 ? "%llu" : LONG_KEY " %llu", (unsigned long long)i);
    return text;
}

static const char *value_of(uint64_t i, char text[80])
{
    snprintf(text, 80, i % 3 == 0 ? "= %llu" : LONG_VALUE " %llu", (unsigned long long)i);
    return text;
}

static void run_one(struct world *world, uint64_t timestamp, uint64_t i,
                    enum ls_shard_content content)
{
    char name[80];
    char value[80];
    assert_int_equal(acquire(world, timestamp, name_of(i, name), W), 0);
    assert_int_equal(
        ls_shard_write(world->shard, timestamp, key(name), content, key(value_of(i, value))), 0);
    seen(world, timestamp + 1, true);
    seen(world, timestamp + 1, false);
    world->said.size = 0;
}

static void keys_at_rest_keep_their_values_until_they_are_deleted(void **state)
{
    (void)state;
    enum { MANY = 40000 }; /* their table is one of the large pieces */
    struct world world;
    world_open(&world, false);
    uint64_t empty = info_of(&world).memory;
    for (uint64_t i = 0; i < MANY; i++) {
        run_one(&world, i + 1, i, LS_SHARD_VALUE);
    }
    ls_shard_info info = info_of(&world);
    assert_int_equal(info.keys, MANY);
    assert_int_equal(info.versions, MANY);
    assert_int_equal(info.remembered, 0);
    assert_whole(&world);
    for (uint64_t i = 0; i < MANY; i++) {
        char text[80];
        ls_bytes value;
        enum ls_shard_content content;
        assert_int_equal(
            ls_shard_get(world.shard, MANY + 1, key(name_of(i, text)), &content, &value, NULL), 0);
        assert_int_equal(content, LS_SHARD_VALUE);
        assert_true(bytes_equal(value, key(value_of(i, text))));
    }
    for (uint64_t i = 0; i < MANY; i++) {
        run_one(&world, MANY + i + 1, i, LS_SHARD_ABSENT);
    }
    assert_int_equal(info_of(&world).keys, 0);
    while (ls_shard_collect(world.shard, 100)) {
    }
    assert_true(info_of(&world).memory < empty + (1 << 20));
    world_close(&world);
}

static void a_key_that_wakes_is_read_as_it_was_put_to_rest(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(info_of(&world).remembered, 0);
    assert_int_equal(acquire(&world, 2, "k", E | M), 0);
    assert_said(&world, "locked 2 to 1;2 reads k=one;");
    assert_int_equal(write_none(&world, 2, "k"), 0);
    seen(&world, 3, true);
    seen(&world, 3, false); /* and it is at rest again */
    assert_int_equal(acquire(&world, 3, "k", E), 0);
    assert_said(&world, "locked 3 to 1;3 reads k=one;");
    world_close(&world);
}

/* ---- looking ---- */

static void keys_that_are_expected_are_left_as_they_are(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 4, "awake", M), 0);
    assert_said(&world, "locked 4 to 1;");
    ls_shard_info before = info_of(&world);
    const ls_bytes keys[] = {key("k"), key("awake"), key("unknown"), bytes_of(NULL, 0)};
    ls_shard_expect(world.shard, keys, 4);
    ls_shard_expect(world.shard, NULL, 0);
    ls_shard_info after = info_of(&world);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_said(&world, "");
    world_close(&world);
}

static void a_get_reads_between_the_marks_and_leaves_nothing_behind(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 4, "k", M), 0);
    seen(&world, 6, true);
    enum ls_shard_content content;
    ls_bytes value;
    uint64_t waits_for;
    assert_int_equal(ls_shard_get(world.shard, 4, key("k"), &content, &value, NULL), 0);
    assert_int_equal(content, LS_SHARD_VALUE);
    assert_memory_equal(value.data, "one", 3);
    assert_int_equal(ls_shard_get(world.shard, 5, key("k"), &content, NULL, &waits_for), 0);
    assert_int_equal(content, LS_SHARD_OPEN);
    assert_int_equal(waits_for, 4);
    assert_int_equal(ls_shard_get(world.shard, 5, key("j"), &content, NULL, NULL), 0);
    assert_int_equal(content, LS_SHARD_ABSENT);
    REFUSED(&world, ls_shard_get(world.shard, 1, key("k"), &content, NULL, NULL), LS_ETOOOLD, 2);
    REFUSED(&world, ls_shard_get(world.shard, 7, key("k"), &content, NULL, NULL), LS_EINVAL, 6);
    world_close(&world);
}

static void explain_names_who_holds_a_read(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 3, "k", W), 0);
    assert_int_equal(acquire(&world, 5, "k", E | M), 0);
    ls_shard_mark mark = LS_SHARD_MARK_INIT;
    assert_int_equal(ls_shard_explain(world.shard, 5, key("k"), &mark), 0);
    assert_int_equal(mark.kinds, E | M);
    assert_int_equal(mark.read, LS_SHARD_UNHEARD);
    assert_int_equal(mark.write, LS_SHARD_UNWRITTEN);
    seen(&world, 5, true);
    assert_int_equal(ls_shard_explain(world.shard, 5, key("k"), &mark), 0);
    assert_int_equal(mark.read, LS_SHARD_WAITING);
    assert_true(mark.waits);
    assert_int_equal(mark.waits_for, 3);
    assert_int_equal(mark.waits_for_kind, W);
    assert_int_equal(write_value(&world, 3, "k", "three"), 0);
    assert_int_equal(ls_shard_explain(world.shard, 5, key("k"), &mark), 0);
    assert_int_equal(mark.read, LS_SHARD_DONE);
    assert_false(mark.waits);
    assert_int_equal(ls_shard_explain(world.shard, 5, key("x"), &mark), LS_ENOLOCK);
    world_close(&world);
}

/* ---- many ---- */

static void a_transaction_of_many_keys_finds_each(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    enum { MANY = 1000 };
    static char names[MANY][16];
    static ls_shard_lock locks[2 * MANY];
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "key %zu", i);
        locks[i] = (ls_shard_lock){key(names[i]), L};
        locks[2 * MANY - 1 - i] = (ls_shard_lock){key(names[i]), i % 2 == 0 ? W : M};
    }
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2 * MANY), 0);
    seen(&world, 5, true);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(info_of(&world).keys, MANY);
    for (size_t i = 0; i < MANY; i++) {
        char expected[48];
        snprintf(expected, sizeof expected, "5 reads key %zu absent;", i);
        assert_int_equal(ls_shard_read(world.shard, 5, key(names[i]), true), 0);
        assert_string_equal((const char *)world.said.data, expected);
        world.said.size = 0;
        assert_int_equal(write_value(&world, 5, names[i], names[i]), 0);
    }
    assert_int_equal(info_of(&world).open, 0);
    assert_int_equal(info_of(&world).versions, MANY);
    assert_whole(&world);
    world_close(&world);
}

static void a_long_timeline_is_kept_in_order_whatever_the_order_of_its_locks(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    enum { MANY = 1009 };
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(acquire(&world, 1 + i * 367 % MANY, "k", E | W), 0);
        world.said.size = 0;
    }
    assert_whole(&world);
    seen(&world, MANY, true);
    for (uint64_t t = 1; t <= MANY; t++) {
        char value[24];
        char expected[48];
        snprintf(value, sizeof value, "%llu", (unsigned long long)t);
        snprintf(expected, sizeof expected, "%llu reads k=%s;", (unsigned long long)t + 1, value);
        world.said.size = 0;
        world.said.data[0] = '\0';
        assert_int_equal(write_value(&world, t, "k", value), 0);
        assert_string_equal((const char *)world.said.data, t == MANY ? "" : expected);
    }
    seen(&world, MANY + 1, true);
    seen(&world, MANY + 1, false);
    while (ls_shard_collect(world.shard, 7)) {
    }
    assert_int_equal(info_of(&world).versions, 1);
    assert_whole(&world);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_eager_read_is_answered_once_every_earlier_write_is_known),
        cmocka_unit_test(a_lazy_read_is_answered_only_when_asked),
        cmocka_unit_test(a_lazy_read_given_up_is_not_answered),
        cmocka_unit_test(a_read_below_every_version_finds_nothing),
        cmocka_unit_test(an_unresolved_may_write_between_a_read_and_its_value_holds_it),
        cmocka_unit_test(a_read_falls_through_every_write_that_turns_out_none),
        cmocka_unit_test(
            a_transaction_that_reads_and_writes_a_key_reads_the_version_before_its_own),
        cmocka_unit_test(a_deletion_is_a_version_that_is_absent),
        cmocka_unit_test(a_lazy_read_finds_its_value_after_newer_ones_were_collected),
        cmocka_unit_test(with_stored_versions_only_what_is_open_is_held),
        cmocka_unit_test(a_stored_version_stands_before_a_lock_that_comes_late),
        cmocka_unit_test(a_release_gives_reads_up_and_makes_open_writes_none),
        cmocka_unit_test(a_watermark_that_would_go_back_is_ignored),
        cmocka_unit_test(a_worker_that_falls_silent_holds_reads_and_memory),
        cmocka_unit_test(an_anchor_raises_the_write_mark_of_every_worker),
        cmocka_unit_test(the_same_locks_again_are_acknowledged_again),
        cmocka_unit_test(keys_at_rest_keep_their_values_until_they_are_deleted),
        cmocka_unit_test(a_key_that_wakes_is_read_as_it_was_put_to_rest),
        cmocka_unit_test(keys_that_are_expected_are_left_as_they_are),
        cmocka_unit_test(a_get_reads_between_the_marks_and_leaves_nothing_behind),
        cmocka_unit_test(explain_names_who_holds_a_read),
        cmocka_unit_test(a_transaction_of_many_keys_finds_each),
        cmocka_unit_test(a_long_timeline_is_kept_in_order_whatever_the_order_of_its_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
