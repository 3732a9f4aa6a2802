/* kind_inline.c - a pool without workers: the caller runs what it has submitted, before the call returns. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "os/fence.h"
#include "pool/core/kind.h"
#include "worker/server.h"

struct nobody {
    pthread_mutex_t lock; /* one thread at a time is the worker; recursive, since a task may use the pool */
    struct server server;
    struct hooks hooks;
};

static int inline_start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct nobody *nobody = malloc(sizeof(*nobody));
    pthread_mutexattr_t recursive;
    int r = nobody ? brood__server_open(&nobody->server, &pool->shared, 0, false) : brood_fail(-ENOMEM, "out of memory");

    if (r == 0) {
        nobody->hooks = (struct hooks){options->initializer, options->finalizer, options->context};
        r = BROOD__UNCANCELLED(brood__server_begin(&nobody->server, &nobody->hooks));
        if (r < 0)
            brood__server_close(&nobody->server);
    }
    if (r < 0) {
        free(nobody);
        return r;
    }
    brood__worker_set_phase(pool->shared.lanes[0].worker_state, PHASE_READY);
    (void)brood__fence_open();
    (void)pthread_mutexattr_init(&recursive);
    (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&nobody->lock, &recursive);
    (void)pthread_mutexattr_destroy(&recursive);
    pool->kind_state = nobody;
    return 0;
}

static void inline_run(struct brood_pool *pool)
{
    struct nobody *nobody = pool->kind_state;
    int cancel = brood__cancel_off();

    (void)pthread_mutex_lock(&nobody->lock);
    brood__serve_waiting(&nobody->server);
    (void)pthread_mutex_unlock(&nobody->lock);
    brood__cancel_back(cancel);
}

static void inline_stop(struct brood_pool *pool, brood_deadline deadline)
{
    struct nobody *nobody = pool->kind_state;

    (void)deadline;
    (void)BROOD__UNCANCELLED((brood__server_end(&nobody->server, &nobody->hooks), 0));
    brood__server_close(&nobody->server);
    (void)pthread_mutex_destroy(&nobody->lock);
    free(nobody);
}

const struct kind brood__kind_inline = {
    .inside = &brood__inside_ops,
    .start = inline_start,
    .stop = inline_stop,
    .run = inline_run,
};
