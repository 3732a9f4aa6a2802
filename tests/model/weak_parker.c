/* weak_parker.c - lib/shm/parker.c, os/fence.c and os/futex.c as they are: whoever sleeps is woken. */
#include "model/weak_code.h"
#include "model/weak_models.h"

#include "os/fence.c"
#include "os/futex.c"
#include "shm/parker.c"

#define PUBLISHERS 2

static struct parker parker;
static _Atomic uint64_t published[PUBLISHERS], armed;
static uint64_t payload[PUBLISHERS];

static void prepare(void)
{
    for (int i = 0; i < PUBLISHERS; i++)
        published[i] = payload[i] = 0;
    parker.generation = 0;
    armed = 0;
    brood__fence_is_symmetric = false;
    weak_name(&parker.generation, "generation");
    weak_name(&published[0], "published 0");
    weak_name(&published[1], "published 1");
    weak_name(&payload[0], "payload 0");
    weak_name(&payload[1], "payload 1");
    weak_name(&armed, "armed");
}

static void prepare_symmetric(void)
{
    prepare();
    brood__fence_make_symmetric();
}

/* As a worker that answers: it leaves the name of the parker where it is. */
static void publish(unsigned number)
{
    weak_plain_store(&payload[number], 1);
    atomic_store_explicit(&published[number], 1, memory_order_release);
    brood__fence_light();
    if (atomic_load_explicit(&armed, memory_order_acquire))
        brood__parker_wake(&parker);
}

/* As a host that has submitted: of two, one wakes. */
static void publish_and_disarm(unsigned number)
{
    weak_plain_store(&payload[number], 1);
    atomic_store_explicit(&published[number], 1, memory_order_release);
    brood__fence_light();
    if (atomic_load_explicit(&armed, memory_order_relaxed) && atomic_fetch_and_explicit(&armed, 0, memory_order_acq_rel))
        brood__parker_wake(&parker);
}

static void publishes(void)
{
    publish(0);
}

static void publishes_too(void)
{
    publish(1);
}

static void publishes_and_disarms(void)
{
    publish_and_disarm(0);
}

static void publishes_and_disarms_too(void)
{
    publish_and_disarm(1);
}

static bool are_published(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!atomic_load_explicit(&published[i], memory_order_acquire))
            return false;
        weak_check(weak_plain_load(&payload[i]) == 1, "what was published is not there");
    }
    return true;
}

/* parker.h has these steps. */
static void sleep_until_published(unsigned count)
{
    for (unsigned laps = 0; laps <= count; laps++) {
        uint32_t seen = brood__parker_look(&parker);

        atomic_store_explicit(&armed, 1, memory_order_relaxed);
        (void)brood__fence_heavy();
        if (are_published(count))
            return;
        brood__parker_sleep(&parker, seen, NULL, 0, (brood_deadline){INT64_MAX});
    }
    weak_check(are_published(count), "it was woken too early to be woken again");
}

static void sleeps_for_one(void)
{
    sleep_until_published(1);
}

static void sleeps_for_two(void)
{
    sleep_until_published(2);
}

/* clang-format off */
#define CASE(text, what, ...) {.name = (text), .expected = (what), __VA_ARGS__}
#define LEFT_OUT(what, who) .mutant = MUTANT(.kind = (what), .thread = THREAD(who), .order = WEAK_LEFT_OUT)
#define RELAXED(what, where) MUTANT(.kind = (what), .location = (where), .order = memory_order_relaxed)
#define ONE .prepare = prepare, .threads = {sleeps_for_one, publishes}
#define TWO .prepare = prepare, .threads = {sleeps_for_two, publishes, publishes_too}
#define DISARM .prepare = prepare, .threads = {sleeps_for_two, publishes_and_disarms, publishes_and_disarms_too}
#define SYMMETRIC .prepare = prepare_symmetric, .threads = {sleeps_for_one, publishes}
static const struct weak_case cases[] = {
    CASE("one publisher", WEAK_HOLDS, ONE),
    CASE("  no light fence", WEAK_FAILS, ONE, LEFT_OUT(WEAK_LIGHT, 1)),
    CASE("  no heavy fence", WEAK_FAILS, ONE, LEFT_OUT(WEAK_HEAVY, 0)),
    CASE("  the wake is no release", WEAK_HOLDS, ONE, .mutant = RELAXED(WEAK_UPDATE, "generation")),
    CASE("  what is published is no release", WEAK_FAILS, ONE, .mutant = RELAXED(WEAK_STORE, "published")),
    CASE("two publishers", WEAK_HOLDS, TWO),
    CASE("  the second has no light fence", WEAK_FAILS, TWO, LEFT_OUT(WEAK_LIGHT, 2)),
    CASE("two publishers, one wakes", WEAK_HOLDS, DISARM),
    CASE("  no light fence", WEAK_FAILS, DISARM, LEFT_OUT(WEAK_LIGHT, 2)),
    CASE("without membarrier", WEAK_HOLDS, SYMMETRIC),
    CASE("  the publisher has no fence", WEAK_FAILS, SYMMETRIC, LEFT_OUT(WEAK_FENCE, 1)),
    CASE("  the sleeper has no fence", WEAK_FAILS, SYMMETRIC, LEFT_OUT(WEAK_FENCE, 0)),
};
/* clang-format on */

int weak_parker(void)
{
    return weak_explore("parker", cases, sizeof(cases) / sizeof(*cases));
}
