#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "os/clock.h"
#include "os/futex.h"
#include "os/identity.h"
#include "sync/queue.h"

#define LOOKS 64 /* between two times that who waits gives its processor to others */
#define YIELDS 4 /* ... before it sleeps */

/* How long who does not wait for messages or room waits for somebody who is in the middle of a call: a preempted one runs
 * again within a few time slices.  It gives its processor away first, and then sleeps, so that the other one can come to
 * this processor.  Long enough for a dead one to be found. */
#define PATIENCE_NS (2 * (int64_t)LOOK_AGAIN_NS)
#define PATIENT_YIELDS 16
#define PATIENT_SLEEP_NS 50000

/* Of stand_back(), in pauses, which take some 25 ns: for each message; at most one for so many that there is room for, so
 * that the other side does not come to its end meanwhile; and at most. */
#define PAUSES_EACH 8
#define PAUSES_ROOM 4
#define PAUSES_MAX 256

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- waking ---- */

/* The bit stays while it wakes somebody, since there may be more of them; each looks for itself whether there is more work
 * (pass_on()).  When nobody was there it is cleared, and the second wake is for those who set it just before that. */
void brood__queue_wake(struct brood_queue *queue, struct parker *parker, uint32_t bit, int count)
{
    atomic_fetch_add_explicit(&parker->generation, 1, memory_order_release);
    if (brood__futex_wake(&parker->generation, count) > 0)
        return;
    queue_gate_open(queue, bit);
    brood__parker_wake(parker);
}

void brood__queue_wake_all(struct brood_queue *queue)
{
    brood__parker_wake(&queue->getters);
    brood__parker_wake(&queue->putters);
    brood__parker_wake(&queue->joiners);
}

static int wakeable(size_t count)
{
    return count < INT32_MAX ? (int)count : INT32_MAX;
}

/* Pairs with the heavy fence of who sets the bit and looks again. */
static inline void tell_getters(struct brood_queue *queue, size_t count)
{
    brood__fence_light();
    if (__builtin_expect(queue_gate(queue) & QUEUE_GETTERS, 0))
        brood__queue_wake(queue, &queue->getters, QUEUE_GETTERS, wakeable(count));
}

static inline void tell_putters(struct brood_queue *queue, size_t count)
{
    brood__fence_light();
    if (__builtin_expect(queue_gate(queue) & QUEUE_PUTTERS, 0))
        brood__queue_wake(queue, &queue->putters, QUEUE_PUTTERS, wakeable(count));
}

/* ---- how full ---- */

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
    /* Who reads one of them new and one old may put one message too many, as if it had come before. */
    ring_store(&queue->behind, bound < queue_ring(queue)->slots ? bound : 0);
    ring_store(&queue->bound, bound);
    brood__parker_wake(&queue->putters);
    return 0;
}

/* ---- put ---- */

/* A call to memcpy() costs more than the move that many messages are. */
static inline void copy(void *to, const void *from, size_t bytes)
{
    if (bytes == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else if (bytes > 0)
        memcpy(to, from, bytes);
}

/* The longest message that lies in a slot. */
static inline size_t slot_room(const struct brood_ring *ring)
{
    size_t room = ring->slot_bytes - sizeof(struct ring_slot);

    return room < RING_LONG ? room : RING_LONG - 1;
}

/* The message is in blocks of one's own before a position is claimed, for behind that all others wait. */
static __attribute__((noinline)) int put_long(struct brood_queue *queue, unsigned me, struct brood_bytes message,
                                              uint64_t behind, bool has_lock)
{
    struct brood_ring *ring = queue_ring(queue);
    struct ring_slot *slot;
    uint64_t position;
    int64_t block;

    if (brood_queue_full(queue))
        return -EAGAIN;
    block = brood__blocks_write(queue, message, block_owned(me), NULL, has_lock);
    if (block < 0)
        return (int)block;
    slot = ring_put_begin(ring, me, behind, &position);
    if (!slot) {
        brood__blocks_name(queue, (uint64_t)block, BLOCK_FREE);
        return -EAGAIN;
    }
    brood__blocks_name(queue, (uint64_t)block, ring_word((enum ring_state)BLOCK_SLOT, 0, position));
    atomic_store_explicit((_Atomic uint64_t *)(void *)slot->message, queue_long(message.len, (uint32_t)block),
                          memory_order_relaxed);
    ring_put_end(ring, me, slot, RING_LONG, position);
    return 0;
}

static inline int put_into_ring(struct brood_queue *queue, unsigned me, struct brood_bytes message, bool has_lock)
{
    struct brood_ring *ring = queue_ring(queue);
    uint64_t behind = atomic_load_explicit(&queue->behind, memory_order_relaxed), position;
    struct ring_slot *slot;

    if (__builtin_expect(message.len > slot_room(ring), 0))
        return put_long(queue, me, message, behind, has_lock);
    slot = ring_put_begin(ring, me, behind, &position);
    if (!slot)
        return -EAGAIN;
    copy(slot->message, message.ptr, message.len);
    ring_put_end(ring, me, slot, (unsigned)message.len, position);
    return 0;
}

/* With the lock: into the store, unless there is nothing and the ring has room by now. */
static int put_beside(struct brood_queue *queue, unsigned me, struct brood_bytes message, int64_t priority)
{
    bool is_fifo = queue->kind == BROOD_FIFO;
    int r;

    if (queue_gate(queue) & QUEUE_SHUT)
        return -ESHUTDOWN;
    if (brood_queue_full(queue))
        return -EAGAIN;
    if (is_fifo && !(queue_gate(queue) & QUEUE_SPILLED)) {
        r = put_into_ring(queue, me, message, true);
        if (r != -EAGAIN || ring_load(&queue->behind) != 0)
            return r;
        /* Before there is anything: who puts next must not get before it. */
        queue_gate_set(queue, QUEUE_SPILLED);
    }
    r = brood__store_put(queue, message, is_fifo ? 0 : priority);
    if (is_fifo && ring_load(&queue->stored) == 0)
        queue_gate_open(queue, QUEUE_SPILLED);
    return r;
}

static __attribute__((noinline)) int put_with_lock(struct brood_queue *queue, unsigned me, struct brood_bytes message,
                                                   int64_t priority)
{
    int r;

    if (brood_queue_full(queue)) /* most of those who wait need not take the lock to see it */
        return -EAGAIN;
    r = brood__queue_lock(queue, BROOD_NOW);
    if (r < 0)
        return r;
    r = put_beside(queue, me, message, priority);
    brood__queue_unlock(queue);
    return r;
}

static bool ring_is_all(const struct brood_queue *queue)
{
    uint64_t bound = ring_load(&queue->bound);

    return bound != 0 && bound <= queue_ring(queue)->slots;
}

static inline int try_put(struct brood_queue *queue, unsigned me, struct brood_bytes message, int64_t priority)
{
    uint32_t gate = queue_gate(queue);

    if (__builtin_expect(gate & QUEUE_SHUT, 0))
        return -ESHUTDOWN;
    if (queue->kind == BROOD_FIFO && !(gate & QUEUE_SPILLED)) {
        int r = put_into_ring(queue, me, message, false);

        if (__builtin_expect(r != -EAGAIN, 1) || ring_is_all(queue))
            return r;
    }
    return put_with_lock(queue, me, message, priority);
}

/* ---- get ---- */

static __attribute__((noinline)) void read_long(const struct brood_queue *queue, struct ring_slot *slot, void *to,
                                                uint64_t length)
{
    uint64_t word = atomic_load_explicit((_Atomic uint64_t *)(void *)slot->message, memory_order_relaxed);

    brood__blocks_read(queue, (uint32_t)(word >> RING_LONG_BITS), false, to, length);
}

static inline void take(void *to, struct ring_slot *slot, uint64_t length)
{
    copy(to, slot->message, length);
    ring_own_lines(slot, length);
}

/* 0; -EMSGSIZE; -EAGAIN: nothing can be got; *ret_is_empty, if there is nothing, not even half written.  Space NULL: the
 * message is not wanted. */
static inline int get_from_ring(struct brood_queue *queue, unsigned me, struct brood_space *space, bool *ret_is_empty)
{
    struct brood_ring *ring = queue_ring(queue);
    struct ring_seen seen;
    struct ring_slot *slot = ring_get_begin(ring, me, space ? space->len : SIZE_MAX, &seen);

    if (!slot) {
        *ret_is_empty = seen.outcome == RING_EMPTY;
        if (seen.outcome != RING_TOO_LONG)
            return -EAGAIN;
        space->len = seen.length;
        return -EMSGSIZE;
    }
    if (space) {
        if (__builtin_expect(ring_word_owner(seen.word) == RING_LONG, 0))
            read_long(queue, slot, space->ptr, seen.length);
        else
            take(space->ptr, slot, seen.length);
        space->len = seen.length;
    }
    ring_get_end(ring, me, slot, queue_hand_with(queue, me, seen.position), seen.position);
    return 0;
}

/* With the lock.  What is in the ring is older than what is in the store; and while there is something in the store, an
 * empty ring stays empty, but for those who were about to put when it began. */
static int get_beside(struct brood_queue *queue, unsigned me, struct brood_space *space)
{
    bool is_empty = true;
    int r;

    if (queue->kind == BROOD_FIFO) {
        r = get_from_ring(queue, me, space, &is_empty);
        if (r != -EAGAIN || !is_empty)
            return r;
    }
    r = brood__store_get(queue, me, space);
    if (ring_load(&queue->stored) == 0)
        queue_gate_open(queue, QUEUE_SPILLED);
    return r;
}

static __attribute__((noinline)) int get_with_lock(struct brood_queue *queue, unsigned me, struct brood_space *space)
{
    int r;

    if (ring_load(&queue->stored) == 0 && queue->kind != BROOD_FIFO)
        return -EAGAIN;
    r = brood__queue_lock(queue, BROOD_NOW);
    if (r < 0)
        return r;
    r = get_beside(queue, me, space);
    brood__queue_unlock(queue);
    /* A shutdown that found the lock held could not throw away the rest. */
    if (space && (queue_gate(queue) & QUEUE_DISCARD))
        brood__queue_discard(queue, me);
    return r;
}

static inline int try_take(struct brood_queue *queue, unsigned me, struct brood_space *space)
{
    if (queue->kind == BROOD_FIFO) {
        bool is_empty = true;
        int r = get_from_ring(queue, me, space, &is_empty);

        if (__builtin_expect(r != -EAGAIN, 1) || !is_empty || !(queue_gate(queue) & QUEUE_SPILLED))
            return r;
    }
    return get_with_lock(queue, me, space);
}

static inline int try_get(struct brood_queue *queue, unsigned me, struct brood_space *space)
{
    uint32_t gate = queue_gate(queue); /* before one looks: what was put before the shutdown is there then */
    int r;

    if (__builtin_expect(gate & QUEUE_DISCARD, 0))
        return -ESHUTDOWN;
    r = try_take(queue, me, space);
    return r == -EAGAIN && (gate & QUEUE_SHUT) && brood__queue_is_drained(queue) ? -ESHUTDOWN : r;
}

int brood__queue_try_get(struct brood_queue *queue, unsigned me, struct brood_space *space)
{
    return try_get(queue, me, space);
}

void brood__queue_discard(struct brood_queue *queue, unsigned me)
{
    while (try_take(queue, me, NULL) == 0)
        brood__queue_done_by(queue, me);
}

/* ---- waiting ---- */

/* What somebody waits to do. */
struct errand {
    struct brood_queue *queue;
    unsigned me;
    struct brood_bytes message; /* to put */
    int64_t priority;
    struct brood_space *space; /* or to be given, if not NULL */
};

static int attempt(const struct errand *errand)
{
    if (errand->space)
        return try_get(errand->queue, errand->me, errand->space);
    return try_put(errand->queue, errand->me, errand->message, errand->priority);
}

/* Where the calling thread stood back last, as a producer and as a consumer, and what its own position was then. */
static _Thread_local struct stop {
    const struct brood_queue *queue;
    uint64_t position;
} stops[2];

/* How many messages this thread, or others since, could put or get since it stood here last. */
static uint64_t moved_since(struct stop *stop, const struct errand *errand)
{
    const struct ring_owner *own = queue_owner(errand->queue, errand->me);
    uint64_t position = atomic_load_explicit(errand->space ? &own->head : &own->tail, memory_order_relaxed);
    struct stop was = *stop;

    *stop = (struct stop){errand->queue, position};
    return was.queue == errand->queue ? position - was.position : 0;
}

/* Who comes to the end of what others have put, or of the room, stands back before it looks again: whoever looks takes the
 * line away from who is writing to it, and both would go at the pace of that line.  The more it could do since it stood
 * here last, the longer, so that producers and consumers of many messages part; who is sent one at a time does not stand
 * back at all.  Measured (AMD EPYC 9004, two cores near each other, and far apart): messages of 64 bytes take 14 and 39 ns,
 * and 60 and 190 without this; of 8 bytes, 14 and 36, and 17 and 37.  Returns how many looks that took the time of. */
static int stand_back(const struct errand *errand)
{
    const struct brood_queue *queue = errand->queue;
    uint64_t moved = moved_since(&stops[errand->space != NULL], errand);
    uint64_t behind = ring_load(&queue->behind), room = behind != 0 ? behind : queue_ring(queue)->slots;
    uint64_t pauses = moved < 2 ? 0 : smaller(moved * PAUSES_EACH, smaller(room / PAUSES_ROOM, PAUSES_MAX));

    for (uint64_t i = 0; i < pauses; i++)
        brood__pause();
    return (int)smaller(pauses, LOOKS - 1);
}

static int spin(const struct errand *errand)
{
    int r = -EAGAIN, looks = stand_back(errand);

    for (int yields = 0; r == -EAGAIN && yields < YIELDS; yields++, looks = 0) {
        for (; r == -EAGAIN && looks < LOOKS; looks++) {
            brood__pause();
            r = attempt(errand);
        }
        if (r == -EAGAIN)
            (void)sched_yield();
    }
    return r;
}

/* The one wake-up that it got may have been for all of it. */
static void pass_on(const struct errand *errand)
{
    struct brood_queue *queue = errand->queue;

    if (errand->space && brood_queue_size(queue) > 0)
        tell_getters(queue, 1);
    if (!errand->space && !brood_queue_full(queue))
        tell_putters(queue, 1);
}

static int sleep_for(const struct errand *errand, brood_deadline deadline)
{
    struct brood_queue *queue = errand->queue;
    struct parker *parker = errand->space ? &queue->getters : &queue->putters;
    int r;

    do {
        uint32_t seen = brood__parker_look(parker);

        queue_gate_set(queue, errand->space ? QUEUE_GETTERS : QUEUE_PUTTERS);
        (void)brood__fence_heavy();
        r = attempt(errand);
        if (r != -EAGAIN)
            break;
        brood__parker_sleep(parker, seen, NULL, 0, brood__sooner(deadline, brood__after_ns(LOOK_AGAIN_NS)));
        brood__queue_look_for_dead(queue, false);
        r = attempt(errand);
    } while (r == -EAGAIN && !brood__is_past(deadline));
    pass_on(errand);
    return r;
}

/* There is a message, or room, but somebody who began before is about to write or to read where the next one goes. */
static bool is_held_up(const struct errand *errand)
{
    if (errand->space)
        return brood_queue_size(errand->queue) > 0 ||
               ((queue_gate(errand->queue) & QUEUE_SHUT) && !brood__queue_is_drained(errand->queue));
    /* Where memory is the user's there may be room by the count, and no block that is free. */
    if ((queue_gate(errand->queue) & QUEUE_FIXED) &&
        (errand->queue->kind != BROOD_FIFO || errand->message.len > slot_room(queue_ring(errand->queue))))
        return false;
    return !brood_queue_full(errand->queue);
}

/* In the handler of a signal that has interrupted a put or a get there is nothing to wait for. */
static bool is_in_ones_own_way(const struct errand *errand)
{
    const struct brood_ring *ring = queue_ring(errand->queue);

    for (uint64_t i = 0; i < ring->slots; i++) {
        uint64_t word = ring_load(&ring_slot_at(ring, i)->word);
        enum ring_state state = ring_word_state(word);

        if ((state == RING_WRITING || state == RING_READING) && ring_word_owner(word) == errand->me)
            return true;
    }
    return false;
}

static int be_patient(const struct errand *errand)
{
    brood_deadline end = brood__after_ns(PATIENCE_NS);
    const struct timespec pause = {.tv_nsec = PATIENT_SLEEP_NS};
    int r = -EAGAIN;

    if (!is_held_up(errand) || is_in_ones_own_way(errand))
        return r;
    for (int i = 0; r == -EAGAIN && is_held_up(errand) && !brood__is_past(end); i++) {
        if (i < PATIENT_YIELDS)
            (void)sched_yield();
        else
            (void)nanosleep(&pause, NULL);
        brood__queue_look_for_dead(errand->queue, false);
        r = attempt(errand);
    }
    return r;
}

static const char *why_not(const struct errand *errand, bool is_late)
{
    if (is_held_up(errand))
        return "somebody who uses the queue stands still in the middle of a call";
    if (errand->space)
        return is_late ? "the queue was empty until the deadline" : "the queue is empty";
    return is_late ? "the queue was full until the deadline" : "the queue is full";
}

static int say(const struct errand *errand, int r, brood_deadline deadline)
{
    bool is_get = errand->space;

    if (r == -ESHUTDOWN)
        return brood_fail(r, is_get ? "the queue is shut down, and nothing is left in it" : "the queue is shut down");
    if (r == -EMSGSIZE)
        return brood_fail(r, "the next message has %zu bytes, more than there is space for", errand->space->len);
    if (r == -EAGAIN)
        return brood_fail(deadline.ns > 0 ? -ETIMEDOUT : r, "%s", why_not(errand, deadline.ns > 0));
    return r; /* said already */
}

/* The first attempt said -EAGAIN, or failed. */
static __attribute__((noinline)) int wait_for(const struct errand *errand, int r, brood_deadline deadline)
{
    if (r == -EAGAIN && deadline.ns > 0)
        r = spin(errand);
    if (r == -EAGAIN && !brood__is_past(deadline)) {
        r = sleep_for(errand, deadline);
    } else if (r == -EAGAIN) {
        brood__queue_look_for_dead(errand->queue, false);
        r = attempt(errand);
        if (r == -EAGAIN)
            r = be_patient(errand);
    }
    if (r == -ESHUTDOWN && errand->space) { /* what one has who died is left, too */
        brood__queue_look_for_dead(errand->queue, true);
        r = attempt(errand);
    }
    return r == 0 ? 0 : say(errand, r, deadline);
}

/* ---- the calls ---- */

static inline bool is_message(struct brood_bytes message)
{
    return message.ptr || message.len == 0;
}

static inline bool is_space(const struct brood_space *space)
{
    return space && (space->ptr || space->len == 0);
}

static __attribute__((noinline, cold)) int no_message(size_t length)
{
    return brood_fail(-EINVAL, "a message of %zu bytes cannot be at NULL", length);
}

static __attribute__((noinline, cold)) int no_space(const struct brood_space *space)
{
    if (!space)
        return brood_fail(-EINVAL, "a get needs to be told where there is space: it was given NULL");
    return brood_fail(-EINVAL, "%zu bytes of space cannot be at NULL", space->len);
}

/* A shutdown that came in the meantime may have thrown the rest away before this was there. */
static inline void see_to_discarded(struct brood_queue *queue, unsigned me)
{
    if (__builtin_expect(queue_gate(queue) & QUEUE_DISCARD, 0))
        brood__queue_discard(queue, me);
}

int brood_queue_put_priority(struct brood_queue *queue, struct brood_bytes message, int64_t priority,
                             brood_deadline deadline)
{
    int me = queue_me(queue, deadline), r;

    if (__builtin_expect(me < 0, 0))
        return me;
    if (__builtin_expect(!is_message(message), 0))
        return no_message(message.len);
    r = try_put(queue, (unsigned)me, message, priority);
    if (__builtin_expect(r != 0, 0)) {
        struct errand errand = {.queue = queue, .me = (unsigned)me, .message = message, .priority = priority};

        r = wait_for(&errand, r, deadline);
        if (r < 0)
            return r;
    }
    tell_getters(queue, 1);
    see_to_discarded(queue, (unsigned)me);
    return 0;
}

int brood_queue_put(struct brood_queue *queue, struct brood_bytes message, brood_deadline deadline)
{
    return brood_queue_put_priority(queue, message, 0, deadline);
}

static inline int get_one(struct brood_queue *queue, unsigned me, struct brood_space *space, brood_deadline deadline)
{
    int r = try_get(queue, me, space);

    if (__builtin_expect(r != 0, 0)) {
        struct errand errand = {.queue = queue, .me = me, .space = space};

        r = wait_for(&errand, r, deadline);
    }
    return r;
}

int brood_queue_get(struct brood_queue *queue, struct brood_space *space, brood_deadline deadline)
{
    int me = queue_me(queue, deadline), r;

    if (__builtin_expect(me < 0, 0))
        return me;
    if (__builtin_expect(!is_space(space), 0))
        return no_space(space);
    queue_hand_begin(queue, (unsigned)me);
    r = get_one(queue, (unsigned)me, space, deadline);
    if (r == 0)
        tell_putters(queue, 1);
    return r;
}

int brood_queue_put_many(struct brood_queue *queue, const struct brood_bytes *messages, size_t count, size_t *ret_count,
                         brood_deadline deadline)
{
    int me = queue_me(queue, deadline);
    size_t i = 1;
    int r;

    *ret_count = 0;
    if (me < 0 || count == 0)
        return me < 0 ? me : 0;
    if (!messages)
        return brood_fail(-EINVAL, "%zu messages cannot be at NULL", count);
    for (size_t n = 0; n < count; n++)
        if (!is_message(messages[n]))
            return no_message(messages[n].len);
    r = brood_queue_put(queue, messages[0], deadline);
    if (r < 0)
        return r;
    while (i < count && try_put(queue, (unsigned)me, messages[i], 0) == 0)
        i++;
    *ret_count = i;
    tell_getters(queue, i);
    see_to_discarded(queue, (unsigned)me);
    return 0;
}

int brood_queue_get_many(struct brood_queue *queue, struct brood_space *spaces, size_t count, size_t *ret_count,
                         brood_deadline deadline)
{
    int me = queue_me(queue, deadline);
    size_t i = 1;
    int r;

    *ret_count = 0;
    if (me < 0 || count == 0)
        return me < 0 ? me : 0;
    if (!spaces)
        return no_space(NULL);
    for (size_t n = 0; n < count; n++)
        if (!is_space(&spaces[n]))
            return no_space(&spaces[n]);
    queue_hand_begin(queue, (unsigned)me);
    r = get_one(queue, (unsigned)me, &spaces[0], deadline);
    if (r < 0)
        return r;
    while (i < count && try_get(queue, (unsigned)me, &spaces[i]) == 0)
        i++;
    *ret_count = i;
    tell_putters(queue, i);
    return 0;
}

/* ---- the end ---- */

int brood_queue_shutdown(struct brood_queue *queue, bool immediate)
{
    int me = queue_me(queue, BROOD_NOW);

    if (!queue)
        return me;
    queue_gate_set(queue, immediate ? QUEUE_SHUT | QUEUE_DISCARD : QUEUE_SHUT);
    (void)brood__fence_heavy(); /* pairs with tell_getters() in put(): it sees this, or here its message is seen */
    if (immediate && me > 0) {
        brood__queue_look_for_dead(queue, true); /* behind what one was about to put, nothing can be taken */
        brood__queue_discard(queue, (unsigned)me);
    }
    brood__queue_wake_all(queue);
    return 0;
}

bool brood_queue_is_shut_down(const struct brood_queue *queue)
{
    return queue && (queue_gate(queue) & QUEUE_SHUT) != 0;
}
