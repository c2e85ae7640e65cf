/* SPDX-License-Identifier: Apache-2.0 */
/* What a database does when it makes one and its schema: it tells everybody, in one order. */
#include <lockstep.h>

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    ls *handle;
    uint64_t database, collection;
    if (argc != 2) {
        fprintf(stderr, "usage: schema URL\n");
        return 2;
    }
    if (ls_open(&handle, argv[1], NULL) < 0 ||
        ls_post(handle, LS_DATABASE, LS_CREATED, ls_json("{\"database\":\"shop\"}"), NULL,
                &database) < 0 ||
        ls_post(handle, LS_COLLECTION, LS_CREATED,
                ls_json("{\"collection\":\"orders\",\"fields\":[\"id\",\"total\"]}"), NULL,
                &collection) < 0) {
        fprintf(stderr, "schema: %s\n", ls_last_error()->text);
        return 1;
    }
    printf("database created at clock %" PRIu64 ", its schema at clock %" PRIu64 "\n", database,
           collection);
    ls_close(handle);
    return 0;
}
