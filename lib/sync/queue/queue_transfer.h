/* queue_transfer.h - one attempt to put a message, or to get one, without waiting for the other side.
 *
 * The common case is inline, in the public calls and in their waits; what needs blocks or the lock is not. */
#ifndef BROOD_SYNC_QUEUE_TRANSFER_H
#define BROOD_SYNC_QUEUE_TRANSFER_H

#include <errno.h>
#include <string.h>

#include "sync/queue/queue_account.h"
#include "sync/queue/queue_store.h"

int brood__queue_put_long(struct brood_queue *queue, unsigned me, struct brood_bytes message, uint64_t bound,
                          struct queue_locking locking);
int brood__queue_put_with_lock(struct brood_queue *queue, unsigned me, struct brood_bytes message, int64_t priority,
                               brood_deadline deadline);
void brood__queue_read_long(const struct brood_queue *queue, struct ring_slot *slot, void *to, uint64_t length);
int brood__queue_get_with_lock(struct brood_queue *queue, unsigned me, struct brood_space *space, brood_deadline deadline);

/* Discards what is left, if the queue was shut down so, as far as the lock is free before the deadline.  `me`: the caller's
 * owner number. */
void brood__queue_discard_rest(struct brood_queue *queue, unsigned me, brood_deadline deadline);

/* The caller put a message, or had the lock.  A shutdown that came meanwhile may have discarded the rest before this
 * message was there, or may have found the lock held and discarded nothing. */
static inline void queue_discard_rest(struct brood_queue *queue, unsigned me, brood_deadline deadline)
{
    if (__builtin_expect(queue_gate(queue) & QUEUE_DISCARD, 0))
        brood__queue_discard_rest(queue, me, deadline);
}

/* ---- put ---- */

/* Also where the compiler would not: as a call, an attempt takes 5 ns more, a quarter of a message's time. */
#define QUEUE_INLINE static inline __attribute__((always_inline))

/* A call to memcpy() costs more than the move that many messages are. */
static inline void queue_copy(void *to, const void *from, size_t bytes)
{
    if (bytes == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else if (bytes > 0)
        memcpy(to, from, bytes);
}

/* The length of the longest message that lies in a slot. */
static inline size_t queue_slot_room(const struct brood_ring *ring)
{
    size_t room = ring->slot_bytes - sizeof(struct ring_slot);

    return room < RING_LONG ? room : RING_LONG - 1;
}

QUEUE_INLINE int queue_put_into_ring(struct brood_queue *queue, unsigned me, struct brood_bytes message,
                                     struct queue_locking locking)
{
    struct brood_ring *ring = queue_ring(queue);
    uint64_t bound = queue_ring_bound(queue), position;
    struct ring_slot *slot;

    if (__builtin_expect(message.len > queue_slot_room(ring), 0))
        return brood__queue_put_long(queue, me, message, bound, locking);
    slot = ring_put_begin(ring, me, bound, &position);
    if (!slot)
        return -EAGAIN;
    queue_copy(slot->message, message.ptr, message.len);
    ring_put_end(ring, me, slot, (unsigned)message.len, position);
    return 0;
}

/* True if the store never takes what does not fit into the ring. */
static inline bool queue_ring_is_all(const struct brood_queue *queue)
{
    uint64_t bound = ring_load(&queue->bound);

    return bound != 0 && bound <= queue_ring(queue)->slots;
}

/* 0; -EAGAIN: full; -EBUSY: the lock was not free until the deadline; -ESHUTDOWN, without an error text; -ENOSPC. */
QUEUE_INLINE int queue_try_put(struct brood_queue *queue, unsigned me, struct brood_bytes message, int64_t priority,
                               brood_deadline deadline)
{
    uint32_t gate = queue_gate(queue);

    if (__builtin_expect(gate & QUEUE_SHUT, 0))
        return -ESHUTDOWN;
    if (queue->kind == BROOD_FIFO && !(gate & QUEUE_HAS_STORED)) {
        int r = queue_put_into_ring(queue, me, message,
                                    (struct queue_locking){.deadline = deadline, .repair = brood__store_repair});

        if (__builtin_expect(r != -EAGAIN, 1) || queue_ring_is_all(queue))
            return r;
    }
    return brood__queue_put_with_lock(queue, me, message, priority, deadline);
}

/* ---- get ---- */

/* 0; -EMSGSIZE; -EAGAIN: there is no message to get; *ret_is_empty: nor a half-written one.  Space NULL: the caller
 * discards the message. */
QUEUE_INLINE int queue_get_from_ring(struct brood_queue *queue, unsigned me, struct brood_space *space, bool *ret_is_empty)
{
    struct brood_ring *ring = queue_ring(queue);
    struct ring_seen seen;
    struct ring_slot *slot = ring_get_begin(ring, me, queue_bytes_below(space), &seen);

    if (!slot) {
        *ret_is_empty = seen.outcome == RING_EMPTY;
        if (seen.outcome != RING_TOO_LONG)
            return -EAGAIN;
        space->len = seen.length;
        return -EMSGSIZE;
    }
    if (space) {
        if (__builtin_expect(ring_word_owner(seen.word) == RING_LONG, 0)) {
            brood__queue_read_long(queue, slot, space->ptr, seen.length);
        } else {
            queue_copy(space->ptr, slot->message, seen.length);
            ring_own_lines(slot, seen.length);
        }
        space->len = seen.length;
    }
    ring_get_end(ring, me, slot, queue_in_flight_with(queue, me, seen.position), seen.position);
    return 0;
}

/* False: the next message, if there is one, is in the store.  True: *ret_r is the outcome, as above. */
QUEUE_INLINE bool queue_get_lock_free(struct brood_queue *queue, unsigned me, struct brood_space *space, int *ret_r)
{
    bool is_empty = true;

    if (queue->kind != BROOD_FIFO)
        return false;
    *ret_r = queue_get_from_ring(queue, me, space, &is_empty);
    return __builtin_expect(*ret_r != -EAGAIN, 1) || !is_empty || !(queue_gate(queue) & QUEUE_HAS_STORED);
}

/* 0; -EAGAIN: empty; -EBUSY: the lock was not free until the deadline; -ESHUTDOWN, -EMSGSIZE, without an error text. */
QUEUE_INLINE int queue_try_get(struct brood_queue *queue, unsigned me, struct brood_space *space, brood_deadline deadline)
{
    uint32_t gate = queue_gate(queue); /* before the look: so it sees every message that was put before the shutdown */
    int r;

    if (__builtin_expect(gate & QUEUE_DISCARD, 0))
        return -ESHUTDOWN;
    if (!queue_get_lock_free(queue, me, space, &r))
        r = brood__queue_get_with_lock(queue, me, space, deadline);
    return r == -EAGAIN && (gate & QUEUE_SHUT) && brood__queue_is_drained(queue) ? -ESHUTDOWN : r;
}

#endif
