/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remote handle's shared connection against a scripted peer: hello, answers of every shape,
 * refusals, garbage, and many threads on one connection.
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

/* ---- saying hello ---- */

static void record_hello(struct peer_link *link, void *context)
{
    char *line = context;
    if (link_next(link)) {
        size_t size = 0;
        for (size_t i = 0; i < link->argc; i++) {
            size += (size_t)snprintf(line + size, 256 - size, "%s ", link_argument(link, i));
        }
        link_answer(link);
        serve_all(link, NULL);
    }
}

static void hello_carries_user_password_and_name(void **state)
{
    static char line[256];
    struct scripted_peer peer;
    char url[128];
    ls_options options = LS_OPTIONS_INIT;
    ls *handle;
    (void)state;

    peer_start(&peer, record_hello, line);
    snprintf(url, sizeof url, "lockstep://ann:s3@%.60s", peer.url + strlen("lockstep://"));
    options.client_name = "tester";
    assert_int_equal(ls_open(&handle, url, &options), 0);
    assert_string_equal(line, "HELLO 3 AUTH ann s3 SETNAME tester ");
    ls_close(handle);
    peer_stop(&peer);
}

static void refuse_hello(struct peer_link *link, void *context)
{
    if (link_next(link)) {
        link_say(link, "%s\r\n", (const char *)context);
    }
}

static void a_refused_hello_is_told_by_its_code(void **state)
{
    static const struct {
        const char *reply;
        int code;
    } cases[] = {
        {"-WRONGPASS invalid", LS_EWRONGPASS},
        {"-NOAUTH say who", LS_ENOAUTH},
        {"-NOPERM no", LS_ENOPERM},
        {"+OK", LS_EPROTO},
        {"*0", LS_EPROTO},
        {"HTTP/1.1 400 Bad Request", LS_EPROTO},
        {"-SHUTDOWN bye", LS_ESHUTDOWN},
        {"-LOADING wait", LS_ELOADING},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scripted_peer peer;
        ls_options options = LS_OPTIONS_INIT;
        ls *handle = NULL;
        peer_start(&peer, refuse_hello, (void *)(uintptr_t)cases[i].reply);
        options.timeout_ms = 300;
        int rc = ls_open(&handle, peer.url, &options);
        if (rc != cases[i].code) {
            fail_msg("%s: %d, %s", cases[i].reply, rc, ls_last_error()->text);
        }
        assert_null(handle);
        peer_stop(&peer);
    }
}

static void nobody_there_is_a_failed_connection_at_once(void **state)
{
    struct scripted_peer peer;
    ls *handle = NULL;
    (void)state;

    peer_start(&peer, serve_all, NULL);
    peer_stop(&peer); /* its port is closed now */
    assert_int_equal(ls_open(&handle, peer.url, NULL), LS_ECONN);
    assert_non_null(strstr(ls_last_error()->text, "127.0.0.1"));
    assert_int_equal(ls_open(&handle, "lockstep://h:0", NULL), LS_EINVAL);
}

/* ---- answers ---- */

static void each_answer_becomes_what_it_says(void **state)
{
    struct scripted_peer peer;
    uint64_t number;
    ls_messages *messages;
    ls_box_info info;
    ls_nodes *nodes;
    ls_objects *objects;
    (void)state;

    peer_start(&peer, serve_all, NULL);
    ls *handle = open_handle(peer.url, 0);
    assert_int_equal(ls_clock_get(handle, &number), 0);
    assert_int_equal(number, 42);
    assert_int_equal(ls_read(handle, 0, NULL, 10, 0, &messages), 0);
    assert_int_equal(ls_messages_count(messages), 1);
    const ls_message *message = ls_messages_get(messages, 0);
    assert_int_equal(message->clock, 5);
    assert_int_equal(message->type, 'U');
    assert_int_equal(message->event, LS_NO_EVENT);
    assert_int_equal(message->timestamp_ns, 6);
    assert_int_equal(message->from.size, 0);
    assert_string_equal(message->to.data, "b");
    assert_int_equal(message->object.size, 1);
    ls_messages_free(messages);
    assert_int_equal(ls_box_info_get(handle, &info), 0);
    assert_int_equal(info.oldest, 1);
    assert_int_equal(info.newest, 2);
    assert_int_equal(info.count, 2);
    assert_int_equal(info.bytes, 99);
    assert_int_equal(ls_node_get(handle, "a", &nodes), 0);
    const ls_node *node = ls_nodes_get(nodes, 0);
    assert_int_equal(node->id[0], 0x00);
    assert_int_equal(node->id[15], 0xff);
    assert_int_equal(node->joined, 3);
    assert_int_equal(node->clock, 4);
    assert_int_equal(node->timestamp_ns, 5);
    assert_int_equal(node->ttl_ms, 6);
    assert_int_equal(node->state, LS_NODE_UP);
    ls_nodes_free(nodes);
    assert_int_equal(ls_get(handle, bytes_of_text("x"), &objects), 0);
    const ls_object *object = ls_objects_get(objects, 0);
    assert_memory_equal(object->key.data, "x", 1);
    assert_memory_equal(object->value.data, "v", 1);
    assert_int_equal(object->created, 1);
    assert_int_equal(object->modified, 2);
    ls_objects_free(objects);
    ls_close(handle);
    peer_stop(&peer);
}

static void say_context(struct peer_link *link, void *context)
{
    link_hello(link);
    while (link_next(link)) {
        link_say(link, "%s\r\n", (const char *)context);
    }
}

static void an_error_has_its_code_its_number_and_its_sentence(void **state)
{
    static const struct {
        const char *reply;
        int code;
        uint64_t number;
        const char *text;
    } cases[] = {
        {"-CONFLICT a modified=1 b modified=17", LS_ECONFLICT, 17, "a modified=1 b modified=17"},
        {"-COMPACTED oldest=18446744073709551615", LS_ECOMPACTED, UINT64_MAX,
         "oldest=18446744073709551615"},
        {"-SEQGAP last=3", LS_ESEQGAP, 3, "last=3"},
        {"-DUPLICATE last=4, so there", LS_EDUPLICATE, 4, "last=4, so there"},
        {"-ERR unknown command", LS_EINVAL, 0, "unknown command"},
        {"-WHATEVER it is", LS_EINVAL, 0, "it is"},
        {"-NOSPACE", LS_ENOSPACE, 0, "NOSPACE"},
        {"-SEQGAP last=99999999999999999999", LS_ESEQGAP, 0, "last=99999999999999999999"},
        {"-TOOBIG a message may take at most 4096 bytes", LS_ETOOBIG, 4096,
         "a message may take at most 4096 bytes"},
        {"-BADCBOR nested deeper than 128, at byte 130", LS_EBADCBOR, 130,
         "nested deeper than 128, at byte 130"},
        {"-INUSE x=1", LS_EINUSE, 0, "x=1"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scripted_peer peer;
        uint64_t clock = 5;
        peer_start(&peer, say_context, (void *)(uintptr_t)cases[i].reply);
        ls *handle = open_handle(peer.url, 0);
        int rc = ls_clock_get(handle, &clock);
        const ls_error *error = ls_last_error();
        if (rc != cases[i].code || error->code != rc || error->number != cases[i].number ||
            strcmp(error->text, cases[i].text) != 0) {
            fail_msg("%s: %d %d %llu %s", cases[i].reply, rc, error->code,
                     (unsigned long long)error->number, error->text);
        }
        assert_int_equal(clock, 5);
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void an_answer_of_another_shape_is_refused_and_the_connection_goes_on(void **state)
{
    static const char *const replies[] = {"+OK", "_", "*1\r\n:1", ":-1", "$1\r\n1", "#t", ",1.5"};
    (void)state;

    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct scripted_peer peer;
        uint64_t clock;
        peer_start(&peer, say_context, (void *)(uintptr_t)replies[i]);
        ls *handle = open_handle(peer.url, 0);
        assert_int_equal(ls_clock_get(handle, &clock), LS_EPROTO);
        assert_int_equal(ls_post(handle, 'U', 0, payload, NULL, &clock), LS_EPROTO);
        assert_int_equal(peer_count(&peer), 1);
        ls_close(handle);
        peer_stop(&peer);
    }
}

/* The first connection answers with garbage, the others as they should. */
static void garbage_first(struct peer_link *link, void *context)
{
    link_hello(link);
    if (link->number == 0) {
        while (link_next(link)) {
            link_say(link, "%s", (const char *)context);
        }
    } else {
        serve_all(link, NULL);
    }
}

static void garbage_ends_the_connection_and_the_next_call_has_a_new_one(void **state)
{
    static const char *const garbage[] = {"HTTP/1.1 200 OK\r\n\r\n", ":1x\r\n", "$-5\r\n",
                                          "*1\r\n>1\r\n:1\r\n",      "\r\n",    ":42\r\n:43\r\n"};
    (void)state;

    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        struct scripted_peer peer;
        uint64_t clock;
        peer_start(&peer, garbage_first, (void *)(uintptr_t)garbage[i]);
        ls *handle = open_handle(peer.url, 0);
        int rc = ls_clock_get(handle, &clock);
        if (rc == 0) { /* the last case: a good answer, and one that nobody asked for */
            assert_int_equal(clock, 42);
        } else {
            assert_int_equal(rc, LS_EPROTO);
        }
        assert_int_equal(ls_clock_get(handle, &clock), 0);
        assert_int_equal(clock, 42);
        assert_int_equal(peer_count(&peer), 2);
        ls_close(handle);
        peer_stop(&peer);
    }
}

/* ---- pipelining ---- */

#define THREADS 16
#define ROUNDS  200

/* Answers only once as many requests have come as there are threads: so all must be under way at
 * once on the one connection. */
static void gather(struct peer_link *link, void *context)
{
    char seen[THREADS][32];
    (void)context;

    link_hello(link);
    for (;;) {
        for (int i = 0; i < THREADS; i++) {
            if (!link_next(link)) {
                return;
            }
            snprintf(seen[i], sizeof seen[i], "%s", link_argument(link, 1));
        }
        for (int i = 0; i < THREADS; i++) {
            link_say(link, ":%s\r\n", seen[i]);
        }
    }
}

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

static void sixteen_threads_share_one_connection_and_get_their_own_answers(void **state)
{
    struct scripted_peer peer;
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    (void)state;

    peer_start(&peer, gather, NULL);
    ls *handle = open_handle(peer.url, 60000);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){handle, (uint64_t)i * 1000000, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    assert_int_equal(peer_count(&peer), 1);
    ls_close(handle);
    peer_stop(&peer);
}

/* Takes nothing in until the client has more to send than sockets hold; answers backwards in no
 * way. */
static void *put_large(void *argument)
{
    struct caller *caller = argument;
    static const char value[1000000];
    for (int i = 0; i < 8; i++) {
        uint64_t clock = 0;
        int rc = ls_put(caller->handle, bytes_of_text("k"), bytes_of(value, 50000), NULL, &clock);
        caller->wrong += rc != 0 || clock != 42;
    }
    return NULL;
}

static void requests_larger_than_the_socket_takes_go_out_in_pieces(void **state)
{
    struct scripted_peer peer;
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    (void)state;

    peer_start(&peer, serve_all, NULL);
    ls *handle = open_handle(peer.url, 60000);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){handle, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, put_large, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    ls_close(handle);
    peer_stop(&peer);
}

/* Answers with what no client takes: more bytes than a reply may have. */
static void answer_too_much(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    while (link_next(link)) {
        link_say(link, "$999999999\r\n");
    }
}

static void a_change_whose_answer_cannot_be_read_is_in_doubt(void **state)
{
    struct scripted_peer peer;
    uint64_t clock;
    (void)state;

    peer_start(&peer, answer_too_much, NULL);
    ls *handle = open_handle(peer.url, 0);
    assert_int_equal(ls_clock_get(handle, &clock), LS_ETOOBIG);
    assert_int_equal(ls_put(handle, bytes_of_text("k"), bytes_of_text("v"), NULL, NULL), LS_ECONN);
    ls_close(handle);
    peer_stop(&peer);
}

/* Says that the clock is one before its end, and wants posts to carry the end. */
static void serve_at_the_end(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    while (link_next(link)) {
        const char *carried = link_option(link, "CLOCK");
        if (link_is(link, "CLOCK.GET")) {
            link_say(link, "(18446744073709551614\r\n");
        } else if (carried != NULL && strcmp(carried, "18446744073709551615") == 0) {
            link_say(link, "-CLOCKJUMP the end\r\n");
        } else {
            link_say(link, "-ERR it begins anew\r\n");
        }
    }
}

static void the_handles_own_clock_stays_at_its_end(void **state)
{
    struct scripted_peer peer;
    ls_post_options options = LS_POST_OPTIONS_INIT;
    uint64_t clock;
    (void)state;

    peer_start(&peer, serve_at_the_end, NULL);
    ls *handle = open_handle(peer.url, 0);
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_true(ls_clock_local(handle) == UINT64_MAX);
    options.carry_clock = true;
    assert_int_equal(ls_post(handle, 'U', 0, ls_text("x"), &options, NULL), LS_ECLOCKJUMP);
    assert_true(ls_clock_local(handle) == UINT64_MAX);
    ls_close(handle);
    peer_stop(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_carries_user_password_and_name),
        cmocka_unit_test(a_refused_hello_is_told_by_its_code),
        cmocka_unit_test(nobody_there_is_a_failed_connection_at_once),
        cmocka_unit_test(each_answer_becomes_what_it_says),
        cmocka_unit_test(an_error_has_its_code_its_number_and_its_sentence),
        cmocka_unit_test(an_answer_of_another_shape_is_refused_and_the_connection_goes_on),
        cmocka_unit_test(garbage_ends_the_connection_and_the_next_call_has_a_new_one),
        cmocka_unit_test(sixteen_threads_share_one_connection_and_get_their_own_answers),
        cmocka_unit_test(requests_larger_than_the_socket_takes_go_out_in_pieces),
        cmocka_unit_test(a_change_whose_answer_cannot_be_read_is_in_doubt),
        cmocka_unit_test(the_handles_own_clock_stays_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
