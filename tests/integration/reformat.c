/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes of a data directory one of another format, as a later version would leave behind, for the
 * tests of what this version says to it:
 *
 *     reformat DIR VERSION
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "codec/key.h"
#include "codec/record.h"
#include "coordinator/layout.h"
#include "store/store.h"

static int put_format(struct store *store, uint64_t version, struct ls_error *error)
{
    struct store_txn *txn;
    struct buf record = {0};
    struct key key;
    struct control control = {{version}};
    int rc = store->driver->begin(store, STORE_WRITE, &txn, error);
    if (rc != 0) {
        return rc;
    }
    if (key_control(&key, bytes_of_text(CONTROL_FORMAT)) != 0 ||
        control_encode(&record, &control, control_format_fields, key_bytes(&key)) != 0) {
        abort();
    }
    rc = store->driver->put(txn, key_bytes(&key), buf_bytes(&record), false, error);
    if (rc == 0) {
        rc = store->driver->commit(txn, error);
    } else {
        store->driver->abort(txn);
    }
    buf_free(&record);
    return rc;
}

int main(int argc, char **argv)
{
    struct store *store;
    struct store_options options = {.sync = true};
    struct ls_error error;
    if (argc != 3) {
        fprintf(stderr, "usage: reformat DIR VERSION\n");
        return 2;
    }
    int rc = store_open(&store, argv[1], &options, &error);
    if (rc == 0) {
        rc = put_format(store, strtoull(argv[2], NULL, 10), &error);
        store_close(store);
    }
    if (rc != 0) {
        fprintf(stderr, "reformat: %s\n", error.text);
    }
    return rc != 0;
}
