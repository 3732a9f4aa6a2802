#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/pidfd.h"
#include "os/process_attributes.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* ---- without pidfd_open ---- */

#define LOOK_NS 5000000
#define SUBSTITUTES 4096
#define FIRST_DESCRIPTOR 3 /* not one of the standard descriptors, which other code uses */

/* The process for which a descriptor is the substitute; 0: it is a pidfd.  Written when the descriptor is opened, read
 * by its users. */
static _Atomic int32_t substitutes[SUBSTITUTES];

static pid_t substitute_for(int fd)
{
    return fd >= 0 && fd < SUBSTITUTES ? atomic_load_explicit(&substitutes[fd], memory_order_relaxed) : 0;
}

static void set_substitute(int fd, pid_t pid)
{
    if (fd < SUBSTITUTES)
        atomic_store_explicit(&substitutes[fd], pid, memory_order_relaxed);
}

static int open_substitute(pid_t pid)
{
    const struct itimerspec each = {{.tv_nsec = LOOK_NS}, {.tv_nsec = LOOK_NS}};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int fd = timer < 0 ? -1 : fcntl(timer, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR), r = -errno;

    if (timer >= 0)
        (void)close(timer);
    if (fd < 0)
        return r;
    if (fd >= SUBSTITUTES || timerfd_settime(fd, 0, &each, NULL) < 0) {
        r = fd >= SUBSTITUTES ? -EMFILE : -errno;
        (void)close(fd);
        return r;
    }
    set_substitute(fd, pid);
    return fd;
}

/* Is the first thread dead and the last one left?  (The first stays, as a zombie, until the others have ended.) */
static bool is_zombie(pid_t pid)
{
    char path[32], line[1024], state = '\0';
    const char *end;
    int threads = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    end = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    if (end)
        (void)sscanf(end, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", &state, &threads);
    if (file)
        (void)fclose(file);
    return state == 'Z' && threads == 1;
}

/* Neither a child nor the parent: the kernel gives a process another parent when its parent has ended. */
static bool is_reaped(pid_t pid, siginfo_t *ret_info)
{
    return waitid(P_PID, (id_t)pid, ret_info, WEXITED | WNOHANG | WNOWAIT) < 0 && pid != getppid() && pid != getpid();
}

/* The kernel reports the end of a child when the last of its threads has ended, unless a tracer holds it. */
static bool is_gone(pid_t pid)
{
    siginfo_t info = {0};

    return is_reaped(pid, &info) || info.si_pid != 0 || is_zombie(pid);
}

/* Also called in signal handlers. */
static int kill_by_number(int fd, pid_t pid, int signal)
{
    siginfo_t info = {0};

    if (fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    if (is_reaped(pid, &info) || info.si_pid != 0)
        return -ESRCH;
    return kill(pid, signal) == 0 ? 0 : -errno;
}

static int64_t left_until(brood_deadline deadline)
{
    return brood__is_forever(deadline) ? LOOK_NS : deadline.ns - brood__now_ns();
}

static int wait_by_number(pid_t pid, brood_deadline deadline)
{
    while (!is_gone(pid)) {
        int64_t left = left_until(deadline);

        if (brood__is_past(deadline))
            return -ETIMEDOUT;
        (void)nanosleep(&(struct timespec){.tv_nsec = left < LOOK_NS ? (left > 0 ? left : 0) : LOOK_NS}, NULL);
    }
    return 0;
}

/* waitid(2), of either kind.  (The C library's has no rusage.) */
static int pidfd_waitid(int pidfd, siginfo_t *ret_info, int options, struct rusage *ret_usage)
{
    pid_t pid = substitute_for(pidfd);

    return (int)syscall(SYS_waitid, pid ? P_PID : P_PIDFD, pid ? pid : pidfd, ret_info, options, ret_usage);
}

/* ---- for either kind ---- */

static _Atomic bool missing; /* the kernel has no pidfd_open: set by the first thread that notices, relaxed */

int brood__pidfd_open(pid_t pid)
{
    int fd = brood__fd_not_standard((int)syscall(SYS_pidfd_open, pid, 0));

    if (fd < 0)
        return -errno;
    set_substitute(fd, 0);
    return fd;
}

int brood__pidfd_watch(pid_t pid)
{
    int fd = atomic_load_explicit(&missing, memory_order_relaxed) ? -ENOSYS : brood__pidfd_open(pid);

    if (fd != -ENOSYS && fd != -EPERM)
        return fd;
    atomic_store_explicit(&missing, true, memory_order_relaxed);
    return open_substitute(pid);
}

int brood__pidfd_copy(int pidfd)
{
    int copy = fcntl(pidfd, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);

    if (copy < 0)
        return -errno;
    set_substitute(copy, substitute_for(pidfd));
    return copy;
}

bool brood__pidfd_has_ended(int pidfd)
{
    pid_t pid = substitute_for(pidfd);
    uint64_t times;

    if (pid == 0 || is_gone(pid))
        return true;
    (void)!read(pidfd, &times, sizeof(times));
    return false;
}

int brood__pidfd_open_thread(pid_t tid)
{
    int fd = brood__fd_not_standard((int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD));

    return fd < 0 ? -errno : fd;
}

enum { INODES_UNKNOWN, INODES_DIFFER, INODES_SAME };

/* A property of the kernel: determined once, by any thread; all find the same. */
static bool do_inodes_differ(int pidfd)
{
    static _Atomic int known;
    struct statfs system;
    int is = atomic_load_explicit(&known, memory_order_relaxed);

    if (is == INODES_UNKNOWN && fstatfs(pidfd, &system) == 0) {
        is = system.f_type == PID_FS_MAGIC ? INODES_DIFFER : INODES_SAME;
        atomic_store_explicit(&known, is, memory_order_relaxed);
    }
    return is == INODES_DIFFER;
}

uint64_t brood__pidfd_inode(int pidfd)
{
    struct stat status;

    return do_inodes_differ(pidfd) && fstat(pidfd, &status) == 0 ? status.st_ino : 0;
}

int brood__pidfd_kill(int pidfd, int signal)
{
    pid_t pid = substitute_for(pidfd);

    if (pid)
        return kill_by_number(pidfd, pid, signal);
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

int brood__pidfd_number(int pidfd)
{
    char path[48], line[64];
    int pid = substitute_for(pidfd);
    FILE *file;

    if (pid)
        return is_reaped(pid, &(siginfo_t){0}) ? -1 : pid;
    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    file = fopen(path, "re");
    while (file && pid == 0 && fgets(line, sizeof(line), file))
        (void)sscanf(line, "Pid: %d", &pid);
    if (file)
        (void)fclose(file);
    return pid;
}

static int milliseconds_until(brood_deadline deadline)
{
    int64_t left;

    if (brood__is_forever(deadline))
        return -1;
    left = deadline.ns <= 0 ? 0 : deadline.ns - brood__now_ns();
    if (left <= 0)
        return 0;
    return left > 1000000000000 ? 1000000 : (int)((left + 999999) / 1000000);
}

int brood__pidfd_wait(int pidfd, brood_deadline deadline)
{
    struct pollfd watched = {.fd = pidfd, .events = POLLIN};
    pid_t pid = substitute_for(pidfd);

    if (pid)
        return wait_by_number(pid, deadline);
    for (;;) {
        int r = poll(&watched, 1, milliseconds_until(deadline));

        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
        if (brood__is_past(deadline))
            return -ETIMEDOUT;
    }
}

/* Between two checks whether it has stopped.  A process that can be stopped mostly has by the first one. */
#define STOP_LOOK_NS 20000

/* 1: it still runs. */
static int look_whether_stopped(int pidfd)
{
    siginfo_t info = {0};

    if (pidfd_waitid(pidfd, &info, WSTOPPED | WEXITED | WNOWAIT | WNOHANG, NULL) < 0)
        return -errno;
    if (info.si_pid == 0)
        return 1;
    return info.si_code == CLD_STOPPED ? 0 : -ESRCH;
}

/* Asks again each time, since any process's SIGCONT cancels the request.  Polls, since a wait for a report has no
 * deadline. */
int brood__pidfd_stop(int pidfd, brood_deadline deadline)
{
    const struct timespec pause = {.tv_nsec = STOP_LOOK_NS};

    for (;;) {
        int r = brood__pidfd_kill(pidfd, SIGSTOP);

        if (r == 0)
            r = look_whether_stopped(pidfd);
        if (r <= 0)
            return r;
        if (brood__is_past(deadline))
            return -ETIMEDOUT;
        (void)nanosleep(&pause, NULL);
    }
}

/* struct pidfd_info of linux/pidfd.h in its first version: 64 bytes, which is part of the request's number. */
struct info {
    uint64_t mask, cgroup;
    uint32_t numbers[11]; /* ids of process and users */
    int32_t exit_code;    /* in the format of waitpid() */
};
_Static_assert(sizeof(struct info) == 64, "the kernel's layout");

#define INFO_EXIT (1u << 3)
#define GET_INFO _IOWR(0xff, 11, struct info)

/* The kernel keeps how a process has ended as long as a pidfd of it exists. */
static int status_of_the_reaped(int pidfd, int *ret_status)
{
    struct info info = {.mask = INFO_EXIT};

    if (ioctl(pidfd, GET_INFO, &info) < 0 || !(info.mask & INFO_EXIT))
        return -ECHILD;
    *ret_status = WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -WTERMSIG(info.exit_code);
    return 0;
}

static void set_status(struct brood__ending *ending, int status)
{
    if (WIFEXITED(status))
        ending->exit_code = WEXITSTATUS(status);
    else
        ending->signal = WTERMSIG(status);
    ending->dumped_core = WIFSIGNALED(status) && WCOREDUMP(status);
}

/* Another process traces the dead one: a debugger, or another worker's task.  The kernel reports the end to the parent
 * only after the tracer has taken notice, which may be never.  So the supervisor does not reap it and reads the end from
 * the last field of /proc/PID/stat.  False: not even that is available. */
static bool traced_look_at(int pidfd, struct brood__ending *ret_ending)
{
    char path[32], line[1024];
    const char *last;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", brood__pidfd_number(pidfd));
    file = fopen(path, "re");
    last = file && fgets(line, sizeof(line), file) ? strrchr(line, ' ') : NULL;
    if (last)
        set_status(ret_ending, (int)strtol(last, NULL, 10));
    if (file)
        (void)fclose(file);
    return last != NULL;
}

static int status_of_the_traced(int pidfd, int *ret_status)
{
    struct brood__ending ending = {0};

    if (!traced_look_at(pidfd, &ending))
        return -ECHILD;
    *ret_status = ending.signal ? -ending.signal : ending.exit_code;
    return 0;
}

int brood__pidfd_status(int pidfd, int *ret_status)
{
    siginfo_t info = {0};

    if (brood__pidfd_wait(pidfd, BROOD_NOW) < 0)
        return -EAGAIN;
    while (pidfd_waitid(pidfd, &info, WEXITED | WNOHANG, NULL) < 0)
        if (errno != EINTR)
            return status_of_the_reaped(pidfd, ret_status);
    if (info.si_pid == 0)
        return status_of_the_traced(pidfd, ret_status);
    *ret_status = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return 0;
}

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

struct brood__ending brood__pidfd_reap(int pidfd)
{
    struct brood__ending ending = {0};
    struct rusage usage = {0};
    siginfo_t info = {0};

    (void)brood__pidfd_wait(pidfd, BROOD_FOREVER);
    while (pidfd_waitid(pidfd, &info, WEXITED | WNOHANG, &usage) < 0)
        if (errno != EINTR)
            return ending;
    if (info.si_pid == 0) {
        (void)traced_look_at(pidfd, &ending);
        return ending;
    }
    ending.dumped_core = info.si_code == CLD_DUMPED;
    ending.user_us = microseconds(usage.ru_utime);
    ending.system_us = microseconds(usage.ru_stime);
    ending.peak_rss_kib = usage.ru_maxrss;
    if (info.si_code == CLD_EXITED)
        ending.exit_code = info.si_status;
    else
        ending.signal = info.si_status;
    return ending;
}
