/* kind_processes.c - workers that are processes, on the host's side: their supervisor. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/fence.h"
#include "os/futex.h"
#include "os/log.h"
#include "os/memory_group.h"
#include "os/owned.h"
#include "os/pidfd.h"
#include "os/process_attributes.h"
#include "os/sandbox.h"
#include "pool/core/kind.h"
#include "proto/control_message.h"
#include "supervisor/supervisor.h"
#include "worker/certificate_writer.h"

/* The default of .ready_ms: an executable that is no worker may run for ever without reporting ready. */
#define READY_MS 30000

/* Until the supervisor has reported that it lives, the host checks at this interval whether it has died. */
#define UNBORN_NS 5000000

/* A supervisor that does not end its workers in time (it may be stopped, for example) is killed, and they die with it. */
#define STOP_NS 1000000000

struct processes {
    pid_t pid;
    int supervisor;         /* its pidfd … */
    int number;             /* … and the process id that the pidfd refers to, as /proc shows it */
    int control;            /* the host's end of the socket */
    bool has_memory_groups; /* each worker may be in a control group: os/memory_group.h */
};

static int count_ready(const struct brood_pool *pool)
{
    const struct shared *shared = &pool->shared;
    int ready = 0;

    for (unsigned i = 0; i < pool->size.min; i++)
        ready += brood__worker_phase(shared->lanes[i].worker_state) == PHASE_READY &&
                 brood__membership_pid(shared->membership, i) != 0;
    return ready;
}

static bool is_dead(const struct processes *processes)
{
    return brood__pidfd_wait(processes->supervisor, BROOD_NOW) == 0;
}

static int broken_reason(const struct header *header)
{
    int error = atomic_load_explicit(
        &header->error, memory_order_relaxed); /* stored by the supervisor before `state`, which the host has acquired */

    return brood_fail(error < 0 ? error : -ECHILD, "%.*s", (int)sizeof(header->reason), header->reason);
}

/* Returns 0 if all workers are ready, 1 if that is not known yet, or the error that keeps them from becoming ready.  The
 * supervisor stores `watched`, release, after it watches the first workers; the host loads it after their phases. */
static int processes_look(const struct brood_pool *pool, const struct processes *processes)
{
    const struct header *header = pool->shared.header;
    bool dead = is_dead(processes);

    if (brood__header_state(header) == HEADER_BROKEN)
        return broken_reason(header);
    if (dead)
        return brood_fail(-ECHILD, "the pool's supervisor died while the pool was opened");
    return count_ready(pool) == (int)pool->size.min && atomic_load_explicit(&header->watched, memory_order_acquire) ? 0 : 1;
}

static brood_deadline ready_by(const struct brood_pool_options *options)
{
    if (options->ready_ms < 0)
        return BROOD_FOREVER;
    return brood_after_ms(options->ready_ms > 0 ? options->ready_ms : READY_MS);
}

static int not_ready(const struct brood_pool *pool)
{
    return brood_fail(-ETIMEDOUT,
                      "%d of %u workers were not ready in time: if all is well with them, open with more .ready_ms",
                      (int)pool->size.min - count_ready(pool), pool->size.min);
}

static int wait_until_ready(struct brood_pool *pool, const struct processes *processes, brood_deadline deadline)
{
    struct header *header = pool->shared.header;

    for (;;) {
        uint32_t seen = brood__parker_look(&header->parkers[0]);
        /* The supervisor stores it, release; the kernel marks it. */
        uint32_t alive = atomic_load_explicit(&header->life, memory_order_acquire);
        /* Not started yet; or dying: the kernel has marked the word, but the pidfd does not report the death yet. */
        bool is_born = alive != 0 && !brood__life_is_over(alive);
        bool is_marked = is_born && brood__life_is_marked(alive); /* the kernel will notify the host of its death */
        int r = processes_look(pool, processes);

        if (r < 0 || (r == 0 && is_born)) {
            pool->life.word = alive;
            return r;
        }
        if (brood__is_past(deadline))
            return not_ready(pool);
        if (r == 0)
            continue; /* the supervisor started between the two checks */
        brood__parker_sleep(&header->parkers[0], seen, &header->life, alive,
                            is_marked ? deadline : brood__after_ns(UNBORN_NS));
    }
}

static void close_processes(struct processes *processes)
{
    if (processes->control >= 0)
        (void)close(brood__disown(processes->control));
    if (processes->supervisor >= 0)
        (void)close(brood__disown(processes->supervisor));
    free(processes);
}

/* Has the program closed the pool's descriptors, together with all others?  Their numbers may denote something else by
 * now, even another pool's supervisor.  Where /proc does not show the process id, the host takes a pidfd for its own. */
static bool has_lost_descriptors(const struct processes *processes)
{
    int number = brood__pidfd_number(processes->supervisor);

    return brood__pidfd_kill(processes->supervisor, 0) == -EBADF ||
           (number > 0 && processes->number > 0 && number != processes->number);
}

/* Forgets the descriptors without closing them. */
static void forget_descriptors(struct brood_pool *pool, struct processes *processes)
{
    int *lost[] = {&processes->control, &processes->supervisor, &pool->shared.segment.fd, &pool->shared.large.fd,
                   &pool->events.ready_fd};

    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        (void)brood__disown(*lost[i]);
        *lost[i] = -1;
    }
}

/* Kills the supervisor by its process id.  The id stays the supervisor's until a thread waits for it; if the program has
 * done so already, waitpid() reports that there is no such child. */
static void end_by_number(pid_t supervisor)
{
    if (waitpid(supervisor, NULL, WNOHANG) == 0)
        (void)kill(supervisor, SIGKILL);
    while (waitpid(supervisor, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Waits only for the supervisor's exit: by then it has reaped its workers, or they died with it. */
static void await_death(const struct processes *processes, brood_deadline deadline)
{
    if (brood__pidfd_wait(processes->supervisor, deadline) < 0)
        (void)brood__pidfd_kill(processes->supervisor, SIGKILL);
    (void)brood__pidfd_wait(processes->supervisor, BROOD_FOREVER);
}

static brood_deadline later(brood_deadline deadline, int64_t ns)
{
    brood_deadline soonest = brood__after_ns(ns);

    if (deadline.ns > INT64_MAX - ns)
        return BROOD_FOREVER;
    return deadline.ns + ns > soonest.ns ? (brood_deadline){deadline.ns + ns} : soonest;
}

/* False: the supervisor will not read the message. */
static bool ask_to_stop(struct brood_pool *pool, const struct processes *processes, brood_deadline deadline)
{
    struct control_message message = {.magic = CONTROL_MAGIC, .kind = CONTROL_STOP, .deadline_ns = deadline.ns};

    if (brood__header_state(pool->shared.header) != HEADER_OPEN) /* then the supervisor reads no message */
        return false;
    brood__header_set_state(pool->shared.header, HEADER_STOPPING);
    brood__wake_workers(&pool->shared, 0);
    return send(processes->control, &message, sizeof(message), MSG_NOSIGNAL) == sizeof(message);
}

static void stop_by_descriptors(struct brood_pool *pool, const struct processes *processes, brood_deadline deadline)
{
    if (!ask_to_stop(pool, processes, deadline))
        (void)shutdown(processes->control, SHUT_RDWR);
    await_death(processes, later(deadline, STOP_NS));
    (void)brood__pidfd_reap(processes->supervisor);
}

static void processes_stop(struct brood_pool *pool, brood_deadline deadline)
{
    struct processes *processes = pool->kind_state;

    if (has_lost_descriptors(processes)) {
        end_by_number(processes->pid);
        forget_descriptors(pool, processes);
    } else
        stop_by_descriptors(pool, processes, deadline);
    if (processes->has_memory_groups)
        brood__memory_groups_remove(processes->pid);
    close_processes(processes);
}

static void processes_end(struct brood_pool *pool, brood_deadline deadline)
{
    const struct processes *processes = pool->kind_state;
    struct control_message message = {.magic = CONTROL_MAGIC, .kind = CONTROL_END, .deadline_ns = deadline.ns};
    bool at_once = deadline.ns <= BROOD_NOW.ns;

    if (has_lost_descriptors(processes)) /* so the pool is broken */
        return;
    if (at_once || send(processes->control, &message, sizeof(message), MSG_NOSIGNAL) != sizeof(message))
        (void)shutdown(processes->control, SHUT_RDWR);
    await_death(processes, later(deadline, STOP_NS));
}

static int processes_kill_task(struct brood_pool *pool, unsigned lane, uint64_t position)
{
    struct processes *processes = pool->kind_state;
    struct control_message message = {.magic = CONTROL_MAGIC, .kind = CONTROL_KILL, .position = position, .lane = lane};

    return send(processes->control, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int watched(const struct brood_pool *pool)
{
    return ((const struct processes *)pool->kind_state)->supervisor;
}

static bool processes_are_alive(const struct brood_pool *pool)
{
    return !is_dead(pool->kind_state);
}

/* If the socket has no room for the message, the supervisor has others to read, and checks for missing workers after
 * each. */
static void processes_start_missing(struct brood_pool *pool)
{
    const struct processes *processes = pool->kind_state;
    struct control_message message = {.magic = CONTROL_MAGIC, .kind = CONTROL_LOOK};

    (void)send(processes->control, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int hide_host(const struct brood_pool_options *options)
{
    int r = brood__sandbox_hides_host(options->sandbox) ? brood__process_become_undumpable() : 0;

    return r < 0 ? brood_fail(r, "the host cannot become undumpable: %s", strerror(-r)) : 0;
}

static int start_supervisor(struct brood_pool *pool, const struct brood_pool_options *options, struct processes *processes)
{
    pid_t host = getpid(), pid;
    int ends[2], r = hide_host(options);

    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return brood_fail(-errno, "cannot make a socket pair: %s", strerror(errno));
    for (int i = 0; i < 2; i++)
        ends[i] = brood__fd_not_standard(ends[i]);
    processes->control = brood__own(ends[0]);
    /* Both the host and the workers would write what is buffered now. */
    (void)fflush(stdout);
    (void)fflush(stderr);
    pid = fork();
    if (pid == 0) {
        (void)close(ends[0]); /* the host's end: after the host closes it, no process has it */
        brood__supervise(&pool->shared, options, host, ends[1]);
    }
    r = -errno;
    (void)close(ends[1]);
    if (pid < 0)
        return brood_fail(r, "cannot start the supervisor: fork: %s (see ulimit -u)", strerror(-r));
    processes->pid = pid;
    processes->supervisor = r = brood__own(brood__pidfd_watch(pid));
    processes->number = brood__pidfd_number(r);
    if (r < 0) { /* it is our child, not reaped yet: the process id is still its own */
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return r < 0 ? brood_fail(r, "cannot watch the supervisor: pidfd_open: %s", strerror(-r)) : 0;
}

/* Warns, so that the user can find out why a task waits for ever in malloc(). */
static void warn_of_threads(const struct brood_pool_options *options)
{
    static _Atomic bool has_warned;
    int threads = options->worker ? 0 : brood__process_threads();

    if (threads > 1)
        brood__log_warn_once(&has_warned,
                             "a pool is opened by a process of %d threads: locks that others hold now are held in its "
                             "workers for ever; open it first, or give it a .worker (BROOD_LOG=off: do not say so)",
                             threads);
}

static int processes_start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct processes *processes = malloc(sizeof(*processes));
    int r;

    if (!processes)
        return brood_fail(-ENOMEM, "out of memory");
    *processes = (struct processes){
        .supervisor = -1, .control = -1, .has_memory_groups = options->sandbox && options->sandbox->memory_bytes > 0};
    warn_of_threads(options);
    if (!options->worker)
        brood__certificate_writer_prepare();
    pool->shared.header->fence_symmetric = !brood__fence_open();
    r = start_supervisor(pool, options, processes);
    if (r < 0) {
        close_processes(processes); /* a supervisor without its control socket ends */
        return r;
    }
    pool->kind_state = processes;
    r = wait_until_ready(pool, processes, ready_by(options));
    if (r < 0) {
        brood__header_set_state(pool->shared.header, HEADER_BROKEN);
        processes_stop(pool, BROOD_NOW);
    }
    return r;
}

static pid_t processes_id(const struct brood_pool *pool, unsigned worker)
{
    return brood__membership_pid(pool->shared.membership, worker);
}

/* The kernel says which workers are in their group. */
static int memory_groups(const struct brood_pool *pool)
{
    const struct processes *processes = pool->kind_state;
    int count = 0;

    for (unsigned i = 0; processes->has_memory_groups && i < pool->size.max; i++) {
        pid_t worker = brood__worker_pid(pool, i);

        count += worker != 0 && brood__memory_group_has(processes->pid, worker);
    }
    return count;
}

const struct kind brood__kind_processes = {
    .memory_groups = memory_groups,
    .between_processes = true,
    .start = processes_start,
    .start_missing = processes_start_missing,
    .stop = processes_stop,
    .thread_id = processes_id,
    .end = processes_end,
    .kill_task = processes_kill_task,
    .watched = watched,
    .is_alive = processes_are_alive,
};
