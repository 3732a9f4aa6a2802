#include "shm/ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "os/assert.h"

#define LINE_BYTES RING_LINE_BYTES
#define MESSAGE_BYTES_MAX ((size_t)1 << 30)

static bool ring_has_owner(unsigned owner)
{
    return owner - 1 < BROOD_RING_OWNERS_MAX;
}

static int no_such_owner(unsigned owner)
{
    return brood_fail(-EINVAL, "a ring has the owner numbers 1 to %d, and %u is none of them", BROOD_RING_OWNERS_MAX,
                      owner);
}

/* ---- geometry ---- */

/* Up to a cache line a slot has a power of two bytes, and beyond that whole lines: so a slot touches as few lines as
 * possible. */
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
        return brood_fail(-EINVAL, "a ring needs memory that begins at a multiple of %d bytes, not at %p", (int)LINE_BYTES,
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
    ring_store(&ring->head.position, position);
    ring_store(&ring->tail.position, position);
    for (int i = 0; i < BROOD_RING_OWNERS_MAX; i++) {
        ring_store(&ring->owners[i].tail, position);
        ring_store(&ring->owners[i].head, position);
    }
    for (uint64_t i = 0; i < slots; i++)
        ring_store(&ring_slot_at(ring, position + i)->word, ring_word(RING_FREE, 0, position + i));
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

static bool may_have_tag(enum ring_state state)
{
    return state == RING_FULL || state == RING_AGAIN;
}

/* Checks what is true of every word at every time, so also while other processes use the ring. */
static bool ring_slot_is_sound(const struct brood_ring *ring, uint64_t slot)
{
    uint64_t word = ring_load(&ring_slot_at(ring, slot)->word);
    enum ring_state state = ring_word_state(word);

    return state >= RING_FREE && state <= RING_AGAIN && (ring_word_position(word) & (ring->slots - 1)) == slot &&
           (is_claim(state) ? ring_has_owner(ring_word_owner(word)) : may_have_tag(state) || ring_word_owner(word) == 0);
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
        if (!ring_slot_is_sound(ring, i))
            return brood_fail(-EINVAL, "slot %" PRIu64 " of the ring has been written over", i);
    return 0;
}

/* ---- put and get ---- */

/* A call to memcpy() costs more than the move that most messages are. */
static inline void ring_copy(void *to, const void *from, size_t bytes)
{
    if (bytes == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, bytes);
}

/* Frees the slot of a tomb for the next lap: there is no message at its position and never will be. */
static void ring_free_tomb(const struct brood_ring *ring, struct ring_slot *slot, uint64_t tomb)
{
    ring_swap(&slot->word, tomb, ring_word(RING_FREE, 0, ring_word_position(tomb) + ring->slots));
}

/* `position` + 1, or `far` if that is farther. */
static uint64_t forward(uint64_t position, uint64_t far)
{
    return ring_distance(position, far) > 0 ? far : position + 1;
}

/* The first position after `position` that may be unclaimed, derived from the word of a slot that is laps ahead.  Let the
 * word's position be p.  If it is FREE, then p - slots was claimed; else p was. */
static uint64_t next_put(const struct brood_ring *ring, uint64_t word, uint64_t position)
{
    return forward(position, ring_word_position(word) + 1 - (ring_word_state(word) == RING_FREE ? ring->slots : 0));
}

/* The first position from `position` on that no producer has claimed, and the word of its slot. */
static uint64_t skip_claimed(const struct brood_ring *ring, uint64_t position, uint64_t *ret_word)
{
    for (;;) {
        uint64_t word = ring_load(&ring_slot_at(ring, position)->word);
        int64_t ahead = ring_distance(position, ring_word_position(word));

        if (ahead < 0 || word == ring_word(RING_FREE, 0, position)) {
            *ret_word = word;
            return position;
        }
        position = ahead == 0 ? position + 1 : next_put(ring, word, position);
    }
}

/* True if the message at the position has been consumed, or there was none. */
static bool is_consumed(const struct brood_ring *ring, uint64_t position)
{
    struct ring_slot *slot = ring_slot_at(ring, position);
    uint64_t word = ring_load(&slot->word);

    if (word == ring_word(RING_TOMB, 0, position))
        ring_free_tomb(ring, slot, word);
    return word == ring_word(RING_TOMB, 0, position) || ring_distance(position, ring_word_position(word)) > 0;
}

uint64_t brood__ring_claim_free(const struct brood_ring *ring, unsigned owner, uint64_t position, uint64_t bound)
{
    for (;;) {
        struct ring_slot *slot;
        uint64_t word;

        position = skip_claimed(ring, position, &word);
        slot = ring_slot_at(ring, position);
        if (word == ring_word(RING_FREE, 0, position)) {
            if (bound != 0 && !is_consumed(ring, position - bound))
                return RING_NOWHERE;
            if (ring_swap(&slot->word, word, ring_word(RING_WRITING, owner, position)))
                return position;
        } else if (ring_word_state(word) == RING_TOMB) {
            ring_free_tomb(ring, slot, word);
        } else {
            return RING_NOWHERE;
        }
    }
}

int brood_ring_put(struct brood_ring *ring, unsigned owner, const void *message)
{
    struct ring_slot *slot;
    uint64_t position;

    if (!ring_has_owner(owner))
        return no_such_owner(owner);
    slot = ring_put_begin(ring, owner, 0, &position);
    if (!slot)
        return -EAGAIN;
    ring_copy(slot->message, message, ring->message_bytes);
    ring_put_end(ring, owner, slot, 0, position);
    brood__assert_valid(ring_slot_is_sound(ring, position & (ring->slots - 1)));
    return 0;
}

void brood_ring_done(struct brood_ring *ring, unsigned owner)
{
    if (ring_has_owner(owner) && atomic_load_explicit(&ring->owners[owner - 1].in_flight, memory_order_relaxed) != 0)
        ring_store(&ring->owners[owner - 1].in_flight, 0);
}

/* The first position after `position` that may hold a message, derived from the word of a slot that is laps ahead.  Let the
 * word's position be p.  Then p - slots was put and consumed, and so was everything before it except messages in state
 * AGAIN.  While there is one of those at q, producers get no farther than q + slots, so q > p - 2 * slots. */
static uint64_t next_get(const struct brood_ring *ring, uint64_t word, uint64_t position)
{
    return forward(position, ring_word_position(word) + 1 - 2 * (uint64_t)ring->slots);
}

/* ---- messages to deliver again ---- */

#define AGAIN_ANY UINT64_C(1)
#define AGAIN_VERSION UINT64_C(2) /* one */
#define AGAIN_VERSION_MASK ((UINT64_C(1) << RING_POSITION_SHIFT) - AGAIN_VERSION)

static uint64_t start_of_get(const struct brood_ring *ring, unsigned owner, uint64_t again)
{
    return again & AGAIN_ANY ? again >> RING_POSITION_SHIFT : ring_hinted(ring, &ring->owners[owner - 1].head, &ring->head);
}

/* The consumer started at the position in `again` and has claimed the message with this word.  A FULL message was never
 * claimed before, so it is younger than all that were, and none of those is left. */
static void ring_advance_again(struct brood_ring *ring, uint64_t again, uint64_t word)
{
    uint64_t next = again & ~AGAIN_ANY;

    if (!(again & AGAIN_ANY))
        return;
    if (ring_word_state(word) == RING_AGAIN)
        next = (again & (AGAIN_ANY | AGAIN_VERSION_MASK)) | (ring_word_position(word) + 1) << RING_POSITION_SHIFT;
    ring_swap(&ring->again, again, next);
}

/* The consumer started at the position in `again` and has found nothing.  True if recovery has returned no message
 * meanwhile: then the ring was empty, or its oldest message unfinished, when the consumer loaded the last word. */
static bool ring_again_unchanged(struct brood_ring *ring, uint64_t again)
{
    if (again & AGAIN_ANY)
        return ring_swap(&ring->again, again, again & ~AGAIN_ANY);
    return ring_load(&ring->again) == again;
}

/* The first position from `position` on that no consumer has claimed, or whose message is to be delivered again, and the
 * word of its slot. */
static uint64_t skip_consumed(const struct brood_ring *ring, uint64_t position, uint64_t *ret_word)
{
    for (;;) {
        uint64_t word = ring_load(&ring_slot_at(ring, position)->word);
        int64_t ahead = ring_distance(position, ring_word_position(word));

        if (ahead < 0 || (ahead == 0 && ring_word_state(word) != RING_READING)) {
            *ret_word = word;
            return position;
        }
        position = ahead == 0 ? position + 1 : next_get(ring, word, position);
    }
}

/* May be the length of a message that was put there since; is_unclaimed() finds out. */
static uint64_t length_of(struct ring_slot *slot, uint64_t word)
{
    unsigned tag = ring_word_owner(word);

    if (tag != RING_LONG)
        return tag;
    return atomic_load_explicit((_Atomic uint64_t *)(void *)slot->message, memory_order_relaxed) &
           ((UINT64_C(1) << RING_LONG_BITS) - 1);
}

/* True for the word of a message that a consumer can claim. */
static bool ring_word_is_message(uint64_t word)
{
    return ring_word_state(word) == RING_FULL || ring_word_state(word) == RING_AGAIN;
}

/* True if the slot still has this word.  A load is not enough: it may return the old word after an earlier load has
 * returned what was written to the slot since.  A compare-and-swap shows that no consumer has claimed the word yet; and
 * since it is a release and each claim an acquire, a load before it cannot see what is written to the slot after a claim.
 */
static bool is_unclaimed(struct ring_slot *slot, uint64_t word)
{
    return ring_swap(&slot->word, word, word);
}

/* Claims the oldest message at or after `position`.  The length that was read before is the message's if the claim
 * succeeds, or if the word is shown to be unclaimed. */
static void claim_oldest(const struct brood_ring *ring, unsigned owner, uint64_t position, size_t below,
                         struct ring_seen *ret_seen)
{
    for (;;) {
        struct ring_slot *slot;
        uint64_t word, length;

        position = skip_consumed(ring, position, &word);
        slot = ring_slot_at(ring, position);
        length = length_of(slot, word);
        *ret_seen = (struct ring_seen){RING_EMPTY, word, position, length};
        if (word == ring_word(RING_TOMB, 0, position)) {
            ring_free_tomb(ring, slot, word);
        } else if (ring_word_position(word) != (position << RING_POSITION_SHIFT) >> RING_POSITION_SHIFT ||
                   !ring_word_is_message(word)) {
            ret_seen->outcome = ring_word_state(word) == RING_WRITING ? RING_BUSY : RING_EMPTY;
            return;
        } else if (length >= below) {
            ret_seen->outcome = RING_TOO_LONG;
            if (is_unclaimed(slot, word))
                return;
        } else if (ring_claim_for_reading(ring, slot, owner, word)) {
            ret_seen->outcome = RING_TAKEN;
            return;
        }
    }
}

void brood__ring_claim_message(struct brood_ring *ring, unsigned owner, size_t below, struct ring_seen *ret_seen)
{
    for (;;) {
        uint64_t again = ring_load(&ring->again);

        claim_oldest(ring, owner, start_of_get(ring, owner, again), below, ret_seen);
        if (ret_seen->outcome == RING_TAKEN)
            ring_advance_again(ring, again, ret_seen->word);
        if (ret_seen->outcome == RING_TAKEN || ret_seen->outcome == RING_TOO_LONG)
            return;
        if (ring_again_unchanged(ring, again))
            return;
    }
}

int brood_ring_get(struct brood_ring *ring, unsigned owner, void *ret_message)
{
    struct ring_slot *slot;
    struct ring_seen seen;

    if (!ring_has_owner(owner))
        return no_such_owner(owner);
    brood_ring_done(ring, owner);
    slot = ring_get_begin(ring, owner, SIZE_MAX, &seen);
    if (!slot)
        return -EAGAIN;
    ring_copy(ret_message, slot->message, ring->message_bytes);
    ring_own_lines(slot, ring->message_bytes);
    ring_get_end(ring, owner, slot, ring_in_flight(1, seen.position), seen.position);
    brood__assert_valid(ring_slot_is_sound(ring, seen.position & (ring->slots - 1)));
    return 0;
}

uint64_t brood__ring_tail(const struct brood_ring *ring)
{
    uint64_t word;

    return skip_claimed(ring, ring_load(&ring->tail.position), &word);
}

size_t brood_ring_count(const struct brood_ring *ring)
{
    uint64_t word;
    uint64_t head = skip_consumed(ring, ring_load(&ring->head.position), &word);
    int64_t count = ring_distance(head, brood__ring_tail(ring));

    if (count < 0)
        return 0;
    return count < ring->slots ? (size_t)count : ring->slots;
}

/* ---- recovery ---- */

/* Recovers one slot.  Only the dead owner could leave these states, so stores are enough. */
static void ring_repair_slot(const struct brood_ring *ring, struct ring_slot *slot, unsigned owner,
                             struct brood_ring_report *report)
{
    uint64_t word = ring_load(&slot->word);
    uint64_t position = ring_word_position(word);

    if (word == ring_word(RING_WRITING, owner, position)) {
        ring_store(&slot->word, ring_word(RING_TOMB, 0, position));
        report->unfinished_puts++;
    } else if (word != ring_word(RING_READING, owner, position)) {
        return;
    } else if (ring_in_flight_has(ring_load(&ring->owners[owner - 1].in_flight), position, 0)) {
        ring_store(&slot->word, ring_word(RING_FREE, 0, position + ring->slots)); /* counted as in flight */
    } else {
        ring_store(&slot->word, ring_word(RING_AGAIN, (unsigned)ring_load(&ring->owners[owner - 1].tag), position));
        report->redelivered++;
    }
}

/* Makes each later get() look at `position` first. */
static void ring_announce_again(struct brood_ring *ring, uint64_t position)
{
    uint64_t version = (ring_load(&ring->again) + AGAIN_VERSION) & AGAIN_VERSION_MASK;

    ring_store(&ring->again, AGAIN_ANY | version | position << RING_POSITION_SHIFT);
}

struct brood_ring_report brood__ring_repair(struct brood_ring *ring, unsigned owner)
{
    struct brood_ring_report report = {0};
    uint64_t first = 0;
    bool any = false;

    for (uint64_t i = 0; i < ring->slots; i++) {
        struct ring_slot *slot = ring_slot_at(ring, i);
        uint64_t word;

        ring_repair_slot(ring, slot, owner, &report);
        /* Also those of an earlier recovery: its process may have died before it announced them. */
        word = ring_load(&slot->word);
        if (ring_word_state(word) == RING_AGAIN && (!any || ring_distance(first, ring_word_position(word)) < 0)) {
            first = ring_word_position(word);
            any = true;
        }
    }
    if (any)
        ring_announce_again(ring, first);
    report.in_hand = ring_load(&ring->owners[owner - 1].in_flight) != 0;
    return report;
}

int brood_ring_recover(struct brood_ring *ring, unsigned owner, struct brood_ring_report *ret_report)
{
    struct brood_ring_report report;

    if (!ring_has_owner(owner))
        return no_such_owner(owner);
    report = brood__ring_repair(ring, owner);
    /* Last: if this process dies before, the next recovery counts the messages in flight again instead of losing them. */
    ring_store(&ring->owners[owner - 1].in_flight, 0);
    *ret_report = report;
    return 0;
}

uint64_t brood__ring_written_by(const struct brood_ring *ring, unsigned owner)
{
    for (uint64_t i = 0; i < ring->slots; i++) {
        uint64_t word = ring_load(&ring_slot_at(ring, i)->word);

        if (word == ring_word(RING_WRITING, owner, ring_word_position(word)))
            return ring_word_position(word);
    }
    return RING_NOWHERE;
}
