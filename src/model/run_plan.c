/* SPDX-License-Identifier: Apache-2.0 */
/* From decimals as they were asked for to the integers that the model runs on. */
#include "base/error.h"
#include "model/run.h"

#define NS_PER_MS_PLACES 6
#define NS_PER_S_PLACES  9

/* value * 10^places, in whole nanoseconds; places beyond a nanosecond are refused. */
static int to_ns(struct decimal value, unsigned places, const char *what, uint64_t *out,
                 struct ls_error *error)
{
    if (value.places > places) {
        return error_set(error, LS_EINVAL, 0, "%s has a fraction of a nanosecond", what);
    }
    if (!decimal_in_units(value, places, out) || *out > SCALE_DURATION_MAX) {
        return error_set(error, LS_EINVAL, 0, "%s is more than 10^9 seconds", what);
    }
    return 0;
}

static int to_chance(struct decimal value, const char *what, uint64_t *out, struct ls_error *error)
{
    uint64_t one = decimal_power(value.places);
    if (value.digits > one) {
        return error_set(error, LS_EINVAL, 0, "%s is a probability from 0 to 1", what);
    }
    *out = chance_of(value.digits, one);
    return 0;
}

int run_plan_options(const struct run_plan *plan, struct scale_options *options,
                     struct ls_error *error)
{
    *options = (struct scale_options){.nodes = plan->nodes,
                                      .peers = plan->peers,
                                      .seed = plan->seed,
                                      .rates = plan->rates,
                                      .rate_least = plan->rate_least,
                                      .rate_most = plan->rate_most,
                                      .start_clock = plan->start_clock};
    int rc = to_ns(plan->seconds, NS_PER_S_PLACES, "the time to run", &options->duration_ns, error);
    if (rc == 0) {
        rc = to_ns(plan->latency_ms, NS_PER_MS_PLACES, "the latency", &options->latency_ns, error);
    }
    if (rc == 0) {
        rc = to_ns(plan->jitter_ms, NS_PER_MS_PLACES, "the jitter", &options->jitter_ns, error);
    }
    if (rc == 0) {
        rc = to_chance(plan->internal, "the share of internal events", &options->internal, error);
    }
    return rc == 0 ? to_chance(plan->loss, "the share of lost messages", &options->loss, error)
                   : rc;
}
