/* SPDX-License-Identifier: Apache-2.0 */
/* What requests weigh: never less than they add to the store. */
#include "arbitrary.h"
#include "fixture.h"

static uint64_t store_bytes(struct store *store)
{
    struct buf snapshot = {0};
    snapshot_read(&snapshot, store);
    uint64_t size = snapshot.size;
    buf_free(&snapshot);
    return size;
}

static void a_request_adds_no_more_than_it_weighs(void **state)
{
    struct fixture *f = *state;
    struct model *model = model_new();
    uint64_t random = 11;
    for (size_t i = 0; i < 3000; i++) {
        struct arbitrary one, expected;
        arbitrary_make(&one, &random, model, f->now_ns);
        arbitrary_copy(&expected, &one);
        uint64_t before = store_bytes(f->store);
        size_t weight = request_weight(&one.request);
        fixture_run(f, &one.request);
        model_apply(model, &expected.request, f->now_ns);
        uint64_t after = store_bytes(f->store);
        /* The end of a life adds what deleting its objects adds, which asks for its own room. */
        bool ends = one.request.kind == REQUEST_NODE_LEAVE ||
                    one.request.kind == REQUEST_NODE_EXPIRE ||
                    one.request.kind == REQUEST_NODE_JOIN;
        if (!ends && after > before + weight) {
            print_error("kind %d weighs %zu, added %llu\n", (int)one.request.kind, weight,
                        (unsigned long long)(after - before));
            fail();
        }
        f->now_ns += 1000;
    }
    model_free(model);
}

static void a_larger_payload_weighs_more(void **state)
{
    (void)state;
    static uint8_t bytes[1000];
    struct request post = {.kind = REQUEST_POST};
    struct request put = {.kind = REQUEST_OBJECT_PUT, .in.put.key = bytes_of("k", 1)};
    struct object_operation operations[2] = {{.key = bytes_of("k", 1)}, {.key = bytes_of("l", 1)}};
    struct request txn = {.kind = REQUEST_OBJECT_TXN,
                          .in.txn = {.operations = operations, .operation_count = 2}};
    size_t post_weight = request_weight(&post), put_weight = request_weight(&put);
    size_t txn_weight = request_weight(&txn);
    post.in.post.object = put.in.put.value = operations[1].value = bytes_of(bytes, sizeof bytes);
    assert_true(request_weight(&post) >= post_weight + sizeof bytes);
    assert_true(request_weight(&put) >= put_weight + 2 * sizeof bytes);
    assert_true(request_weight(&txn) >= txn_weight + 2 * sizeof bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_adds_no_more_than_it_weighs, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test(a_larger_payload_weighs_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
