#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/pidfd.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int brood__pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : (int)fd;
}

int brood__pidfd_kill(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

int brood__pidfd_number(int pidfd)
{
    char path[48], line[64];
    int pid = 0;
    FILE *file;

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

/* Between two looks whether it stands still.  A process that can be stopped mostly is by the first. */
#define STOP_LOOK_NS 20000

/* 1: it still runs. */
static int look_whether_stopped(int pidfd)
{
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)pidfd, &info, WSTOPPED | WEXITED | WNOWAIT | WNOHANG) < 0)
        return -errno;
    if (info.si_pid == 0)
        return 1;
    return info.si_code == CLD_STOPPED ? 0 : -ESRCH;
}

/* Asked again each time, since anybody's SIGCONT takes it back.  It looks, since a wait for a report has no deadline. */
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

/* struct pidfd_info of linux/pidfd.h, as it was first: 64 bytes, which is part of the request's number. */
struct info {
    uint64_t mask, cgroup;
    uint32_t numbers[11]; /* of process and users */
    int32_t exit_code;    /* as waitpid() has it */
};
_Static_assert(sizeof(struct info) == 64, "the kernel's layout");

#define INFO_EXIT (1u << 3)
#define GET_INFO _IOWR(0xff, 11, struct info)

/* The kernel keeps how a process ended as long as somebody has a pidfd of it. */
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

/* Somebody else traces the dead: a debugger, or another worker's task.  The kernel tells its parent nothing until the
 * tracer has taken note, which may be never, or by being killed itself.  So it is not reaped here, and what /proc says of
 * it, in the last field, has to do.  False: not even that. */
static bool look_at_the_traced(int pidfd, struct brood__ending *ret_ending)
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

    if (!look_at_the_traced(pidfd, &ending))
        return -ECHILD;
    *ret_status = ending.signal ? -ending.signal : ending.exit_code;
    return 0;
}

int brood__pidfd_status(int pidfd, int *ret_status)
{
    siginfo_t info = {0};

    if (brood__pidfd_wait(pidfd, BROOD_NOW) < 0)
        return -EAGAIN;
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
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
    while (syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG, &usage) < 0) /* the C library's has no rusage */
        if (errno != EINTR)
            return ending;
    if (info.si_pid == 0) {
        ending.is_left = true;
        (void)look_at_the_traced(pidfd, &ending);
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
