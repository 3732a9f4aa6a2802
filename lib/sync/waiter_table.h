/* waiter_table.h - how many threads of each process wait, so that a waiter can take away those of a dead process.
 *
 * A lock guards the table, and its holder may be killed between any two stores.  So each change is one store: an entry that
 * was half made counts no waiter, and the next process that looks finds the entry of a dead one.  The fields are plain:
 * only the holder of the lock writes and reads them. */
#ifndef BROOD_SYNC_WAITER_TABLE_H
#define BROOD_SYNC_WAITER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/identity.h"

struct waiter_entry {
    uint64_t process; /* its identity, or 0: the entry was never used */
    uint64_t waiting; /* how many; the user of the table defines the bits; 0: none, the entry is free */
};

static inline bool waiter_table_reap_entry(struct waiter_entry *entry)
{
    if (entry->waiting == 0 || !brood__identity_is_dead(entry->process))
        return false;
    entry->waiting = 0;
    return true;
}

/* Takes away the waiters of dead processes.  True: there were some. */
static inline bool waiter_table_reap(struct waiter_entry *table, uint32_t entries)
{
    bool found = false;

    for (uint32_t i = 0; i < entries; i++)
        found |= waiter_table_reap_entry(&table[i]);
    return found;
}

static inline struct waiter_entry *waiter_table_find(struct waiter_entry *table, uint32_t entries, uint64_t process)
{
    for (uint32_t i = 0; i < entries; i++)
        if (table[i].process == process)
            return &table[i];
    return NULL;
}

static inline struct waiter_entry *waiter_table_find_free(struct waiter_entry *table, uint32_t *entries, uint32_t size)
{
    for (uint32_t i = 0; i < *entries; i++)
        if (table[i].waiting == 0)
            return &table[i];
    return *entries < size ? &table[(*entries)++] : NULL;
}

/* The entry of this process, made if there is none; NULL: there is no room, even without dead processes. */
static inline struct waiter_entry *waiter_table_enter(struct waiter_entry *table, uint32_t *entries, uint32_t size)
{
    uint64_t self = brood__self();
    struct waiter_entry *entry = waiter_table_find(table, *entries, self);

    if (entry)
        return entry;
    entry = waiter_table_find_free(table, entries, size);
    if (!entry && waiter_table_reap(table, *entries))
        entry = waiter_table_find_free(table, entries, size);
    if (entry)
        entry->process = self;
    return entry;
}

#endif
