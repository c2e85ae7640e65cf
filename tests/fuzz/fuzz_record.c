/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: the first byte chooses one, the rest is its encoding. A decoder refuses or takes it;
 * what it takes encodes to a record that decodes to the same and verifies, and no longer verifies
 * with a bit of it changed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "codec/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const control_names[] = {"next", "oldest", NULL};

/* The key, or for a message the check before it, that all records here go with. */
static const ls_bytes key = {"O\x11key", 5};
#define PREVIOUS_CHECK 12345

/* `record` was encoded from what `input` decoded to. */
static void check_encoded(struct buf *record, bool is_message, ls_bytes input)
{
    ls_bytes bytes = buf_bytes(record);
    CHECK((is_message ? message_verify(bytes, PREVIOUS_CHECK, NULL)
                      : record_verify(bytes, key, NULL)) == 0);
    /* The input chooses the bit, so that each is tried in time. */
    size_t bit = 0;
    for (size_t i = 0; i < input.size; i++) {
        bit = bit * 31 + ((const uint8_t *)input.data)[i];
    }
    bit %= record->size * 8;
    record->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    CHECK((is_message ? message_verify(bytes, PREVIOUS_CHECK, NULL)
                      : record_verify(bytes, key, NULL)) == LS_ECORRUPT);
}

static int try_message(ls_bytes input, struct buf *record, struct ls_error *error)
{
    struct message first;
    int rc = message_decode(&first, input, error);
    if (rc == 0) {
        struct message again;
        CHECK(message_encode(record, &first, PREVIOUS_CHECK) == 0);
        CHECK(message_decode(&again, buf_bytes(record), NULL) == 0);
        CHECK(again.clock == first.clock && again.timestamp_ns == first.timestamp_ns);
        CHECK(again.check == first.check && again.type == first.type);
        CHECK(again.event == first.event && again.has_id == first.has_id);
        CHECK(again.has_from_id == first.has_from_id);
        CHECK(memcmp(again.id, first.id, 16) == 0);
        CHECK(memcmp(again.from_id, first.from_id, 16) == 0);
        CHECK(bytes_equal(again.from, first.from) && bytes_equal(again.host, first.host));
        CHECK(bytes_equal(again.object, first.object));
        check_encoded(record, true, input);
    }
    return rc;
}

static int try_node(ls_bytes input, struct buf *record, struct ls_error *error)
{
    struct node first;
    int rc = node_decode(&first, input, error);
    if (rc == 0) {
        struct node again;
        CHECK(node_encode(record, &first, key) == 0);
        CHECK(node_decode(&again, buf_bytes(record), NULL) == 0);
        CHECK(memcmp(again.id, first.id, 16) == 0 && again.state == first.state);
        CHECK(bytes_equal(again.host, first.host) && bytes_equal(again.meta, first.meta));
        CHECK(again.joined == first.joined && again.modified == first.modified);
        CHECK(again.clock == first.clock && again.timestamp_ns == first.timestamp_ns);
        CHECK(again.ttl_ms == first.ttl_ms && again.beat == first.beat && again.via == first.via);
        check_encoded(record, false, input);
    }
    return rc;
}

static int try_object(ls_bytes input, struct buf *record, struct ls_error *error)
{
    struct object first;
    int rc = object_decode(&first, input, error);
    if (rc == 0) {
        struct object again;
        CHECK(object_encode(record, &first, key) == 0);
        CHECK(object_decode(&again, buf_bytes(record), NULL) == 0);
        CHECK(bytes_equal(again.value, first.value) && bytes_equal(again.owner, first.owner));
        CHECK(again.created == first.created && again.modified == first.modified);
        check_encoded(record, false, input);
    }
    return rc;
}

static int try_producer(ls_bytes input, struct buf *record, struct ls_error *error)
{
    struct producer first;
    int rc = producer_decode(&first, input, error);
    if (rc == 0) {
        struct producer again;
        CHECK(producer_encode(record, &first, key) == 0);
        CHECK(producer_decode(&again, buf_bytes(record), NULL) == 0);
        CHECK(again.seq == first.seq && again.clock == first.clock);
        check_encoded(record, false, input);
    }
    return rc;
}

static int try_control(ls_bytes input, struct buf *record, struct ls_error *error)
{
    struct control first;
    int rc = control_decode(&first, input, control_names, error);
    if (rc == 0) {
        struct control again;
        CHECK(control_encode(record, &first, control_names, key) == 0);
        CHECK(control_decode(&again, buf_bytes(record), control_names, NULL) == 0);
        CHECK(again.value[0] == first.value[0] && again.value[1] == first.value[1]);
        check_encoded(record, false, input);
    }
    return rc;
}

static int try_change(ls_bytes input, struct buf *record, struct ls_error *error)
{
    struct change first;
    int rc = change_decode(&first, input, error);
    if (rc == 0) {
        struct change again;
        CHECK(change_encode(record, &first) == 0);
        CHECK(change_decode(&again, buf_bytes(record), NULL) == 0);
        CHECK(bytes_equal(again.key, first.key) && bytes_equal(again.value, first.value));
        CHECK(again.has_value == first.has_value && again.previous == first.previous);
    }
    return rc;
}

static int try_logged(ls_bytes input, struct buf *record, struct ls_error *error)
{
    enum { MOST = 64 };
    struct logged first;
    int rc = logged_decode(&first, input, error);
    if (rc == 0) {
        struct logged again;
        struct logged_write writes[MOST];
        ls_bytes list = first.writes;
        size_t count = 0;
        while (count < MOST && logged_write_next(&list, &writes[count])) {
            CHECK(count == 0 || bytes_compare(writes[count - 1].key, writes[count].key) < 0);
            count++;
        }
        if (list.size > 0) {
            return rc;
        }
        CHECK(logged_encode(record, first.timestamp, writes, count, key) == 0);
        CHECK(logged_decode(&again, buf_bytes(record), NULL) == 0);
        CHECK(again.timestamp == first.timestamp && bytes_equal(again.writes, first.writes));
        check_encoded(record, false, input);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const tries[])(ls_bytes, struct buf *, struct ls_error *) = {
        try_message, try_node, try_object, try_producer, try_control, try_change, try_logged,
    };
    if (size == 0) {
        return 0;
    }
    ls_bytes input = bytes_of(data + 1, size - 1);
    struct ls_error error = {0};
    struct buf record = {0};
    int rc = tries[data[0] % (sizeof tries / sizeof tries[0])](input, &record, &error);
    CHECK(rc == 0 || (rc == LS_ERECORD && error.code == rc && error.number <= input.size));
    rc = record_verify(input, key, &error);
    CHECK(rc == 0 || (rc == LS_ECORRUPT && error.code == rc));
    buf_free(&record);
    return 0;
}
