#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "os/clock.h"
#include "os/futex.h"
#include "peers.h"

struct hot_line {
    _Alignas(128) _Atomic uint64_t word; /* the neighbouring line stays free: prefetchers fetch pairs */
};

struct bare_slot {
    _Alignas(64) _Atomic uint64_t word; /* the task's number: odd, asked; even, answered */
    uint64_t arg, result;
};

/* What the two share.  The caller writes everything up to `calls`, then adds to it. */
struct desk {
    unsigned count;
    size_t items;
    item_body *body;
    bool dynamic;
    double ns; /* servant, before `done` */
    _Alignas(128) _Atomic uint32_t calls;
    _Alignas(128) _Atomic uint32_t done; /* servant: how many calls it has served */
    struct hot_line line;
    _Alignas(128) _Atomic uint32_t ping; /* caller adds, servant sleeps on it */
    _Alignas(128) _Atomic uint32_t pong; /* servant adds, caller sleeps on it */
    struct bare_slot slots[SERVANT_SLOTS];
};

struct servant {
    struct desk *desk;
    pid_t pid;
    uint32_t pongs; /* seen */
};

/* ---- one line ---- */

static void await(_Atomic uint64_t *word, uint64_t value)
{
    while (atomic_load_explicit(word, memory_order_acquire) != value)
        ;
}

static void serve_pingpong(struct desk *desk)
{
    for (uint64_t i = 1; i <= desk->count; i++) {
        await(&desk->line.word, 2 * i - 1);
        atomic_store_explicit(&desk->line.word, 2 * i, memory_order_release);
    }
}

static void ping(struct desk *desk, uint64_t i)
{
    atomic_store_explicit(&desk->line.word, 2 * i - 1, memory_order_release);
    await(&desk->line.word, 2 * i);
}

/* ---- futex ---- */

static void serve_futex(struct desk *desk)
{
    uint32_t ping = atomic_load(&desk->ping);

    for (;;) {
        while (atomic_load(&desk->ping) == ping)
            (void)brood__futex_wait(&desk->ping, ping, BROOD_FOREVER);
        ping++;
        atomic_fetch_add(&desk->pong, 1);
        (void)brood__futex_wake(&desk->pong, 1);
    }
}

/* ---- a ring of slots ---- */

static void serve_slots(struct desk *desk)
{
    for (uint64_t lap = 1; lap <= desk->count; lap++)
        for (unsigned i = 0; i < SERVANT_SLOTS; i++) {
            struct bare_slot *slot = &desk->slots[i];

            await(&slot->word, 2 * lap - 1);
            slot->result = slot->arg + 1;
            atomic_store_explicit(&slot->word, 2 * lap, memory_order_release);
        }
}

static void use_slots(struct desk *desk, uint64_t lap)
{
    for (unsigned i = 0; i < SERVANT_SLOTS; i++) {
        desk->slots[i].arg = i;
        atomic_store_explicit(&desk->slots[i].word, 2 * lap - 1, memory_order_release);
    }
    for (unsigned i = 0; i < SERVANT_SLOTS; i++) {
        await(&desk->slots[i].word, 2 * lap);
        if (desk->slots[i].result != i + 1)
            bench_fail("a bare slot has a wrong answer");
    }
}

/* ---- OpenMP ---- */

#ifdef _OPENMP
static void loop(item_body *body, const uint64_t *args, uint64_t *results, size_t items, bool dynamic)
{
    if (dynamic) {
#pragma omp parallel for num_threads(2) schedule(dynamic, 1)
        for (size_t i = 0; i < items; i++)
            (void)body(&args[i], &results[i]);
    } else {
#pragma omp parallel for num_threads(2) schedule(static)
        for (size_t i = 0; i < items; i++)
            (void)body(&args[i], &results[i]);
    }
}
#endif

static double time_loops(const struct desk *desk, const uint64_t *args, uint64_t *results, size_t items)
{
#ifdef _OPENMP
    item_body *volatile body = desk->body; /* so that it is not inlined */
    int64_t start;

    loop(body, args, results, items, desk->dynamic); /* wakes the threads */
    start = brood__now_ns();
    for (unsigned i = 0; i < desk->count; i++)
        loop(body, args, results, items, desk->dynamic);
    return (double)(brood__now_ns() - start) / ((double)items * desk->count);
#else
    (void)desk, (void)args, (void)results, (void)items;
    return NAN;
#endif
}

static void serve_openmp(struct desk *desk)
{
    static uint64_t *args, *results;
    static size_t room;
    size_t items = desk->items;

    if (items > room) {
        args = realloc(args, items * sizeof(*args));
        results = realloc(results, items * sizeof(*results));
        room = items;
        if (!args || !results)
            bench_fail("out of memory");
        memset(args, 1, items * sizeof(*args));
        memset(results, 1, items * sizeof(*results));
    }
    desk->ns = time_loops(desk, args, results, items);
}

/* ---- servants ---- */

static void serve_nothing(struct desk *desk)
{
    (void)desk;
}

static void serve(struct desk *desk, void (*service)(struct desk *))
{
    for (uint32_t served = 0;;) {
        while (atomic_load(&desk->calls) == served)
            (void)brood__futex_wait(&desk->calls, served, BROOD_FOREVER);
        service(desk);
        atomic_store(&desk->done, ++served);
        (void)brood__futex_wake(&desk->done, 1);
    }
}

static _Noreturn void be_servant(struct desk *desk, enum service service, int cpu, pid_t parent)
{
    static void (*const services[])(struct desk *) = {
        [SERVE_NOTHING] = serve_nothing, [SERVE_PINGPONG] = serve_pingpong, [SERVE_FUTEX] = serve_futex,
        [SERVE_SLOTS] = serve_slots,     [SERVE_OPENMP] = serve_openmp,
    };

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    if (cpu >= 0)
        bench_pin(0, cpu);
    serve(desk, services[service]);
    _exit(0);
}

struct servant *servant_start(enum service service, int cpu)
{
    struct servant *servant = calloc(1, sizeof(*servant));
    struct desk *desk = mmap(NULL, sizeof(*desk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    pid_t parent = getpid();

    if (!servant || desk == MAP_FAILED)
        bench_fail("out of memory");
    servant->desk = desk;
    servant->pid = fork();
    if (servant->pid < 0)
        bench_fail("fork: %s", strerror(errno));
    if (servant->pid == 0)
        be_servant(desk, service, cpu, parent);
    return servant;
}

void servant_end(struct servant *servant)
{
    (void)kill(servant->pid, SIGKILL);
    (void)waitpid(servant->pid, NULL, 0);
    (void)munmap(servant->desk, sizeof(*servant->desk));
    free(servant);
}

pid_t servant_pid(const struct servant *servant)
{
    return servant->pid;
}

static void call(struct servant *servant)
{
    atomic_fetch_add(&servant->desk->calls, 1);
    (void)brood__futex_wake(&servant->desk->calls, 1);
}

static void await_done(struct servant *servant)
{
    uint32_t calls = atomic_load(&servant->desk->calls), done;

    while ((done = atomic_load(&servant->desk->done)) != calls)
        (void)brood__futex_wait(&servant->desk->done, done, BROOD_FOREVER);
}

double servant_pingpong(struct servant *servant, unsigned count)
{
    struct desk *desk = servant->desk;
    int64_t start, end;

    atomic_store(&desk->line.word, 0);
    desk->count = count + 1;
    call(servant);
    ping(desk, 1); /* by now it is awake */
    start = brood__now_ns();
    for (unsigned i = 2; i <= count + 1; i++)
        ping(desk, i);
    end = brood__now_ns();
    await_done(servant);
    return (double)(end - start) / count;
}

/* The first call leaves the servant in the service for ever. */
double servant_futex(struct servant *servant)
{
    struct desk *desk = servant->desk;
    int64_t start;

    if (atomic_load(&desk->calls) == 0) {
        call(servant);
        bench_await_sleep(servant->pid);
    }
    start = brood__now_ns();
    atomic_fetch_add(&desk->ping, 1);
    (void)brood__futex_wake(&desk->ping, 1);
    while (atomic_load(&desk->pong) == servant->pongs)
        (void)brood__futex_wait(&desk->pong, servant->pongs, BROOD_FOREVER);
    servant->pongs++;
    return (double)(brood__now_ns() - start);
}

double servant_slots(struct servant *servant, unsigned laps)
{
    struct desk *desk = servant->desk;
    int64_t start, end;

    for (unsigned i = 0; i < SERVANT_SLOTS; i++)
        atomic_store(&desk->slots[i].word, 0);
    desk->count = laps + 1;
    call(servant);
    use_slots(desk, 1);
    start = brood__now_ns();
    for (unsigned lap = 2; lap <= laps + 1; lap++)
        use_slots(desk, lap);
    end = brood__now_ns();
    await_done(servant);
    return (double)(end - start) / ((double)laps * SERVANT_SLOTS);
}

double servant_openmp(struct servant *servant, item_body *body, size_t items, bool dynamic, unsigned loops)
{
    servant->desk->body = body;
    servant->desk->items = items;
    servant->desk->dynamic = dynamic;
    servant->desk->count = loops;
    call(servant);
    await_done(servant);
    return servant->desk->ns;
}

/* ---- threads ---- */

struct share {
    const struct span_work *work;
    _Atomic size_t *next;
};

static void *take_shares(void *argument)
{
    struct share *share = argument;
    const struct span_work *work = share->work;

    for (size_t i = atomic_fetch_add(share->next, 1); i < work->n; i = atomic_fetch_add(share->next, 1))
        if (work->body(work->args + i * work->arg_size, work->results + i * work->result_size) != 0)
            bench_fail("a thread's task failed");
    return NULL;
}

double threads_map(const struct span_work *work, unsigned threads)
{
    pthread_t ids[threads];
    _Atomic size_t next = 0;
    struct share share = {work, &next};
    int64_t start = brood__now_ns();

    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, take_shares, &share) != 0)
            bench_fail("cannot start a thread");
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(ids[i], NULL);
    return (double)(brood__now_ns() - start) / 1e9;
}

/* ---- forks ---- */

double bare_forks(unsigned count)
{
    int64_t start = brood__now_ns();

    for (unsigned i = 0; i < count; i++) {
        pid_t pid = fork();

        if (pid < 0)
            bench_fail("fork: %s", strerror(errno));
        if (pid == 0)
            _exit(0);
        (void)waitpid(pid, NULL, 0);
    }
    return (double)(brood__now_ns() - start) / 1e9;
}
