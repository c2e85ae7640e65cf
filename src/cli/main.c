/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep: looks at and changes a coordinator from the command line. Finds the command and runs
 * it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "cli/cli.h"

static bool wants_colour(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* What stands before the @ of a server is a secret. The caller frees. */
static char *without_secrets(const char *url)
{
    const char *sign = strrchr(url, '@');
    size_t scheme = strcspn(url, "/");
    char *place = strdup(url);
    if (place != NULL && sign != NULL && strncmp(url + scheme, "//", 2) == 0) {
        memmove(place + scheme + 2, sign + 1, strlen(sign));
    }
    return place;
}

static int help(struct cli *cli)
{
    if (cli->command != NULL) {
        cli_help_command(cli, cli->command);
    } else {
        cli_help(cli);
    }
    return EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("lockstep %s\n", ls_version());
        return EXIT_OK;
    }
    int status = cli_parse(cli, argc, argv);
    if (status != EXIT_OK) {
        return status;
    }
    if (cli->help) {
        return help(cli);
    }
    if (cli->command == NULL) {
        return cli_usage(cli, "a command is missing");
    }
    char *place = without_secrets(cli->url);
    if (place == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    cli->place = place;
    status = cli->command->run(cli);
    free(place);
    return status;
}

int main(int argc, char **argv)
{
    crash_say("lockstep: crashed. Where this was on a directory it may be damaged: run "
              "`lockstep check`.\n");
    struct cli cli = {0};
    const char *url = getenv("LOCKSTEP_URL");
    cli.url = url != NULL && *url != '\0' ? url : CLI_DEFAULT_URL;
    cli.colour = wants_colour();

    int status = run(&cli, argc, argv);
    if (fflush(stdout) != 0) {
        return cli_fail("standard output cannot be written: %s", strerror(errno));
    }
    return ferror(stdout) ? cli_fail("standard output could not be written") : status;
}
