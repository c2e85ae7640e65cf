/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep clock: the coordinator's clock, fresh values of it, and witnessing. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"

#define NEXT_MAX ((uint64_t)1 << 20)

/* What is asked for. */
struct wish {
    enum { CLOCK_NOW, CLOCK_FRESH, CLOCK_SEEN } kind;
    uint64_t number;
};

static int parse_wish(const struct cli *cli, struct wish *wish)
{
    const char *word = cli->argc > 0 ? cli->argv[0] : "";
    const char *number = cli->argc > 1 ? cli->argv[1] : NULL;
    if (cli->argc == 0) {
        wish->kind = CLOCK_NOW;
        return EXIT_OK;
    }
    if (strcmp(word, "next") == 0) {
        wish->kind = CLOCK_FRESH;
        wish->number = 1;
        return number == NULL
                   ? EXIT_OK
                   : cli_number(cli, "how many values", number, 1, NEXT_MAX, &wish->number);
    }
    if (strcmp(word, "witness") == 0) {
        wish->kind = CLOCK_SEEN;
        return number == NULL ? cli_usage(cli, "'clock witness' takes the clock that was seen")
                              : cli_number(cli, "the clock that was seen", number, 0, UINT64_MAX,
                                           &wish->number);
    }
    return cli_usage(cli, "'clock' takes nothing, 'next [N]' or 'witness T', not '%s'", word);
}

static int fulfil(ls *handle, const struct wish *wish, uint64_t *clock)
{
    switch (wish->kind) {
    case CLOCK_FRESH:
        return ls_clock_next(handle, wish->number, clock);
    case CLOCK_SEEN:
        return ls_clock_witness(handle, wish->number, clock);
    default:
        return ls_clock_get(handle, clock);
    }
}

static int print_clock(const struct cli *cli, const struct wish *wish, uint64_t clock)
{
    if (!cli->json) {
        printf("%" PRIu64 "\n", clock);
        return EXIT_OK;
    }
    struct json json = {0};
    json_number(&json, "clock", clock);
    if (wish->kind == CLOCK_FRESH) {
        json_number(&json, "count", wish->number);
    }
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

static int run_clock(struct cli *cli)
{
    struct wish wish;
    ls *handle;
    uint64_t clock;
    int status = parse_wish(cli, &wish);
    if (status != EXIT_OK) {
        return status;
    }
    status = cli_open(cli, wish.kind == CLOCK_NOW ? ACCESS_READ : ACCESS_CHANGE, &handle);
    if (status == EXIT_OK) {
        status =
            fulfil(handle, &wish, &clock) != 0 ? cli_fail_ls() : print_clock(cli, &wish, clock);
        ls_close(handle);
    }
    return status;
}

const struct command command_clock = {
    .name = "clock",
    .arguments = "[next [N] | witness T]",
    .arguments_min = 0,
    .arguments_max = 2,
    .summary = "Print the clock, draw fresh values, or witness one",
    .text = "'next' prints the first of N consecutive values that nobody gets again. 'witness'\n"
            "raises the clock above T and prints it.\n",
    .run = run_clock,
};
