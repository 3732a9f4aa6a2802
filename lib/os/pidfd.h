/* pidfd.h - processes by descriptor: a process id may be somebody else's by the time it is used, a descriptor cannot.
 *
 * A readable pidfd is the death fence: no thread of that process can store to memory any more (its threads have left their
 * address space before the kernel reports the exit; linux/kernel/exit.c, fs/pidfs.c).
 */
#ifndef BROOD_OS_PIDFD_H
#define BROOD_OS_PIDFD_H

#include <stdbool.h>

#include <brood/base.h>
#include <sys/types.h>

/* A close-on-exec descriptor of the process, or a negative errno. */
int brood__pidfd_open(pid_t pid);

/* The process id that the descriptor stands for, as /proc shows it; -1 when it has been reaped; 0: /proc does not say, or
 * it is no pidfd. */
int brood__pidfd_number(int pidfd);

/* 0; -ESRCH when it is dead; -EBADF when it is no pidfd. */
int brood__pidfd_kill(int pidfd, int signal);

/* Waits until the process is dead: 0 or -ETIMEDOUT.  Does not reap it. */
int brood__pidfd_wait(int pidfd, brood_deadline deadline);

/* Stops a child, and returns when it stands still: 0; -ESRCH when it died instead; -ETIMEDOUT when it is in a sleep in the
 * kernel that only SIGKILL ends, such as the parent's in vfork(2), or somebody sends it SIGCONT all the time.  In such a
 * sleep it executes nothing of its own before it stops.  SIGCONT lets it go on, or takes the request back. */
int brood__pidfd_stop(int pidfd, brood_deadline deadline);

/* How a child ended, without waiting, and reaps it: 0 with its exit status, or minus the signal that killed it; -EAGAIN: it
 * runs; -ECHILD: somebody else has reaped it and this kernel forgets then (before 6.15), or it is no child. */
int brood__pidfd_status(int pidfd, int *ret_status);

/* How a process ended. */
struct brood__ending {
    int signal;    /* that killed it, or 0 */
    int exit_code; /* if it exited */
    bool dumped_core;
    int64_t user_us, system_us; /* of CPU time */
    int64_t peak_rss_kib;
    bool is_left; /* it was not reaped: somebody traces it */
};

/* Reaps a child.  Waits for it to die, and for nothing else: one that somebody traces is left for the tracer to reap, and
 * the ending has no times.  If somebody else has reaped it, or the program ignores SIGCHLD, it is just as dead, and the
 * ending reads all zero. */
struct brood__ending brood__pidfd_reap(int pidfd);

#endif
