/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies as the library takes them apart: whatever a server sends, each of its replies is taken or
 * refused as every thing that a call may expect, and what is taken stays within the bytes received.
 */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "client/remote_reply.h"
#include "resp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ls_bytes input;

static void check_within(ls_bytes text)
{
    const uint8_t *begin = input.data;
    const uint8_t *at = text.data;
    CHECK(text.size == 0 || (at >= begin && text.size <= (size_t)(begin + input.size - at)));
}

static void check_refused(int rc, const struct ls_error *error)
{
    CHECK(rc == LS_EPROTO && error->code == rc && error->text[0] != '\0');
}

static void try_value(const struct resp_reply *reply, const struct resp_value *value)
{
    struct ls_error error = {0};
    ls_message message;
    ls_object object;
    ls_node node;
    uint64_t number;
    int rc = reply_message(reply, value, &message, &error);
    if (rc == 0) {
        check_within(message.from);
        check_within(message.to);
        check_within(message.object);
    } else {
        check_refused(rc, &error);
    }
    rc = reply_node(reply, value, &node, &error);
    if (rc == 0) {
        check_within(node.host);
        check_within(node.meta);
    } else {
        check_refused(rc, &error);
    }
    rc = reply_object(reply, value, &object, &error);
    if (rc == 0) {
        check_within(object.key);
        check_within(object.value);
    } else {
        check_refused(rc, &error);
    }
    rc = reply_number(value, &number, &error);
    if (rc != 0) {
        check_refused(rc, &error);
    }
    if (value->type == RESP_ERROR) {
        rc = reply_error(value, &error);
        CHECK(rc < 0 && error.code == rc && memchr(error.text, 0, sizeof error.text) != NULL);
    }
}

static void try_reply(const struct resp_reply *reply)
{
    struct ls_error error = {0};
    ls_joined joined;
    ls_box_info info;
    int rc = reply_joined(reply, &joined, &error);
    if (rc != 0) {
        check_refused(rc, &error);
    }
    rc = reply_box_info(reply, &info, &error);
    if (rc != 0) {
        check_refused(rc, &error);
    }
    for (size_t i = 0; i < reply->count; i++) {
        try_value(reply, &reply->values[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resp_reply reply = {.value_count_max = 4096};
    struct ls_error error;
    size_t used;
    input = bytes_of(data, size);
    for (ls_bytes rest = input; resp_reply_parse(&reply, rest, &used, &error) > 0;) {
        try_reply(&reply);
        rest = bytes_of((const char *)rest.data + used, rest.size - used);
    }
    resp_reply_free(&reply);
    return 0;
}
