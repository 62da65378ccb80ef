/* A disk that is slow, full or broken, under one process: for `ledger-torture` alone.
 *
 * Loaded with LD_PRELOAD. COVENANT_DISK_FAULTS names a file of four 32-bit numbers, which are mapped, so that whoever
 * writes them changes what happens at once:
 *   0  milliseconds that each sync waits
 *   1  not 0: each sync fails with EIO
 *   2  not 0: each write fails with ENOSPC
 *   3  not 0: each write fails with EIO
 * Only files with "/ledger/" in their path are touched. What ships knows nothing of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { SLOW_MS, SYNC_FAILS, FULL, WRITE_FAILS, COUNT };

static volatile const uint32_t *faults;

__attribute__((constructor)) static void map_faults(void) {
    const char *path = getenv("COVENANT_DISK_FAULTS");
    if (!path) return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, COUNT * sizeof(uint32_t), PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) faults = map;
    close(fd);
}

static int is_ledger(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, "/ledger/") != NULL;
}

/* 0, or the error that a write has. */
static int write_fault(int fd) {
    if (!faults || !(faults[FULL] | faults[WRITE_FAILS]) || !is_ledger(fd)) return 0;
    return faults[FULL] ? ENOSPC : EIO;
}

/* 0, or the error that a sync has, after the time that it takes. */
static int sync_fault(int fd) {
    if (!faults || !(faults[SLOW_MS] | faults[SYNC_FAILS]) || !is_ledger(fd)) return 0;
    uint32_t ms = faults[SLOW_MS];
    struct timespec wait = {ms / 1000, (long)(ms % 1000) * 1000000};
    if (ms) nanosleep(&wait, NULL);
    return faults[SYNC_FAILS] ? EIO : 0;
}

#define REAL(name, type) \
    static __typeof__(type) *real; \
    if (!real) real = (__typeof__(type) *)dlsym(RTLD_NEXT, name)

#define FAIL_WITH(fault) \
    do { int error = (fault); if (error) { errno = error; return -1; } } while (0)

int fsync(int fd) {
    REAL("fsync", int(int));
    FAIL_WITH(sync_fault(fd));
    return real(fd);
}

int fdatasync(int fd) {
    REAL("fdatasync", int(int));
    FAIL_WITH(sync_fault(fd));
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL("write", ssize_t(int, const void *, size_t));
    FAIL_WITH(write_fault(fd));
    return real(fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL("pwrite64", ssize_t(int, const void *, size_t, off64_t));
    FAIL_WITH(write_fault(fd));
    return real(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}
