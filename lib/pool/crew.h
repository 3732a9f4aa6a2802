/* crew.h - inside the supervisor: the processes that it has, and what it knows of each.
 *
 * supervisor.c is the loop; crew.c starts workers, spare.c keeps some ahead, burial.c sees to those that have died,
 * orders.c does what the host says.  All of it runs in the one thread of the supervisor.  Nothing here may wait, and a
 * death is told before anything is started: a fork takes its time, 18 ms where the program has a gigabyte.
 */
#ifndef BROOD_POOL_CREW_H
#define BROOD_POOL_CREW_H

#include "os/pidfd.h"
#include "os/poller.h"
#include "os/sandbox.h"
#include "pool/supervisor.h"
#include "pool/voice.h"

#define RESTART_NS 10000000       /* a worker that could not be started is tried again after so long, … */
#define RESTART_NS_MAX 1000000000 /* … which doubles with each failure, up to this */

#define TAG_SPARE ((uint64_t)1 << 32) /* in the poller; a worker's tag is its number, a spare's this and its index */

/* A process that was forked. */
struct hand {
    int pidfd; /* -1: there is none */
    pid_t pid;
    struct voice *voice; /* NULL: it prints where the host does */
};

struct member {
    struct hand hand;
    bool was_started;
    bool has_served; /* some worker of this number has been ready */
    bool is_killed;  /* on the host's order */
    unsigned failures;
    int64_t start_ns; /* when to start the next one; 0: now is not the time */
};

struct spare {
    struct hand hand;
    int orders; /* a socket, for the number that it shall have */
};

struct supervisor {
    struct shared *shared;
    const struct brood_pool_options *options;
    struct brood__poller *poller;
    pid_t pid;
    int host, control;
    struct sandbox sandbox; /* of the workers */
    struct member *members;
    struct spare *spares;
    unsigned spares_wanted, spare_failures;
    int64_t spare_ns; /* when to start the next spare, if one is wanted */
    int64_t fork_ns;  /* that the quickest fork of all has taken */
    unsigned alive;   /* workers and spares */
    unsigned left;    /* dead, and not reaped, since somebody traced them */
    unsigned deaths;  /* since `deaths_since_ns`, without any task finished meanwhile */
    int64_t deaths_since_ns;
    struct voices voices;
    uint64_t oom_kills; /* that were known at the last death */
    bool stopping, broken;
    brood_deadline kill_at;
    brood_deadline still_at; /* no longer than this for who reads what the workers have printed */
};

/* ---- supervisor.c ---- */

/* Nobody is left to serve: the workers must not outlive it, and nothing else has to be put in order. */
void brood__supervisor_quit(struct supervisor *s) __attribute__((noreturn));

/* The pool cannot go on, for the reason that brood_error() gives.  The host is told; its other calls fail, and its close
 * ends this process. */
void brood__supervisor_break(struct supervisor *s, int error);

/* ---- crew.c ---- */

/* Makes a process that will be worker number `worker`, or, with a socket for `orders`, the one that it is told there; and
 * watches it under that tag.  0, or a negative errno in words; and if then `ret_hand->pid` is set it has run for a while,
 * unwatched, and was killed. */
int brood__hand_start(struct supervisor *s, struct hand *ret_hand, unsigned worker, int orders, uint64_t tag);

/* Of one whose pidfd is readable, with what its tasks have started: the number is its own, and its group's, until it is
 * reaped.  Lets go of all but its voice, from which it takes what is left. */
struct brood__ending brood__hand_reap(struct supervisor *s, struct hand *hand);

/* Starts a worker of that number.  If that fails it is tried again later, or, for the first one, the pool breaks. */
void brood__crew_start(struct supervisor *s, unsigned worker);

/* Who is missing by the roll is due now, and nobody else. */
void brood__crew_look(struct supervisor *s);

/* Starts one of those that are due, so that there may be a look for deaths before the next. */
void brood__crew_start_due(struct supervisor *s);

/* They take over what waits in the lane of one that is not replaced at once. */
void brood__crew_wake(struct supervisor *s);

/* A signal for everybody. */
void brood__crew_signal(struct supervisor *s, int signal);

/* How long to wait before the next attempt after so many failures in a row. */
int64_t brood__crew_pause(unsigned failures);

/* ---- spare.c ---- */

/* Decides how many there shall be, by what starting the first workers has cost. */
void brood__spares_open(struct supervisor *s);

/* One becomes that worker, if there is one. */
bool brood__spare_take(struct supervisor *s, unsigned worker, struct hand *ret_hand);

/* When it is time to start one; INT64_MAX: it is not wanted. */
int64_t brood__spare_due(const struct supervisor *s);
void brood__spare_start(struct supervisor *s);

void brood__spare_bury(struct supervisor *s, unsigned spare);

/* They will not be needed any more, and end. */
void brood__spares_dismiss(struct supervisor *s);

/* ---- burial.c ---- */

/* That worker's pidfd is readable: what it was doing fails, who waits for it is woken, and the next one is started. */
void brood__bury(struct supervisor *s, unsigned worker);

/* The first half of it: it has ended so, and nothing of it runs any more. */
void brood__bury_work(struct supervisor *s, unsigned worker, struct brood__ending ending);

/* ---- orders.c ---- */

/* There is something to read on the control socket. */
void brood__obey(struct supervisor *s);

#endif
