/* poller_uring.c - the poller over io_uring(7): arming, waiting and collecting are one system call.
 *
 * A watched descriptor is either due, which means that the next wait arms it (with a one-shot poll request), or armed.
 * A completion makes it due again, which makes one-shot requests level-triggered: the new request completes at once if
 * the descriptor is still ready.
 *
 * A completion is only a hint.  It may be older than the caller's last read, because requests complete between the
 * waits, so poll(2) decides for that descriptor.  It may even belong to a watch that has been removed: a request's key
 * has a generation beside the number of the descriptor, and a completion of another generation is dropped.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/poller.h"

/* Two pages of requests and one of completions; a larger ring takes longer to open.  More completions than fit wait in
 * the kernel. */
#define ENTRIES 64

/* The key of requests whose completion is ignored: generations begin with 1. */
#define NO_KEY 0

struct watch {
    uint64_t tag;
    uint32_t generation; /* how many watches this number has had */
    short events;
    bool watched;
};

struct uring {
    struct brood__poller base;
    struct io_uring ring;
    struct watch *watches; /* by descriptor */
    size_t room;           /* of both arrays, so that `due` has room for every descriptor */
    uint64_t *due;         /* keys, of live watches only, each once */
    size_t due_len;
};

/* DEFER_TASKRUN completes requests when this thread asks.  Without it a completion interrupts what the thread is doing
 * in the kernel, and some calls then return EINTR.  It requires SINGLE_ISSUER. */
unsigned brood__poller_uring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

static uint64_t key_of(const struct uring *self, int fd)
{
    return (uint64_t)self->watches[fd].generation << 32 | (uint32_t)fd;
}

static int fd_of(uint64_t key)
{
    return (int)(uint32_t)key;
}

static bool is_watched(const struct uring *self, int fd)
{
    return fd >= 0 && (size_t)fd < self->room && self->watches[fd].watched;
}

static int queue_init(struct io_uring *ring)
{
    struct io_uring_params params = {.flags = brood__poller_uring_flags};
    int r = io_uring_queue_init_params(ENTRIES, ring, &params);

    if (r == -EINVAL) {
        params = (struct io_uring_params){0};
        r = io_uring_queue_init_params(ENTRIES, ring, &params);
    }
    if (r < 0)
        return r;
    /* Linux 5.11: a wait with a time limit that is not a request of its own */
    r = (params.features & IORING_FEAT_EXT_ARG) != 0 ? 0 : -ENOSYS;
    /* A child does not need the ring's memory, and a mapping of it would keep the ring alive after its owner. */
    if (r == 0)
        r = io_uring_ring_dontfork(ring);
    /* A sandbox may allow making a ring but not entering it: check that here, while another poller can be chosen. */
    if (r == 0)
        r = io_uring_get_events(ring);
    if (r < 0)
        io_uring_queue_exit(ring);
    return r < 0 ? r : 0;
}

static int uring_open(struct brood__poller **ret_poller)
{
    struct uring *self = calloc(1, sizeof(*self));
    int r;

    if (!self)
        return -ENOMEM;
    r = queue_init(&self->ring);
    if (r < 0) {
        free(self);
        return r;
    }
    *ret_poller = &self->base;
    return 0;
}

static int uring_grow(struct uring *self, size_t least)
{
    size_t room = self->room > 0 ? self->room : 32;
    struct watch *watches;
    uint64_t *due;

    while (room < least)
        room *= 2;
    watches = reallocarray(self->watches, room, sizeof(*watches));
    if (!watches)
        return -ENOMEM;
    self->watches = watches;
    due = reallocarray(self->due, room, sizeof(*due));
    if (!due)
        return -ENOMEM;
    self->due = due;
    memset(&watches[self->room], 0, (room - self->room) * sizeof(*watches));
    self->room = room;
    return 0;
}

static void watch_make_due(struct uring *self, int fd)
{
    self->due[self->due_len++] = key_of(self, fd);
}

static int uring_add(struct brood__poller *poller, int fd, short events, uint64_t tag)
{
    struct uring *self = (struct uring *)poller;
    struct watch *watch;
    int r;

    if (is_watched(self, fd))
        return -EEXIST;
    if ((size_t)fd >= self->room) {
        r = uring_grow(self, (size_t)fd + 1);
        if (r < 0)
            return r;
    }
    watch = &self->watches[fd];
    watch->tag = tag;
    watch->events = events;
    watch->watched = true;
    if (++watch->generation == 0)
        watch->generation = 1;
    watch_make_due(self, fd);
    return 0;
}

/* Gets room for a request.  Returns 0, or the reason why the kernel takes none of the waiting ones. */
static int get_sqe(struct uring *self, struct io_uring_sqe **ret_sqe)
{
    int r;

    *ret_sqe = io_uring_get_sqe(&self->ring);
    if (*ret_sqe)
        return 0;
    r = io_uring_submit(&self->ring);
    if (r < 0)
        return r;
    *ret_sqe = io_uring_get_sqe(&self->ring);
    return *ret_sqe ? 0 : -EBUSY;
}

/* The kernel is busy when it holds more completions than fit the ring: the caller must take those that are there. */
static bool is_passing(int error)
{
    return error == -EINTR || error == -EBUSY || error == -ETIME;
}

static int request_removal(struct uring *self, uint64_t key)
{
    struct io_uring_sqe *sqe;
    int r = get_sqe(self, &sqe);

    if (r < 0)
        return r;
    io_uring_prep_poll_remove(sqe, key);
    io_uring_sqe_set_data64(sqe, NO_KEY);
    return 0;
}

/* When this returns, the kernel has released the files whose removal has been requested.  (A busy kernel does so in the
 * next wait.) */
static int uring_flush(struct uring *self)
{
    int r;

    do
        r = io_uring_submit_and_get_events(&self->ring);
    while (r == -EINTR);
    return r < 0 && !is_passing(r) ? r : 0;
}

static bool watch_forget_due(struct uring *self, uint64_t key)
{
    size_t i = 0;

    while (i < self->due_len && self->due[i] != key)
        i++;
    if (i == self->due_len)
        return false;
    self->due_len--;
    memmove(&self->due[i], &self->due[i + 1], (self->due_len - i) * sizeof(*self->due));
    return true;
}

static int uring_remove(struct brood__poller *poller, int fd)
{
    struct uring *self = (struct uring *)poller;
    uint64_t key;
    int r;

    if (!is_watched(self, fd))
        return -ENOENT;
    self->watches[fd].watched = false;
    key = key_of(self, fd);
    if (watch_forget_due(self, key))
        return 0;
    r = request_removal(self, key);
    return r < 0 ? r : uring_flush(self);
}

static int arm_due(struct uring *self)
{
    size_t n = 0;
    int r = 0;

    for (; n < self->due_len; n++) {
        struct io_uring_sqe *sqe;

        r = get_sqe(self, &sqe);
        if (r < 0)
            break;
        io_uring_prep_poll_add(sqe, fd_of(self->due[n]), (unsigned)self->watches[fd_of(self->due[n])].events);
        io_uring_sqe_set_data64(sqe, self->due[n]);
    }
    if (n == 0)
        return r;
    self->due_len -= n;
    memmove(self->due, &self->due[n], self->due_len * sizeof(*self->due));
    return r;
}

static int uring_sleep(struct uring *self, brood_deadline deadline)
{
    struct io_uring_cqe *first;
    struct __kernel_timespec limit = {0};
    struct timespec left;
    bool limited = brood__poller_left(deadline, &left) != NULL;

    if (limited)
        limit = (struct __kernel_timespec){.tv_sec = left.tv_sec, .tv_nsec = left.tv_nsec};
    return io_uring_submit_and_wait_timeout(&self->ring, &first, 1, limited ? &limit : NULL, NULL);
}

/* Arms what is due, and if `may_sleep` sleeps until there is a completion, or the deadline, or spuriously. */
static int uring_enter(struct uring *self, bool may_sleep, brood_deadline deadline)
{
    int r = arm_due(self);

    if (r < 0)
        return r;
    /* Completions left from the last wait must not prevent asking for more: liburing's wait would then not ask, and with
     * DEFER_TASKRUN descriptors that are ready at every wait would keep all others waiting.  And a sleep of no length
     * still sleeps: it took 18 us. */
    if (!may_sleep || io_uring_cq_ready(&self->ring) > 0)
        r = io_uring_submit_and_get_events(&self->ring);
    else
        r = uring_sleep(self, deadline);
    return r < 0 ? r : 0;
}

/* What poll(2) reports for the descriptor now.  If it fails for lack of memory, the completion is believed: dropped, it
 * would come again at once, for ever. */
static uint32_t descriptor_poll(int fd, short events, int completion)
{
    struct pollfd now = {.fd = fd, .events = events};

    while (poll(&now, 1, 0) < 0)
        if (errno != EINTR)
            return completion > 0 ? (uint32_t)completion : 0;
    return (uint32_t)now.revents;
}

/* 1: it makes an event.  0: its watch is gone, or the descriptor is not ready any more.  Or the error of the request. */
static int completion_take(struct uring *self, const struct io_uring_cqe *cqe, struct brood__poller_event *ret_event)
{
    uint64_t key = cqe->user_data;
    int fd = fd_of(key);
    uint32_t revents;

    if (!is_watched(self, fd) || key_of(self, fd) != key)
        return 0;
    watch_make_due(self, fd);
    revents = descriptor_poll(fd, self->watches[fd].events, cqe->res);
    if (revents == 0)
        return cqe->res < 0 && cqe->res != -ECANCELED ? cqe->res : 0;
    *ret_event = (struct brood__poller_event){.tag = self->watches[fd].tag, .revents = revents};
    return 1;
}

static int uring_collect(struct uring *self, struct brood__poller_event *ret_events, size_t max)
{
    size_t n = 0;
    int r = 0;

    while (n < max && r >= 0) {
        struct io_uring_cqe *cqe;

        r = io_uring_peek_cqe(&self->ring, &cqe);
        if (r < 0)
            break;
        r = completion_take(self, cqe, &ret_events[n]);
        io_uring_cqe_seen(&self->ring, cqe);
        n += r > 0;
    }
    /* An error is not lost beside events: the next wait gets it again. */
    return n > 0 || r == -EAGAIN || is_passing(r) ? (int)n : r;
}

static int uring_wait(struct brood__poller *poller, struct brood__poller_event *ret_events, size_t max,
                      brood_deadline deadline)
{
    struct uring *self = (struct uring *)poller;

    for (;;) {
        bool in_time = !brood__is_past(deadline);
        int r = uring_enter(self, in_time, deadline);

        if (r < 0 && !is_passing(r))
            return r;
        r = uring_collect(self, ret_events, max);
        if (r != 0)
            return r;
        if (!in_time)
            return 0;
    }
}

/* The kernel releases a ring some time after its descriptor is closed, and would hold the watched files until then. */
static void remove_all(struct uring *self)
{
    int r = 0;

    for (size_t fd = 0; fd < self->room && r == 0; fd++)
        if (self->watches[fd].watched)
            r = request_removal(self, key_of(self, (int)fd));
    (void)uring_flush(self);
}

static void uring_close(struct brood__poller *poller)
{
    struct uring *self = (struct uring *)poller;

    if (self->base.owner == getpid()) {
        remove_all(self);
        io_uring_queue_exit(&self->ring);
    } else {
        (void)close(self->ring.ring_fd); /* a forked child: it does not have the mappings */
    }
    free(self->watches);
    free(self->due);
    free(self);
}

const struct brood__poller_body brood__poller_uring = {
    .name = "uring",
    .open = uring_open,
    .add = uring_add,
    .remove = uring_remove,
    .wait = uring_wait,
    .close = uring_close,
};
