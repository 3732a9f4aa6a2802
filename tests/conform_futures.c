/* conform_futures.c - states, callbacks, promises, descriptors, waiting for several: over every kind of worker. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "streams.h"
#include "support.h"
#include "tasks.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static struct brood_pool *open_pool(int kind, int workers)
{
    return open_kind(kind, BROOD_POOL(.workers = workers));
}

static struct brood_future *new_promise(void)
{
    struct brood_future *promise = NULL;

    ck_assert_int_eq(brood_promise_open(&promise), 0);
    return promise;
}

static struct brood_future *submit_square(struct brood_pool *pool, double x)
{
    struct brood_future *future = NULL;

    ck_assert_int_eq(brood_apply_async(pool, square, &future, &x), 0);
    return future;
}

static double square_of(struct brood_future *future)
{
    double y = -1;

    ck_assert_int_eq(brood_future_result(future, &y, sizeof(y)), 0);
    return y;
}

static bool is_readable(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};

    return poll(&watched, 1, 0) == 1;
}

static void expect_readable(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};

    ck_assert_int_eq(poll(&watched, 1, 60000), 1);
}

/* The supervisor is the parent of a worker. */
static pid_t parent_of(pid_t pid)
{
    char path[64];
    FILE *file;
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    ck_assert(file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) == 1);
    fclose(file);
    return parent;
}

/* ---- a task that runs until the test lets it go ---- */

struct held {
    struct gate gate;
    struct brood_future *future;
};

static struct held hold(struct brood_pool *pool)
{
    static int number;
    struct held held = {.future = NULL};

    snprintf(held.gate.path, sizeof(held.gate.path), "/tmp/brood-held-%d-%d-%lld", getpid(), number++, (long long)now_ms());
    ck_assert_int_eq(mkfifo(held.gate.path, 0600), 0);
    ck_assert_int_eq(brood_apply_async(pool, wait_at, &held.future, &held.gate), 0);
    return held;
}

static void mark_of(const struct held *held, char mark[80])
{
    snprintf(mark, 80, "%s.here", held->gate.path);
}

static void await_running(const struct held *held)
{
    char mark[80];

    mark_of(held, mark);
    await(access(mark, F_OK) == 0);
}

/* Lets it go, and forgets it but for its future. */
static void let_go(const struct held *held)
{
    char mark[80];
    int fd = open(held->gate.path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    close(fd);
    mark_of(held, mark);
    ck_assert_int_eq(unlink(mark), 0);
    ck_assert_int_eq(unlink(held->gate.path), 0);
}

/* ---- what callbacks note ---- */

#define NOTES_MAX 4096

struct records {
    _Atomic int count;
    int marks[NOTES_MAX];
    struct brood_future *futures[NOTES_MAX];
    pthread_t threads[NOTES_MAX];
};

static struct records records;

struct remark {
    int mark;
};

/* By several threads: one that adds a callback to what is done calls it itself. */
static pthread_mutex_t noting = PTHREAD_MUTEX_INITIALIZER;

static void record_call(struct brood_future *future, void *context)
{
    ck_assert(brood_future_done(future));
    pthread_mutex_lock(&noting);

    int at = atomic_load(&records.count);

    records.marks[at] = context ? ((struct remark *)context)->mark : 0;
    records.futures[at] = future;
    records.threads[at] = pthread_self();
    atomic_store(&records.count, at + 1);
    pthread_mutex_unlock(&noting);
}

static struct remark remarks[] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}};

static void expect_marks(int count)
{
    ck_assert_int_eq(atomic_load(&records.count), count);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(records.marks[i], i);
}

static void add_notes(struct brood_future *future, int from, int to)
{
    for (int i = from; i < to; i++)
        ck_assert_int_eq(brood_future_on_done(future, record_call, &remarks[i]), 0);
}

/* ---- states ---- */

static void expect_state(struct brood_future *future, enum brood_future_state state, bool done, bool running)
{
    ck_assert_int_eq(brood_future_state(future), state);
    ck_assert_int_eq(brood_future_done(future), done);
    ck_assert_int_eq(brood_future_running(future), running);
}

/* semantics: F1 F2 F3 */
START_TEST(a_promise_goes_from_pending_to_running_to_done)
{
    brood_auto(future) *promise = new_promise();

    expect_state(promise, BROOD_FUTURE_PENDING, false, false);
    ck_assert_int_eq(brood_promise_set_running(promise), 0);
    expect_state(promise, BROOD_FUTURE_RUNNING, false, true);
    ck_assert_int_eq(brood_future_cancel(promise), -EBUSY);
    ck_assert_int_eq(brood_promise_set_result(promise, &(int){7}, sizeof(int)), 0);
    expect_state(promise, BROOD_FUTURE_DONE, true, false);
    ck_assert_int_eq(brood_future_cancel(promise), -EBUSY);
    ck_assert_int_eq(brood_future_kill(promise), -EBUSY);
}
END_TEST

/* semantics: F1 F2 F3 F8 */
START_TEST(a_promise_goes_from_pending_to_cancelled_to_told)
{
    brood_auto(future) *promise = new_promise();

    ck_assert_int_eq(brood_future_cancel(promise), 0);
    expect_state(promise, BROOD_FUTURE_CANCELLED, true, false);
    ck_assert_int_eq(brood_future_cancel(promise), 0);
    ck_assert_int_eq(brood_promise_set_running(promise), -ECANCELED);
    expect_state(promise, BROOD_FUTURE_CANCELLED_TOLD, true, false);
    ck_assert_int_eq(brood_future_cancel(promise), 0);
    ck_assert_int_eq(brood_promise_set_running(promise), -EALREADY);
    ck_assert_int_eq(brood_promise_set_result(promise, NULL, 0), -EALREADY);
    ck_assert_int_eq(brood_future_item(promise, 0), -ECANCELED);
}
END_TEST

/* semantics: F7 F8 */
START_TEST(the_first_outcome_of_a_promise_is_kept)
{
    brood_auto(future) *good = new_promise();
    brood_auto(future) *bad = new_promise();
    int y = 0;

    ck_assert_int_eq(brood_promise_set_result(good, &(int){1}, sizeof(int)), 0);
    ck_assert_int_eq(brood_promise_set_result(good, &(int){2}, sizeof(int)), -EALREADY);
    ck_assert_int_eq(brood_promise_set_error(good, -EIO, "late"), -EALREADY);
    ck_assert_int_eq(brood_promise_set_running(good), -EALREADY);
    ck_assert_int_eq(brood_future_result(good, &y, sizeof(y)), 0);
    ck_assert_int_eq(y, 1);
    ck_assert_int_eq(brood_promise_set_running(bad), 0);
    ck_assert_int_eq(brood_promise_set_running(bad), -EBUSY);
    ck_assert_int_eq(brood_promise_set_error(bad, 5, "positive"), -EINVAL);
    ck_assert_int_eq(brood_promise_set_error(bad, -EIO, "the first"), 0);
    ck_assert_int_eq(brood_promise_set_error(bad, -EDOM, "the second"), -EALREADY);
    expect_state(bad, BROOD_FUTURE_FAILED, true, false);
    ck_assert_int_eq(brood_future_result(bad, &y, sizeof(y)), -EIO);
    ck_assert_str_eq(brood_future_error(bad), "the first");
}
END_TEST

/* semantics: F4 F6 */
START_TEST(a_promise_that_is_not_kept_times_out)
{
    brood_auto(future) *promise = new_promise();
    int64_t before = now_ms();

    ck_assert_int_eq(brood_future_result(promise, NULL, 0), -EINPROGRESS);
    ck_assert_int_eq(brood_future_wait(promise, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_future_wait(promise, brood_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - before, 29);
    ck_assert_int_eq(brood_promise_set_running(promise), 0);
    ck_assert_int_eq(brood_future_wait(promise, brood_after_ms(5)), -ETIMEDOUT);
    ck_assert_str_eq(brood_future_error(promise), "");
    ck_assert_int_eq(brood_future_kill(promise), -ENOTSUP);
}
END_TEST

START_TEST(a_promise_holds_a_result_of_any_size)
{
    static const size_t sizes[] = {0, 1, 16, 17, 1000, 1 << 20};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        brood_auto(future) *promise = new_promise();
        unsigned char *in = malloc(sizes[i] + 1), *out = malloc(sizes[i] + 1);

        memset(in, 'a' + (int)i, sizes[i] + 1);
        ck_assert_int_eq(brood_promise_set_result(promise, in, sizes[i]), 0);
        ck_assert_uint_eq(brood_future_size(promise), sizes[i]);
        ck_assert_int_eq(brood_future_result(promise, out, sizes[i]), 0);
        ck_assert_mem_eq(in, out, sizes[i]);
        if (sizes[i] > 0) {
            ck_assert_int_eq(brood_future_result(promise, out, sizes[i] - 1), -EMSGSIZE);
            ck_assert_int_eq(brood_future_result(promise, NULL, sizes[i]), -EINVAL);
            ck_assert_ptr_nonnull(strstr(brood_error(), "NULL"));
        }
        free(in);
        free(out);
    }
}
END_TEST

START_TEST(a_pools_future_is_not_to_be_set)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *future = submit_square(pool, 3);

    ck_assert_int_eq(brood_promise_set_running(future), -EINVAL);
    ck_assert_int_eq(brood_promise_set_result(future, NULL, 0), -EINVAL);
    ck_assert_int_eq(brood_promise_set_error(future, -EIO, NULL), -EINVAL);
    ck_assert_int_eq(brood_promise_set_running(NULL), -EINVAL);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_double_eq(square_of(future), 9);
}
END_TEST

struct maker {
    struct brood_future *promise;
    int error; /* 0: a result; 1: it is cancelled */
};

static void *make(void *argument)
{
    struct maker *maker = argument;

    if (maker->error == 1)
        ck_assert_int_eq(brood_future_cancel(maker->promise), 0);
    else if (maker->error < 0)
        ck_assert_int_eq(brood_promise_set_error(maker->promise, maker->error, "not today"), 0);
    else
        ck_assert_int_eq(brood_promise_set_result(maker->promise, &(int){42}, sizeof(int)), 0);
    return NULL;
}

static void *wait_for(void *promise)
{
    return (void *)(intptr_t)brood_future_wait(promise, brood_after_ms(60000));
}

/* semantics: F5 F6 */
START_TEST(threads_that_wait_for_a_promise_are_woken)
{
    static const int errors[] = {0, -EIO, 1};
    brood_auto(future) *promise = new_promise();
    struct maker maker = {promise, errors[_i]};
    pthread_t makes, waits[3];
    void *r;
    int y = 0, outcome = errors[_i] == 1 ? -ECANCELED : errors[_i];

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&waits[i], NULL, wait_for, promise), 0);
    ck_assert_int_eq(pthread_create(&makes, NULL, make, &maker), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_join(waits[i], &r), 0);
        ck_assert_ptr_null(r);
    }
    ck_assert_int_eq(brood_future_result(promise, &y, sizeof(y)), outcome);
    ck_assert_int_eq(y, outcome == 0 ? 42 : 0);
    pthread_join(makes, NULL);
}
END_TEST

/* semantics: F1 F2 F3 */
START_TEST(a_task_that_has_run_is_done_or_failed)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *good = submit_square(pool, 3);
    brood_auto(future) *bad = NULL;

    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &bad, &(int){7}), 0);
    ck_assert_int_eq(brood_future_wait(good, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_wait(bad, brood_after_ms(60000)), 0);
    expect_state(good, BROOD_FUTURE_DONE, true, false);
    expect_state(bad, BROOD_FUTURE_FAILED, true, false);
    ck_assert_int_eq(brood_future_cancel(good), -EBUSY);
    ck_assert_int_eq(brood_future_cancel(bad), -EBUSY);
}
END_TEST

/* semantics: F1 F2 F3 M13 */
START_TEST(a_task_that_waits_is_pending_or_cancelled_and_one_that_runs_is_running)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct held held = hold(pool);
    brood_auto(future) *running = held.future;
    brood_auto(future) *pending = submit_square(pool, 3);

    await_running(&held);
    expect_state(running, BROOD_FUTURE_RUNNING, false, true);
    expect_state(pending, BROOD_FUTURE_PENDING, false, false);
    ck_assert_int_eq(brood_future_result(pending, NULL, 0), -EINPROGRESS);
    ck_assert_int_eq(brood_future_cancel(running), -EBUSY);
    ck_assert_int_eq(brood_future_cancel(pending), 0);
    expect_state(pending, BROOD_FUTURE_CANCELLED_TOLD, true, false);
    ck_assert_int_eq(brood_future_cancel(pending), 0);
    let_go(&held);
    ck_assert_int_eq(brood_future_wait(running, brood_after_ms(60000)), 0);
    expect_state(running, BROOD_FUTURE_DONE, true, false);
}
END_TEST

START_TEST(a_task_whose_worker_died_is_lost_however_that_came)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *died = NULL;
    brood_auto(future) *killed = NULL;
    brood_auto(future) *late = NULL;

    ck_assert_int_eq(brood_apply_async(pool, die_by, &died, &(int){SIGKILL}), 0);
    ck_assert_int_eq(brood_future_wait(died, brood_after_ms(60000)), 0);
    expect_state(died, BROOD_FUTURE_WORKER_LOST, true, false);
    ck_assert_int_eq(brood_apply_async(pool, hang, &killed, &(int){1}), 0);
    await(brood_future_running(killed));
    ck_assert_int_eq(brood_future_kill(killed), 0);
    ck_assert_int_eq(brood_future_wait(killed, brood_after_ms(60000)), 0);
    expect_state(killed, BROOD_FUTURE_WORKER_LOST, true, false);
    ck_assert_int_eq(brood_submit(pool, hang, &late, BROOD_CALL(.limit_ms = 1), &(int){1}), 0);
    ck_assert_int_eq(brood_future_wait(late, brood_after_ms(60000)), 0);
    expect_state(late, BROOD_FUTURE_WORKER_LOST, true, false);
}
END_TEST

/* ---- callbacks ---- */

/* semantics: F9 K17 */
START_TEST(callbacks_of_a_task_are_called_in_order_by_the_thread_that_waits)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *future = submit_square(pool, 3);

    add_notes(future, 0, 5);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    add_notes(future, 5, 7); /* it is done: at once */
    expect_marks(7);
    for (int i = 0; i < 7; i++) {
        ck_assert_ptr_eq(records.futures[i], future);
        ck_assert(pthread_equal(records.threads[i], pthread_self()));
    }
}
END_TEST

/* semantics: F9 K17 */
START_TEST(callbacks_of_a_promise_are_called_in_order_by_the_thread_that_keeps_it)
{
    static const int errors[] = {0, -EIO, 1};
    brood_auto(future) *promise = new_promise();
    struct maker maker = {promise, errors[_i]};
    pthread_t makes;

    add_notes(promise, 0, 5);
    ck_assert_int_eq(pthread_create(&makes, NULL, make, &maker), 0);
    pthread_join(makes, NULL);
    expect_marks(5);
    ck_assert(!pthread_equal(records.threads[4], pthread_self()));
    add_notes(promise, 5, 6);
    expect_marks(6);
    ck_assert(pthread_equal(records.threads[5], pthread_self()));
}
END_TEST

/* semantics: F9 */
START_TEST(callbacks_are_called_on_failure_and_on_cancelling)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct held held = hold(pool);
    brood_auto(future) *bad = NULL;
    brood_auto(future) *cancelled = submit_square(pool, 3);

    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &bad, &(int){7}), 0);
    add_notes(cancelled, 0, 1);
    add_notes(bad, 1, 2);
    ck_assert_int_eq(brood_future_cancel(cancelled), 0);
    ck_assert_int_eq(brood_pool_run(pool, BROOD_NOW), 1);
    expect_marks(1);
    let_go(&held);
    ck_assert_int_eq(brood_pool_run(pool, brood_after_ms(60000)), 1);
    expect_marks(2);
    ck_assert_int_eq(brood_future_item(bad, 0), -EDOM);
    ck_assert_int_eq(brood_pool_run(pool, BROOD_FOREVER), 0);
    brood_future_free(held.future);
}
END_TEST

START_TEST(callbacks_are_not_called_inside_a_submission_but_by_any_wait)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .queue = 8));
    struct held held = hold(pool);
    struct brood_future *futures[50];
    double y;

    for (int i = 0; i < 6; i++) {
        futures[i] = submit_square(pool, i);
        add_notes(futures[i], i, i + 1);
    }
    let_go(&held);
    for (int i = 6; i < 50; i++) /* there is no room before some of the first are done */
        futures[i] = submit_square(pool, i);
    expect_marks(0);
    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){3}), 0);
    while (brood_pool_run(pool, brood_after_ms(60000)) > 0)
        ;
    expect_marks(6);
    for (int i = 0; i < 50; i++)
        brood_future_free(futures[i]);
    brood_future_free(held.future);
}
END_TEST

START_TEST(waiting_for_one_task_calls_the_callbacks_of_another)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct held held = hold(pool);
    brood_auto(future) *first = held.future;
    brood_auto(future) *second = NULL;

    await_running(&held);
    second = submit_square(pool, 3);
    add_notes(second, 0, 1);
    for (int i = 0; i < 500 && atomic_load(&records.count) == 0; i++)
        ck_assert_int_eq(brood_future_wait(first, brood_after_ms(20)), -ETIMEDOUT);
    expect_marks(1);
    let_go(&held);
    ck_assert_int_eq(brood_future_wait(first, brood_after_ms(60000)), 0);
}
END_TEST

static _Atomic pid_t runner;

static void *run_all(void *pool)
{
    int r = 1;

    atomic_store(&runner, gettid());
    while (r > 0)
        r = brood_pool_run(pool, BROOD_FOREVER);
    return (void *)(intptr_t)r;
}

START_TEST(a_thread_that_sleeps_calls_what_was_added_later)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct held before = hold(pool);
    pthread_t runs;
    void *r;

    await_running(&before);
    add_notes(before.future, 1, 2);
    ck_assert_int_eq(pthread_create(&runs, NULL, run_all, pool), 0);
    await(atomic_load(&runner) != 0 && is_asleep(atomic_load(&runner)));
    struct held later = hold(pool);

    await_running(&later);
    add_notes(later.future, 0, 1);
    let_go(&later);
    await(atomic_load(&records.count) == 1); /* this thread does not wait in the pool */
    let_go(&before);
    ck_assert_int_eq(pthread_join(runs, &r), 0);
    ck_assert_ptr_null(r);
    expect_marks(2);
    brood_future_free(before.future);
    brood_future_free(later.future);
}
END_TEST

static void note_and_free(struct brood_future *future, void *context)
{
    record_call(future, context);
    brood_future_free(future);
}

START_TEST(a_callback_may_free_its_future_and_the_others_are_called)
{
    brood_auto(pool) *pool = open_pool(_i, 1);

    for (int round = 0; round < 20; round++) {
        struct held held = hold(pool);

        atomic_store(&records.count, 0);
        ck_assert_int_eq(brood_future_on_done(held.future, note_and_free, &remarks[0]), 0);
        add_notes(held.future, 1, 3);
        let_go(&held);
        ck_assert_int_eq(brood_pool_run(pool, brood_after_ms(60000)), 3);
        expect_marks(3);
    }
}
END_TEST

START_TEST(a_callback_of_what_is_done_may_free_it)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct brood_future *future = submit_square(pool, 3), *promise = new_promise();

    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_on_done(future, note_and_free, &remarks[0]), 0);
    ck_assert_int_eq(brood_future_on_done(promise, note_and_free, &remarks[1]), 0);
    add_notes(promise, 2, 4);
    ck_assert_int_eq(brood_promise_set_result(promise, NULL, 0), 0);
    expect_marks(4);
}
END_TEST

START_TEST(a_future_that_was_freed_still_calls_back)
{
    brood_auto(pool) *pool = open_pool(_i, 1);

    for (int i = 0; i < 10; i++) {
        struct brood_future *future = submit_square(pool, i);

        add_notes(future, i, i + 1);
        brood_future_free(future);
    }
    while (brood_pool_run(pool, brood_after_ms(60000)) > 0)
        ;
    ck_assert_int_eq(atomic_load(&records.count), 10);
}
END_TEST

/* ---- callbacks that use the pool ---- */

struct chain {
    struct brood_pool *pool;
    int left, failed;
    bool may_die; /* a worker process, and nothing else, dies with a task */
};

static void go_on(struct brood_future *future, void *context)
{
    struct chain *chain = context;
    struct brood_future *next = NULL;

    chain->failed += brood_future_item(future, 0) < 0;
    if (--chain->left > 0) {
        bool dies = chain->may_die && chain->left % 4 == 0;
        int r = dies ? brood_apply_async(chain->pool, die_by, &next, &(int){SIGKILL})
                     : brood_apply_async(chain->pool, refuse_odd, &next, &(int){2});

        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(brood_future_on_done(next, go_on, chain), 0);
    }
    brood_future_free(future);
}

/* semantics: K10 */
START_TEST(a_callback_submits_the_next_task_also_one_that_crashes)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .queue = 2));
    struct chain chain = {pool, 12, 0, _i >= BY_FORKS};
    struct brood_future *first = NULL;
    int r = 1;

    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &first, &(int){2}), 0);
    ck_assert_int_eq(brood_future_on_done(first, go_on, &chain), 0);
    while (r > 0)
        r = brood_pool_run(pool, brood_after_ms(60000));
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(chain.left, 0);
    ck_assert_int_eq(chain.failed, chain.may_die ? 2 : 0);
}
END_TEST

/* ---- long chains, and many that are due at once ---- */

/* Of this thread: the machine's other work counts for nothing. */
static void go_on_quietly(struct brood_future *future, void *context)
{
    struct chain *chain = context;
    struct brood_future *next = NULL;

    brood_future_free(future);
    if (--chain->left == 0)
        return;
    ck_assert_int_eq(brood_apply_async(chain->pool, refuse_odd, &next, &(int){2}), 0);
    ck_assert_int_eq(brood_future_on_done(next, go_on_quietly, chain), 0);
}

/* In the caller each task is done when it has been submitted, and its callback due at once. */
START_TEST(a_chain_of_callbacks_does_not_use_up_the_stack)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct chain chain = {.pool = pool, .left = _i < BY_THREADS ? 300000 : 3000};
    struct brood_future *first = NULL;
    int r = 1;

    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &first, &(int){2}), 0);
    ck_assert_int_eq(brood_future_on_done(first, go_on_quietly, &chain), 0);
    while (r > 0)
        r = brood_pool_run(pool, brood_after_ms(60000));
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(chain.left, 0);
}
END_TEST

#define LONG_CHAIN 200000

static void keep_next(struct brood_future *promise, void *context)
{
    struct brood_future **next = context;

    brood_future_free(promise);
    if (*next)
        ck_assert_int_eq(brood_promise_set_result(*next, NULL, 0), 0);
    else
        record_call(promise, NULL);
}

START_TEST(a_chain_of_promises_does_not_use_up_the_stack)
{
    struct brood_future **promises = calloc(LONG_CHAIN + 1, sizeof(struct brood_future *));

    ck_assert_ptr_nonnull(promises);
    for (int i = 0; i < LONG_CHAIN; i++) {
        promises[i] = new_promise();
        ck_assert_int_eq(brood_future_on_done(promises[i], keep_next, &promises[i + 1]), 0);
    }
    ck_assert_int_eq(brood_promise_set_result(promises[0], NULL, 0), 0);
    ck_assert_int_eq(atomic_load(&records.count), 1); /* all before the call returns */
    free(promises);
}
END_TEST

static void make_next(struct brood_future *promise, void *context)
{
    int *left = context;
    struct brood_future *next;

    brood_future_free(promise);
    if (--*left == 0)
        return;
    next = new_promise();
    ck_assert_int_eq(brood_promise_set_result(next, NULL, 0), 0);
    ck_assert_int_eq(brood_future_on_done(next, make_next, left), 0);
}

START_TEST(a_chain_of_promises_that_are_kept_already_does_not_use_up_the_stack)
{
    struct brood_future *first = new_promise();
    int left = LONG_CHAIN;

    ck_assert_int_eq(brood_promise_set_result(first, NULL, 0), 0);
    ck_assert_int_eq(brood_future_on_done(first, make_next, &left), 0);
    ck_assert_int_eq(left, 0);
}
END_TEST

static void count_and_add(struct brood_future *future, void *context)
{
    int *count = context;

    if (++*count % 2 == 1 && brood_future_on_done(future, count_and_add, context) < 0)
        ck_abort_msg("%s", brood_error());
}

/* The time that one of so many callbacks takes, in ns; they are all due, and each adds another one to its future. */
static int64_t cost_of_callback(int kind, int n)
{
    brood_auto(pool) *pool = open_kind(kind, BROOD_POOL(.workers = 2, .queue = 65536));
    struct brood_future **futures = calloc((size_t)n, sizeof(struct brood_future *));
    struct held held[2] = {hold(pool), hold(pool)};
    int count = 0;
    int64_t began;

    for (int i = 0; i < n; i++) {
        futures[i] = submit_square(pool, i);
        ck_assert_int_eq(brood_future_on_done(futures[i], count_and_add, &count), 0);
    }
    let_go(&held[0]);
    let_go(&held[1]);
    for (int i = 0; i < n; i++) /* looking calls nothing */
        await(brood_future_done(futures[i]));
    ck_assert_int_eq(count, 0);
    began = thread_cpu_ns();
    while (brood_pool_run(pool, BROOD_NOW) > 0)
        ;
    int64_t took = thread_cpu_ns() - began;

    ck_assert_int_eq(count, 2 * n);
    for (int i = 0; i < n; i++)
        brood_future_free(futures[i]);
    brood_future_free(held[0].future);
    brood_future_free(held[1].future);
    free(futures);
    return took / n;
}

/* What is in the caches may change one measurement, not all of them. */
START_TEST(a_callback_costs_the_same_however_many_are_due)
{
    int64_t few = 0, many = 1;

    for (int i = 0; i < 6 && many > 3 * few; i++) {
        few = cost_of_callback(_i, 5000);
        many = cost_of_callback(_i, 40000);
    }
    ck_assert_msg(many <= 3 * few, "%lld ns of 5,000, %lld ns of 40,000", (long long)few, (long long)many);
}
END_TEST

static void count_call_of_one(struct brood_future *future, void *context)
{
    (void)future;
    ++*(int *)context;
}

/* ---- what a sleep costs ---- */

#define SLEEPS 50

/* Two workers that are held, and what waits for them.  What they run is at the front of a ring, where other tasks can be
 * over after it: the first task of a lane is not. */
struct crowd {
    struct brood_pool *pool;
    struct held held[2];
    struct brood_future **futures;
    int n, called;
};

static struct crowd *open_crowd(int kind, int n)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    struct held first[2];

    *crowd = (struct crowd){.n = n, .futures = calloc((size_t)n, sizeof(struct brood_future *))};
    crowd->pool = open_kind(kind, BROOD_POOL(.workers = 2, .queue = 65536));
    for (int i = 0; i < 2; i++) {
        first[i] = hold(crowd->pool);
        await_running(&first[i]);
    }
    for (int i = 0; i < 2; i++)
        crowd->held[i] = hold(crowd->pool);
    for (int i = 0; i < 2; i++) {
        let_go(&first[i]);
        brood_future_free(first[i].future);
    }
    for (int i = 0; i < 2; i++)
        await_running(&crowd->held[i]);
    for (int i = 0; i < n; i++)
        crowd->futures[i] = submit_square(crowd->pool, i);
    return crowd;
}

static void close_crowd(struct crowd *crowd)
{
    for (int i = 0; i < 2; i++)
        let_go(&crowd->held[i]);
    ck_assert_int_eq(brood_pool_close(crowd->pool, BROOD_FOREVER), 0);
    for (int i = 0; i < 2; i++)
        brood_future_free(crowd->held[i].future);
    for (int i = 0; i < crowd->n; i++)
        brood_future_free(crowd->futures[i]);
    free(crowd->futures);
    free(crowd);
}

/* The time that one of so many sleeps takes, in ns: each of them ends by its deadline. */
typedef int64_t cost_function(int kind, int n);

static int64_t cost_of_next(struct crowd *crowd, struct brood_future *const *futures, int n)
{
    struct brood_as_completed *iterator = NULL;
    struct brood_future *next;
    int64_t began = 0;

    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, (size_t)n), 0);
    for (int i = -1; i < SLEEPS; i++) {
        ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(1)), -ETIMEDOUT);
        if (i < 0) /* the first one looks at each */
            began = thread_cpu_ns();
    }
    int64_t took = thread_cpu_ns() - began;

    brood_as_completed_close(iterator);
    close_crowd(crowd);
    return took / SLEEPS;
}

static int64_t cost_with_unfinished(int kind, int n)
{
    struct crowd *crowd = open_crowd(kind, n);

    return cost_of_next(crowd, crowd->futures, n);
}

/* In each lane a task that runs, and after it as many as are over. */
static int64_t cost_with_settled(int kind, int n)
{
    struct crowd *crowd = open_crowd(kind, n);

    for (int i = n - 1; i >= 0; i--)
        ck_assert_int_eq(brood_future_cancel(crowd->futures[i]), 0);
    return cost_of_next(crowd, (struct brood_future *[]){crowd->held[0].future, crowd->held[1].future}, 2);
}

static int64_t cost_with_callbacks(int kind, int n)
{
    struct crowd *crowd = open_crowd(kind, n);
    int64_t began;

    for (int i = 0; i < n; i++)
        ck_assert_int_eq(brood_future_on_done(crowd->futures[i], count_call_of_one, &crowd->called), 0);
    began = thread_cpu_ns();
    for (int i = 0; i < SLEEPS; i++)
        ck_assert_int_eq(brood_future_wait(crowd->held[0].future, brood_after_ms(1)), -ETIMEDOUT);
    int64_t took = thread_cpu_ns() - began;

    close_crowd(crowd);
    return took / SLEEPS;
}

/* What is in the caches may change one measurement, not all of them. */
static void expect_constant(int kind, cost_function *cost)
{
    int64_t few = 0, many = 1;

    for (int i = 0; i < 6 && many > 2 * few; i++) {
        few = cost(kind, 1000);
        many = cost(kind, 32000);
        printf("%s %lld %lld\n", worker_kinds[kind].name, (long long)few, (long long)many);
    }
    ck_assert_msg(many <= 2 * few, "%lld ns among 1,000, %lld ns among 32,000", (long long)few, (long long)many);
}

START_TEST(a_sleep_costs_the_same_however_many_futures_are_unfinished)
{
    expect_constant(_i, cost_with_unfinished);
}
END_TEST

START_TEST(a_sleep_costs_the_same_however_many_jobs_are_over_after_one_that_runs)
{
    expect_constant(_i, cost_with_settled);
}
END_TEST

START_TEST(a_sleep_costs_the_same_however_many_callbacks_are_awaited)
{
    expect_constant(_i, cost_with_callbacks);
}
END_TEST

START_TEST(callbacks_of_one_future_cost_the_same_however_many_there_are)
{
    int64_t took[2] = {0, INT64_MAX};

    for (int attempt = 0; attempt < 6 && took[1] > 8 * 3 * took[0]; attempt++)
        for (int i = 0; i < 2; i++) {
            struct brood_future *promise = new_promise();
            int64_t began = thread_cpu_ns();
            int count = 0, failed = 0, n = i == 0 ? 5000 : 40000;

            for (int added = 0; added < n; added++)
                failed += brood_future_on_done(promise, count_call_of_one, &count) < 0;
            ck_assert_int_eq(failed, 0);
            ck_assert_int_eq(brood_promise_set_result(promise, NULL, 0), 0);
            took[i] = thread_cpu_ns() - began;
            ck_assert_int_eq(count, n);
            brood_future_free(promise);
        }
    ck_assert_msg(took[1] <= 8 * 3 * took[0], "%lld ns of 5,000, %lld ns of 40,000", (long long)took[0],
                  (long long)took[1]);
}
END_TEST

static void wait_inside(struct brood_future *future, void *context)
{
    struct brood_pool *pool = context;
    double y = 0;

    record_call(future, NULL);
    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){5}), 0);
    ck_assert_double_eq(y, 25);
    ck_assert_int_eq(brood_pool_run(pool, BROOD_FOREVER) <= 0, 1);
}

static void close_inside(struct brood_future *future, void *context)
{
    record_call(future, NULL);
    ck_assert_int_eq(brood_pool_close(context, BROOD_NOW), -EDEADLK);
}

START_TEST(a_callback_may_wait_in_the_pool_and_not_close_it)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct held held = hold(pool);
    brood_auto(future) *first = held.future;
    brood_auto(future) *second = submit_square(pool, 3);

    ck_assert_int_eq(brood_future_on_done(first, wait_inside, pool), 0);
    ck_assert_int_eq(brood_future_on_done(second, close_inside, pool), 0);
    let_go(&held);
    ck_assert_int_eq(brood_future_wait(second, brood_after_ms(60000)), 0);
    while (brood_pool_run(pool, brood_after_ms(60000)) > 0)
        ;
    ck_assert_int_eq(atomic_load(&records.count), 2);
}
END_TEST

static void close_outside(struct brood_future *future, void *context)
{
    record_call(future, NULL);
    ck_assert_int_eq(brood_pool_close(context, brood_after_ms(60000)), 0);
}

/* No thread waits for a callback that is called at once. */
START_TEST(a_callback_of_what_is_done_may_close_the_pool)
{
    struct brood_pool *pool = open_pool(_i, 1);
    struct brood_future *future = submit_square(pool, 3);

    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_on_done(future, close_outside, pool), 0);
    ck_assert_int_eq(atomic_load(&records.count), 1);
    brood_future_free(future);
}
END_TEST

START_TEST(closing_calls_the_callbacks_that_are_left)
{
    struct brood_pool *pool = open_pool(_i, 1);
    struct held held = hold(pool);
    brood_auto(future) *first = held.future;
    brood_auto(future) *second = submit_square(pool, 3);

    add_notes(first, 0, 1);
    add_notes(second, 1, 2);
    await_running(&held);
    if (worker_kinds[_i].kind == BROOD_PROCESSES) {
        ck_assert_int_eq(brood_pool_close(pool, BROOD_NOW), -ETIMEDOUT);
        ck_assert_int_eq(brood_future_item(first, 0), -ESHUTDOWN);
        ck_assert_int_eq(atomic_load(&records.count), 2);
        unlink(held.gate.path);
        strcat(held.gate.path, ".here");
        unlink(held.gate.path);
    } else {
        let_go(&held);
        ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
        expect_marks(2);
    }
    add_notes(second, 2, 3);
    ck_assert_int_eq(atomic_load(&records.count), 3);
}
END_TEST

/* semantics: M5 */
START_TEST(the_callback_of_a_map_is_called_once_with_the_whole)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *good = NULL;
    brood_auto(future) *bad = NULL;
    brood_auto(future) *empty = NULL;
    int in[200], out[200];

    for (int i = 0; i < 200; i++)
        in[i] = 2 * i;
    ck_assert_int_eq(brood_map_async(pool, refuse_odd, &good, out, in, 200), 0);
    add_notes(good, 0, 1);
    ck_assert_int_eq(brood_future_wait(good, brood_after_ms(60000)), 0);
    expect_marks(1);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(out[i], i);
    in[70] = in[30] = 3;
    ck_assert_int_eq(brood_map_async(pool, refuse_odd, &bad, out, in, 200), 0);
    add_notes(bad, 1, 2);
    ck_assert_int_eq(brood_future_wait(bad, brood_after_ms(60000)), 0);
    expect_marks(2);
    ck_assert_int_eq(brood_future_result(records.futures[1], NULL, 0), -EDOM);
    ck_assert_str_eq(brood_error(), "item 30: 3 is odd");
    ck_assert_int_eq(brood_map_async(pool, refuse_odd, &empty, out, in, 0), 0);
    add_notes(empty, 2, 3);
    expect_marks(3);
}
END_TEST

/* ---- the callback thread ---- */

/* semantics: M25 */
START_TEST(a_callback_thread_calls_them_all_without_a_waiter)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .callbacks = BROOD_CALLBACK_THREAD));

    for (int i = 0; i < 100; i++) {
        struct brood_future *future = submit_square(pool, i);

        ck_assert_int_eq(brood_future_on_done(future, note_and_free, NULL), 0);
    }
    await(atomic_load(&records.count) == 100);
    if (_i >= BY_THREADS)
        for (int i = 0; i < 100; i++) /* one that was added late was called in the caller */
            ck_assert(pthread_equal(records.threads[i], pthread_self()) ||
                      pthread_equal(records.threads[i], records.threads[99]) ||
                      pthread_equal(records.threads[99], pthread_self()));
}
END_TEST

static pthread_mutex_t stalled = PTHREAD_MUTEX_INITIALIZER;

static void stall(struct brood_future *future, void *context)
{
    record_call(future, context);
    pthread_mutex_lock(&stalled);
    pthread_mutex_unlock(&stalled);
}

/* semantics: M25 */
START_TEST(a_callback_that_blocks_holds_up_callbacks_and_no_results)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .callbacks = BROOD_CALLBACK_THREAD));
    struct held held = hold(pool);
    brood_auto(future) *first = held.future;
    brood_auto(future) *second = submit_square(pool, 3);
    double y;

    pthread_mutex_lock(&stalled);
    ck_assert_int_eq(brood_future_on_done(first, stall, &remarks[0]), 0);
    add_notes(second, 1, 2);
    let_go(&held);
    await(atomic_load(&records.count) == 1);
    ck_assert_int_eq(brood_future_wait(second, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_apply(pool, square, &y, &(double){3}), 0);
    ck_assert_int_eq(atomic_load(&records.count), 1);
    pthread_mutex_unlock(&stalled);
    await(atomic_load(&records.count) == 2);
    expect_marks(2);
    ck_assert(pthread_equal(records.threads[0], records.threads[1]));
    ck_assert(!pthread_equal(records.threads[0], pthread_self()));
}
END_TEST

/* ---- waiting for several ---- */

#define MANY 6

struct mixed {
    struct brood_pool *pools[2];
    struct brood_future *futures[MANY]; /* two of each pool that wait behind a held task, and two promises */
    struct held held[2];
};

static void open_mixed(struct mixed *mixed, int kind)
{
    for (int i = 0; i < 2; i++) {
        mixed->pools[i] = open_pool(kind, 1);
        mixed->held[i] = hold(mixed->pools[i]);
        mixed->futures[i] = submit_square(mixed->pools[i], i);
        mixed->futures[2 + i] = submit_square(mixed->pools[i], 2 + i);
        mixed->futures[4 + i] = new_promise();
    }
}

static void release(struct mixed *mixed, int number)
{
    let_go(&mixed->held[number]);
    brood_future_free(mixed->held[number].future);
    mixed->held[number].future = NULL;
}

static void close_mixed(struct mixed *mixed)
{
    for (int i = 0; i < 2; i++)
        if (mixed->held[i].future)
            release(mixed, i);
    for (int i = 0; i < MANY; i++)
        brood_future_free(mixed->futures[i]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(brood_pool_close(mixed->pools[i], BROOD_FOREVER), 0);
}

static int count_true(const bool *flags, int n)
{
    int count = 0;

    for (int i = 0; i < n; i++)
        count += flags[i];
    return count;
}

/* semantics: F10 */
START_TEST(waiting_for_the_first_ends_with_one_of_any_pool_or_promise)
{
    struct mixed mixed;
    bool done[MANY];

    open_mixed(&mixed, _i);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, MANY, BROOD_FIRST_COMPLETED, done, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(count_true(done, MANY), 0);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, MANY, BROOD_FIRST_COMPLETED, done, brood_after_ms(20)), -ETIMEDOUT);
    release(&mixed, 1);
    ck_assert_int_ge(brood_futures_wait(mixed.futures, MANY, BROOD_FIRST_COMPLETED, done, brood_after_ms(60000)), 1);
    ck_assert(done[1] || done[3]);
    ck_assert(!done[0] && !done[2] && !done[4] && !done[5]);
    /* Some are done already: at once. */
    ck_assert_int_ge(brood_futures_wait(mixed.futures, MANY, BROOD_FIRST_COMPLETED, NULL, BROOD_NOW), 1);
    close_mixed(&mixed);
}
END_TEST

static void *keep_later(void *promise)
{
    ck_assert_int_eq(brood_promise_set_result(promise, NULL, 0), 0);
    return NULL;
}

/* semantics: F10 */
START_TEST(waiting_for_all_ends_with_the_last_of_any_pool_and_promise)
{
    struct mixed mixed;
    bool done[MANY];
    pthread_t keeper;

    open_mixed(&mixed, _i);
    release(&mixed, 0);
    release(&mixed, 1);
    ck_assert_int_eq(brood_promise_set_result(mixed.futures[4], NULL, 0), 0);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, 5, BROOD_ALL_COMPLETED, done, brood_after_ms(60000)), 5);
    ck_assert_int_eq(count_true(done, 5), 5);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, MANY, BROOD_ALL_COMPLETED, done, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert_str_eq(brood_error(), "1 (of 6) futures unfinished");
    ck_assert_int_eq(count_true(done, MANY), 5);
    ck_assert(!done[5]);
    ck_assert_int_eq(pthread_create(&keeper, NULL, keep_later, mixed.futures[5]), 0);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, MANY, BROOD_ALL_COMPLETED, done, brood_after_ms(60000)), MANY);
    pthread_join(keeper, NULL);
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq(square_of(mixed.futures[i]), i * i);
    close_mixed(&mixed);
}
END_TEST

/* semantics: F10 F11 */
START_TEST(waiting_for_the_first_failure_heeds_failures_and_not_cancelling)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct held held = hold(pool);
    struct brood_future *futures[5] = {held.future, NULL, NULL, new_promise(), NULL};
    bool done[5];

    futures[1] = submit_square(pool, 2);
    futures[2] = submit_square(pool, 2);
    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &futures[4], &(int){7}), 0);
    ck_assert_int_eq(brood_future_cancel(futures[1]), 0);
    ck_assert_int_eq(brood_promise_set_result(futures[3], NULL, 0), 0);
    ck_assert_int_eq(brood_futures_wait(futures, 4, BROOD_FIRST_EXCEPTION, done, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert(!done[0] && done[1] && !done[2] && done[3]);
    let_go(&held);
    ck_assert_int_ge(brood_futures_wait(futures, 5, BROOD_FIRST_EXCEPTION, done, brood_after_ms(60000)), 1);
    ck_assert(done[4]);
    ck_assert_int_ge(brood_futures_wait(futures, 5, BROOD_FIRST_EXCEPTION, NULL, BROOD_NOW), 1); /* it has failed already */
    ck_assert_int_eq(brood_futures_wait(futures, 4, BROOD_FIRST_EXCEPTION, done, brood_after_ms(60000)),
                     4); /* none fails */
    for (int i = 0; i < 5; i++)
        brood_future_free(futures[i]);
}
END_TEST

/* semantics: F10 F12 */
START_TEST(a_cancelled_promise_is_done_for_the_others_when_its_maker_knows)
{
    struct brood_future *futures[2] = {new_promise(), new_promise()}, *next = NULL;
    brood_auto(as_completed) *iterator = NULL;
    bool done[2];

    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, 2), 0);
    ck_assert_int_eq(brood_future_cancel(futures[0]), 0);
    ck_assert_int_eq(brood_future_wait(futures[0], BROOD_NOW), 0);
    ck_assert_int_eq(brood_futures_wait(futures, 2, BROOD_FIRST_COMPLETED, done, brood_after_ms(10)), -ETIMEDOUT);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_promise_set_running(futures[0]), -ECANCELED);
    ck_assert_int_eq(brood_futures_wait(futures, 2, BROOD_FIRST_COMPLETED, done, BROOD_NOW), 1);
    ck_assert(done[0] && !done[1]);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_NOW), 0);
    ck_assert_ptr_eq(next, futures[0]);
    brood_as_completed_close(iterator);
    iterator = NULL;
    for (int i = 0; i < 2; i++)
        brood_future_free(futures[i]);
}
END_TEST

/* semantics: F10 F13 */
START_TEST(what_occurs_twice_counts_once)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct brood_future *a = submit_square(pool, 2), *b = new_promise(), *next = NULL;
    struct brood_future *futures[] = {a, a, b, a, b, b};
    brood_auto(as_completed) *iterator = NULL;
    bool done[6];

    ck_assert_int_eq(brood_future_wait(a, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, 6), 0);
    ck_assert_int_eq(brood_futures_wait(futures, 6, BROOD_ALL_COMPLETED, done, BROOD_NOW), -EAGAIN);
    ck_assert_str_eq(brood_error(), "1 (of 2) futures unfinished");
    ck_assert(done[0] && done[1] && !done[2] && done[3] && !done[4] && !done[5]);
    ck_assert_int_eq(brood_promise_set_result(b, NULL, 0), 0);
    ck_assert_int_eq(brood_futures_wait(futures, 6, BROOD_ALL_COMPLETED, done, BROOD_NOW), 2);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_NOW), 0);
    ck_assert_ptr_eq(next, a);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_NOW), 0);
    ck_assert_ptr_eq(next, b);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_FOREVER), -ENODATA);
    brood_future_free(a);
    brood_future_free(b);
}
END_TEST

START_TEST(waiting_for_none_is_done_and_for_null_an_error)
{
    brood_auto(as_completed) *iterator = NULL;
    struct brood_future *null = NULL;

    ck_assert_int_eq(brood_futures_wait(NULL, 0, BROOD_ALL_COMPLETED, NULL, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_futures_wait(NULL, 0, BROOD_FIRST_COMPLETED, NULL, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_futures_wait(&null, 1, BROOD_FIRST_COMPLETED, NULL, BROOD_FOREVER), -EINVAL);
    ck_assert_int_eq(brood_futures_wait(NULL, 1, BROOD_FIRST_COMPLETED, NULL, BROOD_FOREVER), -EINVAL);
    ck_assert_int_eq(brood_as_completed_open(&iterator, &null, 1), -EINVAL);
    ck_assert_int_eq(brood_as_completed_open(&iterator, NULL, 0), 0);
    ck_assert_int_eq(brood_as_completed_next(iterator, &null, BROOD_FOREVER), -ENODATA);
    brood_as_completed_close(NULL);
}
END_TEST

/* What a program that looks at no error goes on with when its submission was refused. */
START_TEST(a_future_that_is_null_is_an_error_and_no_crash)
{
    struct brood_death death;
    struct brood_bytes bytes;
    double y;

    ck_assert_int_eq(brood_future_wait(NULL, BROOD_FOREVER), -EINVAL);
    ck_assert_str_eq(brood_error(), "the future is NULL: nothing was submitted, or it has been freed");
    ck_assert_int_eq(brood_future_result(NULL, &y, sizeof(y)), -EINVAL);
    ck_assert_int_eq(brood_future_bytes(NULL, &bytes), -EINVAL);
    ck_assert_int_eq(brood_future_item(NULL, 0), -EINVAL);
    ck_assert_int_eq(brood_future_cancel(NULL), -EINVAL);
    ck_assert_int_eq(brood_future_kill(NULL), -EINVAL);
    ck_assert_int_eq(brood_future_death(NULL, &death), -EINVAL);
    ck_assert_int_eq(brood_future_deaths(NULL, 0, &death, 1), -EINVAL);
    ck_assert_int_eq(brood_future_fd(NULL), -EINVAL);
    ck_assert_int_eq(brood_future_on_done(NULL, record_call, NULL), -EINVAL);
    ck_assert(!brood_future_done(NULL) && !brood_future_running(NULL));
    ck_assert_int_eq(brood_future_state(NULL), BROOD_FUTURE_PENDING);
    ck_assert_uint_eq(brood_future_size(NULL), 0);
    ck_assert_str_eq(brood_future_error(NULL), "");
    brood_future_free(NULL);
}
END_TEST

/* semantics: F13 */
START_TEST(futures_are_given_as_they_complete)
{
    struct mixed mixed;
    struct brood_future *next = NULL;
    brood_auto(as_completed) *iterator = NULL;

    open_mixed(&mixed, _i);
    ck_assert_int_eq(brood_promise_set_result(mixed.futures[5], NULL, 0), 0); /* done already: the first */
    ck_assert_int_eq(brood_as_completed_open(&iterator, mixed.futures, MANY), 0);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_NOW), 0);
    ck_assert_ptr_eq(next, mixed.futures[5]);
    release(&mixed, 1);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(60000)), 0);
    ck_assert_ptr_eq(next, mixed.futures[1]);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(60000)), 0);
    ck_assert_ptr_eq(next, mixed.futures[3]);
    ck_assert_int_eq(brood_promise_set_result(mixed.futures[4], NULL, 0), 0);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_FOREVER), 0);
    ck_assert_ptr_eq(next, mixed.futures[4]);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(10)), -ETIMEDOUT);
    ck_assert_str_eq(brood_error(), "2 (of 6) futures unfinished");
    ck_assert_ptr_eq(next, mixed.futures[4]);
    release(&mixed, 0);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(60000)), 0);
    ck_assert_ptr_eq(next, mixed.futures[0]);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(60000)), 0);
    ck_assert_ptr_eq(next, mixed.futures[2]);
    ck_assert_int_eq(brood_as_completed_next(iterator, &next, BROOD_NOW), -ENODATA);
    close_mixed(&mixed);
}
END_TEST

/* semantics: F13 */
START_TEST(what_was_given_may_be_freed_at_once_and_the_rest_be_left)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct brood_future *futures[300], *next = NULL;
    brood_auto(as_completed) *iterator = NULL;
    double sum = 0, expected = 0;

    for (int i = 0; i < 300; i++) {
        futures[i] = submit_square(pool, i);
        expected += i * i;
    }
    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, 300), 0);
    while (brood_as_completed_next(iterator, &next, brood_after_ms(60000)) == 0) {
        sum += square_of(next);
        brood_future_free(next);
    }
    ck_assert_double_eq(sum, expected);
    for (int i = 0; i < 300; i++)
        futures[i] = submit_square(pool, i);
    brood_as_completed_close(iterator);
    iterator = NULL;
    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, 300), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(60000)), 0);
    brood_as_completed_close(iterator);
    iterator = NULL;
    for (int i = 0; i < 300; i++)
        brood_future_free(futures[i]);
}
END_TEST

static void *keep_all(void *promises)
{
    for (struct brood_future **promise = promises; *promise; promise++)
        ck_assert_int_eq(brood_promise_set_result(*promise, NULL, 0), 0);
    return NULL;
}

/* semantics: F14 */
START_TEST(no_completion_is_missed_while_a_wait_begins)
{
    brood_auto(pool) *pool = open_pool(_i, 2);

    for (int round = 0; round < 20; round++) {
        struct brood_future *futures[100], *promises[51] = {NULL};
        pthread_t keeper;
        int n = 0;

        for (; n < 50; n++)
            futures[n] = new_promise();
        memcpy(promises, futures, 50 * sizeof(promises[0]));
        ck_assert_int_eq(pthread_create(&keeper, NULL, keep_all, promises), 0);
        for (; n < 100; n++)
            futures[n] = submit_square(pool, n);
        if (round % 2 == 0)
            ck_assert_int_eq(brood_futures_wait(futures, 100, BROOD_ALL_COMPLETED, NULL, brood_after_ms(60000)), 100);
        else
            ck_assert_int_ge(brood_futures_wait(futures, 100, BROOD_FIRST_COMPLETED, NULL, brood_after_ms(60000)), 1);
        pthread_join(keeper, NULL);
        for (int i = 0; i < 100; i++)
            brood_future_free(futures[i]);
    }
}
END_TEST

/* What it says on a time-out is of one moment, too. */
START_TEST(an_iterator_is_asked_while_promises_are_kept)
{
    struct brood_future *promises[51] = {NULL}, *next = NULL;
    brood_auto(as_completed) *iterator = NULL;
    pthread_t keeper;
    int given = 0, r;

    for (int i = 0; i < 50; i++)
        promises[i] = new_promise();
    ck_assert_int_eq(brood_as_completed_open(&iterator, promises, 50), 0);
    ck_assert_int_eq(pthread_create(&keeper, NULL, keep_all, promises), 0);
    while ((r = brood_as_completed_next(iterator, &next, BROOD_NOW)) != -ENODATA) {
        ck_assert(r == 0 || r == -EAGAIN);
        given += r == 0;
    }
    ck_assert_int_eq(given, 50);
    ck_assert_int_eq(pthread_join(keeper, NULL), 0);
    for (int i = 0; i < 50; i++)
        brood_future_free(promises[i]);
}
END_TEST

static void *wait_for_all(void *argument)
{
    struct mixed *mixed = argument;
    int r = brood_futures_wait(mixed->futures, 4, BROOD_ALL_COMPLETED, NULL, brood_after_ms(60000));

    return (void *)(intptr_t)(r == 4 ? 0 : -1);
}

/* Whichever thread is awake hands tasks on, those of the others, too. */
struct taker {
    struct brood_future *futures[100];
    int given;
};

static void *take_all(void *argument)
{
    struct taker *taker = argument;
    struct brood_as_completed *iterator = NULL;
    struct brood_future *next;

    if (brood_as_completed_open(&iterator, taker->futures, 100) < 0)
        return NULL;
    while (brood_as_completed_next(iterator, &next, brood_after_ms(60000)) == 0)
        taker->given += brood_future_done(next);
    brood_as_completed_close(iterator);
    return NULL;
}

START_TEST(tasks_that_wait_in_the_host_are_given_whichever_thread_hands_them_on)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    static struct taker takers[4];
    pthread_t threads[4];

    memset(takers, 0, sizeof(takers));
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 100; k++) {
            double x = k;

            ck_assert_int_eq(brood_submit(pool, square, &takers[i].futures[k], BROOD_CALL(.priority = 1 + (i + k) % 7), &x),
                             0);
        }
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_all, &takers[i]), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(takers[i].given, 100);
        for (int k = 0; k < 100; k++)
            brood_future_free(takers[i].futures[k]);
    }
}
END_TEST

START_TEST(several_threads_wait_for_the_same_futures)
{
    struct mixed mixed;
    pthread_t threads[4];
    void *r;

    open_mixed(&mixed, _i);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for_all, &mixed), 0);
    release(&mixed, 0);
    release(&mixed, 1);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &r), 0);
        ck_assert_ptr_null(r);
    }
    close_mixed(&mixed);
}
END_TEST

START_TEST(waiting_for_several_ends_when_workers_die_and_when_a_pool_is_closed)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct brood_pool *closed = open_pool(_i, 1);
    struct brood_future *futures[2] = {NULL, NULL};
    bool done[2];

    ck_assert_int_eq(brood_apply_async(pool, die_by, &futures[0], &(int){SIGKILL}), 0);
    ck_assert_int_eq(brood_apply_async(closed, hang, &futures[1], &(int){1}), 0);
    ck_assert_int_eq(brood_futures_wait(futures, 2, BROOD_FIRST_EXCEPTION, done, brood_after_ms(60000)), 1);
    ck_assert(done[0] && !done[1]);
    ck_assert_int_eq(brood_future_item(futures[0], 0), -EOWNERDEAD);
    ck_assert_int_eq(brood_pool_close(closed, BROOD_NOW), -ETIMEDOUT);
    ck_assert_int_eq(brood_futures_wait(futures, 2, BROOD_ALL_COMPLETED, done, BROOD_NOW), 2);
    ck_assert_int_eq(brood_future_item(futures[1], 0), -ESHUTDOWN);
    for (int i = 0; i < 2; i++)
        brood_future_free(futures[i]);
}
END_TEST

static struct brood_future *submit_large(struct brood_pool *pool, uint64_t bytes)
{
    const struct large large = {.bytes = bytes, .seed = 1};
    struct brood_future *future = NULL;

    ck_assert_int_eq(brood_apply_bytes_async(pool, make_large, &future, (struct brood_bytes){&large, sizeof(large)}), 0);
    return future;
}

START_TEST(results_of_any_size_complete_and_call_back_like_others)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .callbacks = BROOD_CALLBACK_THREAD));
    brood_auto(as_completed) *iterator = NULL;
    struct brood_future *futures[20], *next = NULL;

    for (int i = 0; i < 20; i++) {
        futures[i] = submit_large(pool, (uint64_t)i * 5000);
        ck_assert_int_eq(brood_future_on_done(futures[i], record_call, NULL), 0);
    }
    if (_i >= BY_THREADS) /* by the thread alone */
        await(atomic_load(&records.count) == 20);
    for (int i = 0; i < 20; i++) {
        brood_future_free(futures[i]);
        futures[i] = submit_large(pool, (uint64_t)i * 5000);
    }
    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, 20), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(brood_as_completed_next(iterator, &next, brood_after_ms(60000)), 0);
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(brood_future_size(futures[i]), (size_t)i * 5000);
        brood_future_free(futures[i]);
    }
}
END_TEST

/* ---- descriptors ---- */

START_TEST(the_descriptor_of_a_pool_is_readable_when_something_is_done)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct brood_future *before = submit_square(pool, 1), *futures[50];
    int fd = brood_pool_fd(pool);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(brood_pool_fd(pool), fd);
    expect_readable(fd); /* what was done before counts, too */
    ck_assert_int_eq(brood_future_wait(before, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_pool_run(pool, BROOD_NOW), 0);
    ck_assert(!is_readable(fd));
    for (int i = 0; i < 50; i++) {
        futures[i] = submit_square(pool, i);
        add_notes(futures[i], 0, 1);
    }
    while (atomic_load(&records.count) < 50) { /* some were done, and called back at once */
        expect_readable(fd);
        int r = brood_pool_run(pool, BROOD_NOW);

        ck_assert(r >= 0 || r == -EAGAIN);
    }
    ck_assert_int_eq(brood_pool_run(pool, BROOD_NOW), 0);
    ck_assert(!is_readable(fd));
    ck_assert_int_eq(atomic_load(&records.count), 50);
    for (int i = 0; i < 50; i++)
        brood_future_free(futures[i]);
    brood_future_free(before);
}
END_TEST

START_TEST(the_descriptor_of_a_future_is_readable_when_that_is_done)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct held held = hold(pool);
    brood_auto(future) *future = submit_square(pool, 3);
    brood_auto(future) *cancelled = submit_square(pool, 3);
    int first = brood_future_fd(held.future), fd = brood_future_fd(future), third = brood_future_fd(cancelled);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(brood_future_fd(future), fd);
    await_running(&held);
    ck_assert(!is_readable(first) && !is_readable(fd) && !is_readable(third));
    ck_assert_int_eq(brood_future_cancel(cancelled), 0);
    ck_assert(is_readable(third) && !is_readable(fd));
    let_go(&held);
    expect_readable(first);

    bool ready[2];
    struct brood_waited things[] = {BROOD_WAIT_FD(fd), BROOD_WAIT_FD(first)};

    ck_assert_int_ge(brood_wait(things, 2, ready, brood_after_ms(60000)), 1);
    expect_readable(fd);
    ck_assert_double_eq(square_of(future), 9);
    brood_future_free(held.future);
}
END_TEST

START_TEST(the_descriptor_of_what_is_done_is_readable_from_the_beginning)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *future = submit_square(pool, 3);
    brood_auto(future) *promise = new_promise();
    int fd;

    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    fd = brood_future_fd(future);
    ck_assert(is_readable(fd));
    ck_assert_int_eq(brood_future_fd(future), fd);
    fd = brood_future_fd(promise);
    ck_assert(!is_readable(fd));
    ck_assert_int_eq(brood_promise_set_result(promise, NULL, 0), 0);
    ck_assert(is_readable(fd));
}
END_TEST

START_TEST(descriptors_tell_of_a_death_and_of_a_broken_pool)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    brood_auto(future) *died = NULL;
    brood_auto(future) *hangs = NULL;
    int fd;

    ck_assert_int_eq(brood_apply_async(pool, die_by, &died, &(int){SIGKILL}), 0);
    expect_readable(brood_future_fd(died));
    ck_assert_int_eq(brood_future_item(died, 0), -EOWNERDEAD);
    ck_assert_int_eq(brood_apply_async(pool, hang, &hangs, &(int){1}), 0);
    fd = brood_pool_fd(pool);
    await(brood_future_running(hangs) && brood_pool_worker_pid(pool, 0) > 0);
    (void)brood_pool_run(pool, BROOD_NOW);
    ck_assert(!is_readable(fd));
    ck_assert_int_eq(kill(parent_of(brood_pool_worker_pid(pool, 0)), SIGKILL), 0);
    expect_readable(fd);
    ck_assert_int_eq(brood_future_item(hangs, 0), -ESHUTDOWN);
}
END_TEST

START_TEST(closing_ends_the_thread_that_attends)
{
    struct brood_pool *pool = open_pool(_i, 2);
    brood_auto(future) *future = submit_square(pool, 3);

    ck_assert_int_ge(brood_pool_fd(pool), 0);
    ck_assert_int_ge(brood_future_fd(future), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_double_eq(square_of(future), 9);
    ck_assert(is_readable(brood_future_fd(future)));
}
END_TEST

/* ---- what is dropped is free ---- */

/* semantics: X17 */
START_TEST(dropped_futures_leave_no_memory_taken)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .memory_bytes = 1 << 20));
    struct block in = {{0}};

    for (int i = 0; i < 5000; i++) { /* ten times as much as there is */
        struct brood_future *future = NULL;

        ck_assert_int_eq(brood_apply_async(pool, rotate, &future, &in), 0);
        if (i % 2 == 0)
            ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
        brood_future_free(future);
    }
}
END_TEST

static void use_in_child(void *argument)
{
    struct mixed *mixed = argument;
    struct brood_as_completed *iterator = NULL;

    ck_assert_int_eq(brood_future_on_done(mixed->futures[4], record_call, NULL), -EPERM);
    ck_assert_int_eq(brood_future_on_done(mixed->futures[0], record_call, NULL), -EPERM);
    ck_assert_int_eq(brood_promise_set_result(mixed->futures[4], NULL, 0), -EPERM);
    ck_assert_int_eq(brood_future_wait(mixed->futures[4], BROOD_FOREVER), -EPERM);
    ck_assert_int_eq(brood_future_fd(mixed->futures[4]), -EPERM);
    ck_assert_int_eq(brood_futures_wait(mixed->futures, MANY, BROOD_ALL_COMPLETED, NULL, BROOD_FOREVER), -EPERM);
    ck_assert_int_eq(brood_as_completed_open(&iterator, mixed->futures, MANY), -EPERM);
    ck_assert_int_eq(brood_pool_run(mixed->pools[0], BROOD_FOREVER), -EPERM);
    ck_assert_int_eq(brood_pool_fd(mixed->pools[0]), -EPERM);
    brood_future_free(mixed->futures[4]);
}

START_TEST(a_fork_of_the_host_cannot_use_them)
{
    struct mixed mixed;

    open_mixed(&mixed, _i);
    in_child(use_in_child, &mixed);
    close_mixed(&mixed);
}
END_TEST

/* ---- all at once ---- */

enum { USERS = 4, TASKS_EACH = 150 };

struct user {
    struct brood_pool *pools[2];
    int number;
    _Atomic int called;
};

static void count_call(struct brood_future *future, void *called)
{
    (void)future;
    atomic_fetch_add((_Atomic int *)called, 1);
}

static void *use_everything(void *argument)
{
    struct user *user = argument;
    struct brood_future *futures[TASKS_EACH], *next = NULL;
    struct brood_as_completed *iterator = NULL;
    int given = 0;

    for (int i = 0; i < TASKS_EACH; i++) {
        if (i % 3 == 2)
            futures[i] = new_promise();
        else
            futures[i] = submit_square(user->pools[i % 3], i);
        ck_assert_int_eq(brood_future_on_done(futures[i], count_call, &user->called), 0);
        if (i % 7 == user->number)
            (void)brood_future_cancel(futures[i]);
        if (i % 10 == 0)
            ck_assert_int_ge(brood_future_fd(futures[i]), 0);
        if (i % 3 == 2)
            (void)brood_promise_set_result(futures[i], &i, sizeof(i));
    }
    if (user->number % 2 == 0)
        ck_assert_int_eq(brood_futures_wait(futures, TASKS_EACH, BROOD_ALL_COMPLETED, NULL, brood_after_ms(60000)),
                         TASKS_EACH);
    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, TASKS_EACH), 0);
    while (brood_as_completed_next(iterator, &next, brood_after_ms(60000)) == 0) {
        brood_future_free(next);
        given++;
    }
    brood_as_completed_close(iterator);
    ck_assert_int_eq(given, TASKS_EACH);
    return NULL;
}

START_TEST(any_number_of_threads_wait_cancel_and_are_called_back_at_once)
{
    struct brood_pool *pools[2] = {
        open_kind(_i, BROOD_POOL(.workers = 2, .queue = 32)),
        open_kind(_i, BROOD_POOL(.workers = 1, .callbacks = BROOD_CALLBACK_THREAD)),
    };
    struct user users[USERS];
    pthread_t threads[USERS];

    ck_assert_int_ge(brood_pool_fd(pools[0]), 0);
    for (int i = 0; i < USERS; i++) {
        users[i] = (struct user){.pools = {pools[0], pools[1]}, .number = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_everything, &users[i]), 0);
    }
    for (int i = 0; i < USERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(brood_pool_close(pools[i], BROOD_FOREVER), 0);
    for (int i = 0; i < USERS; i++)
        ck_assert_int_eq(atomic_load(&users[i].called), TASKS_EACH);
}
END_TEST

START_TEST(every_future_is_given_once_while_workers_die)
{
    struct brood_pool *pools[2] = {open_pool(_i, 2), open_pool(_i, 1)};
    struct brood_future *futures[400], *next = NULL;
    brood_auto(as_completed) *iterator = NULL;
    int lost = 0, given = 0;

    for (int i = 0; i < 400; i++)
        ck_assert_int_eq(brood_apply_async(pools[i % 2], die_if_divisible, &futures[i], &(int){i + 1}), 0);
    ck_assert_int_eq(brood_as_completed_open(&iterator, futures, 400), 0);
    while (brood_as_completed_next(iterator, &next, brood_after_ms(60000)) == 0) {
        lost += brood_future_state(next) == BROOD_FUTURE_WORKER_LOST;
        brood_future_free(next);
        given++;
    }
    ck_assert_int_eq(given, 400);
    ck_assert_int_eq(lost, 4);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(brood_pool_close(pools[i], BROOD_FOREVER), 0);
}
END_TEST

static void wait_without_waitv(void *kind)
{
    struct mixed mixed;

    deny(SYS_futex_waitv, ENOSYS);
    open_mixed(&mixed, *(int *)kind);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, MANY, BROOD_FIRST_COMPLETED, NULL, brood_after_ms(20)), -ETIMEDOUT);
    release(&mixed, 1);
    release(&mixed, 0);
    ck_assert_int_eq(brood_futures_wait(mixed.futures, 4, BROOD_ALL_COMPLETED, NULL, brood_after_ms(60000)), 4);
    close_mixed(&mixed);
}

START_TEST(an_old_kernel_lets_a_thread_sleep_in_several_pools_too)
{
    in_child(wait_without_waitv, &_i);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("futures");
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;

    add_tests(
        suite, "promises", a_promise_goes_from_pending_to_running_to_done, a_promise_goes_from_pending_to_cancelled_to_told,
        the_first_outcome_of_a_promise_is_kept, a_promise_that_is_not_kept_times_out, a_promise_holds_a_result_of_any_size,
        a_cancelled_promise_is_done_for_the_others_when_its_maker_knows, a_chain_of_promises_does_not_use_up_the_stack,
        a_chain_of_promises_that_are_kept_already_does_not_use_up_the_stack,
        callbacks_of_one_future_cost_the_same_however_many_there_are, waiting_for_none_is_done_and_for_null_an_error,
        a_future_that_is_null_is_an_error_and_no_crash, NULL);
    add_loop_tests(suite, "promises and threads", 0, 3, threads_that_wait_for_a_promise_are_woken,
                   an_iterator_is_asked_while_promises_are_kept,
                   callbacks_of_a_promise_are_called_in_order_by_the_thread_that_keeps_it, NULL);
    add_loop_tests(suite, "states", 0, end, a_pools_future_is_not_to_be_set, a_task_that_has_run_is_done_or_failed, NULL);
    add_loop_tests(suite, "states beside the caller", BY_THREADS, end,
                   a_task_that_waits_is_pending_or_cancelled_and_one_that_runs_is_running, NULL);
    add_loop_tests(suite, "callbacks", 0, end, callbacks_of_a_task_are_called_in_order_by_the_thread_that_waits,
                   a_callback_of_what_is_done_may_free_it, a_future_that_was_freed_still_calls_back,
                   a_callback_submits_the_next_task_also_one_that_crashes, a_chain_of_callbacks_does_not_use_up_the_stack,
                   the_callback_of_a_map_is_called_once_with_the_whole, a_callback_thread_calls_them_all_without_a_waiter,
                   NULL);
    add_loop_tests(suite, "callbacks beside the caller", BY_THREADS, end, callbacks_are_called_on_failure_and_on_cancelling,
                   callbacks_are_not_called_inside_a_submission_but_by_any_wait,
                   a_callback_may_free_its_future_and_the_others_are_called,
                   a_thread_that_sleeps_calls_what_was_added_later, waiting_for_one_task_calls_the_callbacks_of_another,
                   a_callback_may_wait_in_the_pool_and_not_close_it, a_callback_of_what_is_done_may_close_the_pool,
                   a_callback_costs_the_same_however_many_are_due,
                   a_sleep_costs_the_same_however_many_callbacks_are_awaited, closing_calls_the_callbacks_that_are_left,
                   a_callback_that_blocks_holds_up_callbacks_and_no_results, NULL);
    add_loop_tests(suite, "several", 0, end, what_occurs_twice_counts_once,
                   results_of_any_size_complete_and_call_back_like_others,
                   what_was_given_may_be_freed_at_once_and_the_rest_be_left, no_completion_is_missed_while_a_wait_begins,
                   dropped_futures_leave_no_memory_taken, NULL);
    add_loop_tests(
        suite, "several beside the caller", BY_THREADS, end, waiting_for_the_first_ends_with_one_of_any_pool_or_promise,
        waiting_for_all_ends_with_the_last_of_any_pool_and_promise,
        waiting_for_the_first_failure_heeds_failures_and_not_cancelling, futures_are_given_as_they_complete,
        several_threads_wait_for_the_same_futures, tasks_that_wait_in_the_host_are_given_whichever_thread_hands_them_on,
        a_sleep_costs_the_same_however_many_futures_are_unfinished,
        a_sleep_costs_the_same_however_many_jobs_are_over_after_one_that_runs, NULL);
    add_loop_tests(suite, "descriptors", 0, end, the_descriptor_of_a_pool_is_readable_when_something_is_done,
                   the_descriptor_of_what_is_done_is_readable_from_the_beginning, closing_ends_the_thread_that_attends,
                   NULL);
    add_loop_tests(suite, "descriptors beside the caller", BY_THREADS, end,
                   the_descriptor_of_a_future_is_readable_when_that_is_done, NULL);
    add_loop_tests(suite, "all at once", BY_THREADS, end, any_number_of_threads_wait_cancel_and_are_called_back_at_once,
                   NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "with processes", BY_FORKS, end, every_future_is_given_once_while_workers_die,
                       an_old_kernel_lets_a_thread_sleep_in_several_pools_too,
                       a_task_whose_worker_died_is_lost_however_that_came,
                       waiting_for_several_ends_when_workers_die_and_when_a_pool_is_closed,
                       descriptors_tell_of_a_death_and_of_a_broken_pool, a_fork_of_the_host_cannot_use_them, NULL);
    return run_suite(suite);
}
