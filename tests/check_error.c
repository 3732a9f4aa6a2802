/* check_error.c - the reason for a failure, in words. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "os/error.h"
#include "support.h"

START_TEST(without_a_failure_there_are_no_words)
{
    ck_assert_str_eq(brood_error(), "");
}
END_TEST

START_TEST(a_failure_returns_its_number_and_keeps_its_words)
{
    ck_assert_int_eq(brood_fail(-EDOM, "x is %d, must be %s", -3, "positive"), -EDOM);
    ck_assert_str_eq(brood_error(), "x is -3, must be positive");
}
END_TEST

START_TEST(the_last_failure_counts)
{
    ck_assert_int_eq(brood_fail(-EIO, "a long first reason"), -EIO);
    ck_assert_int_eq(brood_fail(-EPERM, "short"), -EPERM);
    ck_assert_str_eq(brood_error(), "short");
}
END_TEST

START_TEST(a_reason_without_end_is_cut)
{
    char long_text[4000];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    ck_assert_int_eq(brood_fail(-E2BIG, "%s", long_text), -E2BIG);
    ck_assert_uint_gt(strlen(brood_error()), 95); /* what a task may say, at least */
    ck_assert_uint_lt(strlen(brood_error()), sizeof(long_text) - 1);
    ck_assert_int_eq(strncmp(brood_error(), long_text, strlen(brood_error())), 0);
}
END_TEST

START_TEST(a_cleared_reason_is_gone)
{
    (void)brood_fail(-EIO, "something");
    brood__error_clear();
    ck_assert_str_eq(brood_error(), "");
}
END_TEST

/* What a thread of its own has found, since only the test's first thread may fail it. */
struct findings {
    char at_first[32], after_its_own[32];
};

static void *fail_elsewhere(void *argument)
{
    struct findings *findings = argument;

    (void)snprintf(findings->at_first, sizeof(findings->at_first), "%s", brood_error());
    (void)brood_fail(-ENOENT, "theirs");
    (void)snprintf(findings->after_its_own, sizeof(findings->after_its_own), "%s", brood_error());
    return NULL;
}

START_TEST(a_reason_belongs_to_its_thread)
{
    struct findings findings;
    pthread_t thread;

    (void)brood_fail(-EIO, "ours");
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_elsewhere, &findings), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_str_eq(findings.at_first, "");
    ck_assert_str_eq(findings.after_its_own, "theirs");
    ck_assert_str_eq(brood_error(), "ours");
}
END_TEST

START_TEST(the_version_is_that_of_the_headers_it_was_built_with)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%d.%d.%d", BROOD_VERSION_MAJOR, BROOD_VERSION_MINOR, BROOD_VERSION_PATCH);
    ck_assert_str_eq(brood_version(), text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");

    add_tests(suite, "error", without_a_failure_there_are_no_words, a_failure_returns_its_number_and_keeps_its_words,
              the_last_failure_counts, a_reason_without_end_is_cut, a_cleared_reason_is_gone,
              a_reason_belongs_to_its_thread, the_version_is_that_of_the_headers_it_was_built_with, NULL);
    return run_suite(suite);
}
