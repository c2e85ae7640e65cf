/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said about a data file before LMDB maps it. LMDB trusts its file: one that was cut
 * short or overwritten ends the process with a signal instead of an error. So the meta pages, the
 * root page of each tree and the length are looked at first. Pages further down are not: whoever
 * needs more walks the records.
 *
 * The file may be in use while it is looked at. A fault counts only when no commit came in between.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

/* LMDB's file format, version 1, as in its mdb.c. */
#define META_MAGIC    0xBEEFC0DEu
#define META_VERSION  1u
#define PAGE_BRANCH   0x01
#define PAGE_LEAF     0x02
#define PAGE_OVERFLOW 0x04
#define PAGE_META     0x08
#define NODE_OVERFLOW 0x01
#define NODE_TREE     0x02
#define PAGE_LEAST    512
#define PAGE_MOST     65536
#define DEPTH_MOST    32

struct page {
    uint64_t number;
    uint16_t pad;
    uint16_t flags;
    uint16_t lower; /* of an overflow page, with upper: how many pages it has */
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
    uint64_t root; /* UINT64_MAX: empty */
};

struct meta {
    struct page page;
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_size;
    struct tree free;
    struct tree names; /* its records are the other trees */
    uint64_t last_page;
    uint64_t commit;
};

struct node {
    uint16_t low; /* with high: the data's size, or with flags: the child's page */
    uint16_t high;
    uint16_t flags;
    uint16_t key_size;
    uint8_t key[];
};

_Static_assert(sizeof(struct page) == 16, "LMDB's layout");
_Static_assert(sizeof(struct tree) == 48, "LMDB's layout");
_Static_assert(sizeof(struct meta) == 152, "LMDB's layout");

struct file {
    const char *directory;
    const uint8_t *map;
    uint64_t page_size;
    uint64_t pages; /* that the file has */
    uint64_t last;  /* page that the header names */
};

static int damaged(const struct file *file, uint64_t page, const char *what, struct ls_error *error)
{
    return error_set(error, LS_ECORRUPT, page, "%s/data.mdb, page %llu: %s", file->directory,
                     (unsigned long long)page, what);
}

/* ---- pages ---- */

static const struct page *page_at(const struct file *file, uint64_t number)
{
    return number < file->pages ? (const struct page *)(file->map + number * file->page_size)
                                : NULL;
}

/* The page, if it is one of a tree whose offsets stay within it. */
static const struct page *tree_page(const struct file *file, uint64_t number)
{
    const struct page *page = page_at(file, number);
    if (page == NULL || page->number != number) {
        return NULL;
    }
    unsigned kind = page->flags & (PAGE_BRANCH | PAGE_LEAF | PAGE_OVERFLOW | PAGE_META);
    bool fits = (kind == PAGE_BRANCH || kind == PAGE_LEAF) && page->lower >= sizeof *page &&
                page->lower <= page->upper && page->upper <= file->page_size;
    return fits ? page : NULL;
}

static unsigned node_count(const struct page *page)
{
    return (page->lower - (unsigned)sizeof *page) / 2;
}

/* The node, if it and its data, or the number of its overflow page, lie within the page. */
static const struct node *node_at(const struct file *file, const struct page *page, unsigned index)
{
    const uint8_t *start = (const uint8_t *)page;
    uint16_t offset;
    memcpy(&offset, start + sizeof *page + 2 * (size_t)index, sizeof offset);
    const struct node *node = (const struct node *)(start + offset);
    if (offset < page->upper || offset + sizeof *node > file->page_size || offset % 2 != 0) {
        return NULL;
    }
    uint64_t size = sizeof *node + node->key_size;
    if (page->flags & PAGE_LEAF) {
        size += node->flags & NODE_OVERFLOW ? sizeof(uint64_t)
                                            : (node->low | (uint32_t)node->high << 16);
    }
    return offset + size <= file->page_size ? node : NULL;
}

/* The data of a leaf's node, wherever it is; NULL where that is outside the file. */
static const uint8_t *node_data(const struct file *file, const struct node *node, uint64_t *size)
{
    *size = node->low | (uint64_t)node->high << 16;
    if ((node->flags & NODE_OVERFLOW) == 0) {
        return node->key + node->key_size;
    }
    uint64_t number;
    memcpy(&number, node->key + node->key_size, sizeof number);
    const struct page *page = page_at(file, number);
    if (page == NULL || page->number != number || (page->flags & PAGE_OVERFLOW) == 0 ||
        *size > (file->pages - number) * file->page_size - sizeof *page) {
        return NULL;
    }
    return (const uint8_t *)page + sizeof *page;
}

/* ---- the length ---- */

/* How many of the page numbers in a record of the tree of free pages lie beyond the file. */
static bool count_beyond(const struct file *file, const struct node *node, uint64_t *beyond)
{
    uint64_t size;
    const uint8_t *data = node_data(file, node, &size);
    uint64_t count = 0;
    if (data == NULL || size < sizeof count) {
        return false;
    }
    memcpy(&count, data, sizeof count);
    if (count > size / sizeof count - 1) {
        return false;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number;
        memcpy(&number, data + i * sizeof number, sizeof number);
        *beyond += number >= file->pages && number <= file->last;
    }
    return true;
}

static bool walk_free(const struct file *file, uint64_t number, unsigned depth, uint64_t *beyond)
{
    const struct page *page = depth == 0 ? NULL : tree_page(file, number);
    if (page == NULL) {
        return false;
    }
    for (unsigned i = 0; i < node_count(page); i++) {
        const struct node *node = node_at(file, page, i);
        if (node == NULL) {
            return false;
        }
        uint64_t child = node->low | (uint64_t)node->high << 16 | (uint64_t)node->flags << 32;
        bool good = page->flags & PAGE_LEAF ? count_beyond(file, node, beyond)
                                            : walk_free(file, child, depth - 1, beyond);
        if (!good) {
            return false;
        }
    }
    return true;
}

/* Where the file is shorter than its header says, all that is missing must be free: pages that were
 * taken and given back in one transaction are never written. */
static int check_length(const struct file *file, const struct meta *meta, struct ls_error *error)
{
    if (file->last < file->pages) {
        return 0;
    }
    uint64_t beyond = 0;
    if (meta->free.root == UINT64_MAX ||
        !walk_free(file, meta->free.root, meta->free.depth, &beyond) ||
        beyond != file->last + 1 - file->pages) {
        return error_set(error, LS_ECORRUPT, file->pages * file->page_size,
                         "%s/data.mdb is cut short: it has %llu pages of %llu", file->directory,
                         (unsigned long long)file->pages, (unsigned long long)file->last + 1);
    }
    return 0;
}

/* ---- the roots ---- */

static int check_root(const struct file *file, const struct tree *tree, struct ls_error *error)
{
    if (tree->root == UINT64_MAX) {
        return tree->entries == 0 ? 0 : damaged(file, 0, "a tree without its root", error);
    }
    const struct page *page = tree_page(file, tree->root);
    bool fits = page != NULL && tree->depth >= 1 && tree->depth <= DEPTH_MOST &&
                ((page->flags & PAGE_LEAF) != 0) == (tree->depth == 1);
    for (unsigned i = 0; fits && i < node_count(page); i++) {
        fits = node_at(file, page, i) != NULL;
    }
    return fits ? 0 : damaged(file, tree->root, "not the root of a tree", error);
}

static int check_roots(const struct file *file, const struct meta *meta, struct ls_error *error)
{
    int result = check_root(file, &meta->free, error);
    if (result == 0) {
        result = check_root(file, &meta->names, error);
    }
    if (result != 0 || meta->names.root == UINT64_MAX || meta->names.depth != 1) {
        return result;
    }
    const struct page *page = page_at(file, meta->names.root);
    for (unsigned i = 0; result == 0 && i < node_count(page); i++) {
        const struct node *node = node_at(file, page, i);
        struct tree tree;
        if (node->flags & NODE_TREE) {
            uint64_t size;
            const uint8_t *data = node_data(file, node, &size);
            if (data == NULL || size != sizeof tree) {
                return damaged(file, meta->names.root, "not the record of a tree", error);
            }
            memcpy(&tree, data, sizeof tree);
            result = check_root(file, &tree, error);
        }
    }
    return result;
}

/* ---- the header ---- */

static int read_meta(int fd, uint64_t offset, struct meta *meta, const char *directory,
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
    if (meta->magic != META_MAGIC || (meta->page.flags & PAGE_META) == 0) {
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

/* The newest of the two headers. */
static int newest_meta(int fd, struct meta *out, const char *directory, struct ls_error *error)
{
    struct meta metas[2];
    int result = read_meta(fd, 0, &metas[0], directory, error);
    if (result != 0) {
        return result;
    }
    uint64_t page_size = metas[0].free.pad;
    if (page_size < PAGE_LEAST || page_size > PAGE_MOST || (page_size & (page_size - 1)) != 0) {
        return error_set(error, LS_ECORRUPT, 0, "%s/data.mdb names a page size of %llu", directory,
                         (unsigned long long)page_size);
    }
    result = read_meta(fd, page_size, &metas[1], directory, error);
    if (result != 0) {
        return result;
    }
    *out = metas[metas[1].commit > metas[0].commit];
    out->free.pad = (uint32_t)page_size;
    return 0;
}

static int check_once(int fd, struct meta *meta, const char *directory, struct ls_error *error)
{
    struct stat stat_of;
    int result = newest_meta(fd, meta, directory, error);
    if (result != 0) {
        return result;
    }
    if (fstat(fd, &stat_of) != 0) {
        return error_set(error, LS_EIO, 0, "cannot read %s/data.mdb: %s", directory,
                         strerror(errno));
    }
    struct file file = {.directory = directory,
                        .page_size = meta->free.pad,
                        .pages = (uint64_t)stat_of.st_size / meta->free.pad,
                        .last = meta->last_page};
    size_t size = (size_t)stat_of.st_size;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return error_set(error, LS_EIO, 0, "cannot map %s/data.mdb: %s", directory,
                         strerror(errno));
    }
    file.map = map;
    result = check_length(&file, meta, error);
    if (result == 0) {
        result = check_roots(&file, meta, error);
    }
    munmap(map, size);
    return result;
}

int lmdb_check_file(int fd, const char *directory, struct ls_error *error)
{
    uint64_t last = 0;
    for (;;) {
        struct meta meta = {.commit = UINT64_MAX};
        int result = check_once(fd, &meta, directory, error);
        if (result != LS_ECORRUPT || meta.commit == last) {
            return result;
        }
        last = meta.commit;
    }
}
