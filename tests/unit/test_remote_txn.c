/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of a remote handle against a server that is told what to say: what is sent again and
 * what never is, what becomes of an open transaction whose connection is lost, and that one that
 * waits holds up nobody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/handle.h"
#include "faults.h"
#include "lockstep.h"
#include "scripted_peer.h"

static ls *open_handle(const struct scripted_peer *peer, int64_t timeout_ms)
{
    ls_options options = LS_OPTIONS_INIT;
    ls *handle = NULL;
    options.timeout_ms = timeout_ms;
    if (ls_open(&handle, peer->url, &options) != 0) {
        fail_msg("%s: %s", peer->url, ls_last_error()->text);
    }
    return handle;
}

static int begin(ls *handle, ls_transaction **out)
{
    const ls_txn_key keys[] = {{bytes_of_text("k"), LS_TXN_EAGER | LS_TXN_WILL},
                               {bytes_of_text("l"), LS_TXN_LAZY}};
    return ls_txn_begin(handle, keys, 2, NULL, out);
}

static int do_begin(ls *handle)
{
    ls_transaction *transaction;
    int rc = begin(handle, &transaction);
    if (rc == 0) {
        ls_txn_abort(transaction);
    }
    return rc;
}

static int do_commit(ls *handle)
{
    ls_transaction *transaction;
    int rc = begin(handle, &transaction);
    if (rc != 0) {
        return rc;
    }
    rc = ls_txn_put(transaction, bytes_of_text("k"), bytes_of_text("w"));
    if (rc != 0) {
        ls_txn_abort(transaction);
        return rc;
    }
    return ls_txn_commit(transaction);
}

static int do_read(ls *handle)
{
    ls_transaction *transaction;
    ls_bytes value;
    int rc = begin(handle, &transaction);
    if (rc == 0) {
        rc = ls_txn_read(transaction, bytes_of_text("l"), &value);
        ls_txn_abort(transaction);
    }
    return rc;
}

static int do_run(ls *handle)
{
    const ls_txn_operation operation = {.kind = LS_TXN_GET, .key = bytes_of_text("k")};
    ls_values *values;
    int rc = ls_txn_execute(handle, &operation, 1, &values);
    if (rc == 0) {
        ls_values_free(values);
    }
    return rc;
}

static int do_get(ls *handle)
{
    const ls_bytes key = bytes_of_text("k");
    ls_values *values;
    int rc = ls_txn_get(handle, 41, &key, 1, &values);
    if (rc == 0) {
        ls_values_free(values);
    }
    return rc;
}

static int do_explain(ls *handle)
{
    ls_txn_marks *marks;
    int rc = ls_txn_explain(handle, 42, NULL, &marks);
    if (rc == 0) {
        ls_txn_marks_free(marks);
    }
    return rc;
}

/* What a connection that is cut in the middle comes to. */
static const struct operation {
    const char *command;
    int (*run)(ls *handle);
    int cut;  /* what it gives where the first connection is cut before the answer */
    int sent; /* how often the command is then sent */
} operations[] = {
    {"TXN.BEGIN", do_begin, 0, 2},          {"TXN.READ", do_read, LS_ETXNEXPIRED, 1},
    {"TXN.COMMIT", do_commit, LS_ECONN, 1}, {"TXN.ABORT", do_begin, 0, 1},
    {"TXN.RUN", do_run, LS_ECONN, 1},       {"TXN.GET", do_get, 0, 2},
    {"TXN.EXPLAIN", do_explain, 0, 2},
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

/* How often the command under test came, and what the peer does with the first one. */
struct cut {
    const char *command;
    const char *reply; /* NULL: cuts the connection */
    atomic_int seen;
    atomic_int aborts;
};

static void cut_first(struct peer_link *link, void *context)
{
    struct cut *cut = context;
    while (link_next(link)) {
        if (link_is(link, "TXN.ABORT")) {
            atomic_fetch_add(&cut->aborts, 1);
        }
        if (link_is(link, cut->command) && atomic_fetch_add(&cut->seen, 1) == 0) {
            if (cut->reply == NULL) {
                return;
            }
            link_say(link, "%s\r\n", cut->reply);
        } else {
            link_answer(link);
        }
    }
}

static void what_is_cut_off_is_sent_again_where_that_is_safe_and_else_told_honestly(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        struct scripted_peer peer;
        struct cut cut = {.command = operations[i].command};
        peer_start(&peer, cut_first, &cut);
        ls *handle = open_handle(&peer, 0);
        int rc = operations[i].run(handle);
        int seen = atomic_load(&cut.seen);
        if (rc != operations[i].cut || seen != operations[i].sent) {
            fail_msg("%s: %d (%s), sent %d times", operations[i].command, rc, ls_last_error()->text,
                     seen);
        }
        if (rc == LS_ECONN) {
            assert_non_null(strstr(ls_last_error()->text, "not known"));
        }
        assert_int_equal(operations[i].run(handle), 0);
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void what_a_server_that_stops_did_not_do_is_asked_of_the_next(void **state)
{
    static const struct {
        const char *command;
        int (*run)(ls *handle);
    } again[] = {{"TXN.BEGIN", do_begin}, {"TXN.RUN", do_run}, {"TXN.GET", do_get}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct scripted_peer peer;
        struct cut cut = {.command = again[i].command, .reply = "-SHUTDOWN the server is stopping"};
        peer_start(&peer, cut_first, &cut);
        ls *handle = open_handle(&peer, 0);
        assert_int_equal(again[i].run(handle), 0);
        assert_int_equal(atomic_load(&cut.seen), 2);
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void a_refused_commit_gives_the_refusal_and_closes_the_transaction(void **state)
{
    struct scripted_peer peer;
    struct cut cut = {.command = "TXN.COMMIT", .reply = "-NOSPACE the disk is full"};
    (void)state;
    peer_start(&peer, cut_first, &cut);
    ls *handle = open_handle(&peer, 0);
    assert_int_equal(do_commit(handle), LS_ENOSPACE);
    assert_int_equal(atomic_load(&cut.aborts), 1);
    assert_int_equal(do_commit(handle), 0);
    assert_int_equal(atomic_load(&cut.aborts), 1);
    ls_close(handle);
    peer_stop(&peer);
}

/* Cuts the connection on which a transaction is begun, right after that, and counts what else comes
 * for a transaction. */
static void cut_open(struct peer_link *link, void *context)
{
    atomic_int *later = context;
    while (link_next(link)) {
        bool begins = link_is(link, "TXN.BEGIN");
        if (link_is(link, "TXN.READ") || link_is(link, "TXN.COMMIT")) {
            atomic_fetch_add(later, 1);
        }
        link_answer(link);
        if (begins) {
            return;
        }
    }
}

static void an_open_transaction_is_over_with_its_connection(void **state)
{
    struct scripted_peer peer;
    atomic_int later = 0;
    ls_transaction *transactions[2];
    ls_bytes value;
    (void)state;
    peer_start(&peer, cut_open, &later);
    ls *handle = open_handle(&peer, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(begin(handle, &transactions[i]), 0);
        /* Until the loss is seen; the eager value stays. */
        int rc;
        while ((rc = ls_txn_read(transactions[i], bytes_of_text("l"), &value)) == 0) {
        }
        assert_int_equal(rc, LS_ETXNEXPIRED);
        assert_int_equal(ls_txn_read(transactions[i], bytes_of_text("k"), &value), 0);
        assert_true(bytes_equal(value, bytes_of_text("v")));
    }
    ls_txn_abort(transactions[0]);
    assert_int_equal(ls_txn_put(transactions[1], bytes_of_text("k"), bytes_of_text("w")), 0);
    assert_int_equal(ls_txn_commit(transactions[1]), LS_ETXNEXPIRED);
    assert_int_equal(atomic_load(&later), 0);
    ls_close(handle);
    peer_stop(&peer);
}

/* Holds back the answer to a read until a commit was answered on another connection. */
struct held {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool committed;
};

static void hold_read(struct peer_link *link, void *context)
{
    struct held *held = context;
    while (link_next(link)) {
        if (link_is(link, "TXN.GET")) {
            pthread_mutex_lock(&held->lock);
            while (!held->committed) {
                pthread_cond_wait(&held->changed, &held->lock);
            }
            pthread_mutex_unlock(&held->lock);
        }
        link_answer(link);
        if (link_is(link, "TXN.COMMIT")) {
            pthread_mutex_lock(&held->lock);
            held->committed = true;
            pthread_cond_broadcast(&held->changed);
            pthread_mutex_unlock(&held->lock);
        }
    }
}

static void *get_waiting(void *argument)
{
    static int failed = LS_EINVAL;
    return do_get(argument) == 0 ? NULL : &failed;
}

static void a_read_that_waits_holds_up_nobody_else(void **state)
{
    struct scripted_peer peer;
    struct held held = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    void *result;
    uint64_t clock;
    (void)state;
    peer_start(&peer, hold_read, &held);
    ls *handle = open_handle(&peer, 60000);
    assert_int_equal(pthread_create(&thread, NULL, get_waiting, handle), 0);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_int_equal(do_commit(handle), 0);
    pthread_join(thread, &result);
    assert_null(result);
    ls_close(handle);
    peer_stop(&peer);
}

static void serve_all(struct peer_link *link, void *context)
{
    (void)context;
    while (link_next(link)) {
        link_answer(link);
    }
}

static void transactions_one_after_the_other_use_one_connection(void **state)
{
    struct scripted_peer peer;
    (void)state;
    peer_start(&peer, serve_all, NULL);
    ls *handle = open_handle(&peer, 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(do_commit(handle), 0);
        assert_int_equal(do_read(handle), 0);
        assert_int_equal(do_run(handle), 0);
        assert_int_equal(do_get(handle), 0);
    }
    assert_int_equal(peer_count(&peer), 2); /* and the one of the handle */
    ls_close(handle);
    peer_stop(&peer);
}

static void an_answer_of_another_shape_is_refused(void **state)
{
    static const struct {
        const char *command, *reply;
        int (*run)(ls *handle);
    } wrong[] = {
        {"TXN.BEGIN", ":42", do_begin},
        {"TXN.BEGIN", "*2\r\n:42\r\n:1", do_begin},
        {"TXN.BEGIN", "*2\r\n:42\r\n*0", do_begin},
        {"TXN.BEGIN", "*2\r\n$1\r\nx\r\n*1\r\n_", do_begin},
        {"TXN.READ", "*0", do_read},
        {"TXN.RUN", "*2\r\n_\r\n_", do_run},
        {"TXN.RUN", "*1\r\n*0", do_run},
        {"TXN.GET", "$1\r\nv", do_get},
        {"TXN.GET", "*1\r\n:1", do_get},
        {"TXN.EXPLAIN", ":1", do_explain},
        {"TXN.EXPLAIN", "*0", do_explain},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct scripted_peer peer;
        struct cut cut = {.command = wrong[i].command, .reply = wrong[i].reply};
        peer_start(&peer, cut_first, &cut);
        ls *handle = open_handle(&peer, 0);
        int rc = wrong[i].run(handle);
        if (rc != LS_EPROTO) {
            fail_msg("%s %s: %d (%s)", wrong[i].command, wrong[i].reply, rc, ls_last_error()->text);
        }
        assert_int_equal(wrong[i].run(handle), 0);
        ls_close(handle);
        peer_stop(&peer);
    }
}

/* ---- memory ---- */

static void run_all(void *context, long n)
{
    const struct scripted_peer *peer = context;
    ls *handle = NULL;
    (void)n;
    int rc = ls_open(&handle, peer->url, NULL);
    if (rc != 0) {
        assert_int_equal(rc, LS_ENOMEM);
        return;
    }
    for (size_t i = 0; i < OPERATIONS; i++) {
        rc = operations[i].run(handle);
        /* A run whose results found no memory was done all the same. */
        bool done = rc == LS_EINTERNAL && operations[i].run == do_run;
        if (rc != 0 && rc != LS_ENOMEM && rc != LS_ETXNEXPIRED && !done) {
            fail_msg("%s: %d %s", operations[i].command, rc, ls_last_error()->text);
        }
    }
    ls_close(handle);
}

static void each_allocation_may_fail_once(void **state)
{
    struct scripted_peer peer;
    (void)state;
    peer_start(&peer, serve_all, NULL);
    faults_each_allocation(run_all, &peer);
    peer_stop(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_cut_off_is_sent_again_where_that_is_safe_and_else_told_honestly),
        cmocka_unit_test(what_a_server_that_stops_did_not_do_is_asked_of_the_next),
        cmocka_unit_test(a_refused_commit_gives_the_refusal_and_closes_the_transaction),
        cmocka_unit_test(an_open_transaction_is_over_with_its_connection),
        cmocka_unit_test(a_read_that_waits_holds_up_nobody_else),
        cmocka_unit_test(transactions_one_after_the_other_use_one_connection),
        cmocka_unit_test(an_answer_of_another_shape_is_refused),
        cmocka_unit_test(each_allocation_may_fail_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
