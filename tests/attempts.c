#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"

/* ---- attempts: 0, or the errno ---- */

static int error_of(long r)
{
    return r < 0 ? errno : 0;
}

static int make_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), error = error_of(fd);

    if (fd >= 0)
        close(fd);
    return error;
}

static int fork_child(void)
{
    pid_t child = fork();
    int error = error_of(child);

    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, 0);
    return error;
}

/* Were it not refused, the worker would be gone. */
static int run_program(void)
{
    return error_of(execl("/bin/true", "true", (char *)NULL));
}

static int fork_by_clone3(void)
{
    struct clone_args how = {.exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &how, sizeof(how));
    int error = error_of(child);

    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid((pid_t)child, NULL, 0);
    return error;
}

static int leave_child_with_parent(void)
{
    long child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);

    if (child == 0)
        _exit(0);
    return error_of(child);
}

static int open_with(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600), error = error_of(fd);

    if (fd >= 0)
        close(fd);
    return error;
}

static int open_by_openat2(const char *path)
{
    struct open_how how = {.flags = O_WRONLY | O_CLOEXEC};
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    int error = error_of(fd);

    if (fd >= 0)
        close((int)fd);
    return error;
}

static int rename_it(const char *path)
{
    char other[128];

    snprintf(other, sizeof(other), "%s.other", path);
    return error_of(rename(path, other));
}

static int change_times(const char *path)
{
    return error_of(utimensat(AT_FDCWD, path, NULL, 0));
}

/* By malloc(), as a decoder would. */
static int have_memory(size_t bytes)
{
    volatile char *memory = malloc(bytes);
    int error = memory ? 0 : errno;

    for (size_t i = 0; memory && i < bytes; i += 4096)
        memory[i] = 1;
    free((void *)memory);
    return error;
}

/* What is written to it is mapped nowhere. */
static int have_memory_file(void)
{
    int fd = memfd_create("attempt", MFD_CLOEXEC), error = fd < 0 || write(fd, "x", 1) != 1 ? errno : 0;

    if (fd >= 0)
        close(fd);
    return error;
}

static int have_descriptors(int count)
{
    int fds[256], error = 0, i;

    for (i = 0; i < count && error == 0; i++)
        error = error_of(fds[i] = dup(STDOUT_FILENO));
    while (i-- > 0)
        if (fds[i] >= 0)
            close(fds[i]);
    return error;
}

static int write_bytes(const char *path, size_t count)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), error = error_of(fd);

    for (size_t i = 0; i < count && error == 0; i += 100)
        error = error_of(write(fd, (char[100]){0}, 100));
    if (fd >= 0)
        close(fd);
    return error;
}

static int raise_limit(void)
{
    return error_of(setrlimit(RLIMIT_AS, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}));
}

static int read_parents_memory(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)raise_limit, 1};

    return error_of(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}

static int limit_parent(void)
{
    struct rlimit limit = {1000, 1000};

    return error_of(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit));
}

static int use_io_uring(void)
{
    char parameters[120] = {0}; /* struct io_uring_params */

    return error_of(syscall(SYS_io_uring_setup, 4, parameters));
}

/* A worker that has it could truncate the memory under the host. */
static int reach_segment(void)
{
    struct stat status;

    for (int fd = 3; fd < 1024; fd++)
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0)
            return 0;
    return EBADF;
}

static void *nothing(void *argument)
{
    return argument;
}

static int defy_limit_of_time(void)
{
    volatile int turns = 0;

    if (signal(SIGXCPU, SIG_IGN) == SIG_ERR)
        return errno;
    for (;;)
        turns = turns ^ 1;
}

static int start_thread(void)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, nothing, NULL);

    return error ? error : pthread_join(thread, NULL);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static int signal_itself(void)
{
    signals = 0;
    signal(SIGUSR1, count_signal);
    if (raise(SIGUSR1) != 0 || kill(getpid(), SIGUSR1) != 0 || pthread_kill(pthread_self(), SIGUSR1) != 0)
        return errno;
    return signals == 3 ? 0 : EINTR;
}

static int schedule_itself(void)
{
    cpu_set_t here;

    if (sched_getaffinity(0, sizeof(here), &here) < 0 || sched_setaffinity(0, sizeof(here), &here) < 0 ||
        sched_setaffinity(getpid(), sizeof(here), &here) < 0 ||
        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0)) < 0)
        return errno;
    return error_of(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}));
}

static int use_pairs(void)
{
    int ends[2], error = 0;

    for (int i = 0; i < 2 && error == 0; i++) {
        error = error_of(socketpair(AF_UNIX, (i ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends));
        if (error == 0 && (write(ends[0], "x", 1) != 1 || read(ends[1], (char[1]){0}, 1) != 1))
            error = errno;
        if (error == 0)
            error = error_of(close(ends[0])) | error_of(close(ends[1]));
    }
    return error;
}

/* What the C library asks of a stream, and programs of a pipe. */
static int ask_by_ioctl(void)
{
    int ends[2], there = 0;

    if (isatty(STDIN_FILENO) || errno != ENOTTY || pipe(ends) < 0)
        return errno;
    if (write(ends[1], "xy", 2) != 2 || ioctl(ends[0], FIONREAD, &there) < 0 || ioctl(ends[0], FIONBIO, &there) < 0)
        return errno;
    return error_of(close(ends[0])) | error_of(close(ends[1])) | (there == 2 ? 0 : EIO);
}

/* Blocks of all sizes, kept for a while, so that the allocator takes each of its ways. */
static int allocate(unsigned seed)
{
    enum { KEPT = 64 };
    char *kept[KEPT] = {NULL};
    int error = 0;

    for (int i = 0; i < 300 && error == 0; i++) {
        size_t bytes = (size_t)1 << (rand_r(&seed) % 18);
        char **block = &kept[rand_r(&seed) % KEPT], *grown = realloc(*block, bytes);

        error = grown ? 0 : errno;
        if (grown)
            *block = memset(grown, i, bytes);
    }
    for (int i = 0; i < KEPT; i++)
        free(kept[i]);
    return error;
}

/* Numbers as text and back. */
static int calculate(void)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    double sum = 0, from = 0;

    if (!to)
        return errno;
    for (int i = 1; i < 1000; i++)
        sum += exp(-sin(i)) / sqrt(i);
    (void)fprintf(to, "%.17g", sum);
    if (fclose(to) == 0)
        from = strtod(text, NULL);
    free(text);
    return from == sum && isatty(STDIN_FILENO) == 0 ? 0 : EDOM;
}

static int take_time(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec at;
    time_t now = time(NULL);
    struct tm local;
    int error;

    if (!localtime_r(&now, &local) || clock_gettime(CLOCK_REALTIME, &at) < 0 ||
        nanosleep(&(struct timespec){0, 1000}, NULL) < 0)
        return errno;
    pthread_mutex_lock(&lock);
    error = pthread_cond_timedwait(&never, &lock, &at);
    pthread_mutex_unlock(&lock);
    return error == ETIMEDOUT ? 0 : error;
}

static int pass_through_pipe(void)
{
    char bytes[16], random[16];
    struct stat status;
    int ends[2];

    if (getrandom(random, sizeof(random), 0) != sizeof(random) || pipe(ends) < 0 || fstat(ends[0], &status) < 0)
        return errno;
    if (write(ends[1], random, sizeof(random)) != sizeof(random) ||
        poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, -1) != 1 ||
        read(ends[0], bytes, sizeof(bytes)) != sizeof(bytes))
        return errno;
    return error_of(close(ends[0])) | error_of(close(ends[1])) | (memcmp(bytes, random, sizeof(bytes)) ? EIO : 0);
}

static void *compute_in_thread(void *seed)
{
    int error = allocate(*(unsigned *)seed);

    if (error == 0)
        error = calculate();
    if (error == 0)
        error = take_time();
    return (void *)(intptr_t)error;
}

static int compute(void)
{
    pthread_t threads[4];
    unsigned seeds[4] = {1, 2, 3, 4};
    int error = pass_through_pipe(), count = 0;
    void *result;

    for (; count < 4 && error == 0; count += error == 0)
        error = pthread_create(&threads[count], NULL, compute_in_thread, &seeds[count]);
    while (count-- > 0)
        if (pthread_join(threads[count], &result) == 0 && error == 0)
            error = (int)(intptr_t)result;
    return error;
}

static int print(void)
{
    return printf("%s", "") < 0 || fflush(stdout) != 0 ? errno : 0;
}

static int try_file(const struct attempt *how)
{
    switch (how->what) {
    case OPEN_TO_READ:
        return open_with(how->path, O_RDONLY);
    case OPEN_TO_WRITE:
        return open_with(how->path, O_WRONLY);
    case OPEN_TO_CREATE:
        return open_with(how->path, O_RDONLY | O_CREAT);
    case OPEN_TO_TRUNCATE:
        return open_with(how->path, O_RDONLY | O_TRUNC);
    case OPEN_NAMELESS:
        return open_with("/tmp", O_TMPFILE | O_RDWR);
    case OPEN_BY_OPENAT2:
        return open_by_openat2(how->path);
    case TRUNCATE:
        return error_of(truncate(how->path, 0));
    case REMOVE:
        return error_of(unlink(how->path));
    case RENAME:
        return rename_it(how->path);
    case MAKE_FOLDER:
        return error_of(mkdir(how->path, 0700));
    case CHANGE_MODE:
        return error_of(chmod(how->path, 0777));
    case CHANGE_TIMES:
        return change_times(how->path);
    default:
        return write_bytes(how->path, 100000);
    }
}

static int try_any(const struct attempt *how)
{
    switch (how->what) {
    case MAKE_INTERNET_SOCKET:
        return make_socket(AF_INET);
    case MAKE_LOCAL_SOCKET:
        return make_socket(AF_UNIX);
    case FORK_CHILD:
        return fork_child();
    case RUN_PROGRAM:
        return run_program();
    case SIGNAL_PARENT:
        return error_of(kill(getppid(), 0));
    case SIGNAL_ALL:
        return error_of(kill(-1, 0));
    case SIGNAL_BY_DESCRIPTOR:
        return error_of(fcntl(STDOUT_FILENO, F_SETOWN, getppid()));
    case FORK_BY_CLONE3:
        return fork_by_clone3();
    case LEAVE_CHILD_WITH_PARENT:
        return leave_child_with_parent();
    case HAVE_300_MIB:
        return have_memory((size_t)300 << 20);
    case HAVE_128_MIB:
        return have_memory((size_t)128 << 20);
    case HAVE_32_MIB:
        return have_memory((size_t)32 << 20);
    case HAVE_MEMORY_FILE:
        return have_memory_file();
    case HAVE_200_DESCRIPTORS:
        return have_descriptors(200);
    case DEFY_LIMIT_OF_TIME:
        return defy_limit_of_time();
    case RAISE_LIMIT:
        return raise_limit();
    case TRACE_PARENT:
        return error_of(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL));
    case READ_PARENTS_MEMORY:
        return read_parents_memory();
    case LIMIT_PARENT:
        return limit_parent();
    case OUTLIVE_PARENT:
        return error_of(prctl(PR_SET_PDEATHSIG, 0));
    case LEAVE_GROUP:
        return error_of(setsid());
    case USE_IO_URING:
        return use_io_uring();
    case MAKE_NAMESPACE:
        return error_of(unshare(CLONE_NEWUSER));
    case REACH_SEGMENT_BY_DESCRIPTOR:
        return reach_segment();
    case BE_PRIVILEGED:
        return error_of(chroot("/"));
    case START_THREAD:
        return start_thread();
    case SIGNAL_ITSELF:
        return signal_itself();
    case SCHEDULE_ITSELF:
        return schedule_itself();
    case USE_PAIRS:
        return use_pairs();
    case ASK_BY_IOCTL:
        return ask_by_ioctl();
    case COMPUTE:
        return compute();
    case PRINT:
        return print();
    default:
        return try_file(how);
    }
}

/* Says by the pipe that it has the memory, and keeps it until it is killed. */
static void fill(int told, size_t bytes)
{
    char *memory = malloc(bytes);

    if (!memory)
        _exit(1);
    memset(memory, 1, bytes);
    (void)!write(told, memory, 1);
    for (;;)
        pause();
}

/* Returns when it has filled its memory, or has died of it. */
static pid_t start_filling(size_t bytes)
{
    int ends[2];
    pid_t child;
    char c;

    if (pipe(ends) < 0)
        return -1;
    child = fork();
    if (child == 0)
        fill(ends[1], bytes);
    close(ends[1]);
    (void)!read(ends[0], &c, 1);
    close(ends[0]);
    return child;
}

BROOD_TASK_DEFINE(fill_in_children, struct filling, int)
{
    pid_t children[64] = {0};

    for (int i = 0; i < arg->children && i < 64; i++)
        children[i] = start_filling((size_t)arg->mib << 20);
    *result = 0;
    for (int i = 0; i < arg->children && i < 64; i++) {
        *result += children[i] > 0 && waitpid(children[i], NULL, WNOHANG) == 0;
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    }
    return 0;
}

BROOD_TASK_DEFINE(attempt, struct attempt, int)
{
    *result = try_any(arg);
    return 0;
}

BROOD_TASK_DEFINE(call_by_x32, int, int)
{
    *result = (int)syscall(0x40000000L | SYS_getpid) + *arg;
    return 0;
}

BROOD_TASK_DEFINE(burn, int, int)
{
    volatile int turns = 0;

    for (*result = 0; *arg >= 0;)
        turns = turns ^ 1;
    return turns;
}

BROOD_TASK_DEFINE(holdings, int, struct held)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];

    *result = (struct held){.no_new_privileges = *arg};
    while (status && fgets(line, sizeof(line), status)) {
        (void)sscanf(line, "NoNewPrivs: %d", &result->no_new_privileges);
        (void)sscanf(line, "Seccomp_filters: %d", &result->filters);
        (void)sscanf(line, "CapPrm: %llx", &result->capabilities);
    }
    if (status)
        fclose(status);
    return status ? 0 : -errno;
}
