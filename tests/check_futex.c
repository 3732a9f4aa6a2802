/* check_futex.c - sleeping on a word, on two, and on a life. */
#include <limits.h>
#include <stdlib.h>
#include <sys/time.h>

#include "child.h"
#include "os/clock.h"
#include "os/futex.h"

#define MS 1000000
#define SLEEPERS 3

/* What test and children share. */
struct words {
    _Atomic uint32_t one, other, ready;
    _Atomic int64_t stamp_ns;
    _Atomic int count;
};

static struct words *new_words(void)
{
    return shared_memory(sizeof(struct words));
}

/* ---- the ways to sleep ---- */

typedef int sleep_fn(struct words *words, brood_deadline deadline);

static int on_one(struct words *words, brood_deadline deadline)
{
    return brood__futex_wait(&words->one, 0, deadline);
}

static int on_two(struct words *words, brood_deadline deadline)
{
    return brood__futex_wait2(&words->one, 0, &words->other, 0, deadline);
}

static sleep_fn *const ways[] = {on_one, on_two};
#define WAYS (int)(sizeof(ways) / sizeof(ways[0]))

/* ---- one word, or the first of two ---- */

START_TEST(a_word_that_has_changed_is_not_waited_for)
{
    struct words *words = new_words();

    atomic_store(&words->one, 1);
    ck_assert_int_eq(ways[_i](words, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline_and_not_before)
{
    struct words *words = new_words();
    brood_deadline deadline = brood_after_ms(30);

    ck_assert_int_eq(ways[_i](words, deadline), -ETIMEDOUT);
    ck_assert_int_ge(brood__now_ns(), deadline.ns);
    ck_assert_int_lt(brood__now_ns(), deadline.ns + AT_ONCE_MS * MS);
}
END_TEST

START_TEST(a_wait_until_now_does_not_sleep)
{
    struct words *words = new_words();
    int64_t least = INT64_MAX;

    for (int i = 0; i < 100 && least >= MS; i++) { /* a busy machine may take the processor away now and then */
        int64_t before = brood__now_ns();

        ck_assert_int_eq(ways[_i](words, BROOD_NOW), -ETIMEDOUT);
        ck_assert_int_eq(ways[_i](words, (brood_deadline){before - MS}), -ETIMEDOUT);
        least = brood__now_ns() - before < least ? brood__now_ns() - before : least;
    }
    ck_assert_int_lt(least, MS);
}
END_TEST

struct sleeper {
    struct words *words;
    sleep_fn *way;
};

/* Sleeps until the word has changed, or for a minute. */
static void sleep_until_woken(void *argument)
{
    struct sleeper *sleeper = argument;
    brood_deadline deadline = brood_after_ms(60000);

    atomic_fetch_add(&sleeper->words->ready, 1);
    ck_assert_int_eq(sleeper->way(sleeper->words, deadline), 0);
    ck_assert_int_lt(brood__now_ns(), deadline.ns);
    atomic_fetch_add(&sleeper->words->count, 1);
}

START_TEST(a_sleeper_is_woken_by_another_process)
{
    struct sleeper sleeper = {new_words(), ways[_i]};
    pid_t pid = spawn(sleep_until_woken, &sleeper);

    await(atomic_load(&sleeper.words->ready) == 1 && is_asleep(pid));
    atomic_store(&sleeper.words->one, 1);
    ck_assert_int_eq(brood__futex_wake(&sleeper.words->one, 1), 1);
    join(pid);
}
END_TEST

START_TEST(a_wake_wakes_as_many_as_it_is_told)
{
    struct sleeper sleeper = {new_words(), ways[_i]};
    pid_t pids[SLEEPERS];

    for (int i = 0; i < SLEEPERS; i++)
        pids[i] = spawn(sleep_until_woken, &sleeper);
    for (int i = 0; i < SLEEPERS; i++)
        await((int)atomic_load(&sleeper.words->ready) == SLEEPERS && is_asleep(pids[i]));
    ck_assert_int_eq(brood__futex_wake(&sleeper.words->one, 1), 1);
    await(atomic_load(&sleeper.words->count) == 1);
    ck_assert_int_eq(brood__futex_wake(&sleeper.words->one, INT_MAX), SLEEPERS - 1);
    for (int i = 0; i < SLEEPERS; i++)
        join(pids[i]);
}
END_TEST

START_TEST(a_wake_without_a_sleeper_wakes_no_thread)
{
    struct words *words = new_words();

    ck_assert_int_eq(brood__futex_wake(&words->one, INT_MAX), 0);
}
END_TEST

static void note_signal(int number)
{
    (void)number;
}

/* SIGALRM comes every 20 ms: the first may come before the sleep. */
static void expect_interruption(void *argument)
{
    struct sleeper *sleeper = argument;
    struct sigaction action = {.sa_handler = note_signal};
    struct itimerval every = {.it_interval.tv_usec = 20000, .it_value.tv_usec = 20000};

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    ck_assert_int_eq(sleeper->way(sleeper->words, brood_after_ms(60000)), -EINTR);
}

START_TEST(a_signal_interrupts_a_wait)
{
    struct sleeper sleeper = {new_words(), ways[_i]};

    in_child(expect_interruption, &sleeper);
}
END_TEST

/* ---- the second word ---- */

START_TEST(a_second_word_that_has_changed_is_not_waited_for)
{
    struct words *words = new_words();

    atomic_store(&words->other, 1);
    ck_assert_int_eq(on_two(words, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(a_sleeper_on_two_words_is_woken_by_the_second)
{
    struct sleeper sleeper = {new_words(), on_two};
    pid_t pid = spawn(sleep_until_woken, &sleeper);

    await(atomic_load(&sleeper.words->ready) == 1 && is_asleep(pid));
    atomic_store(&sleeper.words->other, 1);
    ck_assert_int_eq(brood__futex_wake(&sleeper.words->other, 1), 1);
    join(pid);
}
END_TEST

/* ---- two words where the kernel cannot wait for two ---- */

/* The first call finds out that it is denied, and says that it was woken. */
static void deny_waitv(struct words *words, int error)
{
    deny(SYS_futex_waitv, error);
    ck_assert_int_eq(on_two(words, brood_after_ms(60000)), 0);
}

static const int denials[] = {ENOSYS, EPERM};
#define DENIALS (int)(sizeof(denials) / sizeof(denials[0]))

struct denied {
    struct words *words;
    int error;
};

static void sleep_in_slices(void *argument)
{
    struct denied *denied = argument;
    brood_deadline deadline;
    int slices = 0, r;

    deny_waitv(denied->words, denied->error);
    deadline = brood_after_ms(100);
    while ((r = on_two(denied->words, deadline)) == 0)
        slices++;
    ck_assert_int_eq(r, -ETIMEDOUT);
    ck_assert_int_ge(brood__now_ns(), deadline.ns);
    ck_assert_int_lt(brood__now_ns(), deadline.ns + AT_ONCE_MS * MS);
    ck_assert_msg(slices >= 1 && slices <= 20, "looked %d times in 100 ms", slices); /* it sleeps, and not too long */
}

START_TEST(without_waitv_a_wait_is_cut_in_slices_up_to_its_deadline)
{
    struct denied denied = {new_words(), denials[_i]};

    in_child(sleep_in_slices, &denied);
}
END_TEST

static void be_woken_by_the_first(void *argument)
{
    struct denied *denied = argument;

    deny_waitv(denied->words, denied->error);
    atomic_store(&denied->words->ready, 1);
    while (atomic_load(&denied->words->one) == 0)
        ck_assert_int_eq(on_two(denied->words, BROOD_FOREVER), 0);
}

START_TEST(without_waitv_the_first_word_still_wakes)
{
    struct denied denied = {new_words(), denials[_i]};
    pid_t pid = spawn(be_woken_by_the_first, &denied);

    await(atomic_load(&denied.words->ready) == 1);
    await(brood__futex_wake(&denied.words->one, 1) == 1); /* it sleeps most of the time */
    atomic_store(&denied.words->one, 1);
    (void)brood__futex_wake(&denied.words->one, 1);
    join(pid);
}
END_TEST

/* ---- lives ---- */

static void die_of(int cause)
{
    if (cause == 0)
        _exit(0);
    (void)raise(cause);
}

struct mortal {
    struct words *words;
    int cause;
};

static void take_a_life(struct words *words)
{
    atomic_store(&words->one, brood__life_word(true));
    ck_assert_int_eq(brood__futex_die_with_me(&words->one), 0);
    ck_assert(!brood__life_is_over(atomic_load(&words->one)));
}

static void live_and_die(void *argument)
{
    struct mortal *mortal = argument;

    take_a_life(mortal->words);
    die_of(mortal->cause);
}

static const int causes[] = {0, SIGKILL, SIGUSR1, SIGSYS};
#define CAUSES (int)(sizeof(causes) / sizeof(causes[0]))

START_TEST(a_life_is_over_when_its_process_has_died_of_anything)
{
    struct mortal mortal = {new_words(), causes[_i]};
    pid_t pid = spawn(live_and_die, &mortal);
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WIFSIGNALED(status) ? WTERMSIG(status) : 0, causes[_i]);
    ck_assert(brood__life_is_over(atomic_load(&mortal.words->one)));
}
END_TEST

static void nothing(void *argument)
{
    (void)argument;
}

static void live_with_a_child(void *argument)
{
    struct words *words = argument;

    take_a_life(words);
    in_child(nothing, NULL);
    ck_assert(!brood__life_is_over(atomic_load(&words->one)));
    atomic_store(&words->count, 1);
}

START_TEST(the_death_of_a_child_does_not_end_its_parents_life)
{
    struct words *words = new_words();

    in_child(live_with_a_child, words);
    ck_assert_int_eq(atomic_load(&words->count), 1);
    ck_assert(brood__life_is_over(atomic_load(&words->one)));
}
END_TEST

START_TEST(a_zeroed_word_is_no_life_that_is_over)
{
    ck_assert(!brood__life_is_over(0));
    ck_assert(!brood__life_is_over(brood__life_word(true)));
}
END_TEST

static void tell_the_life_word(void *argument)
{
    atomic_store(&((struct words *)argument)->other, brood__life_word(true));
}

START_TEST(each_process_has_a_life_word_of_its_own)
{
    struct words *words = new_words();

    in_child(tell_the_life_word, words);
    ck_assert_uint_ne(atomic_load(&words->other), brood__life_word(true));
    ck_assert_uint_eq(brood__life_word(true), brood__life_word(true));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("futex");

    add_loop_tests(suite, "wait", 0, has_futex_waitv() ? WAYS : 1, a_word_that_has_changed_is_not_waited_for,
                   a_wait_ends_at_its_deadline_and_not_before, a_wait_until_now_does_not_sleep,
                   a_sleeper_is_woken_by_another_process, a_wake_wakes_as_many_as_it_is_told, a_signal_interrupts_a_wait,
                   NULL);
    add_tests(suite, "wake", a_wake_without_a_sleeper_wakes_no_thread, NULL);
    add_tests(suite, "two words", a_second_word_that_has_changed_is_not_waited_for, NULL);
    if (has_futex_waitv())
        add_tests(suite, "a sleeper on two words", a_sleeper_on_two_words_is_woken_by_the_second, NULL);
    add_loop_tests(suite, "no waitv", 0, DENIALS, without_waitv_a_wait_is_cut_in_slices_up_to_its_deadline,
                   without_waitv_the_first_word_still_wakes, NULL);
    add_loop_tests(suite, "death", 0, CAUSES, a_life_is_over_when_its_process_has_died_of_anything, NULL);
    add_tests(suite, "life", the_death_of_a_child_does_not_end_its_parents_life, a_zeroed_word_is_no_life_that_is_over,
              each_process_has_a_life_word_of_its_own, NULL);
    return run_suite(suite);
}
