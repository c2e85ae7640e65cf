/*
 * A store driver around another one. It makes one call fail with a chosen error, so that a test can
 * let every call fail once, or gives records in a wrong place, and it counts what was begun and not
 * ended.
 * One faulty store at a time; its counters are for one thread.
 */
#ifndef LS_TESTS_FAULTY_STORE_H
#define LS_TESTS_FAULTY_STORE_H

#include "store/store.h"

/* Wraps `inner` and owns it from then on, also where this fails: close the outer one. 0 or
 * LS_ENOMEM. */
int faulty_store_wrap(struct store **out, struct store *inner);

/* The n-th call from now on (from 1) of begin, get, put, del, room, scan, next, drop, commit or
 * count fails with `code`, once, without reaching the inner store; 0: none. A failing commit ends
 * its transaction with an abort. */
void faulty_store_fail(struct store *store, long n, int code);

/* From now on `next` gives the records of this key's category as if all of them stood under it, as
 * where pages are mixed up; an empty key: no more. Borrowed. */
void faulty_store_misplace(struct store *store, ls_bytes key);

/* Calls that could have failed since the last faulty_store_fail. */
long faulty_store_calls(const struct store *store);

/* The name of the call that failed, "get" for example, or NULL where none did yet. */
const char *faulty_store_failed(const struct store *store);

/* Transactions and cursors begun and not ended. */
long faulty_store_open_transactions(const struct store *store);
long faulty_store_open_cursors(const struct store *store);

#endif
