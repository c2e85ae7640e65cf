/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a run. */
#include "model/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "model/run_config.h"

#define CONFIG  "config.json"
#define EVENTS  "events.csv"
#define SUMMARY "summary.json"
#define REPORT  "report.html"
#define SHIVIZ  "shiviz.log"

/* What errno says of one of the files; "" for the directory itself. */
static int fail(const struct run *run, const char *name, struct ls_error *error)
{
    int number = errno;
    int code = LS_EIO;
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) {
        code = LS_ENOSPACE;
    } else if (number == EACCES || number == EPERM || number == EROFS) {
        code = LS_EREADONLY;
    } else if (number == ENOENT) {
        code = LS_ENOTFOUND;
    } else if (number == ENOMEM) {
        code = LS_ENOMEM;
    }
    return error_set(error, code, 0, "%s%s%s: %s", run->directory, *name != '\0' ? "/" : "", name,
                     strerror(number));
}

/* ---- files that appear whole or not at all ---- */

static FILE *begin_file(const struct run *run, const char *name)
{
    char part[32];
    snprintf(part, sizeof part, "%s.part", name);
    int fd = openat(run->fd, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL && fd >= 0) {
        close(fd);
        unlinkat(run->fd, part, 0);
    }
    return file;
}

/* `rc` is what became of filling it. */
static int end_file(const struct run *run, const char *name, FILE *file, int rc,
                    struct ls_error *error)
{
    char part[32];
    bool broken = fflush(file) != 0 || ferror(file);
    int saved = errno;
    snprintf(part, sizeof part, "%s.part", name);
    if (fclose(file) != 0 && !broken) {
        broken = true;
        saved = errno;
    }
    if (rc == 0 && !broken && renameat(run->fd, part, run->fd, name) == 0) {
        return 0;
    }
    if (rc == 0) {
        errno = broken ? saved : errno;
        rc = fail(run, name, error);
    }
    unlinkat(run->fd, part, 0);
    return rc;
}

static int write_config(const struct run *run, struct ls_error *error)
{
    FILE *file = begin_file(run, CONFIG);
    if (file == NULL) {
        return fail(run, CONFIG, error);
    }
    int rc = run_config_print(run->plan, run->events_nodes, file);
    return end_file(run, CONFIG, file, rc == 0 ? 0 : error_code(error, rc), error);
}

static int write_summary(const struct run *run, const struct run_result *result,
                         struct ls_error *error)
{
    FILE *file = begin_file(run, SUMMARY);
    if (file == NULL) {
        return fail(run, SUMMARY, error);
    }
    int rc = run_print_summary(result, true, file);
    return end_file(run, SUMMARY, file, rc == 0 ? 0 : error_code(error, rc), error);
}

/* ---- the report ---- */

static void add_note(struct report *report, struct buf *text)
{
    if (text->size > 0 && report->notes_count < REPORT_NOTES_MAX) {
        report->notes[report->notes_count++] = buf_bytes(text);
    }
}

static int write_report(struct run *run, const struct run_result *result, struct ls_error *error)
{
    struct history *history = &run->history;
    struct run_parameters parameters = {0};
    struct buf nodes = {0};
    struct buf events = {0};
    uint32_t fastest = run_fastest(result);
    char ideal[DECIMAL_TEXT_SIZE];
    char rate[DECIMAL_TEXT_SIZE];
    struct report report = {.source = REPORT_OF_MODEL,
                            .title = bytes_of_text("Scale model of logical clocks"),
                            .duration_ns = result->reached_ns,
                            .fastest = fastest < history->shown ? fastest : REPORT_NO_NODE,
                            .nodes_total = result->nodes};

    run_rate_text(result, fastest, ideal);
    report.ideal_rate = bytes_of_text(ideal);
    report.interrupted = bytes_of_text(result->stopped != NULL ? result->stopped : "");
    for (uint32_t i = 0; i < history->shown; i++) {
        run_rate_text(result, i, rate);
        history_conclude(history, i, run_tally(result, i), rate, run_drift(result, fastest, i));
    }
    int rc = history_fill(history, &report);
    rc = rc == 0 ? run_parameters_fill(&parameters, run->plan, &report) : rc;
    if (rc == 0 && history->shown < result->nodes) {
        rc = buf_printf(&nodes, "The first %u of %u nodes are shown.", history->shown,
                        result->nodes);
    }
    if (rc == 0 && report.events_count < report.events_total) {
        rc = buf_printf(&events, "The diagram has the first %zu of %llu events of the nodes shown.",
                        report.events_count, (unsigned long long)report.events_total);
    }
    add_note(&report, &nodes);
    add_note(&report, &events);
    rc = rc == 0 ? 0 : error_code(error, rc);
    FILE *file = rc == 0 ? begin_file(run, REPORT) : NULL;
    if (file != NULL) {
        rc = end_file(run, REPORT, file, report_write(&report, file, error), error);
    } else if (rc == 0) {
        rc = fail(run, REPORT, error);
    }
    buf_free(&parameters.text);
    buf_free(&nodes);
    buf_free(&events);
    return rc;
}

/* ---- the directory ---- */

static bool is_empty(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    bool empty = true;
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL && empty; entry = readdir(dir)) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    closedir(dir);
    return empty;
}

static int open_directory(struct run *run, bool *made, struct ls_error *error)
{
    *made = mkdir(run->directory, 0777) == 0;
    if (!*made && errno != EEXIST) {
        return fail(run, "", error);
    }
    run->fd = open(run->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->fd < 0) {
        return fail(run, "", error);
    }
    if (!*made && !is_empty(run->fd)) {
        return error_set(error, LS_EBUSY, 0,
                         "%s is there already and not empty; name another directory, or remove it",
                         run->directory);
    }
    return 0;
}

static int open_events(struct run *run, struct ls_error *error)
{
    int fd = openat(run->fd, EVENTS, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return fail(run, EVENTS, error);
    }
    int rc = events_file_open(&run->events, fd);
    if (rc != 0) {
        close(fd);
        return error_code(error, rc);
    }
    run->recording = true;
    return 0;
}

static int open_shiviz(struct run *run, struct ls_error *error)
{
    if (run->plan->nodes > SHIVIZ_NODES_MAX) {
        return error_set(error, LS_EINVAL, SHIVIZ_NODES_MAX,
                         "ShiViz shows at most %d nodes; this run has %u", SHIVIZ_NODES_MAX,
                         run->plan->nodes);
    }
    int fd = openat(run->fd, SHIVIZ, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    run->shiviz_out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (run->shiviz_out == NULL) {
        int rc = fail(run, SHIVIZ, error);
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    int rc = shiviz_open(&run->shiviz, run->plan->nodes);
    return rc == 0 ? 0 : error_code(error, rc);
}

static void release(struct run *run)
{
    history_close(&run->history);
    shiviz_close(&run->shiviz);
    if (run->shiviz_out != NULL) {
        fclose(run->shiviz_out);
    }
    if (run->events.rows != NULL) {
        events_file_close(&run->events);
    }
    if (run->fd >= 0) {
        close(run->fd);
    }
    free(run->directory);
}

int run_open(struct run *run, const char *directory, const struct run_plan *plan,
             struct ls_error *error)
{
    bool made = false;
    *run = (struct run){.plan = plan, .fd = -1, .directory = strdup(directory)};
    run->events_nodes = plan->nodes < RUN_EVENTS_NODES_MAX ? plan->nodes : RUN_EVENTS_NODES_MAX;
    if (run->directory == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int rc = open_directory(run, &made, error);
    bool ours = rc == 0;
    rc = rc == 0 ? write_config(run, error) : rc;
    rc = rc == 0 ? open_events(run, error) : rc;
    if (rc == 0 && plan->shiviz) {
        rc = open_shiviz(run, error);
    }
    if (rc == 0 && history_open(&run->history, plan->nodes) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    if (rc != 0) {
        if (ours) {
            unlinkat(run->fd, CONFIG, 0);
            unlinkat(run->fd, EVENTS, 0);
            unlinkat(run->fd, SHIVIZ, 0);
        }
        if (made) {
            rmdir(run->directory);
        }
        release(run);
    }
    return rc;
}

int run_add(struct run *run, const struct scale_event *event, struct ls_error *error)
{
    int rc = 0;
    if (!run->recording) {
        return 0;
    }
    history_add(&run->history, event);
    if (event->node < run->events_nodes && events_file_put(&run->events, event) != 0) {
        rc = fail(run, EVENTS, error);
    }
    if (rc == 0 && run->shiviz_out != NULL) {
        rc = shiviz_put(&run->shiviz, event, run->shiviz_out);
        rc = rc == 0 && ferror(run->shiviz_out) ? fail(run, SHIVIZ, error)
             : rc == 0                          ? 0
                                                : error_code(error, rc);
    }
    run->recording = rc == 0;
    return rc;
}

/* Of several failures the first is told. */
static void keep_first(int rc, int *first, struct ls_error *error, const struct ls_error *later)
{
    if (rc != 0 && *first == 0) {
        *first = rc;
        *error = *later;
    }
}

int run_close(struct run *run, const struct run_result *result, struct ls_error *error)
{
    struct ls_error later;
    int rc = 0;

    if (events_file_close(&run->events) != 0) {
        keep_first(fail(run, EVENTS, &later), &rc, error, &later);
    }
    if (run->shiviz_out != NULL) {
        bool broken = ferror(run->shiviz_out);
        if (fclose(run->shiviz_out) != 0 || broken) {
            keep_first(fail(run, SHIVIZ, &later), &rc, error, &later);
        }
        run->shiviz_out = NULL;
    }
    struct run_result told = *result;
    if (rc != 0 && told.stopped == NULL) {
        told.stopped = error->text;
    }
    keep_first(write_report(run, &told, &later), &rc, error, &later);
    keep_first(write_summary(run, &told, &later), &rc, error, &later);
    release(run);
    return rc;
}
