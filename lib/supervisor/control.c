#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/fence.h"
#include "os/role.h"
#include "proto/control_message.h"
#include "supervisor/control.h"
#include "supervisor/standby.h"
#include "supervisor/worker_table.h"

/* How long the supervisor waits for a worker to stop.  Deaths of other workers are handled after that. */
#define STOP_NS 2000000

static uint64_t slot_word(const struct supervisor *s, const struct control_message *message)
{
    const struct lane *lane = &s->shared->lanes[message->lane];

    return slot_look(&lane->slots[lane_index(lane, message->position)]);
}

/* Has the task been answered?  Another position means that the host has reused the slot, or that a worker has
 * overwritten it, which the host will detect. */
static bool task_is_over(const struct supervisor *s, const struct control_message *message)
{
    uint64_t word = slot_word(s, message);

    return word_position(word) != message->position || word_state(word) == SLOT_DONE || word_state(word) == SLOT_LOST;
}

static bool task_is_running(const struct supervisor *s, const struct control_message *message)
{
    uint64_t word = slot_word(s, message);

    return word_position(word) == message->position && word_state(word) == SLOT_RUN;
}

/* Does the worker itself say that it holds the task?  Any worker may have written the slot, so the slot counts only for
 * a worker that announces its claim of this task: it may have been stopped just after the claim. */
static bool worker_holds(const struct supervisor *s, unsigned worker, const struct control_message *message)
{
    const struct child *child = &s->worker_slots[worker].child;
    uint64_t ref = slot_ref(message->lane, message->position),
             claim = child->pidfd >= 0 ? hold_look(child->hold) : HOLD_NOTHING;

    return claim == ref ||
           (claim == (ref | HOLD_TRIES) && slot_word(s, message) == word_of(SLOT_RUN, worker, message->position));
}

/* A running worker might answer and begin another task between the check and the kill.  So the supervisor stops it
 * first, and kills it only if it holds the task while it is stopped.  A worker that does not stop in time is in the
 * kernel and stops before its next instruction, so what it has announced holds for it as well.  A dead worker is reaped
 * soon. */
static void holder_kill(struct supervisor *s, unsigned worker, const struct control_message *message)
{
    struct worker_slot *worker_slot = &s->worker_slots[worker];
    int r = brood__pidfd_stop(worker_slot->child.pidfd, brood__after_ns(STOP_NS));

    if (r < 0 && r != -ETIMEDOUT)
        return;
    worker_slot->is_killed = worker_holds(s, worker, message) && !task_is_over(s, message);
    worker_slot->killed = slot_ref(message->lane, message->position);
    (void)brood__pidfd_kill(worker_slot->child.pidfd, worker_slot->is_killed ? SIGKILL : SIGCONT);
}

/* Kills each worker that says that it holds the task.  If several do, all but one have written something false about
 * themselves. */
static bool holders_kill(struct supervisor *s, const struct control_message *message)
{
    bool any = false;

    for (unsigned i = 0; i < s->shared->workers; i++)
        if (worker_holds(s, i, message)) {
            holder_kill(s, i, message);
            any = true;
        }
    return any;
}

/* If the slot says that the task runs, but no worker says that it holds it, the supervisor looks again after a heavy
 * fence, which makes visible what a worker has announced before its claim.  If the second look finds the same, a worker
 * has falsified its entry; which one cannot be known, so the pool ends with all of them. */
static void task_kill(struct supervisor *s, const struct control_message *message)
{
    if (message->lane >= s->shared->workers || holders_kill(s, message) || !task_is_running(s, message))
        return;
    if (!brood__fence_heavy()) /* pairs with the worker's hold_try() before slot_claim() */
        return;
    if (holders_kill(s, message) || !task_is_running(s, message))
        return;
    brood__supervisor_break(
        s, brood_fail(-EPROTO, "a worker has written over its memory: a task runs, and no worker holds it"));
}

void brood__control_handle(struct supervisor *s)
{
    struct control_message message;

    brood__assert_supervisor();
    if (s->broken || recv(s->control, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC) != sizeof(message) ||
        message.magic != CONTROL_MAGIC)
        brood__supervisor_quit(s); /* the host has closed its end, or has exec'ed another program */
    if (message.kind == CONTROL_KILL || message.kind == CONTROL_LOOK) {
        if (message.kind == CONTROL_KILL)
            task_kill(s, &message);
        brood__workers_check(s); /* the socket may have had no room for a CONTROL_LOOK */
        return;
    }
    if (message.kind == CONTROL_END)
        brood__workers_signal(s, SIGTERM);
    s->stopping = true;
    brood__standbys_dismiss(s);
    s->kill_at = s->still_at = (brood_deadline){message.deadline_ns};
    (void)brood__poller_remove(s->poller, s->control);
}
