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
    /* Fields of the pool, of which one is not 0 while there is work of this kind, due or not: most waits need no more than
     * a load to pass a kind that has none.  DEFERRED_WORD(); 0: none. */
    uint16_t words[3];

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

/* A field of 8 bytes; not the pool's first one, which is its lock. */
#define DEFERRED_WORD(field) ((uint16_t)offsetof(struct brood_pool, field))

/* In the order in which the host runs them; NULL ends the list. */
extern const struct deferred *const brood__deferred[];

static inline bool deferred_word(const struct brood_pool *pool, uint16_t offset)
{
    uint64_t word;

    if (offset == 0) /* the lock, which other threads write */
        return false;
    memcpy(&word, (const char *)pool + offset, sizeof(word));
    return word != 0;
}

/* Is there work of that kind, due or not, that a wait may run which `is_silent` or not? */
static inline bool deferred_has_work(const struct deferred *kind, const struct brood_pool *pool, bool is_silent)
{
    return (deferred_word(pool, kind->words[0]) || deferred_word(pool, kind->words[1]) ||
            deferred_word(pool, kind->words[2])) &&
           !(kind->is_loud && is_silent);
}

/* Runs due work of all kinds, or of those that are not loud; true if there was any.  May unlock meanwhile. */
static inline bool brood__run_deferred(struct brood_pool *pool, bool is_silent)
{
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if (deferred_has_work(*kind, pool, is_silent) && (*kind)->run(pool))
            return true;
    return false;
}

/* Runs the due work of the kinds that also run when the awaited condition is true. */
static inline void deferred_run_after_wait(struct brood_pool *pool, bool is_silent)
{
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if ((*kind)->runs_after_wait && deferred_has_work(*kind, pool, is_silent))
            (void)(*kind)->run(pool);
}

/* The same as brood__run_deferred(), until no silent work is due. */
static inline void brood__run_all_deferred(struct brood_pool *pool)
{
    while (brood__run_deferred(pool, true))
        ;
}

#endif
