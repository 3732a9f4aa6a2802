/* wait_set.h - inside the library: waits for several futures at once, of several pools and of none.
 *
 * A wait set has a hook in each future, which puts its entry into the queue of finished futures.  Some thread has to
 * collect for that: the waiter does, and it sleeps in all pools that have futures of the set (wait.c), with a parker in
 * each, on all their futex words and on the set's own.
 *
 * Lock order: a pool's or a promise's lock, then the wait set's, which is the innermost.
 */
#ifndef BROOD_POOL_FUTURE_WAIT_SET_H
#define BROOD_POOL_FUTURE_WAIT_SET_H

#include "os/futex.h"
#include "os/mutex.h"
#include "pool/core/pool.h"
#include "pool/core/wait.h"
#include "pool/future/callback.h"

struct wait_set;

/* The entry of one future. */
struct entry {
    struct hook hook;
    struct wait_set *wait_set;
    struct brood_future *future;
    struct waited_pool *waited_pool; /* NULL: a promise */
    struct entry *next, **place; /* in a list of the waited pool until the future is done, guarded by the pool's lock; then
                                    in the queue */
    bool is_notified;            /* in the queue, or was; guarded by the wait set's lock */
    bool is_given;               /* returned to the program, so the future may be freed; used by the waiter only */
};

/* The entries of one pool. */
struct waited_pool {
    struct brood_pool *pool;
    struct waited_pool *next;
    struct wait_set *wait_set;
    /* Guarded by the pool's lock.  The unnamed entries may have a job in a lane whose slot does not name this waiter's
     * parker yet.  The last future of the caller's array comes first. */
    struct entry *unnamed, *named;
    size_t unfinished; /* guarded by the wait set's lock; while it is not 0, the pool's memory exists */
    struct wait_condition condition;
    struct sleep_place place;
};

struct wait_set {
    struct lock lock;
    /* A count.  A thread that finishes or moves a future adds, with the set's lock held; the waiter reads it and sleeps on
     * it.  Relaxed: the lock orders it. */
    _Atomic uint32_t notifications;
    bool is_asleep;
    bool has_moved; /* since the waiter prepared its sleep, an entry has got a job that may not name its parker */
    enum brood_until until;
    size_t count, unfinished, failed; /* different futures; those that are not done; those that have failed */
    struct entry *ready, **ready_end; /* finished, and not returned */
    struct waited_pool *waited_pools;
    struct entry *entries; /* one for each future */
    struct entry **places; /* a hash table of the futures, by address */
    size_t places_mask;
    struct futex_word *words;
};

#endif
