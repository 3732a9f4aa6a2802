/* output_buffer.h - writes to a descriptor that other processes share, and never waits: neither for the reader nor
 * because another process fills it.
 *
 *     while (brood__output_buffer_room(&buffer) >= length)
 *         brood__output_buffer_put(&buffer, text, length);    // into a buffer of a bounded size
 *     if (!brood__output_buffer_flush(&buffer))
 *         ...                                        // try again when buffer.fd can be written to
 *
 * O_NONBLOCK belongs to the open file, which the program and its other processes use as well; so it is not set.  Instead
 * a pipe or a terminal is opened a second time; a socket takes MSG_DONTWAIT in each call; a file on a disk does not
 * block.  A file that cannot be opened again is polled for room and then gets little; if another process fills it in
 * between, the write waits.
 */
#ifndef BROOD_OS_OUTPUT_BUFFER_H
#define BROOD_OS_OUTPUT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_BUFFER_BYTES 262144

struct output_buffer {
    int fd; /* to write to, and to poll; -1: everything is dropped */
    enum output_buffer_kind { OUTPUT_BUFFER_FILE, OUTPUT_BUFFER_OPENED, OUTPUT_BUFFER_SOCKET, OUTPUT_BUFFER_SHARED } kind;
    char *bytes;
    size_t start, used;
};

/* The caller keeps `fd` open.  Returns 0 or -ENOMEM. */
int brood__output_buffer_open(struct output_buffer *ret_buffer, int fd);

/* How much may be put. */
size_t brood__output_buffer_room(const struct output_buffer *output_buffer);

/* Puts at most what there is room for.  If it can never be written, it is dropped. */
void brood__output_buffer_put(struct output_buffer *output_buffer, const void *text, size_t length);

/* Writes what can be written now; true if nothing is left. */
bool brood__output_buffer_flush(struct output_buffer *output_buffer);

void brood__output_buffer_close(struct output_buffer *output_buffer);

#endif
