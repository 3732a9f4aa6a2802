#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "child.h"
#include "support.h"

struct channel {
    int out, in;
};

static struct channel open_log(enum brood_log_level level)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(brood_log_to(ends[1], level), 0);
    return (struct channel){ends[0], ends[1]};
}

static void read_log(struct channel *log, char *text, size_t size)
{
    ssize_t n = read(log->out, text, size - 1);

    text[n > 0 ? n : 0] = '\0';
}

static void close_log(struct channel *log)
{
    ck_assert_int_eq(brood_log_to(STDERR_FILENO, BROOD_LOG_OFF), 0);
    close(log->in);
    close(log->out);
}

/* What comes after the time. */
static const char *after_time(const char *line)
{
    const char *rest_of_it = strchr(line, ' ');

    ck_assert_ptr_nonnull(rest_of_it);
    return rest_of_it + 1;
}

/* The second of the clock that the log reads. time() lags it by up to a tick, so just after a full second it is too early. */
static time_t clock_now(void)
{
    struct timespec now;

    ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
    return now.tv_sec;
}

START_TEST(nothing_is_logged_unless_asked_for)
{
    for (int level = BROOD_LOG_DEBUG; level <= BROOD_LOG_OFF; level++)
        ck_assert(!brood_log_is_on((enum brood_log_level)level));
}
END_TEST

START_TEST(a_line_has_a_time_a_level_and_names)
{
    struct channel log = open_log(BROOD_LOG_INFO);
    struct tm parts = {0};
    char line[256];
    time_t before = clock_now(), at;

    brood_log(BROOD_LOG_INFO, "%d to go", 17);
    read_log(&log, line, sizeof(line));
    ck_assert_str_eq(after_time(line), "INFO MainProcess MainThread: 17 to go\n");
    ck_assert_ptr_nonnull(strptime(line, "%Y-%m-%dT%H:%M:%S.", &parts));
    at = timegm(&parts);
    ck_assert(at >= before && at <= clock_now());
    ck_assert_int_eq(line[23], 'Z');
    close_log(&log);
}
END_TEST

START_TEST(only_lines_of_the_level_and_above_are_written)
{
    struct channel log = open_log(BROOD_LOG_WARNING);
    char text[1024];

    brood_log(BROOD_LOG_DEBUG, "debug");
    brood_log(BROOD_LOG_INFO, "info");
    ck_assert(!brood_log_is_on(BROOD_LOG_INFO));
    ck_assert(brood_log_is_on(BROOD_LOG_WARNING));
    ck_assert(!brood_log_is_on(BROOD_LOG_OFF));
    brood_log(BROOD_LOG_OFF, "no such line");
    read_log(&log, text, sizeof(text));
    ck_assert_str_eq(text, "");
    brood_log(BROOD_LOG_ERROR, "error");
    read_log(&log, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "ERROR MainProcess MainThread: error\n"));
    ck_assert_int_eq(brood_log_to(log.in, (enum brood_log_level)0), -EINVAL);
    ck_assert_int_eq(brood_log_to(999, BROOD_LOG_INFO), -EBADF);
    ck_assert_int_eq(brood_log_call(NULL, NULL, BROOD_LOG_INFO), -EINVAL);
    close_log(&log);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    struct channel log = open_log(BROOD_LOG_INFO);
    char text[4096];

    brood_log(BROOD_LOG_INFO, "%03000d", 7);
    read_log(&log, text, sizeof(text));
    ck_assert_uint_eq(strlen(strstr(text, "MainThread: ")), strlen("MainThread: ") + 1000 + 1);
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
    close_log(&log);
}
END_TEST

START_TEST(a_text_of_several_lines_is_one)
{
    struct channel log = open_log(BROOD_LOG_INFO);
    char text[256];

    brood_log(BROOD_LOG_INFO, "%s", "one\ntwo\r\nthree\n\n");
    brood_log(BROOD_LOG_INFO, "%s", "\n");
    read_log(&log, text, sizeof(text));
    ck_assert_str_eq(strtok(strstr(text, "MainThread: "), "\n"), "MainThread: one two  three");
    ck_assert_str_eq(strstr(strtok(NULL, "\n"), "MainThread: "), "MainThread: ");
    ck_assert_ptr_null(strtok(NULL, "\n"));
    close_log(&log);
}
END_TEST

START_TEST(errors_stay_as_they_are)
{
    struct channel log = open_log(BROOD_LOG_INFO);

    ck_assert_int_eq(brood_fail(-EDOM, "the reason"), -EDOM);
    errno = ERANGE;
    brood_log(BROOD_LOG_INFO, "something else");
    ck_assert_int_eq(errno, ERANGE);
    ck_assert_str_eq(brood_error(), "the reason");
    close_log(&log);
}
END_TEST

struct lines {
    char last[256];
    enum brood_log_level level;
    int count;
};

static void take_line(enum brood_log_level level, const char *line, void *context)
{
    struct lines *lines = context;

    (void)snprintf(lines->last, sizeof(lines->last), "%s", line);
    lines->level = level;
    lines->count++;
    brood_log(BROOD_LOG_ERROR, "from within");
}

START_TEST(lines_can_go_to_a_function)
{
    struct lines lines = {0};

    ck_assert_int_eq(brood_log_call(take_line, &lines, BROOD_LOG_INFO), 0);
    brood_log(BROOD_LOG_WARNING, "look out");
    ck_assert_int_eq(lines.count, 1);
    ck_assert_int_eq(lines.level, BROOD_LOG_WARNING);
    ck_assert_str_eq(after_time(lines.last), "WARNING MainProcess MainThread: look out");
    ck_assert_int_eq(brood_log_to(STDERR_FILENO, BROOD_LOG_OFF), 0);
}
END_TEST

static int say_hello(void *context)
{
    (void)context;
    brood_log(BROOD_LOG_INFO, "hello");
    return 0;
}

static void *say_hello_too(void *context)
{
    pthread_setname_np(pthread_self(), "stranger");
    (void)say_hello(context);
    return NULL;
}

START_TEST(lines_name_their_thread_and_process)
{
    struct channel log = open_log(BROOD_LOG_INFO);
    struct brood_thread *thread;
    struct brood_process *process;
    pthread_t stranger;
    char line[256];

    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = say_hello, .name = "worker")), 0);
    ck_assert_int_eq(brood_thread_join(thread, BROOD_FOREVER), 0);
    brood_thread_free(thread);
    read_log(&log, line, sizeof(line));
    ck_assert_str_eq(after_time(line), "INFO MainProcess worker: hello\n");
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = say_hello)), 0);
    ck_assert_int_eq(brood_process_join(process, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_process_close(process), 0);
    read_log(&log, line, sizeof(line));
    ck_assert_str_eq(after_time(line), "INFO Process-1 MainThread: hello\n");
    ck_assert_int_eq(pthread_create(&stranger, NULL, say_hello_too, NULL), 0);
    ck_assert_int_eq(pthread_join(stranger, NULL), 0);
    read_log(&log, line, sizeof(line));
    ck_assert_str_eq(after_time(line), "INFO MainProcess stranger: hello\n");
    close_log(&log);
}
END_TEST

START_TEST(the_start_and_end_of_a_process_are_logged)
{
    struct channel log = open_log(BROOD_LOG_DEBUG);
    struct brood_process *process;
    char text[1024], expected[64];

    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.program = "true")), 0);
    ck_assert_int_eq(brood_process_join(process, BROOD_FOREVER), 0);
    read_log(&log, text, sizeof(text));
    (void)snprintf(expected, sizeof(expected), ": Process-1 is process %d\n", brood_process_pid(process));
    ck_assert_ptr_nonnull(strstr(text, expected));
    (void)snprintf(expected, sizeof(expected), ": Process-1 (pid %d) ended with 0\n", brood_process_pid(process));
    ck_assert_ptr_nonnull(strstr(text, expected));
    ck_assert_int_eq(brood_process_close(process), 0);
    close_log(&log);
}
END_TEST

static int open_pool(void *context)
{
    brood_auto(pool) *pool = NULL;

    return brood_pool_open(&pool, BROOD_POOL(.workers = 1, .kind = *(enum brood_kind *)context));
}

START_TEST(what_is_forked_while_there_are_threads_is_warned_of)
{
    const enum brood_kind kinds[] = {BROOD_THREADS, BROOD_PROCESSES};
    struct channel log = open_log(BROOD_LOG_WARNING);
    struct brood_thread *thread;
    struct brood_process *process;
    char text[1024];

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = open_pool, .context = (void *)&kinds[i])), 0);
        ck_assert_int_eq(brood_thread_join(thread, BROOD_FOREVER), 0);
        brood_thread_free(thread);
        read_log(&log, text, sizeof(text));
        ck_assert_int_eq(strstr(text, "WARNING MainProcess Thread-") != NULL, i);
        ck_assert_int_eq(strstr(text, "a pool is opened by a process of 2 threads") != NULL, i);
    }
    ck_assert_int_eq(brood_process_start(&process, BROOD_PROCESS(.run = say_hello)), 0);
    ck_assert_int_eq(brood_process_join(process, BROOD_FOREVER), 0);
    ck_assert_int_eq(brood_process_close(process), 0);
    read_log(&log, text, sizeof(text));
    ck_assert_str_eq(text, "");
    close_log(&log);
}
END_TEST

/* In a child whose program has never said what is to be logged: its standard error is the pipe. */
static void warn_by_default(void *wish)
{
    static const enum brood_kind kind = BROOD_PROCESSES;
    struct brood_thread *thread;
    const char *words = "a pool is opened by a process of 2 threads";
    char text[4096], *first;
    int ends[2], error = dup(STDERR_FILENO);

    if (wish)
        ck_assert_int_eq(setenv("BROOD_LOG", wish, 1), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = open_pool, .context = (void *)&kind)), 0);
        ck_assert_int_eq(brood_thread_join(thread, BROOD_FOREVER), 0);
        brood_thread_free(thread);
    }
    ck_assert_int_eq(dup2(error, STDERR_FILENO), STDERR_FILENO);
    close(error);
    read_log(&(struct channel){.out = ends[0]}, text, sizeof(text));
    first = strstr(text, words);
    ck_assert_msg((first != NULL) == (wish == NULL), "%s", text);
    ck_assert_ptr_null(first ? strstr(first + 1, words) : NULL);
    ck_assert(!brood_log_is_on(BROOD_LOG_ERROR));
}

START_TEST(a_pool_that_is_forked_among_threads_is_warned_of_once_unless_the_log_is_off)
{
    in_child(warn_by_default, NULL);
    in_child(warn_by_default, "off");
}
END_TEST

/* In a child that has looked at nothing yet. */
static void heed_environment(void *context)
{
    ck_assert_int_eq(setenv("BROOD_LOG", context, 1), 0);
    ck_assert(brood_log_is_on(BROOD_LOG_ERROR) == (strcmp(context, "nonsense") != 0));
    ck_assert(brood_log_is_on(BROOD_LOG_DEBUG) == (strcmp(context, "debug") == 0));
}

START_TEST(the_environment_can_ask_for_lines)
{
    in_child(heed_environment, "debug");
    in_child(heed_environment, "Warning");
    in_child(heed_environment, "nonsense");
}
END_TEST

static _Atomic int over;

static int log_all_the_time(void *context)
{
    while (!atomic_load(&over))
        (void)say_hello(context);
    return 0;
}

static void log_in_child(void *context)
{
    (void)say_hello(context);
}

START_TEST(a_fork_can_log_whatever_other_threads_did)
{
    struct brood_thread *thread;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    ck_assert_int_eq(brood_log_to(null, BROOD_LOG_INFO), 0);
    ck_assert_int_eq(brood_thread_start(&thread, BROOD_THREAD(.run = log_all_the_time)), 0);
    for (int i = 0; i < 100; i++)
        in_child(log_in_child, NULL);
    atomic_store(&over, 1);
    ck_assert_int_eq(brood_thread_join(thread, BROOD_FOREVER), 0);
    brood_thread_free(thread);
    ck_assert_int_eq(brood_log_to(STDERR_FILENO, BROOD_LOG_OFF), 0);
    ck_assert_int_eq(close(null), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");

    unsetenv("BROOD_LOG");
    add_tests(suite, "lines", the_environment_can_ask_for_lines, nothing_is_logged_unless_asked_for,
              a_line_has_a_time_a_level_and_names, only_lines_of_the_level_and_above_are_written, a_long_line_is_cut,
              a_text_of_several_lines_is_one, errors_stay_as_they_are, lines_can_go_to_a_function, NULL);
    add_tests(suite, "names", lines_name_their_thread_and_process, the_start_and_end_of_a_process_are_logged,
              what_is_forked_while_there_are_threads_is_warned_of,
              a_pool_that_is_forked_among_threads_is_warned_of_once_unless_the_log_is_off, NULL);
    add_tests(suite, "forks", a_fork_can_log_whatever_other_threads_did, NULL);
    return run_suite(suite);
}
