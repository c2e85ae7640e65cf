/*
 * RESP requests: bytes in, commands out. Knows no socket and copies no argument of an array: an
 * argument points into the bytes that the caller keeps until the command is done.
 *
 * A command is an array of bulk strings, or an inline line of words (quotes as in redis-cli).
 * Parsing resumes where it stopped, so that a command that arrives in many pieces costs time in
 * proportion to its size, and memory is only taken for what has arrived: never for what a length
 * claims.
 *
 * A browser can be made to send HTTP to this port. An inline line that begins with POST or Host:,
 * or that is a request line (three words, the last one HTTP/...), fails as such, so that no line
 * behind it is ever run as a command.
 */
#ifndef LS_RESP_PARSER_H
#define LS_RESP_PARSER_H

#include "lockstep.h"

/* Arguments of one command, as in Redis. */
#define RESP_ARGUMENTS_MAX 1048576

struct resp_limits {
    size_t request_size_max; /* the whole command, where it is an array */
    size_t inline_size_max;  /* an inline line without its line feed: 64 KiB as in Redis */
};

/* A parser of one connection; all zeros but for `limits` is a fresh one. Fields are the parser's
 * own but for argv and argc, which are valid after RESP_COMMAND until the next call. */
struct resp_parser {
    struct resp_limits limits;
    ls_bytes *argv;
    size_t argc;
    size_t capacity;   /* of argv */
    size_t offset;     /* how far the command under way was parsed, or the line searched */
    size_t expected;   /* arguments of the array under way; 0: none */
    size_t *offsets;   /* of each argument found, as long as argv: the caller may move the bytes */
    char *inline_copy; /* unquoted words of an inline command */
};

enum resp_status {
    RESP_COMMAND, /* argv is filled; argc is at least 1 */
    RESP_MORE,    /* incomplete: call again with the same bytes and more behind them */
    RESP_FAILED   /* not RESP, or too big: `error` says why; the connection cannot go on */
};

/* `data` begins with the first byte that was not consumed yet. *consumed is set whatever the
 * status: the caller drops that many bytes from the front before the next call (after RESP_COMMAND,
 * once it is done with the arguments). It is the command with the empty lines and empty arrays
 * before it, or, where there is no whole command, only those.
 *
 * LS_EPROTO with a sentence as Redis words it ("Protocol error: ..."), LS_ETOOBIG with the limit
 * for an array longer than request_size_max, LS_ENOMEM (the only failure after which the same call
 * may be made again). */
enum resp_status resp_parse(struct resp_parser *parser, ls_bytes data, size_t *consumed,
                            struct ls_error *error);

/* Gives the memory back; the parser is fresh again. resp_parser_rest does so only between commands,
 * and only where one left a large array or an inline copy behind, so that an idle connection holds
 * next to nothing. Both end the validity of argv. */
void resp_parser_free(struct resp_parser *parser);
/* Bytes of memory that it holds, but for the words of an inline line under way. */
size_t resp_parser_memory(const struct resp_parser *parser);
void resp_parser_rest(struct resp_parser *parser);

#endif
