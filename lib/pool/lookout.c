#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "pool/lookout.h"

/* Progress since a look longer ago than this says little of now. */
#define FRESH_NS 10000000

int brood__lookout_open(struct lookout *ret_lookout, unsigned workers)
{
    *ret_lookout = (struct lookout){.seen = calloc(workers, sizeof(struct progress)), .looked_ns = INT64_MIN};
    return ret_lookout->seen ? 0 : brood_fail(-ENOMEM, "out of memory");
}

void brood__lookout_close(struct lookout *lookout)
{
    free(lookout->seen);
    lookout->seen = NULL;
}

void brood__lookout_forget(struct lookout *lookout)
{
    lookout->looked_ns = INT64_MIN;
    lookout->is_sure = false;
}

/* Has that worker done nothing since the last look? */
static bool is_stuck(struct lookout *lookout, const struct shared *shared, unsigned worker)
{
    const struct station *station = shared->lanes[worker].station;
    struct progress now = {
        .current = atomic_load_explicit(&station->current, memory_order_relaxed),
        .head = atomic_load_explicit(&station->head, memory_order_relaxed),
    };
    bool stuck = memcmp(&now, &lookout->seen[worker], sizeof(now)) == 0;

    lookout->seen[worker] = now;
    return stuck;
}

bool brood__lookout_find(struct lookout *lookout, const struct shared *shared, unsigned worker, int64_t now_ns,
                         struct plight *ret_plight)
{
    lookout->is_sure = lookout->looked_ns > now_ns - FRESH_NS;
    lookout->looked_ns = now_ns;
    lookout->sees_progress = false;
    for (unsigned i = 1; i < shared->workers; i++) {
        unsigned other = (worker + i) % shared->workers;

        if (!is_stuck(lookout, shared, other))
            lookout->sees_progress = true;
        else if (brood__lane_waiting(&shared->lanes[other], &ret_plight->position)) {
            ret_plight->worker = other;
            return true;
        }
    }
    return false;
}
