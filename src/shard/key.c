/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that have a version or a mark, by their bytes: awake, or at rest in their cells. */
#include <stddef.h>

#include "base/buf.h"
#include "base/hash.h"
#include "shard/state.h"

ls_bytes key_name(const struct key *key)
{
    return bytes_of(key->size <= NAME_INLINE_MAX ? key->name.bytes : key->name.apart, key->size);
}

uint64_t key_hash(const struct ls_shard *shard, ls_bytes name)
{
    return hash64(name.data, name.size, shard->seed);
}

ls_bytes cell_name(const struct cell *cell)
{
    return bytes_of(cell->name_size <= NAME_INLINE_MAX ? cell->name.bytes : cell->name.apart,
                    cell->name_size);
}

ls_bytes cell_value(const struct cell *cell)
{
    return bytes_of(cell->value_size <= VALUE_INLINE_MAX ? cell->value.bytes : cell->value.apart,
                    cell->value_size);
}

static bool cell_has_name(const struct slot *slot, const void *sought)
{
    return bytes_equal(cell_name((const struct cell *)slot), *(const ls_bytes *)sought);
}

const struct cell *cell_find(const struct ls_shard *shard, ls_bytes name, uint64_t hash)
{
    return (const struct cell *)table_find(&shard->keys, hash, cell_has_name, &name);
}

/* Without a name yet. */
static struct key *key_alloc(struct ls_shard *shard, uint64_t hash, size_t size)
{
    struct key *key = pool_take(&shard->pool, sizeof *key);
    if (key != NULL) {
        memset(key, 0, offsetof(struct key, within));
        key->hash = hash;
        key->size = (uint16_t)size;
    }
    return key;
}

static struct key *key_new(struct ls_shard *shard, ls_bytes name, uint64_t hash)
{
    struct key *key = key_alloc(shard, hash, name.size);
    if (key == NULL) {
        return NULL;
    }
    uint8_t *bytes = key->name.bytes;
    if (name.size > NAME_INLINE_MAX) {
        bytes = pool_take(&shard->pool, name.size);
        if (bytes == NULL) {
            pool_give(&shard->pool, key, sizeof *key);
            return NULL;
        }
        key->name.apart = bytes;
    }
    if (name.size != 0) {
        memcpy(bytes, name.data, name.size);
    }
    struct cell *cell = (struct cell *)table_add(&shard->keys, hash, key, &shard->pool);
    cell->name_size = key->size;
    cell->name = key->name;
    return key;
}

/* Its one version is older than whatever may still come, so its timestamp no longer matters. */
static struct key *key_wake(struct ls_shard *shard, struct cell *cell)
{
    struct key *key = key_alloc(shard, cell->slot.hash, cell->name_size);
    if (key == NULL) {
        return NULL;
    }
    key->name = cell->name;
    struct version *version = version_take(shard, key);
    version->stamp.timestamp = 0;
    version->state = VERSION_VALUE;
    version->size = cell->value_size;
    version->value = cell->value;
    link_init(&version->readers);
    timeline_insert(&key->timeline, &version->stamp, &shard->dice, &shard->pool);
    cell->slot.item = key;
    return key;
}

static void key_rest(struct ls_shard *shard, struct key *key)
{
    struct version *version = version_of(key->timeline.first);
    assert(key->timeline.count == 1 && version->state == VERSION_VALUE);
    assert(link_alone(&version->readers));
    struct cell *cell = (struct cell *)table_slot(&shard->keys, key->hash, key);
    cell->slot.item = AT_REST;
    cell->value_size = version->size;
    cell->value = version->value;
    version_give(shard, key, version);
    pool_give(&shard->pool, key, sizeof *key);
}

struct key *key_make(struct ls_shard *shard, ls_bytes name, uint64_t hash)
{
    struct slot *slot = table_find(&shard->keys, hash, cell_has_name, &name);
    if (slot == NULL) {
        return key_new(shard, name, hash);
    }
    return slot->item != AT_REST ? slot->item : key_wake(shard, (struct cell *)slot);
}

void key_let_go(struct ls_shard *shard, struct key *key)
{
    if (key->marks != 0) {
        return;
    }
    if (key->timeline.count != 0) {
        key_rest(shard, key);
        return;
    }
    table_remove(&shard->keys, key->hash, key, &shard->pool);
    if (key->size > NAME_INLINE_MAX) {
        pool_give(&shard->pool, key->name.apart, key->size);
    }
    pool_give(&shard->pool, key, sizeof *key);
}
