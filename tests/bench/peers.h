/* peers.h - what brood is compared with: the least that machine and system let two processes do, and what others offer.
 *
 *     struct servant *servant = servant_start(SERVE_PINGPONG, cpu);
 *     double ns = servant_pingpong(servant, 1000);                     // between this thread and the servant
 *     servant_end(servant);
 *
 * A servant is a child that sleeps between two calls, so that it takes no time from what is measured in turns with it.
 * That goes for OpenMP's threads too, which spin for a while after each loop: they are the servant's, and
 * bench_await_sleep(servant_pid()) returns when they have given up.
 *
 * Callers: the thread that started the servant.
 */
#ifndef BROOD_TESTS_PEERS_H
#define BROOD_TESTS_PEERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct servant;

enum service {
    SERVE_NOTHING,  /* just be there */
    SERVE_PINGPONG, /* answer on one cache line, spinning */
    SERVE_FUTEX,    /* answer by a wake, asleep in between */
    SERVE_SLOTS,    /* answer in place, in a ring of cache lines */
    SERVE_OPENMP,   /* loops over items */
};

#define SERVANT_SLOTS 512

/* On that CPU, or on any if it is -1. */
struct servant *servant_start(enum service service, int cpu);
void servant_end(struct servant *servant);
pid_t servant_pid(const struct servant *servant);

/* Nanoseconds for each of `count` round trips on one cache line: a store here, a store there. */
double servant_pingpong(struct servant *servant, unsigned count);

/* Nanoseconds for one round trip by futex, both sides asleep while the other is at work. */
double servant_futex(struct servant *servant);

/* Nanoseconds for each of `laps` times SERVANT_SLOTS tasks: write a lap of slots, one line each, then take the answers. */
double servant_slots(struct servant *servant, unsigned laps);

/* Nanoseconds for each item of a loop that calls `body` through a pointer, by two OpenMP threads: schedule(dynamic,1) if
 * `dynamic`, else schedule(static).  The best of `loops`, as the first ones wake the threads.  NAN without OpenMP. */
typedef int item_body(const uint64_t *arg, uint64_t *result);

double servant_openmp(struct servant *servant, item_body *body, size_t items, bool dynamic, unsigned loops);

/* Seconds for n calls of body(arg, result), shared out one at a time among that many POSIX threads. */
typedef int span_body(const void *arg, void *result);

struct span_work {
    span_body *body;
    const char *args;
    char *results;
    size_t arg_size, result_size, n;
};

double threads_map(const struct span_work *work, unsigned threads);

/* Seconds for `count` children that are forked, exit and are waited for, one after the other. */
double bare_forks(unsigned count);

#endif
