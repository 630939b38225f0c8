/* Preloaded into a child of test_disk: lets the disk fail while a file says so.
   The file DISK_FAULT names holds "full" or "fsync", then optionally a part of the paths that are struck. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int struck(int fd, const char *kind) {
    const char *flag = getenv("DISK_FAULT");
    char said[256], link[64], path[PATH_MAX];
    if (flag == NULL) return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY);
    if (file < 0) return 0;
    long size = syscall(SYS_read, file, said, sizeof said - 1);
    syscall(SYS_close, file);
    if (size <= 0) return 0;
    said[size] = 0;
    char *part = strchr(said, ' ');
    if (part != NULL) *part++ = 0;
    if (strcmp(said, kind) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return path[0] == '/' && strncmp(path, "/dev/", 5) != 0 && (part == NULL || strstr(path, part) != NULL);
}

#define REFUSE(fd, kind, code) if (struck(fd, kind)) { errno = code; return -1; }

ssize_t write(int fd, const void *data, size_t size) {
    REFUSE(fd, "full", ENOSPC)
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REFUSE(fd, "full", ENOSPC)
    return syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REFUSE(fd, "full", ENOSPC)
    return syscall(SYS_pwrite64, fd, data, size, at);
}

int fsync(int fd) {
    REFUSE(fd, "fsync", EIO)
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    REFUSE(fd, "fsync", EIO)
    return (int)syscall(SYS_fdatasync, fd);
}
