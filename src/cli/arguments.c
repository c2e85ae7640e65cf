/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line, sorted out by the table of commands: which command, its arguments, its options.
 * Options may stand anywhere; "--" ends them; a "-" and whatever begins with one dash and no
 * second, such as a negative number, is an argument.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

const struct command *const cli_commands[] = {
    &command_status, &command_post,  &command_read,  &command_watch,  &command_nodes,
    &command_get,    &command_put,   &command_del,   &command_scan,   &command_clock,
    &command_txn,    &command_relay, &command_model, &command_bench,  &command_check,
    &command_dump,   &command_load,  &command_key,   &command_report, NULL,
};

#define NAMES_MAX 32
#define TYPED_MAX 32

const struct command *cli_find(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) {
            return cli_commands[i];
        }
    }
    return NULL;
}

/* Edits that turn one word into the other, by rows of the usual table. */
static size_t distance(const char *a, const char *b)
{
    size_t row[TYPED_MAX + 1];
    size_t b_size = strlen(b);
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_size; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            size_t insert = row[j] + 1;
            size_t remove = row[j + 1] + 1;
            size_t least = insert < remove ? insert : remove;
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[b_size];
}

const char *cli_nearest(const char *typed, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t least = 3; /* farther than two edits is another word */
    if (strlen(typed) > TYPED_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t edits = distance(typed, names[i]);
        if (edits < least && edits < strlen(names[i])) {
            least = edits;
            nearest = names[i];
        }
    }
    return nearest;
}

static int unknown_command(const struct cli *cli, const char *name)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (; cli_commands[count] != NULL && count < NAMES_MAX; count++) {
        names[count] = cli_commands[count]->name;
    }
    const char *nearest = cli_nearest(name, names, count);
    if (nearest != NULL) {
        return cli_usage(cli, "there is no command '%s'; did you mean '%s'?", name, nearest);
    }
    return cli_usage(cli, "there is no command '%s'", name);
}

static int unknown_option(const struct cli *cli, const char *name)
{
    const char *names[CLI_OPTIONS_MAX + 3] = {"url", "json", "help"};
    size_t count = 3;
    const struct command *command = cli->command;
    for (size_t i = 0; command != NULL && i < CLI_OPTIONS_MAX && command->options[i].name; i++) {
        names[count++] = command->options[i].name;
    }
    const char *nearest = cli_nearest(name, names, count);
    if (nearest != NULL) {
        return cli_usage(cli, "there is no option '--%s'; did you mean '--%s'?", name, nearest);
    }
    return cli_usage(cli, "there is no option '--%s'", name);
}

/* Whether `text` is the option `name`, perhaps with "=value" behind it. */
static bool is_option(const char *text, const char *name, const char **value)
{
    size_t size = strlen(name);
    if (strncmp(text, name, size) != 0 || (text[size] != '\0' && text[size] != '=')) {
        return false;
    }
    *value = text[size] == '=' ? text + size + 1 : NULL;
    return true;
}

/* The arguments still to be looked at. */
struct words {
    char **next;
    char **end;
};

static int take_value(const struct cli *cli, struct words *words, const char *name,
                      const char *what, const char **value)
{
    if (*value == NULL) {
        if (words->next == words->end) {
            return cli_usage(cli, "--%s takes %s", name, what);
        }
        *value = *words->next++;
    }
    return EXIT_OK;
}

static int take_flag(const struct cli *cli, const char *name, const char *value)
{
    return value == NULL ? EXIT_OK : cli_usage(cli, "--%s takes no value", name);
}

static int parse_option(struct cli *cli, struct words *words, const char *text)
{
    const char *value;
    if (is_option(text, "url", &value)) {
        int status = take_value(cli, words, "url", "a URL", &value);
        cli->url = value;
        cli->url_given = true;
        return status;
    }
    if (is_option(text, "json", &value)) {
        cli->json = true;
        return take_flag(cli, "json", value);
    }
    if (is_option(text, "help", &value)) {
        cli->help = true;
        return take_flag(cli, "help", value);
    }
    const struct command *command = cli->command;
    for (size_t i = 0; command != NULL && i < CLI_OPTIONS_MAX && command->options[i].name; i++) {
        const struct option_spec *option = &command->options[i];
        if (!is_option(text, option->name, &value)) {
            continue;
        }
        int status;
        if (option->value == NULL) {
            status = take_flag(cli, option->name, value);
            value = "";
        } else {
            status = take_value(cli, words, option->name, option->value, &value);
        }
        cli->values[i] = value;
        return status;
    }
    return unknown_option(cli, text);
}

static int parse_word(struct cli *cli, const char *word)
{
    if (cli->command == NULL && !(cli->help && cli->argc > 0)) {
        if (strcmp(word, "help") == 0) {
            cli->help = true;
            return EXIT_OK;
        }
        cli->command = cli_find(word);
        return cli->command != NULL ? EXIT_OK : unknown_command(cli, word);
    }
    if (cli->argc == CLI_ARGUMENTS_MAX) {
        return cli_usage(cli, "there are more than %d arguments", CLI_ARGUMENTS_MAX);
    }
    cli->argv[cli->argc++] = word;
    return EXIT_OK;
}

static int check_count(const struct cli *cli)
{
    const struct command *command = cli->command;
    if (cli->argc >= command->arguments_min && cli->argc <= command->arguments_max) {
        return EXIT_OK;
    }
    if (command->arguments_max == 0) {
        return cli_usage(cli, "'%s' takes no arguments, but '%s' was given", command->name,
                         cli->argv[0]);
    }
    return cli_usage(cli, "'%s' takes %s, but %d argument%s given", command->name,
                     command->arguments, cli->argc, cli->argc == 1 ? " was" : "s were");
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct words words = {argv + 1, argv + argc};
    bool options = true;
    while (words.next < words.end) {
        const char *word = *words.next++;
        int status;
        if (options && strcmp(word, "--") == 0) {
            options = false;
            continue;
        }
        if (options && strcmp(word, "-h") == 0) {
            cli->help = true;
            continue;
        }
        if (options && strncmp(word, "--", 2) == 0) {
            status = parse_option(cli, &words, word + 2);
        } else {
            status = parse_word(cli, word);
        }
        if (status != EXIT_OK) {
            return status;
        }
    }
    if (cli->help) {
        return EXIT_OK;
    }
    return cli->command != NULL ? check_count(cli) : EXIT_OK;
}

const char *cli_option(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < CLI_OPTIONS_MAX && cli->command->options[i].name; i++) {
        if (strcmp(cli->command->options[i].name, name) == 0) {
            return cli->values[i];
        }
    }
    return NULL;
}

bool cli_parse_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > UINT64_MAX / 10) {
            return false;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        if (value * 10 > UINT64_MAX - digit) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

int cli_number(const struct cli *cli, const char *what, const char *text, uint64_t min,
               uint64_t max, uint64_t *out)
{
    uint64_t value;
    if (!cli_parse_number(text, &value) || value < min || value > max) {
        if (max == UINT64_MAX) {
            return cli_usage(cli, "%s is a number%s, not '%s'", what,
                             min > 0 ? " greater than 0" : "", text);
        }
        return cli_usage(cli, "%s is a number from %llu to %llu, not '%s'", what,
                         (unsigned long long)min, (unsigned long long)max, text);
    }
    *out = value;
    return EXIT_OK;
}

int cli_option_number(const struct cli *cli, const char *name, uint64_t min, uint64_t max,
                      uint64_t *out)
{
    const char *text = cli_option(cli, name);
    char what[40];
    if (text == NULL) {
        return EXIT_OK;
    }
    snprintf(what, sizeof(what), "--%s", name);
    return cli_number(cli, what, text, min, max, out);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool cli_unhex(struct buf *out, const char *text)
{
    size_t size = strlen(text);
    if (size % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < size; i += 2) {
        int high = hex_digit(text[i]);
        int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0 || buf_append_byte(out, (uint8_t)(high << 4 | low)) != 0) {
            return false;
        }
    }
    return true;
}
