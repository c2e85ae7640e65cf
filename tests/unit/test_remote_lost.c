/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of each kind of request when the connection of a remote handle is lost: before it
 * was sent, after it was sent, or because nobody answers; and when memory fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/handle.h"
#include "faults.h"
#include "lockstep.h"
#include "scripted_peer.h"

static const ls_payload payload = {LS_CBOR, {"\x01", 1}};

static ls *open_handle(const char *url, int64_t timeout_ms)
{
    ls_options options = LS_OPTIONS_INIT;
    ls *handle = NULL;
    options.timeout_ms = timeout_ms;
    if (ls_open(&handle, url, &options) != 0) {
        fail_msg("%s: %s", url, ls_last_error()->text);
    }
    return handle;
}

static void serve_all(struct peer_link *link, void *context)
{
    (void)context;
    while (link_next(link)) {
        link_answer(link);
    }
}

#define THREADS 16
#define ROUNDS  200

struct caller {
    ls *handle;
    uint64_t base;
    int wrong;
};

static void *call_often(void *argument)
{
    struct caller *caller = argument;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t sent = caller->base + i;
        uint64_t clock = 0;
        int rc = ls_clock_witness(caller->handle, sent, &clock);
        caller->wrong += rc != 0 || clock != sent;
    }
    return NULL;
}

static int do_clock_get(ls *handle)
{
    uint64_t clock;
    return ls_clock_get(handle, &clock);
}

static int do_clock_next(ls *handle)
{
    uint64_t clock;
    return ls_clock_next(handle, 3, &clock);
}

static int do_clock_witness(ls *handle)
{
    uint64_t clock;
    return ls_clock_witness(handle, 3, &clock);
}

static int do_post(ls *handle)
{
    return ls_post(handle, 'U', 0, payload, NULL, NULL);
}

static int do_read(ls *handle)
{
    ls_messages *messages;
    int rc = ls_read(handle, 1, NULL, 5, 0, &messages);
    if (rc == 0) {
        ls_messages_free(messages);
    }
    return rc;
}

static int do_info(ls *handle)
{
    ls_box_info info;
    return ls_box_info_get(handle, &info);
}

static int do_trim(ls *handle)
{
    return ls_trim_before(handle, 4, NULL);
}

static int do_join(ls *handle)
{
    return ls_node_join(handle, "a", NULL, NULL);
}

static int do_beat(ls *handle)
{
    return ls_node_beat(handle, NULL);
}

static int do_ack(ls *handle)
{
    return ls_node_ack(handle, 1, NULL);
}

static int do_set_state(ls *handle)
{
    return ls_node_set_state(handle, LS_NODE_LEAVING, NULL);
}

static int do_leave(ls *handle)
{
    return ls_node_leave(handle, NULL);
}

static int do_node_get(ls *handle)
{
    ls_nodes *nodes;
    int rc = ls_node_get(handle, "a", &nodes);
    if (rc == 0) {
        ls_nodes_free(nodes);
    }
    return rc;
}

static int do_node_list(ls *handle)
{
    ls_nodes *nodes;
    int rc = ls_node_list(handle, &nodes);
    if (rc == 0) {
        ls_nodes_free(nodes);
    }
    return rc;
}

static int do_put(ls *handle)
{
    return ls_put(handle, bytes_of_text("k"), bytes_of_text("v"), NULL, NULL);
}

static int do_get(ls *handle)
{
    ls_objects *objects;
    int rc = ls_get(handle, bytes_of_text("k"), &objects);
    if (rc == 0) {
        ls_objects_free(objects);
    }
    return rc;
}

static int do_del(ls *handle)
{
    return ls_del(handle, bytes_of_text("k"), NULL);
}

static int do_scan(ls *handle)
{
    ls_objects *objects;
    int rc = ls_scan(handle, bytes_of_text("k"), bytes_of_text(""), 5, &objects);
    if (rc == 0) {
        ls_objects_free(objects);
    }
    return rc;
}

static int do_batch(ls *handle)
{
    ls_batch *batch;
    int rc = ls_batch_new(handle, &batch);
    if (rc == 0) {
        rc = ls_batch_put(batch, bytes_of_text("k"), bytes_of_text("v"));
        rc = rc != 0 ? rc : ls_batch_commit(batch, NULL);
        ls_batch_free(batch);
    }
    return rc;
}

static int do_relay(ls *handle)
{
    return ls_relay_all(handle, payload, NULL);
}

static const struct operation {
    const char *command;
    int (*run)(ls *handle);
    bool repeats;
} operations[] = {
    {"CLOCK.GET", do_clock_get, true},
    {"CLOCK.NEXT", do_clock_next, true},
    {"CLOCK.WITNESS", do_clock_witness, true},
    {"MSG.POST", do_post, false},
    {"MSG.READ", do_read, true},
    {"MSG.INFO", do_info, true},
    {"MSG.TRIM", do_trim, true},
    {"NODE.JOIN", do_join, true},
    {"NODE.BEAT", do_beat, true},
    {"NODE.ACK", do_ack, true},
    {"NODE.STATE", do_set_state, false},
    {"NODE.LEAVE", do_leave, false},
    {"NODE.GET", do_node_get, true},
    {"NODE.LIST", do_node_list, true},
    {"OBJ.PUT", do_put, false},
    {"OBJ.GET", do_get, true},
    {"OBJ.DEL", do_del, false},
    {"OBJ.SCAN", do_scan, true},
    {"OBJ.TXN", do_batch, false},
    {"RELAY.SEND", do_relay, false},
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

/* How often the command under test came, and what the peer does with the first one. */
struct cut {
    const char *command;
    const char *reply; /* NULL: cuts the connection */
    atomic_int seen;
};

static void cut_first(struct peer_link *link, void *context)
{
    struct cut *cut = context;
    while (link_next(link)) {
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

static void a_request_cut_off_before_its_answer_is_repeated_only_where_that_is_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        struct scripted_peer peer;
        struct cut cut = {.command = operations[i].command};
        peer_start(&peer, cut_first, &cut);
        ls *handle = open_handle(peer.url, 0);
        int rc = operations[i].run(handle);
        int seen = atomic_load(&cut.seen);
        if (operations[i].repeats ? rc != 0 || seen != 2 : rc != LS_ECONN || seen != 1) {
            fail_msg("%s: %d (%s), sent %d times", operations[i].command, rc, ls_last_error()->text,
                     seen);
        }
        if (rc != 0) {
            assert_non_null(strstr(ls_last_error()->text, "not known"));
        }
        assert_int_equal(operations[i].run(handle), 0);
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void a_request_refused_by_a_server_that_stops_or_starts_is_sent_again(void **state)
{
    static const char *const replies[] = {"-SHUTDOWN the server is stopping",
                                          "-LOADING the server is starting"};
    (void)state;

    for (size_t i = 0; i < OPERATIONS * 2; i++) {
        const struct operation *operation = &operations[i / 2];
        struct scripted_peer peer;
        struct cut cut = {.command = operation->command, .reply = replies[i % 2]};
        peer_start(&peer, cut_first, &cut);
        ls *handle = open_handle(peer.url, 0);
        int rc = operation->run(handle);
        if (rc != 0 || atomic_load(&cut.seen) != 2 || peer_count(&peer) != 2) {
            fail_msg("%s: %d (%s), sent %d times on %d connections", operation->command, rc,
                     ls_last_error()->text, atomic_load(&cut.seen), peer_count(&peer));
        }
        ls_close(handle);
        peer_stop(&peer);
    }
}

/* Cuts the first connection after its hello, and says so. */
static void cut_idle(struct peer_link *link, void *context)
{
    int *told = context;
    link_hello(link);
    if (link->number == 0) {
        shutdown(link->fd, SHUT_RDWR);
        (void)!write(*told, "x", 1);
        return;
    }
    serve_all(link, NULL);
}

static void a_connection_lost_while_idle_takes_no_request_with_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        struct scripted_peer peer;
        int ends[2];
        char told;
        assert_int_equal(pipe(ends), 0);
        peer_start(&peer, cut_idle, &ends[1]);
        ls *handle = open_handle(peer.url, 0);
        assert_int_equal(read(ends[0], &told, 1), 1);
        int rc = operations[i].run(handle);
        if (rc != 0) {
            fail_msg("%s: %d %s", operations[i].command, rc, ls_last_error()->text);
        }
        ls_close(handle);
        peer_stop(&peer);
        close(ends[0]);
        close(ends[1]);
    }
}

#define LARGE_SIZE   1000000
#define LARGE_EXTRAS 36 /* what stands around the value in the request */

/* Takes in nothing on the first connection, and cuts it; counts the bytes of the others and answers
 * each whole request. */
static void take_nothing_first(struct peer_link *link, void *context)
{
    atomic_int *entered = context;
    static char bytes[1 << 16];
    link_hello(link);
    if (link->number == 0) {
        while (atomic_load(entered) < THREADS) {
        }
        return;
    }
    size_t size = link->size - link->used;
    ssize_t more;
    while ((more = recv(link->fd, bytes, sizeof bytes, 0)) > 0) {
        for (size += (size_t)more; size >= LARGE_SIZE + LARGE_EXTRAS;) {
            size -= LARGE_SIZE + LARGE_EXTRAS;
            link_say(link, ":42\r\n");
        }
    }
}

static atomic_int large_entered;

static void *put_one_large(void *argument)
{
    static const char value[LARGE_SIZE];
    struct caller *caller = argument;
    atomic_fetch_add(&large_entered, 1);
    caller->wrong =
        ls_put(caller->handle, bytes_of_text("k"), bytes_of(value, sizeof value), NULL, NULL);
    return NULL;
}

static void a_request_that_the_kernel_did_not_take_whole_is_sent_again(void **state)
{
    struct scripted_peer peer;
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    int done = 0;
    (void)state;

    /* What sockets hold is far less than all of the requests: some were never sent whole. */
    peer_start(&peer, take_nothing_first, &large_entered);
    ls *handle = open_handle(peer.url, 60000);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){handle, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, put_one_large, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(callers[i].wrong == 0 || callers[i].wrong == LS_ECONN);
        done += callers[i].wrong == 0;
    }
    assert_true(done > 0);
    ls_close(handle);
    peer_stop(&peer);
}

static void say_nothing(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    while (link_next(link)) {
    }
}

static void a_call_without_an_answer_ends_when_its_time_is_up(void **state)
{
    static int (*const calls[])(ls * handle) = {do_clock_get, do_post, do_join, do_batch};
    (void)state;

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct scripted_peer peer;
        peer_start(&peer, say_nothing, NULL);
        ls *handle = open_handle(peer.url, 300);
        uint64_t begin = monotonic_ms();
        int rc = calls[i](handle);
        uint64_t took = monotonic_ms() - begin;
        if (rc != LS_ECONN || took < 300 || took > 60000) {
            fail_msg("call %zu: %d after %llu ms", i, rc, (unsigned long long)took);
        }
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void *expect_lost(void *argument)
{
    struct caller *caller = argument;
    uint64_t clock;
    caller->wrong += ls_clock_witness(caller->handle, 1, &clock) != LS_ECONN;
    caller->wrong += ls_post(caller->handle, 'U', 0, payload, NULL, &clock) != LS_ECONN;
    return NULL;
}

static void threads_that_wait_together_for_nothing_all_end(void **state)
{
    struct scripted_peer peer;
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    (void)state;

    peer_start(&peer, say_nothing, NULL);
    ls *handle = open_handle(peer.url, 300);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){handle, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, expect_lost, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    ls_close(handle);
    peer_stop(&peer);
}

/* Each connection answers a few requests and is then cut with others under way. */
static void answer_seven(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    for (int i = 0; i < 7 && link_next(link); i++) {
        link_say(link, ":%s\r\n", link_argument(link, 1));
    }
}

static void sixteen_threads_outlive_many_lost_connections(void **state)
{
    struct scripted_peer peer;
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    (void)state;

    peer_start(&peer, answer_seven, NULL);
    ls *handle = open_handle(peer.url, 60000);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){handle, (uint64_t)i * 1000000, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    ls_close(handle);
    peer_stop(&peer);
}

/* ---- memory ---- */

/* Everything once, with the n-th allocation failing. What fails says so; nothing else goes wrong.
 */
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
        if (rc != 0 && rc != LS_ENOMEM && rc != LS_ECONN) {
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
        cmocka_unit_test(a_request_cut_off_before_its_answer_is_repeated_only_where_that_is_safe),
        cmocka_unit_test(a_request_refused_by_a_server_that_stops_or_starts_is_sent_again),
        cmocka_unit_test(a_connection_lost_while_idle_takes_no_request_with_it),
        cmocka_unit_test(a_request_that_the_kernel_did_not_take_whole_is_sent_again),
        cmocka_unit_test(a_call_without_an_answer_ends_when_its_time_is_up),
        cmocka_unit_test(threads_that_wait_together_for_nothing_all_end),
        cmocka_unit_test(sixteen_threads_outlive_many_lost_connections),
        cmocka_unit_test(each_allocation_may_fail_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
