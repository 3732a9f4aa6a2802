/* conform_nested.c - tasks, and callbacks, that use the pool that runs them: nothing waits for itself. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "pools.h"
#include "support.h"
#include "tasks.h"

static const struct kind {
    const char *name;
    enum brood_kind kind;
    int workers;
} kinds[] = {
    {"inline", BROOD_INLINE, 1},
    {"one thread", BROOD_THREADS, 1},
    {"three threads", BROOD_THREADS, 3},
    {"processes", BROOD_PROCESSES, 1},
};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))
#define PROCESSES 3

static struct brood_pool *own; /* of the tasks below */

static void open_own(int kind, struct brood_pool_options *options)
{
    own = NULL;
    options->kind = kinds[kind].kind;
    options->workers = kinds[kind].workers;
    ck_assert_msg(brood_pool_open(&own, options) == 0, "%s: open: %s", kinds[kind].name, brood_error());
}

static void close_own(void)
{
    ck_assert_int_eq(brood_pool_close(own, BROOD_FOREVER), 0);
    own = NULL;
}

BROOD_TASK(one_more, int, int)
{
    *result = *arg + 1;
    return 0;
}

/* ---- what tasks wait for ---- */

enum { BY_APPLY, BY_WAIT, BY_SEVERAL, BY_FIRST, BY_ITERATOR, BY_MAP, BY_LOOP, BY_STREAM, BY_UNORDERED, BY_PRIORITY, WAYS };

BROOD_LOOP(count_up, int)
{
    (void)context, (void)index;
    return 0;
}

static int by_apply(int *ret_sum)
{
    return brood_apply(own, one_more, ret_sum, &(int){9});
}

static int take(struct brood_future *future, int *ret_sum)
{
    int value, r = brood_future_result(future, &value, sizeof(value));

    if (r == 0)
        *ret_sum += value;
    brood_future_free(future);
    return r;
}

static int submit(struct brood_future **ret_future, int priority)
{
    return brood_submit(own, one_more, ret_future, BROOD_CALL(.priority = priority), &(int){9});
}

static int by_wait(int *ret_sum, int priority)
{
    struct brood_future *future;
    int r = submit(&future, priority);

    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    return r < 0 ? r : take(future, ret_sum);
}

#define SEVERAL 20

static int submit_several(struct brood_future *futures[SEVERAL])
{
    int r = 0;

    for (int i = 0; r == 0 && i < SEVERAL; i++)
        r = submit(&futures[i], 0);
    return r;
}

static int take_several(struct brood_future *futures[SEVERAL], int *ret_sum)
{
    int r = 0;

    for (int i = 0; r == 0 && i < SEVERAL; i++)
        r = take(futures[i], ret_sum);
    *ret_sum /= SEVERAL;
    return r;
}

static int by_several(int *ret_sum, enum brood_until until)
{
    struct brood_future *futures[SEVERAL];
    int r = submit_several(futures);

    if (r == 0)
        r = brood_futures_wait(futures, SEVERAL, until, NULL, BROOD_FOREVER);
    if (r >= 0 && until != BROOD_ALL_COMPLETED)
        r = brood_futures_wait(futures, SEVERAL, BROOD_ALL_COMPLETED, NULL, BROOD_FOREVER);
    return r < 0 ? r : take_several(futures, ret_sum);
}

static int by_iterator(int *ret_sum)
{
    struct brood_future *futures[SEVERAL], *future;
    struct brood_as_completed *iterator;
    int r = submit_several(futures);

    if (r == 0)
        r = brood_as_completed_open(&iterator, futures, SEVERAL);
    for (int i = 0; r == 0 && i < SEVERAL; i++)
        r = brood_as_completed_next(iterator, &future, BROOD_FOREVER);
    if (r == 0)
        brood_as_completed_close(iterator);
    return r < 0 ? r : take_several(futures, ret_sum);
}

static int by_map(int *ret_sum)
{
    int args[100], results[100], r;

    for (int i = 0; i < 100; i++)
        args[i] = 9;
    r = brood_map(own, one_more, results, args, 100);
    for (int i = 0; i < 100; i++)
        *ret_sum += results[i];
    *ret_sum /= 100;
    return r;
}

static int by_loop(int *ret_sum)
{
    *ret_sum = 10;
    return brood_for(own, count_up, (int *)NULL, 0, 1000);
}

static int by_stream(int *ret_sum, bool unordered)
{
    int args[100];
    struct brood_imap *imap;
    struct brood_item item;
    int r;

    for (int i = 0; i < 100; i++)
        args[i] = 9;
    r = brood_imap(own, one_more, &imap, args, 100, BROOD_IMAP(.unordered = unordered));
    if (r < 0)
        return r;
    while ((r = brood_imap_next(imap, &item, BROOD_FOREVER)) == 0)
        *ret_sum += *(const int *)item.result;
    *ret_sum /= 100;
    brood_imap_close(imap);
    return r == -ENODATA ? 0 : r;
}

/* Leaves 10 in its result, which it has from another task, in one way or the other. */
BROOD_TASK(wait_inside, int, int)
{
    *result = 0;
    switch (*arg) {
    case BY_APPLY:
        return by_apply(result);
    case BY_WAIT:
        return by_wait(result, 0);
    case BY_SEVERAL:
        return by_several(result, BROOD_ALL_COMPLETED);
    case BY_FIRST:
        return by_several(result, BROOD_FIRST_COMPLETED);
    case BY_ITERATOR:
        return by_iterator(result);
    case BY_MAP:
        return by_map(result);
    case BY_LOOP:
        return by_loop(result);
    case BY_STREAM:
        return by_stream(result, false);
    case BY_UNORDERED:
        return by_stream(result, true);
    default:
        return by_wait(result, 5);
    }
}

START_TEST(a_task_waits_in_its_own_pool_in_every_way)
{
    open_own(_i, BROOD_POOL(.queue = 64));
    for (int way = 0; way < WAYS; way++) {
        int result = 0, r = brood_apply(own, wait_inside, &result, &way);

        ck_assert_msg(r == 0, "way %d: %s", way, brood_error());
        ck_assert_int_eq(result, 10);
    }
    close_own();
}
END_TEST

/* As many as there are workers, and more, wait at once. */
START_TEST(all_workers_wait_in_their_own_pool_at_once)
{
    open_own(_i, BROOD_POOL(.queue = 1024));
    for (int way = 0; way < WAYS; way++) {
        int args[50], results[50];

        for (int i = 0; i < 50; i++)
            args[i] = way;
        ck_assert_msg(brood_map(own, wait_inside, results, args, 50) == 0, "way %d: %s", way, brood_error());
        for (int i = 0; i < 50; i++)
            ck_assert_int_eq(results[i], 10);
    }
    close_own();
}
END_TEST

/* Two calls of the one before, one beside the other, and so on. */
BROOD_TASK_DECLARE(fibonacci, int, int);
BROOD_TASK_DEFINE(fibonacci, int, int)
{
    struct brood_future *other;
    int one = 0, r;

    *result = *arg;
    if (*arg < 2)
        return 0;
    r = brood_apply_async(own, fibonacci, &other, &(int){*arg - 1});
    if (r == 0)
        r = brood_apply(own, fibonacci, &one, &(int){*arg - 2});
    *result = one;
    if (r == 0)
        r = brood_future_wait(other, BROOD_FOREVER);
    return r < 0 ? r : take(other, result);
}

START_TEST(tasks_divide_and_conquer_in_their_own_pool)
{
    int result = 0;

    open_own(_i, BROOD_POOL(.queue = 8));
    ck_assert_msg(brood_apply(own, fibonacci, &result, &(int){13}) == 0, "%s", brood_error());
    ck_assert_int_eq(result, 233);
    close_own();
}
END_TEST

/* ---- a full queue ---- */

#define MANY 1000

static struct brood_future *futures[MANY];

static int submit_many(void)
{
    int r = 0;

    for (int i = 0; r == 0 && i < MANY; i++)
        r = brood_apply_async(own, one_more, &futures[i], &i);
    return r;
}

static int take_many(void)
{
    int r = 0;

    for (int i = 0; r == 0 && i < MANY; i++) {
        int sum = 0;

        r = brood_future_wait(futures[i], BROOD_FOREVER);
        if (r == 0)
            r = take(futures[i], &sum);
        if (r == 0 && sum != i + 1)
            r = brood_fail(-EILSEQ, "%d is %d", i, sum);
    }
    return r;
}

BROOD_TASK(overfill, int, int)
{
    (void)arg;
    *result = submit_many();
    return *result < 0 ? *result : take_many();
}

START_TEST(a_task_submits_more_to_its_own_pool_than_the_queue_takes)
{
    int result;

    open_own(_i, BROOD_POOL(.queue = 2));
    ck_assert_msg(brood_apply(own, overfill, &result, &(int){0}) == 0, "%s", brood_error());
    ck_assert_int_eq(brood_apply(own, one_more, &result, &(int){1}), 0);
    close_own();
}
END_TEST

static int outcome;

static void overfill_by_callback(struct brood_future *future, void *context)
{
    int args[10] = {0}, results[10];

    (void)future, (void)context;
    outcome = submit_many();
    if (outcome == 0)
        outcome = brood_map(own, one_more, results, args, 10);
}

static _Atomic int may_go;

BROOD_TASK(wait_to_go, int, int)
{
    *result = *arg;
    await(atomic_load(&may_go) != 0);
    return 0;
}

/* The slots that its tasks take are free again when it has ended, and not before. */
BROOD_TASK(map_without_room, int, int)
{
    int sum = 0, r = 0;

    for (int i = 0; i < *arg && r == 0; i++)
        r = brood_apply(own, one_more, &sum, &i);
    *result = 0;
    return r < 0 ? r : by_map(result);
}

/* The task is in the ring of its lane, since another has the mailbox. */
START_TEST(a_task_runs_a_map_for_which_there_is_no_room_itself)
{
    brood_auto(future) *first = NULL, *second = NULL;
    int result = 0;

    open_own(_i, BROOD_POOL(.queue = 16));
    atomic_store(&may_go, kinds[_i].kind == BROOD_INLINE);
    ck_assert_int_eq(brood_apply_async(own, wait_to_go, &first, &(int){1}), 0);
    ck_assert_int_eq(brood_apply_async(own, map_without_room, &second, &(int){300}), 0);
    atomic_store(&may_go, 1);
    ck_assert_int_eq(brood_future_wait(second, brood_after_ms(60000)), 0);
    ck_assert_msg(brood_future_result(second, &result, sizeof(result)) == 0, "%s", brood_future_error(second));
    ck_assert_int_eq(result, 10);
    ck_assert_int_eq(brood_future_wait(first, BROOD_FOREVER), 0);
    close_own();
}
END_TEST

START_TEST(a_callback_submits_more_than_the_queue_takes)
{
    struct gate gate = new_gate();
    struct brood_future *first;

    open_own(_i, BROOD_POOL(.queue = 2));
    outcome = 1;
    first = hold_worker(own, &gate);
    ck_assert_int_eq(brood_future_on_done(first, overfill_by_callback, NULL), 0);
    let_through(&gate);
    ck_assert_int_eq(brood_future_wait(first, brood_after_ms(60000)), 0);
    ck_assert_msg(outcome == 0, "%d: %s", outcome, brood_error());
    ck_assert_msg(take_many() == 0, "%s", brood_error());
    brood_future_free(first);
    close_own();
}
END_TEST

static struct gate shut;

/* Every worker is held, and the queue is full: a callback that waited would wait for ever. */
static void go_over(struct brood_future *future, void *context)
{
    (void)future, (void)context;
    outcome = submit_many();
    let_through(&shut);
}

START_TEST(a_callback_does_not_wait_for_workers_that_wait_for_it)
{
    struct gate gate = new_gate();
    struct brood_future *first, *held;

    shut = new_gate();
    outcome = 1;
    open_own(_i, BROOD_POOL(.queue = 2));
    first = hold_worker(own, &gate);
    ck_assert_int_eq(brood_future_on_done(first, go_over, NULL), 0);
    ck_assert_int_eq(brood_apply_async(own, wait_at, &held, &shut), 0); /* behind the first */
    let_through(&gate);
    ck_assert_int_eq(brood_future_wait(first, brood_after_ms(60000)), 0);
    ck_assert_msg(outcome == 0, "%s", brood_error());
    ck_assert_int_eq(brood_future_wait(held, brood_after_ms(60000)), 0);
    ck_assert_msg(take_many() == 0, "%s", brood_error());
    brood_future_free(first);
    brood_future_free(held);
    close_own();
}
END_TEST

static void try_now(struct brood_future *future, void *context)
{
    struct brood_future *next = NULL;

    (void)future, (void)context;
    outcome = brood_apply_async_until(own, one_more, &next, BROOD_NOW, &(int){1});
}

START_TEST(a_callback_that_asks_for_room_now_is_told_that_there_is_none)
{
    struct gate gate = new_gate();
    struct brood_future *first, *second = NULL, *third = NULL;

    outcome = 1;
    open_own(_i, BROOD_POOL(.queue = 2));
    shut = new_gate();
    first = hold_worker(own, &gate);
    ck_assert_int_eq(brood_future_on_done(first, try_now, NULL), 0);
    ck_assert_int_eq(brood_apply_async(own, wait_at, &second, &shut), 0);
    let_through(&gate);
    await(brood_future_done(first)); /* calls nothing */
    ck_assert_int_eq(brood_apply_async(own, one_more, &third, &(int){1}), 0);
    ck_assert_int_eq(brood_pool_run(own, BROOD_NOW), 1);
    ck_assert_int_eq(outcome, -EAGAIN);
    let_through(&shut);
    brood_future_free(first);
    brood_future_free(second);
    brood_future_free(third);
    close_own();
}
END_TEST

/* ---- what cannot be ---- */

static struct brood_future *myself;
static _Atomic bool is_known;

BROOD_TASK(wait_for_myself, int, int)
{
    int r;

    while (!atomic_load(&is_known))
        rest();
    *result = brood_future_wait(myself, brood_after_ms(*arg));
    if (*result == -ETIMEDOUT)
        *result = brood_futures_wait(&myself, 1, BROOD_FIRST_COMPLETED, NULL, BROOD_FOREVER);
    r = *result;
    *result = brood_future_wait(myself, BROOD_FOREVER);
    return r == *result ? 0 : brood_fail(-EILSEQ, "%d and %d", r, *result);
}

START_TEST(a_task_that_waits_for_itself_is_told_so)
{
    int result = 0;

    atomic_store(&is_known, false);
    open_own(_i, BROOD_POOL());
    ck_assert_int_eq(brood_apply_async(own, wait_for_myself, &myself, &(int){1}), 0);
    atomic_store(&is_known, true);
    ck_assert_int_eq(brood_future_wait(myself, BROOD_FOREVER), 0);
    ck_assert_msg(brood_future_result(myself, &result, sizeof(result)) == 0, "%s", brood_error());
    ck_assert_int_eq(result, -EDEADLK);
    brood_future_free(myself);
    close_own();
}
END_TEST

BROOD_TASK(close_inside, int, int)
{
    (void)arg;
    *result = brood_pool_close(own, BROOD_FOREVER);
    return 0;
}

START_TEST(a_task_cannot_close_its_own_pool)
{
    int result = 0;

    open_own(_i, BROOD_POOL());
    ck_assert_int_eq(brood_apply(own, close_inside, &result, &(int){0}), 0);
    ck_assert_int_eq(result, -EDEADLK);
    ck_assert_int_eq(brood_apply(own, one_more, &result, &(int){1}), 0);
    close_own();
}
END_TEST

BROOD_TASK(wait_a_little, int, int)
{
    struct brood_future *future;
    int r = submit(&future, 0);

    *result = r < 0 ? r : brood_future_wait(future, brood_after_ms(*arg));
    if (r == 0)
        brood_future_free(future);
    return r;
}

/* What it might run itself could take longer. */
START_TEST(a_wait_with_a_deadline_keeps_it)
{
    int result = 0;

    open_own(_i, BROOD_POOL());
    ck_assert_int_eq(brood_apply(own, wait_a_little, &result, &(int){1}), 0);
    ck_assert_int_eq(result, -ETIMEDOUT);
    close_own();
}
END_TEST

/* A worker process has the handle, and no part in the pool. */
START_TEST(a_forked_worker_cannot_use_the_pool_that_runs_it)
{
    int result = 0, r;

    open_own(PROCESSES, BROOD_POOL());
    r = brood_apply(own, wait_inside, &result, &(int){BY_APPLY});
    ck_assert_int_lt(r, 0);
    ck_assert_int_eq(brood_apply(own, one_more, &result, &(int){1}), 0);
    close_own();
}
END_TEST

/* "threads": only the kinds that stay in this process, for valgrind and the thread sanitizer. */
int main(int argc, char **argv)
{
    bool stays = argc > 1 && strcmp(argv[1], "threads") == 0;
    Suite *suite = suite_create("nested");

    add_loop_tests(suite, "tasks", 0, PROCESSES, a_task_waits_in_its_own_pool_in_every_way,
                   all_workers_wait_in_their_own_pool_at_once, tasks_divide_and_conquer_in_their_own_pool,
                   a_task_submits_more_to_its_own_pool_than_the_queue_takes,
                   a_task_runs_a_map_for_which_there_is_no_room_itself, a_task_cannot_close_its_own_pool, NULL);
    add_loop_tests(suite, "one thread", 1, 2, a_wait_with_a_deadline_keeps_it,
                   a_callback_that_asks_for_room_now_is_told_that_there_is_none,
                   a_callback_does_not_wait_for_workers_that_wait_for_it, NULL);
    add_loop_tests(suite, "threads", 1, PROCESSES, a_task_that_waits_for_itself_is_told_so,
                   a_callback_submits_more_than_the_queue_takes, NULL);
    if (!stays)
        add_loop_tests(suite, "processes", PROCESSES, KINDS, a_forked_worker_cannot_use_the_pool_that_runs_it,
                       a_callback_submits_more_than_the_queue_takes, a_callback_does_not_wait_for_workers_that_wait_for_it,
                       a_callback_that_asks_for_room_now_is_told_that_there_is_none, NULL);
    return run_suite(suite);
}
