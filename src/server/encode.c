/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages are written by hand into room reserved once, for they are what watches and reads are
 * made of; the rest goes through resp/writer.h.
 */
#include "server/encode.h"

#include <string.h>

#include "base/digits.h"
#include "codec/json.h"
#include "codec/uuid.h"
#include "resp/writer.h"

/* The numbers, letters and line ends of a message: what is not from, to and object. */
#define MESSAGE_FIXED_MAX 256

static uint8_t *put_line(uint8_t *at, char marker, uint64_t value)
{
    *at++ = (uint8_t)marker;
    at += digits_put(at, value);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static uint8_t *put_bulk(uint8_t *at, ls_bytes bytes)
{
    at = put_line(at, '$', bytes.size);
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    at += bytes.size;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* As resp_clock does: what no RESP integer holds is a big number, or text. */
static uint8_t *put_clock(uint8_t *at, int proto, uint64_t clock)
{
    if (clock <= INT64_MAX) {
        return put_line(at, ':', clock);
    }
    if (proto == 3) {
        return put_line(at, '(', clock);
    }
    uint8_t digits[20];
    return put_bulk(at, bytes_of(digits, digits_put(digits, clock)));
}

static uint8_t *put_message(uint8_t *at, int proto, bool as_push, const struct message *message,
                            ls_bytes object)
{
    if (as_push) {
        static const char word[] = "2\r\n$7\r\nmessage\r\n";
        *at++ = proto == 3 ? '>' : '*';
        memcpy(at, word, sizeof word - 1);
        at += sizeof word - 1;
    }
    at = put_line(at, '*', 7);
    at = put_clock(at, proto, message->clock);
    at = put_bulk(at, bytes_of(&message->type, 1));
    at = put_bulk(at, bytes_of(message->event == 0 ? (const void *)"-" : &message->event, 1));
    at = put_clock(at, proto, message->timestamp_ns);
    at = put_bulk(at, message->from);
    at = put_bulk(at, message->host);
    return put_bulk(at, object);
}

int encode_message(struct buf *out, int proto, bool json, bool as_push,
                   const struct message *message)
{
    struct buf text = {0};
    ls_bytes object = message->object;
    int rc = 0;
    if (json) {
        struct ls_error error;
        rc = json_from_cbor(&text, message->object, &error);
        object = buf_bytes(&text);
    }
    if (rc == 0) {
        rc = buf_reserve(out,
                         MESSAGE_FIXED_MAX + message->from.size + message->host.size + object.size);
    }
    if (rc == 0) {
        const uint8_t *end = put_message(out->data + out->size, proto, as_push, message, object);
        out->size = (size_t)(end - out->data);
    }
    buf_free(&text);
    return rc;
}

static int encode_meta(struct buf *out, int proto, bool json, ls_bytes meta)
{
    if (meta.size == 0) {
        return resp_null(out, proto);
    }
    if (!json) {
        return resp_bulk(out, meta);
    }
    struct buf text = {0};
    struct ls_error error;
    int rc = json_from_cbor(&text, meta, &error);
    rc = rc != 0 ? rc : resp_bulk(out, buf_bytes(&text));
    buf_free(&text);
    return rc;
}

int encode_node(struct buf *out, int proto, bool json, const struct node *node)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(id, node->id);
    int rc = resp_array(out, 8);
    rc = rc != 0 ? rc : resp_bulk(out, node->host);
    rc = rc != 0 ? rc : resp_bulk_text(out, id);
    rc = rc != 0 ? rc : resp_clock(out, proto, node->joined);
    rc = rc != 0 ? rc : resp_bulk_text(out, node_state_name(node->state));
    rc = rc != 0 ? rc : resp_clock(out, proto, node->clock);
    rc = rc != 0 ? rc : resp_clock(out, proto, node->timestamp_ns);
    rc = rc != 0 ? rc : resp_clock(out, proto, node->ttl_ms);
    return rc != 0 ? rc : encode_meta(out, proto, json, node->meta);
}

int encode_object(struct buf *out, int proto, ls_bytes key, const struct object *object)
{
    int rc = resp_array(out, 4);
    rc = rc != 0 ? rc : resp_bulk(out, key);
    rc = rc != 0 ? rc : resp_bulk(out, object->value);
    rc = rc != 0 ? rc : resp_clock(out, proto, object->created);
    return rc != 0 ? rc : resp_clock(out, proto, object->modified);
}

int encode_object_push(struct buf *out, int proto, ls_bytes key, const struct object *object)
{
    int rc = resp_push(out, proto, 5);
    rc = rc != 0 ? rc : resp_bulk_text(out, "object");
    rc = rc != 0 ? rc : resp_bulk(out, key);
    rc = rc != 0 ? rc : resp_bulk(out, object->value);
    rc = rc != 0 ? rc : resp_clock(out, proto, object->created);
    return rc != 0 ? rc : resp_clock(out, proto, object->modified);
}

int encode_deleted_push(struct buf *out, int proto, ls_bytes key, uint64_t clock)
{
    int rc = resp_push(out, proto, 3);
    rc = rc != 0 ? rc : resp_bulk_text(out, "deleted");
    rc = rc != 0 ? rc : resp_bulk(out, key);
    return rc != 0 ? rc : resp_clock(out, proto, clock);
}
