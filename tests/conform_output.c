/* conform_output.c - what becomes of what tasks print: over forked and exec'ed workers. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "pools.h"
#include "proto/header.h"
#include "support.h"
#include "tasks.h"
#include "worker/output.h"

#define HEARD ((size_t)4 << 20)

/* ---- where this process's own output goes meanwhile ---- */

struct ear {
    int fd, saved, from; /* what is written to `fd` comes out of `from` */
    char *text;
    size_t bytes;
};

static struct ear listen_to(int fd)
{
    struct ear ear = {.fd = fd, .saved = fcntl(fd, F_DUPFD_CLOEXEC, 10), .text = calloc(1, HEARD)};
    int ends[2];

    ck_assert_ptr_nonnull(ear.text);
    ck_assert_int_ge(ear.saved, 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(ends[1], fd), fd);
    close(ends[1]);
    ear.from = ends[0];
    return ear;
}

/* What is there now. */
static void hear(struct ear *ear)
{
    ssize_t length;

    ck_assert_int_eq(fcntl(ear->from, F_SETFL, O_NONBLOCK), 0);
    while ((length = read(ear->from, ear->text + ear->bytes, HEARD - 1 - ear->bytes)) > 0)
        ear->bytes += (size_t)length;
}

static void deafen(struct ear *ear)
{
    ck_assert_int_eq(dup2(ear->saved, ear->fd), ear->fd);
    close(ear->saved);
    if (ear->from >= 0)
        close(ear->from);
    free(ear->text);
}

static bool hears(struct ear *ear, const char *text)
{
    hear(ear);
    return strstr(ear->text, text) != NULL;
}

/* Not by strstr(): with the address sanitizer that measures the whole text each time. */
static int count(const char *text, const char *part)
{
    size_t length = strlen(part);
    int found = 0;

    for (const char *at = text; *at; at++)
        found += *at == *part && strncmp(at, part, length) == 0;
    return found;
}

/* ---- speaking ---- */

#define SPEECH(...) (&(struct speech){.text = __VA_ARGS__})

static int say(struct brood_pool *pool, const struct speech *speech)
{
    return brood_apply(pool, speak, &(int){0}, speech);
}

/* The last words of a task that dies. */
static const char *last_words(struct brood_pool *pool, const struct speech *speech)
{
    static char words[8192];
    brood_auto(future) *future = NULL;
    struct brood_death death;

    ck_assert_int_eq(brood_apply_async(pool, speak, &future, speech), 0);
    ck_assert_int_eq(outcome_of(future), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_uint_lt(strlen(death.output), sizeof(words));
    return strcpy(words, death.output);
}

static struct brood_pool *open_captured(int kind, int workers)
{
    return open_processes(kind, BROOD_POOL(.workers = workers, .output = BROOD_OUTPUT_CAPTURE));
}

static struct brood_pool *open_prefixed(int kind, int workers)
{
    return open_processes(kind, BROOD_POOL(.workers = workers, .output = BROOD_OUTPUT_PREFIX));
}

/* ---- captured ---- */

/* semantics: P17 */
START_TEST(what_a_task_printed_before_it_died_is_in_its_certificate)
{
    struct ear ear = listen_to(STDOUT_FILENO);
    struct brood_pool *pool = open_captured(_i, 1);

    ck_assert_str_eq(last_words(pool, SPEECH("a line\n", .then = AND_DIE)), "a line\n");
    ck_assert_str_eq(last_words(pool, SPEECH("half a li", .how = BY_WRITE, .then = AND_DIE)), "half a li");
    ck_assert_str_eq(last_words(pool, SPEECH("an error, ", .how = TO_STDERR, .again = 1, .then = AND_DIE)),
                     "an error, an error, ");
    ck_assert_str_eq(last_words(pool, SPEECH("", .then = AND_DIE)), "");
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
    hear(&ear);
    ck_assert_uint_eq(ear.bytes, 0);
    deafen(&ear);
}
END_TEST

/* Also where an earlier task has left it in the buffer, and where that was the same task. */
START_TEST(what_others_have_printed_is_not)
{
    brood_auto(pool) *pool = open_captured(_i, 1);

    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(say(pool, SPEECH("one", .again = i % 4 - 1)), 0);
        ck_assert_int_eq(brood_apply(pool, speak_too, &(int){0}, SPEECH("two", .how = TO_STDERR, .again = i % 3 - 1)), 0);
        ck_assert_int_eq(say(pool, SPEECH("three", .how = BY_WRITE, .again = i % 2 - 1)), 0);
        ck_assert_str_eq(last_words(pool, SPEECH("four", .how = BY_WRITE, .then = AND_DIE)), "four");
    }
}
END_TEST

START_TEST(the_end_of_much_output_is_kept)
{
    brood_auto(pool) *pool = open_captured(_i, 1);
    const char *words = last_words(pool, SPEECH("0123456789abcde\n", .again = 19999, .then = AND_DIE));

    ck_assert_uint_eq(strlen(words), 4095);
    ck_assert_str_eq(words + 4095 - 32, "0123456789abcde\n0123456789abcde\n");
}
END_TEST

START_TEST(an_item_of_a_map_has_last_words_of_its_own)
{
    enum { N = 50 };
    brood_auto(pool) *pool = open_captured(_i, 2);
    brood_auto(future) *future = NULL;
    struct speech speeches[N];
    int results[N];
    struct brood_death death;

    for (int i = 0; i < N; i++) {
        speeches[i] = (struct speech){.then = i == 31 ? AND_DIE : AND_RETURN};
        snprintf(speeches[i].text, sizeof(speeches[i].text), "item %d\n", i);
    }
    ck_assert_int_eq(brood_map_async(pool, speak, &future, results, speeches, N), 0);
    ck_assert_int_eq(brood_future_wait(future, brood_after_ms(60000)), 0);
    ck_assert_int_eq(brood_future_item(future, 31), -EOWNERDEAD);
    ck_assert_int_eq(brood_future_death(future, &death), 0);
    ck_assert_str_eq(death.output, "item 31\n");
}
END_TEST

START_TEST(a_task_that_has_had_its_time_or_is_killed_leaves_words_too)
{
    brood_auto(pool) *pool = open_captured(_i, 1);
    brood_auto(future) *limited = NULL, *killed = NULL;
    const struct speech speech = {"working…\n", .then = AND_HANG};
    struct brood_death death;

    ck_assert_int_eq(brood_submit(pool, speak, &limited, BROOD_CALL(.limit_ms = 1000), &speech), 0);
    ck_assert_int_eq(outcome_of(limited), -ETIMEDOUT);
    ck_assert_int_eq(brood_future_death(limited, &death), 0);
    ck_assert_str_eq(death.output, "working…\n");
    ck_assert_int_eq(brood_apply_async(pool, speak, &killed, &speech), 0);
    await(brood_future_running(killed));
    ck_assert_int_eq(brood_future_kill(killed), 0);
    ck_assert_int_eq(outcome_of(killed), -ECANCELED);
    ck_assert_int_eq(brood_future_death(killed, &death), 0);
    ck_assert(strcmp(death.output, "working…\n") == 0 || strcmp(death.output, "") == 0); /* it had begun, no more */
}
END_TEST

/* It has the pipe, too, and keeps it. */
START_TEST(a_child_that_lives_on_holds_up_nothing)
{
    brood_auto(pool) *pool = open_captured(_i, 1);
    int64_t began = now_ms();
    pid_t child = (pid_t)atoi(last_words(pool, SPEECH("", .then = AND_LEAVE_A_CHILD)));

    ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    while (kill(child, 0) == 0) /* dead, and reaped by its present parent */
        (void)waitpid(child, NULL, WNOHANG);
    expect_working(pool);
}
END_TEST

START_TEST(a_confined_worker_and_a_spare_are_heard)
{
    static const struct brood_sandbox sandboxes[] = {
        {.size = sizeof(sandboxes[0]), .no_processes = true, .read_only = true, .open_files = 16},
        {.size = sizeof(sandboxes[0]), .syscalls = BROOD_SYSCALLS_COMPUTE, .confine_initializer = true, .open_files = 16},
    };

    for (size_t i = 0; i < sizeof(sandboxes) / sizeof(sandboxes[0]); i++) {
        brood_auto(pool) *pool = open_processes(
            _i, BROOD_POOL(.workers = 1, .spares = 1, .output = BROOD_OUTPUT_CAPTURE, .sandbox = &sandboxes[i]));

        for (int j = 0; j < 4; j++)
            ck_assert_str_eq(last_words(pool, SPEECH("from within", .how = BY_WRITE, .then = AND_DIE)), "from within");
    }
}
END_TEST

START_TEST(forked_workers_that_inherit_everything_are_heard)
{
    brood_auto(pool) *pool =
        open_processes(_i, BROOD_POOL(.workers = 2, .inherit_fds = true, .output = BROOD_OUTPUT_CAPTURE));

    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(last_words(pool, SPEECH("heard", .how = BY_WRITE, .then = AND_DIE)), "heard");
}
END_TEST

/* semantics: P17 */
START_TEST(a_worker_that_can_print_nowhere_works_and_ends)
{
    struct brood_pool *pool =
        open_processes(_i, BROOD_POOL(.workers = 1, .output = BROOD_OUTPUT_PREFIX, .worker_tasks = 3));

    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(brood_apply(pool, be_mute, &(int){0}, &i), 0);
    expect_working(pool);
    ck_assert_int_eq(brood_pool_close(pool, BROOD_FOREVER), 0);
}
END_TEST

/* ---- prefixed ---- */

START_TEST(each_line_names_the_worker_that_printed_it)
{
    struct ear out = listen_to(STDOUT_FILENO), err = listen_to(STDERR_FILENO);
    struct brood_pool *pool = open_prefixed(_i, 1);
    int r = say(pool, SPEECH("one\ntwo\n"));

    r = r == 0 ? say(pool, SPEECH("no end of the line")) : r;
    r = r == 0 ? brood_apply(pool, speak_too, &(int){0}, SPEECH("another\n")) : r;
    r = r == 0 ? brood_apply(pool, speak_too, &(int){0}, SPEECH("an error\n", .how = TO_STDERR)) : r;
    r = r == 0 ? brood_pool_close(pool, BROOD_FOREVER) : r;
    hear(&out);
    hear(&err);
    ck_assert_int_eq(r, 0);
    ck_assert_str_eq(out.text, "[brood-0 speak] one\n[brood-0 speak] two\n[brood-0 speak] no end of the line\n"
                               "[brood-0 speak_too] another\n");
    ck_assert_str_eq(err.text, "[brood-0 speak_too] an error\n");
    deafen(&out);
    deafen(&err);
}
END_TEST

START_TEST(a_line_that_a_death_cuts_short_is_printed_and_certified)
{
    struct ear out = listen_to(STDOUT_FILENO);
    struct brood_pool *pool = open_prefixed(_i, 1);
    const char *words = last_words(pool, SPEECH("cut sh", .how = BY_WRITE, .then = AND_DIE));
    bool heard = false;

    for (int64_t until = now_ms() + AT_ONCE_MS; !heard && now_ms() < until; rest())
        heard = hears(&out, "[brood-0 speak] cut sh\n");
    (void)brood_pool_close(pool, BROOD_FOREVER);
    deafen(&out);
    ck_assert_str_eq(words, "cut sh");
    ck_assert(heard);
}
END_TEST

/* An idle worker leaves no line without an end. */
START_TEST(what_has_no_end_of_line_is_printed_when_the_worker_rests)
{
    struct ear out = listen_to(STDOUT_FILENO);
    struct brood_pool *pool = open_prefixed(_i, 1);
    bool heard = false;

    ck_assert_int_eq(say(pool, SPEECH("42 %")), 0);
    for (int64_t until = now_ms() + AT_ONCE_MS; !heard && now_ms() < until; rest())
        heard = hears(&out, "[brood-0 speak] 42 %\n");
    (void)brood_pool_close(pool, BROOD_FOREVER);
    deafen(&out);
    ck_assert(heard);
}
END_TEST

START_TEST(nothing_is_lost_when_workers_retire_and_the_pool_closes)
{
    enum { N = 60 };
    struct ear out = listen_to(STDOUT_FILENO);
    struct brood_pool *pool =
        open_processes(_i, BROOD_POOL(.workers = 2, .worker_tasks = 5, .output = BROOD_OUTPUT_PREFIX, .name = "group"));
    int r = 0;

    for (int i = 0; i < N && r == 0; i++) {
        struct speech speech = {.again = i % 3};

        snprintf(speech.text, sizeof(speech.text), "<%d>%s", i, i % 2 ? "\n" : "");
        r = say(pool, &speech);
    }
    r = r == 0 ? brood_pool_close(pool, BROOD_FOREVER) : r;
    hear(&out);
    deafen(&(struct ear){.fd = out.fd, .saved = out.saved, .from = out.from});
    ck_assert_int_eq(r, 0);
    for (int i = 0; i < N; i++) {
        char part[16];

        snprintf(part, sizeof(part), "<%d>", i);
        ck_assert_msg(count(out.text, part) == 1 + i % 3, "%s: %d times in: %s", part, count(out.text, part), out.text);
    }
    free(out.text);
}
END_TEST

/* ---- a reader that does not read ---- */

static void fill(const struct ear *ear)
{
    char path[32], page[4096];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", ear->fd);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    memset(page, '#', sizeof(page));
    while (write(fd, page, sizeof(page)) > 0)
        ;
    while (write(fd, page, 1) > 0)
        ;
    close(fd);
}

/* The supervisor has a full pipe before it, and sees deaths all the same; a worker that prints waits, one that does not goes on. */
START_TEST(a_reader_that_does_not_read_delays_only_workers_that_print)
{
    enum { LINES = 30000 };
    struct ear out = listen_to(STDOUT_FILENO);
    struct brood_pool *pool = open_prefixed(_i, 2);
    brood_auto(future) *loud = NULL, *quiet = NULL;
    bool waited, died_soon;
    int r;

    fill(&out);
    r = brood_apply_async(pool, speak, &loud, SPEECH("a line of the loud one\n", .again = LINES - 1));
    for (int i = 0; i < 5 && r == 0; i++) {
        int64_t began = now_ms();

        r = brood_apply(pool, die_by, &(int){0}, &(int){SIGKILL}) == -EOWNERDEAD ? 0 : -1;
        died_soon = now_ms() - began < AT_ONCE_MS;
        r = r == 0 && !died_soon ? -2 : r;
        r = r == 0 ? brood_apply(pool, square, &(double){0}, &(double){1}) : r;
    }
    waited = !brood_future_done(loud);
    for (int64_t end = now_ms() + 60000; r == 0 && !brood_future_done(loud) && now_ms() < end; rest())
        hear(&out);
    r = r == 0 ? brood_future_item(loud, 0) : r;
    r = r == 0 ? brood_apply_async(pool, square, &quiet, &(double){2}) : r;
    r = r == 0 ? brood_future_wait(quiet, brood_after_ms(60000)) : r;
    for (int64_t end = now_ms() + 60000; r == 0 && count(out.text, "loud one\n") < LINES && now_ms() < end; rest())
        hear(&out);
    (void)brood_pool_close(pool, BROOD_FOREVER);
    hear(&out);
    deafen(&(struct ear){.fd = out.fd, .saved = out.saved, .from = out.from});
    ck_assert_int_eq(r, 0);
    ck_assert(waited);
    ck_assert_int_eq(count(out.text, "[brood-0 speak] a line of the loud one\n") +
                         count(out.text, "[brood-1 speak] a line of the loud one\n"),
                     LINES);
    ck_assert_int_eq(count(out.text, "loud"), LINES);
    free(out.text);
}
END_TEST

START_TEST(a_reader_that_never_reads_does_not_keep_a_pool_from_closing)
{
    struct ear out = listen_to(STDOUT_FILENO);
    struct brood_pool *pool = open_prefixed(_i, 2);
    struct brood_future *loud = NULL;
    int64_t began;
    int r, closed;

    fill(&out);
    r = brood_apply_async(pool, speak, &loud, SPEECH("a line\n", .again = 1000000));
    began = now_ms();
    closed = brood_pool_close(pool, brood_after_ms(300));
    began = now_ms() - began;
    deafen(&out);
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(closed, -ETIMEDOUT);
    ck_assert_int_lt(began, AT_ONCE_MS);
    ck_assert_int_eq(brood_future_item(loud, 0), -ESHUTDOWN);
    brood_future_free(loud);
}
END_TEST

START_TEST(a_reader_that_is_gone_costs_no_worker)
{
    struct ear out = listen_to(STDOUT_FILENO);
    struct brood_pool *pool = open_prefixed(_i, 1);
    struct place before, after;
    int r;

    r = brood_apply(pool, whereabouts, &before, &(int){0});
    close(out.from);
    out.from = -1;
    r = r == 0 ? say(pool, SPEECH("to no reader\n", .again = 19999)) : r;
    r = r == 0 ? brood_apply(pool, whereabouts, &after, &(int){0}) : r;
    r = r == 0 ? brood_pool_close(pool, BROOD_FOREVER) : r;
    deafen(&out);
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(before.pid, after.pid);
}
END_TEST

/* ---- the host's own ---- */

/* A full buffer and a pipe that takes nothing: it stays with the host, which is the one to write it. */
START_TEST(what_the_host_has_not_written_yet_is_written_once)
{
    struct ear out = listen_to(STDOUT_FILENO);
    enum brood_output outputs[] = {BROOD_OUTPUT_PASS, BROOD_OUTPUT_CAPTURE, BROOD_OUTPUT_PREFIX};
    int r = 0;

    for (int i = 0; i < 3; i++) {
        struct brood_pool *pool;

        (void)printf("of the host\n");
        pool = open_processes(_i, BROOD_POOL(.workers = 2, .worker_tasks = 2, .output = outputs[i]));
        for (int n = 0; n < 10 && r == 0; n++)
            r = say(pool, SPEECH("of a task\n"));
        r = r == 0 ? brood_pool_close(pool, BROOD_FOREVER) : r;
    }
    (void)fflush(stdout);
    hear(&out);
    deafen(&(struct ear){.fd = out.fd, .saved = out.saved, .from = out.from});
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(count(out.text, "of the host\n"), 3);
    ck_assert_int_eq(count(out.text, "of a task\n"), 20);
    ck_assert_int_eq(count(out.text, "speak] of a task\n"), 10);
    free(out.text);
}
END_TEST

static void be_host(int kind, int ready)
{
    struct brood_pool *pool = open_prefixed(kind, 2);
    struct brood_future *future;

    if (brood_apply_async(pool, speak, &future, SPEECH("on and on\n", .again = 1 << 30)) < 0 || write(ready, "", 1) != 1)
        _exit(1);
    _exit(brood_future_wait(future, BROOD_FOREVER));
}

/* The fixture makes orphans this process's children, and fails if one stays. */
START_TEST(when_the_host_is_killed_while_its_workers_print_nothing_stays)
{
    struct ear out = listen_to(STDOUT_FILENO);
    pid_t host = start_host(be_host, _i);
    int status;

    put_to_death(host);
    while (waitpid(-1, &status, 0) > 0)
        ;
    deafen(&out);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(threads_have_no_output_of_their_own)
{
    struct brood_pool *pool = NULL;

    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = BROOD_THREADS, .output = BROOD_OUTPUT_CAPTURE)), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(brood_error(), "BROOD_PROCESSES"));
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.kind = BROOD_INLINE, .output = BROOD_OUTPUT_PREFIX)), -ENOTSUP);
    ck_assert_int_eq(brood_pool_open(&pool, BROOD_POOL(.output = 7)), -EINVAL);
}
END_TEST

/* There is room for one more, and it needs two. */
static void listen_without_room(void *unused)
{
    int before = open_descriptors(), next = dup(STDERR_FILENO);
    struct worker_state worker_state = {0};
    struct output output;

    (void)unused;
    close(next);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = (rlim_t)next + 1, .rlim_max = (rlim_t)next + 1}),
                     0);
    brood__output_open(&output, &worker_state, 2);
    ck_assert_uint_eq(output.pipes, 0);
    ck_assert_int_eq(open_descriptors(), before);
}

START_TEST(a_worker_without_descriptors_for_its_marks_keeps_none)
{
    in_child(listen_without_room, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("output");

    add_loop_tests(suite, "captured", 0, PROCESS_KINDS, what_a_task_printed_before_it_died_is_in_its_certificate,
                   what_others_have_printed_is_not, the_end_of_much_output_is_kept,
                   an_item_of_a_map_has_last_words_of_its_own, a_task_that_has_had_its_time_or_is_killed_leaves_words_too,
                   a_child_that_lives_on_holds_up_nothing, a_confined_worker_and_a_spare_are_heard,
                   forked_workers_that_inherit_everything_are_heard, a_worker_that_can_print_nowhere_works_and_ends, NULL);
    add_loop_tests(suite, "prefixed", 0, PROCESS_KINDS, each_line_names_the_worker_that_printed_it,
                   a_line_that_a_death_cuts_short_is_printed_and_certified,
                   what_has_no_end_of_line_is_printed_when_the_worker_rests,
                   nothing_is_lost_when_workers_retire_and_the_pool_closes, NULL);
    add_loop_tests(suite, "readers", 0, PROCESS_KINDS, a_reader_that_does_not_read_delays_only_workers_that_print,
                   a_reader_that_never_reads_does_not_keep_a_pool_from_closing, a_reader_that_is_gone_costs_no_worker,
                   NULL);
    add_loop_tests(suite, "hosts", 0, PROCESS_KINDS, what_the_host_has_not_written_yet_is_written_once,
                   when_the_host_is_killed_while_its_workers_print_nothing_stays, NULL);
    add_tests(suite, "kinds", threads_have_no_output_of_their_own, NULL);
    add_tests(suite, "descriptors", a_worker_without_descriptors_for_its_marks_keeps_none, NULL);
    return run_suite(suite);
}
