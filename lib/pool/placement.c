/* placement.c - a host thread and its workers each have a CPU, as long as there are enough.
 *
 * A thread that wakes a worker and goes on giving it tasks may find that one on its own CPU, time and again: the kernel
 * takes the two for one that works and one that waits for it, which they are in a round trip, and looks for no other CPU.
 *
 * When a map begins there may be as many workers to be woken as CPUs, and the host still runs on one of these: so the
 * scheduler puts two workers on one CPU.  Then the host sleeps, its CPU is idle, and the two go on sharing the other one
 * until the kernel balances the load, which took 4 to 13 ms.
 */
#include <sched.h>

#include "os/placement.h"
#include "pool/backend.h"
#include "pool/placement.h"

#define NOBODY UINT32_MAX

/* The CPU on which that worker ran when it last looked at the clock. */
static unsigned last_cpu_of(const struct brood_pool *pool, unsigned worker)
{
    return atomic_load_explicit(&pool->shared.lanes[worker].station->cpu, memory_order_relaxed);
}

/* The same; CPU_NONE when it has nothing to do. */
static unsigned cpu_of(const struct brood_pool *pool, unsigned worker)
{
    if (pool->mirrors[worker].outstanding == 0 || brood__idle_is(pool->shared.board, worker))
        return CPU_NONE;
    return last_cpu_of(pool, worker);
}

bool brood__placement_is_on(const struct brood_pool *pool, unsigned worker, unsigned cpu)
{
    return last_cpu_of(pool, worker) == cpu;
}

static unsigned first_on(const struct brood_pool *pool, unsigned cpu)
{
    unsigned worker = 0;

    while (cpu_of(pool, worker) != cpu && worker + 1 < pool->workers)
        worker++;
    return worker;
}

/* The first worker who was on the CPU of one before it in number, and that one; NOBODY. */
static unsigned find_second(const struct brood_pool *pool, unsigned *ret_first)
{
    cpu_set_t taken;

    CPU_ZERO(&taken);
    for (unsigned i = 0; i < pool->workers; i++) {
        unsigned cpu = cpu_of(pool, i);

        if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &taken)) {
            *ret_first = first_on(pool, cpu);
            return i;
        }
        if (cpu < CPU_SETSIZE)
            CPU_SET(cpu, &taken);
    }
    return NOBODY;
}

void brood__placement_leave(const struct brood_pool *pool)
{
    unsigned awake = brood__awake_count(&pool->shared), first, second;
    pid_t one, other;
    unsigned cpu;

    /* Of fewer the kernel takes care by itself, and of more some have to share. */
    if (!pool->backend->thread_id || awake != pool->shared.cpus)
        return;
    second = find_second(pool, &first);
    if (second == NOBODY)
        return;
    /* Where they are now costs some 20 µs to find out. */
    one = pool->backend->thread_id(pool, first);
    other = pool->backend->thread_id(pool, second);
    cpu = brood__cpu_wanted_by(one);
    if (cpu != CPU_NONE && cpu != brood__cpu_here() && brood__cpu_wanted_by(other) == cpu)
        brood__cpu_give_to(other);
}

static bool any_elsewhere(const struct brood_pool *pool, unsigned cpu)
{
    for (unsigned i = 0; i < pool->wanted; i++) {
        unsigned there = last_cpu_of(pool, i);

        if (there != cpu && there != CPU_NONE)
            return true;
    }
    return false;
}

void brood__placement_spread(struct brood_pool *pool, unsigned worker)
{
    struct mirror *mirror = &pool->mirrors[worker];
    unsigned here = brood__cpu_here();
    bool is_here = brood__placement_is_on(pool, worker, here), was_here = mirror->moved_from == here;

    mirror->moved_from = is_here ? here : CPU_NONE;
    if (!is_here || !pool->backend->thread_id || brood__is_crowded(&pool->shared))
        return;
    if (any_elsewhere(pool, here))
        mirror->is_starved = true;
    else if (!was_here) /* else it was moved already, and has not looked since */
        brood__cpu_keep_from(pool->backend->thread_id(pool, worker));
}
