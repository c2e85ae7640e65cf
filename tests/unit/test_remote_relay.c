/* SPDX-License-Identifier: Apache-2.0 */
/* A remote handle that waits as a node: it keeps beating, and relayed messages come in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lockstep.h"
#include "scripted_peer.h"

/* ---- beats ---- */

/* Counts the beats and pushes one relayed message after the third. */
static void count_beats(struct peer_link *link, void *context)
{
    atomic_int *beats = context;
    link_hello(link);
    while (link_next(link)) {
        if (link_is(link, "NODE.JOIN")) {
            link_say(link, "*3\r\n$36\r\n%s\r\n:1\r\n:0\r\n", link_option(link, "ID"));
        } else if (link_is(link, "MSG.WATCH")) {
            while (atomic_load(beats) < 3) {
            }
            link_say(link, ":1\r\n");
        } else {
            link_say(link, ":1\r\n");
            if (link_is(link, "NODE.BEAT") && atomic_fetch_add(beats, 1) == 2) {
                link_say(link, ">4\r\n$5\r\nrelay\r\n$1\r\nb\r\n:9\r\n$1\r\n\x01\r\n");
            }
        }
    }
}

static void waiting_for_a_relayed_message_keeps_beating(void **state)
{
    struct scripted_peer peer;
    atomic_int beats = 0;
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    ls_message message;
    ls *handle;
    (void)state;

    peer_start(&peer, count_beats, &beats);
    assert_int_equal(ls_open(&handle, peer.url, NULL), 0);
    options.ttl_ms = 100;
    assert_int_equal(ls_node_join(handle, "a", &options, NULL), 0);
    assert_int_equal(ls_relay_next(handle, -1, &message), 0);
    assert_int_equal(atomic_load(&beats), 3);
    assert_string_equal(message.from.data, "b");
    assert_int_equal(message.clock, 9);
    ls_close(handle);
    peer_stop(&peer);
}

static void waiting_on_a_watch_keeps_beating(void **state)
{
    struct scripted_peer peer;
    atomic_int beats = 0;
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    ls_watch *watch;
    ls_message message;
    ls *handle;
    (void)state;

    peer_start(&peer, count_beats, &beats);
    assert_int_equal(ls_open(&handle, peer.url, NULL), 0);
    options.ttl_ms = 100;
    assert_int_equal(ls_node_join(handle, "a", &options, NULL), 0);
    atomic_store(&beats, 3);
    assert_int_equal(ls_watch_open(handle, 1, NULL, &watch, NULL), 0);
    atomic_store(&beats, 10);
    while (atomic_load(&beats) < 13) {
        assert_int_equal(ls_watch_next(watch, 200, &message), LS_ETIMEOUT);
    }
    ls_watch_close(watch);
    ls_close(handle);
    peer_stop(&peer);
}

/* ---- relay ---- */

#define RELAYED 1500

/* Before each answer, pushes what is relayed. */
static void relay_many(struct peer_link *link, void *context)
{
    (void)context;
    link_hello(link);
    while (link_next(link)) {
        if (link_is(link, "NODE.JOIN")) {
            link_say(link, "*3\r\n$36\r\n%s\r\n:1\r\n:0\r\n", link_option(link, "ID"));
            link_say(link, ">4\r\n$5\r\nrelay\r\n$5\r\nfirst\r\n:1\r\n$1\r\n\x01\r\n");
            continue;
        }
        for (int i = 0; i < RELAYED; i++) {
            link_say(link, ">4\r\n$5\r\nrelay\r\n$1\r\nb\r\n:%d\r\n$1\r\n\x01\r\n", i);
        }
        link_say(link, ">2\r\n$7\r\nunknown\r\n:1\r\n:42\r\n");
    }
}

static void relayed_messages_wait_in_order_and_the_oldest_give_way(void **state)
{
    struct scripted_peer peer;
    ls_message message;
    uint64_t clock;
    ls *handle;
    (void)state;

    peer_start(&peer, relay_many, NULL);
    assert_int_equal(ls_open(&handle, peer.url, NULL), 0);
    assert_int_equal(ls_node_join(handle, "a", NULL, NULL), 0);
    assert_int_equal(ls_relay_next(handle, 10000, &message), 0);
    assert_string_equal(message.from.data, "first");
    assert_int_equal(ls_clock_get(handle, &clock), 0);
    assert_int_equal(clock, 42);
    for (uint64_t i = RELAYED - 1024; i < RELAYED; i++) {
        assert_int_equal(ls_relay_next(handle, 0, &message), 0);
        assert_int_equal(message.clock, i);
        assert_int_equal(message.object.size, 1);
    }
    assert_int_equal(ls_relay_next(handle, 0, &message), LS_ETIMEOUT);
    ls_close(handle);
    peer_stop(&peer);
}

static void who_has_not_joined_is_told_so_when_waiting_for_relayed_messages(void **state)
{
    struct scripted_peer peer;
    ls_message message;
    ls *handle;
    (void)state;

    peer_start(&peer, relay_many, NULL);
    assert_int_equal(ls_open(&handle, peer.url, NULL), 0);
    assert_int_equal(ls_relay_next(handle, -1, &message), LS_ENOTJOINED);
    ls_close(handle);
    peer_stop(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_for_a_relayed_message_keeps_beating),
        cmocka_unit_test(waiting_on_a_watch_keeps_beating),
        cmocka_unit_test(relayed_messages_wait_in_order_and_the_oldest_give_way),
        cmocka_unit_test(who_has_not_joined_is_told_so_when_waiting_for_relayed_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
