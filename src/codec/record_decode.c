/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as CBOR maps, read. Decoders walk the map once, next to a table of the fields in the same
 * order. They verify no check: record_check.c does.
 */
#include "codec/record.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "codec/cbor.h"
#include "codec/key.h"
#include "codec/record_keys.h"

#define CONTROL_KEY_SIZE_MAX 24 /* with a head of one byte */

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
        bool required = names[named][0] != CONTROL_OPTIONAL;
        const char *name = names[named] + (required ? 0 : 1);
        if (!check_placed && check_precedes(name)) {
            fields[count++] = check;
            check_placed = true;
        }
        size_t size = strlen(name);
        assert(size > 0 && size < CONTROL_KEY_SIZE_MAX);
        (void)cbor_write_head(keys[named], CBOR_ITEM_TEXT, size);
        memcpy(keys[named] + 1, name, size);
        place[named] = count;
        fields[count++] = (struct field){{keys[named], size + 1}, CBOR_UINT, required};
    }
    if (!check_placed) {
        fields[count++] = check;
    }
    struct cbor_entry entries[CONTROL_NAMES_MAX + 1];
    int rc = read_fields(entries, record, fields, count, error);
    if (rc == 0) {
        *out = (struct control){0};
        for (size_t i = 0; i < named; i++) {
            const struct cbor_entry *entry = &entries[place[i]];
            out->value[i] = entry_is_there(entry) ? entry->number : CONTROL_ABSENT;
        }
    }
    return rc;
}
