/* uncancelled.h - pthread_cancel(3) has no effect inside the library.
 *
 * A thread that is cancelled in the middle of a call would leave a lock taken, a pool entered or a message half sent,
 * for all other threads.  The functions of the C library where that could happen, its cancellation points, are these;
 * every source of the library is compiled with this header before it (lib/CMakeLists.txt), and calls them with
 * cancellation disabled, so that no public function is a cancellation point.  (Futex waits use syscall(2), which is
 * none.)  The price is two short stores beside a system call.  tests/uncancelled.sh looks for other cancellation points
 * that come into use.
 *
 * Functions of the program run in the same way: BROOD__UNCANCELLED(call), or between brood__cancel_off() and
 * brood__cancel_back().
 */
#ifndef BROOD_OS_UNCANCELLED_H
#define BROOD_OS_UNCANCELLED_H

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Returns what brood__cancel_back() needs.  Both leave errno alone. */
static inline int brood__cancel_off(void)
{
    int before;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void brood__cancel_back(int before)
{
    (void)pthread_setcancelstate(before, &before);
}

#define BROOD__UNCANCELLED(call)                  \
    __extension__({                               \
        int cancel_before_ = brood__cancel_off(); \
        __auto_type cancel_result_ = (call);      \
        brood__cancel_back(cancel_before_);       \
        cancel_result_;                           \
    })

/* A child is a copy of the thread that forks, with its pending cancellation: there it stays disabled, or the child would
 * end, with status 0, at its first cancellation point. */
static inline pid_t brood__fork_uncancelled(void)
{
    int before = brood__cancel_off();
    pid_t pid = fork();

    if (pid != 0)
        brood__cancel_back(before);
    return pid;
}

#define fork() brood__fork_uncancelled()

#define close(...) BROOD__UNCANCELLED(close(__VA_ARGS__))
#define closedir(...) BROOD__UNCANCELLED(closedir(__VA_ARGS__))
#define dprintf(...) BROOD__UNCANCELLED(dprintf(__VA_ARGS__))
#define epoll_wait(...) BROOD__UNCANCELLED(epoll_wait(__VA_ARGS__))
#define eventfd_read(...) BROOD__UNCANCELLED(eventfd_read(__VA_ARGS__))
#define eventfd_write(...) BROOD__UNCANCELLED(eventfd_write(__VA_ARGS__))
#define fallocate(...) BROOD__UNCANCELLED(fallocate(__VA_ARGS__))
#define fclose(...) BROOD__UNCANCELLED(fclose(__VA_ARGS__))
#define fcntl(...) BROOD__UNCANCELLED(fcntl(__VA_ARGS__))
#define fflush(...) BROOD__UNCANCELLED(fflush(__VA_ARGS__))
#define fgets(...) BROOD__UNCANCELLED(fgets(__VA_ARGS__))
#define flock(...) BROOD__UNCANCELLED(flock(__VA_ARGS__))
#define fopen(...) BROOD__UNCANCELLED(fopen(__VA_ARGS__))
#define fprintf(...) BROOD__UNCANCELLED(fprintf(__VA_ARGS__))
#define fputs(...) BROOD__UNCANCELLED(fputs(__VA_ARGS__))
#define getline(...) BROOD__UNCANCELLED(getline(__VA_ARGS__))
#define getrandom(...) BROOD__UNCANCELLED(getrandom(__VA_ARGS__))
#define nanosleep(...) BROOD__UNCANCELLED(nanosleep(__VA_ARGS__))
#define open(...) BROOD__UNCANCELLED(open(__VA_ARGS__))
#define openat(...) BROOD__UNCANCELLED(openat(__VA_ARGS__))
#define opendir(...) BROOD__UNCANCELLED(opendir(__VA_ARGS__))
#define pause(...) BROOD__UNCANCELLED(pause(__VA_ARGS__))
#define poll(...) BROOD__UNCANCELLED(poll(__VA_ARGS__))
#define posix_fallocate(...) BROOD__UNCANCELLED(posix_fallocate(__VA_ARGS__))
#define ppoll(...) BROOD__UNCANCELLED(ppoll(__VA_ARGS__))
#define pread(...) BROOD__UNCANCELLED(pread(__VA_ARGS__))
#define preadv2(...) BROOD__UNCANCELLED(preadv2(__VA_ARGS__))
#define pthread_join(...) BROOD__UNCANCELLED(pthread_join(__VA_ARGS__))
#define pwritev2(...) BROOD__UNCANCELLED(pwritev2(__VA_ARGS__))
#define read(...) BROOD__UNCANCELLED(read(__VA_ARGS__))
#define readdir(...) BROOD__UNCANCELLED(readdir(__VA_ARGS__))
#define recv(...) BROOD__UNCANCELLED(recv(__VA_ARGS__))
#define recvmsg(...) BROOD__UNCANCELLED(recvmsg(__VA_ARGS__))
#define send(...) BROOD__UNCANCELLED(send(__VA_ARGS__))
#define sendmsg(...) BROOD__UNCANCELLED(sendmsg(__VA_ARGS__))
#define sigtimedwait(...) BROOD__UNCANCELLED(sigtimedwait(__VA_ARGS__))
#define waitid(...) BROOD__UNCANCELLED(waitid(__VA_ARGS__))
#define waitpid(...) BROOD__UNCANCELLED(waitpid(__VA_ARGS__))
#define write(...) BROOD__UNCANCELLED(write(__VA_ARGS__))
#define writev(...) BROOD__UNCANCELLED(writev(__VA_ARGS__))

#endif
