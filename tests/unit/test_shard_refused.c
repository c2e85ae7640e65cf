/* SPDX-License-Identifier: Apache-2.0 */
/* The shard engine: calls that are refused, or for which there is no memory, change nothing. */
#include "base/error.h"
#include "faults.h"
#include "shard_world.h"

static void locks_that_are_none_are_refused(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock twice[] = {{key("a"), E | W}, {key("b"), E}, {key("b"), L}};
    ls_shard_lock longest = {bytes_of(calloc(1, LS_SHARD_KEY_MAX + 1), LS_SHARD_KEY_MAX + 1), E};
    assert_non_null(longest.key.data);
    assert_int_equal(acquire(&world, 30, "k", E), 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, NULL, 0), LS_EINVAL, 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, twice, 3), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", 0), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", 16), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", E | L), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", W | M), LS_EINVAL, 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, &longest, 1), LS_ETOOBIG,
            LS_SHARD_KEY_MAX);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, twice, LS_SHARD_LOCKS_MAX + 1),
            LS_ETOOBIG, LS_SHARD_LOCKS_MAX);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 3, 9, twice, 1), LS_ENOTFOUND, 0);
    REFUSED(&world, acquire(&world, 30, "k", L), LS_ECONFLICT, 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 30, 2, 9, twice, 1), LS_ECONFLICT, 0);
    free((void *)(uintptr_t)longest.key.data);
    world_close(&world);
}

static void a_lock_below_what_was_promised_is_too_old(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    seen(&world, 8, true);
    seen(&world, 5, false);
    REFUSED(&world, acquire(&world, 7, "k", W), LS_ETOOOLD, 8);
    REFUSED(&world, acquire(&world, 7, "k", E | M), LS_ETOOOLD, 8);
    REFUSED(&world, acquire(&world, 4, "k", L), LS_ETOOOLD, 5);
    assert_int_equal(acquire(&world, 5, "k", E), 0);
    assert_int_equal(acquire(&world, 8, "k", E | W), 0);
    assert_said(&world, "locked 5 to 1;5 reads k absent;locked 8 to 1;8 reads k absent;");
    world_close(&world);
}

static void a_call_without_its_lock_is_refused(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock locks[] = {{key("k"), E}, {key("j"), W}, {key("i"), M}};
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 3), 0);
    seen(&world, 5, true);
    assert_int_equal(write_none(&world, 5, "i"), 0);
    REFUSED(&world, ls_shard_read(world.shard, 4, key("k"), true), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_read(world.shard, 5, key("x"), true), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_read(world.shard, 5, key("j"), true), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_read(world.shard, 5, key("k"), false), LS_ENOLOCK, 0); /* answered */
    REFUSED(&world, write_value(&world, 4, "k", "x"), LS_ENOLOCK, 0);
    REFUSED(&world, write_value(&world, 5, "k", "x"), LS_ENOLOCK, 0);
    REFUSED(&world, write_value(&world, 5, "i", "x"), LS_ENOLOCK, 0); /* a second write */
    REFUSED(&world, write_none(&world, 5, "j"), LS_EINVAL, 0);        /* none, for a will-write */
    REFUSED(&world, ls_shard_write(world.shard, 5, key("j"), LS_SHARD_STORED, key("")), LS_EINVAL,
            0);
    REFUSED(&world,
            ls_shard_write(world.shard, 5, key("j"), LS_SHARD_VALUE,
                           bytes_of("x", (size_t)LS_SHARD_VALUE_MAX + 1)),
            LS_ETOOBIG, LS_SHARD_VALUE_MAX);
    REFUSED(&world, ls_shard_release(world.shard, 4), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_seen(world.shard, 3, 9, true), LS_ENOTFOUND, 0);
    world_close(&world);
}

static void an_anchor_out_of_turn_is_refused(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 3, key("a"), 5), 0);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 5, key("b"), 9), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 2, key("b"), 9), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 3, key("b"), 5), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 3, key("a"), 6), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 8, 4, key("b"), 9), LS_ENOTFOUND, 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("d"), 7, 0, key(""), 1), 0);
    world_close(&world);
}

static void a_shard_that_may_hold_no_more_says_so(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    ls_shard_options options = options_of(&world);
    options.memory_max = 1 << 21;
    assert_int_equal(ls_shard_open(&world.shard, &options), 0);
    uint64_t timestamp = 1;
    char name[32];
    int rc = 0;
    while (rc == 0) {
        snprintf(name, sizeof name, "key %llu", (unsigned long long)timestamp);
        rc = acquire(&world, timestamp++, name, W);
        world.said.size = 0;
        world.said.data[0] = '\0';
    }
    assert_int_equal(rc, LS_ENOSPACE);
    assert_true(info_of(&world).memory <= 1 << 21);
    REFUSED(&world, acquire(&world, timestamp, name, W), LS_ENOSPACE, 1 << 21);
    for (uint64_t t = 1; t < timestamp - 1; t++) {
        assert_int_equal(ls_shard_release(world.shard, t), 0);
    }
    seen(&world, timestamp, true);
    seen(&world, timestamp, false);
    while (ls_shard_collect(world.shard, 100)) {
    }
    assert_int_equal(info_of(&world).keys, 0);
    assert_true(info_of(&world).memory < 1 << 20); /* it comes back */
    assert_int_equal(acquire(&world, timestamp, name, W), 0);
    assert_whole(&world);
    world_close(&world);
}

/* ---- opening, and memory that fails ---- */

static void options_that_are_none_are_refused(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    ls_shard *shard = NULL;
    ls_shard_options good = options_of(&world);
    ls_shard_options bad = good;
    assert_int_equal(ls_shard_open(&shard, NULL), LS_EINVAL);
    bad.size = sizeof bad + 1;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad = good;
    bad.out = NULL;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad = good;
    bad.worker_count = 0;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad.worker_count = LS_SHARD_WORKERS_MAX + 1;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad = good;
    bad.workers = (const uint64_t[]){4, 4};
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    assert_null(shard);
    ls_shard_close(NULL);
    buf_free(&world.said);
}

/* A call of which an allocation may fail: then nothing has changed, and it works the next time. */
static void try_again(struct world *world, int (*call)(struct world *world))
{
    struct buf before = {0};
    struct buf after = {0};
    long fails_at = 1;
    for (;; fails_at++) {
        before.size = after.size = 0;
        assert_int_equal(shard_dump(world->shard, &before), 0);
        size_t said = world->said.size;
        faults_fail_allocation(fails_at);
        int rc = call(world);
        faults_fail_allocation(0);
        if (rc == 0) {
            break;
        }
        assert_int_equal(rc, LS_ENOMEM);
        assert_int_equal(world->said.size, said);
        assert_int_equal(shard_dump(world->shard, &after), 0);
        assert_int_equal(after.size, before.size);
        assert_memory_equal(after.data, before.data, after.size);
        assert_whole(world);
    }
    buf_free(&before);
    buf_free(&after);
}

static int acquire_some(struct world *world)
{
    uint64_t timestamp = 100 + info_of(world).remembered;
    static char large[5000] = "x";
    ls_shard_lock locks[] = {{key("short"), E | W},
                             {key(LONG_KEY), L | M},
                             {bytes_of(large, sizeof large), W},
                             {key("short too"), W}};
    return ls_shard_acquire(world->shard, timestamp, 1, 9, locks, 4);
}

static int write_long(struct world *world)
{
    return write_value(world, 100, "short", LONG_VALUE);
}

static int write_large(struct world *world)
{
    static char large[5000] = "x";
    return ls_shard_write(world->shard, 100, key(LONG_KEY), LS_SHARD_VALUE,
                          bytes_of(large, sizeof large));
}

static int anchor_some(struct world *world)
{
    return ls_shard_anchor(world->shard, key("chain"), 7, info_of(world).anchors, key("a"), 3);
}

static void an_allocation_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    ls_shard_options options = options_of(&world);
    long fails_at = 1;
    int rc;
    do {
        faults_fail_allocation(fails_at++);
        rc = ls_shard_open(&world.shard, &options);
        faults_fail_allocation(0);
        assert_true(rc == 0 || rc == LS_ENOMEM);
    } while (rc != 0);
    for (int i = 0; i < 100; i++) { /* tables grow on the way */
        try_again(&world, acquire_some);
    }
    try_again(&world, write_long);
    try_again(&world, write_large);
    for (int i = 0; i < 3; i++) {
        try_again(&world, anchor_some);
    }
    assert_int_equal(info_of(&world).open, 100);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_that_are_none_are_refused),
        cmocka_unit_test(a_lock_below_what_was_promised_is_too_old),
        cmocka_unit_test(a_call_without_its_lock_is_refused),
        cmocka_unit_test(an_anchor_out_of_turn_is_refused),
        cmocka_unit_test(a_shard_that_may_hold_no_more_says_so),
        cmocka_unit_test(options_that_are_none_are_refused),
        cmocka_unit_test(an_allocation_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
