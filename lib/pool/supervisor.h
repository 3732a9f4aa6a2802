/* supervisor.h - the process between host and workers, which does nothing but watch.
 *
 * It forks the workers from its own quiet, single-threaded image, so that a replacement never comes from a host full of
 * threads; it sees their deaths (pidfds), charges each to the one task that the dead held, and starts the next.  If the
 * host dies, or just lets go of its end of the control socket, it kills the workers and exits.  If it dies itself, the
 * kernel kills its workers (PDEATHSIG) and tells the host's sleeping threads (the life word, os/futex.h).
 */
#ifndef BROOD_POOL_SUPERVISOR_H
#define BROOD_POOL_SUPERVISOR_H

#include <brood/pool.h>

#include "shm/board.h"

/* What the host says on the control socket. */
#define ORDER_MAGIC 0x72656472 /* a stray write to a descriptor is no message */

enum order_kind {
    ORDER_STOP, /* end by the deadline */
    ORDER_END,  /* the same, and everybody gets SIGTERM now */
    ORDER_LOOK, /* at the roll: who is wanted has changed */
    ORDER_KILL, /* kill the worker that runs the task at `position` of `lane`, if it still does */
};

struct order {
    uint32_t magic, kind;
    int64_t deadline_ns;
    uint64_t position;
    uint32_t lane, reserved;
};

/* Never returns.  Called in a fresh child of `host`; `control` is its end of the socket. */
void brood__supervise(struct shared *shared, const struct brood_pool_options *options, pid_t host, int control)
    __attribute__((noreturn));

#endif
