/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over all records of a store. The control records come first, as the order of the
 * categories has it, then the messages, so that the nodes and objects that follow can be compared
 * with the newest change of each.
 */
#include "cli/check_walk.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "cli/check_state.h"
#include "codec/cbor.h"

#define TEXT_SIZE 320

/* ---- the newest changes ---- */

static struct latest *place_of(const struct latest_table *table, uint64_t hash)
{
    size_t mask = table->capacity - 1;
    size_t at = (size_t)hash & mask;
    while (table->places[at].clock != 0 && table->places[at].hash != hash) {
        at = (at + 1) & mask;
    }
    return &table->places[at];
}

static int latest_grow(struct latest_table *table)
{
    struct latest_table larger = {.capacity = table->capacity > 0 ? table->capacity * 2 : 256,
                                  .count = table->count};
    larger.places = calloc(larger.capacity, sizeof(*larger.places));
    if (larger.places == NULL) {
        return LS_ENOMEM;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->places[i].clock != 0) {
            *place_of(&larger, table->places[i].hash) = table->places[i];
        }
    }
    free(table->places);
    *table = larger;
    return 0;
}

struct latest *latest_find(const struct latest_table *table, ls_bytes key)
{
    if (table->capacity == 0) {
        return NULL;
    }
    struct latest *place = place_of(table, hash64(key.data, key.size, 0));
    return place->clock != 0 ? place : NULL;
}

int latest_set(struct latest_table *table, ls_bytes key, uint64_t clock, bool deleted)
{
    if (table->count >= table->capacity / 2 && latest_grow(table) != 0) {
        return LS_ENOMEM;
    }
    uint64_t hash = hash64(key.data, key.size, 0);
    struct latest *place = place_of(table, hash);
    table->count += place->clock == 0;
    *place = (struct latest){.hash = hash, .clock = clock, .deleted = deleted};
    return 0;
}

/* ---- faults ---- */

static void tell(struct walk *walk, const struct check_fault *fault)
{
    walk->totals->faults++;
    walk->report->fault(walk->report->context, fault);
}

void walk_fault_error(struct walk *walk, ls_bytes key, const struct ls_error *error)
{
    struct check_fault fault = {.key = key, .text = error->text};
    fault.has_offset = error->code == LS_ERECORD || error->code == LS_EBADCBOR;
    fault.offset = error->number;
    tell(walk, &fault);
}

void walk_fault(struct walk *walk, ls_bytes key, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    struct check_fault fault = {.key = key, .text = text};
    tell(walk, &fault);
}

uint64_t walk_discarded(const struct walk *walk)
{
    return walk->has_discarded ? walk->discarded.value[1] : 0;
}

/* ---- the walk ---- */

static int check_record(struct walk *walk, enum key_category category, ls_bytes key, ls_bytes value)
{
    struct check_totals *totals = walk->totals;
    struct key_parts parts;
    struct ls_error error;
    if (key_decode(&parts, key, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return 0;
    }
    if (parts.category != category) {
        walk_fault(walk, key, "a key of category %c stands among those of %c", (char)parts.category,
                   (char)category);
        return 0;
    }
    switch (category) {
    case KEY_CONTROL:
        totals->controls++;
        return check_control(walk, &parts, key, value);
    case KEY_MESSAGE:
        totals->messages++;
        return check_message(walk, &parts, key, value);
    case KEY_NODE:
        totals->nodes++;
        return check_node(walk, &parts, key, value);
    case KEY_OBJECT:
        totals->objects++;
        return check_object(walk, &parts, key, value);
    case KEY_PRODUCER:
        totals->producers++;
        return check_producer(walk, &parts, key, value);
    default:
        totals->versions++;
        return check_version(walk, &parts, key, value);
    }
}

/* Walks one category. Keys out of order are a fault and the end of its walk, which so ends even
 * where damaged pages lead in a circle. */
static int check_category(struct walk *walk, char category, struct ls_error *error)
{
    const struct store_driver *driver = walk->reading->store->driver;
    struct store_cursor *cursor;
    const struct key none = {0};
    struct key_walk way;
    uint64_t there;
    uint64_t seen = 0;
    int rc = driver->scan(walk->reading->txn, bytes_of(&category, 1), bytes_of(NULL, 0), false,
                          &cursor, error);
    if (rc != 0) {
        return rc;
    }
    ls_bytes key;
    ls_bytes value;
    key_walk_begin(&way, &none);
    while ((rc = driver->next(cursor, &key, &value, error)) > 0) {
        if (!key_walk_step(&way, key)) {
            walk_fault(walk, key, "the key is not above the one before it");
            break;
        }
        if (walk->report->step != NULL) {
            walk->report->step(walk->report->context, key);
        }
        seen++;
        rc = check_record(walk, (enum key_category)category, key, value);
        if (rc != 0) {
            error_code(error, rc);
            break;
        }
    }
    driver->scan_end(cursor);
    if (rc < 0) {
        return rc;
    }
    rc = driver->count(walk->reading->txn, category, &there, error);
    if (rc == 0 && there != seen) {
        walk_fault(walk, bytes_of(NULL, 0),
                   "records of category %c: counted %" PRIu64 ", found in order %" PRIu64, category,
                   there, seen);
    }
    return rc;
}

/* After the nodes and objects: whether each change that is the newest has its record. */
static int check_missing(struct walk *walk, struct ls_error *error)
{
    const struct store_driver *driver = walk->reading->store->driver;
    size_t missing = 0;
    for (size_t i = 0; i < walk->latest.capacity; i++) {
        const struct latest *place = &walk->latest.places[i];
        missing += place->clock != 0 && !place->deleted && !place->matched;
    }
    if (missing == 0) {
        return 0;
    }
    struct store_cursor *cursor;
    const struct key none = {0};
    struct key_walk way;
    char category = KEY_MESSAGE;
    int rc = driver->scan(walk->reading->txn, bytes_of(&category, 1), bytes_of(NULL, 0), false,
                          &cursor, error);
    if (rc != 0) {
        return rc;
    }
    ls_bytes key;
    ls_bytes value;
    key_walk_begin(&way, &none);
    while (missing > 0 && (rc = driver->next(cursor, &key, &value, error)) > 0 &&
           key_walk_step(&way, key)) { /* that it is not was told */
        struct message message;
        struct change change;
        if (message_decode(&message, value, NULL) != 0 || message.type != LS_OBJECT ||
            change_decode(&change, message.object, NULL) != 0) {
            continue;
        }
        const struct latest *place = latest_find(&walk->latest, change.key);
        ls_bytes stored;
        if (place != NULL && place->clock == message.clock && !place->deleted &&
            driver->get(walk->reading->txn, change.key, &stored) == LS_ENOTFOUND) {
            walk_fault(walk, key, "the record that this message tells of is not there");
            missing--;
        }
    }
    driver->scan_end(cursor);
    return rc < 0 ? rc : 0;
}

/* A store that nobody has opened for good yet: without even the control records. */
static bool is_fresh(const struct check_totals *totals)
{
    return totals->faults == 0 && totals->controls + totals->messages + totals->nodes +
                                          totals->objects + totals->producers + totals->versions ==
                                      0;
}

int check_walk(struct reading *reading, const struct check_report *report,
               struct check_totals *totals, struct ls_error *error)
{
    struct walk walk = {.reading = reading, .report = report, .totals = totals};
    int rc = 0;
    *totals = (struct check_totals){0};
    for (const char *category = KEY_CATEGORIES; *category != '\0' && rc == 0; category++) {
        if (*category == KEY_MESSAGE) {
            walk.chain_known = walk.has_discarded;
            walk.chain = walk.discarded.value[0];
            walk.last = walk.discarded.value[1];
        }
        rc = check_category(&walk, *category, error);
        if (*category == KEY_CONTROL && rc == 0) {
            check_log(&walk);
        }
    }
    rc = rc != 0 ? rc : check_missing(&walk, error);
    if (rc == 0 && !is_fresh(totals)) {
        check_box(&walk);
    }
    totals->clock = walk.clock;
    free(walk.latest.places);
    return rc;
}
