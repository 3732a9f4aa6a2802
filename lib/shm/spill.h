/* spill.h - where results go that are larger than what was put aside for them.
 *
 * A file without a name beside the segment, which nobody maps whole: it is cut into regions of 4 GiB of nothing, and takes
 * memory where something is written.  The host gives a region to each task whose result may have any size; the worker that
 * runs the task commits as much of it as it needs, maps it while the task runs, and says in its answer how long the result
 * is; the host reads it and gives the memory back.  So no allocator is shared, and a worker may die at any instruction:
 * what it had committed is in a region that the host knows of.
 *
 * The file is sealed: nobody can cut it.  The host reads it by pread(), which needs no trust in what a worker has done to
 * it.
 */
#ifndef BROOD_SHM_SPILL_H
#define BROOD_SHM_SPILL_H

#include <stdbool.h>
#include <stdint.h>

#include <brood/base.h>

#define SPILL_REGION ((uint64_t)1 << 32)
#define SPILL_REGIONS ((uint32_t)1 << 30)
#define SPILL_NONE 0 /* no region; else its number + 1 */

struct spill {
    int fd;                 /* -1: there is none */
    uint64_t device, inode; /* of the file: who has the descriptor may have closed it, and its number be another's */
    uint32_t regions;
};

#define SPILL_CLOSED ((struct spill){.fd = -1})

/* Makes one, or none where the system does not let: then a result has to fit into what was put aside. */
void brood__spill_open(struct spill *ret_spill);

/* A worker that has been given its descriptor, before anybody else could close it; -1 is fine. */
void brood__spill_attach(struct spill *ret_spill, int fd);

/* Closes the descriptor, if it is still the file's. */
void brood__spill_close(struct spill *spill);

/* ---- the host ---- */

/* Which regions are free: private memory.  Callers: one thread at a time. */
struct spill_regions {
    uint32_t *free;
    uint32_t count, room, used; /* in `free`; room there; numbers that have ever been taken */
};

/* A region, or SPILL_NONE when there is none. */
uint32_t brood__spill_take(const struct spill *spill, struct spill_regions *regions);

/* Gives it back, empty. */
void brood__spill_give(struct spill_regions *regions, uint32_t region);

/* Reads the first `bytes` bytes of it.  0; -EIO, -EPROTO in words. */
int brood__spill_read(const struct spill *spill, uint32_t region, void *to, size_t bytes);

/* Gives its memory back to the system. */
void brood__spill_clear(const struct spill *spill, uint32_t region);

/* ---- the worker ---- */

/* What a task that runs has in its region. */
struct brood__spilled {
    const struct spill *spill;
    uint32_t region;
    void *memory; /* NULL: nothing */
    size_t bytes;
};

/* Room for `bytes` bytes, in place of what it had: `memory`.  0; -EMSGSIZE for what no region holds; -ENOSPC; -EIO where
 * the task has closed the descriptor; in words. */
int brood__spill_map(struct brood__spilled *spilled, size_t bytes);

/* The task is over.  If nothing of it is its result, its memory goes back, too. */
void brood__spill_unmap(struct brood__spilled *spilled, bool is_result);

#endif
