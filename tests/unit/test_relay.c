/* SPDX-License-Identifier: Apache-2.0 */
/* The star and the routing rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "faults.h"
#include "relay/route.h"

static int one, two;

/* A star of the hosts in a text of words, joined in that order. */
static struct relay_star star_of(const char *hosts)
{
    struct relay_star star = {0};

    while (*hosts != '\0') {
        size_t size = strcspn(hosts, " ");
        assert_int_equal(relay_join(&star, bytes_of(hosts, size), NULL), 0);
        hosts += size + (hosts[size] == ' ');
    }
    return star;
}

/* The targets of an order, as a text of words. */
static void expect(const char *hosts, const char *sender, struct relay_order order,
                   const char *expected)
{
    struct relay_star star = star_of(hosts);
    struct relay_targets targets = relay_route(&star, bytes_of_text(sender), &order);
    struct buf out = {0};
    size_t count = 0;

    assert_true(targets.first <= targets.last && targets.last <= star.count);
    for (size_t i = targets.first; i < targets.last; i++) {
        if (i != targets.skip) {
            ls_bytes host = star.members[i].host;
            assert_int_equal(buf_printf(&out, "%s%.*s", count > 0 ? " " : "", (int)host.size,
                                        (const char *)host.data),
                             0);
            count++;
        }
    }
    assert_int_equal(buf_append_byte(&out, 0), 0);
    assert_string_equal((char *)out.data, expected);
    assert_int_equal(relay_target_count(targets), count);
    buf_free(&out);
    relay_free(&star);
}

static struct relay_order nth(size_t n)
{
    return (struct relay_order){.rule = RELAY_NTH, .nth = n};
}

static struct relay_order to(const char *host)
{
    return (struct relay_order){.rule = RELAY_TO, .host = bytes_of_text(host)};
}

static const struct relay_order broadcast = {.rule = RELAY_BROADCAST};

static void the_nth_is_counted_without_the_sender(void **state)
{
    (void)state;
    expect("a b c d", "a", nth(1), "b");
    expect("a b c d", "a", nth(2), "c");
    expect("a b c d", "b", nth(1), "a");
    expect("a b c d", "b", nth(2), "c");
    expect("a b c d", "c", nth(2), "b");
    expect("a b c d", "d", nth(3), "c");
}

static void an_n_beyond_the_others_names_nobody(void **state)
{
    (void)state;
    expect("a b c", "a", nth(2), "c");
    expect("a b c", "a", nth(3), "");
    expect("a b c", "c", nth(3), "");
    expect("a b c", "a", nth(4), "");
    expect("a b c", "a", nth(0), "");
    expect("a b c", "a", nth(SIZE_MAX), "");
    expect("a b c", "x", nth(3), "c");
    expect("a b c", "x", nth(4), "");
}

static void hosts_are_taken_in_byte_order_however_they_joined(void **state)
{
    (void)state;
    expect("b \xc3\xa4 B a ab A", "x", broadcast, "A B a ab b \xc3\xa4");
    expect("node10 node9 node1", "node1", nth(1), "node10");
    expect("node10 node9 node1", "node1", nth(2), "node9");
}

static void a_sender_outside_the_star_reaches_everyone(void **state)
{
    (void)state;
    expect("a b c", "", broadcast, "a b c");
    expect("a b c", "bb", broadcast, "a b c");
    expect("a b c", "bb", nth(2), "b");
    expect("a b c", "bb", to("b"), "b");
}

static void a_broadcast_leaves_the_sender_out(void **state)
{
    (void)state;
    expect("a b c", "a", broadcast, "b c");
    expect("a b c", "b", broadcast, "a c");
    expect("a b c", "c", broadcast, "a b");
}

static void the_named_host_is_reached_if_it_is_there_and_another(void **state)
{
    (void)state;
    expect("a b c", "a", to("c"), "c");
    expect("a b c", "a", to("a"), "");
    expect("a b c", "a", to("d"), "");
    expect("a b c", "a", to(""), "");
    expect("a bb c", "a", to("b"), "");
}

static void a_sender_alone_reaches_nobody(void **state)
{
    (void)state;
    expect("a", "a", nth(1), "");
    expect("a", "a", nth(2), "");
    expect("a", "a", to("a"), "");
    expect("a", "a", broadcast, "");
    expect("a", "b", nth(1), "a");
    expect("a", "b", broadcast, "a");
}

static void an_empty_star_reaches_nobody(void **state)
{
    (void)state;
    expect("", "a", nth(1), "");
    expect("", "a", to("a"), "");
    expect("", "a", broadcast, "");
}

static void a_host_that_joins_again_replaces_its_member(void **state)
{
    (void)state;
    struct relay_star star = star_of("a b c");
    char again[] = "b";

    assert_int_equal(relay_join(&star, bytes_of_text("b"), &one), 0);
    assert_int_equal(star.count, 3);
    assert_ptr_equal(relay_find(&star, bytes_of_text("b"))->who, &one);
    assert_int_equal(relay_join(&star, bytes_of_text(again), &two), 0);
    assert_int_equal(star.count, 3);
    struct relay_member *member = relay_find(&star, bytes_of_text("b"));
    assert_ptr_equal(member->who, &two);
    assert_ptr_equal(member->host.data, again); /* the old bytes may go */
    relay_free(&star);
}

static void a_host_that_left_is_not_found(void **state)
{
    (void)state;
    struct relay_star star = star_of("a b c");

    assert_true(relay_leave(&star, bytes_of_text("b")));
    assert_null(relay_find(&star, bytes_of_text("b")));
    assert_false(relay_leave(&star, bytes_of_text("b")));
    assert_int_equal(star.count, 2);
    assert_non_null(relay_find(&star, bytes_of_text("a")));
    assert_non_null(relay_find(&star, bytes_of_text("c")));
    assert_true(relay_leave(&star, bytes_of_text("c")));
    assert_true(relay_leave(&star, bytes_of_text("a")));
    assert_int_equal(star.count, 0);
    relay_free(&star);
}

static void a_star_of_many_stays_sorted_through_joins_and_leaves(void **state)
{
    (void)state;
    enum { HOSTS = 500 };
    static char names[HOSTS][8];
    struct relay_star star = {0};
    bool in[HOSTS] = {false};
    size_t count = 0;
    uint64_t random = 7;

    for (size_t i = 0; i < HOSTS; i++) {
        snprintf(names[i], sizeof names[i], "h%zu", i);
    }
    for (int round = 0; round < 5000; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t i = (size_t)(random >> 33) % HOSTS;
        if ((random >> 20 & 3) != 0) {
            assert_int_equal(relay_join(&star, bytes_of_text(names[i]), names[i]), 0);
            count += in[i] ? 0 : 1;
            in[i] = true;
        } else {
            assert_int_equal(relay_leave(&star, bytes_of_text(names[i])), in[i]);
            count -= in[i] ? 1 : 0;
            in[i] = false;
        }
        assert_int_equal(star.count, count);
    }
    for (size_t i = 1; i < star.count; i++) {
        assert_true(bytes_compare(star.members[i - 1].host, star.members[i].host) < 0);
    }
    for (size_t i = 0; i < HOSTS; i++) {
        struct relay_member *member = relay_find(&star, bytes_of_text(names[i]));
        assert_ptr_equal(member != NULL ? member->who : NULL, in[i] ? names[i] : NULL);
    }
    relay_free(&star);
}

static void a_join_there_is_no_memory_for_leaves_the_star_as_it_was(void **state)
{
    (void)state;
    struct relay_star star = star_of("a b c d e f g h");

    faults_fail_allocation(1);
    assert_int_equal(relay_join(&star, bytes_of_text("aa"), &one), LS_ENOMEM);
    assert_int_equal(star.count, 8);
    assert_null(relay_find(&star, bytes_of_text("aa")));
    assert_int_equal(relay_join(&star, bytes_of_text("aa"), &one), 0);
    assert_ptr_equal(relay_find(&star, bytes_of_text("aa"))->who, &one);
    faults_fail_allocation(0);
    relay_free(&star);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_is_counted_without_the_sender),
        cmocka_unit_test(an_n_beyond_the_others_names_nobody),
        cmocka_unit_test(hosts_are_taken_in_byte_order_however_they_joined),
        cmocka_unit_test(a_sender_outside_the_star_reaches_everyone),
        cmocka_unit_test(a_broadcast_leaves_the_sender_out),
        cmocka_unit_test(the_named_host_is_reached_if_it_is_there_and_another),
        cmocka_unit_test(a_sender_alone_reaches_nobody),
        cmocka_unit_test(an_empty_star_reaches_nobody),
        cmocka_unit_test(a_host_that_joins_again_replaces_its_member),
        cmocka_unit_test(a_host_that_left_is_not_found),
        cmocka_unit_test(a_star_of_many_stays_sorted_through_joins_and_leaves),
        cmocka_unit_test(a_join_there_is_no_memory_for_leaves_the_star_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
