/*
 * Replies that are held back: they are written, and an earlier one of their connection is not. They
 * are copied to memory of their own, so that what was asked for takes none any more.
 */
#ifndef LS_SERVER_HELD_H
#define LS_SERVER_HELD_H

#include "base/buf.h"

struct held_piece {
    struct held_piece *next;
    size_t size;
    size_t capacity;
    uint8_t data[];
};

/* All zeros is valid and empty. */
struct held {
    struct held_piece *first;
    struct held_piece *last;
};

/* Puts a reply behind the others, and adds to *bytes the memory that it took anew. 0 or
 * LS_ENOMEM. */
int held_add(struct held *held, ls_bytes reply, size_t *bytes);

/* Puts all of another behind it, which is empty afterwards. */
void held_join(struct held *held, struct held *other);

/* Takes the first piece, which is to be freed: NULL where there is none. */
struct held_piece *held_take(struct held *held);

/* The memory that held_add counted for the piece. */
static inline size_t held_piece_bytes(const struct held_piece *piece)
{
    return sizeof *piece + piece->capacity;
}

#endif
