#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <brood/base.h>

#include "os/clock.h"
#include "os/identity.h"
#include "os/pidfd.h"

_Atomic uint64_t brood__self_cached;
static _Atomic uint64_t namespaces_cached; /* written and read as brood__self_cached is; so is the next one */
static _Atomic int proc_cached;
static _Thread_local uint64_t self_thread;

#define NAMESPACES_UNKNOWN 1 /* cached in place of 0, so that it is not looked up each time */

/* The number of values for the start time, and for the inode, in an identity; none is 0, which means unknown. */
#define BORN_VALUES 2047u

static uint32_t not_zero(uint64_t number)
{
    return (uint32_t)(number % BORN_VALUES) + 1;
}

static uint64_t with_tick(uint32_t tick)
{
    return (uint64_t)tick << IDENTITY_TICK_SHIFT;
}

static uint64_t with_inode(uint32_t inode)
{
    return (uint64_t)inode << IDENTITY_INODE_SHIFT;
}

static uint32_t part(uint64_t identity, int shift)
{
    return (uint32_t)(identity >> shift) & BORN_VALUES;
}

/* ---- from /proc ---- */

struct stat_line {
    char state;
    uint32_t tick; /* of the start time */
};

/* A program's name may contain any bytes, so fields are counted from the last ')': the state is the first, the start
 * time the 20th, in units of 10 ms since the machine was started. */
static bool parse(const char *text, struct stat_line *ret_line)
{
    const char *field = strrchr(text, ')');
    char *end;

    if (!field || field[1] != ' ')
        return false;
    ret_line->state = field[2];
    for (int i = 0; i < 20; i++)
        if (!(field = strchr(field + 1, ' ')))
            return false;
    ret_line->tick = not_zero(strtoull(field, &end, 10));
    return end > field;
}

/* So that qemu-user does not recognize the calling process's own /proc/PID/stat and emulate it: with another start time
 * than the kernel shows to others. */
#define PROC "/proc/./"

/* Without the C library's streams: this also runs right after a fork, in a process that had many threads. */
static bool read_stat(const char *path, struct stat_line *ret_line)
{
    char text[1024];
    ssize_t bytes;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    bytes = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (bytes <= 0)
        return false;
    text[bytes] = '\0';
    return parse(text, ret_line);
}

enum { PROC_UNKNOWN, PROC_OURS, PROC_ANOTHER };

/* A container may show the /proc of another PID namespace, where this process's numbers belong to other processes. */
static bool is_proc_ours(void)
{
    int known = atomic_load_explicit(&proc_cached, memory_order_relaxed);
    char text[16] = "";

    if (known == PROC_UNKNOWN) {
        known = readlink("/proc/self", text, sizeof(text) - 1) > 0 && atoi(text) == getpid() ? PROC_OURS : PROC_ANOTHER;
        atomic_store_explicit(&proc_cached, known, memory_order_relaxed);
    }
    return known == PROC_OURS;
}

static bool read_stat_of(int number, struct stat_line *ret_line)
{
    char path[32];

    (void)snprintf(path, sizeof(path), PROC "%d/stat", number);
    return is_proc_ours() && read_stat(path, ret_line);
}

/* ---- from a pidfd ---- */

/* The kernel gives each process and thread an inode that is never reused (Linux 6.9); before that all pidfds have the
 * same one. */
static uint32_t inode_of(int pidfd)
{
    uint64_t inode = brood__pidfd_inode(pidfd);

    return inode == 0 ? 0 : not_zero(inode);
}

/* 0: the kernel does not report it, or no descriptor is left to ask with. */
static uint32_t find_inode(int pidfd)
{
    uint32_t inode = pidfd < 0 ? 0 : inode_of(pidfd);

    if (pidfd >= 0)
        (void)close(pidfd);
    return inode;
}

/* ---- this process ---- */

static uint32_t namespace_of(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? (uint32_t)status.st_ino : 0;
}

/* The time namespace shifts the start times in /proc. */
static uint64_t find_namespaces(void)
{
    uint64_t pids = namespace_of("/proc/self/ns/pid");

    return pids == 0 ? 0 : pids << 32 | namespace_of("/proc/self/ns/time");
}

/* The kernel gives namespaces the lowest free numbers, so those that exist at the same time differ in their low bits. */
static uint64_t space_of(uint64_t namespaces)
{
    uint64_t pids = namespaces >> 32, times = (uint32_t)namespaces;

    return namespaces == 0 ? 0 : ((pids + times * 31) % IDENTITY_SPACES + 1) << IDENTITY_SPACE_SHIFT;
}

static void cache_forget(void)
{
    atomic_store_explicit(&brood__self_cached, 0, memory_order_relaxed);
    atomic_store_explicit(&namespaces_cached, 0, memory_order_relaxed);
    atomic_store_explicit(&proc_cached, 0, memory_order_relaxed);
    self_thread = 0;
}

static void forget_in_children(void)
{
    if (pthread_atfork(NULL, NULL, cache_forget) != 0)
        abort(); /* out of memory for three pointers; a child that takes itself for its parent would be worse */
}

static void once(void)
{
    static pthread_once_t done = PTHREAD_ONCE_INIT;

    (void)pthread_once(&done, forget_in_children);
}

uint64_t brood__namespaces(void)
{
    uint64_t known = atomic_load_explicit(&namespaces_cached, memory_order_relaxed);
    int error = errno;

    if (known == 0) {
        once();
        known = find_namespaces();
        known = known == 0 ? NAMESPACES_UNKNOWN : known;
        atomic_store_explicit(&namespaces_cached, known, memory_order_relaxed);
        errno = error;
    }
    return known == NAMESPACES_UNKNOWN ? 0 : known;
}

int brood__namespaces_check(uint64_t noted, const char *what)
{
    if (!brood__namespaces_differ(noted, brood__namespaces()))
        return 0;
    return brood_fail(
        -EXDEV,
        "%s was made in another PID or time namespace: whether a process there is dead cannot be found out from "
        "here. Run all of its users in one PID namespace",
        what);
}

static uint64_t identity_of(int number, int pidfd, const char *stat_path)
{
    struct stat_line line = {.tick = 0};
    int error = errno;
    uint64_t identity;

    (void)read_stat(stat_path, &line);
    identity = with_tick(line.tick) | with_inode(find_inode(pidfd)) | space_of(brood__namespaces()) | (uint32_t)number;
    errno = error;
    return identity;
}

uint64_t brood__self_find(void)
{
    int number = getpid();
    uint64_t self;

    once();
    self = identity_of(number, brood__pidfd_open(number), PROC "self/stat");
    atomic_store_explicit(&brood__self_cached, self, memory_order_relaxed);
    return self;
}

uint64_t brood__self_thread(void)
{
    int number;

    if (self_thread == 0) {
        once();
        number = (int)syscall(SYS_gettid);
        self_thread = identity_of(number, brood__pidfd_open_thread(number), PROC "thread-self/stat");
    }
    return self_thread;
}

/* ---- whether another process is dead ---- */

static bool differ(uint32_t a, uint32_t b)
{
    return a != 0 && b != 0 && a != b;
}

/* For a number that is in use: does it belong to another process, or to one that has ended, in one of these states?
 * False if /proc does not say. */
static bool proc_says_ended(uint64_t identity, const char *states)
{
    struct stat_line line;

    if (!read_stat_of(brood__identity_number(identity), &line))
        return false;
    return differ(part(identity, IDENTITY_TICK_SHIFT), line.tick) || strchr(states, line.state) != NULL;
}

/* -EINVAL, or on later kernels -ENOENT: the number is now a thread's of another process */
static bool is_no_process(int error)
{
    return error == -ESRCH || error == -EINVAL || error == -ENOENT;
}

static bool has_ended(int pidfd, uint64_t identity)
{
    bool ended = differ(part(identity, IDENTITY_INODE_SHIFT), inode_of(pidfd)) || brood__pidfd_wait(pidfd, BROOD_NOW) == 0;

    (void)close(pidfd);
    return ended;
}

static bool process_has_ended(uint64_t process)
{
    int number = brood__identity_number(process), pidfd = brood__pidfd_open(number);

    if (pidfd >= 0)
        return has_ended(pidfd, process);
    if (is_no_process(pidfd))
        return true;
    return kill(number, 0) < 0 && errno == ESRCH; /* no descriptor is left, or a filter denies the call */
}

bool brood__identity_is_dead(uint64_t process)
{
    int error = errno;
    bool dead;

    process &= IDENTITY_BITS;
    if (process == brood__self() || brood__identity_is_foreign(process))
        return false;
    dead = process_has_ended(process) || proc_says_ended(process, "X");
    errno = error;
    return dead;
}

bool brood__identity_is_stopped(uint64_t process)
{
    struct stat_line line;
    int error = errno;
    bool stopped = read_stat_of(brood__identity_number(process), &line) && (line.state == 'T' || line.state == 't');

    errno = error;
    return stopped && !brood__identity_is_foreign(process);
}

static bool thread_has_ended(uint64_t thread)
{
    int number = brood__identity_number(thread), pidfd;

    if (syscall(SYS_tkill, number, 0) < 0 && errno == ESRCH)
        return true;
    pidfd = brood__pidfd_open_thread(number);
    return pidfd >= 0 && has_ended(pidfd, thread);
}

bool brood__thread_is_dead(uint64_t thread)
{
    int error = errno;
    bool dead;

    thread &= IDENTITY_BITS;
    if (thread == brood__self_thread() || brood__identity_is_foreign(thread))
        return false;
    /* The first thread of a process stays, as a zombie, until the others have ended. */
    dead = thread_has_ended(thread) || proc_says_ended(thread, "XZ");
    errno = error;
    return dead;
}
