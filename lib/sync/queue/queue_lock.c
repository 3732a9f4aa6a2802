#include "sync/queue/queue_lock.h"

#include <errno.h>

#include "os/clock.h"
#include "os/identity.h"
#include "sync/claim.h"

#define LOCK_WAIT_NS 100000000 /* at most, since a shutdown may come meanwhile */
#define LOCK_FIRST_NS 20000    /* with BROOD_NOW: how long to wait before asking whether the owner is stopped */
#define LOCK_AGAIN_NS 1000000  /* ... and before asking again */

static int queue_lock_before(struct brood_queue *queue, brood_deadline deadline)
{
    return claim_take(&queue->lock.word, brood__self(), brood__identity_is_dead, deadline);
}

static int queue_lock_now(struct brood_queue *queue)
{
    brood_deadline end = brood__after_ns(QUEUE_PROGRESS_NS);
    int r = queue_lock_before(queue, brood__after_ns(LOCK_FIRST_NS));

    while (r == -ETIMEDOUT && !brood__is_past(end) && !brood__identity_is_stopped(claim_owner(&queue->lock.word)))
        r = queue_lock_before(queue, brood__after_ns(LOCK_AGAIN_NS));
    return r;
}

int brood__queue_lock(struct brood_queue *queue, queue_repair *repair, brood_deadline deadline)
{
    int r;

    if (claim_try(&queue->lock.word, brood__self()))
        return 0;
    if (deadline.ns > 0)
        r = queue_lock_before(queue, brood__sooner(deadline, brood__after_ns(LOCK_WAIT_NS)));
    else
        r = queue_lock_now(queue);
    if (r == -EOWNERDEAD)
        repair(queue);
    return r == 0 || r == -EOWNERDEAD ? 0 : -EBUSY;
}

void brood__queue_unlock(struct brood_queue *queue)
{
    queue_assert_locked(queue);
    (void)claim_give(&queue->lock.word);
}
