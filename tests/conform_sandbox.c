/* conform_sandbox.c - what workers in a sandbox cannot do, and what they still can: over forked and exec'ed workers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"
#include "child.h"
#include "os/memory_group.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

static struct brood_pool *open_confined(int kind, const struct brood_sandbox *sandbox)
{
    return open_processes(kind, BROOD_POOL(.workers = 2, .sandbox = sandbox));
}

#define CONFINED(...) open_confined(_i, BROOD_SANDBOX(__VA_ARGS__))

static int try_path(struct brood_pool *pool, enum what what, const char *path)
{
    struct attempt how = {.what = what};
    int error = -1;

    snprintf(how.path, sizeof(how.path), "%s", path);
    ck_assert_msg(brood_apply(pool, attempt, &error, &how) == 0, "attempt %d: %s", (int)what, brood_error());
    return error;
}

static int try_it(struct brood_pool *pool, enum what what)
{
    return try_path(pool, what, "");
}

/* ---- files to fight about ---- */

struct folder {
    char path[48], file[64], other[64];
};

static struct folder make_folder(void)
{
    struct folder folder = {.path = "/tmp/brood-sandbox-XXXXXX"};
    FILE *file;

    ck_assert_ptr_nonnull(mkdtemp(folder.path));
    snprintf(folder.file, sizeof(folder.file), "%s/file", folder.path);
    snprintf(folder.other, sizeof(folder.other), "%s/other", folder.path);
    file = fopen(folder.file, "we");
    ck_assert_ptr_nonnull(file);
    fputs("text", file);
    fclose(file);
    return folder;
}

static void remove_folder(const struct folder *folder)
{
    unlink(folder->file);
    unlink(folder->other);
    ck_assert_int_eq(rmdir(folder->path), 0);
}

/* ---- each wall ---- */

START_TEST(without_a_network_no_socket_is_made)
{
    brood_auto(pool) *pool = CONFINED(.no_network = true);

    ck_assert_int_eq(try_it(pool, MAKE_INTERNET_SOCKET), EACCES);
    ck_assert_int_eq(try_it(pool, MAKE_LOCAL_SOCKET), EACCES);
    ck_assert_int_eq(try_it(pool, FORK_CHILD), 0);
}
END_TEST

START_TEST(without_processes_none_is_forked_executed_or_signalled)
{
    brood_auto(pool) *pool = CONFINED(.no_processes = true);

    ck_assert_int_eq(try_it(pool, FORK_CHILD), EPERM);
    ck_assert_int_eq(try_it(pool, RUN_PROGRAM), EPERM);
    ck_assert_int_eq(try_it(pool, SIGNAL_PARENT), EPERM);
    ck_assert_int_eq(try_it(pool, SIGNAL_ALL), EPERM);
    ck_assert_int_eq(try_it(pool, SIGNAL_BY_DESCRIPTOR), EPERM);
    ck_assert_int_eq(try_it(pool, FORK_BY_CLONE3), ENOSYS);
    ck_assert_int_eq(try_it(pool, START_THREAD), 0);
    ck_assert_int_eq(try_it(pool, SIGNAL_ITSELF), 0);
    ck_assert_int_eq(try_it(pool, MAKE_LOCAL_SOCKET), 0);
}
END_TEST

START_TEST(without_threads_none_is_started)
{
    brood_auto(pool) *pool = CONFINED(.no_threads = true), *alone = CONFINED(.no_threads = true, .no_processes = true);

    ck_assert_int_eq(try_it(pool, START_THREAD), EPERM);
    ck_assert_int_eq(try_it(pool, FORK_CHILD), 0);
    ck_assert_int_eq(try_it(alone, START_THREAD), EPERM);
    ck_assert_int_eq(try_it(alone, FORK_CHILD), EPERM);
    expect_working(alone);
}
END_TEST

START_TEST(a_worker_that_may_only_read_changes_no_file)
{
    static const enum what changes[] = {OPEN_TO_WRITE, OPEN_TO_TRUNCATE, OPEN_NAMELESS, TRUNCATE,
                                        REMOVE,        RENAME,           CHANGE_MODE,   CHANGE_TIMES};
    brood_auto(pool) *pool = CONFINED(.read_only = true);
    struct folder folder = make_folder();
    struct stat before, after;

    ck_assert_int_eq(stat(folder.file, &before), 0);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        ck_assert_int_eq(try_path(pool, changes[i], folder.file), EACCES);
    ck_assert_int_eq(try_path(pool, OPEN_TO_CREATE, folder.other), EACCES);
    ck_assert_int_eq(try_path(pool, MAKE_FOLDER, folder.other), EACCES);
    ck_assert_int_eq(try_path(pool, OPEN_BY_OPENAT2, folder.file), ENOSYS);
    ck_assert_int_eq(try_path(pool, OPEN_TO_READ, folder.file), 0);
    ck_assert_int_eq(stat(folder.file, &after), 0);
    ck_assert_int_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
    ck_assert_int_eq(after.st_size, 4);
    remove_folder(&folder);
}
END_TEST

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

START_TEST(only_what_is_readable_can_be_read)
{
    struct folder open = make_folder(), closed = make_folder();
    const char *readable[] = {open.path, "/dev/null", NULL};

    if (has_landlock()) {
        brood_auto(pool) *pool = CONFINED(.readable = readable);

        ck_assert_int_eq(try_path(pool, OPEN_TO_READ, open.file), 0);
        ck_assert_int_eq(try_path(pool, OPEN_TO_READ, "/dev/null"), 0);
        ck_assert_int_eq(try_path(pool, OPEN_TO_READ, closed.file), EACCES);
        ck_assert_int_eq(try_path(pool, OPEN_TO_READ, "/etc/passwd"), EACCES);
        ck_assert_int_eq(try_it(pool, RUN_PROGRAM), EACCES);
        expect_working(pool);
    }
    remove_folder(&open);
    remove_folder(&closed);
}
END_TEST

START_TEST(a_worker_that_asks_for_too_much_memory_gets_none)
{
    brood_auto(pool) *pool = CONFINED(.memory_bytes = (size_t)128 << 20);

    ck_assert_int_eq(try_it(pool, HAVE_300_MIB), ENOMEM);
    ck_assert_int_eq(try_it(pool, HAVE_32_MIB), 0);
    ck_assert_int_eq(try_it(pool, RAISE_LIMIT), EPERM);
}
END_TEST

START_TEST(a_worker_with_a_memory_limit_gets_no_memory_that_no_mapping_counts)
{
    brood_auto(pool) *pool = CONFINED(.memory_bytes = (size_t)128 << 20), *unlimited = CONFINED(.read_only = true);

    ck_assert_int_eq(try_it(pool, HAVE_MEMORY_FILE), EPERM);
    ck_assert_int_eq(try_it(unlimited, HAVE_MEMORY_FILE), 0);
}
END_TEST

START_TEST(a_task_that_uses_up_the_time_of_its_worker_dies_with_it)
{
    brood_auto(pool) *pool = CONFINED(.cpu_seconds = 1, .no_processes = true);
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, burn, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGXCPU);
    expect_working(pool);
}
END_TEST

START_TEST(a_task_that_ignores_that_its_time_is_used_up_is_killed)
{
    brood_auto(pool) *pool = CONFINED(.cpu_seconds = 1, .no_processes = true);
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, attempt, &future, &(struct attempt){.what = DEFY_LIMIT_OF_TIME}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGKILL);
    expect_working(pool);
}
END_TEST

START_TEST(a_worker_that_opens_too_many_files_is_refused)
{
    brood_auto(pool) *pool = CONFINED(.open_files = 100);

    ck_assert_int_eq(try_it(pool, HAVE_200_DESCRIPTORS), EMFILE);
    expect_working(pool);
}
END_TEST

START_TEST(a_worker_that_makes_a_file_too_large_dies_alone)
{
    brood_auto(pool) *pool = CONFINED(.file_bytes = 50000);
    brood_auto(future) *future = NULL;
    struct folder folder = make_folder();
    struct attempt how = {.what = WRITE_100_KB};
    struct brood_death death;
    struct stat status;

    snprintf(how.path, sizeof(how.path), "%s", folder.other);
    ck_assert_int_eq(brood_apply_async(pool, attempt, &future, &how), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGXFSZ);
    ck_assert_int_eq(stat(folder.other, &status), 0);
    ck_assert_int_eq(status.st_size, 50000);
    expect_working(pool);
    remove_folder(&folder);
}
END_TEST

/* ---- every sandbox ---- */

START_TEST(a_sandbox_without_any_wall_keeps_its_workers_from_others_and_from_undoing_it)
{
    static const enum what ways_out[] = {TRACE_PARENT,   READ_PARENTS_MEMORY,     LIMIT_PARENT,
                                         OUTLIVE_PARENT, LEAVE_CHILD_WITH_PARENT, LEAVE_GROUP,
                                         USE_IO_URING,   MAKE_NAMESPACE,          BE_PRIVILEGED};
    brood_auto(pool) *pool = CONFINED();
    struct folder folder = make_folder();

    for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++)
        ck_assert_msg(try_it(pool, ways_out[i]) == EPERM, "way out %zu", i);
    ck_assert_int_eq(try_it(pool, REACH_SEGMENT_BY_DESCRIPTOR), EBADF);
    ck_assert_int_eq(try_it(pool, FORK_CHILD), 0);
    ck_assert_int_eq(try_it(pool, MAKE_INTERNET_SOCKET), 0);
    ck_assert_int_eq(try_path(pool, OPEN_TO_WRITE, folder.file), 0);
    remove_folder(&folder);
}
END_TEST

START_TEST(a_confined_worker_has_no_capabilities_and_gets_none)
{
    brood_auto(pool) *pool = CONFINED();
    struct held held;

    ck_assert_int_eq(brood_apply(pool, holdings, &held, &(int){0}), 0);
    ck_assert_int_eq(held.no_new_privileges, 1);
    ck_assert_int_gt(held.filters, 0);
    ck_assert_uint_eq(held.capabilities, 0);
}
END_TEST

#ifdef __x86_64__
START_TEST(calls_by_another_abi_kill_their_worker)
{
    brood_auto(pool) *pool = CONFINED();
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, call_by_x32, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGSYS);
}
END_TEST
#endif

/* ---- a worker in a sandbox is still a worker ---- */

static const struct brood_sandbox narrow = {
    .size = sizeof(narrow),
    .memory_bytes = (size_t)256 << 20,
    .cpu_seconds = 60,
    .open_files = 64,
    .file_bytes = 1 << 20,
    .no_network = true,
    .no_processes = true,
    .read_only = true,
};

/* The narrowest there is, entered first of all. */
static const struct brood_sandbox narrowest = {
    .size = sizeof(narrowest),
    .memory_bytes = (size_t)256 << 20,
    .cpu_seconds = 60,
    .open_files = 64,
    .file_bytes = 1 << 20,
    .syscalls = BROOD_SYSCALLS_COMPUTE,
    .confine_initializer = true,
};

/* The same, and one thread. */
static const struct brood_sandbox alone = {
    .size = sizeof(alone),
    .memory_bytes = (size_t)256 << 20,
    .cpu_seconds = 60,
    .open_files = 64,
    .file_bytes = 1 << 20,
    .syscalls = BROOD_SYSCALLS_COMPUTE,
    .no_threads = true,
};

/* Of each the test with index _i uses one, in both kinds of workers. */
static const struct brood_sandbox *const narrow_ones[] = {&narrow, &narrowest, &alone};
#define NARROW (PROCESS_KINDS * (int)(sizeof(narrow_ones) / sizeof(narrow_ones[0])))
#define OPEN_NARROW() open_confined(_i % PROCESS_KINDS, narrow_ones[_i / PROCESS_KINDS])

START_TEST(a_narrow_sandbox_leaves_room_for_all_that_a_pool_does)
{
    const struct brood_sandbox *sandbox = narrow_ones[_i / PROCESS_KINDS];
    brood_auto(pool) *pool = OPEN_NARROW();
    struct block in = {.bytes = {1, 2, 3}}, out;
    double *shared = brood_alloc(pool, 2000 * sizeof(double));

    expect_working(pool);
    ck_assert_ptr_nonnull(shared);
    for (int i = 0; i < 1000; i++)
        shared[i] = i;
    ck_assert_int_eq(brood_map(pool, square, shared + 1000, shared, 1000), 0);
    ck_assert_double_eq(shared[1999], 999.0 * 999);
    ck_assert_int_eq(brood_apply(pool, rotate, &out, &in), 0);
    ck_assert_int_eq(out.bytes[1], 1);
    ck_assert_int_eq(brood_apply(pool, refuse_odd, &(int){0}, &(int){3}), -EDOM);
    ck_assert_str_eq(brood_error(), "3 is odd");
    ck_assert_int_eq(try_it(pool, START_THREAD), sandbox->no_threads ? EPERM : 0);
    ck_assert_int_eq(try_it(pool, SIGNAL_ITSELF), 0);
    ck_assert_int_eq(try_it(pool, SCHEDULE_ITSELF), 0);
    ck_assert_int_eq(try_it(pool, USE_PAIRS), sandbox->syscalls ? EACCES : 0);
    ck_assert_int_eq(try_it(pool, ASK_BY_IOCTL), 0);
    ck_assert_int_eq(try_it(pool, COMPUTE), sandbox->no_threads ? EPERM : 0);
    ck_assert_int_eq(try_it(pool, PRINT), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    pool = NULL;
}
END_TEST

START_TEST(a_crash_is_certified_and_the_replacement_confined)
{
    brood_auto(pool) *pool = OPEN_NARROW();
    struct brood_death death;

    for (int i = 0; i < 4; i++) {
        brood_auto(future) *future = NULL;

        ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &future, &(int){0}), 0);
        ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
        ck_assert_int_eq(brood_future_death(future, &death), 0);
        ck_assert_int_eq(death.signal, SIGSEGV);
        ck_assert_uint_eq(death.fault_address, 64);
        ck_assert_ptr_nonnull(strchr(death.backtrace, '\n'));
        ck_assert_int_eq(try_it(pool, MAKE_INTERNET_SOCKET), EACCES);
        ck_assert_int_eq(try_it(pool, FORK_CHILD), EPERM);
    }
}
END_TEST

START_TEST(limits_and_kills_work_as_before)
{
    brood_auto(pool) *pool = OPEN_NARROW();
    brood_auto(future) *hung = NULL;
    brood_auto(future) *killed = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_submit(pool, hang, &hung, BROOD_CALL(.limit_ms = 50, .grace_ms = 1000), &(int){0}), 0);
    ck_assert_int_eq(outcome_of(hung), -ETIMEDOUT);
    ck_assert_int_eq(brood_future_death(hung, &death), 0);
    ck_assert_ptr_nonnull(strchr(death.backtrace, '\n'));
    ck_assert_int_eq(brood_apply_async(pool, defy, &killed, &(int){0}), 0);
    while (!brood_future_running(killed))
        rest();
    ck_assert_int_eq(brood_future_kill(killed), 0);
    ck_assert_int_eq(outcome_of(killed), -ECANCELED);
    expect_working(pool);
}
END_TEST

/* The fixture fails if one outlives it. */
START_TEST(when_the_supervisor_dies_its_confined_workers_die_too)
{
    brood_auto(pool) *pool = OPEN_NARROW();
    brood_auto(future) *stuck = NULL;
    struct place place;
    char path[64], text[512] = "";
    pid_t supervisor;
    FILE *file;

    ck_assert_int_eq(brood_apply(pool, whereabouts, &place, &(int){0}), 0);
    snprintf(path, sizeof(path), "/proc/%d/stat", place.pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    ck_assert_int_eq(sscanf(strrchr(text, ')') + 1, " %*c %d", &supervisor), 1);
    ck_assert_int_eq(brood_apply_async(pool, defy, &stuck, &(int){0}), 0);
    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    ck_assert_int_eq(outcome_of(stuck), -ESHUTDOWN);
    await(kill(place.pid, 0) < 0 || brood_pool_worker_pid(pool, 0) == 0 || waitpid(place.pid, NULL, WNOHANG) != 0);
}
END_TEST

START_TEST(a_worker_that_may_only_compute_opens_nothing)
{
    static const enum what what[] = {OPEN_TO_READ, OPEN_TO_WRITE, OPEN_TO_CREATE, REMOVE, CHANGE_MODE};
    brood_auto(pool) *pool = CONFINED(.syscalls = BROOD_SYSCALLS_COMPUTE);
    struct folder folder = make_folder();

    for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++)
        ck_assert_msg(try_path(pool, what[i], folder.file) == EACCES, "attempt %zu", i);
    ck_assert_int_eq(try_it(pool, MAKE_INTERNET_SOCKET), EACCES);
    ck_assert_int_eq(try_it(pool, FORK_CHILD), EPERM);
    ck_assert_int_eq(try_it(pool, RUN_PROGRAM), EPERM);
    ck_assert_int_eq(try_it(pool, SIGNAL_PARENT), EPERM);
    ck_assert_int_eq(try_it(pool, COMPUTE), 0);
    remove_folder(&folder);
}
END_TEST

static void expect_recycling(struct brood_pool *pool, enum what task)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    do {
        ck_assert_int_eq(try_it(pool, task), 0);
        ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    } while (stats.restarts < 2);
#ifndef __SANITIZE_ADDRESS__ /* which wants to trace a worker that ends, and ends it with an error when it may not */
    ck_assert_uint_eq(stats.deaths, 0);
#endif
}

START_TEST(confined_workers_retire_after_their_tasks)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .worker_tasks = 3, .sandbox = &narrowest));

    expect_recycling(pool, COMPUTE);
}
END_TEST

/* How much they have they cannot look up any more. */
START_TEST(confined_workers_retire_when_they_had_too_much_memory)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .worker_memory_mib = 100,
                                                           .sandbox = BROOD_SANDBOX(.syscalls = BROOD_SYSCALLS_COMPUTE)));

    expect_recycling(pool, HAVE_128_MIB);
}
END_TEST

/* By a worker that is not confined.  It is the supervisor's when its worker ends. */
START_TEST(a_child_that_a_worker_leaves_with_the_supervisor_is_reaped)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    pid_t supervisor = supervisor_of(pool), worker = brood_pool_worker_pid(pool, 0), children[16];

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(try_it(pool, LEAVE_CHILD_WITH_PARENT), 0);
    ck_assert_int_eq(children_of(supervisor, children, 16), 6);
    for (int i = 0; i < 6; i++)
        await(children[i] == worker || state_of(children[i]) == 'Z');
    ck_assert_int_eq(kill(worker, SIGKILL), 0);
    await(brood_pool_worker_pid(pool, 0) != worker && brood_pool_worker_pid(pool, 0) != 0);
    ck_assert_int_eq(children_of(supervisor, children, 16), 1);
    expect_working(pool);
}
END_TEST

START_TEST(the_host_is_not_confined)
{
    brood_auto(pool) *pool = open_confined(_i, &narrow);
    brood_auto(pool) *free_pool = NULL;
    struct folder folder = make_folder();

    ck_assert_int_eq(brood_pool_open(&free_pool, BROOD_POOL(.workers = 1)), 0);
    ck_assert_int_eq(try_it(pool, MAKE_LOCAL_SOCKET), EACCES);
    ck_assert_int_eq(try_it(free_pool, MAKE_LOCAL_SOCKET), 0);
    ck_assert_int_eq(try_it(free_pool, FORK_CHILD), 0);
    ck_assert_int_eq(try_path(free_pool, OPEN_TO_WRITE, folder.file), 0);
    remove_folder(&folder);
}
END_TEST

/* ---- opening ---- */

START_TEST(threads_cannot_be_confined)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = BROOD_THREADS, .sandbox = &narrow)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "a thread cannot be confined"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = BROOD_INLINE, .sandbox = &narrow)), -EINVAL);
}
END_TEST

START_TEST(a_bad_sandbox_is_refused)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.sandbox = &(struct brood_sandbox){.no_network = true})), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "BROOD_SANDBOX()"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.sandbox = BROOD_SANDBOX(.open_files = -1))), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "negative"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.sandbox = BROOD_SANDBOX(.syscalls = (enum brood_syscalls)2))),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "no list 2"));
}
END_TEST

/* A child's CPU time begins at zero. */
START_TEST(a_limit_of_cpu_time_is_for_workers_without_processes)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.sandbox = BROOD_SANDBOX(.cpu_seconds = 60))), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), ".cpu_seconds needs .no_processes"));
    pool = open_processes(
        FORKED, BROOD_POOL(.workers = 1, .sandbox = BROOD_SANDBOX(.cpu_seconds = 60, .syscalls = BROOD_SYSCALLS_COMPUTE)));
    ck_assert_int_eq(try_it(pool, FORK_CHILD), EPERM);
    ck_assert_int_eq(try_it(pool, START_THREAD), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* One that ends before what came later. */
START_TEST(a_sandbox_of_an_older_header_is_checked_as_far_as_it_goes)
{
    struct brood_sandbox old = {.size = offsetof(struct brood_sandbox, no_processes), .cpu_seconds = 60};
    struct brood_pool *pool = NULL;

    old.no_processes = true; /* which is not of it */
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.sandbox = &old)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), ".cpu_seconds needs .no_processes"));
}
END_TEST

static void hide_where_that_is_denied(void *unused)
{
    int before = open_descriptors();
    struct brood_pool *pool = NULL;

    (void)unused;
    deny(SYS_prctl, EPERM);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .sandbox = BROOD_SANDBOX(.host_undumpable = true))),
                     -EPERM);
    ck_assert_ptr_nonnull(strstr(brood_error(), "cannot become undumpable"));
    ck_assert_int_eq(open_descriptors(), before);
}

START_TEST(a_host_that_cannot_become_undumpable_keeps_no_descriptor)
{
    in_child(hide_where_that_is_denied, NULL);
}
END_TEST

START_TEST(a_readable_path_that_is_not_there_is_named)
{
    struct brood_pool *pool = NULL;
    const char *readable[] = {"/nowhere", NULL};
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 1, .sandbox = BROOD_SANDBOX(.readable = readable)));

    ck_assert_int_eq(r, has_landlock() ? -ENOENT : -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(brood_error(), has_landlock() ? "'/nowhere'" : "Landlock"));
}
END_TEST

/* ---- a control group for the memory of each worker ---- */

#define GROUP_MIB 64

static struct brood_pool *open_grouped(int kind)
{
    return open_confined(kind, BROOD_SANDBOX(.memory_bytes = GROUP_MIB << 20));
}

static int groups_of(pid_t supervisor)
{
    char *directory = brood__memory_groups_directory(), prefix[32];
    DIR *folder = opendir(directory);
    struct dirent *entry;
    int count = 0;

    ck_assert_ptr_nonnull(folder);
    snprintf(prefix, sizeof(prefix), "brood.%d.", supervisor);
    while ((entry = readdir(folder)) != NULL)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(folder);
    free(directory);
    return count;
}

static struct brood_pool_stats stats_of(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    return stats;
}

/* Each child may map as much as its worker: only the group counts them together. */
START_TEST(what_the_children_of_a_worker_take_counts_as_its_memory)
{
    brood_auto(pool) *pool = open_grouped(_i), *unbounded = CONFINED(.no_network = true);
    int living = -1;

    ck_assert_int_eq(stats_of(pool).memory_groups, 2);
    ck_assert_int_eq(stats_of(unbounded).memory_groups, 0);
    ck_assert_int_eq(brood_apply(unbounded, fill_in_children, &living, &(struct filling){.children = 6, .mib = 40}), 0);
    ck_assert_int_eq(living, 6);
    if (brood_apply(pool, fill_in_children, &living, &(struct filling){.children = 6, .mib = 40}) == 0)
        ck_assert_int_lt(living, 6);
    else /* the kernel chose the worker itself */
        ck_assert_ptr_nonnull(strstr(brood_error(), "for memory"));
    expect_working(pool);
}
END_TEST

START_TEST(a_control_group_goes_with_its_worker)
{
    struct brood_pool *pool = open_grouped(_i);
    pid_t supervisor = supervisor_of(pool);
    uint64_t restarts = stats_of(pool).restarts;

    ck_assert_int_eq(groups_of(supervisor), 2);
    ck_assert_int_eq(kill(brood_pool_worker_pid(pool, 0), SIGKILL), 0);
    await(stats_of(pool).restarts > restarts && stats_of(pool).memory_groups == 2);
    ck_assert_int_eq(groups_of(supervisor), 2);
    ck_assert_int_eq(brood_pool_close(pool, brood_after_ms(60000)), 0);
    ck_assert_int_eq(groups_of(supervisor), 0);
}
END_TEST

START_TEST(the_host_removes_the_control_groups_of_a_killed_supervisor)
{
    struct brood_pool *pool = open_grouped(_i);
    pid_t supervisor = supervisor_of(pool);

    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    await(brood_pool_is_broken(pool));
    ck_assert_int_eq(brood_pool_close(pool, BROOD_NOW), -ETIMEDOUT);
    ck_assert_int_eq(groups_of(supervisor), 0);
}
END_TEST

struct doomed {
    int kind;
    _Atomic pid_t supervisor;
};

static void host_a_pool(void *argument)
{
    struct doomed *doomed = argument;

    atomic_store(&doomed->supervisor, supervisor_of(open_grouped(doomed->kind)));
    for (;;)
        pause();
}

static void note_group(void *context, const struct brood_memory_stale *stale)
{
    const struct doomed *doomed = context;
    char name[32];

    snprintf(name, sizeof(name), "/brood.%d.", doomed->supervisor);
    ck_assert(stale->name[0] != '/' || stale->is_removed || !strstr(stale->name, name));
}

START_TEST(a_sweep_removes_the_control_groups_of_a_pool_that_was_killed_with_its_host)
{
    struct doomed *doomed = shared_memory(sizeof(*doomed));

    doomed->kind = _i;
    pid_t host = spawn(host_a_pool, doomed);

    await(atomic_load(&doomed->supervisor) != 0);
    ck_assert_int_eq(kill(host, SIGSTOP), 0);
    ck_assert_int_eq(kill(doomed->supervisor, SIGKILL), 0);
    ck_assert_int_eq(kill(host, SIGKILL), 0);
    await(waitpid(-1, NULL, WNOHANG) < 0); /* host, supervisor and workers: a test inherits the orphans of its children */
    await(brood_memory_sweep(true, note_group, doomed) >= 0 && groups_of(doomed->supervisor) == 0);
}
END_TEST

/* A run of its own, so that it is seen to be skipped where no control group can be made. */
static int run_with_groups(void)
{
    Suite *suite = suite_create("groups");
    int entered = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(brood__memory_group_enter(GROUP_MIB << 20) == 1 ? 0 : 1);
    waitpid(child, &entered, 0);
    brood__memory_groups_remove(getpid());
    if (entered != 0) {
        printf("skipped: no control group for memory can be made here\n");
        return 77;
    }
    add_loop_tests(suite, "groups", 0, PROCESS_KINDS, what_the_children_of_a_worker_take_counts_as_its_memory,
                   a_control_group_goes_with_its_worker, the_host_removes_the_control_groups_of_a_killed_supervisor,
                   a_sweep_removes_the_control_groups_of_a_pool_that_was_killed_with_its_host, NULL);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    Suite *suite;

    if (argc > 1 && strcmp(argv[1], "--groups") == 0)
        return run_with_groups();
    suite = suite_create("sandbox");

    add_loop_tests(suite, "walls", 0, PROCESS_KINDS, without_a_network_no_socket_is_made,
                   without_processes_none_is_forked_executed_or_signalled, without_threads_none_is_started,
                   a_worker_that_may_only_read_changes_no_file, only_what_is_readable_can_be_read, NULL);
    add_loop_tests(suite, "limits", 0, PROCESS_KINDS, a_worker_that_asks_for_too_much_memory_gets_none,
                   a_worker_with_a_memory_limit_gets_no_memory_that_no_mapping_counts,
                   a_task_that_uses_up_the_time_of_its_worker_dies_with_it,
                   a_task_that_ignores_that_its_time_is_used_up_is_killed, a_worker_that_opens_too_many_files_is_refused,
                   a_worker_that_makes_a_file_too_large_dies_alone, NULL);
    add_loop_tests(suite, "every sandbox", 0, PROCESS_KINDS,
                   a_sandbox_without_any_wall_keeps_its_workers_from_others_and_from_undoing_it,
                   a_confined_worker_has_no_capabilities_and_gets_none, NULL);
#ifdef __x86_64__
    add_loop_tests(suite, "other doors", 0, PROCESS_KINDS, calls_by_another_abi_kill_their_worker, NULL);
#endif
    add_loop_tests(suite, "a pool as before", 0, NARROW, a_narrow_sandbox_leaves_room_for_all_that_a_pool_does,
                   a_crash_is_certified_and_the_replacement_confined, limits_and_kills_work_as_before,
                   when_the_supervisor_dies_its_confined_workers_die_too, NULL);
    add_loop_tests(suite, "others", 0, PROCESS_KINDS, the_host_is_not_confined,
                   a_child_that_a_worker_leaves_with_the_supervisor_is_reaped, a_worker_that_may_only_compute_opens_nothing,
                   confined_workers_retire_after_their_tasks, confined_workers_retire_when_they_had_too_much_memory, NULL);
    add_tests(suite, "opening", threads_cannot_be_confined, a_bad_sandbox_is_refused,
              a_limit_of_cpu_time_is_for_workers_without_processes,
              a_sandbox_of_an_older_header_is_checked_as_far_as_it_goes,
              a_host_that_cannot_become_undumpable_keeps_no_descriptor, a_readable_path_that_is_not_there_is_named, NULL);
    return run_suite(suite);
}
