/* life.h - inside the library: whether the pool can go on, and what happens to its work if not. */
#ifndef BROOD_POOL_CORE_LIFE_H
#define BROOD_POOL_CORE_LIFE_H

#include "pool/core/slots.h"

/* Settles everything in the lanes: published results are delivered, and all other jobs end because the pool is gone.
 * Locked. */
void brood__settle_all(struct brood_pool *pool);

/* Sets the reason why the pool is broken, or will be.  The first reason stays.  Locked. */
void brood__mark_broken(struct brood_pool *pool, const char *reason);

/* Breaks the pool if the supervisor is dead or has given up, or if a worker has overwritten memory that is not its own:
 * all its jobs fail.  Locked. */
void brood__check_life(struct brood_pool *pool);

/* Ends what has not started, also parts of maps, with -ECANCELED, and starts nothing more.  Locked. */
void brood__pool_cancel(struct brood_pool *pool);

/* Ends what has not started, as `state` says.  Locked. */
void brood__give_up_waiting(struct brood_pool *pool, enum slot_state state);

#endif
