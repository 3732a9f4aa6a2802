/* check_task.c - the registry of tasks, and how one is run: its argument, its result, its failure. */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "child.h"
#include "proto/task.h"

static void expect_words(const char *words)
{
    ck_assert_msg(strstr(brood_error(), words) != NULL, "'%s' is not in: %s", words, brood_error());
}

/* ---- tasks that registered themselves ---- */

BROOD_TASK(double_it, int, int)
{
    *result = *arg * 2;
    return 0;
}

struct pair {
    int64_t one, two;
};

/* Returns what it is told; negative numbers of three digits with words. */
BROOD_TASK(obey, int, struct pair)
{
    *result = (struct pair){1, 2};
    if (*arg < 0 && *arg > -1000)
        return brood_fail(*arg, "told to fail with %d", *arg);
    return *arg;
}

BROOD_TASK_BYTES(repeat, 1000)
{
    return brood_reply_set(reply, arg.ptr, arg.len);
}

START_TEST(a_task_is_known_before_main)
{
    ck_assert_ptr_eq(brood_task_find("double_it"), &double_it.task);
    ck_assert_ptr_eq(brood_task_find("obey"), &obey.task);
    ck_assert_ptr_eq(brood_task_find("repeat"), &repeat.task);
    ck_assert_int_eq(brood__tasks_check(), 0);
}
END_TEST

START_TEST(a_task_carries_the_sizes_of_its_types)
{
    ck_assert_uint_eq(obey.task.arg_size, sizeof(int));
    ck_assert_uint_eq(obey.task.result_size, sizeof(struct pair));
    ck_assert_uint_eq(repeat.task.arg_size, BROOD_ANY_SIZE);
    ck_assert_uint_eq(repeat.task.result_size, 1000);
}
END_TEST

START_TEST(an_unknown_name_is_nobodys)
{
    ck_assert_ptr_null(brood_task_find("double"));
    ck_assert_ptr_null(brood_task_find("double_it_"));
    ck_assert_ptr_null(brood_task_find(""));
}
END_TEST

/* ---- the registry ---- */

static int succeed(struct brood_bytes arg, struct brood_reply *reply)
{
    (void)arg;
    (void)reply;
    return 0;
}

START_TEST(a_registered_task_is_found)
{
    static const struct brood_task task = {"a task", succeed, 0, 0};

    ck_assert_ptr_null(brood_task_find("a task"));
    ck_assert_int_eq(brood_task_register(&task), 0);
    ck_assert_ptr_eq(brood_task_find("a task"), &task);
    ck_assert_ptr_eq(brood_task_find("obey"), &obey.task);
}
END_TEST

START_TEST(the_same_task_may_register_again)
{
    ck_assert_int_eq(brood_task_register(&obey.task), 0);
    ck_assert_int_eq(brood__tasks_check(), 0);
    ck_assert_ptr_eq(brood_task_find("obey"), &obey.task);
}
END_TEST

START_TEST(what_is_no_task_is_refused)
{
    static char long_name[BROOD_TASK_NAME_MAX + 2];
    static const struct brood_task nameless = {NULL, succeed, 0, 0}, empty = {"", succeed, 0, 0},
                                   idle = {"idle", NULL, 0, 0};
    static const struct brood_task wordy = {long_name, succeed, 0, 0};

    ck_assert_int_eq(brood_task_register(NULL), -EINVAL);
    ck_assert_int_eq(brood_task_register(&nameless), -EINVAL);
    ck_assert_int_eq(brood_task_register(&empty), -EINVAL);
    ck_assert_int_eq(brood_task_register(&idle), -EINVAL);
    expect_words("a name and a function");
    memset(long_name, 'n', BROOD_TASK_NAME_MAX + 1);
    ck_assert_int_eq(brood_task_register(&wordy), -EINVAL);
    expect_words("111");
    long_name[BROOD_TASK_NAME_MAX] = '\0';
    ck_assert_int_eq(brood_task_register(&wordy), 0);
    ck_assert_ptr_null(brood_task_find("idle"));
    ck_assert_int_eq(brood__tasks_check(), 0); /* none of these keeps a pool from opening */
}
END_TEST

static const struct brood_task impostor = {"obey", succeed, 0, 0};

START_TEST(a_second_task_of_one_name_is_refused_in_words)
{
    ck_assert_int_eq(brood_task_register(&impostor), -EEXIST);
    expect_words("'obey'");
    ck_assert_ptr_eq(brood_task_find("obey"), &obey.task);
    (void)brood_fail(-EIO, "something else since");
    ck_assert_int_eq(brood__tasks_check(), -EEXIST);
    expect_words("'obey'");
}
END_TEST

START_TEST(no_pool_opens_while_two_tasks_have_one_name)
{
    static const enum brood_kind kinds[] = {BROOD_PROCESSES, BROOD_THREADS, BROOD_INLINE};
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_task_register(&impostor), -EEXIST);
    for (int i = 0; i < 3; i++) {
        (void)brood_fail(-EIO, "something else since");
        ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = kinds[i], .workers = 1)), -EEXIST);
        ck_assert_ptr_null(pool);
        expect_words("'obey'");
    }
}
END_TEST

START_TEST(a_task_that_was_unregistered_is_unknown_and_its_name_is_free)
{
    static const struct brood_task first = {"comes and goes", succeed, 0, 0}, second = {"comes and goes", succeed, 8, 8};

    ck_assert_int_eq(brood_task_unregister(&first), -ENOENT);
    expect_words("'comes and goes'");
    ck_assert_int_eq(brood_task_unregister(NULL), -EINVAL);
    ck_assert_int_eq(brood_task_register(&first), 0);
    ck_assert_int_eq(brood_task_unregister(&second), -ENOENT);
    ck_assert_ptr_eq(brood_task_find("comes and goes"), &first);
    ck_assert_int_eq(brood_task_unregister(&first), 0);
    ck_assert_ptr_null(brood_task_find("comes and goes"));
    ck_assert_int_eq(brood_task_register(&second), 0);
    ck_assert_ptr_eq(brood_task_find("comes and goes"), &second);
    ck_assert_int_eq(brood_task_unregister(&second), 0);
}
END_TEST

START_TEST(pools_open_again_when_the_second_task_of_a_name_has_gone)
{
    ck_assert_int_eq(brood_task_register(&impostor), -EEXIST);
    ck_assert_int_eq(brood__tasks_check(), -EEXIST);
    ck_assert_int_eq(brood_task_unregister(&impostor), 0);
    ck_assert_int_eq(brood__tasks_check(), 0);
    ck_assert_ptr_eq(brood_task_find("obey"), &obey.task);
}
END_TEST

/* ---- many at once ---- */

#define THREADS 4
#define EACH 1000

static char names[THREADS][EACH][32];
static struct brood_task many[THREADS][EACH];
static _Atomic int go, registered;

static void *register_many(void *argument)
{
    int thread = *(int *)argument;

    while (!atomic_load(&go))
        ;
    for (int i = 0; i < EACH; i++)
        atomic_fetch_add(&registered, brood_task_register(&many[thread][i]) == 0);
    return NULL;
}

/* Where `is_shared`, all threads use the same names. */
static void race_to_register(bool is_shared)
{
    pthread_t threads[THREADS];
    int arguments[THREADS];

    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < EACH; i++) {
            (void)snprintf(names[t][i], sizeof(names[t][i]), "race-%d-%d", is_shared ? 0 : t, i);
            many[t][i] = (struct brood_task){names[t][i], succeed, 0, 0};
        }
    for (int t = 0; t < THREADS; t++) {
        arguments[t] = t;
        ck_assert_int_eq(pthread_create(&threads[t], NULL, register_many, &arguments[t]), 0);
    }
    atomic_store(&go, 1);
    for (int t = 0; t < THREADS; t++)
        ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
}

START_TEST(threads_that_register_at_once_lose_no_task)
{
    race_to_register(false);
    ck_assert_int_eq(atomic_load(&registered), THREADS * EACH);
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < EACH; i++)
            if (brood_task_find(names[t][i]) != &many[t][i])
                ck_abort_msg("%s is lost", names[t][i]);
}
END_TEST

START_TEST(of_threads_that_register_one_name_at_once_one_wins)
{
    race_to_register(true);
    ck_assert_int_eq(atomic_load(&registered), EACH);
    ck_assert_int_eq(brood__tasks_check(), -EEXIST);
}
END_TEST

/* ---- a result ---- */

#define ROOM 16

static char space[ROOM + 1];

static struct brood_reply new_reply(void)
{
    static const struct brood_task task = {"brief", NULL, BROOD_ANY_SIZE, ROOM};

    return (struct brood_reply){.space = space, .room = ROOM, .task = &task};
}

START_TEST(a_result_has_the_space_that_it_asks_for)
{
    struct brood_reply reply = new_reply();

    ck_assert_ptr_eq(brood_reply_space(&reply, ROOM), space);
    ck_assert_uint_eq(reply.length, ROOM);
    ck_assert_ptr_nonnull(brood_reply_space(&reply, 0));
    ck_assert_uint_eq(reply.length, 0);
    ck_assert_int_eq(reply.error, 0);
}
END_TEST

START_TEST(a_result_that_is_too_large_is_refused_in_words)
{
    struct brood_reply reply = new_reply();

    ck_assert_ptr_null(brood_reply_space(&reply, ROOM + 1));
    ck_assert_int_eq(reply.error, -EMSGSIZE);
    ck_assert_uint_eq(reply.length, 0);
    expect_words("17 bytes");
    expect_words("at most 16");
    ck_assert_ptr_null(brood_reply_space(&reply, SIZE_MAX));
}
END_TEST

START_TEST(the_last_result_counts)
{
    struct brood_reply reply = new_reply();

    ck_assert_int_eq(brood_reply_set(&reply, "0123456789abcdefg", ROOM + 1), -EMSGSIZE);
    ck_assert_int_eq(brood_reply_set(&reply, "second", 6), 0);
    ck_assert_int_eq(reply.error, 0);
    ck_assert_uint_eq(reply.length, 6);
    ck_assert_mem_eq(space, "second", 6);
    ck_assert_int_eq(brood_reply_set(&reply, "0123456789abcdefg", ROOM + 1), -EMSGSIZE);
    ck_assert_uint_eq(reply.length, 0);
    ck_assert_int_eq(reply.error, -EMSGSIZE);
    ck_assert_mem_eq(space, "second", 6); /* nothing was written, in part or beyond */
    ck_assert_int_eq(space[ROOM], 0);
}
END_TEST

START_TEST(an_empty_result_needs_no_bytes)
{
    struct brood_reply reply = new_reply();

    reply.room = 0;
    ck_assert_int_eq(brood_reply_set(&reply, NULL, 0), 0);
    ck_assert_uint_eq(reply.length, 0);
    ck_assert_int_eq(brood_reply_set(&reply, "x", 1), -EMSGSIZE);
}
END_TEST

/* ---- running ---- */

static size_t length;
static union {
    int number;
    struct pair pair;
    char bytes[1000];
} answer;

static int run(const struct brood_task *task, const void *arg, size_t size, size_t room)
{
    length = room;
    return brood__task_run(task, "a name", (struct brood_bytes){arg, size}, &answer, &length);
}

static int run_obey(int number)
{
    return run(&obey.task, &number, sizeof(number), sizeof(struct pair));
}

START_TEST(a_task_gets_its_argument_and_gives_its_result)
{
    ck_assert_int_eq(run(&double_it.task, &(int){21}, sizeof(int), sizeof(int)), 0);
    ck_assert_int_eq(answer.number, 42);
    ck_assert_uint_eq(length, sizeof(int));
    ck_assert_int_eq(run(&repeat.task, "bytes", 5, 1000), 0);
    ck_assert_uint_eq(length, 5);
    ck_assert_mem_eq(answer.bytes, "bytes", 5);
    ck_assert_int_eq(run(&repeat.task, NULL, 0, 1000), 0);
    ck_assert_uint_eq(length, 0);
}
END_TEST

START_TEST(a_task_that_succeeds_may_return_any_number_that_is_not_negative)
{
    static const int numbers[] = {0, 1, 4096, INT_MAX};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        ck_assert_int_eq(run_obey(numbers[i]), 0);
        ck_assert_uint_eq(length, sizeof(struct pair));
    }
}
END_TEST

START_TEST(a_failure_is_its_errno_with_its_words_and_without_a_result)
{
    ck_assert_int_eq(run_obey(-EDOM), -EDOM);
    expect_words("told to fail with -33");
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(run_obey(-1), -1);
}
END_TEST

START_TEST(a_failure_without_words_has_none_of_an_earlier_ones)
{
    (void)brood_fail(-EIO, "long ago");
    ck_assert_int_eq(run_obey(-4095), -4095); /* the last errno there is */
    ck_assert_str_eq(brood_error(), "");
    (void)brood_fail(-EIO, "long ago");
    ck_assert_int_eq(run_obey(0), 0);
    ck_assert_str_eq(brood_error(), "");
}
END_TEST

START_TEST(what_is_no_errno_is_replaced)
{
    static const int numbers[] = {-4096, -32768, -70000, INT_MIN};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[16];

        ck_assert_int_eq(run_obey(numbers[i]), -ERANGE);
        (void)snprintf(text, sizeof(text), "%d", numbers[i]);
        expect_words(text);
        ck_assert_uint_eq(length, 0);
    }
}
END_TEST

/* Finds no room, and says that all went well. */
static int boast(struct brood_bytes arg, struct brood_reply *reply)
{
    (void)brood_reply_set(reply, arg.ptr, arg.len);
    return 0;
}

static int boast_and_fail(struct brood_bytes arg, struct brood_reply *reply)
{
    (void)boast(arg, reply);
    return -EDOM;
}

START_TEST(a_result_without_room_is_a_failure_whatever_the_task_says)
{
    static const struct brood_task boaster = {"boast", boast, BROOD_ANY_SIZE, 4};
    static const struct brood_task failer = {"boast and fail", boast_and_fail, BROOD_ANY_SIZE, 4};

    ck_assert_int_eq(run(&boaster, "1234", 4, 4), 0);
    ck_assert_int_eq(run(&boaster, "12345", 5, 4), -EMSGSIZE);
    ck_assert_uint_eq(length, 0);
    expect_words("5 bytes");
    ck_assert_int_eq(run(&failer, "12345", 5, 4), -EDOM); /* its own error says more */
}
END_TEST

START_TEST(an_unknown_task_is_an_error_with_its_name)
{
    ck_assert_int_eq(run(NULL, "", 0, 4), -ENOENT);
    expect_words("'a name'");
    ck_assert_uint_eq(length, 0);
}
END_TEST

START_TEST(an_argument_of_another_size_is_refused_with_both_sizes)
{
    ck_assert_int_eq(run(&double_it.task, "123456", 6, sizeof(int)), -EPROTO);
    expect_words("takes 4 bytes");
    expect_words("given 6");
    ck_assert_uint_eq(length, 0);
}
END_TEST

START_TEST(a_result_of_another_size_is_refused_with_both_sizes)
{
    ck_assert_int_eq(run(&obey.task, &(int){0}, sizeof(int), sizeof(struct pair) + 8), -EPROTO);
    expect_words("gives 16 bytes");
    expect_words("expects 24");
    ck_assert_uint_eq(length, 0);
}
END_TEST

/* As when host and worker were built from different sources. */
static void run_with_too_little_room(void *argument)
{
    int r = run(&obey.task, &(int){0}, sizeof(int), sizeof(struct pair) - 1);

    (void)argument;
    ck_assert_msg(r == -EPROTO || r == -EMSGSIZE, "%d", r);
    ck_assert_uint_eq(length, 0);
    ck_assert_str_ne(brood_error(), "");
}

START_TEST(a_result_type_larger_than_the_host_knows_is_refused)
{
    in_child(run_with_too_little_room, NULL);
}
END_TEST

/* ---- one function, many tasks ---- */

/* As a binding to another language makes them: its one function, and what that is to do with each. */
struct scale {
    struct brood_task task;
    double factor;
};

static int multiply(struct brood_bytes arg, struct brood_reply *reply)
{
    const struct scale *scale = (const struct scale *)(const void *)brood_reply_task(reply);
    double x;

    memcpy(&x, arg.ptr, sizeof(x));
    x *= scale->factor;
    return brood_reply_set(reply, &x, sizeof(x));
}

START_TEST(a_task_brings_along_what_stands_behind_it)
{
    static const enum brood_kind kinds[] = {BROOD_INLINE, BROOD_THREADS, BROOD_PROCESSES};
    static const struct scale scales[] = {{{"twice", multiply, BROOD_ANY_SIZE, BROOD_ANY_SIZE}, 2},
                                          {{"half", multiply, BROOD_ANY_SIZE, BROOD_ANY_SIZE}, 0.5},
                                          {{"thrice", multiply, sizeof(double), sizeof(double)}, 3}};
    brood_auto(pool) *pool = NULL;
    double x = 21, results[3], all[] = {1, 2, 3};
    struct brood_space room = {&results[0], sizeof(double)};

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(brood_task_register(&scales[i].task), 0);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = kinds[_i], .workers = 1)), 0);
    ck_assert_int_eq(brood_pool_apply_bytes(pool, &scales[0].task, &room, (struct brood_bytes){&x, sizeof(x)}), 0);
    ck_assert_double_eq(results[0], 42);
    ck_assert_int_eq(brood_pool_apply_bytes(pool, &scales[1].task, &room, (struct brood_bytes){&x, sizeof(x)}), 0);
    ck_assert_double_eq(results[0], 10.5);
    ck_assert_int_eq(brood_pool_apply(pool, &scales[2].task, &results[0], &x), 0);
    ck_assert_double_eq(results[0], 63);
    ck_assert_int_eq(brood_pool_map(pool, &scales[2].task, results, all, 3, NULL), 0);
    ck_assert_double_eq(results[2], 9);
}
END_TEST

/* ---- words on their way to a host ---- */

START_TEST(the_words_of_a_failure_arrive_at_its_future)
{
    static const enum brood_kind kinds[] = {BROOD_INLINE, BROOD_THREADS, BROOD_PROCESSES};

    for (int i = 0; i < 3; i++) {
        brood_auto(pool) *pool = NULL;
        brood_auto(future) *future = NULL;
        struct pair pair;

        ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = kinds[i], .workers = 1)), 0);
        ck_assert_int_eq(brood_apply_async(pool, obey, &future, &(int){-EDOM}), 0);
        ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
        ck_assert_int_eq(brood_future_result(future, &pair, sizeof(pair)), -EDOM);
        ck_assert_str_eq(brood_future_error(future), "told to fail with -33");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task");

    add_tests(suite, "macros", a_task_is_known_before_main, a_task_carries_the_sizes_of_its_types,
              an_unknown_name_is_nobodys, NULL);
    add_tests(suite, "registry", a_registered_task_is_found, the_same_task_may_register_again, what_is_no_task_is_refused,
              a_task_that_was_unregistered_is_unknown_and_its_name_is_free,
              pools_open_again_when_the_second_task_of_a_name_has_gone, a_second_task_of_one_name_is_refused_in_words,
              no_pool_opens_while_two_tasks_have_one_name, NULL);
    add_tests(suite, "race", threads_that_register_at_once_lose_no_task, of_threads_that_register_one_name_at_once_one_wins,
              NULL);
    add_tests(suite, "reply", a_result_has_the_space_that_it_asks_for, a_result_that_is_too_large_is_refused_in_words,
              the_last_result_counts, an_empty_result_needs_no_bytes, NULL);
    add_tests(suite, "run", a_task_gets_its_argument_and_gives_its_result,
              a_task_that_succeeds_may_return_any_number_that_is_not_negative,
              a_failure_is_its_errno_with_its_words_and_without_a_result,
              a_failure_without_words_has_none_of_an_earlier_ones, what_is_no_errno_is_replaced,
              a_result_without_room_is_a_failure_whatever_the_task_says, an_unknown_task_is_an_error_with_its_name,
              an_argument_of_another_size_is_refused_with_both_sizes, a_result_of_another_size_is_refused_with_both_sizes,
              a_result_type_larger_than_the_host_knows_is_refused, NULL);
    add_loop_tests(suite, "context", 0, 3, a_task_brings_along_what_stands_behind_it, NULL);
    add_tests(suite, "words", the_words_of_a_failure_arrive_at_its_future, NULL);
    return run_suite(suite);
}
