/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep key: explains a key of the store that is given in hex. */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/message.h"
#include "codec/key.h"
#include "codec/uuid.h"

static const char *category_name(enum key_category category)
{
    switch (category) {
    case KEY_CONTROL:
        return "control";
    case KEY_MESSAGE:
        return "message";
    case KEY_NODE:
        return "node";
    case KEY_OBJECT:
        return "object";
    case KEY_PRODUCER:
        return "producer";
    case KEY_VERSION:
        return "version";
    }
    return "unknown";
}

/* What the name of a category's keys is called, NULL where they have none. */
static const char *name_label(enum key_category category)
{
    switch (category) {
    case KEY_NODE:
        return "host";
    case KEY_OBJECT:
    case KEY_VERSION:
        return "key";
    case KEY_CONTROL:
        return "name";
    default:
        return NULL;
    }
}

static int print_json(const struct key_parts *parts)
{
    struct json json = {0};
    char id[UUID_TEXT_SIZE];
    char category[2] = {(char)parts->category, '\0'};
    json_text(&json, "category", category);
    json_text(&json, "name", category_name(parts->category));
    json_number(&json, "version", 1);
    json_text(&json, "value_type", "cbor");
    if (parts->category == KEY_MESSAGE) {
        char type[2] = {(char)parts->type, '\0'};
        json_number(&json, "clock", parts->clock);
        json_text(&json, "type", type);
    }
    if (parts->category == KEY_VERSION) {
        json_number(&json, "timestamp", parts->clock);
    }
    if (parts->category == KEY_PRODUCER) {
        uuid_format(id, parts->id);
        json_text(&json, "id", id);
    }
    const char *label = name_label(parts->category);
    if (label != NULL) {
        json_bytes(&json, parts->category == KEY_CONTROL ? "control" : label, parts->name);
    }
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

static int print_text(const struct key_parts *parts)
{
    printf("category    %c (%s)\n", (char)parts->category, category_name(parts->category));
    printf("version     1\nvalue type  1 (CBOR)\n");
    if (parts->category == KEY_MESSAGE) {
        printf("clock       %" PRIu64 "\n", parts->clock);
        printf("type        %c (%s)\n", parts->type, message_type_word(parts->type));
    }
    if (parts->category == KEY_PRODUCER) {
        char id[UUID_TEXT_SIZE];
        uuid_format(id, parts->id);
        printf("id          %s\n", id);
    }
    const char *label = name_label(parts->category);
    if (label != NULL) {
        struct buf name = {0};
        if (show_bytes(&name, parts->name) != 0) {
            buf_free(&name);
            return cli_fail("%s", ls_strerror(LS_ENOMEM));
        }
        printf("%-12s%.*s\n", label, (int)name.size, (const char *)name.data);
        buf_free(&name);
    }
    if (parts->category == KEY_VERSION) {
        printf("timestamp   %" PRIu64 "\n", parts->clock);
    }
    return EXIT_OK;
}

static int run_key(struct cli *cli)
{
    struct buf key = {0};
    struct key_parts parts;
    struct ls_error error;
    int status;
    if (!cli_unhex(&key, cli->argv[0])) {
        status = cli_usage(cli, "the key is given in hex, an even number of digits, not '%s'",
                           cli->argv[0]);
    } else if (key_decode(&parts, buf_bytes(&key), &error) != 0) {
        status = cli_fail_error(&error);
    } else {
        status = cli->json ? print_json(&parts) : print_text(&parts);
    }
    buf_free(&key);
    return status;
}

const struct command command_key = {
    .name = "key",
    .arguments = "HEX",
    .arguments_min = 1,
    .arguments_max = 1,
    .summary = "Explain a key of the store, given in hex",
    .text = "Every key begins with its category, one letter, and a byte with the version of the\n"
            "format and the type of the value. A key of another version is refused, not guessed.\n",
    .url = "",
    .run = run_key,
};
