/* weak_range.c - lib/proto/range.c as it is: claims and theft. */
#include "model/weak_code.h"
#include "model/weak_models.h"

#include "proto/range.c"

#define WORKERS 3
#define ITEMS 4

static struct range ranges[WORKERS];
static uint64_t runs[WORKERS][ITEMS]; /* how often a worker has run an item */

static void prepare(void)
{
    brood__range_share(ranges, 2, ITEMS); /* the third worker's is empty */
    brood__range_set(&ranges[2], 0, 0);
    weak_name(&ranges[0].bounds, "range 0");
    weak_name(&ranges[1].bounds, "range 1");
    weak_name(&ranges[2].bounds, "range 2");
}

static void run_items(unsigned worker, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count && i < ITEMS; i++)
        runs[worker][i]++;
}

static void work(unsigned worker, int claims, int thefts)
{
    uint32_t first = 0, count;

    memset(runs[worker], 0, sizeof(runs[worker]));
    for (int i = 0; i < claims; i++) {
        count = brood__range_claim(&ranges[worker], 1, &first);
        run_items(worker, first, count);
    }
    for (int i = 0; i < thefts; i++) {
        count = brood__range_steal(ranges, WORKERS, worker, 1, &first);
        run_items(worker, first, count);
    }
}

static void claims_twice(void)
{
    work(0, 2, 0);
}

static void claims_and_steals(void)
{
    work(1, 2, 1);
}

static void steals_twice(void)
{
    work(2, 0, 2);
}

/* What was not run is in a range, once. */
static void each_is_in_one_place(void)
{
    uint64_t count[ITEMS] = {0};

    for (unsigned i = 0; i < WORKERS; i++) {
        uint64_t bounds = atomic_load_explicit(&ranges[i].bounds, memory_order_relaxed);

        for (uint32_t item = low(bounds); item < high(bounds); item++)
            count[item]++;
        for (unsigned item = 0; item < ITEMS; item++)
            count[item] += runs[i][item];
    }
    for (unsigned item = 0; item < ITEMS; item++)
        weak_check(count[item] == 1, "an item is lost, or run twice");
}

/* clang-format off */
#define CASE(text, what, ...) {.name = (text), .expected = (what), .prepare = prepare, \
    .threads = {claims_twice, claims_and_steals, steals_twice}, .check = each_is_in_one_place, __VA_ARGS__}
#define ONLY_COMPARES(who, where) \
    .mutant = MUTANT(.kind = WEAK_UPDATE, .thread = THREAD(who), .location = (where), .order = WEAK_AS_LOAD)
static const struct weak_case cases[] = {
    CASE("claims and thefts", WEAK_HOLDS, .seen = NULL),
    CASE("  a claim only compares", WEAK_FAILS, ONLY_COMPARES(0, "range 0")),
    CASE("  a thief only compares", WEAK_FAILS, ONLY_COMPARES(2, "range 0")),
};
/* clang-format on */

int weak_range(void)
{
    return weak_explore("range", cases, sizeof(cases) / sizeof(*cases));
}
