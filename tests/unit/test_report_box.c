/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a box as a history: who its nodes are, their numbers, the links, the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "model/report_box.h"

#define EPOCH_NS UINT64_C(1700000000000000000)

static void add(struct report_box *box, uint64_t clock, uint64_t after_ns, const char *from,
                const char *to)
{
    const ls_message message = {
        .clock = clock,
        .timestamp_ns = EPOCH_NS + after_ns,
        .type = LS_USER,
        .from = bytes_of_text(from),
        .to = bytes_of_text(to),
    };
    struct ls_error error = {0};
    assert_int_equal(report_box_add(box, &message, "user", &error), 0);
}

static void fill(struct report_box *box, struct report *report)
{
    struct ls_error error = {0};
    assert_int_equal(report_box_fill(box, report, &error), 0);
}

static const struct report_node *node_of(const struct report *report, const char *name)
{
    for (size_t i = 0; i < report->nodes_count; i++) {
        if (bytes_equal(report->nodes[i].name, bytes_of_text(name))) {
            return &report->nodes[i];
        }
    }
    fail_msg("there is no node %s", name);
    return NULL;
}

static void expect_text(ls_bytes text, const char *expected)
{
    if (!bytes_equal(text, bytes_of_text(expected))) {
        fail_msg("%.*s, not %s", (int)text.size, (const char *)text.data, expected);
    }
}

static void a_node_has_the_numbers_of_its_messages(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    add(box, 10, 0, "a", "");
    add(box, 11, 5, "b", "");
    add(box, 14, 6, "a", "b");
    add(box, 19, 9, "a", "");
    fill(box, &report);

    assert_int_equal(report_box_messages(box), 4);
    assert_int_equal(report.source, REPORT_OF_BOX);
    assert_int_equal(report.nodes_count, 2);
    assert_true(report.start_ns == EPOCH_NS);
    assert_int_equal(report.duration_ns, 9);
    assert_int_equal(report.fastest, REPORT_NO_NODE);

    const struct report_node *a = node_of(&report, "a");
    assert_int_equal(a->sent, 3);
    assert_int_equal(a->received, 0);
    assert_int_equal(a->final_clock, 19);
    assert_int_equal(a->max_jump, 5);
    expect_text(a->mean_jump, "4.500");
    assert_int_equal(a->jumps[report_jump_class(4)], 1);
    assert_int_equal(a->jumps[report_jump_class(5)], 1);
    assert_int_equal(a->drift, 0);
    assert_int_equal(a->samples_count, 3);
    assert_int_equal(a->samples[1].time_ns, 6);
    assert_int_equal(a->samples[1].clock, 14);

    const struct report_node *b = node_of(&report, "b");
    assert_int_equal(b->sent, 1);
    assert_int_equal(b->received, 1);
    assert_int_equal(b->drift, 8);
    expect_text(b->mean_jump, "");
    report_box_free(box);
}

static void a_message_for_one_node_is_linked_to_it(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    add(box, 7, 0, "a", "b");
    fill(box, &report);

    assert_int_equal(report.events_count, 2);
    const struct report_event *send = &report.events[0];
    const struct report_event *mark = &report.events[1];
    assert_int_equal(send->kind, REPORT_MESSAGE);
    assert_int_equal(mark->kind, REPORT_ADDRESSED);
    assert_int_equal(send->message, mark->message);
    assert_int_equal(send->peer, mark->node);
    assert_int_equal(mark->peer, send->node);
    assert_int_equal(mark->clock, 7);
    assert_string_equal(send->label, "user");
    report_box_free(box);
}

static void one_that_sent_nothing_is_behind_since_the_first_message(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    add(box, 100, 0, "a", "b");
    add(box, 109, 1, "a", "");
    fill(box, &report);
    assert_int_equal(node_of(&report, "b")->drift, 10);
    assert_int_equal(node_of(&report, "b")->samples_count, 0);
    report_box_free(box);
}

static void clients_that_never_joined_are_one_node(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    add(box, 1, 0, "", "");
    add(box, 2, 0, "", "");
    fill(box, &report);
    assert_int_equal(report.nodes_count, 1);
    assert_int_equal(node_of(&report, "(not joined)")->sent, 2);
    report_box_free(box);
}

static bool has_note(const struct report *report, const char *part)
{
    for (size_t i = 0; i < report->notes_count; i++) {
        if (strstr(report->notes[i].data, part) != NULL) {
            return true;
        }
    }
    return false;
}

static void time_never_goes_back_and_a_note_says_where_it_did(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    add(box, 1, 100, "a", "");
    add(box, 2, 900, "a", "");
    add(box, 3, 50, "b", "");
    add(box, 4, 300, "b", "");
    fill(box, &report);
    assert_int_equal(report.events[2].time_ns, 800);
    assert_int_equal(report.events[3].time_ns, 800);
    assert_int_equal(report.duration_ns, 800);
    assert_true(has_note(&report, "2 messages have a time before"));
    report_box_free(box);
}

static void what_is_past_the_bounds_is_counted_and_said(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    char name[16];
    for (uint64_t i = 0; i < REPORT_EVENTS_MAX + 10; i++) {
        snprintf(name, sizeof(name), "n%d", (int)((i * 7) % (REPORT_NODES_MAX + 5)));
        add(box, i + 1, i, name, "");
    }
    fill(box, &report);
    assert_int_equal(report.nodes_count, REPORT_NODES_MAX);
    assert_true(has_note(&report, "Only the first 1000 nodes"));
    assert_int_equal(report.events_count, report.events_total);
    for (size_t i = 0; i < report.nodes_count; i++) {
        assert_true(report.nodes[i].samples_count <= report_samples_max(REPORT_NODES_MAX));
    }
    report_box_free(box);
}

static void only_the_first_events_are_kept(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    for (uint64_t i = 0; i < REPORT_EVENTS_MAX; i++) {
        add(box, i + 1, i, "a", "b");
    }
    fill(box, &report);
    assert_int_equal(report.events_count, REPORT_EVENTS_MAX);
    assert_int_equal(report.events_total, 2 * REPORT_EVENTS_MAX);
    assert_int_equal(report.events[REPORT_EVENTS_MAX - 1].clock, REPORT_EVENTS_MAX / 2);
    assert_true(has_note(&report, "The diagram has the first 20000 of 40000 events"));
    assert_true(node_of(&report, "a")->samples_count <= REPORT_SAMPLES_MAX);
    report_box_free(box);
}

static void a_history_without_messages_is_empty(void **state)
{
    (void)state;
    struct report report = {0};
    struct report_box *box = report_box_new();
    fill(box, &report);
    assert_int_equal(report.nodes_count, 0);
    assert_int_equal(report.events_count, 0);
    assert_int_equal(report.duration_ns, 0);
    report_box_free(box);
}

static void fill_with_a_failing_allocation(void *context, long n)
{
    (void)context;
    const ls_message message = {
        .clock = 1, .from = bytes_of_text("a"), .to = bytes_of_text("b"), .timestamp_ns = EPOCH_NS};
    struct report report = {0};
    struct ls_error error = {0};
    struct report_box *box = report_box_new();
    int rc = box == NULL ? LS_ENOMEM : report_box_add(box, &message, "user", &error);
    if (rc == 0) {
        rc = report_box_fill(box, &report, &error);
    }
    assert_int_equal(rc, faults_allocations() >= n ? LS_ENOMEM : 0);
    report_box_free(box);
}

static void every_failing_allocation_is_said(void **state)
{
    (void)state;
    faults_each_allocation(fill_with_a_failing_allocation, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_has_the_numbers_of_its_messages),
        cmocka_unit_test(a_message_for_one_node_is_linked_to_it),
        cmocka_unit_test(one_that_sent_nothing_is_behind_since_the_first_message),
        cmocka_unit_test(clients_that_never_joined_are_one_node),
        cmocka_unit_test(time_never_goes_back_and_a_note_says_where_it_did),
        cmocka_unit_test(what_is_past_the_bounds_is_counted_and_said),
        cmocka_unit_test(only_the_first_events_are_kept),
        cmocka_unit_test(a_history_without_messages_is_empty),
        cmocka_unit_test(every_failing_allocation_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
