/* poller.c - which poller, and the message when one fails. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/assert.h"
#include "os/clock.h"
#include "os/poller.h"

/* In order of preference. */
static const struct brood__poller_body *const bodies[] = {
#ifdef BROOD_HAVE_URING
    &brood__poller_uring,
#endif
    &brood__poller_epoll,
    &brood__poller_poll,
};

#define BODIES (sizeof(bodies) / sizeof(bodies[0]))

static int poller_open_body(struct brood__poller **ret_poller, const struct brood__poller_body *body)
{
    struct brood__poller *poller;
    int r = (body->open)(&poller); /* in brackets, or it would be the macro open() of uncancelled.h */

    if (r < 0)
        return r;
    poller->body = body;
    poller->owner = getpid();
    *ret_poller = poller;
    return 0;
}

static int poller_open_named(struct brood__poller **ret_poller, const char *name)
{
    for (size_t i = 0; i < BODIES; i++) {
        int r;

        if (strcmp(bodies[i]->name, name) != 0)
            continue;
        r = poller_open_body(ret_poller, bodies[i]);
        return r == 0 ? 0 : brood_fail(r, "BROOD_POLLER=%s in the environment, but it is refused: %s", name, strerror(-r));
    }
    if (strcmp(name, "uring") == 0)
        return brood_fail(-ENOTSUP, "BROOD_POLLER=uring in the environment, but this brood was built without io_uring");
    return brood_fail(-EINVAL, "BROOD_POLLER=%.100s in the environment is no poller: choose uring, epoll or poll", name);
}

static int poller_open_first(struct brood__poller **ret_poller)
{
    int r = 0;

    for (size_t i = 0; i < BODIES; i++) {
        r = poller_open_body(ret_poller, bodies[i]);
        if (r == 0)
            return 0;
    }
    return brood_fail(r, "cannot open a poller: %s", strerror(-r));
}

int brood__poller_open(struct brood__poller **ret_poller)
{
    const char *name = getenv("BROOD_POLLER");

    return name && *name ? poller_open_named(ret_poller, name) : poller_open_first(ret_poller);
}

const char *brood__poller_name(const struct brood__poller *poller)
{
    return poller->body->name;
}

static int descriptor_add(struct brood__poller *poller, int fd, short events, uint64_t tag)
{
    /* epoll reports this here, the others only when they wait */
    int r = fcntl(fd, F_GETFD) < 0 ? -errno : poller->body->add(poller, fd, events, tag);

    return r == 0 ? 0 : brood_fail(r, "cannot watch descriptor %d: %s", fd, strerror(-r));
}

int brood__poller_add(struct brood__poller *poller, int fd, uint64_t tag)
{
    return descriptor_add(poller, fd, POLLIN, tag);
}

int brood__poller_add_writable(struct brood__poller *poller, int fd, uint64_t tag)
{
    return descriptor_add(poller, fd, POLLOUT, tag);
}

int brood__poller_remove(struct brood__poller *poller, int fd)
{
    int r = poller->body->remove(poller, fd);

    return r == 0 ? 0 : brood_fail(r, "cannot stop watching descriptor %d: %s", fd, strerror(-r));
}

int brood__poller_wait(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max,
                       brood_deadline deadline)
{
    int r;

    brood__assert(max > 0 && poller->owner == getpid());
    r = poller->body->wait(poller, ret_events, max, deadline);
    return r >= 0 ? r : brood_fail(r, "waiting for descriptors (%s) failed: %s", poller->body->name, strerror(-r));
}

void brood__poller_close(struct brood__poller *poller)
{
    if (poller)
        (poller->body->close)(poller);
}

const struct timespec *brood__poller_left(brood_deadline deadline, struct timespec *left)
{
    int64_t ns;

    if (brood__is_forever(deadline))
        return NULL;
    ns = deadline.ns <= 0 ? 0 : deadline.ns - brood__now_ns();
    *left = brood__timespec((brood_deadline){ns > 0 ? ns : 0});
    return left;
}
