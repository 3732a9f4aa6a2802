/* queue_wake.h - wakes those that sleep until a queue has a message, has room, or is done.
 *
 * A waiter sets its bit in the gate, issues a heavy fence, tries once more, and sleeps.  A notifier puts or gets, issues a
 * light fence, and loads the gate.  The two fences pair (os/fence.h): the notifier sees the bit, or the waiter sees the
 * message or the room. */
#ifndef BROOD_SYNC_QUEUE_WAKE_H
#define BROOD_SYNC_QUEUE_WAKE_H

#include "os/fence.h"
#include "sync/queue/queue_layout.h"

/* Wakes up to `count` of those that sleep at this parker and have set this bit. */
void brood__queue_wake(struct brood_queue *queue, struct parker *parker, uint32_t bit, size_t count);
void brood__queue_wake_all(struct brood_queue *queue);

/* The caller has put so many messages. */
static inline void queue_notify_getters(struct brood_queue *queue, size_t count)
{
    brood__fence_light(); /* pairs with the heavy fence in queue_sleep_for() */
    if (__builtin_expect(queue_gate(queue) & QUEUE_GETTERS, 0))
        brood__queue_wake(queue, &queue->getters, QUEUE_GETTERS, count);
}

/* The caller has got so many. */
static inline void queue_notify_putters(struct brood_queue *queue, size_t count)
{
    brood__fence_light(); /* pairs with the heavy fence in queue_sleep_for() */
    if (__builtin_expect(queue_gate(queue) & QUEUE_PUTTERS, 0))
        brood__queue_wake(queue, &queue->putters, QUEUE_PUTTERS, count);
}

#endif
