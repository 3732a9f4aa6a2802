#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/exit_hook.h"
#include "os/memory_group.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "supervisor/child.h"
#include "worker/worker.h"

/* ---- in the forked process ---- */

/* -1 means no descriptor, and is valid. */
static bool outlives_exec(int fd)
{
    return fd < 0 || fcntl(fd, F_SETFD, 0) == 0;
}

/* Tells an exec'ed worker, by its environment, its number and its descriptors, and keeps these open across the exec. */
static int environment_set(const struct supervisor *s, int hold, unsigned worker, int assignment)
{
    char value[48 + SANDBOX_TEXT];
    int segment = s->shared->segment.fd, large = s->shared->large.fd;
    int length = assignment < 0 ? snprintf(value, sizeof(value), "%d:%d:%d:%u", segment, large, hold, worker)
                                : snprintf(value, sizeof(value), "%d:%d:%d:s%d", segment, large, hold, assignment);

    if (s->sandbox.flags) {
        value[length++] = ':';
        if (brood__sandbox_write(&s->sandbox, value + length) < 0)
            return -1;
    }
    if (!outlives_exec(segment) || !outlives_exec(large) || !outlives_exec(hold) || !outlives_exec(assignment))
        return -1;
    return setenv(WORKER_ENVIRONMENT, value, 1);
}

/* A standby has no number, so it cannot report the error; the supervisor forks the next one later. */
static void child_report_failure(struct supervisor *s, unsigned worker, int error)
{
    if (worker < s->shared->workers)
        brood__worker_give_up(s->shared, worker, error, "");
}

static void child_exec(struct supervisor *s, int hold, unsigned worker, int assignment)
{
    const struct brood_pool_options *options = s->options;
    size_t count = 0;

    while (options->worker_args && options->worker_args[count])
        count++;
    const char **argv = calloc(count + 2, sizeof(*argv));

    if (argv && environment_set(s, hold, worker, assignment) == 0) {
        argv[0] = options->worker;
        for (size_t i = 0; i < count; i++)
            argv[i + 1] = options->worker_args[i];
        (void)execvp(options->worker, (char *const *)(uintptr_t)argv);
    }
    child_report_failure(s, worker, errno);
    _exit(127);
}

static void child_close_pidfd(const struct child *child)
{
    if (child->pidfd >= 0)
        (void)close(child->pidfd);
}

static void child_close_inherited(struct supervisor *s, int hold, int assignment)
{
    /* a forked worker has it mapped, and could only do harm with the descriptor */
    bool needs_segment = s->options->worker != NULL;

    brood__poller_close(s->poller);
    if (!s->options->inherit_fds) {
        int segment = needs_segment ? s->shared->segment.fd : -1;

        brood__process_close_all_but((int[]){segment, s->shared->large.fd, s->sandbox.rules, hold, assignment}, 5);
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
        child_close_pidfd(&s->worker_slots[i].child);
    brood__captures_forget(&s->captures);
    for (unsigned i = 0; i < s->standbys_wanted; i++) {
        child_close_pidfd(&s->standbys[i].child);
        if (s->standbys[i].child.pidfd >= 0)
            (void)close(s->standbys[i].assignment);
    }
}

/* The worker registers this exit handler first, so that exit() in a task calls it last and never reaches the host's
 * handlers: these deal with the host's files and children, and the host writes its streams itself.  The segment's
 * descriptor is closed already; its number may be a file of the task's. */
static void child_last_exit_handler(int status, void *context)
{
    (void)context;
    (void)fflush(stdout);
    (void)fflush(stderr);
    brood__exit_hook();
    _exit(status & 0xff);
}

static _Noreturn void child_exit(int r)
{
    brood__exit_hook();
    _exit(r < 0 ? 1 : 0);
}

static void child_run(struct supervisor *s, const struct child *child, unsigned worker, int assignment)
{
    const struct brood_pool_options *options = s->options;
    const struct hooks hooks = {options->initializer, options->finalizer, options->context};
    char suffix[16] = "spare";

    brood__role = ROLE_WORKER;
    if (!brood__process_die_with(s->pid)) {
        if (getppid() == s->pid) /* the supervisor lives, and the kernel has refused the request */
            child_report_failure(s, worker, EPERM);
        _exit(0);
    }
    if (s->is_dumpable && s->sandbox.flags)
        (void)prctl(PR_SET_DUMPABLE, 1);
    (void)setpgid(0, 0); /* so that one signal also reaches the processes that its tasks start */
    if (assignment < 0)
        (void)snprintf(suffix, sizeof(suffix), "%u", worker);
    brood__process_set_name(s->shared->header->name, suffix);
    brood__capture_redirect(&s->captures, child->capture);
    child_close_inherited(s, child->hold_fd, assignment);
    (void)signal(SIGTERM, s->term);
    if (options->worker)
        child_exec(s, child->hold_fd, worker, assignment);
    s->shared->hold = child->hold;
    (void)on_exit(child_last_exit_handler, NULL);
    child_exit(brood__worker_run(s->shared, worker, assignment, &s->sandbox, &hooks));
}

/* ---- in the supervisor ---- */

static pid_t child_fork(struct supervisor *s)
{
    int64_t began = brood__now_ns(), took;
    pid_t pid = fork();

    took = brood__now_ns() - began;
    if (pid > 0 && took < s->fork_ns)
        s->fork_ns = took;
    return pid;
}

static int child_watch(struct supervisor *s, struct child *child, uint64_t tag)
{
    int r = child->pidfd = brood__pidfd_watch(child->pid);

    if (r >= 0)
        r = brood__poller_add(s->poller, child->pidfd, tag);
    if (r == 0)
        r = brood__capture_watch(&s->captures, child->capture);
    return r < 0 ? brood_fail(r, "cannot watch a worker: pidfd_open: %s (see ulimit -n)", strerror(-r)) : 0;
}

static void hold_close_fd(struct child *child)
{
    if (child->hold_fd >= 0)
        (void)close(child->hold_fd);
    child->hold_fd = -1;
}

static void hold_close(struct child *child)
{
    hold_close_fd(child);
    brood__hold_close(child->hold);
    child->hold = NULL;
}

/* The supervisor cannot watch this process and would not see its death.  The number is still the process's own: it is a
 * child that has not been reaped. */
static void child_kill_unwatched(struct supervisor *s, struct child *child)
{
    (void)kill(-child->pid, SIGKILL);
    (void)kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (child->pidfd >= 0)
        (void)brood__poller_remove(s->poller, child->pidfd);
    child_close_pidfd(child);
    child->pidfd = -1;
    hold_close(child);
    brood__capture_close(&s->captures, child->capture);
    child->capture = NULL;
}

/* Makes what the process gets of its own, before it is forked. */
static int child_open(struct supervisor *s, struct child *ret_child)
{
    struct child child = {.pidfd = -1, .hold_fd = -1};
    int r = brood__hold_open(&child.hold, s->options->worker ? &child.hold_fd : NULL);

    if (r < 0)
        return r;
    r = brood__capture_open(&s->captures, &child.capture);
    if (r < 0)
        hold_close(&child);
    *ret_child = child;
    return r;
}

int brood__child_start(struct supervisor *s, struct child *ret_child, unsigned worker, int assignment, uint64_t tag)
{
    struct child child;
    int r = child_open(s, &child);

    brood__assert_supervisor();
    brood__assert((assignment < 0) == (worker < s->shared->workers));
    *ret_child = (struct child){.pidfd = -1, .hold_fd = -1};
    if (r < 0)
        return r;
    if (worker < s->shared->workers)
        brood__capture_assign(&s->captures, child.capture, worker);
    child.pid = child_fork(s);
    if (child.pid == 0)
        child_run(s, &child, worker, assignment);
    if (child.pid < 0) {
        r = -errno;
        hold_close(&child);
        brood__capture_close(&s->captures, child.capture);
        return brood_fail(r, "cannot start a worker: fork: %s (see ulimit -u)", strerror(-r));
    }
    hold_close_fd(&child);
    brood__hold_keep(child.hold); /* processes that are forked later must not have it */
    r = child_watch(s, &child, tag);
    if (r < 0)
        child_kill_unwatched(s, &child);
    else
        s->alive++;
    *ret_child = child;
    return r;
}

static bool table_has(const struct supervisor *s, pid_t pid)
{
    for (unsigned i = 0; i < s->shared->workers; i++)
        if (s->worker_slots[i].child.pidfd >= 0 && s->worker_slots[i].child.pid == pid)
            return true;
    for (unsigned i = 0; i < s->standbys_wanted; i++)
        if (s->standbys[i].child.pidfd >= 0 && s->standbys[i].child.pid == pid)
            return true;
    return false;
}

/* Reaps dead children that are not in the worker table: a worker whose tracer has released it only now, and a process
 * that a worker has started with CLONE_PARENT.  The kernel names one dead child at a time.  If that is a worker, the
 * supervisor reaps it soon, and the others at the death after that. */
static void reap_unknown(const struct supervisor *s)
{
    siginfo_t info = {0};

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 && !table_has(s, info.si_pid)) {
        (void)waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

struct brood__ending brood__child_reap(struct supervisor *s, struct child *child)
{
    struct brood__ending ending;

    brood__assert(child->pidfd >= 0 && child->pid > 0 && s->alive > 0);
    (void)kill(-child->pid, SIGKILL);
    ending = brood__pidfd_reap(child->pidfd);
    (void)brood__poller_remove(s->poller, child->pidfd);
    (void)close(child->pidfd);
    child->pidfd = -1;
    hold_close(child);
    s->alive--;
    reap_unknown(s);
    if (s->memory_groups)
        brood__memory_group_remove(s->memory_groups, s->pid, child->pid);
    brood__capture_finish(&s->captures, child->capture);
    return ending;
}

int64_t brood__restart_pause(unsigned failures)
{
    brood__assert(failures > 0);
    int64_t ns = failures < 8 ? (int64_t)RESTART_NS << (failures - 1) : RESTART_NS_MAX;

    return ns < RESTART_NS_MAX ? ns : RESTART_NS_MAX;
}
