/*
 * What tests of the coordinator stand on: a store, a coordinator over it, requests run one by one,
 * the whole store as bytes, and an audit of what must always hold. Time stands still until a test
 * moves it.
 */
#ifndef LS_TESTS_FIXTURE_H
#define LS_TESTS_FIXTURE_H

#include "base/buf.h"
#include "codec/key.h"
#include "coordinator/coordinator.h"
#include "coordinator/read.h"

/* cmocka's header needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    struct store *store;
    struct coordinator *coordinator;
    uint64_t now_ns;
    struct ls_error error; /* of the last request */
};

/* For cmocka: a fixture over "mem:" as the state of a test. The teardown audits the store. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Opens a store and a coordinator; the store is the fixture's from then on. */
void fixture_open(struct fixture *f, struct store *store);
void fixture_close(struct fixture *f);

/* Runs one request in a transaction of its own: its status. */
int fixture_run(struct fixture *f, struct request *request);

/* Runs requests in one transaction, none of which may break it; each gets its status. Those that
 * have no place for an error share the fixture's. */
void fixture_run_together(struct fixture *f, struct request *requests, size_t count);

/* Asserts that the request is refused with `code` and a sentence, and that the store, which is then
 * committed with something else in it, is as it was. */
void fixture_refuse(struct fixture *f, struct request *request, int code);

/* Requests, their results asserted to be good. The CBOR text string is of `text`. */
uint64_t fixture_post(struct fixture *f, const struct binding *as, const char *text);
void fixture_join(struct fixture *f, struct binding *out, const char *host, uint8_t id);
uint64_t fixture_put(struct fixture *f, const struct binding *owner, const char *key,
                     const char *value);

void binding_set(struct binding *out, ls_bytes host, const uint8_t id[16], uint64_t joined);

/* A request that posts one CBOR text string of `text`, which must have fewer than 24 bytes and stay
 * where it is; the encoded item goes to `item`. */
struct request post_request(uint8_t item[24], const char *text);

/* Every record of every category, in order, as bytes that are equal where the content is. */
void snapshot_take(struct buf *out, struct store *store, struct store_txn *txn);
void snapshot_add(struct buf *out, ls_bytes key, ls_bytes value);
/* The same, from a read transaction of its own. */
void snapshot_read(struct buf *out, struct store *store);
/* Whether they are equal; where not, the first record that differs is printed. */
bool snapshot_equal(const struct buf *a, const struct buf *b);

/* Audits and fails the test. */
void assert_sound(struct store *store);

/* An id that is all `byte`. */
void id_of(uint8_t id[16], uint8_t byte);

#define assert_code(got, expected, error) assert_code_at(got, expected, error, __FILE__, __LINE__)
void assert_code_at(int got, int expected, const struct ls_error *error, const char *file,
                    int line);

#endif
