/* process_child.c - the other side of brood_process_start(). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "os/error.h"
#include "os/exit_hook.h"
#include "os/log.h"
#include "os/process_attributes.h"
#include "run/failure.h"
#include "run/process.h"
#include "run/run.h"
#include "run/streams.h"
#include "run/thread.h"

/* ---- before the function ---- */

/* Until the parent has a pidfd of us.  If it dies before, or cannot get one, nothing has been started.  The byte is read
 * before the pipe becomes the life line: its arrival would be a signal, too. */
static void pass_gate(struct brood_process *process)
{
    ssize_t n;
    char byte;
    int r;

    do
        n = read(process->gate.read, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(EXIT_FAILURE);
    if (!process->daemon) {
        brood__close_fd(&process->gate.read);
        return;
    }
    r = brood__process_die_with_pipe(process->gate.read);
    if (r < 0)
        brood_log(BROOD_LOG_WARNING, "no signal for the death of the parent: %s", strerror(-r));
    if (brood__process_is_orphan(process->gate.read))
        _exit(EXIT_FAILURE);
}

static size_t keep(const struct brood_process *process, const struct brood_process_options *options, int *kept)
{
    const int own[] = {process->gate.read, process->gate.parent, process->gate.trouble_write};
    size_t count = options->pass_fds_count;

    if (count > 0)
        memcpy(kept, options->pass_fds, count * sizeof(*kept));
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (own[i] >= 0)
            kept[count++] = own[i];
    return count;
}

static void close_the_rest(const struct brood_process *process, const struct brood_process_options *options)
{
    int kept[options->pass_fds_count + 3];

    if (!options->close_fds)
        return;
    brood__process_close_all_but(kept, keep(process, options, kept));
    brood__threads_descriptors_closed();
}

/* ---- an executable ---- */

static void keep_over_exec(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static size_t child_count(const char *const *arguments)
{
    size_t n = 0;

    while (arguments && arguments[n])
        n++;
    return n;
}

static _Noreturn void become_program(struct brood_process *process, const struct brood_process_options *options)
{
    size_t n = child_count(options->arguments);
    char *line[n + 2];
    int error;

    line[0] = (char *)options->program;
    if (n > 0)
        memcpy(line + 1, options->arguments, n * sizeof(line[0]));
    line[n + 1] = NULL;
    for (size_t i = 0; i < options->pass_fds_count; i++)
        keep_over_exec(options->pass_fds[i]);
    if (process->daemon)
        keep_over_exec(process->gate.read);
    (void)execvp(options->program, line);
    error = errno;
    (void)!write(process->gate.trouble_write, &error, sizeof(error));
    _exit(127);
}

/* ---- a function ---- */

/* The first exit handler of this process, so that exit() calls it last, and those that were inherited never. */
static void last_handler(int status, void *context)
{
    (void)context;
    brood__run_end();
    brood__streams_flush();
    brood__exit_hook();
    _exit(status & 0xff);
}

static int call(const struct brood_process_options *options)
{
    int r = options->run(options->context);

    if (r >= 0)
        return r > 255 ? 255 : r;
    brood__failed(&brood__process_hook, "process", brood_process_name(brood_process_current()), r);
    return EXIT_FAILURE;
}

static _Noreturn void become_function(struct brood_process *process, const struct brood_process_options *options)
{
    int status;

    brood__process_become(process);
    if (options->name)
        (void)prctl(PR_SET_NAME, options->name);
    brood__error_clear();
    if (on_exit(last_handler, NULL) != 0)
        _exit(EXIT_FAILURE);
    status = call(options);
    brood__run_end(); /* threads end before exit handlers run, as at any program's exit */
    exit(status);
}

_Noreturn void brood__child_main(struct brood_process *process, const struct brood_process_options *options)
{
    brood__streams_forget();
    brood__process_default_signals(); /* before any can come: they are blocked over the fork */
    brood__process_unblock_signals();
    pass_gate(process);
    close_the_rest(process, options);
    if (options->program)
        become_program(process, options);
    become_function(process, options);
}
