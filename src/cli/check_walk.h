/*
 * Verifying a store: every record, the chain of checks, and that the records agree with one another
 * and with the log of their changes. It reads one transaction and changes nothing; it knows no
 * directory and no output.
 */
#ifndef LS_CLI_CHECK_WALK_H
#define LS_CLI_CHECK_WALK_H

#include "coordinator/read.h"
#include "lockstep.h"

struct check_fault {
    ls_bytes key;     /* of the record; empty: the fault is not in one */
    const char *text; /* a sentence */
    bool has_offset;
    uint64_t offset; /* in the record */
};

struct check_report {
    void (*fault)(void *context, const struct check_fault *fault);
    void (*step)(void *context, ls_bytes key); /* before a record is looked at; may be NULL */
    void *context;
};

struct check_totals {
    uint64_t clock;
    uint64_t faults;
    uint64_t controls;
    uint64_t messages;
    uint64_t nodes;
    uint64_t objects;
    uint64_t producers;
    uint64_t versions;
};

/* Reports each fault and counts them. 0 once everything was looked at, whatever was found;
 * LS_ENOMEM, LS_EIO or LS_ECORRUPT where it could not be. */
int check_walk(struct reading *reading, const struct check_report *report,
               struct check_totals *totals, struct ls_error *error);

#endif
