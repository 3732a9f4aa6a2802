/* step_queue.c - kills who puts, gets, or says that it is done, between any two instructions of it, and looks at what
 * became of the queue.
 *
 * A round: a child that sleeps is woken for one call, led on step by step, and killed at a chosen moment.  Then every
 * message is accounted for, and the queue is as good as new: it can be filled and emptied, and its memory is all there.  A
 * walk is a round for each moment, until the call is over before the moment comes.
 *
 * What a dead process leaves is what it has stored in the queue.  So one kill after each step that changes it stands for
 * all; that is the walk that is always made.  Then kills at random follow, for a while:
 *
 *   BROOD_STEPS=<seed>  the same random kills again
 *   BROOD_STEPS=all     a kill at every step instead of both (ctest --preset steps)
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <time.h>

#include "child.h"
#include "stepper.h"
#include "sync/queue/queue_member.h"

enum { RANDOM_MS = 20, BOUND = 8, LONG_BYTES = 700, SLOT_BYTES = 24 };

/* ---- the stage ---- */

struct stage {
    struct brood_queue *queue;
    _Atomic uint32_t go, over;
    _Atomic int outcome;
    pid_t victim, dead; /* who is killed; who has died before, and is buried by the victim */
};

struct scene {
    const char *name;
    struct brood_queue_options options;
    size_t message_bytes;            /* of each message */
    int before;                      /* so many messages are put before */
    void (*prepare)(struct stage *); /* by the victim, before it sleeps */
    int (*act)(struct stage *, size_t message_bytes);
    bool spills; /* the ring is full already */
};

static const struct scene *current; /* while one is played: for words */

#define expect(what) ck_assert_msg(what, "%s: %s", current->name, #what)

/* A message says which one it is, at both ends. */
static int put_number(struct brood_queue *queue, int number, size_t bytes, brood_deadline deadline)
{
    unsigned char message[LONG_BYTES] = {0};

    message[0] = message[bytes - 1] = (unsigned char)number;
    return brood_queue_put(queue, (struct brood_bytes){message, bytes}, deadline);
}

/* The number; or a negative errno. */
static int get_number(struct brood_queue *queue, brood_deadline deadline)
{
    unsigned char message[LONG_BYTES];
    struct brood_space space = {message, sizeof(message)};
    int r = brood_queue_get(queue, &space, deadline);

    if (r < 0)
        return r;
    expect(message[0] == message[space.len - 1]);
    return message[0];
}

/* ---- acts ---- */

enum { VICTIMS = 100 }; /* the number of what the victim puts */

static int act_put(struct stage *stage, size_t bytes)
{
    return put_number(stage->queue, VICTIMS, bytes, BROOD_NOW);
}

static int act_get(struct stage *stage, size_t bytes)
{
    (void)bytes;
    return get_number(stage->queue, BROOD_NOW);
}

static int act_done(struct stage *stage, size_t bytes)
{
    (void)bytes;
    return brood_queue_task_done(stage->queue);
}

enum { OTHER_BOUND = 3 };

static int act_set_bound(struct stage *stage, size_t bytes)
{
    (void)bytes;
    return brood_queue_set_bound(stage->queue, OTHER_BOUND);
}

static int act_reap(struct stage *stage, size_t bytes)
{
    (void)bytes;
    return (int)brood_queue_lost(stage->queue, NULL);
}

static int act_discard(struct stage *stage, size_t bytes)
{
    (void)bytes;
    return brood_queue_shutdown(stage->queue, true);
}

/* So that the call is not its first: what a process finds out once is not the queue's. */
static void prepare(struct stage *stage)
{
    expect(brood_queue_task_done(stage->queue) == 0);
}

static void prepare_get(struct stage *stage)
{
    prepare(stage);
    expect(get_number(stage->queue, BROOD_NOW) > 0);
}

/* The process knows itself, and has no number yet. */
static void prepare_first(struct stage *stage)
{
    brood_auto(queue) *other = NULL;

    (void)stage;
    expect(brood_queue_open(&other, NULL) == 0);
    expect(put_number(other, 1, 8, BROOD_NOW) == 0);
}

/* ---- one that has died before ---- */

/* With a message in hand, and, where there is a ring, in the middle of a put. */
static void get_and_claim(void *argument)
{
    struct brood_queue *queue = argument;
    uint64_t position = 0;

    if (get_number(queue, BROOD_NOW) != 1)
        _exit(1);
    if (queue->kind == BROOD_FIFO)
        (void)ring_put_begin(queue_ring(queue), (unsigned)queue_me(queue, BROOD_NOW), 0, &position);
    (void)raise(SIGKILL);
}

static pid_t die_before(struct brood_queue *queue)
{
    pid_t pid = spawn(get_and_claim, queue);
    int status;

    expect(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    return pid;
}

/* ---- the victim ---- */

static void wait_on(_Atomic uint32_t *word)
{
    while (atomic_load(word) == 0)
        (void)syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void play(const struct scene *scene, struct stage *stage)
{
    static _Atomic uint32_t never;

    scene->prepare(stage);
    wait_on(&stage->go);
    atomic_store(&stage->outcome, scene->act(stage, scene->message_bytes));
    atomic_store(&stage->over, 1);
    wait_on(&never);
}

static void set_stage(const struct scene *scene, struct stage *stage)
{
    pid_t pid;

    expect(brood_queue_init(stage->queue, &scene->options) == 0);
    stage->go = stage->over = 0;
    /* One more, which is got by somebody who leaves, and which the victim says is done. */
    expect(put_number(stage->queue, 1, 8, BROOD_NOW) == 0 && get_number(stage->queue, BROOD_NOW) == 1);
    if (scene->prepare != prepare_first)
        (void)brood_queue_close(stage->queue);
    if (scene->prepare == prepare_first)
        expect(brood_queue_task_done(stage->queue) == 0);
    for (int i = 1; i <= scene->before; i++)
        expect(put_number(stage->queue, i, scene->message_bytes, BROOD_NOW) == 0);
    stage->dead = scene->act == act_reap ? die_before(stage->queue) : 0;
    pid = fork();
    expect(pid >= 0);
    if (pid == 0)
        play(scene, stage);
    stage->victim = pid;
    await(is_asleep(stage->victim));
}

/* ---- the account ---- */

/* How often each number came out. */
struct account {
    int got[VICTIMS + 1], total;
};

/* Returns why it ended. */
static int drain(struct stage *stage, struct account *account)
{
    int last = 0, number;

    while ((number = get_number(stage->queue, BROOD_NOW)) >= 0) {
        expect(number <= VICTIMS);
        if (stage->queue->kind == BROOD_FIFO)
            expect(number > last);
        last = number;
        account->got[number]++;
        account->total++;
        expect(brood_queue_task_done(stage->queue) == 0);
    }
    expect(number == -EAGAIN || number == -ETIMEDOUT || number == -ESHUTDOWN);
    return number;
}

/* Whatever is in the store or the ring, so many fit in. */
static int capacity(struct brood_queue *queue, size_t bytes)
{
    int count = 0, number;

    while (put_number(queue, 1, bytes, BROOD_NOW) == 0)
        count++;
    for (int i = 0; i < count; i++) {
        number = get_number(queue, BROOD_NOW);
        expect(number == 1);
        expect(brood_queue_task_done(queue) == 0);
    }
    expect(get_number(queue, BROOD_NOW) == -EAGAIN);
    return count;
}

static int capacity_of_new(const struct scene *scene)
{
    static struct brood_queue *queue;

    if (!queue)
        queue = shared_memory((size_t)1 << 20);
    expect(brood_queue_init(queue, &scene->options) == 0);
    int count = capacity(queue, scene->message_bytes);
    (void)brood_queue_close(queue);
    return count;
}

/* What was put is got once, or was lost with the victim; what it put itself is there if it came to the end. */
static void expect_accounts(const struct scene *scene, struct stage *stage)
{
    struct account account = {.total = 0};
    bool is_over = stage->over;
    int pid, lost = (int)brood_queue_lost(stage->queue, &pid), missing = 0, joined;

    (void)drain(stage, &account);
    for (int i = 1; i <= scene->before; i++) {
        expect(account.got[i] <= 1);
        missing += account.got[i] == 0;
    }
    if (scene->act == act_put) {
        expect(account.got[VICTIMS] <= 1);
        expect(account.got[VICTIMS] == 1 || !is_over);
    }
    if (scene->act != act_discard && scene->act != act_done)
        expect(missing == lost);
    if (scene->act == act_reap)
        expect(missing == 1 && account.got[1] == 0);
    if (scene->act == act_done)
        expect(missing == 1 && lost <= 1 && (!is_over || lost == 0));
    expect(lost == 0 || pid == (scene->act == act_reap ? stage->dead : stage->victim));
    joined = brood_queue_join(stage->queue, BROOD_NOW);
    ck_assert_msg(joined == (lost > 0 ? -EOWNERDEAD : 0), "%s: join %d, lost %d: %s", scene->name, joined, lost,
                  brood_error());
    expect(brood_queue_task_done(stage->queue) == -EOVERFLOW);
    expect(brood_queue_join(stage->queue, BROOD_NOW) == 0);
    expect(brood_queue_size(stage->queue) == 0);
    if (scene->act == act_set_bound) {
        expect(brood_queue_bound(stage->queue) == OTHER_BOUND || (brood_queue_bound(stage->queue) == BOUND && !is_over));
        expect(capacity(stage->queue, scene->message_bytes) == (int)brood_queue_bound(stage->queue));
    } else if (scene->act != act_discard)
        expect(capacity(stage->queue, scene->message_bytes) == capacity_of_new(scene));
    else
        expect(put_number(stage->queue, 1, 8, BROOD_NOW) == -ESHUTDOWN || !is_over);
    (void)brood_queue_close(stage->queue);
}

/* ---- rounds ---- */

/* Kills after the step with that number, or after that change of the queue. */
struct moment {
    unsigned long at;
    bool is_change;
};

static bool has_changed(const struct stage *stage, void *copy, size_t bytes)
{
    if (memcmp(copy, stage->queue, bytes) == 0)
        return false;
    memcpy(copy, stage->queue, bytes);
    return true;
}

/* True if the moment has come; else the call was over before. */
static bool walk_until(struct stepper *stepper, struct stage *stage, struct moment moment, void *copy, size_t bytes)
{
    unsigned long changes = 0;

    if (moment.is_change)
        memcpy(copy, stage->queue, bytes);
    while (!stage->over) {
        if ((moment.is_change ? changes : stepper->steps) == moment.at)
            return true;
        if (!stepper_step(stepper))
            return false;
        changes += moment.is_change && has_changed(stage, copy, bytes);
    }
    return false;
}

/* The victim stands still afterwards.  True if the moment has come. */
static bool lead(struct stepper *stepper, const struct scene *scene, struct stage *stage, struct moment moment)
{
    static char copy[1 << 18];
    size_t bytes = brood_queue_bytes(&scene->options);
    bool has_come;

    expect(bytes <= sizeof(copy));
    set_stage(scene, stage);
    stepper_seize(stepper, stage->victim);
    atomic_store(&stage->go, 1);
    (void)syscall(SYS_futex, &stage->go, FUTEX_WAKE, 1, NULL, NULL, 0);
    has_come = walk_until(stepper, stage, moment, copy, bytes);
    if (getenv("BROOD_STEPS_SHOW"))
        printf("%s: %s\n", scene->name, stepper_where(stepper));
    return has_come;
}

/* The number of steps, or 0 if the moment has come. */
static unsigned long play_round(const struct scene *scene, struct stage *stage, struct moment moment)
{
    struct stepper stepper;
    bool has_come = lead(&stepper, scene, stage, moment);

    stepper_kill(&stepper);
    expect_accounts(scene, stage);
    return has_come ? 0 : stepper.steps;
}

static unsigned long walk(const struct scene *scene, struct stage *stage, bool is_change)
{
    unsigned long steps = 0;

    for (unsigned long at = 0; steps == 0; at++)
        steps = play_round(scene, stage, (struct moment){at, is_change});
    return steps;
}

static void walk_at_random(const struct scene *scene, struct stage *stage, unsigned long steps)
{
    const char *given = getenv("BROOD_STEPS");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    int64_t end = now_ms() + RANDOM_MS;

    printf("%s: BROOD_STEPS=%u\n", scene->name, seed);
    srandom(seed);
    while (now_ms() < end)
        (void)play_round(scene, stage, (struct moment){(unsigned long)random() % steps, false});
}

/* ---- scenes ---- */

#define OPTIONS(...)                                                                                           \
    {                                                                                                          \
        .size = sizeof(struct brood_queue_options), .message_bytes = SLOT_BYTES, .joinable = true, __VA_ARGS__ \
    }

static const struct scene scenes[] = {
    {"put", OPTIONS(.bound = BOUND), 8, 2, prepare, act_put, false},
    {"put, as its first call", OPTIONS(.bound = BOUND), 8, 2, prepare_first, act_put, false},
    {"put below the ring's size", OPTIONS(.bound = BOUND - 1), 8, 2, prepare, act_put, false},
    {"put something long", OPTIONS(.bound = BOUND, .memory_bytes = 16384), LONG_BYTES, 2, prepare, act_put, false},
    {"put beside a full ring", OPTIONS(.bound = 100, .memory_bytes = 16384), 100, BOUND, prepare, act_put, true},
    {"put on a stack", OPTIONS(.kind = BROOD_LIFO, .bound = BOUND), 8, 2, prepare, act_put, false},
    {"put something long by priority", OPTIONS(.kind = BROOD_PRIORITY, .bound = BOUND, .memory_bytes = 16384), LONG_BYTES,
     2, prepare, act_put, false},
    {"get", OPTIONS(.bound = BOUND), 8, 2, prepare, act_get, false},
    {"get, as its first call", OPTIONS(.bound = BOUND), 8, 2, prepare_first, act_get, false},
    {"get something long", OPTIONS(.bound = BOUND, .memory_bytes = 16384), LONG_BYTES, 2, prepare, act_get, false},
    {"get from a stack", OPTIONS(.kind = BROOD_LIFO, .bound = BOUND), 8, 3, prepare, act_get, false},
    {"get something long by priority", OPTIONS(.kind = BROOD_PRIORITY, .bound = BOUND, .memory_bytes = 16384), LONG_BYTES,
     3, prepare, act_get, false},
    {"done", OPTIONS(.bound = BOUND), 8, 2, prepare_get, act_done, false},
    {"reap one that died in a put", OPTIONS(.bound = BOUND), 8, 3, prepare, act_reap, false},
    {"set the bound", OPTIONS(.bound = BOUND), 8, 2, prepare, act_set_bound, false},
    {"throw away", OPTIONS(.bound = BOUND), 8, 2, prepare, act_discard, false},
    {"throw away a stack", OPTIONS(.kind = BROOD_LIFO, .bound = BOUND), 8, 2, prepare, act_discard, false},
};
enum { SCENES = sizeof(scenes) / sizeof(scenes[0]) };

/* semantics: K14 */
START_TEST(a_user_of_a_queue_dies_at_any_step)
{
    const struct scene *scene = &scenes[_i];
    struct stage *stage = shared_memory(sizeof(*stage));
    const char *steps = getenv("BROOD_STEPS");

    current = scene;
    stage->queue = shared_memory(brood_queue_bytes(&scene->options));
    if (steps && strcmp(steps, "all") == 0)
        (void)walk(scene, stage, false);
    else
        walk_at_random(scene, stage, walk(scene, stage, true));
}
END_TEST

/* What the dead one was about to put does not keep the rest from being thrown away. */
START_TEST(all_is_discarded_after_any_death)
{
    const struct scene *scene = &scenes[_i];
    struct stage *stage = shared_memory(sizeof(*stage));
    bool has_come = true;

    current = scene;
    stage->queue = shared_memory(brood_queue_bytes(&scene->options));
    for (unsigned long at = 0; scene->act == act_put && has_come; at++) {
        struct stepper stepper;
        int joined;

        has_come = lead(&stepper, scene, stage, (struct moment){at, true});
        stepper_kill(&stepper);
        expect(brood_queue_shutdown(stage->queue, true) == 0);
        expect(brood_queue_size(stage->queue) == 0);
        joined = brood_queue_join(stage->queue, BROOD_NOW);
        expect(joined == 0 || joined == -EOWNERDEAD);
        (void)brood_queue_close(stage->queue);
    }
}
END_TEST

/* Of a queue that was shut down nobody hears that nothing is left while that may not be the last word: who stands still in
 * the middle of a get may die, and a message is there again. */
START_TEST(a_queue_is_not_drained_while_a_consumer_is_about_to_get)
{
    const struct scene *scene = &scenes[_i];
    struct stage *stage = shared_memory(sizeof(*stage));
    bool has_come = true;

    current = scene;
    stage->queue = shared_memory(brood_queue_bytes(&scene->options));
    for (unsigned long at = 0; scene->act == act_get && has_come; at++) {
        struct account account = {.total = 0};
        struct stepper stepper;
        int said, before;

        has_come = lead(&stepper, scene, stage, (struct moment){at, true});
        expect(brood_queue_shutdown(stage->queue, false) == 0);
        said = drain(stage, &account);
        before = account.total;
        stepper_kill(&stepper);
        expect(drain(stage, &account) == -ESHUTDOWN);
        expect(said != -ESHUTDOWN || account.total == before);
        expect(account.total + (int)brood_queue_lost(stage->queue, NULL) == scene->before);
        (void)brood_queue_close(stage->queue);
    }
}
END_TEST

/* Not by steps, to the end of its call. */
static void go_on(struct stepper *stepper, struct stage *stage)
{
    stepper_release(stepper);
    await(atomic_load(&stage->over) == 1);
}

/* The victim stands still in the middle of a put or a get while another shuts the queue down, and goes on then.  Whichever
 * of them comes to it, nothing is left. */
START_TEST(a_shutdown_in_the_middle_of_a_put_or_a_get_leaves_nothing)
{
    const struct scene *scene = &scenes[_i];
    struct stage *stage = shared_memory(sizeof(*stage));
    bool has_come = true;

    current = scene;
    stage->queue = shared_memory(brood_queue_bytes(&scene->options));
    for (unsigned long at = 0; (scene->act == act_put || scene->act == act_get) && has_come; at++) {
        struct stepper stepper;
        size_t in_hand;

        has_come = lead(&stepper, scene, stage, (struct moment){at, true});
        expect(brood_queue_shutdown(stage->queue, true) == 0);
        go_on(&stepper, stage);
        expect(stage->outcome >= 0 || stage->outcome == -ESHUTDOWN);
        in_hand = scene->act == act_get && stage->outcome >= 0;
        expect(brood_queue_size(stage->queue) == 0);
        expect(brood_queue_unfinished(stage->queue) == in_hand);
        put_to_death(stage->victim);
        expect(brood_queue_lost(stage->queue, NULL) == in_hand);
        (void)brood_queue_close(stage->queue);
    }
}
END_TEST

/* The victim stands still between any two steps of it while another sets a bound, and goes on then. */
START_TEST(of_two_that_set_the_bound_at_once_one_has_set_it)
{
    const struct scene *scene = &scenes[_i];
    struct stage *stage = shared_memory(sizeof(*stage));
    bool has_come = true;

    current = scene;
    stage->queue = shared_memory(brood_queue_bytes(&scene->options));
    for (unsigned long at = 0; scene->act == act_set_bound && has_come; at++) {
        struct account account = {.total = 0};
        struct stepper stepper;

        has_come = lead(&stepper, scene, stage, (struct moment){at, true});
        expect(brood_queue_set_bound(stage->queue, OTHER_BOUND + 1) == 0);
        go_on(&stepper, stage);
        put_to_death(stage->victim);
        (void)drain(stage, &account);
        expect(capacity(stage->queue, scene->message_bytes) == (int)brood_queue_bound(stage->queue));
        (void)brood_queue_close(stage->queue);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("steps of a queue");

    if (!stepper_is_possible()) {
        printf("skipped: ptrace is denied here, or does not step this processor\n");
        return 77;
    }
    add_loop_tests(suite, "deaths", 0, SCENES, a_user_of_a_queue_dies_at_any_step, all_is_discarded_after_any_death,
                   a_queue_is_not_drained_while_a_consumer_is_about_to_get,
                   of_two_that_set_the_bound_at_once_one_has_set_it,
                   a_shutdown_in_the_middle_of_a_put_or_a_get_leaves_nothing, NULL);
    return run_suite(suite);
}
