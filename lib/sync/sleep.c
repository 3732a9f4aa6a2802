#include "sync/sleep.h"
#include "os/cpus.h"

#define SPINS_HALVED_MAX 7
#define SPINS_AGAIN 32 /* one of so many waits spins as if no spin had been in vain */

/* Spinning pays only if the other thread has a CPU of its own. */
static bool has_cpus(void)
{
    static _Atomic int cpus; /* each thread that finds 0 stores the same number: relaxed */
    int known = atomic_load_explicit(&cpus, memory_order_relaxed);

    if (known == 0) {
        known = brood__cpus_usable();
        atomic_store_explicit(&cpus, known, memory_order_relaxed);
    }
    return known > 1;
}

int brood__spins(const struct spin *spin)
{
    unsigned halved = spin->in_vain < SPINS_HALVED_MAX ? spin->in_vain : SPINS_HALVED_MAX;

    if (!has_cpus())
        return 0;
    return spin->in_vain % SPINS_AGAIN == SPINS_AGAIN - 1 ? SPINS : SPINS >> halved;
}

static int64_t sleep_limited(int64_t ns)
{
    return ns < LOOK_AGAIN_NS ? LOOK_AGAIN_NS : ns > SLICE_NS_MAX ? SLICE_NS_MAX : ns;
}

bool brood__look_is_due(struct slice *slice, int64_t age_ns)
{
    bool is_due = age_ns >= LOOK_AGAIN_NS / 2;

    /* When a look is much too late, most of many sleepers have left. */
    slice->ns = age_ns > 4 * LOOK_AGAIN_NS ? LOOK_AGAIN_NS : sleep_limited(is_due ? slice->ns / 2 : slice->ns * 2);
    return is_due;
}

bool brood__look_is_due_since(struct slice *slice, _Atomic int64_t *looked_ns)
{
    int64_t now = brood__now_ns(), looked = atomic_load_explicit(looked_ns, memory_order_relaxed);

    return brood__look_is_due(slice, now - looked) &&
           atomic_compare_exchange_strong_explicit(looked_ns, &looked, now, memory_order_relaxed, memory_order_relaxed);
}
