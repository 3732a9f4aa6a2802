#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/log.h"
#include "os/pidfd.h"
#include "run/failure.h"
#include "run/process.h"
#include "run/run.h"

#define DAEMON_GRACE_MS 1000

struct failure_hook brood__process_hook;

static struct brood_process self = {
    .kind = PROCESS_SELF,
    .holders = 1,
    .names = {.texts = {"MainProcess"}},
    .pidfd = -1,
    .life_line = -1,
};
static struct brood_process *parent; /* set in the child before it has a second thread */

/* Under brood__run_lock. */
static struct brood_process *children;
static unsigned started; /* by this process, for names */

_Thread_local struct brood_process *brood__process_starting;

/* ---- handles ---- */

void brood__close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void brood__close_gate(struct gate *gate)
{
    brood__close_fd(&gate->read);
    brood__close_fd(&gate->parent);
    brood__close_fd(&gate->trouble_read);
    brood__close_fd(&gate->trouble_write);
}

static bool process_is_ours(const struct brood_process *process)
{
    return process->generation == atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
}

static int is_no_child(const struct brood_process *process)
{
    if (!process)
        return brood_fail(-EINVAL, "the process is NULL: not started yet?");
    if ((process->kind == PROCESS_CHILD && !process_is_ours(process)) ||
        (process->kind == PROCESS_PARENT && process != parent))
        return brood_fail(-EPERM, "%s belongs to the process that forked this one", brood__name(&process->names));
    return 0;
}

void brood__process_list(struct brood_process *process)
{
    brood__run_assert_locked();
    process->next = children;
    process->place = &children;
    if (children)
        children->place = &process->next;
    children = process;
}

static void process_unlist(struct brood_process *process)
{
    brood__run_assert_locked();
    *process->place = process->next;
    if (process->next)
        process->next->place = process->place;
    process->place = NULL;
}

/* Under the lock.  True: it was the last holder, and the caller frees.  Descriptors are closed before a fork can inherit
 * them without knowing whose they are.  Those of a handle that was inherited have been closed already, and are -1. */
static bool process_drop(struct brood_process *process)
{
    brood__run_assert_locked();
    if (--process->holders > 0)
        return false;
    if (process->place)
        process_unlist(process);
    brood__close_fd(&process->pidfd);
    brood__close_fd(&process->life_line);
    return true;
}

void brood__process_release(struct brood_process *process)
{
    bool last;

    brood__lock(&brood__run_lock);
    last = process_drop(process);
    brood__unlock(&brood__run_lock);
    if (last)
        free(process);
}

/* In one step of the lock with the note that it was: a fork in between would find one and not the other. */
void brood__process_release_life(struct brood_process *process)
{
    bool last;

    brood__lock(&brood__run_lock);
    process->is_held_for_life = false;
    last = process_drop(process);
    brood__unlock(&brood__run_lock);
    if (last)
        free(process);
}

void brood_process_release(struct brood_process *process)
{
    if (process && process->kind == PROCESS_CHILD)
        brood__process_release(process);
}

/* ---- fork ---- */

/* In the child of any fork, under the lock: it has no children, and nothing of its parent's, but what its start needs. */
void brood__processes_after_fork(void)
{
    struct brood_process *process = children, *next;

    brood__run_assert_locked();
    for (; process; process = next) {
        next = process->next;
        process_unlist(process);
        brood__close_fd(&process->pidfd);
        brood__close_fd(&process->life_line);
        if (process == brood__process_starting)
            continue;
        brood__close_gate(&process->gate);
        if (process->is_held_for_life && process_drop(process))
            free(process);
    }
    if (parent && !brood__process_starting) { /* a fork of the program's own: its parent is unknown */
        brood__close_fd(&parent->pidfd);
        parent = NULL;
    }
    brood__close_fd(&self.life_line); /* ours, not its */
    started = 0;
    self.generation = atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
    self.pid = getpid();
}

void brood__processes_init(void)
{
    self.pid = getpid();
}

/* ---- this process and its parent ---- */

void brood__process_number(struct brood_process *process)
{
    unsigned number;

    brood__lock(&brood__run_lock);
    number = ++started;
    brood__unlock(&brood__run_lock);
    if (snprintf(process->numbers, sizeof(process->numbers), "%s%s%u", self.numbers, *self.numbers ? ":" : "", number) >=
        (int)sizeof(process->numbers))
        (void)snprintf(process->numbers, sizeof(process->numbers), "…:%u", number); /* a lineage of thirty */
}

struct brood_process *brood_process_current(void)
{
    brood__run_init();
    return &self;
}

struct brood_process *brood_process_parent(void)
{
    return parent;
}

static void know_parent(int pidfd)
{
    static struct brood_process known;

    known = (struct brood_process){.kind = PROCESS_PARENT, .holders = 1, .pidfd = pidfd, .life_line = -1};
    known.names = self.names;
    known.pid = getppid();
    if (brood__pidfd_wait(pidfd, BROOD_NOW) == 0)
        known.pid = 0; /* it was dead before we could ask for its number */
    parent = &known;
}

void brood__process_become(struct brood_process *process)
{
    if (parent)
        brood__close_fd(&parent->pidfd);
    know_parent(process->gate.parent);
    self.names = process->names;
    self.daemon = process->daemon;
    self.life_line = process->gate.read;
    memcpy(self.numbers, process->numbers, sizeof(self.numbers));
}

/* ---- the end of a child ---- */

/* Under the lock.  True if it has just been found ended: its holder that was for its life is to be released. */
static bool process_settle(struct brood_process *process)
{
    int r;

    brood__run_assert_locked();
    if (process->ended || process->pidfd < 0)
        return false;
    r = brood__pidfd_status(process->pidfd, &process->status);
    if (r == -EAGAIN)
        return false;
    process->ended = true;
    process->unknown = r;
    brood__close_fd(&process->life_line);
    return true;
}

static void process_report_end(const struct brood_process *process)
{
    if (process->unknown == 0)
        brood_log(BROOD_LOG_DEBUG, "%s (pid %d) ended with %d", brood__name(&process->names), (int)process->pid,
                  process->status);
    else
        brood_log(BROOD_LOG_WARNING, "%s (pid %d) ended, and other code has reaped it", brood__name(&process->names),
                  (int)process->pid);
}

bool brood__process_has_ended(struct brood_process *process)
{
    bool is_news, ended;

    brood__lock(&brood__run_lock);
    is_news = process_settle(process);
    ended = process->ended;
    brood__unlock(&brood__run_lock);
    if (is_news) {
        process_report_end(process);
        brood__process_release_life(process);
    }
    return ended;
}

/* Under the lock. */
static bool process_is_running(const struct brood_process *process)
{
    brood__run_assert_locked();
    return process->pidfd >= 0 && !process->ended;
}

/* One that runs and comes after `last`, which is held, as it will be. */
static struct brood_process *next_child(const struct brood_process *last, bool daemons_only)
{
    struct brood_process *found;

    brood__lock(&brood__run_lock);
    found = last ? last->next : children;
    while (found && (!process_is_running(found) || (daemons_only && !found->daemon)))
        found = found->next;
    if (found)
        found->holders++;
    brood__unlock(&brood__run_lock);
    return found;
}

void brood__process_reap(bool all)
{
    struct brood_process *ended, *process;

    do {
        brood__lock(&brood__run_lock);
        ended = NULL;
        for (process = children; process && !ended; process = process->next)
            if ((all || process->holders == 1) && process_settle(process))
                ended = process;
        brood__unlock(&brood__run_lock);
        if (ended) {
            process_report_end(ended);
            brood__process_release_life(ended);
        }
    } while (ended);
}

/* ---- asking ---- */

int brood_process_is_alive(struct brood_process *process)
{
    int r = is_no_child(process);

    if (r < 0 || process->kind == PROCESS_SELF)
        return r < 0 ? r : 1;
    if (process->kind == PROCESS_PARENT)
        return brood__pidfd_wait(process->pidfd, BROOD_NOW) < 0;
    return !brood__process_has_ended(process);
}

int brood_process_join(struct brood_process *process, brood_deadline deadline)
{
    int r = is_no_child(process);

    if (r < 0)
        return r;
    if (process->kind == PROCESS_SELF)
        return brood_fail(-EDEADLK, "a process cannot wait for its own end");
    r = brood__pidfd_wait(process->pidfd, deadline);
    if (r == -ETIMEDOUT)
        return brood_fail(brood__timeout(deadline), "%s runs", brood_process_name(process));
    if (r == 0 && process->kind == PROCESS_CHILD)
        (void)brood__process_has_ended(process);
    return r;
}

int brood_process_status(struct brood_process *process, int *ret_status)
{
    int r = brood_process_is_alive(process);

    if (r < 0)
        return r;
    if (r == 1)
        return brood_fail(-EINPROGRESS, "%s runs", brood_process_name(process));
    if (process->kind != PROCESS_CHILD || process->unknown < 0)
        return brood_fail(-ECHILD, "how %s ended is not known: %s", brood_process_name(process),
                          process->kind == PROCESS_CHILD ? "other code has reaped it" : "it is no child");
    *ret_status = process->status;
    return 0;
}

int brood_process_close(struct brood_process *process)
{
    if (!process || process->kind != PROCESS_CHILD)
        return 0;
    if (process_is_ours(process) && !brood__process_has_ended(process))
        return brood_fail(-EBUSY, "%s runs: join it first, or terminate it", brood_process_name(process));
    brood__process_release(process);
    return 0;
}

int brood_process_signal(struct brood_process *process, int signal)
{
    int r = is_no_child(process);

    if (r < 0)
        return r;
    if (process->kind != PROCESS_CHILD)
        return brood_fail(-EPERM, "%s is no child of this process", brood_process_name(process));
    r = brood__pidfd_kill(process->pidfd, signal);
    return r < 0 ? brood_fail(r, "cannot send signal %d to %s: %s", signal, brood_process_name(process), strerror(-r)) : 0;
}

int brood_process_terminate(struct brood_process *process)
{
    return brood_process_signal(process, SIGTERM);
}

int brood_process_kill(struct brood_process *process)
{
    return brood_process_signal(process, SIGKILL);
}

int brood_process_interrupt(struct brood_process *process)
{
    return brood_process_signal(process, SIGINT);
}

int brood_process_sentinel(const struct brood_process *process)
{
    int r = is_no_child(process);

    if (r < 0)
        return r;
    if (process->kind == PROCESS_SELF)
        return brood_fail(-EINVAL, "a process has no descriptor of its own end");
    return process->pidfd;
}

pid_t brood_process_pid(const struct brood_process *process)
{
    return process ? process->pid : 0;
}

int brood_process_is_daemon(const struct brood_process *process)
{
    return process ? process->daemon : is_no_child(process);
}

const char *brood_process_name(const struct brood_process *process)
{
    return process ? brood__name(&process->names) : "";
}

int brood_process_set_name(struct brood_process *process, const char *name)
{
    return process ? brood__name_set(&process->names, name) : is_no_child(process);
}

int brood_process_children(struct brood_process **ret_processes, size_t room)
{
    size_t count = 0;

    brood__run_init();
    brood__process_reap(true);
    brood__lock(&brood__run_lock);
    for (struct brood_process *process = children; process; process = process->next)
        if (process_is_running(process) && count++ < room) {
            process->holders++;
            ret_processes[count - 1] = process;
        }
    brood__unlock(&brood__run_lock);
    return (int)count;
}

void brood_process_set_failure_hook(int (*call)(const struct brood_failure *failure, void *context), void *context)
{
    brood__hook_set(&brood__process_hook, (struct failure_hook){.call = call, .context = context});
}

/* ---- this process's end ---- */

static void for_daemons(int (*what)(struct brood_process *process))
{
    struct brood_process *last = NULL, *process;

    while ((process = next_child(last, true)) != NULL) {
        if (last)
            brood__process_release(last);
        (void)what(process);
        last = process;
    }
    if (last)
        brood__process_release(last);
}

static int join_soon(struct brood_process *process)
{
    static brood_deadline until; /* one grace for all */

    if (until.ns == 0)
        until = brood_after_ms(DAEMON_GRACE_MS);
    return brood_process_join(process, until);
}

void brood__processes_end(void)
{
    struct brood_process *process;

    for_daemons(brood_process_terminate);
    for_daemons(join_soon);
    for_daemons(brood_process_kill);
    while ((process = next_child(NULL, false)) != NULL) {
        (void)brood_process_join(process, BROOD_FOREVER);
        brood__process_release(process);
    }
}
