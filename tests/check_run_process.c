#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "child.h"
#include "support.h"

#define SOON brood_after_ms(60000)

static int give_back(void *context)
{
    return *(int *)context;
}

/* Sleeps until a byte comes, or its writer is gone. */
static int wait_for_byte(void *context)
{
    char byte;

    return read(*(int *)context, &byte, 1) == 1 ? byte : 99;
}

static int sleep_for_ever(void *context)
{
    (void)context;
    while (true)
        pause();
    return 0;
}

static struct brood_process *start(int (*run)(void *), void *context)
{
    struct brood_process *process = NULL;

    ck_assert_msg(brood_process_start(&process, BROOD_PROCESS(.run = run, .context = context)) == 0, "%s", brood_error());
    return process;
}

/* Its status, once it has ended. */
static int status_of(struct brood_process *process)
{
    int status = 12345;

    ck_assert_int_eq(brood_process_join(process, SOON), 0);
    ck_assert_msg(brood_process_status(process, &status) == 0, "%s", brood_error());
    return status;
}

static int end_of(struct brood_process *process)
{
    int status = status_of(process);

    ck_assert_int_eq(brood_process_close(process), 0);
    return status;
}

static int run_and_end(int (*run)(void *), void *context)
{
    return end_of(start(run, context));
}

struct channel {
    int out, in;
};

static struct channel open_channel(void)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    return (struct channel){ends[0], ends[1]};
}

static void close_channel(struct channel *channel)
{
    ck_assert_int_eq(close(channel->out), 0);
    ck_assert_int_eq(close(channel->in), 0);
}

/* What all its writers wrote, until they are gone. */
static void read_all(struct channel *channel, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;

    ck_assert_int_eq(close(channel->in), 0);
    while (length < size - 1 && (n = read(channel->out, text + length, size - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
    ck_assert_int_eq(close(channel->out), 0);
}

/* ---- a life ---- */

/* semantics: P1 P7 */
START_TEST(a_process_lives_from_start_to_its_end)
{
    struct channel channel = open_channel();
    struct brood_process *process = start(wait_for_byte, &channel.out), *listed[4];
    int status = 77;

    ck_assert_int_eq(brood_process_is_alive(process), 1);
    ck_assert_int_eq(brood_process_status(process, &status), -EINPROGRESS);
    ck_assert_int_eq(status, 77);
    ck_assert_int_eq(brood_process_children(listed, 4), 1);
    ck_assert_ptr_eq(listed[0], process);
    brood_process_release(listed[0]);
    ck_assert_int_eq(brood_process_join(process, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_process_join(process, brood_after_ms(-1)), -EAGAIN);
    ck_assert_int_eq(brood_process_join(process, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(brood_process_is_alive(process), 1);
    ck_assert_int_eq(write(channel.in, "\7", 1), 1);
    ck_assert_int_eq(status_of(process), 7);
    ck_assert_int_eq(brood_process_is_alive(process), 0);
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
    ck_assert_int_eq(brood_process_join(process, BROOD_NOW), 0);
    ck_assert_int_eq(brood_process_close(process), 0);
    close_channel(&channel);
}
END_TEST

static int name_to(void *context)
{
    const char *name = brood_process_name(brood_process_current());

    return write(*(int *)context, name, strlen(name)) > 0 ? 0 : 1;
}

static int second_child_names(void *context)
{
    ck_assert_int_eq(run_and_end(give_back, &(int){0}), 0);
    return run_and_end(name_to, context);
}

/* semantics: P2 */
START_TEST(names_are_numbered_by_parent_and_can_be_set)
{
    struct brood_process *process;
    struct channel channel = open_channel();
    char text[64];

    process = start(give_back, &(int){0});
    ck_assert_str_eq(brood_process_name(process), "Process-1");
    ck_assert_int_eq(brood_process_set_name(process, "other"), 0);
    ck_assert_str_eq(brood_process_name(process), "other");
    ck_assert_int_eq(brood_process_set_name(process, NULL), -EINVAL);
    ck_assert_int_eq(brood_process_set_name(process, ""), -EINVAL);
    ck_assert_int_eq(end_of(process), 0);
    process = start(second_child_names, &channel.in);
    ck_assert_str_eq(brood_process_name(process), "Process-2");
    ck_assert_int_eq(end_of(process), 0);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = name_to, .context = &channel.in, .name = "+given")),
                     0);
    ck_assert_int_eq(end_of(process), 0);
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, "Process-2:2+given");
}
END_TEST

/* semantics: P3 */
START_TEST(the_main_process_has_a_handle_too)
{
    struct brood_process *self = brood_process_current();
    int status;

    ck_assert_int_eq(brood_process_is_alive(self), 1);
    ck_assert_int_eq(brood_process_is_daemon(self), 0);
    ck_assert_int_eq(brood_process_status(self, &status), -EINPROGRESS);
    ck_assert_int_eq(brood_process_pid(self), getpid());
    ck_assert_str_eq(brood_process_name(self), "MainProcess");
    ck_assert_int_eq(brood_process_join(self, BROOD_NOW), -EDEADLK);
    ck_assert_int_eq(brood_process_terminate(self), -EPERM);
    ck_assert_int_eq(brood_process_sentinel(self), -EINVAL);
    ck_assert_int_eq(brood_process_close(self), 0);
    ck_assert_ptr_null(brood_process_parent());
}
END_TEST

START_TEST(naming_this_process_again_and_again_costs_no_memory)
{
    struct brood_process *self = brood_process_current();
    size_t used = mallinfo2().uordblks;
    char name[32];

    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "job %d", i);
        ck_assert_int_eq(brood_process_set_name(self, name), 0);
        ck_assert_str_eq(brood_process_name(self), name);
    }
    ck_assert_uint_le(mallinfo2().uordblks, used + 4096);
}
END_TEST

static int is_daemon(void *context)
{
    (void)context;
    return brood_process_is_daemon(brood_process_current());
}

static int child_is_daemon(void *context)
{
    struct brood_process *process;
    int r = brood_process_start(&process, BROOD_PROCESS(.run = is_daemon, .daemon = *(int *)context));

    return r < 0 ? r : 10 + end_of(process);
}

/* semantics: P4 P6 */
START_TEST(a_child_is_a_daemon_as_its_parent_is_or_as_it_is_told)
{
    struct brood_process *process;

    for (int own = -1; own <= 1; own++)
        for (int its = -1; its <= 1; its++) {
            ck_assert_int_eq(
                brood_process_start(&process, BROOD_PROCESS(.run = child_is_daemon, .context = &its, .daemon = own)), 0);
            ck_assert_int_eq(brood_process_is_daemon(process), own == 1);
            ck_assert_int_eq(end_of(process), its == 1 || (its == 0 && own == 1) ? 11 : 10);
        }
}
END_TEST

static void use_inherited(void *process)
{
    int status;

    ck_assert_int_eq(brood_process_join(process, BROOD_NOW), -EPERM);
    ck_assert_int_eq(brood_process_is_alive(process), -EPERM);
    ck_assert_int_eq(brood_process_status(process, &status), -EPERM);
    ck_assert_int_eq(brood_process_kill(process), -EPERM);
    ck_assert_int_eq(brood_process_sentinel(process), -EPERM);
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
    ck_assert_int_eq(brood_process_close(process), 0);
}

/* semantics: P5 */
START_TEST(a_handle_is_good_in_the_process_that_started_the_child)
{
    struct channel channel = open_channel();
    struct brood_process *process = start(wait_for_byte, &channel.out);

    in_child(use_inherited, process);
    ck_assert_int_eq(brood_process_is_alive(process), 1);
    ck_assert_int_eq(write(channel.in, "\3", 1), 1);
    ck_assert_int_eq(end_of(process), 3);
    close_channel(&channel);
}
END_TEST

/* semantics: P8 P24 */
START_TEST(a_signal_is_a_negative_status)
{
    int (*const ways[])(struct brood_process *) = {brood_process_terminate, brood_process_kill, brood_process_interrupt};
    const int signals[] = {SIGTERM, SIGKILL, SIGINT};
    struct brood_process *process = start(sleep_for_ever, NULL);

    ck_assert_int_eq(ways[_i](process), 0);
    ck_assert_int_eq(status_of(process), -signals[_i]);
    ck_assert_int_eq(ways[_i](process), -ESRCH);
    ck_assert_int_eq(brood_process_close(process), 0);
}
END_TEST

static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal)
{
    interrupted = signal;
}

static int await_interrupt(void *context)
{
    signal(SIGINT, note_interrupt);
    ck_assert_int_eq(write(*(int *)context, "r", 1), 1);
    while (!interrupted)
        rest();
    return 23;
}

/* semantics: P24 */
START_TEST(a_child_can_handle_an_interrupt)
{
    struct channel channel = open_channel();
    struct brood_process *process = start(await_interrupt, &channel.in);
    char byte;

    ck_assert_int_eq(read(channel.out, &byte, 1), 1);
    ck_assert_int_eq(brood_process_interrupt(process), 0);
    ck_assert_int_eq(end_of(process), 23);
    close_channel(&channel);
}
END_TEST

#define MANY 100

/* semantics: P9 */
START_TEST(many_children_end_as_they_should)
{
    struct brood_process *processes[MANY];

    for (int i = 0; i < MANY; i++) {
        processes[i] = start(sleep_for_ever, NULL);
        ck_assert_int_eq(brood_process_terminate(processes[i]), 0);
    }
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(end_of(processes[i]), -SIGTERM);
    for (int i = 0; i < MANY; i++)
        processes[i] = start(give_back, &(int){0});
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(end_of(processes[i]), 0);
}
END_TEST

/* semantics: P10 */
START_TEST(the_sentinel_is_readable_when_the_process_has_ended)
{
    struct channel channel = open_channel();
    struct brood_process *process = start(wait_for_byte, &channel.out);
    struct brood_process *other = start(sleep_for_ever, NULL);
    struct pollfd watched = {.fd = brood_process_sentinel(process), .events = POLLIN};
    struct brood_waited things[] = {BROOD_WAIT_FD(brood_process_sentinel(other)), BROOD_WAIT_FD(watched.fd)};
    bool ready[2];

    ck_assert_int_ge(watched.fd, 0);
    ck_assert_int_eq(poll(&watched, 1, 0), 0);
    ck_assert_int_eq(brood_wait(things, 2, ready, brood_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(write(channel.in, "\1", 1), 1);
    ck_assert_int_eq(brood_wait(things, 2, ready, SOON), 1);
    ck_assert(!ready[0] && ready[1]);
    ck_assert_int_eq(poll(&watched, 1, 60000), 1);
    ck_assert_int_eq(status_of(process), 1);
    ck_assert_int_eq(poll(&watched, 1, 0), 1);
    ck_assert_int_eq(brood_process_close(process), 0);
    ck_assert_int_eq(brood_process_kill(other), 0);
    ck_assert_int_eq(end_of(other), -SIGKILL);
    close_channel(&channel);
}
END_TEST

/* semantics: P11 */
START_TEST(a_running_process_cannot_be_closed)
{
    struct brood_process *process = start(sleep_for_ever, NULL);

    ck_assert_int_eq(brood_process_close(process), -EBUSY);
    ck_assert_int_eq(brood_process_kill(process), 0);
    ck_assert_int_eq(end_of(process), -SIGKILL);
    ck_assert_int_eq(brood_process_close(NULL), 0);
    ck_assert_int_eq(brood_process_join(NULL, BROOD_NOW), -EINVAL);
}
END_TEST

/* semantics: P12 */
START_TEST(asking_for_the_children_reaps_those_that_have_ended)
{
    struct brood_process *process = start(give_back, &(int){0});
    siginfo_t info = {0};

    brood_process_release(process);
    ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0); /* it has ended, and is not reaped */
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
    ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(a_start_reaps_children_without_a_handle)
{
    struct brood_process *kept = start(give_back, &(int){2}), *released = start(give_back, &(int){0});
    struct pollfd ended[2] = {{.fd = brood_process_sentinel(kept), .events = POLLIN},
                              {.fd = brood_process_sentinel(released), .events = POLLIN}};
    pid_t pid = brood_process_pid(released);
    siginfo_t info;

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(poll(&ended[i], 1, 60000), 1);
    brood_process_release(released);
    ck_assert_int_eq(run_and_end(give_back, &(int){1}), 1);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), -1);
    ck_assert_int_eq(end_of(kept), 2);
}
END_TEST

/* ---- parents ---- */

struct family {
    struct channel ready, go, told;
};

static int watch_parent(void *context)
{
    struct family *family = context;
    struct brood_process *parent = brood_process_parent();
    bool answer[4];
    char byte;

    close(family->go.in); /* the parent alone keeps this end */
    answer[0] = brood_process_is_alive(parent) == 1;
    answer[1] = brood_process_join(parent, BROOD_NOW) == -EAGAIN;
    ck_assert_int_eq(write(family->ready.in, "r", 1), 1);
    answer[2] = brood_process_join(parent, SOON) == 0 && read(family->go.out, &byte, 1) == 0;
    answer[3] = brood_process_is_alive(parent) == 0;
    return write(family->told.in, answer, 4) == 4 ? 0 : 1;
}

static int be_the_parent(void *context)
{
    struct family *family = context;
    struct brood_process *process = start(watch_parent, family);
    char byte;

    ck_assert_int_eq(brood_process_pid(brood_process_parent()), getppid());
    ck_assert_str_eq(brood_process_name(brood_process_parent()), "MainProcess");
    ck_assert_int_eq(brood_process_kill(brood_process_parent()), -EPERM);
    ck_assert_int_eq(brood_process_is_alive(process), 1);
    ck_assert_int_eq(read(family->ready.out, &byte, 1), 1);
    _exit(5);
}

/* semantics: P13 */
START_TEST(a_grandchild_sees_its_parent_die_and_joins_it)
{
    struct family family = {open_channel(), open_channel(), open_channel()};
    bool answer[4] = {false};

    close(family.go.out);
    close(family.go.in);
    family.go = open_channel();
    ck_assert_int_eq(run_and_end(be_the_parent, &family), 5);
    close_channel(&family.go);
    ck_assert_int_eq(read(family.told.out, answer, sizeof(answer)), sizeof(answer));
    ck_assert(answer[0] && answer[1] && answer[2] && answer[3]);
    close_channel(&family.told);
    close_channel(&family.ready);
}
END_TEST

static int count_descriptors(void *context)
{
    (void)context;
    return open_descriptors();
}

/* semantics: P14 */
START_TEST(a_child_has_no_descriptors_of_earlier_children)
{
    struct brood_process *earlier[8];
    int first = run_and_end(count_descriptors, NULL);

    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(brood_process_start(&earlier[i], BROOD_PROCESS(.run = i < 4 ? sleep_for_ever : count_descriptors,
                                                                        .daemon = i % 2 ? 1 : -1)),
                         0);
    for (int i = 4; i < 8; i++)
        ck_assert_int_eq(brood_process_join(earlier[i], SOON), 0); /* but not closed */
    ck_assert_int_eq(run_and_end(count_descriptors, NULL), first);
    for (int i = 0; i < 8; i++) {
        if (i < 4)
            ck_assert_int_eq(brood_process_kill(earlier[i]), 0);
        (void)end_of(earlier[i]);
    }
}
END_TEST

static int recur(void *context)
{
    int depth = *(int *)context, out = ((int *)context)[1];
    const char *name = brood_process_name(brood_process_current());
    int next[2] = {depth + 1, out};

    ck_assert_int_eq(write(out, name + 7, strlen(name + 7)), (ssize_t)strlen(name + 7));
    for (int i = 0; depth < 2 && i < 2; i++)
        ck_assert_int_eq(run_and_end(recur, next), 0);
    return 0;
}

/* semantics: P20 */
START_TEST(children_start_children)
{
    struct channel channel = open_channel();
    int context[2] = {0, channel.in};
    char text[128];

    ck_assert_int_eq(run_and_end(recur, context), 0);
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, "-1-1:1-1:1:1-1:1:2-1:2-1:2:1-1:2:2");
}
END_TEST

/* ---- how a child ends ---- */

static int linger(void *context)
{
    rest();
    rest();
    ck_assert_int_eq(write(*(int *)context, "t", 1), 1);
    return 0;
}

static int leave_a_thread(void *context)
{
    struct brood_thread *thread;

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = linger, .context = context)), 0);
    brood_thread_free(thread);
    return 4;
}

static int leave_a_thread_by_exit(void *context)
{
    exit(leave_a_thread(context));
}

/* semantics: P15 */
START_TEST(a_child_waits_for_its_threads)
{
    struct channel channel = open_channel();
    char text[8];

    ck_assert_int_eq(run_and_end(leave_a_thread, &channel.in), 4);
    ck_assert_int_eq(run_and_end(leave_a_thread_by_exit, &channel.in), 4);
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, "tt");
}
END_TEST

static int exit_with(void *context)
{
    exit(*(int *)context);
}

static int exit_in_a_thread(void *context)
{
    struct brood_thread *thread;

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = exit_with, .context = context)), 0);
    ck_assert_int_eq(brood_thread_is_daemon(thread), 0);
    return brood_thread_join(thread, BROOD_FOREVER);
}

typedef int function(void *context);

static int run_in_a_process(void *context)
{
    return run_and_end(*(function **)context, &(int){21});
}

static int result_in_a_thread(function *run, int daemon)
{
    struct brood_thread *thread;
    int result;

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = run_in_a_process, .context = &run, .daemon = daemon)),
                     0);
    ck_assert_int_eq(brood_thread_join(thread, SOON), 0);
    ck_assert_int_eq(brood_thread_result(thread, &result), 0);
    brood_thread_free(thread);
    return result;
}

/* Its main thread is the one that forked, which its exit does not wait for. */
START_TEST(a_child_of_any_thread_can_exit_in_any_thread)
{
    for (int daemon = -1; daemon <= 1; daemon++) {
        ck_assert_int_eq(result_in_a_thread(exit_in_a_thread, daemon), 21);
        ck_assert_int_eq(result_in_a_thread(exit_with, daemon), 21);
        ck_assert_int_eq(result_in_a_thread(give_back, daemon), 21);
    }
}
END_TEST

static int find_no_root(void *context)
{
    (void)context;
    return brood_fail(-EDOM, "no root of %d", -1);
}

/* From now on standard error goes into the channel. */
static int redirect_stderr(struct channel *channel)
{
    int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    ck_assert_int_ge(before, 0);
    ck_assert_int_eq(dup2(channel->in, STDERR_FILENO), STDERR_FILENO);
    return before;
}

static void restore_stderr(int before)
{
    ck_assert_int_eq(dup2(before, STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(close(before), 0);
}

/* semantics: P16 */
START_TEST(what_a_function_returns_is_the_exit_status)
{
    struct channel channel = open_channel();
    char text[256], expected[256];
    struct brood_process *process;
    int before;

    ck_assert_int_eq(run_and_end(give_back, &(int){0}), 0);
    ck_assert_int_eq(run_and_end(give_back, &(int){8}), 8);
    ck_assert_int_eq(run_and_end(give_back, &(int){256}), 255);
    ck_assert_int_eq(run_and_end(exit_with, &(int){8}), 8);
    ck_assert_int_eq(run_and_end(exit_with, &(int){0}), 0);
    before = redirect_stderr(&channel);
    process = start(find_no_root, NULL);
    (void)snprintf(expected, sizeof(expected), "brood: process Process-6 (pid %d) failed: %s: no root of -1\n",
                   brood_process_pid(process), strerror(EDOM));
    ck_assert_int_eq(end_of(process), 1);
    restore_stderr(before);
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, expected);
}
END_TEST

static int tell_failure(const struct brood_failure *failure, void *context)
{
    dprintf(*(int *)context, "%s|%d|%s;", failure->name, failure->error, failure->words);
    return 0;
}

START_TEST(a_failure_goes_to_the_hook)
{
    struct channel channel = open_channel();
    char text[256], expected[256];

    brood_process_set_failure_hook(tell_failure, &channel.in);
    ck_assert_int_eq(run_and_end(find_no_root, NULL), 1);
    brood_process_set_failure_hook(NULL, NULL);
    read_all(&channel, text, sizeof(text));
    (void)snprintf(expected, sizeof(expected), "Process-1|%d|no root of -1;", -EDOM);
    ck_assert_str_eq(text, expected);
}
END_TEST

static int print(void *context)
{
    return fprintf(context, "child;") > 0 ? 0 : 1;
}

static int print_to_nowhere(void *context)
{
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    (void)print(stderr);
    return print(context);
}

/* semantics: P17 */
START_TEST(output_is_flushed_once)
{
    struct channel channel = open_channel();
    int before = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int errors = redirect_stderr(&channel);
    char text[64];

    fflush(stdout);
    ck_assert_int_eq(dup2(channel.in, STDOUT_FILENO), STDOUT_FILENO);
    setvbuf(stdout, NULL, _IOFBF, 4096);
    setvbuf(stderr, NULL, _IOFBF, 4096);
    printf("parent;");
    ck_assert_int_eq(run_and_end(print, stdout), 0);
    printf("again;");
    ck_assert_int_eq(run_and_end(print, stderr), 0);
    ck_assert_int_eq(run_and_end(print_to_nowhere, stdout), 0);
    fflush(stdout);
    ck_assert_int_eq(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
    restore_stderr(errors);
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, "parent;child;again;child;");
}
END_TEST

static void *read_stdin(void *context)
{
    (void)context;
    return getchar() == EOF ? NULL : context;
}

START_TEST(a_process_that_waits_for_input_does_not_hinder_a_start)
{
    struct channel channel = open_channel();
    int before = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    pthread_t thread;

    ck_assert_int_eq(dup2(channel.out, STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_stdin, NULL), 0);
    await(ftrylockfile(stdin) != 0 || (funlockfile(stdin), false));
    ck_assert_int_eq(run_and_end(give_back, &(int){6}), 6);
    close_channel(&channel);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    if (before >= 0) {
        ck_assert_int_eq(dup2(before, STDIN_FILENO), STDIN_FILENO);
        close(before);
    } else {
        close(STDIN_FILENO);
    }
}
END_TEST

static int handlers_to = -1;

static void inherited_handler(void)
{
    if (handlers_to >= 0)
        dprintf(handlers_to, "inherited;");
}

static void first_handler(void)
{
    dprintf(handlers_to, "first;");
}

static void second_handler(void)
{
    dprintf(handlers_to, "second;");
}

static int register_one(void *context)
{
    ck_assert_int_eq(atexit(second_handler), 0);
    return *(int *)context;
}

static int register_handlers(void *context)
{
    ck_assert_int_eq(atexit(first_handler), 0);
    ck_assert_int_eq(run_and_end(register_one, context), 3);
    ck_assert_int_eq(atexit(second_handler), 0);
    return *(int *)context;
}

/* semantics: P18 */
START_TEST(a_child_runs_the_exit_handlers_that_it_registered)
{
    struct channel channel = open_channel();
    char text[64];

    ck_assert_int_eq(atexit(inherited_handler), 0);
    handlers_to = channel.in;
    ck_assert_int_eq(run_and_end(register_handlers, &(int){3}), 3);
    handlers_to = -1;
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, "second;second;first;");
}
END_TEST

/* ---- what else the program does ---- */

/* semantics: P21 */
START_TEST(joining_goes_on_after_a_signal)
{
    struct channel channel = open_channel();
    struct brood_process *process = start(wait_for_byte, &channel.out);
    int64_t began = now_ms();

    interrupt_often(note_interrupt);
    ck_assert_int_eq(brood_process_join(process, brood_after_ms(50)), -ETIMEDOUT);
    interrupt_no_more();
    ck_assert_int_ge(now_ms() - began, 49);
    ck_assert_int_eq(interrupted, SIGALRM);
    ck_assert_int_eq(write(channel.in, "\2", 1), 1);
    ck_assert_int_eq(end_of(process), 2);
    close_channel(&channel);
}
END_TEST

static int join_it(void *process)
{
    int status = 0, r = brood_process_join(process, SOON);

    return r == 0 ? brood_process_status(process, &status) + status : r;
}

START_TEST(several_threads_join_one_process)
{
    struct channel channel = open_channel();
    struct brood_process *process = start(wait_for_byte, &channel.out);
    struct brood_thread *threads[4];
    int result;

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(brood_thread_start(&threads[i], BROOD_THREAD(.run = join_it, .context = process)), 0);
    for (int i = 0; i < 4; i++)
        await(is_asleep(brood_thread_native_id(threads[i])));
    ck_assert_int_eq(write(channel.in, "\7", 1), 1);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(brood_thread_join(threads[i], SOON), 0);
        ck_assert_int_eq(brood_thread_result(threads[i], &result), 0);
        ck_assert_int_eq(result, 7);
        brood_thread_free(threads[i]);
    }
    ck_assert_int_eq(brood_process_close(process), 0);
    close_channel(&channel);
}
END_TEST

/* What a child has of descriptors does not depend on what else is being started. */
static int start_many(void *context)
{
    for (int i = 0; i < 30; i++) {
        struct brood_process *process, *listed[8];
        int count;

        ck_assert_int_eq(brood_process_start(&process, i % 2 ? BROOD_PROCESS(.run = count_descriptors, .daemon = -1)
                                                             : BROOD_PROCESS(.program = "true", .daemon = 1)),
                         0);
        count = brood_process_children(listed, 8);
        for (int j = 0; j < count && j < 8; j++)
            brood_process_release(listed[j]);
        ck_assert_int_eq(end_of(process), i % 2 ? *(int *)context : 0);
    }
    return 0;
}

START_TEST(several_threads_start_processes)
{
    int descriptors = run_and_end(count_descriptors, NULL), result;
    struct brood_thread *threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(brood_thread_start(&threads[i], BROOD_THREAD(.run = start_many, .context = &descriptors)), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(brood_thread_join(threads[i], BROOD_FOREVER), 0);
        ck_assert_int_eq(brood_thread_result(threads[i], &result), 0);
        ck_assert_int_eq(result, 0);
        brood_thread_free(threads[i]);
    }
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
}
END_TEST

/* semantics: P25 */
START_TEST(there_is_a_processor)
{
    ck_assert_int_ge(brood_workers_default(NULL, 0), 1);
}
END_TEST

/* Kernels before 6.15 forget. */
static void expect_status_or_unknown(struct brood_process *process, int expected)
{
    int status, r;

    ck_assert_int_eq(brood_process_join(process, SOON), 0);
    r = brood_process_status(process, &status);
    ck_assert_msg(r == -ECHILD || (r == 0 && status == expected), "%d: status %d", r, status);
    ck_assert_int_eq(brood_process_close(process), 0);
}

START_TEST(a_program_may_ignore_its_children)
{
    ck_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    expect_status_or_unknown(start(give_back, &(int){9}), 9);
    ck_assert(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}
END_TEST

START_TEST(a_program_may_reap_whatever_there_is)
{
    struct brood_process *process = start(give_back, &(int){9});

    ck_assert_int_eq(waitpid(-1, NULL, 0), brood_process_pid(process));
    expect_status_or_unknown(process, 9);
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
}
END_TEST

/* ---- daemons ---- */

static void hold_and_start(void *context)
{
    struct channel *channel = context;
    struct brood_process *process;
    char byte;

    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = sleep_for_ever, .daemon = 1)), 0);
    ck_assert_int_eq(write(channel->in, "r", 1), 1);
    close(channel->in);
    (void)!read(channel[1].out, &byte, 1);
}

static void *start_in_thread(void *context)
{
    hold_and_start(context);
    return NULL;
}

static void sleep_on(void *context)
{
    (void)sleep_for_ever(context);
}

/* The thread that started the daemon ends; then this process is killed. */
static void start_from_a_thread(void *context)
{
    struct channel *channel = context;
    struct brood_process *listed[1];
    pthread_t thread;
    pid_t other;

    close(channel[1].in);
    channel[1].out = open("/dev/null", O_RDONLY);
    ck_assert_int_eq(pthread_create(&thread, NULL, start_in_thread, context), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(brood_process_children(listed, 1), 1);
    ck_assert_int_eq(brood_process_join(listed[0], brood_after_ms(30)), -ETIMEDOUT);
    other = spawn(sleep_on, NULL); /* a child of the program's own does not keep the daemon alive */
    ck_assert_int_eq(write(channel[2].in, &other, sizeof(other)), sizeof(other));
    (void)sleep_for_ever(NULL);
}

START_TEST(a_daemon_dies_with_its_parent_and_not_with_its_thread)
{
    struct channel channels[3] = {open_channel(), open_channel(), open_channel()};
    pid_t pid = spawn(start_from_a_thread, channels);
    pid_t other;
    int status;
    char byte;

    close(channels[0].in);
    ck_assert_int_eq(read(channels[0].out, &byte, 1), 1);
    ck_assert_int_eq(read(channels[2].out, &other, sizeof(other)), sizeof(other));
    put_to_death(pid);
    pid = waitpid(-1, &status, 0); /* this process gets the orphans: first the daemon, which was killed */
    ck_assert_int_gt(pid, 0);
    ck_assert_int_ne(pid, other);
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
    put_to_death(other);
    close(channels[0].out);
    close_channel(&channels[1]);
    close_channel(&channels[2]);
}
END_TEST

static void start_daemons_until_killed(void *context)
{
    die_after_us(*(int *)context);
    for (int i = 0; i < 50; i++) {
        struct brood_process *process;

        if (brood_process_start(&process, i % 2 ? BROOD_PROCESS(.run = sleep_for_ever, .daemon = 1)
                                                : BROOD_PROCESS(.program = "sleep", .daemon = 1,
                                                                .arguments = (const char *[]){"1000", NULL})) < 0)
            break;
    }
    (void)sleep_for_ever(NULL);
}

/* Orphans come to this process: when it has none, they are dead. */
START_TEST(wherever_a_parent_is_killed_its_daemons_die)
{
    for (int us = 50; us < 10000; us += us / 8) {
        int64_t began = now_ms();

        reap(spawn(start_daemons_until_killed, &us));
        while (waitpid(-1, NULL, 0) > 0)
            ;
        ck_assert_int_lt(now_ms() - began, 60000);
    }
}
END_TEST

static int ignore_and_sleep(void *context)
{
    signal(SIGTERM, SIG_IGN);
    ck_assert_int_eq(write(*(int *)context, "r", 1), 1);
    return sleep_for_ever(NULL);
}

static int take_its_time(void *context)
{
    rest();
    rest();
    return write(*(int *)context, "d", 1) == 1 ? 0 : 1;
}

static int exit_with_children(void *context)
{
    struct channel *channel = context;
    struct brood_process *process;
    char byte;

    ck_assert_int_eq(
        brood_process_start(&process, BROOD_PROCESS(.run = ignore_and_sleep, .context = &channel->in, .daemon = 1)), 0);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = sleep_for_ever, .daemon = 1)), 0);
    ck_assert_int_eq(read(channel->out, &byte, 1), 1);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = take_its_time, .context = &channel->in)), 0);
    brood_process_release(process);
    return 2;
}

START_TEST(exit_ends_daemons_and_waits_for_others)
{
    struct channel channel = open_channel();
    char text[8];

    ck_assert_int_eq(run_and_end(exit_with_children, &channel), 2);
    read_all(&channel, text, sizeof(text)); /* ends, so none of them is left */
    ck_assert_str_eq(text, "d");
}
END_TEST

START_TEST(leaving_a_scope_ends_a_daemon_and_waits_for_another)
{
    struct channel channel = open_channel();
    char text[8];

    {
        brood_auto(process) *daemon = NULL;
        brood_auto(process) *other = start(take_its_time, &channel.in);
        brood_auto(process) *none = NULL;

        ck_assert_ptr_null(none);
        ck_assert_int_ge(brood_process_pid(other), 1);
        ck_assert_int_eq(brood_process_start(&daemon, BROOD_PROCESS(.run = sleep_for_ever, .daemon = 1)), 0);
    }
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
    read_all(&channel, text, sizeof(text));
    ck_assert_str_eq(text, "d");
}
END_TEST

/* ---- executables ---- */

START_TEST(an_executable_is_a_process_like_another)
{
    struct brood_process *process;

    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "sh", .daemon = _i,
                                                                 .arguments = (const char *[]){"-c", "exit 17", NULL})),
                     0);
    ck_assert_int_eq(end_of(process), 17);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "true", .daemon = _i)), 0);
    ck_assert_int_eq(end_of(process), 0);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "sleep", .daemon = _i,
                                                                 .arguments = (const char *[]){"1000", NULL})),
                     0);
    ck_assert_int_eq(brood_process_terminate(process), 0);
    ck_assert_int_eq(end_of(process), -SIGTERM);
}
END_TEST

START_TEST(an_executable_that_cannot_be_started_is_an_error)
{
    struct brood_process *process = NULL;

    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "/no/such/program")), -ENOENT);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "/dev/null")), -EACCES);
    ck_assert_ptr_null(process);
    ck_assert_ptr_nonnull(strstr(brood_error(), "/dev/null"));
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
}
END_TEST

static void start_program_and_sleep(void *context)
{
    struct brood_process *process;

    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "sleep", .daemon = 1,
                                                                 .arguments = (const char *[]){"1000", NULL},
                                                                 .pass_fds = context, .pass_fds_count = 1)),
                     0);
    close(*(int *)context);
    (void)sleep_for_ever(NULL);
}

START_TEST(an_executable_that_is_a_daemon_dies_with_its_parent)
{
    struct channel channel = open_channel();
    pid_t pid = spawn(start_program_and_sleep, &channel.in);
    struct pollfd watched = {.fd = channel.out};

    close(channel.in);
    put_to_death(pid);
    ck_assert_int_eq(poll(&watched, 1, 60000), 1); /* the last writer is gone */
    close(channel.out);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}
END_TEST

/* sh tells which of the two descriptors it has. */
static const char *const which[] = {"-c", "[ -e /proc/self/fd/$1 ] && [ ! -e /proc/self/fd/$2 ]", "sh", NULL, NULL, NULL};

START_TEST(an_executable_gets_the_descriptors_that_are_passed)
{
    struct channel channel = open_channel();
    int open_one = fcntl(channel.out, F_DUPFD, 3);
    struct brood_process *process;
    const char *arguments[6];
    char passed[16], other[16];

    memcpy(arguments, which, sizeof(which));
    (void)snprintf(passed, sizeof(passed), "%d", channel.in);
    (void)snprintf(other, sizeof(other), "%d", open_one);
    arguments[3] = passed;
    arguments[4] = other;
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "sh", .arguments = arguments, .close_fds = true,
                                                                 .pass_fds = &channel.in, .pass_fds_count = 1)),
                     0);
    ck_assert_int_eq(end_of(process), 0);
    close(open_one);
    close_channel(&channel);
}
END_TEST

static int has_only(void *context)
{
    const struct channel *channel = context;

    return fcntl(channel->in, F_GETFD) >= 0 && fcntl(channel->out, F_GETFD) < 0 ? 0 : 1;
}

START_TEST(a_function_keeps_the_descriptors_that_are_passed)
{
    struct channel channel = open_channel();
    struct brood_process *process;

    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = has_only, .context = &channel, .close_fds = true,
                                                                 .pass_fds = &channel.in, .pass_fds_count = 1)),
                     0);
    ck_assert_int_eq(end_of(process), 0);
    close_channel(&channel);
}
END_TEST

/* Whatever start cannot get, it leaves nothing behind; and when it can get all again, it starts. */
static void expect_failure(const char *program, int expected)
{
    int before = open_descriptors(), r;
    struct brood_process *process = NULL;

    r = brood_process_start(&process, program ? BROOD_PROCESS(.program = program, .daemon = 1)
                                              : BROOD_PROCESS(.run = give_back, .context = &(int){0}, .daemon = 1));
    ck_assert_int_eq(r, expected);
    ck_assert_ptr_null(process);
    ck_assert_int_ne(brood_error()[0], '\0');
    ck_assert_int_eq(open_descriptors(), before);
    ck_assert_int_eq(brood_process_children(NULL, 0), 0);
    ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
}

static void start_without_descriptors(void *context)
{
    struct rlimit before, limit;
    int next = dup(STDERR_FILENO), needed = *(int *)context ? 5 : 4;

    ck_assert_int_eq(close(next), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int free_ones = 0; free_ones < needed; free_ones++) {
        limit = (struct rlimit){.rlim_cur = (rlim_t)(next + free_ones), .rlim_max = before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        expect_failure(*(int *)context ? "true" : NULL, -EMFILE);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    limit.rlim_cur = (rlim_t)(next + needed);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(run_and_end(give_back, &(int){3}), 3);
}

static void start_without_pidfds(void *context)
{
    (void)context;
    deny(SYS_pidfd_open, ENOMEM);
    expect_failure(NULL, -ENOMEM);
    expect_failure("true", -ENOMEM);
}

static void start_emulated(void *context)
{
    struct brood_process *process;

    (void)context;
    be_emulated();
    ck_assert_int_eq(run_and_end(give_back, &(int){3}), 3);
    ck_assert_int_eq(
        brood_process_start(&process, BROOD_PROCESS(.program = "sleep", .arguments = (const char *const[]){"60", NULL})),
        0);
    ck_assert_int_eq(brood_process_is_alive(process), 1);
    ck_assert_int_eq(brood_process_join(process, BROOD_NOW), -EAGAIN);
    ck_assert_int_eq(brood_process_kill(process), 0);
    ck_assert_int_eq(end_of(process), -SIGKILL);
}

START_TEST(a_process_starts_and_ends_where_there_are_no_pidfds)
{
    in_child(start_emulated, NULL);
}
END_TEST

static void start_without_forks(void *context)
{
    (void)context;
    deny(SYS_clone, EAGAIN);
    expect_failure(NULL, -EAGAIN);
    expect_failure("true", -EAGAIN);
}

static bool children_die;

static void die_in_child(void)
{
    if (children_die)
        raise(SIGKILL);
}

/* Killed before it comes to anything of its own. */
START_TEST(a_child_that_is_killed_at_once_has_been_started)
{
    struct brood_process *process;

    ck_assert_int_eq(pthread_atfork(NULL, NULL, die_in_child), 0);
    children_die = true;
    ck_assert_int_eq(run_and_end(give_back, &(int){3}), -SIGKILL);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "true", .daemon = 1)), 0);
    ck_assert_int_eq(end_of(process), -SIGKILL);
    children_die = false;
    ck_assert_int_eq(run_and_end(give_back, &(int){3}), 3);
}
END_TEST

START_TEST(a_start_that_fails_leaves_nothing_behind)
{
    in_child(start_without_descriptors, &(int){0});
    in_child(start_without_descriptors, &(int){1});
    in_child(start_without_pidfds, NULL);
    in_child(start_without_forks, NULL);
}
END_TEST

START_TEST(bad_options_are_refused)
{
    struct brood_process *process = NULL;
    const int closed = 999;

    ck_assert_int_eq(brood_process_start(&process, NULL), -EINVAL);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.name = "nothing to run")), -EINVAL);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = give_back, .program = "true")), -EINVAL);
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = give_back, .arguments = which)), -EINVAL);
    ck_assert_int_eq(
        brood_process_start(&process, BROOD_PROCESS(.program = "true", .pass_fds = &closed, .pass_fds_count = 1)), -EINVAL);
    ck_assert_int_eq(brood_process_start(&process, &(struct brood_process_options){.run = give_back}), -EINVAL);
    ck_assert_ptr_null(process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("process");

    add_tests(suite, "a life", a_process_lives_from_start_to_its_end, names_are_numbered_by_parent_and_can_be_set,
              naming_this_process_again_and_again_costs_no_memory, the_main_process_has_a_handle_too,
              a_child_is_a_daemon_as_its_parent_is_or_as_it_is_told, a_handle_is_good_in_the_process_that_started_the_child,
              a_child_can_handle_an_interrupt, many_children_end_as_they_should,
              the_sentinel_is_readable_when_the_process_has_ended, a_running_process_cannot_be_closed,
              asking_for_the_children_reaps_those_that_have_ended, a_start_reaps_children_without_a_handle, NULL);
    add_loop_tests(suite, "signals", 0, 3, a_signal_is_a_negative_status, NULL);
    add_tests(suite, "families", a_grandchild_sees_its_parent_die_and_joins_it,
              a_child_has_no_descriptors_of_earlier_children, children_start_children, NULL);
    add_tests(suite, "ends", a_child_waits_for_its_threads, a_child_of_any_thread_can_exit_in_any_thread,
              what_a_function_returns_is_the_exit_status, a_failure_goes_to_the_hook, output_is_flushed_once,
              a_process_that_waits_for_input_does_not_hinder_a_start, a_child_runs_the_exit_handlers_that_it_registered,
              NULL);
    add_tests(suite, "surroundings", joining_goes_on_after_a_signal, several_threads_join_one_process,
              several_threads_start_processes, there_is_a_processor, a_program_may_ignore_its_children,
              a_program_may_reap_whatever_there_is, NULL);
    add_tests(suite, "daemons", a_daemon_dies_with_its_parent_and_not_with_its_thread,
              wherever_a_parent_is_killed_its_daemons_die, exit_ends_daemons_and_waits_for_others,
              leaving_a_scope_ends_a_daemon_and_waits_for_another, NULL);
    add_loop_tests(suite, "kinds of executables", 0, 2, an_executable_is_a_process_like_another, NULL);
    add_tests(suite, "executables", an_executable_that_cannot_be_started_is_an_error,
              an_executable_that_is_a_daemon_dies_with_its_parent, an_executable_gets_the_descriptors_that_are_passed,
              a_function_keeps_the_descriptors_that_are_passed, a_start_that_fails_leaves_nothing_behind,
              a_process_starts_and_ends_where_there_are_no_pidfds, a_child_that_is_killed_at_once_has_been_started,
              bad_options_are_refused, NULL);
    return run_suite(suite);
}
