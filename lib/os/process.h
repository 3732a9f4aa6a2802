/* process.h - making a forked process one of its own: as if it had been exec'ed, but with its parent's memory. */
#ifndef BROOD_OS_PROCESS_H
#define BROOD_OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Signal handlers back to default; what was ignored stays so, but SIGCHLD. */
void brood__process_default_signals(void);

/* No signal is blocked in the calling thread. */
void brood__process_unblock_signals(void);

/* Both, and SIGINT is ignored: Ctrl-C is the host's to handle. */
void brood__process_reset_signals(void);

/* SIGKILL when the thread that forked us dies.  False if `parent` is gone already. */
bool brood__process_die_with(pid_t parent);

/* The kernel forgets that request when a process changes its user or group ids: makes it again, if so.  False if it was
 * refused.  Where the parent has died in between there is no signal. */
bool brood__process_renew_die_with(void);

/* SIGKILL for this process when the last writer of the pipe is gone, or when anything is written to it: its read end, which
 * must be this process's alone, and stays open.  Unlike brood__process_die_with() this does not depend on a thread, and
 * outlives exec.  0 or a negative errno; it may be too late already, which brood__process_is_orphan() tells afterwards. */
int brood__process_die_with_pipe(int fd);
bool brood__process_is_orphan(int fd);

/* "NAME-SUFFIX" in ps and top. */
void brood__process_set_name(const char *name, const char *suffix);

/* How many threads this process has; 0 where /proc cannot be read. */
int brood__process_threads(void);

/* Closes every descriptor above 2 but the `count` in `kept`, which it sorts. */
void brood__process_close_all_but(int *kept, size_t count);

/* The same descriptor above 2: a program that has closed its standard ones would else get it for one of them.  What is
 * negative is returned as it is; if there is no other number left, so is `fd`. */
int brood__fd_not_standard(int fd);

/* How much memory this process has in use, or shares with who forked it; 0 if /proc does not say. */
uint64_t brood__process_memory_kib(void);

/* Standard input reads as empty. */
void brood__process_empty_stdin(void);

#endif
