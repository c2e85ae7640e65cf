/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what the URL names, files, and the signals that end a command that follows. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

volatile int cli_stopped;

static void stop(int number)
{
    (void)number;
    cli_stopped = 1;
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* Of a pipe whose reading end is closed; a plain file or a terminal never says so. */
static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0;
}

bool cli_is_over(void)
{
    return cli_stopped || ferror(stdout) || reader_is_gone();
}

int cli_open(const struct cli *cli, enum access access, ls **out)
{
    ls_options options = LS_OPTIONS_INIT;
    options.no_create = access != ACCESS_CHANGE;
    options.read_only = access == ACCESS_READ;
    cli_credentials(&options, cli->url);
    options.client_name = "lockstep-cli";
    return ls_open(out, cli->url, &options) == 0 ? EXIT_OK : cli_fail_open(cli, ls_last_error());
}

const char *cli_directory_argument(const struct cli *cli)
{
    if (cli->argc == 0) {
        return cli_directory(cli);
    }
    const char *text = cli->argv[0];
    if (strncmp(text, "lmdb:", 5) == 0) {
        return text + 5;
    }
    return strstr(text, "://") == NULL ? text : NULL;
}

const char *cli_directory(const struct cli *cli)
{
    if (strncmp(cli->url, "lmdb:", 5) == 0) {
        return cli->url + 5;
    }
    /* What has no scheme is a path: the store and the library say the same. */
    size_t scheme = strspn(cli->url, "abcdefghijklmnopqrstuvwxyz0123456789+-");
    return cli->url[scheme] == ':' ? NULL : cli->url;
}

int cli_read_file(const char *path, size_t size_max, struct buf *out)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_fail("%s: %s", path, strerror(errno));
    }
    int status = EXIT_OK;
    while (status == EXIT_OK) {
        if (buf_reserve(out, 65536) != 0) {
            status = cli_fail("%s", ls_strerror(LS_ENOMEM));
            break;
        }
        ssize_t got = read(fd, out->data + out->size, out->capacity - out->size);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            status = cli_fail("%s: %s", standard ? "standard input" : path, strerror(errno));
        } else if (got > 0) {
            out->size += (size_t)got;
            if (out->size > size_max) {
                status = cli_fail("%s is longer than %zu bytes", standard ? "standard input" : path,
                                  size_max);
            }
        }
    }
    if (!standard) {
        close(fd);
    }
    return status;
}
