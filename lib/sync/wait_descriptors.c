/* wait_descriptors.c - waiting for the first of many descriptors, once.
 *
 * poll(2) does it in one system call.  A set that the kernel keeps (epoll, io_uring) would need each descriptor added and
 * removed again: it pays for a caller that waits for the same descriptors many times.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <brood/wait.h>

#include "os/clock.h"
#include "os/poller.h"
#include "sync/pipe.h"

#define FEW 64 /* for which there is room on the stack */

static bool is_ready_already(const struct brood_waited *thing)
{
    return thing->pipe && brood__pipe_is_ready(thing->pipe);
}

/* Collects their descriptors, and counts those that are ready already. */
static int wait_collect(struct pollfd *fds, const struct brood_waited *things, size_t n, size_t *ret_ready)
{
    size_t ready = 0;

    for (size_t i = 0; i < n; i++) {
        int fd = things[i].pipe ? brood_pipe_fd(things[i].pipe) : things[i].fd;

        if (fd < 0)
            return brood_fail(-EBADF, "thing %zu of %zu to wait for is not open", i, n);
        fds[i] = (struct pollfd){.fd = fd, .events = POLLIN};
        ready += is_ready_already(&things[i]);
    }
    *ret_ready = ready;
    return 0;
}

static int wait_poll(struct pollfd *fds, size_t n, brood_deadline deadline)
{
    for (;;) {
        struct timespec left;
        int r = ppoll(fds, n, brood__poller_left(deadline, &left), NULL);

        if (r >= 0 && (r > 0 || brood__is_past(deadline)))
            return r;
        if (r < 0 && errno != EINTR)
            return brood_fail(-errno, "cannot wait for %zu things: %s", n, strerror(errno));
    }
}

static int wait_report(const struct pollfd *fds, const struct brood_waited *things, size_t n, bool *ret_ready)
{
    int count = 0;

    for (size_t i = 0; i < n; i++)
        if (fds[i].revents & POLLNVAL)
            return brood_fail(-EBADF, "thing %zu of %zu to wait for is not open: descriptor %d", i, n, fds[i].fd);
    for (size_t i = 0; i < n; i++) {
        bool ready = fds[i].revents != 0 || is_ready_already(&things[i]);

        if (ret_ready)
            ret_ready[i] = ready;
        count += ready;
    }
    return count;
}

static int wait_with(struct pollfd *fds, const struct brood_waited *things, size_t n, bool *ret_ready,
                     brood_deadline deadline)
{
    size_t ready = 0;
    int r = wait_collect(fds, things, n, &ready);

    if (r == 0)
        r = wait_poll(fds, n, ready > 0 ? BROOD_NOW : deadline);
    if (r >= 0 && (ready > 0 || r > 0))
        return wait_report(fds, things, n, ret_ready);
    if (r < 0)
        return r;
    r = brood__timeout(deadline);
    return brood_fail(r, r == -EAGAIN ? "none of %zu things is ready" : "none of %zu things became ready in time", n);
}

int brood_wait(const struct brood_waited *things, size_t n, bool *ret_ready, brood_deadline deadline)
{
    struct pollfd few[FEW], *fds = few;
    int r;

    if (n == 0 && brood__is_forever(deadline))
        return brood_fail(-EINVAL, "there is nothing to wait for, so the wait would last for ever");
    if (n > 0 && !things)
        return brood_fail(-EINVAL, "%zu things to wait for, at NULL", n);
    if (n > FEW)
        fds = reallocarray(NULL, n, sizeof(*fds));
    if (!fds)
        return brood_fail(-ENOMEM, "out of memory");
    r = wait_with(fds, things, n, ret_ready, deadline);
    if (fds != few)
        free(fds);
    return r;
}
