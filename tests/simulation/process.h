/*
 * The inside of a simulated server, shared by its files. Not for use outside process*.c.
 */
#ifndef LS_TESTS_PROCESS_H
#define LS_TESTS_PROCESS_H

#include "sim.h"

enum purpose { FOR_CLIENT, FOR_RENEWAL, FOR_EXPIRY, FOR_RETENTION, FOR_EPOCH };

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
};

/* Schedules an event of the process. */
void process_timer(struct sim *sim, struct process *process, uint64_t delay_ns,
                   enum event_kind kind);

/* process_request.c: the pending request becomes what the op asks for. */
void request_fill(struct process *process, struct pending *pending, const struct op *op);

/* process.c */
void process_send(struct sim *sim, struct process *process, struct connection *connection,
                  unsigned client, uint32_t packet);

/* process_read.c: a page of the box, with *oldest where it is LS_ECOMPACTED; an object; all. */
int process_read_box(struct sim *sim, struct process *process, uint64_t from, struct packet *page,
                     uint64_t *oldest);
void process_read_object(struct sim *sim, struct process *process, const struct op *op,
                         struct answer *answer);
void process_read_objects(struct sim *sim, struct process *process, struct answer *answer);

#endif
