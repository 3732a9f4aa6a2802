#include "proto/death_log.h"

void brood__death_log_add(struct death_log *log, const struct death_entry *entry)
{
    uint64_t number = atomic_load_explicit(&log->count, memory_order_relaxed);

    log->entries[number % DEATH_LOG_ENTRIES] = *entry;
    atomic_store_explicit(&log->count, number + 1, memory_order_release);
}

/* The writer overwrites an entry when it has counted DEATH_LOG_ENTRIES more.  If the count is smaller after the copy,
 * the copy is consistent. */
bool brood__death_log_read(const struct death_log *log, uint64_t number, struct death_entry *ret_entry)
{
    *ret_entry = log->entries[number % DEATH_LOG_ENTRIES];
    /* orders the copy before the second load of `count`; pairs with the writer's release store */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&log->count, memory_order_relaxed) < number + DEATH_LOG_ENTRIES;
}
