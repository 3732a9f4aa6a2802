#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/assert.h"
#include "os/error.h"
#include "os/poller.h"
#include "os/process_attributes.h"
#include "proto/header.h"
#include "supervisor/capture.h"

/* "[name-1023 task] " before a line, and the end of the line. */
#define PREFIX_BYTES (16 + 8 + BROOD_TASK_NAME_MAX + 8)

/* ---- opening ---- */

int brood__captures_open(struct captures *captures, const struct brood_pool_options *options, struct shared *shared,
                         struct brood__poller *poller)
{
    unsigned standbys = options->spares > 1 ? (unsigned)options->spares : 1;

    if (options->output == BROOD_OUTPUT_PASS)
        return 0;
    captures->shared = shared;
    captures->poller = poller;
    captures->pool_name = options->name ? options->name : "brood";
    captures->prefixes = options->output == BROOD_OUTPUT_PREFIX;
    captures->pipes = captures->prefixes ? 2 : 1;
    captures->count = shared->workers + standbys;
    for (unsigned i = 0; captures->prefixes && i < captures->pipes; i++)
        if (brood__output_buffer_open(&captures->output_buffers[i], STDOUT_FILENO + (int)i) < 0)
            return brood_fail(-ENOMEM, "out of memory");
    captures->all = calloc(captures->count, sizeof(*captures->all));
    if (!captures->all)
        return brood_fail(-ENOMEM, "out of memory");
    /* if the reader of the host's output is gone, the output is lost and the supervisor lives on */
    captures->sigpipe = signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int stream_open(struct capture *capture, unsigned i)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    for (int end = 0; end < 2; end++)
        ends[end] = brood__fd_not_standard(ends[end]);
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    capture->streams[i] = (struct stream){.fd = ends[0], .task = OUTPUT_NO_TASK};
    capture->ends[i] = ends[1];
    return 0;
}

static void ends_close(struct capture *capture)
{
    for (unsigned i = 0; i < OUTPUT_PIPES; i++) {
        if (capture->ends[i] >= 0)
            (void)close(capture->ends[i]);
        capture->ends[i] = -1;
    }
}

static void stream_close(struct captures *captures, struct stream *stream)
{
    if (stream->fd < 0)
        return;
    (void)brood__poller_remove(captures->poller, stream->fd);
    (void)close(stream->fd);
    stream->fd = -1;
}

void brood__capture_close(struct captures *captures, struct capture *capture)
{
    if (!capture)
        return;
    ends_close(capture);
    for (unsigned i = 0; i < OUTPUT_PIPES; i++)
        stream_close(captures, &capture->streams[i]);
    capture->is_used = false;
}

int brood__capture_open(struct captures *captures, struct capture **ret_capture)
{
    struct capture *capture = captures->all;
    int r = 0;

    *ret_capture = NULL;
    if (!capture)
        return 0;
    while (capture->is_used) /* `all` has an entry for each process that can exist at once */
        capture++;
    brood__assert(capture < captures->all + captures->count);
    capture->is_used = true;
    capture->worker = -1;
    capture->worker_state = NULL;
    capture->number = 0;
    capture->kept_bytes = 0;
    for (unsigned i = 0; i < OUTPUT_PIPES; i++)
        capture->streams[i].fd = capture->ends[i] = -1;
    for (unsigned i = 0; i < captures->pipes && r == 0; i++)
        r = stream_open(capture, i);
    if (r < 0) {
        brood__capture_close(captures, capture);
        return brood_fail(r, "cannot make a pipe for a worker's output: %s (see ulimit -n)", strerror(-r));
    }
    *ret_capture = capture;
    return 0;
}

void brood__capture_redirect(struct captures *captures, const struct capture *capture)
{
    if (!capture)
        return;
    (void)dup2(capture->ends[0], STDOUT_FILENO);
    (void)dup2(capture->ends[captures->pipes - 1], STDERR_FILENO);
    (void)signal(SIGPIPE, captures->sigpipe);
}

static uint64_t tag_of(const struct captures *captures, const struct capture *capture, unsigned i)
{
    return TAG_CAPTURE + (uint64_t)(capture - captures->all) * OUTPUT_PIPES + i;
}

int brood__capture_watch(struct captures *captures, struct capture *capture)
{
    int r = 0;

    if (!capture)
        return 0;
    ends_close(capture);
    for (unsigned i = 0; i < captures->pipes && r == 0; i++)
        r = brood__poller_add(captures->poller, capture->streams[i].fd, tag_of(captures, capture, i));
    return r;
}

void brood__capture_assign(struct captures *captures, struct capture *capture, unsigned worker)
{
    if (!capture)
        return;
    brood__assert(worker < captures->shared->workers);
    capture->worker = (int)worker;
    capture->worker_state = captures->shared->lanes[worker].worker_state;
    for (unsigned i = 0; i < OUTPUT_PIPES; i++)
        atomic_store_explicit(&capture->worker_state->output_taken[i], capture->streams[i].taken * 2, memory_order_release);
}

void brood__captures_forget(struct captures *captures)
{
    for (unsigned i = 0; captures->all && i < captures->count; i++)
        if (captures->all[i].is_used)
            for (unsigned pipe = 0; pipe < OUTPUT_PIPES; pipe++) {
                if (captures->all[i].streams[pipe].fd >= 0)
                    (void)close(captures->all[i].streams[pipe].fd);
                if (captures->all[i].ends[pipe] >= 0)
                    (void)close(captures->all[i].ends[pipe]);
            }
    for (unsigned i = 0; captures->prefixes && i < OUTPUT_PIPES; i++)
        brood__output_buffer_close(&captures->output_buffers[i]);
}

/* ---- the tail for the crash report ---- */

/* Keeps output of the latest task only: the other stream may still deliver what an earlier task has printed. */
static void tail_keep(struct capture *capture, const struct stream *stream, const char *text, size_t length)
{
    if (stream->number != capture->number)
        return;
    for (size_t i = 0; i < length; i++)
        if (text[i])
            capture->kept[capture->kept_bytes++ % CERTIFICATE_OUTPUT] = text[i];
}

void brood__capture_copy_tail(const struct capture *capture, char ret_text[CERTIFICATE_OUTPUT])
{
    uint64_t length = !capture                                   ? 0
                      : capture->kept_bytes < CERTIFICATE_OUTPUT ? capture->kept_bytes
                                                                 : CERTIFICATE_OUTPUT - 1;

    for (uint64_t i = 0; i < length; i++)
        ret_text[i] = capture->kept[(capture->kept_bytes - length + i) % CERTIFICATE_OUTPUT];
    ret_text[length] = '\0';
}

/* ---- output buffers ---- */

static size_t prefix_write(const struct captures *captures, const struct capture *capture, unsigned task,
                           char to[PREFIX_BYTES])
{
    const struct header_task *entry = brood__header_entry(captures->shared->header, task);
    char number[16] = "spare";
    int length;

    if (capture->worker >= 0)
        (void)snprintf(number, sizeof(number), "%d", capture->worker);
    length = snprintf(to, PREFIX_BYTES, "[%.15s-%s%s%.*s] ", captures->pool_name, number, entry ? " " : "",
                      BROOD_TASK_NAME_MAX, entry ? entry->name : "");
    return (size_t)length < PREFIX_BYTES ? (size_t)length : PREFIX_BYTES - 1;
}

static struct output_buffer *buffer_of(struct captures *captures, const struct capture *capture,
                                       const struct stream *stream)
{
    return &captures->output_buffers[stream - capture->streams];
}

static bool buffer_has_room(const struct output_buffer *output_buffer)
{
    return brood__output_buffer_room(output_buffer) >= CAPTURE_LINE + PREFIX_BYTES + 1;
}

/* A running worker's line always fits: the supervisor stops reading when the buffer is full.  A dead worker's last lines
 * may find no room; the supervisor counts their bytes as lost and reports the number later. */
static void line_end(struct captures *captures, struct capture *capture, struct stream *stream)
{
    struct output_buffer *output_buffer = buffer_of(captures, capture, stream);
    char prefix[PREFIX_BYTES];

    if (stream->line_bytes > 0 && buffer_has_room(output_buffer)) {
        brood__output_buffer_put(output_buffer, prefix, prefix_write(captures, capture, stream->task, prefix));
        brood__output_buffer_put(output_buffer, stream->line, stream->line_bytes);
        if (stream->line[stream->line_bytes - 1] != '\n')
            brood__output_buffer_put(output_buffer, "\n", 1);
    } else
        captures->lost[stream - capture->streams] += stream->line_bytes;
    stream->line_bytes = 0;
}

/* Adds text up to the end of a line.  Returns how many bytes it has taken. */
static size_t line_add(struct captures *captures, struct capture *capture, struct stream *stream, const char *text,
                       size_t length)
{
    const char *end = memchr(text, '\n', length);
    size_t room = CAPTURE_LINE - stream->line_bytes, taken = end ? (size_t)(end - text) + 1 : length;

    if (taken > room)
        taken = room;
    memcpy(stream->line + stream->line_bytes, text, taken);
    stream->line_bytes += taken;
    if (stream->line_bytes == CAPTURE_LINE || stream->line[stream->line_bytes - 1] == '\n')
        line_end(captures, capture, stream);
    return taken;
}

static size_t text_emit(struct captures *captures, struct capture *capture, struct stream *stream, const char *text,
                        size_t length)
{
    size_t taken = captures->prefixes ? line_add(captures, capture, stream, text, length) : length;

    tail_keep(capture, stream, text, taken);
    return taken;
}

static void mark_apply(struct captures *captures, struct capture *capture, struct stream *stream, const char *text)
{
    struct mark mark;

    memcpy(&mark, text, sizeof(mark));
    line_end(captures, capture, stream);
    stream->task = mark.task;
    stream->number = mark.number;
    if ((int32_t)(mark.number - capture->number) > 0) {
        capture->number = mark.number;
        capture->kept_bytes = 0;
    }
}

/* ---- reading ---- */

/* Interprets the next piece of the input and returns how many bytes it has consumed; 0: a mark may have begun that is
 * not complete. */
static size_t input_emit_some(struct captures *captures, struct capture *capture, struct stream *stream, const char *text,
                              size_t length, bool is_last)
{
    const char *zero = memchr(text, '\0', length);

    if (zero != text)
        return text_emit(captures, capture, stream, text, zero ? (size_t)(zero - text) : length);
    if (memcmp(text, MARK_MAGIC, length < MARK_MAGIC_BYTES ? length : MARK_MAGIC_BYTES) != 0)
        return text_emit(captures, capture, stream, text, 1);
    if (length < sizeof(struct mark))
        return is_last ? text_emit(captures, capture, stream, text, 1) : 0;
    mark_apply(captures, capture, stream, text);
    return sizeof(struct mark);
}

/* Returns false if the output buffer has no room for all of the input.  The input of a dead worker is emitted anyway;
 * `is_last` says that no more will come. */
static bool input_emit(struct captures *captures, struct capture *capture, struct stream *stream, bool is_dead,
                       bool is_last)
{
    size_t start = 0, taken = 1;
    bool has_place = true;

    while (start < stream->in_bytes && taken > 0) {
        has_place = is_dead || !captures->prefixes || buffer_has_room(buffer_of(captures, capture, stream));
        if (!has_place)
            break;
        taken = input_emit_some(captures, capture, stream, stream->in + start, stream->in_bytes - start, is_last);
        start += taken;
    }
    stream->in_bytes -= start;
    memmove(stream->in, stream->in + start, stream->in_bytes);
    return has_place;
}

/* The worker adds the bytes taken to the bytes in the pipe (worker/output.c), and must not do so between the two steps
 * here: OUTPUT_TAKING tells it to wait. */
static ssize_t pipe_take(struct capture *capture, struct stream *stream, size_t most)
{
    _Atomic uint64_t *taken =
        capture->worker_state ? &capture->worker_state->output_taken[stream - capture->streams] : NULL;
    size_t room = sizeof(stream->in) - stream->in_bytes;
    ssize_t length;

    if (taken) {
        atomic_store_explicit(taken, stream->taken * 2 | OUTPUT_TAKING, memory_order_release);
        /* pairs with the pipe's lock in the kernel, which the worker's FIONREAD takes */
        atomic_thread_fence(memory_order_seq_cst);
    }
    do
        length = read(stream->fd, stream->in + stream->in_bytes, most < room ? most : room);
    while (length < 0 && errno == EINTR);
    if (length > 0) {
        stream->taken += (uint64_t)length;
        stream->in_bytes += (size_t)length;
    }
    if (taken)
        atomic_store_explicit(taken, stream->taken * 2, memory_order_release);
    return length;
}

static void lost_report(struct captures *captures, unsigned i)
{
    char text[128];

    if (captures->lost[i] == 0 || !buffer_has_room(&captures->output_buffers[i]))
        return;
    (void)snprintf(text, sizeof(text),
                   "brood: %llu bytes of workers that have died were lost: the reader of the output was too slow\n",
                   (unsigned long long)captures->lost[i]);
    brood__output_buffer_put(&captures->output_buffers[i], text, strlen(text));
    captures->lost[i] = 0;
}

static void buffer_flush(struct captures *captures, unsigned i)
{
    if (captures->prefixes)
        lost_report(captures, i);
    if (!captures->prefixes || brood__output_buffer_flush(&captures->output_buffers[i]) || captures->waits[i])
        return;
    captures->waits[i] = brood__poller_add_writable(captures->poller, captures->output_buffers[i].fd, TAG_OUTPUT + i) == 0;
}

static void stream_pause(struct captures *captures, struct stream *stream)
{
    stream->is_paused = brood__poller_remove(captures->poller, stream->fd) == 0;
}

void brood__captures_read(struct captures *captures, uint64_t tag)
{
    struct capture *capture = &captures->all[(tag - TAG_CAPTURE) / OUTPUT_PIPES];
    unsigned i = (unsigned)(tag - TAG_CAPTURE) % OUTPUT_PIPES;
    struct stream *stream = &capture->streams[i];
    ssize_t length;

    brood__assert(capture < captures->all + captures->count && i < OUTPUT_PIPES);
    if (!capture->is_used || stream->fd < 0 || stream->is_paused)
        return;
    length = pipe_take(capture, stream, CAPTURE_READ);
    if (length == 0 || (length < 0 && errno != EAGAIN))
        stream_close(captures, stream);
    else if (!input_emit(captures, capture, stream, false, false))
        stream_pause(captures, stream);
    buffer_flush(captures, i);
}

static void stream_resume(struct captures *captures, struct capture *capture, unsigned i)
{
    struct stream *stream = &capture->streams[i];

    if (!capture->is_used || !stream->is_paused || !input_emit(captures, capture, stream, false, false))
        return;
    stream->is_paused = brood__poller_add(captures->poller, stream->fd, tag_of(captures, capture, i)) < 0;
}

void brood__captures_forward(struct captures *captures, unsigned i)
{
    captures->waits[i] = brood__output_buffer_flush(&captures->output_buffers[i]) ? false : captures->waits[i];
    if (!captures->waits[i])
        (void)brood__poller_remove(captures->poller, captures->output_buffers[i].fd);
    for (unsigned capture = 0; capture < captures->count; capture++)
        stream_resume(captures, &captures->all[capture], i);
    buffer_flush(captures, i);
}

/* Other processes may have the pipe, too, and may write to it for ever.  So this reads only what is in it now: the dead
 * worker cannot have written anything later. */
static void stream_finish(struct captures *captures, struct capture *capture, struct stream *stream)
{
    ssize_t length = 1;
    int left = 0;

    if (stream->fd >= 0 && ioctl(stream->fd, FIONREAD, &left) < 0)
        left = 0;
    (void)input_emit(captures, capture, stream, true, left == 0);
    while (left > 0 && length > 0) {
        length = pipe_take(capture, stream, (size_t)left);
        left -= (int)length;
        (void)input_emit(captures, capture, stream, true, left <= 0 || length <= 0);
    }
    if (captures->prefixes)
        line_end(captures, capture, stream);
}

void brood__capture_finish(struct captures *captures, struct capture *capture)
{
    if (!capture)
        return;
    for (unsigned i = 0; i < captures->pipes; i++) {
        stream_finish(captures, capture, &capture->streams[i]);
        buffer_flush(captures, i);
    }
}

bool brood__captures_are_flushed(const struct captures *captures)
{
    for (unsigned i = 0; captures->prefixes && i < OUTPUT_PIPES; i++)
        if (captures->output_buffers[i].used > 0)
            return false;
    return true;
}
