/* kind_inline.c - a pool without workers: the caller runs what it has submitted, before the call returns. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "os/fence.h"
#include "pool/core/kind.h"
#include "worker/server.h"

struct caller {
    pthread_mutex_t lock; /* one thread at a time is the worker; recursive, since a task may use the pool */
    struct server server;
    struct hooks hooks;
};

static int inline_start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct caller *caller = malloc(sizeof(*caller));
    pthread_mutexattr_t recursive;
    int r = caller ? brood__server_open(&caller->server, &pool->shared, 0, false) : brood_fail(-ENOMEM, "out of memory");

    if (r == 0) {
        caller->hooks = (struct hooks){options->initializer, options->finalizer, options->context};
        r = BROOD__UNCANCELLED(brood__server_begin(&caller->server, &caller->hooks));
        if (r < 0)
            brood__server_close(&caller->server);
    }
    if (r < 0) {
        free(caller);
        return r;
    }
    brood__worker_set_phase(pool->shared.lanes[0].worker_state, PHASE_READY);
    (void)brood__fence_open();
    (void)pthread_mutexattr_init(&recursive);
    (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&caller->lock, &recursive);
    (void)pthread_mutexattr_destroy(&recursive);
    pool->kind_state = caller;
    return 0;
}

static void inline_run(struct brood_pool *pool)
{
    struct caller *caller = pool->kind_state;
    int cancel = brood__cancel_off();

    (void)pthread_mutex_lock(&caller->lock);
    brood__serve_waiting(&caller->server);
    (void)pthread_mutex_unlock(&caller->lock);
    brood__cancel_back(cancel);
}

static void inline_stop(struct brood_pool *pool, brood_deadline deadline)
{
    struct caller *caller = pool->kind_state;

    (void)deadline;
    (void)BROOD__UNCANCELLED((brood__server_end(&caller->server, &caller->hooks), 0));
    brood__server_close(&caller->server);
    (void)pthread_mutex_destroy(&caller->lock);
    free(caller);
}

const struct kind brood__kind_inline = {
    .inside = &brood__inside_ops,
    .start = inline_start,
    .stop = inline_stop,
    .run = inline_run,
};
