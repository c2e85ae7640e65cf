/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes. What a process leaves is its data file as it is at that moment, copied. A crash in the
 * middle of a commit is one between the pages and the page that makes them count: the file as it is
 * afterwards, with the first two pages as they were before.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim.h"

#define META_SIZE 8192

static int open_data(const struct sim *sim, const char *directory, int flags)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    int fd = open(path, flags, 0600);
    if (fd < 0) {
        sim_fail(sim, "cannot open %s", path);
    }
    return fd;
}

static void copy_data(const struct sim *sim, const char *to, const uint8_t *meta)
{
    static uint8_t block[1 << 16];
    int in = open_data(sim, sim->directory, O_RDONLY);
    int out = open_data(sim, to, O_WRONLY | O_CREAT | O_TRUNC);
    ssize_t size;
    while ((size = read(in, block, sizeof block)) > 0) {
        if (write(out, block, (size_t)size) != size) {
            sim_fail(sim, "cannot write to %s", to);
        }
    }
    if (size < 0 || (meta != NULL && pwrite(out, meta, META_SIZE, 0) != META_SIZE)) {
        sim_fail(sim, "cannot copy to %s", to);
    }
    close(in);
    close(out);
}

void sim_remove(const struct sim *sim)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "wake"};
    char path[128];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", sim->directory, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(sim->directory);
}

static void open_directory(struct sim *sim)
{
    struct ls_error error;
    struct request epoch = {.kind = REQUEST_EPOCH, .error = &error};
    struct store_options options = {.create = true};
    sim_check(sim, store_open(&sim->store, sim->directory, &options, &error), &error, "open");
    sim_check(sim, coordinator_open(&sim->coordinator, sim->store, &error), &error, "open");
    sim_check(sim, sim_run(sim, &epoch), &error, "epoch");
    if (epoch.clock <= sim->epoch) {
        sim_fail(sim, "epoch %llu was given twice", (unsigned long long)epoch.clock);
    }
    sim->epoch = epoch.clock;
}

/* Ends the transaction under way, and leaves in `to` what is on disk. */
static void leave_data(struct sim *sim, enum crash crash, const char *to)
{
    static uint8_t meta[META_SIZE];
    struct ls_error error;
    int fd = open_data(sim, sim->directory, O_RDONLY);
    if (pread(fd, meta, sizeof meta, 0) != (ssize_t)sizeof meta) {
        sim_fail(sim, "cannot read the first pages");
    }
    close(fd);
    switch (crash) {
    case CRASH_IDLE:
        copy_data(sim, to, NULL);
        break;
    case CRASH_BEFORE_COMMIT:
        copy_data(sim, to, NULL);
        coordinator_abort(sim->coordinator);
        break;
    case CRASH_IN_COMMIT:
    case CRASH_BEFORE_ANSWERS:
        sim_check(sim, coordinator_commit(sim->coordinator, &error), &error, "commit");
        copy_data(sim, to, crash == CRASH_IN_COMMIT ? meta : NULL);
        break;
    }
}

void sim_crash(struct sim *sim, enum crash crash)
{
    char next[sizeof sim->directory];
    snprintf(next, sizeof next, "%s/%u", sim->parent, sim->generation++);
    if (mkdir(next, 0700) != 0) {
        sim_fail(sim, "cannot make %s", next);
    }
    if (sim->store != NULL) {
        leave_data(sim, crash, next);
        coordinator_close(sim->coordinator);
        store_close(sim->store);
        sim_remove(sim);
    }
    memcpy(sim->directory, next, sizeof next);
    open_directory(sim);
    sim->crashes++;
    if (sim_observe(sim) > 0 && crash != CRASH_BEFORE_ANSWERS) {
        sim_fail(sim, "something is there that was not committed");
    }
    sim_compare_log(sim);
    for (size_t i = 0; i < ACTORS; i++) {
        actor_disconnected(&sim->actors[i]);
    }
}
