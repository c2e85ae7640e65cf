/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The redo log's file. The input is a byte that says how much of the file is missing, and a list of
 * records: a byte of what is put right in it, two bytes with the size of its body, a header and the
 * body; each begins a block of the file. Whatever comes of that, reading ends, with a round or an
 * error and its sentence, gives edits within the body, and the same when done again.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "check.h"
#include "store/redo.h"

#define HEADER_SIZE 56
#define BODY_MAX    1024
#define FILE_SIZE   ((size_t)16 * REDO_BLOCK)
#define MAGIC       UINT64_C(0x4f4445524b434f4c)
#define VERSION     1

/* What is put right. */
enum { NAMES = 1, SIZES = 2, BODY_CHECK = 4, HEADER_CHECK = 8, META = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

/* The check of the header, for the next. */
static uint64_t put_right(uint8_t *header, unsigned what, uint64_t sequence, size_t body_size,
                          uint64_t chain)
{
    uint64_t check;
    if ((what & NAMES) != 0) {
        put64(header, MAGIC);
        put32(header + 8, VERSION);
        put64(header + 16, 7);
        put64(header + 24, sequence);
    }
    if ((what & META) != 0) {
        put32(header + 12, sequence == 0 ? (uint32_t)(body_size / 2) : 0);
    }
    if ((what & SIZES) != 0) {
        put64(header + 32, body_size);
    }
    if ((what & BODY_CHECK) != 0) {
        put64(header + 40, hash64(header + HEADER_SIZE, body_size, 0));
    }
    if ((what & HEADER_CHECK) != 0) {
        put64(header + 48, hash64(header, 48, chain));
    }
    memcpy(&check, header + 48, sizeof check);
    return check;
}

/* Fills the file from the input. */
static void fill(uint8_t file[FILE_SIZE], const uint8_t *data, size_t size)
{
    uint64_t chain = 0;
    memset(file, 0, FILE_SIZE);
    for (uint64_t i = 0; size > 3 && i < FILE_SIZE / REDO_BLOCK; i++) {
        uint8_t *header = file + i * REDO_BLOCK;
        unsigned what = data[0];
        size_t body_size = (size_t)(data[1] | data[2] << 8) % BODY_MAX;
        data += 3;
        size -= 3;
        size_t part = size < HEADER_SIZE + body_size ? size : HEADER_SIZE + body_size;
        memcpy(header, data, part);
        data += part;
        size -= part;
        chain = put_right(header, what, i, body_size, chain);
    }
}

static char directory[] = "/dev/shm/fuzz-redo-XXXXXX";

static void remove_directory(void)
{
    rmdir(directory);
}

static void make_directory_once(void)
{
    static bool made;
    if (!made) {
        CHECK(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
        made = true;
    }
}

/* A hash of all that reading gives. */
static uint64_t read_all(uint64_t capacity)
{
    struct redo_reader reader;
    struct ls_error error = {0};
    struct redo_edit edit;
    uint64_t seen = 0;
    uint64_t records = 0;
    int result = redo_reader_open(&reader, directory, capacity, &error);
    if (result == 1) {
        ls_bytes metas = redo_reader_metas(&reader);
        seen = hash64(metas.data, metas.size, seen);
    }
    for (; result == 1; result = redo_reader_next(&reader, &error)) {
        CHECK(++records == reader.records && records <= FILE_SIZE / REDO_BLOCK);
        while (redo_reader_edit(&reader, &edit) == 1) {
            const uint8_t *end = (const uint8_t *)edit.value.data + edit.value.size;
            CHECK(edit.operation >= REDO_PUT && edit.operation <= REDO_DEL);
            CHECK(end <= reader.body.data + reader.body.size - reader.meta_size);
            seen = hash64(edit.key.data, edit.key.size, seen + edit.operation);
            seen = hash64(edit.value.data, edit.value.size, seen);
        }
    }
    CHECK(result == 0 || (result == error.code && error.text[0] != '\0'));
    CHECK(result == 0 || result == LS_ECORRUPT || result == LS_EFORMAT);
    redo_reader_close(&reader);
    return seen + (uint64_t)result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[FILE_SIZE];
    char path[64];
    make_directory_once();
    snprintf(path, sizeof path, "%s/" REDO_NAME, directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t cut = size > 0 ? data[0] * (size_t)257 : 0; /* the file ends so much earlier */
    CHECK(fd >= 0);
    fill(file, data + (size > 0), size - (size > 0));
    cut = cut < FILE_SIZE ? cut : 0;
    CHECK(write(fd, file, FILE_SIZE - cut) == (ssize_t)(FILE_SIZE - cut));
    close(fd);
    CHECK(read_all(0) == read_all(0));
    (void)read_all(FILE_SIZE);
    CHECK(unlink(path) == 0);
    return 0;
}
