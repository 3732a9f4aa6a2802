/* How many messages are unfinished is not counted anywhere, since a count would cost each put a locked instruction: it is
 * how many positions of the ring producers have claimed, less those that were abandoned, plus how many were put into the
 * store, less what each user says is done.  Every number is one user's own, or follows from the words of slots and blocks;
 * what takes two stores is announced by the first, so that who buries a user knows what to complete. */
#include <errno.h>

#include "os/clock.h"
#include "os/identity.h"
#include "sync/queue.h"

/* `account` of an owner: {what it is doing:2, with so many in hand:16, how many it said were done:46}. */
enum account_state { ACCOUNT_REST, ACCOUNT_DONE, ACCOUNT_LOSE };

#define ACCOUNT_HAND_SHIFT 2
#define ACCOUNT_DONE_SHIFT 18

static uint64_t account(enum account_state state, unsigned hand, uint64_t done)
{
    return state | (uint64_t)hand << ACCOUNT_HAND_SHIFT | done << ACCOUNT_DONE_SHIFT;
}

static enum account_state account_state(uint64_t account)
{
    return (enum account_state)(account & 3);
}

static unsigned account_hand(uint64_t account)
{
    return account >> ACCOUNT_HAND_SHIFT & 0xffff;
}

static uint64_t account_done(uint64_t account)
{
    return account >> ACCOUNT_DONE_SHIFT;
}

/* ---- what is unfinished ---- */

static uint64_t sum_of_done(const struct brood_queue *queue)
{
    uint32_t up = atomic_load_explicit(&queue->users_up, memory_order_acquire);
    uint64_t sum = 0;

    for (unsigned i = 1; i <= up; i++) {
        const struct ring_owner *owner = queue_owner(queue, i);

        sum += account_done(ring_load(&owner->account)) + (ring_load(&owner->tombs) >> 1);
    }
    return sum;
}

static uint64_t count_put(const struct brood_queue *queue)
{
    return ring_load(&queue->number) + brood__ring_tail(queue_ring(queue));
}

static uint64_t above(uint64_t count, uint64_t other)
{
    return count > other ? count - other : 0;
}

size_t brood_queue_unfinished(const struct brood_queue *queue)
{
    uint64_t done;

    if (!queue)
        return 0;
    done = sum_of_done(queue); /* first: what is done was put before, so there is never less than is said here */
    return above(count_put(queue), done);
}

static uint64_t in_ring(const struct brood_queue *queue)
{
    const struct brood_ring *ring = queue_ring(queue);
    uint64_t count = 0;

    for (uint64_t i = 0; i < ring->slots; i++) {
        enum ring_state state = ring_word_state(ring_load(&ring_slot_at(ring, i)->word));

        count += state != RING_FREE && state != RING_TOMB;
    }
    return count;
}

/* What somebody is about to get comes back when he dies, and what is about to be put comes yet. */
bool brood__queue_is_drained(const struct brood_queue *queue)
{
    return brood_queue_size(queue) == 0 && (queue->kind != BROOD_FIFO || in_ring(queue) == 0);
}

/* Those of which it is saying that they are done are still in its hand, for they do not count as done yet. */
static uint64_t in_hand_of(const struct ring_owner *own)
{
    uint64_t was, hand;

    do {
        was = ring_load(&own->account);
        hand = ring_load(&own->hand);
    } while (ring_load(&own->account) != was);
    return account_state(was) == ACCOUNT_REST ? ring_hand_count(hand) : account_hand(was);
}

static uint64_t in_hands(const struct brood_queue *queue)
{
    uint32_t up = atomic_load_explicit(&queue->users_up, memory_order_acquire);
    uint64_t count = 0;

    for (unsigned i = 1; i <= up; i++)
        count += in_hand_of(queue_owner(queue, i));
    return count;
}

/* Is something unfinished that is neither in the queue nor in anybody's hand?  By who has the lock.  It looks in the order
 * in which a message goes its way, so that it may meet one twice and say no, but misses none. */
static bool some_is_nobodys(const struct brood_queue *queue)
{
    uint64_t put = count_put(queue), held = in_ring(queue) + ring_load(&queue->stored);

    held += in_hands(queue);
    return put > held + sum_of_done(queue);
}

/* The owner is dead, and was writing this position. */
static void abandon(struct brood_queue *queue, unsigned owner, uint64_t position)
{
    struct ring_owner *own = queue_owner(queue, owner);
    uint64_t tombs = ring_load(&own->tombs);

    ring_store(&own->tomb_at, position);
    ring_store(&own->tombs, tombs | 1);
    ring_abandon(queue_ring(queue), position);
    ring_store(&own->tombs, tombs + 2);
}

/* ---- done ---- */

static void take_from_hand(struct ring_owner *own, unsigned count)
{
    uint64_t hand = atomic_load_explicit(&own->hand, memory_order_relaxed);

    if (ring_hand_count(hand) == count)
        ring_store(&own->hand, count == 1 ? 0 : hand - 1);
}

void brood__queue_done_by(struct brood_queue *queue, unsigned owner)
{
    struct ring_owner *own = queue_owner(queue, owner);
    uint64_t done = account_done(atomic_load_explicit(&own->account, memory_order_relaxed));
    unsigned count = ring_hand_count(atomic_load_explicit(&own->hand, memory_order_relaxed));

    if (count > 0) {
        ring_store(&own->account, account(ACCOUNT_DONE, count, done));
        take_from_hand(own, count);
    }
    ring_store(&own->account, account(ACCOUNT_REST, 0, done + 1));
}

/* Two who say so at the same time see each other's, or are seen: else neither might be the last. */
static void tell_joiners(struct brood_queue *queue)
{
    brood__fence_light();
    if (!(queue_gate(queue) & QUEUE_JOINERS))
        return;
    atomic_thread_fence(memory_order_seq_cst);
    if (brood_queue_unfinished(queue) == 0)
        brood__queue_wake(queue, &queue->joiners, QUEUE_JOINERS, INT32_MAX);
}

/* With nothing in hand, others may be about to say the same of the same message.  What somebody else has in hand is done
 * only when that one says so: if it died after that, the message would count twice, and a join would end too soon. */
static int done_for_another(struct brood_queue *queue, unsigned owner)
{
    int r = brood__queue_lock(queue, BROOD_FOREVER);

    if (r < 0)
        return r;
    if (brood_queue_unfinished(queue) == 0)
        r = brood_fail(-EOVERFLOW, "task_done was called oftener than messages were put");
    else if (!some_is_nobodys(queue))
        r = brood_fail(-EPERM, "this thread has no message in hand: who has got one says that it is done");
    else
        brood__queue_done_by(queue, owner);
    brood__queue_unlock(queue);
    return r;
}

int brood_queue_task_done(struct brood_queue *queue)
{
    int me = queue_me(queue, BROOD_NOW), r = 0;

    if (me < 0)
        return me;
    queue_gate_set(queue, QUEUE_JOINABLE);
    if (ring_load(&queue_owner(queue, (unsigned)me)->hand) == 0 || brood_queue_unfinished(queue) == 0)
        r = done_for_another(queue, (unsigned)me);
    else
        brood__queue_done_by(queue, (unsigned)me);
    if (r == 0)
        tell_joiners(queue);
    return r;
}

/* ---- join ---- */

static uint64_t count_lost(const struct brood_queue *queue)
{
    uint32_t up = atomic_load_explicit(&queue->users_up, memory_order_acquire);
    uint64_t lost = 0;

    for (unsigned i = 1; i <= up; i++)
        lost += ring_load(&queue_owner(queue, i)->lost);
    return lost;
}

size_t brood_queue_lost(struct brood_queue *queue, int *ret_pid)
{
    if (ret_pid)
        *ret_pid = 0;
    if (!queue)
        return 0;
    brood__queue_look_for_dead(queue, true);
    if (ret_pid)
        *ret_pid = brood__identity_number(ring_load(&queue->last_victim));
    return count_lost(queue);
}

/* Everything is done; was some of it lost since somebody was told last? */
static int tell_of_lost(struct brood_queue *queue)
{
    uint64_t lost = count_lost(queue), told = ring_load(&queue->told);

    if (lost <= told || !ring_swap(&queue->told, told, lost))
        return 0;
    return brood_fail(-EOWNERDEAD,
                      "nothing is unfinished, but %llu messages were lost with who had got them; process %d "
                      "was the last of these",
                      (unsigned long long)(lost - told), brood__identity_number(ring_load(&queue->last_victim)));
}

/* What a shutdown was to throw away and could not, since somebody was in the middle of it. */
static void discard_rest(struct brood_queue *queue)
{
    if ((queue_gate(queue) & QUEUE_DISCARD) && brood_queue_size(queue) > 0) {
        int me = queue_me(queue, BROOD_NOW);

        if (me > 0)
            brood__queue_discard(queue, (unsigned)me);
    }
}

static bool all_is_done(struct brood_queue *queue)
{
    discard_rest(queue);
    return brood_queue_unfinished(queue) == 0;
}

int brood_queue_join(struct brood_queue *queue, brood_deadline deadline)
{
    if (!queue)
        return brood_fail(-EBADF, "the queue is NULL: not open yet, or closed");
    queue_gate_set(queue, QUEUE_JOINABLE);
    (void)queue_me(queue, BROOD_NOW); /* so that this process can be reached by a heavy fence */
    for (;;) {
        uint32_t seen = brood__parker_look(&queue->joiners);

        queue_gate_set(queue, QUEUE_JOINERS);
        (void)brood__fence_heavy();
        if (all_is_done(queue))
            return tell_of_lost(queue);
        if (brood__is_past(deadline)) {
            brood__queue_look_for_dead(queue, false);
            if (all_is_done(queue))
                return tell_of_lost(queue);
            return brood_fail(deadline.ns <= 0 ? -EAGAIN : -ETIMEDOUT, "%zu messages are unfinished",
                              brood_queue_unfinished(queue));
        }
        brood__parker_sleep(&queue->joiners, seen, NULL, 0, brood__sooner(deadline, brood__after_ns(LOOK_AGAIN_NS)));
        brood__queue_look_for_dead(queue, false);
    }
}

/* ---- the dead ---- */

/* Completes what a user, or who buried it, was about to do with its tombs. */
static void bury_puts(struct brood_queue *queue, unsigned owner)
{
    struct ring_owner *own = queue_owner(queue, owner);
    struct brood_ring *ring = queue_ring(queue);
    uint64_t tombs = ring_load(&own->tombs), position = ring_load(&own->tomb_at);

    if (tombs & 1) {
        if (ring_load(&ring_slot_at(ring, position)->word) == ring_word(RING_WRITING, owner, position))
            ring_abandon(ring, position);
        ring_store(&own->tombs, tombs + 1);
    }
    while ((position = brood__ring_written_by(ring, owner)) != RING_NOWHERE)
        abandon(queue, owner, position);
}

static void lose_hand(struct brood_queue *queue, struct ring_owner *own, uint64_t victim, unsigned count)
{
    uint64_t done = account_done(ring_load(&own->account));

    ring_store(&own->account, account(ACCOUNT_LOSE, count, done));
    ring_store(&own->hand, 0);
    ring_store(&own->lost, ring_load(&own->lost) + count);
    ring_store(&queue->last_victim, victim);
    ring_store(&own->account, account(ACCOUNT_REST, 0, done + count));
}

static void bury_gets(struct brood_queue *queue, unsigned owner, uint64_t victim)
{
    struct ring_owner *own = queue_owner(queue, owner);
    uint64_t was = ring_load(&own->account);
    unsigned count;

    if (account_state(was) == ACCOUNT_DONE) {
        take_from_hand(own, account_hand(was));
        ring_store(&own->account, account(ACCOUNT_REST, 0, account_done(was) + 1));
    } else if (account_state(was) == ACCOUNT_LOSE) {
        lose_hand(queue, own, victim, account_hand(was));
    }
    count = ring_hand_count(ring_load(&own->hand));
    if (count > 0)
        lose_hand(queue, own, victim, count);
}

void brood__queue_bury(struct brood_queue *queue, unsigned owner)
{
    uint64_t victim = ring_load(&queue->users[owner - 1]);

    brood__blocks_free_owned(queue, owner);
    bury_puts(queue, owner);
    (void)brood__ring_repair(queue_ring(queue), owner); /* before its hand is emptied, which says what it was given */
    bury_gets(queue, owner, victim);
    ring_store(&queue->users[owner - 1], 0);
}

static bool is_dead(const struct brood_queue *queue, unsigned owner)
{
    uint64_t user = ring_load(&queue->users[owner - 1]);

    return user != 0 && brood__identity_is_dead(user);
}

static void bury_if_dead(struct brood_queue *queue, unsigned owner)
{
    if (!is_dead(queue, owner) || brood__queue_lock(queue, BROOD_NOW) < 0)
        return;
    if (is_dead(queue, owner)) /* still */
        brood__queue_bury(queue, owner);
    brood__queue_unlock(queue);
    discard_rest(queue);
    brood__queue_wake_all(queue);
}

void brood__queue_look_for_dead(struct brood_queue *queue, bool at_once)
{
    uint32_t up = atomic_load_explicit(&queue->users_up, memory_order_acquire);
    int64_t now = brood__now_ns();
    int64_t looked = atomic_load_explicit(&queue->looked_ns, memory_order_relaxed);

    if (!at_once &&
        (now - looked < LOOK_AGAIN_NS || !atomic_compare_exchange_strong_explicit(
                                             &queue->looked_ns, &looked, now, memory_order_relaxed, memory_order_relaxed)))
        return;
    for (unsigned i = 1; i <= up; i++)
        bury_if_dead(queue, i);
}
