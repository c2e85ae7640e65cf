/*
 * RESP requests: bytes in, commands out. Knows no socket and copies no argument: an argument points
 * into the bytes that the caller keeps until the command is done.
 *
 * A command is an array of bulk strings, or an inline line of words (quotes as in redis-cli).
 * Parsing resumes where it stopped, so that a command that arrives in many pieces costs time in
 * proportion to its size, and memory is only taken for what has arrived: never for what a length
 * claims.
 */
#ifndef LS_RESP_PARSER_H
#define LS_RESP_PARSER_H

#include "lockstep.h"

struct resp_limits {
    size_t request_size_max; /* the whole command */
    size_t inline_size_max;  /* an inline line: 64 KiB as in Redis */
};

/* A parser of one connection; all zeros but for `limits` is a fresh one. Fields are the parser's
 * own but for argv and argc, which are valid after RESP_COMMAND until the next call. */
struct resp_parser {
    struct resp_limits limits;
    ls_bytes *argv;
    size_t argc;
    size_t capacity;   /* of argv */
    size_t offset;     /* how far `data` was looked at */
    size_t expected;   /* arguments of the array under way; 0: none */
    size_t *offsets;   /* of each argument found, as long as argv */
    char *inline_copy; /* unquoted words of an inline command */
};

enum resp_status {
    RESP_COMMAND, /* argv is filled, *consumed says how many bytes it took; argc is at least 1 */
    RESP_MORE,    /* incomplete: call again with the same bytes and more behind them */
    RESP_FAILED   /* not RESP, or too big: `error` says why; the connection cannot go on */
};

/* `data` begins where the last command ended (empty lines and empty arrays are consumed silently
 * with the command behind them). LS_EPROTO with a sentence as Redis words it ("Protocol error:
 * ..."), LS_ETOOBIG with the limit, LS_ENOMEM. */
enum resp_status resp_parse(struct resp_parser *parser, ls_bytes data, size_t *consumed,
                            struct ls_error *error);

/* Gives the memory back; the parser is fresh again. resp_parser_rest does so only where a command
 * left a large array behind, so that an idle connection holds next to nothing. */
void resp_parser_free(struct resp_parser *parser);
void resp_parser_rest(struct resp_parser *parser);

#endif
