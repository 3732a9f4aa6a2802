/* large_result.h - results that are larger than the room in the segment.
 *
 * They go to a file without a name, which no process maps as a whole.  It is divided into regions of 4 GiB, which take
 * memory only where something is written.  The host gives a region to each task whose result may have any size.  The
 * worker that runs the task commits as much of it as it needs, maps that while the task runs, and answers with the
 * length; the host reads the result and gives the memory back.  So no allocator is shared, and a worker may die at any
 * instruction: what it has committed is in a region that the host knows.
 *
 * The file is sealed, so no process can truncate it.  The host reads it by pread(), which is safe whatever a worker has
 * done to the file.
 */
#ifndef BROOD_PROTO_LARGE_RESULT_H
#define BROOD_PROTO_LARGE_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include <brood/base.h>

#define LARGE_REGION ((uint64_t)1 << 32)
#define LARGE_REGIONS ((uint32_t)1 << 30)
#define LARGE_NONE 0 /* no region; else its number + 1 */

struct large_results {
    int fd; /* -1: there is none */
    /* the file's identity: a program may have closed the descriptor, and its number may be another file's */
    uint64_t device, inode;
    uint32_t regions;
};

#define LARGE_CLOSED ((struct large_results){.fd = -1})

/* Makes the file; fd is -1 if the system does not support it: then results must fit into the room that was put aside. */
void brood__large_open(struct large_results *ret_large);

/* Called by a worker that has inherited the descriptor, before any other code could close it; -1 is valid. */
void brood__large_attach(struct large_results *ret_large, int fd);

/* Closes the descriptor, if it is still the file's. */
void brood__large_close(struct large_results *large);

/* ---- the host ---- */

/* The free regions, in private memory.  One thread at a time. */
struct large_regions {
    uint32_t *free;
    uint32_t count, room, used; /* entries of `free`; its room; the highest number ever taken */
};

/* Takes a region; LARGE_NONE: there is none. */
uint32_t brood__large_take(const struct large_results *large, struct large_regions *regions);

/* Gives an empty region back. */
void brood__large_give(struct large_regions *regions, uint32_t region);

/* Reads the first `bytes` bytes of a region.  Returns 0; -EIO or -EPROTO with a message. */
int brood__large_read(const struct large_results *large, uint32_t region, void *to, size_t bytes);

/* Gives the region's memory back to the system. */
void brood__large_clear(const struct large_results *large, uint32_t region);

/* ---- the worker ---- */

/* What the running task has in its region. */
struct brood__large_result {
    const struct large_results *large;
    uint32_t region;
    void *memory; /* NULL: no memory */
    size_t bytes;
};

/* Has a task closed the descriptor?  False where there never was one. */
bool brood__large_is_lost(const struct large_results *large);

/* Makes room for `bytes` bytes and sets `memory`; keeps the content.  Returns 0; -EMSGSIZE: larger than a region;
 * -ENOSPC; -EIO: the task has closed the descriptor; each with a message. */
int brood__large_map(struct brood__large_result *large_result, size_t bytes);

/* Called when the task has ended.  Gives the memory back if it does not hold the result. */
void brood__large_unmap(struct brood__large_result *large_result, bool is_result);

#endif
