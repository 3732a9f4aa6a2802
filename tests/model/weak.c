/* weak.c - the search of weak.h.
 *
 * An execution is a graph: the steps of each thread, for each load the store that it returns, and for each location the
 * order of its stores.  It grows by one step at a time, and each thread is run again from its beginning to find its next
 * one, with what its loads have returned so far.  (So nothing of a thread needs to be saved, and it may be left by
 * longjmp().)
 *
 * Each execution is found exactly once.  A step that loads nothing comes at once: what it does is the same before and after
 * all others, but for the place of a store in the order of its location, and each place is tried.  Else one thread is
 * chosen, and each store that is there is tried for its load; and then, once, that the load returns a store that is still
 * to come: the others go on, and the load may not return what was there before.
 */
#include "model/weak.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define STEPS 128
#define LOCATIONS 64
#define NAMES 32
#define NOBODY (-1) /* whose "steps" are the values at the beginning */
#define MEMORY_MAX 4096

__extension__ typedef unsigned __int128 set; /* of steps */

static set bit(unsigned step)
{
    return (set)1 << step;
}

struct step {
    enum weak_kind kind;
    int order;
    int thread, location;
    int source;             /* of a load or update: whose value it returned */
    int rank;               /* of a store or update: its place in the order of the location's stores */
    bool is_read_by_update; /* so no store may come between the two */
    uint64_t loaded, stored;
    set before;   /* what happens before it */
    set released; /* what happens before those who load its value and acquire */
};

enum next { NEXT_STEP, NEXT_SLEEP, NEXT_END, NEXT_GIVE_UP };

/* What a thread does next. */
struct request {
    enum next next;
    enum weak_kind kind;
    int order, failure; /* of a compare-and-swap: the order if it fails */
    int location;
    bool is_swap; /* else an update is a weak_operation */
    enum weak_operation operation;
    uint64_t expected, value;
};

struct graph {
    int first[LOCATIONS]; /* the step that stands for the value at the beginning, + 1; 0: nobody has been there */
    /* Of each thread: its last step and its last release fence, + 1, and what it would know by an acquire fence. */
    int last[WEAK_THREADS], release_fence[WEAK_THREADS];
    set acquirable[WEAK_THREADS];
    int passed[WEAK_THREADS]; /* its next load returns no step before this one */
    bool has_order;           /* sequentially consistent steps or heavy fences are among them */
    struct request next[WEAK_THREADS];
    int count;
    struct step steps[STEPS]; /* last: only what is used of it is copied */
};

static struct {
    const volatile void *at;
    uint64_t initial, mask;
    uint64_t final;   /* what the check sees and changes */
    unsigned writers; /* a bit for each thread that was ever seen to store there */
} locations[LOCATIONS];
static int location_count;

static struct {
    const volatile void *at;
    const char *name;
} names[NAMES];
static int name_count;
static uintptr_t shared_from, shared_to;

static const struct weak_case *running;
static uint64_t executions, seen;
static bool has_new_writer;
static const char *failure;
static struct graph failed;

/* ---- one of the threads is run, or what comes before and after them ---- */

static enum { PREPARES, RUNS, CHECKS } phase;

static struct {
    const struct graph *graph;
    unsigned thread;
    int done[STEPS], count, at; /* the steps that it has made already, in order */
    jmp_buf stop;
    struct request request;
} run;

static void fail(const struct graph *graph, const char *why)
{
    if (failure)
        return;
    failure = why;
    if (graph)
        failed = *graph;
}

static int location_of(const volatile void *at, size_t bytes)
{
    int i = 0;

    while (i < location_count && locations[i].at != at)
        i++;
    if (i == LOCATIONS)
        abort();
    if (i == location_count) {
        locations[i].at = at;
        locations[i].mask = bytes == 8 ? UINT64_MAX : ((uint64_t)1 << bytes * 8) - 1;
        memcpy(&locations[i].initial, (const void *)(uintptr_t)at, bytes);
        locations[i].final = locations[i].initial;
        location_count++;
    }
    return i;
}

static const char *name_of(int location)
{
    static char buffers[4][24];
    static unsigned turn;
    char *text = buffers[turn++ % 4];

    for (int i = 0; i < name_count; i++)
        if (names[i].at == locations[location].at)
            return names[i].name;
    (void)snprintf(text, sizeof(buffers[0]), "%p", (const void *)(uintptr_t)locations[location].at);
    return text;
}

void weak_name(const volatile void *at, const char *name)
{
    if (name_count == NAMES)
        abort();
    names[name_count].at = at;
    names[name_count++].name = name;
}

void weak_shared(const void *memory, size_t bytes)
{
    shared_from = (uintptr_t)memory;
    shared_to = shared_from + bytes;
}

static bool is_meant(const struct weak_mutant *mutant, enum weak_kind kind, int location, const char *function)
{
    return mutant && mutant->kind == kind && (mutant->thread == 0 || mutant->thread == THREAD(run.thread)) &&
           (!mutant->function || strcmp(mutant->function, function) == 0) &&
           (!mutant->location ||
            (location >= 0 && strncmp(mutant->location, name_of(location), strlen(mutant->location)) == 0));
}

/* The order that the step shall have, which may be the mistake that is made on purpose. */
static int order_of(enum weak_kind kind, int order, int location, const char *function)
{
    if (is_meant(running->mutant, kind, location, function))
        return running->mutant->order;
    return is_meant(running->also, kind, location, function) ? running->also->order : order;
}

_Noreturn static void stop(enum next next)
{
    run.request.next = next;
    longjmp(run.stop, 1);
}

void weak_give_up(void)
{
    stop(NEXT_GIVE_UP);
}

void weak_check(bool holds, const char *what)
{
    if (!holds)
        fail(run.graph, what);
}

/* The step that the thread makes now: the one that it has made already, or else it stops here. */
static const struct step *made(struct request request)
{
    if (run.at < run.count)
        return &run.graph->steps[run.done[run.at++]];
    run.request = request;
    stop(request.next);
}

static uint64_t direct_load(const volatile void *at, size_t bytes)
{
    uint64_t value = 0;

    if (phase == CHECKS)
        return locations[location_of(at, bytes)].final;
    memcpy(&value, (const void *)(uintptr_t)at, bytes);
    return value;
}

static void direct_store(volatile void *at, size_t bytes, uint64_t value)
{
    if (phase == CHECKS)
        locations[location_of(at, bytes)].final = value;
    else
        memcpy((void *)(uintptr_t)at, &value, bytes);
}

static uint64_t operated(enum weak_operation operation, uint64_t before, uint64_t value, uint64_t mask)
{
    switch (operation) {
    case WEAK_SET:
        return value & mask;
    case WEAK_ADD:
        return (before + value) & mask;
    case WEAK_SUB:
        return (before - value) & mask;
    case WEAK_AND:
        return before & value & mask;
    default:
        return (before | value) & mask;
    }
}

uint64_t weak_load(const volatile void *at, size_t bytes, int order, const char *function)
{
    int location;

    if (phase != RUNS)
        return direct_load(at, bytes);
    location = location_of(at, bytes);
    order = order_of(WEAK_LOAD, order, location, function);
    return made((struct request){.kind = WEAK_LOAD, .order = order, .location = location})->loaded;
}

void weak_store(volatile void *at, size_t bytes, uint64_t value, int order, const char *function)
{
    int location;

    if (phase != RUNS) {
        direct_store(at, bytes, value);
        return;
    }
    location = location_of(at, bytes);
    order = order_of(WEAK_STORE, order, location, function);
    value &= locations[location].mask;
    if (order != WEAK_LEFT_OUT)
        (void)made((struct request){.kind = WEAK_STORE, .order = order, .location = location, .value = value});
}

bool weak_swap(volatile void *at, size_t bytes, void *expected, uint64_t value, int order, int failure_order,
               const char *function)
{
    struct request request = {.kind = WEAK_UPDATE, .failure = failure_order, .is_swap = true, .value = value};
    uint64_t loaded;

    memcpy(&request.expected, expected, bytes);
    if (phase == RUNS) {
        request.location = location_of(at, bytes);
        request.order = order_of(WEAK_UPDATE, order, request.location, function);
        if (request.order == WEAK_AS_LOAD)
            request = (struct request){.kind = WEAK_LOAD,
                                       .order = memory_order_acquire,
                                       .location = request.location,
                                       .expected = request.expected};
        loaded = made(request)->loaded;
    } else {
        loaded = direct_load(at, bytes);
        if (loaded == request.expected)
            direct_store(at, bytes, value);
    }
    if (loaded != request.expected)
        memcpy(expected, &loaded, bytes);
    return loaded == request.expected;
}

uint64_t weak_update(volatile void *at, size_t bytes, enum weak_operation operation, uint64_t value, int order,
                     const char *function)
{
    struct request request = {.kind = WEAK_UPDATE, .operation = operation, .value = value};
    uint64_t before;

    if (phase == RUNS) {
        request.location = location_of(at, bytes);
        request.order = order_of(WEAK_UPDATE, order, request.location, function);
        if (request.order != WEAK_LEFT_OUT)
            return made(request)->loaded;
        return 0;
    }
    before = direct_load(at, bytes);
    direct_store(at, bytes, operated(operation, before, value, bytes == 8 ? UINT64_MAX : ((uint64_t)1 << bytes * 8) - 1));
    return before;
}

void weak_fence(enum weak_kind kind, int order, const char *function)
{
    if (phase != RUNS)
        return;
    order = order_of(kind, order, -1, function);
    if (order != WEAK_LEFT_OUT)
        (void)made((struct request){.kind = kind, .order = order, .location = -1});
}

void weak_sleep(const volatile void *at, size_t bytes, uint64_t expected)
{
    struct request request = {.next = NEXT_SLEEP, .kind = WEAK_LOAD, .order = memory_order_relaxed, .expected = expected};

    if (phase != RUNS)
        return;
    request.location = location_of(at, bytes);
    (void)made(request);
}

/* A wake does nothing: whoever sleeps is woken by finding that the word is another. */
static long futex(va_list arguments)
{
    const volatile void *word = va_arg(arguments, const volatile void *);
    int operation = va_arg(arguments, int);

    if ((operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET)
        weak_sleep(word, sizeof(uint32_t), va_arg(arguments, uint32_t));
    return 0;
}

static long barrier(va_list arguments)
{
    if (va_arg(arguments, int) == MEMBARRIER_CMD_GLOBAL_EXPEDITED)
        weak_fence(WEAK_HEAVY, memory_order_seq_cst, "membarrier");
    return 0;
}

long weak_syscall(long number, ...)
{
    va_list arguments;
    long r = -1;

    errno = ENOSYS;
    va_start(arguments, number);
    if (number == SYS_futex)
        r = futex(arguments);
    else if (number == SYS_membarrier)
        r = barrier(arguments);
    va_end(arguments);
    return r;
}

uint64_t weak_plain_load(const volatile void *at)
{
    return weak_load(at, sizeof(uint64_t), WEAK_PLAIN, "plain");
}

void weak_plain_store(volatile void *at, uint64_t value)
{
    weak_store(at, sizeof(uint64_t), value, WEAK_PLAIN, "plain");
}

static bool is_shared(const void *at)
{
    return phase != PREPARES && (uintptr_t)at >= shared_from && (uintptr_t)at < shared_to;
}

void *weak_copy(void *to, const void *from, size_t bytes)
{
    if (!is_shared(to) && !is_shared(from))
        return memcpy(to, from, bytes);
    for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        const char *source = (const char *)from + i;
        char *target = (char *)to + i;
        uint64_t value;

        if (is_shared(source))
            value = weak_plain_load(source);
        else
            memcpy(&value, source, sizeof(value));
        if (is_shared(target))
            weak_plain_store(target, value);
        else
            memcpy(target, &value, sizeof(value));
    }
    return to;
}

/* What the thread does next in the graph.  It begins anew. */
static struct request next_of(const struct graph *graph, unsigned thread)
{
    run.graph = graph;
    run.thread = thread;
    run.count = run.at = 0;
    for (int i = 0; i < graph->count; i++)
        if (graph->steps[i].thread == (int)thread)
            run.done[run.count++] = i;
    run.request = (struct request){.next = NEXT_END};
    if (running->threads[thread] && setjmp(run.stop) == 0)
        running->threads[thread]();
    return run.request;
}

/* ---- what RC11 allows ---- */

static bool is_at_least(int order, int least)
{
    if (order < 0)
        return false;
    if (order == memory_order_seq_cst || order == memory_order_acq_rel)
        return true;
    return order == least || (least == memory_order_acquire && order == memory_order_consume);
}

static bool acquires(int order)
{
    return is_at_least(order, memory_order_acquire);
}

static bool releases(int order)
{
    return is_at_least(order, memory_order_release);
}

static bool is_at(const struct step *step, int location)
{
    return step->location == location;
}

static bool is_read(const struct step *step)
{
    return step->thread != NOBODY && (step->kind == WEAK_LOAD || step->kind == WEAK_UPDATE);
}

static bool is_write(const struct step *step)
{
    return step->kind == WEAK_STORE || step->kind == WEAK_UPDATE;
}

static bool is_fence(const struct step *step)
{
    return step->kind >= WEAK_FENCE;
}

/* Where a step stands in the order of its location's stores: a load with the store that it returned. */
static int rank_of(const struct graph *graph, int step)
{
    return is_write(&graph->steps[step]) ? graph->steps[step].rank : graph->steps[graph->steps[step].source].rank;
}

/* Does a happen before b?  The values at the beginning come before all. */
static bool is_before(const struct graph *graph, int a, int b)
{
    if (graph->steps[a].thread == NOBODY)
        return graph->steps[b].thread != NOBODY;
    return (graph->steps[b].before & bit((unsigned)a)) != 0;
}

/* The newest step returns nothing that it must know to be overwritten, and stores nothing before what it must know. */
static bool is_coherent(const struct graph *graph)
{
    int newest = graph->count - 1;
    const struct step *step = &graph->steps[newest];

    for (int i = 0; i < newest; i++) {
        if (!is_at(&graph->steps[i], step->location) || !is_before(graph, i, newest))
            continue;
        if (is_read(step) && rank_of(graph, i) > graph->steps[step->source].rank)
            return false;
        if (is_write(step) && rank_of(graph, i) >= step->rank)
            return false;
    }
    return true;
}

/* The newest step and another one of another thread, one of them plain, one of them a store, and neither before the other.
 */
static bool is_race(const struct graph *graph)
{
    int newest = graph->count - 1;
    const struct step *step = &graph->steps[newest];

    for (int i = 0; i < newest; i++) {
        const struct step *other = &graph->steps[i];

        if (is_at(other, step->location) && other->thread != step->thread &&
            (other->order == WEAK_PLAIN || step->order == WEAK_PLAIN) && (is_write(other) || is_write(step)) &&
            !is_before(graph, i, newest))
            return true;
    }
    return false;
}

/* ---- the order of all sequentially consistent steps: RC11's psc has no cycle ---- */

static bool is_ordered(const struct step *step)
{
    if (step->thread == NOBODY)
        return false;
    return step->kind == WEAK_LIGHT || step->kind == WEAK_HEAVY || step->order == memory_order_seq_cst;
}

/* Extended coherence order from a: what a store is followed by, and what a load is followed by. */
static bool is_followed_by(const struct graph *graph, int a, int b)
{
    const struct step *to = &graph->steps[b];

    if (a == b || is_fence(to) || !is_at(to, graph->steps[a].location) || to->thread == NOBODY)
        return false;
    if (is_write(to) && to->rank > rank_of(graph, a))
        return true;
    return is_read(to) && graph->steps[to->source].rank >= rank_of(graph, a) + !is_write(&graph->steps[a]);
}

/* RC11's scb, from a to b. */
static bool is_sc_before(const struct graph *graph, int a, int b)
{
    const struct step *from = &graph->steps[a], *to = &graph->steps[b];
    bool before = is_before(graph, a, b);

    if (before && (from->thread == to->thread || is_at(to, from->location)))
        return true;
    if (is_write(to) && is_followed_by(graph, a, b))
        return true; /* in the order of stores, or a load before the store that overwrites it */
    if (!before)
        return false;
    /* by way of a next step of its thread elsewhere, and a last one before b elsewhere */
    for (int i = 0; i < graph->count; i++)
        for (int j = 0; j < graph->count; j++)
            if (graph->steps[i].thread == from->thread && is_before(graph, a, i) &&
                !is_at(&graph->steps[i], from->location) && graph->steps[j].thread == to->thread &&
                is_before(graph, j, b) && !is_at(&graph->steps[j], to->location) && (i == j || is_before(graph, i, j)))
                return true;
    return false;
}

static bool is_one_or_after(const struct graph *graph, int fence_or_step, int a)
{
    return a == fence_or_step || (is_fence(&graph->steps[fence_or_step]) && is_before(graph, fence_or_step, a));
}

static bool is_one_or_before(const struct graph *graph, int a, int fence_or_step)
{
    return a == fence_or_step || (is_fence(&graph->steps[fence_or_step]) && is_before(graph, a, fence_or_step));
}

static bool is_psc(const struct graph *graph, int x, int y)
{
    bool fences = is_fence(&graph->steps[x]) && is_fence(&graph->steps[y]);

    if (graph->steps[x].kind == WEAK_LIGHT && graph->steps[y].kind == WEAK_LIGHT)
        return false;
    if (fences && is_before(graph, x, y))
        return true;
    for (int a = 0; a < graph->count; a++) {
        if (!is_one_or_after(graph, x, a))
            continue;
        for (int b = 0; b < graph->count; b++)
            if (is_one_or_before(graph, b, y) && ((fences && !is_fence(&graph->steps[a]) && is_followed_by(graph, a, b)) ||
                                                  (!fences && a != b && is_sc_before(graph, a, b))))
                return true;
    }
    return false;
}

static bool has_cycle(const struct graph *graph)
{
    set after[STEPS] = {0};
    int ordered[STEPS], count = 0;

    for (int i = 0; i < graph->count; i++)
        if (is_ordered(&graph->steps[i]))
            ordered[count++] = i;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            if (i != j && is_psc(graph, ordered[i], ordered[j]))
                after[i] |= bit((unsigned)j);
    for (int k = 0; k < count; k++)
        for (int i = 0; i < count; i++)
            if (after[i] & bit((unsigned)k))
                after[i] |= after[k];
    for (int i = 0; i < count; i++)
        if (after[i] & bit((unsigned)i))
            return true;
    return false;
}

/* ---- growing ---- */

static void copy_graph(struct graph *to, const struct graph *from)
{
    memcpy(to, from, offsetof(struct graph, steps) + (size_t)from->count * sizeof(from->steps[0]));
}

static struct step *append(struct graph *graph, struct step step)
{
    if (graph->count == STEPS)
        abort();
    graph->steps[graph->count] = step;
    return &graph->steps[graph->count++];
}

static void begin_location(struct graph *graph, int location)
{
    if (location < 0 || graph->first[location] > 0)
        return;
    (void)append(graph, (struct step){.kind = WEAK_STORE,
                                      .order = memory_order_relaxed,
                                      .thread = NOBODY,
                                      .location = location,
                                      .stored = locations[location].initial});
    graph->first[location] = graph->count;
}

/* Makes room in the order of the location's stores. */
static void insert_rank(struct graph *graph, int location, int rank)
{
    for (int i = 0; i < graph->count; i++)
        if (is_at(&graph->steps[i], location) && is_write(&graph->steps[i]) && graph->steps[i].rank >= rank)
            graph->steps[i].rank++;
}

static int stores_at(const struct graph *graph, int location)
{
    int count = 0;

    for (int i = 0; i < graph->count; i++)
        count += is_at(&graph->steps[i], location) && is_write(&graph->steps[i]);
    return count;
}

/* What is known to those who load what the step stores, and acquire. */
static set released_by(const struct graph *graph, const struct step *step, int number)
{
    int fence = graph->release_fence[step->thread] - 1;
    set released = step->kind == WEAK_UPDATE ? graph->steps[step->source].released : 0;

    if (releases(step->order))
        released |= step->before | bit((unsigned)number);
    else if (step->order >= 0 && fence >= 0)
        released |= graph->steps[fence].before | bit((unsigned)fence);
    return released;
}

/* One more step of its thread. */
static void add_step(struct graph *graph, struct step step)
{
    int last = graph->last[step.thread] - 1, number = graph->count;

    if (last >= 0)
        step.before = graph->steps[last].before | bit((unsigned)last);
    if (is_read(&step) && step.order >= 0) {
        graph->acquirable[step.thread] |= graph->steps[step.source].released;
        if (acquires(step.order))
            step.before |= graph->steps[step.source].released;
    }
    if (is_fence(&step) && step.kind != WEAK_LIGHT && acquires(step.order))
        step.before |= graph->acquirable[step.thread];
    if (is_write(&step))
        step.released = released_by(graph, &step, number);
    (void)append(graph, step);
    if (is_fence(&step) && step.kind != WEAK_LIGHT && releases(step.order))
        graph->release_fence[step.thread] = graph->count;
    graph->last[step.thread] = graph->count;
    graph->passed[step.thread] = 0;
    graph->has_order |= step.kind != WEAK_LIGHT && is_ordered(&step);
}

static void note_writer(const struct step *step)
{
    unsigned writer = 1u << step->thread;

    has_new_writer |= !(locations[step->location].writers & writer);
    locations[step->location].writers |= writer;
}

static void explore(const struct graph *given);

/* The graph has one more step: on from there, if it may have. */
static void go_on(struct graph *graph)
{
    int thread = graph->steps[graph->count - 1].thread;

    if (!is_fence(&graph->steps[graph->count - 1]) && !is_coherent(graph))
        return;
    if (graph->has_order && has_cycle(graph))
        return;
    if (!is_fence(&graph->steps[graph->count - 1]) && is_race(graph)) {
        fail(graph, "a data race");
        return;
    }
    graph->next[thread] = next_of(graph, (unsigned)thread);
    explore(graph);
}

static void explore_fence(const struct graph *given, int thread, const struct request *request)
{
    struct graph graph;

    copy_graph(&graph, given);
    add_step(&graph, (struct step){.kind = request->kind, .order = request->order, .thread = thread, .location = -1});
    go_on(&graph);
}

/* The store comes at each place in the order but between an update and what it has loaded. */
static void explore_store(const struct graph *given, int thread, const struct request *request)
{
    int places = stores_at(given, request->location);

    for (int rank = places; rank > 0; rank--) {
        struct graph graph;
        bool splits = false;

        for (int i = 0; i < given->count; i++)
            splits |= is_at(&given->steps[i], request->location) && is_write(&given->steps[i]) &&
                      given->steps[i].rank == rank - 1 && given->steps[i].is_read_by_update;
        if (splits)
            continue;
        copy_graph(&graph, given);
        insert_rank(&graph, request->location, rank);
        add_step(&graph, (struct step){.kind = WEAK_STORE,
                                       .order = request->order,
                                       .thread = thread,
                                       .location = request->location,
                                       .stored = request->value,
                                       .rank = rank});
        note_writer(&graph.steps[graph.count - 1]);
        go_on(&graph);
    }
}

static void explore_source(const struct graph *given, int thread, const struct request *request, int source)
{
    const struct step *from = &given->steps[source];
    struct step step = {.kind = WEAK_LOAD,
                        .order = request->order,
                        .thread = thread,
                        .location = request->location,
                        .source = source,
                        .loaded = from->stored};
    struct graph graph;

    if (request->next == NEXT_SLEEP && from->stored == request->expected)
        return;
    copy_graph(&graph, given);
    if (request->kind == WEAK_UPDATE && request->is_swap && from->stored != request->expected) {
        step.order = request->failure;
    } else if (request->kind == WEAK_UPDATE) {
        if (from->is_read_by_update)
            return;
        graph.steps[source].is_read_by_update = true;
        step.kind = WEAK_UPDATE;
        step.rank = from->rank + 1;
        step.stored = request->is_swap
                          ? request->value
                          : operated(request->operation, from->stored, request->value, locations[request->location].mask);
        insert_rank(&graph, request->location, step.rank);
        note_writer(&step);
    }
    add_step(&graph, step);
    go_on(&graph);
}

static bool is_source(const struct graph *graph, int step, const struct request *request)
{
    return is_at(&graph->steps[step], request->location) && is_write(&graph->steps[step]);
}

/* Is there a store for its load that it has not passed over? */
static bool has_source(const struct graph *graph, int thread)
{
    const struct request *request = &graph->next[thread];

    for (int i = graph->passed[thread]; i < graph->count; i++)
        if (is_source(graph, i, request) && (request->next != NEXT_SLEEP || graph->steps[i].stored != request->expected))
            return true;
    return false;
}

/* May another thread still store there?  (What is known of the writers may grow; then all is explored again.) */
static bool may_wait(const struct graph *graph, int thread)
{
    const struct request *request = &graph->next[thread];

    if (request->order == WEAK_PLAIN)
        return false; /* it would be a race, and that is found when the store comes */
    for (int i = 0; i < WEAK_THREADS; i++)
        if (i != thread && graph->next[i].next != NEXT_END && locations[request->location].writers & 1u << i)
            return true;
    return false;
}

static void collect_final_values(const struct graph *graph)
{
    for (int i = 0; i < location_count; i++)
        locations[i].final = locations[i].initial;
    for (int i = 0; i < graph->count; i++) {
        const struct step *step = &graph->steps[i];

        if (is_write(step) && step->rank == stores_at(graph, step->location) - 1)
            locations[step->location].final = step->stored;
    }
}

/* All that sleep do so for good, or else this end is no end: what would wake one was passed over. */
static bool are_asleep(const struct graph *graph)
{
    collect_final_values(graph);
    for (int i = 0; i < WEAK_THREADS; i++)
        if (graph->next[i].next != NEXT_END &&
            (graph->next[i].next != NEXT_SLEEP || locations[graph->next[i].location].final != graph->next[i].expected))
            return false;
    return true;
}

static void complete(const struct graph *graph)
{
    executions++;
    for (unsigned i = 0; i < WEAK_THREADS; i++)
        (void)next_of(graph, i); /* so that what they have noted down is of this execution */
    collect_final_values(graph);
    phase = CHECKS;
    run.graph = graph;
    if (running->check)
        running->check();
    if (running->seen && running->seen())
        seen++;
    phase = RUNS;
}

static void end(const struct graph *graph)
{
    bool ended = true;

    for (int i = 0; i < WEAK_THREADS; i++)
        ended &= graph->next[i].next == NEXT_END;
    if (ended)
        complete(graph);
    else if (are_asleep(graph))
        fail(graph, "a thread sleeps and is never woken");
}

/* The thread whose step comes first, or WEAK_THREADS. */
static int choose(const struct graph *graph)
{
    for (int i = 0; i < WEAK_THREADS; i++)
        if (graph->next[i].next == NEXT_STEP && graph->next[i].kind != WEAK_LOAD && graph->next[i].kind != WEAK_UPDATE)
            return i;
    for (int i = 0; i < WEAK_THREADS; i++)
        if (graph->next[i].next <= NEXT_SLEEP && has_source(graph, i))
            return i;
    return WEAK_THREADS;
}

static void explore(const struct graph *given)
{
    struct graph graph;

    copy_graph(&graph, given);
    while (!failure) {
        const struct request *request;
        int thread;

        for (int i = 0; i < WEAK_THREADS; i++) {
            if (graph.next[i].next == NEXT_GIVE_UP)
                return;
            if (graph.next[i].next <= NEXT_SLEEP)
                begin_location(&graph, graph.next[i].location);
        }
        thread = choose(&graph);
        if (thread == WEAK_THREADS) {
            end(&graph);
            return;
        }
        request = &graph.next[thread];
        if (is_fence(&(struct step){.kind = request->kind})) {
            explore_fence(&graph, thread, request);
            return;
        }
        if (request->kind == WEAK_STORE) {
            explore_store(&graph, thread, request);
            return;
        }
        for (int i = graph.passed[thread]; i < graph.count && !failure; i++)
            if (is_source(&graph, i, request))
                explore_source(&graph, thread, request, i);
        if (!may_wait(&graph, thread))
            return;
        graph.passed[thread] = graph.count;
    }
}

/* ---- cases ---- */

static const char *const kind_names[] = {"load", "store", "update", "fence", "light fence", "heavy fence"};

static const char *order_name(int order)
{
    switch (order) {
    case WEAK_PLAIN:
        return "plain";
    case memory_order_relaxed:
        return "relaxed";
    case memory_order_acquire:
        return "acquire";
    case memory_order_release:
        return "release";
    case memory_order_acq_rel:
        return "acq_rel";
    default:
        return "seq_cst";
    }
}

static void print_step(const struct graph *graph, int number)
{
    const struct step *step = &graph->steps[number];

    printf("    %3d  %-11s %-8s", number, kind_names[step->kind], order_name(step->order));
    if (!is_fence(step))
        printf(" %-24s", name_of(step->location));
    if (is_read(step))
        printf("  returns %#" PRIx64 " of step %d", step->loaded, step->source);
    if (is_write(step))
        printf("  stores %#" PRIx64, step->stored);
    printf("\n");
}

static void print_failed(void)
{
    for (int thread = 0; thread < WEAK_THREADS; thread++) {
        printf("  thread %d\n", thread);
        for (int i = 0; i < failed.count; i++)
            if (failed.steps[i].thread == thread)
                print_step(&failed, i);
    }
}

static void explore_once(void)
{
    struct graph *graph = calloc(1, sizeof(*graph));

    if (!graph)
        abort();
    executions = seen = 0;
    failure = NULL;
    has_new_writer = false;
    phase = RUNS;
    for (unsigned i = 0; i < WEAK_THREADS; i++)
        graph->next[i] = next_of(graph, i);
    explore(graph);
    free(graph);
}

static bool is_as_expected(void)
{
    switch (running->expected) {
    case WEAK_HOLDS:
        return !failure && executions > 0;
    case WEAK_FAILS:
        return failure != NULL;
    case WEAK_ALLOWS:
        return !failure && seen > 0;
    default:
        return !failure && executions > 0 && seen == 0;
    }
}

static bool explore_case(const char *what, const struct weak_case *one)
{
    static const char *const expected[] = {"holds", "fails", "allowed", "forbidden"};
    bool good;

    running = one;
    phase = PREPARES;
    location_count = name_count = 0;
    if (one->prepare)
        one->prepare();
    do
        explore_once();
    while (has_new_writer && !failure);
    good = is_as_expected();
    printf("%-4s %-8s %-9s %8" PRIu64 " executions  %s%s%s\n", good ? "ok" : "FAIL", what, expected[one->expected],
           executions, one->name, failure ? ": " : "", failure ? failure : "");
    if (!good && failure)
        print_failed();
    (void)fflush(stdout);
    return good;
}

int weak_explore(const char *what, const struct weak_case *cases, size_t count)
{
    int bad = 0;

    for (size_t i = 0; i < count; i++)
        bad += !explore_case(what, &cases[i]);
    return bad;
}
