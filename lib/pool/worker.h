/* worker.h - inside the library: being a worker process, forked or exec'ed. */
#ifndef BROOD_POOL_WORKER_H
#define BROOD_POOL_WORKER_H

#include "os/sandbox.h"
#include "pool/serve.h"

/* Of an exec'ed worker: "descriptor of the segment:number of the worker", or for a spare "…:s" and the descriptor by which
 * it will get its number; and ":what it may not do" if it is confined.  Not on the board: a worker could have written over
 * that, and its successor would be free. */
#define WORKER_ENVIRONMENT "BROOD_WORKER"
#define WORKER_EXIT_PROTOCOL 76 /* EX_PROTOCOL of sysexits.h: the pool was made by another version */

/* Says why this worker cannot serve, where the supervisor looks: an errno, and words or "". */
void brood__worker_give_up(struct shared *shared, unsigned worker, int error, const char *words);

/* Serves as that worker, or, with a socket for `orders`, as the one that it will be told there, until the pool stops; in
 * the sandbox, if there is one.  0, or a negative errno in words when it could not begin. */
int brood__worker_run(struct shared *shared, unsigned worker, int orders, struct sandbox *sandbox,
                      const struct hooks *hooks);

#endif
