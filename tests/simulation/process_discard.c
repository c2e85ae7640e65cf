/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a process may discard a message: by a trim that is under way, or by its retention. */
#include "process.h"

/* What is to be discarded has a reason: a trim that is under way, or the retention. */
static bool retention_takes(const struct sim *sim, const struct process *process,
                            const struct entry *entry)
{
    const struct retention *keep = &process->keep;
    const struct oracle *o = &sim->oracle;
    uint64_t held = UINT64_MAX;
    if (keep->bytes != 0 && o->bytes > keep->bytes) {
        cover(COVER_DISCARDED_BYTES);
        return true;
    }
    for (int i = 0; keep->hold && i < HOSTS; i++) {
        if (o->nodes[i].there && o->nodes[i].state == NODE_UP && o->nodes[i].clock < held) {
            held = o->nodes[i].clock;
        }
    }
    if (entry->clock > held) {
        return false;
    }
    if (keep->count != 0 && o->count > keep->count) {
        cover(COVER_DISCARDED_COUNT);
        return true;
    }
    if (keep->age_ms != 0 && entry->timestamp_ns + keep->age_ms * MS < process_wall_ns(process)) {
        cover(COVER_DISCARDED_AGE);
        return true;
    }
    return false;
}

static bool trim_takes(uint64_t before, uint64_t older_ns, const struct entry *entry)
{
    if (entry->clock < before || entry->timestamp_ns < older_ns) {
        cover(COVER_DISCARDED_TRIM);
        return true;
    }
    return false;
}

bool process_may_discard(struct sim *sim, struct process *process, const struct entry *entry)
{
    if (process->embedded) {
        const struct op *trim = process->trimming;
        /* The library takes an age in whole milliseconds. */
        return (trim != NULL &&
                trim_takes(trim->from, trim->older_ns == 0 ? 0 : trim->older_ns + MS, entry)) ||
               retention_takes(sim, process, entry);
    }
    for (const struct pending *pending = process->pendings; pending != NULL;
         pending = pending->next) {
        const struct request *r = &pending->request;
        if (r->kind == REQUEST_TRIM && trim_takes(r->in.trim.before, r->in.trim.older_ns, entry)) {
            return true;
        }
        if (r->kind == REQUEST_RETAIN && retention_takes(sim, process, entry)) {
            return true;
        }
    }
    return false;
}
