#include <errno.h>
#include <poll.h>
#include <signal.h>
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

struct brood__ending brood__pidfd_reap(int pidfd)
{
    struct brood__ending ending = {0};
    siginfo_t info = {0};

    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
        if (errno != EINTR)
            return ending;
    if (info.si_code == CLD_EXITED)
        ending.exit_code = info.si_status;
    else
        ending.signal = info.si_status;
    return ending;
}
