#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/error.h"
#include "os/process.h"
#include "pool/attendant.h"
#include "pool/backend.h"
#include "pool/future.h"

struct attendant {
    pthread_t id;
    bool is_leaving;
};

/* ---- callbacks ---- */

bool brood__callers_wait(const struct brood_pool *pool)
{
    return !pool->has_call_thread || !pool->attendant;
}

bool brood__calls_are_due(const struct brood_pool *pool)
{
    return brood__calls_can(&pool->calls) && brood__callers_wait(pool);
}

static int call_due(struct brood_pool *pool)
{
    int ran = brood__calls_run(&pool->calls, &pool->lock, NULL);

    if (ran > 0)
        brood__calls_left(pool);
    return ran;
}

int brood__call_due(struct brood_pool *pool)
{
    return brood__calls_are_due(pool) ? call_due(pool) : 0;
}

void brood__call_awaited(struct brood_pool *pool)
{
    uint64_t sleepers = pool->asleep & ~((uint64_t)1 << ATTENDANT_PARKER);

    pool->calls_awaited++;
    if (sleepers && brood__callers_wait(pool))
        brood__wake_waiter(pool->shared.board, WAITER_ALL);
}

void brood__calls_left(struct brood_pool *pool)
{
    if (pool->asleep)
        brood__wake_waiter(pool->shared.board, WAITER_ALL);
    if (pool->calls.first && pool->bell >= 0)
        brood__bell_ring(pool);
}

void brood__attendant_tell(struct brood_pool *pool)
{
    if (pool->asleep && !pool->calls.caller)
        brood__wake_waiter(pool->shared.board, brood__callers_wait(pool) ? WAITER_ALL : ATTENDANT_PARKER);
}

/* ---- the thread ---- */

static bool is_called_for(struct brood_pool *pool, struct watch *watch)
{
    const struct attendant *attendant = watch->subject;

    brood__collect_all(pool);
    return attendant->is_leaving || (pool->has_call_thread && brood__calls_can(&pool->calls));
}

static void *attend(void *argument)
{
    struct brood_pool *pool = argument;
    struct watch watch = {
        .is_ready = is_called_for, .next_job = brood__no_job, .parker = ATTENDANT_PARKER, .is_silent = true};
    struct attendant *attendant;

    brood__lock(&pool->lock);
    pool->users++;
    watch.subject = attendant = pool->attendant;
    while (!attendant->is_leaving) {
        (void)brood__wait(pool, &watch, BROOD_FOREVER);
        if (pool->has_call_thread)
            (void)call_due(pool);
    }
    brood__pool_leave(pool);
    return NULL;
}

/* Signals are for the host's own threads. */
static int start_thread(struct brood_pool *pool, struct attendant *attendant)
{
    char name[16];
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&attendant->id, NULL, attend, pool);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return brood_fail(-r, "cannot start the thread that attends to the pool: %s", strerror(r));
    (void)snprintf(name, sizeof(name), "%.10s-wait", pool->shared.board->name);
    (void)pthread_setname_np(attendant->id, name);
    return 0;
}

int brood__attendant_start(struct brood_pool *pool)
{
    struct attendant *attendant;
    int r;

    if (pool->attendant || pool->closed)
        return 0;
    pool->is_attended = true;
    if (pool->backend->run)
        return 0;
    attendant = calloc(1, sizeof(*attendant));
    r = attendant ? start_thread(pool, attendant) : brood_fail(-ENOMEM, "out of memory");
    if (r < 0) {
        free(attendant);
        return r;
    }
    pool->attendant = attendant; /* it reads this under the lock */
    pool->usual_waiter = ATTENDANT_PARKER;
    brood__announce_all(pool, ATTENDANT_PARKER); /* it fences before it sleeps */
    return 0;
}

void brood__attendant_stop(struct brood_pool *pool)
{
    struct attendant *attendant;

    while ((attendant = pool->attendant)) { /* another thread may start one meanwhile */
        attendant->is_leaving = true;
        brood__parker_wake(&pool->shared.board->parkers[ATTENDANT_PARKER]);
        brood__unlock(&pool->lock);
        (void)pthread_join(attendant->id, NULL);
        brood__lock(&pool->lock);
        pool->attendant = NULL;
        pool->usual_waiter = WAITER_NONE;
        free(attendant);
    }
}

/* ---- descriptors ---- */

static int open_eventfd(void)
{
    int fd = brood__fd_not_standard(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));

    return fd < 0 ? brood_fail(-errno, "cannot make a descriptor: %s", strerror(errno)) : fd;
}

/* Locked. */
static int open_fd_of(struct brood_future *future)
{
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
    if (future->has_more && future->more.fd_plus_1)
        r = future->more.fd_plus_1 - 1;
    else if (future->pool && !brood__future_is_done(future))
        r = brood__attendant_start(future->pool);
    if (r == 0)
        r = open_fd_of(future);
    brood__future_leave(future);
    return r;
}

void brood__bell_ring(struct brood_pool *pool)
{
    if (!pool->has_rung)
        (void)eventfd_write(pool->bell, 1);
    pool->has_rung = true;
}

void brood__bell_close(struct brood_pool *pool)
{
    if (pool->bell >= 0)
        (void)close(pool->bell);
    pool->bell = -1;
}

static void quieten(struct brood_pool *pool)
{
    eventfd_t count;

    if (pool->has_rung && !brood__calls_are_due(pool)) {
        (void)eventfd_read(pool->bell, &count);
        pool->has_rung = false;
    }
}

/* What was done before it was there counts, too. */
static int open_bell(struct brood_pool *pool)
{
    int fd = open_eventfd();

    if (fd < 0)
        return fd;
    pool->bell = fd;
    brood__bell_ring(pool);
    return 0;
}

int brood_pool_fd(struct brood_pool *pool)
{
    int r = brood__pool_enter(pool);

    if (r < 0)
        return r;
    if (pool->closed)
        r = brood_fail(-ESHUTDOWN, "the pool is closed");
    if (r == 0)
        r = brood__attendant_start(pool);
    if (r == 0 && pool->bell < 0)
        r = open_bell(pool);
    if (r == 0)
        r = pool->bell;
    brood__pool_leave(pool);
    return r;
}

/* ---- brood_pool_run ---- */

static bool due_or_none(struct brood_pool *pool, struct watch *watch)
{
    (void)watch;
    brood__collect_all(pool);
    return brood__calls_are_due(pool) || (pool->calls_awaited == 0 && pool->calls.count == 0);
}

int brood_pool_run(struct brood_pool *pool, brood_deadline deadline)
{
    struct watch watch = {.is_ready = due_or_none, .next_job = brood__every_job, .is_silent = true};
    int r = brood__pool_enter(pool), ran;

    if (r < 0)
        return r;
    if (brood__calls_inside(&pool->calls))
        deadline = BROOD_NOW; /* it waited for itself */
    r = brood__wait(pool, &watch, deadline);
    ran = brood__call_due(pool);
    quieten(pool);
    brood__pool_leave(pool);
    if (r == 0 || ran > 0)
        return ran;
    return deadline.ns <= 0 ? brood_fail(-EAGAIN, "no callback is due") : brood_fail(r, "no callback was due in time");
}
