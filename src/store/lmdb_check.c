/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said about a data file before LMDB maps it. LMDB trusts its file: one that was cut
 * short or overwritten ends the process with a signal instead of an error. So the two meta pages
 * are read here first and compared with each other and with the file.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

/* LMDB's file format, version 1, as in its mdb.c. */
#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define PAGE_META    0x08
#define PAGE_LEAST   512
#define PAGE_MOST    65536

struct page_header {
    uint64_t number;
    uint16_t pad;
    uint16_t flags;
    uint16_t lower;
    uint16_t upper;
};

struct tree {
    uint32_t pad; /* of the first: the page size */
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root;
};

struct meta_page {
    struct page_header header;
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_size;
    struct tree trees[2]; /* of free pages, of the databases */
    uint64_t last_page;
    uint64_t commit;
};

_Static_assert(sizeof(struct meta_page) == 152, "LMDB's layout");

static int read_meta(int fd, uint64_t offset, struct meta_page *meta, const char *directory,
                     struct ls_error *error)
{
    ssize_t size = pread(fd, meta, sizeof *meta, (off_t)offset);
    if (size < 0) {
        return error_set(error, LS_EIO, 0, "cannot read %s/data.mdb: %s", directory,
                         strerror(errno));
    }
    if ((size_t)size < sizeof *meta) {
        return error_set(error, LS_ECORRUPT, offset, "%s/data.mdb is cut short in its header",
                         directory);
    }
    if (meta->magic != META_MAGIC || (meta->header.flags & PAGE_META) == 0) {
        return error_set(error, offset == 0 ? LS_EFORMAT : LS_ECORRUPT, offset,
                         "%s/data.mdb has no store's header at %llu", directory,
                         (unsigned long long)offset);
    }
    if (meta->version != META_VERSION) {
        return error_set(error, LS_EFORMAT, meta->version,
                         "%s/data.mdb has LMDB format %u, this version knows %u", directory,
                         meta->version, META_VERSION);
    }
    return 0;
}

int lmdb_check_file(int fd, const char *directory, struct ls_error *error)
{
    struct meta_page metas[2];
    int result = read_meta(fd, 0, &metas[0], directory, error);
    if (result != 0) {
        return result;
    }
    uint64_t page_size = metas[0].trees[0].pad;
    if (page_size < PAGE_LEAST || page_size > PAGE_MOST || (page_size & (page_size - 1)) != 0) {
        return error_set(error, LS_ECORRUPT, 0, "%s/data.mdb names a page size of %llu", directory,
                         (unsigned long long)page_size);
    }
    result = read_meta(fd, page_size, &metas[1], directory, error);
    if (result != 0) {
        return result;
    }
    const struct meta_page *newest = &metas[metas[1].commit > metas[0].commit];
    struct stat stat_of;
    if (fstat(fd, &stat_of) != 0) {
        return error_set(error, LS_EIO, 0, "cannot read %s/data.mdb: %s", directory,
                         strerror(errno));
    }
    uint64_t pages = (uint64_t)stat_of.st_size / page_size;
    if (newest->last_page >= pages) {
        return error_set(error, LS_ECORRUPT, (uint64_t)stat_of.st_size,
                         "%s/data.mdb is cut short: %llu pages, the header names %llu", directory,
                         (unsigned long long)pages, (unsigned long long)newest->last_page + 1);
    }
    return 0;
}
