/* brood/base.h - what every brood header shares: deadlines, errors, byte ranges, scope exit.
 *
 * Errors.  A function that can fail returns an int: 0 or more is success, a negative errno is failure.  brood_error() then
 * has the reason in words, for the calling thread.  Results go to `ret_...` parameters, which are touched on success only.
 *
 * Deadlines.  A function that can block takes an absolute deadline as its last parameter.  Deadlines compose: a function
 * that makes three calls passes the same deadline to each.  A wait that ends at its deadline without success returns
 * -ETIMEDOUT, and with BROOD_NOW -EAGAIN, everywhere.  (brood_pool_close() is no such wait: with BROOD_NOW it succeeds in
 * closing, and -ETIMEDOUT says that work was dropped.)
 *
 * Cancellation.  No function of brood is a cancellation point, waits included: a thread that pthread_cancel() asks to end
 * while it is in one ends at the next cancellation point after it, and holds nothing.  What brood calls for you in the same
 * thread (callbacks, sources, predicates, actions, tasks of BROOD_INLINE and BROOD_THREADS pools) runs with cancellation
 * disabled; leave it so.  So does what runs in a forked process.  The functions of threads and timers may be cancelled.  A
 * thread with PTHREAD_CANCEL_ASYNCHRONOUS calls no function of brood.
 *
 * Leaving.  All of these functions return.  To leave one by longjmp(), by pthread_exit() or, in C++, by an exception is
 * forbidden: it would skip the rest of the call that it is in, and what that has in hand (a pool, a queue, a log) would
 * stay taken for ever.  After a callback of a pool was left so, no other callback of that pool runs, and closing the pool
 * is -EDEADLK in the same thread and waits without end in another.  In C++, declare such a function noexcept.  Only the
 * function of a thread or timer may end by brood_thread_exit() or pthread_exit().
 */
#ifndef BROOD_BASE_H
#define BROOD_BASE_H

#include <stddef.h>
#include <stdint.h>

#define BROOD_VERSION_MAJOR 0
#define BROOD_VERSION_MINOR 1
#define BROOD_VERSION_PATCH 0

#ifdef __cplusplus
#define BROOD_BEGIN extern "C" {
#define BROOD_END }
#else
#define BROOD_BEGIN
#define BROOD_END
#endif

#define BROOD_API __attribute__((visibility("default")))
#define BROOD_MUST_USE __attribute__((warn_unused_result))

BROOD_BEGIN

/* A point in time: nanoseconds on CLOCK_MONOTONIC.  A type of its own, so that a duration cannot be passed by mistake. */
typedef struct {
    int64_t ns;
} brood_deadline;

/* BROOD_NOW: try, do not wait.  BROOD_FOREVER: no time limit. */
#ifdef __cplusplus
#define BROOD_NOW (brood_deadline{0})
#define BROOD_FOREVER (brood_deadline{INT64_MAX})
#else
#define BROOD_NOW ((brood_deadline){0})
#define BROOD_FOREVER ((brood_deadline){INT64_MAX})
#endif

/* The point `ms` milliseconds from now.  Zero or less is BROOD_NOW; what would overflow is BROOD_FOREVER.
 * Callers: any thread, also a signal handler. */
BROOD_API brood_deadline brood_after_ms(int64_t ms);

/* Bytes to be read, and room for bytes to be written: both borrowed from the caller for the time of the call. */
struct brood_bytes {
    const void *ptr;
    size_t len;
};

struct brood_space {
    void *ptr;
    size_t len; /* in: how many bytes fit.  Out: how many were written. */
};

/* Why the last brood call that failed in this thread failed, in words: what was wrong and what to do.  Never NULL; "" when
 * none has failed.  The text belongs to the thread and changes with its next failure. */
BROOD_API const char *brood_error(void);

/* Records the reason in words and returns `error`, a negative errno.  Inside a task,
 *     return brood_fail(-EDOM, "x is %g, must be positive", arg->x);
 * sends the words to brood_future_error() of the host, at most 127 bytes of them. */
BROOD_API int brood_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "0.1.0": the version of the library that is linked, which may be newer than BROOD_VERSION_* of these headers. */
BROOD_API const char *brood_version(void);

/* `brood_auto(pool) *pool = NULL;` declares a pointer that is closed or freed when it goes out of scope. */
#define brood_auto(noun) __attribute__((cleanup(brood_##noun##_closep))) struct brood_##noun

BROOD_END

#endif
