/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that have a version or a mark, by their bytes. */
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

static bool key_has_name(const void *item, const void *sought)
{
    return bytes_equal(key_name(item), *(const ls_bytes *)sought);
}

struct key *key_find(const struct ls_shard *shard, ls_bytes name, uint64_t hash)
{
    return table_find(&shard->keys, hash, key_has_name, &name);
}

struct key *key_make(struct ls_shard *shard, ls_bytes name, uint64_t hash)
{
    struct key *key = key_find(shard, name, hash);
    if (key != NULL) {
        return key;
    }
    key = pool_take(&shard->pool, sizeof *key);
    if (key == NULL) {
        return NULL;
    }
    *key = (struct key){.hash = hash, .size = (uint32_t)name.size};
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
    table_add(&shard->keys, hash, key, &shard->pool);
    return key;
}

void key_let_go(struct ls_shard *shard, struct key *key)
{
    if (key->marks != 0 || key->timeline.count != 0) {
        return;
    }
    table_remove(&shard->keys, key->hash, key, &shard->pool);
    if (key->size > NAME_INLINE_MAX) {
        pool_give(&shard->pool, key->name.apart, key->size);
    }
    pool_give(&shard->pool, key, sizeof *key);
}
