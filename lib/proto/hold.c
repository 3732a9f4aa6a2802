#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <brood/base.h>

#include "os/memfd.h"
#include "proto/hold.h"

#define PAGE 4096

static int hold_map(struct hold **ret_hold, int fd)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

    if (page == MAP_FAILED)
        return brood_fail(-ENOMEM, "the page for what a worker holds cannot be mapped: %s", strerror(errno));
    *ret_hold = page;
    return 0;
}

/* Sealed where possible, so that no process can truncate it under the supervisor. */
static int hold_file_open(void)
{
    int fd = brood__memory_file_open("brood-hold"), error;

    if (fd < 0)
        return fd;
    if (ftruncate(fd, PAGE) < 0) {
        error = errno;
        (void)close(fd);
        return brood_fail(-error, "cannot size shared memory: %s", strerror(error));
    }
    (void)brood__memfd_seal(fd, MEMFD_FIXED);
    return fd;
}

int brood__hold_open(struct hold **ret_hold, int *ret_fd)
{
    int fd = ret_fd ? hold_file_open() : -1, r;

    if (ret_fd && fd < 0)
        return fd;
    r = hold_map(ret_hold, fd);
    if (r < 0 && fd >= 0)
        (void)close(fd);
    if (r == 0 && ret_fd)
        *ret_fd = fd;
    return r;
}

void brood__hold_keep(struct hold *hold)
{
    (void)madvise(hold, PAGE, MADV_DONTFORK);
}

int brood__hold_attach(struct hold **ret_hold, int fd)
{
    int r = fd < 0 ? brood_fail(-EINVAL, "no descriptor for what this worker holds") : hold_map(ret_hold, fd);

    if (fd >= 0)
        (void)close(fd);
    return r;
}

void brood__hold_close(struct hold *hold)
{
    if (hold)
        (void)munmap(hold, PAGE);
}
