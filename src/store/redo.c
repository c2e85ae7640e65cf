/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The redo log's file. A record is a header and a body, padded to whole blocks: the body is edits,
 * one after the other, then in the first record of a round the meta pages. The header's own check
 * tells a block that is no header from one whose body did not arrive: a header lies within one
 * sector of the disk, which is written whole or not at all. So a header that passes tells where the
 * next one is, also where its body is damaged, and by what follows whether it is.
 */
#include "store/redo.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"

#define REDO_MAGIC   UINT64_C(0x4f4445524b434f4c) /* "LOCKREDO" */
#define REDO_VERSION 1u
#define FILL_SIZE    ((size_t)1 << 20)
#define FILE_MODE    0640

struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t meta_size; /* the last bytes of the body; 0 but in the first record of a round */
    uint64_t round;
    uint64_t sequence; /* in the round, from 0 */
    uint64_t body_size;
    uint64_t body_check;
    uint64_t check; /* of all above, and of the record before */
};

struct edit_header {
    uint32_t value_size;
    uint16_t key_size;
    uint8_t operation;
    uint8_t zero;
};

_Static_assert(sizeof(struct header) == 56, "the format of a record");
_Static_assert(sizeof(struct edit_header) == 8, "the format of an edit");

static uint64_t header_check(const struct header *header, uint64_t chain)
{
    return hash64(header, offsetof(struct header, check), chain);
}

static uint64_t blocks(uint64_t size)
{
    return (size + REDO_BLOCK - 1) / REDO_BLOCK * REDO_BLOCK;
}

static int fail(const char *doing, struct ls_error *error)
{
    int reason = errno;
    int code = LS_EIO;
    if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG) {
        code = LS_ENOSPACE;
    } else if (reason == EACCES || reason == EPERM || reason == EROFS) {
        code = LS_EREADONLY;
    }
    return error_set(error, code, 0, "cannot %s the redo log: %s", doing, strerror(reason));
}

/* ---- records ---- */

void redo_record_reset(struct redo_record *record)
{
    record->size = sizeof(struct header);
}

void redo_record_free(struct redo_record *record)
{
    free(record->data);
    *record = (struct redo_record){0};
}

/* Whole blocks, aligned as writing past the page cache wants it. */
int redo_record_reserve(struct redo_record *record, size_t extra)
{
    uint64_t wanted = blocks(record->size + extra);
    if (wanted <= record->capacity) {
        return 0;
    }
    size_t capacity = record->capacity < REDO_BLOCK ? REDO_BLOCK : record->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    uint8_t *data = aligned_alloc(REDO_BLOCK, capacity);
    if (data == NULL) {
        return LS_ENOMEM;
    }
    if (record->data != NULL) {
        memcpy(data, record->data, record->size);
    }
    free(record->data);
    record->data = data;
    record->capacity = capacity;
    return 0;
}

static void add(struct redo_record *record, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(record->data + record->size, data, size);
        record->size += size;
    }
}

bool redo_record_fits(const struct redo_record *record, const struct redo_edit *edit,
                      size_t size_max)
{
    return edit->key.size <= UINT16_MAX && edit->value.size <= size_max &&
           record->size + sizeof(struct edit_header) + edit->key.size + edit->value.size <=
               size_max;
}

int redo_record_add(struct redo_record *record, const struct redo_edit *edit, size_t size_max)
{
    struct edit_header header = {
        .value_size = (uint32_t)edit->value.size,
        .key_size = (uint16_t)edit->key.size,
        .operation = (uint8_t)edit->operation,
    };
    if (!redo_record_fits(record, edit, size_max)) {
        return LS_ETOOBIG;
    }
    if (redo_record_reserve(record, sizeof header + edit->key.size + edit->value.size) != 0) {
        return LS_ENOMEM;
    }
    add(record, &header, sizeof header);
    add(record, edit->key.data, edit->key.size);
    add(record, edit->value.data, edit->value.size);
    return 0;
}

/* The edit at `at`; where the one behind it begins. */
static const uint8_t *edit_at(const uint8_t *at, struct redo_edit *edit)
{
    struct edit_header header;
    memcpy(&header, at, sizeof header);
    at += sizeof header;
    edit->operation = (enum redo_operation)header.operation;
    edit->key = bytes_of(at, header.key_size);
    edit->value = bytes_of(at + header.key_size, header.value_size);
    return at + header.key_size + header.value_size;
}

int redo_record_edit(const struct redo_record *record, size_t *at, struct redo_edit *edit)
{
    const uint8_t *edits = record->data + sizeof(struct header);
    if (*at >= record->size - sizeof(struct header)) {
        return 0;
    }
    *at = (size_t)(edit_at(edits + *at, edit) - edits);
    return 1;
}

uint64_t redo_record_space(const struct redo_record *record, size_t more)
{
    return blocks(record->size + more);
}

/* ---- the file ---- */

/* Up to `size` bytes into `out`; how many there are, or -1. */
static ssize_t read_at(int fd, void *out, size_t size, uint64_t offset)
{
    size_t have = 0;
    while (have < size) {
        ssize_t part = pread(fd, (uint8_t *)out + have, size - have, (off_t)(offset + have));
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part < 0) {
            return -1;
        }
        if (part == 0) {
            break;
        }
        have += (size_t)part;
    }
    return (ssize_t)have;
}

static bool write_whole(int fd, const void *data, size_t size, uint64_t offset)
{
    ssize_t written;
    do {
        written = pwrite(fd, data, size, (off_t)offset);
    } while (written < 0 && errno == EINTR);
    if (written >= 0 && (size_t)written != size) {
        errno = ENOSPC;
        return false;
    }
    return written >= 0;
}

static int flush_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
    close(fd);
    return result;
}

/* Writes zeros from the file's end on, so that later writes find blocks that were written. */
static int fill(const char *path, const char *directory, uint64_t capacity, struct ls_error *error)
{
    uint8_t *zeros = calloc(1, FILL_SIZE);
    if (zeros == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int result = 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    struct stat found;
    if (fd < 0 || fstat(fd, &found) != 0) {
        result = fail("make", error);
    }
    for (uint64_t at = result == 0 ? (uint64_t)found.st_size : capacity; at < capacity;) {
        size_t size = capacity - at < FILL_SIZE ? (size_t)(capacity - at) : FILL_SIZE;
        if (!write_whole(fd, zeros, size, at)) {
            result = fail("make", error);
            (void)unlink(path);
            break;
        }
        at += size;
    }
    if (result == 0 && (fsync(fd) != 0 || flush_directory(directory) != 0)) {
        result = fail("make", error);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(zeros);
    return result;
}

static int path_of(char out[PATH_MAX], const char *directory, struct ls_error *error)
{
    int size = snprintf(out, PATH_MAX, "%s/" REDO_NAME, directory);
    if (size < 0 || size >= PATH_MAX) {
        return error_set(error, LS_EINVAL, PATH_MAX, "the path of the store is too long");
    }
    return 0;
}

int redo_open(struct redo *redo, const char *directory, uint64_t capacity, struct ls_error *error)
{
    char path[PATH_MAX];
    struct stat found;
    int result = path_of(path, directory, error);
    if (result == 0 && (stat(path, &found) != 0 || (uint64_t)found.st_size < capacity)) {
        result = fill(path, directory, capacity, error);
    }
    if (result != 0) {
        return result;
    }
    int fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fd < 0 && errno == EINVAL) {
        fd = open(path, O_RDWR | O_DSYNC | O_CLOEXEC); /* no way past the page cache here */
    }
    if (fd < 0) {
        return fail("open", error);
    }
    *redo = (struct redo){.fd = fd, .capacity = capacity};
    return 0;
}

void redo_close(struct redo *redo)
{
    if (redo->fd >= 0) {
        close(redo->fd);
        redo->fd = -1;
    }
}

/* Gives the record its header and its place; its edits, and meta pages, are in it. What is behind
 * them in the last block stays. */
static uint64_t put_header(struct redo *redo, struct redo_record *record, uint32_t meta_size)
{
    struct header header = {
        .magic = REDO_MAGIC,
        .version = REDO_VERSION,
        .meta_size = meta_size,
        .round = redo->round,
        .sequence = redo->sequence,
        .body_size = record->size - sizeof header,
        .body_check = hash64(record->data + sizeof header, record->size - sizeof header, 0),
    };
    uint64_t space = blocks(record->size);
    uint64_t offset = redo->offset;
    assert(redo->fd >= 0 && space <= record->capacity && offset + space <= redo->capacity);
    header.check = header_check(&header, redo->chain);
    memcpy(record->data, &header, sizeof header);
    redo->chain = header.check;
    redo->offset += space;
    redo->sequence++;
    return offset;
}

static uint64_t place(struct redo *redo, struct redo_record *record, uint32_t meta_size)
{
    uint64_t offset = put_header(redo, record, meta_size);
    memset(record->data + record->size, 0, blocks(record->size) - record->size);
    return offset;
}

void redo_place(struct redo *redo, struct redo_record *record, uint64_t *offset)
{
    assert(redo->sequence > 0);
    *offset = place(redo, record, 0);
}

int redo_write(const struct redo *redo, const struct redo_record *record, uint64_t offset,
               struct ls_error *error)
{
    return write_whole(redo->fd, record->data, blocks(record->size), offset) ? 0
                                                                             : fail("write", error);
}

static void rewind_to(struct redo *redo, uint64_t round)
{
    redo->round = round;
    redo->sequence = 0;
    redo->offset = 0;
    redo->chain = 0;
}

int redo_begin(struct redo *redo, uint64_t round, struct redo_record *record, ls_bytes metas,
               struct ls_error *error)
{
    assert(metas.size > 0);
    if (redo_record_reserve(record, metas.size) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    add(record, metas.data, metas.size);
    rewind_to(redo, round);
    return redo_write(redo, record, place(redo, record, (uint32_t)metas.size), error);
}

int redo_append(struct redo *redo, struct redo_record *record, struct ls_error *error)
{
    uint64_t offset;
    redo_place(redo, record, &offset);
    return redo_write(redo, record, offset, error);
}

/* Writes a header over the first, in a block that stays as it is otherwise. So where this is cut
 * short the round is whole or the log is empty, and never is the round's first record torn. */
int redo_clear(struct redo *redo, uint64_t round, struct ls_error *error)
{
    _Alignas(REDO_BLOCK) uint8_t block[REDO_BLOCK];
    struct redo_record empty = {.data = block, .capacity = sizeof block};
    if (read_at(redo->fd, block, sizeof block, 0) != (ssize_t)sizeof block) {
        memset(block, 0, sizeof block); /* there is nothing left to keep whole */
    }
    redo_record_reset(&empty);
    rewind_to(redo, round);
    return redo_write(redo, &empty, put_header(redo, &empty, 0), error);
}

/* ---- reading ---- */

/* Whether the edits fill the body but for the meta pages, exactly. */
static bool body_fits(const struct redo_reader *reader)
{
    size_t end = reader->body.size - reader->meta_size;
    size_t at = 0;
    while (at < end) {
        struct edit_header header;
        if (end - at < sizeof header) {
            return false;
        }
        memcpy(&header, reader->body.data + at, sizeof header);
        at += sizeof header;
        if (header.operation < REDO_PUT || header.operation > REDO_DEL ||
            end - at < (uint64_t)header.key_size + header.value_size) {
            return false;
        }
        at += (size_t)header.key_size + header.value_size;
    }
    return true;
}

#define DO_RESTORE "; what was written last may be lost, restore a backup"

static int damaged(struct ls_error *error, uint64_t sequence, const char *how)
{
    return error_set(error, LS_ECORRUPT, 0,
                     "the redo log is damaged: its record %llu %s" DO_RESTORE,
                     (unsigned long long)sequence, how);
}

/* Reads the header at the reader's place, all zeros where the file has ended: 1, 0 where it does
 * not pass, or an error. */
static int read_header(const struct redo_reader *reader, struct header *header,
                       struct ls_error *error)
{
    *header = (struct header){0};
    if (reader->offset >= reader->capacity) {
        return 0;
    }
    ssize_t size = read_at(reader->fd, header, sizeof *header, reader->offset);
    if (size < 0) {
        return fail("read", error);
    }
    return (size_t)size == sizeof *header && header->magic == REDO_MAGIC &&
           header->check == header_check(header, reader->chain) &&
           header->sequence == reader->sequence;
}

/* Reads the body behind a header that passed: 1, 0 where it is not the one that was written, or an
 * error. The file is never shorter than its records, so one that is was cut; and a body that passes
 * its check is whole. */
static int read_body(struct redo_reader *reader, const struct header *header,
                     struct ls_error *error)
{
    uint64_t at = reader->offset + sizeof *header;
    if (at > reader->capacity || header->body_size > reader->capacity - at) {
        return damaged(error, reader->sequence, "was cut off");
    }
    buf_drop(&reader->body, reader->body.size);
    if (buf_reserve(&reader->body, header->body_size) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    ssize_t size =
        header->body_size == 0 ? 0 : read_at(reader->fd, reader->body.data, header->body_size, at);
    if (size < 0) {
        return fail("read", error);
    }
    if ((uint64_t)size < header->body_size ||
        hash64(reader->body.data, header->body_size, 0) != header->body_check) {
        return 0;
    }
    reader->body.size = header->body_size;
    reader->meta_size = header->meta_size;
    reader->at = 0;
    return header->meta_size <= header->body_size && body_fits(reader)
               ? 1
               : damaged(error, reader->sequence, "cannot be understood");
}

static void step(struct redo_reader *reader, const struct header *header)
{
    reader->chain = header->check;
    reader->offset += blocks(sizeof *header + header->body_size);
    reader->sequence++;
}

/* Whether from this place on so many records of the round lie one behind the other. */
static int is_followed(struct redo_reader at, unsigned wanted, struct ls_error *error)
{
    struct header header;
    int result = 1;
    for (unsigned i = 0; i < wanted && result == 1; i++) {
        result = read_header(&at, &header, error);
        if (result == 1) {
            result = header.round == at.round;
            step(&at, &header);
        }
    }
    return result;
}

/* What a record is whose header passed and whose body did not: 0, the end of the round, as far as
 * its write may not have come to its end; LS_ECORRUPT where what follows shows that it had. */
static int judge_torn(const struct redo_reader *reader, const struct header *header,
                      struct ls_error *error)
{
    struct redo_reader behind = *reader;
    step(&behind, header);
    int result = is_followed(behind, reader->sequence == 0 ? 1 : REDO_AHEAD_MAX, error);
    return result == 1 ? damaged(error, reader->sequence, "is not what was written") : result;
}

/* The same of one whose header did not pass. Where the next one is it does not tell; but whatever
 * is wrong with it, its check is either as it was written or what the rest of it gives. What users
 * put may lie here as well, from older rounds; but they cannot know the number of this one. */
static int judge_end(const struct redo_reader *reader, const struct header *header,
                     struct ls_error *error)
{
    const uint64_t chains[] = {header->check, header_check(header, reader->chain)};
    struct redo_reader behind = *reader;
    behind.sequence++;
    for (behind.offset += REDO_BLOCK; behind.offset < behind.capacity;
         behind.offset += REDO_BLOCK) {
        for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++) {
            behind.chain = chains[i];
            int result = is_followed(behind, REDO_AHEAD_MAX, error);
            if (result != 0) {
                return result < 0 ? result
                                  : damaged(error, reader->sequence, "is not what was written");
            }
        }
    }
    return 0;
}

/* The record with this header, at the reader's place: 1 and the reader behind it, or 0 at the end
 * of the round, or an error. */
static int take_record(struct redo_reader *reader, const struct header *header,
                       struct ls_error *error)
{
    int result = read_body(reader, header, error);
    if (result == 0) {
        return judge_torn(reader, header, error);
    }
    if (result == 1) {
        step(reader, header);
        reader->records++;
    }
    return result;
}

static bool all_zeros(const struct header *header)
{
    static const struct header zeros;
    return memcmp(header, &zeros, sizeof zeros) == 0;
}

/* Whether a header that cannot be the file's first stands somewhere. */
static int has_later_record(const struct redo_reader *reader, struct ls_error *error)
{
    struct header header;
    for (uint64_t at = REDO_BLOCK; at < reader->capacity; at += REDO_BLOCK) {
        ssize_t size = read_at(reader->fd, &header, sizeof header, at);
        if (size < 0) {
            return fail("read", error);
        }
        if ((size_t)size == sizeof header && header.magic == REDO_MAGIC && header.sequence > 0) {
            return 1;
        }
    }
    return 0;
}

/* Where the file does not begin with a header: 0 where no round was ever begun, or only just. */
static int judge_headless(const struct redo_reader *reader, const struct header *header,
                          struct ls_error *error)
{
    int result = all_zeros(header) ? has_later_record(reader, error) : 1;
    return result == 1 ? error_set(error, LS_ECORRUPT, 0,
                                   "the redo log is damaged: its first block is not that of a "
                                   "log" DO_RESTORE)
                       : result;
}

/* The first record, or that there is none. The file had its whole size before a round was in it. */
static int read_first(struct redo_reader *reader, uint64_t capacity, struct ls_error *error)
{
    struct header header;
    int result = read_header(reader, &header, error);
    if (result <= 0) {
        return result < 0 ? result : judge_headless(reader, &header, error);
    }
    if (header.version != REDO_VERSION) {
        return error_set(error, LS_EFORMAT, header.version,
                         "the redo log has format %u, and this version knows %u", header.version,
                         REDO_VERSION);
    }
    reader->round = header.round;
    if (header.meta_size == 0) {
        return 0; /* it was cleared */
    }
    return reader->capacity < capacity ? damaged(error, 0, "is in a file that is cut short")
                                       : take_record(reader, &header, error);
}

int redo_reader_open(struct redo_reader *reader, const char *directory, uint64_t capacity,
                     struct ls_error *error)
{
    char path[PATH_MAX];
    struct stat found;
    *reader = (struct redo_reader){.fd = -1};
    int result = path_of(path, directory, error);
    if (result != 0) {
        return result;
    }
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        return errno == ENOENT ? 0 : fail("open", error);
    }
    if (fstat(reader->fd, &found) != 0) {
        return fail("read", error);
    }
    if ((uint64_t)found.st_size < sizeof(struct header)) {
        return 0; /* left half made */
    }
    reader->capacity = (uint64_t)found.st_size;
    return read_first(reader, capacity, error);
}

void redo_reader_close(struct redo_reader *reader)
{
    if (reader->fd >= 0) {
        close(reader->fd);
        reader->fd = -1;
    }
    buf_free(&reader->body);
}

ls_bytes redo_reader_metas(const struct redo_reader *reader)
{
    return bytes_of(reader->body.data + reader->body.size - reader->meta_size, reader->meta_size);
}

int redo_reader_edit(struct redo_reader *reader, struct redo_edit *edit)
{
    if (reader->at >= reader->body.size - reader->meta_size) {
        return 0;
    }
    reader->at = (size_t)(edit_at(reader->body.data + reader->at, edit) - reader->body.data);
    return 1;
}

int redo_reader_next(struct redo_reader *reader, struct ls_error *error)
{
    struct header header;
    int result = read_header(reader, &header, error);
    if (result == 1 && header.round == reader->round && header.meta_size == 0) {
        return take_record(reader, &header, error);
    }
    return result < 0 ? result : judge_end(reader, &header, error);
}
