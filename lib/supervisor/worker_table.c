#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/role.h"
#include "supervisor/child.h"
#include "supervisor/reaper.h"
#include "supervisor/standby.h"
#include "supervisor/worker_table.h"

#define QUIT_MS 1000 /* how long to wait for a killed worker that is stuck in the kernel */

/* Puts a certificate aside, for the worker to record why it dies. */
static void certificate_prepare(struct supervisor *s, struct worker_state *worker_state, unsigned worker)
{
    uint32_t number = atomic_load_explicit(&worker_state->certificate, memory_order_relaxed);

    if (number == CERTIFICATE_NONE &&
        s->worker_slots[worker].was_started) /* it had none; it may have taken one and lived */
        number = brood__certificate_of(s->shared, worker);
    brood__certificate_free(s->shared, number);
    atomic_store_explicit(&worker_state->certificate, brood__certificate_take(s->shared, worker), memory_order_relaxed);
}

static void start_failed(struct supervisor *s, unsigned worker, int error)
{
    struct worker_slot *worker_slot = &s->worker_slots[worker];

    worker_slot->failures++;
    worker_slot->start_ns = brood__now_ns() + RESTART_NS;
    if (!worker_slot->has_served)
        brood__supervisor_break(s, error);
}

void brood__worker_start(struct supervisor *s, unsigned worker)
{
    struct worker_slot *worker_slot = &s->worker_slots[worker];
    struct worker_state *worker_state = s->shared->lanes[worker].worker_state;
    struct membership *membership = s->shared->membership;
    bool is_restart = worker_slot->was_started;
    int r;

    brood__assert_supervisor();
    brood__assert(worker < s->shared->workers && worker_slot->child.pidfd < 0 && !s->stopping);
    worker_slot->start_ns = 0;
    worker_slot->is_killed = false;
    worker_slot->limit = BROOD_DIED;
    certificate_prepare(s, worker_state, worker);
    atomic_store_explicit(&worker_state->is_limited, 0, memory_order_relaxed);
    atomic_store_explicit(&worker_state->has_overrun, 0, memory_order_relaxed);
    atomic_store_explicit(&worker_state->is_refused, 0, memory_order_relaxed);
    brood__worker_set_phase(worker_state, PHASE_STARTING);
    if (brood__standby_take(s, worker, &worker_slot->child))
        r = 0;
    else
        r = brood__child_start(s, &worker_slot->child, worker, -1, worker);
    if (r < 0) {
        if (worker_slot->child.pid > 0) { /* it may have begun a task already */
            brood__count_death(s);
            brood__reap_work(s, worker, (struct brood__ending){.signal = SIGKILL}, false);
        }
        start_failed(s, worker, r);
        return;
    }
    worker_slot->was_started = true;
    brood__present_add(s->shared->header, 1);
    atomic_store_explicit(&membership->entries[worker], worker_slot->child.pid, memory_order_release);
    atomic_fetch_add_explicit(&membership->restarts, is_restart, memory_order_relaxed);
    brood__parker_wake(&s->shared->header->parkers[0]); /* the worker may have been ready before its entry was written */
}

void brood__workers_check(struct supervisor *s)
{
    struct membership *membership = s->shared->membership;
    unsigned wanted = atomic_load_explicit(&membership->wanted, memory_order_acquire);

    brood__assert_supervisor();
    for (unsigned i = 0; i < s->shared->workers; i++) {
        struct worker_slot *worker_slot = &s->worker_slots[i];

        if (i >= wanted)
            worker_slot->start_ns = 0;
        else if (worker_slot->child.pidfd < 0 && worker_slot->start_ns == 0 &&
                 atomic_load_explicit(&membership->entries[i], memory_order_acquire) != MEMBER_SCALED_DOWN) {
            worker_slot->start_ns = brood__now_ns();
            worker_slot->has_served = true; /* the pool is open: a resource that is missing now may be available later */
        }
    }
}

void brood__workers_start_due(struct supervisor *s)
{
    brood__assert_supervisor();
    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->worker_slots[i].start_ns != 0 && s->worker_slots[i].start_ns <= brood__now_ns()) {
            brood__worker_start(s, i);
            return;
        }
}

/* ---- ending ---- */

static void child_await(struct supervisor *s, struct child *child)
{
    if (child->pidfd >= 0 && brood__pidfd_wait(child->pidfd, brood_after_ms(QUIT_MS)) == 0)
        (void)brood__child_reap(s, child);
}

/* Reaps what is left: a worker that was traced when it died and whose tracer is gone by now, and processes that workers
 * have started with CLONE_PARENT. */
void brood__supervisor_leave(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    _exit(0);
}

void brood__supervisor_quit(struct supervisor *s)
{
    brood__assert_supervisor();
    brood__workers_signal(s, SIGKILL);
    for (unsigned i = 0; i < s->shared->workers; i++)
        child_await(s, &s->worker_slots[i].child);
    for (unsigned i = 0; i < s->standbys_wanted; i++)
        child_await(s, &s->standbys[i].child);
    brood__supervisor_leave();
}
