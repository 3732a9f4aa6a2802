#include <limits.h>

#include "os/futex.h"
#include "shm/parker.h"

uint32_t brood__parker_look(struct parker *parker)
{
    return atomic_load_explicit(&parker->generation, memory_order_acquire);
}

int brood__parker_sleep(struct parker *parker, uint32_t seen, _Atomic uint32_t *life, uint32_t alive,
                        brood_deadline deadline)
{
    if (life)
        return brood__futex_wait2(&parker->generation, seen, life, alive, deadline);
    return brood__futex_wait(&parker->generation, seen, deadline);
}

void brood__parker_wake(struct parker *parker)
{
    atomic_fetch_add_explicit(&parker->generation, 1, memory_order_release);
    (void)brood__futex_wake(&parker->generation, INT_MAX);
}
