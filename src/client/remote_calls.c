/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of calls and of relayed messages: first in, first out. */
#include "client/remote_calls.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "client/remote_reply.h"

void calls_push(struct call_list *list, struct call *call, enum call_place place)
{
    call->next = NULL;
    call->place = place;
    if (list->tail != NULL) {
        list->tail->next = call;
    } else {
        list->head = call;
    }
    list->tail = call;
}

struct call *calls_pop(struct call_list *list)
{
    struct call *call = list->head;
    if (call != NULL) {
        list->head = call->next;
        list->tail = list->head == NULL ? NULL : list->tail;
        call->place = CALL_NOWHERE;
    }
    return call;
}

void calls_remove(struct call_list *list, struct call *call)
{
    struct call *before = NULL;
    struct call *at = list->head;
    while (at != call) {
        before = at;
        at = at->next;
    }
    if (before != NULL) {
        before->next = call->next;
    } else {
        list->head = call->next;
    }
    list->tail = list->tail == call ? before : list->tail;
    call->place = CALL_NOWHERE;
}

/* ---- relayed messages ---- */

int relayed_from(struct relayed **out, const struct resp_reply *reply, struct ls_error *error)
{
    const struct resp_value *push = reply->values;
    const struct resp_value *from = NULL;
    const struct resp_value *clock = NULL;
    const struct resp_value *object = NULL;

    if (push->count == 0 || !reply_is(push + 1, "relay")) {
        return 0;
    }
    if (push->count == 4) {
        from = resp_next(reply, push + 1);
        clock = resp_next(reply, from);
        object = resp_next(reply, clock);
    }
    uint64_t number;
    if (object == NULL || from->type != RESP_BULK || object->type != RESP_BULK ||
        reply_number(clock, &number, error) != 0) {
        return error_set(error, LS_EPROTO, 0, "a relay push is not from, clock, payload");
    }
    struct relayed *relayed = malloc(sizeof *relayed + from->text.size + object->text.size + 2);
    if (relayed == NULL) {
        return 0;
    }
    char *text = (char *)(relayed + 1);
    char *bytes = text + from->text.size + 1;
    memcpy(text, from->text.data, from->text.size);
    text[from->text.size] = '\0';
    memcpy(bytes, object->text.data, object->text.size);
    bytes[object->text.size] = '\0';
    *relayed = (struct relayed){
        .clock = number,
        .from = bytes_of(text, from->text.size),
        .object = bytes_of(bytes, object->text.size),
    };
    *out = relayed;
    return 0;
}

struct relayed *relayed_push(struct relayed_list *list, struct relayed *relayed)
{
    struct relayed *oldest = list->count == RELAYED_MAX ? relayed_pop(list) : NULL;
    if (list->head == NULL) {
        list->head = relayed;
    } else {
        list->tail->next = relayed;
    }
    list->tail = relayed;
    list->count++;
    return oldest;
}

struct relayed *relayed_pop(struct relayed_list *list)
{
    struct relayed *relayed = list->head;
    if (relayed != NULL) {
        list->head = relayed->next;
        list->count--;
    }
    return relayed;
}

void relayed_free(struct relayed_list *list)
{
    struct relayed *relayed;
    while ((relayed = relayed_pop(list)) != NULL) {
        free(relayed);
    }
}
