/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wake word on a futex. The order that keeps a wake from being lost: a waiter counts itself
 * before it sleeps, and the kernel compares the word again; a signal increases the word before it
 * looks at the count.
 */
#include "store/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define WAKE_MAGIC   0x4c53574bu /* "LSWK" */
#define WAKE_VERSION 2u          /* 1: of those who know nothing of the redo log */
#define WAKE_SIZE    4096

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

/* Whoever comes first writes the header; all others find it, or a file that is not ours. */
static bool header_fits(struct wake_page *page, bool alone)
{
    uint32_t magic = 0;
    uint32_t version = 0;
    uint32_t older = 1;
    if (alone) {
        atomic_compare_exchange_strong(&page->version, &older, WAKE_VERSION);
    }
    atomic_compare_exchange_strong(&page->version, &version, WAKE_VERSION);
    atomic_compare_exchange_strong(&page->magic, &magic, WAKE_MAGIC);
    return (magic == 0 || magic == WAKE_MAGIC) && (version == 0 || version == WAKE_VERSION);
}

int wake_open(struct wake *wake, const char *directory, bool alone, struct ls_error *error)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/wake", directory);
    if (size < 0 || (size_t)size >= sizeof path) {
        return error_set(error, LS_EINVAL, 0, "the path of the store is too long");
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        int code = errno == EACCES || errno == EROFS ? LS_EREADONLY : LS_EIO;
        return error_set(error, code, 0, "cannot open %s: %s", path, strerror(errno));
    }
    /* Allocated now, because writing to a mapped hole on a full disk would kill the process. */
    int result = posix_fallocate(fd, 0, WAKE_SIZE);
    if (result != 0) {
        close(fd);
        int code = result == ENOSPC || result == EDQUOT ? LS_ENOSPACE : LS_EIO;
        return error_set(error, code, 0, "cannot make %s: %s", path, strerror(result));
    }
    void *page = mmap(NULL, WAKE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int reason = errno;
    close(fd);
    if (page == MAP_FAILED) {
        return error_set(error, LS_EIO, 0, "cannot map %s: %s", path, strerror(reason));
    }
    if (!header_fits(page, alone)) {
        munmap(page, WAKE_SIZE);
        return error_set(error, LS_EFORMAT, 0, "%s is not a wake file of this version", path);
    }
    wake->page = page;
    return 0;
}

int wake_open_private(struct wake *wake, struct ls_error *error)
{
    void *page = mmap(NULL, WAKE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return error_code(error, LS_ENOMEM);
    }
    wake->page = page;
    return 0;
}

void wake_close(struct wake *wake)
{
    if (wake->page != NULL) {
        munmap(wake->page, WAKE_SIZE);
        wake->page = NULL;
    }
}

uint32_t wake_word(const struct wake *wake)
{
    return atomic_load(&wake->page->word);
}

void wake_everyone(struct wake *wake)
{
    atomic_fetch_add(&wake->page->word, 1);
    if (atomic_load(&wake->page->waiters) != 0) {
        futex(&wake->page->word, FUTEX_WAKE, INT_MAX, NULL);
    }
}

void wake_signal(struct wake *wake, uint64_t number)
{
    atomic_store(&wake->page->number, number);
    wake_everyone(wake);
}

void wake_catch_up(struct wake *wake, uint64_t number)
{
    uint64_t signalled = atomic_load(&wake->page->number);
    if (signalled < number &&
        atomic_compare_exchange_strong(&wake->page->number, &signalled, number)) {
        wake_everyone(wake);
    }
}

bool wake_sleep(struct wake *wake, uint32_t seen, int64_t timeout_ms)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ms / 1000),
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    if (atomic_load(&wake->page->word) != seen) {
        return true;
    }
    atomic_fetch_add(&wake->page->waiters, 1);
    futex(&wake->page->word, FUTEX_WAIT, seen, &timeout);
    atomic_fetch_sub(&wake->page->waiters, 1);
    return atomic_load(&wake->page->word) != seen;
}
