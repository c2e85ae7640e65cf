/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep relay: messages handed straight from node to node through a server, not stored. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "codec/json.h"

#define WAIT_MS 200 /* how soon a signal is noticed */

/* ---- listen ---- */

static int print_message(const struct cli *cli, struct json *json, const ls_message *message)
{
    struct buf payload = {0};
    struct ls_error error;
    int status;
    if (json_from_cbor(&payload, message->object, &error) != 0) {
        status = cli_fail_error(&error);
    } else if (cli->json) {
        json_number(json, "clock", message->clock);
        json_bytes(json, "from", message->from);
        json_raw(json, "object", buf_bytes(&payload));
        status = json_print(json);
    } else {
        printf("%8" PRIu64 "  %.*s  %.*s\n", message->clock, (int)message->from.size,
               (const char *)message->from.data, (int)payload.size, (const char *)payload.data);
        status = EXIT_OK;
    }
    fflush(stdout);
    buf_free(&payload);
    return status;
}

static int listen_to(const struct cli *cli, ls *handle)
{
    struct json json = {0};
    uint64_t count = UINT64_MAX;
    int status = cli_option_number(cli, "count", 1, UINT64_MAX, &count);
    while (status == EXIT_OK && count > 0 && !cli_is_over()) {
        ls_message message;
        int rc = ls_relay_next(handle, WAIT_MS, &message);
        if (rc == 0) {
            status = print_message(cli, &json, &message);
            count--;
        } else if (rc != LS_ETIMEOUT) {
            status = cli_fail_ls();
        }
    }
    buf_free(&json.text);
    return status;
}

/* ---- send ---- */

enum target { TARGET_NTH, TARGET_HOST, TARGET_ALL };

struct sending {
    enum target target;
    uint64_t nth;
    const char *host;
    const char *payload;
};

static int parse_sending(const struct cli *cli, struct sending *sending)
{
    const char *word = cli->argc > 1 ? cli->argv[1] : "";
    int words = 2; /* up to the payload */
    int status = EXIT_OK;
    if (strcmp(word, "one") == 0 || strcmp(word, "second") == 0) {
        sending->target = TARGET_NTH;
        sending->nth = word[0] == 'o' ? 1 : 2;
    } else if (strcmp(word, "all") == 0) {
        sending->target = TARGET_ALL;
    } else if (strcmp(word, "nth") == 0 && cli->argc > 2) {
        sending->target = TARGET_NTH;
        words = 3;
        status =
            cli_number(cli, "the place of the node", cli->argv[2], 1, UINT32_MAX, &sending->nth);
    } else if (strcmp(word, "to") == 0 && cli->argc > 2) {
        sending->target = TARGET_HOST;
        words = 3;
        sending->host = cli->argv[2];
    } else {
        return cli_usage(cli,
                         "'relay send' takes one, second, nth N, to HOST or all, then the payload");
    }
    if (status == EXIT_OK && cli->argc != words + 1) {
        return cli_usage(cli, "'relay send' takes one payload after '%s'", word);
    }
    sending->payload = cli->argv[words];
    return status;
}

static int send_to(const struct cli *cli, ls *handle, const struct sending *sending)
{
    bool text = cli_option(cli, "text") != NULL;
    ls_payload payload = {text ? LS_TEXT : LS_JSON, bytes_of_text(sending->payload)};
    size_t handed;
    int rc;
    switch (sending->target) {
    case TARGET_NTH:
        rc = ls_relay_nth(handle, (size_t)sending->nth, payload, &handed);
        break;
    case TARGET_HOST:
        rc = ls_relay_to(handle, sending->host, payload, &handed);
        break;
    default:
        rc = ls_relay_all(handle, payload, &handed);
        break;
    }
    if (rc != 0) {
        return cli_fail_ls();
    }
    if (!cli->json) {
        printf("%zu\n", handed);
        return EXIT_OK;
    }
    struct json json = {0};
    json_number(&json, "handed", handed);
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

static int run_relay(struct cli *cli)
{
    bool listening = strcmp(cli->argv[0], "listen") == 0;
    struct sending sending = {.target = TARGET_ALL};
    const char *host = cli_option(cli, "as");
    ls *handle;
    if (!listening && strcmp(cli->argv[0], "send") != 0) {
        return cli_usage(cli, "'relay' takes listen or send, not '%s'", cli->argv[0]);
    }
    if (host == NULL) {
        return cli_usage(cli, "'relay' needs --as HOST: only nodes send and receive");
    }
    if (listening && cli->argc > 1) {
        return cli_usage(cli, "'relay listen' takes no arguments, not '%s'", cli->argv[1]);
    }
    int status = listening ? EXIT_OK : parse_sending(cli, &sending);
    if (status == EXIT_OK) {
        cli_catch_signals();
        status = cli_open(cli, ACCESS_CHANGE, &handle);
    }
    if (status != EXIT_OK) {
        return status;
    }
    if (ls_node_join(handle, host, NULL, NULL) != 0) {
        status = cli_fail_ls();
    } else {
        status = listening ? listen_to(cli, handle) : send_to(cli, handle, &sending);
        if (ls_node_leave(handle, NULL) != 0 && status == EXIT_OK) {
            status = cli_fail_ls();
        }
    }
    ls_close(handle);
    return status;
}

const struct command command_relay = {
    .name = "relay",
    .arguments = "listen | send TO PAYLOAD",
    .arguments_min = 1,
    .arguments_max = 4,
    .summary = "Send to or listen as a node; nothing is stored",
    .text =
        "TO is one, second, nth N, to HOST or all: of the other connected nodes, in byte order\n"
        "of their hosts. 'send' prints to how many the payload was handed. Needs a server.\n\n"
        "  lockstep relay listen --as alpha\n"
        "  lockstep relay send --as beta to alpha '{\"hello\":1}'\n",
    .run = run_relay,
    .options = {{"as", "HOST", "the node to be; it joins at the start and leaves at the end"},
                {"text", NULL, "the payload is plain text"},
                {"count", "N", "listen: stop after N messages"}},
};
