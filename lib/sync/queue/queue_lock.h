/* queue_lock.h - the lock around a queue's store. */
#ifndef BROOD_SYNC_QUEUE_LOCK_H
#define BROOD_SYNC_QUEUE_LOCK_H

#include "os/assert.h"
#include "sync/claim.h"
#include "sync/queue/queue_layout.h"

/* Repairs what the lock's last owner left if it died.  Called with the lock. */
typedef void queue_repair(struct brood_queue *queue);

/* How a caller that may need the lock gets it: it has it already, or it waits for it until the deadline. */
struct queue_locking {
    bool has_lock;
    brood_deadline deadline;
    queue_repair *repair;
};
#define QUEUE_LOCKED ((struct queue_locking){.has_lock = true})

/* Takes the lock, and calls `repair` if its last owner died with it.  An owner holds it for no longer than a copy takes: so
 * with BROOD_NOW this waits, too, for QUEUE_PROGRESS_NS, unless the owner is stopped.  0; -EBUSY, without an error text:
 * the deadline has come, or so much time has passed that the caller should check whether it still wants the lock. */
int brood__queue_lock(struct brood_queue *queue, queue_repair *repair, brood_deadline deadline);
void brood__queue_unlock(struct brood_queue *queue);

/* At the start of a function that is called with the lock. */
#define queue_assert_locked(queue) brood__assert(claim_is_ours(&(queue)->lock.word))

#endif
