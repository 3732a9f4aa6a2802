/* brood/memory.h - shared memory: with a name, for programs that know nothing else of each other, or without.
 *
 *     brood_auto(memory) *memory = NULL;
 *     r = brood_memory_create(&memory, "pictures", 64 << 20);        // here
 *     r = brood_memory_attach(&memory, "pictures");                  // in another program
 *     struct picture *pictures = brood_memory_address(memory);
 *
 * What lies in it is the user's: a struct with a brood_lock, a brood_ring, a brood_array, a brood_heap, plain numbers.  It
 * lies at another address in every process that attaches, so it holds offsets and no pointers; a child that is forked has
 * it at the same address as its parent.
 *
 * All of it is there: taken from the system when it is made, so that a lack of memory is an error then, and not a SIGBUS
 * when it is touched; and a process that attaches checks the size.  Zeroed at first.
 *
 * Names.  A name appears when the memory is ready for use, and stays until brood_memory_unlink(), also after its creator's
 * death.  The memory itself goes when the name and the last user have gone.  brood_memory_sweep(), and the command
 * `brood gc`, find names that no process uses any more because their creators were killed.  Memory without a name
 * goes with its last user and cannot leak; it reaches others by fork, or by its descriptor.
 *
 * Trust.  A process that may attach may write to all of it, and if it has a name also cut it, which is SIGBUS for others.
 * Only the user that made it may (mode 0600).  Memory without a name cannot be cut.
 */
#ifndef BROOD_MEMORY_H
#define BROOD_MEMORY_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_memory; /* of one process; forked children may use it too */

#define BROOD_MEMORY_NAME_MAX 200 /* bytes of a name */

/* Makes `bytes` bytes of zeroed shared memory.  `name`: 1 to BROOD_MEMORY_NAME_MAX bytes without '/', or NULL: without a
 * name.  0; -EINVAL: no bytes, or such a name; -ENAMETOOLONG; -EEXIST: there is one of that name; -ENOSPC: no room in
 * /dev/shm; -ENOMEM: the machine, or a control group's limit, does not leave that much memory; -EFBIG: see ulimit -f; else
 * what the system says.  The handle is the caller's to close. */
BROOD_API BROOD_MUST_USE int brood_memory_create(struct brood_memory **ret_memory, const char *name, size_t bytes);

/* Joins memory by its name.  0; -ENOENT: there is none; -EINVAL: no such name, or what has it was not made by brood, or was
 * cut; -EACCES: another user's; -EBUSY: it is just being removed; -ENOMEM; else what the system says. */
BROOD_API BROOD_MUST_USE int brood_memory_attach(struct brood_memory **ret_memory, const char *name);

/* Joins memory by a descriptor, as of brood_memory_fd(), which becomes the memory's, and close-on-exec.  0; -EBADF;
 * -EINVAL: it is not that of such memory; -ENOMEM. */
BROOD_API BROOD_MUST_USE int brood_memory_from_fd(struct brood_memory **ret_memory, int fd);

/* Removes the name: no process can attach by it any more, those that have attached go on, and the name is free.  0;
 * -ENOENT; -EINVAL, -ENAMETOOLONG: no name. */
BROOD_API int brood_memory_unlink(const char *name);

/* Where it begins, aligned to a page; how many bytes it has; its name, or ""; its descriptor, the memory's own, to be
 * passed on (brood_pipe_send_fd()). */
BROOD_API void *brood_memory_address(const struct brood_memory *memory);
BROOD_API size_t brood_memory_size(const struct brood_memory *memory);
BROOD_API const char *brood_memory_name(const struct brood_memory *memory);
BROOD_API int brood_memory_fd(const struct brood_memory *memory);

/* Lets go of it in this process.  The name stays.  NULL is fine. */
BROOD_API void brood_memory_close(struct brood_memory *memory);

/* For brood_auto(memory). */
static inline void brood_memory_closep(struct brood_memory **memory)
{
    brood_memory_close(*memory);
}

/* ---- what dead processes have left ---- */

/* A name whose memory no process has, and whose creator is dead; or a control group without processes, of a confined
 * worker whose pool was killed with its host. */
struct brood_memory_stale {
    const char *name; /* for the time of the call; of a control group its path, which begins with '/' */
    size_t bytes;     /* of memory that it keeps */
    int32_t creator;  /* its process id was this; 0: it was killed while it made it */
    bool is_removed;
};

/* Looks for such names among those of this user, removes them if `remove`, and calls found(context, …) for each; `found`
 * may be NULL.  Returns how many there were, or a negative errno: there is no /dev/shm to look at.  Whether a
 * creator in another PID namespace is dead cannot be found out from here: its names are left alone, and those of a
 * container that has ended are for brood_memory_unlink(). */
BROOD_API int brood_memory_sweep(bool remove, void (*found)(void *context, const struct brood_memory_stale *stale),
                                 void *context);

BROOD_END

#endif
