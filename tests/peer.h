/* peer.h - somebody else, who is a thread or a process: stories that are the same for both are told once.
 *
 *     START_TEST(a_lock_that_another_process_has_is_not_acquired)      // a loop test over THREADS … KINDS - 1
 *     {
 *         struct scene *scene = shared_memory(sizeof(*scene));
 *         struct peer peer = start_peer(_i, hold_lock, scene);
 *         ...
 *         join_peer(&peer);
 *     }
 */
#ifndef BROOD_TESTS_PEER_H
#define BROOD_TESTS_PEER_H

#include <pthread.h>
#include <stdlib.h>

#include "child.h"

enum { THREADS, PROCESSES, KINDS };

struct peer {
    int kind;
    pthread_t thread;
    pid_t pid; /* or the id of the thread */
};

struct peer_start {
    void (*body)(void *);
    void *argument;
    _Atomic pid_t tid;
};

static inline void *peer_thread(void *argument)
{
    struct peer_start start = *(struct peer_start *)argument;

    atomic_store(&((struct peer_start *)argument)->tid, (pid_t)syscall(SYS_gettid));
    start.body(start.argument);
    return NULL;
}

/* Calls body(argument) in a thread or in a child. */
static inline struct peer start_peer(int kind, void (*body)(void *), void *argument)
{
    struct peer_start start = {.body = body, .argument = argument};
    struct peer peer = {.kind = kind};

    if (kind == PROCESSES) {
        peer.pid = spawn(body, argument);
        return peer;
    }
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, peer_thread, &start), 0);
    while (atomic_load(&start.tid) == 0)
        (void)sched_yield();
    peer.pid = atomic_load(&start.tid);
    return peer;
}

static inline void join_peer(struct peer *peer)
{
    if (peer->kind == PROCESSES)
        join(peer->pid);
    else
        ck_assert_int_eq(pthread_join(peer->thread, NULL), 0);
}

static inline void start_peers(struct peer *peers, int count, int kind, void (*body)(void *), void *argument)
{
    for (int i = 0; i < count; i++)
        peers[i] = start_peer(kind, body, argument);
}

static inline void join_peers(struct peer *peers, int count)
{
    for (int i = 0; i < count; i++)
        join_peer(&peers[i]);
}

/* Waits until it sleeps for good, and not for a moment on its way there. */
static inline void await_sleep(pid_t pid)
{
    for (int looks = 0; looks < 5; looks++) {
        if (!is_asleep(pid))
            looks = -1;
        rest();
    }
}

/* For stories that go to and fro, a wake-up each: how long the quickest hundred rounds in a row took.  A busy machine is
 * slow now and then; where wake-ups are lost, each of which then costs a slice of sleep, no hundred is quick. */
struct pace {
    int rounds;
    int64_t since_ms, least_ms;
};

/* At the end of each round. */
static inline void pace_count(struct pace *pace)
{
    if (pace->rounds++ % 100 != 0)
        return;
    if (pace->rounds == 1)
        pace->least_ms = INT64_MAX;
    else if (now_ms() - pace->since_ms < pace->least_ms)
        pace->least_ms = now_ms() - pace->since_ms;
    pace->since_ms = now_ms();
}

/* A slice of sleep is 20 ms. */
static inline void expect_no_lost_wake_ups(const struct pace *pace)
{
    ck_assert_int_gt(pace->rounds, 100);
    ck_assert_int_lt(pace->least_ms, 100 * 5);
}

/* With --threads the program keeps to one process: for ThreadSanitizer, which does not follow shared memory. */
static inline int kinds_for(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "--threads") == 0 ? PROCESSES : KINDS;
}

#endif
