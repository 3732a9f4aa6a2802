#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/futex.h"
#include "os/memory_group.h"
#include "os/oom.h"
#include "os/owned.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "supervisor/child.h"
#include "supervisor/control.h"
#include "supervisor/reaper.h"
#include "supervisor/standby.h"
#include "supervisor/supervisor.h"
#include "supervisor/worker_table.h"

#define TAG_HOST UINT64_MAX
#define TAG_CONTROL (UINT64_MAX - 1)
#define EVENTS 64

#define BUSY_NS 50000000

/* ---- the loop ---- */

static void host_check(struct supervisor *s)
{
    if (brood__pidfd_has_ended(s->host))
        brood__supervisor_quit(s);
}

static void event_handle(struct supervisor *s, uint64_t tag)
{
    if (tag == TAG_HOST)
        host_check(s);
    else if (tag == TAG_CONTROL)
        brood__control_handle(s);
    else if (tag >= TAG_OUTPUT)
        brood__captures_forward(&s->captures, (unsigned)(tag - TAG_OUTPUT));
    else if (tag >= TAG_CAPTURE)
        brood__captures_read(&s->captures, tag);
    else if (tag >= TAG_STANDBY)
        brood__standby_reap(s, (unsigned)(tag - TAG_STANDBY));
    else if (s->worker_slots[tag].child.pidfd >= 0 && brood__pidfd_has_ended(s->worker_slots[tag].child.pidfd))
        brood__reap(s, (unsigned)tag);
}

static brood_deadline next_deadline(const struct supervisor *s)
{
    int64_t next = brood__standby_due(s);

    if (s->stopping)
        next = s->alive > 0 || s->broken ? s->kill_at.ns : s->still_at.ns;

    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->worker_slots[i].start_ns != 0 && s->worker_slots[i].start_ns < next)
            next = s->worker_slots[i].start_ns;
    return (brood_deadline){next};
}

static bool supervisor_is_over(const struct supervisor *s)
{
    return s->stopping && s->alive == 0 && !s->broken &&
           (brood__captures_are_flushed(&s->captures) || brood__is_past(s->still_at));
}

/* Starts a standby when there is nothing else to do, or when it has been due for BUSY_NS. */
static void standby_start_if_due(struct supervisor *s, bool is_idle)
{
    int64_t due = brood__standby_due(s);

    if (due != INT64_MAX && due + (is_idle ? 0 : BUSY_NS) <= brood__now_ns())
        brood__standby_start(s);
}

static void supervisor_run(struct supervisor *s)
{
    struct brood__poller_event events[EVENTS];

    while (!supervisor_is_over(s)) {
        int count = brood__poller_wait(s->poller, events, EVENTS, next_deadline(s));

        if (count < 0) {
            brood__supervisor_break(s, brood_fail(count, "the supervisor cannot wait: %s", strerror(-count)));
            brood__supervisor_quit(s);
        }
        for (int i = 0; i < count; i++)
            event_handle(s, events[i].tag);
        if (s->stopping && brood__is_past(s->kill_at)) {
            brood__workers_signal(s, SIGKILL);
            s->kill_at = BROOD_FOREVER;
        }
        brood__workers_start_due(s);
        standby_start_if_due(s, count == 0);
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

/* Makes this process independent of the host's: signals, streams, descriptors, memory. */
static int supervisor_detach(struct supervisor *s, pid_t host)
{
    struct header *header = s->shared->header;
    int own[] = {s->control, s->shared->segment.fd, s->shared->large.fd};
    bool is_marked;

    brood__process_reset_signals();
    s->term = signal(SIGTERM, SIG_IGN); /* a service manager may send it: the host then drains the pool, or dies */
    __fpurge(stdout);                   /* the host itself writes what its streams held at the fork */
    __fpurge(stderr);
    brood__process_set_name(header->name, "sup");
    if (s->options->inherit_fds)
        brood__owned_close_all_but(own, 3); /* descriptors of the program's other pools must not reach workers */
    else
        brood__process_close_all_but(own, 3);
    brood__process_empty_stdin();
    brood__process_fill_output(); /* the workers keep descriptors 0 to 2: none of the supervisor's may be one of them */
    brood__membership_keep(s->shared->membership);
    brood__lanes_assume_committed(s->shared);
    (void)setpgid(0, 0); /* Ctrl-C and Ctrl-Z are for the host only */
    s->oom_kills = brood__oom_kills();
    s->host = brood__pidfd_watch(host);
    if (getppid() != host)
        _exit(0);
    if (s->host < 0)
        return brood_fail(s->host, "cannot watch the host: pidfd_open: %s", strerror(-s->host));
    is_marked = brood__futex_die_with_me(&header->life) == 0; /* before the store: readers of the word rely on the mark */
    atomic_store_explicit(&header->life, brood__life_word(is_marked), memory_order_release);
    return 0;
}

void brood__supervise(struct shared *shared, const struct brood_pool_options *options, pid_t host, int control)
{
    struct supervisor s = {.shared = shared, .options = options, .pid = getpid(), .control = control, .fork_ns = INT64_MAX};
    unsigned workers = shared->workers;
    int r;

    brood__role = ROLE_SUPERVISOR;
    brood__assert(host > 0 && control >= 0 && shared->membership);
    r = supervisor_detach(&s, host);
    s.worker_slots = calloc(workers, sizeof(*s.worker_slots));
    if (r == 0 && !s.worker_slots)
        r = brood_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; s.worker_slots && i < workers; i++)
        s.worker_slots[i].child.pidfd = -1;
    if (r == 0)
        r = brood__sandbox_prepare(&s.sandbox, options->sandbox, host);
    if (s.sandbox.memory_bytes > 0)
        s.memory_groups = brood__memory_groups_directory();
    s.is_dumpable = prctl(PR_GET_DUMPABLE) > 0;
    if (r == 0 && s.sandbox.flags)
        r = brood__process_become_undumpable();
    if (r == 0)
        r = open_poller(&s);
    if (r == 0)
        r = brood__captures_open(&s.captures, options, shared, s.poller);
    if (r < 0) {
        atomic_store_explicit(&shared->header->error, r, memory_order_relaxed);
        (void)snprintf(shared->header->reason, sizeof(shared->header->reason), "%s", brood_error());
        brood__header_set_state(shared->header, HEADER_BROKEN);
        brood__wake_host(shared->header);
        _exit(1);
    }
    for (unsigned i = 0; i < atomic_load_explicit(&shared->membership->wanted, memory_order_acquire) && !s.stopping; i++)
        if (atomic_load_explicit(&shared->membership->entries[i], memory_order_acquire) != MEMBER_SCALED_DOWN)
            brood__worker_start(&s, i);
    brood__standbys_open(&s);
    atomic_store_explicit(&shared->header->watched, !s.stopping, memory_order_release);
    brood__parker_wake(&shared->header->parkers[0]);
    supervisor_run(&s);
    brood__supervisor_leave();
}
