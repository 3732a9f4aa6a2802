/* poller.h - waits until some of many descriptors are readable, writable or hung up: the supervisor's event loop.
 *
 *     struct brood__poller_event events[16];
 *     int n = brood__poller_wait(poller, events, 16, deadline);
 *     for (int i = 0; i < n; i++)
 *         handle(events[i].tag, events[i].revents);
 *
 * Level-triggered: a wait reports what poll(2) would say at that moment, so what is still readable is reported again, and
 * what has been read since is not.  No descriptor starves when more are ready than `max`.  The events of one wait are a
 * snapshot: whoever removes a descriptor while handling one of them looks for its tag among the rest.
 *
 * A poller belongs to the thread that opened it.  In a forked child the only call is brood__poller_close(), which lets go
 * of the child's copy and leaves the parent's alone.
 *
 * Remove a descriptor before it is closed: until then io_uring keeps its file open, so that the peer sees no hang-up.  When
 * the owner is killed, io_uring lets go of the files by and by (13 ms later was seen), so a peer that wants to know at once
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
    uint32_t revents; /* POLLIN, POLLOUT, POLLHUP, POLLERR; one of them at least */
};

/* Opens the first that the kernel lets us have of io_uring, epoll and poll.  BROOD_POLLER=uring, epoll or poll in the
 * environment allows only that one.  0; -EINVAL: no such poller; -ENOTSUP: io_uring was left out when brood was built; or
 * why the kernel refuses. */
int brood__poller_open(struct brood__poller **ret_poller);

/* "uring", "epoll" or "poll". */
const char *brood__poller_name(const struct brood__poller *poller);

/* Watches `fd`, something that can be waited for: a pidfd, socket, pipe, eventfd.  0; -EBADF; -EEXIST: it is watched
 * already; -ENOMEM, -ENOSPC. */
int brood__poller_add(struct brood__poller *poller, int fd, uint64_t tag);

/* The same for a descriptor that is to be written to: POLLOUT. */
int brood__poller_add_writable(struct brood__poller *poller, int fd, uint64_t tag);

/* From now on nothing is reported for `fd`, also when the number comes to stand for something else.  0 or -ENOENT. */
int brood__poller_remove(struct brood__poller *poller, int fd);

/* Waits until something is ready, and returns how many of `ret_events` it filled, `max` at most; 0: the deadline has come.
 * A signal does not end the wait.  A negative errno: the poller is broken, and every later wait says so too. */
int brood__poller_wait(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max,
                       brood_deadline deadline);

/* NULL is fine, and so are descriptors that are still watched. */
void brood__poller_close(struct brood__poller *poller);

/* ---- for the bodies: poller_uring.c, poller_epoll.c, poller_poll.c ----
 *
 * A body's poller begins with a struct brood__poller.  Its functions do as their namesakes above, and leave the words of an
 * error to poller.c.
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
    pid_t owner;                           /* the process that opened it */
};

extern const struct brood__poller_body brood__poller_uring;
extern const struct brood__poller_body brood__poller_epoll;
extern const struct brood__poller_body brood__poller_poll;

/* The flags that io_uring's body asks for and does without if the kernel (before 6.1) does not know them.  A test asks
 * for one that no kernel knows. */
extern unsigned brood__poller_uring_flags;

/* How long until the deadline, at least 0; NULL: for ever. */
const struct timespec *brood__poller_left(brood_deadline deadline, struct timespec *left);

#endif
