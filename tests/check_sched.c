#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "support.h"

#define SOON brood_after_ms(60000)
#define MS INT64_C(1000000)

/* What ran, in order: a letter for each. */
struct story {
    char text[64];
    _Atomic int length;
};

struct part {
    struct story *story;
    char letter;
};

static int tell(void *context)
{
    struct part *part = context;

    part->story->text[atomic_load(&part->story->length)] = part->letter;
    atomic_fetch_add(&part->story->length, 1);
    return 0;
}

static struct part *part_of(struct story *story, char letter)
{
    static struct part parts[128];

    parts[(int)letter] = (struct part){.story = story, .letter = letter};
    return &parts[(int)letter];
}

#define PART(letter) part_of(&story, (letter))

/* A clock that moves when a thread waits, and by hand. */
struct clock {
    _Atomic int64_t now;
    int64_t longest; /* a delay is cut short at this, if it is not 0 */
    int zeros, delays;
    int fails; /* this error, if it is not 0 */
};

static int64_t read_clock(void *context)
{
    return atomic_load(&((struct clock *)context)->now);
}

static int pass_time(int64_t ns, void *context)
{
    struct clock *clock = context;

    if (clock->fails)
        return clock->fails;
    clock->zeros += ns == 0;
    clock->delays += ns > 0;
    atomic_fetch_add(&clock->now, clock->longest && ns > clock->longest ? clock->longest : ns);
    return 0;
}

static struct brood_sched *open_sched(struct clock *clock)
{
    struct brood_sched *sched = NULL;

    ck_assert_int_eq(
        brood_sched_open(&sched, clock ? BROOD_SCHED(.clock = read_clock, .delay = pass_time, .context = clock) : NULL), 0);
    return sched;
}

static uint64_t enter(struct brood_sched *sched, int64_t delay, int priority, struct part *part)
{
    uint64_t event = 0;

    ck_assert_int_eq(brood_sched_enter(sched, delay, priority, tell, part, &event), 0);
    ck_assert_uint_ne(event, 0);
    return event;
}

/* semantics: D1 D10 */
START_TEST(events_run_in_order_of_time)
{
    struct story story = {0};
    struct clock clock = {.now = 1000};
    brood_auto(sched) *sched = open_sched(&clock);

    enter(sched, 50, 1, PART('e'));
    enter(sched, 10, 1, PART('a'));
    enter(sched, 40, 1, PART('d'));
    ck_assert_int_eq(brood_sched_enterabs(sched, 1030, 1, tell, PART('c'), NULL), 0);
    ck_assert_int_eq(brood_sched_enterabs(sched, 1020, 1, tell, PART('b'), NULL), 0);
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "abcde");
    ck_assert_int_eq(clock.now, 1050);
    ck_assert_int_eq(brood_sched_now(sched), 1050);
}
END_TEST

/* semantics: D2 */
START_TEST(events_of_one_time_run_by_priority_and_then_as_they_were_entered)
{
    struct story story = {0};
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);

    enter(sched, 10, 5, PART('d'));
    enter(sched, 10, -1, PART('a'));
    enter(sched, 10, 3, PART('b'));
    enter(sched, 10, 3, PART('c'));
    enter(sched, 10, 5, PART('e'));
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "abcde");
}
END_TEST

/* semantics: D3 D4 */
START_TEST(exactly_that_event_is_cancelled)
{
    struct story story = {0};
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);
    uint64_t events[5];

    for (int i = 0; i < 5; i++)
        events[i] = enter(sched, 10, 1, PART((char)('a' + i)));
    ck_assert_int_eq(brood_sched_cancel(sched, events[1]), 0);
    ck_assert_int_eq(brood_sched_cancel(sched, events[1]), -ESTALE);
    ck_assert_int_eq(brood_sched_cancel(sched, events[3]), 0);
    ck_assert_int_eq(brood_sched_cancel(sched, 0), -ESTALE);
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "ace");
    ck_assert_int_eq(brood_sched_cancel(sched, events[0]), -ESTALE);
    ck_assert_uint_ne(enter(sched, 10, 1, PART('f')), events[0]);
    ck_assert_int_eq(brood_sched_cancel(sched, events[0]), -ESTALE);
    ck_assert_uint_eq(brood_sched_count(sched), 1);
}
END_TEST

struct runner {
    struct brood_sched *sched;
    struct story *story;
};

static int run_all(void *context)
{
    struct runner *runner = context;

    return brood_sched_run(runner->sched, NULL, SOON);
}

static struct brood_thread *run_in_a_thread(struct runner *runner)
{
    struct brood_thread *thread = NULL;

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = run_all, .context = runner)), 0);
    await(is_asleep(brood_thread_native_id(thread)));
    return thread;
}

static void expect_all_done(struct brood_thread *thread)
{
    int result;

    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    ck_assert_int_eq(brood_thread_result(thread, &result), 0);
    ck_assert_int_eq(result, 0);
    brood_thread_free(thread);
}

/* semantics: D5 */
START_TEST(a_runner_that_waits_for_an_event_learns_of_an_earlier_one)
{
    struct story story = {0};
    brood_auto(sched) *sched = open_sched(NULL);
    struct runner runner = {sched, &story};
    uint64_t last = enter(sched, 3600000 * MS, 1, PART('z'));
    struct brood_thread *thread = run_in_a_thread(&runner);

    enter(sched, 0, 1, PART('a'));
    await(atomic_load(&story.length) == 1);
    enter(sched, 2 * MS, 1, PART('b'));
    await(atomic_load(&story.length) == 2);
    ck_assert_int_eq(brood_sched_cancel(sched, last), 0);
    expect_all_done(thread);
    ck_assert_str_eq(story.text, "ab");
}
END_TEST

/* semantics: D5 */
START_TEST(a_runner_that_waits_for_an_event_learns_that_it_was_cancelled)
{
    struct story story = {0};
    brood_auto(sched) *sched = open_sched(NULL);
    struct runner runner = {sched, &story};
    uint64_t first = enter(sched, 3600000 * MS, 1, PART('x')), second = enter(sched, 7200000 * MS, 1, PART('y'));
    struct brood_thread *thread = run_in_a_thread(&runner);

    ck_assert_int_eq(brood_sched_cancel(sched, first), 0);
    ck_assert_int_eq(brood_thread_is_alive(thread), 1);
    ck_assert_int_eq(brood_sched_cancel(sched, second), 0);
    expect_all_done(thread);
    ck_assert_str_eq(story.text, "");
}
END_TEST

/* semantics: D6 */
START_TEST(what_waits_can_be_looked_at_in_order)
{
    struct story story = {0};
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);
    struct brood_sched_entry entries[8];
    uint64_t events[5];
    struct part part = {.story = &story, .letter = 'x'};

    ck_assert(brood_sched_is_empty(sched));
    ck_assert_int_eq(brood_sched_queue(sched, entries, 8), 0);
    for (int i = 0; i < 5; i++)
        events[i] = enter(sched, 50 - 10 * i, i, &part);
    ck_assert(!brood_sched_is_empty(sched));
    for (size_t room = 0; room <= 8; room++) {
        memset(entries, 0, sizeof(entries));
        ck_assert_int_eq(brood_sched_queue(sched, entries, room), 5);
        for (size_t i = 0; i < 5; i++) {
            ck_assert_uint_eq(entries[i].event, i < room ? events[4 - i] : 0);
            ck_assert_int_eq(entries[i].time_ns, i < room ? 10 * ((int64_t)i + 1) : 0);
            ck_assert_int_eq(entries[i].priority, i < room ? 4 - (int)i : 0);
            ck_assert(i >= room || (entries[i].action == tell && entries[i].context == &part));
        }
    }
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "xxxxx");
    ck_assert(brood_sched_is_empty(sched));
}
END_TEST

/* semantics: D7 */
START_TEST(a_run_without_waiting_says_how_long_until_the_next)
{
    struct story story = {0};
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);
    int64_t next = 77;

    ck_assert_int_eq(brood_sched_run(sched, &next, BROOD_NOW), 0);
    ck_assert_int_eq(next, 77);
    for (int i = 1; i <= 3; i++)
        enter(sched, 10 * i, 1, PART((char)('0' + i)));
    ck_assert_int_eq(brood_sched_run(sched, &next, BROOD_NOW), 1);
    ck_assert_int_eq(next, 10);
    clock.now = 25;
    ck_assert_int_eq(brood_sched_run(sched, &next, BROOD_NOW), 1);
    ck_assert_int_eq(next, 5);
    ck_assert_str_eq(story.text, "12");
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_NOW), 1);
    clock.now = 30;
    ck_assert_int_eq(brood_sched_run(sched, &next, BROOD_NOW), 0);
    ck_assert_str_eq(story.text, "123");
    ck_assert_int_eq(clock.delays, 0);
}
END_TEST

START_TEST(a_run_ends_at_its_deadline)
{
    struct story story = {0};
    brood_auto(sched) *sched = open_sched(NULL);
    int64_t next = 0, began = now_ms();

    enter(sched, MS, 1, PART('a'));
    enter(sched, 3600000 * MS, 1, PART('b'));
    ck_assert_int_eq(brood_sched_run(sched, &next, brood_after_ms(30)), 1);
    ck_assert_int_ge(now_ms() - began, 29);
    ck_assert_str_eq(story.text, "a");
    ck_assert_int_gt(next, 3500000 * MS);
    ck_assert_int_le(next, 3600000 * MS);
}
END_TEST

/* semantics: D8 */
START_TEST(clock_and_delay_can_be_the_programs_own)
{
    struct story story = {0};
    struct clock clock = {.longest = 3};
    brood_auto(sched) *sched = open_sched(&clock);

    enter(sched, 10, 1, PART('a'));
    enter(sched, 10, 1, PART('b'));
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "ab");
    ck_assert_int_eq(clock.now, 10);
    ck_assert_int_eq(clock.delays, 4); /* 3, 3, 3, 1: a delay that returns early is called again */
    ck_assert_int_eq(clock.zeros, 2);
    clock.fails = -EINTR;
    enter(sched, 10, 1, PART('c'));
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), -EINTR);
    clock.fails = 0;
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "abc");
}
END_TEST

static int refuse(void *context)
{
    (void)context;
    return brood_fail(-EDOM, "not today");
}

/* semantics: D9 */
START_TEST(an_action_that_fails_leaves_the_rest_as_it_is)
{
    struct story story = {0};
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);

    enter(sched, 10, 1, PART('a'));
    ck_assert_int_eq(brood_sched_enter(sched, 20, 1, refuse, NULL, NULL), 0);
    enter(sched, 30, 1, PART('b'));
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), -EDOM);
    ck_assert_str_eq(brood_error(), "not today");
    ck_assert_str_eq(story.text, "a");
    ck_assert_uint_eq(brood_sched_count(sched), 1);
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_str_eq(story.text, "ab");
}
END_TEST

static int fail_with(void *context)
{
    return *(int *)context;
}

static int fail_to_sleep(int64_t ns, void *context)
{
    (void)ns;
    (void)context;
    return -ENODEV;
}

START_TEST(an_action_that_fails_without_words_has_those_of_the_number)
{
    brood_auto(sched) *sched = open_sched(NULL);
    brood_auto(sched) *slow = NULL;
    int fails = -EIO, succeeds = 0;

    ck_assert_int_eq(brood_sched_enter(sched, 0, 1, fail_with, &fails, NULL), 0);
    (void)brood_fail(0, "stale");
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_NOW), -EIO);
    ck_assert_str_eq(brood_error(), strerror(EIO));
    ck_assert_int_eq(brood_sched_open(&slow, BROOD_SCHED(.delay = fail_to_sleep)), 0);
    ck_assert_int_eq(brood_sched_enter(slow, 0, 1, fail_with, &succeeds, NULL), 0);
    (void)brood_fail(0, "stale");
    ck_assert_int_eq(brood_sched_run(slow, NULL, BROOD_FOREVER), -ENODEV);
    ck_assert_str_eq(brood_error(), strerror(ENODEV));
}
END_TEST

struct chain {
    struct brood_sched *sched;
    int left;
};

static int go_on(void *context)
{
    struct chain *chain = context;

    return chain->left-- == 0 ? 0 : brood_sched_enter(chain->sched, 5, 0, go_on, chain, NULL);
}

START_TEST(an_action_can_enter_the_next)
{
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);
    struct chain chain = {sched, 10};

    ck_assert_int_eq(brood_sched_enter(sched, 5, 0, go_on, &chain, NULL), 0);
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    ck_assert_int_eq(clock.now, 55);
    ck_assert_int_eq(chain.left, -1);
}
END_TEST

/* ---- many ---- */

#define EVENTS 2000

struct numbered {
    int64_t time, *last;
    int *runs;
};

static int expect_order(void *context)
{
    struct numbered *event = context;

    ck_assert_int_le(*event->last, event->time);
    *event->last = event->time;
    ++*event->runs;
    return 0;
}

START_TEST(thousands_are_entered_cancelled_and_run_in_order)
{
    static struct numbered numbered[EVENTS];
    static uint64_t events[EVENTS];
    struct clock clock = {0};
    brood_auto(sched) *sched = open_sched(&clock);
    int64_t last = 0;
    int runs = 0;

    for (int round = 0; round < 3; round++) {
        last = 0;
        for (int i = 0; i < EVENTS; i++) {
            numbered[i] = (struct numbered){clock.now + (i * 7919) % 1009, &last, &runs};
            ck_assert_int_eq(brood_sched_enterabs(sched, numbered[i].time, 0, expect_order, &numbered[i], &events[i]), 0);
        }
        for (int i = 0; i < EVENTS; i += 2)
            ck_assert_int_eq(brood_sched_cancel(sched, events[(i * 31) % EVENTS]), 0);
        ck_assert_uint_eq(brood_sched_count(sched), EVENTS / 2);
        ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_FOREVER), 0);
    }
    ck_assert_int_eq(runs, 3 * EVENTS / 2);
}
END_TEST

static int count_up(void *context)
{
    atomic_fetch_add((_Atomic int *)context, 1);
    return 0;
}

static int enter_many(void *context)
{
    struct runner *runner = context;
    int cancelled = 0;

    for (int i = 0; i < EVENTS; i++) {
        uint64_t event;

        ck_assert_int_eq(brood_sched_enter(runner->sched, i % 7 * 1000, 0, count_up, &runner->story->length, &event), 0);
        if (i % 3 == 0)
            cancelled += brood_sched_cancel(runner->sched, event) == 0;
    }
    return cancelled;
}

START_TEST(threads_enter_cancel_and_run_at_the_same_time)
{
    struct story story = {0};
    brood_auto(sched) *sched = open_sched(NULL);
    struct runner runner = {sched, &story};
    struct brood_thread *threads[4];
    int cancelled = 0, result;
    uint64_t last;

    ck_assert_int_eq(brood_sched_enter(sched, 3600000 * MS, 0, count_up, &story.length, &last), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(
            brood_thread_start(&threads[i], BROOD_THREAD(.run = i < 2 ? run_all : enter_many, .context = &runner)), 0);
    for (int i = 3; i >= 0; i--) {
        if (i == 1)
            ck_assert_int_eq(brood_sched_cancel(sched, last), 0);
        ck_assert_int_eq(brood_thread_join(threads[i], SOON), 0);
        ck_assert_int_eq(brood_thread_result(threads[i], &result), 0);
        cancelled += result;
        brood_thread_free(threads[i]);
    }
    ck_assert_int_eq(story.length + cancelled, 2 * EVENTS);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    brood_auto(sched) *sched = open_sched(NULL);
    struct brood_sched *none = NULL;

    ck_assert_int_eq(brood_sched_open(&none, &(struct brood_sched_options){0}), -EINVAL);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(brood_sched_enter(sched, 1, 0, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(brood_sched_enter(NULL, 1, 0, tell, NULL, NULL), -EINVAL);
    ck_assert_int_eq(brood_sched_cancel(NULL, 1), -EINVAL);
    ck_assert_int_eq(brood_sched_run(NULL, NULL, BROOD_NOW), -EINVAL);
    ck_assert_int_eq(brood_sched_queue(sched, NULL, 5), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "NULL"));
    ck_assert_int_eq(brood_sched_queue(sched, NULL, 0), 0);
    ck_assert_int_eq(brood_sched_enter(sched, INT64_MAX, 0, refuse, NULL, NULL), 0); /* never */
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_NOW), 1);
    ck_assert_int_eq(brood_sched_enter(sched, INT64_MIN, 0, refuse, NULL, NULL), 0); /* overdue */
    ck_assert_int_eq(brood_sched_run(sched, NULL, BROOD_NOW), -EDOM);
    brood_sched_close(NULL);
}
END_TEST

/* ---- fork ---- */

static void go_on_in_child(void *context)
{
    ck_assert_int_eq(brood_sched_run(context, NULL, SOON), 0);
}

/* While another thread is in the scheduler all the time. */
START_TEST(a_fork_goes_on_with_its_copy)
{
    struct story story = {0};
    brood_auto(sched) *sched = open_sched(NULL);
    brood_auto(sched) *other = open_sched(NULL);
    struct runner runner = {other, &story};
    struct brood_thread *thread;
    int result;

    enter(sched, MS, 0, PART('a'));
    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = enter_many, .context = &runner)), 0);
    for (int i = 0; i < 20; i++)
        in_child(go_on_in_child, sched);
    ck_assert_int_eq(brood_sched_run(sched, NULL, SOON), 0);
    ck_assert_str_eq(story.text, "a");
    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    ck_assert_int_eq(brood_thread_result(thread, &result), 0);
    brood_thread_free(thread);
}
END_TEST

int main(int argc, char **argv)
{
    bool forks = argc < 2 || strcmp(argv[1], "--one-process") != 0;
    Suite *suite = suite_create("sched");

    add_tests(suite, "order", events_run_in_order_of_time, events_of_one_time_run_by_priority_and_then_as_they_were_entered,
              exactly_that_event_is_cancelled, what_waits_can_be_looked_at_in_order,
              thousands_are_entered_cancelled_and_run_in_order, NULL);
    add_tests(suite, "running", a_run_without_waiting_says_how_long_until_the_next, a_run_ends_at_its_deadline,
              clock_and_delay_can_be_the_programs_own, an_action_that_fails_leaves_the_rest_as_it_is,
              an_action_that_fails_without_words_has_those_of_the_number, an_action_can_enter_the_next,
              bad_arguments_are_refused, NULL);
    add_tests(suite, "threads", a_runner_that_waits_for_an_event_learns_of_an_earlier_one,
              a_runner_that_waits_for_an_event_learns_that_it_was_cancelled, threads_enter_cancel_and_run_at_the_same_time,
              NULL);
    if (forks)
        add_tests(suite, "forks", a_fork_goes_on_with_its_copy, NULL);
    return run_suite(suite);
}
