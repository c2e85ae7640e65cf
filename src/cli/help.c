/* SPDX-License-Identifier: Apache-2.0 */
/* The help, all of it made from the table of commands. */
#include <string.h>

#include "cli/cli.h"

#define URL_HELP                                                                               \
    "a directory (lmdb:DIR, or a bare path) or a server (lockstep://HOST[:PORT]); by default " \
    "$LOCKSTEP_URL, else " CLI_DEFAULT_URL

#define WIDTH          80
#define OPTION_COLUMN  24
#define COMMAND_COLUMN 12

/* Prints `text` from `from` on, where the cursor is in `column`, broken between words. */
static void print_wrapped(int column, int from, const char *text)
{
    if (column >= from) {
        putchar('\n');
        column = 0;
    }
    printf("%*s", from - column, "");
    column = from;
    while (*text != '\0') {
        int size = (int)strcspn(text, " ");
        if (column > from && column + 1 + size > WIDTH) {
            printf("\n%*s", from, "");
            column = from;
        }
        if (column > from) {
            putchar(' ');
            column++;
        }
        printf("%.*s", size, text);
        column += size;
        text += size;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const struct option_spec *option)
{
    const char *value = option->value != NULL ? option->value : "";
    print_wrapped(printf("  --%s%s%s", option->name, option->value != NULL ? " " : "", value),
                  OPTION_COLUMN, option->help);
}

/* Those of every command; an empty `url` leaves that one out. */
static void print_shared_options(const char *url)
{
    const struct option_spec options[] = {
        {"url", "URL", url},
        {"json", NULL, "one JSON object a line instead of text"},
        {"help", NULL, "this help"},
    };
    for (size_t i = *url == '\0'; i < sizeof(options) / sizeof(options[0]); i++) {
        print_option(&options[i]);
    }
}

void cli_help(const struct cli *cli)
{
    const char *bold = cli_colour(cli, COLOUR_BOLD);
    const char *plain = cli_colour(cli, COLOUR_NONE);
    printf(
        "%slockstep%s [--url URL] COMMAND [ARGUMENT ...]\n\n"
        "Looks at and changes a Lockstep coordinator: a data directory, or a running lockstepd.\n"
        "\n%sCommands%s\n",
        bold, plain, bold, plain);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        print_wrapped(printf("  %s", cli_commands[i]->name), COMMAND_COLUMN,
                      cli_commands[i]->summary);
    }
    print_wrapped(printf("  help"), COMMAND_COLUMN, "This, or with the name of a command its help");
    printf("\n%sOptions%s\n", bold, plain);
    print_shared_options(URL_HELP);
    printf("  --version\n\n"
           "Exit status: 0, 1 for a failure, 2 for wrong usage.\n");
}

void cli_help_command(const struct cli *cli, const struct command *command)
{
    const char *bold = cli_colour(cli, COLOUR_BOLD);
    const char *plain = cli_colour(cli, COLOUR_NONE);
    printf("%slockstep %s%s%s%s%s\n\n%s\n", bold, command->name, plain,
           command->arguments[0] != '\0' ? " " : "", command->arguments,
           command->options[0].name != NULL ? " [OPTION ...]" : "", command->summary);
    if (command->text[0] != '\0') {
        printf("\n%s", command->text);
    }
    printf("\n%sOptions%s\n", bold, plain);
    for (size_t i = 0; i < CLI_OPTIONS_MAX && command->options[i].name != NULL; i++) {
        print_option(&command->options[i]);
    }
    print_shared_options(command->url != NULL ? command->url : URL_HELP);
}
