/* check_pidfd.c - processes by descriptor: watching, killing, reaping; and that a dead process stores nothing any more. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/time.h>

#include "child.h"
#include "os/clock.h"
#include "os/pidfd.h"

#define MS 1000000

static void live_on(void *argument)
{
    (void)argument;
    for (;;)
        (void)pause();
}

static void leave(void *argument)
{
    _exit(*(int *)argument);
}

static int watch(pid_t pid)
{
    int pidfd = brood__pidfd_watch(pid);

    ck_assert_int_ge(pidfd, 0);
    return pidfd;
}

static void expect_ending(int pidfd, int signal, int exit_code)
{
    struct brood__ending ending = brood__pidfd_reap(pidfd);

    ck_assert_int_eq(ending.signal, signal);
    ck_assert_int_eq(ending.exit_code, exit_code);
}

static void end(int pidfd)
{
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), 0);
    expect_ending(pidfd, SIGKILL, 0);
    close(pidfd);
}

/* ---- opening ---- */

START_TEST(a_pidfd_is_closed_on_exec)
{
    int pidfd = watch(getpid());

    ck_assert_int_eq(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(pidfd);
}
END_TEST

START_TEST(a_copy_stands_for_the_same_process)
{
    pid_t pid = spawn(live_on, NULL);
    int pidfd = watch(pid), copy = brood__pidfd_copy(pidfd);

    ck_assert_int_ge(copy, 0);
    ck_assert_int_eq(fcntl(copy, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(pidfd);
    ck_assert_int_eq(brood__pidfd_number(copy), pid);
    ck_assert_int_eq(brood__pidfd_wait(copy, BROOD_NOW), -ETIMEDOUT);
    end(copy);
}
END_TEST

START_TEST(a_process_that_was_reaped_cannot_be_opened)
{
    pid_t pid = spawn(leave, &(int){0});

    join(pid);
    ck_assert_int_eq(brood__pidfd_open(pid), -ESRCH);
    ck_assert_int_eq(brood__pidfd_open(-1), -EINVAL);
}
END_TEST

/* ---- waiting ---- */

START_TEST(waiting_for_a_live_process_ends_at_the_deadline_and_not_before)
{
    int pidfd = watch(spawn(live_on, NULL));
    brood_deadline deadline = brood_after_ms(30);

    ck_assert_int_eq(brood__pidfd_wait(pidfd, deadline), -ETIMEDOUT);
    ck_assert_int_ge(brood__now_ns(), deadline.ns);
    ck_assert_int_lt(brood__now_ns(), deadline.ns + AT_ONCE_MS * MS);
    end(pidfd);
}
END_TEST

START_TEST(waiting_until_now_only_looks)
{
    int pidfd = watch(spawn(live_on, NULL));
    int64_t least = INT64_MAX;

    for (int i = 0; i < 100 && least >= MS; i++) { /* a busy machine may take the processor away now and then */
        int64_t before = brood__now_ns();

        ck_assert_int_eq(brood__pidfd_wait(pidfd, BROOD_NOW), -ETIMEDOUT);
        ck_assert_int_eq(brood__pidfd_wait(pidfd, (brood_deadline){before - MS}), -ETIMEDOUT);
        least = brood__now_ns() - before < least ? brood__now_ns() - before : least;
    }
    ck_assert_int_lt(least, MS);
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), 0);
    ck_assert_int_eq(brood__pidfd_wait(pidfd, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood__pidfd_wait(pidfd, BROOD_NOW), 0);
    expect_ending(pidfd, SIGKILL, 0);
    close(pidfd);
}
END_TEST

START_TEST(waiting_does_not_reap)
{
    int pidfd = watch(spawn(leave, &(int){7}));

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(brood__pidfd_wait(pidfd, brood_after_ms(60000)), 0);
    expect_ending(pidfd, 0, 7);
    close(pidfd);
}
END_TEST

static void note_signal(int number)
{
    (void)number;
}

START_TEST(signals_neither_end_nor_lengthen_a_wait)
{
    struct sigaction action = {.sa_handler = note_signal}, before;
    struct itimerval every = {.it_interval.tv_usec = 5000, .it_value.tv_usec = 5000}, never = {0};
    int pidfd = watch(spawn(live_on, NULL));
    brood_deadline deadline = brood_after_ms(60);

    ck_assert_int_eq(sigaction(SIGALRM, &action, &before), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    ck_assert_int_eq(brood__pidfd_wait(pidfd, deadline), -ETIMEDOUT);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_eq(sigaction(SIGALRM, &before, NULL), 0);
    ck_assert_int_ge(brood__now_ns(), deadline.ns);
    ck_assert_int_lt(brood__now_ns(), deadline.ns + AT_ONCE_MS * MS);
    end(pidfd);
}
END_TEST

/* ---- killing and reaping ---- */

START_TEST(a_killed_process_is_reaped_with_its_signal)
{
    static const int signals[] = {SIGKILL, SIGUSR1, SIGSYS};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        int pidfd = watch(spawn(live_on, NULL));

        ck_assert_int_eq(brood__pidfd_kill(pidfd, signals[i]), 0);
        expect_ending(pidfd, signals[i], 0);
        close(pidfd);
    }
}
END_TEST

START_TEST(a_process_that_left_is_reaped_with_its_exit_code)
{
    static const int codes[] = {0, 1, 127, 255};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        int code = codes[i], pidfd = watch(spawn(leave, &code));

        expect_ending(pidfd, 0, codes[i]);
        close(pidfd);
    }
}
END_TEST

START_TEST(a_reaped_process_cannot_be_killed_nor_one_that_has_its_number_now)
{
    int pidfd = watch(spawn(leave, &(int){0}));

    expect_ending(pidfd, 0, 0);
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), -ESRCH);
    close(pidfd);
}
END_TEST

START_TEST(a_process_that_another_has_reaped_is_just_as_dead)
{
    pid_t pid = spawn(leave, &(int){3});
    int pidfd = watch(pid), status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(brood__pidfd_wait(pidfd, brood_after_ms(60000)), 0);
    expect_ending(pidfd, 0, 0);
    close(pidfd);
}
END_TEST

/* ---- traced by another process ---- */

struct traced {
    int pid, tells[2];
};

static void may_be_traced(void *argument)
{
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where Yama lets only parents */
    ck_assert_int_eq(write(*(int *)argument, "", 1), 1);
    live_on(NULL);
}

/* It does not take note of what becomes of the process that it traces. */
static void trace(void *argument)
{
    const struct traced *traced = argument;

    ck_assert_int_eq(ptrace(PTRACE_SEIZE, traced->pid, NULL, NULL), 0);
    ck_assert_int_eq(write(traced->tells[1], "", 1), 1);
    live_on(NULL);
}

START_TEST(a_traced_process_is_not_waited_for_and_its_signal_is_known)
{
    struct traced traced;
    pid_t tracer;
    int pidfd, status = 0;
    char byte;

    if (!may_trace())
        return;
    ck_assert_int_eq(pipe(traced.tells), 0);
    traced.pid = spawn(may_be_traced, &traced.tells[1]);
    pidfd = watch(traced.pid);
    ck_assert_int_eq(read(traced.tells[0], &byte, 1), 1);
    tracer = spawn(trace, &traced);
    ck_assert_int_eq(read(traced.tells[0], &byte, 1), 1);
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), 0);
    expect_ending(pidfd, SIGKILL, 0);
    ck_assert_int_eq(brood__pidfd_status(pidfd, &status), 0);
    ck_assert_int_eq(status, -SIGKILL);
    put_to_death(tracer);
    ck_assert_int_eq(waitpid(traced.pid, NULL, 0), traced.pid);
    close(pidfd);
    close(traced.tells[0]);
    close(traced.tells[1]);
}
END_TEST

static void reap_where_sigchld_is_ignored(void *argument)
{
    int pidfd;

    (void)argument;
    ck_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    pidfd = watch(spawn(live_on, NULL));
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), 0);
    expect_ending(pidfd, 0, 0);
    ck_assert_int_eq(brood__pidfd_wait(pidfd, BROOD_NOW), 0); /* it has waited for the end */
}

START_TEST(a_program_that_ignores_sigchld_learns_only_that_it_is_dead)
{
    in_child(reap_where_sigchld_is_ignored, NULL);
}
END_TEST

/* ---- stopping ---- */

#define STOP_MS 20 /* for a process that can be stopped at all, on a busy machine */

START_TEST(a_stopped_process_stands_still_until_it_may_go_on)
{
    pid_t pid = spawn(live_on, NULL);
    int pidfd = watch(pid);

    for (int i = 0; i < 2; i++) /* also one that stands still already */
        ck_assert_int_eq(brood__pidfd_stop(pidfd, brood_after_ms(60000)), 0);
    ck_assert_int_eq(state_of(pid), 'T');
    ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGCONT), 0);
    await(state_of(pid) == 'S');
    end(pidfd);
}
END_TEST

START_TEST(a_dead_process_is_not_stopped)
{
    int pidfd = watch(spawn(leave, &(int){0}));

    ck_assert_int_eq(brood__pidfd_wait(pidfd, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood__pidfd_stop(pidfd, BROOD_FOREVER), -ESRCH);
    expect_ending(pidfd, 0, 0);
    ck_assert_int_eq(brood__pidfd_stop(pidfd, BROOD_FOREVER), -ESRCH);
    close(pidfd);
}
END_TEST

/* As in vfork(2): a child that it waits for where only SIGKILL reaches it. */
static void wait_for_a_child(void *word)
{
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);

    if (child == 0) {
        atomic_store((_Atomic pid_t *)word, getpid());
        live_on(NULL);
    }
}

START_TEST(a_process_that_cannot_be_stopped_does_not_delay_the_caller)
{
    _Atomic pid_t *grandchild = shared_memory(sizeof(*grandchild));
    pid_t child = spawn(wait_for_a_child, (void *)grandchild);
    int pidfd = watch(child);

    await(atomic_load(grandchild) != 0 && state_of(child) == 'D');
    ck_assert_int_eq(brood__pidfd_stop(pidfd, brood_after_ms(STOP_MS)), -ETIMEDOUT);
    end(pidfd);
    ck_assert_int_eq(kill(atomic_load(grandchild), SIGKILL), 0);
    munmap(grandchild, sizeof(*grandchild));
}
END_TEST

static void let_go_on(void *pid)
{
    while (kill(*(pid_t *)pid, SIGCONT) == 0)
        ;
}

START_TEST(a_process_that_is_continued_does_not_delay_the_caller)
{
    pid_t pid = spawn(live_on, NULL), rival = spawn(let_go_on, &pid);
    int pidfd = watch(pid), r;

    for (int i = 0; i < 100; i++) {
        r = brood__pidfd_stop(pidfd, brood_after_ms(2));
        ck_assert_msg(r == 0 || r == -ETIMEDOUT, "%d", r);
    }
    put_to_death(rival);
    end(pidfd);
}
END_TEST

/* ---- the death fence ---- */

#define WRITERS 3

static void *count_up(void *word)
{
    for (;;)
        atomic_fetch_add_explicit((_Atomic uint64_t *)word, 1, memory_order_relaxed);
    return NULL;
}

static void write_with_all_threads(void *argument)
{
    _Atomic uint64_t *words = argument;
    pthread_t thread;

    for (int i = 1; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&thread, NULL, count_up, &words[i]), 0);
    (void)count_up(&words[0]);
}

/* What a supervisor relies on when it repairs what a dead worker left. */
START_TEST(behind_a_readable_pidfd_no_thread_of_the_process_stores)
{
    for (int round = 0; round < 30; round++) {
        _Atomic uint64_t *words = shared_memory(WRITERS * sizeof(*words));
        int pidfd = watch(spawn(write_with_all_threads, (void *)words));
        uint64_t last[WRITERS];

        for (int i = 0; i < WRITERS; i++)
            await(atomic_load(&words[i]) > 0);
        ck_assert_int_eq(brood__pidfd_kill(pidfd, SIGKILL), 0);
        ck_assert_int_eq(brood__pidfd_wait(pidfd, BROOD_FOREVER), 0);
        for (int i = 0; i < WRITERS; i++)
            last[i] = atomic_load(&words[i]);
        rest();
        for (int i = 0; i < WRITERS; i++)
            ck_assert_uint_eq(atomic_load(&words[i]), last[i]);
        expect_ending(pidfd, SIGKILL, 0);
        close(pidfd);
    }
}
END_TEST

/* --emulated: all of it once more by the substitute for pidfds. */
int main(int argc, char **argv)
{
    Suite *suite = suite_create("pidfd");

    if (argc > 1 && strcmp(argv[1], "--emulated") == 0)
        be_emulated();
    else
        add_tests(suite, "reaped", a_process_that_was_reaped_cannot_be_opened, NULL);
    add_tests(suite, "open", a_pidfd_is_closed_on_exec, a_copy_stands_for_the_same_process, NULL);
    add_tests(suite, "wait", waiting_for_a_live_process_ends_at_the_deadline_and_not_before, waiting_until_now_only_looks,
              waiting_does_not_reap, signals_neither_end_nor_lengthen_a_wait, NULL);
    add_tests(suite, "reap", a_killed_process_is_reaped_with_its_signal, a_process_that_left_is_reaped_with_its_exit_code,
              a_reaped_process_cannot_be_killed_nor_one_that_has_its_number_now,
              a_process_that_another_has_reaped_is_just_as_dead, a_traced_process_is_not_waited_for_and_its_signal_is_known,
              a_program_that_ignores_sigchld_learns_only_that_it_is_dead, NULL);
    add_tests(suite, "stop", a_stopped_process_stands_still_until_it_may_go_on, a_dead_process_is_not_stopped,
              a_process_that_cannot_be_stopped_does_not_delay_the_caller,
              a_process_that_is_continued_does_not_delay_the_caller, NULL);
    add_tests(suite, "death fence", behind_a_readable_pidfd_no_thread_of_the_process_stores, NULL);
    return run_suite(suite);
}
