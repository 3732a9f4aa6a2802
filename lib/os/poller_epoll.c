/* poller_epoll.c - the poller over epoll(7), which keeps the list of descriptors in the kernel. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/poller.h"

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLHUP == POLLHUP && EPOLLERR == POLLERR,
               "events are handed on as they come");

#define BATCH 64

struct epoller {
    struct brood__poller base;
    int fd;
};

static int epoller_open(struct brood__poller **ret_poller)
{
    struct epoller *self = malloc(sizeof(*self));
    int r;

    if (!self)
        return -ENOMEM;
    self->fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->fd < 0) {
        r = -errno;
        free(self);
        return r;
    }
    *ret_poller = &self->base;
    return 0;
}

static int epoller_add(struct brood__poller *poller, int fd, short events, uint64_t tag)
{
    struct epoller *self = (struct epoller *)poller;
    struct epoll_event event = {.events = (uint32_t)events, .data.u64 = tag};

    return epoll_ctl(self->fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int epoller_remove(struct brood__poller *poller, int fd)
{
    struct epoller *self = (struct epoller *)poller;

    return epoll_ctl(self->fd, EPOLL_CTL_DEL, fd, NULL) == 0 ? 0 : -errno;
}

static int epoller_collect(const struct epoller *self, struct brood__poller_event *ret_events, size_t max)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(self->fd, events, max < BATCH ? (int)max : BATCH, 0);

    for (int i = 0; i < n; i++)
        ret_events[i] = (struct brood__poller_event){.tag = events[i].data.u64, .revents = events[i].events};
    return n >= 0 ? n : -errno;
}

/* epoll_wait() counts in milliseconds, which is too coarse for a deadline, and epoll_pwait2() needs Linux 5.11.  So
 * ppoll() sleeps on the epoll descriptor, which is readable when a descriptor is ready. */
static int epoller_sleep(const struct epoller *self, brood_deadline deadline)
{
    struct pollfd ready = {.fd = self->fd, .events = POLLIN};
    struct timespec left;

    if (ppoll(&ready, 1, brood__poller_left(deadline, &left), NULL) < 0 && errno != EINTR)
        return -errno;
    return 0;
}

static int epoller_wait(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max,
                        brood_deadline deadline)
{
    struct epoller *self = (struct epoller *)poller;

    for (;;) {
        int r = epoller_collect(self, ret_events, max);

        if (r != 0 && r != -EINTR)
            return r;
        if (r == 0 && brood__is_past(deadline))
            return 0;
        r = epoller_sleep(self, deadline);
        if (r < 0)
            return r;
    }
}

static void epoller_close(struct brood__poller *poller)
{
    struct epoller *self = (struct epoller *)poller;

    (void)close(self->fd);
    free(self);
}

const struct brood__poller_body brood__poller_epoll = {
    .name = "epoll",
    .open = epoller_open,
    .add = epoller_add,
    .remove = epoller_remove,
    .wait = epoller_wait,
    .close = epoller_close,
};
