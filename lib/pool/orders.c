#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "os/clock.h"
#include "pool/crew.h"

/* So long it waits for a worker to stand still.  The other workers' deaths wait, too. */
#define STOP_NS 2000000

/* Who holds that task now, or -1. */
static int holder_of(const struct supervisor *s, const struct order *order)
{
    const struct lane *lane = &s->shared->lanes[order->lane];
    uint64_t word = slot_look(&lane->slots[lane_index(lane, order->position)]);

    if (word_state(word) != SLOT_RUN || word_position(word) != order->position || word_worker(word) >= s->shared->workers)
        return -1;
    return (int)word_worker(word);
}

/* The worker might answer and begin another task meanwhile.  So it is stopped first, and killed only if it stands still
 * with the task in its hands.  One that does not stop is in the kernel, and will not get to its next instruction before it
 * does: what its slot says holds for it as well. */
static void kill_holder(struct supervisor *s, const struct order *order)
{
    int worker = order->lane < s->shared->workers ? holder_of(s, order) : -1;
    struct member *member = worker >= 0 ? &s->members[worker] : NULL;

    int r = member && member->hand.pidfd >= 0 ? brood__pidfd_stop(member->hand.pidfd, brood__after_ns(STOP_NS)) : -ESRCH;

    if (r < 0 && r != -ETIMEDOUT)
        return;
    member->is_killed = holder_of(s, order) == worker;
    (void)brood__pidfd_kill(member->hand.pidfd, member->is_killed ? SIGKILL : SIGCONT);
}

void brood__obey(struct supervisor *s)
{
    struct order order;

    if (s->broken || recv(s->control, &order, sizeof(order), MSG_DONTWAIT | MSG_TRUNC) != sizeof(order) ||
        order.magic != ORDER_MAGIC)
        brood__supervisor_quit(s); /* the host has closed its end, or exec'ed another program */
    if (order.kind == ORDER_KILL || order.kind == ORDER_LOOK) {
        if (order.kind == ORDER_KILL)
            kill_holder(s, &order);
        brood__crew_look(s); /* an order to look may have found no room behind others */
        return;
    }
    if (order.kind == ORDER_END)
        brood__crew_signal(s, SIGTERM);
    s->stopping = true;
    brood__spares_dismiss(s);
    s->kill_at = s->still_at = (brood_deadline){order.deadline_ns};
    (void)brood__poller_remove(s->poller, s->control);
}
