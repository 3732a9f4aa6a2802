/* binheap.h - inside the library: a binary heap whose members know their place, so that any member can be removed. */
#ifndef BROOD_POOL_CORE_BINHEAP_H
#define BROOD_POOL_CORE_BINHEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of each member. */
struct binheap_node {
    struct binheap *heap; /* NULL: in none */
    size_t at;
};

/* All zero: an empty heap. */
struct binheap {
    struct binheap_entry *entries;
    size_t count, room;
    uint64_t number; /* of the next */
};

/* Makes room for so many members in all, for the life of the heap.  False: memory is short. */
bool brood__binheap_reserve(struct binheap *heap, size_t count);

/* The caller has reserved room. */
void brood__binheap_add(struct binheap *heap, struct binheap_node *node, int64_t key);

/* The member with the lowest key, of equals the one added first; NULL: the heap is empty. */
struct binheap_node *brood__binheap_first(const struct binheap *heap);

/* For a node that is in a heap. */
int64_t brood__binheap_key(const struct binheap_node *node);
void brood__binheap_remove(struct binheap_node *node);

/* Frees the heap and forgets its members. */
void brood__binheap_close(struct binheap *heap);

#endif
