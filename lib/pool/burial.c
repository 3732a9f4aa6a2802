#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/fence.h"
#include "os/oom.h"
#include "pool/crew.h"
#include "pool/worker.h"
#include "shm/range.h"

/* A worker that keeps dying before it is ready would be started for ever: after so many times in a row the pool is broken.
 */
#define STARTS_MAX 10

/* One that is ready and dies, whether of a task or not, is replaced at once: the pool is broken after so many in so long,
 * if none of the pool's workers finishes a task meanwhile, unless the options say otherwise. */
#define DEATHS_MAX 1000
#define DEATHS_MS 10000

/* The item of a map that it was running.  Now, since the next worker of this number will use the same range.  By pread():
 * the dead may have written any offset, and to touch memory that is not there would be this process's end.  What is not
 * known to have been lost would be run again, though it may have had effects: rather no pool than that. */
static uint64_t item_of(struct supervisor *s, const struct slot *slot, unsigned worker)
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

/* However it ended: behind its limit it had been told to.  A fault before that says so itself: brood__limit_excuse(). */
static enum brood_cause cause_of(const struct member *member, const struct station *station)
{
    int64_t end = atomic_load(&station->limit_end_ns);

    if (member->is_killed)
        return BROOD_KILLED;
    return end != 0 && brood__now_ns() >= end ? BROOD_TIMED_OUT : BROOD_DIED;
}

static bool was_out_of_memory(struct supervisor *s, struct brood__ending ending)
{
    uint64_t before = s->oom_kills;

    if (ending.signal != SIGKILL)
        return false;
    s->oom_kills = brood__oom_kills();
    return s->oom_kills != before;
}

/* The one put aside for it, the one that it took, or any. */
static uint32_t certificate_of(struct supervisor *s, unsigned worker)
{
    uint32_t number = atomic_load(&s->shared->lanes[worker].station->certificate);

    if (number == CERTIFICATE_NONE)
        number = brood__certificate_of(s->shared, worker);
    return number == CERTIFICATE_NONE ? brood__certificate_take(s->shared) : number;
}

/* Hands the dead worker's certificate over to the host, by the note. */
static uint32_t certify(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    struct station *station = s->shared->lanes[worker].station;
    uint32_t number = certificate_of(s, worker);
    struct certificate *certificate = brood__certificate(s->shared, number);

    if (!certificate)
        return CERTIFICATE_NONE;
    certificate->user_us = ending.user_us;
    certificate->system_us = ending.system_us;
    certificate->peak_rss_kib = ending.peak_rss_kib;
    certificate->dumped_core = ending.dumped_core;
    certificate->out_of_memory = was_out_of_memory(s, ending);
    brood__voice_testify(s->members[worker].hand.voice, certificate->output);
    atomic_store(&station->certificate, CERTIFICATE_NONE);
    return number;
}

/* The one task that the dead worker held fails.  Behind the fence: that it is dead has been seen, so it stores nothing any
 * more. */
static void charge(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    unsigned lane;
    uint64_t position;
    struct slot *slot = brood__lane_held_by(s->shared->lanes, s->shared->workers, worker, &lane, &position);

    if (!slot)
        return;
    struct note *note = &s->shared->lanes[lane].notes[lane_index(&s->shared->lanes[lane], position)];

    struct station *station = s->shared->lanes[worker].station;

    note->cause = cause_of(&s->members[worker], station);
    note->certificate = certify(s, worker, ending);
    note->pid = s->members[worker].hand.pid;
    note->signal = ending.signal;
    note->exit_code = ending.exit_code;
    note->item_lost = slot_kind(read_once(slot->kind)) == SLOT_MAP ? item_of(s, slot, worker) : 0;
    slot_lose(slot, position, worker);
    atomic_fetch_add_explicit(&s->shared->roll->losses, 1, memory_order_release);
}

/* Why a worker was never ready. */
static int explain(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    const char *program = s->options->worker ? s->options->worker : "(forked)";
    const struct station *station = s->shared->lanes[worker].station;
    const struct certificate *certificate = brood__certificate(s->shared, atomic_load(&station->certificate));
    int error = atomic_load(&station->error);

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

/* Has anybody finished a task since this was asked before? */
static bool has_answered(const struct supervisor *s)
{
    bool any = false;

    for (unsigned i = 0; i < s->shared->workers; i++)
        any |= atomic_exchange(&s->shared->lanes[i].station->has_answered, 0) != 0;
    return any;
}

/* Something kills the workers whatever they do, and there is no end of it. */
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

void brood__bury_work(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    if (!s->stopping) /* what a closing pool kills is no accident */
        charge(s, worker, ending);
    brood__away_enter(s->shared->board, worker);
    (void)brood__idle_leave(s->shared->board, worker);
    brood__lookout_leave(s->shared->board, worker);
    /* It may have been the lookout, for whom others sleep, or about to wake somebody: they look for themselves. */
    brood__wake_workers(s->shared);
    /* It may have died between an answer and the wake-up for it. */
    brood__wake_host(s->shared->board);
    if (atomic_exchange(&s->shared->roll->entries[worker], ROLL_NOBODY) != ROLL_NOBODY)
        brood__present_add(s->shared->board, -1);
}

/* It has been sent away, or rests.  The host, which looks at the roll after it has published a task, may have looked before
 * it said so; then that task is seen here. */
static bool is_not_replaced(struct supervisor *s, unsigned worker, bool rests)
{
    struct roll *roll = s->shared->roll;

    if (worker >= atomic_load(&roll->wanted)) {
        brood__crew_wake(s);
        return true;
    }
    if (!rests)
        return false;
    brood__roll_rest(roll, worker);
    (void)brood__fence_heavy();
    return !brood__any_waiting(s->shared) || !brood__roll_call(roll, worker);
}

void brood__bury(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    struct station *station = s->shared->lanes[worker].station;
    struct brood__ending ending = brood__hand_reap(s, &member->hand);
    bool rests = brood__station_state(station) == STATION_RESTING;
    bool was_ready = rests || brood__station_state(station) == STATION_READY,
         is_orderly = !ending.signal && !ending.exit_code;

    brood__bury_work(s, worker, ending);
    brood__voice_close(s, member->hand.voice);
    if (s->stopping || brood__board_state(s->shared->board) == BOARD_STOPPING) /* on the board first, then in a message */
        return;
    atomic_fetch_add_explicit(&s->shared->roll->deaths, !is_orderly, memory_order_relaxed);
    member->has_served |= was_ready;
    member->failures = was_ready ? 0 : member->failures + 1;
    if (is_not_replaced(s, worker, rests))
        return;
    member->start_ns = brood__now_ns();
    if (!member->has_served || member->failures >= STARTS_MAX || atomic_load(&station->is_refused))
        brood__supervisor_break(s, explain(s, worker, ending));
    else if (was_ready && !is_orderly && !member->is_killed && dies_too_often(s))
        brood__supervisor_break(s, explain_deaths(s, ending));
    else if (brood__board_state(s->shared->board) != BOARD_OPEN)
        member->start_ns += RESTART_NS_MAX; /* it would end at once: the host is about to say why */
    else if (member->failures > 0) {
        member->start_ns += brood__crew_pause(member->failures);
        brood__crew_wake(s);
    }
}
