/* fence.h - an asymmetric fence: the frequent side pays nothing, the rare side pays a system call.
 *
 *     Publisher (often)                  Sleeper (rarely)
 *
 *     store A                            store B
 *     brood__fence_light()               brood__fence_heavy()
 *     load B                             load A
 *
 * At least one of the two sees the other's store.  Without the fences both could miss it: a store waits in the store
 * buffer while the load after it is done.  The heavy side makes the kernel run a full barrier on every CPU that runs a
 * registered process: membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED.  With a locked instruction on the publishing side
 * instead, a task's round trip took six times as long.  Where membarrier is missing, both sides are full fences.
 */
#ifndef BROOD_OS_FENCE_H
#define BROOD_OS_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

/* This process cannot use membarrier, or has not registered yet. */
extern _Atomic bool brood__fence_is_symmetric;

/* Registers this process; false if the kernel refuses.  Every process on either side calls this first, also after fork.
 * A process that cannot register may only join processes that could not either: a light side needs a partner whose heavy
 * side is heavy. */
bool brood__fence_open(void);

/* Makes both sides full fences, because a partner cannot register. */
void brood__fence_make_symmetric(void);

/* False: the kernel refuses what it granted when this process registered (a filter was loaded since, or memory is
 * short), and the other side may have missed the store.  A caller that meant to sleep until that side wakes it then
 * limits its sleep. */
bool brood__fence_heavy(void);

static inline void brood__fence_light(void)
{
    if (__builtin_expect(atomic_load_explicit(&brood__fence_is_symmetric, memory_order_relaxed), false))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
}

#endif
