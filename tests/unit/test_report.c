/* SPDX-License-Identifier: Apache-2.0 */
/* What a report is filled with and what is written of it: thinned samples, classes of jumps, the
 * data within the page, and its failures. What a browser makes of it is tested with a browser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "model/report_series.h"

/* ---- samples ---- */

static void samples_that_fit_are_kept_as_they_are(void **state)
{
    (void)state;
    struct report_sample room[4];
    struct report_series series = {.samples = room, .capacity = 4};
    for (uint64_t i = 0; i < 4; i++) {
        report_series_add(&series, i * 1000, i + 1, i % 2);
    }
    assert_int_equal(series.count, 4);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(room[i].time_ns, i * 1000);
        assert_int_equal(room[i].clock, i + 1);
        assert_int_equal(room[i].queue, i % 2);
    }
}

static void samples_of_one_time_are_one_with_the_last_clock(void **state)
{
    (void)state;
    struct report_sample room[4];
    struct report_series series = {.samples = room, .capacity = 4};
    report_series_add(&series, 7, 1, 5);
    report_series_add(&series, 7, 2, 3);
    assert_int_equal(series.count, 1);
    assert_int_equal(room[0].clock, 2);
    assert_int_equal(room[0].queue, 5);
}

static void any_number_of_samples_fits_and_no_peak_is_lost(void **state)
{
    (void)state;
    struct report_sample room[64];
    struct report_series series = {.samples = room, .capacity = 64};
    const uint64_t total = 100000;
    for (uint64_t i = 0; i < total; i++) {
        report_series_add(&series, i * 12345, i, i == 77777 ? 9999 : i % 10);
        assert_true(series.count <= 64);
    }
    assert_true(series.count > 16);
    assert_int_equal(room[series.count - 1].clock, total - 1);
    assert_int_equal(room[series.count - 1].time_ns, (total - 1) * 12345);

    uint64_t peak = 0;
    for (size_t i = 0; i < series.count; i++) {
        peak = room[i].queue > peak ? room[i].queue : peak;
        assert_int_equal(room[i].time_ns, room[i].clock * 12345);
        assert_true(i == 0 || room[i - 1].time_ns < room[i].time_ns);
    }
    assert_int_equal(peak, 9999);
}

static void samples_over_all_of_time_fit(void **state)
{
    (void)state;
    struct report_sample room[2];
    struct report_series series = {.samples = room, .capacity = 2};
    for (unsigned power = 0; power < 64; power++) {
        report_series_add(&series, UINT64_C(1) << power, power, 0);
    }
    report_series_add(&series, UINT64_MAX, 64, 0);
    assert_int_equal(series.count, 2);
    assert_int_equal(room[1].clock, 64);
}

static void the_samples_of_all_nodes_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(report_samples_max(0), REPORT_SAMPLES_MAX);
    assert_int_equal(report_samples_max(3), REPORT_SAMPLES_MAX);
    assert_true(report_samples_max(REPORT_NODES_MAX) >= 2);
    for (size_t nodes = 1; nodes <= REPORT_NODES_MAX; nodes++) {
        assert_true(nodes * report_samples_max(nodes) <= REPORT_SAMPLES_TOTAL);
    }
}

/* ---- jumps ---- */

static void every_jump_has_the_class_that_begins_at_or_below_it(void **state)
{
    (void)state;
    for (uint64_t jump = 0; jump < 5000; jump++) {
        size_t at = report_jump_class(jump);
        assert_true(report_jump_floor(at) <= jump);
        assert_true(report_jump_floor(at + 1) > jump);
    }
    assert_int_equal(report_jump_class(UINT64_MAX), REPORT_JUMPS - 1);
}

static void each_class_begins_where_the_one_before_it_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < REPORT_JUMPS; i++) {
        uint64_t least = report_jump_floor(i);
        assert_int_equal(report_jump_class(least), i);
        assert_int_equal(least == 0 ? 0 : report_jump_class(least - 1), i == 0 ? 0 : i - 1);
    }
}

/* ---- the page ---- */

static const struct report_sample two_samples[] = {{0, 1, 0}, {1000, 3, 2}};

/* The page's text; the caller frees it. */
static char *page_of(const struct report *report)
{
    char *text = NULL;
    size_t size = 0;
    struct ls_error error = {0};
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(report_write(report, out, &error), 0);
    assert_int_equal(error.code, 0);
    fclose(out);
    return text;
}

/* What stands in the element of the data, in the page's text. */
static char *data_in(char *page)
{
    static const char begin[] = "id=\"data\">";
    char *data = strstr(page, begin);
    assert_non_null(data);
    data += sizeof(begin) - 1;
    char *end = strstr(data, "</script>");
    assert_non_null(end);
    *end = '\0';
    return data;
}

static void expect_in(const char *data, const char *expected)
{
    if (strstr(data, expected) == NULL) {
        fail_msg("no %s in %s", expected, data);
    }
}

static void the_page_holds_what_was_filled_in(void **state)
{
    (void)state;
    uint64_t jumps[REPORT_JUMPS] = {[0] = 0, [1] = 4, [32] = 2};
    const struct report_node node = {
        .name = bytes_of_text("n1"),
        .rate = bytes_of_text("0.5"),
        .ticks = 7,
        .internal = 3,
        .sent = 2,
        .received = 6,
        .final_clock = 3,
        .max_jump = 33,
        .mean_jump = bytes_of_text("11.667"),
        .max_queue = 2,
        .mean_queue = bytes_of_text("1.000"),
        .drift = -5,
        .samples = two_samples,
        .samples_count = 2,
        .jumps = jumps,
    };
    const struct report_event event = {
        .kind = REPORT_RECEIVE,
        .seq = 1,
        .time_ns = 1000,
        .clock = 3,
        .message = 9,
        .peer = REPORT_NO_NODE,
        .peer_clock = 2,
        .label = "word",
    };
    const struct report report = {
        .title = bytes_of_text("a title"),
        .interrupted = bytes_of_text("stopped"),
        .parameters = {{bytes_of_text("seed"), bytes_of_text("1")}},
        .parameters_count = 1,
        .notes = {bytes_of_text("a note")},
        .notes_count = 1,
        .duration_ns = 1000,
        .fastest = 0,
        .nodes = &node,
        .nodes_count = 1,
        .nodes_total = 4,
        .events = &event,
        .events_count = 1,
        .events_total = 1,
    };
    char *page = page_of(&report);
    const char *data = data_in(page);
    expect_in(data, "\"title\":\"a title\",\"interrupted\":\"stopped\"");
    expect_in(data, "\"parameters\":[[\"seed\",\"1\"]],\"notes\":[\"a note\"]");
    expect_in(data, "\"fastest\":0,\"nodes_total\":4,\"events_total\":1,\"base\":0,");
    expect_in(data, "\"name\":\"n1\",\"rate\":\"0.5\",\"ticks\":7,\"internal\":3,\"sent\":2,"
                    "\"received\":6,\"final_clock\":3,\"max_jump\":33,\"mean_jump\":\"11.667\","
                    "\"max_queue\":2,\"mean_queue\":\"1.000\",\"drift\":\"-5\"");
    expect_in(data, "\"time\":[0,1000],\"clock\":[1,3],\"queue\":[0,2],");
    expect_in(data, "\"jumps\":[[1,1,4],[32,39,2]]");
    expect_in(data, "[\"receive\",0,1,1000,3,9,-1,2,\"word\"]");
    free(page);
}

static void no_text_ends_the_element_that_holds_it(void **state)
{
    (void)state;
    static const char bad[] = "</script><!-- \" \\ \n \xff";
    const struct report_node node = {.name = bytes_of(bad, sizeof(bad) - 1)};
    const struct report report = {
        .title = bytes_of_text(bad),
        .interrupted = bytes_of_text(bad),
        .parameters = {{bytes_of_text(bad), bytes_of_text(bad)}},
        .parameters_count = 1,
        .notes = {bytes_of_text(bad)},
        .notes_count = 1,
        .nodes = &node,
        .nodes_count = 1,
        .nodes_total = 1,
    };
    char *page = page_of(&report);
    const char *data = data_in(page);
    assert_null(strchr(data, '<'));
    expect_in(data, "\"title\":\"\\u003c/script>\\u003c!-- \\\" \\\\ \\n \xef\xbf\xbd\"");
    expect_in(data, "\"events\":[]}");
    free(page);
}

static void clocks_that_no_double_holds_are_exact(void **state)
{
    (void)state;
    const struct report_sample samples[] = {{0, UINT64_MAX - 2, 0}, {1, UINT64_MAX, 0}};
    const struct report_node node = {
        .final_clock = UINT64_MAX,
        .drift = INT64_MIN,
        .samples = samples,
        .samples_count = 2,
    };
    const struct report report = {.nodes = &node, .nodes_count = 1, .nodes_total = 1};
    char *page = page_of(&report);
    const char *data = data_in(page);
    expect_in(data, "\"base\":\"18446744073709551613\"");
    expect_in(data, "\"clock\":[0,2]");
    expect_in(data, "\"final_clock\":\"18446744073709551615\"");
    expect_in(data, "\"drift\":\"-9223372036854775808\"");
    free(page);
}

static void a_full_disk_is_said(void **state)
{
    (void)state;
    const struct report report = {.title = bytes_of_text("x"), .fastest = REPORT_NO_NODE};
    struct ls_error error = {0};
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    assert_int_equal(report_write(&report, out, &error), LS_ENOSPACE);
    assert_int_equal(error.code, LS_ENOSPACE);
    expect_in(error.text, "cannot be written");
    fclose(out);
}

static void write_with_a_failing_allocation(void *context, long n)
{
    struct ls_error error = {0};
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    int rc = report_write(context, out, &error);
    assert_int_equal(rc, faults_allocations() >= n ? LS_ENOMEM : 0);
    assert_int_equal(error.code, rc);
    fclose(out);
}

static void every_failing_allocation_is_said(void **state)
{
    (void)state;
    const struct report_node node = {
        .name = bytes_of_text("n1"), .samples = two_samples, .samples_count = 2};
    struct report report = {
        .title = bytes_of_text("x"), .nodes = &node, .nodes_count = 1, .nodes_total = 1};
    faults_each_allocation(write_with_a_failing_allocation, &report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_that_fit_are_kept_as_they_are),
        cmocka_unit_test(samples_of_one_time_are_one_with_the_last_clock),
        cmocka_unit_test(any_number_of_samples_fits_and_no_peak_is_lost),
        cmocka_unit_test(samples_over_all_of_time_fit),
        cmocka_unit_test(the_samples_of_all_nodes_are_bounded),
        cmocka_unit_test(every_jump_has_the_class_that_begins_at_or_below_it),
        cmocka_unit_test(each_class_begins_where_the_one_before_it_ends),
        cmocka_unit_test(the_page_holds_what_was_filled_in),
        cmocka_unit_test(no_text_ends_the_element_that_holds_it),
        cmocka_unit_test(clocks_that_no_double_holds_are_exact),
        cmocka_unit_test(a_full_disk_is_said),
        cmocka_unit_test(every_failing_allocation_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
