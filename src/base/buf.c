/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable run of bytes. Growth doubles, so that appending is linear in all; it never gives
 * memory back before buf_free, and a failed growth leaves the content as it was.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_CAPACITY_MIN 64

int buf_reserve(struct buf *buf, size_t extra)
{
    if (extra <= buf->capacity - buf->size) {
        return 0;
    }
    if (extra > SIZE_MAX / 2 - buf->size) {
        return LS_ENOMEM;
    }
    size_t needed = buf->size + extra;
    size_t capacity = buf->capacity < BUF_CAPACITY_MIN ? BUF_CAPACITY_MIN : buf->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    uint8_t *data = realloc(buf->data, capacity);
    if (data == NULL) {
        return LS_ENOMEM;
    }
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

int buf_append(struct buf *buf, const void *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    int rc = buf_reserve(buf, size);
    if (rc != 0) {
        return rc;
    }
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return 0;
}

int buf_append_byte(struct buf *buf, uint8_t byte)
{
    return buf_append(buf, &byte, 1);
}

int buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    char small[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (size < 0) {
        return LS_ENOMEM;
    }
    if ((size_t)size < sizeof small) {
        return buf_append(buf, small, (size_t)size);
    }
    /* vsnprintf writes a NUL as well, which needs room but is not kept. */
    int rc = buf_reserve(buf, (size_t)size + 1);
    if (rc != 0) {
        return rc;
    }
    va_start(arguments, format);
    (void)vsnprintf((char *)buf->data + buf->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
    buf->size += (size_t)size;
    return 0;
}

void buf_drop(struct buf *buf, size_t size)
{
    if (size >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

int bytes_compare(ls_bytes a, ls_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}
