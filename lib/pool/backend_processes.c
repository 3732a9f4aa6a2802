/* backend_processes.c - workers that are processes, seen from the host: their supervisor. */
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
#include "os/pidfd.h"
#include "os/process.h"
#include "pool/backend.h"
#include "pool/fault.h"
#include "pool/supervisor.h"

/* An executable that is no worker may run for ever without saying so.  What .ready_ms is by default. */
#define READY_MS 30000

/* Until the supervisor has told its life, look this often whether it has one. */
#define UNBORN_NS 5000000

/* A supervisor that does not end its workers in time (it was stopped, say) is killed, and they die with it. */
#define STOP_NS 1000000000

struct processes {
    pid_t pid;
    int supervisor; /* its pidfd … */
    int number;     /* … and what that is the pidfd of, as /proc shows it */
    int control;    /* the host's end of the socket */
};

static int count_ready(const struct brood_pool *pool)
{
    const struct shared *shared = &pool->shared;
    int ready = 0;

    for (unsigned i = 0; i < pool->workers_min; i++)
        ready += brood__station_state(shared->lanes[i].station) == STATION_READY && brood__roll_pid(shared->roll, i) != 0;
    return ready;
}

static bool is_dead(const struct processes *processes)
{
    return brood__pidfd_wait(processes->supervisor, BROOD_NOW) == 0;
}

static int why_broken(const struct board *board)
{
    int error = atomic_load(&board->error);

    return brood_fail(error < 0 ? error : -ECHILD, "%.*s", (int)sizeof(board->reason), board->reason);
}

/* 0 once all workers are ready, 1 when there is nothing to say yet, or why they never will be. */
static int look(const struct brood_pool *pool, const struct processes *processes)
{
    const struct board *board = pool->shared.board;
    bool dead = is_dead(processes);

    if (brood__board_state(board) == BOARD_BROKEN)
        return why_broken(board);
    if (dead)
        return brood_fail(-ECHILD, "the pool's supervisor died while the pool was opened");
    return count_ready(pool) == (int)pool->workers_min && atomic_load(&board->watched) ? 0 : 1;
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
                      (int)pool->workers_min - count_ready(pool), pool->workers_min);
}

static int wait_until_ready(struct brood_pool *pool, const struct processes *processes, brood_deadline deadline)
{
    struct board *board = pool->shared.board;

    for (;;) {
        uint32_t seen = brood__parker_look(&board->parkers[0]);
        uint32_t alive = atomic_load(&board->life);
        /* Not born yet; or dying, with the kernel's mark on the word but not yet readable as dead. */
        bool is_told = alive != 0 && !brood__life_is_over(alive);
        int r = look(pool, processes);

        if (r < 0 || (r == 0 && is_told)) {
            pool->alive = alive;
            return r;
        }
        if (r == 0)
            continue; /* it was born between the two looks */
        if (brood__is_past(deadline))
            return not_ready(pool);
        brood__parker_sleep(&board->parkers[0], seen, &board->life, alive, is_told ? deadline : brood__after_ns(UNBORN_NS));
    }
}

static void close_processes(struct processes *processes)
{
    if (processes->control >= 0)
        (void)close(processes->control);
    if (processes->supervisor >= 0)
        (void)close(processes->supervisor);
    free(processes);
}

/* Has the program closed the pool's descriptors, with all others?  Their numbers may be something else's by now, another
 * pool's supervisor among that.  Where /proc does not say, a pidfd is taken for ours. */
static bool has_lost_descriptors(const struct processes *processes)
{
    int number = brood__pidfd_number(processes->supervisor);

    return brood__pidfd_kill(processes->supervisor, 0) == -EBADF ||
           (number > 0 && processes->number > 0 && number != processes->number);
}

/* So they are not closed, either. */
static void forget_descriptors(struct brood_pool *pool, struct processes *processes)
{
    processes->control = processes->supervisor = -1;
    pool->shared.segment.fd = pool->shared.spill.fd = pool->bell = -1;
}

/* The process id has to do.  It is the supervisor's until that has been waited for, and who has done so already is told
 * that there is no such child. */
static void end_by_number(pid_t supervisor)
{
    if (waitpid(supervisor, NULL, WNOHANG) == 0)
        (void)kill(supervisor, SIGKILL);
    while (waitpid(supervisor, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Its exit is all that is waited for: by then it has reaped its workers, or they died with it. */
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

/* False: the supervisor will not hear of it. */
static bool ask_to_stop(struct brood_pool *pool, const struct processes *processes, brood_deadline deadline)
{
    struct order order = {.magic = ORDER_MAGIC, .kind = ORDER_STOP, .deadline_ns = deadline.ns};

    if (brood__board_state(pool->shared.board) != BOARD_OPEN) /* a broken pool waits for nothing but the socket's end */
        return false;
    brood__board_set_state(pool->shared.board, BOARD_STOPPING);
    brood__wake_workers(&pool->shared);
    return send(processes->control, &order, sizeof(order), MSG_NOSIGNAL) == sizeof(order);
}

static void stop_by_descriptors(struct brood_pool *pool, const struct processes *processes, brood_deadline deadline)
{
    if (!ask_to_stop(pool, processes, deadline))
        (void)shutdown(processes->control, SHUT_RDWR);
    await_death(processes, later(deadline, STOP_NS));
    (void)brood__pidfd_reap(processes->supervisor);
}

static void stop(struct brood_pool *pool, brood_deadline deadline)
{
    struct processes *processes = pool->backend_state;

    if (has_lost_descriptors(processes)) {
        end_by_number(processes->pid);
        forget_descriptors(pool, processes);
    } else
        stop_by_descriptors(pool, processes, deadline);
    close_processes(processes);
}

static void end(struct brood_pool *pool, brood_deadline deadline)
{
    const struct processes *processes = pool->backend_state;
    struct order order = {.magic = ORDER_MAGIC, .kind = ORDER_END, .deadline_ns = deadline.ns};
    bool at_once = deadline.ns <= BROOD_NOW.ns;

    if (has_lost_descriptors(processes)) /* so the pool is broken */
        return;
    if (at_once || send(processes->control, &order, sizeof(order), MSG_NOSIGNAL) != sizeof(order))
        (void)shutdown(processes->control, SHUT_RDWR);
    await_death(processes, later(deadline, STOP_NS));
}

static int kill_task(struct brood_pool *pool, unsigned lane, uint64_t position)
{
    struct processes *processes = pool->backend_state;
    struct order order = {.magic = ORDER_MAGIC, .kind = ORDER_KILL, .position = position, .lane = lane};

    return send(processes->control, &order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int watched(const struct brood_pool *pool)
{
    return ((const struct processes *)pool->backend_state)->supervisor;
}

static bool is_alive(const struct brood_pool *pool)
{
    return !is_dead(pool->backend_state);
}

/* If there is no room for the order, the supervisor has others to read, and looks after each. */
static void recruit(struct brood_pool *pool)
{
    const struct processes *processes = pool->backend_state;
    struct order order = {.magic = ORDER_MAGIC, .kind = ORDER_LOOK};

    (void)send(processes->control, &order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int start_supervisor(struct brood_pool *pool, const struct brood_pool_options *options, struct processes *processes)
{
    pid_t host = getpid(), pid;
    int ends[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return brood_fail(-errno, "cannot make a socket pair: %s", strerror(errno));
    for (int i = 0; i < 2; i++)
        ends[i] = brood__fd_not_standard(ends[i]);
    processes->control = ends[0];
    /* What is buffered now would be written by host and workers both. */
    (void)fflush(stdout);
    (void)fflush(stderr);
    pid = fork();
    if (pid == 0) {
        (void)close(ends[0]); /* the host's: when the host has closed it, nobody has it */
        brood__supervise(&pool->shared, options, host, ends[1]);
    }
    r = -errno;
    (void)close(ends[1]);
    if (pid < 0)
        return brood_fail(r, "cannot start the supervisor: fork: %s (see ulimit -u)", strerror(-r));
    processes->pid = pid;
    processes->supervisor = r = brood__pidfd_open(pid);
    processes->number = brood__pidfd_number(r);
    if (r < 0) { /* it is our child, not reaped yet: the number is still its own */
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return r < 0 ? brood_fail(r, "cannot watch the supervisor: pidfd_open: %s", strerror(-r)) : 0;
}

/* For who wonders why a task waits for ever in malloc(). */
static void warn_of_threads(const struct brood_pool_options *options)
{
    if (!options->worker && brood_log_is_on(BROOD_LOG_WARNING) && brood__process_threads() > 1)
        brood_log(
            BROOD_LOG_WARNING,
            "a pool is opened by a process of %d threads: locks that others hold now are held in its workers for ever; "
            "open it first, or give it a .worker",
            brood__process_threads());
}

static int start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct processes *processes = malloc(sizeof(*processes));
    int r;

    if (!processes)
        return brood_fail(-ENOMEM, "out of memory");
    *processes = (struct processes){.supervisor = -1, .control = -1};
    warn_of_threads(options);
    if (!options->worker)
        brood__fault_prepare();
    pool->shared.board->fence_symmetric = !brood__fence_open();
    r = start_supervisor(pool, options, processes);
    if (r < 0) {
        close_processes(processes); /* without its control socket a supervisor ends */
        return r;
    }
    pool->backend_state = processes;
    r = wait_until_ready(pool, processes, ready_by(options));
    if (r < 0) {
        brood__board_set_state(pool->shared.board, BOARD_BROKEN);
        stop(pool, BROOD_NOW);
    }
    return r;
}

static pid_t thread_id(const struct brood_pool *pool, unsigned worker)
{
    return brood__roll_pid(pool->shared.roll, worker);
}

const struct backend brood__backend_processes = {
    .name = "processes",
    .between_processes = true,
    .start = start,
    .recruit = recruit,
    .stop = stop,
    .thread_id = thread_id,
    .end = end,
    .kill_task = kill_task,
    .watched = watched,
    .is_alive = is_alive,
};
