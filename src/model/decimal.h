/* Decimal numbers as people write them, held exactly: rates, chances, times. No sign and no
 * exponent. */
#ifndef LS_MODEL_DECIMAL_H
#define LS_MODEL_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_PLACES_MAX 9

/* digits / 10^places, the places as few as hold the value: 1.50 is 15 and 1. */
struct decimal {
    uint64_t digits;
    unsigned places;
};

uint64_t decimal_power(unsigned places);

/* Reads "12", "0.5", ".5" from all of the text. False where it is something else, has more than
 * DECIMAL_PLACES_MAX places that count, or its digits pass 10^18. */
bool decimal_parse(const char *text, size_t size, struct decimal *out);

/* The value in units of 10^-places, which must be no fewer than its own: false where that passes
 * 2^64 - 1. */
bool decimal_in_units(struct decimal decimal, unsigned places, uint64_t *out);

/* The same value without zeros at its end. */
struct decimal decimal_of(uint64_t digits, unsigned places);

/* "12", "0.5"; the size of the text. */
#define DECIMAL_TEXT_SIZE 32
size_t decimal_text(struct decimal decimal, char out[DECIMAL_TEXT_SIZE]);

/* sum / count to three places, rounded half up, in integers: "0.000" where count is 0. */
size_t decimal_mean(uint64_t sum, uint64_t count, char out[DECIMAL_TEXT_SIZE]);

#endif
