#include "os/goodbye.h"

#include <stdatomic.h>

/* `count` is moved by who adds one, who fills the place then; read by who says goodbye, who passes over an empty place:
 * that one's function has nothing to do yet. */
static void (*_Atomic functions[GOODBYES_MAX])(void);
static atomic_uint count;

void brood__goodbye_call(void (*function)(void))
{
    unsigned place = atomic_fetch_add(&count, 1);

    if (place < GOODBYES_MAX)
        atomic_store(&functions[place], function);
}

__attribute__((destructor)) void brood__goodbye(void)
{
    for (unsigned i = 0; i < GOODBYES_MAX; i++) {
        void (*function)(void) = atomic_load(&functions[i]);

        if (function)
            function();
    }
}
