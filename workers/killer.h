/* killer.h - a thread that kills the workers of a pool, one at random after the other, and looks how soon they are
 * replaced.
 */
#ifndef BROOD_WORKERS_KILLER_H
#define BROOD_WORKERS_KILLER_H

#include <pthread.h>

#include <brood/pool.h>

#include "dice.h"
#include "latency.h"
#include "ledger.h"

struct mark;

struct killer {
    struct brood_pool *pool;
    const struct ledger *ledger;
    double every_ns; /* on average */
    struct dice dice;
    struct mark *marks; /* what it knows of each worker */
    struct latency replaced;
    _Atomic bool stop;
    pthread_t thread;
};

/* Starts the thread.  0 or a negative errno. */
int killer_start(struct killer *killer);

/* Ends the thread; the killer can still be used. */
void killer_stop(struct killer *killer);

/* Kills every worker, and returns when all of these have been replaced: how many.  Callers: while the thread does not run.
 */
int killer_kill_all(struct killer *killer);

/* Frees what killer_start() made. */
void killer_close(struct killer *killer);

#endif
