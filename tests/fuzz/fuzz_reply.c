/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reply parser, in two ways that the first byte chooses between. Even: the same bytes, whole
 * and cut where the second byte says, give the same replies and the same end. Odd: the bytes are a
 * script for the writer, and what it writes is read back as the values that were written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "check.h"
#include "resp/reply.h"
#include "resp/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_aggregate(enum resp_type type)
{
    return type == RESP_ARRAY || type == RESP_MAP || type == RESP_SET || type == RESP_PUSH;
}

/* Checks that spans and counts agree and appends the values in a form that can be compared. */
static void check_reply(const struct resp_reply *reply, struct buf *out)
{
    CHECK(reply->count >= 1 && reply->values[0].span == reply->count);
    for (size_t i = 0; i < reply->count; i++) {
        const struct resp_value *value = &reply->values[i];
        CHECK(value->span >= 1 && value->span <= reply->count - i);
        if (is_aggregate(value->type)) {
            size_t children = value->count * (value->type == RESP_MAP ? 2 : 1);
            size_t place = i + 1;
            for (size_t child = 0; child < children; child++) {
                CHECK(place < i + value->span);
                place += reply->values[place].span;
            }
            CHECK(place == i + value->span);
        } else {
            CHECK(value->span == 1 && value->count == 0);
        }
        CHECK(buf_printf(out, "%d %lld %zu %zu %zu ", (int)value->type, (long long)value->integer,
                         value->count, value->span, value->text.size) == 0);
        CHECK(buf_append(out, value->text.data, value->text.size) == 0);
    }
    CHECK(buf_append_byte(out, ';') == 0);
}

/* All replies of `input`, and whether it ended in a failure. */
static void run(ls_bytes input, uint32_t cuts, struct buf *out)
{
    struct resp_reply reply = {.reply_size_max = 512, .value_count_max = 48};
    struct ls_error error = {0};
    size_t dropped = 0;
    size_t fed = cuts == 0 ? input.size : 0;
    size_t needed = 0;
    int rc = 0;

    while (rc >= 0) {
        size_t there = fed - dropped;
        size_t consumed = 0;
        uint8_t *block = malloc(there + (there == 0));
        CHECK(block != NULL);
        if (there > 0) {
            memcpy(block, (const uint8_t *)input.data + dropped, there);
        }
        rc = resp_reply_parse(&reply, (ls_bytes){block, there}, &consumed, &error);
        CHECK((rc < 0) == (error.code != 0));
        if (rc > 0) {
            CHECK(consumed >= 1 && consumed <= there && there >= needed);
            check_reply(&reply, out);
            needed = 0;
        }
        free(block);
        dropped += consumed;
        if (rc == 0) {
            CHECK(consumed == 0 && reply.needed > there && reply.needed >= needed);
            needed = reply.needed;
            if (fed == input.size) {
                break;
            }
            cuts = cuts * 1664525u + 1013904223u;
            size_t piece = 1 + (cuts >> 16) % 24;
            fed = input.size - fed < piece ? input.size : fed + piece;
        }
    }
    CHECK(buf_append_text(out, rc < 0 ? "failed" : "more") == 0);
    resp_reply_free(&reply);
}

/* What a written value has to be read back as. */
struct expected {
    enum resp_type type;
    int64_t integer;
    size_t count;
    ls_bytes text; /* data NULL: not compared */
};

/* Writes one value as `kind` says, its content the bytes of `rest`. */
static struct expected write_one(struct buf *out, uint8_t kind, int proto, ls_bytes rest)
{
    bool three = proto == 3;
    ls_bytes text = {rest.data, rest.size < 40 ? rest.size : 40};
    uint64_t number = 0;
    double real = 0;
    struct ls_error error;

    memcpy(&number, rest.data, rest.size < 8 ? rest.size : 8);
    memcpy(&real, &number, sizeof real);
    switch (kind % 9) {
    case 0:
        CHECK(resp_integer(out, (int64_t)number) == 0);
        return (struct expected){.type = RESP_INTEGER, .integer = (int64_t)number};
    case 1:
        CHECK(resp_clock(out, proto, number) == 0);
        if (number <= INT64_MAX) {
            return (struct expected){.type = RESP_INTEGER, .integer = (int64_t)number};
        }
        return (struct expected){.type = three ? RESP_BIGNUMBER : RESP_BULK};
    case 2:
        CHECK(resp_bulk(out, text) == 0);
        return (struct expected){.type = RESP_BULK, .text = text};
    case 3:
        CHECK(resp_verbatim(out, proto, text) == 0);
        return (struct expected){.type = three ? RESP_VERBATIM : RESP_BULK, .text = text};
    case 4:
        CHECK(resp_null(out, proto) == 0);
        return (struct expected){.type = RESP_NULL};
    case 5:
        CHECK(resp_double(out, proto, real) == 0);
        return (struct expected){.type = three ? RESP_DOUBLE : RESP_BULK};
    case 6:
        CHECK(resp_boolean(out, proto, number & 1) == 0);
        return (struct expected){.type = three ? RESP_BOOLEAN : RESP_INTEGER,
                                 .integer = (int64_t)(number & 1)};
    case 7:
        error_set(&error, -(int)(number % 33), 0, "%.*s", (int)text.size, (const char *)text.data);
        CHECK(resp_error(out, &error) == 0);
        return (struct expected){.type = RESP_ERROR};
    default:
        CHECK(resp_simple(out, "OK") == 0);
        return (struct expected){.type = RESP_SIMPLE, .text = bytes_of_text("OK")};
    }
}

/* One flat array, or map, of what the script says, and back. */
static void run_script(ls_bytes script, int proto)
{
    enum { VALUES_MAX = 24, STEP = 5 };
    struct expected expected[VALUES_MAX];
    struct buf values = {0};
    struct buf written = {0};
    struct resp_reply reply = {0};
    struct ls_error error;
    size_t consumed;
    size_t count = 0;

    for (size_t at = 0; at + 1 < script.size && count < VALUES_MAX; at += STEP) {
        const uint8_t *step = (const uint8_t *)script.data + at;
        ls_bytes rest = {step + 1, script.size - at - 1};
        expected[count++] = write_one(&values, step[0], proto, rest);
    }
    bool as_map = count % 2 == 0;
    CHECK((as_map ? resp_map(&written, proto, count / 2) : resp_push(&written, proto, count)) == 0);
    CHECK(buf_append(&written, values.data, values.size) == 0);

    CHECK(resp_reply_parse(&reply, buf_bytes(&written), &consumed, &error) == 1);
    CHECK(consumed == written.size && reply.count == count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct resp_value *value = &reply.values[i + 1];
        CHECK(value->type == expected[i].type && value->integer == expected[i].integer);
        CHECK(expected[i].text.data == NULL || bytes_equal(value->text, expected[i].text));
    }
    resp_reply_free(&reply);
    buf_free(&values);
    buf_free(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    ls_bytes input = {data + 2, size - 2};
    if (data[0] & 1) {
        run_script(input, data[1] & 1 ? 3 : 2);
        return 0;
    }
    struct buf whole = {0};
    struct buf cut = {0};
    run(input, 0, &whole);
    run(input, 1u + data[0] + 256u * data[1], &cut);
    CHECK(bytes_equal(buf_bytes(&whole), buf_bytes(&cut)));
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
