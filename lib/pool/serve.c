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
#include "os/placement.h"
#include "os/process.h"
#include "pool/fault.h"
#include "pool/serve.h"
#include "pool/task.h"
#include "shm/range.h"

/* The mailbox is polled all the time, the ring after so many polls.  A worker that follows its host from slot to slot takes
 * from it each line that it is about to write, and both go at the pace of that.  So who finds many tasks at once looks less
 * often, and stays some way behind; who finds few is asked for one at a time. */
#define POLLS_PER_RING_MIN 4
#define POLLS_PER_RING_MAX 256

/* The host has the lines of the slots to come: so many are asked for ahead, else each task would wait for its own. */
#define SLOTS_AHEAD 2

/* A worker that has made no progress for this long is busy with something long, and what waits behind it may be stolen. */
#define THEFT_NS 2000

/* Behind so many tasks a worker that is never without one looks at the clock all the same: it may be time to retire. */
#define TASKS_PER_CLOCK 4096

/* So many tell how long a task takes, and so does one that takes this long. */
#define TASKS_TO_TELL 8
#define LONG_NS 4000

/* … and behind so many while the host does not know how long its tasks take. */
#define TASKS_FOR_PACE 32

/* A claim on the items of a map should take about this long: long against its cost, short against the whole. */
#define CLAIM_NS_MIN 50000
#define CLAIM_NS_MAX 200000

/* A worker that cannot be sure to be woken looks this often. */
#define UNFENCED_NS 1000000

/* One that would not die with its supervisor looks this often whether that lives. */
#define UNLED_NS 100000000

/* The lookout sleeps so long between two looks, ever longer. */
#define LOOK_NS_MIN 50000
#define LOOK_NS_MAX 1000000

/* A worker that sleeps longer than this may be woken for anything: how long its tasks took says nothing any more. */
#define PACE_NS 1000000

/* Behind so many looks at which nobody had got on it sleeps until it is woken. */
#define LOOKS_IN_VAIN 4

static _Thread_local struct server *serving; /* what this thread is, if it is a worker */

int brood_worker_id(void)
{
    return serving ? (int)serving->worker : -1;
}

static unsigned depth_of_process;

unsigned brood__depth(void)
{
    return serving ? read_once(serving->shared->board->depth) : depth_of_process;
}

void brood__depth_set(const struct board *board)
{
    depth_of_process = read_once(board->depth);
}

void *brood_worker_state(void)
{
    return serving ? serving->state : NULL;
}

bool brood_cancelled(void)
{
    const struct server *server = serving;

    if (!server || !server->note)
        return false;
    return brood__board_state(server->shared->board) != BOARD_OPEN ||
           atomic_load_explicit(&server->note->stopped, memory_order_relaxed) == server->position ||
           (server->limit.end_ns != 0 && brood__limit_is_over(&server->limit, brood__now_ns()));
}

static int64_t idle_ns_of(const struct board *board, unsigned worker)
{
    return board->idle_ns > 0 && board->idle_ns < INT64_MAX / 2 && worker >= board->workers_min ? (int64_t)board->idle_ns
                                                                                                : INT64_MAX;
}

int brood__server_open(struct server *ret_server, struct shared *shared, unsigned worker, bool is_process)
{
    int r;

    *ret_server = (struct server){
        .shared = shared,
        .lane = &shared->lanes[worker],
        .worker = worker,
        .is_process = is_process,
        .head = atomic_load_explicit(&shared->lanes[worker].station->head, memory_order_relaxed),
        .retirement = {.tasks_left = UINT64_MAX, .at_ns = INT64_MAX, .next_look_ns = INT64_MAX},
        .idle_ns = idle_ns_of(shared->board, worker),
        .spin_ns = SPIN_NS_MAX,
        .polls_per_ring = POLLS_PER_RING_MIN,
    };
    r = brood__lookout_open(&ret_server->lookout, shared->workers);
    if (r < 0)
        return r;
    r = brood__limit_open(&ret_server->limit, ret_server->lane->station, is_process);
    if (r < 0)
        brood__server_close(ret_server);
    if (r < 0 || !is_process)
        return r;
    brood__fault_watch(shared, worker);
    brood__retirement_open(&ret_server->retirement, shared->board, worker);
    brood__output_open(&ret_server->output, ret_server->lane->station, read_once(shared->board->output_pipes));
    return 0;
}

void brood__server_close(struct server *server)
{
    brood__limit_close(&server->limit);
    brood__lookout_close(&server->lookout);
}

int brood__server_begin(struct server *server, const struct hooks *hooks)
{
    struct server *outer = serving;
    char words[256];
    int r;

    if (!hooks->initializer)
        return 0;
    serving = server;
    brood__error_clear();
    r = hooks->initializer(hooks->context, &server->state);
    serving = outer;
    if (r >= 0)
        return 0;
    r = r < -ERRNO_MAX ? -EINVAL : r;
    (void)snprintf(words, sizeof(words), "%s", brood_error());
    return brood_fail(r, "the worker's initializer failed: %s", words[0] ? words : strerror(-r));
}

void brood__server_end(struct server *server, const struct hooks *hooks)
{
    struct server *outer = serving;

    if (!hooks->finalizer)
        return;
    serving = server;
    hooks->finalizer(hooks->context, server->state);
    serving = outer;
    server->state = NULL;
}

static const struct brood_task *find_task(struct server *server, unsigned index, const char **ret_name)
{
    const struct board_task *entry = brood__board_entry(server->shared->board, index);

    if (!entry) {
        *ret_name = "?";
        return NULL;
    }
    *ret_name = entry->name;
    if (!server->tasks[index])
        server->tasks[index] = brood_task_find(entry->name);
    return server->tasks[index];
}

/* ---- one task ---- */

/* Of a map, those about the lowest item.  `has_words` is down while they are written: the worker may die of anything. */
static void keep_words(struct slot *slot, struct note *note, uint64_t item)
{
    const char *words = brood_error();

    if ((slot->has_words && note->item <= item) || !words[0])
        return;
    slot->has_words = 0;
    atomic_signal_fence(memory_order_seq_cst);
    (void)snprintf(note->words, sizeof(note->words), "%s", words);
    note->item = item;
    atomic_signal_fence(memory_order_seq_cst);
    slot->has_words = 1;
}

/* A result of any size may go beside the slot: then its length is more than the room. */
static int run_large(const struct server *server, const struct brood_task *task, const char *name, struct brood_bytes arg,
                     void *space, size_t *length, uint32_t region)
{
    struct brood__spilled spilled = {.spill = &server->shared->spill, .region = region};
    size_t room = *length;
    int r = brood__task_run_large(task, name, arg, space, length, &spilled);

    brood__spill_unmap(&spilled, r == 0 && *length > room);
    return r;
}

static void run_task(struct server *server, struct slot *slot, struct note *note)
{
    char *base = server->shared->segment.base;
    struct brood_bytes arg = {slot->arg.bytes, slot->arg_bytes};
    void *space = slot->result.bytes;
    size_t length = slot->result_bytes;
    const char *name;
    const struct brood_task *task = find_task(server, slot->task, &name);
    int r;

    if (arg.len > SLOT_ARG_BYTES)
        arg.ptr = base + slot->arg.offset;
    if (length > SLOT_RESULT_BYTES)
        space = base + slot->result.offset;
    if (slot->kind & SLOT_ANY_SIZE)
        r = run_large(server, task, name, arg, space, &length, note->region);
    else
        r = brood__task_run(task, name, arg, space, &length);
    slot->status = (int16_t)r;
    slot->result_bytes = (uint32_t)length;
    if (r < 0)
        keep_words(slot, note, 0);
}

/* ---- the items of a map ---- */

struct work {
    struct window *window;
    struct range *range; /* the worker's own */
    const struct brood_task *task;
    const char *name;
    char *args, *results;
    _Atomic int16_t *status;
    char *words; /* brood_error() of this thread */
};

/* Modulo 2^64: an array of the host's own, which threads use where it is, may lie before the segment. */
static char *address_of(const char *base, uint64_t offset)
{
    return (char *)((uintptr_t)base + (uintptr_t)offset); /* NOLINT: a sum of pointer and offset may not wrap around */
}

static struct work open_work(struct server *server, const struct slot *slot)
{
    char *base = server->shared->segment.base;
    struct window *window = (struct window *)(base + slot->arg.offset);
    struct work work = {
        .window = window, .args = address_of(base, window->args), .results = address_of(base, window->results)};
    uint32_t number = range_number(server->worker, window->workers);

    work.status = (_Atomic int16_t *)(void *)(base + window->status);
    work.range = &window->ranges[number];
    work.words = brood__error_words();
    work.task = find_task(server, window->task, &work.name);
    return work;
}

static void finish_item(const struct work *work, struct slot *slot, struct note *note, uint32_t item, int r)
{
    if (r < 0)
        keep_words(slot, note, item);
    item_finish(&work->status[item], r < 0 ? (int16_t)r : ITEM_DONE);
}

/* The worker's task does not fit: each item fails, with words. */
static void refuse_items(const struct work *work, struct slot *slot, struct note *note, uint32_t lo, uint32_t count)
{
    struct brood_bytes arg = {work->args, work->window->arg_bytes};

    for (uint32_t i = lo; i < lo + count; i++) {
        size_t length = work->window->result_bytes;

        finish_item(work, slot, note, i, brood__task_run(work->task, work->name, arg, work->results, &length));
    }
}

/* What is the same for all items of a claim, in variables that no task can reach, so that they may stay in registers. */
struct begin {
    struct range *range;
    char *words;
    int64_t limit_ns, grace_ns; /* NO_LIMIT: there is none, and yet something to do before each item */
};

#define NO_LIMIT (-1)

static inline struct begin open_begin(struct server *server, const struct work *work)
{
    struct begin begin = {work->range, work->words, work->window->limit_ns, work->window->grace_ns};

    server->map_task = work->window->task;
    if (begin.limit_ns == 0 && server->output.pipes > 0)
        begin.limit_ns = NO_LIMIT;
    return begin;
}

/* What few maps need is out of the way of the others' loop. */
static __attribute__((noinline)) void begin_specially(struct server *server, int64_t limit_ns, int64_t grace_ns)
{
    if (limit_ns != NO_LIMIT)
        brood__limit_begin(&server->limit, limit_ns, grace_ns);
    if (server->output.pipes > 0)
        brood__output_begin(&server->output, server->map_task);
}

static inline void begin_item(struct server *server, struct begin begin, uint32_t item)
{
    range_begin_item(begin.range, item);
    if (begin.limit_ns)
        begin_specially(server, begin.limit_ns, begin.grace_ns);
    if (begin.words[0])
        begin.words[0] = '\0';
}

/* As brood__task_run() does, with what is the same for all items done once.  Where the next item's things are stands in
 * variables of its own: a sum that is kept in `reply`, which the task sees, would wait for the memory each time. */
static void run_items(struct server *server, const struct work *work, struct slot *slot, struct note *note, uint32_t lo,
                      uint32_t count)
{
    const size_t arg_bytes = work->window->arg_bytes, result_bytes = work->window->result_bytes;
    const char *arg = work->args + lo * arg_bytes;
    char *result = work->results + lo * result_bytes;
    const struct begin begin = open_begin(server, work);
    struct brood_reply reply = {.room = result_bytes, .task = work->task};

    for (uint32_t item = lo; item < lo + count; item++) {
        begin_item(server, begin, item);
        reply.space = result;
        finish_item(work, slot, note, item, brood__task_call(work->task, (struct brood_bytes){arg, arg_bytes}, &reply));
        arg += arg_bytes;
        result += result_bytes;
    }
}

/* The same where the items are blocks of a loop's indices. */
static void run_blocks(struct server *server, const struct work *work, struct slot *slot, struct note *note, uint32_t lo,
                       uint32_t count)
{
    const struct window *window = work->window;
    const uint64_t grain = window->grain, end = window->end;
    const size_t context_bytes = window->context_bytes, result_bytes = window->result_bytes;
    const char *context = context_bytes ? work->args : NULL;
    uint64_t from = window->first + lo * grain;
    char *result = work->results + lo * result_bytes;
    const struct begin begin = open_begin(server, work);
    struct brood_reply reply = {.room = result_bytes, .task = work->task};

    for (uint32_t item = lo; item < lo + count; item++) {
        struct brood_range block = {context, context_bytes, from, end - from > grain ? from + grain : end};

        begin_item(server, begin, item);
        reply.space = result;
        finish_item(work, slot, note, item,
                    brood__task_call(work->task, (struct brood_bytes){&block, sizeof(block)}, &reply));
        from += grain;
        result += result_bytes;
    }
}

/* Twice as many next time if that was quick, half if it was slow; never more than an eighth of what is left, for others to
 * steal. */
static uint32_t adapt(uint32_t chunk, int64_t took_ns)
{
    if (took_ns < CLAIM_NS_MIN && chunk < UINT32_MAX / 2)
        return chunk * 2;
    return took_ns > CLAIM_NS_MAX && chunk > 1 ? chunk / 2 : chunk;
}

static uint32_t at_most(uint32_t chunk, uint32_t left)
{
    uint32_t fair = left / 8 + 1;

    return chunk < fair ? chunk : fair;
}

/* The next items for this worker: of its own range, else stolen. */
static uint32_t claim_items(const struct server *server, const struct work *work, uint32_t adaptive, uint32_t *ret_lo)
{
    struct window *window = work->window;
    uint32_t wanted = window->chunk ? window->chunk : at_most(adaptive, brood__range_left(work->range));
    uint32_t count;

    if (atomic_load_explicit(&window->stop, memory_order_relaxed) ||
        atomic_load_explicit(&work->range->yields, memory_order_acquire))
        return 0;
    count = brood__range_claim(work->range, wanted, ret_lo);
    if (count > 0 || window->workers < 2)
        return count;
    return brood__range_steal(window->ranges, window->workers, server->worker, wanted, ret_lo);
}

static void run_claim(struct server *server, const struct work *work, struct slot *slot, struct note *note, uint32_t lo,
                      uint32_t count)
{
    if (work->window->grain)
        run_blocks(server, work, slot, note, lo, count);
    else
        run_items(server, work, slot, note, lo, count);
    if (work->window->limit_ns)
        brood__limit_end(&server->limit);
    brood__retirement_count(&server->retirement, count);
}

/* The store is rare: its line stays with the worker. */
static void note_answer(struct server *server)
{
    _Atomic uint32_t *has_answered = &server->lane->station->has_answered;

    if (!atomic_load_explicit(has_answered, memory_order_relaxed))
        atomic_store_explicit(has_answered, 1, memory_order_relaxed);
}

/* The answer says how long it took, for who cuts a stream into maps. */
static void run_map(struct server *server, struct slot *slot, struct note *note)
{
    struct work work = open_work(server, slot);
    bool fits = brood__task_fits(work.task, work.window->arg_bytes, work.window->result_bytes);
    int64_t began = brood__now_ns(), since = began, now;
    uint32_t adaptive = 1, lo, count;

    while ((count = claim_items(server, &work, adaptive, &lo)) > 0) {
        if (fits)
            run_claim(server, &work, slot, note, lo, count);
        else
            refuse_items(&work, slot, note, lo, count);
        note_answer(server);
        if (!work.window->chunk) {
            now = brood__now_ns();
            adaptive = adapt(adaptive, now - since);
            since = now;
        }
    }
    slot->status = 0;
    slot->result_bytes = 0;
    slot->result.took_ns = (work.window->chunk ? brood__now_ns() : since) - began;
}

/* ---- claiming and answering ---- */

static void answer(struct server *server, struct slot *slot, uint64_t position)
{
    note_answer(server);
    slot_answer(slot, position, server->worker);
    brood__fence_light(); /* pairs with the heavy fence of a host thread that has just named its parker */
    unsigned waiter = slot_waiter(slot);

    if (waiter != WAITER_NONE)
        brood__wake_waiter(server->shared->board, waiter);
}

/* A task of a worker that is nobody but its caller may run another one, so what is said of this one is put back. */
static void run(struct server *server, struct slot *slot, struct note *note, uint64_t position)
{
    const struct note *outer_note = server->note;
    uint64_t outer_position = server->position;
    int64_t outer_end_ns = server->limit.end_ns;

    server->note = note;
    server->position = position;
    if (slot->kind & SLOT_LIMITED)
        brood__limit_begin(&server->limit, note->limit_ns, note->grace_ns);
    if (server->output.pipes > 0)
        brood__output_begin(&server->output, slot->task);
    slot->has_words = 0;
    if (slot_kind(slot->kind) == SLOT_MAP)
        run_map(server, slot, note);
    else
        run_task(server, slot, note);
    if (server->output.pipes > 0)
        brood__output_end(&server->output);
    if (server->limit.end_ns)
        brood__limit_end(&server->limit);
    brood__retirement_count(&server->retirement, 1);
    server->note = outer_note;
    server->position = outer_position;
    server->limit.end_ns = outer_end_ns;
}

static bool claim(struct server *server, unsigned lane_number, uint64_t position)
{
    struct lane *lane = &server->shared->lanes[lane_number];
    struct slot *slot = &lane->slots[lane_index(lane, position)];

    return slot_claim(slot, server->lane->station, lane_number, position, server->worker);
}

/* Who was woken to help may have been meant for more than one task, and is about to be busy: is there somebody else who
 * will look at the others? */
static void hand_on(struct server *server)
{
    server->hands_on = false;
    if (!brood__lookout_any(server->shared->board) && brood__any_waiting(server->shared))
        (void)brood__idle_wake_any(server->shared);
}

/* Runs what is in a slot that it has claimed, and answers. */
static void run_claimed(struct server *server, unsigned lane_number, uint64_t position)
{
    struct lane *lane = &server->shared->lanes[lane_number];
    uint32_t index = lane_index(lane, position);

    if (server->hands_on)
        hand_on(server);
    run(server, &lane->slots[index], &lane->notes[index], position);
    answer(server, &lane->slots[index], position);
}

/* The head that others see moves only after the slot is claimed: who comes after this worker's death begins there, and must
 * not begin behind a task that nobody has. */
static bool run_own(struct server *server)
{
    uint64_t position;

    if (!brood__lane_next(server->lane, &server->head, &position))
        return false;
    if (!(position & MAILBOX))
        slot_prefetch_write(&server->lane->slots[lane_index(server->lane, position + SLOTS_AHEAD)]);
    if (claim(server, server->worker, position)) /* if it was stolen just now there may be a next one */
        run_claimed(server, server->worker, position);
    if (!(position & MAILBOX))
        server->head = position + 1;
    atomic_store_explicit(&server->lane->station->head, server->head, memory_order_relaxed);
    return true;
}

/* What may take long.  Who submits to this worker's lane meanwhile has to know that nobody is there; what came just before
 * is somebody else's to take. */
static bool run_stolen(struct server *server, struct plight plight)
{
    struct board *board = server->shared->board;
    bool ran;

    brood__away_enter(board, server->worker);
    server->hands_on = true;
    ran = claim(server, plight.worker, plight.position);
    if (ran)
        run_claimed(server, plight.worker, plight.position);
    brood__away_leave(board, server->worker);
    return ran;
}

/* Looking oftener would cost the others a cache miss a task. */
static bool steal(struct server *server)
{
    struct plight plight;

    if (server->now_ns < server->next_theft_ns)
        return false;
    server->next_theft_ns = server->now_ns + THEFT_NS;
    return brood__lookout_find(&server->lookout, server->shared, server->worker, server->now_ns, &plight) &&
           run_stolen(server, plight);
}

/* ---- with nothing to do ---- */

static bool is_open(const struct server *server)
{
    return brood__board_state(server->shared->board) == BOARD_OPEN;
}

static bool is_wanted(const struct server *server)
{
    return !atomic_load_explicit(&server->lane->station->is_dismissed, memory_order_relaxed);
}

static int64_t rest_ns(const struct server *server)
{
    return server->idle_ns < INT64_MAX ? server->busy_ns + server->idle_ns : INT64_MAX;
}

/* What the tasks have printed does not wait in a buffer while the worker sleeps. */
static void flush_output(struct server *server)
{
    if (server->output.pipes > 0)
        brood__output_begin(&server->output, OUTPUT_NO_TASK);
    else if (server->is_process && __fpending(stdout) > 0)
        (void)fflush(stdout);
}

/* The request first: who dies behind it is told by the kernel, and who died before has left its mark. */
bool brood__server_outlives_nobody(const struct shared *shared)
{
    bool dies_with_it = brood__process_renew_die_with();

    if (brood__life_is_over(atomic_load(&shared->board->life)))
        _exit(0);
    return dies_with_it;
}

/* No longer than this, whatever the worker sleeps for.  Who has nothing to do has nothing to lose by a system call more: a
 * task may have changed the user ids.  To sleep on the supervisor's life as host threads do would be no help: the kernel
 * wakes one of all sleepers, and that shall be the host. */
static brood_deadline latest(const struct server *server, bool fenced)
{
    brood_deadline until = brood__sooner((brood_deadline){server->retirement.at_ns}, (brood_deadline){rest_ns(server)});

    if (!fenced)
        until = brood__sooner(until, brood__after_ns(UNFENCED_NS));
    if (server->is_process && !brood__server_outlives_nobody(server->shared))
        until = brood__sooner(until, brood__after_ns(UNLED_NS));
    return until;
}

/* What time it is, and on which CPU: see placement.c. */
static void look_at_clock(struct server *server)
{
    server->now_ns = brood__now_ns();
    atomic_store_explicit(&server->lane->station->cpu, brood__cpu_here(), memory_order_relaxed);
}

static bool is_called(const struct server *server)
{
    return !brood__idle_is(server->shared->board, server->worker) || !is_open(server) || !is_wanted(server);
}

/* Is there, or was there just now, somebody to look after?  Who sleeps between two bursts of short tasks will soon be awake
 * again; who is at something long will not be given more without somebody being woken for it. */
static bool has_company(const struct server *server)
{
    return server->lookout.sees_progress || brood__any_waiting(server->shared);
}

/* Sleeps, and looks at the lanes of the others now and then, until there is something to do for this worker, or the others
 * have not got on for a while. */
static void look_out(struct server *server, uint32_t seen, brood_deadline until)
{
    int64_t nap_ns = LOOK_NS_MIN;
    unsigned in_vain = 0;
    struct parker *parker = &server->lane->station->parker;
    struct plight plight;

    while (in_vain < LOOKS_IN_VAIN && !is_called(server) && brood__parker_look(parker) == seen && !brood__is_past(until)) {
        brood__parker_sleep(parker, seen, NULL, 0, brood__sooner(until, brood__after_ns(nap_ns)));
        look_at_clock(server);
        if (brood__lookout_find(&server->lookout, server->shared, server->worker, server->now_ns, &plight))
            break;
        nap_ns = nap_ns * 2 < LOOK_NS_MAX ? nap_ns * 2 : LOOK_NS_MAX;
        in_vain = has_company(server) ? 0 : in_vain + 1;
    }
    server->next_theft_ns = server->now_ns; /* what was found is looked for again, by who is awake */
}

static void sleep_until_called(struct server *server, uint32_t seen, brood_deadline until)
{
    struct station *station = server->lane->station;

    brood__parker_sleep(&station->parker, seen, NULL, 0, brood__sooner(until, brood__after_ns(PACE_NS)));
    if (is_called(server))
        return;
    atomic_store_explicit(&station->pace_ns, 0, memory_order_relaxed);
    brood__parker_sleep(&station->parker, seen, NULL, 0, until);
}

/* Should it look a second time before it sleeps?  Where there is no CPU for it, whoever it would watch might have lost its
 * own to it. */
static bool is_needed(const struct server *server)
{
    return brood__any_waiting(server->shared) && !server->lookout.is_sure && !brood__is_full(server->shared);
}

/* Returns when there may be something to do.  True if it had the lookout's post, and has it still. */
static bool rest(struct server *server, uint32_t seen, bool fenced)
{
    bool is_lookout;

    if (is_needed(server))
        return false;
    is_lookout = has_company(server) && brood__lookout_enter(server->shared->board, server->worker);
    flush_output(server);
    if (is_lookout)
        look_out(server, seen, latest(server, fenced));
    else
        sleep_until_called(server, seen, latest(server, fenced));
    return is_lookout;
}

static void park(struct server *server)
{
    struct board *board = server->shared->board;
    uint32_t seen = brood__parker_look(&server->lane->station->parker);
    uint64_t position;
    bool fenced = brood__idle_enter(board, server->worker);
    bool is_lookout = !is_called(server) && !brood__lane_waiting(server->lane, &position) && rest(server, seen, fenced);

    if (!brood__idle_leave(board, server->worker))
        brood__lookout_forget(&server->lookout);
    if (is_lookout) {
        brood__lookout_leave(board, server->worker);
        (void)brood__fence_heavy(); /* pairs with the light fence of a host that wakes nobody since there is a lookout, and
                                       with the heavy one of a worker that sleeps for this reason */
    }
    server->hands_on = brood__idle_has_called(board, &server->calls) || is_lookout || server->hands_on;
}

/* Quick to rise and slow to fall: taking a long task for a short one leaves others waiting behind it.  The time counts from
 * the last look at the clock, when there may have been no task yet: so what one or two tasks took says something if it was
 * long, or if nothing is known. */
static void note_pace(struct server *server, int64_t took_ns, unsigned tasks)
{
    struct station *station = server->lane->station;
    int64_t pace = took_ns / tasks + 1, before = atomic_load_explicit(&station->pace_ns, memory_order_relaxed);

    if (before && tasks < TASKS_TO_TELL && took_ns < LONG_NS)
        return;

    if (pace < before)
        pace = (before + pace) / 2;
    if (pace > before || pace < before - before / 4)
        atomic_store_explicit(&station->pace_ns, (uint32_t)(pace < UINT32_MAX ? pace : UINT32_MAX), memory_order_relaxed);
}

/* How many tasks of its ring were there together: see POLLS_PER_RING_MIN. */
static void note_company(struct server *server, uint64_t came_together)
{
    if (came_together > 1 && server->polls_per_ring < POLLS_PER_RING_MAX)
        server->polls_per_ring *= 2;
    else if (came_together == 1 && server->polls_per_ring > POLLS_PER_RING_MIN)
        server->polls_per_ring /= 2;
}

static uint32_t orphans_of(const struct server *server)
{
    return atomic_load_explicit(&server->shared->board->orphans, memory_order_acquire);
}

/* A task in a lane whose worker was sent away, between two of the own: while everybody has something of their own to do,
 * nobody would come for it. */
static bool adopt(struct server *server)
{
    struct board *board = server->shared->board;
    uint32_t orphans = orphans_of(server);
    uint64_t position;

    if (!orphans)
        return false;
    for (unsigned i = atomic_load_explicit(&board->wanted, memory_order_relaxed); i < server->shared->workers; i++)
        if (brood__lane_waiting(&server->shared->lanes[i], &position))
            return run_stolen(server, (struct plight){i, position});
    (void)atomic_compare_exchange_strong(&board->orphans, &orphans, 0);
    return false;
}

static unsigned tasks_until_clock(const struct server *server)
{
    if (orphans_of(server))
        return 1;
    return atomic_load_explicit(&server->lane->station->pace_ns, memory_order_relaxed) ? TASKS_PER_CLOCK : TASKS_FOR_PACE;
}

static void run_all_own(struct server *server)
{
    int64_t began = server->now_ns;
    uint64_t head = server->head;
    unsigned tasks = 0, most = tasks_until_clock(server);

    while (tasks < most && server->retirement.tasks_left > 0 && is_wanted(server) && run_own(server))
        tasks++;
    server->now_ns = brood__now_ns(); /* asking for the CPU too would make a round trip a fifth longer */
    if (tasks > 0) {
        note_pace(server, server->now_ns - began, tasks);
        server->busy_ns = server->now_ns;
    }
    note_company(server, server->head - head);
}

/* Polls until there is work, or the pool stops, or it has spun for long enough: true if there is work, or was for a thief.
 */
static bool spin(struct server *server)
{
    int64_t until = server->now_ns + (brood__is_crowded(server->shared) ? SPIN_NS_CROWDED : server->spin_ns);
    uint64_t position;
    unsigned polls = 0;

    do {
        for (int i = 1; i <= POLLS_PER_CLOCK; i++) {
            if (brood__lane_mailbox(server->lane, &position))
                return true;
            if (++polls % server->polls_per_ring == 0 && brood__lane_next(server->lane, &server->head, &position))
                return true;
            if (!is_open(server))
                return false;
            brood__pause();
        }
        look_at_clock(server);
        if (steal(server))
            return true;
    } while (server->now_ns < until);
    return false;
}

static void sleep_until_woken(struct server *server)
{
    server->spin_ns = server->spin_ns / 2 > SPIN_NS_MIN ? server->spin_ns / 2 : SPIN_NS_MIN;
    park(server);
    look_at_clock(server);
}

/* It has had nothing to do for so long that it makes room. */
static bool is_tired(const struct server *server)
{
    return server->now_ns >= rest_ns(server);
}

/* It is time to make room: for a successor, or for nobody. */
static bool is_leaving(struct server *server)
{
    return !is_wanted(server) || brood__retirement_is_due(&server->retirement, server->now_ns);
}

/* Polls, and sleeps when nothing comes. */
static void idle(struct server *server)
{
    if (spin(server)) {
        server->spin_ns = server->spin_ns * 2 < SPIN_NS_MAX ? server->spin_ns * 2 : SPIN_NS_MAX;
        server->busy_ns = server->now_ns;
    } else if (is_tired(server))
        server->rests = true;
    else if (is_open(server) && !brood__retirement_is_due_now(&server->retirement, server->now_ns))
        sleep_until_woken(server);
}

void brood__serve(struct server *server)
{
    serving = server;
    look_at_clock(server);
    server->busy_ns = server->now_ns;
    server->rests = false;
    brood__away_leave(server->shared->board, server->worker); /* its predecessor may have died elsewhere */
    while (is_open(server) && !is_leaving(server) && !server->rests) {
        run_all_own(server);
        if (server->retirement.tasks_left > 0 && (!orphans_of(server) || !adopt(server)))
            idle(server);
    }
    if (is_open(server) && server->hands_on)
        hand_on(server);
    if (!is_open(server))
        brood__serve_waiting(server);
    else if (server->rests)
        brood__station_set_state(server->lane->station, STATION_RESTING);
    serving = NULL;
}

void brood__serve_waiting(struct server *server)
{
    struct server *outer = serving;

    serving = server;
    while (run_own(server))
        ;
    serving = outer;
}
