/* stress_ring.c - producers and consumers in processes of their own, killed at random, and an account that must come out
 * even:
 *
 *     put = got + in hand      what was published was dealt with, or was in the hand of someone who died
 *
 * Every message is a number that is put once.  A consumer gets it right into its own part of the shared account, so that
 * after its death it can be said which message the ring's report speaks of.  A bit for every message says that it has had
 * its fate; a second fate is found at once, a missing one at the end.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <brood/ring.h>

#define SIDE_MAX 16                           /* producers, and consumers */
#define WORDS 128                             /* of a message */
#define PRODUCER_MESSAGES (UINT64_C(1) << 28) /* as many as one producer can put */

struct settings {
    double seconds;
    unsigned producers, consumers, seed;
    size_t slots;
};

/* What one participant says of itself, on a line of its own; read by the supervisor after its death.
 * Producer: the message that it puts next, so that all of its messages before this one were put, unless a predecessor was
 * killed with them.  Consumer: the message that it got last. */
struct entry {
    _Alignas(128) uint64_t message[WORDS];
};

struct account {
    struct entry entries[2 * SIDE_MAX];
    _Atomic bool stop_producers, stop_consumers;
    _Atomic uint64_t doubled, torn;
    _Atomic uint64_t settled[]; /* a bit for each message that has had its fate */
};

/* The supervisor's. */
struct total {
    uint64_t kills, unfinished, redelivered, in_hand;
    uint64_t *doubtful; /* the message that each dead producer was at */
    size_t doubtful_count;
};

static struct brood_ring *ring;
static struct account *account;
static pid_t pids[2 * SIDE_MAX];
static struct settings settings = {.seconds = 2, .producers = 2, .consumers = 2, .seed = 1, .slots = 64};

_Noreturn static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- the participants ---- */

static bool is_producer(unsigned owner)
{
    return owner <= settings.producers;
}

static bool is_settled(uint64_t message)
{
    return account->settled[message / 64] >> message % 64 & 1;
}

static void settle(uint64_t message)
{
    uint64_t bit = UINT64_C(1) << message % 64;

    if (atomic_fetch_or(&account->settled[message / 64], bit) & bit)
        account->doubled++;
}

static bool is_torn(const uint64_t *message)
{
    for (int i = 1; i < WORDS; i++)
        if (message[i] != message[0])
            return true;
    return false;
}

static void produce(unsigned owner)
{
    struct entry *entry = &account->entries[owner - 1];
    uint64_t end = owner * PRODUCER_MESSAGES, message[WORDS];

    while (!account->stop_producers && entry->message[0] < end) {
        for (int i = 0; i < WORDS; i++)
            message[i] = entry->message[0];
        if (brood_ring_put(ring, owner, message) == 0)
            entry->message[0]++;
        else
            sched_yield();
    }
}

static void consume(unsigned owner)
{
    struct entry *entry = &account->entries[owner - 1];

    for (;;) {
        bool last_look = account->stop_consumers;

        if (brood_ring_get(ring, owner, entry->message) == 0) {
            account->torn += is_torn(entry->message);
            settle(entry->message[0]);
        } else if (last_look) {
            return;
        } else {
            sched_yield();
        }
    }
}

static void start(unsigned owner)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (is_producer(owner))
            produce(owner);
        else
            consume(owner);
        _exit(0);
    }
    pids[owner - 1] = pid;
}

/* ---- the supervisor ---- */

/* The dead producer was about to put the message, or had put it and not counted on.  Whether it was published is seen in
 * the end, by whether somebody got it.  The next life of the producer begins with the next message. */
static void reap_producer(struct entry *entry, const struct brood_ring_report *report, struct total *total)
{
    if (report->unfinished_puts)
        settle(entry->message[0]);
    total->unfinished += report->unfinished_puts;
    total->doubtful = realloc(total->doubtful, (total->doubtful_count + 1) * sizeof(*total->doubtful));
    if (!total->doubtful)
        fail("realloc");
    total->doubtful[total->doubtful_count++] = entry->message[0]++;
}

/* The message in the hand of the dead consumer is the one that lies in its entry.  It may have dealt with it. */
static void reap_consumer(struct entry *entry, const struct brood_ring_report *report, struct total *total)
{
    total->redelivered += report->redelivered;
    if (report->in_hand && !is_settled(entry->message[0])) {
        settle(entry->message[0]);
        total->in_hand++;
    }
}

static void await_end(unsigned owner)
{
    int status;

    if (waitpid(pids[owner - 1], &status, 0) < 0)
        fail("waitpid");
}

static void kill_one(unsigned owner, struct total *total)
{
    struct entry *entry = &account->entries[owner - 1];
    struct brood_ring_report report;

    if (kill(pids[owner - 1], SIGKILL) < 0)
        fail("kill");
    await_end(owner);
    if (brood_ring_recover(ring, owner, &report) < 0)
        fail("brood_ring_recover");
    if (is_producer(owner))
        reap_producer(entry, &report, total);
    else
        reap_consumer(entry, &report, total);
    total->kills++;
    start(owner);
}

/* Up to a quarter of a millisecond between two kills, spent off the CPU half of the time: participants are to be hit
 * anywhere, and not only where the scheduler puts them. */
static void pass_time(void)
{
    double until = now() + (double)(rand() % 250) / 1e6;

    if (rand() % 2 == 0)
        nanosleep(&(struct timespec){.tv_nsec = rand() % 250000}, NULL);
    else
        while (now() < until)
            ;
}

static void storm(struct total *total)
{
    double end = now() + settings.seconds;

    while (now() < end) {
        pass_time();
        kill_one((unsigned)rand() % (settings.producers + settings.consumers) + 1, total);
    }
}

/* Producers first; then consumers, once the ring is drained. */
static void finish(void)
{
    account->stop_producers = true;
    for (unsigned owner = 1; owner <= settings.producers; owner++)
        await_end(owner);
    account->stop_consumers = true;
    for (unsigned owner = settings.producers + 1; owner <= settings.producers + settings.consumers; owner++)
        await_end(owner);
}

/* ---- the account ---- */

/* All that have a fate. */
static uint64_t count_settled(void)
{
    uint64_t count = 0;

    for (unsigned owner = 1; owner <= settings.producers; owner++) {
        uint64_t first = (owner - 1) * PRODUCER_MESSAGES;

        for (uint64_t i = first / 64; i <= account->entries[owner - 1].message[0] / 64; i++)
            count += (unsigned)__builtin_popcountll(account->settled[i]);
    }
    return count;
}

/* Those whose put returned, and those of dead producers that somebody got all the same. */
static uint64_t count_put(const struct total *total)
{
    uint64_t count = 0;

    for (unsigned owner = 1; owner <= settings.producers; owner++)
        count += account->entries[owner - 1].message[0] - (owner - 1) * PRODUCER_MESSAGES;
    for (size_t i = 0; i < total->doubtful_count; i++)
        count -= !is_settled(total->doubtful[i]);
    return count - total->unfinished;
}

static bool is_whole(void)
{
    uint64_t message[WORDS] = {0};
    size_t put = 0, got = 0;

    while (brood_ring_put(ring, 1, message) == 0)
        put++;
    while (brood_ring_get(ring, 1, message) == 0)
        got++;
    brood_ring_done(ring, 1);
    return put == settings.slots && got == settings.slots;
}

static int report(const struct total *total)
{
    uint64_t put = count_put(total), got = count_settled() - total->unfinished - total->in_hand;
    bool whole = is_whole(), even = put == got + total->in_hand && account->doubled == 0 && account->torn == 0 && whole;

    printf("put %" PRIu64 " = got %" PRIu64 " + in hand %" PRIu64 "; %" PRIu64 " kills, %" PRIu64
           " unfinished puts, %" PRIu64 " delivered again, %" PRIu64 " doubled, %" PRIu64 " torn, ring %s: %s\n",
           put, got, total->in_hand, total->kills, total->unfinished, total->redelivered, account->doubled,
           (uint64_t)account->torn, whole ? "whole" : "not whole", even ? "even" : "NOT EVEN");
    return even ? 0 : 1;
}

/* ---- the program ---- */

static const struct argp_option options[] = {
    {"seconds", 's', "N", 0, "How long to kill (2)", 0},
    {"producers", 'p', "N", 0, "How many producers, 1 to 16 (2)", 0},
    {"consumers", 'c', "N", 0, "How many consumers, 1 to 16 (2)", 0},
    {"slots", 'n', "N", 0, "Slots of the ring, a power of two (64)", 0},
    {"seed", 'r', "N", 0, "Of the random numbers (1)", 0},
    {0},
};

static unsigned number(const char *text, unsigned max, struct argp_state *state)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value < 1 || value > max)
        argp_error(state, "'%s' is not a number from 1 to %u", text, max);
    return (unsigned)value;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    if (key == 's')
        settings.seconds = atof(text);
    else if (key == 'p')
        settings.producers = number(text, SIDE_MAX, state);
    else if (key == 'c')
        settings.consumers = number(text, SIDE_MAX, state);
    else if (key == 'n')
        settings.slots = number(text, BROOD_RING_SLOTS_MAX, state);
    else if (key == 'r')
        settings.seed = number(text, UINT32_MAX, state);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        options, parse, NULL, "Kills users of a ring at random and checks that every message has one fate.",
        NULL,    NULL,  NULL};
    struct total total = {0};
    int status;

    if (argp_parse(&argp, argc, argv, 0, NULL, NULL) != 0)
        return 2;
    srand(settings.seed);
    account = map(sizeof(*account) + settings.producers * PRODUCER_MESSAGES / 8 + 8);
    for (unsigned owner = 1; owner <= settings.producers; owner++)
        account->entries[owner - 1].message[0] = (owner - 1) * PRODUCER_MESSAGES;
    if (brood_ring_bytes(settings.slots, WORDS * sizeof(uint64_t)) == 0) {
        (void)fprintf(stderr, "%zu slots make no ring\n", settings.slots);
        return 2;
    }
    ring = map(brood_ring_bytes(settings.slots, WORDS * sizeof(uint64_t)));
    if (brood_ring_init(ring, settings.slots, WORDS * sizeof(uint64_t)) < 0)
        return 2;
    for (unsigned owner = 1; owner <= settings.producers + settings.consumers; owner++)
        start(owner);
    storm(&total);
    finish();
    status = report(&total);
    free(total.doubtful);
    return status;
}
