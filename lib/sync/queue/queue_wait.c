#include "sync/queue/queue_wait.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "os/clock.h"
#include "os/fence.h"
#include "os/identity.h"
#include "sync/queue/queue_reap.h"
#include "sync/queue/queue_transfer.h"
#include "sync/queue/queue_wake.h"

#define SPIN_LOOKS 64 /* before a waiter yields its CPU */
#define SPIN_YIELDS 4 /* before it sleeps */

/* A yield that took longer gave the CPU to other programs than the one that is waited for.  The thread then sleeps at once
 * for UNPAID_FIRST waits; after the next such yield for four times as many, up to a limit. */
#define YIELD_NS_MAX 200000
#define UNPAID_FIRST 256
#define UNPAID_MAX 65536

#define PROGRESS_SLEEP_NS 50000 /* between two looks of a caller that has BROOD_NOW */

/* Of queue_back_off(), in pauses of some 25 ns: for each message; at most one for so many slots, so that the other side
 * does not run out of them meanwhile; and at most. */
#define PAUSES_EACH 8
#define PAUSES_ROOM 4
#define PAUSES_MAX 256

static int queue_op_try(const struct queue_op *op)
{
    if (op->space)
        return queue_try_get(op->queue, op->me, op->space, op->deadline);
    return queue_try_put(op->queue, op->me, op->message, op->priority, op->deadline);
}

/* ---- spinning ---- */

/* Where the calling thread backed off last, as a producer and as a consumer, and its own position then; and for how many
 * waits to come it will not yield, now and after the next yield that does not pay. */
static _Thread_local struct queue_backoff {
    const struct brood_queue *queue;
    uint64_t position;
    unsigned unpaid, unpaid_next;
} backoffs[2];

/* How many messages this thread, or others since, put or got after it last backed off here. */
static uint64_t queue_moved_since(struct queue_backoff *backoff, const struct queue_op *op)
{
    const struct ring_owner *own = queue_owner(op->queue, op->me);
    uint64_t position = atomic_load_explicit(op->space ? &own->head : &own->tail, memory_order_relaxed);
    struct queue_backoff was = *backoff;

    backoff->queue = op->queue;
    backoff->position = position;
    return was.queue == op->queue ? position - was.position : 0;
}

/* A thread that finds the queue empty, or full, backs off before it looks again: each look takes the slot's cache line from
 * the thread that writes to it, and both would then run at the pace of that line.  The more messages the thread moved since
 * it last backed off, the longer, so that producers and consumers of many messages work in different lines; with one
 * message at a time it does not back off at all.  Measured (AMD EPYC 9004, two cores near each other, and far apart):
 * messages of 64 bytes take 14 and 39 ns, and 60 and 190 without this; of 8 bytes, 14 and 36, and 17 and 37.  Returns the
 * number of looks that would have taken the same time. */
static int queue_back_off(const struct queue_op *op)
{
    const struct brood_queue *queue = op->queue;
    uint64_t moved = queue_moved_since(&backoffs[op->space != NULL], op);
    uint64_t bound = queue_ring_bound(queue), room = bound != 0 ? bound : queue_ring(queue)->slots;
    uint64_t pauses = moved < 2 ? 0 : queue_smaller(moved * PAUSES_EACH, queue_smaller(room / PAUSES_ROOM, PAUSES_MAX));

    for (uint64_t i = 0; i < pauses; i++)
        brood__pause();
    return (int)queue_smaller(pauses, SPIN_LOOKS - 1);
}

/* If the other side shares the CPU, a yield is the shortest way to it.  If other programs want the CPU, a yield takes their
 * time slices, and the other side waits as long, whereas a sleeper is woken: so a queue for 10 messages took 800 us for
 * each.  False: the yield did not pay, now or recently. */
static bool queue_yield(struct queue_backoff *backoff)
{
    int64_t began;

    if (backoff->unpaid > 0) {
        backoff->unpaid--;
        return false;
    }
    began = brood__now_ns();
    (void)sched_yield();
    if (brood__now_ns() - began < YIELD_NS_MAX) {
        backoff->unpaid_next /= 2;
        return true;
    }
    backoff->unpaid = backoff->unpaid_next < UNPAID_FIRST ? UNPAID_FIRST : backoff->unpaid_next;
    backoff->unpaid_next = 4 * backoff->unpaid < UNPAID_MAX ? 4 * backoff->unpaid : UNPAID_MAX;
    return false;
}

static int queue_spin(const struct queue_op *op)
{
    int r = -EAGAIN, looks = queue_back_off(op), yields = 0;

    do {
        for (; r == -EAGAIN && looks < SPIN_LOOKS; looks++) {
            brood__pause();
            r = queue_op_try(op);
        }
        looks = 0;
    } while (r == -EAGAIN && yields++ < SPIN_YIELDS && queue_yield(&backoffs[op->space != NULL]));
    return r;
}

/* ---- another user in the middle of a call ---- */

/* True if there is a message, or room, but another user is in the middle of a write or a read at the next position. */
static bool queue_op_is_blocked(const struct queue_op *op)
{
    if (op->space)
        return brood_queue_size(op->queue) > 0 ||
               ((queue_gate(op->queue) & QUEUE_SHUT) && !brood__queue_is_drained(op->queue));
    /* In the user's memory the queue may have room by its count, but no free block. */
    if ((queue_gate(op->queue) & QUEUE_FIXED) &&
        (op->queue->kind != BROOD_FIFO || op->message.len > queue_slot_room(queue_ring(op->queue))))
        return false;
    return !brood_queue_full(op->queue);
}

/* The user that claimed the oldest slot in that state; 0: there is none. */
static unsigned queue_user_of_oldest(const struct brood_ring *ring, enum ring_state state)
{
    uint64_t oldest = 0;
    unsigned owner = 0;

    for (uint64_t i = 0; i < ring->slots; i++) {
        uint64_t word = ring_load(&ring_slot_at(ring, i)->word), position = ring_word_position(word);

        if (ring_word_state(word) != state || (owner != 0 && ring_distance(oldest, position) > 0))
            continue;
        oldest = position;
        owner = ring_word_owner(word);
    }
    return owner;
}

/* A get waits for the user that writes the next message, a put for the user that reads the one before.  After a shutdown a
 * get also waits for a user that reads: if it dies before it has the message, the message returns.  0: for none. */
static unsigned queue_op_blocker(const struct queue_op *op)
{
    const struct brood_ring *ring = queue_ring(op->queue);
    unsigned owner = queue_user_of_oldest(ring, op->space ? RING_WRITING : RING_READING);

    return owner == 0 && op->space ? queue_user_of_oldest(ring, RING_READING) : owner;
}

static void queue_op_reap_blocker(const struct queue_op *op)
{
    unsigned owner = queue_op_is_blocked(op) ? queue_op_blocker(op) : 0;

    if (owner != 0)
        brood__queue_reap_if_dead(op->queue, owner, op->deadline);
}

/* A stopped user makes no progress; nor does the caller itself, if it is the handler of a signal that has interrupted a put
 * or a get. */
static bool queue_op_can_progress(const struct queue_op *op)
{
    unsigned owner = queue_op_blocker(op);
    uint64_t user = owner != 0 ? ring_load(&op->queue->users[owner - 1]) : 0;

    return owner != op->me && (user == 0 || !brood__identity_is_stopped(user));
}

/* With BROOD_NOW: waits only while another user is in the middle of a call. */
static int queue_wait_for_progress(const struct queue_op *op)
{
    brood_deadline end = brood__after_ns(QUEUE_PROGRESS_NS);
    const struct timespec pause = {.tv_nsec = PROGRESS_SLEEP_NS};
    int r = queue_op_is_blocked(op) ? queue_spin(op) : -EAGAIN;

    while (r == -EAGAIN && queue_op_is_blocked(op) && queue_op_can_progress(op) && !brood__is_past(end)) {
        queue_op_reap_blocker(op);
        r = queue_op_try(op);
        if (r == -EAGAIN)
            (void)nanosleep(&pause, NULL);
    }
    return r;
}

/* ---- sleeping ---- */

bool brood__queue_sleep(struct brood_queue *queue, unsigned me, struct parker *parker, uint32_t seen, struct slice *slice,
                        brood_deadline deadline)
{
    int slept;

    if (me != 0)
        ring_store(&queue->users[me - 1], brood__self() | USER_IDLE);
    slept = brood__parker_sleep(parker, seen, NULL, 0, slice_end(slice, deadline));
    if (me != 0)
        ring_store(&queue->users[me - 1], brood__self());
    if (slept != -ETIMEDOUT)
        *slice = SLICE_FIRST;
    return brood__queue_reap_some(queue, slice, deadline);
}

/* The one wake-up that this waiter got may have been for several messages, or for several free slots. */
static void queue_op_pass_wake_up(const struct queue_op *op)
{
    struct brood_queue *queue = op->queue;

    if (op->space && brood_queue_size(queue) > 0)
        queue_notify_getters(queue, 1);
    if (!op->space && !brood_queue_full(queue))
        queue_notify_putters(queue, 1);
}

static bool queue_must_wait(int r)
{
    return r == -EAGAIN || r == -EBUSY;
}

/* After -EBUSY the attempt itself has slept, until the lock was free or for as long as one wait for it lasts. */
static int queue_sleep_for(const struct queue_op *op)
{
    struct brood_queue *queue = op->queue;
    struct parker *parker = op->space ? &queue->getters : &queue->putters;
    struct slice slice = SLICE_FIRST;
    int r;

    do {
        uint32_t seen = brood__parker_look(parker);

        queue_gate_set(queue, op->space ? QUEUE_GETTERS : QUEUE_PUTTERS);
        (void)brood__fence_heavy(); /* pairs with the light fence of queue_notify_getters() and _putters() */
        r = queue_op_try(op);
        if (r != -EAGAIN)
            continue;
        if (brood__queue_sleep(queue, op->me, parker, seen, &slice, op->deadline))
            queue_op_reap_blocker(op);
        r = queue_op_try(op);
    } while (queue_must_wait(r) && !brood__is_past(op->deadline));
    queue_op_pass_wake_up(op);
    return r;
}

/* ---- the outcome ---- */

static const char *queue_why_not(const struct queue_op *op, int r, bool is_late)
{
    if (r == -EBUSY || queue_op_is_blocked(op))
        return "another participant stands still in the middle of a call";
    if (op->space)
        return is_late ? "the queue was empty until the deadline" : "the queue is empty";
    return is_late ? "the queue was full until the deadline" : "the queue is full";
}

static int queue_fail(const struct queue_op *op, int r)
{
    bool is_get = op->space, is_late = op->deadline.ns > 0;

    if (r == -ESHUTDOWN)
        return brood_fail(r, is_get ? "the queue is shut down, and nothing is left in it" : "the queue is shut down");
    if (r == -EMSGSIZE && op->space->ptr == &brood__queue_peek)
        return r; /* the caller asked for the size only */
    if (r == -EMSGSIZE)
        return brood_fail(r, "the next message has %zu bytes, more than there is space for", op->space->len);
    if (queue_must_wait(r))
        return brood_fail(too_late(op->deadline), "%s", queue_why_not(op, r, is_late));
    return r; /* has an error text already */
}

static int queue_wait_until_done(const struct queue_op *op, int r)
{
    if (r == -EAGAIN && op->deadline.ns > 0)
        r = queue_spin(op);
    if (queue_must_wait(r) && !brood__is_past(op->deadline))
        return queue_sleep_for(op);
    if (r != -EAGAIN)
        return r;
    (void)brood__queue_reap_some(op->queue, &SLICE_FIRST, op->deadline);
    r = queue_op_try(op);
    return r == -EAGAIN ? queue_wait_for_progress(op) : r;
}

__attribute__((noinline)) int brood__queue_wait_for(const struct queue_op *op, int r)
{
    r = queue_wait_until_done(op, r);
    if (r == -ESHUTDOWN && op->space) { /* dead users may have left messages, too */
        brood__queue_reap_all(op->queue, op->deadline);
        r = queue_op_try(op);
    }
    queue_discard_rest(op->queue, op->me, op->deadline); /* what a reaped user left after a shutdown */
    return r == 0 ? 0 : queue_fail(op, r);
}
