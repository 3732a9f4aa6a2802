/* check_barrier.c - where threads and processes wait for each other, and what breaks it.
 *
 *     check_barrier --threads     only what keeps to one process
 */
#include <brood/barrier.h>

#include "os/identity.h"
#include "peer.h"

#define PARTIES 5
#define CYCLES 1000

struct scene {
    struct brood_barrier barrier;
    _Atomic int seen[PARTIES]; /* how often each index was returned */
    _Atomic int actions, through, broken, late, failed;
    _Atomic long steps[PARTIES];
    _Atomic int phase;
    int r; /* of the action */
};

static struct scene *new_scene(int waited_pools)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    ck_assert_int_eq(brood_barrier_init(&scene->barrier, waited_pools), 0);
    return scene;
}

static void count(struct scene *scene, int r)
{
    ck_assert_int_lt(r, PARTIES);
    if (r >= 0) {
        atomic_fetch_add(&scene->seen[r], 1);
        atomic_fetch_add(&scene->through, 1);
    }
    atomic_fetch_add(&scene->broken, r == -ENOTRECOVERABLE);
    atomic_fetch_add(&scene->late, r == -ETIMEDOUT);
    atomic_fetch_add(&scene->failed, r == -EDOM);
}

static void wait_once(void *argument)
{
    struct scene *scene = argument;

    count(scene, brood_barrier_wait(&scene->barrier, brood_after_ms(60000)));
}

static int act(void *context)
{
    struct scene *scene = context;

    ck_assert_int_eq(atomic_load(&scene->through), 0);
    atomic_fetch_add(&scene->actions, 1);
    return scene->r;
}

static void wait_with_action(void *argument)
{
    struct scene *scene = argument;

    count(scene, brood_barrier_wait_with(&scene->barrier, act, scene, brood_after_ms(60000)));
}

static void expect_each_index(struct scene *scene, int times)
{
    for (int i = 0; i < PARTIES; i++)
        ck_assert_int_eq(scene->seen[i], times);
}

static void start_waiting(struct peer *peers, int count_of, int kind, struct scene *scene)
{
    start_peers(peers, count_of, kind, wait_once, scene);
    await(brood_barrier_waiting(&scene->barrier) == count_of);
}

static void meet_once(int kind, struct scene *scene)
{
    struct peer peers[PARTIES];
    int before = scene->through;

    start_peers(peers, PARTIES, kind, wait_once, scene);
    join_peers(peers, PARTIES);
    ck_assert_int_eq(scene->through - before, PARTIES);
}

/* ---- alone ---- */

/* semantics: B1 */
START_TEST(a_barrier_of_no_parties_is_refused_with_a_message)
{
    struct brood_barrier barrier;

    ck_assert_int_eq(brood_barrier_init(&barrier, 0), -EINVAL);
    ck_assert_int_eq(brood_barrier_init(&barrier, -1), -EINVAL);
    ck_assert_str_ne(brood_error(), "");
    ck_assert_int_eq(brood_barrier_init(&barrier, 7), 0);
    ck_assert_int_eq(brood_barrier_parties(&barrier), 7);
    ck_assert_int_eq(brood_barrier_waiting(&barrier), 0);
    ck_assert(!brood_barrier_is_broken(&barrier));
}
END_TEST

START_TEST(zeroed_memory_is_a_barrier_of_no_parties)
{
    struct brood_barrier barrier = {0};

    ck_assert_int_eq(brood_barrier_wait(&barrier, BROOD_FOREVER), -EINVAL);
    ck_assert_ptr_nonnull(strstr(brood_error(), "brood_barrier_init"));
}
END_TEST

static int fail_with(void *context)
{
    return *(int *)context;
}

static int fail_in_words(void *context)
{
    return brood_fail(*(int *)context, "no wind");
}

START_TEST(an_action_that_fails_has_words_of_its_own_or_those_of_the_number)
{
    struct scene *scene = new_scene(1);

    (void)brood_fail(0, "stale");
    ck_assert_int_eq(brood_barrier_wait_with(&scene->barrier, fail_with, &(int){-EDOM}, BROOD_NOW), -EDOM);
    ck_assert_str_eq(brood_error(), strerror(EDOM));
    brood_barrier_reset(&scene->barrier);
    ck_assert_int_eq(brood_barrier_wait_with(&scene->barrier, fail_in_words, &(int){-EDOM}, BROOD_NOW), -EDOM);
    ck_assert_str_eq(brood_error(), "no wind");
    brood_barrier_reset(&scene->barrier);
    ck_assert_int_eq(brood_barrier_wait_with(&scene->barrier, fail_with, &(int){-100000}, BROOD_NOW), -100000);
    ck_assert_str_ne(brood_error(), "");
}
END_TEST

START_TEST(one_process_too_many_is_told_and_breaks_nothing)
{
    struct scene *scene = new_scene(BROOD_BARRIER_PROCESSES + 7);
    struct peer peers[BROOD_BARRIER_PROCESSES];

    start_waiting(peers, BROOD_BARRIER_PROCESSES, PROCESSES, scene);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(60000)), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(brood_error(), "64"));
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
    ck_assert_int_eq(brood_barrier_waiting(&scene->barrier), BROOD_BARRIER_PROCESSES);
    brood_barrier_abort(&scene->barrier);
    join_peers(peers, BROOD_BARRIER_PROCESSES);
    ck_assert_int_eq(scene->broken, BROOD_BARRIER_PROCESSES);
}
END_TEST

/* semantics: B7 */
START_TEST(a_barrier_for_one_never_blocks)
{
    struct scene *scene = new_scene(1);

    for (int i = 0; i < CYCLES; i++)
        ck_assert_int_eq(brood_barrier_wait(&scene->barrier, i % 2 ? BROOD_NOW : BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_barrier_wait_with(&scene->barrier, act, scene, BROOD_NOW), 0);
    ck_assert_int_eq(scene->actions, 1);
}
END_TEST

/* semantics: B6 K15 K19 */
START_TEST(a_party_that_gives_up_breaks_it_until_it_is_reset)
{
    struct scene *scene = new_scene(2);
    int64_t began = now_ms();

    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert(brood_barrier_is_broken(&scene->barrier));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_FOREVER), -ENOTRECOVERABLE);
    ck_assert_str_ne(brood_error(), "");
    brood_barrier_reset(&scene->barrier);
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(10)), -ETIMEDOUT);
}
END_TEST

/* semantics: B6 */
START_TEST(a_party_that_only_tries_breaks_nothing)
{
    struct scene *scene = new_scene(2);

    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(-1)), -EAGAIN);
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
    ck_assert_int_eq(brood_barrier_waiting(&scene->barrier), 0);
}
END_TEST

/* semantics: B6 */
START_TEST(a_limit_of_its_own_counts_for_every_wait)
{
    struct scene *scene = new_scene(2);

    brood_barrier_set_timeout(&scene->barrier, 30);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_FOREVER), -ETIMEDOUT);
    brood_barrier_reset(&scene->barrier);
    brood_barrier_set_timeout(&scene->barrier, INT64_MAX);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(30)), -ETIMEDOUT);
}
END_TEST

/* ---- together ---- */

/* semantics: B2 */
START_TEST(each_party_gets_another_number)
{
    struct scene *scene = new_scene(PARTIES);

    meet_once(_i, scene);
    expect_each_index(scene, 1);
}
END_TEST

static void walk(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < CYCLES; i++) {
        int r = brood_barrier_wait(&scene->barrier, brood_after_ms(60000));

        ck_assert_int_ge(r, 0);
        atomic_fetch_add(&scene->seen[r], 1);
    }
}

/* semantics: B7 */
START_TEST(a_thousand_cycles_work)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES];

    start_peers(peers, PARTIES, _i, walk, scene);
    join_peers(peers, PARTIES);
    expect_each_index(scene, CYCLES);
    ck_assert_int_eq(brood_barrier_waiting(&scene->barrier), 0);
}
END_TEST

static void walk_in_step(void *argument)
{
    struct scene *scene = argument;
    int me = atomic_fetch_add(&scene->phase, 1);

    for (int i = 1; i <= CYCLES / 4; i++) {
        atomic_store(&scene->steps[me], i);
        ck_assert_int_ge(brood_barrier_wait(&scene->barrier, brood_after_ms(60000)), 0);
        for (int other = 0; other < PARTIES; other++)
            ck_assert_int_ge(atomic_load(&scene->steps[other]), i);
    }
}

/* No party passes that was not waited for, however fast one comes again. */
/* semantics: B7 */
START_TEST(no_party_is_ahead_by_a_cycle)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES];

    start_peers(peers, PARTIES, _i, walk_in_step, scene);
    join_peers(peers, PARTIES);
}
END_TEST

/* semantics: B3 */
START_TEST(the_action_runs_once_before_any_party_goes_on)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES];

    start_peers(peers, PARTIES, _i, wait_with_action, scene);
    join_peers(peers, PARTIES);
    ck_assert_int_eq(scene->actions, 1);
    expect_each_index(scene, 1);
}
END_TEST

/* semantics: B3 */
START_TEST(an_action_that_fails_breaks_it)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES];

    scene->r = -EDOM;
    start_peers(peers, PARTIES, _i, wait_with_action, scene);
    join_peers(peers, PARTIES);
    ck_assert_int_eq(scene->actions, 1);
    ck_assert_int_eq(scene->failed, 1);
    ck_assert_int_eq(scene->broken, PARTIES - 1);
    ck_assert(brood_barrier_is_broken(&scene->barrier));
}
END_TEST

/* semantics: B4 B5 */
START_TEST(an_abort_breaks_it_for_present_and_later_waiters_until_a_reset)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES - 1];

    start_waiting(peers, PARTIES - 1, _i, scene);
    brood_barrier_abort(&scene->barrier);
    join_peers(peers, PARTIES - 1);
    ck_assert_int_eq(scene->broken, PARTIES - 1);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_FOREVER), -ENOTRECOVERABLE);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_NOW), -ENOTRECOVERABLE);
    brood_barrier_reset(&scene->barrier);
    meet_once(_i, scene);
}
END_TEST

/* semantics: B5 */
START_TEST(reset_while_some_wait_it_is_broken_for_those_only)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES - 1];

    start_waiting(peers, PARTIES - 1, _i, scene);
    brood_barrier_reset(&scene->barrier);
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
    meet_once(_i, scene);
    join_peers(peers, PARTIES - 1);
    ck_assert_int_eq(scene->broken, PARTIES - 1);
    expect_each_index(scene, 1);
}
END_TEST

/* semantics: B6 */
START_TEST(the_time_out_of_one_breaks_it_for_all)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer peers[PARTIES - 2];

    start_waiting(peers, PARTIES - 2, _i, scene);
    count(scene, brood_barrier_wait(&scene->barrier, brood_after_ms(30)));
    join_peers(peers, PARTIES - 2);
    ck_assert_int_eq(scene->late, 1);
    ck_assert_int_eq(scene->broken, PARTIES - 2);
}
END_TEST

static int act_until_told(void *context)
{
    struct scene *scene = context;

    atomic_store(&scene->phase, 1);
    while (atomic_load(&scene->phase) == 1)
        rest();
    return 0;
}

static void come_last_and_act(void *argument)
{
    struct scene *scene = argument;

    count(scene, brood_barrier_wait_with(&scene->barrier, act_until_told, scene, BROOD_FOREVER));
}

/* More come than parties. */
START_TEST(a_party_that_comes_during_the_action_waits_for_the_next_cycle)
{
    struct scene *scene = new_scene(2);
    struct peer first, last, next;

    start_waiting(&first, 1, _i, scene);
    last = start_peer(_i, come_last_and_act, scene);
    await(atomic_load(&scene->phase) == 1);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(30)), -ETIMEDOUT);
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
    next = start_peer(_i, wait_once, scene);
    await(is_asleep(next.pid));
    atomic_store(&scene->phase, 2);
    join_peer(&first);
    join_peer(&last);
    ck_assert_int_eq(scene->through, 2);
    await(brood_barrier_waiting(&scene->barrier) == 1);
    count(scene, brood_barrier_wait(&scene->barrier, BROOD_FOREVER));
    join_peer(&next);
    ck_assert_int_eq(scene->through, 4);
}
END_TEST

static void break_it(struct scene *scene)
{
    brood_barrier_abort(&scene->barrier);
}

/* A party breaks the cycle while its last party runs its action: the action was for nothing. */
START_TEST(a_barrier_that_breaks_during_an_action_is_broken_for_its_party_too)
{
    struct scene *scene = new_scene(2);
    struct peer first, last;

    start_waiting(&first, 1, _i, scene);
    last = start_peer(_i, come_last_and_act, scene);
    await(atomic_load(&scene->phase) == 1);
    brood_barrier_abort(&scene->barrier);
    join_peer(&first);
    ck_assert_int_eq(scene->broken, 1);
    atomic_store(&scene->phase, 2);
    join_peer(&last);
    ck_assert_int_eq(scene->broken, 2);
    ck_assert(brood_barrier_is_broken(&scene->barrier));
    brood_barrier_reset(&scene->barrier);
    count(scene, brood_barrier_wait(&scene->barrier, BROOD_NOW)); /* of two */
    ck_assert_int_eq(scene->through, 0);
}
END_TEST

static int break_and_fail(void *context)
{
    break_it(context);
    return -EDOM;
}

START_TEST(an_action_that_fails_in_a_broken_cycle_says_why_it_failed)
{
    struct scene *scene = new_scene(1);

    ck_assert_int_eq(brood_barrier_wait_with(&scene->barrier, break_and_fail, scene, BROOD_NOW), -EDOM);
    ck_assert(brood_barrier_is_broken(&scene->barrier));
    brood_barrier_reset(&scene->barrier);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_NOW), 0);
}
END_TEST

/* ---- what happens in the moment in which a party gives up ---- */

/* In place of the C library's: a party that looks whether its deadline has passed lets something happen first. */
static struct scene *scene_of_moment;
static void (*in_that_moment)(struct scene *scene);

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    void (*happen)(struct scene *) = in_that_moment;

    if (happen && brood_barrier_waiting(&scene_of_moment->barrier) == 1) {
        in_that_moment = NULL;
        happen(scene_of_moment);
    }
    return (int)syscall(SYS_clock_gettime, clock, ret_now);
}

static int give_up_as(void (*happen)(struct scene *), struct scene *scene)
{
    scene_of_moment = scene;
    in_that_moment = happen;
    return brood_barrier_wait(&scene->barrier, (brood_deadline){1});
}

static void make_it_whole(struct scene *scene)
{
    brood_barrier_reset(&scene->barrier);
}

static void come_last(struct scene *scene)
{
    count(scene, brood_barrier_wait(&scene->barrier, BROOD_NOW));
}

START_TEST(a_party_that_gives_up_as_the_last_one_comes_is_let_through)
{
    struct scene *scene = new_scene(2);

    ck_assert_int_eq(give_up_as(come_last, scene), 0);
    ck_assert_int_eq(scene->seen[1], 1);
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
}
END_TEST

START_TEST(a_party_that_gives_up_as_the_barrier_breaks_hears_of_that)
{
    struct scene *scene = new_scene(2);

    ck_assert_int_eq(give_up_as(break_it, scene), -ENOTRECOVERABLE);
    brood_barrier_reset(&scene->barrier);
    ck_assert_int_eq(give_up_as(make_it_whole, scene), -ENOTRECOVERABLE);
    ck_assert(!brood_barrier_is_broken(&scene->barrier));
    ck_assert_int_eq(give_up_as(NULL, scene), -ETIMEDOUT);
}
END_TEST

/* ---- more processes than there is room for, but not at a time ---- */

#define TURNS (BROOD_BARRIER_PROCESSES + 6)

static void come_twice_in_turn(void *argument)
{
    struct scene *scene = argument;
    int me = atomic_fetch_add(&scene->actions, 1);

    for (int turn = me; turn < 2 * TURNS; turn += TURNS) {
        while (atomic_load(&scene->phase) < turn + 1)
            rest();
        ck_assert_int_ge(brood_barrier_wait(&scene->barrier, brood_after_ms(60000)), 0);
    }
}

/* The place of a process that lives, but does not wait, is given to another, and it gets a new one when it comes again. */
START_TEST(any_number_of_processes_meet_if_not_too_many_wait_at_a_time)
{
    struct scene *scene = new_scene(2);
    struct peer peers[TURNS];

    start_peers(peers, TURNS, PROCESSES, come_twice_in_turn, scene);
    for (int turn = 0; turn < 2 * TURNS; turn++) {
        atomic_store(&scene->phase, turn + 1);
        ck_assert_int_ge(brood_barrier_wait(&scene->barrier, brood_after_ms(60000)), 0);
    }
    join_peers(peers, TURNS);
}
END_TEST

/* ---- deaths ---- */

/* semantics: B8 K14 */
START_TEST(a_party_that_is_killed_while_it_waits_breaks_it)
{
    struct scene *scene = new_scene(PARTIES);
    struct peer victim, peers[PARTIES - 2];
    int64_t began;

    victim = start_peer(PROCESSES, wait_once, scene);
    await(brood_barrier_waiting(&scene->barrier) == 1);
    start_peers(peers, PARTIES - 2, _i, wait_once, scene);
    await(brood_barrier_waiting(&scene->barrier) == PARTIES - 1);
    began = now_ms();
    put_to_death(victim.pid);
    join_peers(peers, PARTIES - 2);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    ck_assert_int_eq(scene->broken, PARTIES - 2);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, BROOD_FOREVER), -ENOTRECOVERABLE);
    brood_barrier_reset(&scene->barrier);
    meet_once(_i, scene);
}
END_TEST

/* No waiter was there to look. */
/* semantics: B8 */
START_TEST(a_party_that_was_killed_alone_breaks_it_for_later_parties)
{
    struct scene *scene = new_scene(3);
    struct peer victim;

    start_waiting(&victim, 1, PROCESSES, scene);
    put_to_death(victim.pid);
    ck_assert_int_eq(brood_barrier_wait(&scene->barrier, brood_after_ms(60000)), -ENOTRECOVERABLE);
    ck_assert(brood_barrier_is_broken(&scene->barrier));
}
END_TEST

START_TEST(a_party_that_is_killed_in_its_action_breaks_it)
{
    struct scene *scene = new_scene(2);
    struct peer peer, victim;

    start_waiting(&peer, 1, _i, scene);
    victim = start_peer(PROCESSES, come_last_and_act, scene);
    await(atomic_load(&scene->phase) == 1);
    put_to_death(victim.pid);
    join_peer(&peer);
    ck_assert_int_eq(scene->broken, 1);
}
END_TEST

/* It is in the waiter table, and has not arrived. */
static void die_in_the_middle_of_a_change(void *argument)
{
    struct scene *scene = argument;

    scene->barrier.waiters[5].process = brood__self();
    scene->barrier.waiters[5].waiting = 1;
    (void)raise(SIGKILL);
}

START_TEST(a_party_that_is_killed_in_the_middle_of_a_change_breaks_it)
{
    struct scene *scene = new_scene(2);
    struct peer peer;
    pid_t victim;

    start_waiting(&peer, 1, _i, scene);
    victim = spawn(die_in_the_middle_of_a_change, scene);
    ck_assert_int_eq(waitpid(victim, NULL, 0), victim);
    join_peer(&peer);
    ck_assert_int_eq(scene->broken, 1);
    ck_assert_int_eq(brood_barrier_waiting(&scene->barrier), 0);
    brood_barrier_reset(&scene->barrier);
    start_waiting(&peer, 1, _i, scene);
    count(scene, brood_barrier_wait(&scene->barrier, BROOD_FOREVER));
    join_peer(&peer);
    ck_assert_int_eq(scene->through, 2);
}
END_TEST

START_TEST(a_party_stopped_on_its_way_out_delays_no_other)
{
    struct scene *scene = new_scene(2);
    struct peer stopped, peers[2];

    start_waiting(&stopped, 1, PROCESSES, scene);
    ck_assert_int_eq(kill(stopped.pid, SIGSTOP), 0);
    count(scene, brood_barrier_wait(&scene->barrier, BROOD_FOREVER));
    for (int i = 0; i < 3; i++) {
        start_peers(peers, 2, _i, wait_once, scene);
        join_peers(peers, 2);
    }
    brood_barrier_abort(&scene->barrier);
    ck_assert_int_eq(kill(stopped.pid, SIGCONT), 0);
    join_peer(&stopped);
    ck_assert_int_eq(scene->broken, 0);
    ck_assert_int_eq(scene->through, 8);
}
END_TEST

/* semantics: K18 */
START_TEST(one_made_before_a_fork_works_in_every_child_and_outlives_each)
{
    struct scene *scene = new_scene(2);

    for (int i = 1; i <= 3; i++) {
        struct peer peer = start_peer(PROCESSES, wait_once, scene);

        count(scene, brood_barrier_wait(&scene->barrier, BROOD_FOREVER));
        join_peer(&peer);
        ck_assert_int_eq(scene->through, 2 * i);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("barrier");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "alone", a_barrier_of_no_parties_is_refused_with_a_message, zeroed_memory_is_a_barrier_of_no_parties,
              a_barrier_for_one_never_blocks, an_action_that_fails_has_words_of_its_own_or_those_of_the_number,
              a_party_that_gives_up_breaks_it_until_it_is_reset, a_party_that_only_tries_breaks_nothing,
              a_limit_of_its_own_counts_for_every_wait, an_action_that_fails_in_a_broken_cycle_says_why_it_failed,
              a_party_that_gives_up_as_the_last_one_comes_is_let_through,
              a_party_that_gives_up_as_the_barrier_breaks_hears_of_that, NULL);
    add_loop_tests(suite, "together", THREADS, kinds, each_party_gets_another_number, a_thousand_cycles_work,
                   no_party_is_ahead_by_a_cycle, the_action_runs_once_before_any_party_goes_on,
                   an_action_that_fails_breaks_it, an_abort_breaks_it_for_present_and_later_waiters_until_a_reset,
                   reset_while_some_wait_it_is_broken_for_those_only, the_time_out_of_one_breaks_it_for_all,
                   a_party_that_comes_during_the_action_waits_for_the_next_cycle,
                   a_barrier_that_breaks_during_an_action_is_broken_for_its_party_too, NULL);
    if (kinds == KINDS) {
        add_loop_tests(suite, "deaths", THREADS, kinds, a_party_that_is_killed_while_it_waits_breaks_it,
                       a_party_that_is_killed_in_its_action_breaks_it,
                       a_party_that_is_killed_in_the_middle_of_a_change_breaks_it,
                       a_party_stopped_on_its_way_out_delays_no_other, NULL);
        add_tests(suite, "processes", one_process_too_many_is_told_and_breaks_nothing,
                  any_number_of_processes_meet_if_not_too_many_wait_at_a_time,
                  a_party_that_was_killed_alone_breaks_it_for_later_parties,
                  one_made_before_a_fork_works_in_every_child_and_outlives_each, NULL);
    }
    return run_suite(suite);
}
