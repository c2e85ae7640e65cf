/*
 * The redo log: one file, DIR/redo, in which a commit becomes durable with a single flush. It is
 * made and filled with zeros once, and from then on only overwritten, in blocks and past the page
 * cache where the file system allows that, so that a flush has nothing to do but write.
 *
 * It holds one round: the two meta pages of the data file as they were on disk when the round
 * began, and the edits of each commit since, in order. A round begins at the start of the file,
 * over the round before, which must be cleared by then. Each record's check covers the check of the
 * one before it, so what is left of older rounds never passes. The first record that does not pass
 * ends a round, as one that was being written when a crash came, and never acknowledged. Unless
 * others follow it that would not be there then: that is damage, and is told.
 *
 * Knows nothing of LMDB. One thread at a time.
 */
#ifndef LS_STORE_REDO_H
#define LS_STORE_REDO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "lockstep.h"

#define REDO_NAME     "redo"
#define REDO_CAPACITY (UINT64_C(16) << 20)
#define REDO_BLOCK    4096

/* So many records behind the last that is durable may be in the file, in a round that has begun. It
 * is part of the format: a reader takes one that has so many behind it for durable. The first of a
 * round is durable before the next is written. */
#define REDO_AHEAD_MAX 3

struct redo {
    int fd; /* -1: closed */
    uint64_t capacity;
    uint64_t round;    /* its number; greater than that of every round before */
    uint64_t sequence; /* of the next record */
    uint64_t offset;   /* where that goes */
    uint64_t chain;    /* the check of the one before it */
};

/* A record in the making: aligned memory, the header's place first. All zeros is none yet. */
struct redo_record {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

enum redo_operation { REDO_PUT = 1, REDO_APPEND = 2, REDO_DEL = 3 };

struct redo_edit {
    enum redo_operation operation;
    ls_bytes key;
    ls_bytes value;
};

/* Empties a record. Its memory stays. */
void redo_record_reset(struct redo_record *record);
void redo_record_free(struct redo_record *record);

/* Makes room for `extra` more bytes: 0 or LS_ENOMEM, the content untouched. */
int redo_record_reserve(struct redo_record *record, size_t extra);

/* Adds an edit: 0, LS_ENOMEM, or LS_ETOOBIG where the record would be larger than `size_max`. */
int redo_record_add(struct redo_record *record, const struct redo_edit *edit, size_t size_max);

bool redo_record_fits(const struct redo_record *record, const struct redo_edit *edit,
                      size_t size_max);

/* The edit at *at, which is 0 for the first, and moves on: 1, or 0 behind the last. Only while the
 * record has no meta pages. The bytes are the record's. */
int redo_record_edit(const struct redo_record *record, size_t *at, struct redo_edit *edit);

/* Bytes that a record takes in the file, with `more` bytes added to it. */
uint64_t redo_record_space(const struct redo_record *record, size_t more);

/* Opens DIR/redo for writing; makes it, zeroed and flushed, where it is missing or was left half
 * made. 0, LS_EIO, LS_ENOSPACE, LS_EREADONLY, LS_ENOMEM; on failure nothing is open. */
int redo_open(struct redo *redo, const char *directory, uint64_t capacity, struct ls_error *error);
void redo_close(struct redo *redo);

/* Begins round `round` with its first record and the meta pages; durable when it returns 0. Where
 * it fails, nobody can say which round the file holds until redo_clear has succeeded. */
int redo_begin(struct redo *redo, uint64_t round, struct redo_record *record, ls_bytes metas,
               struct ls_error *error);

/* Appends to the round; durable when it returns 0. The record must fit (redo_record_space). */
int redo_append(struct redo *redo, struct redo_record *record, struct ls_error *error);

/* The two halves of redo_append: gives the record its place, at *offset, behind all that have one,
 * and writes it there. Records that have their places may be written in any order, and by several
 * threads at once; one is durable, and will be found again, once it and all before it are written.
 * At most REDO_AHEAD_MAX may be under way, the oldest counted until it and all before are durable.
 * Where a write fails nobody can say what the round holds until redo_clear has succeeded. */
void redo_place(struct redo *redo, struct redo_record *record, uint64_t *offset);
int redo_write(const struct redo *redo, const struct redo_record *record, uint64_t offset,
               struct ls_error *error);

/* Makes the log empty, durably; its last round was `round`. */
int redo_clear(struct redo *redo, uint64_t round, struct ls_error *error);

/* ---- reading a round again ---- */

struct redo_reader {
    int fd;
    uint64_t capacity;
    uint64_t round;  /* the last that was begun; 0: none */
    struct buf body; /* of the record read last */
    size_t meta_size;
    size_t at;
    uint64_t sequence;
    uint64_t offset;
    uint64_t chain;
    uint64_t records; /* that passed so far */
};

/* Opens DIR/redo, made with `capacity`, for reading: 1 where it holds a round, whose first record
 * is then read; 0 where it is missing or empty; LS_ECORRUPT where its first block is not one of a
 * log, where it holds a round and is cut short, or as redo_reader_next, LS_EFORMAT for a newer
 * format, LS_EIO, LS_ENOMEM. redo_reader_close after any result. */
int redo_reader_open(struct redo_reader *reader, const char *directory, uint64_t capacity,
                     struct ls_error *error);
void redo_reader_close(struct redo_reader *reader);

/* The meta pages; valid until redo_reader_next. */
ls_bytes redo_reader_metas(const struct redo_reader *reader);

/* The next edit of the record: 1, or 0 at its end. The bytes are valid until redo_reader_next. */
int redo_reader_edit(struct redo_reader *reader, struct redo_edit *edit);

/* Goes to the next record: 1, or 0 at the end of the round, or an error: LS_ECORRUPT where the one
 * that is next is damaged, and was durable once, or never a record. */
int redo_reader_next(struct redo_reader *reader, struct ls_error *error);

#endif
