/* SPDX-License-Identifier: Apache-2.0 */
/* What requests weigh: for the room a store must have, and for the bounds of a batch. */
#include "coordinator/request.h"

/* Map keys, numbers, checks and the store's own share of a record, generously. */
#define RECORD_WEIGHT 256

/* A node and the message about it, but for its meta, which only the store knows. */
#define NODE_WEIGHT 2048

/* An object is stored twice, as itself and in its message, and may have an index entry. */
static size_t object_weight(size_t key_size, size_t value_size)
{
    return 2 * (key_size + value_size) + key_size + 3 * RECORD_WEIGHT;
}

size_t request_weight(const struct request *request)
{
    size_t as_size = request->as == NULL ? 0 : request->as->host_size;
    switch (request->kind) {
    case REQUEST_POST:
        return request->in.post.object.size + request->in.post.to.size + as_size + RECORD_WEIGHT;
    case REQUEST_NODE_JOIN:
        return object_weight(request->in.join.host.size, request->in.join.meta.size) +
               2 * request->in.join.host.size;
    case REQUEST_OBJECT_PUT:
        return object_weight(request->in.put.key.size, request->in.put.value.size) + 4 * as_size;
    case REQUEST_OBJECT_DEL:
        return request->in.del.key.size + as_size + RECORD_WEIGHT;
    case REQUEST_OBJECT_TXN: {
        size_t weight = 0;
        for (size_t i = 0; i < request->in.txn.operation_count; i++) {
            const struct object_operation *operation = &request->in.txn.operations[i];
            weight += operation->del
                          ? operation->key.size + as_size + RECORD_WEIGHT
                          : object_weight(operation->key.size, operation->value.size) + as_size;
        }
        return weight;
    }
    case REQUEST_EXTENSION:
        return request->in.extension.weight;
    case REQUEST_NODE_STATE:
    case REQUEST_NODE_LEAVE:
    case REQUEST_NODE_ACK:
    case REQUEST_NODE_BEAT:
    case REQUEST_NODE_EXPIRE:
        return NODE_WEIGHT;
    default:
        return RECORD_WEIGHT;
    }
}
