/* brood/wait.h - waits for the first of many things: pipes, processes (brood_process_sentinel()), threads
 * (brood_thread_sentinel()), futures (brood_future_fd()), sockets, whatever has a descriptor.
 *
 *     struct brood_waited things[] = {BROOD_WAIT_PIPE(pipe), BROOD_WAIT_FD(pidfd), BROOD_WAIT_FD(socket)};
 *     bool ready[3];
 *     int n = brood_wait(things, 3, ready, brood_after_ms(250));      // how many are, at least 1; or -ETIMEDOUT
 */
#ifndef BROOD_WAIT_H
#define BROOD_WAIT_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_pipe;

/* One of the things: a pipe's end, or, where `pipe` is NULL, a descriptor. */
struct brood_waited {
    struct brood_pipe *pipe;
    int fd;
};

#ifndef __cplusplus
#define BROOD_WAIT_PIPE(end) ((struct brood_waited){.pipe = (end), .fd = -1})
#define BROOD_WAIT_FD(number) ((struct brood_waited){.fd = (number)})
#endif

/* Waits until one of `n` things is ready, and tells of each whether it is: ret_ready[i] of things[i]; NULL: only
 * how many.  A pipe is ready when brood_pipe_poll() would say so; a descriptor, when it is readable or hung up.  The same
 * thing may be there twice.
 *
 * Returns how many are ready; or -EAGAIN: none, and the deadline is BROOD_NOW; -ETIMEDOUT; -EBADF: one is not open, and the
 * error text says which; -EINVAL: nothing to wait for, and no deadline, or the things are at NULL; -ENOMEM.  No signal ends
 * it. Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_wait(const struct brood_waited *things, size_t n, bool *ret_ready,
                                        brood_deadline deadline);

BROOD_END

#endif
