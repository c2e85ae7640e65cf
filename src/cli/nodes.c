/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep nodes: the registry, one line a node. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "codec/json.h"
#include "codec/record.h"
#include "codec/uuid.h"

static enum colour state_colour(enum ls_node_state state)
{
    switch (state) {
    case LS_NODE_UP:
        return COLOUR_GREEN;
    case LS_NODE_LEAVING:
        return COLOUR_YELLOW;
    default:
        return COLOUR_RED;
    }
}

static const char *state_name(enum ls_node_state state)
{
    return node_state_name((enum node_state)state);
}

static int print_json(struct json *json, const ls_node *node)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(id, node->id);
    json_bytes(json, "host", node->host);
    json_text(json, "id", id);
    json_text(json, "state", state_name(node->state));
    json_number(json, "joined", node->joined);
    json_number(json, "clock", node->clock);
    json_number(json, "timestamp", node->timestamp_ns);
    json_number(json, "ttl", node->ttl_ms);
    if (node->meta.size > 0) {
        struct buf meta = {0};
        if (json_from_cbor(&meta, node->meta, NULL) == 0) {
            json_raw(json, "meta", buf_bytes(&meta));
        }
        buf_free(&meta);
    }
    return json_print(json);
}

static int print_text(const struct cli *cli, const ls_node *node, int width)
{
    char id[UUID_TEXT_SIZE];
    char since[SHOW_TIME_SIZE];
    struct buf meta = {0};
    uuid_format(id, node->id);
    show_time(since, node->timestamp_ns);
    if (node->meta.size > 0 && json_from_cbor(&meta, node->meta, NULL) != 0) {
        meta.size = 0;
    }
    printf("%-*.*s  %s%-7s%s  %8" PRIu64 "  %8" PRIu64 "  %8" PRIu64 "  %s  %s%s%.*s\n", width,
           (int)node->host.size, (const char *)node->host.data,
           cli_colour(cli, state_colour(node->state)), state_name(node->state),
           cli_colour(cli, COLOUR_NONE), node->joined, node->clock, node->ttl_ms, since, id,
           meta.size > 0 ? "  " : "", (int)meta.size, (const char *)meta.data);
    buf_free(&meta);
    return EXIT_OK;
}

static int print_nodes(const struct cli *cli, const ls_nodes *nodes, int state)
{
    struct json json = {0};
    int status = EXIT_OK;
    int width = 4;
    for (size_t i = 0; i < ls_nodes_count(nodes); i++) {
        size_t size = ls_nodes_get(nodes, i)->host.size;
        width = (int)size > width ? (int)size : width;
    }
    if (!cli->json) {
        printf("%s%-*s  %-7s  %8s  %8s  %8s  %-23s  %s%s\n", cli_colour(cli, COLOUR_BOLD), width,
               "HOST", "STATE", "JOINED", "CLOCK", "TTL MS", "SINCE", "ID",
               cli_colour(cli, COLOUR_NONE));
    }
    for (size_t i = 0; i < ls_nodes_count(nodes) && status == EXIT_OK; i++) {
        const ls_node *node = ls_nodes_get(nodes, i);
        if (state >= 0 && (int)node->state != state) {
            continue;
        }
        status = cli->json ? print_json(&json, node) : print_text(cli, node, width);
    }
    buf_free(&json.text);
    return status;
}

static int run_nodes(struct cli *cli)
{
    const char *name = cli_option(cli, "state");
    int state = -1;
    ls *handle;
    ls_nodes *nodes;
    if (name != NULL) {
        state = node_state_from_name(bytes_of_text(name));
        if (state < 0) {
            return cli_usage(cli, "--state is up, leaving or down, not '%s'", name);
        }
    }
    int status = cli_open(cli, ACCESS_READ, &handle);
    if (status != EXIT_OK) {
        return status;
    }
    if (ls_node_list(handle, &nodes) != 0) {
        status = cli_fail_ls();
    } else {
        status = print_nodes(cli, nodes, state);
        ls_nodes_free(nodes);
    }
    ls_close(handle);
    return status;
}

const struct command command_nodes = {
    .name = "nodes",
    .arguments = "",
    .summary = "List the nodes and their states",
    .text = "CLOCK is how far the node says it has processed the box.\n",
    .run = run_nodes,
    .options = {{"state", "STATE", "only those that are up, leaving or down"}},
};
