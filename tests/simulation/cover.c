/* SPDX-License-Identifier: Apache-2.0 */
/* What was reached, counted. */
#include "cover.h"

#include "base/error.h"
#include "sim.h"

static const char *const texts[COVERS] = {
#define X(name, text) text,
    COVER_MAP(X)
#undef X
};

#define CODES 40

static uint64_t counts[COVERS];
static uint64_t answers[ASKS][CODES];
static uint64_t faults[DISK_CALLS][CODES];

/* The answers that there must be, beyond success. */
static const struct {
    enum ask ask;
    int code;
} wanted[] = {
    {ASK_JOIN, LS_EINUSE},      {ASK_JOIN, LS_ENOSPACE},      {ASK_JOIN, LS_EIO},
    {ASK_POST, LS_ENOTJOINED},  {ASK_POST, LS_ENOSPACE},      {ASK_POST, LS_EIO},
    {ASK_POST, LS_ENOMEM},      {ASK_POST, LS_ECLOCKJUMP},    {ASK_POST, LS_ESEQGAP},
    {ASK_POST, LS_EDUPLICATE},  {ASK_PUT, LS_ECONFLICT},      {ASK_PUT, LS_ENOTJOINED},
    {ASK_PUT, LS_ENOSPACE},     {ASK_DEL, LS_ECONFLICT},      {ASK_DEL, LS_ENOSPACE},
    {ASK_TXN, LS_ECONFLICT},    {ASK_TXN, LS_ENOSPACE},       {ASK_STATE, LS_ENOTJOINED},
    {ASK_LEAVE, LS_ENOTJOINED}, {ASK_ACK, LS_EINVAL},         {ASK_ACK, LS_ENOTJOINED},
    {ASK_BEAT, LS_ENOTJOINED},  {ASK_READ, LS_ECOMPACTED},    {ASK_READ, LS_EIO},
    {ASK_GET, LS_ENOTFOUND},    {ASK_TRIM, LS_EIO},           {ASK_NEXT, LS_EIO},
    {ASK_BEGIN, LS_ENOSPACE},   {ASK_BEGIN, LS_ETXNEXPIRED},  {ASK_TXN_READ, LS_ETXNEXPIRED},
    {ASK_TXN_READ, LS_ENOLOCK}, {ASK_COMMIT, LS_ETXNEXPIRED}, {ASK_COMMIT, LS_ENOLOCK},
    {ASK_COMMIT, LS_EINVAL},    {ASK_ABORT, LS_ETXNEXPIRED},  {ASK_RUN, LS_ECONFLICT},
    {ASK_TXN_GET, LS_ETOOOLD},  {ASK_TXN_GET, LS_EINVAL},
};

void cover(enum cover what)
{
    counts[what]++;
}

void cover_answer(int ask, int status)
{
    answers[ask][-status]++;
}

void cover_fault(int call, int code)
{
    faults[call][-code]++;
}

static int say_missing(FILE *out, const char *what, const char *detail)
{
    if (out != NULL) {
        fprintf(out, "never happened: %s%s%s\n", what, detail[0] == '\0' ? "" : ": ", detail);
    }
    return 1;
}

static int missing(FILE *out)
{
    int count = 0;
    for (int i = 0; i < COVERS; i++) {
        if (counts[i] == 0) {
            count += say_missing(out, texts[i], "");
        }
    }
    for (int i = 0; i < ASKS; i++) {
        if (answers[i][0] == 0) {
            count += say_missing(out, ask_names[i], "done");
        }
    }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (answers[wanted[i].ask][-wanted[i].code] == 0) {
            count += say_missing(out, ask_names[wanted[i].ask], ls_errname(wanted[i].code));
        }
    }
    for (int i = 0; i < DISK_CALLS; i++) {
        if (faults[i][-LS_EIO] == 0) {
            count += say_missing(out, "a fault of", disk_call_names[i]);
        }
    }
    return count;
}

static void print_counts(FILE *out)
{
    for (int i = 0; i < COVERS; i++) {
        fprintf(out, "%10llu  %s\n", (unsigned long long)counts[i], texts[i]);
    }
    for (int i = 0; i < ASKS; i++) {
        fprintf(out, "%10llu  %s", (unsigned long long)answers[i][0], ask_names[i]);
        for (int code = 1; code < CODES; code++) {
            if (answers[i][code] > 0) {
                fprintf(out, ", %s %llu", ls_errname(-code), (unsigned long long)answers[i][code]);
            }
        }
        fputc('\n', out);
    }
    for (int i = 0; i < DISK_CALLS; i++) {
        uint64_t sum = 0;
        for (int code = 0; code < CODES; code++) {
            sum += faults[i][code];
        }
        fprintf(out, "%10llu  %s that failed\n", (unsigned long long)sum, disk_call_names[i]);
    }
}

void cover_print(FILE *out, bool all)
{
    if (all) {
        print_counts(out);
    }
    (void)missing(out);
}

int cover_missing(void)
{
    return missing(NULL);
}
