#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/assert.h"
#include "os/error.h"
#include "worker/watcher.h"

/* A scan is compared with the scan before only if that is not older than this. */
#define FRESH_NS 10000000

int brood__watcher_open(struct watcher *ret_watcher, unsigned workers)
{
    *ret_watcher = (struct watcher){.seen = calloc(workers, sizeof(struct progress)), .looked_ns = INT64_MIN};
    return ret_watcher->seen ? 0 : brood_fail(-ENOMEM, "out of memory");
}

void brood__watcher_close(struct watcher *watcher)
{
    free(watcher->seen);
    watcher->seen = NULL;
}

void brood__watcher_forget(struct watcher *watcher)
{
    watcher->looked_ns = INT64_MIN;
    watcher->is_sure = false;
}

/* Has that worker made no progress since the last scan? */
static bool worker_is_stuck(struct watcher *watcher, const struct shared *shared, unsigned worker)
{
    const struct worker_state *worker_state = shared->lanes[worker].worker_state;
    struct progress now = {
        .current = atomic_load_explicit(&worker_state->current, memory_order_relaxed),
        .head = atomic_load_explicit(&worker_state->head, memory_order_relaxed),
    };
    bool stuck = memcmp(&now, &watcher->seen[worker], sizeof(now)) == 0;

    watcher->seen[worker] = now;
    return stuck;
}

/* Finds the first lane in the interval that has a task and whose worker is stuck. */
static bool watcher_find_between(struct watcher *watcher, const struct shared *shared, unsigned from, unsigned to,
                                 struct steal_victim *ret_victim)
{
    for (unsigned i = brood__waiting_from(shared, from); i < to; i = brood__waiting_from(shared, i + 1))
        if (!worker_is_stuck(watcher, shared, i))
            watcher->sees_progress = true;
        else if (brood__lane_waiting(&shared->lanes[i], &ret_victim->position)) {
            ret_victim->worker = i;
            return true;
        }
    return false;
}

bool brood__watcher_find(struct watcher *watcher, const struct shared *shared, unsigned worker, int64_t now_ns,
                         struct steal_victim *ret_victim)
{
    brood__assert(worker < shared->workers && now_ns >= watcher->looked_ns);
    watcher->is_sure = watcher->looked_ns > now_ns - FRESH_NS;
    watcher->looked_ns = now_ns;
    watcher->sees_progress = false;
    return watcher_find_between(watcher, shared, worker + 1, shared->workers, ret_victim) ||
           watcher_find_between(watcher, shared, 0, worker, ret_victim);
}
