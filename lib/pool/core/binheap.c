#include <stdlib.h>

#include "pool/core/binheap.h"

/* The key lies in the entry, so that a comparison touches no node. */
struct binheap_entry {
    int64_t key;
    uint64_t number; /* of equals, the one added first comes first */
    struct binheap_node *node;
};

static bool is_before(const struct binheap_entry *a, const struct binheap_entry *b)
{
    return a->key != b->key ? a->key < b->key : a->number < b->number;
}

static void put(struct binheap *heap, size_t at, struct binheap_entry entry)
{
    heap->entries[at] = entry;
    entry.node->at = at;
}

static void rise(struct binheap *heap, size_t at, struct binheap_entry entry)
{
    for (; at > 0 && is_before(&entry, &heap->entries[(at - 1) / 2]); at = (at - 1) / 2)
        put(heap, at, heap->entries[(at - 1) / 2]);
    put(heap, at, entry);
}

static void sink_down(struct binheap *heap, size_t at, struct binheap_entry entry)
{
    const struct binheap_entry *entries = heap->entries;

    for (size_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && is_before(&entries[child + 1], &entries[child]))
            child++;
        if (!is_before(&entries[child], &entry))
            break;
        put(heap, at, entries[child]);
    }
    put(heap, at, entry);
}

bool brood__binheap_reserve(struct binheap *heap, size_t count)
{
    size_t room = heap->room ? heap->room : 64;
    struct binheap_entry *entries;

    if (count <= heap->room)
        return true;
    while (room < count)
        room *= 2;
    entries = realloc(heap->entries, room * sizeof(*entries));
    if (!entries)
        return false;
    heap->entries = entries;
    heap->room = room;
    return true;
}

void brood__binheap_add(struct binheap *heap, struct binheap_node *node, int64_t key)
{
    node->heap = heap;
    rise(heap, heap->count++, (struct binheap_entry){key, heap->number++, node});
}

struct binheap_node *brood__binheap_first(const struct binheap *heap)
{
    return heap->count > 0 ? heap->entries[0].node : NULL;
}

int64_t brood__binheap_key(const struct binheap_node *node)
{
    return node->heap->entries[node->at].key;
}

void brood__binheap_remove(struct binheap_node *node)
{
    struct binheap *heap = node->heap;
    size_t at = node->at;
    struct binheap_entry last = heap->entries[--heap->count];

    node->heap = NULL;
    if (at == heap->count)
        return;
    if (is_before(&last, &heap->entries[at]))
        rise(heap, at, last);
    else
        sink_down(heap, at, last);
}

void brood__binheap_close(struct binheap *heap)
{
    free(heap->entries);
    *heap = (struct binheap){0};
}
