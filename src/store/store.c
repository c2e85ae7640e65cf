/* SPDX-License-Identifier: Apache-2.0 */
/* Which driver a URL means. */
#include "store/store.h"

#include <string.h>

#include "base/error.h"

static const struct store_driver *const drivers[] = {&store_lmdb, &store_mem};

/* The length of the scheme in front of the colon, 0 for a bare path. */
static size_t scheme_size(const char *url)
{
    size_t size = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+-");
    return url[size] == ':' ? size : 0;
}

int store_open(struct store **out, const char *url, const struct store_options *options,
               struct ls_error *error)
{
    size_t size = scheme_size(url);
    if (size == 0) {
        return store_lmdb.open(out, url, options, error);
    }
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        const char *name = drivers[i]->name;
        if (strlen(name) == size && memcmp(name, url, size) == 0) {
            return drivers[i]->open(out, url + size + 1, options, error);
        }
    }
    return error_set(error, LS_EINVAL, 0,
                     "no store of the kind \"%.*s:\"; there are lmdb:DIR (or a bare path) and mem:",
                     (int)(size < 32 ? size : 32), url);
}
