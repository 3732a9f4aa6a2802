/* check_tool.c - the programs, from outside: brood, brood-worker, and the example of a worker of one's own.
 *
 * The environment says where they are: BROOD_PROGRAM, BROOD_WORKER_PROGRAM, BROOD_INTEGRATE_PROGRAM, and BROOD_MODULE for
 * module_triple.so.
 *
 * Where a test needs a worker that misbehaves, this program is it: started with CHECK_TOOL_ROLE in the environment it
 * serves a pool, and its task does what the role says.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

extern char **environ;

/* ---- misbehaving workers ---- */

/* As in workers/kernels.h. */
struct tool_span {
    int64_t kernel;
    double from, to;
    int64_t steps;
};

static bool has_role(const char *role)
{
    const char *mine = getenv("CHECK_TOOL_ROLE");

    return mine && strcmp(mine, role) == 0;
}

/* liar: any number.  guesser: the integral of x^2, near enough, but not by the loop.  waiter: says that it runs, on stderr,
 * and never ends. */
BROOD_TASK(speedup_span, struct tool_span, double)
{
    *result = has_role("guesser") ? (pow(arg->to, 3) - pow(arg->from, 3)) / 3 : 1;
    if (has_role("waiter")) {
        if (write(STDERR_FILENO, "R", 1) != 1)
            return -EIO;
        alarm(30); /* lest it outlive a test that fails */
        for (;;)
            pause();
    }
    return 0;
}

/* ---- running a program ---- */

#define TEXT_MAX 65536

struct outcome {
    int status; /* as from wait() */
    char out[TEXT_MAX], err[TEXT_MAX];
};

static struct outcome outcome;

static char *program(const char *variable)
{
    char *path = getenv(variable);

    ck_assert_msg(path != NULL, "%s is not set", variable);
    return path;
}

static void read_back(int fd, char text[TEXT_MAX])
{
    ssize_t length = pread(fd, text, TEXT_MAX - 1, 0);

    ck_assert_int_ge(length, 0);
    text[length] = '\0';
    close(fd);
}

/* Runs a program to its end, with what it prints in `outcome`. */
static void run(char *const argv[])
{
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    posix_spawn_file_actions_t actions;
    pid_t pid;

    ck_assert_int_ge(out, 0);
    ck_assert_int_ge(err, 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    ck_assert_int_eq(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_int_eq(waitpid(pid, &outcome.status, 0), pid);
    read_back(out, outcome.out);
    read_back(err, outcome.err);
}

#define RUN(...) run((char *[]){__VA_ARGS__, NULL})
#define SPEEDUP(...) RUN(program("BROOD_PROGRAM"), "speedup", "--worker", program("BROOD_WORKER_PROGRAM"), __VA_ARGS__)

static void exited_with(int status)
{
    ck_assert_msg(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == status, "status 0x%x, not %d: %s%s",
                  (unsigned)outcome.status, status, outcome.out, outcome.err);
}

static int lines_in(const char *text)
{
    int lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

/* ---- reading the JSON ---- */

static json_t *rows_from(const char *text)
{
    json_error_t error;
    json_t *rows = json_loads(text, 0, &error);

    ck_assert_msg(json_is_array(rows), "%s: %s", error.text, text);
    return rows;
}

static double number_in(const json_t *row, const char *field)
{
    const json_t *value = json_object_get(row, field);

    ck_assert_msg(json_is_number(value), "%s", field);
    return json_number_value(value);
}

static void has_just_the_fields(const json_t *row)
{
    static const char *const numbers[] = {"workers",         "seconds", "speedup", "efficiency",
                                          "startup_seconds", "result",  "error"};

    ck_assert_uint_eq(json_object_size(row), 8);
    ck_assert(json_is_string(json_object_get(row, "kind")));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        ck_assert(isfinite(number_in(row, numbers[i])));
    ck_assert(json_is_integer(json_object_get(row, "workers")));
}

static void is_row(const json_t *rows, size_t index, const char *kind, int workers)
{
    const json_t *row = json_array_get(rows, index);

    ck_assert_str_eq(json_string_value(json_object_get(row, "kind")), kind);
    ck_assert_int_eq(json_integer_value(json_object_get(row, "workers")), workers);
}

/* ---- brood speedup ---- */

START_TEST(standard_output_is_the_json_alone_with_a_row_for_each_kind_and_number_of_workers)
{
    static const char *const kinds[] = {"locked", "threads", "processes", "exec"};
    json_t *rows;

    SPEEDUP("--steps", "1e5", "--workers", "1,3", "--json", "-");
    exited_with(0);
    ck_assert_str_eq(outcome.err, "");
    rows = rows_from(outcome.out);
    ck_assert_uint_eq(json_array_size(rows), 9);
    is_row(rows, 0, "serial", 1);
    for (size_t i = 0; i < 4; i++) {
        is_row(rows, 1 + 2 * i, kinds[i], 1);
        is_row(rows, 2 + 2 * i, kinds[i], 3);
    }
    for (size_t i = 0; i < 9; i++)
        has_just_the_fields(json_array_get(rows, i));
    json_decref(rows);
}
END_TEST

START_TEST(speedup_and_efficiency_follow_from_the_seconds)
{
    json_t *rows, *serial, *row;

    SPEEDUP("--steps", "1e6", "--workers", "1", "--kinds", "serial,processes", "--json", "-");
    exited_with(0);
    rows = rows_from(outcome.out);
    serial = json_array_get(rows, 0);
    row = json_array_get(rows, 1);
    ck_assert_double_eq_tol(number_in(serial, "speedup"), 1, 1e-12);
    ck_assert_double_eq_tol(number_in(serial, "efficiency"), 1, 1e-12);
    ck_assert_double_eq(number_in(serial, "startup_seconds"), 0);
    ck_assert_double_gt(number_in(row, "startup_seconds"), 0);
    ck_assert_double_gt(number_in(row, "seconds"), 0);
    ck_assert_double_eq_tol(number_in(row, "speedup") * number_in(row, "seconds"), number_in(serial, "seconds"), 1e-12);
    ck_assert_double_eq_tol(number_in(row, "efficiency"), number_in(row, "speedup"), 1e-12);
    json_decref(rows);
}
END_TEST

START_TEST(only_the_kinds_asked_for_are_shown)
{
    json_t *rows;

    SPEEDUP("--steps", "1e4", "--workers", "2", "--kinds", "threads", "--json", "-");
    exited_with(0);
    rows = rows_from(outcome.out);
    ck_assert_uint_eq(json_array_size(rows), 1);
    is_row(rows, 0, "threads", 2);
    json_decref(rows);
}
END_TEST

static double damped_primitive(double x)
{
    return -exp(-x) * (sin(x) + cos(x)) / 2;
}

static void all_kinds_find(char *kernel, double value)
{
    json_t *rows;
    size_t index;
    json_t *row;

    SPEEDUP("--kernel", kernel, "--from", "1", "--to", "4", "--steps", "2e5", "--repeats", "1", "--workers", "2", "--json",
            "-");
    exited_with(0);
    rows = rows_from(outcome.out);
    ck_assert_uint_eq(json_array_size(rows), 5);
    json_array_foreach(rows, index, row)
    {
        ck_assert_double_eq_tol(number_in(row, "result"), value, 1e-8);
        ck_assert_double_eq_tol(number_in(row, "error"), fabs(number_in(row, "result") - value) / value, 1e-12);
    }
    json_decref(rows);
}

START_TEST(every_kind_finds_the_integral_of_every_kernel)
{
    all_kinds_find("square", 21);
    all_kinds_find("damped", damped_primitive(4) - damped_primitive(1));
    all_kinds_find("oscillating", 3 - (cos(80) - cos(20)) / 20);
    all_kinds_find("peak", 0.1 * (atan(10) + atan(20)));
}
END_TEST

START_TEST(uneven_cuts_change_nothing)
{
    SPEEDUP("--steps", "7", "--chunks", "7", "--workers", "3", "--repeats", "1");
    exited_with(0);
    SPEEDUP("--steps", "1e5", "--chunks", "999", "--workers", "3", "--repeats", "2", "--kernel", "peak");
    exited_with(0);
    SPEEDUP("--steps", "1", "--chunks", "1", "--workers", "2", "--repeats", "1");
    exited_with(0);
}
END_TEST

START_TEST(a_json_file_is_replaced_and_the_table_stays_on_standard_output)
{
    char path[] = "/tmp/check_tool.XXXXXX", old[8192], new[8192] = "";
    int fd = mkstemp(path);
    json_t *rows;

    ck_assert_int_ge(fd, 0);
    memset(old, 'x', sizeof(old));
    ck_assert_int_eq(write(fd, old, sizeof(old)), sizeof(old));
    SPEEDUP("--steps", "1e4", "--kinds", "serial", "--json", path);
    unlink(path);
    exited_with(0);
    ck_assert_int_lt(pread(fd, new, sizeof(new) - 1, 0), sizeof(new) - 1);
    close(fd);
    ck_assert_ptr_nonnull(strstr(outcome.out, "efficiency"));
    rows = rows_from(new);
    ck_assert_uint_eq(json_array_size(rows), 1);
    json_decref(rows);
}
END_TEST

START_TEST(the_table_fits_eighty_columns_and_ends_in_words)
{
    char *line = outcome.out;

    SPEEDUP("--kernel", "peak", "--steps", "1e5", "--workers", "1,2");
    exited_with(0);
    ck_assert_str_eq(outcome.err, "");
    while (*line) {
        size_t length = strcspn(line, "\n");

        ck_assert_msg(length <= 80, "%.*s", (int)length, line);
        line[length] = ' '; /* so that phrases are found across lines */
        line += length + 1;
    }
    ck_assert_ptr_nonnull(strstr(outcome.out, "one loop on one core"));
    ck_assert_ptr_nonnull(strstr(outcome.out, "threads behind one lock"));
}
END_TEST

START_TEST(bad_arguments_are_one_line_on_stderr_and_status_2)
{
    static char *const bad[][4] = {
        {"--workers", "0"},
        {"--workers", "1,,2"},
        {"--workers", "1025"},
        {"--workers", ""},
        {"--workers", "two"},
        {"--kinds", "foo"},
        {"--kinds", "serial,"},
        {"--steps", "-1"},
        {"--steps", "0"},
        {"--steps", "1.5"},
        {"--steps", "1e99"},
        {"--steps", "nan"},
        {"--steps", "10x"},
        {"--from", "inf"},
        {"--from", ""},
        {"--from", "3", "--to", "3"},
        {"--to", "-1"},
        {"--to", "1e200"},
        {"--kernel", "cube"},
        {"--chunks", "0"},
        {"--repeats", "0"},
        {"--repeats", "1e9"},
        {"--chunks", "9", "--steps", "8"},
        {"--worker", "/none"},
        {"--worker", "/"},
        {"--worker", "no-such-program"},
        {"unexpected"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        SPEEDUP(bad[i][0], bad[i][1], bad[i][2], bad[i][3]);
        exited_with(2);
        ck_assert_str_eq(outcome.out, "");
        ck_assert_msg(lines_in(outcome.err) == 1, "%s", outcome.err);
        ck_assert_msg(strncmp(outcome.err, "brood speedup: ", 15) == 0, "%s", outcome.err);
        ck_assert_msg(strstr(outcome.err, bad[i][0]) != NULL, "%s does not name %s", outcome.err, bad[i][0]);
    }
}
END_TEST

START_TEST(unknown_options_are_status_2)
{
    SPEEDUP("--frobnicate");
    exited_with(2);
    ck_assert_ptr_nonnull(strstr(outcome.err, "--frobnicate"));
    SPEEDUP("--steps");
    exited_with(2);
    ck_assert_ptr_nonnull(strstr(outcome.err, "--steps"));
}
END_TEST

/* So many steps would take days. */
START_TEST(a_file_that_cannot_be_written_is_found_before_the_run)
{
    SPEEDUP("--steps", "1e15", "--json", "/no/such/directory/results.json");
    exited_with(2);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    ck_assert_ptr_nonnull(strstr(outcome.err, "/no/such/directory/results.json"));
    SPEEDUP("--steps", "1e15", "--json", "/");
    exited_with(2);
}
END_TEST

START_TEST(results_that_cannot_be_written_are_status_1)
{
    SPEEDUP("--steps", "100", "--kinds", "serial", "--json", "/dev/full");
    exited_with(1);
    ck_assert_int_eq(lines_in(outcome.err), 1);
}
END_TEST

/* Runs brood by a shell, which opens and closes what posix_spawn() would have to be told to. */
static void run_by_shell(const char *arguments)
{
    char line[256];

    ck_assert_int_lt(snprintf(line, sizeof(line), "\"$0\" %s", arguments), sizeof(line));
    RUN("/bin/sh", "-c", line, program("BROOD_PROGRAM"));
}

START_TEST(a_standard_output_that_takes_nothing_is_one_line_on_stderr_and_status_1)
{
    static const char *const commands[] = {"speedup --steps 100 --kinds serial", "workers", "gc"};

    for (size_t i = 0; i < 2 * sizeof(commands) / sizeof(commands[0]); i++) {
        char arguments[128];

        snprintf(arguments, sizeof(arguments), "%s %s", commands[i / 2], i % 2 ? ">/dev/full" : ">&-");
        run_by_shell(arguments);
        exited_with(1);
        ck_assert_msg(lines_in(outcome.err) == 1 && strstr(outcome.err, "standard output: "), "%s", outcome.err);
    }
}
END_TEST

/* The file gets the number of the standard output that is closed, if the program takes no care. */
START_TEST(without_a_standard_output_the_json_file_is_as_it_should_be)
{
    char path[] = "/tmp/check_tool.XXXXXX", arguments[128], text[8192] = "";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    snprintf(arguments, sizeof(arguments), "speedup --steps 1e4 --kinds serial --json %s >&-", path);
    run_by_shell(arguments);
    unlink(path);
    exited_with(1);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    close(fd);
    json_decref(rows_from(text));
}
END_TEST

/* A terminal of so many columns. */
static int open_terminal(unsigned short columns, int *ret_slave)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master), 0);
    ck_assert_int_eq(unlockpt(master), 0);
    *ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(*ret_slave, 0);
    ck_assert_int_eq(ioctl(*ret_slave, TIOCSWINSZ, &(struct winsize){.ws_row = 24, .ws_col = columns}), 0);
    return master;
}

/* Until no process has the terminal any more. */
static void read_terminal(int master, char text[TEXT_MAX])
{
    size_t length = 0;
    ssize_t r;

    while ((r = read(master, text + length, TEXT_MAX - 1 - length)) > 0)
        length += (size_t)r;
    text[length] = '\0';
    close(master);
}

static void speed_up_at_terminal(unsigned short columns)
{
    char *argv[] = {program("BROOD_PROGRAM"), "speedup",   "--steps", "1e4", "--kinds",
                    "serial,threads",         "--workers", "1,2",     NULL};
    posix_spawn_file_actions_t actions;
    int slave, master = open_terminal(columns, &slave);
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, slave, STDERR_FILENO);
    ck_assert_int_eq(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(slave);
    read_terminal(master, outcome.err);
    ck_assert_int_eq(waitpid(pid, &outcome.status, 0), pid);
    exited_with(0);
}

START_TEST(the_bar_fits_the_terminal)
{
    static const unsigned short widths[] = {5, 30, 80, 200};

    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        int drawn = 0;

        speed_up_at_terminal(widths[i]);
        for (char *line = strtok(outcome.err, "\r"); line; line = strtok(NULL, "\r"), drawn++)
            ck_assert_msg(strcspn(line, "\033") < widths[i], "%s", line);
        ck_assert_int_eq(drawn, 3 * 3 + 1); /* serial, and two numbers of threads, three times; and the end */
    }
}
END_TEST

/* `brood speedup` with this program, in that role, as exec's worker. */
#define SPEEDUP_WITH(role, ...)                                                                                \
    do {                                                                                                       \
        char self[4096] = "";                                                                                  \
                                                                                                               \
        ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);                               \
        setenv("CHECK_TOOL_ROLE", role, 1);                                                                    \
        RUN(program("BROOD_PROGRAM"), "speedup", "--kinds", "serial,exec", "--workers", "2", "--worker", self, \
            __VA_ARGS__);                                                                                      \
        unsetenv("CHECK_TOOL_ROLE");                                                                           \
    } while (0)

START_TEST(a_wrong_integral_is_status_1)
{
    SPEEDUP_WITH("liar", "--steps", "1000");
    exited_with(1);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    ck_assert_ptr_nonnull(strstr(outcome.err, "wrong integral: exec"));
    ck_assert_ptr_nonnull(strstr(outcome.out, "efficiency"));
}
END_TEST

START_TEST(kinds_that_disagree_are_status_1)
{
    SPEEDUP_WITH("guesser", "--steps", "1000");
    exited_with(1);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    ck_assert_ptr_nonnull(strstr(outcome.err, "results disagree: exec"));
}
END_TEST

START_TEST(a_worker_that_is_none_is_status_1)
{
    RUN(program("BROOD_PROGRAM"), "speedup", "--steps", "1000", "--kinds", "exec", "--worker", "/bin/true");
    exited_with(1);
    ck_assert_int_eq(lines_in(outcome.err), 1);
}
END_TEST

/* Its workers say on standard error, which is a pipe, that they run. */
static pid_t start_waiting_tool(int *ret_fd)
{
    char self[4096] = "";
    char *argv[] = {
        program("BROOD_PROGRAM"), "speedup", "--kinds", "exec", "--workers", "2", "--steps", "100", "--worker", self, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int ends[2];
    pid_t pid;

    ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
    ck_assert_int_eq(pipe(ends), 0);
    setenv("CHECK_TOOL_ROLE", "waiter", 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    ck_assert_int_eq(posix_spawn(&pid, argv[0], &actions, &attributes, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    unsetenv("CHECK_TOOL_ROLE");
    close(ends[1]);
    *ret_fd = ends[0];
    return pid;
}

/* What outlives the tool becomes a child of this process (see support.c), which waits until it has none. */
START_TEST(an_interrupt_ends_the_tool_and_its_workers)
{
    int fd, status;
    char letter = 0;
    pid_t pid;

    pid = start_waiting_tool(&fd);
    ck_assert_int_eq(read(fd, &letter, 1), 1);
    ck_assert_int_eq(letter, 'R');
    ck_assert_int_eq(kill(-pid, SIGINT), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    ck_assert_int_eq(errno, ECHILD);
    close(fd);
}
END_TEST

/* ---- brood itself ---- */

START_TEST(workers_tells_how_many_and_why)
{
    char expected[32];

    unsetenv("BROOD_WORKERS");
    RUN(program("BROOD_PROGRAM"), "workers");
    exited_with(0);
    snprintf(expected, sizeof(expected), "%d: ", brood_workers_default(NULL, 0));
    ck_assert_msg(strncmp(outcome.out, expected, strlen(expected)) == 0, "%s", outcome.out);
    setenv("BROOD_WORKERS", "1", 1);
    RUN(program("BROOD_PROGRAM"), "workers");
    unsetenv("BROOD_WORKERS");
    exited_with(0);
    ck_assert_msg(strncmp(outcome.out, "1: ", 3) == 0, "%s", outcome.out);
    ck_assert_ptr_nonnull(strstr(outcome.out, "BROOD_WORKERS"));
}
END_TEST

START_TEST(a_brood_workers_that_makes_no_sense_is_refused_in_words)
{
    static const char *const values[] = {"0", "abc", "-1", "1.5", "1025", " 3", "99999999999999999999"};
    static char *const commands[] = {"workers", "speedup", "chaos"};
    char words[100];

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        setenv("BROOD_WORKERS", values[i], 1);
        RUN(program("BROOD_PROGRAM"), commands[i % 3]);
        unsetenv("BROOD_WORKERS");
        exited_with(2);
        snprintf(words, sizeof(words), "brood %s: BROOD_WORKERS '%s': give a whole number from 1 to 1024", commands[i % 3],
                 values[i]);
        ck_assert_msg(strstr(outcome.err, words) != NULL, "%s", outcome.err);
    }
    setenv("BROOD_WORKERS", "", 1); /* is none */
    RUN(program("BROOD_PROGRAM"), "workers");
    unsetenv("BROOD_WORKERS");
    exited_with(0);
}
END_TEST

/* ---- brood gc ---- */

static void leave_memory(const char *name)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct brood_memory *memory;

        _exit(brood_memory_create(&memory, name, 100000) < 0); /* dies with it, and unlinks nothing */
    }
    ck_assert_int_eq(waitpid(pid, &outcome.status, 0), pid);
    exited_with(0);
}

START_TEST(gc_lists_what_was_left_and_removes_it_when_asked)
{
    brood_auto(memory) *memory = NULL, *kept = NULL;
    char name[32], other[32];

    snprintf(name, sizeof(name), "tool-%d", getpid());
    snprintf(other, sizeof(other), "kept-%d", getpid());
    ck_assert_int_eq(brood_memory_create(&kept, other, 1), 0);
    leave_memory(name);
    RUN(program("BROOD_PROGRAM"), "gc");
    exited_with(0);
    ck_assert_msg(strstr(outcome.out, name) && strstr(outcome.out, "KiB, of process"), "%s", outcome.out);
    ck_assert_ptr_null(strstr(outcome.out, other));
    RUN(program("BROOD_PROGRAM"), "gc", "--remove");
    exited_with(0);
    ck_assert_msg(strstr(outcome.out, name) && strstr(outcome.out, ": removed"), "%s", outcome.out);
    ck_assert_int_eq(brood_memory_attach(&memory, name), -ENOENT);
    RUN(program("BROOD_PROGRAM"), "gc");
    exited_with(0);
    ck_assert_ptr_null(strstr(outcome.out, name));
    ck_assert_int_eq(brood_memory_unlink(other), 0);
}
END_TEST

START_TEST(gc_writes_a_name_on_one_line_whatever_it_is)
{
    char name[48], shown[48];

    snprintf(name, sizeof(name), "tool-%d\n\033[2J\\\xff", getpid());
    snprintf(shown, sizeof(shown), "tool-%d\\x0a\\x1b[2J\\x5c\\xff: ", getpid());
    leave_memory(name);
    RUN(program("BROOD_PROGRAM"), "gc", "--remove");
    exited_with(0);
    ck_assert_msg(strstr(outcome.out, shown), "%s", outcome.out);
    ck_assert_int_eq(brood_memory_unlink(name), -ENOENT);
}
END_TEST

START_TEST(the_version_is_that_of_the_library)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "brood %s\n", brood_version());
    RUN(program("BROOD_PROGRAM"), "--version");
    exited_with(0);
    ck_assert_str_eq(outcome.out, expected);
    snprintf(expected, sizeof(expected), "brood-worker %s\n", brood_version());
    RUN(program("BROOD_WORKER_PROGRAM"), "--version");
    exited_with(0);
    ck_assert_str_eq(outcome.out, expected);
}
END_TEST

START_TEST(help_is_on_standard_output)
{
    RUN(program("BROOD_PROGRAM"), "--help");
    exited_with(0);
    ck_assert_ptr_nonnull(strstr(outcome.out, "speedup"));
    ck_assert_ptr_nonnull(strstr(outcome.out, "workers"));
    RUN(program("BROOD_PROGRAM"), "speedup", "--help");
    exited_with(0);
    ck_assert_ptr_nonnull(strstr(outcome.out, "--kernel"));
    RUN(program("BROOD_WORKER_PROGRAM"), "--help");
    exited_with(0);
    ck_assert_ptr_nonnull(strstr(outcome.out, "--module"));
}
END_TEST

START_TEST(no_command_and_an_unknown_one_are_status_2)
{
    RUN(program("BROOD_PROGRAM"));
    exited_with(2);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    RUN(program("BROOD_PROGRAM"), "hatch");
    exited_with(2);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    ck_assert_ptr_nonnull(strstr(outcome.err, "hatch"));
}
END_TEST

/* ---- brood-worker, and a worker of one's own ---- */

static int in_the_host(struct brood_bytes arg, struct brood_reply *reply)
{
    (void)arg, (void)reply;
    return -ENOSYS;
}

START_TEST(a_worker_started_by_hand_explains_itself)
{
    RUN(program("BROOD_WORKER_PROGRAM"));
    exited_with(2);
    ck_assert_str_eq(outcome.out, "");
    ck_assert_int_ge(lines_in(outcome.err), 1);
    RUN(program("BROOD_INTEGRATE_PROGRAM"));
    exited_with(2);
    ck_assert_int_ge(lines_in(outcome.err), 1);
}
END_TEST

START_TEST(a_module_that_cannot_be_loaded_is_named)
{
    RUN(program("BROOD_WORKER_PROGRAM"), "--module", "/no/such/module.so");
    exited_with(1);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    ck_assert_ptr_nonnull(strstr(outcome.err, "/no/such/module.so"));
}
END_TEST

START_TEST(a_module_brings_its_tasks)
{
    static const struct brood_task module_triple = {"module_triple", in_the_host, sizeof(double), sizeof(double)};
    const char *args[] = {"--module", program("BROOD_MODULE"), NULL};
    struct brood_pool *pool;
    double seven = 7, result = 0;

    ck_assert_int_eq(
        brood_pool_open(&pool, BROOD_POOL(.workers = 2, .worker = program("BROOD_WORKER_PROGRAM"), .worker_args = args)),
        0);
    ck_assert_int_eq(brood_pool_apply(pool, &module_triple, &result, &seven), 0);
    ck_assert_double_eq(result, 21);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* As in workers/integrate.c. */
struct area {
    double from, to;
    long steps;
};

/* ---- chaos: what it finds is tests/soak.c's business ---- */

#define CHAOS(...) RUN(program("BROOD_PROGRAM"), "chaos", __VA_ARGS__)

START_TEST(chaos_prints_a_table_of_eighty_columns_that_ends_in_words)
{
    CHAOS("--seconds", "1", "--workers", "2", "--every-ms", "5");
    exited_with(0);
    ck_assert_ptr_nonnull(strstr(outcome.out, "\nlost with their worker"));
    ck_assert_ptr_nonnull(strstr(outcome.out, "\nNothing was left behind"));
    for (const char *line = strtok(outcome.out, "\n"); line; line = strtok(NULL, "\n"))
        ck_assert_uint_le(strlen(line), 79);
}
END_TEST

START_TEST(bad_arguments_of_chaos_are_one_line_on_stderr_and_status_2)
{
    static char *const bad[][2] = {
        {"--seconds", "0"},      {"--workers", "1025"}, {"--seed", "x"},
        {"--every-ms", "0.001"}, {"--every-ms", "nan"}, {"--json", "/nowhere/file"},
    };

    CHAOS(bad[_i][0], bad[_i][1]);
    exited_with(2);
    ck_assert_int_eq(lines_in(outcome.err), 1);
    ck_assert_ptr_nonnull(strstr(outcome.err, bad[_i][0]));
    ck_assert_str_eq(outcome.out, "");
}
END_TEST

START_TEST(the_example_of_a_worker_integrates)
{
    static const struct brood_task integrate = {"integrate", in_the_host, sizeof(struct area), sizeof(double)};
    const struct area areas[] = {{0, 3, 10000}, {3, 6, 10000}, {0, 1, 0}};
    double results[3] = {0};
    struct brood_pool *pool;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.workers = 2, .worker = program("BROOD_INTEGRATE_PROGRAM"))), 0);
    ck_assert_int_eq(brood_pool_map(pool, &integrate, results, areas, 2, NULL), 0);
    ck_assert_double_eq_tol(results[0], 9, 1e-6);
    ck_assert_double_eq_tol(results[1], 63, 1e-6);
    ck_assert_int_eq(brood_pool_apply(pool, &integrate, &results[2], &areas[2]), -EDOM);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite;

    if (getenv("CHECK_TOOL_ROLE"))
        return brood_worker_main(argc, argv);
    suite = suite_create("tool");
    add_tests(suite, "speedup", standard_output_is_the_json_alone_with_a_row_for_each_kind_and_number_of_workers,
              speedup_and_efficiency_follow_from_the_seconds, only_the_kinds_asked_for_are_shown,
              every_kind_finds_the_integral_of_every_kernel, uneven_cuts_change_nothing,
              a_json_file_is_replaced_and_the_table_stays_on_standard_output,
              the_table_fits_eighty_columns_and_ends_in_words, NULL);
    add_tests(suite, "failure", bad_arguments_are_one_line_on_stderr_and_status_2, unknown_options_are_status_2,
              a_file_that_cannot_be_written_is_found_before_the_run, results_that_cannot_be_written_are_status_1,
              a_standard_output_that_takes_nothing_is_one_line_on_stderr_and_status_1,
              without_a_standard_output_the_json_file_is_as_it_should_be, the_bar_fits_the_terminal,
              a_wrong_integral_is_status_1, kinds_that_disagree_are_status_1, a_worker_that_is_none_is_status_1,
              an_interrupt_ends_the_tool_and_its_workers, NULL);
    add_tests(suite, "chaos", chaos_prints_a_table_of_eighty_columns_that_ends_in_words, NULL);
    add_loop_tests(suite, "chaos", 0, 6, bad_arguments_of_chaos_are_one_line_on_stderr_and_status_2, NULL);
    add_tests(suite, "gc", gc_lists_what_was_left_and_removes_it_when_asked, gc_writes_a_name_on_one_line_whatever_it_is,
              NULL);
    add_tests(suite, "brood", workers_tells_how_many_and_why, a_brood_workers_that_makes_no_sense_is_refused_in_words,
              the_version_is_that_of_the_library, help_is_on_standard_output, no_command_and_an_unknown_one_are_status_2,
              NULL);
    add_tests(suite, "worker", a_worker_started_by_hand_explains_itself, a_module_that_cannot_be_loaded_is_named,
              a_module_brings_its_tasks, the_example_of_a_worker_integrates, NULL);
    return run_suite(suite);
}
