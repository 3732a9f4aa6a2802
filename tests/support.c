#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inventory.h"
#include "os/poller.h"
#include "support.h"

#define SECONDS_A_TEST 60

int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t now_ms(void)
{
    return now_us() / 1000;
}

int64_t thread_cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* ---- what there is ---- */

/* A thread that was joined, or a process that was killed, may take a moment to leave /proc. */
static bool is_as_before(const struct inventory *before)
{
    struct inventory now = inventory_take();

    return memcmp(&now, before, sizeof(now)) == 0;
}

/* ---- the fixture ---- */

static struct inventory before;
static pid_t the_test;

bool is_the_test(void)
{
    return getpid() == the_test;
}

#ifdef __SANITIZE_THREAD__
static void *nothing(void *argument)
{
    return argument;
}

/* The sanitizer starts a thread of its own with the program's first. */
static void start_helpers(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, nothing, NULL) == 0)
        pthread_join(thread, NULL);
}
#else
static void start_helpers(void)
{
}
#endif

/* Orphans come to this process, so that no descendant of the test can hide. */
static void note_what_there_is(void)
{
    the_test = getpid();
    inventory_begin();
    start_helpers();
    before = inventory_take();
}

static bool has_child(void)
{
    pid_t pid;

    do
        pid = waitpid(-1, NULL, WNOHANG); /* one that has ended is reaped, and says nothing of the others */
    while (pid > 0);
    return pid == 0;
}

bool is_clean(char *words, size_t size)
{
    struct inventory now;
    bool is_alone = !has_child();

    for (int64_t until = now_ms() + AT_ONCE_MS; now_ms() < until && (!is_alone || !is_as_before(&before));) {
        rest();
        is_alone = !has_child();
    }
    now = inventory_take();
    (void)snprintf(words, size,
                   "%s descriptors %d before and %d after, threads %d, %d, mappings %d, %d, names in /dev/shm %d, %d",
                   is_alone ? "no process left;" : "a process left;", before.descriptors, now.descriptors, before.threads,
                   now.threads, before.mappings, now.mappings, before.names, now.names);
    return is_alone && memcmp(&now, &before, sizeof(now)) == 0;
}

static void expect_nothing_more(void)
{
    char words[256];

    ck_assert_msg(is_clean(words, sizeof(words)), "something was left behind: %s", words);
}

/* ---- the runner ---- */

static TCase *new_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_set_timeout(tests, SECONDS_A_TEST);
    tcase_add_checked_fixture(tests, note_what_there_is, expect_nothing_more);
    suite_add_tcase(suite, tests);
    return tests;
}

/* BROOD_TESTS_SKIPPED names a file of names, each in a line of its own; a line that begins with # says why those below it
 * cannot run here.  NULL: the test runs. */
static const char *why_skipped(const TTest *test)
{
    static char reason[160], line[160];
    const char *path = getenv("BROOD_TESTS_SKIPPED");
    FILE *file = path ? fopen(path, "re") : NULL;
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#')
            (void)snprintf(reason, sizeof(reason), "%s", line + 1 + (line[1] == ' '));
        found = strcmp(line, test->name) == 0;
    }
    if (file)
        (void)fclose(file);
    return found ? reason : NULL;
}

static bool is_skipped(const TTest *test)
{
    const char *why = why_skipped(test);

    if (why)
        (void)printf("skipped: %s: %s\n", test->name, why);
    return why != NULL;
}

void add_loop_tests(Suite *suite, const char *name, int from, int end, ...)
{
    TCase *tests = new_case(suite, name);
    const TTest *test;
    va_list arguments;

    va_start(arguments, end);
    while ((test = va_arg(arguments, const TTest *)) != NULL)
        if (!is_skipped(test))
            tcase_add_loop_test(tests, test, from, end);
    va_end(arguments);
}

void add_tests(Suite *suite, const char *name, ...)
{
    TCase *tests = new_case(suite, name);
    const TTest *test;
    va_list arguments;

    va_start(arguments, name);
    while ((test = va_arg(arguments, const TTest *)) != NULL)
        if (!is_skipped(test))
            tcase_add_test(tests, test);
    va_end(arguments);
}

/* The tests of a program whose ctest says BROOD_POLLER=uring are skipped where a sandbox denies io_uring. */
static bool is_refused(const char *poller_name)
{
    struct brood__poller *poller = NULL;
    bool refused = poller_name && brood__poller_open(&poller) < 0;

    if (refused)
        (void)printf("skipped: %s\n", brood_error());
    brood__poller_close(poller);
    return refused;
}

int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    if (is_refused(getenv("BROOD_POLLER"))) {
        srunner_free(runner);
        return 77;
    }
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
