/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: which are written, and that no sentence can forge one. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char written[16384];

/* Writes one line with stderr going into `written`. */
static void capture(enum log_level level, const char *sentence)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int stderr_before = dup(STDERR_FILENO);
    assert_true(stderr_before >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_write(level, "%s", sentence);
    assert_true(dup2(stderr_before, STDERR_FILENO) >= 0);
    close(stderr_before);
    close(ends[1]);
    ssize_t size = read(ends[0], written, sizeof written - 1);
    assert_true(size >= 0);
    written[size] = '\0';
    close(ends[0]);
}

static void a_line_is_time_level_and_sentence(void **state)
{
    (void)state;
    log_set_level(LOG_NOTICE);
    capture(LOG_WARNING, "the disk is almost full");
    static const char expected[] = "Z warning: the disk is almost full\n";
    assert_int_equal(strlen(written), strlen("2024-01-31T23:59:59.123") + strlen(expected));
    assert_string_equal(written + strlen("2024-01-31T23:59:59.123"), expected);
    assert_int_equal(written[4], '-');
    assert_int_equal(written[10], 'T');
    assert_int_equal(written[19], '.');
}

static void lines_past_the_level_are_not_written(void **state)
{
    (void)state;
    log_set_level(LOG_WARNING);
    capture(LOG_NOTICE, "unheard");
    assert_string_equal(written, "");
    capture(LOG_WARNING, "heard");
    assert_non_null(strstr(written, "heard"));
    log_set_level(LOG_DEBUG);
    capture(LOG_DEBUG, "heard");
    assert_non_null(strstr(written, "debug: heard"));
}

static void control_characters_are_escaped(void **state)
{
    (void)state;
    log_set_level(LOG_NOTICE);
    capture(LOG_NOTICE, "a\n2024 error: forged\x1B[2J\x7F\r");
    assert_non_null(strstr(written, ": a\\x0a2024 error: forged\\x1b[2J\\x7f\\x0d\n"));
    assert_ptr_equal(strchr(written, '\n'), written + strlen(written) - 1);
}

static void a_long_sentence_is_cut_and_stays_one_line(void **state)
{
    (void)state;
    char sentence[5000];
    memset(sentence, '\n', sizeof sentence);
    sentence[sizeof sentence - 1] = '\0';
    log_set_level(LOG_NOTICE);
    capture(LOG_NOTICE, sentence);
    size_t size = strlen(written);
    assert_in_range(size, 4 * 1000, 4 * 1024 + 64);
    assert_ptr_equal(strchr(written, '\n'), written + size - 1);
}

static void levels_have_names(void **state)
{
    (void)state;
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        assert_int_equal(log_level_from_name(log_level_name((enum log_level)level)), level);
    }
    assert_int_equal(log_level_from_name("loud"), -1);
    log_set_level(LOG_ERROR);
    assert_int_equal(log_get_level(), LOG_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_time_level_and_sentence),
        cmocka_unit_test(lines_past_the_level_are_not_written),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(a_long_sentence_is_cut_and_stays_one_line),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
