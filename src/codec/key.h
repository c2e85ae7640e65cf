/*
 * Keys of the store (docs/formats.md): a category letter, a byte with version and value type, then
 * what the category says. Encoded keys sort as their contents do.
 */
#ifndef LS_CODEC_KEY_H
#define LS_CODEC_KEY_H

#include <stdint.h>

#include "lockstep.h"

#define KEY_HEADER_SIZE     2
#define KEY_SIZE_MAX        511 /* what the store takes */
#define MESSAGE_KEY_SIZE    11  /* header, clock, type */
#define KEY_HOST_SIZE_MAX   255
#define KEY_OBJECT_SIZE_MAX 480
#define KEY_VERSION_TYPE    0x11 /* version 1, value type CBOR */
#define KEY_CATEGORIES      "CMNOPV"

enum key_category {
    KEY_CONTROL = 'C',
    KEY_MESSAGE = 'M',
    KEY_NODE = 'N',
    KEY_OBJECT = 'O',
    KEY_PRODUCER = 'P',
    KEY_VERSION = 'V'
};

/* An encoded key, by value. */
struct key {
    uint16_t size;
    uint8_t data[KEY_SIZE_MAX];
};

/* A decoded key. `name` is the host, the user's key or the control name; it points into the encoded
 * key, but for KEY_VERSION, where it points into `unescaped`. */
struct key_parts {
    enum key_category category;
    uint64_t clock; /* KEY_MESSAGE; KEY_VERSION: the timestamp */
    uint8_t type;   /* KEY_MESSAGE */
    uint8_t id[16]; /* KEY_PRODUCER */
    ls_bytes name;  /* KEY_NODE, KEY_OBJECT, KEY_VERSION, KEY_CONTROL */
    uint8_t unescaped[KEY_OBJECT_SIZE_MAX];
};

/* Encode. 0, LS_EKEY (empty, bad host text) or LS_ETOOBIG with the limit. In a KEY_VERSION each
 * 0x00 of the name becomes 0x00 0xFF and 0x00 0x00 ends it; one that would so pass KEY_SIZE_MAX is
 * LS_ETOOBIG. A control name is printable ASCII without spaces, else LS_EKEY. */
int key_node(struct key *out, ls_bytes host, struct ls_error *error);
int key_object(struct key *out, ls_bytes name, struct ls_error *error);
int key_version(struct key *out, ls_bytes name, uint64_t timestamp, struct ls_error *error);
int key_control(struct key *out, ls_bytes name);
/* What key_version would refuse, without encoding. */
int key_check_version(ls_bytes name, struct ls_error *error);
void key_message(struct key *out, uint64_t clock, uint8_t type);
void key_producer(struct key *out, const uint8_t id[16]);

/* The first possible key of a category, and of a message with at least this clock. */
void key_first(struct key *out, enum key_category category);
void key_message_from(struct key *out, uint64_t clock);

/* Turns an encoded key into the least key above every key that it is a prefix of; false where there
 * is none (all 0xFF). For the upper end of scans. */
bool key_after_prefix(struct key *key);

/* A scan's way through keys, which ascend as long as pages are not mixed up. Who read on regardless
 * would go round in a circle, or take what is elsewhere for what it asked for. */
struct key_walk {
    struct key last;
    bool begun; /* the next is above `last`; before that, not below it */
};
void key_walk_begin(struct key_walk *walk, const struct key *from);
/* Whether this key may come next, which is then the last. */
bool key_walk_step(struct key_walk *walk, ls_bytes key);

/* Decode. 0, or LS_EKEY with a sentence that says what is wrong: the category, version or value
 * type that is not known, a size that is not right. Nothing is guessed. On failure *out may have
 * been written to. */
int key_decode(struct key_parts *out, ls_bytes key, struct ls_error *error);

/* A host name: 1 to 255 bytes of UTF-8 without control characters. 0, LS_EKEY, LS_ETOOBIG. */
int key_check_host(ls_bytes host, struct ls_error *error);

static inline ls_bytes key_bytes(const struct key *key)
{
    return (ls_bytes){key->data, key->size};
}

#endif
