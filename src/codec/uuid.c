/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs as text: hyphens at their places or nowhere, hexadecimal digits of either case. */
#include "codec/uuid.h"

#include <string.h>

#define UUID_HEX_SIZE 32

void uuid_from_random(uint8_t out[16], const uint8_t random[16])
{
    memmove(out, random, 16);
    out[6] = (uint8_t)((out[6] & 0x0F) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3F) | 0x80);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

static bool is_hyphen_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

int uuid_parse(uint8_t out[16], ls_bytes text)
{
    bool hyphens = text.size == UUID_TEXT_SIZE - 1;
    if (!hyphens && text.size != UUID_HEX_SIZE) {
        return LS_EINVAL;
    }
    uint8_t id[16] = {0};
    const char *at = text.data;
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (hyphens && is_hyphen_place(i)) {
            if (at[i] != '-') {
                return LS_EINVAL;
            }
            continue;
        }
        int digit = hex_digit(at[i]);
        if (digit < 0) {
            return LS_EINVAL;
        }
        id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
        digits++;
    }
    memcpy(out, id, sizeof id);
    return 0;
}

void uuid_format(char out[UUID_TEXT_SIZE], const uint8_t id[16])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (is_hyphen_place(at)) {
            out[at++] = '-';
        }
        out[at++] = hex[id[i] >> 4];
        out[at++] = hex[id[i] & 0x0F];
    }
    out[at] = '\0';
}
