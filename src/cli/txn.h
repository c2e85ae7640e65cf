/* The two halves of `lockstep txn`. */
#ifndef LS_CLI_TXN_H
#define LS_CLI_TXN_H

#include "cli/cli.h"

/* Prints what was read of a key: data NULL says that it is absent. */
int txn_say_value(const struct cli *cli, const char *operation, ls_bytes key, ls_bytes value);

/* Transactions step by step, from standard input. */
int txn_steps(const struct cli *cli, ls *handle);

#endif
