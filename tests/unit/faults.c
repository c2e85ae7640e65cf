/* SPDX-License-Identifier: Apache-2.0 */
/* The allocation that fails: counters behind the linker's --wrap. */
#include "faults.h"

#include <stdatomic.h>
#include <stddef.h>

static atomic_long seen;
static atomic_long fail_at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

static int fails_now(void)
{
    long number = atomic_fetch_add(&seen, 1) + 1;
    return number == atomic_load(&fail_at);
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

void faults_fail_allocation(long n)
{
    atomic_store(&seen, 0);
    atomic_store(&fail_at, n);
}

long faults_allocations(void)
{
    return atomic_load(&seen);
}

void faults_each_allocation(void (*body)(void *context, long n), void *context)
{
    for (long n = 1;; n++) {
        faults_fail_allocation(n);
        body(context, n);
        long met = faults_allocations();
        faults_fail_allocation(0);
        if (met < n) {
            return;
        }
    }
}
