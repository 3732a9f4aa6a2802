#include "proto/range.h"
#include "os/role.h"

static uint32_t low(uint64_t bounds)
{
    return (uint32_t)bounds;
}

static uint32_t high(uint64_t bounds)
{
    return (uint32_t)(bounds >> 32);
}

static uint32_t size(uint64_t bounds)
{
    return high(bounds) > low(bounds) ? high(bounds) - low(bounds) : 0;
}

uint32_t brood__range_left(const struct range *range)
{
    return size(atomic_load_explicit(&range->bounds, memory_order_relaxed));
}

uint32_t brood__range_claim(struct range *range, uint32_t count, uint32_t *ret_lo)
{
    uint64_t bounds = atomic_load_explicit(&range->bounds, memory_order_relaxed);
    uint32_t taken;

    do {
        taken = size(bounds) < count ? size(bounds) : count;
        if (taken == 0)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&range->bounds, &bounds, range_of(low(bounds) + taken, high(bounds)),
                                                    memory_order_relaxed, memory_order_relaxed));
    *ret_lo = low(bounds);
    return taken;
}

bool brood__range_is_valid(const struct range *range, uint32_t items)
{
    uint64_t bounds = atomic_load_explicit(&range->bounds, memory_order_relaxed);

    return low(bounds) <= high(bounds) && high(bounds) <= items &&
           atomic_load_explicit(&range->item, memory_order_relaxed) <= items;
}

static uint32_t range_fullest(struct range *ranges, uint32_t workers)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < workers; i++)
        if (brood__range_left(&ranges[i]) > brood__range_left(&ranges[best]))
            best = i;
    return best;
}

uint32_t brood__range_steal(struct range *ranges, uint32_t workers, uint32_t worker, uint32_t count, uint32_t *ret_lo)
{
    brood__assert(worker < workers && count > 0);
    for (;;) {
        struct range *victim = &ranges[range_fullest(ranges, workers)];
        uint64_t bounds = atomic_load_explicit(&victim->bounds, memory_order_relaxed);
        uint32_t middle = low(bounds) + size(bounds) / 2, stolen = high(bounds) - middle;

        if (size(bounds) == 0)
            return 0;
        if (!atomic_compare_exchange_strong_explicit(&victim->bounds, &bounds, range_of(low(bounds), middle),
                                                     memory_order_relaxed, memory_order_relaxed))
            continue;
        /* Until this store no range has the rest: if the thief dies here, the host finds it in the end. */
        brood__assert(stolen > 0 && stolen <= size(bounds));
        count = count < stolen ? count : stolen;
        atomic_store_explicit(&ranges[worker].bounds, range_of(middle + count, high(bounds)), memory_order_relaxed);
        *ret_lo = middle;
        return count;
    }
}

void brood__range_set(struct range *range, uint32_t lo, uint32_t hi)
{
    atomic_store_explicit(&range->bounds, range_of(lo, hi), memory_order_relaxed);
    atomic_store_explicit(&range->item, 0, memory_order_relaxed);
    atomic_store_explicit(&range->preempted, 0, memory_order_relaxed); /* the memory may have had other contents */
}

void brood__range_share(struct range *ranges, uint32_t workers, uint32_t items)
{
    brood__assert_host();
    brood__assert(workers > 0);
    for (uint64_t i = 0; i < workers; i++)
        brood__range_set(&ranges[i], (uint32_t)(items * i / workers), (uint32_t)(items * (i + 1) / workers));
}
