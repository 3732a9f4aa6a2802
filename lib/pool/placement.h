/* placement.h - see placement.c */
#ifndef BROOD_POOL_PLACEMENT_H
#define BROOD_POOL_PLACEMENT_H

#include "pool/pool.h"

/* The calling thread is about to sleep: if it is on a CPU that a worker should have, that worker gets it.  With the pool's
 * lock. */
void brood__placement_leave(const struct brood_pool *pool);

#endif
