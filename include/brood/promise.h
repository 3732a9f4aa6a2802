/* brood/promise.h - a promise: a future whose outcome you set yourself, from any thread.
 *
 *     struct brood_future *answer = NULL;
 *     r = brood_promise_open(&answer);                           // one thread keeps it, others wait for it
 *
 *     if (brood_promise_set_running(answer) == 0)                // the thread that does the work:
 *         r = brood_promise_set_result(answer, &y, sizeof(y));
 *
 *     r = brood_future_wait(answer, brood_after_ms(250));        // the others: as with any future
 *     r = brood_future_result(answer, &y, sizeof(y));
 *
 * For work that no pool runs: a reply from a network, a thread of your own, a test.  All of brood/future.h works with it:
 * waiting alone and together with other futures, callbacks, descriptors, states, cancelling until it is running.
 *
 * Callbacks of a promise are called by the thread that completes or cancels it, before that call returns; or, if that is a
 * callback in sixteen others, when the outermost of these has returned.
 *
 * Threads: any number, in the process that made it; a fork()ed child gets -EPERM.  brood_future_free(), in any state, is
 * the last call to begin; calls that have begun may still end.  Callbacks of a promise that never was completed are not
 * called.
 */
#ifndef BROOD_PROMISE_H
#define BROOD_PROMISE_H

#include <brood/base.h>
#include <brood/future.h>

BROOD_BEGIN

/* A future that is pending.  0; -ENOMEM. */
BROOD_API BROOD_MUST_USE int brood_promise_open(struct brood_future **ret_future);

/* The work begins: from now on it cannot be cancelled.  0; -ECANCELED: it was cancelled, there is nothing to do, and
 * threads that wait for several futures are notified now; -EBUSY: it is running already; -EALREADY: it has its outcome, or its maker knew
 * already that it was cancelled; -EINVAL: it is a pool's future. */
BROOD_API BROOD_MUST_USE int brood_promise_set_running(struct brood_future *future);

/* It is done, and has this result, which is copied; pending or running.  0; -ECANCELED: it was cancelled, as above;
 * -EALREADY: it has its outcome, and keeps the first; -ENOMEM; -EINVAL. */
BROOD_API int brood_promise_set_result(struct brood_future *future, const void *result, size_t size);

/* It has failed, with a negative errno and, if they are not NULL, with words for brood_future_error().  As above. */
BROOD_API int brood_promise_set_error(struct brood_future *future, int error, const char *words);

BROOD_END

#endif
