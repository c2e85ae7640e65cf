/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the LMDB driver: what may still be added, and how much there is. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

int lmdb_room(struct store_txn *txn, enum store_room room, size_t bytes, struct ls_error *error)
{
    (void)room;
    (void)error;
    txn->room_promised += bytes;
    return 0;
}

int lmdb_stat(struct store *base, struct store_stat *out, struct ls_error *error)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    (void)error;
    *out = (struct store_stat){.flushes = atomic_load(&store->env->flushes)};
    return 0;
}

int lmdb_set_quota(struct store *base, uint64_t bytes, struct ls_error *error)
{
    (void)error;
    atomic_store(&((struct lmdb_store *)base)->quota, bytes);
    return 0;
}
