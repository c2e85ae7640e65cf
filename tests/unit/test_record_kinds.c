/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each kind of record by itself: that it decodes to what it was, which values it refuses, and the
 * names that it has for its letters. What holds for all of them is in test_record.c.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "codec/cbor.h"
#include "record_fixture.h"

/* ---- messages ---- */

static void a_message_has_the_bytes_of_the_format(void **state)
{
    (void)state;
    struct message message = {.clock = 1, .type = 'U', .object = bytes_of("\xF6", 1)};
    struct buf out = {0};
    assert_int_equal(message_encode(&out, &message, 0), 0);
    static const char without_check[] = "\xA6\x64"
                                        "from\x60\x64type\x18U\x65"
                                        "clock\1\x65"
                                        "event\0\x66object\x41\xF6\x69timestamp\0";
    assert_true(message.check == hash64(without_check, sizeof without_check - 1, 0));

    struct buf expected = {0};
    assert_int_equal(buf_append_text(&expected, "\xA7\x64"
                                                "from\x60\x64type\x18U\x65"
                                                "check"),
                     0);
    assert_int_equal(cbor_put_uint(&expected, message.check), 0);
    assert_int_equal(buf_append(&expected, without_check + 14, sizeof without_check - 15), 0);
    assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&expected)));
    buf_free(&out);
    buf_free(&expected);
}

static void a_message_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct message in = sample_message();
    struct message out;
    struct buf record = {0};
    assert_int_equal(message_encode(&record, &in, PREVIOUS_CHECK), 0);
    assert_int_equal(message_decode(&out, buf_bytes(&record), NULL), 0);
    assert_int_equal(out.clock, in.clock);
    assert_int_equal(out.timestamp_ns, in.timestamp_ns);
    assert_true(out.check == in.check);
    assert_int_equal(out.type, in.type);
    assert_int_equal(out.event, in.event);
    assert_true(out.has_from_id && out.has_id);
    assert_memory_equal(out.from_id, in.from_id, 16);
    assert_memory_equal(out.id, in.id, 16);
    assert_true(bytes_equal(out.from, in.from));
    assert_true(bytes_equal(out.host, in.host));
    assert_true(bytes_equal(out.object, in.object));
    buf_free(&record);
}

static void what_a_message_does_not_have_is_left_out(void **state)
{
    (void)state;
    struct message in = sample_message();
    struct message out;
    in.from = bytes_of(NULL, 0);
    in.host = bytes_of(NULL, 0); /* and with it the id */
    in.has_from_id = false;
    in.event = 0;
    struct buf record = {0};
    assert_int_equal(message_encode(&record, &in, 0), 0);
    assert_int_equal(record.data[0], 0xA7);
    assert_int_equal(message_decode(&out, buf_bytes(&record), NULL), 0);
    assert_false(out.has_id || out.has_from_id);
    assert_int_equal(out.from.size, 0);
    assert_int_equal(out.host.size, 0);
    assert_int_equal(out.event, 0);
    buf_free(&record);
}

static void the_checks_of_messages_are_a_chain(void **state)
{
    (void)state;
    struct message message = sample_message();
    struct buf record = {0};
    assert_int_equal(message_encode(&record, &message, 1), 0);
    uint64_t check = message.check;
    assert_int_equal(message_verify(buf_bytes(&record), 1, NULL), 0);
    assert_int_equal(message_verify(buf_bytes(&record), 2, NULL), LS_ECORRUPT);
    record.size = 0;
    assert_int_equal(message_encode(&record, &message, 2), 0);
    assert_true(message.check != check);
    buf_free(&record);
}

/* A message like the sample, but for one small number or string after a key. */
static void expect_message_refused(const char *key, const char *value, size_t size,
                                   const char *word)
{
    struct buf record = {0};
    struct buf changed = {0};
    struct message out;
    struct cbor_map map;
    struct cbor_entry entry;
    struct ls_error error = {0};
    assert_int_equal(put_message(&record), 0);
    assert_int_equal(cbor_map_open(&map, buf_bytes(&record), NULL), 0);
    assert_int_equal(cbor_put_map(&changed, map.left - (value == NULL)), 0);
    while (cbor_map_next(&map, &entry, NULL) > 0) {
        size_t end = map.offset;
        bool hit = bytes_equal(entry.key, bytes_of_text(key));
        if (hit && value == NULL) {
            continue;
        }
        end = hit ? entry.offset + 1 + entry.key.size : end;
        assert_int_equal(buf_append(&changed, record.data + entry.offset, end - entry.offset), 0);
        assert_int_equal(buf_append(&changed, value, hit ? size : 0), 0);
    }
    assert_int_equal(message_decode(&out, buf_bytes(&changed), &error), LS_ERECORD);
    if (strstr(error.text, word) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, word);
    }
    buf_free(&record);
    buf_free(&changed);
}

static void values_that_no_message_has_are_refused(void **state)
{
    (void)state;
    expect_message_refused("type", "\x18X", 2, "type is not known");
    expect_message_refused("type", "\x19\1U", 3, "type is not known");
    expect_message_refused("event", "\x19\1\0", 3, "event is not one byte");
    expect_message_refused("id", "\x41x", 2, "id is not 16 bytes");
    expect_message_refused("from-id", "\x40", 1, "from-id is not 16 bytes");
    expect_message_refused("host", NULL, 0, "id stands without a host");
    expect_message_refused("from", "\x61\xFF", 2, "UTF-8");
    expect_message_refused("clock", "\x18\1", 2, "shortest");
}

/* ---- the others ---- */

static void a_node_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct node in = sample_node();
    for (int state_number = NODE_UP; state_number <= NODE_DOWN; state_number++) {
        struct node out;
        struct buf record = {0};
        in.state = (enum node_state)state_number;
        in.meta.size = state_number == NODE_DOWN ? 0 : 1;
        assert_int_equal(node_encode(&record, &in, sample_key()), 0);
        assert_int_equal(node_decode(&out, buf_bytes(&record), NULL), 0);
        assert_memory_equal(out.id, in.id, 16);
        assert_true(bytes_equal(out.host, in.host));
        assert_true(bytes_equal(out.meta, in.meta));
        assert_int_equal(out.joined, in.joined);
        assert_int_equal(out.modified, in.modified);
        assert_int_equal(out.state, in.state);
        assert_int_equal(out.clock, in.clock);
        assert_int_equal(out.timestamp_ns, in.timestamp_ns);
        assert_int_equal(out.ttl_ms, in.ttl_ms);
        assert_int_equal(out.beat, in.beat);
        assert_true(out.via == in.via);
        buf_free(&record);
    }
}

static void an_object_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct object in = *sample_object();
    for (int owned = 0; owned <= 1; owned++) {
        struct object out;
        struct buf record = {0};
        in.owner.size = owned ? 5 : 0;
        in.value.size = owned ? 6 : 0;
        assert_int_equal(object_encode(&record, &in, sample_key()), 0);
        assert_int_equal(object_decode(&out, buf_bytes(&record), NULL), 0);
        assert_true(bytes_equal(out.value, in.value));
        assert_true(bytes_equal(out.owner, in.owner));
        assert_int_equal(out.created, in.created);
        assert_int_equal(out.modified, in.modified);
        buf_free(&record);
    }
}

static void a_large_object_verifies_too(void **state)
{
    (void)state;
    struct object in = *sample_object();
    uint8_t *value = calloc(1, 100000);
    struct buf record = {0};
    assert_non_null(value);
    in.value = bytes_of(value, 100000);
    assert_int_equal(object_encode(&record, &in, sample_key()), 0);
    assert_int_equal(record_verify(buf_bytes(&record), sample_key(), NULL), 0);
    record.data[50000] ^= 1;
    assert_int_equal(record_verify(buf_bytes(&record), sample_key(), NULL), LS_ECORRUPT);
    buf_free(&record);
    free(value);
}

static void what_a_transaction_wrote_decodes_to_what_it_was(void **state)
{
    (void)state;
    struct buf record = {0};
    struct logged logged;
    struct logged_write write;
    assert_int_equal(put_logged(&record), 0);
    assert_int_equal(logged_decode(&logged, buf_bytes(&record), NULL), 0);
    assert_int_equal(logged.timestamp, 500);
    for (size_t i = 0; i < 3; i++) {
        assert_true(logged_write_next(&logged.writes, &write));
        assert_true(bytes_equal(write.key, sample_writes[i].key));
        assert_true(bytes_equal(write.value, sample_writes[i].value));
        assert_int_equal(write.deleted, sample_writes[i].deleted);
    }
    assert_false(logged_write_next(&logged.writes, &write));
    buf_free(&record);
}

static void a_malformed_list_of_writes_is_refused(void **state)
{
    static const ls_bytes lists[] = {
        {"", 0},
        {"\0\1\0\0\0", 5},                  /* cut in its head */
        {"\0\1\0\0\0\1a", 7},               /* and in its value */
        {"\0\2\377\377\377\377a", 7},       /* and in its key */
        {"\0\1\0\0\0\0ab", 8},              /* more behind it */
        {"\0\0\0\0\0\1a", 7},               /* an empty key */
        {"\0\1\0\0\0\0a\0\1\0\0\0\0a", 14}, /* a key twice */
        {"\0\1\0\0\0\0b\0\1\0\0\0\0a", 14}, /* not in order */
        {"\0\1\377\377\377\376a", 7},       /* as large as can be said */
    };
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct buf record = {0};
        struct logged logged;
        struct ls_error error;
        assert_int_equal(cbor_put_map(&record, 3), 0);
        assert_int_equal(cbor_put_text(&record, bytes_of_text("check")), 0);
        assert_int_equal(cbor_put_uint(&record, 1), 0);
        assert_int_equal(cbor_put_text(&record, bytes_of_text("writes")), 0);
        assert_int_equal(cbor_put_bytes(&record, lists[i]), 0);
        assert_int_equal(cbor_put_text(&record, bytes_of_text("timestamp")), 0);
        assert_int_equal(cbor_put_uint(&record, 1), 0);
        assert_int_equal(logged_decode(&logged, buf_bytes(&record), &error), LS_ERECORD);
        buf_free(&record);
    }
}

static void producers_controls_and_changes_decode_to_what_they_were(void **state)
{
    (void)state;
    struct buf record = {0};
    struct producer producer;
    assert_int_equal(put_producer(&record), 0);
    assert_int_equal(producer_decode(&producer, buf_bytes(&record), NULL), 0);
    assert_int_equal(producer.seq, 3);
    assert_int_equal(producer.clock, 300);

    struct control control;
    record.size = 0;
    assert_int_equal(put_control(&record), 0);
    assert_int_equal(control_decode(&control, buf_bytes(&record), control_names, NULL), 0);
    assert_int_equal(control.value[0], 1);
    assert_int_equal(control.value[1], 2);
    assert_int_equal(control.value[2], 0);

    struct change change;
    record.size = 0;
    assert_int_equal(put_change(&record), 0);
    assert_int_equal(change_decode(&change, buf_bytes(&record), NULL), 0);
    assert_true(bytes_equal(change.key, bytes_of("O\x11k", 3)));
    assert_true(change.has_value);
    assert_true(bytes_equal(change.value, bytes_of("\xA0", 1)));
    assert_int_equal(change.previous, 9);

    record.size = 0;
    struct change deleted = {.key = bytes_of_text("k")};
    assert_int_equal(change_encode(&record, &deleted), 0);
    assert_int_equal(record.data[0], 0xA1);
    assert_int_equal(change_decode(&change, buf_bytes(&record), NULL), 0);
    assert_false(change.has_value);
    assert_int_equal(change.previous, 0);
    buf_free(&record);
}

static void
a_number_of_a_control_record_that_may_be_missing_is_told_from_one_that_is_there(void **state)
{
    (void)state;
    static const char *const all[] = {"?here", "count", NULL};
    static const char *const known[] = {"count", NULL};
    static const char *const needed[] = {"here", "count", NULL};
    struct buf record = {0}, plain = {0};
    struct control control;
    struct ls_error error;
    assert_int_equal(control_encode(&record, &(struct control){{0, 7}}, all, sample_key()), 0);
    assert_int_equal(control_decode(&control, buf_bytes(&record), needed, NULL), 0);
    assert_int_equal(control_decode(&control, buf_bytes(&record), known, NULL), 0);
    assert_int_equal(control.value[0], 7);
    assert_int_equal(control_decode(&control, buf_bytes(&record), all, NULL), 0);
    assert_int_equal(control.value[0], 0);
    assert_int_equal(control.value[1], 7);

    record.size = 0;
    struct control absent = {{CONTROL_ABSENT, 7}};
    assert_int_equal(control_encode(&record, &absent, all, sample_key()), 0);
    assert_int_equal(control_encode(&plain, &(struct control){{7}}, known, sample_key()), 0);
    assert_true(bytes_equal(buf_bytes(&record), buf_bytes(&plain)));
    assert_int_equal(control_decode(&control, buf_bytes(&record), all, NULL), 0);
    assert_true(control.value[0] == CONTROL_ABSENT);
    assert_int_equal(control.value[1], 7);
    assert_int_equal(control_decode(&control, buf_bytes(&record), needed, &error), LS_ERECORD);
    buf_free(&record);
    buf_free(&plain);
}

static void the_check_of_a_control_record_stands_in_its_place(void **state)
{
    (void)state;
    static const char *const lists[][5] = {
        {NULL},
        {"clock", NULL},
        {"a", NULL},
        {"a", "chec", "check-2", "zzzzzzzzz", NULL},
        {"alpha", "chfck", NULL},
        {"four", NULL},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct control in = {{UINT64_MAX, 0, 23, 24}};
        struct control out;
        struct buf record = {0};
        assert_int_equal(control_encode(&record, &in, lists[i], sample_key()), 0);
        assert_int_equal(record_verify(buf_bytes(&record), sample_key(), NULL), 0);
        assert_int_equal(control_decode(&out, buf_bytes(&record), lists[i], NULL), 0);
        for (size_t n = 0; lists[i][n] != NULL; n++) {
            assert_true(out.value[n] == in.value[n]);
        }
        buf_free(&record);
    }
}

static void names_lead_to_their_letters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int type;
    } types[] = {{"user", 'U'},       {"USER", 'U'}, {"u", 'U'},      {"U", 'U'}, {"database", 'D'},
                 {"Collection", 'C'}, {"o", 'O'},    {"object", 'O'}, {"", -1},   {"-", -1},
                 {"users", -1},       {"use", -1},   {"X", -1}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(message_type_from_text(bytes_of_text(types[i].text)), types[i].type);
    }
    static const struct {
        const char *text;
        uint8_t type;
        int event;
    } events[] = {
        {"created", 'D', 'C'}, {"UPDATED", 'C', 'U'}, {"deleted", 'U', 'D'}, {"d", 'D', 'D'},
        {"C", 'C', 'C'},       {"x", 'D', -1},        {"-", 'D', -1},        {"", 'D', -1},
        {"x", 'U', 'x'},       {"c", 'U', 'c'},       {"-", 'U', 0},         {"", 'U', -1},
        {"xy", 'U', -1},       {"\xFF", 'U', 0xFF},
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        assert_int_equal(message_event_from_text(bytes_of_text(events[i].text), events[i].type),
                         events[i].event);
    }
    for (int number = NODE_UP; number <= NODE_DOWN; number++) {
        const char *name = node_state_name((enum node_state)number);
        assert_int_equal(node_state_from_name(bytes_of_text(name)), number);
    }
    assert_int_equal(node_state_from_name(bytes_of_text("Up")), -1);
    assert_int_equal(node_state_from_name(bytes_of(NULL, 0)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_the_bytes_of_the_format),
        cmocka_unit_test(a_message_decodes_to_what_it_was),
        cmocka_unit_test(what_a_message_does_not_have_is_left_out),
        cmocka_unit_test(the_checks_of_messages_are_a_chain),
        cmocka_unit_test(values_that_no_message_has_are_refused),
        cmocka_unit_test(a_node_decodes_to_what_it_was),
        cmocka_unit_test(an_object_decodes_to_what_it_was),
        cmocka_unit_test(a_large_object_verifies_too),
        cmocka_unit_test(what_a_transaction_wrote_decodes_to_what_it_was),
        cmocka_unit_test(a_malformed_list_of_writes_is_refused),
        cmocka_unit_test(producers_controls_and_changes_decode_to_what_they_were),
        cmocka_unit_test(
            a_number_of_a_control_record_that_may_be_missing_is_told_from_one_that_is_there),
        cmocka_unit_test(the_check_of_a_control_record_stands_in_its_place),
        cmocka_unit_test(names_lead_to_their_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
