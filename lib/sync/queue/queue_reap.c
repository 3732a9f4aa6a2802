/* A reaper may be killed as well.  So each step can be repeated: before a reaper announces a change that takes more than
 * one store, it notes in `target` what it is going to store, and the next reaper stores the same. */
#include "sync/queue/queue_reap.h"

#include "os/identity.h"
#include "sync/queue/queue_account.h"
#include "sync/queue/queue_store.h"
#include "sync/queue/queue_wake.h"

#define REAP_LOOKS 16 /* at users, each time a waiter looks whether some are dead: some 6 us each */

/* ---- one dead user ---- */

/* The dead owner was writing this position. */
static void reap_put(struct brood_queue *queue, unsigned owner, uint64_t position)
{
    struct ring_owner *own = queue_owner(queue, owner);
    uint64_t tombs = ring_load(&own->tombs);

    ring_store(&own->target, position);
    ring_store(&own->tombs, tombs | 1);
    ring_abandon(queue_ring(queue), position);
    ring_store(&own->tombs, tombs + 2);
}

/* First completes what an earlier reaper was doing. */
static void reap_puts(struct brood_queue *queue, unsigned owner)
{
    struct ring_owner *own = queue_owner(queue, owner);
    struct brood_ring *ring = queue_ring(queue);
    uint64_t tombs = ring_load(&own->tombs), position = ring_load(&own->target);

    if (tombs & 1) {
        if (ring_load(&ring_slot_at(ring, position)->word) == ring_word(RING_WRITING, owner, position))
            ring_abandon(ring, position);
        ring_store(&own->tombs, tombs + 1);
    }
    while ((position = brood__ring_written_by(ring, owner)) != RING_NOWHERE)
        reap_put(queue, owner, position);
}

/* Any number of reapers may do this one after the other, since `target` has the sum. */
static void reap_finish_loss(struct brood_queue *queue, struct ring_owner *own, uint64_t victim)
{
    uint64_t was = ring_load(&own->account);

    ring_store(&own->in_flight, 0);
    ring_store(&own->lost, ring_load(&own->target));
    ring_store(&queue->last_victim, victim);
    ring_store(&own->account, account_of(ACCOUNT_REST, 0, account_done(was) + account_count(was)));
}

static void reap_in_flight(struct brood_queue *queue, struct ring_owner *own, uint64_t victim, unsigned count)
{
    ring_store(&own->target, ring_load(&own->lost) + count);
    ring_store(&own->account, account_of(ACCOUNT_LOSE, count, account_done(ring_load(&own->account))));
    reap_finish_loss(queue, own, victim);
}

static void reap_gets(struct brood_queue *queue, unsigned owner, uint64_t victim)
{
    struct ring_owner *own = queue_owner(queue, owner);
    uint64_t was = ring_load(&own->account);
    unsigned count;

    if (account_state(was) == ACCOUNT_DONE) {
        brood__account_land(own, account_count(was));
        ring_store(&own->account, account_of(ACCOUNT_REST, 0, account_done(was) + 1));
    } else if (account_state(was) == ACCOUNT_LOSE) {
        reap_finish_loss(queue, own, victim);
    }
    count = ring_in_flight_count(ring_load(&own->in_flight));
    if (count > 0)
        reap_in_flight(queue, own, victim, count);
}

/* With the lock. */
static void reap_user(struct brood_queue *queue, unsigned owner)
{
    uint64_t victim = ring_load(&queue->users[owner - 1]);

    queue_assert_locked(queue);
    brood__blocks_free_owned(queue, owner);
    reap_puts(queue, owner);
    /* Before `in_flight` is cleared, which tells what the owner got. */
    (void)brood__ring_repair(queue_ring(queue), owner);
    reap_gets(queue, owner, victim);
    ring_store(&queue->users[owner - 1], 0);
}

static bool reap_is_due(const struct brood_queue *queue, unsigned owner)
{
    uint64_t user = ring_load(&queue->users[owner - 1]);

    return user != 0 && brood__identity_is_dead(user);
}

void brood__queue_reap_if_dead(struct brood_queue *queue, unsigned owner, brood_deadline deadline)
{
    if (!reap_is_due(queue, owner) || queue_store_lock(queue, deadline) < 0)
        return;
    if (reap_is_due(queue, owner)) /* still */
        reap_user(queue, owner);
    brood__queue_unlock(queue);
    brood__queue_wake_all(queue);
}

/* ---- looking for dead users ---- */

void brood__queue_reap_all(struct brood_queue *queue, brood_deadline deadline)
{
    uint32_t up = queue_users_up(queue);

    for (unsigned i = 1; i <= up; i++)
        brood__queue_reap_if_dead(queue, i, deadline);
}

/* Is a thread waiting for what the death of an idle user would leave: its number, or its messages in flight? */
static bool reap_idle_matters(const struct brood_queue *queue, unsigned owner)
{
    uint32_t gate = queue_gate(queue);

    return (gate & QUEUE_CROWDED) || ((gate & QUEUE_JOINERS) && ring_load(&queue_owner(queue, owner)->in_flight) != 0);
}

static bool reap_may_matter(const struct brood_queue *queue, unsigned owner)
{
    uint64_t user = ring_load(&queue->users[owner - 1]);

    if (user & USER_IDLE)
        return reap_idle_matters(queue, owner);
    return user != 0 && user != brood__self();
}

bool brood__queue_reap_some(struct brood_queue *queue, struct slice *slice, brood_deadline deadline)
{
    uint32_t up = queue_users_up(queue);
    uint32_t at = atomic_load_explicit(&queue->next_look, memory_order_relaxed), looks = 0;

    if (!brood__look_is_due_since(slice, &queue->last_look_ns))
        return false;
    for (uint32_t i = 0; i < up && looks < REAP_LOOKS; i++, at++) {
        unsigned owner = at % up + 1;

        if (!reap_may_matter(queue, owner))
            continue;
        brood__queue_reap_if_dead(queue, owner, deadline);
        looks++;
    }
    atomic_store_explicit(&queue->next_look, at, memory_order_relaxed);
    return true;
}
