/* submit.c - from a call to a slot: capacity, a lane, the argument's bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "os/fence.h"
#include "os/futex.h"
#include "os/options.h"
#include "pool/core/dispatch.h"
#include "pool/core/interrupt.h"
#include "pool/core/kind.h"
#include "pool/core/placement.h"
#include "pool/core/pool.h"
#include "pool/core/teardown.h"
#include "pool/future/future.h"
#include "pool/work/backlog.h"
#include "pool/work/fetch.h"
#include "pool/work/help.h"
#include "pool/work/retry.h"
#include "pool/work/task_future.h"
#include "proto/task.h"

/* ---- memory for large arguments and results ---- */

static size_t align_large(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Finds or allocates the memory in the segment that a call needs.  Copies with the lock released: an argument may be
 * large.  slot_publish() orders the copy for the worker. */
static int place(struct brood_pool *pool, struct brood_future *future, struct request *request)
{
    bool arg_is_large = request->arg.len > SLOT_ARG_BYTES, result_is_large = request->result_room > SLOT_RESULT_BYTES;
    size_t bytes = 0;
    int r;

    if (arg_is_large)
        request->arg_offset = brood__offset_in_heap(pool, request->arg.ptr, request->arg.len);
    if (result_is_large)
        request->result_offset = brood__offset_in_heap(pool, future->result, request->result_room);
    bool copy_arg = arg_is_large && !request->arg_offset, copy_result = result_is_large && !request->result_offset;

    if (copy_arg || copy_result) {
        bytes = (copy_arg ? align_large(request->arg.len) : 0) + (copy_result ? request->result_room : 0);
        brood__future_add_more(future);
        r = brood__heap_alloc(&pool->heap, bytes, false, &future->more.block);
        if (r < 0)
            return r;
    }
    if (copy_result)
        request->result_offset = future->more.block + (copy_arg ? align_large(request->arg.len) : 0);
    if (result_is_large) {
        brood__future_add_more(future);
        future->more.result_offset = request->result_offset;
    }
    if (copy_arg) {
        request->arg_offset = future->more.block;
        brood__unlock(&pool->lock);
        memcpy(pool->shared.segment.base + request->arg_offset, request->arg.ptr, request->arg.len);
        brood__lock(&pool->lock);
    }
    return 0;
}

/* ---- single tasks ---- */

static int submit_check(const struct brood_task *task, struct brood_bytes arg)
{
    if (!task || !task->name || !task->run)
        return brood_fail(-EINVAL, "a task needs a name and a function");
    if (!arg.ptr && arg.len > 0)
        return brood_fail(-EINVAL, "task '%s': the argument is NULL", task->name);
    if (task->arg_size != BROOD_ANY_SIZE && task->arg_size != arg.len)
        return brood_fail(-EINVAL, "task '%s' takes %zu bytes, and was given %zu", task->name, task->arg_size, arg.len);
    if (arg.len > UINT32_MAX || (task->result_size > UINT32_MAX && task->result_size != BROOD_ANY_SIZE))
        return brood_fail(-EINVAL,
                          "task '%s': arguments and results have less than 4 GiB; pass a pointer to brood_alloc() "
                          "memory instead",
                          task->name);
    return 0;
}

/* The usual case, without the slow path of brood__wait_for_room(). */
static bool takes_more(const struct brood_pool *pool, brood_deadline deadline)
{
    return (pool->counts.outstanding < pool->queue || brood__goes_over(pool, deadline)) &&
           !life_is_ending(pool->life.state) && !brood__is_interrupted(pool) && brood__life_is_fine(pool);
}

/* Puts the task into a lane or into the backlog.  Returns 1; 0: there is no slot; -ENOMEM. */
static int task_enter(struct brood_pool *pool, struct brood_future *future, const struct request *request, int priority,
                      brood_deadline deadline)
{
    if (brood__backlog_has(pool, priority))
        return brood__backlog_add(pool, future, request, priority);
    if (brood__submit(pool, &future->job, request, ANY_LANE))
        return 1;
    return brood__goes_over(pool, deadline) ? brood__backlog_add(pool, future, request, priority) : 0;
}

/* The room reserved for its result, before it runs. */
static size_t put_aside(const struct brood_task *task)
{
    return task->result_size == BROOD_ANY_SIZE ? FETCH_ROOM : task->result_size;
}

/* Locked.  `future` is complete except for the slot. */
static int submit_task(struct brood_pool *pool, struct brood_future *future, const struct brood_task *task,
                       struct brood_bytes arg, const struct terms *terms, brood_deadline deadline)
{
    brood__assert_locked(pool);
    /* The worker may write as much as the task promised, and no more than there is room for. */
    size_t promised = put_aside(task), capacity = future->owns_result ? SIZE_MAX : future->room;
    size_t room = future->room < promised ? future->room : promised;
    struct request request = {.kind = SLOT_TASK, .arg = arg, .result_room = room, .limits = terms->limits};

    future->job.ops = &brood__task_job_ops;
    future->room = (uint32_t)room;
    int r = brood__task_index(pool, task);

    if (r < 0)
        return r;
    request.task = (unsigned)r;
    r = place(pool, future, &request);
    if (r == 0 && task->result_size == BROOD_ANY_SIZE)
        request.region = brood__fetch_prepare(pool, future, capacity);
    if (r == 0 && terms->retries > 0)
        r = brood__retry_prepare(pool, future, &request, terms->retries);
    while (r == 0 &&
           !(takes_more(pool, deadline) && (r = task_enter(pool, future, &request, terms->priority, deadline)) != 0))
        r = brood__wait_for_room(pool, deadline);
    if (r > 0) {
        pool->counts.outstanding++;
        return 0;
    }
    if (future->has_more && future->more.block)
        (void)brood__heap_free(&pool->heap, future->more.block);
    brood__fetch_drop(pool, future);
    return r;
}

static int set_room(struct brood_future *future, size_t room)
{
    future->room = (uint32_t)room;
    future->is_inline = room <= FUTURE_INLINE_BYTES;
    if (future->is_inline)
        return 0;
    future->result = malloc(room);
    future->owns_result = true;
    return future->result ? 0 : brood_fail(-ENOMEM, "out of memory");
}

static struct terms terms_of(const struct brood_pool *pool, const struct brood_call_options *options)
{
    struct terms terms = pool->terms;

    if (!options)
        return terms;
    terms = brood__terms(
        pool, &(struct call_terms){options->limit_ms, options->limit_cpu_ms, options->grace_ms, options->retries});
    if (!pool->ops->run) /* else it runs at once */
        terms.priority = options->priority;
    return terms;
}

int brood_pool_submit(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                      struct brood_bytes arg, const struct brood_call_options *options, brood_deadline deadline)
{
    struct brood_call_options own;
    struct brood_future *future;
    int r = submit_check(task, arg);

    if (r == 0 && options) { /* most calls have no options: then nothing is cleared and copied */
        own = (struct brood_call_options){.size = sizeof(own)};
        r = brood__options(&own, sizeof(own), options, "BROOD_CALL");
        options = &own;
    }
    if (r == 0)
        r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    struct terms terms = terms_of(pool, options);

    future = brood__future_new(pool);
    r = future ? set_room(future, put_aside(task)) : -ENOMEM;
    if (r == 0)
        r = submit_task(pool, future, task, arg, &terms, deadline);
    if (r == 0)
        *ret_future = future;
    else if (future)
        brood__future_drop(future);
    brood__run_inline(pool);
    brood__fetch_all(pool);
    brood__pool_leave(pool);
    return r;
}

/* Uses a future on the caller's stack; the result goes straight into the caller's memory. */
static int apply(struct brood_pool *pool, const struct brood_task *task, struct brood_space *result, struct brood_bytes arg)
{
    struct brood_future future;
    int r = submit_check(task, arg);

    if (r == 0)
        r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    brood__future_init(&future, pool, result->ptr, (uint32_t)(result->len < UINT32_MAX ? result->len : UINT32_MAX));
    r = submit_task(pool, &future, task, arg, &pool->terms, BROOD_FOREVER);
    brood__run_inline(pool);
    if (r == 0)
        (void)brood__future_wait(&future, BROOD_FOREVER);
    brood__fetch_all(pool);
    brood__pool_leave(pool);
    if (r == 0 && future.outcome < 0)
        r = brood_fail(future.outcome, "%s", brood_future_error(&future));
    result->len = future.length;
    brood__future_free_more(&future);
    return r;
}

int brood_pool_apply(struct brood_pool *pool, const struct brood_task *task, void *ret_result, const void *arg)
{
    struct brood_space result = {ret_result, task ? task->result_size : 0};

    if (result.len == BROOD_ANY_SIZE)
        return brood_fail(-EINVAL, "task '%s' gives results of any size: call it with brood_pool_apply_bytes()",
                          task->name);
    return apply(pool, task, &result, (struct brood_bytes){arg, task ? task->arg_size : 0});
}

int brood_pool_apply_async(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                           const void *arg, brood_deadline deadline)
{
    return brood_pool_submit(pool, task, ret_future, (struct brood_bytes){arg, task ? task->arg_size : 0}, NULL, deadline);
}

int brood_pool_apply_bytes(struct brood_pool *pool, const struct brood_task *task, struct brood_space *result,
                           struct brood_bytes arg)
{
    return result ? apply(pool, task, result, arg) : brood_fail(-EINVAL, "there is no room for a result at NULL");
}

int brood_pool_apply_bytes_async(struct brood_pool *pool, const struct brood_task *task, struct brood_future **ret_future,
                                 struct brood_bytes arg, brood_deadline deadline)
{
    return brood_pool_submit(pool, task, ret_future, arg, NULL, deadline);
}
