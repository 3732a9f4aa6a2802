/* queue_member.h - the owner numbers that threads have in queues. */
#ifndef BROOD_SYNC_QUEUE_MEMBER_H
#define BROOD_SYNC_QUEUE_MEMBER_H

#include "sync/queue/queue_layout.h"

/* A thread's owner number in a queue.  The thread writes it.  Another thread of the process that closes the queue clears
 * `queue`: relaxed, since no thread is in a call of that queue then. */
struct queue_member {
    const struct brood_queue *_Atomic queue;
    uint64_t serial;
    unsigned owner;
};

/* The number that the calling thread used last.  In the part of a thread's memory that is found without a call, so it has
 * to be small. */
extern _Thread_local struct queue_member brood__queue_member __attribute__((tls_model("initial-exec")));

int brood__queue_join_in(struct brood_queue *queue, brood_deadline deadline);

/* The calling thread's owner number.  Or -EBADF, -ENOMEM; -EAGAIN, -ETIMEDOUT: other threads have all numbers. */
static inline int queue_me(struct brood_queue *queue, brood_deadline deadline)
{
    const struct queue_member *member = &brood__queue_member;

    if (__builtin_expect(queue && atomic_load_explicit(&member->queue, memory_order_relaxed) == queue &&
                             member->serial == queue->serial,
                         1))
        return (int)member->owner;
    return brood__queue_join_in(queue, deadline);
}

/* Gives back the numbers that threads of this process have in the queue. */
void brood__queue_leave(struct brood_queue *queue);

#endif
