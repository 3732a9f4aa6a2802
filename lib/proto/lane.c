#include "proto/lane.h"

struct slot *brood__lane_held_by(const struct lane *lanes, unsigned lane_count, unsigned worker, unsigned *ret_lane,
                                 uint64_t *ret_position)
{
    uint64_t current = atomic_load_explicit(&lanes[worker].worker_state->current, memory_order_relaxed);
    unsigned lane = ref_lane(current);
    uint64_t position = ref_position(current);
    struct slot *slot;

    if (lane >= lane_count)
        return NULL;
    if (lanes[lane].depth == 0 || (!(position & MAILBOX) && lane_index(&lanes[lane], position) >= lanes[lane].depth))
        return NULL; /* a worker may have written any position; this one has no memory */
    slot = &lanes[lane].slots[lane_index(&lanes[lane], position)];
    if (slot_look(slot) != word_of(SLOT_RUN, worker, position))
        return NULL;
    *ret_lane = lane;
    *ret_position = position;
    return slot;
}

bool brood__lane_mailbox(const struct lane *lane, uint64_t *ret_position)
{
    uint64_t word = slot_look(&lane->slots[lane->mask + 1]);

    *ret_position = word_position(word);
    return word_state(word) == SLOT_READY;
}

/* The host uses the mailbox only while no task is in the lane: a task there is older than one that waits in the ring.  It
 * may have come after the first look at the mailbox, and the one in the ring after it.  The acquire of the ring's word makes
 * this second look see it. */
static void prefer_mailbox(const struct lane *lane, uint64_t *position)
{
    uint64_t older;

    if (brood__lane_mailbox(lane, &older))
        *position = older;
}

/* Reads two laps at most: a head that lags catches up within one, and the second reaches the waiting task.  The
 * host and the supervisor call this too, and a worker that advances the words while they are read must not keep them
 * here. */
bool brood__lane_next(const struct lane *lane, uint64_t *head, uint64_t *ret_position)
{
    brood__assert_valid(lane_is_valid(lane));
    if (brood__lane_mailbox(lane, ret_position))
        return true;
    for (uint64_t looks = 2 * ((uint64_t)lane->mask + 1); looks > 0; looks--) {
        uint64_t word;

        if (lane_index(lane, *head) >= lane->depth) /* a worker has written that head; it has no memory */
            return false;
        word = slot_look(&lane->slots[lane_index(lane, *head)]);
        if (word_position(word) < *head)
            return false;
        if (word == word_of(SLOT_READY, 0, *head)) {
            *ret_position = *head;
            prefer_mailbox(lane, ret_position);
            return true;
        }
        /* Stolen or cancelled.  Where a later position is, all positions of the lap before are settled. */
        *head = word_position(word) > *head + lane->mask ? word_position(word) - lane->mask : *head + 1;
    }
    return false;
}

bool brood__lane_waiting(const struct lane *lane, uint64_t *ret_position)
{
    uint64_t head = atomic_load_explicit(&lane->worker_state->head, memory_order_relaxed);

    return brood__lane_next(lane, &head, ret_position);
}
