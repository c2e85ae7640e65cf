/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: the weather that a seed draws, the events, what the disk does to its processes, and at
 * the end calm, in which everything must work again. The trace is a text of everything that
 * happened; its last lines are kept for a failure, and its digest is what two runs are compared by.
 */
#include "sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"

#define TRACE_LINES 60
#define TRACE_SIZE  160

#define CALM_NS         (4000 * MS)
#define NO_FAULT_NS     (50 * MS)
#define WEATHER_NS      (150 * MS)
#define UNSIGNED(value) ((unsigned long long)(value))

struct sim *sim_now;

static char trace[TRACE_LINES][TRACE_SIZE];
static uint64_t trace_count;
static bool trace_print;

/* ---- chance ---- */

uint64_t draw(struct sim *sim, uint64_t limit)
{
    return limit == 0 ? 0 : kernel_random_below(&sim->kernel.random, limit);
}

bool one_in(struct sim *sim, uint64_t n)
{
    return draw(sim, n) == 0;
}

bool chance(struct sim *sim, uint64_t chance)
{
    return chance > 0 && kernel_random_chance(&sim->kernel.random, chance);
}

void *sim_memory(void *memory)
{
    assert(memory != NULL);
    return memory;
}

/* ---- the trace ---- */

void sim_trace(struct sim *sim, const char *format, ...)
{
    char *line = trace[trace_count++ % TRACE_LINES];
    uint64_t now_ns = sim->kernel.now_ns;
    int size =
        snprintf(line, TRACE_SIZE, "%6llu.%06llu ", UNSIGNED(now_ns / MS), UNSIGNED(now_ns % MS));
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(line + size, TRACE_SIZE - (size_t)size, format, arguments);
    va_end(arguments);
    assert(more >= 0);
    sim->digest = hash64(line, strlen(line), sim->digest);
    if (trace_print) {
        puts(line);
    }
}

void sim_print_trace(void)
{
    uint64_t first = trace_count > TRACE_LINES ? trace_count - TRACE_LINES : 0;
    fflush(stdout);
    fprintf(stderr, "the last of %llu events, after milliseconds:\n", UNSIGNED(trace_count));
    for (uint64_t i = first; i < trace_count; i++) {
        fprintf(stderr, "  %s\n", trace[i % TRACE_LINES]);
    }
    fprintf(stderr, "all of them: simulate --seed %llu --trace\n", UNSIGNED(sim_now->seed));
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    sim_print_trace();
    fprintf(stderr, "seed %llu, %llu ms: ", UNSIGNED(sim->seed), UNSIGNED(sim->kernel.now_ns / MS));
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void sim_check(struct sim *sim, int rc, const struct ls_error *error, const char *doing)
{
    if (rc < 0) {
        sim_fail(sim, "%s: %s: %s", doing, ls_errname(rc), error->text);
    }
}

/* ---- clocks ---- */

uint64_t process_wall_ns(const struct process *process)
{
    return WALL_NS + sim_now->kernel.now_ns + (uint64_t)process->wall_ns;
}

uint64_t process_monotonic_ns(const struct process *process)
{
    return sim_now->kernel.now_ns + process->monotonic_ns;
}

/* ---- what the disk does ---- */

static int fault(void *context, struct store *store, enum disk_call call)
{
    static const int codes[] = {LS_EIO, LS_ENOMEM, LS_ENOSPACE};
    struct sim *sim = context;
    unsigned process = disk_process(store);
    if (sim->calm || process >= PROCESSES || !sim->processes[process].bad_times ||
        !chance(sim, sim->weather.fault)) {
        return 0;
    }
    bool grows = call == DISK_PUT || call == DISK_ROOM;
    int code = codes[draw(sim, grows ? 3 : 2)];
    cover_fault((int)call, code);
    sim_trace(sim, "p%u: its %s fails: %s", process, disk_call_names[call], ls_errname(code));
    return code;
}

/* Runs the code of another process in the middle of a commit. */
static void another(struct sim *sim, unsigned than, bool commits)
{
    struct process *process = &sim->processes[draw(sim, PROCESSES)];
    if (process->index == than || !kernel_is_up(&sim->kernel, process->index)) {
        return;
    }
    unsigned inside = sim->inside;
    sim->inside = process->index;
    if (!commits && !process->embedded) {
        cover(COVER_READ_IN_FLUSH);
        process_watch(sim, process);
    } else if (commits && !process->embedded) {
        uint64_t before = sim->oracle.commit;
        (void)sequencer_step(process->sequencer); /* its answers wait for its own next step */
        if (sim->oracle.commit != before) {
            cover(COVER_RACE_LOST);
        }
    }
    sim->inside = inside;
}

static enum disk_fate flush(void *context, struct store *store)
{
    struct sim *sim = context;
    struct process *process = &sim->processes[disk_process(store)];
    process_meanwhile(sim, process);
    if (sim->depth == 0 && one_in(sim, 8)) {
        sim->depth++;
        another(sim, process->index, disk_optimistic(sim->disk));
        sim->depth--;
    }
    if (sim->calm) {
        return DISK_KEPT;
    }
    if (chance(sim, sim->weather.crash)) {
        bool kept = one_in(sim, 2);
        cover(kept ? COVER_CRASH_IN_COMMIT : COVER_CRASH_BEFORE_COMMIT);
        sim_trace(sim, "p%u dies in a commit, which is %s", process->index,
                  kept ? "there" : "not there");
        return kept ? DISK_DIED_KEPT : DISK_DIED;
    }
    if (process->bad_times && one_in(sim, 10)) {
        cover(COVER_FLUSH_FAILED);
        sim_trace(sim, "p%u: its flush fails", process->index);
        if (one_in(sim, 3)) { /* others go on with the clock that it had */
            process->stalled_until_ns = sim->kernel.now_ns + draw(sim, sim->weather.ttl_ms * MS);
        }
        return DISK_FAILED;
    }
    return DISK_KEPT;
}

static void committed(void *context, struct store *store, const struct disk_edit *edits,
                      size_t count)
{
    struct sim *sim = context;
    oracle_committed(sim, &sim->processes[disk_process(store)], edits, count);
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (!sim->processes[i].embedded && kernel_is_up(&sim->kernel, i)) {
            int rc = kernel_timer(&sim->kernel, sim->kernel.now_ns + 1 + draw(sim, 5 * MS), i,
                                  EVENT_WATCH, 0);
            assert(rc == 0);
        }
    }
}

/* ---- the weather ---- */

static void draw_weather(struct sim *sim)
{
    struct weather *w = &sim->weather;
    w->processes = 1 + (unsigned)draw(sim, PROCESSES);
    w->optimistic = one_in(sim, 3);
    w->end_ns = (4000 + draw(sim, 8000)) * MS;
    w->ttl_ms = 300 + draw(sim, 1200);
    w->think_ns = (4 + draw(sim, 40)) * MS;
    w->gather_ns = (1 + draw(sim, 20)) * MS;
    w->flush_ns = (1 + draw(sim, 10)) * MS;
    w->crash = one_in(sim, 2) ? chance_of(1, 20 + draw(sim, 400)) : 0;
    w->fault = one_in(sim, 2) ? chance_of(1, 10 + draw(sim, 300)) : 0;
    w->badness = chance_of(1, 4 + draw(sim, 8));
    w->full = one_in(sim, 2) ? chance_of(1, 4 + draw(sim, 10)) : 0;
    w->cut = one_in(sim, 2) ? chance_of(1, 5 + draw(sim, 20)) : 0;
    w->transactions = 2 + draw(sim, 8);
    w->history_ms = draw(sim, 3000);
    w->memory = (uint64_t)600 << draw(sim, 8);
    w->stall = one_in(sim, 2) ? chance_of(1, 5 + draw(sim, 20)) : 0;
    for (unsigned i = 0; i < PROCESSES; i++) {
        struct process *process = &sim->processes[i];
        process->index = i;
        process->embedded = i > 0 && one_in(sim, 2); /* clients need a server */
        process->monotonic_ns = draw(sim, 1000000 * MS);
        process->wall_ns = (int64_t)draw(sim, 100 * MS);
        process->keep.count = one_in(sim, 2) ? 20 + draw(sim, 200) : 0;
        process->keep.age_ms = one_in(sim, 4) ? 500 + draw(sim, 2000) : 0;
        process->keep.bytes = one_in(sim, 4) ? 4000 + draw(sim, 20000) : 0;
        process->keep.hold = one_in(sim, 2);
        if (process->embedded && i < w->processes) {
            cover(COVER_EMBEDDED_AND_SERVED);
        }
    }
    sim->kernel.network =
        (struct kernel_network){.latency_ns = draw(sim, 10) * MS,
                                .jitter_ns = 1 + draw(sim, 60) * MS,
                                .loss = one_in(sim, 2) ? chance_of(1, 20 + draw(sim, 200)) : 0,
                                .doubling = one_in(sim, 2) ? chance_of(1, 20) : 0};
}

static void stop(struct sim *sim, uint64_t *until_ns, enum cover what)
{
    *until_ns = sim->kernel.now_ns + draw(sim, 4 * sim->weather.ttl_ms * MS);
    cover(what);
}

static void turn_process(struct sim *sim, struct process *process)
{
    const struct weather *w = &sim->weather;
    process->bad_times = chance(sim, w->badness);
    if (one_in(sim, 40)) {
        int64_t jump = (int64_t)draw(sim, 3000 * MS) - (int64_t)(1500 * MS);
        process->wall_ns += jump;
        if (jump < 0) {
            cover(COVER_WALL_BACK);
        }
    }
    if (!kernel_is_up(&sim->kernel, process->index)) {
        return;
    }
    if (w->crash > 0 && one_in(sim, 60)) {
        cover(process->stepping ? COVER_CRASH_BEFORE_ANSWERS : COVER_CRASH_IDLE);
        sim_trace(sim, "p%u dies", process->index);
        process_crash(sim, process);
    } else if (chance(sim, w->stall)) {
        stop(sim, &process->stalled_until_ns, COVER_STALL_PROCESS);
    }
}

static void turn_network(struct sim *sim)
{
    if (sim->cut) {
        kernel_heal(&sim->kernel);
        sim->cut = false;
        cover(COVER_HEAL);
        sim_trace(sim, "the network heals");
    } else if (chance(sim, sim->weather.cut)) {
        sim->cut = true;
        cover(COVER_PARTITION);
        sim_trace(sim, "the network is cut");
        for (uint32_t i = 0; i < PROCESSES + CLIENTS; i++) {
            kernel_partition(&sim->kernel, i, (uint16_t)draw(sim, 2));
        }
    }
}

static void turn_disk(struct sim *sim)
{
    if (sim->full) {
        sim->full = false;
        disk_limit(sim->disk, 0);
        cover(COVER_DISK_FREE);
        sim_trace(sim, "the disk has room");
    } else if (chance(sim, sim->weather.full)) {
        sim->full = true;
        disk_limit(sim->disk, disk_used(sim->disk) + draw(sim, 16000));
        cover(COVER_DISK_FULL);
        sim_trace(sim, "the disk is nearly full");
    }
}

static void turn_weather(struct sim *sim)
{
    for (unsigned i = 0; i < PROCESSES; i++) {
        turn_process(sim, &sim->processes[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (chance(sim, sim->weather.stall)) {
            stop(sim, &sim->clients[i].stalled_until_ns, COVER_STALL_CLIENT);
        }
    }
    turn_network(sim);
    turn_disk(sim);
}

/* From now on nothing fails. */
static void calm_down(struct sim *sim)
{
    sim->calm = true;
    sim_trace(sim, "calm");
    kernel_heal(&sim->kernel);
    sim->kernel.network.loss = 0;
    disk_limit(sim->disk, 0);
    for (unsigned i = 0; i < PROCESSES; i++) {
        sim->processes[i].stalled_until_ns = 0;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        sim->clients[i].stalled_until_ns = 0;
    }
}

/* ---- events ---- */

static void at(struct sim *sim, uint64_t delay_ns, uint32_t node, enum event_kind kind)
{
    int rc = kernel_at(&sim->kernel, sim->kernel.now_ns + delay_ns, node, (uint16_t)kind, 0);
    assert(rc == 0);
}

void sim_process_gone(struct sim *sim, struct process *process)
{
    kernel_crash(&sim->kernel, process->index);
    at(sim, 1 + draw(sim, sim->calm ? 100 * MS : 1000 * MS), process->index, EVENT_START);
}

static void to_process(struct sim *sim, struct process *process, const struct kernel_event *event)
{
    switch ((enum event_kind)event->kind) {
    case EVENT_START:
        kernel_restart(&sim->kernel, process->index);
        sim_trace(sim, "p%u starts", process->index);
        process_start(sim, process);
        break;
    case EVENT_PACKET:
        process_packet(sim, process, (uint32_t)event->value);
        break;
    case EVENT_STEP:
        process_step(sim, process);
        break;
    case EVENT_FLUSHED:
        process_flushed(sim, process);
        break;
    case EVENT_PRESENCE:
        process_presence(sim, process);
        break;
    case EVENT_RETAIN:
        process_retain(sim, process);
        break;
    case EVENT_WATCH:
        process_watch(sim, process);
        break;
    case EVENT_TICK:
        process_tick(sim, process);
        break;
    default:
        assert(event->kind == EVENT_CALL);
        embedded_call(sim, process);
    }
}

/* Whoever is stopped does things later. */
static bool put_off(struct sim *sim, const struct kernel_event *event, uint64_t until_ns)
{
    if (sim->kernel.now_ns >= until_ns || event->kind == EVENT_START) {
        return false;
    }
    uint64_t later_ns = sim->kernel.now_ns + 20 * MS; /* calm may come before `until_ns` */
    int rc = kernel_timer(&sim->kernel, later_ns < until_ns ? later_ns : until_ns, event->node,
                          event->kind, event->value);
    assert(rc == 0);
    return true;
}

static void happen(struct sim *sim, const struct kernel_event *event)
{
    if (event->fate != KERNEL_HAPPENS) {
        if (event->kind == EVENT_PACKET) {
            cover(COVER_PACKET_LOST);
            packet_release(sim, (uint32_t)event->value);
        }
        return;
    }
    if (event->kind == EVENT_WEATHER) {
        if (!sim->calm) {
            turn_weather(sim);
        }
        at(sim, WEATHER_NS, 0, EVENT_WEATHER);
    } else if (event->node < PROCESSES) {
        struct process *process = &sim->processes[event->node];
        sim->inside = event->node;
        if (!put_off(sim, event, process->stalled_until_ns)) {
            to_process(sim, process, event);
        }
    } else {
        struct client *client = &sim->clients[event->node - PROCESSES];
        if (event->kind == EVENT_THINK) {
            client_think(sim, client);
        } else if (!put_off(sim, event, client->stalled_until_ns)) {
            client_packet(sim, client, (uint32_t)event->value);
        }
    }
}

static void run_until(struct sim *sim, uint64_t until_ns)
{
    struct kernel_event event;
    while (kernel_next(&sim->kernel, until_ns, &event)) {
        happen(sim, &event);
    }
}

/* ---- a run ---- */

static void begin(struct sim *sim, uint64_t seed)
{
    const struct disk_calls calls = {fault, flush, committed, sim};
    const struct kernel_options options = {.seed = seed, .nodes = PROCESSES + CLIENTS};
    struct ls_error error;
    *sim = (struct sim){.seed = seed, .packet_free = NOWHERE};
    sim_now = sim;
    trace_count = 0;
    sim_check(sim, kernel_open(&sim->kernel, &options, &error), &error, "the kernel");
    draw_weather(sim);
    for (int i = 0; i < KEYS; i++) {
        sim->oracle.objects[i].owner = NOBODY;
    }
    sim->disk = disk_new(&calls, sim->weather.optimistic);
    for (unsigned i = 0; i < PROCESSES; i++) {
        kernel_crash(&sim->kernel, i);
        if (i < sim->weather.processes) {
            at(sim, 1 + draw(sim, 20 * MS), i, EVENT_START);
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        sim->clients[i].index = i;
        at(sim, 20 * MS + draw(sim, 100 * MS), PROCESSES + i, EVENT_THINK);
    }
    at(sim, NO_FAULT_NS, 0, EVENT_WEATHER);
}

/* Everything works again, and what was in doubt is settled. */
static void check_end(struct sim *sim)
{
    oracle_audit(sim);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (sim->calm_answers[i] == 0) {
            sim_fail(sim, "nothing fails any more, and c%u has nothing answered", i);
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (kernel_is_up(&sim->kernel, i) && sim->processes[i].embedded &&
            sim->calm_answers[CLIENTS + i] == 0) {
            sim_fail(sim, "nothing fails any more, and p%u has nothing answered", i);
        }
    }
}

static void end(struct sim *sim)
{
    struct kernel_event event;
    for (unsigned i = 0; i < PROCESSES; i++) {
        sim->inside = i;
        if (!kernel_is_up(&sim->kernel, i)) {
            continue;
        }
        process_crash(sim, &sim->processes[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        inbox_clear(sim, &sim->clients[i].in);
    }
    while (kernel_drain(&sim->kernel, &event)) {
        if (event.kind == EVENT_PACKET) {
            packet_release(sim, (uint32_t)event.value);
        }
    }
    for (size_t i = 0; i < sim->packet_capacity; i++) {
        assert(sim->packets[i].refs == 0);
    }
    free(sim->packets);
    disk_free(sim->disk);
    oracle_close(&sim->oracle);
    kernel_close(&sim->kernel);
}

uint64_t sim_run(uint64_t seed, bool print)
{
    static struct sim sim;
    trace_print = print;
    begin(&sim, seed);
    run_until(&sim, sim.weather.end_ns);
    calm_down(&sim);
    run_until(&sim, sim.weather.end_ns + CALM_NS);
    check_end(&sim);
    end(&sim);
    sim_now = NULL;
    return sim.digest;
}
