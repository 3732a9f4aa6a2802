#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/assert.h"
#include "os/clock.h"
#include "worker/output.h"

#define TRIES 100 /* while the supervisor is reading, which takes a microsecond */

void brood__output_open(struct output *ret_output, const struct worker_state *worker_state, unsigned pipes)
{
    struct output output = {.worker_state = worker_state, .task = OUTPUT_NO_TASK};

    if (pipes > sizeof(output.fds) / sizeof(output.fds[0])) /* a process has overwritten the pool header */
        pipes = 0;
    for (unsigned i = 0; i < pipes; i++) {
        output.fds[i] = fcntl(STDOUT_FILENO + (int)i, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        output.pipes += output.fds[i] >= 0; /* without it, no output could be attributed to a task */
    }
    if (output.pipes < pipes) {
        for (unsigned i = 0; i < pipes; i++)
            if (output.fds[i] >= 0)
                (void)close(output.fds[i]);
        output.pipes = 0;
    }
    /* A worker that is killed has written its last whole line. */
    if (pipes > 0)
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
    *ret_output = output;
}

/* The number of bytes ever written to that pipe: those that the supervisor has read, at a moment when it is not reading,
 * and those in the pipe. */
static uint64_t pipe_total(const struct output *output, unsigned pipe)
{
    const _Atomic uint64_t *taken = &output->worker_state->output_taken[pipe];

    brood__assert(pipe < output->pipes);
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t before = atomic_load_explicit(taken, memory_order_acquire);
        int there = 0;

        if (!(before & OUTPUT_TAKING) && ioctl(output->fds[pipe], FIONREAD, &there) == 0 &&
            atomic_load_explicit(taken, memory_order_acquire) == before)
            return before / 2 + (uint64_t)there;
        brood__pause();
    }
    return UINT64_MAX;
}

/* Has no process written anything since the last mark? */
static bool output_is_quiet(const struct output *output)
{
    for (unsigned i = 0; i < output->pipes; i++) {
        uint64_t now = pipe_total(output, i);

        if (now == UINT64_MAX || now != output->after_mark[i])
            return false;
    }
    return true;
}

static void mark_write(int fd, const struct mark *mark)
{
    while (write(fd, mark, sizeof(*mark)) < 0 && errno == EINTR)
        ;
}

/* Processes that the tasks have started may write meanwhile.  Then there is one more mark. */
static void mark_put(struct output *output, unsigned task)
{
    struct mark mark = {.task = (uint16_t)task, .number = ++output->number};

    memcpy(mark.magic, MARK_MAGIC, MARK_MAGIC_BYTES);
    for (unsigned i = 0; i < output->pipes; i++) {
        uint64_t before = pipe_total(output, i);

        mark_write(output->fds[i], &mark);
        output->after_mark[i] = before == UINT64_MAX ? UINT64_MAX : before + sizeof(mark);
    }
    output->task = task;
}

static void stream_flush(FILE *stream)
{
    if (__fpending(stream) > 0)
        (void)fflush(stream);
}

void brood__output_end(void)
{
    stream_flush(stdout);
    stream_flush(stderr);
}

void brood__output_begin(struct output *output, unsigned task)
{
    brood__output_end();
    if (output->pipes > 0 && (task != output->task || !output_is_quiet(output)))
        mark_put(output, task);
}
