#include <errno.h>

#include "os/error.h"
#include "pool/core/kind.h"
#include "pool/core/slots.h"
#include "pool/work/kill.h"

int brood__kill_running(struct brood_pool *pool, const struct job *job)
{
    brood__assert_locked(pool);
    int r;

    brood__ask_to_stop(pool, job);
    if (!pool->ops->kill_task)
        return brood_fail(-ENOTSUP, "a thread cannot be killed; it has been asked to stop");
    r = pool->ops->kill_task(pool, job->lane, job->position);
    return r < 0 ? brood_fail(r, "the supervisor has many requests to kill: ask again") : 0;
}
