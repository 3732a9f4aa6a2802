#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/error.h"
#include "pool/fault.h"
#include "pool/limit.h"

/* Where no grace was given, the timer that kills leaves the handler of the other one so much time to begin, and then so
 * much to write. */
#define HANDLER_BEGIN_NS 1000000
#define HANDLER_WRITE_NS 1000000000

static struct limit *volatile watched;
static volatile sig_atomic_t is_without_grace;

static void set(timer_t timer, int64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000}};

    (void)timer_settime(timer, TIMER_ABSTIME, &when, NULL);
}

/* From its timer: says where it hung.  From anybody else, also from a timer that a task has made, or its child: does what
 * SIGTERM does. */
static void told(int number, siginfo_t *info, void *context)
{
    struct certificate *certificate;
    int error = errno;

    if (info->si_code != SI_TIMER || info->si_value.sival_ptr != watched) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    if (watched->end_ns == 0) /* it came just too late */
        return;
    if (is_without_grace)
        set(watched->hard, brood__after_ns(HANDLER_WRITE_NS).ns);
    certificate = brood__fault_certificate();
    if (certificate)
        brood__fault_write_backtrace(certificate, context);
    if (is_without_grace)
        (void)kill(getpid(), SIGKILL);
    errno = error;
}

static void listen_to_term(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART}, present;

    action.sa_sigaction = told;
    if (sigaction(SIGTERM, NULL, &present) == 0 && present.sa_handler == SIG_DFL)
        (void)sigaction(SIGTERM, &action, NULL);
}

int brood__limit_open(struct limit *limit, struct station *station, bool is_process)
{
    struct sigevent soft = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM, .sigev_value.sival_ptr = limit};
    struct sigevent hard = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    int error;

    *limit = (struct limit){.station = station};
    if (!is_process)
        return 0;
    if (timer_create(CLOCK_MONOTONIC, &soft, &limit->soft) < 0)
        return brood_fail(-errno, "a timer for the tasks' limit: timer_create: %s", strerror(errno));
    if (timer_create(CLOCK_MONOTONIC, &hard, &limit->hard) < 0) {
        error = errno;
        (void)timer_delete(limit->soft);
        return brood_fail(-error, "a timer for the tasks' limit: timer_create: %s", strerror(error));
    }
    limit->has_timers = true;
    watched = limit;
    listen_to_term();
    return 0;
}

void brood__limit_close(struct limit *limit)
{
    if (!limit->has_timers)
        return;
    (void)timer_delete(limit->soft);
    (void)timer_delete(limit->hard);
    limit->has_timers = false;
}

void brood__limit_begin(struct limit *limit, int64_t limit_ns, int64_t grace_ns)
{
    int64_t end = brood__after_ns(limit_ns).ns, kill_at = end + (grace_ns > 0 ? grace_ns : HANDLER_BEGIN_NS);

    limit->end_ns = end;
    if (!limit->has_timers)
        return;
    is_without_grace = grace_ns <= 0;
    /* The supervisor asks whether the worker died behind its time. */
    atomic_store_explicit(&limit->station->limit_end_ns, end, memory_order_relaxed);
    set(limit->hard, kill_at);
    set(limit->soft, end);
}

void brood__limit_end(struct limit *limit)
{
    limit->end_ns = 0;
    if (!limit->has_timers)
        return;
    set(limit->soft, 0);
    set(limit->hard, 0); /* behind this call no SIGKILL is on its way */
    atomic_store_explicit(&limit->station->limit_end_ns, 0, memory_order_relaxed);
}

void brood__limit_excuse(void)
{
    const struct limit *limit = watched;

    if (!limit || limit->end_ns == 0 || brood__now_ns() >= limit->end_ns)
        return;
    set(limit->soft, 0);
    set(limit->hard, brood__after_ns(HANDLER_WRITE_NS).ns);
    atomic_store_explicit(&limit->station->limit_end_ns, 0, memory_order_relaxed);
}
