/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a dump. Only what is sure to come back as it was is written field by field: a record
 * that its walker accepts (so it is in the one deterministic form), with plain names and texts.
 * Reading sorts the fields into that form again, by their names without suffixes.
 */
#include "cli/dump_line.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "codec/cbor.h"
#include "codec/json.h"
#include "codec/uuid.h"

#define FIELDS_MAX 64

#define HEX    "_hex"
#define BASE64 "_base64url"

/* ---- writing ---- */

/* Text that JSON and every editor take as it is. */
static bool is_plain(ls_bytes text)
{
    const uint8_t *bytes = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
            return false;
        }
    }
    return utf8_check(text, NULL);
}

/* Names to which a suffix can be added and taken off again without doubt. */
static bool is_name(ls_bytes name)
{
    const char *text = name.data;
    for (size_t i = 0; i < name.size; i++) {
        if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9') ||
              text[i] == '-')) {
            return false;
        }
    }
    return name.size > 0;
}

static bool is_hash(ls_bytes name)
{
    return bytes_equal(name, bytes_of_text("check")) || bytes_equal(name, bytes_of_text("chain"));
}

static int put_base64(struct buf *out, ls_bytes bytes)
{
    int rc = buf_append_byte(out, '"');
    rc = rc != 0 ? rc : json_put_base64(out, bytes);
    return rc != 0 ? rc : buf_append_byte(out, '"');
}

static int put_hex(struct buf *out, ls_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    int rc = buf_reserve(out, 2 * bytes.size + 2);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = out->data + out->size;
    *at++ = '"';
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = ((const uint8_t *)bytes.data)[i];
        *at++ = (uint8_t)digits[byte >> 4];
        *at++ = (uint8_t)digits[byte & 15];
    }
    *at = '"';
    out->size += 2 * bytes.size + 2;
    return 0;
}

static int put_name(struct buf *out, const char *before, ls_bytes name, const char *suffix)
{
    return buf_printf(out, "%s\"%.*s%s\":", before, (int)name.size, (const char *)name.data,
                      suffix);
}

static int put_field(struct buf *out, const struct cbor_entry *entry, bool first)
{
    const char *before = first ? "" : ",";
    int rc;
    switch (entry->kind) {
    case CBOR_UINT:
        if (is_hash(entry->key) || entry->number > INT64_MAX) {
            rc = put_name(out, before, entry->key, HEX);
            return rc != 0 ? rc : buf_printf(out, "\"%016" PRIx64 "\"", entry->number);
        }
        rc = put_name(out, before, entry->key, "");
        return rc != 0 ? rc : buf_printf(out, "%" PRIu64, entry->number);
    case CBOR_BYTES:
        rc = put_name(out, before, entry->key, BASE64);
        return rc != 0 ? rc : put_base64(out, entry->bytes);
    default:
        rc = put_name(out, before, entry->key, "");
        return rc != 0 ? rc : json_put_string(out, entry->bytes);
    }
}

/* Appends the fields. 1: done; 0: the record cannot be written so; negative: LS_ENOMEM. */
static int put_fields(struct buf *out, ls_bytes record)
{
    struct cbor_map map;
    struct cbor_entry entry;
    struct ls_error error;
    bool first = true;
    int rc = cbor_map_open(&map, record, &error);
    if (rc != 0 || map.left > FIELDS_MAX) {
        return 0;
    }
    while ((rc = cbor_map_next(&map, &entry, &error)) > 0) {
        if (!is_name(entry.key) || entry.kind == CBOR_OTHER ||
            (entry.kind == CBOR_TEXT && !is_plain(entry.bytes))) {
            return 0;
        }
        rc = put_field(out, &entry, first);
        if (rc != 0) {
            return rc;
        }
        first = false;
    }
    return rc == 0;
}

static int put_named(struct buf *out, const char *name, ls_bytes bytes)
{
    int rc;
    if (is_plain(bytes)) {
        rc = buf_printf(out, ",\"%s\":", name);
        return rc != 0 ? rc : json_put_string(out, bytes);
    }
    rc = buf_printf(out, ",\"%s" BASE64 "\":", name);
    return rc != 0 ? rc : put_base64(out, bytes);
}

static int put_key(struct buf *out, const struct key_parts *parts)
{
    char id[UUID_TEXT_SIZE];
    int rc = buf_printf(out, "{\"category\":\"%c\"", (char)parts->category);
    if (rc != 0) {
        return rc;
    }
    switch (parts->category) {
    case KEY_MESSAGE:
        return buf_printf(out, ",\"clock\":%" PRIu64 ",\"type\":%u", parts->clock,
                          (unsigned)parts->type);
    case KEY_PRODUCER:
        uuid_format(id, parts->id);
        return buf_printf(out, ",\"id\":\"%s\"", id);
    case KEY_NODE:
        return put_named(out, "host", parts->name);
    case KEY_CONTROL:
        return put_named(out, "name", parts->name);
    case KEY_VERSION:
        rc = put_named(out, "key", parts->name);
        return rc != 0 ? rc : buf_printf(out, ",\"timestamp\":%" PRIu64, parts->clock);
    default:
        return put_named(out, "key", parts->name);
    }
}

/* 1, 0 or negative, as put_fields. */
static int put_decoded(struct buf *out, ls_bytes key, ls_bytes value)
{
    struct key_parts parts;
    if (key_decode(&parts, key, NULL) != 0) {
        return 0;
    }
    int rc = put_key(out, &parts);
    rc = rc != 0 ? rc : buf_append_text(out, ",\"record\":{");
    rc = rc != 0 ? rc : put_fields(out, value);
    if (rc <= 0) {
        return rc;
    }
    rc = buf_append_text(out, "}}\n");
    return rc != 0 ? rc : 1;
}

int dump_line_write(struct buf *out, ls_bytes key, ls_bytes value)
{
    size_t before = out->size;
    int rc = put_decoded(out, key, value);
    if (rc != 0) {
        return rc < 0 ? rc : 0;
    }
    out->size = before;
    rc = buf_append_text(out, "{\"key_hex\":");
    rc = rc != 0 ? rc : put_hex(out, key);
    rc = rc != 0 ? rc : buf_append_text(out, ",\"value_hex\":");
    rc = rc != 0 ? rc : put_hex(out, value);
    return rc != 0 ? rc : buf_append_text(out, "}\n");
}

/* ---- reading ---- */

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int dump_unbase64(struct buf *out, ls_bytes text)
{
    const uint8_t *at = text.data;
    uint32_t bits = 0;
    unsigned count = 0;
    if (text.size % 4 == 1) {
        return LS_EINVAL;
    }
    for (size_t i = 0; i < text.size; i++) {
        int digit = base64_digit(at[i]);
        if (digit < 0) {
            return LS_EINVAL;
        }
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            int rc = buf_append_byte(out, (uint8_t)(bits >> count));
            if (rc != 0) {
                return rc;
            }
        }
    }
    return (bits & ((1u << count) - 1)) == 0 ? 0 : LS_EINVAL;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int unhex(struct buf *out, ls_bytes text)
{
    const uint8_t *at = text.data;
    if (text.size % 2 != 0) {
        return LS_EINVAL;
    }
    for (size_t i = 0; i < text.size; i += 2) {
        int high = hex_digit(at[i]);
        int low = hex_digit(at[i + 1]);
        if (high < 0 || low < 0) {
            return LS_EINVAL;
        }
        int rc = buf_append_byte(out, (uint8_t)(high << 4 | low));
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* A field as it will be encoded. Byte strings are in the reader's `bytes`, by their offsets, since
 * that may move as it grows. */
struct field {
    ls_bytes name;
    enum cbor_kind kind;
    uint64_t number;
    ls_bytes text;
    size_t offset;
    size_t size;
};

static int wrong(struct ls_error *error, const char *what)
{
    return error_set(error, LS_EINVAL, 0, "%s", what);
}

static bool take_suffix(ls_bytes *name, const char *suffix)
{
    size_t size = strlen(suffix);
    if (name->size <= size ||
        memcmp((const char *)name->data + name->size - size, suffix, size) != 0) {
        return false;
    }
    name->size -= size;
    return true;
}

static int read_number(uint64_t *out, ls_bytes hex)
{
    const uint8_t *at = hex.data;
    *out = 0;
    for (size_t i = 0; i < hex.size; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) {
            return LS_EINVAL;
        }
        *out = *out << 4 | (uint64_t)digit;
    }
    return hex.size == 16 ? 0 : LS_EINVAL;
}

static int read_field(struct dump_reader *reader, const struct cbor_entry *entry,
                      struct field *field, struct ls_error *error)
{
    *field = (struct field){.name = entry->key, .kind = entry->kind};
    if (entry->kind == CBOR_UINT) {
        field->number = entry->number;
        return 0;
    }
    if (entry->kind != CBOR_TEXT) {
        return wrong(error, "a field is neither a number nor a string");
    }
    int rc = 0;
    if (take_suffix(&field->name, HEX)) {
        field->kind = CBOR_UINT;
        rc = read_number(&field->number, entry->bytes);
    } else if (take_suffix(&field->name, BASE64)) {
        field->kind = CBOR_BYTES;
        field->offset = reader->bytes.size;
        rc = dump_unbase64(&reader->bytes, entry->bytes);
        field->size = reader->bytes.size - field->offset;
    } else {
        field->text = entry->bytes;
    }
    if (rc == LS_ENOMEM) {
        return error_code(error, rc);
    }
    return rc == 0 ? 0 : wrong(error, "a field is not the hex or base64url that its name says");
}

/* The order of the encoded names: the shorter first. */
static int compare_fields(const void *a, const void *b)
{
    const struct field *left = a;
    const struct field *right = b;
    if (left->name.size != right->name.size) {
        return left->name.size < right->name.size ? -1 : 1;
    }
    return bytes_compare(left->name, right->name);
}

static int encode_fields(const struct dump_reader *reader, const struct field *fields, size_t count,
                         struct buf *value)
{
    int rc = cbor_put_map(value, count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct field *field = &fields[i];
        rc = cbor_put_text(value, field->name);
        if (rc != 0) {
            break;
        }
        if (field->kind == CBOR_UINT) {
            rc = cbor_put_uint(value, field->number);
        } else if (field->kind == CBOR_TEXT) {
            rc = cbor_put_text(value, field->text);
        } else {
            rc = cbor_put_bytes(value, bytes_of(reader->bytes.data + field->offset, field->size));
        }
    }
    return rc;
}

static int read_record(struct dump_reader *reader, ls_bytes record, struct buf *value,
                       struct ls_error *error)
{
    struct field fields[FIELDS_MAX];
    struct cbor_map map;
    struct cbor_entry entry;
    size_t count = 0;
    int rc = cbor_map_open(&map, record, error);
    if (rc != 0) {
        return rc;
    }
    while ((rc = cbor_map_next(&map, &entry, error)) > 0) {
        if (count == FIELDS_MAX) {
            return wrong(error, "a record has too many fields");
        }
        rc = read_field(reader, &entry, &fields[count++], error);
        if (rc != 0) {
            return rc;
        }
    }
    if (rc != 0) {
        return rc;
    }
    qsort(fields, count, sizeof(fields[0]), compare_fields);
    for (size_t i = 1; i < count; i++) {
        if (bytes_equal(fields[i - 1].name, fields[i].name)) {
            return wrong(error, "a field is there twice");
        }
    }
    rc = encode_fields(reader, fields, count, value);
    return rc != 0 ? error_code(error, rc) : 0;
}

/* What a line may hold beside the record. */
struct line {
    ls_bytes category;
    ls_bytes name; /* of whatever kind; in the reader's bytes where it was base64url */
    ls_bytes id;
    ls_bytes record;
    ls_bytes key_hex;
    ls_bytes value_hex;
    uint64_t clock;
    uint64_t type;
    uint64_t timestamp;
};

static bool is(ls_bytes name, const char *text)
{
    return bytes_equal(name, bytes_of_text(text));
}

/* The name in a key. It is the first that goes to the reader's bytes, so it stands at their
 * front. */
static int read_name(struct dump_reader *reader, struct line *line, ls_bytes text, bool base64,
                     struct ls_error *error)
{
    int rc = base64 ? dump_unbase64(&reader->bytes, text)
                    : buf_append(&reader->bytes, text.data, text.size);
    line->name = buf_bytes(&reader->bytes);
    if (rc == LS_ENOMEM) {
        return error_code(error, rc);
    }
    return rc == 0 ? 0 : wrong(error, "a name is not the base64url that it should be");
}

static int read_part(struct dump_reader *reader, struct line *line, const struct cbor_entry *entry,
                     struct ls_error *error)
{
    ls_bytes name = entry->key;
    if (entry->kind == CBOR_UINT) {
        uint64_t *number = is(name, "clock")       ? &line->clock
                           : is(name, "type")      ? &line->type
                           : is(name, "timestamp") ? &line->timestamp
                                                   : NULL;
        if (number != NULL) {
            *number = entry->number;
            return 0;
        }
    } else if (entry->kind == CBOR_TEXT) {
        ls_bytes *text = is(name, "category")    ? &line->category
                         : is(name, "id")        ? &line->id
                         : is(name, "key_hex")   ? &line->key_hex
                         : is(name, "value_hex") ? &line->value_hex
                                                 : NULL;
        if (text != NULL) {
            *text = entry->bytes;
            return 0;
        }
        bool base64 = take_suffix(&name, BASE64);
        if (is(name, "host") || is(name, "key") || is(name, "name")) {
            return read_name(reader, line, entry->bytes, base64, error);
        }
    } else if (is(name, "record")) {
        line->record = entry->bytes;
        return 0;
    }
    return wrong(error, "a field is there that no record has");
}

static int encode_key(struct key *key, const struct line *line, struct ls_error *error)
{
    uint8_t id[16];
    switch (line->category.size == 1 ? *(const char *)line->category.data : 0) {
    case KEY_CONTROL:
        return key_control(key, line->name) == 0 ? 0 : wrong(error, "a control name is none");
    case KEY_MESSAGE:
        if (line->type > UINT8_MAX) {
            return wrong(error, "a message's type is a byte");
        }
        key_message(key, line->clock, (uint8_t)line->type);
        return 0;
    case KEY_NODE:
        return key_node(key, line->name, error);
    case KEY_OBJECT:
        return key_object(key, line->name, error);
    case KEY_VERSION:
        return key_version(key, line->name, line->timestamp, error);
    case KEY_PRODUCER:
        if (uuid_parse(id, line->id) != 0) {
            return wrong(error, "a producer's id is no UUID");
        }
        key_producer(key, id);
        return 0;
    default:
        return wrong(error, "the category is unknown");
    }
}

static int read_whole(struct dump_reader *reader, const struct line *line, struct key *key,
                      struct buf *value, struct ls_error *error)
{
    reader->bytes.size = 0;
    int rc = unhex(&reader->bytes, line->key_hex);
    rc = rc != 0 ? rc : unhex(value, line->value_hex);
    if (rc == LS_ENOMEM) {
        return error_code(error, rc);
    }
    if (rc != 0 || reader->bytes.size > KEY_SIZE_MAX || reader->bytes.size == 0) {
        return wrong(error, "a key or value is no hex, or too long");
    }
    key->size = (uint16_t)reader->bytes.size;
    memcpy(key->data, reader->bytes.data, reader->bytes.size);
    return 0;
}

int dump_line_read(struct dump_reader *reader, ls_bytes text, struct key *key, struct buf *value,
                   struct ls_error *error)
{
    struct line line = {0};
    struct cbor_map map;
    struct cbor_entry entry;
    reader->cbor.size = 0;
    reader->bytes.size = 0;
    value->size = 0;
    int rc = json_to_cbor(&reader->cbor, text, error);
    rc = rc != 0 ? rc : cbor_map_open(&map, buf_bytes(&reader->cbor), error);
    if (rc != 0) {
        return rc;
    }
    while ((rc = cbor_map_next(&map, &entry, error)) > 0) {
        rc = read_part(reader, &line, &entry, error);
        if (rc != 0) {
            return rc;
        }
    }
    if (rc != 0) {
        return rc;
    }
    if (line.key_hex.size > 0) {
        return read_whole(reader, &line, key, value, error);
    }
    if (line.record.size == 0) {
        return wrong(error, "the record is missing");
    }
    rc = encode_key(key, &line, error);
    return rc != 0 ? rc : read_record(reader, line.record, value, error);
}

void dump_reader_free(struct dump_reader *reader)
{
    buf_free(&reader->cbor);
    buf_free(&reader->bytes);
}
