/* check_clock.c - points in time, and the deadlines made of them. */
#include <limits.h>

#include "os/clock.h"
#include "support.h"

#define MS 1000000
#define SECOND 1000000000

START_TEST(the_clock_does_not_go_back)
{
    int64_t before = brood__now_ns();

    for (int i = 0; i < 100000; i++) {
        int64_t now = brood__now_ns();

        if (now < before)
            ck_abort_msg("%lld after %lld", (long long)now, (long long)before);
        before = now;
    }
}
END_TEST

START_TEST(the_clock_is_the_monotonic_one_in_nanoseconds)
{
    struct timespec now;
    int64_t before = brood__now_ns();

    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    ck_assert_int_le(before, now.tv_sec * (int64_t)SECOND + now.tv_nsec);
    ck_assert_int_ge(brood__now_ns(), now.tv_sec * (int64_t)SECOND + now.tv_nsec);
}
END_TEST

START_TEST(a_deadline_lies_as_far_ahead_as_it_says)
{
    static const int64_t distances_ms[] = {1, 250, 60000, 86400000};

    for (size_t i = 0; i < sizeof(distances_ms) / sizeof(distances_ms[0]); i++) {
        int64_t ms = distances_ms[i], before = brood__now_ns();
        brood_deadline in_ms = brood_after_ms(ms), in_ns = brood__after_ns(ms * MS + 1);
        int64_t after = brood__now_ns();

        ck_assert_int_ge(in_ms.ns, before + ms * MS);
        ck_assert_int_le(in_ms.ns, after + ms * MS);
        ck_assert_int_ge(in_ns.ns, before + ms * MS + 1);
        ck_assert_int_le(in_ns.ns, after + ms * MS + 1);
    }
}
END_TEST

START_TEST(no_time_at_all_and_less_is_now)
{
    ck_assert_int_eq(brood_after_ms(0).ns, BROOD_NOW.ns);
    ck_assert_int_eq(brood_after_ms(-1).ns, BROOD_NOW.ns);
    ck_assert_int_eq(brood_after_ms(INT64_MIN).ns, BROOD_NOW.ns);
    ck_assert_int_eq(brood__after_ns(0).ns, BROOD_NOW.ns);
    ck_assert_int_eq(brood__after_ns(INT64_MIN).ns, BROOD_NOW.ns);
}
END_TEST

START_TEST(a_deadline_beyond_the_end_of_the_clock_is_forever)
{
    ck_assert_int_eq(brood_after_ms(INT64_MAX).ns, BROOD_FOREVER.ns);
    ck_assert_int_eq(brood_after_ms(INT64_MAX / MS + 1).ns, BROOD_FOREVER.ns);
    ck_assert_int_eq(brood_after_ms(INT64_MAX / MS).ns, BROOD_FOREVER.ns); /* a number of ns, but not from now on */
    ck_assert_int_eq(brood__after_ns(INT64_MAX).ns, BROOD_FOREVER.ns);
}
END_TEST

START_TEST(a_deadline_is_past_once_it_is_reached)
{
    ck_assert(brood__is_past(BROOD_NOW));
    ck_assert(brood__is_past((brood_deadline){-1}));
    ck_assert(brood__is_past((brood_deadline){INT64_MIN}));
    ck_assert(brood__is_past((brood_deadline){brood__now_ns()}));
    ck_assert(!brood__is_past(brood_after_ms(60000)));
    ck_assert(!brood__is_past((brood_deadline){INT64_MAX - 1}));
}
END_TEST

START_TEST(forever_is_never_past)
{
    ck_assert(!brood__is_past(BROOD_FOREVER));
    ck_assert(brood__is_forever(BROOD_FOREVER));
    ck_assert(!brood__is_forever((brood_deadline){INT64_MAX - 1}));
    ck_assert(!brood__is_forever(BROOD_NOW));
}
END_TEST

START_TEST(a_deadline_in_seconds_and_nanoseconds_is_the_same_point)
{
    struct timespec at = brood__timespec((brood_deadline){INT64_C(7) * SECOND + 999999999});

    ck_assert_int_eq(at.tv_sec, 7);
    ck_assert_int_eq(at.tv_nsec, 999999999);
    at = brood__timespec((brood_deadline){INT64_C(8) * SECOND});
    ck_assert_int_eq(at.tv_sec, 8);
    ck_assert_int_eq(at.tv_nsec, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");

    add_tests(suite, "clock", the_clock_does_not_go_back, the_clock_is_the_monotonic_one_in_nanoseconds, NULL);
    add_tests(suite, "deadlines", a_deadline_lies_as_far_ahead_as_it_says, no_time_at_all_and_less_is_now,
              a_deadline_beyond_the_end_of_the_clock_is_forever, a_deadline_is_past_once_it_is_reached,
              forever_is_never_past, a_deadline_in_seconds_and_nanoseconds_is_the_same_point, NULL);
    return run_suite(suite);
}
