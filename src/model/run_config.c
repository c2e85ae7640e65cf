/* SPDX-License-Identifier: Apache-2.0 */
/* What a run was asked to be, as config.json says it and as the report lists it. */
#include "model/run_config.h"

#include <inttypes.h>
#include <stdio.h>

static int put_decimal(struct buf *out, const char *name, struct decimal value)
{
    char text[DECIMAL_TEXT_SIZE];
    decimal_text(value, text);
    return buf_printf(out, ",\n\"%s\":%s", name, text);
}

static int put_rates(const struct run_plan *plan, struct buf *out)
{
    char text[DECIMAL_TEXT_SIZE];
    char most[DECIMAL_TEXT_SIZE];
    int rc = 0;

    if (plan->rates == NULL) {
        decimal_text(plan->rate_least, text);
        decimal_text(plan->rate_most, most);
        return buf_printf(out, ",\n\"rate_range\":[%s,%s]", text, most);
    }
    rc = buf_append_text(out, ",\n\"rates\":[");
    for (uint32_t i = 0; i < plan->nodes && rc == 0; i++) {
        decimal_text(plan->rates[i], text);
        rc = buf_printf(out, "%s%s", i > 0 ? "," : "", text);
    }
    return rc == 0 ? buf_append_text(out, "]") : rc;
}

static int put_sampling(const struct run_plan *plan, uint32_t events_nodes, struct buf *out)
{
    uint32_t shown = plan->nodes < HISTORY_NODES_MAX ? plan->nodes : HISTORY_NODES_MAX;
    int rc = buf_printf(out,
                        ",\n\"events\":{\"nodes\":%u,\"sampled\":%s}"
                        ",\n\"report\":{\"nodes\":%u,\"diagram_events_max\":%d}",
                        events_nodes, events_nodes < plan->nodes ? "true" : "false", shown,
                        REPORT_EVENTS_MAX);
    if (rc == 0 && plan->shiviz) {
        rc = buf_printf(out, ",\n\"shiviz\":{\"events_max\":%d}", SHIVIZ_EVENTS_MAX);
    }
    return rc;
}

int run_config_print(const struct run_plan *plan, uint32_t events_nodes, FILE *file)
{
    struct buf out = {0};
    int rc = buf_printf(&out,
                        "{\"format\":1,\n\"program\":\"lockstep %s\",\n\"mode\":\"%s\",\n"
                        "\"nodes\":%u",
                        ls_version(), plan->live ? "live" : "virtual", plan->nodes);
    rc = rc == 0 ? put_rates(plan, &out) : rc;
    rc = rc == 0 ? put_decimal(&out, "seconds", plan->seconds) : rc;
    rc = rc == 0 ? put_decimal(&out, "internal", plan->internal) : rc;
    rc = rc == 0 ? buf_printf(&out, ",\n\"seed\":%" PRIu64, plan->seed) : rc;
    rc = rc == 0 ? put_decimal(&out, "latency_ms", plan->latency_ms) : rc;
    rc = rc == 0 ? put_decimal(&out, "latency_jitter_ms", plan->jitter_ms) : rc;
    rc = rc == 0 ? put_decimal(&out, "loss", plan->loss) : rc;
    if (rc == 0) {
        rc = plan->peers == 0 ? buf_append_text(&out, ",\n\"peers\":null")
                              : buf_printf(&out, ",\n\"peers\":%u", plan->peers);
    }
    if (rc == 0 && plan->start_clock > 0) {
        rc = buf_printf(&out, ",\n\"start_clock\":%" PRIu64, plan->start_clock);
    }
    rc = rc == 0 ? put_sampling(plan, events_nodes, &out) : rc;
    rc = rc == 0 ? buf_append_text(&out, "}\n") : rc;
    if (rc == 0) {
        fwrite(out.data, 1, out.size, file);
    }
    buf_free(&out);
    return rc;
}

/* ---- the report's list ---- */

/* Names and values, each ended by a NUL, one after the other. */
static int add(struct run_parameters *parameters, const char *name, const char *value)
{
    struct buf *text = &parameters->text;
    size_t name_size = strlen(name) + 1;
    size_t value_size = strlen(value) + 1;
    if (buf_reserve(text, name_size + value_size) != 0) {
        return LS_ENOMEM;
    }
    buf_append(text, name, name_size);
    buf_append(text, value, value_size);
    parameters->count++;
    return 0;
}

static int add_decimal(struct run_parameters *parameters, const char *name, struct decimal value,
                       const char *unit)
{
    char number[DECIMAL_TEXT_SIZE];
    char text[DECIMAL_TEXT_SIZE + 16];
    decimal_text(value, number);
    snprintf(text, sizeof text, "%s%s", number, unit);
    return add(parameters, name, text);
}

static int add_range(struct run_parameters *parameters, const struct run_plan *plan)
{
    char least[DECIMAL_TEXT_SIZE];
    char most[DECIMAL_TEXT_SIZE];
    char text[2 * DECIMAL_TEXT_SIZE + 32];
    if (plan->rates != NULL) {
        return 0; /* they stand in the summary */
    }
    decimal_text(plan->rate_least, least);
    decimal_text(plan->rate_most, most);
    snprintf(text, sizeof text, "%s to %s ticks a second", least, most);
    return add(parameters, "Rates", text);
}

int run_parameters_fill(struct run_parameters *parameters, const struct run_plan *plan,
                        struct report *report)
{
    char text[32];
    *parameters = (struct run_parameters){0};
    snprintf(text, sizeof text, "%u", plan->nodes);
    int rc = add(parameters, "Nodes", text);
    snprintf(text, sizeof text, "the next %u", plan->peers);
    rc = rc == 0 ? add(parameters, "Peers", plan->peers == 0 ? "all others" : text) : rc;
    rc = rc == 0 ? add_range(parameters, plan) : rc;
    rc = rc == 0 ? add_decimal(parameters, "Time", plan->seconds, " s") : rc;
    rc = rc == 0 ? add_decimal(parameters, "Internal", plan->internal, "") : rc;
    rc = rc == 0 ? add_decimal(parameters, "Latency", plan->latency_ms, " ms") : rc;
    rc = rc == 0 ? add_decimal(parameters, "Jitter", plan->jitter_ms, " ms") : rc;
    rc = rc == 0 ? add_decimal(parameters, "Loss", plan->loss, "") : rc;
    snprintf(text, sizeof text, "%" PRIu64, plan->seed);
    rc = rc == 0 ? add(parameters, "Seed", text) : rc;
    if (rc != 0) {
        buf_free(&parameters->text);
        return rc;
    }
    const char *at = (const char *)parameters->text.data;
    for (size_t i = 0; i < parameters->count; i++) {
        report->parameters[i].name = bytes_of_text(at);
        at += report->parameters[i].name.size + 1;
        report->parameters[i].value = bytes_of_text(at);
        at += report->parameters[i].value.size + 1;
    }
    report->parameters_count = parameters->count;
    return 0;
}
