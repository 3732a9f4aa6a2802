#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/process_attributes.h"

void brood__process_default_signals(void)
{
    struct sigaction action;

    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
            (void)signal(number, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL); /* if it were ignored, a parent could not learn how its children have ended */
}

void brood__process_unblock_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void brood__process_reset_signals(void)
{
    static const int for_the_host[] = {SIGINT, SIGQUIT, SIGHUP, SIGTTOU, SIGTTIN};

    brood__process_default_signals();
    for (size_t i = 0; i < sizeof(for_the_host) / sizeof(for_the_host[0]); i++)
        (void)signal(for_the_host[i], SIG_IGN);
    brood__process_unblock_signals();
}

bool brood__process_die_with(pid_t parent)
{
    /* The parent may have died before the request: then no signal comes, and this process has another parent. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

bool brood__process_renew_die_with(void)
{
    int number = 0;

    return (prctl(PR_GET_PDEATHSIG, &number) == 0 && number == SIGKILL) || prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

/* When a pipe loses its last writer, the kernel signals its owner with SIGIO, or with the signal that was chosen
 * instead. */
int brood__process_die_with_pipe(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETSIG, SIGKILL) < 0 ||
        fcntl(fd, F_SETFL, flags | O_ASYNC) < 0)
        return -errno;
    return 0;
}

bool brood__process_is_orphan(int fd)
{
    struct pollfd watched = {.fd = fd};

    return poll(&watched, 1, 0) == 1 && (watched.revents & POLLHUP) != 0;
}

/* By system calls: POSIX does not allow timer_create(3) in a handler. */
void brood__process_end_in(int64_t ns, int number)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    struct itimerspec when = {.it_value = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}};
    int timer;

    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0)
        (void)syscall(SYS_timer_settime, timer, 0, &when, NULL);
}

void brood__process_set_name(const char *name, const char *suffix)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%.10s-%s", name, suffix);
    (void)prctl(PR_SET_NAME, text);
}

int brood__process_threads(void)
{
    struct stat folder; /* it has a folder for each thread */

    return stat("/proc/self/task", &folder) == 0 ? (int)folder.st_nlink - 2 : 0;
}

static int fd_compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* If a sandbox denies close_range(2): one by one, up to the highest number. */
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

    qsort(kept, count, sizeof(*kept), fd_compare);
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

    if (null > STDIN_FILENO) { /* otherwise standard input was closed, and this is it now */
        (void)dup2(null, STDIN_FILENO);
        (void)close(null);
    }
}

void brood__process_fill_output(void)
{
    int null;

    do
        null = open("/dev/null", O_WRONLY);
    while (null >= STDIN_FILENO && null < STDERR_FILENO); /* it has filled a gap, and there may be another one */
    if (null > STDERR_FILENO)
        (void)close(null);
}

int brood__process_become_undumpable(void)
{
    return prctl(PR_GET_DUMPABLE) != 0 && prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
}

/* In kilobytes. */
static uint64_t peak_of_memory(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss : 0;
}

bool brood__process_has_pending(pid_t process, int number)
{
    unsigned long long pending = 0;
    char path[32], line[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", process);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file) && sscanf(line, "ShdPnd: %llx", &pending) != 1)
        ;
    if (file)
        (void)fclose(file);
    return pending >> (number - 1) & 1;
}

uint64_t brood__process_memory_kib(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return peak_of_memory();
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}
