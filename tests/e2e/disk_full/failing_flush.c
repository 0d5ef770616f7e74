/* Makes flushes fail on demand: a disk that answers fdatasync with EIO cannot be had without rights on the machine.
 *
 * Loaded before libc (LD_PRELOAD). While the file $FAILING_FLUSH_WHILE is there, fdatasync and fsync of files whose path contains
 * $FAILING_FLUSH_OF fail; everything else goes to the kernel. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd) {
    const char *while_there = getenv("FAILING_FLUSH_WHILE"), *of = getenv("FAILING_FLUSH_OF");
    if (!while_there || !of || access(while_there, F_OK) != 0) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, of) != NULL;
}

int fdatasync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    if (fails(fd)) { errno = EIO; return -1; }
    return (int)syscall(SYS_fsync, fd);
}
