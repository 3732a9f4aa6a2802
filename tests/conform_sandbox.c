/* conform_sandbox.c - what workers in a sandbox cannot do, and what they still can: over forked and exec'ed workers. */
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

START_TEST(without_processes_nobody_is_forked_executed_or_signalled)
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

START_TEST(who_may_only_read_changes_no_file)
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

START_TEST(who_asks_for_too_much_memory_gets_none)
{
    brood_auto(pool) *pool = CONFINED(.memory_bytes = (size_t)128 << 20);

    ck_assert_int_eq(try_it(pool, HAVE_300_MIB), ENOMEM);
    ck_assert_int_eq(try_it(pool, HAVE_32_MIB), 0);
    ck_assert_int_eq(try_it(pool, RAISE_LIMIT), EPERM);
}
END_TEST

START_TEST(who_uses_up_the_time_of_its_worker_dies_with_it)
{
    brood_auto(pool) *pool = CONFINED(.cpu_seconds = 1);
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, burn, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGXCPU);
    expect_working(pool);
}
END_TEST

START_TEST(who_opens_too_many_files_is_refused)
{
    brood_auto(pool) *pool = CONFINED(.open_files = 100);

    ck_assert_int_eq(try_it(pool, HAVE_200_DESCRIPTORS), EMFILE);
    expect_working(pool);
}
END_TEST

START_TEST(who_makes_a_file_too_large_dies_alone)
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
    static const enum what ways_out[] = {TRACE_PARENT, READ_PARENTS_MEMORY, LIMIT_PARENT,   OUTLIVE_PARENT,
                                         LEAVE_GROUP,  USE_IO_URING,        MAKE_NAMESPACE, BE_PRIVILEGED};
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

START_TEST(a_narrow_sandbox_leaves_room_for_all_that_a_pool_does)
{
    brood_auto(pool) *pool = open_confined(_i, &narrow);
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
    ck_assert_int_eq(try_it(pool, START_THREAD), 0);
    ck_assert_int_eq(try_it(pool, SIGNAL_ITSELF), 0);
    ck_assert_int_eq(try_it(pool, PRINT), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    pool = NULL;
}
END_TEST

START_TEST(a_crash_is_certified_and_the_replacement_confined)
{
    brood_auto(pool) *pool = open_confined(_i, &narrow);
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
    brood_auto(pool) *pool = open_confined(_i, &narrow);
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
    brood_auto(pool) *pool = open_confined(_i, &narrow);
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

int main(void)
{
    Suite *suite = suite_create("sandbox");

    add_loop_tests(suite, "walls", 0, PROCESS_KINDS, without_a_network_no_socket_is_made,
                   without_processes_nobody_is_forked_executed_or_signalled, who_may_only_read_changes_no_file,
                   only_what_is_readable_can_be_read, NULL);
    add_loop_tests(suite, "limits", 0, PROCESS_KINDS, who_asks_for_too_much_memory_gets_none,
                   who_uses_up_the_time_of_its_worker_dies_with_it, who_opens_too_many_files_is_refused,
                   who_makes_a_file_too_large_dies_alone, NULL);
    add_loop_tests(suite, "every sandbox", 0, PROCESS_KINDS,
                   a_sandbox_without_any_wall_keeps_its_workers_from_others_and_from_undoing_it,
                   a_confined_worker_has_no_capabilities_and_gets_none, NULL);
#ifdef __x86_64__
    add_loop_tests(suite, "other doors", 0, PROCESS_KINDS, calls_by_another_abi_kill_their_worker, NULL);
#endif
    add_loop_tests(suite, "a pool as before", 0, PROCESS_KINDS, a_narrow_sandbox_leaves_room_for_all_that_a_pool_does,
                   a_crash_is_certified_and_the_replacement_confined, limits_and_kills_work_as_before,
                   when_the_supervisor_dies_its_confined_workers_die_too, the_host_is_not_confined, NULL);
    add_tests(suite, "opening", threads_cannot_be_confined, a_bad_sandbox_is_refused,
              a_readable_path_that_is_not_there_is_named, NULL);
    return run_suite(suite);
}
