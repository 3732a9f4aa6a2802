/* conform_priority.c - tasks with a priority: which of those that wait runs first, and that nothing else is different. Over
 * threads, forked and exec'ed workers.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pools.h"
#include "support.h"
#include "tasks.h"

#define TASKS 20

static struct brood_future *submit(struct brood_pool *pool, int priority, int signal)
{
    struct brood_future *future = NULL;

    ck_assert_int_eq(brood_pool_submit(pool, &tell_time.task, &future, (struct brood_bytes){&signal, sizeof(signal)},
                                       BROOD_CALL(.priority = priority), BROOD_FOREVER),
                     0);
    return future;
}

/* A worker that is busy, one task that it has been given already, and tasks that wait. */
struct queue {
    struct brood_pool *pool;
    struct gate gate;
    struct brood_future *holder, *given, *futures[TASKS];
    int priorities[TASKS];
};

/* `fatal`: the number of the task that kills its worker, or -1. */
static void fill(struct queue *queue, struct brood_pool *pool, int fatal)
{
    *queue = (struct queue){.pool = pool, .gate = new_gate()};
    queue->holder = hold_worker(pool, &queue->gate);
    queue->given = submit(pool, 1000, 0);
    for (int i = 0; i < TASKS; i++) {
        queue->priorities[i] = i * 7 % 5 - 2;
        queue->futures[i] = submit(pool, queue->priorities[i], i == fatal ? SIGKILL : 0);
    }
}

static int64_t time_of(struct brood_future *future)
{
    int64_t when = 0;

    ck_assert_msg(outcome_of(future) == 0, "%s", brood_future_error(future));
    ck_assert_int_eq(brood_future_result(future, &when, sizeof(when)), 0);
    return when;
}

static void expect_order(const struct queue *queue, int without)
{
    int64_t when[TASKS];

    for (int i = 0; i < TASKS; i++)
        if (i != without)
            when[i] = time_of(queue->futures[i]);
    for (int i = 0; i < TASKS; i++)
        for (int k = 0; k < TASKS; k++) {
            int a = queue->priorities[i], b = queue->priorities[k];

            if (i != without && k != without && (a < b || (a == b && i < k)))
                ck_assert_msg(when[i] < when[k], "task %d (priority %d) ran after task %d (%d)", i, a, k, b);
        }
}

static void free_all(struct queue *queue)
{
    brood_future_free(queue->holder);
    brood_future_free(queue->given);
    for (int i = 0; i < TASKS; i++)
        brood_future_free(queue->futures[i]);
}

START_TEST(the_lowest_number_runs_first_and_of_equals_the_first_submitted)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    struct queue queue;

    fill(&queue, pool, -1);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(brood_future_state(queue.futures[i]), BROOD_FUTURE_PENDING);
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.pending, TASKS + 2);
    let_through(&queue.gate);
    expect_order(&queue, -1);
    free_all(&queue);
}
END_TEST

START_TEST(calls_that_say_nothing_of_it_do_not_overtake)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct brood_future *plain;
    struct queue queue;
    int64_t when, first = INT64_MAX;

    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_apply_async(pool, tell_time, &plain, &(int){0}), 0);
    let_through(&queue.gate);
    when = time_of(plain);
    for (int i = 0; i < TASKS; i++) {
        if (queue.priorities[i] <= 0)
            ck_assert_int_lt(time_of(queue.futures[i]), when);
        else if (time_of(queue.futures[i]) < first)
            first = time_of(queue.futures[i]);
    }
    ck_assert_int_lt(when, first);
    brood_future_free(plain);
    free_all(&queue);
}
END_TEST

START_TEST(what_waits_for_its_turn_can_be_cancelled)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct queue queue;

    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_future_cancel(queue.futures[7]), 0);
    ck_assert_int_eq(brood_future_cancel(queue.futures[7]), 0);
    ck_assert_int_eq(outcome_of(queue.futures[7]), -ECANCELED);
    brood_future_free(queue.futures[3]);
    queue.futures[3] = submit(pool, queue.priorities[3] = 3, 0);
    let_through(&queue.gate);
    expect_order(&queue, 7);
    free_all(&queue);
}
END_TEST

/* Often, because the closing thread collects what is over also just before it would sleep, when no other could notify it of
 * the room that this made. */
START_TEST(closing_waits_for_what_waits_for_its_turn)
{
    for (int round = 0; round < 20; round++) {
        struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1));
        struct queue queue;

        fill(&queue, pool, -1);
        let_through(&queue.gate);
        ck_assert_int_eq(brood_pool_close(pool, brood_after_ms(60000)), 0);
        expect_order(&queue, -1);
        free_all(&queue);
    }
}
END_TEST

START_TEST(a_shutdown_cancels_it_and_nothing_of_it_runs)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct queue queue;

    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_pool_shutdown(pool, true), 0);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(outcome_of(queue.futures[i]), -ECANCELED);
    let_through(&queue.gate);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    free_all(&queue);
}
END_TEST

/* The gate stays until all have failed: a worker that has not come to it yet, and is not dead yet either, would find none,
 * and go on. */
static void expect_shut_down(struct queue *queue)
{
    char mark[sizeof(queue->gate.path) + 8];

    for (int i = 0; i < TASKS; i++) {
        ck_assert_int_eq(outcome_of(queue->futures[i]), -ESHUTDOWN);
        ck_assert_msg(strstr(brood_future_error(queue->futures[i]), "pool"), "%s", brood_future_error(queue->futures[i]));
    }
    (void)snprintf(mark, sizeof(mark), "%s.here", queue->gate.path);
    ck_assert_int_eq(unlink(mark), 0);
    ck_assert_int_eq(unlink(queue->gate.path), 0);
    free_all(queue);
}

START_TEST(a_pool_that_is_closed_at_once_fails_it)
{
    struct brood_pool *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct queue queue;

    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_NOW), -ETIMEDOUT);
    expect_shut_down(&queue);
}
END_TEST

START_TEST(a_pool_that_breaks_fails_it)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct queue queue;

    fill(&queue, pool, -1);
    ck_assert_int_eq(kill(supervisor_of(pool), SIGKILL), 0);
    expect_shut_down(&queue);
}
END_TEST

START_TEST(a_killed_pool_fails_it)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct queue queue;

    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_pool_kill(pool, BROOD_NOW), 0);
    expect_shut_down(&queue);
}
END_TEST

START_TEST(it_counts_for_the_bound_of_the_queue)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .queue = TASKS + 2));
    struct brood_future *late = NULL;
    struct brood_bytes none = {&(int){0}, sizeof(int)};
    struct queue queue;

    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_pool_submit(pool, &tell_time.task, &late, none, BROOD_CALL(.priority = -9), BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_pool_submit(pool, &tell_time.task, &late, none, BROOD_CALL(.priority = -9), brood_after_ms(20)),
                     -ETIMEDOUT);
    ck_assert_ptr_null(late);
    let_through(&queue.gate);
    ck_assert_int_eq(brood_pool_submit(pool, &tell_time.task, &late, none, BROOD_CALL(.priority = -9), BROOD_FOREVER), 0);
    expect_order(&queue, -1);
    ck_assert_int_gt(time_of(late), time_of(queue.given));
    brood_future_free(late);
    free_all(&queue);
}
END_TEST

START_TEST(large_arguments_and_results_wait_too)
{
    enum { LARGE = 100000 };
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    char *bytes = malloc(LARGE);
    struct brood_future *large = NULL;
    struct brood_bytes result;
    struct queue queue;

    ck_assert_ptr_nonnull(bytes);
    for (int i = 0; i < LARGE; i++)
        bytes[i] = (char)(i % 101);
    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_pool_submit(pool, &reverse.task, &large, (struct brood_bytes){bytes, LARGE},
                                       BROOD_CALL(.priority = 1), BROOD_FOREVER),
                     0);
    memset(bytes, 0, LARGE);
    let_through(&queue.gate);
    ck_assert_int_eq(outcome_of(large), 0);
    ck_assert_int_eq(brood_future_bytes(large, &result), 0);
    ck_assert_uint_eq(result.len, LARGE);
    for (int i = 0; i < LARGE; i++)
        ck_assert_int_eq(((const char *)result.ptr)[LARGE - 1 - i], i % 101);
    brood_future_free(large);
    expect_order(&queue, -1);
    free_all(&queue);
    free(bytes);
}
END_TEST

START_TEST(a_death_costs_only_the_task_and_its_place)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct queue queue;

    fill(&queue, pool, 8);
    let_through(&queue.gate);
    ck_assert_int_eq(outcome_of(queue.futures[8]), -EOWNERDEAD);
    expect_order(&queue, 8);
    free_all(&queue);
}
END_TEST

START_TEST(what_may_be_retried_is_tried_again)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct brood_future *trying = NULL;
    struct trial trial = {.deaths = 2};
    struct queue queue;
    int took = 0;

    (void)snprintf(trial.path, sizeof(trial.path), "/tmp/brood-trial-%d-%lld", getpid(), (long long)now_ms());
    fill(&queue, pool, -1);
    ck_assert_int_eq(brood_pool_submit(pool, &die_at_first.task, &trying, (struct brood_bytes){&trial, sizeof(trial)},
                                       BROOD_CALL(.priority = -1, .retries = 2), BROOD_FOREVER),
                     0);
    let_through(&queue.gate);
    ck_assert_int_eq(outcome_of(trying), 0);
    ck_assert_int_eq(brood_future_result(trying, &took, sizeof(took)), 0);
    ck_assert_int_eq(took, 3);
    expect_order(&queue, -1);
    brood_future_free(trying);
    free_all(&queue);
    (void)unlink(trial.path);
}
END_TEST

/* ---- which thread hands it on ---- */

static void *wait_for(void *future)
{
    ck_assert_int_eq(brood_future_wait(future, BROOD_FOREVER), 0);
    return NULL;
}

/* That thread sleeps already when the first one comes. */
START_TEST(a_thread_that_waits_for_something_else_hands_it_on)
{
    enum { MANY = 100 };
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2));
    const struct gate gates[3] = {new_gate(), new_gate(), new_gate()};
    struct brood_future *waiters[3] = {hold_worker(pool, &gates[0]), hold_worker(pool, &gates[1])}, *futures[MANY];
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for, waiters[0]), 0);
    rest();
    for (int i = 0; i < MANY; i++)
        futures[i] = submit(pool, 1, 0);
    ck_assert_int_eq(brood_pool_submit(pool, &wait_at.task, &waiters[2], (struct brood_bytes){&gates[2], sizeof(gates[2])},
                                       BROOD_CALL(.priority = 2), BROOD_FOREVER),
                     0);
    let_through(&gates[1]);
    await(is_at_gate(&gates[2]));
    let_through(&gates[2]);
    let_through(&gates[0]);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < MANY; i++) {
        (void)time_of(futures[i]);
        brood_future_free(futures[i]);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(outcome_of(waiters[i]), 0);
        brood_future_free(waiters[i]);
    }
}
END_TEST

/* The event thread does it, unasked. */
START_TEST(a_program_that_polls_a_descriptor_need_not_feed_the_workers)
{
    enum { ROUNDS = 100, FEW = 8 };
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct brood_future *futures[FEW];

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < FEW; i++)
            futures[i] = submit(pool, i + 1, 0);
        struct pollfd last = {.fd = brood_future_fd(futures[FEW - 1]), .events = POLLIN};

        ck_assert_int_ge(last.fd, 0);
        ck_assert_msg(poll(&last, 1, 60000) == 1, "round %d", round);
        for (int i = 0; i < FEW; i++) {
            ck_assert(brood_future_done(futures[i]));
            brood_future_free(futures[i]);
        }
    }
}
END_TEST

/* ---- beside maps ---- */

/* More than the two windows that worker processes are given at a time. */
enum { ITEMS = 130000, IN_THE_SECOND = 100000 };

struct long_map {
    struct gate *gates;
    int64_t *when;
    struct brood_future *future;
};

/* Its items wait at no gate but those. */
static struct long_map new_map(void)
{
    struct long_map map = {calloc(ITEMS, sizeof(struct gate)), calloc(ITEMS, sizeof(int64_t)), NULL};

    ck_assert(map.gates && map.when);
    return map;
}

static void begin_map(struct brood_pool *pool, struct long_map *map)
{
    ck_assert_int_eq(brood_map_async(pool, tell_time_behind, &map->future, map->when, map->gates, ITEMS), 0);
}

static void end_map(struct long_map *map)
{
    ck_assert_int_eq(brood_future_wait(map->future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(map->future, NULL, 0), 0);
    for (int i = 0; i < ITEMS; i++)
        ck_assert_msg(map->when[i] > 0, "item %d", i);
    brood_future_free(map->future);
    free(map->gates);
    free(map->when);
}

/* The worker is at the first item when it comes, and a later one lets none through until it is done. */
START_TEST(an_urgent_task_goes_before_the_unclaimed_items_of_a_map)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct long_map map = new_map();
    struct brood_future *urgent;

    map.gates[0] = new_gate();
    map.gates[IN_THE_SECOND] = new_gate();
    begin_map(pool, &map);
    await(is_at_gate(&map.gates[0]));
    urgent = submit(pool, -1, 0);
    let_through(&map.gates[0]);
    (void)time_of(urgent);
    ck_assert(!brood_future_done(map.future));
    let_through(&map.gates[IN_THE_SECOND]);
    ck_assert_int_eq(brood_future_wait(map.future, brood_after_ms(60000)), 0);
    ck_assert_int_lt(time_of(urgent), map.when[1]);
    brood_future_free(urgent);
    end_map(&map);
}
END_TEST

START_TEST(what_is_not_waits_for_those_that_the_workers_have_been_given)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct brood_future *patient;
    struct long_map map = new_map();

    map.gates[0] = new_gate();
    begin_map(pool, &map);
    await(is_at_gate(&map.gates[0]));
    patient = submit(pool, 1, 0);
    let_through(&map.gates[0]);
    ck_assert_int_gt(time_of(patient), map.when[1]);
    brood_future_free(patient);
    end_map(&map);
}
END_TEST

/* Each of two workers stands at a gate of the map's first half; one leaves the map for the task, and later each stands at
 * one of the second half. */
START_TEST(a_preempted_worker_comes_back_to_the_map)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2));
    struct long_map map = {calloc(8, sizeof(struct gate)), calloc(8, sizeof(int64_t)), NULL};
    struct brood_future *urgent;

    ck_assert(map.gates && map.when);
    for (int i = 0; i < 8; i++)
        if (i % 4 == 0 || i % 4 == 3)
            map.gates[i] = new_gate();
    ck_assert_int_eq(
        brood_pool_map_async(pool, &tell_time_behind.task, &map.future, map.when, map.gates, 8, BROOD_MAP(.chunk = 1)), 0);
    await(is_at_gate(&map.gates[0]));
    await(is_at_gate(&map.gates[4]));
    urgent = submit(pool, -1, 0);
    let_through(&map.gates[0]);
    let_through(&map.gates[4]);
    (void)time_of(urgent);
    brood_future_free(urgent);
    await(is_at_gate(&map.gates[3]));
    await(is_at_gate(&map.gates[7]));
    let_through(&map.gates[3]);
    let_through(&map.gates[7]);
    ck_assert_int_eq(outcome_of(map.future), 0);
    brood_future_free(map.future);
    free(map.gates);
    free(map.when);
}
END_TEST

/* No thread waits for the tasks: the one that waits for the map invites the workers again. */
START_TEST(many_that_are_urgent_leave_a_map_whole)
{
    enum { MANY = 200 };
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 3));
    struct brood_future *urgent[MANY];
    struct long_map map = new_map();

    begin_map(pool, &map);
    for (int i = 0; i < MANY; i++) {
        urgent[i] = submit(pool, i % 3 - 2, _i != BY_THREADS && i % 40 == 39 ? SIGKILL : 0);
        if (i % 10 == 0)
            rest();
    }
    end_map(&map);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(outcome_of(urgent[i]), _i != BY_THREADS && i % 40 == 39 ? -EOWNERDEAD : 0);
        brood_future_free(urgent[i]);
    }
}
END_TEST

START_TEST(a_map_that_makes_way_can_be_cancelled)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct long_map map = new_map();
    struct brood_future *urgent;

    map.gates[0] = new_gate();
    begin_map(pool, &map);
    await(is_at_gate(&map.gates[0]));
    urgent = submit(pool, -1, 0);
    ck_assert_int_eq(brood_future_cancel(map.future), -EBUSY);
    let_through(&map.gates[0]);
    (void)time_of(urgent);
    ck_assert_int_eq(brood_future_wait(map.future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(map.future, NULL, 0), -ECANCELED);
    ck_assert_int_gt(map.when[0], 0);
    brood_future_free(urgent);
    brood_future_free(map.future);
    free(map.gates);
    free(map.when);
}
END_TEST

/* ---- many at once ---- */

struct client {
    struct brood_pool *pool;
    unsigned seed;
};

static void *submit_many(void *argument)
{
    enum { MANY = 1000 };
    struct client *client = argument;
    struct brood_future *futures[MANY];

    for (int i = 0; i < MANY; i++) {
        futures[i] = submit(client->pool, (int)(rand_r(&client->seed) % 5) - 2, 0);
        if (i % 3 == 0)
            (void)brood_future_cancel(futures[i / 2]);
    }
    for (int i = 0; i < MANY; i++) {
        int r = outcome_of(futures[i]);

        ck_assert_msg(r == 0 || r == -ECANCELED, "%d: %s", r, brood_future_error(futures[i]));
        brood_future_free(futures[i]);
    }
    return NULL;
}

START_TEST(many_threads_submit_and_cancel_at_once)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 3, .queue = 300));
    struct client clients[3] = {{pool, 1}, {pool, 2}, {pool, 3}};
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, submit_many, &clients[i]), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.pending, 0);
    ck_assert_uint_eq(stats.finished, 3000);
}
END_TEST

/* In ns, of one of so many that wait, the last one first. */
static int64_t cost_of_cancelling(int kind, int n)
{
    struct brood_pool *pool = open_kind(kind, BROOD_POOL(.workers = 1, .queue = 65536));
    struct gate gate = new_gate();
    struct brood_future *holder = hold_worker(pool, &gate), **futures = calloc((size_t)n, sizeof(struct brood_future *));
    int64_t began, took;

    for (int i = 0; i < n; i++)
        futures[i] = submit(pool, 1, 0);
    began = thread_cpu_ns();
    for (int i = n - 1; i >= 0; i--)
        ck_assert_int_eq(brood_future_cancel(futures[i]), 0);
    took = thread_cpu_ns() - began;
    let_through(&gate);
    for (int i = 0; i < n; i++)
        brood_future_free(futures[i]);
    free(futures);
    brood_future_free(holder);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    return took / n;
}

/* What is in the caches may change one measurement, not all of them. */
START_TEST(to_cancel_costs_about_the_same_among_few_and_many)
{
    int64_t few = 0, many = 1;

    for (int i = 0; i < 6 && many > 3 * few; i++) {
        few = cost_of_cancelling(_i, 1000);
        many = cost_of_cancelling(_i, 32000);
    }
    ck_assert_msg(many <= 3 * few, "%lld ns of 1,000, %lld ns of 32,000", (long long)few, (long long)many);
}
END_TEST

START_TEST(in_the_caller_it_means_nothing)
{
    struct brood_pool *pool = NULL;
    struct brood_future *future;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = BROOD_INLINE)), 0);
    future = submit(pool, 5, 0);
    ck_assert_int_eq(brood_future_state(future), BROOD_FUTURE_DONE);
    brood_future_free(future);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("priority");

    /* "threads": only the kinds that stay in this process, for the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;

    add_loop_tests(suite, "order", BY_THREADS, end, the_lowest_number_runs_first_and_of_equals_the_first_submitted,
                   calls_that_say_nothing_of_it_do_not_overtake, large_arguments_and_results_wait_too, NULL);
    add_loop_tests(suite, "ends", BY_THREADS, end, what_waits_for_its_turn_can_be_cancelled,
                   to_cancel_costs_about_the_same_among_few_and_many, closing_waits_for_what_waits_for_its_turn,
                   a_shutdown_cancels_it_and_nothing_of_it_runs, NULL);
    add_loop_tests(suite, "room", BY_THREADS, end, it_counts_for_the_bound_of_the_queue,
                   a_thread_that_waits_for_something_else_hands_it_on,
                   a_program_that_polls_a_descriptor_need_not_feed_the_workers, many_threads_submit_and_cancel_at_once,
                   NULL);
    add_loop_tests(suite, "maps", BY_THREADS, end, an_urgent_task_goes_before_the_unclaimed_items_of_a_map,
                   what_is_not_waits_for_those_that_the_workers_have_been_given, a_preempted_worker_comes_back_to_the_map,
                   many_that_are_urgent_leave_a_map_whole, a_map_that_makes_way_can_be_cancelled, NULL);
    add_tests(suite, "inline", in_the_caller_it_means_nothing, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "deaths", BY_FORKS, WORKER_KINDS, a_pool_that_is_closed_at_once_fails_it,
                       a_pool_that_breaks_fails_it, a_killed_pool_fails_it, a_death_costs_only_the_task_and_its_place,
                       what_may_be_retried_is_tried_again, NULL);
    return run_suite(suite);
}
