/* Numbers as decimal digits, two at a time, where they are written by the million. What follows in
 * the text is the caller's. */
#ifndef LS_BASE_DIGITS_H
#define LS_BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 20 /* of a uint64_t */

/* Two digits of a number below 100. */
static inline void digits_pair(void *at, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    memcpy(at, pairs + value * 2, 2);
}

/* At most DIGITS_MAX from `at` on, without leading zeros. Gives how many. */
static inline size_t digits_put(void *at, uint64_t value)
{
    if (value < 10) {
        *(uint8_t *)at = (uint8_t)('0' + value);
        return 1;
    }
    uint8_t digits[DIGITS_MAX];
    size_t first = sizeof digits;
    do {
        first -= 2;
        digits_pair(digits + first, value % 100);
        value /= 100;
    } while (value >= 10);
    if (value > 0) {
        digits[--first] = (uint8_t)('0' + value);
    }
    memcpy(at, digits + first, sizeof digits - first);
    return sizeof digits - first;
}

#endif
