/* SPDX-License-Identifier: Apache-2.0 */
/* The server of a live run: lockstepd from beside this program, or else from PATH, on a port that
 * the system picks. It dies with the run. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "model/live.h"

#define WAIT_MS     10000 /* for it to be ready, and to stop */
#define NOT_FOUND   127   /* as the shell has it */
#define LOG_TO_READ 4096

static void pause_ms(long ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

static void log_path(const struct live_server *server, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/log", server->directory);
}

/* Where lockstepd may be: beside this program, in the folder next to its own where it was built. */
static void execute(char *const arguments[])
{
    static const char *const places[] = {"/lockstepd", "/../server/lockstepd"};
    char own[PATH_MAX];
    char path[PATH_MAX + 32];
    ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    if (size > 0) {
        own[size] = '\0';
        char *slash = strrchr(own, '/');
        *(slash != NULL ? slash : own) = '\0';
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            snprintf(path, sizeof path, "%s%s", own, places[i]);
            execv(path, arguments);
        }
    }
    execvp("lockstepd", arguments);
}

static _Noreturn void become_server(const struct live_server *server, pid_t parent)
{
    char *arguments[] = {"lockstepd", "--store", "mem:", "--listen", "127.0.0.1:0", NULL};
    char path[PATH_MAX];
    log_path(server, path);
    int log = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(EXIT_FAILURE);
    }
    setpgid(0, 0); /* an interrupt from the keyboard is for the run, which then ends the server */
    execute(arguments);
    _exit(NOT_FOUND);
}

/* Whether the log says that it is ready, and then where. */
static bool is_ready(struct live_server *server)
{
    char path[PATH_MAX];
    char text[LOG_TO_READ];
    unsigned port = 0;
    log_path(server, path);
    FILE *log = fopen(path, "re");
    if (log == NULL) {
        return false;
    }
    size_t size = fread(text, 1, sizeof text - 1, log);
    fclose(log);
    text[size] = '\0';
    const char *at = strstr(text, "listening on 127.0.0.1:");
    if (at == NULL || strstr(at, "ready\n") == NULL ||
        sscanf(at, "listening on 127.0.0.1:%u", &port) != 1) {
        return false;
    }
    snprintf(server->url, sizeof server->url, "lockstep://127.0.0.1:%u", port);
    return true;
}

static int await_ready(struct live_server *server, struct ls_error *error)
{
    int status = 0;
    for (int waited = 0; waited < WAIT_MS; waited += 5) {
        if (is_ready(server)) {
            return 0;
        }
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server->pid = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND
                       ? error_set(error, LS_ENOTFOUND, 0,
                                   "there is no lockstepd beside this program or in PATH; give "
                                   "--url to use one that runs")
                       : error_set(error, LS_ECONN, 0, "lockstepd could not start");
        }
        pause_ms(5);
    }
    return error_set(error, LS_ECONN, 0, "lockstepd was not ready in %d s", WAIT_MS / 1000);
}

int live_server_start(struct live_server *server, struct ls_error *error)
{
    pid_t parent = getpid();
    *server = (struct live_server){.directory = "/tmp/lockstep-model-XXXXXX"};
    if (mkdtemp(server->directory) == NULL) {
        server->directory[0] = '\0';
        return error_set(error, LS_EIO, 0, "no temporary directory: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_server(server, parent);
    }
    int rc = 0;
    if (pid < 0) {
        rc = error_set(error, LS_ENOMEM, 0, "no process for the server: %s", strerror(errno));
    } else {
        server->pid = pid;
        rc = await_ready(server, error);
    }
    if (rc != 0) {
        live_server_stop(server);
    }
    return rc;
}

void live_server_stop(struct live_server *server)
{
    char path[PATH_MAX];
    if (server->pid > 0) {
        bool gone = false;
        kill(server->pid, SIGTERM);
        for (int waited = 0; waited < WAIT_MS && !gone; waited += 5) {
            gone = waitpid(server->pid, NULL, WNOHANG) != 0;
            if (!gone) {
                pause_ms(5);
            }
        }
        if (!gone) {
            kill(server->pid, SIGKILL);
            waitpid(server->pid, NULL, 0);
        }
        server->pid = 0;
    }
    if (server->directory[0] != '\0') {
        log_path(server, path);
        unlink(path);
        rmdir(server->directory);
        server->directory[0] = '\0';
    }
}
