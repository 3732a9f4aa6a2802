#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/available.h"
#include "os/error.h"
#include "os/memfd.h"
#include "os/owned.h"
#include "os/role.h"
#include "proto/large_result.h"

/* Memory is committed, and results are read, in steps of this size, each after a check of the available memory. */
#define STEP ((size_t)8 << 20)
#define UNSEEN_MAX ((size_t)1 << 20)

#define LOCK_MS 100

/* How many regions there may be: growing a file past this process's limit would raise SIGXFSZ. */
static uint32_t regions_count(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return LARGE_REGIONS;
    return limit.rlim_cur / LARGE_REGION < LARGE_REGIONS ? (uint32_t)(limit.rlim_cur / LARGE_REGION) : LARGE_REGIONS;
}

void brood__large_open(struct large_results *ret_large)
{
    struct large_results large = {.regions = regions_count()};
    struct stat st;

    *ret_large = LARGE_CLOSED;
    large.fd = large.regions > 0 ? brood__own(brood__memfd_open("brood-results")) : -1;
    if (large.fd < 0)
        return;
    if (ftruncate(large.fd, (off_t)(large.regions * LARGE_REGION)) < 0 || brood__memfd_seal(large.fd, MEMFD_FIXED) < 0 ||
        fstat(large.fd, &st) < 0) {
        (void)close(brood__disown(large.fd));
        return;
    }
    large.device = st.st_dev;
    large.inode = st.st_ino;
    *ret_large = large;
}

void brood__large_attach(struct large_results *ret_large, int fd)
{
    struct stat st;

    *ret_large = LARGE_CLOSED;
    if (fd >= 0 && fstat(fd, &st) == 0)
        *ret_large =
            (struct large_results){.fd = brood__own(fd), .device = st.st_dev, .inode = st.st_ino, .regions = LARGE_REGIONS};
}

/* Is the descriptor still this file's?  The program may have closed all descriptors that it does not know, and have
 * opened files of its own. */
static bool descriptor_is_ours(const struct large_results *large, struct stat *ret_st)
{
    return large->fd >= 0 && fstat(large->fd, ret_st) == 0 && ret_st->st_dev == large->device &&
           ret_st->st_ino == large->inode;
}

/* Leaves the descriptor open only if it is certain to be another file's. */
void brood__large_close(struct large_results *large)
{
    struct stat st;

    if (large->fd >= 0 && (fstat(large->fd, &st) < 0 || (st.st_dev == large->device && st.st_ino == large->inode)))
        (void)close(large->fd);
    (void)brood__disown(large->fd);
    *large = LARGE_CLOSED;
}

/* ---- the host ---- */

/* Makes room to give back every region in use, so that giving one back cannot fail. */
static bool regions_make_room(struct large_regions *regions)
{
    uint32_t room = regions->room ? 2 * regions->room : 16;
    uint32_t *larger;

    if (regions->used < regions->room)
        return true;
    larger = realloc(regions->free, room * sizeof(*larger));
    if (!larger)
        return false;
    regions->free = larger;
    regions->room = room;
    return true;
}

/* Private memory of the host. */
static bool regions_are_valid(const struct large_regions *regions)
{
    for (uint32_t i = 0; i < regions->count; i++)
        if (regions->free[i] == LARGE_NONE || regions->free[i] > regions->used)
            return false;
    return regions->count <= regions->used && regions->used <= regions->room;
}

uint32_t brood__large_take(const struct large_results *large, struct large_regions *regions)
{
    brood__assert_host();
    if (large->fd < 0)
        return LARGE_NONE;
    if (regions->count > 0)
        return regions->free[--regions->count];
    return regions->used < large->regions && regions_make_room(regions) ? ++regions->used : LARGE_NONE;
}

void brood__large_give(struct large_regions *regions, uint32_t region)
{
    brood__assert_host();
    if (region == LARGE_NONE)
        return;
    brood__assert(region <= regions->used && regions->count < regions->used);
    regions->free[regions->count++] = region;
    brood__assert_valid(regions_are_valid(regions));
}

static off_t region_offset(uint32_t region)
{
    return (off_t)((region - 1) * LARGE_REGION);
}

static int result_read(const struct large_results *large, void *to, size_t bytes, off_t at)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t r = pread(large->fd, (char *)to + done, bytes - done, at + (off_t)done);

        if (r == 0 || (r < 0 && errno != EINTR))
            return brood_fail(-EIO, "the pool's results cannot be read: %s", r < 0 ? strerror(errno) : "they end");
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

static int memory_check(size_t result, size_t more, int error)
{
    uint64_t available;

    if (brood__memory_has(more, &available))
        return 0;
    return brood_fail(error,
                      "no memory for a result of %zu bytes: this machine, or the memory limit of a control group, leaves "
                      "%" PRIu64 " KiB",
                      result, available >> 10);
}

static void memory_give_back(const struct large_results *large, off_t at, off_t bytes)
{
    (void)fallocate(large->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes);
}

/* Two processes that check the memory at once would both take the same memory, so only one is between check and use.
 * The lock belongs to the process and ends with it.  A process that was stopped with the lock, or is hostile, delays
 * others by at most LOCK_MS for each result: they continue without the lock. */
static void results_lock(const struct large_results *large, int *patience_ms)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    for (; fcntl(large->fd, F_SETLK, &whole) < 0 && *patience_ms > 0; --*patience_ms)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* the end of a lock raises no event */
}

static void results_unlock(const struct large_results *large)
{
    (void)fcntl(large->fd, F_SETLK, &(struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET});
}

/* A short last step is not worth a check. */
static int result_read_step(const struct large_results *large, void *to, size_t bytes, off_t at, size_t step,
                            int *patience_ms)
{
    int r;

    if (step < STEP)
        return result_read(large, to, step, at);
    results_lock(large, patience_ms);
    r = memory_check(bytes, step + STEP / 2, -ENOMEM);
    if (r == 0)
        r = result_read(large, to, step, at);
    if (r == 0)
        memory_give_back(large, at, (off_t)step);
    results_unlock(large);
    return r;
}

/* Reads step by step and gives the memory back, so that the result is never in memory twice. */
int brood__large_read(const struct large_results *large, uint32_t region, void *to, size_t bytes)
{
    int r = 0, patience_ms = LOCK_MS;
    struct stat st;

    brood__assert_host();
    if (!descriptor_is_ours(large, &st))
        return brood_fail(-EIO, "the descriptor of the pool's results has been closed");
    if (bytes > LARGE_REGION || bytes / 512 > (uint64_t)st.st_blocks) /* otherwise the host would read gigabytes of zeros */
        return brood_fail(-EPROTO, "the worker says that its result has %zu bytes, and has not written them", bytes);
    for (size_t done = 0, step; r == 0 && done < bytes; done += step) {
        step = bytes - done < STEP ? bytes - done : STEP;
        r = result_read_step(large, (char *)to + done, bytes, region_offset(region) + (off_t)done, step, &patience_ms);
    }
    return r;
}

/* Clears the region after the bytes that are kept, in whole pages. */
static void region_clear_after(const struct large_results *large, uint32_t region, size_t held)
{
    uint64_t from = (held + 4095) / 4096 * 4096;
    struct stat st;

    if (descriptor_is_ours(large, &st))
        memory_give_back(large, region_offset(region) + (off_t)from, (off_t)(LARGE_REGION - from));
}

void brood__large_clear(const struct large_results *large, uint32_t region)
{
    region_clear_after(large, region, 0);
}

/* ---- the worker ---- */

bool brood__large_is_lost(const struct large_results *large)
{
    struct stat st;

    return large->fd >= 0 && !descriptor_is_ours(large, &st);
}

static int memory_commit(const struct brood__large_result *large_result, size_t bytes, size_t from, size_t step)
{
    int r;

    do
        r = posix_fallocate(large_result->large->fd, region_offset(large_result->region) + (off_t)from, (off_t)step);
    while (r == EINTR);
    return r == 0 ? 0 : brood_fail(-ENOSPC, "no memory for a result of %zu bytes: %s", bytes, strerror(r));
}

/* Leaves two more steps of memory for the host, which reads the result step by step. */
static int memory_check_and_commit(const struct brood__large_result *large_result, size_t bytes, size_t from, size_t step,
                                   int *patience_ms)
{
    int r;

    results_lock(large_result->large, patience_ms);
    r = memory_check(bytes, step + 2 * STEP, -ENOSPC);
    if (r == 0)
        r = memory_commit(large_result, bytes, from, step);
    results_unlock(large_result->large);
    return r;
}

/* Commits all of the bytes, or no more than there were. */
static int region_commit(const struct brood__large_result *large_result, size_t bytes)
{
    static _Thread_local size_t unseen; /* taken since the last check, which takes as long as writing 1 MiB */
    size_t held = large_result->memory ? large_result->bytes : 0;
    int r = bytes - held > STEP ? memory_check(bytes, bytes - held, -ENOSPC) : 0, patience_ms = LOCK_MS;

    for (size_t done = held, step; r == 0 && done < bytes; done += step) {
        step = bytes - done < STEP ? bytes - done : STEP;
        unseen += step;
        if (unseen < UNSEEN_MAX)
            r = memory_commit(large_result, bytes, done, step);
        else if ((r = memory_check_and_commit(large_result, bytes, done, step, &patience_ms)) == 0)
            unseen = 0;
    }
    if (r < 0)
        region_clear_after(large_result->large, large_result->region, held);
    return r;
}

static int region_check(const struct brood__large_result *large_result, size_t bytes)
{
    struct stat st;

    if (bytes >= LARGE_REGION)
        return brood_fail(-EMSGSIZE, "a result of %zu bytes: results have less than 4 GiB", bytes);
    if (large_result->region == LARGE_NONE || large_result->large->fd < 0)
        return brood_fail(-ENOSPC, "a result of %zu bytes, and this worker has no place for more than was put aside",
                          bytes);
    if (!descriptor_is_ours(large_result->large, &st))
        return brood_fail(-EIO, "a result of %zu bytes, and the worker's descriptor for it has been closed", bytes);
    return 0;
}

/* Keeps the mapping if it is large enough, and otherwise until there is a larger one. */
int brood__large_map(struct brood__large_result *large_result, size_t bytes)
{
    void *memory;
    int r;

    if (large_result->memory && bytes <= large_result->bytes)
        return 0;
    r = region_check(large_result, bytes);
    if (r < 0)
        return r;
    r = region_commit(large_result, bytes);
    if (r < 0)
        return r;
    memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, large_result->large->fd, region_offset(large_result->region));
    if (memory == MAP_FAILED)
        return brood_fail(-ENOSPC, "no memory for a result of %zu bytes: %s", bytes, strerror(errno));
    brood__large_unmap(large_result, true); /* the larger mapping shows the same memory */
    large_result->memory = memory;
    large_result->bytes = bytes;
    return 0;
}

void brood__large_unmap(struct brood__large_result *large_result, bool is_result)
{
    if (!large_result->memory)
        return;
    (void)munmap(large_result->memory, large_result->bytes);
    large_result->memory = NULL;
    if (!is_result)
        brood__large_clear(large_result->large, large_result->region);
}
