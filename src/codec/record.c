/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as CBOR maps. Encoders write each key, in the deterministic order that the code itself
 * has, as bytes made at compile time into room reserved once, then hash what they wrote and insert
 * `check` at its place. Decoders walk the map once, next to a table of the fields in the same
 * order.
 */
#include "codec/record.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "codec/cbor.h"
#include "codec/key.h"

/* Text keys with their CBOR heads, 0x60 plus the size, in octal: such an escape ends by itself. */
#define K_ID        "\142id"
#define K_KEY       "\143key"
#define K_MAY       "\143may"
#define K_SEQ       "\143seq"
#define K_TTL       "\143ttl"
#define K_VIA       "\143via"
#define K_BEAT      "\144beat"
#define K_FROM      "\144from"
#define K_HOST      "\144host"
#define K_LAZY      "\144lazy"
#define K_META      "\144meta"
#define K_TYPE      "\144type"
#define K_WILL      "\144will"
#define K_BEGAN     "\145began"
#define K_CHECK     "\145check"
#define K_CLOCK     "\145clock"
#define K_EAGER     "\145eager"
#define K_EVENT     "\145event"
#define K_OWNER     "\145owner"
#define K_STATE     "\145state"
#define K_VALUE     "\145value"
#define K_WHOLE     "\145whole"
#define K_JOINED    "\146joined"
#define K_OBJECT    "\146object"
#define K_WRITES    "\146writes"
#define K_CREATED   "\147created"
#define K_FROM_ID   "\147from-id"
#define K_MODIFIED  "\150modified"
#define K_PREVIOUS  "\150previous"
#define K_TIMESTAMP "\151timestamp"

/* Room for the keys, heads and numbers of any record, its strings not counted. */
#define FIXED_SIZE_MAX 256

#define CONTROL_KEY_SIZE_MAX 24 /* with a head of one byte */

/* ---- encoding ---- */

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

/* Before each write of a list: the sizes of its key and of its value. */
#define WRITE_KEY_SIZE   2
#define WRITE_VALUE_SIZE 4
#define WRITE_DELETED    UINT32_MAX /* instead of the value's size */

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

/* Whether `check` comes before a name in deterministic order. */
static bool check_precedes(const char *name)
{
    size_t size = strlen(name);
    size_t check_size = strlen("check");
    return size == check_size ? strcmp("check", name) < 0 : check_size < size;
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
        if (writer.check_at == NULL && check_precedes(names[i])) {
            put_check_here(&writer);
        }
        put_string(&writer, CBOR_ITEM_TEXT, bytes_of_text(names[i]));
        put_number(&writer, control->value[i]);
        writer.pairs++;
    }
    if (writer.check_at == NULL) {
        put_check_here(&writer);
    }
    (void)writer_close_checked(&writer, seed_of_key(key));
    return 0;
}

/* ---- decoding ---- */

enum { OPTIONAL = 0, REQUIRED = 1 };

struct field {
    ls_bytes key; /* encoded, its head one byte */
    enum cbor_kind kind;
    bool required;
};

#define FIELD(key, kind, required)             \
    {                                          \
        {key, sizeof(key) - 1}, kind, required \
    }

static int refuse_field(struct ls_error *error, size_t offset, const struct field *field,
                        const char *what)
{
    return error_set(error, LS_ERECORD, offset, "%.*s %s, at byte %zu of the record",
                     (int)field->key.size - 1, (const char *)field->key.data + 1, what, offset);
}

static inline bool entry_is_there(const struct cbor_entry *entry)
{
    return entry->key.data != NULL;
}

/* Tries the fields from `next` on, up to one that must be there. Gives 1 and the field found, 0
 * where the next key is none of them, or the refusal. */
static int take_field(struct cbor_map *map, const struct field *fields, size_t count, size_t next,
                      size_t *found, struct cbor_entry *entries, struct ls_error *error)
{
    for (size_t i = next; i < count; i++) {
        int rc = cbor_map_take(map, fields[i].key, &entries[i], error);
        if (rc != 0) {
            *found = i;
            return rc;
        }
        if (fields[i].required) {
            break;
        }
    }
    return 0;
}

/* Walks the record next to its fields, which are in deterministic order as its keys must be. A key
 * that is not known makes it look at each key; the records that we write have none. */
static int read_fields(struct cbor_entry *entries, ls_bytes record, const struct field *fields,
                       size_t count, struct ls_error *error)
{
    struct cbor_map map;
    int rc = cbor_map_open(&map, record, error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        entries[i].key.data = NULL;
    }
    size_t next = 0;
    for (;;) {
        size_t found;
        rc = take_field(&map, fields, count, next, &found, entries, error);
        if (rc > 0) {
            if (entries[found].kind != fields[found].kind) {
                return refuse_field(error, entries[found].offset, &fields[found],
                                    "is of the wrong kind");
            }
            next = found + 1;
            continue;
        }
        struct cbor_entry ignored;
        if (rc == 0) {
            rc = cbor_map_next(&map, &ignored, error);
        }
        if (rc <= 0) {
            break;
        }
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!entry_is_there(&entries[i])) {
            if (fields[i].required) {
                return refuse_field(error, record.size, &fields[i], "is missing");
            }
            entries[i] = (struct cbor_entry){.kind = fields[i].kind};
        }
    }
    return rc;
}

static int read_id(uint8_t out[16], const struct cbor_entry *entry, const struct field *field,
                   struct ls_error *error)
{
    if (entry->bytes.size != 16) {
        return refuse_field(error, entry->offset, field, "is not 16 bytes long");
    }
    memcpy(out, entry->bytes.data, 16);
    return 0;
}

static bool is_message_type(uint64_t type)
{
    return type == 'O' || type == 'D' || type == 'C' || type == 'U';
}

int message_decode(struct message *out, ls_bytes record, struct ls_error *error)
{
    enum { ID, FROM, HOST, TYPE, CHECK, CLOCK, EVENT, OBJECT, FROM_ID, TIMESTAMP, COUNT };
    static const struct field fields[COUNT] = {
        [ID] = FIELD(K_ID, CBOR_BYTES, OPTIONAL),
        [FROM] = FIELD(K_FROM, CBOR_TEXT, REQUIRED),
        [HOST] = FIELD(K_HOST, CBOR_TEXT, OPTIONAL),
        [TYPE] = FIELD(K_TYPE, CBOR_UINT, REQUIRED),
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [CLOCK] = FIELD(K_CLOCK, CBOR_UINT, REQUIRED),
        [EVENT] = FIELD(K_EVENT, CBOR_UINT, REQUIRED),
        [OBJECT] = FIELD(K_OBJECT, CBOR_BYTES, REQUIRED),
        [FROM_ID] = FIELD(K_FROM_ID, CBOR_BYTES, OPTIONAL),
        [TIMESTAMP] = FIELD(K_TIMESTAMP, CBOR_UINT, REQUIRED),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc != 0) {
        return rc;
    }
    if (!is_message_type(entries[TYPE].number)) {
        return refuse_field(error, entries[TYPE].offset, &fields[TYPE], "is not known");
    }
    if (entries[EVENT].number > UINT8_MAX) {
        return refuse_field(error, entries[EVENT].offset, &fields[EVENT], "is not one byte");
    }
    struct message message = {
        .clock = entries[CLOCK].number,
        .timestamp_ns = entries[TIMESTAMP].number,
        .check = entries[CHECK].number,
        .type = (uint8_t)entries[TYPE].number,
        .event = (uint8_t)entries[EVENT].number,
        .has_from_id = entry_is_there(&entries[FROM_ID]),
        .has_id = entry_is_there(&entries[ID]),
        .from = entries[FROM].bytes,
        .host = entries[HOST].bytes,
        .object = entries[OBJECT].bytes,
    };
    if (message.has_id && message.host.size == 0) {
        return refuse_field(error, entries[ID].offset, &fields[ID], "stands without a host");
    }
    if (message.has_id) {
        rc = read_id(message.id, &entries[ID], &fields[ID], error);
    }
    if (rc == 0 && message.has_from_id) {
        rc = read_id(message.from_id, &entries[FROM_ID], &fields[FROM_ID], error);
    }
    if (rc == 0) {
        *out = message;
    }
    return rc;
}

int node_decode(struct node *out, ls_bytes record, struct ls_error *error)
{
    enum {
        ID,
        TTL,
        VIA,
        BEAT,
        HOST,
        META,
        CHECK,
        CLOCK,
        STATE,
        JOINED,
        MODIFIED,
        TIMESTAMP,
        COUNT
    };
    static const struct field fields[COUNT] = {
        [ID] = FIELD(K_ID, CBOR_BYTES, REQUIRED),
        [TTL] = FIELD(K_TTL, CBOR_UINT, REQUIRED),
        [VIA] = FIELD(K_VIA, CBOR_UINT, REQUIRED),
        [BEAT] = FIELD(K_BEAT, CBOR_UINT, REQUIRED),
        [HOST] = FIELD(K_HOST, CBOR_TEXT, REQUIRED),
        [META] = FIELD(K_META, CBOR_BYTES, OPTIONAL),
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [CLOCK] = FIELD(K_CLOCK, CBOR_UINT, REQUIRED),
        [STATE] = FIELD(K_STATE, CBOR_TEXT, REQUIRED),
        [JOINED] = FIELD(K_JOINED, CBOR_UINT, REQUIRED),
        [MODIFIED] = FIELD(K_MODIFIED, CBOR_UINT, REQUIRED),
        [TIMESTAMP] = FIELD(K_TIMESTAMP, CBOR_UINT, REQUIRED),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc != 0) {
        return rc;
    }
    int state = node_state_from_name(entries[STATE].bytes);
    if (state < 0) {
        return refuse_field(error, entries[STATE].offset, &fields[STATE], "is not known");
    }
    struct node node = {
        .host = entries[HOST].bytes,
        .joined = entries[JOINED].number,
        .modified = entries[MODIFIED].number,
        .state = (enum node_state)state,
        .clock = entries[CLOCK].number,
        .timestamp_ns = entries[TIMESTAMP].number,
        .ttl_ms = entries[TTL].number,
        .beat = entries[BEAT].number,
        .via = entries[VIA].number,
        .meta = entries[META].bytes,
    };
    rc = read_id(node.id, &entries[ID], &fields[ID], error);
    if (rc == 0) {
        *out = node;
    }
    return rc;
}

int object_decode(struct object *out, ls_bytes record, struct ls_error *error)
{
    enum { CHECK, OWNER, VALUE, CREATED, MODIFIED, COUNT };
    static const struct field fields[COUNT] = {
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [OWNER] = FIELD(K_OWNER, CBOR_TEXT, OPTIONAL),
        [VALUE] = FIELD(K_VALUE, CBOR_BYTES, REQUIRED),
        [CREATED] = FIELD(K_CREATED, CBOR_UINT, REQUIRED),
        [MODIFIED] = FIELD(K_MODIFIED, CBOR_UINT, REQUIRED),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc == 0) {
        *out = (struct object){
            .value = entries[VALUE].bytes,
            .created = entries[CREATED].number,
            .modified = entries[MODIFIED].number,
            .owner = entries[OWNER].bytes,
        };
    }
    return rc;
}

int producer_decode(struct producer *out, ls_bytes record, struct ls_error *error)
{
    enum { SEQ, CHECK, CLOCK, COUNT };
    static const struct field fields[COUNT] = {
        [SEQ] = FIELD(K_SEQ, CBOR_UINT, REQUIRED),
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [CLOCK] = FIELD(K_CLOCK, CBOR_UINT, REQUIRED),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc == 0) {
        *out = (struct producer){.seq = entries[SEQ].number, .clock = entries[CLOCK].number};
    }
    return rc;
}

int owned_decode(ls_bytes *object_key, ls_bytes record, struct ls_error *error)
{
    enum { KEY, CHECK, COUNT };
    static const struct field fields[COUNT] = {
        [KEY] = FIELD(K_KEY, CBOR_BYTES, REQUIRED),
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc == 0) {
        *object_key = entries[KEY].bytes;
    }
    return rc;
}

int change_decode(struct change *out, ls_bytes object, struct ls_error *error)
{
    enum { KEY, VALUE, PREVIOUS, COUNT };
    static const struct field fields[COUNT] = {
        [KEY] = FIELD(K_KEY, CBOR_BYTES, REQUIRED),
        [VALUE] = FIELD(K_VALUE, CBOR_BYTES, OPTIONAL),
        [PREVIOUS] = FIELD(K_PREVIOUS, CBOR_UINT, OPTIONAL),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, object, fields, COUNT, error);
    if (rc == 0) {
        *out = (struct change){
            .key = entries[KEY].bytes,
            .value = entries[VALUE].bytes,
            .has_value = entry_is_there(&entries[VALUE]),
            .previous = entries[PREVIOUS].number,
        };
    }
    return rc;
}

int version_decode(struct version *out, ls_bytes record, struct ls_error *error)
{
    enum { CHECK, VALUE, COUNT };
    static const struct field fields[COUNT] = {
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [VALUE] = FIELD(K_VALUE, CBOR_BYTES, OPTIONAL),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc == 0) {
        *out = (struct version){.value = entries[VALUE].bytes,
                                .deleted = !entry_is_there(&entries[VALUE])};
    }
    return rc;
}

bool key_list_next(ls_bytes *list, ls_bytes *key)
{
    const uint8_t *at = list->data;
    if (list->size < 2) {
        return false;
    }
    size_t size = (size_t)at[0] << 8 | at[1];
    if (size > list->size - 2) {
        return false;
    }
    *key = bytes_of(at + 2, size);
    *list = bytes_of(at + 2 + size, list->size - 2 - size);
    return true;
}

static int check_key_list(ls_bytes list, const struct cbor_entry *entry, struct ls_error *error)
{
    ls_bytes key;
    while (key_list_next(&list, &key)) {
        if (key.size == 0 || key.size > KEY_OBJECT_SIZE_MAX) {
            break;
        }
    }
    return list.size == 0
               ? 0
               : error_set(error, LS_ERECORD, entry->offset, "a list of keys is malformed");
}

int transaction_decode(struct transaction *out, ls_bytes record, struct ls_error *error)
{
    enum { MAY, TTL, VIA, LAZY, WILL, BEGAN, CHECK, EAGER, WHOLE, COUNT };
    static const struct field fields[COUNT] = {
        [MAY] = FIELD(K_MAY, CBOR_BYTES, REQUIRED),
        [TTL] = FIELD(K_TTL, CBOR_UINT, REQUIRED),
        [VIA] = FIELD(K_VIA, CBOR_UINT, REQUIRED),
        [LAZY] = FIELD(K_LAZY, CBOR_BYTES, REQUIRED),
        [WILL] = FIELD(K_WILL, CBOR_BYTES, REQUIRED),
        [BEGAN] = FIELD(K_BEGAN, CBOR_UINT, REQUIRED),
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [EAGER] = FIELD(K_EAGER, CBOR_BYTES, REQUIRED),
        [WHOLE] = FIELD(K_WHOLE, CBOR_UINT, REQUIRED),
    };
    static const int lists[] = {MAY, LAZY, WILL, EAGER};
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0] && rc == 0; i++) {
        rc = check_key_list(entries[lists[i]].bytes, &entries[lists[i]], error);
    }
    if (rc == 0) {
        *out = (struct transaction){
            .via = entries[VIA].number,
            .ttl_ms = entries[TTL].number,
            .began_ns = entries[BEGAN].number,
            .whole = entries[WHOLE].number,
            .eager = entries[EAGER].bytes,
            .lazy = entries[LAZY].bytes,
            .will = entries[WILL].bytes,
            .may = entries[MAY].bytes,
        };
    }
    return rc;
}

static uint64_t get_big(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

bool logged_write_next(ls_bytes *writes, struct logged_write *write)
{
    const uint8_t *at = writes->data;
    if (writes->size < WRITE_KEY_SIZE + WRITE_VALUE_SIZE) {
        return false;
    }
    size_t left = writes->size - WRITE_KEY_SIZE - WRITE_VALUE_SIZE;
    size_t key_size = (size_t)get_big(at, WRITE_KEY_SIZE);
    size_t value_size = (size_t)get_big(at + WRITE_KEY_SIZE, WRITE_VALUE_SIZE);
    bool deleted = value_size == WRITE_DELETED;
    value_size = deleted ? 0 : value_size;
    if (key_size > left || value_size > left - key_size) {
        return false;
    }
    at += WRITE_KEY_SIZE + WRITE_VALUE_SIZE;
    *write = (struct logged_write){.key = bytes_of(at, key_size), .deleted = deleted};
    if (!deleted) {
        write->value = bytes_of(at + key_size, value_size);
    }
    *writes = bytes_of(at + key_size + value_size, left - key_size - value_size);
    return true;
}

/* At least one, each of a key that a version can have, in the order of their keys. */
static bool check_writes(ls_bytes writes)
{
    ls_bytes last = bytes_of(NULL, 0);
    struct logged_write write;
    if (writes.size == 0) {
        return false;
    }
    while (logged_write_next(&writes, &write)) {
        if (key_check_version(write.key, NULL) != 0 || bytes_compare(last, write.key) >= 0) {
            return false;
        }
        last = write.key;
    }
    return writes.size == 0;
}

int logged_decode(struct logged *out, ls_bytes record, struct ls_error *error)
{
    enum { CHECK, WRITES, TIMESTAMP, COUNT };
    static const struct field fields[COUNT] = {
        [CHECK] = FIELD(K_CHECK, CBOR_UINT, REQUIRED),
        [WRITES] = FIELD(K_WRITES, CBOR_BYTES, REQUIRED),
        [TIMESTAMP] = FIELD(K_TIMESTAMP, CBOR_UINT, REQUIRED),
    };
    struct cbor_entry entries[COUNT];
    int rc = read_fields(entries, record, fields, COUNT, error);
    if (rc == 0 && !check_writes(entries[WRITES].bytes)) {
        rc =
            error_set(error, LS_ERECORD, entries[WRITES].offset, "the list of writes is malformed");
    }
    if (rc == 0) {
        *out = (struct logged){.timestamp = entries[TIMESTAMP].number,
                               .writes = entries[WRITES].bytes};
    }
    return rc;
}

int control_decode(struct control *out, ls_bytes record, const char *const *names,
                   struct ls_error *error)
{
    static const struct field check = FIELD(K_CHECK, CBOR_UINT, REQUIRED);
    struct field fields[CONTROL_NAMES_MAX + 1];
    uint8_t keys[CONTROL_NAMES_MAX][CONTROL_KEY_SIZE_MAX];
    size_t place[CONTROL_NAMES_MAX];
    size_t count = 0;
    size_t named = 0;
    bool check_placed = false;
    for (; names[named] != NULL; named++) {
        assert(named < CONTROL_NAMES_MAX);
        if (!check_placed && check_precedes(names[named])) {
            fields[count++] = check;
            check_placed = true;
        }
        size_t size = strlen(names[named]);
        assert(size > 0 && size < CONTROL_KEY_SIZE_MAX);
        (void)cbor_write_head(keys[named], CBOR_ITEM_TEXT, size);
        memcpy(keys[named] + 1, names[named], size);
        place[named] = count;
        fields[count++] = (struct field){{keys[named], size + 1}, CBOR_UINT, REQUIRED};
    }
    if (!check_placed) {
        fields[count++] = check;
    }
    struct cbor_entry entries[CONTROL_NAMES_MAX + 1];
    int rc = read_fields(entries, record, fields, count, error);
    if (rc == 0) {
        *out = (struct control){0};
        for (size_t i = 0; i < named; i++) {
            out->value[i] = entries[place[i]].number;
        }
    }
    return rc;
}
