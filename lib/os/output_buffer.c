#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/output_buffer.h"
#include "os/process_attributes.h"

#define LITTLE 512 /* _POSIX_PIPE_BUF: a pipe that reports room has room for this much */

static int open_once_more(int fd)
{
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return brood__fd_not_standard(open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

static void buffer_choose(struct output_buffer *output_buffer, int fd)
{
    struct stat file;

    output_buffer->fd = fd;
    output_buffer->kind = OUTPUT_BUFFER_SHARED;
    if (fstat(fd, &file) < 0)
        output_buffer->fd = -1;
    else if (S_ISREG(file.st_mode) || S_ISBLK(file.st_mode))
        output_buffer->kind = OUTPUT_BUFFER_FILE;
    else if (S_ISSOCK(file.st_mode))
        output_buffer->kind = OUTPUT_BUFFER_SOCKET;
    else {
        int own = open_once_more(fd);

        if (own < 0)
            return;
        output_buffer->fd = own;
        output_buffer->kind = OUTPUT_BUFFER_OPENED;
    }
}

int brood__output_buffer_open(struct output_buffer *ret_buffer, int fd)
{
    struct output_buffer output_buffer = {.bytes = malloc(OUTPUT_BUFFER_BYTES)};

    if (!output_buffer.bytes)
        return -ENOMEM;
    buffer_choose(&output_buffer, fd);
    *ret_buffer = output_buffer;
    return 0;
}

size_t brood__output_buffer_room(const struct output_buffer *output_buffer)
{
    return OUTPUT_BUFFER_BYTES - output_buffer->used;
}

void brood__output_buffer_put(struct output_buffer *output_buffer, const void *text, size_t length)
{
    if (output_buffer->fd < 0)
        return;
    if (output_buffer->start + output_buffer->used + length > OUTPUT_BUFFER_BYTES) {
        memmove(output_buffer->bytes, output_buffer->bytes + output_buffer->start, output_buffer->used);
        output_buffer->start = 0;
    }
    memcpy(output_buffer->bytes + output_buffer->start + output_buffer->used, text, length);
    output_buffer->used += length;
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

static ssize_t buffer_write_some(const struct output_buffer *output_buffer)
{
    const char *text = output_buffer->bytes + output_buffer->start;

    if (output_buffer->kind == OUTPUT_BUFFER_SOCKET)
        return send(output_buffer->fd, text, output_buffer->used, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (output_buffer->kind == OUTPUT_BUFFER_SHARED)
        return write_shared(output_buffer->fd, text, output_buffer->used);
    return write(output_buffer->fd, text, output_buffer->used);
}

bool brood__output_buffer_flush(struct output_buffer *output_buffer)
{
    while (output_buffer->used > 0) {
        ssize_t length = buffer_write_some(output_buffer);

        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 && errno == EAGAIN)
            return false;
        if (length < 0) { /* the reader is gone, or the disk is full: drop it, as a program does that does not check */
            output_buffer->start = output_buffer->used = 0;
            break;
        }
        output_buffer->start += (size_t)length;
        output_buffer->used -= (size_t)length;
    }
    output_buffer->start = 0;
    return true;
}

void brood__output_buffer_close(struct output_buffer *output_buffer)
{
    if (output_buffer->kind == OUTPUT_BUFFER_OPENED && output_buffer->fd >= 0)
        (void)close(output_buffer->fd);
    free(output_buffer->bytes);
    *output_buffer = (struct output_buffer){.fd = -1};
}
