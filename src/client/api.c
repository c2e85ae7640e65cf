/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public functions for opening, the clock and the message box, and what all of them share. They
 * check arguments and hand the work to the handle's backend; no rule of the coordinator is here.
 */
#include "client/api.h"

#include <stdlib.h>
#include <time.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "codec/key.h"

#define CLOCK_NEXT_MAX  ((uint64_t)1 << 20)
#define TIMEOUT_DEFAULT 5000
#define TIMEOUT_MOST    INT32_MAX /* so that sums of it are times still */

/* ---- shared steps ---- */

int api_end(int result, const struct ls_error *error)
{
    if (result < 0) {
        error_remember(error);
    }
    return result;
}

int api_refuse(int code, const char *sentence)
{
    struct ls_error error;
    return api_end(error_set(&error, code, 0, "%s", sentence), &error);
}

int api_options(void *out, size_t out_size, const void *in, struct ls_error *error)
{
    if (in == NULL) {
        return 0;
    }
    size_t size;
    memcpy(&size, in, sizeof size);
    if (size < sizeof size) {
        return error_set(error, LS_EINVAL, 0,
                         "the options have no size: begin with the initializer of their type");
    }
    for (size_t i = out_size; i < size; i++) {
        if (((const uint8_t *)in)[i] != 0) {
            return error_set(error, LS_EINVAL, 0,
                             "an option is set that version %s of the library does not know",
                             LS_VERSION);
        }
    }
    memcpy(out, in, size < out_size ? size : out_size);
    memcpy(out, &out_size, sizeof out_size);
    return 0;
}

static int check_item_size(size_t size, struct ls_error *error)
{
    if (size > OBJECT_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, OBJECT_SIZE_MAX,
                         "a payload has at most %d bytes, this one %zu", OBJECT_SIZE_MAX, size);
    }
    return 0;
}

int api_item_from(struct api_item *out, ls_payload payload, struct ls_error *error)
{
    *out = (struct api_item){0};
    if (payload.bytes.data == NULL && payload.bytes.size != 0) {
        return error_set(error, LS_EINVAL, 0, "the payload has a size but no bytes");
    }
    if (payload.kind == LS_CBOR) {
        int result = check_item_size(payload.bytes.size, error);
        if (result == 0) {
            result = cbor_check(payload.bytes, error);
        }
        out->bytes = payload.bytes;
        return result;
    }
    if (payload.kind != LS_JSON && payload.kind != LS_TEXT) {
        return error_set(error, LS_EINVAL, 0, "%d is no kind of payload", (int)payload.kind);
    }
    int result = payload_to_cbor(&out->buf, payload, error);
    if (result == 0) {
        result = check_item_size(out->buf.size, error);
    }
    if (result != 0) {
        buf_free(&out->buf);
    }
    out->bytes = buf_bytes(&out->buf);
    return result;
}

void api_item_free(struct api_item *item)
{
    buf_free(&item->buf);
}

int api_host(ls_bytes *out, const char *host, struct ls_error *error)
{
    if (host == NULL) {
        return error_set(error, LS_EINVAL, 0, "the host is missing");
    }
    ls_bytes bytes = bytes_of_text(host);
    int result = key_check_host(bytes, error);
    if (result == 0) {
        *out = bytes;
    }
    return result;
}

void api_witness(struct ls *handle, uint64_t seen)
{
    uint64_t clock = atomic_load_explicit(&handle->clock, memory_order_relaxed);
    for (;;) {
        uint64_t next = clock > seen ? clock : seen;
        if (next == UINT64_MAX) {
            return;
        }
        if (atomic_compare_exchange_weak(&handle->clock, &clock, next + 1)) {
            return;
        }
    }
}

uint64_t api_tick(struct ls *handle)
{
    uint64_t clock = atomic_load_explicit(&handle->clock, memory_order_relaxed);
    while (clock != UINT64_MAX &&
           !atomic_compare_exchange_weak(&handle->clock, &clock, clock + 1)) {
    }
    return clock == UINT64_MAX ? clock : clock + 1;
}

uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct deadline deadline_in(int64_t timeout_ms)
{
    uint64_t now = monotonic_ms();
    bool none = timeout_ms < 0 || (uint64_t)timeout_ms > (uint64_t)INT64_MAX - now;
    return (struct deadline){.none = none, .at_ms = none ? 0 : now + (uint64_t)timeout_ms};
}

int64_t deadline_left(const struct deadline *deadline)
{
    if (deadline->none) {
        return -1;
    }
    uint64_t now = monotonic_ms();
    return now < deadline->at_ms ? (int64_t)(deadline->at_ms - now) : 0;
}

int filter_copy(ls_filter *out, struct arena *arena, const ls_filter *filter)
{
    ls_filter copy = *filter;
    ls_bytes bytes;
    if (filter->types != NULL) {
        if (arena_copy(arena, bytes_of_text(filter->types), &bytes) != 0) {
            return LS_ENOMEM;
        }
        copy.types = bytes.data;
    }
    if (filter->host != NULL) {
        if (arena_copy(arena, bytes_of_text(filter->host), &bytes) != 0) {
            return LS_ENOMEM;
        }
        copy.host = bytes.data;
    }
    if (arena_copy(arena, filter->key, &copy.key) != 0) {
        return LS_ENOMEM;
    }
    *out = copy;
    return 0;
}

/* ---- payloads ---- */

ls_payload ls_json(const char *json)
{
    return (ls_payload){LS_JSON, {json, json == NULL ? 0 : strlen(json)}};
}

ls_payload ls_text(const char *text)
{
    return (ls_payload){LS_TEXT, {text, text == NULL ? 0 : strlen(text)}};
}

ls_payload ls_cbor(const void *data, size_t size)
{
    return (ls_payload){LS_CBOR, {data, size}};
}

int ls_cbor_to_json(ls_bytes cbor, char **out)
{
    struct ls_error error;
    struct buf text = {0};
    int result = json_from_cbor(&text, cbor, &error);
    if (result == 0 && buf_append_byte(&text, '\0') != 0) {
        result = error_code(&error, LS_ENOMEM);
    }
    if (result != 0) {
        buf_free(&text);
        return api_end(result, &error);
    }
    *out = (char *)text.data;
    return 0;
}

int ls_cbor_from_json(ls_bytes json, void **out, size_t *out_size)
{
    struct ls_error error;
    struct buf item = {0};
    int result = json_to_cbor(&item, json, &error);
    if (result != 0) {
        buf_free(&item);
        return api_end(result, &error);
    }
    *out = item.data;
    *out_size = item.size;
    return 0;
}

void ls_free(void *memory)
{
    free(memory);
}

/* ---- opening ---- */

int ls_open(ls **out, const char *url, const ls_options *options)
{
    struct ls_error error;
    if (url == NULL || *url == '\0') {
        return api_refuse(LS_EINVAL, "the URL is missing: lmdb:DIR, mem: or lockstep://HOST:PORT");
    }
    ls_options whole = LS_OPTIONS_INIT;
    int result = api_options(&whole, sizeof whole, options, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    if (whole.timeout_ms <= 0) {
        whole.timeout_ms = TIMEOUT_DEFAULT;
    } else if (whole.timeout_ms > TIMEOUT_MOST) {
        whole.timeout_ms = TIMEOUT_MOST;
    }

    struct ls *handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a handle");
    }
    bool remote = strncmp(url, "lockstep://", strlen("lockstep://")) == 0;
    handle->backend = remote ? &backend_remote : &backend_embedded;
    result = handle->backend->open(handle, url, &whole, &error);
    if (result != 0) {
        free(handle);
        return api_end(result, &error);
    }
    *out = handle;
    return 0;
}

void ls_close(ls *handle)
{
    if (handle != NULL) {
        handle->backend->close(handle);
        free(handle);
    }
}

/* ---- clock ---- */

int ls_clock_get(ls *handle, uint64_t *clock)
{
    struct ls_error error;
    int result = handle->backend->clock_get(handle, clock, &error);
    if (result == 0) {
        api_witness(handle, *clock);
    }
    return api_end(result, &error);
}

int ls_clock_next(ls *handle, uint64_t count, uint64_t *first)
{
    struct ls_error error;
    if (count == 0 || count > CLOCK_NEXT_MAX) {
        return api_refuse(LS_EINVAL, "the count of clock values is 1 to 1048576");
    }
    int result = handle->backend->clock_next(handle, count, first, &error);
    if (result == 0) {
        api_witness(handle, *first + count - 1);
    }
    return api_end(result, &error);
}

int ls_clock_witness(ls *handle, uint64_t seen, uint64_t *clock)
{
    struct ls_error error;
    uint64_t now;
    int result = handle->backend->clock_witness(handle, seen, &now, &error);
    if (result == 0) {
        api_witness(handle, now);
        if (clock != NULL) {
            *clock = now;
        }
    }
    return api_end(result, &error);
}

uint64_t ls_clock_local(ls *handle)
{
    return atomic_load(&handle->clock);
}
