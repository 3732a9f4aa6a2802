#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "os/available.h"
#include "os/process.h"
#include "shm/segment.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* With less than this free in /dev/shm a pool would soon hit the mount's limit; a memfd has none. */
#define SHM_FREE_MIN ((size_t)256 << 20)

#define PAGE ((size_t)4096)

/* How much is committed without a look whether there is memory.  To take it costs tens of milliseconds, and to look
 * less than one. */
#define LOOK_EVERY ((size_t)64 << 20)

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t shm_free_bytes(void)
{
    struct statvfs fs;

    return statvfs("/dev/shm", &fs) == 0 ? (size_t)fs.f_bavail * fs.f_frsize : 0;
}

/* Where files cannot be made without a name: with one that nobody can guess, gone before anyone could use it. */
static int open_named(void)
{
    char name[32];
    uint64_t number;
    int fd;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        return -EAGAIN;
    (void)snprintf(name, sizeof(name), "/brood-%016llx", (unsigned long long)number);
    fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    (void)shm_unlink(name);
    return fd;
}

/* What shm_open() would make, but without a name from the first instruction on: whoever is killed between shm_open() and
 * shm_unlink() leaves a file behind. */
static int open_shm(void)
{
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : open_named();
}

static int open_file(enum segment_kind kind, size_t commit)
{
    int fd = -1;

    if (kind == SEGMENT_SHARED && shm_free_bytes() >= (commit > SHM_FREE_MIN ? commit : SHM_FREE_MIN))
        fd = open_shm();
    if (fd < 0)
        fd = memfd_create("brood", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? brood_fail(-errno, "no shared memory: shm_open and memfd_create failed: %s", strerror(errno)) : fd;
}

size_t brood__segment_file_limit(size_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted)
        return wanted;
    return (size_t)limit.rlim_cur / PAGE * PAGE;
}

/* Maps as much of `reserve` as the address-space limit allows, at least `least`. */
static int map(struct segment *segment, size_t reserve, size_t least)
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

/* Only a memfd can be sealed, so for others this does nothing. */
static int set_size(const struct segment *segment)
{
    if (ftruncate(segment->fd, (off_t)segment->reserved) < 0)
        return brood_fail(-errno, "cannot size shared memory: %s", strerror(errno));
    (void)fcntl(segment->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return 0;
}

int brood__segment_open(struct segment *ret_segment, enum segment_kind kind, size_t reserve, size_t commit)
{
    struct segment segment = SEGMENT_CLOSED;
    int r = 0;

    commit = round_up(commit, PAGE);
    reserve = round_up(reserve > commit ? reserve : commit, PAGE);
    if (kind != SEGMENT_PRIVATE) {
        reserve = brood__segment_file_limit(reserve);
        if (reserve < commit)
            return brood_fail(-EFBIG, "the file size limit is below the %zu KiB that the pool needs (see ulimit -f)",
                              commit >> 10);
        segment.fd = r = brood__fd_not_standard(open_file(kind, commit));
    }
    if (r >= 0)
        r = map(&segment, reserve, commit);
    if (r >= 0 && kind != SEGMENT_PRIVATE)
        r = set_size(&segment);
    if (r >= 0)
        r = brood__segment_commit(&segment, commit);
    if (r < 0) {
        brood__segment_close(&segment);
        return r;
    }
    *ret_segment = segment;
    return 0;
}

int brood__segment_attach(struct segment *ret_segment, int fd)
{
    struct segment segment = {.fd = fd};
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return errno == EBADF ? -EINVAL : brood_fail(-errno, "descriptor %d cannot be looked at: %s", fd, strerror(errno));
    if (st.st_size <= 0)
        return -EINVAL;
    r = map(&segment, (size_t)st.st_size, (size_t)st.st_size);
    if (r < 0)
        return r;
    segment.committed = segment.reserved;
    *ret_segment = segment;
    return 0;
}

/* Of a file in memory, the kernel hands out what there is not, and then kills somebody.  A part is left, because the number
 * is an estimate; and so is what will be committed before the next look. */
static int look_for_memory(struct segment *segment, size_t bytes)
{
    size_t missing = bytes - segment->committed;
    uint64_t available;

    if (bytes - segment->looked_at <= LOOK_EVERY)
        return 0;
    available = brood__memory_available();
    if (available != UINT64_MAX && (missing > LOOK_EVERY ? missing : LOOK_EVERY) > available - available / 16)
        return brood_fail(
            -ENOMEM,
            "no memory for %zu KiB more: this machine, or the memory limit of a control group, leaves %" PRIu64 " KiB",
            missing >> 10, available >> 10);
    segment->looked_at = bytes;
    return 0;
}

int brood__segment_commit(struct segment *segment, size_t bytes)
{
    size_t missing;
    int r;

    if (bytes <= segment->committed)
        return 0;
    if (bytes > segment->reserved)
        return brood_fail(-ENOMEM, "the pool's %zu MiB of address space are used up: open it with a larger .memory_bytes",
                          segment->reserved >> 20);
    bytes = round_up(bytes, PAGE);
    missing = bytes - segment->committed;
    if (segment->fd >= 0) {
        r = look_for_memory(segment, bytes);
        if (r < 0)
            return r;
    }
    do
        r = segment->fd < 0 ? 0 : posix_fallocate(segment->fd, (off_t)segment->committed, (off_t)missing);
    while (r == EINTR);
    if (r != 0)
        return brood_fail(r == ENOSPC ? -ENOSPC : -r,
                          "no shared memory for %zu KiB more (%s); /dev/shm has %zu KiB free: enlarge it (mount -o "
                          "remount,size=…, docker run --shm-size=…) or raise the memory limit",
                          missing >> 10, strerror(r), shm_free_bytes() >> 10);
    segment->committed = bytes;
    return 0;
}

void brood__segment_prefault(const struct segment *segment, size_t offset, size_t bytes)
{
    size_t from = offset / PAGE * PAGE;

    (void)madvise(segment->base + from, round_up(offset + bytes, PAGE) - from, MADV_POPULATE_WRITE);
}

void brood__segment_close(struct segment *segment)
{
    if (segment->base)
        (void)munmap(segment->base, segment->reserved);
    if (segment->fd >= 0)
        (void)close(segment->fd);
    *segment = SEGMENT_CLOSED;
}
