/* start.c - the parent's side of brood_process_start(). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/log.h"
#include "os/options.h"
#include "os/pidfd.h"
#include "os/process_attributes.h"
#include "run/process.h"
#include "run/run.h"
#include "run/streams.h"

#define NO_GATE ((struct gate){-1, -1, -1, -1})

static int start_check_options(struct brood_process_options *options, const struct brood_process_options *given)
{
    int r = brood__options(options, sizeof(*options), given, "BROOD_PROCESS");

    if (r < 0)
        return r;
    if (!options->run == !options->program)
        return brood_fail(-EINVAL, "a process needs either a function or a program: set .run or .program");
    if (options->arguments && !options->program)
        return brood_fail(-EINVAL, "arguments are for a program; a function has its context");
    if (options->pass_fds_count > 0 && !options->pass_fds)
        return brood_fail(-EINVAL, "there are no %zu descriptors to pass", options->pass_fds_count);
    for (size_t i = 0; i < options->pass_fds_count; i++)
        if (fcntl(options->pass_fds[i], F_GETFD) < 0)
            return brood_fail(-EINVAL, "descriptor %d, which is to be passed, is not open", options->pass_fds[i]);
    return 0;
}

static int start_take_name(struct brood_process *process, const char *given)
{
    char text[NAME_MAX_BYTES + 1];

    brood__process_number(process);
    (void)snprintf(text, sizeof(text), "Process-%.50s", process->numbers);
    return brood__name_set(&process->names, given ? given : text);
}

static int new_process(struct brood_process **ret_process, const struct brood_process_options *options)
{
    struct brood_process *process = calloc(1, sizeof(*process));
    int r;

    if (!process)
        return brood_fail(-ENOMEM, "out of memory");
    process->kind = PROCESS_CHILD;
    process->generation = atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
    process->holders = 1;
    process->pidfd = process->life_line = -1;
    process->gate = NO_GATE;
    process->daemon = options->daemon > 0 || (options->daemon == 0 && brood_process_current()->daemon);
    r = start_take_name(process, options->name);
    if (r < 0)
        brood__process_release(process);
    else
        *ret_process = process;
    return r;
}

static int open_pipe(int *ret_read, int *ret_write)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return brood_fail(-errno, "cannot make a pipe to start a process with: %s", strerror(errno));
    *ret_read = brood__fd_not_standard(ends[0]);
    *ret_write = brood__fd_not_standard(ends[1]);
    return 0;
}

/* Under the lock: each other fork finds these descriptors in the list of those to close. */
static int open_gate(struct brood_process *process, bool is_program)
{
    struct gate *gate = &process->gate;
    int r = open_pipe(&gate->read, &process->life_line);

    brood__run_assert_locked();
    if (r == 0 && is_program)
        r = open_pipe(&gate->trouble_read, &gate->trouble_write);
    if (r == 0 && !is_program) {
        gate->parent = brood__pidfd_watch(getpid());
        if (gate->parent < 0)
            r = brood_fail(gate->parent, "cannot open a descriptor of this process: %s", strerror(-gate->parent));
    }
    return r;
}

static int enlist(struct brood_process *process, bool is_program)
{
    int r;

    brood__lock(&brood__run_lock);
    r = open_gate(process, is_program);
    process->holders++;
    process->is_held_for_life = true;
    brood__process_list(process);
    brood__unlock(&brood__run_lock);
    return r;
}

/* What is left of one that could not be started, or not be followed. */
static void start_give_up(struct brood_process *process)
{
    brood__lock(&brood__run_lock);
    brood__close_gate(&process->gate);
    brood__unlock(&brood__run_lock);
    brood__process_release_life(process);
    brood__process_release(process);
}

/* The child is at the gate, so this number is its.  Under the lock, as in enlist().  If that fails the gate is not opened,
 * and the child ends; no process has to be killed by its number. */
static int start_watch(struct brood_process *process)
{
    int pidfd;

    brood__lock(&brood__run_lock);
    pidfd = brood__pidfd_watch(process->pid);
    if (pidfd >= 0)
        process->pidfd = pidfd;
    else
        brood__close_fd(&process->life_line);
    brood__unlock(&brood__run_lock);
    if (pidfd >= 0)
        return 0;
    while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return brood_fail(pidfd, "cannot open a descriptor of the new process: %s", strerror(-pidfd));
}

/* While its reading end is open here, too, a child that was killed meanwhile is no SIGPIPE. */
static void open_the_gate(struct brood_process *process)
{
    (void)!write(process->life_line, "", 1);
    brood__lock(&brood__run_lock);
    brood__close_fd(&process->gate.read);
    brood__close_fd(&process->gate.parent);
    brood__close_fd(&process->gate.trouble_write);
    if (!process->daemon)
        brood__close_fd(&process->life_line);
    brood__unlock(&brood__run_lock);
}

/* The executable runs when the pipe is closed by that. */
static int await_exec(struct brood_process *process, const char *program)
{
    int error = 0;
    ssize_t n;

    if (process->gate.trouble_read < 0)
        return 0;
    do
        n = read(process->gate.trouble_read, &error, sizeof(error));
    while (n < 0 && errno == EINTR);
    brood__lock(&brood__run_lock);
    brood__close_fd(&process->gate.trouble_read);
    brood__unlock(&brood__run_lock);
    if (n != sizeof(error))
        return 0;
    (void)brood__pidfd_wait(process->pidfd, BROOD_FOREVER);
    (void)brood__process_has_ended(process);
    brood__process_release(process);
    return brood_fail(-error, "cannot start %s: %s", program, strerror(error));
}

/* The child is to get no signal while it has this process's handlers. */
static pid_t fork_quietly(struct brood_process *process, const struct brood_process_options *options)
{
    sigset_t all, before;
    pid_t pid;
    int error;

    brood__streams_flush();
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    brood__process_starting = process;
    pid = fork();
    if (pid == 0)
        brood__child_main(process, options);
    error = errno;
    brood__process_starting = NULL;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? brood_fail(-error, "cannot fork: %s", strerror(error)) : pid;
}

static int launch(struct brood_process *process, const struct brood_process_options *options)
{
    int r = enlist(process, options->program != NULL);

    if (r == 0) {
        process->pid = fork_quietly(process, options);
        r = process->pid < 0 ? process->pid : start_watch(process);
    }
    if (r < 0) {
        start_give_up(process);
        return r;
    }
    open_the_gate(process);
    return await_exec(process, options->program);
}

static void start_warn_of_threads(const struct brood_process_options *options)
{
    static _Atomic bool has_warned;
    int threads = options->run ? brood__process_threads() : 0;

    if (threads > 1)
        brood__log_warn_once(&has_warned,
                             "a function is started in a fork of a process of %d threads: locks that others hold now are "
                             "held in it for ever; start it first, or give it a .program (BROOD_LOG=off: do not say so)",
                             threads);
}

int brood_process_start(struct brood_process **ret_process, const struct brood_process_options *given)
{
    struct brood_process_options options = {0};
    struct brood_process *process = NULL;
    int r = start_check_options(&options, given);

    if (r < 0)
        return r;
    brood__run_init();
    brood__run_at_exit();
    start_warn_of_threads(&options);
    brood__process_reap(false);
    r = new_process(&process, &options);
    if (r == 0)
        r = launch(process, &options);
    if (r < 0)
        return r;
    brood_log(BROOD_LOG_DEBUG, "%s is process %d", brood__name(&process->names), (int)process->pid);
    *ret_process = process;
    return 0;
}
