/* memory.c - shared memory that users see: a page that says what it is, and then theirs.
 *
 * Its file is made without a name, filled, and then linked to one: so no name ever stands for memory that is half made, and
 * a creator that is killed leaves nothing behind.  Every user holds a shared lock on the file (flock), which the kernel
 * takes away with the last of its descriptors: that is how one can tell whether anybody has it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <brood/memory.h>

#include "os/clock.h"
#include "os/identity.h"
#include "os/process.h"
#include "shm/segment.h"

#define FOLDER "/dev/shm/"
#define PREFIX "brood."
#define PREFIX_POOL "brood-"               /* of shm/segment.c, where a name lasts for an instant */
#define MAGIC UINT64_C(0x31306d656d647262) /* "brdmem01" in memory */
#define FRONT_BYTES ((size_t)4096)         /* before what is the user's: a page, so that theirs begins at one too */
#define INSTANT_S 60                       /* longer than that */
#define REMOVAL_NS 1000000000              /* nobody needs longer for a removal, during which others cannot attach */

/* The first page.  Written by the creator before others can see it. */
struct front {
    uint64_t magic;
    uint64_t bytes;   /* of the user's memory */
    uint64_t creator; /* brood__self() */
};

struct brood_memory {
    struct segment segment;
    size_t bytes;
    char name[BROOD_MEMORY_NAME_MAX + 1];
};

/* ---- names ---- */

struct path {
    char text[sizeof(FOLDER PREFIX) + BROOD_MEMORY_NAME_MAX];
};

static int find_path(struct path *ret_path, const char *name)
{
    size_t length = name ? strlen(name) : 0;

    if (length == 0)
        return brood_fail(-EINVAL, "shared memory needs a name to be found by");
    if (length > BROOD_MEMORY_NAME_MAX)
        return brood_fail(-ENAMETOOLONG, "a name of shared memory has %d bytes at most, and this one %zu",
                          BROOD_MEMORY_NAME_MAX, length);
    if (strchr(name, '/'))
        return brood_fail(-EINVAL, "'%s' is no name for shared memory: it must be without '/'", name);
    (void)snprintf(ret_path->text, sizeof(ret_path->text), FOLDER PREFIX "%s", name);
    return 0;
}

/* ---- the file ---- */

static size_t file_bytes(size_t bytes)
{
    return FRONT_BYTES + (bytes + FRONT_BYTES - 1) / FRONT_BYTES * FRONT_BYTES;
}

/* It says so as -EWOULDBLOCK: somebody is looking whether it is in use, or removing it. */
static int lock_file(int fd, int how)
{
    int r;

    do
        r = flock(fd, how | LOCK_NB);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int open_new_file(bool has_name)
{
    int fd = has_name ? open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
                      : memfd_create("brood-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return brood_fail(-errno, "cannot make shared memory%s: %s", has_name ? " in " FOLDER : "", strerror(errno));
    return brood__fd_not_standard(fd);
}

/* Sizes the file, maps it, and takes all of it from the system. */
static int fill_file(struct segment *segment, int fd, size_t bytes)
{
    size_t total = file_bytes(bytes);
    int r;

    if (brood__segment_file_limit(total) < total)
        return brood_fail(-EFBIG, "the file size limit is below %zu KiB (see ulimit -f)", total >> 10);
    if (ftruncate(fd, (off_t)total) < 0)
        return brood_fail(-errno, "cannot make %zu KiB of shared memory: %s", total >> 10, strerror(errno));
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL); /* of files, only a memfd */
    r = brood__segment_attach(segment, fd);
    if (r < 0)
        return r;
    segment->committed = 0;
    return brood__segment_commit(segment, total);
}

static int give_name(int fd, const char *name)
{
    struct path path;
    char link[32];
    int r = find_path(&path, name);

    if (r < 0)
        return r;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, link, AT_FDCWD, path.text, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno == EEXIST)
        return brood_fail(-EEXIST, "there is shared memory of the name '%s' already", name);
    return brood_fail(-errno, "cannot give shared memory the name '%s': %s", name, strerror(errno));
}

/* ---- handles ---- */

static int new_handle(struct brood_memory **ret_memory, const char *name)
{
    struct brood_memory *memory = calloc(1, sizeof(*memory));

    if (!memory)
        return brood_fail(-ENOMEM, "out of memory");
    memory->segment = SEGMENT_CLOSED;
    if (name)
        (void)snprintf(memory->name, sizeof(memory->name), "%s", name);
    *ret_memory = memory;
    return 0;
}

/* All of it has been taken from the system, or touching it could be SIGBUS.  (Not by us now: a stranger's file may be a
 * hole as large as the machine's memory.) */
static bool is_whole(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (uint64_t)status.st_blocks * 512 >= (uint64_t)status.st_size;
}

/* It may come from a stranger: each number is read once, and held against what the kernel says of the file. */
static int adopt(struct brood_memory *memory, int fd)
{
    const struct front *front;
    int r = brood__segment_attach(&memory->segment, fd);
    uint64_t bytes;

    if (r == -ENOMEM)
        return r;
    if (r == -EACCES || r == -EPERM)
        return brood_fail(-EINVAL, "what is there can only be read, so it is no shared memory that brood made");
    if (r < 0 || memory->segment.reserved < FRONT_BYTES || !is_whole(fd))
        return brood_fail(-EINVAL, "what is there is no shared memory that brood made, or somebody has cut it");
    front = (const struct front *)(const void *)memory->segment.base;
    bytes = read_once(front->bytes);
    if (read_once(front->magic) != MAGIC || bytes == 0 || bytes > memory->segment.reserved - FRONT_BYTES)
        return brood_fail(-EINVAL, "what is there is no shared memory that brood made, or somebody has cut it");
    memory->bytes = (size_t)bytes;
    return 0;
}

static int make(struct brood_memory *memory, const char *name, size_t bytes)
{
    struct front *front;
    int fd = open_new_file(name != NULL), r = fd;

    if (fd < 0)
        return r;
    r = fill_file(&memory->segment, fd, bytes);
    if (memory->segment.fd < 0)
        (void)close(fd);
    if (r < 0)
        return r;
    memory->bytes = bytes;
    front = (struct front *)(void *)memory->segment.base;
    *front = (struct front){MAGIC, bytes, brood__self()};
    (void)lock_file(fd, LOCK_SH);
    return name ? give_name(fd, name) : 0;
}

int brood_memory_create(struct brood_memory **ret_memory, const char *name, size_t bytes)
{
    struct brood_memory *memory = NULL;
    struct path path;
    int r = name ? find_path(&path, name) : 0;

    if (r < 0)
        return r;
    if (bytes == 0 || bytes > INT64_MAX - 2 * FRONT_BYTES)
        return brood_fail(-EINVAL, "shared memory of %zu bytes cannot be made", bytes);
    r = new_handle(&memory, name);
    if (r < 0)
        return r;
    r = make(memory, name, bytes);
    if (r < 0) {
        brood_memory_close(memory);
        return r;
    }
    *ret_memory = memory;
    return 0;
}

static int open_file(const char *name)
{
    struct path path;
    int r = find_path(&path, name), fd;

    if (r < 0)
        return r;
    fd = open(path.text, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return brood_fail(-errno, "cannot attach shared memory '%s': %s", name, strerror(errno));
    return brood__fd_not_standard(fd);
}

/* Who sweeps has it locked for a moment, and perhaps no name any more after that. */
static int lock_shared(int fd, const char *name)
{
    brood_deadline deadline = brood__after_ns(REMOVAL_NS);
    struct stat status;
    int r;

    while ((r = lock_file(fd, LOCK_SH)) == -EWOULDBLOCK && !brood__is_past(deadline))
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* no event tells of the end of a lock */
    if (r == -EWOULDBLOCK)
        return brood_fail(-EBUSY, "shared memory '%s' is being removed", name);
    if (r < 0 || fstat(fd, &status) < 0)
        return brood_fail(-EINVAL, "what has the name '%s' is no memory", name);
    if (status.st_nlink == 0)
        return brood_fail(-ENOENT, "shared memory '%s' has just been removed", name);
    return 0;
}

/* `fd` is the memory's from now on, also when this fails. */
static int attach(struct brood_memory **ret_memory, int fd, const char *name)
{
    struct brood_memory *memory = NULL;
    int r = new_handle(&memory, name);

    if (r < 0) {
        (void)close(fd);
        return r;
    }
    r = name ? lock_shared(fd, name) : 0;
    if (r == 0)
        r = adopt(memory, fd);
    if (r < 0) {
        if (memory->segment.fd < 0)
            (void)close(fd);
        brood_memory_close(memory);
        return r;
    }
    *ret_memory = memory;
    return 0;
}

int brood_memory_attach(struct brood_memory **ret_memory, const char *name)
{
    int fd = open_file(name);

    return fd < 0 ? fd : attach(ret_memory, fd, name);
}

/* A copy, so that a failure leaves the caller's descriptor as it was. */
int brood_memory_from_fd(struct brood_memory **ret_memory, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), r;

    if (copy < 0)
        return brood_fail(-errno, "descriptor %d cannot be that of shared memory: %s", fd, strerror(errno));
    (void)lock_file(copy, LOCK_SH); /* it is held already by whoever gave the descriptor, if it has a name */
    r = attach(ret_memory, copy, NULL);
    if (r == 0)
        (void)close(fd);
    return r;
}

int brood_memory_unlink(const char *name)
{
    struct path path;
    int r = find_path(&path, name);

    if (r < 0)
        return r;
    return unlink(path.text) == 0 ? 0 : brood_fail(-errno, "cannot unlink shared memory '%s': %s", name, strerror(errno));
}

void *brood_memory_address(const struct brood_memory *memory)
{
    return memory ? memory->segment.base + FRONT_BYTES : NULL;
}

size_t brood_memory_size(const struct brood_memory *memory)
{
    return memory ? memory->bytes : 0;
}

const char *brood_memory_name(const struct brood_memory *memory)
{
    return memory ? memory->name : "";
}

int brood_memory_fd(const struct brood_memory *memory)
{
    return memory ? memory->segment.fd : brood_fail(-EBADF, "the memory is NULL");
}

void brood_memory_close(struct brood_memory *memory)
{
    if (!memory)
        return;
    brood__segment_close(&memory->segment);
    free(memory);
}

/* ---- sweeping ---- */

/* Reads the front without mapping it: the file may be cut at any time. */
static bool read_front(int fd, struct front *ret_front)
{
    return pread(fd, ret_front, sizeof(*ret_front), 0) == sizeof(*ret_front) && ret_front->magic == MAGIC;
}

static bool is_old(const struct stat *status)
{
    return time(NULL) - status->st_mtime > INSTANT_S;
}

/* Is nobody there who made it, or who has it?  Then it is locked, so that nobody can attach. */
static bool is_abandoned(int fd, struct brood_memory_stale *stale)
{
    struct front front = {0};
    struct stat status;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid())
        return false;
    stale->bytes = (size_t)status.st_blocks * 512;
    if (read_front(fd, &front)) {
        stale->creator = brood__identity_number(front.creator);
        if (!brood__identity_is_dead(front.creator))
            return false;
    } else if (status.st_size > 0 || !is_old(&status)) { /* not one of a pool whose host was killed in that instant */
        return false;
    }
    return lock_file(fd, LOCK_EX) == 0;
}

/* Has another file got the name meanwhile? */
static bool is_still(int folder, const char *entry, int fd)
{
    struct stat named, opened;

    return fstatat(folder, entry, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool sweep_one(int folder, const char *entry, bool remove, struct brood_memory_stale *ret_stale)
{
    int fd = openat(folder, entry, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct brood_memory_stale stale = {.name = begins(entry, PREFIX) ? entry + strlen(PREFIX) : entry};
    bool is_stale;

    if (fd < 0)
        return false;
    is_stale = is_abandoned(fd, &stale);
    if (is_stale && remove)
        stale.is_removed = is_still(folder, entry, fd) && unlinkat(folder, entry, 0) == 0;
    (void)close(fd);
    *ret_stale = stale;
    return is_stale;
}

int brood_memory_sweep(bool remove, void (*found)(void *context, const struct brood_memory_stale *stale), void *context)
{
    DIR *folder = opendir(FOLDER);
    struct dirent *entry;
    int count = 0;

    if (!folder)
        return brood_fail(-errno, "cannot look at " FOLDER ": %s", strerror(errno));
    while ((entry = readdir(folder)) != NULL) {
        struct brood_memory_stale stale;

        if (!begins(entry->d_name, PREFIX) && !begins(entry->d_name, PREFIX_POOL))
            continue;
        if (!sweep_one(dirfd(folder), entry->d_name, remove, &stale))
            continue;
        count++;
        if (found)
            found(context, &stale);
    }
    (void)closedir(folder);
    return count;
}
