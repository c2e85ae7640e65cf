/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches and waiting reads of a remote handle: bytes that arrive in any pieces, connections that
 * are lost, histories that are gone. Each message is seen once and in order, or its loss is told.
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
#include "client/remote_stream.h"
#include "faults.h"
#include "lockstep.h"
#include "scripted_peer.h"

static ls *open_handle(const char *url, int64_t timeout_ms)
{
    ls_options options = LS_OPTIONS_INIT;
    ls *handle;
    options.timeout_ms = timeout_ms;
    assert_int_equal(ls_open(&handle, url, &options), 0);
    return handle;
}

static void push_message(struct peer_link *link, uint64_t clock)
{
    link_say(
        link,
        ">2\r\n$7\r\nmessage\r\n*7\r\n:%llu\r\n$1\r\nU\r\n$1\r\nx\r\n:1\r\n$1\r\na\r\n$0\r\n\r\n"
        "$2\r\n\x18\x63\r\n",
        (unsigned long long)clock);
}

/* ---- pieces ---- */

static const char pieces[] = ">2\r\n$7\r\nmessage\r\n*7\r\n:5\r\n$1\r\nU\r\n$1\r\n-\r\n:6\r\n$0\r\n"
                             "\r\n$1\r\nb\r\n$1\r\n\x01\r\n"
                             ":42\r\n-ERR no\r\n_\r\n%1\r\n+k\r\n$3\r\nabc\r\n";
#define PIECES_REPLIES 5

static void replies_are_whole_wherever_they_are_cut(void **state)
{
    static const size_t spans[PIECES_REPLIES] = {10, 1, 1, 1, 3};
    size_t size = sizeof pieces - 1;
    (void)state;

    for (size_t first = 0; first <= size; first++) {
        struct stream stream = STREAM_CLOSED;
        struct ls_error error;
        int ends[2];
        size_t count = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
        stream.fd = ends[0];
        size_t cuts[] = {0, first, size};
        for (size_t i = 0; i < 2; i++) {
            size_t part = cuts[i + 1] - cuts[i];
            if (part > 0) {
                assert_int_equal(write(ends[1], pieces + cuts[i], part), part);
                assert_int_equal(stream_fill(&stream, &error), 1);
            }
            assert_int_equal(stream_fill(&stream, &error), 0);
            int rc;
            while ((rc = stream_next(&stream, &error)) > 0) {
                assert_true(count < PIECES_REPLIES);
                assert_int_equal(stream.reply.count, spans[count]);
                count++;
            }
            assert_int_equal(rc, 0);
        }
        assert_int_equal(count, PIECES_REPLIES);
        close(ends[1]);
        assert_int_equal(stream_fill(&stream, &error), LS_ECONN);
        stream_close(&stream);
    }
}

static void replies_are_whole_byte_by_byte_however_large(void **state)
{
    enum { SIZE = 100000 };
    static char blob[SIZE + 16];
    struct stream stream = STREAM_CLOSED;
    struct ls_error error;
    int ends[2];
    (void)state;

    int header = snprintf(blob, sizeof blob, "$%d\r\n", SIZE);
    memset(blob + header, 'x', SIZE);
    memcpy(blob + header + SIZE, "\r\n", 2);
    size_t size = (size_t)header + SIZE + 2;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    stream.fd = ends[0];
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(stream_next(&stream, &error), 0);
        assert_int_equal(write(ends[1], blob + i, 1), 1);
        assert_int_equal(stream_fill(&stream, &error), 1);
    }
    assert_int_equal(stream_next(&stream, &error), 1);
    assert_int_equal(stream.reply.values->text.size, SIZE);
    close(ends[1]);
    stream_close(&stream);
}

/* ---- box watches ---- */

#define WATCHED 1000

/* Pushes from the clock asked for, and cuts the connection after every 37th message. */
static void push_and_cut(struct peer_link *link, void *context)
{
    atomic_int *watches = context;
    link_hello(link);
    if (link_next(link) && link_is(link, "MSG.WATCH")) {
        uint64_t from = strtoull(link_argument(link, 1), NULL, 10);
        atomic_fetch_add(watches, 1);
        link_say(link, ":%llu\r\n", (unsigned long long)from);
        for (uint64_t clock = from; clock < from + 37 && clock <= WATCHED; clock++) {
            push_message(link, clock);
        }
        if (from + 37 > WATCHED) {
            (void)link_next(link);
        }
    } else {
        (void)link_next(link);
    }
}

static void a_watch_sees_each_message_once_and_in_order_over_many_connections(void **state)
{
    struct scripted_peer peer;
    atomic_int watches = 0;
    ls_watch *watch;
    uint64_t start = 0;
    (void)state;

    peer_start(&peer, push_and_cut, &watches);
    ls *handle = open_handle(peer.url, 0);
    assert_int_equal(ls_watch_open(handle, 1, NULL, &watch, &start), 0);
    assert_int_equal(start, 1);
    for (uint64_t clock = 1; clock <= WATCHED; clock++) {
        ls_message message;
        int rc = ls_watch_next(watch, 10000, &message);
        if (rc != 0 || message.clock != clock) {
            fail_msg("at %llu: %d %s", (unsigned long long)clock, rc, ls_last_error()->text);
        }
        assert_int_equal(message.event, 'x');
        assert_string_equal(message.from.data, "a");
        assert_int_equal(message.object.size, 2);
        assert_memory_equal(message.object.data, "\x18\x63", 3); /* and its NUL */
    }
    assert_int_equal(atomic_load(&watches), (WATCHED + 36) / 37);
    ls_message message;
    assert_int_equal(ls_watch_next(watch, 0, &message), LS_ETIMEOUT);
    assert_int_equal(ls_watch_next(watch, 20, &message), LS_ETIMEOUT);
    ls_watch_close(watch);
    ls_close(handle);
    peer_stop(&peer);
}

/* Keeps what the watch asked for; the second one is told that its history is gone. */
struct asked {
    char line[512];
    const char *second; /* what the second watch is told */
    atomic_int watches;
};

static void record_watch(struct peer_link *link, void *context)
{
    struct asked *asked = context;
    link_hello(link);
    while (link_next(link)) {
        if (!link_is(link, "MSG.WATCH")) {
            link_say(link, ":1\r\n");
            continue;
        }
        if (atomic_fetch_add(&asked->watches, 1) > 0) {
            link_say(link, "%s", asked->second);
            continue;
        }
        size_t size = 0;
        for (size_t i = 0; i < link->argc; i++) {
            size += (size_t)snprintf(asked->line + size, sizeof asked->line - size, "%.60s ",
                                     link_argument(link, i));
        }
        link_say(link, ":100\r\n");
        push_message(link, 107);
        return;
    }
}

static void a_watch_asks_with_its_filter_and_ends_when_its_history_is_gone(void **state)
{
    static const char *const told[] = {
        "-COMPACTED oldest=300\r\n",
        ":108\r\n>3\r\n$4\r\nlost\r\n:108\r\n:300\r\n",
        ":108\r\n>3\r\n$4\r\nlost\r\n:108\r\n:300\r\n",
    };
    (void)state;

    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        struct scripted_peer peer;
        struct asked asked = {.second = told[i]};
        ls_filter filter = LS_FILTER_INIT;
        ls_watch *watch;
        ls_message message;
        uint64_t start;
        filter.types = "OU";
        filter.host = "h";
        filter.key = bytes_of_text("k/");
        peer_start(&peer, record_watch, &asked);
        ls *handle = open_handle(peer.url, 0);
        assert_int_equal(ls_watch_open(handle, LS_AFTER_NEWEST, &filter, &watch, &start), 0);
        assert_int_equal(start, 100);
        assert_int_equal(ls_watch_next(watch, -1, &message), 0);
        assert_int_equal(message.clock, 107);
        assert_string_equal(asked.line, "MSG.WATCH $ TYPE OU FOR h KEY k/ ");
        for (int again = 0; again < 2; again++) {
            assert_int_equal(ls_watch_next(watch, -1, &message), LS_ECOMPACTED);
            assert_int_equal(ls_last_error()->number, 300);
        }
        ls_watch_close(watch);
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void what_is_no_push_of_a_watch_is_refused_and_the_watch_goes_on(void **state)
{
    static const char *const told[] = {":1\r\n",       ">1\r\n$7\r\nmessage\r\n",
                                       "what\r\n",     ">2\r\n$7\r\nmessage\r\n:5\r\n",
                                       ">1\r\n:5\r\n", ">0\r\n"};
    (void)state;

    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        struct scripted_peer peer;
        char reply[128];
        snprintf(reply, sizeof reply, ":108\r\n%s", told[i]);
        struct asked asked = {.second = reply};
        ls_watch *watch;
        ls_message message;
        peer_start(&peer, record_watch, &asked);
        ls *handle = open_handle(peer.url, 0);
        assert_int_equal(ls_watch_open(handle, 100, NULL, &watch, NULL), 0);
        assert_int_equal(ls_watch_next(watch, -1, &message), 0);
        int rc = ls_watch_next(watch, -1, &message);
        if (rc != LS_EPROTO) {
            fail_msg("%s: %d", told[i], rc);
        }
        atomic_store(&asked.watches, 0); /* the next connection begins at 100 again, not at 108 */
        assert_int_equal(ls_watch_next(watch, -1, &message), LS_EPROTO);
        ls_watch_close(watch);
        ls_close(handle);
        peer_stop(&peer);
    }
}

static void a_watch_without_a_server_says_so_when_its_time_is_up(void **state)
{
    struct scripted_peer peer;
    struct asked asked = {.second = ":108\r\n"};
    ls_watch *watch;
    ls_message message;
    (void)state;

    peer_start(&peer, record_watch, &asked);
    ls *handle = open_handle(peer.url, 300);
    assert_int_equal(ls_watch_open(handle, 100, NULL, &watch, NULL), 0);
    assert_int_equal(ls_watch_next(watch, -1, &message), 0);
    peer_stop(&peer);
    assert_int_equal(ls_watch_next(watch, 1, &message), LS_ETIMEOUT);
    assert_int_equal(ls_watch_next(watch, -1, &message), LS_ECONN);
    assert_int_equal(ls_watch_next(watch, -1, &message), LS_ECONN);
    ls_watch_close(watch);
    ls_close(handle);
}

/* ---- object watches ---- */

static void push_objects(struct peer_link *link, void *context)
{
    atomic_int *watches = context;
    link_hello(link);
    while (link_next(link)) {
        if (!link_is(link, "OBJ.WATCH")) {
            continue;
        }
        link_say(link, ":9\r\n>5\r\n$6\r\nobject\r\n$1\r\nk\r\n$2\r\nvv\r\n:3\r\n:4\r\n");
        link_say(link, ">2\r\n$6\r\nsynced\r\n:9\r\n");
        link_say(link, ">3\r\n$7\r\ndeleted\r\n$1\r\nk\r\n:11\r\n");
        if (atomic_fetch_add(watches, 1) == 0) {
            return;
        }
        link_say(link, ">1\r\n$6\r\nresync\r\n");
    }
}

static void expect_event(ls_object_watch *watch, enum ls_object_event expected, const char *key,
                         uint64_t modified)
{
    enum ls_object_event event;
    ls_object object;
    int rc = ls_object_watch_next(watch, 10000, &event, &object);
    if (rc != 0) {
        fail_msg("%d %s", rc, ls_last_error()->text);
    }
    assert_int_equal(event, expected);
    assert_int_equal(object.key.size, strlen(key));
    if (*key != '\0') {
        assert_string_equal(object.key.data, key);
    }
    assert_int_equal(object.modified, modified);
    if (expected == LS_OBJECT_PUT) {
        assert_string_equal(object.value.data, "vv");
        assert_int_equal(object.created, 3);
    }
}

static void an_object_watch_on_a_new_connection_begins_anew_and_says_so(void **state)
{
    struct scripted_peer peer;
    atomic_int watches = 0;
    ls_object_watch *watch;
    enum ls_object_event event;
    ls_object object;
    (void)state;

    peer_start(&peer, push_objects, &watches);
    ls *handle = open_handle(peer.url, 0);
    assert_int_equal(ls_object_watch_open(handle, bytes_of_text("k"), &watch), 0);
    expect_event(watch, LS_OBJECT_PUT, "k", 4);
    expect_event(watch, LS_OBJECT_SYNCED, "", 9);
    expect_event(watch, LS_OBJECT_DELETED, "k", 11);
    expect_event(watch, LS_OBJECT_RESYNC, "", 0);
    expect_event(watch, LS_OBJECT_PUT, "k", 4);
    expect_event(watch, LS_OBJECT_SYNCED, "", 9);
    expect_event(watch, LS_OBJECT_DELETED, "k", 11);
    expect_event(watch, LS_OBJECT_RESYNC, "", 0);
    assert_int_equal(ls_object_watch_next(watch, 0, &event, &object), LS_ETIMEOUT);
    ls_object_watch_close(watch);
    ls_close(handle);
    peer_stop(&peer);
}

/* ---- reads that wait ---- */

struct held {
    atomic_int reads;
    atomic_int release;
};

/* Holds the first read back until a call on another connection came; the second connection for
 * reads is cut. */
static void hold_reads(struct peer_link *link, void *context)
{
    struct held *held = context;
    link_hello(link);
    while (link_next(link)) {
        if (!link_is(link, "MSG.READ")) {
            atomic_store(&held->release, 1);
            link_say(link, ":42\r\n");
            continue;
        }
        if (atomic_fetch_add(&held->reads, 1) == 0) {
            return;
        }
        while (!atomic_load(&held->release)) {
        }
        link_say(link, "*1\r\n*7\r\n:5\r\n$1\r\nU\r\n$1\r\n-\r\n:6\r\n$0\r\n\r\n$0\r\n\r\n$1\r\n"
                       "\x01\r\n");
    }
}

static void *read_waiting(void *argument)
{
    ls_messages *messages = NULL;
    int rc = ls_read(argument, 1, NULL, 10, -1, &messages);
    size_t count = rc == 0 ? ls_messages_count(messages) : 0;
    ls_messages_free(messages);
    return count == 1 ? argument : NULL;
}

static void a_read_that_waits_holds_up_no_other_call(void **state)
{
    struct scripted_peer peer;
    struct held held = {0};
    pthread_t thread;
    uint64_t clock;
    void *result;
    (void)state;

    peer_start(&peer, hold_reads, &held);
    ls *handle = open_handle(peer.url, 0);
    assert_int_equal(pthread_create(&thread, NULL, read_waiting, handle), 0);
    while (atomic_load(&held.reads) < 2) {
    }
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, handle);
    assert_ptr_equal(read_waiting(handle), handle); /* the connection serves again */
    assert_int_equal(peer_count(&peer), 3);
    ls_close(handle);
    peer_stop(&peer);
}

static void say_none(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    while (link_next(link)) {
        link_say(link, "*0\r\n");
    }
}

static void a_read_that_finds_nothing_ends_empty_when_its_time_is_up(void **state)
{
    struct scripted_peer peer;
    ls_messages *messages;
    (void)state;

    peer_start(&peer, say_none, NULL);
    ls *handle = open_handle(peer.url, 0);
    for (int64_t timeout_ms = 0; timeout_ms <= 20; timeout_ms += 20) {
        uint64_t begin = monotonic_ms();
        assert_int_equal(ls_read(handle, 1, NULL, 10, timeout_ms, &messages), 0);
        assert_int_equal(ls_messages_count(messages), 0);
        assert_true(monotonic_ms() - begin >= (uint64_t)timeout_ms);
        ls_messages_free(messages);
    }
    ls_close(handle);
    peer_stop(&peer);
}

/* ---- memory ---- */

static void serve_everything(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    while (link_next(link)) {
        if (link_is(link, "MSG.WATCH")) {
            uint64_t from = strtoull(link_argument(link, 1), NULL, 10);
            link_say(link, ":%llu\r\n", (unsigned long long)from);
            for (uint64_t clock = from; clock < from + 3; clock++) {
                push_message(link, clock);
            }
            return;
        }
        if (link_is(link, "OBJ.WATCH")) {
            link_say(link, ":9\r\n>2\r\n$6\r\nsynced\r\n:9\r\n");
        } else if (link_is(link, "MSG.READ")) {
            link_say(link, "*1\r\n*7\r\n:5\r\n$1\r\nU\r\n$1\r\n-\r\n:6\r\n$0\r\n\r\n$0\r\n\r\n"
                           "$1\r\n\x01\r\n");
        }
    }
}

static void watch_all(ls *handle)
{
    ls_watch *watch;
    ls_object_watch *objects;
    ls_messages *messages;
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";

    int rc = ls_watch_open(handle, 1, &filter, &watch, NULL);
    assert_true(rc == 0 || rc == LS_ENOMEM);
    if (rc == 0) {
        uint64_t clock = 1;
        while (clock <= 10) {
            ls_message message;
            rc = ls_watch_next(watch, -1, &message);
            assert_true(rc == 0 || rc == LS_ENOMEM);
            if (rc == 0) {
                assert_int_equal(message.clock, clock++);
            }
        }
        ls_watch_close(watch);
    }
    rc = ls_object_watch_open(handle, bytes_of_text(""), &objects);
    assert_true(rc == 0 || rc == LS_ENOMEM);
    if (rc == 0) {
        enum ls_object_event event;
        ls_object object;
        rc = ls_object_watch_next(objects, -1, &event, &object);
        assert_true(rc == 0 || rc == LS_ENOMEM);
        ls_object_watch_close(objects);
    }
    rc = ls_read(handle, 1, NULL, 10, -1, &messages);
    assert_true(rc == 0 || rc == LS_ENOMEM);
    if (rc == 0) {
        assert_int_equal(ls_messages_count(messages), 1);
        ls_messages_free(messages);
    }
}

static void run_watches(void *context, long n)
{
    const struct scripted_peer *peer = context;
    ls *handle;
    (void)n;

    int rc = ls_open(&handle, peer->url, NULL);
    if (rc != 0) {
        assert_int_equal(rc, LS_ENOMEM);
        return;
    }
    watch_all(handle);
    ls_close(handle);
}

static void no_message_is_lost_whichever_allocation_fails(void **state)
{
    struct scripted_peer peer;
    (void)state;

    peer_start(&peer, serve_everything, NULL);
    faults_each_allocation(run_watches, &peer);
    peer_stop(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_whole_wherever_they_are_cut),
        cmocka_unit_test(replies_are_whole_byte_by_byte_however_large),
        cmocka_unit_test(a_watch_sees_each_message_once_and_in_order_over_many_connections),
        cmocka_unit_test(a_watch_asks_with_its_filter_and_ends_when_its_history_is_gone),
        cmocka_unit_test(what_is_no_push_of_a_watch_is_refused_and_the_watch_goes_on),
        cmocka_unit_test(a_watch_without_a_server_says_so_when_its_time_is_up),
        cmocka_unit_test(an_object_watch_on_a_new_connection_begins_anew_and_says_so),
        cmocka_unit_test(a_read_that_waits_holds_up_no_other_call),
        cmocka_unit_test(a_read_that_finds_nothing_ends_empty_when_its_time_is_up),
        cmocka_unit_test(no_message_is_lost_whichever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
