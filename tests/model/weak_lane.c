/* weak_lane.c - lib/proto/lane.h, lane.c and header.c as they are: a task goes to a worker and its answer comes back, a worker
 * or the host sleeps meanwhile, and a worker dies of it.
 */
#include "model/weak_code.h"
#include "model/weak_models.h"

#include "proto/header.c"
#include "proto/lane.c"

#define WORKERS 2
#define SLOTS 2 /* of a ring; the mailbox comes after them */
#define HOST_PARKER 1

static struct header header;
static struct worker_state worker_states[WORKERS];
static struct slot slots[WORKERS][SLOTS + 1];
static struct slot_extension extensions[WORKERS][SLOTS + 1];
static struct lane lanes[WORKERS];
static struct shared shared;
static _Atomic uint64_t dead; /* what the kernel knows of a process's end, and tells all who ask */
static unsigned runs[WORKERS];

static void prepare(void)
{
    memset(&header, 0, sizeof(header));
    memset(worker_states, 0, sizeof(worker_states));
    memset(slots, 0, sizeof(slots));
    dead = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        lanes[i] = (struct lane){.slots = slots[i],
                                 .extensions = extensions[i],
                                 .worker_state = &worker_states[i],
                                 .mask = SLOTS - 1,
                                 .depth = SLOTS};
        worker_states[i].head = lane_first_position(&lanes[i]);
    }
    shared = (struct shared){.header = &header, .lanes = lanes, .workers = WORKERS};
    brood__fence_is_symmetric = false;
    weak_name(&slots[0][0].word, "word");
    weak_name(&slots[0][0].arg, "argument");
    weak_name(&slots[0][0].result, "result");
    weak_name(&slots[0][0].waiter, "waiter");
    weak_name(&slots[0][1].word, "other word");
    weak_name(&slots[0][SLOTS].word, "mailbox");
    weak_name(&worker_states[0].current, "current 0");
    weak_name(&worker_states[0].head, "head 0");
    weak_name(&worker_states[1].current, "current 1");
    weak_name(&worker_states[0].parker.generation, "generation 0");
    weak_name(&header.idle[0], "idle");
    weak_name(&header.asleep, "asleep");
    weak_name(&header.parkers[HOST_PARKER].generation, "generation of the host");
    weak_name(&header.parkers[0].generation, "generation of all");
    weak_name(&dead, "dead");
}

/* ---- the host ---- */

static uint64_t first_position(void)
{
    return lane_first_position(&lanes[0]);
}

static struct slot *slot_of(uint64_t position)
{
    return &slots[0][lane_index(&lanes[0], position)];
}

static void submit(uint64_t position)
{
    struct slot *slot = slot_of(position);

    weak_plain_store(&slot->arg, position);
    atomic_store_explicit(&slot->waiter, WAITER_NONE, memory_order_relaxed);
    slot_publish(slot, position);
}

static void submit_and_wake(uint64_t position)
{
    submit(position);
    brood__fence_light();
    if (brood__idle_any(&shared))
        (void)brood__idle_wake(&shared, 0, NULL);
}

static bool is_answered(uint64_t position)
{
    struct slot *slot = slot_of(position);
    uint64_t word = slot_look(slot);

    if (word_position(word) != position || word_state(word) < SLOT_DONE)
        return false;
    if (word_state(word) == SLOT_DONE)
        weak_check(weak_plain_load(&slot->result) == 2 * position, "the result is another");
    return true;
}

static void submits(void)
{
    submit(first_position());
}

static void submits_and_wakes(void)
{
    submit_and_wake(first_position());
}

/* The slot is used again as soon as it is answered. */
static void submits_twice(void)
{
    submit(first_position());
    if (!is_answered(first_position()))
        weak_give_up();
    submit(first_position() + SLOTS);
}

/* The first task goes to the mailbox, as no other is in the lane, and the second into the ring. */
static void submits_to_mailbox_and_ring(void)
{
    submit(MAILBOX | 1);
    submit(first_position());
}

static void submits_and_cancels(void)
{
    submit(first_position());
    if (slot_cancel(slot_of(first_position()), first_position()))
        runs[0]++; /* as if: it is over */
}

/* As brood__sleep() does (pool/core/wait.c). */
static void submits_and_sleeps(void)
{
    struct parker *parker = &header.parkers[HOST_PARKER];
    uint64_t position = first_position();

    submit(position);
    for (int laps = 0; laps < 3; laps++) {
        uint32_t seen = brood__parker_look(parker);

        atomic_store_explicit(&header.asleep, (uint64_t)1 << HOST_PARKER, memory_order_relaxed);
        (void)slot_add_waiter(slot_of(position), WAITER_NONE, HOST_PARKER);
        (void)brood__fence_heavy();
        if (is_answered(position))
            return;
        brood__parker_sleep(parker, seen, NULL, 0, (brood_deadline){INT64_MAX});
    }
    weak_check(is_answered(position), "the host was woken too early to be woken again");
}

/* ---- workers ---- */

static void run(unsigned worker, uint64_t position)
{
    struct slot *slot = slot_of(position);

    runs[worker]++;
    weak_check(weak_plain_load(&slot->arg) == position, "the argument is another");
    weak_plain_store(&slot->result, 2 * position);
}

static void answer(unsigned worker, uint64_t position)
{
    slot_answer(slot_of(position), position, worker);
    brood__fence_light();
    brood__wake_waiter(&header, slot_waiter(slot_of(position)));
}

/* Looks once for a task in the first lane, and runs it. */
static bool serve(unsigned worker, uint64_t *head)
{
    uint64_t position;

    if (!brood__lane_next(&lanes[0], head, &position) ||
        !slot_claim(slot_of(position), &worker_states[worker], 0, position, worker))
        return false;
    run(worker, position);
    answer(worker, position);
    return true;
}

static void serves_twice(void)
{
    uint64_t head = first_position();

    runs[0] = 0;
    (void)serve(0, &head);
    (void)serve(0, &head);
}

/* Runs one task.  The first one submitted is still there if that was the second. */
static void serves_the_oldest(void)
{
    uint64_t head = first_position(), position;

    runs[0] = 0;
    if (!brood__lane_next(&lanes[0], &head, &position))
        weak_give_up();
    weak_check(position & MAILBOX, "a task overtakes the one submitted before it");
}

/* Only where it finds the task. */
static void answers(void)
{
    uint64_t head = first_position();

    runs[0] = 0;
    if (!serve(0, &head))
        weak_give_up();
}

static void serves(void)
{
    uint64_t head = first_position();

    runs[0] = 0;
    (void)serve(0, &head);
}

static void steals(void)
{
    uint64_t head = first_position();

    runs[1] = 0;
    (void)serve(1, &head);
}

static void serves_when_woken(void)
{
    uint64_t head = first_position();
    bool served = false;

    runs[0] = 0;
    for (int laps = 0; !served && laps < 3; laps++) {
        uint32_t seen = brood__parker_look(&worker_states[0].parker);
        uint64_t position, from = head;

        (void)brood__idle_enter(&header, 0);
        if (!brood__lane_next(&lanes[0], &from, &position))
            brood__parker_sleep(&worker_states[0].parker, seen, NULL, 0, (brood_deadline){INT64_MAX});
        (void)brood__idle_leave(&header, 0);
        served = serve(0, &head);
    }
    weak_check(served, "the worker was woken and found nothing");
}

/* It is killed after its claim, or after the answer and before the host is woken. */
static void dies_of_it(void)
{
    uint64_t head = first_position(), position;

    if (brood__lane_next(&lanes[0], &head, &position) && slot_claim(slot_of(position), &worker_states[0], 0, position, 0))
        run(0, position);
    atomic_store_explicit(&dead, 1, memory_order_release);
}

static void dies_answering(void)
{
    uint64_t head = first_position(), position;

    if (brood__lane_next(&lanes[0], &head, &position) && slot_claim(slot_of(position), &worker_states[0], 0, position, 0)) {
        run(0, position);
        slot_answer(slot_of(position), position, 0);
    }
    atomic_store_explicit(&dead, 1, memory_order_release);
}

/* ---- the supervisor ---- */

static void buries(void)
{
    unsigned lane;
    uint64_t position;
    struct slot *slot;

    if (!atomic_load_explicit(&dead, memory_order_acquire))
        weak_give_up();
    slot = brood__lane_held_by(lanes, WORKERS, 0, &lane, &position);
    if (slot)
        slot_mark_lost(slot, position, 0);
    brood__wake_host(&header);
    if (!slot && !is_answered(first_position()))
        weak_give_up(); /* it died before it found the task: its successor would run it */
}

/* ---- what there is in the end ---- */

static void ran_once(void)
{
    weak_check(runs[0] + runs[1] <= 1, "a task is run twice");
}

/* clang-format off */
#define CASE(text, what, ...) {.name = (text), .expected = (what), .prepare = prepare, __VA_ARGS__}
#define LEFT_OUT(what, who) .mutant = MUTANT(.kind = (what), .thread = THREAD(who), .order = WEAK_LEFT_OUT)
#define RELAXED(what, who, where) \
    MUTANT(.kind = (what), .thread = THREAD(who), .location = (where), .order = memory_order_relaxed)
#define TASK .threads = {submits, serves, steals}, .check = ran_once
#define AGAIN .threads = {submits_twice, serves_twice}
#define ORDER .threads = {submits_to_mailbox_and_ring, serves_the_oldest}
#define CANCEL .threads = {submits_and_cancels, serves, steals}, .check = ran_once
#define WORKER_SLEEPS .threads = {submits_and_wakes, serves_when_woken}
#define HOST_SLEEPS .threads = {submits_and_sleeps, answers}
#define DEATH .threads = {submits_and_sleeps, dies_of_it, buries}
#define DEATH_ANSWERING .threads = {submits_and_sleeps, dies_answering, buries}
static const struct weak_case cases[] = {
    CASE("a task and a thief", WEAK_HOLDS, TASK),
    CASE("  a claim only compares", WEAK_FAILS, TASK,
         .mutant = MUTANT(.kind = WEAK_UPDATE, .thread = THREAD(2), .location = "word", .order = WEAK_AS_LOAD)),
    CASE("a slot is used again", WEAK_HOLDS, AGAIN),
    CASE("  READY is no release", WEAK_FAILS, AGAIN, .mutant = RELAXED(WEAK_STORE, 0, "word")),
    CASE("  DONE is no release", WEAK_FAILS, AGAIN, .mutant = RELAXED(WEAK_STORE, 1, "word")),
    CASE("  the host does not acquire", WEAK_FAILS, AGAIN, .mutant = RELAXED(WEAK_LOAD, 0, "word")),
    CASE("  the worker does not acquire", WEAK_FAILS, AGAIN, .mutant = RELAXED(WEAK_LOAD, 1, "word"),
         .also = RELAXED(WEAK_UPDATE, 1, "word")),
    CASE("a task in the mailbox and one in the ring", WEAK_HOLDS, ORDER),
    CASE("  the ring's word is not acquired", WEAK_FAILS, ORDER, .mutant = RELAXED(WEAK_LOAD, 1, "word")),
    CASE("a task is cancelled", WEAK_HOLDS, CANCEL),
    CASE("the worker sleeps", WEAK_HOLDS, WORKER_SLEEPS),
    CASE("  no light fence", WEAK_FAILS, WORKER_SLEEPS, LEFT_OUT(WEAK_LIGHT, 0)),
    CASE("  no heavy fence", WEAK_FAILS, WORKER_SLEEPS, LEFT_OUT(WEAK_HEAVY, 1)),
    CASE("the host sleeps", WEAK_HOLDS, HOST_SLEEPS),
    CASE("  no light fence", WEAK_FAILS, HOST_SLEEPS, LEFT_OUT(WEAK_LIGHT, 1)),
    CASE("  no heavy fence", WEAK_FAILS, HOST_SLEEPS, LEFT_OUT(WEAK_HEAVY, 0)),
    CASE("a worker dies of a task", WEAK_HOLDS, DEATH),
    CASE("a worker dies after its answer", WEAK_HOLDS, DEATH_ANSWERING),
    CASE("  the supervisor has no fence", WEAK_FAILS, DEATH, LEFT_OUT(WEAK_FENCE, 2)),
};
/* clang-format on */

int weak_lane(void)
{
    return weak_explore("lane", cases, sizeof(cases) / sizeof(*cases));
}
