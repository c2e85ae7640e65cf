/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `lockstep model`, as a plan. */
#include <stdlib.h>
#include <string.h>

#include "cli/model.h"

#define NODES_DEFAULT 3

/* The option as a decimal; what it is stays as it was where it is not given. */
static int parse_decimal(const struct cli *cli, const char *name, const char *example,
                         struct decimal *out)
{
    const char *text = cli_option(cli, name);
    if (text == NULL || decimal_parse(text, strlen(text), out)) {
        return EXIT_OK;
    }
    return cli_usage(cli,
                     "--%s takes a number such as %s, with at most %d decimal places, not '%s'",
                     name, example, DECIMAL_PLACES_MAX, text);
}

static int parse_probability(const struct cli *cli, const char *name, const char *example,
                             struct decimal *out)
{
    int status = parse_decimal(cli, name, example, out);
    if (status == EXIT_OK && out->digits > decimal_power(out->places)) {
        return cli_usage(cli, "--%s is a probability from 0 to 1, not '%s'", name,
                         cli_option(cli, name));
    }
    return status;
}

static bool is_rate(struct decimal rate)
{
    return rate.digits > 0 && rate.digits <= SCALE_NS_PER_SECOND * decimal_power(rate.places);
}

static int bad_rate(const struct cli *cli, const char *text, size_t size)
{
    return cli_usage(cli,
                     "a rate is a number of ticks a second, more than 0 and at most 1000000000, "
                     "not '%.*s'",
                     (int)size, text);
}

static int parse_rates(const struct cli *cli, struct model_wish *wish)
{
    const char *text = cli_option(cli, "rates");
    uint32_t count = 1;
    if (text == NULL) {
        return EXIT_OK;
    }
    for (const char *c = text; *c != '\0'; c++) {
        count += *c == ',';
    }
    if (cli_option(cli, "nodes") != NULL && count != wish->plan.nodes) {
        return cli_usage(cli, "--rates gives %u rate%s, but --nodes is %u: leave one of them out",
                         count, count == 1 ? "" : "s", wish->plan.nodes);
    }
    wish->rates = calloc(count, sizeof *wish->rates);
    if (wish->rates == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strcspn(text, ",");
        if (!decimal_parse(text, size, &wish->rates[i]) || !is_rate(wish->rates[i])) {
            return bad_rate(cli, text, size);
        }
        text += size + 1;
    }
    wish->plan.nodes = count;
    wish->plan.rates = wish->rates;
    return EXIT_OK;
}

static int parse_range(const struct cli *cli, struct run_plan *plan)
{
    const char *text = cli_option(cli, "rate-range");
    plan->rate_least = (struct decimal){1, 0};
    plan->rate_most = (struct decimal){6, 0};
    if (text == NULL) {
        return EXIT_OK;
    }
    if (cli_option(cli, "rates") != NULL) {
        return cli_usage(cli, "--rates gives each node's rate, --rate-range draws them: not both");
    }
    const char *colon = strchr(text, ':');
    if (colon == NULL) {
        return cli_usage(cli,
                         "--rate-range takes the least and the greatest rate, such as 1:6, "
                         "not '%s'",
                         text);
    }
    size_t size = (size_t)(colon - text);
    if (!decimal_parse(text, size, &plan->rate_least) || !is_rate(plan->rate_least)) {
        return bad_rate(cli, text, size);
    }
    size = strlen(colon + 1);
    if (!decimal_parse(colon + 1, size, &plan->rate_most) || !is_rate(plan->rate_most)) {
        return bad_rate(cli, colon + 1, size);
    }
    unsigned places = plan->rate_least.places > plan->rate_most.places ? plan->rate_least.places
                                                                       : plan->rate_most.places;
    uint64_t least = 0;
    uint64_t most = 0;
    if (decimal_in_units(plan->rate_least, places, &least) &&
        decimal_in_units(plan->rate_most, places, &most) && least > most) {
        return cli_usage(cli, "--rate-range takes the least rate first, not '%s'", text);
    }
    return EXIT_OK;
}

static int parse_peers(const struct cli *cli, struct run_plan *plan)
{
    uint64_t peers = 0;
    int status = cli_option_number(cli, "peers", 1, SCALE_NODES_MAX, &peers);
    if (status != EXIT_OK) {
        return status;
    }
    if (peers >= plan->nodes && peers > 0) {
        return plan->nodes == 1 ? cli_usage(cli, "--peers needs more than one node")
                                : cli_usage(cli, "--peers is at most %u, as there are %u nodes",
                                            plan->nodes - 1, plan->nodes);
    }
    if (peers == 0 && plan->nodes > SCALE_STAR_MAX) {
        return cli_usage(cli,
                         "more than %u nodes need --peers K: that all of them send to all others "
                         "is too much",
                         SCALE_STAR_MAX);
    }
    plan->peers = (uint32_t)peers;
    return EXIT_OK;
}

static int parse_export(const struct cli *cli, struct model_wish *wish)
{
    const char *text = cli_option(cli, "export");
    wish->out = cli_option(cli, "out");
    if (wish->out != NULL && *wish->out == '\0') {
        return cli_usage(cli, "--out takes the name of a directory");
    }
    if (text == NULL) {
        return EXIT_OK;
    }
    if (strcmp(text, "shiviz") != 0) {
        return cli_usage(cli, "--export takes 'shiviz', not '%s'", text);
    }
    if (wish->out == NULL) {
        return cli_usage(cli, "--export writes into the directory of the run: give --out as well");
    }
    if (wish->plan.nodes > SHIVIZ_NODES_MAX) {
        return cli_usage(cli, "--export shiviz takes at most %d nodes", SHIVIZ_NODES_MAX);
    }
    wish->plan.shiviz = true;
    return EXIT_OK;
}

static int parse_live(const struct cli *cli, struct run_plan *plan)
{
    static const char *const virtual_only[] = {"latency", "latency-jitter", "loss"};
    plan->live = cli_option(cli, "live") != NULL;
    if (!plan->live) {
        return cli->url_given ? cli_usage(cli, "--url is for --live: a virtual run has no server")
                              : EXIT_OK;
    }
    if (cli->url_given && strncmp(cli->url, "lockstep://", 11) != 0) {
        return cli_usage(cli, "a live run goes through a server, lockstep://HOST[:PORT], not '%s'",
                         cli->url);
    }
    for (size_t i = 0; i < sizeof virtual_only / sizeof *virtual_only; i++) {
        if (cli_option(cli, virtual_only[i]) != NULL) {
            return cli_usage(cli, "--%s is for virtual time: with --live it is what it is",
                             virtual_only[i]);
        }
    }
    return EXIT_OK;
}

int model_parse(const struct cli *cli, struct model_wish *wish)
{
    struct run_plan *plan = &wish->plan;
    struct scale_options options;
    struct ls_error error;
    uint64_t nodes = NODES_DEFAULT;

    *wish = (struct model_wish){
        .plan = {.seed = 1, .seconds = {60, 0}, .internal = {7, 1}},
    };
    int status = cli_option_number(cli, "nodes", 1, SCALE_NODES_MAX, &nodes);
    plan->nodes = (uint32_t)nodes;
    status = status == EXIT_OK ? parse_rates(cli, wish) : status;
    status = status == EXIT_OK ? parse_range(cli, plan) : status;
    status =
        status == EXIT_OK ? parse_decimal(cli, "seconds", "60 or 0.5", &plan->seconds) : status;
    status =
        status == EXIT_OK ? parse_probability(cli, "internal", "0.7", &plan->internal) : status;
    status =
        status == EXIT_OK ? cli_option_number(cli, "seed", 0, UINT64_MAX, &plan->seed) : status;
    status =
        status == EXIT_OK ? parse_decimal(cli, "latency", "20 or 0.5", &plan->latency_ms) : status;
    status =
        status == EXIT_OK ? parse_decimal(cli, "latency-jitter", "5", &plan->jitter_ms) : status;
    status = status == EXIT_OK ? parse_probability(cli, "loss", "0.01", &plan->loss) : status;
    status = status == EXIT_OK ? parse_peers(cli, plan) : status;
    status = status == EXIT_OK ? parse_export(cli, wish) : status;
    status = status == EXIT_OK ? parse_live(cli, plan) : status;
    if (status == EXIT_OK && run_plan_options(plan, &options, &error) != 0) {
        status = cli_usage(cli, "%s", error.text);
    }
    if (status != EXIT_OK) {
        free(wish->rates);
    }
    return status;
}
