/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of memory that double in size, so that many short replies need few of them. */
#include "server/held.h"

#include <stdlib.h>

#define PIECE_SIZE_MIN ((size_t)64)
#define PIECE_SIZE_MAX ((size_t)16 * 1024)

static struct held_piece *add_piece(struct held *held, size_t size)
{
    size_t capacity = held->last == NULL ? PIECE_SIZE_MIN : 2 * held->last->capacity;
    capacity = capacity > PIECE_SIZE_MAX ? PIECE_SIZE_MAX : capacity;
    capacity = capacity < size ? size : capacity;
    struct held_piece *piece = malloc(sizeof *piece + capacity);
    if (piece != NULL) {
        piece->next = NULL;
        piece->size = 0;
        piece->capacity = capacity;
        *(held->last != NULL ? &held->last->next : &held->first) = piece;
        held->last = piece;
    }
    return piece;
}

int held_add(struct held *held, ls_bytes reply, size_t *bytes)
{
    struct held_piece *piece = held->last;
    if (reply.size == 0) {
        return 0;
    }
    if (piece == NULL || piece->capacity - piece->size < reply.size) {
        piece = add_piece(held, reply.size);
        if (piece == NULL) {
            return LS_ENOMEM;
        }
        *bytes += held_piece_bytes(piece);
    }
    memcpy(piece->data + piece->size, reply.data, reply.size);
    piece->size += reply.size;
    return 0;
}

void held_join(struct held *held, struct held *other)
{
    if (other->first != NULL) {
        *(held->last != NULL ? &held->last->next : &held->first) = other->first;
        held->last = other->last;
        *other = (struct held){0};
    }
}

struct held_piece *held_take(struct held *held)
{
    struct held_piece *piece = held->first;
    if (piece != NULL) {
        held->first = piece->next;
        held->last = held->first == NULL ? NULL : held->last;
    }
    return piece;
}
