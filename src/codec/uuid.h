/* UUIDs (RFC 4122) as 16 bytes and as text. Randomness comes in as an argument. */
#ifndef LS_CODEC_UUID_H
#define LS_CODEC_UUID_H

#include <stdint.h>

#include "lockstep.h"

#define UUID_TEXT_SIZE 37 /* with the NUL */

/* A version 4 UUID from 16 random bytes. */
void uuid_from_random(uint8_t out[16], const uint8_t random[16]);

/* 36 characters with hyphens, or 32 without, either case. 0 or LS_EINVAL. */
int uuid_parse(uint8_t out[16], ls_bytes text);
void uuid_format(char out[UUID_TEXT_SIZE], const uint8_t id[16]);

#endif
