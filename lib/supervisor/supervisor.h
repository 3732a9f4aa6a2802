/* supervisor.h - the process between host and workers, which only watches them.
 *
 * It forks the workers from its own single-threaded image, so that a replacement is never forked from a host with many
 * threads.  It sees deaths of workers (pidfds), marks the one task that the dead worker held as lost, and starts the
 * successor.  If the host dies, or closes its end of the control socket, the supervisor kills the workers and exits.  If
 * the supervisor dies, the kernel kills its workers (PDEATHSIG) and wakes the host's sleeping threads (the life word,
 * os/futex.h).
 */
#ifndef BROOD_SUPERVISOR_SUPERVISOR_H
#define BROOD_SUPERVISOR_SUPERVISOR_H

#include <brood/pool.h>

#include "proto/header.h"

/* Never returns.  Runs in a fresh child of `host`; `control` is the supervisor's end of the control socket. */
void brood__supervise(struct shared *shared, const struct brood_pool_options *options, pid_t host, int control)
    __attribute__((noreturn));

#endif
