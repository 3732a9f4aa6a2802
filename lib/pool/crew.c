#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/process.h"
#include "pool/crew.h"
#include "pool/worker.h"

/* ---- being started ---- */

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
    brood__worker_give_up(s->shared, worker, errno, "");
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
    const struct brood_pool_options *options = s->options;
    const struct hooks hooks = {options->initializer, options->finalizer, options->context};
    char suffix[16];

    if (!brood__process_die_with(s->pid)) {
        if (getppid() == s->pid) /* it lives, and the request was refused */
            brood__worker_give_up(s->shared, worker, EPERM, "");
        _exit(0);
    }
    (void)setpgid(0, 0); /* so that one signal reaches what its tasks start, too */
    (void)snprintf(suffix, sizeof(suffix), "%u", worker);
    brood__process_set_name(s->shared->board->name, suffix);
    close_inherited(s);
    if (options->worker)
        exec_worker(s, worker);
    _exit(brood__worker_run(s->shared, worker, &s->sandbox, &hooks) < 0 ? 1 : 0);
}

/* ---- starting ---- */

/* It is our child, not reaped yet: the number is still its own.  It may have got as far as a task. */
static void take_back(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];

    if (member->pidfd >= 0)
        (void)close(member->pidfd);
    member->pidfd = -1;
    (void)kill(member->pid, SIGKILL);
    while (waitpid(member->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    brood__charge(s, worker, (struct brood__ending){.signal = SIGKILL});
    brood__away_enter(s->shared->board, worker);
    brood__idle_leave(s->shared->board, worker);
    brood__wake_host(s->shared->board);
}

static int watch(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    int r = member->pidfd = brood__pidfd_open(member->pid);

    if (r >= 0)
        r = brood__poller_add(s->poller, member->pidfd, worker);
    if (r < 0) {
        take_back(s, worker);
        return brood_fail(r, "cannot watch worker %u: pidfd_open: %s (see ulimit -n)", worker, strerror(-r));
    }
    s->alive++;
    return 0;
}

static int fork_worker(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    pid_t pid = fork();

    if (pid == 0)
        be_worker(s, worker);
    if (pid < 0)
        return brood_fail(-errno, "cannot start worker %u: fork: %s (see ulimit -u)", worker, strerror(errno));
    member->pid = pid;
    return watch(s, worker);
}

/* What the system lacks now it may have later; but a pool is not opened without. */
static void try_later(struct supervisor *s, struct member *member, int error)
{
    member->failures++;
    member->start_ns = brood__now_ns() + RESTART_NS;
    brood__crew_wake(s);
    if (!member->has_served)
        brood__supervisor_break(s, error);
}

void brood__crew_wake(struct supervisor *s)
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

void brood__crew_start(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    struct station *station = s->shared->lanes[worker].station;
    struct roll *roll = s->shared->roll;
    bool is_first = member->pid == 0;
    int r;

    member->start_ns = 0;
    member->is_killed = false;
    put_certificate_aside(s, station);
    atomic_store(&station->limit_end_ns, 0);
    atomic_store(&station->is_refused, 0);
    brood__station_set_state(station, STATION_STARTING);
    r = fork_worker(s, worker);
    if (r < 0) {
        try_later(s, member, r);
        return;
    }
    atomic_store(&roll->entries[worker], member->pid);
    atomic_fetch_add_explicit(&roll->starts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&roll->restarts, !is_first, memory_order_relaxed);
    brood__parker_wake(&s->shared->board->parkers[0]); /* the worker may have been ready before this was known */
}

void brood__crew_start_due(struct supervisor *s)
{
    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->members[i].start_ns != 0 && s->members[i].start_ns <= brood__now_ns())
            brood__crew_start(s, i);
}

/* ---- the end ---- */

void brood__crew_signal(struct supervisor *s, int signal)
{
    for (unsigned i = 0; i < s->shared->workers; i++)
        if (s->members[i].pidfd >= 0)
            (void)brood__pidfd_kill(s->members[i].pidfd, signal);
}

struct brood__ending brood__crew_reap(const struct member *member)
{
    (void)kill(-member->pid, SIGKILL);
    return brood__pidfd_reap(member->pidfd);
}
