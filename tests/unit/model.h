/*
 * The reference model of the coordinator: plain arrays, one after another, no transactions, no
 * caches, no index. It takes the same requests and gives the same results, and says what every byte
 * of the store must be. It knows the codecs, and trusts them.
 */
#ifndef LS_TESTS_MODEL_H
#define LS_TESTS_MODEL_H

#include "base/buf.h"
#include "coordinator/request.h"

struct model_message {
    uint64_t clock;
    uint64_t timestamp_ns;
    uint64_t check;
    uint8_t type;
    ls_bytes record;
};

struct model_node {
    struct node node; /* its texts are its own */
};

struct model_object {
    ls_bytes key;
    struct object object; /* its bytes are its own */
};

struct model_producer {
    uint8_t id[16];
    struct producer producer;
};

struct model {
    uint64_t clock;
    uint64_t epoch;
    uint64_t newest;
    uint64_t chain;
    uint64_t discarded;
    uint64_t discarded_chain;
    struct model_message *messages;
    size_t message_count;
    struct model_node *nodes;
    size_t node_count;
    struct model_object *objects;
    size_t object_count;
    struct model_producer *producers;
    size_t producer_count;
};

struct model *model_new(void);
void model_free(struct model *model);

/* What coordinator_apply must do with the request and give back, run at `now_ns`. Of `error` only
 * the code and the number are set. A refused request changes nothing. */
int model_apply(struct model *model, struct request *request, uint64_t now_ns);

/* The store as it must be, as snapshot_take gives it. */
void model_snapshot(const struct model *model, struct buf *out);

/* What the box holds, in bytes. */
uint64_t model_box_bytes(const struct model *model);

const struct model_node *model_node(const struct model *model, ls_bytes host);
const struct model_object *model_object(const struct model *model, ls_bytes key);
/* The last number of an id; 0: none. */
uint64_t model_seq(const struct model *model, const uint8_t id[16]);

#endif
