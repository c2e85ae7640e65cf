/* SPDX-License-Identifier: Apache-2.0 */
/* One handle under many threads, one store under many processes. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"

#define THREADS 8
#define POSTS   100

struct poster {
    ls *handle;
    int number;
    bool once;
    uint64_t clocks[POSTS];
};

static void *post_many(void *argument)
{
    struct poster *poster = argument;
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.once = poster->once;
    for (int i = 0; i < POSTS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", poster->number * POSTS + i);
        if (ls_post(poster->handle, LS_USER, 0, ls_json(text), &options, &poster->clocks[i]) != 0) {
            return NULL;
        }
    }
    return NULL;
}

/* Every post of the threads, each once, those of one thread in its order. */
static void check_posts(ls *handle, const struct poster *posters)
{
    int next[THREADS] = {0};
    ls_watch *watch;
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    assert_ok(ls_watch_open(handle, LS_OLDEST, &filter, &watch, NULL));
    for (int i = 0; i < THREADS * POSTS; i++) {
        ls_message message;
        char *json;
        assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
        assert_ok(ls_cbor_to_json(message.object, &json));
        int number = atoi(json);
        ls_free(json);
        assert_in_range(number, 0, THREADS * POSTS - 1);
        int thread = number / POSTS, index = number % POSTS;
        assert_int_equal(next[thread]++, index);
        assert_int_equal(posters[thread].clocks[index], message.clock);
    }
    ls_message message;
    assert_code(LS_ETIMEOUT, ls_watch_next(watch, 0, &message));
    ls_watch_close(watch);
}

static void post_from_threads(ls *handle, bool once)
{
    struct poster *posters = calloc(THREADS, sizeof *posters);
    pthread_t threads[THREADS];
    assert_non_null(posters);
    for (int i = 0; i < THREADS; i++) {
        posters[i].handle = handle;
        posters[i].number = i;
        posters[i].once = once;
        assert_int_equal(0, pthread_create(&threads[i], NULL, post_many, &posters[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    check_posts(handle, posters);
    free(posters);
}

static void threads_may_share_a_handle(void **state)
{
    post_from_threads(((struct fixture *)*state)->handle, false);
}

static void numbered_posts_of_many_threads_are_each_there_once(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    assert_ok(ls_node_join(handle, "n1", NULL, NULL));
    post_from_threads(handle, true);
}

struct mixed {
    ls *handle;
    int failures;
};

static void *do_everything(void *argument)
{
    struct mixed *mixed = argument;
    ls *handle = mixed->handle;
    for (int i = 0; i < 50; i++) {
        uint64_t clock;
        ls_objects *objects;
        ls_nodes *nodes;
        ls_messages *messages;
        mixed->failures += ls_put(handle, bytes("k"), bytes("v"), NULL, &clock) != 0;
        mixed->failures += ls_scan(handle, bytes("k"), bytes(""), 10, &objects) != 0;
        ls_objects_free(objects);
        mixed->failures += ls_node_list(handle, &nodes) != 0;
        ls_nodes_free(nodes);
        mixed->failures += ls_read(handle, clock, NULL, 10, 1000, &messages) != 0;
        mixed->failures += ls_messages_count(messages) == 0;
        ls_messages_free(messages);
        mixed->failures += ls_node_beat(handle, NULL) != 0;
    }
    return NULL;
}

static void threads_may_do_different_things_on_a_handle(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    options.ttl_ms = 1000;
    assert_ok(ls_node_join(handle, "n1", &options, NULL));
    struct mixed mixed[THREADS] = {{0}};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        mixed[i].handle = handle;
        assert_int_equal(0, pthread_create(&threads[i], NULL, do_everything, &mixed[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(0, mixed[i].failures);
    }
}

/* A child's work: it must not use the parent's handle, nor the test framework. */
static int child_posts(const char *url, int go)
{
    ls *handle;
    char byte;
    if (ls_open(&handle, url, NULL) != 0 || read(go, &byte, 1) != 1) {
        return 1;
    }
    for (int i = 0; i < POSTS; i++) {
        if (ls_post(handle, LS_USER, 0, ls_text("child"), NULL, NULL) != 0) {
            return 2;
        }
    }
    ls_close(handle);
    return 0;
}

/* Children that post once they are let go by a byte each. Must be called before the parent opens.
 */
static void start_children(const char *url, pid_t *children, size_t count, int *go)
{
    int ends[2];
    assert_int_equal(0, pipe(ends));
    for (size_t i = 0; i < count; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            close(ends[1]);
            _exit(child_posts(url, ends[0]));
        }
    }
    close(ends[0]);
    *go = ends[1];
}

static void end_children(const pid_t *children, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int status;
        assert_int_equal(children[i], waitpid(children[i], &status, 0));
        assert_int_equal(0, status);
    }
}

static void processes_share_one_order(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    enum { CHILDREN = 3 };
    pid_t children[CHILDREN];
    int go;
    ls_close(fixture->handle);
    start_children(fixture->url, children, CHILDREN, &go);
    fixture->handle = open_again(fixture, NULL);
    assert_int_equal(CHILDREN, write(go, "go!", CHILDREN));
    uint64_t last = 0;
    for (int i = 0; i < POSTS; i++) {
        uint64_t clock = post_text(fixture->handle, "parent");
        assert_true(clock > last);
        last = clock;
    }
    end_children(children, CHILDREN);
    close(go);
    assert_int_equal((CHILDREN + 1) * POSTS, count_messages(fixture->handle, 0, NULL));
}

static void a_waiter_wakes_with_a_post_of_another_process(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    pid_t child;
    int go;
    ls_close(fixture->handle);
    start_children(fixture->url, &child, 1, &go);
    fixture->handle = open_again(fixture, NULL);
    ls_watch *watch;
    assert_ok(ls_watch_open(fixture->handle, LS_AFTER_NEWEST, NULL, &watch, NULL));
    assert_int_equal(1, write(go, "g", 1));
    for (int i = 0; i < POSTS; i++) {
        ls_message message;
        assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
    }
    ls_watch_close(watch);
    end_children(&child, 1);
    close(go);
}

/* The numbers from *next up to `end`, each once and in order. */
static void watch_numbers(ls_watch *watch, int *next, int end)
{
    while (*next < end) {
        ls_message message;
        char *json;
        assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
        assert_ok(ls_cbor_to_json(message.object, &json));
        assert_int_equal(*next, atoi(json));
        ls_free(json);
        (*next)++;
    }
}

static void a_killed_server_loses_no_numbered_post_and_no_place_of_a_watch(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lockstep")) {
        skip();
    }
    ls_options options = LS_OPTIONS_INIT;
    options.timeout_ms = PATIENCE_MS;
    ls *handle = open_again(fixture, &options);
    assert_ok(ls_node_join(handle, "n1", NULL, NULL));
    ls_watch *watch;
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    assert_ok(ls_watch_open(handle, LS_OLDEST, &filter, &watch, NULL));

    struct poster poster = {.handle = handle, .once = true};
    pthread_t thread;
    int next = 0;
    assert_int_equal(0, pthread_create(&thread, NULL, post_many, &poster));
    for (int kills = 1; kills <= 3; kills++) {
        watch_numbers(watch, &next, kills * POSTS / 5);
        kill_and_restart_server(fixture);
    }
    watch_numbers(watch, &next, POSTS);
    pthread_join(thread, NULL);
    for (int i = 0; i < POSTS; i++) {
        assert_true(poster.clocks[i] > 0); /* each was answered */
    }
    ls_watch_close(watch);
    ls_close(handle);
    assert_int_equal(POSTS, count_messages(fixture->handle, 0, &filter));
}

const struct CMUnitTest library_sharing_tests[] = {
    library_test(threads_may_share_a_handle),
    library_test(numbered_posts_of_many_threads_are_each_there_once),
    library_test(threads_may_do_different_things_on_a_handle),
    library_test(processes_share_one_order),
    library_test(a_waiter_wakes_with_a_post_of_another_process),
    library_test(a_killed_server_loses_no_numbered_post_and_no_place_of_a_watch),
};
const size_t library_sharing_count = sizeof library_sharing_tests / sizeof *library_sharing_tests;
