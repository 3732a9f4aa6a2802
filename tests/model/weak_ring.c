/* weak_ring.c - lib/shm/ring.c as it is: put, get, the claims, and the look at a message that is too long. */
#include "model/weak_code.h"
#include "model/weak_models.h"

#include "shm/ring.c"

#define SLOTS 2

static _Alignas(64) unsigned char memory[sizeof(struct brood_ring) + SLOTS * 64];
static struct brood_ring *const ring = (struct brood_ring *)(void *)memory;
static uint64_t got[WEAK_THREADS][2]; /* by each thread, in order; 0: nothing */
static _Atomic uint64_t told;

static void begin(uint64_t position)
{
    static const char *const words[SLOTS] = {"word 0", "word 1"}, *const messages[SLOTS] = {"message 0", "message 1"};

    weak_check(brood__ring_init_at(ring, SLOTS, sizeof(uint64_t), position) == 0, "the ring cannot be made");
    weak_shared(memory, sizeof(memory));
    for (uint64_t i = 0; i < SLOTS; i++) {
        weak_name(&ring_slot_at(ring, i)->word, words[i]);
        weak_name(ring_slot_at(ring, i)->message, messages[i]);
    }
    weak_name(&ring->head.position, "head");
    weak_name(&ring->tail.position, "tail");
    weak_name(&ring->again, "again");
    weak_name(&told, "told");
    memset(got, 0, sizeof(got));
    told = 0;
}

/* The hints for all are moved with each RING_HINT_STEP positions: from here on, with the second message. */
static void prepare(void)
{
    begin(RING_HINT_STEP - 1);
}

static uint64_t get_one(unsigned owner)
{
    uint64_t message = 0;

    return brood_ring_get(ring, owner, &message) == 0 ? message : 0;
}

static void put_one(unsigned owner, uint64_t message)
{
    if (brood_ring_put(ring, owner, &message) < 0)
        weak_give_up(); /* full: of no interest */
}

static void puts_1(void)
{
    put_one(1, 1);
}

static void puts_1_2(void)
{
    put_one(1, 1);
    put_one(1, 2);
}

static void puts_2(void)
{
    put_one(2, 2);
}

static void gets_twice_as_3(void)
{
    got[2][0] = get_one(3);
    got[2][1] = get_one(3);
}

static void gets_as_3(void)
{
    got[2][0] = get_one(3);
}

/* Who has heard of a message finds the ring not empty, but maybe busy with an older one. */
static void puts_2_and_tells(void)
{
    put_one(2, 2);
    atomic_store_explicit(&told, 1, memory_order_release);
}

static void gets_what_it_was_told(void)
{
    struct ring_seen what;

    if (!atomic_load_explicit(&told, memory_order_acquire))
        weak_give_up();
    if (!ring_get_begin(ring, 3, SIZE_MAX, &what))
        weak_check(what.outcome == RING_BUSY, "the ring seems empty to one who has heard of a message");
}

static void gets_as_4(void)
{
    got[3][0] = get_one(4);
}

/* What was got, and what is left, is 1 and 2, each once, and from one producer in order. */
static void each_comes_once(void)
{
    uint64_t left[] = {get_one(5), get_one(5), get_one(5)};
    int ones = 0, twos = 0, others = 0;

    for (int i = 0; i < 3; i++) {
        ones += left[i] == 1;
        twos += left[i] == 2;
        others += left[i] > 2;
    }
    for (int i = 0; i < WEAK_THREADS; i++)
        for (int j = 0; j < 2; j++) {
            ones += got[i][j] == 1;
            twos += got[i][j] == 2;
            others += got[i][j] > 2;
        }
    weak_check(ones == 1 && twos == 1 && others == 0, "a message is lost, comes twice or is another");
}

static void in_order(void)
{
    each_comes_once();
    weak_check(got[2][0] != 2 && !(got[2][0] == 0 && got[2][1] == 2), "a message overtakes another");
}

/* The second message goes to the slot of one that was got, two laps in all. */
static void puts_3_times(void)
{
    for (uint64_t i = 1; i <= 3; i++)
        put_one(1, i);
}

static void gets_3_times(void)
{
    uint64_t last = 0;

    for (int i = 0; i < 3; i++) {
        uint64_t message = get_one(3);

        weak_check(message == 0 || message == last + 1, "a message is lost or another");
        last = message ? message : last;
    }
}

/* ---- a message that is longer than its slot: its length is in the slot's first 64 bits (sync/queue/queue_transfer.c) ---- */

#define LONG_LENGTH 5000
#define LONGER_LENGTH 9000
#define ROOM 100

static struct ring_seen seen;

static void put_long(unsigned owner, uint64_t length)
{
    uint64_t position;
    struct ring_slot *slot = ring_put_begin(ring, owner, 0, &position);

    if (!slot)
        weak_give_up();
    ring_set_length(slot, length);
    ring_put_end(ring, owner, slot, RING_LONG, position);
}

/* The first message is long, and lies in the ring when all begin. */
static void prepare_long(void)
{
    begin(0);
    put_long(1, LONG_LENGTH);
}

static void looks_with_little_room(void)
{
    struct ring_slot *slot = ring_get_begin(ring, 3, ROOM, &seen);

    weak_check(!slot, "a long message comes into a small room");
    if (seen.outcome == RING_TOO_LONG)
        weak_check(seen.length == (ring_word_position(seen.word) == 0 ? LONG_LENGTH : LONGER_LENGTH),
                   "the length of a message that is too long is another's");
}

static void gets_long(void)
{
    struct ring_slot *slot = ring_get_begin(ring, 4, SIZE_MAX, &seen);

    if (!slot)
        weak_give_up();
    weak_check(seen.length == LONG_LENGTH, "the length of the message is another's");
    ring_get_end(ring, 4, slot, 0, seen.position);
}

/* Whichever slot is free: the second message of this one goes to the slot of the first. */
static void puts_longer_twice(void)
{
    put_long(2, LONGER_LENGTH);
    put_long(2, LONGER_LENGTH);
}

/* clang-format off */
#define CASE(text, what, ...) {.name = (text), .expected = (what), __VA_ARGS__}
#define RELAXED(what, who, where) \
    MUTANT(.kind = (what), .thread = THREAD(who), .location = (where), .order = memory_order_relaxed)
#define IN_ORDER .prepare = prepare, .threads = {puts_1_2, NULL, gets_twice_as_3}, .check = in_order
#define LAP .prepare = prepare, .threads = {puts_3_times, NULL, gets_3_times}
#define TWO_AND_ONE .prepare = prepare, .threads = {puts_1, puts_2, gets_twice_as_3}, .check = each_comes_once
#define ONE_AND_TWO .prepare = prepare, .threads = {puts_1_2, NULL, gets_as_3, gets_as_4}, .check = each_comes_once
#define HEARD .prepare = prepare, .threads = {puts_1, puts_2_and_tells, gets_what_it_was_told}
#define LONG .prepare = prepare_long, .threads = {puts_longer_twice, looks_with_little_room, gets_long}
static const struct weak_case cases[] = {
    CASE("one producer, one consumer", WEAK_HOLDS, IN_ORDER),
    CASE("a slot is used again", WEAK_HOLDS, LAP),
    CASE("  FULL is no release", WEAK_FAILS, LAP, .mutant = RELAXED(WEAK_STORE, 0, "word")),
    CASE("  FREE is no release", WEAK_FAILS, LAP, .mutant = RELAXED(WEAK_STORE, 2, "word")),
    CASE("  the consumer acquires in its look alone", WEAK_HOLDS, LAP, .mutant = RELAXED(WEAK_UPDATE, 2, "word")),
    CASE("  the consumer acquires nowhere", WEAK_FAILS, LAP, .mutant = RELAXED(WEAK_UPDATE, 2, "word"),
         .also = RELAXED(WEAK_LOAD, 2, "word")),
    CASE("  the producer acquires nowhere", WEAK_FAILS, LAP, .mutant = RELAXED(WEAK_UPDATE, 0, "word"),
         .also = RELAXED(WEAK_LOAD, 0, "word")),
    CASE("two producers, one consumer", WEAK_HOLDS, TWO_AND_ONE),
    CASE("one producer, two consumers", WEAK_HOLDS, ONE_AND_TWO),
    CASE("a message of which one has heard is not missed", WEAK_HOLDS, HEARD),
    CASE("a message is too long, and gives way to another", WEAK_HOLDS, LONG),
    /* That it releases matters to load buffering alone, which RC11 does not have. */
    CASE("  the second look is a load", WEAK_FAILS, LONG,
         .mutant = MUTANT(.kind = WEAK_UPDATE, .thread = THREAD(1), .location = "word", .order = WEAK_AS_LOAD)),
};
/* clang-format on */

int weak_ring(void)
{
    return weak_explore("ring", cases, sizeof(cases) / sizeof(*cases));
}
