/* support.h - what the test programs share: a fixture that fails a test which leaves something behind, and a runner.
 *
 *     int main(void)
 *     {
 *         Suite *suite = suite_create("lane");
 *
 *         add_tests(suite, "claims", a_claim_names_its_owner, a_claim_is_made_once, NULL);
 *         return run_suite(suite);
 *     }
 *
 * Around every test: no descriptor, child, thread, mapping of a pool or name in /dev/shm may remain.
 */
#ifndef BROOD_TESTS_SUPPORT_H
#define BROOD_TESTS_SUPPORT_H

#include <check.h>

#include <brood.h>

/* Adds tests, up to NULL, as one case with the fixture, each with 60 seconds of time. */
void add_tests(Suite *suite, const char *name, ...);

/* The same, each test run for _i = from … end-1. */
void add_loop_tests(Suite *suite, const char *name, int from, int end, ...);

/* Runs it and returns the status for main(). */
int run_suite(Suite *suite);

/* Is there nothing more than when the test began?  Gives it a while; the words tell what there is.  The fixture asks at a
 * test's end, and a test that opens many pools may ask after each. */
bool is_clean(char *words, size_t size);

/* Check notes each assertion that holds in a file that a test shares with its children, and can't read it any more once one
 * of them was killed amid a note: only the test's own process makes them. */
bool is_the_test(void);
#define _mark_point(file, line) (is_the_test() ? (_mark_point)(file, line) : (void)0)

/* Microseconds and milliseconds on the monotonic clock. */
int64_t now_us(void);
int64_t now_ms(void);

/* What the calling thread has used. */
int64_t thread_cpu_ns(void);

/* What takes no time ends within so many: on a machine that has ten times the work it can do, and does not come to this
 * process for seconds.  It tells late from never; how soon things are, benchmarks and `brood chaos` say. */
#define AT_ONCE_MS INT64_C(20000)

/* Waits until `what` holds, for a minute; then the test fails.  For states of the kernel that have no event, like a
 * child's entry in /proc. */
#define await(what)                                                               \
    do {                                                                          \
        int64_t await_until_ = now_ms() + 60000;                                  \
        while (!(what)) {                                                         \
            ck_assert_msg(now_ms() < await_until_, "never came true: %s", #what); \
            rest();                                                               \
        }                                                                         \
    } while (0)

/* Gives the processor away for a millisecond. */
void rest(void);

#endif
