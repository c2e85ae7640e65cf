/*
 * The steps that the public functions share: options copied by their size, payloads turned into
 * CBOR, clocks witnessed, errors remembered. Only api*.c include this.
 */
#ifndef LS_CLIENT_API_H
#define LS_CLIENT_API_H

#include "client/handle.h"

/* Makes the failure the thread's last one. Returns `result`. */
int api_end(int result, const struct ls_error *error);

/* Refuses an argument: sets and remembers the error. */
int api_refuse(int code, const char *sentence);

/* Copies an options struct that begins with its size, as the caller's version of the header knows
 * it, over *out, which holds the defaults. `in` may be NULL. A field that this version does not
 * know must be zero. */
int api_options(void *out, size_t out_size, const void *in, struct ls_error *error);

/* A payload as CBOR: `bytes` are the caller's own where they were CBOR already, else in `buf`. */
struct api_item {
    ls_bytes bytes;
    struct buf buf;
};
int api_item_from(struct api_item *out, ls_payload payload, struct ls_error *error);
void api_item_free(struct api_item *item);

/* A host as text: not NULL, and good. */
int api_host(ls_bytes *out, const char *host, struct ls_error *error);

/* The handle's own clock: receipt of a value, and the event of sending. It stays at its end. */
void api_witness(struct ls *handle, uint64_t seen);
uint64_t api_tick(struct ls *handle);

#endif
