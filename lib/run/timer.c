#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include <brood/timer.h>

#include "os/clock.h"
#include "os/options.h"
#include "run/run.h"
#include "run/thread.h"

#define NS_PER_MS INT64_C(1000000)

enum {
    TIMER_WAITS,
    TIMER_FIRES,
    TIMER_CANCELLED, /* the call that goes on, if there is one, is the last */
    TIMER_OVER,
};

struct brood_timer {
    _Atomic uint32_t
        state; /* WAITS ⇄ FIRES → OVER by the thread, WAITS or FIRES → CANCELLED by anyone: each by CAS.  A futex */
    atomic_uint holders;                 /* the handle and the thread; who gives the last one back frees */
    _Atomic uint64_t count;              /* written by the thread */
    struct brood_thread *_Atomic thread; /* written by who starts it and by the thread itself, the same */
    int (*run)(void *context);
    void *context;
    int64_t period_ns;
    brood_deadline next; /* the thread's */
    max_align_t copied[];
};

static void release(struct brood_timer *timer)
{
    if (atomic_fetch_sub(&timer->holders, 1) == 1)
        free(timer);
}

/* ---- the thread ---- */

static bool change(struct brood_timer *timer, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&timer->state, &from, to);
}

/* False: it was cancelled. */
static bool await_beat(struct brood_timer *timer)
{
    while (atomic_load(&timer->state) == TIMER_WAITS && !brood__is_past(timer->next))
        (void)brood__futex_wait(&timer->state, TIMER_WAITS, timer->next);
    return change(timer, TIMER_WAITS, TIMER_FIRES);
}

/* The first beat that is still to come. */
static void plan_next(struct brood_timer *timer)
{
    int64_t late = brood__now_ns() - timer->next.ns;
    int64_t beats = late < 0 ? 1 : late / timer->period_ns + 1;
    int64_t step;

    if (__builtin_mul_overflow(beats, timer->period_ns, &step) ||
        __builtin_add_overflow(timer->next.ns, step, &timer->next.ns))
        timer->next = BROOD_FOREVER;
}

static int beat(struct brood_timer *timer)
{
    int r = 0;

    while (r == 0 && await_beat(timer)) {
        (void)atomic_fetch_add(&timer->count, 1);
        r = timer->run(timer->context);
        if (timer->period_ns == 0 || r != 0)
            break;
        plan_next(timer);
        if (!change(timer, TIMER_FIRES, TIMER_WAITS))
            break;
    }
    return r;
}

/* Also when the function leaves by brood_thread_exit(). */
static void end(void *argument)
{
    struct brood_timer *timer = argument;

    (void)change(timer, TIMER_FIRES, TIMER_OVER);
    release(timer);
}

static int run(void *argument)
{
    struct brood_timer *timer = argument;
    int r;

    (void)prctl(PR_SET_TIMERSLACK, 1); /* else the kernel lets a sleeper have 50 µs more, to wake several at once */
    atomic_store(&timer->thread, brood_thread_current()); /* the function may ask before its starter knows */
    pthread_cleanup_push(end, timer);
    r = beat(timer);
    pthread_cleanup_pop(1);
    return r;
}

/* ---- starting ---- */

static int64_t nanoseconds(int64_t ms)
{
    int64_t ns;

    return ms <= 0 ? 0 : __builtin_mul_overflow(ms, NS_PER_MS, &ns) ? INT64_MAX : ns;
}

static int check_options(struct brood_timer_options *options, const struct brood_timer_options *given)
{
    int r = brood__options(options, sizeof(*options), given, "BROOD_TIMER");

    if (r < 0)
        return r;
    if (!options->run)
        return brood_fail(-EINVAL, "a timer needs a function: set .run");
    if (options->every_ms < 0)
        return brood_fail(-EINVAL, "a period cannot be negative; 0 means that there is one call");
    if (options->context_bytes > 0 && !options->context)
        return brood_fail(-EINVAL, "there is no context to copy %zu bytes of", options->context_bytes);
    return 0;
}

static struct brood_timer *new_timer(const struct brood_timer_options *options)
{
    struct brood_timer *timer = calloc(1, sizeof(*timer) + options->context_bytes);
    int64_t after = nanoseconds(options->after_ms);

    if (!timer)
        return NULL;
    atomic_store(&timer->holders, 2);
    timer->run = options->run;
    timer->context = options->context;
    if (options->context_bytes > 0)
        timer->context = memcpy(timer->copied, options->context, options->context_bytes);
    timer->period_ns = nanoseconds(options->every_ms);
    if (after == 0)
        after = timer->period_ns;
    timer->next = brood__after_ns(after);
    return timer;
}

int brood_timer_start(struct brood_timer **ret_timer, const struct brood_timer_options *given)
{
    struct brood_timer_options options = {0};
    struct brood_thread *thread;
    struct brood_timer *timer;
    int r = check_options(&options, given);

    if (r < 0)
        return r;
    timer = new_timer(&options);
    if (!timer)
        return brood_fail(-ENOMEM, "out of memory");
    r = brood_thread_start(&thread,
                           BROOD_THREAD(.run = run, .context = timer, .name = options.name, .daemon = options.daemon));
    if (r < 0) {
        free(timer);
        return r;
    }
    atomic_store(&timer->thread, thread);
    *ret_timer = timer;
    return 0;
}

/* ---- asking ---- */

static int is_no_timer(const struct brood_timer *timer)
{
    return timer ? 0 : brood_fail(-EINVAL, "the timer is NULL: not started yet?");
}

/* Its thread is one of the process that forked this one. */
static bool is_left_behind(struct brood_timer *timer)
{
    return atomic_load(&timer->thread)->left_behind;
}

int brood_timer_cancel(struct brood_timer *timer)
{
    int r = is_no_timer(timer);

    if (r < 0)
        return r;
    if (is_left_behind(timer))
        return 1;
    if (!change(timer, TIMER_WAITS, TIMER_CANCELLED) &&
        (timer->period_ns == 0 || !change(timer, TIMER_FIRES, TIMER_CANCELLED)))
        return 1;
    (void)brood__futex_wake(&timer->state, 1);
    return 0;
}

int brood_timer_join(struct brood_timer *timer, brood_deadline deadline)
{
    int r = is_no_timer(timer);

    return r < 0 ? r : brood_thread_join(atomic_load(&timer->thread), deadline);
}

uint64_t brood_timer_count(const struct brood_timer *timer)
{
    return timer ? atomic_load(&timer->count) : 0;
}

struct brood_thread *brood_timer_thread(struct brood_timer *timer)
{
    return timer ? atomic_load(&timer->thread) : NULL;
}

void brood_timer_free(struct brood_timer *timer)
{
    bool alone;

    if (!timer)
        return;
    alone = is_left_behind(timer);
    (void)brood_timer_cancel(timer);
    brood_thread_free(atomic_load(&timer->thread));
    if (alone)
        release(timer);
    release(timer);
}
