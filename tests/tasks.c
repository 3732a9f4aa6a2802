#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/lane.h"
#include "tasks.h"

BROOD_TASK_DEFINE(square, double, double)
{
    *result = *arg * *arg;
    return 0;
}

BROOD_TASK_DEFINE(refuse_odd, int, int)
{
    *result = *arg / 2;
    return *arg % 2 ? brood_fail(-EDOM, "%d is odd", *arg) : 0;
}

BROOD_TASK_DEFINE(complain, int, int)
{
    *result = 0;
    return brood_fail(-EDOM, "%0*d", *arg, 0);
}

BROOD_TASK_DEFINE(rotate, struct block, struct block)
{
    for (size_t i = 0; i < sizeof(arg->bytes); i++)
        result->bytes[(i + 1) % sizeof(arg->bytes)] = arg->bytes[i];
    return 0;
}

BROOD_TASK_DEFINE(halve, struct wide, struct wide)
{
    if ((uintptr_t)arg % _Alignof(struct wide) != 0 || (uintptr_t)result % _Alignof(struct wide) != 0)
        return -EFAULT;
    for (int i = 0; i < 4; i++)
        result->lanes[i] = arg->lanes[i] / 2;
    return 0;
}

BROOD_TASK_DEFINE(whereabouts, int, struct place)
{
    (void)arg;
    *result = (struct place){.pid = getpid(), .worker = brood_worker_id()};
    return 0;
}

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

BROOD_TASK_DEFINE(tell_time, int, int64_t)
{
    if (*arg)
        (void)raise(*arg);
    *result = now_ns();
    return 0;
}

static bool is_there(const char *path, const char *suffix)
{
    char name[PATH_MAX];

    (void)snprintf(name, sizeof(name), "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

static void write_down(const char *path, char letter)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, &letter, 1) != 1)
        abort();
    close(fd);
}

int begin_diary(void *context, void **ret_state)
{
    struct place *state;

    if (is_there(context, ".fail"))
        return brood_fail(-ENODEV, "no diary today");
    if (is_there(context, ".late"))
        usleep(50000);
    write_down(context, 'b');
    state = malloc(sizeof(*state));
    if (!state)
        return -ENOMEM;
    *state = (struct place){.pid = getpid(), .worker = brood_worker_id()};
    *ret_state = state;
    return 0;
}

void end_diary(void *context, void *state)
{
    if (is_there(context, ".slow"))
        usleep(1500000);
    write_down(context, state && brood_worker_state() == state ? 'e' : '?');
    free(state);
}

BROOD_TASK_DEFINE(tell_state, int, struct place)
{
    const struct place *state = brood_worker_state();

    (void)arg;
    if (!state)
        return brood_fail(-ENODATA, "no state");
    *result = *state;
    return 0;
}

static int pass(const struct gate *gate)
{
    char mark[sizeof(gate->path) + 8], byte;
    int fd;

    snprintf(mark, sizeof(mark), "%s.here", gate->path);
    fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    fd = open(gate->path, O_RDONLY | O_CLOEXEC); /* blocks until there is a writer */

    if (fd < 0)
        return -errno;
    while (read(fd, &byte, 1) > 0)
        ;
    close(fd);
    return 0;
}

BROOD_TASK_DEFINE(wait_at, struct gate, int)
{
    *result = 1;
    return pass(arg);
}

BROOD_TASK_DEFINE(tell_time_behind, struct gate, int64_t)
{
    int r = arg->path[0] ? pass(arg) : 0;

    *result = now_ns();
    return r;
}

BROOD_TASK_DEFINE(hang, int, int)
{
    for (*result = *arg; *arg >= 0;)
        pause();
    return 0;
}

BROOD_TASK_DEFINE(die_by, int, int)
{
    *result = *arg;
    if (*arg != 0)
        raise(*arg);
    return 0;
}

BROOD_TASK_DEFINE(leave_with, int, int)
{
    *result = *arg;
    _exit(*arg);
}

BROOD_TASK_DEFINE(call_exit, int, int)
{
    *result = *arg;
    exit(*arg); /* NOLINT(concurrency-mt-unsafe): the worker's only thread */
}

BROOD_TASK_DEFINE(end_somehow, int, int)
{
    *result = *arg;
    switch ((enum way)(*arg % ENDINGS)) {
    case KILL_ITSELF:
        return raise(SIGKILL);
    case ABORT:
        abort();
    case EXIT_WELL:
        exit(0); /* NOLINT(concurrency-mt-unsafe): the worker's only thread */
    case EXIT_AT_ONCE:
        _exit(3);
    case EXIT_THREAD:
        pthread_exit(NULL);
    default:
        return 0;
    }
}

BROOD_TASK_DEFINE(die_if_divisible, int, int)
{
    if (*arg % 97 == 0)
        raise(SIGKILL);
    *result = *arg + 1;
    return 0;
}

BROOD_TASK_DEFINE(nest, int, int)
{
    brood_auto(pool) *pool = NULL;
    double in[100], out[100];
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2, .kind = (enum brood_kind) * arg));

    for (int i = 0; i < 100; i++)
        in[i] = i;
    if (r == 0)
        r = brood_map(pool, square, out, in, 100);
    *result = r == 0 ? (int)out[99] : 0;
    return r;
}

BROOD_TASK_DEFINE(dig, int, int)
{
    brood_auto(pool) *pool = NULL;
    int deeper = 0, r = brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = (enum brood_kind) * arg));

    if (r == -ELOOP) {
        *result = 1;
        return 0;
    }
    if (r == 0)
        r = brood_apply(pool, dig, &deeper, arg);
    *result = deeper + 1;
    return r;
}

BROOD_TASK_DEFINE(fork_and_leave, int, int)
{
    pid_t child = fork();
    int status = 0;

    *result = *arg;
    if (child > 0)
        waitpid(child, &status, 0);
    else if (child == 0)
        return 0; /* on into the worker's loop, which must not run twice */
    return WIFSIGNALED(status) ? 0 : -ECHILD;
}

BROOD_TASK_DEFINE(leave_a_child, int, int)
{
    (void)arg;
    *result = fork();
    while (*result == 0)
        pause();
    return *result > 0 ? 0 : -errno;
}

/* The child has not got the argument. */
BROOD_TASK_DEFINE(child_dies_by, int, int)
{
    int number = *arg, status;
    pid_t child = fork();

    if (child == 0) {
        (void)raise(number);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -errno;
    *result = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return 0;
}

static volatile sig_atomic_t status_at_term;

static void leave(int number)
{
    (void)number;
    if (status_at_term > 0)
        _exit(status_at_term);
    (void)raise(SIGSEGV);
}

BROOD_TASK_DEFINE(leave_at_term, int, int)
{
    status_at_term = *arg;
    for (signal(SIGTERM, leave); *arg >= 0;)
        pause();
    *result = 0;
    return 0;
}

BROOD_TASK_DEFINE(change_user, int, int)
{
    *result = *arg;
    return setgid((gid_t)*arg) < 0 || setuid((uid_t)*arg) < 0 ? -errno : 0;
}

/* As vfork(2), with memory of its own for the child. */
BROOD_TASK_DEFINE(stand_in_vfork, int, int)
{
    *result = *arg;
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0)
        for (;;)
            pause();
    return 0;
}

BROOD_TASK_DEFINE(succeed_late, int, int)
{
    while (!brood_cancelled())
        usleep(100);
    *result = *arg;
    return 0;
}

BROOD_TASK_DEFINE(obey, int, int)
{
    *result = *arg;
    while (!brood_cancelled())
        usleep(100);
    return brood_fail(-EINTR, "told to stop");
}

static void block_all(int how)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(how, &all, NULL);
}

BROOD_TASK_DEFINE(shrug, int, int)
{
    signal(SIGTERM, SIG_IGN);
    if (*arg)
        block_all(SIG_UNBLOCK);
    for (*result = *arg; *result == *arg;)
        pause();
    return 0;
}

BROOD_TASK_DEFINE(outlast, int, int)
{
    int64_t until = now_ns() + *arg * INT64_C(1000000);

    *result = *arg;
    for (block_all(SIG_BLOCK); now_ns() < until;)
        usleep(1000);
    return 0;
}

static int64_t cpu_ns(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

BROOD_TASK_DEFINE(use_cpu, int, int)
{
    int64_t until = cpu_ns() + *arg * INT64_C(1000000);

    *result = *arg;
    if (*arg == 0)
        while (!brood_cancelled())
            ;
    else if (*arg > 0)
        while (cpu_ns() < until)
            ;
    else
        for (block_all(SIG_BLOCK);;)
            (void)cpu_ns();
    return *arg ? 0 : brood_fail(-EINTR, "told to stop");
}

BROOD_TASK_DEFINE(sleep_for, int, int)
{
    *result = *arg;
    usleep((unsigned)*arg * 1000);
    return 0;
}

BROOD_TASK_DEFINE(block_and_die, int, int)
{
    *result = *arg;
    block_all(SIG_BLOCK);
    return raise(*arg);
}

BROOD_TASK_DEFINE(defy, int, int)
{
    *result = *arg;
    block_all(SIG_BLOCK);
    while (*result == *arg)
        pause();
    return 0;
}

/* Ends when `left` is 0, which is never reached; the compiler does not know. */
static int descend(volatile int *left)
{
    volatile char frame[4096];

    frame[0] = (char)*left;
    return --*left == 0 ? frame[0] : descend(left) + frame[0];
}

BROOD_TASK_DEFINE(overflow, int, int)
{
    volatile int left = INT_MAX - *arg;

    *result = descend(&left);
    return 0;
}

static __attribute__((noinline)) void write_to_address(uintptr_t address, int number)
{
    *(volatile int *)address = number; /* NOLINT */
}

BROOD_TASK_DEFINE(touch_nothing, int, int)
{
    volatile uintptr_t address = 64;

    write_to_address(address, *arg);
    *result = 0;
    return 0;
}

BROOD_TASK_DEFINE(load_crash, int, int)
{
    const char *path = getenv("BROOD_TEST_MODULE"); /* NOLINT(concurrency-mt-unsafe): nobody changes it */
    void *module = path ? dlopen(path, RTLD_NOW) : NULL;

    *result = *arg;
    return module ? dlclose(module) : brood_fail(-ENOENT, "%s", path ? dlerror() : "BROOD_TEST_MODULE"); /* NOLINT */
}

/* The compiler does not see how far it goes; and a sanitizer, which would end the process itself, is not to look. */
static __attribute__((noinline, no_sanitize_address)) void write_upward(volatile unsigned char *at, int count)
{
    for (int i = 0; i < count; i++)
        at[i] = 0x41;
}

static __attribute__((noinline, no_sanitize_address)) int smash(int count)
{
    unsigned char small[8];

    write_upward(small, count);
    return small[7];
}

BROOD_TASK_DEFINE(smash_stack, int, int)
{
    *result = smash(*arg);
    return 0;
}

BROOD_TASK_DEFINE(leak, int, int)
{
    size_t bytes = (size_t)*arg << 20;
    static void *volatile kept;

    kept = malloc(bytes);
    if (!kept)
        return -ENOMEM;
    memset(kept, 1, bytes);
    *result = getpid();
    return 0;
}

static int die_if_early(const struct trial *trial, int *ret_times)
{
    int fd = open(trial->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, "", 1) != 1)
        return -errno;
    *ret_times = (int)lseek(fd, 0, SEEK_END);
    close(fd);
    if (*ret_times <= trial->deaths)
        raise(SIGKILL);
    return 0;
}

BROOD_TASK_DEFINE(die_at_first, struct trial, int)
{
    return die_if_early(arg, result);
}

BROOD_TASK_DEFINE(die_at_first_large, struct large_trial, int)
{
    return die_if_early(&arg->trial, result);
}

BROOD_TASK_BYTES_DEFINE(reverse, 1 << 20)
{
    unsigned char *to = brood_reply_space(reply, arg.len);

    if (!to)
        return -EMSGSIZE;
    for (size_t i = 0; i < arg.len; i++)
        to[i] = ((const unsigned char *)arg.ptr)[arg.len - 1 - i];
    return 0;
}

BROOD_TASK_BYTES_DEFINE(boast, 10)
{
    return brood_reply_set(reply, arg.ptr, arg.len);
}

/* ---- a task that means harm ---- */

struct area {
    unsigned char *from, *to;
};

/* Where the segment that this address lies in is mapped. */
static struct area area_of(const void *address)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long from, to, wanted = (unsigned long)(uintptr_t)address;
    struct area found = {NULL, NULL};
    char line[512];

    while (maps && !found.from && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= wanted && wanted < to)
            found = (struct area){(unsigned char *)from, (unsigned char *)to}; /* NOLINT: the kernel calls it that */
    if (maps)
        fclose(maps);
    return found;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static void write_over(unsigned char *at, const struct harm *harm, uint64_t *state)
{
    if (harm->how == HARM_ZEROS || harm->how == HARM_ONES)
        memset(at, harm->how == HARM_ZEROS ? 0 : 0xff, harm->bytes);
    for (size_t i = 0; harm->how == HARM_NOISE && i < harm->bytes; i++)
        at[i] = (unsigned char)next_random(state);
    for (int i = 0; harm->how == HARM_FLIPS && i < 64; i++)
        at[next_random(state) % harm->bytes] ^= (unsigned char)(1u << next_random(state) % 8);
    for (int i = 0; harm->how == HARM_WORDS && i < 64; i++) { /* of a slot: a likely one, of the wrong kind */
        uint64_t word = next_random(state) % 6 | (next_random(state) % 3) << 4 | (next_random(state) % 2048) << 16;

        memcpy(at + next_random(state) % (harm->bytes / 64) * 64, &word, sizeof(word));
    }
}

BROOD_TASK_DEFINE(do_harm, struct harm, int)
{
    struct harm harm = *arg; /* it will be gone */
    unsigned char *base = area_of(arg).from;
    uint64_t state = harm.seed * 2 + 1;

    if (!base)
        return -ENOENT;
    for (int i = 0; i < harm.rounds; i++)
        write_over(base + harm.offset, &harm, &state);
    *result = 1;
    return 0;
}

/* Writes over the pages that only its supervisor has, too: of 4 KiB, shared, and without a name. */
static void clear_own_pages(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long from, to;
    char line[512];

    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, " rw-s ") && (strstr(line, "/dev/zero") || strstr(line, "/memfd:brood-hold")) &&
            sscanf(line, "%lx-%lx", &from, &to) == 2 && to - from == 4096)
            memset((void *)from, 0, 4096); /* NOLINT: that is what the kernel calls it */
    if (maps)
        fclose(maps);
}

BROOD_TASK_DEFINE(lie, struct lie, int)
{
    struct slot *slot = (struct slot *)(uintptr_t)((const char *)arg - offsetof(struct slot, arg));
    uint64_t position = word_position(atomic_load(&slot->word));
    struct lie told = *arg;

    if (told.how == LIE_NOBODY)
        clear_own_pages();
    atomic_store(&slot->word,
                 told.how == LIE_WAITS ? word_of(SLOT_READY, 0, position) : word_of(SLOT_RUN, told.other, position));
    *result = close(open(told.mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    while (*result == 0)
        pause();
    return -errno;
}

BROOD_TASK_DEFINE(touch_beyond, uint64_t, int)
{
    struct area area = area_of(arg);

    for (volatile unsigned char *at = area.from + *arg; at < area.to; at += 4096)
        *at = 1;
    *result = area.from != NULL;
    return 0;
}

BROOD_TASK_DEFINE(has_descriptor, int, int)
{
    *result = fcntl(*arg, F_GETFD) >= 0;
    return 0;
}

static bool is_segment(int directory, const char *name)
{
    char path[64];
    ssize_t length = readlinkat(directory, name, path, sizeof(path) - 1);

    path[length > 0 ? length : 0] = '\0';
    return strncmp(path, "/dev/shm/", 9) == 0 || strncmp(path, "/memfd:brood", 12) == 0;
}

BROOD_TASK_DEFINE(cut_segment, int, int)
{
    char path[32];
    DIR *directory;
    struct dirent *entry;

    snprintf(path, sizeof(path), "/proc/%d/fd", *arg ? *arg : getpid());
    directory = opendir(path);
    if (!directory)
        return -errno;
    *result = 0;
    while ((entry = readdir(directory)) != NULL)
        if (is_segment(dirfd(directory), entry->d_name)) {
            int fd = openat(dirfd(directory), entry->d_name, O_RDWR | O_CLOEXEC);

            *result += fd >= 0 && ftruncate(fd, 0) == 0;
            if (fd >= 0)
                close(fd);
        }
    closedir(directory);
    return 0;
}

/* ---- what prints ---- */

static void say(const struct speech *speech)
{
    size_t length = strlen(speech->text);

    if (speech->how == BY_WRITE && write(STDOUT_FILENO, speech->text, length) != (ssize_t)length)
        _exit(99);
    if (speech->how == BY_STDIO)
        (void)fputs(speech->text, stdout);
    if (speech->how == TO_STDERR)
        (void)fputs(speech->text, stderr);
}

/* In a session of its own, which nobody's death ends, with all that the worker has open; and the worker dies. */
static void leave_child_and_die(void)
{
    pid_t child = fork();

    if (child == 0) {
        (void)setsid();
        for (;;)
            pause();
    }
    (void)printf("%d\n", child);
    (void)raise(SIGKILL);
}

static int speak_out(const struct speech *speech)
{
    for (int i = 0; i <= speech->again; i++)
        say(speech);
    if (speech->then == AND_DIE)
        (void)raise(SIGKILL);
    if (speech->then == AND_LEAVE_A_CHILD)
        leave_child_and_die();
    while (speech->then == AND_HANG)
        pause();
    return 0;
}

BROOD_TASK_DEFINE(speak, struct speech, int)
{
    *result = arg->again;
    return speak_out(arg);
}

BROOD_TASK_DEFINE(speak_too, struct speech, int)
{
    *result = -arg->again;
    return speak_out(arg);
}

BROOD_TASK_DEFINE(be_mute, int, int)
{
    *result = *arg;
    (void)close(STDOUT_FILENO);
    (void)close(STDERR_FILENO);
    (void)printf("nobody hears this");
    return 0;
}

BROOD_TASK_BYTES_DEFINE(die_in_result, 8 << 20)
{
    char *space = brood_reply_space(reply, arg.len);
    const char *how = arg.ptr;

    if (!space)
        return -EMSGSIZE;
    memset(space, 1, arg.len / 2);
    if (how[0] == 'd')
        (void)raise(SIGKILL);
    while (how[0] == 'h')
        pause();
    memset(space, 2, arg.len);
    return 0;
}

static bool is_kept(const unsigned char *bytes, size_t from, size_t to)
{
    while (from < to && bytes[from] == (unsigned char)(from * 7 + 1))
        from++;
    return from == to;
}

BROOD_TASK_BYTES_DEFINE(regrow, BROOD_ANY_SIZE)
{
    const uint32_t *sizes = arg.ptr;
    size_t held = 0;

    for (size_t i = 0; i < arg.len / sizeof(*sizes); i++) {
        unsigned char *space = brood_reply_space(reply, sizes[i] < UINT32_MAX ? sizes[i] : (size_t)8 << 30);

        if (!space)
            continue;
        if (!is_kept(space, 0, held < sizes[i] ? held : sizes[i]))
            return brood_fail(-EILSEQ, "call %zu, for %u bytes, lost some of %zu", i, sizes[i], held);
        for (held = held < sizes[i] ? held : sizes[i]; held < sizes[i]; held++)
            space[held] = (unsigned char)(held * 7 + 1);
    }
    return 0;
}
