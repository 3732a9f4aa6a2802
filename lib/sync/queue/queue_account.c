/* No counter holds the number of unfinished messages, since it would cost each put a locked instruction.  The number is how
 * many positions of the ring producers have claimed, less those that were abandoned, plus how many messages were put into
 * the store, less what each user has finished.  Each of these is written by one user alone, or follows from the words of
 * slots and blocks.  A change that takes two stores is announced by the first, so that the reaper of a dead user knows what
 * to complete (queue_reap.c). */
#include "sync/queue/queue_account.h"

#include "sync/queue/queue_wake.h"

/* ---- what is unfinished ---- */

static uint64_t account_sum_done(const struct brood_queue *queue)
{
    uint32_t up = queue_users_up(queue);
    uint64_t sum = 0;

    for (unsigned i = 1; i <= up; i++) {
        const struct ring_owner *owner = queue_owner(queue, i);

        sum += account_done(ring_load(&owner->account)) + (ring_load(&owner->tombs) >> 1);
    }
    return sum;
}

static uint64_t account_count_put(const struct brood_queue *queue)
{
    return ring_load(&queue->number) + brood__ring_tail(queue_ring(queue));
}

size_t brood_queue_unfinished(const struct brood_queue *queue)
{
    uint64_t done, put;

    if (!queue)
        return 0;
    done = account_sum_done(queue); /* first: what is done was put before, so the result is never too small */
    put = account_count_put(queue);
    return put > done ? put - done : 0;
}

static uint64_t account_count_ring(const struct brood_queue *queue)
{
    const struct brood_ring *ring = queue_ring(queue);
    uint64_t count = 0;

    for (uint64_t i = 0; i < ring->slots; i++) {
        enum ring_state state = ring_word_state(ring_load(&ring_slot_at(ring, i)->word));

        count += state != RING_FREE && state != RING_TOMB;
    }
    return count;
}

/* A message that a user is about to get returns to the queue if that user dies, and one that is about to be put still
 * comes. */
bool brood__queue_is_drained(const struct brood_queue *queue)
{
    return brood_queue_size(queue) == 0 && (queue->kind != BROOD_FIFO || account_count_ring(queue) == 0);
}

/* Messages that the owner is finishing right now still count, since they are not done yet. */
static uint64_t account_in_flight_of(const struct ring_owner *own)
{
    uint64_t was, in_flight;

    do {
        was = ring_load(&own->account);
        in_flight = ring_load(&own->in_flight);
    } while (ring_load(&own->account) != was);
    return account_state(was) == ACCOUNT_REST ? ring_in_flight_count(in_flight) : account_count(was);
}

static uint64_t account_in_flight(const struct brood_queue *queue)
{
    uint32_t up = queue_users_up(queue);
    uint64_t count = 0;

    for (unsigned i = 1; i <= up; i++)
        count += account_in_flight_of(queue_owner(queue, i));
    return count;
}

/* Counts in the order in which a message goes its way: so it may count a message twice, and answer no, but misses none. */
bool brood__queue_has_stray(const struct brood_queue *queue)
{
    uint64_t put = account_count_put(queue), held = account_count_ring(queue) + ring_load(&queue->stored);

    held += account_in_flight(queue);
    return put > held + account_sum_done(queue);
}

uint64_t brood__queue_count_lost(const struct brood_queue *queue)
{
    uint32_t up = queue_users_up(queue);
    uint64_t lost = 0;

    for (unsigned i = 1; i <= up; i++)
        lost += ring_load(&queue_owner(queue, i)->lost);
    return lost;
}

/* ---- finishing messages ---- */

void brood__account_land(struct ring_owner *own, unsigned count)
{
    uint64_t in_flight = atomic_load_explicit(&own->in_flight, memory_order_relaxed);

    if (ring_in_flight_count(in_flight) == count)
        ring_store(&own->in_flight, count == 1 ? 0 : in_flight - 1);
}

void brood__queue_finish(struct brood_queue *queue, unsigned owner)
{
    struct ring_owner *own = queue_owner(queue, owner);
    uint64_t done = account_done(atomic_load_explicit(&own->account, memory_order_relaxed));
    unsigned count = ring_in_flight_count(atomic_load_explicit(&own->in_flight, memory_order_relaxed));

    if (count > 0) {
        ring_store(&own->account, account_of(ACCOUNT_DONE, count, done));
        brood__account_land(own, count);
    }
    ring_store(&own->account, account_of(ACCOUNT_REST, 0, done + 1));
}

void brood__queue_notify_joiners(struct brood_queue *queue)
{
    brood__fence_light(); /* pairs with the heavy fence in brood_queue_join() */
    if (!(queue_gate(queue) & QUEUE_JOINERS))
        return;
    /* Dekker: two threads that finish the last two messages each store, fence and then count, so at least one of them
     * counts zero.  Pairs with this same fence in the other thread; only sequential consistency orders a store before a
     * load. */
    atomic_thread_fence(memory_order_seq_cst);
    if (brood_queue_unfinished(queue) == 0)
        brood__queue_wake(queue, &queue->joiners, QUEUE_JOINERS, INT32_MAX);
}
