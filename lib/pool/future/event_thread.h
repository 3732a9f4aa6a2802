/* event_thread.h - inside the library: a host thread that waits in the pool for the program.
 *
 * It exists only if the program asked for it: for callbacks (`.callbacks = BROOD_CALLBACK_THREAD`) or by a descriptor
 * (brood_pool_fd(), brood_future_fd()).  It sleeps at its own parker, which every slot names from the beginning, and
 * collects finished jobs.  So the workers know nothing of descriptors, need none and can do no harm with one; a pool
 * without an event thread pays for all this with two branches per task.  In an inline pool there is no such thread: the
 * caller collects.
 */
#ifndef BROOD_POOL_CORE_EVENT_THREAD_H
#define BROOD_POOL_CORE_EVENT_THREAD_H

#include "pool/core/deferred.h"

/* From now on finished jobs are collected at once.  Returns 0 or a negative errno with a message.  Locked, as all that
 * follows. */
int brood__event_thread_start(struct brood_pool *pool);

/* Ends the thread, before the pool is closed.  Unlocks meanwhile. */
void brood__event_thread_stop(struct brood_pool *pool);

/* A callback was added: a sleeping thread that has to call it has not named its parker in the future's slot. */
void brood__call_awaited(struct brood_pool *pool);

/* A callback is due: wakes the thread that has to call it. */
void brood__event_thread_notify(struct brood_pool *pool);

/* A thread has stopped calling callbacks: other threads, which found it calling, may have gone to sleep, or have read
 * the descriptor. */
void brood__calls_left(struct brood_pool *pool);

/* A future is done: makes the pool's descriptor readable, if it is not yet. */
void brood__ready_fd_signal(struct brood_pool *pool);

void brood__ready_fd_close(struct brood_pool *pool);

/* Do waiting threads call callbacks?  Is there a callback that the calling thread could call? */
bool brood__callers_wait(const struct brood_pool *pool);
bool brood__calls_are_due(const struct brood_pool *pool);

/* Calls those callbacks, and returns their number.  Not locked meanwhile. */
int brood__call_due_now(struct brood_pool *pool);

static inline int brood__call_due(struct brood_pool *pool)
{
    return pool->callbacks.due.first ? brood__call_due_now(pool) : 0;
}

extern const struct deferred brood__deferred_calls;

#endif
