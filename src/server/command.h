/*
 * Commands as data: one table drives dispatch, COMMAND, `lockstepd --print-commands` and with it
 * docs/commands.md. A handler is called with the arguments already counted.
 */
#ifndef LS_SERVER_COMMAND_H
#define LS_SERVER_COMMAND_H

#include <stdio.h>

#include "base/buf.h"
#include "server/conn.h"

enum command_flag {
    COMMAND_WRITE = 1,     /* changes the store */
    COMMAND_READ = 2,      /* reads the store */
    COMMAND_QUEUED = 4,    /* may be sent on behind writes that are not yet answered */
    COMMAND_ADMIN = 8,     /* for operators */
    COMMAND_FAST = 16,     /* takes time that does not grow with what is stored */
    COMMAND_WATCHING = 32, /* allowed in RESP2 while watching */
    COMMAND_NO_AUTH = 64   /* allowed before AUTH */
};

/* One command as a client sent it. The arguments are borrowed from the connection's input. */
struct call {
    struct server *server;
    struct conn *conn;
    const struct command *command;
    size_t argc; /* the name counts */
    const ls_bytes *argv;
    struct ls_error *error;
};

/* 0 where it answered, queued its write, or parked the connection; or a negative code with the
 * error filled, and then nothing was written and nothing changed. */
typedef int command_handler(struct call *call);

struct command {
    const char *name;
    const char *group;
    int args_min; /* the name counts */
    int args_max; /* -1: the handler has a limit of its own */
    unsigned flags;
    int key_first; /* 0: takes no keys */
    int key_last;
    int key_step;
    const char *arguments;
    const char *summary;
    const char *reply;
    command_handler *handler;
};

extern const struct command commands[];
extern const size_t command_count;

/* Makes the index; once, at the start. */
void command_index(void);

/* NULL where there is none; case does not matter. */
const struct command *command_find(ls_bytes name);

/* Runs one command, or says that it must wait for the writes before it (false): then it is to be
 * given again when they are answered. */
bool command_run(struct conn *conn, size_t argc, const ls_bytes *argv);

/* The manual's list of commands, in Markdown. */
void command_print(FILE *out);

/* Case does not matter. */
static inline bool arg_is(ls_bytes arg, const char *word)
{
    return bytes_are_word(arg, word);
}

/* Plain decimal digits. 0, or LS_EINVAL with a sentence that names `what`. */
int arg_number(ls_bytes arg, const char *what, uint64_t *out, struct ls_error *error);

/* No more of them than the loop can look at without holding up the others. 0 or LS_ETOOBIG with a
 * sentence that names the command's words and what they are. */
int arg_count(size_t count, size_t max, const char *taker, const char *what,
              struct ls_error *error);

/* The refusal of an argument that is not understood: names it and says what was expected. */
int arg_refuse(struct ls_error *error, ls_bytes arg, const char *expected);

#endif
