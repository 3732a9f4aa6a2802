/* completion.h - inside the library: waiting for several futures at once, of several pools and of none.
 *
 * A gathering has a hook in each future, which puts its entry into the queue of those that are done.  To be told, somebody
 * has to collect: the thread that waits does it, and sleeps in all pools that have futures of it (wait.c), each with a
 * parker, on all their words and on the gathering's own.
 *
 * Locks: a pool's or a promise's, then the gathering's, which is the innermost.
 */
#ifndef BROOD_POOL_COMPLETION_H
#define BROOD_POOL_COMPLETION_H

#include "os/futex.h"
#include "os/lock.h"
#include "pool/callback.h"
#include "pool/pool.h"

struct gathering;

/* One future. */
struct entry {
    struct hook hook;
    struct gathering *gathering;
    struct brood_future *future;
    struct party *party;         /* NULL: a promise */
    struct entry *next, **place; /* in the party, while it waits: guarded by the pool's lock; then in the queue */
    bool is_told;                /* guarded by the gathering's lock */
    bool is_given;               /* by who waits: the future may be gone */
};

/* Those of one pool. */
struct party {
    struct brood_pool *pool;
    struct party *next;
    struct gathering *gathering;
    struct entry *waiting, *cursor; /* by the pool's lock; the last of the caller's array is the first */
    size_t unfinished;              /* by the gathering's lock; while there is one, the pool's memory is there */
    struct watch watch;
    struct nap nap;
    bool is_inside;
};

struct gathering {
    struct lock lock;
    _Atomic uint32_t told; /* counts; who waits sleeps on it */
    bool is_asleep;
    enum brood_until until;
    size_t count, unfinished, failed; /* different futures; those that are not done; those that have failed */
    struct entry *ready, **ready_end; /* told, and not given */
    struct party *parties;
    struct entry *entries; /* one a future */
    struct entry **places; /* of the futures, by their address */
    size_t places_mask;
    struct futex_word *words;
};

#endif
