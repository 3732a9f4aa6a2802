/* check_now.c - every wait that takes a deadline says the same when it ends without success. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pools.h"
#include "support.h"

/* What all of the waits below wait for, in vain. */
struct scene {
    struct brood_pool *pool; /* its one worker waits at the gate, and its queue is full */
    struct gate gate;
    struct brood_future *held, *queued, *promise;
    struct brood_imap *imap;
    struct brood_queue *empty, *full, *full_sorted;
    struct brood_pipe *here, *there, *stuck, *deaf;
    struct brood_thread *thread;
    struct brood_timer *timer;
    struct brood_process *process;
    struct brood_lock lock, notified;
    struct brood_rlock rlock;
    struct brood_semaphore semaphore;
    struct brood_event event, hold;
    struct brood_condition condition;
    struct brood_barrier barrier;
    struct brood_array *array; /* this one and the heap are locked */
    struct brood_heap *heap;
    uint64_t block;
};

static int wait_for_future(struct scene *scene, brood_deadline deadline)
{
    return brood_future_wait(scene->held, deadline);
}

static int wait_for_promise(struct scene *scene, brood_deadline deadline)
{
    return brood_future_wait(scene->promise, deadline);
}

static int wait_for_futures(struct scene *scene, brood_deadline deadline)
{
    return brood_futures_wait(&scene->held, 1, BROOD_ALL_COMPLETED, NULL, deadline);
}

static int wait_for_the_next_completed(struct scene *scene, brood_deadline deadline)
{
    struct brood_as_completed *iterator = NULL;
    struct brood_future *next;
    int r = brood_as_completed_open(&iterator, &scene->held, 1);

    if (r == 0)
        r = brood_as_completed_next(iterator, &next, deadline);
    brood_as_completed_close(iterator);
    return r;
}

static int submit_to_a_full_pool(struct scene *scene, brood_deadline deadline)
{
    struct brood_future *future = NULL;
    double x = 2;

    return brood_apply_async_until(scene->pool, square, &future, deadline, &x);
}

static int submit_bytes_to_a_full_pool(struct scene *scene, brood_deadline deadline)
{
    struct brood_future *future = NULL;
    double x = 2;

    return brood_pool_apply_bytes_async(scene->pool, &square.task, &future, (struct brood_bytes){&x, sizeof(x)}, deadline);
}

static int submit_with_options_to_a_full_pool(struct scene *scene, brood_deadline deadline)
{
    struct brood_future *future = NULL;
    double x = 2;

    return brood_pool_submit(scene->pool, &square.task, &future, (struct brood_bytes){&x, sizeof(x)},
                             BROOD_CALL(.priority = 1), deadline);
}

static int wait_for_the_next_item(struct scene *scene, brood_deadline deadline)
{
    struct brood_item item;

    return brood_imap_next(scene->imap, &item, deadline);
}

static void ignore(struct brood_future *future, void *context)
{
    (void)future, (void)context;
}

static int wait_for_a_callback(struct scene *scene, brood_deadline deadline)
{
    return brood_pool_run(scene->pool, deadline);
}

static int get(struct scene *scene, brood_deadline deadline)
{
    char place[8];

    return brood_queue_get(scene->empty, &(struct brood_space){place, sizeof(place)}, deadline);
}

static int wait_for_a_message(struct scene *scene, brood_deadline deadline)
{
    size_t size;

    return brood_queue_next_size(scene->empty, &size, deadline);
}

static int put(struct scene *scene, brood_deadline deadline)
{
    return brood_queue_put(scene->full, (struct brood_bytes){"b", 1}, deadline);
}

static int get_many(struct scene *scene, brood_deadline deadline)
{
    char place[8];
    size_t count;

    return brood_queue_get_many(scene->empty, &(struct brood_space){place, sizeof(place)}, 1, &count, deadline);
}

static int put_many(struct scene *scene, brood_deadline deadline)
{
    size_t count;

    return brood_queue_put_many(scene->full, &(struct brood_bytes){"b", 1}, 1, &count, deadline);
}

static int put_with_priority(struct scene *scene, brood_deadline deadline)
{
    return brood_queue_put_priority(scene->full_sorted, (struct brood_bytes){"b", 1}, -1, deadline);
}

static int join_queue(struct scene *scene, brood_deadline deadline)
{
    return brood_queue_join(scene->full, deadline);
}

static int receive(struct scene *scene, brood_deadline deadline)
{
    char place[8];

    return brood_pipe_recv(scene->here, &(struct brood_space){place, sizeof(place)}, deadline);
}

static int receive_descriptor(struct scene *scene, brood_deadline deadline)
{
    int fd;

    return brood_pipe_recv_fd(scene->here, &fd, deadline);
}

static int poll_pipe(struct scene *scene, brood_deadline deadline)
{
    return brood_pipe_poll(scene->here, deadline);
}

static int wait_for_a_size(struct scene *scene, brood_deadline deadline)
{
    size_t size;

    return brood_pipe_next_size(scene->here, &size, deadline);
}

static int send_message(struct scene *scene, brood_deadline deadline)
{
    return brood_pipe_send(scene->stuck, (struct brood_bytes){"b", 1}, deadline);
}

static int send_descriptor(struct scene *scene, brood_deadline deadline)
{
    return brood_pipe_send_fd(scene->stuck, STDERR_FILENO, deadline);
}

static int flush_pipe(struct scene *scene, brood_deadline deadline)
{
    return brood_pipe_flush(scene->stuck, deadline);
}

static int wait_for_things(struct scene *scene, brood_deadline deadline)
{
    return brood_wait(&BROOD_WAIT_PIPE(scene->here), 1, NULL, deadline);
}

static int join_thread(struct scene *scene, brood_deadline deadline)
{
    return brood_thread_join(scene->thread, deadline);
}

static int join_timer(struct scene *scene, brood_deadline deadline)
{
    return brood_timer_join(scene->timer, deadline);
}

static int join_process(struct scene *scene, brood_deadline deadline)
{
    return brood_process_join(scene->process, deadline);
}

static int acquire_lock(struct scene *scene, brood_deadline deadline)
{
    return brood_lock_acquire(&scene->lock, deadline);
}

static int copy_value(struct scene *scene, brood_deadline deadline)
{
    int from = 1, to;

    return brood_value_copy(&scene->lock, &to, &from, sizeof(to), deadline);
}

static int acquire_rlock(struct scene *scene, brood_deadline deadline)
{
    return brood_rlock_acquire(&scene->rlock, deadline);
}

static int acquire_semaphore(struct scene *scene, brood_deadline deadline)
{
    return brood_semaphore_acquire(&scene->semaphore, deadline);
}

static int wait_for_event(struct scene *scene, brood_deadline deadline)
{
    return brood_event_wait(&scene->event, deadline);
}

static int wait_at_barrier(struct scene *scene, brood_deadline deadline)
{
    brood_barrier_reset(&scene->barrier);
    return brood_barrier_wait(&scene->barrier, deadline);
}

static int never(void *context)
{
    (void)context;
    return 0;
}

static int wait_at_barrier_to_act(struct scene *scene, brood_deadline deadline)
{
    brood_barrier_reset(&scene->barrier);
    return brood_barrier_wait_with(&scene->barrier, never, NULL, deadline);
}

static int wait_for_a_notification(struct scene *scene, brood_deadline deadline)
{
    return brood_condition_wait(&scene->condition, deadline);
}

static int wait_for_a_predicate(struct scene *scene, brood_deadline deadline)
{
    return brood_condition_wait_for(&scene->condition, never, NULL, deadline);
}

static int get_item(struct scene *scene, brood_deadline deadline)
{
    int item;

    return brood_array_get(scene->array, 0, &item, deadline);
}

static int set_item(struct scene *scene, brood_deadline deadline)
{
    return brood_array_set(scene->array, 0, &(int){1}, deadline);
}

static int allocate(struct scene *scene, brood_deadline deadline)
{
    uint64_t block;

    return brood_heap_alloc(scene->heap, 1, &block, deadline);
}

static int free_block(struct scene *scene, brood_deadline deadline)
{
    return brood_heap_free(scene->heap, scene->block, deadline);
}

static int count_used(struct scene *scene, brood_deadline deadline)
{
    size_t bytes;

    return brood_heap_used(scene->heap, &bytes, deadline);
}

static const struct {
    const char *name;
    int (*wait)(struct scene *scene, brood_deadline deadline);
} waits[] = {
    {"brood_future_wait", wait_for_future},
    {"brood_future_wait, promise", wait_for_promise},
    {"brood_futures_wait", wait_for_futures},
    {"brood_as_completed_next", wait_for_the_next_completed},
    {"brood_apply_async_until", submit_to_a_full_pool},
    {"brood_pool_apply_bytes_async", submit_bytes_to_a_full_pool},
    {"brood_pool_submit", submit_with_options_to_a_full_pool},
    {"brood_imap_next", wait_for_the_next_item},
    {"brood_pool_run", wait_for_a_callback},
    {"brood_queue_get", get},
    {"brood_queue_next_size", wait_for_a_message},
    {"brood_queue_put", put},
    {"brood_queue_get_many", get_many},
    {"brood_queue_put_many", put_many},
    {"brood_queue_put_priority", put_with_priority},
    {"brood_queue_join", join_queue},
    {"brood_pipe_recv", receive},
    {"brood_pipe_recv_fd", receive_descriptor},
    {"brood_pipe_poll", poll_pipe},
    {"brood_pipe_next_size", wait_for_a_size},
    {"brood_pipe_send", send_message},
    {"brood_pipe_send_fd", send_descriptor},
    {"brood_pipe_flush", flush_pipe},
    {"brood_wait", wait_for_things},
    {"brood_thread_join", join_thread},
    {"brood_timer_join", join_timer},
    {"brood_process_join", join_process},
    {"brood_lock_acquire", acquire_lock},
    {"brood_value_copy", copy_value},
    {"brood_rlock_acquire", acquire_rlock},
    {"brood_semaphore_acquire", acquire_semaphore},
    {"brood_event_wait", wait_for_event},
    {"brood_barrier_wait", wait_at_barrier},
    {"brood_barrier_wait_with", wait_at_barrier_to_act},
    {"brood_condition_wait", wait_for_a_notification},
    {"brood_condition_wait_for", wait_for_a_predicate},
    {"brood_array_get", get_item},
    {"brood_array_set", set_item},
    {"brood_heap_alloc", allocate},
    {"brood_heap_free", free_block},
    {"brood_heap_used", count_used},
};
#define WAITS (sizeof(waits) / sizeof(waits[0]))

/* Holds the recursive lock until told to go. */
static int hold(void *context)
{
    struct scene *scene = context;

    ck_assert_int_eq(brood_rlock_acquire(&scene->rlock, BROOD_FOREVER), 0);
    brood_event_set(&scene->event);
    ck_assert_int_eq(brood_event_wait(&scene->hold, BROOD_FOREVER), 0);
    return brood_rlock_release(&scene->rlock);
}

static int sleep_for_ever(void *context)
{
    (void)context;
    for (;;)
        (void)pause();
    return 0;
}

/* A message too long for the socket's buffer: the rest stays, and nothing more can be sent. */
static void stop_pipe(struct brood_pipe *pipe)
{
    static const char message[8 << 20];

    ck_assert_int_eq(brood_pipe_send(pipe, (struct brood_bytes){message, sizeof(message)}, BROOD_NOW), -EINPROGRESS);
}

static void *new_memory(size_t bytes)
{
    void *memory = NULL;

    ck_assert_int_eq(posix_memalign(&memory, 64, bytes), 0);
    return memset(memory, 0, bytes);
}

static void lock_memory(struct scene *scene)
{
    scene->array = new_memory(brood_array_bytes(1, sizeof(int)));
    ck_assert_int_eq(brood_array_init(scene->array, 1, sizeof(int)), 0);
    ck_assert_int_eq(brood_lock_acquire(brood_array_lock(scene->array), BROOD_NOW), 0);
    scene->heap = new_memory(BROOD_HEAP_BYTES_MIN);
    ck_assert_int_eq(brood_heap_init(scene->heap, BROOD_HEAP_BYTES_MIN), 0);
    ck_assert_int_eq(brood_heap_alloc(scene->heap, 1, &scene->block, BROOD_NOW), 0);
    ck_assert_int_eq(brood_lock_acquire(&scene->heap->lock, BROOD_NOW), 0);
}

static void open_objects(struct scene *scene)
{
    ck_assert_int_eq(brood_semaphore_init(&scene->semaphore, 0, 1), 0);
    ck_assert_int_eq(brood_lock_acquire(&scene->lock, BROOD_NOW), 0);
    ck_assert_int_eq(brood_barrier_init(&scene->barrier, 2), 0);
    ck_assert_int_eq(brood_condition_init(&scene->condition, &scene->notified), 0);
    ck_assert_int_eq(brood_lock_acquire(&scene->notified, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_open(&scene->empty, NULL), 0);
    ck_assert_int_eq(brood_queue_open(&scene->full, BROOD_QUEUE(.bound = 1)), 0);
    ck_assert_int_eq(brood_queue_put(scene->full, (struct brood_bytes){"a", 1}, BROOD_NOW), 0);
    ck_assert_int_eq(brood_queue_open(&scene->full_sorted, BROOD_QUEUE(.kind = BROOD_PRIORITY, .bound = 1)), 0);
    ck_assert_int_eq(brood_queue_put(scene->full_sorted, (struct brood_bytes){"a", 1}, BROOD_NOW), 0);
    ck_assert_int_eq(brood_pipe_open(&scene->stuck, &scene->deaf, BROOD_PIPE_DUPLEX), 0);
    stop_pipe(scene->stuck);
    lock_memory(scene);
    ck_assert_int_eq(brood_timer_start(&scene->timer, BROOD_TIMER(.run = never, .after_ms = 3600000)), 0);
    ck_assert_int_eq(brood_pipe_open(&scene->here, &scene->there, BROOD_PIPE_DUPLEX), 0);
    ck_assert_int_eq(brood_thread_start(&scene->thread, BROOD_THREAD(.run = hold, .context = scene)), 0);
    ck_assert_int_eq(brood_event_wait(&scene->event, BROOD_FOREVER), 0);
    brood_event_clear(&scene->event);
    ck_assert_int_eq(brood_process_start(&scene->process, BROOD_PROCESS(.run = sleep_for_ever)), 0);
}

static void open_scene(struct scene *scene)
{
    static const double argument = 4;
    double x = 3;

    memset(scene, 0, sizeof(*scene));
    ck_assert_int_eq(brood_pool_open(&scene->pool, BROOD_POOL(.workers = 1, .queue = 2)), 0);
    scene->gate = new_gate();
    scene->held = hold_worker(scene->pool, &scene->gate);
    ck_assert_int_eq(brood_apply_async(scene->pool, square, &scene->queued, &x), 0);
    ck_assert_int_eq(brood_future_on_done(scene->queued, ignore, NULL), 0);
    ck_assert_int_eq(brood_promise_open(&scene->promise), 0);
    ck_assert_int_eq(brood_imap(scene->pool, square, &scene->imap, &argument, 1, NULL), 0);
    open_objects(scene);
}

static void close_scene(struct scene *scene)
{
    ck_assert_int_eq(brood_process_kill(scene->process), 0);
    ck_assert_int_eq(brood_process_join(scene->process, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_process_close(scene->process), 0);
    brood_event_set(&scene->hold);
    ck_assert_int_eq(brood_thread_join(scene->thread, BROOD_FOREVER), 0);
    brood_thread_free(scene->thread);
    brood_pipe_free(scene->here);
    brood_pipe_free(scene->there);
    brood_pipe_free(scene->stuck);
    brood_pipe_free(scene->deaf);
    ck_assert_int_eq(brood_timer_cancel(scene->timer), 0);
    ck_assert_int_eq(brood_timer_join(scene->timer, BROOD_FOREVER), 0);
    brood_timer_free(scene->timer);
    free(scene->array);
    free(scene->heap);
    (void)brood_queue_close(scene->empty);
    (void)brood_queue_close(scene->full);
    (void)brood_queue_close(scene->full_sorted);
    ck_assert_int_eq(brood_lock_release(&scene->notified), 0);
    let_through(&scene->gate);
    brood_imap_close(scene->imap);
    ck_assert_int_eq(brood_pool_close(scene->pool, BROOD_FOREVER), 0);
    brood_future_free(scene->held);
    brood_future_free(scene->queued);
    brood_future_free(scene->promise);
}

START_TEST(a_wait_with_no_time_is_eagain_and_one_with_some_is_etimedout)
{
    struct scene scene;

    open_scene(&scene);
    for (size_t i = 0; i < WAITS; i++) {
        int at_once = waits[i].wait(&scene, BROOD_NOW), later = waits[i].wait(&scene, brood_after_ms(5));

        ck_assert_msg(at_once == -EAGAIN, "%s with BROOD_NOW: %d", waits[i].name, at_once);
        ck_assert_msg(later == -ETIMEDOUT, "%s with 5 ms: %d", waits[i].name, later);
        ck_assert_str_ne(brood_error(), "");
    }
    close_scene(&scene);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("now");

    add_tests(suite, "waits", a_wait_with_no_time_is_eagain_and_one_with_some_is_etimedout, NULL);
    return run_suite(suite);
}
