#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fence.h"
#include "os/owned.h"
#include "os/role.h"
#include "proto/header.h"

static size_t offset_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t worker_states_offset(void)
{
    return offset_round_up(sizeof(struct header), 4096);
}

static size_t lane_bytes(uint32_t slots)
{
    /* The odd line keeps the same slots of different lanes out of the same cache set. */
    return (size_t)(slots + 1) * (sizeof(struct slot) + sizeof(struct slot_extension)) + 64;
}

static size_t certificates_offset(unsigned workers)
{
    return offset_round_up(worker_states_offset() + workers * sizeof(struct worker_state), 4096);
}

static size_t lanes_offset(unsigned workers)
{
    return certificates_offset(workers) + (workers + CERTIFICATES_MORE) * sizeof(struct certificate);
}

static int view_make(struct shared *shared, unsigned workers, uint32_t lane_slots)
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
            .extensions = (struct slot_extension *)(lane + (lane_slots + 1) * sizeof(struct slot)),
            .worker_state = (struct worker_state *)(base + worker_states_offset()) + i,
            .mask = lane_slots - 1,
            .depth = lane_slots,
        };
    }
    shared->certificates = (struct certificate *)(base + certificates_offset(workers));
    shared->certificate_count = workers + CERTIFICATES_MORE;
    return 0;
}

static int segment_open_for(struct segment *ret_segment, enum segment_kind kind, size_t reserve, size_t control,
                            size_t committed)
{
    struct segment segment;
    int r = brood__segment_open(&segment, kind, reserve, committed);

    if (r < 0)
        return r;
    if (committed < control)
        r = brood__segment_extend(&segment, control);
    if (r < 0)
        brood__segment_close(&segment);
    else
        *ret_segment = segment;
    return r;
}

int brood__shared_open(struct shared *ret_shared, enum segment_kind kind, unsigned workers, uint32_t lane_slots,
                       size_t memory_bytes, bool is_sparse)
{
    size_t control = lanes_offset(workers) + workers * lane_bytes(lane_slots);
    struct shared shared = {.segment = SEGMENT_CLOSED, .large = LARGE_CLOSED};
    size_t reserve = memory_bytes < SIZE_MAX / 2 - control ? control + memory_bytes : SIZE_MAX / 2;
    int r;

    brood__assert(workers > 0 && workers <= BROOD_WORKERS_MAX);
    brood__assert(lane_slots > 0 && (lane_slots & (lane_slots - 1)) == 0);
    is_sparse = is_sparse && kind != SEGMENT_PRIVATE; /* private memory is allocated on first access */
    r = segment_open_for(&shared.segment, kind, reserve, control, is_sparse ? lanes_offset(workers) : control);
    if (r < 0)
        return r;
    shared.header = (struct header *)shared.segment.base;
    shared.header->magic = HEADER_MAGIC;
    shared.header->workers = workers;
    shared.header->lane_slots = lane_slots;
    shared.header->heap_offset = offset_round_up(control, 4096);
    shared.header->reserved = shared.segment.reserved;
    (void)brood__own(shared.segment.fd);
    r = view_make(&shared, workers, lane_slots);
    if (r < 0) {
        brood__shared_close(&shared);
        return r;
    }
    for (unsigned i = 0; i < workers; i++) { /* thieves may read it before the worker starts */
        atomic_store_explicit(&shared.lanes[i].worker_state->head, lane_first_position(&shared.lanes[i]),
                              memory_order_relaxed);
        shared.lanes[i].depth = is_sparse ? 0 : lane_slots;
    }
    *ret_shared = shared;
    return 0;
}

static int array_commit(struct segment *segment, const void *from, size_t bytes)
{
    size_t offset = (size_t)((const char *)from - segment->base);
    int r = brood__segment_commit_part(segment, offset, bytes);

    if (r == 0)
        brood__segment_prefault(segment, offset, bytes);
    return r;
}

/* The mailbox lies between the ring and the extensions; its extension is the last one. */
int brood__lane_commit(struct shared *shared, unsigned number, uint32_t depth)
{
    struct lane *lane = &shared->lanes[number];
    struct segment *segment = &shared->segment;
    uint32_t old = lane->depth, size = lane->mask + 1;
    int r;

    brood__assert_host();
    brood__assert(number < shared->workers && lane_is_valid(lane));
    depth = depth < size ? depth : size;
    if (depth <= old)
        return 0;
    r = array_commit(segment, &lane->slots[old], (depth - old) * sizeof(struct slot));
    if (r == 0)
        r = array_commit(segment, &lane->extensions[old], (depth - old) * sizeof(struct slot_extension));
    if (r == 0 && old == 0)
        r = array_commit(segment, &lane->slots[size], sizeof(struct slot));
    if (r == 0 && old == 0)
        r = array_commit(segment, &lane->extensions[size], sizeof(struct slot_extension));
    if (r == 0)
        lane->depth = depth;
    brood__assert_valid(lane_is_valid(lane));
    return r;
}

void brood__lanes_assume_committed(struct shared *shared)
{
    brood__assert_supervisor();
    for (unsigned i = 0; i < shared->workers; i++)
        shared->lanes[i].depth = shared->lanes[i].mask + 1;
}

/* Does everything that the pool header describes lie in committed memory? */
static bool layout_is_valid(const struct segment *segment, uint32_t workers, uint32_t lane_slots)
{
    return workers > 0 && workers <= BROOD_WORKERS_MAX && lane_slots > 0 && (lane_slots & (lane_slots - 1)) == 0 &&
           lane_slots <= UINT32_MAX / 1024 &&
           lanes_offset(workers) + workers * lane_bytes(lane_slots) <= segment->committed;
}

static int header_attach(struct shared *shared)
{
    const struct header *header = shared->header;
    bool is_header = shared->segment.committed >= sizeof(*header) && read_once(header->magic) == HEADER_MAGIC;
    uint32_t workers = is_header ? read_once(header->workers) : 0,
             lane_slots = is_header ? read_once(header->lane_slots) : 0;

    if (!layout_is_valid(&shared->segment, workers, lane_slots))
        return brood_fail(-EPROTO, "the pool was made by another version of brood than this worker's, %s", brood_version());
    shared->cpus = read_once(header->cpus);
    return view_make(shared, workers, lane_slots);
}

/* Reads how much address space the segment needs, before it is mapped; 0: no more than it has now. */
static int reserve_read(int fd, size_t *ret_reserve)
{
    struct header header = {.magic = 0};
    ssize_t bytes;

    do
        bytes = pread(fd, &header, offsetof(struct header, state), 0);
    while (bytes < 0 && errno == EINTR);
    if (bytes < 0)
        return errno == EIO ? brood_fail(-errno, "the pool's memory cannot be read: %s", strerror(errno)) : -EINVAL;
    *ret_reserve = header.magic == HEADER_MAGIC && header.reserved <= SIZE_MAX / 2 ? (size_t)header.reserved : 0;
    return 0;
}

int brood__shared_attach(struct shared *ret_shared, int fd)
{
    struct shared shared = {.segment = SEGMENT_CLOSED, .large = LARGE_CLOSED};
    size_t reserve;
    int r = reserve_read(fd, &reserve);

    if (r == 0)
        r = brood__segment_attach(&shared.segment, fd, reserve);
    if (r == -EINVAL)
        return brood_fail(-EPROTO, "descriptor %d is no segment of a pool", fd);
    if (r < 0)
        return r;
    (void)brood__own(fd);
    shared.header = (struct header *)shared.segment.base;
    r = header_attach(&shared);
    if (r < 0) {
        brood__shared_close(&shared);
        return r;
    }
    *ret_shared = shared;
    return 0;
}

void brood__shared_close(struct shared *shared)
{
    brood__membership_close(shared->membership);
    brood__hold_close(shared->hold);
    shared->membership = NULL;
    shared->hold = NULL;
    free(shared->lanes);
    (void)brood__disown(shared->segment.fd);
    brood__segment_close(&shared->segment);
    brood__large_close(&shared->large);
    shared->header = NULL;
    shared->lanes = NULL;
}

struct certificate *brood__certificate(const struct shared *shared, uint32_t number)
{
    return number > 0 && number <= shared->certificate_count ? &shared->certificates[number - 1] : NULL;
}

/* Searches from the worker's own number on, whose certificate is free most of the time. */
static uint32_t certificate_take(const struct shared *shared, unsigned worker, uint32_t owner)
{
    brood__assert(worker < shared->workers);
    for (uint32_t n = 0; n < shared->certificate_count; n++) {
        uint32_t i = (worker + n) % shared->certificate_count;
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

uint32_t brood__certificate_take(const struct shared *shared, unsigned worker)
{
    return certificate_take(shared, worker, CERTIFICATE_TAKEN);
}

uint32_t brood__certificate_take_for(const struct shared *shared, unsigned worker)
{
    return certificate_take(shared, worker, CERTIFICATE_WORKER + worker);
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

/* The bit may be relaxed: the heavy fence orders it before the worker's last look at the lanes. */
bool brood__idle_enter(struct header *header, unsigned worker)
{
    brood__assert(worker < BROOD_WORKERS_MAX);
    atomic_fetch_or_explicit(&header->idle[worker / 64], (uint64_t)1 << (worker % 64), memory_order_relaxed);
    return brood__fence_heavy(); /* pairs with the light fence of a host after it has published a task */
}

bool brood__idle_leave(struct header *header, unsigned worker)
{
    uint64_t bit = (uint64_t)1 << (worker % 64);

    brood__assert(worker < BROOD_WORKERS_MAX);
    /* Acquire and release: a worker that finds its bit cleared by a help request sees `help_requests`. */
    return atomic_fetch_and_explicit(&header->idle[worker / 64], ~bit, memory_order_acq_rel) & bit;
}

bool brood__watcher_enter(struct header *header, unsigned worker)
{
    uint32_t holder = 0;

    brood__assert(worker < BROOD_WORKERS_MAX);
    return atomic_compare_exchange_strong_explicit(&header->watcher, &holder, worker + 1, memory_order_relaxed,
                                                   memory_order_relaxed) ||
           holder == worker + 1;
}

void brood__watcher_leave(struct header *header, unsigned worker)
{
    uint32_t holder = worker + 1;

    brood__assert(worker < BROOD_WORKERS_MAX);
    if (atomic_load_explicit(&header->watcher, memory_order_relaxed) == holder)
        (void)atomic_compare_exchange_strong_explicit(&header->watcher, &holder, 0, memory_order_relaxed,
                                                      memory_order_relaxed);
}

void brood__unavailable_mark(struct header *header, unsigned worker)
{
    brood__assert(worker < BROOD_WORKERS_MAX);
    atomic_fetch_or_explicit(&header->unavailable[worker / 64], (uint64_t)1 << (worker % 64), memory_order_relaxed);
}

void brood__unavailable_enter(struct header *header, unsigned worker)
{
    brood__unavailable_mark(header, worker);
    (void)brood__fence_heavy(); /* pairs with the light fence of a host after it has published a task */
}

void brood__unavailable_leave(struct header *header, unsigned worker)
{
    brood__assert(worker < BROOD_WORKERS_MAX);
    atomic_fetch_and_explicit(&header->unavailable[worker / 64], ~((uint64_t)1 << (worker % 64)), memory_order_relaxed);
}

/* The number of 64-bit words that hold a bit for each worker. */
static unsigned worker_words(const struct shared *shared)
{
    return (shared->workers + 63) / 64;
}

/* Loads the bits of workers 64 * i and up.  Bits that stand for no worker are cleared: a worker may have written them. */
static uint64_t bits_load(const struct shared *shared, const _Atomic uint64_t *words, unsigned i)
{
    uint64_t bits = atomic_load_explicit(&words[i], memory_order_relaxed);

    return shared->workers - i * 64 < 64 ? bits & (((uint64_t)1 << (shared->workers - i * 64)) - 1) : bits;
}

static uint64_t idle_load(const struct shared *shared, unsigned i)
{
    return bits_load(shared, shared->header->idle, i);
}

/* The signal fences keep the compiler from reordering: the worker may die between any two instructions. */
static void set_waking(struct worker_state *waker, uint32_t worker_plus_1)
{
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the supervisor's load of `waking` after the waker's death */
    if (waker)
        atomic_store_explicit(&waker->waking, worker_plus_1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the same */
}

/* The process that clears the bit wakes the worker: of two submitters, one makes the system call. */
bool brood__idle_wake(struct shared *shared, unsigned worker, struct worker_state *waker)
{
    bool is_ours;

    brood__assert(worker < shared->workers);
    if (!brood__idle_is(shared->header, worker))
        return false;
    set_waking(waker, worker + 1);
    is_ours = brood__idle_leave(shared->header, worker);
    if (is_ours)
        brood__parker_wake(&shared->lanes[worker].worker_state->parker);
    set_waking(waker, 0);
    return is_ours;
}

void brood__idle_wake_for(struct shared *shared, const struct worker_state *dead)
{
    uint32_t waking = atomic_load_explicit(&dead->waking, memory_order_relaxed);

    if (waking > 0 && waking <= shared->workers)
        brood__parker_wake(&shared->lanes[waking - 1].worker_state->parker);
}

bool brood__help_was_requested(const struct header *header, uint32_t *seen)
{
    uint32_t requests = atomic_load_explicit(&header->help_requests, memory_order_relaxed);
    bool was_requested = requests != *seen;

    *seen = requests;
    return was_requested;
}

void brood__help_request(struct header *header)
{
    atomic_fetch_add_explicit(&header->help_requests, 1, memory_order_relaxed);
}

bool brood__idle_wake_any(struct shared *shared, struct worker_state *waker)
{
    brood__help_request(shared->header);
    for (unsigned i = 0; i < worker_words(shared); i++) {
        uint64_t idle = idle_load(shared, i);

        for (; idle; idle &= idle - 1)
            if (brood__idle_wake(shared, i * 64 + (unsigned)__builtin_ctzll(idle), waker))
                return true;
    }
    return false;
}

void brood__pass_wake(struct shared *shared, struct worker_state *waker)
{
    if (!brood__watcher_any(shared->header) && brood__any_waiting(shared))
        (void)brood__idle_wake_any(shared, waker);
}

bool brood__scale_down(struct shared *shared, unsigned worker)
{
    brood__assert(worker < shared->workers && shared->membership);
    brood__membership_scale_down(shared->membership, worker);
    (void)
        brood__fence_heavy(); /* pairs with the light fence of a host that publishes a task and then reads the membership */
    if (brood__any_waiting(shared))
        return !brood__membership_call(shared->membership, worker);
    /* seq_cst: pairs with the host, which stores it and then reads `idle` and the membership. */
    if (atomic_load_explicit(&shared->header->is_draining, memory_order_seq_cst))
        (void)brood__idle_wake_any(shared, NULL);
    return true;
}

void brood__wake_workers(struct shared *shared, unsigned from)
{
    for (unsigned i = from; i < shared->workers; i++)
        brood__parker_wake(&shared->lanes[i].worker_state->parker);
}

void brood__wake_waiter(struct header *header, unsigned waiter)
{
    uint64_t wanted = (uint64_t)1 << (waiter % HEADER_PARKERS);

    if (waiter == WAITER_NONE)
        return;
    if (waiter == WAITER_ALL)
        wanted = atomic_load_explicit(&header->asleep, memory_order_relaxed);
    for (; wanted; wanted &= wanted - 1)
        brood__parker_wake(&header->parkers[__builtin_ctzll(wanted)]);
}

void brood__wake_host(struct header *header)
{
    /* Pairs with the host thread's heavy fence: a thread that is not in `asleep` yet sees after it what was published
     * before. */
    atomic_thread_fence(memory_order_seq_cst);
    brood__wake_waiter(header, WAITER_ALL);
    brood__parker_wake(&header->parkers[0]);
}

unsigned brood__idle_count(const struct shared *shared)
{
    unsigned count = 0;

    for (unsigned i = 0; i < worker_words(shared); i++)
        count += (unsigned)__builtin_popcountll(idle_load(shared, i));
    return count;
}

unsigned brood__awake_count(const struct shared *shared)
{
    unsigned present = atomic_load_explicit(&shared->header->present, memory_order_relaxed);
    unsigned idle = brood__idle_count(shared);

    return present > idle ? present - idle : 0;
}

void brood__present_add(struct header *header, int change)
{
    brood__assert(change == 1 || change == -1);
    atomic_fetch_add_explicit(&header->present, (uint32_t)change, memory_order_relaxed);
}

/* ---- which lanes have work ---- */

static bool lane_waits(const struct shared *shared, unsigned lane)
{
    uint64_t position;

    return brood__lane_waiting(&shared->lanes[lane], &position);
}

/* Acquire and release, here and where bits are cleared: a worker that clears a bit which the host has set sees the task. */
void brood__waiting_set(struct header *header, unsigned lane)
{
    uint64_t bit = (uint64_t)1 << (lane % 64);

    brood__assert(lane < BROOD_WORKERS_MAX);
    if (!(atomic_load_explicit(&header->waiting[lane / 64], memory_order_relaxed) & bit))
        atomic_fetch_or_explicit(&header->waiting[lane / 64], bit, memory_order_acq_rel);
}

unsigned brood__waiting_from(const struct shared *shared, unsigned lane)
{
    uint64_t mask = UINT64_MAX << (lane % 64);

    for (unsigned i = lane / 64; i < worker_words(shared); i++, mask = UINT64_MAX) {
        uint64_t bits = bits_load(shared, shared->header->waiting, i) & mask;

        if (bits)
            return i * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return shared->workers;
}

bool brood__any_waiting(const struct shared *shared)
{
    unsigned lane = brood__waiting_from(shared, 0);

    while (lane < shared->workers && !lane_waits(shared, lane))
        lane = brood__waiting_from(shared, lane + 1);
    return lane < shared->workers;
}

/* Of those bits, the ones whose lanes have a waiting task, or have none. */
static uint64_t lanes_that_wait(const struct shared *shared, unsigned word, uint64_t bits, bool wait)
{
    uint64_t found = 0;

    for (; bits; bits &= bits - 1)
        if (lane_waits(shared, word * 64 + (unsigned)__builtin_ctzll(bits)) == wait)
            found |= bits & -bits;
    return found;
}

/* Ordered before the change of the bits, as set_waking() is. */
static void set_clearing(struct worker_state *self, bool is_clearing)
{
    atomic_signal_fence(memory_order_seq_cst); /* pairs with the supervisor's load of `is_clearing` after its death */
    atomic_store_explicit(&self->is_clearing, is_clearing, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the same */
}

void brood__waiting_clear(const struct shared *shared, struct worker_state *self, struct cleared *ret_cleared)
{
    struct header *header = shared->header;

    ret_cleared->any = false;
    for (unsigned i = 0; i < worker_words(shared); i++) {
        uint64_t bits = lanes_that_wait(shared, i, bits_load(shared, header->waiting, i), false);

        ret_cleared->bits[i] = bits;
        if (!bits)
            continue;
        if (!ret_cleared->any)
            set_clearing(self, true);
        ret_cleared->any = true;
        atomic_fetch_and_explicit(&header->waiting[i], ~bits, memory_order_acq_rel);
    }
}

bool brood__waiting_restore(const struct shared *shared, struct worker_state *self, const struct cleared *cleared)
{
    bool any = false;

    if (!cleared->any)
        return false;
    for (unsigned i = 0; i < worker_words(shared); i++) {
        uint64_t bits = lanes_that_wait(shared, i, cleared->bits[i], true);

        if (bits)
            atomic_fetch_or_explicit(&shared->header->waiting[i], bits, memory_order_acq_rel);
        any |= bits != 0;
    }
    set_clearing(self, false);
    brood__fence_light(); /* pairs with the heavy fence of a watcher that leaves: one of the two sees the other's store */
    return any;
}

void brood__waiting_repair(const struct shared *shared, struct worker_state *dead, unsigned lanes)
{
    brood__assert(lanes <= shared->workers);
    if (!atomic_load_explicit(&dead->is_clearing, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < lanes; i++)
        if (lane_waits(shared, i))
            brood__waiting_set(shared->header, i);
    atomic_store_explicit(&dead->is_clearing, 0, memory_order_relaxed);
}

bool brood__is_crowded(const struct shared *shared)
{
    return brood__awake_count(shared) + 1 > shared->cpus;
}

bool brood__is_full(const struct shared *shared)
{
    return brood__awake_count(shared) + 1 >= shared->cpus;
}

void brood__header_set_state(struct header *header, enum header_state state)
{
    atomic_store_explicit(&header->state, (uint32_t)state, memory_order_release);
}

int brood__header_task(struct shared *shared, const struct brood_task *task)
{
    struct header *header = shared->header;
    uint32_t count = shared->tasks;
    struct header_task *entry;

    brood__assert_host();
    brood__assert(count <= HEADER_TASKS);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(header->tasks[i].name, task->name) == 0)
            return (int)i;
    if (count == HEADER_TASKS)
        return brood_fail(-ENOSPC, "this pool has run %d different tasks, which is the limit", HEADER_TASKS);
    if (strlen(task->name) > BROOD_TASK_NAME_MAX)
        return brood_fail(-EINVAL, "a task's name has at most %d bytes: '%s'", BROOD_TASK_NAME_MAX, task->name);
    entry = &header->tasks[count];
    memcpy(entry->name, task->name, strlen(task->name) + 1);
    entry->arg_size = task->arg_size;
    entry->result_size = task->result_size;
    shared->tasks = count + 1;
    atomic_store_explicit(&header->task_count, count + 1, memory_order_release);
    return (int)count;
}

const struct header_task *brood__header_entry(const struct header *header, unsigned index)
{
    bool is_entered = index < atomic_load_explicit(&header->task_count, memory_order_acquire);

    return is_entered && index < HEADER_TASKS ? &header->tasks[index] : NULL;
}
