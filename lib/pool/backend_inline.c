/* backend_inline.c - a worker that is nobody: the caller runs what it has submitted, before the call returns. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "os/fence.h"
#include "pool/backend.h"
#include "pool/serve.h"

struct nobody {
    pthread_mutex_t lock; /* one thread at a time is the worker; recursive, as a task may use the pool */
    struct server server;
    struct hooks hooks;
};

static int start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct nobody *nobody = malloc(sizeof(*nobody));
    pthread_mutexattr_t recursive;
    int r = nobody ? brood__server_open(&nobody->server, &pool->shared, 0, false) : brood_fail(-ENOMEM, "out of memory");

    if (r == 0) {
        nobody->hooks = (struct hooks){options->initializer, options->finalizer, options->context};
        r = brood__server_begin(&nobody->server, &nobody->hooks);
        if (r < 0)
            brood__server_close(&nobody->server);
    }
    if (r < 0) {
        free(nobody);
        return r;
    }
    brood__station_set_state(pool->shared.lanes[0].station, STATION_READY);
    (void)brood__fence_open();
    (void)pthread_mutexattr_init(&recursive);
    (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&nobody->lock, &recursive);
    (void)pthread_mutexattr_destroy(&recursive);
    pool->backend_state = nobody;
    return 0;
}

static void run(struct brood_pool *pool)
{
    struct nobody *nobody = pool->backend_state;

    (void)pthread_mutex_lock(&nobody->lock);
    brood__serve_waiting(&nobody->server);
    (void)pthread_mutex_unlock(&nobody->lock);
}

static void stop(struct brood_pool *pool, brood_deadline deadline)
{
    struct nobody *nobody = pool->backend_state;

    (void)deadline;
    brood__server_end(&nobody->server, &nobody->hooks);
    brood__server_close(&nobody->server);
    (void)pthread_mutex_destroy(&nobody->lock);
    free(nobody);
}

const struct backend brood__backend_inline = {
    .name = "inline",
    .start = start,
    .stop = stop,
    .run = run,
};
