/* check_parker.c - sleeping until another process has published something: no wake-up is lost, whichever process dies. */
#include <limits.h>
#include <sched.h>
#include <stdlib.h>

#include "child.h"
#include "os/clock.h"
#include "os/fence.h"
#include "os/futex.h"
#include "shm/parker.h"

#define MS 1000000
#define LOST_MS 30000 /* what sleeps that long has lost its wake-up */

/* ---- one sleeper ---- */

struct bed {
    struct parker parker;
    _Atomic uint32_t life, ready, woken;
    _Atomic int64_t learnt_ns;
};

/* With and without an eye on a life. */
static _Atomic uint32_t *life_or_none(struct bed *bed, int i)
{
    return i == 0 ? NULL : &bed->life;
}

START_TEST(a_wake_since_the_last_look_ends_a_sleep_before_it_begins)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    uint32_t seen = brood__parker_look(&bed->parker);

    brood__parker_wake(&bed->parker);
    brood__parker_sleep(&bed->parker, seen, life_or_none(bed, _i), 0, BROOD_FOREVER);
    ck_assert_uint_ne(brood__parker_look(&bed->parker), seen);
}
END_TEST

START_TEST(two_wakes_are_no_less_than_one)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    uint32_t seen = brood__parker_look(&bed->parker);

    brood__parker_wake(&bed->parker);
    brood__parker_wake(&bed->parker);
    brood__parker_sleep(&bed->parker, seen, life_or_none(bed, _i), 0, BROOD_FOREVER);
}
END_TEST

START_TEST(the_generation_may_wrap)
{
    struct bed *bed = shared_memory(sizeof(*bed));

    atomic_store(&bed->parker.generation, UINT32_MAX);
    brood__parker_wake(&bed->parker);
    brood__parker_sleep(&bed->parker, UINT32_MAX, life_or_none(bed, _i), 0, BROOD_FOREVER);
    ck_assert_uint_eq(brood__parker_look(&bed->parker), 0);
}
END_TEST

START_TEST(a_sleep_ends_at_its_deadline_and_not_before)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    brood_deadline deadline = brood_after_ms(30);

    brood__parker_sleep(&bed->parker, 0, life_or_none(bed, _i), 0, deadline);
    ck_assert_int_ge(brood__now_ns(), deadline.ns); /* no process wakes it, so it does not return early here */
    ck_assert_int_lt(brood__now_ns(), deadline.ns + AT_ONCE_MS * MS);
}
END_TEST

START_TEST(a_sleep_until_now_is_none)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    int64_t least = INT64_MAX;

    for (int i = 0; i < 100 && least >= MS; i++) { /* a busy machine may take the processor away now and then */
        int64_t before = brood__now_ns();

        brood__parker_sleep(&bed->parker, 0, life_or_none(bed, _i), 0, BROOD_NOW);
        least = brood__now_ns() - before < least ? brood__now_ns() - before : least;
    }
    ck_assert_int_lt(least, MS);
}
END_TEST

START_TEST(a_sleep_on_a_life_that_is_over_returns_at_once)
{
    struct bed *bed = shared_memory(sizeof(*bed));

    atomic_store(&bed->life, 1);
    brood__parker_sleep(&bed->parker, 0, &bed->life, 0, BROOD_FOREVER);
}
END_TEST

static void sleep_here(void *argument)
{
    struct bed *bed = argument;
    uint32_t seen = brood__parker_look(&bed->parker);
    brood_deadline deadline = brood_after_ms(60000);

    atomic_fetch_add(&bed->ready, 1);
    while (brood__parker_look(&bed->parker) == seen && !brood__is_past(deadline))
        brood__parker_sleep(&bed->parker, seen, NULL, 0, deadline);
    ck_assert(!brood__is_past(deadline));
    atomic_fetch_add(&bed->woken, 1);
}

START_TEST(a_wake_wakes_all_sleepers)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    pid_t pids[3];

    for (unsigned i = 0; i < 3; i++) {
        pids[i] = spawn(sleep_here, bed);
        await(atomic_load(&bed->ready) == i + 1 && is_asleep(pids[i]));
    }
    brood__parker_wake(&bed->parker);
    for (int i = 0; i < 3; i++)
        join(pids[i]);
    ck_assert_uint_eq(atomic_load(&bed->woken), 3);
}
END_TEST

START_TEST(a_killed_sleeper_takes_nobodys_wake)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    pid_t first = spawn(sleep_here, bed), second;

    await(atomic_load(&bed->ready) == 1 && is_asleep(first));
    second = spawn(sleep_here, bed);
    await(atomic_load(&bed->ready) == 2 && is_asleep(second));
    put_to_death(first); /* it was first in the kernel's queue */
    brood__parker_wake(&bed->parker);
    join(second);
    brood__parker_wake(&bed->parker); /* without a sleeper */
}
END_TEST

/* ---- hand-over ---- */

#define HANDOVERS 100000

/* Two players hand a ball to and fro.  Each waits for it as parker.h says, and passes it on as parker.h says. */
struct side {
    struct parker parker;
    _Alignas(64) _Atomic uint32_t announced;
};

struct game {
    struct side sides[2];
    _Alignas(64) _Atomic uint32_t ball; /* the number of the hand-over that is due; side number % 2 does it */
    _Atomic uint32_t sleeps;
    uint32_t handovers;
};

struct player {
    struct game *game;
    uint32_t number;
};

static unsigned seed;

/* Mostly nothing, sometimes long enough for the other to do its whole part, seldom a loss of the processor. */
static void dawdle(void)
{
    unsigned chance;

    seed = seed * 1103515245 + 12345;
    chance = seed >> 16 & 1023;
    if (chance == 0)
        (void)sched_yield();
    if (chance < 512)
        for (; chance > 0; chance--)
            brood__pause();
}

static void sleep_unless_lost(struct game *game, struct side *own, uint32_t due, uint32_t seen)
{
    brood_deadline lost = brood_after_ms(LOST_MS);

    brood__parker_sleep(&own->parker, seen, NULL, 0, lost);
    if (brood__is_past(lost) && atomic_load(&game->ball) == due)
        ck_abort_msg("hand-over %u: the wake-up was lost", due);
    atomic_fetch_add_explicit(&game->sleeps, 1, memory_order_relaxed);
}

static void await_ball(struct game *game, struct side *own, uint32_t due)
{
    for (;;) {
        uint32_t seen = brood__parker_look(&own->parker);

        atomic_store_explicit(&own->announced, 1, memory_order_relaxed);
        (void)brood__fence_heavy();
        if (atomic_load_explicit(&game->ball, memory_order_acquire) == due)
            break;
        dawdle();
        sleep_unless_lost(game, own, due, seen);
    }
    atomic_store_explicit(&own->announced, 0, memory_order_relaxed);
}

static void pass(struct game *game, struct side *other, uint32_t due)
{
    atomic_store_explicit(&game->ball, due + 1, memory_order_release);
    brood__fence_light();
    if (!atomic_load_explicit(&other->announced, memory_order_relaxed))
        return;
    dawdle();
    brood__parker_wake(&other->parker);
}

static void play(void *argument)
{
    struct player *player = argument;
    struct game *game = player->game;

    seed = player->number + 1;
    (void)brood__fence_open();
    for (uint32_t due = player->number; due < game->handovers; due += 2) {
        await_ball(game, &game->sides[player->number], due);
        dawdle();
        pass(game, &game->sides[!player->number], due);
    }
}

START_TEST(no_wake_up_is_lost_in_a_hundred_thousand_hand_overs)
{
    struct game *game = shared_memory(sizeof(*game));
    struct player players[2] = {{game, 0}, {game, 1}};
    pid_t pids[2];

    game->handovers = HANDOVERS;
    for (int i = 0; i < 2; i++)
        pids[i] = spawn(play, &players[i]);
    for (int i = 0; i < 2; i++)
        join(pids[i]);
    ck_assert_uint_eq(atomic_load(&game->ball), HANDOVERS);
    ck_assert_uint_gt(atomic_load(&game->sleeps), HANDOVERS / 100);
}
END_TEST

/* Takes the dead player's part for a while, with a wake each time. */
static void play_for_the_dead(struct game *game, uint32_t dead)
{
    brood__parker_wake(&game->sides[!dead].parker); /* it may have died between a store and its wake */
    for (int i = 0; i < 20; i++) {
        uint32_t ball;

        while ((ball = atomic_load(&game->ball)) % 2 != dead)
            (void)sched_yield();
        atomic_store(&game->ball, ball + 1);
        brood__parker_wake(&game->sides[!dead].parker);
    }
}

START_TEST(whichever_player_is_killed_and_when_the_other_goes_on)
{
    for (uint32_t round = 0; round < 60; round++) {
        struct game *game = shared_memory(sizeof(*game));
        struct player players[2] = {{game, 0}, {game, 1}};
        uint32_t dead = round % 2;
        pid_t pids[2];

        game->handovers = UINT32_MAX;
        for (int i = 0; i < 2; i++)
            pids[i] = spawn(play, &players[i]);
        while (atomic_load(&game->ball) < 20 + round)
            (void)sched_yield();
        put_to_death(pids[dead]);
        play_for_the_dead(game, dead);
        put_to_death(pids[!dead]);
        (void)munmap(game, sizeof(*game));
    }
}
END_TEST

/* ---- a sleeper learns of a death ---- */

typedef void wait_fn(struct bed *bed, uint32_t alive);

static void wait_on_two_words(struct bed *bed, uint32_t alive)
{
    (void)brood__futex_wait2(&bed->parker.generation, 0, &bed->life, alive, BROOD_FOREVER);
}

static void wait_at_a_parker(struct bed *bed, uint32_t alive)
{
    brood__parker_sleep(&bed->parker, 0, &bed->life, alive, BROOD_FOREVER);
}

static const struct way {
    const char *name;
    wait_fn *wait;
    bool is_denied; /* futex_waitv(2) */
} ways[] = {
    {"two words", wait_on_two_words, false},
    {"a parker", wait_at_a_parker, false},
    {"two words, without futex_waitv", wait_on_two_words, true},
    {"a parker, without futex_waitv", wait_at_a_parker, true},
};
#define WAYS (int)(sizeof(ways) / sizeof(ways[0]))

static void live(void *argument)
{
    struct bed *bed = argument;

    atomic_store(&bed->life, brood__life_word(true));
    ck_assert_int_eq(brood__futex_die_with_me(&bed->life), 0);
    atomic_fetch_add(&bed->ready, 1);
    for (;;)
        (void)pause();
}

struct mourner {
    struct bed *bed;
    const struct way *way;
};

/* The process that learns of it wakes the others: the kernel wakes one. */
static void sleep_until_death(void *argument)
{
    struct mourner *mourner = argument;
    struct bed *bed = mourner->bed;
    uint32_t alive = atomic_load(&bed->life);

    if (mourner->way->is_denied)
        deny(SYS_futex_waitv, ENOSYS);
    atomic_fetch_add(&bed->ready, 1);
    while (!brood__life_is_over(atomic_load(&bed->life)))
        mourner->way->wait(bed, alive);
    if (atomic_load(&bed->learnt_ns) == 0)
        atomic_store(&bed->learnt_ns, brood__now_ns());
    brood__parker_wake(&bed->parker);
}

/* Kills a process while `sleepers` others sleep; how long it took until they knew. */
static int64_t mourn(const struct way *way, unsigned sleepers)
{
    struct bed *bed = shared_memory(sizeof(*bed));
    struct mourner mourner = {bed, way};
    pid_t pids[8], mortal = spawn(live, bed);
    int64_t killed_ns;

    await(atomic_load(&bed->ready) == 1);
    for (unsigned i = 0; i < sleepers; i++) {
        pids[i] = spawn(sleep_until_death, &mourner);
        await(atomic_load(&bed->ready) == i + 2 && is_asleep(pids[i]));
    }
    killed_ns = brood__now_ns();
    put_to_death(mortal);
    for (unsigned i = 0; i < sleepers; i++)
        join(pids[i]);
    return atomic_load(&bed->learnt_ns) - killed_ns;
}

START_TEST(a_sleeper_learns_of_a_death_at_once)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 5 || (i < 50 && best >= 50 * MS); i++) { /* a busy machine may be late now and then */
        int64_t took = mourn(&ways[_i], 1);

        best = took < best ? took : best;
    }
    printf("a death is known after %.3f ms at %s\n", (double)best / MS, ways[_i].name);
    ck_assert_int_lt(best, 50 * MS);
}
END_TEST

START_TEST(of_many_sleepers_one_learns_of_a_death_and_tells_the_others)
{
    ck_assert_int_lt(mourn(&ways[_i], 6), AT_ONCE_MS * MS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parker");

    add_loop_tests(suite, "sleep", 0, has_futex_waitv() ? 2 : 1, a_wake_since_the_last_look_ends_a_sleep_before_it_begins,
                   two_wakes_are_no_less_than_one, the_generation_may_wrap, a_sleep_ends_at_its_deadline_and_not_before,
                   a_sleep_until_now_is_none, NULL);
    add_tests(suite, "wake", a_sleep_on_a_life_that_is_over_returns_at_once, a_wake_wakes_all_sleepers,
              a_killed_sleeper_takes_nobodys_wake, NULL);
    add_tests(suite, "hand-over", no_wake_up_is_lost_in_a_hundred_thousand_hand_overs,
              whichever_player_is_killed_and_when_the_other_goes_on, NULL);
    add_loop_tests(suite, "death", 0, WAYS, a_sleeper_learns_of_a_death_at_once,
                   of_many_sleepers_one_learns_of_a_death_and_tells_the_others, NULL);
    return run_suite(suite);
}
