#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "os/error.h"
#include "os/log.h"
#include "os/options.h"
#include "os/process_attributes.h"
#include "run/failure.h"
#include "run/run.h"
#include "run/thread.h"

/* Under brood__run_lock. */
static struct brood_thread *alive; /* those that are, newest first */
static unsigned started;           /* for names */
static unsigned closings;          /* of all descriptors */
static struct failure_hook hook;

/* The main thread's handle.  In a process that a thread with a handle of its own has forked, that handle is the main one.
 */
static struct brood_thread main_thread = {
    .kind = THREAD_MAIN,
    .holders = 1,
    .names = {.texts = {"MainThread"}},
    .place = &alive,
};
static struct brood_thread *alive = &main_thread;

/* The main thread of this process; written in a fork's child only, before it has a second thread. */
static struct brood_thread *_Atomic first = &main_thread;

static _Thread_local struct brood_thread *current;
static pthread_key_t foreign_key;
static bool has_foreign_key;

/* ---- the list of those alive ---- */

static void list(struct brood_thread *thread)
{
    brood__run_assert_locked();
    thread->next = alive;
    thread->place = &alive;
    if (alive)
        alive->place = &thread->next;
    alive = thread;
}

static void thread_unlist(struct brood_thread *thread)
{
    brood__run_assert_locked();
    *thread->place = thread->next;
    if (thread->next)
        thread->next->place = thread->place;
    thread->place = NULL;
}

/* Takes it off the list, with all that it has a share in.  Under the lock: a fork finds all of it, or nothing. */
static void withdraw(struct brood_thread *thread)
{
    brood__run_assert_locked();
    thread_unlist(thread);
    free(thread->copied);
    thread->copied = NULL;
    if (thread->let_go)
        thread->let_go(thread->context);
    thread->let_go = NULL;
}

/* ---- handles ---- */

static bool thread_is_ours(const struct brood_thread *thread)
{
    return thread->generation == atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
}

/* Under the lock. */
static void drop_sentinel(struct brood_thread *thread)
{
    brood__run_assert_locked();
    if (thread->sentinel > 0 && thread->sentinel_of == closings)
        (void)close(thread->sentinel);
    thread->sentinel = 0;
}

/* Under the lock.  True: it was the last holder, and the caller frees. */
static bool thread_drop(struct brood_thread *thread)
{
    brood__run_assert_locked();
    if (--thread->holders > 0)
        return false;
    drop_sentinel(thread);
    return true;
}

static void thread_destroy(struct brood_thread *thread)
{
    if (thread->kind == THREAD_STARTED && thread_is_ours(thread) &&
        atomic_load_explicit(&thread->joined, memory_order_acquire) == 0)
        (void)pthread_detach(thread->id);
    free(thread->copied);
    free(thread);
}

static void thread_release(struct brood_thread *thread)
{
    bool last;

    brood__lock(&brood__run_lock);
    last = thread_drop(thread);
    brood__unlock(&brood__run_lock);
    if (last)
        thread_destroy(thread);
}

void brood_thread_free(struct brood_thread *thread)
{
    if (thread && thread != &main_thread)
        thread_release(thread);
}

static int is_no_thread(const struct brood_thread *thread)
{
    return thread ? 0 : brood_fail(-EINVAL, "the thread is NULL: not started yet?");
}

/* ---- the calling thread ---- */

/* A thread that asks for the sentinel meanwhile takes the lock: it gets one that is readable, or this signals it here. */
static void thread_leave(struct brood_thread *self)
{
    bool last;

    current = NULL;
    brood__lock(&brood__run_lock);
    withdraw(self);
    brood__run_set(&self->state, THREAD_ENDED);
    if (self->sentinel > 0 && self->sentinel_of == closings)
        (void)eventfd_write(self->sentinel, 1);
    last = thread_drop(self);
    brood__unlock(&brood__run_lock);
    if (last)
        thread_destroy(self);
}

static void foreign_ends(void *thread)
{
    thread_leave(thread);
}

static void thread_init_once(void)
{
    brood__run_init();
    has_foreign_key = pthread_key_create(&foreign_key, foreign_ends) == 0;
}

static void thread_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, thread_init_once);
}

static struct brood_thread *new_thread(enum thread_kind kind)
{
    struct brood_thread *thread = calloc(1, sizeof(*thread));

    if (!thread)
        return NULL;
    thread->kind = kind;
    thread->generation = atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
    thread->holders = 1;
    return thread;
}

static struct brood_thread *adopt(void)
{
    struct brood_thread *thread = new_thread(THREAD_FOREIGN);
    char name[16] = "";

    if (!thread)
        return NULL;
    (void)prctl(PR_GET_NAME, name);
    if (!has_foreign_key || brood__name_set(&thread->names, *name ? name : "Thread") < 0 ||
        pthread_setspecific(foreign_key, thread) != 0) {
        thread_release(thread);
        return NULL;
    }
    thread->daemon = true;
    thread->id = pthread_self();
    atomic_store_explicit(&thread->tid, (uint32_t)gettid(), memory_order_release);
    brood__lock(&brood__run_lock);
    list(thread);
    brood__unlock(&brood__run_lock);
    return thread;
}

struct brood_thread *brood_thread_main(void)
{
    thread_init();
    return atomic_load_explicit(&first, memory_order_relaxed);
}

struct brood_thread *brood_thread_current(void)
{
    thread_init();
    if (current)
        return current;
    /* A fork from a thread without a handle: it has the process's number now, and the main thread's handle. */
    current = gettid() == getpid() ? atomic_load_explicit(&first, memory_order_relaxed) : adopt();
    return current;
}

void brood__thread_label(char *ret_text, size_t size)
{
    char comm[16] = "";

    if (current || gettid() == getpid()) {
        (void)snprintf(ret_text, size, "%s", brood_thread_name(brood_thread_current()));
        return;
    }
    (void)prctl(PR_GET_NAME, comm);
    (void)snprintf(ret_text, size, "%s", comm);
}

/* ---- fork ---- */

/* It does not exist here.  What it would have given back at its end is given back for it. */
static void leave_behind(struct brood_thread *thread)
{
    withdraw(thread);
    thread->left_behind = true;
    atomic_store_explicit(&thread->state, THREAD_ENDED, memory_order_release);
    atomic_store_explicit(&thread->joined, 2, memory_order_release);
    if (thread != &main_thread && thread_drop(thread))
        thread_destroy(thread);
}

/* In the child, whose only thread this is, under the lock.  A thread without a handle takes the main thread's handle. */
void brood__threads_after_fork(void)
{
    struct brood_thread *self = current ? current : &main_thread;
    struct brood_thread *thread = alive, *next;

    brood__run_assert_locked();
    for (; thread; thread = next) {
        next = thread->next;
        drop_sentinel(thread); /* it is the parent's, too, and what is written to it is read there */
        if (thread != self)
            leave_behind(thread);
    }
    self->generation = atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
    atomic_store_explicit(&self->tid, (uint32_t)getpid(), memory_order_release);
    atomic_store_explicit(&first, self, memory_order_relaxed);
    if (!self->place) /* the main thread's handle belongs to a thread that an earlier fork did not copy */
        list(self);
    atomic_store_explicit(&self->state, THREAD_RUNS, memory_order_release);
    self->left_behind = self->daemon = false; /* what a main thread starts is waited for */
}

/* ---- a thread's life ---- */

/* The last that it does; also when it was cancelled, or called pthread_exit(). */
static void thread_end(void *argument)
{
    struct brood_thread *self = argument;

    brood_log(BROOD_LOG_DEBUG, "the thread ends with %d", self->result);
    thread_leave(self);
}

static void set_system_name(pthread_t id, const char *name)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%.15s", name);
    (void)pthread_setname_np(id, text);
}

static void thread_run(struct brood_thread *self)
{
    int r = self->run(self->context);

    self->result = r;
    if (r < 0)
        brood__failed(&hook, "thread", brood_thread_name(self), r);
}

static void *thread_begin(void *argument)
{
    struct brood_thread *self = argument;

    current = self;
    self->result = -ECANCELED; /* unless it comes to return one */
    brood__run_set(&self->tid, (uint32_t)gettid());
    set_system_name(pthread_self(), brood_thread_name(self));
    pthread_cleanup_push(thread_end, self);
    thread_run(self);
    pthread_cleanup_pop(1);
    return NULL;
}

void brood_thread_exit(int result)
{
    if (current)
        current->result = result;
    pthread_exit(NULL);
}

/* ---- starting ---- */

static int thread_check_options(struct brood_thread_options *options, const struct brood_thread_options *given)
{
    int r = brood__options(options, sizeof(*options), given, "BROOD_THREAD");

    if (r < 0)
        return r;
    if (!options->run)
        return brood_fail(-EINVAL, "a thread needs a function: set .run");
    if (options->context_bytes > 0 && !options->context)
        return brood_fail(-EINVAL, "there is no context to copy %zu bytes of", options->context_bytes);
    if (options->stack_bytes > 0 && options->stack_bytes < (size_t)PTHREAD_STACK_MIN)
        return brood_fail(-EINVAL, "a stack has at least %ld bytes, not %zu", (long)PTHREAD_STACK_MIN,
                          options->stack_bytes);
    return 0;
}

static int thread_take_name(struct brood_thread *thread, const char *given)
{
    char text[NAME_MAX_BYTES + 1];
    unsigned number;

    if (given)
        return brood__name_set(&thread->names, given);
    brood__lock(&brood__run_lock);
    number = ++started;
    brood__unlock(&brood__run_lock);
    (void)snprintf(text, sizeof(text), "Thread-%u", number);
    return brood__name_set(&thread->names, text);
}

static int take_context(struct brood_thread *thread, const struct brood_thread_options *options)
{
    thread->run = options->run;
    thread->context = options->context;
    if (options->context_bytes == 0)
        return 0;
    thread->copied = malloc(options->context_bytes);
    if (!thread->copied)
        return brood_fail(-ENOMEM, "out of memory for a context of %zu bytes", options->context_bytes);
    memcpy(thread->copied, options->context, options->context_bytes);
    thread->context = thread->copied;
    return 0;
}

/* Under the lock: the thread is in the list before it can leave it, and is in no list if it fails to start. */
static int create(struct brood_thread *thread, const pthread_attr_t *attributes)
{
    int r;

    brood__lock(&brood__run_lock);
    r = pthread_create(&thread->id, attributes, thread_begin, thread);
    if (r == 0) {
        thread->holders++;
        list(thread);
    }
    brood__unlock(&brood__run_lock);
    if (r == 0)
        return 0;
    atomic_store_explicit(&thread->joined, 2, memory_order_release); /* there is nothing to detach */
    return brood_fail(-r, "cannot start thread %s: %s", brood_thread_name(thread), strerror(r));
}

static int create_with_stack(struct brood_thread *thread, size_t stack_bytes)
{
    pthread_attr_t attributes;
    int r;

    if (stack_bytes == 0)
        return create(thread, NULL);
    r = pthread_attr_init(&attributes);
    if (r != 0)
        return brood_fail(-r, "cannot start thread %s: %s", brood_thread_name(thread), strerror(r));
    r = pthread_attr_setstacksize(&attributes, stack_bytes);
    if (r == 0)
        r = create(thread, &attributes);
    else
        r = brood_fail(-r, "no thread can have a stack of %zu bytes", stack_bytes);
    (void)pthread_attr_destroy(&attributes);
    return r;
}

int brood__thread_start(struct brood_thread **ret_thread, const struct brood_thread_options *given,
                        void (*let_go)(void *context))
{
    struct brood_thread_options options = {0};
    struct brood_thread *thread, *self;
    int r = thread_check_options(&options, given);

    if (r < 0)
        return r;
    self = brood_thread_current();
    thread = new_thread(THREAD_STARTED);
    if (!thread)
        return brood_fail(-ENOMEM, "out of memory");
    atomic_store_explicit(&thread->joined, 2, memory_order_release); /* until there is something to join */
    thread->daemon = options.daemon > 0 || (options.daemon == 0 && self && self->daemon);
    r = thread_take_name(thread, options.name);
    if (r == 0)
        r = take_context(thread, &options);
    if (r == 0 && !thread->daemon)
        brood__run_at_exit();
    if (r == 0) {
        thread->let_go = let_go;
        atomic_store_explicit(&thread->joined, 0, memory_order_release);
        r = create_with_stack(thread, options.stack_bytes);
    }
    if (r < 0)
        thread_release(thread);
    else
        *ret_thread = thread;
    return r;
}

int brood_thread_start(struct brood_thread **ret_thread, const struct brood_thread_options *given)
{
    return brood__thread_start(ret_thread, given, NULL);
}

/* ---- asking ---- */

/* The first joiner frees what the C library has of the thread; it has ended, so that is no wait. */
static void thread_collect(struct brood_thread *thread)
{
    uint32_t expected = 0;

    if (atomic_compare_exchange_strong_explicit(&thread->joined, &expected, 1, memory_order_acq_rel,
                                                memory_order_acquire)) {
        (void)pthread_join(thread->id, NULL);
        brood__run_set(&thread->joined, 2);
    }
    (void)brood__run_await(&thread->joined, 2, BROOD_FOREVER);
}

int brood_thread_join(struct brood_thread *thread, brood_deadline deadline)
{
    int r = is_no_thread(thread);

    if (r < 0)
        return r;
    if (thread == current)
        return brood_fail(-EDEADLK, "a thread cannot wait for its own end");
    if (thread->kind != THREAD_STARTED && !thread->left_behind)
        return brood_fail(-EINVAL, "%s was not started by brood_thread_start()", brood_thread_name(thread));
    r = brood__run_await(&thread->state, THREAD_ENDED, deadline);
    if (r < 0)
        return brood_fail(r, "%s runs", brood_thread_name(thread));
    if (thread_is_ours(thread))
        thread_collect(thread);
    return 0;
}

/* Under the lock. */
static int make_sentinel(struct brood_thread *thread)
{
    int fd = brood__fd_not_standard(
        eventfd(atomic_load_explicit(&thread->state, memory_order_acquire) == THREAD_ENDED, EFD_CLOEXEC | EFD_NONBLOCK));

    brood__run_assert_locked();
    if (fd < 0)
        return -errno;
    thread->sentinel = fd;
    thread->sentinel_of = closings;
    return fd;
}

int brood_thread_sentinel(struct brood_thread *thread)
{
    int r = is_no_thread(thread);

    if (r < 0)
        return r;
    if (thread->kind != THREAD_STARTED && !thread->left_behind)
        return brood_fail(-EINVAL, "%s was not started by brood_thread_start()", brood_thread_name(thread));
    brood__lock(&brood__run_lock);
    r = thread->sentinel > 0 && thread->sentinel_of == closings ? thread->sentinel : make_sentinel(thread);
    brood__unlock(&brood__run_lock);
    return r < 0 ? brood_fail(r, "no descriptor for the end of %s: %s", brood_thread_name(thread), strerror(-r)) : r;
}

void brood__threads_descriptors_closed(void)
{
    brood__lock(&brood__run_lock);
    closings++;
    brood__unlock(&brood__run_lock);
}

int brood_thread_is_alive(const struct brood_thread *thread)
{
    int r = is_no_thread(thread);

    return r < 0 ? r : atomic_load_explicit(&thread->state, memory_order_acquire) == THREAD_RUNS;
}

int brood_thread_result(const struct brood_thread *thread, int *ret_result)
{
    int r = brood_thread_is_alive(thread);

    if (r < 0)
        return r;
    if (r == 1)
        return brood_fail(-EINPROGRESS, "%s runs", brood_thread_name(thread));
    if (thread->left_behind)
        return brood_fail(-ESTALE, "%s is a thread of the process that forked this one", brood_thread_name(thread));
    *ret_result = thread->result;
    return 0;
}

int brood_thread_is_daemon(const struct brood_thread *thread)
{
    int r = is_no_thread(thread);

    return r < 0 ? r : thread->daemon;
}

const char *brood_thread_name(const struct brood_thread *thread)
{
    return thread ? brood__name(&thread->names) : "";
}

int brood_thread_set_name(struct brood_thread *thread, const char *name)
{
    int r = is_no_thread(thread);

    if (r == 0)
        r = brood__name_set(&thread->names, name);
    if (r < 0)
        return r;
    brood__lock(&brood__run_lock); /* it has to be alive for that */
    if (thread->place && thread->kind == THREAD_STARTED)
        set_system_name(thread->id, name);
    brood__unlock(&brood__run_lock);
    return 0;
}

pid_t brood_thread_native_id(const struct brood_thread *thread)
{
    _Atomic uint32_t *tid;

    if (!thread)
        return 0;
    if (thread == &main_thread && !thread->left_behind)
        return getpid();
    tid = &((struct brood_thread *)thread)->tid; /* to sleep on, not to change */
    while (atomic_load_explicit(tid, memory_order_acquire) == 0 &&
           !thread->left_behind) /* it has been started, and will store it */
        (void)brood__futex_wait(tid, 0, BROOD_FOREVER);
    return (pid_t)atomic_load_explicit(tid, memory_order_acquire);
}

int brood_thread_enumerate(struct brood_thread **ret_threads, size_t room)
{
    size_t count = 0;

    thread_init();
    brood__lock(&brood__run_lock);
    for (struct brood_thread *thread = alive; thread; thread = thread->next)
        if (count++ < room) {
            thread->holders++;
            ret_threads[count - 1] = thread;
        }
    brood__unlock(&brood__run_lock);
    return (int)count;
}

int brood_thread_count(void)
{
    return brood_thread_enumerate(NULL, 0);
}

void brood_thread_set_failure_hook(int (*call)(const struct brood_failure *failure, void *context), void *context)
{
    brood__hook_set(&hook, (struct failure_hook){.call = call, .context = context});
}

/* ---- the program's exit ---- */

/* Also those that they start meanwhile; but not the main thread, which a fork may have made of any. */
static struct brood_thread *next_to_await(void)
{
    struct brood_thread *found;

    brood__lock(&brood__run_lock);
    for (found = alive; found; found = found->next)
        if (found->kind == THREAD_STARTED && !found->daemon && found != current &&
            found != atomic_load_explicit(&first, memory_order_relaxed))
            break;
    if (found)
        found->holders++;
    brood__unlock(&brood__run_lock);
    return found;
}

void brood__threads_await(void)
{
    struct brood_thread *thread;

    while ((thread = next_to_await()) != NULL) {
        (void)brood_thread_join(thread, BROOD_FOREVER);
        brood_thread_free(thread);
    }
}
