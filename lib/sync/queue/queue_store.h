/* queue_store.h - the store: the messages of a queue that are under its lock. */
#ifndef BROOD_SYNC_QUEUE_STORE_H
#define BROOD_SYNC_QUEUE_STORE_H

#include "sync/queue/queue_block.h"

/* Rebuilds the index, the counts and the words of unfinished messages after the lock's owner has died.  Called with the
 * lock. */
void brood__store_repair(struct brood_queue *queue);

/* As brood__queue_lock(), with that repair. */
static inline int queue_store_lock(struct brood_queue *queue, brood_deadline deadline)
{
    return brood__queue_lock(queue, brood__store_repair, deadline);
}

/* The caller has the lock.  0; -EAGAIN: full, or empty; -ENOSPC; -EMSGSIZE. */
int brood__store_put(struct brood_queue *queue, struct brood_bytes message, int64_t priority);
int brood__store_get(struct brood_queue *queue, unsigned owner, struct brood_space *space);

/* Space at this address has room for no message, not even an empty one: a get with it returns the next one's size. */
extern const char brood__queue_peek;

/* Messages of this length or more do not fit.  NULL: the caller discards the message, so every one fits. */
static inline size_t queue_bytes_below(const struct brood_space *space)
{
    if (!space || space->len == SIZE_MAX)
        return SIZE_MAX;
    return space->ptr == &brood__queue_peek ? 0 : space->len + 1;
}

/* ---- what an owner has in flight ---- */

static inline unsigned queue_in_flight_count(const struct brood_queue *queue, unsigned owner)
{
    return ring_in_flight_count(atomic_load_explicit(&queue_owner(queue, owner)->in_flight, memory_order_relaxed));
}

/* In a queue that is not joinable, the next get finishes what the owner got before. */
static inline void queue_in_flight_finish(const struct brood_queue *queue, unsigned owner)
{
    if (!(queue_gate(queue) & QUEUE_JOINABLE) && queue_in_flight_count(queue, owner) != 0)
        ring_store(&queue_owner(queue, owner)->in_flight, 0);
}

/* True if one more message could not be counted.  There is always room for one that its owner discards at once. */
static inline bool queue_in_flight_is_full(const struct brood_queue *queue, unsigned owner)
{
    return queue_in_flight_count(queue, owner) >= BROOD_QUEUE_HAND_MAX;
}
_Static_assert(BROOD_QUEUE_HAND_MAX < RING_IN_FLIGHT_COUNT, "the count has room for the maximum and one more");

/* What the owner has in flight with the message at this position added. */
static inline uint64_t queue_in_flight_with(const struct brood_queue *queue, unsigned owner, uint64_t position)
{
    return ring_in_flight(queue_in_flight_count(queue, owner) + 1, position);
}

#endif
