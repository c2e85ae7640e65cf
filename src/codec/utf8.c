/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 after the table of well-formed sequences in the Unicode standard (table 3-7). */
#include "codec/utf8.h"

#include <string.h>

size_t utf8_sequence(ls_bytes text)
{
    if (text.size == 0) {
        return 0;
    }
    const uint8_t *at = text.data;
    if (at[0] < 0x80) {
        return 1;
    }
    size_t size;
    /* The range of the second byte is what refuses long forms, surrogates and what is too high. */
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        size = 2;
    } else if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        size = 3;
        low = at[0] == 0xE0 ? 0xA0 : low;
        high = at[0] == 0xED ? 0x9F : high;
    } else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        size = 4;
        low = at[0] == 0xF0 ? 0x90 : low;
        high = at[0] == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (text.size < size || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return size;
}

/* How many ASCII bytes the text begins with. */
static size_t ascii_run(const uint8_t *data, size_t size)
{
    size_t at = 0;
    uint64_t word;
    while (size - at >= sizeof word) {
        memcpy(&word, data + at, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
        at += sizeof word;
    }
    while (at < size && data[at] < 0x80) {
        at++;
    }
    return at;
}

bool utf8_check(ls_bytes text, size_t *bad)
{
    const uint8_t *data = text.data;
    size_t at = ascii_run(data, text.size);
    while (at < text.size) {
        size_t size = utf8_sequence((ls_bytes){data + at, text.size - at});
        if (size == 0) {
            if (bad != NULL) {
                *bad = at;
            }
            return false;
        }
        at += size;
        at += ascii_run(data + at, text.size - at);
    }
    return true;
}
