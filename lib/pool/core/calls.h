/* calls.h - inside the library: the list of due callbacks, of a pool or of a promise; future/callback.h runs them. */
#ifndef BROOD_POOL_CORE_CALLS_H
#define BROOD_POOL_CORE_CALLS_H

#include <stdbool.h>
#include <stddef.h>

/* An entry of a circular list: it can be removed, and a new one appended, without a walk along the list. */
struct link {
    struct link *next, *previous; /* NULL: in no list */
};

struct calls {
    struct link *first;
    size_t count;
    const void *caller; /* the thread that runs the callbacks now, or NULL */
};

/* An address that is different in each thread, and not NULL. */
const void *brood__this_thread(void);

/* Is the calling thread inside one of these callbacks? */
bool brood__calls_inside(const struct calls *calls);

#endif
