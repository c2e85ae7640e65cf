/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request parser: the same bytes, whole and cut where the input says, give the same commands
 * and the same end, and every command written as a request is read back as it was. The first two
 * bytes choose the cuts; the rest is what a client sent.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "check.h"
#include "resp/parser.h"
#include "resp/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Limits small enough to be met by small inputs. */
static const struct resp_limits limits = {.request_size_max = 512, .inline_size_max = 64};

/* The command under the parser, and again what a client would write for it. */
static void check_command(const struct resp_parser *parser, struct buf *out)
{
    size_t start = out->size;
    struct resp_parser again = {
        .limits = {.request_size_max = SIZE_MAX / 2, .inline_size_max = 64}};
    struct ls_error error;
    size_t consumed;

    CHECK(parser->argc >= 1 && parser->argc <= RESP_ARGUMENTS_MAX);
    CHECK(resp_request(out, parser->argc, parser->argv) == 0);
    ls_bytes written = {out->data + start, out->size - start};
    CHECK(resp_parse(&again, written, &consumed, &error) == RESP_COMMAND);
    CHECK(consumed == written.size && again.argc == parser->argc);
    for (size_t i = 0; i < again.argc; i++) {
        CHECK(bytes_equal(again.argv[i], parser->argv[i]));
    }
    resp_parser_free(&again);
}

/* All commands of `input` as requests, then the code and the sentence it ended with. Each call gets
 * a block of memory of its own, exactly as large as what has arrived. */
static void run(ls_bytes input, uint32_t cuts, struct buf *out)
{
    struct resp_parser parser = {.limits = limits};
    struct ls_error error = {0};
    size_t dropped = 0;
    size_t fed = cuts == 0 ? input.size : 0;
    enum resp_status status = RESP_MORE;

    while (status != RESP_FAILED) {
        size_t there = fed - dropped;
        size_t consumed = SIZE_MAX;
        uint8_t *block = malloc(there + (there == 0));
        CHECK(block != NULL);
        if (there > 0) {
            memcpy(block, (const uint8_t *)input.data + dropped, there);
        }
        status = resp_parse(&parser, (ls_bytes){block, there}, &consumed, &error);
        CHECK(consumed <= there);
        if (status == RESP_COMMAND) {
            CHECK(consumed > 0);
            check_command(&parser, out);
        }
        free(block);
        dropped += consumed;
        if (status == RESP_MORE) {
            if (fed == input.size) {
                break;
            }
            cuts = cuts * 1664525u + 1013904223u;
            size_t piece = 1 + (cuts >> 16) % 24;
            fed = input.size - fed < piece ? input.size : fed + piece;
            resp_parser_rest(&parser);
        }
    }
    CHECK((status == RESP_FAILED) == (error.code != 0));
    CHECK(buf_printf(out, "%d %s", error.code, error.text) == 0);
    resp_parser_free(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    ls_bytes input = {data + 2, size - 2};
    struct buf whole = {0};
    struct buf cut = {0};

    run(input, 0, &whole);
    run(input, 1u + data[0] + 256u * data[1], &cut);
    CHECK(bytes_equal(buf_bytes(&whole), buf_bytes(&cut)));
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
