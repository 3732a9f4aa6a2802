/* conform_executor.c - what a pool does beside running tasks: workers begin and end, come and go; it is shut down, looked
 * at and gives up.  Over threads, forked and exec'ed workers, and the caller where that makes sense.
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
#include "support.h"
#include "tasks.h"

/* ---- a diary that the workers keep ---- */

struct diary {
    char path[96];
    const char *args[2];
};

static struct diary *new_diary(void)
{
    static struct diary diary;
    static int number;

    (void)snprintf(diary.path, sizeof(diary.path), "/tmp/brood-diary-%d-%d-%lld", getpid(), number++, (long long)now_ms());
    diary.args[0] = diary.path;
    return &diary;
}

static struct brood_pool_options *keep(int kind, const struct diary *diary, struct brood_pool_options *options)
{
    options->kind = worker_kinds[kind].kind;
    options->worker = kind == BY_EXECS ? worker_path() : NULL;
    options->worker_args = kind == BY_EXECS ? (const char *const *)diary->args : NULL;
    if (kind == BY_EXECS)
        return options;
    options->initializer = begin_diary;
    options->finalizer = end_diary;
    options->context = (void *)(uintptr_t)diary->path;
    return options;
}

static void touch(const struct diary *diary, const char *suffix)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s%s", diary->path, suffix);
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static int count(const struct diary *diary, char letter)
{
    char text[4096];
    int fd = open(diary->path, O_RDONLY | O_CLOEXEC), found = 0;
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < length; i++)
        found += text[i] == letter;
    return found;
}

static void burn(const struct diary *diary)
{
    char name[128];

    (void)unlink(diary->path);
    (void)snprintf(name, sizeof(name), "%s.fail", diary->path);
    (void)unlink(name);
    (void)snprintf(name, sizeof(name), "%s.late", diary->path);
    (void)unlink(name);
    (void)snprintf(name, sizeof(name), "%s.slow", diary->path);
    (void)unlink(name);
}

/* ---- initializers ---- */

START_TEST(each_worker_begins_once_with_a_state_of_its_own_and_ends_once)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    int workers = _i == BY_CALLER ? 1 : 3;
    struct place place, state;

    ck_assert_msg(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = workers))) == 0, "%s", brood_error());
    ck_assert_int_eq(count(diary, 'b'), workers);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(brood_apply(pool, tell_state, &state, &(int){0}), 0);
        ck_assert_int_eq(state.pid, _i >= BY_FORKS ? brood_pool_worker_pid(pool, state.worker) : getpid());
        ck_assert_int_eq(brood_apply(pool, whereabouts, &place, &(int){0}), 0);
    }
    ck_assert_ptr_null(brood_worker_state());
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(count(diary, 'b'), workers);
    ck_assert_int_eq(count(diary, 'e'), workers);
    burn(diary);
}
END_TEST

START_TEST(without_an_initializer_there_is_no_state)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct place state;

    ck_assert_int_eq(brood_apply(pool, tell_state, &state, &(int){0}), -ENODATA);
}
END_TEST

/* semantics: X15 */
START_TEST(a_pool_whose_initializer_fails_does_not_open_and_says_why)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;

    touch(diary, ".fail");
    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 2))), -ENODEV);
    ck_assert_ptr_null(pool);
    ck_assert_msg(strstr(brood_error(), "initializer failed: no diary today"), "%s", brood_error());
    ck_assert_int_eq(count(diary, 'e'), 0);
    burn(diary);
}
END_TEST

/* semantics: X15 */
START_TEST(an_initializer_that_fails_in_a_replacement_breaks_the_pool_with_its_words)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    brood_auto(future) *stuck = NULL;
    int one;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 2))), 0);
    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    touch(diary, ".fail");
    ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){SIGKILL}), -EOWNERDEAD);
    ck_assert_int_eq(outcome_of(stuck), -ESHUTDOWN);
    ck_assert_msg(strstr(brood_future_error(stuck), "no diary today"), "%s", brood_future_error(stuck));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){0}), -ESHUTDOWN);
        ck_assert_msg(strstr(brood_error(), "no diary today"), "%s", brood_error());
    }
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
    burn(diary);
}
END_TEST

START_TEST(the_successor_of_a_dead_or_recycled_worker_runs_the_initializer_too)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    struct place state;
    int one;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 1, .worker_tasks = 3))), 0);
    ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){SIGKILL}), -EOWNERDEAD);
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(brood_apply(pool, tell_state, &state, &(int){0}), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_ge(count(diary, 'b'), 4); /* the dead one and three for seven tasks */
    ck_assert_int_eq(count(diary, 'e'), count(diary, 'b') - 1);
    burn(diary);
}
END_TEST

START_TEST(a_worker_whose_initializer_outlasts_its_age_runs_a_task_before_it_retires)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    touch(diary, ".late");
    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 1, .worker_age_ms = 1))), 0);
    do {
        brood_auto(future) *future = NULL;

        ck_assert_int_eq(brood_apply_async(pool, tell_state, &future, &(int){0}), 0);
        ck_assert_int_eq(outcome_of(future), 0);
        ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    } while (stats.restarts < 5);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    burn(diary);
}
END_TEST

static int begin_unless_told_to_hang(void *context, void **ret_state)
{
    const bool *hangs = context;

    *ret_state = NULL;
    while (*hangs)
        pause();
    return 0;
}

START_TEST(an_initializer_has_as_long_as_the_open_may_take)
{
    struct brood_pool *pool = NULL;
    bool hangs = true;
    struct brood_pool_options *options =
        BROOD_POOL(.workers = 2, .initializer = begin_unless_told_to_hang, .context = &hangs, .ready_ms = 50);
    int64_t began = now_ms();

    ck_assert_int_eq(brood_pool_open(&pool, options), -ETIMEDOUT);
    ck_assert_ptr_null(pool);
    ck_assert_msg(strstr(brood_error(), "2 of 2 workers") && strstr(brood_error(), ".ready_ms"), "%s", brood_error());
    ck_assert_int_ge(now_ms() - began, 50);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    hangs = false;
    options->ready_ms = -1; /* as long as it likes */
    ck_assert_msg(brood_pool_open(&pool, options) == 0, "%s", brood_error());
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(a_program_that_runs_and_is_no_worker_does_not_hold_up_the_open)
{
    struct brood_pool *pool = NULL;
    const char *args[] = {"600", NULL};

    ck_assert_int_eq(
        brood_pool_open(&pool, BROOD_POOL(.workers = 2, .worker = "sleep", .worker_args = args, .ready_ms = 50)),
        -ETIMEDOUT);
    ck_assert_ptr_null(pool);
}
END_TEST

START_TEST(a_finalizer_has_as_long_as_the_close_may_take)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 2))), 0);
    touch(diary, ".slow");
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(count(diary, 'e'), 2);
    burn(diary);
}
END_TEST

/* ---- shutting down ---- */

#define QUEUED 50

static void submit_squares(struct brood_pool *pool, struct brood_future **ret_futures)
{
    for (int i = 0; i < QUEUED; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &ret_futures[i], &(double){i}), 0);
}

static int count_outcomes(struct brood_future **futures, int outcome)
{
    int found = 0;

    for (int i = 0; i < QUEUED; i++) {
        found += outcome_of(futures[i]) == outcome;
        brood_future_free(futures[i]);
    }
    return found;
}

/* semantics: X2 X5 M14 */
START_TEST(a_pool_that_is_shut_down_takes_no_more_and_finishes_what_it_has)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    const struct gate gate = new_gate();
    struct brood_future *waiter = hold_worker(pool, &gate), *futures[QUEUED];
    double y;

    submit_squares(pool, futures);
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){1}), -ESHUTDOWN);
    ck_assert_str_eq(brood_error(), "the pool is closed");
    ck_assert_int_eq(brood_map(pool, square, &y, &(double){1}, 1), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    ck_assert(!brood_future_done(waiter));
    let_through(&gate);
    ck_assert_int_eq(outcome_of(waiter), 0);
    brood_future_free(waiter);
    ck_assert_int_eq(count_outcomes(futures, 0), QUEUED);
    ck_assert(!brood_pool_is_broken(pool));
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* semantics: X6 X7 */
START_TEST(a_shutdown_that_cancels_leaves_only_what_runs)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    const struct gate gate = new_gate();
    struct brood_future *waiter = hold_worker(pool, &gate), *futures[QUEUED], *map;
    double x[QUEUED] = {0};

    submit_squares(pool, futures);
    ck_assert_int_eq(brood_map_async(pool, square, &map, x, x, QUEUED), 0);
    ck_assert_int_eq(brood_future_cancel(futures[QUEUED - 1]), 0);
    ck_assert_int_eq(brood_pool_shutdown(pool, true), 0);
    ck_assert_int_eq(count_outcomes(futures, -ECANCELED), QUEUED);
    ck_assert_int_eq(outcome_of(map), -ECANCELED);
    brood_future_free(map);
    ck_assert(brood_future_running(waiter));
    let_through(&gate);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(outcome_of(waiter), 0);
    brood_future_free(waiter);
}
END_TEST

static void *shut_down(void *pool)
{
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    return NULL;
}

START_TEST(a_submitter_that_waits_for_room_learns_of_the_shutdown)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1, .queue = 1));
    const struct gate gate = new_gate();
    struct brood_future *waiter = hold_worker(pool, &gate), *late = NULL;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, shut_down, pool), 0);
    ck_assert_int_eq(brood_apply_async(pool, square, &late, &(double){1}), -ESHUTDOWN);
    (void)pthread_join(thread, NULL);
    let_through(&gate);
    ck_assert_int_eq(outcome_of(waiter), 0);
    brood_future_free(waiter);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* ---- killing all workers ---- */

/* All but SIGKILL and SIGSTOP. */
static bool blocks_signals(pid_t pid)
{
    char path[64], line[128];
    unsigned long long blocked = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
            break;
    if (file)
        (void)fclose(file);
    return blocked >> (SIGTERM - 1) & 1;
}

/* semantics: X16 K1 */
START_TEST(killed_workers_are_gone_and_leave_a_broken_pool)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 2));
    struct brood_future *stuck = NULL, *defiant = NULL, *futures[QUEUED];
    pid_t pids[2] = {brood_pool_worker_pid(pool, 0), brood_pool_worker_pid(pool, 1)};
    int64_t began = now_ms();

    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    ck_assert_int_eq(brood_apply_async(pool, defy, &defiant, &(int){0}), 0);
    while (!brood_future_running(stuck) || !brood_future_running(defiant))
        rest();
    submit_squares(pool, futures);
    await(blocks_signals(pids[0]) || blocks_signals(pids[1])); /* as the defiant one does first thing */
    ck_assert_int_eq(brood_pool_kill(pool, brood_after_ms(200)), 0);
    ck_assert_int_ge(now_ms() - began, 199);
    for (int i = 0; i < 2; i++)
        ck_assert(kill(pids[i], 0) < 0 && errno == ESRCH);
    ck_assert_int_eq(count_outcomes(futures, -ESHUTDOWN), QUEUED);
    ck_assert_int_eq(outcome_of(stuck), -ESHUTDOWN);
    ck_assert_int_eq(outcome_of(defiant), -ESHUTDOWN);
    ck_assert_ptr_nonnull(strstr(brood_future_error(stuck), "killed on request"));
    ck_assert(brood_pool_is_broken(pool));
    ck_assert_ptr_nonnull(strstr(brood_pool_reason(pool), "killed on request"));
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_kill(pool, BROOD_NOW), 0);
    brood_future_free(stuck);
    brood_future_free(defiant);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
}
END_TEST

/* semantics: X16 */
START_TEST(workers_are_killed_at_once_on_request)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *defiant = NULL;
    brood_auto(future) *map = NULL;
    double x[QUEUED] = {0};

    ck_assert_int_eq(brood_apply_async(pool, defy, &defiant, &(int){0}), 0);
    ck_assert_int_eq(brood_map_async(pool, square, &map, x, x, QUEUED), 0);
    ck_assert_int_eq(brood_pool_kill(pool, BROOD_NOW), 0);
    ck_assert_int_eq(outcome_of(defiant), -ESHUTDOWN);
    ck_assert_int_eq(brood_future_wait(map, brood_after_ms(60000)), 0);
}
END_TEST

START_TEST(threads_are_asked_to_stop_and_what_has_not_started_fails)
{
    brood_auto(pool) *pool = open_kind(BY_THREADS, BROOD_POOL(.workers = 1));
    struct brood_future *obedient = NULL, *futures[QUEUED];

    ck_assert_int_eq(brood_apply_async(pool, obey, &obedient, &(int){0}), 0);
    while (!brood_future_running(obedient))
        rest();
    submit_squares(pool, futures);
    ck_assert_int_eq(brood_pool_kill(pool, BROOD_NOW), -ENOTSUP);
    ck_assert_int_eq(count_outcomes(futures, -ESHUTDOWN), QUEUED);
    ck_assert_int_eq(outcome_of(obedient), -EINTR);
    brood_future_free(obedient);
}
END_TEST

/* ---- workers that die and die ---- */

START_TEST(workers_that_die_without_end_break_the_pool)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1, .deaths_max = 5, .deaths_ms = 60000));
    struct brood_future *futures[QUEUED];
    int dead = 0;

    for (int i = 0; i < QUEUED; i++)
        ck_assert_int_eq(brood_apply_async(pool, die_by, &futures[i], &(int){SIGKILL}), 0);
    for (int i = 0; i < QUEUED; i++) {
        dead += outcome_of(futures[i]) == -EOWNERDEAD;
        ck_assert(outcome_of(futures[i]) == -EOWNERDEAD || outcome_of(futures[i]) == -ESHUTDOWN);
        brood_future_free(futures[i]);
    }
    ck_assert_int_eq(dead, 5);
    ck_assert_msg(strstr(brood_pool_reason(pool), "5 workers died"), "%s", brood_pool_reason(pool));
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
}
END_TEST

START_TEST(idle_workers_that_die_without_end_break_the_pool_too)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .deaths_max = 3, .deaths_ms = 60000));

    for (int i = 0; i < 3; i++) {
        pid_t pid;

        await((pid = brood_pool_worker_pid(pool, 0)) != 0);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        await(brood_pool_worker_pid(pool, 0) != pid);
    }
    await(brood_pool_is_broken(pool));
}
END_TEST

/* semantics: X8 K3 X9 */
START_TEST(deaths_between_which_tasks_are_finished_do_not_count)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .deaths_max = 3, .deaths_ms = 60000));
    double y;
    int one;

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(brood_apply(pool, leave_with, &one, &(int){7}), -EOWNERDEAD);
        ck_assert_ptr_nonnull(strstr(brood_error(), "exited with status 7"));
        ck_assert_int_eq(brood_apply(pool, square, &y, &(double){3}), 0);
    }
    ck_assert(!brood_pool_is_broken(pool));
    ck_assert_str_eq(brood_pool_reason(pool), "");
}
END_TEST

/* ---- statistics ---- */

static struct brood_pool_stats look(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    return stats;
}

START_TEST(statistics_tell_what_a_pool_has_done_and_does)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .queue = 100));
    const struct gate gate = new_gate();
    brood_auto(future) *waiter = hold_worker(pool, &gate);
    brood_auto(future) *dropped = NULL;
    struct brood_worker_stats worker = {.size = sizeof(worker)};
    struct brood_pool_stats stats;
    int half;

    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &dropped, &(int){1}), 0);
    ck_assert_int_eq(brood_future_cancel(dropped), 0);
    stats = look(pool);
    ck_assert(stats.workers == 1 && stats.alive == 1 && stats.busy == 1 && stats.queue == 100);
    ck_assert(stats.submitted == 2 && stats.finished == 1 && stats.failed == 1 && stats.cancelled == 1);
    ck_assert_uint_eq(stats.pending, 1);
    let_through(&gate);
    ck_assert_int_eq(outcome_of(waiter), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(brood_apply(pool, refuse_odd, &half, &i), i % 2 ? -EDOM : 0);
    stats = look(pool);
    ck_assert(stats.submitted == 12 && stats.finished == 12 && stats.failed == 6 && stats.cancelled == 1);
    ck_assert(stats.pending == 0 && stats.deaths == 0 && stats.restarts == 0 && stats.busy == 0);
    ck_assert_int_eq(brood_pool_worker_stats(pool, 0, &worker), 0);
    ck_assert(worker.tasks == 11 && worker.alive && !worker.busy);
    ck_assert_int_eq(worker.pid, brood_pool_worker_pid(pool, 0));
    ck_assert_int_eq(brood_pool_worker_stats(pool, 1, &worker), -EINVAL);
    ck_assert_int_eq(brood_pool_stats(pool, &(struct brood_pool_stats){0}), -EINVAL);
}
END_TEST

START_TEST(statistics_count_deaths_and_what_is_tried_again)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .retries = 2));
    struct brood_pool_stats stats;
    int one;

    ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){SIGKILL}), -EOWNERDEAD);
    stats = look(pool);
    ck_assert(stats.retried == 2 && stats.finished == 1 && stats.failed == 1);
    await(look(pool).restarts == 3);
    ck_assert_uint_eq(look(pool).deaths, 3);
}
END_TEST

/* ---- more and fewer workers ---- */

static int count_alive(struct brood_pool *pool)
{
    return look(pool).alive;
}

START_TEST(a_pool_grows_and_shrinks_on_request)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .workers_max = 4));

    ck_assert_int_eq(brood_pool_workers(pool), 2);
    ck_assert_int_eq(count_alive(pool), 2);
    ck_assert_int_eq(brood_pool_resize(pool, 4), 0);
    ck_assert_int_eq(brood_pool_workers(pool), 4);
    await(count_alive(pool) == 4);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_resize(pool, 1), 0);
    await(count_alive(pool) == 1);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_resize(pool, 3), 0);
    await(count_alive(pool) == 3);
    expect_working(pool);
    ck_assert(look(pool).deaths == 0 && !brood_pool_is_broken(pool));
}
END_TEST

START_TEST(sizes_that_cannot_be_are_refused)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 2, .workers_max = 3));

    ck_assert_int_eq(brood_pool_resize(pool, 0), -EINVAL);
    ck_assert_int_eq(brood_pool_resize(pool, 4), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "1 to 3"));
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    ck_assert_int_eq(brood_pool_resize(pool, 3), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

#define LOAD 3000

/* semantics: K8 */
START_TEST(resizing_under_load_loses_nothing)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 2, .workers_max = 4));
    static struct brood_future *futures[LOAD];
    double y;

    for (int i = 0; i < LOAD; i++) {
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
        if (i % 100 == 0)
            ck_assert_int_eq(brood_pool_resize(pool, 1 + (i / 100 * 3) % 4), 0);
    }
    expect_working(pool);
    for (int i = 0; i < LOAD; i++) {
        ck_assert_int_eq(outcome_of(futures[i]), 0);
        ck_assert_int_eq(brood_future_result(futures[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        brood_future_free(futures[i]);
    }
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(a_dismissed_worker_finishes_what_it_runs_and_others_do_the_rest)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 2));
    const struct gate gates[2] = {new_gate(), new_gate()};
    struct brood_future *waiters[2] = {hold_worker(pool, &gates[0]), hold_worker(pool, &gates[1])};
    struct brood_future *futures[QUEUED];

    submit_squares(pool, futures);
    ck_assert_int_eq(brood_pool_resize(pool, 1), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(!brood_future_done(waiters[i]));
        let_through(&gates[i]);
        ck_assert_int_eq(outcome_of(waiters[i]), 0);
        brood_future_free(waiters[i]);
    }
    ck_assert_int_eq(count_outcomes(futures, 0), QUEUED);
    await(count_alive(pool) == 1);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* The last of the scaled-down workers may come only when a thread waits in the pool. */
static void await_busy(struct brood_pool *pool, struct brood_future *waiter, int busy)
{
    int64_t until = now_ms() + 60000;

    while (look(pool).busy < busy) {
        ck_assert_msg(now_ms() < until, "%d are busy, not %d", look(pool).busy, busy);
        (void)!brood_future_wait(waiter, brood_after_ms(300));
    }
}

/* semantics: X10 */
START_TEST(workers_come_when_there_is_more_to_do_and_idle_ones_are_used_first)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 3, .workers_min = 1));
    struct gate gates[6];
    struct brood_future *waiters[6];
    double y;

    ck_assert(look(pool).alive == 1 && look(pool).resting == 2);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(brood_apply(pool, square, &y, &(double){i}), 0);
    ck_assert_int_eq(count_alive(pool), 1);
    for (int i = 0; i < 6; i++) {
        gates[i] = new_gate();
        ck_assert_int_eq(brood_apply_async(pool, wait_at, &waiters[i], &gates[i]), 0);
    }
    await_busy(pool, waiters[5], 3);
    await(look(pool).alive == 3 && look(pool).resting == 0); /* a new one may be quicker than the note of it */
    for (int done = 0; done < 6;)
        for (int i = 0; i < 6; i++)
            if (waiters[i] && brood_future_running(waiters[i])) {
                let_through(&gates[i]);
                ck_assert_int_eq(outcome_of(waiters[i]), 0);
                brood_future_free(waiters[i]);
                waiters[i] = NULL;
                done++;
            }
    ck_assert_int_eq(count_alive(pool), 3);
}
END_TEST

static void keep_three_busy(struct brood_pool *pool)
{
    struct gate gates[3];
    struct brood_future *waiters[3];

    for (int i = 0; i < 3; i++) {
        gates[i] = new_gate();
        ck_assert_int_eq(brood_apply_async(pool, wait_at, &waiters[i], &gates[i]), 0);
    }
    await_busy(pool, waiters[2], 3);
    for (int i = 0; i < 3; i++) {
        let_through(&gates[i]);
        ck_assert_int_eq(outcome_of(waiters[i]), 0);
        brood_future_free(waiters[i]);
    }
}

START_TEST(workers_with_nothing_to_do_rest_and_come_back)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 3, .idle_ms = 30, .workers_min = 1))), 0);
    for (int i = 0; i < 3; i++) {
        keep_three_busy(pool);
        await(look(pool).alive == 1 && look(pool).resting == 2);
    }
    ck_assert_uint_eq(look(pool).deaths, 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_ge(count(diary, 'b'), 1 + 3 * 2);
    ck_assert_int_eq(count(diary, 'b'), count(diary, 'e'));
    burn(diary);
}
END_TEST

/* semantics: K7 */
START_TEST(a_worker_that_goes_to_rest_while_a_task_comes_leaves_none_behind)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .idle_ms = 1, .workers_min = 1));
    struct brood_future *futures[3];

    for (int round = 0; round < 150; round++) {
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(outcome_of(futures[i]), 0);
            brood_future_free(futures[i]);
        }
        for (int64_t until = now_ms() + round % 4; now_ms() < until;)
            ;
    }
}
END_TEST

/* semantics: X15 */
START_TEST(a_thread_that_comes_later_and_whose_initializer_fails_breaks_the_pool_but_not_what_runs)
{
    struct diary *diary = new_diary();
    const struct gate gate = new_gate();
    struct brood_future *waiter, *futures[QUEUED];
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, keep(BY_THREADS, diary, BROOD_POOL(.workers = 2, .workers_min = 1))), 0);
    waiter = hold_worker(pool, &gate);
    touch(diary, ".fail");
    for (int i = 0; i < QUEUED; i++)
        if (brood_apply_async(pool, square, &futures[i], &(double){i}) < 0) {
            ck_assert_ptr_nonnull(strstr(brood_error(), "no diary today"));
            futures[i] = NULL;
        }
    for (int i = 0; i < QUEUED; i++)
        if (futures[i]) {
            ck_assert_int_eq(outcome_of(futures[i]), -ESHUTDOWN);
            ck_assert_ptr_nonnull(strstr(brood_future_error(futures[i]), "no diary today"));
            brood_future_free(futures[i]);
        }
    ck_assert(brood_pool_is_broken(pool));
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), -ESHUTDOWN);
    ck_assert(!brood_future_done(waiter));
    let_through(&gate);
    ck_assert_int_eq(outcome_of(waiter), 0);
    brood_future_free(waiter);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
    burn(diary);
}
END_TEST

/* ---- many, few, and none in time ---- */

static int refuse_the_third(void *context, void **ret_state)
{
    (void)context;
    (void)ret_state;
    return brood_worker_id() == 2 ? brood_fail(-ENODEV, "no third one") : 0;
}

/* semantics: M19 */
START_TEST(when_one_of_the_first_workers_cannot_begin_the_others_are_gone)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(
        brood_pool_open(&pool, BROOD_POOL(.kind = worker_kinds[_i].kind, .workers = 4, .initializer = refuse_the_third)),
        -ENODEV);
    ck_assert_ptr_nonnull(strstr(brood_error(), "no third one"));
    ck_assert_ptr_null(pool); /* and the fixture finds nothing left behind */
}
END_TEST

/* semantics: M20 */
START_TEST(a_pool_of_two_hundred_workers_works)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 200));
    struct brood_future *futures[QUEUED];

    ck_assert_int_eq(count_alive(pool), 200);
    submit_squares(pool, futures);
    ck_assert_int_eq(count_outcomes(futures, 0), QUEUED);
}
END_TEST

/* semantics: M18 X11 */
START_TEST(closing_finishes_everything_although_each_worker_runs_one_task)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 2, .worker_tasks = 1));
    struct brood_future *futures[QUEUED];

    submit_squares(pool, futures);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(count_outcomes(futures, 0), QUEUED);
}
END_TEST

/* semantics: M22 */
START_TEST(arguments_and_results_give_their_memory_back)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .memory_bytes = 1 << 20));
    static char bytes[200000], reversed[200000];

    for (int i = 0; i < 50; i++) {
        struct brood_space result = {reversed, sizeof(reversed)};

        ck_assert_msg(brood_apply_bytes(pool, reverse, &result, (struct brood_bytes){bytes, sizeof(bytes)}) == 0, "%s",
                      brood_error());
    }
}
END_TEST

static void open_without_stdin(void *argument)
{
    struct brood_pool *pool;

    (void)argument;
    (void)close(0);
    pool = open_kind(BY_FORKS, BROOD_POOL(.workers = 2));
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}

/* semantics: M21 */
START_TEST(a_process_without_standard_input_has_pools_too)
{
    in_child(open_without_stdin, NULL);
}
END_TEST

/* semantics: K5 K6 */
START_TEST(workers_that_crash_together_cost_only_what_they_ran)
{
    static const int crowds[] = {1, 2, 5, 13};
    int crowd = crowds[_i];
    brood_auto(pool) *pool = open_kind(BY_FORKS, BROOD_POOL(.workers = crowd, .queue = (size_t)crowd + 3));
    struct brood_future *deadly[13], *futures[QUEUED];

    for (int i = 0; i < crowd; i++)
        ck_assert_int_eq(brood_apply_async(pool, die_by, &deadly[i], &(int){SIGSEGV}), 0);
    submit_squares(pool, futures); /* more than the queue holds, while they die */
    ck_assert_int_eq(count_outcomes(futures, 0), QUEUED);
    for (int i = 0; i < crowd; i++) {
        ck_assert_int_eq(outcome_of(deadly[i]), -EOWNERDEAD);
        brood_future_free(deadly[i]);
    }
}
END_TEST

/* ---- pools in pools ---- */

/* semantics: K11 */
START_TEST(pools_in_workers_of_pools_go_down_to_a_limit)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    int depth;

    ck_assert_msg(brood_apply(pool, dig, &depth, &(int){(int)worker_kinds[_i].kind}) == 0, "%s", brood_error());
    ck_assert_int_eq(depth, BROOD_POOL_DEPTH_MAX);
}
END_TEST

/* ---- no worker while there is nothing to do ---- */

START_TEST(a_pool_without_a_minimum_starts_its_workers_when_there_is_work_and_lets_all_rest)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(
        brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 3, .idle_ms = 30, .workers_min = BROOD_WORKERS_NONE))),
        0);
    ck_assert_int_eq(look(pool).alive, 0);
    ck_assert_int_eq(count(diary, 'b'), 0);
    for (int i = 0; i < 3; i++) {
        keep_three_busy(pool);
        await(look(pool).alive == 0 && look(pool).resting == 3);
    }
    ck_assert_uint_eq(look(pool).deaths, 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(count(diary, 'b'), count(diary, 'e'));
    burn(diary);
}
END_TEST

static void hold_three_without_waiting(struct brood_pool *pool, int pause_us)
{
    struct gate gates[3];
    struct brood_future *waiters[3];

    for (int i = 0; i < 3; i++) {
        gates[i] = new_gate();
        ck_assert_int_eq(brood_apply_async(pool, wait_at, &waiters[i], &gates[i]), 0);
        for (int64_t until = now_us() + pause_us; now_us() < until;)
            ;
    }
    await(look(pool).busy == 3);
    for (int i = 0; i < 3; i++) {
        let_through(&gates[i]);
        ck_assert_int_eq(outcome_of(waiters[i]), 0);
        brood_future_free(waiters[i]);
    }
}

/* The pauses between the tasks go through what a worker does from its start until it sleeps. */
START_TEST(while_there_are_workers_that_rest_no_task_waits_for_a_busy_one)
{
    for (int round = 0; round < 30; round++) {
        struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 3, .workers_min = BROOD_WORKERS_NONE));

        hold_three_without_waiting(pool, round * 20);
        hold_three_without_waiting(pool, round * 20);
        ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    }
}
END_TEST

START_TEST(a_task_that_comes_while_the_last_worker_goes_to_rest_is_run)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .idle_ms = 1, .workers_min = BROOD_WORKERS_NONE));
    double y;

    for (int round = 0; round < 100; round++) {
        ck_assert_int_eq(brood_apply(pool, square, &y, &(double){round}), 0);
        ck_assert(y == (double)round * round);
        for (int64_t until = now_ms() + round % 4; now_ms() < until;)
            ;
    }
}
END_TEST

/* Only looks: it waits for no task, and collects none. */
static int count_present(struct brood_pool *pool, int kind)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    int present = 0;

    if (kind == BY_THREADS)
        return brood_pool_stats(pool, &stats) == 0 ? stats.alive : -1;
    for (int i = 0; i < brood_pool_workers(pool); i++)
        present += brood_pool_worker_pid(pool, i) != 0;
    return present;
}

START_TEST(after_a_shutdown_workers_end_when_they_have_nothing_to_do_though_no_thread_waits)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 3));
    const struct gate gate = new_gate();
    struct brood_future *waiter = hold_worker(pool, &gate), *futures[QUEUED];

    submit_squares(pool, futures);
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    await(count_present(pool, _i) == 1);
    let_through(&gate);
    await(count_present(pool, _i) == 0);
    ck_assert_int_eq(outcome_of(waiter), 0);
    brood_future_free(waiter);
    ck_assert_int_eq(count_outcomes(futures, 0), QUEUED);
    ck_assert_uint_eq(look(pool).deaths, 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(a_shutdown_of_an_idle_pool_ends_its_workers)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 4));
    double y;

    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){3}), 0);
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    await(count_present(pool, _i) == 0);
    ck_assert(!brood_pool_is_broken(pool));
}
END_TEST

START_TEST(a_retry_after_a_shutdown_starts_a_worker_again)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .retries = 3, .retry_pause_ms = 50));
    brood_auto(future) *future = NULL;
    struct trial trial = {.deaths = 2};
    int tries = 0;

    (void)snprintf(trial.path, sizeof(trial.path), "/tmp/brood-trial-%d-%lld", getpid(), (long long)now_ms());
    ck_assert_int_eq(brood_apply_async(pool, die_at_first, &future, &trial), 0);
    ck_assert_int_eq(brood_pool_shutdown(pool, false), 0);
    ck_assert_int_eq(outcome_of(future), 0);
    ck_assert_int_eq(brood_future_result(future, &tries, sizeof(tries)), 0);
    ck_assert_int_eq(tries, 3);
    ck_assert_int_eq(unlink(trial.path), 0);
    await(count_present(pool, _i) == 0);
}
END_TEST

/* ---- calls that come late ---- */

static void expect_every_call_refused(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    struct brood_worker_stats worker = {.size = sizeof(worker)};
    struct brood_future *future = NULL;
    struct brood_imap *imap = NULL;
    double x = 3, y = 0;

    ck_assert_int_eq(brood_apply(pool, square, &y, &x), -ESHUTDOWN);
    ck_assert_str_eq(brood_error(), "the pool is closed");
    ck_assert_int_eq(brood_apply_async(pool, square, &future, &x), -ESHUTDOWN);
    ck_assert_int_eq(brood_map(pool, square, &y, &x, 1), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_imap(pool, &square.task, &imap, &x, 1, NULL), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_stats(pool, &stats), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_worker_stats(pool, 0, &worker), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_resize(pool, 1), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_shutdown(pool, false), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_kill(pool, BROOD_NOW), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_run(pool, BROOD_NOW), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_fd(pool), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_NOW), -ESHUTDOWN);
    ck_assert_int_eq(brood_pool_worker_pid(pool, 0), 0);
    ck_assert_ptr_null(brood_alloc(pool, 64));
    brood_free(pool, &x);
}

START_TEST(a_call_on_a_closed_pool_is_refused_while_its_handle_is_kept)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 2));
    double x = 3, y = 0;

    ck_assert_ptr_eq(brood_pool_ref(pool), pool);
    ck_assert_int_eq(brood_apply(pool, square, &y, &x), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    expect_every_call_refused(pool);
    brood_pool_unref(pool);
    ck_assert_ptr_null(brood_pool_ref(NULL));
    brood_pool_unref(NULL);
}
END_TEST

#define RACERS 3

struct race {
    struct brood_pool *pool;
    _Atomic int begun, wrong;
};

/* Calls until the pool refuses: every outcome before that is a success, or the close's. */
static void *race_with_close(void *argument)
{
    struct race *race = argument;
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    double x = 3, y;
    int r = 0;

    (void)brood_pool_ref(race->pool);
    race->begun++;
    while (r == 0) {
        struct brood_future *future = NULL;

        r = brood_apply_async(race->pool, square, &future, &x);
        if (r == 0)
            r = brood_future_wait(future, BROOD_FOREVER);
        if (r == 0)
            r = brood_future_result(future, &y, sizeof(y));
        brood_future_free(future);
        brood_free(race->pool, brood_alloc(race->pool, 1000));
        if (r == 0)
            r = brood_pool_stats(race->pool, &stats);
    }
    race->wrong += r != -ESHUTDOWN;
    brood_pool_unref(race->pool);
    return NULL;
}

START_TEST(calls_that_race_with_the_close_succeed_or_are_refused)
{
    for (int round = 0; round < 20; round++) {
        struct race race = {.pool = open_kind(_i, BROOD_POOL(.workers = 2))};
        pthread_t racers[RACERS];

        for (int i = 0; i < RACERS; i++)
            ck_assert_int_eq(pthread_create(&racers[i], NULL, race_with_close, &race), 0);
        await(race.begun == RACERS);
        (void)brood_pool_close(race.pool, round % 2 ? BROOD_NOW : BROOD_FOREVER);
        for (int i = 0; i < RACERS; i++)
            ck_assert_int_eq(pthread_join(racers[i], NULL), 0);
        ck_assert_int_eq(race.wrong, 0);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("executor");

    /* "threads": only the kinds that stay in this process, for the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;

    add_loop_tests(suite, "initializer", BY_CALLER, end, each_worker_begins_once_with_a_state_of_its_own_and_ends_once,
                   without_an_initializer_there_is_no_state, a_pool_whose_initializer_fails_does_not_open_and_says_why,
                   NULL);
    add_loop_tests(suite, "shutdown", BY_THREADS, end, a_pool_that_is_shut_down_takes_no_more_and_finishes_what_it_has,
                   a_shutdown_that_cancels_leaves_only_what_runs, a_submitter_that_waits_for_room_learns_of_the_shutdown,
                   NULL);
    add_loop_tests(suite, "statistics", BY_THREADS, end, statistics_tell_what_a_pool_has_done_and_does, NULL);
    add_loop_tests(suite, "size", BY_THREADS, end, a_pool_grows_and_shrinks_on_request, sizes_that_cannot_be_are_refused,
                   resizing_under_load_loses_nothing, a_dismissed_worker_finishes_what_it_runs_and_others_do_the_rest,
                   workers_come_when_there_is_more_to_do_and_idle_ones_are_used_first,
                   workers_with_nothing_to_do_rest_and_come_back,
                   a_worker_that_goes_to_rest_while_a_task_comes_leaves_none_behind, NULL);
    add_loop_tests(suite, "depth", BY_CALLER, end, pools_in_workers_of_pools_go_down_to_a_limit, NULL);
    add_tests(suite, "late threads",
              a_thread_that_comes_later_and_whose_initializer_fails_breaks_the_pool_but_not_what_runs, NULL);
    add_tests(suite, "threads", threads_are_asked_to_stop_and_what_has_not_started_fails, NULL);
    add_loop_tests(suite, "numbers", BY_THREADS, end < BY_EXECS ? end : BY_EXECS,
                   when_one_of_the_first_workers_cannot_begin_the_others_are_gone, a_pool_of_two_hundred_workers_works,
                   NULL);
    add_loop_tests(suite, "none", BY_THREADS, end,
                   a_pool_without_a_minimum_starts_its_workers_when_there_is_work_and_lets_all_rest,
                   while_there_are_workers_that_rest_no_task_waits_for_a_busy_one,
                   a_task_that_comes_while_the_last_worker_goes_to_rest_is_run,
                   after_a_shutdown_workers_end_when_they_have_nothing_to_do_though_no_thread_waits,
                   a_shutdown_of_an_idle_pool_ends_its_workers, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "none, of processes", BY_FORKS, WORKER_KINDS, a_retry_after_a_shutdown_starts_a_worker_again,
                       NULL);
    add_loop_tests(suite, "late calls", BY_CALLER, end, a_call_on_a_closed_pool_is_refused_while_its_handle_is_kept,
                   calls_that_race_with_the_close_succeed_or_are_refused, NULL);
    add_loop_tests(suite, "ends", BY_CALLER, end, closing_finishes_everything_although_each_worker_runs_one_task,
                   arguments_and_results_give_their_memory_back, NULL);
    if (end == WORKER_KINDS) {
        add_tests(suite, "without input", a_process_without_standard_input_has_pools_too, NULL);
        add_loop_tests(suite, "crowds", 0, 4, workers_that_crash_together_cost_only_what_they_ran, NULL);
    }
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "deaths", BY_FORKS, WORKER_KINDS, killed_workers_are_gone_and_leave_a_broken_pool,
                       workers_are_killed_at_once_on_request, workers_that_die_without_end_break_the_pool,
                       idle_workers_that_die_without_end_break_the_pool_too,
                       deaths_between_which_tasks_are_finished_do_not_count,
                       statistics_count_deaths_and_what_is_tried_again, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "initializer of processes", BY_FORKS, WORKER_KINDS,
                       an_initializer_that_fails_in_a_replacement_breaks_the_pool_with_its_words,
                       the_successor_of_a_dead_or_recycled_worker_runs_the_initializer_too,
                       a_worker_whose_initializer_outlasts_its_age_runs_a_task_before_it_retires,
                       a_finalizer_has_as_long_as_the_close_may_take, NULL);
    if (end == WORKER_KINDS)
        add_tests(suite, "ready in time", an_initializer_has_as_long_as_the_open_may_take,
                  a_program_that_runs_and_is_no_worker_does_not_hold_up_the_open, NULL);
    return run_suite(suite);
}
