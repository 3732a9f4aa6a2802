#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/futex.h"
#include "os/oom.h"
#include "os/process.h"
#include "pool/crew.h"

#define QUIT_MS 1000 /* for a killed worker that is stuck in the kernel */

#define TAG_HOST UINT64_MAX
#define TAG_CONTROL (UINT64_MAX - 1)
#define EVENTS 64

#define BUSY_NS 50000000

/* ---- the end ---- */

static void await_hand(struct supervisor *s, struct hand *hand)
{
    if (hand->pidfd >= 0 && brood__pidfd_wait(hand->pidfd, brood_after_ms(QUIT_MS)) == 0)
        (void)brood__hand_reap(s, hand);
}

/* Who was traced when it died has been left for its tracer, which may be gone by now. */
static _Noreturn void leave(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    _exit(0);
}

void brood__supervisor_quit(struct supervisor *s)
{
    brood__crew_signal(s, SIGKILL);
    for (unsigned i = 0; i < s->shared->workers; i++)
        await_hand(s, &s->members[i].hand);
    for (unsigned i = 0; i < s->spares_wanted; i++)
        await_hand(s, &s->spares[i].hand);
    leave();
}

void brood__supervisor_break(struct supervisor *s, int error)
{
    struct board *board = s->shared->board;

    if (s->stopping)
        return;
    (void)snprintf(board->reason, sizeof(board->reason), "%s", brood_error());
    atomic_store(&board->error, error);
    brood__board_set_state(board, BOARD_BROKEN);
    s->stopping = s->broken = true;
    s->kill_at = BROOD_NOW;
    brood__crew_signal(s, SIGKILL);
    brood__wake_host(board);
}

/* ---- the loop ---- */

static void handle(struct supervisor *s, uint64_t tag)
{
    if (tag == TAG_HOST)
        brood__supervisor_quit(s);
    else if (tag == TAG_CONTROL)
        brood__obey(s);
    else if (tag >= TAG_SINK)
        brood__voices_hand_on(s, (unsigned)(tag - TAG_SINK));
    else if (tag >= TAG_VOICE)
        brood__voices_hear(s, tag);
    else if (tag >= TAG_SPARE)
        brood__spare_bury(s, (unsigned)(tag - TAG_SPARE));
    else if (s->members[tag].hand.pidfd >= 0)
        brood__bury(s, (unsigned)tag);
}

static brood_deadline next_deadline(const struct supervisor *s)
{
    int64_t next = brood__spare_due(s);

    if (s->stopping)
        next = s->alive > 0 || s->broken ? s->kill_at.ns : s->still_at.ns;

    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->members[i].start_ns != 0 && s->members[i].start_ns < next)
            next = s->members[i].start_ns;
    return (brood_deadline){next};
}

static bool is_over(const struct supervisor *s)
{
    return s->stopping && s->alive == 0 && !s->broken && (brood__voices_are_still(s) || brood__is_past(s->still_at));
}

/* While nobody waits for anything, unless there is always something. */
static void start_spare(struct supervisor *s, bool is_idle)
{
    int64_t due = brood__spare_due(s);

    if (due != INT64_MAX && due + (is_idle ? 0 : BUSY_NS) <= brood__now_ns())
        brood__spare_start(s);
}

static void run(struct supervisor *s)
{
    struct brood__poller_event events[EVENTS];

    while (!is_over(s)) {
        int count = brood__poller_wait(s->poller, events, EVENTS, next_deadline(s));

        if (count < 0) {
            brood__supervisor_break(s, brood_fail(count, "the supervisor cannot wait: %s", strerror(-count)));
            brood__supervisor_quit(s);
        }
        for (int i = 0; i < count; i++)
            handle(s, events[i].tag);
        if (s->stopping && brood__is_past(s->kill_at)) {
            brood__crew_signal(s, SIGKILL);
            s->kill_at = BROOD_FOREVER;
        }
        brood__crew_start_due(s);
        start_spare(s, count == 0);
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
    __fpurge(stdout); /* what the host could not write before it forked is the host's to write */
    __fpurge(stderr);
    brood__process_set_name(board->name, "sup");
    if (!s->options->inherit_fds)
        brood__process_close_all_but((int[]){s->control, s->shared->segment.fd, s->shared->spill.fd}, 3);
    brood__process_empty_stdin();
    brood__roll_keep(s->shared->roll);
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
    struct supervisor s = {.shared = shared, .options = options, .pid = getpid(), .control = control, .fork_ns = INT64_MAX};
    unsigned workers = shared->workers;
    int r = settle_in(&s, host);

    s.members = calloc(workers, sizeof(*s.members));
    if (r == 0 && !s.members)
        r = brood_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; s.members && i < workers; i++)
        s.members[i].hand.pidfd = -1;
    if (r == 0)
        r = brood__sandbox_prepare(&s.sandbox, options->sandbox);
    if (r == 0)
        r = brood__voices_open(&s);
    if (r == 0)
        r = open_poller(&s);
    if (r < 0) {
        atomic_store(&shared->board->error, r);
        (void)snprintf(shared->board->reason, sizeof(shared->board->reason), "%s", brood_error());
        brood__board_set_state(shared->board, BOARD_BROKEN);
        brood__wake_host(shared->board);
        _exit(1);
    }
    for (unsigned i = 0; i < atomic_load(&shared->roll->wanted) && !s.stopping; i++)
        if (atomic_load(&shared->roll->entries[i]) != ROLL_RESTS)
            brood__crew_start(&s, i);
    brood__spares_open(&s);
    atomic_store(&shared->board->watched, !s.stopping);
    brood__parker_wake(&shared->board->parkers[0]);
    run(&s);
    leave();
}
