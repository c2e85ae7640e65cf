/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulate [--seed N] [--runs R | --seconds S] [--steps K]: runs seeds from N on, R of them or as
 * many as fit in S seconds. The first runs twice and must come out the same. Exit 1 with seed and
 * step where something does not hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/audit.h"
#include "base/error.h"
#include "sim.h"

#define MS UINT64_C(1000000)

struct outcome {
    uint64_t chain;
    uint64_t messages;
    uint64_t crashes;
    uint64_t expired;
    uint64_t lost;
    uint64_t refused_for_space;
};

/* ---- steps ---- */

/* Each on its own, after the batch failed as a whole. */
static void run_one_by_one(struct sim *sim, struct actor *const *asking, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)sim_run(sim, &asking[i]->request);
        (void)sim_observe(sim);
        actor_answered(sim, asking[i]);
    }
}

static void answer(struct sim *sim, struct actor *const *asking, size_t count)
{
    (void)sim_observe(sim);
    for (size_t i = 0; i < count; i++) {
        if (one_in(sim, 200)) {
            actor_disconnected(asking[i]);
        } else {
            actor_answered(sim, asking[i]);
        }
    }
}

static void step_batch(struct sim *sim)
{
    struct actor *asking[ACTORS];
    struct ls_error error;
    size_t count = 0;
    for (size_t i = 0; i < ACTORS; i++) {
        if (one_in(sim, 2) && actor_ask(sim, &sim->actors[i])) {
            asking[count++] = &sim->actors[i];
        }
    }
    sim_check(sim, coordinator_begin(sim->coordinator, sim->now_ns, &error), &error, "begin");
    for (size_t i = 0; i < count; i++) {
        (void)coordinator_apply(sim->coordinator, &asking[i]->request);
        if (coordinator_broken(sim->coordinator)) {
            coordinator_abort(sim->coordinator);
            run_one_by_one(sim, asking, count);
            return;
        }
    }
    if (one_in(sim, 10)) {
        /* What is not committed yet is seen by nobody. */
        watcher_read(sim, &sim->watchers[draw(sim, WATCHERS)], 1000);
    }
    if (one_in(sim, 150)) {
        sim_crash(sim, CRASH_BEFORE_COMMIT + (enum crash)draw(sim, 3));
        return;
    }
    sim_check(sim, coordinator_commit(sim->coordinator, &error), &error, "commit");
    answer(sim, asking, count);
}

static void step_retain(struct sim *sim)
{
    struct ls_error error;
    struct request retain = {.kind = REQUEST_RETAIN, .error = &error};
    retain.in.retain.keep.count = 20 + draw(sim, 300);
    retain.in.retain.keep.hold = one_in(sim, 3);
    if (sim_run(sim, &retain) != LS_ENOSPACE) {
        sim_check(sim, retain.status, &error, "retain");
    }
}

/* The disk is full as it stands, or has room again. */
static void step_space(struct sim *sim)
{
    struct store_stat stat;
    struct ls_error error;
    const struct store_driver *driver = sim->store->driver;
    sim_check(sim, driver->stat(sim->store, &stat, &error), &error, "stat");
    uint64_t quota = one_in(sim, 8) ? stat.bytes_file : 0;
    sim_check(sim, driver->set_quota(sim->store, quota, &error), &error, "quota");
}

static void step(struct sim *sim)
{
    sim->step++;
    sim->now_ns += draw(sim, 40 * MS);
    switch (draw(sim, 24)) {
    case 0:
    case 1:
    case 2:
        actors_expire(sim);
        break;
    case 3:
        step_retain(sim);
        break;
    case 4:
        step_space(sim);
        break;
    case 5:
    case 6:
    case 7:
        watcher_read(sim, &sim->watchers[draw(sim, WATCHERS)], 1 + draw(sim, 60));
        break;
    default:
        step_batch(sim);
    }
    if (one_in(sim, 500)) {
        sim_crash(sim, CRASH_IDLE);
    }
}

static void check_all(struct sim *sim)
{
    struct ls_error error;
    sim_check(sim, audit(sim->store, &error), &error, "audit");
    sim_compare_log(sim);
}

/* ---- runs ---- */

static struct outcome run(uint64_t seed, uint64_t steps)
{
    char parent[] = "/tmp/lockstep-sim-XXXXXX";
    struct sim sim;
    if (mkdtemp(parent) == NULL) {
        perror(parent);
        exit(1);
    }
    sim_open(&sim, seed, parent);
    while (sim.step < steps) {
        step(&sim);
        if (sim.step % 100 == 0) {
            check_all(&sim);
        }
    }
    struct outcome outcome = {.chain = sim.chain,
                              .messages = sim.log_count,
                              .crashes = sim.crashes,
                              .expired = sim.expired,
                              .refused_for_space = sim.refused_for_space};
    for (size_t i = 0; i < WATCHERS; i++) {
        watcher_read(&sim, &sim.watchers[i], UINT64_MAX);
        outcome.lost += sim.watchers[i].lost;
    }
    check_all(&sim);
    sim_close(&sim);
    return outcome;
}

static void print(uint64_t seed, const struct outcome *outcome)
{
    printf("seed %llu: %llu messages, %llu crashes, %llu nodes given up, %llu watchers fell "
           "behind, %llu requests refused for space, chain %016llx\n",
           (unsigned long long)seed, (unsigned long long)outcome->messages,
           (unsigned long long)outcome->crashes, (unsigned long long)outcome->expired,
           (unsigned long long)outcome->lost, (unsigned long long)outcome->refused_for_space,
           (unsigned long long)outcome->chain);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static int usage(void)
{
    fprintf(stderr, "usage: simulate [--seed N] [--runs R | --seconds S] [--steps K]\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, runs = 1, seconds = 0, steps = 2000;
    const struct {
        const char *name;
        uint64_t *value;
    } options[] = {
        {"--seed", &seed}, {"--runs", &runs}, {"--seconds", &seconds}, {"--steps", &steps}};
    for (int i = 1; i < argc; i += 2) {
        size_t which = 0;
        char *end = NULL;
        while (which < 4 && strcmp(argv[i], options[which].name) != 0) {
            which++;
        }
        if (which == 4 || i + 1 == argc) {
            return usage();
        }
        *options[which].value = strtoull(argv[i + 1], &end, 10);
        if (*argv[i + 1] == '\0' || *end != '\0') {
            return usage();
        }
    }
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t i = 0; seconds == 0 ? i < runs : seconds_since(&start) < (double)seconds; i++) {
        struct outcome outcome = run(seed + i, steps);
        print(seed + i, &outcome);
        if (i == 0) {
            struct outcome again = run(seed, steps);
            if (memcmp(&outcome, &again, sizeof outcome) != 0) {
                print(seed, &again);
                fprintf(stderr, "seed %llu came out otherwise\n", (unsigned long long)seed);
                return 1;
            }
        }
    }
    return 0;
}
