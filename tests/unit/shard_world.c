/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture of the shard engine's tests. */
#include "shard_world.h"

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

ls_shard_options options_of(struct world *world)
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

void world_begin(struct world *world)
{
    *world = (struct world){0};
    assert_int_equal(buf_reserve(&world->said, 1 << 16), 0);
    world->said.data[0] = '\0';
}

void world_open(struct world *world, bool stored)
{
    world_begin(world);
    ls_shard_options options = options_of(world);
    options.stored = stored;
    assert_int_equal(ls_shard_open(&world->shard, &options), 0);
}

void world_close(struct world *world)
{
    ls_shard_close(world->shard);
    buf_free(&world->said);
}

void assert_whole(struct world *world)
{
    const char *fault = shard_audit(world->shard);
    if (fault != NULL) {
        fail_msg("does not hold: %s", fault);
    }
}

void assert_said(struct world *world, const char *text)
{
    assert_string_equal((const char *)world->said.data, text);
    world->said.size = 0;
    world->said.data[0] = '\0';
    assert_whole(world);
}

ls_bytes key(const char *text)
{
    return bytes_of_text(text);
}

int acquire(struct world *world, uint64_t timestamp, const char *name, unsigned kinds)
{
    ls_shard_lock lock = {key(name), kinds};
    return ls_shard_acquire(world->shard, timestamp, 1, 9, &lock, 1);
}

int write_value(struct world *world, uint64_t timestamp, const char *name, const char *value)
{
    return ls_shard_write(world->shard, timestamp, key(name), LS_SHARD_VALUE, key(value));
}

int write_none(struct world *world, uint64_t timestamp, const char *name)
{
    return ls_shard_write(world->shard, timestamp, key(name), LS_SHARD_NONE, key(""));
}

void seen(struct world *world, uint64_t timestamp, bool writes)
{
    for (uint64_t worker = 1; worker <= 2; worker++) {
        assert_int_equal(ls_shard_seen(world->shard, worker, timestamp, writes), 0);
    }
}

ls_shard_info info_of(struct world *world)
{
    ls_shard_info info = LS_SHARD_INFO_INIT;
    assert_int_equal(ls_shard_info_get(world->shard, &info), 0);
    return info;
}

/* A key with a value at 1, known to all, nothing said. */
void world_with_value(struct world *world, bool stored)
{
    world_open(world, stored);
    assert_int_equal(acquire(world, 1, "k", W), 0);
    assert_int_equal(write_value(world, 1, "k", "one"), 0);
    seen(world, 2, true);
    seen(world, 2, false);
    assert_said(world, "locked 1 to 1;");
}

/* ---- refusals ---- */

struct refusal refusal_begin(struct world *world)
{
    struct refusal refusal = {.world = world};
    world->said.size = 0;
    world->said.data[0] = '\0';
    assert_int_equal(shard_dump(world->shard, &refusal.before), 0);
    return refusal;
}

void refusal_end(struct refusal *refusal, int rc, int code, uint64_t number)
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
