/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bank teller of the tests: an embedded process that moves money between accounts of a store,
 * over nothing but lockstep.h, until it is killed.
 *
 *     teller URL open ACCOUNTS AMOUNT
 *     teller URL move ACCOUNTS NAME SEED TTL_MS
 *         "moved N" for the N-th transfer that was answered; the same N is written to the key
 *         done/NAME in the same transaction
 *     teller URL sum ACCOUNTS NAME ...
 *         the sum of all accounts, and for each name what done/NAME has, all as of one moment
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep.h"

#define NAME_SIZE 64
#define KEYS_MAX  64

static int fail(const char *doing)
{
    fprintf(stderr, "teller: %s: %s: %s\n", doing, ls_errname(ls_last_error()->code),
            ls_last_error()->text);
    return 1;
}

static ls_bytes bytes(const char *text)
{
    return (ls_bytes){text, strlen(text)};
}

static ls_bytes account(char name[NAME_SIZE], unsigned number)
{
    snprintf(name, NAME_SIZE, "account/%u", number);
    return bytes(name);
}

static int open_accounts(ls *handle, unsigned count, const char *amount)
{
    char names[KEYS_MAX][NAME_SIZE];
    ls_txn_operation operations[KEYS_MAX];
    ls_values *results;
    for (unsigned i = 0; i < count; i++) {
        operations[i] = (ls_txn_operation){
            .kind = LS_TXN_PUT, .key = account(names[i], i), .value = bytes(amount)};
    }
    if (ls_txn_execute(handle, operations, count, &results) != 0) {
        return fail("open");
    }
    ls_values_free(results);
    return 0;
}

/* ---- moving ---- */

struct transfer {
    ls_bytes from, to, done;
    long amount;
    long number;
    unsigned pause_us; /* between reading and writing: when a kill leaves it open */
};

static int put_number(ls_transaction *transaction, ls_bytes key, long number)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%ld", number);
    return ls_txn_put(transaction, key, (ls_bytes){text, (size_t)size});
}

static int carry_out(ls_transaction *transaction, void *context)
{
    const struct transfer *transfer = context;
    ls_bytes from, to;
    int result = ls_txn_read(transaction, transfer->from, &from);
    result = result != 0 ? result : ls_txn_read(transaction, transfer->to, &to);
    if (result != 0) {
        return result;
    }
    usleep(transfer->pause_us);
    result = put_number(transaction, transfer->from, atol(from.data) - transfer->amount);
    result = result != 0 ? result
                         : put_number(transaction, transfer->to, atol(to.data) + transfer->amount);
    return result != 0 ? result : put_number(transaction, transfer->done, transfer->number);
}

static int move_step_by_step(ls *handle, struct transfer *transfer, uint64_t ttl_ms)
{
    const ls_txn_key keys[] = {{transfer->from, LS_TXN_EAGER | LS_TXN_WILL},
                               {transfer->to, LS_TXN_LAZY | LS_TXN_MAY},
                               {transfer->done, LS_TXN_WILL}};
    ls_txn_options options = LS_TXN_OPTIONS_INIT;
    options.ttl_ms = ttl_ms;
    return ls_txn_run(handle, keys, 3, &options, carry_out, transfer);
}

static int move_at_once(ls *handle, const struct transfer *transfer)
{
    char number[24];
    snprintf(number, sizeof number, "%ld", transfer->number);
    const ls_txn_operation operations[] = {
        {.kind = LS_TXN_INCRBY, .key = transfer->from, .number = -transfer->amount},
        {.kind = LS_TXN_INCRBY, .key = transfer->to, .number = transfer->amount},
        {.kind = LS_TXN_PUT, .key = transfer->done, .value = bytes(number)}};
    ls_values *results;
    int result = ls_txn_execute(handle, operations, 3, &results);
    if (result == 0) {
        ls_values_free(results);
    }
    return result;
}

static unsigned draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed / 65536 % below;
}

static int move_for_ever(ls *handle, unsigned accounts, const char *name, unsigned seed,
                         uint64_t ttl_ms)
{
    char from[NAME_SIZE], to[NAME_SIZE], done[NAME_SIZE];
    snprintf(done, sizeof done, "done/%s", name);
    for (long number = 1;;) {
        unsigned first = draw(&seed, accounts);
        struct transfer transfer = {
            .from = account(from, first),
            .to = account(to, (first + 1 + draw(&seed, accounts - 1)) % accounts),
            .done = bytes(done),
            .amount = 1 + (long)draw(&seed, 50),
            .number = number,
            .pause_us = draw(&seed, 2000)};
        int result = draw(&seed, 3) == 0 ? move_at_once(handle, &transfer)
                                         : move_step_by_step(handle, &transfer, ttl_ms);
        if (result == LS_ETXNEXPIRED) {
            continue; /* it waited for one that was killed until its own time was over */
        }
        if (result != 0) {
            return fail("move");
        }
        printf("moved %ld\n", number++);
        fflush(stdout);
    }
}

/* ---- looking ---- */

static int sum(ls *handle, unsigned accounts, char **names, int name_count)
{
    char texts[KEYS_MAX][NAME_SIZE];
    ls_bytes keys[KEYS_MAX];
    ls_values *values;
    unsigned count = accounts;
    long money = 0;
    for (unsigned i = 0; i < accounts; i++) {
        keys[i] = account(texts[i], i);
    }
    for (int i = 0; i < name_count; i++, count++) {
        snprintf(texts[count], NAME_SIZE, "done/%s", names[i]);
        keys[count] = bytes(texts[count]);
    }
    if (ls_txn_get(handle, LS_TXN_NOW, keys, count, &values) != 0) {
        return fail("sum");
    }
    for (unsigned i = 0; i < accounts; i++) {
        money += atol(ls_values_get(values, i)->data);
    }
    printf("%ld", money);
    for (unsigned i = accounts; i < count; i++) {
        const ls_bytes *value = ls_values_get(values, i);
        printf(" %s", value->data == NULL ? "0" : (const char *)value->data);
    }
    putchar('\n');
    ls_values_free(values);
    return 0;
}

int main(int argc, char **argv)
{
    ls *handle;
    if (argc < 4) {
        fprintf(stderr, "usage: see the source\n");
        return 2;
    }
    if (ls_open(&handle, argv[1], NULL) != 0) {
        return fail("open");
    }
    const char *command = argv[2];
    unsigned accounts = (unsigned)atoi(argv[3]);
    int status = 2;
    if (strcmp(command, "open") == 0 && argc == 5) {
        status = open_accounts(handle, accounts, argv[4]);
    } else if (strcmp(command, "move") == 0 && argc == 7) {
        status = move_for_ever(handle, accounts, argv[4], (unsigned)atoi(argv[5]),
                               (uint64_t)atoi(argv[6]));
    } else if (strcmp(command, "sum") == 0) {
        status = sum(handle, accounts, argv + 4, argc - 4);
    }
    ls_close(handle);
    return status;
}
