/* queue_wait.h - waits until a put or a get succeeds. */
#ifndef BROOD_SYNC_QUEUE_WAIT_H
#define BROOD_SYNC_QUEUE_WAIT_H

#include "sync/queue/queue_layout.h"

/* What a waiter waits to do. */
struct queue_op {
    struct brood_queue *queue;
    unsigned me;                /* its owner number */
    struct brood_bytes message; /* to put, if `space` is NULL */
    int64_t priority;
    struct brood_space *space; /* for the message to get */
    brood_deadline deadline;
};

/* The first attempt returned `r`, which is not 0.  Waits, and returns what the public calls return, with an error text; but
 * -EMSGSIZE without one if the space is brood__queue_peek. */
int brood__queue_wait_for(const struct queue_op *op, int r);

/* Sleeps at a parker whose generation was `seen`, for one slice; then reaps dead users if a look for them is due, and
 * returns whether it was.  `me`: the caller's owner number, or 0. */
bool brood__queue_sleep(struct brood_queue *queue, unsigned me, struct parker *parker, uint32_t seen, struct slice *slice,
                        brood_deadline deadline);

#endif
