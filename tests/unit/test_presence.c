/* SPDX-License-Identifier: Apache-2.0 */
/* Presence: which beats are written and which lives are given up, on a clock that the test moves.
 */
#include <stdio.h>

#include "fixture.h"

#include "faults.h"
#include "sequencer/presence.h"

#define TTL 9000

/* A presence over the fixture's store, and what its last tick called. */
struct observer {
    struct fixture *f;
    struct presence *presence;
    size_t renewed;
    size_t expired;
    size_t over;
    struct binding last_renewed;
    struct binding last_over;
    char last_expired[256];
    uint64_t expired_joined;
    uint64_t expired_beat;
};

static void note_renewal(void *context, const struct binding *binding)
{
    struct observer *o = context;
    o->renewed++;
    o->last_renewed = *binding;
}

static void note_expiry(void *context, const struct node *node)
{
    struct observer *o = context;
    o->expired++;
    memcpy(o->last_expired, node->host.data, node->host.size);
    o->last_expired[node->host.size] = '\0';
    o->expired_joined = node->joined;
    o->expired_beat = node->beat;
}

static void note_over(void *context, const struct binding *binding)
{
    struct observer *o = context;
    o->over++;
    o->last_over = *binding;
    presence_unbind(o->presence, binding);
}

static struct observer observe(struct fixture *f)
{
    struct observer o = {.f = f};
    assert_int_equal(0, presence_open(&o.presence, 1));
    return o;
}

static int64_t tick(struct observer *o, uint64_t now_ms)
{
    struct presence_calls calls = {note_renewal, note_expiry, note_over, o};
    struct reading reading;
    struct ls_error error;
    assert_code(reading_begin(&reading, o->f->store, &error), 0, &error);
    o->renewed = o->expired = o->over = 0;
    int64_t wait_ms = presence_tick(o->presence, &reading, now_ms, &calls, &error);
    reading_end(&reading);
    return wait_ms;
}

static struct binding join(struct fixture *f, const char *host, uint8_t id, uint64_t ttl_ms)
{
    struct request request = {.kind = REQUEST_NODE_JOIN};
    request.in.join.host = bytes_of_text(host);
    request.in.join.ttl_ms = ttl_ms;
    id_of(request.in.join.id, id);
    assert_code(fixture_run(f, &request), 0, &f->error);
    struct binding binding;
    binding_set(&binding, bytes_of_text(host), request.in.join.id, request.clock);
    return binding;
}

static void write_beat(struct fixture *f, const struct binding *as)
{
    struct request request = {.kind = REQUEST_NODE_BEAT, .as = as};
    assert_code(fixture_run(f, &request), 0, &f->error);
}

static void a_life_bound_here_is_renewed_once_a_third_of_its_ttl(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding life = join(f, "n1", 1, TTL);
    assert_int_equal(0, presence_bind(o.presence, &life, TTL, 1000));
    tick(&o, 1000);
    assert_int_equal(0, o.renewed);
    presence_beat(o.presence, &life, 3500);
    tick(&o, 3999);
    assert_int_equal(0, o.renewed);
    tick(&o, 4000);
    assert_int_equal(1, o.renewed);
    assert_int_equal(life.joined, o.last_renewed.joined);
    tick(&o, 7000);
    assert_int_equal(0, o.renewed); /* no life was shown since */
    assert_int_equal(0, o.expired);
    presence_close(o.presence);
}

static void a_life_bound_here_that_falls_silent_is_given_up_after_its_ttl(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding life = join(f, "n1", 1, TTL);
    assert_int_equal(0, presence_bind(o.presence, &life, TTL, 0));
    presence_beat(o.presence, &life, 500);
    tick(&o, 500 + TTL - 1);
    assert_int_equal(0, o.expired);
    assert_in_range(tick(&o, 500 + TTL), 1, 100);
    assert_int_equal(0, o.expired); /* it looks again, when what has come in was read */
    tick(&o, 500 + TTL + 1);
    assert_int_equal(1, o.expired);
    assert_string_equal("n1", o.last_expired);
    assert_int_equal(life.joined, o.expired_joined);
    presence_close(o.presence);
}

static void beats_that_are_read_late_end_no_life(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding life = join(f, "n1", 1, TTL);
    uint64_t now_ms = 1000;
    assert_int_equal(0, presence_bind(o.presence, &life, TTL, now_ms));
    for (int i = 0; i < 3; i++) {
        tick(&o, now_ms);
        assert_int_equal(0, o.expired);
        now_ms += 2 * TTL; /* in which the process is stopped */
        tick(&o, now_ms);
        assert_int_equal(0, o.expired);
        presence_beat(o.presence, &life, now_ms);
        now_ms += 2 * TTL; /* and at once again */
        tick(&o, now_ms);
        assert_int_equal(0, o.expired);
        presence_beat(o.presence, &life, now_ms);
    }
    presence_close(o.presence);
}

static void a_life_bound_elsewhere_lives_while_its_beat_changes(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding life = join(f, "n1", 1, TTL);
    uint64_t now_ms = 1000000;
    for (int i = 0; i < 5; i++) {
        tick(&o, now_ms);
        now_ms += TTL - 1;
        tick(&o, now_ms);
        assert_int_equal(0, o.expired);
        write_beat(f, &life);
    }
    tick(&o, now_ms);
    assert_int_equal(0, o.expired);
    tick(&o, now_ms + TTL - 1);
    assert_int_equal(0, o.expired);
    tick(&o, now_ms + TTL);
    assert_int_equal(1, o.expired);
    assert_int_equal(0, o.renewed);

    struct request request = {.kind = REQUEST_NODE_EXPIRE};
    request.in.expire.host = bytes_of_text("n1");
    request.in.expire.joined = o.expired_joined;
    request.in.expire.beat = o.expired_beat;
    assert_code(fixture_run(f, &request), 0, &f->error);
    assert_int_equal(1, request.number);
    tick(&o, now_ms + 2 * TTL);
    assert_int_equal(0, o.expired); /* it is down */
    presence_close(o.presence);
}

static void a_new_observer_waits_a_whole_ttl_itself(void **state)
{
    struct fixture *f = *state;
    join(f, "n1", 1, TTL);
    struct observer old = observe(f);
    tick(&old, 0);
    struct observer restarted = observe(f);
    tick(&restarted, TTL);
    assert_int_equal(0, restarted.expired);
    tick(&restarted, 2 * TTL - 1);
    assert_int_equal(0, restarted.expired);
    tick(&restarted, 2 * TTL);
    assert_int_equal(1, restarted.expired);
    presence_close(old.presence);
    presence_close(restarted.presence);
}

static void a_new_life_of_a_host_begins_its_own_time(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding first = join(f, "n1", 1, TTL);
    tick(&o, 0);
    struct binding second = join(f, "n1", 1, TTL);
    assert_true(second.joined > first.joined);
    tick(&o, TTL - 1);
    tick(&o, TTL + 100);
    assert_int_equal(0, o.expired);
    tick(&o, 2 * TTL - 1);
    assert_int_equal(1, o.expired);
    assert_int_equal(second.joined, o.expired_joined);
    presence_close(o.presence);
}

static void a_life_taken_over_elsewhere_is_no_longer_ours(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding ours = join(f, "n1", 1, TTL);
    assert_int_equal(0, presence_bind(o.presence, &ours, TTL, 0));
    join(f, "n1", 1, TTL);
    presence_beat(o.presence, &ours, 5000);
    tick(&o, 5000);
    assert_int_equal(0, o.renewed);
    presence_beat(o.presence, &ours, 5000 + TTL);
    tick(&o, 5000 + TTL);
    assert_int_equal(1, o.expired); /* the life elsewhere wrote no beat for a ttl */
    presence_close(o.presence);
}

static void leave(struct fixture *f, const struct binding *as)
{
    struct request request = {.kind = REQUEST_NODE_LEAVE, .as = as};
    assert_code(fixture_run(f, &request), 0, &f->error);
}

static void a_bound_life_that_the_store_shows_to_be_over_is_told_once(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding left = join(f, "a", 1, TTL), taken = join(f, "b", 2, TTL);
    struct binding lives = join(f, "c", 3, TTL);
    assert_int_equal(0, presence_bind(o.presence, &left, TTL, 0));
    assert_int_equal(0, presence_bind(o.presence, &taken, TTL, 0));
    assert_int_equal(0, presence_bind(o.presence, &lives, TTL, 0));
    tick(&o, 0);
    assert_int_equal(0, o.over);
    leave(f, &left);
    tick(&o, 1);
    assert_int_equal(1, o.over);
    assert_int_equal(left.joined, o.last_over.joined);
    join(f, "b", 2, TTL);
    tick(&o, 2);
    assert_int_equal(1, o.over);
    assert_int_equal(taken.joined, o.last_over.joined);
    tick(&o, 3);
    assert_int_equal(0, o.over + o.expired);
    presence_close(o.presence);
}

/* What is bound, or left, while a look is under way, the look's reading does not show. */
static void a_look_in_pieces_judges_nothing_that_it_cannot_see(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct presence_calls calls = {note_renewal, note_expiry, note_over, &o};
    struct reading reading;
    struct binding a = join(f, "a", 1, TTL), c = join(f, "c", 3, TTL);
    assert_int_equal(0, presence_bind(o.presence, &a, TTL, 0));
    assert_int_equal(0, presence_bind(o.presence, &c, TTL, 0));
    assert_code(reading_begin(&reading, f->store, &f->error), 0, &f->error);
    assert_int_equal(0, presence_begin(o.presence, &reading, &f->error));
    assert_int_equal(0, presence_go_on(o.presence, 1, 0, &calls, &f->error));
    struct binding b = join(f, "b", 2, TTL), later = join(f, "c", 3, TTL);
    assert_int_equal(0, presence_bind(o.presence, &b, TTL, 0));
    assert_int_equal(0, presence_bind(o.presence, &later, TTL, 0));
    assert_int_equal(0, presence_go_on(o.presence, 1, 0, &calls, &f->error));
    assert_int_equal(1000, presence_go_on(o.presence, 1, 0, &calls, &f->error));
    reading_end(&reading);
    assert_int_equal(0, o.over + o.expired + o.renewed);
    tick(&o, 1);
    assert_int_equal(0, o.over);
    presence_beat(o.presence, &later, TTL / 2);
    tick(&o, TTL / 2);
    assert_int_equal(1, o.renewed);
    assert_int_equal(later.joined, o.last_renewed.joined);
    presence_close(o.presence);
}

static void a_look_may_be_broken_off(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct presence_calls calls = {note_renewal, note_expiry, note_over, &o};
    struct reading reading;
    struct binding a = join(f, "a", 1, TTL), b = join(f, "b", 2, TTL);
    assert_int_equal(0, presence_bind(o.presence, &a, TTL, 0));
    assert_int_equal(0, presence_bind(o.presence, &b, TTL, 0));
    assert_code(reading_begin(&reading, f->store, &f->error), 0, &f->error);
    assert_int_equal(0, presence_begin(o.presence, &reading, &f->error));
    assert_int_equal(0, presence_go_on(o.presence, 1, 0, &calls, &f->error));
    presence_break_off(o.presence);
    reading_end(&reading);
    assert_int_equal(1000, tick(&o, 1));
    assert_int_equal(0, o.over + o.expired);
    presence_close(o.presence);
}

static void only_the_bound_life_beats_and_is_unbound(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding old = join(f, "n1", 1, TTL), new = join(f, "n1", 2, TTL);
    uint8_t id[16];
    id_of(id, 2);
    assert_int_equal(0, presence_bind(o.presence, &old, TTL, 0));
    assert_true(presence_holds_other(o.presence, bytes_of_text("n1"), id));
    assert_int_equal(0, presence_bind(o.presence, &new, TTL, 0));
    assert_false(presence_holds_other(o.presence, bytes_of_text("n1"), id));
    assert_false(presence_holds_other(o.presence, bytes_of_text("n2"), id));

    presence_unbind(o.presence, &old);
    presence_beat(o.presence, &old, TTL - 1);
    id_of(id, 1);
    assert_true(presence_holds_other(o.presence, bytes_of_text("n1"), id));
    tick(&o, TTL);
    tick(&o, TTL);
    assert_int_equal(1, o.expired);
    presence_unbind(o.presence, &new);
    assert_false(presence_holds_other(o.presence, bytes_of_text("n1"), id));
    presence_close(o.presence);
}

static void it_wants_to_look_again_in_time_and_not_too_often(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    assert_int_equal(1000, tick(&o, 0));
    struct binding life = join(f, "n1", 1, 1500);
    assert_int_equal(0, presence_bind(o.presence, &life, 1500, 0));
    assert_in_range(tick(&o, 0), 1, 500);
    join(f, "n2", 2, 60);
    assert_in_range(tick(&o, 0), 1, 60);
    assert_in_range(tick(&o, 59), 1, 60);
    join(f, "n3", 3, 1);
    assert_int_equal(1, tick(&o, 0));
    presence_close(o.presence);
}

/* What it looks at then is every node, so that a long ttl is not worth an extra look. */
static void renewals_with_time_left_bring_no_look_forward(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding life = join(f, "n1", 1, TTL);
    assert_int_equal(0, presence_bind(o.presence, &life, TTL, 0));
    assert_int_equal(1000, tick(&o, TTL / 3 - 10));
    assert_int_equal(1000, tick(&o, TTL / 3 + 10)); /* no life was shown that could be written */
    presence_beat(o.presence, &life, TTL / 3 + 10);
    assert_int_equal(1000, tick(&o, TTL / 3 + 20));
    assert_int_equal(1, o.renewed);
    assert_int_equal(200, tick(&o, TTL / 3 + 10 + TTL - 200));
    presence_close(o.presence);
}

static void it_rests_from_many_nodes_for_longer(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    char host[16];
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(host, sizeof host, "n%u", i);
        join(f, host, 1, TTL);
    }
    tick(&o, 0);
    assert_int_equal(200, tick(&o, TTL - 1));
    join(f, "short", 1, 600);
    assert_int_equal(100, tick(&o, TTL - 1));
    presence_close(o.presence);
}

static void a_time_that_steps_back_ends_no_life(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    struct binding life = join(f, "n1", 1, TTL);
    join(f, "n2", 2, TTL);
    assert_int_equal(0, presence_bind(o.presence, &life, TTL, 50000));
    tick(&o, 50000);
    tick(&o, 49000); /* a thread that looked at the time earlier comes later */
    assert_int_equal(0, o.expired);
    presence_close(o.presence);
}

static void many_nodes_are_each_told_once(void **state)
{
    struct fixture *f = *state;
    struct observer o = observe(f);
    char host[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(host, sizeof host, "n%u", i);
        struct binding life = join(f, host, (uint8_t)i, TTL);
        if (i % 2 == 0) {
            assert_int_equal(0, presence_bind(o.presence, &life, TTL, 0));
            presence_beat(o.presence, &life, 1);
        }
    }
    tick(&o, 0);
    assert_int_equal(0, o.renewed + o.expired);
    tick(&o, TTL / 3);
    assert_int_equal(50, o.renewed);
    tick(&o, TTL);
    assert_int_equal(50, o.expired);
    tick(&o, TTL + 1);
    assert_int_equal(50, o.expired);
    tick(&o, TTL + 2);
    assert_int_equal(100, o.expired);
    presence_close(o.presence);
}

static void no_memory_ends_no_life(void **state)
{
    struct fixture *f = *state;
    char host[16];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(host, sizeof host, "n%u", i);
        join(f, host, (uint8_t)i, TTL);
    }
    struct observer o = observe(f);
    for (long n = 1; n <= 64; n++) {
        /* The store allocates as well, so the tick is prepared before the failure is armed. */
        struct presence_calls calls = {note_renewal, note_expiry, note_over, &o};
        struct reading reading;
        struct ls_error error;
        presence_close(o.presence);
        o = observe(f);
        assert_code(reading_begin(&reading, f->store, &error), 0, &error);
        faults_fail_allocation(n);
        int64_t wait_ms = presence_tick(o.presence, &reading, 0, &calls, &error);
        faults_fail_allocation(0);
        assert_true(wait_ms > 0 || wait_ms == LS_ENOMEM);
        wait_ms = presence_tick(o.presence, &reading, 1, &calls, &error);
        assert_true(wait_ms > 0);
        assert_int_equal(0, o.expired);
        reading_end(&reading);
    }
    presence_close(o.presence);
}

static void opening_and_binding_without_memory_leak_nothing(void **state)
{
    (void)state;
    for (long n = 1; n <= 4; n++) {
        struct presence *presence;
        struct binding life = {.joined = 1, .host_size = 1, .host = "x"};
        faults_fail_allocation(n);
        int result = presence_open(&presence, 1);
        if (result == 0) {
            result = presence_bind(presence, &life, TTL, 0);
            presence_close(presence);
        }
        faults_fail_allocation(0);
        assert_int_equal(n <= 3 ? LS_ENOMEM : 0, result);
    }
}

#define presence_test(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        presence_test(a_life_bound_here_is_renewed_once_a_third_of_its_ttl),
        presence_test(a_life_bound_here_that_falls_silent_is_given_up_after_its_ttl),
        presence_test(beats_that_are_read_late_end_no_life),
        presence_test(a_life_bound_elsewhere_lives_while_its_beat_changes),
        presence_test(a_new_observer_waits_a_whole_ttl_itself),
        presence_test(a_new_life_of_a_host_begins_its_own_time),
        presence_test(a_life_taken_over_elsewhere_is_no_longer_ours),
        presence_test(a_bound_life_that_the_store_shows_to_be_over_is_told_once),
        presence_test(a_look_in_pieces_judges_nothing_that_it_cannot_see),
        presence_test(a_look_may_be_broken_off),
        presence_test(only_the_bound_life_beats_and_is_unbound),
        presence_test(it_wants_to_look_again_in_time_and_not_too_often),
        presence_test(renewals_with_time_left_bring_no_look_forward),
        presence_test(it_rests_from_many_nodes_for_longer),
        presence_test(a_time_that_steps_back_ends_no_life),
        presence_test(many_nodes_are_each_told_once),
        presence_test(no_memory_ends_no_life),
        cmocka_unit_test(opening_and_binding_without_memory_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
