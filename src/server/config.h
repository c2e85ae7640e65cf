/*
 * Settings of lockstepd: one table of them drives the flags, the config file, CONFIG GET and SET,
 * --help and the list in the manual. A value is checked when it is set, wherever it comes from, and
 * a refused value changes nothing.
 */
#ifndef LS_SERVER_CONFIG_H
#define LS_SERVER_CONFIG_H

#include <stdio.h>

#include "base/buf.h"
#include "lockstep.h"

struct config {
    char *listen; /* addresses, a space between each */
    char *store;
    char *password; /* empty: none is asked for */
    bool sync;
    bool retention_hold;
    uint64_t log_level; /* enum log_level */
    uint64_t quota;
    uint64_t map_size;
    uint64_t connections_max;
    uint64_t request_max;
    uint64_t message_max;
    uint64_t object_max;
    uint64_t output_max;
    uint64_t queue_max;
    uint64_t retention_age;
    uint64_t retention_count;
    uint64_t retention_bytes;
    uint64_t node_ttl;
    uint64_t shards;
    uint64_t txn_ttl;
    uint64_t txn_open_max;
    uint64_t txn_history_age;
    uint64_t txn_memory;
    uint64_t shards_max;
    uint64_t shard_memory;
    uint64_t tcp_keepalive;
};

enum setting_type {
    SETTING_TEXT,
    SETTING_LIST, /* setting it again adds a value; CONFIG shows them with a space between each */
    SETTING_YESNO,
    SETTING_LEVEL,
    SETTING_NUMBER,
    SETTING_MS,
    SETTING_SIZE
};

struct setting {
    const char *name;
    enum setting_type type;
    bool runtime; /* CONFIG SET may change it */
    size_t offset;
    const char *standard; /* its value where nobody sets it, as text */
    uint64_t min;
    uint64_t max;
    const char *help;
};

extern const struct setting settings[];
extern const size_t setting_count;

/* All defaults. 0 or LS_ENOMEM. */
int config_init(struct config *config);
void config_free(struct config *config);
/* *out becomes a copy of its own. 0 or LS_ENOMEM, *out untouched. */
int config_copy(struct config *out, const struct config *config);

/* NULL where there is none of this name; case does not matter. */
const struct setting *setting_find(ls_bytes name);

/* 0, LS_EINVAL with a sentence that says what was expected, LS_ENOMEM. */
int config_set(struct config *config, const struct setting *setting, ls_bytes value,
               struct ls_error *error);

/* Appends the value as text: 0 or LS_ENOMEM. */
int config_get(const struct config *config, const struct setting *setting, struct buf *out);

/* Reads a file of `name value` lines. The sentence names file and line. LS_EIO, LS_EINVAL. */
int config_read_file(struct config *config, const char *path, struct ls_error *error);

/* Takes `--name value` and `--name=value`, and `--config FILE` first of all, wherever it stands.
 * LS_EINVAL with the sentence. */
int config_read_flags(struct config *config, int argc, char **argv, struct ls_error *error);

/* One paragraph a setting, for --help. */
void config_print_help(FILE *out);

#endif
