/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a run: what is made, what is left alone, and what is left where something
 * fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"
#include "model/run.h"

static const char *const names[] = {"config.json", "events.csv", "summary.json", "report.html",
                                    "shiviz.log"};
#define NAMES (sizeof names / sizeof *names)

static char room[] = "/tmp/test-run-XXXXXX";
static char directory[sizeof room + 8];

static const char *path_of(const char *name)
{
    static char path[sizeof directory + 32];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void remove_directory(void)
{
    for (size_t i = 0; i < NAMES; i++) {
        unlink(path_of(names[i]));
    }
    assert_false(access(directory, F_OK) == 0 && rmdir(directory) != 0);
}

static int make_room(void **state)
{
    (void)state;
    if (mkdtemp(room) == NULL) {
        return -1;
    }
    snprintf(directory, sizeof directory, "%s/run", room);
    return 0;
}

static int remove_room(void **state)
{
    (void)state;
    return rmdir(room);
}

static struct run_plan plan_of(uint32_t nodes)
{
    return (struct run_plan){.nodes = nodes,
                             .seed = 1,
                             .seconds = {20, 0},
                             .rate_least = {1, 0},
                             .rate_most = {6, 0},
                             .internal = {5, 1},
                             .shiviz = true};
}

/* All of a run; the code of the first failure. */
static int run_all(const struct run_plan *plan, struct ls_error *error)
{
    struct scale_options options;
    struct scale scale;
    struct scale_event event;
    struct run run;
    int rc = run_plan_options(plan, &options, error);
    rc = rc == 0 ? scale_open(&scale, &options, error) : rc;
    if (rc != 0) {
        return rc;
    }
    rc = run_open(&run, directory, plan, error);
    if (rc == 0) {
        while (rc == 0 && (rc = scale_step(&scale, &event, error)) > 0) {
            rc = run_add(&run, &event, error);
        }
        struct ls_error later;
        struct run_result result = run_result_of(&scale, rc != 0 ? "it failed" : NULL);
        int close_rc = run_close(&run, &result, &later);
        if (rc == 0 && close_rc != 0) {
            rc = close_rc;
            *error = later;
        }
    }
    scale_close(&scale);
    return rc;
}

static void a_run_makes_its_directory_and_all_files(void **state)
{
    (void)state;
    struct run_plan plan = plan_of(4);
    struct ls_error error;
    assert_int_equal(run_all(&plan, &error), 0);
    for (size_t i = 0; i < NAMES; i++) {
        if (!is_there(names[i])) {
            fail_msg("%s is missing", names[i]);
        }
    }
    remove_directory();
}

static void a_directory_with_anything_in_it_is_left_alone(void **state)
{
    (void)state;
    struct run_plan plan = plan_of(4);
    struct ls_error error;
    assert_int_equal(mkdir(directory, 0777), 0);
    int fd = open(path_of("events.csv"), O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(run_all(&plan, &error), LS_EBUSY);
    assert_non_null(strstr(error.text, "is there already and not empty"));
    assert_true(is_there("events.csv"));
    assert_false(is_there("config.json"));
    remove_directory();
}

static void what_cannot_be_exported_leaves_nothing_behind(void **state)
{
    (void)state;
    struct run_plan plan = plan_of(SHIVIZ_NODES_MAX + 1);
    struct ls_error error;
    assert_int_equal(run_all(&plan, &error), LS_EINVAL);
    assert_int_equal(error.number, SHIVIZ_NODES_MAX);
    assert_int_not_equal(access(directory, F_OK), 0);
}

static void a_file_in_the_way_fails_its_own_writing_only(void **state)
{
    (void)state;
    struct run_plan plan = plan_of(2);
    struct scale_options options;
    struct scale scale;
    struct scale_event event;
    struct run run;
    struct ls_error error;
    assert_int_equal(run_plan_options(&plan, &options, &error), 0);
    assert_int_equal(scale_open(&scale, &options, &error), 0);
    assert_int_equal(run_open(&run, directory, &plan, &error), 0);
    assert_int_equal(mkdir(path_of("report.html"), 0777), 0);
    while (scale_step(&scale, &event, &error) > 0) {
        assert_int_equal(run_add(&run, &event, &error), 0);
    }
    struct run_result result = run_result_of(&scale, NULL);
    assert_int_equal(run_close(&run, &result, &error), LS_EIO);
    assert_non_null(strstr(error.text, "report.html"));
    assert_true(is_there("summary.json"));
    assert_false(is_there("report.html.part"));
    scale_close(&scale);
    assert_int_equal(rmdir(path_of("report.html")), 0);
    remove_directory();
}

static void the_plan_is_turned_into_integers_exactly(void **state)
{
    (void)state;
    struct run_plan plan = plan_of(3);
    struct scale_options options;
    struct ls_error error;
    plan.seconds = (struct decimal){25, 1};
    plan.latency_ms = (struct decimal){123456789, 6};
    plan.jitter_ms = (struct decimal){1, 0};
    plan.internal = (struct decimal){1, 0};
    plan.loss = (struct decimal){5, 1};
    assert_int_equal(run_plan_options(&plan, &options, &error), 0);
    assert_int_equal(options.duration_ns, 2500000000);
    assert_int_equal(options.latency_ns, 123456789);
    assert_int_equal(options.jitter_ns, 1000000);
    assert_int_equal(options.internal, CHANCE_ALWAYS);
    assert_int_equal(options.loss, CHANCE_ALWAYS / 2);
    plan.latency_ms = (struct decimal){1, 7};
    assert_int_equal(run_plan_options(&plan, &options, &error), LS_EINVAL);
    plan = plan_of(3);
    plan.loss = (struct decimal){11, 1};
    assert_int_equal(run_plan_options(&plan, &options, &error), LS_EINVAL);
    plan = plan_of(3);
    plan.seconds = (struct decimal){1000000001, 0};
    assert_int_equal(run_plan_options(&plan, &options, &error), LS_EINVAL);
}

/* A clock near its end: the numbers stay whole. */
static void a_summary_near_the_end_of_the_clock_is_exact(void **state)
{
    (void)state;
    struct run_plan plan = plan_of(2);
    struct scale_options options;
    struct scale scale;
    struct scale_event event;
    struct ls_error error;
    char *text = NULL;
    size_t size = 0;
    plan.start_clock = UINT64_MAX - 3;
    assert_int_equal(run_plan_options(&plan, &options, &error), 0);
    options.internal = CHANCE_ALWAYS;
    assert_int_equal(scale_open(&scale, &options, &error), 0);
    while (scale_step(&scale, &event, &error) > 0) {
    }
    assert_int_equal(error.code, LS_ECLOCKJUMP);
    struct run_result result = run_result_of(&scale, error.text);
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(run_print_summary(&result, true, out), 0);
    fclose(out);
    assert_non_null(strstr(text, "\"whole\":false"));
    assert_non_null(strstr(text, "\"final_clock\":18446744073709551615"));
    assert_non_null(strstr(text, "\"stopped\":\"the clock is at its end\""));
    free(text);
    scale_close(&scale);
}

static void run_without_memory(void *context, long n)
{
    (void)context;
    struct run_plan plan = plan_of(4);
    struct ls_error error;
    plan.seconds = (struct decimal){4, 0};
    faults_fail_allocation(n);
    int rc = run_all(&plan, &error);
    if (rc != 0 && (rc != LS_ENOMEM || error.code != LS_ENOMEM)) {
        fail_msg("allocation %ld: %d, %s", n, rc, error.text);
    }
    assert_true(rc != 0 || is_there("summary.json"));
    assert_false(is_there("summary.json.part") || is_there("report.html.part") ||
                 is_there("config.json.part"));
    remove_directory();
}

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    faults_each_allocation(run_without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_makes_its_directory_and_all_files),
        cmocka_unit_test(a_directory_with_anything_in_it_is_left_alone),
        cmocka_unit_test(what_cannot_be_exported_leaves_nothing_behind),
        cmocka_unit_test(a_file_in_the_way_fails_its_own_writing_only),
        cmocka_unit_test(the_plan_is_turned_into_integers_exactly),
        cmocka_unit_test(a_summary_near_the_end_of_the_clock_is_exact),
        cmocka_unit_test(each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, make_room, remove_room);
}
