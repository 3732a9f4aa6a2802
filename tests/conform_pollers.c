/* conform_pollers.c - every descriptor of the library that can be polled, in every kind of event loop.
 *
 * With the argument --uring: in loops of io_uring; --libuv: in one of libuv; each where it is there. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#ifdef BROOD_HAVE_URING
#include <liburing.h>
#endif
#ifdef BROOD_HAVE_LIBUV
#include <uv.h>
#endif

#include "pools.h"
#include "support.h"
#include "tasks.h"

#define NEVER_MS 30000 /* what has not happened by then is lost */

/* ---- what is polled ---- */

#define IN_FLIGHT 100
#define TASKS 1000
#define MESSAGES 1000

struct subject {
    int fd;
    struct brood_pool *pool;
    struct brood_future *futures[IN_FLIGHT];
    int submitted;
    _Atomic int called;
    struct brood_process *process;
    struct brood_thread *thread;
    struct brood_pipe *mine, *its;
    pthread_t helper;
    bool has_helper;
    atomic_bool is_let_go; /* the helper that goes on until then */
};

static void start_helper(struct subject *subject, void *(*body)(void *))
{
    ck_assert_int_eq(pthread_create(&subject->helper, NULL, body, subject), 0);
    subject->has_helper = true;
}

static void open_pool_of(struct subject *subject, enum brood_kind kind, enum brood_callbacks callbacks)
{
    ck_assert_msg(brood_pool_open(&subject->pool, BROOD_POOL(.kind = kind, .workers = 2, .callbacks = callbacks)) == 0,
                  "%s", brood_error());
    subject->fd = brood_pool_fd(subject->pool);
    ck_assert_int_ge(subject->fd, 0);
}

static void submit_next(struct subject *subject);

static void count_and_go_on(struct brood_future *future, void *context)
{
    struct subject *subject = context;

    brood_future_free(future);
    subject->called++;
    if (subject->submitted < TASKS)
        submit_next(subject);
}

static void submit_next(struct subject *subject)
{
    struct brood_future *future = NULL;

    subject->submitted++;
    ck_assert_int_eq(brood_apply_async(subject->pool, square, &future, &(double){2}), 0);
    ck_assert_int_eq(brood_future_on_done(future, count_and_go_on, subject), 0);
}

static void submit_with_callbacks(struct subject *subject)
{
    for (int i = 0; i < IN_FLIGHT && subject->submitted < TASKS; i++)
        submit_next(subject); /* some are done at once, and are followed by others */
}

static void open_callbacks_of_threads(struct subject *subject)
{
    open_pool_of(subject, BROOD_THREADS, BROOD_CALLBACK_WAITERS);
    submit_with_callbacks(subject);
}

static void open_callbacks_of_processes(struct subject *subject)
{
    open_pool_of(subject, BROOD_PROCESSES, BROOD_CALLBACK_WAITERS);
    submit_with_callbacks(subject);
}

static void open_callbacks_inline(struct subject *subject)
{
    open_pool_of(subject, BROOD_INLINE, BROOD_CALLBACK_WAITERS);
    submit_with_callbacks(subject);
}

static bool call_what_is_due(struct subject *subject)
{
    int r = brood_pool_run(subject->pool, BROOD_NOW);

    ck_assert(r >= 0 || r == -EAGAIN);
    return subject->called == TASKS;
}

/* Another thread waits in the pool, too, and takes callbacks away from the loop. */
static void *wait_beside(void *argument)
{
    struct subject *subject = argument;
    double y;

    while (!atomic_load(&subject->is_let_go))
        ck_assert_int_eq(brood_apply(subject->pool, square, &y, &(double){2}), 0);
    return NULL;
}

static void count_only(struct brood_future *future, void *context)
{
    (void)future;
    atomic_fetch_add_explicit((_Atomic int *)context, 1, memory_order_relaxed);
}

static void open_callbacks_beside(struct subject *subject)
{
    open_pool_of(subject, BROOD_THREADS, BROOD_CALLBACK_WAITERS);
    start_helper(subject, wait_beside);
    for (int i = 0; i < IN_FLIGHT; i++) {
        ck_assert_int_eq(brood_apply_async(subject->pool, square, &subject->futures[i], &(double){i}), 0);
        ck_assert_int_eq(brood_future_on_done(subject->futures[i], count_only, &subject->called), 0);
    }
}

static bool call_beside(struct subject *subject)
{
    (void)brood_pool_run(subject->pool, BROOD_NOW);
    for (int i = 0; i < IN_FLIGHT; i++)
        if (!brood_future_done(subject->futures[i]))
            return false;
    atomic_store(&subject->is_let_go, true);
    return true;
}

static void open_futures(struct subject *subject)
{
    open_pool_of(subject, BROOD_PROCESSES, BROOD_CALLBACK_THREAD);
    for (int i = 0; i < IN_FLIGHT; i++)
        ck_assert_int_eq(brood_apply_async(subject->pool, square, &subject->futures[i], &(double){i}), 0);
}

static bool look_at_futures(struct subject *subject)
{
    (void)brood_pool_run(subject->pool, BROOD_NOW);
    for (int i = 0; i < IN_FLIGHT; i++)
        if (!brood_future_done(subject->futures[i]))
            return false;
    return true;
}

static void open_future(struct subject *subject)
{
    ck_assert_int_eq(brood_pool_open(&subject->pool, BROOD_POOL(.workers = 1)), 0);
    ck_assert_int_eq(brood_apply_async(subject->pool, square, &subject->futures[0], &(double){3}), 0);
    subject->fd = brood_future_fd(subject->futures[0]);
}

static bool look_at_future(struct subject *subject)
{
    return brood_future_done(subject->futures[0]);
}

static void *keep_promise(void *argument)
{
    struct subject *subject = argument;

    rest();
    ck_assert_int_eq(brood_promise_set_result(subject->futures[0], NULL, 0), 0);
    return NULL;
}

static void open_promise(struct subject *subject)
{
    ck_assert_int_eq(brood_promise_open(&subject->futures[0]), 0);
    subject->fd = brood_future_fd(subject->futures[0]);
    start_helper(subject, keep_promise);
}

static int sleep_a_little(void *context)
{
    (void)context;
    rest();
    return 0;
}

static void open_process(struct subject *subject)
{
    ck_assert_int_eq(brood_process_start(&subject->process, BROOD_PROCESS(.run = sleep_a_little)), 0);
    subject->fd = brood_process_sentinel(subject->process);
}

static bool look_at_process(struct subject *subject)
{
    return brood_process_is_alive(subject->process) == 0;
}

static void open_thread(struct subject *subject)
{
    ck_assert_int_eq(brood_thread_start(&subject->thread, BROOD_THREAD(.run = sleep_a_little)), 0);
    subject->fd = brood_thread_sentinel(subject->thread);
}

static bool look_at_thread(struct subject *subject)
{
    return brood_thread_is_alive(subject->thread) == 0;
}

/* Of lengths that come in one piece, and in several. */
static void *send_messages(void *argument)
{
    static char text[100000];
    struct subject *subject = argument;

    for (int i = 0; i < MESSAGES; i++) {
        size_t length = i % 100 == 99 ? sizeof(text) : (size_t)i;

        ck_assert_int_eq(brood_pipe_send(subject->its, (struct brood_bytes){text, length}, BROOD_FOREVER), 0);
        if (i % 50 == 0)
            rest();
    }
    brood_pipe_free(subject->its);
    subject->its = NULL;
    return NULL;
}

static void open_pipe(struct subject *subject)
{
    ck_assert_int_eq(brood_pipe_open(&subject->mine, &subject->its, BROOD_PIPE_ONE_WAY), 0);
    subject->fd = brood_pipe_fd(subject->mine);
    start_helper(subject, send_messages);
}

/* All that is there; the end comes last. */
static bool receive(struct subject *subject)
{
    static char text[100000];
    int r;

    do {
        struct brood_space room = {text, sizeof(text)};

        r = brood_pipe_recv(subject->mine, &room, BROOD_NOW);
        subject->called += r == 0;
    } while (r == 0);
    ck_assert(r == -EAGAIN || r == -EPIPE);
    if (r == -EPIPE)
        ck_assert_int_eq(subject->called, MESSAGES);
    return r == -EPIPE;
}

static const struct kind {
    const char *name;
    void (*open)(struct subject *subject);
    bool (*look)(struct subject *subject); /* true: it was the last */
    int repetitions;
    bool has_processes;
} kinds[] = {
    {"an inline pool with callbacks", open_callbacks_inline, call_what_is_due, 2, false},
    {"a pool of threads with callbacks", open_callbacks_of_threads, call_what_is_due, 10, false},
    {"a pool of threads in which another thread waits", open_callbacks_beside, call_beside, 10, false},
    {"a promise", open_promise, look_at_future, 5, false},
    {"a thread", open_thread, look_at_thread, 5, false},
    {"a pipe", open_pipe, receive, 2, false},
    {"a pool of processes with callbacks", open_callbacks_of_processes, call_what_is_due, 10, true},
    {"a pool of processes with futures", open_futures, look_at_futures, 5, true},
    {"a future", open_future, look_at_future, 5, true},
    {"a process", open_process, look_at_process, 5, true},
};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

static void close_subject(struct subject *subject)
{
    if (subject->has_helper)
        ck_assert_int_eq(pthread_join(subject->helper, NULL), 0);
    for (int i = 0; i < IN_FLIGHT; i++)
        brood_future_free(subject->futures[i]);
    ck_assert_int_eq(brood_pool_close(subject->pool, BROOD_FOREVER), 0);
    if (subject->process)
        ck_assert_int_eq(brood_process_close(subject->process), 0);
    brood_thread_free(subject->thread);
    brood_pipe_free(subject->mine);
    brood_pipe_free(subject->its);
}

/* ---- loops ---- */

struct run {
    struct subject subject;
    const struct kind *kind;
    const char *loop;
    bool is_over;
};

/* What the loop does when the descriptor is ready. */
static void be_ready(struct run *run)
{
    run->is_over = run->kind->look(&run->subject);
}

static void expect_event(const struct run *run, bool came)
{
    ck_assert_msg(came, "%s: %s: what has happened was not told", run->kind->name, run->loop);
}

static void loop_poll(struct run *run)
{
    struct pollfd watched = {.fd = run->subject.fd, .events = POLLIN};

    while (!run->is_over) {
        expect_event(run, poll(&watched, 1, NEVER_MS) == 1);
        be_ready(run);
    }
}

static void loop_select(struct run *run)
{
    while (!run->is_over) {
        struct timeval timeout = {.tv_sec = NEVER_MS / 1000};
        fd_set set;

        FD_ZERO(&set);
        FD_SET(run->subject.fd, &set);
        expect_event(run, select(run->subject.fd + 1, &set, NULL, NULL, &timeout) == 1);
        be_ready(run);
    }
}

static void loop_epoll(struct run *run, uint32_t flags)
{
    struct epoll_event event = {.events = EPOLLIN | flags};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, run->subject.fd, &event), 0);
    while (!run->is_over) {
        expect_event(run, epoll_wait(epoll, &event, 1, NEVER_MS) == 1);
        be_ready(run);
        event.events = EPOLLIN | flags;
        if (flags & EPOLLONESHOT)
            ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_MOD, run->subject.fd, &event), 0);
    }
    close(epoll);
}

static void loop_level(struct run *run)
{
    loop_epoll(run, 0);
}

static void loop_edge(struct run *run)
{
    loop_epoll(run, EPOLLET);
}

static void loop_oneshot(struct run *run)
{
    loop_epoll(run, EPOLLONESHOT);
}

static void loop_edge_oneshot(struct run *run)
{
    loop_epoll(run, EPOLLET | EPOLLONESHOT);
}

static void loop_brood_wait(struct run *run)
{
    struct brood_waited thing = BROOD_WAIT_FD(run->subject.fd);

    while (!run->is_over) {
        expect_event(run, brood_wait(&thing, 1, NULL, brood_after_ms(NEVER_MS)) == 1);
        be_ready(run);
    }
}

struct loop {
    const char *name;
    void (*run)(struct run *run);
};

static const struct loop plain[] = {
    {"poll", loop_poll},
    {"select", loop_select},
    {"epoll, level-triggered", loop_level},
    {"epoll, edge-triggered", loop_edge},
    {"epoll, one-shot", loop_oneshot},
    {"epoll, edge-triggered and one-shot", loop_edge_oneshot},
    {"brood_wait", loop_brood_wait},
};

static void run_loop(const struct loop *loop, const struct kind *kind)
{
    for (int i = 0; i < kind->repetitions; i++) {
        struct run run = {.kind = kind, .loop = loop->name};

        kind->open(&run.subject);
        ck_assert_int_ge(run.subject.fd, 0);
        loop->run(&run);
        close_subject(&run.subject);
    }
}

START_TEST(every_descriptor_wakes_a_loop_of_poll_select_and_epoll)
{
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        run_loop(&plain[i], &kinds[_i]);
}
END_TEST

#ifdef BROOD_HAVE_URING
static void loop_uring(struct run *run, bool is_multishot)
{
    struct __kernel_timespec timeout = {.tv_sec = NEVER_MS / 1000};
    struct io_uring_cqe *cqe;
    struct io_uring ring;
    bool is_armed = false;

    ck_assert_int_eq(io_uring_queue_init(8, &ring, 0), 0);
    while (!run->is_over) {
        if (!is_armed) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

            if (is_multishot)
                io_uring_prep_poll_multishot(sqe, run->subject.fd, POLLIN);
            else
                io_uring_prep_poll_add(sqe, run->subject.fd, POLLIN);
            ck_assert_int_eq(io_uring_submit(&ring), 1);
        }
        int r;

        while ((r = io_uring_wait_cqe_timeout(&ring, &cqe, &timeout)) == -EINTR)
            ;
        expect_event(run, r == 0 && cqe->res > 0);
        is_armed = cqe->flags & IORING_CQE_F_MORE;
        io_uring_cqe_seen(&ring, cqe);
        be_ready(run);
    }
    io_uring_queue_exit(&ring);
}

static void loop_uring_single(struct run *run)
{
    loop_uring(run, false);
}

static void loop_uring_multishot(struct run *run)
{
    loop_uring(run, true);
}

START_TEST(every_descriptor_wakes_a_loop_of_io_uring)
{
    run_loop(&(struct loop){"io_uring, a poll each time", loop_uring_single}, &kinds[_i]);
    run_loop(&(struct loop){"io_uring, multishot", loop_uring_multishot}, &kinds[_i]);
}
END_TEST

static bool has_uring(void)
{
    struct io_uring ring;
    int r = io_uring_queue_init(8, &ring, 0);

    if (r == 0)
        io_uring_queue_exit(&ring);
    else
        (void)fprintf(stderr, "skipped: no io_uring here: %s\n", strerror(-r));
    return r == 0;
}

static void add_uring(Suite *suite)
{
    add_loop_tests(suite, "io_uring", 0, KINDS, every_descriptor_wakes_a_loop_of_io_uring, NULL);
}
#else
static bool has_uring(void)
{
    (void)fprintf(stderr, "skipped: built without liburing\n");
    return false;
}

static void add_uring(Suite *suite)
{
    (void)suite;
}
#endif

#ifdef BROOD_HAVE_LIBUV
static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct run *run = handle->data;

    ck_assert(status == 0 && events & UV_READABLE);
    be_ready(run);
    if (run->is_over)
        uv_stop(handle->loop);
}

static void on_timeout(uv_timer_t *timer)
{
    expect_event(timer->data, false);
}

static void loop_libuv(struct run *run)
{
    uv_loop_t loop;
    uv_poll_t handle;
    uv_timer_t timer;

    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(uv_poll_init(&loop, &handle, run->subject.fd), 0);
    ck_assert_int_eq(uv_timer_init(&loop, &timer), 0);
    handle.data = timer.data = run;
    ck_assert_int_eq(uv_poll_start(&handle, UV_READABLE, on_readable), 0);
    ck_assert_int_eq(uv_timer_start(&timer, on_timeout, NEVER_MS, 0), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&handle, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

START_TEST(every_descriptor_wakes_a_loop_of_libuv)
{
    run_loop(&(struct loop){"libuv", loop_libuv}, &kinds[_i]);
}
END_TEST

/* The first loop of a process opens descriptors that libuv keeps: before a test counts those that there are. */
static bool has_libuv(void)
{
    uv_loop_t loop;

    return uv_loop_init(&loop) == 0 && uv_loop_close(&loop) == 0;
}

static void add_libuv(Suite *suite)
{
    add_loop_tests(suite, "libuv", 0, KINDS, every_descriptor_wakes_a_loop_of_libuv, NULL);
}
#else
static bool has_libuv(void)
{
    (void)fprintf(stderr, "skipped: built without libuv\n");
    return false;
}

static void add_libuv(Suite *suite)
{
    (void)suite;
}
#endif

/* "threads": only the descriptors behind which no other process is, for the thread sanitizer. */
static void add_plain(Suite *suite, bool without_processes)
{
    for (int i = 0; i < KINDS; i++)
        if (!kinds[i].has_processes || !without_processes)
            add_loop_tests(suite, kinds[i].name, i, i + 1, every_descriptor_wakes_a_loop_of_poll_select_and_epoll, NULL);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    Suite *suite = suite_create("pollers");

    if (strcmp(what, "--uring") == 0) {
        if (!has_uring())
            return 77;
        add_uring(suite);
    } else if (strcmp(what, "--libuv") == 0) {
        if (!has_libuv())
            return 77;
        add_libuv(suite);
    } else
        add_plain(suite, strcmp(what, "threads") == 0);
    return run_suite(suite);
}
