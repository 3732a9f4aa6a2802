#include "os/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/poller.h"
#include "os/process_attributes.h"

/* ---- opening ---- */

int brood__stream_from_fd(struct brood__stream *ret_stream, int fd)
{
    struct stat status;
    int type = 0;
    socklen_t size = sizeof(type);

    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISSOCK(status.st_mode) && (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM))
        return -EINVAL;
    if (!S_ISSOCK(status.st_mode) && !S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return -EINVAL;
    *ret_stream = (struct brood__stream){fd, S_ISSOCK(status.st_mode)};
    return 0;
}

int brood__stream_pair(struct brood__stream ret_streams[2])
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        ret_streams[i] = (struct brood__stream){brood__fd_not_standard(fds[i]), true};
    return 0;
}

/* ---- waiting ---- */

static int stream_await(struct brood__stream stream, short events, brood_deadline deadline)
{
    struct pollfd watched = {.fd = stream.fd, .events = events};

    for (;;) {
        struct timespec left;
        int r = ppoll(&watched, 1, brood__poller_left(deadline, &left), NULL);

        if (r > 0)
            return watched.revents & POLLNVAL ? -EBADF : 0;
        if (r < 0 && errno != EINTR)
            return -errno;
        if (brood__is_past(deadline))
            return brood__timeout(deadline);
    }
}

int brood__stream_poll(struct brood__stream stream, brood_deadline deadline)
{
    return stream_await(stream, POLLIN, deadline);
}

/* ---- sending ---- */

/* How the message of one sendmsg() or recvmsg() carries a descriptor. */
union passage {
    char room[CMSG_SPACE(sizeof(int))];
    struct cmsghdr aligned;
};

static void passage_attach(struct msghdr *message, union passage *passage, int fd)
{
    memset(passage, 0, sizeof(*passage));
    message->msg_control = passage;
    message->msg_controllen = sizeof(*passage);
    passage->aligned =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&passage->aligned), &fd, sizeof(fd));
}

static ssize_t send_socket(struct brood__stream stream, const struct iovec *parts, size_t count, int passed, bool may_block)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
    union passage passage;
    ssize_t n;

    if (passed >= 0)
        passage_attach(&message, &passage, passed);
    n = sendmsg(stream.fd, &message, MSG_NOSIGNAL | (may_block ? 0 : MSG_DONTWAIT));
    return n < 0 ? -errno : n;
}

/* A write without RWF_NOWAIT (pipes have it since Linux 6.4) lasts until all of it is written, except for as many bytes
 * as a pipe has room for when it reports room. */
static ssize_t write_little(struct brood__stream stream, const struct iovec *parts, size_t count)
{
    size_t first = 0, bytes;
    int r = stream_await(stream, POLLOUT, BROOD_NOW);
    ssize_t n;

    if (r < 0)
        return r;
    while (first + 1 < count && parts[first].iov_len == 0)
        first++;
    bytes = parts[first].iov_len < PIPE_BUF ? parts[first].iov_len : PIPE_BUF;
    n = write(stream.fd, parts[first].iov_base, bytes);
    return n < 0 ? -errno : n;
}

static bool is_unknown(ssize_t n)
{
    return n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS);
}

static ssize_t stream_write_some(struct brood__stream stream, const struct iovec *parts, size_t count, bool may_block)
{
    ssize_t n = may_block ? writev(stream.fd, parts, (int)count) : pwritev2(stream.fd, parts, (int)count, -1, RWF_NOWAIT);

    if (!may_block && is_unknown(n))
        return write_little(stream, parts, count);
    return n < 0 ? -errno : n;
}

/* Only sockets can suppress SIGPIPE.  It goes to the thread that writes, so that thread blocks it and takes it away
 * again, unless one was pending before, which is the program's. */
static ssize_t write_quietly(struct brood__stream stream, const struct iovec *parts, size_t count, bool may_block)
{
    sigset_t pipe, before, pending;
    ssize_t n;

    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, &before);
    (void)sigpending(&pending);
    n = stream_write_some(stream, parts, count, may_block);
    if (n == -EPIPE && !sigismember(&pending, SIGPIPE))
        (void)sigtimedwait(&pipe, NULL, &(struct timespec){0});
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}

/* Other sockets would drop the descriptor silently. */
static bool is_unix_socket(struct brood__stream stream)
{
    int domain = 0;
    socklen_t size = sizeof(domain);

    return stream.is_socket && getsockopt(stream.fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

ssize_t brood__stream_send(struct brood__stream stream, const struct iovec *parts, size_t count, int passed,
                           brood_deadline deadline)
{
    bool may_block = brood__is_forever(deadline);

    if (passed >= 0 && !is_unix_socket(stream))
        return -ENOTSUP;
    for (;;) {
        ssize_t n = stream.is_socket ? send_socket(stream, parts, count, passed, may_block)
                                     : write_quietly(stream, parts, count, may_block);

        if (n == -ECONNRESET) /* closed with unread data from this side: gone all the same */
            return -EPIPE;
        if (n == -EAGAIN)
            n = stream_await(stream, POLLOUT, deadline);
        else if (n != -EINTR)
            return n;
        if (n < 0 && n != -EINTR)
            return n;
    }
}

/* ---- receiving ---- */

/* The room is for one descriptor exactly: the kernel closes what an untrusted sender adds. */
static void passage_detach(struct msghdr *message, int *ret_passed)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(message);

    if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS)
        memcpy(ret_passed, CMSG_DATA(control), sizeof(*ret_passed));
    else if (message->msg_flags & MSG_CTRUNC)
        *ret_passed = -EMFILE;
}

static ssize_t recv_socket(struct brood__stream stream, void *place, size_t size, int *ret_passed, bool may_block)
{
    struct iovec part = {place, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union passage passage;
    ssize_t n;

    if (ret_passed) {
        message.msg_control = &passage;
        message.msg_controllen = CMSG_LEN(sizeof(int));
    }
    n = recvmsg(stream.fd, &message, MSG_CMSG_CLOEXEC | (may_block ? MSG_WAITALL : MSG_DONTWAIT));
    if (n == -1)
        return -errno;
    if (ret_passed)
        passage_detach(&message, ret_passed);
    return n;
}

static ssize_t stream_read_some(struct brood__stream stream, void *place, size_t size, bool may_block)
{
    struct iovec part = {place, size};
    ssize_t n = may_block ? read(stream.fd, place, size) : preadv2(stream.fd, &part, 1, -1, RWF_NOWAIT);

    if (!may_block && is_unknown(n)) {
        int r = stream_await(stream, POLLIN, BROOD_NOW);

        if (r < 0)
            return r;
        n = read(stream.fd, place, size);
    }
    return n < 0 ? -errno : n;
}

ssize_t brood__stream_recv(struct brood__stream stream, void *place, size_t size, int *ret_passed, brood_deadline deadline)
{
    bool may_block = brood__is_forever(deadline);

    for (;;) {
        ssize_t n = stream.is_socket ? recv_socket(stream, place, size, ret_passed, may_block)
                                     : stream_read_some(stream, place, size, may_block);

        if (n == -ECONNRESET) /* closed with unread data from this side: the end all the same */
            return 0;
        if (n == -EAGAIN)
            n = stream_await(stream, POLLIN, deadline);
        else if (n != -EINTR)
            return n;
        if (n < 0 && n != -EINTR)
            return n;
    }
}
