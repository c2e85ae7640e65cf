/* SPDX-License-Identifier: Apache-2.0 */
/* Where a shard's table has its transactions: the seed decides it, not who chooses timestamps. */
#include "shard/state.h"
#include "shard_world.h"

#define COUNT 1000

static void world_of_seed(struct world *world, uint64_t seed)
{
    world_begin(world);
    ls_shard_options options = options_of(world);
    options.seed = seed;
    assert_int_equal(ls_shard_open(&world->shard, &options), 0);
}

static void acquire_quietly(struct world *world, uint64_t timestamp)
{
    assert_int_equal(acquire(world, timestamp, "k", W), 0);
    world->said.size = 0;
}

/* The hash of the only transaction there is. */
static uint64_t hash_of(uint64_t timestamp, uint64_t seed)
{
    struct world world;
    world_of_seed(&world, seed);
    acquire_quietly(&world, timestamp);
    const struct slots *slots = &world.shard->transactions.now;
    size_t i = 0;
    while (slots_at(slots, i)->item == NULL) {
        i++;
    }
    uint64_t hash = slots_at(slots, i)->hash;
    world_close(&world);
    return hash;
}

static void the_seed_places_timestamps(void **state)
{
    (void)state;
    size_t same = 0;
    for (uint64_t i = 0; i < 64; i++) {
        uint64_t timestamp = i << 32 | i << 6;
        assert_true(hash_of(timestamp, 1) == hash_of(timestamp, 1));
        same += hash_of(timestamp, 1) % 64 == hash_of(timestamp, 2) % 64;
    }
    assert_true(same < 16);
}

static void neighbours_stand_together(void **state)
{
    (void)state;
    uint64_t place = hash_of(6400, 1) / 4;
    for (uint64_t i = 1; i < 4; i++) {
        assert_true(hash_of(6400 + i, 1) / 4 == place);
    }
}

/* The longest run of slots that are taken, in either half of a table that grows. */
static size_t longest_run(const struct slots *slots)
{
    size_t run = 0;
    size_t longest = 0;
    for (size_t i = 0; slots->at != NULL && i < 2 * (slots->mask + 1); i++) {
        run = slots_at(slots, i & slots->mask)->item != NULL ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void timestamps_of_any_stride_spread(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 54; shift++) {
        struct world world;
        world_of_seed(&world, shift);
        for (uint64_t i = 0; i < COUNT; i++) {
            acquire_quietly(&world, i << shift);
        }
        size_t run = longest_run(&world.shard->transactions.now);
        if (run >= 80) {
            fail_msg("a stride of 2^%u: a run of %zu", shift, run);
        }
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seed_places_timestamps),
        cmocka_unit_test(neighbours_stand_together),
        cmocka_unit_test(timestamps_of_any_stride_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
