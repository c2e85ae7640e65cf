/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a dump. Where the first byte is even, the rest is a line: it is refused with a sentence,
 * or what it says is written as a line that says the same. Where it is odd, the second byte is the
 * size of a key, and key and value, whatever they are, come back from their line bit for bit.
 */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "cli/dump_line.h"
#include "codec/cbor.h"
#include "codec/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(struct dump_reader *reader, ls_bytes key, ls_bytes value)
{
    struct buf line = {0};
    struct buf again = {0};
    struct key key_again;
    CHECK(dump_line_write(&line, key, value) == 0);
    CHECK(line.size > 0 && line.data[line.size - 1] == '\n');
    CHECK(memchr(line.data, '\n', line.size - 1) == NULL);
    CHECK(utf8_check(buf_bytes(&line), NULL));
    line.size--;
    CHECK(dump_line_read(reader, buf_bytes(&line), &key_again, &again, NULL) == 0);
    CHECK(bytes_equal(key_bytes(&key_again), key));
    CHECK(bytes_equal(buf_bytes(&again), value));
    buf_free(&line);
    buf_free(&again);
}

static void try_line(struct dump_reader *reader, ls_bytes line)
{
    struct ls_error error = {0};
    struct key key;
    struct buf value = {0};
    int rc = dump_line_read(reader, line, &key, &value, &error);
    if (rc == 0) {
        CHECK(key.size > 0 && key.size <= KEY_SIZE_MAX);
        check_round_trip(reader, key_bytes(&key), buf_bytes(&value));
    } else {
        CHECK(error.code == rc && error.text[0] != '\0');
    }
    buf_free(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dump_reader reader = {0};
    if (size >= 1 && data[0] % 2 == 0) {
        try_line(&reader, bytes_of(data + 1, size - 1));
    } else if (size >= 3) {
        size_t key_size = 1 + data[1] % (size - 2);
        check_round_trip(&reader, bytes_of(data + 2, key_size),
                         bytes_of(data + 2 + key_size, size - 2 - key_size));
    }
    dump_reader_free(&reader);
    return 0;
}
