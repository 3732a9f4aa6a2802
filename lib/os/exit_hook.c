#include "os/exit_hook.h"

#include <stdatomic.h>

#include "os/assert.h"

/* Writers reserve a place in `count`, relaxed, then store the function, release.  An exit hook loads it, acquire, and
 * skips an empty place: that function has nothing to do yet. */
static void (*_Atomic functions[EXIT_HOOKS_MAX])(void);
static atomic_uint count;

void brood__exit_hook_call(void (*function)(void))
{
    unsigned place = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);

    brood__assert(place < EXIT_HOOKS_MAX);
    if (place < EXIT_HOOKS_MAX)
        atomic_store_explicit(&functions[place], function, memory_order_release);
}

__attribute__((destructor)) void brood__exit_hook(void)
{
    for (unsigned i = 0; i < EXIT_HOOKS_MAX; i++) {
        void (*function)(void) = atomic_load_explicit(&functions[i], memory_order_acquire);

        if (function)
            function();
    }
}
