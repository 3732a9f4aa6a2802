/* process_attributes.h - makes a forked process independent: as if it had been exec'ed, but with its parent's memory. */
#ifndef BROOD_OS_PROCESS_ATTRIBUTES_H
#define BROOD_OS_PROCESS_ATTRIBUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Resets signal handlers to the default; ignored signals stay ignored, except SIGCHLD. */
void brood__process_default_signals(void);

/* Unblocks all signals in the calling thread. */
void brood__process_unblock_signals(void);

/* Both, and ignores what a terminal or a service manager sends to every process: SIGINT, SIGQUIT and SIGHUP are the
 * host's to handle; SIGTTOU and SIGTTIN would stop a process of another group that prints. */
void brood__process_reset_signals(void);

/* SIGKILL when the thread that has forked this process dies.  False if `parent` is gone already. */
bool brood__process_die_with(pid_t parent);

/* The kernel forgets that request when a process changes its user or group ids: renews it if so.  False if the kernel
 * refuses.  If the parent has died in between, no signal comes. */
bool brood__process_renew_die_with(void);

/* SIGKILL for this process when the last writer of the pipe is gone, or when something is written to it: `fd` is its
 * read end, which only this process may have, and which stays open.  Unlike brood__process_die_with() this does not
 * depend on a thread, and survives exec.  Returns 0 or a negative errno; it may be too late, which
 * brood__process_is_orphan() detects afterwards. */
int brood__process_die_with_pipe(int fd);
bool brood__process_is_orphan(int fd);

/* In a signal handler: sends the signal, whose action is the default one, after that time, to end this process if it has
 * not ended by then.  The calling thread must not block it. */
void brood__process_end_in(int64_t ns, int number);

/* Sets the name in ps and top to "NAME-SUFFIX". */
void brood__process_set_name(const char *name, const char *suffix);

/* The number of threads of this process; 0 if /proc cannot be read. */
int brood__process_threads(void);

/* Closes every descriptor above 2 but the `count` in `kept`, which it sorts. */
void brood__process_close_all_but(int *kept, size_t count);

/* Returns the same descriptor above 2: if a program has closed its standard ones, a new descriptor might become one of
 * them.  A negative one is returned as it is; so is `fd` if no other number is left. */
int brood__fd_not_standard(int fd);

/* Is that signal pending for the process and blocked, or was it when the process died?  Also of a child that is not
 * reaped. */
bool brood__process_has_pending(pid_t process, int number);

/* How much memory this process uses, or shares with its parent; if /proc cannot be read, its peak. */
uint64_t brood__process_memory_kib(void);

/* Prevents other processes of the same user from tracing this one and from opening its memory or descriptors; and it
 * leaves no core file: PR_SET_DUMPABLE.  Returns 0 or a negative errno. */
int brood__process_become_undumpable(void);

/* Makes standard input read as empty. */
void brood__process_empty_stdin(void);

/* Redirects standard output and error that are closed to /dev/null: otherwise the next descriptors would become these,
 * and output would go there. */
void brood__process_fill_output(void);

#endif
