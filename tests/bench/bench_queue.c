/* bench_queue.c - what a message through a queue costs between processes, with all that a queue does, beside what does
 * less: ck_ring, in which no process may be killed or sleep, and the message queues of POSIX, which are the kernel's.
 *
 * Each batch forks producers and consumers anew and pins them, in turn, to the CPUs there are.  They begin together.  A
 * queue and POSIX wait by themselves; around ck_ring one looks a few times more and then yields.  Counted is the time from
 * the first begin to the last end; consumers add up what they get, so that nothing can be lost unnoticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef BROOD_HAVE_CK
#include <ck_ring.h>
#endif

#include <brood/queue.h>

#include "bench.h"
#include "os/clock.h"

#define SLOTS 1024
#define MESSAGES 48000 /* in a batch: some milliseconds */
#define ROUNDS 61
#define LOOKS 64 /* before one yields */
#define SIDE_MAX 4
#define BATCH 32
#define BATCH_BYTES_MAX 64
#define BYTES_MAX 1024

/* One way to send messages of one size.  The process that opens it is the parent of all that use it. */
struct channel {
    const char *name;
    void *(*open)(size_t bytes);
    void (*close)(void *channel);
    void (*put)(void *channel, const void *message, size_t bytes);
    void (*get)(void *channel, void *ret_message, size_t bytes);
    unsigned share; /* so many times fewer messages, since it is so slow */
};

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        bench_fail("mmap: %s", strerror(errno));
    return memory;
}

#ifdef BROOD_HAVE_CK
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
#endif

/* ---- brood_queue ---- */

static void *queue_open(size_t bytes)
{
    struct brood_queue *queue;

    if (brood_queue_open(&queue, BROOD_QUEUE(.bound = SLOTS, .message_bytes = bytes)) < 0)
        bench_fail("%s", brood_error());
    return queue;
}

#ifdef BROOD_HAVE_CK
static void *unbounded_open(size_t bytes)
{
    struct brood_queue *queue;

    if (brood_queue_open(&queue, BROOD_QUEUE(.message_bytes = bytes)) < 0)
        bench_fail("%s", brood_error());
    return queue;
}
#endif

static void queue_close(void *channel)
{
    brood_queue_close(channel);
}

static void queue_put(void *channel, const void *message, size_t bytes)
{
    if (brood_queue_put(channel, (struct brood_bytes){message, bytes}, BROOD_FOREVER) < 0)
        bench_fail("%s", brood_error());
}

static void queue_get(void *channel, void *ret_message, size_t bytes)
{
    struct brood_space space = {ret_message, bytes};

    if (brood_queue_get(channel, &space, BROOD_FOREVER) < 0)
        bench_fail("%s", brood_error());
}

/* ---- ck_ring ---- */

#ifdef BROOD_HAVE_CK
struct ck {
    ck_ring_t ring;
    _Alignas(64) ck_ring_buffer_t buffer[SLOTS];
};

static void *ck_open(size_t bytes)
{
    struct ck *ck = map(sizeof(*ck));

    (void)bytes;
    ck_ring_init(&ck->ring, SLOTS);
    return ck;
}

static void ck_close(void *channel)
{
    munmap(channel, sizeof(struct ck));
}

static void ck_put(void *channel, const void *message, size_t bytes)
{
    struct ck *ck = channel;
    void *word;

    (void)bytes;
    memcpy(&word, message, sizeof(word));
    for (unsigned looks = 0; !ck_ring_enqueue_mpmc(&ck->ring, ck->buffer, word); looks++)
        rest(looks);
}

static void ck_get(void *channel, void *ret_message, size_t bytes)
{
    struct ck *ck = channel;
    void *word;

    (void)bytes;
    for (unsigned looks = 0; !ck_ring_dequeue_mpmc(&ck->ring, ck->buffer, &word); looks++)
        rest(looks);
    memcpy(ret_message, &word, sizeof(word));
}

/* Slots of a cache line. */
struct cacheline {
    unsigned char bytes[64];
};
CK_RING_PROTOTYPE(cacheline, cacheline)

struct ck_lines {
    ck_ring_t ring;
    _Alignas(64) struct cacheline buffer[SLOTS];
};

static void *lines_open(size_t bytes)
{
    struct ck_lines *ck = map(sizeof(*ck));

    (void)bytes;
    ck_ring_init(&ck->ring, SLOTS);
    return ck;
}

static void lines_close(void *channel)
{
    munmap(channel, sizeof(struct ck_lines));
}

static void lines_put(void *channel, const void *message, size_t bytes)
{
    struct ck_lines *ck = channel;

    (void)bytes;
    for (unsigned looks = 0;
         !CK_RING_ENQUEUE_MPMC(cacheline, &ck->ring, ck->buffer, (struct cacheline *)(uintptr_t)message); looks++)
        rest(looks);
}

static void lines_get(void *channel, void *ret_message, size_t bytes)
{
    struct ck_lines *ck = channel;

    (void)bytes;
    for (unsigned looks = 0; !CK_RING_DEQUEUE_MPMC(cacheline, &ck->ring, ck->buffer, (struct cacheline *)ret_message);
         looks++)
        rest(looks);
}

/* Slots of a kilobyte, for one producer and one consumer. */
struct kilobyte {
    unsigned char bytes[BYTES_MAX];
};
CK_RING_PROTOTYPE(kilobyte, kilobyte)

struct ck_kilobytes {
    ck_ring_t ring;
    _Alignas(64) struct kilobyte buffer[SLOTS];
};

static void *kilobytes_open(size_t bytes)
{
    struct ck_kilobytes *ck = map(sizeof(*ck));

    (void)bytes;
    ck_ring_init(&ck->ring, SLOTS);
    return ck;
}

static void kilobytes_close(void *channel)
{
    munmap(channel, sizeof(struct ck_kilobytes));
}

static void kilobytes_put(void *channel, const void *message, size_t bytes)
{
    struct ck_kilobytes *ck = channel;

    (void)bytes;
    for (unsigned looks = 0; !CK_RING_ENQUEUE_SPSC(kilobyte, &ck->ring, ck->buffer, (struct kilobyte *)(uintptr_t)message);
         looks++)
        rest(looks);
}

static void kilobytes_get(void *channel, void *ret_message, size_t bytes)
{
    struct ck_kilobytes *ck = channel;

    (void)bytes;
    for (unsigned looks = 0; !CK_RING_DEQUEUE_SPSC(kilobyte, &ck->ring, ck->buffer, (struct kilobyte *)ret_message);
         looks++)
        rest(looks);
}
#endif

/* ---- POSIX ---- */

static void *mq_channel_open(size_t bytes)
{
    struct mq_attr attributes = {.mq_maxmsg = 10, .mq_msgsize = (long)bytes}; /* what every user may ask for */
    char name[64];
    mqd_t *mq = map(sizeof(*mq));

    (void)snprintf(name, sizeof(name), "/brood-bench-%d", (int)getpid());
    *mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (*mq < 0)
        bench_fail("mq_open: %s", strerror(errno));
    mq_unlink(name);
    return mq;
}

static void mq_channel_close(void *channel)
{
    mq_close(*(mqd_t *)channel);
    munmap(channel, sizeof(mqd_t));
}

static void mq_put(void *channel, const void *message, size_t bytes)
{
    if (mq_send(*(mqd_t *)channel, message, bytes, 0) < 0)
        bench_fail("mq_send: %s", strerror(errno));
}

static void mq_get(void *channel, void *ret_message, size_t bytes)
{
    if (mq_receive(*(mqd_t *)channel, ret_message, bytes, NULL) < 0)
        bench_fail("mq_receive: %s", strerror(errno));
}

static const struct channel queue_channel = {"brood_queue", queue_open, queue_close, queue_put, queue_get, 1};
static const struct channel mq_channel = {"POSIX mq", mq_channel_open, mq_channel_close, mq_put, mq_get, 8};
#ifdef BROOD_HAVE_CK
static const struct channel unbounded_channel = {
    "brood_queue, no bound", unbounded_open, queue_close, queue_put, queue_get, 1};
static const struct channel ck_channel = {"ck_ring, mpmc", ck_open, ck_close, ck_put, ck_get, 1};
static const struct channel lines_channel = {"ck_ring, mpmc", lines_open, lines_close, lines_put, lines_get, 1};
static const struct channel kilobytes_channel = {"ck_ring, spsc", kilobytes_open, kilobytes_close,
                                                 kilobytes_put,   kilobytes_get,  1};
#endif

/* ---- one batch ---- */

struct contest {
    struct channel channel;
    unsigned sides; /* so many producers, and so many consumers */
    size_t bytes;
    bool in_batches; /* of BATCH messages: of a queue */
};

/* What the participants of a batch share, besides the channel. */
struct batch {
    _Atomic unsigned ready;
    _Atomic bool go;
    _Atomic uint64_t sum;
    int64_t begin[2 * SIDE_MAX], end[2 * SIDE_MAX];
};

static uint64_t each_of(const struct contest *contest)
{
    return MESSAGES / contest->channel.share / contest->sides;
}

static void produce(const struct contest *contest, void *channel)
{
    unsigned char message[BYTES_MAX] = {0};

    for (uint64_t i = 1; i <= each_of(contest); i++) {
        memcpy(message, &i, sizeof(i));
        contest->channel.put(channel, message, contest->bytes);
    }
}

static uint64_t number_in(const unsigned char *message)
{
    uint64_t number;

    memcpy(&number, message, sizeof(number));
    return number;
}

static uint64_t consume(const struct contest *contest, void *channel)
{
    unsigned char message[BYTES_MAX];
    uint64_t sum = 0;

    for (uint64_t i = 1; i <= each_of(contest); i++) {
        contest->channel.get(channel, message, contest->bytes);
        sum += number_in(message);
    }
    return sum;
}

static void produce_batches(const struct contest *contest, struct brood_queue *queue)
{
    unsigned char bytes[BATCH][BATCH_BYTES_MAX] = {{0}};
    struct brood_bytes messages[BATCH];

    for (uint64_t done = 0; done < each_of(contest);) {
        size_t count = each_of(contest) - done < BATCH ? each_of(contest) - done : BATCH, put;

        for (size_t i = 0; i < count; i++) {
            memcpy(bytes[i], &(uint64_t){done + i + 1}, sizeof(uint64_t));
            messages[i] = (struct brood_bytes){bytes[i], contest->bytes};
        }
        if (brood_queue_put_many(queue, messages, count, &put, BROOD_FOREVER) < 0)
            bench_fail("%s", brood_error());
        done += put;
    }
}

static uint64_t consume_batches(const struct contest *contest, struct brood_queue *queue)
{
    unsigned char bytes[BATCH][BATCH_BYTES_MAX];
    struct brood_space spaces[BATCH];
    uint64_t sum = 0;

    for (uint64_t done = 0; done < each_of(contest);) {
        size_t count = each_of(contest) - done < BATCH ? each_of(contest) - done : BATCH, got;

        for (size_t i = 0; i < count; i++)
            spaces[i] = (struct brood_space){bytes[i], contest->bytes};
        if (brood_queue_get_many(queue, spaces, count, &got, BROOD_FOREVER) < 0)
            bench_fail("%s", brood_error());
        for (size_t i = 0; i < got; i++)
            sum += number_in(bytes[i]);
        done += got;
    }
    return sum;
}

static int count_cpus(void)
{
    int count = 0;

    while (bench_cpu(count) >= 0)
        count++;
    return count;
}

/* With the first message each has its number in the queue, and has touched what it will touch. */
static void take_part(const struct contest *contest, struct batch *batch, void *channel, unsigned number)
{
    bool is_producer = number < contest->sides;
    uint64_t sum = 0;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process would stop it */
    bench_pin(0, bench_cpu((int)number % count_cpus()));
    if (is_producer)
        contest->channel.put(channel, (unsigned char[BYTES_MAX]){0}, contest->bytes);
    else
        contest->channel.get(channel, (unsigned char[BYTES_MAX]){0}, contest->bytes);
    batch->ready++;
    while (!batch->go)
        sched_yield();
    batch->begin[number] = brood__now_ns();
    if (is_producer && contest->in_batches)
        produce_batches(contest, channel);
    else if (is_producer)
        produce(contest, channel);
    else
        sum = contest->in_batches ? consume_batches(contest, channel) : consume(contest, channel);
    batch->end[number] = brood__now_ns();
    batch->sum += sum;
}

static void fork_all(const struct contest *contest, struct batch *batch, void *channel)
{
    for (unsigned i = 0; i < 2 * contest->sides; i++) {
        pid_t pid = fork();

        if (pid < 0)
            bench_fail("fork: %s", strerror(errno));
        if (pid == 0) {
            take_part(contest, batch, channel, i);
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
    uint64_t each = each_of(contest);
    struct batch *batch = map(sizeof(*batch));
    void *channel = contest->channel.open(contest->bytes);
    double ns;

    fork_all(contest, batch, channel);
    while (batch->ready < 2 * contest->sides)
        sched_yield();
    batch->go = true;
    for (unsigned i = 0; i < 2 * contest->sides; i++)
        if (wait(NULL) < 0)
            bench_fail("wait: %s", strerror(errno));
    if (batch->sum != contest->sides * (each * (each + 1) / 2))
        bench_fail("%s has lost messages", contest->channel.name);
    ns = (double)time_of(batch, 2 * contest->sides) / (double)(each * contest->sides);
    contest->channel.close(channel);
    munmap(batch, sizeof(*batch));
    return ns;
}

/* ---- the benchmarks ---- */

/* The mark: at most that part of the peer's time. */
static void compare(struct report *report, const char *what, struct contest mine, struct contest peer, double mark)
{
    struct side all[2] = {{.name = mine.channel.name, .measure = ns_per_message, .state = &mine},
                          {.name = peer.channel.name, .measure = ns_per_message, .state = &peer}};

    sides_measure(all, 2, rounds(report, ROUNDS));
    report_ratio(report, what, "ns", &all[0], &all[1], mark);
    sides_free(all, 2);
}

#ifdef BROOD_HAVE_CK
/* What is put one by one is compared with ck_ring, and so is what is put in batches, for ck_ring knows none. */
static void beside_ck(struct report *report)
{
    struct contest words = {ck_channel, 1, 8, false}, lines = {lines_channel, 1, 64, false};

    compare(report, "8 bytes, 1 producer, 1 consumer", (struct contest){queue_channel, 1, 8, false}, words, 1 / 1.5);
    compare(report, "64 bytes, 1 producer, 1 consumer", (struct contest){queue_channel, 1, 64, false}, lines, 1 / 1.5);
    compare(report, "8 bytes, no bound", (struct contest){unbounded_channel, 1, 8, false}, words, 0);
    compare(report, "8 bytes in batches of 32", (struct contest){queue_channel, 1, 8, true}, words, 1 / 7.5);
    compare(report, "64 bytes in batches of 32", (struct contest){queue_channel, 1, 64, true}, lines, 1 / 7.5);
}

/* ck's producers wait for each other in order of arrival: when one of four has no CPU, the others spin their slices away,
 * and a batch takes minutes.  Two of them on two CPUs do well enough in most batches, and in some take a second. */
static void crowd(struct report *report)
{
    struct contest words = {ck_channel, 2, 8, false}, lines = {lines_channel, 2, 64, false};

    if (count_cpus() < 4)
        report_remark(report, "there are fewer CPUs than participants");
    compare(report, "8 bytes, 2 producers, 2 consumers", (struct contest){queue_channel, 2, 8, false}, words, 1 / 1.5);
    compare(report, "64 bytes, 2 producers, 2 consumers", (struct contest){queue_channel, 2, 64, false}, lines, 1 / 1.5);
    compare(report, "8 bytes in batches of 32, 2 and 2", (struct contest){queue_channel, 2, 8, true}, words, 1 / 7.5);
    compare(report, "64 bytes in batches of 32, 2 and 2", (struct contest){queue_channel, 2, 64, true}, lines, 1 / 7.5);
    if (count_cpus() < 8)
        return;
    words.sides = 4;
    compare(report, "8 bytes, 4 producers, 4 consumers", (struct contest){queue_channel, 4, 8, false}, words, 1 / 1.5);
}

static void kilobytes(struct report *report)
{
    compare(report, "1 KiB, 1 producer, 1 consumer", (struct contest){queue_channel, 1, BYTES_MAX, false},
            (struct contest){kilobytes_channel, 1, BYTES_MAX, false}, 1);
}
#endif

static void beside_mq(struct report *report)
{
    struct contest mq = {mq_channel, 1, 64, false};

    compare(report, "64 bytes, 1 producer, 1 consumer", (struct contest){queue_channel, 1, 64, false}, mq, 1 / 8.0);
    mq.sides = 2;
    compare(report, "64 bytes, 2 producers, 2 consumers", (struct contest){queue_channel, 2, 64, false}, mq, 1 / 8.0);
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
#ifdef BROOD_HAVE_CK
        {"ck", "messages from one process to another, beside ck_ring", beside_ck},
        {"crowd", "messages between more processes than CPUs, beside ck_ring", crowd},
        {"kilobytes", "messages of 1 KiB, beside ck_ring", kilobytes},
#endif
        {"mq", "the same beside POSIX message queues", beside_mq},
        {NULL, NULL, NULL},
    };

    return bench_main(argc, argv, "bench_queue", benches);
}
