/* task.h - inside the library: the registry of tasks, and how a worker runs one. */
#ifndef BROOD_POOL_TASK_H
#define BROOD_POOL_TASK_H

#include <brood/task.h>

/* 0, or -EEXIST in words when two tasks of one name have been registered. */
int brood__tasks_check(void);

/* Where a result goes. */
struct brood_reply {
    void *space;
    size_t room;   /* bytes at `space` */
    size_t length; /* of the result */
    int error;     /* 0 or -EMSGSIZE */
};

/* Runs a task, or reports it missing (NULL).  0 or a negative errno; brood_error() has the words, if there are any.
 * *length is the room for the result, and becomes its length. */
int brood__task_run(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space, size_t *length);

#endif
