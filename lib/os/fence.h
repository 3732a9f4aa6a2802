/* fence.h - an asymmetric fence: the frequent side pays nothing, the rare side pays a system call.
 *
 * Publisher (often):  store A;  brood__fence_light();  load B          Sleeper (rarely):  store B;  brood__fence_heavy();
 * load A
 *
 * At least one of the two sees the other's store.  Without the fences both could miss it: a store waits in the store buffer
 * while the load behind it is done.  The heavy side makes the kernel run a full barrier on every CPU that runs a registered
 * process: membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED.  A locked instruction on the publishing side instead made a
 * task's round trip six times dearer.  Where membarrier is missing both sides are full fences.
 */
#ifndef BROOD_OS_FENCE_H
#define BROOD_OS_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

/* This process cannot use membarrier, or has not registered yet. */
extern _Atomic bool brood__fence_is_symmetric;

/* Registers this process; false if it cannot be.  Every process on either side calls it first, also after fork, and a
 * process that cannot register may only join others that could not either: a light side that is only light needs a partner
 * whose heavy side is heavy. */
bool brood__fence_open(void);

/* Makes both sides full fences, because a partner cannot register. */
void brood__fence_make_symmetric(void);

/* False: the kernel refuses now what it granted when this process registered (a filter was loaded since, or it has no
 * memory), and the other side may have missed the store.  Who meant to sleep until that side wakes it sets itself a limit.
 */
bool brood__fence_heavy(void);

static inline void brood__fence_light(void)
{
    if (__builtin_expect(atomic_load_explicit(&brood__fence_is_symmetric, memory_order_relaxed), false))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
}

#endif
