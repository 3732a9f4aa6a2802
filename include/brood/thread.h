/* brood/thread.h - threads with a result, a name, and a join that takes a deadline.  The verbs are those of
 * brood/process.h.
 *
 *     struct brood_thread *thread;
 *     int r = brood_thread_start(&thread, BROOD_THREAD(.run = integrate, .context = &span));
 *     if (r == 0)
 *         r = brood_thread_join(thread, BROOD_FOREVER);
 *     brood_thread_free(thread);
 *
 * Failure.  A function that returns a negative errno has failed, with the error text of brood_fail(): brood calls the
 * failure hook, which by default writes a line to standard error.  Zero or more is a result like any other.
 *
 * Exit.  When the program returns from main() or calls exit(), it waits for its threads that are not daemons, but not for
 * the one that calls exit().  For that brood registers an exit handler, when the first such thread is started and not
 * before.  _exit() and death by a signal do not wait.
 *
 * Fork.  A child has the forking thread only, which is its main thread: all others are not alive there, and joining them
 * returns at once.
 *
 * Callers: any thread may ask about any thread whose handle it has.  A handle is good until it is freed, whatever became of
 * the thread.
 */
#ifndef BROOD_THREAD_H
#define BROOD_THREAD_H

#include <sys/types.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_thread;

/* Every zero means the default.  BROOD_THREAD(...) fills in `size`. */
struct brood_thread_options {
    size_t size; /* sizeof(struct brood_thread_options): lets the struct grow */
    int (*run)(void *context);
    void *context;
    size_t context_bytes; /* not 0: so many bytes at `context` are copied, and `run` gets its own copy */
    const char *name;     /* at most 63 bytes count, 15 in ps and top; NULL: "Thread-1", "Thread-2" … */
    int daemon;           /* 0: as the caller's thread is; more: yes; less: no */
    size_t stack_bytes;   /* 0: the system's default */
};

#ifndef __cplusplus
#define BROOD_THREAD(...) (&(struct brood_thread_options){.size = sizeof(struct brood_thread_options), __VA_ARGS__})
#endif

/* Starts a thread.  `options` is copied.  0; -EINVAL: bad options; -EAGAIN: no more threads; -ENOMEM.  After a failure
 * nothing runs. */
BROOD_API BROOD_MUST_USE int brood_thread_start(struct brood_thread **ret_thread,
                                                const struct brood_thread_options *options);

/* Gives the handle back: NULL is fine, and so is a thread that runs, which then runs on. */
BROOD_API void brood_thread_free(struct brood_thread *thread);

/* Waits until the thread has ended.  0; -EAGAIN: BROOD_NOW, and it runs; -ETIMEDOUT; -EDEADLK: a thread cannot join itself;
 * -EINVAL: not started by brood_thread_start().  Any number of threads may join one, and join it again. */
BROOD_API int brood_thread_join(struct brood_thread *thread, brood_deadline deadline);

/* What its function returned, or gave brood_thread_exit(); -ECANCELED if it left by pthread_exit() or was cancelled.  0;
 * -EINPROGRESS: it runs; -ESTALE: it ran in the process that forked this one. */
BROOD_API BROOD_MUST_USE int brood_thread_result(const struct brood_thread *thread, int *ret_result);

/* 1: its function has not returned; 0: it has. */
BROOD_API int brood_thread_is_alive(const struct brood_thread *thread);

/* A descriptor that is readable when the thread has ended, for brood_wait(), poll() and the like: made by the first call,
 * closed when the last handle of the thread is freed, and not to be read or closed by others.  A forked child asks again.
 * Or -EINVAL: not started by brood_thread_start(); -EMFILE, -ENFILE, -ENOMEM. */
BROOD_API int brood_thread_sentinel(struct brood_thread *thread);

/* 1: the program's exit does not wait for it. */
BROOD_API int brood_thread_is_daemon(const struct brood_thread *thread);

/* Its name: the text stays as it is until the handle is freed, or the name has been set eight more times.  A thread may be
 * named anew at any time: 0; -EINVAL: no name. */
BROOD_API const char *brood_thread_name(const struct brood_thread *thread);
BROOD_API int brood_thread_set_name(struct brood_thread *thread, const char *name);

/* The number by which the kernel knows it, as in ps and top.  It may be another thread's once this one has ended.
 * In a forked child, 0 for a thread of the parent that had not stored its number yet. */
BROOD_API pid_t brood_thread_native_id(const struct brood_thread *thread);

/* The calling thread: borrowed, good while it runs.  A thread that brood did not start has a handle, too; it is a daemon
 * and cannot be joined.  NULL: out of memory. */
BROOD_API struct brood_thread *brood_thread_current(void);

/* The main thread of this process: borrowed. */
BROOD_API struct brood_thread *brood_thread_main(void);

/* Fills in the handles of the threads that are alive: those started here, the main thread, and others that have asked for
 * brood_thread_current().  Returns how many there are, which may be more than `room`; each handle filled in is to be freed.
 */
BROOD_API int brood_thread_enumerate(struct brood_thread **ret_threads, size_t room);

/* How many these are. */
BROOD_API int brood_thread_count(void);

/* Ends the calling thread as a return from its function would, but says nothing of a failure. */
BROOD_API void brood_thread_exit(int result) __attribute__((noreturn));

/* A failure, for the hook: all of it borrowed for the time of the call. */
struct brood_failure {
    const char *name;  /* of the thread or process */
    int error;         /* the negative errno that its function returned */
    const char *words; /* the error text of brood_fail(), or "" */
};

/* Calls `hook` in each thread whose function fails, in place of writing a line to standard error.  NULL: the line again.  A
 * hook that returns a negative errno has failed itself, and both failures are written. */
BROOD_API void brood_thread_set_failure_hook(int (*hook)(const struct brood_failure *failure, void *context),
                                             void *context);

/* For brood_auto(thread): leaving the scope does what the program's exit does, it waits for a thread that is not a daemon.
 */
static inline void brood_thread_closep(struct brood_thread **thread)
{
    if (*thread && brood_thread_is_daemon(*thread) == 0)
        (void)brood_thread_join(*thread, BROOD_FOREVER);
    brood_thread_free(*thread);
}

BROOD_END

#endif
