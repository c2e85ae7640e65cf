/*
 * One record of the store as one line of JSON and back, bit for bit. The key is written as what it
 * says, the record field by field: numbers as numbers, checks and what passes 2^63 as hex text
 * under the name with "_hex" behind it, byte strings as base64url with "_base64url". Fields that
 * nobody knows are kept. What cannot be written so is written whole, as
 * {"key_hex":..,"value_hex":..}.
 */
#ifndef LS_CLI_DUMP_LINE_H
#define LS_CLI_DUMP_LINE_H

#include "base/buf.h"
#include "codec/key.h"
#include "lockstep.h"

/* Appends the line with its line feed. 0 or LS_ENOMEM. */
int dump_line_write(struct buf *out, ls_bytes key, ls_bytes value);

/* Memory kept from one line to the next; all zeros at first. */
struct dump_reader {
    struct buf cbor;
    struct buf bytes;
};

/* Reads a line back. 0, LS_EINVAL or LS_EBADJSON with a sentence, LS_ENOMEM. */
int dump_line_read(struct dump_reader *reader, ls_bytes line, struct key *key, struct buf *value,
                   struct ls_error *error);
void dump_reader_free(struct dump_reader *reader);

/* base64url without padding, appended. 0, LS_EINVAL or LS_ENOMEM. */
int dump_unbase64(struct buf *out, ls_bytes text);

#endif
