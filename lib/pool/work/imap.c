/* imap.c - streams: a sliding set of chunks, each of which is a small map that one worker runs (pool/work/map.h).
 *
 * So a stream can do what a map can: deaths, limits and retries are reported by item.  A chunk lies in private memory.  The
 * map copies it to and from the workers, so that no worker can change a result that has been delivered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <brood/imap.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/options.h"
#include "pool/core/wait.h"
#include "pool/future/future.h"
#include "pool/work/map.h"

/* Chunks in flight for each worker: one that runs, one that waits, and two to compensate for a slow one at the front. */
#define CHUNKS_PER_WORKER 4

/* The maximum size of a chunk. */
#define CHUNK_BYTES ((size_t)1 << 20)
#define CHUNK_ITEMS ((size_t)1 << 16)

/* The intended time of a chunk: long against its overhead, short against a wait that the user would notice. */
#define CHUNK_NS_MIN 50000
#define CHUNK_NS_MAX 200000

/* The number of chunks to start before a ready result is returned: more than one, or the window would never fill. */
#define CHUNKS_FIRST 2

struct chunk {
    struct brood_future *future; /* its map; NULL while it has none */
    char *args, *results;        /* malloc()ed; a chunk of an array does not use `args` */
    size_t room;                 /* items for which it has memory */
    uint64_t first;
    size_t count, at; /* items in it; delivered items */
};

struct brood_imap {
    struct brood_pool *pool;
    const struct brood_task *task;
    struct brood_imap_options options;
    const char *args; /* the source: an array … */
    size_t n;
    brood_next_function next; /* … or, if not NULL, a function */
    void *context;
    uint64_t taken; /* items taken from the source */
    int end;        /* 0 while the source continues; else what brood_imap_next() returns after the last item */
    bool is_whole;  /* the source has ended by itself */
    char end_words[256];
    size_t chunk, chunk_max; /* items of the next chunk; of the largest chunk */
    struct chunk *current;   /* the chunk whose items are delivered, or NULL */
    struct chunk *pending;   /* filled, but the pool's queue had no room for it; or NULL */
    unsigned chunk_count, started;
    struct chunk chunks[];
};

/* ---- the source ---- */

static void set_end(struct brood_imap *imap, int end, const char *words)
{
    if (imap->end)
        return;
    imap->end = end;
    (void)snprintf(imap->end_words, sizeof(imap->end_words), "%s", words);
}

static void set_whole(struct brood_imap *imap)
{
    imap->is_whole = true;
    set_end(imap, -ENODATA, "the stream is at its end");
}

static int say_end(const struct brood_imap *imap)
{
    return brood_fail(imap->end, "%s", imap->end_words);
}

static int imap_make_room(struct brood_imap *imap, struct chunk *chunk)
{
    size_t arg = imap->next ? imap->task->arg_size : 0, result = imap->task->result_size;
    char *args, *results;

    if (chunk->room >= imap->chunk)
        return 0;
    args = malloc(imap->chunk * arg + 1);
    results = malloc(imap->chunk * result + 1);
    if (!args || !results) {
        free(args);
        free(results);
        return brood_fail(-ENOMEM, "out of memory for %zu items", imap->chunk);
    }
    free(chunk->args);
    free(chunk->results);
    chunk->args = args;
    chunk->results = results;
    chunk->room = imap->chunk;
    return 0;
}

static size_t take_from_array(struct brood_imap *imap)
{
    size_t left = imap->n - (size_t)imap->taken, count = left < imap->chunk ? left : imap->chunk;

    if (count == left)
        set_whole(imap);
    return count;
}

/* A slow source shall not keep the workers waiting until the chunk is full.  The host reads the clock after 1, 2, 4 …
 * items. */
static bool took_long(size_t count, int64_t began_ns)
{
    return (count & (count - 1)) == 0 && brood__now_ns() - began_ns > CHUNK_NS_MIN;
}

/* Handles what the function returns instead of an item. */
static void end_by(struct brood_imap *imap, int r)
{
    const char *words = brood_error();

    if (r == 0)
        set_whole(imap);
    else
        set_end(imap, r, words[0] ? words : "the stream's source failed");
}

static size_t take_from_function(struct brood_imap *imap, struct chunk *chunk)
{
    int64_t began_ns = brood__now_ns();
    size_t count = 0;

    brood__error_clear();
    while (count < imap->chunk) {
        int r = BROOD__UNCANCELLED(imap->next(imap->context, chunk->args + count * imap->task->arg_size));

        if (r <= 0) {
            end_by(imap, r);
            break;
        }
        if (took_long(++count, began_ns))
            break;
    }
    return count;
}

/* Fills the chunk with the next items.  False: there are none. */
static bool chunk_take(struct brood_imap *imap, struct chunk *chunk)
{
    if (imap_make_room(imap, chunk) < 0) {
        set_end(imap, -ENOMEM, brood_error());
        return false;
    }
    chunk->first = imap->taken;
    chunk->at = 0;
    chunk->count = imap->next ? take_from_function(imap, chunk) : take_from_array(imap);
    imap->taken += chunk->count;
    return chunk->count > 0;
}

/* ---- to the workers ---- */

static int chunk_start(struct brood_imap *imap, struct chunk *chunk, brood_deadline deadline)
{
    const struct map_call call = {
        .task = imap->task,
        .args = imap->next ? chunk->args : imap->args + chunk->first * imap->task->arg_size,
        .results = chunk->results,
        .items = chunk->count,
        .chunk = chunk->count,
        .terms = {imap->options.limit_ms, imap->options.limit_cpu_ms, imap->options.grace_ms, imap->options.retries},
        .by_one = true,
    };
    int r = brood__map_start(imap->pool, &chunk->future, &call, deadline);

    imap->started += r == 0;
    return r;
}

static struct chunk *find_idle(struct brood_imap *imap)
{
    for (unsigned i = 0; i < imap->chunk_count; i++)
        if (!imap->chunks[i].future && &imap->chunks[i] != imap->pending)
            return &imap->chunks[i];
    return NULL;
}

/* The chunk that waits for room in the queue, or a new one. */
static struct chunk *next_chunk(struct brood_imap *imap)
{
    struct chunk *chunk = imap->pending;

    if (chunk || imap->end)
        return chunk;
    chunk = find_idle(imap);
    return chunk && chunk_take(imap, chunk) ? chunk : NULL;
}

/* The chunk to deliver next: the oldest one, or, of an unordered stream, the oldest that is done. */
static struct chunk *pick(struct brood_imap *imap)
{
    struct chunk *best = NULL;

    for (unsigned i = 0; i < imap->chunk_count; i++) {
        struct chunk *chunk = &imap->chunks[i];

        if (!chunk->future || (imap->options.unordered && !brood__future_is_done(chunk->future)))
            continue;
        if (!best || chunk->first < best->first)
            best = chunk;
    }
    return best;
}

/* ---- back from the workers ---- */

/* Doubles the size after a quick chunk, halves it after a slow one.  The chunk may be older than the last change of
 * size. */
static void adapt(struct brood_imap *imap, const struct chunk *chunk, int64_t took_ns)
{
    if (imap->options.chunk)
        return;
    if (took_ns < CHUNK_NS_MIN && chunk->count >= imap->chunk)
        imap->chunk = 2 * chunk->count < imap->chunk_max ? 2 * chunk->count : imap->chunk_max;
    else if (took_ns > CHUNK_NS_MAX && chunk->count / 2 < imap->chunk)
        imap->chunk = chunk->count > 1 ? chunk->count / 2 : 1;
}

static void release(struct brood_imap *imap, struct chunk *chunk)
{
    brood_future_free(chunk->future);
    chunk->future = NULL;
    imap->started--;
}

static bool any_done(struct brood_pool *pool, struct wait_condition *condition)
{
    struct brood_imap *imap = condition->subject;

    (void)pool;
    for (unsigned i = 0; i < imap->chunk_count; i++) {
        struct brood_future *future = imap->chunks[i].future;

        if (future && !brood__future_is_done(future))
            brood__future_ops(future)->collect(future);
        if (future && brood__future_is_done(future))
            return true;
    }
    return false;
}

/* Each chunk has one job at a time. */
static struct job *job_of_any(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    struct brood_imap *imap = condition->subject;
    bool passed = !previous;

    (void)pool;
    for (unsigned i = 0; i < imap->chunk_count; i++) {
        struct brood_future *future = imap->chunks[i].future;
        struct job *job = future ? brood__future_ops(future)->job(future) : NULL;

        if (job && passed)
            return job;
        passed |= job == previous;
    }
    return NULL;
}

static int help_any(struct brood_pool *pool, struct wait_condition *condition)
{
    struct brood_imap *imap = condition->subject;
    int r = 0;

    (void)pool;
    for (unsigned i = 0; r == 0 && i < imap->chunk_count; i++)
        if (imap->chunks[i].future)
            r = brood__future_ops(imap->chunks[i].future)->help(imap->chunks[i].future);
    return r;
}

static int wait_for_any(struct brood_imap *imap, brood_deadline deadline)
{
    struct wait_condition condition = {.is_ready = any_done, .next_job = job_of_any, .help = help_any, .subject = imap};
    int r = brood__pool_enter(imap->pool);

    if (r < 0)
        return r;
    r = brood__wait(imap->pool, &condition, deadline);
    brood__pool_leave(imap->pool);
    return r;
}

static int wait_for_chunk(struct brood_imap *imap, brood_deadline deadline)
{
    int r = imap->options.unordered ? wait_for_any(imap, deadline) : brood_future_wait(pick(imap)->future, deadline);

    return r == -ETIMEDOUT || r == -EAGAIN ? brood_fail(r, "no item is ready yet") : r;
}

static bool is_any_ready(struct brood_imap *imap)
{
    return imap->started > 0 && wait_for_chunk(imap, BROOD_NOW) == 0;
}

/* The pool takes no more tasks: this outcome replaces the source's own. */
static void set_refused(struct brood_imap *imap, int r)
{
    imap->is_whole = false;
    imap->end = 0;
    set_end(imap, r, brood_error());
}

/* Starts chunks while there is room.  If none is in flight it waits for room until the deadline.  Returns 0, or why
 * there is nothing to wait for. */
static int feed(struct brood_imap *imap, brood_deadline deadline)
{
    struct chunk *chunk;
    int r;

    for (unsigned fed = 0; fed < CHUNKS_FIRST || !is_any_ready(imap); fed++) {
        chunk = next_chunk(imap);
        if (!chunk)
            return 0;
        r = chunk_start(imap, chunk, imap->started > 0 ? BROOD_NOW : deadline);
        imap->pending = r == -EAGAIN || r == -ETIMEDOUT ? chunk : NULL;
        if (imap->pending)
            return imap->started > 0 ? 0 : r;
        if (r < 0)
            set_refused(imap, r);
    }
    return 0;
}

/* Makes the next chunk current.  Returns 0, or why there is none. */
static int advance(struct brood_imap *imap, brood_deadline deadline)
{
    int r = feed(imap, deadline);

    if (r < 0)
        return r;
    if (imap->started == 0)
        return say_end(imap);
    r = wait_for_chunk(imap, deadline);
    if (r < 0)
        return r;
    imap->current = pick(imap);
    adapt(imap, imap->current, brood__map_took_ns(imap->current->future->map));
    return 0;
}

static const char *words_of(const struct chunk *chunk, int outcome)
{
    const char *words;

    if (outcome == 0)
        return "";
    if (chunk->at == brood__future_ops(chunk->future)->first_failed(chunk->future))
        return brood_future_error(chunk->future);
    words = strerrordesc_np(-outcome);
    return words ? words : "failed";
}

static void deliver(const struct brood_imap *imap, struct chunk *chunk, struct brood_item *ret_item)
{
    int outcome = chunk->future->outcome == 0 ? 0 : brood__future_ops(chunk->future)->item(chunk->future, chunk->at);

    *ret_item = (struct brood_item){
        .index = chunk->first + chunk->at,
        .outcome = outcome,
        .result = outcome == 0 ? chunk->results + chunk->at * imap->task->result_size : NULL,
        .error = words_of(chunk, outcome),
    };
    chunk->at++;
}

int brood_imap_next(struct brood_imap *imap, struct brood_item *ret_item, brood_deadline deadline)
{
    int r = 0;

    if (!imap || !ret_item)
        return brood_fail(-EINVAL, "a stream and room for its item are needed");
    if (!brood__pool_is_ours(imap->pool))
        return brood__pool_not_ours(imap->pool);
    if (imap->current && imap->current->at == imap->current->count) {
        release(imap, imap->current);
        imap->current = NULL;
    }
    if (!imap->current)
        r = advance(imap, deadline);
    if (r == 0)
        deliver(imap, imap->current, ret_item);
    return r;
}

/* ---- opening and closing ---- */

/* Cancels all chunks before it waits for any. */
static void release_all(struct brood_imap *imap)
{
    for (unsigned i = 0; i < imap->chunk_count; i++)
        if (imap->chunks[i].future)
            (void)brood_future_cancel(imap->chunks[i].future);
    for (unsigned i = 0; i < imap->chunk_count; i++)
        if (imap->chunks[i].future)
            release(imap, &imap->chunks[i]);
}

void brood_imap_close(struct brood_imap *imap)
{
    struct brood_pool *pool = imap ? imap->pool : NULL;

    if (!imap || !brood__pool_is_ours(pool))
        return;
    release_all(imap);
    for (unsigned i = 0; i < imap->chunk_count; i++) {
        free(imap->chunks[i].args);
        free(imap->chunks[i].results);
    }
    free(imap);
    brood__lock(&pool->lock);
    pool->users.futures--;
    brood__pool_release(pool);
}

static int imap_check(const struct brood_task *task, const struct brood_imap_options *options)
{
    int r = brood__map_check_task(task);

    if (r == 0 && options->chunk > UINT32_MAX)
        return brood_fail(-EINVAL, "a chunk of %zu items: at most %u, or 0 for what suits", options->chunk, UINT32_MAX);
    return r;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Divides the window among the chunks: `chunk_count` of at most `chunk_max` items. */
static void size_chunks(struct brood_imap *imap)
{
    size_t bytes = imap->task->arg_size + imap->task->result_size, window = imap->options.window;

    imap->chunk_max = least(CHUNK_ITEMS, bytes > CHUNK_BYTES ? 1 : CHUNK_BYTES / (bytes ? bytes : 1));
    if (imap->options.chunk)
        imap->chunk_max = imap->options.chunk;
    if (window)
        imap->chunk_max = least(imap->chunk_max, window / imap->chunk_count);
    imap->chunk = imap->options.chunk ? imap->chunk_max : 1;
}

static struct brood_imap *new_imap(const struct brood_pool *pool, const struct brood_task *task,
                                   const struct brood_imap_options *options)
{
    size_t count = (size_t)pool->size.wanted * CHUNKS_PER_WORKER, window = options->window;

    if (window && window < count)
        count = window;
    struct brood_imap *imap = calloc(1, sizeof(*imap) + count * sizeof(imap->chunks[0]));

    if (!imap)
        return NULL;
    imap->task = task;
    imap->chunk_count = (unsigned)count;
    imap->options = *options;
    size_chunks(imap);
    return imap;
}

static int open_imap(struct brood_pool *pool, const struct brood_task *task, const struct brood_imap_options *given,
                     struct brood_imap **ret_imap)
{
    struct brood_imap_options options = {.size = sizeof(options)};
    struct brood_imap *imap;
    int r = brood__options(&options, sizeof(options), given, "BROOD_IMAP");

    if (r == 0)
        r = imap_check(task, &options);
    if (r == 0)
        r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    imap = new_imap(pool, task, &options);
    if (imap) {
        imap->pool = pool;
        pool->users.futures++; /* as a future does, the stream keeps the pool's memory after close */
        *ret_imap = imap;
    }
    brood__pool_leave(pool);
    return imap ? 0 : brood_fail(-ENOMEM, "out of memory");
}

/* Starts the first chunks; if none can start, there is no stream. */
static int imap_begin(struct brood_imap *imap, struct brood_imap **ret_imap)
{
    int r = feed(imap, BROOD_NOW);

    if (r < 0 && r != -EAGAIN) {
        brood_imap_close(imap);
        return r;
    }
    *ret_imap = imap;
    return 0;
}

int brood_pool_imap(struct brood_pool *pool, const struct brood_task *task, struct brood_imap **ret_imap, const void *args,
                    size_t n, const struct brood_imap_options *options)
{
    struct brood_imap *imap;
    int r = open_imap(pool, task, options, &imap);

    if (r < 0)
        return r;
    if (n > 0 && !args && task->arg_size > 0) {
        brood_imap_close(imap);
        return brood_fail(-EINVAL, "task '%s': the array is NULL", task->name);
    }
    imap->args = args;
    imap->n = n;
    imap->chunk = least(imap->chunk, n ? n : 1);
    return imap_begin(imap, ret_imap);
}

int brood_pool_imap_pull(struct brood_pool *pool, const struct brood_task *task, struct brood_imap **ret_imap,
                         brood_next_function next, void *context, const struct brood_imap_options *options)
{
    struct brood_imap *imap;
    int r = next ? open_imap(pool, task, options, &imap)
                 : brood_fail(-EINVAL, "a stream needs a function that gives the next argument");

    if (r < 0)
        return r;
    imap->next = next;
    imap->context = context;
    return imap_begin(imap, ret_imap);
}

/* ---- a whole stream in one call ---- */

struct first_failure {
    uint64_t index;
    int outcome;
    char words[256];
};

static void note_failure(struct first_failure *first, const struct brood_item *item)
{
    if (item->outcome == 0 || (first->outcome != 0 && first->index < item->index))
        return;
    first->index = item->index;
    first->outcome = item->outcome;
    (void)snprintf(first->words, sizeof(first->words), "item %llu: %s", (unsigned long long)item->index, item->error);
}

/* Returns 0 at the end; else why it ended earlier. */
static int imap_run(struct brood_imap *imap, brood_emit_function emit, void *context, struct first_failure *first)
{
    struct brood_item item;
    int r;

    while ((r = brood_imap_next(imap, &item, BROOD_FOREVER)) == 0) {
        note_failure(first, &item);
        r = emit ? BROOD__UNCANCELLED(emit(context, &item)) : 0;
        if (r < 0)
            return r;
    }
    return r == -ENODATA && imap->is_whole ? 0 : r;
}

int brood_pool_map_pull(struct brood_pool *pool, const struct brood_task *task, brood_next_function next,
                        brood_emit_function emit, void *context, const struct brood_imap_options *options)
{
    struct first_failure first = {.outcome = 0};
    struct brood_imap *imap;
    char words[256];
    int r = brood_pool_imap_pull(pool, task, &imap, next, context, options);

    if (r < 0)
        return r;
    r = imap_run(imap, emit, context, &first);
    (void)snprintf(words, sizeof(words), "%s", brood_error());
    brood_imap_close(imap);
    if (r < 0)
        return brood_fail(r, "%s", words);
    return first.outcome < 0 ? brood_fail(first.outcome, "%s", first.words) : 0;
}
