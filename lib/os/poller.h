/* poller.h - waits until some of many descriptors are readable, writable or hung up: the supervisor's event loop.
 *
 *     struct brood__poller_event events[16];
 *     int n = brood__poller_wait(poller, events, 16, deadline);
 *     for (int i = 0; i < n; i++)
 *         handle(events[i].tag, events[i].revents);
 *
 * Level-triggered: a wait reports what poll(2) would report at that moment, so a descriptor that is still readable is
 * reported again, and one that has been read since is not.  No descriptor starves when more are ready than `max`.  The
 * events of one wait are a snapshot: a caller that removes a descriptor while it handles one of them looks for its tag
 * among the rest.
 *
 * A poller belongs to the thread that opened it.  In a forked child the only valid call is brood__poller_close(), which
 * closes the child's copy and leaves the parent's alone.
 *
 * Remove a descriptor before it is closed: until then io_uring keeps its file open, so that the peer sees no hang-up.
 * When the owner is killed, io_uring releases the files later (13 ms were seen), so a peer that must know at once
 * watches the owner's pidfd and not the hang-up.
 */
#ifndef BROOD_OS_POLLER_H
#define BROOD_OS_POLLER_H

#include <sys/types.h>
#include <time.h>

#include <brood/base.h>

struct brood__poller;

struct brood__poller_event {
    uint64_t tag;
    uint32_t revents; /* POLLIN, POLLOUT, POLLHUP, POLLERR; at least one of them */
};

/* Opens the first that the kernel allows of io_uring, epoll and poll.  BROOD_POLLER=uring, epoll or poll in the
 * environment allows only that one.  Returns 0; -EINVAL: no such poller; -ENOTSUP: brood was built without io_uring; or
 * the kernel's error. */
int brood__poller_open(struct brood__poller **ret_poller);

/* "uring", "epoll" or "poll". */
const char *brood__poller_name(const struct brood__poller *poller);

/* Watches `fd`, something that can be polled: a pidfd, socket, pipe, eventfd.  Returns 0; -EBADF; -EEXIST: it is watched
 * already; -ENOMEM, -ENOSPC. */
int brood__poller_add(struct brood__poller *poller, int fd, uint64_t tag);

/* The same for a descriptor to write to: POLLOUT. */
int brood__poller_add_writable(struct brood__poller *poller, int fd, uint64_t tag);

/* Reports nothing for `fd` any more, even if the number is reused.  Returns 0 or -ENOENT. */
int brood__poller_remove(struct brood__poller *poller, int fd);

/* Waits until a descriptor is ready, and returns how many of `ret_events` it has filled, at most `max`; 0: the deadline
 * has passed.  A signal does not end the wait.  A negative errno: the poller is broken, and every later wait returns it
 * too. */
int brood__poller_wait(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max,
                       brood_deadline deadline);

/* NULL is valid, and so are descriptors that are still watched. */
void brood__poller_close(struct brood__poller *poller);

/* ---- for the implementations: poller_uring.c, poller_epoll.c, poller_poll.c ----
 *
 * A poller begins with a struct brood__poller.  The functions do what their namesakes above do, and leave the error
 * message to poller.c.
 */

struct brood__poller_body {
    const char *name;
    int (*open)(struct brood__poller **ret_poller);
    int (*add)(struct brood__poller *poller, int fd, short events, uint64_t tag); /* `fd` is open */
    int (*remove)(struct brood__poller *poller, int fd);
    int (*wait)(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max, brood_deadline deadline);
    void (*close)(struct brood__poller *poller);
};

struct brood__poller {
    const struct brood__poller_body *body; /* poller.c sets both */
    pid_t owner;                           /* the process that has opened it */
};

extern const struct brood__poller_body brood__poller_uring;
extern const struct brood__poller_body brood__poller_epoll;
extern const struct brood__poller_body brood__poller_poll;

/* The flags that the io_uring poller asks for, and does without if the kernel (before 6.1) does not know them.  A test
 * asks for one that no kernel knows. */
extern unsigned brood__poller_uring_flags;

/* The time until the deadline, at least 0; NULL: for ever. */
const struct timespec *brood__poller_left(brood_deadline deadline, struct timespec *left);

#endif
