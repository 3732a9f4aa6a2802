#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/clock.h"
#include "pool/output.h"

#define LOOKS 100 /* while the supervisor is just reading, which takes a microsecond */

void brood__output_open(struct output *ret_output, const struct station *station, unsigned pipes)
{
    struct output output = {.station = station, .task = OUTPUT_NO_TASK};

    if (pipes > sizeof(output.fds) / sizeof(output.fds[0])) /* somebody has written over the board */
        pipes = 0;
    for (unsigned i = 0; i < pipes; i++) {
        output.fds[i] = fcntl(STDOUT_FILENO + (int)i, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        output.pipes += output.fds[i] >= 0; /* without, nothing says whose a text is */
    }
    if (output.pipes < pipes)
        output.pipes = 0;
    /* Whoever is killed shall have written its last whole line. */
    if (pipes > 0)
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
    *ret_output = output;
}

/* Everything that has ever gone into that pipe: what the supervisor has read, if it is not just reading, and what is there.
 */
static uint64_t gone_into(const struct output *output, unsigned pipe)
{
    const _Atomic uint64_t *taken = &output->station->output_taken[pipe];

    for (int looks = 0; looks < LOOKS; looks++) {
        uint64_t before = atomic_load_explicit(taken, memory_order_acquire);
        int there = 0;

        if (!(before & OUTPUT_TAKING) && ioctl(output->fds[pipe], FIONREAD, &there) == 0 &&
            atomic_load_explicit(taken, memory_order_acquire) == before)
            return before / 2 + (uint64_t)there;
        brood__pause();
    }
    return UINT64_MAX;
}

/* Has nobody written anything since the last mark? */
static bool is_quiet(const struct output *output)
{
    for (unsigned i = 0; i < output->pipes; i++) {
        uint64_t now = gone_into(output, i);

        if (now == UINT64_MAX || now != output->behind[i])
            return false;
    }
    return true;
}

static void write_mark(int fd, const struct mark *mark)
{
    while (write(fd, mark, sizeof(*mark)) < 0 && errno == EINTR)
        ;
}

/* Other processes that the tasks have started may write meanwhile.  Then there will be one more mark. */
static void put_mark(struct output *output, unsigned task)
{
    struct mark mark = {.task = (uint16_t)task, .number = ++output->number};

    memcpy(mark.magic, MARK_MAGIC, MARK_MAGIC_BYTES);
    for (unsigned i = 0; i < output->pipes; i++) {
        uint64_t before = gone_into(output, i);

        write_mark(output->fds[i], &mark);
        output->behind[i] = before == UINT64_MAX ? UINT64_MAX : before + sizeof(mark);
    }
    output->task = task;
}

static void flush(FILE *stream)
{
    if (__fpending(stream) > 0)
        (void)fflush(stream);
}

void brood__output_end(const struct output *output)
{
    (void)output;
    flush(stdout);
    flush(stderr);
}

void brood__output_begin(struct output *output, unsigned task)
{
    brood__output_end(output);
    if (output->pipes > 0 && (task != output->task || !is_quiet(output)))
        put_mark(output, task);
}
