/* open.h - inside the library: the memory of a pool. */
#ifndef BROOD_POOL_HOST_OPEN_H
#define BROOD_POOL_HOST_OPEN_H

#include "pool/core/pool.h"

/* Adds memory for one more lane, and its lane shadow.  Returns 0, or a negative errno with a message.  Locked, or the
 * pool is not open yet. */
int brood__pool_add_lane(struct brood_pool *pool);

/* Frees the lane shadows, the heap and the segment. */
void brood__pool_close_memory(struct brood_pool *pool);

#endif
