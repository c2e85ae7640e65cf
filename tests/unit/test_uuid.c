/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs from random bytes, from text and as text. */
#include "codec/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static const uint8_t sample[16] = {0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x42, 0xd3,
                                   0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0xff};

static void text_has_36_characters_in_lower_case(void **state)
{
    (void)state;
    char text[UUID_TEXT_SIZE];
    uuid_format(text, sample);
    assert_string_equal(text, "123e4567-e89b-42d3-a456-4266141740ff");
}

static void either_form_and_either_case_is_read(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "123e4567-e89b-42d3-a456-4266141740ff",
        "123E4567-E89B-42D3-A456-4266141740FF",
        "123e4567e89b42d3a4564266141740ff",
        "123E4567e89B42D3a4564266141740fF",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        uint8_t id[16] = {0};
        assert_int_equal(uuid_parse(id, bytes_of_text(forms[i])), 0);
        assert_memory_equal(id, sample, sizeof sample);
    }
}

static void other_text_is_refused_and_nothing_written(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "123e4567-e89b-42d3-a456-4266141740f",
        "123e4567-e89b-42d3-a456-4266141740fff",
        "123e4567e89b42d3a4564266141740f",
        "123e4567-e89b-42d3-a456-4266141740fg",
        "123e4567e89b42d3a4564266141740f-",
        "123e45678e89b-42d3-a456-4266141740ff",
        "123e4567-e89b-42d3-a456-4266-41740ff",
        "{23e4567-e89b-42d3-a456-4266141740f}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t id[16];
        memset(id, 0x55, sizeof id);
        assert_int_equal(uuid_parse(id, bytes_of_text(wrong[i])), LS_EINVAL);
        for (size_t j = 0; j < sizeof id; j++) {
            assert_int_equal(id[j], 0x55);
        }
    }
}

static void random_bytes_become_version_4(void **state)
{
    (void)state;
    for (int fill = 0; fill <= 0xFF; fill += 0x55) {
        uint8_t random[16];
        uint8_t id[16];
        memset(random, fill, sizeof random);
        uuid_from_random(id, random);
        assert_int_equal(id[6] >> 4, 4);
        assert_int_equal(id[8] >> 6, 2);
        for (size_t i = 0; i < sizeof id; i++) {
            assert_true(i == 6 || i == 8 || id[i] == fill);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_36_characters_in_lower_case),
        cmocka_unit_test(either_form_and_either_case_is_read),
        cmocka_unit_test(other_text_is_refused_and_nothing_written),
        cmocka_unit_test(random_bytes_become_version_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
