#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "worker/certificate_writer.h"
#include "worker/limit.h"

/* Without a grace, the timer that kills leaves the handler of SIGTERM this much time to begin, and then this much to
 * write. */
#define HANDLER_BEGIN_NS 1000000
#define HANDLER_BEGIN_CPU_NS 30000000 /* the kernel checks CPU clocks at ticks, at most 10 ms apart */
#define HANDLER_WRITE_NS 1000000000

static volatile pid_t owner; /* this process: a child that a task forks inherits the handlers */
static struct limit *volatile watched;
static volatile sig_atomic_t is_without_grace;

/* ---- timers ---- */

/* Returns whether the timer has fired since it was set before. */
static bool timer_set(timer_t timer, int64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000}}, before;

    (void)timer_settime(timer, TIMER_ABSTIME, &when, &before);
    return before.it_value.tv_sec == 0 && before.it_value.tv_nsec == 0;
}

static int timer_make(clockid_t clock, timer_t *ret_timer, int number, void *value)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number, .sigev_value.sival_ptr = value};

    return timer_create(clock, &event, ret_timer) == 0 ? 0 : -errno;
}

static int alarm_open(struct alarm *alarm, clockid_t clock)
{
    int r = timer_make(clock, &alarm->mark, LIMIT_MARK, alarm);

    if (r == 0 && (r = timer_make(clock, &alarm->soft, SIGTERM, alarm)) < 0)
        (void)timer_delete(alarm->mark);
    if (r == 0 && (r = timer_make(clock, &alarm->hard, SIGKILL, alarm)) < 0) {
        (void)timer_delete(alarm->mark);
        (void)timer_delete(alarm->soft);
    }
    return r < 0 ? brood_fail(r, "a timer for the tasks' limit: timer_create: %s", strerror(-r)) : 0;
}

static void alarm_close(const struct alarm *alarm)
{
    (void)timer_delete(alarm->mark);
    (void)timer_delete(alarm->soft);
    (void)timer_delete(alarm->hard);
}

/* ---- clocks ---- */

static int64_t cpu_now_ns(const struct limit *limit)
{
    struct timespec now = {0};

    (void)clock_gettime(limit->cpu_clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool wall_is_over(const struct limit *limit)
{
    return limit->ends.wall_ns != 0 && brood__now_ns() >= limit->ends.wall_ns;
}

static bool cpu_is_over(const struct limit *limit)
{
    return limit->ends.cpu_ns != 0 && cpu_now_ns(limit) >= limit->ends.cpu_ns;
}

bool brood__limit_is_over(const struct limit *limit)
{
    return wall_is_over(limit) || cpu_is_over(limit);
}

/* ---- the mark ---- */

/* The mark is blocked and therefore pending; the supervisor would take it for the next task's. */
static void mark_discard(void)
{
    const struct timespec at_once = {0};
    sigset_t mark;

    (void)sigemptyset(&mark);
    (void)sigaddset(&mark, LIMIT_MARK);
    while (sigtimedwait(&mark, NULL, &at_once) < 0 && errno == EINTR)
        ;
}

static void alarm_disarm(struct alarm *alarm)
{
    bool has_fired = timer_set(alarm->mark, 0);

    (void)timer_set(alarm->soft, 0);
    (void)timer_set(alarm->hard, 0); /* after this call the kernel sends no SIGKILL */
    if (has_fired)
        mark_discard();
    alarm->is_armed = false;
}

/* The mark first: a worker that dies of the other signals has it pending. */
static void alarm_arm(struct alarm *alarm, int64_t end_ns, int64_t kill_ns)
{
    if (timer_set(alarm->mark, end_ns) && alarm->is_armed) { /* the item before has exceeded its limit and has returned */
        alarm_disarm(alarm);
        (void)timer_set(alarm->mark, end_ns);
    }
    alarm->is_armed = true;
    (void)timer_set(alarm->hard, kill_ns);
    (void)timer_set(alarm->soft, end_ns);
}

/* The alarm whose timer has sent the signal; NULL: none. */
static struct alarm *alarm_of(const siginfo_t *info)
{
    struct limit *limit = info->si_code == SI_TIMER ? watched : NULL;

    if (limit && info->si_value.sival_ptr == &limit->wall)
        return &limit->wall;
    return limit && info->si_value.sival_ptr == &limit->cpu ? &limit->cpu : NULL;
}

/* The first limit that is exceeded is the cause.  False: the signal came just after the task, or a task had blocked it
 * and it belongs to an earlier task. */
static bool overrun_record(const struct alarm *alarm)
{
    bool is_cpu = alarm == &watched->cpu;
    uint32_t none = 0;

    if (!(is_cpu ? cpu_is_over(watched) : wall_is_over(watched)))
        return false;
    (void)atomic_compare_exchange_strong_explicit(&watched->worker_state->has_overrun, &none,
                                                  is_cpu ? BROOD_TIMED_OUT_CPU : BROOD_TIMED_OUT, memory_order_relaxed,
                                                  memory_order_relaxed);
    return true;
}

/* Runs where a task has unblocked the mark. */
static void mark_handler(int number, siginfo_t *info, void *context)
{
    const struct alarm *alarm = alarm_of(info);
    int error = errno;

    (void)number;
    (void)context;
    if (alarm)
        (void)overrun_record(alarm);
    errno = error;
}

/* ---- SIGTERM ---- */

/* SIGTERM from the supervisor, from the worker itself or from a timer that a task has made ends the worker, and so does
 * any that a child of it receives.  The worker ignores it from all other senders: a service manager sends it to every
 * process of a service, and the host decides whether the workers finish their tasks. */
static bool sigterm_is_meant(const siginfo_t *info)
{
    bool has_sender = info->si_code == SI_USER || info->si_code == SI_TKILL || info->si_code == SI_QUEUE;

    return getpid() != owner || !has_sender || info->si_pid == owner || info->si_pid == getppid();
}

/* The task has exceeded its limit: records where it was.  True: SIGTERM ends the worker. */
static bool overrun_report(struct alarm *alarm, const void *context)
{
    struct certificate *certificate;

    if (!overrun_record(alarm))
        return false;
    if (is_without_grace) {
        (void)timer_set(alarm->hard, 0);
        (void)timer_set(watched->wall.hard, brood__after_ns(HANDLER_WRITE_NS).ns);
    }
    certificate = brood__own_certificate();
    if (certificate)
        brood__backtrace_write(certificate, context);
    if (is_without_grace && !watched->terminates)
        (void)kill(getpid(), SIGKILL);
    return watched->terminates;
}

static void sigterm_handler(int number, siginfo_t *info, void *context)
{
    struct alarm *alarm = alarm_of(info);
    int error = errno;

    if (alarm ? overrun_report(alarm, context) : sigterm_is_meant(info)) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
    }
    errno = error;
}

static void signal_handle(int number, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART}, present;

    action.sa_sigaction = handler;
    if (sigaction(number, NULL, &present) == 0 && present.sa_handler == SIG_DFL)
        (void)sigaction(number, &action, NULL);
}

void brood__limit_listen(void)
{
    sigset_t mark;

    brood__assert_worker();
    owner = getpid();
    signal_handle(SIGTERM, sigterm_handler);
    signal_handle(LIMIT_MARK, mark_handler);
    (void)sigemptyset(&mark);
    (void)sigaddset(&mark, LIMIT_MARK);
    (void)sigprocmask(SIG_BLOCK, &mark, NULL);
}

/* ---- in the worker ---- */

int brood__limit_open(struct limit *limit, struct worker_state *worker_state, bool is_process, bool terminates)
{
    int r;

    *limit = (struct limit){
        .worker_state = worker_state,
        .terminates = terminates,
        .cpu_clock = is_process ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID,
    };
    if (!is_process)
        return 0;
    brood__assert_worker();
    r = alarm_open(&limit->wall, CLOCK_MONOTONIC);
    if (r == 0 && (r = alarm_open(&limit->cpu, limit->cpu_clock)) < 0)
        alarm_close(&limit->wall);
    if (r < 0)
        return r;
    limit->has_timers = true;
    watched = limit;
    return 0;
}

void brood__limit_close(struct limit *limit)
{
    if (!limit->has_timers)
        return;
    alarm_close(&limit->wall);
    alarm_close(&limit->cpu);
    limit->has_timers = false;
}

static void limit_publish(const struct limit *limit, uint32_t kinds)
{
    atomic_store_explicit(&limit->worker_state->has_overrun, 0, memory_order_relaxed);
    atomic_store_explicit(&limit->worker_state->is_limited, kinds, memory_order_relaxed);
}

static int64_t limit_grace(struct limits limits, int64_t least_ns)
{
    return limits.grace_ns > 0 ? limits.grace_ns : least_ns;
}

void brood__limit_begin(struct limit *limit, struct limits limits)
{
    limit->ends = (struct limit_ends){
        .wall_ns = limits.wall_ns ? brood__after_ns(limits.wall_ns).ns : 0,
        .cpu_ns = limits.cpu_ns ? cpu_now_ns(limit) + limits.cpu_ns : 0,
    };
    if (!limit->has_timers)
        return;
    is_without_grace = limits.grace_ns <= 0;
    limit_publish(limit, (limits.wall_ns ? LIMIT_WALL : 0) | (limits.cpu_ns ? LIMIT_CPU : 0));
    if (limits.wall_ns)
        alarm_arm(&limit->wall, limit->ends.wall_ns, limit->ends.wall_ns + limit_grace(limits, HANDLER_BEGIN_NS));
    if (limits.cpu_ns)
        alarm_arm(&limit->cpu, limit->ends.cpu_ns, limit->ends.cpu_ns + limit_grace(limits, HANDLER_BEGIN_CPU_NS));
}

void brood__limit_end(struct limit *limit)
{
    limit->ends = (struct limit_ends){0};
    if (limit->wall.is_armed)
        alarm_disarm(&limit->wall);
    if (limit->cpu.is_armed)
        alarm_disarm(&limit->cpu);
    if (limit->has_timers)
        limit_publish(limit, 0);
}

static void alarm_stop(const struct alarm *alarm)
{
    if (!alarm->is_armed)
        return;
    (void)timer_set(alarm->mark, 0);
    (void)timer_set(alarm->soft, 0);
    (void)timer_set(alarm->hard, 0);
}

void brood__limit_excuse(void)
{
    struct limit *limit = watched;

    if (!limit || !brood__limit_is_set(limit) || brood__limit_is_over(limit))
        return;
    limit_publish(limit, 0);
    alarm_stop(&limit->wall);
    alarm_stop(&limit->cpu);
    (void)timer_set(limit->wall.hard, brood__after_ns(HANDLER_WRITE_NS).ns);
}

/* ---- in the supervisor ---- */

/* A pending mark does not say which limit was exceeded.  For a task that blocks all signals and has both limits the
 * answer is the wall clock's. */
enum brood_cause brood__limit_fired(const struct worker_state *worker_state, pid_t worker)
{
    uint32_t kinds = atomic_load_explicit(&worker_state->is_limited, memory_order_relaxed);
    uint32_t overrun = atomic_load_explicit(&worker_state->has_overrun, memory_order_relaxed);

    brood__assert_supervisor();
    if (kinds == 0)
        return BROOD_DIED;
    if (overrun)
        return overrun == BROOD_TIMED_OUT_CPU ? BROOD_TIMED_OUT_CPU : BROOD_TIMED_OUT;
    if (!brood__process_has_pending(worker, LIMIT_MARK))
        return BROOD_DIED;
    return kinds == LIMIT_CPU ? BROOD_TIMED_OUT_CPU : BROOD_TIMED_OUT;
}
