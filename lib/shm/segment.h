/* segment.h - a range of memory that the processes of one pool share.
 *
 * Address space is reserved large and sparse; pages are committed step by step, so that a lack of memory is an error of
 * brood__segment_commit() and never SIGBUS.  A shared segment is a file without a name, so it cannot leak, and is as
 * long as its committed part: a hostile worker that accesses more takes no memory but dies.  The file is a sealed memfd,
 * so no process can truncate it, which would kill all that have it mapped by SIGBUS.  (Without memfds it is a file of
 * /dev/shm, which cannot be sealed.)  Its pages cannot be given back either, unless other processes attach by its
 * descriptor: it must be writable for these.  The private segment of a pool of threads is plain memory.
 */
#ifndef BROOD_SHM_SEGMENT_H
#define BROOD_SHM_SEGMENT_H

#include <stdbool.h>

#include <brood/base.h>

/* Reads once what another process may write meanwhile: otherwise the compiler may read it again after the check. */
#define read_once(place) (*(const volatile __typeof__(place) *)&(place))

/* shared by fork; SEGMENT_JOINED: also by a descriptor */
enum segment_kind { SEGMENT_PRIVATE, SEGMENT_SHARED, SEGMENT_JOINED };

struct segment {
    char *base; /* NULL: not open */
    size_t reserved;
    size_t committed; /* its length */
    size_t taken;     /* its memory: less than `committed` where parts have none */
    int fd;           /* -1 for a private segment */
};

#define SEGMENT_CLOSED ((struct segment){.fd = -1})

/* Reserves up to `reserve` bytes (less if a limit of this process requires it) and commits the first `commit` of them,
 * zeroed.  Returns 0; -ENOSPC, -ENOMEM, -EFBIG … with a message. */
int brood__segment_open(struct segment *ret_segment, enum segment_kind kind, size_t reserve, size_t commit);

/* Maps the segment of a descriptor, which becomes the segment's, with address space for memory that is committed later:
 * `reserve` bytes, or its present length.  Returns 0 or a negative errno. */
int brood__segment_attach(struct segment *ret_segment, int fd, size_t reserve);

/* Makes sure that the first `bytes` bytes are committed.  Returns 0; -ENOSPC: the file system is full; -ENOMEM: this
 * machine, or this process, has no more memory. */
int brood__segment_commit(struct segment *segment, size_t bytes);

/* Extends the file without memory for the new part; brood__segment_commit_part() commits that, part by part, before any
 * process accesses it.  Does nothing for a private segment. */
int brood__segment_extend(struct segment *segment, size_t bytes);
int brood__segment_commit_part(struct segment *segment, size_t offset, size_t bytes);

/* Returns as many of `wanted` bytes as a file of this process may have: growing one further would raise SIGXFSZ. */
size_t brood__segment_file_limit(size_t wanted);

/* Maps pages into the caller's page tables now: a first access later would cost a page fault, about 1 µs.  A hint; never
 * fails. */
void brood__segment_prefault(const struct segment *segment, size_t offset, size_t bytes);

/* Unmaps and closes.  A closed segment is valid. */
void brood__segment_close(struct segment *segment);

#endif
