#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood/future.h>

#include "os/error.h"
#include "os/owned.h"
#include "pool/core/dispatch.h"
#include "pool/core/jobs.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"
#include "pool/core/wait.h"
#include "pool/future/death.h"
#include "pool/future/event_thread.h"
#include "pool/future/promise.h"

#define FUTURES_AHEAD 4

/* Keeps room for every future that exists, so that giving one back cannot fail. */
static bool make_room(struct brood_pool *pool)
{
    size_t room = pool->free_room ? 2 * pool->free_room : 64;
    struct brood_future **free_futures;

    if (pool->made < pool->free_room)
        return true;
    free_futures = realloc(pool->free_futures, room * sizeof(struct brood_future *));
    if (!free_futures)
        return false;
    pool->free_futures = free_futures;
    pool->free_room = room;
    return true;
}

static struct brood_future *make_future(struct brood_pool *pool)
{
    struct brood_future *future = make_room(pool) ? aligned_alloc(64, sizeof(*future)) : NULL;

    if (future)
        pool->made++;
    else
        (void)brood_fail(-ENOMEM, "out of memory");
    return future;
}

/* Prefetches, because the next futures are likely to be long out of the cache.  (They are in an array: in a list, each
 * would wait for the one before, because the address of the next would be in a line that is not there yet.) */
static struct brood_future *take_spare(struct brood_pool *pool)
{
    struct brood_future *future = pool->free_futures[--pool->free_count];

    if (pool->free_count >= FUTURES_AHEAD)
        __builtin_prefetch(pool->free_futures[pool->free_count - FUTURES_AHEAD], 1);
    return future;
}

struct brood_future *brood__future_new(struct brood_pool *pool)
{
    struct brood_future *future = pool->free_count > 0 ? take_spare(pool) : make_future(pool);

    if (!future)
        return NULL;
    brood__future_init(future, pool, NULL, 0);
    pool->futures++;
    return future;
}

void brood__future_add_more(struct brood_future *future)
{
    if (atomic_load_explicit(&future->has_more, memory_order_relaxed))
        return;
    memset(&future->more, 0, sizeof(future->more));
    atomic_store_explicit(&future->has_more, true, memory_order_release);
}

void brood__future_free_more(struct brood_future *future)
{
    if (!future->has_more)
        return;
    free(future->more.words);
    brood__deaths_free(future);
    free(future->more.retry);
    if (future->more.fd_plus_1)
        (void)close(brood__disown(future->more.fd_plus_1 - 1));
    /* Relaxed: no other thread reads a future that is being freed. */
    atomic_store_explicit(&future->has_more, false, memory_order_relaxed);
}

void brood__future_drop(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;

    if (future->owns_result)
        free(future->result);
    if (future->has_more)
        brood__future_free_more(future);
    if (brood__future_ops(future)->drop)
        brood__future_ops(future)->drop(future);
    pool->free_futures[pool->free_count++] = future;
    pool->futures--;
}

static void count_failure(struct brood_pool *pool, int outcome)
{
    pool->failed++;
    pool->cancelled += outcome == -ECANCELED;
}

void brood__future_finish(struct brood_future *future, int outcome)
{
    struct brood_pool *pool = future->pool;

    if (future->has_more && future->more.block) {
        (void)brood__heap_free(&pool->heap, future->more.block);
        future->more.block = 0;
    }
    if (brood__future_fetch(future))
        brood__future_ops(future)->discard(future);
    future->outcome = (int16_t)outcome;
    pool->outstanding--;
    pool->finished++;
    if (outcome < 0)
        count_failure(pool, outcome);
    atomic_store_explicit(&future->done, true, memory_order_release); /* pairs with brood__future_is_done() */
    if (future->has_more)
        brood__hooks_tell(future, true);
    if (pool->ready_fd >= 0)
        brood__ready_fd_signal(pool);
    if (future->abandoned && !(future->has_more && future->more.calls > 0))
        brood__future_drop(future);
}

/* ---- one future, of a pool or a promise ---- */

int brood__future_missing(void)
{
    return brood_fail(-EINVAL, "the future is NULL: nothing was submitted, or it has been freed");
}

int brood__future_enter(struct brood_future *future)
{
    if (!future)
        return brood__future_missing();
    return future->pool ? brood__pool_enter(future->pool) : brood__promise_enter(brood__promise(future));
}

void brood__future_leave(struct brood_future *future)
{
    if (future->pool)
        brood__pool_leave(future->pool);
    else
        brood__promise_leave(brood__promise(future));
}

struct lock *brood__future_lock(struct brood_future *future)
{
    return future->pool ? &future->pool->lock : &brood__promise(future)->lock;
}

void brood__future_drop_message(struct brood_future *future)
{
    if (!future->has_more)
        return;
    free(future->more.words);
    future->more.words = NULL;
}

void brood__future_keep_message(struct brood_future *future, const char *words, size_t size)
{
    brood__future_add_more(future);
    free(future->more.words);
    future->more.words = strndup(words, size); /* NULL when memory is short: the outcome stays without a message */
}

void brood__future_fail_shut_down(struct brood_future *future)
{
    const struct brood_pool *pool = future->pool;

    brood__future_keep_message(future, pool->broken_reason[0] ? pool->broken_reason : "the pool was closed first",
                               sizeof(pool->broken_reason));
}

/* ---- waiting ---- */

static bool is_done(struct brood_pool *pool, struct wait_condition *condition)
{
    struct brood_future *future = condition->subject;

    (void)pool;
    if (!brood__future_is_done(future))
        brood__future_ops(future)->collect(future);
    return brood__future_is_done(future);
}

static struct job *job_of(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    struct brood_future *future = condition->subject;
    const struct future_ops *ops = brood__future_ops(future);

    if (ops->is_in_host && ops->is_in_host(future)) /* the host submits it as soon as there is room */
        return brood__middle_job(pool, condition, previous);
    return previous ? NULL : ops->job(future);
}

static int help(struct brood_pool *pool, struct wait_condition *condition)
{
    struct brood_future *future = condition->subject;

    (void)pool;
    return brood__future_ops(future)->help(future);
}

/* Locked. */
bool brood__future_look(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;
    struct wait_condition condition = {.is_ready = is_done, .subject = future};

    if (brood__future_is_done(future) || !pool)
        return brood__future_is_done(future);
    brood__check_life(pool);
    while (!is_done(pool, &condition) && brood__run_deferred(pool, true))
        ;
    return brood__future_is_done(future);
}

/* Calls a callback before the wait that made it due returns. */
static int call_callbacks(struct brood_future *future)
{
    if (!future->has_more || !future->pool || brood__pool_enter(future->pool) < 0)
        return 0;
    (void)brood__call_due(future->pool);
    brood__pool_leave(future->pool);
    return 0;
}

int brood__future_wait(struct brood_future *future, brood_deadline deadline)
{
    struct wait_condition condition = {.is_ready = is_done, .next_job = job_of, .help = help, .subject = future};

    return brood__wait(future->pool, &condition, deadline);
}

int brood_future_wait(struct brood_future *future, brood_deadline deadline)
{
    int r;

    if (!future)
        return brood__future_missing();
    if (brood__future_is_done(future))
        return call_callbacks(future);
    if (!future->pool)
        return brood__promise_wait(brood__promise(future), deadline);
    r = brood__pool_enter(future->pool);
    if (r < 0)
        return r;
    r = brood__future_wait(future, deadline);
    (void)brood__call_due(future->pool);
    brood__pool_leave(future->pool);
    return r < 0 && r != -EDEADLK ? brood_fail(r, "the deadline passed before the work was done") : r;
}

/* ---- queries ---- */

static const char *words_for(int outcome)
{
    const char *words = strerrordesc_np(-outcome);

    return words ? words : "failed";
}

static int not_done(const struct brood_future *future)
{
    if (future->pool && !brood__pool_is_ours(future->pool))
        return brood_fail(-EPERM, "this future belongs to the process that forked this one");
    return brood_fail(-EINPROGRESS, "not done yet: wait for it first");
}

static int fail(const struct brood_future *future)
{
    if (brood__future_map(future))
        return brood_fail(future->outcome, "item %llu: %s",
                          (unsigned long long)brood__future_ops(future)->first_failed(future), brood_future_error(future));
    return brood_fail(future->outcome, "%s", brood_future_error(future));
}

/* Returns 0 if there is a result. */
static int ask(struct brood_future *future)
{
    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    return future->outcome < 0 ? fail(future) : 0;
}

static struct brood_bytes reply_of(const struct brood_future *future)
{
    const void *reply = future->is_inline ? future->inline_result : future->result;

    return (struct brood_bytes){future->length > 0 ? reply : NULL, future->length};
}

int brood_future_bytes(struct brood_future *future, struct brood_bytes *ret_bytes)
{
    int r = ask(future);

    if (r == 0)
        *ret_bytes = reply_of(future);
    return r;
}

int brood_future_error_bytes(struct brood_future *future, struct brood_bytes *ret_bytes)
{
    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    if (future->outcome == 0 || future->length == 0)
        return brood_fail(-ENODATA, future->outcome == 0 ? "the task succeeded: it has a result, and no error"
                                                         : "the task failed without a reply");
    *ret_bytes = reply_of(future);
    return 0;
}

int brood_future_result(struct brood_future *future, void *ret_result, size_t size)
{
    int r = ask(future);

    if (r < 0)
        return r;
    if (future->length > size)
        return brood_fail(-EMSGSIZE, "the result has %u bytes, and there is room for %zu", future->length, size);
    if (future->length > 0 && !ret_result)
        return brood_fail(-EINVAL, "the result has %u bytes, and there is no room for it at NULL", future->length);
    if (future->length > 0)
        copy_small(ret_result, future->is_inline ? future->inline_result : future->result, future->length);
    return 0;
}

size_t brood_future_size(const struct brood_future *future)
{
    return future && brood__future_is_done(future) && future->outcome == 0 ? future->length : 0;
}

/* The error of an item that is not the first that failed.  The host keeps every death, but of the tasks' own messages
 * only the first. */
static int fail_item(const struct brood_future *future, size_t item, int outcome)
{
    char words[384];

    if (brood__deaths_message(future, brood__future_ops(future)->item_name(future, item), outcome, words, sizeof(words)))
        return brood_fail(outcome, "%s", words);
    return brood_fail(outcome, "item %zu: %s", item, words_for(outcome));
}

int brood_future_item(struct brood_future *future, size_t item)
{
    int r;

    if (!future)
        return brood__future_missing();
    if (!brood_future_done(future))
        return not_done(future);
    r = brood__future_ops(future)->item(future, item);
    if (r == 0 || r == -ERANGE)
        return r;
    return item == brood__future_ops(future)->first_failed(future) ? fail(future) : fail_item(future, item, r);
}

const char *brood_future_error(const struct brood_future *future)
{
    static const struct {
        int outcome;
        const char *words;
    } said[] = {
        {-ECANCELED, "cancelled before it started"},
        {-EMSGSIZE, "the result is larger than the task promised, or than the caller has room for"},
        {-ESHUTDOWN, "the pool was closed first"},
    };

    if (!future || !brood__future_is_done(future) || future->outcome == 0)
        return "";
    if (future->has_more && future->more.words)
        return future->more.words;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        if (said[i].outcome == future->outcome)
            return said[i].words;
    return words_for(future->outcome);
}

/* A hint; it collects, so that polling it makes progress. */
bool brood_future_done(struct brood_future *future)
{
    bool done = future && brood__future_is_done(future);

    if (done || !future || !future->pool || brood__pool_enter(future->pool) < 0)
        return done;
    done = brood__future_look(future);
    brood__pool_leave(future->pool);
    return done;
}

bool brood_future_is_late(const struct brood_future *future)
{
    return future && brood__future_is_done(future) && future->is_late;
}

bool brood_future_running(struct brood_future *future)
{
    bool running = false;

    if (!future)
        return false;
    if (!future->pool)
        return brood__promise_state(brood__promise(future)) == BROOD_FUTURE_RUNNING;
    if (brood_future_done(future) || brood__pool_enter(future->pool) < 0)
        return false;
    running = brood__future_ops(future)->is_running(future);
    brood__pool_leave(future->pool);
    return running;
}

static bool is_lost(const struct brood_future *future)
{
    return brood__deaths_is_lost(future) &&
           (future->outcome == -EOWNERDEAD || future->outcome == -ETIMEDOUT || future->outcome == -ECANCELED);
}

/* A killed task has the same outcome, and a record of the death. */
static bool never_ran(const struct brood_future *future)
{
    return future->outcome == -ECANCELED && !is_lost(future);
}

bool brood__future_has_failed(const struct brood_future *future)
{
    return future->outcome < 0 && !never_ran(future);
}

enum brood_future_state brood_future_state(struct brood_future *future)
{
    if (!future)
        return BROOD_FUTURE_PENDING;
    if (!future->pool)
        return brood__promise_state(brood__promise(future));
    if (!brood_future_done(future))
        return brood_future_running(future) ? BROOD_FUTURE_RUNNING : BROOD_FUTURE_PENDING;
    if (future->outcome == 0)
        return BROOD_FUTURE_DONE;
    if (never_ran(future))
        return BROOD_FUTURE_CANCELLED_TOLD;
    return is_lost(future) ? BROOD_FUTURE_WORKER_LOST : BROOD_FUTURE_FAILED;
}

/* ---- cancelling and killing ---- */

int brood_future_cancel(struct brood_future *future)
{
    struct brood_pool *pool = future ? future->pool : NULL;
    bool cancelled = false;
    int r;

    if (!future)
        return brood__future_missing();
    if (!pool)
        return brood__promise_cancel(brood__promise(future));
    if (brood_future_done(future))
        return never_ran(future) ? 0 : brood_fail(-EBUSY, "it is done already");
    r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    cancelled = brood__future_ops(future)->cancel(future);
    brood__run_all_deferred(pool); /* a task that was taken back has made room */
    cancelled |= brood__future_is_done(future) && future->outcome == -ECANCELED &&
                 !brood__future_map(future); /* by another thread */
    brood__pool_leave(pool);
    return cancelled ? 0 : brood_fail(-EBUSY, "it is running already");
}

/* NULL: the kind has no such operation. */
static void kill_by(struct brood_future *future, int (*kill)(struct brood_future *future))
{
    if (!kill || brood__pool_enter(future->pool) < 0)
        return;
    (void)kill(future);
    brood__pool_leave(future->pool);
}

int brood_future_kill(struct brood_future *future)
{
    struct brood_pool *pool = future ? future->pool : NULL;
    int r = 0;

    if (!future)
        return brood__future_missing();
    if (pool && !brood_future_done(future))
        kill_by(future, brood__future_ops(future)->kill_first);
    if (brood_future_cancel(future) == 0) {
        if (pool)
            kill_by(future, brood__future_ops(future)->kill_cancelled);
        return 0;
    }
    if (brood_future_done(future))
        return brood_fail(-EBUSY, "it is done already");
    if (!pool)
        return brood_fail(-ENOTSUP, "whoever keeps a promise cannot be killed");
    r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    r = brood__future_ops(future)->kill(future);
    brood__pool_leave(pool);
    return r < 0 ? brood_fail(r, r == -ENOTSUP ? "a thread cannot be killed; it has been asked to stop"
                                               : "the supervisor has many orders to kill: ask again")
                 : 0;
}

void brood_future_free(struct brood_future *future)
{
    struct brood_pool *pool = future ? future->pool : NULL;

    if (future && !pool)
        brood__promise_free(brood__promise(future));
    if (!pool || !brood__pool_is_ours(pool))
        return;
    if (brood__future_ops(future)->borrows_memory && !brood__future_is_done(future)) {
        (void)brood_future_cancel(future);
        if (brood_future_wait(future, BROOD_FOREVER) < 0)
            return;
    }
    brood__lock(&pool->lock);
    if (brood__future_is_done(future) && !(future->has_more && future->more.calls > 0))
        brood__future_drop(future);
    else
        future->abandoned = true;
    brood__pool_release(pool);
}
