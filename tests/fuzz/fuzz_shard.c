/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shard engine: calls made of the input's bytes, four for each, on a few timestamps and keys.
 * After each the invariants hold; a refused call has changed and sent nothing; a value that comes
 * out is the newest one written below the timestamp, with nothing open above it, and comes once.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/shard_audit.h"
#include "check.h"

#define TIMESTAMPS 32
#define KEYS       4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum written { NOTHING, OPEN, VALUE, ABSENT };

struct world {
    ls_shard *shard;
    bool stored;
    bool may_answer[TIMESTAMPS][KEYS]; /* a read is declared and was not answered or given up */
    enum written written[TIMESTAMPS][KEYS];
    uint8_t values[TIMESTAMPS][KEYS];
    size_t messages;
};

static ls_bytes key_of(uint8_t byte)
{
    static const char *names[KEYS] = {"", "k", "a key that does not stand inside", "l"};
    return bytes_of_text(names[byte % KEYS]);
}

static size_t key_number(ls_bytes key)
{
    for (uint8_t i = 0; i < KEYS; i++) {
        if (bytes_equal(key, key_of(i))) {
            return i;
        }
    }
    abort();
}

static void check_content(const struct world *world, size_t timestamp, size_t key,
                          enum ls_shard_content content, ls_bytes value)
{
    size_t t = timestamp;
    while (t > 0 && world->written[t - 1][key] == NOTHING) {
        t--;
    }
    enum written below = t > 0 ? world->written[t - 1][key] : ABSENT;
    if (content == LS_SHARD_STORED) {
        CHECK(world->stored && below != OPEN);
        return;
    }
    CHECK((content == LS_SHARD_OPEN) == (below == OPEN));
    CHECK((content == LS_SHARD_VALUE) == (below == VALUE));
    CHECK(below != VALUE ||
          (value.size == 60 && *(const uint8_t *)value.data == world->values[t - 1][key]));
}

static void on_message(void *context, const ls_shard_message *message)
{
    struct world *world = context;
    world->messages++;
    if (message->kind == LS_SHARD_READ) {
        size_t key = key_number(message->key);
        CHECK(message->content != LS_SHARD_OPEN);
        CHECK(world->may_answer[message->timestamp][key]);
        world->may_answer[message->timestamp][key] = false;
        check_content(world, message->timestamp, key, message->content, message->value);
    }
}

static int acquire(struct world *world, uint64_t timestamp, uint8_t keys, uint8_t kinds)
{
    ls_shard_lock locks[2] = {{key_of(keys), kinds & 15}, {key_of(keys >> 2), kinds >> 4}};
    size_t count = kinds >> 4 != 0 ? 2 : 1;
    /* What it declares counts before the call: answers may come from within it. Where it was
     * known already, or is refused, it counts for nothing. */
    struct world before = *world;
    size_t messages = world->messages;
    ls_shard_mark mark = LS_SHARD_MARK_INIT;
    bool known = ls_shard_explain(world->shard, timestamp, locks[0].key, &mark) == 0;
    for (size_t i = 0; !known && i < count; i++) {
        size_t key = key_number(locks[i].key);
        if ((locks[i].kinds & (LS_SHARD_EAGER | LS_SHARD_LAZY)) != 0) {
            world->may_answer[timestamp][key] = true;
        }
        if ((locks[i].kinds & (LS_SHARD_WILL | LS_SHARD_MAY)) != 0 &&
            world->written[timestamp][key] == NOTHING) {
            world->written[timestamp][key] = OPEN;
        }
    }
    int rc = ls_shard_acquire(world->shard, timestamp, keys >> 4 & 1, 5, locks, count);
    if (rc != 0) {
        CHECK(world->messages == messages);
        *world = before;
    }
    return rc;
}

static int write_one(struct world *world, uint64_t timestamp, uint8_t key, uint8_t byte)
{
    uint8_t value[60] = {byte};
    struct world before = *world;
    enum ls_shard_content content = byte % 4;
    size_t number = key_number(key_of(key));
    world->written[timestamp][number] = content == LS_SHARD_VALUE    ? VALUE
                                        : content == LS_SHARD_ABSENT ? ABSENT
                                                                     : NOTHING;
    world->values[timestamp][number] = byte;
    int rc = ls_shard_write(world->shard, timestamp, key_of(key), content,
                            bytes_of(value, sizeof value));
    if (rc != 0) {
        CHECK(world->messages == before.messages);
        *world = before;
    }
    return rc;
}

static int release(struct world *world, uint64_t timestamp)
{
    struct world before = *world;
    for (size_t key = 0; key < KEYS; key++) {
        world->may_answer[timestamp][key] = false;
        if (world->written[timestamp][key] == OPEN) {
            world->written[timestamp][key] = NOTHING;
        }
    }
    int rc = ls_shard_release(world->shard, timestamp);
    if (rc != 0) {
        *world = before;
    }
    return rc;
}

static int get(struct world *world, uint64_t timestamp, uint8_t key)
{
    enum ls_shard_content content = LS_SHARD_NONE;
    ls_bytes value = {0};
    int rc = ls_shard_get(world->shard, timestamp, key_of(key), &content, &value, NULL);
    if (rc == 0) {
        check_content(world, timestamp, key_number(key_of(key)), content, value);
    }
    return rc;
}

static int call(struct world *world, const uint8_t *bytes)
{
    uint64_t timestamp = bytes[1] % TIMESTAMPS;
    switch (bytes[0] % 8) {
    case 0:
    case 1:
        return acquire(world, timestamp, bytes[2], bytes[3]);
    case 2: {
        int rc = ls_shard_read(world->shard, timestamp, key_of(bytes[2]), bytes[3] % 4 != 0);
        if (rc == 0 && bytes[3] % 4 == 0) {
            world->may_answer[timestamp][bytes[2] % KEYS] = false;
        }
        return rc;
    }
    case 3:
    case 4:
        return write_one(world, timestamp, bytes[2], bytes[3]);
    case 5:
        return ls_shard_seen(world->shard, bytes[2] & 1, timestamp, bytes[3] & 1);
    case 6:
        return bytes[3] % 2 == 0 ? release(world, timestamp)
                                 : ls_shard_anchor(world->shard, key_of(bytes[2]), bytes[3] >> 6,
                                                   bytes[2] >> 2, key_of(bytes[3]), timestamp);
    default:
        return get(world, timestamp, bytes[2]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t workers[] = {0, 1};
    struct world world = {0};
    if (size == 0) {
        return 0;
    }
    world.stored = data[0] & 1;
    ls_shard_options options = LS_SHARD_OPTIONS_INIT;
    options.workers = workers;
    options.worker_count = 1 + (data[0] >> 1 & 1);
    options.out = on_message;
    options.context = &world;
    options.stored = world.stored;
    CHECK(ls_shard_open(&world.shard, &options) == 0);
    struct buf before = {0};
    struct buf after = {0};
    for (size_t at = 1; at + 4 <= size; at += 4) {
        before.size = after.size = 0;
        CHECK(shard_dump(world.shard, &before) == 0);
        size_t messages = world.messages;
        if (call(&world, data + at) != 0) {
            CHECK(shard_dump(world.shard, &after) == 0);
            CHECK(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
            CHECK(world.messages == messages);
        }
        CHECK(shard_audit(world.shard) == NULL);
    }
    buf_free(&before);
    buf_free(&after);
    ls_shard_close(world.shard);
    return 0;
}
