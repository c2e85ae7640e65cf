/* SPDX-License-Identifier: Apache-2.0 */
/* The Lamport clock: it only grows, and refuses to jump too far or to pass its end. */
#include "codec/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_tick_adds_its_count(void **state)
{
    (void)state;
    uint64_t clock = 0;
    assert_int_equal(clock_tick(&clock, 1, NULL), 0);
    assert_int_equal(clock, 1);
    assert_int_equal(clock_tick(&clock, 1000, NULL), 0);
    assert_int_equal(clock, 1001);
}

static void a_witness_is_one_past_the_greater_of_both(void **state)
{
    (void)state;
    static const struct {
        uint64_t clock, seen, after;
    } cases[] = {
        {0, 0, 1},
        {5, 3, 6},
        {5, 5, 6},
        {5, 6, 7},
        {5, 1000, 1001},
        {5, 5 + CLOCK_JUMP_MAX, 6 + CLOCK_JUMP_MAX},
        {UINT64_MAX - 1, 0, UINT64_MAX},
        {UINT64_MAX - 2, UINT64_MAX - 1, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t clock = cases[i].clock;
        assert_int_equal(clock_witness(&clock, cases[i].seen, NULL), 0);
        assert_int_equal(clock, cases[i].after);
    }
}

static void a_value_too_far_ahead_is_refused(void **state)
{
    (void)state;
    struct ls_error error;
    uint64_t clock = 5;
    assert_int_equal(clock_witness(&clock, 6 + CLOCK_JUMP_MAX, &error), LS_ECLOCKJUMP);
    assert_int_equal(error.code, LS_ECLOCKJUMP);
    assert_int_equal(error.number, 5);
    assert_int_equal(clock, 5);
    assert_int_equal(clock_witness(&clock, UINT64_MAX, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock, 5);
}

static void the_clock_stops_at_its_end(void **state)
{
    (void)state;
    struct ls_error error;
    uint64_t clock = UINT64_MAX - 2;
    assert_int_equal(clock_tick(&clock, 3, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock, UINT64_MAX - 2);
    assert_int_equal(clock_tick(&clock, 2, &error), 0);
    assert_int_equal(clock, UINT64_MAX);
    assert_int_equal(clock_tick(&clock, 1, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock_tick(&clock, UINT64_MAX, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock_witness(&clock, 0, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock_witness(&clock, UINT64_MAX, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock, UINT64_MAX);

    clock = UINT64_MAX - 1;
    assert_int_equal(clock_witness(&clock, UINT64_MAX, &error), LS_ECLOCKJUMP);
    assert_int_equal(clock, UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_adds_its_count),
        cmocka_unit_test(a_witness_is_one_past_the_greater_of_both),
        cmocka_unit_test(a_value_too_far_ahead_is_refused),
        cmocka_unit_test(the_clock_stops_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
