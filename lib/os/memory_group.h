/* memory_group.h - a control group that bounds the memory of one confined worker, and of all that it starts.
 *
 * The worker makes the group and enters it when it enters its sandbox; the supervisor removes it after the worker's death,
 * the host what a killed supervisor has left, and a sweep what both have left.  So a group's name has the process ids of
 * the supervisor and of the worker: brood.SUPERVISOR.WORKER, below the group of all three.
 *
 * Of version 1 any process that may write to its group's directory can do this.  Of version 2 a group with processes can
 * have no groups below it with limits; so a delegated parent group serves, if this process's own group has no limits that
 * a worker beside it would escape.
 */
#ifndef BROOD_OS_MEMORY_GROUP_H
#define BROOD_OS_MEMORY_GROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes a group for the calling process, which may use `bytes` more than it has, and enters it.  Returns 1; 0: no group can
 * be made here; or a negative errno with a message: one can be made, but does not work. */
int brood__memory_group_enter(uint64_t bytes);

/* The directory of the groups, malloc()ed; NULL: none can be made. */
char *brood__memory_groups_directory(void);

/* Removes the group of that worker, which is dead.  It stays if a process that the worker has started lives on in it. */
void brood__memory_group_remove(const char *directory, pid_t supervisor, pid_t worker);

/* Removes all groups of that supervisor, whose workers are dead or about to die. */
void brood__memory_groups_remove(pid_t supervisor);

/* Is that process in its group?  The kernel says so, not the process. */
bool brood__memory_group_has(pid_t supervisor, pid_t worker);

/* Calls found(context, path, supervisor, is_removed) for each group without processes whose supervisor is dead, and
 * removes it if `remove`. */
void brood__memory_groups_sweep(bool remove,
                                void (*found)(void *context, const char *path, pid_t supervisor, bool is_removed),
                                void *context);

#endif
