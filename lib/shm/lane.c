#include "shm/lane.h"

struct slot *brood__lane_held_by(const struct lane *lanes, unsigned lane_count, unsigned worker, unsigned *ret_lane,
                                 uint64_t *ret_position)
{
    uint64_t current = atomic_load_explicit(&lanes[worker].station->current, memory_order_relaxed);
    unsigned lane = ref_lane(current);
    uint64_t position = ref_position(current);
    struct slot *slot;

    if (lane >= lane_count)
        return NULL;
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

bool brood__lane_next(const struct lane *lane, uint64_t *head, uint64_t *ret_position)
{
    if (brood__lane_mailbox(lane, ret_position))
        return true;
    for (;;) {
        uint64_t word = slot_look(&lane->slots[lane_index(lane, *head)]);

        if (word_position(word) < *head)
            return false;
        if (word == word_of(SLOT_READY, 0, *head)) {
            *ret_position = *head;
            return true;
        }
        /* Stolen or cancelled; and where a later position is, so is all that came a lap before it. */
        *head = word_position(word) > *head + lane->mask ? word_position(word) - lane->mask : *head + 1;
    }
}

bool brood__lane_waiting(const struct lane *lane, uint64_t *ret_position)
{
    uint64_t head = atomic_load_explicit(&lane->station->head, memory_order_relaxed);

    return brood__lane_next(lane, &head, ret_position);
}
