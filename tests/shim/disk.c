/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that the tests control, as an LD_PRELOAD library around what a process does to the files
 * below one directory:
 *
 *   DISK_DIR    the directory, absolute and without symbolic links
 *   DISK_LOG    a file to which each write, flush and change of a name is appended as it
 *               happens, so that what a power loss may have left can be built from it
 *               (lib/disk.py)
 *   DISK_SPACE  a file of 8 bytes, a native uint64: how many bytes the files may take together;
 *               it may be changed while the process runs
 *
 * A write is logged before it is made and a flush when it begins and when it has ended: what a
 * flush covers is what was logged before it began. Files mapped into memory are not seen; the ones
 * that are (the lock and wake files) hold nothing that must last. Files that exist have no holes:
 * that is what the count of space relies on.
 */
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT   __attribute__((visibility("default")))
#define IOV_MOST 1024

enum operation {
    WRITE = 'W',    /* data at an offset */
    DONE = 'D',     /* the write of this number was one that flushes itself, and has ended */
    FLUSHING = 'B', /* a flush begins; of a directory: of its names */
    FLUSHED = 'E',  /* the flush of this number has ended */
    RESIZE = 'T',
    ALLOCATE = 'A', /* up to an offset */
    CREATE = 'C',
    RENAME = 'R', /* the data is the new name */
    UNLINK = 'U',
    MKDIR = 'M',
    RMDIR = 'X'
};

/* A record of the log, followed by the name below DISK_DIR and the data. */
struct record {
    uint32_t size; /* of all */
    uint16_t name_size;
    uint8_t operation;
    uint8_t flushes_itself;
    uint64_t number;
    uint64_t offset;
};

static char directory[PATH_MAX];
static size_t directory_size;
static int log_fd = -1;
static const volatile uint64_t *space;
static _Atomic uint64_t last_number;

__attribute__((constructor)) static void start(void)
{
    const char *dir = getenv("DISK_DIR");
    const char *log = getenv("DISK_LOG");
    const char *limit = getenv("DISK_SPACE");
    if (dir == NULL) {
        return;
    }
    directory_size = (size_t)snprintf(directory, sizeof directory, "%s/", dir);
    if (log != NULL) {
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                              0600);
    }
    if (limit != NULL) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, limit, O_RDONLY | O_CLOEXEC);
        void *map = mmap(NULL, sizeof *space, PROT_READ, MAP_SHARED, fd, 0);
        space = map == MAP_FAILED ? NULL : map;
        close(fd);
    }
}

/* The name below DISK_DIR, or NULL; "" for the directory itself. */
static const char *below(const char *path)
{
    if (directory_size == 0) {
        return NULL;
    }
    if (strncmp(path, directory, directory_size) == 0) {
        return path + directory_size;
    }
    bool itself =
        strncmp(path, directory, directory_size - 1) == 0 && path[directory_size - 1] == 0;
    return itself ? "" : NULL;
}

static const char *name_of_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = directory_size == 0 ? -1 : readlink(link, path, PATH_MAX - 1);
    if (size < 0) {
        return NULL;
    }
    path[size] = 0;
    return below(path);
}

/* ---- the log ---- */

static uint64_t log_vector(enum operation operation, const char *name, uint64_t number,
                           off_t offset, const struct iovec *data, int count, bool flushes_itself)
{
    struct iovec parts[IOV_MOST + 2];
    struct record record = {.operation = (uint8_t)operation, .flushes_itself = flushes_itself};
    if (log_fd < 0 || name == NULL) {
        return 0;
    }
    record.number = number != 0 ? number : atomic_fetch_add(&last_number, 1) + 1;
    record.offset = (uint64_t)offset;
    record.name_size = (uint16_t)strlen(name);
    parts[0] = (struct iovec){&record, sizeof record};
    parts[1] = (struct iovec){(void *)(uintptr_t)name, record.name_size};
    size_t size = sizeof record + record.name_size;
    for (int i = 0; i < count && i < IOV_MOST; i++) {
        parts[i + 2] = data[i];
        size += data[i].iov_len;
    }
    record.size = (uint32_t)size;
    if (syscall(SYS_writev, log_fd, parts, count + 2) != (long)size) {
        abort();
    }
    return record.number;
}

static uint64_t log_plain(enum operation operation, const char *name, uint64_t number, off_t offset)
{
    return log_vector(operation, name, number, offset, NULL, 0, false);
}

/* ---- space ---- */

static uint64_t add_sizes(const char *path, unsigned depth)
{
    uint64_t total = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char child[PATH_MAX];
        struct stat found;
        if (entry->d_name[0] == '.') {
            continue;
        }
        int size = snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (size < 0 || size >= PATH_MAX || lstat(child, &found) != 0) {
            continue;
        }
        if (S_ISREG(found.st_mode)) {
            total += (uint64_t)found.st_size;
        } else if (S_ISDIR(found.st_mode) && depth > 0) {
            total += add_sizes(child, depth - 1);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return total;
}

static uint64_t space_left(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s", (int)directory_size - 1, directory);
    uint64_t used = add_sizes(path, 2);
    return used < *space ? *space - used : 0;
}

/* How many bytes, up to `end`, a file may be made longer for; the rest is not there. */
static off_t end_allowed(int fd, const char *name, off_t end)
{
    struct stat file;
    if (space == NULL || name == NULL || fstat(fd, &file) != 0 || end <= file.st_size) {
        return end;
    }
    uint64_t left = space_left();
    return (uint64_t)(end - file.st_size) <= left ? end : file.st_size + (off_t)left;
}

/* ---- writing ---- */

static bool flushes_itself(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_DSYNC) != 0;
}

/* Any write: `offset` negative for one at the file's position. */
static ssize_t write_vector(int fd, const struct iovec *data, int count, off_t offset)
{
    char path[PATH_MAX];
    const char *name = name_of_fd(fd, path);
    off_t at = offset >= 0 || name == NULL ? offset : lseek(fd, 0, SEEK_CUR);
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += data[i].iov_len;
    }
    if (name != NULL && size > 0 && end_allowed(fd, name, at + (off_t)size) < at + (off_t)size) {
        /* As a file system does: what fits is written, and the next write fails. */
        off_t end = end_allowed(fd, name, at + (off_t)size);
        if (end <= at || (size_t)(end - at) > data[0].iov_len) {
            errno = ENOSPC;
            return -1;
        }
        struct iovec part = {data[0].iov_base, (size_t)(end - at)};
        return write_vector(fd, &part, 1, offset);
    }
    bool itself = name != NULL && log_fd >= 0 && flushes_itself(fd);
    uint64_t number = log_vector(WRITE, name, 0, at, data, count, itself);
    ssize_t written = offset < 0 ? syscall(SYS_writev, fd, data, count)
                                 : syscall(SYS_pwritev, fd, data, count, (long)offset, 0L);
    if (itself && written >= 0) {
        log_plain(DONE, name, number, 0);
    }
    return written;
}

EXPORT ssize_t write(int fd, const void *data, size_t size)
{
    return write_vector(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, -1);
}

EXPORT ssize_t writev(int fd, const struct iovec *data, int count)
{
    return write_vector(fd, data, count, -1);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return write_vector(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite(fd, data, size, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *data, int count, off_t offset)
{
    return write_vector(fd, data, count, offset);
}

EXPORT int ftruncate(int fd, off_t size)
{
    char path[PATH_MAX];
    const char *name = name_of_fd(fd, path);
    if (end_allowed(fd, name, size) < size) {
        errno = ENOSPC;
        return -1;
    }
    log_plain(RESIZE, name, 0, size);
    return (int)syscall(SYS_ftruncate, fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t size)
{
    char path[PATH_MAX];
    const char *name = name_of_fd(fd, path);
    if (end_allowed(fd, name, offset + size) < offset + size) {
        errno = ENOSPC;
        return -1;
    }
    log_plain(ALLOCATE, mode == 0 ? name : NULL, 0, offset + size);
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return fallocate(fd, mode, offset, size);
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t size)
{
    int before = errno;
    int result = fallocate(fd, 0, offset, size) == 0 ? 0 : errno;
    errno = before;
    return result;
}

EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
    return posix_fallocate(fd, offset, size);
}

EXPORT int fstatvfs64(int fd, struct statvfs64 *out)
{
    char path[PATH_MAX];
    int (*real)(int, struct statvfs64 *);
    void *symbol = dlsym(RTLD_NEXT, "fstatvfs64");
    memcpy(&real, &symbol, sizeof real);
    int result = real(fd, out);
    if (result == 0 && space != NULL && name_of_fd(fd, path) != NULL) {
        out->f_bfree = out->f_bavail = space_left() / out->f_frsize;
    }
    return result;
}

/* ---- flushing ---- */

static int flush(int fd, long call)
{
    char path[PATH_MAX];
    const char *name = name_of_fd(fd, path);
    uint64_t number = log_plain(FLUSHING, name, 0, 0);
    int result = (int)syscall(call, fd);
    if (result == 0) {
        log_plain(FLUSHED, name, number, 0);
    }
    return result;
}

EXPORT int fsync(int fd)
{
    return flush(fd, SYS_fsync);
}

EXPORT int fdatasync(int fd)
{
    return flush(fd, SYS_fdatasync);
}

/* ---- names ---- */

EXPORT int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    const char *name = (flags & O_CREAT) != 0 ? below(path) : NULL;
    struct stat file;
    bool new = name != NULL &&stat(path, &file) != 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= 0 && new) {
        log_plain(CREATE, name, 0, 0);
    }
    return fd;
}

EXPORT int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    return open(path, flags, mode);
}

EXPORT int rename(const char *from, const char *to)
{
    const char *name = below(from);
    const char *other = below(to);
    int result = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (result == 0 && name != NULL && other != NULL) {
        struct iovec data = {(void *)(uintptr_t)other, strlen(other)};
        log_vector(RENAME, name, 0, 0, &data, 1, false);
    }
    return result;
}

EXPORT int unlink(const char *path)
{
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0) {
        log_plain(UNLINK, below(path), 0, 0);
    }
    return result;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0) {
        log_plain(MKDIR, below(path), 0, 0);
    }
    return result;
}

EXPORT int rmdir(const char *path)
{
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    if (result == 0) {
        log_plain(RMDIR, below(path), 0, 0);
    }
    return result;
}
