/* conform_executor.c - what a pool does beside running tasks: workers begin and end, come and go; it is shut down, looked
 * at and gives up.  Over threads, forked and exec'ed workers, and the caller where that makes sense.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "support.h"
#include "tasks.h"

enum { CALLER, THREADS, FORKS, EXECS, KINDS };

static const enum brood_kind kinds[] = {BROOD_INLINE, BROOD_THREADS, BROOD_PROCESSES, BROOD_PROCESSES};

static struct brood_pool *open_kind(int kind, struct brood_pool_options *options)
{
    struct brood_pool *pool = NULL;

    options->kind = kinds[kind];
    options->worker = kind == EXECS ? worker_path() : NULL;
    ck_assert_msg(brood_pool_open(&pool, options) == 0, "open: %s", brood_error());
    return pool;
}

/* ---- a diary that the workers keep ---- */

struct diary {
    char path[96];
    const char *args[2];
};

static struct diary *new_diary(void)
{
    static struct diary diary;
    static int number;

    (void)snprintf(diary.path, sizeof(diary.path), "/tmp/brood-diary-%d-%d-%lld", getpid(), number++, (long long)now_ms());
    diary.args[0] = diary.path;
    return &diary;
}

static struct brood_pool_options *keep(int kind, const struct diary *diary, struct brood_pool_options *options)
{
    options->kind = kinds[kind];
    options->worker = kind == EXECS ? worker_path() : NULL;
    options->worker_args = kind == EXECS ? (const char *const *)diary->args : NULL;
    if (kind == EXECS)
        return options;
    options->initializer = begin_diary;
    options->finalizer = end_diary;
    options->context = (void *)(uintptr_t)diary->path;
    return options;
}

static void touch(const struct diary *diary, const char *suffix)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%s%s", diary->path, suffix);
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static int count(const struct diary *diary, char letter)
{
    char text[4096];
    int fd = open(diary->path, O_RDONLY | O_CLOEXEC), found = 0;
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < length; i++)
        found += text[i] == letter;
    return found;
}

static void burn(const struct diary *diary)
{
    char name[128];

    (void)unlink(diary->path);
    (void)snprintf(name, sizeof(name), "%s.fail", diary->path);
    (void)unlink(name);
    (void)snprintf(name, sizeof(name), "%s.slow", diary->path);
    (void)unlink(name);
}

/* ---- initializers ---- */

START_TEST(each_worker_begins_once_with_a_state_of_its_own_and_ends_once)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    int workers = _i == CALLER ? 1 : 3;
    struct place place, state;

    ck_assert_msg(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = workers))) == 0, "%s", brood_error());
    ck_assert_int_eq(count(diary, 'b'), workers);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(brood_apply(pool, tell_state, &state, &(int){0}), 0);
        ck_assert_int_eq(state.pid, _i >= FORKS ? brood_pool_worker_pid(pool, state.worker) : getpid());
        ck_assert_int_eq(brood_apply(pool, whereabouts, &place, &(int){0}), 0);
    }
    ck_assert_ptr_null(brood_worker_state());
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(count(diary, 'b'), workers);
    ck_assert_int_eq(count(diary, 'e'), workers);
    burn(diary);
}
END_TEST

START_TEST(without_an_initializer_there_is_no_state)
{
    brood_auto(pool) *pool = open_kind(_i, BROOD_POOL(.workers = 1));
    struct place state;

    ck_assert_int_eq(brood_apply(pool, tell_state, &state, &(int){0}), -ENODATA);
}
END_TEST

/* semantics: X15 */
START_TEST(a_pool_whose_initializer_fails_does_not_open_and_says_why)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;

    touch(diary, ".fail");
    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 2))), -ENODEV);
    ck_assert_ptr_null(pool);
    ck_assert_msg(strstr(brood_error(), "initializer failed: no diary today"), "%s", brood_error());
    ck_assert_int_eq(count(diary, 'e'), 0);
    burn(diary);
}
END_TEST

/* semantics: X15 */
START_TEST(an_initializer_that_fails_in_a_replacement_breaks_the_pool_with_its_words)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    brood_auto(future) *stuck = NULL;
    int one;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 2))), 0);
    ck_assert_int_eq(brood_apply_async(pool, hang, &stuck, &(int){0}), 0);
    touch(diary, ".fail");
    ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){SIGKILL}), -EOWNERDEAD);
    ck_assert_int_eq(outcome_of(stuck), -ESHUTDOWN);
    ck_assert_msg(strstr(brood_future_error(stuck), "no diary today"), "%s", brood_future_error(stuck));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){0}), -ESHUTDOWN);
        ck_assert_msg(strstr(brood_error(), "no diary today"), "%s", brood_error());
    }
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), -ETIMEDOUT);
    burn(diary);
}
END_TEST

START_TEST(who_replaces_a_dead_or_retired_worker_begins_too)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;
    struct place state;
    int one;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 1, .worker_tasks = 3))), 0);
    ck_assert_int_eq(brood_apply(pool, die_by, &one, &(int){SIGKILL}), -EOWNERDEAD);
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(brood_apply(pool, tell_state, &state, &(int){0}), 0);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_ge(count(diary, 'b'), 4); /* the dead one and three for seven tasks */
    ck_assert_int_eq(count(diary, 'e'), count(diary, 'b') - 1);
    burn(diary);
}
END_TEST

START_TEST(a_finalizer_has_as_long_as_the_close_may_take)
{
    struct diary *diary = new_diary();
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, keep(_i, diary, BROOD_POOL(.workers = 2))), 0);
    touch(diary, ".slow");
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    ck_assert_int_eq(count(diary, 'e'), 2);
    burn(diary);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("executor");

    /* "threads": only the kinds that stay in this process, for the thread sanitizer. */
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? FORKS : KINDS;

    add_loop_tests(suite, "initializer", CALLER, end, each_worker_begins_once_with_a_state_of_its_own_and_ends_once,
                   without_an_initializer_there_is_no_state, a_pool_whose_initializer_fails_does_not_open_and_says_why,
                   NULL);
    if (end == KINDS)
        add_loop_tests(suite, "initializer of processes", FORKS, KINDS,
                       an_initializer_that_fails_in_a_replacement_breaks_the_pool_with_its_words,
                       who_replaces_a_dead_or_retired_worker_begins_too, a_finalizer_has_as_long_as_the_close_may_take,
                       NULL);
    return run_suite(suite);
}
