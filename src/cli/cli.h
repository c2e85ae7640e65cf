/*
 * What the commands of `lockstep` share: the table of commands, what was asked for, and how results
 * and failures are said.
 *
 * A command returns the exit status: EXIT_OK, EXIT_FAILED after a sentence on standard error, or
 * EXIT_USAGE after a sentence that says what was expected. Results go to standard output: aligned
 * text, or with --json one JSON object a line.
 */
#ifndef LS_CLI_CLI_H
#define LS_CLI_CLI_H

#include <stdio.h>

#include "base/buf.h"
#include "lockstep.h"

#define CLI_DEFAULT_URL "lockstep://127.0.0.1:7411"

/* What is read of a file, or as one line: the store says what is too big; this is far above. */
#define CLI_INPUT_MAX ((size_t)64 << 20)

#define CLI_OPTIONS_MAX   16
#define CLI_ARGUMENTS_MAX 64

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct cli;

struct option_spec {
    const char *name;  /* without its dashes */
    const char *value; /* what it takes, for the help; NULL: a flag */
    const char *help;
};

struct command {
    const char *name;
    const char *arguments; /* as the help shows them */
    int arguments_min;
    int arguments_max;
    const char *summary; /* one line */
    const char *text;    /* paragraphs of the help, ending in a newline; may be empty */
    const char *url;     /* what --url is to it, where that is not what it is to all; "": nothing */
    int (*run)(struct cli *cli);
    struct option_spec options[CLI_OPTIONS_MAX]; /* up to the first without a name */
};

extern const struct command *const cli_commands[]; /* NULL-terminated, in the order of the help */

/* One invocation. */
struct cli {
    const char *url;
    const char *place; /* the URL without its secrets, to be shown */
    bool url_given;    /* with --url, not only from the environment */
    bool json;
    bool colour; /* standard output is a terminal that may be coloured */
    bool help;
    const struct command *command;
    int argc;
    const char *argv[CLI_ARGUMENTS_MAX];
    const char *values[CLI_OPTIONS_MAX]; /* of the command's options, in their order */
};

/* ---- arguments (arguments.c) ---- */

/* Sorts out the command line: EXIT_OK, or EXIT_USAGE with the sentence printed. The command stays
 * NULL where none was given. */
int cli_parse(struct cli *cli, int argc, char **argv);

/* The value of one of the command's options: NULL where it was not given, "" for a flag that
 * was. */
const char *cli_option(const struct cli *cli, const char *name);

/* The option as a number from `min` to `max`; `*out` stays as it is where it was not given. */
int cli_option_number(const struct cli *cli, const char *name, uint64_t min, uint64_t max,
                      uint64_t *out);
/* An argument as a number; `what` names it in the sentence. */
int cli_number(const struct cli *cli, const char *what, const char *text, uint64_t min,
               uint64_t max, uint64_t *out);

/* Hex digits in pairs, appended. False where the text is something else; out of memory too. */
bool cli_unhex(struct buf *out, const char *text);

/* Whether all decimal digits, and the value: false where there is none or it passes 2^64-1. */
bool cli_parse_number(const char *text, uint64_t *out);

const struct command *cli_find(const char *name);
/* The known name that is nearest to what was typed, or NULL where none is near. */
const char *cli_nearest(const char *typed, const char *const *names, size_t count);

/* ---- help (help.c) ---- */

void cli_help(const struct cli *cli);
void cli_help_command(const struct cli *cli, const struct command *command);

/* ---- saying what happened (say.c) ---- */

/* "lockstep: <sentence>" on standard error; EXIT_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The sentence of the last failed ls_ function. */
int cli_fail_ls(void);
int cli_fail_error(const struct ls_error *error);
/* The sentence alone; of a payload, what it was refused as. */
#define CLI_SENTENCE_SIZE 512
const char *cli_sentence(char out[CLI_SENTENCE_SIZE], const struct ls_error *error);
/* The same for what the URL names and cannot be opened, with what to do about it. */
int cli_fail_open(const struct cli *cli, const struct ls_error *error);
/* The same of a read from a clock on. What was discarded is named, and the command that reads what
 * is kept, whose last argument is a clock. */
int cli_fail_read(const char *command, uint64_t from);
/* What was expected, and where to read more; EXIT_USAGE. `cli` may have no command yet. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum colour {
    COLOUR_NONE,
    COLOUR_DIM,
    COLOUR_BOLD,
    COLOUR_RED,
    COLOUR_GREEN,
    COLOUR_YELLOW,
    COLOUR_CYAN
};
/* What switches the colour on, or "" where there are no colours; COLOUR_NONE ends one. */
const char *cli_colour(const struct cli *cli, enum colour colour);

/* One JSON object on one line, built field by field. All zeros is a fresh one. What fails for want
 * of memory is remembered and said by json_print. */
struct json {
    struct buf text;
    bool begun;
    bool failed;
};
void json_number(struct json *json, const char *name, uint64_t value);
void json_double(struct json *json, const char *name, double value);
void json_bool(struct json *json, const char *name, bool value);
/* Bytes that are not UTF-8 go as base64url under the name with "_base64url" behind it. */
void json_bytes(struct json *json, const char *name, ls_bytes bytes);
void json_text(struct json *json, const char *name, const char *text);
void json_raw(struct json *json, const char *name, ls_bytes text);
/* Nested objects. */
void json_open(struct json *json, const char *name);
void json_close(struct json *json);
/* Prints the line and makes the object fresh again: EXIT_OK, or EXIT_FAILED with the sentence. */
int json_print(struct json *json);

/* What stands behind a noun that the number counts. */
static inline const char *cli_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* A clock as the result: alone on its line, or as "clock". */
int cli_print_clock(const struct cli *cli, uint64_t clock);

/* Bytes for a person, on one line: text where they are UTF-8, with control characters escaped, else
 * hex after "0x". 0 or LS_ENOMEM. */
int show_bytes(struct buf *out, ls_bytes bytes);
/* "2026-01-31 09:30:00.123", local time. */
#define SHOW_TIME_SIZE 32
void show_time(char out[SHOW_TIME_SIZE], uint64_t timestamp_ns);
/* "1.5 MiB". */
#define SHOW_SIZE_SIZE 32
void show_size(char out[SHOW_SIZE_SIZE], uint64_t bytes);

/* ---- the store or server (connect.c) ---- */

enum access {
    ACCESS_READ,  /* neither makes a directory nor changes one */
    ACCESS_THERE, /* makes none, but is in line with what changes it: reads of transactions */
    ACCESS_CHANGE
};

/* User and password of the environment, for a URL that has none (talk.c). */
void cli_credentials(ls_options *options, const char *url);

/* ls_open on the URL: EXIT_OK, or EXIT_FAILED with the sentence printed. */
int cli_open(const struct cli *cli, enum access access, ls **out);

/* Where the URL is a directory, its path; else NULL. */
const char *cli_directory(const struct cli *cli);
/* The same for a command whose first argument may name it instead. */
const char *cli_directory_argument(const struct cli *cli);

/* Set by SIGINT and SIGTERM after cli_catch_signals. */
extern volatile int cli_stopped;
void cli_catch_signals(void);
/* What a command that follows looks at now and then: whether it was stopped, or nobody can read
 * what it prints any more. */
bool cli_is_over(void);

/* All of a file, or of standard input for "-", at most `size_max` bytes. */
int cli_read_file(const char *path, size_t size_max, struct buf *out);

/* ---- the commands ---- */

extern const struct command command_status;
extern const struct command command_post;
extern const struct command command_read;
extern const struct command command_watch;
extern const struct command command_nodes;
extern const struct command command_get;
extern const struct command command_put;
extern const struct command command_del;
extern const struct command command_scan;
extern const struct command command_clock;
extern const struct command command_txn;
extern const struct command command_relay;
extern const struct command command_model;
extern const struct command command_bench;
extern const struct command command_check;
extern const struct command command_dump;
extern const struct command command_load;
extern const struct command command_key;
extern const struct command command_report;

#endif
