/* brood/pool.h - a pool of workers that run tasks: processes, threads, or the caller itself.
 *
 *     brood_auto(pool) *pool = NULL;
 *     int r = brood_pool_open(&pool, BROOD_POOL(.workers = 8));
 *     if (r == 0)
 *         r = brood_map(pool, integrate, areas, spans, 64);
 *     if (r < 0)
 *         fprintf(stderr, "%s\n", brood_error());
 *
 * Kinds.  BROOD_PROCESSES: a supervisor process forks the workers, watches them and replaces the dead.  With `.worker` it
 * starts an executable instead (see brood/worker.h).  BROOD_THREADS: threads of this process.  BROOD_INLINE: each task runs
 * in the caller when it is submitted, for debugging.  The calls and their results are the same for all.
 *
 * Forked workers see this process's memory as it was at open, copy-on-write.  They are started as an executable would be:
 * signal handlers reset (SIGINT, SIGQUIT, SIGHUP, SIGTTIN and SIGTTOU ignored), no signal but SIGSTKFLT blocked, standard
 * input from /dev/null, and every descriptor above 2 closed unless `.inherit_fds` is set.  In a worker brood handles
 * SIGTERM and the signals of faults, to write down where it was; then they do what they do; but SIGTERM from other
 * processes than its supervisor is ignored: a service manager sends it to every process, and this one decides what is
 * finished.  They end by _exit().  If this process has other threads at open, their locks may be held in the forked workers
 * for ever; `.worker` is always safe.
 *
 * Threads: any number of threads of the process that opened the pool may use it at once, except that brood_pool_close()
 * must be the last call to begin, unless brood_pool_ref() keeps the handle.  A child that the program forks gets -EPERM.
 * brood installs no signal handler (but see brood_pool_heed_interrupts) and no exit handler, does not use SIGCHLD and
 * starts no thread (but those of BROOD_THREADS and those that were asked for: `.callbacks`, brood_pool_fd,
 * brood_future_fd).
 *
 * When a worker dies, the task that it was running fails with -EOWNERDEAD, once; every other task goes on.  When the
 * supervisor dies, the workers die with it and everything unfinished fails with -ESHUTDOWN.  When this process dies, by any
 * cause, supervisor and workers go and nothing remains.
 *
 * The descriptors that a pool holds in this process are its own.  A program that closes them, as closefrom(3) does, breaks
 * the pool: everything unfinished fails with -ESHUTDOWN, and closing it still leaves nothing behind.  Such a program
 * opens its pools afterwards.
 */
#ifndef BROOD_POOL_H
#define BROOD_POOL_H

#include <stdbool.h>
#include <sys/types.h>

#include <brood/base.h>
#include <brood/future.h>
#include <brood/sandbox.h>
#include <brood/task.h>

BROOD_BEGIN

struct brood_pool;

enum brood_kind {
    BROOD_PROCESSES,
    BROOD_THREADS,
    BROOD_INLINE,
};

/* Which thread calls callbacks: see brood_future_on_done() in brood/future.h. */
enum brood_callbacks {
    BROOD_CALLBACK_WAITERS, /* a thread that waits in the pool, or calls brood_pool_run() */
    BROOD_CALLBACK_THREAD,  /* a thread for this, which BROOD_INLINE does not have */
};

#define BROOD_WORKERS_MAX 1024
#define BROOD_WORKERS_NONE (-1) /* `.workers_min`: a pool that has nothing to do has no worker */
#define BROOD_POOL_DEPTH_MAX 10 /* pools in workers of pools: as many, one within the other */

/* Where standard output and error of worker processes go. */
enum brood_output {
    BROOD_OUTPUT_PASS,    /* where those of this process go */
    BROOD_OUTPUT_CAPTURE, /* nowhere, but for the end of what a task has printed, in its death certificate */
    BROOD_OUTPUT_PREFIX,  /* the same, and line by line to where those of this process go, behind "[brood-2 task] " */
};

/* What the SIGTERM does that a worker process gets when its task has had its time.  A handler of the task's own is called
 * in either case, and what still runs after the grace is killed. */
enum brood_at_limit {
    BROOD_LIMIT_ASK,       /* no more than to make brood_cancelled() true, so that the task may end well within the grace */
    BROOD_LIMIT_TERMINATE, /* its default action, after a backtrace is written: it ends the worker */
};

/* Every zero means the default.  BROOD_POOL(...) fills in `size`. */
struct brood_pool_options {
    size_t size;          /* sizeof(struct brood_pool_options): lets the struct grow */
    enum brood_kind kind; /* BROOD_PROCESSES */
    int workers;          /* how many; 0: brood_workers_default() */
    /* An executable to start as worker, looked up in PATH if it has no slash; its main() calls brood_worker_main().
     * `worker_args`, if not NULL, follow its name, and end with NULL. */
    const char *worker;
    const char *const *worker_args;
    size_t queue;        /* tasks submitted and not yet finished, at most; 0: 512 for each worker */
    size_t memory_bytes; /* address space for large arguments, results and brood_alloc(); 0: as much as the machine has */
    const char *name;    /* of its processes and threads in ps and top, at most 10 bytes count; "brood" */
    bool inherit_fds;    /* forked workers keep every open descriptor of the program, and none that is a pool's */
    /* What a task, or an item of a map, may take, from when it starts; 0: as long as it likes.  Then brood_cancelled() is
     * true in it and its worker gets SIGTERM, which the task may catch; after the grace (0: at once) the worker is killed
     * and the task fails with -ETIMEDOUT, as it does if the worker ends by itself within the grace.  Threads are only told.
     * A task that execs another program loses its limit.  A call may have its own: struct brood_call_options.  It counts
     * while the worker is stopped, by SIGSTOP or a freezer, and not while the machine is suspended; see limit_cpu_ms. */
    int limit_ms, grace_ms;
    /* How often a task whose worker died, or which had had its time, is run again before that becomes its outcome: one that
     * has killed `retries` + 1 workers is quarantined, and brood_future_deaths() has the certificates of them all.  0:
     * never again, since it may have had effects.  Each time it waits `retry_pause_ms`, and twice as long the next time;
     * a thread that waits for anything in the pool submits it again.  Items of maps do not wait. */
    int retries, retry_pause_ms;
    /* When a worker process makes room for a fresh one, as a cure for leaks: after so many tasks (an item of a map counts
     * as one, and the change comes when the worker's part in the map is over), when it has more than so much memory in use,
     * or after so long since it was ready, whichever comes first; up to a tenth earlier, so that not all do it at once.  0:
     * never.  No task is lost by it.  If a worker exceeds the memory or the age from the beginning, it still runs its first
     * task: with a `worker_memory_mib` below what a worker has when it is ready, each runs one, at the cost of a new
     * process for each.  A forked worker has what this process has in use now.  For threads it means nothing. */
    int worker_tasks, worker_memory_mib, worker_age_ms;
    /* What the workers may not do: BROOD_SANDBOX(...), see brood/sandbox.h.  NULL: they may do what this process may.  Only
     * processes can be confined. */
    const struct brood_sandbox *sandbox;
    /* What each worker does before its first task and after its last, replacements included.  The initializer returns 0, or
     * a negative errno with a message by brood_fail(): then the pool does not open, or, if it is open by then, breaks: what is
     * unfinished or comes later fails with -ESHUTDOWN and that message.  What it puts into *ret_state, brood_worker_state()
     * gives to the tasks.  The finalizer runs when a worker ends in good order: the pool is closed after its work was done,
     * or the worker retires or rests.  A worker that is killed has none.  In the worker, before it enters its sandbox; in a
     * BROOD_INLINE pool, in the threads that open and close it.  NULL: nothing.  An executable has its own: brood/worker.h. */
    int (*initializer)(void *context, void **ret_state);
    void (*finalizer)(void *context, void *state);
    void *context;
    /* When so many worker processes in a row have died within so long, and no task was finished meanwhile, the pool breaks,
     * instead of starting new ones for ever.  0: 1000 deaths and 10 s; negative: never. */
    int deaths_max, deaths_ms;
    /* How many workers are started at open and never rest, and to how many brood_pool_resize() may go.  Those in between
     * are started when there is more to do, and rest, which is to end until then, after `idle_ms` with nothing to do.  0:
     * all workers, or one if there is an idle_ms; as many as `workers`; they never rest.  With `.workers_min =
     * BROOD_WORKERS_NONE` none is started at open, so that one which cannot start breaks the pool later, and all may rest.
     */
    int workers_min, workers_max, idle_ms;
    /* How many processes wait to take the place of workers that die or retire: where this process has much memory it takes
     * a while to fork one (18 ms for a gigabyte).  0: one, if to fork the first workers took more than a millisecond each
     * for that reason; negative: none.  When ten in a row have died in their initializer or before it there is one more
     * with each worker that is started, and no other.  For threads it means nothing. */
    int spares;
    enum brood_callbacks callbacks; /* BROOD_CALLBACK_WAITERS */
    /* What happens to what tasks print.  Captured or prefixed, stdout is written line by line, and behind each task what is
     * left in its buffer and stderr's.  Only for processes. */
    enum brood_output output;
    /* How long the workers may take to be ready when the pool is opened, their initializers included; then it does not
     * open, with -ETIMEDOUT.  0: 30 s; negative: as long as they like.  Threads are waited for. */
    int ready_ms;
    /* What a task, or an item of a map, may take of CPU time, all threads of its worker together, as `limit_ms` is for
     * time; the grace is CPU time, too.  What waits for a processor, sleeps or is stopped uses none, and so is not ended by
     * this. What the task's own child processes use does not count. */
    int limit_cpu_ms;
    enum brood_at_limit at_limit; /* BROOD_LIMIT_ASK */
};

#ifndef __cplusplus
#define BROOD_POOL(...) (&(struct brood_pool_options){.size = sizeof(struct brood_pool_options), __VA_ARGS__})
#endif

/* Starts a pool and waits until its workers are ready.  `options` is copied; NULL means all defaults.
 * 0; -EINVAL: bad options; -ENOENT, -EACCES …: the worker executable; -ENOSPC, -ENOMEM: memory; -EAGAIN: no more processes;
 * -EEXIST: two tasks have one name; -EPROTO: the executable's brood is another version; -ENOTSUP: no such sandbox here;
 * -ECHILD: a worker ended before it was ready; -ETIMEDOUT: workers were not ready in time; -ELOOP: pools in workers of
 * pools, too deep; else what the system said when it refused something: -EMFILE, -EPERM … brood_error() has words. */
BROOD_API BROOD_MUST_USE int brood_pool_open(struct brood_pool **ret_pool, const struct brood_pool_options *options);

/* Takes no more tasks, lets those submitted finish until `drain`, then kills.  BROOD_FOREVER: finish everything. BROOD_NOW:
 * kill at once; what is not done fails with -ESHUTDOWN.  (Threads cannot be killed: a running task is waited for.)
 * Afterwards no process, descriptor, thread or mapping of the pool remains; its futures may still be asked and freed.
 * 0: everything had finished; -ETIMEDOUT: something was killed or dropped; -EDEADLK: in a callback or a task of the pool,
 * which would wait for itself; -EALREADY: another thread is closing it; -ESHUTDOWN: it is closed, see brood_pool_ref().
 * NULL is fine. */
BROOD_API int brood_pool_close(struct brood_pool *pool, brood_deadline drain);

enum brood_interrupt {
    BROOD_INTERRUPT_CANCEL, /* what has not started ends with -ECANCELED, items of maps and loops and parts of streams too
                             */
    BROOD_INTERRUPT_DRAIN,  /* everything that was submitted is finished */
};

/* For a program at a terminal.  After the first Ctrl-C (SIGINT) the pool takes no more tasks (-EINTR), finishes what runs,
 * and does with what has not started what `first` says, at once if a thread waits in the pool, else when one next does; the
 * second kills its workers, and what is not done fails with -ESHUTDOWN, "interrupted".  Both also while the pool is being
 * closed.  (Workers ignore SIGINT.)  This is the one signal handler that brood installs in your program, until the last
 * pool that heeds is closed.  Workers that are not processes are not killed.  0; -EBUSY: the program handles SIGINT itself;
 * -ENOSPC: sixteen pools heed; -EINVAL. */
BROOD_API BROOD_MUST_USE int brood_pool_heed_interrupts(struct brood_pool *pool, enum brood_interrupt first);

/* Keeps the handle beyond brood_pool_close(), for programs in which calls may race with the closing, as in the binding of a
 * language that frees its objects when it likes: until brood_pool_unref() has been called as often, every call on the
 * closed pool is -ESHUTDOWN, and those that return no error number return 0 or NULL.  Returns `pool`; NULL: as above,
 * -EPERM or -EINVAL.  Neither closes the pool, and both may be called by any thread at any time. */
BROOD_API struct brood_pool *brood_pool_ref(struct brood_pool *pool);
BROOD_API void brood_pool_unref(struct brood_pool *pool);

/* For brood_auto(pool): leaving the scope does not wait. */
static inline void brood_pool_closep(struct brood_pool **pool)
{
    (void)brood_pool_close(*pool, BROOD_NOW);
}

/* ---- calls ----
 *
 * A full queue makes a submission wait.  Submission fails with -EAGAIN (full, and the deadline was BROOD_NOW), -ETIMEDOUT
 * (full until the deadline), -ESHUTDOWN (pool closed or broken), -EINVAL, -EPERM (not this process's pool), -ENOMEM or
 * -ENOSPC (no room for a large argument or result).  After a failed submission nothing runs.
 *
 * From inside the pool.  A callback of the pool, and a task of it that runs in this process (BROOD_THREADS, BROOD_INLINE),
 * may submit to it and wait in it.  With BROOD_FOREVER they do not wait for room, since it may be for them to make it: what
 * they submit goes over the bound, and takes memory of this process.  A task that waits with BROOD_FOREVER for work that no
 * worker has begun runs it itself, in its own thread; so hold no lock that it needs.  A wait for what the task itself is a
 * part of is -EDEADLK.  With a deadline a task takes up its worker and waits, until -ETIMEDOUT.  Two pools whose tasks wait
 * for each other's can block each other.
 */

/* Runs the task in a worker and waits for its outcome.  `arg` has task->arg_size bytes; `ret_result` has room for
 * task->result_size, written on success.  The outcome (see brood/future.h), or why it could not be submitted. */
BROOD_API BROOD_MUST_USE int brood_pool_apply(struct brood_pool *pool, const struct brood_task *task, void *ret_result,
                                              const void *arg);

/* Submits the task and returns.  `arg` is copied.  The future is the caller's to free. */
BROOD_API BROOD_MUST_USE int brood_pool_apply_async(struct brood_pool *pool, const struct brood_task *task,
                                                    struct brood_future **ret_future, const void *arg,
                                                    brood_deadline deadline);

/* The same for tasks whose arguments and results have any length (BROOD_TASK_BYTES).  `result->len` is the room, and
 * becomes the length; when it is too small the outcome is -EMSGSIZE.  A task that failed may have left bytes there, too:
 * see brood_future_error_bytes(); `result->len` is 0 if not.  With a future the room need not be known before:
 * brood_future_size() tells it. */
BROOD_API BROOD_MUST_USE int brood_pool_apply_bytes(struct brood_pool *pool, const struct brood_task *task,
                                                    struct brood_space *result, struct brood_bytes arg);
BROOD_API BROOD_MUST_USE int brood_pool_apply_bytes_async(struct brood_pool *pool, const struct brood_task *task,
                                                          struct brood_future **ret_future, struct brood_bytes arg,
                                                          brood_deadline deadline);

/* What is special about one call.  Every zero means what the pool's options say; a negative limit, grace or number of
 * retries means none. */
struct brood_call_options {
    size_t size; /* sizeof(struct brood_call_options): BROOD_CALL(...) fills it in */
    int limit_ms, grace_ms, retries;
    /* Of tasks that wait for a worker, the one with the lowest number goes first, of equals the one submitted first; 0 is
     * what calls without options have, and negative numbers are more urgent.  It orders single tasks, from the first one
     * that has a number other than 0: what was handed to the workers before, and up to two tasks for each worker, stay
     * where they are.  A thread that submits, or waits for anything in the pool, hands them to the workers.  Maps have 0: a worker that is handed
     * a task with a negative number leaves its map for it after the items that it has claimed, which are few or, where
     * they are long, one; any other task comes after what the worker has been given of a map, which may be all of it.
     * In a BROOD_INLINE pool it means nothing. */
    int priority;
    int limit_cpu_ms; /* as the other limits */
};

#ifndef __cplusplus
#define BROOD_CALL(...) (&(struct brood_call_options){.size = sizeof(struct brood_call_options), __VA_ARGS__})
#endif

/* Like brood_pool_apply_bytes_async(), with options; NULL means all defaults. */
BROOD_API BROOD_MUST_USE int brood_pool_submit(struct brood_pool *pool, const struct brood_task *task,
                                               struct brood_future **ret_future, struct brood_bytes arg,
                                               const struct brood_call_options *options, brood_deadline deadline);

struct brood_map_options {
    size_t size;                     /* sizeof(struct brood_map_options): BROOD_MAP(...) fills it in */
    size_t chunk;                    /* items that a worker claims at once; 0: grows with what the items cost */
    int limit_ms, grace_ms, retries; /* of an item; as in struct brood_call_options */
    int limit_cpu_ms;                /* the same */
};

#ifndef __cplusplus
#define BROOD_MAP(...) (&(struct brood_map_options){.size = sizeof(struct brood_map_options), __VA_ARGS__})
#endif

/* Runs the task on n items: `args` is an array of n arguments, `results` one of n results, in the same order.  Every item
 * runs, also when others fail; what a failed item leaves in its result is unspecified.  0, or the error of the first
 * failing item in order.  n = 0 is fine.  Arrays from brood_alloc() are used where they lie; others are copied, a window at
 * a time. */
BROOD_API BROOD_MUST_USE int brood_pool_map(struct brood_pool *pool, const struct brood_task *task, void *results,
                                            const void *args, size_t n, const struct brood_map_options *options);

/* The same without waiting.  Both arrays stay borrowed until the future is done.  Arrays larger than two windows (8 MiB)
 * are handed out window by window, by the thread that waits for the map, closes the pool, or collects the last of a window
 * for another reason. */
BROOD_API BROOD_MUST_USE int brood_pool_map_async(struct brood_pool *pool, const struct brood_task *task,
                                                  struct brood_future **ret_future, void *results, const void *args,
                                                  size_t n, const struct brood_map_options *options);

#ifndef __cplusplus
/* The front door: the functions above, with the types of argument and result checked by the compiler. */
#define brood_apply(pool, t, ret_result, ...) \
    brood_pool_apply((pool), &(t).task, BROOD_OUT(t, ret_result), BROOD_IN(t, (__VA_ARGS__)))
#define brood_apply_async(pool, t, ret_future, ...) \
    brood_pool_apply_async((pool), &(t).task, (ret_future), BROOD_IN(t, (__VA_ARGS__)), BROOD_FOREVER)
#define brood_apply_async_until(pool, t, ret_future, deadline, ...) \
    brood_pool_apply_async((pool), &(t).task, (ret_future), BROOD_IN(t, (__VA_ARGS__)), (deadline))
#define brood_submit(pool, t, ret_future, options, ...) \
    brood_pool_submit((pool), &(t).task, (ret_future),  \
                      ((struct brood_bytes){BROOD_IN(t, (__VA_ARGS__)), (t).task.arg_size}), (options), BROOD_FOREVER)
#define brood_apply_bytes(pool, t, result, ...) brood_pool_apply_bytes((pool), &(t).task, (result), (__VA_ARGS__))
#define brood_apply_bytes_async(pool, t, ret_future, ...) \
    brood_pool_apply_bytes_async((pool), &(t).task, (ret_future), (__VA_ARGS__), BROOD_FOREVER)
#define brood_map(pool, t, results, args, n) \
    brood_pool_map((pool), &(t).task, BROOD_OUT(t, results), BROOD_IN(t, args), (n), NULL)
#define brood_map_async(pool, t, ret_future, results, args, n) \
    brood_pool_map_async((pool), &(t).task, (ret_future), BROOD_OUT(t, results), BROOD_IN(t, args), (n), NULL)
#endif

/* ---- callbacks, and programs with a loop of their own ---- */

/* Calls the callbacks that are due, after waiting until one is: how many it called.  0: none is outstanding, or another
 * thread is calling the last; -EAGAIN: none is due now (BROOD_NOW); -ETIMEDOUT; -EPERM.  Of a pool with a callback thread,
 * 0 or one of these errors. */
BROOD_API int brood_pool_run(struct brood_pool *pool, brood_deadline deadline);

/* A descriptor that poll(2) finds readable when a future of the pool has become done, a callback due, or an idle worker has
 * died (brood_pool_deaths), since brood_pool_run() was last called; so a loop calls that when it is, and then looks at its
 * futures.  What that call leaves for the next one is told anew, so a loop that hears of changes only (EPOLLET, a multishot
 * poll of io_uring) misses nothing. It is the pool's: only poll it.  The first call starts a thread, which sleeps until
 * something is done and collects it; before that none of this costs anything.  The descriptor; -EMFILE …; -ESHUTDOWN;
 * -EPERM. */
BROOD_API BROOD_MUST_USE int brood_pool_fd(struct brood_pool *pool);

/* ---- memory that host and workers share ---- */

/* `bytes` of zeroed memory that the workers see too, forked ones at the same address: an argument or result that lies in it
 * is not copied, and pointers into it can be passed.  64-byte aligned.  NULL, with brood_error(), when there is no room. */
BROOD_API void *brood_alloc(struct brood_pool *pool, size_t bytes) __attribute__((malloc));

/* Gives it back; NULL is fine.  Closing the pool frees what is left. */
BROOD_API void brood_free(struct brood_pool *pool, void *memory);

/* ---- looking at a pool ---- */

/* Takes no more tasks from now on, and does not wait: submission fails with -ESHUTDOWN.  What was submitted is finished;
 * or, with `cancel`, what has not started is -ECANCELED.  A worker ends as soon as it has nothing to do, though no thread
 * waits for it; one that is needed after that, for a retry, say, is started again.  Close it later.  May be called again.
 * 0; -EPERM. */
BROOD_API int brood_pool_shutdown(struct brood_pool *pool, bool cancel);

/* Takes no more tasks and ends its workers, and waits for that; what is unfinished fails with -ESHUTDOWN.  They get
 * SIGTERM, which a task may handle, and at the deadline SIGKILL; with BROOD_NOW that at once.  The pool is broken then, and
 * is closed later.  0; -EPERM; -ENOTSUP: workers that are no processes cannot be killed: what has not started fails, the
 * others are asked to stop, which brood_cancelled() tells them. */
BROOD_API int brood_pool_kill(struct brood_pool *pool, brood_deadline deadline);

/* Lets the pool have so many workers from now on, 1 to `.workers_max`, and does not wait: more are started, or the last
 * ones end after the task that they run.  No task is lost.  0; -EINVAL; -EPERM; -ESHUTDOWN: closed or broken; -ENOSPC,
 * -ENOMEM: there is no memory for the tasks of more workers, and the pool is as before. */
BROOD_API BROOD_MUST_USE int brood_pool_resize(struct brood_pool *pool, int workers);

/* Is it broken, so that it runs nothing any more?  Why, in words; "" while it is not.  The words live as long as the pool.
 */
BROOD_API bool brood_pool_is_broken(struct brood_pool *pool);
BROOD_API const char *brood_pool_reason(struct brood_pool *pool);

/* What a pool has done and is doing.  The numbers are taken one after the other while it works. */
struct brood_pool_stats {
    size_t size;                  /* set it to sizeof(struct brood_pool_stats) before the call */
    int workers;                  /* wanted, … */
    int alive;                    /* … there, … */
    int busy;                     /* … running something, … */
    int resting;                  /* … and not started until there is more to do */
    uint64_t submitted, finished; /* tasks, and maps as a whole */
    uint64_t failed;              /* of those finished: with an error, cancelled ones too */
    uint64_t cancelled;           /* of those failed */
    uint64_t retried;             /* times that a task, or an item of a map, was run again */
    uint64_t stolen;              /* tasks, and parts of maps, that another worker ran than was chosen for it */
    uint64_t deaths;              /* of worker processes: by a signal or an exit() that brood did not ask for */
    uint64_t restarts;            /* worker processes started again: in place of another, or after a rest */
    size_t pending, queue;        /* submitted and not finished, and how many there may be */
    uint64_t spare_deaths;        /* of spares, which `deaths` does not count */
    uint64_t quarantined; /* tasks, and items of maps, that killed a worker, or took too long, each time they might */
    int memory_groups;    /* workers whose memory a control group bounds: see `.memory_bytes` of a sandbox */
};

/* 0; -EINVAL; -EPERM. */
BROOD_API BROOD_MUST_USE int brood_pool_stats(struct brood_pool *pool, struct brood_pool_stats *ret_stats);

struct brood_worker_stats {
    size_t size; /* set it to sizeof(struct brood_worker_stats) before the call */
    pid_t pid;   /* 0 for threads and inline, and while there is none */
    bool alive, busy;
    uint64_t tasks; /* that workers of this number have finished; its part in a map counts as one */
};

/* Of worker 0 … n-1.  0; -EINVAL: no such worker; -EPERM. */
BROOD_API BROOD_MUST_USE int brood_pool_worker_stats(struct brood_pool *pool, int worker,
                                                     struct brood_worker_stats *ret_stats);

/* The deaths of workers that were running nothing, which no future tells of: of at most `count` each once, the first one
 * first, and how many *ret_deaths tells.  Of such a death there is no task, backtrace or output; the texts are "".  0:
 * there are no more.  A pool keeps the last 63; what came before and was not asked for is only counted, in
 * brood_pool_stats().  Never blocks; brood_pool_fd() is readable when there is one.  Of pools whose workers are no
 * processes: 0.  -EPERM; -ESHUTDOWN. */
BROOD_API BROOD_MUST_USE int brood_pool_deaths(struct brood_pool *pool, struct brood_death *ret_deaths, size_t count);

/* How many workers it has; the process id of worker 0 … n-1 (0 for threads and inline, or while one is replaced). */
BROOD_API int brood_pool_workers(const struct brood_pool *pool);
BROOD_API pid_t brood_pool_worker_pid(const struct brood_pool *pool, int worker);

/* How many workers `.workers = 0` means: the least of the CPUs in this process's affinity mask, those that its cgroups (v1
 * or v2) let it use, rounded up, and BROOD_WORKERS in the environment.  If `reason` is not NULL, up to `size` bytes of text
 * tell why. */
BROOD_API int brood_workers_default(char *reason, size_t size);

BROOD_END

#endif
