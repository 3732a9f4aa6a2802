/* conform_stream.c - loops over indices and streams of items, over every kind of worker. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pools.h"
#include "streams.h"
#include "support.h"

static struct brood_pool *open_pool(int kind, int workers)
{
    return open_kind(kind, BROOD_POOL(.workers = workers));
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

    turns.hits = _i < BY_EXECS ? new_hits(pool, 10000) : NULL;
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

    turns.hits = _i < BY_EXECS ? new_hits(pool, 20000) : NULL;
    ck_assert_int_eq(brood_for_async(pool, take_turns, &future, &turns, 1, 20000), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
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

    turns.hits = _i < BY_EXECS ? new_hits(pool, 100) : NULL;
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, &turns, sizeof(turns), 0, 100, BROOD_FOR(.limit_ms = 1000)),
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
    ck_assert_int_eq(brood_pool_for(pool, &take_turns.task, &sum, SIZE_MAX, 0, 9, NULL), -EINVAL);
    ck_assert_int_eq(brood_for(NULL, take_turns, NULL, 0, 9), -EINVAL);
}
END_TEST

/* Under valgrind or a sanitizer, which has memory of its own; the tests are told by their longer time. */
static bool is_slow(void)
{
    const char *multiplier = getenv("CK_TIMEOUT_MULTIPLIER");

    return multiplier && atoi(multiplier) > 1;
}

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
    ck_assert(is_slow() || resident_kib() - before < 64 << 10);
    expect_working(pool);
}
END_TEST

/* ---- streams ---- */

/* A source that counts, up to an end, and then says `outcome`. */
struct source {
    int64_t next, end;
    int outcome;
    uint64_t sum; /* of what came out, modulo 2^64 */
    int64_t wanted;
};

static int next_double(void *context, void *ret_arg)
{
    struct source *source = context;

    if (source->next == source->end)
        return source->outcome < 0 ? brood_fail(source->outcome, "the well is dry") : 0;
    *(double *)ret_arg = (double)source->next++;
    return 1;
}

static int next_int(void *context, void *ret_arg)
{
    struct source *source = context;

    if (source->next == source->end)
        return source->outcome;
    *(int *)ret_arg = (int)source->next++;
    return 1;
}

static const struct brood_imap_options *with(bool unordered, size_t chunk, size_t window)
{
    static struct brood_imap_options options;

    options = *BROOD_IMAP(.unordered = unordered, .chunk = chunk, .window = window);
    return &options;
}

/* Takes all that is left; each index shall come once, in order if that was asked for, with the square of itself. */
static void expect_squares(struct brood_imap *imap, int64_t n, bool unordered)
{
    unsigned char *seen = calloc((size_t)n + 1, 1);
    struct brood_item item;
    int64_t count = 0, wrong = 0;
    int r;

    while ((r = brood_imap_next(imap, &item, brood_after_ms(60000))) == 0) {
        ck_assert_int_eq(item.outcome, 0);
        ck_assert_int_lt((int64_t)item.index, n);
        wrong += *(const double *)item.result != (double)item.index * (double)item.index || seen[item.index]++;
        wrong += !unordered && (int64_t)item.index != count;
        count++;
    }
    free(seen);
    ck_assert_int_eq(r, -ENODATA);
    ck_assert_int_eq(brood_imap_next(imap, &item, BROOD_NOW), -ENODATA);
    ck_assert_int_eq(count, n);
    ck_assert_int_eq(wrong, 0);
}

/* semantics: M3 M10 M11 X4 */
START_TEST(a_stream_gives_every_result_once_whatever_its_chunks)
{
    static const size_t chunks[] = {0, 1, 6, 40, 50, 5000};
    brood_auto(pool) *pool = open_pool(_i, 2);
    double in[1000];

    for (int i = 0; i < 1000; i++)
        in[i] = i;
    for (size_t i = 0; i < 2 * sizeof(chunks) / sizeof(chunks[0]); i++) {
        brood_auto(imap) *imap = NULL;

        ck_assert_int_eq(brood_imap(pool, square, &imap, in, 1000, with(i % 2, chunks[i / 2], 0)), 0);
        expect_squares(imap, 1000, i % 2);
    }
}
END_TEST

START_TEST(a_stream_may_be_empty)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *none = NULL;
    brood_auto(imap) *pulled = NULL;
    struct source source = {0};

    ck_assert_int_eq(brood_imap(pool, square, &none, (double *)NULL, 0, NULL), 0);
    expect_squares(none, 0, false);
    ck_assert_int_eq(brood_imap_pull(pool, square, &pulled, next_double, &source, with(true, 1, 0)), 0);
    expect_squares(pulled, 0, true);
}
END_TEST

START_TEST(a_stream_takes_no_more_from_its_source_than_its_window)
{
    static const size_t windows[] = {1, 2, 7, 100};
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 2, .queue = 2));

    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        brood_auto(imap) *imap = NULL;
        struct source source = {.end = 3000};
        struct brood_item item;

        ck_assert_int_eq(brood_imap_pull(pool, square, &imap, next_double, &source, with(i % 2, 0, windows[i])), 0);
        for (int64_t taken = 0; taken < 1000; taken++) {
            ck_assert_int_le(source.next, taken + (int64_t)windows[i]);
            ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
        }
    }
}
END_TEST

START_TEST(streams_calls_and_maps_share_the_workers)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *one = NULL;
    brood_auto(imap) *other = NULL;
    struct source sources[2] = {{.end = 5000}, {.end = 5000}};
    struct brood_item item;

    ck_assert_int_eq(brood_imap_pull(pool, square, &one, next_double, &sources[0], NULL), 0);
    ck_assert_int_eq(brood_imap_pull(pool, square, &other, next_double, &sources[1], with(true, 0, 0)), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(brood_imap_next(one, &item, BROOD_FOREVER), 0);
    expect_working(pool);
    expect_squares(other, 5000, true);
    for (int i = 100; i < 5000; i++)
        ck_assert_int_eq(brood_imap_next(one, &item, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_imap_next(one, &item, BROOD_FOREVER), -ENODATA);
}
END_TEST

/* semantics: X3 M10 */
START_TEST(a_failed_item_comes_at_its_place_and_the_stream_goes_on)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *imap = NULL;
    struct source source = {.end = 500};
    struct brood_item item;

    ck_assert_int_eq(brood_imap_pull(pool, refuse_odd, &imap, next_int, &source, with(false, 2, 0)), 0);
    for (int i = 0; i < 500; i++) {
        ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
        ck_assert_uint_eq(item.index, (uint64_t)i);
        ck_assert_int_eq(item.outcome, i % 2 ? -EDOM : 0);
        if (i == 77)
            ck_assert_str_eq(item.error, "77 is odd");
        if (i % 2)
            ck_assert_ptr_null(item.result);
        else
            ck_assert_int_eq(*(const int *)item.result, i / 2);
    }
    ck_assert_int_eq(brood_imap_next(imap, &item, BROOD_FOREVER), -ENODATA);
}
END_TEST

/* semantics: M9 */
START_TEST(a_source_that_fails_is_told_behind_what_it_gave)
{
    brood_auto(pool) *pool = open_pool(_i, 2);

    for (int unordered = 0; unordered < 2; unordered++)
        for (int64_t end = 0; end < 300; end += 149) {
            brood_auto(imap) *imap = NULL;
            struct source source = {.end = end, .outcome = -EPIPE};
            struct brood_item item;

            ck_assert_int_eq(brood_imap_pull(pool, square, &imap, next_double, &source, with(unordered, 0, 0)), 0);
            for (int64_t i = 0; i < end; i++)
                ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
            for (int again = 0; again < 2; again++) {
                ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), -EPIPE);
                ck_assert_str_eq(brood_error(), "the well is dry");
            }
        }
}
END_TEST

static struct stop make_stop(int number)
{
    struct stop stop = {.number = number};

    snprintf(stop.path, sizeof(stop.path), "/tmp/brood-stop-%d-%d-%lld", getpid(), number, (long long)now_ms());
    ck_assert_int_eq(mkfifo(stop.path, 0600), 0);
    return stop;
}

/* Blocks until a task waits there, and lets it through. */
static void let_pass(const struct stop *stop)
{
    int fd = open(stop->path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(unlink(stop->path), 0);
}

/* semantics: M10 */
START_TEST(waiting_for_an_item_ends_at_its_deadline_and_may_be_repeated)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *imap = NULL;
    struct stop stops[10] = {make_stop(0)};
    struct brood_item item;

    for (int i = 1; i < 10; i++)
        stops[i].number = i;
    ck_assert_int_eq(brood_imap(pool, stop_at, &imap, stops, 10, with(false, 1, 0)), 0);
    ck_assert_int_eq(brood_imap_next(imap, &item, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(20)), -ETIMEDOUT);
    let_pass(&stops[0]);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
        ck_assert_int_eq(*(const int *)item.result, i);
    }
    ck_assert_int_eq(brood_imap_next(imap, &item, BROOD_FOREVER), -ENODATA);
}
END_TEST

/* semantics: M11 */
START_TEST(unordered_items_overtake_one_that_takes_long)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *imap = NULL;
    struct stop stops[20] = {make_stop(0)};
    struct brood_item item;

    for (int i = 1; i < 20; i++)
        stops[i].number = i;
    ck_assert_int_eq(brood_imap(pool, stop_at, &imap, stops, 20, with(true, 1, 0)), 0);
    for (int i = 1; i < 20; i++) {
        ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
        ck_assert_int_ne(*(const int *)item.result, 0);
    }
    ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(10)), -ETIMEDOUT);
    let_pass(&stops[0]);
    ck_assert_int_eq(brood_imap_next(imap, &item, brood_after_ms(60000)), 0);
    ck_assert_uint_eq(item.index, 0);
}
END_TEST

/* semantics: X3 */
START_TEST(a_stream_that_is_closed_early_runs_no_more)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *imap = NULL;
    struct source source = {.end = 1 << 20};
    struct brood_item item;

    ck_assert_int_eq(brood_imap_pull(pool, square, &imap, next_double, &source, with(false, 0, 50)), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(brood_imap_next(imap, &item, BROOD_FOREVER), 0);
    brood_imap_close(imap);
    imap = NULL;
    ck_assert_int_le(source.next, 60);
    expect_working(pool);
}
END_TEST

START_TEST(a_stream_outlives_its_pool)
{
    struct brood_pool *pool = open_pool(_i, 2);
    brood_auto(imap) *imap = NULL;
    struct source source = {.end = 1 << 20};
    struct brood_item item;
    int r;

    ck_assert_int_eq(brood_imap_pull(pool, square, &imap, next_double, &source, with(false, 1, 8)), 0);
    ck_assert_int_eq(brood_imap_next(imap, &item, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    while ((r = brood_imap_next(imap, &item, brood_after_ms(60000))) == 0)
        ck_assert_double_eq(*(const double *)item.result, (double)item.index * (double)item.index);
    ck_assert_int_eq(r, -ESHUTDOWN);
}
END_TEST

/* semantics: X12 M6 */
START_TEST(a_death_takes_the_item_that_the_dead_was_at_and_no_other)
{
    brood_auto(pool) *pool = open_pool(_i, 2);

    for (size_t i = 0; i < 4; i++) {
        brood_auto(imap) *imap = NULL;
        struct source source = {.next = 1, .end = 500};
        struct brood_item item;
        int count = 0, wrong = 0, r;

        ck_assert_int_eq(brood_imap_pull(pool, die_if_divisible, &imap, next_int, &source, with(i % 2, i / 2 * 40, 0)), 0);
        while ((r = brood_imap_next(imap, &item, brood_after_ms(60000))) == 0) {
            int arg = (int)item.index + 1;

            wrong += item.outcome != (arg % 97 == 0 ? -EOWNERDEAD : 0) ||
                     (item.outcome == 0 && *(const int *)item.result != arg + 1);
            ck_assert(item.outcome == 0 || strstr(item.error, "signal 9"));
            count++;
        }
        ck_assert_int_eq(r, -ENODATA);
        ck_assert_int_eq(count, 499);
        ck_assert_int_eq(wrong, 0);
    }
}
END_TEST

/* semantics: K4 */
START_TEST(an_item_that_overruns_its_time_is_lost_alone)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    brood_auto(imap) *imap = NULL;
    struct source source = {.next = 1, .end = 120};
    struct brood_item item;
    int r;

    ck_assert_int_eq(brood_imap_pull(pool, hang_at, &imap, next_int, &source, BROOD_IMAP(.chunk = 10, .limit_ms = 1000)),
                     0);
    while ((r = brood_imap_next(imap, &item, brood_after_ms(60000))) == 0)
        ck_assert_int_eq(item.outcome, (item.index + 1) % 50 == 0 ? -ETIMEDOUT : 0);
    ck_assert_int_eq(r, -ENODATA);
}
END_TEST

/* ---- whole streams ---- */

static int add(void *context, const struct brood_item *item)
{
    struct source *source = context;

    if (item->outcome < 0)
        return 0;
    source->sum += (uint64_t) * (const double *)item->result;
    return source->wanted > 0 && --source->wanted == 0 ? brood_fail(-EXFULL, "that will do") : 0;
}

START_TEST(a_stream_of_millions_takes_bounded_memory)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    const int64_t n = is_slow() ? 100000 : 10000000;
    struct source source = {.end = n};
    long before = resident_kib();
    uint64_t sum = 0;

    ck_assert_int_eq(brood_map_pull(pool, square, next_double, add, &source, with(_i % 2, 0, 0)), 0);
    for (uint64_t i = 0; i < (uint64_t)n; i++)
        sum += i * i;
    ck_assert_uint_eq(source.sum, sum);
    ck_assert_int_eq(source.next, n);
    ck_assert(is_slow() || resident_kib() - before < 32 << 10);
}
END_TEST

START_TEST(a_whole_stream_ends_at_the_source_or_at_the_receiver)
{
    brood_auto(pool) *pool = open_pool(_i, 2);
    struct source source = {.end = 1000}, dry = {.end = 1000, .outcome = -EPIPE}, odd = {.end = 100};
    struct source enough = {.end = 1 << 20, .wanted = 10};

    ck_assert_int_eq(brood_map_pull(pool, square, next_double, add, &source, NULL), 0);
    ck_assert_uint_eq(source.sum, 332833500);
    ck_assert_int_eq(brood_map_pull(pool, square, next_double, add, &dry, with(true, 0, 0)), -EPIPE);
    ck_assert_str_eq(brood_error(), "the well is dry");
    ck_assert_uint_eq(dry.sum, 332833500);
    ck_assert_int_eq(brood_map_pull(pool, square, next_double, add, &enough, with(false, 1, 4)), -EXFULL);
    ck_assert_str_eq(brood_error(), "that will do");
    ck_assert_uint_eq(enough.sum, 285);
    ck_assert_int_eq(brood_map_pull(pool, refuse_odd, next_int, NULL, &odd, NULL), -EDOM);
    ck_assert_str_eq(brood_error(), "item 1: 1 is odd");
}
END_TEST

START_TEST(bad_streams_are_refused_with_words)
{
    brood_auto(pool) *pool = open_pool(_i, 1);
    struct brood_imap *imap = NULL;
    double in[2] = {1, 2};

    ck_assert_int_eq(brood_imap(pool, square, &imap, (double *)NULL, 2, NULL), -EINVAL);
    ck_assert_int_eq(brood_imap(pool, square, &imap, in, 2, with(false, (size_t)-1, 0)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "a chunk of"));
    ck_assert_int_eq(brood_imap(pool, square, &imap, in, 2, &(struct brood_imap_options){.chunk = 1}), -EINVAL);
    ck_assert_int_eq(brood_pool_imap(pool, &reverse.task, &imap, in, 2, NULL), -EINVAL);
    ck_assert_int_eq(brood_imap_pull(pool, square, &imap, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(brood_imap(NULL, square, &imap, in, 2, NULL), -EINVAL);
    ck_assert_int_eq(brood_imap_next(NULL, NULL, BROOD_NOW), -EINVAL);
    ck_assert_ptr_null(imap);
    brood_imap_close(NULL);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("stream");

    /* "threads": only the kinds that stay in this process, for valgrind and the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;

    add_loop_tests(suite, "loops", 0, end, a_loop_may_have_no_context_and_no_index, a_loop_may_end_where_numbers_do,
                   a_loop_goes_on_behind_a_failure_and_names_the_first,
                   a_sum_is_the_same_to_the_last_bit_for_any_number_of_workers, parts_are_combined_as_the_loop_says,
                   a_sum_with_a_failure_is_none, what_is_no_loop_is_refused, NULL);
    add_loop_tests(suite, "loops in one's own memory", 0, end < BY_EXECS ? end : BY_EXECS, a_loop_runs_every_index_once,
                   NULL);
    add_loop_tests(suite, "loops beside the caller", 1, end,
                   a_loop_of_any_length_takes_bounded_memory_and_ends_when_it_is_given_up, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "loops and deaths", BY_FORKS, end, a_death_takes_the_index_that_the_dead_was_at_and_no_other,
                       an_index_that_overruns_its_time_is_lost_alone, NULL);
    add_loop_tests(suite, "streams", 0, end, a_stream_gives_every_result_once_whatever_its_chunks, a_stream_may_be_empty,
                   a_stream_takes_no_more_from_its_source_than_its_window, streams_calls_and_maps_share_the_workers,
                   a_failed_item_comes_at_its_place_and_the_stream_goes_on, a_source_that_fails_is_told_behind_what_it_gave,
                   a_stream_that_is_closed_early_runs_no_more, a_stream_outlives_its_pool,
                   a_whole_stream_ends_at_the_source_or_at_the_receiver, bad_streams_are_refused_with_words,
                   a_stream_of_millions_takes_bounded_memory, NULL);
    add_loop_tests(suite, "streams beside the caller", 1, end, waiting_for_an_item_ends_at_its_deadline_and_may_be_repeated,
                   unordered_items_overtake_one_that_takes_long, NULL);
    if (end == WORKER_KINDS)
        add_loop_tests(suite, "streams and deaths", BY_FORKS, end, a_death_takes_the_item_that_the_dead_was_at_and_no_other,
                       an_item_that_overruns_its_time_is_lost_alone, NULL);
    return run_suite(suite);
}
