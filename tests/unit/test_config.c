/* SPDX-License-Identifier: Apache-2.0 */
/* The server's settings: values as text, files and flags. */
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"

static int set(struct config *config, const char *name, const char *value, struct ls_error *error)
{
    const struct setting *setting = setting_find(bytes_of_text(name));
    assert_non_null(setting);
    return config_set(config, setting, bytes_of_text(value), error);
}

static void every_default_is_a_value_that_its_setting_takes(void **state)
{
    (void)state;
    struct config config;
    assert_int_equal(config_init(&config), 0);
    assert_string_equal(config.listen, "127.0.0.1:7411");
    assert_int_equal(config.request_max, 16 << 20);
    assert_true(config.sync);
    config_free(&config);
}

static void what_is_shown_sets_the_same_again(void **state)
{
    (void)state;
    struct config config;
    assert_int_equal(config_init(&config), 0);
    for (size_t i = 0; i < setting_count; i++) {
        struct buf first = {0};
        struct buf second = {0};
        struct ls_error error;
        assert_int_equal(config_get(&config, &settings[i], &first), 0);
        if (settings[i].type != SETTING_LIST) {
            assert_int_equal(config_set(&config, &settings[i], buf_bytes(&first), &error), 0);
        }
        assert_int_equal(config_get(&config, &settings[i], &second), 0);
        assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
        buf_free(&first);
        buf_free(&second);
    }
    config_free(&config);
}

static void sizes_take_units_of_1000_and_of_1024(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } sizes[] = {{"0", 0},
                 {"77", 77},
                 {"77b", 77},
                 {"5k", 5000},
                 {"5KB", 5120},
                 {"3m", 3000000},
                 {"3Mb", 3 << 20},
                 {"2g", 2000000000},
                 {"2GB", UINT64_C(2) << 30},
                 {"18446744073709551615", UINT64_MAX}};
    struct config config;
    struct ls_error error;
    assert_int_equal(config_init(&config), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(set(&config, "quota", sizes[i].text, &error), 0);
        assert_int_equal(config.quota, sizes[i].value);
    }
    config_free(&config);
}

static void a_wrong_value_is_refused_with_what_was_expected_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        const char *part;
    } wrong[] = {{"quota", "", "a size"},
                 {"quota", "-1", "a size"},
                 {"quota", "1x", "a size"},
                 {"quota", " 1", "a size"},
                 {"quota", "18446744073709551616", "a size"},
                 {"quota", "18446744073709551615kb", "a size"},
                 {"connections-max", "0", "from 1 to 1000000"},
                 {"connections-max", "1k", "from 1 to 1000000"},
                 {"node-ttl", "99", "milliseconds, from 100"},
                 {"sync", "true", "yes or no"},
                 {"log-level", "loud", "error, warning, notice or debug"}};
    struct config config;
    assert_int_equal(config_init(&config), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct buf before = {0};
        struct buf after = {0};
        struct ls_error error = {0};
        const struct setting *setting = setting_find(bytes_of_text(wrong[i].name));
        assert_int_equal(config_get(&config, setting, &before), 0);
        assert_int_equal(set(&config, wrong[i].name, wrong[i].value, &error), LS_EINVAL);
        if (strstr(error.text, wrong[i].part) == NULL) {
            fail_msg("'%s' for %s: %s", wrong[i].value, wrong[i].name, error.text);
        }
        assert_int_equal(config_get(&config, setting, &after), 0);
        assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
        buf_free(&before);
        buf_free(&after);
    }
    config_free(&config);
}

/* Writes the bytes to a file and reads it as a config file. */
static int read_bytes(struct config *config, ls_bytes text, struct ls_error *error)
{
    char path[] = "/tmp/lockstep-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.data, text.size), (ssize_t)text.size);
    close(fd);
    int rc = config_read_file(config, path, error);
    unlink(path);
    return rc;
}

static int read_text(struct config *config, const char *text, struct ls_error *error)
{
    return read_bytes(config, bytes_of_text(text), error);
}

static void a_file_has_a_setting_a_line(void **state)
{
    (void)state;
    struct config config;
    struct ls_error error;
    assert_int_equal(config_init(&config), 0);
    assert_int_equal(read_text(&config,
                               "# comment\n\n \t quota\t 5k \t\nSYNC no\npassword \"a b\"\n"
                               "listen [::1]:1\nlisten 127.0.0.1\nretention-age 7",
                               &error),
                     0);
    assert_int_equal(config.quota, 5000);
    assert_false(config.sync);
    assert_string_equal(config.password, "a b");
    assert_string_equal(config.listen, "[::1]:1 127.0.0.1");
    assert_int_equal(config.retention_age, 7);
    assert_int_equal(read_text(&config, "password \"\"\n", &error), 0);
    assert_string_equal(config.password, "");
    config_free(&config);
}

static void a_wrong_line_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *part;
    } wrong[] = {{"sync yes\nnothing 1\n", "line 2: there is no setting 'nothing'"},
                 {"\n\nsync\n", "line 3: sync needs a value"},
                 {"quota much\n", "line 1: quota must be"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct config config;
        struct ls_error error = {0};
        assert_int_equal(config_init(&config), 0);
        assert_int_equal(read_text(&config, wrong[i].text, &error), LS_EINVAL);
        if (strstr(error.text, wrong[i].part) == NULL) {
            fail_msg("%s", error.text);
        }
        config_free(&config);
    }
}

/* What is behind the NUL would else be left out without a word. */
static void a_line_with_a_nul_is_refused(void **state)
{
    (void)state;
    struct config config;
    struct ls_error error = {0};
    assert_int_equal(config_init(&config), 0);
    assert_int_equal(read_bytes(&config, bytes_of("\nquota 5\0kb\n", 12), &error), LS_EINVAL);
    if (strstr(error.text, "line 2: there is a NUL in the line") == NULL) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(config.quota, 0);
    config_free(&config);
}

static void flags_win_over_the_file_wherever_it_is_named(void **state)
{
    (void)state;
    char path[] = "/tmp/lockstep-config-XXXXXX";
    static const char text[] = "quota 1\nlisten a\nlisten b\nobject-max 100\n";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    char *argv[] = {"lockstepd", "--quota=2", "--listen",   "c",
                    "--config",  path,        "--listen=d", NULL};
    struct config config;
    struct ls_error error;
    assert_int_equal(config_init(&config), 0);
    assert_int_equal(config_read_flags(&config, 7, argv, &error), 0);
    unlink(path);
    assert_int_equal(config.quota, 2);
    assert_int_equal(config.object_max, 100);
    assert_string_equal(config.listen, "c d");
    config_free(&config);
}

static void wrong_flags_are_refused(void **state)
{
    (void)state;
    static char *const wrong[][3] = {{"--nothing", "1", NULL},    {"--nothing", NULL, NULL},
                                     {"--nothing=1", NULL, NULL}, {"--quota", NULL, NULL},
                                     {"quota", "1", NULL},        {"--", NULL, NULL},
                                     {"-q", NULL, NULL},          {"--quota", "x", NULL}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *argv[] = {"lockstepd", wrong[i][0], wrong[i][1], NULL};
        struct config config;
        struct ls_error error = {0};
        assert_int_equal(config_init(&config), 0);
        assert_int_equal(config_read_flags(&config, wrong[i][1] == NULL ? 2 : 3, argv, &error),
                         LS_EINVAL);
        assert_int_equal(error.code, LS_EINVAL);
        config_free(&config);
    }
}

static void without_memory(void *context, long n)
{
    (void)context;
    struct config config;
    struct config copy;
    faults_fail_allocation(n);
    if (config_init(&config) == 0) {
        if (config_copy(&copy, &config) == 0) {
            config_free(&copy);
        }
        config_free(&config);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    faults_each_allocation(without_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_default_is_a_value_that_its_setting_takes),
        cmocka_unit_test(what_is_shown_sets_the_same_again),
        cmocka_unit_test(sizes_take_units_of_1000_and_of_1024),
        cmocka_unit_test(a_wrong_value_is_refused_with_what_was_expected_and_changes_nothing),
        cmocka_unit_test(a_file_has_a_setting_a_line),
        cmocka_unit_test(a_wrong_line_is_named),
        cmocka_unit_test(a_line_with_a_nul_is_refused),
        cmocka_unit_test(flags_win_over_the_file_wherever_it_is_named),
        cmocka_unit_test(wrong_flags_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
