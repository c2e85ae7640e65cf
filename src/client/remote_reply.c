/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding replies. The reply parser has made sure of the frame; here each value is held against
 * the shape that its command's reply has, and nothing that does not fit is taken for something
 * else.
 */
#include "client/remote_reply.h"

#include <string.h>

#include "base/error.h"
#include "codec/uuid.h"

static bool is_text(const struct resp_value *value)
{
    return value->type == RESP_BULK || value->type == RESP_SIMPLE;
}

bool reply_is(const struct resp_value *value, const char *word)
{
    return is_text(value) && bytes_equal(value->text, bytes_of_text(word));
}

int reply_unexpected(const char *command, struct ls_error *error)
{
    return error_set(error, LS_EPROTO, 0, "the reply has not the shape that one to %s has",
                     command);
}

/* ---- errors ---- */

/* Decimal digits and nothing else, at most 2^64 - 1. */
static bool parse_number(ls_bytes text, uint64_t *out)
{
    const char *digits = text.data;
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (digits[i] < '0' || digits[i] > '9' || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *out = number;
    return text.size > 0;
}

/* The number behind the last `before` of the sentence, 0 where there is none. The last one: in
 * front of it may stand a key, which is the user's. */
static uint64_t number_behind(ls_bytes sentence, const char *before)
{
    const char *text = sentence.data;
    size_t before_size = strlen(before);
    uint64_t number = 0;

    for (size_t at = 0; at + before_size < sentence.size; at++) {
        if (memcmp(text + at, before, before_size) != 0 || (at > 0 && text[at - 1] != ' ')) {
            continue;
        }
        size_t first = at + before_size;
        size_t last = first;
        while (last < sentence.size && text[last] >= '0' && text[last] <= '9') {
            last++;
        }
        (void)parse_number(bytes_of(text + first, last - first), &number);
    }
    return number;
}

static const char *stands_before_number(int code)
{
    switch (code) {
    case LS_ECONFLICT:
        return "modified=";
    case LS_ECOMPACTED:
    case LS_ETOOOLD:
        return "oldest=";
    case LS_ESEQGAP:
    case LS_EDUPLICATE:
        return "last=";
    case LS_ETOOBIG:
        return "most ";
    case LS_EBADCBOR:
    case LS_EBADJSON:
        return "byte ";
    default:
        return NULL;
    }
}

int reply_error(const struct resp_value *value, struct ls_error *error)
{
    ls_bytes sentence = value->text;
    const char *space = sentence.size > 0 ? memchr(sentence.data, ' ', sentence.size) : NULL;
    size_t word_size =
        space != NULL ? (size_t)(space - (const char *)sentence.data) : sentence.size;
    int code = error_from_word(sentence.data, word_size);

    if (space != NULL) {
        sentence = bytes_of(space + 1, sentence.size - word_size - 1);
    }
    const char *before = stands_before_number(code);
    uint64_t number = before != NULL ? number_behind(sentence, before) : 0;
    int shown = sentence.size < sizeof error->text ? (int)sentence.size : (int)sizeof error->text;
    return error_set(error, code, number, "%.*s", shown, (const char *)sentence.data);
}

/* ---- values ---- */

int reply_number(const struct resp_value *value, uint64_t *out, struct ls_error *error)
{
    if (value != NULL && value->type == RESP_INTEGER && value->integer >= 0) {
        *out = (uint64_t)value->integer;
        return 0;
    }
    if (value != NULL && value->type == RESP_BIGNUMBER && parse_number(value->text, out)) {
        return 0;
    }
    return error_set(error, LS_EPROTO, 0, "a reply has something else where a number belongs");
}

static int take_text(const struct resp_value *value, ls_bytes *out, struct ls_error *error)
{
    if (value == NULL || !is_text(value)) {
        return error_set(error, LS_EPROTO, 0, "a reply has something else where a text belongs");
    }
    *out = value->text;
    return 0;
}

/* One character; '-' is `none`. */
static int take_letter(const struct resp_value *value, char *out, struct ls_error *error)
{
    ls_bytes text = {0};
    int rc = take_text(value, &text, error);
    if (rc == 0 && text.size != 1) {
        rc = error_set(error, LS_EPROTO, 0, "a reply has something else where a letter belongs");
    }
    if (rc == 0) {
        *out = *(const char *)text.data;
    }
    return rc;
}

static int take_id(const struct resp_value *value, uint8_t out[16], struct ls_error *error)
{
    ls_bytes text = {0};
    int rc = take_text(value, &text, error);
    if (rc == 0 && uuid_parse(out, text) != 0) {
        rc = error_set(error, LS_EPROTO, 0, "a reply has something else where a UUID belongs");
    }
    return rc;
}

/* Points fields[i] at the i-th element of an array of `count`. */
static bool spread(const struct resp_reply *reply, const struct resp_value *value,
                   const struct resp_value **fields, size_t count)
{
    if (value == NULL || value->type != RESP_ARRAY || value->count != count) {
        return false;
    }
    const struct resp_value *field = value + 1;
    for (size_t i = 0; i < count; i++) {
        fields[i] = field;
        field = resp_next(reply, field);
    }
    return true;
}

int reply_message(const struct resp_reply *reply, const struct resp_value *value, ls_message *out,
                  struct ls_error *error)
{
    const struct resp_value *fields[7];
    ls_message message = {0};
    int rc;

    if (!spread(reply, value, fields, 7)) {
        return error_set(error, LS_EPROTO, 0, "a message is not an array of 7");
    }
    if ((rc = reply_number(fields[0], &message.clock, error)) != 0 ||
        (rc = take_letter(fields[1], &message.type, error)) != 0 ||
        (rc = take_letter(fields[2], &message.event, error)) != 0 ||
        (rc = reply_number(fields[3], &message.timestamp_ns, error)) != 0 ||
        (rc = take_text(fields[4], &message.from, error)) != 0 ||
        (rc = take_text(fields[5], &message.to, error)) != 0 ||
        (rc = take_text(fields[6], &message.object, error)) != 0) {
        return rc;
    }
    if (message.event == '-') {
        message.event = LS_NO_EVENT;
    }
    *out = message;
    return 0;
}

static int take_state(const struct resp_value *value, enum ls_node_state *out,
                      struct ls_error *error)
{
    static const struct {
        const char *word;
        enum ls_node_state state;
    } states[] = {{"up", LS_NODE_UP}, {"leaving", LS_NODE_LEAVING}, {"down", LS_NODE_DOWN}};

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (reply_is(value, states[i].word)) {
            *out = states[i].state;
            return 0;
        }
    }
    return error_set(error, LS_EPROTO, 0, "a node has a state that is not known");
}

int reply_node(const struct resp_reply *reply, const struct resp_value *value, ls_node *out,
               struct ls_error *error)
{
    const struct resp_value *fields[8];
    ls_node node = {0};
    int rc;

    if (!spread(reply, value, fields, 8)) {
        return error_set(error, LS_EPROTO, 0, "a node is not an array of 8");
    }
    if ((rc = take_text(fields[0], &node.host, error)) != 0 ||
        (rc = take_id(fields[1], node.id, error)) != 0 ||
        (rc = reply_number(fields[2], &node.joined, error)) != 0 ||
        (rc = take_state(fields[3], &node.state, error)) != 0 ||
        (rc = reply_number(fields[4], &node.clock, error)) != 0 ||
        (rc = reply_number(fields[5], &node.timestamp_ns, error)) != 0 ||
        (rc = reply_number(fields[6], &node.ttl_ms, error)) != 0) {
        return rc;
    }
    if (fields[7]->type != RESP_NULL && (rc = take_text(fields[7], &node.meta, error)) != 0) {
        return rc;
    }
    *out = node;
    return 0;
}

int reply_object(const struct resp_reply *reply, const struct resp_value *value, ls_object *out,
                 struct ls_error *error)
{
    const struct resp_value *fields[4] = {0};
    ls_object object = {0};
    int rc;

    for (size_t i = 0; i < 4 && value != NULL; i++) {
        fields[i] = value;
        value = resp_next(reply, value);
    }
    if ((rc = take_text(fields[0], &object.key, error)) != 0 ||
        (rc = take_text(fields[1], &object.value, error)) != 0 ||
        (rc = reply_number(fields[2], &object.created, error)) != 0 ||
        (rc = reply_number(fields[3], &object.modified, error)) != 0) {
        return rc;
    }
    *out = object;
    return 0;
}

int reply_joined(const struct resp_reply *reply, ls_joined *out, struct ls_error *error)
{
    const struct resp_value *fields[3];
    ls_joined joined;
    int rc;

    if (!spread(reply, reply->values, fields, 3)) {
        return reply_unexpected("NODE.JOIN", error);
    }
    if ((rc = take_id(fields[0], joined.id, error)) != 0 ||
        (rc = reply_number(fields[1], &joined.clock, error)) != 0 ||
        (rc = reply_number(fields[2], &joined.seq, error)) != 0) {
        return rc;
    }
    *out = joined;
    return 0;
}

int reply_box_info(const struct resp_reply *reply, ls_box_info *out, struct ls_error *error)
{
    const struct resp_value *map = reply->values;
    ls_box_info info = {0};
    struct {
        const char *name;
        uint64_t *number;
        bool found;
    } fields[] = {{"oldest", &info.oldest, false},
                  {"newest", &info.newest, false},
                  {"count", &info.count, false},
                  {"bytes", &info.bytes, false}};
    size_t field_count = sizeof fields / sizeof fields[0];

    if (map->type != RESP_MAP) {
        return reply_unexpected("MSG.INFO", error);
    }
    const struct resp_value *name = map->count > 0 ? map + 1 : NULL;
    while (name != NULL) {
        const struct resp_value *value = resp_next(reply, name);
        for (size_t i = 0; i < field_count; i++) {
            if (reply_is(name, fields[i].name)) {
                int rc = reply_number(value, fields[i].number, error);
                if (rc != 0) {
                    return rc;
                }
                fields[i].found = true;
            }
        }
        name = resp_next(reply, value);
    }
    for (size_t i = 0; i < field_count; i++) {
        if (!fields[i].found) {
            return reply_unexpected("MSG.INFO", error);
        }
    }
    *out = info;
    return 0;
}
