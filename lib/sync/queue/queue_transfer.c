#include "sync/queue/queue_transfer.h"

/* ---- put ---- */

/* Writes the message into blocks before it claims a position, since all others wait for a position that was claimed. */
__attribute__((noinline)) int brood__queue_put_long(struct brood_queue *queue, unsigned me, struct brood_bytes message,
                                                    uint64_t bound, struct queue_locking locking)
{
    struct brood_ring *ring = queue_ring(queue);
    struct ring_slot *slot;
    uint64_t position;
    int64_t block;

    if (brood_queue_full(queue))
        return -EAGAIN;
    block = brood__blocks_write(queue, message, block_owned(me), NULL, locking);
    if (block < 0)
        return (int)block;
    slot = ring_put_begin(ring, me, bound, &position);
    if (!slot) {
        brood__blocks_name(queue, (uint64_t)block, BLOCK_FREE);
        return -EAGAIN;
    }
    brood__blocks_name(queue, (uint64_t)block, ring_word((enum ring_state)BLOCK_SLOT, 0, position));
    ring_set_length(slot, queue_long(message.len, (uint32_t)block));
    ring_put_end(ring, me, slot, RING_LONG, position);
    return 0;
}

/* With the lock: puts into the store, unless that is empty and the ring has room by now. */
static int queue_put_locked(struct brood_queue *queue, unsigned me, struct brood_bytes message, int64_t priority)
{
    bool is_fifo = queue->kind == BROOD_FIFO;
    int r;

    queue_assert_locked(queue);
    if (queue_gate(queue) & QUEUE_SHUT)
        return -ESHUTDOWN;
    if (brood_queue_full(queue))
        return -EAGAIN;
    if (is_fifo && !(queue_gate(queue) & QUEUE_HAS_STORED)) {
        r = queue_put_into_ring(queue, me, message, QUEUE_LOCKED);
        if (r != -EAGAIN || queue_ring_bound(queue) != 0)
            return r;
        /* Before the message is there: the next producer must not overtake it. */
        queue_gate_set(queue, QUEUE_HAS_STORED);
    }
    r = brood__store_put(queue, message, is_fifo ? 0 : priority);
    if (is_fifo && ring_load(&queue->stored) == 0)
        queue_gate_clear(queue, QUEUE_HAS_STORED);
    return r;
}

__attribute__((noinline)) int brood__queue_put_with_lock(struct brood_queue *queue, unsigned me, struct brood_bytes message,
                                                         int64_t priority, brood_deadline deadline)
{
    int r;

    if (brood_queue_full(queue)) /* most waiting producers see it here, and need not take the lock */
        return -EAGAIN;
    r = queue_store_lock(queue, deadline);
    if (r < 0)
        return r;
    r = queue_put_locked(queue, me, message, priority);
    brood__queue_unlock(queue);
    queue_discard_rest(queue, me, deadline);
    return r;
}

/* ---- get ---- */

__attribute__((noinline)) void brood__queue_read_long(const struct brood_queue *queue, struct ring_slot *slot, void *to,
                                                      uint64_t length)
{
    uint64_t word = atomic_load_explicit((_Atomic uint64_t *)(void *)slot->message, memory_order_relaxed);

    brood__blocks_read(queue, (uint32_t)(word >> RING_LONG_BITS), false, to, length);
}

/* With the lock.  The messages in the ring are older than those in the store.  While the store has messages an empty ring
 * stays empty, except for producers that had begun to put before. */
static int queue_get_locked(struct brood_queue *queue, unsigned me, struct brood_space *space)
{
    bool is_empty = true;
    int r;

    queue_assert_locked(queue);
    if (queue->kind == BROOD_FIFO) {
        r = queue_get_from_ring(queue, me, space, &is_empty);
        if (r != -EAGAIN || !is_empty)
            return r;
    }
    r = brood__store_get(queue, me, space);
    if (ring_load(&queue->stored) == 0)
        queue_gate_clear(queue, QUEUE_HAS_STORED);
    return r;
}

static int queue_take_lock_and_get(struct brood_queue *queue, unsigned me, struct brood_space *space,
                                   brood_deadline deadline)
{
    int r;

    if (ring_load(&queue->stored) == 0 && queue->kind != BROOD_FIFO)
        return -EAGAIN;
    r = queue_store_lock(queue, deadline);
    if (r < 0)
        return r;
    r = queue_get_locked(queue, me, space);
    brood__queue_unlock(queue);
    return r;
}

__attribute__((noinline)) int brood__queue_get_with_lock(struct brood_queue *queue, unsigned me, struct brood_space *space,
                                                         brood_deadline deadline)
{
    int r = queue_take_lock_and_get(queue, me, space, deadline);

    queue_discard_rest(queue, me, deadline);
    return r;
}

/* ---- discarding ---- */

static bool queue_discard_one(struct brood_queue *queue, unsigned me, brood_deadline deadline)
{
    int r;

    if (!queue_get_lock_free(queue, me, NULL, &r))
        r = queue_take_lock_and_get(queue, me, NULL, deadline);
    if (r == 0)
        brood__queue_finish(queue, me);
    return r == 0;
}

void brood__queue_discard_rest(struct brood_queue *queue, unsigned me, brood_deadline deadline)
{
    bool has_discarded = false;

    while (queue_discard_one(queue, me, deadline))
        has_discarded = true;
    if (has_discarded)
        brood__queue_notify_joiners(queue);
}
