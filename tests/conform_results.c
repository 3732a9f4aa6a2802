/* conform_results.c - results that are larger than what was put aside for them, over every kind of worker. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pools.h"
#include "streams.h"
#include "support.h"

static struct brood_pool *open_pool(int kind)
{
    return open_kind(kind, BROOD_POOL(.workers = 2));
}

static struct brood_bytes bytes_of(const struct large *large)
{
    return (struct brood_bytes){large, sizeof(*large)};
}

static struct brood_future *submit(struct brood_pool *pool, const struct large *large)
{
    struct brood_future *future = NULL;

    ck_assert_int_eq(brood_apply_bytes_async(pool, make_large, &future, bytes_of(large)), 0);
    return future;
}

/* Is it all there?  The future is freed. */
static void expect_large(struct brood_future *future, uint64_t bytes, uint32_t seed)
{
    unsigned char *got = malloc(bytes + 1);
    struct brood_bytes there;
    uint64_t wrong = 0;
    int r;

    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    r = brood_future_result(future, got, bytes);
    ck_assert_msg(r == 0, "%d: %s", r, brood_error());
    ck_assert_uint_eq(brood_future_size(future), bytes);
    ck_assert_int_eq(brood_future_bytes(future, &there), 0);
    ck_assert_uint_eq(there.len, bytes);
    ck_assert(bytes == 0 || memcmp(there.ptr, got, bytes) == 0);
    for (uint64_t i = 0; i < bytes; i++)
        wrong += got[i] != byte_of(seed, i);
    ck_assert_uint_eq(wrong, 0);
    free(got);
    brood_future_free(future);
}

/* How much memory the results of this process's pools take, beside what has been delivered. */
static long held_kib(void)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    long kib = 0;

    while ((entry = readdir(directory)) != NULL) {
        char path[64] = "";
        struct stat st;

        if (readlinkat(dirfd(directory), entry->d_name, path, sizeof(path) - 1) > 0 &&
            strncmp(path, "/memfd:brood-results", 20) == 0 && fstat(atoi(entry->d_name), &st) == 0)
            kib += (long)st.st_blocks / 2;
    }
    closedir(directory);
    return kib;
}

START_TEST(results_of_any_size_come_whole)
{
    static const uint64_t sizes[] = {0, 1, 16, 17, 1023, 1024, 1025, 4096, 100001, 10 << 20};
    brood_auto(pool) *pool = open_pool(_i);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct large large = {.bytes = sizes[i], .seed = (uint32_t)i};

        expect_large(submit(pool, &large), sizes[i], (uint32_t)i);
        ck_assert_int_eq(held_kib(), 0);
    }
}
END_TEST

/* In and out of what was put aside for it, in every direction; too much in between is refused and loses nothing. */
START_TEST(a_result_that_asks_for_room_again_keeps_its_bytes)
{
    static const uint32_t calls[][6] = {
        {10, 20, 1024, 16, 7, 100},           {10, 100000, 200000, 300, 400, 500},
        {5000, 20, 6000, 1000000, 900000, 1}, {100000, UINT32_MAX, 200000, 12, UINT32_MAX, 8000},
        {1000000, 1000, 0, 1000, 70000, 90},  {100000, UINT32_MAX, 900, 800, 700, 4096},
    };
    brood_auto(pool) *pool = open_pool(_i);

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        brood_auto(future) *future = NULL;
        struct brood_bytes result;

        ck_assert_int_eq(brood_apply_bytes_async(pool, regrow, &future, ((struct brood_bytes){calls[i], sizeof(calls[i])})),
                         0);
        ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
        ck_assert_msg(brood_future_bytes(future, &result) == 0, "%zu: %s", i, brood_error());
        ck_assert_uint_eq(result.len, calls[i][5]);
        for (size_t at = 0; at < result.len; at++)
            if (((const unsigned char *)result.ptr)[at] != (unsigned char)(at * 7 + 1))
                ck_abort_msg("result %zu, byte %zu", i, at);
        ck_assert_int_eq(held_kib(), 0);
    }
}
END_TEST

START_TEST(a_result_of_any_size_goes_into_the_callers_memory)
{
    brood_auto(pool) *pool = open_pool(_i);
    struct large large = {.bytes = 50000, .seed = 3};
    unsigned char *memory = calloc(1, 50000);
    struct brood_space space = {memory, 50000};

    ck_assert_int_eq(brood_apply_bytes(pool, make_large, &space, bytes_of(&large)), 0);
    ck_assert_uint_eq(space.len, 50000);
    ck_assert_uint_eq(memory[49999], byte_of(3, 49999));
    space = (struct brood_space){memory, 49999};
    ck_assert_int_eq(brood_apply_bytes(pool, make_large, &space, bytes_of(&large)), -EMSGSIZE);
    ck_assert_str_eq(brood_error(), "the result has 50000 bytes, and there is room for 49999");
    large.bytes = 6;
    space = (struct brood_space){memory, 5};
    ck_assert_int_eq(brood_apply_bytes(pool, make_large, &space, bytes_of(&large)), -EMSGSIZE);
    space = (struct brood_space){memory, 6};
    ck_assert_int_eq(brood_apply_bytes(pool, make_large, &space, bytes_of(&large)), 0);
    ck_assert_uint_eq(space.len, 6);
    ck_assert_int_eq(brood_pool_apply(pool, &make_large.task, memory, &large), -EINVAL);
    ck_assert_int_eq(held_kib(), 0);
    free(memory);
}
END_TEST

START_TEST(a_large_result_waits_for_a_caller_with_room_and_outlives_the_pool)
{
    struct brood_pool *pool = open_pool(_i);
    const struct large large = {.bytes = 100000, .seed = 9};
    struct brood_future *future = submit(pool, &large);
    unsigned char byte;

    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_future_wait(future, BROOD_NOW), 0);
    ck_assert_int_eq(brood_future_result(future, &byte, 1), -EMSGSIZE);
    expect_large(future, 100000, 9);
}
END_TEST

START_TEST(many_large_results_wait_side_by_side)
{
    brood_auto(pool) *pool = open_pool(_i);
    struct brood_future *futures[40];

    for (uint32_t i = 0; i < 40; i++)
        futures[i] = submit(pool, &(struct large){.bytes = 100000 + i, .seed = i});
    for (uint32_t i = 40; i-- > 0;)
        expect_large(futures[i], 100000 + i, i);
    ck_assert_int_eq(held_kib(), 0);
}
END_TEST

/* What was dropped is collected by a thread that waits for anything. */
static long held_after_a_call(struct brood_pool *pool)
{
    ck_assert_int_eq(brood_apply(pool, square, &(double){0}, &(double){1}), 0);
    return held_kib();
}

static void count_done(struct brood_future *future, void *context)
{
    *(size_t *)context += brood_future_size(future);
}

START_TEST(large_results_are_told_of_as_any_are)
{
    brood_auto(pool) *pool = open_pool(_i);
    brood_auto(as_completed) *order = NULL;
    struct brood_future *futures[20], *next;
    size_t told = 0, bytes = 0;

    for (uint32_t i = 0; i < 20; i++) {
        futures[i] = submit(pool, &(struct large){.bytes = i * 1000, .seed = i});
        ck_assert_int_eq(brood_future_on_done(futures[i], count_done, &told), 0);
        bytes += i * 1000;
    }
    ck_assert_int_ge(brood_futures_wait(futures, 20, BROOD_FIRST_COMPLETED, NULL, brood_after_ms(60000)), 1);
    ck_assert_int_eq(brood_as_completed_open(&order, futures, 20), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(brood_as_completed_next(order, &next, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_as_completed_next(order, &next, BROOD_NOW), -ENODATA);
    ck_assert_uint_eq(told, bytes);
    for (uint32_t i = 0; i < 20; i++)
        expect_large(futures[i], i * 1000, i);
}
END_TEST

/* The bytes that a failed task has put into its reply. */
static void expect_error_bytes(struct brood_future *future, uint64_t bytes, uint32_t seed)
{
    struct brood_bytes got = {0};
    uint64_t wrong = 0;
    int r;

    ck_assert_int_eq(outcome_of(future), -EDOM);
    r = brood_future_error_bytes(future, &got);
    ck_assert_msg(r == 0, "%d: %s", r, brood_error());
    ck_assert_uint_eq(got.len, bytes);
    for (uint64_t i = 0; i < bytes; i++)
        wrong += ((const unsigned char *)got.ptr)[i] != byte_of(seed, i);
    ck_assert_uint_eq(wrong, 0);
}

START_TEST(a_failed_task_keeps_its_reply_whatever_its_size)
{
    static const uint64_t sizes[] = {1, 16, 17, 1024, 1025, 1 << 20};
    brood_auto(pool) *pool = open_pool(_i);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct large large = {.bytes = sizes[i], .seed = (uint32_t)i, .end = LARGE_FAILS};
        brood_auto(future) *future = submit(pool, &large);

        expect_error_bytes(future, sizes[i], (uint32_t)i);
        ck_assert_str_eq(brood_future_error(future), "large enough");
        ck_assert_int_eq(brood_future_state(future), BROOD_FUTURE_FAILED);
        ck_assert_uint_eq(brood_future_size(future), 0);
        ck_assert_int_eq(brood_future_result(future, NULL, 0), -EDOM);
    }
    await(held_after_a_call(pool) == 0);
}
END_TEST

START_TEST(a_call_over_bytes_that_fails_gives_the_reply_of_the_task)
{
    brood_auto(pool) *pool = open_pool(_i);
    struct large large = {.bytes = 2000, .seed = 9, .end = LARGE_FAILS};
    unsigned char memory[4000] = {0};
    struct brood_space space = {memory, sizeof(memory)};

    ck_assert_int_eq(brood_apply_bytes(pool, make_large, &space, bytes_of(&large)), -EDOM);
    ck_assert_uint_eq(space.len, 2000);
    ck_assert_uint_eq(memory[1999], byte_of(9, 1999));
    space = (struct brood_space){memory, 100}; /* the error stays what it is, without its reply */
    ck_assert_int_eq(brood_apply_bytes(pool, make_large, &space, bytes_of(&large)), -EDOM);
    ck_assert_uint_eq(space.len, 0);
}
END_TEST

START_TEST(without_a_reply_there_are_no_error_bytes)
{
    brood_auto(pool) *pool = open_pool(_i);
    brood_auto(future) *fine = submit(pool, &(struct large){.bytes = 10});
    brood_auto(future) *bare = submit(pool, &(struct large){.bytes = 10, .end = LARGE_FAILS_BARE});
    brood_auto(future) *typed = NULL;
    struct brood_bytes bytes = {0};
    int odd = 3;

    ck_assert_int_eq(brood_future_error_bytes(NULL, &bytes), -EINVAL);
    ck_assert_int_eq(outcome_of(fine), 0);
    ck_assert_int_eq(brood_future_error_bytes(fine, &bytes), -ENODATA);
    ck_assert_int_eq(outcome_of(bare), -EDOM);
    ck_assert_int_eq(brood_future_error_bytes(bare, &bytes), -ENODATA);
    ck_assert_int_eq(brood_apply_async(pool, refuse_odd, &typed, &odd), 0);
    ck_assert_int_eq(outcome_of(typed), -EDOM);
    ck_assert_int_eq(brood_future_error_bytes(typed, &bytes), -ENODATA);
    ck_assert_ptr_null(bytes.ptr);
}
END_TEST

/* What a reply carries is a failure as any other is: the promise is never kept. */
START_TEST(a_failure_with_a_reply_ends_a_wait_for_the_first)
{
    static const uint64_t sizes[] = {16, 1 << 20};
    brood_auto(pool) *pool = open_pool(_i);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        brood_auto(future) *promise = NULL;
        brood_auto(future) *fails = submit(pool, &(struct large){.bytes = sizes[i], .seed = 5, .end = LARGE_FAILS});
        struct brood_future *futures[] = {NULL, fails};
        bool done[2] = {true, false};

        ck_assert_int_eq(brood_promise_open(&promise), 0);
        futures[0] = promise;
        ck_assert_int_eq(brood_futures_wait(futures, 2, BROOD_FIRST_EXCEPTION, done, brood_after_ms(60000)), 1);
        ck_assert(!done[0] && done[1]);
        expect_error_bytes(fails, sizes[i], 5);
    }
}
END_TEST

struct heard {
    int calls, outcome;
    size_t bytes;
    unsigned char last;
};

static void hear(struct brood_future *future, void *context)
{
    struct heard *heard = context;
    struct brood_bytes bytes = {0};

    heard->calls++;
    heard->outcome = brood_future_item(future, 0);
    if (brood_future_error_bytes(future, &bytes) < 0)
        return;
    heard->bytes = bytes.len;
    heard->last = ((const unsigned char *)bytes.ptr)[bytes.len - 1];
}

START_TEST(callbacks_and_statistics_are_told_of_a_failure_with_a_reply)
{
    static const uint64_t sizes[] = {16, 1 << 20};
    brood_auto(pool) *pool = open_pool(_i);
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct heard heard = {0};
        brood_auto(future) *fails = submit(pool, &(struct large){.bytes = sizes[i], .seed = 5, .end = LARGE_FAILS});

        ck_assert_int_eq(brood_future_on_done(fails, hear, &heard), 0);
        ck_assert_int_eq(outcome_of(fails), -EDOM);
        ck_assert_int_eq(heard.calls, 1);
        ck_assert_int_eq(heard.outcome, -EDOM);
        ck_assert_uint_eq(heard.bytes, sizes[i]);
        ck_assert_uint_eq(heard.last, byte_of(5, sizes[i] - 1));
    }
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert(stats.finished == 2 && stats.failed == 2 && stats.retried == 0);
}
END_TEST

/* Only deaths are tried again. */
START_TEST(a_failure_with_a_reply_is_the_outcome_also_of_a_later_attempt)
{
    static const uint64_t sizes[] = {16, 1 << 20};
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1, .retries = 3));
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct large large = {.bytes = sizes[i], .seed = 5, .end = LARGE_FAILS_LATER};
        brood_auto(future) *fails = NULL;

        snprintf(large.path, sizeof(large.path), "/tmp/brood-large-%d-%zu", getpid(), i);
        unlink(large.path);
        fails = submit(pool, &large);
        expect_error_bytes(fails, sizes[i], 5);
        ck_assert_int_eq(unlink(large.path), 0);
    }
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert(stats.finished == 2 && stats.failed == 2 && stats.retried == 2);
}
END_TEST

START_TEST(a_death_leaves_no_error_bytes_of_the_attempt_before)
{
    brood_auto(pool) *pool = open_pool(_i);
    struct large large = {.bytes = 1 << 20, .end = LARGE_DIES};
    struct brood_bytes bytes = {0};
    brood_auto(future) *dies = NULL;

    ck_assert_int_eq(brood_apply_bytes_async(pool, make_large, &dies, bytes_of(&large)), 0);
    ck_assert_int_eq(outcome_of(dies), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_error_bytes(dies, &bytes), -ENODATA);
}
END_TEST

START_TEST(what_is_no_result_takes_no_memory)
{
    brood_auto(pool) *pool = open_pool(_i);
    struct brood_future *fails = submit(pool, &(struct large){.bytes = 1 << 20, .end = LARGE_FAILS});
    struct brood_future *shrinks = submit(pool, &(struct large){.bytes = 1 << 20, .end = LARGE_SHRINKS});
    struct brood_future *dropped = submit(pool, &(struct large){.bytes = 1 << 20});
    struct brood_future *huge = submit(pool, &(struct large){.bytes = (uint64_t)1 << 33});
    char small[5];

    brood_future_free(dropped);
    ck_assert_int_eq(outcome_of(fails), -EDOM);
    ck_assert_int_eq(brood_future_bytes(fails, &(struct brood_bytes){0}), -EDOM);
    ck_assert_str_eq(brood_future_error(fails), "large enough");
    ck_assert_int_eq(outcome_of(shrinks), 0);
    ck_assert_uint_eq(brood_future_size(shrinks), 5);
    ck_assert_int_eq(brood_future_result(shrinks, small, 5), 0);
    ck_assert_mem_eq(small, "small", 5);
    ck_assert_int_eq(outcome_of(huge), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(brood_future_error(huge), "less than 4 GiB"));
    brood_future_free(fails);
    brood_future_free(shrinks);
    brood_future_free(huge);
    await(held_after_a_call(pool) == 0);
}
END_TEST

/* semantics: X12 X13 */
START_TEST(a_death_with_a_large_result_in_hand_loses_that_and_leaks_nothing)
{
    brood_auto(pool) *pool = open_pool(_i);

    for (uint32_t i = 0; i < 10; i++) {
        struct brood_future *published = submit(pool, &(struct large){.bytes = 1 << 20, .seed = i});
        struct brood_future *dies = submit(pool, &(struct large){.bytes = 4 << 20, .end = LARGE_DIES});

        ck_assert_int_eq(outcome_of(dies), -EOWNERDEAD);
        brood_future_free(dies);
        expect_large(published, 1 << 20, i);
    }
    ck_assert_int_eq(held_kib(), 0);
    expect_working(pool);
}
END_TEST

START_TEST(a_second_attempt_begins_with_an_empty_hand)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.retries = 1));
    struct large large = {.bytes = 1 << 20, .end = LARGE_DIES_FIRST};
    struct brood_future *future;

    snprintf(large.path, sizeof(large.path), "/tmp/brood-large-%d-%lld", getpid(), (long long)now_ms());
    future = submit(pool, &large);
    ck_assert_int_eq(outcome_of(future), 0);
    ck_assert_uint_eq(brood_future_size(future), 5);
    brood_future_free(future);
    ck_assert_int_eq(unlink(large.path), 0);
    ck_assert_int_eq(held_kib(), 0);
}
END_TEST

START_TEST(a_confined_worker_gives_no_more_than_was_put_aside)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.sandbox = BROOD_SANDBOX(.no_network = true)));
    struct brood_future *future = submit(pool, &(struct large){.bytes = 1 << 20});

    ck_assert_int_eq(outcome_of(future), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "no place for more"));
    brood_future_free(future);
    expect_large(submit(pool, &(struct large){.bytes = 1024, .seed = 1}), 1024, 1);
}
END_TEST

/* Whatever number the worker's own descriptor had, it is that file's now. */
START_TEST(a_task_that_closes_descriptors_keeps_its_files)
{
    enum { BYTES = 1 << 20 };
    static const char zeros[BYTES];
    static char bytes[BYTES];
    brood_auto(pool) *pool = open_processes(_i - BY_FORKS, BROOD_POOL(.workers = 1));
    struct stop victim = {.path = "/tmp/brood-victim-XXXXXX", .number = 40};
    int fd = mkstemp(victim.path), last;
    struct brood_future *future;
    struct stat st;

    ck_assert_int_eq(write(fd, zeros, BYTES), BYTES);
    ck_assert_int_eq(brood_apply(pool, close_and_open, &last, &victim), 0);
    ck_assert_int_ge(last, 30);
    ck_assert_int_eq(
        brood_pool_apply_bytes_async(pool, &close_and_reply.task, &future, (struct brood_bytes){"", 0}, BROOD_FOREVER), 0);
    ck_assert_int_eq(outcome_of(future), -EIO);
    ck_assert_ptr_nonnull(strstr(brood_future_error(future), "the worker's descriptor for it has been closed"));
    brood_future_free(future);
    ck_assert_int_eq(pread(fd, bytes, BYTES, 0), BYTES);
    ck_assert_int_eq(memcmp(bytes, zeros, BYTES), 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, BYTES);
    close(fd);
    unlink(victim.path);
    expect_large(submit(pool, &(struct large){.bytes = 1024, .seed = 1}), 1024, 1);
}
END_TEST

/* Also where the tasks have been submitted before, and where other workers steal them. */
START_TEST(large_results_come_whole_after_a_task_that_closed_every_descriptor)
{
    enum { BYTES = 1 << 20, TASKS = 20 };
    brood_auto(pool) *pool = open_processes(_i - BY_FORKS, BROOD_POOL(.workers = 2));
    struct stop closed = {.path = "/dev/null", .number = 40};
    struct brood_future *futures[TASKS], *closing[TASKS];
    struct brood_pool_stats stats = {.size = sizeof(stats)};

    for (uint32_t i = 0; i < TASKS; i++) {
        ck_assert_int_eq(brood_apply_async(pool, close_and_open, &closing[i], &closed), 0);
        futures[i] = submit(pool, &(struct large){.bytes = BYTES, .seed = i + 1});
    }
    for (uint32_t i = 0; i < TASKS; i++) {
        ck_assert_int_eq(outcome_of(closing[i]), 0);
        brood_future_free(closing[i]);
        expect_large(futures[i], BYTES, i + 1);
    }
    ck_assert_int_eq(brood_pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.deaths, 0);
    ck_assert_uint_gt(stats.restarts, 0);
}
END_TEST

static int close_all(void *context, void **ret_state)
{
    (void)context;
    (void)ret_state;
    return close_range(3, ~0u, 0) < 0 ? -errno : 0;
}

/* Its successor's initializer will do the same. */
START_TEST(a_worker_whose_initializer_closed_every_descriptor_runs_its_first_task)
{
    brood_auto(pool) *pool = NULL;
    struct brood_future *future;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 1, .initializer = close_all)), 0);
    for (uint32_t i = 0; i < 3; i++) {
        expect_large(submit(pool, &(struct large){.bytes = 1024, .seed = i}), 1024, i);
        future = submit(pool, &(struct large){.bytes = 1 << 20, .seed = i});
        ck_assert_int_eq(outcome_of(future), -EIO);
        ck_assert_ptr_nonnull(strstr(brood_future_error(future), "the worker's descriptor for it has been closed"));
        brood_future_free(future);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("results");

    /* "threads": only the kinds that stay in this process, for valgrind and the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;

    add_loop_tests(suite, "results", 0, end, results_of_any_size_come_whole,
                   a_result_that_asks_for_room_again_keeps_its_bytes, a_result_of_any_size_goes_into_the_callers_memory,
                   a_large_result_waits_for_a_caller_with_room_and_outlives_the_pool, many_large_results_wait_side_by_side,
                   large_results_are_told_of_as_any_are, a_failed_task_keeps_its_reply_whatever_its_size,
                   a_call_over_bytes_that_fails_gives_the_reply_of_the_task, without_a_reply_there_are_no_error_bytes,
                   a_failure_with_a_reply_ends_a_wait_for_the_first,
                   callbacks_and_statistics_are_told_of_a_failure_with_a_reply, what_is_no_result_takes_no_memory, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(
            suite, "results and deaths", BY_FORKS, end, a_death_with_a_large_result_in_hand_loses_that_and_leaks_nothing,
            a_death_leaves_no_error_bytes_of_the_attempt_before,
            a_failure_with_a_reply_is_the_outcome_also_of_a_later_attempt, a_second_attempt_begins_with_an_empty_hand,
            a_confined_worker_gives_no_more_than_was_put_aside, a_task_that_closes_descriptors_keeps_its_files,
            large_results_come_whole_after_a_task_that_closed_every_descriptor, NULL);
    if (end == WORKER_KINDS)
        add_tests(suite, "descriptors", a_worker_whose_initializer_closed_every_descriptor_runs_its_first_task, NULL);
    return run_suite(suite);
}
