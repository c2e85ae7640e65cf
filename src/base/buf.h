/*
 * A growable run of bytes, and big-endian integers in raw memory.
 * A buf that is all zeros is valid and empty. Growth doubles; nothing is ever shrunk but by
 * buf_free.
 */
#ifndef LS_BASE_BUF_H
#define LS_BASE_BUF_H

#include <stdint.h>
#include <string.h>

#include "lockstep.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* Makes room for `extra` more bytes. 0 or LS_ENOMEM, the content untouched. */
int buf_reserve(struct buf *buf, size_t extra);

/* Append, growing as needed: 0 or LS_ENOMEM, the content untouched. */
int buf_append(struct buf *buf, const void *data, size_t size);
int buf_append_byte(struct buf *buf, uint8_t byte);
int buf_append_text(struct buf *buf, const char *text);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `size` bytes. */
void buf_drop(struct buf *buf, size_t size);

/* Releases the memory and makes the buf empty. */
void buf_free(struct buf *buf);

static inline ls_bytes bytes_of(const void *data, size_t size)
{
    return (ls_bytes){data, size};
}

static inline ls_bytes bytes_of_text(const char *text)
{
    return (ls_bytes){text, strlen(text)};
}

static inline ls_bytes buf_bytes(const struct buf *buf)
{
    return (ls_bytes){buf->data, buf->size};
}

static inline bool bytes_equal(ls_bytes a, ls_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Byte order, a prefix before what it begins: negative, 0 or positive. */
int bytes_compare(ls_bytes a, ls_bytes b);

static inline bool bytes_begin_with(ls_bytes bytes, ls_bytes prefix)
{
    return bytes.size >= prefix.size &&
           (prefix.size == 0 || memcmp(bytes.data, prefix.data, prefix.size) == 0);
}

static inline uint8_t ascii_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 'a' - 'A') : byte;
}

/* Whether the bytes are the word, ASCII letters in either case. Inline, so that with a literal its
 * size and which of its bytes are letters are known when this is compiled. */
static inline bool bytes_are_word(ls_bytes bytes, const char *word)
{
    const uint8_t *at = bytes.data;
    size_t size = strlen(word);
    if (bytes.size != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t lower = ascii_lower((uint8_t)word[i]);
        uint8_t case_bit = lower >= 'a' && lower <= 'z' ? 'a' - 'A' : 0;
        if ((at[i] | case_bit) != lower) {
            return false;
        }
    }
    return true;
}

static inline void put_be64(uint8_t out[8], uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)value;
        value >>= 8;
    }
}

static inline uint64_t get_be64(const uint8_t in[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

#endif
