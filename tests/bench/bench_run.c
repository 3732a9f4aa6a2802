/* bench_run.c - what threads, processes, timers and schedulers cost beside what they are made of. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#include "bench.h"
#include "os/clock.h"

#define BATCH 20
#define EVENTS 1000

static void need(int r, const char *what)
{
    if (r < 0)
        bench_fail("%s: %s", what, brood_error());
}

static double us_of(int64_t ns, int count)
{
    return (double)ns / 1000 / count;
}

/* ---- a thread, from start to join ---- */

static int nothing(void *context)
{
    (void)context;
    return 0;
}

static void *nothing_at_all(void *context)
{
    return context;
}

static double start_threads(void *state)
{
    int64_t began = brood__now_ns();

    (void)state;
    for (int i = 0; i < BATCH; i++) {
        struct brood_thread *thread;

        need(brood_thread_start(&thread, BROOD_THREAD(.run = nothing)), "brood_thread_start");
        need(brood_thread_join(thread, BROOD_FOREVER), "brood_thread_join");
        brood_thread_free(thread);
    }
    return us_of(brood__now_ns() - began, BATCH);
}

static double start_pthreads(void *state)
{
    int64_t began = brood__now_ns();

    (void)state;
    for (int i = 0; i < BATCH; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, nothing_at_all, NULL) != 0 || pthread_join(thread, NULL) != 0)
            bench_fail("pthread_create");
    }
    return us_of(brood__now_ns() - began, BATCH);
}

static void threads(struct report *report)
{
    struct side sides[] = {{.name = "brood_thread", .measure = start_threads},
                           {.name = "pthread", .measure = start_pthreads}};

    sides_measure(sides, 2, rounds(report, 200));
    report_ratio(report, "a thread, start to join", "us", &sides[0], &sides[1], 2);
    sides_free(sides, 2);
}

/* ---- a process, from start to join ---- */

static double start_processes(void *state)
{
    int64_t began = brood__now_ns();

    for (int i = 0; i < BATCH; i++) {
        struct brood_process *process;

        need(brood_process_start(&process, state), "brood_process_start");
        need(brood_process_join(process, BROOD_FOREVER), "brood_process_join");
        need(brood_process_close(process), "brood_process_close");
    }
    return us_of(brood__now_ns() - began, BATCH);
}

static void fork_one(char *const *program)
{
    pid_t pid = fork();

    if (pid < 0)
        bench_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        if (program)
            (void)execvp(program[0], program);
        _exit(program != NULL);
    }
    if (waitpid(pid, NULL, 0) != pid)
        bench_fail("waitpid: %s", strerror(errno));
}

static double fork_processes(void *state)
{
    int64_t began = brood__now_ns();

    for (int i = 0; i < BATCH; i++)
        fork_one(state);
    return us_of(brood__now_ns() - began, BATCH);
}

static void processes(struct report *report)
{
    char *const program[] = {"true", NULL};
    struct side sides[] = {
        {.name = "brood_process", .measure = start_processes, .state = BROOD_PROCESS(.run = nothing)},
        {.name = "fork, waitpid", .measure = fork_processes},
        {.name = "brood_process", .measure = start_processes, .state = BROOD_PROCESS(.program = "true")},
        {.name = "fork, exec, waitpid", .measure = fork_processes, .state = (void *)program},
    };

    sides_measure(sides, 4, rounds(report, 50));
    report_ratio(report, "a function in a process, start to join", "us", &sides[0], &sides[1], 2);
    report_ratio(report, "an executable, start to join", "us", &sides[2], &sides[3], 1.5);
    sides_free(sides, 4);
}

/* ---- how late a timer is ---- */

static int note_time(void *context)
{
    *(int64_t *)context = brood__now_ns();
    return 0;
}

static double lateness_of_timer(void *state)
{
    struct brood_timer *timer;
    int64_t fired = 0, began = brood__now_ns();

    (void)state;
    need(brood_timer_start(&timer, BROOD_TIMER(.run = note_time, .context = &fired, .after_ms = 2)), "brood_timer_start");
    need(brood_timer_join(timer, BROOD_FOREVER), "brood_timer_join");
    brood_timer_free(timer);
    return us_of(fired - began - 2000000, 1);
}

static double lateness_of_timerfd(void *state)
{
    struct itimerspec once = {.it_value.tv_nsec = 2000000};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int64_t began = brood__now_ns();
    uint64_t fired;

    (void)state;
    if (fd < 0 || timerfd_settime(fd, 0, &once, NULL) < 0 || read(fd, &fired, sizeof(fired)) != sizeof(fired))
        bench_fail("timerfd: %s", strerror(errno));
    began = brood__now_ns() - began - 2000000;
    (void)close(fd);
    return us_of(began, 1);
}

static void timers(struct report *report)
{
    struct side sides[] = {{.name = "brood_timer", .measure = lateness_of_timer},
                           {.name = "timerfd", .measure = lateness_of_timerfd}};

    sides_measure(sides, 2, rounds(report, 100));
    report_ratio(report, "how late a timer of 2 ms fires", "us", &sides[0], &sides[1], 1.5);
    sides_free(sides, 2);
}

/* ---- events ---- */

static double enter_and_run(void *state)
{
    struct brood_sched *sched = state;
    int64_t began = brood__now_ns();

    for (int i = 0; i < EVENTS; i++)
        need(brood_sched_enterabs(sched, (i * 7919) % 1009, 0, nothing, NULL, NULL), "brood_sched_enterabs");
    need(brood_sched_run(sched, NULL, BROOD_NOW), "brood_sched_run");
    return (double)(brood__now_ns() - began) / EVENTS;
}

static void events(struct report *report)
{
    struct side side = {.name = "brood_sched", .measure = enter_and_run};
    struct brood_sched *sched;

    need(brood_sched_open(&sched, NULL), "brood_sched_open");
    side.state = sched;
    sides_measure(&side, 1, rounds(report, 100));
    report_value(report, "an event among a thousand, entered and run", "ns", &side, NULL, 300);
    sides_free(&side, 1);
    brood_sched_close(sched);
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"thread", "what it takes to start and join a thread", threads},
        {"process", "what it takes to start and join a process", processes},
        {"timer", "how late a timer fires", timers},
        {"sched", "what an event takes", events},
        {NULL, NULL, NULL},
    };

    return bench_main(argc, argv, "bench_run", benches);
}
