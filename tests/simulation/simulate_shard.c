/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulate_shard [--seed N] [--runs R | --seconds S] [--trace]: random transactions on the shard
 * engine, against a plain execution of the same transactions one at a time, in the order of their
 * timestamps.
 *
 * What each transaction wants is drawn beforehand, and what it writes is made of what it read, so
 * the reference needs no engine. Then locks, promises, anchors, requests, writes and releases reach
 * the engine in any order that its refusals allow, some of them twice. Every value that comes out
 * must be the reference's, exactly once; at the end the versions must be, and nothing must be left.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/shard_audit.h"
#include "lockstep_shard.h"
#include "model/kernel_random.h"

#define TRANSACTIONS_MAX 96
#define KEYS_MAX         8
#define WORKERS_MAX      4
#define NOTHING          UINT64_MAX /* as a value: absent */

struct want {
    unsigned kinds;
    bool ask;      /* a lazy read is asked for, else given up */
    bool done;     /* a write was made, or the reference makes one */
    uint64_t read; /* the reference's */
    uint64_t write;
    bool none; /* a may-write that is not used */
    bool asked;
    bool answered;
    bool given_up;
};

struct plan {
    uint64_t timestamp;
    uint64_t worker;
    struct want wants[KEYS_MAX];
    unsigned write_count;
    unsigned writes_before_release; /* it vanishes after so many; UINT_MAX: never */
    unsigned written;
    unsigned locked; /* how often that was said */
    bool acquired;
    bool over;
};

struct sim {
    uint64_t seed;
    struct kernel_random random;
    bool trace;
    bool stored;
    ls_shard *shard;
    uint64_t workers[WORKERS_MAX];
    size_t worker_count;
    size_t key_count;
    struct plan plans[TRANSACTIONS_MAX];
    size_t plan_count;
    uint64_t final[KEYS_MAX];
    uint64_t heights[2];
    uint64_t steps;
};

static __attribute__((noreturn, format(printf, 2, 3))) void fail(struct sim *sim,
                                                                 const char *format, ...)
{
    fprintf(stderr, "seed %" PRIu64 ", step %" PRIu64 ": ", sim->seed, sim->steps);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nreplay: simulate_shard --seed %" PRIu64 " --runs 1 --trace\n", sim->seed);
    exit(1);
}

static __attribute__((format(printf, 2, 3))) void trace(struct sim *sim, const char *format, ...)
{
    if (!sim->trace) {
        return;
    }
    printf("%6" PRIu64 " ", sim->steps);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

static uint64_t draw(struct sim *sim, uint64_t bound)
{
    return kernel_random_below(&sim->random, bound);
}

static bool one_in(struct sim *sim, uint64_t n)
{
    return draw(sim, n) == 0;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
    a = (a ^ a >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return a ^ a >> 32;
}

/* ---- keys and values as bytes: some short, some longer than what stands inline ---- */

struct text {
    char bytes[64];
    size_t size;
};

static ls_bytes key_text(struct text *out, size_t key)
{
    out->size = (size_t)snprintf(out->bytes, sizeof out->bytes,
                                 key % 2 == 0 ? "k%zu" : "a key with a rather long name: %zu", key);
    return bytes_of(out->bytes, out->size);
}

static ls_bytes value_text(struct text *out, uint64_t value)
{
    out->size = (size_t)snprintf(
        out->bytes, sizeof out->bytes,
        value % 3 == 0 ? "%" PRIu64 "--------------------------------" : "%" PRIu64, value);
    return bytes_of(out->bytes, out->size);
}

/* ---- the reference ---- */

static bool reads(const struct want *want)
{
    return (want->kinds & (LS_SHARD_EAGER | LS_SHARD_LAZY)) != 0;
}

static bool writes(const struct want *want)
{
    return (want->kinds & (LS_SHARD_WILL | LS_SHARD_MAY)) != 0;
}

/* A read that the transaction waits for before it writes. */
static bool wanted(const struct want *want)
{
    return reads(want) && ((want->kinds & LS_SHARD_EAGER) != 0 || want->ask);
}

static void plan_draw(struct sim *sim, struct plan *plan, uint64_t timestamp)
{
    static const unsigned kinds[] = {LS_SHARD_EAGER,
                                     LS_SHARD_LAZY,
                                     LS_SHARD_WILL,
                                     LS_SHARD_MAY,
                                     LS_SHARD_EAGER | LS_SHARD_WILL,
                                     LS_SHARD_LAZY | LS_SHARD_MAY,
                                     LS_SHARD_EAGER | LS_SHARD_MAY,
                                     LS_SHARD_LAZY | LS_SHARD_WILL};
    *plan = (struct plan){.timestamp = timestamp,
                          .worker = sim->workers[draw(sim, sim->worker_count)],
                          .writes_before_release = UINT32_MAX};
    size_t touched = 1 + draw(sim, sim->key_count);
    for (size_t i = 0; i < touched; i++) {
        struct want *want = &plan->wants[draw(sim, sim->key_count)];
        want->kinds = kinds[draw(sim, 8)];
        want->ask = one_in(sim, 2);
    }
    for (size_t k = 0; k < sim->key_count; k++) {
        plan->write_count += writes(&plan->wants[k]);
    }
    if (one_in(sim, 5)) {
        plan->writes_before_release = (unsigned)draw(sim, plan->write_count + 1);
    }
}

/* Runs the plan alone, on the state that those before it left. */
static void plan_execute(struct sim *sim, struct plan *plan)
{
    uint64_t seen = plan->timestamp;
    for (size_t k = 0; k < sim->key_count; k++) {
        struct want *want = &plan->wants[k];
        want->read = sim->final[k];
        if (wanted(want)) {
            seen = mix(seen, want->read);
        }
    }
    unsigned written = 0;
    for (size_t k = 0; k < sim->key_count; k++) {
        struct want *want = &plan->wants[k];
        if (!writes(want)) {
            continue;
        }
        uint64_t value = mix(seen, k);
        want->none = written >= plan->writes_before_release ||
                     ((want->kinds & LS_SHARD_MAY) != 0 && value % 2 == 0);
        want->write = value % 7 == 0 ? NOTHING : value >> 1;
        written++;
        if (!want->none) {
            sim->final[k] = want->write;
        }
    }
}

/* What is at a key below a timestamp: by the reference, and of what was written so far. */
static uint64_t value_below(const struct sim *sim, size_t key, uint64_t timestamp, bool so_far)
{
    uint64_t value = NOTHING;
    for (size_t i = 0; i < sim->plan_count && sim->plans[i].timestamp < timestamp; i++) {
        const struct want *want = &sim->plans[i].wants[key];
        if (writes(want) && !want->none && (want->done || !so_far)) {
            value = want->write;
        }
    }
    return value;
}

/* ---- what the engine says ---- */

static struct plan *plan_at(struct sim *sim, uint64_t timestamp)
{
    for (size_t i = 0; i < sim->plan_count; i++) {
        if (sim->plans[i].timestamp == timestamp) {
            return &sim->plans[i];
        }
    }
    fail(sim, "a message for the unknown timestamp %" PRIu64, timestamp);
}

static void compare(struct sim *sim, size_t key, uint64_t timestamp, enum ls_shard_content content,
                    ls_bytes value)
{
    uint64_t expected = value_below(sim, key, timestamp, false);
    struct text text;
    bool same = false;
    if (content == LS_SHARD_STORED) {
        same = sim->stored && value_below(sim, key, timestamp, true) == expected;
    } else if (content == LS_SHARD_ABSENT) {
        same = expected == NOTHING;
    } else if (content == LS_SHARD_VALUE) {
        same = expected != NOTHING && bytes_equal(value, value_text(&text, expected));
    }
    if (!same) {
        fail(sim, "key %zu below %" PRIu64 " is %" PRIu64 ", read was kind %d, \"%.*s\"", key,
             timestamp, expected, (int)content, (int)value.size, (const char *)value.data);
    }
}

static void on_message(void *context, const ls_shard_message *message)
{
    struct sim *sim = context;
    struct plan *plan = plan_at(sim, message->timestamp);
    if (message->kind == LS_SHARD_LOCKED) {
        if (message->to != plan->worker) {
            fail(sim, "acknowledged to %" PRIu64, message->to);
        }
        plan->locked++;
        return;
    }
    if (message->to != plan->timestamp + 1000) {
        fail(sim, "a read went to %" PRIu64, message->to);
    }
    for (size_t k = 0; k < sim->key_count; k++) {
        struct text text;
        struct want *want = &plan->wants[k];
        if (!bytes_equal(message->key, key_text(&text, k))) {
            continue;
        }
        if (!reads(want) || want->answered || want->given_up) {
            fail(sim, "a second answer, or one not asked for, to %" PRIu64, plan->timestamp);
        }
        if ((want->kinds & LS_SHARD_LAZY) != 0 && !want->asked) {
            fail(sim, "a lazy value that was not asked for, to %" PRIu64, plan->timestamp);
        }
        want->answered = true;
        trace(sim, "answered %" PRIu64 " key %zu", plan->timestamp, k);
        compare(sim, k, plan->timestamp, message->content, message->value);
        return;
    }
    fail(sim, "a read of an unknown key");
}

static void expect(struct sim *sim, int rc, int code, const char *what, uint64_t timestamp)
{
    if (rc != code) {
        fail(sim, "%s %" PRIu64 " gave %s (%s)", what, timestamp, ls_errname(rc),
             ls_last_error()->text);
    }
}

/* Whether the engine must remember it. */
static bool has_open(const struct sim *sim, const struct plan *plan)
{
    for (size_t k = 0; k < sim->key_count; k++) {
        const struct want *want = &plan->wants[k];
        if ((reads(want) && !want->answered && !want->given_up) || (writes(want) && !want->done)) {
            return true;
        }
    }
    return false;
}

/* ---- workers ---- */

static ls_shard_info info_of(struct sim *sim)
{
    ls_shard_info info = LS_SHARD_INFO_INIT;
    expect(sim, ls_shard_info_get(sim->shard, &info), 0, "info", 0);
    return info;
}

static void acquire(struct sim *sim, struct plan *plan)
{
    ls_shard_lock locks[2 * KEYS_MAX];
    struct text names[KEYS_MAX];
    size_t count = 0;
    bool apart = one_in(sim, 2);
    bool writes_any = false;
    size_t first = draw(sim, sim->key_count);
    for (size_t i = 0; i < sim->key_count; i++) {
        size_t k = (first + i) % sim->key_count;
        unsigned kinds = plan->wants[k].kinds;
        unsigned read = kinds & (LS_SHARD_EAGER | LS_SHARD_LAZY);
        ls_bytes name = key_text(&names[k], k);
        writes_any = writes_any || read != kinds;
        if (apart && read != 0 && read != kinds) {
            locks[count++] = (ls_shard_lock){name, read};
            kinds -= read;
        }
        if (kinds != 0) {
            locks[count++] = (ls_shard_lock){name, kinds};
        }
    }
    trace(sim, "acquire %" PRIu64 " worker %" PRIu64, plan->timestamp, plan->worker);
    bool again = plan->acquired;
    unsigned locked = plan->locked;
    plan->acquired = true;
    ls_shard_info info = info_of(sim);
    int rc = ls_shard_acquire(sim->shard, plan->timestamp, plan->worker, plan->timestamp + 1000,
                              locks, count);
    bool old = plan->timestamp < info.heard_all_reads ||
               (writes_any && plan->timestamp < info.heard_all_writes);
    if (again && old && !has_open(sim, plan)) {
        if (rc != 0 && rc != LS_ETOOOLD) {
            expect(sim, rc, LS_ETOOOLD, "a repeated acquire", plan->timestamp);
        }
    } else {
        expect(sim, rc, 0, "acquire", plan->timestamp);
    }
    if (plan->locked != locked + (rc == 0)) {
        fail(sim, "acquire %" PRIu64 " was not acknowledged once", plan->timestamp);
    }
}

/* How far a worker (0: every worker) may go with its promise. */
static uint64_t promise_max(const struct sim *sim, uint64_t worker, bool for_writes)
{
    for (size_t i = 0; i < sim->plan_count; i++) {
        const struct plan *plan = &sim->plans[i];
        bool counts = false;
        for (size_t k = 0; k < sim->key_count; k++) {
            counts |= for_writes ? writes(&plan->wants[k]) : reads(&plan->wants[k]);
        }
        if (counts && !plan->acquired && (worker == 0 || plan->worker == worker)) {
            return plan->timestamp;
        }
    }
    return sim->plans[sim->plan_count - 1].timestamp + 1;
}

static void promise(struct sim *sim)
{
    uint64_t worker = sim->workers[draw(sim, sim->worker_count)];
    bool for_writes = one_in(sim, 2);
    uint64_t timestamp = promise_max(sim, worker, for_writes);
    timestamp -= one_in(sim, 3) ? draw(sim, timestamp) : 0;
    trace(sim, "seen %" PRIu64 " %" PRIu64 " %d", worker, timestamp, for_writes);
    expect(sim, ls_shard_seen(sim->shard, worker, timestamp, for_writes), 0, "seen", timestamp);
}

static void anchor(struct sim *sim)
{
    size_t chain = draw(sim, 2);
    uint64_t timestamp = draw(sim, promise_max(sim, 0, true) + 1);
    struct text text;
    trace(sim, "anchor %" PRIu64, timestamp);
    ls_bytes name = bytes_of(chain == 0 ? "x" : "y", 1);
    for (int twice = 0; twice < 2; twice++) {
        expect(sim,
               ls_shard_anchor(sim->shard, name, 7, sim->heights[chain],
                               value_text(&text, timestamp), timestamp),
               0, "anchor", timestamp);
    }
    sim->heights[chain]++;
    expect(sim, ls_shard_anchor(sim->shard, name, 7, sim->heights[chain] + 1, name, timestamp),
           LS_ECONFLICT, "anchor out of turn", timestamp);
}

/* ---- executors ---- */

static bool read_step(struct sim *sim, struct plan *plan)
{
    size_t first = draw(sim, sim->key_count);
    for (size_t i = 0; i < sim->key_count; i++) {
        size_t k = (first + i) % sim->key_count;
        struct want *want = &plan->wants[k];
        struct text text;
        if ((want->kinds & LS_SHARD_LAZY) == 0 || want->asked || want->given_up) {
            continue;
        }
        want->asked = want->ask;
        want->given_up = !want->ask;
        trace(sim, "read %" PRIu64 " key %zu actual %d", plan->timestamp, k, want->ask);
        expect(sim, ls_shard_read(sim->shard, plan->timestamp, key_text(&text, k), want->ask), 0,
               "read", plan->timestamp);
        return true;
    }
    return false;
}

static bool has_read_all(const struct sim *sim, const struct plan *plan)
{
    for (size_t k = 0; k < sim->key_count; k++) {
        if (wanted(&plan->wants[k]) && !plan->wants[k].answered) {
            return false;
        }
    }
    return true;
}

/* The first write that is not made; in this order the reference counts them too. */
static bool write_step(struct sim *sim, struct plan *plan)
{
    for (size_t k = 0; k < sim->key_count; k++) {
        struct want *want = &plan->wants[k];
        struct text name;
        struct text value;
        if (!writes(want) || want->done) {
            continue;
        }
        enum ls_shard_content content = want->none               ? LS_SHARD_NONE
                                        : want->write == NOTHING ? LS_SHARD_ABSENT
                                                                 : LS_SHARD_VALUE;
        trace(sim, "write %" PRIu64 " key %zu content %d", plan->timestamp, k, (int)content);
        want->done = true;
        plan->written++;
        for (int twice = 0; twice < 2; twice++) {
            expect(sim,
                   ls_shard_write(sim->shard, plan->timestamp, key_text(&name, k), content,
                                  value_text(&value, want->write)),
                   twice == 0 ? 0 : LS_ENOLOCK, "write", plan->timestamp);
        }
        return true;
    }
    return false;
}

static void release(struct sim *sim, struct plan *plan)
{
    trace(sim, "release %" PRIu64, plan->timestamp);
    bool open = has_open(sim, plan);
    for (size_t k = 0; k < sim->key_count; k++) {
        plan->wants[k].given_up |= reads(&plan->wants[k]) && !plan->wants[k].answered;
        plan->wants[k].done = true;
    }
    plan->over = true;
    int rc = ls_shard_release(sim->shard, plan->timestamp);
    if (open || rc != LS_ENOLOCK) { /* one that is closed may be forgotten */
        expect(sim, rc, 0, "release", plan->timestamp);
    }
}

static bool execute(struct sim *sim, struct plan *plan)
{
    if (!plan->acquired || plan->over) {
        return false;
    }
    /* One that vanishes before its first write may do so before it has read. */
    if (plan->writes_before_release == 0 && one_in(sim, 4)) {
        release(sim, plan);
        return true;
    }
    if (read_step(sim, plan)) {
        return true;
    }
    if (!has_read_all(sim, plan)) {
        return false;
    }
    if (plan->written >= plan->writes_before_release) {
        release(sim, plan);
        return true;
    }
    if (write_step(sim, plan)) {
        return true;
    }
    plan->over = true;
    return true;
}

/* ---- looking ---- */

static void look(struct sim *sim)
{
    ls_shard_info info = info_of(sim);
    uint64_t span = info.heard_all_writes - info.heard_all_reads;
    uint64_t timestamp = info.heard_all_reads + draw(sim, span + 1);
    size_t key = draw(sim, sim->key_count);
    struct text text;
    enum ls_shard_content content = LS_SHARD_NONE;
    ls_bytes value = {0};
    uint64_t waits_for = 0;
    expect(sim,
           ls_shard_get(sim->shard, timestamp, key_text(&text, key), &content, &value, &waits_for),
           0, "get", timestamp);
    if (content != LS_SHARD_OPEN) {
        compare(sim, key, timestamp, content, value);
        return;
    }
    const struct want *want = &plan_at(sim, waits_for)->wants[key];
    if (waits_for >= timestamp || !writes(want) || want->done) {
        fail(sim, "a get below %" PRIu64 " waits for %" PRIu64, timestamp, waits_for);
    }
}

static void check_end(struct sim *sim)
{
    uint64_t end = sim->plans[sim->plan_count - 1].timestamp + 1;
    for (size_t w = 0; w < sim->worker_count; w++) {
        expect(sim, ls_shard_seen(sim->shard, sim->workers[w], end, false), 0, "seen", end);
        expect(sim, ls_shard_seen(sim->shard, sim->workers[w], end, true), 0, "seen", end);
    }
    while (ls_shard_collect(sim->shard, 1 + draw(sim, 100))) {
    }
    uint64_t left = 0;
    for (size_t k = 0; k < sim->key_count; k++) {
        struct text text;
        enum ls_shard_content content = LS_SHARD_NONE;
        ls_bytes value = {0};
        expect(sim, ls_shard_get(sim->shard, end, key_text(&text, k), &content, &value, NULL), 0,
               "get", end);
        compare(sim, k, end, content, value);
        left += sim->final[k] != NOTHING && !sim->stored;
    }
    ls_shard_info info = info_of(sim);
    if (info.open != 0 || info.waiting != 0 || info.remembered != 0 || info.keys != left ||
        info.versions != left) {
        fail(sim,
             "left at the end: %" PRIu64 " open, %" PRIu64 " waiting, %" PRIu64
             " remembered, %" PRIu64 " keys and %" PRIu64 " versions of %" PRIu64,
             info.open, info.waiting, info.remembered, info.keys, info.versions, left);
    }
}

/* ---- a run ---- */

static void prepare(struct sim *sim)
{
    sim->worker_count = 1 + draw(sim, WORKERS_MAX);
    sim->key_count = 1 + draw(sim, KEYS_MAX);
    sim->plan_count = 2 + draw(sim, TRANSACTIONS_MAX - 1);
    sim->stored = one_in(sim, 2);
    for (size_t w = 0; w < sim->worker_count; w++) {
        sim->workers[w] = 10 + w;
    }
    for (size_t k = 0; k < KEYS_MAX; k++) {
        sim->final[k] = NOTHING;
    }
    uint64_t timestamp = 0;
    for (size_t i = 0; i < sim->plan_count; i++) {
        timestamp += 1 + draw(sim, 3);
        plan_draw(sim, &sim->plans[i], timestamp);
        plan_execute(sim, &sim->plans[i]);
    }
    ls_shard_options options = LS_SHARD_OPTIONS_INIT;
    options.workers = sim->workers;
    options.worker_count = sim->worker_count;
    options.learner = 7;
    options.out = on_message;
    options.context = sim;
    options.stored = sim->stored;
    options.seed = sim->seed;
    expect(sim, ls_shard_open(&sim->shard, &options), 0, "open", 0);
}

static bool all_over(const struct sim *sim)
{
    for (size_t i = 0; i < sim->plan_count; i++) {
        if (!sim->plans[i].over) {
            return false;
        }
    }
    return true;
}

static void step(struct sim *sim, size_t window)
{
    size_t oldest = 0;
    while (oldest + 1 < sim->plan_count && sim->plans[oldest].over) {
        oldest++;
    }
    size_t last = oldest + window < sim->plan_count ? oldest + window : sim->plan_count;
    struct plan *plan = &sim->plans[oldest + draw(sim, last - oldest)];
    switch (draw(sim, 12)) {
    case 0:
    case 1:
        promise(sim);
        return;
    case 2:
        look(sim);
        return;
    case 3:
        if (one_in(sim, 4)) {
            anchor(sim);
        }
        return;
    case 4:
        if (one_in(sim, 4)) {
            acquire(sim, &sim->plans[draw(sim, last)]); /* perhaps again */
        }
        return;
    default:
        if (!plan->acquired) {
            acquire(sim, plan);
        } else {
            (void)execute(sim, plan);
        }
    }
}

static uint64_t run(uint64_t seed, bool with_trace)
{
    struct sim sim = {.seed = seed, .trace = with_trace};
    kernel_random_seed(&sim.random, seed);
    prepare(&sim);
    size_t window = 1 + draw(&sim, TRANSACTIONS_MAX);
    uint64_t audit_every = 1 + draw(&sim, 16);
    while (!all_over(&sim)) {
        step(&sim, window);
        sim.steps++;
        const char *fault = sim.steps % audit_every == 0 ? shard_audit(sim.shard) : NULL;
        if (fault != NULL) {
            fail(&sim, "does not hold: %s", fault);
        }
        if (sim.steps > 1000000) {
            fail(&sim, "it does not come to an end");
        }
    }
    check_end(&sim);
    const char *fault = shard_audit(sim.shard);
    if (fault != NULL) {
        fail(&sim, "does not hold at the end: %s", fault);
    }
    ls_shard_close(sim.shard);
    return sim.steps;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t runs = 0;
    uint64_t seconds = 0;
    bool with_trace = false;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--trace") == 0) {
            with_trace = true;
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--runs") == 0 && more) {
            runs = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seconds") == 0 && more) {
            seconds = strtoull(argv[++i], NULL, 10);
        } else {
            fputs("usage: simulate_shard [--seed N] [--runs R | --seconds S] [--trace]\n", stderr);
            return 2;
        }
    }
    time_t begun = time(NULL);
    uint64_t done = 0;
    uint64_t steps = 0;
    while (seconds != 0 ? (uint64_t)(time(NULL) - begun) < seconds : done < (runs ? runs : 100)) {
        steps += run(seed + done, with_trace);
        done++;
    }
    printf("shard: %" PRIu64 " runs from seed %" PRIu64 ", %" PRIu64
           " steps, all as one at a time\n",
           done, seed, steps);
    return 0;
}
