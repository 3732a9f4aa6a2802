/* sandbox.h - a process that gives up privileges: limits, capabilities, Landlock, seccomp.
 *
 *     r = brood__sandbox_prepare(&sandbox, options, host);  // before others exist; in the end brood__sandbox_drop()
 *     ...                                                   // fork, and perhaps exec
 *     r = brood__sandbox_enter(&sandbox);                   // for ever
 *
 * The prepared state is numbers, which an exec'ed process gets as text.
 *
 * The threat: from its first task on the worker executes native code of an attacker.  Host, supervisor and the other
 * workers run as the same user, which may be root; the kernel has Landlock, or an old one, or none.  The mechanisms that
 * keep the attacker from other processes, and what each applies to:
 *
 *     filter (os/filter.c)       all threads of the process (TSYNC), and what they start
 *     limits                     the process, and what it starts; RLIMIT_CPU and RLIMIT_AS count for each anew, so that
 *                                the first is refused without FILTER_NO_PROCESSES
 *     no_new_privs               the thread, and what it starts; all threads, by TSYNC
 *     capabilities, Landlock     the thread, and what it starts
 *     user namespace             the process: the kernel makes none for one of more threads
 *     dumpable                   the memory, so all threads; ends at exec
 *
 * No mechanism that works without rights bounds the number of threads: FILTER_NO_THREADS allows none.
 *
 * So a process enters with one thread only, which check_alone() verifies: any other thread would keep the capabilities
 * and be outside of Landlock, and code in its memory is code of every thread.  Whether the host can be reached is not
 * concluded from these steps but tried, as the last one.  docs/man/brood_pool.md says what holds for users, and what
 * does not.
 */
#ifndef BROOD_OS_SANDBOX_H
#define BROOD_OS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <brood/sandbox.h>

struct sandbox {
    uint64_t memory_bytes, file_bytes;
    int cpu_seconds, open_files;
    unsigned flags; /* of the filter; 0: there is no sandbox */
    int rules;      /* Landlock's, a descriptor; -1: none */
    pid_t host;     /* the process whose memory must be out of reach */
    bool is_execed; /* the worker is exec'ed, … */
    int threads;    /* … and had this many threads before its initializer; 0: unknown */
};

#define SANDBOX_NONE ((struct sandbox){.rules = -1})
#define SANDBOX_TEXT 96

/* Is `given` valid?  Returns 0, or -EINVAL with a message. */
int brood__sandbox_check(const struct brood_sandbox *given);

/* Prepares what can be entered later; `wanted` may be NULL.  Returns 0; -ENOTSUP: not on this machine; or the error of a
 * path that cannot be opened; with a message. */
int brood__sandbox_prepare(struct sandbox *ret_sandbox, const struct brood_sandbox *wanted, pid_t host);

/* Must the process that opens the pool become undumpable?  `wanted` may be NULL. */
bool brood__sandbox_hides_host(const struct brood_sandbox *wanted);

/* Is it entered before the program's initializer? */
bool brood__sandbox_is_early(const struct sandbox *sandbox);

/* Called before the initializer, which may start threads: for the message if entering fails. */
void brood__sandbox_count_threads(struct sandbox *sandbox);

void brood__sandbox_drop(struct sandbox *sandbox);

/* Text for an exec'ed process, which inherits the rules' descriptor; and back. */
int brood__sandbox_write(const struct sandbox *sandbox, char text[SANDBOX_TEXT]);
bool brood__sandbox_read(struct sandbox *ret_sandbox, const char *text);

/* Confines the calling process, and drops what was prepared.  Returns 0; -EBUSY: it has more than one thread, or another
 * process shares its memory; -ENOTSUP: the host could be reached; or another negative errno; with a message, and then
 * the process may be confined in part. */
int brood__sandbox_enter(struct sandbox *sandbox);

#endif
