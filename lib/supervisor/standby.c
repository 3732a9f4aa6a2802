#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "supervisor/child.h"
#include "supervisor/standby.h"

/* Unless the options say otherwise, the supervisor keeps one standby if the quickest fork took longer than this, and the
 * program is so large that this is the reason: on a busy machine any fork may take long. */
#define FORK_NS_MANY 1000000
#define MEMORY_KIB_MANY 65536

/* A standby that dies before it takes over, in the program's initializer for example, would be forked for ever,
 * unnoticed.  After this many failures in a row the supervisor tries again only when a worker is started without a
 * standby. */
#define FAILURES_MAX 10

/* Another death may follow soon, and the standby that has just become a worker needs the processor; so the next one is
 * forked after this time. */
#define SETTLE_NS 5000000

static unsigned standbys_choose_count(const struct supervisor *s)
{
    if (s->options->spares != 0)
        return s->options->spares > 0 ? (unsigned)s->options->spares : 0;
    return s->fork_ns > FORK_NS_MANY && brood__process_memory_kib() > MEMORY_KIB_MANY ? 1 : 0;
}

void brood__standbys_open(struct supervisor *s)
{
    unsigned count = s->stopping ? 0 : standbys_choose_count(s);

    s->standbys = count ? calloc(count, sizeof(*s->standbys)) : NULL;
    s->standbys_wanted = s->standbys ? count : 0; /* when memory is short the pool has no standbys */
    for (unsigned i = 0; i < s->standbys_wanted; i++)
        s->standbys[i].child.pidfd = -1;
    s->standby_ns = brood__now_ns();
}

static struct standby *standby_vacant(const struct supervisor *s)
{
    for (unsigned i = 0; i < s->standbys_wanted; i++)
        if (s->standbys[i].child.pidfd < 0)
            return &s->standbys[i];
    return NULL;
}

int64_t brood__standby_due(const struct supervisor *s)
{
    bool is_wanted = !s->stopping && s->standby_failures < FAILURES_MAX && standby_vacant(s) &&
                     brood__header_state(s->shared->header) == HEADER_OPEN;

    return is_wanted ? s->standby_ns : INT64_MAX;
}

static void standby_failed(struct supervisor *s)
{
    s->standby_failures++;
    s->standby_ns = brood__now_ns() + brood__restart_pause(s->standby_failures);
}

/* The standby keeps its end of the socket.  The supervisor's end sends the worker number, or is shut down when the
 * standby is not needed. */
void brood__standby_start(struct supervisor *s)
{
    struct standby *standby = standby_vacant(s);
    uint64_t tag = TAG_STANDBY + (uint64_t)(standby - s->standbys);
    int ends[2], r;

    brood__assert_supervisor();
    brood__assert(standby && standby->child.pidfd < 0);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        standby_failed(s);
        return;
    }
    r = brood__child_start(s, &standby->child, s->shared->workers, ends[1], tag);
    (void)close(ends[1]);
    standby->assignment = ends[0];
    if (r < 0) {
        (void)close(ends[0]);
        standby_failed(s);
    }
}

/* Has the standby reported that its initialization is over?  Then another process has killed it, and nothing was wrong
 * with it. */
static bool standby_was_ready(const struct standby *standby)
{
    char byte;

    return recv(standby->assignment, &byte, sizeof(byte), MSG_DONTWAIT) == sizeof(byte);
}

static void standby_lose(struct supervisor *s, struct standby *standby)
{
    brood__assert(standby->child.pidfd >= 0);
    if (standby_was_ready(standby))
        s->standby_failures = 0;
    if (!s->stopping)
        atomic_fetch_add_explicit(&s->shared->membership->standby_deaths, 1, memory_order_relaxed);
    (void)brood__child_reap(s, &standby->child);
    brood__capture_close(&s->captures, standby->child.capture);
    (void)close(standby->assignment);
    standby_failed(s);
}

void brood__standby_reap(struct supervisor *s, unsigned standby)
{
    if (standby < s->standbys_wanted && s->standbys[standby].child.pidfd >= 0 &&
        brood__pidfd_has_ended(s->standbys[standby].child.pidfd))
        standby_lose(s, &s->standbys[standby]);
}

void brood__standbys_dismiss(struct supervisor *s)
{
    for (unsigned i = 0; i < s->standbys_wanted; i++)
        if (s->standbys[i].child.pidfd >= 0)
            (void)shutdown(s->standbys[i].assignment, SHUT_RDWR);
}

static bool standby_assign(struct supervisor *s, struct standby *standby, unsigned worker)
{
    uint32_t number = worker;

    brood__assert(worker < s->shared->workers);
    if (brood__pidfd_wait(standby->child.pidfd, BROOD_NOW) == 0) /* it is dead, and is reaped soon */
        return false;
    (void)brood__poller_remove(s->poller, standby->child.pidfd);
    if (brood__poller_add(s->poller, standby->child.pidfd, worker) < 0) {
        (void)brood__pidfd_kill(standby->child.pidfd, SIGKILL);
        standby_lose(s, standby);
        return false;
    }
    brood__capture_assign(&s->captures, standby->child.capture, worker);
    atomic_store_explicit(&s->shared->membership->entries[worker], standby->child.pid, memory_order_release);
    /* If the process has died just now, it dies as that worker. */
    (void)send(standby->assignment, &number, sizeof(number), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(standby->assignment);
    return true;
}

bool brood__standby_take(struct supervisor *s, unsigned worker, struct child *ret_child)
{
    brood__assert_supervisor();
    brood__assert(worker < s->shared->workers && !s->stopping);
    for (unsigned i = 0; i < s->standbys_wanted; i++) {
        struct standby *standby = &s->standbys[i];

        if (standby->child.pidfd < 0 || !standby_assign(s, standby, worker))
            continue;
        *ret_child = standby->child;
        standby->child.pidfd = -1;
        s->standby_failures = 0;
        s->standby_ns = brood__now_ns() + SETTLE_NS;
        return true;
    }
    if (s->standby_failures >= FAILURES_MAX) {
        s->standby_failures = FAILURES_MAX - 1;
        s->standby_ns = brood__now_ns() + SETTLE_NS;
    }
    return false;
}
