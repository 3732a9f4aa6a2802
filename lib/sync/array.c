#include <errno.h>
#include <string.h>

#include <brood/array.h>

#include "os/identity.h"

#define MAGIC UINT64_C(0x3130797261647262) /* "brdary01" in memory */
#define LINE_BYTES 64

_Static_assert(sizeof(struct brood_array) == LINE_BYTES, "shared layout; the items begin at a line of their own");

size_t brood_array_bytes(size_t count, size_t item_bytes)
{
    size_t bytes;

    if (count == 0 || item_bytes == 0 || __builtin_mul_overflow(count, item_bytes, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct brood_array), &bytes))
        return 0;
    return bytes;
}

static int array_check_place(const struct brood_array *array)
{
    if (array && (uintptr_t)array % LINE_BYTES == 0)
        return 0;
    return brood_fail(-EINVAL, "an array needs memory that begins at a multiple of %d bytes, not at %p", LINE_BYTES,
                      (const void *)array);
}

int brood_array_init(struct brood_array *array, size_t count, size_t item_bytes)
{
    size_t bytes = brood_array_bytes(count, item_bytes);
    int r = array_check_place(array);

    if (r < 0)
        return r;
    if (bytes == 0)
        return brood_fail(-EINVAL, "%zu items of %zu bytes make no array", count, item_bytes);
    memset(array, 0, bytes);
    array->count = count;
    array->item_bytes = item_bytes;
    array->namespaces = brood__namespaces();
    array->magic = MAGIC;
    return 0;
}

int brood_array_check(const struct brood_array *array, size_t bytes, size_t item_bytes)
{
    int r = array_check_place(array);
    size_t needed;

    if (r < 0)
        return r;
    if (bytes < sizeof(*array) || array->magic != MAGIC)
        return brood_fail(-EINVAL, "these %zu bytes are no array", bytes);
    if (array->item_bytes != item_bytes)
        return brood_fail(-EINVAL, "the array's items have %zu bytes, not %zu", (size_t)array->item_bytes, item_bytes);
    needed = brood_array_bytes((size_t)array->count, item_bytes);
    if (needed == 0 || needed > bytes)
        return brood_fail(-EINVAL, "an array of %zu items does not fit into %zu bytes", (size_t)array->count, bytes);
    return brood__namespaces_check(array->namespaces, "the array");
}

size_t brood_array_count(const struct brood_array *array)
{
    return (size_t)array->count;
}

void *brood_array_items(struct brood_array *array)
{
    return array + 1;
}

struct brood_lock *brood_array_lock(struct brood_array *array)
{
    return &array->lock;
}

int brood_value_copy(struct brood_lock *lock, void *to, const void *from, size_t bytes, brood_deadline deadline)
{
    int r = brood_lock_acquire(lock, deadline);

    if (r < 0 && r != -EOWNERDEAD)
        return r;
    memcpy(to, from, bytes);
    (void)brood_lock_release(lock);
    return r;
}

static int find_item(struct brood_array *array, size_t index, char **ret_item)
{
    if (index >= array->count)
        return brood_fail(-ERANGE, "the array has the items 0 to %zu, and %zu is none of them", (size_t)array->count - 1,
                          index);
    *ret_item = (char *)brood_array_items(array) + index * array->item_bytes;
    return 0;
}

int brood_array_get(struct brood_array *array, size_t index, void *ret_item, brood_deadline deadline)
{
    char *item = NULL;
    int r = find_item(array, index, &item);

    return r < 0 ? r : brood_value_copy(&array->lock, ret_item, item, (size_t)array->item_bytes, deadline);
}

int brood_array_set(struct brood_array *array, size_t index, const void *item, brood_deadline deadline)
{
    char *place = NULL;
    int r = find_item(array, index, &place);

    return r < 0 ? r : brood_value_copy(&array->lock, place, item, (size_t)array->item_bytes, deadline);
}
