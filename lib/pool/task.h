/* task.h - inside the library: the registry of tasks, and how a worker runs one. */
#ifndef BROOD_POOL_TASK_H
#define BROOD_POOL_TASK_H

#include <stdbool.h>

#include <brood/task.h>

#include "shm/spill.h"

/* 0, or -EEXIST in words when two tasks of one name have been registered. */
int brood__tasks_check(void);

/* The outcome of a task that has returned that and left that in the reply, whose `error` is 0 again. */
int brood__task_outcome(int returned, struct brood_reply *reply);

/* Calls the task and says its outcome.  The reply's `error` is 0 before and after. */
static inline int brood__task_call(const struct brood_task *task, struct brood_bytes arg, struct brood_reply *reply)
{
    int r = task->run(arg, reply);

    return r == 0 && reply->error == 0 ? 0 : brood__task_outcome(r, reply);
}

/* Would a call with these sizes be refused by brood__task_run()? */
static inline bool brood__task_fits(const struct brood_task *task, size_t arg_bytes, size_t result_bytes)
{
    return task && (task->arg_size == BROOD_ANY_SIZE || (task->arg_size == arg_bytes && task->result_size == result_bytes));
}

/* Runs a task, or reports it missing (NULL).  0 or a negative errno; brood_error() has the words, if there are any.
 * *length is the room for the result, and becomes its length. */
int brood__task_run(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space, size_t *length);

/* The same, where a result that does not fit may go elsewhere: then the length is more than the room. */
int brood__task_run_large(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space,
                          size_t *length, struct brood__spilled *spilled);

#endif
