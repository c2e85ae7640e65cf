/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bank: threads, and other processes, move money between accounts at the same time, each transfer
 * a transaction. Nothing is ever tried again, and at every moment the sum of all accounts is the
 * same.
 *
 *     bank [URL [THREADS [TRANSFERS]]]        default mem: 4 25
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lockstep.h>

#define ACCOUNTS    8
#define OPENING     100
#define THREADS_MAX 64

enum { NOT_ENOUGH = 1 };

struct teller {
    ls *handle; /* shared: any number of threads may use one */
    unsigned seed;
    int transfers;
    int refused;
    int result;
};

struct transfer {
    ls_bytes from, to;
    long amount;
};

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ls_last_error()->text);
    return 1;
}

static ls_bytes account(unsigned number)
{
    static const char names[ACCOUNTS][10] = {"account/0", "account/1", "account/2", "account/3",
                                             "account/4", "account/5", "account/6", "account/7"};
    return (ls_bytes){names[number], strlen(names[number])};
}

static long balance_of(const ls_bytes *value)
{
    return value->data == NULL ? 0 : strtol(value->data, NULL, 10);
}

static int put_balance(ls_transaction *transaction, ls_bytes key, long balance)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%ld", balance);
    return ls_txn_put(transaction, key, (ls_bytes){text, (size_t)size});
}

/* What a transfer does with the values that it read: 0 and it is committed, else nothing is. */
static int carry_out(ls_transaction *transaction, void *context)
{
    const struct transfer *transfer = context;
    ls_bytes from, to;
    int result;
    if ((result = ls_txn_read(transaction, transfer->from, &from)) != 0 ||
        (result = ls_txn_read(transaction, transfer->to, &to)) != 0) {
        return result;
    }
    if (balance_of(&from) < transfer->amount) {
        return NOT_ENOUGH;
    }
    result = put_balance(transaction, transfer->from, balance_of(&from) - transfer->amount);
    return result != 0 ? result
                       : put_balance(transaction, transfer->to, balance_of(&to) + transfer->amount);
}

static int move(ls *handle, struct transfer *transfer)
{
    const ls_txn_key keys[] = {{transfer->from, LS_TXN_EAGER | LS_TXN_MAY},
                               {transfer->to, LS_TXN_EAGER | LS_TXN_MAY}};
    return ls_txn_run(handle, keys, 2, NULL, carry_out, transfer);
}

static unsigned draw(struct teller *teller, unsigned below)
{
    teller->seed = teller->seed * 1103515245 + 12345;
    return teller->seed / 65536 % below;
}

static void *work(void *argument)
{
    struct teller *teller = argument;
    for (int i = 0; i < teller->transfers && teller->result >= 0; i++) {
        unsigned from = draw(teller, ACCOUNTS);
        unsigned to = (from + 1 + draw(teller, ACCOUNTS - 1)) % ACCOUNTS;
        struct transfer transfer = {account(from), account(to), 1 + (long)draw(teller, 80)};
        teller->result = move(teller->handle, &transfer);
        teller->refused += teller->result == NOT_ENOUGH;
        if (teller->result < 0) {
            failed("transfer");
        }
    }
    return NULL;
}

/* Money for each account that is not there yet. */
static int fill(ls_transaction *transaction, void *context)
{
    (void)context;
    int result = 0;
    for (unsigned i = 0; i < ACCOUNTS && result == 0; i++) {
        ls_bytes value;
        result = ls_txn_read(transaction, account(i), &value);
        if (result == 0 && value.data == NULL) {
            result = put_balance(transaction, account(i), OPENING);
        }
    }
    return result;
}

static int open_accounts(ls *handle)
{
    ls_txn_key keys[ACCOUNTS];
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        keys[i] = (ls_txn_key){account(i), LS_TXN_EAGER | LS_TXN_MAY};
    }
    return ls_txn_run(handle, keys, ACCOUNTS, NULL, fill, NULL);
}

/* All accounts, as they were at one moment. */
static int sum(ls *handle, long *out)
{
    ls_bytes keys[ACCOUNTS];
    ls_values *values;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        keys[i] = account(i);
    }
    int result = ls_txn_get(handle, LS_TXN_NOW, keys, ACCOUNTS, &values);
    if (result != 0) {
        return result;
    }
    *out = 0;
    for (size_t i = 0; i < ACCOUNTS; i++) {
        *out += balance_of(ls_values_get(values, i));
    }
    ls_values_free(values);
    return 0;
}

static int run_tellers(ls *handle, int threads, int transfers)
{
    pthread_t ids[THREADS_MAX];
    struct teller tellers[THREADS_MAX];
    int status = 0, started = 0, refused = 0;
    while (started < threads) {
        struct teller *teller = &tellers[started];
        *teller = (struct teller){
            .handle = handle, .seed = (unsigned)started + 1, .transfers = transfers};
        if (pthread_create(&ids[started], NULL, work, teller) != 0) {
            fprintf(stderr, "no thread\n");
            status = 1;
            break;
        }
        started++;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(ids[i], NULL);
        refused += tellers[i].refused;
        status |= tellers[i].result < 0;
    }
    printf("%d transfers, %d of them refused for want of money\n", started * transfers, refused);
    return status;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "mem:";
    int threads = argc > 2 ? atoi(argv[2]) : 4;
    int transfers = argc > 3 ? atoi(argv[3]) : 25;
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "1 to %d threads\n", THREADS_MAX);
        return 2;
    }
    ls *handle;
    long money;
    if (ls_open(&handle, url, NULL) != 0) {
        return failed("open");
    }
    int status = 0;
    if (open_accounts(handle) != 0) {
        status = failed("open the accounts");
    } else {
        status = run_tellers(handle, threads, transfers);
        if (sum(handle, &money) != 0) {
            status = failed("sum");
        } else {
            printf("the bank has %ld\n", money);
        }
    }
    ls_close(handle);
    return status;
}
