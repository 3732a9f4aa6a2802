/* death.h - inside the library: the deaths that a future's work has cost.
 *
 * Each worker that dies of a task, or of an item of a map, leaves a record with the future, in the host's own memory: what
 * its note and its certificate said, which are used again at once.  The records of a task that is tried again stay,
 * whatever becomes of it.  They are guarded as the future is: by the pool's lock, and not changed any more when it is done.
 */
#ifndef BROOD_POOL_DEATH_H
#define BROOD_POOL_DEATH_H

#include "pool/future.h"

/* Records of a future at most.  A map that loses more keeps those of the items that come first, which its outcome is
 * about, and an item the last ones. */
#define DEATHS_KEPT 1000

/* The outcome that a death of this answer's kind means. */
int brood__outcome_of_death(const struct answer *answer);

/* A worker died of the item (0 of a single task), which it tried for that time.  Out of memory there is no record of it.
 * Locked. */
void brood__deaths_keep(struct brood_future *future, const struct answer *answer, uint64_t item, uint32_t attempt,
                        const char *task);

/* The last death of the item is its outcome: these are the future's words for it.  Locked. */
void brood__deaths_say(struct brood_future *future, uint64_t item, bool is_quarantined);

/* Of one that is done: was a worker's death the end of it, or of an item of it?  A death before the last attempt was not.
 */
bool brood__deaths_is_lost(const struct brood_future *future);

void brood__deaths_free(struct brood_future *future);

#endif
