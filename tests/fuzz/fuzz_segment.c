/* fuzz_segment.c - what the host reads from the segment of a pool that a worker has written over: slots, slot extensions, worker states,
 * the board, the description of maps.
 *
 * The pool is real but for its workers: there are none, and the input says what they would have written.  So nothing runs
 * at the same time, and an input does the same each time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <brood.h>

#include "fuzz.h"
#include "pool/core/kind.h"
#include "pool/core/pool.h"
#include "pool/future/future.h"
#include "pool/work/map.h"

#define WORKERS 2
#define SLOTS 16
#define FUTURES 12
#define ITEMS 40
#define ALIVE 0x80000001u

BROOD_TASK(fuzz_triple, int, int)
{
    *result = *arg * 3;
    return 0;
}

BROOD_TASK_BYTES(fuzz_large, 1000)
{
    return brood_reply_set(reply, arg.ptr, arg.len);
}

/* ---- a pool without workers ---- */

static void no_stop(struct brood_pool *pool, brood_deadline deadline)
{
    (void)pool;
    (void)deadline;
}

static bool is_alive(const struct brood_pool *pool)
{
    (void)pool;
    return true;
}

static const struct kind no_workers = {.between_processes = true, .stop = no_stop, .is_alive = is_alive};

static void need(bool holds)
{
    if (!holds)
        abort();
}

static void open_shadow(struct brood_pool *pool, unsigned worker)
{
    struct lane_shadow *shadow = &pool->shadows[worker];

    shadow->jobs = calloc(SLOTS + 1, sizeof(struct job *));
    shadow->waiters = calloc(SLOTS + 1, 1);
    shadow->oldest = shadow->tail = lane_first_position(&pool->shared.lanes[worker]);
    need(shadow->jobs && shadow->waiters);
}

static struct brood_pool *open_pool(void)
{
    struct brood_pool *pool = calloc(1, sizeof(*pool));

    need(pool && brood__shared_open(&pool->shared, SEGMENT_PRIVATE, WORKERS, SLOTS, 1 << 20, false) == 0);
    pool->fork_generation = atomic_load(&brood__fork_generation);
    pool->ops = &no_workers;
    pool->size.max = pool->size.lanes = WORKERS;
    pool->size.wanted = WORKERS;
    pool->size.min = WORKERS;
    pool->queue = FUTURES;
    pool->sleepers.free_parkers = ~(uint64_t)1;
    pool->life.word = ALIVE;
    atomic_store(&pool->shared.header->life, ALIVE);
    pool->shared.header->cpus = pool->shared.cpus = 2;
    brood__heap_init(&pool->heap, &pool->shared.segment, pool->shared.header->heap_offset);
    pool->shadows = calloc(WORKERS, sizeof(*pool->shadows));
    need(pool->shadows);
    for (unsigned i = 0; i < WORKERS; i++)
        open_shadow(pool, i);
    return pool;
}

/* ---- what the host does ---- */

struct host {
    struct brood_pool *pool;
    struct brood_future *futures[FUTURES];
    int count;
    int in[ITEMS], out[ITEMS];
};

static void submit(struct host *host, unsigned kind)
{
    static const char bytes[500];
    struct brood_future **future = &host->futures[host->count];
    int r;

    if (host->count == FUTURES)
        return;
    if (kind % 3 == 0)
        r = brood_pool_map_async(host->pool, &fuzz_triple.task, future, host->out, host->in, ITEMS, NULL);
    else if (kind % 3 == 1)
        r = brood_pool_apply_bytes_async(host->pool, &fuzz_large.task, future,
                                         (struct brood_bytes){bytes, kind * 2 % sizeof(bytes)}, BROOD_NOW);
    else
        r = brood_apply_async_until(host->pool, fuzz_triple, future, BROOD_NOW, &(int){1});
    need(r <= 0);
    host->count += r == 0;
}

static void ask(struct brood_future *future, size_t item)
{
    char result[1000];
    struct brood_death death;

    int r;

    (void)brood_future_running(future);
    r = brood_future_wait(future, BROOD_NOW);
    need(r == 0 || r == -EAGAIN);
    if (!brood_future_done(future))
        return;
    need(brood_future_result(future, result, sizeof(result)) <= 0);
    need(brood_future_item(future, item) <= 0);
    need(strlen(brood_future_error(future)) < 1024);
    need(brood_future_size(future) <= sizeof(result));
    if (brood_future_death(future, &death) == 0)
        need(death.worker >= 0 && death.worker < WORKERS);
}

/* ---- what the workers write ---- */

/* Anything, anywhere. */
static void write_bytes(struct host *host, struct fuzz_input *input)
{
    size_t at = fuzz_number(input, 3) % host->pool->shared.segment.committed, bytes = fuzz_byte(input);

    for (; bytes > 0 && at < host->pool->shared.segment.committed; bytes--)
        host->pool->shared.segment.base[at++] = (char)fuzz_byte(input);
}

/* An answer as a worker could give it, but for what it says. */
static void write_answer(struct host *host, struct fuzz_input *input)
{
    struct lane *lane = &host->pool->shared.lanes[fuzz_byte(input) % WORKERS];
    uint32_t index = fuzz_byte(input) % (SLOTS + 1);
    struct slot *slot = &lane->slots[index];
    struct slot_extension *extension = &lane->extensions[index];
    unsigned worker = fuzz_byte(input) % (WORKERS + 1);
    enum slot_state state = (enum slot_state)(fuzz_byte(input) % 7);

    slot->status = (int16_t)fuzz_number(input, 2);
    slot->result_bytes = (uint32_t)fuzz_number(input, fuzz_byte(input) % 5);
    slot->has_message = fuzz_byte(input) & 1;
    slot->task = (uint16_t)fuzz_number(input, fuzz_byte(input) % 3);
    extension->item = fuzz_number(input, fuzz_byte(input) % 9);
    extension->item_lost = fuzz_number(input, fuzz_byte(input) % 9);
    extension->signal = (uint8_t)fuzz_number(input, fuzz_byte(input) % 5);
    memset(extension->words, fuzz_byte(input), sizeof(extension->words));
    atomic_store(&slot->word, word_of(state, worker, word_position(slot_look(slot))));
}

/* The task's names lose their ends. */
static void write_names(struct host *host, struct fuzz_input *input)
{
    struct header *header = host->pool->shared.header;

    memset(header->tasks, fuzz_byte(input), sizeof(header->tasks));
    memset(header->reason, fuzz_byte(input), sizeof(header->reason));
    atomic_store(&header->task_count, (uint32_t)fuzz_number(input, 4));
}

/* Status of items: those of the first map lie where the heap begins. */
static void write_heap(struct host *host, struct fuzz_input *input)
{
    size_t at = host->pool->heap.start + fuzz_number(input, 2), bytes = fuzz_byte(input);

    for (; bytes > 0 && at < host->pool->shared.segment.committed; bytes--)
        host->pool->shared.segment.base[at++] = (char)fuzz_byte(input);
}

static void step(struct host *host, struct fuzz_input *input)
{
    unsigned what = fuzz_byte(input);

    switch (what % 8) {
    case 0:
        submit(host, fuzz_byte(input));
        break;
    case 1:
        write_bytes(host, input);
        break;
    case 2:
    case 3:
        write_answer(host, input);
        break;
    case 4:
        write_names(host, input);
        break;
    case 5:
        write_heap(host, input);
        break;
    case 6:
        if (host->count > 0)
            (void)brood_future_cancel(host->futures[fuzz_byte(input) % host->count]);
        break;
    default:
        if (host->count > 0)
            ask(host->futures[fuzz_byte(input) % host->count], fuzz_byte(input));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct host host = {.pool = open_pool()};

    for (int i = 0; i < 4; i++)
        submit(&host, fuzz_byte(&input));
    while (input.size > 0)
        step(&host, &input);
    (void)brood_pool_close(host.pool, BROOD_NOW);
    for (int i = 0; i < host.count; i++) {
        need(brood_future_done(host.futures[i]));
        ask(host.futures[i], 0);
        brood_future_free(host.futures[i]);
    }
    return 0;
}
