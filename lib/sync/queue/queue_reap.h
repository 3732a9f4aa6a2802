/* queue_reap.h - recovers what dead users of a queue left.
 *
 * Reaping discards no message: a message that a dead user had not yet got is in the queue again.  After a shutdown that
 * discards, the caller discards it, with its own owner number (queue_transfer.h). */
#ifndef BROOD_SYNC_QUEUE_REAP_H
#define BROOD_SYNC_QUEUE_REAP_H

#include "sync/queue/queue_layout.h"

/* Looks at all users, and reaps the dead ones as far as the lock is free before the deadline. */
void brood__queue_reap_all(struct brood_queue *queue, brood_deadline deadline);

/* The same for some users, and for the next ones the next time, if a look is due by the caller's slice; for users that sleep
 * with nothing begun only while a thread waits for what these would leave.  True: it was due. */
bool brood__queue_reap_some(struct brood_queue *queue, struct slice *slice, brood_deadline deadline);

/* The same for one user. */
void brood__queue_reap_if_dead(struct brood_queue *queue, unsigned owner, brood_deadline deadline);

#endif
