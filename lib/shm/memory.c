/* memory.c - shared memory that users see: a page that describes it, and then the user's bytes.
 *
 * The creator makes the file without a name, fills it, and then links it to a name: so no name ever stands for
 * incomplete memory, and a creator that is killed leaves nothing.  Every user holds a shared lock on the file (flock),
 * which the kernel releases with the last of its descriptors: so a sweep can tell whether any process uses the memory.
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
#include "os/memfd.h"
#include "os/memory_group.h"
#include "os/process_attributes.h"
#include "shm/segment.h"

#define FOLDER "/dev/shm/"
#define PREFIX "brood."
#define PREFIX_POOL "brood-"               /* of shm/segment.c, where a name exists only for an instant */
#define MAGIC UINT64_C(0x31306d656d647262) /* "brdmem01" in memory */
#define FRONT_BYTES ((size_t)4096)         /* the first page: so the user's memory begins at a page, too */
#define INSTANT_S 60                       /* a name of PREFIX_POOL that is older than this is a leftover */
#define REMOVAL_NS 1000000000              /* a removal, during which others cannot attach, takes less than this */

/* The first page.  The creator writes it before others can see the file. */
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

static int path_make(struct path *ret_path, const char *name)
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

/* -EWOULDBLOCK: another process is checking whether the file is in use, or is removing it. */
static int file_lock(int fd, int how)
{
    int r;

    do
        r = flock(fd, how | LOCK_NB);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int file_create(bool has_name)
{
    int fd = has_name ? open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : brood__memfd_open("brood-memory");

    if (fd < 0)
        return brood_fail(-errno, "cannot make shared memory%s: %s", has_name ? " in " FOLDER : "", strerror(errno));
    return brood__fd_not_standard(fd);
}

/* Sizes the file, maps it, and commits all of its memory. */
static int file_fill(struct segment *segment, int fd, size_t bytes)
{
    size_t total = file_bytes(bytes);
    int r;

    if (brood__segment_file_limit(total) < total)
        return brood_fail(-EFBIG, "the file size limit is below %zu KiB (see ulimit -f)", total >> 10);
    if (ftruncate(fd, (off_t)total) < 0)
        return brood_fail(-errno, "cannot make %zu KiB of shared memory: %s", total >> 10, strerror(errno));
    (void)brood__memfd_seal(fd, MEMFD_FIXED); /* has an effect on a memfd only */
    r = brood__segment_attach(segment, fd, 0);
    if (r < 0)
        return r;
    segment->committed = 0;
    return brood__segment_commit(segment, total);
}

static int file_name(int fd, const char *name)
{
    struct path path;
    char link[32];
    int r = path_make(&path, name);

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

static int handle_new(struct brood_memory **ret_memory, const char *name)
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

/* Is all of the file's memory committed?  Otherwise an access could be SIGBUS.  (This process must not commit it: a
 * foreign file may be a hole as large as the machine's memory.) */
static bool file_is_committed(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (uint64_t)status.st_blocks * 512 >= (uint64_t)status.st_size;
}

/* The file may be foreign: each number is read once and compared with what the kernel knows about the file. */
static int memory_map(struct brood_memory *memory, int fd)
{
    const struct front *front;
    int r = brood__segment_attach(&memory->segment, fd, 0);
    uint64_t bytes;

    if (r == -ENOMEM)
        return r;
    if (r == -EACCES || r == -EPERM)
        return brood_fail(-EINVAL, "it can only be read, so it is no shared memory that brood made");
    if (r < 0 || memory->segment.reserved < FRONT_BYTES || !file_is_committed(fd))
        return brood_fail(-EINVAL, "it is no shared memory that brood made, or a process has truncated it");
    front = (const struct front *)(const void *)memory->segment.base;
    bytes = read_once(front->bytes);
    if (read_once(front->magic) != MAGIC || bytes == 0 || bytes > memory->segment.reserved - FRONT_BYTES)
        return brood_fail(-EINVAL, "it is no shared memory that brood made, or a process has truncated it");
    memory->bytes = (size_t)bytes;
    return 0;
}

static int memory_make(struct brood_memory *memory, const char *name, size_t bytes)
{
    struct front *front;
    int fd = file_create(name != NULL), r = fd;

    if (fd < 0)
        return r;
    r = file_fill(&memory->segment, fd, bytes);
    if (memory->segment.fd < 0)
        (void)close(fd);
    if (r < 0)
        return r;
    memory->bytes = bytes;
    front = (struct front *)(void *)memory->segment.base;
    *front = (struct front){MAGIC, bytes, brood__self()};
    (void)file_lock(fd, LOCK_SH);
    return name ? file_name(fd, name) : 0;
}

int brood_memory_create(struct brood_memory **ret_memory, const char *name, size_t bytes)
{
    struct brood_memory *memory = NULL;
    struct path path;
    int r = name ? path_make(&path, name) : 0;

    if (r < 0)
        return r;
    if (bytes == 0 || bytes > INT64_MAX - 2 * FRONT_BYTES)
        return brood_fail(-EINVAL, "shared memory of %zu bytes cannot be made", bytes);
    r = handle_new(&memory, name);
    if (r < 0)
        return r;
    r = memory_make(memory, name, bytes);
    if (r < 0) {
        brood_memory_close(memory);
        return r;
    }
    *ret_memory = memory;
    return 0;
}

static int file_open(const char *name)
{
    struct path path;
    int r = path_make(&path, name), fd;

    if (r < 0)
        return r;
    fd = open(path.text, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return brood_fail(-errno, "cannot attach shared memory '%s': %s", name, strerror(errno));
    return brood__fd_not_standard(fd);
}

/* A sweep holds the lock for a moment, and may have removed the name when it releases it. */
static int file_lock_shared(int fd, const char *name)
{
    brood_deadline deadline = brood__after_ns(REMOVAL_NS);
    struct stat status;
    int r;

    while ((r = file_lock(fd, LOCK_SH)) == -EWOULDBLOCK && !brood__is_past(deadline))
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* the end of a lock raises no event */
    if (r == -EWOULDBLOCK)
        return brood_fail(-EBUSY, "shared memory '%s' is being removed", name);
    if (r < 0 || fstat(fd, &status) < 0)
        return brood_fail(-EINVAL, "what has the name '%s' is no memory", name);
    if (status.st_nlink == 0)
        return brood_fail(-ENOENT, "shared memory '%s' has just been removed", name);
    return 0;
}

/* Takes `fd` over, also on failure. */
static int memory_attach(struct brood_memory **ret_memory, int fd, const char *name)
{
    struct brood_memory *memory = NULL;
    int r = handle_new(&memory, name);

    if (r < 0) {
        (void)close(fd);
        return r;
    }
    r = name ? file_lock_shared(fd, name) : 0;
    if (r == 0)
        r = memory_map(memory, fd);
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
    int fd = file_open(name);

    return fd < 0 ? fd : memory_attach(ret_memory, fd, name);
}

/* Duplicates the descriptor, so that a failure leaves the caller's as it was. */
int brood_memory_from_fd(struct brood_memory **ret_memory, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), r;

    if (copy < 0)
        return brood_fail(-errno, "descriptor %d cannot be that of shared memory: %s", fd, strerror(errno));
    (void)file_lock(copy, LOCK_SH); /* if the file has a name, the process that passed the descriptor holds the lock */
    r = memory_attach(ret_memory, copy, NULL);
    if (r == 0)
        (void)close(fd);
    return r;
}

int brood_memory_unlink(const char *name)
{
    struct path path;
    int r = path_make(&path, name);

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

/* Reads the front without mapping it: another process may truncate the file at any time. */
static bool front_read(int fd, struct front *ret_front)
{
    return pread(fd, ret_front, sizeof(*ret_front), 0) == sizeof(*ret_front) && ret_front->magic == MAGIC;
}

static bool is_old(const struct stat *status)
{
    return time(NULL) - status->st_mtime > INSTANT_S;
}

/* Are the creator and all users gone?  Then the file is locked, so that no process can attach. */
static bool is_abandoned(int fd, struct brood_memory_stale *stale)
{
    struct front front = {0};
    struct stat status;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid())
        return false;
    stale->bytes = (size_t)status.st_blocks * 512;
    if (front_read(fd, &front)) {
        stale->creator = brood__identity_number(front.creator);
        if (!brood__identity_is_dead(front.creator))
            return false;
    } else if (status.st_size > 0 || !is_old(&status)) { /* not of a pool whose host was killed in that instant */
        return false;
    }
    return file_lock(fd, LOCK_EX) == 0;
}

/* Does the name still stand for this file? */
static bool name_is_still(int folder, const char *entry, int fd)
{
    struct stat named, opened;

    return fstatat(folder, entry, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool sweep_one(int folder, const char *entry, bool remove, struct brood_memory_stale *ret_stale)
{
    int fd = openat(folder, entry, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct brood_memory_stale stale = {.name = has_prefix(entry, PREFIX) ? entry + strlen(PREFIX) : entry};
    bool is_stale;

    if (fd < 0)
        return false;
    is_stale = is_abandoned(fd, &stale);
    if (is_stale && remove)
        stale.is_removed = name_is_still(folder, entry, fd) && unlinkat(folder, entry, 0) == 0;
    (void)close(fd);
    *ret_stale = stale;
    return is_stale;
}

struct group_sweep {
    void (*found)(void *context, const struct brood_memory_stale *stale);
    void *context;
    int count;
};

static void group_found(void *context, const char *path, pid_t supervisor, bool is_removed)
{
    struct group_sweep *sweep = context;
    struct brood_memory_stale stale = {.name = path, .creator = supervisor, .is_removed = is_removed};

    sweep->count++;
    if (sweep->found)
        (void)BROOD__UNCANCELLED((sweep->found(sweep->context, &stale), 0));
}

int brood_memory_sweep(bool remove, void (*found)(void *context, const struct brood_memory_stale *stale), void *context)
{
    struct group_sweep groups = {found, context, 0};
    DIR *folder = opendir(FOLDER);
    struct dirent *entry;
    int count = 0;

    if (!folder)
        return brood_fail(-errno, "cannot look at " FOLDER ": %s", strerror(errno));
    while ((entry = readdir(folder)) != NULL) {
        struct brood_memory_stale stale;

        if (!has_prefix(entry->d_name, PREFIX) && !has_prefix(entry->d_name, PREFIX_POOL))
            continue;
        if (!sweep_one(dirfd(folder), entry->d_name, remove, &stale))
            continue;
        count++;
        if (found)
            (void)BROOD__UNCANCELLED((found(context, &stale), 0));
    }
    (void)closedir(folder);
    brood__memory_groups_sweep(remove, group_found, &groups);
    return count + groups.count;
}
