#include <errno.h>
#include <stddef.h>

#include "os/clock.h"
#include "sync/queue.h"

#define LOCK_WAIT_MS 100

/* ---- the lock ---- */

int brood__queue_lock(struct brood_queue *queue, brood_deadline deadline)
{
    brood_deadline least = brood_after_ms(LOCK_WAIT_MS);
    int r = brood_lock_acquire(&queue->lock, deadline.ns > least.ns ? deadline : least);

    if (r == -EOWNERDEAD) {
        brood__store_mend(queue);
        r = 0;
    }
    if (r == -ETIMEDOUT && deadline.ns <= 0)
        r = brood_fail(-EAGAIN, "somebody who uses the queue stands still in the middle of a call");
    return r;
}

void brood__queue_unlock(struct brood_queue *queue)
{
    (void)brood_lock_release(&queue->lock);
}

/* ---- the index ----
 *
 * By priority it is a heap of first blocks.  Else it is sorted by number, from place `first` on, since each that is put has
 * the highest one: FIFO takes from the front, and LIFO from the back. */

static uint32_t entry(const struct brood_queue *queue, uint64_t place)
{
    return atomic_load_explicit(&queue_index(queue)[place], memory_order_relaxed);
}

static void set_entry(const struct brood_queue *queue, uint64_t place, uint32_t head)
{
    atomic_store_explicit(&queue_index(queue)[place], head, memory_order_relaxed);
}

static bool comes_before(const struct brood_queue *queue, uint32_t a, uint32_t b)
{
    const struct stored *first = block_stored(queue_block(queue, a)), *second = block_stored(queue_block(queue, b));

    if (queue->kind == BROOD_PRIORITY && first->priority != second->priority)
        return first->priority < second->priority;
    return first->number < second->number;
}

static void heap_push(struct brood_queue *queue, uint32_t head)
{
    uint64_t count = ring_load(&queue->stored), place = count;

    for (; place > 0 && comes_before(queue, head, entry(queue, (place - 1) / 2)); place = (place - 1) / 2)
        set_entry(queue, place, entry(queue, (place - 1) / 2));
    set_entry(queue, place, head);
    ring_store(&queue->stored, count + 1);
}

static void heap_pop(struct brood_queue *queue)
{
    uint64_t count = ring_load(&queue->stored) - 1, place = 0, child;
    uint32_t last = entry(queue, count);

    for (; (child = 2 * place + 1) < count; place = child) {
        if (child + 1 < count && comes_before(queue, entry(queue, child + 1), entry(queue, child)))
            child++;
        if (!comes_before(queue, entry(queue, child), last))
            break;
        set_entry(queue, place, entry(queue, child));
    }
    set_entry(queue, place, last);
    ring_store(&queue->stored, count);
}

static void swap_entries(struct brood_queue *queue, uint64_t a, uint64_t b)
{
    uint32_t head = entry(queue, a);

    set_entry(queue, a, entry(queue, b));
    set_entry(queue, b, head);
}

/* Each in turn goes behind what is left of the heap; that is the wrong way round. */
static void sort_heap(struct brood_queue *queue)
{
    uint64_t count = ring_load(&queue->stored);

    for (uint64_t left = count; left > 1; left--) {
        uint32_t next = entry(queue, 0);

        heap_pop(queue);
        set_entry(queue, left - 1, next);
    }
    for (uint64_t i = 0; i < count / 2; i++)
        swap_entries(queue, i, count - 1 - i);
    ring_store(&queue->stored, count);
}

/* The index has as many places as there are blocks, so that there is room for all at its beginning. */
static void append(struct brood_queue *queue, uint32_t head)
{
    uint64_t first = ring_load(&queue->first), count = ring_load(&queue->stored);

    if (first + count >= ring_load(&queue->committed)) {
        for (uint64_t i = 0; i < count; i++)
            set_entry(queue, i, entry(queue, first + i));
        first = 0;
        ring_store(&queue->first, first);
    }
    set_entry(queue, first + count, head);
    ring_store(&queue->stored, count + 1);
}

static void push(struct brood_queue *queue, uint32_t head)
{
    if (queue->kind == BROOD_PRIORITY)
        heap_push(queue, head);
    else
        append(queue, head);
}

/* The first block of what comes next, if there is anything. */
static uint32_t next_head(const struct brood_queue *queue)
{
    uint64_t count = ring_load(&queue->stored);

    if (queue->kind == BROOD_LIFO)
        return entry(queue, count > 0 ? count - 1 : 0);
    return entry(queue, queue->kind == BROOD_FIFO ? ring_load(&queue->first) : 0);
}

/* Takes that one away. */
static void pop(struct brood_queue *queue)
{
    if (queue->kind == BROOD_PRIORITY) {
        heap_pop(queue);
        return;
    }
    ring_store(&queue->stored, ring_load(&queue->stored) - 1);
    if (queue->kind == BROOD_FIFO)
        ring_store(&queue->first, ring_load(&queue->stored) == 0 ? 0 : ring_load(&queue->first) + 1);
}

/* ---- put and get ---- */

static uint64_t word_of(enum block_state state, uint64_t number)
{
    return state | number << BLOCK_NUMBER_SHIFT;
}

int brood__store_put(struct brood_queue *queue, struct brood_bytes message, int64_t priority)
{
    uint64_t number = atomic_load_explicit(&queue->number, memory_order_relaxed) + 1;
    struct stored first = {priority, number, message.len};
    int64_t head = brood__blocks_write(queue, message, word_of(BLOCK_BUILDING, number), &first, true);

    if (head < 0)
        return (int)head;
    /* From here on it was put; what follows, mend() does as well. */
    ring_store(&queue_block(queue, (uint64_t)head)->word, word_of(BLOCK_STORED, number));
    ring_store(&queue->number, number);
    push(queue, (uint32_t)head);
    return 0;
}

int brood__store_get(struct brood_queue *queue, unsigned owner, struct brood_space *space)
{
    uint32_t head;
    struct block *block;
    struct stored stored;

    if (atomic_load_explicit(&queue->stored, memory_order_relaxed) == 0)
        return -EAGAIN;
    head = next_head(queue);
    block = queue_block(queue, head);
    stored = *block_stored(block);
    if (space && stored.length > space->len) {
        space->len = stored.length;
        return -EMSGSIZE;
    }
    if (space) {
        brood__blocks_read(queue, head, true, space->ptr, stored.length);
        space->len = stored.length;
    }
    /* In this order, as in a ring: a message that is gone and in no hand would be lost with its reader. */
    ring_store(&queue_owner(queue, owner)->hand, queue_hand_with(queue, owner, stored.number) | RING_HAND_ELSEWHERE);
    ring_store(&block->word, BLOCK_FREE);
    pop(queue);
    return 0;
}

/* ---- after a death ---- */

/* The one who died with the lock was given it, and had not yet freed it. */
static bool was_given(const struct brood_queue *queue, uint64_t number)
{
    uint32_t up = atomic_load_explicit(&queue->users_up, memory_order_acquire);

    for (unsigned i = 1; i <= up; i++)
        if (ring_hand_has(ring_load(&queue_owner(queue, i)->hand), number, RING_HAND_ELSEWHERE))
            return true;
    return false;
}

static void mend_block(struct brood_queue *queue, uint32_t number)
{
    struct block *block = queue_block(queue, number);
    uint64_t word = ring_load(&block->word);
    uint64_t state = word & ((1u << BLOCK_STATE_BITS) - 1);
    uint64_t message = block_stored(block)->number;

    if (state == BLOCK_BUILDING || (state == BLOCK_STORED && was_given(queue, message))) {
        ring_store(&block->word, BLOCK_FREE);
    } else if (state == BLOCK_STORED) {
        heap_push(queue, number);
        if (message > ring_load(&queue->number))
            ring_store(&queue->number, message);
    }
}

void brood__store_mend(struct brood_queue *queue)
{
    uint64_t committed = ring_load(&queue->committed);

    ring_store(&queue->first, 0);
    ring_store(&queue->stored, 0);
    for (uint64_t i = 0; i < committed; i++)
        mend_block(queue, (uint32_t)i);
    if (queue->kind != BROOD_PRIORITY)
        sort_heap(queue);
    if (queue->kind == BROOD_FIFO && ring_load(&queue->stored) > 0)
        queue_gate_set(queue, QUEUE_SPILLED);
    else
        queue_gate_open(queue, QUEUE_SPILLED);
}
