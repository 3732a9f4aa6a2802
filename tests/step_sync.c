/* step_sync.c - kills a process between any two instructions of what it does with a lock, a semaphore, an event, a
 * condition or a barrier, and looks at what became of the others.
 *
 * A round: everything new; others are led to where they sleep, the victim makes step after step, and is killed at a chosen
 * moment.  If it goes to sleep on its way, it is *disturbed*: somebody does what it waits for.  A walk is a round for each
 * moment until the victim comes to its end first.
 *
 * What a dead process leaves is what it has stored in shared memory and asked of the kernel.  So one kill after each step
 * that does either stands for all.  With BROOD_STEPS=all each step is one (ctest --preset steps).
 */
#include <brood.h>

#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "os/identity.h"
#include "stepper.h"
#include "sync/claim.h"
#include "sync/sleep.h"

#define PATIENCE_MS 60000

/* What all share. */
struct scene {
    struct objects {
        struct brood_lock lock;
        struct brood_rlock rlock;
        struct brood_condition condition;
        struct brood_semaphore semaphore;
        struct brood_event event;
        struct brood_barrier barrier;
    } all;
    _Atomic uint32_t gate, never;
    _Atomic uint64_t victim;
    _Atomic bool is_at_end;
    _Atomic int done, told, through, broken, waiting;
};

struct story {
    void (*prepare)(struct scene *scene); /* others go to sleep */
    void (*act)(struct scene *scene);     /* what the victim does */
    void (*disturb)(struct scene *scene); /* once: when it sleeps, or has died before; or NULL */
    void (*judge)(struct scene *scene);   /* what became of the others */
};

struct moment {
    bool by_change;   /* count what others can see of it, not its steps */
    unsigned long at; /* so many */
};

/* What the test knows of a round. */
static struct {
    const struct story *story;
    struct stepper stepper;
    pid_t others[4];
    int count;
    bool was_disturbed;
    bool had_lock, had_rlock, was_in_barrier; /* the victim, when it was killed */
} round_;

#define expect(what) \
    ck_assert_msg(what, "killed at %s: not so: %s: %s", stepper_where(&round_.stepper), #what, brood_error())

static brood_deadline patience(void)
{
    return brood_after_ms(PATIENCE_MS);
}

/* ---- the others ---- */

static void start_other(struct scene *scene, void (*body)(void *))
{
    round_.others[round_.count++] = spawn(body, scene);
}

static void start_sleeper(struct scene *scene, void (*body)(void *))
{
    start_other(scene, body);
    await(is_asleep(round_.others[round_.count - 1]));
}

/* They end well, and without more help than they had. */
static void expect_all_done(struct scene *scene)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (atomic_load(&scene->done) < round_.count && now_ms() < until)
        rest();
    expect(atomic_load(&scene->done) == round_.count);
    for (int i = 0; i < round_.count; i++)
        join(round_.others[i]);
}

/* ---- a round ---- */

static void stand_at(_Atomic uint32_t *gate)
{
    while (atomic_load(gate) == 0)
        (void)syscall(SYS_futex, gate, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void be_the_victim(void *argument)
{
    struct scene *scene = argument;

    (void)brood__self_thread();
    atomic_store(&scene->victim, brood__self());
    stand_at(&scene->gate);
    round_.story->act(scene);
    atomic_store(&scene->is_at_end, true);
    stand_at(&scene->never);
}

static struct scene *new_scene(void)
{
    struct scene *scene = shared_memory(sizeof(*scene));

    ck_assert_int_eq(brood_condition_init(&scene->all.condition, &scene->all.lock), 0);
    ck_assert_int_eq(brood_barrier_init(&scene->all.barrier, 3), 0);
    return scene;
}

/* While the victim stands still, before it is killed; or NULL. */
static void (*meanwhile)(struct scene *scene);

static void disturb(struct scene *scene)
{
    if (!round_.was_disturbed && round_.story->disturb)
        round_.story->disturb(scene);
    round_.was_disturbed = true;
}

/* False: it has come to its end. */
static bool make_step(struct scene *scene)
{
    if (stepper_step(&round_.stepper))
        return true;
    if (atomic_load(&scene->is_at_end))
        return false;
    disturb(scene);
    stepper_await(&round_.stepper); /* woken, or because it looks around from time to time */
    return true;
}

static bool walk_until(struct scene *scene, struct moment moment)
{
    struct objects before = scene->all;
    bool is_news = true;

    for (unsigned long count = 0; count < moment.at; count += is_news) {
        if (!make_step(scene))
            return false;
        if (moment.by_change) {
            is_news = round_.stepper.was_call || memcmp(&before, &scene->all, sizeof(before)) != 0;
            before = scene->all;
        }
    }
    return true;
}

static void look_into_its_hands(struct scene *scene)
{
    uint64_t victim = atomic_load(&scene->victim);

    round_.had_lock = claim_owner(&scene->all.lock.word) == victim;
    round_.had_rlock = claim_owner(&scene->all.rlock.word) == victim;
    for (int i = 0; i < BROOD_BARRIER_PROCESSES; i++)
        if (scene->all.barrier.waiters[i].process == victim && (uint32_t)scene->all.barrier.waiters[i].waiting > 0)
            round_.was_in_barrier = true;
}

static bool play(const struct story *story, struct moment moment)
{
    struct scene *scene = new_scene();
    bool has_come;
    pid_t victim;

    memset(&round_, 0, sizeof(round_));
    round_.story = story;
    story->prepare(scene);
    victim = spawn(be_the_victim, scene);
    await(atomic_load(&scene->victim) != 0 && is_asleep(victim));
    stepper_seize(&round_.stepper, victim);
    atomic_store(&scene->gate, 1);

    has_come = walk_until(scene, moment);
    look_into_its_hands(scene);
    if (meanwhile)
        meanwhile(scene);
    stepper_kill(&round_.stepper);

    disturb(scene);
    story->judge(scene);
    ck_assert_int_eq(munmap(scene, sizeof(*scene)), 0);
    return has_come;
}

static void tell(const struct story *story)
{
    const char *steps = getenv("BROOD_STEPS");
    struct moment moment = {.by_change = !steps || strcmp(steps, "all") != 0};

    while (play(story, moment))
        moment.at++;
    ck_assert_uint_gt(moment.at, 2); /* or there was no walk at all */
}

/* ---- locks ---- */

static void count_told(struct scene *scene, int r)
{
    ck_assert_msg(r == 0 || r == -EOWNERDEAD, "%d: %s", r, brood_error());
    atomic_fetch_add(&scene->told, r == -EOWNERDEAD);
}

static void lock_and_unlock(struct scene *scene)
{
    count_told(scene, brood_lock_acquire(&scene->all.lock, patience()));
    ck_assert_int_eq(brood_lock_release(&scene->all.lock), 0);
}

static void want_lock(void *argument)
{
    struct scene *scene = argument;

    lock_and_unlock(scene);
    atomic_fetch_add(&scene->done, 1);
}

static void expect_lock(struct scene *scene)
{
    expect_all_done(scene);
    lock_and_unlock(scene);
    expect(atomic_load(&scene->told) == round_.had_lock);
    expect(brood_lock_acquire(&scene->all.lock, BROOD_NOW) == 0);
}

static void prepare_nothing(struct scene *scene)
{
    (void)scene;
}

/* semantics: K14 */
START_TEST(the_holder_of_a_lock_dies_at_any_step)
{
    tell(&(struct story){.prepare = prepare_nothing, .act = lock_and_unlock, .judge = expect_lock});
}
END_TEST

static void hold_lock(struct scene *scene)
{
    ck_assert_int_eq(brood_lock_acquire(&scene->all.lock, BROOD_NOW), 0);
}

static void hold_lock_before_a_sleeper(struct scene *scene)
{
    hold_lock(scene);
    start_sleeper(scene, want_lock);
}

static void release_lock(struct scene *scene)
{
    ck_assert_int_eq(brood_lock_release(&scene->all.lock), 0);
}

static void release_lock_behind_a_sleeper(struct scene *scene)
{
    start_sleeper(scene, want_lock);
    release_lock(scene);
}

START_TEST(a_waiter_after_another_for_a_lock_dies_at_any_step)
{
    tell(&(struct story){hold_lock_before_a_sleeper, lock_and_unlock, release_lock, expect_lock});
}
END_TEST

START_TEST(a_waiter_before_another_for_a_lock_dies_at_any_step)
{
    tell(&(struct story){hold_lock, lock_and_unlock, release_lock_behind_a_sleeper, expect_lock});
}
END_TEST

static void rlock_and_unlock(struct scene *scene)
{
    count_told(scene, brood_rlock_acquire(&scene->all.rlock, patience()));
    ck_assert_int_eq(brood_rlock_acquire(&scene->all.rlock, BROOD_NOW), 0);
    ck_assert_int_eq(brood_rlock_release(&scene->all.rlock), 0);
    ck_assert_int_eq(brood_rlock_release(&scene->all.rlock), 0);
}

static void expect_rlock(struct scene *scene)
{
    rlock_and_unlock(scene);
    expect(atomic_load(&scene->told) == round_.had_rlock);
    expect(!brood_rlock_held(&scene->all.rlock));
}

START_TEST(the_holder_of_a_recursive_lock_dies_at_any_step)
{
    tell(&(struct story){.prepare = prepare_nothing, .act = rlock_and_unlock, .judge = expect_rlock});
}
END_TEST

/* ---- semaphores and events ---- */

static void want_permit(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_semaphore_acquire(&scene->all.semaphore, patience()), 0);
    atomic_fetch_add(&scene->done, 1);
}

static void prepare_permits(struct scene *scene)
{
    start_sleeper(scene, want_permit);
    start_sleeper(scene, want_permit);
}

static void add_permit(struct scene *scene)
{
    ck_assert_int_eq(brood_semaphore_release(&scene->all.semaphore, 1), 0);
}

static void add_permits(struct scene *scene)
{
    ck_assert_int_eq(brood_semaphore_release(&scene->all.semaphore, 2), 0);
}

static void expect_permits(struct scene *scene)
{
    add_permits(scene);
    expect_all_done(scene);
    expect(brood_semaphore_value(&scene->all.semaphore) <= 1);
}

START_TEST(a_process_that_adds_a_permit_dies_at_any_step)
{
    tell(&(struct story){prepare_permits, add_permit, NULL, expect_permits});
}
END_TEST

static void prepare_one_who_wants_a_permit(struct scene *scene)
{
    start_sleeper(scene, want_permit);
}

static void take_permit(struct scene *scene)
{
    ck_assert_int_eq(brood_semaphore_acquire(&scene->all.semaphore, patience()), 0);
    atomic_store(&scene->through, 1);
}

/* One permit for the other, and one that the victim has, or not. */
static void expect_permit(struct scene *scene)
{
    int value;

    expect_all_done(scene);
    value = brood_semaphore_value(&scene->all.semaphore);
    expect(value == 0 || (value == 1 && !atomic_load(&scene->through)));
}

START_TEST(a_waiter_for_a_permit_dies_at_any_step)
{
    tell(&(struct story){prepare_one_who_wants_a_permit, take_permit, add_permits, expect_permit});
}
END_TEST

static void want_event(void *argument)
{
    struct scene *scene = argument;

    ck_assert_int_eq(brood_event_wait(&scene->all.event, patience()), 0);
    atomic_fetch_add(&scene->done, 1);
}

static void prepare_event(struct scene *scene)
{
    start_sleeper(scene, want_event);
    start_sleeper(scene, want_event);
}

static void set_and_clear(struct scene *scene)
{
    brood_event_set(&scene->all.event);
    atomic_store(&scene->through, 1);
    brood_event_clear(&scene->all.event);
}

static void expect_event(struct scene *scene)
{
    if (!brood_event_is_set(&scene->all.event) && !atomic_load(&scene->through))
        brood_event_set(&scene->all.event);
    expect_all_done(scene);
}

START_TEST(a_process_that_sets_an_event_dies_at_any_step)
{
    tell(&(struct story){prepare_event, set_and_clear, NULL, expect_event});
}
END_TEST

/* ---- conditions ---- */

static void want_notification(void *argument)
{
    struct scene *scene = argument;

    count_told(scene, brood_lock_acquire(&scene->all.lock, patience()));
    atomic_fetch_add(&scene->waiting, 1);
    count_told(scene, brood_condition_wait(&scene->all.condition, patience()));
    ck_assert_int_eq(brood_lock_release(&scene->all.lock), 0);
    atomic_fetch_add(&scene->done, 1);
}

/* It has the lock then, which it gives back when it waits: whoever acquires that can notify it. */
static void start_waiter(struct scene *scene)
{
    int already = atomic_load(&scene->waiting);

    start_other(scene, want_notification);
    await(atomic_load(&scene->waiting) > already);
}

static void notify(struct scene *scene, int n)
{
    count_told(scene, brood_lock_acquire(&scene->all.lock, patience()));
    ck_assert_int_eq(brood_condition_notify(&scene->all.condition, n), 0);
    ck_assert_int_eq(brood_lock_release(&scene->all.lock), 0);
}

static void notify_one(struct scene *scene)
{
    notify(scene, 1);
}

static void prepare_waiters(struct scene *scene)
{
    start_waiter(scene);
    start_waiter(scene);
}

/* What was left for the dead is not there for who comes later. */
static void expect_no_more_grants(struct scene *scene)
{
    expect(brood_lock_acquire(&scene->all.lock, patience()) == 0);
    expect(brood_condition_wait(&scene->all.condition, brood_after_ms(1)) == -ETIMEDOUT);
    expect(brood_lock_release(&scene->all.lock) == 0);
}

static void expect_notified(struct scene *scene)
{
    notify(scene, 2);
    expect_all_done(scene);
    expect(atomic_load(&scene->told) == round_.had_lock);
    expect_no_more_grants(scene);
}

START_TEST(a_notifier_dies_at_any_step)
{
    tell(&(struct story){prepare_waiters, notify_one, NULL, expect_notified});
}
END_TEST

static void wait_for_notification(struct scene *scene)
{
    count_told(scene, brood_lock_acquire(&scene->all.lock, patience()));
    count_told(scene, brood_condition_wait(&scene->all.condition, patience()));
    ck_assert_int_eq(brood_lock_release(&scene->all.lock), 0);
}

static void notify_before_a_waiter(struct scene *scene)
{
    start_waiter(scene);
    notify(scene, 1);
}

/* One notification was for either of the two, and the next one is not for the dead one. */
static void expect_the_other_notified(struct scene *scene)
{
    notify(scene, 1);
    expect_all_done(scene);
    expect(atomic_load(&scene->told) == round_.had_lock);
    expect_no_more_grants(scene);
}

START_TEST(a_waiter_before_another_for_a_notification_dies_at_any_step)
{
    tell(&(struct story){prepare_nothing, wait_for_notification, notify_before_a_waiter, expect_the_other_notified});
}
END_TEST

static void expect_condition(struct scene *scene)
{
    lock_and_unlock(scene);
    expect(atomic_load(&scene->told) == round_.had_lock);
    expect_no_more_grants(scene);
}

START_TEST(a_single_waiter_for_a_notification_dies_at_any_step)
{
    tell(&(struct story){prepare_nothing, wait_for_notification, notify_one, expect_condition});
}
END_TEST

/* ---- barriers ---- */

static int act_at_the_barrier(void *context)
{
    (void)context;
    return 0;
}

static void come(struct scene *scene)
{
    int r = brood_barrier_wait_with(&scene->all.barrier, act_at_the_barrier, NULL, BROOD_FOREVER);

    ck_assert_msg(r >= 0 || r == -ENOTRECOVERABLE, "%d: %s", r, brood_error());
    atomic_fetch_add(r >= 0 ? &scene->through : &scene->broken, 1);
}

static void be_a_party(void *argument)
{
    struct scene *scene = argument;

    come(scene);
    atomic_fetch_add(&scene->done, 1);
}

static void prepare_two_parties(struct scene *scene)
{
    start_sleeper(scene, be_a_party);
    start_sleeper(scene, be_a_party);
}

static void prepare_one_party(struct scene *scene)
{
    start_sleeper(scene, be_a_party);
}

/* One that waits is let through by nobody: it is disturbed in its sleep. */
static void send_nobody(struct scene *scene)
{
    brood_barrier_abort(&scene->all.barrier);
}

static void send_the_last_party(struct scene *scene)
{
    start_other(scene, be_a_party);
}

/* Nobody can know of one who died before it came: the others are told. */
static void expect_barrier(struct scene *scene)
{
    if (!round_.was_in_barrier)
        brood_barrier_abort(&scene->all.barrier);
    expect_all_done(scene);
    expect(atomic_load(&scene->through) == 0 || atomic_load(&scene->broken) == 0);
    brood_barrier_reset(&scene->all.barrier);
    expect(brood_barrier_wait(&scene->all.barrier, BROOD_NOW) == -EAGAIN);
}

START_TEST(the_last_party_of_a_barrier_dies_at_any_step)
{
    tell(&(struct story){prepare_two_parties, come, NULL, expect_barrier});
}
END_TEST

START_TEST(a_waiter_at_a_barrier_dies_at_any_step)
{
    tell(&(struct story){prepare_one_party, come, send_the_last_party, expect_barrier});
}
END_TEST

/* Whatever the victim is in the middle of: a deadline is kept, and what does not wait returns. */
static void use_the_barrier(struct scene *scene)
{
    int64_t began = now_ms();
    int r = brood_barrier_wait(&scene->all.barrier, brood_after_ms(5));

    expect(r >= 0 || r == -ETIMEDOUT || r == -ENOTRECOVERABLE);
    r = brood_barrier_wait(&scene->all.barrier, BROOD_NOW);
    expect(r >= 0 || r == -EAGAIN || r == -ENOTRECOVERABLE);
    brood_barrier_abort(&scene->all.barrier);
    expect(brood_barrier_is_broken(&scene->all.barrier));
    brood_barrier_reset(&scene->all.barrier);
    expect(now_ms() - began < AT_ONCE_MS);
}

static void expect_whole_barrier(struct scene *scene)
{
    expect_all_done(scene);
    brood_barrier_reset(&scene->all.barrier);
    expect(brood_barrier_wait(&scene->all.barrier, BROOD_NOW) == -EAGAIN);
}

START_TEST(a_party_stopped_at_any_step_delays_no_other)
{
    meanwhile = use_the_barrier;
    tell(&(struct story){_i == 0 ? prepare_two_parties : prepare_nothing, come, send_nobody, expect_whole_barrier});
    meanwhile = NULL;
}
END_TEST

/* Then nobody spins, which would be a thousand steps that change nothing. */
static bool stay_on_one_processor(void)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0 && brood__spins(&(struct spin){0}) == 0;
}

int main(void)
{
    Suite *suite = suite_create("steps of locks and the like");

    if (!stepper_is_possible() || !stay_on_one_processor()) {
        printf("skipped: ptrace or a choice of processors is denied here, or it does not step this processor\n");
        return 77;
    }
    add_tests(suite, "locks", the_holder_of_a_lock_dies_at_any_step, a_waiter_after_another_for_a_lock_dies_at_any_step,
              a_waiter_before_another_for_a_lock_dies_at_any_step, the_holder_of_a_recursive_lock_dies_at_any_step, NULL);
    add_tests(suite, "semaphores and events", a_process_that_adds_a_permit_dies_at_any_step,
              a_waiter_for_a_permit_dies_at_any_step, a_process_that_sets_an_event_dies_at_any_step, NULL);
    add_tests(suite, "conditions", a_notifier_dies_at_any_step, a_waiter_before_another_for_a_notification_dies_at_any_step,
              a_single_waiter_for_a_notification_dies_at_any_step, NULL);
    add_tests(suite, "barriers", the_last_party_of_a_barrier_dies_at_any_step, a_waiter_at_a_barrier_dies_at_any_step,
              NULL);
    add_loop_tests(suite, "stopped", 0, 2, a_party_stopped_at_any_step_delays_no_other, NULL);
    return run_suite(suite);
}
