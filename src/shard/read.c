/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: heard, asked for, answered once, or given up. */
#include <stddef.h>

#include "shard/state.h"

static void read_done(struct ls_shard *shard, struct mark *mark)
{
    mark->read = READ_DONE;
    transaction_settle(shard, mark->of);
}

void read_answer(struct ls_shard *shard, struct mark *mark, enum ls_shard_content content,
                 ls_bytes value)
{
    ls_shard_message message = {
        .kind = LS_SHARD_READ,
        .content = content,
        .timestamp = mark->of->stamp.timestamp,
        .to = mark->of->executor,
        .key = key_name(mark->key),
        .value = content == LS_SHARD_VALUE ? value : (ls_bytes){0},
    };
    shard->out(shard->context, &message);
    read_done(shard, mark);
}

/* Takes a read from the list where it hangs. The version that thereby lost its last reader may have
 * stayed only for it. */
static void read_unhang(struct ls_shard *shard, struct mark *mark)
{
    if (link_alone(&mark->readers)) {
        return;
    }
    struct link *neighbour = mark->readers.next;
    link_remove(&mark->readers);
    if (!shard->stored && link_alone(neighbour)) {
        /* What is left of the list is the version's own end of it. */
        struct version *version =
            (struct version *)((uint8_t *)neighbour - offsetof(struct version, readers));
        if (!version_is_open(version)) {
            version_collect(shard, mark->key, version);
        }
    }
}

void read_hear(struct ls_shard *shard, struct mark *mark)
{
    struct version *version = version_seen(mark);
    if (version != NULL && version_is_open(version)) {
        link_add(&version->readers, &mark->readers);
        if (mark->read == READ_ASKED) {
            mark->read = READ_WAITING;
            shard->waiting++;
        }
    } else if (mark->read == READ_ASKED) {
        ls_bytes value;
        enum ls_shard_content content = version_content(shard, version, &value);
        read_answer(shard, mark, content, value);
    } else if (version != NULL && !shard->stored) {
        link_add(&version->readers, &mark->readers);
    }
}

void read_ask(struct ls_shard *shard, struct mark *mark)
{
    if (mark->read != READ_UNASKED) {
        return;
    }
    mark->read = READ_ASKED;
    if (!mark->of->heard) {
        return;
    }
    struct version *version = version_seen(mark);
    if (version != NULL && version_is_open(version)) {
        mark->read = READ_WAITING;
        shard->waiting++;
        return;
    }
    ls_bytes value;
    enum ls_shard_content content = version_content(shard, version, &value);
    struct transaction *of = mark->of;
    of->open++; /* keeps the mark until it is taken from the list */
    read_answer(shard, mark, content, value);
    read_unhang(shard, mark);
    transaction_settle(shard, of);
}

void read_give_up(struct ls_shard *shard, struct mark *mark)
{
    if (mark->read == READ_WAITING) {
        shard->waiting--;
    }
    read_unhang(shard, mark);
    read_done(shard, mark);
}
