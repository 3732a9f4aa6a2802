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

void brood__promise_free(struct promise *promise)
{
    if (brood__promise_enter(promise) < 0)
        return;
    promise->future.abandoned = true;
    brood__promise_leave(promise);
}

int brood_promise_open(struct brood_future **ret_future)
{
    struct promise *promise = aligned_alloc(64, (sizeof(*promise) + 63) / 64 * 64);

    if (!promise)
        return brood_fail(-ENOMEM, "out of memory");
    brood__fork_watch();
    *promise = (struct promise){.fork_generation = atomic_load(&brood__fork_generation)};
    brood__future_init(&promise->future, NULL, NULL, 0);
    *ret_future = &promise->future;
    return 0;
}

/* ---- the producer's side ---- */

/* Returns 0 inside the promise, or an error. */
static int enter(struct brood_future *future)
{
    if (!future || future->pool)
        return brood_fail(-EINVAL, future ? "this is a pool's future, which the pool completes" : "the promise is NULL");
    return brood__promise_enter(brood__promise(future));
}

/* A waiter for a cancelled promise and other futures is notified together with the producer. */
static int hear_of_cancellation(struct promise *promise)
{
    promise->state = PROMISE_OVER;
    brood__hooks_tell(&promise->future, true);
    return brood_fail(-ECANCELED, "it was cancelled");
}

/* Does the promise still wait for its outcome? */
static int check_open(struct promise *promise)
{
    if (promise->state == PROMISE_CANCELLED)
        return hear_of_cancellation(promise);
    if (promise->state == PROMISE_OVER)
        return brood_fail(-EALREADY, "it has its outcome already");
    return 0;
}

int brood_promise_set_running(struct brood_future *future)
{
    struct promise *promise = brood__promise(future);
    int r = enter(future);

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
static void finish(struct promise *promise, enum promise_state state, int outcome)
{
    struct brood_future *future = &promise->future;

    promise->state = state;
    future->outcome = (int16_t)outcome;
    atomic_store_explicit(&future->done, true, memory_order_release); /* pairs with brood__future_is_done() */
    if (future->has_more)
        brood__hooks_tell(future, state == PROMISE_OVER);
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
    int r = enter(future);

    if (r < 0)
        return r;
    r = check_open(promise);
    if (r == 0)
        r = keep_result(future, result, size);
    if (r == 0)
        finish(promise, PROMISE_OVER, 0);
    brood__promise_leave(promise);
    return r;
}

#define ERROR_MIN (-4095)

int brood_promise_set_error(struct brood_future *future, int error, const char *words)
{
    struct promise *promise = brood__promise(future);
    int r = enter(future);

    if (r < 0)
        return r;
    r = check_open(promise);
    if (r == 0 && (error >= 0 || error < ERROR_MIN))
        r = brood_fail(-EINVAL, "%d is no negative errno", error);
    if (r == 0) {
        if (words && words[0])
            brood__future_keep_message(future, words, strlen(words));
        finish(promise, PROMISE_OVER, error);
    }
    brood__promise_leave(promise);
    return r;
}

/* ---- the consumer's side ---- */

struct sleeper {
    struct hook hook;
    _Atomic uint32_t is_told; /* The notifying thread writes; the sleeper reads, and sleeps on it.  Sequentially consistent
                                 by default: relaxed would do, since the sleeper takes the lock before it reads the future */
};

static void wake(struct hook *hook, struct brood_future *future)
{
    struct sleeper *sleeper = (struct sleeper *)(void *)hook; /* its first member */

    (void)future;
    atomic_store(&sleeper->is_told, 1);
    (void)brood__futex_wake(&sleeper->is_told, 1); /* the sleeper still exists: it needs the lock to leave */
}

int brood__promise_wait(struct promise *promise, brood_deadline deadline)
{
    struct sleeper sleeper = {.hook.tell = wake};
    int r = brood__promise_enter(promise);

    if (r < 0)
        return r;
    if (!promise->future.done) {
        brood__hook_add(&promise->future, &sleeper.hook);
        brood__unlock(&promise->lock);
        while (!atomic_load(&sleeper.is_told) && !brood__is_past(deadline))
            (void)brood__futex_wait(&sleeper.is_told, 0, deadline);
        brood__lock(&promise->lock);
        brood__hook_remove(&promise->future, &sleeper.hook);
        if (!promise->future.done)
            r = brood_fail(brood__timeout(deadline), "the deadline passed before the promise was kept");
    }
    brood__promise_leave(promise);
    return r;
}

int brood__promise_cancel(struct promise *promise)
{
    int r = brood__promise_enter(promise);

    if (r < 0)
        return r;
    if (promise->state == PROMISE_PENDING)
        finish(promise, PROMISE_CANCELLED, -ECANCELED);
    else if (promise->state == PROMISE_RUNNING)
        r = brood_fail(-EBUSY, "it is running already");
    else if (promise->future.outcome != -ECANCELED)
        r = brood_fail(-EBUSY, "it is done already");
    brood__promise_leave(promise);
    return r;
}

enum brood_future_state brood__promise_state(struct promise *promise)
{
    static const enum brood_future_state states[] = {
        [PROMISE_PENDING] = BROOD_FUTURE_PENDING,
        [PROMISE_RUNNING] = BROOD_FUTURE_RUNNING,
        [PROMISE_CANCELLED] = BROOD_FUTURE_CANCELLED,
    };
    enum promise_state state;
    int outcome;

    if (brood__promise_enter(promise) < 0)
        return BROOD_FUTURE_PENDING;
    state = promise->state;
    outcome = promise->future.outcome;
    brood__promise_leave(promise);
    if (state != PROMISE_OVER)
        return states[state];
    return outcome == 0 ? BROOD_FUTURE_DONE : outcome == -ECANCELED ? BROOD_FUTURE_CANCELLED_TOLD : BROOD_FUTURE_FAILED;
}
