/* SPDX-License-Identifier: Apache-2.0 */
/* A payload as it is given, in one of three ways, to the one way in which it is stored. */
#include "base/error.h"
#include "codec/cbor.h"
#include "codec/json.h"

static int text_to_cbor(struct buf *out, ls_bytes text, struct ls_error *error)
{
    size_t bad;
    if (!utf8_check(text, &bad)) {
        return error_set(error, LS_EINVAL, bad, "the text is not UTF-8 at byte %zu", bad);
    }
    int rc = cbor_put_text(out, text);
    return rc != 0 ? error_code(error, rc) : 0;
}

int payload_to_cbor(struct buf *out, ls_payload payload, struct ls_error *error)
{
    int rc;
    switch (payload.kind) {
    case LS_JSON:
        return json_to_cbor(out, payload.bytes, error);
    case LS_TEXT:
        return text_to_cbor(out, payload.bytes, error);
    case LS_CBOR:
        rc = cbor_check(payload.bytes, error);
        if (rc != 0) {
            return rc;
        }
        rc = buf_append(out, payload.bytes.data, payload.bytes.size);
        return rc != 0 ? error_code(error, rc) : 0;
    }
    return error_set(error, LS_EINVAL, 0, "%d is no kind of payload", (int)payload.kind);
}
