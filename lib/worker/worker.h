/* worker.h - the life of a worker process, forked or exec'ed. */
#ifndef BROOD_WORKER_WORKER_H
#define BROOD_WORKER_WORKER_H

#include "os/sandbox.h"
#include "worker/server.h"

/* The environment variable of an exec'ed worker: the descriptors of the segment, of large results and of the hold page,
 * then its number, or for a standby "s" and the descriptor on which it receives its number; then, if it is confined, ":"
 * and its sandbox.  The sandbox is not in the pool header, since a worker could overwrite it there and its successor
 * would be unconfined. */
#define WORKER_ENVIRONMENT "BROOD_WORKER"
#define WORKER_EXIT_PROTOCOL 76 /* EX_PROTOCOL of sysexits.h: another version of brood has made the pool */

/* Records why this worker cannot serve, for the supervisor: an errno, and a message or "". */
void brood__worker_give_up(struct shared *shared, unsigned worker, int error, const char *message);

/* Serves as that worker until the pool stops; with a socket `assignment`, as the worker that is assigned there; in the
 * sandbox, if there is one.  Returns 0, or a negative errno with a message if it could not begin. */
int brood__worker_run(struct shared *shared, unsigned worker, int assignment, struct sandbox *sandbox,
                      const struct hooks *hooks);

#endif
