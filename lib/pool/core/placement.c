/* placement.c - gives a host thread and its workers a CPU each, while there are enough CPUs.
 *
 * A thread that wakes a worker and continues to give it tasks may find that worker on its own CPU again and again.  The
 * kernel takes the two for a pair of which one works while the other waits, as in a round trip, and looks for no other CPU.
 *
 * When a map begins, the host may wake as many workers as there are CPUs while it still runs on one of these: so the
 * scheduler puts two workers on one CPU.  Then the host sleeps, its CPU is idle, and the two workers share the other CPU
 * until the kernel balances the load, which took 4 to 13 ms.
 */
#include <sched.h>

#include "os/thread_cpu.h"
#include "pool/core/kind.h"
#include "pool/core/placement.h"

#define NO_WORKER UINT32_MAX

/* The CPU of that worker; CPU_NONE if it has nothing to do. */
static unsigned cpu_of(const struct brood_pool *pool, unsigned worker)
{
    if (pool->shadows[worker].outstanding == 0 || brood__idle_is(pool->shared.header, worker))
        return CPU_NONE;
    return brood__placement_cpu(pool, worker);
}

static unsigned first_on(const struct brood_pool *pool, unsigned cpu)
{
    unsigned worker = 0;

    while (cpu_of(pool, worker) != cpu && worker + 1 < pool->size.max)
        worker++;
    return worker;
}

/* The first worker that was on the CPU of a worker of a lower number, and that one; NO_WORKER if there is none. */
static unsigned find_second(const struct brood_pool *pool, unsigned *ret_first)
{
    cpu_set_t taken;

    CPU_ZERO(&taken);
    for (unsigned i = 0; i < pool->size.max; i++) {
        unsigned cpu = cpu_of(pool, i);

        if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &taken)) {
            *ret_first = first_on(pool, cpu);
            return i;
        }
        if (cpu < CPU_SETSIZE)
            CPU_SET(cpu, &taken);
    }
    return NO_WORKER;
}

void brood__placement_leave(const struct brood_pool *pool)
{
    brood__assert_locked(pool);
    unsigned awake = brood__awake_count(&pool->shared), first, second;
    pid_t one, other;
    unsigned cpu;

    /* The kernel places fewer workers well by itself, and more have to share CPUs. */
    if (!pool->ops->thread_id || awake != pool->shared.cpus)
        return;
    second = find_second(pool, &first);
    if (second == NO_WORKER)
        return;
    /* To ask the kernel where they are now costs some 20 µs. */
    one = pool->ops->thread_id(pool, first);
    other = pool->ops->thread_id(pool, second);
    cpu = brood__cpu_wanted_by(one);
    if (cpu != CPU_NONE && cpu != brood__cpu_here() && brood__cpu_wanted_by(other) == cpu)
        brood__cpu_give_to(other);
}

static bool any_elsewhere(const struct brood_pool *pool, unsigned cpu)
{
    for (unsigned i = 0; i < pool->size.wanted; i++) {
        unsigned there = brood__placement_cpu(pool, i);

        if (there != cpu && there != CPU_NONE)
            return true;
    }
    return false;
}

void brood__placement_spread(struct brood_pool *pool, unsigned worker)
{
    brood__assert_locked(pool);
    struct lane_shadow *shadow = &pool->shadows[worker];
    unsigned here = brood__cpu_here();
    bool is_here = brood__placement_is_on(pool, worker, here), was_here = shadow->moved_from == here;

    shadow->moved_from = is_here ? here : CPU_NONE;
    if (!is_here || !pool->ops->thread_id || brood__is_crowded(&pool->shared))
        return;
    if (any_elsewhere(pool, here))
        shadow->is_starved = true;
    else if (!was_here) /* else it was moved already, and has not read the clock since */
        brood__cpu_keep_from(pool->ops->thread_id(pool, worker));
}
