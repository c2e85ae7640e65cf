/* The check that bytes are UTF-8 (RFC 3629): shortest forms only, no surrogates, up to U+10FFFF. */
#ifndef LS_CODEC_UTF8_H
#define LS_CODEC_UTF8_H

#include "lockstep.h"

/* Whether the bytes are valid UTF-8; *bad (may be NULL) gets the offset of the first byte of the
 * first sequence that is not, and is untouched where there is none. */
bool utf8_check(ls_bytes text, size_t *bad);

/* The size of the valid sequence that `text` begins with, 1 to 4; 0 where there is none. */
size_t utf8_sequence(ls_bytes text);

#endif
