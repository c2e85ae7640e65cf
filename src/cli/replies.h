/*
 * Counts the replies in a stream of RESP without looking at more of them than it must: what a load
 * generator, which shares its machine with the server, can afford.
 */
#ifndef LS_CLI_REPLIES_H
#define LS_CLI_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLIES_ERROR_SIZE 200

/* How often a reply was an error, and the first. */
struct reply_errors {
    uint64_t count;
    char first[REPLIES_ERROR_SIZE];
};

/* Where a stream stands; all zeros at its start. */
struct reply_counter {
    uint64_t open;   /* values still to come in the reply under way; 0: between replies */
    uint64_t skip;   /* bytes still to come of a string and its line end */
    uint64_t number; /* of the line under way */
    uint8_t type;    /* of the line under way; 0: none */
    bool negative;
    uint8_t text_size; /* of the error line under way */
    char text[REPLIES_ERROR_SIZE];
};

/* Takes the next bytes of the stream: how many replies ended in them, or -1 where it is not
 * RESP. */
int64_t replies_count(struct reply_counter *counter, const uint8_t *data, size_t size,
                      struct reply_errors *errors);

#endif
