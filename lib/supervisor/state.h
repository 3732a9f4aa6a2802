/* state.h - inside the supervisor: its child processes, and what it knows of each.
 *
 * Only the supervisor's one thread uses this.  It never waits, and it reports a death before it starts a process: a fork
 * takes up to 18 ms where the program has a gigabyte.
 */
#ifndef BROOD_SUPERVISOR_STATE_H
#define BROOD_SUPERVISOR_STATE_H

#include "os/pidfd.h"
#include "os/poller.h"
#include "os/sandbox.h"
#include "proto/header.h"
#include "supervisor/capture.h"

#define RESTART_NS 10000000       /* pause before the next attempt to start a worker, … */
#define RESTART_NS_MAX 1000000000 /* … which doubles with each failure, up to this */

#define TAG_STANDBY ((uint64_t)1 << 32) /* poller tag: + the standby's index; a worker's tag is its number */

/* A forked process. */
struct child {
    int pidfd; /* -1: there is none */
    pid_t pid;
    struct capture *capture; /* NULL: it writes directly to the host's output */
    struct hold *hold;       /* the page in which it announces the task that it holds */
    int hold_fd;             /* the page's descriptor, for an exec'ed worker, until it is forked; else -1 */
};

struct worker_slot {
    struct child child;
    bool was_started;
    bool has_served;        /* a worker of this number has been ready */
    bool is_killed;         /* the host has asked for its death, … */
    uint64_t killed;        /* … because of this task: a slot_ref */
    enum brood_cause limit; /* set after its death: which limit its task has exceeded */
    unsigned failures;
    int64_t start_ns; /* when to start the next one; 0: not planned */
};

struct standby {
    struct child child;
    int assignment; /* socket on which it receives its worker number */
};

struct supervisor {
    struct shared *shared;
    const struct brood_pool_options *options;
    struct brood__poller *poller;
    pid_t pid;
    void (*term)(int); /* action of SIGTERM in a worker that has not changed it: SIG_DFL or SIG_IGN, as in the host */
    int host, control;
    struct sandbox sandbox; /* the workers' sandbox */
    char *memory_groups;    /* the directory of their control groups; NULL: there are none */
    /* whether the host was dumpable, and workers are until they enter the sandbox; the supervisor is not */
    bool is_dumpable;
    struct worker_slot *worker_slots;
    struct standby *standbys;
    unsigned standbys_wanted, standby_failures;
    int64_t standby_ns; /* when to start the next standby, if one is wanted */
    int64_t fork_ns;    /* duration of the quickest fork so far */
    unsigned alive;     /* workers and standbys */
    unsigned deaths;    /* since `deaths_since_ns`, with no task finished meanwhile */
    int64_t deaths_since_ns;
    struct captures captures;
    uint64_t oom_kills; /* as known at the last death */
    bool stopping, broken;
    brood_deadline kill_at;
    brood_deadline still_at; /* when to stop waiting for the reader of the workers' output */
};

/* Marks the pool as broken, for the reason that brood_error() gives, and kills the workers.  The host's calls fail from
 * now on, and its close ends this process. */
void brood__supervisor_break(struct supervisor *s, int error);

/* Sends a signal to all workers and standbys. */
void brood__workers_signal(struct supervisor *s, int signal);

#endif
