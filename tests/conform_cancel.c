/* conform_cancel.c - no public function is a cancellation point: a thread that is to be cancelled comes out of every call,
 * what it has used is as it would be, and others go on with it.
 *
 * Each call is made by a thread of its own that has been asked to end before (pthread_cancel(3)): the first cancellation
 * point that it reaches, in the call or in what the call calls back, would be its end. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pools.h"
#include "support.h"
#include "tasks.h"

/* ---- a thread that is to be cancelled ---- */

struct story {
    int (*call)(void *subject); /* 0, or what went wrong */
    void *subject;
    atomic_int outcome;
    atomic_bool has_returned;
};

static void *tell(void *argument)
{
    struct story *story = argument;

    (void)pthread_cancel(pthread_self());
    atomic_store(&story->outcome, story->call(story->subject));
    atomic_store(&story->has_returned, true);
    pthread_testcancel();
    return NULL;
}

static void start(struct story *story, pthread_t *ret_thread)
{
    ck_assert_int_eq(pthread_create(ret_thread, NULL, tell, story), 0);
}

static void expect_return(const char *name, struct story *story, pthread_t thread)
{
    void *end = NULL;

    ck_assert_int_eq(pthread_join(thread, &end), 0);
    ck_assert_msg(atomic_load(&story->has_returned), "%s: the thread was cancelled inside", name);
    ck_assert_msg(end == PTHREAD_CANCELED, "%s: the thread was not cancelled afterwards", name);
    ck_assert_msg(atomic_load(&story->outcome) == 0, "%s: %d", name, atomic_load(&story->outcome));
}

static void expect_to_return(const char *name, int (*call)(void *subject), void *subject)
{
    struct story story = {.call = call, .subject = subject};
    pthread_t thread;

    start(&story, &thread);
    expect_return(name, &story, thread);
}

/* What callbacks, sources, actions and the tasks of a BROOD_INLINE pool may do: reach a cancellation point. */
static void reach_a_point(void)
{
    (void)!write(-1, "", 1);
}

/* ---- pools ---- */

static const char *worker; /* to ask for it is a cancellation point */

static int open_of(int kind, struct brood_pool **ret_pool)
{
    return brood_pool_open(ret_pool, BROOD_POOL(.kind = worker_kinds[kind].kind, .workers = 2, .queue = 64,
                                                .worker = worker_kinds[kind].is_exec ? worker : NULL));
}

BROOD_TASK(reach, int, int)
{
    reach_a_point();
    *result = *arg;
    return 0;
}

static int call_reach(void *pool)
{
    int result, r = brood_apply((struct brood_pool *)pool, reach, &result, &(int){3});

    return r < 0 ? r : result - 3;
}

static int call_open_and_close(void *subject)
{
    struct brood_pool *pool;
    int r = open_of(*(int *)subject, &pool);

    if (r == 0 && !worker_kinds[*(int *)subject].is_exec)
        r = call_reach(pool); /* a forked worker is a copy of this thread */
    return r < 0 ? r : brood_pool_close(pool, BROOD_FOREVER);
}

static int call_apply(void *pool)
{
    double y, x = 3;
    int r = brood_apply((struct brood_pool *)pool, square, &y, &x);

    return r < 0 ? r : y != 9;
}

/* Through the segment, there and back. */
static int call_large(void *pool)
{
    size_t bytes = 3 << 20;
    char *text = calloc(1, bytes);
    struct brood_future *future;
    int r = brood_apply_bytes_async((struct brood_pool *)pool, reverse, &future, ((struct brood_bytes){text, 100000}));

    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    if (r == 0) {
        r = brood_future_size(future) != 100000;
        brood_future_free(future);
    }
    free(text);
    return r;
}

/* Through a region of its own. */
static int call_any_size(void *pool)
{
    uint32_t size = 3 << 20;
    struct brood_future *future;
    int r =
        brood_apply_bytes_async((struct brood_pool *)pool, regrow, &future, ((struct brood_bytes){&size, sizeof(size)}));

    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    if (r == 0) {
        r = brood_future_size(future) != size;
        brood_future_free(future);
    }
    return r;
}

static int call_map(void *pool)
{
    enum { ITEMS = 300000 }; /* more than a window takes */
    double *x = calloc(ITEMS, sizeof(*x)), *y = calloc(ITEMS, sizeof(*y));
    int r = brood_map((struct brood_pool *)pool, square, y, x, ITEMS);

    free(x);
    free(y);
    return r;
}

BROOD_SUM(add_indices, int, int64_t)
{
    (void)context;
    *result += (int64_t)index;
    return 0;
}

static int call_sum(void *pool)
{
    int64_t sum = 0;
    int r = brood_sum((struct brood_pool *)pool, add_indices, &sum, (int *)NULL, 0, 1000);

    return r < 0 ? r : sum != 499500;
}

static int next_number(void *context, void *ret_arg)
{
    int *left = context;

    reach_a_point();
    *(double *)ret_arg = *left;
    return (*left)-- > 0;
}

static int emit(void *context, const struct brood_item *item)
{
    (void)context;
    reach_a_point();
    return item->outcome;
}

static int call_stream(void *pool)
{
    return brood_map_pull((struct brood_pool *)pool, square, next_number, emit, &(int){1000}, NULL);
}

static void note_point(struct brood_future *future, void *context)
{
    (void)future;
    reach_a_point();
    atomic_fetch_add((atomic_int *)context, 1);
}

static int call_callbacks(void *subject)
{
    struct brood_pool *pool = subject;
    atomic_int count = 0;
    struct brood_future *future;
    int r = 0;

    for (int i = 0; r >= 0 && i < 20; i++) {
        r = brood_apply_async(pool, square, &future, &(double){i});
        if (r == 0)
            r = brood_future_on_done(future, note_point, &count);
        if (r == 0)
            brood_future_free(future);
    }
    while (r >= 0 && atomic_load(&count) < 20)
        r = brood_pool_run(pool, BROOD_FOREVER);
    return r < 0 ? r : 0;
}

static int call_descriptors(void *subject)
{
    struct brood_pool *pool = subject;
    struct brood_future *future;
    int r = brood_pool_fd(pool);

    if (r >= 0)
        r = brood_apply_async(pool, square, &future, &(double){2});
    if (r == 0)
        r = brood_future_fd(future) < 0;
    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    if (r == 0)
        brood_future_free(future);
    (void)brood_pool_run(pool, BROOD_NOW);
    return r;
}

static int call_several(void *pool)
{
    struct brood_future *futures[20], *future;
    struct brood_as_completed *iterator;
    int r = 0;

    for (int i = 0; r == 0 && i < 20; i++)
        r = brood_apply_async((struct brood_pool *)pool, square, &futures[i], &(double){i});
    if (r == 0)
        r = brood_futures_wait(futures, 20, BROOD_FIRST_COMPLETED, NULL, BROOD_FOREVER);
    if (r > 0)
        r = brood_as_completed_open(&iterator, futures, 20);
    for (int i = 0; r == 0 && i < 20; i++)
        r = brood_as_completed_next(iterator, &future, BROOD_FOREVER);
    if (r == 0)
        brood_as_completed_close(iterator);
    for (int i = 0; r == 0 && i < 20; i++)
        brood_future_free(futures[i]);
    return r;
}

static int call_looks(void *subject)
{
    struct brood_pool *pool = subject;
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    void *memory = brood_alloc(pool, 10 << 20);
    char reason[200];

    brood_free(pool, memory);
    if (brood_workers_default(reason, sizeof(reason)) < 1 || !memory)
        return 1;
    return brood_pool_stats(pool, &stats);
}

static int call_death(void *pool)
{
    int result, r = brood_apply((struct brood_pool *)pool, die_by, &result, &(int){SIGKILL});

    return r == -EOWNERDEAD ? 0 : 1;
}

static int call_kill(void *pool)
{
    struct brood_future *future;
    int r = brood_apply_async((struct brood_pool *)pool, hang, &future, &(int){1});

    while (r == 0 && !brood_future_running(future))
        ;
    if (r == 0)
        r = brood_future_kill(future);
    if (r == 0)
        r = brood_future_wait(future, BROOD_FOREVER);
    if (r == 0)
        brood_future_free(future);
    return r;
}

static int call_resize(void *pool)
{
    int r = brood_pool_resize(pool, 1);

    return r < 0 ? r : brood_pool_resize(pool, 2);
}

static const struct call {
    const char *name;
    int (*call)(void *subject);
    int first_kind; /* the kinds of workers from this one on */
    int end_kind;
} pool_calls[] = {
    {"a task", call_apply, 0, WORKER_KINDS},
    {"a task that reaches a cancellation point", call_reach, 0, BY_FORKS + 1},
    {"a large argument and result", call_large, 0, WORKER_KINDS},
    {"a result of any size", call_any_size, 0, WORKER_KINDS},
    {"a map", call_map, 0, WORKER_KINDS},
    {"a sum", call_sum, 0, BY_FORKS + 1},
    {"a stream", call_stream, 0, WORKER_KINDS},
    {"callbacks", call_callbacks, 0, WORKER_KINDS},
    {"descriptors", call_descriptors, 0, WORKER_KINDS},
    {"several futures", call_several, 0, WORKER_KINDS},
    {"looking", call_looks, 0, WORKER_KINDS},
    {"resizing", call_resize, 1, WORKER_KINDS},
    {"a death", call_death, BY_FORKS, WORKER_KINDS},
    {"a kill", call_kill, BY_FORKS, WORKER_KINDS},
};

START_TEST(a_thread_is_not_cancelled_inside_a_call_of_a_pool)
{
    int kind = _i;

    worker = worker_path();
    expect_to_return("open and close", call_open_and_close, &kind);
    for (size_t i = 0; i < sizeof(pool_calls) / sizeof(pool_calls[0]); i++) {
        const struct call *call = &pool_calls[i];
        struct brood_pool *pool = NULL;

        if (kind < call->first_kind || kind >= call->end_kind)
            continue;
        ck_assert_msg(open_of(kind, &pool) == 0, "%s", brood_error());
        expect_to_return(call->name, call->call, pool); /* the first thing that is done with the pool */
        expect_to_return(call->name, call->call, pool);
        expect_working(pool);
        ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    }
}
END_TEST

static int call_close_busy(void *pool)
{
    return brood_pool_close(pool, BROOD_NOW) == -ETIMEDOUT ? 0 : 1;
}

START_TEST(a_thread_is_not_cancelled_while_it_ends_a_pool)
{
    struct brood_pool *pool = NULL;
    struct brood_future *future = NULL;

    worker = worker_path();
    ck_assert_int_eq(open_of(_i, &pool), 0);
    ck_assert_int_eq(brood_apply_async(pool, hang, &future, &(int){1}), 0);
    expect_to_return("a close that kills", call_close_busy, pool);
    ck_assert_int_eq(brood_future_item(future, 0), -ESHUTDOWN);
    brood_future_free(future);
}
END_TEST

static int wait_for_future(void *future)
{
    return brood_future_wait(future, BROOD_FOREVER);
}

/* The one that is cancelled sleeps, and so does another one. */
START_TEST(a_thread_that_waits_for_a_task_is_cancelled_after_it)
{
    struct gate gate = new_gate();
    struct brood_pool *pool = NULL;
    struct brood_future *future;
    struct story stories[2] = {{.call = wait_for_future}, {.call = wait_for_future}};
    pthread_t threads[2];

    worker = worker_path();
    ck_assert_int_eq(open_of(_i, &pool), 0);
    future = hold_worker(pool, &gate);
    for (int i = 0; i < 2; i++) {
        stories[i].subject = future;
        start(&stories[i], &threads[i]);
    }
    expect_to_return("another task meanwhile", call_apply, pool);
    let_through(&gate);
    for (int i = 0; i < 2; i++)
        expect_return("a wait", &stories[i], threads[i]);
    brood_future_free(future);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* ---- everything else ---- */

static int call_promise(void *subject)
{
    atomic_int count = 0;
    struct brood_future *promise;
    int r = brood_promise_open(&promise);

    (void)subject;
    if (r == 0)
        r = brood_future_fd(promise) < 0;
    if (r == 0)
        r = brood_future_on_done(promise, note_point, &count);
    if (r == 0)
        r = brood_promise_set_result(promise, "long enough not to be kept inside", 33);
    if (r == 0)
        r = brood_future_on_done(promise, note_point, &count);
    if (r == 0)
        brood_future_free(promise);
    return r < 0 ? r : atomic_load(&count) - 2;
}

/* close(2) is a cancellation point, too. */
static void close_quietly(int fd)
{
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    (void)close(fd);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
}

static int call_pipe(void *subject)
{
    static char text[200000];
    struct brood_pipe *mine, *its;
    struct brood_space space = {text, sizeof(text)};
    struct brood_waited thing;
    int fd, r = brood_pipe_open(&mine, &its, BROOD_PIPE_DUPLEX);

    (void)subject;
    if (r < 0)
        return r;
    thing = BROOD_WAIT_PIPE(its);
    r = brood_pipe_send(mine, (struct brood_bytes){text, 50000}, BROOD_FOREVER);
    if (r == 0)
        r = brood_wait(&thing, 1, NULL, BROOD_FOREVER) - 1;
    if (r == 0)
        r = brood_pipe_poll(its, BROOD_FOREVER);
    if (r == 0)
        r = brood_pipe_recv(its, &space, BROOD_FOREVER);
    if (r == 0)
        r = brood_pipe_send_fd(mine, 0, BROOD_FOREVER);
    if (r == 0)
        r = brood_pipe_recv_fd(its, &fd, BROOD_FOREVER);
    if (r == 0)
        close_quietly(fd);
    if (r == 0)
        r = brood_pipe_recv(its, &space, BROOD_NOW) == -EAGAIN ? 0 : 1;
    brood_pipe_free(mine);
    brood_pipe_free(its);
    return r;
}

static int call_queue(void *subject)
{
    static char text[100000];
    struct brood_queue *queue;
    int r = brood_queue_open(&queue, BROOD_QUEUE(.bound = 4, .joinable = true));

    (void)subject;
    for (int i = 0; r == 0 && i < 100; i++) {
        struct brood_space space = {text, sizeof(text)};

        r = brood_queue_put(queue, (struct brood_bytes){text, i % 2 ? 10 : sizeof(text)}, BROOD_FOREVER);
        if (r == 0)
            r = brood_queue_get(queue, &space, BROOD_FOREVER);
        if (r == 0)
            r = brood_queue_task_done(queue);
    }
    if (r == 0)
        r = brood_queue_join(queue, BROOD_FOREVER);
    if (r == 0)
        r = brood_queue_get(queue, &(struct brood_space){text, 10}, brood_after_ms(5)) == -ETIMEDOUT ? 0 : 1;
    return r < 0 ? r : brood_queue_close(queue);
}

static int return_0(void *context)
{
    (void)context;
    return 0;
}

/* In a copy of the thread that is to be cancelled. */
static int reach_and_return_7(void *context)
{
    (void)context;
    reach_a_point();
    return 7;
}

static int call_process(void *subject)
{
    struct brood_process *process, *children[4];
    const char *arguments[] = {NULL};
    int status, r = brood_process_start(&process, BROOD_PROCESS(.run = reach_and_return_7));

    (void)subject;
    if (r == 0)
        (void)brood_process_is_alive(process), r = brood_process_join(process, BROOD_FOREVER);
    if (r == 0)
        r = brood_process_status(process, &status);
    if (r == 0)
        r = status - 7;
    if (r == 0)
        r = brood_process_close(process);
    if (r == 0)
        r = brood_process_start(&process, BROOD_PROCESS(.program = "true", .arguments = arguments, .close_fds = true));
    if (r == 0) {
        int count = brood_process_children(children, 4);

        for (int i = 0; i < count && i < 4; i++)
            brood_process_release(children[i]);
        (void)brood_process_terminate(process);
        r = brood_process_join(process, BROOD_FOREVER);
    }
    return r < 0 ? r : brood_process_close(process);
}

static int call_thread(void *subject)
{
    struct brood_thread *thread;
    int r = brood_thread_start(&thread, BROOD_THREAD(.run = return_0));

    (void)subject;
    if (r < 0)
        return r;
    r = brood_thread_sentinel(thread) < 0;
    if (r == 0)
        r = brood_thread_join(thread, BROOD_FOREVER);
    (void)brood_thread_current();
    brood_thread_free(thread);
    return r;
}

static int call_timer(void *subject)
{
    struct brood_timer *timer;
    int r = brood_timer_start(&timer, BROOD_TIMER(.run = return_0, .after_ms = 1));

    (void)subject;
    if (r == 0)
        r = brood_timer_join(timer, BROOD_FOREVER);
    if (r == 0)
        brood_timer_free(timer);
    return r;
}

static int act(void *context)
{
    reach_a_point();
    ++*(int *)context;
    return 0;
}

static int call_sched(void *subject)
{
    struct brood_sched *sched;
    int count = 0, r = brood_sched_open(&sched, NULL);

    (void)subject;
    for (int i = 0; r == 0 && i < 3; i++)
        r = brood_sched_enter(sched, i * 1000000, 0, act, &count, NULL);
    if (r == 0)
        r = brood_sched_run(sched, NULL, BROOD_FOREVER);
    if (r >= 0)
        brood_sched_close(sched);
    return r < 0 ? r : count - 3;
}

static void log_point(enum brood_log_level level, const char *line, void *context)
{
    (void)level, (void)line;
    (void)act(context);
}

static int call_log(void *subject)
{
    int count = 0, r = brood_log_to(STDERR_FILENO, BROOD_LOG_ERROR);

    (void)subject;
    if (r == 0)
        r = brood_log_call(log_point, &count, BROOD_LOG_ERROR);
    brood_log(BROOD_LOG_ERROR, "a line");
    if (r == 0)
        r = brood_log_to(STDERR_FILENO, BROOD_LOG_OFF);
    return r < 0 ? r : count - 1;
}

static int call_memory(void *subject)
{
    struct brood_memory *memory, *other;
    char name[64];
    int r;

    (void)subject;
    (void)snprintf(name, sizeof(name), "brood-cancel-%d", (int)getpid());
    r = brood_memory_create(&memory, name, 100000);
    if (r < 0)
        return r;
    r = brood_memory_attach(&other, name);
    if (r == 0)
        brood_memory_close(other);
    if (r == 0)
        r = brood_memory_sweep(false, NULL, NULL) < 0;
    (void)brood_memory_unlink(name);
    brood_memory_close(memory);
    return r;
}

static struct {
    struct brood_lock lock;
    struct brood_condition condition;
    struct brood_semaphore semaphore;
    struct brood_event event;
    struct brood_barrier barrier;
} * sync_objects;

static int is_so(void *context)
{
    return act(context);
}

static int call_sync(void *subject)
{
    int count = 0, r = brood_lock_acquire(&sync_objects->lock, BROOD_FOREVER);

    (void)subject;
    if (r == 0)
        r = brood_condition_wait(&sync_objects->condition, brood_after_ms(1)) == -ETIMEDOUT ? 0 : 1;
    if (r == 0)
        r = brood_condition_wait_for(&sync_objects->condition, is_so, &count, brood_after_ms(1)) == -ETIMEDOUT ? 0 : 1;
    if (r == 0)
        r = brood_lock_release(&sync_objects->lock);
    if (r == 0)
        r = brood_semaphore_acquire(&sync_objects->semaphore, BROOD_FOREVER);
    if (r == 0)
        r = brood_semaphore_release(&sync_objects->semaphore, 1);
    if (r == 0)
        r = brood_event_wait(&sync_objects->event, brood_after_ms(1)) == -ETIMEDOUT ? 0 : 1;
    if (r == 0)
        r = brood_barrier_wait_with(&sync_objects->barrier, act, &count, BROOD_FOREVER);
    return r < 0 ? r : 0;
}

static const struct {
    const char *name;
    int (*call)(void *subject);
} other_calls[] = {
    {"a promise", call_promise},       {"a pipe", call_pipe},     {"a queue", call_queue},
    {"a process", call_process},       {"a thread", call_thread}, {"a timer", call_timer},
    {"a scheduler", call_sched},       {"a log", call_log},       {"named memory", call_memory},
    {"locks and the like", call_sync},
};
#define OTHER_CALLS (int)(sizeof(other_calls) / sizeof(other_calls[0]))

/* The second thread finds what the first has left. */
START_TEST(a_thread_is_not_cancelled_inside_a_call)
{
    sync_objects = mmap(NULL, sizeof(*sync_objects), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(sync_objects, MAP_FAILED);
    brood_lock_init(&sync_objects->lock);
    ck_assert_int_eq(brood_condition_init(&sync_objects->condition, &sync_objects->lock), 0);
    ck_assert_int_eq(brood_semaphore_init(&sync_objects->semaphore, 1, 1), 0);
    brood_event_init(&sync_objects->event);
    ck_assert_int_eq(brood_barrier_init(&sync_objects->barrier, 1), 0);
    expect_to_return(other_calls[_i].name, other_calls[_i].call, NULL);
    expect_to_return(other_calls[_i].name, other_calls[_i].call, NULL);
    ck_assert_int_eq(munmap(sync_objects, sizeof(*sync_objects)), 0);
}
END_TEST

int main(int argc, char **argv)
{
    int end = argc > 1 && strcmp(argv[1], "threads") == 0 ? BY_FORKS : WORKER_KINDS;
    Suite *suite = suite_create("cancel");

    add_loop_tests(suite, "pools", 0, end, a_thread_is_not_cancelled_inside_a_call_of_a_pool, NULL);
    add_loop_tests(suite, "waits", 1, end, a_thread_that_waits_for_a_task_is_cancelled_after_it, NULL);
    if (end == WORKER_KINDS) {
        add_loop_tests(suite, "ends", BY_FORKS, end, a_thread_is_not_cancelled_while_it_ends_a_pool, NULL);
        add_loop_tests(suite, "all else", 0, OTHER_CALLS, a_thread_is_not_cancelled_inside_a_call, NULL);
    }
    return run_suite(suite);
}
