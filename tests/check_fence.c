/* check_fence.c - of two that store and then look at the other's store, at least one sees it. */

#include "child.h"
#include "os/fence.h"

#define ROUNDS 10000
#define TIME_MS 600 /* … or fewer, where the two sides share a processor */
#define LINES 40

#define GET_REGISTRATIONS (1 << 9) /* of membarrier(2), since Linux 6.3 */

struct line {
    _Alignas(64) _Atomic uint32_t word;
};

/* Two processes play round after round.  In each, a side stores the round's number in its own word, fences, and notes what
 * it then found in the other's.  The ballast makes the light side's store wait in the store buffer: the heavy side has
 * written to all of these lines, so each has to be fetched before the stores behind it can leave. */
struct litmus {
    struct line light, heavy, ballast[LINES];
    struct line light_saw, heavy_saw;
    struct line light_at, heavy_at; /* the barrier: the last step that this side has reached */
    int mode;
    bool is_over; /* the heavy side's, before the barrier */
    int64_t until_ms;
    uint32_t rounds;
    uint32_t misses; /* rounds in which neither saw the other */
};

static void load_ballast(struct litmus *litmus, uint32_t round)
{
    for (int i = 0; i < LINES; i++)
        atomic_store_explicit(&litmus->ballast[i].word, round, memory_order_relaxed);
}

static bool play_light(struct litmus *litmus, uint32_t round)
{
    uint32_t saw;

    meet(&litmus->light_at.word, &litmus->heavy_at.word, 2 * round);
    if (litmus->is_over)
        return false;
    stagger(round, 101);
    load_ballast(litmus, round);
    atomic_store_explicit(&litmus->light.word, round, memory_order_relaxed);
    brood__fence_light();
    saw = atomic_load_explicit(&litmus->heavy.word, memory_order_relaxed);
    atomic_store_explicit(&litmus->light_saw.word, saw, memory_order_relaxed);
    meet(&litmus->light_at.word, &litmus->heavy_at.word, 2 * round + 1);
    return true;
}

static bool play_heavy(struct litmus *litmus, uint32_t round)
{
    litmus->is_over = round > ROUNDS || now_ms() >= litmus->until_ms;
    load_ballast(litmus, 0);
    meet(&litmus->heavy_at.word, &litmus->light_at.word, 2 * round);
    if (litmus->is_over)
        return false;
    stagger(round, 997);
    atomic_store_explicit(&litmus->heavy.word, round, memory_order_relaxed);
    (void)brood__fence_heavy();
    litmus->heavy_saw.word = atomic_load_explicit(&litmus->light.word, memory_order_relaxed);
    meet(&litmus->heavy_at.word, &litmus->light_at.word, 2 * round + 1);
    litmus->misses += atomic_load(&litmus->light_saw.word) != round && litmus->heavy_saw.word != round;
    litmus->rounds++;
    return true;
}

/* ---- the ways to be ready for it ---- */

static void register_or_not(void)
{
    if (!brood__fence_open())
        (void)fprintf(stderr, "no membarrier(2) here: only full fences are tested\n");
}

static void be_denied(void)
{
    deny(SYS_membarrier, EPERM);
    ck_assert(!brood__fence_open());
    ck_assert(atomic_load(&brood__fence_is_symmetric));
}

static void be_late(void)
{
    ck_assert(atomic_load(&brood__fence_is_symmetric));
}

static void be_told(void)
{
    register_or_not();
    brood__fence_make_symmetric();
    ck_assert(atomic_load(&brood__fence_is_symmetric));
}

static void (*const modes[])(void) = {register_or_not, be_denied, be_late, be_told};
#define MODES (int)(sizeof(modes) / sizeof(modes[0]))

static void be_light(void *argument)
{
    struct litmus *litmus = argument;

    modes[litmus->mode]();
    for (uint32_t round = 1; play_light(litmus, round); round++)
        ;
}

static void be_heavy(void *argument)
{
    struct litmus *litmus = argument;

    modes[litmus->mode]();
    for (uint32_t round = 1; play_heavy(litmus, round); round++)
        ;
}

START_TEST(one_of_two_sees_the_other)
{
    struct litmus *litmus = shared_memory(sizeof(*litmus));
    pid_t light, heavy;

    litmus->mode = _i;
    litmus->until_ms = now_ms() + TIME_MS;
    light = spawn(be_light, litmus);
    heavy = spawn(be_heavy, litmus);
    join(heavy);
    join(light);
    ck_assert_uint_gt(litmus->rounds, 0);
    ck_assert_msg(litmus->misses == 0, "in %u of %u rounds neither saw the other", litmus->misses, litmus->rounds);
}
END_TEST

/* The window in which a light side's store can be missed although the heavy side has entered the kernel is narrow: that
 * both do what the other relies on is looked at, too. */
static void look_at_the_registration(void *argument)
{
    long registered;

    (void)argument;
    register_or_not();
    registered = syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0);
    if (registered < 0)
        (void)fprintf(stderr, "this kernel does not tell which processes are registered\n");
    else
        ck_assert(atomic_load(&brood__fence_is_symmetric) || registered & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

START_TEST(a_light_side_is_registered)
{
    in_child(look_at_the_registration, NULL);
}
END_TEST

static void fence_heavily(void *argument)
{
    (void)argument;
    (void)brood__fence_heavy();
}

START_TEST(a_heavy_side_reaches_into_other_processes)
{
    if (brood__fence_open())
        ck_assert(reaches_other_processes(fence_heavily, NULL));
}
END_TEST

/* A membarrier that fails after it worked at first, say because a filter was loaded since. */
static void lose_membarrier(void *argument)
{
    (void)argument;
    register_or_not();
    deny(SYS_membarrier, EPERM);
    ck_assert(brood__fence_heavy() == atomic_load(&brood__fence_is_symmetric)); /* false, where it was registered */
    ck_assert(!brood__fence_open());
    ck_assert(atomic_load(&brood__fence_is_symmetric));
}

START_TEST(a_process_that_loses_membarrier_fences_fully)
{
    in_child(lose_membarrier, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fence");

    add_loop_tests(suite, "fence", 0, MODES, one_of_two_sees_the_other, NULL);
    add_tests(suite, "membarrier", a_light_side_is_registered, a_heavy_side_reaches_into_other_processes,
              a_process_that_loses_membarrier_fences_fully, NULL);
    return run_suite(suite);
}
