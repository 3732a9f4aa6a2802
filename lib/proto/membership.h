/* membership.h - which workers the host wants, and which exist: shared by the host and the process that starts workers.
 *
 * It has memory of its own, which no worker process maps: a worker must not decide to which process the host sends a
 * signal.  In a pool of threads, threads of the host write all of it.
 */
#ifndef BROOD_PROTO_MEMBERSHIP_H
#define BROOD_PROTO_MEMBERSHIP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/death_log.h"

#define MEMBER_NONE 0 /* never started, dismissed, or dead and about to be replaced */
#define MEMBER_SCALED_DOWN (-1)
#define MEMBER_THREAD 1 /* in place of a process id, for a worker that is a thread */

struct membership {
    unsigned workers; /* number of entries; constant */
    /* The host wants the workers below this number.  It stores it, release; the process that starts workers loads it,
     * acquire. */
    _Atomic uint32_t wanted;
    /* How many lanes have memory, the first ones.  The host stores it, release; the supervisor loads it, acquire, before
     * it looks into lanes. */
    _Atomic uint32_t lanes;
    /* How many entries are MEMBER_SCALED_DOWN: a hint that saves the host a search.  Relaxed. */
    _Atomic uint32_t scaled_down;
    /* How many workers were started in place of another one, and how many have died other than by an orderly end.  The
     * process that starts workers writes; the host reads.  Relaxed. */
    _Atomic uint64_t restarts, deaths;
    /* How many tasks were lost with their worker.  The process that starts workers adds, after it has marked the slot
     * and before it wakes the waiters, release; the host loads it, acquire, and collects these tasks for their
     * certificates. */
    _Atomic uint64_t lost_tasks;
    /* How many standbys have died.  The supervisor adds, the host reads.  Relaxed. */
    _Atomic uint64_t standby_deaths;
    /* Of the deaths, those that cost no task. */
    struct death_log idle_deaths;
    /* A process id, or one of the above.  The process that starts workers stores it, release; the host loads it,
     * acquire, and changes MEMBER_SCALED_DOWN to MEMBER_NONE, by CAS, when it wants that worker again. */
    _Atomic int32_t entries[];
};

/* Makes the membership, for this process and those that it forks.  After _keep() the processes that the caller forks do
 * not inherit it.  Returns 0; -ENOMEM with a message. */
int brood__membership_open(struct membership **ret_membership, unsigned workers);
void brood__membership_keep(struct membership *membership);
void brood__membership_close(struct membership *membership);

/* Marks the worker as scaled down.  The caller then issues a heavy fence and checks for waiting tasks; this pairs with
 * the host's light fence between publishing a task and reading the membership. */
void brood__membership_scale_down(struct membership *membership, unsigned worker);

/* Marks the worker as wanted again.  False if it is not scaled down: of several callers, one gets true and has it
 * started. */
bool brood__membership_call(struct membership *membership, unsigned worker);

/* The worker's process id, or 0. */
int32_t brood__membership_pid(const struct membership *membership, unsigned worker);

#endif
