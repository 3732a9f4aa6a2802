/* life.h - inside the library: the states in the life of a pool.  It only goes forward: a later state has a higher number. */
#ifndef BROOD_POOL_CORE_LIFE_H
#define BROOD_POOL_CORE_LIFE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Locked by the pool. */
enum life_state {
    LIFE_OPEN,
    LIFE_INTERRUPTED, /* an interrupt has cancelled what had not started; no thread has shut the pool down yet */
    LIFE_DRAINING,    /* the pool takes no more work, and finishes what it has */
    LIFE_CANCELLED,   /* the pool takes no more work; what had not started is cancelled */
    LIFE_KILLED,      /* the same, and the host has ended the workers on request */
    LIFE_BROKEN,      /* the supervisor is dead, or a worker has overwritten memory: the pool cannot go on */
    LIFE_CLOSED,      /* its workers have ended, or are about to end for good; only futures are left */
    LIFE_BROKEN_CLOSED,
};

/* Does the pool refuse more work because a call has shut it down, or because it is broken? */
static inline bool life_is_ending(enum life_state life)
{
    return life >= LIFE_DRAINING;
}

static inline bool life_is_broken(enum life_state life)
{
    return life == LIFE_BROKEN || life == LIFE_BROKEN_CLOSED;
}

static inline bool life_is_closed(enum life_state life)
{
    return life >= LIFE_CLOSED;
}

/* The outcome of work that has not started: -ECANCELED, -ESHUTDOWN, or 0 if it may still start. */
static inline int16_t life_outcome(enum life_state life)
{
    if (life == LIFE_INTERRUPTED || life == LIFE_CANCELLED)
        return -ECANCELED;
    return life >= LIFE_KILLED ? -ESHUTDOWN : 0;
}

static inline enum life_state life_shut_down(enum life_state life)
{
    if (life == LIFE_INTERRUPTED)
        return LIFE_CANCELLED;
    return life == LIFE_OPEN ? LIFE_DRAINING : life;
}

/* From a state in which work may still start. */
static inline enum life_state life_cancel(enum life_state life)
{
    return life == LIFE_OPEN ? LIFE_INTERRUPTED : LIFE_CANCELLED;
}

static inline enum life_state life_close(enum life_state life)
{
    return life_is_broken(life) ? LIFE_BROKEN_CLOSED : LIFE_CLOSED;
}

#endif
