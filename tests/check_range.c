/* check_range.c - sharing out the items of a map: every item is claimed by one worker, and by no other. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "proto/range.h"

#define WORKERS 4

static struct range ranges[WORKERS];

static void expect_range(int worker, uint32_t lo, uint32_t hi)
{
    ck_assert_uint_eq(atomic_load(&ranges[worker].bounds), range_of(lo, hi));
    ck_assert_uint_eq(brood__range_left(&ranges[worker]), hi - lo);
    ck_assert(brood__range_is_valid(&ranges[worker], hi));
}

static void expect_claim(int worker, uint32_t count, uint32_t lo, uint32_t taken)
{
    uint32_t first = 77;

    ck_assert_uint_eq(brood__range_claim(&ranges[worker], count, &first), taken);
    ck_assert_uint_eq(first, taken ? lo : 77);
}

/* ---- one range ---- */

START_TEST(items_are_claimed_from_the_front)
{
    brood__range_set(&ranges[0], 10, 15);
    expect_claim(0, 1, 10, 1);
    expect_claim(0, 3, 11, 3);
    expect_range(0, 14, 15);
    expect_claim(0, 3, 14, 1); /* the rest */
    ck_assert_uint_eq(brood__range_left(&ranges[0]), 0);
    expect_claim(0, 1, 0, 0);
}
END_TEST

START_TEST(a_claim_of_everything_is_fine)
{
    brood__range_set(&ranges[0], 3, UINT32_MAX);
    expect_claim(0, UINT32_MAX, 3, UINT32_MAX - 3);
    expect_claim(0, UINT32_MAX, 0, 0);
    brood__range_set(&ranges[0], UINT32_MAX - 1, UINT32_MAX);
    expect_claim(0, 2, UINT32_MAX - 1, 1);
}
END_TEST

START_TEST(an_empty_range_has_nothing)
{
    brood__range_set(&ranges[0], 5, 5);
    ck_assert_uint_eq(brood__range_left(&ranges[0]), 0);
    expect_claim(0, 1, 0, 0);
}
END_TEST

START_TEST(a_word_that_a_worker_spoiled_holds_nothing)
{
    brood__range_set(&ranges[0], 9, 4);
    ck_assert_uint_eq(brood__range_left(&ranges[0]), 0);
    expect_claim(0, 1, 0, 0);
    uint32_t lo;

    ck_assert_uint_eq(brood__range_steal(ranges, WORKERS, 1, 1, &lo), 0);
}
END_TEST

START_TEST(setting_a_range_forgets_what_was_in_its_memory)
{
    memset((void *)&ranges[0], 0xff, sizeof(ranges[0]));
    brood__range_set(&ranges[0], 0, 1);
    ck_assert_uint_eq(atomic_load(&ranges[0].preempted), 0);
    ck_assert_uint_eq(atomic_load(&ranges[0].item), 0);
    expect_claim(0, 1, 0, 1);
}
END_TEST

START_TEST(setting_a_range_forgets_the_item_in_flight)
{
    brood__range_set(&ranges[0], 0, 5);
    range_begin_item(&ranges[0], 0);
    ck_assert_uint_eq(atomic_load(&ranges[0].item), 1); /* + 1, so that no item is 0 */
    range_begin_item(&ranges[0], UINT32_MAX);
    ck_assert_uint_eq(atomic_load(&ranges[0].item), (uint64_t)UINT32_MAX + 1);
    brood__range_set(&ranges[0], 0, 5);
    ck_assert_uint_eq(atomic_load(&ranges[0].item), 0);
}
END_TEST

START_TEST(a_status_says_what_became_of_an_item)
{
    _Atomic int16_t status = ITEM_WAITING;

    item_finish(&status, ITEM_DONE);
    ck_assert_int_eq(atomic_load(&status), ITEM_DONE);
    item_finish(&status, -EDOM);
    ck_assert_int_eq(atomic_load(&status), -EDOM);
}
END_TEST

/* ---- equal parts ---- */

static const uint32_t amounts[] = {0, 1, 3, 4, 5, 1000003, UINT32_MAX};
#define AMOUNTS (int)(sizeof(amounts) / sizeof(amounts[0]))

START_TEST(shares_are_equal_and_leave_nothing_out)
{
    uint32_t next = 0;

    brood__range_share(ranges, WORKERS, amounts[_i]);
    for (int i = 0; i < WORKERS; i++) {
        uint32_t left = brood__range_left(&ranges[i]);

        expect_range(i, next, next + left);
        ck_assert_uint_ge(left, amounts[_i] / WORKERS);
        ck_assert_uint_le(left, amounts[_i] / WORKERS + 1);
        next += left;
    }
    ck_assert_uint_eq(next, amounts[_i]);
}
END_TEST

/* ---- theft ---- */

static void set_all(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    uint32_t sizes[WORKERS] = {a, b, c, d};

    for (uint32_t i = 0; i < WORKERS; i++)
        brood__range_set(&ranges[i], i * 1000, i * 1000 + sizes[i]);
}

/* What the thief runs at once begins at `lo`, and the rest is in its own range. */
static void expect_theft(uint32_t worker, uint32_t wanted, uint32_t count, uint32_t lo)
{
    uint32_t got = UINT32_MAX;

    ck_assert_uint_eq(brood__range_steal(ranges, WORKERS, worker, wanted, &got), count);
    ck_assert_uint_eq(got, lo);
}

static bool can_steal(uint32_t workers, uint32_t worker)
{
    uint32_t lo;

    return brood__range_steal(ranges, workers, worker, 1, &lo) > 0;
}

START_TEST(a_thief_takes_the_upper_half_of_the_fullest)
{
    set_all(0, 10, 100, 30);
    expect_theft(0, 8, 8, 2050);
    expect_range(2, 2000, 2050);
    expect_range(0, 2058, 2100);
    expect_range(1, 1000, 1010);
    expect_range(3, 3000, 3030);
}
END_TEST

START_TEST(of_an_odd_number_the_thief_gets_one_more)
{
    set_all(7, 0, 0, 0);
    expect_theft(3, 1, 1, 3);
    expect_range(0, 0, 3);
    expect_range(3, 4, 7);
}
END_TEST

START_TEST(the_last_item_is_stolen_too)
{
    set_all(0, 0, 1, 0);
    expect_theft(0, 5, 1, 2000);
    ck_assert_uint_eq(brood__range_left(&ranges[0]), 0); /* claimed: no worker can steal it back */
    ck_assert_uint_eq(brood__range_left(&ranges[2]), 0);
    expect_claim(2, 1, 0, 0);
}
END_TEST

START_TEST(where_nothing_is_left_there_is_nothing_to_steal)
{
    set_all(0, 0, 0, 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        ck_assert(!can_steal(WORKERS, i));
    expect_range(0, 0, 0);
    expect_range(3, 3000, 3000);
}
END_TEST

START_TEST(a_single_worker_has_no_victim_to_steal_from)
{
    brood__range_set(&ranges[0], 4, 4);
    ck_assert(!can_steal(1, 0));
}
END_TEST

START_TEST(a_range_with_the_highest_numbers_is_halved_as_well)
{
    set_all(0, 0, 0, 0);
    brood__range_set(&ranges[1], UINT32_MAX - 2, UINT32_MAX);
    expect_theft(0, 3, 1, UINT32_MAX - 1);
    expect_range(1, UINT32_MAX - 2, UINT32_MAX - 1);
    expect_range(0, UINT32_MAX, UINT32_MAX);
}
END_TEST

/* ---- races ---- */

#define ITEMS 300000
#define ROUNDS 10

static _Atomic unsigned char claimed[ITEMS];
static _Atomic uint32_t finished;

struct runner {
    uint32_t worker, chunk;
};

/* As a worker does it, but that it gives up only when every item was claimed: what is on its way between two ranges cannot
 * be stolen. */
static void *claim_and_steal(void *argument)
{
    const struct runner *runner = argument;
    uint32_t lo, count;

    for (;;) {
        while ((count = brood__range_claim(&ranges[runner->worker], runner->chunk, &lo)) > 0 ||
               (count = brood__range_steal(ranges, WORKERS, runner->worker, runner->chunk, &lo)) > 0) {
            for (uint32_t i = lo; i < lo + count; i++)
                atomic_fetch_add_explicit(&claimed[i], 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&finished, count, memory_order_relaxed);
        }
        if (atomic_load_explicit(&finished, memory_order_relaxed) >= ITEMS)
            return NULL;
        (void)sched_yield();
    }
}

static void expect_each_claimed_once(void)
{
    for (uint32_t i = 0; i < ITEMS; i++)
        if (atomic_exchange(&claimed[i], 0) != 1)
            ck_abort_msg("item %u was not claimed once", i);
    ck_assert_uint_eq(atomic_exchange(&finished, 0), ITEMS);
}

static void race(const struct runner *runners)
{
    pthread_t threads[WORKERS];

    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claim_and_steal, (void *)(uintptr_t)&runners[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    expect_each_claimed_once();
}

START_TEST(racing_workers_claim_every_item_once)
{
    static const struct runner runners[WORKERS] = {{0, 1}, {1, 1}, {2, 7}, {3, 100}};

    for (int round = 0; round < ROUNDS; round++) {
        brood__range_share(ranges, WORKERS, ITEMS);
        race(runners);
    }
}
END_TEST

/* One range for all: a worker that is not its owner begins as a thief. */
START_TEST(thieves_that_live_on_each_other_claim_every_item_once)
{
    static const struct runner runners[WORKERS] = {{0, 1}, {1, 1}, {2, 1}, {3, 1}};

    for (int round = 0; round < ROUNDS; round++) {
        set_all(0, 0, 0, 0);
        brood__range_set(&ranges[round % WORKERS], 0, ITEMS);
        race(runners);
    }
}
END_TEST

START_TEST(a_worker_that_never_came_does_not_keep_its_items)
{
    static const struct runner runner = {1, 3};

    brood__range_share(ranges, WORKERS, ITEMS);
    (void)claim_and_steal((void *)(uintptr_t)&runner);
    expect_each_claimed_once();
}
END_TEST

/* The other worker is a signal handler.  Either the owner of range 0 is interrupted by a thief, or the thief by the owner.
 */
#define FEW 64

static volatile bool is_contested;
static volatile sig_atomic_t interruptions;
static unsigned char taken[FEW];

static bool take_one(uint32_t worker)
{
    uint32_t lo;

    if (brood__range_claim(&ranges[worker], 1, &lo) == 0)
        return false;
    taken[lo]++;
    return true;
}

static void take_half(void)
{
    uint32_t lo;

    if (brood__range_steal(ranges, 2, 1, 1, &lo) == 0)
        return;
    taken[lo]++;
    while (take_one(1))
        ;
}

static void steal_in_between(int signal)
{
    (void)signal;
    interruptions++;
    if (is_contested)
        take_half();
}

static void claim_in_between(int signal)
{
    (void)signal;
    interruptions++;
    if (is_contested)
        (void)take_one(0);
}

START_TEST(items_that_are_wanted_in_between_are_claimed_once)
{
    interrupt_often(_i == 0 ? steal_in_between : claim_in_between);
    while (interruptions < 3000) {
        memset(taken, 0, sizeof(taken));
        set_all(FEW, 0, 0, 0);
        is_contested = true;
        while (brood__range_left(&ranges[0]) > 0)
            if (_i == 0)
                (void)take_one(0);
            else
                take_half();
        is_contested = false;
        for (int i = 0; i < FEW; i++)
            if (taken[i] != 1)
                ck_abort_msg("item %d was claimed %d times", i, taken[i]);
    }
    interrupt_no_more();
}
END_TEST

/* ---- deaths ---- */

#define MORTAL_ITEMS 30000

/* What a map's workers share; all of a pool's is in a segment. */
struct map {
    struct range ranges[WORKERS];
    _Atomic int16_t status[MORTAL_ITEMS];
    _Atomic uint32_t runs[MORTAL_ITEMS];
};

struct mortal {
    struct map *map;
    uint32_t worker;
    int life_us;
};

static void run_items_until_killed(void *argument)
{
    const struct mortal *mortal = argument;
    struct range *own = &mortal->map->ranges[mortal->worker];
    uint32_t lo, count;

    die_after_us(mortal->life_us);
    while ((count = brood__range_claim(own, 3, &lo)) > 0 ||
           (count = brood__range_steal(mortal->map->ranges, WORKERS, mortal->worker, 3, &lo)) > 0)
        for (uint32_t i = lo; i < lo + count; i++) {
            range_begin_item(own, i);
            atomic_fetch_add(&mortal->map->runs[i], 1);
            for (volatile int j = 0; j < 20; j++) /* time to die in */
                ;
            item_finish(&mortal->map->status[i], ITEM_DONE);
        }
    for (;;)
        (void)pause();
}

/* Was it in flight when a worker died?  The worker had named it beside its range. */
static bool is_charged(struct map *map, uint32_t item)
{
    for (int i = 0; i < WORKERS; i++)
        if (atomic_load(&map->ranges[i].item) == (uint64_t)item + 1)
            return true;
    return false;
}

static void run_and_die(struct map *map, int round)
{
    struct mortal mortals[2] = {{map, 0, 20 + 13 * round}, {map, 1, 30 + 11 * round}};
    pid_t pids[2];

    for (int i = 0; i < 2; i++)
        pids[i] = spawn(run_items_until_killed, &mortals[i]);
    for (int i = 0; i < 2; i++)
        reap(pids[i]);
}

/* What has a status ran, what has none and is not charged never started: whatever kills, and when. */
START_TEST(after_a_death_every_item_is_finished_or_charged_or_never_started)
{
    uint32_t never = 0, in_flight = 0;

    for (int round = 0; round < 40; round++) {
        struct map *map = shared_memory(sizeof(*map));

        brood__range_share(map->ranges, WORKERS, MORTAL_ITEMS);
        run_and_die(map, round);
        for (uint32_t i = 0; i < MORTAL_ITEMS; i++) {
            uint32_t runs = atomic_load(&map->runs[i]);
            bool is_done = atomic_load(&map->status[i]) == ITEM_DONE;

            if (runs > 1 || (is_done && runs != 1) || (runs == 1 && !is_done && !is_charged(map, i)))
                ck_abort_msg("item %u ran %u times, done: %d", i, runs, is_done);
            never += runs == 0;
            in_flight += runs == 1 && !is_done;
        }
        (void)munmap(map, sizeof(*map));
    }
    ck_assert_msg(never > 0 && in_flight > 0, "no worker was killed in time");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("range");

    add_tests(suite, "claim", items_are_claimed_from_the_front, a_claim_of_everything_is_fine, an_empty_range_has_nothing,
              a_word_that_a_worker_spoiled_holds_nothing, setting_a_range_forgets_the_item_in_flight,
              setting_a_range_forgets_what_was_in_its_memory, a_status_says_what_became_of_an_item, NULL);
    add_loop_tests(suite, "share", 0, AMOUNTS, shares_are_equal_and_leave_nothing_out, NULL);
    add_tests(suite, "theft", a_thief_takes_the_upper_half_of_the_fullest, of_an_odd_number_the_thief_gets_one_more,
              the_last_item_is_stolen_too, where_nothing_is_left_there_is_nothing_to_steal,
              a_single_worker_has_no_victim_to_steal_from, a_range_with_the_highest_numbers_is_halved_as_well, NULL);
    add_tests(suite, "race", racing_workers_claim_every_item_once, thieves_that_live_on_each_other_claim_every_item_once,
              a_worker_that_never_came_does_not_keep_its_items, NULL);
    add_loop_tests(suite, "in between", 0, 2, items_that_are_wanted_in_between_are_claimed_once, NULL);
    add_tests(suite, "death", after_a_death_every_item_is_finished_or_charged_or_never_started, NULL);
    return run_suite(suite);
}
