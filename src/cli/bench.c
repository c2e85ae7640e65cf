/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep bench: loads a server, and says how fast it answered. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_plan.h"
#include "cli/cli.h"

#define SIZE_MAX_DEFAULT 128
#define NUMBER_MAX       UINT64_C(999999999999) /* of as many digits as a command has place for */

static const struct {
    const char *label;
    const char *field;
    double fraction;
} percentiles[] = {
    {"p50", "p50_us", 0.5},       {"p90", "p90_us", 0.9}, {"p99", "p99_us", 0.99},
    {"p99.9", "p99_9_us", 0.999}, {"max", "max_us", 1.0},
};
#define PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

struct bench {
    const struct cli *cli;
    struct bench_plan plan;
    const char *command;
    uint64_t size;
};

static const char *default_command(const struct bench_plan *plan)
{
    if (!plan->endpoint.redis) {
        return "MSG.POST user - TEXT __data__";
    }
    return plan->watchers > 0 ? "PUBLISH bench __data__" : "XADD bench * d __data__";
}

static int parse_plan(struct bench *bench)
{
    const struct cli *cli = bench->cli;
    struct bench_plan *plan = &bench->plan;
    struct ls_error error;
    uint64_t connections = 64;
    uint64_t pipeline = 16;
    uint64_t threads = 1;
    uint64_t watchers = 0;
    struct {
        const char *name;
        uint64_t min;
        uint64_t max;
        uint64_t *out;
    } numbers[] = {
        {"connections", 1, 60000, &connections}, {"pipeline", 1, 100000, &pipeline},
        {"threads", 1, 256, &threads},           {"watchers", 0, 60000, &watchers},
        {"size", 0, 512 << 20, &bench->size},    {"requests", 1, NUMBER_MAX, &plan->requests},
        {"seconds", 1, 86400, &plan->seconds},   {"keys", 1, NUMBER_MAX, &plan->keys},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        int status =
            cli_option_number(cli, numbers[i].name, numbers[i].min, numbers[i].max, numbers[i].out);
        if (status != EXIT_OK) {
            return status;
        }
    }
    if (plan->requests > 0 && cli_option(cli, "seconds") != NULL) {
        return cli_usage(cli, "--requests and --seconds exclude each other");
    }
    if (watchers > 0 && (cli_option(cli, "connections") != NULL || threads > 1)) {
        return cli_usage(cli, "with --watchers one connection posts, on one thread");
    }
    if (endpoint_parse(&plan->endpoint, cli->url, &error) != 0) {
        return cli_usage(cli, "%s", error.text);
    }
    plan->watchers = (unsigned)watchers;
    plan->connections = watchers > 0 ? 1 : (unsigned)connections;
    plan->pipeline = (unsigned)pipeline;
    plan->threads = (unsigned)(threads < connections ? threads : connections);
    const char *command = cli_option(cli, "command");
    bench->command = command != NULL ? command : default_command(plan);
    if (bench_command_parse(&plan->command, bench->command, bench->size, &error) != 0) {
        return cli_usage(cli, "%s", error.text);
    }
    return EXIT_OK;
}

static double per_second(uint64_t count, uint64_t elapsed_ns)
{
    return elapsed_ns > 0 ? (double)count * 1e9 / (double)elapsed_ns : 0;
}

static int report_json(const struct bench *bench, const struct bench_result *result)
{
    const struct bench_plan *plan = &bench->plan;
    struct json json = {0};
    json_text(&json, "url", bench->cli->place);
    json_text(&json, "command", bench->command);
    json_number(&json, "connections", plan->connections);
    json_number(&json, "pipeline", plan->pipeline);
    json_number(&json, "size", bench->size);
    json_number(&json, "threads", plan->threads);
    json_number(&json, "requests", result->requests);
    json_double(&json, "seconds", (double)result->elapsed_ns / 1e9);
    json_double(&json, "per_second", per_second(result->requests, result->elapsed_ns));
    if (plan->watchers > 0) {
        json_number(&json, "watchers", plan->watchers);
        json_number(&json, "delivered", result->delivered);
        json_double(&json, "delivered_per_second",
                    per_second(result->delivered, result->elapsed_ns));
    }
    for (size_t i = 0; i < PERCENTILES; i++) {
        uint64_t ns = histogram_at(&result->latency, percentiles[i].fraction);
        json_double(&json, percentiles[i].field, (double)ns / 1e3);
    }
    json_number(&json, "errors", result->errors.count);
    if (result->errors.count > 0) {
        json_text(&json, "first_error", result->errors.first);
    }
    int status = json_print(&json);
    buf_free(&json.text);
    return status;
}

static void report_text(const struct bench *bench, const struct bench_result *result)
{
    const struct cli *cli = bench->cli;
    const struct bench_plan *plan = &bench->plan;
    const char *bold = cli_colour(cli, COLOUR_BOLD);
    const char *plain = cli_colour(cli, COLOUR_NONE);
    printf("%s%s%s\n", bold, bench->command, plain);
    printf("%s, %u connection%s, pipeline %u, %" PRIu64 " byte%s", cli->place, plan->connections,
           cli_plural(plan->connections), plan->pipeline, bench->size, cli_plural(bench->size));
    if (plan->threads > 1) {
        printf(", %u threads", plan->threads);
    }
    printf("\n\nrequests    %" PRIu64 " in %.3f s\n", result->requests,
           (double)result->elapsed_ns / 1e9);
    printf("throughput  %s%.0f%s per second\n", bold,
           per_second(result->requests, result->elapsed_ns), plain);
    if (plan->watchers > 0) {
        printf("delivered   %" PRIu64 " to %u watcher%s, %s%.0f%s per second\n", result->delivered,
               plan->watchers, cli_plural(plan->watchers), bold,
               per_second(result->delivered, result->elapsed_ns), plain);
    }
    printf("latency    ");
    for (size_t i = 0; i < PERCENTILES; i++) {
        printf(" %s %.3f ms%s", percentiles[i].label,
               (double)histogram_at(&result->latency, percentiles[i].fraction) / 1e6,
               i + 1 < PERCENTILES ? "," : "\n");
    }
    if (result->errors.count > 0) {
        printf("errors      %s%" PRIu64 "%s\n", cli_colour(cli, COLOUR_RED), result->errors.count,
               plain);
    }
}

static int report(const struct bench *bench, const struct bench_result *result)
{
    int status = EXIT_OK;
    if (bench->cli->json) {
        status = report_json(bench, result);
    } else {
        report_text(bench, result);
    }
    if (status == EXIT_OK && result->errors.count > 0) {
        status = cli_fail("%" PRIu64 " of %" PRIu64 " request%s %s refused, the first with: %s",
                          result->errors.count, result->requests, cli_plural(result->requests),
                          result->errors.count == 1 ? "was" : "were", result->errors.first);
    }
    return status;
}

static int run_bench(struct cli *cli)
{
    struct bench bench = {.cli = cli, .size = SIZE_MAX_DEFAULT};
    struct ls_error error;
    bench.plan.seconds = 5;
    bench.plan.keys = 100000;
    int status = parse_plan(&bench);
    if (status == EXIT_OK) {
        struct bench_result *result = malloc(sizeof(*result));
        if (result == NULL) {
            status = cli_fail("%s", ls_strerror(LS_ENOMEM));
        } else if (bench_run(&bench.plan, result, &error) != 0) {
            status = cli_fail_error(&error);
        } else {
            status = report(&bench, result);
        }
        free(result);
    }
    endpoint_free(&bench.plan.endpoint);
    buf_free(&bench.plan.command.bytes);
    return status;
}

const struct command command_bench = {
    .name = "bench",
    .arguments = "",
    .summary = "Load a server with a command and print throughput and latency",
    .text =
        "Each connection sends a batch of --pipeline commands, waits for all replies, and sends\n"
        "the next. In the command, __data__ stands for --size bytes, __rand__ for a random\n"
        "number below --keys, and __seq__ for one that counts up. With --watchers, one\n"
        "connection posts and what is counted is the messages that reach the watchers.\n"
        "The URL may be redis://HOST[:PORT], to measure Redis in the same way.\n\n"
        "  lockstep bench --seconds 10\n"
        "  lockstep bench --command 'OBJ.PUT key:__rand__ __data__' --requests 1000000\n"
        "  lockstep bench --watchers 1000 --requests 20000\n",
    .run = run_bench,
    .options = {{"command", "LINE",
                 "what is sent; by default 'MSG.POST user - TEXT __data__', for Redis "
                 "'XADD bench * d __data__'"},
                {"connections", "N", "64 by default"},
                {"pipeline", "N", "commands in a batch; 16 by default"},
                {"size", "BYTES", "of __data__; 128 by default"},
                {"requests", "N", "how many commands in all"},
                {"seconds", "S", "for how long, where --requests is not given; 5 by default"},
                {"threads", "N", "1 by default"},
                {"keys", "N", "bound of __rand__; 100000 by default"},
                {"watchers", "N", "connections that watch (in Redis: subscribe)"}},
};
