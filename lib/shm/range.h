/* range.h - how the workers share out the items of a map: a range of items for each worker, and theft.
 *
 * A range is one word {lo, hi} on a line of its own.  Its worker claims the next items by a CAS that moves lo, uncontended
 * unless somebody steals.  A worker whose range is empty moves the upper half of the fullest one to its own, also when that
 * one's worker is busy, dead or never came.  Before it runs an item, a worker writes the item's number beside its range;
 * when the item is finished it writes the item's status.  So:
 *
 *   - an item has run if its status is set;
 *   - if not, and a dead worker's `item` named it (the supervisor notes that down before there is another worker of that
 *     number), it was being run;
 *   - if not, it was never started: it is in some range, or its claim died with the worker between two instructions.
 *
 * When nobody is at work on the map any more, one pass over the status tells these apart, and what never started is shared
 * out again.  No counter is shared, since a worker may die before or after adding to it.  Model: tests/model/map.pml.
 */
#ifndef BROOD_SHM_RANGE_H
#define BROOD_SHM_RANGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

/* An item's status: not run, fine, or its negative errno. */
#define ITEM_WAITING 0
#define ITEM_DONE 1

struct range {
    /* {lo, hi}: the owner moves lo, a thief moves hi, by CAS; empty: the owner stores, host before the map is published.
     * Relaxed: it guards no other memory.  It cannot recur while an item is left in it, because lo never moves back to it.
     */
    _Alignas(64) _Atomic uint64_t bounds;
    /* The item that the owner runs or ran last, + 1.  Owner writes, before it calls the task; the host reads behind the
     * worker's death, or when nobody is left. */
    _Atomic uint64_t item;
    /* Host: something more urgent waits in the owner's lane, so it is to claim no more, and will be invited again.  The
     * host stores it behind the `waiter` of the invitation, release; the owner looks before each claim, acquire, so that it
     * knows whom to wake when it answers. */
    _Atomic uint32_t yields;
    uint32_t reserved;
    uint64_t pad[5];
};
_Static_assert(sizeof(struct range) == 64, "a range is a cache line");

/* The shared description of one window of a map.  Written by the host before any slot that names it is published; then only
 * `stop` and the ranges change. */
struct window {
    uint64_t args, results, status; /* offsets from the segment's base, modulo 2^64, so that any address can be said */
    uint32_t arg_bytes, result_bytes;
    uint32_t items, chunk;      /* chunk 0: adaptive */
    int64_t limit_ns, grace_ns; /* an item's; 0: none */
    uint16_t task, workers;
    _Atomic uint32_t stop; /* host: start no more items.  Workers read it before each claim. */

    /* Of a loop (grain > 0), whose items are blocks of indices: item i is those from first + i * grain on, and none from
     * `end` on; `args` is where its context lies. */
    uint64_t first, end, grain, context_bytes;
    uint64_t pad[4];
    struct range ranges[]; /* `workers` of them: one each, or one for whoever comes, where one alone is invited */
};
_Static_assert(offsetof(struct window, ranges) == 128, "shared layout");

/* Which range is that worker's. */
static inline uint32_t range_number(uint32_t worker, uint32_t ranges)
{
    return ranges > 0 ? worker % ranges : 0;
}

static inline uint64_t range_of(uint32_t lo, uint32_t hi)
{
    return (uint64_t)hi << 32 | lo;
}

/* Claims up to `count` items of the worker's own range.  How many; the first goes to *ret_lo. */
uint32_t brood__range_claim(struct range *range, uint32_t count, uint32_t *ret_lo);

/* Takes the upper half of the fullest other range: up to `count` items of it for the worker to run at once, as with a
 * claim, the rest into its own range, which is empty.  0: there is nothing left.  (If it put all of it into its range, two
 * workers could steal the last item from each other for ever.) */
uint32_t brood__range_steal(struct range *ranges, uint32_t workers, uint32_t worker, uint32_t count, uint32_t *ret_lo);

/* How many items are in it. */
uint32_t brood__range_left(const struct range *range);

/* Host, while nobody works on the map: this range holds the items lo … hi-1 and nobody has run one of them; or the ranges
 * of all workers together hold `items` items, in equal parts. */
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
