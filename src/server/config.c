/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of settings and what reads and writes values through it. It knows no server: whoever
 * changes a setting of a running one makes the change take hold.
 */
#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

#define KIB       ((uint64_t)1024)
#define MIB       (1024 * KIB)
#define GIB       (1024 * MIB)
#define NO_LIMIT  UINT64_MAX
#define DAY_MS    ((uint64_t)86400000)
#define LINE_MAX_ 4096
#define AT(field) offsetof(struct config, field)

const struct setting settings[] = {
    {"listen", SETTING_LIST, false, AT(listen), "127.0.0.1:7411", 0, 0,
     "Address to listen on: HOST, HOST:PORT, [IPV6]:PORT or unix:PATH. Given again, one more. "
     "Port 0 lets the system pick one; the log says which."},
    {"store", SETTING_TEXT, false, AT(store), "/var/lib/lockstep", 0, 0,
     "Where the data is: lmdb:DIR, a bare DIR, or mem: for a private store that goes away."},
    {"sync", SETTING_YESNO, false, AT(sync), "yes", 0, 0,
     "Flush to disk before a write is answered. With no, a power loss can take "
     "the newest writes or damage the store; a crash of the server cannot."},
    {"quota", SETTING_SIZE, true, AT(quota), "0", 0, NO_LIMIT,
     "Bytes the store may take on disk; 0 is no limit."},
    {"map-size", SETTING_SIZE, false, AT(map_size), "0", 0, NO_LIMIT,
     "Address space of the store; 0 is 1 TiB, or what the system allows."},
    {"log-level", SETTING_LEVEL, true, AT(log_level), "notice", 0, 0,
     "error, warning, notice or debug."},
    {"password", SETTING_TEXT, true, AT(password), "", 0, 0,
     "What AUTH must be given before other commands; empty asks for none."},
    {"connections-max", SETTING_NUMBER, true, AT(connections_max), "10000", 1, 1000000,
     "Connections at a time; one more is told so and closed."},
    {"request-max", SETTING_SIZE, true, AT(request_max), "16mb", KIB, GIB,
     "The longest command, all its arguments together."},
    {"message-max", SETTING_SIZE, true, AT(message_max), "1mb", 64, GIB,
     "The longest payload of a message or meta data of a node, in CBOR."},
    {"object-max", SETTING_SIZE, true, AT(object_max), "1mb", 64, GIB,
     "The longest value of an object."},
    {"output-max", SETTING_SIZE, true, AT(output_max), "64mb", MIB, NO_LIMIT,
     "Output that may wait for one client, watches not counted; past it the client is closed."},
    {"queue-max", SETTING_SIZE, true, AT(queue_max), "64mb", MIB, NO_LIMIT,
     "Writes waiting for the store, in bytes; above it no more commands are read."},
    {"retention-age", SETTING_MS, true, AT(retention_age), "0", 0, NO_LIMIT / 1000000,
     "Discard messages older than this, in milliseconds; 0 is off."},
    {"retention-count", SETTING_NUMBER, true, AT(retention_count), "0", 0, NO_LIMIT,
     "Keep at most this many messages; 0 is off."},
    {"retention-bytes", SETTING_SIZE, true, AT(retention_bytes), "0", 0, NO_LIMIT,
     "Keep at most this many bytes of messages; 0 is off."},
    {"retention-hold", SETTING_YESNO, true, AT(retention_hold), "no", 0, 0,
     "Keep, beyond age and count, what a node that is up has not acknowledged."},
    {"node-ttl", SETTING_MS, true, AT(node_ttl), "10000", 100, DAY_MS,
     "How long a node lives without a beat where NODE.JOIN gives no TTL, in milliseconds."},
    {"shards", SETTING_NUMBER, false, AT(shards), "16", 1, 1024,
     "Shards over which the keys of transactions are spread."},
    {"txn-ttl", SETTING_MS, true, AT(txn_ttl), "5000", 1, 3600000,
     "How long a transaction may be open where TXN.BEGIN gives no TTL, in milliseconds."},
    {"txn-open-max", SETTING_NUMBER, true, AT(txn_open_max), "100000", 1, NO_LIMIT,
     "Transactions that may be open at once, in the whole store."},
    {"txn-history-age", SETTING_MS, true, AT(txn_history_age), "10000", 0, NO_LIMIT / 1000000,
     "How far back TXN.GET AT can read, in milliseconds; older versions are discarded."},
    {"txn-memory", SETTING_SIZE, true, AT(txn_memory), "512mb", KIB, 256 * GIB,
     "Memory for what transactions wrote lately, about: it is put in its place by then."},
    {"shards-max", SETTING_NUMBER, true, AT(shards_max), "1000", 0, 1000000,
     "Shards that SHARD.CREATE may make."},
    {"shard-memory", SETTING_SIZE, true, AT(shard_memory), "256mb", MIB, NO_LIMIT,
     "Bytes that such a shard may hold, and again what is kept for its executors while nobody "
     "listens. For shards made from then on."},
    {"tcp-keepalive", SETTING_NUMBER, true, AT(tcp_keepalive), "300", 0, 86400,
     "Seconds of silence before the system probes a peer; 0 is off. For new connections."},
};
const size_t setting_count = sizeof settings / sizeof settings[0];

static char **text_at(const struct config *config, const struct setting *setting)
{
    return (char **)((char *)config + setting->offset);
}

static bool *flag_at(const struct config *config, const struct setting *setting)
{
    return (bool *)((char *)config + setting->offset);
}

static uint64_t *number_at(const struct config *config, const struct setting *setting)
{
    return (uint64_t *)((char *)config + setting->offset);
}

static bool is_text(const struct setting *setting)
{
    return setting->type == SETTING_TEXT || setting->type == SETTING_LIST;
}

int config_init(struct config *config)
{
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < setting_count; i++) {
        struct ls_error error;
        int rc = config_set(config, &settings[i], bytes_of_text(settings[i].standard), &error);
        if (rc != 0) {
            config_free(config);
            return rc;
        }
    }
    return 0;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (is_text(&settings[i])) {
            free(*text_at(config, &settings[i]));
            *text_at(config, &settings[i]) = NULL;
        }
    }
}

int config_copy(struct config *out, const struct config *config)
{
    struct config copy = *config;
    int rc = 0;
    for (size_t i = 0; i < setting_count; i++) {
        if (is_text(&settings[i])) {
            char *text = strdup(*text_at(config, &settings[i]));
            *text_at(&copy, &settings[i]) = text;
            rc = text == NULL ? LS_ENOMEM : rc;
        }
    }
    if (rc != 0) {
        config_free(&copy);
        return rc;
    }
    *out = copy;
    return 0;
}

const struct setting *setting_find(ls_bytes name)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (strlen(settings[i].name) == name.size &&
            strncasecmp(settings[i].name, name.data, name.size) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

/* Units as in Redis: k, m, g are powers of 1000, kb, mb, gb of 1024. 0 where it is none. */
static uint64_t unit_of(const char *text)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"", 1},        {"b", 1},    {"k", 1000},       {"kb", KIB},
                 {"m", 1000000}, {"mb", MIB}, {"g", 1000000000}, {"gb", GIB}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(units[i].name, text) == 0) {
            return units[i].factor;
        }
    }
    return 0;
}

static int set_number(uint64_t *out, const struct setting *setting, const char *text,
                      struct ls_error *error)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    bool wrong = end == NULL || errno == ERANGE;
    uint64_t factor = 1;
    if (!wrong) {
        factor = setting->type == SETTING_SIZE ? unit_of(end) : (*end == '\0' ? 1 : 0);
        wrong = factor == 0 || value > UINT64_MAX / factor;
    }
    if (!wrong && (value * factor < setting->min || value * factor > setting->max)) {
        wrong = true;
    }
    if (!wrong) {
        *out = value * factor;
        return 0;
    }
    const char *what = setting->type == SETTING_SIZE ? "a size such as 512kb or 16mb"
                       : setting->type == SETTING_MS ? "a number of milliseconds"
                                                     : "a number";
    if (setting->max == NO_LIMIT) {
        return error_set(error, LS_EINVAL, 0, "%s must be %s, at least %llu, not '%s'",
                         setting->name, what, (unsigned long long)setting->min, text);
    }
    return error_set(error, LS_EINVAL, 0, "%s must be %s, from %llu to %llu, not '%s'",
                     setting->name, what, (unsigned long long)setting->min,
                     (unsigned long long)setting->max, text);
}

static int set_text(char **at, const struct setting *setting, const char *text,
                    struct ls_error *error)
{
    char *value = NULL;
    if (setting->type == SETTING_LIST && *at != NULL && (*at)[0] != '\0') {
        if (asprintf(&value, "%s %s", *at, text) < 0) {
            value = NULL;
        }
    } else {
        value = strdup(text);
    }
    if (value == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    free(*at);
    *at = value;
    return 0;
}

int config_set(struct config *config, const struct setting *setting, ls_bytes value,
               struct ls_error *error)
{
    char text[LINE_MAX_];
    if (value.size >= sizeof text ||
        (value.size > 0 && memchr(value.data, 0, value.size) != NULL)) {
        return error_set(error, LS_EINVAL, 0, "%s must be text of less than %d bytes",
                         setting->name, LINE_MAX_);
    }
    memcpy(text, value.size > 0 ? value.data : "", value.size);
    text[value.size] = '\0';
    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_LIST:
        return set_text(text_at(config, setting), setting, text, error);
    case SETTING_YESNO:
        if (strcasecmp(text, "yes") != 0 && strcasecmp(text, "no") != 0) {
            return error_set(error, LS_EINVAL, 0, "%s must be yes or no, not '%s'", setting->name,
                             text);
        }
        *flag_at(config, setting) = strcasecmp(text, "yes") == 0;
        return 0;
    case SETTING_LEVEL: {
        int level = log_level_from_name(text);
        if (level < 0) {
            return error_set(error, LS_EINVAL, 0,
                             "%s must be error, warning, notice or debug, not '%s'", setting->name,
                             text);
        }
        *number_at(config, setting) = (uint64_t)level;
        return 0;
    }
    case SETTING_NUMBER:
    case SETTING_MS:
    case SETTING_SIZE:
        return set_number(number_at(config, setting), setting, text, error);
    }
    return error_code(error, LS_EINVAL);
}

int config_get(const struct config *config, const struct setting *setting, struct buf *out)
{
    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_LIST:
        return buf_append_text(out, *text_at(config, setting));
    case SETTING_YESNO:
        return buf_append_text(out, *flag_at(config, setting) ? "yes" : "no");
    case SETTING_LEVEL:
        return buf_append_text(out, log_level_name((enum log_level) * number_at(config, setting)));
    case SETTING_NUMBER:
    case SETTING_MS:
    case SETTING_SIZE:
        break;
    }
    return buf_printf(out, "%llu", (unsigned long long)*number_at(config, setting));
}

/* A list that comes from outside replaces the default first and grows then. */
struct given {
    bool seen[64];
};

static int set_given(struct config *config, struct given *given, const struct setting *setting,
                     ls_bytes value, struct ls_error *error)
{
    size_t index = (size_t)(setting - settings);
    if (setting->type == SETTING_LIST && !given->seen[index]) {
        (*text_at(config, setting))[0] = '\0';
    }
    given->seen[index] = true;
    return config_set(config, setting, value, error);
}

static int read_line(struct config *config, struct given *given, char *line, struct ls_error *error)
{
    while (isspace((unsigned char)*line)) {
        line++;
    }
    size_t size = strlen(line);
    while (size > 0 && isspace((unsigned char)line[size - 1])) {
        line[--size] = '\0';
    }
    if (size == 0 || line[0] == '#') {
        return 0;
    }
    size_t name_size = strcspn(line, " \t");
    const struct setting *setting = setting_find(bytes_of(line, name_size));
    if (setting == NULL) {
        return error_set(error, LS_EINVAL, 0, "there is no setting '%.*s'", (int)name_size, line);
    }
    char *value = line + name_size;
    while (isspace((unsigned char)*value)) {
        value++;
    }
    size_t value_size = strlen(value);
    if (value_size >= 2 && value[0] == '"' && value[value_size - 1] == '"') {
        value++;
        value_size -= 2;
    } else if (value_size == 0) {
        return error_set(error, LS_EINVAL, 0, "%s needs a value", setting->name);
    }
    return set_given(config, given, setting, bytes_of(value, value_size), error);
}

int config_read_file(struct config *config, const char *path, struct ls_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(error, LS_EIO, 0, "cannot read %s: %s", path, strerror(errno));
    }
    struct given given = {0};
    char *line = NULL;
    size_t capacity = 0;
    int rc = 0;
    ssize_t size;
    for (unsigned number = 1; rc == 0 && (size = getline(&line, &capacity, file)) >= 0; number++) {
        struct ls_error reason;
        rc = strlen(line) == (size_t)size
                 ? read_line(config, &given, line, &reason)
                 : error_set(&reason, LS_EINVAL, 0, "there is a NUL in the line");
        if (rc != 0) {
            error_set(error, rc, 0, "%s, line %u: %s", path, number, reason.text);
        }
    }
    if (rc == 0 && ferror(file)) {
        rc = error_set(error, LS_EIO, 0, "cannot read %s: %s", path, strerror(errno));
    }
    free(line);
    fclose(file);
    return rc;
}

/* Splits argv[*at] and what follows into name and value. */
static int next_flag(int argc, char **argv, int *at, ls_bytes *name, ls_bytes *value,
                     struct ls_error *error)
{
    const char *flag = argv[(*at)++];
    if (strncmp(flag, "--", 2) != 0 || flag[2] == '\0') {
        return error_set(error, LS_EINVAL, 0, "expected a flag such as --store, not '%s'", flag);
    }
    size_t size = strcspn(flag + 2, "=");
    *name = bytes_of(flag + 2, size);
    if (flag[2 + size] == '=') {
        *value = bytes_of_text(flag + 2 + size + 1);
        return 0;
    }
    if (*at >= argc) {
        if (setting_find(*name) == NULL && !bytes_equal(*name, bytes_of_text("config"))) {
            return error_set(error, LS_EINVAL, 0, "there is no flag %s", flag);
        }
        return error_set(error, LS_EINVAL, 0, "%s needs a value", flag);
    }
    *value = bytes_of_text(argv[(*at)++]);
    return 0;
}

/* One pass over the flags: for the config file only, or for all but that. */
static int read_pass(struct config *config, int argc, char **argv, bool file_pass,
                     struct ls_error *error)
{
    struct given given = {0};
    for (int at = 1; at < argc;) {
        ls_bytes name = {0};
        ls_bytes value = {0};
        int rc = next_flag(argc, argv, &at, &name, &value, error);
        if (rc != 0) {
            return rc;
        }
        if (bytes_equal(name, bytes_of_text("config"))) {
            rc = file_pass ? config_read_file(config, value.data, error) : 0;
        } else if (!file_pass) {
            const struct setting *setting = setting_find(name);
            rc = setting == NULL ? error_set(error, LS_EINVAL, 0, "there is no flag --%.*s",
                                             (int)name.size, (const char *)name.data)
                                 : set_given(config, &given, setting, value, error);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int config_read_flags(struct config *config, int argc, char **argv, struct ls_error *error)
{
    int rc = read_pass(config, argc, argv, true, error);
    return rc != 0 ? rc : read_pass(config, argc, argv, false, error);
}

/* Prints words with line breaks before column 80. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        if (column == 0 || column + size + 1 > 72) {
            fprintf(out, "%s        %.*s", column == 0 ? "" : "\n", (int)size, text);
            column = size;
        } else {
            fprintf(out, " %.*s", (int)size, text);
            column += size + 1;
        }
        text += size + strspn(text + size, " ");
    }
    fputc('\n', out);
}

static void print_number(FILE *out, const struct setting *setting, uint64_t number)
{
    static const char *const units[] = {"", "kb", "mb", "gb"};
    size_t unit = 0;
    while (setting->type == SETTING_SIZE && number > 0 && number % KIB == 0 && unit < 3) {
        number /= KIB;
        unit++;
    }
    fprintf(out, "%llu%s", (unsigned long long)number, units[unit]);
}

/* What may be given, where that is not any number. */
static void print_range(FILE *out, const struct setting *setting)
{
    bool unlimited = setting->max >= NO_LIMIT / 1000000;
    if (setting->max == 0 || (setting->min == 0 && unlimited)) {
        return;
    }
    fputs(unlimited ? "; at least " : "; from ", out);
    print_number(out, setting, setting->min);
    if (!unlimited) {
        fputs(" to ", out);
        print_number(out, setting, setting->max);
    }
}

void config_print_help(FILE *out)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        const char *standard = setting->standard[0] == '\0' ? "none" : setting->standard;
        fprintf(out, "    --%s (default: %s", setting->name, standard);
        print_range(out, setting);
        fprintf(out, "%s)\n", setting->runtime ? "; CONFIG SET changes it" : "");
        print_wrapped(out, setting->help);
    }
}
