/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstepd: flags and config file, what happens on a crash, and the exit status: 0 after an
 * orderly stop, 1 where it could not start, 2 for wrong usage.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/log.h"
#include "server/command.h"
#include "server/config.h"
#include "server/server.h"

static void install_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
    crash_say("lockstepd: crashed. If this is not the first time the store may be damaged: run "
              "`lockstep check`.\n");
}

static void print_help(void)
{
    printf(
        "Usage: lockstepd [--config FILE] [--SETTING VALUE]...\n\n"
        "The server of Lockstep. It runs in the foreground and logs to stderr.\n\n"
        "    --config FILE\n        Read settings from a file of `name value` lines; flags win.\n"
        "    --help\n    --version\n"
        "    --print-commands\n        Print the manual's list of commands, in Markdown.\n\n"
        "Settings:\n\n");
    config_print_help(stdout);
}

/* Flags that print something and end: true where there was one. */
static bool print_and_end(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("lockstepd %s\n", LS_VERSION);
            return true;
        }
        if (strcmp(argv[i], "--print-commands") == 0) {
            command_print(stdout);
            return true;
        }
    }
    return false;
}

/* A value that cannot be is wrong usage, whether that shows when it is read or when it is used. */
static int exit_status(int code)
{
    return code == LS_EINVAL ? 2 : 1;
}

int main(int argc, char **argv)
{
    struct config config;
    struct ls_error error;
    if (print_and_end(argc, argv)) {
        if (fflush(stdout) != 0 || ferror(stdout)) {
            fprintf(stderr, "lockstepd: standard output cannot be written\n");
            return 1;
        }
        return 0;
    }
    if (config_init(&config) != 0) {
        fprintf(stderr, "lockstepd: out of memory\n");
        return 1;
    }
    int rc = config_read_flags(&config, argc, argv, &error);
    if (rc != 0) {
        fprintf(stderr, "lockstepd: %s%s\n", error.text,
                rc == LS_EINVAL ? "; see lockstepd --help" : "");
        config_free(&config);
        return exit_status(rc);
    }
    log_set_level((enum log_level)config.log_level);
    install_signals();
    command_index();
    struct server *server;
    rc = server_open(&server, &config, &error);
    if (rc == 0) {
        rc = server_run(server, &error);
    }
    if (rc != 0) {
        log_write(LOG_ERROR, "%s", error.text);
    }
    return rc == 0 ? 0 : exit_status(rc);
}
