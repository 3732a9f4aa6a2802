#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/fence.h"
#include "os/oom.h"
#include "os/role.h"
#include "proto/range.h"
#include "supervisor/child.h"
#include "supervisor/reaper.h"
#include "worker/worker.h"

/* A worker that dies before it is ready this many times in a row breaks the pool: otherwise it would be restarted for
 * ever. */
#define STARTS_MAX 10

/* A worker that dies after it was ready is replaced at once, whether a task has caused the death or not.  The pool
 * breaks after this many deaths within this time, if no worker of the pool finishes a task meanwhile.  Options can
 * change both. */
#define DEATHS_MAX 1000
#define DEATHS_MS 10000

/* The item of a map that the worker was running.  It is read now, because the next worker of this number uses the same
 * range, and by pread(), because the dead worker may have written any offset and a load from an address without memory
 * would end this process.  If the item cannot be read it might be run again, although it may have had effects; so the
 * pool breaks instead. */
static uint64_t lost_item(struct supervisor *s, const struct slot *slot, unsigned worker)
{
    uint32_t number = range_number(worker, read_once(slot->arg_bytes));
    uint64_t at = read_once(slot->arg.offset) + offsetof(struct window, ranges) + number * sizeof(struct range) +
                  offsetof(struct range, item);
    uint64_t item;
    ssize_t r;

    if (at > INT64_MAX)
        return 0;
    do
        r = pread(s->shared->segment.fd, &item, sizeof(item), (off_t)at);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        brood__supervisor_break(
            s,
            brood_fail(-errno, "which item a worker died of cannot be read from the pool's memory: %s", strerror(errno)));
    return r == sizeof(item) ? item : 0;
}

/* The process that ends a worker records the cause; deriving it from the clock would call a death late that is only
 * noticed late.  A worker that was to be killed may have died of something else just before. */
static enum brood_cause death_cause(const struct worker_slot *worker_slot, struct brood__ending ending)
{
    if (worker_slot->is_killed && ending.signal == SIGKILL)
        return BROOD_KILLED;
    return worker_slot->limit;
}

/* The kernel counts its out-of-memory kills without naming the processes.  So a death with a known cause is never one of
 * them. */
static bool was_out_of_memory(struct supervisor *s, enum brood_cause cause, struct brood__ending ending)
{
    uint64_t before = s->oom_kills;

    if (ending.signal != SIGKILL)
        return false;
    s->oom_kills = brood__oom_kills();
    return cause == BROOD_DIED && s->oom_kills != before;
}

/* The certificate put aside for the worker, the one that the worker took itself, or any free one. */
static uint32_t certificate_find(struct supervisor *s, unsigned worker)
{
    uint32_t number = atomic_load_explicit(&s->shared->lanes[worker].worker_state->certificate, memory_order_relaxed);

    if (number == CERTIFICATE_NONE)
        number = brood__certificate_of(s->shared, worker);
    return number == CERTIFICATE_NONE ? brood__certificate_take(s->shared, worker) : number;
}

/* Completes the dead worker's certificate.  The slot's extension then passes it to the host. */
static uint32_t certificate_complete(struct supervisor *s, unsigned worker, enum brood_cause cause,
                                     struct brood__ending ending)
{
    struct worker_state *worker_state = s->shared->lanes[worker].worker_state;
    uint32_t number = certificate_find(s, worker);
    struct certificate *certificate = brood__certificate(s->shared, number);

    if (!certificate)
        return CERTIFICATE_NONE;
    certificate->user_us = ending.user_us;
    certificate->system_us = ending.system_us;
    certificate->peak_rss_kib = ending.peak_rss_kib;
    certificate->dumped_core = ending.dumped_core;
    certificate->out_of_memory = was_out_of_memory(s, cause, ending);
    brood__capture_copy_tail(s->worker_slots[worker].child.capture, certificate->output);
    atomic_store_explicit(&worker_state->certificate, CERTIFICATE_NONE, memory_order_relaxed);
    return number;
}

/* The task for which the worker was killed, if the worker has overwritten the slot, so that no other process would
 * settle it.  A slot that the host has cancelled, or settled and reused, is left alone. */
static struct slot *overwritten_slot(const struct supervisor *s, unsigned worker, unsigned *ret_lane,
                                     uint64_t *ret_position)
{
    const struct worker_slot *worker_slot = &s->worker_slots[worker];
    unsigned number = ref_lane(worker_slot->killed);
    const struct lane *lane = &s->shared->lanes[number];
    uint64_t position = ref_position(worker_slot->killed), word;
    struct slot *slot;

    if (!worker_slot->is_killed)
        return NULL;
    slot = &lane->slots[lane_index(lane, position)];
    word = slot_look(slot);
    if (word_position(word) != position || (word_state(word) != SLOT_RUN && word_state(word) != SLOT_READY))
        return NULL;
    *ret_lane = number;
    *ret_position = position;
    return slot;
}

/* Fails the one task that the dead worker held; false: it held none.  Runs after the supervisor has seen the death, so
 * the worker stores nothing any more. */
static bool task_mark_lost(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    unsigned lane;
    uint64_t position;
    struct slot *slot = brood__lane_held_by(s->shared->lanes, s->shared->workers, worker, &lane, &position);

    if (!slot)
        slot = overwritten_slot(s, worker, &lane, &position);
    if (!slot)
        return false;
    struct slot_extension *extension = &s->shared->lanes[lane].extensions[lane_index(&s->shared->lanes[lane], position)];
    enum brood_cause cause = death_cause(&s->worker_slots[worker], ending);

    extension->cause = (uint16_t)cause;
    extension->certificate = certificate_complete(s, worker, cause, ending);
    extension->pid = s->worker_slots[worker].child.pid;
    extension->signal = (uint8_t)ending.signal;
    extension->exit_code = (uint8_t)ending.exit_code;
    extension->item_lost = slot_kind(read_once(slot->kind)) == SLOT_MAP ? lost_item(s, slot, worker) : 0;
    slot_mark_lost(slot, position, worker);
    atomic_fetch_add_explicit(&s->shared->membership->lost_tasks, 1, memory_order_release);
    return true;
}

/* Logs a death that no future reports. */
static void log_idle_death(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    const struct worker_slot *worker_slot = &s->worker_slots[worker];

    brood__death_log_add(&s->shared->membership->idle_deaths,
                         &(struct death_entry){
                             .pid = worker_slot->child.pid,
                             .worker = (int32_t)worker,
                             .signal = ending.signal,
                             .exit_code = ending.exit_code,
                             .user_us = ending.user_us,
                             .system_us = ending.system_us,
                             .peak_rss_kib = ending.peak_rss_kib,
                             .dumped_core = ending.dumped_core,
                             .out_of_memory = was_out_of_memory(s, death_cause(worker_slot, ending), ending),
                         });
}

/* The reason why a worker never became ready. */
static int explain_start_failure(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    const char *program = s->options->worker ? s->options->worker : "(forked)";
    const struct worker_state *worker_state = s->shared->lanes[worker].worker_state;
    uint32_t number = atomic_load_explicit(&worker_state->certificate, memory_order_relaxed);
    const struct certificate *certificate = brood__certificate(s->shared, number);
    int error = atomic_load_explicit(&worker_state->error, memory_order_relaxed);

    if (error > 0 && error <= ERRNO_MAX)
        return brood_fail(-error, "cannot start worker '%s': %.*s", program, (int)sizeof(certificate->backtrace),
                          certificate && certificate->backtrace[0] ? certificate->backtrace : strerror(error));
    if (ending.signal)
        return brood_fail(-ECHILD, "worker '%s' was killed by signal %d before it was ready", program, ending.signal);
    if (ending.exit_code == WORKER_EXIT_PROTOCOL)
        return brood_fail(-EPROTO, "worker '%s' is built with another version of brood", program);
    return brood_fail(
        -ECHILD,
        "worker '%s' exited with status %d before it was ready: see what it wrote to stderr; its main() has to "
        "call brood_worker_main()",
        program, ending.exit_code);
}

/* Has any worker finished a task since the last call? */
static bool has_answered(const struct supervisor *s)
{
    return atomic_exchange_explicit(&s->shared->header->has_answered, 0, memory_order_relaxed) != 0;
}

/* Do workers die so often without a finished task that something must be killing them whatever they run? */
static bool dies_too_often(struct supervisor *s)
{
    int64_t now = brood__now_ns(),
            within_ns = (s->options->deaths_ms ? s->options->deaths_ms : DEATHS_MS) * INT64_C(1000000);
    int most = s->options->deaths_max ? s->options->deaths_max : DEATHS_MAX;

    if (has_answered(s) || now - s->deaths_since_ns > within_ns)
        s->deaths = 0;
    if (s->deaths++ == 0)
        s->deaths_since_ns = now;
    return most > 0 && s->deaths >= (unsigned)most;
}

static int explain_deaths(const struct supervisor *s, struct brood__ending ending)
{
    int64_t took_ms = (brood__now_ns() - s->deaths_since_ns) / 1000000;

    if (ending.signal)
        return brood_fail(-ECHILD, "%u workers died in %lld ms, without a task finished; the last one by signal %d (%s)",
                          s->deaths, (long long)took_ms, ending.signal, strsignal(ending.signal));
    return brood_fail(-ECHILD, "%u workers died in %lld ms, without a task finished; the last one exited with status %d",
                      s->deaths, (long long)took_ms, ending.exit_code);
}

/* Runs before the lost task is published: a host that has the certificate also finds the death in the statistics. */
void brood__count_death(struct supervisor *s)
{
    if (!s->stopping)
        atomic_fetch_add_explicit(&s->shared->membership->deaths, 1, memory_order_relaxed);
}

/* Completes what the dead worker would have done for others.  It may have been about to wake a worker, or to look again
 * into lanes whose bits it had cleared.  It may have been the watcher, or have been woken to help, in which case host
 * and workers have woken no other worker.  When the pool ends, the host wakes the sleepers, or they are killed. */
static void dead_worker_complete(struct supervisor *s, unsigned worker)
{
    struct worker_state *worker_state = s->shared->lanes[worker].worker_state;

    (void)brood__idle_leave(s->shared->header, worker);
    brood__watcher_leave(s->shared->header, worker);
    /* with a heavy fence, which pairs with the host's light one after publish */
    brood__unavailable_enter(s->shared->header, worker);
    brood__idle_wake_for(s->shared, worker_state);
    atomic_store_explicit(&worker_state->waking, 0, memory_order_relaxed);
    brood__waiting_repair(s->shared, worker_state,
                          atomic_load_explicit(&s->shared->membership->lanes, memory_order_acquire));
    if (!s->stopping)
        brood__pass_wake(s->shared, NULL);
}

void brood__reap_work(struct supervisor *s, unsigned worker, struct brood__ending ending, bool is_orderly)
{
    brood__assert_supervisor();
    brood__assert(worker < s->shared->workers && s->worker_slots[worker].child.pidfd < 0);
    /* deaths that a closing pool causes are expected */
    if (!s->stopping && !task_mark_lost(s, worker, ending) && !is_orderly)
        log_idle_death(s, worker, ending);
    dead_worker_complete(s, worker);
    /* The worker may have died after an answer and before the wake-up for it. */
    brood__wake_host(s->shared->header);
    if (atomic_exchange_explicit(&s->shared->membership->entries[worker], MEMBER_NONE, memory_order_acq_rel) != MEMBER_NONE)
        brood__present_add(s->shared->header, -1);
}

/* Is the worker dismissed or scaled down? */
static bool is_not_replaced(struct supervisor *s, unsigned worker, bool is_scaled_down)
{
    if (worker >= atomic_load_explicit(&s->shared->membership->wanted, memory_order_acquire))
        return true;
    return is_scaled_down && brood__scale_down(s->shared, worker);
}

void brood__reap(struct supervisor *s, unsigned worker)
{
    struct worker_slot *worker_slot = &s->worker_slots[worker];
    struct worker_state *worker_state = s->shared->lanes[worker].worker_state;

    /* the kernel forgets the timer with the process */
    brood__assert_supervisor();
    brood__assert(worker < s->shared->workers && worker_slot->child.pidfd >= 0);
    worker_slot->limit = brood__limit_fired(worker_state, worker_slot->child.pid);
    struct brood__ending ending = brood__child_reap(s, &worker_slot->child);
    enum worker_phase state = brood__worker_phase(worker_state);
    bool is_scaled_down = state == PHASE_SCALED_DOWN, has_left = is_scaled_down || state == PHASE_LEFT,
         was_ready = has_left || state == PHASE_READY;
    bool is_orderly = has_left && !ending.signal && !ending.exit_code; /* exit(0) in a task is a death, too */

    if (!is_orderly)
        brood__count_death(s);
    brood__reap_work(s, worker, ending, is_orderly);
    brood__capture_close(&s->captures, worker_slot->child.capture);
    if (s->stopping ||
        /* the host stores the state in the pool header before it sends the message */
        brood__header_state(s->shared->header) == HEADER_STOPPING)
        return;
    worker_slot->has_served |= was_ready;
    worker_slot->failures = was_ready ? 0 : worker_slot->failures + 1;
    if (is_not_replaced(s, worker, is_scaled_down))
        return;
    worker_slot->start_ns = brood__now_ns();
    if (!worker_slot->has_served || worker_slot->failures >= STARTS_MAX ||
        atomic_load_explicit(&worker_state->is_refused, memory_order_relaxed))
        brood__supervisor_break(s, explain_start_failure(s, worker, ending));
    else if (was_ready && !is_orderly && !worker_slot->is_killed && dies_too_often(s))
        brood__supervisor_break(s, explain_deaths(s, ending));
    else if (brood__header_state(s->shared->header) != HEADER_OPEN)
        worker_slot->start_ns += RESTART_NS_MAX; /* it would end at once: the host is about to report why */
    else if (worker_slot->failures > 0)
        worker_slot->start_ns += brood__restart_pause(worker_slot->failures);
}
