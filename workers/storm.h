/* storm.h - work for a pool while its workers are killed, and an account that must come out even.
 *
 *     struct storm storm = {.workers = 4, .seconds = 10, .seed = 1, .every_ms = 3};
 *     if (storm_run(&storm) == 0)
 *         … storm.maps, storm.tasks, storm.leaks …
 *     storm_close(&storm);
 *
 * Two threads hand out work: one maps, the other single tasks, some of which are cancelled, refuse, or end their worker.  A
 * third kills.  Then, with nothing to do, all workers are killed a few times, which must cost nothing.
 */
#ifndef BROOD_WORKERS_STORM_H
#define BROOD_WORKERS_STORM_H

#include "inventory.h"
#include "killer.h"
#include "latency.h"
#include "ledger.h"
#include "tally.h"

struct storm {
    /* What is asked for. */
    int workers, seconds;
    uint64_t seed;
    double every_ms; /* a kill, on average */

    /* What came of it. */
    struct tally maps, tasks, rest; /* of items of maps, of single tasks, and of items of maps after kills at rest */
    int kills_at_rest;
    struct balance balance;
    uint64_t lost, idle;           /* tasks and items that were lost, and deaths that cost none */
    struct spread known, replaced; /* from a kill to … the outcome of its task, and to the next worker */
    struct inventory leaks;        /* what was left behind */
    bool closed;                   /* the pool could be closed with nothing outstanding */

    /* Inside. */
    struct ledger ledger;
    struct brood_pool *pool;
    struct killer killer;
    uint64_t *values; /* of chores, by number */
    int64_t end_ns;
    _Atomic bool stop; /* something is stuck: it makes no sense to go on */
};

/* 0, though the account may be uneven; or a negative errno if there was no storm, with brood_error(). */
int storm_run(struct storm *storm);

/* Is everything as it has to be? */
bool storm_is_even(const struct storm *storm);

void storm_close(struct storm *storm);

#endif
