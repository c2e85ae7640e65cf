/* SPDX-License-Identifier: Apache-2.0 */
/* A store and a coordinator to test on, and the comparison of whole stores. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "audit.h"
#include "base/error.h"

void assert_code_at(int got, int expected, const struct ls_error *error, const char *file, int line)
{
    if (got != expected) {
        print_error("%s, not %s: %s\n", ls_errname(got), ls_errname(expected),
                    got < 0 && error != NULL ? error->text : "");
        _fail(file, line);
    }
}

void id_of(uint8_t id[16], uint8_t byte)
{
    memset(id, byte, 16);
}

void assert_sound(struct store *store)
{
    struct ls_error error;
    assert_code(audit(store, &error), 0, &error);
}

void fixture_open(struct fixture *f, struct store *store)
{
    *f = (struct fixture){.store = store, .now_ns = 1000000000};
    assert_code(coordinator_open(&f->coordinator, store, &f->error), 0, &f->error);
}

void fixture_close(struct fixture *f)
{
    coordinator_close(f->coordinator);
    store_close(f->store);
}

int fixture_setup(void **state)
{
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true};
    struct fixture *f = malloc(sizeof *f);
    assert_non_null(f);
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    fixture_open(f, store);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    assert_sound(f->store);
    fixture_close(f);
    free(f);
    return 0;
}

int fixture_run(struct fixture *f, struct request *request)
{
    struct ls_error error;
    if (request->error == NULL) {
        request->error = &f->error;
    }
    assert_code(coordinator_begin(f->coordinator, f->now_ns, &error), 0, &error);
    int status = coordinator_apply(f->coordinator, request);
    assert_int_equal(status, request->status);
    if (coordinator_broken(f->coordinator)) {
        assert_true(status < 0);
        coordinator_abort(f->coordinator);
    } else {
        assert_code(coordinator_commit(f->coordinator, &error), 0, &error);
    }
    if (status < 0) {
        assert_int_equal(request->error->code, status);
        assert_true(request->error->text[0] != '\0');
    }
    return status;
}

void fixture_run_together(struct fixture *f, struct request *requests, size_t count)
{
    struct ls_error error;
    assert_code(coordinator_begin(f->coordinator, f->now_ns, &error), 0, &error);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].error == NULL) {
            requests[i].error = &f->error;
        }
        coordinator_apply(f->coordinator, &requests[i]);
        assert_false(coordinator_broken(f->coordinator));
    }
    assert_code(coordinator_commit(f->coordinator, &error), 0, &error);
}

/* ---- snapshots ---- */

void snapshot_add(struct buf *out, ls_bytes key, ls_bytes value)
{
    uint8_t sizes[16];
    put_be64(sizes, key.size);
    put_be64(sizes + 8, value.size);
    assert_int_equal(buf_append(out, sizes, sizeof sizes), 0);
    assert_int_equal(buf_append(out, key.data, key.size), 0);
    assert_int_equal(buf_append(out, value.data, value.size), 0);
}

/* The record at *at, which is moved behind it; false at the end. */
static bool snapshot_next(const struct buf *snapshot, size_t *at, ls_bytes *key, ls_bytes *value)
{
    if (*at == snapshot->size) {
        return false;
    }
    const uint8_t *data = snapshot->data + *at;
    *key = bytes_of(data + 16, get_be64(data));
    *value = bytes_of(data + 16 + key->size, get_be64(data + 8));
    *at += 16 + key->size + value->size;
    return true;
}

static void snapshot_drop(struct buf *snapshot, ls_bytes dropped)
{
    ls_bytes key, value;
    size_t begin = 0, end = 0;
    while (snapshot_next(snapshot, &end, &key, &value)) {
        if (bytes_equal(key, dropped)) {
            memmove(snapshot->data + begin, snapshot->data + end, snapshot->size - end);
            snapshot->size -= end - begin;
            return;
        }
        begin = end;
    }
}

void snapshot_take(struct buf *out, struct store *store, struct store_txn *txn)
{
    out->size = 0;
    for (const char *category = KEY_CATEGORIES; *category != '\0'; category++) {
        struct key first;
        struct store_cursor *cursor;
        struct ls_error error;
        ls_bytes key, value;
        int rc;
        key_first(&first, (enum key_category) * category);
        rc = store->driver->scan(txn, key_bytes(&first), bytes_of(NULL, 0), false, &cursor, &error);
        assert_code(rc, 0, &error);
        while ((rc = store->driver->next(cursor, &key, &value, &error)) > 0) {
            snapshot_add(out, key, value);
        }
        assert_code(rc, 0, &error);
        store->driver->scan_end(cursor);
    }
}

void snapshot_read(struct buf *out, struct store *store)
{
    struct store_txn *txn;
    struct ls_error error;
    assert_code(store->driver->begin(store, STORE_READ, &txn, &error), 0, &error);
    snapshot_take(out, store, txn);
    store->driver->abort(txn);
}

static void print_bytes(const char *what, ls_bytes bytes)
{
    const uint8_t *data = bytes.data;
    print_error("  %s ", what);
    for (size_t i = 0; i < bytes.size && i < 200; i++) {
        print_error(data[i] > ' ' && data[i] < 0x7f ? "%c" : "\\x%02x", data[i]);
    }
    print_error("%s\n", bytes.size > 200 ? "..." : "");
}

bool snapshot_equal(const struct buf *a, const struct buf *b)
{
    size_t at_a = 0, at_b = 0;
    for (;;) {
        ls_bytes key_a = {0}, key_b = {0}, value_a = {0}, value_b = {0};
        bool more_a = snapshot_next(a, &at_a, &key_a, &value_a);
        bool more_b = snapshot_next(b, &at_b, &key_b, &value_b);
        if (!more_a && !more_b) {
            return true;
        }
        if (!bytes_equal(key_a, key_b) || !bytes_equal(value_a, value_b)) {
            print_error("the stores differ:\n");
            print_bytes("key  ", key_a);
            print_bytes("value", value_a);
            print_bytes("key  ", key_b);
            print_bytes("value", value_b);
            return false;
        }
    }
}

/* ---- refusals ---- */

static void snapshot_without_epoch(struct buf *out, struct store *store)
{
    struct key key;
    assert_int_equal(key_control(&key, bytes_of_text("epoch")), 0);
    snapshot_read(out, store);
    snapshot_drop(out, key_bytes(&key));
}

void fixture_refuse(struct fixture *f, struct request *request, int code)
{
    struct buf before = {0}, after = {0};
    struct ls_error error;
    snapshot_without_epoch(&before, f->store);
    if (request->error == NULL) {
        request->error = &f->error;
    }

    /* The epoch is there for the transaction to have something to commit. */
    struct request epoch = {.kind = REQUEST_EPOCH, .error = &error};
    assert_code(coordinator_begin(f->coordinator, f->now_ns, &error), 0, &error);
    assert_int_equal(coordinator_apply(f->coordinator, &epoch), 0);
    assert_code(coordinator_apply(f->coordinator, request), code, request->error);
    assert_int_equal(request->error->code, code);
    assert_true(request->error->text[0] != '\0');
    if (coordinator_broken(f->coordinator)) {
        coordinator_abort(f->coordinator);
    } else {
        assert_code(coordinator_commit(f->coordinator, &error), 0, &error);
    }
    snapshot_without_epoch(&after, f->store);
    assert_true(snapshot_equal(&before, &after));

    /* And alone, when there is nothing to commit. */
    assert_code(fixture_run(f, request), code, request->error);
    snapshot_without_epoch(&after, f->store);
    assert_true(snapshot_equal(&before, &after));
    buf_free(&before);
    buf_free(&after);
}

/* ---- requests ---- */

struct request post_request(uint8_t item[24], const char *text)
{
    size_t size = strlen(text);
    assert_true(size < 24);
    item[0] = (uint8_t)(0x60 | size);
    memcpy(item + 1, text, size);
    return (struct request){.kind = REQUEST_POST,
                            .in.post = {.type = LS_USER, .object = bytes_of(item, 1 + size)}};
}

uint64_t fixture_post(struct fixture *f, const struct binding *as, const char *text)
{
    uint8_t item[24];
    struct request request = post_request(item, text);
    request.as = as;
    assert_code(fixture_run(f, &request), 0, &f->error);
    return request.clock;
}

void fixture_join(struct fixture *f, struct binding *out, const char *host, uint8_t id)
{
    struct request request = {.kind = REQUEST_NODE_JOIN,
                              .in.join = {.host = bytes_of_text(host), .ttl_ms = 1000, .via = 1}};
    id_of(request.in.join.id, id);
    assert_code(fixture_run(f, &request), 0, &f->error);
    binding_set(out, bytes_of_text(host), request.in.join.id, request.clock);
}

uint64_t fixture_put(struct fixture *f, const struct binding *owner, const char *key,
                     const char *value)
{
    struct request request = {.kind = REQUEST_OBJECT_PUT,
                              .as = owner,
                              .in.put = {.key = bytes_of_text(key),
                                         .value = bytes_of_text(value),
                                         .owned = owner != NULL}};
    assert_code(fixture_run(f, &request), 0, &f->error);
    return request.clock;
}

void binding_set(struct binding *out, ls_bytes host, const uint8_t id[16], uint64_t joined)
{
    assert_true(host.size < sizeof out->host);
    *out = (struct binding){.joined = joined, .host_size = (uint8_t)host.size};
    memcpy(out->id, id, 16);
    memcpy(out->host, host.data, host.size);
}
