/* poller_poll.c - the poller over poll(2), which works everywhere: it needs no descriptor and no permission. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "os/clock.h"
#include "os/poller.h"

struct plain {
    struct brood__poller base;
    struct pollfd *fds;
    uint64_t *tags; /* tags[i] belongs to fds[i] */
    size_t len, room;
    size_t next; /* where the next wait begins to collect, so that no descriptor starves */
};

static int plain_open(struct brood__poller **ret_poller)
{
    struct plain *self = calloc(1, sizeof(*self));

    if (!self)
        return -ENOMEM;
    *ret_poller = &self->base;
    return 0;
}

/* Its index, or `len`. */
static size_t plain_find(const struct plain *self, int fd)
{
    size_t i = 0;

    while (i < self->len && self->fds[i].fd != fd)
        i++;
    return i;
}

static int plain_grow(struct plain *self)
{
    size_t room = self->room > 0 ? 2 * self->room : 16;
    struct pollfd *fds = reallocarray(self->fds, room, sizeof(*fds));
    uint64_t *tags;

    if (!fds)
        return -ENOMEM;
    self->fds = fds;
    tags = reallocarray(self->tags, room, sizeof(*tags));
    if (!tags)
        return -ENOMEM;
    self->tags = tags;
    self->room = room;
    return 0;
}

static int plain_add(struct brood__poller *poller, int fd, short events, uint64_t tag)
{
    struct plain *self = (struct plain *)poller;
    int r;

    if (plain_find(self, fd) < self->len)
        return -EEXIST;
    if (self->len == self->room) {
        r = plain_grow(self);
        if (r < 0)
            return r;
    }
    self->fds[self->len] = (struct pollfd){.fd = fd, .events = events};
    self->tags[self->len] = tag;
    self->len++;
    return 0;
}

static int plain_remove(struct brood__poller *poller, int fd)
{
    struct plain *self = (struct plain *)poller;
    size_t i = plain_find(self, fd);

    if (i == self->len)
        return -ENOENT;
    self->len--;
    self->fds[i] = self->fds[self->len];
    self->tags[i] = self->tags[self->len];
    return 0;
}

static int plain_collect(struct plain *self, struct brood__poller_event *ret_events, size_t max)
{
    size_t n = 0, i = self->next;

    for (size_t seen = 0; seen < self->len && n < max; seen++, i++) {
        i %= self->len;
        if (self->fds[i].revents != 0)
            ret_events[n++] = (struct brood__poller_event){
                .tag = self->tags[i],
                .revents = (uint32_t)self->fds[i].revents,
            };
    }
    self->next = i;
    return (int)n;
}

static int plain_wait(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max,
                      brood_deadline deadline)
{
    struct plain *self = (struct plain *)poller;

    for (;;) {
        struct timespec left;
        int r = ppoll(self->fds, self->len, brood__poller_left(deadline, &left), NULL);

        if (r > 0)
            return plain_collect(self, ret_events, max);
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r == 0 && brood__is_past(deadline))
            return 0;
    }
}

static void plain_close(struct brood__poller *poller)
{
    struct plain *self = (struct plain *)poller;

    free(self->fds);
    free(self->tags);
    free(self);
}

const struct brood__poller_body brood__poller_poll = {
    .name = "poll",
    .open = plain_open,
    .add = plain_add,
    .remove = plain_remove,
    .wait = plain_wait,
    .close = plain_close,
};
