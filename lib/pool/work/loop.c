/* loop.c - parallel for over indices, and deterministic reductions: maps whose items are blocks of indices
 * (pool/work/map.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <brood/loop.h>

#include "os/error.h"
#include "os/options.h"
#include "pool/work/map.h"

/* The number of blocks of a reduction, whose parts the host keeps: enough to balance the largest pools, and few enough
 * for one thread to combine them in no time. */
#define BLOCKS 4096

int brood_range_check(struct brood_bytes arg, size_t context_bytes)
{
    const struct brood_range *range = arg.ptr;

    if (arg.len != sizeof(*range))
        return brood_fail(-EPROTO, "a loop is run by brood_pool_for(), which gives it a range of %zu bytes, not %zu",
                          sizeof(*range), arg.len);
    if (range->context_bytes != 0 && range->context_bytes != context_bytes)
        return brood_fail(-EPROTO, "the loop's context has %zu bytes in the worker, and was given %zu", context_bytes,
                          range->context_bytes);
    return 0;
}

static int loop_check(const struct brood_task *task, size_t context_bytes)
{
    if (!task || !task->name || !task->run)
        return brood_fail(-EINVAL, "a loop needs a name and a function");
    if (task->arg_size != sizeof(struct brood_range) || task->result_size > UINT32_MAX)
        return brood_fail(-EINVAL, "task '%s' is no loop: define it with BROOD_LOOP() or BROOD_REDUCE()", task->name);
    if (context_bytes > PTRDIFF_MAX)
        return brood_fail(-EINVAL, "task '%s': a context of %zu bytes is more than memory can hold", task->name,
                          context_bytes);
    return 0;
}

static uint64_t blocks_of(const struct map_loop *loop)
{
    uint64_t indices = loop->end > loop->begin ? loop->end - loop->begin : 0;

    return indices / loop->grain + (indices % loop->grain != 0);
}

static struct map_call loop_describe(const struct brood_task *task, const void *context, size_t context_bytes,
                                     uint64_t begin, uint64_t end, const struct brood_for_options *options)
{
    struct map_call call = {
        .task = task,
        .args = context,
        .loop = {.begin = begin, .end = end, .grain = options->grain, .context_bytes = context ? context_bytes : 0},
        .terms = {options->limit_ms, options->limit_cpu_ms, options->grace_ms, options->retries},
    };

    call.items = blocks_of(&call.loop);
    return call;
}

/* `grain`: the default. */
static int take_options(struct brood_for_options *ret_options, const struct brood_for_options *given, uint64_t grain)
{
    *ret_options = (struct brood_for_options){.size = sizeof(*ret_options)};
    int r = brood__options(ret_options, sizeof(*ret_options), given, "BROOD_FOR");

    if (ret_options->grain == 0)
        ret_options->grain = grain;
    return r;
}

int brood_pool_for_async(struct brood_pool *pool, const struct brood_task *loop, struct brood_future **ret_future,
                         const void *context, size_t context_bytes, uint64_t begin, uint64_t end,
                         const struct brood_for_options *options)
{
    struct brood_for_options own;
    int r = take_options(&own, options, 1);

    if (r == 0)
        r = loop_check(loop, context_bytes);

    if (r == 0 && loop->result_size > 0)
        r = brood_fail(-EINVAL, "task '%s' has a result: run it with brood_pool_reduce()", loop->name);
    if (r < 0)
        return r;
    struct map_call call = loop_describe(loop, context, context_bytes, begin, end, &own);

    return brood__map_start(pool, ret_future, &call, BROOD_FOREVER);
}

int brood_pool_for(struct brood_pool *pool, const struct brood_task *loop, const void *context, size_t context_bytes,
                   uint64_t begin, uint64_t end, const struct brood_for_options *options)
{
    struct brood_future *future;
    int r = brood_pool_for_async(pool, loop, &future, context, context_bytes, begin, end, options);

    return r < 0 ? r : brood__map_finish(future);
}

static int check_reduction(const struct brood_reduction *reduction, size_t context_bytes)
{
    int r = loop_check(reduction ? &reduction->task : NULL, context_bytes);

    if (r == 0 && (!reduction->start || !reduction->combine))
        return brood_fail(-EINVAL, "task '%s': a reduction needs a start value and a function that combines two parts",
                          reduction->task.name);
    return r;
}

static int loop_run(struct brood_pool *pool, struct map_call *call)
{
    struct brood_future *future;
    int r;

    call->results = calloc(call->items, call->task->result_size);
    if (!call->results)
        return brood_fail(-ENOMEM, "out of memory for %zu parts: choose a larger .grain", call->items);
    r = brood__map_start(pool, &future, call, BROOD_FOREVER);
    return r < 0 ? r : brood__map_finish(future);
}

/* Combines into separate memory, since the context may point to the caller's result. */
static int combine(const struct brood_reduction *reduction, const struct map_call *call, void *ret_result)
{
    size_t size = reduction->task.result_size;
    const char *part = call->results;
    char *total = malloc(size ? size : 1);

    if (!total)
        return brood_fail(-ENOMEM, "out of memory");
    memcpy(total, reduction->start, size);
    for (size_t i = 0; i < call->items; i++)
        reduction->combine(total, part + i * size);
    memcpy(ret_result, total, size);
    free(total);
    return 0;
}

int brood_pool_reduce(struct brood_pool *pool, const struct brood_reduction *reduction, void *ret_result,
                      const void *context, size_t context_bytes, uint64_t begin, uint64_t end,
                      const struct brood_for_options *options)
{
    uint64_t indices = end > begin ? end - begin : 0;
    struct brood_for_options own;
    int r = take_options(&own, options, indices > BLOCKS ? indices / BLOCKS + (indices % BLOCKS != 0) : 1);

    if (r == 0)
        r = check_reduction(reduction, context_bytes);
    if (r < 0)
        return r;
    struct map_call call = loop_describe(&reduction->task, context, context_bytes, begin, end, &own);

    r = call.items > 0 ? loop_run(pool, &call) : 0;
    if (r == 0)
        r = BROOD__UNCANCELLED(combine(reduction, &call, ret_result));
    free(call.results);
    return r;
}
