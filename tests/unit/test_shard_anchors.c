/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of anchors: what is held is found, however long the chain and whatever was dropped. */
#include "shard/state.h"
#include "shard_world.h"

#define HEIGHTS 3000

static uint64_t draw(uint64_t *random, uint64_t below)
{
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*random >> 33) % below;
}

/* One chain as an array: the anchor at `first` + i has timestamps[i]. */
struct chain_model {
    struct world world;
    uint64_t random;
    uint64_t first;
    uint64_t timestamps[HEIGHTS];
    size_t dropped;
    size_t count; /* the dropped ones too */
};

static int anchor_of(struct chain_model *model, size_t i, uint64_t timestamp, const char *bytes)
{
    return ls_shard_anchor(model->world.shard, key("c"), 7, model->first + i, key(bytes),
                           timestamp);
}

/* What is below heard_all_reads may be dropped, but for the newest of it. */
static void look_what_was_dropped(struct chain_model *model)
{
    ls_shard_info info = info_of(&model->world);
    size_t dropped = model->count - (size_t)info.anchors;
    assert_true(info.anchors > 0 && info.anchors <= model->count);
    assert_true(dropped >= model->dropped);
    assert_true(dropped == model->dropped || model->timestamps[dropped] < info.heard_all_reads);
    model->dropped = dropped;
}

static void append(struct chain_model *model)
{
    uint64_t last = model->count > 0 ? model->timestamps[model->count - 1] : 1;
    model->timestamps[model->count] = last + draw(&model->random, 3);
    int rc = anchor_of(model, model->count, model->timestamps[model->count], "a");
    assert_int_equal(rc, 0);
    model->count++;
}

/* An anchor of any height, as it is held or not. */
static void say_again(struct chain_model *model)
{
    size_t i = (size_t)draw(&model->random, model->count);
    bool held = i >= model->dropped;
    uint64_t other = draw(&model->random, 3);
    int rc = anchor_of(model, i, model->timestamps[i] + (other == 1), other == 2 ? "b" : "a");
    assert_int_equal(rc, held && other == 0 ? 0 : LS_ECONFLICT);
    if (rc != 0) {
        assert_int_equal(ls_last_error()->number, model->first + model->count - 1);
        bool differs = strstr(ls_last_error()->text, "another anchor") != NULL;
        assert_true(differs == held);
    }
}

static void drop(struct chain_model *model)
{
    uint64_t last = model->timestamps[model->count - 1];
    uint64_t back = draw(&model->random, 400);
    seen(&model->world, last > back ? last - back : 0, false);
}

static void compare_with_model(uint64_t first, uint64_t seed)
{
    static struct chain_model model;
    model = (struct chain_model){.random = seed, .first = first};
    world_open(&model.world, false);
    append(&model);
    while (model.count < HEIGHTS) {
        uint64_t what = draw(&model.random, 100);
        if (what < 40) {
            append(&model);
        } else if (what < 98) {
            say_again(&model);
        } else if (what < 99) {
            assert_int_equal(anchor_of(&model, model.count + 1, 1, "a"), LS_ECONFLICT);
        } else {
            drop(&model);
        }
        look_what_was_dropped(&model);
        if (what >= 98) {
            assert_whole(&model.world);
        }
    }
    assert_true(model.dropped > HEIGHTS / 2);
    seen(&model.world, model.timestamps[HEIGHTS - 1] + 1, true);
    seen(&model.world, model.timestamps[HEIGHTS - 1] + 1, false);
    while (ls_shard_collect(model.world.shard, 1)) {
        assert_whole(&model.world);
    }
    look_what_was_dropped(&model);
    assert_int_equal(model.dropped, HEIGHTS - 1);
    world_close(&model.world);
}

static void a_chain_holds_what_an_array_would(void **state)
{
    (void)state;
    const uint64_t firsts[] = {0, 1, 1023, (UINT64_C(1) << 40) - 7, UINT64_MAX - HEIGHTS + 1};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        compare_with_model(firsts[i], i + 1);
    }
}

static void after_the_greatest_height_there_is_none(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    uint64_t last = UINT64_MAX;
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, last, key("a"), 1), 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, last, key("a"), 1), 0);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 0, key("a"), 1), LS_ECONFLICT, last);
    world_close(&world);
}

static void any_anchor_is_few_steps_from_the_newest(void **state)
{
    (void)state;
    const size_t count = 100000;
    const size_t bits = 17; /* of the count */
    struct world world;
    world_open(&world, false);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, i, key("a"), 1), 0);
    }
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        size_t steps = 0;
        const struct anchor *anchor = world.shard->chain->newest;
        while (anchor->height != i) {
            anchor = anchor_towards(anchor, i);
            steps++;
        }
        most = steps > most ? steps : most;
    }
    if (most > bits * (bits + 3) / 2) {
        fail_msg("%zu steps", most);
    }
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_holds_what_an_array_would),
        cmocka_unit_test(after_the_greatest_height_there_is_none),
        cmocka_unit_test(any_anchor_is_few_steps_from_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
