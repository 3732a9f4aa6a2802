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
#include "os/goodbye.h"
#include "os/process.h"
#include "pool/crew.h"
#include "pool/worker.h"

/* ---- being started ---- */

/* -1 is none, and fine. */
static bool outlives_exec(int fd)
{
    return fd < 0 || fcntl(fd, F_SETFD, 0) == 0;
}

/* What an exec'ed worker has to know, and the descriptors that it needs. */
static int tell(const struct supervisor *s, unsigned worker, int orders)
{
    char value[48 + SANDBOX_TEXT];
    int segment = s->shared->segment.fd, spill = s->shared->spill.fd;
    int length = orders < 0 ? snprintf(value, sizeof(value), "%d:%d:%u", segment, spill, worker)
                            : snprintf(value, sizeof(value), "%d:%d:s%d", segment, spill, orders);

    if (s->sandbox.flags) {
        value[length++] = ':';
        if (brood__sandbox_write(&s->sandbox, value + length) < 0)
            return -1;
    }
    if (!outlives_exec(segment) || !outlives_exec(spill) || !outlives_exec(orders))
        return -1;
    return setenv(WORKER_ENVIRONMENT, value, 1);
}

/* A spare has nobody to say it to yet: it is tried again later. */
static void give_up(struct supervisor *s, unsigned worker, int error)
{
    if (worker < s->shared->workers)
        brood__worker_give_up(s->shared, worker, error, "");
}

static void exec_worker(struct supervisor *s, unsigned worker, int orders)
{
    const struct brood_pool_options *options = s->options;
    size_t count = 0;

    while (options->worker_args && options->worker_args[count])
        count++;
    const char **argv = calloc(count + 2, sizeof(*argv));

    if (argv && tell(s, worker, orders) == 0) {
        argv[0] = options->worker;
        for (size_t i = 0; i < count; i++)
            argv[i + 1] = options->worker_args[i];
        (void)execvp(options->worker, (char *const *)(uintptr_t)argv);
    }
    give_up(s, worker, errno);
    _exit(127);
}

static void close_hand(const struct hand *hand)
{
    if (hand->pidfd >= 0)
        (void)close(hand->pidfd);
}

static void close_inherited(struct supervisor *s, int orders)
{
    bool needs_segment = s->options->worker != NULL; /* the others have it mapped, and could only do harm with it */

    brood__poller_close(s->poller);
    if (!s->options->inherit_fds) {
        int segment = needs_segment ? s->shared->segment.fd : -1;

        brood__process_close_all_but((int[]){segment, s->shared->spill.fd, s->sandbox.rules, orders}, 4);
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
        close_hand(&s->members[i].hand);
    brood__voices_forget(s);
    for (unsigned i = 0; i < s->spares_wanted; i++) {
        close_hand(&s->spares[i].hand);
        if (s->spares[i].hand.pidfd >= 0)
            (void)close(s->spares[i].orders);
    }
}

/* The first exit handler of a worker, so that exit() in a task calls it last: what the host has registered is about the
 * host's files and children, and what it had not written to its streams is the host's to write.  The descriptor behind may
 * by now be a file of the task's. */
static void last_handler(int status, void *context)
{
    (void)context;
    (void)fflush(stdout);
    (void)fflush(stderr);
    brood__goodbye();
    _exit(status & 0xff);
}

static _Noreturn void end(int r)
{
    brood__goodbye();
    _exit(r < 0 ? 1 : 0);
}

static void be_worker(struct supervisor *s, const struct voice *voice, unsigned worker, int orders)
{
    const struct brood_pool_options *options = s->options;
    const struct hooks hooks = {options->initializer, options->finalizer, options->context};
    char suffix[16] = "spare";

    if (!brood__process_die_with(s->pid)) {
        if (getppid() == s->pid) /* it lives, and the request was refused */
            give_up(s, worker, EPERM);
        _exit(0);
    }
    (void)setpgid(0, 0); /* so that one signal reaches what its tasks start, too */
    if (orders < 0)
        (void)snprintf(suffix, sizeof(suffix), "%u", worker);
    brood__process_set_name(s->shared->board->name, suffix);
    brood__voice_take_on(s, voice);
    close_inherited(s, orders);
    if (options->worker)
        exec_worker(s, worker, orders);
    (void)on_exit(last_handler, NULL);
    end(brood__worker_run(s->shared, worker, orders, &s->sandbox, &hooks));
}

/* ---- starting ---- */

static pid_t fork_timed(struct supervisor *s)
{
    int64_t began = brood__now_ns(), took;
    pid_t pid = fork();

    took = brood__now_ns() - began;
    if (pid > 0 && took < s->fork_ns)
        s->fork_ns = took;
    return pid;
}

static int watch(struct supervisor *s, struct hand *hand, uint64_t tag)
{
    int r = hand->pidfd = brood__pidfd_open(hand->pid);

    if (r >= 0)
        r = brood__poller_add(s->poller, hand->pidfd, tag);
    if (r == 0)
        r = brood__voice_listen(s, hand->voice);
    return r < 0 ? brood_fail(r, "cannot watch a worker: pidfd_open: %s (see ulimit -n)", strerror(-r)) : 0;
}

/* Nobody would see its death.  It is our child, not reaped yet: the number is its own. */
static void end_unwatched(struct supervisor *s, struct hand *hand)
{
    (void)kill(-hand->pid, SIGKILL);
    (void)kill(hand->pid, SIGKILL);
    while (waitpid(hand->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (hand->pidfd >= 0)
        (void)brood__poller_remove(s->poller, hand->pidfd);
    close_hand(hand);
    hand->pidfd = -1;
    brood__voice_close(s, hand->voice);
    hand->voice = NULL;
}

int brood__hand_start(struct supervisor *s, struct hand *ret_hand, unsigned worker, int orders, uint64_t tag)
{
    struct hand hand = {.pidfd = -1};
    int r = brood__voice_open(s, &hand.voice);

    *ret_hand = (struct hand){.pidfd = -1};
    if (r < 0)
        return r;
    if (worker < s->shared->workers)
        brood__voice_name(s, hand.voice, worker);
    hand.pid = fork_timed(s);
    if (hand.pid == 0)
        be_worker(s, hand.voice, worker, orders);
    if (hand.pid < 0) {
        r = -errno;
        brood__voice_close(s, hand.voice);
        return brood_fail(r, "cannot start a worker: fork: %s (see ulimit -u)", strerror(-r));
    }
    r = watch(s, &hand, tag);
    if (r < 0)
        end_unwatched(s, &hand);
    else
        s->alive++;
    *ret_hand = hand;
    return r;
}

static bool has(const struct supervisor *s, pid_t pid)
{
    for (unsigned i = 0; i < s->shared->workers; i++)
        if (s->members[i].hand.pidfd >= 0 && s->members[i].hand.pid == pid)
            return true;
    for (unsigned i = 0; i < s->spares_wanted; i++)
        if (s->spares[i].hand.pidfd >= 0 && s->spares[i].hand.pid == pid)
            return true;
    return false;
}

/* Whose tracer has let go of them by now.  The kernel names one of the dead; if that one is about to be buried, the others
 * can wait for the next death. */
static void reap_those_left(struct supervisor *s)
{
    siginfo_t info = {0};

    while (s->left > 0 && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
           !has(s, info.si_pid)) {
        (void)waitpid(info.si_pid, NULL, WNOHANG);
        s->left--;
        info.si_pid = 0;
    }
}

struct brood__ending brood__hand_reap(struct supervisor *s, struct hand *hand)
{
    struct brood__ending ending;

    (void)kill(-hand->pid, SIGKILL);
    ending = brood__pidfd_reap(hand->pidfd);
    (void)brood__poller_remove(s->poller, hand->pidfd);
    (void)close(hand->pidfd);
    hand->pidfd = -1;
    s->alive--;
    reap_those_left(s);
    s->left += ending.is_left;
    brood__voice_finish(s, hand->voice);
    return ending;
}

void brood__crew_wake(struct supervisor *s)
{
    for (unsigned i = 0; i < s->shared->workers && brood__idle_wake_any(s->shared); i++)
        ;
}

int64_t brood__crew_pause(unsigned failures)
{
    int64_t ns = failures < 8 ? (int64_t)RESTART_NS << (failures - 1) : RESTART_NS_MAX;

    return ns < RESTART_NS_MAX ? ns : RESTART_NS_MAX;
}

/* A place for what the worker may have to say of its end. */
static void put_certificate_aside(struct supervisor *s, struct station *station, unsigned worker)
{
    uint32_t number = atomic_load(&station->certificate);

    if (number == CERTIFICATE_NONE) /* the one before began without, and may have taken one and lived */
        number = brood__certificate_of(s->shared, worker);
    brood__certificate_free(s->shared, number);
    atomic_store(&station->certificate, brood__certificate_take(s->shared));
}

static void fail_to_start(struct supervisor *s, unsigned worker, int error)
{
    struct member *member = &s->members[worker];

    member->failures++;
    member->start_ns = brood__now_ns() + RESTART_NS;
    brood__crew_wake(s);
    if (!member->has_served)
        brood__supervisor_break(s, error);
}

void brood__crew_start(struct supervisor *s, unsigned worker)
{
    struct member *member = &s->members[worker];
    struct station *station = s->shared->lanes[worker].station;
    struct roll *roll = s->shared->roll;
    bool is_restart = member->was_started;
    int r;

    member->start_ns = 0;
    member->is_killed = false;
    put_certificate_aside(s, station, worker);
    atomic_store(&station->limit_end_ns, 0);
    atomic_store(&station->is_refused, 0);
    brood__station_set_state(station, STATION_STARTING);
    if (brood__spare_take(s, worker, &member->hand))
        r = 0;
    else
        r = brood__hand_start(s, &member->hand, worker, -1, worker);
    if (r < 0) {
        if (member->hand.pid > 0) /* it may have got as far as a task */
            brood__bury_work(s, worker, (struct brood__ending){.signal = SIGKILL});
        fail_to_start(s, worker, r);
        return;
    }
    member->was_started = true;
    brood__present_add(s->shared->board, 1);
    atomic_store(&roll->entries[worker], member->hand.pid);
    atomic_fetch_add_explicit(&roll->starts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&roll->restarts, is_restart, memory_order_relaxed);
    brood__parker_wake(&s->shared->board->parkers[0]); /* the worker may have been ready before this was known */
}

void brood__crew_look(struct supervisor *s)
{
    struct roll *roll = s->shared->roll;
    unsigned wanted = atomic_load(&roll->wanted);

    for (unsigned i = 0; i < s->shared->workers; i++) {
        struct member *member = &s->members[i];

        if (i >= wanted)
            member->start_ns = 0;
        else if (member->hand.pidfd < 0 && member->start_ns == 0 && atomic_load(&roll->entries[i]) != ROLL_RESTS) {
            member->start_ns = brood__now_ns();
            member->has_served = true; /* the pool is open: what the system lacks now it may have later */
        }
    }
}

void brood__crew_start_due(struct supervisor *s)
{
    for (unsigned i = 0; i < s->shared->workers && !s->stopping; i++)
        if (s->members[i].start_ns != 0 && s->members[i].start_ns <= brood__now_ns()) {
            brood__crew_start(s, i);
            return;
        }
}

/* ---- the end ---- */

static void signal_hand(const struct hand *hand, int signal)
{
    if (hand->pidfd >= 0)
        (void)brood__pidfd_kill(hand->pidfd, signal);
}

void brood__crew_signal(struct supervisor *s, int signal)
{
    for (unsigned i = 0; i < s->shared->workers; i++)
        signal_hand(&s->members[i].hand, signal);
    for (unsigned i = 0; i < s->spares_wanted; i++)
        signal_hand(&s->spares[i].hand, signal);
}
