#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/process.h"
#include "os/sink.h"

#define LITTLE 512 /* _POSIX_PIPE_BUF: a pipe that says it has room takes so much */

static int open_once_more(int fd)
{
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return brood__fd_not_standard(open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

static void choose(struct sink *sink, int fd)
{
    struct stat file;

    sink->fd = fd;
    sink->kind = SINK_SHARED;
    if (fstat(fd, &file) < 0)
        sink->fd = -1;
    else if (S_ISREG(file.st_mode) || S_ISBLK(file.st_mode))
        sink->kind = SINK_FILE;
    else if (S_ISSOCK(file.st_mode))
        sink->kind = SINK_SOCKET;
    else {
        int own = open_once_more(fd);

        if (own < 0)
            return;
        sink->fd = own;
        sink->kind = SINK_OPENED;
    }
}

int brood__sink_open(struct sink *ret_sink, int fd)
{
    struct sink sink = {.bytes = malloc(SINK_BYTES)};

    if (!sink.bytes)
        return -ENOMEM;
    choose(&sink, fd);
    *ret_sink = sink;
    return 0;
}

size_t brood__sink_room(const struct sink *sink)
{
    return SINK_BYTES - sink->used;
}

void brood__sink_put(struct sink *sink, const void *text, size_t length)
{
    if (sink->fd < 0)
        return;
    if (sink->start + sink->used + length > SINK_BYTES) {
        memmove(sink->bytes, sink->bytes + sink->start, sink->used);
        sink->start = 0;
    }
    memcpy(sink->bytes + sink->start + sink->used, text, length);
    sink->used += length;
}

static ssize_t write_shared(int fd, const char *text, size_t length)
{
    struct pollfd now = {.fd = fd, .events = POLLOUT};

    if (poll(&now, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, text, length < LITTLE ? length : LITTLE);
}

static ssize_t write_some(const struct sink *sink)
{
    const char *text = sink->bytes + sink->start;

    if (sink->kind == SINK_SOCKET)
        return send(sink->fd, text, sink->used, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->kind == SINK_SHARED)
        return write_shared(sink->fd, text, sink->used);
    return write(sink->fd, text, sink->used);
}

bool brood__sink_flush(struct sink *sink)
{
    while (sink->used > 0) {
        ssize_t length = write_some(sink);

        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 && errno == EAGAIN)
            return false;
        if (length < 0) { /* nobody reads it any more, or the disk is full: as it is for a program that does not look */
            sink->start = sink->used = 0;
            break;
        }
        sink->start += (size_t)length;
        sink->used -= (size_t)length;
    }
    sink->start = 0;
    return true;
}

void brood__sink_close(struct sink *sink)
{
    if (sink->kind == SINK_OPENED && sink->fd >= 0)
        (void)close(sink->fd);
    free(sink->bytes);
    *sink = (struct sink){.fd = -1};
}
