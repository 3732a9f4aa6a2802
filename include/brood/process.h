/* brood/process.h - child processes: a function in a copy of this process, or an executable.
 *
 *     struct brood_process *process;
 *     int status, r = brood_process_start(&process, BROOD_PROCESS(.run = integrate, .context = &span));
 *     if (r == 0)
 *         r = brood_process_join(process, BROOD_FOREVER);
 *     if (r == 0)
 *         r = brood_process_status(process, &status);          // 0 … 255, or -SIGKILL and the like
 *     brood_process_close(process);
 *
 * The function runs in a fork of this process: with its memory as it was, copy-on-write, its descriptors and the calling
 * thread only.  Signal handlers are reset and no signal is blocked, or brood_process_terminate() would run the program's
 * handler in a copy that it is not meant for; what was ignored stays so, but SIGCHLD.  What the function returns, 0 … 255,
 * is the exit status.  A negative errno is a failure: brood calls the failure hook, which by default writes a line to
 * standard error, and the exit status is 1.
 *
 * Standard I/O.  What is in the buffers of stdout and other streams is written before the fork, and what the child has in
 * them at its end is written then: nothing is lost or written twice.
 *
 * The child's end.  A return from the function, and exit(), wait for the child's threads that are not daemons, run the
 * exit handlers that were registered in the child, and none that it inherited.
 *
 * This program's exit.  When it returns from main() or calls exit(), children that are daemons get SIGTERM and, a second
 * later, SIGKILL; all others are waited for.  For that brood registers an exit handler, when the first child is started and
 * not before.  However else this program ends, the kernel kills the daemons, and the others run on.
 *
 * Signals.  brood uses neither SIGCHLD nor waitpid(-1), and other code may; but if other code reaps a child, or
 * SIGCHLD is ignored, its status is lost on kernels before 6.15.
 *
 * Descriptors.  A handle holds one, and a daemon's another one.  A program that closes them, as closefrom(3) does, kills
 * its daemons by that, and does not hear any more how its children end.
 *
 * Threads.  If this process has several, a lock that another thread holds at the fork is held in the child for ever.  What
 * the function calls should be as for a signal handler, then, or in an executable: `.program` is always safe.
 *
 * Callers: any thread of the process that started the child.  In a process forked from that one, calls get -EPERM.
 */
#ifndef BROOD_PROCESS_H
#define BROOD_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include <brood/base.h>
#include <brood/thread.h>

BROOD_BEGIN

struct brood_process;

/* Every zero means the default.  BROOD_PROCESS(...) fills in `size`. */
struct brood_process_options {
    size_t size;               /* sizeof(struct brood_process_options): lets the struct grow */
    int (*run)(void *context); /* this, or `program` */
    void *context;
    /* An executable, looked up in PATH if it has no slash.  `arguments`, if not NULL, follow its name, and end with NULL.
     */
    const char *program;
    const char *const *arguments;
    const char *name; /* at most 63 bytes count; NULL: "Process-1", "Process-2" …; its children "Process-2:1" … */
    int daemon;       /* does it die with this process?  0: as this process is; more: yes; less: no */
    /* A function has every descriptor of this process, an executable those without close-on-exec.  With `close_fds`
     * neither has any above 2, but for the `pass_fds_count` in `pass_fds`, which an executable gets in any case. */
    bool close_fds;
    const int *pass_fds;
    size_t pass_fds_count;
};

#ifndef __cplusplus
#define BROOD_PROCESS(...) (&(struct brood_process_options){.size = sizeof(struct brood_process_options), __VA_ARGS__})
#endif

/* Starts a child.  `options` is read before this returns.  0; -EINVAL: bad options; -ENOENT, -EACCES …: the executable;
 * -EAGAIN: no more processes; -EMFILE: no more descriptors; -ENOMEM.  After a failure there is no child. */
BROOD_API BROOD_MUST_USE int brood_process_start(struct brood_process **ret_process,
                                                 const struct brood_process_options *options);

/* Gives the handle back.  0; -EBUSY: it runs, and the handle is still good.  NULL is fine; and so are, without effect,
 * brood_process_current() and brood_process_parent().  In a process that was forked since, which has a copy of the handle
 * and no part in the child, 0 also while it runs: that gives back the copy, and changes nothing for the parent. */
BROOD_API int brood_process_close(struct brood_process *process);

/* Waits until the process has ended.  0; -EAGAIN: BROOD_NOW, and it runs; -ETIMEDOUT; -EDEADLK: a process cannot join
 * itself; -EPERM: started by another process.  Any number of threads may join one, and join it again. */
BROOD_API int brood_process_join(struct brood_process *process, brood_deadline deadline);

/* How it ended: its exit status, 0 … 255, or minus the signal that killed it.  0; -EINPROGRESS: it runs; -ECHILD: other
 * code has reaped it and the kernel has no record left, or it is no child of this process; -EPERM. */
BROOD_API BROOD_MUST_USE int brood_process_status(struct brood_process *process, int *ret_status);

/* 1: it runs; 0: it has ended; -EPERM. */
BROOD_API int brood_process_is_alive(struct brood_process *process);

/* 1: it dies with the process that started it. */
BROOD_API int brood_process_is_daemon(const struct brood_process *process);

/* Sends the signal: SIGTERM, SIGKILL, SIGINT, or any.  0; -ESRCH: it has ended; -EINVAL: no such signal; -EPERM: no child
 * of this process. */
BROOD_API int brood_process_terminate(struct brood_process *process);
BROOD_API int brood_process_kill(struct brood_process *process);
BROOD_API int brood_process_interrupt(struct brood_process *process);
BROOD_API int brood_process_signal(struct brood_process *process, int signal);

/* Its number, which may be another process's once this one has ended and its end is known. */
BROOD_API pid_t brood_process_pid(const struct brood_process *process);

/* A descriptor that is readable when the process has ended, for brood_wait(), poll() and the like: the handle's own, not to
 * be closed. Or -EPERM; or -EINVAL: the process itself has none. */
BROOD_API int brood_process_sentinel(const struct brood_process *process);

/* Its name: the text stays as it is until the handle is closed, or the name has been set eight more times.  A new name is
 * known in this process only, and, if it is this process's own, to the children that it then starts: 0; -EINVAL: no name.
 */
BROOD_API const char *brood_process_name(const struct brood_process *process);
BROOD_API int brood_process_set_name(struct brood_process *process, const char *name);

/* The calling process: borrowed.  "MainProcess", if brood did not start it. */
BROOD_API struct brood_process *brood_process_current(void);

/* The process that started this one, to be asked whether it is alive and joined: borrowed.  NULL if brood did not start
 * this one, or started it as an executable. */
BROOD_API struct brood_process *brood_process_parent(void);

/* Fills in the handles of the children that run, and reaps those that do not.  Returns how many there are, which may be
 * more than `room`; each handle filled in is to be closed by brood_process_release(). */
BROOD_API int brood_process_children(struct brood_process **ret_processes, size_t room);

/* Gives a handle back, also of a process that runs, which then runs on.  NULL is fine. */
BROOD_API void brood_process_release(struct brood_process *process);

/* Calls `hook` in each child whose function fails, in place of writing a line to standard error.  NULL: the line again.  A
 * hook that returns a negative errno has failed itself, and both failures are written.  For children started from now on.
 */
BROOD_API void brood_process_set_failure_hook(int (*hook)(const struct brood_failure *failure, void *context),
                                              void *context);

/* For brood_auto(process): leaving the scope does what the program's exit does, it kills a daemon and waits for another. */
static inline void brood_process_closep(struct brood_process **process)
{
    if (*process && brood_process_is_daemon(*process) == 1)
        (void)brood_process_kill(*process);
    if (*process)
        (void)brood_process_join(*process, BROOD_FOREVER);
    brood_process_release(*process);
}

BROOD_END

#endif
