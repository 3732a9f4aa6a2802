/* brood/array.h - arrays and values in shared memory, each with a lock of its own.
 *
 *     size_t bytes = brood_array_bytes(1000, sizeof(double));
 *     r = brood_memory_create(&memory, "temperatures", bytes);
 *     struct brood_array *array = brood_memory_address(memory);
 *     r = brood_array_init(array, 1000, sizeof(double));
 *     ...
 *     r = brood_array_set(array, 7, &(double){21.5}, BROOD_FOREVER);      // one item, whole
 *     BROOD_WITH_LOCK (brood_array_lock(array), &r)                       // several, together
 *         for (size_t i = 0; i < 1000; i++)
 *             BROOD_ITEMS(array, double)[i] += 1;
 *     BROOD_ITEMS(array, double)[mine] = 3;                               // without a lock, where no other thread writes
 *
 * A value is a struct of a lock and whatever type:
 *
 *     BROOD_VALUE(long) *hits = brood_memory_address(memory);             // zeroed memory is a value of 0
 *     BROOD_WITH_LOCK (&hits->lock, &r)
 *         hits->value++;
 *     r = brood_value_get(hits, &now, BROOD_FOREVER);                     // wrong types do not compile
 *
 * Both lie wherever all can see them: brood_memory, mmap(MAP_SHARED), brood_alloc(), also at different addresses; they hold
 * no pointer.  A process that is killed with the lock leaves what it had changed until then; the next owner gets
 * -EOWNERDEAD.
 */
#ifndef BROOD_ARRAY_H
#define BROOD_ARRAY_H

#include <brood/base.h>
#include <brood/lock.h>

BROOD_BEGIN

/* What comes before the items: they begin at a cache line of their own. */
struct brood_array {
    uint64_t magic, count, item_bytes; /* private; they never change */
    struct brood_lock lock;            /* see brood_array_lock() */
    uint64_t namespaces;               /* of its maker: see brood_lock */
    uint64_t reserved[3];
};

/* Bytes of memory for an array of `count` items of `item_bytes` each, at least one of either; 0 if those make no array. */
BROOD_API size_t brood_array_bytes(size_t count, size_t item_bytes);

/* Makes an array, all of whose items are zero, in memory of brood_array_bytes(), 64-byte aligned.  0 or -EINVAL.  Before
 * another thread uses it. */
BROOD_API BROOD_MUST_USE int brood_array_init(struct brood_array *array, size_t count, size_t item_bytes);

/* Checks that this memory, of `bytes` bytes, is such an array, for a process that attaches to it.  0; -EINVAL;
 * -EXDEV: it was made in another PID namespace (see brood/lock.h). */
BROOD_API BROOD_MUST_USE int brood_array_check(const struct brood_array *array, size_t bytes, size_t item_bytes);

BROOD_API size_t brood_array_count(const struct brood_array *array);
BROOD_API void *brood_array_items(struct brood_array *array);
BROOD_API struct brood_lock *brood_array_lock(struct brood_array *array);

/* Copies an item out, or in, with the lock.  0; -EOWNERDEAD: done, but the process that had the lock before was killed, and
 * may have left items half changed; -ERANGE: there is no such item; -EAGAIN, -ETIMEDOUT, -EXDEV: as brood_lock_acquire().
 * Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_array_get(struct brood_array *array, size_t index, void *ret_item,
                                             brood_deadline deadline);
BROOD_API int brood_array_set(struct brood_array *array, size_t index, const void *item, brood_deadline deadline);

/* Copies `bytes` bytes with the lock, in either direction: what the two macros below do.  0; -EOWNERDEAD: done, as above;
 * -EAGAIN, -ETIMEDOUT, -EXDEV. */
BROOD_API int brood_value_copy(struct brood_lock *lock, void *to, const void *from, size_t bytes, brood_deadline deadline);

/* A type of value.  Each use of the macro is a type of its own: give it a name with typedef to use it twice. */
#define BROOD_VALUE(type)       \
    struct {                    \
        struct brood_lock lock; \
        type value;             \
    }

#ifndef __cplusplus
/* The items as an array of C. */
#define BROOD_ITEMS(array, type) ((type *)brood_array_items(array))

/* *ret_value = the value; the value = *from. */
#define brood_value_get(object, ret_value, deadline)                                                                 \
    brood_value_copy(&(object)->lock, 1 ? (ret_value) : &(object)->value, &(object)->value, sizeof((object)->value), \
                     (deadline))
#define brood_value_set(object, from, deadline) \
    brood_value_copy(&(object)->lock, &(object)->value, 1 ? (from) : &(object)->value, sizeof((object)->value), (deadline))
#endif

BROOD_END

#endif
