/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a run: the numbers, and how summary.json says them. */
#include <inttypes.h>

#include "codec/json.h"
#include "model/run.h"

struct run_result run_result_of(const struct scale *scale, const char *stopped)
{
    return (struct run_result){.nodes = scale->node_count,
                               .tallies = &scale->nodes[0].tally,
                               .tally_stride = sizeof scale->nodes[0],
                               .rates = &scale->nodes[0].rate,
                               .rate_stride = sizeof scale->nodes[0],
                               .rate_places = scale->rate_places,
                               .messages = scale->messages,
                               .lost = scale->kernel.lost,
                               .in_flight = scale_in_flight(scale),
                               .waiting = scale->mail.waiting,
                               .reached_ns = scale->kernel.now_ns,
                               .stopped = stopped};
}

const struct tally *run_tally(const struct run_result *result, uint32_t node)
{
    const char *first = (const char *)result->tallies;
    return (const struct tally *)(const void *)(first + node * result->tally_stride);
}

static uint64_t rate_of(const struct run_result *result, uint32_t node)
{
    const char *first = (const char *)result->rates;
    return *(const uint64_t *)(const void *)(first + node * result->rate_stride);
}

uint32_t run_fastest(const struct run_result *result)
{
    uint32_t fastest = 0;
    for (uint32_t i = 1; i < result->nodes; i++) {
        if (rate_of(result, i) > rate_of(result, fastest)) {
            fastest = i;
        }
    }
    return fastest;
}

int64_t run_drift(const struct run_result *result, uint32_t fastest, uint32_t node)
{
    return (int64_t)(run_tally(result, fastest)->clock - run_tally(result, node)->clock);
}

size_t run_rate_text(const struct run_result *result, uint32_t node, char out[DECIMAL_TEXT_SIZE])
{
    return decimal_text(decimal_of(rate_of(result, node), result->rate_places), out);
}

/* The tallies of all nodes as if they were one; the clock is the greatest. */
static struct tally sum_tallies(const struct run_result *result)
{
    struct tally sum = {0};
    for (uint32_t i = 0; i < result->nodes; i++) {
        const struct tally *tally = run_tally(result, i);
        sum.ticks += tally->ticks;
        sum.sent += tally->sent;
        sum.received += tally->received;
        sum.jump_sum += tally->jump_sum;
        sum.queue_sum += tally->queue_sum;
        sum.clock = tally->clock > sum.clock ? tally->clock : sum.clock;
        sum.max_jump = tally->max_jump > sum.max_jump ? tally->max_jump : sum.max_jump;
        sum.max_queue = tally->max_queue > sum.max_queue ? tally->max_queue : sum.max_queue;
    }
    return sum;
}

static int put_totals(const struct run_result *result, uint32_t fastest, struct buf *out)
{
    const struct tally sum = sum_tallies(result);
    int64_t drift = 0; /* of the fastest itself */
    char jump[DECIMAL_TEXT_SIZE];
    char queue[DECIMAL_TEXT_SIZE];

    for (uint32_t i = 0; i < result->nodes; i++) {
        int64_t own = run_drift(result, fastest, i);
        drift = own > drift ? own : drift;
    }
    decimal_mean(sum.jump_sum, sum.ticks, jump);
    decimal_mean(sum.queue_sum, sum.ticks, queue);
    return buf_printf(out,
                      "\"totals\":{\"nodes\":%u,\"ticks\":%" PRIu64 ",\"internal\":%" PRIu64
                      ",\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"final_clock\":%" PRIu64
                      ",\"max_jump\":%" PRIu64 ",\"mean_jump\":%s,\"max_queue\":%u"
                      ",\"mean_queue\":%s,\"max_drift\":%" PRId64
                      ",\"fastest\":%u,\"messages\":%" PRIu64 ",\"lost\":%" PRIu64
                      ",\"in_flight\":%" PRIu64 ",\"waiting\":%" PRIu64 "},",
                      result->nodes, sum.ticks, tally_internal(&sum), sum.sent, sum.received,
                      sum.clock, sum.max_jump, jump, sum.max_queue, queue, drift, fastest + 1,
                      result->messages, result->lost, result->in_flight, result->waiting);
}

static int put_node(const struct run_result *result, uint32_t fastest, uint32_t node,
                    struct buf *out)
{
    const struct tally *tally = run_tally(result, node);
    char rate[DECIMAL_TEXT_SIZE];
    char jump[DECIMAL_TEXT_SIZE];
    char queue[DECIMAL_TEXT_SIZE];

    run_rate_text(result, node, rate);
    decimal_mean(tally->jump_sum, tally->ticks, jump);
    decimal_mean(tally->queue_sum, tally->ticks, queue);
    return buf_printf(out,
                      "{\"node\":%u,\"rate\":%s,\"ticks\":%" PRIu64 ",\"internal\":%" PRIu64
                      ",\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"final_clock\":%" PRIu64
                      ",\"max_jump\":%" PRIu64 ",\"mean_jump\":%s,\"max_queue\":%u"
                      ",\"mean_queue\":%s,\"drift\":%" PRId64 "}",
                      node + 1, rate, tally->ticks, tally_internal(tally), tally->sent,
                      tally->received, tally->clock, tally->max_jump, jump, tally->max_queue, queue,
                      run_drift(result, fastest, node));
}

int run_print_summary(const struct run_result *result, bool lines, FILE *out)
{
    const char *line = lines ? "\n" : "";
    uint32_t fastest = run_fastest(result);
    char seconds[DECIMAL_TEXT_SIZE];
    struct buf text = {0};

    decimal_text(decimal_of(result->reached_ns, 9), seconds);
    int rc = buf_printf(&text, "{\"format\":1,%s\"whole\":%s,%s\"stopped\":", line,
                        result->stopped == NULL ? "true" : "false", line);
    if (rc == 0) {
        rc = result->stopped == NULL ? buf_append_text(&text, "null")
                                     : json_put_string(&text, bytes_of_text(result->stopped));
    }
    rc = rc == 0 ? buf_printf(&text, ",%s\"seconds\":%s,%s", line, seconds, line) : rc;
    rc = rc == 0 ? put_totals(result, fastest, &text) : rc;
    rc = rc == 0 ? buf_printf(&text, "%s\"nodes\":[%s", line, line) : rc;
    for (uint32_t i = 0; i < result->nodes && rc == 0; i++) {
        rc = put_node(result, fastest, i, &text);
        rc = rc == 0 ? buf_printf(&text, "%s%s", i + 1 < result->nodes ? "," : "", line) : rc;
        fwrite(text.data, 1, text.size, out);
        text.size = 0;
    }
    fputs("]}\n", out);
    buf_free(&text);
    return rc;
}
