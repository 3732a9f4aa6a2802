/* brood/sandbox.h - what the workers of a pool may not do, for work that is not to be trusted.
 *
 *     const struct brood_sandbox *sandbox = BROOD_SANDBOX(.memory_bytes = 256 << 20, .no_network = true,
 *                                                         .no_processes = true, .read_only = true);
 *     int r = brood_pool_open(&pool, BROOD_POOL(.sandbox = sandbox, .limit_ms = 1000));
 *
 * A worker enters it when it is otherwise ready, so before its first task, and so does each replacement; there is no way
 * back.  Host and supervisor are not confined.  What is refused fails in the task with the error given below.
 *
 * Whatever the fields say, a worker in a sandbox gains no privileges (no_new_privs) and loses its capabilities, also
 * root's; it cannot trace other processes, read or write their memory, open their descriptors, change their limits, signal
 * them, slow them down, leave its process group, leave a child with its supervisor, change its user, make namespaces, use
 * io_uring, objects of System V or more of a terminal than to write to it: -EPERM.  It leaves no core file.
 *
 * The filter is a list of what is known to lead out, kept by the kernel; the rest is allowed.  What a worker inherited, it
 * has: its standard output, with `.inherit_fds` every descriptor, and all memory of the pool, over which it can write.
 * `limit_ms` is kept by timers of the worker's own, which code that means harm can disarm: brood_future_kill() and
 * `cpu_seconds` cannot be evaded.
 *
 * A sandbox is for a process that has one thread when it enters it.  If the initializer has started another one, or a
 * constructor or a handler of pthread_atfork(3) has, the pool does not open: -EBUSY, in words that say which and what to
 * do.  Threads that tasks start are confined.
 *
 * brood_pool(3) has the threat model: what holds against which attacker, by which mechanism of the kernel, and what does not.
 */
#ifndef BROOD_SANDBOX_H
#define BROOD_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include <brood/base.h>

BROOD_BEGIN

/* Which system calls there are. */
enum brood_syscalls {
    BROOD_SYSCALLS_MOST, /* all but those that the other fields deny, and what is known to lead out of any sandbox */
    /* No more than computation and decoding need: memory, threads, futexes, clocks and timers, signals to itself, reading
     * and writing what is open, pipes, waiting.  It denies what `no_network`, `no_processes` and `read_only` do, with their
     * errors, and every path and every socket: -EACCES.  What is not on the list is -ENOSYS. */
    BROOD_SYSCALLS_COMPUTE,
};

/* Every zero means no restriction.  `memory_bytes` and `open_files` are of a process: each that a task forks has as much
 * again, so with `no_processes` they are what the worker has.  Where a control group can be made, one bounds the memory of
 * a worker and of all that it starts together: `memory_groups` of brood_pool_stats() says for how many workers. */
struct brood_sandbox {
    size_t size; /* sizeof(struct brood_sandbox): BROOD_SANDBOX(...) fills it in */
    /* Address space on top of what the worker has mapped when it is ready (RLIMIT_AS): the pool's own memory is reserved
     * by then.  More is -ENOMEM.  Files in memory, which are not counted, cannot be made: -EPERM. */
    size_t memory_bytes;
    size_t file_bytes; /* how large it may make a file, standard output too (RLIMIT_FSIZE); more is SIGXFSZ */
    /* CPU time of a worker, all its tasks and threads together (RLIMIT_CPU): then SIGXCPU, and SIGKILL a second later.  It
     * takes the task of that moment with it.  The kernel counts for each process anew, so this needs `no_processes`, or
     * BROOD_SYSCALLS_COMPUTE, which includes it; else the pool does not open: -EINVAL. */
    int cpu_seconds;
    int open_files; /* a descriptor's number is less than this (RLIMIT_NOFILE); else -EMFILE */
    /* No socket is made, bound, connected or accepted: -EACCES.  socketpair() makes local ones of SOCK_STREAM and
     * SOCK_SEQPACKET: one of datagrams could send to any process. */
    bool no_network;
    bool no_processes; /* no fork, no exec: -EPERM; threads are fine, see `no_threads` */
    /* No file is opened for writing, made, removed, renamed or truncated, and none changes owner, mode, times or
     * attributes; no socket is bound, no lease taken, and of ioctl(2) only requests that ask something are made: -EACCES.
     * What is open stays writable. */
    bool read_only;
    /* If not NULL: files and folders, up to NULL, and only what lies beneath them can be opened for reading or executed;
     * else -EACCES.  They are looked up when the pool is opened.  By Landlock: a kernel without it is -ENOTSUP. */
    const char *const *readable;
    /* The worker enters the sandbox before its initializer, which is then confined, and so are the threads and the
     * processes that it starts.  What comes before brood_worker_main() in an executable is not. */
    bool confine_initializer;
    /* Makes this process undumpable when the pool is opened (PR_SET_DUMPABLE of prctl(2)), and leaves it so: other
     * processes of the same user cannot trace it, open its memory or descriptors, or write to its files in /proc.  Neither
     * can a debugger, and the process leaves no core file. */
    bool host_undumpable;
    enum brood_syscalls syscalls; /* BROOD_SYSCALLS_MOST */
    /* Starts no thread: pthread_create() is -EPERM.  With `no_processes` a worker is one thread.  Without, nothing bounds
     * how many there are but what the system allows the user, or root. */
    bool no_threads;
};

#ifndef __cplusplus
#define BROOD_SANDBOX(...) (&(struct brood_sandbox){.size = sizeof(struct brood_sandbox), __VA_ARGS__})
#endif

BROOD_END

#endif
