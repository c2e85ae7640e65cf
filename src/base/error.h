/*
 * What a refused request says: a code of lockstep.h, the number that belongs to it, a sentence.
 * A function that takes a `struct ls_error *` fills it exactly when it returns a negative code.
 */
#ifndef LS_BASE_ERROR_H
#define LS_BASE_ERROR_H

#include "lockstep.h"

/* Sets all three and returns `code`. `error` may be NULL. The sentence must not repeat the word. */
int error_set(struct ls_error *error, int code, uint64_t number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Sets the code with its standard message. */
int error_code(struct ls_error *error, int code);

/* The word on the wire of a code, "ERR" where it has none of its own. */
const char *error_word(int code);

/* The code of a word on the wire; LS_EINVAL for "ERR" and for a word that is not known. */
int error_from_word(const char *word, size_t size);

/* Makes *error what ls_last_error() gives on this thread. Only the public functions call it. */
void error_remember(const struct ls_error *error);

#endif
