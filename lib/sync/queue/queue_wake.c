#include "sync/queue/queue_wake.h"

#include <errno.h>

#include "os/futex.h"

/* ---- waking ---- */

/* The bit stays while the call wakes a sleeper, since there may be more of them; each passes the wake-up on if there is
 * more work.  When no sleeper was there the bit is cleared, and the second wake is for sleepers that set it just before.
 * The increment is a release: it pairs with the acquire of brood__parker_look(), so a woken waiter sees the message. */
void brood__queue_wake(struct brood_queue *queue, struct parker *parker, uint32_t bit, size_t count)
{
    atomic_fetch_add_explicit(&parker->generation, 1, memory_order_release);
    if (brood__futex_wake(&parker->generation, count < INT32_MAX ? (int)count : INT32_MAX) > 0)
        return;
    queue_gate_clear(queue, bit);
    brood__parker_wake(parker);
}

void brood__queue_wake_all(struct brood_queue *queue)
{
    brood__parker_wake(&queue->getters);
    brood__parker_wake(&queue->putters);
    brood__parker_wake(&queue->joiners);
}

/* ---- how full the queue is ---- */

size_t brood_queue_bound(const struct brood_queue *queue)
{
    return queue ? (size_t)ring_load(&queue->bound) : 0;
}

size_t brood_queue_size(const struct brood_queue *queue)
{
    size_t stored;

    if (!queue)
        return 0;
    stored = (size_t)ring_load(&queue->stored);
    return queue->kind == BROOD_FIFO ? stored + brood_ring_count(queue_ring(queue)) : stored;
}

bool brood_queue_empty(const struct brood_queue *queue)
{
    return brood_queue_size(queue) == 0;
}

bool brood_queue_full(const struct brood_queue *queue)
{
    size_t bound = brood_queue_bound(queue);

    return bound != 0 && brood_queue_size(queue) >= bound;
}

int brood_queue_set_bound(struct brood_queue *queue, size_t bound)
{
    if (!queue)
        return brood_fail(-EBADF, "the queue is NULL: not open yet, or closed");
    if (bound == 0 && queue_gate(queue) & QUEUE_FIXED)
        return brood_fail(-EINVAL, "a queue in memory of yours has a bound, so it cannot be 0");
    ring_store(&queue->bound, bound); /* one word: a death here, or two calls at the same time, leave one of the bounds */
    brood__parker_wake(&queue->putters);
    return 0;
}
