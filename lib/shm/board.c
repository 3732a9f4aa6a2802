#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/fence.h"
#include "shm/board.h"

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t stations_offset(void)
{
    return round_up(sizeof(struct board), 4096);
}

static size_t lane_bytes(uint32_t slots)
{
    /* The odd line keeps the same slots of different lanes from competing for one set of the cache. */
    return (size_t)(slots + 1) * (sizeof(struct slot) + sizeof(struct note)) + 64;
}

static size_t certificates_offset(unsigned workers)
{
    return round_up(stations_offset() + workers * sizeof(struct station), 4096);
}

static size_t lanes_offset(unsigned workers)
{
    return certificates_offset(workers) + (workers + CERTIFICATES_MORE) * sizeof(struct certificate);
}

static int make_view(struct shared *shared, unsigned workers, uint32_t lane_slots)
{
    char *base = shared->segment.base;

    shared->workers = workers;
    shared->lanes = calloc(workers, sizeof(*shared->lanes));
    if (!shared->lanes)
        return brood_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; i < workers; i++) {
        char *lane = base + lanes_offset(workers) + i * lane_bytes(lane_slots);

        shared->lanes[i] = (struct lane){
            .slots = (struct slot *)lane,
            .notes = (struct note *)(lane + (lane_slots + 1) * sizeof(struct slot)),
            .station = (struct station *)(base + stations_offset()) + i,
            .mask = lane_slots - 1,
        };
    }
    shared->certificates = (struct certificate *)(base + certificates_offset(workers));
    shared->certificate_count = workers + CERTIFICATES_MORE;
    return 0;
}

int brood__shared_open(struct shared *ret_shared, enum segment_kind kind, unsigned workers, uint32_t lane_slots,
                       size_t memory_bytes)
{
    size_t control = lanes_offset(workers) + workers * lane_bytes(lane_slots);
    struct shared shared = {.segment = SEGMENT_CLOSED, .spill = SPILL_CLOSED};
    size_t reserve = memory_bytes < SIZE_MAX / 2 - control ? control + memory_bytes : SIZE_MAX / 2;
    int r = brood__segment_open(&shared.segment, kind, reserve, control);

    if (r < 0)
        return r;
    shared.board = (struct board *)shared.segment.base;
    shared.board->magic = BOARD_MAGIC;
    shared.board->workers = workers;
    shared.board->lane_slots = lane_slots;
    shared.board->heap_offset = round_up(control, 4096);
    r = make_view(&shared, workers, lane_slots);
    if (r < 0) {
        brood__shared_close(&shared);
        return r;
    }
    for (unsigned i = 0; i < workers; i++) /* thieves may come before the worker */
        atomic_store_explicit(&shared.lanes[i].station->head, lane_first_position(&shared.lanes[i]), memory_order_relaxed);
    *ret_shared = shared;
    return 0;
}

/* Does all that the board speaks of lie in the segment? */
static bool is_laid_out(const struct segment *segment, uint32_t workers, uint32_t lane_slots)
{
    return workers > 0 && workers <= BROOD_WORKERS_MAX && lane_slots > 0 && (lane_slots & (lane_slots - 1)) == 0 &&
           lane_slots <= UINT32_MAX / 1024 && lanes_offset(workers) + workers * lane_bytes(lane_slots) <= segment->reserved;
}

static int join(struct shared *shared)
{
    const struct board *board = shared->board;
    bool is_board = shared->segment.reserved >= sizeof(*board) && read_once(board->magic) == BOARD_MAGIC;
    uint32_t workers = is_board ? read_once(board->workers) : 0, lane_slots = is_board ? read_once(board->lane_slots) : 0;

    if (!is_laid_out(&shared->segment, workers, lane_slots))
        return brood_fail(-EPROTO, "the pool was made by another version of brood than this worker's, %s", brood_version());
    shared->cpus = read_once(board->cpus);
    return make_view(shared, workers, lane_slots);
}

int brood__shared_attach(struct shared *ret_shared, int fd)
{
    struct shared shared = {.segment = SEGMENT_CLOSED, .spill = SPILL_CLOSED};
    int r = brood__segment_attach(&shared.segment, fd);

    if (r == -EINVAL)
        return brood_fail(-EPROTO, "descriptor %d is no segment of a pool", fd);
    if (r < 0)
        return r;
    shared.board = (struct board *)shared.segment.base;
    r = join(&shared);
    if (r < 0) {
        brood__shared_close(&shared);
        return r;
    }
    *ret_shared = shared;
    return 0;
}

void brood__shared_close(struct shared *shared)
{
    brood__roll_close(shared->roll);
    shared->roll = NULL;
    free(shared->lanes);
    brood__segment_close(&shared->segment);
    brood__spill_close(&shared->spill);
    shared->board = NULL;
    shared->lanes = NULL;
}

struct certificate *brood__certificate(const struct shared *shared, uint32_t number)
{
    return number > 0 && number <= shared->certificate_count ? &shared->certificates[number - 1] : NULL;
}

static uint32_t take_certificate(const struct shared *shared, uint32_t owner)
{
    for (uint32_t i = 0; i < shared->certificate_count; i++) {
        struct certificate *certificate = &shared->certificates[i];
        uint32_t state = CERTIFICATE_FREE;

        if (atomic_load_explicit(&certificate->state, memory_order_relaxed) != CERTIFICATE_FREE ||
            !atomic_compare_exchange_strong_explicit(&certificate->state, &state, owner, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        certificate->fault_code = 0;
        certificate->fault_address = 0;
        certificate->backtrace[0] = certificate->output[0] = '\0';
        return i + 1;
    }
    return CERTIFICATE_NONE;
}

uint32_t brood__certificate_take(const struct shared *shared)
{
    return take_certificate(shared, CERTIFICATE_TAKEN);
}

uint32_t brood__certificate_take_for(const struct shared *shared, unsigned worker)
{
    return take_certificate(shared, CERTIFICATE_WORKER + worker);
}

uint32_t brood__certificate_of(const struct shared *shared, unsigned worker)
{
    for (uint32_t i = 0; i < shared->certificate_count; i++)
        if (atomic_load_explicit(&shared->certificates[i].state, memory_order_acquire) == CERTIFICATE_WORKER + worker) {
            atomic_store_explicit(&shared->certificates[i].state, CERTIFICATE_TAKEN, memory_order_relaxed);
            return i + 1;
        }
    return CERTIFICATE_NONE;
}

void brood__certificate_free(const struct shared *shared, uint32_t number)
{
    struct certificate *certificate = brood__certificate(shared, number);

    if (certificate)
        atomic_store_explicit(&certificate->state, CERTIFICATE_FREE, memory_order_release);
}

/* Relaxed would do for the bit itself: the heavy fence orders it before the worker's last look at the lanes. */
bool brood__idle_enter(struct board *board, unsigned worker)
{
    atomic_fetch_or_explicit(&board->idle[worker / 64], (uint64_t)1 << (worker % 64), memory_order_relaxed);
    return brood__fence_heavy();
}

bool brood__idle_leave(struct board *board, unsigned worker)
{
    uint64_t bit = (uint64_t)1 << (worker % 64);

    /* Acquire and release: who finds the bit cleared by a call sees `calls`. */
    return atomic_fetch_and_explicit(&board->idle[worker / 64], ~bit, memory_order_acq_rel) & bit;
}

bool brood__lookout_enter(struct board *board, unsigned worker)
{
    uint32_t holder = 0;

    return atomic_compare_exchange_strong_explicit(&board->lookout, &holder, worker + 1, memory_order_relaxed,
                                                   memory_order_relaxed) ||
           holder == worker + 1;
}

void brood__lookout_leave(struct board *board, unsigned worker)
{
    uint32_t holder = worker + 1;

    if (atomic_load_explicit(&board->lookout, memory_order_relaxed) == holder)
        (void)atomic_compare_exchange_strong_explicit(&board->lookout, &holder, 0, memory_order_relaxed,
                                                      memory_order_relaxed);
}

void brood__away_enter(struct board *board, unsigned worker)
{
    atomic_fetch_or_explicit(&board->away[worker / 64], (uint64_t)1 << (worker % 64), memory_order_relaxed);
    (void)brood__fence_heavy();
}

void brood__away_leave(struct board *board, unsigned worker)
{
    atomic_fetch_and_explicit(&board->away[worker / 64], ~((uint64_t)1 << (worker % 64)), memory_order_relaxed);
}

/* Who is idle among the workers from number 64 * i on.  A bit that stands for nobody is no worker's to set. */
static uint64_t load_idle(const struct shared *shared, unsigned i)
{
    uint64_t idle = atomic_load_explicit(&shared->board->idle[i], memory_order_relaxed);

    return shared->workers - i * 64 < 64 ? idle & (((uint64_t)1 << (shared->workers - i * 64)) - 1) : idle;
}

/* Whoever clears the bit wakes: of two submitters at once, one makes the system call. */
bool brood__idle_wake(struct shared *shared, unsigned worker)
{
    if (!brood__idle_is(shared->board, worker) || !brood__idle_leave(shared->board, worker))
        return false;
    brood__parker_wake(&shared->lanes[worker].station->parker);
    return true;
}

bool brood__idle_has_called(const struct board *board, uint32_t *seen)
{
    uint32_t calls = atomic_load_explicit(&board->calls, memory_order_relaxed);
    bool has_called = calls != *seen;

    *seen = calls;
    return has_called;
}

bool brood__idle_wake_any(struct shared *shared)
{
    atomic_fetch_add_explicit(&shared->board->calls, 1, memory_order_relaxed);
    for (unsigned i = 0; i < (shared->workers + 63) / 64; i++) {
        uint64_t idle = load_idle(shared, i);

        for (; idle; idle &= idle - 1)
            if (brood__idle_wake(shared, i * 64 + (unsigned)__builtin_ctzll(idle)))
                return true;
    }
    return false;
}

void brood__wake_workers(struct shared *shared)
{
    for (unsigned i = 0; i < shared->workers; i++)
        brood__parker_wake(&shared->lanes[i].station->parker);
}

void brood__wake_waiter(struct board *board, unsigned waiter)
{
    uint64_t wanted = (uint64_t)1 << (waiter % BOARD_PARKERS);

    if (waiter == WAITER_NONE)
        return;
    if (waiter == WAITER_ALL)
        wanted = atomic_load_explicit(&board->asleep, memory_order_relaxed);
    for (; wanted; wanted &= wanted - 1)
        brood__parker_wake(&board->parkers[__builtin_ctzll(wanted)]);
}

void brood__wake_host(struct board *board)
{
    /* What was published before, the thread that is not in `asleep` yet will see behind its own, heavy fence. */
    atomic_thread_fence(memory_order_seq_cst);
    brood__wake_waiter(board, WAITER_ALL);
    brood__parker_wake(&board->parkers[0]);
}

unsigned brood__idle_count(const struct shared *shared)
{
    unsigned count = 0;

    for (unsigned i = 0; i < (shared->workers + 63) / 64; i++)
        count += (unsigned)__builtin_popcountll(load_idle(shared, i));
    return count;
}

unsigned brood__awake_count(const struct shared *shared)
{
    unsigned present = atomic_load_explicit(&shared->board->present, memory_order_relaxed);
    unsigned idle = brood__idle_count(shared);

    return present > idle ? present - idle : 0;
}

void brood__present_add(struct board *board, int change)
{
    atomic_fetch_add_explicit(&board->present, (uint32_t)change, memory_order_relaxed);
}

bool brood__any_waiting(const struct shared *shared)
{
    uint64_t position;

    for (unsigned i = 0; i < shared->workers; i++)
        if (brood__lane_waiting(&shared->lanes[i], &position))
            return true;
    return false;
}

bool brood__is_crowded(const struct shared *shared)
{
    return brood__awake_count(shared) + 1 > shared->cpus;
}

bool brood__is_full(const struct shared *shared)
{
    return brood__awake_count(shared) + 1 >= shared->cpus;
}

void brood__board_set_state(struct board *board, enum board_state state)
{
    atomic_store_explicit(&board->state, (uint32_t)state, memory_order_release);
}

int brood__board_task(struct shared *shared, const struct brood_task *task)
{
    struct board *board = shared->board;
    uint32_t count = shared->tasks;
    struct board_task *entry;

    for (uint32_t i = 0; i < count; i++)
        if (strcmp(board->tasks[i].name, task->name) == 0)
            return (int)i;
    if (count == BOARD_TASKS)
        return brood_fail(-ENOSPC, "this pool has run %d different tasks, which is the limit", BOARD_TASKS);
    if (strlen(task->name) > BROOD_TASK_NAME_MAX)
        return brood_fail(-EINVAL, "a task's name has at most %d bytes: '%s'", BROOD_TASK_NAME_MAX, task->name);
    entry = &board->tasks[count];
    memcpy(entry->name, task->name, strlen(task->name) + 1);
    entry->arg_size = task->arg_size;
    entry->result_size = task->result_size;
    shared->tasks = count + 1;
    atomic_store_explicit(&board->task_count, count + 1, memory_order_release);
    return (int)count;
}

const struct board_task *brood__board_entry(const struct board *board, unsigned index)
{
    bool is_entered = index < atomic_load_explicit(&board->task_count, memory_order_acquire);

    return is_entered && index < BOARD_TASKS ? &board->tasks[index] : NULL;
}
