/* segment.h - a range of memory that the processes of one pool share.
 *
 * Address space is reserved large and sparse; pages are committed step by step, so that a lack of memory is an error of
 * brood__segment_commit() and never SIGBUS.  A shared segment is a file of /dev/shm that never
 * has a name, so nothing can leak; a memfd where /dev/shm is absent or small (64 MB in many containers).  A sealed one, for
 * processes that get its descriptor, is always a memfd, whose size nobody can change: who cut the file would be the end, by
 * SIGBUS, of all who have it mapped.  A private one, for workers that are threads, is plain memory.
 */
#ifndef BROOD_SHM_SEGMENT_H
#define BROOD_SHM_SEGMENT_H

#include <stdbool.h>

#include <brood/base.h>

/* Reads what another process may write meanwhile, once: else the compiler may read it again after it was checked. */
#define read_once(place) (*(const volatile __typeof__(place) *)&(place))

enum segment_kind { SEGMENT_PRIVATE, SEGMENT_SHARED, SEGMENT_SEALED };

struct segment {
    char *base; /* NULL: not open */
    size_t reserved;
    size_t committed;
    size_t looked_at; /* so much was committed when somebody last looked whether there is memory for more */
    int fd;           /* -1 for a private segment */
};

#define SEGMENT_CLOSED ((struct segment){.fd = -1})

/* Reserves up to `reserve` bytes (less where a limit of this process says so) and commits the first `commit` of them,
 * zeroed. 0; -ENOSPC, -ENOMEM, -EFBIG …, in words. */
int brood__segment_open(struct segment *ret_segment, enum segment_kind kind, size_t reserve, size_t commit);

/* Maps the segment behind a descriptor, which becomes the segment's.  0 or a negative errno. */
int brood__segment_attach(struct segment *ret_segment, int fd);

/* Makes sure that the first `bytes` bytes are committed.  0; -ENOSPC: there is no room in /dev/shm; -ENOMEM: there is no
 * memory left on this machine, or to this process. */
int brood__segment_commit(struct segment *segment, size_t bytes);

/* As many of `wanted` bytes as a file of this process may have: asking for more would be SIGXFSZ. */
size_t brood__segment_file_limit(size_t wanted);

/* Maps pages of the caller's own tables now: a first touch later costs a page fault, about 1 µs.  A hint; never fails. */
void brood__segment_prefault(const struct segment *segment, size_t offset, size_t bytes);

/* Unmaps and closes.  A closed segment is fine. */
void brood__segment_close(struct segment *segment);

#endif
