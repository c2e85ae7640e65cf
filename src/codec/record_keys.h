/*
 * What writing and reading records share: their keys as bytes made at compile time, where `check`
 * stands among names that are not known then, and the heads in a list of writes. It is for
 * record_encode.c and record_decode.c only.
 */
#ifndef LS_CODEC_RECORD_KEYS_H
#define LS_CODEC_RECORD_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Text keys with their CBOR heads, 0x60 plus the size, in octal: such an escape ends by itself. */
#define K_ID        "\142id"
#define K_KEY       "\143key"
#define K_MAY       "\143may"
#define K_SEQ       "\143seq"
#define K_TTL       "\143ttl"
#define K_VIA       "\143via"
#define K_BEAT      "\144beat"
#define K_FROM      "\144from"
#define K_HOST      "\144host"
#define K_LAZY      "\144lazy"
#define K_META      "\144meta"
#define K_TYPE      "\144type"
#define K_WILL      "\144will"
#define K_BEGAN     "\145began"
#define K_CHECK     "\145check"
#define K_CLOCK     "\145clock"
#define K_EAGER     "\145eager"
#define K_EVENT     "\145event"
#define K_OWNER     "\145owner"
#define K_STATE     "\145state"
#define K_VALUE     "\145value"
#define K_WHOLE     "\145whole"
#define K_JOINED    "\146joined"
#define K_OBJECT    "\146object"
#define K_WRITES    "\146writes"
#define K_CREATED   "\147created"
#define K_FROM_ID   "\147from-id"
#define K_MODIFIED  "\150modified"
#define K_PREVIOUS  "\150previous"
#define K_TIMESTAMP "\151timestamp"

/* Before the name of a number of a control record that may be missing. */
#define CONTROL_OPTIONAL '?'

/* Before each write of a list: the sizes of its key and of its value. */
#define WRITE_KEY_SIZE   2
#define WRITE_VALUE_SIZE 4
#define WRITE_DELETED    UINT32_MAX /* instead of the value's size */

/* Whether `check` comes before a name in deterministic order. */
static inline bool check_precedes(const char *name)
{
    size_t size = strlen(name);
    size_t check_size = strlen("check");
    return size == check_size ? strcmp("check", name) < 0 : check_size < size;
}

#endif
