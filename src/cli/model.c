/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep model: runs the scale model, shows how far it is, records it and says what came of
 * it. */
#include "cli/model.h"
#include "model/live.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY        4096 /* ticks between two looks at the clock and at signals */
#define PROGRESS_FIRST_MS 500
#define PROGRESS_EVERY_MS 100
#define BAR_WIDTH         30

struct progress {
    bool shown; /* on a terminal only */
    bool drawn;
    uint64_t began_ms;
    uint64_t next_ms;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void show_progress(struct progress *progress, const struct scale *scale)
{
    uint64_t now = progress->shown ? now_ms() : 0;
    if (!progress->shown || now < progress->next_ms) {
        return;
    }
    uint64_t spent_ms = now - progress->began_ms + 1;
    unsigned thousandths = (unsigned)((kernel_wide)scale->kernel.now_ns * 1000 /
                                      (scale->duration_ns > 0 ? scale->duration_ns : 1));
    char bar[BAR_WIDTH + 1];
    for (unsigned i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i * 1000 < thousandths * BAR_WIDTH ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %3u%%  %" PRIu64 " ticks, %" PRIu64 " thousand a second ", bar,
            thousandths / 10, scale->ticks, scale->ticks / spent_ms);
    fflush(stderr);
    progress->drawn = true;
    progress->next_ms = now + PROGRESS_EVERY_MS;
}

static void end_progress(const struct progress *progress)
{
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
    }
}

/* One run from its first tick to its last. */
struct model {
    const struct cli *cli;
    struct model_wish wish;
    struct scale scale;
    struct run run;
    char stopped[sizeof(((struct ls_error *)NULL)->text)];
};

static void say_interrupted(struct model *model)
{
    char reached[DECIMAL_TEXT_SIZE];
    char whole[DECIMAL_TEXT_SIZE];
    decimal_text(decimal_of(model->scale.kernel.now_ns, 9), reached);
    decimal_text(model->wish.plan.seconds, whole);
    snprintf(model->stopped, sizeof model->stopped, "interrupted after %s of %s seconds", reached,
             whole);
}

/* Runs to the end, or to where `stopped` says why not. */
static int run_ticks(struct model *model, struct ls_error *error)
{
    struct progress progress = {.shown = isatty(STDERR_FILENO) != 0, .began_ms = now_ms()};
    bool recording = model->wish.out != NULL;
    struct scale_event event;
    int rc = 0;

    progress.next_ms = progress.began_ms + PROGRESS_FIRST_MS;
    for (uint64_t look = LOOK_EVERY; (rc = scale_step(&model->scale, &event, error)) > 0;) {
        if (recording) {
            rc = run_add(&model->run, &event, error);
            if (rc != 0) {
                break;
            }
        }
        if (model->scale.ticks >= look) {
            look += LOOK_EVERY;
            show_progress(&progress, &model->scale);
            if (cli_stopped) {
                say_interrupted(model);
                break;
            }
        }
    }
    end_progress(&progress);
    if (rc < 0) {
        snprintf(model->stopped, sizeof model->stopped, "%s", error->text);
    }
    return rc < 0 ? rc : 0;
}

static int report(const struct model *model, const struct run_result *result)
{
    if (!model->cli->json) {
        model_print_table(model->cli, result);
        if (model->wish.out != NULL) {
            printf("written to %s\n", model->wish.out);
        }
        return EXIT_OK;
    }
    return run_print_summary(result, false, stdout) == 0 ? EXIT_OK
                                                         : cli_fail("%s", ls_strerror(LS_ENOMEM));
}

/* Ends the files and says what came of it; `failed` is what ended the ticks, or NULL. */
static int conclude(struct model *model, const struct run_result *result,
                    const struct ls_error *failed)
{
    struct ls_error error;
    if (model->wish.out != NULL && run_close(&model->run, result, &error) != 0 && failed == NULL) {
        failed = &error;
    }
    if (failed != NULL) {
        return cli_fail_error(failed);
    }
    int status = report(model, result);
    return status == EXIT_OK && result->stopped != NULL ? cli_fail("%s", result->stopped) : status;
}

static int run_opened(struct model *model)
{
    struct ls_error error;
    int rc = run_ticks(model, &error);
    struct run_result result =
        run_result_of(&model->scale, model->stopped[0] != '\0' ? model->stopped : NULL);
    return conclude(model, &result, rc != 0 ? &error : NULL);
}

/* ---- live ---- */

static int record_live(struct model *model, const struct live *live, struct ls_error *error)
{
    int rc = 0;
    for (size_t i = 0; i < live->count && rc == 0; i++) {
        tally_add(&model->scale.nodes[live->events[i].node].tally, &live->events[i]);
        rc = model->wish.out != NULL ? run_add(&model->run, &live->events[i], error) : 0;
    }
    return rc;
}

/* The scale model gives nodes, rates and routes; what came of them is put into it. */
static int run_live_opened(struct model *model)
{
    const struct cli *cli = model->cli;
    ls_options connect = LS_OPTIONS_INIT;
    struct live_options options = {.scale = &model->scale,
                                   .seed = model->wish.plan.seed,
                                   .url = cli->url_given ? cli->url : NULL,
                                   .place = cli->place,
                                   .connect = &connect,
                                   .stopped = &cli_stopped};
    cli_credentials(&connect, cli->url);
    struct ls_error error;
    struct ls_error later;
    struct live live;
    int rc = live_run(&live, &options, &error);
    model->scale.kernel.now_ns = live.reached_ns;
    if (rc != 0) {
        snprintf(model->stopped, sizeof model->stopped, "%s", error.text);
    } else if (live.interrupted) {
        say_interrupted(model);
    }
    if (record_live(model, &live, &later) != 0 && rc == 0) {
        rc = later.code;
        error = later;
        snprintf(model->stopped, sizeof model->stopped, "%s", error.text);
    }
    struct run_result result =
        run_result_of(&model->scale, model->stopped[0] != '\0' ? model->stopped : NULL);
    uint64_t received = 0;
    for (uint32_t i = 0; i < result.nodes; i++) {
        received += run_tally(&result, i)->received;
    }
    /* After a failure nobody said what was sent: then what was received is all that is known. */
    result.messages = rc == 0 ? live.messages : received;
    result.lost = rc == 0 ? live.lost : 0;
    result.waiting = rc == 0 ? live.waiting : 0;
    result.in_flight = result.messages - result.lost - result.waiting - received;
    live_free(&live);
    return conclude(model, &result, rc != 0 ? &error : NULL);
}

/* ---- one run ---- */

static int run_planned(struct model *model)
{
    struct scale_options options;
    struct ls_error error;
    int status;

    if (run_plan_options(&model->wish.plan, &options, &error) != 0 ||
        scale_open(&model->scale, &options, &error) != 0) {
        return cli_fail_error(&error);
    }
    if (model->wish.out != NULL &&
        run_open(&model->run, model->wish.out, &model->wish.plan, &error) != 0) {
        status = cli_fail_error(&error);
    } else {
        status = model->wish.plan.live ? run_live_opened(model) : run_opened(model);
    }
    scale_close(&model->scale);
    return status;
}

static int run_model(struct cli *cli)
{
    if (cli->argc > 0 && strcmp(cli->argv[0], "compare") == 0) {
        return model_compare(cli);
    }
    if (cli->argc > 0) {
        return cli_usage(cli, "'model' takes options, or 'compare' and directories, not '%s'",
                         cli->argv[0]);
    }
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    model->cli = cli;
    int status = model_parse(cli, &model->wish);
    if (status == EXIT_OK) {
        cli_catch_signals();
        status = run_planned(model);
        free(model->wish.rates);
    }
    free(model);
    return status;
}

const struct command command_model = {
    .name = "model",
    .arguments = "[compare DIR DIR ...]",
    .arguments_max = CLI_ARGUMENTS_MAX,
    .summary = "Run a scale model of nodes whose clocks tick at different rates",
    .text =
        "At each tick a node takes one message from its queue, where there is one, and witnesses\n"
        "its clock; else its own clock ticks, and it does something internal or sends: to its\n"
        "first peer, to its second, or to all. Time is virtual, and the same seed gives the same\n"
        "run on any machine. Without --out nothing is written but the table. With it the\n"
        "directory, which must be new or empty, gets config.json, events.csv, summary.json and\n"
        "report.html.\n\n"
        "'model compare' puts what came of several runs side by side.\n\n"
        "  lockstep model --rates 6,5,1 --out slow-third\n"
        "  lockstep model --rates 6,5,5 --out even\n"
        "  lockstep model compare slow-third even\n"
        "  lockstep model --nodes 1000000 --peers 2 --seconds 10\n",
    .url = "with --live: the server to go through, lockstep://HOST[:PORT]",
    .run = run_model,
    .options =
        {{"nodes", "N", "how many, up to 1000000; 3 by default"},
         {"rates", "R,R,...", "ticks a second of each node, such as 6,5,1"},
         {"rate-range", "R:R",
          "draw the rates from this range, in steps of its last decimal place; 1:6 by "
          "default"},
         {"seconds", "S", "how long it runs, in virtual time; 60 by default"},
         {"internal", "P", "probability that a tick is internal; 0.7 by default"},
         {"seed", "N", "of everything that is drawn; 1 by default"},
         {"latency", "MS", "of a message; 0 by default"},
         {"latency-jitter", "MS", "by up to how much more it takes, drawn for each message"},
         {"loss", "P", "probability that a message is lost; 0 by default"},
         {"peers", "K", "a node's peers are the K that follow it in a ring; all others by default"},
         {"out", "DIR", "write the run into this directory"},
         {"live", NULL,
          "real processes at real rates, through a lockstepd started for it, or through that "
          "of --url"},
         {"export", "shiviz", "also write shiviz.log, for ShiViz"}},
};
