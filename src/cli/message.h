/* A message as read and watch print it. */
#ifndef LS_CLI_MESSAGE_H
#define LS_CLI_MESSAGE_H

#include "cli/cli.h"

/* Prints messages one by one, with its memory kept from one to the next. All zeros but `cli`. */
struct message_printer {
    const struct cli *cli;
    struct buf scratch;
    struct json json;
};

/* EXIT_OK or EXIT_FAILED with the sentence. */
int message_print(struct message_printer *printer, const ls_message *message);
void message_printer_free(struct message_printer *printer);

/* "user.created", or less where it has less: what kind of message it is. */
#define MESSAGE_WORDS_SIZE 40
void message_words(char out[MESSAGE_WORDS_SIZE], const ls_message *message);

/* "user", "created"; NULL for a byte that has no word. */
const char *message_type_word(uint8_t type);
const char *message_event_word(uint8_t event);

#endif
