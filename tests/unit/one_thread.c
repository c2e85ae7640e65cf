/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of the system's pthread_create, with -Wl,--wrap=pthread_create: for tests that leave
 * the thread sanitizer nothing to find. One that comes to make a thread is to run under it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument)
{
    (void)thread;
    (void)attributes;
    (void)run;
    (void)argument;
    fputs("a test of the suite one-thread made a thread\n", stderr);
    abort();
}
