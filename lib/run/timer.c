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
    TIMER_CANCELLED, /* a call that runs now is the last */
    TIMER_OVER,
};

struct brood_timer {
    /* The timer's thread: WAITS ⇄ FIRES → OVER; any thread: WAITS or FIRES → CANCELLED; each by CAS, acq_rel.  A futex. */
    _Atomic uint32_t state;
    /* The handle and the thread.  Each decrements it with acq_rel, and the last one frees: its acquire pairs with the
     * release of the other. */
    atomic_uint holders;
    _Atomic uint64_t count; /* the thread increments it and others load it, relaxed: a statistic */
    /* The starter and the thread itself both store the same handle, with release; pairs with the acquire of its users. */
    struct brood_thread *_Atomic thread;
    int (*run)(void *context);
    void *context;
    int64_t period_ns;
    brood_deadline next; /* only the thread uses it */
    max_align_t copied[];
};

/* Also the let_go() of the thread: see brood__thread_start(). */
static void timer_release(void *holder_of)
{
    struct brood_timer *timer = holder_of;

    if (atomic_fetch_sub_explicit(&timer->holders, 1, memory_order_acq_rel) == 1)
        free(timer);
}

/* ---- the thread ---- */

static bool change(struct brood_timer *timer, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&timer->state, &from, to, memory_order_acq_rel, memory_order_acquire);
}

/* False: it was cancelled. */
static bool await_beat(struct brood_timer *timer)
{
    while (atomic_load_explicit(&timer->state, memory_order_acquire) == TIMER_WAITS && !brood__is_past(timer->next))
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
        (void)atomic_fetch_add_explicit(&timer->count, 1, memory_order_relaxed);
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
static void timer_end(void *argument)
{
    struct brood_timer *timer = argument;

    (void)change(timer, TIMER_FIRES, TIMER_OVER);
}

static int timer_run(void *argument)
{
    struct brood_timer *timer = argument;
    int r;

    (void)prctl(PR_SET_TIMERSLACK, 1); /* else the kernel lets a sleeper have 50 µs more, to wake several at once */
    atomic_store_explicit(&timer->thread, brood_thread_current(),
                          memory_order_release); /* the function may ask for it before the starter has stored it */
    pthread_cleanup_push(timer_end, timer);
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

static int timer_check_options(struct brood_timer_options *options, const struct brood_timer_options *given)
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
    atomic_store_explicit(&timer->holders, 2, memory_order_relaxed);
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
    int r = timer_check_options(&options, given);

    if (r < 0)
        return r;
    timer = new_timer(&options);
    if (!timer)
        return brood_fail(-ENOMEM, "out of memory");
    r = brood__thread_start(
        &thread, BROOD_THREAD(.run = timer_run, .context = timer, .name = options.name, .daemon = options.daemon),
        timer_release);
    if (r < 0) {
        free(timer);
        return r;
    }
    atomic_store_explicit(&timer->thread, thread, memory_order_release);
    *ret_timer = timer;
    return 0;
}

/* ---- asking ---- */

static int is_no_timer(const struct brood_timer *timer)
{
    return timer ? 0 : brood_fail(-EINVAL, "the timer is NULL: not started yet?");
}

/* Its thread is one of the process that forked this one. */
static bool timer_is_stale(struct brood_timer *timer)
{
    return atomic_load_explicit(&timer->thread, memory_order_acquire)->left_behind;
}

int brood_timer_cancel(struct brood_timer *timer)
{
    int r = is_no_timer(timer);

    if (r < 0)
        return r;
    if (timer_is_stale(timer))
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

    return r < 0 ? r : brood_thread_join(atomic_load_explicit(&timer->thread, memory_order_acquire), deadline);
}

uint64_t brood_timer_count(const struct brood_timer *timer)
{
    return timer ? atomic_load_explicit(&timer->count, memory_order_relaxed) : 0;
}

struct brood_thread *brood_timer_thread(struct brood_timer *timer)
{
    return timer ? atomic_load_explicit(&timer->thread, memory_order_acquire) : NULL;
}

void brood_timer_free(struct brood_timer *timer)
{
    if (!timer)
        return;
    (void)brood_timer_cancel(timer);
    brood_thread_free(atomic_load_explicit(&timer->thread, memory_order_acquire));
    timer_release(timer);
}
