/* check_array.c - arrays and values in shared memory: items whole, bounds kept, and a lock that tells of a death. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "child.h"
#include "support.h"

struct item {
    long words[6];
};

static struct brood_array *array_of(size_t count, size_t item_bytes)
{
    struct brood_array *array = shared_memory(brood_array_bytes(count, item_bytes));

    memset(array, 'x', brood_array_bytes(count, item_bytes));
    ck_assert_int_eq(brood_array_init(array, count, item_bytes), 0);
    return array;
}

START_TEST(a_new_array_is_all_zero_and_has_its_items_and_no_more)
{
    struct brood_array *array = array_of(10, sizeof(struct item));
    struct item item = {{1}}, zero = {{0}};

    ck_assert_uint_eq(brood_array_count(array), 10);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(brood_array_get(array, i, &item, BROOD_NOW), 0);
        ck_assert_mem_eq(&item, &zero, sizeof(item));
    }
    ck_assert_int_eq(brood_array_get(array, 10, &item, BROOD_NOW), -ERANGE);
    ck_assert_int_eq(brood_array_set(array, 10, &item, BROOD_NOW), -ERANGE);
    ck_assert_int_eq(brood_array_set(array, SIZE_MAX, &item, BROOD_NOW), -ERANGE);
    ck_assert_ptr_nonnull(strstr(brood_error(), "0 to 9"));
    ck_assert_uint_eq((uintptr_t)BROOD_ITEMS(array, struct item) % 64, 0);
}
END_TEST

START_TEST(what_makes_no_array_is_refused)
{
    struct brood_array *array = array_of(10, 8);
    size_t bytes = brood_array_bytes(10, 8);

    ck_assert_uint_eq(brood_array_bytes(0, 8), 0);
    ck_assert_uint_eq(brood_array_bytes(8, 0), 0);
    ck_assert_uint_eq(brood_array_bytes(SIZE_MAX, 2), 0);
    ck_assert_uint_eq(brood_array_bytes(SIZE_MAX - 8, 1), 0);
    ck_assert_int_eq(brood_array_init(array, 0, 8), -EINVAL);
    ck_assert_int_eq(brood_array_init(NULL, 1, 8), -EINVAL);
    ck_assert_int_eq(brood_array_init((struct brood_array *)(void *)((char *)array + 8), 1, 8), -EINVAL);
    ck_assert_int_eq(brood_array_check(array, bytes, 8), 0);
    ck_assert_int_eq(brood_array_check(array, bytes - 1, 8), -EINVAL);
    ck_assert_int_eq(brood_array_check(array, 10, 8), -EINVAL);
    ck_assert_int_eq(brood_array_check(array, bytes, 4), -EINVAL);
    array->count = UINT64_MAX / 4;
    ck_assert_int_eq(brood_array_check(array, bytes, 8), -EINVAL);
    array->count = 10;
    array->magic++;
    ck_assert_int_eq(brood_array_check(array, bytes, 8), -EINVAL);
}
END_TEST

/* ---- threads and processes ---- */

#define ROUNDS 3000
#define WRITERS 3

static void *write_items(void *array)
{
    for (long i = 0; i < ROUNDS; i++) {
        struct item item = {{i, i, i, i, i, i}};

        ck_assert_int_eq(brood_array_set(array, (size_t)i % 3, &item, BROOD_FOREVER), 0);
        BROOD_WITH_LOCK (brood_array_lock(array), NULL)
            BROOD_ITEMS(array, struct item)[3].words[0]++;
    }
    return NULL;
}

static void write_in_a_process(void *array)
{
    (void)write_items(array);
}

static void read_items(struct brood_array *array)
{
    for (long i = 0; i < ROUNDS; i++) {
        struct item item;

        ck_assert_int_eq(brood_array_get(array, (size_t)i % 3, &item, BROOD_FOREVER), 0);
        for (int j = 1; j < 6; j++)
            if (item.words[j] != item.words[0])
                ck_abort_msg("half of %ld and half of %ld", item.words[0], item.words[j]);
    }
}

START_TEST(items_are_whole_although_others_write)
{
    struct brood_array *array = array_of(4, sizeof(struct item));
    pthread_t threads[WRITERS];
    pid_t pids[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        if (_i == 0)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, write_items, array), 0);
        else
            pids[i] = spawn(write_in_a_process, array);
    read_items(array);
    for (int i = 0; i < WRITERS; i++)
        if (_i == 0)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        else
            join(pids[i]);
    ck_assert_int_eq(BROOD_ITEMS(array, struct item)[3].words[0], WRITERS * ROUNDS);
}
END_TEST

typedef BROOD_VALUE(long) counter;

static void count_up(void *argument)
{
    counter *value = argument;

    for (int i = 0; i < ROUNDS; i++)
        BROOD_WITH_LOCK (&value->lock, NULL)
            value->value++;
}

START_TEST(a_value_counts_for_all)
{
    counter *value = shared_memory(sizeof(*value));
    pid_t pids[WRITERS];
    long now = -1;

    ck_assert_int_eq(brood_value_get(value, &now, BROOD_NOW), 0); /* zeroed memory is one */
    ck_assert_int_eq(now, 0);
    ck_assert_int_eq(brood_value_set(value, &(long){1000}, BROOD_NOW), 0);
    for (int i = 0; i < WRITERS; i++)
        pids[i] = spawn(count_up, value);
    for (int i = 0; i < WRITERS; i++)
        join(pids[i]);
    ck_assert_int_eq(brood_value_get(value, &now, BROOD_FOREVER), 0);
    ck_assert_int_eq(now, 1000 + WRITERS * ROUNDS);
}
END_TEST

static void die_with_the_lock(void *array)
{
    struct brood_lock *lock = brood_array_lock(array);

    ck_assert_int_eq(brood_lock_acquire(lock, BROOD_NOW), 0);
    BROOD_ITEMS(array, long)[0] = 1;
    for (;;)
        pause();
}

/* semantics: K19 */
START_TEST(the_next_is_told_that_the_lock_had_a_dead_holder)
{
    struct brood_array *array = array_of(2, sizeof(long));
    pid_t pid = spawn(die_with_the_lock, array);
    long item = 0;

    await(((volatile long *)BROOD_ITEMS(array, long))[0] == 1);
    ck_assert_int_eq(brood_array_get(array, 0, &item, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_array_set(array, 0, &item, brood_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_eq(item, 0);
    put_to_death(pid);
    ck_assert_int_eq(brood_array_get(array, 0, &item, brood_after_ms(AT_ONCE_MS)), -EOWNERDEAD);
    ck_assert_int_eq(item, 1); /* and it was done */
    ck_assert_int_eq(brood_array_get(array, 0, &item, BROOD_NOW), 0);
}
END_TEST

static void attach_and_set(void *name)
{
    brood_auto(memory) *memory = NULL;
    struct brood_array *array;

    ck_assert_int_eq(brood_memory_attach(&memory, name), 0);
    array = brood_memory_address(memory);
    ck_assert_int_eq(brood_array_check(array, brood_memory_size(memory), sizeof(double)), 0);
    ck_assert_int_eq(brood_array_set(array, 3, &(double){21.5}, BROOD_FOREVER), 0);
}

START_TEST(an_array_in_named_memory_is_found_by_others)
{
    brood_auto(memory) *memory = NULL;
    struct brood_array *array;
    char name[32];

    (void)snprintf(name, sizeof(name), "test-%d-array", getpid());
    ck_assert_int_eq(brood_memory_create(&memory, name, brood_array_bytes(10, sizeof(double))), 0);
    array = brood_memory_address(memory);
    ck_assert_int_eq(brood_array_init(array, 10, sizeof(double)), 0);
    in_child(attach_and_set, name);
    ck_assert_double_eq(BROOD_ITEMS(array, double)[3], 21.5);
    ck_assert_int_eq(brood_memory_unlink(name), 0);
}
END_TEST

int main(int argc, char **argv)
{
    bool threads_only = argc > 1 && strcmp(argv[1], "--threads") == 0;
    Suite *suite = suite_create("array");

    add_tests(suite, "shape", a_new_array_is_all_zero_and_has_its_items_and_no_more, what_makes_no_array_is_refused, NULL);
    add_loop_tests(suite, "both kinds", 0, threads_only ? 1 : 2, items_are_whole_although_others_write, NULL);
    if (!threads_only)
        add_tests(suite, "processes", a_value_counts_for_all, the_next_is_told_that_the_lock_had_a_dead_holder,
                  an_array_in_named_memory_is_found_by_others, NULL);
    return run_suite(suite);
}
