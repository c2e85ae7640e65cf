/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A remote handle that is a node: joining again before anything else on a new connection, and
 * numbered posts that are there once whatever happens.
 */
#include <limits.h>
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

#define TEXT_MAX 4096

static const ls_payload one = {LS_CBOR, {"\x01", 1}};
static const ls_payload two = {LS_CBOR, {"\x02", 1}};

/* A server with one node, which numbers posts as lockstepd does. `plan` says what happens to each
 * post with a number, in turn: '.' is taken and answered, 'r' cut off before it is taken, 'a'
 * after, 'g' refused with NOTJOINED; past its end all are answered. `log` is what came, in order.
 */
struct node_server {
    pthread_mutex_t lock;
    const char *plan;
    const char *join_reply; /* of every join but the first; NULL: accepted */
    int joins;
    uint64_t last;
    uint64_t clock;
    uint64_t last_clock;
    uint64_t posted; /* messages there */
    char log[TEXT_MAX];
};

static void note(struct node_server *server, const char *format, const char *text)
{
    size_t size = strlen(server->log);
    snprintf(server->log + size, sizeof server->log - size, format, text);
}

/* false: cut the connection. */
static bool serve_post(struct node_server *server, struct peer_link *link)
{
    const char *text = link_option(link, "SEQ");
    note(server, "post%s ", text != NULL ? text : "");
    if (text == NULL) {
        link_say(link, ":%llu\r\n", (unsigned long long)++server->clock);
        return true;
    }
    uint64_t seq = strtoull(text, NULL, 10);
    char step = *server->plan != '\0' ? *server->plan++ : '.';
    if (step == 'r') {
        return false;
    }
    if (step == 'g') {
        link_say(link, "-NOTJOINED given up\r\n");
        return true;
    }
    if (seq > server->last + 1) {
        link_say(link, "-SEQGAP last=%llu\r\n", (unsigned long long)server->last);
        return true;
    }
    if (seq < server->last) {
        link_say(link, "-DUPLICATE last=%llu\r\n", (unsigned long long)server->last);
        return true;
    }
    if (seq == server->last + 1) {
        server->last = seq;
        server->last_clock = ++server->clock;
        server->posted++;
    }
    if (step == 'a') {
        return false;
    }
    link_say(link, ":%llu\r\n", (unsigned long long)server->last_clock);
    return true;
}

static bool serve_one(struct node_server *server, struct peer_link *link)
{
    if (link_is(link, "MSG.POST")) {
        return serve_post(server, link);
    }
    if (link_is(link, "NODE.JOIN")) {
        note(server, "join:%s ", link_argument(link, 1));
        if (server->joins++ > 0 && server->join_reply != NULL) {
            link_say(link, "%s\r\n", server->join_reply);
        } else {
            link_say(link, "*3\r\n$36\r\n%s\r\n:%llu\r\n:%llu\r\n", link_option(link, "ID"),
                     (unsigned long long)++server->clock, (unsigned long long)server->last);
        }
    } else if (link_is(link, "CLOCK.GET")) {
        note(server, "%s", "clock ");
        link_say(link, ":%llu\r\n", (unsigned long long)server->clock);
    } else if (link_is(link, "OBJ.DEL")) {
        note(server, "%s", "cut ");
        return false;
    } else {
        note(server, "%s ", link_argument(link, 0));
        link_say(link, ":%llu\r\n", (unsigned long long)++server->clock);
    }
    return true;
}

static void serve_node(struct peer_link *link, void *context)
{
    struct node_server *server = context;
    bool goes_on = true;

    link_hello(link);
    while (goes_on && link_next(link)) {
        pthread_mutex_lock(&server->lock);
        goes_on = serve_one(server, link);
        pthread_mutex_unlock(&server->lock);
    }
}

static void start(struct scripted_peer *peer, struct node_server *server, const char *plan)
{
    memset(server, 0, sizeof *server);
    pthread_mutex_init(&server->lock, NULL);
    server->plan = plan;
    peer_start(peer, serve_node, server);
}

/* Always under the same id. */
static void join(ls *handle, const char *host)
{
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16};
    options.id = id;
    assert_int_equal(ls_node_join(handle, host, &options, NULL), 0);
}

static ls *open_joined(const struct scripted_peer *peer, const char *host)
{
    ls *handle;
    assert_int_equal(ls_open(&handle, peer->url, NULL), 0);
    join(handle, host);
    return handle;
}

static int post_once(ls *handle, ls_payload payload, uint64_t *clock)
{
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.once = true;
    return ls_post(handle, 'U', 0, payload, &options, clock);
}

static void stop(struct scripted_peer *peer, struct node_server *server, ls *handle)
{
    ls_close(handle);
    peer_stop(peer);
    pthread_mutex_destroy(&server->lock);
}

/* Loses the connection, whatever the call says. */
static void cut(ls *handle)
{
    assert_int_equal(ls_del(handle, bytes_of_text("k"), NULL), LS_ECONN);
}

static void a_new_connection_joins_again_before_anything_else(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    uint64_t clock;
    (void)state;

    start(&peer, &server, "");
    ls *handle = open_joined(&peer, "a");
    cut(handle);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_string_equal(server.log, "join:a cut join:a clock ");
    stop(&peer, &server, handle);
}

static void who_left_does_not_join_again(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    uint64_t clock;
    (void)state;

    start(&peer, &server, "");
    ls *handle = open_joined(&peer, "a");
    assert_int_equal(ls_node_leave(handle, NULL), 0);
    cut(handle);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_string_equal(server.log, "join:a NODE.LEAVE cut clock ");
    stop(&peer, &server, handle);
}

static void a_host_that_was_taken_meanwhile_stops_only_what_needs_it(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    uint64_t clock;
    (void)state;

    start(&peer, &server, "");
    server.join_reply = "-INUSE another one has it";
    ls *handle = open_joined(&peer, "a");
    cut(handle);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), LS_EINUSE);
    assert_string_equal(ls_last_error()->text, "another one has it");
    assert_int_equal(ls_node_ack(handle, 1, NULL), LS_EINUSE);
    pthread_mutex_lock(&server.lock);
    assert_null(strstr(server.log, "post"));
    server.join_reply = NULL;
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), 0);
    stop(&peer, &server, handle);
}

static void a_post_that_waits_for_the_connection_is_not_sent_without_its_node(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    (void)state;

    start(&peer, &server, "");
    server.join_reply = "-INUSE another one has it";
    ls *handle = open_joined(&peer, "a");
    cut(handle);
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), LS_EINUSE);
    assert_string_equal(server.log, "join:a cut join:a ");
    stop(&peer, &server, handle);
}

/* Else it would take the host from the node that followed it, behind the back of both. */
static void who_was_given_up_joins_again_only_when_told_to(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    uint64_t clock;
    (void)state;

    start(&peer, &server, "g");
    ls *handle = open_joined(&peer, "a");
    assert_int_equal(post_once(handle, one, NULL), LS_ENOTJOINED);
    cut(handle);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_int_equal(post_once(handle, one, NULL), LS_ENOTJOINED);
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), LS_ENOTJOINED);
    assert_int_equal(ls_node_beat(handle, NULL), LS_ENOTJOINED);
    assert_string_equal(ls_last_error()->text, "given up");
    assert_string_equal(server.log, "join:a post1 cut clock ");
    join(handle, "a");
    assert_int_equal(post_once(handle, one, NULL), 0);
    assert_int_equal(server.posted, 1);
    stop(&peer, &server, handle);
}

/* A server that joins host a once, and host b when it may. */
struct slow_joins {
    atomic_bool arrived;
    atomic_bool may;
};

static void join_slowly(struct peer_link *link, void *context)
{
    struct slow_joins *joins = context;
    link_hello(link);
    while (link_next(link)) {
        if (link_is(link, "OBJ.DEL")) {
            return;
        }
        if (link_is(link, "NODE.JOIN") && strcmp(link_argument(link, 1), "b") == 0) {
            atomic_store(&joins->arrived, true);
            while (!atomic_load(&joins->may)) {
            }
        } else if (link_is(link, "NODE.JOIN") && link->number > 0) {
            link_say(link, "-INUSE another one has it\r\n");
            continue;
        }
        link_answer(link);
    }
}

static void *join_as_b(void *handle)
{
    join(handle, "b");
    return NULL;
}

/* Else the server would have the handle as its old node, and the handle itself as the new one. */
static void nobody_joins_again_behind_one_who_joins(void **state)
{
    struct scripted_peer peer;
    struct slow_joins joins = {false, false};
    pthread_t thread;
    uint64_t clock;
    (void)state;

    peer_start(&peer, join_slowly, &joins);
    ls *handle = open_joined(&peer, "a");
    cut(handle);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_int_equal(pthread_create(&thread, NULL, join_as_b, handle), 0);
    while (!atomic_load(&joins.arrived)) {
    }
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), LS_EINUSE);
    atomic_store(&joins.may, true);
    pthread_join(thread, NULL);
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), 0);
    ls_close(handle);
    peer_stop(&peer);
}

/* ---- numbered posts ---- */

static void numbered_posts_are_there_once_through_every_kind_of_loss(void **state)
{
    static const struct {
        const char *plan;
        const char *log;
    } cases[] = {
        {"...", "join:a post1 post2 post3 "},
        {"r..", "join:a post1 join:a post1 post2 post3 "},
        {".a.", "join:a post1 post2 join:a post2 post3 "},
        {".aar", "join:a post1 post2 join:a post2 join:a post2 join:a post2 post3 "},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scripted_peer peer;
        struct node_server server;
        uint64_t before = 0;
        start(&peer, &server, cases[i].plan);
        ls *handle = open_joined(&peer, "a");
        for (int n = 0; n < 3; n++) {
            uint64_t clock = 0;
            int rc = post_once(handle, one, &clock);
            if (rc != 0 || clock <= before) {
                fail_msg("%s: post %d: %d %s", cases[i].plan, n, rc, ls_last_error()->text);
            }
            before = clock;
        }
        assert_int_equal(server.posted, 3);
        assert_string_equal(server.log, cases[i].log);
        stop(&peer, &server, handle);
    }
}

/* Ends a numbered post in doubt: the server cuts it off until its time is up. */
static ls *open_in_doubt(const struct scripted_peer *peer)
{
    ls_options options = LS_OPTIONS_INIT;
    ls *handle;
    options.timeout_ms = 300;
    assert_int_equal(ls_open(&handle, peer->url, &options), 0);
    join(handle, "a");
    assert_int_equal(post_once(handle, one, NULL), LS_ECONN);
    return handle;
}

static void a_numbered_post_in_doubt_said_again_is_the_same_post(void **state)
{
    static const char *const plans[] = {"rrrrrrrrrrrrrrrrrrrrrrrrrrrr",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct scripted_peer peer;
        struct node_server server;
        start(&peer, &server, plans[i]);
        ls *handle = open_in_doubt(&peer);
        pthread_mutex_lock(&server.lock);
        server.plan = "";
        pthread_mutex_unlock(&server.lock);
        assert_int_equal(post_once(handle, one, NULL), 0);
        assert_int_equal(server.posted, 1);
        assert_int_equal(post_once(handle, one, NULL), 0);
        assert_int_equal(server.posted, 2);
        assert_int_equal(server.last, 2);
        stop(&peer, &server, handle);
    }
}

static void another_post_after_one_in_doubt_is_not_taken_for_it(void **state)
{
    static const struct {
        const char *plan;
        uint64_t posted;
    } cases[] = {{"rrrrrrrrrrrrrrrrrrrrrrrrrrrr", 1}, {"aaaaaaaaaaaaaaaaaaaaaaaaaaaa", 2}};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct scripted_peer peer;
        struct node_server server;
        start(&peer, &server, cases[i].plan);
        ls *handle = open_in_doubt(&peer);
        pthread_mutex_lock(&server.lock);
        server.plan = "";
        pthread_mutex_unlock(&server.lock);
        assert_int_equal(post_once(handle, two, NULL), 0);
        assert_int_equal(server.posted, cases[i].posted);
        assert_int_equal(post_once(handle, two, NULL), 0);
        assert_int_equal(server.posted, cases[i].posted + 1);
        assert_int_equal(server.last, cases[i].posted + 1);
        stop(&peer, &server, handle);
    }
}

static void joining_again_by_hand_settles_a_doubt(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    ls_joined joined;
    (void)state;

    start(&peer, &server, "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr");
    ls *handle = open_in_doubt(&peer);
    pthread_mutex_lock(&server.lock);
    server.plan = "";
    server.last = 7;
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(ls_node_join(handle, "b", NULL, &joined), 0);
    assert_int_equal(joined.seq, 7);
    assert_int_equal(post_once(handle, one, NULL), 0);
    assert_int_equal(server.last, 8);
    stop(&peer, &server, handle);
}

static void leaving_and_joining_again_keeps_a_doubt(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    (void)state;

    start(&peer, &server, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ls *handle = open_in_doubt(&peer);
    pthread_mutex_lock(&server.lock);
    server.plan = "";
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(ls_node_leave(handle, NULL), 0);
    join(handle, "a");
    assert_int_equal(post_once(handle, one, NULL), 0);
    assert_int_equal(server.posted, 1);
    stop(&peer, &server, handle);
}

/* The second post is taken and its answer lost; then its node is refused, in two ways. */
static void a_numbered_post_is_there_once_though_its_node_is_refused_meanwhile(void **state)
{
    static const struct {
        const char *plan;
        const char *join_reply;
        int code;
    } cases[] = {{".a", "-INUSE another one has it", LS_EINUSE}, {".ag", NULL, LS_ENOTJOINED}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scripted_peer peer;
        struct node_server server;
        start(&peer, &server, cases[i].plan);
        server.join_reply = cases[i].join_reply;
        ls *handle = open_joined(&peer, "a");
        assert_int_equal(post_once(handle, one, NULL), 0);
        assert_int_equal(post_once(handle, one, NULL), cases[i].code);
        pthread_mutex_lock(&server.lock);
        server.join_reply = NULL;
        pthread_mutex_unlock(&server.lock);
        join(handle, "a");
        assert_int_equal(post_once(handle, one, NULL), 0);
        assert_int_equal(server.posted, 2);
        assert_int_equal(post_once(handle, one, NULL), 0);
        assert_int_equal(server.posted, 3);
        stop(&peer, &server, handle);
    }
}

struct poster {
    ls *handle;
    int wrong;
};

static void *post_often(void *argument)
{
    struct poster *poster = argument;
    for (int i = 0; i < 50; i++) {
        poster->wrong += post_once(poster->handle, one, NULL) != 0;
    }
    return NULL;
}

static void numbered_posts_of_many_threads_go_one_at_a_time(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    struct poster posters[8];
    pthread_t threads[8];
    (void)state;

    start(&peer, &server, "..........a.....r............a..a..r");
    ls *handle = open_joined(&peer, "a");
    for (int i = 0; i < 8; i++) {
        posters[i] = (struct poster){handle, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, post_often, &posters[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].wrong, 0);
    }
    assert_int_equal(server.posted, 400);
    stop(&peer, &server, handle);
}

static void the_longest_timeout_is_one(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    ls_options options = LS_OPTIONS_INIT;
    ls *handle;
    (void)state;

    start(&peer, &server, ".a");
    options.timeout_ms = INT64_MAX;
    assert_int_equal(ls_open(&handle, peer.url, &options), 0);
    join(handle, "a");
    assert_int_equal(post_once(handle, one, NULL), 0);
    assert_int_equal(post_once(handle, one, NULL), 0);
    assert_int_equal(server.posted, 2);
    stop(&peer, &server, handle);
}

/* ---- waiting ---- */

static void waiting_on_a_watch_joins_again_when_that_is_no_longer_refused(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    ls_watch *watch;
    ls_message message;
    ls *handle;
    (void)state;

    start(&peer, &server, "");
    server.join_reply = "-NOSPACE the disk is full";
    assert_int_equal(ls_open(&handle, peer.url, NULL), 0);
    options.ttl_ms = 100;
    assert_int_equal(ls_node_join(handle, "a", &options, NULL), 0);
    cut(handle);
    assert_int_equal(ls_watch_open(handle, LS_AFTER_NEWEST, NULL, &watch, NULL), 0);
    /* Two attempts more are refused, and the next one is not. */
    for (int joins = 1, last = INT_MAX; joins < last;) {
        assert_int_equal(ls_watch_next(watch, 50, &message), LS_ETIMEOUT);
        pthread_mutex_lock(&server.lock);
        joins = server.joins;
        if (joins >= 4 && server.join_reply != NULL) {
            server.join_reply = NULL;
            last = joins + 1;
        }
        pthread_mutex_unlock(&server.lock);
    }
    pthread_mutex_lock(&server.lock);
    int joins = server.joins;
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(ls_post(handle, 'U', 0, one, NULL, NULL), 0);
    assert_int_equal(server.joins, joins);
    ls_watch_close(watch);
    stop(&peer, &server, handle);
}

static void who_may_not_join_again_does_not_wait_for_relayed_messages(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    ls_message message;
    (void)state;

    start(&peer, &server, "");
    server.join_reply = "-INUSE another one has it";
    ls *handle = open_joined(&peer, "a");
    cut(handle);
    assert_int_equal(ls_relay_next(handle, -1, &message), LS_EINUSE);
    assert_int_equal(ls_relay_next(handle, -1, &message), LS_EINUSE);
    pthread_mutex_lock(&server.lock);
    server.join_reply = NULL;
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(ls_relay_next(handle, 10, &message), LS_ETIMEOUT);
    stop(&peer, &server, handle);
}

/* ---- memory ---- */

struct faulty_run {
    struct scripted_peer *peer;
    struct node_server *server;
};

/* Two numbered posts with a lost connection between them, and the n-th allocation failing; each
 * failed post is said again. */
static void run_numbered(void *context, long n)
{
    struct faulty_run *run = context;
    ls *handle;
    (void)n;

    pthread_mutex_lock(&run->server->lock);
    run->server->plan = ".a";
    run->server->last = 0;
    run->server->posted = 0;
    run->server->log[0] = '\0';
    pthread_mutex_unlock(&run->server->lock);
    int rc = ls_open(&handle, run->peer->url, NULL);
    if (rc != 0) {
        assert_int_equal(rc, LS_ENOMEM);
        return;
    }
    rc = ls_node_join(handle, "a", NULL, NULL);
    if (rc != 0) {
        assert_int_equal(rc, LS_ENOMEM);
        rc = ls_node_join(handle, "a", NULL, NULL);
    }
    assert_int_equal(rc, 0);
    for (int i = 0; i < 3; i++) {
        rc = post_once(handle, one, NULL);
        if (rc != 0) {
            rc = post_once(handle, one, NULL);
        }
        assert_int_equal(rc, 0);
    }
    ls_close(handle);
    pthread_mutex_lock(&run->server->lock);
    assert_int_equal(run->server->posted, 3);
    pthread_mutex_unlock(&run->server->lock);
}

static void numbered_posts_are_there_once_whichever_allocation_fails(void **state)
{
    struct scripted_peer peer;
    struct node_server server;
    struct faulty_run run = {&peer, &server};
    (void)state;

    start(&peer, &server, "");
    faults_each_allocation(run_numbered, &run);
    peer_stop(&peer);
    pthread_mutex_destroy(&server.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_connection_joins_again_before_anything_else),
        cmocka_unit_test(who_left_does_not_join_again),
        cmocka_unit_test(a_host_that_was_taken_meanwhile_stops_only_what_needs_it),
        cmocka_unit_test(a_post_that_waits_for_the_connection_is_not_sent_without_its_node),
        cmocka_unit_test(who_was_given_up_joins_again_only_when_told_to),
        cmocka_unit_test(nobody_joins_again_behind_one_who_joins),
        cmocka_unit_test(numbered_posts_are_there_once_through_every_kind_of_loss),
        cmocka_unit_test(a_numbered_post_in_doubt_said_again_is_the_same_post),
        cmocka_unit_test(another_post_after_one_in_doubt_is_not_taken_for_it),
        cmocka_unit_test(joining_again_by_hand_settles_a_doubt),
        cmocka_unit_test(leaving_and_joining_again_keeps_a_doubt),
        cmocka_unit_test(a_numbered_post_is_there_once_though_its_node_is_refused_meanwhile),
        cmocka_unit_test(numbered_posts_of_many_threads_go_one_at_a_time),
        cmocka_unit_test(the_longest_timeout_is_one),
        cmocka_unit_test(waiting_on_a_watch_joins_again_when_that_is_no_longer_refused),
        cmocka_unit_test(who_may_not_join_again_does_not_wait_for_relayed_messages),
        cmocka_unit_test(numbered_posts_are_there_once_whichever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
