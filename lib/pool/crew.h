/* crew.h - inside the supervisor: the workers that it has, and what it knows of each.
 *
 * supervisor.c is the loop; crew.c starts workers, burial.c sees to those that have died, orders.c does what the host says.
 * All of it runs in the one thread of the supervisor, and nothing here may wait.
 */
#ifndef BROOD_POOL_CREW_H
#define BROOD_POOL_CREW_H

#include "os/pidfd.h"
#include "os/poller.h"
#include "os/sandbox.h"
#include "pool/supervisor.h"

#define RESTART_NS 10000000       /* a worker that could not be started is tried again after so long, … */
#define RESTART_NS_MAX 1000000000 /* … which doubles with each failure, up to this */

struct member {
    int pidfd; /* -1: not running */
    pid_t pid;
    bool has_served; /* some worker of this number has been ready */
    bool is_killed;  /* on the host's order */
    unsigned failures;
    int64_t start_ns; /* when to start the next one; 0: now is not the time */
};

struct supervisor {
    struct shared *shared;
    const struct brood_pool_options *options;
    struct brood__poller *poller;
    pid_t pid;
    int host, control;
    struct sandbox sandbox; /* of the workers */
    struct member *members;
    unsigned alive;
    unsigned deaths; /* since `deaths_since_ns`, without any task finished meanwhile */
    int64_t deaths_since_ns;
    uint64_t oom_kills; /* that were known at the last death */
    bool stopping, broken;
    brood_deadline kill_at;
};

/* ---- supervisor.c ---- */

/* Nobody is left to serve: the workers must not outlive it, and nothing else has to be put in order. */
void brood__supervisor_quit(struct supervisor *s) __attribute__((noreturn));

/* The pool cannot go on, for the reason that brood_error() gives.  The host is told; its other calls fail, and its close
 * ends this process. */
void brood__supervisor_break(struct supervisor *s, int error);

/* ---- crew.c ---- */

/* Starts a worker of that number.  If that fails it is tried again later, or, for the first one, the pool breaks. */
void brood__crew_start(struct supervisor *s, unsigned worker);
void brood__crew_start_due(struct supervisor *s);

/* They take over what waits in the lane of one that is not replaced at once. */
void brood__crew_wake(struct supervisor *s);

/* A signal for everybody. */
void brood__crew_signal(struct supervisor *s, int signal);

/* Of one that has died, with what its tasks have started: the number is its own, and its group's, until it is reaped. */
struct brood__ending brood__crew_reap(const struct member *member);

/* ---- burial.c ---- */

/* The one task that the dead worker held fails.  Behind the fence: that it is dead has been seen, so it stores nothing any
 * more. */
void brood__charge(struct supervisor *s, unsigned worker, struct brood__ending ending);

/* That worker's pidfd is readable: what it was doing fails, who waits for it is woken, and the next one is started. */
void brood__bury(struct supervisor *s, unsigned worker);

/* ---- orders.c ---- */

/* There is something to read on the control socket. */
void brood__obey(struct supervisor *s);

#endif
