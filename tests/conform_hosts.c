/* conform_hosts.c - pools in hosts that are denied something, that are short of something, or that are in the way by
 * accident.  Each test either works or ends in an error that says what to do; none dies of a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static int open_two(struct brood_pool **ret_pool)
{
    return brood_pool_open(ret_pool, BROOD_POOL(.workers = 2));
}

static struct brood_pool *open_pool(void)
{
    struct brood_pool *pool = NULL;
    int r = open_two(&pool);

    ck_assert_msg(r == 0, "open: %d %s", r, brood_error());
    return pool;
}

static void expect_words(const char *words)
{
    ck_assert_msg(strstr(brood_error(), words) != NULL, "'%s' does not speak of '%s'", brood_error(), words);
}

static void live_and_close(void)
{
    struct brood_pool *pool = open_pool();

    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

/* ---- a sandbox denies a system call ---- */

static const struct denial {
    long number;
    int error;
} denials[] = {
    {SYS_io_uring_setup, EPERM},  {SYS_io_uring_enter, EPERM},   {SYS_membarrier, ENOSYS}, {SYS_futex_waitv, ENOSYS},
    {SYS_futex_waitv, EPERM},     {SYS_close_range, EPERM},      {SYS_pidfd_open, EPERM},  {SYS_pidfd_open, ENOSYS},
    {SYS_set_robust_list, EPERM}, {SYS_set_robust_list, ENOSYS},
};

#define DENIALS (int)(sizeof(denials) / sizeof(denials[0]))

static void live_denied(void *argument)
{
    const struct denial *denial = argument;

    ck_assert_int_eq(unsetenv("BROOD_POLLER"), 0); /* what is asked for by name has no substitute */
    deny(denial->number, denial->error);
    live_and_close();
}

START_TEST(what_a_sandbox_denies_is_done_without)
{
    in_child(live_denied, (void *)(uintptr_t)&denials[_i]);
}
END_TEST

static void lose_membarrier(void *argument)
{
    struct brood_pool *pool = open_pool();

    (void)argument;
    deny(SYS_membarrier, EPERM);
    for (int i = 0; i < 200; i++)
        expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(a_host_that_enters_its_sandbox_later_is_served)
{
    in_child(lose_membarrier, NULL);
}
END_TEST

/* Waiting for futures of two pools: nothing orders the sleeper's stores before its look, so it looks again from time to
 * time. */
static void wait_for_several_without_membarrier(void *argument)
{
    struct brood_pool *pools[2] = {open_pool(), open_pool()};

    (void)argument;
    deny(SYS_membarrier, EPERM);
    for (int i = 0; i < 20; i++) {
        struct brood_future *futures[2];

        for (int j = 0; j < 2; j++)
            ck_assert_int_eq(brood_apply_async(pools[j], sleep_for, &futures[j], &(int){3}), 0);
        ck_assert_int_eq(brood_futures_wait(futures, 2, BROOD_ALL_COMPLETED, NULL, brood_after_ms(AT_ONCE_MS)), 2);
        for (int j = 0; j < 2; j++)
            brood_future_free(futures[j]);
    }
    for (int j = 0; j < 2; j++)
        ck_assert_int_eq(brood_pool_close(pools[j], BROOD_FOREVER), 0);
}

START_TEST(several_futures_are_waited_for_without_membarrier)
{
    in_child(wait_for_several_without_membarrier, NULL);
}
END_TEST

static bool has_link(pid_t pid, const char *target)
{
    char path[64], text[64];
    bool found = false;

    for (int fd = 0; fd < 64; fd++) {
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
        ssize_t length = readlink(path, text, sizeof(text) - 1);

        text[length > 0 ? length : 0] = '\0';
        found |= strcmp(text, target) == 0;
    }
    return found;
}

static void look_at_poller(void *argument)
{
    struct brood_pool *pool;

    (void)argument;
    ck_assert_int_eq(unsetenv("BROOD_POLLER"), 0);
    deny(SYS_io_uring_setup, EPERM);
    pool = open_pool();
    ck_assert(has_link(supervisor_of(pool), "anon_inode:[eventpoll]"));
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(a_pool_that_is_denied_io_uring_uses_epoll)
{
    in_child(look_at_poller, NULL);
}
END_TEST

static void look_at_descriptors(void *argument)
{
    struct brood_pool *pool;
    char path[64];

    (void)argument;
    ck_assert_int_eq(dup2(STDERR_FILENO, 50), 50);
    deny(SYS_close_range, EPERM);
    pool = open_pool();
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/50", brood_pool_worker_pid(pool, 0));
    ck_assert_int_lt(access(path, F_OK), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(workers_keep_no_descriptor_of_the_host_although_close_range_is_denied)
{
    in_child(look_at_descriptors, NULL);
}
END_TEST

/* ---- /dev/shm ---- */

static bool remount_shm(const char *what)
{
    if (strcmp(what, "absent") == 0)
        return mount("brood-test", "/dev", "tmpfs", 0, "size=64k") == 0;
    if (strcmp(what, "read-only") == 0)
        return mount("brood-test", "/dev/shm", "tmpfs", MS_RDONLY, "size=512m") == 0;
    return mount("brood-test", "/dev/shm", "tmpfs", 0, what) == 0;
}

static const char *const mounts[] = {"size=64k", "size=4k", "absent", "read-only"};

#define MOUNTS (int)(sizeof(mounts) / sizeof(mounts[0]))

static bool has_own_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void live_with_mount(void *argument)
{
    ck_assert_msg(has_own_mounts() && remount_shm(argument), "no mounts of one's own: %s", strerror(errno));
    live_and_close();
}

START_TEST(a_pool_lives_with_any_dev_shm)
{
    in_child(live_with_mount, (void *)(uintptr_t)mounts[_i]);
}
END_TEST

static void grow_in_a_full_mount(void *argument)
{
    struct brood_pool *pool;
    char *memory;

    (void)argument;
    ck_assert_msg(has_own_mounts() && remount_shm("size=300m"), "no mounts of one's own: %s", strerror(errno));
    deny(SYS_memfd_create, ENOSYS);
    pool = open_pool();
    ck_assert_int_eq(mount("brood-test", "/dev/shm", "tmpfs", MS_REMOUNT, "size=2m"), 0);
    ck_assert_ptr_null(brood_alloc(pool, 16 * MIB));
    expect_words("/dev/shm");
    memory = brood_alloc(pool, 64 * KIB); /* there is still a little */
    ck_assert_ptr_nonnull(memory);
    memset(memory, 'x', 64 * KIB);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(a_dev_shm_that_fills_up_later_is_an_error_and_the_pool_goes_on)
{
    in_child(grow_in_a_full_mount, NULL);
}
END_TEST

/* ---- limits ---- */

static void set_limit(__rlimit_resource_t which, size_t value)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(which, &limit), 0);
    limit.rlim_cur = value;
    ck_assert_int_eq(setrlimit(which, &limit), 0);
}

/* Works, or says what to do about it. */
static bool works_or_speaks_of(const char *words)
{
    struct brood_pool *pool = NULL;

    if (open_two(&pool) < 0) {
        if (words)
            expect_words(words);
        ck_assert_ptr_null(pool);
        ck_assert_int_ne(brood_error()[0], '\0');
        return false;
    }
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    return true;
}

static size_t address_space_in_use(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    size_t pages = 0;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu", &pages), 1);
    (void)fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void live_with_descriptors(void *argument)
{
    bool worked = false;

    (void)argument;
    for (size_t count = 4; count < 40 && !worked; count++) {
        set_limit(RLIMIT_NOFILE, count);
        worked = works_or_speaks_of("Too many open files");
    }
    ck_assert(worked);
}

START_TEST(too_few_descriptors_are_named)
{
    in_child(live_with_descriptors, NULL);
}
END_TEST

static void live_with_address_space(void *argument)
{
    size_t now = address_space_in_use();
    bool worked = false;

    (void)argument;
    for (size_t more = 64 * KIB; more < 1024 * MIB; more = more * 3 / 2) {
        set_limit(RLIMIT_AS, now + more);
        worked = works_or_speaks_of(NULL);
    }
    ck_assert(worked);
}

START_TEST(too_little_address_space_is_an_error_in_words)
{
    in_child(live_with_address_space, NULL);
}
END_TEST

/* (A smaller limit would kill the test as it keeps its own books.) */
static void live_with_small_files(void *argument)
{
    bool worked = false;

    (void)argument;
    for (size_t size = 16 * KIB; size < 64 * MIB; size *= 4) {
        set_limit(RLIMIT_FSIZE, size);
        worked = works_or_speaks_of("ulimit -f");
    }
    ck_assert(worked);
}

/* SIGXFSZ would kill the child. */
START_TEST(a_limit_of_file_sizes_is_named)
{
    in_child(live_with_small_files, NULL);
}
END_TEST

static void grow_beyond_file_limit(void *argument)
{
    struct brood_pool *pool;

    (void)argument;
    set_limit(RLIMIT_FSIZE, 4 * MIB);
    pool = open_pool();
    ck_assert_ptr_null(brood_alloc(pool, 8 * MIB));
    expect_words("address space");
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(memory_beyond_the_limit_of_file_sizes_is_refused_and_the_pool_goes_on)
{
    in_child(grow_beyond_file_limit, NULL);
}
END_TEST

static void become_nobody(void)
{
    if (geteuid() == 0)
        ck_assert_msg(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0,
                      "%s", strerror(errno));
}

/* Of processes, or of descriptors to watch them by. */
static const enum __rlimit_resource lacking[] = {RLIMIT_NPROC, RLIMIT_NOFILE};

static void lose_a_worker_without_another(void *argument)
{
    const enum __rlimit_resource resource = *(const enum __rlimit_resource *)argument;
    struct rlimit none = {0, RLIM_INFINITY}, before;
    struct brood_pool *pool;
    pid_t supervisor, victim;

    become_nobody(); /* the limit does not bind root */
    ck_assert_int_eq(getrlimit(resource, &before), 0);
    none.rlim_max = before.rlim_max;
    pool = open_pool();
    supervisor = supervisor_of(pool);
    victim = brood_pool_worker_pid(pool, 0);
    ck_assert_int_eq(prlimit(supervisor, resource, &none, NULL), 0);
    ck_assert_int_eq(kill(victim, SIGKILL), 0);
    for (int i = 0; i < 20; i++)
        expect_working(pool); /* the other worker does it all */
    await(brood_pool_worker_pid(pool, 0) == 0);
    ck_assert_int_eq(prlimit(supervisor, resource, &before, NULL), 0);
    await(brood_pool_worker_pid(pool, 0) != 0);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(a_worker_that_cannot_be_replaced_is_replaced_later)
{
    in_child(lose_a_worker_without_another, (void *)(uintptr_t)&lacking[_i]);
}
END_TEST

/* ---- in the way by accident ---- */

static void close_everything(void *argument)
{
    struct brood_pool *pool = open_pool();
    struct brood_future *stuck = NULL;

    (void)argument;
    expect_working(pool);
    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    ck_assert_int_eq(close_range(3, ~0u, 0), 0);
    /* From here on a check that fails cannot say so. */
    if (brood_future_wait(stuck, brood_after_ms(60000)) < 0 || brood_future_item(stuck, 0) != -ESHUTDOWN)
        _exit(1);
    brood_future_free(stuck);
    if (brood_apply(pool, square, &(double){0}, &(double){1}) != -ESHUTDOWN || !strstr(brood_error(), "supervisor died"))
        _exit(2);
    if (brood_pool_close(pool, BROOD_FOREVER) != -ETIMEDOUT)
        _exit(3);
    _exit(waitpid(-1, NULL, 0) < 0 && errno == ECHILD ? 0 : 4);
}

/* As a daemon does that wants to be rid of what it has inherited. */
static bool goes_nowhere(pid_t pid, int fd)
{
    char path[48], target[64];
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    length = readlink(path, target, sizeof(target));
    return length == (ssize_t)strlen("/dev/null") && memcmp(target, "/dev/null", (size_t)length) == 0;
}

/* The spare, too. */
static void open_without_standard_descriptors(void *kind)
{
    struct brood_pool *pool;
    pid_t children[4];

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        close(fd);
    pool = open_processes(*(int *)kind, BROOD_POOL(.workers = 1, .spares = 1));
    await(children_of(supervisor_of(pool), children, 4) == 2 && is_asleep(children[0]) && is_asleep(children[1]));
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
        for (int i = 0; i < 2; i++)
            ck_assert_msg(goes_nowhere(children[i], fd), "%d of process %d", fd, i);
    }
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

START_TEST(where_the_host_has_no_standard_descriptors_no_other_one_takes_their_place)
{
    in_child(open_without_standard_descriptors, &(int){_i});
}
END_TEST

START_TEST(a_host_that_closes_every_descriptor_breaks_its_pool_and_can_close_it)
{
    in_child(close_everything, NULL);
}
END_TEST

enum { STRANGERS = 16 };

/* The second pool has some of the numbers that were the first one's, and pipes have others. */
static void close_and_go_on(void *argument)
{
    struct brood_pool *pool = open_pool(), *next = NULL;
    int pipes[STRANGERS][2];
    double nine = 0;

    (void)argument;
    expect_working(pool);
    ck_assert_int_eq(close_range(3, ~0u, 0), 0);
    /* From here on a check that fails cannot say so. */
    for (int i = 0; i < STRANGERS; i++) {
        if (pipe(pipes[i]) < 0)
            _exit(1);
        if (i == 2 && brood_pool_open(&next, BROOD_POOL(.workers = 1)) < 0)
            _exit(2);
    }
    (void)brood_pool_close(pool, brood_after_ms(100));
    for (int i = 0; i < STRANGERS; i++)
        if (fcntl(pipes[i][0], F_GETFD) < 0 || fcntl(pipes[i][1], F_GETFD) < 0)
            _exit(3);
    if (brood_apply(next, square, &nine, &(double){3}) < 0 || nine != 9)
        _exit(4);
    if (brood_pool_close(next, BROOD_FOREVER) < 0)
        _exit(5);
    _exit(waitpid(-1, NULL, 0) < 0 && errno == ECHILD ? 0 : 6);
}

START_TEST(a_pool_whose_descriptors_have_become_something_else_is_closed_and_they_are_not)
{
    in_child(close_and_go_on, NULL);
}
END_TEST

static volatile sig_atomic_t interruptions;

static void count_signal(int number)
{
    (void)number;
    interruptions++;
}

/* Without SA_RESTART: every call that can be interrupted is. */
START_TEST(a_host_in_a_storm_of_signals_is_served)
{
    int64_t end = now_ms() + 500;

    interrupt_often(count_signal);
    while (now_ms() < end) {
        brood_auto(pool) *pool = NULL;
        int r = open_two(&pool);

        if (r < 0)
            interrupt_no_more();
        ck_assert_msg(r == 0, "%s", brood_error());
        for (int i = 0; i < 20; i++)
            expect_working(pool);
    }
    interrupt_no_more();
    ck_assert_int_gt(interruptions, 100);
}
END_TEST

static void *fork_often(void *argument)
{
    const atomic_bool *enough = argument;
    intptr_t forks = 0;

    for (; !atomic_load(enough); forks++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            return NULL;
    }
    return (void *)forks; // NOLINT: a number
}

static volatile sig_atomic_t was_told_to_end;

static void note_the_end(int number)
{
    (void)number;
    was_told_to_end = 1;
}

/* As a service manager does: every process of the service. */
static void signal_family(pid_t parent, int number)
{
    pid_t children[8];
    int count = children_of(parent, children, 8);

    for (int i = 0; i < count; i++)
        signal_family(children[i], number);
    ck_assert_int_eq(kill(parent, number), 0);
}

/* The workers run a task each, and more wait.  A worker that has become the successor of another one would have lost it. */
static void drain_when_told_to_end(void *argument)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    enum { TASKS = 20 };
    struct brood_pool *pool = open_processes(*(int *)argument, BROOD_POOL(.workers = 2, .spares = 1, .limit_ms = 60000));
    struct gate gates[] = {new_gate(), new_gate()};
    struct brood_future *held[] = {hold_worker(pool, &gates[0]), hold_worker(pool, &gates[1])}, *futures[TASKS];

    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        ck_assert(signal(signals[i], note_the_end) != SIG_ERR);
        was_told_to_end = 0;
        signal_family(getpid(), signals[i]);
        ck_assert(was_told_to_end);
    }
    let_through(&gates[0]);
    let_through(&gates[1]);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    for (int i = 0; i < TASKS; i++) {
        ck_assert_int_eq(brood_future_item(futures[i], 0), 0);
        brood_future_free(futures[i]);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_future_item(held[i], 0), 0);
        brood_future_free(held[i]);
    }
}

START_TEST(a_service_that_drains_when_all_its_processes_are_signalled_loses_nothing)
{
    in_child(drain_when_told_to_end, &_i);
}
END_TEST

/* ---- a terminal ---- */

/* A session of its own, on a terminal that stops what prints in the background. */
static void take_terminal(const char *name)
{
    struct termios settings;
    int terminal;

    ck_assert_int_ge(setsid(), 0);
    terminal = open(name, O_RDWR);
    ck_assert_int_ge(terminal, 0);
    ck_assert_int_eq(ioctl(terminal, TIOCSCTTY, 0), 0);
    ck_assert_int_eq(tcgetattr(terminal, &settings), 0);
    settings.c_lflag |= TOSTOP;
    ck_assert_int_eq(tcsetattr(terminal, TCSANOW, &settings), 0);
    ck_assert_int_eq(dup2(terminal, STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(dup2(terminal, STDERR_FILENO), STDERR_FILENO);
    (void)close(terminal);
}

static void print_at_terminal(void *name)
{
    static const struct speech speech = {.text = "here\n", .how = BY_WRITE};
    static const enum brood_output outputs[] = {BROOD_OUTPUT_PASS, BROOD_OUTPUT_PREFIX};
    int again;

    take_terminal(name);
    for (int i = 0; i < 4; i++) {
        struct brood_pool *pool = open_processes(i % 2, BROOD_POOL(.workers = 1, .output = outputs[i / 2]));

        ck_assert_int_eq(brood_apply(pool, speak, &again, &speech), 0);
        ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    }
}

static int count_lines(const char *text, const char *line)
{
    int count = 0;

    for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
        count++;
    return count;
}

/* Reads what was printed until it has that many lines, and what else has come by then: the kernel hands the output of a
 * terminal on in pieces, some time after it was written. */
static int read_lines(int fd, const char *line, int lines, char *text, size_t room)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    size_t used = 0;
    ssize_t length;

    text[0] = '\0';
    while (used + 1 < room && poll(&readable, 1, count_lines(text, line) < lines ? (int)AT_ONCE_MS : 0) > 0 &&
           (length = read(fd, text + used, room - used - 1)) > 0)
        text[used += (size_t)length] = '\0';
    return count_lines(text, line);
}

START_TEST(workers_print_to_a_terminal_that_stops_what_prints_in_the_background)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64], text[1024];

    ck_assert_int_ge(terminal, 0);
    ck_assert_int_eq(grantpt(terminal), 0);
    ck_assert_int_eq(unlockpt(terminal), 0);
    ck_assert_int_eq(ptsname_r(terminal, name, sizeof(name)), 0);
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC); /* what was printed stays while this is open */

    ck_assert_int_ge(slave, 0);
    in_child(print_at_terminal, name);
    ck_assert_int_eq(read_lines(terminal, "here", 4, text, sizeof(text)), 4);
    (void)close(slave);
    (void)close(terminal);
}
END_TEST

START_TEST(a_host_that_forks_in_another_thread_is_served)
{
    atomic_bool enough = false;
    int64_t end = now_ms() + 300;
    pthread_t forker;
    void *forks;

    ck_assert_int_eq(pthread_create(&forker, NULL, fork_often, &enough), 0);
    while (now_ms() < end) {
        struct brood_pool *pool = open_pool();

        for (int i = 0; i < 10; i++)
            expect_working(pool);
        ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    }
    atomic_store(&enough, true);
    ck_assert_int_eq(pthread_join(forker, &forks), 0);
    ck_assert_int_gt((intptr_t)forks, 0);
}
END_TEST

START_TEST(a_large_host_gets_its_workers_and_their_successors)
{
    size_t bytes = 256 * MIB;
    char *much = malloc(bytes);
    int64_t began = now_ms(), opened, replaced;
    pid_t victim;

    ck_assert_ptr_nonnull(much);
    memset(much, 'x', bytes);
    began = now_ms();
    struct brood_pool *pool = open_pool();

    opened = now_ms();
    victim = brood_pool_worker_pid(pool, 0);
    ck_assert_int_eq(kill(victim, SIGKILL), 0);
    await(brood_pool_worker_pid(pool, 0) != victim && brood_pool_worker_pid(pool, 0) != 0);
    replaced = now_ms();
    (void)fprintf(stderr, "a host of 256 MiB: open %d ms, a worker's replacement %d ms\n", (int)(opened - began),
                  (int)(replaced - opened));
    expect_working(pool);
    ck_assert_int_eq(much[bytes / 2], 'x');
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    free(much);
}
END_TEST

/* A run of its own, so that it is seen to be skipped where nothing may be mounted. */
static int run_with_mounts(void)
{
    Suite *suite = suite_create("hosts and mounts");

    if (!may_child(has_own_mounts)) {
        printf("skipped: no mounts of one's own may be made here\n");
        return 77;
    }
    add_loop_tests(suite, "mounts", 0, MOUNTS, a_pool_lives_with_any_dev_shm, NULL);
    add_tests(suite, "a mount", a_dev_shm_that_fills_up_later_is_an_error_and_the_pool_goes_on, NULL);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--mounts") == 0)
        return run_with_mounts();
    Suite *suite = suite_create("hosts");

    add_loop_tests(suite, "sandboxes", 0, DENIALS, what_a_sandbox_denies_is_done_without, NULL);
    add_tests(suite, "a sandbox", a_pool_that_is_denied_io_uring_uses_epoll, a_host_that_enters_its_sandbox_later_is_served,
              several_futures_are_waited_for_without_membarrier,
              workers_keep_no_descriptor_of_the_host_although_close_range_is_denied, NULL);
    add_tests(suite, "limits", too_few_descriptors_are_named, too_little_address_space_is_an_error_in_words,
              a_limit_of_file_sizes_is_named, memory_beyond_the_limit_of_file_sizes_is_refused_and_the_pool_goes_on, NULL);
    add_tests(suite, "accidents", a_host_that_closes_every_descriptor_breaks_its_pool_and_can_close_it,
              a_pool_whose_descriptors_have_become_something_else_is_closed_and_they_are_not,
              a_host_in_a_storm_of_signals_is_served, a_host_that_forks_in_another_thread_is_served,
              a_large_host_gets_its_workers_and_their_successors, NULL);
    add_loop_tests(suite, "standard descriptors", 0, PROCESS_KINDS,
                   where_the_host_has_no_standard_descriptors_no_other_one_takes_their_place, NULL);
    add_loop_tests(suite, "services", 0, PROCESS_KINDS,
                   a_service_that_drains_when_all_its_processes_are_signalled_loses_nothing, NULL);
    add_tests(suite, "terminals", workers_print_to_a_terminal_that_stops_what_prints_in_the_background, NULL);
    add_loop_tests(suite, "lacking", 0, 2, a_worker_that_cannot_be_replaced_is_replaced_later, NULL);
    return run_suite(suite);
}
