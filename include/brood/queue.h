/* brood/queue.h - a queue of messages of any size, for threads and for processes alike: first in first out, last in first
 * out, or by priority.
 *
 *     brood_auto(queue) *queue = NULL;
 *     r = brood_queue_open(&queue, BROOD_QUEUE(.bound = 100));
 *     ...                                                              // fork(), if it shall be used by processes
 *     r = brood_queue_put(queue, (struct brood_bytes){&job, sizeof(job)}, BROOD_FOREVER);
 *     ...
 *     struct brood_space space = {&job, sizeof(job)};
 *     r = brood_queue_get(queue, &space, brood_after_ms(100));         // space.len: how long it was
 *
 * Any number of threads and processes produce and consume; none of them registers.  Every later child can use a queue that
 * was opened before the fork; a child that exits or closes it leaves it to the others.  A queue holds no pointer, so
 * brood_queue_init() can also make one in the user's memory, which other processes map at other addresses.
 *
 * Death.  A user of a queue may be killed at any instruction, and the others go on within some 20 ms: a message that it had
 * begun to put never was in the queue, a message that it had begun to get goes to another consumer, and a message that it
 * had got and not finished is lost with it and counted, brood_queue_lost().  A message is finished when its consumer gets
 * the next one; in a queue that is .joinable, when its consumer calls brood_queue_task_done().
 *
 * Speed.  First in first out, messages that fit into .message_bytes: a compare-and-swap for a put and one for a get, no
 * lock, and no system call while no thread sleeps.  All else is under a lock (brood/lock.h) that is held for as long as it
 * takes to copy the message.
 *
 * Progress.  A participant that does not run, but is not dead, in the middle of a call makes others wait for it until their
 * deadlines: with BROOD_NOW for 40 ms at most, and not at all if it is stopped (SIGSTOP, a debugger).  Then they return
 * -EAGAIN or -ETIMEDOUT, and brood_error() says why.
 *
 * Trust.  All participants can write to all of the queue.  brood_queue_check() tells a queue from other memory; it is no
 * defence against a participant that means harm.
 */
#ifndef BROOD_QUEUE_H
#define BROOD_QUEUE_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_queue;

enum brood_queue_kind {
    BROOD_FIFO,    /* first in, first out */
    BROOD_LIFO,    /* last in, first out */
    BROOD_PRIORITY /* lowest priority first; among equals, first in, first out */
};

/* Threads that use one queue at the same time, in all processes together: from their first call, also while they do nothing
 * with it, until they end, their process closes the queue, or they use other queues with nothing of this one in flight. One
 * more thread waits until its deadline for one of these to leave; a program with more threads needs more queues. */
#define BROOD_QUEUE_USERS_MAX 256

/* Messages that one thread can have in flight: got, and not finished. */
#define BROOD_QUEUE_HAND_MAX 32766

/* Every zero means the default.  BROOD_QUEUE(...) fills in `size`. */
struct brood_queue_options {
    size_t size;                /* sizeof(struct brood_queue_options): lets the struct grow */
    enum brood_queue_kind kind; /* BROOD_FIFO */
    size_t bound;               /* so many messages at most; 0: no bound; in memory of the user's: 1024 */
    size_t message_bytes;       /* the usual length; longer ones are only slower.  0: 56 */
    /* For what does not fit into the ring of a FIFO queue, and for all of the others: address space, which is used as
     * needed.  0: 1 GiB; in memory of the user's: room for `bound` usual messages, and for a quarter as many longer ones.
     */
    size_t memory_bytes;
    bool joinable; /* messages are in flight until their consumer calls brood_queue_task_done() */
};

#ifndef __cplusplus
#define BROOD_QUEUE(...) (&(struct brood_queue_options){.size = sizeof(struct brood_queue_options), __VA_ARGS__})
#endif

/* ---- making ---- */

/* Makes a queue in memory that later children of this process share.  `options` is copied; NULL means all defaults.  0;
 * -EINVAL: bad options; -ENOMEM, -ENOSPC. */
BROOD_API BROOD_MUST_USE int brood_queue_open(struct brood_queue **ret_queue, const struct brood_queue_options *options);

/* This process does not use the queue any more; others may.  Its other threads are not in the middle of a call.  For a
 * queue in memory of the user's: before that memory is unmapped or used for something else.  NULL is fine.  Returns 0. */
BROOD_API int brood_queue_close(struct brood_queue *queue);

static inline void brood_queue_closep(struct brood_queue **queue)
{
    (void)brood_queue_close(*queue);
}

/* Bytes of memory for such a queue; 0 if those options make none. */
BROOD_API size_t brood_queue_bytes(const struct brood_queue_options *options);

/* Makes a queue in brood_queue_bytes(options) bytes of the user's, 64-byte aligned, before another thread uses it.  A
 * message for which there is no room finds the queue full; that is no error.  0 or -EINVAL. */
BROOD_API BROOD_MUST_USE int brood_queue_init(struct brood_queue *queue, const struct brood_queue_options *options);

/* Checks that this memory, of `bytes` bytes, is a queue: for a process that attaches to one that another has made.  0 or
 * -EINVAL. */
BROOD_API BROOD_MUST_USE int brood_queue_check(const struct brood_queue *queue, size_t bytes);

/* ---- messages ---- */

/* Copies a message in; of a priority queue, with priority 0.  0; -EAGAIN: full, and the deadline was BROOD_NOW, or more
 * than BROOD_QUEUE_USERS_MAX use it; -ETIMEDOUT: full until the deadline; -ESHUTDOWN; -ENOSPC, -ENOMEM: no memory for it;
 * -EINVAL: bytes at NULL.  A put that fails has done nothing.  Callers: any number. */
BROOD_API int brood_queue_put(struct brood_queue *queue, struct brood_bytes message, brood_deadline deadline);

/* The same with a priority, lowest first, which means nothing to the other kinds of queues. */
BROOD_API int brood_queue_put_priority(struct brood_queue *queue, struct brood_bytes message, int64_t priority,
                                       brood_deadline deadline);

/* Copies the next message out; space->len says how long it was.  0; -EAGAIN: empty, and the deadline was BROOD_NOW;
 * -ETIMEDOUT: empty until the deadline; -ESHUTDOWN: shut down, and nothing is left; -EMSGSIZE: there is less space than it
 * has bytes: it stays, and space->len says how many; -EOVERFLOW: this thread has BROOD_QUEUE_HAND_MAX messages in flight;
 * -EINVAL: bytes at NULL.  Callers: any number. */
BROOD_API int brood_queue_get(struct brood_queue *queue, struct brood_space *space, brood_deadline deadline);

/* Waits for the next message and says how many bytes it has; the message stays, so with other consumers it may be another
 * one that is got.  It counts as no get: what this thread has in flight stays so.  As brood_queue_get(), but never
 * -EMSGSIZE. */
BROOD_API BROOD_MUST_USE int brood_queue_next_size(struct brood_queue *queue, size_t *ret_size, brood_deadline deadline);

/* As many messages as can be put without waiting, but at least one; as brood_queue_put() for that one.  *ret_count, also
 * when it fails, is how many were put: fewer than `count` if the queue became full, or on an error. */
BROOD_API int brood_queue_put_many(struct brood_queue *queue, const struct brood_bytes *messages, size_t count,
                                   size_t *ret_count, brood_deadline deadline);

/* As many messages as are there, up to `count` and BROOD_QUEUE_HAND_MAX in flight, but at least one; as brood_queue_get()
 * for that one. */
BROOD_API int brood_queue_get_many(struct brood_queue *queue, struct brood_space *spaces, size_t count, size_t *ret_count,
                                   brood_deadline deadline);

/* ---- how full it is: each true of the moment; NULL is an empty queue without a bound ---- */

BROOD_API size_t brood_queue_size(const struct brood_queue *queue);
BROOD_API bool brood_queue_empty(const struct brood_queue *queue);
BROOD_API bool brood_queue_full(const struct brood_queue *queue); /* of a queue without a bound: false */
BROOD_API size_t brood_queue_bound(const struct brood_queue *queue);

/* From now on; with more in it already, it is full until fewer are left.  0: no bound.  Of two calls at the same time
 * either may be the last; a death in the call leaves the old bound or the new one.  Never blocks.  0 or -EINVAL. */
BROOD_API int brood_queue_set_bound(struct brood_queue *queue, size_t bound);

/* ---- unfinished messages ---- */

/* The number of messages that were put and are not finished.  A lost message is finished. */
BROOD_API size_t brood_queue_unfinished(const struct brood_queue *queue);

/* Finishes one message that this thread got.  A thread with nothing in flight stands in for one that got a message and has
 * ended, or closed the queue, without this call.  0; -EPERM: all unfinished messages are in the queue, or in flight in
 * other threads; -EOVERFLOW: called more often than messages were put; -EAGAIN: more than BROOD_QUEUE_USERS_MAX threads use
 * the queue, or, with nothing in flight, another participant has stood still in the middle of a call for a second. */
BROOD_API int brood_queue_task_done(struct brood_queue *queue);

/* Waits until nothing is unfinished.  0; -EOWNERDEAD: nothing is, but since the last join some messages were lost
 * with the processes that had got them; -EAGAIN, with BROOD_NOW; -ETIMEDOUT.  Callers: any number; one of them gets the
 * report of a loss. */
BROOD_API BROOD_MUST_USE int brood_queue_join(struct brood_queue *queue, brood_deadline deadline);

/* How many messages were lost with processes that had got them and died, ever.  ret_pid, if not NULL: the last of these
 * processes, or 0.  Looks for the dead first. */
BROOD_API size_t brood_queue_lost(struct brood_queue *queue, int *ret_pid);

/* ---- the end ---- */

/* No message can be put any more.  Consumers get what is left, and then -ESHUTDOWN; with `immediate` it is discarded and
 * finished.  Wakes all waiters.  May be called again, also with the other choice.  Returns 0. */
BROOD_API int brood_queue_shutdown(struct brood_queue *queue, bool immediate);
BROOD_API bool brood_queue_is_shut_down(const struct brood_queue *queue);

BROOD_END

#endif
