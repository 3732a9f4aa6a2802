/* sink.h - writes to a descriptor that others have too, and never waits: for who reads it, or because somebody else fills
 * it.
 *
 *     while (brood__sink_room(&sink) >= length)
 *         brood__sink_put(&sink, text, length);      // into a buffer of a bounded size
 *     if (!brood__sink_flush(&sink))
 *         ...                                        // try again when sink.fd can be written to
 *
 * O_NONBLOCK belongs to the open file, which the program and its other processes use as well; so it is not set there.  A
 * pipe or a terminal is opened once more for this; a socket is asked for each time not to wait; a file on a disk does not.
 * What can not be opened once more is asked first whether there is room, and then given little: if somebody else is
 * quicker, that waits.
 */
#ifndef BROOD_OS_SINK_H
#define BROOD_OS_SINK_H

#include <stdbool.h>
#include <stddef.h>

#define SINK_BYTES 262144

struct sink {
    int fd; /* to write to, and to wait for; -1: everything is dropped */
    enum sink_kind { SINK_FILE, SINK_OPENED, SINK_SOCKET, SINK_SHARED } kind;
    char *bytes;
    size_t start, used;
};

/* `fd` stays the caller's, and open.  0 or -ENOMEM. */
int brood__sink_open(struct sink *ret_sink, int fd);

/* How much may be put. */
size_t brood__sink_room(const struct sink *sink);

/* No more than there is room for.  Where nobody will ever read, it is dropped. */
void brood__sink_put(struct sink *sink, const void *text, size_t length);

/* Writes what can be written now; true if nothing is left. */
bool brood__sink_flush(struct sink *sink);

void brood__sink_close(struct sink *sink);

#endif
