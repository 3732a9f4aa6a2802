/* backend_threads.c - workers that are threads of the host: the same loop over the same lanes, in private memory. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fence.h"
#include "pool/backend.h"
#include "pool/serve.h"

struct thread {
    pthread_t id;
    _Atomic pid_t tid; /* it writes, the host reads; 0 before it runs */
    bool has_begun;    /* and is to be joined */
    struct brood_pool *pool;
    const struct hooks *hooks;
    struct server server;
    char words[256]; /* why it cannot serve: before it says so in its station */
};

struct threads {
    struct hooks hooks;
    struct thread threads[];
};

/* Where a worker process does this, its supervisor reads it. */
static void give_up(struct thread *thread, int error)
{
    struct shared *shared = &thread->pool->shared;
    struct station *station = shared->lanes[thread->server.worker].station;

    (void)snprintf(thread->words, sizeof(thread->words), "%s", brood_error());
    atomic_store(&station->error, error);
    brood__station_set_state(station, STATION_FAILED);
    brood__parker_wake(&shared->board->parkers[0]);
}

static void *serve(void *argument)
{
    struct thread *thread = argument;
    struct shared *shared = &thread->pool->shared;
    int r;

    atomic_store(&thread->tid, gettid());
    r = brood__server_begin(&thread->server, thread->hooks);

    if (r < 0) {
        give_up(thread, -r);
        return NULL;
    }
    brood__station_set_state(shared->lanes[thread->server.worker].station, STATION_READY);
    brood__parker_wake(&shared->board->parkers[0]);
    brood__serve(&thread->server);
    brood__server_end(&thread->server, thread->hooks);
    return NULL;
}

static void end(struct brood_pool *pool, struct threads *threads)
{
    brood__board_set_state(pool->shared.board, BOARD_STOPPING);
    brood__wake_workers(&pool->shared);
    for (unsigned i = 0; i < pool->workers; i++) {
        if (!threads->threads[i].has_begun)
            continue;
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
    brood__station_set_state(pool->shared.lanes[worker].station, STATION_STARTING);
    r = pthread_create(&thread->id, NULL, serve, thread);
    if (r != 0) {
        brood__server_close(&thread->server);
        return brood_fail(-r, "cannot start thread %u: %s", worker, strerror(r));
    }
    thread->has_begun = true;
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
    for (unsigned i = 0; r == 0 && i < pool->workers; i++)
        r = start_thread(pool, &threads->threads[i], i);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

/* 0, or why that one cannot serve. */
static int await_ready(struct brood_pool *pool, const struct thread *thread)
{
    struct parker *parker = &pool->shared.board->parkers[0];
    const struct station *station = pool->shared.lanes[thread->server.worker].station;

    for (;;) {
        uint32_t seen = brood__parker_look(parker);

        if (brood__station_state(station) == STATION_READY)
            return 0;
        if (brood__station_state(station) == STATION_FAILED)
            return brood_fail(-atomic_load(&station->error), "%s", thread->words);
        brood__parker_sleep(parker, seen, NULL, 0, BROOD_FOREVER);
    }
}

static int start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct threads *threads = calloc(1, sizeof(*threads) + pool->workers * sizeof(threads->threads[0]));
    int r;

    if (!threads)
        return brood_fail(-ENOMEM, "out of memory");
    threads->hooks = (struct hooks){options->initializer, options->finalizer, options->context};
    for (unsigned i = 0; i < pool->workers; i++) {
        threads->threads[i].pool = pool;
        threads->threads[i].hooks = &threads->hooks;
    }
    (void)brood__fence_open();
    r = start_all(pool, threads);
    for (unsigned i = 0; r == 0 && i < pool->workers; i++)
        r = await_ready(pool, &threads->threads[i]);
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

static pid_t thread_id(const struct brood_pool *pool, unsigned worker)
{
    struct threads *threads = pool->backend_state;

    return atomic_load(&threads->threads[worker].tid);
}

const struct backend brood__backend_threads = {
    .name = "threads",
    .start = start,
    .stop = stop,
    .thread_id = thread_id,
};
