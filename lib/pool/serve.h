/* serve.h - the worker's loop, the same for workers of every kind.
 *
 *     struct server server;
 *     r = brood__server_open(&server, shared, worker);
 *     brood__serve(&server);                            // until the pool stops
 *     brood__server_close(&server);
 *
 * Take the next task of the own lane, else steal one, run it where it lies, answer in the same slot.  With nothing to do,
 * spin a little, then sleep.
 */
#ifndef BROOD_POOL_SERVE_H
#define BROOD_POOL_SERVE_H

#include "pool/limit.h"
#include "pool/lookout.h"
#include "pool/output.h"
#include "pool/retirement.h"
#include "shm/board.h"

/* What the program wants done in a worker before its first task and after its last.  NULL: nothing. */
struct hooks {
    int (*initializer)(void *context, void **ret_state);
    void (*finalizer)(void *context, void *state);
    void *context;
};

struct server {
    struct shared *shared;
    const struct lane *lane; /* its own */
    unsigned worker;
    bool is_process;         /* its standard output is its own, and it can be killed */
    uint64_t head;           /* the next position of its own ring */
    struct limit limit;      /* of the task that it runs */
    const struct note *note; /* … and its note, or NULL … */
    uint64_t position;       /* … and its position */
    struct retirement retirement;
    int64_t spin_ns;         /* how long to spin before sleeping: adapts to whether spinning has paid */
    unsigned polls_per_ring; /* while it spins: adapts to how many tasks come together */
    int64_t now_ns;          /* when it last looked at the clock */
    int64_t busy_ns;         /* when it last had something to do */
    int64_t idle_ns;         /* so long behind that it goes to rest; INT64_MAX: never */
    bool rests;              /* why it has ended */
    int64_t next_theft_ns;   /* when to look at the other lanes again */
    struct lookout lookout;  /* what it saw there */
    uint32_t calls;          /* for help that there were when it last woke up */
    bool hands_on;           /* it was called, or had to look after the lanes: what it can't do itself is for others */
    struct output output;    /* of a process, if the supervisor listens */
    unsigned map_task;       /* of the map that it has a part in, for that */
    void *state;             /* what the program's initializer has made */
    const struct brood_task *tasks[BOARD_TASKS];
};

/* For worker number `worker`, which is a process or a thread.  0 or a negative errno, in words. */
int brood__server_open(struct server *ret_server, struct shared *shared, unsigned worker, bool is_process);

/* The program's own part, before brood__serve() and after.  0, or the initializer's negative errno, in words that say that
 * it was the initializer. */
int brood__server_begin(struct server *server, const struct hooks *hooks);
void brood__server_end(struct server *server, const struct hooks *hooks);

/* A worker process dies with its supervisor also when the program's code has changed its user ids.  It is over here if the
 * supervisor has died already; false if it could not be seen to, and is to be asked again. */
bool brood__server_outlives_nobody(const struct shared *shared);

/* Serves until the pool is no longer open, and then finishes what is waiting in the own lane; or until it is time to
 * retire or to rest, or the worker is no longer wanted.
 */
void brood__serve(struct server *server);

/* Runs what is waiting in the own lane, and returns: for workers who are nobody but the caller. */
void brood__serve_waiting(struct server *server);

void brood__server_close(struct server *server);

/* In how many workers, of pools opened in workers of pools, the calling thread is. */
unsigned brood__depth(void);

/* This process is a worker of that pool, and what it opens is deeper. */
void brood__depth_set(const struct board *board);

#endif
