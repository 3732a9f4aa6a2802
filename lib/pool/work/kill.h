/* kill.h - inside the library: kills a job that a worker runs. */
#ifndef BROOD_POOL_WORK_KILL_H
#define BROOD_POOL_WORK_KILL_H

#include "pool/core/kind.h"

/* Asks the task to stop, and kills its worker if that is a process.  Returns 0; -ENOTSUP: it is a thread; -EAGAIN.
 * Locked. */
int brood__kill_running(struct brood_pool *pool, const struct job *job);

#endif
