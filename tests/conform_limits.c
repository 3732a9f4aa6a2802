/* conform_limits.c - limits, kills, retries and what a death leaves to read: over forked and exec'ed workers, and threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "streams.h"
#include "support.h"
#include "tasks.h"

static void await_running(struct brood_future *future)
{
    while (!brood_future_running(future))
        rest();
}

/* However long the pool's limit is: the worker may have to wait for a processor. */
static void expect_answer(struct brood_pool *pool)
{
    brood_auto(future) *future = NULL;
    double y;

    ck_assert_int_eq(brood_submit(pool, square, &future, BROOD_CALL(.limit_ms = -1), &(double){3}), 0);
    ck_assert_msg(outcome_of(future) == 0, "%s", brood_future_error(future));
    ck_assert_int_eq(brood_future_result(future, &y, sizeof(y)), 0);
    ck_assert_double_eq(y, 9);
}

static bool is_zombie(pid_t pid)
{
    char path[32], state = '?';
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    if (file)
        fclose(file);
    return state == 'Z';
}

/* ---- limits ---- */

START_TEST(a_task_that_overruns_its_limit_is_killed_on_time)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 100));
    brood_auto(future) *future = NULL;
    struct brood_death death;
    int64_t began = now_ms();

    ck_assert_int_eq(brood_apply_async(pool, hang, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 99);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS); /* how exact it is says brood chaos */
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_TIMED_OUT);
    ck_assert_int_eq(death.signal, SIGKILL);
    ck_assert_str_eq(death.task, "hang");
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "had had its time"));
    expect_answer(pool);
}
END_TEST

START_TEST(its_certificate_says_where_it_hung)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 50, .grace_ms = 1000));
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, hang, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_msg(strstr(death.backtrace, "pause"), "backtrace:\n%s", death.backtrace);
}
END_TEST

START_TEST(a_task_that_asks_is_told_and_spared)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 50, .grace_ms = 5000));
    brood_auto(future) *future = NULL;
    pid_t worker = brood_pool_worker_pid(pool, 0);
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, obey, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EINTR);
    ck_assert_str_eq(brood_future_error(future), "told to stop");
    ck_assert_int_eq(brood_future_death(future, &death), -ENODATA);
    expect_answer(pool);
    ck_assert_int_eq(brood_pool_worker_pid(pool, 0), worker);
}
END_TEST

START_TEST(a_late_success_is_told_from_a_timely_one)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 50, .grace_ms = 60000));
    brood_auto(future) *late = NULL;
    brood_auto(future) *successful = NULL;
    brood_auto(future) *timely = NULL;
    int result = 0;
    brood_auto(future) *killed = NULL;

    ck_assert_int_eq(brood_apply_async(pool, obey, &late, &(int){0}), 0);
    ck_assert(!brood_future_is_late(late));
    ck_assert_int_eq(outcome_of(late), -EINTR);
    ck_assert(brood_future_is_late(late));
    ck_assert_int_eq(brood_apply_async(pool, succeed_late, &successful, &(int){7}), 0);
    ck_assert_int_eq(outcome_of(successful), 0);
    ck_assert_int_eq(brood_future_result(successful, &result, sizeof(result)), 0);
    ck_assert_int_eq(result, 7);
    ck_assert(brood_future_is_late(successful));
    ck_assert_int_eq(brood_submit(pool, square, &timely, BROOD_CALL(.limit_ms = 60000), &(double){3}), 0);
    ck_assert_int_eq(outcome_of(timely), 0);
    ck_assert(!brood_future_is_late(timely));
    ck_assert_int_eq(brood_submit(pool, hang, &killed, BROOD_CALL(.limit_ms = 10, .grace_ms = 10), &(int){0}), 0);
    ck_assert_int_eq(outcome_of(killed), -ETIMEDOUT);
    ck_assert(!brood_future_is_late(killed));
    ck_assert(!brood_future_is_late(NULL));
}
END_TEST

START_TEST(at_its_limit_a_task_may_be_ended_by_sigterm)
{
    brood_auto(pool) *pool =
        open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 50, .grace_ms = 60000, .at_limit = BROOD_LIMIT_TERMINATE));
    brood_auto(future) *future = NULL;
    struct brood_death death;
    int64_t began = now_ms();

    ck_assert_int_eq(brood_apply_async(pool, hang, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS); /* it does not wait for the grace */
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_TIMED_OUT);
    ck_assert_int_eq(death.signal, SIGTERM);
    ck_assert_msg(strstr(death.backtrace, "pause"), "backtrace:\n%s", death.backtrace);
    expect_answer(pool);
}
END_TEST

START_TEST(a_task_that_defies_the_sigterm_of_its_limit_is_killed_after_the_grace)
{
    brood_auto(pool) *pool =
        open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 50, .grace_ms = 50, .at_limit = BROOD_LIMIT_TERMINATE));
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, defy, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGKILL);
    expect_answer(pool);
}
END_TEST

/* semantics: K1 */
START_TEST(a_task_that_blocks_every_signal_is_killed_after_the_grace)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    int64_t began = now_ms();

    ck_assert_int_eq(brood_submit(pool, defy, &future, BROOD_CALL(.limit_ms = 50, .grace_ms = 50), &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 99);
    expect_answer(pool);
}
END_TEST

START_TEST(a_worker_that_ends_by_itself_behind_the_limit_had_had_its_time)
{
    static const struct {
        int arg, signal, exit_code;
        const char *words;
    } ways[] = {{7, 0, 7, "exited with status 7, when the task had had its time, while"},
                {0, SIGSEGV, 0, "had had its time"}};
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = 500, .grace_ms = 10000));

    for (size_t i = 0; i < 2; i++) {
        brood_auto(future) *future = NULL;
        struct brood_death death;

        ck_assert_int_eq(brood_apply_async(pool, leave_at_term, &future, &ways[i].arg), 0);
        ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
        ck_assert_int_eq(brood_future_death(future, &death), 0);
        ck_assert_int_eq(death.cause, BROOD_TIMED_OUT);
        ck_assert_int_eq(death.signal, ways[i].signal);
        ck_assert_int_eq(death.exit_code, ways[i].exit_code);
        ck_assert_msg(strstr(brood_future_error(future), ways[i].words) != NULL, "%s", brood_future_error(future));
    }
}
END_TEST

/* The supervisor stands still until the limit is over, and sees the death then. */
START_TEST(a_fault_before_the_limit_is_no_overrun_however_late_it_is_seen)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    pid_t supervisor = supervisor_of(pool);
    struct brood_death death;

    ck_assert_int_eq(kill(supervisor, SIGSTOP), 0);
    ck_assert_int_eq(brood_submit(pool, touch_nothing, &future, BROOD_CALL(.limit_ms = 500), &(int){0}), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(700)), -ETIMEDOUT);
    ck_assert_int_eq(kill(supervisor, SIGCONT), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_DIED);
    ck_assert_int_eq(death.signal, SIGSEGV);
}
END_TEST

/* The same of deaths that nothing in the worker notices: the supervisor sees them when the limit is over. */
START_TEST(a_death_before_the_limit_is_not_a_timeout)
{
    static const struct {
        const struct brood_task *task;
        int arg, signal, exit_code;
    } ways[] = {{&die_by.task, SIGKILL, SIGKILL, 0},
                {&block_and_die.task, SIGKILL, SIGKILL, 0},
                {&leave_with.task, 7, 0, 7},
                {&call_exit.task, 0, 0, 0}};

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
        brood_auto(future) *future = NULL;
        pid_t worker = brood_pool_worker_pid(pool, 0), supervisor = supervisor_of(pool);
        struct brood_death death;

        ck_assert_int_eq(kill(supervisor, SIGSTOP), 0);
        ck_assert_int_eq(brood_pool_submit(pool, ways[i].task, &future, (struct brood_bytes){&ways[i].arg, sizeof(int)},
                                           BROOD_CALL(.limit_ms = 300, .grace_ms = 10), BROOD_FOREVER),
                         0);
        await(is_zombie(worker));
        ck_assert_int_eq(brood_future_wait(future, brood_after_ms(500)), -ETIMEDOUT);
        ck_assert_int_eq(kill(supervisor, SIGCONT), 0);
        ck_assert_msg(outcome_of(future) == -EOWNERDEAD, "way %zu: %s", i, brood_future_error(future));
        ck_assert_int_eq(brood_future_death(future, &death), 0);
        ck_assert_int_eq(death.cause, BROOD_DIED);
        ck_assert_int_eq(death.signal, ways[i].signal);
        ck_assert_int_eq(death.exit_code, ways[i].exit_code);
    }
}
END_TEST

START_TEST(a_task_that_keeps_every_signal_from_its_worker_has_timed_out)
{
    static const struct {
        const struct brood_task *task;
        int arg;
    } ways[] = {{&defy.task, 0}, {&shrug.task, 0}, {&shrug.task, 1}};

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
        brood_auto(future) *future = NULL;
        struct brood_death death;

        ck_assert_int_eq(brood_pool_submit(pool, ways[i].task, &future, (struct brood_bytes){&ways[i].arg, sizeof(int)},
                                           BROOD_CALL(.limit_ms = 200), BROOD_FOREVER),
                         0);
        ck_assert_msg(outcome_of(future) == -ETIMEDOUT, "way %zu: %s", i, brood_future_error(future));
        ck_assert_int_eq(brood_future_death(future, &death), 0);
        ck_assert_int_eq(death.cause, BROOD_TIMED_OUT);
        ck_assert_int_eq(death.signal, SIGKILL);
    }
}
END_TEST

START_TEST(what_an_earlier_task_has_overrun_is_not_held_against_the_next)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    brood_auto(future) *map = NULL;
    int in[] = {200, 1}, out[2];

    ck_assert_int_eq(brood_submit(pool, outlast, &future, BROOD_CALL(.limit_ms = 20, .grace_ms = 60000), &(int){200}), 0);
    ck_assert_int_eq(outcome_of(future), 0);
    brood_future_free(future);
    ck_assert_int_eq(brood_submit(pool, die_by, &future, BROOD_CALL(.limit_ms = 60000), &(int){SIGKILL}), 0);
    ck_assert_msg(outcome_of(future) == -EOWNERDEAD, "%s", brood_future_error(future));
    ck_assert_int_eq(
        brood_pool_map_async(pool, &outlast.task, &map, out, in, 2, BROOD_MAP(.limit_ms = 20, .grace_ms = 60000)), 0);
    ck_assert_msg(outcome_of(map) == 0, "%s", brood_future_error(map));
}
END_TEST

START_TEST(a_call_may_have_its_own_limit_or_none)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .limit_ms = 50));
    brood_auto(future) *unlimited = NULL;
    brood_auto(future) *limited = NULL;

    ck_assert_int_eq(brood_submit(pool, hang, &unlimited, BROOD_CALL(.limit_ms = -1), &(int){0}), 0);
    ck_assert_int_eq(brood_submit(pool, hang, &limited, BROOD_CALL(.limit_ms = 150), &(int){0}), 0);
    ck_assert_int_eq(outcome_of(limited), -ETIMEDOUT);
    ck_assert(!brood_future_done(unlimited));
}
END_TEST

START_TEST(a_limit_counts_from_the_start_of_the_task_not_from_its_submission)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *first = NULL;
    brood_auto(future) *second = NULL;
    double y;

    ck_assert_int_eq(brood_submit(pool, hang, &first, BROOD_CALL(.limit_ms = 1200), &(int){0}), 0);
    ck_assert_int_eq(brood_submit(pool, square, &second, BROOD_CALL(.limit_ms = 1000), &(double){5}), 0);
    ck_assert_int_eq(outcome_of(first), -ETIMEDOUT);
    ck_assert_int_eq(outcome_of(second), 0);
    ck_assert_int_eq(brood_future_result(second, &y, sizeof(y)), 0);
    ck_assert_double_eq(y, 25);
}
END_TEST

START_TEST(an_item_of_a_map_that_overruns_is_lost_alone)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *future = NULL;
    int in[20], out[20];

    for (int i = 0; i < 20; i++)
        in[i] = i == 7 ? 0 : -1; /* the others return at once */
    ck_assert_int_eq(brood_pool_map_async(pool, &hang.task, &future, out, in, 20, BROOD_MAP(.limit_ms = 1000)), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    for (size_t i = 0; i < 20; i++)
        ck_assert_int_eq(brood_future_item(future, i), i == 7 ? -ETIMEDOUT : 0);
}
END_TEST

START_TEST(threads_are_told_and_not_killed)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *future = NULL;

    (void)_i;
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = BROOD_THREADS, .limit_ms = 50)), 0);
    ck_assert_int_eq(brood_apply_async(pool, obey, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EINTR);
    expect_answer(pool);
}
END_TEST

/* ---- limits of CPU time ---- */

START_TEST(a_task_that_uses_up_its_cpu_time_is_killed_and_its_certificate_says_so)
{
    static const int args[] = {60000, -1};
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));

    for (size_t i = 0; i < 2; i++) {
        brood_auto(future) *future = NULL;
        struct brood_death death;

        ck_assert_int_eq(brood_submit(pool, use_cpu, &future, BROOD_CALL(.limit_cpu_ms = 50), &args[i]), 0);
        ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
        ck_assert_int_eq(brood_future_death(future, &death), 0);
        ck_assert_int_eq(death.cause, BROOD_TIMED_OUT_CPU);
        ck_assert_int_eq(death.signal, SIGKILL);
        ck_assert_int_ge(death.user_us + death.system_us, 49000);
        ck_assert_ptr_nonnull(strstr(brood_future_error(future), "was killed because the task had had its CPU time"));
        if (args[i] > 0)
            ck_assert_msg(strstr(death.backtrace, "cpu_ns") || strstr(death.backtrace, "use_cpu"), "%s", death.backtrace);
    }
    expect_answer(pool);
}
END_TEST

/* One sleeps for longer than it may compute, the other is stopped for so long. */
START_TEST(time_without_a_processor_is_no_cpu_time)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_cpu_ms = 200));
    brood_auto(future) *sleeps = NULL;
    brood_auto(future) *stands = NULL;
    pid_t worker = brood_pool_worker_pid(pool, 0);

    ck_assert_int_eq(brood_apply_async(pool, sleep_for, &sleeps, &(int){300}), 0);
    ck_assert_msg(outcome_of(sleeps) == 0, "%s", brood_future_error(sleeps));
    ck_assert_int_eq(brood_apply_async(pool, use_cpu, &stands, &(int){50}), 0);
    await_running(stands);
    ck_assert_int_eq(kill(worker, SIGSTOP), 0);
    ck_assert_int_lt(brood_future_wait(stands, brood_after_ms(300)), 0);
    ck_assert_int_eq(kill(worker, SIGCONT), 0);
    ck_assert_msg(outcome_of(stands) == 0, "%s", brood_future_error(stands));
}
END_TEST

START_TEST(a_task_may_use_its_cpu_time_again_and_again)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_cpu_ms = 300));
    int in[] = {40, 40, 40, 40, 40, 40, 40, 40, 40, 40}, out[10], one;

    for (int i = 0; i < 10; i++)
        ck_assert_msg(brood_apply(pool, use_cpu, &one, &in[i]) == 0, "%s", brood_error());
    ck_assert_msg(brood_map(pool, use_cpu, out, in, 10) == 0, "%s", brood_error());
}
END_TEST

/* Of a map, and of a stream. */
START_TEST(an_item_that_uses_up_its_cpu_time_is_lost_alone)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *future = NULL;
    brood_auto(imap) *imap = NULL;
    int in[] = {1, 60000, 1, 1, 1, 1}, out[6];

    ck_assert_int_eq(brood_pool_map_async(pool, &use_cpu.task, &future, out, in, 6, BROOD_MAP(.limit_cpu_ms = 100)), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_imap(pool, use_cpu, &imap, in, 6, BROOD_IMAP(.limit_cpu_ms = 100)), 0);
    for (size_t i = 0; i < 6; i++) {
        struct brood_item item;

        ck_assert_int_eq(brood_future_item(future, i), i == 1 ? -ETIMEDOUT : 0);
        ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
        ck_assert_int_eq(item.outcome, i == 1 ? -ETIMEDOUT : 0);
    }
}
END_TEST

START_TEST(a_thread_is_told_when_it_has_used_up_its_cpu_time)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *future = NULL;

    (void)_i;
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = BROOD_THREADS, .limit_cpu_ms = 20)), 0);
    ck_assert_int_eq(brood_apply_async(pool, use_cpu, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EINTR);
    expect_answer(pool);
}
END_TEST

/* ---- kills ---- */

START_TEST(a_running_task_can_be_killed)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, defy, &future, &(int){0}), 0);
    await_running(future);
    ck_assert_int_eq(brood_future_kill(future), 0);
    ck_assert_int_eq(outcome_of(future), -ECANCELED);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_KILLED);
    ck_assert_int_eq(brood_future_kill(future), -EBUSY);
    expect_answer(pool);
}
END_TEST

/* The supervisor hears of others meanwhile. */
START_TEST(a_task_that_cannot_be_stopped_can_be_killed)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *future = NULL;
    struct brood_death death;
    int status;

    ck_assert_int_eq(brood_apply_async(pool, stand_in_vfork, &future, &(int){0}), 0);
    await(children_of(brood_pool_worker_pid(pool, 0), &(pid_t){0}, 1) == 1 ||
          children_of(brood_pool_worker_pid(pool, 1), &(pid_t){0}, 1) == 1);
    ck_assert_int_eq(brood_future_kill(future), 0);
    ck_assert_int_eq(outcome_of(future), -ECANCELED);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_KILLED);
    ck_assert_int_eq(brood_apply(pool, die_by, &status, &(int){SIGKILL}), -EOWNERDEAD);
    expect_answer(pool);
}
END_TEST

START_TEST(a_task_that_has_not_started_is_cancelled_by_a_kill)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *first = NULL;
    brood_auto(future) *second = NULL;
    pid_t worker = brood_pool_worker_pid(pool, 0);

    ck_assert_int_eq(brood_apply_async(pool, hang, &first, &(int){0}), 0);
    await_running(first);
    ck_assert_int_eq(brood_apply_async(pool, hang, &second, &(int){0}), 0);
    ck_assert_int_eq(brood_future_kill(second), 0);
    ck_assert_int_eq(outcome_of(second), -ECANCELED);
    ck_assert_int_eq(brood_pool_worker_pid(pool, 0), worker);
}
END_TEST

/* The order to kill may arrive when the task is over and the worker has begun another one. */
START_TEST(a_kill_that_comes_too_late_hits_no_other_task)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    double y;

    for (int i = 0; i < 200; i++) {
        brood_auto(future) *quick = NULL;
        brood_auto(future) *next = NULL;

        ck_assert_int_eq(brood_apply_async(pool, square, &quick, &(double){i}), 0);
        ck_assert_int_eq(brood_apply_async(pool, square, &next, &(double){i}), 0);
        (void)brood_future_kill(quick); /* cancelled, killed or too late: all may be */
        ck_assert_int_eq(outcome_of(next), 0);
        ck_assert_int_eq(brood_future_result(next, &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
    }
}
END_TEST

START_TEST(a_thread_that_is_to_be_killed_is_asked_to_stop)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *future = NULL;

    (void)_i;
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = BROOD_THREADS)), 0);
    ck_assert_int_eq(brood_apply_async(pool, obey, &future, &(int){0}), 0);
    await_running(future);
    ck_assert_int_eq(brood_future_kill(future), -ENOTSUP);
    ck_assert_int_eq(outcome_of(future), -EINTR);
}
END_TEST

static int busy(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    return stats.busy;
}

/* One that holds the map and has not begun an item never will. */
START_TEST(all_threads_that_run_a_map_are_asked_to_stop)
{
    enum { THREADS = 3 };
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *future = NULL;
    int in[THREADS] = {0}, out[THREADS];

    (void)_i;
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = THREADS, .kind = BROOD_THREADS)), 0);
    ck_assert_int_eq(brood_pool_map_async(pool, &obey.task, &future, out, in, THREADS, BROOD_MAP(.chunk = 1)), 0);
    await(busy(pool) == THREADS);
    ck_assert_int_eq(brood_future_kill(future), -ENOTSUP);
    ck_assert_int_lt(outcome_of(future), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert(brood_future_item(future, i) == -EINTR || brood_future_item(future, i) == -ECANCELED);
}
END_TEST

/* semantics: M15 K1 */
START_TEST(a_pool_with_ten_thousand_sleepers_that_defy_signals_closes_at_once)
{
    struct brood_pool *pool = open_processes(_i, BROOD_POOL(.workers = 2, .queue = 10000));
    static struct brood_future *futures[10000];

    for (int i = 0; i < 10000; i++)
        ck_assert_int_eq(brood_apply_async(pool, defy, &futures[i], &(int){0}), 0);
    int64_t began = now_ms();

    ck_assert_int_eq(brood_pool_close(pool, BROOD_NOW), -ETIMEDOUT);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    for (int i = 0; i < 10000; i++) {
        ck_assert_int_eq(brood_future_item(futures[i], 0), -ESHUTDOWN);
        brood_future_free(futures[i]);
    }
}
END_TEST

/* ---- certificates ---- */

/* semantics: M23 */
START_TEST(a_fault_is_certified_with_its_address_and_a_backtrace)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_DIED);
    ck_assert_int_eq(death.signal, SIGSEGV);
    ck_assert_uint_eq(death.fault_address, 64);
    ck_assert_str_eq(death.task, "touch_nothing");
    ck_assert_int_eq(death.attempt, 1);
    ck_assert_int_gt(death.peak_rss_kib, 0);
    ck_assert_msg(strstr(death.backtrace, _i == EXECED ? "worker_tasks" : "conform_limits"), "backtrace:\n%s",
                  death.backtrace);
}
END_TEST

/* The task's own function is static. */
START_TEST(a_backtrace_names_functions_that_are_not_exported)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    struct brood_death death, again;

    ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_msg(strncmp(death.backtrace, "#0 write_to_address+0x", 22) == 0, "backtrace:\n%s", death.backtrace);
    ck_assert_ptr_nonnull(strstr(death.backtrace, _i == EXECED ? "/worker_tasks+0x" : "/conform_limits+0x"));
    ck_assert_int_eq(brood_future_death(future, &again), 0);
    ck_assert_ptr_eq(death.backtrace, again.backtrace);
}
END_TEST

/* As many as want to may ask at once; the thread that comes first finds the names. */
static void *ask(void *future)
{
    struct brood_death death;

    ck_assert_int_eq(brood_future_death(future, &death), 0);
    return strdup(death.backtrace);
}

START_TEST(many_threads_read_one_backtrace)
{
    enum { THREADS = 4 };
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    pthread_t threads[THREADS];
    void *texts[THREADS];

    ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, future), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], &texts[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_ptr_nonnull(strstr(texts[0], "write_to_address"));
        ck_assert_str_eq(texts[i], texts[0]);
    }
    for (int i = 0; i < THREADS; i++)
        free(texts[i]);
}
END_TEST

START_TEST(a_child_of_a_task_dies_of_what_kills_it)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGFPE, SIGTERM, SIGKILL};
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    pid_t worker = brood_pool_worker_pid(pool, 0);
    int number;

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        ck_assert_msg(brood_apply(pool, child_dies_by, &number, &signals[i]) == 0, "%s", brood_error());
        ck_assert_int_eq(number, signals[i]);
    }
    ck_assert_int_eq(brood_pool_worker_pid(pool, 0), worker);
}
END_TEST

static struct brood_death death_by(struct brood_pool *pool, const struct brood_task *task, int arg,
                                   struct brood_future **ret_future)
{
    struct brood_death death;
    struct brood_bytes bytes = {&arg, sizeof(arg)};

    ck_assert_int_eq(brood_pool_apply_bytes_async(pool, task, ret_future, bytes, BROOD_FOREVER), 0);
    ck_assert_msg(brood_future_wait(*ret_future, brood_after_ms(AT_ONCE_MS)) == 0, "the crash hangs");
    ck_assert_msg(outcome_of(*ret_future) == -EOWNERDEAD, "%s", brood_future_error(*ret_future));
    ck_assert_int_eq(brood_future_death(*ret_future, &death), 0);
    return death;
}

START_TEST(a_crash_while_the_loaders_lock_is_held_ends_and_is_certified)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    struct brood_death death = death_by(pool, &load_crash.task, 0, &future);

    ck_assert_int_eq(death.signal, SIGSEGV);
    ck_assert_uint_eq(death.fault_address, 64);
    ck_assert_msg(strstr(death.backtrace, "crash_in_module+") != NULL, "backtrace:\n%s", death.backtrace);
    expect_answer(pool);
}
END_TEST

START_TEST(a_crash_on_a_stack_that_was_written_over_ends_and_is_certified)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    struct brood_death death = death_by(pool, &smash_stack.task, 128, &future);

    ck_assert_msg(death.signal == SIGSEGV || death.signal == SIGABRT, "signal %d", death.signal);
    ck_assert_str_ne(death.backtrace, "");
    expect_answer(pool);
}
END_TEST

START_TEST(a_stack_overflow_is_certified_too)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, overflow, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.signal, SIGSEGV);
    ck_assert_str_ne(death.backtrace, "");
    expect_answer(pool);
}
END_TEST

/* ---- the log ---- */

/* One line for each death, whichever thread waits for it. */
START_TEST(a_crash_is_logged_with_its_signal_task_and_place)
{
    static const struct {
        const struct brood_task *task;
        int arg;
        const char *words, *place;
    } deaths[] = {{&touch_nothing.task, 1, "was killed by signal 11", ", at write_to_address+0x"},
                  {&leave_with.task, 3, "exited with status 3 while it ran task 'leave_with'", "'leave_with'\n"},
                  {&hang.task, 0, "was killed because the task had had its time while it ran task 'hang'", ", at "}};
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(brood_log_to(ends[1], BROOD_LOG_WARNING), 0);
    for (size_t i = 0; i < 3; i++) {
        brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .limit_ms = i == 2 ? 20 : 0, .grace_ms = 500));
        brood_auto(future) *future = NULL;
        struct brood_bytes arg = {&deaths[i].arg, sizeof(int)};
        char text[2048] = "";

        ck_assert_int_eq(brood_pool_apply_bytes_async(pool, deaths[i].task, &future, arg, BROOD_FOREVER), 0);
        ck_assert_int_lt(outcome_of(future), 0);
        ck_assert_int_gt(read(ends[0], text, sizeof(text) - 1), 0);
        ck_assert_msg(strstr(text, i == 2 ? " WARNING " : " ERROR ") && strstr(text, deaths[i].words) &&
                          strstr(text, deaths[i].place),
                      "%s", text);
        ck_assert_ptr_eq(strchr(text, '\n') + 1, strchr(text, '\0'));
    }
    ck_assert_int_eq(brood_log_to(STDERR_FILENO, BROOD_LOG_OFF), 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static bool write_to(const char *directory, const char *name, const char *text)
{
    char path[512];
    FILE *file;
    bool good;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "we");
    good = file && fputs(text, file) >= 0;
    return (file ? fclose(file) == 0 : false) && good;
}

#define MIB ((size_t)1 << 20)
#define SMALL_MIB 64
#define LITTLE_MIB 160

/* A control group of so much memory, with this process in it; false if that is not permitted here. */
static bool enter_group(int mib, char *ret_directory, size_t size)
{
    static const struct {
        const char *top, *limit;
    } kinds[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}};

    char limit[32];

    snprintf(limit, sizeof(limit), "%lld", (long long)mib << 20);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        snprintf(ret_directory, size, "%s/brood-test-%d", kinds[i].top, getpid());
        if (mkdir(ret_directory, 0700) < 0)
            continue;
        if (write_to(ret_directory, kinds[i].limit, limit) && write_to(ret_directory, "cgroup.procs", "0"))
            return true;
        rmdir(ret_directory);
    }
    return false;
}

static void leave_group(const char *directory)
{
    char parent[256];

    snprintf(parent, sizeof(parent), "%s", directory);
    *strrchr(parent, '/') = '\0';
    (void)write_to(parent, "cgroup.procs", "0");
    rmdir(directory);
}

START_TEST(a_worker_that_the_kernel_kills_for_memory_says_so)
{
    char group[128];
    struct brood_death death;

    ck_assert(enter_group(SMALL_MIB, group, sizeof(group)));
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    brood_auto(future) *future = NULL;

    ck_assert_int_eq(brood_apply_async(pool, leak, &future, &(int){256}), 0);
    int outcome = outcome_of(future);
    int known = brood_future_death(future, &death);

    brood_pool_close(pool, BROOD_NOW);
    pool = NULL;
    leave_group(group);
    ck_assert_int_eq(outcome, -EOWNERDEAD);
    ck_assert_int_eq(known, 0);
    ck_assert_int_eq(death.signal, SIGKILL);
    ck_assert(death.out_of_memory);
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "for memory"));
}
END_TEST

/* In a process of its own, in a group of LITTLE_MIB: a process that the kernel kills for memory fails the test. */
static void with_little_memory(void (*body)(void *), int kind)
{
    char group[128];
    pid_t pid;

    ck_assert(enter_group(LITTLE_MIB, group, sizeof(group)));
    pid = spawn(body, &kind);
    leave_group(group);
    join(pid);
    await(rmdir(group) == 0); /* its processes have been reaped by now, and its memory goes */
}

static struct brood_future *ask_for(struct brood_pool *pool, uint64_t mib)
{
    struct brood_future *future = NULL;
    struct large large = {.bytes = mib * MIB, .seed = 1};

    ck_assert_int_eq(brood_apply_bytes_async(pool, make_large, &future, (struct brood_bytes){&large, sizeof(large)}), 0);
    return future;
}

/* Its outcome; if that is 0, all of it has come. */
static int take(struct brood_future *future, uint64_t mib)
{
    struct brood_bytes bytes;
    int r = outcome_of(future);

    if (r == 0) {
        ck_assert_int_eq(brood_future_bytes(future, &bytes), 0);
        ck_assert_uint_eq(bytes.len, mib * MIB);
        ck_assert_uint_eq(((const unsigned char *)bytes.ptr)[bytes.len - 1], byte_of(1, bytes.len - 1));
    }
    return r;
}

static void expect_no_deaths(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.deaths, 0);
}

static void return_too_much(void *kind)
{
    brood_auto(pool) *pool = open_processes(*(int *)kind, BROOD_POOL(.workers = 1));
    struct brood_future *future = ask_for(pool, 500);

    ck_assert_int_eq(take(future, 500), -ENOSPC);
    ck_assert_msg(strstr(brood_future_error(future), "memory limit") != NULL, "%s", brood_future_error(future));
    brood_future_free(future);
    future = ask_for(pool, LITTLE_MIB / 2); /* which is never there twice */
    ck_assert_msg(take(future, LITTLE_MIB / 2) == 0, "%s", brood_future_error(future));
    brood_future_free(future);
    expect_no_deaths(pool);
}

START_TEST(a_result_too_large_for_the_group_is_an_error_and_kills_no_process)
{
    with_little_memory(return_too_much, _i);
}
END_TEST

static void return_much_at_once(void *kind)
{
    enum { RESULTS = 24, RESULT_MIB = 20 };
    brood_auto(pool) *pool = open_processes(*(int *)kind, BROOD_POOL(.workers = 4));
    struct brood_future *futures[RESULTS];
    int fine = 0;

    for (int i = 0; i < RESULTS; i++)
        futures[i] = ask_for(pool, RESULT_MIB);
    for (int i = 0; i < RESULTS; i++) {
        int r = take(futures[i], RESULT_MIB);

        ck_assert_msg(r == 0 || r == -ENOSPC || r == -ENOMEM, "%d: %s", r, brood_future_error(futures[i]));
        fine += r == 0;
    }
    ck_assert_int_ge(fine, 1);
    ck_assert_int_lt(fine, RESULTS);
    for (int i = 0; i < RESULTS; i++)
        brood_future_free(futures[i]);
    expect_no_deaths(pool);
    expect_answer(pool);
}

START_TEST(of_many_large_results_at_once_those_fail_that_do_not_fit)
{
    with_little_memory(return_much_at_once, _i);
}
END_TEST

static void fill_queue(void *unused)
{
    struct brood_queue *queue = NULL;
    char *message = malloc(MIB);
    struct brood_space space = {message, MIB};
    int put = 0, r;

    (void)unused;
    memset(message, 'x', MIB);
    ck_assert_int_eq(brood_queue_open(&queue, NULL), 0);
    while ((r = brood_queue_put(queue, (struct brood_bytes){message, MIB}, BROOD_NOW)) == 0)
        put++;
    ck_assert_int_eq(r, -ENOSPC);
    ck_assert_msg(strstr(brood_error(), "memory limit") != NULL, "%s", brood_error());
    ck_assert_int_gt(put, LITTLE_MIB / 4);
    for (; put > 0; put--)
        ck_assert_int_eq(brood_queue_get(queue, &space, BROOD_NOW), 0);
    brood_queue_close(queue);
    free(message);
}

START_TEST(a_queue_without_a_bound_is_full_where_the_group_is)
{
    with_little_memory(fill_queue, _i);
}
END_TEST

/* Its rest would be kept, to be sent later. */
static void send_too_much(void *unused)
{
    const size_t bytes = LITTLE_MIB * MIB * 5 / 8;
    struct brood_pipe *from = NULL, *to = NULL;
    char *message = malloc(bytes);

    (void)unused;
    memset(message, 'x', bytes);
    ck_assert_int_eq(brood_pipe_open(&from, &to, BROOD_PIPE_DUPLEX), 0);
    ck_assert_int_eq(brood_pipe_send(to, (struct brood_bytes){message, bytes}, brood_after_ms(10)), -ENOTRECOVERABLE);
    brood_pipe_close(from);
    brood_pipe_close(to);
    free(message);
}

START_TEST(what_a_pipe_has_no_memory_to_keep_breaks_only_the_pipe)
{
    with_little_memory(send_too_much, _i);
}
END_TEST

/* A thread that waits for something else is woken by each death, and collects it before the certificates run out. */
START_TEST(deaths_are_all_certified_while_the_host_waits_for_another_task)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *first = NULL;
    struct brood_future *futures[100];
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, hang, &first, &(int){0}), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &futures[i], &(int){0}), 0);
    ck_assert_int_eq(brood_future_wait(first, brood_after_ms(300)), -ETIMEDOUT);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(outcome_of(futures[i]), -EOWNERDEAD);
        ck_assert_int_eq(brood_future_death(futures[i], &death), 0);
        ck_assert_msg(death.backtrace[0], "death %d has no backtrace", i);
        ck_assert_msg(death.peak_rss_kib > 0, "death %d has no rusage", i);
        brood_future_free(futures[i]);
    }
}
END_TEST

/* The worker has begun the task, and waits in it.  Without a word to the pool, which would collect what is over. */
static void await_mark(const char *mark)
{
    await(access(mark, F_OK) == 0);
    ck_assert_int_eq(unlink(mark), 0);
}

START_TEST(many_deaths_that_no_call_asks_about_use_up_nothing)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));
    struct brood_future *futures[50];
    brood_auto(future) *survivor = NULL;
    brood_auto(future) *without = NULL; /* its worker started when there was no certificate left */
    brood_auto(future) *last = NULL;
    struct brood_death death;
    struct gate gate;
    char mark[sizeof(gate.path) + 8];

    (void)snprintf(gate.path, sizeof(gate.path), "/tmp/brood-limits-%d-%d-%lld", getpid(), _i, (long long)now_ms());
    (void)snprintf(mark, sizeof(mark), "%s.here", gate.path);
    ck_assert_int_eq(mkfifo(gate.path, 0600), 0);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(brood_apply_async(pool, die_by, &futures[i], &(int){SIGSEGV}), 0);
    ck_assert_int_eq(brood_apply_async(pool, wait_at, &survivor, &gate), 0);
    await_mark(mark);
    ck_assert_int_eq(outcome_of(futures[49]), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(futures[49], &death), 0);
    ck_assert_str_eq(death.backtrace, "");
    open_gate(&gate);
    ck_assert_int_eq(unlink((&gate)->path), 0);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(outcome_of(futures[i]), -EOWNERDEAD);
        brood_future_free(futures[i]);
    }
    ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &without, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(without), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(without, &death), 0);
    ck_assert_str_ne(death.backtrace, ""); /* it took one that was free by then */
    ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &last, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(last), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(last, &death), 0);
    ck_assert_str_ne(death.backtrace, "");
}
END_TEST

/* ---- retries ---- */

static struct trial new_trial(int deaths)
{
    struct trial trial = {.deaths = deaths};

    snprintf(trial.path, sizeof(trial.path), "/tmp/brood-trial-%d", getpid());
    unlink(trial.path);
    return trial;
}

START_TEST(a_task_whose_worker_died_is_tried_again_as_often_as_allowed)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .retries = 2, .retry_pause_ms = 1));
    struct trial trial = new_trial(2);
    int times;

    ck_assert_msg(brood_apply(pool, die_at_first, &times, &trial) == 0, "%s", brood_error());
    ck_assert_int_eq(times, 3);
    unlink(trial.path);
}
END_TEST

START_TEST(a_task_that_kills_every_worker_fails_in_the_end_with_its_last_certificate)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *future = NULL;
    struct trial trial = new_trial(1000);
    struct brood_death death;
    struct stat status;

    ck_assert_int_eq(brood_submit(pool, die_at_first, &future, BROOD_CALL(.retries = 3), &trial), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.attempt, 4);
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "attempt 4"));
    ck_assert_int_eq(stat(trial.path, &status), 0);
    ck_assert_int_eq(status.st_size, 4);
    unlink(trial.path);
    expect_answer(pool);
}
END_TEST

START_TEST(asking_whether_it_is_done_brings_a_retry_on_too)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 1));
    brood_auto(future) *future = NULL;
    struct trial trial = new_trial(1);

    ck_assert_int_eq(brood_apply_async(pool, die_at_first, &future, &trial), 0);
    while (!brood_future_done(future))
        rest();
    ck_assert_int_eq(brood_future_item(future, 0), 0);
    unlink(trial.path);
}
END_TEST

START_TEST(a_task_that_waits_to_be_tried_again_can_be_cancelled)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 5, .retry_pause_ms = 60000));
    brood_auto(future) *future = NULL;
    pid_t worker = brood_pool_worker_pid(pool, 0);

    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    while (brood_pool_worker_pid(pool, 0) == worker || brood_future_running(future))
        rest();
    ck_assert(!brood_future_done(future));
    ck_assert_int_eq(brood_future_cancel(future), 0);
    ck_assert_int_eq(outcome_of(future), -ECANCELED);
}
END_TEST

START_TEST(a_pool_that_closes_does_not_try_again)
{
    struct brood_pool *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 5, .retry_pause_ms = 60000));
    brood_auto(future) *future = NULL;
    pid_t worker = brood_pool_worker_pid(pool, 0);

    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    while (brood_pool_worker_pid(pool, 0) == worker)
        rest();
    ck_assert_int_eq(brood_pool_close(pool, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(outcome_of(future), -ESHUTDOWN);
}
END_TEST

static struct trial new_trial_of(int item, int deaths)
{
    struct trial trial = {.deaths = deaths};

    snprintf(trial.path, sizeof(trial.path), "/tmp/brood-trial-%d-%d", getpid(), item);
    unlink(trial.path);
    return trial;
}

START_TEST(lost_items_of_a_map_are_tried_again)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    struct trial in[4];
    int out[4];

    for (int i = 0; i < 4; i++)
        in[i] = new_trial_of(i, i);
    int r = brood_pool_map(pool, &die_at_first.task, out, in, 4, BROOD_MAP(.retries = 3));

    ck_assert_msg(r == 0, "%s", brood_error());
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(out[i], i + 1);
        unlink(in[i].path);
    }
}
END_TEST

/* The map has its items seven by seven in the workers' memory: each seventh is at the same place there. */
START_TEST(each_item_of_a_map_is_tried_again_as_often_as_if_it_were_alone)
{
    enum { ITEMS = 28, PART = 7 };
    static struct large_trial in[ITEMS];
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    int out[ITEMS], r;

    for (int i = 0; i < ITEMS; i++)
        in[i].trial = new_trial_of(i, i % PART == 0 ? 2 : 0);
    r = brood_pool_map(pool, &die_at_first_large.task, out, in, ITEMS, BROOD_MAP(.retries = 2));
    ck_assert_msg(r == 0, "%s", brood_error());
    for (int i = 0; i < ITEMS; i++) {
        ck_assert_int_eq(out[i], i % PART == 0 ? 3 : 1);
        unlink(in[i].trial.path);
    }
}
END_TEST

/* ---- recycling ---- */

/* semantics: M17 */
START_TEST(a_worker_retires_after_its_tasks_and_none_is_lost)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .worker_tasks = 5));
    struct place place;
    int changes = 0, before = 0;

    for (int i = 0; i < 50; i++) {
        ck_assert_msg(brood_apply(pool, whereabouts, &place, &i) == 0, "%s", brood_error());
        changes += place.pid != before;
        before = place.pid;
    }
    ck_assert_int_eq(changes, 10);
}
END_TEST

/* semantics: M17 X11 */
START_TEST(many_tasks_at_once_outlive_many_workers)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .worker_tasks = 30));
    struct brood_future *futures[1000];
    double in[5000], out[5000], y;

    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    for (int i = 0; i < 5000; i++)
        in[i] = i;
    ck_assert_msg(brood_map(pool, square, out, in, 5000) == 0, "%s", brood_error());
    for (int i = 0; i < 5000; i++)
        ck_assert_double_eq(out[i], in[i] * in[i]);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(outcome_of(futures[i]), 0);
        ck_assert_int_eq(brood_future_result(futures[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        brood_future_free(futures[i]);
    }
}
END_TEST

/* semantics: K13 */
START_TEST(a_worker_that_has_leaked_too_much_retires)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .worker_memory_mib = 64));
    int small, large, after;

    ck_assert_int_eq(brood_apply(pool, leak, &small, &(int){1}), 0);
    ck_assert_int_eq(brood_apply(pool, leak, &large, &(int){100}), 0);
    ck_assert_int_eq(large, small);
    while (brood_pool_worker_pid(pool, 0) == large)
        rest();
    ck_assert_int_eq(brood_apply(pool, leak, &after, &(int){1}), 0);
    ck_assert_int_ne(after, large);
}
END_TEST

/* Its successors are as large. */
START_TEST(a_worker_larger_than_its_limit_runs_a_task_before_it_retires)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .worker_memory_mib = 1));
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    double in[100], out[100];

    for (int i = 0; i < 100; i++)
        in[i] = i;
    do {
        brood_auto(future) *future = NULL;

        ck_assert_int_eq(brood_apply_async(pool, square, &future, &(double){3}), 0);
        ck_assert_int_eq(outcome_of(future), 0);
        ck_assert_int_eq(brood_map(pool, square, out, in, 100), 0);
        ck_assert_double_eq(out[99], 99 * 99);
        ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    } while (stats.restarts < 5);
    ck_assert_uint_eq(stats.deaths, 0);
}
END_TEST

/* It is not replaced again and again by one as large. */
START_TEST(a_worker_larger_than_its_limit_waits_for_its_first_task)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .worker_memory_mib = 1));
    pid_t first = brood_pool_worker_pid(pool, 0);
    struct place place;

    await(is_asleep(first) != 0);
    ck_assert_int_eq(brood_apply(pool, whereabouts, &place, &(int){0}), 0);
    ck_assert_int_eq(place.pid, first);
}
END_TEST

START_TEST(a_worker_that_is_old_enough_retires_though_it_idles)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .worker_age_ms = 100));
    pid_t first = brood_pool_worker_pid(pool, 0);

    while (brood_pool_worker_pid(pool, 0) == first)
        rest();
    expect_answer(pool);
}
END_TEST

/* ---- interrupts ---- */

/* Processes of both kinds, and threads. */
enum { INTERRUPTED_KINDS = PROCESS_KINDS + 1 };

static struct brood_pool *open_interrupted(int kind, enum brood_interrupt first)
{
    struct brood_pool *pool = NULL;

    ck_assert(signal(SIGINT, SIG_DFL) != SIG_ERR);
    if (kind < PROCESS_KINDS)
        pool = open_processes(kind, BROOD_POOL(.workers = 1));
    else
        ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = BROOD_THREADS)), 0);
    ck_assert_int_eq(brood_pool_heed_interrupts(pool, first), 0);
    return pool;
}

static void *wait_without_end(void *future)
{
    ck_assert_int_eq(brood_future_wait(future, BROOD_FOREVER), 0);
    return NULL;
}

/* A thread waits for one of the tasks, asleep, and another one is interrupted. */
START_TEST(the_first_interrupt_cancels_what_has_not_started)
{
    enum { N = 10, ITEMS = 1000 };
    struct brood_pool *pool = open_interrupted(_i, BROOD_INTERRUPT_CANCEL);
    struct gate gate = new_gate();
    brood_auto(future) *held = hold_worker(pool, &gate);
    brood_auto(future) *map = NULL;
    brood_auto(future) *late = NULL;
    struct brood_future *futures[N];
    static double in[ITEMS], out[ITEMS];
    pthread_t waiter;

    for (int i = 0; i < N; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    ck_assert_int_eq(brood_map_async(pool, square, &map, out, in, ITEMS), 0);
    ck_assert_int_eq(pthread_create(&waiter, NULL, wait_without_end, futures[N - 1]), 0);
    ck_assert_int_eq(raise(SIGINT), 0);
    ck_assert_int_eq(pthread_join(waiter, NULL), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(brood_future_item(futures[i], 0), -ECANCELED);
        brood_future_free(futures[i]);
    }
    ck_assert_int_eq(outcome_of(map), -ECANCELED);
    ck_assert_int_eq(brood_future_item(map, ITEMS - 1), -ECANCELED);
    ck_assert_int_eq(brood_apply_async(pool, square, &late, &(double){4}), -EINTR);
    ck_assert(!brood_future_done(held));
    let_through(&gate);
    ck_assert_int_eq(outcome_of(held), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* The worker has begun with the first item. */
START_TEST(an_interrupt_ends_a_map_behind_the_items_that_have_begun)
{
    struct brood_pool *pool = open_interrupted(_i, BROOD_INTERRUPT_CANCEL);
    brood_auto(future) *map = NULL;
    struct gate gates[50] = {new_gate()};
    static int out[50];
    char mark[sizeof(gates[0].path) + 8];

    (void)snprintf(mark, sizeof(mark), "%s.here", gates[0].path);
    for (int i = 1; i < 50; i++)
        gates[i] = gates[0];
    ck_assert_int_eq(brood_pool_map_async(pool, &wait_at.task, &map, out, gates, 50, BROOD_MAP(.chunk = 1)), 0);
    await(access(mark, F_OK) == 0);
    ck_assert_int_eq(raise(SIGINT), 0);
    ck_assert_int_lt(brood_future_wait(map, BROOD_NOW), 0); /* a thread has to look */
    let_through(&gates[0]);
    ck_assert_int_eq(brood_future_wait(map, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(map, NULL, 0), -ECANCELED);
    ck_assert_int_eq(brood_future_item(map, 0), 0);
    for (size_t i = 1; i < 50; i++)
        ck_assert_int_eq(brood_future_item(map, i), -ECANCELED);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* 0, 1, 2 … without end; the tenth comes with an interrupt. */
static int give_until_interrupted(void *source, void *ret_arg)
{
    int *given = source;

    if (*given == 10)
        ck_assert_int_eq(raise(SIGINT), 0);
    *(double *)ret_arg = (*given)++;
    return 1;
}

static int emit_nothing(void *context, const struct brood_item *item)
{
    (void)context;
    return item->outcome;
}

START_TEST(an_interrupt_ends_a_stream_without_end)
{
    struct brood_pool *pool = open_interrupted(_i, BROOD_INTERRUPT_CANCEL);
    int given = 0, r;

    r = brood_map_pull(pool, square, give_until_interrupted, emit_nothing, &given, BROOD_IMAP(.chunk = 1));
    ck_assert_msg(r == -ECANCELED || r == -EINTR, "%d %s", r, brood_error());
    ck_assert_int_le(given, 11);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(the_first_interrupt_drains_and_the_second_kills)
{
    struct brood_pool *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *stuck = NULL;
    brood_auto(future) *good = NULL;
    brood_auto(future) *late = NULL;
    struct sigaction after;

    signal(SIGINT, SIG_DFL);
    ck_assert_int_eq(brood_pool_heed_interrupts(pool, BROOD_INTERRUPT_DRAIN), 0);
    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    ck_assert_int_eq(brood_apply_async(pool, square, &good, &(double){4}), 0);
    raise(SIGINT);
    ck_assert_int_eq(brood_apply_async(pool, square, &late, &(double){4}), -EINTR);
    ck_assert_ptr_nonnull(strstr(brood_error(), "interrupted"));
    ck_assert_int_eq(outcome_of(good), 0);
    ck_assert(!brood_future_done(stuck));
    raise(SIGINT);
    ck_assert_int_eq(outcome_of(stuck), -ESHUTDOWN);
    ck_assert_str_eq(brood_pool_reason(pool), "the pool is broken: interrupted");
    ck_assert_str_eq(brood_future_error(stuck), "the pool is broken: interrupted");
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
    ck_assert_int_eq(sigaction(SIGINT, NULL, &after), 0);
    ck_assert(after.sa_handler == SIG_DFL);
}
END_TEST

static void ignore(int number)
{
    (void)number;
}

START_TEST(a_program_that_handles_interrupts_itself_keeps_its_handler)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1));

    signal(SIGINT, ignore);
    ck_assert_int_eq(brood_pool_heed_interrupts(pool, BROOD_INTERRUPT_DRAIN), -EBUSY);
    ck_assert(signal(SIGINT, SIG_DFL) == ignore);
    expect_answer(pool);
}
END_TEST

/* semantics: M1 */
START_TEST(threads_cannot_be_terminated_at_a_limit)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(
        brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = BROOD_THREADS, .at_limit = BROOD_LIMIT_TERMINATE)),
        -ENOTSUP);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .at_limit = (enum brood_at_limit)7)), -EINVAL);
}
END_TEST

START_TEST(bad_terms_are_refused)
{
    struct brood_pool *pool = NULL;

    (void)_i;
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.limit_ms = -1)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "negative"));
    ck_assert_ptr_null(pool);
}
END_TEST

/* A run of its own, so that it is seen to be skipped where no control group may be made. */
static int run_with_little_memory(void)
{
    Suite *suite = suite_create("little memory");
    char group[128];

    if (!enter_group(SMALL_MIB, group, sizeof(group))) {
        printf("skipped: no control group may be made here\n");
        return 77;
    }
    leave_group(group);
    add_loop_tests(suite, "certificates", 0, PROCESS_KINDS, a_worker_that_the_kernel_kills_for_memory_says_so, NULL);
    add_loop_tests(suite, "results", 0, PROCESS_KINDS, a_result_too_large_for_the_group_is_an_error_and_kills_no_process,
                   of_many_large_results_at_once_those_fail_that_do_not_fit, NULL);
    add_tests(suite, "messages", a_queue_without_a_bound_is_full_where_the_group_is,
              what_a_pipe_has_no_memory_to_keep_breaks_only_the_pipe, NULL);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--memory") == 0)
        return run_with_little_memory();
    Suite *suite = suite_create("limits");

    add_loop_tests(suite, "limits", 0, PROCESS_KINDS, a_task_that_overruns_its_limit_is_killed_on_time,
                   its_certificate_says_where_it_hung, a_task_that_asks_is_told_and_spared,
                   a_late_success_is_told_from_a_timely_one, at_its_limit_a_task_may_be_ended_by_sigterm,
                   a_task_that_defies_the_sigterm_of_its_limit_is_killed_after_the_grace,
                   a_task_that_blocks_every_signal_is_killed_after_the_grace, a_call_may_have_its_own_limit_or_none,
                   a_worker_that_ends_by_itself_behind_the_limit_had_had_its_time,
                   a_fault_before_the_limit_is_no_overrun_however_late_it_is_seen,
                   a_death_before_the_limit_is_not_a_timeout, a_task_that_keeps_every_signal_from_its_worker_has_timed_out,
                   what_an_earlier_task_has_overrun_is_not_held_against_the_next,
                   a_limit_counts_from_the_start_of_the_task_not_from_its_submission,
                   an_item_of_a_map_that_overruns_is_lost_alone, NULL);
    add_loop_tests(suite, "kills", 0, PROCESS_KINDS, a_running_task_can_be_killed,
                   a_task_that_cannot_be_stopped_can_be_killed, a_task_that_has_not_started_is_cancelled_by_a_kill,
                   a_kill_that_comes_too_late_hits_no_other_task,
                   a_pool_with_ten_thousand_sleepers_that_defy_signals_closes_at_once, NULL);
    add_loop_tests(suite, "certificates", 0, PROCESS_KINDS, a_fault_is_certified_with_its_address_and_a_backtrace,
                   a_backtrace_names_functions_that_are_not_exported, many_threads_read_one_backtrace,
                   a_crash_is_logged_with_its_signal_task_and_place, a_child_of_a_task_dies_of_what_kills_it,
                   a_crash_while_the_loaders_lock_is_held_ends_and_is_certified,
                   a_crash_on_a_stack_that_was_written_over_ends_and_is_certified, a_stack_overflow_is_certified_too,
                   deaths_are_all_certified_while_the_host_waits_for_another_task,
                   many_deaths_that_no_call_asks_about_use_up_nothing, NULL);
    add_loop_tests(suite, "retries", 0, PROCESS_KINDS, a_task_whose_worker_died_is_tried_again_as_often_as_allowed,
                   a_task_that_kills_every_worker_fails_in_the_end_with_its_last_certificate,
                   asking_whether_it_is_done_brings_a_retry_on_too, a_task_that_waits_to_be_tried_again_can_be_cancelled,
                   a_pool_that_closes_does_not_try_again, lost_items_of_a_map_are_tried_again,
                   each_item_of_a_map_is_tried_again_as_often_as_if_it_were_alone, NULL);
    add_loop_tests(suite, "recycling", 0, PROCESS_KINDS, a_worker_retires_after_its_tasks_and_none_is_lost,
                   many_tasks_at_once_outlive_many_workers, a_worker_that_has_leaked_too_much_retires,
                   a_worker_larger_than_its_limit_runs_a_task_before_it_retires,
                   a_worker_larger_than_its_limit_waits_for_its_first_task,
                   a_worker_that_is_old_enough_retires_though_it_idles, NULL);
    add_loop_tests(suite, "CPU time", 0, PROCESS_KINDS,
                   a_task_that_uses_up_its_cpu_time_is_killed_and_its_certificate_says_so,
                   time_without_a_processor_is_no_cpu_time, a_task_may_use_its_cpu_time_again_and_again,
                   an_item_that_uses_up_its_cpu_time_is_lost_alone, NULL);
    add_loop_tests(suite, "interrupts", 0, PROCESS_KINDS, the_first_interrupt_drains_and_the_second_kills,
                   a_program_that_handles_interrupts_itself_keeps_its_handler, NULL);
    add_loop_tests(suite, "interrupts that cancel", 0, INTERRUPTED_KINDS, the_first_interrupt_cancels_what_has_not_started,
                   an_interrupt_ends_a_map_behind_the_items_that_have_begun, an_interrupt_ends_a_stream_without_end, NULL);
    add_tests(suite, "threads", threads_are_told_and_not_killed, a_thread_is_told_when_it_has_used_up_its_cpu_time,
              a_thread_that_is_to_be_killed_is_asked_to_stop, all_threads_that_run_a_map_are_asked_to_stop, NULL);
    add_tests(suite, "options", bad_terms_are_refused, threads_cannot_be_terminated_at_a_limit, NULL);
    return run_suite(suite);
}
