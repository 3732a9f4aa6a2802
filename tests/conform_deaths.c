/* conform_deaths.c - what a pool of processes does when one of them dies: each test runs over forked and exec'ed workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

static struct brood_pool *open_pool(int kind, int workers)
{
    return open_processes(kind, BROOD_POOL(.workers = workers));
}

/* ---- a worker dies with a task ---- */

START_TEST(a_task_whose_worker_is_killed_fails_with_pid_and_signal)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *future = NULL;
    struct brood_death death;
    pid_t victim = brood_pool_worker_pid(pool, 0);
    char words[64];

    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(future, &(int){0}, sizeof(int)), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.pid, victim);
    ck_assert_int_eq(death.worker, 0);
    ck_assert_int_eq(death.signal, SIGKILL);
    snprintf(words, sizeof(words), "worker 0 (pid %d) was killed by signal 9", victim);
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), words));
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "'die_by'"));
    expect_working(pool);
    ck_assert_int_ne(brood_pool_worker_pid(pool, 0), victim);
}
END_TEST

/* semantics: X12 */
START_TEST(every_way_to_die_is_told_apart)
{
    static const int signals[] = {SIGSEGV, SIGABRT, SIGTERM, SIGFPE, SIGKILL};
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct brood_death death;

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        brood_auto(future) *future = NULL;

        ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &signals[i]), 0);
        ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
        ck_assert_int_eq(brood_future_death(future, &death), 0);
        ck_assert_int_eq(death.signal, signals[i]);
    }
    brood_auto(future) *future = NULL;

    ck_assert_int_eq(brood_apply_async(pool, leave_with, &future, &(int){7}), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_item(future, 0), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, 0);
    ck_assert_int_eq(death.exit_code, 7);
}
END_TEST

START_TEST(other_tasks_go_on_when_one_kills_its_worker)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct brood_future *futures[200];
    int lost = 0;

    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(brood_apply_async(pool, die_if_divisible, &futures[i], &i), 0);
    for (int i = 0; i < 200; i++) {
        int result, outcome;

        ck_assert_int_eq(brood_future_wait(futures[i], brood_after_ms(60000)), 0);
        outcome = brood_future_result(futures[i], &result, sizeof(result));
        ck_assert_int_eq(outcome, i % 97 == 0 ? -EOWNERDEAD : 0);
        if (outcome == 0)
            ck_assert_int_eq(result, i + 1);
        lost += outcome < 0;
        brood_future_free(futures[i]);
    }
    ck_assert_int_eq(lost, 3);
}
END_TEST

START_TEST(a_map_loses_just_the_items_that_killed_a_worker)
{
    enum { N = 1000 };
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *future = NULL;
    struct brood_death death;
    int in[N], out[N] = {0};

    for (int i = 0; i < N; i++)
        in[i] = i + 1;
    ck_assert_int_eq(brood_map_async(pool, die_if_divisible, &future, out, in, N), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(future, NULL, 0), -EOWNERDEAD);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(brood_future_item(future, (size_t)i), in[i] % 97 == 0 ? -EOWNERDEAD : 0);
        if (in[i] % 97 != 0)
            ck_assert_int_eq(out[i], in[i] + 1);
    }
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGKILL);
    ck_assert_uint_eq(death.item, 96);
    expect_working(pool);
}
END_TEST

/* Also of those that are not the first. */
START_TEST(each_item_that_killed_a_worker_says_so_with_pid_signal_and_number)
{
    enum { N = 3 * 97 };
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *future = NULL;
    struct brood_death death;
    int in[N], out[N];
    char words[64];

    for (int i = 0; i < N; i++)
        in[i] = i + 1;
    ck_assert_int_eq(brood_map_async(pool, die_if_divisible, &future, out, in, N), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    for (size_t item = 96; item < N; item += 97) {
        ck_assert_int_eq(brood_future_deaths(future, item, &death, 1), 1);
        ck_assert_int_eq(brood_future_item(future, item), -EOWNERDEAD);
        (void)snprintf(words, sizeof(words), "(pid %d) was killed by signal 9 (Killed)", death.pid);
        ck_assert_msg(strstr(brood_error(), words) != NULL, "%s", brood_error());
        (void)snprintf(words, sizeof(words), "while it ran item %zu of task 'die_if_divisible'", item);
        ck_assert_msg(strstr(brood_error(), words) != NULL, "%s", brood_error());
    }
    ck_assert_int_eq(brood_map(pool, die_if_divisible, out, in, N), -EOWNERDEAD);
    ck_assert_ptr_nonnull(strstr(brood_error(), "was killed by signal 9 (Killed) while it ran item 96 of task"));
}
END_TEST

/* Eight megabytes, half of them written.  The result is in memory that the host gave: nothing is in the way.
 * semantics: K2 X13 */
START_TEST(a_worker_that_dies_or_is_killed_in_a_large_result_is_in_nobodys_way)
{
    enum { LARGE = 8 << 20 };
    brood_auto(pool) *pool = open_pool(_i, 2);
    char *large = calloc(1, LARGE);
    struct brood_bytes arg = {large, LARGE};

    ck_assert_ptr_nonnull(large);
    for (int round = 0; round < 3; round++) {
        brood_auto(future) *dies = NULL, *hangs = NULL, *lives = NULL;

        large[0] = 'd';
        ck_assert_int_eq(brood_apply_bytes_async(pool, die_in_result, &dies, arg), 0);
        large[0] = 'h';
        ck_assert_int_eq(brood_apply_bytes_async(pool, die_in_result, &hangs, arg), 0);
        large[0] = 'l';
        ck_assert_int_eq(brood_apply_bytes_async(pool, die_in_result, &lives, arg), 0);
        ck_assert_int_eq(outcome_of(dies), -EOWNERDEAD);
        ck_assert_int_eq(outcome_of(lives), 0);
        ck_assert_uint_eq(brood_future_size(lives), LARGE);
        ck_assert_int_eq(brood_future_kill(hangs), 0);
        ck_assert_int_eq(outcome_of(hangs), -ECANCELED);
        expect_working(pool);
    }
    free(large);
}
END_TEST

/* The host traces it, as a debugger would, and takes no note of its end. */
START_TEST(a_worker_that_dies_while_it_is_traced_delays_no_other)
{
    struct brood_pool *pool;
    brood_auto(future) *future = NULL, *next = NULL;
    struct brood_death death;
    pid_t victim;

    if (!may_trace())
        return;
    pool = open_pool(_i, 1);
    victim = brood_pool_worker_pid(pool, 0);
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, victim, NULL, NULL), 0);
    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.pid, victim);
    ck_assert_int_eq(death.signal, SIGKILL);
    ck_assert_int_eq(brood_apply_async(pool, square, &next, &(double){2}), 0);
    ck_assert_int_eq(brood_future_wait(next, brood_after_ms(60000)), 0);
    ck_assert_int_eq(waitpid(victim, NULL, __WALL), victim);
    (void)!brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL});
    await(kill(victim, 0) < 0); /* it has been reaped with this one */
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

static atomic_int *exits;

static void count_exit(void)
{
    atomic_fetch_add(exits, 1);
}

/* With .inherit_fds, so that a worker could write what the host has not written yet. */
START_TEST(a_task_that_calls_exit_does_not_do_what_the_host_does_at_its_exit)
{
    struct brood_pool *pool;
    brood_auto(future) *future = NULL;
    struct brood_death death;
    FILE *stream = tmpfile();
    char text[32];

    exits = mmap(NULL, sizeof(*exits), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(stream != NULL && exits != MAP_FAILED);
    ck_assert_int_eq(atexit(count_exit), 0);
    ck_assert_int_ge(fputs("once", stream), 0);
    pool = open_processes(_i, BROOD_POOL(.workers = 1, .inherit_fds = true));
    ck_assert_int_eq(brood_apply_async(pool, call_exit, &future, &(int){9}), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.exit_code, 9);
    ck_assert_int_eq(death.signal, 0);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(atomic_load(exits), 0);
    ck_assert_int_eq(fflush(stream), 0);
    rewind(stream);
    ck_assert_uint_eq(fread(text, 1, sizeof(text), stream), 4);
    fclose(stream);
}
END_TEST

/* ---- an idle worker dies ---- */

START_TEST(idle_workers_that_are_killed_cost_nothing)
{
    brood_auto(pool) *pool = open_pool(_i, 2);

    for (int round = 0; round < 10; round++) {
        pid_t victims[2] = {brood_pool_worker_pid(pool, 0), brood_pool_worker_pid(pool, 1)};

        for (int i = 0; i < 2; i++)
            if (victims[i] > 0)
                kill(victims[i], SIGKILL);
        expect_working(pool);
    }
}
END_TEST

START_TEST(random_kills_leave_every_task_with_one_outcome)
{
    enum { TASKS = 400 };
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct brood_future *futures[TASKS];
    int done = 0, lost = 0;
    int64_t end = now_us() + 1000000;

    srandom(1);
    while (now_us() < end) {
        for (int i = 0; i < TASKS; i++)
            ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
        int64_t until = now_us() + random() % 300;
        pid_t victim = brood_pool_worker_pid(pool, (int)(random() % 2));

        while (now_us() < until)
            ;
        if (victim > 0)
            kill(victim, SIGKILL);
        for (int i = 0; i < TASKS; i++) {
            double y;
            int r;

            ck_assert_int_eq(brood_future_wait(futures[i], brood_after_ms(60000)), 0);
            r = brood_future_result(futures[i], &y, sizeof(y));
            ck_assert_msg(r == -EOWNERDEAD || (r == 0 && y == (double)i * i), "task %d: %d", i, r);
            done += r == 0;
            lost += r < 0;
            brood_future_free(futures[i]);
        }
    }
    ck_assert_int_eq((done + lost) % TASKS, 0);
    expect_working(pool);
}
END_TEST

static struct brood_pool_stats look(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    return stats;
}

/* The third child of the supervisor, when the other two are the workers: 0 before. */
static pid_t spare_of(const struct brood_pool *pool, pid_t supervisor)
{
    pid_t workers[] = {brood_pool_worker_pid(pool, 0), brood_pool_worker_pid(pool, 1)}, children[8], spare = 0;
    int count = children_of(supervisor, children, 8);

    for (int i = 0; i < count; i++)
        if (children[i] != workers[0] && children[i] != workers[1])
            spare = children[i];
    return count == 3 && workers[0] != 0 && workers[1] != 0 ? spare : 0;
}

/* The sanitizer of an executable that ends by exit() looks for leaks, and has an exit status of its own. */
#ifdef __SANITIZE_ADDRESS__
#define HAS_LEAK_CHECK true
#else
#define HAS_LEAK_CHECK false
#endif

/* Workers retire meanwhile, which is no death; and a spare is killed, which `deaths` does not count. */
START_TEST(statistics_and_certificates_agree_on_the_deaths_of_a_storm)
{
    enum { TASKS = 50 * ENDINGS };
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .spares = 1, .worker_tasks = 3, .deaths_max = -1));
    struct brood_future *futures[TASKS];
    pid_t supervisor = supervisor_of(pool), spare;
    struct brood_death death;
    uint64_t certified = 0;

    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(brood_apply_async(pool, end_somehow, &futures[i], &i), 0);
    for (int i = 0; i < TASKS; i++) {
        ck_assert_int_eq(outcome_of(futures[i]), i % ENDINGS == RETURN ? 0 : -EOWNERDEAD);
        certified += brood_future_death(futures[i], &death) == 0;
        if (i % ENDINGS == EXIT_WELL || i % ENDINGS == EXIT_THREAD)
            ck_assert(death.signal == 0 && (death.exit_code == 0 || HAS_LEAK_CHECK));
        brood_future_free(futures[i]);
    }
    ck_assert_uint_eq(certified, TASKS - TASKS / ENDINGS);
    ck_assert_uint_eq(look(pool).deaths, certified);
    await((spare = spare_of(pool, supervisor)) != 0);
    ck_assert_int_eq(kill(spare, SIGKILL), 0);
    await(look(pool).spare_deaths == 1);
    ck_assert_uint_eq(look(pool).deaths, certified);
}
END_TEST

START_TEST(workers_that_only_exit_with_status_0_break_the_pool_too)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .deaths_max = 5, .deaths_ms = 60000));
    struct brood_future *futures[10];

    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(brood_apply_async(pool, call_exit, &futures[i], &(int){0}), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(outcome_of(futures[i]), i < 5 ? -EOWNERDEAD : -ESHUTDOWN);
        brood_future_free(futures[i]);
    }
    ck_assert_uint_eq(look(pool).deaths, 5);
}
END_TEST

START_TEST(random_kills_leave_a_map_whole_but_for_the_items_they_hit)
{
    enum { N = 20000 };
    brood_auto(pool) *pool = open_pool(_i, 2);
    double *in = malloc(N * sizeof(double)), *out = malloc(N * sizeof(double));
    int64_t end = now_us() + 1000000;

    srandom(2);
    for (int i = 0; i < N; i++)
        in[i] = i;
    while (now_us() < end) {
        struct brood_future *future = NULL;
        int kills = 0, lost = 0;

        ck_assert_int_eq(
            brood_pool_map_async(pool, &square.task, &future, out, in, N, BROOD_MAP(.chunk = 1 + (size_t)random() % 9)), 0);
        while (brood_future_wait(future, (brood_deadline){(now_us() + random() % 500) * 1000}) < 0 && kills < 5) {
            pid_t victim = brood_pool_worker_pid(pool, (int)(random() % 2));

            kills += victim > 0 && kill(victim, SIGKILL) == 0;
        }
        ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
        for (size_t i = 0; i < N; i++) {
            int outcome = brood_future_item(future, i);

            if (outcome == -EOWNERDEAD)
                lost++;
            else if (outcome != 0 || out[i] != in[i] * in[i])
                ck_abort_msg("item %zu: %d, %g", i, outcome, out[i]);
        }
        ck_assert_int_le(lost, kills);
        brood_future_free(future);
    }
    free(in);
    free(out);
}
END_TEST

/* ---- supervisor and host die ---- */

START_TEST(when_the_supervisor_dies_every_wait_ends_at_once)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *stuck = NULL;
    pid_t supervisor = supervisor_of(pool);

    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    int64_t began = now_us();

    ck_assert_int_eq(brood_future_wait(stuck, brood_after_ms(60000)), 0);
    ck_assert_int_lt(now_us() - began, AT_ONCE_MS * 1000);
    ck_assert_int_eq(brood_future_item(stuck, 0), -ESHUTDOWN);
    ck_assert_ptr_nonnull(strstr(brood_future_error(stuck), "supervisor died"));
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), -ESHUTDOWN);
    ck_assert_ptr_nonnull(strstr(brood_error(), "supervisor died"));
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
    pool = NULL;
}
END_TEST

#define UNPRIVILEGED 65534

/* The kernel then forgets that they are to die with their parent. */
static bool become_nobody(void)
{
    return setgid(UNPRIVILEGED) == 0 && setuid(UNPRIVILEGED) == 0;
}

/* The fixture makes orphans this process's children. */
static void expect_to_die_with(pid_t supervisor, const pid_t *workers, int count)
{
    int dead = 0;

    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    for (int64_t until = now_ms() + 60000; dead < count && now_ms() < until; rest())
        for (int i = 0; i < count; i++)
            dead += waitpid(workers[i], NULL, WNOHANG) == workers[i];
    for (int i = 0; i < count && dead < count; i++) /* they would outlive the test as well */
        (void)kill(workers[i], SIGKILL);
    ck_assert_int_eq(dead, count);
}

static void expect_broken(struct brood_pool *pool)
{
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
}

/* It sleeps, or is about to. */
START_TEST(a_worker_whose_task_has_changed_its_user_goes_with_its_supervisor)
{
    for (int sleeps = 0; sleeps < 2; sleeps++) {
        struct brood_pool *pool = open_pool(_i, 1);
        pid_t worker = brood_pool_worker_pid(pool, 0), supervisor = supervisor_of(pool);
        int id;

        ck_assert_int_eq(brood_apply(pool, change_user, &id, &(int){UNPRIVILEGED}), 0);
        if (sleeps)
            await(is_asleep(worker));
        expect_to_die_with(supervisor, &worker, 1);
        expect_broken(pool);
    }
}
END_TEST

static int initialize_as_nobody(void *context, void **ret_state)
{
    (void)context;
    (void)ret_state;
    return become_nobody() ? 0 : -errno;
}

/* One is in a task that does not end, one sleeps, and one waits for the number that it is to replace. */
START_TEST(workers_that_begin_as_another_user_go_with_their_supervisor)
{
    struct brood_future *stuck;
    struct brood_pool *pool;
    pid_t supervisor, workers[4];

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .spares = 1, .initializer = initialize_as_nobody)), 0);
    supervisor = supervisor_of(pool);
    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    await(brood_future_running(stuck));
    await(children_of(supervisor, workers, 4) == 3 && is_asleep(workers[2]));
    expect_to_die_with(supervisor, workers, 3);
    expect_broken(pool);
    brood_future_free(stuck);
}
END_TEST

/* A host that never ends by itself. */
static void be_host(int kind, int ready)
{
    struct brood_pool *pool = open_pool(kind, 2);
    int in[4] = {0}, out[4];

    if (write(ready, "", 1) != 1)
        _exit(1);
    _exit(brood_map(pool, hang, out, in, 4));
}

/* The fixture makes orphans this process's children, and fails if one stays. */
/* semantics: K9 */
START_TEST(when_the_host_is_killed_in_a_map_nothing_stays)
{
    pid_t host = start_host(be_host, _i);
    int status;

    ck_assert_int_eq(kill(host, SIGKILL), 0);
    ck_assert_int_eq(waitpid(host, &status, 0), host);
    int64_t began = now_us();

    while (waitpid(-1, &status, 0) > 0) /* supervisor and workers, as they go */
        ;
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_lt(now_us() - began, AT_ONCE_MS * 1000);
}
END_TEST

/* ---- a host that is in the way ---- */

START_TEST(a_host_that_ignores_sigchld_is_served)
{
    ck_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    struct brood_pool *pool = open_pool(_i, 2);

    expect_working(pool);
    ck_assert_int_eq(brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}), -EOWNERDEAD);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}
END_TEST

START_TEST(a_host_that_reaps_everything_is_served)
{
    struct brood_pool *pool = open_pool(_i, 2);
    pid_t supervisor = supervisor_of(pool);
    int status;

    expect_working(pool);
    ck_assert_int_eq(waitpid(-1, &status, WNOHANG), 0);
    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    ck_assert_int_eq(waitpid(supervisor, &status, 0), supervisor); /* before brood does */
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* A child of the task stays in the worker's group, and sleeps. */
START_TEST(what_a_task_has_started_goes_with_its_worker)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *future = NULL;
    int child;

    ck_assert_int_eq(brood_apply(pool, leave_a_child, &child, &(int){0}), 0);
    ck_assert_int_eq(kill(child, 0), 0);
    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    while (kill(child, 0) == 0) /* dead, and reaped by its present parent */
        (void)waitpid(child, NULL, WNOHANG);
    ck_assert_int_eq(errno, ESRCH);
}
END_TEST

START_TEST(a_child_of_a_task_does_not_answer_in_its_place)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    int result = 0;

    ck_assert_int_eq(brood_apply(pool, fork_and_leave, &result, &(int){5}), 0);
    ck_assert_int_eq(result, 5);
    expect_working(pool);
}
END_TEST

/* semantics: M21 */
START_TEST(standard_descriptors_may_be_closed)
{
    int saved[3];

    for (int fd = 0; fd < 3; fd++) {
        saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        ck_assert_int_ge(saved[fd], 0);
        close(fd);
    }
    struct brood_pool *pool = NULL;
    int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2)), r2 = -1;
    double y = 0;

    if (r == 0) {
        r2 = brood_apply(pool, square, &y, &(double){3});
        (void)brood_pool_close(pool, BROOD_FOREVER);
    }
    for (int fd = 0; fd < 3; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(r2, 0);
    ck_assert_double_eq(y, 9);
}
END_TEST

/* ---- pools that cannot be opened ---- */

START_TEST(an_executable_that_is_not_there_is_named)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .worker = "/nowhere/worker")), -ENOENT);
    ck_assert_ptr_nonnull(strstr(brood_error(), "'/nowhere/worker'"));
    ck_assert_ptr_nonnull(strstr(brood_error(), "No such file"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .worker = "/dev/null")), -EACCES);
}
END_TEST

START_TEST(an_executable_that_is_no_worker_is_explained)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .worker = "true")), -ECHILD);
    ck_assert_ptr_nonnull(strstr(brood_error(), "brood_worker_main()"));
}
END_TEST

START_TEST(workers_that_may_not_be_forked_are_an_error_and_nothing_stays)
{
    struct brood_pool *pool = NULL;
    struct rlimit none = {0, 0};
    int status;
    pid_t child;

    if (geteuid() == 0 && (child = fork()) == 0) { /* the limit does not bind root */
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(77);
        setrlimit(RLIMIT_NPROC, &none);
        int r = brood_pool_open(&pool, BROOD_POOL(.workers = 2));

        _exit(r == -EAGAIN && strstr(brood_error(), "ulimit -u") ? 0 : 1);
    } else if (geteuid() == 0) {
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

/* A run of its own, so that it is seen to be skipped where the user may not be changed. */
static int run_with_users(void)
{
    Suite *suite = suite_create("deaths of other users");

    if (!may_child(become_nobody)) {
        printf("skipped: only root can change its user\n");
        return 77;
    }
    add_loop_tests(suite, "users", 0, PROCESS_KINDS, a_worker_whose_task_has_changed_its_user_goes_with_its_supervisor,
                   NULL);
    add_tests(suite, "users from the beginning", workers_that_begin_as_another_user_go_with_their_supervisor, NULL);
    return run_suite(suite);
}

/* ---- deaths that no future tells of ---- */

/* Of worker 0, and waits for the next one of that number. */
static pid_t kill_idle(struct brood_pool *pool)
{
    pid_t pid = brood_pool_worker_pid(pool, 0), next;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    await((next = brood_pool_worker_pid(pool, 0)) != 0 && next != pid);
    return pid;
}

START_TEST(the_death_of_an_idle_worker_is_told_of_once_and_rings)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    struct pollfd ready = {.fd = brood_pool_fd(pool), .events = POLLIN};
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    struct brood_death death = {0}, none;
    int result;
    pid_t pid;

    ck_assert_int_ge(ready.fd, 0);
    (void)brood_pool_run(pool, BROOD_NOW);
    ck_assert_int_eq(brood_pool_deaths(pool, &death, 1), 0);
    pid = kill_idle(pool);
    ck_assert_int_eq(poll(&ready, 1, 60000), 1);
    ck_assert_int_eq(brood_pool_deaths(pool, &death, 1), 1);
    ck_assert_int_eq(death.pid, pid);
    ck_assert_int_eq(death.worker, 0);
    ck_assert_int_eq(death.signal, SIGKILL);
    ck_assert_str_eq(death.task, "");
    ck_assert_int_eq(brood_apply(pool, die_by, &result, &(int){SIGSEGV}), -EOWNERDEAD);
    ck_assert_int_eq(brood_pool_deaths(pool, &none, 1), 0); /* its future has told of that one */
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.deaths, 2);
}
END_TEST

START_TEST(of_many_idle_deaths_the_last_are_kept_and_all_are_counted)
{
    enum { MANY = 70, KEPT = 63 };
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    struct brood_death deaths[MANY];
    pid_t pids[MANY];

    for (int i = 0; i < MANY; i++)
        pids[i] = kill_idle(pool);
    ck_assert_int_eq(brood_pool_deaths(pool, deaths, 3), 3);
    ck_assert_int_eq(brood_pool_deaths(pool, deaths + 3, MANY), KEPT - 3);
    for (int i = 0; i < KEPT; i++)
        ck_assert_int_eq(deaths[i].pid, pids[MANY - KEPT + i]);
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.deaths, MANY);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--users") == 0)
        return run_with_users();
    if (argc > 1 && strcmp(argv[1], "--emulated") == 0)
        be_emulated();
    Suite *suite = suite_create("deaths");

    add_loop_tests(suite, "a worker with a task", 0, PROCESS_KINDS, a_task_whose_worker_is_killed_fails_with_pid_and_signal,
                   every_way_to_die_is_told_apart, other_tasks_go_on_when_one_kills_its_worker,
                   a_map_loses_just_the_items_that_killed_a_worker,
                   each_item_that_killed_a_worker_says_so_with_pid_signal_and_number,
                   a_worker_that_dies_or_is_killed_in_a_large_result_is_in_nobodys_way,
                   a_worker_that_dies_while_it_is_traced_delays_no_other,
                   a_task_that_calls_exit_does_not_do_what_the_host_does_at_its_exit, NULL);
    add_loop_tests(suite, "a worker at any time", 0, PROCESS_KINDS, idle_workers_that_are_killed_cost_nothing,
                   random_kills_leave_every_task_with_one_outcome,
                   statistics_and_certificates_agree_on_the_deaths_of_a_storm,
                   workers_that_only_exit_with_status_0_break_the_pool_too,
                   random_kills_leave_a_map_whole_but_for_the_items_they_hit, NULL);
    add_loop_tests(suite, "supervisor and host", 0, PROCESS_KINDS, when_the_supervisor_dies_every_wait_ends_at_once,
                   when_the_host_is_killed_in_a_map_nothing_stays, NULL);
    add_loop_tests(suite, "hosts", 0, PROCESS_KINDS, a_host_that_ignores_sigchld_is_served,
                   a_host_that_reaps_everything_is_served, a_child_of_a_task_does_not_answer_in_its_place,
                   what_a_task_has_started_goes_with_its_worker, NULL);
    add_tests(suite, "opening", standard_descriptors_may_be_closed, an_executable_that_is_not_there_is_named,
              an_executable_that_is_no_worker_is_explained, workers_that_may_not_be_forked_are_an_error_and_nothing_stays,
              NULL);
    add_loop_tests(suite, "idle", 0, PROCESS_KINDS, the_death_of_an_idle_worker_is_told_of_once_and_rings,
                   of_many_idle_deaths_the_last_are_kept_and_all_are_counted, NULL);
    return run_suite(suite);
}
