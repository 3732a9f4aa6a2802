#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "os/error.h"
#include "pool/future/callback.h"
#include "pool/future/future.h"
#include "pool/future/promise.h"

struct call {
    struct hook hook; /* in its future's list until it is called */
    struct link due;  /* in the list of its pool or promise */
    struct brood_future *future;
    brood_done *function;
    void *context;
};

/* ---- lists ---- */

static void add_last(struct link **list, struct link *link)
{
    struct link *first = *list ? *list : link;

    link->next = first;
    link->previous = *list ? first->previous : link;
    link->previous->next = first->previous = link;
    *list = first;
}

static void take_out(struct link **list, struct link *link)
{
    if (!link->next)
        return;
    if (*list == link)
        *list = link->next != link ? link->next : NULL;
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = NULL;
}

static struct hook *hook_of(struct link *link)
{
    return (struct hook *)(void *)link; /* its first member */
}

/* ---- hooks ---- */

void brood__hook_add(struct brood_future *future, struct hook *hook)
{
    brood__assert_guarded(future);
    brood__future_add_more(future);
    add_last(&future->more.hooks, &hook->link);
}

void brood__hook_remove(struct brood_future *future, struct hook *hook)
{
    brood__assert_guarded(future);
    if (future->has_more)
        take_out(&future->more.hooks, &hook->link);
}

static bool is_to_be_notified(const struct hook *hook, bool also_patient)
{
    return hook->notify && (also_patient || !hook->is_patient);
}

void brood__hooks_notify(struct brood_future *future, bool also_patient)
{
    brood__assert_guarded(future);
    struct link *next = future->more.hooks, *last = next ? next->previous : NULL;

    if (future->more.fd_plus_1)
        (void)eventfd_write(future->more.fd_plus_1 - 1, 1);
    while (next) {
        struct hook *hook = hook_of(next);

        next = next != last ? next->next : NULL; /* new due callbacks are appended after the last */
        if (!is_to_be_notified(hook, also_patient))
            continue;
        take_out(&future->more.hooks, &hook->link);
        hook->notify(hook, future);
    }
}

void brood__hooks_move_each(struct brood_future *future)
{
    brood__assert_guarded(future);
    struct link *first = future->more.hooks, *link = first;

    if (!first)
        return;
    do {
        if (hook_of(link)->move)
            hook_of(link)->move(hook_of(link));
        link = link->next;
    } while (link != first);
}

/* ---- callbacks ---- */

bool brood__calls_can(const struct calls *calls)
{
    return calls->first && !calls->caller;
}

static void make_due(struct call *call)
{
    struct calls *calls = brood__future_guard(call->future)->calls(call->future);

    call->hook.notify = NULL;
    add_last(&call->future->more.hooks, &call->hook.link);
    add_last(&calls->first, &call->due);
    calls->count++;
}

static void callback_notify(struct hook *hook, struct brood_future *future)
{
    make_due((struct call *)(void *)hook); /* its first member */
    if (brood__future_guard(future)->call_due)
        brood__future_guard(future)->call_due(future);
}

/* Before the callbacks there is at most the hook of a thread that waits for a cancelled promise together with other
 * futures. */
static struct call *first_callback(const struct brood_future *future)
{
    struct link *first = future->more.hooks, *link = first;

    while (link && hook_of(link)->notify)
        link = link->next != first ? link->next : NULL;
    return (struct call *)(void *)link; /* its first member's first member */
}

static struct call *first_due(const struct calls *calls)
{
    return calls->first ? (struct call *)(void *)((char *)calls->first - offsetof(struct call, due)) : NULL;
}

/* Takes the first callback that is due, or the first of that future. */
static struct call *take_callback(struct calls *calls, const struct brood_future *only)
{
    struct call *call = only ? first_callback(only) : first_due(calls);

    if (!call)
        return NULL;
    take_out(&call->future->more.hooks, &call->hook.link);
    take_out(&calls->first, &call->due);
    calls->count--;
    return call;
}

/* The callback held a reference to the future. */
static void let_go(struct brood_future *future)
{
    if (--future->more.calls == 0 && future->abandoned && brood__future_guard(future)->let_go)
        brood__future_guard(future)->let_go(future);
}

/* The state of the calling thread's callbacks. */
static _Thread_local struct {
    unsigned depth; /* nested callbacks */
    bool is_late;   /* the thread calls postponed callbacks */
    struct promise *postponed, **end;
} inside;

static bool is_too_deep(void)
{
    return inside.depth >= CALLS_NESTED_MAX;
}

static struct promise *take_postponed(void)
{
    struct promise *promise = inside.postponed;

    inside.postponed = promise->next_postponed;
    promise->is_postponed = false;
    return promise;
}

/* These callbacks may postpone more. */
static void run_postponed(void)
{
    inside.is_late = true;
    while (inside.postponed) {
        struct lock *lock = &inside.postponed->lock;

        brood__lock(lock);
        struct promise *promise = take_postponed();

        brood__calls_run_promise(promise);
        brood__promise_leave(promise);
    }
    inside.is_late = false;
}

void brood__calls_postpone(struct promise *promise)
{
    if (promise->is_postponed)
        return;
    promise->is_postponed = true;
    promise->next_postponed = NULL;
    promise->users++;
    if (!inside.postponed)
        inside.end = &inside.postponed;
    *inside.end = promise;
    inside.end = &promise->next_postponed;
}

/* Not locked. */
static void call_back(const struct call *call)
{
    inside.depth++;
    (void)BROOD__UNCANCELLED((call->function(call->future, call->context), 0));
    inside.depth--;
    if (inside.depth == 0 && inside.postponed && !inside.is_late)
        run_postponed();
}

int brood__calls_run(struct calls *calls, struct lock *lock, const struct brood_future *only)
{
    const void *outer = calls->caller;
    struct call *call;
    size_t left = calls->count;
    int ran = 0;

    if (outer && !(only && outer == brood__this_thread()))
        return 0;
    calls->caller = brood__this_thread();
    while ((only || left-- > 0) && (call = take_callback(calls, only))) {
        brood__unlock(lock);
        call_back(call);
        brood__lock(lock);
        let_go(call->future);
        free(call);
        ran++;
    }
    calls->caller = outer;
    return ran;
}

void brood__calls_run_promise(struct promise *promise)
{
    if (is_too_deep())
        brood__calls_postpone(promise);
    else
        while (brood__calls_run(&promise->calls, &promise->lock, NULL) >
               0) /* another thread may have added one meanwhile */
            ;
}

void brood__calls_forget(struct brood_future *future)
{
    while (future->has_more && future->more.hooks) {
        struct hook *hook = hook_of(future->more.hooks);

        take_out(&future->more.hooks, &hook->link);
        if (hook->notify == callback_notify)
            free(hook);
    }
}

/* Calls it at once, in the caller. */
static void call_now(struct call *call)
{
    struct brood_future *future = call->future;
    const struct future_guard *guard = brood__future_guard(future);

    guard->step_out(future);
    call_back(call);
    guard->step_in(future);
    free(call);
}

/* The future is done.  Callbacks that were added earlier and not called yet are called first. */
static void add_late(struct brood_future *future, struct call *call)
{
    const struct future_guard *guard = brood__future_guard(future);
    struct calls *calls = guard->calls(future); /* the future may be freed by its callback */
    struct lock *lock = guard->lock(future);
    struct brood_pool *pool = future->pool;

    if (is_too_deep() && guard->can_postpone(future)) {
        make_due(call);
        guard->postpone(future);
        return;
    }
    if (future->more.calls > 1)
        make_due(call);
    else {
        call_now(call);
        let_go(future);
    }
    if (brood__calls_run(calls, lock, future) > 0 && guard->calls_left)
        guard->calls_left(pool);
}

/* Locked. */
static void callback_add(struct brood_future *future, struct call *call)
{
    brood__assert_guarded(future);
    bool is_done = brood__future_look(future);

    brood__future_add_more(future);
    future->more.calls++;
    if (is_done) {
        add_late(future, call);
        return;
    }
    brood__hook_add(future, &call->hook);
    if (brood__future_guard(future)->call_added)
        brood__future_guard(future)->call_added(future);
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
    *call = (struct call){.hook.notify = callback_notify, .future = future, .function = function, .context = context};
    r = brood__future_enter(future);
    if (r < 0) {
        free(call);
        return r;
    }
    struct brood_pool *pool = future->pool;

    callback_add(future, call);
    if (pool)
        brood__pool_leave(pool); /* its callback may have freed the future; a promise stays while a thread is inside */
    else
        brood__future_leave(future);
    return 0;
}
