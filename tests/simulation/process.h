/*
 * The inside of a simulated server, shared by its files. Not for use outside process*.c.
 */
#ifndef LS_TESTS_PROCESS_H
#define LS_TESTS_PROCESS_H

#include "sim.h"

enum purpose {
    FOR_CLIENT,
    FOR_RENEWAL,
    FOR_EXPIRY,
    FOR_RETENTION,
    FOR_EPOCH,
    FOR_RELEASE,
    FOR_TICK
};

/* A request that the sequencer has, with what it points to. */
struct pending {
    struct pending *next;
    enum purpose purpose;
    unsigned client;
    uint64_t connection;
    uint64_t op;
    bool held;          /* FOR_EXPIRY: the life was bound here when it was found late */
    uint64_t silent_ns; /* and had been silent for so long */
    struct request request;
    struct ls_error error;
    struct binding life;
    struct object_condition condition;
    struct object_operation operations[OPS_TXN];
    uint8_t marks[OPS_TXN][MARK_SIZE];
    uint8_t item[ITEM_SIZE];
    struct txn_call call;
    ls_bytes keys[4][OPS_TXN];
    struct txn_value values[VALUES_MAX];
    struct txn_write writes[OPS_TXN];
    struct txn_op ops[OPS_TXN];
};

/* Schedules an event of the process. */
void process_timer(struct sim *sim, struct process *process, uint64_t delay_ns,
                   enum event_kind kind);

/* process_request.c: the pending request becomes what the op asks for. */
void request_fill(struct process *process, struct pending *pending, const struct op *op);

/* process.c */
struct pending *pending_new(struct process *process, enum purpose purpose);
void process_submit(struct sim *sim, struct process *process, struct pending *pending);
void process_send(struct sim *sim, struct process *process, struct connection *connection,
                  unsigned client, uint32_t packet);

/* process_txn.c: calls made of ops, and answers of calls. */
void request_fill_txn(struct pending *pending, const struct op *op);
void answer_fill_txn(struct answer *answer, const struct pending *pending, const struct op *op);
/* The owner of the transaction is gone. */
void process_release(struct sim *sim, struct process *process, uint64_t timestamp);
/* Another process committed: what waits here may go on. */
void process_tick_others(struct sim *sim, struct process *process);

/* process_read.c: a page of the box, with *oldest where it is LS_ECOMPACTED; an object; all. */
int process_read_box(struct sim *sim, struct process *process, uint64_t from, struct packet *page,
                     uint64_t *oldest);
void process_read_object(struct sim *sim, struct process *process, const struct op *op,
                         struct answer *answer);
void process_read_objects(struct sim *sim, struct process *process, struct answer *answer);

#endif
