/* SPDX-License-Identifier: Apache-2.0 */
/* Codes, messages and words, and the last failure of a thread. */
#include "base/error.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const int codes[] = {
#define X(name, value, word, message) name,
    LS_ERROR_MAP(X)
#undef X
};

#define CODE_COUNT (sizeof codes / sizeof codes[0])

static void every_code_has_its_own_name_and_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODE_COUNT; i++) {
        assert_true(codes[i] < 0);
        assert_string_not_equal(ls_strerror(codes[i]), "unknown error");
        assert_memory_equal(ls_errname(codes[i]), "LS_E", 4);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
            assert_string_not_equal(ls_strerror(codes[i]), ls_strerror(codes[j]));
            assert_string_not_equal(ls_errname(codes[i]), ls_errname(codes[j]));
        }
    }
    assert_string_equal(ls_errname(LS_ECOMPACTED), "LS_ECOMPACTED");
    assert_string_equal(ls_strerror(LS_ENOMEM), "out of memory");
}

static void a_code_that_is_none_is_still_explained(void **state)
{
    (void)state;
    assert_string_equal(ls_strerror(0), "success");
    assert_string_equal(ls_strerror(-9999), "unknown error");
    assert_string_equal(ls_strerror(7), "unknown error");
    assert_non_null(ls_errname(-9999));
    assert_string_equal(error_word(-9999), "ERR");
}

static void a_word_of_its_own_leads_back_to_its_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODE_COUNT; i++) {
        const char *word = error_word(codes[i]);
        int expected = strcmp(word, "ERR") == 0 ? LS_EINVAL : codes[i];
        assert_int_equal(error_from_word(word, strlen(word)), expected);
    }
    assert_int_equal(error_from_word("COMPACTEDX", 10), LS_EINVAL);
    assert_int_equal(error_from_word("COMPACTED", 8), LS_EINVAL);
    assert_int_equal(error_from_word("", 0), LS_EINVAL);
}

static void setting_an_error_gives_its_code(void **state)
{
    (void)state;
    struct ls_error error = {0};
    assert_int_equal(error_set(&error, LS_ECONFLICT, 17, "key %s is at %d", "k", 17), LS_ECONFLICT);
    assert_int_equal(error.code, LS_ECONFLICT);
    assert_int_equal(error.number, 17);
    assert_string_equal(error.text, "key k is at 17");
    assert_int_equal(error_code(&error, LS_ENOMEM), LS_ENOMEM);
    assert_int_equal(error.number, 0);
    assert_string_equal(error.text, "out of memory");
    assert_int_equal(error_set(NULL, LS_EIO, 0, "unheard"), LS_EIO);
}

static void a_sentence_that_is_too_long_is_cut(void **state)
{
    (void)state;
    struct ls_error error = {0};
    assert_int_equal(error_set(&error, LS_EIO, 0, "%01000d", 1), LS_EIO);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
}

static void *last_error_of_another_thread(void *out)
{
    *(int *)out = ls_last_error()->code;
    return NULL;
}

static void each_thread_has_its_own_last_error(void **state)
{
    (void)state;
    assert_int_equal(ls_last_error()->code, 0);
    struct ls_error error = {0};
    error_set(&error, LS_ETOOBIG, 480, "a key has at most 480 bytes");
    error_remember(&error);
    assert_int_equal(ls_last_error()->code, LS_ETOOBIG);
    assert_int_equal(ls_last_error()->number, 480);
    assert_string_equal(ls_last_error()->text, error.text);

    int other = LS_EINVAL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, last_error_of_another_thread, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(other, 0);
}

static void the_version_is_that_of_the_header(void **state)
{
    (void)state;
    assert_string_equal(ls_version(), LS_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name_and_message),
        cmocka_unit_test(a_code_that_is_none_is_still_explained),
        cmocka_unit_test(a_word_of_its_own_leads_back_to_its_code),
        cmocka_unit_test(setting_an_error_gives_its_code),
        cmocka_unit_test(a_sentence_that_is_too_long_is_cut),
        cmocka_unit_test(each_thread_has_its_own_last_error),
        cmocka_unit_test(the_version_is_that_of_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
