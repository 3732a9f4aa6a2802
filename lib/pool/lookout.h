/* lookout.h - what a worker with nothing of its own to do sees in the lanes of the others.
 *
 * A task that waits behind a worker which gets no further is to be stolen.  One that waits behind a worker which gets on is
 * better left there: it will be over before anybody else has it, and where there are fewer CPUs than processes whoever
 * comes to help takes the CPU away from the one who works, or from the host.  But the worker may come upon something long
 * at any time.  So while others get on, one of the idle workers is the lookout: it sleeps, but looks again by itself,
 * ever more rarely; and the host need wake nobody for a task behind a few short ones.
 */
#ifndef BROOD_POOL_LOOKOUT_H
#define BROOD_POOL_LOOKOUT_H

#include "shm/board.h"

struct progress {
    uint64_t current, head;
};

struct lookout {
    struct progress *seen; /* of each worker, at the last look */
    int64_t looked_ns;     /* when that was; INT64_MIN: so long ago that it tells nothing */
    bool is_sure;          /* the look before was not so long ago */
    bool sees_progress;    /* somebody has got on since */
};

/* A lane in which a task waits. */
struct plight {
    unsigned worker;
    uint64_t position;
};

/* 0, or -ENOMEM in words. */
int brood__lookout_open(struct lookout *ret_lookout, unsigned workers);
void brood__lookout_close(struct lookout *lookout);

/* Looks, for that worker, for a task that waits behind one who has got no further since the last look; false if there is
 * none. */
bool brood__lookout_find(struct lookout *lookout, const struct shared *shared, unsigned worker, int64_t now_ns,
                         struct plight *ret_plight);

/* The worker was woken, to help perhaps: the next look tells nothing by itself. */
void brood__lookout_forget(struct lookout *lookout);

#endif
