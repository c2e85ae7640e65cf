/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as CBOR maps, written. Encoders write each key, in the deterministic order that the code
 * itself has, as bytes made at compile time into room reserved once, then hash what they wrote and
 * insert `check` at its place.
 */
#include "codec/record.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "codec/cbor.h"
#include "codec/record_keys.h"

/* Room for the keys, heads and numbers of any record, its strings not counted. */
#define FIXED_SIZE_MAX 256

/* A record being written into room that is there already. */
struct writer {
    struct buf *out;
    uint8_t *start;
    uint8_t *at;
    uint8_t *check_at; /* where `check` belongs */
    uint8_t pairs;     /* without `check`; at most 22, so that the head is one byte */
};

static int writer_open(struct writer *writer, struct buf *out, size_t strings_size)
{
    int rc = buf_reserve(out, FIXED_SIZE_MAX + strings_size);
    if (rc != 0) {
        return rc;
    }
    writer->out = out;
    writer->start = out->data + out->size;
    writer->at = writer->start + 1;
    writer->check_at = NULL;
    writer->pairs = 0;
    return 0;
}

#define put_key(writer, key) put_encoded_key(writer, key, sizeof(key) - 1)

static inline void put_encoded_key(struct writer *writer, const char *key, size_t size)
{
    memcpy(writer->at, key, size);
    writer->at += size;
    writer->pairs++;
}

static inline void put_number(struct writer *writer, uint64_t value)
{
    writer->at += cbor_write_head(writer->at, CBOR_ITEM_UINT, value);
}

static inline void put_string(struct writer *writer, enum cbor_item_kind kind, ls_bytes value)
{
    writer->at += cbor_write_head(writer->at, kind, value.size);
    if (value.size > 0) {
        memcpy(writer->at, value.data, value.size);
        writer->at += value.size;
    }
}

static inline void put_id(struct writer *writer, const uint8_t id[16])
{
    put_string(writer, CBOR_ITEM_BYTES, bytes_of(id, 16));
}

static inline void put_check_here(struct writer *writer)
{
    writer->check_at = writer->at;
}

static inline void write_map_head(struct writer *writer)
{
    (void)cbor_write_head(writer->start, CBOR_ITEM_MAP, writer->pairs);
}

static void writer_close(struct writer *writer)
{
    write_map_head(writer);
    writer->out->size += (size_t)(writer->at - writer->start);
    assert(writer->out->size <= writer->out->capacity);
}

/* Hashes what was written, inserts the hash as `check`, and gives it. */
static uint64_t writer_close_checked(struct writer *writer, uint64_t seed)
{
    write_map_head(writer);
    uint64_t check = hash64(writer->start, (size_t)(writer->at - writer->start), seed);

    size_t key_size = sizeof K_CHECK - 1;
    size_t entry_size = key_size + cbor_head_size(check);
    memmove(writer->check_at + entry_size, writer->check_at,
            (size_t)(writer->at - writer->check_at));
    memcpy(writer->check_at, K_CHECK, key_size);
    (void)cbor_write_head(writer->check_at + key_size, CBOR_ITEM_UINT, check);
    writer->at += entry_size;
    writer->pairs++;
    writer_close(writer);
    return check;
}

static uint64_t seed_of_key(ls_bytes key)
{
    return hash64(key.data, key.size, 0);
}

int message_encode(struct buf *out, struct message *message, uint64_t previous_check)
{
    struct writer writer;
    int rc =
        writer_open(&writer, out, message->from.size + message->host.size + message->object.size);
    if (rc != 0) {
        return rc;
    }
    if (message->has_id && message->host.size > 0) {
        put_key(&writer, K_ID);
        put_id(&writer, message->id);
    }
    put_key(&writer, K_FROM);
    put_string(&writer, CBOR_ITEM_TEXT, message->from);
    if (message->host.size > 0) {
        put_key(&writer, K_HOST);
        put_string(&writer, CBOR_ITEM_TEXT, message->host);
    }
    put_key(&writer, K_TYPE);
    put_number(&writer, message->type);
    put_check_here(&writer);
    put_key(&writer, K_CLOCK);
    put_number(&writer, message->clock);
    put_key(&writer, K_EVENT);
    put_number(&writer, message->event);
    put_key(&writer, K_OBJECT);
    put_string(&writer, CBOR_ITEM_BYTES, message->object);
    if (message->has_from_id) {
        put_key(&writer, K_FROM_ID);
        put_id(&writer, message->from_id);
    }
    put_key(&writer, K_TIMESTAMP);
    put_number(&writer, message->timestamp_ns);
    message->check = writer_close_checked(&writer, previous_check);
    return 0;
}

int node_encode(struct buf *out, const struct node *node, ls_bytes key)
{
    struct writer writer;
    int rc = writer_open(&writer, out, node->host.size + node->meta.size);
    if (rc != 0) {
        return rc;
    }
    put_key(&writer, K_ID);
    put_id(&writer, node->id);
    put_key(&writer, K_TTL);
    put_number(&writer, node->ttl_ms);
    put_key(&writer, K_VIA);
    put_number(&writer, node->via);
    put_key(&writer, K_BEAT);
    put_number(&writer, node->beat);
    put_key(&writer, K_HOST);
    put_string(&writer, CBOR_ITEM_TEXT, node->host);
    if (node->meta.size > 0) {
        put_key(&writer, K_META);
        put_string(&writer, CBOR_ITEM_BYTES, node->meta);
    }
    put_check_here(&writer);
    put_key(&writer, K_CLOCK);
    put_number(&writer, node->clock);
    put_key(&writer, K_STATE);
    put_string(&writer, CBOR_ITEM_TEXT, bytes_of_text(node_state_name(node->state)));
    put_key(&writer, K_JOINED);
    put_number(&writer, node->joined);
    put_key(&writer, K_MODIFIED);
    put_number(&writer, node->modified);
    put_key(&writer, K_TIMESTAMP);
    put_number(&writer, node->timestamp_ns);
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

int object_encode(struct buf *out, const struct object *object, ls_bytes key)
{
    struct writer writer;
    int rc = writer_open(&writer, out, object->owner.size + object->value.size);
    if (rc != 0) {
        return rc;
    }
    put_check_here(&writer);
    if (object->owner.size > 0) {
        put_key(&writer, K_OWNER);
        put_string(&writer, CBOR_ITEM_TEXT, object->owner);
    }
    put_key(&writer, K_VALUE);
    put_string(&writer, CBOR_ITEM_BYTES, object->value);
    put_key(&writer, K_CREATED);
    put_number(&writer, object->created);
    put_key(&writer, K_MODIFIED);
    put_number(&writer, object->modified);
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

int producer_encode(struct buf *out, const struct producer *producer, ls_bytes key)
{
    struct writer writer;
    int rc = writer_open(&writer, out, 0);
    if (rc != 0) {
        return rc;
    }
    put_key(&writer, K_SEQ);
    put_number(&writer, producer->seq);
    put_check_here(&writer);
    put_key(&writer, K_CLOCK);
    put_number(&writer, producer->clock);
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

int owned_encode(struct buf *out, ls_bytes object_key, ls_bytes key)
{
    struct writer writer;
    int rc = writer_open(&writer, out, object_key.size);
    if (rc != 0) {
        return rc;
    }
    put_key(&writer, K_KEY);
    put_string(&writer, CBOR_ITEM_BYTES, object_key);
    put_check_here(&writer);
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

int change_encode(struct buf *out, const struct change *change)
{
    struct writer writer;
    int rc = writer_open(&writer, out, change->key.size + change->value.size);
    if (rc != 0) {
        return rc;
    }
    put_key(&writer, K_KEY);
    put_string(&writer, CBOR_ITEM_BYTES, change->key);
    if (change->has_value) {
        put_key(&writer, K_VALUE);
        put_string(&writer, CBOR_ITEM_BYTES, change->value);
    }
    if (change->previous != 0) {
        put_key(&writer, K_PREVIOUS);
        put_number(&writer, change->previous);
    }
    writer_close(&writer);
    return 0;
}

int version_encode(struct buf *out, const struct version *version, ls_bytes key)
{
    struct writer writer;
    int rc = writer_open(&writer, out, version->value.size);
    if (rc != 0) {
        return rc;
    }
    put_check_here(&writer);
    if (!version->deleted) {
        put_key(&writer, K_VALUE);
        put_string(&writer, CBOR_ITEM_BYTES, version->value);
    }
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

int transaction_encode(struct buf *out, const struct transaction *transaction, ls_bytes key)
{
    struct writer writer;
    int rc = writer_open(&writer, out,
                         transaction->eager.size + transaction->lazy.size + transaction->will.size +
                             transaction->may.size);
    if (rc != 0) {
        return rc;
    }
    put_key(&writer, K_MAY);
    put_string(&writer, CBOR_ITEM_BYTES, transaction->may);
    put_key(&writer, K_TTL);
    put_number(&writer, transaction->ttl_ms);
    put_key(&writer, K_VIA);
    put_number(&writer, transaction->via);
    put_key(&writer, K_LAZY);
    put_string(&writer, CBOR_ITEM_BYTES, transaction->lazy);
    put_key(&writer, K_WILL);
    put_string(&writer, CBOR_ITEM_BYTES, transaction->will);
    put_key(&writer, K_BEGAN);
    put_number(&writer, transaction->began_ns);
    put_check_here(&writer);
    put_key(&writer, K_EAGER);
    put_string(&writer, CBOR_ITEM_BYTES, transaction->eager);
    put_key(&writer, K_WHOLE);
    put_number(&writer, transaction->whole);
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

static uint8_t *put_big(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
    return at + size;
}

static uint8_t *put_bytes_raw(uint8_t *at, ls_bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

static uint8_t *put_write(uint8_t *at, const struct logged_write *write)
{
    at = put_big(at, write->key.size, WRITE_KEY_SIZE);
    at = put_big(at, write->deleted ? WRITE_DELETED : write->value.size, WRITE_VALUE_SIZE);
    at = put_bytes_raw(at, write->key);
    return write->deleted ? at : put_bytes_raw(at, write->value);
}

int logged_encode(struct buf *out, uint64_t timestamp, const struct logged_write *writes,
                  size_t count, ls_bytes key)
{
    struct writer writer;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += WRITE_KEY_SIZE + WRITE_VALUE_SIZE + writes[i].key.size +
                (writes[i].deleted ? 0 : writes[i].value.size);
    }
    int rc = writer_open(&writer, out, size);
    if (rc != 0) {
        return rc;
    }
    put_check_here(&writer);
    put_key(&writer, K_WRITES);
    writer.at += cbor_write_head(writer.at, CBOR_ITEM_BYTES, size);
    for (size_t i = 0; i < count; i++) {
        writer.at = put_write(writer.at, &writes[i]);
    }
    put_key(&writer, K_TIMESTAMP);
    put_number(&writer, timestamp);
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

int control_encode(struct buf *out, const struct control *control, const char *const *names,
                   ls_bytes key)
{
    size_t names_size = 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        assert(i < CONTROL_NAMES_MAX);
        names_size += strlen(names[i]);
    }
    struct writer writer;
    int rc = writer_open(&writer, out, names_size);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        bool optional = names[i][0] == CONTROL_OPTIONAL;
        const char *name = names[i] + (optional ? 1 : 0);
        if (optional && control->value[i] == CONTROL_ABSENT) {
            continue;
        }
        if (writer.check_at == NULL && check_precedes(name)) {
            put_check_here(&writer);
        }
        put_string(&writer, CBOR_ITEM_TEXT, bytes_of_text(name));
        put_number(&writer, control->value[i]);
        writer.pairs++;
    }
    if (writer.check_at == NULL) {
        put_check_here(&writer);
    }
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}
