/* brood/log.h - a line for each thing worth knowing, with the time, the process and the thread: brood's and the program's.
 *
 *     brood_log_to(STDERR_FILENO, BROOD_LOG_INFO);
 *     brood_log(BROOD_LOG_INFO, "%zu messages to go", left);
 *
 *     2026-11-22T03:51:23.480Z INFO Process-1 MainThread: 17 messages to go
 *
 * Nothing is written unless asked for, here or by the environment: BROOD_LOG=debug, info, warning or error writes to
 * standard error, and off writes nothing.  The one exception is a warning, once, on standard error, when a pool of
 * processes is forked while there are other threads; BROOD_LOG=off and the functions here end it.  brood logs the deaths of
 * workers that ran a task: a crash as an error, one that had had its time as a warning, a kill on request as info.  A line
 * is one write(2), so that lines of several processes do not mix in a file opened for appending, or in a pipe if they are
 * short.  The time is UTC: the C library's local time takes a lock that a forked child may find held.
 *
 * Callers: any thread, also in a child right after fork(); not in a signal handler.
 */
#ifndef BROOD_LOG_H
#define BROOD_LOG_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

enum brood_log_level {
    BROOD_LOG_DEBUG = 1,
    BROOD_LOG_INFO,
    BROOD_LOG_WARNING,
    BROOD_LOG_ERROR,
    BROOD_LOG_OFF,
};

/* From now on lines of this level and above go to the descriptor.  0; -EINVAL: no such level; -EBADF. */
BROOD_API int brood_log_to(int fd, enum brood_log_level level);

/* Or to a function: `line` has no newline.  It may be called by several threads at once, and once more after another call
 * has taken its place; what it logs itself is dropped.  0; -EINVAL. */
BROOD_API int brood_log_call(void (*function)(enum brood_log_level level, const char *line, void *context), void *context,
                             enum brood_log_level level);

/* Would a line of this level be written?  For a caller that has to work to make the message. */
BROOD_API bool brood_log_is_on(enum brood_log_level level);

/* Writes a line, of at most 1000 bytes: newlines at the end of the text are dropped, those inside it become spaces.  errno
 * and brood_error() stay as they are. */
BROOD_API void brood_log(enum brood_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

BROOD_END

#endif
