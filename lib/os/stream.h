/* stream.h - bytes through a descriptor, with a deadline: sockets, pipes, terminals.
 *
 * No call lasts longer than its deadline, whether or not the descriptor is O_NONBLOCK: that flag belongs to all
 * processes that share the open file, so it is neither trusted nor changed.  A signal that is handled meanwhile does not
 * end a call, and a reader that is gone gives -EPIPE and not SIGPIPE.
 *
 * Any number of threads may call these.  Bytes of two calls may mingle.
 */
#ifndef BROOD_OS_STREAM_H
#define BROOD_OS_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <brood/base.h>

struct brood__stream {
    int fd;
    bool is_socket;
};

/* Classifies `fd`: 0; -EBADF; -EINVAL: something without a stream of bytes to wait for, like a file or a packet socket. */
int brood__stream_from_fd(struct brood__stream *ret_stream, int fd);

/* Two ends of a Unix stream socket, close-on-exec.  Returns 0 or a negative errno. */
int brood__stream_pair(struct brood__stream ret_streams[2]);

/* Sends some of the bytes in `parts`, at least one, and returns how many; -EAGAIN: none, and the deadline is BROOD_NOW;
 * -ETIMEDOUT; -EPIPE: the reader is gone; or the system's error.  With `passed`, a descriptor or -1, attached to the
 * first of them: -ENOTSUP if the stream is no socket. */
ssize_t brood__stream_send(struct brood__stream stream, const struct iovec *parts, size_t count, int passed,
                           brood_deadline deadline);

/* Receives some bytes, at most `size`, and returns how many; 0: the end.  -EAGAIN, -ETIMEDOUT as above.  A descriptor
 * that came with them becomes *ret_passed, close-on-exec, or is closed if that is NULL; *ret_passed is -EMFILE or the
 * like if one came and this process could not take it, and else is unchanged. */
ssize_t brood__stream_recv(struct brood__stream stream, void *place, size_t size, int *ret_passed, brood_deadline deadline);

/* Waits until something can be received, including the end: 0; -EAGAIN, -ETIMEDOUT. */
int brood__stream_poll(struct brood__stream stream, brood_deadline deadline);

#endif
