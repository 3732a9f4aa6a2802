/* backend_threads.c - workers that are threads of the host: the same loop over the same lanes, in private memory. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/fence.h"
#include "pool/backend.h"
#include "pool/serve.h"

struct thread {
    pthread_t id;
    struct server server;
};

struct threads {
    unsigned count; /* that run */
    struct thread threads[];
};

static void *serve(void *argument)
{
    brood__serve(&((struct thread *)argument)->server);
    return NULL;
}

static void end(struct brood_pool *pool, struct threads *threads)
{
    brood__board_set_state(pool->shared.board, BOARD_STOPPING);
    brood__wake_workers(&pool->shared);
    for (unsigned i = 0; i < threads->count; i++) {
        (void)pthread_join(threads->threads[i].id, NULL);
        brood__server_close(&threads->threads[i].server);
    }
    free(threads);
}

static int start_thread(struct brood_pool *pool, struct thread *thread, unsigned worker)
{
    char name[16];
    int r = brood__server_open(&thread->server, &pool->shared, worker, false);

    if (r < 0)
        return r;
    brood__station_set_state(pool->shared.lanes[worker].station, STATION_READY);
    r = pthread_create(&thread->id, NULL, serve, thread);
    if (r != 0) {
        brood__server_close(&thread->server);
        return brood_fail(-r, "cannot start thread %u: %s", worker, strerror(r));
    }
    (void)snprintf(name, sizeof(name), "%.10s-%u", pool->shared.board->name, worker % 10000);
    (void)pthread_setname_np(thread->id, name);
    return 0;
}

/* Signals are for the host's own threads. */
static int start_all(struct brood_pool *pool, struct threads *threads)
{
    sigset_t all, before;
    int r = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (r == 0 && threads->count < pool->workers) {
        r = start_thread(pool, &threads->threads[threads->count], threads->count);
        if (r == 0)
            threads->count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static int start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct threads *threads = calloc(1, sizeof(*threads) + pool->workers * sizeof(threads->threads[0]));
    int r;

    (void)options;
    if (!threads)
        return brood_fail(-ENOMEM, "out of memory");
    (void)brood__fence_open();
    r = start_all(pool, threads);
    if (r < 0)
        end(pool, threads);
    else
        pool->backend_state = threads;
    return r;
}

static void stop(struct brood_pool *pool, brood_deadline deadline)
{
    (void)deadline; /* a thread cannot be killed */
    end(pool, pool->backend_state);
}

const struct backend brood__backend_threads = {
    .name = "threads",
    .start = start,
    .stop = stop,
};
