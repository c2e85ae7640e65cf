/* SPDX-License-Identifier: Apache-2.0 */
/* Keys drawn evenly, by Zipf's law with exponent 0.99 and in no order of their popularity, or among
 * ten. The same seed for everybody. */
#include "work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAIRS    (1 << 20)
#define HOT_KEYS 10
#define EXPONENT 0.99

static uint64_t state = 1;

static uint64_t random_next(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The ranks' cumulative weights; a draw is a binary search in them. */
static double *zipf_weights(uint64_t keys)
{
    double *weights = malloc(keys * sizeof *weights);
    double sum = 0;
    for (uint64_t i = 0; weights != NULL && i < keys; i++) {
        sum += 1 / pow((double)i + 1, EXPONENT);
        weights[i] = sum;
    }
    return weights;
}

static uint64_t zipf_draw(const double *weights, uint64_t keys)
{
    double at = (double)(random_next() >> 11) * 0x1p-53 * weights[keys - 1];
    uint64_t low = 0;
    uint64_t high = keys - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (weights[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low * UINT64_C(2654435761) % keys; /* the popular ones are not neighbours */
}

static bool draw_all(struct work *work, const char *name)
{
    bool zipf = strcmp(name, "zipf") == 0;
    uint64_t among = strcmp(name, "hot") == 0 ? HOT_KEYS : work->keys;
    double *weights = zipf ? zipf_weights(work->keys) : NULL;
    work->drawn = malloc(sizeof *work->drawn * 2 * PAIRS);
    if (work->drawn == NULL || (zipf && weights == NULL)) {
        free(weights);
        return false;
    }
    for (size_t i = 0; i < (size_t)2 * PAIRS; i++) {
        do {
            work->drawn[i] = zipf ? zipf_draw(weights, work->keys) : random_next() % among;
        } while (i % 2 == 1 && work->drawn[i] == work->drawn[i - 1]);
    }
    free(weights);
    return true;
}

bool work_parse(struct work *work, int argc, char **argv)
{
    *work = (struct work){.keys = 1000000, .open = 1, .transactions = 2000000, .threads = 1};
    struct {
        const char *name;
        uint64_t *number;
    } options[] = {{"--keys", &work->keys},
                   {"--open", &work->open},
                   {"--transactions", &work->transactions},
                   {"--threads", &work->threads}};
    bool right = argc >= 2 && argc % 2 == 0;
    for (int i = 2; right && i < argc; i += 2) {
        right = false;
        for (size_t o = 0; o < sizeof options / sizeof options[0]; o++) {
            if (strcmp(argv[i], options[o].name) == 0) {
                *options[o].number = strtoull(argv[i + 1], NULL, 10);
                right = *options[o].number > 0;
            }
        }
    }
    if (!right || work->keys < HOT_KEYS || !draw_all(work, argv[1])) {
        fprintf(stderr,
                "usage: %s uniform|zipf|hot [--keys N] [--open N] [--transactions N] "
                "[--threads N]\n",
                argv[0]);
        return false;
    }
    return true;
}

void work_free(struct work *work)
{
    free(work->drawn);
}

uint64_t *work_keys(const struct work *work, uint64_t n)
{
    return &work->drawn[n % PAIRS * 2];
}

double work_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
