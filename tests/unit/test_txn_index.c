/* SPDX-License-Identifier: Apache-2.0 */
/* The index of open transactions, alone: what it keeps as they come and go. */
#include <stdlib.h>

#include "fixture.h"
#include "txn/state.h"

enum { COUNT = 4096, SHARDS = 4 };

static struct index *new_index(void)
{
    struct index *index;
    struct ls_error error;
    assert_code(index_open(&index, SHARDS, 12345, &error), 0, &error);
    return index;
}

static struct open *add(struct index *index, uint64_t timestamp, uint64_t ttl_ms, bool whole)
{
    struct open *open;
    struct ls_error error;
    const struct transaction record = {
        .will = bytes_of("\0\1k", 3), .ttl_ms = ttl_ms, .whole = whole};
    assert_code(open_new(&open, timestamp, &record, &error), 0, &error);
    assert_code(index_add(index, open, &error), 0, &error);
    return open;
}

static void timestamps_that_a_client_spaces_do_not_share_a_bucket(void **state)
{
    enum { CHAIN_MAX = 16 };
    (void)state;
    for (unsigned bits = 0; bits <= 32; bits++) {
        struct index *index = new_index();
        for (uint64_t i = 1; i <= COUNT; i++) {
            add(index, i << bits, 1000, false);
        }
        for (size_t i = 0; i < index->bucket_count; i++) {
            size_t length = 0;
            for (struct open *at = index->buckets[i]; at != NULL; at = at->next_in_bucket) {
                length++;
            }
            if (length > CHAIN_MAX) {
                fail_msg("%zu that are 2^%u apart share a bucket", length, bits);
            }
        }
        for (uint64_t i = 1; i <= COUNT; i++) {
            struct open *open = index_find(index, i << bits);
            assert_non_null(open);
            assert_int_equal(open->timestamp, i << bits);
            index_remove(index, open);
            assert_null(index_find(index, i << bits));
        }
        index_close(index);
    }
}

/* By looking at all of them. */
static uint64_t outlast_ms(const struct index *index)
{
    uint64_t out = 0;
    for (const struct open *open = index->oldest; open != NULL; open = open->newer) {
        uint64_t ms = open->ttl_ms + (open->whole ? 0 : OUTLAST_MS);
        out = ms > out ? ms : out;
    }
    return (out + 999) / 1000 * 1000;
}

static void the_longest_time_limit_is_known_as_they_come_and_go(void **state)
{
    (void)state;
    struct index *index = new_index();
    struct open *open[16] = {0};
    uint64_t random = 1;
    assert_int_equal(index_outlast_ms(index), 0);
    for (uint64_t i = 1; i <= 20000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        struct open **slot = &open[random >> 60];
        if (*slot != NULL) {
            index_remove(index, *slot);
            *slot = NULL;
        } else {
            bool whole = (random >> 59 & 1) != 0;
            uint64_t ttl_ms =
                1 + (random >> 20) % ((random >> 50 & 7) == 0 ? TXN_TTL_MS_MAX : 9000);
            *slot = add(index, i, ttl_ms, whole);
        }
        assert_int_equal(index_outlast_ms(index), outlast_ms(index));
    }
    /* One that has reckoned with the longest reckons with itself and no more. */
    add(index, 30000, TXN_TTL_MS_MAX, false);
    add(index, 30001, index_outlast_ms(index), true);
    assert_int_equal(index_outlast_ms(index), TXN_TTL_MS_MAX + OUTLAST_MS);
    index_close(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timestamps_that_a_client_spaces_do_not_share_a_bucket),
        cmocka_unit_test(the_longest_time_limit_is_known_as_they_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
