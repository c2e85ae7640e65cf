/* SPDX-License-Identifier: Apache-2.0 */
/* The scale model: when nodes tick, what they do then, and that a seed decides all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "faults.h"
#include "model/scale.h"

#define SECOND SCALE_NS_PER_SECOND

static struct scale scale;

static struct decimal decimal(const char *text)
{
    struct decimal value;
    assert_true(decimal_parse(text, strlen(text), &value));
    return value;
}

static struct scale_options options_of(uint32_t nodes, uint64_t seconds)
{
    return (struct scale_options){.nodes = nodes,
                                  .seed = 1,
                                  .duration_ns = seconds * SECOND,
                                  .rate_least = {1, 0},
                                  .rate_most = {6, 0},
                                  .internal = chance_of(7, 10)};
}

static void open_scale(struct scale_options options)
{
    struct ls_error error;
    int rc = scale_open(&scale, &options, &error);
    if (rc != 0) {
        fail_msg("%s", error.text);
    }
}

/* The next tick; false at the end. */
static bool step(struct scale_event *event)
{
    struct ls_error error;
    int rc = scale_step(&scale, event, &error);
    if (rc < 0) {
        fail_msg("%s", error.text);
    }
    return rc > 0;
}

/* ---- decimals ---- */

static void decimals_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t digits;
        unsigned places;
    } good[] = {{"0", 0, 0},
                {"6", 6, 0},
                {"0.001", 1, 3},
                {".5", 5, 1},
                {"1.50", 15, 1},
                {"10.00", 10, 0},
                {"5.", 5, 0},
                {"1000000", 1000000, 0},
                {"0.100100", 1001, 4},
                {"0.0", 0, 0},
                {"0.123456789", 123456789, 9},
                {"007", 7, 0}};
    static const char *const bad[] = {
        "", ".", "-1", "1e6", "1.2.3", " 1", "x", "0.1234567891", "1000000000000000001", "1,5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct decimal value = decimal(good[i].text);
        assert_int_equal(value.digits, good[i].digits);
        assert_int_equal(value.places, good[i].places);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct decimal value;
        if (decimal_parse(bad[i], strlen(bad[i]), &value)) {
            fail_msg("'%s' was read", bad[i]);
        }
    }
}

static void decimals_are_written_as_people_do(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",   "6",       "0.001",        "0.5",
                                        "1.5", "1000000", "123.000000001"};
    char out[DECIMAL_TEXT_SIZE];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(decimal_text(decimal(texts[i]), out), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
    }
}

static void means_are_rounded_half_up_to_three_places(void **state)
{
    (void)state;
    static const struct {
        uint64_t sum, count;
        const char *mean;
    } cases[] = {{0, 0, "0.000"},
                 {1, 3, "0.333"},
                 {2, 3, "0.667"},
                 {1, 2000, "0.001"},
                 {1, 2001, "0.000"},
                 {60, 60, "1.000"},
                 {UINT64_MAX, 1000, "18446744073709551.615"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[DECIMAL_TEXT_SIZE];
        decimal_mean(cases[i].sum, cases[i].count, out);
        assert_string_equal(out, cases[i].mean);
    }
}

/* ---- ticks ---- */

/* One node of a rate must tick at floor(n * 10^9 / rate), and at nothing else, until the end. */
static void expect_ticks(const char *rate, uint64_t duration_ns, uint64_t count)
{
    struct decimal value = decimal(rate);
    struct scale_event event;
    struct scale_options options = options_of(1, 0);
    uint64_t n = 0;
    options.rates = &value;
    options.duration_ns = duration_ns;
    open_scale(options);
    while (step(&event)) {
        kernel_wide exact = (kernel_wide)++n * SECOND * decimal_power(value.places) / value.digits;
        if (event.time_ns != (uint64_t)exact || event.seq != n) {
            fail_msg("tick %llu of rate %s at %llu, not %llu", (unsigned long long)n, rate,
                     (unsigned long long)event.time_ns, (unsigned long long)exact);
        }
    }
    assert_int_equal(n, count);
    assert_int_equal(scale.kernel.now_ns, duration_ns);
    scale_close(&scale);
}

static void tick_n_is_at_n_by_the_rate_exactly(void **state)
{
    (void)state;
    expect_ticks("0.001", 100000 * SECOND, 100);
    expect_ticks("0.001", 100000 * SECOND - 1, 99);
    expect_ticks("1000000", SECOND / 2, 500000);
    expect_ticks("3", 1000 * SECOND, 3000);
    expect_ticks("7", 10000 * SECOND, 70000);
    expect_ticks("0.333333333", 3000 * SECOND, 999);
    expect_ticks("999999.999999999", SECOND / 10, 100000);
    expect_ticks("999999.999999999", 1001 * SECOND / 1000, 1001000);
    expect_ticks("1000000000", 1000, 1000);
    expect_ticks("6", 0, 0);
}

static void rates_are_drawn_from_the_range_in_steps_of_its_last_place(void **state)
{
    (void)state;
    struct scale_options options = options_of(3000, 0);
    uint32_t counts[11] = {0};
    options.rate_least = decimal("0.5");
    options.rate_most = decimal("1.5");
    open_scale(options);
    assert_int_equal(scale.rate_places, 1);
    for (uint32_t i = 0; i < 3000; i++) {
        assert_in_range(scale.nodes[i].rate, 5, 15);
        counts[scale.nodes[i].rate - 5]++;
    }
    for (size_t i = 0; i < 11; i++) {
        assert_in_range(counts[i], 200, 350);
    }
    scale_close(&scale);
}

/* ---- what happens at a tick ---- */

/* A message as the test knows it: who sent it, when, at which clock, and to whom. */
struct posted {
    uint64_t clock;
    uint64_t time_ns;
    uint32_t from, to;
    bool received;
};

/* What the test believes of a run, from its events alone. */
struct oracle {
    struct posted *posted;
    size_t count, capacity;
    uint64_t *clocks, *seqs;
    uint64_t receipts;
};

static void oracle_open(struct oracle *oracle, uint32_t nodes, size_t capacity)
{
    *oracle = (struct oracle){.capacity = capacity,
                              .posted = test_calloc(capacity, sizeof *oracle->posted),
                              .clocks = test_calloc(nodes, sizeof(uint64_t)),
                              .seqs = test_calloc(nodes, sizeof(uint64_t))};
}

static void oracle_close(struct oracle *oracle)
{
    test_free(oracle->posted);
    test_free(oracle->clocks);
    test_free(oracle->seqs);
}

static void oracle_post(struct oracle *oracle, const struct scale_event *event, uint32_t to)
{
    assert_true(oracle->count < oracle->capacity);
    oracle->posted[oracle->count++] = (struct posted){
        .clock = event->clock, .time_ns = event->time_ns, .from = event->node, .to = to};
}

/* The peers of a node in the order of their numbers. */
static uint32_t peers_of(uint32_t node, uint32_t *peers)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < scale.node_count; i++) {
        uint32_t ahead = (i + scale.node_count - node) % scale.node_count;
        if (ahead > 0 && (scale.peers == 0 || ahead <= scale.peers)) {
            peers[count++] = i;
        }
    }
    return count;
}

static void oracle_send(struct oracle *oracle, const struct scale_event *event)
{
    uint32_t peers[64];
    uint32_t count = peers_of(event->node, peers);
    uint32_t place = event->kind == SCALE_SEND_SECOND ? 1 : 0;
    if (event->kind == SCALE_BROADCAST) {
        assert_int_equal(event->peer, SCALE_NO_NODE);
        for (uint32_t i = 0; i < count; i++) {
            oracle_post(oracle, event, peers[i]);
        }
    } else if (place < count) {
        assert_int_equal(event->peer, peers[place]);
        oracle_post(oracle, event, peers[place]);
    } else {
        assert_int_equal(event->peer, SCALE_NO_NODE);
    }
}

/* Each message is received at most once, by whom it was sent to, and later than it was sent. */
static void oracle_receive(struct oracle *oracle, const struct scale_event *event,
                           uint64_t latency_ns)
{
    for (size_t i = 0; i < oracle->count; i++) {
        struct posted *posted = &oracle->posted[i];
        if (posted->from == event->peer && posted->to == event->node &&
            posted->clock == event->peer_clock) {
            assert_false(posted->received);
            assert_true(event->time_ns >= posted->time_ns + latency_ns);
            assert_true(event->time_ns > posted->time_ns);
            posted->received = true;
            oracle->receipts++;
            return;
        }
    }
    fail_msg("node %u received what %u did not send at %llu", event->node, event->peer,
             (unsigned long long)event->peer_clock);
}

static void oracle_check(struct oracle *oracle, const struct scale_event *event,
                         uint64_t latency_ns)
{
    uint64_t *clock = &oracle->clocks[event->node];
    uint64_t expected = *clock + 1;
    if (event->kind == SCALE_RECEIVE) {
        oracle_receive(oracle, event, latency_ns);
        expected = (event->peer_clock > *clock ? event->peer_clock : *clock) + 1;
    }
    assert_int_equal(event->clock, expected);
    assert_int_equal(event->jump, expected - *clock);
    assert_int_equal(event->seq, ++oracle->seqs[event->node]);
    *clock = expected;
    if (event->kind != SCALE_INTERNAL && event->kind != SCALE_RECEIVE) {
        oracle_send(oracle, event);
    }
}

static void check_run(struct scale_options options, uint64_t messages_at_least)
{
    struct oracle oracle;
    struct scale_event event;
    uint64_t time_ns = 0;
    oracle_open(&oracle, options.nodes, 200000);
    open_scale(options);
    while (step(&event)) {
        assert_true(event.time_ns >= time_ns);
        time_ns = event.time_ns;
        oracle_check(&oracle, &event, options.latency_ns);
    }
    assert_int_equal(scale.messages, oracle.count);
    assert_int_equal(scale.received, oracle.receipts);
    assert_int_equal(scale.messages, scale.received + scale.kernel.lost + scale.mail.waiting +
                                         scale_in_flight(&scale));
    assert_true(oracle.count >= messages_at_least);
    for (uint32_t i = 0; i < options.nodes; i++) {
        assert_int_equal(scale.nodes[i].tally.clock, oracle.clocks[i]);
        assert_int_equal(scale.nodes[i].tally.ticks, oracle.seqs[i]);
    }
    scale_close(&scale);
    oracle_close(&oracle);
}

static void every_event_follows_the_rules_of_the_clock_and_of_the_relay(void **state)
{
    (void)state;
    struct scale_options options = options_of(3, 60);
    check_run(options, 100);
    options = options_of(2, 60);
    check_run(options, 50);
    options = options_of(20, 20);
    options.latency_ns = 30000000;
    options.jitter_ns = 400000000;
    options.loss = chance_of(1, 10);
    check_run(options, 500);
}

static void in_a_ring_the_peers_are_those_that_follow(void **state)
{
    (void)state;
    for (uint32_t peers = 1; peers < 7; peers++) {
        struct scale_options options = options_of(7, 30);
        options.peers = peers;
        check_run(options, 30);
    }
}

static void a_node_alone_sends_to_nobody(void **state)
{
    (void)state;
    struct scale_event event;
    uint32_t kinds[5] = {0};
    struct scale_options options = options_of(1, 1000);
    options.internal = 0;
    open_scale(options);
    while (step(&event)) {
        kinds[event.kind]++;
        assert_int_equal(event.peer, SCALE_NO_NODE);
        assert_int_equal(event.jump, 1);
    }
    assert_int_equal(scale.messages, 0);
    assert_int_equal(kinds[SCALE_INTERNAL] + kinds[SCALE_RECEIVE], 0);
    for (int kind = SCALE_SEND_ONE; kind <= SCALE_BROADCAST; kind++) {
        assert_in_range(kinds[kind], scale.ticks * 28 / 100, scale.ticks * 39 / 100);
    }
    scale_close(&scale);
}

static void with_internal_1_no_node_ever_sends(void **state)
{
    (void)state;
    struct scale_event event;
    struct scale_options options = options_of(3, 1000);
    options.internal = CHANCE_ALWAYS;
    open_scale(options);
    while (step(&event)) {
        assert_int_equal(event.kind, SCALE_INTERNAL);
    }
    assert_int_equal(scale.messages, 0);
    scale_close(&scale);
}

static void with_internal_0_a_node_sends_whenever_its_queue_is_empty(void **state)
{
    (void)state;
    struct scale_options options = options_of(3, 60);
    options.internal = 0;
    check_run(options, 200);
    struct scale_event event;
    open_scale(options);
    while (step(&event)) {
        assert_int_not_equal(event.kind, SCALE_INTERNAL);
    }
    scale_close(&scale);
}

static void with_loss_1_nothing_arrives(void **state)
{
    (void)state;
    struct scale_event event;
    struct scale_options options = options_of(3, 60);
    options.loss = CHANCE_ALWAYS;
    open_scale(options);
    while (step(&event)) {
        assert_int_not_equal(event.kind, SCALE_RECEIVE);
    }
    assert_true(scale.messages > 0);
    assert_int_equal(scale.kernel.lost, scale.messages);
    scale_close(&scale);
}

/* ---- limits ---- */

static void a_clock_at_its_end_ends_the_run_and_never_wraps(void **state)
{
    (void)state;
    struct scale_event event;
    struct ls_error error;
    struct scale_options options = options_of(3, 60);
    uint64_t last = 0;
    int rc;
    options.start_clock = UINT64_MAX - 40;
    open_scale(options);
    while ((rc = scale_step(&scale, &event, &error)) > 0) {
        assert_true(event.clock > options.start_clock);
        last = event.clock > last ? event.clock : last;
    }
    assert_int_equal(rc, LS_ECLOCKJUMP);
    assert_true(last >= UINT64_MAX - 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(scale.nodes[i].tally.clock >= options.start_clock);
    }
    scale_close(&scale);
}

static void too_many_messages_on_their_way_end_the_run(void **state)
{
    (void)state;
    struct scale_event event;
    struct ls_error error;
    struct scale_options options = options_of(30, 60);
    int rc;
    options.latency_ns = 100 * SECOND;
    open_scale(options);
    scale.kernel.events_max = 100;
    while ((rc = scale_step(&scale, &event, &error)) > 0) {
    }
    assert_int_equal(rc, LS_ENOSPACE);
    assert_string_equal(error.text, "more than 67108864 messages are on their way");
    scale_close(&scale);
}

static void refuse(struct scale_options options, const char *sentence)
{
    struct ls_error error;
    assert_int_equal(scale_open(&scale, &options, &error), LS_EINVAL);
    assert_string_equal(error.text, sentence);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    struct scale_options options = options_of(0, 1);
    refuse(options, "there are 1 to 1000000 nodes, not 0");
    options = options_of(3, 1);
    options.peers = 3;
    refuse(options, "a node of 3 has at most 2 peers, not 3");
    refuse(options_of(SCALE_STAR_MAX + 1, 1),
           "more than 10000 nodes that all send to all are too many: give each a number of peers");
    options = options_of(3, 1);
    options.rate_least = (struct decimal){0, 0};
    refuse(options, "a rate is more than 0 and at most 1000000000 ticks a second, not 0");
    options.rate_least = (struct decimal){7, 0};
    refuse(options, "the least rate is above the greatest");
    options = options_of(3, 1);
    options.jitter_ns = SCALE_DURATION_MAX + 1;
    refuse(options, "a time is at most 1000000000 seconds");
}

static void a_million_nodes_tick(void **state)
{
    (void)state;
    struct scale_event event;
    struct scale_options options = options_of(1000000, 1);
    uint64_t ticks = 0;
    options.peers = 2;
    options.duration_ns = SECOND / 2;
    open_scale(options);
    while (step(&event)) {
        ticks++;
    }
    /* In half a second rates 1 to 6 make 0, 1, 1, 2, 2, 3 ticks. */
    assert_in_range(ticks, 1490000, 1510000);
    scale_close(&scale);
}

/* ---- seeds ---- */

static uint64_t digest(struct scale_options options)
{
    struct scale_event event;
    uint64_t hash = 0;
    open_scale(options);
    while (step(&event)) {
        const uint64_t fields[] = {event.kind, event.node,    event.queue_length, event.peer,
                                   event.seq,  event.time_ns, event.clock,        event.peer_clock};
        hash = hash64(fields, sizeof fields, hash);
    }
    scale_close(&scale);
    return hash;
}

/* Whatever compiler, whatever sanitizer, whatever machine of this byte order. */
static void a_seed_gives_the_same_run_everywhere(void **state)
{
    (void)state;
    struct scale_options options = options_of(3, 600);
    uint64_t plain = digest(options);
    assert_int_equal(digest(options), plain);
    assert_int_equal(plain, UINT64_C(0xf0f361bb5014a47d));
    options.peers = 2;
    options.nodes = 1000;
    options.rate_least = decimal("0.001");
    options.rate_most = decimal("99.99");
    options.latency_ns = 12345678;
    options.jitter_ns = 7654321;
    options.loss = chance_of(3, 100);
    options.duration_ns = 7 * SECOND;
    uint64_t all = digest(options);
    assert_int_equal(all, UINT64_C(0xe42bdfe589217661));
    options.seed = 2;
    assert_int_not_equal(digest(options), all);
}

static void run_without_memory(void *context, long n)
{
    (void)context;
    struct scale_options options = options_of(50, 40);
    struct scale_event event;
    struct ls_error error;
    int rc;
    faults_fail_allocation(n);
    if (scale_open(&scale, &options, &error) != 0) {
        assert_int_equal(error.code, LS_ENOMEM);
        return;
    }
    while ((rc = scale_step(&scale, &event, &error)) > 0) {
    }
    assert_true(rc == 0 || (rc == LS_ENOMEM && error.code == LS_ENOMEM));
    scale_close(&scale);
}

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    faults_each_allocation(run_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimals_are_read_exactly),
        cmocka_unit_test(decimals_are_written_as_people_do),
        cmocka_unit_test(means_are_rounded_half_up_to_three_places),
        cmocka_unit_test(tick_n_is_at_n_by_the_rate_exactly),
        cmocka_unit_test(rates_are_drawn_from_the_range_in_steps_of_its_last_place),
        cmocka_unit_test(every_event_follows_the_rules_of_the_clock_and_of_the_relay),
        cmocka_unit_test(in_a_ring_the_peers_are_those_that_follow),
        cmocka_unit_test(a_node_alone_sends_to_nobody),
        cmocka_unit_test(with_internal_1_no_node_ever_sends),
        cmocka_unit_test(with_internal_0_a_node_sends_whenever_its_queue_is_empty),
        cmocka_unit_test(with_loss_1_nothing_arrives),
        cmocka_unit_test(a_clock_at_its_end_ends_the_run_and_never_wraps),
        cmocka_unit_test(too_many_messages_on_their_way_end_the_run),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_million_nodes_tick),
        cmocka_unit_test(a_seed_gives_the_same_run_everywhere),
        cmocka_unit_test(each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
