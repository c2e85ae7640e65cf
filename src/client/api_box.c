/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of the message box and of the relay: arguments in, the backend's answer out.
 */
#include <stdlib.h>

#include "client/api.h"
#include "codec/key.h"

/* ---- posting ---- */

static int check_kind(char type, char event, struct ls_error *error)
{
    switch (type) {
    case LS_USER:
        return 0;
    case LS_DATABASE:
    case LS_COLLECTION:
        if (event != LS_CREATED && event != LS_UPDATED && event != LS_DELETED) {
            return error_set(error, LS_EINVAL, 0, "a message of type %c has the event C, U or D",
                             type);
        }
        return 0;
    case LS_OBJECT:
        return error_set(error, LS_EINVAL, 0, "only the store posts messages of type O");
    default:
        return error_set(error, LS_EINVAL, 0, "the type of a message is D, C or U");
    }
}

/* Everything of a post but its payload. */
static int post_from(struct post *out, struct ls *handle, char type, char event,
                     const ls_post_options *options, struct ls_error *error)
{
    int result = check_kind(type, event, error);
    if (result != 0) {
        return result;
    }
    ls_post_options whole = LS_POST_OPTIONS_INIT;
    result = api_options(&whole, sizeof whole, options, error);
    if (result != 0) {
        return result;
    }
    *out = (struct post){.type = (uint8_t)type, .event = (uint8_t)event, .once = whole.once};
    if (whole.to != NULL && (result = api_host(&out->to, whole.to, error)) != 0) {
        return result;
    }
    out->clock = whole.clock;
    if (whole.carry_clock) {
        uint64_t local = api_tick(handle);
        out->clock = local > whole.clock ? local : whole.clock;
    }
    out->has_clock = out->clock != 0;
    return 0;
}

int ls_post(ls *handle, char type, char event, ls_payload payload, const ls_post_options *options,
            uint64_t *clock)
{
    struct ls_error error;
    struct post post;
    int result = post_from(&post, handle, type, event, options, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    struct api_item item;
    result = api_item_from(&item, payload, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    post.object = item.bytes;
    uint64_t posted;
    result = handle->backend->post(handle, &post, &posted, &error);
    api_item_free(&item);
    if (result == 0) {
        api_witness(handle, posted);
        if (clock != NULL) {
            *clock = posted;
        }
    }
    return api_end(result, &error);
}

/* ---- reading ---- */

static int filter_from(ls_filter *out, const ls_filter *filter, struct ls_error *error)
{
    *out = (ls_filter)LS_FILTER_INIT;
    int result = api_options(out, sizeof *out, filter, error);
    if (result != 0) {
        return result;
    }
    if (out->types != NULL) {
        if (*out->types == '\0') {
            return error_set(error, LS_EINVAL, 0,
                             "the filter's types are empty: NULL is every type");
        }
        for (const char *letter = out->types; *letter != '\0'; letter++) {
            if (strchr("ODCU", *letter) == NULL) {
                return error_set(error, LS_EINVAL, 0,
                                 "the filter's types are letters out of O, D, C and U");
            }
        }
    }
    if (out->host != NULL) {
        ls_bytes host;
        if ((result = api_host(&host, out->host, error)) != 0) {
            return result;
        }
    }
    if (out->key.data == NULL && out->key.size != 0) {
        return error_set(error, LS_EINVAL, 0, "the filter's key has a size but no bytes");
    }
    if (out->key.size > KEY_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, KEY_SIZE_MAX, "a key prefix has at most %d bytes",
                         KEY_SIZE_MAX);
    }
    return 0;
}

int ls_read(ls *handle, uint64_t from, const ls_filter *filter, size_t max, int64_t timeout_ms,
            ls_messages **out)
{
    struct ls_error error;
    ls_filter whole;
    int result = filter_from(&whole, filter, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    if (max == 0) {
        return api_refuse(LS_EINVAL, "a read gives at least one message");
    }
    if (from == LS_AFTER_NEWEST) {
        ls_box_info info;
        result = handle->backend->box_info(handle, &info, &error);
        if (result != 0) {
            return api_end(result, &error);
        }
        from = info.newest + 1;
    }
    struct ls_messages *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of messages");
    }
    result = handle->backend->read(handle, from, &whole, max, timeout_ms, list, &error);
    if (result != 0) {
        ls_messages_free(list);
        return api_end(result, &error);
    }
    if (list->count != 0) {
        api_witness(handle, list->items[list->count - 1].clock);
    }
    *out = list;
    return 0;
}

int ls_watch_open(ls *handle, uint64_t from, const ls_filter *filter, ls_watch **out,
                  uint64_t *start)
{
    struct ls_error error;
    ls_filter whole;
    int result = filter_from(&whole, filter, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    uint64_t begin;
    struct ls_watch *watch;
    result = handle->backend->watch_open(handle, from, &whole, &watch, &begin, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    watch->handle = handle;
    *out = watch;
    if (start != NULL) {
        *start = begin;
    }
    return 0;
}

int ls_watch_next(ls_watch *watch, int64_t timeout_ms, ls_message *out)
{
    struct ls_error error;
    struct ls *handle = watch->handle;
    int result = handle->backend->watch_next(watch, timeout_ms, out, &error);
    if (result == 0) {
        api_witness(handle, out->clock);
    }
    return api_end(result, &error);
}

void ls_watch_close(ls_watch *watch)
{
    if (watch != NULL) {
        watch->handle->backend->watch_close(watch);
    }
}

/* ---- what is kept ---- */

int ls_box_info_get(ls *handle, ls_box_info *out)
{
    struct ls_error error;
    int result = handle->backend->box_info(handle, out, &error);
    if (result == 0 && out->newest != 0) {
        api_witness(handle, out->newest);
    }
    return api_end(result, &error);
}

int ls_trim_before(ls *handle, uint64_t before, uint64_t *discarded)
{
    struct ls_error error;
    uint64_t count;
    int result = handle->backend->trim_before(handle, before, &count, &error);
    if (result == 0 && discarded != NULL) {
        *discarded = count;
    }
    return api_end(result, &error);
}

int ls_trim_older(ls *handle, uint64_t age_ms, uint64_t *discarded)
{
    struct ls_error error;
    uint64_t count;
    int result = handle->backend->trim_older(handle, age_ms, &count, &error);
    if (result == 0 && discarded != NULL) {
        *discarded = count;
    }
    return api_end(result, &error);
}

/* ---- relay ---- */

static int relay(struct ls *handle, struct relay_order *order, ls_payload payload, size_t *handed)
{
    struct ls_error error;
    if (handle->backend->relay_send == NULL) {
        return api_refuse(LS_ENOTSUP, "only a server relays: open lockstep://HOST:PORT");
    }
    struct api_item item;
    int result = api_item_from(&item, payload, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    order->object = item.bytes;
    order->clock = api_tick(handle);
    size_t count;
    result = handle->backend->relay_send(handle, order, &count, &error);
    api_item_free(&item);
    if (result == 0 && handed != NULL) {
        *handed = count;
    }
    return api_end(result, &error);
}

int ls_relay_nth(ls *handle, size_t nth, ls_payload payload, size_t *handed)
{
    if (nth == 0) {
        return api_refuse(LS_EINVAL, "the other nodes are counted from 1");
    }
    struct relay_order order = {.kind = RELAY_TO_NTH, .nth = nth};
    return relay(handle, &order, payload, handed);
}

int ls_relay_to(ls *handle, const char *host, ls_payload payload, size_t *handed)
{
    struct ls_error error;
    struct relay_order order = {.kind = RELAY_TO_HOST};
    int result = api_host(&order.host, host, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    return relay(handle, &order, payload, handed);
}

int ls_relay_all(ls *handle, ls_payload payload, size_t *handed)
{
    struct relay_order order = {.kind = RELAY_TO_ALL};
    return relay(handle, &order, payload, handed);
}

int ls_relay_next(ls *handle, int64_t timeout_ms, ls_message *out)
{
    struct ls_error error;
    if (handle->backend->relay_next == NULL) {
        return api_refuse(LS_ENOTSUP, "only a server relays: open lockstep://HOST:PORT");
    }
    int result = handle->backend->relay_next(handle, timeout_ms, out, &error);
    if (result == 0) {
        api_witness(handle, out->clock);
    }
    return api_end(result, &error);
}
