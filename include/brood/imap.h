/* brood/imap.h - a stream of items through a pool: results come one by one, as they are ready, and memory is bounded.
 *
 *     brood_auto(imap) *imap = NULL;
 *     struct brood_item item;
 *
 *     r = brood_imap(pool, integrate, &imap, spans, n, NULL);
 *     while (r == 0 && (r = brood_imap_next(imap, &item, BROOD_FOREVER)) == 0)
 *         if (item.outcome == 0)
 *             use(item.index, *(const double *)item.result);
 *     if (r != -ENODATA)                                   // the end
 *         fprintf(stderr, "%s\n", brood_error());
 *
 * Where a map takes an array of arguments and fills one with results, a stream has a window: so many items are out of the
 * source and not yet delivered, at most; a thread that asks for the next result lets the source go on.  The source is an array,
 * or a function that gives the next argument, a billion times if need be.
 *
 * Items come in the order of the source, or with `.unordered` as they are done; `item.index` counts from 0 either way.
 * Workers get them in chunks, which grow while they take less than 50 µs and shrink above 200 µs: items that take longer
 * travel alone.
 *
 * An item that fails is an item, with its error as `outcome`, and the stream goes on; of those that fail in one chunk the
 * first has its own message, the others that of the errno.  When a worker dies, the item that it was running ends with
 * -EOWNERDEAD, and another worker runs the rest.
 *
 * Threads: one at a time uses a stream.  Different streams of one pool are independent.
 */
#ifndef BROOD_IMAP_H
#define BROOD_IMAP_H

#include <stdbool.h>

#include <brood/pool.h>

BROOD_BEGIN

struct brood_imap;

struct brood_item {
    uint64_t index; /* in the source, from 0 */
    int outcome;    /* 0, or the item's negative errno: see brood/future.h */
    const void
        *result; /* of task->result_size bytes, if the outcome is 0, else NULL.  Until the next call with the stream. */
    const char *error; /* why it failed, in words, or "".  Until then, too. */
};

/* Every zero means the default. */
struct brood_imap_options {
    size_t size;    /* sizeof(struct brood_imap_options): BROOD_IMAP(...) fills it in */
    bool unordered; /* results come as they are done */
    size_t window; /* items out of the source and not yet delivered, at most; 0: four chunks a worker, 1 MiB each at most */
    size_t chunk;  /* items that a worker gets at once; 0: grows with how little they cost */
    int limit_ms, grace_ms, retries; /* of an item; as in struct brood_call_options */
    int limit_cpu_ms;                /* the same */
};

#ifndef __cplusplus
#define BROOD_IMAP(...) (&(struct brood_imap_options){.size = sizeof(struct brood_imap_options), __VA_ARGS__})
#endif

/* Where a stream's arguments come from: writes the next one, of task->arg_size bytes, to `ret_arg`.  1: it did; 0: there
 * are no more; a negative errno, with a message by brood_fail() if it likes: it failed, and there are no more.  Called by
 * the thread that opens the stream or asks for results, ahead of what is delivered, and never by two threads at once. */
typedef int (*brood_next_function)(void *context, void *ret_arg);

/* Opens a stream over an array of `n` arguments, which stays borrowed; the first ones go to the workers at once.
 * 0; -EINVAL, -EPERM, -ENOMEM.  That the pool takes no items is said by brood_imap_next(). */
BROOD_API BROOD_MUST_USE int brood_pool_imap(struct brood_pool *pool, const struct brood_task *task,
                                             struct brood_imap **ret_imap, const void *args, size_t n,
                                             const struct brood_imap_options *options);

/* The same with a function as the source. */
BROOD_API BROOD_MUST_USE int brood_pool_imap_pull(struct brood_pool *pool, const struct brood_task *task,
                                                  struct brood_imap **ret_imap, brood_next_function next, void *context,
                                                  const struct brood_imap_options *options);

/* The next item.  0: there is one, whose outcome is its own.  -ENODATA: there are no more.  -ETIMEDOUT, or with BROOD_NOW
 * -EAGAIN: none is ready yet; ask again.  What the source's function returned, after the items that it had given before;
 * -ESHUTDOWN and the like when the pool takes no more of them.  The last three do not change when asked again.  The time
 * that the source's function takes is not bounded by the deadline. */
BROOD_API BROOD_MUST_USE int brood_imap_next(struct brood_imap *imap, struct brood_item *ret_item, brood_deadline deadline);

/* Closes it, at any time: what has not started never will, what is running is waited for.  NULL is fine. */
BROOD_API void brood_imap_close(struct brood_imap *imap);

/* What is done with a result, in the caller's thread.  0: goes on; a negative errno ends the stream. */
typedef int (*brood_emit_function)(void *context, const struct brood_item *item);

/* A whole stream in one call: pulls arguments from `next`, and hands every item to `emit` (NULL: to no function).  Every item runs,
 * also when others fail.  0; else what `emit` returned, or `next`, or else the error of the first failing item. */
BROOD_API BROOD_MUST_USE int brood_pool_map_pull(struct brood_pool *pool, const struct brood_task *task,
                                                 brood_next_function next, brood_emit_function emit, void *context,
                                                 const struct brood_imap_options *options);

/* For brood_auto(imap). */
static inline void brood_imap_closep(struct brood_imap **imap)
{
    brood_imap_close(*imap);
}

#ifndef __cplusplus
#define brood_imap(pool, t, ret_imap, args, n, options) \
    brood_pool_imap((pool), &(t).task, (ret_imap), BROOD_IN(t, args), (n), (options))
#define brood_imap_pull(pool, t, ret_imap, next, context, options) \
    brood_pool_imap_pull((pool), &(t).task, (ret_imap), (next), (context), (options))
#define brood_map_pull(pool, t, next, emit, context, options) \
    brood_pool_map_pull((pool), &(t).task, (next), (emit), (context), (options))
#endif

BROOD_END

#endif
