/*
 * The messages of a box as the history that a report shows, gathered one by one in clock order in
 * bounded memory.
 *
 * A node is whoever a message is from or for. Its clock is that of its newest message; a jump is
 * how far the clock moved from one of its messages to its next. A box knows when a message was
 * committed, and not when anybody read it: one that is for a single node is marked on that node's
 * line at the time of its commit.
 */
#ifndef LS_MODEL_REPORT_BOX_H
#define LS_MODEL_REPORT_BOX_H

#include "model/report.h"

struct report_box;

/* NULL where there is no memory. */
struct report_box *report_box_new(void);
void report_box_free(struct report_box *box);

/* `label` says what kind of message it is; a long one is cut off. 0 or LS_ENOMEM. */
int report_box_add(struct report_box *box, const ls_message *message, const char *label,
                   struct ls_error *error);

/* How many were added. */
uint64_t report_box_messages(const struct report_box *box);

/* Fills in all that follows from the messages: not the title, the parameters, or why it is not
 * whole. Notes are added to those that are there. What is filled in lives as long as `box`, to
 * which nothing may be added any more. 0 or LS_ENOMEM. */
int report_box_fill(struct report_box *box, struct report *report, struct ls_error *error);

#endif
