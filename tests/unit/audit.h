/*
 * The audit of a store: checks, in one read transaction, everything that must hold after every
 * commit. For the unit tests and the simulation; it knows nothing of either.
 */
#ifndef LS_TESTS_AUDIT_H
#define LS_TESTS_AUDIT_H

#include "store/store.h"

/* The chain of checks from the newest discarded message on, clocks in order, the counts of the box,
 * the check of every record, the index of owned objects, and objects as their newest message says.
 * 0, or LS_ECORRUPT with what is wrong, or an error of the store. */
int audit(struct store *store, struct ls_error *error);

#endif
