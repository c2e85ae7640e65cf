/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways that many messages take. The library posts one at a time; whoever has a file of them
 * gets its speed from here: a directory is written to in batches of one transaction, a server is
 * sent batches without waiting in between. In either case each clock is known once it is durable.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "cli/post.h"
#include "cli/talk.h"
#include "client/handle.h"
#include "coordinator/coordinator.h"

static int check_size(ls_bytes item, struct ls_error *error)
{
    return item.size <= OBJECT_SIZE_MAX
               ? 0
               : error_set(error, LS_ETOOBIG, OBJECT_SIZE_MAX,
                           "a message of %zu bytes; the limit is %d", item.size, OBJECT_SIZE_MAX);
}

/* ---- a directory ---- */

struct local {
    const struct post_form *form;
    struct store *store;
    struct coordinator *coordinator;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int local_apply(struct local *local, ls_bytes item, uint64_t *clock, struct ls_error *error)
{
    struct request request = {.kind = REQUEST_POST, .error = error};
    int rc = check_size(item, error);
    if (rc != 0) {
        return rc;
    }
    request.in.post.type = (uint8_t)local->form->type;
    request.in.post.event = (uint8_t)local->form->event;
    request.in.post.object = item;
    if (local->form->to != NULL) {
        request.in.post.to = bytes_of_text(local->form->to);
    }
    rc = coordinator_apply(local->coordinator, &request);
    if (rc == 0) {
        *clock = request.clock;
    }
    return rc;
}

static int local_post(void *context, struct post_batch *batch, size_t *refused,
                      struct ls_error *error)
{
    struct local *local = context;
    struct ls_error why = {0};
    *refused = 0;
    int rc = coordinator_begin(local->coordinator, now_ns(), error);
    if (rc != 0) {
        return rc;
    }
    size_t done = 0;
    while (done < batch->count && why.code == 0) {
        if (local_apply(local, batch->items[done], &batch->clocks[done], &why) == 0) {
            done++;
        }
    }
    if (coordinator_broken(local->coordinator)) {
        coordinator_abort(local->coordinator);
        rc = why.code;
    } else {
        rc = coordinator_commit(local->coordinator, error);
        *refused = rc == 0 ? done : 0;
    }
    if (rc != 0) {
        memset(batch->clocks, 0, sizeof(batch->clocks));
    }
    if (why.code != 0) {
        *error = why;
        rc = why.code;
    }
    return rc;
}

static void local_close(void *context)
{
    struct local *local = context;
    coordinator_close(local->coordinator);
    store_close(local->store);
    free(local);
}

static int local_open(struct post_way *way, const char *directory, const struct post_form *form,
                      struct ls_error *error)
{
    struct store_options options = {.sync = true, .create = true};
    struct local *local = calloc(1, sizeof(*local));
    if (local == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    local->form = form;
    int rc = store_lmdb.open(&local->store, directory, &options, error);
    if (rc == 0) {
        rc = coordinator_open(&local->coordinator, local->store, error);
        if (rc != 0) {
            store_close(local->store);
        }
    }
    if (rc != 0) {
        free(local);
        return rc;
    }
    *way = (struct post_way){.post = local_post, .close = local_close, .context = local};
    return 0;
}

/* ---- a server ---- */

struct served {
    const struct post_form *form;
    struct talk talk;
};

static int served_send(struct served *served, const struct post_batch *batch,
                       struct ls_error *error)
{
    const struct post_form *form = served->form;
    for (size_t i = 0; i < batch->count; i++) {
        ls_bytes argv[7];
        size_t argc = 0;
        argv[argc++] = bytes_of_text("MSG.POST");
        argv[argc++] = bytes_of(&form->type, 1);
        argv[argc++] = form->event != LS_NO_EVENT ? bytes_of(&form->event, 1) : bytes_of_text("-");
        if (form->to != NULL) {
            argv[argc++] = bytes_of_text("TO");
            argv[argc++] = bytes_of_text(form->to);
        }
        argv[argc++] = bytes_of_text("CBOR");
        argv[argc++] = batch->items[i];
        int rc = talk_put(&served->talk, argc, argv, error);
        if (rc != 0) {
            return rc;
        }
    }
    return talk_flush(&served->talk, error);
}

/* A clock: an integer, or text where it passes what an integer holds. */
static int read_clock(const struct resp_value *reply, uint64_t *clock, struct ls_error *error)
{
    char digits[24];
    if (reply->type == RESP_INTEGER && reply->integer > 0) {
        *clock = (uint64_t)reply->integer;
        return 0;
    }
    snprintf(digits, sizeof(digits), "%.*s", (int)reply->text.size, (const char *)reply->text.data);
    if (reply->type == RESP_BULK && cli_parse_number(digits, clock)) {
        return 0;
    }
    return error_set(error, LS_EPROTO, 0, "the server's answer to a post is no clock");
}

static int served_post(void *context, struct post_batch *batch, size_t *refused,
                       struct ls_error *error)
{
    struct served *served = context;
    int result = 0;
    *refused = 0;
    int rc = served_send(served, batch, error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct resp_value *reply;
        struct ls_error why;
        rc = talk_reply(&served->talk, &reply, &why);
        rc = rc != 0 ? rc : read_clock(reply, &batch->clocks[i], &why);
        if (rc != 0 && result == 0) {
            result = rc;
            *error = why;
            *refused = i;
        }
        if (rc == LS_ECONN || rc == LS_EPROTO || rc == LS_ENOMEM) {
            break;
        }
    }
    return result;
}

static void served_close(void *context)
{
    struct served *served = context;
    talk_close(&served->talk);
    free(served);
}

static int served_open(struct post_way *way, const char *url, const struct post_form *form,
                       struct ls_error *error)
{
    struct endpoint endpoint;
    struct served *served = calloc(1, sizeof(*served));
    if (served == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    served->form = form;
    int rc = endpoint_parse(&endpoint, url, error);
    if (rc == 0) {
        rc = talk_open(&served->talk, &endpoint, error);
        endpoint_free(&endpoint);
    }
    if (rc != 0) {
        free(served);
        return rc;
    }
    *way = (struct post_way){.post = served_post, .close = served_close, .context = served};
    return 0;
}

/* ---- a handle ---- */

struct joined {
    const struct post_form *form;
    ls *handle;
};

static int joined_post(void *context, struct post_batch *batch, size_t *refused,
                       struct ls_error *error)
{
    const struct joined *joined = context;
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.to = joined->form->to;
    options.once = true;
    for (size_t i = 0; i < batch->count; i++) {
        ls_payload payload = {LS_CBOR, batch->items[i]};
        int rc = ls_post(joined->handle, joined->form->type, joined->form->event, payload, &options,
                         &batch->clocks[i]);
        if (rc != 0) {
            *refused = i;
            *error = *ls_last_error();
            return rc;
        }
    }
    return 0;
}

int post_way_handle(struct post_way *way, ls *handle, const struct post_form *form,
                    struct ls_error *error)
{
    struct joined *joined = calloc(1, sizeof(*joined));
    if (joined == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    *joined = (struct joined){form, handle};
    *way = (struct post_way){.post = joined_post, .close = free, .context = joined};
    return 0;
}

int post_way_open(struct post_way *way, const struct cli *cli, const struct post_form *form,
                  struct ls_error *error)
{
    const char *directory = cli_directory(cli);
    return directory != NULL ? local_open(way, directory, form, error)
                             : served_open(way, cli->url, form, error);
}
