/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text as CBOR in deterministic encoding. jansson parses; this file reads its tree in document
 * order and writes each item as it comes, then puts the entries of an object in order once it is
 * closed. The stack is of fixed size, for depth is checked on the text, before jansson sees it.
 *
 * jansson refuses integers past 64 bits with sign. They are found on the text as well, stand as a
 * real number of the same length while jansson parses, and are met again by counting reals.
 */
#include <assert.h>
#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "codec/cbor.h"
#include "codec/json.h"

#define INT64_DIGITS 19 /* no integer with fewer digits is too large for jansson */

/* ---- what is looked at on the text ---- */

/* An integer that jansson would not take. */
struct big_integer {
    size_t offset;
    size_t size;
    size_t real; /* which real it stands as, in document order from 0 */
};

struct scan {
    ls_bytes text;
    size_t at;
    size_t depth;
    size_t reals;
    struct buf bigs; /* of struct big_integer */
};

/* The magnitude of an integer, digits only; false where it is past 64 bits. */
static bool read_magnitude(const char *digits, size_t size, uint64_t *magnitude)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned digit = (unsigned)(digits[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *magnitude = value;
    return true;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Whether the token is an integer, as JSON writes them, that jansson would not take. */
static bool is_big_integer(const char *token, size_t size)
{
    bool negative = size > 0 && token[0] == '-';
    const char *digits = token + negative;
    size_t count = size - negative;
    if (count < INT64_DIGITS || digits[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(digits[i])) {
            return false;
        }
    }
    uint64_t magnitude;
    return !read_magnitude(digits, count, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative;
}

static int scan_number(struct scan *scan)
{
    const char *text = scan->text.data;
    size_t start = scan->at;
    bool real = false;
    while (scan->at < scan->text.size) {
        char byte = text[scan->at];
        bool fraction = byte == '.' || byte == 'e' || byte == 'E';
        if (!is_digit(byte) && byte != '-' && byte != '+' && !fraction) {
            break;
        }
        real = real || fraction;
        scan->at++;
    }
    if (is_big_integer(text + start, scan->at - start)) {
        struct big_integer big = {start, scan->at - start, scan->reals++};
        return buf_append(&scan->bigs, &big, sizeof big);
    }
    scan->reals += real;
    return 0;
}

static void scan_string(struct scan *scan)
{
    const char *text = scan->text.data;
    scan->at++;
    while (scan->at < scan->text.size && text[scan->at] != '"') {
        scan->at += text[scan->at] == '\\' ? 2 : 1;
    }
    scan->at++;
}

/* Finds what jansson does not tell or take. What is not JSON may pass: jansson refuses it. */
static int scan_text(struct scan *scan, struct ls_error *error)
{
    const char *text = scan->text.data;
    int rc = 0;
    size_t bad;
    if (!utf8_check(scan->text, &bad)) {
        return error_set(error, LS_EBADJSON, bad, "the text is not UTF-8, at byte %zu", bad);
    }
    while (rc == 0 && scan->at < scan->text.size) {
        char byte = text[scan->at];
        if (byte == '"') {
            scan_string(scan);
        } else if (is_digit(byte) || byte == '-') {
            rc = scan_number(scan);
        } else {
            scan->at++;
            if (byte == ']' || byte == '}') {
                scan->depth -= scan->depth > 0;
            } else if ((byte == '[' || byte == '{') && scan->depth++ == CBOR_DEPTH_MAX) {
                return error_set(error, LS_EBADJSON, scan->at - 1,
                                 "nested deeper than %d, at byte %zu", CBOR_DEPTH_MAX,
                                 scan->at - 1);
            }
        }
    }
    return rc != 0 ? error_code(error, rc) : 0;
}

/* ---- the tree ---- */

static int refuse_parse(ls_bytes json, const json_error_t *parse, struct ls_error *error)
{
    /* Some of jansson's failures for want of memory look like bad text, so errno counts as well. */
    if (errno == ENOMEM || json_error_code(parse) == json_error_out_of_memory ||
        parse->text[0] == '\0') {
        return error_code(error, LS_ENOMEM);
    }
    size_t offset = parse->position > 0 ? (size_t)parse->position : 0;
    if (offset > json.size) {
        offset = json.size;
    }
    /* What follows "near" is from the text itself, with whatever bytes are in it. */
    const char *near = strstr(parse->text, " near ");
    int size = near != NULL ? (int)(near - parse->text) : (int)strlen(parse->text);
    return error_set(error, LS_EBADJSON, offset, "%.*s, at byte %zu", size, parse->text, offset);
}

static int load(json_t **tree, ls_bytes json, ls_bytes text, struct ls_error *error)
{
    json_error_t parse;
    parse.text[0] = '\0';
    errno = 0;
    *tree = json_loadb(text.size > 0 ? text.data : "", text.size,
                       JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &parse);
    return *tree != NULL ? 0 : refuse_parse(json, &parse, error);
}

/* Parses a copy of the text in which each big integer is a real of the same length. */
static int load_without_bigs(json_t **tree, const struct scan *scan, struct ls_error *error)
{
    const struct big_integer *bigs = (const struct big_integer *)scan->bigs.data;
    struct buf copy = {0};
    int rc = buf_append(&copy, scan->text.data, scan->text.size);
    if (rc != 0) {
        return error_code(error, rc);
    }
    for (size_t i = 0; i < scan->bigs.size / sizeof bigs[0]; i++) {
        memset(copy.data + bigs[i].offset, '0', bigs[i].size);
        copy.data[bigs[i].offset + 1] = '.';
    }
    rc = load(tree, scan->text, buf_bytes(&copy), error);
    buf_free(&copy);
    return rc;
}

/* ---- writing ---- */

/* An entry of an object: where it is in the output, and how long its encoded key and all of it. */
struct pair {
    size_t offset;
    size_t key_size;
    size_t size;
};

/* An open array or object. */
struct level {
    json_t *value;
    size_t index;      /* array: the next element */
    void *iterator;    /* object: the next entry */
    size_t first_pair; /* object: its first one in `pairs` */
};

struct converter {
    struct buf *out;
    const struct scan *scan;
    size_t reals;      /* met so far */
    size_t bigs;       /* met so far */
    struct buf pairs;  /* of struct pair, those of all open objects */
    struct buf sorted; /* the entries of an object on their way into order */
    size_t depth;
    struct level levels[CBOR_DEPTH_MAX];
};

static int put_big_endian(struct buf *out, uint8_t head, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    put_be64(bytes, value);
    int rc = buf_append_byte(out, head);
    return rc != 0 ? rc : buf_append(out, bytes + sizeof bytes - size, size);
}

/* The half float that is exactly the float with these bits; false where there is none. */
static bool to_half(uint32_t bits, uint16_t *half)
{
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    int exponent = (int)(bits >> 23 & 0xFF) - 127;
    uint32_t fraction = bits & 0x7FFFFF;
    if ((bits & 0x7FFFFFFF) == 0) {
        *half = sign;
        return true;
    }
    if (exponent >= -14 && exponent <= 15 && (fraction & 0x1FFF) == 0) {
        *half = (uint16_t)(sign | (uint32_t)(exponent + 15) << 10 | fraction >> 13);
        return true;
    }
    if (exponent >= -24 && exponent < -14) {
        uint32_t significand = fraction | 0x800000;
        int shift = 13 - 14 - exponent;
        if ((significand & ((UINT32_C(1) << shift) - 1)) == 0) {
            *half = (uint16_t)(sign | significand >> shift);
            return true;
        }
    }
    return false;
}

/* The shortest float that is exactly the number, which is finite. */
static int put_float(struct buf *out, double number)
{
    if (fabs(number) <= (double)FLT_MAX && (double)(float)number == number) {
        float single = (float)number;
        uint32_t bits;
        uint16_t half;
        memcpy(&bits, &single, sizeof bits);
        return to_half(bits, &half) ? put_big_endian(out, 0xF9, half, 2)
                                    : put_big_endian(out, 0xFA, bits, 4);
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return put_big_endian(out, 0xFB, bits, 8);
}

static int put_big_integer(struct converter *converter, const struct big_integer *big,
                           struct ls_error *error)
{
    const char *token = (const char *)converter->scan->text.data + big->offset;
    bool negative = token[0] == '-';
    uint64_t magnitude;
    if (read_magnitude(token + negative, big->size - negative, &magnitude)) {
        return negative ? cbor_put_negative(converter->out, magnitude - 1)
                        : cbor_put_uint(converter->out, magnitude);
    }
    static const char least[] = "-18446744073709551616"; /* -1 - UINT64_MAX */
    if (bytes_equal(bytes_of(token, big->size), bytes_of_text(least))) {
        return cbor_put_negative(converter->out, UINT64_MAX);
    }
    /* strtod needs a NUL; `sorted` is not in use while a number is written. */
    converter->sorted.size = 0;
    int rc = buf_append(&converter->sorted, token, big->size);
    if (rc == 0) {
        rc = buf_append_byte(&converter->sorted, '\0');
    }
    if (rc != 0) {
        return rc;
    }
    double number = strtod((const char *)converter->sorted.data, NULL);
    if (!isfinite(number)) {
        return error_set(error, LS_EBADJSON, big->offset, "a number too large, at byte %zu",
                         big->offset);
    }
    return put_float(converter->out, number);
}

static int put_integer(struct buf *out, json_int_t value)
{
    return value < 0 ? cbor_put_negative(out, (uint64_t) - (value + 1))
                     : cbor_put_uint(out, (uint64_t)value);
}

static int put_real(struct converter *converter, const json_t *value, struct ls_error *error)
{
    const struct buf *list = &converter->scan->bigs;
    const struct big_integer *bigs = (const struct big_integer *)list->data;
    size_t real = converter->reals++;
    if (converter->bigs < list->size / sizeof bigs[0] && bigs[converter->bigs].real == real) {
        return put_big_integer(converter, &bigs[converter->bigs++], error);
    }
    return put_float(converter->out, json_real_value(value));
}

static int compare_pairs(const void *a, const void *b, void *data)
{
    const struct pair *left = a;
    const struct pair *right = b;
    const uint8_t *bytes = data;
    return bytes_compare(bytes_of(bytes + left->offset, left->key_size),
                         bytes_of(bytes + right->offset, right->key_size));
}

/* Puts the entries of the object that ends here in the order of their encoded keys. */
static int sort_pairs(struct converter *converter, const struct level *level)
{
    size_t count = converter->pairs.size / sizeof(struct pair) - level->first_pair;
    if (count == 0) {
        return 0;
    }
    struct pair *pairs = (struct pair *)converter->pairs.data + level->first_pair;
    uint8_t *data = converter->out->data;
    bool in_order = true;
    for (size_t i = 0; i < count; i++) {
        size_t end = i + 1 < count ? pairs[i + 1].offset : converter->out->size;
        pairs[i].size = end - pairs[i].offset;
        in_order = in_order && (i == 0 || compare_pairs(&pairs[i - 1], &pairs[i], data) < 0);
    }
    converter->pairs.size -= count * sizeof pairs[0];
    if (in_order) {
        return 0;
    }
    uint8_t *start = data + pairs[0].offset;
    qsort_r(pairs, count, sizeof pairs[0], compare_pairs, data);
    converter->sorted.size = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = buf_append(&converter->sorted, data + pairs[i].offset, pairs[i].size);
        if (rc != 0) {
            return rc;
        }
    }
    memcpy(start, converter->sorted.data, converter->sorted.size);
    return 0;
}

static int open_level(struct converter *converter, json_t *value)
{
    assert(converter->depth < CBOR_DEPTH_MAX);
    struct level *level = &converter->levels[converter->depth++];
    *level = (struct level){.value = value};
    if (json_is_array(value)) {
        return cbor_put_array(converter->out, json_array_size(value));
    }
    level->iterator = json_object_iter(value);
    level->first_pair = converter->pairs.size / sizeof(struct pair);
    return cbor_put_map(converter->out, json_object_size(value));
}

static int put_value(struct converter *converter, json_t *value, struct ls_error *error)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return open_level(converter, value);
    case JSON_STRING:
        return cbor_put_text(converter->out,
                             bytes_of(json_string_value(value), json_string_length(value)));
    case JSON_INTEGER:
        return put_integer(converter->out, json_integer_value(value));
    case JSON_REAL:
        return put_real(converter, value, error);
    case JSON_TRUE:
        return cbor_put_simple(converter->out, CBOR_TRUE);
    case JSON_FALSE:
        return cbor_put_simple(converter->out, CBOR_FALSE);
    case JSON_NULL:
        break;
    }
    return cbor_put_simple(converter->out, CBOR_NULL);
}

/* Writes the key of the next entry of the innermost object, and gives its value; NULL: no more. */
static int next_entry(struct converter *converter, struct level *level, json_t **value)
{
    *value = NULL;
    if (level->iterator == NULL) {
        return 0;
    }
    struct pair pair = {.offset = converter->out->size};
    int rc = cbor_put_text(converter->out, bytes_of(json_object_iter_key(level->iterator),
                                                    json_object_iter_key_len(level->iterator)));
    if (rc == 0) {
        pair.key_size = converter->out->size - pair.offset;
        rc = buf_append(&converter->pairs, &pair, sizeof pair);
    }
    *value = json_object_iter_value(level->iterator);
    level->iterator = json_object_iter_next(level->value, level->iterator);
    return rc;
}

/* Writes the next value of the innermost array or object, or closes it. */
static int step(struct converter *converter, struct ls_error *error)
{
    struct level *level = &converter->levels[converter->depth - 1];
    bool object = json_is_object(level->value);
    json_t *value = NULL;
    if (object) {
        int rc = next_entry(converter, level, &value);
        if (rc != 0) {
            return rc;
        }
    } else if (level->index < json_array_size(level->value)) {
        value = json_array_get(level->value, level->index++);
    }
    if (value != NULL) {
        return put_value(converter, value, error);
    }
    converter->depth--;
    return object ? sort_pairs(converter, level) : 0;
}

static int convert(struct buf *out, const struct scan *scan, json_t *tree, struct ls_error *error)
{
    struct converter converter; /* not zeroed: only levels up to `depth` are ever looked at */
    converter.out = out;
    converter.scan = scan;
    converter.reals = 0;
    converter.bigs = 0;
    converter.pairs = (struct buf){0};
    converter.sorted = (struct buf){0};
    converter.depth = 0;
    int rc = put_value(&converter, tree, error);
    while (rc == 0 && converter.depth > 0) {
        rc = step(&converter, error);
    }
    buf_free(&converter.pairs);
    buf_free(&converter.sorted);
    return rc == LS_ENOMEM ? error_code(error, rc) : rc;
}

int json_to_cbor(struct buf *out, ls_bytes json, struct ls_error *error)
{
    struct scan scan = {.text = json};
    size_t start = out->size;
    json_t *tree = NULL;
    int rc = scan_text(&scan, error);
    if (rc == 0) {
        rc = scan.bigs.size == 0 ? load(&tree, json, json, error)
                                 : load_without_bigs(&tree, &scan, error);
    }
    if (rc == 0) {
        rc = convert(out, &scan, tree, error);
    }
    if (rc != 0) {
        out->size = start;
    }
    json_decref(tree);
    buf_free(&scan.bigs);
    return rc;
}
