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
    _Atomic pid_t tid;    /* it writes, the host reads; 0 before it runs */
    bool has_begun;       /* and is to be joined */
    _Atomic bool is_late; /* the pool is open already: the host writes, it reads */
    struct brood_pool *pool;
    const struct hooks *hooks;
    struct server server;
    char words[256]; /* why it cannot serve: before it says so in its station */
};

struct threads {
    struct hooks hooks;
    struct thread threads[];
};

/* Of the first threads the opener hears; later ones take the pool with them, as worker processes do. */
static void give_up(struct thread *thread, int error)
{
    struct board *board = thread->pool->shared.board;
    struct station *station = thread->pool->shared.lanes[thread->server.worker].station;

    atomic_store(&station->error, error);
    if (thread->is_late) {
        (void)snprintf(board->reason, sizeof(board->reason), "%s", brood_error());
        brood__board_set_state(board, BOARD_BROKEN);
        brood__wake_host(board);
        return;
    }
    (void)snprintf(thread->words, sizeof(thread->words), "%s", brood_error());
    brood__station_set_state(station, STATION_FAILED);
    brood__parker_wake(&board->parkers[0]);
}

/* This thread takes its entry in the roll back, unless the host, which may want it at the same time, has been quicker and
 * starts another one. */
static bool enter_again(struct thread *thread)
{
    int32_t nobody = ROLL_NOBODY;

    return atomic_compare_exchange_strong(&thread->pool->shared.roll->entries[thread->server.worker], &nobody, ROLL_THREAD);
}

/* It rests, or has been sent away.  What its supervisor does for a process: it looks again, behind what it has said. */
static bool is_wanted_again(struct thread *thread)
{
    struct shared *shared = &thread->pool->shared;
    unsigned worker = thread->server.worker;

    if (!thread->server.rests) {
        atomic_store(&shared->roll->entries[worker], ROLL_NOBODY);
        return worker < atomic_load(&shared->roll->wanted) && enter_again(thread);
    }
    brood__roll_rest(shared->roll, worker);
    (void)brood__fence_heavy();
    return brood__any_waiting(shared) && brood__roll_call(shared->roll, worker) && enter_again(thread);
}

static bool leave(struct thread *thread)
{
    struct board *board = thread->pool->shared.board;

    brood__server_end(&thread->server, thread->hooks);
    if (brood__board_state(board) != BOARD_OPEN)
        return true;
    brood__away_enter(board, thread->server.worker);
    brood__present_add(board, -1);
    atomic_store(&thread->tid, 0); /* soon it may be somebody else's */
    if (!is_wanted_again(thread))
        return true;
    brood__present_add(board, 1);
    return false;
}

static void *serve(void *argument)
{
    struct thread *thread = argument;
    struct shared *shared = &thread->pool->shared;
    int r;

    do {
        atomic_store(&thread->tid, gettid());
        r = brood__server_begin(&thread->server, thread->hooks);
        if (r < 0) {
            give_up(thread, -r);
            return NULL;
        }
        brood__station_set_state(shared->lanes[thread->server.worker].station, STATION_READY);
        brood__parker_wake(&shared->board->parkers[0]);
        brood__serve(&thread->server);
    } while (!leave(thread));
    return NULL;
}

static void end_thread(struct thread *thread)
{
    if (!thread->has_begun)
        return;
    (void)pthread_join(thread->id, NULL);
    brood__server_close(&thread->server);
    thread->has_begun = false;
}

static void end(struct brood_pool *pool, struct threads *threads)
{
    brood__board_set_state(pool->shared.board, BOARD_STOPPING);
    brood__wake_workers(&pool->shared);
    for (unsigned i = 0; i < pool->workers; i++)
        end_thread(&threads->threads[i]);
    free(threads);
}

static int start_thread(struct brood_pool *pool, struct thread *thread, unsigned worker)
{
    char name[16];
    int r = brood__server_open(&thread->server, &pool->shared, worker, false);

    if (r < 0)
        return r;
    brood__station_set_state(pool->shared.lanes[worker].station, STATION_STARTING);
    atomic_store(&pool->shared.roll->entries[worker], ROLL_THREAD);
    r = pthread_create(&thread->id, NULL, serve, thread);
    if (r != 0) {
        atomic_store(&pool->shared.roll->entries[worker], ROLL_NOBODY);
        brood__server_close(&thread->server);
        return brood_fail(-r, "cannot start thread %u: %s", worker, strerror(r));
    }
    thread->has_begun = true;
    brood__present_add(pool->shared.board, 1);
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
    for (unsigned i = 0; r == 0 && i < pool->wanted; i++)
        if (atomic_load(&pool->shared.roll->entries[i]) == ROLL_NOBODY) {
            end_thread(&threads->threads[i]); /* the one before has nothing left to do but to return */
            r = start_thread(pool, &threads->threads[i], i);
        }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

/* When memory is short, whoever is missing is tried again at the next occasion. */
static void recruit(struct brood_pool *pool)
{
    if (!pool->closed)
        (void)start_all(pool, pool->backend_state);
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

static int await_all(struct brood_pool *pool, struct threads *threads)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < pool->workers_min; i++)
        r = await_ready(pool, &threads->threads[i]);
    for (unsigned i = 0; i < pool->workers; i++)
        threads->threads[i].is_late = true;
    return r;
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
    if (r == 0)
        r = await_all(pool, threads);
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
    .recruit = recruit,
    .stop = stop,
    .thread_id = thread_id,
};
