/* death_log.h - deaths of workers that cost no task, from the process that starts workers to the host.
 *
 * It lies in the memory of the membership, which no worker has mapped.  There is one writer, and one reader at a time.
 * The writer never waits: it overwrites an entry that the host has not read after DEATH_LOG_KEPT more deaths.
 */
#ifndef BROOD_PROTO_DEATH_LOG_H
#define BROOD_PROTO_DEATH_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DEATH_LOG_ENTRIES 64
#define DEATH_LOG_KEPT (DEATH_LOG_ENTRIES - 1) /* the writer may be writing the other one */

struct death_entry {
    int32_t pid, worker, signal, exit_code;
    int64_t user_us, system_us, peak_rss_kib;
    bool dumped_core, out_of_memory;
};

struct death_log {
    /* The number of entries ever added.  The writer stores it after the entry, release; the host loads it, acquire. */
    _Atomic uint64_t count;
    struct death_entry entries[DEATH_LOG_ENTRIES];
};

void brood__death_log_add(struct death_log *log, const struct death_entry *entry);

/* Copies the entry of that number; false: it has been overwritten, or is being overwritten. */
bool brood__death_log_read(const struct death_log *log, uint64_t number, struct death_entry *ret_entry);

#endif
