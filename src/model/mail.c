/* SPDX-License-Identifier: Apache-2.0 */
/* Places in a pool that grows by segments and never moves; those given back are used first. */
#include "model/mail.h"

#include <assert.h>
#include <stdlib.h>

#define SEGMENT_SIZE ((uint32_t)1 << MAIL_SEGMENT_BITS)

static struct mail_message *at(const struct mail *mail, uint32_t place)
{
    return &mail->segment[place >> MAIL_SEGMENT_BITS][place & (SEGMENT_SIZE - 1)];
}

static int take_place(struct mail *mail, uint32_t *place)
{
    if (mail->spares > 0) {
        *place = mail->spare;
        mail->spare = at(mail, mail->spare)->next;
        mail->spares--;
        return 0;
    }
    if (mail->fresh == mail->segments << MAIL_SEGMENT_BITS) {
        if (mail->segments == MAIL_SEGMENTS_MAX) {
            return LS_ENOSPACE;
        }
        struct mail_message *segment = malloc(SEGMENT_SIZE * sizeof *segment);
        if (segment == NULL) {
            return LS_ENOMEM;
        }
        mail->segment[mail->segments++] = segment;
    }
    *place = mail->fresh++;
    return 0;
}

int mail_put(struct mail *mail, struct mail_queue *queue, uint64_t clock, uint32_t from)
{
    uint32_t place;
    int rc = take_place(mail, &place);
    if (rc != 0) {
        return rc;
    }
    *at(mail, place) = (struct mail_message){.clock = clock, .from = from};
    if (queue->count == 0) {
        queue->first = place;
    } else {
        at(mail, queue->last)->next = place;
    }
    queue->last = place;
    queue->count++;
    mail->waiting++;
    return 0;
}

struct mail_message mail_take(struct mail *mail, struct mail_queue *queue)
{
    assert(queue->count > 0);
    uint32_t place = queue->first;
    struct mail_message *message = at(mail, place);
    struct mail_message taken = *message;

    queue->first = message->next;
    queue->count--;
    message->next = mail->spare;
    mail->spare = place;
    mail->spares++;
    mail->waiting--;
    return taken;
}

void mail_fetch(const struct mail *mail, const struct mail_queue *queue)
{
    if (queue->count > 0) {
        __builtin_prefetch(at(mail, queue->first), 1);
        __builtin_prefetch(at(mail, queue->last), 1);
    }
}

void mail_free(struct mail *mail)
{
    for (uint32_t i = 0; i < mail->segments; i++) {
        free(mail->segment[i]);
    }
    *mail = (struct mail){0};
}
