/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server reads for its clients, through the real readers, and watches as cursors. What comes
 * out must be what the newest commit holds.
 */
#include "process.h"

#include <assert.h>

/* A page of the box, checked against the newest commit. *oldest: what LS_ECOMPACTED tells. */
int process_read_box(struct sim *sim, struct process *process, uint64_t from, struct packet *page,
                     uint64_t *oldest)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    struct ls_error error = {.number = 0};
    int rc = reading_begin(&reading, process->store, &error);
    if (rc < 0) {
        return rc;
    }
    page->count = 0;
    rc = box_open(&cursor, &reading, from, NULL, &error);
    if (rc == 0) {
        while (page->count < PAGE && (rc = box_next(&cursor, &message, &error)) > 0) {
            page->clocks[page->count] = message.clock;
            page->checks[page->count++] = message.check;
        }
        box_end(&cursor);
        rc = rc < 0 ? rc : 0;
    }
    reading_end(&reading);
    *oldest = rc < 0 ? error.number : 0;
    if (rc == 0 || rc == LS_ECOMPACTED) {
        oracle_read(sim, from, PAGE, rc, *oldest, page->clocks, page->checks, page->count);
    }
    return rc;
}

void process_read_object(struct sim *sim, struct process *process, const struct op *op,
                         struct answer *answer)
{
    struct reading reading;
    struct object object = {.modified = 0};
    struct ls_error error;
    answer->status = reading_begin(&reading, process->store, &error);
    if (answer->status < 0) {
        return;
    }
    answer->status =
        object_read(&reading, bytes_of_text(sim_key(op->writes[0].key)), &object, &error);
    if (answer->status == 0 || answer->status == LS_ENOTFOUND) {
        oracle_object(sim, op->writes[0].key, answer->status, object.created, object.modified);
    }
    reading_end(&reading);
}

void process_read_objects(struct sim *sim, struct process *process, struct answer *answer)
{
    struct reading reading;
    struct object_cursor cursor;
    struct object object;
    struct ls_error error;
    ls_bytes key;
    bool seen[KEYS] = {false};
    answer->status = reading_begin(&reading, process->store, &error);
    if (answer->status < 0) {
        return;
    }
    int rc = objects_open(&cursor, &reading, bytes_of(NULL, 0), bytes_of(NULL, 0), &error);
    if (rc == 0) {
        while ((rc = objects_next(&cursor, &key, &object, &error)) > 0) {
            seen[sim_key_index(key)] = true;
            oracle_object(sim, sim_key_index(key), 0, object.created, object.modified);
        }
        objects_end(&cursor);
    }
    for (int i = 0; rc == 0 && i < KEYS; i++) {
        if (!seen[i]) {
            oracle_object(sim, i, LS_ENOTFOUND, 0, 0);
        }
    }
    reading_end(&reading);
    answer->status = rc;
}

static void send_lost(struct sim *sim, struct process *process, struct connection *connection,
                      unsigned client, uint64_t oldest)
{
    uint32_t index = packet_new(sim, PACKET_LOST_MESSAGES);
    packet_at(sim, index)->answer.number = oldest;
    connection->watching = false;
    process_send(sim, process, connection, client, index);
}

/* Reads on: whether there may be more. */
static bool watch_on(struct sim *sim, struct process *process, struct connection *connection,
                     unsigned client)
{
    uint64_t oldest;
    uint32_t index = packet_new(sim, PACKET_MESSAGES);
    struct packet *page = packet_at(sim, index);
    int rc = process_read_box(sim, process, connection->next, page, &oldest);
    bool more = rc < 0 || page->count == PAGE;
    if (rc == 0 && page->count > 0) {
        connection->next = page->clocks[page->count - 1] + 1;
        process_send(sim, process, connection, client, index);
        return more;
    }
    packet_release(sim, index);
    if (rc == LS_ECOMPACTED) {
        send_lost(sim, process, connection, client, oldest);
        return false;
    }
    return more;
}

void process_watch(struct sim *sim, struct process *process)
{
    bool more = false;
    process_tick_others(sim, process);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct connection *connection = &process->connections[i];
        if (connection->watching) {
            more = watch_on(sim, process, connection, i) || more;
        }
    }
    if (more) {
        process_timer(sim, process, MS, EVENT_WATCH);
    }
}
