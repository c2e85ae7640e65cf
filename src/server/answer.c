/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: resp/writer.h over a connection's output, with the one rule for a lack of memory. */
#include "server/answer.h"

#include "resp/writer.h"

/* To copy fewer bytes takes no time that anybody would notice. */
#define TAKE_OVER_MIN ((size_t)256 * 1024)

static void note(struct conn *conn, int rc)
{
    if (rc != 0) {
        conn->failed = true;
    }
}

void answer_ok(struct conn *conn)
{
    note(conn, buf_append(conn_out(conn), "+OK\r\n", 5));
}

void answer_simple(struct conn *conn, const char *text)
{
    note(conn, resp_simple(conn_out(conn), text));
}

void answer_error(struct conn *conn, const struct ls_error *error)
{
    note(conn, resp_error(conn_out(conn), error));
}

void answer_integer(struct conn *conn, int64_t value)
{
    note(conn, resp_integer(conn_out(conn), value));
}

void answer_clock(struct conn *conn, uint64_t clock)
{
    note(conn, resp_clock(conn_out(conn), conn->proto, clock));
}

void answer_bulk(struct conn *conn, ls_bytes bytes)
{
    note(conn, resp_bulk(conn_out(conn), bytes));
}

void answer_text(struct conn *conn, const char *text)
{
    note(conn, resp_bulk_text(conn_out(conn), text));
}

void answer_null(struct conn *conn)
{
    note(conn, resp_null(conn_out(conn), conn->proto));
}

void answer_array(struct conn *conn, size_t count)
{
    note(conn, resp_array(conn_out(conn), count));
}

void answer_map(struct conn *conn, size_t pairs)
{
    note(conn, resp_map(conn_out(conn), conn->proto, pairs));
}

void answer_push(struct conn *conn, size_t count)
{
    note(conn, resp_push(conn_out(conn), conn->proto, count));
}

void answer_verbatim(struct conn *conn, ls_bytes text)
{
    note(conn, resp_verbatim(conn_out(conn), conn->proto, text));
}

void answer_raw(struct conn *conn, ls_bytes bytes)
{
    note(conn, buf_append(conn_out(conn), bytes.data, bytes.size));
}

void answer_items(struct conn *conn, size_t count, struct buf *items)
{
    struct buf *out = conn_out(conn);
    size_t before = out->size;
    answer_array(conn, count);
    if (conn->failed) {
        return; /* it is closed instead */
    }
    if (before > 0 || items->size < TAKE_OVER_MIN || buf_reserve(items, out->size) != 0) {
        answer_raw(conn, buf_bytes(items));
        return;
    }
    memmove(items->data + out->size, items->data, items->size);
    memcpy(items->data, out->data, out->size);
    items->size += out->size;
    struct buf head = *out;
    *out = *items;
    *items = head;
}
