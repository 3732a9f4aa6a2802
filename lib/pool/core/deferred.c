#include "pool/core/deferred.h"

bool brood__run_deferred(struct brood_pool *pool, bool is_silent)
{
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if (deferred_has_work(*kind, pool, is_silent) && (*kind)->run(pool))
            return true;
    return false;
}

void brood__forget_waiting(struct brood_pool *pool, int outcome)
{
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if ((*kind)->forget)
            (*kind)->forget(pool, outcome);
}
