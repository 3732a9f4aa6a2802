/* pools.h - what the tests of pools share: pools of every kind, and whether they work. */
#ifndef BROOD_TESTS_POOLS_H
#define BROOD_TESTS_POOLS_H

#include "tasks.h"

/* Every kind of worker, over which the conformance suites run. */
enum { BY_CALLER, BY_THREADS, BY_FORKS, BY_EXECS, WORKER_KINDS };

extern const struct worker_kind {
    const char *name;
    enum brood_kind kind;
    bool is_exec; /* the workers are processes of an executable of their own */
} worker_kinds[WORKER_KINDS];

/* A pool of that kind, with those options otherwise; the test fails if it does not open. */
struct brood_pool *open_kind(int kind, struct brood_pool_options *options);

/* Those whose workers are processes. */
enum { FORKED, EXECED, PROCESS_KINDS };

/* The worker executable of the tests, which knows the tasks of tasks.h; a test without it fails. */
const char *worker_path(void);

/* A pool of forked or exec'ed workers, with those options otherwise; the test fails if it does not open. */
struct brood_pool *open_processes(int kind, struct brood_pool_options *options);

/* A map and a call come out as they should. */
void expect_working(struct brood_pool *pool);

/* Of a pool of processes whose worker 0 is there. */
pid_t supervisor_of(const struct brood_pool *pool);

/* Its children, up to `max`; how many. */
int children_of(pid_t parent, pid_t *ret_children, int max);

/* Waits for a minute at most. */
int outcome_of(struct brood_future *future);

/* Forks a process that opens a pool of that kind, writes a byte to `ready`, and never returns: a host to be killed.  Returns
 * its number after the byte has come. */
pid_t start_host(void (*be_host)(int kind, int ready), int kind);

/* A gate; a task that runs and waits at it, as its future; and the end of both. */
struct gate new_gate(void);
struct brood_future *hold_worker(struct brood_pool *pool, const struct gate *gate);
void let_through(const struct gate *gate);

/* The parts of this: has a task come to the gate?  Lets through a task that waits there, or that comes; and removes it. */
bool is_at_gate(const struct gate *gate);
void open_gate(const struct gate *gate);
void remove_gate(const struct gate *gate);

#endif
