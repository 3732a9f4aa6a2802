/* role.h - which process of a pool the calling process is, for assertions.
 *
 * A process that brood has not made is a program, the host of the pools that it opens.  A worker process that opens a pool
 * is the host of that pool and stays a worker; so does a child that a task forks.
 */
#ifndef BROOD_OS_ROLE_H
#define BROOD_OS_ROLE_H

#include "os/assert.h"

enum process_role { ROLE_PROGRAM, ROLE_SUPERVISOR, ROLE_WORKER };

/* Set once, at the start of a supervisor or worker, by its only thread; then read by all threads. */
extern enum process_role brood__role;

#define brood__assert_supervisor() brood__assert(brood__role == ROLE_SUPERVISOR)
#define brood__assert_worker() brood__assert(brood__role == ROLE_WORKER)
#define brood__assert_host() brood__assert(brood__role != ROLE_SUPERVISOR)

#endif
