#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "child.h"
#include "support.h"

#define SOON brood_after_ms(60000)

/* A thread stays in its function until it is let go. */
struct stop {
    _Atomic int reached, go;
};

static int stay(void *context)
{
    struct stop *stop = context;

    atomic_fetch_add(&stop->reached, 1);
    while (!atomic_load(&stop->go))
        rest();
    return 7;
}

static int give_back(void *context)
{
    return *(int *)context;
}

static struct brood_thread *start(int (*run)(void *), void *context)
{
    struct brood_thread *thread = NULL;

    ck_assert_msg(brood_thread_start(&thread, BROOD_THREAD(.run = run, .context = context)) == 0, "%s", brood_error());
    return thread;
}

/* Until it is in its function, or gone from the kernel.  A sanitizer's allocator may be locked meanwhile, and would be for
 * ever in a child that is forked then. */
static void await_running(const struct stop *stop)
{
    await(atomic_load(&stop->reached) > 0);
}

static bool is_gone(int tid)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d", tid);
    return access(path, F_OK) < 0;
}

static int end_of(struct brood_thread *thread)
{
    int result = 12345;

    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    ck_assert_int_eq(brood_thread_result(thread, &result), 0);
    brood_thread_free(thread);
    return result;
}

static bool is_listed(const struct brood_thread *thread)
{
    struct brood_thread *listed[16];
    int count = brood_thread_enumerate(listed, 16);
    bool found = false;

    for (int i = 0; i < count; i++) {
        found = found || listed[i] == thread;
        brood_thread_free(listed[i]);
    }
    return found;
}

/* ---- a life ---- */

/* semantics: T2 T7 */
START_TEST(a_thread_lives_from_start_to_its_end)
{
    struct stop stop = {0};
    struct brood_thread *thread = start(stay, &stop);
    int result = 77;

    ck_assert_int_gt(brood_thread_native_id(thread), 0);
    ck_assert_int_ne(brood_thread_native_id(thread), getpid());
    ck_assert_int_eq(brood_thread_is_alive(thread), 1);
    ck_assert_int_eq(brood_thread_result(thread, &result), -EINPROGRESS);
    ck_assert_int_eq(result, 77);
    ck_assert_int_eq(brood_thread_join(thread, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_thread_join(thread, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(brood_thread_is_alive(thread), 1);
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    ck_assert_int_eq(brood_thread_is_alive(thread), 0);
    ck_assert_int_eq(end_of(thread), 7);
}
END_TEST

static int join_itself(void *context)
{
    (void)context;
    return brood_thread_join(brood_thread_current(), BROOD_FOREVER) == -EDEADLK;
}

/* semantics: T1 */
START_TEST(a_thread_cannot_join_itself)
{
    ck_assert_int_eq(end_of(start(join_itself, NULL)), 1);
    ck_assert_int_eq(brood_thread_join(NULL, BROOD_NOW), -EINVAL);
}
END_TEST

/* semantics: T3 */
START_TEST(threads_have_names)
{
    struct stop stop = {0};
    struct brood_thread *first = start(stay, &stop), *second = start(stay, &stop), *given;
    const char *before = brood_thread_name(second);

    ck_assert_str_eq(brood_thread_name(first), "Thread-1");
    ck_assert_str_eq(before, "Thread-2");
    ck_assert_int_eq(brood_thread_set_name(second, "other"), 0);
    ck_assert_str_eq(brood_thread_name(second), "other");
    ck_assert_str_eq(before, "Thread-2");
    ck_assert_int_eq(brood_thread_set_name(second, ""), -EINVAL);
    ck_assert_int_eq(brood_thread_set_name(second, NULL), -EINVAL);
    ck_assert_int_eq(brood_thread_start(&given, BROOD_THREAD(.run = stay, .context = &stop, .name = "given")), 0);
    ck_assert_str_eq(brood_thread_name(given), "given");
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(end_of(first), 7);
    ck_assert_int_eq(end_of(second), 7);
    ck_assert_int_eq(end_of(given), 7);
    ck_assert_str_eq(brood_thread_name(brood_thread_main()), "MainThread");
}
END_TEST

/* The text that was read stays for as long as the header says, and nothing grows however often a thread is named anew. */
START_TEST(naming_a_thread_again_and_again_costs_no_memory)
{
    struct brood_thread *self = brood_thread_current();
    const char *before;
    size_t used;
    char name[32];

    ck_assert_int_eq(brood_thread_set_name(self, "first"), 0);
    before = brood_thread_name(self);
    used = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "request %d", i);
        ck_assert_int_eq(brood_thread_set_name(self, name), 0);
        ck_assert_str_eq(brood_thread_name(self), name);
        if (i < 7)
            ck_assert_str_eq(before, "first");
    }
    ck_assert_int_eq(brood_thread_set_name(self, brood_thread_name(self)), 0);
    ck_assert_str_eq(brood_thread_name(self), "request 999");
    ck_assert_uint_le(mallinfo2().uordblks, used + 4096);
}
END_TEST

static int stack_size(void *context)
{
    pthread_attr_t attributes;
    size_t size = 0;

    (void)context;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstacksize(&attributes, &size);
        pthread_attr_destroy(&attributes);
    }
    return (int)(size / 1024);
}

#ifdef __SANITIZE_THREAD__
#define STACK_LEAST_KIB 4096 /* the sanitizer makes small stacks larger */
#else
#define STACK_LEAST_KIB 0
#endif

/* semantics: T4 */
START_TEST(a_stack_is_as_large_as_it_should_be)
{
    const int kib[] = {256, 1024};
    int standard = end_of(start(stack_size, NULL));
    struct brood_thread *thread = NULL;

    for (int i = 0; i < 2; i++) {
        size_t bytes = (size_t)kib[i] * 1024;

        ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = stack_size, .stack_bytes = bytes)), 0);
        int got = end_of(thread);
        ck_assert(got == kib[i] || (got > kib[i] && got < STACK_LEAST_KIB));
    }
    ck_assert_int_eq(end_of(start(stack_size, NULL)), standard);
    thread = NULL;
    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = stack_size, .stack_bytes = 100)), -EINVAL);
    ck_assert_ptr_null(thread);
}
END_TEST

/* semantics: T5 */
START_TEST(a_thread_that_was_joined_is_not_listed)
{
    for (int i = 0; i < 100; i++) {
        struct brood_thread *thread = start(give_back, &(int){i});

        ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
        ck_assert(!is_listed(thread));
        ck_assert_int_eq(brood_thread_count(), 1);
        ck_assert_int_eq(end_of(thread), i);
    }
}
END_TEST

/* semantics: T6 */
START_TEST(a_thread_that_cannot_be_started_is_not_listed)
{
    struct brood_thread *thread = NULL;
    int r = brood_thread_start(&thread, BROOD_THREAD(.run = give_back, .stack_bytes = (size_t)1 << 62));

    ck_assert_msg(r == -EAGAIN || r == -ENOMEM || r == -EINVAL, "%d", r);
    ck_assert_ptr_null(thread);
    ck_assert_int_eq(brood_thread_count(), 1);
    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.name = "nothing to run")), -EINVAL);
    ck_assert_int_eq(brood_thread_start(&thread, NULL), -EINVAL);
}
END_TEST

static int join_other(void *context)
{
    return brood_thread_join(context, SOON);
}

/* semantics: T7 */
START_TEST(several_threads_join_one)
{
    struct stop stop = {0};
    struct brood_thread *thread = start(stay, &stop), *joiners[4];

    for (int i = 0; i < 4; i++)
        joiners[i] = start(join_other, thread);
    for (int i = 0; i < 4; i++)
        await(is_asleep(brood_thread_native_id(joiners[i])));
    atomic_store(&stop.go, 1);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(end_of(joiners[i]), 0);
    ck_assert_int_eq(end_of(thread), 7);
}
END_TEST

static void *ask_for_itself(void *context)
{
    struct brood_thread *self = brood_thread_current();
    int result;

    ck_assert_ptr_eq(self, brood_thread_current());
    ck_assert_ptr_ne(self, brood_thread_main());
    ck_assert_int_eq(brood_thread_is_alive(self), 1);
    ck_assert_int_eq(brood_thread_is_daemon(self), 1);
    ck_assert_int_eq(brood_thread_native_id(self), gettid());
    ck_assert_int_eq(brood_thread_result(self, &result), -EINPROGRESS);
    ck_assert_int_eq(brood_thread_join(self, BROOD_NOW), -EDEADLK);
    ck_assert(is_listed(self));
    ck_assert_int_eq(brood_thread_count(), 2);
    return context;
}

static int cannot_join(void *context)
{
    return brood_thread_join(context, BROOD_NOW) == -EINVAL;
}

/* semantics: T8 */
START_TEST(a_foreign_thread_has_a_handle)
{
    struct brood_thread *main_thread = brood_thread_current();
    pthread_t thread;

    ck_assert_ptr_eq(main_thread, brood_thread_main());
    ck_assert_int_eq(brood_thread_is_daemon(main_thread), 0);
    ck_assert_int_eq(brood_thread_native_id(main_thread), getpid());
    ck_assert_int_eq(end_of(start(cannot_join, main_thread)), 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_for_itself, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(brood_thread_count(), 1);
}
END_TEST

static int child_is_daemon(void *context)
{
    struct brood_thread *thread = NULL;
    int r = brood_thread_start(&thread, BROOD_THREAD(.run = give_back, .context = &(int){0}, .daemon = *(int *)context));

    if (r == 0)
        r = brood_thread_is_daemon(thread);
    (void)end_of(thread);
    return r;
}

/* semantics: T9 */
START_TEST(a_thread_is_a_daemon_as_its_creator_is_or_as_it_is_told)
{
    struct brood_thread *thread;

    for (int own = -1; own <= 1; own++)
        for (int its = -1; its <= 1; its++) {
            ck_assert_int_eq(
                brood_thread_start(&thread, BROOD_THREAD(.run = child_is_daemon, .context = &its, .daemon = own)), 0);
            ck_assert_int_eq(brood_thread_is_daemon(thread), own == 1);
            ck_assert_int_eq(end_of(thread), its == 1 || (its == 0 && own == 1));
        }
}
END_TEST

static int start_more(void *context)
{
    int depth = *(int *)context;

    return depth == 0 ? 0 : 1 + end_of(start(start_more, &(int){depth - 1}));
}

/* semantics: T14 */
START_TEST(threads_start_threads)
{
    ck_assert_int_eq(end_of(start(start_more, &(int){5})), 5);
}
END_TEST

/* semantics: T14 */
START_TEST(a_handle_can_be_freed_at_any_time)
{
    struct stop stop = {0};
    struct brood_thread *thread;

    for (int i = 0; i < 4; i++) {
        thread = start(stay, &stop);
        brood_thread_free(thread);
    }
    atomic_store(&stop.go, 1);
    await(brood_thread_count() == 1);
    thread = start(give_back, &(int){1});
    await(!brood_thread_is_alive(thread));
    brood_thread_free(thread);
    brood_thread_free(NULL);
}
END_TEST

static int add_up(void *context)
{
    int *numbers = context, sum = 0;

    for (int i = 0; i < 4; i++)
        sum += numbers[i];
    return sum;
}

START_TEST(a_thread_can_have_a_copy_of_its_context)
{
    struct brood_thread *threads[4], *none = NULL;
    int numbers[4] = {0};

    for (int i = 0; i < 4; i++) {
        numbers[i] = 1;
        ck_assert_int_eq(brood_thread_start(&threads[i], BROOD_THREAD(.run = add_up, .context = numbers,
                                                                      .context_bytes = sizeof(numbers))),
                         0);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(end_of(threads[i]), i + 1);
    ck_assert_int_eq(brood_thread_start(&none, BROOD_THREAD(.run = add_up, .context_bytes = 8)), -EINVAL);
}
END_TEST

START_TEST(leaving_a_scope_waits_for_a_thread_but_not_for_a_daemon)
{
    struct stop stop = {0};

    {
        brood_auto(thread) *daemon = NULL;
        brood_auto(thread) *none = NULL;

        ck_assert_ptr_null(none);
        ck_assert_int_eq(brood_thread_start(&daemon, BROOD_THREAD(.run = stay, .context = &stop, .daemon = 1)), 0);
    }
    ck_assert_int_eq(brood_thread_count(), 2);
    atomic_store(&stop.go, 1);
    {
        brood_auto(thread) *thread = start(stay, &stop);

        ck_assert_str_eq(brood_thread_name(thread), "Thread-2");
    }
    await(brood_thread_count() == 1);
    ck_assert_int_eq(atomic_load(&stop.reached), 2);
}
END_TEST

/* ---- how it ends ---- */

struct heard {
    char name[64], words[64];
    int error, answer;
    int times;
};

static int hear(const struct brood_failure *failure, void *context)
{
    struct heard *heard = context;

    (void)snprintf(heard->name, sizeof(heard->name), "%s", failure->name);
    (void)snprintf(heard->words, sizeof(heard->words), "%s", failure->words);
    heard->error = failure->error;
    heard->times++;
    return heard->answer < 0 ? brood_fail(heard->answer, "no ear") : 0;
}

static int find_no_root(void *context)
{
    (void)context;
    return brood_fail(-EDOM, "no root of %d", -1);
}

static int leave(void *context)
{
    brood_thread_exit(*(int *)context);
}

static int leave_by_pthread_exit(void *context)
{
    pthread_exit(context);
}

/* What the body writes to standard error. */
static void catch_stderr(void (*body)(void *), void *argument, char *text, size_t size)
{
    int ends[2], before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ssize_t n;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    body(argument);
    ck_assert_int_eq(dup2(before, STDERR_FILENO), STDERR_FILENO);
    n = read(ends[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(before);
    close(ends[0]);
    close(ends[1]);
}

static void fail_once(void *context)
{
    (void)context;
    ck_assert_int_eq(end_of(start(find_no_root, NULL)), -EDOM);
}

/* semantics: T13 */
START_TEST(a_failure_is_told)
{
    struct heard heard = {0};
    char text[512], expected[512];

    catch_stderr(fail_once, NULL, text, sizeof(text));
    (void)snprintf(expected, sizeof(expected), "brood: thread Thread-1 (pid %d) failed: %s: no root of -1\n", getpid(),
                   strerror(EDOM));
    ck_assert_str_eq(text, expected);

    brood_thread_set_failure_hook(hear, &heard);
    catch_stderr(fail_once, NULL, text, sizeof(text));
    ck_assert_str_eq(text, "");
    ck_assert_str_eq(heard.name, "Thread-2");
    ck_assert_str_eq(heard.words, "no root of -1");
    ck_assert_int_eq(heard.error, -EDOM);

    heard.answer = -EIO;
    catch_stderr(fail_once, NULL, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "Thread-3"));
    ck_assert_ptr_nonnull(strstr(text, "no root of -1\n"));
    ck_assert_ptr_nonnull(strstr(text, "the failure hook of Thread-3"));
    ck_assert_ptr_nonnull(strstr(text, "no ear\n"));
    brood_thread_set_failure_hook(NULL, NULL);
}
END_TEST

/* semantics: T13 */
START_TEST(a_thread_that_leaves_is_not_told_of)
{
    struct heard heard = {0};

    brood_thread_set_failure_hook(hear, &heard);
    ck_assert_int_eq(end_of(start(leave, &(int){5})), 5);
    ck_assert_int_eq(end_of(start(leave, &(int){-EDOM})), -EDOM);
    ck_assert_int_eq(end_of(start(leave_by_pthread_exit, NULL)), -ECANCELED);
    ck_assert_int_eq(heard.times, 0);
    brood_thread_set_failure_hook(NULL, NULL);
}
END_TEST

/* ---- fork ---- */

static void look_at_threads(void *context)
{
    struct brood_thread *thread = context;
    int result;

    ck_assert_int_eq(brood_thread_count(), 1);
    ck_assert_int_eq(brood_thread_is_alive(thread), 0);
    ck_assert_int_eq(brood_thread_join(thread, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_thread_result(thread, &result), -ESTALE);
    ck_assert_int_eq(brood_thread_is_alive(brood_thread_current()), 1);
    ck_assert_int_eq(brood_thread_native_id(brood_thread_current()), getpid());
    brood_thread_free(thread);
    ck_assert_int_eq(end_of(start(give_back, &(int){4})), 4);
}

static int wait_for_end(struct brood_thread *thread, brood_deadline deadline)
{
    int fd = brood_thread_sentinel(thread);
    bool ready = false;
    int r;

    ck_assert_int_ge(fd, 0);
    r = brood_wait(&BROOD_WAIT_FD(fd), 1, &ready, deadline);
    ck_assert_int_eq(ready, r == 1);
    return r;
}

START_TEST(the_end_of_a_thread_can_be_polled_for)
{
    struct stop stop = {0};
    struct brood_thread *first = start(stay, &stop), *second = start(give_back, &(int){5});
    int fd = brood_thread_sentinel(first);

    ck_assert_int_gt(fd, 2);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(brood_thread_sentinel(first), fd);
    ck_assert_int_eq(wait_for_end(first, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(wait_for_end(second, SOON), 1); /* also if it had ended before */
    ck_assert_int_eq(wait_for_end(second, BROOD_NOW), 1);
    ck_assert_int_eq(brood_thread_is_alive(second), 0);
    ck_assert_int_eq(wait_for_end(first, brood_after_ms(10)), -ETIMEDOUT);
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(wait_for_end(first, SOON), 1);
    ck_assert_int_eq(brood_thread_join(first, BROOD_NOW), 0);
    ck_assert_int_eq(brood_thread_sentinel(first), fd);
    ck_assert_int_eq(end_of(first), 7); /* which frees it */
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_int_eq(end_of(second), 5);
}
END_TEST

START_TEST(the_sentinel_of_a_thread_that_ended_before_is_readable)
{
    struct brood_thread *thread = start(give_back, &(int){5});

    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    ck_assert_int_eq(wait_for_end(thread, BROOD_NOW), 1);
    ck_assert_int_eq(end_of(thread), 5);
    ck_assert_int_eq(brood_thread_sentinel(NULL), -EINVAL);
    ck_assert_int_eq(brood_thread_sentinel(brood_thread_current()), -EINVAL);
}
END_TEST

/* Asked for in the very moment of the end, none stays silent. */
START_TEST(no_end_is_missed)
{
    for (int i = 0; i < 300; i++) {
        struct brood_thread *thread = start(give_back, &(int){5});

        ck_assert_int_eq(wait_for_end(thread, SOON), 1);
        ck_assert_int_eq(end_of(thread), 5);
    }
}
END_TEST

static void look_at_sentinels(void *thread)
{
    struct stop stop = {0};
    struct brood_thread *own = start(stay, &stop);

    ck_assert_int_eq(wait_for_end(thread, BROOD_NOW), 1); /* it is not here */
    ck_assert_int_eq(wait_for_end(own, BROOD_NOW), -EAGAIN);
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(wait_for_end(own, SOON), 1);
    ck_assert_int_eq(end_of(own), 7);
    brood_thread_free(thread);
}

START_TEST(a_fork_has_sentinels_of_its_own)
{
    struct stop stop = {0};
    struct brood_thread *thread = start(stay, &stop);

    await_running(&stop);
    ck_assert_int_eq(wait_for_end(thread, BROOD_NOW), -EAGAIN);
    in_child(look_at_sentinels, thread);
    ck_assert_int_eq(wait_for_end(thread, BROOD_NOW), -EAGAIN); /* what ended there did not end here */
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(wait_for_end(thread, SOON), 1);
    ck_assert_int_eq(end_of(thread), 7);
}
END_TEST

/* A thread that had ended, and whose sentinel's number is another file's since all descriptors were closed. */
static int free_after_all_was_closed(void *thread)
{
    int ends[2], old = brood_thread_sentinel(thread);

    ck_assert_int_eq(fcntl(old, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    brood_thread_free(thread);
    ck_assert_int_eq(fcntl(old, F_GETFD), -1);
    ck_assert_int_eq(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
    return 0;
}

static int free_what_has_lost_its_sentinel(void *thread)
{
    int fds[8];

    for (int i = 0; i < 8; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    brood_thread_free(thread);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC); /* not closed by mistake */
    return 0;
}

START_TEST(a_child_that_closes_all_descriptors_has_none_of_them)
{
    int (*const stories[])(void *) = {free_after_all_was_closed, free_what_has_lost_its_sentinel};
    struct brood_thread *thread = start(give_back, &(int){5});
    struct brood_process *process = NULL;
    int status = -1, tid = brood_thread_native_id(thread);

    ck_assert_int_eq(wait_for_end(thread, SOON), 1);
    await(is_gone(tid));
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = stories[_i], .context = thread, .close_fds = true)),
                     0);
    ck_assert_int_eq(brood_process_join(process, SOON), 0);
    ck_assert_int_eq(brood_process_status(process, &status), 0);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(brood_process_close(process), 0);
    ck_assert_int_eq(end_of(thread), 5);
}
END_TEST

/* semantics: T10 */
START_TEST(a_fork_has_one_thread)
{
    struct stop stop = {0};
    struct brood_thread *thread = start(stay, &stop);

    await_running(&stop);
    in_child(look_at_threads, thread);
    ck_assert_int_eq(brood_thread_is_alive(thread), 1);
    ck_assert_int_eq(brood_thread_count(), 2);
    atomic_store(&stop.go, 1);
    ck_assert_int_eq(end_of(thread), 7);
}
END_TEST

/* In place of the C library's: the threads that are started can be held up before they tell their numbers. */
static _Atomic bool are_held_up;

pid_t gettid(void)
{
    pid_t tid = (pid_t)syscall(SYS_gettid);

    while (tid != getpid() && atomic_load(&are_held_up))
        rest();
    return tid;
}

static void ask_for_the_number(void *thread)
{
    ck_assert_int_eq(brood_thread_native_id(thread), 0);
    ck_assert_int_eq(brood_thread_is_alive(thread), 0);
    ck_assert_int_eq(brood_thread_join(thread, BROOD_NOW), 0);
    brood_thread_free(thread);
}

START_TEST(a_fork_does_not_wait_for_the_number_of_a_thread_that_had_not_told)
{
    struct stop stop = {.go = 1};
    struct brood_thread *thread;

    atomic_store(&are_held_up, true);
    thread = start(stay, &stop);
    in_child(ask_for_the_number, thread);
    atomic_store(&are_held_up, false);
    ck_assert_int_gt(brood_thread_native_id(thread), getpid());
    ck_assert_int_eq(end_of(thread), 7);
}
END_TEST

static void be_main(void *context)
{
    struct brood_thread *self = brood_thread_current();

    ck_assert_ptr_eq(self, brood_thread_main());
    ck_assert_ptr_eq(self, context);
    ck_assert_str_eq(brood_thread_name(self), "forks");
    ck_assert_int_eq(brood_thread_is_alive(self), 1);
    ck_assert_int_eq(brood_thread_native_id(self), getpid());
    ck_assert_int_eq(brood_thread_count(), 1);
}

static int fork_here(void *context)
{
    (void)context;
    in_child(be_main, brood_thread_current());
    return 0;
}

static void be_main_unasked(void *context)
{
    (void)context;
    ck_assert_ptr_eq(brood_thread_current(), brood_thread_main());
    ck_assert_int_eq(brood_thread_is_daemon(brood_thread_current()), 0);
    ck_assert_int_eq(brood_thread_native_id(brood_thread_current()), getpid());
    ck_assert_int_eq(brood_thread_count(), 1);
}

static void *fork_unasked(void *context)
{
    in_child(be_main_unasked, context);
    return NULL;
}

/* semantics: T11 */
START_TEST(the_thread_that_forks_is_the_main_thread_of_the_child)
{
    struct brood_thread *thread;
    pthread_t foreign;

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = fork_here, .name = "forks")), 0);
    ck_assert_int_eq(end_of(thread), 0);
    ck_assert_int_eq(pthread_create(&foreign, NULL, fork_unasked, NULL), 0);
    ck_assert_int_eq(pthread_join(foreign, NULL), 0);
    ck_assert_ptr_eq(brood_thread_current(), brood_thread_main());
}
END_TEST

/* ---- exit ---- */

struct exiting {
    struct stop daemon;
    int out;
};

static int write_late(void *context)
{
    rest();
    rest();
    return write(*(int *)context, "n", 1) == 1 ? 0 : 1;
}

static int start_another_late(void *context)
{
    rest();
    brood_thread_free(start(write_late, context));
    return 0;
}

static void exit_with_threads(void *context)
{
    struct exiting *exiting = context;
    struct brood_thread *thread;

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = stay, .context = &exiting->daemon, .daemon = 1)), 0);
    brood_thread_free(thread);
    brood_thread_free(start(start_another_late, &exiting->out));
    exit(0);
}

static int exit_itself(void *context)
{
    (void)context;
    exit(0);
}

static void exit_in_a_thread(void *context)
{
    brood_thread_free(start(write_late, &((struct exiting *)context)->out));
    (void)end_of(start(exit_itself, NULL));
}

/* semantics: T12 */
START_TEST(exit_waits_for_threads_that_are_not_daemons)
{
    void (*const ways[])(void *) = {exit_with_threads, exit_in_a_thread};
    struct exiting exiting = {0};
    int ends[2];
    char byte = 0;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    exiting.out = ends[1];
    in_child(ways[_i], &exiting);
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'n');
    ck_assert_int_eq(close(ends[0]), 0);
}
END_TEST

int main(int argc, char **argv)
{
    bool forks = argc < 2 || strcmp(argv[1], "--one-process") != 0;
    Suite *suite = suite_create("thread");

    add_tests(suite, "a life", a_thread_lives_from_start_to_its_end, a_thread_cannot_join_itself, threads_have_names,
              naming_a_thread_again_and_again_costs_no_memory, a_stack_is_as_large_as_it_should_be,
              a_thread_that_was_joined_is_not_listed, a_thread_that_cannot_be_started_is_not_listed,
              several_threads_join_one, a_foreign_thread_has_a_handle,
              a_thread_is_a_daemon_as_its_creator_is_or_as_it_is_told, threads_start_threads,
              a_handle_can_be_freed_at_any_time, a_thread_can_have_a_copy_of_its_context,
              leaving_a_scope_waits_for_a_thread_but_not_for_a_daemon, the_end_of_a_thread_can_be_polled_for,
              the_sentinel_of_a_thread_that_ended_before_is_readable, no_end_is_missed, NULL);
    add_tests(suite, "ends", a_failure_is_told, a_thread_that_leaves_is_not_told_of, NULL);
    if (forks) {
        add_tests(suite, "forks", a_fork_has_one_thread, a_fork_does_not_wait_for_the_number_of_a_thread_that_had_not_told,
                  a_fork_has_sentinels_of_its_own, the_thread_that_forks_is_the_main_thread_of_the_child, NULL);
        add_loop_tests(suite, "descriptors", 0, 2, a_child_that_closes_all_descriptors_has_none_of_them, NULL);
        add_loop_tests(suite, "exits", 0, 2, exit_waits_for_threads_that_are_not_daemons, NULL);
    }
    return run_suite(suite);
}
