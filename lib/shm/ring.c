#include "shm/ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define NOWHERE UINT64_MAX

/* Keeps the search for a slot out of put() and get(), which most of the time need none.  Measured: 8 ns a message instead
 * of 12, because the common case saves fewer registers just before its locked instruction. */
#define NOINLINE __attribute__((noinline))
#define LINE_BYTES 64
#define MESSAGE_BYTES_MAX ((size_t)1 << 30)

static uint64_t load(const _Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_acquire);
}

static void store(_Atomic uint64_t *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_release);
}

static bool swap(_Atomic uint64_t *at, uint64_t old, uint64_t value)
{
    return atomic_compare_exchange_strong_explicit(at, &old, value, memory_order_acq_rel, memory_order_relaxed);
}

/* How far it is from one position to another, also where positions have wrapped. */
static int64_t distance(uint64_t from, uint64_t to)
{
    return (int64_t)((to - from) << RING_POSITION_SHIFT) >> RING_POSITION_SHIFT;
}

static struct ring_slot *slot_at(const struct brood_ring *ring, uint64_t position)
{
    char *slots = (char *)(uintptr_t)(ring + 1);

    return (struct ring_slot *)(void *)(slots + (position & (ring->slots - 1)) * ring->slot_bytes);
}

static bool is_owner(unsigned owner)
{
    return owner - 1 < BROOD_RING_OWNERS_MAX;
}

static int no_such_owner(unsigned owner)
{
    return brood_fail(-EINVAL, "a ring has the owner numbers 1 to %d, and %u is none of them", BROOD_RING_OWNERS_MAX,
                      owner);
}

/* ---- geometry ---- */

/* No word is in one line and its message in two others: up to a line, a slot has a power of two bytes, and beyond that
 * whole lines. */
static size_t slot_bytes(size_t message_bytes)
{
    size_t wanted = sizeof(struct ring_slot) + message_bytes;
    size_t bytes = 2 * sizeof(struct ring_slot);

    while (bytes < wanted && bytes < LINE_BYTES)
        bytes *= 2;
    return bytes >= wanted ? bytes : (wanted + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

size_t brood_ring_bytes(size_t slots, size_t message_bytes)
{
    if (slots < 2 || slots > BROOD_RING_SLOTS_MAX || (slots & (slots - 1)) != 0)
        return 0;
    if (message_bytes < 1 || message_bytes > MESSAGE_BYTES_MAX)
        return 0;
    if (slot_bytes(message_bytes) > (SIZE_MAX - sizeof(struct brood_ring)) / slots)
        return 0;
    return sizeof(struct brood_ring) + slots * slot_bytes(message_bytes);
}

static int check_shape(const struct brood_ring *ring, size_t slots, size_t message_bytes)
{
    if (brood_ring_bytes(slots, message_bytes) == 0)
        return brood_fail(-EINVAL, "%zu slots of %zu bytes make no ring: a power of two from 2 to %u, of 1 to %zu bytes",
                          slots, message_bytes, BROOD_RING_SLOTS_MAX, MESSAGE_BYTES_MAX);
    if (!ring || (uintptr_t)ring % LINE_BYTES != 0)
        return brood_fail(-EINVAL, "a ring needs memory that begins at a multiple of %d bytes, not at %p", LINE_BYTES,
                          (const void *)ring);
    return 0;
}

int brood__ring_init_at(struct brood_ring *ring, size_t slots, size_t message_bytes, uint64_t position)
{
    int r = check_shape(ring, slots, message_bytes);

    if (r < 0)
        return r;
    memset(ring, 0, sizeof(*ring));
    ring->slots = (uint32_t)slots;
    ring->slot_bytes = (uint32_t)slot_bytes(message_bytes);
    ring->message_bytes = (uint32_t)message_bytes;
    store(&ring->head.position, position);
    store(&ring->tail.position, position);
    for (int i = 0; i < BROOD_RING_OWNERS_MAX; i++) {
        store(&ring->owners[i].tail, position);
        store(&ring->owners[i].head, position);
    }
    for (uint64_t i = 0; i < slots; i++)
        store(&slot_at(ring, position + i)->word, ring_word(RING_FREE, 0, position + i));
    ring->magic = RING_MAGIC;
    return 0;
}

int brood_ring_init(struct brood_ring *ring, size_t slots, size_t message_bytes)
{
    return brood__ring_init_at(ring, slots, message_bytes, 0);
}

static bool is_claim(enum ring_state state)
{
    return state == RING_WRITING || state == RING_READING;
}

/* True of every word at every time, so it can be asked while others use the ring. */
static bool is_sound(const struct brood_ring *ring, uint64_t slot)
{
    uint64_t word = load(&slot_at(ring, slot)->word);
    enum ring_state state = ring_word_state(word);

    return state >= RING_FREE && state <= RING_AGAIN && (ring_word_position(word) & (ring->slots - 1)) == slot &&
           (is_claim(state) ? is_owner(ring_word_owner(word)) : ring_word_owner(word) == 0);
}

int brood_ring_check(const struct brood_ring *ring, size_t bytes, size_t message_bytes)
{
    int r = check_shape(ring, 2, message_bytes);

    if (r < 0)
        return r;
    if (bytes < sizeof(*ring) || ring->magic != RING_MAGIC)
        return brood_fail(-EINVAL, "these %zu bytes are no ring", bytes);
    if (ring->message_bytes != message_bytes)
        return brood_fail(-EINVAL, "the ring's messages have %u bytes, not %zu", ring->message_bytes, message_bytes);
    if (brood_ring_bytes(ring->slots, message_bytes) == 0 || ring->slot_bytes != slot_bytes(message_bytes))
        return brood_fail(-EINVAL, "the ring's head says %u slots of %u bytes, which cannot be", ring->slots,
                          ring->slot_bytes);
    if (brood_ring_bytes(ring->slots, message_bytes) > bytes)
        return brood_fail(-EINVAL, "a ring of %u slots does not fit into %zu bytes", ring->slots, bytes);
    for (uint64_t i = 0; i < ring->slots; i++)
        if (!is_sound(ring, i))
            return brood_fail(-EINVAL, "slot %" PRIu64 " of the ring has been written over", i);
    return 0;
}

/* ---- put and get ---- */

/* A call to memcpy() costs more than the move that most messages are. */
static inline void copy(void *to, const void *from, size_t bytes)
{
    if (bytes == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, bytes);
}

/* The hint was right: most of the time. */
static inline bool claim_at(struct ring_slot *slot, uint64_t word, uint64_t claim)
{
    return load(&slot->word) == word && swap(&slot->word, word, claim);
}

/* One's own hint, if it is the newer one and less than a lap ahead.  (An own hint that seems to be farther ahead is so old
 * that positions have wrapped halfway since.) */
static inline uint64_t hinted(const struct brood_ring *ring, const _Atomic uint64_t *own, const struct ring_hint *hint)
{
    uint64_t mine = atomic_load_explicit(own, memory_order_relaxed);
    uint64_t position = load(&hint->position);

    return (mine - position) << RING_POSITION_SHIFT < (uint64_t)ring->slots << RING_POSITION_SHIFT ? mine : position;
}

/* `position` - 1 was claimed.  The hint for all goes only forward, as far as one can see without a locked instruction.
 * Someone who is stopped between the load and the store sets it back, and the next who starts there walks, and sets it
 * right. */
static inline void advance(_Atomic uint64_t *own, struct ring_hint *hint, uint64_t position)
{
    atomic_store_explicit(own, position, memory_order_relaxed);
    if (position % RING_HINT_STEP == 0 && distance(load(&hint->position), position) > 0)
        store(&hint->position, position);
}

/* There is no message at the word's position and never will be: the slot is free for the next lap. */
static void bury(const struct brood_ring *ring, struct ring_slot *slot, uint64_t tomb)
{
    swap(&slot->word, tomb, ring_word(RING_FREE, 0, ring_word_position(tomb) + ring->slots));
}

/* `position` + 1, or `far` if that is farther. */
static uint64_t forward(uint64_t position, uint64_t far)
{
    return distance(position, far) > 0 ? far : position + 1;
}

/* The first position after `position` that may be unclaimed, seen from the word of a slot that is laps ahead of us.  Let
 * its position be p.  If p is FREE, then p - slots was claimed, and else p was. */
static uint64_t next_put(const struct brood_ring *ring, uint64_t word, uint64_t position)
{
    return forward(position, ring_word_position(word) + 1 - (ring_word_state(word) == RING_FREE ? ring->slots : 0));
}

/* The first position from `position` on that no producer has claimed, and the word of its slot. */
static uint64_t skip_claimed(const struct brood_ring *ring, uint64_t position, uint64_t *ret_word)
{
    for (;;) {
        uint64_t word = load(&slot_at(ring, position)->word);
        int64_t ahead = distance(position, ring_word_position(word));

        if (ahead < 0 || word == ring_word(RING_FREE, 0, position)) {
            *ret_word = word;
            return position;
        }
        position = ahead == 0 ? position + 1 : next_put(ring, word, position);
    }
}

/* Claims the next position, wherever it is.  Returns it, or NOWHERE: the ring is full. */
static NOINLINE uint64_t claim_free(const struct brood_ring *ring, unsigned owner, uint64_t position)
{
    for (;;) {
        struct ring_slot *slot;
        uint64_t word;

        position = skip_claimed(ring, position, &word);
        slot = slot_at(ring, position);
        if (word == ring_word(RING_FREE, 0, position)) {
            if (swap(&slot->word, word, ring_word(RING_WRITING, owner, position)))
                return position;
        } else if (ring_word_state(word) == RING_TOMB) {
            bury(ring, slot, word);
        } else {
            return NOWHERE;
        }
    }
}

int brood_ring_put(struct brood_ring *ring, unsigned owner, const void *message)
{
    struct ring_owner *self;
    struct ring_slot *slot;
    uint64_t position;

    if (!is_owner(owner))
        return no_such_owner(owner);
    self = &ring->owners[owner - 1];
    position = hinted(ring, &self->tail, &ring->tail);
    slot = slot_at(ring, position);
    if (!claim_at(slot, ring_word(RING_FREE, 0, position), ring_word(RING_WRITING, owner, position))) {
        position = claim_free(ring, owner, position);
        if (position == NOWHERE)
            return -EAGAIN;
        slot = slot_at(ring, position);
    }
    copy(slot->message, message, ring->message_bytes);
    store(&slot->word, ring_word(RING_FULL, 0, position));
    advance(&self->tail, &ring->tail, position + 1);
    return 0;
}

void brood_ring_done(struct brood_ring *ring, unsigned owner)
{
    if (is_owner(owner) && atomic_load_explicit(&ring->owners[owner - 1].hand, memory_order_relaxed) != 0)
        store(&ring->owners[owner - 1].hand, 0);
}

/* The first position after `position` that may hold a message, seen from the word of a slot that is laps ahead of us.  Let
 * its position be p.  Then p - slots was put and consumed, and so was everything before it, but for messages in state
 * AGAIN.  While there is one of those at q, producers get no farther than q + slots, so that q > p - 2 * slots. */
static uint64_t next_get(const struct brood_ring *ring, uint64_t word, uint64_t position)
{
    return forward(position, ring_word_position(word) + 1 - 2 * (uint64_t)ring->slots);
}

/* ---- messages that were handed back ---- */

#define AGAIN_ANY UINT64_C(1)
#define AGAIN_VERSION UINT64_C(2) /* one */
#define AGAIN_VERSION_MASK ((UINT64_C(1) << RING_POSITION_SHIFT) - AGAIN_VERSION)

static uint64_t start_of_get(const struct brood_ring *ring, unsigned owner, uint64_t again)
{
    return again & AGAIN_ANY ? again >> RING_POSITION_SHIFT : hinted(ring, &ring->owners[owner - 1].head, &ring->head);
}

/* Someone who looked from where `again` says has claimed what had this word.  A FULL message is one that nobody had claimed
 * before, so it is younger than all that were, and none of those is left. */
static void looked_again(struct brood_ring *ring, uint64_t again, uint64_t word)
{
    uint64_t next = again & ~AGAIN_ANY;

    if (!(again & AGAIN_ANY))
        return;
    if (ring_word_state(word) == RING_AGAIN)
        next = (again & (AGAIN_ANY | AGAIN_VERSION_MASK)) | (ring_word_position(word) + 1) << RING_POSITION_SHIFT;
    swap(&ring->again, again, next);
}

/* Someone who looked from where `again` says has found nothing.  True if no message was handed back meanwhile: if this says
 * so, the ring was empty, or its oldest message not written, when the last word was loaded. */
static bool found_nothing(struct brood_ring *ring, uint64_t again)
{
    if (again & AGAIN_ANY)
        return swap(&ring->again, again, again & ~AGAIN_ANY);
    return load(&ring->again) == again;
}

/* The first position from `position` on that no consumer has claimed, or where a message was handed back, and the word of
 * its slot. */
static uint64_t skip_consumed(const struct brood_ring *ring, uint64_t position, uint64_t *ret_word)
{
    for (;;) {
        uint64_t word = load(&slot_at(ring, position)->word);
        int64_t ahead = distance(position, ring_word_position(word));

        if (ahead < 0 || (ahead == 0 && ring_word_state(word) != RING_READING)) {
            *ret_word = word;
            return position;
        }
        position = ahead == 0 ? position + 1 : next_get(ring, word, position);
    }
}

/* Claims the oldest message at or after `position`.  Returns the word that it had; NOWHERE if there is none. */
static uint64_t claim_oldest(const struct brood_ring *ring, unsigned owner, uint64_t position)
{
    for (;;) {
        struct ring_slot *slot;
        uint64_t word;

        position = skip_consumed(ring, position, &word);
        slot = slot_at(ring, position);
        if (word == ring_word(RING_FULL, 0, position) || word == ring_word(RING_AGAIN, 0, position)) {
            if (swap(&slot->word, word, ring_word(RING_READING, owner, position)))
                return word;
        } else if (word == ring_word(RING_TOMB, 0, position)) {
            bury(ring, slot, word);
        } else {
            return NOWHERE;
        }
    }
}

/* Claims the oldest message, wherever it is.  Returns its position, or NOWHERE. */
static NOINLINE uint64_t claim_message(struct brood_ring *ring, unsigned owner)
{
    for (;;) {
        uint64_t again = load(&ring->again);
        uint64_t word = claim_oldest(ring, owner, start_of_get(ring, owner, again));

        if (word != NOWHERE) {
            looked_again(ring, again, word);
            return ring_word_position(word);
        }
        if (found_nothing(ring, again))
            return NOWHERE;
    }
}

int brood_ring_get(struct brood_ring *ring, unsigned owner, void *ret_message)
{
    struct ring_owner *self;
    struct ring_slot *slot;
    uint64_t position;

    if (!is_owner(owner))
        return no_such_owner(owner);
    self = &ring->owners[owner - 1];
    brood_ring_done(ring, owner);
    position = hinted(ring, &self->head, &ring->head);
    slot = slot_at(ring, position);
    if (load(&ring->again) & AGAIN_ANY ||
        !claim_at(slot, ring_word(RING_FULL, 0, position), ring_word(RING_READING, owner, position))) {
        position = claim_message(ring, owner);
        if (position == NOWHERE)
            return -EAGAIN;
        slot = slot_at(ring, position);
    }
    copy(ret_message, slot->message, ring->message_bytes);
    /* In this order: a message whose slot is free and which is in no hand would be lost with its reader.  The slot is not
     * kept until the next get(): that took 11 ns a message instead of 7, and a consumer that takes its time over a message
     * would stop all producers one lap later. */
    store(&self->hand, ring_word(RING_READING, owner, position));
    store(&slot->word, ring_word(RING_FREE, 0, position + ring->slots));
    advance(&self->head, &ring->head, position + 1);
    return 0;
}

size_t brood_ring_count(const struct brood_ring *ring)
{
    uint64_t word;
    uint64_t head = skip_consumed(ring, load(&ring->head.position), &word);
    int64_t count = distance(head, skip_claimed(ring, load(&ring->tail.position), &word));

    if (count < 0)
        return 0;
    return count < ring->slots ? (size_t)count : ring->slots;
}

/* ---- recovery ---- */

/* What is found in one slot.  Nobody but the dead owner may leave these states, so that plain stores do. */
static void repair(const struct brood_ring *ring, struct ring_slot *slot, unsigned owner, struct brood_ring_report *report)
{
    uint64_t word = load(&slot->word);
    uint64_t position = ring_word_position(word);

    if (word == ring_word(RING_WRITING, owner, position)) {
        store(&slot->word, ring_word(RING_TOMB, 0, position));
        report->unfinished_puts++;
    } else if (word == load(&ring->owners[owner - 1].hand)) {
        store(&slot->word, ring_word(RING_FREE, 0, position + ring->slots)); /* counted with the hand */
    } else if (word == ring_word(RING_READING, owner, position)) {
        store(&slot->word, ring_word(RING_AGAIN, 0, position));
        report->redelivered++;
    }
}

/* Sends all who come from now on to look at `position` first. */
static void look_again(struct brood_ring *ring, uint64_t position)
{
    uint64_t version = (load(&ring->again) + AGAIN_VERSION) & AGAIN_VERSION_MASK;

    store(&ring->again, AGAIN_ANY | version | position << RING_POSITION_SHIFT);
}

int brood_ring_recover(struct brood_ring *ring, unsigned owner, struct brood_ring_report *ret_report)
{
    struct brood_ring_report report = {0};
    uint64_t first = 0;
    bool any = false;

    if (!is_owner(owner))
        return no_such_owner(owner);
    for (uint64_t i = 0; i < ring->slots; i++) {
        struct ring_slot *slot = slot_at(ring, i);
        uint64_t word;

        repair(ring, slot, owner, &report);
        /* Also those of an earlier recovery: its process may have died before it came to tell. */
        word = load(&slot->word);
        if (ring_word_state(word) == RING_AGAIN && (!any || distance(first, ring_word_position(word)) < 0)) {
            first = ring_word_position(word);
            any = true;
        }
    }
    if (any)
        look_again(ring, first);
    report.in_hand = load(&ring->owners[owner - 1].hand) != 0;
    /* Last: if this process dies before, the next recovery counts the hand again instead of losing it. */
    store(&ring->owners[owner - 1].hand, 0);
    *ret_report = report;
    return 0;
}
