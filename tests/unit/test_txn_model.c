/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random transactions against the simplest model there is: what each read must have been is looked
 * up, when all is over, among the writes that were committed, as if every transaction had run alone
 * in the order of the timestamps. Three processes share the store; calls wait, are given up, run
 * past their time, go on in another process; processes are killed; calls of the store fail.
 */
#include <stdio.h>
#include <stdlib.h>

#include "arbitrary.h"
#include "faulty_store.h"
#include "txn_world.h"

#define KEYS       6 /* the last two hold numbers */
#define NUMBERS    4
#define JOBS       24
#define OPEN       12
#define WRITES_MAX 20000
#define READS_MAX  40000
#define VALUE_SIZE 24

static const char *const key_names[KEYS] = {"a", "b", "c\377", "dd", "n", "m"};

struct written {
    uint64_t timestamp;
    unsigned key;
    bool absent;
    char value[VALUE_SIZE];
};

struct seen {
    uint64_t below; /* it is of the newest write below this timestamp */
    unsigned key;
    bool absent;
    char value[VALUE_SIZE];
};

struct transacting {
    bool open;
    uint64_t life; /* told from others that had its place */
    uint64_t timestamp;
    unsigned kinds[KEYS];
};

struct trial {
    struct world w;
    bool faults;
    uint64_t random;
    uint64_t next_value;
    struct job jobs[JOBS];
    char texts[JOBS][JOB_KEYS][VALUE_SIZE]; /* values that jobs point to */
    bool used[JOBS];
    size_t process[JOBS];
    struct transacting *owner[JOBS];
    uint64_t life[JOBS]; /* of the owner */
    uint64_t lives;
    struct transacting open[OPEN];
    struct written writes[WRITES_MAX];
    size_t write_count;
    struct seen reads[READS_MAX];
    size_t read_count;
    uint64_t waited, failed, ran;
};

static uint64_t draw(struct trial *t, uint64_t below)
{
    return random_below(&t->random, below);
}

/* ---- what was seen and written ---- */

static unsigned key_of(ls_bytes key)
{
    unsigned i = 0;
    while (!bytes_equal(key, bytes_of_text(key_names[i]))) {
        i++;
        assert_true(i < KEYS);
    }
    return i;
}

static void keep_value(char out[VALUE_SIZE], ls_bytes value)
{
    assert_true(value.size < VALUE_SIZE);
    if (value.size > 0) {
        memcpy(out, value.data, value.size);
    }
    out[value.size] = '\0';
}

static void add_read(struct trial *t, uint64_t below, ls_bytes key, const struct txn_value *value)
{
    assert_true(t->read_count < READS_MAX);
    struct seen *seen = &t->reads[t->read_count++];
    *seen = (struct seen){.below = below, .key = key_of(key), .absent = value->absent};
    keep_value(seen->value, value->value);
}

static void add_write(struct trial *t, uint64_t timestamp, ls_bytes key, bool absent,
                      ls_bytes value)
{
    assert_true(t->write_count < WRITES_MAX);
    struct written *written = &t->writes[t->write_count++];
    *written = (struct written){.timestamp = timestamp, .key = key_of(key), .absent = absent};
    keep_value(written->value, value);
}

/* A RUN that was done: its operations once more, on what it should have read, as a read of each
 * result. What it wrote is added at the same time. */
static void add_run(struct trial *t, const struct job *job)
{
    uint64_t timestamp = job->request.clock;
    bool wrote = false;
    struct txn_value now[KEYS];
    bool known[KEYS] = {false}, changed[KEYS] = {false};
    for (size_t i = 0; i < job->call.op_count; i++) {
        wrote = wrote || (job->ops[i].kind != TXN_OP_GET && job->ops[i].kind != TXN_OP_CHECK);
    }
    for (size_t i = 0; i < job->call.op_count; i++) {
        const struct txn_op *op = &job->ops[i];
        unsigned key = key_of(op->key);
        struct txn_value base = {.value = op->value};
        char text[VALUE_SIZE];
        switch (op->kind) {
        case TXN_OP_INCR:
            (void)snprintf(text, sizeof(text), "%lld", (long long)(op->number - op->amount));
            base.value = bytes_of_text(text);
            if (known[key]) {
                assert_true(now[key].absent ? op->number == op->amount
                                            : bytes_equal(now[key].value, base.value));
            } else if (op->number != op->amount) { /* 0 and absent are the same to it */
                add_read(t, timestamp, op->key, &base);
            }
            now[key] = op->result;
            changed[key] = true;
            break;
        case TXN_OP_GET:
            base = op->result;
            /* fall through */
        case TXN_OP_CHECK:
            if (known[key]) {
                assert_int_equal(now[key].absent, base.absent);
                assert_true(base.absent || bytes_equal(now[key].value, base.value));
            } else {
                add_read(t, wrote ? timestamp : timestamp + 1, op->key, &base);
            }
            now[key] = base;
            break;
        default:
            now[key] = (struct txn_value){.value = op->value, .absent = op->kind == TXN_OP_DEL};
            changed[key] = true;
        }
        known[key] = true;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        if (changed[key]) {
            add_write(t, timestamp, bytes_of_text(key_names[key]), now[key].absent, now[key].value);
        }
    }
    t->ran++;
}

static void assert_reads(const struct trial *t)
{
    for (size_t i = 0; i < t->read_count; i++) {
        const struct seen *seen = &t->reads[i];
        const struct written *newest = NULL;
        for (size_t j = 0; j < t->write_count; j++) {
            const struct written *written = &t->writes[j];
            if (written->key == seen->key && written->timestamp < seen->below &&
                (newest == NULL || newest->timestamp < written->timestamp)) {
                newest = written;
            }
        }
        bool absent = newest == NULL || newest->absent;
        if (absent != seen->absent || (!absent && strcmp(newest->value, seen->value) != 0)) {
            fail_msg("read %zu of '%s' below %llu: %s, should be %s of %llu", i,
                     key_names[seen->key], (unsigned long long)seen->below,
                     seen->absent ? "(absent)" : seen->value, absent ? "(absent)" : newest->value,
                     newest != NULL ? (unsigned long long)newest->timestamp : 0);
        }
    }
}

/* ---- jobs ---- */

static void may_fail(struct trial *t, const struct job *job)
{
    int status = job->request.status;
    bool injected =
        status == LS_EIO || status == LS_ENOSPACE || status == LS_ENOMEM || status == LS_ERETRY;
    bool expected = status == LS_ETXNEXPIRED || status == LS_ECONFLICT || status == LS_ETOOOLD;
    if (!expected && !(injected && t->faults)) {
        fail_msg("a call of kind %d: %d: %s", (int)job->call.kind, status, job->error.text);
    }
    t->failed++;
}

static void settle(struct trial *t, size_t i)
{
    struct job *job = &t->jobs[i];
    const struct txn_call *call = &job->call;
    struct transacting gone, *owner = t->owner[i];
    if (owner != NULL && owner->life != t->life[i]) {
        owner = &gone;
    }
    if (job->request.status != 0) {
        may_fail(t, job);
        if (owner != NULL && (call->kind == TXN_BEGIN || job->request.status == LS_ETXNEXPIRED)) {
            owner->open = false;
        }
    } else if (call->kind == TXN_BEGIN || call->kind == TXN_READ || call->kind == TXN_GET) {
        uint64_t below = call->kind == TXN_READ    ? call->timestamp
                         : call->kind == TXN_BEGIN ? job->request.clock
                                                   : job->request.clock + 1;
        for (size_t k = 0; k < call->eager.count; k++) {
            add_read(t, below, call->eager.keys[k], &job->values[k]);
        }
        if (call->kind == TXN_BEGIN) {
            owner->timestamp = job->request.clock;
        }
    } else if (call->kind == TXN_COMMIT) {
        for (size_t k = 0; k < call->write_count; k++) {
            add_write(t, call->timestamp, job->writes[k].key, job->writes[k].del,
                      job->writes[k].value);
        }
        owner->open = false;
    } else if (call->kind == TXN_RUN) {
        add_run(t, job);
    } else if (call->kind == TXN_ABORT) {
        owner->open = false;
    }
    job_free(job);
    t->used[i] = false;
}

static void settle_all(struct trial *t)
{
    for (size_t i = 0; i < JOBS; i++) {
        if (t->used[i] && t->jobs[i].done) {
            settle(t, i);
        }
    }
}

/* A free job, or JOBS. */
static size_t take_job(struct trial *t)
{
    size_t i = 0;
    while (i < JOBS && t->used[i]) {
        i++;
    }
    if (i < JOBS) {
        t->jobs[i] = (struct job){.call = {.kind = TXN_TICK}};
        t->jobs[i].call.values = t->jobs[i].values;
        t->owner[i] = NULL;
    }
    return i;
}

static ls_bytes new_value(struct trial *t, size_t job, size_t place, unsigned key)
{
    char *text = t->texts[job][place];
    (void)snprintf(text, VALUE_SIZE, key < NUMBERS ? "v%llu" : "%llu",
                   (unsigned long long)t->next_value++);
    return bytes_of_text(text);
}

static void submit(struct trial *t, size_t i, size_t process)
{
    t->used[i] = true;
    t->process[i] = process;
    t->life[i] = t->owner[i] != NULL ? t->owner[i]->life : 0;
    struct job *job = &t->jobs[i];
    job->request.owner = job;
    job->request.error = &job->error;
    txn_request(&job->request, &job->call);
    sequencer_submit(t->w.processes[process].sequencer, &job->request, &job->request);
    if (draw(t, 3) > 0) { /* else it waits for more to make a batch */
        world_work(&t->w, process);
        t->waited += !job->done;
        settle_all(t);
    }
}

/* ---- what happens ---- */

static void begin(struct trial *t, size_t i)
{
    struct job *job = &t->jobs[i];
    struct transacting *owner = NULL;
    for (size_t k = 0; k < OPEN; k++) {
        owner = t->open[k].open ? owner : &t->open[k];
    }
    if (owner == NULL) {
        return;
    }
    *owner = (struct transacting){.open = true, .life = ++t->lives};
    const char *names[4][KEYS + 1] = {{NULL}};
    size_t counts[4] = {0}, total = 0;
    static const unsigned kinds[4] = {TXN_EAGER, TXN_LAZY, TXN_WILL, TXN_MAY};
    for (unsigned key = 0; key < KEYS; key++) {
        for (size_t half = 0; half < 2 && total < JOB_KEYS; half++) {
            size_t list = 2 * half + draw(t, 2);
            if (draw(t, 3) == 0) {
                names[list][counts[list]++] = key_names[key];
                owner->kinds[key] |= kinds[list];
                total++;
            }
        }
    }
    if (total == 0) {
        owner->open = false;
        return;
    }
    job_begin(job, names[0], names[1], names[2], names[3]);
    job->call.ttl_ms = 50 + draw(t, 100);
    t->owner[i] = owner;
    submit(t, i, draw(t, t->w.count));
}

static struct transacting *any_open(struct trial *t)
{
    struct transacting *at = &t->open[draw(t, OPEN)];
    return at->open && at->timestamp != 0 ? at : NULL;
}

static void go_on(struct trial *t, size_t i)
{
    struct job *job = &t->jobs[i];
    struct transacting *owner = any_open(t);
    if (owner == NULL) {
        return;
    }
    uint64_t what = draw(t, 10);
    if (what < 4) {
        unsigned key = (unsigned)draw(t, KEYS);
        if ((owner->kinds[key] & (TXN_EAGER | TXN_LAZY)) == 0) {
            return;
        }
        job_read(job, owner->timestamp, key_names[key]);
    } else if (what < 9) {
        job_commit(job, owner->timestamp, NULL);
        for (unsigned key = 0; key < KEYS; key++) {
            if ((owner->kinds[key] & TXN_WILL) != 0 ||
                ((owner->kinds[key] & TXN_MAY) != 0 && draw(t, 2) == 0)) {
                size_t at = job->call.write_count++;
                job->writes[at] = (struct txn_write){.key = bytes_of_text(key_names[key]),
                                                     .del = draw(t, 5) == 0};
                if (!job->writes[at].del) {
                    job->writes[at].value = new_value(t, i, at, key);
                }
            }
        }
    } else if (draw(t, 2) == 0) {
        job_end(job, TXN_ABORT, owner->timestamp);
    } else {
        owner->open = false; /* its owner vanished */
        return;
    }
    t->owner[i] = owner;
    submit(t, i, draw(t, t->w.count));
}

static void run(struct trial *t, size_t i)
{
    struct job *job = &t->jobs[i];
    job_run(job);
    for (size_t count = 1 + draw(t, 4); count > 0; count--) {
        unsigned key = (unsigned)draw(t, KEYS);
        size_t at = job->call.op_count;
        enum txn_op_kind kind = (enum txn_op_kind)draw(t, 4);
        if (kind == TXN_OP_INCR && key < NUMBERS) {
            kind = TXN_OP_CHECK;
        }
        job_op(job, kind, key_names[key], NULL, (int64_t)draw(t, 100) - 50);
        if (kind == TXN_OP_PUT) {
            job->ops[at].value = new_value(t, i, at, key);
        } else if (kind == TXN_OP_CHECK && t->write_count > 0) {
            size_t back = draw(t, t->write_count < 10 ? t->write_count : 10);
            memcpy(t->texts[i][at], t->writes[t->write_count - 1 - back].value, VALUE_SIZE);
            job->ops[at].value = bytes_of_text(t->texts[i][at]);
        }
    }
    submit(t, i, draw(t, t->w.count));
}

static void get(struct trial *t, size_t i)
{
    struct job *job = &t->jobs[i];
    const char *names[KEYS + 1] = {NULL};
    for (size_t count = 0; count < 1 + draw(t, 3); count++) {
        names[count] = key_names[draw(t, KEYS)];
    }
    job_get(job, names);
    size_t process = draw(t, t->w.count);
    uint64_t clock = sequencer_clock(t->w.processes[process].sequencer);
    if (draw(t, 3) == 0 && clock > 0) {
        job->call.has_at = true;
        job->call.timestamp = clock - draw(t, clock < 50 ? clock : 50);
    }
    submit(t, i, process);
}

static void kill_process(struct trial *t)
{
    size_t process = draw(t, t->w.count);
    world_work(&t->w, process);
    settle_all(t);
    faulty_store_fail(t->w.store, 0, 0);
    world_restart(&t->w, process);
    for (size_t i = 0; i < JOBS; i++) {
        if (t->used[i] && t->process[i] == process) {
            assert_int_equal(t->jobs[i].request.status, LS_ESHUTDOWN);
            if (t->jobs[i].call.kind == TXN_BEGIN && t->owner[i]->life == t->life[i]) {
                t->owner[i]->open = false;
            }
            job_free(&t->jobs[i]);
            t->used[i] = false;
        }
    }
}

static void tick(struct trial *t, size_t i)
{
    t->w.now_ms += draw(t, 20);
    submit(t, i, draw(t, t->w.count));
}

static void step(struct trial *t)
{
    size_t i = take_job(t);
    uint64_t what = draw(t, 100);
    if (t->faults && draw(t, 10) == 0) {
        static const int codes[] = {LS_EIO, LS_ENOSPACE, LS_ENOMEM, LS_ERETRY};
        faulty_store_fail(t->w.store, 1 + (long)draw(t, 30), codes[draw(t, 4)]);
    }
    if (i == JOBS || what < 15) {
        if (i < JOBS) {
            tick(t, i);
        } else {
            t->w.now_ms += 20;
            for (size_t p = 0; p < t->w.count; p++) {
                world_work(&t->w, p);
            }
            settle_all(t);
            for (i = 0; i < JOBS && t->used[i]; i++) {
            }
            if (i == JOBS) { /* all wait */
                struct job job = {.call = {.kind = TXN_TICK}};
                for (size_t p = 0; p < t->w.count; p++) {
                    world_submit(&t->w, p, &job);
                    job.done = false;
                }
                settle_all(t);
            }
        }
    } else if (what < 35) {
        begin(t, i);
    } else if (what < 65) {
        go_on(t, i);
    } else if (what < 85) {
        run(t, i);
    } else if (what < 99) {
        get(t, i);
    } else if (draw(t, 4) == 0) {
        kill_process(t);
    }
}

/* Everything ends within the time limits. */
static void drain(struct trial *t)
{
    bool waits = true;
    faulty_store_fail(t->w.store, 0, 0);
    for (size_t round = 0; waits && round < 200; round++) {
        waits = false;
        t->w.now_ms += 1000;
        for (size_t p = 0; p < t->w.count; p++) {
            world_tick(&t->w, p);
        }
        settle_all(t);
        for (size_t i = 0; i < JOBS; i++) {
            waits = waits || t->used[i];
        }
        for (size_t p = 0; p < t->w.count; p++) {
            waits = waits || world_counters(&t->w, p).open > 0;
        }
    }
    assert_false(waits);
}

static void trial_run(uint64_t seed, size_t steps, bool faults)
{
    struct trial *t = calloc(1, sizeof(*t));
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true};
    assert_non_null(t);
    t->random = seed;
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    assert_code(faulty_store_wrap(&store, store), 0, &error);
    t->w.history_age_ms = 30;
    t->w.memory = (uint64_t)400 << draw(t, 7);
    world_open(&t->w, store, WORLD_PROCESSES);
    t->faults = faults;
    for (size_t i = 0; i < steps; i++) {
        step(t);
    }
    drain(t);
    for (unsigned key = 0; key < KEYS; key++) {
        size_t i = take_job(t);
        const char *const names[] = {key_names[key], NULL};
        job_get(&t->jobs[i], names);
        world_run(&t->w, key % t->w.count, &t->jobs[i], 0);
        settle(t, i);
    }
    assert_reads(t);
    assert_true(t->waited > 0 && t->ran > 0 && t->failed > 0);
    world_close(&t->w);
    free(t);
}

static void transactions_are_as_if_they_ran_alone_in_timestamp_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        trial_run(seed, 3000, false);
    }
}

static void so_they_are_where_the_store_fails_now_and_then(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        trial_run(seed, 3000, true);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3) { /* a seed and a number of steps, to look closer */
        trial_run(strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10), true);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_are_as_if_they_ran_alone_in_timestamp_order),
        cmocka_unit_test(so_they_are_where_the_store_fails_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
