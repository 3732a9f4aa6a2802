#include "sync/sleep.h"
#include "os/cpus.h"

bool brood__spinning_pays(void)
{
    static _Atomic int cpus; /* found once, by whoever comes first; all find the same */
    int known = atomic_load_explicit(&cpus, memory_order_relaxed);

    if (known == 0) {
        known = brood__cpus_usable();
        atomic_store_explicit(&cpus, known, memory_order_relaxed);
    }
    return known > 1;
}
