/* check_process_attributes.c - a forked process made one of its own: its signals, descriptors, input, name and end. */
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "child.h"
#include "os/process_attributes.h"

/* ---- signals ---- */

static void handle(int number)
{
    (void)number;
}

static bool is_handled_by(int number, void (*handler)(int))
{
    struct sigaction action;

    ck_assert_int_eq(sigaction(number, NULL, &action), 0);
    return action.sa_handler == handler;
}

static void reset_what_a_program_had_set(void *argument)
{
    static const int handled[] = {SIGTERM, SIGSEGV, SIGCHLD, SIGPIPE, SIGALRM},
                     for_the_host[] = {SIGINT, SIGQUIT, SIGHUP, SIGTTOU, SIGTTIN};
    sigset_t all, blocked;

    (void)argument;
    for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
        ck_assert(signal(handled[i], handle) != SIG_ERR);
    for (size_t i = 0; i < sizeof(for_the_host) / sizeof(for_the_host[0]); i++)
        ck_assert(signal(for_the_host[i], handle) != SIG_ERR);
    ck_assert(signal(SIGRTMIN + 3, handle) != SIG_ERR);
    ck_assert(signal(SIGRTMAX, handle) != SIG_ERR);
    ck_assert(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    ck_assert(signal(SIGUSR2, SIG_DFL) != SIG_ERR);
    (void)sigfillset(&all);
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, &all, NULL), 0);

    brood__process_reset_signals();

    for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
        ck_assert_msg(is_handled_by(handled[i], SIG_DFL), "signal %d", handled[i]);
    for (size_t i = 0; i < sizeof(for_the_host) / sizeof(for_the_host[0]); i++)
        ck_assert_msg(is_handled_by(for_the_host[i], SIG_IGN), "signal %d", for_the_host[i]);
    ck_assert(is_handled_by(SIGRTMIN + 3, SIG_DFL));
    ck_assert(is_handled_by(SIGRTMAX, SIG_DFL));
    ck_assert(is_handled_by(SIGUSR1, SIG_IGN));
    ck_assert(is_handled_by(SIGUSR2, SIG_DFL));
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, NULL, &blocked), 0);
    for (int number = 1; number <= SIGRTMAX; number++)
        ck_assert_msg(sigismember(&blocked, number) <= 0, "signal %d is blocked", number);
}

START_TEST(handlers_are_gone_nothing_is_blocked_and_what_was_ignored_stays_so)
{
    in_child(reset_what_a_program_had_set, NULL);
}
END_TEST

static void reset_an_ignored_sigchld(void *argument)
{
    int status;

    (void)argument;
    ck_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    brood__process_reset_signals();
    pid_t pid = fork();

    if (pid == 0)
        _exit(7);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
}

START_TEST(how_children_end_is_known_although_the_program_ignored_it)
{
    in_child(reset_an_ignored_sigchld, NULL);
}
END_TEST

static void reset_what_is_default(void *argument)
{
    (void)argument;
    ck_assert(signal(SIGINT, SIG_DFL) != SIG_ERR);
    brood__process_reset_signals();
    ck_assert_int_eq(raise(SIGINT), 0); /* would kill */
    ck_assert_int_eq(raise(SIGTERM), 0);
}

START_TEST(an_interrupt_from_the_terminal_is_ignored_and_a_termination_is_not)
{
    int status;
    pid_t pid = spawn(reset_what_is_default, NULL);

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGTERM);
}
END_TEST

/* ---- a shared end ---- */

struct family {
    _Atomic pid_t child;
    _Atomic int ready, refused;
    pid_t parent;
};

static void live_as_long_as(void *argument)
{
    struct family *family = argument;

    atomic_store(&family->refused, !brood__process_die_with(family->parent));
    atomic_store(&family->child, getpid());
    atomic_store(&family->ready, 1);
    while (!atomic_load(&family->refused))
        (void)pause();
}

static void raise_a_child(void *argument)
{
    struct family *family = argument;

    family->parent = getpid();
    (void)spawn(live_as_long_as, family);
    for (;;)
        (void)pause();
}

/* Children that lost their parent come to this process: the fixture has made it a subreaper. */
START_TEST(a_process_dies_with_its_parent)
{
    struct family *family = shared_memory(sizeof(*family));
    pid_t parent = spawn(raise_a_child, family);
    int status;

    await(atomic_load(&family->ready));
    ck_assert(!atomic_load(&family->refused));
    put_to_death(parent);
    ck_assert_int_eq(waitpid(family->child, &status, 0), family->child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST

START_TEST(whose_parent_has_died_before_is_told_so)
{
    struct family *family = shared_memory(sizeof(*family));

    family->parent = INT_MAX; /* not its parent, as one that has died is not any more */
    join(spawn(live_as_long_as, family));
    ck_assert(atomic_load(&family->refused));
}
END_TEST

/* ---- the name ---- */

static void expect_name(const char *name, const char *suffix, const char *wanted)
{
    char text[16] = "";

    brood__process_set_name(name, suffix);
    ck_assert_int_eq(prctl(PR_GET_NAME, text), 0);
    ck_assert_str_eq(text, wanted);
}

static void take_names(void *argument)
{
    (void)argument;
    expect_name("brood", "7", "brood-7");
    expect_name("", "x", "-x");
    expect_name("a name of some length", "1023", "a name of -1023"); /* ten bytes, and the suffix is whole */
    expect_name("0123456789", "0123456789", "0123456789-0123");
}

START_TEST(a_name_is_cut_before_its_suffix_is)
{
    in_child(take_names, NULL);
}
END_TEST

/* ---- descriptors ---- */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Opens that very descriptor, be it one of the test framework's own. */
static void open_at(int fd)
{
    int null = open("/dev/null", O_RDONLY);

    if (null == fd)
        return;
    if (null < 0 || dup2(null, fd) != fd)
        _exit(98);
    close(null);
}

static int is_one_of(int fd, const int *some, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (some[i] == fd)
            return 1;
    return 0;
}

/* A check that fails could not say so: the descriptor for that is closed, too. */
static void keep_some(const int *some, size_t count)
{
    int kept[8];

    for (int fd = 3; fd < 40; fd++)
        open_at(fd);
    open_at(500);
    memcpy(kept, some, count * sizeof(*some));
    brood__process_close_all_but(kept, count);
    for (int fd = 0; fd < 600; fd++) {
        bool wanted = fd < 3 || is_one_of(fd, some, count);

        if (is_open(fd) != wanted)
            _exit(fd < 100 ? 100 + fd : 99);
    }
    _exit(0);
}

static const struct selection {
    int kept[4];
    size_t count;
} selections[] = {
    {{0}, 0},       {{3}, 1},          {{39}, 1}, {{500}, 1}, {{30, 4, 17}, 3}, {{5, 4, 3}, 3}, {{2, 12, 0, 500}, 4},
    {{9, 9, 9}, 3}, {{-1, 20, -1}, 3},
};
#define SELECTIONS (int)(sizeof(selections) / sizeof(selections[0]))

static void keep_selection(void *argument)
{
    const struct selection *selection = argument;

    keep_some(selection->kept, selection->count);
}

START_TEST(every_descriptor_is_closed_but_those_kept_and_the_standard_ones)
{
    struct selection selection = selections[_i];
    pid_t pid = spawn(keep_selection, &selection);
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "died of signal %d", WTERMSIG(status));
    ck_assert_msg(WEXITSTATUS(status) == 0, "descriptor %d is wrong", WEXITSTATUS(status) - 100);
}
END_TEST

static void read_nothing(void *argument)
{
    char byte;
    int before;

    (void)argument;
    before = dup(STDERR_FILENO);
    close(before);
    brood__process_empty_stdin();
    ck_assert_int_eq(read(STDIN_FILENO, &byte, 1), 0);
    ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFD) & FD_CLOEXEC, 0); /* also for what it executes */
    ck_assert_msg(!is_open(before), "a descriptor was left open");
}

static void read_nothing_without_stdin(void *argument)
{
    char byte;

    (void)argument;
    close(STDIN_FILENO);
    brood__process_empty_stdin();
    ck_assert_int_eq(read(STDIN_FILENO, &byte, 1), 0);
    ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFD) & FD_CLOEXEC, 0);
}

static void move_each(void *argument)
{
    (void)argument;
    for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++) {
        int fd;

        close(standard);
        fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        if (fd != standard)
            _exit(100);
        fd = brood__fd_not_standard(fd);
        if (fd <= STDERR_FILENO || is_open(standard) || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
            _exit(101 + standard);
        if (read(fd, &(char){1}, 1) != 1) /* it is the same file */
            _exit(104);
        open_at(standard);
    }
}

static void move_without_any(void *argument)
{
    int fd;

    (void)argument;
    for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++)
        close(standard);
    fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (fd != STDIN_FILENO || brood__fd_not_standard(fd) <= STDERR_FILENO || is_open(STDIN_FILENO))
        _exit(1);
}

START_TEST(a_descriptor_with_a_standard_number_gets_another)
{
    in_child(move_each, NULL);
    in_child(move_without_any, NULL);
}
END_TEST

static void stay_without_other_numbers(void *argument)
{
    struct rlimit three = {3, 3};

    (void)argument;
    close(STDIN_FILENO);
    open_at(STDIN_FILENO);
    if (setrlimit(RLIMIT_NOFILE, &three) < 0 || brood__fd_not_standard(STDIN_FILENO) != STDIN_FILENO ||
        !is_open(STDIN_FILENO))
        _exit(1);
}

START_TEST(other_descriptors_stay_as_they_are)
{
    int fd = dup(STDERR_FILENO);

    ck_assert_int_gt(fd, STDERR_FILENO);
    ck_assert_int_eq(brood__fd_not_standard(fd), fd);
    ck_assert_int_eq(brood__fd_not_standard(-1), -1);
    ck_assert_int_eq(brood__fd_not_standard(-EMFILE), -EMFILE);
    in_child(stay_without_other_numbers, NULL);
    close(fd);
}
END_TEST

START_TEST(standard_input_reads_as_empty)
{
    int ends[2];
    int before = dup(STDIN_FILENO);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(write(ends[1], "input", 5), 5);
    ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    in_child(read_nothing, NULL);
    in_child(read_nothing_without_stdin, NULL);
    ck_assert_int_eq(dup2(before, STDIN_FILENO), STDIN_FILENO);
    close(before);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- a handler that does not come back ---- */

static void hang_in_handler(int number)
{
    brood__process_end_in(20000000, number);
    for (;;)
        (void)pause();
}

static void crash_and_hang(void *unused)
{
    struct sigaction action = {.sa_handler = hang_in_handler, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

    (void)unused;
    ck_assert_int_eq(sigaction(SIGABRT, &action, NULL), 0);
    abort();
}

START_TEST(a_handler_that_hangs_is_ended_by_its_signal)
{
    int status;
    pid_t pid = spawn(crash_and_hang, NULL);

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("process");

    add_tests(suite, "signals", handlers_are_gone_nothing_is_blocked_and_what_was_ignored_stays_so,
              an_interrupt_from_the_terminal_is_ignored_and_a_termination_is_not,
              how_children_end_is_known_although_the_program_ignored_it, a_handler_that_hangs_is_ended_by_its_signal, NULL);
    add_tests(suite, "end", a_process_dies_with_its_parent, whose_parent_has_died_before_is_told_so, NULL);
    add_tests(suite, "name", a_name_is_cut_before_its_suffix_is, NULL);
    add_loop_tests(suite, "descriptors", 0, SELECTIONS, every_descriptor_is_closed_but_those_kept_and_the_standard_ones,
                   NULL);
    add_tests(suite, "standard", standard_input_reads_as_empty, a_descriptor_with_a_standard_number_gets_another,
              other_descriptors_stay_as_they_are, NULL);
    return run_suite(suite);
}
