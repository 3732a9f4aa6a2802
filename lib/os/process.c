#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/process.h"

void brood__process_default_signals(void)
{
    struct sigaction action;

    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
            (void)signal(number, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, it would keep a parent from learning how its children ended */
}

void brood__process_unblock_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void brood__process_reset_signals(void)
{
    brood__process_default_signals();
    (void)signal(SIGINT, SIG_IGN);
    brood__process_unblock_signals();
}

bool brood__process_die_with(pid_t parent)
{
    /* The parent may have died before the request: then it is too late for the signal, and we have another parent. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

bool brood__process_renew_die_with(void)
{
    int number = 0;

    return (prctl(PR_GET_PDEATHSIG, &number) == 0 && number == SIGKILL) || prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

/* A pipe that loses its last writer signals who has asked for SIGIO, or for another signal in its place. */
int brood__process_die_with_pipe(int fd)
{
    if (fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETSIG, SIGKILL) < 0 ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) < 0)
        return -errno;
    return 0;
}

bool brood__process_is_orphan(int fd)
{
    struct pollfd watched = {.fd = fd};

    return poll(&watched, 1, 0) == 1 && (watched.revents & POLLHUP) != 0;
}

void brood__process_set_name(const char *name, const char *suffix)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%.10s-%s", name, suffix);
    (void)prctl(PR_SET_NAME, text);
}

int brood__process_threads(void)
{
    struct stat folder; /* which has a folder for each */

    return stat("/proc/self/task", &folder) == 0 ? (int)folder.st_nlink - 2 : 0;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Where a sandbox denies close_range(2): one by one, as far as numbers can go. */
static void close_from_to(unsigned from, unsigned to)
{
    long numbers;

    if (close_range(from, to, 0) == 0)
        return;
    numbers = sysconf(_SC_OPEN_MAX);
    for (unsigned fd = from; fd <= to && (numbers < 0 || fd < (unsigned long)numbers); fd++)
        (void)close((int)fd);
}

void brood__process_close_all_but(int *kept, size_t count)
{
    unsigned from = 3;

    qsort(kept, count, sizeof(*kept), compare);
    for (size_t i = 0; i < count; i++) {
        if (kept[i] < 3)
            continue;
        if ((unsigned)kept[i] > from)
            close_from_to(from, (unsigned)kept[i] - 1);
        from = (unsigned)kept[i] + 1;
    }
    close_from_to(from, INT_MAX);
}

int brood__fd_not_standard(int fd)
{
    int above;

    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (above < 0)
        return fd;
    (void)close(fd);
    return above;
}

void brood__process_empty_stdin(void)
{
    int null = open("/dev/null", O_RDONLY);

    if (null > STDIN_FILENO) { /* else standard input was closed, and this is it */
        (void)dup2(null, STDIN_FILENO);
        (void)close(null);
    }
}

uint64_t brood__process_memory_kib(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}
