#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/thread_cpu.h"

unsigned brood__cpu_here(void)
{
    return (unsigned)sched_getcpu(); /* -1 is CPU_NONE */
}

unsigned brood__cpu_wanted_by(pid_t tid)
{
    char path[32], text[512];
    const char *rest;
    char state;
    int cpu, fd;
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/./%d/stat", (int)tid); /* as in identity.c */
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CPU_NONE;
    length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[length < 0 ? 0 : length] = '\0';
    rest = strrchr(text, ')'); /* the name before it may contain any bytes */
    /* The state is the 3rd field, the CPU the 39th: proc(5). */
    if (!rest ||
        sscanf(
            rest + 1,
            " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
            "%*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
            &state, &cpu) != 2 ||
        state != 'R')
        return CPU_NONE;
    return (unsigned)cpu;
}

/* The kernel moves a thread at once if it must not run where it is, and leaves it there when the mask is widened again. */
static void thread_move(pid_t tid, const cpu_set_t *to, const cpu_set_t *before)
{
    if (sched_setaffinity(tid, sizeof(*to), to) == 0)
        (void)sched_setaffinity(tid, sizeof(*before), before);
}

/* May the thread run on the caller's CPU?  Gets its affinity mask. */
static bool get_affinity(pid_t tid, unsigned cpu, cpu_set_t *ret_set)
{
    return cpu < CPU_SETSIZE && sched_getaffinity(tid, sizeof(*ret_set), ret_set) == 0 && CPU_ISSET(cpu, ret_set);
}

void brood__cpu_give_to(pid_t tid)
{
    cpu_set_t before, here;
    unsigned cpu = brood__cpu_here();

    if (!get_affinity(tid, cpu, &before))
        return;
    CPU_ZERO(&here);
    CPU_SET(cpu, &here);
    thread_move(tid, &here, &before);
}

void brood__cpu_keep_from(pid_t tid)
{
    cpu_set_t before, others;
    unsigned cpu = brood__cpu_here();

    if (!get_affinity(tid, cpu, &before))
        return;
    others = before;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0)
        thread_move(tid, &others, &before);
}
