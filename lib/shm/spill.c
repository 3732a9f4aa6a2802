#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/error.h"
#include "os/process.h"
#include "shm/spill.h"

/* How many regions there may be: a file larger than this process may make would be SIGXFSZ. */
static uint32_t count_regions(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return SPILL_REGIONS;
    return limit.rlim_cur / SPILL_REGION < SPILL_REGIONS ? (uint32_t)(limit.rlim_cur / SPILL_REGION) : SPILL_REGIONS;
}

void brood__spill_open(struct spill *ret_spill)
{
    struct spill spill = {.regions = count_regions()};
    struct stat st;

    *ret_spill = SPILL_CLOSED;
    spill.fd = spill.regions > 0 ? memfd_create("brood-results", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    spill.fd = brood__fd_not_standard(spill.fd);
    if (spill.fd < 0)
        return;
    if (ftruncate(spill.fd, (off_t)(spill.regions * SPILL_REGION)) < 0 ||
        fcntl(spill.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 || fstat(spill.fd, &st) < 0) {
        (void)close(spill.fd);
        return;
    }
    spill.device = st.st_dev;
    spill.inode = st.st_ino;
    *ret_spill = spill;
}

void brood__spill_attach(struct spill *ret_spill, int fd)
{
    struct stat st;

    *ret_spill = SPILL_CLOSED;
    if (fd >= 0 && fstat(fd, &st) == 0)
        *ret_spill = (struct spill){.fd = fd, .device = st.st_dev, .inode = st.st_ino, .regions = SPILL_REGIONS};
}

/* Is the descriptor still the file's?  The program may have closed all descriptors that it does not know, and have opened
 * files of its own. */
static bool look(const struct spill *spill, struct stat *ret_st)
{
    return spill->fd >= 0 && fstat(spill->fd, ret_st) == 0 && ret_st->st_dev == spill->device &&
           ret_st->st_ino == spill->inode;
}

/* Only what is seen to be another file is left open. */
void brood__spill_close(struct spill *spill)
{
    struct stat st;

    if (spill->fd >= 0 && (fstat(spill->fd, &st) < 0 || (st.st_dev == spill->device && st.st_ino == spill->inode)))
        (void)close(spill->fd);
    *spill = SPILL_CLOSED;
}

/* ---- the host ---- */

/* Room to give back every region there is, so that giving one back cannot fail. */
static bool make_room(struct spill_regions *regions)
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

uint32_t brood__spill_take(const struct spill *spill, struct spill_regions *regions)
{
    if (spill->fd < 0)
        return SPILL_NONE;
    if (regions->count > 0)
        return regions->free[--regions->count];
    return regions->used < spill->regions && make_room(regions) ? ++regions->used : SPILL_NONE;
}

void brood__spill_give(struct spill_regions *regions, uint32_t region)
{
    if (region != SPILL_NONE)
        regions->free[regions->count++] = region;
}

static off_t begin_of(uint32_t region)
{
    return (off_t)((region - 1) * SPILL_REGION);
}

int brood__spill_read(const struct spill *spill, uint32_t region, void *to, size_t bytes)
{
    size_t done = 0;
    struct stat st;

    if (!look(spill, &st))
        return brood_fail(-EIO, "the descriptor of the pool's results has been closed");
    if (bytes > SPILL_REGION || bytes / 512 > (uint64_t)st.st_blocks) /* or the host would have gigabytes of zeros */
        return brood_fail(-EPROTO, "the worker says that its result has %zu bytes, and has not written them", bytes);
    while (done < bytes) {
        ssize_t r = pread(spill->fd, (char *)to + done, bytes - done, begin_of(region) + (off_t)done);

        if (r == 0 || (r < 0 && errno != EINTR))
            return brood_fail(-EIO, "the pool's results cannot be read: %s", r < 0 ? strerror(errno) : "they end");
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

void brood__spill_clear(const struct spill *spill, uint32_t region)
{
    struct stat st;

    if (look(spill, &st))
        (void)fallocate(spill->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin_of(region), (off_t)SPILL_REGION);
}

/* ---- the worker ---- */

static int commit(const struct brood__spilled *spilled, size_t bytes)
{
    int r;

    do
        r = posix_fallocate(spilled->spill->fd, begin_of(spilled->region), (off_t)bytes);
    while (r == EINTR);
    return r;
}

static int check(const struct brood__spilled *spilled, size_t bytes)
{
    struct stat st;

    if (bytes >= SPILL_REGION)
        return brood_fail(-EMSGSIZE, "a result of %zu bytes: results have less than 4 GiB", bytes);
    if (spilled->region == SPILL_NONE || spilled->spill->fd < 0)
        return brood_fail(-ENOSPC, "a result of %zu bytes, and this worker has no place for more than was put aside",
                          bytes);
    if (!look(spilled->spill, &st))
        return brood_fail(-EIO, "a result of %zu bytes, and the worker's descriptor for it has been closed", bytes);
    return 0;
}

int brood__spill_map(struct brood__spilled *spilled, size_t bytes)
{
    void *memory;
    int r;

    brood__spill_unmap(spilled, true); /* the memory is about to be used again */
    r = check(spilled, bytes);
    if (r < 0)
        return r;
    r = commit(spilled, bytes);
    memory = r == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, spilled->spill->fd, begin_of(spilled->region))
                    : MAP_FAILED;
    if (memory == MAP_FAILED)
        return brood_fail(-ENOSPC, "no memory for a result of %zu bytes: %s", bytes, strerror(r ? r : errno));
    spilled->memory = memory;
    spilled->bytes = bytes;
    return 0;
}

void brood__spill_unmap(struct brood__spilled *spilled, bool is_result)
{
    if (!spilled->memory)
        return;
    (void)munmap(spilled->memory, spilled->bytes);
    spilled->memory = NULL;
    if (!is_result)
        brood__spill_clear(spilled->spill, spilled->region);
}
