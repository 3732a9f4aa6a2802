#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood/loop.h>
#include <brood/worker.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/fence.h"
#include "os/futex.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "os/thread_cpu.h"
#include "proto/depth.h"
#include "proto/range.h"
#include "proto/task.h"
#include "worker/fault.h"
#include "worker/server.h"

/* The worker polls its mailbox all the time, and its ring after this many polls.  A worker that follows the host from
 * slot to slot takes each line from the host just before the host writes it, which slows both down.  So a worker that
 * finds many tasks together polls the ring less often and stays some slots back; one that finds single tasks polls it
 * more often. */
#define POLLS_PER_RING_MIN 4
#define POLLS_PER_RING_MAX 256

/* The host's CPU has the lines of the next slots.  The worker prefetches this many, so that a task does not wait for its
 * line. */
#define SLOTS_AHEAD 2

/* A thief may take tasks from a worker that has made no progress for this long. */
#define THEFT_NS 2000

/* A worker that always has tasks reads the clock after this many: its recycling may be due. */
#define TASKS_PER_CLOCK 4096

/* A pace is measured over this many tasks, or over this long. */
#define TASKS_TO_TELL 8
#define LONG_NS 4000

/* A worker whose pace the host does not know reads the clock after this many tasks. */
#define TASKS_FOR_PACE 32

/* A claim of a map's items should take about this long: long against its own cost, short against the whole map. */
#define CLAIM_NS_MIN 50000
#define CLAIM_NS_MAX 200000

/* A worker without a working heavy fence may miss a wake-up, so it checks at this interval. */
#define UNFENCED_NS 1000000

/* A worker that would not die with its supervisor checks at this interval whether that is alive. */
#define UNLED_NS 100000000

/* The watcher's interval between two scans; it grows from MIN to MAX. */
#define LOOK_NS_MIN 50000
#define LOOK_NS_MAX 1000000

/* After a longer sleep the worker may be woken for any kind of task, so its pace is unknown again. */
#define PACE_NS 1000000

/* After this many scans without progress of any worker the watcher sleeps until it is woken. */
#define LOOKS_IN_VAIN 4

/* Of a task that is in no lane, which cannot be asked to stop. */
#define NO_POSITION UINT64_MAX

static _Thread_local struct server *serving; /* the worker that this thread is, or NULL */

static void set_serving(struct server *server)
{
    serving = server;
    brood__depth_set_thread(server ? server->shared->header : NULL);
}

/* The server by which this thread is a worker of that pool, or NULL. */
static struct server *server_of(const struct shared *shared)
{
    struct server *server = serving;

    while (server && server->shared != shared)
        server = server->outer;
    return server;
}

int brood_worker_id(void)
{
    return serving ? (int)serving->worker : -1;
}

void *brood_worker_state(void)
{
    return serving ? serving->state : NULL;
}

bool brood_cancelled(void)
{
    const struct server *server = serving;

    if (!server || !server->extension)
        return false;
    return brood__header_state(server->shared->header) != HEADER_OPEN ||
           atomic_load_explicit(&server->extension->stopped, memory_order_relaxed) == server->position ||
           brood__limit_is_over(&server->limit);
}

static int64_t idle_ns_of(const struct header *header, unsigned worker)
{
    return header->idle_ns > 0 && header->idle_ns < INT64_MAX / 2 && worker >= header->workers_min
               ? (int64_t)header->idle_ns
               : INT64_MAX;
}

int brood__server_open(struct server *ret_server, struct shared *shared, unsigned worker, bool is_process)
{
    int r;

    brood__assert(worker < shared->workers);
    brood__assert(!is_process || brood__role == ROLE_WORKER);
    *ret_server = (struct server){
        .shared = shared,
        .lane = &shared->lanes[worker],
        .worker = worker,
        .hold = shared->hold ? shared->hold : &ret_server->own_hold,
        .is_process = is_process,
        .head = atomic_load_explicit(&shared->lanes[worker].worker_state->head, memory_order_relaxed),
        .recycling = {.tasks_left = UINT64_MAX, .at_ns = INT64_MAX, .next_look_ns = INT64_MAX},
        .idle_ns = idle_ns_of(shared->header, worker),
        .spinner = (struct spinner)SPINNER,
        .polls_per_ring = POLLS_PER_RING_MIN,
    };
    r = brood__watcher_open(&ret_server->watcher, shared->workers);
    if (r < 0)
        return r;
    r = brood__limit_open(&ret_server->limit, ret_server->lane->worker_state, is_process,
                          read_once(shared->header->at_limit) == BROOD_LIMIT_TERMINATE);
    if (r < 0)
        brood__server_close(ret_server);
    if (r < 0 || !is_process)
        return r;
    brood__fault_watch(shared, worker);
    brood__output_open(&ret_server->output, ret_server->lane->worker_state, read_once(shared->header->output_pipes));
    return 0;
}

void brood__server_close(struct server *server)
{
    brood__limit_close(&server->limit);
    brood__watcher_close(&server->watcher);
}

int brood__server_begin(struct server *server, const struct hooks *hooks)
{
    struct server *outer = serving;
    char message[256];
    int r;

    if (!hooks->initializer)
        return 0;
    set_serving(server);
    brood__error_clear();
    r = hooks->initializer(hooks->context, &server->state);
    set_serving(outer);
    if (r >= 0)
        return 0;
    r = r < -ERRNO_MAX ? -EINVAL : r;
    (void)snprintf(message, sizeof(message), "%s", brood_error());
    return brood_fail(r, "the worker's initializer failed: %s", message[0] ? message : strerror(-r));
}

void brood__server_end(struct server *server, const struct hooks *hooks)
{
    struct server *outer = serving;

    if (!hooks->finalizer)
        return;
    set_serving(server);
    hooks->finalizer(hooks->context, server->state);
    set_serving(outer);
    server->state = NULL;
}

static const struct brood_task *task_lookup(struct server *server, unsigned index, const char **ret_name)
{
    const struct header_task *entry = brood__header_entry(server->shared->header, index);

    if (!entry) {
        *ret_name = "?";
        return NULL;
    }
    *ret_name = entry->name;
    if (brood__tasks_have_gone(&server->tasks_gone)) /* the objects that contained them may be unloaded */
        memset(server->tasks, 0, sizeof(server->tasks));
    if (!server->tasks[index])
        server->tasks[index] = brood_task_find(entry->name);
    return server->tasks[index];
}

/* ---- one task ---- */

/* Keeps the message; of a map, the message of the lowest failed item.  `has_message` is 0 while the text changes: the
 * worker may die at any moment. */
static void message_keep(struct slot *slot, struct slot_extension *extension, uint64_t item)
{
    const char *message = brood_error();

    if ((slot->has_message && extension->item <= item) || !message[0])
        return;
    slot->has_message = 0;
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the host's load of `has_message` after this worker's death */
    (void)snprintf(extension->words, sizeof(extension->words), "%s", message);
    extension->item = item;
    atomic_signal_fence(memory_order_seq_cst); /* the same */
    slot->has_message = 1;
}

/* A task may put a result of any size outside the slot: then its length is more than the room. */
static int task_run_large(const struct server *server, const struct brood_task *task, const char *name,
                          struct brood_bytes arg, void *space, size_t *length, uint32_t region)
{
    struct brood__large_result large_result = {.large = &server->shared->large, .region = region};
    size_t room = *length;
    int r = brood__task_run_large(task, name, arg, space, length, &large_result);

    brood__large_unmap(&large_result, *length > room);
    return r;
}

static void task_run(struct server *server, struct slot *slot, struct slot_extension *extension)
{
    char *base = server->shared->segment.base;
    struct brood_bytes arg = {slot->arg.bytes, slot->arg_bytes};
    void *space = slot->result.bytes;
    size_t length = slot->result_bytes;
    const char *name;
    const struct brood_task *task = task_lookup(server, slot->task, &name);
    int r;

    if (arg.len > SLOT_ARG_BYTES)
        arg.ptr = base + slot->arg.offset;
    if (length > SLOT_RESULT_BYTES)
        space = base + slot->result.offset;
    if (slot->kind & SLOT_ANY_SIZE)
        r = task_run_large(server, task, name, arg, space, &length, extension->region);
    else
        r = brood__task_run(task, name, arg, space, &length);
    slot->status = (int16_t)r;
    slot->result_bytes = (uint32_t)length;
    if (r < 0)
        message_keep(slot, extension, 0);
}

/* ---- the items of a map ---- */

struct work {
    struct window *window;
    struct range *range; /* of this worker */
    const struct brood_task *task;
    const char *name;
    char *args, *results;
    _Atomic int16_t *status;
    char *message; /* brood_error() of this thread */
};

/* Modulo 2^64: in a pool of threads an array of the host's may lie before the segment. */
static char *address_of(const char *base, uint64_t offset)
{
    return (char *)((uintptr_t)base + (uintptr_t)offset); /* NOLINT: a sum of pointer and offset may not wrap around */
}

static struct work map_work_open(struct server *server, const struct slot *slot)
{
    char *base = server->shared->segment.base;
    struct window *window = (struct window *)(base + slot->arg.offset);
    struct work work = {
        .window = window, .args = address_of(base, window->args), .results = address_of(base, window->results)};
    uint32_t number = range_number(server->worker, window->workers);

    work.status = (_Atomic int16_t *)(void *)(base + window->status);
    work.range = &window->ranges[number];
    work.message = brood__error_message();
    work.task = task_lookup(server, window->task, &work.name);
    return work;
}

static void map_item_finish(const struct work *work, struct slot *slot, struct slot_extension *extension, uint32_t item,
                            int r)
{
    if (r < 0)
        message_keep(slot, extension, item);
    item_finish(&work->status[item], r < 0 ? (int16_t)r : ITEM_DONE);
}

/* The task has other sizes in this worker than in the host: each item fails with a message. */
static void map_items_refuse(const struct work *work, struct slot *slot, struct slot_extension *extension, uint32_t lo,
                             uint32_t count)
{
    struct brood_bytes arg = {work->args, work->window->arg_bytes};

    for (uint32_t i = lo; i < lo + count; i++) {
        size_t length = work->window->result_bytes;

        map_item_finish(work, slot, extension, i, brood__task_run(work->task, work->name, arg, work->results, &length));
    }
}

/* Constant for all items of a claim, in variables that no task can reach, so that the compiler keeps them in registers. */
struct item_setup {
    struct range *range;
    char *message;
    const struct limits *limits; /* NULL: no item needs special preparation */
};

static inline struct item_setup item_setup_open(struct server *server, const struct work *work)
{
    bool is_special = limits_are_set(work->window->limits) || server->output.pipes > 0;

    server->map_task = work->window->task;
    return (struct item_setup){work->range, work->message, is_special ? &work->window->limits : NULL};
}

/* What few maps need is kept out of the other maps' loop. */
static __attribute__((noinline)) void item_begin_special(struct server *server, struct limits limits)
{
    if (limits_are_set(limits))
        brood__limit_begin(&server->limit, limits);
    if (server->output.pipes > 0)
        brood__output_begin(&server->output, server->map_task);
}

static inline void item_begin(struct server *server, struct item_setup setup, uint32_t item)
{
    range_begin_item(setup.range, item);
    if (setup.limits)
        item_begin_special(server, *setup.limits);
    if (setup.message[0])
        setup.message[0] = '\0';
}

/* Does what brood__task_run() does, with the constant part done once.  The next item's addresses are in variables of
 * their own: the task can reach `reply`, so a sum there would wait for the memory each time. */
static void map_items_run(struct server *server, const struct work *work, struct slot *slot,
                          struct slot_extension *extension, uint32_t lo, uint32_t count)
{
    const size_t arg_bytes = work->window->arg_bytes, result_bytes = work->window->result_bytes;
    const char *arg = work->args + lo * arg_bytes;
    char *result = work->results + lo * result_bytes;
    const struct item_setup setup = item_setup_open(server, work);
    struct brood_reply reply = {.room = result_bytes, .task = work->task};

    for (uint32_t item = lo; item < lo + count; item++) {
        item_begin(server, setup, item);
        reply.space = result;
        map_item_finish(work, slot, extension, item,
                        brood__task_call(work->task, (struct brood_bytes){arg, arg_bytes}, &reply));
        arg += arg_bytes;
        result += result_bytes;
    }
}

/* The same for a loop, whose items are blocks of indices. */
static void loop_blocks_run(struct server *server, const struct work *work, struct slot *slot,
                            struct slot_extension *extension, uint32_t lo, uint32_t count)
{
    const struct window *window = work->window;
    const uint64_t grain = window->grain, end = window->end;
    const size_t context_bytes = window->context_bytes, result_bytes = window->result_bytes;
    const char *context = context_bytes ? work->args : NULL;
    uint64_t from = window->first + lo * grain;
    char *result = work->results + lo * result_bytes;
    const struct item_setup setup = item_setup_open(server, work);
    struct brood_reply reply = {.room = result_bytes, .task = work->task};

    for (uint32_t item = lo; item < lo + count; item++) {
        struct brood_range block = {context, context_bytes, from, end - from > grain ? from + grain : end};

        item_begin(server, setup, item);
        reply.space = result;
        map_item_finish(work, slot, extension, item,
                        brood__task_call(work->task, (struct brood_bytes){&block, sizeof(block)}, &reply));
        from += grain;
        result += result_bytes;
    }
}

/* Doubles the next claim if the last one was quick, halves it if it was slow. */
static uint32_t chunk_adapt(uint32_t chunk, int64_t took_ns)
{
    if (took_ns < CLAIM_NS_MIN && chunk < UINT32_MAX / 2)
        return chunk * 2;
    return took_ns > CLAIM_NS_MAX && chunk > 1 ? chunk / 2 : chunk;
}

/* At most an eighth of what is left, so that others can steal. */
static uint32_t chunk_limit(uint32_t chunk, uint32_t left)
{
    uint32_t fair = left / 8 + 1;

    return chunk < fair ? chunk : fair;
}

/* Claims the next items for this worker: from its own range, else stolen ones. */
static uint32_t map_items_claim(const struct server *server, const struct work *work, uint32_t adaptive, uint32_t *ret_lo)
{
    struct window *window = work->window;
    uint32_t wanted = window->chunk ? window->chunk : chunk_limit(adaptive, brood__range_left(work->range));
    uint32_t count;

    if (atomic_load_explicit(&window->stop, memory_order_relaxed) ||
        atomic_load_explicit(&work->range->preempted, memory_order_acquire))
        return 0;
    count = brood__range_claim(work->range, wanted, ret_lo);
    if (count > 0 || window->workers < 2)
        return count;
    return brood__range_steal(window->ranges, window->workers, server->worker, wanted, ret_lo);
}

static void map_claim_run(struct server *server, const struct work *work, struct slot *slot,
                          struct slot_extension *extension, uint32_t lo, uint32_t count)
{
    if (work->window->grain)
        loop_blocks_run(server, work, slot, extension, lo, count);
    else
        map_items_run(server, work, slot, extension, lo, count);
    if (limits_are_set(work->window->limits))
        brood__limit_end(&server->limit);
    brood__recycling_count(&server->recycling, count);
}

/* Loads first, stores rarely: so the line stays in the caches of all workers. */
static void answer_record(struct server *server)
{
    _Atomic uint32_t *has_answered = &server->shared->header->has_answered;

    if (!atomic_load_explicit(has_answered, memory_order_relaxed))
        atomic_store_explicit(has_answered, 1, memory_order_relaxed);
}

/* The answer includes the duration, by which the host sizes the next map of a stream. */
static void map_run(struct server *server, struct slot *slot, struct slot_extension *extension)
{
    struct work work = map_work_open(server, slot);
    bool fits = brood__task_fits(work.task, work.window->arg_bytes, work.window->result_bytes);
    int64_t began = brood__now_ns(), since = began, now;
    uint32_t adaptive = 1, lo, count;

    while ((count = map_items_claim(server, &work, adaptive, &lo)) > 0) {
        if (fits)
            map_claim_run(server, &work, slot, extension, lo, count);
        else
            map_items_refuse(&work, slot, extension, lo, count);
        answer_record(server);
        if (!work.window->chunk) {
            now = brood__now_ns();
            adaptive = chunk_adapt(adaptive, now - since);
            since = now;
        }
    }
    slot->status = 0;
    slot->result_bytes = 0;
    slot->result.took_ns = (work.window->chunk ? brood__now_ns() : since) - began;
}

/* ---- claiming and answering ---- */

static void task_answer(struct server *server, struct slot *slot, uint64_t position)
{
    answer_record(server);
    slot_answer(slot, position, server->worker);
    hold_set(server->hold, HOLD_NOTHING);
    brood__fence_light(); /* pairs with the heavy fence of a host thread after it has stored `waiter` */
    unsigned waiter = slot_waiter(slot);

    if (waiter != WAITER_NONE)
        brood__wake_waiter(server->shared->header, waiter);
}

/* A task may run another task of its pool, when the worker is its caller or a thread that waits for it; so the state of
 * the outer task is restored. */
static void slot_run(struct server *server, struct slot *slot, struct slot_extension *extension, uint64_t position)
{
    const struct slot_extension *outer_extension = server->extension;
    uint64_t outer_position = server->position;
    struct limit_ends outer_ends = server->limit.ends;

    server->extension = extension;
    server->position = position;
    if (slot->kind & SLOT_LIMITED)
        brood__limit_begin(&server->limit, extension->limits);
    if (server->output.pipes > 0)
        brood__output_begin(&server->output, slot->task);
    slot->has_message = slot->is_late = 0;
    if (slot_kind(slot->kind) == SLOT_MAP)
        map_run(server, slot, extension);
    else
        task_run(server, slot, extension);
    if (server->output.pipes > 0)
        brood__output_end();
    if (brood__limit_is_set(&server->limit)) {
        slot->is_late = brood__limit_is_over(&server->limit);
        brood__limit_end(&server->limit);
    }
    brood__recycling_count(&server->recycling, 1);
    server->extension = outer_extension;
    server->position = outer_position;
    server->limit.ends = outer_ends;
}

static bool task_claim(struct server *server, unsigned lane_number, uint64_t position)
{
    struct lane *lane = &server->shared->lanes[lane_number];
    struct slot *slot = &lane->slots[lane_index(lane, position)];
    bool is_claimed;

    brood__assert(lane_number < server->shared->workers);
    hold_try(server->hold, slot_ref(lane_number, position));
    is_claimed = slot_claim(slot, server->lane->worker_state, lane_number, position, server->worker);
    hold_set(server->hold, is_claimed ? slot_ref(lane_number, position) : HOLD_NOTHING);
    return is_claimed;
}

/* One wake-up may stand for several tasks, and this worker is about to be busy: wakes another worker if tasks wait and
 * no watcher exists. */
static void server_pass_wake(struct server *server)
{
    server->must_pass_wake = false;
    brood__pass_wake(server->shared, server->lane->worker_state);
}

/* An earlier task may have closed all descriptors, including the one for large results.  Then this worker ends and
 * leaves the task to a thief or to its successor, unless it has run no task: then the initializer has closed them, and
 * would again.  A task that reuses the slot meanwhile makes the claim fail, so the read before it is harmless. */
static bool server_can_answer(struct server *server, const struct slot *slot)
{
    if (!server->is_process || !server->recycling.has_worked || !(read_once(slot->kind) & SLOT_ANY_SIZE) ||
        !brood__large_is_lost(&server->shared->large))
        return true;
    server->recycling.tasks_left = 0;
    return false;
}

/* Runs the task in a slot that this worker has claimed, and answers it. */
static void task_run_claimed(struct server *server, unsigned lane_number, uint64_t position)
{
    struct lane *lane = &server->shared->lanes[lane_number];
    uint32_t index = lane_index(lane, position);

    if (server->must_pass_wake)
        server_pass_wake(server);
    slot_run(server, &lane->slots[index], &lane->extensions[index], position);
    task_answer(server, &lane->slots[index], position);
}

/* The worker publishes its head only after the claim: a successor begins at the published head, which must never be past
 * an unclaimed task. */
static bool own_run(struct server *server)
{
    uint64_t position;

    if (!brood__lane_next(server->lane, &server->head, &position) ||
        !server_can_answer(server, &server->lane->slots[lane_index(server->lane, position)]))
        return false;
    if (!(position & MAILBOX))
        slot_prefetch_write(&server->lane->slots[lane_index(server->lane, position + SLOTS_AHEAD)]);
    if (task_claim(server, server->worker, position)) /* a thief may have taken it, and a next task may be there */
        task_run_claimed(server, server->worker, position);
    if (!(position & MAILBOX))
        server->head = position + 1;
    atomic_store_explicit(&server->lane->worker_state->head, server->head, memory_order_relaxed);
    return true;
}

/* Runs a stolen task, which may take long.  A host that submits to this worker's lane must see that it is unavailable; a
 * task that came just before is passed to another idle worker. */
static bool stolen_run(struct server *server, struct steal_victim victim)
{
    struct header *header = server->shared->header;
    const struct lane *lane = &server->shared->lanes[victim.worker];
    bool ran;

    if (!server_can_answer(server, &lane->slots[lane_index(lane, victim.position)]))
        return false;
    brood__unavailable_enter(header, server->worker);
    server->must_pass_wake = true;
    ran = task_claim(server, victim.worker, victim.position);
    if (ran)
        task_run_claimed(server, victim.worker, victim.position);
    brood__unavailable_leave(header, server->worker);
    return ran;
}

/* Scanning more often would cost the other workers a cache miss for each task. */
static bool server_steal(struct server *server)
{
    struct steal_victim victim;

    if (server->now_ns < server->next_theft_ns)
        return false;
    server->next_theft_ns = server->now_ns + THEFT_NS;
    return brood__watcher_find(&server->watcher, server->shared, server->worker, server->now_ns, &victim) &&
           stolen_run(server, victim);
}

/* ---- with nothing to do ---- */

static bool pool_is_open(const struct server *server)
{
    return brood__header_state(server->shared->header) == HEADER_OPEN;
}

static bool worker_is_wanted(const struct server *server)
{
    return !atomic_load_explicit(&server->lane->worker_state->is_dismissed, memory_order_relaxed);
}

/* The pool accepts no more tasks and none waits.  A task that arrives later, a retry or a part of a map, starts a
 * worker. */
static bool lanes_are_drained(const struct server *server)
{
    /* seq_cst: pairs with the host, which stores it and then reads `idle`; this worker has set its bit there before. */
    return atomic_load_explicit(&server->shared->header->is_draining, memory_order_seq_cst) &&
           !brood__any_waiting(server->shared);
}

static int64_t scale_down_at_ns(const struct server *server)
{
    return server->idle_ns < INT64_MAX ? server->busy_ns + server->idle_ns : INT64_MAX;
}

/* Writes out what the tasks have printed, before the worker sleeps. */
static void output_flush(struct server *server)
{
    if (server->output.pipes > 0)
        brood__output_begin(&server->output, OUTPUT_NO_TASK);
    else if (server->is_process && __fpending(stdout) > 0)
        (void)fflush(stdout);
}

/* The life word reports the death; where the kernel does not mark it, the worker's parent has changed. */
static bool supervisor_is_dead(uint32_t life)
{
    return brood__life_is_over(life) || (!brood__life_is_marked(life) && getppid() != brood__life_number(life));
}

/* Renews the request first: the kernel then signals a later death, and the life word shows an earlier one. */
bool brood__server_dies_with_supervisor(const struct shared *shared)
{
    bool dies_with_it = brood__process_renew_die_with();

    if (supervisor_is_dead(atomic_load_explicit(&shared->header->life, memory_order_acquire)))
        _exit(0);
    return dies_with_it;
}

/* The latest time until which the worker may sleep.  The system call is affordable here: an idle worker loses nothing by
 * it, and a task may have changed the user ids, which cancels PDEATHSIG.  Sleeping on the life word as host threads do
 * would not help: the kernel wakes one of all sleepers there, which must be the host. */
static brood_deadline sleep_deadline(const struct server *server, bool fenced)
{
    brood_deadline until =
        brood__sooner((brood_deadline){server->recycling.at_ns}, (brood_deadline){scale_down_at_ns(server)});

    if (!fenced)
        until = brood__sooner(until, brood__after_ns(UNFENCED_NS));
    if (server->is_process && !brood__server_dies_with_supervisor(server->shared))
        until = brood__sooner(until, brood__after_ns(UNLED_NS));
    return until;
}

/* Reads the clock and the CPU number (see pool/core/placement.c). */
static void clock_read(struct server *server)
{
    server->now_ns = brood__now_ns();
    atomic_store_explicit(&server->lane->worker_state->cpu, brood__cpu_here(), memory_order_relaxed);
}

static bool worker_is_called(const struct server *server)
{
    return !brood__idle_is(server->shared->header, server->worker) || !pool_is_open(server) || !worker_is_wanted(server) ||
           lanes_are_drained(server);
}

/* Does another worker have, or did it just have, tasks to watch?  A worker that sleeps between two bursts of short tasks
 * is awake soon; one with a long task gets no further tasks unless the host wakes a worker for them. */
static bool others_have_tasks(const struct server *server)
{
    return server->watcher.sees_progress || brood__any_waiting(server->shared);
}

/* Sleeps with a timer and scans the other lanes, until this worker is needed, or the others have made no progress for a
 * while. */
static void watcher_sleep(struct server *server, uint32_t seen, brood_deadline until)
{
    int64_t interval_ns = LOOK_NS_MIN;
    unsigned in_vain = 0;
    struct parker *parker = &server->lane->worker_state->parker;
    struct steal_victim victim;

    while (in_vain < LOOKS_IN_VAIN && !worker_is_called(server) && brood__parker_look(parker) == seen &&
           !brood__is_past(until)) {
        brood__parker_sleep(parker, seen, NULL, 0, brood__sooner(until, brood__after_ns(interval_ns)));
        clock_read(server);
        if (brood__watcher_find(&server->watcher, server->shared, server->worker, server->now_ns, &victim))
            break;
        interval_ns = interval_ns * 2 < LOOK_NS_MAX ? interval_ns * 2 : LOOK_NS_MAX;
        in_vain = others_have_tasks(server) ? 0 : in_vain + 1;
    }
    server->next_theft_ns = server->now_ns; /* the worker scans again when it is awake */
}

static void server_sleep(struct server *server, uint32_t seen, brood_deadline until)
{
    struct worker_state *worker_state = server->lane->worker_state;

    brood__parker_sleep(&worker_state->parker, seen, NULL, 0, brood__sooner(until, brood__after_ns(PACE_NS)));
    if (worker_is_called(server))
        return;
    atomic_store_explicit(&worker_state->pace_ns, 0, memory_order_relaxed);
    brood__parker_sleep(&worker_state->parker, seen, NULL, 0, until);
}

/* Should the worker scan once more before it sleeps?  Not without a free CPU: scanning might take the CPU from the
 * worker that it watches. */
static bool scan_is_needed(const struct server *server)
{
    return brood__any_waiting(server->shared) && !server->watcher.is_sure && !brood__is_full(server->shared);
}

/* Returns when there may be work.  True: this worker is still the watcher and must release the post. */
static bool server_wait(struct server *server, uint32_t seen, bool fenced)
{
    bool is_watcher;

    if (scan_is_needed(server))
        return false;
    is_watcher = others_have_tasks(server) && brood__watcher_enter(server->shared->header, server->worker);
    output_flush(server);
    if (is_watcher)
        watcher_sleep(server, seen, sleep_deadline(server, fenced));
    else
        server_sleep(server, seen, sleep_deadline(server, fenced));
    return is_watcher;
}

static void server_park(struct server *server)
{
    struct header *header = server->shared->header;
    uint32_t seen = brood__parker_look(&server->lane->worker_state->parker);
    struct cleared cleared;
    uint64_t position;

    brood__waiting_clear(server->shared, server->lane->worker_state, &cleared); /* uses a scan that would be made anyway */
    bool fenced = brood__idle_enter(header, server->worker);

    server->must_pass_wake |= brood__waiting_restore(server->shared, server->lane->worker_state, &cleared);
    bool is_watcher =
        !worker_is_called(server) && !brood__lane_waiting(server->lane, &position) && server_wait(server, seen, fenced);

    if (!brood__idle_leave(header, server->worker))
        brood__watcher_forget(&server->watcher);
    if (is_watcher) {
        brood__watcher_leave(header, server->worker);
        /* pairs with the light fence of a host that wakes no worker because there is a watcher, and with the heavy fence
         * of a worker that sleeps for the same reason */
        (void)brood__fence_heavy();
    }
    server->must_pass_wake =
        brood__help_was_requested(header, &server->help_requests) || is_watcher || server->must_pass_wake;
}

/* Rises fast and falls slowly: to take a long task for a short one makes other tasks wait for it.  The time runs from
 * the last reading of the clock, when there may have been no task yet; so one or two tasks tell the pace only if they
 * took long, or if no pace is known. */
static void pace_update(struct server *server, int64_t took_ns, unsigned tasks)
{
    struct worker_state *worker_state = server->lane->worker_state;
    int64_t pace = took_ns / tasks + 1, before = atomic_load_explicit(&worker_state->pace_ns, memory_order_relaxed);

    brood__assert(took_ns >= 0 && tasks > 0);
    if (before && tasks < TASKS_TO_TELL && took_ns < LONG_NS)
        return;

    if (pace < before)
        pace = (before + pace) / 2;
    if (pace > before || pace < before - before / 4)
        atomic_store_explicit(&worker_state->pace_ns, (uint32_t)(pace < UINT32_MAX ? pace : UINT32_MAX),
                              memory_order_relaxed);
}

/* Adapts POLLS_PER_RING to the number of tasks that were in the ring together. */
static void polls_adapt(struct server *server, uint64_t came_together)
{
    if (came_together > 1 && server->polls_per_ring < POLLS_PER_RING_MAX)
        server->polls_per_ring *= 2;
    else if (came_together == 1 && server->polls_per_ring > POLLS_PER_RING_MIN)
        server->polls_per_ring /= 2;
}

static uint32_t dismissed_work(const struct server *server)
{
    return atomic_load_explicit(&server->shared->header->dismissed_work, memory_order_acquire);
}

/* Runs a task in the lane of a dismissed worker, between two of its own: while all workers have tasks of their own, no
 * thief would come for it. */
static bool dismissed_drain(struct server *server)
{
    struct header *header = server->shared->header;
    uint32_t work = dismissed_work(server);
    uint64_t position;

    if (!work)
        return false;
    for (unsigned i = atomic_load_explicit(&header->wanted, memory_order_relaxed);
         (i = brood__waiting_from(server->shared, i)) < server->shared->workers; i++)
        if (brood__lane_waiting(&server->shared->lanes[i], &position))
            return stolen_run(server, (struct steal_victim){i, position});
    (void)atomic_compare_exchange_strong_explicit(&header->dismissed_work, &work, 0, memory_order_acq_rel,
                                                  memory_order_relaxed);
    return false;
}

static unsigned tasks_before_clock(const struct server *server)
{
    if (dismissed_work(server))
        return 1;
    return atomic_load_explicit(&server->lane->worker_state->pace_ns, memory_order_relaxed) ? TASKS_PER_CLOCK
                                                                                            : TASKS_FOR_PACE;
}

static void own_run_all(struct server *server)
{
    int64_t began = server->now_ns;
    uint64_t head = server->head;
    unsigned tasks = 0, most = tasks_before_clock(server);

    while (tasks < most && server->recycling.tasks_left > 0 && worker_is_wanted(server) && own_run(server))
        tasks++;
    server->now_ns = brood__now_ns(); /* reading the CPU number too would make a round trip a fifth longer */
    if (tasks > 0) {
        pace_update(server, server->now_ns - began, tasks);
        server->busy_ns = server->now_ns;
    }
    polls_adapt(server, server->head - head);
}

/* Polls until there is work, the pool stops, or the spinning time is over.  True: there is work, or a stolen task was
 * run. */
static bool server_spin(struct server *server)
{
    int64_t until = brood__spin_begin(&server->spinner, server->now_ns);
    uint64_t position;
    unsigned polls = 0;

    if (until && brood__is_crowded(server->shared))
        until = server->now_ns + SPIN_NS_CROWDED;
    do {
        for (int i = 1; i <= POLLS_PER_CLOCK; i++) {
            if (brood__lane_mailbox(server->lane, &position))
                return true;
            if (++polls % server->polls_per_ring == 0 && brood__lane_next(server->lane, &server->head, &position))
                return true;
            if (!pool_is_open(server))
                return false;
            brood__pause();
        }
        clock_read(server);
        (void)brood__spin_look(&server->spinner, server->now_ns);
        if (server_steal(server))
            return true;
    } while (server->now_ns < until);
    return false;
}

static void server_park_idle(struct server *server)
{
    brood__spin_end(&server->spinner, false);
    server_park(server);
    clock_read(server);
}

/* Has the worker been idle for so long that it scales down, or has the pool drained? */
static bool scale_down_is_due(const struct server *server)
{
    return server->now_ns >= scale_down_at_ns(server) || lanes_are_drained(server);
}

/* Is it time to end, for a successor or because this worker is dismissed? */
static bool server_is_leaving(struct server *server)
{
    return !worker_is_wanted(server) || brood__recycling_is_due(&server->recycling, server->now_ns);
}

/* Polls, then sleeps if no task comes. */
static void server_idle(struct server *server)
{
    if (server_spin(server)) {
        brood__spin_end(&server->spinner, true);
        server->busy_ns = server->now_ns;
    } else if (scale_down_is_due(server))
        server->scales_down = true;
    else if (pool_is_open(server) && !brood__recycling_is_due_now(&server->recycling, server->now_ns))
        server_park_idle(server);
}

void brood__serve(struct server *server)
{
    set_serving(server);
    clock_read(server);
    server->busy_ns = server->now_ns;
    server->scales_down = false;
    /* the previous worker of this number may have died in a stolen task */
    brood__unavailable_leave(server->shared->header, server->worker);
    while (pool_is_open(server) && !server_is_leaving(server) && !server->scales_down) {
        own_run_all(server);
        if (server->recycling.tasks_left > 0 && (!dismissed_work(server) || !dismissed_drain(server)))
            server_idle(server);
    }
    if (pool_is_open(server) && server->must_pass_wake)
        server_pass_wake(server);
    if (!pool_is_open(server))
        brood__serve_waiting(server);
    else if (server->scales_down)
        brood__worker_set_phase(server->lane->worker_state, PHASE_SCALED_DOWN);
    set_serving(NULL);
}

/* Returns the previous value of `serving`, for the end of the call. */
static struct server *serving_begin(struct server *server)
{
    struct server *outer = serving;

    brood__assert(server);
    if (!server_of(server->shared))
        server->outer = outer;
    set_serving(server);
    return outer;
}

void brood__serve_waiting(struct server *server)
{
    struct server *outer = serving_begin(server);

    while (own_run(server))
        ;
    set_serving(outer);
}

bool brood__serves(const struct shared *shared)
{
    const struct server *server = server_of(shared);

    return server && server->extension;
}

void brood__serve_inside(const struct shared *shared, unsigned lane, uint64_t position)
{
    struct server *server = server_of(shared), *outer = serving_begin(server);

    if (task_claim(server, lane, position))
        task_run_claimed(server, lane, position);
    set_serving(outer);
}

bool brood__serves_word(const struct shared *shared, uint64_t word)
{
    brood__assert(server_of(shared));
    return word_state(word) == SLOT_RUN && word_worker(word) == server_of(shared)->worker;
}

/* A task that runs in no lane. */
struct aside {
    const struct job *job;
    struct aside *outer;
};

unsigned brood__serve_aside(const struct shared *shared, struct slot *slot, struct slot_extension *extension,
                            const struct job *job)
{
    struct server *server = server_of(shared), *outer = serving_begin(server);
    struct aside aside = {job, server->aside};

    server->aside = &aside;
    slot_run(server, slot, extension, NO_POSITION);
    brood__assert(server->aside == &aside);
    server->aside = aside.outer;
    set_serving(outer);
    return server->worker;
}

bool brood__serves_aside(const struct shared *shared, const struct job *job)
{
    const struct aside *aside = server_of(shared)->aside;

    while (aside && aside->job != job)
        aside = aside->outer;
    return aside;
}
