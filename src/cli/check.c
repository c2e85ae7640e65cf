/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep check: verifies a data directory. The walk runs in a child process, so that a file whose
 * pages are garbage, and crashes whoever reads them, is a finding like any other.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash.h"
#include "cli/check_walk.h"
#include "cli/cli.h"
#include "codec/key.h"
#include "store/store.h"

#define FAULTS_SHOWN 100

/* What the child leaves for its parent, in memory they share. */
struct findings {
    bool finished; /* the walk came to its end */
    struct check_totals totals;
    struct ls_error error; /* code 0: none */
    struct key last;       /* the record being looked at */
};

struct checker {
    const struct cli *cli;
    struct findings *findings;
    uint64_t shown;
};

static void append_hex(struct buf *out, ls_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        (void)buf_printf(out, "%02x", ((const uint8_t *)bytes.data)[i]);
    }
}

/* "message 17", "object 'a'": what a key names; its hex where it names nothing. */
static void append_name(struct buf *out, ls_bytes key)
{
    struct key_parts parts;
    if (key_decode(&parts, key, NULL) != 0) {
        (void)buf_append_text(out, "a record");
        return;
    }
    switch (parts.category) {
    case KEY_MESSAGE:
        (void)buf_printf(out, "message %" PRIu64, parts.clock);
        return;
    case KEY_PRODUCER:
        (void)buf_append_text(out, "producer");
        return;
    case KEY_CONTROL:
        (void)buf_append_text(out, "control ");
        break;
    case KEY_NODE:
        (void)buf_append_text(out, "node ");
        break;
    case KEY_OBJECT:
        (void)buf_append_text(out, "object ");
        break;
    case KEY_VERSION:
        (void)buf_append_text(out, "version ");
        break;
    }
    (void)show_bytes(out, parts.name);
}

static void print_fault(const struct cli *cli, const struct check_fault *fault)
{
    struct buf hex = {0};
    struct buf name = {0};
    append_hex(&hex, fault->key);
    append_name(&name, fault->key);
    if (cli->json) {
        struct json json = {0};
        json_text(&json, "fault", fault->text);
        if (fault->key.size > 0) {
            json_bytes(&json, "key", buf_bytes(&hex));
            json_bytes(&json, "record", buf_bytes(&name));
        }
        if (fault->has_offset) {
            json_number(&json, "offset", fault->offset);
        }
        (void)json_print(&json);
        buf_free(&json.text);
    } else if (fault->key.size > 0) {
        printf("%sfault%s  %.*s: %s\n       key %.*s", cli_colour(cli, COLOUR_RED),
               cli_colour(cli, COLOUR_NONE), (int)name.size, (const char *)name.data, fault->text,
               (int)hex.size, (const char *)hex.data);
        if (fault->has_offset) {
            printf(", offset %" PRIu64 " of the record", fault->offset);
        }
        putchar('\n');
    } else {
        printf("%sfault%s  %s\n", cli_colour(cli, COLOUR_RED), cli_colour(cli, COLOUR_NONE),
               fault->text);
    }
    buf_free(&hex);
    buf_free(&name);
}

static void on_fault(void *context, const struct check_fault *fault)
{
    struct checker *checker = context;
    checker->findings->totals.faults++;
    if (checker->shown < FAULTS_SHOWN) {
        checker->shown++;
        print_fault(checker->cli, fault);
        fflush(stdout);
    }
}

static void on_step(void *context, ls_bytes key)
{
    struct key *last = &((struct checker *)context)->findings->last;
    last->size = (uint16_t)(key.size < sizeof(last->data) ? key.size : sizeof(last->data));
    memcpy(last->data, key.data, last->size);
}

static void walk_directory(const struct cli *cli, const char *directory, struct findings *findings)
{
    struct checker checker = {.cli = cli, .findings = findings};
    struct check_report report = {.fault = on_fault, .step = on_step, .context = &checker};
    struct store_options options = {.read_only = true};
    struct ls_error *error = &findings->error;
    struct check_totals totals;
    struct store *store;
    struct reading reading;
    int rc = store_lmdb.open(&store, directory, &options, error);
    if (rc == 0) {
        rc = reading_begin(&reading, store, error);
        if (rc == 0) {
            rc = check_walk(&reading, &report, &totals, error);
            findings->totals = totals;
            reading_end(&reading);
        }
        store_close(store);
    }
    if (rc == 0) {
        error->code = 0;
    }
    findings->finished = true;
}

/* ---- the parent ---- */

static int report_crash(const struct cli *cli, const struct findings *findings, int status)
{
    struct check_fault fault = {.key = bytes_of(findings->last.data, findings->last.size)};
    char text[160];
    snprintf(text, sizeof(text),
             "the file is damaged: reading crashed (%s) at this record or behind it",
             WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it exited");
    if (fault.key.size == 0) {
        snprintf(text, sizeof(text), "the file is damaged: reading crashed (%s)",
                 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it exited");
    }
    fault.text = text;
    print_fault(cli, &fault);
    uint64_t faults = findings->totals.faults + 1;
    return cli_fail("at least %" PRIu64 " fault%s", faults, cli_plural(faults));
}

static void print_count(uint64_t count, const char *what)
{
    printf("%" PRIu64 " %s%s, ", count, what, cli_plural(count));
}

static int print_totals(const struct cli *cli, const struct check_totals *totals)
{
    int status = EXIT_OK;
    if (cli->json) {
        struct json json = {0};
        json_bool(&json, "ok", totals->faults == 0);
        json_number(&json, "faults", totals->faults);
        json_number(&json, "clock", totals->clock);
        json_number(&json, "messages", totals->messages);
        json_number(&json, "nodes", totals->nodes);
        json_number(&json, "objects", totals->objects);
        json_number(&json, "producers", totals->producers);
        json_number(&json, "versions", totals->versions);
        json_number(&json, "controls", totals->controls);
        status = json_print(&json);
        buf_free(&json.text);
    } else if (totals->faults == 0) {
        printf("%sok%s: ", cli_colour(cli, COLOUR_GREEN), cli_colour(cli, COLOUR_NONE));
        print_count(totals->messages, "message");
        print_count(totals->nodes, "node");
        print_count(totals->objects, "object");
        print_count(totals->producers, "producer");
        print_count(totals->versions, "version");
        printf("clock %" PRIu64 "\n", totals->clock);
    }
    if (status == EXIT_OK && totals->faults > 0) {
        status = cli_fail("%" PRIu64 " fault%s", totals->faults, cli_plural(totals->faults));
    }
    return status;
}

static int wait_for(pid_t child, int *status)
{
    while (waitpid(child, status, 0) != child) {
        continue;
    }
    return *status;
}

static int run_check(struct cli *cli)
{
    const char *directory = cli_directory_argument(cli);
    if (directory == NULL) {
        return cli_usage(cli, "'check' takes a data directory; a server's is checked on its "
                              "machine, while it runs");
    }
    struct findings *findings =
        mmap(NULL, sizeof(*findings), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (findings == MAP_FAILED) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        crash_say(NULL);
        walk_directory(cli, directory, findings);
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (child < 0) {
        status = cli_fail("no process can be started for the walk");
    } else if (wait_for(child, &status), !findings->finished) {
        status = report_crash(cli, findings, status);
    } else if (findings->error.code != 0) {
        status = cli_fail_error(&findings->error);
    } else {
        status = print_totals(cli, &findings->totals);
    }
    munmap(findings, sizeof(*findings));
    return status;
}

const struct command command_check = {
    .name = "check",
    .arguments = "[DIR]",
    .arguments_min = 0,
    .arguments_max = 1,
    .summary = "Verify a data directory: every record, the chain of checks, the counts",
    .text =
        "Changes nothing, but like every opening finishes what a crash interrupted; can run while\n"
        "the directory is in use. Names the place of each fault; exit status 1 where there is\n"
        "one.\n",
    .url = "the directory, where DIR is not given; by default $LOCKSTEP_URL",
    .run = run_check,
};
