/*
 * Names and fields of the control records, and the keys of the indexes of owned objects and of live
 * nodes (docs/formats.md). Shared by the coordinator and by what verifies a directory.
 */
#ifndef LS_COORDINATOR_LAYOUT_H
#define LS_COORDINATOR_LAYOUT_H

#include "codec/key.h"
#include "codec/record.h"

/* Control records: the name, and its fields in the order of struct control's values. */
#define CONTROL_FORMAT    "format"
#define CONTROL_EPOCH     "epoch"
#define CONTROL_CLOCK     "clock"
#define CONTROL_BOX       "box"
#define CONTROL_DISCARDED "discarded"
#define CONTROL_TXNS      "txns"

extern const char *const control_format_fields[];    /* version */
extern const char *const control_epoch_fields[];     /* epoch */
extern const char *const control_clock_fields[];     /* clock */
extern const char *const control_box_fields[];       /* live, bytes, chain, count, newest */
extern const char *const control_discarded_fields[]; /* chain, clock */
/* open, logged, merged, written, collected, generation */
extern const char *const control_txns_fields[];

enum { BOX_LIVE, BOX_BYTES, BOX_CHAIN, BOX_COUNT, BOX_NEWEST };
enum { DISCARDED_CHAIN, DISCARDED_CLOCK };
enum { TXNS_OPEN, TXNS_LOGGED, TXNS_MERGED, TXNS_WRITTEN, TXNS_COLLECTED, TXNS_GENERATION };

/* The fields of a control name, or NULL for a name that is not known. */
const char *const *control_fields(ls_bytes name);

/* The index of what a node owns: control key "owned/", the host, a zero byte, the object's
 * `created` in 8 bytes. Its record is a map with `key`, the object's own key, and `check`. */
void owned_key(struct key *out, ls_bytes host, uint64_t created);
/* What all index keys of a host begin with. */
void owned_prefix(struct key *out, ls_bytes host);
/* Whether the name of a control key is of the index; the host and clock in it. */
bool owned_name(ls_bytes name, ls_bytes *host, uint64_t *created);

/* The index of live nodes, those that are not down: control key "live/", the host. Its record has
 * nothing but its check. */
extern const char *const live_fields[];
void live_key(struct key *out, ls_bytes host);
/* What all of them begin with. */
void live_prefix(struct key *out);
bool live_name(ls_bytes name, ls_bytes *host);

/* The record of an open transaction: control key "txn/", its timestamp in 8 bytes. */
void txn_key(struct key *out, uint64_t timestamp);
/* What all of them begin with. */
void txn_prefix(struct key *out);
bool txn_name(ls_bytes name, uint64_t *timestamp);

/* A record of the version log: control key "versions/", its sequence in 8 bytes. They are above
 * every other control key, so that they can be appended. */
void logged_key(struct key *out, uint64_t sequence);
bool logged_name(ls_bytes name, uint64_t *sequence);

#endif
