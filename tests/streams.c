#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "streams.h"

BROOD_TASK_DEFINE(stop_at, struct stop, int)
{
    char byte;
    int fd = arg->path[0] ? open(arg->path, O_RDONLY | O_CLOEXEC) : -1; /* blocks until there is a writer */

    if (fd < 0 && arg->path[0])
        return -errno;
    while (fd >= 0 && read(fd, &byte, 1) > 0)
        ;
    if (fd >= 0)
        close(fd);
    *result = arg->number;
    return 0;
}

BROOD_TASK_DEFINE(hang_at, int, int)
{
    while (*arg % 50 == 0)
        pause();
    *result = *arg;
    return 0;
}

BROOD_TASK_DEFINE(close_and_open, struct stop, int)
{
    *result = -1;
    if (close_range(3, ~0U, 0) < 0)
        return -errno;
    for (int i = 0; i < arg->number; i++)
        *result = open(arg->path, O_RDWR | O_CLOEXEC);
    return *result < 0 ? -errno : 0;
}

BROOD_TASK_BYTES_DEFINE(close_and_reply, BROOD_ANY_SIZE)
{
    void *space;

    (void)arg;
    if (close_range(3, ~0U, 0) < 0)
        return -errno;
    space = brood_reply_space(reply, 1 << 20);
    if (space)
        memset(space, 1, 1 << 20);
    return 0; /* what brood_reply_space() found is the outcome */
}

static bool dies(const struct large *large)
{
    int fd;

    if (large->end != LARGE_DIES_FIRST && large->end != LARGE_FAILS_LATER)
        return large->end == LARGE_DIES;
    fd = open(large->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int end_large(const struct large *large, struct brood_reply *reply)
{
    if (dies(large))
        raise(SIGKILL);
    if (large->end == LARGE_FAILS_BARE)
        (void)brood_reply_set(reply, "", 0);
    if (large->end == LARGE_FAILS || large->end == LARGE_FAILS_LATER || large->end == LARGE_FAILS_BARE)
        return brood_fail(-EDOM, "large enough");
    return large->end != LARGE_FINE ? brood_reply_set(reply, "small", 5) : 0;
}

BROOD_TASK_BYTES_DEFINE(make_large, BROOD_ANY_SIZE)
{
    const struct large *large = arg.ptr;
    unsigned char *to = brood_reply_space(reply, large->bytes);

    if (!to)
        return 0; /* the reply knows why */
    for (uint64_t i = 0; i < large->bytes; i++)
        to[i] = byte_of(large->seed, i);
    return end_large(large, reply);
}

static bool divides(int64_t divisor, uint64_t index)
{
    return divisor != 0 && index % (uint64_t)divisor == 0;
}

static int take_turn(const struct turns *turns, uint64_t index)
{
    if (divides(turns->die, index))
        raise(SIGKILL);
    while (turns->hang != 0 && index == (uint64_t)turns->hang)
        pause();
    if (divides(turns->refuse, index))
        return brood_fail(-EDOM, "%llu is refused", (unsigned long long)index);
    if (turns->hits)
        turns->hits[index]++;
    return 0;
}

BROOD_LOOP_DEFINE(take_turns, struct turns)
{
    return context ? take_turn(context, index) : 0;
}

BROOD_SUM_DEFINE(circle, struct steps, double)
{
    double x = ((double)index + 0.5) * context->width;

    *result += context->width * 4 / (1 + x * x);
    return 0;
}

BROOD_SUM_DEFINE(count_up, struct turns, uint64_t)
{
    *result += index;
    return take_turn(context, index);
}

static void widen(struct extremes *total, const struct extremes *part)
{
    total->least = part->least < total->least ? part->least : total->least;
    total->most = part->most > total->most ? part->most : total->most;
}

BROOD_REDUCE_DEFINE(find_extremes, int64_t, struct extremes, widen, {INT64_MAX, INT64_MIN})
{
    int64_t value = (int64_t)index * *context % 1009;

    widen(result, &(struct extremes){value, value});
    return 0;
}
