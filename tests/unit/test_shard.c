/* SPDX-License-Identifier: Apache-2.0 */
/* The shard engine: what is answered when, what is refused, what is forgotten. After every call the
 * invariants are looked at, and after a refused one that nothing changed and nothing was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "faults.h"
#include "shard_audit.h"

#define E LS_SHARD_EAGER
#define L LS_SHARD_LAZY
#define W LS_SHARD_WILL
#define M LS_SHARD_MAY

#define LONG_KEY   "a key that is longer than what stands inside"
#define LONG_VALUE "a value that is longer than what stands inside of a version"

struct world {
    ls_shard *shard;
    struct buf said; /* messages since they were last looked at, as text */
};

static void on_message(void *context, const ls_shard_message *message)
{
    struct world *world = context;
    char text[200];
    static const char *contents[] = {"=", " absent", "", " stored"};
    if (message->kind == LS_SHARD_LOCKED) {
        snprintf(text, sizeof text, "locked %llu to %llu;", (unsigned long long)message->timestamp,
                 (unsigned long long)message->to);
    } else {
        snprintf(text, sizeof text, "%llu reads %.*s%s%.*s;",
                 (unsigned long long)message->timestamp, (int)message->key.size,
                 (const char *)message->key.data, contents[message->content],
                 (int)message->value.size, (const char *)message->value.data);
    }
    /* Not through the pool of faults: what the test itself keeps does not fail. */
    assert_true(world->said.size + strlen(text) < world->said.capacity);
    memcpy(world->said.data + world->said.size, text, strlen(text) + 1);
    world->said.size += strlen(text);
}

static ls_shard_options options_of(struct world *world)
{
    static const uint64_t workers[] = {2, 1};
    ls_shard_options options = LS_SHARD_OPTIONS_INIT;
    options.workers = workers;
    options.worker_count = 2;
    options.learner = 7;
    options.out = on_message;
    options.context = world;
    return options;
}

static void world_begin(struct world *world)
{
    *world = (struct world){0};
    assert_int_equal(buf_reserve(&world->said, 1 << 16), 0);
    world->said.data[0] = '\0';
}

static void world_open(struct world *world, bool stored)
{
    world_begin(world);
    ls_shard_options options = options_of(world);
    options.stored = stored;
    assert_int_equal(ls_shard_open(&world->shard, &options), 0);
}

static void world_close(struct world *world)
{
    ls_shard_close(world->shard);
    buf_free(&world->said);
}

static void assert_whole(struct world *world)
{
    const char *fault = shard_audit(world->shard);
    if (fault != NULL) {
        fail_msg("does not hold: %s", fault);
    }
}

static void assert_said(struct world *world, const char *text)
{
    assert_string_equal((const char *)world->said.data, text);
    world->said.size = 0;
    world->said.data[0] = '\0';
    assert_whole(world);
}

static ls_bytes key(const char *text)
{
    return bytes_of_text(text);
}

static int acquire(struct world *world, uint64_t timestamp, const char *name, unsigned kinds)
{
    ls_shard_lock lock = {key(name), kinds};
    return ls_shard_acquire(world->shard, timestamp, 1, 9, &lock, 1);
}

static int write_value(struct world *world, uint64_t timestamp, const char *name, const char *value)
{
    return ls_shard_write(world->shard, timestamp, key(name), LS_SHARD_VALUE, key(value));
}

static int write_none(struct world *world, uint64_t timestamp, const char *name)
{
    return ls_shard_write(world->shard, timestamp, key(name), LS_SHARD_NONE, key(""));
}

static void seen(struct world *world, uint64_t timestamp, bool writes)
{
    for (uint64_t worker = 1; worker <= 2; worker++) {
        assert_int_equal(ls_shard_seen(world->shard, worker, timestamp, writes), 0);
    }
}

static ls_shard_info info_of(struct world *world)
{
    ls_shard_info info = LS_SHARD_INFO_INIT;
    assert_int_equal(ls_shard_info_get(world->shard, &info), 0);
    return info;
}

/* A key with a value at 1, known to all, nothing said. */
static void world_with_value(struct world *world, bool stored)
{
    world_open(world, stored);
    assert_int_equal(acquire(world, 1, "k", W), 0);
    assert_int_equal(write_value(world, 1, "k", "one"), 0);
    seen(world, 2, true);
    seen(world, 2, false);
    assert_said(world, "locked 1 to 1;");
}

/* ---- what is answered, and when ---- */

static void an_eager_read_is_answered_once_every_earlier_write_is_known(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", E), 0);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(ls_shard_seen(world.shard, 1, 5, true), 0);
    assert_said(&world, "");
    assert_int_equal(ls_shard_seen(world.shard, 2, 5, true), 0);
    assert_said(&world, "5 reads k=one;");
    seen(&world, 9, true);
    assert_said(&world, "");
    world_close(&world);
}

static void a_lazy_read_is_answered_only_when_asked(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", L), 0);
    seen(&world, 5, true);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(ls_shard_read(world.shard, 5, key("k"), true), 0);
    assert_said(&world, "5 reads k=one;");
    world_close(&world);
}

static void a_lazy_read_given_up_is_not_answered(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", L), 0);
    assert_int_equal(ls_shard_read(world.shard, 5, key("k"), false), 0);
    seen(&world, 5, true);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(ls_shard_read(world.shard, 5, key("k"), true), LS_ENOLOCK);
    assert_int_equal(info_of(&world).open, 0);
    world_close(&world);
}

static void a_read_below_every_version_finds_nothing(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    assert_int_equal(acquire(&world, 5, "k", W), 0);
    assert_int_equal(acquire(&world, 3, "k", E), 0);
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    seen(&world, 6, true);
    assert_said(&world, "locked 5 to 1;locked 3 to 1;3 reads k absent;");
    world_close(&world);
}

static void an_unresolved_may_write_between_a_read_and_its_value_holds_it(void **state)
{
    (void)state;
    for (int used = 0; used < 2; used++) {
        struct world world;
        world_with_value(&world, false);
        assert_int_equal(acquire(&world, 3, "k", M), 0);
        assert_int_equal(acquire(&world, 5, "k", E), 0);
        seen(&world, 9, true);
        assert_said(&world, "locked 3 to 1;locked 5 to 1;");
        assert_int_equal(info_of(&world).waiting, 1);
        assert_int_equal(used ? write_value(&world, 3, "k", "three") : write_none(&world, 3, "k"),
                         0);
        assert_said(&world, used ? "5 reads k=three;" : "5 reads k=one;");
        assert_int_equal(info_of(&world).waiting, 0);
        world_close(&world);
    }
}

static void a_read_falls_through_every_write_that_turns_out_none(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    for (uint64_t t = 3; t <= 6; t++) {
        assert_int_equal(acquire(&world, t, "k", t == 3 ? W : M), 0);
    }
    assert_int_equal(acquire(&world, 7, "k", E), 0);
    assert_int_equal(acquire(&world, 8, "k", L), 0);
    seen(&world, 9, true);
    world.said.size = 0;
    assert_int_equal(write_none(&world, 5, "k"), 0);
    assert_int_equal(write_none(&world, 6, "k"), 0);
    assert_int_equal(write_none(&world, 4, "k"), 0);
    world.said.data[0] = '\0';
    assert_said(&world, "");
    assert_int_equal(write_value(&world, 3, "k", "three"), 0);
    assert_said(&world, "7 reads k=three;");
    assert_int_equal(ls_shard_read(world.shard, 8, key("k"), true), 0);
    assert_said(&world, "8 reads k=three;");
    world_close(&world);
}

static void a_transaction_that_reads_and_writes_a_key_reads_the_version_before_its_own(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock locks[] = {{key("k"), E}, {key("k"), W}}; /* apart, as they stand on the wire */
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2), 0);
    assert_int_equal(acquire(&world, 6, "k", E | W), 0);
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    assert_int_equal(write_value(&world, 6, "k", "six"), 0);
    seen(&world, 7, true);
    assert_said(&world, "locked 5 to 1;locked 6 to 1;5 reads k=one;6 reads k=five;");
    world_close(&world);
}

static void a_deletion_is_a_version_that_is_absent(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 3, "k", W), 0);
    assert_int_equal(acquire(&world, 4, "k", E), 0);
    assert_int_equal(ls_shard_write(world.shard, 3, key("k"), LS_SHARD_ABSENT, key("")), 0);
    seen(&world, 4, true);
    assert_said(&world, "locked 3 to 1;locked 4 to 1;4 reads k absent;");
    seen(&world, 9, true);
    seen(&world, 9, false);
    assert_int_equal(info_of(&world).keys, 0);
    world_close(&world);
}

static void a_lazy_read_finds_its_value_after_newer_ones_were_collected(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 3, "k", L), 0);
    for (uint64_t t = 4; t <= 6; t++) {
        assert_int_equal(acquire(&world, t, "k", W), 0);
        assert_int_equal(write_value(&world, t, "k", LONG_VALUE), 0);
    }
    seen(&world, 20, true);
    seen(&world, 20, false);
    assert_int_equal(info_of(&world).versions, 2);
    world.said.size = 0;
    assert_int_equal(ls_shard_read(world.shard, 3, key("k"), true), 0);
    assert_said(&world, "3 reads k=one;");
    assert_int_equal(info_of(&world).versions, 1);
    world_close(&world);
}

static void with_stored_versions_only_what_is_open_is_held(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, true);
    assert_int_equal(acquire(&world, 3, "k", M), 0);
    assert_int_equal(acquire(&world, 5, "k", E | W), 0);
    assert_int_equal(acquire(&world, 6, "k", E), 0);
    assert_int_equal(acquire(&world, 7, "j", E), 0);
    seen(&world, 7, true);
    assert_said(&world,
                "locked 3 to 1;locked 5 to 1;locked 6 to 1;locked 7 to 1;7 reads j stored;");
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    assert_said(&world, "6 reads k=five;");
    assert_int_equal(write_none(&world, 3, "k"), 0);
    assert_said(&world, "5 reads k stored;");
    seen(&world, 8, true);
    seen(&world, 8, false);
    assert_int_equal(info_of(&world).keys, 0);
    world_close(&world);
}

static void a_stored_version_stands_before_a_lock_that_comes_late(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, true);
    assert_int_equal(acquire(&world, 6, "k", W), 0);
    assert_int_equal(write_value(&world, 6, "k", "six"), 0);
    assert_int_equal(acquire(&world, 4, "k", W), 0); /* allowed: nobody promised anything yet */
    assert_int_equal(acquire(&world, 7, "k", E), 0);
    seen(&world, 8, true);
    assert_said(&world, "locked 6 to 1;locked 4 to 1;locked 7 to 1;7 reads k stored;");
    world_close(&world);
}

/* ---- executors that vanish, workers that fall silent ---- */

static void a_release_gives_reads_up_and_makes_open_writes_none(void **state)
{
    (void)state;
    /* Before its writes, between them, after them. */
    for (int written = 0; written <= 2; written++) {
        struct world world;
        world_with_value(&world, false);
        ls_shard_lock locks[] = {{key("k"), E | W}, {key("j"), M}, {key("i"), L}};
        assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 3), 0);
        assert_int_equal(acquire(&world, 6, "k", E), 0);
        assert_int_equal(acquire(&world, 7, "j", E), 0);
        if (written > 0) {
            assert_int_equal(write_value(&world, 5, "k", "five"), 0);
        }
        if (written > 1) {
            assert_int_equal(write_value(&world, 5, "j", "too"), 0);
        }
        assert_int_equal(ls_shard_release(world.shard, 5), 0);
        assert_int_equal(ls_shard_release(world.shard, 5), 0); /* again: it is remembered */
        assert_int_equal(write_value(&world, 5, "k", "late"), LS_ENOLOCK);
        world.said.size = 0;
        seen(&world, 9, true);
        assert_said(&world, written == 0   ? "6 reads k=one;7 reads j absent;"
                            : written == 1 ? "6 reads k=five;7 reads j absent;"
                                           : "6 reads k=five;7 reads j=too;");
        assert_int_equal(info_of(&world).open, 0);
        world_close(&world);
    }
}

static void a_watermark_that_would_go_back_is_ignored(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    seen(&world, 8, true);
    seen(&world, 5, false);
    seen(&world, 3, true);
    seen(&world, 2, false);
    assert_int_equal(info_of(&world).heard_all_writes, 8);
    assert_int_equal(info_of(&world).heard_all_reads, 5);
    seen(&world, 20, false);
    assert_int_equal(info_of(&world).heard_all_reads, 8); /* never beyond the other */
    assert_whole(&world);
    world_close(&world);
}

static void a_worker_that_falls_silent_holds_reads_and_memory(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", E | W), 0);
    assert_int_equal(write_value(&world, 5, "k", "five"), 0);
    assert_int_equal(ls_shard_seen(world.shard, 1, 100, true), 0);
    assert_int_equal(ls_shard_seen(world.shard, 1, 100, false), 0);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(info_of(&world).versions, 2);
    assert_int_equal(ls_shard_seen(world.shard, 2, 100, true), 0);
    assert_said(&world, "5 reads k=one;");
    assert_int_equal(info_of(&world).versions, 2);
    assert_int_equal(ls_shard_seen(world.shard, 2, 100, false), 0);
    assert_int_equal(info_of(&world).versions, 1);
    assert_int_equal(info_of(&world).remembered, 0);
    world_close(&world);
}

static void an_anchor_raises_the_write_mark_of_every_worker(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 5, "k", E), 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 40, key("a"), 5), 0);
    assert_said(&world, "locked 5 to 1;5 reads k=one;");
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 41, key("b"), 6), 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 40, key("a"), 5), 0);
    assert_int_equal(info_of(&world).anchors, 2);
    assert_int_equal(info_of(&world).heard_all_writes, 6);
    seen(&world, 9, true);
    seen(&world, 9, false);
    while (ls_shard_collect(world.shard, 1)) {
    }
    assert_int_equal(info_of(&world).anchors, 1);
    world_close(&world);
}

static void the_same_locks_again_are_acknowledged_again(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock locks[] = {{key("k"), E | W}, {key("j"), M}};
    ls_shard_lock again[] = {{key("j"), M}, {key("k"), W}, {key("k"), E}};
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2), 0);
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, again, 3), 0);
    assert_said(&world, "locked 5 to 1;locked 5 to 1;");
    seen(&world, 9, true);
    assert_said(&world, "5 reads k=one;");
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2), 0); /* it is open still */
    assert_said(&world, "locked 5 to 1;");
    world_close(&world);
}

/* ---- refusals ---- */

struct refusal {
    struct world *world;
    struct buf before;
};

static struct refusal refusal_begin(struct world *world)
{
    struct refusal refusal = {.world = world};
    world->said.size = 0;
    world->said.data[0] = '\0';
    assert_int_equal(shard_dump(world->shard, &refusal.before), 0);
    return refusal;
}

static void refusal_end(struct refusal *refusal, int rc, int code, uint64_t number)
{
    struct buf after = {0};
    assert_string_equal(ls_errname(rc), ls_errname(code));
    assert_int_equal(ls_last_error()->code, code);
    assert_int_equal(ls_last_error()->number, number);
    assert_int_equal(shard_dump(refusal->world->shard, &after), 0);
    assert_int_equal(after.size, refusal->before.size);
    assert_memory_equal(after.data, refusal->before.data, after.size);
    assert_said(refusal->world, "");
    buf_free(&after);
    buf_free(&refusal->before);
}

#define REFUSED(world, call, code, number)              \
    do {                                                \
        struct refusal refusal_ = refusal_begin(world); \
        int rc_ = (call);                               \
        refusal_end(&refusal_, rc_, (code), (number));  \
    } while (0)

static void locks_that_are_none_are_refused(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock twice[] = {{key("a"), E | W}, {key("b"), E}, {key("b"), L}};
    ls_shard_lock longest = {bytes_of(calloc(1, LS_SHARD_KEY_MAX + 1), LS_SHARD_KEY_MAX + 1), E};
    assert_non_null(longest.key.data);
    assert_int_equal(acquire(&world, 30, "k", E), 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, NULL, 0), LS_EINVAL, 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, twice, 3), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", 0), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", 16), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", E | L), LS_EINVAL, 0);
    REFUSED(&world, acquire(&world, 9, "k", W | M), LS_EINVAL, 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, &longest, 1), LS_ETOOBIG,
            LS_SHARD_KEY_MAX);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 1, 9, twice, LS_SHARD_LOCKS_MAX + 1),
            LS_ETOOBIG, LS_SHARD_LOCKS_MAX);
    REFUSED(&world, ls_shard_acquire(world.shard, 9, 3, 9, twice, 1), LS_ENOTFOUND, 0);
    REFUSED(&world, acquire(&world, 30, "k", L), LS_ECONFLICT, 0);
    REFUSED(&world, ls_shard_acquire(world.shard, 30, 2, 9, twice, 1), LS_ECONFLICT, 0);
    free((void *)(uintptr_t)longest.key.data);
    world_close(&world);
}

static void a_lock_below_what_was_promised_is_too_old(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    seen(&world, 8, true);
    seen(&world, 5, false);
    REFUSED(&world, acquire(&world, 7, "k", W), LS_ETOOOLD, 8);
    REFUSED(&world, acquire(&world, 7, "k", E | M), LS_ETOOOLD, 8);
    REFUSED(&world, acquire(&world, 4, "k", L), LS_ETOOOLD, 5);
    assert_int_equal(acquire(&world, 5, "k", E), 0);
    assert_int_equal(acquire(&world, 8, "k", E | W), 0);
    assert_said(&world, "locked 5 to 1;5 reads k absent;locked 8 to 1;8 reads k absent;");
    world_close(&world);
}

static void a_call_without_its_lock_is_refused(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    ls_shard_lock locks[] = {{key("k"), E}, {key("j"), W}, {key("i"), M}};
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 3), 0);
    seen(&world, 5, true);
    assert_int_equal(write_none(&world, 5, "i"), 0);
    REFUSED(&world, ls_shard_read(world.shard, 4, key("k"), true), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_read(world.shard, 5, key("x"), true), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_read(world.shard, 5, key("j"), true), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_read(world.shard, 5, key("k"), false), LS_ENOLOCK, 0); /* answered */
    REFUSED(&world, write_value(&world, 4, "k", "x"), LS_ENOLOCK, 0);
    REFUSED(&world, write_value(&world, 5, "k", "x"), LS_ENOLOCK, 0);
    REFUSED(&world, write_value(&world, 5, "i", "x"), LS_ENOLOCK, 0); /* a second write */
    REFUSED(&world, write_none(&world, 5, "j"), LS_EINVAL, 0);        /* none, for a will-write */
    REFUSED(&world, ls_shard_write(world.shard, 5, key("j"), LS_SHARD_STORED, key("")), LS_EINVAL,
            0);
    REFUSED(&world,
            ls_shard_write(world.shard, 5, key("j"), LS_SHARD_VALUE,
                           bytes_of("x", (size_t)LS_SHARD_VALUE_MAX + 1)),
            LS_ETOOBIG, LS_SHARD_VALUE_MAX);
    REFUSED(&world, ls_shard_release(world.shard, 4), LS_ENOLOCK, 0);
    REFUSED(&world, ls_shard_seen(world.shard, 3, 9, true), LS_ENOTFOUND, 0);
    world_close(&world);
}

static void an_anchor_out_of_turn_is_refused(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    assert_int_equal(ls_shard_anchor(world.shard, key("c"), 7, 3, key("a"), 5), 0);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 5, key("b"), 9), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 2, key("b"), 9), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 3, key("b"), 5), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 7, 3, key("a"), 6), LS_ECONFLICT, 3);
    REFUSED(&world, ls_shard_anchor(world.shard, key("c"), 8, 4, key("b"), 9), LS_ENOTFOUND, 0);
    assert_int_equal(ls_shard_anchor(world.shard, key("d"), 7, 0, key(""), 1), 0);
    world_close(&world);
}

static void a_shard_that_may_hold_no_more_says_so(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    ls_shard_options options = options_of(&world);
    options.memory_max = 1 << 20;
    assert_int_equal(ls_shard_open(&world.shard, &options), 0);
    uint64_t timestamp = 1;
    char name[32];
    int rc = 0;
    while (rc == 0) {
        snprintf(name, sizeof name, "key %llu", (unsigned long long)timestamp);
        rc = acquire(&world, timestamp++, name, W);
        world.said.size = 0;
        world.said.data[0] = '\0';
    }
    assert_int_equal(rc, LS_ENOSPACE);
    assert_true(info_of(&world).memory <= 1 << 20);
    REFUSED(&world, acquire(&world, timestamp, name, W), LS_ENOSPACE, 1 << 20);
    for (uint64_t t = 1; t < timestamp - 1; t++) {
        assert_int_equal(ls_shard_release(world.shard, t), 0);
    }
    seen(&world, timestamp, true);
    seen(&world, timestamp, false);
    while (ls_shard_collect(world.shard, 100)) {
    }
    assert_int_equal(info_of(&world).keys, 0);
    assert_true(info_of(&world).memory < 1 << 19); /* it comes back */
    assert_int_equal(acquire(&world, timestamp, name, W), 0);
    assert_whole(&world);
    world_close(&world);
}

/* ---- looking ---- */

static void a_get_reads_between_the_marks_and_leaves_nothing_behind(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 4, "k", M), 0);
    seen(&world, 6, true);
    enum ls_shard_content content;
    ls_bytes value;
    uint64_t waits_for;
    assert_int_equal(ls_shard_get(world.shard, 4, key("k"), &content, &value, NULL), 0);
    assert_int_equal(content, LS_SHARD_VALUE);
    assert_memory_equal(value.data, "one", 3);
    assert_int_equal(ls_shard_get(world.shard, 5, key("k"), &content, NULL, &waits_for), 0);
    assert_int_equal(content, LS_SHARD_OPEN);
    assert_int_equal(waits_for, 4);
    assert_int_equal(ls_shard_get(world.shard, 5, key("j"), &content, NULL, NULL), 0);
    assert_int_equal(content, LS_SHARD_ABSENT);
    REFUSED(&world, ls_shard_get(world.shard, 1, key("k"), &content, NULL, NULL), LS_ETOOOLD, 2);
    REFUSED(&world, ls_shard_get(world.shard, 7, key("k"), &content, NULL, NULL), LS_EINVAL, 6);
    world_close(&world);
}

static void explain_names_who_holds_a_read(void **state)
{
    (void)state;
    struct world world;
    world_with_value(&world, false);
    assert_int_equal(acquire(&world, 3, "k", W), 0);
    assert_int_equal(acquire(&world, 5, "k", E | M), 0);
    ls_shard_mark mark = LS_SHARD_MARK_INIT;
    assert_int_equal(ls_shard_explain(world.shard, 5, key("k"), &mark), 0);
    assert_int_equal(mark.kinds, E | M);
    assert_int_equal(mark.read, LS_SHARD_UNHEARD);
    assert_int_equal(mark.write, LS_SHARD_UNWRITTEN);
    seen(&world, 5, true);
    assert_int_equal(ls_shard_explain(world.shard, 5, key("k"), &mark), 0);
    assert_int_equal(mark.read, LS_SHARD_WAITING);
    assert_true(mark.waits);
    assert_int_equal(mark.waits_for, 3);
    assert_int_equal(mark.waits_for_kind, W);
    assert_int_equal(write_value(&world, 3, "k", "three"), 0);
    assert_int_equal(ls_shard_explain(world.shard, 5, key("k"), &mark), 0);
    assert_int_equal(mark.read, LS_SHARD_DONE);
    assert_false(mark.waits);
    assert_int_equal(ls_shard_explain(world.shard, 5, key("x"), &mark), LS_ENOLOCK);
    world_close(&world);
}

/* ---- many ---- */

static void a_transaction_of_many_keys_finds_each(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    enum { MANY = 1000 };
    static char names[MANY][16];
    static ls_shard_lock locks[2 * MANY];
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "key %zu", i);
        locks[i] = (ls_shard_lock){key(names[i]), L};
        locks[2 * MANY - 1 - i] = (ls_shard_lock){key(names[i]), i % 2 == 0 ? W : M};
    }
    assert_int_equal(ls_shard_acquire(world.shard, 5, 1, 9, locks, 2 * MANY), 0);
    seen(&world, 5, true);
    assert_said(&world, "locked 5 to 1;");
    assert_int_equal(info_of(&world).keys, MANY);
    for (size_t i = 0; i < MANY; i++) {
        char expected[48];
        snprintf(expected, sizeof expected, "5 reads key %zu absent;", i);
        assert_int_equal(ls_shard_read(world.shard, 5, key(names[i]), true), 0);
        assert_string_equal((const char *)world.said.data, expected);
        world.said.size = 0;
        assert_int_equal(write_value(&world, 5, names[i], names[i]), 0);
    }
    assert_int_equal(info_of(&world).open, 0);
    assert_int_equal(info_of(&world).versions, MANY);
    assert_whole(&world);
    world_close(&world);
}

static void a_long_timeline_is_kept_in_order_whatever_the_order_of_its_locks(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, false);
    enum { MANY = 1009 };
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(acquire(&world, 1 + i * 367 % MANY, "k", E | W), 0);
        world.said.size = 0;
    }
    assert_whole(&world);
    seen(&world, MANY, true);
    for (uint64_t t = 1; t <= MANY; t++) {
        char value[24];
        char expected[48];
        snprintf(value, sizeof value, "%llu", (unsigned long long)t);
        snprintf(expected, sizeof expected, "%llu reads k=%s;", (unsigned long long)t + 1, value);
        world.said.size = 0;
        world.said.data[0] = '\0';
        assert_int_equal(write_value(&world, t, "k", value), 0);
        assert_string_equal((const char *)world.said.data, t == MANY ? "" : expected);
    }
    seen(&world, MANY + 1, true);
    seen(&world, MANY + 1, false);
    while (ls_shard_collect(world.shard, 7)) {
    }
    assert_int_equal(info_of(&world).versions, 1);
    assert_whole(&world);
    world_close(&world);
}

/* ---- opening, and memory that fails ---- */

static void options_that_are_none_are_refused(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    ls_shard *shard = NULL;
    ls_shard_options good = options_of(&world);
    ls_shard_options bad = good;
    assert_int_equal(ls_shard_open(&shard, NULL), LS_EINVAL);
    bad.size = sizeof bad + 1;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad = good;
    bad.out = NULL;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad = good;
    bad.worker_count = 0;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad.worker_count = LS_SHARD_WORKERS_MAX + 1;
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    bad = good;
    bad.workers = (const uint64_t[]){4, 4};
    assert_int_equal(ls_shard_open(&shard, &bad), LS_EINVAL);
    assert_null(shard);
    ls_shard_close(NULL);
    buf_free(&world.said);
}

/* A call of which an allocation may fail: then nothing has changed, and it works the next time. */
static void try_again(struct world *world, int (*call)(struct world *world))
{
    struct buf before = {0};
    struct buf after = {0};
    long fails_at = 1;
    for (;; fails_at++) {
        before.size = after.size = 0;
        assert_int_equal(shard_dump(world->shard, &before), 0);
        size_t said = world->said.size;
        faults_fail_allocation(fails_at);
        int rc = call(world);
        faults_fail_allocation(0);
        if (rc == 0) {
            break;
        }
        assert_int_equal(rc, LS_ENOMEM);
        assert_int_equal(world->said.size, said);
        assert_int_equal(shard_dump(world->shard, &after), 0);
        assert_int_equal(after.size, before.size);
        assert_memory_equal(after.data, before.data, after.size);
        assert_whole(world);
    }
    buf_free(&before);
    buf_free(&after);
}

static int acquire_some(struct world *world)
{
    uint64_t timestamp = 100 + info_of(world).remembered;
    static char large[5000] = "x";
    ls_shard_lock locks[] = {{key("short"), E | W},
                             {key(LONG_KEY), L | M},
                             {bytes_of(large, sizeof large), W},
                             {key("short too"), W}};
    return ls_shard_acquire(world->shard, timestamp, 1, 9, locks, 4);
}

static int write_long(struct world *world)
{
    return write_value(world, 100, "short", LONG_VALUE);
}

static int write_large(struct world *world)
{
    static char large[5000] = "x";
    return ls_shard_write(world->shard, 100, key(LONG_KEY), LS_SHARD_VALUE,
                          bytes_of(large, sizeof large));
}

static int anchor_some(struct world *world)
{
    return ls_shard_anchor(world->shard, key("chain"), 7, info_of(world).anchors, key("a"), 3);
}

static void an_allocation_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    ls_shard_options options = options_of(&world);
    long fails_at = 1;
    int rc;
    do {
        faults_fail_allocation(fails_at++);
        rc = ls_shard_open(&world.shard, &options);
        faults_fail_allocation(0);
        assert_true(rc == 0 || rc == LS_ENOMEM);
    } while (rc != 0);
    for (int i = 0; i < 100; i++) { /* tables grow on the way */
        try_again(&world, acquire_some);
    }
    try_again(&world, write_long);
    try_again(&world, write_large);
    for (int i = 0; i < 3; i++) {
        try_again(&world, anchor_some);
    }
    assert_int_equal(info_of(&world).open, 100);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_eager_read_is_answered_once_every_earlier_write_is_known),
        cmocka_unit_test(a_lazy_read_is_answered_only_when_asked),
        cmocka_unit_test(a_lazy_read_given_up_is_not_answered),
        cmocka_unit_test(a_read_below_every_version_finds_nothing),
        cmocka_unit_test(an_unresolved_may_write_between_a_read_and_its_value_holds_it),
        cmocka_unit_test(a_read_falls_through_every_write_that_turns_out_none),
        cmocka_unit_test(
            a_transaction_that_reads_and_writes_a_key_reads_the_version_before_its_own),
        cmocka_unit_test(a_deletion_is_a_version_that_is_absent),
        cmocka_unit_test(a_lazy_read_finds_its_value_after_newer_ones_were_collected),
        cmocka_unit_test(with_stored_versions_only_what_is_open_is_held),
        cmocka_unit_test(a_stored_version_stands_before_a_lock_that_comes_late),
        cmocka_unit_test(a_release_gives_reads_up_and_makes_open_writes_none),
        cmocka_unit_test(a_watermark_that_would_go_back_is_ignored),
        cmocka_unit_test(a_worker_that_falls_silent_holds_reads_and_memory),
        cmocka_unit_test(an_anchor_raises_the_write_mark_of_every_worker),
        cmocka_unit_test(the_same_locks_again_are_acknowledged_again),
        cmocka_unit_test(locks_that_are_none_are_refused),
        cmocka_unit_test(a_lock_below_what_was_promised_is_too_old),
        cmocka_unit_test(a_call_without_its_lock_is_refused),
        cmocka_unit_test(an_anchor_out_of_turn_is_refused),
        cmocka_unit_test(a_shard_that_may_hold_no_more_says_so),
        cmocka_unit_test(a_get_reads_between_the_marks_and_leaves_nothing_behind),
        cmocka_unit_test(explain_names_who_holds_a_read),
        cmocka_unit_test(a_transaction_of_many_keys_finds_each),
        cmocka_unit_test(a_long_timeline_is_kept_in_order_whatever_the_order_of_its_locks),
        cmocka_unit_test(options_that_are_none_are_refused),
        cmocka_unit_test(an_allocation_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
