/* conform_many.c - what a pool of many workers costs: memory, time to open and close, and what a death does to the others.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

static struct brood_pool *open_pool(int workers)
{
    return open_processes(FORKED, BROOD_POOL(.workers = workers));
}

/* A number that a line of /proc/PID/status gives; 0: there is no such process, or line. */
static long status_of(pid_t pid, const char *name)
{
    char path[64], line[256];
    size_t length = strlen(name);
    long value = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            value = strtol(line + length + 1, NULL, 10);
    if (file)
        fclose(file);
    return value;
}

/* ---- deaths ---- */

enum { MANY = 400, WOKEN_MAX = 4 };

struct crowd {
    pid_t pids[MANY];
    long switches[MANY]; /* that each has made: one that was woken has made another when it sleeps again */
    long all;
};

static struct crowd look_at(const struct brood_pool *pool)
{
    struct crowd crowd = {.all = 0};

    for (int i = 0; i < MANY; i++) {
        crowd.pids[i] = brood_pool_worker_pid(pool, i);
        crowd.switches[i] = status_of(crowd.pids[i], "voluntary_ctxt_switches");
        crowd.all += crowd.switches[i];
    }
    return crowd;
}

/* All are there, and none has done anything between two looks that lie longer apart than a worker without work stays
 * awake. */
static struct crowd await_sleep(const struct brood_pool *pool)
{
    struct crowd crowd = look_at(pool), before;
    int quiet = 0;

    for (int64_t until = now_ms() + 60000; quiet < 20; quiet = crowd.all == before.all ? quiet + 1 : 0) {
        ck_assert_msg(now_ms() < until, "the workers never came to rest");
        before = crowd;
        rest();
        crowd = look_at(pool);
    }
    return crowd;
}

/* Of the workers that are still the same. */
static int count_woken(const struct crowd *before, const struct crowd *after)
{
    int woken = 0;

    for (int i = 0; i < MANY; i++)
        woken += after->pids[i] == before->pids[i] && after->switches[i] != before->switches[i];
    return woken;
}

static void kill_idle(struct brood_pool *pool, int victim)
{
    pid_t pid = brood_pool_worker_pid(pool, victim);

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    await(brood_pool_worker_pid(pool, victim) != pid && brood_pool_worker_pid(pool, victim) != 0);
}

static void kill_by_task(struct brood_pool *pool, int ignored)
{
    brood_auto(future) *future = NULL;

    (void)ignored;
    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    for (int i = 0; i < MANY; i++)
        await(brood_pool_worker_pid(pool, i) != 0);
}

START_TEST(a_death_among_hundreds_of_workers_leaves_the_others_asleep)
{
    brood_auto(pool) *pool = open_pool(MANY);

    for (int i = 0; i < 6; i++) {
        struct crowd before = await_sleep(pool), after;
        int woken;

        (i % 2 ? kill_by_task : kill_idle)(pool, i * MANY / 6);
        after = await_sleep(pool);
        woken = count_woken(&before, &after);
        ck_assert_msg(woken <= WOKEN_MAX, "a death woke %d of %d other workers", woken, MANY - 1);
    }
    expect_working(pool);
}
END_TEST

/* ---- memory ---- */

enum { QUEUE = 16384, RSS_MAX_KIB = 64 << 10 };

/* That the two processes have mapped of a pool's memory: more than before the pool was there. */
static void expect_small(const struct brood_pool *pool, long before_kib)
{
    long host = status_of(getpid(), "RssShmem") - before_kib;
    long worker = status_of(brood_pool_worker_pid(pool, 0), "RssShmem");

    ck_assert_msg(host <= RSS_MAX_KIB && worker <= RSS_MAX_KIB, "the host has %ld KiB of the pool, a worker %ld KiB", host,
                  worker);
}

START_TEST(room_for_many_workers_and_tasks_takes_no_memory_before_they_come)
{
    long before_kib = status_of(getpid(), "RssShmem");
    brood_auto(pool) *pool = open_processes(FORKED, BROOD_POOL(.workers = 1, .workers_max = 256, .queue = QUEUE));

    expect_small(pool, before_kib);
    ck_assert_int_eq(brood_pool_resize(pool, 256), 0);
    for (int i = 0; i < 256; i++)
        await(brood_pool_worker_pid(pool, i) != 0);
    for (int i = 0; i < 20; i++)
        expect_working(pool);
    expect_small(pool, before_kib);
}
END_TEST

/* A lane has memory for few tasks at first. */
START_TEST(a_queue_is_as_long_as_was_asked_for)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .workers_max = 2, .queue = QUEUE));
    static struct brood_future *futures[QUEUE];
    struct gate gate = new_gate();
    brood_auto(future) *held = hold_worker(pool, &gate);

    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < QUEUE; i++) {
            int r = brood_pool_apply_async(pool, &square.task, &futures[i], &(double){i}, BROOD_NOW);

            ck_assert_msg(r == 0, "task %d of %d: %d %s", i, QUEUE, r, brood_error());
        }
        if (round == 0)
            let_through(&gate);
        for (int i = 1; i < QUEUE; i++) {
            double result;

            ck_assert_int_eq(brood_future_wait(futures[i], brood_after_ms(60000)), 0);
            ck_assert_int_eq(brood_future_result(futures[i], &result, sizeof(result)), 0);
            ck_assert_double_eq(result, (double)i * i);
            brood_future_free(futures[i]);
        }
    }
    ck_assert_int_eq(outcome_of(held), 0);
}
END_TEST

static void run_short_of_memory(void *argument)
{
    brood_auto(pool) *pool = open_processes(FORKED, BROOD_POOL(.workers = 1, .workers_max = 2, .queue = QUEUE));

    (void)argument;
    deny(SYS_fallocate, ENOSPC);
    for (int round = 0; round < 20; round++) {
        struct brood_future *futures[100];

        for (int i = 0; i < 100; i++) {
            int r = brood_apply_async(pool, square, &futures[i], &(double){i});

            ck_assert_msg(r == 0, "task %d: %d %s", i, r, brood_error());
        }
        for (int i = 0; i < 100; i++) {
            ck_assert_int_eq(outcome_of(futures[i]), 0);
            brood_future_free(futures[i]);
        }
    }
    ck_assert_int_eq(brood_pool_resize(pool, 2), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_error(), "no shared memory"));
    ck_assert_int_eq(brood_pool_workers(pool), 1);
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){3}), 0);
}

START_TEST(where_no_memory_is_left_for_lanes_tasks_wait_and_more_workers_are_refused)
{
    in_child(run_short_of_memory, NULL);
}
END_TEST

/* ---- time ---- */

enum { HUNDREDS = 512, ATTEMPTS = 8, RATIO_MAX = 6 };

static int64_t open_and_close_us(void)
{
    int64_t began = now_us();
    struct brood_pool *pool = open_pool(HUNDREDS);

    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    return now_us() - began;
}

/* As many children, all there at the same time. */
static int64_t fork_and_wait_us(void)
{
    int64_t began = now_us();
    pid_t children[HUNDREDS];
    int gate[2];
    char byte;

    ck_assert_int_eq(pipe(gate), 0);
    for (int i = 0; i < HUNDREDS; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) {
            (void)close(gate[1]);
            _exit(read(gate[0], &byte, 1) != 0);
        }
    }
    (void)close(gate[0]);
    (void)close(gate[1]);
    for (int i = 0; i < HUNDREDS; i++)
        ck_assert_int_eq(waitpid(children[i], NULL, 0), children[i]);
    return now_us() - began;
}

/* Where each worker cost all others something it was 13 to 26 times; it is 2. */
START_TEST(hundreds_of_workers_come_and_go_in_a_few_times_what_their_forks_take)
{
    double best = INFINITY;

    for (int i = 0; i < ATTEMPTS && best > RATIO_MAX; i++) {
        double ratio = (double)open_and_close_us() / (double)fork_and_wait_us();

        best = ratio < best ? ratio : best;
    }
    ck_assert_msg(best <= RATIO_MAX, "to open and close %d workers took %.1f times what their forks do", HUNDREDS, best);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("many");

    add_tests(suite, "deaths", a_death_among_hundreds_of_workers_leaves_the_others_asleep, NULL);
    add_tests(suite, "memory", room_for_many_workers_and_tasks_takes_no_memory_before_they_come,
              where_no_memory_is_left_for_lanes_tasks_wait_and_more_workers_are_refused, NULL);
    add_loop_tests(suite, "memory", 0, PROCESS_KINDS, a_queue_is_as_long_as_was_asked_for, NULL);
    add_tests(suite, "time", hundreds_of_workers_come_and_go_in_a_few_times_what_their_forks_take, NULL);
    return run_suite(suite);
}
