#include <errno.h>

#include "pool/core/slots.h"
#include "pool/work/kill.h"

int brood__kill_running(struct brood_pool *pool, const struct job *job)
{
    brood__ask_to_stop(pool, job);
    if (!pool->ops->kill_task)
        return -ENOTSUP;
    return pool->ops->kill_task(pool, job->lane, job->position);
}
