/*
 * The queues of all nodes of the scale model: messages that arrived and wait for a tick. They share
 * one pool, so that a node without mail costs two numbers and a message sixteen bytes.
 */
#ifndef LS_MODEL_MAIL_H
#define LS_MODEL_MAIL_H

#include <stdint.h>

#include "lockstep.h"

struct mail_message {
    uint64_t clock;
    uint32_t from;
    uint32_t next; /* the place of the one behind it */
};

/* First in, first out. All zeros is empty. */
struct mail_queue {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

#define MAIL_SEGMENT_BITS 16
#define MAIL_SEGMENTS_MAX 1024
/* Messages that wait at once, in all queues: a gigabyte of them. */
#define MAIL_MAX ((uint32_t)MAIL_SEGMENTS_MAX << MAIL_SEGMENT_BITS)

/* All zeros is valid and empty. */
struct mail {
    uint32_t waiting;
    uint32_t fresh; /* places never used */
    uint32_t spare; /* list of places used before, where spares > 0 */
    uint32_t spares;
    uint32_t segments;
    struct mail_message *segment[MAIL_SEGMENTS_MAX];
};

/* 0, LS_ENOMEM, or LS_ENOSPACE at MAIL_MAX; on failure nothing changed. */
int mail_put(struct mail *mail, struct mail_queue *queue, uint64_t clock, uint32_t from);
/* Takes the oldest of a queue that is not empty. */
struct mail_message mail_take(struct mail *mail, struct mail_queue *queue);
/* Fetches early what the next call of one of them for the queue will touch. */
void mail_fetch(const struct mail *mail, const struct mail_queue *queue);
void mail_free(struct mail *mail);

#endif
