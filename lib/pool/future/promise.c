#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/fork.h"
#include "pool/future/promise.h"

/* ---- calls ---- */

int brood__promise_enter(struct promise *promise)
{
    if (promise->fork_generation != atomic_load_explicit(&brood__fork_generation, memory_order_relaxed))
        return brood_fail(-EPERM, "this promise belongs to the process that forked this one");
    brood__lock(&promise->lock);
    promise->users++;
    return 0;
}

static void destroy(struct promise *promise)
{
    brood__calls_forget(&promise->future);
    if (promise->future.owns_result)
        free(promise->future.result);
    brood__future_free_more(&promise->future);
    free(promise);
}

void brood__promise_leave(struct promise *promise)
{
    bool is_last = --promise->users == 0 && promise->future.abandoned;

    brood__unlock(&promise->lock);
    if (is_last)
        destroy(promise);
}

int brood_promise_open(struct brood_future **ret_future)
{
    struct promise *promise = aligned_alloc(64, (sizeof(*promise) + 63) / 64 * 64);

    if (!promise)
        return brood_fail(-ENOMEM, "out of memory");
    brood__fork_watch();
    *promise = (struct promise){.fork_generation = atomic_load_explicit(&brood__fork_generation, memory_order_relaxed)};
    brood__future_init(&promise->future, NULL, NULL, 0);
    promise->future.kind = FUTURE_PROMISE;
    *ret_future = &promise->future;
    return 0;
}

/* ---- the producer's side ---- */

/* Returns 0 inside the promise, or an error. */
static int producer_enter(struct brood_future *future)
{
    if (!future || future->pool)
        return brood_fail(-EINVAL, future ? "this is a pool's future, which the pool completes" : "the promise is NULL");
    return brood__promise_enter(brood__promise(future));
}

/* A waiter for a cancelled promise and other futures is notified together with the producer. */
static int acknowledge_cancellation(struct promise *promise)
{
    promise->state = PROMISE_OVER;
    brood__hooks_notify(&promise->future, true);
    return brood_fail(-ECANCELED, "it was cancelled");
}

/* Does the promise still wait for its outcome? */
static int check_open(struct promise *promise)
{
    if (promise->state == PROMISE_CANCELLED)
        return acknowledge_cancellation(promise);
    if (promise->state == PROMISE_OVER)
        return brood_fail(-EALREADY, "it has its outcome already");
    return 0;
}

int brood_promise_set_running(struct brood_future *future)
{
    struct promise *promise = brood__promise(future);
    int r = producer_enter(future);

    if (r < 0)
        return r;
    r = check_open(promise);
    if (r == 0 && promise->state == PROMISE_RUNNING)
        r = brood_fail(-EBUSY, "it is running already");
    if (r == 0)
        promise->state = PROMISE_RUNNING;
    brood__promise_leave(promise);
    return r;
}

/* Notifies all hooks, and runs the callbacks. */
static void promise_finish(struct promise *promise, enum promise_state state, int outcome)
{
    struct brood_future *future = &promise->future;

    promise->state = state;
    future->outcome = (int16_t)outcome;
    atomic_store_explicit(&future->done, true, memory_order_release); /* pairs with brood__future_is_done() */
    if (future->has_more)
        brood__hooks_notify(future, state == PROMISE_OVER);
    brood__calls_run_promise(promise);
}

static int keep_result(struct brood_future *future, const void *result, size_t size)
{
    void *to = future->inline_result;

    if (size > UINT32_MAX)
        return brood_fail(-EINVAL, "a result has less than 4 GiB");
    if (!result && size > 0)
        return brood_fail(-EINVAL, "the result is NULL");
    future->is_inline = size <= FUTURE_INLINE_BYTES;
    if (!future->is_inline) {
        to = malloc(size);
        if (!to)
            return brood_fail(-ENOMEM, "out of memory");
        future->result = to;
        future->owns_result = true;
    }
    if (size > 0)
        memcpy(to, result, size);
    future->room = future->length = (uint32_t)size;
    return 0;
}

int brood_promise_set_result(struct brood_future *future, const void *result, size_t size)
{
    struct promise *promise = brood__promise(future);
    int r = producer_enter(future);

    if (r < 0)
        return r;
    r = check_open(promise);
    if (r == 0)
        r = keep_result(future, result, size);
    if (r == 0)
        promise_finish(promise, PROMISE_OVER, 0);
    brood__promise_leave(promise);
    return r;
}

#define ERROR_MIN (-4095)

int brood_promise_set_error(struct brood_future *future, int error, const char *words)
{
    struct promise *promise = brood__promise(future);
    int r = producer_enter(future);

    if (r < 0)
        return r;
    r = check_open(promise);
    if (r == 0 && (error >= 0 || error < ERROR_MIN))
        r = brood_fail(-EINVAL, "%d is no negative errno", error);
    if (r == 0) {
        if (words && words[0])
            brood__future_keep_message(future, words, strlen(words));
        promise_finish(promise, PROMISE_OVER, error);
    }
    brood__promise_leave(promise);
    return r;
}

/* ---- the consumer's side ---- */

struct sleeper {
    struct hook hook;
    _Atomic uint32_t is_notified; /* The notifying thread writes; the sleeper reads, and sleeps on it.  Relaxed: the sleeper
                                 takes the lock before it reads the future */
};

static void wake(struct hook *hook, struct brood_future *future)
{
    struct sleeper *sleeper = (struct sleeper *)(void *)hook; /* its first member */

    (void)future;
    atomic_store_explicit(&sleeper->is_notified, 1, memory_order_relaxed);
    (void)brood__futex_wake(&sleeper->is_notified, 1); /* the sleeper still exists: it needs the lock to leave */
}

static int sleep_until_done(struct promise *promise, brood_deadline deadline)
{
    struct sleeper sleeper = {.hook.notify = wake};

    brood__hook_add(&promise->future, &sleeper.hook);
    brood__unlock(&promise->lock);
    while (!atomic_load_explicit(&sleeper.is_notified, memory_order_relaxed) && !brood__is_past(deadline))
        (void)brood__futex_wait(&sleeper.is_notified, 0, deadline);
    brood__lock(&promise->lock);
    brood__hook_remove(&promise->future, &sleeper.hook);
    return brood__future_is_done(&promise->future)
               ? 0
               : brood_fail(brood__timeout(deadline), "the deadline passed before the promise was kept");
}

/* Its callbacks are called where it is completed, not here. */
static int promise_wait(struct brood_future *future, brood_deadline deadline)
{
    int r;

    if (brood__future_is_done(future))
        return 0;
    r = brood__promise_enter(brood__promise(future));
    if (r < 0)
        return r;
    if (!brood__future_is_done(future))
        r = sleep_until_done(brood__promise(future), deadline);
    brood__promise_leave(brood__promise(future));
    return r;
}

static bool promise_cancel(struct brood_future *future)
{
    if (brood__promise(future)->state != PROMISE_PENDING)
        return false;
    promise_finish(brood__promise(future), PROMISE_CANCELLED, -ECANCELED);
    return true;
}

static int promise_kill(struct brood_future *future)
{
    (void)future;
    return brood_fail(-ENOTSUP, "the producer of a promise cannot be killed");
}

static bool promise_is_running(struct brood_future *future)
{
    return brood__promise(future)->state == PROMISE_RUNNING;
}

static bool promise_is_untold(const struct brood_future *future)
{
    return ((const struct promise *)(const void *)future)->state == PROMISE_CANCELLED;
}

static void promise_free(struct brood_future *future)
{
    if (brood__promise_enter(brood__promise(future)) < 0)
        return;
    future->abandoned = true;
    brood__promise_leave(brood__promise(future));
}

static int promise_item_outcome(const struct brood_future *future, size_t item)
{
    return item > 0 ? brood_fail(-ERANGE, "a promise has one item") : future->outcome;
}

static uint64_t promise_item_name(const struct brood_future *future, uint64_t item)
{
    (void)future;
    return item;
}

static uint64_t promise_first_failed(const struct brood_future *future)
{
    (void)future;
    return 0;
}

static bool promise_lost_item(const struct brood_future *future, uint64_t *ret_item)
{
    (void)future, (void)ret_item;
    return false;
}

/* ---- the promise as its own guard ---- */

static int promise_enter(struct brood_future *future)
{
    return brood__promise_enter(brood__promise(future));
}

static void promise_leave(struct brood_future *future)
{
    brood__promise_leave(brood__promise(future));
}

static struct lock *promise_lock(struct brood_future *future)
{
    return &brood__promise(future)->lock;
}

static struct calls *promise_calls(struct brood_future *future)
{
    return &brood__promise(future)->calls;
}

static bool promise_can_postpone(const struct brood_future *future)
{
    (void)future;
    return true;
}

static void promise_postpone(struct brood_future *future)
{
    brood__calls_postpone(brood__promise(future));
}

static void promise_step_out(struct brood_future *future)
{
    brood__unlock(&brood__promise(future)->lock);
}

static void promise_step_in(struct brood_future *future)
{
    brood__lock(&brood__promise(future)->lock);
}

/* The program completes it: there is nothing to look for, to attend or to wake.  A thread that is inside keeps it. */
static const struct future_guard promise_guard = {
    .enter = promise_enter,
    .leave = promise_leave,
    .lock = promise_lock,
    .calls = promise_calls,
    .wait = promise_wait,
    .free = promise_free,
    .can_postpone = promise_can_postpone,
    .postpone = promise_postpone,
    .step_out = promise_step_out,
    .step_in = promise_step_in,
};

const struct future_ops brood__promise_future = {
    .guard = &promise_guard,
    .is_running = promise_is_running,
    .cancel = promise_cancel,
    .is_untold = promise_is_untold,
    .kill = promise_kill,
    .item = promise_item_outcome,
    .item_name = promise_item_name,
    .first_failed = promise_first_failed,
    .lost_item = promise_lost_item,
};
