/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes, their messages and their words, all from LS_ERROR_MAP, and the last failure of a thread.
 * Nothing here allocates: telling of a failure must not fail.
 */
#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct ls_error last_error;

const char *ls_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
#define X(name, value, word, message) \
    case name:                        \
        return message;
        LS_ERROR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *ls_errname(int code)
{
    switch (code) {
    case 0:
        return "LS_OK";
#define X(name, value, word, message) \
    case name:                        \
        return #name;
        LS_ERROR_MAP(X)
#undef X
    default:
        return "LS_UNKNOWN";
    }
}

const char *ls_version(void)
{
    return LS_VERSION;
}

const ls_error *ls_last_error(void)
{
    return &last_error;
}

void error_remember(const struct ls_error *error)
{
    last_error = *error;
}

int error_set(struct ls_error *error, int code, uint64_t number, const char *format, ...)
{
    if (error == NULL) {
        return code;
    }
    error->code = code;
    error->number = number;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return code;
}

int error_code(struct ls_error *error, int code)
{
    const char *sentence = ls_strerror(code);
    size_t size = strlen(sentence) + 1;
    if (error != NULL) {
        assert(size <= sizeof error->text);
        error->code = code;
        error->number = 0;
        memcpy(error->text, sentence, size); /* "not found" is an answer like any other */
    }
    return code;
}

const char *error_word(int code)
{
    switch (code) {
#define X(name, value, word, message) \
    case name:                        \
        return word;
        LS_ERROR_MAP(X)
#undef X
    default:
        return "ERR";
    }
}

int error_from_word(const char *word, size_t size)
{
    static const struct {
        const char *word;
        int code;
    } words[] = {
#define X(name, value, word, message) {word, name},
        LS_ERROR_MAP(X)
#undef X
    };

    /* LS_EINVAL comes first, so "ERR" finds it before the other codes that share the word. */
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == size && memcmp(words[i].word, word, size) == 0) {
            return words[i].code;
        }
    }
    return LS_EINVAL;
}
