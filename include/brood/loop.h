/* brood/loop.h - a loop over indices whose turns the workers share out, and sums over such loops.
 *
 *     struct image { const float *from; float *to; size_t width; };      // memory from brood_alloc()
 *
 *     BROOD_LOOP(sharpen, struct image)                   // a name and a context type
 *     {
 *         ...                                             // const struct image *context, uint64_t index
 *         return 0;                                       // or a negative errno; brood_fail() adds words
 *     }
 *
 *     r = brood_for(pool, sharpen, &image, 0, height);
 *
 *     BROOD_SUM(circle, struct steps, double)             // … and the type of what is summed up
 *     {
 *         double x = (index + 0.5) * context->width;      // const struct steps *context, uint64_t index, double *result
 *
 *         *result += context->width * 4 / (1 + x * x);
 *         return 0;
 *     }
 *
 *     r = brood_sum(pool, circle, &pi, &steps, 0, 1000000000);
 *
 * There is no array of arguments: a billion indices take no more memory than a thousand.  The workers share the indices out
 * among themselves as the items of a map (brood/pool.h), with theft; when one dies, the index that it was at fails with
 * -EOWNERDEAD, and all others run.
 *
 * The context is copied to where the workers see it, once, as bytes; in brood_alloc() memory, or with threads, it is used
 * where it lies.  NULL is fine: then the body gets NULL.
 *
 * A sum is made of blocks of indices.  Each begins with 0 and adds up its own; when all are done they are
 * combined in order of the indices.  How the range is cut depends on its length alone, so a sum of floating-point numbers
 * is the same to the last bit, however many workers there are and whichever of them was quicker.
 */
#ifndef BROOD_LOOP_H
#define BROOD_LOOP_H

#include <brood/pool.h>

BROOD_BEGIN

/* A block of a loop's indices, begin … end-1: the argument of the task behind a BROOD_LOOP or BROOD_REDUCE. */
struct brood_range {
    const void *context; /* NULL if there is none */
    size_t context_bytes;
    uint64_t begin, end;
};

/* Every zero means the default. */
struct brood_for_options {
    size_t size; /* sizeof(struct brood_for_options): BROOD_FOR(...) fills it in */
    /* Indices in a block, which a worker runs in one go, and which fails as one: the first index that fails ends its block,
     * and a death takes all of it.  0: 1 for a loop; for a sum, as many as make 4096 blocks, at least 1. */
    uint64_t grain;
    int limit_ms, grace_ms, retries; /* of a block; as in struct brood_call_options */
    int limit_cpu_ms;                /* the same */
};

#ifndef __cplusplus
#define BROOD_FOR(...) (&(struct brood_for_options){.size = sizeof(struct brood_for_options), __VA_ARGS__})
#endif

/* Runs the loop for the indices begin … end-1, in any order, and waits.  Every block runs, also when others fail.  0, or
 * the error of the first failing block in order, whose first index the words name; -EINVAL if the task is no loop. begin >=
 * end is fine: there is nothing to do. */
BROOD_API BROOD_MUST_USE int brood_pool_for(struct brood_pool *pool, const struct brood_task *loop, const void *context,
                                            size_t context_bytes, uint64_t begin, uint64_t end,
                                            const struct brood_for_options *options);

/* The same without waiting.  The context stays borrowed until the future is done.  brood_future_item() takes an index, and
 * knows about the first failure and those before it; about others -ENODATA. */
BROOD_API BROOD_MUST_USE int brood_pool_for_async(struct brood_pool *pool, const struct brood_task *loop,
                                                  struct brood_future **ret_future, const void *context,
                                                  size_t context_bytes, uint64_t begin, uint64_t end,
                                                  const struct brood_for_options *options);

/* A loop with a result.  Immutable, and lives as long as the program. */
struct brood_reduction {
    struct brood_task task;                         /* gives a block's part */
    const void *start;                              /* what a block begins with, and the result of an empty range */
    void (*combine)(void *total, const void *part); /* in the host; parts come in order of their indices */
};

/* Runs it over begin … end-1 and waits; combines the parts into *ret_result, of task.result_size bytes, which is touched on
 * success only.  0, or the error of the first failing block in order. */
BROOD_API BROOD_MUST_USE int brood_pool_reduce(struct brood_pool *pool, const struct brood_reduction *reduction,
                                               void *ret_result, const void *context, size_t context_bytes, uint64_t begin,
                                               uint64_t end, const struct brood_for_options *options);

/* Inside the task of a loop: is this its range, with a context of that size or none?  0 or -EPROTO, in words. */
BROOD_API int brood_range_check(struct brood_bytes arg, size_t context_bytes);

#ifndef __cplusplus

/* Without a call where nothing is wrong: a loop comes here for each block. */
#define BROOD__RANGE_CHECK(range, arg, bytes)                                                            \
    ((arg).len == sizeof(*(range)) && ((range)->context_bytes == (bytes) || (range)->context_bytes == 0) \
         ? 0                                                                                             \
         : brood_range_check((arg), (bytes)))

/* Defines a loop; a body follows:  int (context_type const *context, uint64_t index). */
#define BROOD_LOOP(loop_name, context_type)      \
    BROOD_LOOP_DECLARE(loop_name, context_type); \
    BROOD_LOOP_DEFINE(loop_name, context_type)

/* The same in two parts: the declaration for a header, the definition, with the body, for one file that includes it. */
#define BROOD_LOOP_DECLARE(loop_name, context_type) \
    union loop_name##_task {                        \
        struct brood_task task;                     \
        context_type const *context;                \
    };                                              \
    extern const union loop_name##_task loop_name

#define BROOD_LOOP_DEFINE(loop_name, context_type)                                 \
    static int loop_name##_body(context_type const *context, uint64_t index);      \
    static int loop_name##_run(struct brood_bytes arg, struct brood_reply *reply)  \
    {                                                                              \
        const struct brood_range *range = (const struct brood_range *)arg.ptr;     \
        context_type const *context = (context_type const *)range->context;        \
        int r = BROOD__RANGE_CHECK(range, arg, sizeof(context_type));              \
                                                                                   \
        reply->length = 0;                                                         \
        for (uint64_t index = range->begin; r == 0 && index < range->end; index++) \
            r = loop_name##_body(context, index);                                  \
        return r;                                                                  \
    }                                                                              \
    BROOD__TASK(union, loop_name, loop_name##_run, sizeof(struct brood_range), 0)  \
    static int loop_name##_body(context_type const *context, uint64_t index)

/* Defines a loop that combines what its indices give; a body follows, which brings its index into *result:
 *     int (context_type const *context, uint64_t index, result_type *result).
 * `combine_function` is  void (result_type *total, const result_type *part);  what follows it, an initialiser, is the value
 * that a block begins with, which changes nothing: 0 of a sum, INFINITY of a least number. */
#define BROOD_REDUCE(loop_name, context_type, result_type, combine_function, ...) \
    BROOD_REDUCE_DECLARE(loop_name, context_type, result_type);                   \
    BROOD_REDUCE_DEFINE(loop_name, context_type, result_type, combine_function, __VA_ARGS__)

#define BROOD_REDUCE_DECLARE(loop_name, context_type, result_type) \
    union loop_name##_task {                                       \
        struct brood_reduction reduction;                          \
        context_type const *context;                               \
        result_type *result;                                       \
    };                                                             \
    extern const union loop_name##_task loop_name

#define BROOD_REDUCE_DEFINE(loop_name, context_type, result_type, combine_function, ...)              \
    static int loop_name##_body(context_type const *context, uint64_t index, result_type *result);    \
    static const result_type loop_name##_start = __VA_ARGS__;                                         \
    static void loop_name##_combine(void *total, const void *part)                                    \
    {                                                                                                 \
        combine_function((result_type *)total, (const result_type *)part);                            \
    }                                                                                                 \
    static int loop_name##_run(struct brood_bytes arg, struct brood_reply *reply)                     \
    {                                                                                                 \
        const struct brood_range *range = (const struct brood_range *)arg.ptr;                        \
        context_type const *context = (context_type const *)range->context;                           \
        result_type part = loop_name##_start;                                                         \
        int r = BROOD__RANGE_CHECK(range, arg, sizeof(context_type));                                 \
                                                                                                      \
        for (uint64_t index = range->begin; r == 0 && index < range->end; index++)                    \
            r = loop_name##_body(context, index, &part);                                              \
        return r < 0 ? r : brood_reply_set(reply, &part, sizeof(part));                               \
    }                                                                                                 \
    const union loop_name##_task loop_name = {                                                        \
        .reduction = {{#loop_name, loop_name##_run, sizeof(struct brood_range), sizeof(result_type)}, \
                      &loop_name##_start,                                                             \
                      loop_name##_combine}};                                                          \
    BROOD__REGISTER(loop_name, &loop_name.reduction.task)                                             \
    static int loop_name##_body(context_type const *context, uint64_t index, result_type *result)

/* The commonest: adds up numbers, from 0. */
#define BROOD_SUM(loop_name, context_type, number_type)         \
    BROOD_REDUCE_DECLARE(loop_name, context_type, number_type); \
    BROOD_SUM_DEFINE(loop_name, context_type, number_type)

#define BROOD_SUM_DEFINE(loop_name, context_type, number_type)                      \
    static inline void loop_name##_add(number_type *total, const number_type *part) \
    {                                                                               \
        *total += *part;                                                            \
    }                                                                               \
    BROOD_REDUCE_DEFINE(loop_name, context_type, number_type, loop_name##_add, 0)

/* With the types of context and result checked by the compiler. */
#define brood_for(pool, loop, context_, begin, end) \
    brood_pool_for((pool), &(loop).task, BROOD__CONTEXT(loop, context_), (begin), (end), NULL)
#define brood_for_async(pool, loop, ret_future, context_, begin, end) \
    brood_pool_for_async((pool), &(loop).task, (ret_future), BROOD__CONTEXT(loop, context_), (begin), (end), NULL)
#define brood_reduce(pool, loop, ret_result, context_, begin, end)                                                     \
    brood_pool_reduce((pool), &(loop).reduction, BROOD_OUT(loop, ret_result), BROOD__CONTEXT(loop, context_), (begin), \
                      (end), NULL)
#define brood_sum(pool, loop, ret_sum, context_, begin, end) brood_reduce(pool, loop, ret_sum, context_, begin, end)

#define BROOD__CONTEXT(loop, context_) (1 ? (context_) : (loop).context), sizeof(*(loop).context)

#endif /* !__cplusplus */

BROOD_END

#endif
