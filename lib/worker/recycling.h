/* recycling.h - inside a worker process: when it ends to make room for a fresh worker.
 *
 * The worker ends between two tasks, by a plain exit: it holds nothing, and its successor begins where it stopped.  The
 * limits are drawn a little below the configured ones, so that workers that began together do not end together.
 *
 * A worker that has work runs at least one task before it ends, whatever the limits say: its successor would begin with
 * as much memory, and no task would ever run.
 */
#ifndef BROOD_WORKER_RECYCLING_H
#define BROOD_WORKER_RECYCLING_H

#include <stdbool.h>
#include <stdint.h>

struct header;

struct recycling {
    uint64_t tasks_left; /* an item of a map counts as a task */
    int64_t at_ns, next_look_ns;
    uint64_t memory_kib;
    bool has_worked;
};

/* Reads the limits from the pool header; the random part depends on `worker`. */
void brood__recycling_open(struct recycling *recycling, const struct header *header, unsigned worker);

static inline void brood__recycling_count(struct recycling *recycling, uint64_t tasks)
{
    recycling->has_worked = true;
    recycling->tasks_left = recycling->tasks_left > tasks ? recycling->tasks_left - tasks : 0;
}

/* Is it time to end?  Never before the first task.  Checks the memory use at intervals. */
bool brood__recycling_is_due(struct recycling *recycling, int64_t now_ns);

/* The same before the worker sleeps for lack of work: then it may end by its age even before a first task.  Checks the
 * memory use if that has a limit. */
bool brood__recycling_is_due_now(struct recycling *recycling, int64_t now_ns);

#endif
