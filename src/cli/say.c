/* SPDX-License-Identifier: Apache-2.0 */
/* How results and failures are said: sentences, colours, lines of JSON, bytes and times for
 * people. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "codec/json.h"

int cli_fail(const char *format, ...)
{
    va_list arguments;
    fflush(stdout);
    fputs("lockstep: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

const char *cli_sentence(char out[CLI_SENTENCE_SIZE], const struct ls_error *error)
{
    const char *text = error->text[0] != '\0' ? error->text : ls_strerror(error->code);
    const char *what = "";
    const char *hint = "";
    if (error->code == LS_EBADJSON) {
        what = "the payload is refused as JSON: ";
        hint = "; for plain text give --text";
    } else if (error->code == LS_EBADCBOR) {
        what = "the payload is not one CBOR item: ";
    }
    snprintf(out, CLI_SENTENCE_SIZE, "%s%s%s", what, text, hint);
    return out;
}

int cli_fail_error(const struct ls_error *error)
{
    char text[CLI_SENTENCE_SIZE];
    return cli_fail("%s", cli_sentence(text, error));
}

int cli_fail_open(const struct cli *cli, const struct ls_error *error)
{
    char text[CLI_SENTENCE_SIZE];
    const char *hint = "";
    static const char *const known[] = {"lockstep://", "lmdb:", "mem:"};
    bool understood = false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        understood |= strncmp(cli->url, known[i], strlen(known[i])) == 0;
    }
    if (error->code == LS_ENOAUTH) {
        return cli_fail("the server asks for a password: set LOCKSTEP_PASSWORD, or put it into the "
                        "URL as lockstep://USER:PASSWORD@HOST");
    }
    if (error->code == LS_ECONN) {
        hint = "; is lockstepd running there? --url, or LOCKSTEP_URL, names another place";
    } else if (error->code == LS_EWRONGPASS) {
        hint = " They are taken from the URL, else from LOCKSTEP_USER and LOCKSTEP_PASSWORD.";
    } else if (!understood && strchr(cli->url, ':') != NULL) {
        hint = "; a server is lockstep://HOST[:PORT]";
    }
    return cli_fail("%s%s", cli_sentence(text, error), hint);
}

int cli_fail_ls(void)
{
    return cli_fail_error(ls_last_error());
}

int cli_fail_read(const char *command, uint64_t from)
{
    const ls_error *error = ls_last_error();
    uint64_t oldest = error->number;
    if (error->code != LS_ECOMPACTED || oldest <= from) {
        return cli_fail_ls();
    }
    return cli_fail("messages from %" PRIu64 " to %" PRIu64
                    " were discarded; the oldest kept is read with 'lockstep %s %" PRIu64 "'",
                    from, oldest - 1, command, oldest);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list arguments;
    fputs("lockstep: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (cli->command != NULL) {
        fprintf(stderr, "\nsee 'lockstep help %s'\n", cli->command->name);
    } else {
        fputs("\nsee 'lockstep help'\n", stderr);
    }
    return EXIT_USAGE;
}

const char *cli_colour(const struct cli *cli, enum colour colour)
{
    static const char *const codes[] = {
        [COLOUR_NONE] = "\033[0m",  [COLOUR_DIM] = "\033[2m",    [COLOUR_BOLD] = "\033[1m",
        [COLOUR_RED] = "\033[31m",  [COLOUR_GREEN] = "\033[32m", [COLOUR_YELLOW] = "\033[33m",
        [COLOUR_CYAN] = "\033[36m",
    };
    return cli->colour ? codes[colour] : "";
}

/* ---- JSON ---- */

static void json_append(struct json *json, const char *text)
{
    json->failed |= buf_append_text(&json->text, text) != 0;
}

static void json_name(struct json *json, const char *name, const char *suffix)
{
    json_append(json, json->begun ? ",\"" : "{\"");
    json_append(json, name);
    json_append(json, suffix);
    json_append(json, "\":");
    json->begun = true;
}

void json_number(struct json *json, const char *name, uint64_t value)
{
    json_name(json, name, "");
    json->failed |= buf_printf(&json->text, "%" PRIu64, value) != 0;
}

void json_double(struct json *json, const char *name, double value)
{
    json_name(json, name, "");
    json->failed |= buf_printf(&json->text, "%.3f", isfinite(value) ? value : 0.0) != 0;
}

void json_bool(struct json *json, const char *name, bool value)
{
    json_name(json, name, "");
    json_append(json, value ? "true" : "false");
}

void json_bytes(struct json *json, const char *name, ls_bytes bytes)
{
    if (utf8_check(bytes, NULL)) {
        json_name(json, name, "");
        json->failed |= json_put_string(&json->text, bytes) != 0;
        return;
    }
    json_name(json, name, "_base64url");
    json_append(json, "\"");
    json->failed |= json_put_base64(&json->text, bytes) != 0;
    json_append(json, "\"");
}

void json_text(struct json *json, const char *name, const char *text)
{
    json_bytes(json, name, bytes_of_text(text));
}

void json_raw(struct json *json, const char *name, ls_bytes text)
{
    json_name(json, name, "");
    json->failed |= buf_append(&json->text, text.data, text.size) != 0;
}

void json_open(struct json *json, const char *name)
{
    json_name(json, name, "");
    json->begun = false;
}

void json_close(struct json *json)
{
    json_append(json, json->begun ? "}" : "{}");
    json->begun = true;
}

int json_print(struct json *json)
{
    json_append(json, json->begun ? "}\n" : "{}\n");
    bool failed = json->failed;
    if (!failed) {
        fwrite(json->text.data, 1, json->text.size, stdout);
    }
    json->text.size = 0;
    json->begun = false;
    json->failed = false;
    return failed ? cli_fail("%s", ls_strerror(LS_ENOMEM)) : EXIT_OK;
}

int cli_print_clock(const struct cli *cli, uint64_t clock)
{
    if (!cli->json) {
        printf("%" PRIu64 "\n", clock);
        return EXIT_OK;
    }
    struct json json = {0};
    json_number(&json, "clock", clock);
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

/* ---- for people ---- */

static int show_hex(struct buf *out, ls_bytes bytes)
{
    int rc = buf_append_text(out, "0x");
    for (size_t i = 0; i < bytes.size && rc == 0; i++) {
        rc = buf_printf(out, "%02x", ((const uint8_t *)bytes.data)[i]);
    }
    return rc;
}

/* The control characters of ASCII and of Latin-1 (U+0080 to U+009F) could steer a terminal. */
static int show_character(struct buf *out, const uint8_t *at, size_t size)
{
    switch (*at) {
    case '\n':
        return buf_append_text(out, "\\n");
    case '\t':
        return buf_append_text(out, "\\t");
    case '\\':
        return buf_append_text(out, "\\\\");
    default:
        break;
    }
    if (size == 1 && (*at < 0x20 || *at == 0x7f)) {
        return buf_printf(out, "\\x%02x", *at);
    }
    if (size == 2 && at[0] == 0xc2 && at[1] < 0xa0) {
        return buf_printf(out, "\\u%04x", at[1]);
    }
    return buf_append(out, at, size);
}

int show_bytes(struct buf *out, ls_bytes bytes)
{
    if (!utf8_check(bytes, NULL)) {
        return show_hex(out, bytes);
    }
    const uint8_t *at = bytes.data;
    const uint8_t *end = bytes.size > 0 ? at + bytes.size : at;
    int rc = 0;
    while (at != end && rc == 0) {
        size_t size = utf8_sequence(bytes_of(at, (size_t)(end - at)));
        rc = show_character(out, at, size);
        at += size;
    }
    return rc;
}

void show_time(char out[SHOW_TIME_SIZE], uint64_t timestamp_ns)
{
    time_t seconds = (time_t)(timestamp_ns / 1000000000);
    unsigned millis = (unsigned)(timestamp_ns / 1000000 % 1000);
    struct tm local;
    char date[24];
    if (localtime_r(&seconds, &local) == NULL ||
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local) == 0) {
        snprintf(out, SHOW_TIME_SIZE, "%" PRIu64, timestamp_ns);
        return;
    }
    snprintf(out, SHOW_TIME_SIZE, "%s.%03u", date, millis);
}

void show_size(char out[SHOW_SIZE_SIZE], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, SHOW_SIZE_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}
