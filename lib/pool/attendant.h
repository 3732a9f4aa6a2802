/* attendant.h - inside the library: a thread of the host that waits in the pool so that others need not.
 *
 * There is one only if it was asked for: for callbacks (`.callbacks = BROOD_CALLBACK_THREAD`) or by a descriptor
 * (brood_pool_fd(), brood_future_fd()).  It sleeps at a parker of its own, which every slot names from the beginning, and
 * collects what is done.  So the workers know nothing of descriptors, need none and can do no harm with one; a pool
 * without an attendant pays for all this with two branches a task.  Where workers are nobody but the caller there is no
 * thread: the caller collects.
 */
#ifndef BROOD_POOL_ATTENDANT_H
#define BROOD_POOL_ATTENDANT_H

#include "pool/pool.h"

#define ATTENDANT_PARKER (BOARD_PARKERS - 1)

/* From now on what is done is collected at once.  0 or a negative errno, in words.  Locked, as all that follows. */
int brood__attendant_start(struct brood_pool *pool);

/* Ends it, before the pool is closed.  Unlocks meanwhile. */
void brood__attendant_stop(struct brood_pool *pool);

/* A callback was added: who sleeps now, and is to call it, has not named itself in its slot. */
void brood__call_awaited(struct brood_pool *pool);

/* A callback is due: wakes who is to call it. */
void brood__attendant_tell(struct brood_pool *pool);

/* A thread has stopped calling: others, who found it at it, may have gone to sleep, or have read the descriptor. */
void brood__calls_left(struct brood_pool *pool);

/* A future is done: makes the pool's descriptor readable, if it is not. */
void brood__bell_ring(struct brood_pool *pool);

void brood__bell_close(struct brood_pool *pool);

/* Are callbacks called by whoever waits, and is there one that the calling thread could call? */
bool brood__callers_wait(const struct brood_pool *pool);
bool brood__calls_are_due(const struct brood_pool *pool);

/* Calls those, and returns how many.  Not locked meanwhile. */
int brood__call_due(struct brood_pool *pool);

#endif
