#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/futex.h"
#include "os/oom.h"
#include "os/pidfd.h"
#include "os/poller.h"
#include "os/process.h"
#include "pool/supervisor.h"
#include "pool/worker.h"
#include "shm/range.h"

/* A worker that keeps dying before it is ready would be started for ever: after so many times in a row the pool is broken.
 */
#define STARTS_MAX 10
#define RESTART_NS 10000000 /* … and this long after the first failure, doubling up to a second */
#define RESTART_NS_MAX 1000000000

#define QUIT_MS 1000 /* for a killed worker that is stuck in the kernel */

#define TAG_HOST UINT64_MAX
#define TAG_CONTROL (UINT64_MAX - 1)
#define EVENTS 64

struct member {
    int pidfd; /* -1: not running */
    pid_t pid;
    bool has_served; /* some worker of this number has been ready */
    bool is_killed;  /* on the host's order */
    unsigned failures;
    int64_t start_ns; /* when to start the next one; 0: now is not the time */
};

struct supervisor {
    struct shared *shared;
    const struct brood_pool_options *options;
    struct brood__poller *poller;
    pid_t pid;
    int host, control;
    struct sandbox sandbox; /* of the workers */
    struct member *members;
    unsigned alive;
    uint64_t oom_kills; /* that were known at the last death */
    bool stopping, broken;
    brood_deadline kill_at;
};

/* ---- the end ---- */

static void kill_all(struct supervisor *s)
{
    for (unsigned i = 0; i < s->shared->workers; i++)
        if (s->members[i].pidfd >= 0)
            (void)brood__pidfd_kill(s->members[i].pidfd, SIGKILL);
}

/* With what its tasks have started: the number is its own, and its group's, until it is reaped. */
static struct brood__ending reap(const struct member *member)
{
    (void)kill(-member->pid, SIGKILL);
    return brood__pidfd_reap(member->pidfd);
}

/* Nobody is left to serve: the workers must not outlive it, and nothing else has to be put in order. */
static void quit(struct supervisor *s)
{
    kill_all(s);
    for (unsigned i = 0; i < s->shared->workers; i++)
        if (s->members[i].pidfd >= 0)
            if (brood__pidfd_wait(s->members[i].pidfd, brood_after_ms(QUIT_MS)) == 0)
                (void)reap(&s->members[i]);
    _exit(0);
}

/* The pool cannot go on.  The host is told why; its other calls fail, and its close ends this process. */
static void break_pool(struct supervisor *s, int error)
{
    struct board *board = s->shared->board;

    if (s->stopping)
        return;
    (void)snprintf(board->reason, sizeof(board->reason), "%s", brood_error());
    atomic_store(&board->error, error);
    brood__board_set_state(board, BOARD_BROKEN);
    s->stopping = s->broken = true;
    s->kill_at = BROOD_NOW;
    kill_all(s);
    brood__wake_host(board);
}

/* ---- starting a worker ---- */

/* What an exec'ed worker has to know. */
static int tell(const struct supervisor *s, unsigned worker)
{
    char value[32 + SANDBOX_TEXT];
    int length = snprintf(value, sizeof(value), "%d:%u", s->shared->segment.fd, worker);

    if (s->sandbox.flags) {
        value[length++] = ':';
        if (brood__sandbox_write(&s->sandbox, value + length) < 0)
            return -1;
    }
    return setenv(WORKER_ENVIRONMENT, value, 1);
}

static void exec_worker(struct supervisor *s, unsigned worker)
{
    const struct brood_pool_options *options = s->options;
    struct station *station = s->shared->lanes[worker].station;
    size_t count = 0;

    while (options->worker_args && options->worker_args[count])
        count++;
    const char **argv = calloc(count + 2, sizeof(*argv));

    if (argv && tell(s, worker) == 0 && fcntl(s->shared->segment.fd, F_SETFD, 0) == 0) {
        argv[0] = options->worker;
        for (size_t i = 0; i < count; i++)
            argv[i + 1] = options->worker_args[i];
        (void)execvp(options->worker, (char *const *)(uintptr_t)argv);
    }
    brood__worker_give_up(station, errno);
    _exit(127);
}

static void close_inherited(struct supervisor *s)
{
    bool needs_segment = s->options->worker != NULL; /* the others have it mapped, and could only do harm with it */

    brood__poller_close(s->poller);
    if (!s->options->inherit_fds) {
        brood__process_close_all_but((int[]){needs_segment ? s->shared->segment.fd : -1, s->sandbox.rules}, 2);
        if (!needs_segment)
            s->shared->segment.fd = -1;
        return;
    }
    if (!needs_segment) {
        (void)close(s->shared->segment.fd);
        s->shared->segment.fd = -1;
    }
    (void)close(s->host);
    (void)close(s->control);
    for (unsigned i = 0; i < s->shared->workers; i++)
        if (s->members[i].pidfd >= 0)
            (void)close(s->members[i].pidfd);
}

static void be_worker(struct supervisor *s, unsigned worker)
{
    struct station *station = s->shared->lanes[worker].station;
    char suffix[16];

    if (!brood__process_die_with(s->pid)) {
        if (getppid() == s->pid) /* it lives, and the request was refused */
            brood__worker_give_up(station, EPERM);
        _exit(0);
    }
    (void)setpgid(0, 0); /* so that one signal reaches what its tasks start, too */
    (void)snprintf(suffix, sizeof(suffix), "%u", worker);
    brood__process_set_name(s->shared->board->name, suffix);
    close_inherited(s);
    if (s->options->worker)
        exec_worker(s, worker);
    _exit(brood__worker_run(s->shared, worker, &s->sandbox) < 0 ? 1 : 0);
}

static int watch(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];

    member->pidfd = brood__pidfd_open(member->pid);
    if (member->pidfd < 0)
        return brood_fail(member->pidfd, "cannot watch worker %u: pidfd_open: %s", worker, strerror(-member->pidfd));
    s->alive++;
    return brood__poller_add(s->poller, member->pidfd, worker);
}

/* They take over what waits in the lane of one that is not replaced at once. */
static void wake_others(struct supervisor *s)
{
    for (unsigned i = 0; i < s->shared->workers && brood__idle_wake_any(s->shared); i++)
        ;
}

/* A place for what the worker may have to say of its end. */
static void put_certificate_aside(struct supervisor *s, struct station *station)
{
    brood__certificate_free(s->shared, atomic_load(&station->certificate));
    atomic_store(&station->certificate, brood__certificate_take(s->shared));
}

static void start_worker(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    struct station *station = s->shared->lanes[worker].station;
    pid_t pid;
    int r;

    member->start_ns = 0;
    member->is_killed = false;
    put_certificate_aside(s, station);
    atomic_store(&station->limit_end_ns, 0);
    brood__station_set_state(station, STATION_STARTING);
    pid = fork();
    if (pid == 0)
        be_worker(s, worker);
    if (pid < 0) {
        r = -errno;
        member->failures++;
        member->start_ns = brood__now_ns() + RESTART_NS;
        wake_others(s);
        if (!member->has_served)
            break_pool(s, brood_fail(r, "cannot start worker %u: fork: %s (see ulimit -u)", worker, strerror(-r)));
        return;
    }
    member->pid = pid;
    atomic_store(&s->shared->pids[worker], pid);
    brood__parker_wake(&s->shared->board->parkers[0]); /* the worker may have been ready before this was known */
    r = watch(s, worker);
    if (r < 0)
        break_pool(s, r);
}

static void start_due(struct supervisor *s)
{
    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->members[i].start_ns != 0 && s->members[i].start_ns <= brood__now_ns())
            start_worker(s, i);
}

/* ---- a worker's death ---- */

/* The item of a map that it was running.  Now, since the next worker of this number will use the same range.  By pread():
 * the dead may have written any offset, and to touch memory that is not there would be this process's end. */
static uint64_t item_of(const struct supervisor *s, const struct slot *slot, unsigned worker)
{
    uint64_t at = read_once(slot->arg.offset) + offsetof(struct window, ranges) + worker * sizeof(struct range) +
                  offsetof(struct range, item);
    uint64_t item;

    return at <= INT64_MAX && pread(s->shared->segment.fd, &item, sizeof(item), (off_t)at) == sizeof(item) ? item : 0;
}

static enum brood_cause cause_of(const struct member *member, const struct station *station, struct brood__ending ending)
{
    int64_t end = atomic_load(&station->limit_end_ns);

    if (member->is_killed)
        return BROOD_KILLED;
    if ((ending.signal == SIGKILL || ending.signal == SIGTERM) && end != 0 && brood__now_ns() >= end)
        return BROOD_TIMED_OUT;
    return BROOD_DIED;
}

static bool was_out_of_memory(struct supervisor *s, struct brood__ending ending)
{
    uint64_t before = s->oom_kills;

    if (ending.signal != SIGKILL)
        return false;
    s->oom_kills = brood__oom_kills();
    return s->oom_kills != before;
}

/* Hands the dead worker's certificate over to the host, by the note. */
static uint32_t certify(struct supervisor *s, struct station *station, struct brood__ending ending)
{
    uint32_t number = atomic_load(&station->certificate);
    struct certificate *certificate = brood__certificate(s->shared, number);

    if (!certificate)
        return CERTIFICATE_NONE;
    certificate->user_us = ending.user_us;
    certificate->system_us = ending.system_us;
    certificate->peak_rss_kib = ending.peak_rss_kib;
    certificate->dumped_core = ending.dumped_core;
    certificate->out_of_memory = was_out_of_memory(s, ending);
    atomic_store(&station->certificate, CERTIFICATE_NONE);
    return number;
}

/* The one task that it held fails.  Behind the fence: a readable pidfd has been seen, so it stores nothing any more. */
static void charge(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    unsigned lane;
    uint64_t position;
    struct slot *slot = brood__lane_held_by(s->shared->lanes, s->shared->workers, worker, &lane, &position);

    if (!slot)
        return;
    struct note *note = &s->shared->lanes[lane].notes[lane_index(&s->shared->lanes[lane], position)];

    struct station *station = s->shared->lanes[worker].station;

    note->cause = cause_of(&s->members[worker], station, ending);
    note->certificate = certify(s, station, ending);
    note->pid = s->members[worker].pid;
    note->signal = ending.signal;
    note->exit_code = ending.exit_code;
    note->item_lost = (read_once(slot->kind) & ~SLOT_LIMITED) == SLOT_MAP ? item_of(s, slot, worker) : 0;
    slot_lose(slot, position, worker);
}

/* Why a worker was never ready. */
static int explain(struct supervisor *s, unsigned worker, struct brood__ending ending)
{
    const char *program = s->options->worker ? s->options->worker : "(forked)";
    int error = atomic_load(&s->shared->lanes[worker].station->error);

    if (error > 0 && error <= ERRNO_MAX)
        return brood_fail(-error, "cannot start worker '%s': %s", program, strerror(error));
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

static int64_t pause_after(unsigned failures)
{
    int64_t ns = (int64_t)RESTART_NS << (failures - 1);

    return ns < RESTART_NS_MAX ? ns : RESTART_NS_MAX;
}

static void bury(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    struct station *station = s->shared->lanes[worker].station;
    struct brood__ending ending = reap(member);
    bool was_ready = brood__station_state(station) == STATION_READY;

    if (!s->stopping) /* what a closing pool kills is no accident */
        charge(s, worker, ending);
    brood__away_enter(s->shared->board, worker);
    brood__idle_leave(s->shared->board, worker);
    /* It may have died between an answer and the wake-up for it. */
    brood__wake_host(s->shared->board);
    (void)brood__poller_remove(s->poller, member->pidfd);
    (void)close(member->pidfd);
    member->pidfd = -1;
    s->alive--;
    atomic_store(&s->shared->pids[worker], 0);
    if (s->stopping || brood__board_state(s->shared->board) == BOARD_STOPPING) /* on the board first, then in a message */
        return;
    member->has_served |= was_ready;
    member->failures = was_ready ? 0 : member->failures + 1;
    if (!member->has_served || member->failures >= STARTS_MAX)
        break_pool(s, explain(s, worker, ending));
    else if (brood__board_state(s->shared->board) != BOARD_OPEN)
        member->start_ns = brood__now_ns() + RESTART_NS_MAX; /* it would end at once: the host is about to say why */
    else if (member->failures == 0)
        start_worker(s, worker);
    else {
        member->start_ns = brood__now_ns() + pause_after(member->failures);
        wake_others(s);
    }
}

/* ---- the loop ---- */

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
 * with the task in its hands. */
static void kill_holder(struct supervisor *s, const struct order *order)
{
    int worker = order->lane < s->shared->workers ? holder_of(s, order) : -1;
    struct member *member = worker >= 0 ? &s->members[worker] : NULL;

    if (!member || member->pidfd < 0 || brood__pidfd_stop(member->pidfd) < 0)
        return;
    member->is_killed = holder_of(s, order) == worker;
    (void)brood__pidfd_kill(member->pidfd, member->is_killed ? SIGKILL : SIGCONT);
}

static void obey(struct supervisor *s)
{
    struct order order;

    if (s->broken || recv(s->control, &order, sizeof(order), MSG_DONTWAIT | MSG_TRUNC) != sizeof(order) ||
        order.magic != ORDER_MAGIC)
        quit(s); /* the host has closed its end, or exec'ed another program */
    if (order.kind == ORDER_KILL) {
        kill_holder(s, &order);
        return;
    }
    s->stopping = true;
    s->kill_at = (brood_deadline){order.deadline_ns};
    (void)brood__poller_remove(s->poller, s->control);
}

static void handle(struct supervisor *s, uint64_t tag)
{
    if (tag == TAG_HOST)
        quit(s);
    else if (tag == TAG_CONTROL)
        obey(s);
    else if (s->members[tag].pidfd >= 0)
        bury(s, (unsigned)tag);
}

static brood_deadline next_deadline(const struct supervisor *s)
{
    int64_t next = s->stopping && s->alive > 0 ? s->kill_at.ns : INT64_MAX;

    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->members[i].start_ns != 0 && s->members[i].start_ns < next)
            next = s->members[i].start_ns;
    return (brood_deadline){next};
}

static bool is_over(const struct supervisor *s)
{
    return s->stopping && s->alive == 0 && !s->broken;
}

static void run(struct supervisor *s)
{
    struct brood__poller_event events[EVENTS];

    while (!is_over(s)) {
        int count = brood__poller_wait(s->poller, events, EVENTS, next_deadline(s));

        if (count < 0) {
            break_pool(s, brood_fail(count, "the supervisor cannot wait: %s", strerror(-count)));
            quit(s);
        }
        for (int i = 0; i < count; i++)
            handle(s, events[i].tag);
        if (s->stopping && brood__is_past(s->kill_at)) {
            kill_all(s);
            s->kill_at = BROOD_FOREVER;
        }
        start_due(s);
    }
}

static int open_poller(struct supervisor *s)
{
    int r = brood__poller_open(&s->poller);

    if (r == 0)
        r = brood__poller_add(s->poller, s->host, TAG_HOST);
    if (r == 0)
        r = brood__poller_add(s->poller, s->control, TAG_CONTROL);
    return r;
}

/* Like a freshly exec'ed program, and alone. */
static int settle_in(struct supervisor *s, pid_t host)
{
    struct board *board = s->shared->board;
    int r;

    brood__process_reset_signals();
    brood__process_set_name(board->name, "sup");
    if (!s->options->inherit_fds)
        brood__process_close_all_but((int[]){s->control, s->shared->segment.fd}, 2);
    brood__process_empty_stdin();
    brood__pids_keep(s->shared);
    (void)setpgid(0, 0); /* Ctrl-C and Ctrl-Z are for the host */
    s->oom_kills = brood__oom_kills();
    s->host = brood__pidfd_open(host);
    if (getppid() != host)
        _exit(0);
    if (s->host < 0)
        return brood_fail(s->host, "cannot watch the host: pidfd_open: %s", strerror(-s->host));
    r = brood__futex_die_with_me(&board->life); /* first: who reads the word relies on it */
    atomic_store(&board->life, brood__life_word());
    return r < 0 ? brood_fail(r, "set_robust_list: %s", strerror(-r)) : 0;
}

void brood__supervise(struct shared *shared, const struct brood_pool_options *options, pid_t host, int control)
{
    struct supervisor s = {.shared = shared, .options = options, .pid = getpid(), .control = control};
    unsigned workers = shared->workers;
    int r = settle_in(&s, host);

    s.members = calloc(workers, sizeof(*s.members));
    if (r == 0 && !s.members)
        r = brood_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; s.members && i < workers; i++)
        s.members[i].pidfd = -1;
    if (r == 0)
        r = brood__sandbox_prepare(&s.sandbox, options->sandbox);
    if (r == 0)
        r = open_poller(&s);
    if (r < 0) {
        atomic_store(&shared->board->error, r);
        (void)snprintf(shared->board->reason, sizeof(shared->board->reason), "%s", brood_error());
        brood__board_set_state(shared->board, BOARD_BROKEN);
        brood__wake_host(shared->board);
        _exit(1);
    }
    for (unsigned i = 0; i < workers && !s.stopping; i++)
        start_worker(&s, i);
    atomic_store(&shared->board->watched, !s.stopping);
    brood__parker_wake(&shared->board->parkers[0]);
    run(&s);
    _exit(0);
}
