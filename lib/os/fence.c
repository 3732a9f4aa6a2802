#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/fence.h"

/* until the process has registered: correct, only slower. Written by _open() and _make_symmetric(), read by all threads,
 * relaxed: every process calls _open() before its first fence */
_Atomic bool brood__fence_is_symmetric = true;

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

bool brood__fence_open(void)
{
    bool registered = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);

    atomic_store_explicit(&brood__fence_is_symmetric, !registered, memory_order_relaxed);
    return registered;
}

void brood__fence_make_symmetric(void)
{
    atomic_store_explicit(&brood__fence_is_symmetric, true, memory_order_relaxed);
}

bool brood__fence_heavy(void)
{
    bool symmetric = atomic_load_explicit(&brood__fence_is_symmetric, memory_order_relaxed);

    if (!symmetric && membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED))
        return true;
    atomic_thread_fence(memory_order_seq_cst);
    return symmetric;
}
