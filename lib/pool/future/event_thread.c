#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/error.h"
#include "os/owned.h"
#include "os/process_attributes.h"
#include "pool/core/calls.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"
#include "pool/core/slots.h"
#include "pool/core/wait.h"
#include "pool/future/callback.h"
#include "pool/future/event_thread.h"
#include "pool/future/future.h"

struct event_thread {
    pthread_t id;
    bool is_leaving;
};

/* ---- callbacks ---- */

bool brood__callers_wait(const struct brood_pool *pool)
{
    brood__assert_locked(pool);
    return !pool->callbacks.have_thread || !pool->events.thread;
}

bool brood__calls_are_due(const struct brood_pool *pool)
{
    brood__assert_locked(pool);
    return brood__calls_can(&pool->callbacks.due) && brood__callers_wait(pool);
}

static int callbacks_run(struct brood_pool *pool)
{
    int ran = brood__calls_run(&pool->callbacks.due, &pool->lock, NULL);

    if (ran > 0)
        brood__calls_left(pool);
    return ran;
}

int brood__call_due_now(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    return brood__calls_are_due(pool) ? callbacks_run(pool) : 0;
}

void brood__call_awaited(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    uint64_t sleepers = pool->sleepers.asleep & ~((uint64_t)1 << EVENT_THREAD_PARKER);

    pool->callbacks.awaited++;
    if (sleepers && brood__callers_wait(pool))
        brood__wake_waiter(pool->shared.header, WAITER_ALL);
}

void brood__calls_left(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    if (pool->sleepers.asleep)
        brood__wake_waiter(pool->shared.header, WAITER_ALL);
    if (pool->callbacks.due.first && pool->events.ready_fd >= 0)
        brood__ready_fd_signal(pool);
}

void brood__event_thread_notify(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    if (pool->sleepers.asleep && !pool->callbacks.due.caller)
        brood__wake_waiter(pool->shared.header, brood__callers_wait(pool) ? WAITER_ALL : EVENT_THREAD_PARKER);
}

static bool run_due(struct brood_pool *pool)
{
    return brood__call_due(pool) > 0;
}

static bool callbacks_are_due(struct brood_pool *pool)
{
    return brood__calls_are_due(pool);
}

static bool are_awaited(const struct brood_pool *pool)
{
    return pool->callbacks.awaited > 0;
}

static void callbacks_announce(struct brood_pool *pool, unsigned parker)
{
    if (brood__callers_wait(pool))
        brood__announce_each(pool, brood__early_job, parker);
}

const struct deferred brood__deferred_calls = {
    .words = {DEFERRED_WORD(callbacks.due.first), DEFERRED_WORD(callbacks.awaited)},
    .is_loud = true,
    .run = run_due,
    .is_due = callbacks_are_due,
    .is_waiting = are_awaited,
    .announce = callbacks_announce,
};

/* ---- the thread ---- */

/* The supervisor wakes all sleepers after each death.  The death of an idle worker changes no future, so it makes the
 * descriptor readable itself.  The supervisor stores `count`, release, after it has written the entry; the host loads
 * it, acquire. */
static void ring_for_deaths(struct brood_pool *pool)
{
    const struct membership *membership = pool->shared.membership;
    uint64_t deaths = membership ? atomic_load_explicit(&membership->idle_deaths.count, memory_order_acquire) : 0;

    if (deaths == pool->deaths.signalled || pool->events.ready_fd < 0)
        return;
    pool->deaths.signalled = deaths;
    brood__ready_fd_signal(pool);
}

static bool is_called_for(struct brood_pool *pool, struct wait_condition *condition)
{
    const struct event_thread *event_thread = condition->subject;

    brood__collect_all(pool);
    ring_for_deaths(pool);
    return event_thread->is_leaving || (pool->callbacks.have_thread && brood__calls_can(&pool->callbacks.due));
}

static void *event_thread_attend(void *argument)
{
    struct brood_pool *pool = argument;
    struct wait_condition condition = {
        .is_ready = is_called_for, .next_job = brood__no_job, .parker = EVENT_THREAD_PARKER, .is_silent = true};
    struct event_thread *event_thread;

    brood__lock(&pool->lock);
    pool->users.inside++;
    condition.subject = event_thread = pool->events.thread;
    while (!event_thread->is_leaving) {
        (void)brood__wait(pool, &condition, BROOD_FOREVER);
        if (pool->callbacks.have_thread)
            (void)callbacks_run(pool);
    }
    brood__pool_leave(pool);
    return NULL;
}

/* The new thread blocks all signals: they are for the host's own threads. */
static int event_thread_create(struct brood_pool *pool, struct event_thread *event_thread)
{
    char name[16];
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&event_thread->id, NULL, event_thread_attend, pool);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return brood_fail(-r, "cannot start the thread that attends to the pool: %s", strerror(r));
    (void)snprintf(name, sizeof(name), "%.10s-wait", pool->shared.header->name);
    (void)pthread_setname_np(event_thread->id, name);
    return 0;
}

int brood__event_thread_start(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    struct event_thread *event_thread;
    int r;

    if (pool->events.thread || life_is_closed(pool->life.state))
        return 0;
    pool->events.is_attended = true;
    if (pool->ops->run)
        return 0;
    event_thread = calloc(1, sizeof(*event_thread));
    r = event_thread ? event_thread_create(pool, event_thread) : brood_fail(-ENOMEM, "out of memory");
    if (r < 0) {
        free(event_thread);
        return r;
    }
    pool->events.thread = event_thread; /* the thread reads this under the lock */
    pool->events.usual_waiter = EVENT_THREAD_PARKER;
    brood__announce_each(pool, brood__every_job, EVENT_THREAD_PARKER); /* it fences before it sleeps */
    return 0;
}

void brood__event_thread_stop(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    struct event_thread *event_thread;

    while ((event_thread = pool->events.thread)) { /* another thread may start one meanwhile */
        event_thread->is_leaving = true;
        brood__parker_wake(&pool->shared.header->parkers[EVENT_THREAD_PARKER]);
        brood__unlock(&pool->lock);
        (void)pthread_join(event_thread->id, NULL);
        brood__lock(&pool->lock);
        pool->events.thread = NULL;
        pool->events.usual_waiter = WAITER_NONE;
        free(event_thread);
    }
}

/* ---- descriptors ---- */

static int open_eventfd(void)
{
    int fd = brood__own(brood__fd_not_standard(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));

    return fd < 0 ? brood_fail(-errno, "cannot make a descriptor: %s", strerror(errno)) : fd;
}

/* Locked. */
static int open_fd_of(struct brood_future *future)
{
    brood__assert_guarded(future);
    int fd = open_eventfd();

    if (fd < 0)
        return fd;
    brood__future_add_more(future);
    future->more.fd_plus_1 = fd + 1;
    if (brood__future_look(future))
        (void)eventfd_write(fd, 1);
    return fd;
}

int brood_future_fd(struct brood_future *future)
{
    int r = brood__future_enter(future);

    if (r < 0)
        return r;
    const struct future_guard *guard = brood__future_guard(future);

    if (future->has_more && future->more.fd_plus_1)
        r = future->more.fd_plus_1 - 1;
    else if (guard->attend && !brood__future_is_done(future))
        r = guard->attend(future);
    if (r == 0)
        r = open_fd_of(future);
    brood__future_leave(future);
    return r;
}

void brood__ready_fd_signal(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    if (!pool->events.is_signalled)
        (void)eventfd_write(pool->events.ready_fd, 1);
    pool->events.is_signalled = true;
}

void brood__ready_fd_close(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    if (pool->events.ready_fd >= 0)
        (void)close(brood__disown(pool->events.ready_fd));
    pool->events.ready_fd = -1;
}

/* Signals again for callbacks that have become due meanwhile: an edge-triggered reader, as with EPOLLET, would not look
 * again at a descriptor that stays readable. */
static void rearm(struct brood_pool *pool)
{
    eventfd_t count;

    if (!pool->events.is_signalled)
        return;
    (void)eventfd_read(pool->events.ready_fd, &count);
    pool->events.is_signalled = false;
    if (brood__calls_are_due(pool))
        brood__ready_fd_signal(pool);
}

/* Futures that were done before the descriptor existed count, too. */
static int ready_fd_open(struct brood_pool *pool)
{
    int fd = open_eventfd();

    if (fd < 0)
        return fd;
    pool->events.ready_fd = fd;
    brood__ready_fd_signal(pool);
    return 0;
}

int brood_pool_fd(struct brood_pool *pool)
{
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    if (life_is_closed(pool->life.state))
        r = brood_fail(-ESHUTDOWN, "the pool is closed");
    if (r == 0)
        r = brood__event_thread_start(pool);
    if (r == 0 && pool->events.ready_fd < 0)
        r = ready_fd_open(pool);
    if (r == 0)
        r = pool->events.ready_fd;
    brood__pool_leave(pool);
    return r;
}

/* ---- brood_pool_run ---- */

static bool due_or_none(struct brood_pool *pool, struct wait_condition *condition)
{
    (void)condition;
    brood__collect_all(pool);
    return brood__calls_are_due(pool) || (pool->callbacks.awaited == 0 && pool->callbacks.due.count == 0);
}

int brood_pool_run(struct brood_pool *pool, brood_deadline deadline)
{
    struct wait_condition condition = {.is_ready = due_or_none, .next_job = brood__early_job, .is_silent = true};
    int r = brood__pool_enter_open(pool), ran;

    if (r < 0)
        return r;
    if (brood__calls_inside(&pool->callbacks.due) || brood__is_worker_of(pool))
        deadline = BROOD_NOW; /* a callback or a task would wait for itself */
    r = brood__wait(pool, &condition, deadline);
    ran = brood__call_due(pool);
    rearm(pool);
    brood__pool_leave(pool);
    if (r == 0 || ran > 0)
        return ran;
    return brood_fail(r, r == -EAGAIN ? "no callback is due" : "no callback was due in time");
}
