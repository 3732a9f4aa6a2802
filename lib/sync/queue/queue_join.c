/* queue_join.c - the calls that finish messages and wait until all are finished. */
#include <errno.h>

#include "os/clock.h"
#include "os/fence.h"
#include "os/identity.h"
#include "sync/queue/queue_account.h"
#include "sync/queue/queue_member.h"
#include "sync/queue/queue_reap.h"
#include "sync/queue/queue_transfer.h"
#include "sync/queue/queue_wait.h"

#define DONE_WAIT_NS 1000000000 /* of a task_done() without a message in flight, which has no deadline */

/* ---- task_done ---- */

/* The caller has no message in flight, and stands in for a thread that got one and has ended.  With the lock, since other
 * threads may be about to finish the same message.  A message that another thread has in flight only that thread can
 * finish: if the other one died later, the message would count twice, and a join would end too soon. */
static int queue_done_for_another(struct brood_queue *queue, unsigned owner)
{
    brood_deadline end = brood__after_ns(DONE_WAIT_NS);
    int r;

    while ((r = queue_store_lock(queue, end)) < 0)
        if (brood__is_past(end))
            return brood_fail(-EAGAIN, "another participant stands still in the middle of a call");
    if (brood_queue_unfinished(queue) == 0)
        r = brood_fail(-EOVERFLOW, "task_done was called more often than messages were put");
    else if (!brood__queue_has_stray(queue))
        r = brood_fail(-EPERM, "this thread has no unfinished message: the thread that got a message calls task_done");
    else
        brood__queue_finish(queue, owner);
    brood__queue_unlock(queue);
    queue_discard_rest(queue, owner, BROOD_NOW);
    return r;
}

int brood_queue_task_done(struct brood_queue *queue)
{
    int me = queue_me(queue, BROOD_NOW), r = 0;

    if (me < 0)
        return me;
    queue_gate_set(queue, QUEUE_JOINABLE);
    if (ring_load(&queue_owner(queue, (unsigned)me)->in_flight) == 0 || brood_queue_unfinished(queue) == 0)
        r = queue_done_for_another(queue, (unsigned)me);
    else
        brood__queue_finish(queue, (unsigned)me);
    if (r == 0)
        brood__queue_notify_joiners(queue);
    return r;
}

/* ---- join ---- */

/* Discards what is left after a shutdown, which could not discard it while another user was in the middle of a call.  A
 * joiner that had no owner number asks for one here: a reaped user may have left one. */
static void queue_join_discard(struct brood_queue *queue, brood_deadline deadline)
{
    int me;

    if (!(queue_gate(queue) & QUEUE_DISCARD) || brood_queue_size(queue) == 0)
        return;
    me = queue_me(queue, BROOD_NOW);
    if (me > 0)
        brood__queue_discard_rest(queue, (unsigned)me, deadline);
}

size_t brood_queue_lost(struct brood_queue *queue, int *ret_pid)
{
    if (ret_pid)
        *ret_pid = 0;
    if (!queue)
        return 0;
    brood__queue_reap_all(queue, BROOD_NOW);
    queue_join_discard(queue, BROOD_NOW);
    if (ret_pid)
        *ret_pid = brood__identity_number(ring_load(&queue->last_victim));
    return brood__queue_count_lost(queue);
}

/* Nothing is unfinished.  One join reports each message that was lost. */
static int queue_report_lost(struct brood_queue *queue)
{
    uint64_t lost = brood__queue_count_lost(queue), reported = ring_load(&queue->reported);

    if (lost <= reported || !ring_swap(&queue->reported, reported, lost))
        return 0;
    return brood_fail(-EOWNERDEAD,
                      "nothing is unfinished, but %llu messages were lost with the processes that had got them; process "
                      "%d was the last of these",
                      (unsigned long long)(lost - reported), brood__identity_number(ring_load(&queue->last_victim)));
}

static bool queue_all_is_done(struct brood_queue *queue, brood_deadline deadline)
{
    queue_join_discard(queue, deadline);
    return brood_queue_unfinished(queue) == 0;
}

int brood_queue_join(struct brood_queue *queue, brood_deadline deadline)
{
    struct slice slice = SLICE_FIRST;
    int me;

    if (!queue)
        return brood_fail(-EBADF, "the queue is NULL: not open yet, or closed");
    queue_gate_set(queue, QUEUE_JOINABLE);
    me = queue_me(queue, BROOD_NOW); /* also registers this process, so that heavy fences reach it */
    for (;;) {
        uint32_t seen = brood__parker_look(&queue->joiners);

        queue_gate_set(queue, QUEUE_JOINERS);
        (void)brood__fence_heavy(); /* pairs with the light fence in brood__queue_notify_joiners() */
        if (queue_all_is_done(queue, deadline))
            return queue_report_lost(queue);
        if (brood__is_past(deadline)) {
            (void)brood__queue_reap_some(queue, &slice, deadline);
            if (queue_all_is_done(queue, deadline))
                return queue_report_lost(queue);
            return brood_fail(too_late(deadline), "%zu messages are unfinished", brood_queue_unfinished(queue));
        }
        (void)brood__queue_sleep(queue, me > 0 ? (unsigned)me : 0, &queue->joiners, seen, &slice, deadline);
    }
}
