/* conform_pool.c - what a pool does, whatever its workers are: each test runs over every kind. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool/core/pool.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

enum { CROWD_MAPS = 8, CROWD_ITEMS = 2200 };

static struct brood_pool *open_pool(int kind, int workers, size_t queue)
{
    struct brood_pool *pool = NULL;
    int r = brood_pool_open(&pool, BROOD_POOL(.kind = worker_kinds[kind].kind, .workers = workers, .queue = queue,
                                              .worker = worker_kinds[kind].is_exec ? worker_path() : NULL));

    ck_assert_msg(r == 0, "%s: open: %s", worker_kinds[kind].name, brood_error());
    return pool;
}

/* ---- tasks that wait at a gate ---- */

static struct brood_future *submit_waiter(struct brood_pool *pool, const struct gate *gate)
{
    struct brood_future *future = NULL;

    ck_assert_int_eq(brood_apply_async(pool, wait_at, &future, gate), 0);
    return future;
}

static void wait_until_running(struct brood_future *future, const struct gate *gate)
{
    await(is_at_gate(gate));
    ck_assert(brood_future_running(future));
}

static void expect_done(struct brood_future *future, int outcome)
{
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_item(future, 0), outcome);
}

/* ---- apply ---- */

/* semantics: M2 */
START_TEST(apply_returns_the_result)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    double x = 3, y = 0;

    ck_assert_int_eq(brood_apply(pool, square, &y, &x), 0);
    ck_assert_double_eq(y, 9);
    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){0.5}), 0);
    ck_assert_double_eq(y, 0.25);
}
END_TEST

START_TEST(a_failed_task_gives_its_error_and_words)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    int half = 77;

    ck_assert_int_eq(brood_apply(pool, refuse_odd, &half, &(int){7}), -EDOM);
    ck_assert_str_eq(brood_error(), "7 is odd");
    ck_assert_int_eq(half, 77);
    ck_assert_int_eq(brood_apply(pool, refuse_odd, &half, &(int){8}), 0);
    ck_assert_int_eq(half, 4);
}
END_TEST

START_TEST(words_arrive_whole_up_to_127_bytes_and_are_cut_there)
{
    static const int lengths[] = {1, 126, 127, 128, 400};
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    int nothing;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        ck_assert_int_eq(brood_apply(pool, complain, &nothing, &lengths[i]), -EDOM);
        ck_assert_uint_eq(strlen(brood_error()), lengths[i] < 127 ? (size_t)lengths[i] : 127);
        ck_assert_uint_eq(strspn(brood_error(), "0"), strlen(brood_error()));
    }
}
END_TEST

START_TEST(large_arguments_and_results_travel_whole)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    struct block in, out;

    for (size_t i = 0; i < sizeof(in.bytes); i++)
        in.bytes[i] = (unsigned char)(i * 7);
    ck_assert_int_eq(brood_apply(pool, rotate, &out, &in), 0);
    ck_assert_int_eq(out.bytes[0], in.bytes[999]);
    ck_assert_mem_eq(out.bytes + 1, in.bytes, 999);
}
END_TEST

START_TEST(arguments_and_results_are_aligned_for_their_type)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct wide in = {{2, 4, 6, 8}}, out;

    ck_assert_int_eq(brood_apply(pool, halve, &out, &in), 0);
    ck_assert_double_eq(out.lanes[3], 4);
}
END_TEST

START_TEST(a_result_may_be_ignored)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);

    ck_assert_int_eq(brood_apply(pool, square, NULL, &(double){2}), 0);
    ck_assert_int_eq(brood_apply(pool, rotate, NULL, &(struct block){{1}}), 0);
}
END_TEST

START_TEST(bytes_of_any_length_go_there_and_back)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 24, 25, 1000, 100000, 1 << 20};
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    unsigned char *in = malloc(1 << 20), *out = malloc(1 << 20);
    size_t wrong = 0;

    for (size_t i = 0; i < 1 << 20; i++)
        in[i] = (unsigned char)(i * 31 + i / 256);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct brood_space space = {out, 1 << 20};

        ck_assert_int_eq(brood_apply_bytes(pool, reverse, &space, (struct brood_bytes){in, lengths[i]}), 0);
        ck_assert_uint_eq(space.len, lengths[i]);
        for (size_t k = 0; k < lengths[i]; k++)
            wrong += out[k] != in[lengths[i] - 1 - k];
        ck_assert_uint_eq(wrong, 0);
    }
    free(in);
    free(out);
}
END_TEST

/* semantics: M8 */
START_TEST(a_result_larger_than_promised_is_refused_with_words)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    char text[100];
    struct brood_space space = {text, sizeof(text)};

    ck_assert_int_eq(brood_apply_bytes(pool, boast, &space, (struct brood_bytes){"0123456789", 10}), 0);
    ck_assert_uint_eq(space.len, 10);
    space.len = sizeof(text);
    ck_assert_int_eq(brood_apply_bytes(pool, boast, &space, (struct brood_bytes){"0123456789x", 11}), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(brood_error(), "promised at most 10"));
}
END_TEST

START_TEST(a_result_larger_than_the_room_is_refused_and_not_lost)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    brood_auto(future) *future = NULL;
    char text[10];
    struct brood_space space = {text, 3};

    ck_assert_int_eq(brood_apply_bytes(pool, reverse, &space, (struct brood_bytes){"hello", 5}), -EMSGSIZE);
    ck_assert_str_eq(brood_error(), "a result of 5 bytes, and the caller has room for 3");
    ck_assert_int_eq(brood_apply_bytes_async(pool, reverse, &future, ((struct brood_bytes){"hello", 5})), 0);
    ck_assert_int_eq(brood_future_wait(future, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_result(future, text, 4), -EMSGSIZE);
    ck_assert_uint_eq(brood_future_size(future), 5);
    ck_assert_int_eq(brood_future_result(future, text, sizeof(text)), 0);
    ck_assert_mem_eq(text, "olleh", 5);
}
END_TEST

/* semantics: M7 */
START_TEST(an_argument_of_the_wrong_size_is_refused)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct brood_space space = {NULL, 0};

    ck_assert_int_eq(brood_pool_apply_bytes(pool, &square.task, &space, (struct brood_bytes){"abc", 3}), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "'square' takes 8 bytes, and was given 3"));
}
END_TEST

START_TEST(a_typed_task_is_not_called_without_room_for_its_result)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct brood_space four = {&(int){0}, 4};
    int r = brood_pool_apply_bytes(pool, &square.task, &four, (struct brood_bytes){&(double){2}, 8});

    ck_assert_msg(r == -EPROTO || r == -EMSGSIZE, "%d", r);
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), 0);
}
END_TEST

static int lonely(struct brood_bytes arg, struct brood_reply *reply)
{
    (void)arg;
    return brood_reply_set(reply, "", 0);
}

static const struct brood_task unknown_task = {"unheard_of", lonely, 0, 0};

START_TEST(a_task_that_the_worker_does_not_know_is_named)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);

    ck_assert_int_eq(brood_pool_apply(pool, &unknown_task, NULL, NULL), -ENOENT);
    ck_assert_ptr_nonnull(strstr(brood_error(), "'unheard_of'"));
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), 0);
}
END_TEST

START_TEST(tasks_run_in_workers_that_know_their_number)
{
    brood_auto(pool) *pool = open_pool(_i, 3, 0);
    struct place places[64];
    int args[64] = {0};

    ck_assert_int_eq(brood_worker_id(), -1);
    ck_assert_int_eq(brood_map(pool, whereabouts, places, args, 64), 0);
    for (int i = 0; i < 64; i++) {
        ck_assert_int_ge(places[i].worker, 0);
        ck_assert_int_lt(places[i].worker, brood_pool_workers(pool));
        ck_assert_int_eq(places[i].pid == getpid(), worker_kinds[_i].kind != BROOD_PROCESSES);
    }
    ck_assert_int_eq(brood_worker_id(), -1);
}
END_TEST

START_TEST(a_task_may_open_a_pool_of_its_own)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    int sum = 0;

    for (int kind = BROOD_PROCESSES; kind <= BROOD_INLINE; kind++) {
        ck_assert_msg(brood_apply(pool, nest, &sum, &kind) == 0, "%s", brood_error());
        ck_assert_int_eq(sum, 99 * 99);
    }
}
END_TEST

/* ---- futures ---- */

START_TEST(a_thousand_futures_each_have_their_own_result)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    struct brood_future *futures[1000];

    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    for (int i = 999; i >= 0; i--) {
        double y;

        ck_assert_int_eq(brood_future_wait(futures[i], BROOD_FOREVER), 0);
        ck_assert_int_eq(brood_future_result(futures[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        brood_future_free(futures[i]);
    }
}
END_TEST

/* semantics: X14 */
START_TEST(many_more_tasks_than_the_queue_holds_all_run)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 8);
    struct brood_future *futures[500];
    double y;

    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    for (int i = 0; i < 500; i++) {
        ck_assert_int_eq(brood_future_wait(futures[i], BROOD_FOREVER), 0);
        ck_assert_int_eq(brood_future_result(futures[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        brood_future_free(futures[i]);
    }
}
END_TEST

START_TEST(an_outcome_may_be_asked_for_again)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    brood_auto(future) *good = NULL;
    brood_auto(future) *bad = NULL;
    double y;

    ck_assert_int_eq(brood_apply_async(pool, square, &good, &(double){3}), 0);
    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &bad, &(int){5}), 0);
    expect_done(good, 0);
    expect_done(bad, -EDOM);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(brood_future_result(good, &y, sizeof(y)), 0);
        ck_assert_double_eq(y, 9);
        ck_assert_str_eq(brood_future_error(good), "");
        ck_assert_int_eq(brood_future_result(bad, NULL, 0), -EDOM);
        ck_assert_str_eq(brood_future_error(bad), "5 is odd");
        ck_assert_int_eq(brood_future_death(bad, &(struct brood_death){0}), -ENODATA);
    }
}
END_TEST

/* semantics: M12 */
START_TEST(a_wait_ends_at_its_deadline_and_may_be_repeated)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();
    brood_auto(future) *future = submit_waiter(pool, &gate);
    int64_t began = now_ms();

    ck_assert_int_eq(brood_future_result(future, &(int){0}, sizeof(int)), -EINPROGRESS);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 50);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    ck_assert_int_eq(brood_future_wait(future, BROOD_NOW), -EAGAIN);
    ck_assert(!brood_future_done(future));
    open_gate(&gate);
    expect_done(future, 0);
    ck_assert(brood_future_done(future));
    ck_assert_int_eq(brood_future_wait(future, BROOD_NOW), 0);
    remove_gate(&gate);
}
END_TEST

START_TEST(cancel_keeps_a_task_from_starting_and_a_running_one_is_busy)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();
    brood_auto(future) *running = submit_waiter(pool, &gate);
    brood_auto(future) *pending = NULL;

    wait_until_running(running, &gate);
    ck_assert_int_eq(brood_apply_async(pool, square, &pending, &(double){2}), 0);
    ck_assert(!brood_future_running(pending));
    ck_assert_int_eq(brood_future_cancel(running), -EBUSY);
    ck_assert_int_eq(brood_future_cancel(pending), 0);
    ck_assert_int_eq(brood_future_cancel(pending), 0);
    ck_assert(brood_future_done(pending));
    ck_assert_int_eq(brood_future_result(pending, &(double){0}, sizeof(double)), -ECANCELED);
    open_gate(&gate);
    expect_done(running, 0);
    ck_assert_int_eq(brood_future_cancel(running), -EBUSY);
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){2}), 0);
    remove_gate(&gate);
}
END_TEST

START_TEST(a_future_freed_early_lets_its_task_run)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();

    brood_future_free(submit_waiter(pool, &gate));
    brood_future_free(NULL);
    open_gate(&gate); /* blocks unless the task has come there */
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    pool = NULL;
    remove_gate(&gate);
}
END_TEST

START_TEST(a_full_queue_is_eagain_now_and_etimedout_later)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 2);
    struct gate gate = new_gate();
    brood_auto(future) *first = submit_waiter(pool, &gate);
    brood_auto(future) *second = NULL;
    brood_auto(future) *third = NULL;
    double x = 2;

    ck_assert_int_eq(brood_apply_async(pool, square, &second, &x), 0);
    ck_assert_int_eq(brood_apply_async_until(pool, square, &third, BROOD_NOW, &x), -EAGAIN);
    ck_assert_int_eq(brood_apply_async_until(pool, square, &third, brood_after_ms(30), &x), -ETIMEDOUT);
    ck_assert_ptr_null(third);
    open_gate(&gate);
    ck_assert_int_eq(brood_apply_async(pool, square, &third, &x), 0);
    expect_done(first, 0);
    expect_done(second, 0);
    expect_done(third, 0);
    remove_gate(&gate);
}
END_TEST

START_TEST(a_task_behind_a_long_one_is_run_by_an_idle_worker)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    struct gate gate = new_gate();
    brood_auto(future) *slow = submit_waiter(pool, &gate);
    struct brood_future *quick[20];

    wait_until_running(slow, &gate);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &quick[i], &(double){i}), 0);
    for (int i = 0; i < 20; i++) {
        expect_done(quick[i], 0);
        brood_future_free(quick[i]);
    }
    ck_assert(!brood_future_done(slow));
    open_gate(&gate);
    expect_done(slow, 0);
    remove_gate(&gate);
}
END_TEST

static void run_short_tasks(struct brood_pool *pool, int count)
{
    struct brood_future *futures[300];

    for (int i = 0; i < count; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    for (int i = 0; i < count; i++) {
        expect_done(futures[i], 0);
        brood_future_free(futures[i]);
    }
}

/* Short tasks are left to the worker that is awake.  What comes behind them may be long, and the program does nothing that
 * would bring it on: it only looks whether all have begun. */
START_TEST(long_tasks_after_short_ones_run_side_by_side_although_no_thread_waits)
{
    enum { WORKERS = 3, ROUNDS = 20 };
    brood_auto(pool) *pool = open_pool(_i, WORKERS, 0);

    for (int round = 0; round < ROUNDS; round++) {
        struct brood_future *slow[WORKERS];
        struct gate gates[WORKERS];

        run_short_tasks(pool, 300);
        nanosleep(&(struct timespec){.tv_nsec = round * 100000}, NULL); /* all kinds of sleep and half-sleep */
        for (int i = 0; i < WORKERS; i++)
            gates[i] = new_gate();
        for (int i = 0; i < WORKERS; i++)
            slow[i] = submit_waiter(pool, &gates[i]);
        for (int i = 0; i < WORKERS; i++)
            await(is_at_gate(&gates[i]));
        for (int i = 0; i < WORKERS; i++) {
            open_gate(&gates[i]);
            expect_done(slow[i], 0);
            brood_future_free(slow[i]);
            remove_gate(&gates[i]);
        }
    }
}
END_TEST

/* ---- map ---- */

static double *numbers(size_t n)
{
    double *array = malloc(n * sizeof(double));

    for (size_t i = 0; i < n; i++)
        array[i] = (double)i;
    return array;
}

static size_t wrong_squares(const double *out, const double *in, size_t n)
{
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++)
        wrong += out[i] != in[i] * in[i];
    return wrong;
}

/* semantics: M3 X4 */
START_TEST(map_keeps_the_order_for_every_length_and_chunk)
{
    static const size_t lengths[] = {1, 2, 3, 7, 64, 1000, 65537}, chunks[] = {0, 1, 3, 1000, SIZE_MAX};
    brood_auto(pool) *pool = open_pool(_i, 3, 0);
    double *in = numbers(65537), *out = malloc(65537 * sizeof(double));

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for (size_t k = 0; k < sizeof(chunks) / sizeof(chunks[0]); k++) {
            memset(out, 0, lengths[i] * sizeof(double));
            ck_assert_int_eq(brood_pool_map(pool, &square.task, out, in, lengths[i], BROOD_MAP(.chunk = chunks[k])), 0);
            ck_assert_uint_eq(wrong_squares(out, in, lengths[i]), 0);
        }
    free(in);
    free(out);
}
END_TEST

START_TEST(an_empty_map_is_fine)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    brood_auto(future) *future = NULL;

    ck_assert_int_eq(brood_map(pool, square, (double *)NULL, (double *)NULL, 0), 0);
    ck_assert_int_eq(brood_map_async(pool, square, &future, (double *)NULL, (double *)NULL, 0), 0);
    ck_assert(brood_future_done(future));
    ck_assert_int_eq(brood_future_result(future, NULL, 0), 0);
    ck_assert_int_eq(brood_future_item(future, 0), -ERANGE);
}
END_TEST

/* semantics: M6 */
START_TEST(map_runs_every_item_although_some_fail_and_tells_which)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    brood_auto(future) *future = NULL;
    int in[1000], out[1000] = {0};

    for (int i = 0; i < 1000; i++)
        in[i] = i % 10 == 3 ? 2 * i + 1 : 2 * i;
    ck_assert_int_eq(brood_map_async(pool, refuse_odd, &future, out, in, 1000), 0);
    ck_assert_int_eq(brood_future_wait(future, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_result(future, NULL, 0), -EDOM);
    ck_assert_str_eq(brood_future_error(future), "7 is odd");
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(brood_future_item(future, (size_t)i), i % 10 == 3 ? -EDOM : 0);
        if (i % 10 != 3)
            ck_assert_int_eq(out[i], i);
    }
    ck_assert_int_eq(brood_future_item(future, 1000), -ERANGE);
    ck_assert_int_eq(brood_map(pool, refuse_odd, out, in, 3), 0);
    ck_assert_int_eq(brood_map(pool, refuse_odd, out, in, 4), -EDOM);
    ck_assert_str_eq(brood_error(), "item 3: 7 is odd");
}
END_TEST

START_TEST(a_map_of_more_than_two_windows_is_whole)
{
    enum { N = 3000000 };
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    double *in = numbers(N), *out = malloc(N * sizeof(double));

    ck_assert_int_eq(brood_map(pool, square, out, in, N), 0);
    ck_assert_uint_eq(wrong_squares(out, in, N), 0);
    free(in);
    free(out);
}
END_TEST

START_TEST(a_map_of_more_items_than_two_windows_of_shared_arrays_is_whole)
{
    enum { N = 9000000 };
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    int *in = brood_alloc(pool, N * sizeof(int)), *out = brood_alloc(pool, N * sizeof(int));
    size_t wrong = 0;

    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(out);
    for (int i = 0; i < N; i++)
        in[i] = 2 * i;
    ck_assert_int_eq(brood_map(pool, refuse_odd, out, in, N), 0);
    for (int i = 0; i < N; i++)
        wrong += out[i] != i;
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(arrays_of_shared_memory_are_used_where_they_lie)
{
    enum { N = 100000 };
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    double *in = brood_alloc(pool, N * sizeof(double)), *out = brood_alloc(pool, N * sizeof(double));

    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(wrong_squares(out, in, N), 0); /* zeroed, both */
    for (size_t i = 0; i < N; i++)
        in[i] = (double)i;
    ck_assert_int_eq(brood_map(pool, square, out, in, N), 0);
    ck_assert_uint_eq(wrong_squares(out, in, N), 0);
    brood_free(pool, in);
    brood_free(pool, out);
    brood_free(pool, NULL);
}
END_TEST

START_TEST(maps_and_tasks_share_the_workers)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    struct brood_future *maps[20], *tasks[20];
    double *in = numbers(1000), *out = malloc(20 * 1000 * sizeof(double)), y;

    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(brood_map_async(pool, square, &maps[i], out + i * 1000, in, 1000), 0);
        ck_assert_int_eq(brood_apply_async(pool, square, &tasks[i], &(double){i}), 0);
    }
    for (int i = 0; i < 20; i++) {
        expect_done(maps[i], 0);
        expect_done(tasks[i], 0);
        ck_assert_int_eq(brood_future_result(tasks[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        ck_assert_uint_eq(wrong_squares(out + i * 1000, in, 1000), 0);
        brood_future_free(maps[i]);
        brood_future_free(tasks[i]);
    }
    free(in);
    free(out);
}
END_TEST

START_TEST(a_cancelled_map_runs_no_more_items)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate(), gates[50];
    int out[50] = {0};
    brood_auto(future) *future = NULL;

    for (int i = 0; i < 50; i++)
        gates[i] = gate;
    ck_assert_int_eq(brood_map_async(pool, wait_at, &future, out, gates, 50), 0);
    wait_until_running(future, &gate);
    ck_assert_int_eq(brood_future_cancel(future), -EBUSY);
    open_gate(&gate);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_result(future, NULL, 0), -ECANCELED);
    ck_assert_int_eq(brood_future_item(future, 49), -ECANCELED);
    remove_gate(&gate);
}
END_TEST

START_TEST(a_map_that_has_not_started_is_cancelled_whole)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();
    brood_auto(future) *running = submit_waiter(pool, &gate);
    brood_auto(future) *future = NULL;
    double *in = numbers(100), *out = calloc(100, sizeof(double));

    wait_until_running(running, &gate);
    ck_assert_int_eq(brood_map_async(pool, square, &future, out, in, 100), 0);
    ck_assert_int_eq(brood_future_cancel(future), 0);
    ck_assert_int_eq(brood_future_wait(future, BROOD_NOW), 0);
    for (size_t i = 0; i < 100; i++)
        ck_assert_int_eq(brood_future_item(future, i), -ECANCELED);
    open_gate(&gate);
    expect_done(running, 0);
    remove_gate(&gate);
    free(in);
    free(out);
}
END_TEST

/* Both workers stand at a gate, and behind them the lanes are full, of 17 slots each: seven maps of two windows take 14, the
 * tasks at the gates and two others one each, and the first window of the last map the rest.  (A map of threads has one
 * window, in the caller's memory.) */
struct crowd {
    struct gate gates[2];
    struct brood_future *slow[2], *quick[2], *maps[CROWD_MAPS];
    struct block *in, *out;
};

static struct crowd new_crowd(struct brood_pool *pool)
{
    struct crowd crowd = {.gates = {new_gate(), new_gate()},
                          .in = calloc(CROWD_ITEMS, sizeof(struct block)),
                          .out = calloc((size_t)CROWD_MAPS * CROWD_ITEMS, sizeof(struct block))};

    for (int i = 0; i < CROWD_ITEMS; i++)
        crowd.in[i].bytes[0] = (unsigned char)i;
    for (int i = 0; i < 2; i++)
        crowd.slow[i] = submit_waiter(pool, &crowd.gates[i]);
    for (int i = 0; i < 2; i++) {
        wait_until_running(crowd.slow[i], &crowd.gates[i]);
        ck_assert_int_eq(brood_apply_async(pool, square, &crowd.quick[i], &(double){i}), 0);
    }
    for (int i = 0; i < CROWD_MAPS; i++)
        ck_assert_int_eq(
            brood_map_async(pool, rotate, &crowd.maps[i], crowd.out + (size_t)i * CROWD_ITEMS, crowd.in, CROWD_ITEMS), 0);
    return crowd;
}

/* Does a window of a map wait for a slot? */
static bool has_stalled(struct brood_pool *pool)
{
    bool has;

    ck_assert_int_eq(brood__pool_enter(pool), 0);
    has = pool->windows.stalled != NULL;
    brood__pool_leave(pool);
    return has;
}

static void let_crowd_through(struct crowd *crowd)
{
    for (int i = 0; i < 2; i++)
        open_gate(&crowd->gates[i]);
}

static void end_crowd(struct crowd *crowd)
{
    for (int i = 0; i < 2; i++) {
        expect_done(crowd->slow[i], 0);
        expect_done(crowd->quick[i], 0);
        brood_future_free(crowd->slow[i]);
        brood_future_free(crowd->quick[i]);
        remove_gate(&crowd->gates[i]);
    }
    for (int i = 0; i < CROWD_MAPS; i++)
        brood_future_free(crowd->maps[i]);
    free(crowd->in);
    free(crowd->out);
}

START_TEST(a_map_waits_for_room_when_every_lane_is_full)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 16);
    struct crowd crowd = new_crowd(pool);

    ck_assert_int_eq(has_stalled(pool), _i >= BY_FORKS);
    let_crowd_through(&crowd);
    for (int i = CROWD_MAPS - 1; i >= 0; i--)
        expect_done(crowd.maps[i], 0);
    for (int i = 0; i < CROWD_MAPS * CROWD_ITEMS; i++)
        if (crowd.out[i].bytes[1] != (unsigned char)(i % CROWD_ITEMS))
            ck_abort_msg("item %d of map %d is wrong", i % CROWD_ITEMS, i / CROWD_ITEMS);
    end_crowd(&crowd);
}
END_TEST

/* It ends at once, though its second window waits for a slot, and no slot gets free. */
START_TEST(a_map_that_waits_for_room_can_be_cancelled)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 16);
    struct crowd crowd = new_crowd(pool);

    ck_assert_int_eq(brood_future_cancel(crowd.maps[CROWD_MAPS - 1]), 0);
    ck_assert_int_eq(brood_future_wait(crowd.maps[CROWD_MAPS - 1], brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_item(crowd.maps[CROWD_MAPS - 1], 0), -ECANCELED);
    ck_assert_int_eq(brood_future_item(crowd.maps[CROWD_MAPS - 1], CROWD_ITEMS - 1), -ECANCELED);
    let_crowd_through(&crowd);
    for (int i = CROWD_MAPS - 2; i >= 0; i--)
        expect_done(crowd.maps[i], 0);
    end_crowd(&crowd);
}
END_TEST

/* ---- many threads ---- */

struct user {
    pthread_t thread;
    struct brood_pool *pool;
    int number, mistakes;
};

static void *use_pool(void *argument)
{
    struct user *user = argument;
    double in[100], out[100], y;

    for (int i = 0; i < 60; i++) {
        struct brood_future *future = NULL;
        double x = user->number * 1000 + i;

        user->mistakes += brood_apply(user->pool, square, &y, &x) != 0 || y != x * x;
        user->mistakes += brood_apply_async(user->pool, square, &future, &x) != 0 ||
                          brood_future_wait(future, BROOD_FOREVER) != 0 ||
                          brood_future_result(future, &y, sizeof(y)) != 0 || y != x * x;
        brood_future_free(future);
        if (i % 30 != 0)
            continue;
        for (int k = 0; k < 100; k++)
            in[k] = x + k;
        user->mistakes += brood_map(user->pool, square, out, in, 100) != 0 || out[99] != in[99] * in[99];
    }
    return NULL;
}

START_TEST(any_number_of_threads_use_one_pool)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 16);
    struct user users[70];

    for (int i = 0; i < 70; i++) {
        users[i] = (struct user){.pool = pool, .number = i};
        ck_assert_int_eq(pthread_create(&users[i].thread, NULL, use_pool, &users[i]), 0);
    }
    for (int i = 0; i < 70; i++) {
        ck_assert_int_eq(pthread_join(users[i].thread, NULL), 0);
        ck_assert_int_eq(users[i].mistakes, 0);
    }
}
END_TEST

static void *wait_for_it(void *argument)
{
    struct brood_future *future = argument;

    return brood_future_wait(future, brood_after_ms(60000)) == 0 ? future : NULL;
}

/* Three workers at gates, and a task at a fourth behind them.  Two are let go: one of these steals the fourth, the other
 * goes to sleep.  In the thief's own lane nothing is ahead of what comes next, and yet no worker is there. */
START_TEST(a_task_in_the_lane_of_a_thief_is_run_by_a_sleeping_worker)
{
    brood_auto(pool) *pool = open_pool(_i, 3, 0);
    struct gate gates[4];
    struct brood_future *slow[4];

    for (int i = 0; i < 4; i++) {
        gates[i] = new_gate();
        slow[i] = submit_waiter(pool, &gates[i]);
        if (i < 3)
            wait_until_running(slow[i], &gates[i]);
    }
    for (int i = 1; i < 3; i++) {
        open_gate(&gates[i]);
        expect_done(slow[i], 0);
    }
    wait_until_running(slow[3], &gates[3]);
    for (int i = 0; i < 20; i++) {
        brood_auto(future) *quick = NULL;

        ck_assert_int_eq(brood_apply_async(pool, square, &quick, &(double){i}), 0);
        expect_done(quick, 0);
    }
    for (int i = 0; i < 4; i++) {
        if (i % 3 == 0)
            open_gate(&gates[i]);
        expect_done(slow[i], 0);
        brood_future_free(slow[i]);
        remove_gate(&gates[i]);
    }
}
END_TEST

START_TEST(several_threads_wait_for_one_future)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();
    brood_auto(future) *future = submit_waiter(pool, &gate);
    pthread_t threads[8];

    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for_it, future), 0);
    wait_until_running(future, &gate);
    open_gate(&gate);
    for (int i = 0; i < 8; i++) {
        void *result;

        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_eq(result, future);
    }
    remove_gate(&gate);
}
END_TEST

/* ---- the life of a pool ---- */

START_TEST(closing_for_ever_finishes_everything)
{
    struct brood_pool *pool = open_pool(_i, 2, 0);
    struct brood_future *futures[200];
    double y;

    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &futures[i], &(double){i}), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    for (int i = 0; i < 200; i++) {
        ck_assert(brood_future_done(futures[i]));
        ck_assert_int_eq(brood_future_result(futures[i], &y, sizeof(y)), 0);
        ck_assert_double_eq(y, (double)i * i);
        brood_future_free(futures[i]);
    }
}
END_TEST

START_TEST(closing_finishes_what_was_dropped_after_many_laps_of_the_ring)
{
    struct brood_pool *pool = open_pool(_i, 1, 16);
    struct brood_future *pair[2];

    for (int i = 0; i < 200; i++) {
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(brood_apply_async(pool, square, &pair[k], &(double){i}), 0);
        for (int k = 1; k >= 0; k--) {
            expect_done(pair[k], 0);
            brood_future_free(pair[k]);
        }
    }
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(brood_apply_async(pool, square, &pair[0], &(double){i}), 0);
        brood_future_free(pair[0]);
    }
    ck_assert_int_eq(brood_pool_close(pool, brood_after_ms(120000)), 0);
}
END_TEST

START_TEST(closing_now_drops_what_has_not_started)
{
    struct brood_pool *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();
    brood_auto(future) *running = submit_waiter(pool, &gate);
    struct brood_future *pending[100];
    bool is_threads = worker_kinds[_i].kind == BROOD_THREADS;

    wait_until_running(running, &gate);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &pending[i], &(double){i}), 0);
    if (is_threads)
        open_gate(&gate); /* a thread cannot be killed: it is waited for */
    int r = brood_pool_close(pool, BROOD_NOW);

    ck_assert(r == -ETIMEDOUT || is_threads);
    ck_assert(brood_future_done(running));
    if (!is_threads)
        ck_assert_int_eq(brood_future_item(running, 0), -ESHUTDOWN);
    for (int i = 0; i < 100; i++) {
        int outcome = brood_future_item(pending[i], 0);

        ck_assert_msg(outcome == -ESHUTDOWN || (is_threads && outcome == 0), "%d", outcome);
        ck_assert_int_ne(brood_future_error(pending[i])[0] == '\0', outcome != 0);
        brood_future_free(pending[i]);
    }
    remove_gate(&gate);
}
END_TEST

static void *open_later(void *gate)
{
    for (int i = 0; i < 50; i++) /* as likely as not the closer sleeps by then */
        rest();
    open_gate(gate);
    return NULL;
}

struct latecomer {
    struct brood_future *future;
    struct gate *gate;
};

static void *open_when_the_latecomer_is_dropped(void *argument)
{
    const struct latecomer *latecomer = argument;

    ck_assert_int_eq(outcome_of(latecomer->future), -ESHUTDOWN);
    open_gate(latecomer->gate);
    return NULL;
}

/* Processes tell the same: see above. */
START_TEST(closing_now_drops_what_has_not_started_while_a_thread_is_waited_for)
{
    struct brood_pool *pool = open_pool(_i, 1, 0);
    struct gate gate = new_gate();
    brood_auto(future) *running = submit_waiter(pool, &gate);
    brood_auto(future) *pending = NULL;
    struct latecomer latecomer = {.gate = &gate};
    pthread_t opener;

    wait_until_running(running, &gate);
    ck_assert_int_eq(brood_apply_async(pool, square, &pending, &(double){1}), 0);
    latecomer.future = pending;
    ck_assert_int_eq(pthread_create(&opener, NULL, open_when_the_latecomer_is_dropped, &latecomer), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_NOW), -ETIMEDOUT);
    ck_assert_int_eq(pthread_join(opener, NULL), 0);
    expect_done(running, 0);
    ck_assert_int_eq(brood_future_result(pending, &(double){0}, sizeof(double)), -ESHUTDOWN);
    ck_assert_str_eq(brood_future_error(pending), "the pool was closed first");
    remove_gate(&gate);
}
END_TEST

START_TEST(closing_is_woken_by_a_long_task_whose_followers_were_stolen)
{
    struct brood_pool *pool = open_pool(_i, 2, 0);
    struct gate gate = new_gate();
    struct brood_future *slow = submit_waiter(pool, &gate), *quick[40];
    int64_t began = now_ms();
    pthread_t opener;

    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(brood_apply_async(pool, square, &quick[i], &(double){i}), 0);
    for (int i = 0; i < 40; i++) {
        expect_done(quick[i], 0);
        brood_future_free(quick[i]);
    }
    ck_assert_int_eq(pthread_create(&opener, NULL, open_later, &gate), 0);
    ck_assert_int_eq(brood_pool_close(pool, brood_after_ms(120000)), 0);
    ck_assert_int_lt(now_ms() - began, 60000);
    ck_assert_int_eq(pthread_join(opener, NULL), 0);
    expect_done(slow, 0);
    brood_future_free(slow);
    remove_gate(&gate);
}
END_TEST

START_TEST(closing_waits_for_threads_that_wait)
{
    struct brood_pool *pool = open_pool(_i, 2, 0);
    struct gate gate = new_gate();
    brood_auto(future) *future = submit_waiter(pool, &gate);
    pthread_t threads[8];

    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for_it, future), 0);
    wait_until_running(future, &gate);
    if (worker_kinds[_i].kind == BROOD_THREADS)
        open_gate(&gate);
    (void)brood_pool_close(pool, BROOD_NOW);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert(brood_future_done(future));
    remove_gate(&gate);
}
END_TEST

/* semantics: M16 M24 X18 */
START_TEST(a_scope_may_be_left_with_everything_open)
{
    brood_auto(pool) *pool = open_pool(_i, 2, 0);
    brood_auto(future) *future = NULL;
    brood_auto(future) *map = NULL;
    static double in[1000], out[1000];

    ck_assert_int_eq(brood_apply_async(pool, square, &future, &(double){1}), 0);
    ck_assert_int_eq(brood_map_async(pool, square, &map, out, in, 1000), 0);
}
END_TEST

START_TEST(a_fork_of_the_host_cannot_use_its_pool)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    int status;
    pid_t child = fork();

    if (child == 0) {
        double y;
        int r = brood_apply(pool, square, &y, &(double){1});

        _exit(r == -EPERM && brood_pool_close(pool, BROOD_NOW) == -EPERM ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), 0);
}
END_TEST

/* semantics: M1 X1 */
START_TEST(bad_options_are_refused_with_words)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = -1)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "-1 workers"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = BROOD_WORKERS_MAX + 1)), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .workers_max = 1)), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .workers_min = 3)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), ".workers_min = 3"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .workers_min = -2)), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.idle_ms = -1)), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.deaths_ms = -1)), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = (enum brood_kind)9)), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = BROOD_THREADS, .worker = "x")), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, &(struct brood_pool_options){.size = 0}), -EINVAL);
    ck_assert_int_eq(brood_pool_open(&pool, &(struct brood_pool_options){.size = 4096}), -EINVAL);
    ck_assert_ptr_null(pool);
    ck_assert_int_eq(brood_pool_close(NULL, BROOD_FOREVER), 0);
}
END_TEST

BROOD_LOOP(skip, int)
{
    (void)context, (void)index;
    return 0;
}

/* A program that was compiled with older headers says less, and what it does not say is the default; one that says more
 * than the library knows is refused. */
START_TEST(options_are_as_long_as_the_program_knew_them)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    brood_auto(future) *future = NULL;
    brood_auto(imap) *imap = NULL;
    double x = 3, y = 0;
    const struct brood_bytes arg = {&x, sizeof(x)};

    /* What lies behind what it knew is other memory. */
    struct brood_call_options call = {.size = offsetof(struct brood_call_options, retries), .retries = -77};
    struct brood_map_options map = {.size = offsetof(struct brood_map_options, limit_ms), .limit_ms = 1, .grace_ms = 1};
    struct brood_for_options loop = {.size = offsetof(struct brood_for_options, limit_ms), .limit_ms = 1, .grace_ms = 1};
    struct brood_imap_options stream = {.size = offsetof(struct brood_imap_options, chunk), .chunk = SIZE_MAX};

    ck_assert_int_eq(brood_pool_submit(pool, &square.task, &future, arg, &call, BROOD_FOREVER), 0);
    ck_assert_int_eq(outcome_of(future), 0);
    ck_assert_int_eq(brood_pool_map(pool, &square.task, &y, &x, 1, &map), 0);
    ck_assert_double_eq(y, 9);
    ck_assert_int_ne(brood_pool_for(pool, &skip.task, NULL, 0, 0, 9, &loop), -EINVAL); /* an executable does not know it */
    ck_assert_int_eq(brood_pool_imap(pool, &square.task, &imap, &x, 1, &stream), 0);
    call.size = map.size = loop.size = stream.size = 1024;
    ck_assert_int_eq(brood_pool_submit(pool, &square.task, &future, arg, &call, BROOD_FOREVER), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "options of 1024 bytes"));
    ck_assert_int_eq(brood_pool_map(pool, &square.task, &y, &x, 1, &map), -EINVAL);
    ck_assert_int_eq(brood_pool_for(pool, &skip.task, NULL, 0, 0, 9, &loop), -EINVAL);
    brood_imap_close(imap);
    imap = NULL;
    ck_assert_int_eq(brood_pool_imap(pool, &square.task, &imap, &x, 1, &stream), -EINVAL);
}
END_TEST

START_TEST(a_map_without_arrays_is_refused)
{
    brood_auto(pool) *pool = open_pool(_i, 1, 0);
    double x[2] = {1, 2};

    ck_assert_int_eq(brood_map(pool, square, (double *)NULL, x, 2), -EINVAL);
    ck_assert_int_eq(brood_map(pool, square, x, (double *)NULL, 2), -EINVAL);
    ck_assert_int_eq(brood_map(pool, square, x, x, SIZE_MAX / 4), -EINVAL);
    ck_assert_int_eq(brood_pool_map(pool, &reverse.task, x, x, 2, NULL), -EINVAL);
    ck_assert_int_eq(brood_pool_map(pool, &square.task, x, x, 2, &(struct brood_map_options){.chunk = 1}), -EINVAL);
    ck_assert_int_eq(brood_map(NULL, square, x, x, 2), -EINVAL);
    ck_assert_int_eq(brood_apply(NULL, square, x, x), -EINVAL);
    ck_assert_int_eq(brood_pool_apply(pool, NULL, x, x), -EINVAL);
    ck_assert_int_eq(brood_pool_apply_bytes(pool, &reverse.task, NULL, (struct brood_bytes){x, 1}), -EINVAL);
    ck_assert_int_eq(brood_pool_workers(NULL), 0);
    ck_assert_int_eq(brood_pool_worker_pid(NULL, 0), 0);
}
END_TEST

/* Each waits in an item, for a gate that stays shut. */
START_TEST(a_map_that_hangs_in_all_workers_can_be_killed)
{
    enum { WORKERS = 3 };
    brood_auto(pool) *pool = open_pool(_i, WORKERS, 0);
    brood_auto(future) *future = NULL;
    struct gate gates[WORKERS];
    struct brood_death death;
    int out[WORKERS];

    for (int i = 0; i < WORKERS; i++)
        gates[i] = new_gate();
    ck_assert_int_eq(brood_pool_map_async(pool, &wait_at.task, &future, out, gates, WORKERS, BROOD_MAP(.chunk = 1)), 0);
    for (int i = 0; i < WORKERS; i++)
        await(is_at_gate(&gates[i]));
    ck_assert_int_eq(brood_future_kill(future), 0);
    ck_assert_int_eq(outcome_of(future), -ECANCELED);
    for (size_t i = 0; i < WORKERS; i++)
        ck_assert_int_eq(brood_future_item(future, i), -ECANCELED);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_int_eq(death.cause, BROOD_KILLED);
    expect_working(pool);
    for (int i = 0; i < WORKERS; i++)
        remove_gate(&gates[i]);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("pool");

    /* "threads": only the kinds that stay in this process, for valgrind and the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;

    add_loop_tests(suite, "apply", 0, end, apply_returns_the_result, a_failed_task_gives_its_error_and_words,
                   words_arrive_whole_up_to_127_bytes_and_are_cut_there, large_arguments_and_results_travel_whole,
                   arguments_and_results_are_aligned_for_their_type, a_result_may_be_ignored,
                   bytes_of_any_length_go_there_and_back, a_result_larger_than_promised_is_refused_with_words,
                   a_result_larger_than_the_room_is_refused_and_not_lost, an_argument_of_the_wrong_size_is_refused,
                   a_typed_task_is_not_called_without_room_for_its_result, a_task_that_the_worker_does_not_know_is_named,
                   tasks_run_in_workers_that_know_their_number, NULL);
    add_loop_tests(suite, "futures", 0, end, a_thousand_futures_each_have_their_own_result,
                   many_more_tasks_than_the_queue_holds_all_run, an_outcome_may_be_asked_for_again, NULL);
    add_loop_tests(suite, "futures beside the caller", BY_THREADS, end, a_wait_ends_at_its_deadline_and_may_be_repeated,
                   cancel_keeps_a_task_from_starting_and_a_running_one_is_busy, a_future_freed_early_lets_its_task_run,
                   a_full_queue_is_eagain_now_and_etimedout_later, a_task_behind_a_long_one_is_run_by_an_idle_worker,
                   long_tasks_after_short_ones_run_side_by_side_although_no_thread_waits,
                   a_task_in_the_lane_of_a_thief_is_run_by_a_sleeping_worker, several_threads_wait_for_one_future, NULL);
    add_loop_tests(suite, "map", 0, end, map_keeps_the_order_for_every_length_and_chunk, an_empty_map_is_fine,
                   map_runs_every_item_although_some_fail_and_tells_which, a_map_of_more_than_two_windows_is_whole,
                   a_map_of_more_items_than_two_windows_of_shared_arrays_is_whole,
                   arrays_of_shared_memory_are_used_where_they_lie, maps_and_tasks_share_the_workers,
                   options_are_as_long_as_the_program_knew_them, a_map_without_arrays_is_refused, NULL);
    add_loop_tests(suite, "map beside the caller", BY_THREADS, end, a_cancelled_map_runs_no_more_items,
                   a_map_that_has_not_started_is_cancelled_whole, a_map_waits_for_room_when_every_lane_is_full,
                   a_map_that_waits_for_room_can_be_cancelled, NULL);
    add_loop_tests(suite, "threads", 0, end, any_number_of_threads_use_one_pool, NULL);
    add_loop_tests(suite, "life", 0, end, closing_for_ever_finishes_everything,
                   closing_finishes_what_was_dropped_after_many_laps_of_the_ring, a_scope_may_be_left_with_everything_open,
                   NULL);
    add_loop_tests(suite, "life beside the caller", BY_THREADS, end, closing_now_drops_what_has_not_started,
                   closing_waits_for_threads_that_wait, closing_is_woken_by_a_long_task_whose_followers_were_stolen, NULL);
    add_loop_tests(suite, "life of threads", BY_THREADS, BY_FORKS,
                   closing_now_drops_what_has_not_started_while_a_thread_is_waited_for, NULL);
    add_tests(suite, "options", bad_options_are_refused_with_words, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "with processes", 0, end, a_task_may_open_a_pool_of_its_own,
                       a_fork_of_the_host_cannot_use_its_pool, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "kills", BY_FORKS, end, a_map_that_hangs_in_all_workers_can_be_killed, NULL);
    return run_suite(suite);
}
