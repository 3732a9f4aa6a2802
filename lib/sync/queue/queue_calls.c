/* queue_calls.c - the public calls that put and get messages, and shutdown. */
#include <errno.h>

#include "os/fence.h"
#include "sync/queue/queue_member.h"
#include "sync/queue/queue_reap.h"
#include "sync/queue/queue_transfer.h"
#include "sync/queue/queue_wait.h"
#include "sync/queue/queue_wake.h"

static inline bool queue_is_message(struct brood_bytes message)
{
    return message.ptr || message.len == 0;
}

static inline bool queue_is_space(const struct brood_space *space)
{
    return space && (space->ptr || space->len == 0);
}

static __attribute__((noinline, cold)) int queue_no_message(size_t length)
{
    return brood_fail(-EINVAL, "a message of %zu bytes cannot be at NULL", length);
}

static __attribute__((noinline, cold)) int queue_no_space(const struct brood_space *space)
{
    if (!space)
        return brood_fail(-EINVAL, "a get needs space for the message: it was given NULL");
    return brood_fail(-EINVAL, "%zu bytes of space cannot be at NULL", space->len);
}

/* ---- put ---- */

int brood_queue_put_priority(struct brood_queue *queue, struct brood_bytes message, int64_t priority,
                             brood_deadline deadline)
{
    int me = queue_me(queue, deadline), r;

    if (__builtin_expect(me < 0, 0))
        return me;
    if (__builtin_expect(!queue_is_message(message), 0))
        return queue_no_message(message.len);
    r = queue_try_put(queue, (unsigned)me, message, priority, deadline);
    if (__builtin_expect(r != 0, 0)) {
        struct queue_op op = {queue, (unsigned)me, message, priority, NULL, deadline};

        r = brood__queue_wait_for(&op, r);
        if (r < 0)
            return r;
    }
    queue_notify_getters(queue, 1);
    queue_discard_rest(queue, (unsigned)me, deadline);
    return 0;
}

int brood_queue_put(struct brood_queue *queue, struct brood_bytes message, brood_deadline deadline)
{
    return brood_queue_put_priority(queue, message, 0, deadline);
}

int brood_queue_put_many(struct brood_queue *queue, const struct brood_bytes *messages, size_t count, size_t *ret_count,
                         brood_deadline deadline)
{
    int me = queue_me(queue, deadline);
    size_t i = 1;
    int r;

    *ret_count = 0;
    if (me < 0 || count == 0)
        return me < 0 ? me : 0;
    if (!messages)
        return brood_fail(-EINVAL, "%zu messages cannot be at NULL", count);
    for (size_t n = 0; n < count; n++)
        if (!queue_is_message(messages[n]))
            return queue_no_message(messages[n].len);
    r = brood_queue_put(queue, messages[0], deadline);
    if (r < 0)
        return r;
    while (i < count && queue_try_put(queue, (unsigned)me, messages[i], 0, deadline) == 0)
        i++;
    *ret_count = i;
    queue_notify_getters(queue, i);
    queue_discard_rest(queue, (unsigned)me, deadline);
    return 0;
}

/* ---- get ---- */

static __attribute__((noinline, cold)) int queue_in_flight_overflow(void)
{
    return brood_fail(-EOVERFLOW, "this thread has %d unfinished messages: call brood_queue_task_done() for each",
                      BROOD_QUEUE_HAND_MAX);
}

static inline int queue_get_one(struct brood_queue *queue, unsigned me, struct brood_space *space, brood_deadline deadline)
{
    int r;

    queue_in_flight_finish(queue, me);
    if (__builtin_expect(queue_in_flight_is_full(queue, me), 0))
        return queue_in_flight_overflow();
    r = queue_try_get(queue, me, space, deadline);
    if (__builtin_expect(r != 0, 0)) {
        struct queue_op op = {.queue = queue, .me = me, .space = space, .deadline = deadline};

        r = brood__queue_wait_for(&op, r);
    }
    return r;
}

int brood_queue_get(struct brood_queue *queue, struct brood_space *space, brood_deadline deadline)
{
    int me = queue_me(queue, deadline), r;

    if (__builtin_expect(me < 0, 0))
        return me;
    if (__builtin_expect(!queue_is_space(space), 0))
        return queue_no_space(space);
    r = queue_get_one(queue, (unsigned)me, space, deadline);
    if (r == 0)
        queue_notify_putters(queue, 1);
    return r;
}

const char brood__queue_peek;

/* A notifier may have woken another thread for this message, or this one in its place: the wait passes the wake-up on. */
int brood_queue_next_size(struct brood_queue *queue, size_t *ret_size, brood_deadline deadline)
{
    struct brood_space nowhere = {(void *)(uintptr_t)&brood__queue_peek, 0};
    int me = queue_me(queue, deadline), r;

    if (me < 0)
        return me;
    r = queue_try_get(queue, (unsigned)me, &nowhere, deadline);
    if (r != -EMSGSIZE) {
        struct queue_op op = {.queue = queue, .me = (unsigned)me, .space = &nowhere, .deadline = deadline};

        r = brood__queue_wait_for(&op, r);
    }
    if (r != -EMSGSIZE)
        return r;
    *ret_size = nowhere.len;
    return 0;
}

int brood_queue_get_many(struct brood_queue *queue, struct brood_space *spaces, size_t count, size_t *ret_count,
                         brood_deadline deadline)
{
    int me = queue_me(queue, deadline);
    size_t i = 1;
    int r;

    *ret_count = 0;
    if (me < 0 || count == 0)
        return me < 0 ? me : 0;
    if (!spaces)
        return queue_no_space(NULL);
    for (size_t n = 0; n < count; n++)
        if (!queue_is_space(&spaces[n]))
            return queue_no_space(&spaces[n]);
    r = queue_get_one(queue, (unsigned)me, &spaces[0], deadline);
    if (r < 0)
        return r;
    while (i < count && !queue_in_flight_is_full(queue, (unsigned)me) &&
           queue_try_get(queue, (unsigned)me, &spaces[i], deadline) == 0)
        i++;
    *ret_count = i;
    queue_notify_putters(queue, i);
    return 0;
}

/* ---- shutdown ---- */

int brood_queue_shutdown(struct brood_queue *queue, bool immediate)
{
    int me = queue_me(queue, BROOD_NOW);

    if (!queue)
        return me;
    queue_gate_set(queue, immediate ? QUEUE_SHUT | QUEUE_DISCARD : QUEUE_SHUT);
    /* Pairs with the light fence of queue_notify_getters() in a put: that put sees the gate, or this call its message. */
    (void)brood__fence_heavy();
    if (immediate && me > 0) {
        brood__queue_reap_all(queue, BROOD_NOW); /* no message can be taken past one that a dead user was putting */
        queue_discard_rest(queue, (unsigned)me, BROOD_NOW);
    }
    brood__queue_wake_all(queue);
    return 0;
}

bool brood_queue_is_shut_down(const struct brood_queue *queue)
{
    return queue && (queue_gate(queue) & QUEUE_SHUT) != 0;
}
