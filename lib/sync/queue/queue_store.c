#include "sync/queue/queue_store.h"

#include <errno.h>

/* ---- the index ----
 *
 * In a priority queue it is a heap of first blocks.  Else it is sorted by number, from place `first` on, since each new
 * message has the highest number: a FIFO queue takes from the front, and a LIFO queue from the back. */

static uint32_t store_entry(const struct brood_queue *queue, uint64_t place)
{
    return atomic_load_explicit(&queue_index(queue)[place], memory_order_relaxed);
}

static void store_set_entry(const struct brood_queue *queue, uint64_t place, uint32_t head)
{
    atomic_store_explicit(&queue_index(queue)[place], head, memory_order_relaxed);
}

static bool store_comes_before(const struct brood_queue *queue, uint32_t a, uint32_t b)
{
    const struct stored *first = block_stored(queue_block(queue, a)), *second = block_stored(queue_block(queue, b));

    if (queue->kind == BROOD_PRIORITY && first->priority != second->priority)
        return first->priority < second->priority;
    return first->number < second->number;
}

static void store_heap_push(struct brood_queue *queue, uint32_t head)
{
    uint64_t count = ring_load(&queue->stored), place = count;

    for (; place > 0 && store_comes_before(queue, head, store_entry(queue, (place - 1) / 2)); place = (place - 1) / 2)
        store_set_entry(queue, place, store_entry(queue, (place - 1) / 2));
    store_set_entry(queue, place, head);
    ring_store(&queue->stored, count + 1);
}

static void store_heap_pop(struct brood_queue *queue)
{
    uint64_t count = ring_load(&queue->stored) - 1, place = 0, child;
    uint32_t last = store_entry(queue, count);

    for (; (child = 2 * place + 1) < count; place = child) {
        if (child + 1 < count && store_comes_before(queue, store_entry(queue, child + 1), store_entry(queue, child)))
            child++;
        if (!store_comes_before(queue, store_entry(queue, child), last))
            break;
        store_set_entry(queue, place, store_entry(queue, child));
    }
    store_set_entry(queue, place, last);
    ring_store(&queue->stored, count);
}

static void store_swap_entries(struct brood_queue *queue, uint64_t a, uint64_t b)
{
    uint32_t head = store_entry(queue, a);

    store_set_entry(queue, a, store_entry(queue, b));
    store_set_entry(queue, b, head);
}

/* Moves each message in turn from the heap to the place after it.  That is the reverse order, so reverses it. */
static void store_sort(struct brood_queue *queue)
{
    uint64_t count = ring_load(&queue->stored);

    for (uint64_t left = count; left > 1; left--) {
        uint32_t next = store_entry(queue, 0);

        store_heap_pop(queue);
        store_set_entry(queue, left - 1, next);
    }
    for (uint64_t i = 0; i < count / 2; i++)
        store_swap_entries(queue, i, count - 1 - i);
    ring_store(&queue->stored, count);
}

/* The index has as many places as there are blocks, so all messages fit when they are moved to its beginning. */
static void store_append(struct brood_queue *queue, uint32_t head)
{
    uint64_t first = ring_load(&queue->first), count = ring_load(&queue->stored);

    if (first + count >= ring_load(&queue->committed)) {
        for (uint64_t i = 0; i < count; i++)
            store_set_entry(queue, i, store_entry(queue, first + i));
        first = 0;
        ring_store(&queue->first, first);
    }
    store_set_entry(queue, first + count, head);
    ring_store(&queue->stored, count + 1);
}

static void store_push(struct brood_queue *queue, uint32_t head)
{
    if (queue->kind == BROOD_PRIORITY)
        store_heap_push(queue, head);
    else
        store_append(queue, head);
}

/* The first block of the next message, if there is one. */
static uint32_t store_next(const struct brood_queue *queue)
{
    uint64_t count = ring_load(&queue->stored);

    if (queue->kind == BROOD_LIFO)
        return store_entry(queue, count > 0 ? count - 1 : 0);
    return store_entry(queue, queue->kind == BROOD_FIFO ? ring_load(&queue->first) : 0);
}

/* Removes the next message. */
static void store_pop(struct brood_queue *queue)
{
    if (queue->kind == BROOD_PRIORITY) {
        store_heap_pop(queue);
        return;
    }
    ring_store(&queue->stored, ring_load(&queue->stored) - 1);
    if (queue->kind == BROOD_FIFO)
        ring_store(&queue->first, ring_load(&queue->stored) == 0 ? 0 : ring_load(&queue->first) + 1);
}

/* ---- put and get ---- */

static uint64_t stored_word(enum block_state state, uint64_t number)
{
    return state | number << BLOCK_NUMBER_SHIFT;
}

int brood__store_put(struct brood_queue *queue, struct brood_bytes message, int64_t priority)
{
    uint64_t number = atomic_load_explicit(&queue->number, memory_order_relaxed) + 1;
    struct stored first = {priority, number, message.len};
    int64_t head = brood__blocks_write(queue, message, stored_word(BLOCK_BUILDING, number), &first, QUEUE_LOCKED);

    queue_assert_locked(queue);
    if (head < 0)
        return (int)head;
    /* From here on the message is put; a repair does what follows as well. */
    ring_store(&queue_block(queue, (uint64_t)head)->word, stored_word(BLOCK_STORED, number));
    ring_store(&queue->number, number);
    store_push(queue, (uint32_t)head);
    return 0;
}

int brood__store_get(struct brood_queue *queue, unsigned owner, struct brood_space *space)
{
    uint32_t head;
    struct block *block;
    struct stored stored;

    queue_assert_locked(queue);
    if (atomic_load_explicit(&queue->stored, memory_order_relaxed) == 0)
        return -EAGAIN;
    head = store_next(queue);
    block = queue_block(queue, head);
    stored = *block_stored(block);
    if (space && stored.length >= queue_bytes_below(space)) {
        space->len = stored.length;
        return -EMSGSIZE;
    }
    if (space) {
        brood__blocks_read(queue, head, true, space->ptr, stored.length);
        space->len = stored.length;
    }
    /* In this order, as in a ring: if the reader dies in between, the message is known to be in flight. */
    ring_store(&queue_owner(queue, owner)->in_flight,
               queue_in_flight_with(queue, owner, stored.number) | RING_IN_FLIGHT_STORED);
    ring_store(&block->word, BLOCK_FREE);
    store_pop(queue);
    return 0;
}

/* ---- after a death ---- */

/* True if the dead owner of the lock got this message, and had not yet freed it. */
static bool store_is_in_flight(const struct brood_queue *queue, uint64_t number)
{
    uint32_t up = queue_users_up(queue);

    for (unsigned i = 1; i <= up; i++)
        if (ring_in_flight_has(ring_load(&queue_owner(queue, i)->in_flight), number, RING_IN_FLIGHT_STORED))
            return true;
    return false;
}

static void store_repair_block(struct brood_queue *queue, uint32_t number)
{
    struct block *block = queue_block(queue, number);
    uint64_t word = ring_load(&block->word);
    uint64_t state = word & ((1u << BLOCK_STATE_BITS) - 1);
    uint64_t message = block_stored(block)->number;

    if (state == BLOCK_BUILDING || (state == BLOCK_STORED && store_is_in_flight(queue, message))) {
        ring_store(&block->word, BLOCK_FREE);
    } else if (state == BLOCK_STORED) {
        store_heap_push(queue, number);
        if (message > ring_load(&queue->number))
            ring_store(&queue->number, message);
    }
}

void brood__store_repair(struct brood_queue *queue)
{
    uint64_t committed = ring_load(&queue->committed);

    queue_assert_locked(queue);
    ring_store(&queue->first, 0);
    ring_store(&queue->stored, 0);
    for (uint64_t i = 0; i < committed; i++)
        store_repair_block(queue, (uint32_t)i);
    if (queue->kind != BROOD_PRIORITY)
        store_sort(queue);
    if (queue->kind == BROOD_FIFO && ring_load(&queue->stored) > 0)
        queue_gate_set(queue, QUEUE_HAS_STORED);
    else
        queue_gate_clear(queue, QUEUE_HAS_STORED);
}
