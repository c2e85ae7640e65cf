/* SPDX-License-Identifier: Apache-2.0 */
/* An op as a request: what a server makes of the words of a command. */
#include "process.h"

#include <assert.h>

static void fill_txn(struct pending *pending, const struct op *op)
{
    struct request *r = &pending->request;
    r->kind = REQUEST_OBJECT_TXN;
    r->in.txn.operations = pending->operations;
    r->in.txn.operation_count = op->write_count;
    for (unsigned i = 0; i < op->write_count; i++) {
        mark_make(pending->marks[i], op, i);
        pending->operations[i] =
            (struct object_operation){.key = bytes_of_text(sim_key(op->writes[i].key)),
                                      .value = bytes_of(pending->marks[i], MARK_SIZE),
                                      .del = op->writes[i].del};
    }
    if (op->has_if) {
        pending->condition = (struct object_condition){.key = bytes_of_text(sim_key(op->if_key)),
                                                       .modified = op->if_modified};
        r->in.txn.conditions = &pending->condition;
        r->in.txn.condition_count = 1;
    }
}

static void fill_post(struct pending *pending, const struct op *op)
{
    struct request *r = &pending->request;
    item_make(pending->item, op);
    r->kind = REQUEST_POST;
    r->in.post.type = (uint8_t)op->type;
    r->in.post.event = op->type == LS_USER ? LS_NO_EVENT : LS_CREATED;
    r->in.post.has_clock = op->has_carried;
    r->in.post.clock = op->carried;
    r->in.post.has_seq = op->seq != 0;
    r->in.post.seq = op->seq;
    r->in.post.object = bytes_of(pending->item, ITEM_SIZE);
    if (op->to != NOBODY) {
        r->in.post.to = bytes_of_text(sim_host(op->to));
    }
}

void request_fill(struct process *process, struct pending *pending, const struct op *op)
{
    struct request *r = &pending->request;
    ls_bytes key = bytes_of_text(sim_key(op->writes[0].key));
    switch (op->ask) {
    case ASK_JOIN:
        r->kind = REQUEST_NODE_JOIN;
        r->in.join.host = bytes_of_text(sim_host(op->to));
        identity_make(r->in.join.id, op->actor, op->to);
        r->in.join.ttl_ms = op->count;
        r->in.join.via = process->epoch;
        r->in.join.held = presence_holds_other(process->presence, r->in.join.host, r->in.join.id);
        break;
    case ASK_POST:
        fill_post(pending, op);
        break;
    case ASK_NEXT:
        r->kind = REQUEST_CLOCK_NEXT;
        r->in.clock_next.count = op->count;
        break;
    case ASK_WITNESS:
        r->kind = REQUEST_CLOCK_WITNESS;
        r->in.clock_witness.seen = op->carried;
        break;
    case ASK_TRIM:
        r->kind = REQUEST_TRIM;
        r->in.trim.before = op->from;
        r->in.trim.older_ns = op->older_ns;
        break;
    case ASK_STATE:
        r->kind = REQUEST_NODE_STATE;
        r->in.state.state = op->leaving ? NODE_LEAVING : NODE_UP;
        break;
    case ASK_LEAVE:
        r->kind = REQUEST_NODE_LEAVE;
        break;
    case ASK_ACK:
        r->kind = REQUEST_NODE_ACK;
        r->in.ack.clock = op->carried;
        break;
    case ASK_PUT:
        r->kind = REQUEST_OBJECT_PUT;
        mark_make(pending->marks[0], op, 0);
        r->in.put.key = key;
        r->in.put.value = bytes_of(pending->marks[0], MARK_SIZE);
        r->in.put.has_if = op->has_if;
        r->in.put.modified = op->if_modified;
        r->in.put.nx = op->nx;
        r->in.put.xx = op->xx;
        r->in.put.owned = op->owned;
        break;
    case ASK_DEL:
        r->kind = REQUEST_OBJECT_DEL;
        r->in.del.key = key;
        r->in.del.has_if = op->has_if;
        r->in.del.modified = op->if_modified;
        break;
    default:
        assert(op->ask == ASK_TXN);
        fill_txn(pending, op);
    }
}
