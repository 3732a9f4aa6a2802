/* task_future.h - inside the library: the future of a single task. */
#ifndef BROOD_POOL_WORK_TASK_FUTURE_H
#define BROOD_POOL_WORK_TASK_FUTURE_H

#include "pool/future/future.h"

extern const struct future_ops brood__task_future;

/* The operations of its job. */
extern const struct job_ops brood__task_job_ops;

#endif
