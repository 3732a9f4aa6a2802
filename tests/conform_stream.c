/* conform_stream.c - loops over indices and streams of items, over every kind of worker. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pools.h"
#include "streams.h"
#include "support.h"

static const struct kind {
    const char *name;
    enum brood_kind kind;
    bool is_exec;
} kinds[] = {
    {"inline", BROOD_INLINE, false},
    {"threads", BROOD_THREADS, false},
    {"processes", BROOD_PROCESSES, false},
    {"exec", BROOD_PROCESSES, true},
};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))
#define PROCESSES 2 /* the first whose tasks run in other processes */
#define EXECS 3     /* … and whose memory lies elsewhere */

static struct brood_pool *open_with(int kind, struct brood_pool_options *options)
{
    struct brood_pool *pool = NULL;
    int r;

    options->kind = kinds[kind].kind;
    options->worker = kinds[kind].is_exec ? worker_path() : NULL;
    r = brood_pool_open(&pool, options);
    ck_assert_msg(r == 0, "%s: open: %s", kinds[kind].name, brood_error());
    return pool;
}

static struct brood_pool *open_pool(int kind, int workers)
{
    return open_with(kind, BROOD_POOL(.workers = workers));
}

/* ---- loops ---- */

#define TURNS 100000

static unsigned char *new_hits(struct brood_pool *pool, size_t n)
{
    unsigned char *hits = brood_alloc(pool, n);

    ck_assert_ptr_nonnull(hits);
    return hits;
}

START_TEST(a_loop_runs_every_index_once)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct turns turns = {.hits = new_hits(pool, TURNS)};
    size_t wrong = 0;

    ck_assert_int_eq(brood_for(pool, take_turns, &turns, 100, TURNS), 0);
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, &turns, sizeof(turns), 100, TURNS, BROOD_FOR(.grain = 777)), 0);
    for (size_t i = 0; i < TURNS; i++)
        wrong += turns.hits[i] != (i < 100 ? 0 : 2);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(a_loop_may_have_no_context_and_no_index)
{
    brood_auto(pool) *pool = open_pool(_i, 2);

    ck_assert_int_eq(brood_for(pool, take_turns, NULL, 0, 1000), 0);
    ck_assert_int_eq(brood_for(pool, take_turns, NULL, 7, 7), 0);
    ck_assert_int_eq(brood_for(pool, take_turns, NULL, 8, 7), 0);
}
END_TEST

START_TEST(a_loop_may_end_where_numbers_do)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct turns turns = {.refuse = INT64_MAX};
    uint64_t sum = 0, expected = 0;

    for (uint64_t i = UINT64_MAX - 1000; i < UINT64_MAX; i++)
        expected += i;
    ck_assert_int_eq(brood_sum(pool, count_up, &sum, &(struct turns){0}, UINT64_MAX - 1000, UINT64_MAX), 0);
    ck_assert_uint_eq(sum, expected);
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, &turns, sizeof(turns), UINT64_MAX - 1001, UINT64_MAX,
                                    BROOD_FOR(.grain = UINT64_MAX / 2)),
                     -EDOM);
}
END_TEST

/* semantics: M6 */
START_TEST(a_loop_goes_on_behind_a_failure_and_names_the_first)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *future = NULL;
    struct turns turns = {.refuse = 1000};
    size_t wrong = 0;

    turns.hits = _i < EXECS ? new_hits(pool, 10000) : NULL;
    ck_assert_int_eq(brood_for(pool, take_turns, &turns, 1, 10000), -EDOM);
    ck_assert_str_eq(brood_error(), "item 1000: 1000 is refused");
    for (size_t i = 1; turns.hits && i < 10000; i++)
        wrong += turns.hits[i] != (i % 1000 != 0);
    ck_assert_uint_eq(wrong, 0);

    ck_assert_int_eq(brood_for_async(pool, take_turns, &future, &turns, 1, 10000), 0);
    ck_assert_int_eq(brood_future_wait(future, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_item(future, 999), 0);
    ck_assert_int_eq(brood_future_item(future, 1000), -EDOM);
    ck_assert_int_eq(brood_future_item(future, 1001), -ENODATA);
    ck_assert_int_eq(brood_future_item(future, 0), -ERANGE);
    ck_assert_int_eq(brood_future_item(future, 10000), -ERANGE);
}
END_TEST

/* semantics: X12 */
START_TEST(a_death_takes_the_index_that_the_dead_was_at_and_no_other)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(future) *future = NULL;
    struct turns turns = {.die = 4999};
    struct brood_death death;
    size_t wrong = 0;

    turns.hits = _i < EXECS ? new_hits(pool, 20000) : NULL;
    ck_assert_int_eq(brood_for_async(pool, take_turns, &future, &turns, 1, 20000), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(20000)), 0);
    ck_assert_int_eq(brood_future_result(future, NULL, 0), -EOWNERDEAD);
    ck_assert_ptr_nonnull(strstr(brood_error(), "item 4999: worker"));
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_uint_eq(death.item, 4999);
    for (size_t i = 1; turns.hits && i < 20000; i++)
        wrong += turns.hits[i] != (i % 4999 != 0);
    ck_assert_uint_eq(wrong, 0);
    expect_working(pool);
}
END_TEST

/* semantics: K4 */
START_TEST(an_index_that_overruns_its_time_is_lost_alone)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct turns turns = {.hang = 50};
    size_t wrong = 0;

    turns.hits = _i < EXECS ? new_hits(pool, 100) : NULL;
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, &turns, sizeof(turns), 0, 100, BROOD_FOR(.limit_ms = 30)),
                     -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(brood_error(), "item 50: "));
    for (size_t i = 0; turns.hits && i < 100; i++)
        wrong += turns.hits[i] != (i != 50);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(a_sum_is_the_same_to_the_last_bit_for_any_number_of_workers)
{
    struct steps steps = {.width = 1e-5};
    double first = 0;

    for (int workers = 1; workers <= 3; workers++) {
        brood_auto(pool) *pool = open_pool(_i, workers);
        double pi = 0;

        ck_assert_int_eq(brood_sum(pool, circle, &pi, &steps, 0, 100000), 0);
        ck_assert_double_eq_tol(pi, 3.14159265358979, 1e-9);
        first = workers == 1 ? pi : first;
        ck_assert_mem_eq(&pi, &first, sizeof(pi));
    }
}
END_TEST

START_TEST(parts_are_combined_as_the_loop_says)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct extremes extremes = {5, 5};
    int64_t factor = 3;

    ck_assert_int_eq(brood_reduce(pool, find_extremes, &extremes, &factor, 1, 100000), 0);
    ck_assert_int_eq(extremes.least, 0);
    ck_assert_int_eq(extremes.most, 1008);
    ck_assert_int_eq(brood_reduce(pool, find_extremes, &extremes, &factor, 10, 11), 0);
    ck_assert_int_eq(extremes.most, 30);
    ck_assert_int_eq(brood_reduce(pool, find_extremes, &extremes, &factor, 3, 3), 0);
    ck_assert(extremes.least == INT64_MAX && extremes.most == INT64_MIN);
}
END_TEST

START_TEST(a_sum_with_a_failure_is_none)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    uint64_t sum = 77;

    ck_assert_int_eq(brood_sum(pool, count_up, &sum, &(struct turns){.refuse = 500}, 1, 600), -EDOM);
    ck_assert_str_eq(brood_error(), "item 500: 500 is refused");
    ck_assert_uint_eq(sum, 77);
}
END_TEST

START_TEST(what_is_no_loop_is_refused)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    uint64_t sum;

    ck_assert_int_eq(brood_pool_for(pool, &square.task, NULL, 0, 0, 9, NULL), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "'square' is no loop"));
    ck_assert_int_eq(brood_pool_for(pool, &count_up.reduction.task, NULL, 0, 0, 9, NULL), -EINVAL);
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, NULL, 0, 0, 9, &(struct brood_for_options){.grain = 1}),
                     -EINVAL);
    ck_assert_int_eq(brood_pool_reduce(pool, NULL, &sum, NULL, 0, 0, 9, NULL), -EINVAL);
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, &sum, sizeof(sum), 0, 9, NULL), -EPROTO);
    ck_assert_ptr_nonnull(strstr(brood_error(), "the loop's context has"));
    ck_assert_int_eq(brood_for(NULL, take_turns, NULL, 0, 9), -EINVAL);
}
END_TEST

static long resident_kib(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    long kib = -1;

    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib;
}

START_TEST(a_loop_of_any_length_takes_bounded_memory_and_ends_when_it_is_given_up)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct brood_future *future = NULL;
    long before = resident_kib();

    ck_assert_int_eq(brood_for_async(pool, take_turns, &future, NULL, 0, (uint64_t)1 << 60), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(50)), -ETIMEDOUT);
    brood_future_free(future);
    ck_assert_int_lt(resident_kib() - before, 64 << 10);
    expect_working(pool);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("stream");

    /* "threads": only the kinds that stay in this process, for valgrind and the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? PROCESSES : KINDS;

    add_loop_tests(suite, "loops", 0, end, a_loop_may_have_no_context_and_no_index, a_loop_may_end_where_numbers_do,
                   a_loop_goes_on_behind_a_failure_and_names_the_first,
                   a_sum_is_the_same_to_the_last_bit_for_any_number_of_workers, parts_are_combined_as_the_loop_says,
                   a_sum_with_a_failure_is_none, what_is_no_loop_is_refused, NULL);
    add_loop_tests(suite, "loops in one's own memory", 0, end < EXECS ? end : EXECS, a_loop_runs_every_index_once, NULL);
    add_loop_tests(suite, "loops beside the caller", 1, end,
                   a_loop_of_any_length_takes_bounded_memory_and_ends_when_it_is_given_up, NULL);
    if (end == KINDS)
        add_loop_tests(suite, "loops and deaths", PROCESSES, end, a_death_takes_the_index_that_the_dead_was_at_and_no_other,
                       an_index_that_overruns_its_time_is_lost_alone, NULL);
    return run_suite(suite);
}
