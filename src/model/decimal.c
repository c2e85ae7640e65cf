/* SPDX-License-Identifier: Apache-2.0 */
/* Decimals, with integers throughout. */
#include "model/decimal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/kernel_random.h"

#define DIGITS_MAX UINT64_C(1000000000000000000)

uint64_t decimal_power(unsigned places)
{
    uint64_t power = 1;
    assert(places <= 18);
    while (places-- > 0) {
        power *= 10;
    }
    return power;
}

bool decimal_parse(const char *text, size_t size, struct decimal *out)
{
    const char *point = memchr(text, '.', size);
    struct decimal value = {0, 0};
    bool any = false;

    for (size_t end = size; point != NULL && end > 0 && text[end - 1] == '0'; end--) {
        any = true; /* a zero behind the point is a digit, but one that says nothing */
        size = end - 1;
    }
    for (size_t i = 0; i < size; i++) {
        if (&text[i] == point) {
            continue;
        }
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        value.places += point != NULL && &text[i] > point;
        if (value.digits > (DIGITS_MAX - digit) / 10 || value.places > DECIMAL_PLACES_MAX) {
            return false;
        }
        value.digits = value.digits * 10 + digit;
        any = true;
    }
    *out = value;
    return any;
}

bool decimal_in_units(struct decimal decimal, unsigned places, uint64_t *out)
{
    assert(places >= decimal.places);
    return !__builtin_mul_overflow(decimal.digits, decimal_power(places - decimal.places), out);
}

struct decimal decimal_of(uint64_t digits, unsigned places)
{
    while (places > 0 && digits % 10 == 0) {
        digits /= 10;
        places--;
    }
    return (struct decimal){digits, places};
}

size_t decimal_text(struct decimal decimal, char out[DECIMAL_TEXT_SIZE])
{
    uint64_t power = decimal_power(decimal.places);
    int size = decimal.places == 0
                   ? snprintf(out, DECIMAL_TEXT_SIZE, "%" PRIu64, decimal.digits)
                   : snprintf(out, DECIMAL_TEXT_SIZE, "%" PRIu64 ".%0*" PRIu64,
                              decimal.digits / power, (int)decimal.places, decimal.digits % power);
    return (size_t)size;
}

size_t decimal_mean(uint64_t sum, uint64_t count, char out[DECIMAL_TEXT_SIZE])
{
    uint64_t thousandths =
        count == 0 ? 0 : (uint64_t)(((kernel_wide)sum * 2000 + count) / ((kernel_wide)count * 2));
    int size = snprintf(out, DECIMAL_TEXT_SIZE, "%" PRIu64 ".%03" PRIu64, thousandths / 1000,
                        thousandths % 1000);
    return (size_t)size;
}
