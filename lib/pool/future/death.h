/* death.h - inside the library: the deaths that a future's work has caused.
 *
 * For each worker that dies of a task, or of an item of a map, the host keeps a record with the future, in its own memory:
 * a copy of the slot extension and the certificate, which are reused at once.  The records of a retried task stay, however
 * it ends.  The pool's lock guards them, as it guards the future; they do not change after the future is done.
 */
#ifndef BROOD_POOL_FUTURE_DEATH_H
#define BROOD_POOL_FUTURE_DEATH_H

#include "pool/future/future.h"

/* The maximum number of records of a future.  A map with more deaths keeps those of the first items, which its outcome
 * is about, and of an item the last ones. */
#define DEATHS_KEPT 1000

/* The outcome for this answer's cause of death. */
int brood__outcome_of_death(const struct answer *answer);

/* Records that a worker died of the item (0 for a single task) in that attempt.  If memory is short there is no record.
 * Locked. */
void brood__deaths_keep(struct brood_future *future, const struct answer *answer, uint64_t item, uint32_t attempt,
                        const char *task);

/* The last death of the item is its outcome: makes it the future's message.  Locked. */
void brood__deaths_say(struct brood_future *future, uint64_t item, bool is_quarantined);

/* The message about the last death of an item of a finished future, if that is its outcome.  False: it is not, or the
 * record is not kept. */
bool brood__deaths_message(const struct brood_future *future, uint64_t item, int outcome, char *ret_words, size_t size);

/* For a finished future: did a worker's death end it, or an item of it?  A death before the last attempt did not. */
bool brood__deaths_is_lost(const struct brood_future *future);

/* For a single task: has the worker that ran that attempt died of it?  Locked, or the future is done. */
bool brood__deaths_end_with(const struct brood_future *future, uint32_t attempt);

void brood__deaths_free(struct brood_future *future);

#endif
