/* pidfd.h - processes by descriptor: the kernel may reuse a process id before it is used, but not a descriptor.
 *
 * A readable pidfd is the death fence: no thread of that process can store to memory any more (its threads have left
 * their address space before the kernel reports the exit; linux/kernel/exit.c, fs/pidfs.c).
 */
#ifndef BROOD_OS_PIDFD_H
#define BROOD_OS_PIDFD_H

#include <stdbool.h>

#include <brood/base.h>
#include <sys/types.h>

/* A close-on-exec descriptor of the process, or a negative errno. */
int brood__pidfd_open(pid_t pid);

/* The same for this process, its parent or a child, and also without pidfd_open (valgrind 3.19, a filter).  Then it is a
 * descriptor that becomes readable every 5 ms, which is time to check, and stays so when the process is dead.  The
 * functions below accept either kind.  For this kind they check by process id: a child's cannot be reused as long as no
 * other code reaps it, and the parent's is compared with getppid().  A forked child may go on using it for its parent. */
int brood__pidfd_watch(pid_t pid);

/* A second descriptor of the same process, close-on-exec, or a negative errno. */
int brood__pidfd_copy(int pidfd);

/* For a readable descriptor: is the process dead?  True of every pidfd. */
bool brood__pidfd_has_ended(int pidfd);

/* A close-on-exec descriptor of a thread, of any process, or a negative errno: -EINVAL before Linux 6.9. */
int brood__pidfd_open_thread(pid_t tid);

/* The number that the kernel gives to the process, or thread, and never reuses; 0 before Linux 6.9. */
uint64_t brood__pidfd_inode(int pidfd);

/* The process id of the descriptor, as /proc shows it; -1 when the process has been reaped; 0: /proc does not say, or it
 * is no pidfd. */
int brood__pidfd_number(int pidfd);

/* Returns 0; -ESRCH when it is dead; -EBADF when it is no pidfd. */
int brood__pidfd_kill(int pidfd, int signal);

/* Waits until the process is dead: 0 or -ETIMEDOUT.  Does not reap it. */
int brood__pidfd_wait(int pidfd, brood_deadline deadline);

/* Stops a child and returns when it has stopped: 0; -ESRCH when it has died instead; -ETIMEDOUT when it is in a sleep in
 * the kernel that only SIGKILL ends, such as the parent's in vfork(2), or another process keeps sending SIGCONT.  In
 * such a sleep it executes nothing of its own before it stops.  SIGCONT lets it continue, or cancels the request. */
int brood__pidfd_stop(int pidfd, brood_deadline deadline);

/* Reports without waiting how a child has ended, and reaps it: 0 with its exit status, or minus the signal that killed
 * it; -EAGAIN: it runs; -ECHILD: other code has reaped it and this kernel has forgotten the status (before 6.15), or it
 * is no child. */
int brood__pidfd_status(int pidfd, int *ret_status);

/* How a process has ended. */
struct brood__ending {
    int signal;    /* that has killed it, or 0 */
    int exit_code; /* if it has exited */
    bool dumped_core;
    int64_t user_us, system_us; /* of CPU time */
    int64_t peak_rss_kib;
};

/* Reaps a child.  Waits for its death and for nothing else: a traced child is left for its tracer to reap, and the
 * ending has no times.  If other code has reaped it, or the program ignores SIGCHLD, it is dead too, and the ending is
 * all zero. */
struct brood__ending brood__pidfd_reap(int pidfd);

#endif
