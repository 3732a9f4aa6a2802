/* brood/future.h - a future: the host's handle on work that was handed to a pool.
 *
 *     brood_auto(future) *area = NULL;
 *     r = brood_apply_async(pool, integrate, &area, &span);
 *     r = brood_future_wait(area, brood_after_ms(250));         // about the waiting: 0, or -ETIMEDOUT and wait again
 *     r = brood_future_result(area, &y, sizeof(y));             // about the work: its outcome
 *
 * Waiting and outcome are two calls, because a wait that timed out says nothing about the work.  A future has exactly one
 * outcome, which never changes, and which may be asked for again:
 *
 *     0               it ran and succeeded                -EOWNERDEAD  its worker died while running it
 *     other negative  what the task returned              -ECANCELED   it was cancelled and never started, or killed
 *     -EMSGSIZE       its result is larger than promised  -ESHUTDOWN   the pool closed, or broke, first
 *     -ENOSPC         there is no memory for its result (of any size); -ENOMEM: nor in the host, to receive it;
 *                     -EIO: a task, or the initializer, had closed the descriptor for it
 *     -ENOENT         the worker does not know the task   -ETIMEDOUT   killed at its own deadline
 *
 * Threads: any number of threads may wait for, ask and cancel one future at once.  brood_future_free() must be the last
 * call.  A future may outlive its pool.  All of this is for the process that made the future; a fork()ed child gets -EPERM.
 * A future that is NULL, since its submission was refused, is -EINVAL.
 */
#ifndef BROOD_FUTURE_H
#define BROOD_FUTURE_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_future;

/* Waits until the outcome is there: 0; -ETIMEDOUT; -EAGAIN: not yet, and the deadline was BROOD_NOW; -EDEADLK: in a task
 * that waits for itself.  Returns also when the worker, the supervisor or the pool dies, since that is an outcome. */
BROOD_API BROOD_MUST_USE int brood_future_wait(struct brood_future *future, brood_deadline deadline);

/* The outcome, as listed above; never blocks.  -EINPROGRESS before there is one.  On success copies the result to
 * `ret_result`, which has room for `size` bytes; -EMSGSIZE if that is too little (see brood_future_size; nothing is lost),
 * -EINVAL if it is NULL.
 * For a map: the error of the first failing item, in order of the items; results are in the caller's array already. */
BROOD_API BROOD_MUST_USE int brood_future_result(struct brood_future *future, void *ret_result, size_t size);

/* The same without a copy: where the result lies, as long as the future lives; aligned for any type.  Of a map: no bytes.
 */
BROOD_API BROOD_MUST_USE int brood_future_bytes(struct brood_future *future, struct brood_bytes *ret_bytes);

/* What a task that failed had put into its reply: an error of any size, with its traceback, say.  Only a task over bytes
 * has one (BROOD_TASK_BYTES, see brood/task.h).  *ret_bytes lies there as long as the future lives; aligned for any type.
 * 0; -ENODATA: it succeeded, or there is no reply, since its worker died, or it did not fit; -EINPROGRESS.  Never blocks.
 */
BROOD_API BROOD_MUST_USE int brood_future_error_bytes(struct brood_future *future, struct brood_bytes *ret_bytes);

/* Bytes in the result of a task that succeeded, else 0. */
BROOD_API size_t brood_future_size(const struct brood_future *future);

/* The outcome of one item of a map; -EINPROGRESS before the map is done; -ERANGE if it has no such item.
 * Of a single task, item 0 is its outcome. */
BROOD_API BROOD_MUST_USE int brood_future_item(struct brood_future *future, size_t item);

/* Why it failed, in words: those of brood_fail(), or what killed the worker.  "" on success and before the outcome.  For a
 * map, about the first failing item.  The text lives as long as the future. */
BROOD_API const char *brood_future_error(const struct brood_future *future);

enum brood_cause {
    BROOD_DIED,          /* of the task, or of another process's signal: -EOWNERDEAD */
    BROOD_TIMED_OUT,     /* however it died, the task had had its time: -ETIMEDOUT */
    BROOD_KILLED,        /* by brood_future_kill(): -ECANCELED */
    BROOD_TIMED_OUT_CPU, /* the same as BROOD_TIMED_OUT, of its CPU time (`.limit_cpu_ms`): -ETIMEDOUT */
};

/* What is known about a worker's death.  The texts live as long as the future. */
struct brood_death {
    int32_t pid;       /* of the worker */
    int32_t worker;    /* its number in the pool */
    int32_t signal;    /* that killed it, or 0 */
    int32_t exit_code; /* if it exited by itself, else 0 */
    uint64_t item;     /* the item of the map that it was running, else 0 */
    enum brood_cause cause;
    uint32_t attempt;       /* to run the task: 1 is the first (see `.retries`) */
    int64_t user_us;        /* CPU time of the worker's whole life … */
    int64_t system_us;      /* … and the kernel's, for it */
    int64_t peak_rss_kib;   /* of memory that it had */
    bool dumped_core;       /* see core(5) */
    bool out_of_memory;     /* of SIGKILL, when the kernel's OOM killer has killed a process since the last such death */
    int32_t fault_code;     /* a fault's si_code, see sigaction(2), else 0 */
    uint64_t fault_address; /* what it touched, or where it was */
    const char *task;       /* its name */
    const char *backtrace;  /* where it was when it faulted or had had its time: a line a frame, with names; or "" */
    const char *output; /* what the task had printed, the last 4095 bytes of it; "" without .output of the pool's options */
};

/* After -EOWNERDEAD, and after -ETIMEDOUT and -ECANCELED of a task that was killed: which worker died, and how.  0;
 * -ENODATA when this outcome is not a death.  For a map: the death that took the first item lost so. */
BROOD_API BROOD_MUST_USE int brood_future_death(const struct brood_future *future, struct brood_death *ret_death);

/* All workers that died of one item of a map, or of a single task, which is item 0: a task that is tried again may cost
 * several, and still succeed.  How many there were; of these, at most `count`, *ret_deaths tells, the first attempt first.
 * 0: it cost none.  -EINPROGRESS before the outcome.
 *
 * Quarantine.  A task, or an item, that has killed as many workers as it may, `.retries` + 1, is not run again: its
 * outcome is the last death, all of them stand here, and nothing else of its map or its pool is concerned.  A future keeps
 * a thousand deaths: of a map those of the items that come first, of an item the last ones. */
BROOD_API BROOD_MUST_USE int brood_future_deaths(const struct brood_future *future, size_t item,
                                                 struct brood_death *ret_deaths, size_t count);

/* Asks that the work does not start.  0: it never ran and never will, its outcome is -ECANCELED (also when asked again);
 * -EBUSY: it is running or done.  A map loses the items that have not started; 0 only if none had. */
BROOD_API int brood_future_cancel(struct brood_future *future);

/* Like cancel, and if the work is running already, kills the worker that runs it, or of a map all workers that run an item
 * of it; what they ran fails with -ECANCELED.  0: it has not started and never will, or the kill is on its way: wait for
 * the outcome, which is what the task returned if it was quicker.  -EBUSY: it is done; -ENOTSUP: it is running in a thread,
 * which has only been asked to stop (brood_cancelled()); -EAGAIN: too many kills at once: of a map, some of them may be on
 * their way, and to ask again asks for those that still run. */
BROOD_API int brood_future_kill(struct brood_future *future);

/* Is the outcome there?  Is the work in a worker's hands?  Neither blocks; both are hints the moment they return. */
BROOD_API bool brood_future_done(struct brood_future *future);
BROOD_API bool brood_future_running(struct brood_future *future);

/* Had the task, when it returned, exceeded a limit of its own (`.limit_ms`, `.limit_cpu_ms`)?  So a success within the
 * grace can be told from one in time.  False before the outcome, of a task that was killed, and of a map.  Never blocks. */
BROOD_API bool brood_future_is_late(const struct brood_future *future);

enum brood_future_state {
    BROOD_FUTURE_PENDING,        /* no worker has begun it */
    BROOD_FUTURE_RUNNING,        /* a worker, or the producer of a promise, has begun it */
    BROOD_FUTURE_CANCELLED,      /* a promise is cancelled, and its producer does not know yet */
    BROOD_FUTURE_CANCELLED_TOLD, /* it never ran and never will, and the producer knows */
    BROOD_FUTURE_DONE,           /* it succeeded */
    BROOD_FUTURE_FAILED,         /* its outcome is an error of its own, or it was dropped when the pool closed or broke */
    BROOD_FUTURE_WORKER_LOST,    /* its worker died, or was killed: brood_future_death() */
};

/* All of that in one word.  As the hints above, until one of the last four. */
BROOD_API enum brood_future_state brood_future_state(struct brood_future *future);

/* ---- being told ---- */

/* What brood_future_on_done() calls: with a future that is done. */
typedef void brood_done(struct brood_future *future, void *context);

/* Calls function(future, context) once, when the future is done: it succeeded, failed, was cancelled or lost.  Of a map,
 * when all of it is.  Several are called in the order in which they were added.  When it is done already, and its earlier
 * callbacks have been called: at once, in the caller.  0; -ENOMEM; -EINVAL; -EPERM.
 *
 * Where callbacks run.  Those of a pool's futures: in any thread that waits in the pool, for whatever, or calls
 * brood_pool_run(), or closes the pool; never inside a submission.  With the pool's option `.callbacks =
 * BROOD_CALLBACK_THREAD` in one thread, which that starts, and nowhere else before the pool closes.  Those of a promise:
 * in the thread that completes or cancels it.  A wait for a future returns when the callbacks of the future have been
 * called, unless another thread does that.  No lock is held meanwhile, and one thread at a time calls the callbacks of a
 * pool, so one that takes long delays the other callbacks, but no work and no results.
 *
 * Callbacks within callbacks.  A callback may add one to a future that is done, which is called at once, and so on, sixteen
 * deep.  So that no chain uses up the stack, the next one is only due then: of a pool's future it is called as those are
 * whose future was not done yet, of a promise by the same thread when it has left the outermost callback.
 *
 * A callback may do all that the caller of brood_pool_run() may, submit tasks among that, but not close the pool
 * (-EDEADLK); one that is called at once, because the future was done, may do that, too, since no thread waits for it.  It may
 * free its future.  It returns: brood/base.h says what is forbidden, and that it cannot be cancelled.  A future that was
 * freed before still calls its callbacks, and is given back after the last. */
BROOD_API BROOD_MUST_USE int brood_future_on_done(struct brood_future *future, brood_done *function, void *context);

/* A descriptor that poll(2) finds readable when the future is done; made by the first call, with a thread that attends to
 * the future's pool (see brood_pool_fd).  It is the future's: only poll it.  The descriptor; -EMFILE …; -ESHUTDOWN; -EPERM.
 */
BROOD_API BROOD_MUST_USE int brood_future_fd(struct brood_future *future);

/* ---- many futures ---- */

enum brood_until { BROOD_ALL_COMPLETED, BROOD_FIRST_COMPLETED, BROOD_FIRST_EXCEPTION };

/* Waits for `n` futures of any pools, and promises, until all are done, or one is, or one has failed (all being done is as
 * good).  A cancelled one is done and has not failed; a promise that was cancelled is done when its maker knows.  One that
 * occurs twice counts once.  How many of them are done; -ETIMEDOUT; -EAGAIN: the same of BROOD_NOW; -ENOMEM; -EPERM.  Then,
 * and on time-outs too, `ret_done`, if not NULL, has n flags that say which. */
BROOD_API BROOD_MUST_USE int brood_futures_wait(struct brood_future *const *futures, size_t n, enum brood_until until,
                                                bool *ret_done, brood_deadline deadline);

/* Gives each of several futures once, in the order in which they complete. */
struct brood_as_completed;

/* Over `n` futures of any pools, and promises; those that are done already come first.  0; -ENOMEM; -EPERM.  A future that
 * has not been given yet may not be freed before the iterator is closed. */
BROOD_API BROOD_MUST_USE int brood_as_completed_open(struct brood_as_completed **ret_iterator,
                                                     struct brood_future *const *futures, size_t n);

/* The next that is done, after waiting for it.  0; -ENODATA: all have been given; -ETIMEDOUT or, of BROOD_NOW, -EAGAIN: ask
 * again.  The iterator has forgotten a future that it gave.  Callers: one thread at a time. */
BROOD_API BROOD_MUST_USE int brood_as_completed_next(struct brood_as_completed *iterator, struct brood_future **ret_future,
                                                     brood_deadline deadline);

/* NULL is fine.  The futures stay. */
BROOD_API void brood_as_completed_close(struct brood_as_completed *iterator);

/* For brood_auto(as_completed). */
static inline void brood_as_completed_closep(struct brood_as_completed **iterator)
{
    brood_as_completed_close(*iterator);
}

/* Gives the handle back; NULL is fine.  A task that is not done still runs, for its effects, and its result is dropped.  A
 * map that is not done is cancelled, and the items in flight are waited for: its arrays are the caller's. */
BROOD_API void brood_future_free(struct brood_future *future);

/* For brood_auto(future). */
static inline void brood_future_closep(struct brood_future **future)
{
    brood_future_free(*future);
}

BROOD_END

#endif
