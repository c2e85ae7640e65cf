/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of the store, encoded and decoded. What is encoded here decodes to the same parts, and what
 * decodes here encodes to the same bytes; anything else is refused.
 */
#include "codec/key.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/utf8.h"

#define PRODUCER_KEY_SIZE (KEY_HEADER_SIZE + 16)
#define CONTROL_SIZE_MAX  (KEY_SIZE_MAX - KEY_HEADER_SIZE)
#define TIMESTAMP_SIZE    8

/* In the name of a version, 0x00 is written 0x00 0xFF and the end 0x00 0x00, so that a name sorts
 * before every longer name that it begins, whatever the timestamps. */
#define ESCAPE          0x00
#define ESCAPED_ZERO    0xFF
#define ESCAPED_END     0x00
#define TERMINATOR_SIZE 2

void key_first(struct key *out, enum key_category category)
{
    out->data[0] = (uint8_t)category;
    out->data[1] = KEY_VERSION_TYPE;
    out->size = KEY_HEADER_SIZE;
}

static void key_add(struct key *out, const void *data, size_t size)
{
    assert(size <= (size_t)(KEY_SIZE_MAX - out->size));
    memcpy(out->data + out->size, data, size);
    out->size = (uint16_t)(out->size + size);
}

int key_check_host(ls_bytes host, struct ls_error *error)
{
    if (host.size == 0) {
        return error_set(error, LS_EKEY, 0, "the host name is empty");
    }
    if (host.size > KEY_HOST_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, KEY_HOST_SIZE_MAX,
                         "a host name has at most %d bytes, this one %zu", KEY_HOST_SIZE_MAX,
                         host.size);
    }
    size_t bad;
    if (!utf8_check(host, &bad)) {
        return error_set(error, LS_EKEY, bad, "the host name is not UTF-8 at byte %zu", bad);
    }
    const uint8_t *at = host.data;
    for (size_t i = 0; i < host.size; i++) {
        /* U+0080 to U+009F are the control characters above ASCII. */
        bool high_control = at[i] == 0xC2 && at[i + 1] < 0xA0;
        if (at[i] < 0x20 || at[i] == 0x7F || high_control) {
            return error_set(error, LS_EKEY, i, "the host name has a control character at byte %zu",
                             i);
        }
    }
    return 0;
}

static int check_object_name(ls_bytes name, struct ls_error *error)
{
    if (name.size == 0) {
        return error_set(error, LS_EKEY, 0, "the key is empty");
    }
    if (name.size > KEY_OBJECT_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, KEY_OBJECT_SIZE_MAX,
                         "a key has at most %d bytes, this one %zu", KEY_OBJECT_SIZE_MAX,
                         name.size);
    }
    return 0;
}

/* Printable ASCII without spaces, so that a control key can be named in a sentence; behind a slash,
 * which ends the name of an index, any bytes. */
static int check_control_name(ls_bytes name, struct ls_error *error)
{
    if (name.size == 0 || name.size > CONTROL_SIZE_MAX) {
        return error_set(error, LS_EKEY, 0, "a control name has 1 to %d bytes, this one %zu",
                         CONTROL_SIZE_MAX, name.size);
    }
    const uint8_t *at = name.data;
    for (size_t i = 0; i < name.size && at[i] != '/'; i++) {
        if (at[i] <= 0x20 || at[i] >= 0x7F) {
            return error_set(error, LS_EKEY, i,
                             "the control name has a byte that is not printable ASCII at %zu", i);
        }
    }
    return 0;
}

int key_node(struct key *out, ls_bytes host, struct ls_error *error)
{
    int rc = key_check_host(host, error);
    if (rc != 0) {
        return rc;
    }
    key_first(out, KEY_NODE);
    key_add(out, host.data, host.size);
    return 0;
}

int key_object(struct key *out, ls_bytes name, struct ls_error *error)
{
    int rc = check_object_name(name, error);
    if (rc != 0) {
        return rc;
    }
    key_first(out, KEY_OBJECT);
    key_add(out, name.data, name.size);
    return 0;
}

/* How long the encoded key is. */
static int version_size(ls_bytes name, size_t *out, struct ls_error *error)
{
    int rc = check_object_name(name, error);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *at = name.data;
    size_t size = KEY_HEADER_SIZE + name.size + TERMINATOR_SIZE + TIMESTAMP_SIZE;
    for (size_t i = 0; i < name.size; i++) {
        size += at[i] == ESCAPE;
    }
    if (size > KEY_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, KEY_SIZE_MAX,
                         "the key has %zu bytes where each 0x00 counts twice, the limit is %d",
                         size, KEY_SIZE_MAX);
    }
    *out = size;
    return 0;
}

int key_check_version(ls_bytes name, struct ls_error *error)
{
    size_t size;
    return version_size(name, &size, error);
}

int key_version(struct key *out, ls_bytes name, uint64_t timestamp, struct ls_error *error)
{
    size_t size = 0;
    int rc = version_size(name, &size, error);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *at = name.data;
    key_first(out, KEY_VERSION);
    uint8_t *to = out->data + out->size;
    for (size_t i = 0; i < name.size; i++) {
        *to++ = at[i];
        if (at[i] == ESCAPE) {
            *to++ = ESCAPED_ZERO;
        }
    }
    *to++ = ESCAPE;
    *to++ = ESCAPED_END;
    put_be64(to, timestamp);
    out->size = (uint16_t)size;
    return 0;
}

int key_control(struct key *out, ls_bytes name)
{
    int rc = check_control_name(name, NULL);
    if (rc != 0) {
        return rc;
    }
    key_first(out, KEY_CONTROL);
    key_add(out, name.data, name.size);
    return 0;
}

void key_message_from(struct key *out, uint64_t clock)
{
    key_first(out, KEY_MESSAGE);
    put_be64(out->data + KEY_HEADER_SIZE, clock);
    out->size = KEY_HEADER_SIZE + 8;
}

void key_message(struct key *out, uint64_t clock, uint8_t type)
{
    key_message_from(out, clock);
    out->data[out->size++] = type;
}

void key_producer(struct key *out, const uint8_t id[16])
{
    key_first(out, KEY_PRODUCER);
    key_add(out, id, 16);
}

bool key_after_prefix(struct key *key)
{
    while (key->size > 0 && key->data[key->size - 1] == 0xFF) {
        key->size--;
    }
    if (key->size == 0) {
        return false;
    }
    key->data[key->size - 1]++;
    return true;
}

static int refuse_size(struct ls_error *error, const char *what, size_t expected, size_t size)
{
    return error_set(error, LS_EKEY, size, "a %s key has %zu bytes, this one %zu", what, expected,
                     size);
}

static int decode_message(struct key_parts *out, ls_bytes key, struct ls_error *error)
{
    const uint8_t *at = key.data;
    if (key.size != MESSAGE_KEY_SIZE) {
        return refuse_size(error, "message", MESSAGE_KEY_SIZE, key.size);
    }
    uint8_t type = at[MESSAGE_KEY_SIZE - 1];
    if (type != 'O' && type != 'D' && type != 'C' && type != 'U') {
        return error_set(error, LS_EKEY, MESSAGE_KEY_SIZE - 1, "0x%02x is no message type", type);
    }
    out->clock = get_be64(at + KEY_HEADER_SIZE);
    out->type = type;
    return 0;
}

static int decode_version(struct key_parts *out, ls_bytes key, struct ls_error *error)
{
    const uint8_t *data = key.data;
    size_t at = KEY_HEADER_SIZE;
    size_t size = 0;
    for (;;) {
        if (key.size - at < TERMINATOR_SIZE + TIMESTAMP_SIZE) {
            return error_set(error, LS_EKEY, key.size, "the version key ends before its timestamp");
        }
        uint8_t byte = data[at++];
        if (byte == ESCAPE) {
            uint8_t escaped = data[at++];
            if (escaped == ESCAPED_END) {
                break;
            }
            if (escaped != ESCAPED_ZERO) {
                return error_set(error, LS_EKEY, at - 1, "0x00 0x%02x is no escape in a key",
                                 escaped);
            }
        }
        if (size == KEY_OBJECT_SIZE_MAX) {
            return error_set(error, LS_EKEY, at, "the name in the version key is longer than %d",
                             KEY_OBJECT_SIZE_MAX);
        }
        out->unescaped[size++] = byte;
    }
    if (size == 0) {
        return error_set(error, LS_EKEY, at, "the name in the version key is empty");
    }
    if (key.size - at != TIMESTAMP_SIZE) {
        return error_set(error, LS_EKEY, at, "the timestamp of a version key has 8 bytes, not %zu",
                         key.size - at);
    }
    out->name = bytes_of(out->unescaped, size);
    out->clock = get_be64(data + at);
    return 0;
}

/* A name that would not be encoded is malformed when it is met, whatever the reason. */
static int as_malformed(int rc, struct ls_error *error)
{
    if (rc != 0 && error != NULL) {
        error->code = LS_EKEY;
    }
    return rc != 0 ? LS_EKEY : 0;
}

static int decode_header(ls_bytes key, struct ls_error *error)
{
    const uint8_t *at = key.data;
    if (key.size < KEY_HEADER_SIZE) {
        return error_set(error, LS_EKEY, key.size, "a key has a header of 2 bytes, this one %zu",
                         key.size);
    }
    if (key.size > KEY_SIZE_MAX) {
        return error_set(error, LS_EKEY, key.size, "a key has at most %d bytes, this one %zu",
                         KEY_SIZE_MAX, key.size);
    }
    if (at[0] == 0 || strchr(KEY_CATEGORIES, at[0]) == NULL) {
        return error_set(error, LS_EKEY, 0, "category 0x%02x is not known", at[0]);
    }
    if (at[1] >> 4 != KEY_VERSION_TYPE >> 4) {
        return error_set(error, LS_EKEY, 1, "key version %d is not known", at[1] >> 4);
    }
    if (at[1] != KEY_VERSION_TYPE) {
        return error_set(error, LS_EKEY, 1, "value type %d is not known", at[1] & 0x0F);
    }
    return 0;
}

void key_walk_begin(struct key_walk *walk, const struct key *from)
{
    walk->last = *from;
    walk->begun = false;
}

bool key_walk_step(struct key_walk *walk, ls_bytes key)
{
    int order = bytes_compare(key, key_bytes(&walk->last));
    if (key.size > KEY_SIZE_MAX || order < 0 || (order == 0 && walk->begun)) {
        return false;
    }
    memcpy(walk->last.data, key.data, key.size);
    walk->last.size = (uint16_t)key.size;
    walk->begun = true;
    return true;
}

int key_decode(struct key_parts *out, ls_bytes key, struct ls_error *error)
{
    int rc = decode_header(key, error);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *at = key.data;
    ls_bytes name = bytes_of(at + KEY_HEADER_SIZE, key.size - KEY_HEADER_SIZE);
    out->category = (enum key_category)at[0];
    out->clock = 0;
    out->type = 0;
    memset(out->id, 0, sizeof out->id);
    out->name = bytes_of(NULL, 0);
    switch (out->category) {
    case KEY_MESSAGE:
        return decode_message(out, key, error);
    case KEY_VERSION:
        return decode_version(out, key, error);
    case KEY_PRODUCER:
        if (key.size != PRODUCER_KEY_SIZE) {
            return refuse_size(error, "producer", PRODUCER_KEY_SIZE, key.size);
        }
        memcpy(out->id, name.data, sizeof out->id);
        return 0;
    case KEY_NODE:
        out->name = name;
        return as_malformed(key_check_host(name, error), error);
    case KEY_OBJECT:
        out->name = name;
        return as_malformed(check_object_name(name, error), error);
    case KEY_CONTROL:
        out->name = name;
        return as_malformed(check_control_name(name, error), error);
    }
    return error_set(error, LS_EKEY, 0, "category 0x%02x is not known", at[0]);
}
