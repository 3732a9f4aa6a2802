/* limit.h - inside a worker: how long its task may still take, and who asked it to stop.
 *
 * A worker process watches itself, by two timers of the kernel: the first, when the task has had its time, sends SIGTERM,
 * whose handler writes a backtrace; the second, after the grace, SIGKILL, which nothing can hold up.  So a limit is kept to
 * the accuracy of the kernel's timers, a stuck task is ended without anybody's help, and who sets no limit pays nothing.
 * (A timer may send SIGKILL: timer_create(2) takes any signal.)  A thread cannot be killed: there a limit only makes
 * brood_cancelled() true.
 */
#ifndef BROOD_POOL_LIMIT_H
#define BROOD_POOL_LIMIT_H

#include <stdbool.h>
#include <time.h>

#include "shm/board.h"

struct limit {
    struct station *station;
    bool has_timers;
    timer_t soft, hard;
    int64_t end_ns; /* when the task will have had its time; 0: no limit */
};

/* Before the first limit.  In a process `certificate`, which may be NULL, takes the backtrace; in a thread there is none
 * and there are no timers.  0 or a negative errno, in words. */
int brood__limit_open(struct limit *limit, struct station *station, bool is_process);
void brood__limit_close(struct limit *limit);

/* The task begins; it is over. */
void brood__limit_begin(struct limit *limit, int64_t limit_ns, int64_t grace_ns);
void brood__limit_end(struct limit *limit);

/* In the handler of a fault, which ends this worker: if the task had time left it did not die of its limit, however long
 * the backtrace and the core dump take.  They have a second more. */
void brood__limit_excuse(void);

static inline bool brood__limit_is_over(const struct limit *limit, int64_t now_ns)
{
    return limit->end_ns != 0 && now_ns >= limit->end_ns;
}

#endif
