/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a run of the scale model, in a table that fits a terminal. */
#include <inttypes.h>
#include <string.h>

#include "cli/model.h"

#define ROWS_MAX 20

static void print_row(const struct run_result *result, uint32_t fastest, uint32_t node)
{
    const struct tally *tally = run_tally(result, node);
    char rate[DECIMAL_TEXT_SIZE];
    char jump[DECIMAL_TEXT_SIZE];
    char queue[DECIMAL_TEXT_SIZE];

    run_rate_text(result, node, rate);
    decimal_mean(tally->jump_sum, tally->ticks, jump);
    decimal_mean(tally->queue_sum, tally->ticks, queue);
    printf("%7u %6s %7" PRIu64 " %6" PRIu64 " %8" PRIu64 " %8" PRIu64 " %4" PRIu64
           " %6s %5u %7s %6" PRId64 "\n",
           node + 1, rate, tally->ticks, tally->sent, tally->received, tally->clock,
           tally->max_jump, jump, tally->max_queue, queue, run_drift(result, fastest, node));
}

void model_print_table(const struct cli *cli, const struct run_result *result)
{
    uint32_t fastest = run_fastest(result);
    uint32_t rows = result->nodes <= ROWS_MAX ? result->nodes : ROWS_MAX / 2;
    uint64_t ticks = 0;
    char seconds[DECIMAL_TEXT_SIZE];

    printf("%s                                                       jump         queue\n"
           "   node   rate   ticks   sent received    clock  max   mean   max    mean  drift%s\n",
           cli_colour(cli, COLOUR_BOLD), cli_colour(cli, COLOUR_NONE));
    for (uint32_t i = 0; i < rows; i++) {
        print_row(result, fastest, i);
    }
    if (rows < result->nodes) {
        printf("    ... and %u more; the fastest:\n", result->nodes - rows);
        print_row(result, fastest, fastest);
    }
    for (uint32_t i = 0; i < result->nodes; i++) {
        ticks += run_tally(result, i)->ticks;
    }
    decimal_text(decimal_of(result->reached_ns, 9), seconds);
    printf("\n%s second%s, %" PRIu64 " tick%s, %" PRIu64 " message%s: %" PRIu64 " lost, %" PRIu64
           " on their way, %" PRIu64 " waiting in queues\n",
           seconds, strcmp(seconds, "1") == 0 ? "" : "s", ticks, cli_plural(ticks),
           result->messages, cli_plural(result->messages), result->lost, result->in_flight,
           result->waiting);
}
