#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/identity.h"
#include "os/pidfd.h"

_Atomic uint64_t brood__self_cached;
static _Thread_local uint64_t self_thread;

/* ---- what /proc says ---- */

struct stat_line {
    char state;
    uint32_t cookie; /* of the start time; never 0 */
};

/* The name of a program may hold anything, so fields are counted from the last ')': state is the first, start time the
 * 20th.  It counts the 10 ms since the machine was started; 31 bits of it come round in eight months. */
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
    ret_line->cookie = (uint32_t)strtoull(field, &end, 10) | 0x80000000u;
    return end > field;
}

/* Without the C library's streams: this is also called right after a fork in a process of many threads. */
static bool read_stat(int number, struct stat_line *ret_line)
{
    char path[32], text[1024];
    ssize_t bytes;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", number);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bytes = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (bytes <= 0)
        return false;
    text[bytes] = '\0';
    return parse(text, ret_line);
}

/* ---- who we are ---- */

static uint64_t identity_of(int number)
{
    struct stat_line line = {.cookie = 0};
    int error = errno;

    (void)read_stat(number, &line);
    errno = error;
    return (uint64_t)line.cookie << 32 | (uint32_t)number;
}

static void forget(void)
{
    atomic_store_explicit(&brood__self_cached, 0, memory_order_relaxed);
    self_thread = 0;
}

static void forget_in_children(void)
{
    if (pthread_atfork(NULL, NULL, forget) != 0)
        abort(); /* out of memory for three pointers; a child that takes itself for its parent would be worse */
}

static void once(void)
{
    static pthread_once_t done = PTHREAD_ONCE_INIT;

    (void)pthread_once(&done, forget_in_children);
}

uint64_t brood__self_find(void)
{
    uint64_t self;

    once();
    self = identity_of(getpid());
    atomic_store_explicit(&brood__self_cached, self, memory_order_relaxed);
    return self;
}

uint64_t brood__self_thread(void)
{
    if (self_thread == 0) {
        once();
        self_thread = identity_of((int)syscall(SYS_gettid));
    }
    return self_thread;
}

/* ---- whether others are dead ---- */

/* Says nothing about a number that is in use, if /proc says nothing. */
static bool is_another_or_zombie(uint64_t identity)
{
    uint32_t cookie = (uint32_t)(identity >> 32);
    struct stat_line line;

    if (!read_stat(brood__identity_number(identity), &line))
        return false;
    return (cookie != 0 && cookie != line.cookie) || line.state == 'X';
}

/* -EINVAL, or on later kernels -ENOENT: the number is that of a thread of another process now. */
static bool is_no_process(int error)
{
    return error == -ESRCH || error == -EINVAL || error == -ENOENT;
}

static bool has_ended(int number)
{
    int pidfd = brood__pidfd_open(number);
    bool ended;

    if (is_no_process(pidfd))
        return true;
    if (pidfd < 0) /* no descriptor is left, or a filter denies the call */
        return kill(number, 0) < 0 && errno == ESRCH;
    ended = brood__pidfd_wait(pidfd, BROOD_NOW) == 0;
    (void)close(pidfd);
    return ended;
}

bool brood__identity_is_dead(uint64_t process)
{
    int error = errno;
    bool dead;

    process &= IDENTITY_BITS;
    if (process == brood__self())
        return false;
    dead = has_ended(brood__identity_number(process)) || is_another_or_zombie(process);
    errno = error;
    return dead;
}

/* The first thread of a process stays, as a zombie, until the others have ended. */
static bool is_zombie(int number)
{
    struct stat_line line;

    return read_stat(number, &line) && line.state == 'Z';
}

bool brood__thread_is_dead(uint64_t thread)
{
    int number = brood__identity_number(thread), error = errno;
    bool dead;

    thread &= IDENTITY_BITS;
    if (thread == brood__self_thread())
        return false;
    dead = (syscall(SYS_tkill, number, 0) < 0 && errno == ESRCH) || is_another_or_zombie(thread) || is_zombie(number);
    errno = error;
    return dead;
}
