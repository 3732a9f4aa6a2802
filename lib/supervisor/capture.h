/* capture.h - the supervisor's side of the output that the tasks of a worker process print.
 *
 * Each worker process has pipes for standard output and error, or one for both.  The supervisor keeps the tail of what
 * comes out of them for the death certificate, or it forwards the lines to the host's own output, with the name of the
 * task before each.  The supervisor never waits, neither for the worker nor for the reader of the host's output.  If
 * that reader is slow, the supervisor stops reading the worker's pipes until there is room again; in the end the worker
 * waits, as it would if it wrote to the output itself.
 */
#ifndef BROOD_SUPERVISOR_CAPTURE_H
#define BROOD_SUPERVISOR_CAPTURE_H

#include "os/output_buffer.h"
#include <brood/pool.h>

#include "proto/certificate.h"
#include "worker/output.h"

struct brood__poller;
struct shared;

#define TAG_CAPTURE ((uint64_t)2 << 32) /* poller tag: + the capture's index * OUTPUT_PIPES + the pipe's index */
#define TAG_OUTPUT ((uint64_t)3 << 32)

#define CAPTURE_LINE 4096 /* a longer line is split */
#define CAPTURE_READ 4096

struct stream {
    int fd; /* to read from, or -1 */
    bool is_paused;
    unsigned task;   /* named by the last mark, … */
    uint32_t number; /* … with this number */
    uint64_t taken;  /* bytes read so far, marks included */
    size_t in_bytes, line_bytes;
    char in[CAPTURE_READ + sizeof(struct mark)]; /* read and not interpreted yet */
    char line[CAPTURE_LINE];                     /* the beginning of a line whose end has not come */
};

struct capture {
    bool is_used;
    int worker; /* the worker's number, or -1 */
    struct worker_state *worker_state;
    struct stream streams[OUTPUT_PIPES];
    uint32_t number;     /* of the last mark of any stream, … */
    uint64_t kept_bytes; /* … bytes printed since it; `kept` has the last of them, as a circular buffer */
    char kept[CERTIFICATE_OUTPUT];
    int ends[OUTPUT_PIPES]; /* the write ends, until the process is forked */
};

struct captures {
    struct shared *shared;
    struct brood__poller *poller;
    const char *pool_name;
    struct capture *all; /* NULL: the workers write directly to the host's output */
    unsigned count, pipes;
    bool prefixes;
    struct output_buffer output_buffers[OUTPUT_PIPES];
    bool waits[OUTPUT_PIPES];    /* the buffer's descriptor is in the poller */
    uint64_t lost[OUTPUT_PIPES]; /* bytes for which a buffer had no room */
    void (*sigpipe)(int);        /* the signal's action before this */
};

/* Returns 0, or -ENOMEM with a message. */
int brood__captures_open(struct captures *captures, const struct brood_pool_options *options, struct shared *shared,
                         struct brood__poller *poller);

/* Makes the pipes for a process that is about to be forked; *ret_capture is NULL if output is not captured.  Returns 0,
 * or a negative errno with a message. */
int brood__capture_open(struct captures *captures, struct capture **ret_capture);

/* In the forked process: makes the pipes its standard output and error.  In the supervisor: closes the write ends and
 * watches the read ends. */
void brood__capture_redirect(struct captures *captures, const struct capture *capture);
int brood__capture_watch(struct captures *captures, struct capture *capture);

/* The capture belongs to that worker from now on.  Called before the worker knows its number. */
void brood__capture_assign(struct captures *captures, struct capture *capture, unsigned worker);

/* The process is dead: reads what is in its pipes at the time of the call. */
void brood__capture_finish(struct captures *captures, struct capture *capture);

/* Copies the tail of what the last task has printed, as text. */
void brood__capture_copy_tail(const struct capture *capture, char ret_text[CERTIFICATE_OUTPUT]);

void brood__capture_close(struct captures *captures, struct capture *capture);

/* In a forked process, which inherits all captures: closes them.  The process keeps its own pipes as standard output and
 * error. */
void brood__captures_forget(struct captures *captures);

/* Called when the poller reports that the pipe can be read, or that the host's output can be written. */
void brood__captures_read(struct captures *captures, uint64_t tag);
void brood__captures_forward(struct captures *captures, unsigned output_buffer);

/* Has all captured output been forwarded? */
bool brood__captures_are_flushed(const struct captures *captures);

#endif
