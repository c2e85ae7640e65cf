/*
 * What a new connection of a pipeline begins with: HELLO, and NODE.JOIN where the handle is a node,
 * before any call goes out. Also the node itself: what the handle joined as.
 */
#ifndef LS_CLIENT_REMOTE_SESSION_H
#define LS_CLIENT_REMOTE_SESSION_H

#include "client/remote_pipeline.h"

/* Opens the pipeline's stream. A refusal to join again is a success that is noted in the
 * membership: it concerns only the calls that need the node. On failure the stream is closed. */
int session_open(struct pipeline *pipeline, const struct deadline *deadline,
                 struct ls_error *error);

#endif
