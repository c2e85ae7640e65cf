/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table from numbers to pointers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/hash.h"
#include "faults.h"
#include "lockstep.h"
#include "server/map.h"

#define NUMBERS 4096

static char things[NUMBERS];

/* A number that is one of few, so that they meet: consecutive, and far apart. */
static uint64_t number_of(size_t i)
{
    return i % 2 == 0 ? i : UINT64_MAX - i * UINT64_C(0x100000000);
}

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct map map = {0};
    assert_null(map_get(&map, 0));
    map_remove(&map, 0);
    assert_int_equal(map.count, 0);
    map_free(&map);
}

static void what_was_put_is_found_until_it_is_removed(void **state)
{
    (void)state;
    struct map map = {0};
    bool there[NUMBERS] = {false};
    size_t count = 0;
    uint64_t random = 1;
    for (size_t step = 0; step < 200000; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        size_t i = (random >> 33) % (step < 100000 ? NUMBERS : 64);
        if (there[i]) {
            map_remove(&map, number_of(i));
        } else {
            assert_int_equal(map_put(&map, number_of(i), &things[i]), 0);
        }
        there[i] = !there[i];
        count = there[i] ? count + 1 : count - 1;
        assert_int_equal(map.count, count);
        if (step % 1000 == 0) {
            for (size_t k = 0; k < NUMBERS; k++) {
                assert_ptr_equal(map_get(&map, number_of(k)), there[k] ? &things[k] : NULL);
            }
        }
    }
    map_free(&map);
}

static void it_gives_its_memory_back(void **state)
{
    (void)state;
    struct map map = {0};
    for (size_t i = 0; i < NUMBERS; i++) {
        assert_int_equal(map_put(&map, number_of(i), &things[i]), 0);
    }
    size_t most = map.capacity;
    for (size_t i = 0; i + 1 < NUMBERS; i++) {
        map_remove(&map, number_of(i));
    }
    assert_true(map.capacity < most / 64);
    map_remove(&map, number_of(NUMBERS - 1));
    assert_null(map.slots);
}

static void without_memory_it_stays_as_it_is(void **state)
{
    (void)state;
    struct map map = {0};
    size_t put = 0;
    for (size_t i = 0; i < 100; i++) {
        faults_fail_allocation(1);
        int rc = map_put(&map, i, &things[i]);
        faults_fail_allocation(0);
        if (rc != 0) {
            assert_int_equal(rc, LS_ENOMEM);
            assert_null(map_get(&map, i));
            assert_int_equal(map.count, put);
            assert_int_equal(map_put(&map, i, &things[i]), 0);
        }
        put++;
    }
    for (size_t i = 0; i < 100; i++) {
        faults_fail_allocation(1);
        map_remove(&map, i);
        faults_fail_allocation(0);
        assert_null(map_get(&map, i));
        for (size_t k = i + 1; k < 100; k++) {
            assert_ptr_equal(map_get(&map, k), &things[k]);
        }
    }
}

/* The longest run of slots that are taken. */
static size_t longest_run(const struct map *map)
{
    size_t run = 0;
    size_t longest = 0;
    for (size_t i = 0; i < 2 * map->capacity; i++) { /* a run may go over the end */
        run = map->slots[i % map->capacity].value != NULL ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void numbers_that_meet_under_one_seed_do_not_under_another(void **state)
{
    (void)state;
    struct map maps[] = {{.seed = 1}, {.seed = 2}};
    size_t count = 0;
    for (uint64_t number = 0; count < 256; number++) {
        if (hash64_number(number, 1) % 4096 == 0) {
            assert_int_equal(map_put(&maps[0], number, &things[count]), 0);
            assert_int_equal(map_put(&maps[1], number, &things[count]), 0);
            count++;
        }
    }
    assert_int_equal(longest_run(&maps[0]), count);
    assert_true(longest_run(&maps[1]) < 64);
    for (size_t i = 0; i < 2; i++) {
        map_free(&maps[i]);
        assert_int_equal(maps[i].seed, i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(what_was_put_is_found_until_it_is_removed),
        cmocka_unit_test(it_gives_its_memory_back),
        cmocka_unit_test(without_memory_it_stays_as_it_is),
        cmocka_unit_test(numbers_that_meet_under_one_seed_do_not_under_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
