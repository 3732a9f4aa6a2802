/* roll.h - who of a pool's workers is to be there, and who is: between the host and who starts the workers.
 *
 * In memory of its own, which no worker process has: a host that is to send a signal, or to count on somebody, shall not be
 * told by a worker whom.  In a pool of threads, all of it is written by threads of the host.
 */
#ifndef BROOD_SHM_ROLL_H
#define BROOD_SHM_ROLL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ROLL_NOBODY 0 /* never started, dismissed, or dead and about to be replaced */
#define ROLL_RESTS (-1)
#define ROLL_THREAD 1 /* in place of a process id, where it has none of its own */

struct roll {
    unsigned workers; /* entries; never changes */
    /* Workers below this number are to be there.  Host writes; who starts them reads. */
    _Atomic uint32_t wanted;
    /* How many entries say ROLL_RESTS: a hint that spares the host from looking at all.  Relaxed. */
    _Atomic uint32_t resting;
    /* How many have been started, how many of these in place of another, how many have died a death that was no orderly
     * end.  Who starts them writes; the host reads.  Relaxed. */
    _Atomic uint64_t starts, restarts, deaths;
    /* How many tasks have been lost with their worker.  Who starts them adds, behind the slot and before the wake, release;
     * the host acquires, and collects them for the sake of their certificates. */
    _Atomic uint64_t losses;
    /* How many spares have died.  As above. */
    _Atomic uint64_t spare_deaths;
    /* A process id, or one of the above.  Who starts them writes; but the host changes ROLL_RESTS to ROLL_NOBODY, when it
     * wants that worker. */
    _Atomic int32_t entries[];
};

/* For this process and those that it forks; and no longer for those that the calling process forks.  0; -ENOMEM, in words.
 */
int brood__roll_open(struct roll **ret_roll, unsigned workers);
void brood__roll_keep(struct roll *roll);
void brood__roll_close(struct roll *roll);

/* Nobody is there, and nobody comes until called.  Who starts them says so, and then looks behind a heavy fence whether
 * there is something to do: the host looks at the roll behind a light one after it has published a task. */
void brood__roll_rest(struct roll *roll, unsigned worker);

/* That worker is wanted again.  False if it does not rest: of several callers one is told to see to it. */
bool brood__roll_call(struct roll *roll, unsigned worker);

/* The process id, or 0. */
int32_t brood__roll_pid(const struct roll *roll, unsigned worker);

#endif
