/* step_killer.c - kills a worker, or the supervisor, between any two instructions of what it does, and looks at what became
 * of the work.
 *
 * A round: a process of a pool is stopped where it sleeps, gets something to do, is led on step by step and killed at a
 * chosen moment.  Since it stands still then, its slot tells what has to come of each task: what it held is lost, and what
 * it did not hold is not.  A walk is a round for each moment, until the process goes to sleep again before the moment
 * comes.
 *
 * What a dead process leaves is what it has stored in shared memory and asked of the kernel.  So one kill after each step
 * that does either stands for all; that is the walk that is always made.  Then kills at random follow, for a while:
 *
 *   BROOD_STEPS=<seed>  the same random kills again
 *   BROOD_STEPS=all     a kill at every step instead of both, which takes minutes (ctest --preset steps)
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "os/clock.h"
#include "pool/future/future.h"
#include "proto/range.h"
#include "stepper.h"
#include "support.h"

#define RANDOM_MS 100   /* of kills at random in each walk */
#define SPARE_MS 1000   /* and where it takes long to get there, of nothing else */
#define PATIENCE 60000  /* ms in which any wait has to end */
#define HEAP_SPAN 65536 /* blocks of one size lie together in one of these */
#define HEAP_SEEN 1024  /* and this far into each is something that the tests use */

enum { AWAKE, ASLEEP, WAITERS }; /* does a thread of the host sleep until the work is done? */

/* ---- the work ---- */

struct cell {
    _Atomic int begun, ended;
};

struct gate {
    _Atomic uint32_t is_open;
    _Atomic int worker; /* who stands there, + 1 */
};

struct assignment {
    struct cell *cell;
    struct gate *gate; /* to stand at, or NULL */
    int value;
};
_Static_assert(sizeof(struct assignment) <= SLOT_ARG_BYTES, "it goes into a slot");

static void stand_at(struct gate *gate)
{
    atomic_store(&gate->worker, brood_worker_id() + 1);
    while (!atomic_load(&gate->is_open))
        (void)syscall(SYS_futex, &gate->is_open, FUTEX_WAIT, 0, NULL, NULL, 0);
}

BROOD_TASK(run_assignment, struct assignment, int)
{
    atomic_fetch_add(&arg->cell->begun, 1);
    if (arg->gate)
        stand_at(arg->gate);
    *result = arg->value * 3 + 1;
    atomic_fetch_add(&arg->cell->ended, 1);
    return 0;
}

#define LARGE_BYTES 2000 /* more than is put aside */

BROOD_TASK_BYTES(run_large_assignment, BROOD_ANY_SIZE)
{
    const struct assignment *assignment = arg.ptr;
    unsigned char *to = brood_reply_space(reply, LARGE_BYTES);

    atomic_fetch_add(&assignment->cell->begun, 1);
    if (to)
        memset(to, assignment->value * 3 + 1, LARGE_BYTES);
    atomic_fetch_add(&assignment->cell->ended, 1);
    return 0;
}

/* ---- the scene ---- */

enum { GATES = 2, JOBS = 8, ITEMS = 4, CELLS = JOBS + ITEMS };

struct job_seen {
    struct brood_future *future;
    struct assignment assignment;
    bool is_large;
    uint64_t ref; /* its slot */
};

/* What the victim held when it was killed. */
struct hand {
    bool task, item;
    uint64_t ref;    /* the task's slot */
    uint64_t number; /* of the item */
};

struct scene {
    const struct story *story;
    struct brood_pool *pool;
    struct shared *shared;
    struct cell *cells;
    struct gate *gates;
    struct job_seen jobs[JOBS];
    int job_count;
    struct brood_future *map;
    struct assignment items[ITEMS];
    int results[ITEMS];
    unsigned victim;
    pid_t victim_pid;
    struct stepper stepper;
    struct hand hand;
    bool has_waiter;
    pthread_t waiter;
    _Atomic pid_t waiter_tid;
    unsigned seed;
};

struct story {
    int workers;
    /* Leads the victim to where it sleeps, and chooses it. */
    void (*prepare)(struct scene *scene);
    /* Gives it something to do. */
    void (*submit)(struct scene *scene);
    int spares;
    int bystanders; /* the first jobs are at the first gate, and not the victim's */
};

static const char *say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *say(const char *format, ...)
{
    static char text[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return text;
}

#define expect(scene, what, ...)                                                                                  \
    ck_assert_msg(what, "killed at %s (seed %u): %s: %s", stepper_where(&(scene)->stepper), (scene)->seed, #what, \
                  say(__VA_ARGS__))

static bool rests(const struct scene *scene, unsigned worker)
{
    pid_t pid = brood_pool_worker_pid(scene->pool, (int)worker);

    return pid > 0 && brood__idle_is(scene->shared->header, worker) && is_asleep(pid);
}

/* … until somebody wakes it: the lookout wakes up by itself, and so does once who has just gone to sleep. */
static bool all_rest(const struct scene *scene)
{
    for (unsigned i = 0; i < scene->shared->header->workers; i++)
        if (atomic_load(&scene->shared->lanes[i].worker_state->pace_ns) != 0 || !rests(scene, i))
            return false;
    return !brood__watcher_any(scene->shared->header);
}

static void choose(struct scene *scene, unsigned victim)
{
    scene->victim = victim;
    scene->victim_pid = brood_pool_worker_pid(scene->pool, (int)victim);
}

static void submit_job(struct scene *scene, struct gate *gate)
{
    int i = scene->job_count++;
    struct job_seen *job = &scene->jobs[i];

    job->assignment = (struct assignment){&scene->cells[i], gate, i};
    ck_assert_int_eq(brood_apply_async(scene->pool, run_assignment, &job->future, &job->assignment), 0);
    job->ref = slot_ref(job->future->job.lane, job->future->job.position);
}

static void submit_large(struct scene *scene)
{
    int i = scene->job_count++;
    struct job_seen *job = &scene->jobs[i];

    job->assignment = (struct assignment){&scene->cells[i], NULL, i + 1};
    job->is_large = true;
    ck_assert_int_eq(brood_apply_bytes_async(scene->pool, run_large_assignment, &job->future,
                                             ((struct brood_bytes){&job->assignment, sizeof(job->assignment)})),
                     0);
    job->ref = slot_ref(job->future->job.lane, job->future->job.position);
}

static void submit_map(struct scene *scene, size_t chunk)
{
    for (int i = 0; i < ITEMS; i++)
        scene->items[i] = (struct assignment){&scene->cells[JOBS + i], NULL, i};
    ck_assert_int_eq(brood_pool_map_async(scene->pool, &run_assignment.task, &scene->map, scene->results, scene->items,
                                          ITEMS, BROOD_MAP(.chunk = chunk)),
                     0);
}

/* The worker that stands there; it sleeps. */
static unsigned await_at(const struct scene *scene, struct gate *gate)
{
    await(atomic_load(&gate->worker) > 0);
    unsigned worker = (unsigned)atomic_load(&gate->worker) - 1;

    await(is_asleep(brood_pool_worker_pid(scene->pool, (int)worker)));
    return worker;
}

static void open_gate(struct gate *gate)
{
    atomic_store(&gate->is_open, 1);
    (void)syscall(SYS_futex, &gate->is_open, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void *wait_for_last(void *argument)
{
    struct scene *scene = argument;
    struct brood_future *last = scene->map ? scene->map : scene->jobs[scene->job_count - 1].future;

    scene->waiter_tid = (pid_t)syscall(SYS_gettid);
    return (void *)(intptr_t)brood_future_wait(last, BROOD_FOREVER);
}

static void start_thread(struct scene *scene, void *(*body)(void *))
{
    scene->waiter_tid = 0;
    ck_assert_int_eq(pthread_create(&scene->waiter, NULL, body, scene), 0);
    await(scene->waiter_tid != 0);
}

static void start_waiter(struct scene *scene)
{
    if (!scene->has_waiter)
        return;
    start_thread(scene, wait_for_last);
    await(atomic_load(&scene->shared->header->asleep) != 0 && is_asleep(scene->waiter_tid));
}

static void set_scene(struct scene *scene)
{
    memset(scene->cells, 0, CELLS * sizeof(struct cell));
    memset(scene->gates, 0, GATES * sizeof(struct gate));
    memset(scene->jobs, 0, sizeof(scene->jobs));
    scene->job_count = 0;
    scene->map = NULL;
    await(all_rest(scene));
}

static void open_scene(struct scene *ret_scene, const struct story *story, int waiter)
{
    struct scene scene = {.story = story, .has_waiter = waiter == ASLEEP};

    ck_assert_int_eq(
        brood_pool_open(&scene.pool, BROOD_POOL(.workers = story->workers, .queue = JOBS, .spares = story->spares)), 0);
    scene.shared = &scene.pool->shared;
    scene.cells = brood_alloc(scene.pool, CELLS * sizeof(struct cell));
    scene.gates = brood_alloc(scene.pool, GATES * sizeof(struct gate));
    ck_assert_ptr_nonnull(scene.cells);
    ck_assert_ptr_nonnull(scene.gates);
    *ret_scene = scene;
}

/* ---- up to the moment ---- */

struct moment {
    bool by_change;   /* count what others can see of it, not its steps */
    unsigned long at; /* so many after it has got something to do */
};

static uint64_t mix(uint64_t digest, const void *from, const void *to)
{
    for (const uint64_t *word = from; word < (const uint64_t *)to; word++)
        digest = (digest ^ *word) * 0x9e3779b97f4a7c15u;
    return digest;
}

/* Of all that the pool's processes share, but for the names of tasks and what is free. */
static uint64_t digest_of(const struct scene *scene)
{
    const struct shared *shared = scene->shared;
    const char *heap = shared->segment.base + scene->pool->heap.start;
    uint64_t digest = mix(0, shared->header, shared->header->tasks);

    digest = mix(digest, shared->lanes[0].worker_state, shared->segment.base + shared->header->heap_offset);
    for (size_t i = 0; i < scene->pool->heap.span_count; i++)
        digest = mix(digest, heap + i * HEAP_SPAN, heap + i * HEAP_SPAN + HEAP_SEEN);
    return digest;
}

/* False if the victim has gone to sleep before the moment has come. */
static bool walk_until(struct scene *scene, struct moment moment)
{
    struct stepper *stepper = &scene->stepper;
    uint64_t before = moment.by_change ? digest_of(scene) : 0, now = 0;
    unsigned long count = 0;

    while (count < moment.at) {
        if (!stepper_step(stepper))
            return false;
        if (moment.by_change)
            now = digest_of(scene);
        count += !moment.by_change || now != before || stepper->was_call;
        before = now;
    }
    return true;
}

static struct hand look_into_hand(const struct scene *scene)
{
    struct hand hand = {.task = false};
    unsigned lane;
    uint64_t position;
    const struct slot *slot =
        brood__lane_held_by(scene->shared->lanes, scene->shared->header->workers, scene->victim, &lane, &position);

    hand.task = slot != NULL;
    if (!slot)
        return hand;
    hand.ref = slot_ref(lane, position);
    if (slot->kind != SLOT_MAP)
        return hand;
    const char *base = scene->shared->segment.base;
    const struct window *window = (const void *)(base + slot->arg.offset);
    const _Atomic int16_t *status = (const void *)(base + window->status);
    uint64_t named = atomic_load(&window->ranges[scene->victim].item);

    hand.item = named > 0 && atomic_load(&status[named - 1]) == ITEM_WAITING;
    hand.number = named - 1;
    return hand;
}

/* ---- what became of it ---- */

static void expect_death(struct scene *scene, struct brood_future *future, uint64_t item)
{
    struct brood_death death = {0};

    expect(scene, brood_future_death(future, &death) == 0, "no certificate");
    expect(scene, death.pid == scene->victim_pid, "%d died, not %d", scene->victim_pid, death.pid);
    expect(scene, death.worker == (int)scene->victim, "worker %d", death.worker);
    expect(scene, death.signal == SIGKILL, "signal %d", death.signal);
    expect(scene, death.item == item, "item %lu, not %lu", (unsigned long)item, (unsigned long)death.item);
}

/* Nothing runs twice, and what is done has run. */
static void expect_count(struct scene *scene, const struct assignment *assignment, int outcome)
{
    int begun = atomic_load(&assignment->cell->begun), ended = atomic_load(&assignment->cell->ended);

    if (outcome == 0)
        expect(scene, begun == 1 && ended == 1, "assignment %d: begun %d times, ended %d times", assignment->value, begun,
               ended);
    else
        expect(scene, ended <= begun && begun <= 1, "assignment %d: begun %d times, ended %d times", assignment->value,
               begun, ended);
}

/* A wait that is not woken ends well too, at its deadline. */
static void expect_wait(struct scene *scene, struct brood_future *future)
{
    int64_t began = now_ms();

    expect(scene, brood_future_wait(future, brood_after_ms(PATIENCE)) == 0, "the wait does not end");
    expect(scene, now_ms() - began < PATIENCE, "the wait was not woken");
}

/* The outcome; of a large result, all of it has to be the same, which is what goes to *ret_result. */
static int take_result(struct scene *scene, const struct job_seen *job, int *ret_result)
{
    unsigned char bytes[LARGE_BYTES];
    struct stat st;
    int outcome;

    if (!job->is_large)
        return brood_future_result(job->future, ret_result, sizeof(*ret_result));
    outcome = brood_future_result(job->future, bytes, sizeof(bytes));
    *ret_result = bytes[0];
    expect(scene, outcome < 0 || memcmp(bytes, bytes + 1, sizeof(bytes) - 1) == 0, "it is torn");
    expect(scene, fstat(scene->shared->large.fd, &st) == 0 && st.st_blocks == 0, "%ld blocks have leaked",
           (long)st.st_blocks);
    return outcome;
}

static void expect_job(struct scene *scene, const struct job_seen *job)
{
    bool is_lost = scene->hand.task && scene->hand.ref == job->ref;
    int result = 0, value = job->assignment.value, outcome;

    expect_wait(scene, job->future);
    outcome = take_result(scene, job, &result);
    expect(scene, outcome == (is_lost ? -EOWNERDEAD : 0), "assignment %d: %d, %s", value, outcome,
           brood_future_error(job->future));
    expect_count(scene, &job->assignment, outcome);
    if (is_lost)
        expect_death(scene, job->future, 0);
    else
        expect(scene, result == value * 3 + 1, "assignment %d: %d", value, result);
}

static void expect_item(struct scene *scene, size_t i)
{
    bool is_lost = scene->hand.item && scene->hand.number == i;
    int outcome = brood_future_item(scene->map, i);

    expect(scene, outcome == (is_lost ? -EOWNERDEAD : 0), "item %zu: %d, %s", i, outcome, brood_future_error(scene->map));
    expect_count(scene, &scene->items[i], outcome);
    if (is_lost)
        expect_death(scene, scene->map, i);
    else
        expect(scene, scene->results[i] == (int)i * 3 + 1, "item %zu: %d", i, scene->results[i]);
}

static void expect_map(struct scene *scene)
{
    if (!scene->map)
        return;
    expect_wait(scene, scene->map);
    for (size_t i = 0; i < ITEMS; i++)
        expect_item(scene, i);
    brood_future_free(scene->map);
}

static void expect_waiter(struct scene *scene)
{
    struct timespec until;
    void *r = NULL;

    if (!scene->has_waiter)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE / 1000;
    expect(scene, pthread_timedjoin_np(scene->waiter, &r, &until) == 0, "the sleeping thread was never woken");
    expect(scene, r == NULL, "the sleeping thread got an error");
}

static void expect_jobs(struct scene *scene, int from, int end)
{
    for (int i = from; i < end; i++) {
        expect_job(scene, &scene->jobs[i]);
        brood_future_free(scene->jobs[i].future);
    }
}

/* What the dead one left waiting gets done although the bystanders are still busy; and then the pool goes on. */
static void expect_all_well(struct scene *scene)
{
    int bystanders = scene->story->bystanders, jobs = scene->job_count;

    expect_waiter(scene);
    expect_map(scene);
    expect_jobs(scene, bystanders, jobs);
    open_gate(&scene->gates[0]);
    expect_jobs(scene, 0, bystanders);
    submit_job(scene, NULL);
    expect_jobs(scene, jobs, jobs + 1);
}

/* ---- rounds and walks ---- */

static bool play_round(struct scene *scene, struct moment moment)
{
    bool has_come;

    set_scene(scene);
    scene->story->prepare(scene);
    stepper_seize(&scene->stepper, scene->victim_pid);
    scene->story->submit(scene);
    start_waiter(scene);

    has_come = walk_until(scene, moment);
    scene->hand = look_into_hand(scene);
    stepper_kill(&scene->stepper);

    expect(scene, has_come || !scene->hand.task, "it has gone to sleep with a task");
    expect_all_well(scene);
    return has_come;
}

/* A kill after each thing that is counted; how many steps there are. */
static unsigned long walk(struct scene *scene, bool (*play)(struct scene *, struct moment), bool by_change)
{
    struct moment moment = {.by_change = by_change};

    while (play(scene, moment))
        moment.at++;
    ck_assert_uint_gt(moment.at, 5); /* or there was no walk at all */
    return scene->stepper.steps;
}

static void walk_at_random(struct scene *scene, bool (*play)(struct scene *, struct moment), unsigned long steps, int ms)
{
    const char *seed = getenv("BROOD_STEPS");
    int64_t end = now_ms() + ms;

    scene->seed = seed ? (unsigned)strtoul(seed, NULL, 0) : (unsigned)brood__now_ns();
    srandom(scene->seed);
    while (now_ms() < end)
        (void)play(scene, (struct moment){.at = (unsigned long)random() % steps});
}

static void walk_through(struct scene *scene, bool (*play)(struct scene *, struct moment))
{
    const char *steps = getenv("BROOD_STEPS");

    if (steps && strcmp(steps, "all") == 0)
        (void)walk(scene, play, false);
    else
        walk_at_random(scene, play, walk(scene, play, true), RANDOM_MS);
}

static void tell(const struct story *story, int waiter)
{
    struct scene scene;

    open_scene(&scene, story, waiter);
    walk_through(&scene, play_round);
    ck_assert_int_eq(brood_pool_close(scene.pool, BROOD_FOREVER), 0);
}

/* ---- a worker ---- */

static void take_the_idle_one(struct scene *scene)
{
    choose(scene, 0);
}

static void submit_one(struct scene *scene)
{
    submit_job(scene, NULL);
}

START_TEST(a_worker_with_one_task_dies_at_any_step)
{
    tell(&(struct story){.workers = 1, .prepare = take_the_idle_one, .submit = submit_one}, _i);
}
END_TEST

START_TEST(a_worker_with_a_large_result_dies_at_any_step)
{
    tell(&(struct story){.workers = 1, .prepare = take_the_idle_one, .submit = submit_large}, _i);
}
END_TEST

/* The other one sleeps, and is nobody's help unless it is woken. */
static void take_whose_lane_is_next(struct scene *scene)
{
    choose(scene, scene->pool->last_lane);
}

START_TEST(a_worker_beside_an_idle_one_dies_at_any_step)
{
    tell(&(struct story){.workers = 2, .prepare = take_whose_lane_is_next, .submit = submit_one}, _i);
}
END_TEST

static void submit_several(struct scene *scene)
{
    for (int i = 0; i < 3; i++)
        submit_job(scene, NULL);
}

START_TEST(a_worker_with_a_full_lane_dies_at_any_step)
{
    tell(&(struct story){.workers = 1, .prepare = take_the_idle_one, .submit = submit_several}, _i);
}
END_TEST

/* Two stand at a gate each; what comes next waits behind them, and the second will have to steal some of it. */
static void put_all_at_gates(struct scene *scene)
{
    submit_job(scene, &scene->gates[0]);
    (void)await_at(scene, &scene->gates[0]);
    submit_job(scene, &scene->gates[1]);
    choose(scene, await_at(scene, &scene->gates[1]));
}

static void submit_behind_gates(struct scene *scene)
{
    submit_job(scene, NULL);
    submit_job(scene, NULL);
    open_gate(&scene->gates[1]);
}

START_TEST(a_worker_that_steals_dies_at_any_step)
{
    tell(&(struct story){.workers = 2, .prepare = put_all_at_gates, .submit = submit_behind_gates, .bystanders = 1}, _i);
}
END_TEST

static void submit_items(struct scene *scene)
{
    submit_map(scene, 0);
}

START_TEST(a_worker_in_a_map_dies_at_any_step)
{
    tell(&(struct story){.workers = 1, .prepare = take_the_idle_one, .submit = submit_items}, _i);
}
END_TEST

static void put_one_at_a_gate(struct scene *scene)
{
    submit_job(scene, &scene->gates[0]);
    choose(scene, 1 - await_at(scene, &scene->gates[0]));
    await(rests(scene, scene->victim));
}

static void submit_items_one_by_one(struct scene *scene)
{
    submit_map(scene, 1);
}

START_TEST(a_worker_that_steals_items_dies_at_any_step)
{
    tell(&(struct story){.workers = 2, .prepare = put_one_at_a_gate, .submit = submit_items_one_by_one, .bystanders = 1},
         _i);
}
END_TEST

/* Its only child: the fixture lets no other one be. */
static pid_t supervisor_of(const struct scene *scene)
{
    return (pid_t)(atomic_load(&scene->shared->header->life) & FUTEX_TID_MASK);
}

/* ---- a worker that starts ---- */

/* A worker has a task, and others wait behind it; the second of them stands at a gate for as long as nobody opens it. */
static void leave_work_behind(struct scene *scene)
{
    submit_job(scene, &scene->gates[0]);
    choose(scene, await_at(scene, &scene->gates[0]));
    submit_job(scene, NULL);
    submit_job(scene, &scene->gates[1]);
    await(is_asleep(supervisor_of(scene)));
}

/* The worker dies, and the next one is stopped before its first step. */
static void have_a_successor(struct scene *scene)
{
    leave_work_behind(scene);
    stepper_watch_parent(supervisor_of(scene));
    scene->hand = (struct hand){.task = true, .ref = scene->jobs[0].ref};
    ck_assert_int_eq(kill(scene->victim_pid, SIGKILL), 0);
    stepper_seize_child(&scene->stepper, supervisor_of(scene));
}

/* The successor is stopped, has come to be worker 0 or is about to, and dies then. */
static bool watch_successor(struct scene *scene, struct moment moment)
{
    struct hand hand;
    bool has_come;

    expect_jobs(scene, 0, 1);
    start_waiter(scene);

    has_come = walk_until(scene, moment);
    hand = look_into_hand(scene);
    stepper_kill(&scene->stepper);

    scene->hand = hand;
    scene->victim_pid = scene->stepper.pid;
    expect_waiter(scene);
    expect_jobs(scene, 1, scene->job_count);
    return has_come;
}

static bool play_start(struct scene *scene, struct moment moment)
{
    set_scene(scene);
    open_gate(&scene->gates[1]);
    have_a_successor(scene);
    return watch_successor(scene, moment);
}

static bool sleeps_in(pid_t pid, long call)
{
    char path[64];
    long now = -1;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
    file = fopen(path, "re");
    if (file && fscanf(file, "%ld", &now) != 1)
        now = -1;
    if (file)
        (void)fclose(file);
    return now == call && is_asleep(pid);
}

/* A child of the supervisor that waits for its number; 0: there is none yet. */
static pid_t find_spare(const struct scene *scene)
{
    pid_t supervisor = supervisor_of(scene), child, found = 0;
    char path[64];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", supervisor, supervisor);
    file = fopen(path, "re");
    while (file && fscanf(file, "%d", &child) == 1)
        if (child != scene->victim_pid && sleeps_in(child, SYS_recvfrom))
            found = child;
    if (file)
        (void)fclose(file);
    return found;
}

/* It is stopped where it waits for its number, and the supervisor has sent that when the walk begins. */
static bool play_spare(struct scene *scene, struct moment moment)
{
    pid_t spare = 0;

    set_scene(scene);
    open_gate(&scene->gates[1]);
    leave_work_behind(scene);
    await((spare = find_spare(scene)) > 0);
    stepper_seize(&scene->stepper, spare);
    scene->hand = (struct hand){.task = true, .ref = scene->jobs[0].ref};
    ck_assert_int_eq(kill(scene->victim_pid, SIGKILL), 0);
    await(state_of(scene->victim_pid) == '?' && is_asleep(supervisor_of(scene)));
    return watch_successor(scene, moment);
}

START_TEST(a_spare_that_takes_over_dies_at_any_step)
{
    struct scene scene;

    open_scene(&scene, &(struct story){.workers = 1, .spares = 1}, _i);
    (void)play_spare(&scene, (struct moment){.at = ULONG_MAX});
    walk_at_random(&scene, play_spare, scene.stepper.steps, SPARE_MS);
    ck_assert_int_eq(brood_pool_close(scene.pool, BROOD_FOREVER), 0);
}
END_TEST

START_TEST(a_worker_that_starts_dies_at_any_step)
{
    struct scene scene;

    open_scene(&scene, &(struct story){.workers = 1}, _i);
    walk_through(&scene, play_start);
    ck_assert_int_eq(brood_pool_close(scene.pool, BROOD_FOREVER), 0);
}
END_TEST

/* ---- the supervisor ---- */

static const char *const pollers[] = {"uring", "epoll", "poll"};
enum { POLLERS = sizeof(pollers) / sizeof(pollers[0]) };

static bool is_alone(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

/* What the supervisor has told of the first task, which was running when its worker died, stands; the second is done if the
 * last worker has done it. */
static void expect_end(struct scene *scene, bool was_told)
{
    for (int i = 0; i < scene->job_count; i++) {
        const struct job_seen *job = &scene->jobs[i];
        int result = 0, outcome;

        expect_wait(scene, job->future);
        outcome = brood_future_result(job->future, &result, sizeof(result));
        if (i == 0 && was_told)
            expect_death(scene, job->future, 0);
        expect(scene, outcome == (i == 0 && was_told ? -EOWNERDEAD : -ESHUTDOWN) || (i == 1 && outcome == 0),
               "assignment %d: %d, %s", i, outcome, brood_future_error(job->future));
        expect(scene, outcome < 0 || result == i * 3 + 1, "assignment %d: %d", i, result);
        expect_count(scene, &job->assignment, outcome);
    }
}

static void free_jobs(struct scene *scene)
{
    for (int i = 0; i < scene->job_count; i++)
        brood_future_free(scene->jobs[i].future);
}

static void expect_broken(struct scene *scene, bool was_told)
{
    expect_waiter(scene);
    expect_end(scene, was_told);
    expect(scene, brood_apply(scene->pool, run_assignment, &(int){0}, &scene->jobs[0].assignment) == -ESHUTDOWN, "%s",
           brood_error());
    expect(scene, brood_pool_close(scene->pool, BROOD_FOREVER) == -ETIMEDOUT, "%s", brood_error());
    free_jobs(scene);
    await(is_alone());
}

/* It has a worker to reap and one to start. */
static void prepare_reaping(struct scene *scene)
{
    leave_work_behind(scene);
    stepper_seize(&scene->stepper, supervisor_of(scene));
    ck_assert_int_eq(kill(scene->victim_pid, SIGKILL), 0);
    await(state_of(scene->victim_pid) == 'Z');
}

/* A pool for each round, since it does not survive its supervisor. */
static bool play_reaping(struct scene *scene, struct moment moment)
{
    struct hand hand;
    bool has_come, was_told;

    open_scene(scene, scene->story, ASLEEP);
    set_scene(scene);
    prepare_reaping(scene);
    start_waiter(scene);

    has_come = walk_until(scene, moment);
    hand = look_into_hand(scene); /* of the dead worker, or of the next one of the same number */
    was_told = !hand.task || hand.ref != scene->jobs[0].ref;
    stepper_kill_child(&scene->stepper);

    expect_broken(scene, was_told);
    return has_come;
}

START_TEST(a_supervisor_that_reaps_and_forks_dies_at_any_step)
{
    struct scene scene = {.story = &(struct story){.workers = 1}};

    ck_assert_int_eq(setenv("BROOD_POLLER", pollers[_i], 1), 0);
    walk_through(&scene, play_reaping);
}
END_TEST

/* The supervisor dies when a worker that it has forked has come so far.  That one has no supervisor, whatever it knows. */
static bool play_orphan(struct scene *scene, struct moment moment)
{
    bool has_come;
    siginfo_t info;
    pid_t supervisor;

    open_scene(scene, scene->story, ASLEEP);
    set_scene(scene);
    supervisor = supervisor_of(scene);
    have_a_successor(scene);
    start_waiter(scene);

    has_come = walk_until(scene, moment);
    ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)supervisor, &info, WEXITED | WNOWAIT), 0);
    stepper_release(&scene->stepper);

    expect_broken(scene, true);
    return has_come;
}

START_TEST(a_worker_that_starts_goes_with_its_supervisor_at_any_step)
{
    struct scene scene = {.story = &(struct story){.workers = 1}};

    walk_through(&scene, play_orphan);
}
END_TEST

static void *close_pool(void *argument)
{
    struct scene *scene = argument;

    scene->waiter_tid = (pid_t)syscall(SYS_gettid);
    return (void *)(intptr_t)brood_pool_close(scene->pool, BROOD_FOREVER);
}

/* The worker has left already, and is reaped; all of it with nothing to do. */
static bool play_stop(struct scene *scene, struct moment moment)
{
    bool has_come;
    pid_t supervisor;

    open_scene(scene, scene->story, ASLEEP);
    set_scene(scene);
    choose(scene, 0);
    supervisor = supervisor_of(scene);
    await(is_asleep(supervisor));
    stepper_seize(&scene->stepper, supervisor);
    start_thread(scene, close_pool);
    await(state_of(scene->victim_pid) == 'Z' && is_asleep(scene->waiter_tid));

    has_come = walk_until(scene, moment);
    stepper_kill_child(&scene->stepper);

    expect_waiter(scene);
    await(is_alone());
    return has_come;
}

START_TEST(a_supervisor_that_stops_dies_at_any_step)
{
    struct scene scene = {.story = &(struct story){.workers = 1}};

    ck_assert_int_eq(setenv("BROOD_POLLER", pollers[_i], 1), 0);
    walk_through(&scene, play_stop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("steps");

    if (!stepper_is_possible()) {
        printf("skipped: ptrace is denied here, or does not step this processor\n");
        return 77;
    }
    add_loop_tests(suite, "a worker", 0, WAITERS, a_worker_with_one_task_dies_at_any_step,
                   a_worker_with_a_large_result_dies_at_any_step, a_worker_beside_an_idle_one_dies_at_any_step,
                   a_worker_with_a_full_lane_dies_at_any_step, a_worker_in_a_map_dies_at_any_step, NULL);
    add_loop_tests(suite, "a thief", ASLEEP, WAITERS, a_worker_that_steals_dies_at_any_step,
                   a_worker_that_steals_items_dies_at_any_step, NULL);
    add_loop_tests(suite, "a new worker", ASLEEP, WAITERS, a_worker_that_starts_dies_at_any_step, NULL);
    add_loop_tests(suite, "a spare", ASLEEP, WAITERS, a_spare_that_takes_over_dies_at_any_step, NULL);
    add_loop_tests(suite, "the supervisor", 0, POLLERS, a_supervisor_that_reaps_and_forks_dies_at_any_step,
                   a_supervisor_that_stops_dies_at_any_step, NULL);
    add_tests(suite, "orphans", a_worker_that_starts_goes_with_its_supervisor_at_any_step, NULL);
    return run_suite(suite);
}
