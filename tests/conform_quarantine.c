/* conform_quarantine.c - what kills worker after worker is run no more, and all its deaths can be read: over forked and
 * exec'ed workers. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pools.h"
#include "streams.h"
#include "support.h"
#include "tasks.h"

#include "pool/future/death.h"

#define MOST 8

static struct brood_pool_stats look(struct brood_pool *pool)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    return stats;
}

/* The deaths of an item are of that many different processes, one an attempt, and of that signal. */
static void expect_deaths(const struct brood_future *future, size_t item, int count, int signal)
{
    struct brood_death deaths[MOST];

    ck_assert_int_eq(brood_future_deaths(future, item, deaths, MOST), count);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq((int)deaths[i].attempt, i + 1);
        ck_assert_uint_eq(deaths[i].item, item);
        ck_assert_int_eq(deaths[i].signal, signal);
        ck_assert_int_gt(deaths[i].pid, 0);
        ck_assert_int_gt(deaths[i].peak_rss_kib, 0);
        for (int before = 0; before < i; before++)
            ck_assert_int_ne(deaths[i].pid, deaths[before].pid);
    }
}

/* A task that dies so often and then answers; its file is the test's and the item's own. */
static struct trial new_trial(int item, int deaths)
{
    struct trial trial = {.deaths = deaths};

    snprintf(trial.path, sizeof(trial.path), "/tmp/brood-quarantine-%d-%d", getpid(), item);
    unlink(trial.path);
    return trial;
}

START_TEST(a_task_that_kills_every_worker_is_quarantined_with_all_certificates)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .retries = 3, .retry_pause_ms = 1));
    brood_auto(future) *future = NULL;
    struct brood_death deaths[4], last;

    ck_assert_int_eq(brood_apply_async(pool, touch_nothing, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    expect_deaths(future, 0, 4, SIGSEGV);
    ck_assert_int_eq(brood_future_deaths(future, 0, deaths, 4), 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(deaths[i].fault_address, 64);
        ck_assert_str_eq(deaths[i].task, "touch_nothing");
        ck_assert_ptr_nonnull(strchr(deaths[i].backtrace, '\n'));
    }
    ck_assert_int_eq(brood_future_death(future, &last), 0);
    ck_assert_int_eq(last.pid, deaths[3].pid);
    ck_assert_msg(strstr(brood_future_error(future), "attempt 4 of 4: it is quarantined") != NULL, "%s",
                  brood_future_error(future));
    ck_assert(look(pool).quarantined == 1 && look(pool).retried == 3);
    expect_working(pool);
    ck_assert_uint_eq(look(pool).deaths, 4);
}
END_TEST

START_TEST(a_poison_item_of_a_map_is_quarantined_and_all_others_are_right)
{
    enum { ITEMS = 1000, POISON = 613 };
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2));
    brood_auto(future) *future = NULL;
    static int in[ITEMS], out[ITEMS];
    struct brood_death death;

    for (int i = 0; i < ITEMS; i++)
        in[i] = i == POISON ? 97 : 97 * i + 1;
    ck_assert_int_eq(brood_pool_map_async(pool, &die_if_divisible.task, &future, out, in, ITEMS, BROOD_MAP(.retries = 3)),
                     0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(future, NULL, 0), -EOWNERDEAD);
    for (int i = 0; i < ITEMS; i++) {
        ck_assert_int_eq(brood_future_item(future, (size_t)i), i == POISON ? -EOWNERDEAD : 0);
        ck_assert(i == POISON || out[i] == in[i] + 1);
        if (i != POISON)
            ck_assert_int_eq(brood_future_deaths(future, (size_t)i, &death, 1), 0);
    }
    expect_deaths(future, POISON, 4, SIGKILL);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert(death.item == POISON && death.attempt == 4);
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "attempt 4 of 4: it is quarantined"));
    ck_assert(look(pool).quarantined == 1 && look(pool).retried == 3 && look(pool).finished == 1);
    expect_working(pool);
}
END_TEST

START_TEST(what_dies_twice_and_then_succeeds_has_two_certificates)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .retries = 2, .retry_pause_ms = 1));
    brood_auto(future) *future = NULL;
    struct trial trial = new_trial(0, 2);
    struct brood_death death;
    int times;

    ck_assert_int_eq(brood_apply_async(pool, die_at_first, &future, &trial), 0);
    ck_assert_int_eq(outcome_of(future), 0);
    ck_assert_int_eq(brood_future_result(future, &times, sizeof(times)), 0);
    ck_assert_int_eq(times, 3);
    expect_deaths(future, 0, 2, SIGKILL);
    ck_assert_int_eq(brood_future_death(future, &death), -ENODATA); /* none is its outcome */
    ck_assert_str_eq(brood_future_error(future), "");
    ck_assert_int_eq(brood_future_state(future), BROOD_FUTURE_DONE);
    ck_assert_uint_eq(look(pool).quarantined, 0);
    unlink(trial.path);
}
END_TEST

START_TEST(each_item_has_the_certificates_of_its_own_attempts)
{
    enum { ITEMS = 6 };
    static const int wanted[ITEMS] = {0, 2, 1, 100, 0, 100};
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .retries = 2));
    brood_auto(future) *future = NULL;
    struct trial in[ITEMS];
    struct brood_death death;
    int out[ITEMS];

    for (int i = 0; i < ITEMS; i++)
        in[i] = new_trial(i, wanted[i]);
    ck_assert_int_eq(brood_map_async(pool, die_at_first, &future, out, in, ITEMS), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    for (int i = 0; i < ITEMS; i++) {
        bool is_poison = wanted[i] > 2;

        ck_assert_int_eq(brood_future_item(future, (size_t)i), is_poison ? -EOWNERDEAD : 0);
        ck_assert(is_poison || out[i] == wanted[i] + 1);
        expect_deaths(future, (size_t)i, is_poison ? 3 : wanted[i], SIGKILL);
        unlink(in[i].path);
    }
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert(death.item == 3 && death.attempt == 3);
    ck_assert(look(pool).quarantined == 2 && look(pool).retried == 3 + 2 * 2);
}
END_TEST

START_TEST(a_block_of_a_loop_has_its_deaths_by_any_of_its_indices)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 2, .retries = 1));
    brood_auto(future) *future = NULL;
    struct turns turns = {.die = 57};
    struct brood_death deaths[MOST];

    ck_assert_int_eq(brood_for_async(pool, take_turns, &future, &turns, 5, 105), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    expect_deaths(future, 57, 2, SIGKILL);
    brood_future_free(future);
    future = NULL;
    ck_assert_int_eq(
        brood_pool_for_async(pool, &take_turns.task, &future, &turns, sizeof(turns), 5, 105, BROOD_FOR(.grain = 10)), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_deaths(future, 54, deaths, MOST), 0);
    for (size_t index = 55; index < 65; index++) {
        ck_assert_int_eq(brood_future_deaths(future, index, deaths, MOST), 2);
        ck_assert_uint_eq(deaths[1].item, 55);
    }
    ck_assert_int_eq(brood_future_deaths(future, 65, deaths, MOST), 0);
}
END_TEST

START_TEST(a_task_that_always_takes_too_long_is_quarantined_too)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 1, .limit_ms = 30));
    brood_auto(future) *future = NULL;
    struct brood_death deaths[2];

    ck_assert_int_eq(brood_apply_async(pool, hang, &future, &(int){0}), 0);
    ck_assert_int_eq(outcome_of(future), -ETIMEDOUT);
    expect_deaths(future, 0, 2, SIGKILL);
    ck_assert_int_eq(brood_future_deaths(future, 0, deaths, 2), 2);
    ck_assert(deaths[0].cause == BROOD_TIMED_OUT && deaths[1].cause == BROOD_TIMED_OUT);
    ck_assert_uint_eq(look(pool).quarantined, 1);
}
END_TEST

/* Whose own wish it was is not poisonous. */
START_TEST(a_task_that_is_killed_on_request_is_not_quarantined)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 5));
    brood_auto(future) *future = NULL;

    ck_assert_int_eq(brood_apply_async(pool, hang, &future, &(int){0}), 0);
    await(brood_future_running(future));
    ck_assert_int_eq(brood_future_kill(future), 0);
    ck_assert_int_eq(outcome_of(future), -ECANCELED);
    expect_deaths(future, 0, 1, SIGKILL);
    ck_assert_ptr_null(strstr(brood_future_error(future), "quarantined"));
    ck_assert(look(pool).quarantined == 0 && look(pool).retried == 0);
}
END_TEST

START_TEST(a_task_cancelled_before_another_attempt_keeps_the_deaths_of_the_first)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 5, .retry_pause_ms = 60000));
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    ck_assert_int_eq(brood_future_deaths(future, 0, &death, 1), -EINPROGRESS);
    await(look(pool).retried == 1);
    ck_assert_int_eq(brood_future_cancel(future), 0);
    ck_assert_int_eq(brood_future_cancel(future), 0);
    ck_assert_int_eq(outcome_of(future), -ECANCELED);
    ck_assert_int_eq(brood_future_state(future), BROOD_FUTURE_CANCELLED_TOLD);
    ck_assert_str_eq(brood_future_error(future), "cancelled before it started");
    expect_deaths(future, 0, 1, SIGKILL);
    ck_assert_int_eq(brood_future_death(future, &death), -ENODATA);
}
END_TEST

START_TEST(a_caller_that_asks_for_fewer_deaths_gets_the_first_and_the_number_of_all)
{
    brood_auto(pool) *pool = open_processes(_i, BROOD_POOL(.workers = 1, .retries = 3));
    brood_auto(future) *future = NULL;
    struct brood_death deaths[3] = {{.attempt = 0}, {.attempt = 0}, {.attempt = 99}};

    ck_assert_int_eq(brood_apply_async(pool, die_by, &future, &(int){SIGKILL}), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_deaths(future, 0, NULL, 0), 4);
    ck_assert_int_eq(brood_future_deaths(future, 0, deaths, 2), 4);
    ck_assert(deaths[0].attempt == 1 && deaths[1].attempt == 2 && deaths[2].attempt == 99);
    ck_assert_int_eq(brood_future_deaths(future, 1, deaths, 3), 0);
}
END_TEST

START_TEST(a_task_that_killed_no_worker_has_no_deaths)
{
    brood_auto(pool) *pool = NULL;
    brood_auto(future) *good = NULL;
    brood_auto(future) *bad = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = (enum brood_kind)_i, .retries = 2)), 0);
    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &good, &(int){2}), 0);
    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &bad, &(int){1}), 0);
    ck_assert_int_eq(outcome_of(good), 0);
    ck_assert_int_eq(outcome_of(bad), -EDOM);
    ck_assert_int_eq(brood_future_deaths(good, 0, &death, 1), 0);
    ck_assert_int_eq(brood_future_deaths(bad, 0, &death, 1), 0);
    ck_assert_uint_eq(look(pool).quarantined, 0);
}
END_TEST

/* From inside, since so many real deaths would take a minute. */
START_TEST(a_future_keeps_a_thousand_deaths_those_that_its_outcome_is_about)
{
    brood_auto(pool) *pool = NULL;
    struct slot_extension extension = {.pid = 1, .signal = SIGKILL};
    struct slot slot = {.status = 0};
    struct answer answer = {.state = SLOT_LOST, .slot = &slot, .extension = &extension};
    struct brood_death *deaths = calloc(DEATHS_KEPT, sizeof(*deaths));
    struct brood_future future;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = BROOD_THREADS)), 0);
    brood__future_init(&future, pool, NULL, 0);
    brood__lock(&pool->lock);
    for (uint32_t attempt = 1; attempt <= DEATHS_KEPT + 10; attempt++)
        brood__deaths_keep(&future, &answer, 7, attempt, "poison");
    for (uint32_t attempt = 1; attempt <= 20; attempt++)
        brood__deaths_keep(&future, &answer, 3, attempt, "poison");
    brood__deaths_keep(&future, &answer, 9, 1, "poison");
    brood__unlock(&pool->lock);
    atomic_store(&future.done, true);
    ck_assert_int_eq(brood_future_deaths(&future, 3, deaths, DEATHS_KEPT), 20);
    ck_assert_int_eq(brood_future_deaths(&future, 9, deaths, DEATHS_KEPT), 0);
    ck_assert_int_eq(brood_future_deaths(&future, 7, deaths, DEATHS_KEPT), DEATHS_KEPT - 20);
    for (uint32_t i = 0; i < DEATHS_KEPT - 20; i++)
        ck_assert_uint_eq(deaths[i].attempt, i + 31);
    brood__future_free_more(&future);
    free(deaths);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quarantine");

    add_loop_tests(suite, "tasks", 0, PROCESS_KINDS, a_task_that_kills_every_worker_is_quarantined_with_all_certificates,
                   what_dies_twice_and_then_succeeds_has_two_certificates,
                   a_task_that_always_takes_too_long_is_quarantined_too,
                   a_task_that_is_killed_on_request_is_not_quarantined,
                   a_task_cancelled_before_another_attempt_keeps_the_deaths_of_the_first,
                   a_caller_that_asks_for_fewer_deaths_gets_the_first_and_the_number_of_all, NULL);
    add_loop_tests(suite, "maps", 0, PROCESS_KINDS, a_poison_item_of_a_map_is_quarantined_and_all_others_are_right,
                   each_item_has_the_certificates_of_its_own_attempts,
                   a_block_of_a_loop_has_its_deaths_by_any_of_its_indices, NULL);
    add_loop_tests(suite, "no deaths", BROOD_PROCESSES, BROOD_INLINE + 1, a_task_that_killed_no_worker_has_no_deaths, NULL);
    add_tests(suite, "bounds", a_future_keeps_a_thousand_deaths_those_that_its_outcome_is_about, NULL);
    return run_suite(suite);
}
