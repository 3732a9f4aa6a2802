/* weak_litmus.c - the search of weak.c, checked by the litmus tests of the literature, whose outcomes under RC11 are known:
 * Alglave, Maranget, Tautschnig, "Herding cats" (TOPLAS 2014) has the names; Lahav et al. (PLDI 2017) and Batty et al.
 * (POPL 2011) the outcomes.  A test is written in its strong form; the weak forms are its mutants.
 */
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include "model/weak_code.h"
#include "model/weak_models.h"

#define RLX memory_order_relaxed
#define ACQ memory_order_acquire
#define REL memory_order_release
#define SC memory_order_seq_cst
#define LOAD(at, order) atomic_load_explicit(&(at), order)
#define STORE(at, value, order) atomic_store_explicit(&(at), value, order)
#define FENCE(order) atomic_thread_fence(order)

static _Atomic uint64_t x, y, z;
static uint64_t plain;
static uint64_t a, b, c, d; /* what the threads have read */
static uint64_t x_last, y_last;

static void begin(void)
{
    x = y = z = plain = 0;
    weak_name(&x, "x");
    weak_name(&y, "y");
    weak_name(&z, "z");
    weak_name(&plain, "plain");
}

static void end(void)
{
    x_last = LOAD(x, RLX);
    y_last = LOAD(y, RLX);
}

/* ---- store buffering ---- */

static void sb_0(void)
{
    STORE(x, 1, RLX);
    FENCE(SC);
    a = LOAD(y, RLX);
}
static void sb_1(void)
{
    STORE(y, 1, RLX);
    FENCE(SC);
    b = LOAD(x, RLX);
}
static void sb_sc_0(void)
{
    STORE(x, 1, SC);
    a = LOAD(y, SC);
}
static void sb_sc_1(void)
{
    STORE(y, 1, SC);
    b = LOAD(x, SC);
}
static void sb_light(void)
{
    STORE(x, 1, RLX);
    atomic_signal_fence(SC);
    a = LOAD(y, RLX);
}
static void sb_light_1(void)
{
    STORE(y, 1, RLX);
    atomic_signal_fence(SC);
    b = LOAD(x, RLX);
}
static void sb_heavy(void)
{
    STORE(y, 1, RLX);
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
    b = LOAD(x, RLX);
}
static bool sb_seen(void)
{
    return a == 0 && b == 0;
}

/* ---- message passing ---- */

static void mp_0(void)
{
    STORE(x, 1, RLX);
    STORE(y, 1, REL);
}
static void mp_1(void)
{
    a = LOAD(y, ACQ);
    b = LOAD(x, RLX);
}
static void mp_fence_0(void)
{
    STORE(x, 1, RLX);
    FENCE(REL);
    STORE(y, 1, RLX);
}
static void mp_fence_1(void)
{
    a = LOAD(y, RLX);
    FENCE(ACQ);
    b = LOAD(x, RLX);
}
static bool mp_seen(void)
{
    return a == 1 && b == 0;
}
static void mp_update(void)
{
    (void)atomic_fetch_add_explicit(&y, 1, RLX);
} /* continues the release */
static void mp_2(void)
{
    a = LOAD(y, ACQ);
    b = LOAD(x, RLX);
}
static bool mp_update_seen(void)
{
    return a == 2 && b == 0;
}
static void mp_overwrites(void)
{
    STORE(x, 1, RLX);
    STORE(y, 1, REL);
    STORE(y, 2, RLX);
} /* does not */
static bool mp_overwrites_seen(void)
{
    return a == 2 && b == 0;
}
static void mp_plain_0(void)
{
    weak_plain_store(&plain, 1);
    STORE(y, 1, REL);
}
static void mp_plain_1(void)
{
    if (LOAD(y, ACQ) == 1)
        weak_check(weak_plain_load(&plain) == 1, "the message is another");
}

/* ---- load buffering, coherence, atomicity ---- */

static void lb_0(void)
{
    a = LOAD(x, RLX);
    STORE(y, 1, RLX);
}
static void lb_1(void)
{
    b = LOAD(y, RLX);
    STORE(x, 1, RLX);
}
static bool lb_seen(void)
{
    return a == 1 && b == 1;
}
static void one(void)
{
    STORE(x, 1, RLX);
}
static void two(void)
{
    STORE(x, 2, RLX);
}
static void one_two(void)
{
    STORE(x, 1, RLX);
    STORE(x, 2, RLX);
}
static void read_twice(void)
{
    a = LOAD(x, RLX);
    b = LOAD(x, RLX);
}
static void read_twice_too(void)
{
    c = LOAD(x, RLX);
    d = LOAD(x, RLX);
}
static bool corr_seen(void)
{
    return a == 1 && b == 0;
}
static bool corr4_seen(void)
{
    return a == 1 && b == 2 && c == 2 && d == 1;
}
static bool coww_seen(void)
{
    return x_last == 1;
}
static void read_write(void)
{
    a = LOAD(x, RLX);
    STORE(x, 1, RLX);
}
static bool corw_seen(void)
{
    return a == 1;
}
static bool corw2_seen(void)
{
    return a == 2 && x_last == 2;
}
static void write_read(void)
{
    STORE(x, 1, RLX);
    a = LOAD(x, RLX);
}
static bool cowr_seen(void)
{
    return a == 2 && x_last == 1;
}
static void add(void)
{
    (void)atomic_fetch_add_explicit(&x, 1, RLX);
}
static bool add_seen(void)
{
    return x_last != 3;
}
static void swap_a(void)
{
    uint64_t old = 0;
    a = atomic_compare_exchange_strong_explicit(&x, &old, 1, RLX, RLX);
}
static void swap_b(void)
{
    uint64_t old = 0;
    b = atomic_compare_exchange_strong_explicit(&x, &old, 2, RLX, RLX);
}
static bool swap_seen(void)
{
    return a == b;
}

/* ---- three and four threads ---- */

static void wrc_1(void)
{
    a = LOAD(x, ACQ);
    STORE(y, 1, REL);
}
static void wrc_2(void)
{
    b = LOAD(y, ACQ);
    c = LOAD(x, RLX);
}
static void one_released(void)
{
    STORE(x, 1, REL);
}
static bool wrc_seen(void)
{
    return a == 1 && b == 1 && c == 0;
}
static void isa2_0(void)
{
    STORE(x, 1, RLX);
    STORE(y, 1, REL);
}
static void isa2_1(void)
{
    a = LOAD(y, ACQ);
    STORE(z, 1, REL);
}
static void isa2_2(void)
{
    b = LOAD(z, ACQ);
    c = LOAD(x, RLX);
}
static bool isa2_seen(void)
{
    return a == 1 && b == 1 && c == 0;
}
static void y_one_released(void)
{
    STORE(y, 1, REL);
}
static void iriw_2(void)
{
    a = LOAD(x, ACQ);
    FENCE(SC);
    b = LOAD(y, ACQ);
}
static void iriw_3(void)
{
    c = LOAD(y, ACQ);
    FENCE(SC);
    d = LOAD(x, ACQ);
}
static void iriw_sc_0(void)
{
    STORE(x, 1, SC);
}
static void iriw_sc_1(void)
{
    STORE(y, 1, SC);
}
static void iriw_sc_2(void)
{
    a = LOAD(x, SC);
    b = LOAD(y, SC);
}
static void iriw_sc_3(void)
{
    c = LOAD(y, SC);
    d = LOAD(x, SC);
}
static bool iriw_seen(void)
{
    return a == 1 && b == 0 && c == 1 && d == 0;
}
static void rwc_1(void)
{
    a = LOAD(x, ACQ);
    FENCE(SC);
    b = LOAD(y, RLX);
}
static void rwc_2(void)
{
    STORE(y, 1, RLX);
    FENCE(SC);
    c = LOAD(x, RLX);
}
static bool rwc_seen(void)
{
    return a == 1 && b == 0 && c == 0;
}

/* ---- two locations, three of four steps stores ---- */

static void r_0(void)
{
    STORE(x, 1, RLX);
    FENCE(SC);
    STORE(y, 1, RLX);
}
static void r_1(void)
{
    STORE(y, 2, RLX);
    FENCE(SC);
    a = LOAD(x, RLX);
}
static bool r_seen(void)
{
    return y_last == 2 && a == 0;
}
static void s_0(void)
{
    STORE(x, 2, RLX);
    STORE(y, 1, REL);
}
static void s_1(void)
{
    a = LOAD(y, ACQ);
    STORE(x, 1, RLX);
}
static bool s_seen(void)
{
    return a == 1 && x_last == 2;
}
static void w22_0(void)
{
    STORE(x, 1, REL);
    FENCE(SC);
    STORE(y, 2, REL);
}
static void w22_1(void)
{
    STORE(y, 1, REL);
    FENCE(SC);
    STORE(x, 2, REL);
}
static bool w22_seen(void)
{
    return x_last == 1 && y_last == 1;
}

/* ---- a sequence lock: Boehm, "Can seqlocks get along with programming language memory models?" (MSPC 2012) ---- */

static void seqlock_0(void)
{
    STORE(y, 1, RLX);
    FENCE(REL);
    STORE(x, 1, RLX);
    STORE(y, 2, REL);
}
static void seqlock_1(void)
{
    a = LOAD(y, ACQ);
    b = LOAD(x, RLX);
    FENCE(ACQ);
    c = LOAD(y, RLX);
}
static void seqlock_load_0(void)
{
    STORE(y, 1, RLX);
    STORE(x, 1, REL);
    STORE(y, 2, REL);
}
static void seqlock_load_1(void)
{
    a = LOAD(y, ACQ);
    b = LOAD(x, ACQ);
    c = LOAD(y, RLX);
}
static bool seqlock_seen(void)
{
    return a == 0 && b == 1 && c == 0;
}

/* ---- sleeping ---- */

static _Atomic uint32_t word;
static void sleeper(void)
{
    (void)syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0);
}
static void waker(void)
{
    (void)atomic_fetch_add_explicit(&word, 1, RLX);
}
static void nobody(void)
{
}

/* clang-format off */
#define LITMUS(text, what, ...) {.name = (text), .expected = (what), .prepare = begin, .check = end, __VA_ARGS__}
#define FENCE_OUT(n) .mutant = MUTANT(.kind = WEAK_FENCE, .thread = THREAD(n), .order = WEAK_LEFT_OUT)
#define WEAKER(what, where) .mutant = MUTANT(.kind = (what), .location = (where), .order = RLX)
static const struct weak_case cases[] = {
    LITMUS("SB, fences", WEAK_FORBIDS, .threads = {sb_0, sb_1}, .seen = sb_seen),
    LITMUS("SB, one fence", WEAK_ALLOWS, .threads = {sb_0, sb_1}, .seen = sb_seen, FENCE_OUT(0)),
    LITMUS("SB, the other fence", WEAK_ALLOWS, .threads = {sb_0, sb_1}, .seen = sb_seen, FENCE_OUT(1)),
    LITMUS("SB, acq_rel fences", WEAK_ALLOWS, .threads = {sb_0, sb_1}, .seen = sb_seen,
           .mutant = MUTANT(.kind = WEAK_FENCE, .order = memory_order_acq_rel)),
    LITMUS("SB, seq_cst", WEAK_FORBIDS, .threads = {sb_sc_0, sb_sc_1}, .seen = sb_seen),
    LITMUS("SB, seq_cst loads", WEAK_ALLOWS, .threads = {sb_sc_0, sb_sc_1}, .seen = sb_seen,
           .mutant = MUTANT(.kind = WEAK_STORE, .order = REL)),
    LITMUS("SB, seq_cst stores", WEAK_ALLOWS, .threads = {sb_sc_0, sb_sc_1}, .seen = sb_seen,
           .mutant = MUTANT(.kind = WEAK_LOAD, .order = ACQ)),
    LITMUS("SB, light and heavy", WEAK_FORBIDS, .threads = {sb_light, sb_heavy}, .seen = sb_seen),
    LITMUS("SB, full and heavy", WEAK_FORBIDS, .threads = {sb_0, sb_heavy}, .seen = sb_seen),
    LITMUS("SB, full and light", WEAK_FORBIDS, .threads = {sb_light, sb_1}, .seen = sb_seen,
           .mutant = MUTANT(.kind = WEAK_LIGHT, .order = SC)),
    LITMUS("SB, two light", WEAK_ALLOWS, .threads = {sb_light, sb_light_1}, .seen = sb_seen),
    LITMUS("SB, heavy alone", WEAK_ALLOWS, .threads = {sb_light, sb_heavy}, .seen = sb_seen,
           .mutant = MUTANT(.kind = WEAK_LIGHT, .order = WEAK_LEFT_OUT)),
    LITMUS("SB, light alone", WEAK_ALLOWS, .threads = {sb_light, sb_heavy}, .seen = sb_seen,
           .mutant = MUTANT(.kind = WEAK_HEAVY, .order = WEAK_LEFT_OUT)),
    LITMUS("MP", WEAK_FORBIDS, .threads = {mp_0, mp_1}, .seen = mp_seen),
    LITMUS("MP, relaxed store", WEAK_ALLOWS, .threads = {mp_0, mp_1}, .seen = mp_seen, WEAKER(WEAK_STORE, "y")),
    LITMUS("MP, relaxed load", WEAK_ALLOWS, .threads = {mp_0, mp_1}, .seen = mp_seen, WEAKER(WEAK_LOAD, "y")),
    LITMUS("MP, fences", WEAK_FORBIDS, .threads = {mp_fence_0, mp_fence_1}, .seen = mp_seen),
    LITMUS("MP, no release fence", WEAK_ALLOWS, .threads = {mp_fence_0, mp_fence_1}, .seen = mp_seen, FENCE_OUT(0)),
    LITMUS("MP, no acquire fence", WEAK_ALLOWS, .threads = {mp_fence_0, mp_fence_1}, .seen = mp_seen, FENCE_OUT(1)),
    LITMUS("MP, fence and load", WEAK_FORBIDS, .threads = {mp_fence_0, mp_1}, .seen = mp_seen),
    LITMUS("MP, store and fence", WEAK_FORBIDS, .threads = {mp_0, mp_fence_1}, .seen = mp_seen),
    LITMUS("MP by way of an update", WEAK_FORBIDS, .threads = {mp_0, mp_update, mp_2}, .seen = mp_update_seen),
    LITMUS("MP by way of a store", WEAK_ALLOWS, .threads = {mp_overwrites, mp_2}, .seen = mp_overwrites_seen),
    LITMUS("MP, plain", WEAK_HOLDS, .threads = {mp_plain_0, mp_plain_1}),
    LITMUS("MP, plain, relaxed store", WEAK_FAILS, .threads = {mp_plain_0, mp_plain_1}, WEAKER(WEAK_STORE, "y")),
    LITMUS("MP, plain, relaxed load", WEAK_FAILS, .threads = {mp_plain_0, mp_plain_1}, WEAKER(WEAK_LOAD, "y")),
    LITMUS("LB", WEAK_FORBIDS, .threads = {lb_0, lb_1}, .seen = lb_seen),
    LITMUS("CoRR", WEAK_FORBIDS, .threads = {one, read_twice}, .seen = corr_seen),
    LITMUS("CoRR, four threads", WEAK_FORBIDS, .threads = {one, two, read_twice, read_twice_too}, .seen = corr4_seen),
    LITMUS("CoWW", WEAK_FORBIDS, .threads = {one_two}, .seen = coww_seen),
    LITMUS("CoRW1", WEAK_FORBIDS, .threads = {read_write}, .seen = corw_seen),
    LITMUS("CoRW2", WEAK_FORBIDS, .threads = {read_write, two}, .seen = corw2_seen),
    LITMUS("CoWR", WEAK_FORBIDS, .threads = {write_read, two}, .seen = cowr_seen),
    LITMUS("three additions", WEAK_FORBIDS, .threads = {add, add, add}, .seen = add_seen),
    LITMUS("two swaps", WEAK_FORBIDS, .threads = {swap_a, swap_b}, .seen = swap_seen),
    LITMUS("WRC", WEAK_FORBIDS, .threads = {one_released, wrc_1, wrc_2}, .seen = wrc_seen),
    LITMUS("WRC, relaxed loads of x", WEAK_FORBIDS, .threads = {one_released, wrc_1, wrc_2}, .seen = wrc_seen,
           WEAKER(WEAK_LOAD, "x")),
    LITMUS("WRC, relaxed store of y", WEAK_ALLOWS, .threads = {one_released, wrc_1, wrc_2}, .seen = wrc_seen,
           WEAKER(WEAK_STORE, "y")),
    LITMUS("ISA2", WEAK_FORBIDS, .threads = {isa2_0, isa2_1, isa2_2}, .seen = isa2_seen),
    LITMUS("ISA2, relaxed load of y", WEAK_ALLOWS, .threads = {isa2_0, isa2_1, isa2_2}, .seen = isa2_seen,
           WEAKER(WEAK_LOAD, "y")),
    LITMUS("IRIW, fences", WEAK_FORBIDS, .threads = {one_released, y_one_released, iriw_2, iriw_3}, .seen = iriw_seen),
    LITMUS("IRIW, one fence", WEAK_ALLOWS, .threads = {one_released, y_one_released, iriw_2, iriw_3}, .seen = iriw_seen,
           FENCE_OUT(2)),
    LITMUS("IRIW, acquire and release", WEAK_ALLOWS, .threads = {one_released, y_one_released, iriw_2, iriw_3},
           .seen = iriw_seen, .mutant = MUTANT(.kind = WEAK_FENCE, .order = WEAK_LEFT_OUT)),
    LITMUS("IRIW, seq_cst", WEAK_FORBIDS, .threads = {iriw_sc_0, iriw_sc_1, iriw_sc_2, iriw_sc_3}, .seen = iriw_seen),
    LITMUS("RWC, fences", WEAK_FORBIDS, .threads = {one_released, rwc_1, rwc_2}, .seen = rwc_seen),
    LITMUS("RWC, one fence", WEAK_ALLOWS, .threads = {one_released, rwc_1, rwc_2}, .seen = rwc_seen, FENCE_OUT(1)),
    LITMUS("R, fences", WEAK_FORBIDS, .threads = {r_0, r_1}, .seen = r_seen),
    LITMUS("R, one fence", WEAK_ALLOWS, .threads = {r_0, r_1}, .seen = r_seen, FENCE_OUT(1)),
    LITMUS("S", WEAK_FORBIDS, .threads = {s_0, s_1}, .seen = s_seen),
    LITMUS("S, relaxed store", WEAK_ALLOWS, .threads = {s_0, s_1}, .seen = s_seen, WEAKER(WEAK_STORE, "y")),
    LITMUS("2+2W, fences", WEAK_FORBIDS, .threads = {w22_0, w22_1}, .seen = w22_seen),
    LITMUS("2+2W, release", WEAK_ALLOWS, .threads = {w22_0, w22_1}, .seen = w22_seen, FENCE_OUT(0)),
    LITMUS("sequence lock, fences", WEAK_FORBIDS, .threads = {seqlock_0, seqlock_1}, .seen = seqlock_seen),
    LITMUS("sequence lock, no acquire fence", WEAK_ALLOWS, .threads = {seqlock_0, seqlock_1}, .seen = seqlock_seen,
           FENCE_OUT(1)),
    LITMUS("sequence lock, no release fence", WEAK_ALLOWS, .threads = {seqlock_0, seqlock_1}, .seen = seqlock_seen,
           FENCE_OUT(0)),
    LITMUS("sequence lock, released data", WEAK_FORBIDS, .threads = {seqlock_load_0, seqlock_load_1}, .seen = seqlock_seen),
    LITMUS("sequence lock, acquired data", WEAK_ALLOWS, .threads = {seqlock_load_0, seqlock_load_1}, .seen = seqlock_seen,
           WEAKER(WEAK_STORE, "x")),
    LITMUS("sequence lock, relaxed data", WEAK_ALLOWS, .threads = {seqlock_load_0, seqlock_load_1}, .seen = seqlock_seen,
           WEAKER(WEAK_LOAD, "x")),
    LITMUS("a sleeper is woken", WEAK_HOLDS, .threads = {sleeper, waker}),
    LITMUS("a sleeper is not woken", WEAK_FAILS, .threads = {sleeper, nobody}),
};
/* clang-format on */

int weak_litmus(void)
{
    return weak_explore("litmus", cases, sizeof(cases) / sizeof(*cases));
}
