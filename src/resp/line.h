/*
 * The number lines that requests and replies share: "[-]digits CR LF", as strict as Redis is (no
 * plus, no spaces, no leading zeros, no minus zero). A line that is cut is told from a wrong one.
 */
#ifndef LS_RESP_LINE_H
#define LS_RESP_LINE_H

#include <stdbool.h>
#include <stdint.h>

enum line_status { LINE_WHOLE, LINE_CUT, LINE_BAD };

/* Nineteen digits hold every 64-bit signed integer, and any nineteen fit a uint64_t. */
#define LINE_DIGITS_MAX 19

/* Reads the line at `at`; on LINE_WHOLE sets the value and *after, behind the LF. */
static inline enum line_status line_integer(const uint8_t *at, const uint8_t *end, int64_t *value,
                                            const uint8_t **after)
{
    /* One to three digits are nearly all there are, and this way they take half the time. */
    if (end - at >= 5 && (uint8_t)(at[0] - '1') < 9) {
        const uint8_t *next = at + 1;
        unsigned number = (uint8_t)(at[0] - '0');
        while (next < at + 3 && (uint8_t)(*next - '0') <= 9) {
            number = number * 10 + (uint8_t)(*next++ - '0');
        }
        if (next[0] == '\r' && next[1] == '\n') {
            *value = number;
            *after = next + 2;
            return LINE_WHOLE;
        }
    }
    bool negative = at < end && *at == '-';
    const uint8_t *first = at + negative;
    const uint8_t *next = first;
    uint64_t magnitude = 0;

    while (next < end && (uint8_t)(*next - '0') <= 9) {
        if (next - first == LINE_DIGITS_MAX) {
            return LINE_BAD;
        }
        magnitude = magnitude * 10 + (uint8_t)(*next - '0');
        next++;
    }
    if (next > first && *first == '0' && (negative || next - first > 1)) {
        return LINE_BAD;
    }
    if (magnitude > (uint64_t)INT64_MAX + negative) {
        return LINE_BAD;
    }
    if (next == end) {
        return LINE_CUT;
    }
    if (next == first || *next != '\r') {
        return LINE_BAD;
    }
    if (next + 1 == end) {
        return LINE_CUT;
    }
    if (next[1] != '\n') {
        return LINE_BAD;
    }
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    *after = next + 2;
    return LINE_WHOLE;
}

#endif
