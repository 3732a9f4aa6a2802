/* kind_threads.c - workers that are threads of the host: the same loop over the same lanes, in private memory. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fence.h"
#include "pool/core/kind.h"
#include "worker/server.h"

struct thread {
    pthread_t id;
    _Atomic pid_t tid;    /* the worker thread writes, the host reads; 0 before it runs.  Sequentially consistent by
                             default; a hint, so relaxed would do */
    bool has_begun;       /* it was created, and has to be joined */
    _Atomic bool is_late; /* the pool is open already: the host writes, the worker thread reads; seq_cst by default */
    struct brood_pool *pool;
    const struct hooks *hooks;
    struct server server;
    char words[256]; /* why it cannot serve: the worker thread writes it before its phase */
};

struct threads {
    struct hooks hooks;
    struct thread threads[];
};

/* Reports why the worker cannot serve.  The opening thread reads it for the first workers; a later worker breaks the
 * pool, as a worker process does.  The store of `error` is relaxed: the release of the phase or of the
 * header's state follows. */
static void threads_give_up(struct thread *thread, int error)
{
    struct header *header = thread->pool->shared.header;
    struct worker_state *worker_state = thread->pool->shared.lanes[thread->server.worker].worker_state;

    atomic_store_explicit(&worker_state->error, error, memory_order_relaxed);
    if (thread->is_late) {
        (void)snprintf(header->reason, sizeof(header->reason), "%s", brood_error());
        brood__header_set_state(header, HEADER_BROKEN);
        brood__wake_host(header);
        return;
    }
    (void)snprintf(thread->words, sizeof(thread->words), "%s", brood_error());
    brood__worker_set_phase(worker_state, PHASE_FAILED);
    brood__parker_wake(&header->parkers[0]);
}

/* The worker takes its membership entry back, unless the host, which may want the worker at the same time, has been
 * quicker and starts another thread.  The winner of the compare-and-swap serves the lane. */
static bool enter_again(struct thread *thread)
{
    int32_t expected = MEMBER_NONE;

    return atomic_compare_exchange_strong_explicit(&thread->pool->shared.membership->entries[thread->server.worker],
                                                   &expected, MEMBER_THREAD, memory_order_seq_cst,
                                                   memory_order_relaxed); /* with is_wanted_again() */
}

/* The worker is scaled down or dismissed.  As the supervisor does for a process, it checks again after it has changed
 * its entry: the host stores `wanted` and then tries to take the entry.  Both sides are sequentially consistent, so that
 * at least one sees the other's store (Dekker). */
static bool is_wanted_again(struct thread *thread)
{
    struct shared *shared = &thread->pool->shared;
    unsigned worker = thread->server.worker;

    if (!thread->server.scales_down) {
        atomic_store_explicit(&shared->membership->entries[worker], MEMBER_NONE, memory_order_seq_cst);
        return worker < atomic_load_explicit(&shared->membership->wanted, memory_order_seq_cst) && enter_again(thread);
    }
    return !brood__scale_down(shared, worker) && enter_again(thread);
}

static bool worker_thread_leave(struct thread *thread)
{
    struct header *header = thread->pool->shared.header;

    brood__server_end(&thread->server, thread->hooks);
    if (brood__header_state(header) != HEADER_OPEN)
        return true;
    brood__unavailable_enter(header, thread->server.worker);
    brood__present_add(header, -1);
    atomic_store_explicit(&thread->tid, 0, memory_order_relaxed); /* the kernel may soon reuse the id */
    if (!is_wanted_again(thread))
        return true;
    brood__present_add(header, 1);
    return false;
}

static void *serve(void *argument)
{
    struct thread *thread = argument;
    struct shared *shared = &thread->pool->shared;
    int r;

    (void)brood__cancel_off(); /* for good: a cancelled task would end the lane's worker, too */
    do {
        atomic_store_explicit(&thread->tid, gettid(), memory_order_relaxed);
        r = brood__server_begin(&thread->server, thread->hooks);
        if (r < 0) {
            threads_give_up(thread, -r);
            return NULL;
        }
        brood__worker_set_phase(shared->lanes[thread->server.worker].worker_state, PHASE_READY);
        brood__parker_wake(&shared->header->parkers[0]);
        brood__serve(&thread->server);
    } while (!worker_thread_leave(thread));
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

static void threads_end(struct brood_pool *pool, struct threads *threads)
{
    brood__header_set_state(pool->shared.header, HEADER_STOPPING);
    brood__wake_workers(&pool->shared, 0);
    for (unsigned i = 0; i < pool->size.max; i++)
        end_thread(&threads->threads[i]);
    free(threads);
}

static int thread_start(struct brood_pool *pool, struct thread *thread, unsigned worker)
{
    char name[16];
    int r = brood__server_open(&thread->server, &pool->shared, worker, false);

    if (r < 0)
        return r;
    brood__worker_set_phase(pool->shared.lanes[worker].worker_state, PHASE_STARTING);
    r = pthread_create(&thread->id, NULL, serve, thread);
    if (r != 0) {
        brood__server_close(&thread->server);
        return brood_fail(-r, "cannot start thread %u: %s", worker, strerror(r));
    }
    thread->has_begun = true;
    brood__present_add(pool->shared.header, 1);
    (void)snprintf(name, sizeof(name), "%.10s-%u", pool->shared.header->name, worker % 10000);
    (void)pthread_setname_np(thread->id, name);
    return 0;
}

/* The host takes the entry before it joins the thread that had it: otherwise that thread might take it back and continue to
 * serve.  Sequentially consistent: see is_wanted_again(). */
static int replace_thread(struct brood_pool *pool, struct thread *thread, unsigned worker)
{
    _Atomic int32_t *entry = &pool->shared.membership->entries[worker];
    int32_t expected = MEMBER_NONE;
    int r;

    if (!atomic_compare_exchange_strong_explicit(entry, &expected, MEMBER_THREAD, memory_order_seq_cst,
                                                 memory_order_relaxed))
        return 0;
    end_thread(thread); /* which has nothing left to do but return */
    r = thread_start(pool, thread, worker);
    if (r < 0)
        atomic_store_explicit(entry, MEMBER_NONE, memory_order_seq_cst);
    return r;
}

/* The worker threads block all signals: they are for the host's own threads. */
static int start_all(struct brood_pool *pool, struct threads *threads)
{
    sigset_t all, before;
    int r = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; r == 0 && i < pool->size.wanted; i++)
        r = replace_thread(pool, &threads->threads[i], i);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

/* When memory is short, the host tries again at the next occasion. */
static void threads_start_missing(struct brood_pool *pool)
{
    if (!life_is_closed(pool->life.state))
        (void)start_all(pool, pool->kind_state);
}

/* Returns 0, or the error that keeps that worker from serving.  The worker stores `error` before its phase; the host
 * loads it after the phase, acquire. */
static int await_ready(struct brood_pool *pool, const struct thread *thread)
{
    struct parker *parker = &pool->shared.header->parkers[0];
    const struct worker_state *worker_state = pool->shared.lanes[thread->server.worker].worker_state;

    for (;;) {
        uint32_t seen = brood__parker_look(parker);

        if (brood__worker_phase(worker_state) == PHASE_READY)
            return 0;
        if (brood__worker_phase(worker_state) == PHASE_FAILED)
            return brood_fail(-atomic_load_explicit(&worker_state->error, memory_order_relaxed), "%s", thread->words);
        brood__parker_sleep(parker, seen, NULL, 0, BROOD_FOREVER);
    }
}

static int await_all(struct brood_pool *pool, struct threads *threads)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < pool->size.min; i++)
        r = await_ready(pool, &threads->threads[i]);
    for (unsigned i = 0; i < pool->size.max; i++)
        threads->threads[i].is_late = true;
    return r;
}

static int threads_start(struct brood_pool *pool, const struct brood_pool_options *options)
{
    struct threads *threads = calloc(1, sizeof(*threads) + pool->size.max * sizeof(threads->threads[0]));
    int r;

    if (!threads)
        return brood_fail(-ENOMEM, "out of memory");
    threads->hooks = (struct hooks){options->initializer, options->finalizer, options->context};
    for (unsigned i = 0; i < pool->size.max; i++) {
        threads->threads[i].pool = pool;
        threads->threads[i].hooks = &threads->hooks;
    }
    (void)brood__fence_open();
    r = start_all(pool, threads);
    if (r == 0)
        r = await_all(pool, threads);
    if (r < 0)
        threads_end(pool, threads);
    else
        pool->kind_state = threads;
    return r;
}

static void threads_stop(struct brood_pool *pool, brood_deadline deadline)
{
    (void)deadline; /* a thread cannot be killed */
    threads_end(pool, pool->kind_state);
}

static pid_t threads_id(const struct brood_pool *pool, unsigned worker)
{
    struct threads *threads = pool->kind_state;

    return atomic_load_explicit(&threads->threads[worker].tid, memory_order_relaxed);
}

const struct kind brood__kind_threads = {
    .inside = &brood__inside_ops,
    .start = threads_start,
    .start_missing = threads_start_missing,
    .stop = threads_stop,
    .thread_id = threads_id,
};
