/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crash.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char *said;

static void on_crash(int number)
{
    ssize_t written = write(STDERR_FILENO, said, strlen(said));
    (void)written;
    raise(number); /* the handler is gone: the default action follows */
}

void crash_say(const char *text)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_handler = text == NULL ? SIG_DFL : on_crash,
                               .sa_flags = (int)SA_RESETHAND};
    said = text;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], &action, NULL);
    }
}
