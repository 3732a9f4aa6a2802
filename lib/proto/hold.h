/* hold.h - which task a worker holds, in a page that only the worker and its supervisor have.
 *
 * All workers can write slots and worker states: a hostile worker could claim there that another worker holds its task,
 * and have that one killed, or that no worker holds it.  In this page it can only falsify its own entry.
 */
#ifndef BROOD_PROTO_HOLD_H
#define BROOD_PROTO_HOLD_H

#include <stdatomic.h>
#include <stdint.h>

#include "os/assert.h"

#define HOLD_NOTHING 0 /* never a slot_ref: a ring's first position is not 0 */
#define HOLD_TRIES \
    (UINT64_C(1) << 63) /* or'ed to the slot_ref: the worker is about to claim the slot, or has just claimed it */

struct hold {
    /* The slot that the worker has claimed and not answered: a slot_ref.  The worker stores it; the supervisor loads it,
     * acquire, while the worker is stopped, or after a heavy fence.  The store with HOLD_TRIES is relaxed: that fence
     * makes it visible.  The store of HOLD_NOTHING is a release after the answer. */
    _Atomic uint64_t claim;
};

/* Supervisor, before it forks the worker.  An exec'ed worker needs a descriptor, which goes to *ret_fd; for others
 * `ret_fd` is NULL.  Returns 0 or a negative errno with a message. */
int brood__hold_open(struct hold **ret_hold, int *ret_fd);

/* Makes the processes that the caller forks later not inherit the page.  Called by the supervisor after the fork, and by
 * the worker. */
void brood__hold_keep(struct hold *hold);

/* Called by an exec'ed worker; closes the descriptor.  Returns 0 or a negative errno with a message. */
int brood__hold_attach(struct hold **ret_hold, int fd);

/* NULL is valid. */
void brood__hold_close(struct hold *hold);

static inline void hold_try(struct hold *hold, uint64_t ref)
{
    brood__assert(!(ref & HOLD_TRIES));
    atomic_store_explicit(&hold->claim, ref | HOLD_TRIES, memory_order_relaxed);
}

/* After the claim; HOLD_NOTHING if it has failed. */
static inline void hold_set(struct hold *hold, uint64_t ref)
{
    atomic_store_explicit(&hold->claim, ref, memory_order_release);
}

static inline uint64_t hold_look(const struct hold *hold)
{
    return atomic_load_explicit(&hold->claim, memory_order_acquire);
}

#endif
