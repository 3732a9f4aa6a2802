#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/process.h"
#include "pool/crew.h"

/* Without a word from the user there is a spare where a fork has cost more than this, and the pool's program is so large
 * that this is why: on a busy machine any fork may take long. */
#define FORK_NS_MANY 1000000
#define MEMORY_KIB_MANY 65536

/* A spare that dies before it could take over, in the program's initializer, say, would be forked for ever, and nobody
 * would know: after so many in a row there is one more with each worker that is started, which is when one was missed. */
#define FAILURES_MAX 10

/* Behind a death there may soon be another; and who has just taken over shall have the processor. */
#define SETTLE_NS 5000000

static unsigned wanted(const struct supervisor *s)
{
    if (s->options->spares != 0)
        return s->options->spares > 0 ? (unsigned)s->options->spares : 0;
    return s->fork_ns > FORK_NS_MANY && brood__process_memory_kib() > MEMORY_KIB_MANY ? 1 : 0;
}

void brood__spares_open(struct supervisor *s)
{
    unsigned count = s->stopping ? 0 : wanted(s);

    s->spares = count ? calloc(count, sizeof(*s->spares)) : NULL;
    s->spares_wanted = s->spares ? count : 0; /* when memory is short it goes without */
    for (unsigned i = 0; i < s->spares_wanted; i++)
        s->spares[i].hand.pidfd = -1;
    s->spare_ns = brood__now_ns();
}

static struct spare *vacancy(const struct supervisor *s)
{
    for (unsigned i = 0; i < s->spares_wanted; i++)
        if (s->spares[i].hand.pidfd < 0)
            return &s->spares[i];
    return NULL;
}

int64_t brood__spare_due(const struct supervisor *s)
{
    bool is_wanted = !s->stopping && s->spare_failures < FAILURES_MAX && vacancy(s) &&
                     brood__board_state(s->shared->board) == BOARD_OPEN;

    return is_wanted ? s->spare_ns : INT64_MAX;
}

static void fail(struct supervisor *s)
{
    s->spare_failures++;
    s->spare_ns = brood__now_ns() + brood__crew_pause(s->spare_failures);
}

/* Its end of the socket stays with it; ours tells it its number or, by being closed, that it is not needed. */
void brood__spare_start(struct supervisor *s)
{
    struct spare *spare = vacancy(s);
    uint64_t tag = TAG_SPARE + (uint64_t)(spare - s->spares);
    int ends[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        fail(s);
        return;
    }
    r = brood__hand_start(s, &spare->hand, s->shared->workers, ends[1], tag);
    (void)close(ends[1]);
    spare->orders = ends[0];
    if (r < 0) {
        (void)close(ends[0]);
        fail(s);
    }
}

/* Had it begun, as it says by a message?  Then somebody has killed it, and there was nothing wrong with it. */
static bool had_begun(const struct spare *spare)
{
    char byte;

    return recv(spare->orders, &byte, sizeof(byte), MSG_DONTWAIT) == sizeof(byte);
}

static void lose(struct supervisor *s, struct spare *spare)
{
    if (had_begun(spare))
        s->spare_failures = 0;
    if (!s->stopping)
        atomic_fetch_add_explicit(&s->shared->roll->spare_deaths, 1, memory_order_relaxed);
    (void)brood__hand_reap(s, &spare->hand);
    brood__voice_close(s, spare->hand.voice);
    (void)close(spare->orders);
    fail(s);
}

void brood__spare_bury(struct supervisor *s, unsigned spare)
{
    if (spare < s->spares_wanted && s->spares[spare].hand.pidfd >= 0)
        lose(s, &s->spares[spare]);
}

void brood__spares_dismiss(struct supervisor *s)
{
    for (unsigned i = 0; i < s->spares_wanted; i++)
        if (s->spares[i].hand.pidfd >= 0)
            (void)shutdown(s->spares[i].orders, SHUT_RDWR);
}

static bool hand_over(struct supervisor *s, struct spare *spare, unsigned worker)
{
    uint32_t number = worker;

    if (brood__pidfd_wait(spare->hand.pidfd, BROOD_NOW) == 0) /* it is dead, and will be buried in a moment */
        return false;
    (void)brood__poller_remove(s->poller, spare->hand.pidfd);
    if (brood__poller_add(s->poller, spare->hand.pidfd, worker) < 0) {
        (void)brood__pidfd_kill(spare->hand.pidfd, SIGKILL);
        lose(s, spare);
        return false;
    }
    brood__voice_name(s, spare->hand.voice, worker);
    atomic_store(&s->shared->roll->entries[worker], spare->hand.pid);
    /* If it has died just now, it dies as that worker. */
    (void)send(spare->orders, &number, sizeof(number), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(spare->orders);
    return true;
}

bool brood__spare_take(struct supervisor *s, unsigned worker, struct hand *ret_hand)
{
    for (unsigned i = 0; i < s->spares_wanted; i++) {
        struct spare *spare = &s->spares[i];

        if (spare->hand.pidfd < 0 || !hand_over(s, spare, worker))
            continue;
        *ret_hand = spare->hand;
        spare->hand.pidfd = -1;
        s->spare_failures = 0;
        s->spare_ns = brood__now_ns() + SETTLE_NS;
        return true;
    }
    if (s->spare_failures >= FAILURES_MAX) {
        s->spare_failures = FAILURES_MAX - 1;
        s->spare_ns = brood__now_ns() + SETTLE_NS;
    }
    return false;
}
