/*
 * Makes one allocation fail. Unit tests are linked with --wrap for malloc, calloc, realloc,
 * aligned_alloc and strdup, so that the allocations of the project's own code, and only those, pass
 * through here.
 */
#ifndef LS_TESTS_FAULTS_H
#define LS_TESTS_FAULTS_H

/* The n-th allocation from now on (from 1) fails, once; 0: none. */
void faults_fail_allocation(long n);

/* Allocations since the last call of faults_fail_allocation. */
long faults_allocations(void);

/* Runs `body` with the first, then the second, ... allocation failing, until it ran without meeting
 * its failure. `body` gets the number, and must clean up whatever the outcome. */
void faults_each_allocation(void (*body)(void *context, long n), void *context);

#endif
