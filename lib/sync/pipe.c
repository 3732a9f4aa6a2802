/* pipe.c - messages through a stream of bytes: framing, turns, and what is kept when a deadline comes in the middle. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood/pipe.h>

#include "os/available.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/futex.h"
#include "os/process_attributes.h"
#include "os/stream.h"
#include "sync/pipe.h"

#define HEADER_SHORT 4 /* bytes of a length below 2 GiB */
#define HEADER_LONG 12 /* of -1 and one that is longer */
#define LENGTH_SHORT_MAX ((size_t)INT32_MAX)

/* A lock among the threads of this process: the turn to send or to receive.  The word is 0: free; else the fork generation
 * of its owner, TAKEN, and AWAITED if threads may sleep on it.  After a fork the word of an older generation names a thread
 * that does not exist in this process.  All threads write it: the owner that gives it back releases, which pairs with the
 * acquire of the thread that takes it. */
struct turn {
    _Atomic uint32_t word;
};

#define TAKEN 1u
#define AWAITED 2u

/* What is sent; only the owner of `turn` uses the other fields. */
struct outbox {
    struct turn turn;
    int error;  /* that every send from now on returns, or 0 */
    char *rest; /* of a message that was begun, and is finished first */
    size_t rest_bytes, rest_sent;
};

/* What is received; likewise. */
struct inbox {
    struct turn turn;
    int error; /* that every receive from now on returns, or 0 */
    uint8_t header[HEADER_LONG];
    size_t header_bytes; /* of it, received so far */
    size_t size;         /* of the message, once its header is whole */
    int passed;          /* the descriptor that came with the header; NO_FD; or why it could not be taken */
    char *part;          /* the message, when a deadline came in the middle of it; or NULL */
    size_t part_bytes;
    _Atomic bool is_ready; /* the next receive needs nothing more; for brood_wait(), which does not take its turn */
};

#define NO_FD (-4096) /* less than any negative errno */

struct brood_pipe {
    _Atomic int fd; /* -1: closed.  The owner of both turns stores it, relaxed: the turns order it */
    bool is_socket;
    enum brood_pipe_way way;
    struct outbox out;
    struct inbox in;
};

/* ---- turns ---- */

static uint32_t own_word(void)
{
    return atomic_load_explicit(&brood__fork_generation, memory_order_relaxed) << 2 | TAKEN;
}

static bool swap(struct turn *turn, uint32_t *expected, uint32_t word)
{
    return atomic_compare_exchange_strong_explicit(&turn->word, expected, word, memory_order_acquire, memory_order_relaxed);
}

/* 0: taken; 1: taken over from a thread that was not forked with us; -EAGAIN, -ETIMEDOUT. */
static int pipe_take_turn(struct turn *turn, brood_deadline deadline)
{
    uint32_t own = own_word(), word = 0;

    if (swap(turn, &word, own))
        return 0;
    for (;;) {
        uint32_t seen = word;
        int r;

        if ((word & ~AWAITED) != own) { /* free, or of a thread that is not here; others may sleep */
            if (swap(turn, &word, own | AWAITED))
                return seen == 0 ? 0 : 1;
            continue;
        }
        if (deadline.ns <= 0)
            return -EAGAIN;
        if (!(word & AWAITED) && !swap(turn, &word, word | AWAITED))
            continue;
        r = brood__futex_wait(&turn->word, own | AWAITED, deadline);
        if (r == -ETIMEDOUT)
            return r;
        word = atomic_load_explicit(&turn->word, memory_order_relaxed);
    }
}

/* By a thread of the process that forked this one. */
static bool pipe_turn_is_stale(const struct turn *turn)
{
    uint32_t word = atomic_load_explicit(&turn->word, memory_order_relaxed);

    return word != 0 && (word & ~AWAITED) != own_word();
}

static void give(struct turn *turn)
{
    if (atomic_exchange_explicit(&turn->word, 0, memory_order_release) & AWAITED)
        (void)brood__futex_wake(&turn->word, 1);
}

/* ---- error texts ---- */

static int not_open(void)
{
    return brood_fail(-EBADF, "this end of the pipe is closed");
}

static int late(int error, const char *what)
{
    if (error == -EAGAIN)
        return brood_fail(error, "%s would have to wait", what);
    return brood_fail(error, "%s took too long: the deadline has come", what);
}

static int explain(int error, const char *what)
{
    if (error == -EAGAIN || error == -ETIMEDOUT)
        return late(error, what);
    if (error == -EPIPE)
        return brood_fail(error, "the other end of the pipe is closed");
    return brood_fail(error, "%s failed: %s", what, strerror(-error));
}

/* Of what fails for good, the first time and later. */
static int pipe_broken(int error)
{
    switch (error) {
    case -EPIPE:
        return brood_fail(error, "the other end of the pipe is closed");
    case -EPERM:
        return brood_fail(error, "another thread was in the middle of a message here when this process was forked");
    case -EBADMSG:
        return brood_fail(error, "the other end of the pipe was closed in the middle of a message, or sends no messages");
    default:
        return brood_fail(error,
                          "the deadline came in the middle of a message, and there was no memory for its other part: "
                          "nothing more can come after it");
    }
}

/* ---- calls ---- */

static struct brood__stream stream_of(const struct brood_pipe *pipe)
{
    return (struct brood__stream){atomic_load_explicit(&pipe->fd, memory_order_relaxed), pipe->is_socket};
}

static int pipe_begin(struct brood_pipe *pipe, enum brood_pipe_way way, brood_deadline deadline)
{
    const char *what = way == BROOD_PIPE_SEND ? "sending" : "receiving";
    struct turn *turn;
    int r;

    if (!pipe)
        return brood_fail(-EINVAL, "the pipe is NULL");
    if (stream_of(pipe).fd < 0)
        return not_open();
    if (!(pipe->way & way))
        return brood_fail(-EPERM, "%s is not what this end of a one-way pipe is for: the other one does it", what);
    turn = way == BROOD_PIPE_SEND ? &pipe->out.turn : &pipe->in.turn;
    r = pipe_take_turn(turn, deadline);
    if (r < 0)
        return late(r, what);
    if (stream_of(pipe).fd < 0) {
        give(turn);
        return not_open();
    }
    return r;
}

/* ---- sending ---- */

static int begin_send(struct brood_pipe *pipe, brood_deadline deadline)
{
    int r = pipe_begin(pipe, BROOD_PIPE_SEND, deadline);

    if (r == 1) /* this process cannot know how far that thread had come */
        pipe->out.error = -EPERM;
    if (r >= 0 && pipe->out.error != 0) {
        r = pipe_broken(pipe->out.error);
        give(&pipe->out.turn);
    }
    return r;
}

static size_t write_header(uint8_t header[HEADER_LONG], size_t length)
{
    uint32_t small = htobe32(length > LENGTH_SHORT_MAX ? UINT32_MAX : (uint32_t)length);
    uint64_t large = htobe64(length);

    memcpy(header, &small, sizeof(small));
    memcpy(header + sizeof(small), &large, sizeof(large));
    return length > LENGTH_SHORT_MAX ? HEADER_LONG : HEADER_SHORT;
}

/* Takes what has been sent off the front. */
static void pipe_advance(struct iovec parts[2], size_t bytes)
{
    for (int i = 0; i < 2; i++) {
        size_t some = bytes < parts[i].iov_len ? bytes : parts[i].iov_len;

        parts[i].iov_base = (char *)parts[i].iov_base + some;
        parts[i].iov_len -= some;
        bytes -= some;
    }
}

/* 0, or why not all of them were sent; the parts are then what is left. */
static int send_parts(struct brood_pipe *pipe, struct iovec parts[2], brood_deadline deadline)
{
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t n = brood__stream_send(stream_of(pipe), parts, 2, -1, deadline);

        if (n < 0)
            return (int)n;
        pipe_advance(parts, (size_t)n);
    }
    return 0;
}

static int send_rest(struct brood_pipe *pipe, brood_deadline deadline)
{
    struct outbox *out = &pipe->out;
    struct iovec parts[2] = {{out->rest, 0}, {out->rest + out->rest_sent, out->rest_bytes - out->rest_sent}};
    int r;

    if (!out->rest)
        return 0;
    r = send_parts(pipe, parts, deadline);
    out->rest_sent = out->rest_bytes - parts[1].iov_len;
    if (r < 0)
        return explain(r, "sending the rest of an earlier message");
    free(out->rest);
    out->rest = NULL;
    return 0;
}

/* Memory for a copy of what is not through yet.  Where memory is short the kernel would kill a process for it. */
static void *alloc_copy(size_t bytes)
{
    uint64_t available;

    return brood__memory_allows(0, bytes, &available) ? malloc(bytes) : NULL;
}

static int keep_rest(struct outbox *out, const struct iovec parts[2])
{
    out->rest_sent = 0;
    out->rest_bytes = parts[0].iov_len + parts[1].iov_len;
    out->rest = alloc_copy(out->rest_bytes);
    if (!out->rest)
        return pipe_broken(out->error = -ENOTRECOVERABLE);
    memcpy(out->rest, parts[0].iov_base, parts[0].iov_len);
    if (parts[1].iov_len > 0)
        memcpy(out->rest + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    return brood_fail(-EINPROGRESS,
                      "the deadline came in the middle of the message: its last %zu bytes go out first in the "
                      "next send, or by brood_pipe_flush()",
                      out->rest_bytes);
}

static int send_message(struct brood_pipe *pipe, struct brood_bytes message, brood_deadline deadline)
{
    uint8_t header[HEADER_LONG];
    size_t header_bytes = write_header(header, message.len);
    struct iovec parts[2] = {{header, header_bytes}, {(void *)(uintptr_t)message.ptr, message.len}};
    int r = send_parts(pipe, parts, deadline);

    if ((r == -EAGAIN || r == -ETIMEDOUT) && parts[0].iov_len + parts[1].iov_len < header_bytes + message.len)
        return keep_rest(&pipe->out, parts);
    return r == 0 ? 0 : explain(r, "sending");
}

int brood_pipe_send(struct brood_pipe *pipe, struct brood_bytes message, brood_deadline deadline)
{
    int r;

    if ((!message.ptr && message.len > 0) || message.len > INT64_MAX)
        return brood_fail(-EINVAL, "%zu bytes at %p are no message", message.len, message.ptr);
    r = begin_send(pipe, deadline);
    if (r < 0)
        return r;
    r = send_rest(pipe, deadline);
    if (r == 0)
        r = send_message(pipe, message, deadline);
    give(&pipe->out.turn);
    return r;
}

int brood_pipe_flush(struct brood_pipe *pipe, brood_deadline deadline)
{
    int r = begin_send(pipe, deadline);

    if (r < 0)
        return r;
    r = send_rest(pipe, deadline);
    give(&pipe->out.turn);
    return r;
}

/* A descriptor travels with the header of an empty message, which is never sent in parts. */
static int send_fd(struct brood_pipe *pipe, int fd, brood_deadline deadline)
{
    uint8_t header[HEADER_LONG];
    struct iovec part = {header, write_header(header, 0)};
    ssize_t n = brood__stream_send(stream_of(pipe), &part, 1, fd, deadline);

    if (n == -ENOTSUP || n == -EINVAL)
        return brood_fail(-ENOTSUP, "a descriptor travels through a Unix socket only, as brood_pipe_open() makes them");
    return n < 0 ? explain((int)n, "sending a descriptor") : 0;
}

int brood_pipe_send_fd(struct brood_pipe *pipe, int fd, brood_deadline deadline)
{
    int r;

    if (fcntl(fd, F_GETFD) < 0)
        return brood_fail(-EBADF, "descriptor %d, which was to be sent, is not open", fd);
    r = begin_send(pipe, deadline);
    if (r < 0)
        return r;
    r = send_rest(pipe, deadline);
    if (r == 0)
        r = send_fd(pipe, fd, deadline);
    give(&pipe->out.turn);
    return r;
}

/* ---- receiving ---- */

static int fail_for_good(struct inbox *in, int error)
{
    in->error = error;
    atomic_store_explicit(&in->is_ready, true, memory_order_relaxed);
    return pipe_broken(error);
}

/* The turn of a thread that was in the middle of a message when this process was forked: the rest is for its process. */
static void inherit_turn(struct inbox *in)
{
    if (in->header_bytes > 0)
        (void)fail_for_good(in, -EPERM);
}

static int begin_look(struct brood_pipe *pipe, brood_deadline deadline)
{
    int r = pipe_begin(pipe, BROOD_PIPE_RECEIVE, deadline);

    if (r == 1)
        inherit_turn(&pipe->in);
    return r < 0 ? r : 0;
}

static int begin_recv(struct brood_pipe *pipe, brood_deadline deadline)
{
    int r = begin_look(pipe, deadline);

    if (r < 0 || pipe->in.error == 0)
        return r;
    r = pipe_broken(pipe->in.error);
    give(&pipe->in.turn);
    return r;
}

static int end_recv(struct brood_pipe *pipe, int r)
{
    give(&pipe->in.turn);
    return r;
}

static int at_the_end(struct inbox *in)
{
    return fail_for_good(in, in->header_bytes == 0 ? -EPIPE : -EBADMSG);
}

static size_t header_wanted(const struct inbox *in)
{
    static const uint8_t is_long[HEADER_SHORT] = {0xff, 0xff, 0xff, 0xff};

    if (in->header_bytes >= HEADER_SHORT && memcmp(in->header, is_long, HEADER_SHORT) == 0)
        return HEADER_LONG;
    return HEADER_SHORT;
}

static int read_length(struct inbox *in)
{
    uint32_t small;
    uint64_t large;

    memcpy(&small, in->header, sizeof(small));
    memcpy(&large, in->header + sizeof(small), sizeof(large));
    large = in->header_bytes == HEADER_LONG ? be64toh(large) : be32toh(small);
    if (large > (in->header_bytes == HEADER_LONG ? INT64_MAX : INT32_MAX))
        return fail_for_good(in, -EBADMSG);
    in->size = (size_t)large;
    atomic_store_explicit(&in->is_ready, large == 0, memory_order_relaxed);
    return 0;
}

/* A stranger may send more of them than one, in pieces of a header. */
static void keep_passed(struct inbox *in, int passed)
{
    if (in->passed == NO_FD)
        in->passed = passed;
    else if (passed >= 0)
        (void)close(passed);
}

static bool is_descriptor(const struct inbox *in)
{
    return in->passed != NO_FD && in->size == 0;
}

/* Receives the header of the next message, unless it is there. */
static int recv_header(struct brood_pipe *pipe, brood_deadline deadline)
{
    struct inbox *in = &pipe->in;
    size_t wanted = header_wanted(in);

    if (in->header_bytes == wanted)
        return 0;
    while (in->header_bytes < wanted) {
        int passed = NO_FD;
        ssize_t n = brood__stream_recv(stream_of(pipe), in->header + in->header_bytes, wanted - in->header_bytes, &passed,
                                       deadline);

        if (n == 0)
            return at_the_end(in);
        if (n < 0)
            return explain((int)n, "receiving");
        keep_passed(in, passed);
        in->header_bytes += (size_t)n;
        wanted = header_wanted(in);
    }
    return read_length(in);
}

/* The deadline has come: what is there of the message stays with the pipe. */
static int keep_part(struct inbox *in, const void *place, size_t bytes, int error)
{
    if (!in->part && bytes > 0) {
        in->part = alloc_copy(in->size);
        if (!in->part)
            return fail_for_good(in, -ENOTRECOVERABLE);
        memcpy(in->part, place, bytes);
    }
    in->part_bytes = bytes;
    return late(error, "receiving");
}

static int recv_body(struct brood_pipe *pipe, void *place, brood_deadline deadline)
{
    struct inbox *in = &pipe->in;
    size_t bytes = in->part_bytes;
    char *at = in->part ? in->part : place;

    while (bytes < in->size) {
        ssize_t n = brood__stream_recv(stream_of(pipe), at + bytes, in->size - bytes, NULL, deadline);

        if (n == 0)
            return at_the_end(in);
        if (n == -EAGAIN || n == -ETIMEDOUT)
            return keep_part(in, place, bytes, (int)n);
        if (n < 0)
            return explain((int)n, "receiving");
        bytes += (size_t)n;
    }
    if (in->part)
        memcpy(place, in->part, in->size);
    return 0;
}

static void forget_message(struct inbox *in)
{
    if (in->passed >= 0)
        (void)close(in->passed);
    in->passed = NO_FD;
    free(in->part);
    in->part = NULL;
    in->part_bytes = in->header_bytes = 0;
    atomic_store_explicit(&in->is_ready, false, memory_order_relaxed);
}

static int recv_message(struct brood_pipe *pipe, struct brood_space *message, brood_deadline deadline)
{
    struct inbox *in = &pipe->in;
    int r = recv_header(pipe, deadline);

    if (r < 0)
        return r;
    if (is_descriptor(in))
        return brood_fail(-ENOMSG, "a descriptor comes next: it stays for brood_pipe_recv_fd()");
    if (in->size > message->len) {
        r = brood_fail(-EMSGSIZE, "the message has %zu bytes and there is room for %zu: it stays for the next receive",
                       in->size, message->len);
        message->len = in->size;
        return r;
    }
    r = recv_body(pipe, message->ptr, deadline);
    if (r < 0)
        return r;
    message->len = in->size;
    forget_message(in);
    return 0;
}

int brood_pipe_recv(struct brood_pipe *pipe, struct brood_space *message, brood_deadline deadline)
{
    int r;

    if (!message || (!message->ptr && message->len > 0))
        return brood_fail(-EINVAL, "there is no room to receive a message in");
    r = begin_recv(pipe, deadline);
    return r < 0 ? r : end_recv(pipe, recv_message(pipe, message, deadline));
}

int brood_pipe_next_size(struct brood_pipe *pipe, size_t *ret_size, brood_deadline deadline)
{
    int r = begin_recv(pipe, deadline);

    if (r < 0)
        return r;
    r = recv_header(pipe, deadline);
    if (r == 0 && is_descriptor(&pipe->in))
        r = brood_fail(-ENOMSG, "a descriptor comes next, which has no size: it stays for brood_pipe_recv_fd()");
    if (r == 0)
        *ret_size = pipe->in.size;
    return end_recv(pipe, r);
}

/* Whatever the next receive would say at once is something to receive: also that the end has come, or that nothing can come
 * any more.  So says brood_wait(), too. */
int brood_pipe_poll(struct brood_pipe *pipe, brood_deadline deadline)
{
    int r = begin_look(pipe, deadline);

    if (r < 0)
        return r;
    r = brood__pipe_is_ready(pipe) ? 0 : brood__stream_poll(stream_of(pipe), deadline);
    return end_recv(pipe, r < 0 ? explain(r, "receiving") : 0);
}

static int recv_fd(struct brood_pipe *pipe, int *ret_fd, brood_deadline deadline)
{
    struct inbox *in = &pipe->in;
    int r = recv_header(pipe, deadline), fd;

    if (r < 0)
        return r;
    if (!is_descriptor(in))
        return brood_fail(-ENOMSG, "the next message comes without a descriptor: it stays for brood_pipe_recv()");
    fd = in->passed;
    in->passed = NO_FD;
    forget_message(in);
    if (fd < 0)
        return brood_fail(fd, "a descriptor came and is lost, because this process can have no more (see ulimit -n)");
    *ret_fd = brood__fd_not_standard(fd);
    return 0;
}

int brood_pipe_recv_fd(struct brood_pipe *pipe, int *ret_fd, brood_deadline deadline)
{
    int r = begin_recv(pipe, deadline);

    return r < 0 ? r : end_recv(pipe, recv_fd(pipe, ret_fd, deadline));
}

bool brood__pipe_is_ready(struct brood_pipe *pipe)
{
    struct inbox *in = &pipe->in;

    if (pipe_turn_is_stale(&in->turn) && begin_look(pipe, BROOD_NOW) == 0)
        give(&in->turn);
    return atomic_load_explicit(&in->is_ready, memory_order_relaxed);
}

/* ---- opening and closing ---- */

static struct brood_pipe *new_end(struct brood__stream stream, enum brood_pipe_way way)
{
    struct brood_pipe *pipe = calloc(1, sizeof(*pipe));

    if (!pipe) {
        (void)brood_fail(-ENOMEM, "out of memory");
        return NULL;
    }
    brood__fork_watch();
    atomic_init(&pipe->fd, stream.fd);
    pipe->is_socket = stream.is_socket;
    pipe->way = way;
    pipe->in.passed = NO_FD;
    return pipe;
}

static int check_way(enum brood_pipe_way way)
{
    if (way >= BROOD_PIPE_RECEIVE && way <= BROOD_PIPE_DUPLEX)
        return 0;
    return brood_fail(-EINVAL, "%d is no way of a pipe: choose BROOD_PIPE_DUPLEX, _RECEIVE or _SEND", (int)way);
}

static enum brood_pipe_way opposite(enum brood_pipe_way way)
{
    return way == BROOD_PIPE_DUPLEX ? way : way == BROOD_PIPE_SEND ? BROOD_PIPE_RECEIVE : BROOD_PIPE_SEND;
}

int brood_pipe_open(struct brood_pipe **ret_first, struct brood_pipe **ret_second, enum brood_pipe_way way)
{
    struct brood__stream streams[2];
    struct brood_pipe *first, *second;
    int r = check_way(way);

    if (r < 0)
        return r;
    r = brood__stream_pair(streams);
    if (r < 0)
        return brood_fail(r, "cannot open a pipe: %s", strerror(-r));
    first = new_end(streams[0], way);
    second = new_end(streams[1], opposite(way));
    if (!first || !second) {
        free(first);
        free(second);
        (void)close(streams[0].fd);
        (void)close(streams[1].fd);
        return -ENOMEM;
    }
    *ret_first = first;
    *ret_second = second;
    return 0;
}

/* A socket goes both ways; other descriptors have a mode. */
static int check_mode(int fd, enum brood_pipe_way way)
{
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;

    if ((mode == O_RDONLY && way != BROOD_PIPE_RECEIVE) || (mode == O_WRONLY && way != BROOD_PIPE_SEND))
        return brood_fail(-EBADF, "descriptor %d is open for %s only", fd, mode == O_RDONLY ? "reading" : "writing");
    return 0;
}

int brood_pipe_from_fd(struct brood_pipe **ret_pipe, int fd, enum brood_pipe_way way)
{
    struct brood__stream stream;
    struct brood_pipe *pipe;
    int r = check_way(way);

    if (r < 0)
        return r;
    r = brood__stream_from_fd(&stream, fd);
    if (r == -EINVAL)
        return brood_fail(r, "descriptor %d is no stream: a pipe's end is a stream socket, pipe, FIFO or terminal", fd);
    if (r < 0)
        return brood_fail(r, "cannot make a pipe's end of descriptor %d: %s", fd, strerror(-r));
    r = check_mode(fd, way);
    if (r < 0)
        return r;
    pipe = new_end(stream, way);
    if (!pipe)
        return -ENOMEM;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    *ret_pipe = pipe;
    return 0;
}

int brood_pipe_fd(const struct brood_pipe *pipe)
{
    int fd = pipe ? stream_of(pipe).fd : -1;

    return fd >= 0 ? fd : not_open();
}

/* Takes both turns, so that no thread is in a call. */
static int take_both(struct brood_pipe *pipe)
{
    if (pipe_take_turn(&pipe->out.turn, BROOD_NOW) >= 0) {
        if (pipe_take_turn(&pipe->in.turn, BROOD_NOW) >= 0)
            return 0;
        give(&pipe->out.turn);
    }
    return brood_fail(-EBUSY, "another thread is in a call on this end of the pipe");
}

static void give_both(struct brood_pipe *pipe)
{
    give(&pipe->in.turn);
    give(&pipe->out.turn);
}

static int pipe_drop(struct brood_pipe *pipe)
{
    int fd = stream_of(pipe).fd;

    forget_message(&pipe->in);
    free(pipe->out.rest);
    pipe->out.rest = NULL;
    atomic_store_explicit(&pipe->fd, -1, memory_order_relaxed);
    return fd;
}

int brood_pipe_close(struct brood_pipe *pipe)
{
    int r, fd;

    if (!pipe)
        return 0;
    r = take_both(pipe);
    if (r < 0)
        return r;
    fd = pipe_drop(pipe);
    if (fd >= 0)
        (void)close(fd);
    give_both(pipe);
    return 0;
}

int brood_pipe_detach(struct brood_pipe *pipe)
{
    int r = brood_pipe_fd(pipe);

    if (r >= 0)
        r = take_both(pipe);
    if (r < 0)
        return r;
    if (pipe->in.header_bytes > 0 || pipe->out.rest)
        r = brood_fail(-EBUSY, "a message is half %s on this end of the pipe", pipe->out.rest ? "sent" : "received");
    else
        r = pipe_drop(pipe);
    give_both(pipe);
    return r;
}

void brood_pipe_free(struct brood_pipe *pipe)
{
    int fd;

    if (!pipe)
        return;
    fd = pipe_drop(pipe);
    if (fd >= 0)
        (void)close(fd);
    free(pipe);
}
