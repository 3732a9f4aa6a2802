/* brood/pipe.h - a pipe: two ends, and messages from one to the other, each received as it was sent.
 *
 *     brood_auto(pipe) *mine = NULL, *its = NULL;
 *     r = brood_pipe_open(&mine, &its, BROOD_PIPE_DUPLEX);
 *     pid_t child = fork();                                       // the child does brood_pipe_close(mine), we close `its`
 *     r = brood_pipe_send(mine, (struct brood_bytes){"hello", 5}, BROOD_FOREVER);
 *     ...
 *     struct brood_space room = {text, sizeof(text)};
 *     r = brood_pipe_recv(its, &room, brood_after_ms(250));       // room.len is the message's length
 *
 * Boundaries.  Two sends are two receives; a message may be empty; no message is too long.  One that does not fit into the
 * receiver's room is -EMSGSIZE, and stays for the next receive.
 *
 * Ends.  When the last copy of the other end is closed, also by the death of its process, what was sent before is received
 * first, and then comes -EPIPE; or -EBADMSG, if the last message was cut off in its middle.  A child inherits a copy of
 * both ends: each process closes those that it does not use, or it will wait for itself.
 *
 * Threads.  Any number may send and receive on one end at once; each message goes and comes whole.  A call waits for its
 * turn until its deadline too.
 *
 * Processes.  Both ends work in every child forked later.  One end that several processes hold is for one of them at a time
 * in each direction: bytes of two would mingle.  (A program with many senders opens a pipe for each, and brood_wait() on
 * all.)
 *
 * Signals.  No call is ended by one, and none raises SIGPIPE.
 *
 * On the wire: the length in 4 bytes, big-endian, or if it is 2 GiB or more -1 and then the length in 8, and the message;
 * as in Python's multiprocessing.connection.
 */
#ifndef BROOD_PIPE_H
#define BROOD_PIPE_H

#include <brood/base.h>

BROOD_BEGIN

struct brood_pipe; /* one end, in one process */

/* What an end can do.  What it is not for is -EPERM. */
enum brood_pipe_way {
    BROOD_PIPE_RECEIVE = 1,
    BROOD_PIPE_SEND = 2,
    BROOD_PIPE_DUPLEX = 3,
    BROOD_PIPE_ONE_WAY = BROOD_PIPE_RECEIVE, /* of brood_pipe_open(): the first end receives what the second sends */
};

/* Opens a pipe.  `way` is what the first end can do; the second does the opposite.  0; -EINVAL: no such way; -EMFILE,
 * -ENFILE: no more descriptors; -ENOMEM.  Both ends are the caller's to free. */
BROOD_API BROOD_MUST_USE int brood_pipe_open(struct brood_pipe **ret_first, struct brood_pipe **ret_second,
                                             enum brood_pipe_way way);

/* Makes an end of a descriptor: a stream socket, pipe, FIFO or terminal, at whose other side the same is spoken; for
 * instance in a program that inherited it across exec.  The descriptor becomes the end's, and close-on-exec.  0; -EBADF: it
 * is not open, or not for that way; -EINVAL: not a thing of these kinds; -ENOMEM. */
BROOD_API BROOD_MUST_USE int brood_pipe_from_fd(struct brood_pipe **ret_pipe, int fd, enum brood_pipe_way way);

/* The descriptor, for event loops: readable when something comes, be it the end.  (But part of a message that a receive
 * left is in memory: brood_wait() and brood_pipe_poll() know of it.)  -EBADF: closed. */
BROOD_API int brood_pipe_fd(const struct brood_pipe *pipe);

/* Closes the end in this process.  0, also if it is closed; -EBUSY: another thread is in a call on it, and nothing was
 * done.  What a send could not finish (see there) is lost.  NULL is fine.  Afterwards every call is -EBADF. */
BROOD_API int brood_pipe_close(struct brood_pipe *pipe);

/* Closes it but for the descriptor, and returns that.  -EBADF; -EBUSY: another thread is in a call on it, or a message is
 * half received or sent. */
BROOD_API int brood_pipe_detach(struct brood_pipe *pipe);

/* Closes it and gives the memory back.  The last call on it; NULL is fine. */
BROOD_API void brood_pipe_free(struct brood_pipe *pipe);

/* For brood_auto(pipe). */
static inline void brood_pipe_closep(struct brood_pipe **pipe)
{
    brood_pipe_free(*pipe);
}

/* Every call below may fail with -EBADF: closed; -EPERM: the end is not for that, or another thread was in the middle of a
 * message when this process was forked; -EAGAIN: it would have to wait, and the deadline is BROOD_NOW; -ETIMEDOUT. */

/* Sends a message: 0; nothing was sent after -EPIPE: the other end is gone; -EAGAIN, -ETIMEDOUT.  -EINPROGRESS: the
 * deadline came when a part of it was on its way.  Do not send it again: the rest is kept and goes out at the beginning of
 * the next send or brood_pipe_flush().  -ENOTRECOVERABLE: so, but there was no memory for the rest: nothing more can
 * be sent, and the receiver will get -EBADMSG when this end is closed. */
BROOD_API BROOD_MUST_USE int brood_pipe_send(struct brood_pipe *pipe, struct brood_bytes message, brood_deadline deadline);

/* Sends what an earlier send has left: 0, also if that was nothing; -EPIPE. */
BROOD_API int brood_pipe_flush(struct brood_pipe *pipe, brood_deadline deadline);

/* Receives a message: 0, and message->len becomes its length.  -EMSGSIZE: message->len becomes its length, but it did not
 * fit, and stays; -ENOMSG: a descriptor comes next, and stays for brood_pipe_recv_fd(); -EPIPE: the end; -EBADMSG: the end
 * inside a message, or what comes is no message.  When the deadline comes in the middle of a message, the part is kept (if
 * there is memory for it: else -ENOTRECOVERABLE) and the next receive goes on; what is in message->ptr is unspecified. */
BROOD_API BROOD_MUST_USE int brood_pipe_recv(struct brood_pipe *pipe, struct brood_space *message, brood_deadline deadline);

/* Waits for the next message and tells its length; the message stays.  Fails as brood_pipe_recv() does. */
BROOD_API BROOD_MUST_USE int brood_pipe_next_size(struct brood_pipe *pipe, size_t *ret_size, brood_deadline deadline);

/* Waits until a message, or the beginning of one, or the end can be received: 0; -EAGAIN, -ETIMEDOUT.  The end stays: it is
 * 0 after the end was received, too, and after what broke the pipe for good, which brood_pipe_recv() then says.  An end
 * that cannot receive: -EBADF, closed; -EPERM, one-way; -EINVAL, NULL. */
BROOD_API BROOD_MUST_USE int brood_pipe_poll(struct brood_pipe *pipe, brood_deadline deadline);

/* Sends a descriptor, as a message of its own: the receiver gets one of the same open file.  0; -EBADF: `fd` is not open;
 * -ENOTSUP: the end is no Unix socket; else as brood_pipe_send(), but never -EINPROGRESS. */
BROOD_API BROOD_MUST_USE int brood_pipe_send_fd(struct brood_pipe *pipe, int fd, brood_deadline deadline);

/* Receives a descriptor, close-on-exec, the caller's to close.  0; -ENOMSG: a message comes next that is not a descriptor,
 * and stays for brood_pipe_recv(); -EMFILE: one came and this process can have no more, so it is lost; -EPIPE, -EBADMSG as
 * there. */
BROOD_API BROOD_MUST_USE int brood_pipe_recv_fd(struct brood_pipe *pipe, int *ret_fd, brood_deadline deadline);

BROOD_END

#endif
