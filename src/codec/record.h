/*
 * The records of the store (docs/formats.md): CBOR maps with text keys in deterministic
 * encoding. A decoder ignores keys that it does not know and refuses a record that lacks a required
 * one, or has one of the wrong kind or twice. Decoded views borrow from the encoded bytes.
 *
 * Every record ends in being checkable. A message's `check` is the XXH3-64 of its encoding without
 * `check`, seeded with the check of the message before it. Every other record carries a `check`
 * too, seeded with the XXH3-64 (seed 0) of its key, so that a flipped bit, or a record under a key
 * that is not its own, is found.
 */
#ifndef LS_CODEC_RECORD_H
#define LS_CODEC_RECORD_H

#include <stdint.h>

#include "base/buf.h"
#include "lockstep.h"

/* The longest a record is beyond the payload or value in it. */
#define RECORD_OVERHEAD_MAX 2048

struct message {
    uint64_t clock;
    uint64_t timestamp_ns;
    uint64_t check;
    uint8_t type;  /* 'O', 'D', 'C', 'U' */
    uint8_t event; /* 0 for none */
    bool has_from_id;
    bool has_id; /* with `host` */
    uint8_t from_id[16];
    uint8_t id[16];
    ls_bytes from;   /* may be empty */
    ls_bytes host;   /* empty: every node */
    ls_bytes object; /* one CBOR item */
};

enum node_state { NODE_UP = 0, NODE_LEAVING = 1, NODE_DOWN = 2 };

struct node {
    uint8_t id[16];
    ls_bytes host;
    uint64_t joined;
    uint64_t modified; /* the clock of its last message */
    enum node_state state;
    uint64_t clock;
    uint64_t timestamp_ns;
    uint64_t ttl_ms;
    uint64_t beat; /* grows with each beat that was written; any observer can tell life from it */
    uint64_t via;  /* the process that the node is bound to */
    ls_bytes meta; /* CBOR; empty: none */
};

struct object {
    ls_bytes value;
    uint64_t created;
    uint64_t modified;
    ls_bytes owner; /* host; empty: none */
};

struct producer {
    uint64_t seq;
    uint64_t clock;
};

/* A version of a key of the transactions. */
struct version {
    ls_bytes value;
    bool deleted;
};

/* An open transaction. The lists are keys one after the other, each behind its size in 2 bytes. */
struct transaction {
    uint64_t via; /* the process that began it */
    uint64_t ttl_ms;
    uint64_t began_ns;
    uint64_t whole; /* 1: it waits to run at once, as one call of that process; else 0 */
    ls_bytes eager;
    ls_bytes lazy;
    ls_bytes will;
    ls_bytes may;
};

/* All that one transaction wrote, as the version log has it. The list is walked by
 * logged_write_next. */
struct logged {
    uint64_t timestamp;
    ls_bytes writes;
};

struct logged_write {
    ls_bytes key;
    ls_bytes value;
    bool deleted;
};

#define CONTROL_NAMES_MAX 6

/* The value of a number that may be missing, and is. */
#define CONTROL_ABSENT UINT64_MAX

/* Control records: some named numbers. */
struct control {
    uint64_t value[CONTROL_NAMES_MAX];
};

/* The `object` of an O message. */
struct change {
    ls_bytes key;   /* the full store key */
    ls_bytes value; /* the encoded record; has_value false: deleted */
    bool has_value;
    uint64_t previous; /* 0: created */
};

/* Encode, appending to `out`: 0 or LS_ENOMEM. message_encode sets message->check from `previous`.
 */
int message_encode(struct buf *out, struct message *message, uint64_t previous_check);
int node_encode(struct buf *out, const struct node *node, ls_bytes key);
int object_encode(struct buf *out, const struct object *object, ls_bytes key);
int producer_encode(struct buf *out, const struct producer *producer, ls_bytes key);
/* The index record of an owned object: the object's own key, not its store key. */
int owned_encode(struct buf *out, ls_bytes object_key, ls_bytes key);
int change_encode(struct buf *out, const struct change *change);
int version_encode(struct buf *out, const struct version *version, ls_bytes key);
int transaction_encode(struct buf *out, const struct transaction *transaction, ls_bytes key);
/* The writes, at least one, are in byte order of their keys, each of which is there once. */
int logged_encode(struct buf *out, uint64_t timestamp, const struct logged_write *writes,
                  size_t count, ls_bytes key);

/* A control record is a map from `names` (a NULL-terminated list in deterministic order, at most
 * CONTROL_NAMES_MAX) to numbers. A name with a '?' before it may be missing: its value is then
 * CONTROL_ABSENT. */
int control_encode(struct buf *out, const struct control *control, const char *const *names,
                   ls_bytes key);

/* Decode: 0 or LS_ERECORD with the offset as the number and a sentence that says what is wrong.
 * Decoding does not verify checks: the functions below do. */
int message_decode(struct message *out, ls_bytes record, struct ls_error *error);
int node_decode(struct node *out, ls_bytes record, struct ls_error *error);
int object_decode(struct object *out, ls_bytes record, struct ls_error *error);
int producer_decode(struct producer *out, ls_bytes record, struct ls_error *error);
int control_decode(struct control *out, ls_bytes record, const char *const *names,
                   struct ls_error *error);
int owned_decode(ls_bytes *object_key, ls_bytes record, struct ls_error *error);
int change_decode(struct change *out, ls_bytes object, struct ls_error *error);
int version_decode(struct version *out, ls_bytes record, struct ls_error *error);
int transaction_decode(struct transaction *out, ls_bytes record, struct ls_error *error);
int logged_decode(struct logged *out, ls_bytes record, struct ls_error *error);

/* Walks the writes of a record that was decoded: true with *write set, and `writes` behind it;
 * false at the end. */
bool logged_write_next(ls_bytes *writes, struct logged_write *write);

/* Walks a list of keys: true with *key set, and `list` behind it; false at its end. What is left in
 * `list` then, if anything, is malformed. */
bool key_list_next(ls_bytes *list, ls_bytes *key);

/* Verify a check: 0 or LS_ECORRUPT. The message needs the check of the one before it. */
int message_verify(ls_bytes record, uint64_t previous_check, struct ls_error *error);
int record_verify(ls_bytes record, ls_bytes key, struct ls_error *error);

const char *node_state_name(enum node_state state);
/* -1 for another name. */
int node_state_from_name(ls_bytes name);

/* "user", "U", "u" to 'U'; -1 for what is no type. */
int message_type_from_text(ls_bytes text);

/* "created", "C", "c" to 'C'; -1 for what is no event of the type. For type U any one byte is an
 * event as it stands, but "-", which is 0 for none; other types always have one of the three. */
int message_event_from_text(ls_bytes text, uint8_t type);

#endif
