/* limit.h - inside a worker: the time limit of its task, and whether the task was asked to stop.
 *
 * A worker process watches itself, by three kernel timers for each kind of limit.  When the task has exceeded its limit,
 * the first two send the mark and SIGTERM, whose handler writes a backtrace; the third sends SIGKILL after the grace,
 * which nothing can delay.  So limits are as exact as the kernel's timers, a stuck task is ended without the help of
 * another process, and a task without a limit costs nothing.  (A timer may send SIGKILL: timer_create(2) accepts any
 * signal.)  A thread cannot be killed: there a limit only makes brood_cancelled() true.
 *
 * A limit of CPU time uses timers of the process's CPU clock: a task that waits for a processor, sleeps or is stopped
 * uses none of it, nor of the grace.  Both clocks stand still while the machine is suspended.
 *
 * The mark records that the limit has fired, whatever the task does with SIGTERM.  The time of a worker's death does
 * not: to release a gigabyte takes longer than many a limit.  So workers block a signal that has no other use.  It stays
 * pending once the timer has sent it, and is still pending when the supervisor inspects the dead worker, whose timers
 * the kernel deletes first.  In a task that unblocks it a handler runs, which records the same in the worker state.
 */
#ifndef BROOD_WORKER_LIMIT_H
#define BROOD_WORKER_LIMIT_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "proto/header.h"

#define LIMIT_MARK SIGSTKFLT /* Linux defines it for a coprocessor that was never built, and never sends it */

enum limit_kind { LIMIT_WALL = 1, LIMIT_CPU = 2 };

/* When the limit of each kind ends, on its clock; 0: no limit. */
struct limit_ends {
    int64_t wall_ns, cpu_ns;
};

/* The timers of one kind of limit. */
struct alarm {
    bool is_armed;
    timer_t mark, soft, hard;
};

struct limit {
    struct worker_state *worker_state;
    bool terminates; /* SIGTERM ends the worker, as it would without a handler */
    bool has_timers;
    clockid_t cpu_clock; /* of the process, or of the thread that is a worker */
    struct limit_ends ends;
    struct alarm wall, cpu;
};

/* A worker process calls this first.  It then accepts SIGTERM only from the supervisor and from itself, unless the
 * program handles or ignores the signal; and the calling thread, and those that it starts, block the mark. */
void brood__limit_listen(void);

/* Called before the first limit.  A thread has no timers.  Returns 0 or a negative errno with a message. */
int brood__limit_open(struct limit *limit, struct worker_state *worker_state, bool is_process, bool terminates);
void brood__limit_close(struct limit *limit);

/* Called when a task begins, and when it has ended. */
void brood__limit_begin(struct limit *limit, struct limits limits);
void brood__limit_end(struct limit *limit);

/* Called in the handler of a fault, which ends this worker.  If the task had time left, the limit is not the cause of
 * the death, however long the backtrace and the core dump take.  They get one second. */
void brood__limit_excuse(void);

/* Supervisor: had a dead worker, which is not reaped yet, exceeded its task's limit of time or CPU time?  Else
 * BROOD_DIED.  (Where /proc does not show other processes, the death of a task that keeps SIGTERM from its handler is
 * reported as another kind of death.) */
enum brood_cause brood__limit_fired(const struct worker_state *worker_state, pid_t worker);

static inline bool brood__limit_is_set(const struct limit *limit)
{
    return limit->ends.wall_ns != 0 || limit->ends.cpu_ns != 0;
}

/* Has the task exceeded a limit? */
bool brood__limit_is_over(const struct limit *limit);

#endif
