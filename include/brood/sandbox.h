/* brood/sandbox.h - what the workers of a pool may not do, for work that is not to be trusted.
 *
 *     const struct brood_sandbox *sandbox = BROOD_SANDBOX(.memory_bytes = 256 << 20, .no_network = true,
 *                                                         .no_processes = true, .read_only = true);
 *     int r = brood_pool_open(&pool, BROOD_POOL(.sandbox = sandbox, .limit_ms = 1000));
 *
 * A worker enters it when it is otherwise ready, so before its first task, and so does each replacement; there is no way
 * out.  Host and supervisor are not confined.  What is refused fails in the task with the error given below.
 *
 * Whatever the fields say, a worker in a sandbox gains no privileges (no_new_privs) and loses its capabilities, also
 * root's; it cannot trace other processes, read or write their memory, change their limits, leave its process group, make
 * namespaces or use io_uring: -EPERM.
 *
 * It is a list of what is known to lead out, kept by the kernel; the rest is allowed.  What a worker inherited, it has: its
 * standard output, with `.inherit_fds` every descriptor, and all memory of the pool, over which it can write.  `limit_ms`
 * is kept by timers of the worker's own, which code that means harm can disarm: brood_future_kill() and `cpu_seconds`
 * cannot be evaded.
 */
#ifndef BROOD_SANDBOX_H
#define BROOD_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include <brood/base.h>

BROOD_BEGIN

/* Every zero means no restriction. */
struct brood_sandbox {
    size_t size; /* sizeof(struct brood_sandbox): BROOD_SANDBOX(...) fills it in */
    /* Address space on top of what the worker has mapped when it is ready (RLIMIT_AS): the pool's own memory is reserved
     * by then.  More is -ENOMEM. */
    size_t memory_bytes;
    size_t file_bytes; /* how large it may make a file, standard output too (RLIMIT_FSIZE); more is SIGXFSZ */
    /* CPU time of a worker, all its tasks together (RLIMIT_CPU): then SIGXCPU, and SIGKILL a second later.  It takes the
     * task of that moment with it. */
    int cpu_seconds;
    int open_files;    /* a descriptor's number is less than this (RLIMIT_NOFILE); else -EMFILE */
    bool no_network;   /* no socket is made, bound, connected or accepted: -EACCES; socketpair() works */
    bool no_processes; /* no fork, no exec, no signal to anybody else: -EPERM; threads are fine */
    /* No file is opened for writing, made, removed, renamed or truncated, and none changes owner, mode, times or
     * attributes: -EACCES.  What is open stays writable. */
    bool read_only;
    /* If not NULL: files and folders, up to NULL, and only what lies beneath them can be opened for reading or executed;
     * else -EACCES.  They are looked up when the pool is opened.  By Landlock: a kernel without it is -ENOTSUP. */
    const char *const *readable;
};

#ifndef __cplusplus
#define BROOD_SANDBOX(...) (&(struct brood_sandbox){.size = sizeof(struct brood_sandbox), __VA_ARGS__})
#endif

BROOD_END

#endif
