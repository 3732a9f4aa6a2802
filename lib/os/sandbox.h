/* sandbox.h - a process that gives away what it could do: limits, capabilities, Landlock, seccomp.
 *
 *     r = brood__sandbox_prepare(&sandbox, options);  // before anyone else is there; in the end brood__sandbox_drop()
 *     ...                                             // fork, and perhaps exec
 *     r = brood__sandbox_enter(&sandbox);             // for ever
 *
 * What was prepared is numbers, which an exec'ed process is told as text.
 */
#ifndef BROOD_OS_SANDBOX_H
#define BROOD_OS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <brood/sandbox.h>

struct sandbox {
    uint64_t memory_bytes, file_bytes;
    int cpu_seconds, open_files;
    unsigned flags; /* what the filter is made of; 0: there is no sandbox */
    int rules;      /* Landlock's, a descriptor; -1: none */
};

#define SANDBOX_NONE ((struct sandbox){.rules = -1})
#define SANDBOX_TEXT 96

/* Is it one?  0, or -EINVAL in words. */
int brood__sandbox_check(const struct brood_sandbox *wanted);

/* Makes ready what can be entered; `wanted` may be NULL.  0; -ENOTSUP: not here; or why a path cannot be opened; in words.
 */
int brood__sandbox_prepare(struct sandbox *ret_sandbox, const struct brood_sandbox *wanted);

void brood__sandbox_drop(struct sandbox *sandbox);

/* As text for a process that is exec'ed, whose descriptor the rules stay; and back. */
int brood__sandbox_write(const struct sandbox *sandbox, char text[SANDBOX_TEXT]);
bool brood__sandbox_read(struct sandbox *ret_sandbox, const char *text);

/* Confines the calling process, and drops what was prepared.  0, or a negative errno in words, and then it may be confined
 * in part.  Other threads than the caller get the filter alone. */
int brood__sandbox_enter(struct sandbox *sandbox);

#endif
