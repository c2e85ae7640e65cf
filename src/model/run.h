/*
 * The directory of a run of the scale model: config.json, events.csv, summary.json, report.html,
 * and shiviz.log where it is asked for (docs/model.md).
 *
 * The directory is made, or is there and empty: nothing that exists is ever written over. What is
 * not events.csv or shiviz.log appears whole or not at all. summary.json comes last: a directory
 * without one is of a run that ended by force.
 */
#ifndef LS_MODEL_RUN_H
#define LS_MODEL_RUN_H

#include "model/events_file.h"
#include "model/history.h"
#include "model/scale.h"
#include "model/shiviz.h"

/* In a run of more nodes, events.csv has the events of the first so many. */
#define RUN_EVENTS_NODES_MAX 1000

/* What a run was asked to be. */
struct run_plan {
    uint32_t nodes;
    uint32_t peers; /* 0: all others */
    uint64_t seed;
    struct decimal seconds;
    const struct decimal *rates; /* NULL: drawn from the range */
    struct decimal rate_least;
    struct decimal rate_most;
    struct decimal internal; /* probabilities, at most 1 */
    struct decimal loss;
    struct decimal latency_ms;
    struct decimal jitter_ms;
    uint64_t start_clock;
    bool live; /* at real rates, through a server */
    bool shiviz;
};

/* The plan in the model's own units. 0, or LS_EINVAL with a sentence. */
int run_plan_options(const struct run_plan *plan, struct scale_options *options,
                     struct ls_error *error);

/* What came of a run. */
struct run_result {
    uint32_t nodes;
    const struct tally *tallies; /* tally_stride bytes from one to the next */
    size_t tally_stride;
    const uint64_t *rates; /* in units of 10^-rate_places, rate_stride bytes apart */
    size_t rate_stride;
    unsigned rate_places;
    uint64_t messages; /* sent, each receiver counted */
    uint64_t lost;
    uint64_t in_flight; /* neither lost nor arrived when it ended */
    uint64_t waiting;   /* arrived, and not taken from the queue */
    uint64_t reached_ns;
    const char *stopped; /* why it is not whole, as a sentence; NULL: it is */
};

struct run_result run_result_of(const struct scale *scale, const char *stopped);

uint32_t run_fastest(const struct run_result *result);
const struct tally *run_tally(const struct run_result *result, uint32_t node);
int64_t run_drift(const struct run_result *result, uint32_t fastest, uint32_t node);
size_t run_rate_text(const struct run_result *result, uint32_t node, char out[DECIMAL_TEXT_SIZE]);

/* Writes what summary.json holds, with line ends, or on one line. Whether the file could be written
 * is for the caller to ask of it. 0 or LS_ENOMEM. */
int run_print_summary(const struct run_result *result, bool lines, FILE *out);

struct run {
    const struct run_plan *plan;
    char *directory;
    int fd;         /* of the directory */
    bool recording; /* until a file could not be written */
    uint32_t events_nodes;
    struct events_file events;
    struct history history;
    struct shiviz shiviz;
    FILE *shiviz_out;
};

/* Makes the directory and begins its files. 0; LS_EBUSY where the directory is there and not empty,
 * LS_EREADONLY, LS_ENOTFOUND, LS_ENOSPACE, LS_EIO, LS_ENOMEM, each with a sentence that names the
 * file; what was made by then is removed. */
int run_open(struct run *run, const char *directory, const struct run_plan *plan,
             struct ls_error *error);

/* Records a tick. The same errors: no more ticks are recorded then. */
int run_add(struct run *run, const struct scale_event *event, struct ls_error *error);

/* Ends the files with what came of the run, and writes summary and report. The first error, with as
 * much written as could be. */
int run_close(struct run *run, const struct run_result *result, struct ls_error *error);

#endif
