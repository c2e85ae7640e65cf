/*
 * What must hold of a shard after every call, whatever was called; and a shard as text, to compare
 * before and after a refused call. Looks into the engine's own structures.
 */
#ifndef LS_TESTS_SHARD_AUDIT_H
#define LS_TESTS_SHARD_AUDIT_H

#include "base/buf.h"
#include "lockstep_shard.h"

/* NULL where all holds, else what does not. */
const char *shard_audit(const ls_shard *shard);

/* Appends all that the shard holds but its memory. 0 or LS_ENOMEM. */
int shard_dump(const ls_shard *shard, struct buf *out);

#endif
