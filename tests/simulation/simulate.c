/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulate [--seed N] [--runs R | --seconds S] [--trace] [--cover] [--complete]: runs seeds from N
 * on, R of them or as many as fit in S seconds. The first runs twice and must come out the same.
 * Exit 1 with the seed and the last events where something does not hold; with --complete also
 * where something was never reached.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

struct arguments {
    uint64_t seed;
    uint64_t runs;
    uint64_t seconds;
    bool trace;
    bool cover;
    bool complete;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* An assertion failed, or worse: the seed and the last events are wanted then most of all. */
static void on_signal(int number)
{
    signal(number, SIG_DFL);
    if (sim_now != NULL) {
        sim_print_trace();
        fprintf(stderr, "seed %llu: signal %d\n", (unsigned long long)sim_now->seed, number);
    }
    raise(number);
}

static int usage(void)
{
    fputs("usage: simulate [--seed N] [--runs R | --seconds S] [--trace] [--cover] [--complete]\n",
          stderr);
    return 2;
}

static bool number(const char *text, uint64_t *out)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9') {
        return false;
    }
    *out = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool parse(struct arguments *out, char **argv)
{
    for (argv++; *argv != NULL; argv++) {
        if (strcmp(*argv, "--trace") == 0) {
            out->trace = true;
        } else if (strcmp(*argv, "--cover") == 0) {
            out->cover = true;
        } else if (strcmp(*argv, "--complete") == 0) {
            out->complete = true;
        } else if (!(strcmp(*argv, "--seed") == 0      ? number(*++argv, &out->seed)
                     : strcmp(*argv, "--runs") == 0    ? number(*++argv, &out->runs)
                     : strcmp(*argv, "--seconds") == 0 ? number(*++argv, &out->seconds)
                                                       : false)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.seed = 1, .runs = 1};
    (void)argc;
    if (!parse(&arguments, argv)) {
        return usage();
    }
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    double start = now_s();
    uint64_t first = sim_run(arguments.seed, arguments.trace), digest = first, count = 1;
    if (!arguments.trace) {
        uint64_t again = sim_run(arguments.seed, false);
        if (again != first) {
            fprintf(stderr, "seed %llu came out otherwise the second time\n",
                    (unsigned long long)arguments.seed);
            return 1;
        }
    }
    while (arguments.seconds == 0 ? count < arguments.runs
                                  : now_s() - start < (double)arguments.seconds) {
        digest = digest * 31 + sim_run(arguments.seed + count, arguments.trace);
        count++;
    }
    double seconds = now_s() - start;
    cover_print(stdout, arguments.cover);
    printf("%llu seeds from %llu on, %.1f a second, digest %016llx\n", (unsigned long long)count,
           (unsigned long long)arguments.seed, (double)count / seconds, (unsigned long long)digest);
    return arguments.complete && cover_missing() > 0;
}
