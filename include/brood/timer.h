/* brood/timer.h - a function that is called once after a while, or again and again, by a thread of its own.
 *
 *     struct brood_timer *timer;
 *     int r = brood_timer_start(&timer, BROOD_TIMER(.run = remind, .after_ms = 3000));
 *     ...
 *     brood_timer_cancel(timer);                              // not needed any more
 *     brood_timer_free(timer);
 *
 * A periodic timer keeps its beat: the n-th call is due n periods after the first, however long a call takes and however
 * late the thread was woken.  A beat that passes during a call is left out.
 *
 * Fork.  A child does not have the timer's thread: there it never fires, and has ended.
 *
 * Callers: any thread, also the function itself.
 */
#ifndef BROOD_TIMER_H
#define BROOD_TIMER_H

#include <brood/base.h>
#include <brood/thread.h>

BROOD_BEGIN

struct brood_timer;

/* Every zero means the default.  BROOD_TIMER(...) fills in `size`. */
struct brood_timer_options {
    size_t size; /* sizeof(struct brood_timer_options): lets the struct grow */
    /* Of a periodic timer: 0 goes on, more ends it, and a negative errno ends it as a failure of its thread. */
    int (*run)(void *context);
    void *context;
    size_t context_bytes; /* not 0: so many bytes at `context` are copied, and `run` gets the timer's own copy */
    int64_t after_ms;     /* until the first call; 0: at once, or for a periodic timer after one period */
    int64_t every_ms;     /* between calls; 0: there is one call */
    const char *name;     /* as in brood/thread.h, and so is daemon */
    int daemon;
};

#ifndef __cplusplus
#define BROOD_TIMER(...) (&(struct brood_timer_options){.size = sizeof(struct brood_timer_options), __VA_ARGS__})
#endif

/* Starts a timer.  `options` is copied.  0; -EINVAL: bad options; -EAGAIN: no more threads; -ENOMEM. */
BROOD_API BROOD_MUST_USE int brood_timer_start(struct brood_timer **ret_timer, const struct brood_timer_options *options);

/* It does not fire any more.  A call that has begun goes on.  0; 1: there was nothing to cancel, it had fired for the last
 * time or been cancelled before. */
BROOD_API int brood_timer_cancel(struct brood_timer *timer);

/* Waits until it has fired for the last time, and that call is over, or it has been cancelled: as brood_thread_join(). */
BROOD_API int brood_timer_join(struct brood_timer *timer, brood_deadline deadline);

/* How often it has fired. */
BROOD_API uint64_t brood_timer_count(const struct brood_timer *timer);

/* The timer's thread, to be named or asked: borrowed, good as long as the timer's handle. */
BROOD_API struct brood_thread *brood_timer_thread(struct brood_timer *timer);

/* Cancels it, and gives the handle back without waiting.  NULL is fine. */
BROOD_API void brood_timer_free(struct brood_timer *timer);

/* For brood_auto(timer): leaving the scope cancels it, and waits for the end of a call that has begun. */
static inline void brood_timer_closep(struct brood_timer **timer)
{
    if (*timer) {
        (void)brood_timer_cancel(*timer);
        (void)brood_timer_join(*timer, BROOD_FOREVER);
    }
    brood_timer_free(*timer);
}

BROOD_END

#endif
