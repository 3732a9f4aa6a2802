/* bench_ring.c - what a message through a ring costs between processes, beside ck_ring, the usual fast one, which no
 * process may be killed in.
 *
 * Each batch forks producers and consumers anew and pins them, in turn, to the CPUs there are: with two of each on two
 * CPUs, a producer and a consumer share each.  (Two producers on one CPU would be hard on ck_ring: each waits, spinning,
 * for the other to publish first, and so a message takes a slice of the scheduler's time.)  They begin together; the one that
 * hears "full" or "empty" looks a few times more and then yields, and it is the same for both rings.  Counted is the time
 * from the first begin to the last end, and consumers add up what they get, so that nothing can be lost unnoticed.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef BROOD_HAVE_CK
#include <ck_ring.h>
#endif

#include <brood/ring.h>

#include "bench.h"
#include "os/clock.h"

#define SLOTS 1024
#define MESSAGES 60000 /* in a batch: some milliseconds */
#define ROUNDS 101
#define LOOKS 64 /* before one yields */
#define SIDE_MAX 2

/* A queue of 8-byte messages in shared memory. */
struct queue {
    const char *name;
    size_t bytes;
    void (*init)(void *queue);
    bool (*put)(void *queue, unsigned owner, uint64_t message);
    bool (*get)(void *queue, unsigned owner, uint64_t *ret_message);
    void (*leave)(void *queue, unsigned owner);
};

/* ---- brood_ring ---- */

static void ring_init(void *queue)
{
    if (brood_ring_init(queue, SLOTS, sizeof(uint64_t)) < 0)
        bench_fail("%s", brood_error());
}

static bool ring_put(void *queue, unsigned owner, uint64_t message)
{
    return brood_ring_put(queue, owner, &message) == 0;
}

static bool ring_get(void *queue, unsigned owner, uint64_t *ret_message)
{
    return brood_ring_get(queue, owner, ret_message) == 0;
}

static void ring_leave(void *queue, unsigned owner)
{
    brood_ring_done(queue, owner);
}

/* ---- ck_ring ---- */

#ifdef BROOD_HAVE_CK
struct ck {
    ck_ring_t ring;
    _Alignas(64) ck_ring_buffer_t buffer[SLOTS];
};

static void ck_init(void *queue)
{
    struct ck *ck = queue;

    ck_ring_init(&ck->ring, SLOTS);
}

static bool ck_put(void *queue, unsigned owner, uint64_t message)
{
    struct ck *ck = queue;

    (void)owner;
    return ck_ring_enqueue_mpmc(&ck->ring, ck->buffer, (void *)(uintptr_t)message);
}

static bool ck_get(void *queue, unsigned owner, uint64_t *ret_message)
{
    struct ck *ck = queue;
    void *message;

    (void)owner;
    if (!ck_ring_dequeue_mpmc(&ck->ring, ck->buffer, &message))
        return false;
    *ret_message = (uint64_t)(uintptr_t)message;
    return true;
}

static void ck_leave(void *queue, unsigned owner)
{
    (void)queue;
    (void)owner;
}
#endif

/* ---- one batch ---- */

struct contest {
    struct queue queue;
    unsigned sides; /* so many producers, and so many consumers */
};

/* What the participants of a batch share, besides the queue. */
struct batch {
    _Atomic unsigned ready;
    _Atomic bool go;
    _Atomic uint64_t sum;
    int64_t begin[2 * SIDE_MAX], end[2 * SIDE_MAX];
};

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        bench_fail("mmap: %s", strerror(errno));
    return memory;
}

/* Between two looks. */
static void rest(unsigned looks)
{
    if (looks % LOOKS == LOOKS - 1)
        sched_yield();
#ifdef __x86_64__
    else
        __builtin_ia32_pause();
#endif
}

static void produce(const struct contest *contest, void *queue, unsigned owner)
{
    for (uint64_t i = 1; i <= MESSAGES / contest->sides; i++)
        for (unsigned looks = 0; !contest->queue.put(queue, owner, i); looks++)
            rest(looks);
}

static uint64_t consume(const struct contest *contest, void *queue, unsigned owner)
{
    uint64_t message, sum = 0;

    for (uint64_t i = 1; i <= MESSAGES / contest->sides; i++) {
        for (unsigned looks = 0; !contest->queue.get(queue, owner, &message); looks++)
            rest(looks);
        sum += message;
    }
    contest->queue.leave(queue, owner);
    return sum;
}

/* A child that has not touched a page of the queue yet would pay for it while it is measured. */
static void touch(const void *memory, size_t bytes)
{
    const volatile char *bytes_of = memory;

    for (size_t i = 0; i < bytes; i += 4096)
        (void)bytes_of[i];
}

static int count_cpus(void)
{
    int count = 0;

    while (bench_cpu(count) >= 0)
        count++;
    return count;
}

static void take_part(const struct contest *contest, struct batch *batch, void *queue, unsigned number)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process would stop it */
    bench_pin(0, bench_cpu((int)number % count_cpus()));
    touch(queue, contest->queue.bytes);
    batch->ready++;
    while (!batch->go)
        sched_yield();
    batch->begin[number] = brood__now_ns();
    if (number < contest->sides)
        produce(contest, queue, number + 1);
    else
        batch->sum += consume(contest, queue, number + 1);
    batch->end[number] = brood__now_ns();
}

static void fork_all(const struct contest *contest, struct batch *batch, void *queue)
{
    for (unsigned i = 0; i < 2 * contest->sides; i++) {
        pid_t pid = fork();

        if (pid < 0)
            bench_fail("fork: %s", strerror(errno));
        if (pid == 0) {
            take_part(contest, batch, queue, i);
            _exit(0);
        }
    }
}

static int64_t time_of(const struct batch *batch, unsigned count)
{
    int64_t begin = batch->begin[0], end = batch->end[0];

    for (unsigned i = 1; i < count; i++) {
        begin = batch->begin[i] < begin ? batch->begin[i] : begin;
        end = batch->end[i] > end ? batch->end[i] : end;
    }
    return end - begin;
}

static double ns_per_message(void *state)
{
    const struct contest *contest = state;
    uint64_t each = MESSAGES / contest->sides;
    struct batch *batch = map(sizeof(*batch));
    void *queue = map(contest->queue.bytes);
    double ns;

    contest->queue.init(queue);
    fork_all(contest, batch, queue);
    while (batch->ready < 2 * contest->sides)
        sched_yield();
    batch->go = true;
    for (unsigned i = 0; i < 2 * contest->sides; i++)
        if (wait(NULL) < 0)
            bench_fail("wait: %s", strerror(errno));
    if (batch->sum != contest->sides * (each * (each + 1) / 2))
        bench_fail("%s has lost messages", contest->queue.name);
    ns = (double)time_of(batch, 2 * contest->sides) / MESSAGES;
    munmap(queue, contest->queue.bytes);
    munmap(batch, sizeof(*batch));
    return ns;
}

/* ---- the benchmarks ---- */

static void measure(struct report *report, const char *what, unsigned sides)
{
    struct contest contests[] = {
        {{"brood_ring", brood_ring_bytes(SLOTS, sizeof(uint64_t)), ring_init, ring_put, ring_get, ring_leave}, sides},
#ifdef BROOD_HAVE_CK
        {{"ck_ring, mpmc", sizeof(struct ck), ck_init, ck_put, ck_get, ck_leave}, sides},
#endif
    };
    size_t count = sizeof(contests) / sizeof(contests[0]);
    struct side all[2];

    memset(all, 0, sizeof(all));
    for (size_t i = 0; i < count; i++) {
        all[i].name = contests[i].queue.name;
        all[i].measure = ns_per_message;
        all[i].state = &contests[i];
    }
    sides_measure(all, count, rounds(report, ROUNDS));
    if (count > 1)
        report_ratio(report, what, "ns", &all[0], &all[1], 1);
    else
        report_value(report, what, "ns", &all[0], NULL, 0);
    sides_free(all, count);
}

static void one_of_each(struct report *report)
{
    measure(report, "a message, 1 producer, 1 consumer", 1);
}

static void two_of_each(struct report *report)
{
    measure(report, "a message, 2 producers, 2 consumers", 2);
    if (count_cpus() < 4)
        report_remark(report, "there are fewer CPUs than participants");
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"1p1c", "a message from one process to another", one_of_each},
        {"2p2c", "messages from two processes to two others", two_of_each},
        {NULL, NULL, NULL},
    };

    return bench_main(argc, argv, "bench_ring", benches);
}
