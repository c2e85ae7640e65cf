/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of encoded messages, read from the store by need and shared by reference. */
#include "server/frames.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "codec/key.h"
#include "server/encode.h"

/* What a filter asks about, so that matching needs no decoding. */
struct frame {
    uint64_t clock;
    size_t offset;
    size_t size;
    size_t names; /* in `names`: the host, then for O messages the key that changed */
    uint16_t host_size;
    uint16_t key_size;
    uint8_t type;
};

struct frames_block {
    unsigned references;
    uint64_t first; /* covers the clocks first <= c < next */
    uint64_t next;
    struct frame *frames;
    size_t count;
    size_t frames_capacity;
    struct buf names;
    size_t size;
    size_t capacity; /* of `data`, fixed */
    uint8_t data[];
};

void frames_retain(struct frames_block *block)
{
    block->references++;
}

void frames_release(struct frames_block *block)
{
    if (block != NULL && --block->references == 0) {
        assert(block->frames == NULL);
        free(block);
    }
}

/* The cache lets go of the block, and of what was noted of its messages: whoever still sends it
 * needs its bytes alone. NULL is ignored. */
static void forget(struct frames_block *block)
{
    if (block != NULL) {
        free(block->frames);
        block->frames = NULL;
        buf_free(&block->names);
        frames_release(block);
    }
}

void frames_init(struct frames frames[FRAMES_VARIANTS])
{
    for (int proto = 2; proto <= 3; proto++) {
        for (int json = 0; json <= 1; json++) {
            frames[frames_variant(proto, json)] = (struct frames){.proto = proto, .json = json};
        }
    }
}

void frames_free(struct frames frames[FRAMES_VARIANTS])
{
    for (unsigned i = 0; i < FRAMES_VARIANTS; i++) {
        for (size_t at = 0; at < frames[i].count; at++) {
            forget(frames[i].cache[at]);
        }
        frames[i].count = 0;
        buf_free(&frames[i].scratch);
    }
}

size_t frames_block_memory(const struct frames_block *block)
{
    return sizeof *block + block->capacity;
}

size_t frames_memory(const struct frames frames[FRAMES_VARIANTS])
{
    size_t bytes = 0;
    for (unsigned i = 0; i < FRAMES_VARIANTS; i++) {
        for (size_t at = 0; at < frames[i].count; at++) {
            const struct frames_block *block = frames[i].cache[at];
            bytes += frames_block_memory(block) + block->names.capacity +
                     block->frames_capacity * sizeof *block->frames;
        }
    }
    return bytes;
}

static struct frames_block *block_new(uint64_t first, size_t size)
{
    size_t capacity = size > FRAMES_BLOCK_SIZE ? size : FRAMES_BLOCK_SIZE;
    struct frames_block *block = malloc(sizeof *block + capacity);
    if (block != NULL) {
        *block = (struct frames_block){
            .references = 1, .first = first, .next = first, .capacity = capacity};
    }
    return block;
}

/* Notes a frame of `size` bytes, not yet counted in the block, for the message. */
static int note_frame(struct frames_block *block, const struct message *message, size_t size)
{
    if (block->count == block->frames_capacity) {
        size_t capacity = block->frames_capacity == 0 ? 64 : block->frames_capacity * 2;
        struct frame *frames = realloc(block->frames, capacity * sizeof *frames);
        if (frames == NULL) {
            return LS_ENOMEM;
        }
        block->frames = frames;
        block->frames_capacity = capacity;
    }
    struct change change = {0};
    if (message->type == LS_OBJECT && change_decode(&change, message->object, NULL) < 0) {
        change.key = bytes_of(NULL, 0);
    }
    size_t names = block->names.size;
    int rc = buf_append(&block->names, message->host.data, message->host.size);
    rc = rc != 0 ? rc : buf_append(&block->names, change.key.data, change.key.size);
    if (rc != 0) {
        block->names.size = names;
        return rc;
    }
    block->frames[block->count] = (struct frame){.clock = message->clock,
                                                 .offset = block->size,
                                                 .size = size,
                                                 .names = names,
                                                 .host_size = (uint16_t)message->host.size,
                                                 .key_size = (uint16_t)change.key.size,
                                                 .type = message->type};
    return 0;
}

/* Appends the message to the block, making it where there is none: 1, or 0 where it has no room, or
 * LS_ENOMEM. */
static int append(struct frames *frames, struct frames_block **block, uint64_t from,
                  const struct message *message)
{
    frames->scratch.size = 0;
    int rc = encode_message(&frames->scratch, frames->proto, frames->json, true, message);
    if (rc != 0) {
        return rc;
    }
    size_t size = frames->scratch.size;
    if (*block == NULL) {
        *block = block_new(from, size);
        if (*block == NULL) {
            return LS_ENOMEM;
        }
    }
    if ((*block)->capacity - (*block)->size < size) {
        return 0;
    }
    rc = note_frame(*block, message, size);
    if (rc != 0) {
        return rc;
    }
    memcpy((*block)->data + (*block)->size, frames->scratch.data, size);
    (*block)->size += size;
    (*block)->count++;
    (*block)->next = message->clock + 1;
    return 1;
}

enum { FILL_NOTHING = 0, FILL_SOME = 1, FILL_FULL = 2 };

/* Reads messages from `from` on into the block, as many as it has room for. FILL_FULL: there is
 * one, but no room for it. Negative: an error. */
static int fill(struct frames *frames, struct frames_block **block, struct reading *reading,
                uint64_t from, struct ls_error *error)
{
    struct box_cursor cursor;
    struct message message;
    int rc = box_open(&cursor, reading, from, NULL, error);
    if (rc != 0) {
        return rc;
    }
    bool any = false;
    bool full = false;
    while ((rc = box_next(&cursor, &message, error)) > 0) {
        int appended = append(frames, block, from, &message);
        if (appended < 0) {
            rc = error_code(error, appended);
            break;
        }
        if (appended == 0) {
            full = true;
            break;
        }
        any = true;
    }
    box_end(&cursor);
    if (frames->scratch.capacity > FRAMES_BLOCK_SIZE) {
        buf_free(&frames->scratch);
    }
    if (any) {
        return FILL_SOME;
    }
    return rc < 0 ? rc : full ? FILL_FULL : FILL_NOTHING;
}

static void drop_last(struct frames *frames)
{
    forget(frames->cache[--frames->count]);
}

/* Puts the block first, and lets go of the least recently used beyond what may be kept. */
static void remember(struct frames *frames, struct frames_block *block)
{
    if (frames->count == FRAMES_CACHE) {
        drop_last(frames);
    }
    memmove(&frames->cache[1], &frames->cache[0], frames->count * sizeof frames->cache[0]);
    frames->cache[0] = block;
    frames->count++;
    size_t bytes = 0;
    for (size_t i = 1; i < frames->count; i++) {
        bytes += frames->cache[i]->capacity;
    }
    while (bytes > FRAMES_CACHE_SIZE) {
        bytes -= frames->cache[frames->count - 1]->capacity;
        drop_last(frames);
    }
}

static void touch(struct frames *frames, size_t at)
{
    struct frames_block *block = frames->cache[at];
    memmove(&frames->cache[1], &frames->cache[0], at * sizeof frames->cache[0]);
    frames->cache[0] = block;
}

int frames_find(struct frames *frames, struct reads *reads, uint64_t from,
                struct frames_block **out, struct ls_error *error)
{
    size_t grows = SIZE_MAX;
    for (size_t i = 0; i < frames->count; i++) {
        const struct frames_block *block = frames->cache[i];
        if (from >= block->first && from < block->next) {
            touch(frames, i);
            *out = frames->cache[0];
            return 1;
        }
        if (from == block->next) {
            grows = i;
        }
    }
    struct reading *reading = reads_get(reads, error);
    const struct box_state *box = reading == NULL ? NULL : reads_box(reads, error);
    if (box == NULL) {
        return error->code;
    }
    if (from > box->newest) {
        return 0;
    }
    if (grows != SIZE_MAX) {
        touch(frames, grows);
        int rc = fill(frames, &frames->cache[0], reading, from, error);
        if (rc != FILL_FULL) {
            *out = frames->cache[0];
            return rc;
        }
    }
    struct frames_block *block = NULL;
    int rc = fill(frames, &block, reading, from, error);
    if (rc > 0) {
        remember(frames, block);
        *out = block;
    } else {
        forget(block);
    }
    return rc;
}

/* As box_filter_match, on what was noted of the message. */
static bool matches(const struct frames_block *block, const struct frame *frame,
                    const struct box_filter *filter)
{
    if (filter->types[0] != '\0' && strchr(filter->types, frame->type) == NULL) {
        return false;
    }
    const uint8_t *names = block->names.size == 0 ? NULL : block->names.data + frame->names;
    if (filter->has_for && frame->host_size > 0 &&
        !bytes_equal(bytes_of(names, frame->host_size), filter->host)) {
        return false;
    }
    return !filter->has_key ||
           (frame->type == LS_OBJECT &&
            box_filter_key(filter, bytes_of(names + frame->host_size, frame->key_size)));
}

/* The first frame at or above the clock. */
static size_t frame_at(const struct frames_block *block, uint64_t clock)
{
    size_t low = 0;
    size_t high = block->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (block->frames[middle].clock < clock) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

unsigned frames_gather(const struct frames_block *block, const struct box_filter *filter,
                       uint64_t *next, uv_buf_t *bufs, unsigned bufs_max, uint64_t *messages)
{
    size_t at = frame_at(block, *next);
    bool all = filter->types[0] == '\0' && !filter->has_for && !filter->has_key;
    unsigned count = 0;
    if (all && at < block->count) {
        size_t offset = block->frames[at].offset;
        bufs[0] = uv_buf_init((char *)block->data + offset, (unsigned)(block->size - offset));
        *messages += block->count - at;
        *next = block->next;
        return 1;
    }
    for (; at < block->count; at++) {
        const struct frame *frame = &block->frames[at];
        if (!matches(block, frame, filter)) {
            continue;
        }
        char *data = (char *)block->data + frame->offset;
        if (count > 0 && bufs[count - 1].base + bufs[count - 1].len == data) {
            bufs[count - 1].len += frame->size;
        } else if (count == bufs_max) {
            *next = frame->clock;
            return count;
        } else {
            bufs[count++] = uv_buf_init(data, (unsigned)frame->size);
        }
        ++*messages;
    }
    *next = block->next;
    return count;
}
