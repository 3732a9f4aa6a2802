/* deferred.h - inside the library: work that the host defers until a thread waits in the pool.
 *
 * There are several kinds: idle windows of maps, large results to be fetched, queued tasks by priority, retries, callbacks,
 * deaths to be logged.  A thread that waits for anything runs the due work of each kind before it sleeps, and wakes when
 * more becomes due.  A new kind is one file with one of these tables, and an entry in host/tables.c.
 */
#ifndef BROOD_POOL_CORE_DEFERRED_H
#define BROOD_POOL_CORE_DEFERRED_H

#include "pool/core/pool.h"

/* All functions are called with the pool locked. */
struct deferred {
    /* It runs functions of the program: never for a wait that `is_silent`. */
    bool is_loud;

    /* Runs due work, or some of it; true if there was any.  May unlock meanwhile. */
    bool (*run)(struct brood_pool *pool);

    /* Is any work due now?  A waiter asks after it has named its parker in the slots. */
    bool (*is_due)(struct brood_pool *pool);

    /* Is there work that becomes due when some job, any job, is settled?  NULL: never. */
    bool (*is_waiting)(const struct brood_pool *pool);

    /* Names the parker in the slots of jobs whose settling makes work due.  Called if `is_waiting`. */
    void (*announce)(struct brood_pool *pool, unsigned parker);

    /* The time when work becomes due by itself.  NULL: never. */
    brood_deadline (*next)(const struct brood_pool *pool);

    /* Ends tasks that wait to be submitted, with that outcome.  NULL: this kind has none. */
    void (*forget)(struct brood_pool *pool, int outcome);

    /* Also run when the awaited condition is true. */
    bool runs_after_wait;
};

/* In the order in which the host runs them; NULL ends the list. */
extern const struct deferred *const brood__deferred[];

/* May a wait run work of that kind, which `is_silent` or not? */
static inline bool deferred_may_run(const struct deferred *kind, bool is_silent)
{
    return !(kind->is_loud && is_silent);
}

/* Runs due work of all kinds, or of those that are not loud; true if there was any.  May unlock meanwhile. */
bool brood__run_deferred(struct brood_pool *pool, bool is_silent);

/* The same until no silent work is due. */
void brood__run_all_deferred(struct brood_pool *pool);

/* Ends what waits in the host to be submitted, with that outcome. */
void brood__forget_waiting(struct brood_pool *pool, int outcome);

#endif
