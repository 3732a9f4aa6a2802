/* range.h - how workers divide the items of a map: a range of items for each worker, and theft.
 *
 * A range is one word {lo, hi} on a line of its own.  Its worker claims the next items by a CAS that moves lo, without
 * contention unless a thief steals.  A worker whose range is empty moves the upper half of the fullest range to its own,
 * whether that range's worker is busy, dead or never came.  Before a worker runs an item it writes the item's number
 * beside its range; after the item it writes the item's status.  So:
 *
 *     - an item has run if its status is set;
 *     - if not, and a dead worker's `item` named it (the supervisor records that before it starts the next worker of that
 *       number), the worker was running it;
 *     - if not, it was never started: it is in some range, or its claim died with the worker between two instructions.
 *
 * When no worker is at work on the map any more, one pass over the status tells these apart, and the host divides the
 * items that were never started again.  No counter is shared, since a worker may die before or after adding to it.
 * Model: tests/model/map.pml.
 */
#ifndef BROOD_PROTO_RANGE_H
#define BROOD_PROTO_RANGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

#include "proto/limits.h"

/* An item's status: not run, run, or its negative errno. */
#define ITEM_WAITING 0
#define ITEM_DONE 1

struct range {
    /* {lo, hi}: the owner moves lo, a thief moves hi, by CAS; the owner of an empty range stores, and the host before it
     * publishes the map.  Relaxed: it guards no other memory.  A value does not recur while it has an item, since lo
     * never moves back to that item. */
    _Alignas(64) _Atomic uint64_t bounds;
    /* The item that the owner runs or ran last, + 1.  The owner stores it before it calls the task; the host and the
     * supervisor load it after the worker's death, or when no worker is at work on the map.  Relaxed. */
    _Atomic uint64_t item;
    /* A more urgent task waits in the owner's lane: the owner is to claim no more items, and the host will invite it
     * again.  The host stores it after the `waiter` of the invitation, release; the owner loads it before each claim,
     * acquire, so that its answer wakes the right thread. */
    _Atomic uint32_t preempted;
    uint32_t reserved;
    uint64_t pad[5];
};
_Static_assert(sizeof(struct range) == 64, "a range is a cache line");

/* The shared description of one window of a map.  The host writes it before it publishes a slot that names it; after
 * that only `stop` and the ranges change. */
struct window {
    uint64_t args, results, status; /* offsets from the segment's base, modulo 2^64, so that any address can be expressed */
    uint32_t arg_bytes, result_bytes;
    uint32_t items, chunk; /* chunk 0: adaptive */
    struct limits limits;  /* of one item */
    uint16_t task, workers;
    _Atomic uint32_t stop; /* start no more items: stored by the host, loaded by workers before each claim; relaxed */

    /* Of a loop (grain > 0), whose items are blocks of indices: item i has the indices from first + i * grain on, and
     * none from `end` on; `args` is where its context lies. */
    uint64_t first, end, grain, context_bytes;
    uint64_t pad[3];
    struct range ranges[]; /* `workers` of them: one for each worker, or one for the only invited worker */
};
_Static_assert(offsetof(struct window, ranges) == 128, "shared layout");

/* The number of that worker's range. */
static inline uint32_t range_number(uint32_t worker, uint32_t ranges)
{
    return ranges > 0 ? worker % ranges : 0;
}

static inline uint64_t range_of(uint32_t lo, uint32_t hi)
{
    return (uint64_t)hi << 32 | lo;
}

/* Claims up to `count` items of the worker's own range.  Returns how many; the first goes to *ret_lo. */
uint32_t brood__range_claim(struct range *range, uint32_t count, uint32_t *ret_lo);

/* Steals the upper half of the fullest other range: returns up to `count` items of it for the worker to run at once, as
 * a claim does, and puts the rest into the worker's own range, which is empty.  0: no items are left.  (If all of it
 * went into the range, two workers could steal the last item from each other for ever.) */
uint32_t brood__range_steal(struct range *ranges, uint32_t workers, uint32_t worker, uint32_t count, uint32_t *ret_lo);

/* How many items the range has. */
uint32_t brood__range_left(const struct range *range);

/* For tests of a map of that many items: other processes can write a range, so the host must not assert this. */
bool brood__range_is_valid(const struct range *range, uint32_t items);

/* Host, while no worker is at work on the map: the range gets the items lo … hi-1; or the ranges of all workers together
 * get `items` items, in equal parts. */
void brood__range_set(struct range *range, uint32_t lo, uint32_t hi);
void brood__range_share(struct range *ranges, uint32_t workers, uint32_t items);

static inline void range_begin_item(struct range *range, uint32_t item)
{
    atomic_store_explicit(&range->item, (uint64_t)item + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* before the task's own code: a dying process stores in program order */
}

static inline void item_finish(_Atomic int16_t *status, int16_t value)
{
    atomic_store_explicit(status, value, memory_order_release);
}

#endif
