/* roster.h - how many of each process wait, so that those of a dead one can be taken away.
 *
 * It is guarded by a lock, whose holder may be killed between any two stores.  So each change is one store: an entry that
 * was half made counts nobody, and one of a dead process is found by whoever looks next. */
#ifndef BROOD_SYNC_ROSTER_H
#define BROOD_SYNC_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/identity.h"

struct roster_entry {
    uint64_t process; /* or 0: nobody's */
    uint64_t waiting; /* how many; what its bits mean is the user's of the roster; 0: nobody */
};

/* Takes away who is dead.  Was there anybody? */
static inline bool roster_bury(struct roster_entry *roster, uint32_t entries)
{
    bool found = false;

    for (uint32_t i = 0; i < entries; i++) {
        if (roster[i].waiting == 0 || !brood__identity_is_dead(roster[i].process))
            continue;
        roster[i].waiting = 0;
        found = true;
    }
    return found;
}

static inline struct roster_entry *roster_find(struct roster_entry *roster, uint32_t entries, uint64_t process)
{
    for (uint32_t i = 0; i < entries; i++)
        if (roster[i].process == process)
            return &roster[i];
    return NULL;
}

static inline struct roster_entry *roster_find_free(struct roster_entry *roster, uint32_t *entries, uint32_t size)
{
    for (uint32_t i = 0; i < *entries; i++)
        if (roster[i].waiting == 0)
            return &roster[i];
    return *entries < size ? &roster[(*entries)++] : NULL;
}

/* The entry of this process, made if there is none; NULL if there is no room, even without the dead. */
static inline struct roster_entry *roster_enter(struct roster_entry *roster, uint32_t *entries, uint32_t size)
{
    uint64_t self = brood__self();
    struct roster_entry *entry = roster_find(roster, *entries, self);

    if (entry)
        return entry;
    entry = roster_find_free(roster, entries, size);
    if (!entry && roster_bury(roster, *entries))
        entry = roster_find_free(roster, entries, size);
    if (entry)
        entry->process = self;
    return entry;
}

#endif
