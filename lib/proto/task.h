/* task.h - inside the library: the registry of tasks, and how a worker runs one. */
#ifndef BROOD_PROTO_TASK_H
#define BROOD_PROTO_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <brood/task.h>

#include "proto/large_result.h"

/* Returns 0, or -EEXIST with a message when two tasks of one name are registered. */
int brood__tasks_check(void);

/* How many tasks were unregistered so far. */
extern _Atomic uint32_t brood__tasks_gone;

/* Were tasks unregistered since *seen, which is updated? */
static inline bool brood__tasks_have_gone(uint32_t *seen)
{
    uint32_t gone = atomic_load_explicit(&brood__tasks_gone, memory_order_acquire);
    bool have_gone = gone != *seen;

    *seen = gone;
    return have_gone;
}

/* The outcome of a task that has returned this value and left this reply, whose `error` is reset to 0. */
int brood__task_outcome(int returned, struct brood_reply *reply);

/* Calls the task and returns its outcome.  The reply's `error` is 0 before and after. */
static inline int brood__task_call(const struct brood_task *task, struct brood_bytes arg, struct brood_reply *reply)
{
    int r = task->run(arg, reply);

    return r == 0 && reply->error == 0 ? 0 : brood__task_outcome(r, reply);
}

/* Does brood__task_run() accept these sizes? */
static inline bool brood__task_fits(const struct brood_task *task, size_t arg_bytes, size_t result_bytes)
{
    return task && (task->arg_size == BROOD_ANY_SIZE || (task->arg_size == arg_bytes && task->result_size == result_bytes));
}

/* Runs a task, or reports it missing (NULL).  Returns 0 or a negative errno; brood_error() has the message, if there is
 * one.  *length is the room for the result, and becomes its length. */
int brood__task_run(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space, size_t *length);

/* The same, with a place for a result that does not fit: then the length is more than the room. */
int brood__task_run_large(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space,
                          size_t *length, struct brood__large_result *large_result);

#endif
