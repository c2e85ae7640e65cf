/* SPDX-License-Identifier: Apache-2.0 */
/* The simulation kernel: order, generator, network, lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "model/kernel.h"

enum { KIND_NUMBERED, KIND_MESSAGE };

static struct kernel kernel;

static void open_kernel(struct kernel_options options)
{
    struct ls_error error;
    assert_int_equal(kernel_open(&kernel, &options, &error), 0);
}

static uint64_t next_value(uint64_t until_ns)
{
    struct kernel_event event;
    return kernel_next(&kernel, until_ns, &event) ? event.value : UINT64_MAX;
}

static void events_come_in_order_of_time(void **state)
{
    (void)state;
    static const uint64_t times[] = {7, 3, 1000000007, 5, KERNEL_TIME_MAX, 0, 64, 63};
    static const uint64_t sorted[] = {0, 3, 5, 7, 63, 64, 1000000007, KERNEL_TIME_MAX};
    open_kernel((struct kernel_options){.nodes = 1});
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_int_equal(kernel_at(&kernel, times[i], 0, KIND_NUMBERED, times[i]), 0);
    }
    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++) {
        assert_int_equal(kernel_next_time(&kernel), sorted[i]);
        assert_int_equal(next_value(KERNEL_TIME_MAX), sorted[i]);
        assert_int_equal(kernel.now_ns, sorted[i]);
    }
    assert_int_equal(kernel_next_time(&kernel), UINT64_MAX);
    kernel_close(&kernel);
}

static void events_of_one_time_come_in_the_order_they_were_scheduled(void **state)
{
    (void)state;
    open_kernel((struct kernel_options){.nodes = 1});
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(kernel_at(&kernel, 1000, 0, KIND_NUMBERED, i), 0);
        assert_int_equal(kernel_at(&kernel, 900 + i % 7, 0, KIND_NUMBERED, 1000), 0);
    }
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(next_value(KERNEL_TIME_MAX), 1000);
    }
    assert_int_equal(kernel_at(&kernel, 1000, 0, KIND_NUMBERED, 100), 0);
    for (uint64_t i = 0; i <= 100; i++) {
        assert_int_equal(next_value(KERNEL_TIME_MAX), i);
        if (i == 50) {
            assert_int_equal(kernel_at(&kernel, 1000, 0, KIND_NUMBERED, 101), 0);
        }
    }
    assert_int_equal(next_value(KERNEL_TIME_MAX), 101);
    kernel_close(&kernel);
}

/* Against the plainest queue there is: a list from which the first of the least is taken. */
#define LIST_MAX 4096

static void a_long_random_run_is_that_of_a_plain_list(void **state)
{
    (void)state;
    static uint64_t times[LIST_MAX];
    static uint64_t values[LIST_MAX];
    size_t count = 0;
    struct kernel_random random;
    kernel_random_seed(&random, 7);
    open_kernel((struct kernel_options){.nodes = 1});
    for (uint64_t step = 0; step < 60000; step++) {
        if (count < LIST_MAX && kernel_random_below(&random, 100) < 51) {
            unsigned bits = (unsigned)kernel_random_below(&random, 40);
            uint64_t delay = kernel_random_below(&random, (uint64_t)1 << bits);
            times[count] = kernel.now_ns + delay;
            values[count++] = step;
            assert_int_equal(kernel_at(&kernel, kernel.now_ns + delay, 0, KIND_NUMBERED, step), 0);
        } else if (count > 0) {
            size_t first = 0;
            for (size_t i = 1; i < count; i++) {
                first = times[i] < times[first] ? i : first;
            }
            assert_int_equal(next_value(KERNEL_TIME_MAX), values[first]);
            assert_int_equal(kernel.now_ns, times[first]);
            count--;
            memmove(times + first, times + first + 1, (count - first) * sizeof *times);
            memmove(values + first, values + first + 1, (count - first) * sizeof *values);
        }
        assert_int_equal(kernel.queue.count, count);
    }
    kernel_close(&kernel);
}

static void time_moves_on_to_the_limit_where_nothing_is_due(void **state)
{
    (void)state;
    open_kernel((struct kernel_options){.nodes = 1});
    assert_int_equal(kernel_at(&kernel, 50, 0, KIND_NUMBERED, 1), 0);
    assert_int_equal(next_value(49), UINT64_MAX);
    assert_int_equal(kernel.now_ns, 49);
    assert_int_equal(kernel_at(&kernel, 49, 0, KIND_NUMBERED, 2), 0);
    assert_int_equal(next_value(50), 2);
    assert_int_equal(next_value(50), 1);
    kernel_close(&kernel);
}

static void the_numbers_of_a_seed_are_always_the_same(void **state)
{
    (void)state;
    /* The published xoshiro256** from the state 1, 2, 3, 4. */
    static const uint64_t published[] = {11520, 0, 1509978240, 1215971899390074240};
    struct kernel_random random = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        assert_int_equal(kernel_random_next(&random), published[i]);
    }
    /* The published splitmix64 from 0, which fills the state. */
    kernel_random_seed(&random, 0);
    assert_int_equal(random.state[0], 0xe220a8397b1dcdaf);
    assert_int_equal(random.state[1], 0x6e789e6aa1b965f4);
}

static void numbers_below_a_limit_are_spread_evenly(void **state)
{
    (void)state;
    struct kernel_random random;
    uint64_t counts[6] = {0};
    kernel_random_seed(&random, 1);
    for (int i = 0; i < 60000; i++) {
        uint64_t number = kernel_random_below(&random, 6);
        assert_true(number < 6);
        counts[number]++;
    }
    for (size_t i = 0; i < 6; i++) {
        assert_in_range(counts[i], 9700, 10300);
    }
}

static void a_chance_of_0_never_and_of_1_always_comes_true(void **state)
{
    (void)state;
    struct kernel_random random;
    int thirds = 0;
    kernel_random_seed(&random, 1);
    assert_int_equal(chance_of(1, 1), CHANCE_ALWAYS);
    for (int i = 0; i < 30000; i++) {
        assert_false(kernel_random_chance(&random, chance_of(0, 5)));
        assert_true(kernel_random_chance(&random, chance_of(5, 5)));
        thirds += kernel_random_chance(&random, chance_of(1, 3));
    }
    assert_in_range(thirds, 9700, 10300);
}

static void a_message_takes_the_latency_and_up_to_the_jitter_more(void **state)
{
    (void)state;
    struct kernel_event event;
    uint64_t least = UINT64_MAX, most = 0;
    open_kernel((struct kernel_options){
        .seed = 3, .nodes = 2, .network = {.latency_ns = 100, .jitter_ns = 10}});
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, i), 1);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(kernel_next(&kernel, 1000, &event));
        assert_int_equal(event.node, 1);
        assert_int_equal(event.from, 0);
        assert_int_equal(event.kind, KIND_MESSAGE);
        least = event.time_ns < least ? event.time_ns : least;
        most = event.time_ns > most ? event.time_ns : most;
    }
    assert_int_equal(least, 100);
    assert_int_equal(most, 110);
    kernel_close(&kernel);
}

/* How many of 1000 messages, sent one each nanosecond, came after one that was sent later. */
static int overtaken(bool ordered)
{
    struct kernel_event event;
    uint64_t latest = 0;
    int count = 0;
    open_kernel((struct kernel_options){
        .seed = 4, .nodes = 2, .network = {.jitter_ns = 50, .ordered = ordered}});
    for (uint64_t i = 0; i < 1000; i++) {
        while (kernel_next(&kernel, i, &event)) {
            count += event.value < latest;
            latest = event.value > latest ? event.value : latest;
        }
        assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, i), 1);
    }
    kernel_close(&kernel);
    return count;
}

static void jitter_reorders_messages_unless_they_are_ordered(void **state)
{
    (void)state;
    assert_in_range(overtaken(false), 100, 1000);
    assert_int_equal(overtaken(true), 0);
}

static void messages_are_lost_and_doubled_by_chance(void **state)
{
    (void)state;
    int copies[3] = {0};
    open_kernel((struct kernel_options){
        .seed = 5, .nodes = 2, .network = {.loss = chance_of(1, 10), .doubling = chance_of(1, 3)}});
    for (uint64_t i = 0; i < 10000; i++) {
        int sent = kernel_send(&kernel, 0, 1, KIND_MESSAGE, i);
        assert_in_range(sent, 0, 2);
        copies[sent]++;
    }
    assert_in_range(copies[0], 900, 1100);
    assert_in_range(copies[2], 2850, 3150);
    assert_int_equal(kernel.lost, copies[0]);
    assert_int_equal(kernel.queue.count, copies[1] + 2 * copies[2]);
    kernel_close(&kernel);
}

static void a_partition_cuts_what_is_sent_and_what_is_under_way_until_it_heals(void **state)
{
    (void)state;
    struct kernel_event event;
    open_kernel((struct kernel_options){.nodes = 3, .network = {.latency_ns = 10}});
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 1), 1);
    kernel_partition(&kernel, 1, 1);
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 2), 0);
    assert_int_equal(kernel_send(&kernel, 0, 2, KIND_MESSAGE, 3), 1);
    assert_true(kernel_next(&kernel, 10, &event));
    assert_int_equal(event.value, 1);
    assert_int_equal(event.fate, KERNEL_CUT);
    assert_true(kernel_next(&kernel, 10, &event));
    assert_int_equal(event.value, 3);
    assert_int_equal(event.fate, KERNEL_HAPPENS);
    assert_int_equal(kernel.lost, 2);
    kernel_heal(&kernel);
    assert_true(kernel_connected(&kernel, 0, 1));
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 4), 1);
    assert_true(kernel_next(&kernel, 20, &event));
    assert_int_equal(event.fate, KERNEL_HAPPENS);
    kernel_close(&kernel);
}

static void a_crash_ends_timers_and_messages_of_that_life_and_no_others(void **state)
{
    (void)state;
    struct kernel_event event;
    open_kernel((struct kernel_options){.nodes = 2, .network = {.latency_ns = 10}});
    assert_int_equal(kernel_timer(&kernel, 20, 1, KIND_NUMBERED, 1), 0);
    assert_int_equal(kernel_at(&kernel, 20, 1, KIND_NUMBERED, 2), 0);
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 3), 1);
    assert_int_equal(kernel_send(&kernel, 1, 0, KIND_MESSAGE, 4), 1);
    kernel_crash(&kernel, 1);
    assert_false(kernel_is_up(&kernel, 1));
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 5), 0);
    assert_int_equal(kernel_send(&kernel, 1, 0, KIND_MESSAGE, 6), 0);
    kernel_restart(&kernel, 1);
    assert_int_equal(kernel_timer(&kernel, 20, 1, KIND_NUMBERED, 7), 0);

    static const struct {
        uint64_t value;
        enum kernel_fate fate;
    } expected[] = {{3, KERNEL_DEAD},
                    {4, KERNEL_HAPPENS},
                    {1, KERNEL_DEAD},
                    {2, KERNEL_HAPPENS},
                    {7, KERNEL_HAPPENS}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(kernel_next(&kernel, 20, &event));
        assert_int_equal(event.value, expected[i].value);
        assert_int_equal(event.fate, expected[i].fate);
    }
    assert_false(kernel_next(&kernel, 20, &event));
    kernel_close(&kernel);
}

static void more_events_than_allowed_are_refused_and_the_others_stay(void **state)
{
    (void)state;
    open_kernel((struct kernel_options){.nodes = 2, .events_max = 2});
    assert_int_equal(kernel_at(&kernel, 1, 0, KIND_NUMBERED, 1), 0);
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 2), 1);
    assert_int_equal(kernel_at(&kernel, 1, 0, KIND_NUMBERED, 3), LS_ENOSPACE);
    assert_int_equal(kernel_send(&kernel, 0, 1, KIND_MESSAGE, 4), LS_ENOSPACE);
    assert_int_equal(next_value(1), 2);
    assert_int_equal(next_value(1), 1);
    assert_int_equal(next_value(1), UINT64_MAX);
    kernel_close(&kernel);
}

static void too_many_nodes_are_refused(void **state)
{
    (void)state;
    struct ls_error error;
    struct kernel_options options = {.nodes = KERNEL_NODES_MAX + 1};
    assert_int_equal(kernel_open(&kernel, &options, &error), LS_EINVAL);
    assert_int_equal(error.number, KERNEL_NODES_MAX);
    options = (struct kernel_options){.nodes = KERNEL_ORDERED_MAX + 1, .network.ordered = true};
    assert_int_equal(kernel_open(&kernel, &options, &error), LS_EINVAL);
    assert_int_equal(error.number, KERNEL_ORDERED_MAX);
}

static void what_is_pending_can_be_drained(void **state)
{
    (void)state;
    struct kernel_event event;
    uint64_t sum = 0;
    open_kernel((struct kernel_options){.nodes = 1});
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(kernel_at(&kernel, i * i, 0, KIND_NUMBERED, i), 0);
    }
    while (kernel_drain(&kernel, &event)) {
        sum += event.value;
    }
    assert_int_equal(sum, 5050);
    assert_int_equal(kernel.now_ns, 0);
    kernel_close(&kernel);
}

static void run_without_memory(void *context, long n)
{
    (void)context;
    struct kernel_options options = {.nodes = 3, .network.ordered = true};
    struct ls_error error;
    struct kernel_event event;
    uint64_t put = 0, taken = 0;

    faults_fail_allocation(n);
    if (kernel_open(&kernel, &options, &error) != 0) {
        assert_int_equal(error.code, LS_ENOMEM);
        return;
    }
    for (uint64_t i = 0; i < 5000; i++) {
        int rc = kernel_at(&kernel, i * 7919 % 5003 * 1000, 0, KIND_NUMBERED, i);
        assert_true(rc == 0 || rc == LS_ENOMEM);
        put += rc == 0;
    }
    while (kernel_next(&kernel, KERNEL_TIME_MAX, &event)) {
        taken++;
    }
    assert_int_equal(taken, put);
    kernel_close(&kernel);
}

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    faults_each_allocation(run_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order_of_time),
        cmocka_unit_test(events_of_one_time_come_in_the_order_they_were_scheduled),
        cmocka_unit_test(a_long_random_run_is_that_of_a_plain_list),
        cmocka_unit_test(time_moves_on_to_the_limit_where_nothing_is_due),
        cmocka_unit_test(the_numbers_of_a_seed_are_always_the_same),
        cmocka_unit_test(numbers_below_a_limit_are_spread_evenly),
        cmocka_unit_test(a_chance_of_0_never_and_of_1_always_comes_true),
        cmocka_unit_test(a_message_takes_the_latency_and_up_to_the_jitter_more),
        cmocka_unit_test(jitter_reorders_messages_unless_they_are_ordered),
        cmocka_unit_test(messages_are_lost_and_doubled_by_chance),
        cmocka_unit_test(a_partition_cuts_what_is_sent_and_what_is_under_way_until_it_heals),
        cmocka_unit_test(a_crash_ends_timers_and_messages_of_that_life_and_no_others),
        cmocka_unit_test(more_events_than_allowed_are_refused_and_the_others_stay),
        cmocka_unit_test(too_many_nodes_are_refused),
        cmocka_unit_test(what_is_pending_can_be_drained),
        cmocka_unit_test(each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
