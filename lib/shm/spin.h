/* spin.h - how long a thread of the pool polls before it sleeps.
 *
 * It polls longer while polling pays, and not at all while other processes want the CPUs.  The kernel gives a CPU at
 * once to a thread that wakes from a sleep; a thread that has used up its share by polling waits for a time slice, and
 * so does what it polls for.  An involuntary context switch shows that another process was given this thread's CPU.  Each
 * successful poll since the switch before has saved a sleep.  If the polls saved less time than the thread now lost, it is
 * barred from polling for a while, which doubles each time that such a switch comes soon after the last ban.
 */
#ifndef BROOD_SHM_SPIN_H
#define BROOD_SHM_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/parker.h"

/* What a successful poll saves: one sleep and one wake-up, of this thread or of the one that it polls for. */
#define SPIN_SAVES_NS 10000

/* A longer gap between two readings of the clock may mean that the thread had no CPU; then it asks the kernel. */
#define SPIN_GAP_NS 200000

/* Belongs to one thread, which alone reads and writes it. */
struct spinner {
    int64_t limit_ns;        /* how long it polls */
    int64_t looked_ns;       /* when it last read the clock */
    int64_t barred_until_ns; /* it does not poll before this time */
    int64_t barred_ns;       /* the length of the ban */
    long switches;           /* involuntary context switches, at the last request; -1 before the first one */
    int64_t saved_ns;        /* by successful polls since the last loss of the CPU */
};

#define SPINNER                                 \
    {                                           \
        .limit_ns = SPIN_NS_MAX, .switches = -1 \
    }

/* Asks the kernel whether another process has had this thread's CPU; if so, and if polling has not paid for the loss, bars
 * the thread from polling. */
void brood__spin_ask(struct spinner *spinner, int64_t now_ns);

/* Gives the CPU to another process or thread, and returns the time afterwards.  A yield that took long counts
 * as a loss of the CPU, too. */
int64_t brood__spin_yield(struct spinner *spinner);

/* The thread has given its CPU away by itself since it last read the clock. */
void brood__spin_has_yielded(struct spinner *spinner, int64_t now_ns);

/* Records the time, and returns it. */
static inline int64_t brood__spin_look(struct spinner *spinner, int64_t now_ns)
{
    if (now_ns - spinner->looked_ns > SPIN_GAP_NS)
        brood__spin_ask(spinner, now_ns);
    spinner->looked_ns = now_ns;
    return now_ns;
}

/* Until when to poll from now on; 0: do not poll. */
static inline int64_t brood__spin_begin(struct spinner *spinner, int64_t now_ns)
{
    (void)brood__spin_look(spinner, now_ns);
    return now_ns < spinner->barred_until_ns ? 0 : now_ns + spinner->limit_ns;
}

/* Whether the poll was successful. */
static inline void brood__spin_end(struct spinner *spinner, bool has_paid)
{
    int64_t limit = has_paid ? spinner->limit_ns * 2 : spinner->limit_ns / 2;

    spinner->saved_ns += has_paid ? SPIN_SAVES_NS : 0;
    spinner->limit_ns = limit < SPIN_NS_MIN ? SPIN_NS_MIN : limit < SPIN_NS_MAX ? limit : SPIN_NS_MAX;
}

#endif
