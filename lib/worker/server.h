/* server.h - the worker's loop, the same for workers of every kind.
 *
 *     struct server server;
 *     r = brood__server_open(&server, shared, worker, is_process);
 *     brood__serve(&server);                            // until the pool stops
 *     brood__server_close(&server);
 *
 * The worker takes the next task of its own lane, else steals one, runs it in place and answers in the same slot.
 * Without work it spins a little, then sleeps.
 */
#ifndef BROOD_WORKER_SERVER_H
#define BROOD_WORKER_SERVER_H

#include "proto/header.h"
#include "shm/spin.h"
#include "worker/limit.h"
#include "worker/output.h"
#include "worker/recycling.h"
#include "worker/watcher.h"

/* What the program runs in a worker before its first task and after its last.  NULL: nothing. */
struct hooks {
    int (*initializer)(void *context, void **ret_state);
    void (*finalizer)(void *context, void *state);
    void *context;
};

struct aside;
struct job;

struct server {
    struct shared *shared;
    struct server *outer;    /* what else the thread is: a task may run those of a BROOD_INLINE pool */
    const struct lane *lane; /* this worker's */
    unsigned worker;
    bool is_process;                        /* it owns its standard output, and can be killed */
    uint64_t head;                          /* next position of its own ring */
    struct limit limit;                     /* the limit of the task that it runs, … */
    struct hold *hold;                      /* … where it announces that task to the supervisor, … */
    const struct slot_extension *extension; /* … the task's slot extension, or NULL, … */
    uint64_t position;                      /* … and its position */
    struct aside *aside;                    /* tasks that it runs in no lane, the innermost first */
    struct recycling recycling;
    struct spinner spinner;  /* how long to spin before sleeping: adapts to whether spinning has found tasks */
    unsigned polls_per_ring; /* while it spins: adapts to how many tasks come together */
    int64_t now_ns;          /* when it last read the clock */
    int64_t busy_ns;         /* when it last had work */
    int64_t idle_ns;         /* scales down after this long without work; INT64_MAX: never */
    bool scales_down;        /* the reason why it has ended */
    int64_t next_theft_ns;   /* when to scan the other lanes again */
    struct watcher watcher;  /* what it has seen there */
    uint32_t help_requests;  /* the pool header's count when it last woke up */
    /* after a help request or as the watcher: tasks that it cannot take must be passed to another idle worker */
    bool must_pass_wake;
    struct output output;                         /* of a process whose output is captured */
    unsigned map_task;                            /* the task of the map in which it takes part, for `output` */
    void *state;                                  /* made by the program's initializer */
    struct hold own_hold;                         /* of a worker that cannot be killed */
    const struct brood_task *tasks[HEADER_TASKS]; /* by the pool header's index, or NULL … */
    uint32_t tasks_gone;                          /* … valid while this many tasks have been unregistered */
};

/* For worker number `worker`, a process or a thread.  Returns 0 or a negative errno with a message. */
int brood__server_open(struct server *ret_server, struct shared *shared, unsigned worker, bool is_process);

/* Runs the program's initializer before brood__serve(), and its finalizer after it.  Returns 0, or the initializer's
 * negative errno with a message that names the initializer. */
int brood__server_begin(struct server *server, const struct hooks *hooks);
void brood__server_end(struct server *server, const struct hooks *hooks);

/* Makes a worker process die with its supervisor even if the program has changed its user ids.  Exits if the supervisor
 * is dead.  False: the kernel has refused, and the caller tries again later. */
bool brood__server_dies_with_supervisor(const struct shared *shared);

/* Serves until the pool is no longer open, and then finishes the tasks in the own lane; or until the worker is recycled,
 * scaled down or dismissed. */
void brood__serve(struct server *server);

/* Runs the tasks that wait in the own lane, and returns: for a pool whose worker is the caller. */
void brood__serve_waiting(struct server *server);

/* Is the calling thread a worker of that pool, inside a task of it? */
bool brood__serves(const struct shared *shared);

/* Such a worker runs a task that is in a lane, inside its own task, unless another worker claims it first. */
void brood__serve_inside(const struct shared *shared, unsigned lane, uint64_t position);

/* The same for a task that is in no lane, in the caller's own slot; returns the worker's number. */
unsigned brood__serve_aside(const struct shared *shared, struct slot *slot, struct slot_extension *extension,
                            const struct job *job);

/* Does such a worker itself run the task of that word, or that job outside a lane? */
bool brood__serves_word(const struct shared *shared, uint64_t word);
bool brood__serves_aside(const struct shared *shared, const struct job *job);

void brood__server_close(struct server *server);

#endif
