#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "os/error.h"
#include "pool/attendant.h"
#include "pool/callback.h"
#include "pool/future.h"
#include "pool/promise.h"

struct call {
    struct hook hook;
    struct call *next; /* that is due after it */
    struct brood_future *future;
    brood_done *function;
    void *context;
};

/* ---- hooks ---- */

void brood__hook_add(struct brood_future *future, struct hook *hook)
{
    struct hook **place;

    brood__future_add_more(future);
    for (place = &future->more.hooks; *place; place = &(*place)->next)
        ;
    hook->next = NULL;
    *place = hook;
}

void brood__hook_remove(struct brood_future *future, const struct hook *hook)
{
    if (!future->has_more)
        return;
    for (struct hook **place = &future->more.hooks; *place; place = &(*place)->next)
        if (*place == hook) {
            *place = hook->next;
            return;
        }
}

void brood__hooks_tell(struct brood_future *future, bool also_patient)
{
    struct hook **place = &future->more.hooks;

    if (future->more.fd_plus_1)
        (void)eventfd_write(future->more.fd_plus_1 - 1, 1);
    while (*place) {
        struct hook *hook = *place;

        if (hook->is_patient && !also_patient) {
            place = &hook->next;
            continue;
        }
        *place = hook->next;
        hook->tell(hook, future);
    }
}

/* ---- callbacks ---- */

/* What is different in each thread, and what is not NULL. */
static const void *this_thread(void)
{
    static _Thread_local char here;

    return &here;
}

bool brood__calls_inside(const struct calls *calls)
{
    return calls->caller == this_thread();
}

bool brood__calls_can(const struct calls *calls)
{
    return calls->first && !calls->caller;
}

static struct calls *calls_of(struct brood_future *future)
{
    return future->pool ? &future->pool->calls : &brood__promise(future)->calls;
}

static void make_due(struct call *call)
{
    struct calls *calls = calls_of(call->future);

    call->next = NULL;
    if (!calls->first)
        calls->end = &calls->first;
    *calls->end = call;
    calls->end = &call->next;
    calls->count++;
}

static void tell(struct hook *hook, struct brood_future *future)
{
    make_due((struct call *)(void *)hook); /* its first member */
    if (!future->pool)
        return;
    future->pool->calls_awaited--;
    brood__attendant_tell(future->pool);
}

/* The first that is due, or the first of that future. */
static struct call *take(struct calls *calls, const struct brood_future *only)
{
    struct call **place = &calls->first, *call;

    while (*place && only && (*place)->future != only)
        place = &(*place)->next;
    call = *place;
    if (!call)
        return NULL;
    *place = call->next;
    if (!call->next)
        calls->end = place;
    calls->count--;
    return call;
}

/* The future was kept for it. */
static void let_go(struct brood_future *future)
{
    if (--future->more.calls == 0 && future->abandoned && future->pool)
        brood__future_drop(future);
}

int brood__calls_run(struct calls *calls, struct lock *lock, const struct brood_future *only)
{
    const void *outer = calls->caller;
    struct call *call;
    size_t left = calls->count;
    int ran = 0;

    if (outer && !(only && outer == this_thread()))
        return 0;
    calls->caller = this_thread();
    while ((only || left-- > 0) && (call = take(calls, only))) {
        brood__unlock(lock);
        call->function(call->future, call->context);
        brood__lock(lock);
        let_go(call->future);
        free(call);
        ran++;
    }
    calls->caller = outer;
    return ran;
}

void brood__calls_forget(struct brood_future *future)
{
    struct hook *hook;

    while (future->has_more && (hook = future->more.hooks)) {
        future->more.hooks = hook->next;
        if (hook->tell == tell)
            free(hook);
    }
}

/* At once, in the caller, who is not inside the pool meanwhile and may even close it. */
static void call_now(struct call *call)
{
    struct brood_future *future = call->future;

    if (future->pool)
        brood__pool_leave(future->pool);
    else
        brood__unlock(brood__future_lock(future));
    call->function(future, call->context);
    brood__lock(brood__future_lock(future));
    if (future->pool)
        future->pool->users++;
    free(call);
}

/* Locked.  Of a future that is done, those that were added before and have not been called yet are called first. */
static void add(struct brood_future *future, struct call *call)
{
    struct calls *calls = calls_of(future); /* the future may be freed by its callback */
    struct lock *lock = brood__future_lock(future);
    struct brood_pool *pool = future->pool;
    bool is_done = brood__future_look(future);

    brood__future_add_more(future);
    future->more.calls++;
    if (!is_done) {
        brood__hook_add(future, &call->hook);
        if (pool)
            brood__call_awaited(pool);
        return;
    }
    if (future->more.calls > 1) {
        make_due(call);
    } else {
        call_now(call);
        let_go(future);
    }
    if (brood__calls_run(calls, lock, future) > 0 && pool)
        brood__calls_left(pool);
}

int brood_future_on_done(struct brood_future *future, brood_done *function, void *context)
{
    struct call *call;
    int r;

    if (!function)
        return brood_fail(-EINVAL, "a callback needs a function");
    call = malloc(sizeof(*call));
    if (!call)
        return brood_fail(-ENOMEM, "out of memory");
    *call = (struct call){.hook.tell = tell, .future = future, .function = function, .context = context};
    r = brood__future_enter(future);
    if (r < 0) {
        free(call);
        return r;
    }
    struct brood_pool *pool = future->pool;

    add(future, call);
    if (pool)
        brood__pool_leave(pool);
    else
        brood__future_leave(future);
    return 0;
}
