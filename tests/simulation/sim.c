/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated world: its randomness, its store, and the log of what was seen to be committed. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "codec/key.h"

/* SplitMix64. */
uint64_t draw(struct sim *sim, uint64_t limit)
{
    uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % limit;
}

bool one_in(struct sim *sim, uint64_t n)
{
    return draw(sim, n) == 0;
}

void sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "seed %llu, step %llu: ", (unsigned long long)sim->seed,
            (unsigned long long)sim->step);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nthe store is in %s\n", sim->directory);
    exit(1);
}

void sim_check(const struct sim *sim, int rc, const struct ls_error *error, const char *doing)
{
    if (rc < 0) {
        sim_fail(sim, "%s: %s: %s", doing, ls_errname(rc), error->text);
    }
}

void key_name(char out[8], int index)
{
    snprintf(out, 8, "key-%02d", index);
}

int key_index(ls_bytes key)
{
    const char *text = key.data;
    return key.size == 6 ? (text[4] - '0') * 10 + text[5] - '0' : -1;
}

int sim_run(struct sim *sim, struct request *request)
{
    struct ls_error error;
    sim_check(sim, coordinator_begin(sim->coordinator, sim->now_ns, &error), &error, "begin");
    int status = coordinator_apply(sim->coordinator, request);
    if (coordinator_broken(sim->coordinator)) {
        coordinator_abort(sim->coordinator);
        return status;
    }
    sim_check(sim, coordinator_commit(sim->coordinator, &error), &error, "commit");
    return status;
}

void sim_open(struct sim *sim, uint64_t seed, const char *parent)
{
    *sim = (struct sim){.seed = seed, .random = seed, .now_ns = UINT64_C(1000000000000)};
    snprintf(sim->parent, sizeof sim->parent, "%s", parent);
    actors_open(sim);
    sim_crash(sim, CRASH_IDLE); /* out of nothing */
    sim->crashes = 0;
    watchers_open(sim);
}

void sim_close(struct sim *sim)
{
    coordinator_close(sim->coordinator);
    store_close(sim->store);
    sim_remove(sim);
    (void)rmdir(sim->parent);
    free(sim->log);
}

/* ---- the log ---- */

static struct entry entry_of(const struct sim *sim, const struct message *message)
{
    struct entry entry = {
        .clock = message->clock, .check = message->check, .type = message->type, .key = -1};
    if (message->type != LS_OBJECT) {
        return entry;
    }
    struct change change;
    struct ls_error error;
    sim_check(sim, change_decode(&change, message->object, &error), &error, "a change");
    const uint8_t *key = change.key.data;
    if (key[0] == KEY_OBJECT) {
        entry.key = key_index((ls_bytes){key + KEY_HEADER_SIZE, change.key.size - KEY_HEADER_SIZE});
        entry.present = change.has_value ? message->clock : 0;
    }
    return entry;
}

static void log_add(struct sim *sim, struct entry entry)
{
    if (sim->log_count == sim->log_capacity) {
        sim->log_capacity = 2 * sim->log_capacity + 1024;
        sim->log = realloc(sim->log, sim->log_capacity * sizeof *sim->log);
        if (sim->log == NULL) {
            sim_fail(sim, "out of memory");
        }
    }
    sim->log[sim->log_count++] = entry;
    sim->chain = entry.check;
}

size_t sim_observe(struct sim *sim)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    struct ls_error error;
    size_t before = sim->log_count;
    uint64_t from = sim->log_count == 0 ? 1 : sim->log[sim->log_count - 1].clock + 1;
    sim_check(sim, reading_begin(&reading, sim->store, &error), &error, "reading");
    sim_check(sim, box_open(&cursor, &reading, from, NULL, &error), &error, "the box");
    int rc;
    while ((rc = box_next(&cursor, &message, &error)) > 0) {
        log_add(sim, entry_of(sim, &message));
        if (message.type == LS_USER) {
            actor_posted(sim, &message);
        }
    }
    sim_check(sim, rc, &error, "the next message");
    box_end(&cursor);
    reading_end(&reading);
    return sim->log_count - before;
}

void sim_compare_log(struct sim *sim)
{
    struct reading reading;
    struct box_state box;
    struct box_cursor cursor;
    struct message message;
    struct ls_error error;
    sim_check(sim, reading_begin(&reading, sim->store, &error), &error, "reading");
    sim_check(sim, box_state_read(&reading, &box, &error), &error, "the state of the box");
    sim_check(sim, box_open(&cursor, &reading, box.discarded + 1, NULL, &error), &error, "the box");
    for (size_t i = 0; i < sim->log_count; i++) {
        const struct entry *entry = &sim->log[i];
        if (entry->clock <= box.discarded) {
            continue;
        }
        int rc = box_next(&cursor, &message, &error);
        sim_check(sim, rc, &error, "the next message");
        if (rc == 0 || message.clock != entry->clock || message.check != entry->check) {
            sim_fail(sim, "message %llu was committed, and is gone or another",
                     (unsigned long long)entry->clock);
        }
    }
    if (box_next(&cursor, &message, &error) != 0) {
        sim_fail(sim, "message %llu was never committed", (unsigned long long)message.clock);
    }
    box_end(&cursor);
    reading_end(&reading);
    if (box.clock < sim->highest_given) {
        sim_fail(sim, "the clock went back from %llu to %llu",
                 (unsigned long long)sim->highest_given, (unsigned long long)box.clock);
    }
}
