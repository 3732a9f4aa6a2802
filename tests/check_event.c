/* check_event.c - the flag that threads and processes wait for.
 *
 *     check_event --threads     only what keeps to one process
 */
#include <brood/event.h>

#include "peer.h"

#define PEERS 5
#define ROUNDS 10000

struct scene {
    struct brood_event event, other;
    _Atomic int heard;
};

static struct scene *new_scene(void)
{
    return shared_memory(sizeof(struct scene));
}

/* semantics: E1 K19 */
START_TEST(it_is_set_and_cleared_and_setting_it_again_changes_nothing)
{
    struct brood_event event = {0};

    ck_assert(!brood_event_is_set(&event));
    ck_assert_int_eq(brood_event_wait(&event, BROOD_NOW), -EAGAIN);
    ck_assert_str_ne(brood_error(), "");
    for (int i = 0; i < 2; i++) {
        brood_event_set(&event);
        ck_assert(brood_event_is_set(&event));
        ck_assert_int_eq(brood_event_wait(&event, BROOD_NOW), 0);
        ck_assert_int_eq(brood_event_wait(&event, BROOD_FOREVER), 0);
    }
    for (int i = 0; i < 2; i++) {
        brood_event_clear(&event);
        ck_assert(!brood_event_is_set(&event));
        ck_assert_int_eq(brood_event_wait(&event, brood_after_ms(-1)), -EAGAIN);
    }
    memset(&event, 0xff, sizeof(event));
    brood_event_init(&event);
    ck_assert(!brood_event_is_set(&event));
}
END_TEST

/* semantics: E1 */
START_TEST(a_wait_in_vain_takes_its_time)
{
    struct brood_event event = {0};
    int64_t began = now_ms();

    ck_assert_int_eq(brood_event_wait(&event, brood_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert_str_ne(brood_error(), "");
}
END_TEST

static void hear(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_event_wait(&scene->event, brood_after_ms(60000)), 0);
    atomic_fetch_add(&scene->heard, 1);
}

static void start_sleepers(struct peer *peers, int kind, struct scene *scene)
{
    start_peers(peers, PEERS, kind, hear, scene);
    for (int i = 0; i < PEERS; i++)
        await_sleep(peers[i].pid);
}

/* semantics: E2 */
START_TEST(set_and_cleared_at_once_it_wakes_all_that_waited)
{
    struct scene *scene = new_scene();
    struct peer peers[PEERS];

    start_sleepers(peers, _i, scene);
    ck_assert_int_eq(scene->heard, 0);
    brood_event_set(&scene->event);
    brood_event_clear(&scene->event);
    join_peers(peers, PEERS);
    ck_assert_int_eq(scene->heard, PEERS);
    ck_assert_int_eq(brood_event_wait(&scene->event, BROOD_NOW), -EAGAIN);
}
END_TEST

static void answer(void *argument)
{
    struct scene *scene = argument;

    for (int i = 0; i < ROUNDS; i++) {
        ck_assert_int_eq(brood_event_wait(&scene->event, BROOD_FOREVER), 0);
        brood_event_clear(&scene->event);
        brood_event_set(&scene->other);
    }
}

START_TEST(no_wake_up_is_lost_from_one_to_the_other_and_back)
{
    struct scene *scene = new_scene();
    struct peer peer = start_peer(_i, answer, scene);
    struct pace pace = {0};

    for (int i = 0; i < ROUNDS; i++) {
        brood_event_set(&scene->event);
        ck_assert_int_eq(brood_event_wait(&scene->other, BROOD_FOREVER), 0);
        brood_event_clear(&scene->other);
        pace_count(&pace);
    }
    join_peer(&peer);
    expect_no_lost_wake_ups(&pace);
}
END_TEST

/* semantics: E3 K14 */
START_TEST(setting_does_not_wait_for_a_waiter_that_was_killed_or_stopped)
{
    struct scene *scene = new_scene();
    pid_t dead = spawn(hear, scene), stopped = spawn(hear, scene), alive = spawn(hear, scene);
    int64_t began;

    await_sleep(dead);
    await_sleep(stopped);
    await_sleep(alive);
    put_to_death(dead);
    ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
    began = now_ms();
    brood_event_set(&scene->event);
    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    join(alive);
    brood_event_clear(&scene->event);
    ck_assert_int_eq(kill(stopped, SIGCONT), 0);
    join(stopped);
    ck_assert_int_eq(scene->heard, 2);
}
END_TEST

static void set_it(void *argument)
{
    brood_event_set(&((struct scene *)argument)->event);
}

/* semantics: K18 */
START_TEST(one_made_before_a_fork_works_in_every_child_and_outlives_each)
{
    struct scene *scene = new_scene();

    for (int i = 0; i < 3; i++) {
        in_child(set_it, scene);
        ck_assert_int_eq(brood_event_wait(&scene->event, BROOD_NOW), 0);
        in_child(hear, scene);
        brood_event_clear(&scene->event);
    }
    ck_assert_int_eq(scene->heard, 3);
}
END_TEST

/* A futex call that is made in spite of it kills the child. */
static void forbid_futexes(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    load_filter(code, sizeof(code) / sizeof(code[0]));
}

static void set_without_the_kernel(void *argument)
{
    struct scene *scene = argument;

    forbid_futexes();
    brood_event_set(&scene->event);
    ck_assert_int_eq(brood_event_wait(&scene->event, BROOD_FOREVER), 0);
    brood_event_clear(&scene->event);
}

START_TEST(no_system_call_is_made_while_no_thread_sleeps)
{
    in_child(set_without_the_kernel, new_scene());
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("event");
    int kinds = kinds_for(argc, argv);

    add_tests(suite, "alone", it_is_set_and_cleared_and_setting_it_again_changes_nothing, a_wait_in_vain_takes_its_time,
              NULL);
    add_loop_tests(suite, "together", THREADS, kinds, set_and_cleared_at_once_it_wakes_all_that_waited,
                   no_wake_up_is_lost_from_one_to_the_other_and_back, NULL);
    if (kinds == KINDS)
        add_tests(suite, "processes", setting_does_not_wait_for_a_waiter_that_was_killed_or_stopped,
                  one_made_before_a_fork_works_in_every_child_and_outlives_each,
                  no_system_call_is_made_while_no_thread_sleeps, NULL);
    return run_suite(suite);
}
