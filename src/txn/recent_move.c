/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a frozen generation in byte order: its runs, merged by a heap of their next keys. */
#include <assert.h>
#include <stdlib.h>

#include "txn/recent_state.h"

void recent_heads_free(struct recent *r)
{
    free(r->heads);
    r->heads = NULL;
    r->head_count = r->ahead_count = 0;
    r->taken = r->taken_kept = 0;
}

/* The next key of a run that has one. */
static struct recent_key *run_key(const struct run *run)
{
    return run->places[run->at].key;
}

/* Its word; keys that came after the run was sorted may have made the shared part shorter. */
static uint64_t run_word(const struct generation *g, const struct run *run)
{
    return run->shared == g->shared ? run->places[run->at].word : generation_word(g, run_key(run));
}

static bool head_less(const struct head *a, const struct head *b)
{
    if (a->word != b->word) {
        return a->word < b->word;
    }
    return generation_compare(run_key(a->run), run_key(b->run)) < 0;
}

static void sift_down(struct recent *r, size_t at)
{
    struct head *heads = r->heads;
    struct head moved = heads[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= r->head_count) {
            break;
        }
        if (child + 1 < r->head_count && head_less(&heads[child + 1], &heads[child])) {
            child++;
        }
        if (!head_less(&heads[child], &moved)) {
            break;
        }
        heads[at] = heads[child];
        at = child;
    }
    heads[at] = moved;
}

void recent_heads_make(struct recent *r)
{
    r->head_count = 0;
    for (struct run *run = r->frozen->runs; run != NULL; run = run->after) {
        if (run->at < run->count) {
            r->heads[r->head_count++] = (struct head){run_word(r->frozen, run), run};
        }
    }
    for (size_t i = r->head_count / 2; i-- > 0;) {
        sift_down(r, i);
    }
}

static struct ahead heap_take(struct recent *r)
{
    struct run *run = r->heads[0].run;
    struct ahead out = {run, run_key(run)};
    run->at++;
    if (run->at < run->count) {
        r->heads[0].word = run_word(r->frozen, run);
    } else {
        r->heads[0] = r->heads[--r->head_count];
    }
    if (r->head_count > 0) {
        sift_down(r, 0);
    }
    return out;
}

static struct ahead *ahead_at(struct recent *r, size_t index)
{
    return &r->ahead[(r->ahead_at + index) % AHEAD];
}

/* Has keys fetched from memory some steps before they are taken, and their versions when half of
 * the steps are left. */
static void look_ahead(struct recent *r)
{
    while (r->ahead_count < AHEAD && r->head_count > 0) {
        struct ahead next = heap_take(r);
        __builtin_prefetch(next.key);
        *ahead_at(r, r->ahead_count++) = next;
    }
    if (r->ahead_count > AHEAD / 2) {
        __builtin_prefetch(ahead_at(r, AHEAD / 2)->key->newest);
    }
}

const struct recent_key *recent_peek(struct recent *r)
{
    if (r->frozen == NULL) {
        return NULL;
    }
    look_ahead(r);
    return r->ahead_count > 0 ? ahead_at(r, 0)->key : NULL;
}

void recent_take(struct recent *r)
{
    r->ahead_at = (r->ahead_at + 1) % AHEAD;
    r->ahead_count--;
    r->taken++;
}

void recent_taken(struct recent *r)
{
    if (r->frozen == NULL || r->taken == r->taken_kept) {
        return;
    }
    for (struct run *run = r->frozen->runs; run != NULL; run = run->after) {
        run->kept = run->at;
    }
    for (size_t i = 0; i < r->ahead_count; i++) {
        ahead_at(r, i)->run->kept--;
    }
    r->taken_kept = r->taken;
}

void recent_take_again(struct recent *r)
{
    if (r->frozen == NULL || r->taken == r->taken_kept) {
        return;
    }
    for (struct run *run = r->frozen->runs; run != NULL; run = run->after) {
        run->at = run->kept;
    }
    r->ahead_count = 0;
    r->taken = r->taken_kept;
    recent_heads_make(r);
}
