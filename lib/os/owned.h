/* owned.h - which descriptors of this process belong to the library.
 *
 * A worker may inherit the program's descriptors (`.inherit_fds`), and with them those of other pools of the program:
 * their memory, the socket to their supervisor.  Code that makes such a descriptor marks it here, and a supervisor
 * closes all of them before it forks its first worker.  There is a bit for each number, so no lock is needed, in a
 * forked child either.  Descriptors that a program gets to pass on, those of pipes and of its own shared memory, are the
 * program's.
 */
#ifndef BROOD_OS_OWNED_H
#define BROOD_OS_OWNED_H

#include <stdbool.h>
#include <stddef.h>

/* Marks `fd` as the library's and returns it; a negative one is valid. */
int brood__own(int fd);

/* Removes the mark: the descriptor is about to be closed, or the program has closed it. */
int brood__disown(int fd);

bool brood__is_owned(int fd);

/* In a forked child: closes all marked descriptors but these. */
void brood__owned_close_all_but(const int *kept, size_t count);

#endif
