/* retirement.h - inside a worker process: when it has done enough and makes room for a fresh one.
 *
 * It retires between two tasks, by a plain exit: it holds nothing, and its successor begins where it left off.  The numbers
 * are drawn a little smaller than asked for, so that workers that began together do not all retire together.
 */
#ifndef BROOD_POOL_RETIREMENT_H
#define BROOD_POOL_RETIREMENT_H

#include <stdbool.h>
#include <stdint.h>

struct board;

struct retirement {
    uint64_t tasks_left; /* an item of a map counts as a task */
    int64_t at_ns, next_look_ns;
    uint64_t memory_kib;
};

/* As the board says; `worker` is what the draw depends on. */
void brood__retirement_open(struct retirement *retirement, const struct board *board, unsigned worker);

static inline void brood__retirement_count(struct retirement *retirement, uint64_t tasks)
{
    retirement->tasks_left = retirement->tasks_left > tasks ? retirement->tasks_left - tasks : 0;
}

/* Is it time?  Looks at memory once in a while. */
bool brood__retirement_is_due(struct retirement *retirement, int64_t now_ns);

/* The same, before it sleeps: looks at memory if it ever does. */
bool brood__retirement_is_due_now(struct retirement *retirement, int64_t now_ns);

#endif
