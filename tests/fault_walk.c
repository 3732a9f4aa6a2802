/* fault_walk.c - what becomes of a pool when one call to the system fails: every call that brood makes, one at a time.
 *
 * The calls are wrapped by the linker (--wrap, see CMakeLists.txt).  A page that host, supervisor and workers share counts
 * them by the role of the caller.  The n-th of a kind fails, n = 1, 2, 3 … until a pool lives and ends without meeting it.
 * Each life ends in success or in an error that says what failed, in time, and leaves nothing behind; the last one of a
 * walk, which meets no fault, must succeed: those before it have done no harm.
 *
 * FAULT_WALK_SHOW=1 in the environment prints what each fault led to.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood/worker.h>

#include "os/error.h"
#include "support.h"
#include "tasks.h"
#include "worker/worker.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

struct io_uring;
struct io_uring_params;
struct __kernel_timespec;
struct io_uring_cqe;

/* Longer than any life should take, and shorter than the 30 s that an open waits for its workers. */
#define LIFE_S 28
#define LIFE_MS_MAX 25000

/* ---- the calls ---- */

/* X(type, name, parameters, arguments, what it returns when it fails with `error`) */
#define LIBC_CALLS(X)                                                                                                  \
    X(pid_t, fork, (void), (), -1)                                                                                     \
    X(void *, mmap, (void *a, size_t n, int p, int f, int d, off_t o), (a, n, p, f, d, o), MAP_FAILED)                 \
    X(int, madvise, (void *a, size_t n, int v), (a, n, v), -1)                                                         \
    X(int, open, (const char *p, int f, mode_t m), (p, f, m), -1)                                                      \
    X(int, shm_open, (const char *n, int f, mode_t m), (n, f, m), -1)                                                  \
    X(int, memfd_create, (const char *n, unsigned f), (n, f), -1)                                                      \
    X(int, ftruncate, (int d, off_t n), (d, n), -1)                                                                    \
    X(int, posix_fallocate, (int d, off_t o, off_t n), (d, o, n), error)                                               \
    X(int, socketpair, (int d, int t, int p, int e[2]), (d, t, p, e), -1)                                              \
    X(int, pipe2, (int e[2], int f), (e, f), -1)                                                                       \
    X(ssize_t, send, (int d, const void *b, size_t n, int f), (d, b, n, f), -1)                                        \
    X(ssize_t, recv, (int d, void *b, size_t n, int f), (d, b, n, f), -1)                                              \
    X(ssize_t, read, (int d, void *b, size_t n), (d, b, n), -1)                                                        \
    X(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), -1)                                                 \
    X(ssize_t, pread, (int d, void *b, size_t n, off_t o), (d, b, n, o), -1)                                           \
    X(int, fstat, (int d, struct stat *s), (d, s), -1)                                                                 \
    X(int, ioctl, (int d, unsigned long r, void *a), (d, r, a), -1)                                                    \
    X(int, fcntl, (int d, int c, long a), (d, c, a), -1)                                                               \
    X(int, close_range, (unsigned a, unsigned b, int f), (a, b, f), -1)                                                \
    X(int, dup2, (int a, int b), (a, b), -1)                                                                           \
    X(int, poll, (struct pollfd * p, nfds_t n, int t), (p, n, t), -1)                                                  \
    X(int, ppoll, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *s), (p, n, t, s), -1)        \
    X(int, epoll_create1, (int f), (f), -1)                                                                            \
    X(int, epoll_ctl, (int d, int o, int w, struct epoll_event *e), (d, o, w, e), -1)                                  \
    X(int, epoll_wait, (int d, struct epoll_event *e, int n, int t), (d, e, n, t), -1)                                 \
    X(int, prctl, (int o, unsigned long a), (o, a), -1)                                                                \
    X(int, setpgid, (pid_t p, pid_t g), (p, g), -1)                                                                    \
    X(int, setenv, (const char *n, const char *v, int o), (n, v, o), -1)                                               \
    X(int, execvp, (const char *f, char *const *a), (f, a), -1)                                                        \
    X(int, timer_create, (clockid_t c, struct sigevent * e, timer_t * t), (c, e, t), -1)                               \
    X(FILE *, fopen, (const char *p, const char *m), (p, m), NULL)                                                     \
    X(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*f)(void *), void *p), (t, a, f, p), error) \
    X(void *, malloc, (size_t n), (n), NULL)                                                                           \
    X(void *, calloc, (size_t n, size_t m), (n, m), NULL)                                                              \
    X(void *, realloc, (void *a, size_t n), (a, n), NULL)                                                              \
    X(void *, reallocarray, (void *a, size_t n, size_t m), (a, n, m), NULL)                                            \
    X(void *, aligned_alloc, (size_t a, size_t n), (a, n), NULL)                                                       \
    X(int, eventfd, (unsigned c, int f), (c, f), -1)                                                                   \
    X(char *, strndup, (const char *s, size_t n), (s, n), NULL)                                                        \
    X(char *, strdup, (const char *s), (s), NULL)

#ifdef BROOD_HAVE_URING
#define URING_CALLS(X)                                                                                                 \
    X(int, io_uring_queue_init_params, (unsigned n, struct io_uring *r, struct io_uring_params *p), (n, r, p), -error) \
    X(int, io_uring_ring_dontfork, (struct io_uring * r), (r), -error)                                                 \
    X(int, io_uring_get_events, (struct io_uring * r), (r), -error)                                                    \
    X(int, io_uring_submit_and_get_events, (struct io_uring * r), (r), -error)                                         \
    X(int, io_uring_submit_and_wait_timeout,                                                                           \
      (struct io_uring * r, struct io_uring_cqe * *c, unsigned n, struct __kernel_timespec *t, sigset_t *s),           \
      (r, c, n, t, s), -error)
#else
#define URING_CALLS(X)
#endif

/* What syscall() is used for. */
#define RAW_CALLS(X) X(waitid) X(membarrier) X(pidfd_open) X(pidfd_send_signal) X(futex) X(futex_waitv) X(set_robust_list)

#define NUMBER_OF_RAW(name) CALL_##name,
#define NUMBER_OF(type, name, ...) CALL_##name,
enum call { CALL_none, LIBC_CALLS(NUMBER_OF) URING_CALLS(NUMBER_OF) RAW_CALLS(NUMBER_OF_RAW) CALLS };

#define NAME_OF_RAW(name) [CALL_##name] = #name,
#define NAME_OF(type, name, ...) [CALL_##name] = #name,
static const char *const names[CALLS] = {LIBC_CALLS(NAME_OF) URING_CALLS(NAME_OF) RAW_CALLS(NAME_OF_RAW)};

/* ---- the page ---- */

enum role { HOST, SUPERVISOR, WORKER, ROLES };
static const char *const role_names[ROLES] = {"host", "supervisor", "worker"};

struct fault {
    enum call call;
    int error;
    enum call also[2]; /* always fail, so that the other is called at all */
};

/* Written by the test while no pool is open, but for the counts. */
struct page {
    bool is_armed, for_ever;
    pid_t host;
    struct fault fault;
    enum role role;
    uint32_t nth;
    _Atomic uint32_t calls[ROLES][CALLS], struck;
    uint32_t met[2 * CALLS]; /* by fault, in all walks */
};

static struct page *page;

static enum role role_of_caller(void)
{
    if (getpid() == page->host)
        return HOST;
    return getppid() == page->host ? SUPERVISOR : WORKER;
}

/* The error that this call shall end with, or 0. */
static int strike(enum call call)
{
    if (!page || !page->is_armed)
        return 0;
    const struct fault *fault = &page->fault;
    enum role role = role_of_caller();
    uint32_t n = atomic_fetch_add(&page->calls[role][call], 1) + 1;
    if (call != CALL_none && (call == fault->also[0] || call == fault->also[1]))
        return EACCES;
    if (call != fault->call || role != page->role || n < page->nth || (n > page->nth && !page->for_ever))
        return 0;
    atomic_fetch_add(&page->struck, 1);
    return fault->error;
}

/* (Where libc has `...`, parameters that are always passed do: they travel in the same registers.) */
#define WRAP(type, name, parameters, arguments, failed) \
    type __real_##name parameters;                      \
    type __wrap_##name parameters;                      \
    type __wrap_##name parameters                       \
    {                                                   \
        int error = strike(CALL_##name);                \
                                                        \
        if (error == 0)                                 \
            return __real_##name arguments;             \
        errno = error;                                  \
        return failed;                                  \
    }

LIBC_CALLS(WRAP)
URING_CALLS(WRAP)

/* A wake-up cannot fail; a wait can. */
static enum call raw_call(long number, long operation)
{
#define CASE(name)   \
    case SYS_##name: \
        return CALL_##name;
    if (number == SYS_futex && operation != FUTEX_WAIT_BITSET)
        return CALL_none;
    switch (number) {
        RAW_CALLS(CASE)
    default:
        return CALL_none;
    }
}

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    int error = strike(raw_call(number, b));

    if (error == 0)
        return __real_syscall(number, a, b, c, d, e, f);
    errno = error;
    return -1;
}

/* ---- the faults ---- */

static const struct fault faults[] = {
    {CALL_fork, EAGAIN, {0}},
    {CALL_mmap, ENOMEM, {0}},
    {CALL_madvise, EINVAL, {0}},
    {CALL_open, EMFILE, {0}},
    {CALL_shm_open, EMFILE, {CALL_memfd_create, CALL_open}},
    {CALL_memfd_create, EMFILE, {0}},
    {CALL_ftruncate, EFBIG, {0}},
    {CALL_posix_fallocate, ENOSPC, {0}},
    {CALL_posix_fallocate, EINTR, {0}},
    {CALL_socketpair, EMFILE, {0}},
    {CALL_pipe2, EMFILE, {0}},
    {CALL_send, ENOBUFS, {0}},
    {CALL_recv, ENOMEM, {0}},
    {CALL_read, EIO, {0}},
    {CALL_read, EINTR, {0}},
    {CALL_write, EIO, {0}},
    {CALL_write, EINTR, {0}},
    {CALL_pread, EIO, {0}},
    {CALL_pread, EINTR, {0}},
    {CALL_fstat, EIO, {0}},
    {CALL_ioctl, ENOTTY, {0}},
    {CALL_fcntl, EMFILE, {0}},
    {CALL_close_range, ENOSYS, {0}},
    {CALL_dup2, EMFILE, {0}},
    {CALL_poll, ENOMEM, {0}},
    {CALL_poll, EINTR, {0}},
    {CALL_ppoll, ENOMEM, {0}},
    {CALL_ppoll, EINTR, {0}},
    {CALL_epoll_create1, EMFILE, {0}},
    {CALL_epoll_ctl, ENOSPC, {0}},
    {CALL_epoll_wait, EINTR, {0}},
    {CALL_prctl, EPERM, {0}},
    {CALL_setpgid, EPERM, {0}},
    {CALL_setenv, ENOMEM, {0}},
    {CALL_execvp, ENOMEM, {0}},
    {CALL_waitid, EINTR, {0}},
    {CALL_waitid, ECHILD, {0}},
    {CALL_timer_create, EAGAIN, {0}},
    {CALL_fopen, EMFILE, {0}},
    {CALL_pthread_create, EAGAIN, {0}},
    {CALL_malloc, ENOMEM, {0}},
    {CALL_calloc, ENOMEM, {0}},
    {CALL_realloc, ENOMEM, {0}},
    {CALL_reallocarray, ENOMEM, {0}},
    {CALL_aligned_alloc, ENOMEM, {0}},
    {CALL_eventfd, EMFILE, {0}},
    {CALL_strndup, ENOMEM, {0}},
    {CALL_strdup, ENOMEM, {0}},
#ifdef BROOD_HAVE_URING
    {CALL_io_uring_queue_init_params, ENOMEM, {0}},
    {CALL_io_uring_ring_dontfork, ENOMEM, {0}},
    {CALL_io_uring_get_events, EPERM, {0}},
    {CALL_io_uring_submit_and_get_events, EINTR, {0}},
    {CALL_io_uring_submit_and_wait_timeout, ENOMEM, {0}},
    {CALL_io_uring_submit_and_wait_timeout, EINTR, {0}},
#endif
    {CALL_membarrier, EPERM, {0}},
    {CALL_pidfd_open, EMFILE, {0}},
    {CALL_pidfd_send_signal, EPERM, {0}},
    {CALL_futex, EINTR, {0}},
    {CALL_futex, ENOMEM, {0}},
    {CALL_set_robust_list, ENOSYS, {0}},
    {CALL_futex_waitv, ENOMEM, {0}},
    {CALL_futex_waitv, ENOSYS, {0}}, /* last: it is not called again */
};

#define FAULTS (sizeof(faults) / sizeof(faults[0]))
_Static_assert(FAULTS <= 2 * CALLS, "the page has room");

/* ---- the life of a pool ---- */

static const struct variant {
    const char *name, *poller;
    enum brood_kind kind;
    bool is_exec, closes_at_once;
    int spares;
    enum brood_output output;
    bool attends;
} variants[] = {
    {"processes", "", BROOD_PROCESSES, false, true, 0, BROOD_OUTPUT_PASS, false},
    {"processes, epoll", "epoll", BROOD_PROCESSES, false, false, 0, BROOD_OUTPUT_CAPTURE, false},
    {"processes, poll", "poll", BROOD_PROCESSES, false, false, 1, BROOD_OUTPUT_PREFIX, false},
    {"executables", "", BROOD_PROCESSES, true, false, 0, BROOD_OUTPUT_PASS, false},
    {"executables, spares", "", BROOD_PROCESSES, true, true, 1, BROOD_OUTPUT_CAPTURE, false},
    {"threads", "", BROOD_THREADS, false, false, 0, BROOD_OUTPUT_PASS, true},
};

#define VARIANTS (int)(sizeof(variants) / sizeof(variants[0]))

/* The first call that has failed. */
struct ending {
    const char *step; /* NULL: none has */
    int result;
    char words[256];
};

static int record_step(struct ending *ending, const char *step, int r)
{
    if (r < 0 && !ending->step) {
        ending->step = step;
        ending->result = r;
        (void)snprintf(ending->words, sizeof(ending->words), "%s", brood_error());
    }
    brood__error_clear();
    return r;
}

static int wait_and_take(struct brood_future *future, void *ret_result, size_t size)
{
    int r = brood_future_wait(future, BROOD_FOREVER);

    if (r == 0)
        r = brood_future_result(future, ret_result, size);
    brood_future_free(future);
    return r;
}

enum { ITEMS = 200, LONG = 100000 };

/* A wrong result is worse than any error. */
static int check_that(bool holds)
{
    return holds ? 0 : brood_fail(-ENOTRECOVERABLE, "the result is wrong");
}

static int map_squares(struct brood_pool *pool)
{
    double in[ITEMS], out[ITEMS];
    int r;

    for (int i = 0; i < ITEMS; i++)
        in[i] = i;
    r = brood_map(pool, square, out, in, ITEMS);
    for (int i = 0; i < ITEMS && r == 0; i++)
        r = check_that(out[i] == in[i] * in[i]);
    return r;
}

/* More than a slot holds, and more than the heap has at first. */
static int reverse_much(struct brood_pool *pool)
{
    static unsigned char in[LONG], out[LONG];
    struct brood_space space = {out, sizeof(out)};
    int r;

    in[0] = 'x';
    out[LONG - 1] = 0;
    r = brood_apply_bytes(pool, reverse, &space, (struct brood_bytes){in, sizeof(in)});
    return r == 0 ? check_that(space.len == LONG && out[LONG - 1] == 'x') : r;
}

static int rotate_later(struct brood_pool *pool)
{
    struct brood_future *future;
    struct block in = {.bytes = "x"}, out;
    int r = brood_apply_async(pool, rotate, &future, &in);

    if (r == 0)
        r = wait_and_take(future, &out, sizeof(out));
    return r == 0 ? check_that(out.bytes[1] == 'x') : r;
}

static int as_it_shall(int expected, int r)
{
    return r == expected ? 0 : r;
}

/* The second of these items kills its worker, and nothing is known of it alone. */
static int lose_an_item(struct brood_pool *pool)
{
    int in[] = {1, 97, 2}, out[] = {0, 0, 0};
    struct brood_future *map;
    int r = brood_map_async(pool, die_if_divisible, &map, out, in, 3);

    if (r < 0)
        return r;
    r = brood_future_wait(map, BROOD_FOREVER);
    if (r == 0)
        r = as_it_shall(-EOWNERDEAD, brood_future_item(map, 1));
    for (size_t i = 0; i < 3 && r == 0; i += 2)
        r = brood_future_item(map, i);
    brood_future_free(map);
    return r;
}

/* With a task that does not end. */
static int close_at_once(struct brood_pool *pool)
{
    struct brood_future *stuck = NULL;
    int r = brood_apply_async(pool, hang, &stuck, &(int){0}), closed = brood_pool_close(pool, BROOD_NOW);

    if (r == 0)
        r = as_it_shall(-ESHUTDOWN, wait_and_take(stuck, &(int){0}, sizeof(int)));
    return r < 0 ? r : as_it_shall(-ETIMEDOUT, closed);
}

static void count_call(struct brood_future *future, void *called)
{
    (void)future;
    ++*(int *)called;
}

enum { FUTURES = 4 };

static int take_all(struct brood_future **futures)
{
    struct brood_as_completed *iterator = NULL;
    struct brood_future *next;
    int r = brood_as_completed_open(&iterator, futures, FUTURES);

    for (int i = 0; r == 0 && i < FUTURES; i++)
        r = brood_as_completed_next(iterator, &next, BROOD_FOREVER);
    brood_as_completed_close(iterator);
    if (r == 0)
        r = brood_futures_wait(futures, FUTURES, BROOD_ALL_COMPLETED, NULL, BROOD_FOREVER);
    return r < 0 ? r : check_that(r == FUTURES);
}

static int attend(struct brood_pool *pool, struct brood_future **futures, int *called)
{
    unsigned char bytes[100] = {0};
    int r = brood_promise_open(&futures[0]);

    for (int i = 1; r == 0 && i < FUTURES; i++)
        r = brood_apply_async(pool, square, &futures[i], &(double){i});
    if (r == 0)
        r = brood_future_on_done(futures[1], count_call, called);
    if (r == 0)
        r = brood_pool_fd(pool);
    if (r >= 0)
        r = brood_future_fd(futures[2]);
    if (r >= 0)
        r = brood_promise_set_result(futures[0], bytes, sizeof(bytes));
    return r < 0 ? r : take_all(futures);
}

/* Several futures, a promise, callbacks and descriptors. */
static int wait_in_every_way(struct brood_pool *pool)
{
    static int called; /* after a fault, by the pool's close, which comes later */
    struct brood_future *futures[FUTURES] = {NULL};
    bool is_set;
    int r;

    called = 0;
    r = attend(pool, futures, &called);
    is_set = futures[1] && r == 0;

    for (int i = 0; i < FUTURES; i++)
        brood_future_free(futures[i]);
    return is_set ? check_that(called == 1) : r;
}

static void live(const struct variant *variant, struct ending *ending)
{
    struct brood_pool *pool = NULL;
    double y;

    *ending = (struct ending){0};
    brood__error_clear();
    if (record_step(ending, "open",
                    brood_pool_open(&pool, BROOD_POOL(.kind = variant->kind, .workers = 2, .memory_bytes = 64 << 20,
                                                      .spares = variant->spares, .output = variant->output,
                                                      .worker = variant->is_exec ? "/proc/self/exe" : NULL))) < 0)
        return;
    (void)record_step(ending, "apply", brood_apply(pool, square, &y, &(double){3}));
    (void)record_step(ending, "refusal", as_it_shall(-EDOM, brood_apply(pool, refuse_odd, &(int){0}, &(int){3})));
    (void)record_step(ending, "apply_async", rotate_later(pool));
    (void)record_step(ending, "bytes", reverse_much(pool));
    (void)record_step(ending, "map", map_squares(pool));
    if (variant->kind == BROOD_PROCESSES)
        (void)record_step(ending, "death", as_it_shall(-EOWNERDEAD, brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL})));
    if (variant->kind == BROOD_PROCESSES)
        (void)record_step(ending, "death in a map", lose_an_item(pool));
    (void)record_step(ending, "map after death", map_squares(pool));
    if (variant->attends)
        (void)record_step(ending, "attend", wait_in_every_way(pool));
    if (variant->closes_at_once)
        (void)record_step(ending, "close at once", close_at_once(pool));
    else
        (void)record_step(ending, "close", brood_pool_close(pool, BROOD_FOREVER));
}

/* ---- the walk ---- */

static char where[128]; /* which process walks, and where */

static void say_stuck(int signal)
{
    static const char words[] = ": does not end\n";

    (void)signal;
    if (write(STDERR_FILENO, where, strlen(where)) < 0 || write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
        _exit(2);
    _exit(2);
}

static void arm(const struct fault *fault, enum role role, uint32_t nth, bool for_ever)
{
    memset((void *)page->calls, 0, sizeof(page->calls));
    page->fault = *fault;
    page->role = role;
    page->nth = nth;
    page->for_ever = for_ever;
    page->struck = 0;
    page->host = getpid();
    page->is_armed = true;
}

static bool is_documented(const struct ending *ending, const struct fault *fault)
{
    static const int at_open[] = {-ECHILD, 0}, at_work[] = {-ESHUTDOWN, -EOWNERDEAD, 0}, at_close[] = {-ETIMEDOUT, 0};
    const int *documented = at_work;

    if (strcmp(ending->step, "open") == 0)
        documented = at_open;
    else if (strcmp(ending->step, "close") == 0)
        documented = at_close;
    for (; *documented; documented++)
        if (ending->result == *documented)
            return true;
    return ending->result == -fault->error;
}

static void show(const struct ending *ending, int64_t took_ms)
{
    if (!getenv("FAULT_WALK_SHOW"))
        return;
    (void)printf("%s: %s %s (%lld ms)\n", where, ending->step ? ending->step : "success", ending->words,
                 (long long)took_ms);
    (void)fflush(stdout);
}

static int violations;

static void expect(bool holds, const struct ending *ending, const char *else_what)
{
    if (holds)
        return;
    violations++;
    (void)fprintf(stderr, "%s: %s %d '%s': %s\n", where, ending->step ? ending->step : "success", ending->result,
                  ending->words, else_what);
}

/* False: the life went by without the fault. */
static bool live_with(const struct variant *variant, const struct fault *fault, enum role role, uint32_t nth, bool for_ever)
{
    struct ending ending;
    char left[256];
    int64_t began = now_ms(), took_ms;

    (void)snprintf(where, sizeof(where), "%s: %s's %s %u%s: %s", variant->name, role_names[role], names[fault->call], nth,
                   for_ever ? " and later" : "", strerrorname_np(fault->error));
    (void)alarm(LIFE_S);
    arm(fault, role, nth, for_ever);
    live(variant, &ending);
    page->is_armed = false;
    (void)alarm(0);
    took_ms = now_ms() - began;
    show(&ending, took_ms);
    expect(is_clean(left, sizeof(left)), &ending, left);
    expect(took_ms < LIFE_MS_MAX, &ending, "took too long");
    expect(!ending.step || page->struck > 0, &ending, "there was no fault");
    expect(!ending.step || ending.words[0], &ending, "no words");
    expect(!ending.step || is_documented(&ending, fault), &ending, "an error that is not documented");
    return page->struck > 0;
}

static void walk(const struct variant *variant, const struct fault *fault, enum role role)
{
    uint32_t nth = 1;

    while (live_with(variant, fault, role, nth, false))
        nth++;
    page->met[fault - faults] += nth - 1;
    if (nth > 1 && fault->error != EINTR) /* no signal comes for ever */
        (void)live_with(variant, fault, role, 1, true);
}

static void prepare(const struct variant *variant)
{
    ck_assert(signal(SIGALRM, say_stuck) != SIG_ERR);
    ck_assert_int_eq(setenv("BROOD_POLLER", variant->poller, 1), 0);
}

START_TEST(every_fault_ends_in_an_answer)
{
    const struct variant *variant = &variants[_i];
    uint32_t calls[ROLES][CALLS];
    bool other_poller = variant->poller[0] != '\0';

    prepare(variant);
    (void)live_with(variant, &(struct fault){0}, HOST, 1, false);
    memcpy(calls, (void *)page->calls, sizeof(calls));
    for (size_t i = 0; i < FAULTS; i++)
        for (enum role role = other_poller ? SUPERVISOR : HOST; role < (other_poller ? WORKER : ROLES); role++)
            if (calls[role][faults[i].call] > 0 || faults[i].also[0])
                walk(variant, &faults[i], role);
    ck_assert_int_eq(violations, 0);
}
END_TEST

/* A sandbox may refuse io_uring, or show no cgroups. */
static bool may_be_missing(enum call call)
{
    return strncmp(names[call], "io_uring", strlen("io_uring")) == 0 || call == CALL_strdup;
}

/* A fault that is never met would be a line of the table that tests nothing. */
START_TEST(every_fault_of_the_table_was_met)
{
    for (size_t i = 0; i < FAULTS; i++)
        ck_assert_msg(page->met[i] > 0 || may_be_missing(faults[i].call), "%s: %s", names[faults[i].call],
                      strerrorname_np(faults[i].error));
}
END_TEST

/* ---- the page, for all processes ---- */

#define PAGE_ENVIRONMENT "FAULT_WALK_PAGE"

static void open_page(void)
{
    int fd = memfd_create("faults", MFD_CLOEXEC);
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
    if (fd >= 0 && ftruncate(fd, sizeof(*page)) == 0 && setenv(PAGE_ENVIRONMENT, path, 1) == 0)
        page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* In an executable that a supervisor has started. */
static void attach_page(void)
{
    const char *path = getenv(PAGE_ENVIRONMENT);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC, 0) : -1;

    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        page = NULL;
    (void)close(fd);
}

int main(int argc, char **argv)
{
    if (getenv(WORKER_ENVIRONMENT)) {
        attach_page();
        return brood_worker_main(argc, argv);
    }
    Suite *suite = suite_create("faults");

    open_page();
    add_loop_tests(suite, "walk", 0, VARIANTS, every_fault_ends_in_an_answer, NULL);
    add_tests(suite, "table", every_fault_of_the_table_was_met, NULL);
    return run_suite(suite);
}
