#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "os/assert.h"
#include "os/available.h"
#include "os/memfd.h"
#include "os/process_attributes.h"
#include "shm/segment.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE ((size_t)4096)

static size_t page_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t brood__segment_file_limit(size_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted)
        return wanted;
    return (size_t)limit.rlim_cur / PAGE * PAGE;
}

/* Maps as much of `reserve` as the address-space limit allows, at least `least`. */
static int segment_map(struct segment *segment, size_t reserve, size_t least)
{
    int flags = MAP_NORESERVE | (segment->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    void *base = MAP_FAILED;

    for (; reserve >= least && reserve > 0; reserve = reserve / 2 / PAGE * PAGE) {
        base = mmap(NULL, reserve, PROT_READ | PROT_WRITE, flags, segment->fd, 0);
        if (base != MAP_FAILED || (errno != ENOMEM && errno != EAGAIN))
            break;
    }
    if (base == MAP_FAILED && errno != ENOMEM && errno != EAGAIN)
        return brood_fail(-errno, "shared memory cannot be mapped: %s", strerror(errno));
    if (base == MAP_FAILED)
        return brood_fail(-ENOMEM, "no address space for %zu KiB of shared memory: %s (see ulimit -v)", least >> 10,
                          strerror(errno));
    segment->base = base;
    segment->reserved = reserve;
    (void)madvise(base, reserve, MADV_DONTDUMP);
    return 0;
}

static int segment_too_long(size_t bytes)
{
    return brood_fail(-EFBIG, "the file size limit is below the %zu KiB that the pool needs (see ulimit -f)", bytes >> 10);
}

int brood__segment_open(struct segment *ret_segment, enum segment_kind kind, size_t reserve, size_t commit)
{
    struct segment segment = SEGMENT_CLOSED;
    int r = 0;

    commit = page_round_up(commit, PAGE);
    reserve = page_round_up(reserve > commit ? reserve : commit, PAGE);
    if (kind != SEGMENT_PRIVATE) {
        reserve = brood__segment_file_limit(reserve);
        if (reserve < commit)
            return segment_too_long(commit);
        segment.fd = r = brood__memory_file_open("brood");
    }
    if (r >= 0)
        r = segment_map(&segment, reserve, commit);
    if (r >= 0)
        r = brood__segment_commit(&segment, commit);
    if (r < 0) {
        brood__segment_close(&segment);
        return r;
    }
    /* A file of /dev/shm cannot be sealed, and is used unsealed. */
    if (kind != SEGMENT_PRIVATE)
        (void)brood__memfd_seal(segment.fd, kind == SEGMENT_JOINED ? MEMFD_GROWS : MEMFD_GROWS_BY_MAPPING);
    *ret_segment = segment;
    return 0;
}

int brood__segment_attach(struct segment *ret_segment, int fd, size_t reserve)
{
    struct segment segment = {.fd = fd};
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return errno == EBADF ? -EINVAL : brood_fail(-errno, "descriptor %d cannot be looked at: %s", fd, strerror(errno));
    if (st.st_size <= 0 || !S_ISREG(st.st_mode))
        return -EINVAL;
    reserve = reserve > (size_t)st.st_size ? reserve : (size_t)st.st_size;
    r = segment_map(&segment, reserve, reserve);
    if (r < 0)
        return r;
    segment.committed = (size_t)st.st_size;
    *ret_segment = segment;
    return 0;
}

/* The kernel grants a file in memory more than there is, and kills a process later; so this checks first. */
static int segment_check_memory(const struct segment *segment, size_t missing)
{
    uint64_t available;

    if (brood__memory_allows(segment->taken, segment->taken + missing, &available))
        return 0;
    return brood_fail(
        -ENOMEM, "no memory for %zu KiB more: this machine, or the memory limit of a control group, leaves %" PRIu64 " KiB",
        missing >> 10, available >> 10);
}

/* The limit of a file of /dev/shm is the mount's, that of a memfd the system's. */
static int segment_no_room(const struct segment *segment, size_t missing, int error)
{
    struct statvfs fs;
    int r = -error;

    if (fstatvfs(segment->fd, &fs) < 0 || fs.f_blocks == 0)
        return brood_fail(r, "no shared memory for %zu KiB more (%s): raise the memory limit", missing >> 10,
                          strerror(error));
    return brood_fail(r,
                      "no shared memory for %zu KiB more (%s); /dev/shm has %zu KiB free: enlarge it (mount -o "
                      "remount,size=…, docker run --shm-size=…) or raise the memory limit",
                      missing >> 10, strerror(error), (size_t)fs.f_bavail * fs.f_frsize >> 10);
}

/* A range past the file's end extends the file. */
static int segment_allocate(struct segment *segment, size_t offset, size_t bytes)
{
    int r = segment->fd >= 0 ? segment_check_memory(segment, bytes) : 0;

    if (r < 0)
        return r;
    do
        r = segment->fd < 0 ? 0 : posix_fallocate(segment->fd, (off_t)offset, (off_t)bytes);
    while (r == EINTR);
    if (r != 0)
        return segment_no_room(segment, bytes, r);
    segment->taken += bytes;
    return 0;
}

int brood__segment_commit(struct segment *segment, size_t bytes)
{
    int r;

    if (bytes <= segment->committed)
        return 0;
    if (bytes > segment->reserved)
        return brood_fail(-ENOMEM, "the pool's %zu MiB of address space are used up: open it with a larger .memory_bytes",
                          segment->reserved >> 20);
    bytes = page_round_up(bytes, PAGE);
    r = segment_allocate(segment, segment->committed, bytes - segment->committed);
    if (r == 0)
        segment->committed = bytes;
    brood__assert(segment->committed <= segment->reserved);
    return r;
}

int brood__segment_extend(struct segment *segment, size_t bytes)
{
    bytes = page_round_up(bytes, PAGE);
    if (segment->fd >= 0 && brood__segment_file_limit(bytes) < bytes)
        return segment_too_long(bytes);
    if (bytes > segment->reserved)
        return brood_fail(-ENOMEM, "no address space for %zu KiB of shared memory (see ulimit -v)", bytes >> 10);
    if (segment->fd >= 0 && ftruncate(segment->fd, (off_t)bytes) < 0)
        return brood_fail(-errno, "cannot size shared memory: %s", strerror(errno));
    segment->committed = bytes;
    return 0;
}

int brood__segment_commit_part(struct segment *segment, size_t offset, size_t bytes)
{
    size_t from = offset / PAGE * PAGE;

    brood__assert(offset + bytes <= segment->committed);
    return segment_allocate(segment, from, page_round_up(offset + bytes, PAGE) - from);
}

void brood__segment_prefault(const struct segment *segment, size_t offset, size_t bytes)
{
    size_t from = offset / PAGE * PAGE;

    brood__assert(offset + bytes <= segment->reserved);
    (void)madvise(segment->base + from, page_round_up(offset + bytes, PAGE) - from, MADV_POPULATE_WRITE);
}

void brood__segment_close(struct segment *segment)
{
    if (segment->base)
        (void)munmap(segment->base, segment->reserved);
    if (segment->fd >= 0)
        (void)close(segment->fd);
    *segment = SEGMENT_CLOSED;
}
