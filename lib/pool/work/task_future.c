/* task_future.c - the future of a single task: how it is settled, waited for, cancelled and killed. */
#include <errno.h>
#include <string.h>

#include "os/error.h"
#include "pool/core/slots.h"
#include "pool/future/death.h"
#include "pool/work/backlog.h"
#include "pool/work/fetch.h"
#include "pool/work/help.h"
#include "pool/work/kill.h"
#include "pool/work/retry.h"
#include "pool/work/task_future.h"

/* ---- settling ---- */

static const char *task_name(const struct brood_pool *pool, const struct slot *slot)
{
    const struct header_task *entry = brood__header_entry(pool->shared.header, read_once(slot->task));

    return entry ? entry->name : "?";
}

/* Copies the result to the caller's memory, unless it lies there already. */
static void copy_result(const struct brood_pool *pool, struct brood_future *future, const struct slot *slot, size_t length)
{
    const char *from = (const char *)slot->result.bytes;

    if (future->has_more && future->more.result_offset)
        from = pool->shared.segment.base + future->more.result_offset;
    else if (length > SLOT_RESULT_BYTES)
        length = SLOT_RESULT_BYTES;
    if (from != future->result)
        memcpy(future->result, from, length);
}

/* Reads each field of the slot once and checks it, because a worker may have written anything.  The length of a large
 * result, which is not in the slot, goes to *ret_large_result for brood__fetch_later(). */
static int take_answer(struct brood_pool *pool, struct brood_future *future, const struct answer *answer,
                       size_t *ret_large_result)
{
    const struct slot *slot = answer->slot;
    int status = read_once(slot->status);
    size_t length = read_once(slot->result_bytes);

    if (read_once(slot->is_late))
        future->is_late = true;
    if (status < 0 && read_once(slot->has_message))
        brood__future_keep_message(future, answer->extension->words, sizeof(answer->extension->words));
    if (length > future->room) {
        *ret_large_result = length;
        return status < 0 ? status : brood__fetch_region(future) != LARGE_NONE ? 0 : -EMSGSIZE;
    }
    if (future->is_inline)
        memcpy(future->inline_result, slot->result.bytes, SLOT_RESULT_BYTES);
    else if (future->result)
        copy_result(pool, future, slot, length);
    future->length = (uint32_t)length;
    return status < 0 ? status : 0;
}

/* True if the host retries the task. */
static bool settle_death(struct brood_pool *pool, struct brood_future *future, const struct answer *answer, int outcome)
{
    bool is_killed = outcome == -ECANCELED, is_quarantined;
    uint32_t attempt = brood__future_attempt(future);

    brood__deaths_keep(future, answer, 0, attempt, task_name(pool, answer->slot));
    if (!is_killed && brood__retry(pool, future))
        return true;
    is_quarantined = !is_killed && brood__retry_is_used_up(future);
    pool->counts.quarantined += is_quarantined;
    brood__deaths_say(future, 0, is_quarantined);
    return false;
}

static void settle(struct brood_pool *pool, struct job *job, const struct answer *answer)
{
    struct brood_future *future = (struct brood_future *)(void *)job; /* its first member */
    int outcome = -ESHUTDOWN;
    size_t large_result = 0;

    if (answer->state == SLOT_DONE)
        outcome = take_answer(pool, future, answer, &large_result);
    else if (answer->state == SLOT_CANCELLED)
        outcome = -ECANCELED;
    else if (answer->state == SLOT_LOST) {
        outcome = brood__outcome_of_death(answer);
        brood__fetch_mark_dirty(future);
        if (settle_death(pool, future, answer, outcome))
            return;
    } else
        brood__future_fail_shut_down(future);
    if (!brood__fetch_later(pool, future, outcome, large_result))
        brood__future_finish(future, outcome);
}

const struct job_ops brood__task_job_ops = {.settle = settle};

/* ---- operations ---- */

/* Also collects the neighbours in the lane: their owners then need no lock. */
static void task_collect(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;

    if (brood__collect(pool, &future->job) && pool->shadows[future->job.lane].outstanding > 0)
        brood__collect_lane(pool, future->job.lane);
}

static struct job *task_job_in_lane(struct brood_future *future)
{
    return future->job.in_lane ? &future->job : NULL;
}

static bool task_is_in_host(const struct brood_future *future)
{
    return !future->job.in_lane;
}

static bool single_is_running(struct brood_future *future)
{
    return future->job.in_lane && brood__is_claimed(future->pool, &future->job);
}

static int task_help(struct brood_future *future)
{
    return brood__help_task(future->pool, future);
}

static bool task_cancel(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;

    return brood__take_back(pool, &future->job, SLOT_CANCELLED) || brood__retry_forget(pool, future, -ECANCELED) ||
           brood__backlog_forget(pool, future, -ECANCELED);
}

static int single_kill(struct brood_future *future)
{
    int r = future->job.in_lane ? brood__kill_running(future->pool, &future->job) : 0;

    brood__retry_never(future);
    return r;
}

/* A corrupt slot may show a waiting task that a worker runs, and the worker would continue.  So the host also kills the
 * worker that has the task if it could take the task back.  In an intact pool no worker has it. */
static int task_kill_denied(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;

    if (future->job.position == 0 || !pool->ops->kill_task)
        return 0;
    return pool->ops->kill_task(pool, future->job.lane, future->job.position);
}

static int task_item_outcome(const struct brood_future *future, size_t item)
{
    return item > 0 ? brood_fail(-ERANGE, "a single task has one item") : future->outcome;
}

static uint64_t task_item_name(const struct brood_future *future, uint64_t item)
{
    (void)future;
    return item;
}

static uint64_t task_first_failed(const struct brood_future *future)
{
    (void)future;
    return 0;
}

static bool task_lost_item(const struct brood_future *future, uint64_t *ret_item)
{
    *ret_item = 0;
    return brood__deaths_end_with(future, brood__future_attempt(future));
}

static void task_discard(struct brood_future *future)
{
    brood__fetch_drop(future->pool, future);
}

const struct future_ops brood__task_future = {
    .guard = &brood__pool_guard,
    .collect = task_collect,
    .job = task_job_in_lane,
    .is_in_host = task_is_in_host,
    .is_running = single_is_running,
    .help = task_help,
    .cancel = task_cancel,
    .kill = single_kill,
    .kill_cancelled = task_kill_denied,
    .item = task_item_outcome,
    .item_name = task_item_name,
    .first_failed = task_first_failed,
    .lost_item = task_lost_item,
    .discard = task_discard,
};
