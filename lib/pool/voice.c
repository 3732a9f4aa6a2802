#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/error.h"
#include "os/process.h"
#include "pool/crew.h"

/* "[name-1023 task] " and the end of a line. */
#define PREFIX_BYTES (16 + 8 + BROOD_TASK_NAME_MAX + 8)

/* ---- opening ---- */

int brood__voices_open(struct supervisor *s)
{
    struct voices *voices = &s->voices;
    unsigned spares = s->options->spares > 1 ? (unsigned)s->options->spares : 1;

    if (s->options->output == BROOD_OUTPUT_PASS)
        return 0;
    voices->prefixes = s->options->output == BROOD_OUTPUT_PREFIX;
    voices->pipes = voices->prefixes ? 2 : 1;
    voices->count = s->shared->workers + spares;
    for (unsigned i = 0; voices->prefixes && i < voices->pipes; i++)
        if (brood__sink_open(&voices->sinks[i], STDOUT_FILENO + (int)i) < 0)
            return brood_fail(-ENOMEM, "out of memory");
    voices->all = calloc(voices->count, sizeof(*voices->all));
    if (!voices->all)
        return brood_fail(-ENOMEM, "out of memory");
    voices->sigpipe = signal(SIGPIPE, SIG_IGN); /* if nobody reads it the output is lost, and no more */
    return 0;
}

static int open_pipe(struct voice *voice, unsigned i)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    for (int end = 0; end < 2; end++)
        ends[end] = brood__fd_not_standard(ends[end]);
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    voice->streams[i] = (struct stream){.fd = ends[0], .task = OUTPUT_NO_TASK};
    voice->ends[i] = ends[1];
    return 0;
}

static void close_ends(struct voice *voice)
{
    for (unsigned i = 0; i < OUTPUT_PIPES; i++) {
        if (voice->ends[i] >= 0)
            (void)close(voice->ends[i]);
        voice->ends[i] = -1;
    }
}

static void close_stream(struct supervisor *s, struct stream *stream)
{
    if (stream->fd < 0)
        return;
    (void)brood__poller_remove(s->poller, stream->fd);
    (void)close(stream->fd);
    stream->fd = -1;
}

void brood__voice_close(struct supervisor *s, struct voice *voice)
{
    if (!voice)
        return;
    close_ends(voice);
    for (unsigned i = 0; i < OUTPUT_PIPES; i++)
        close_stream(s, &voice->streams[i]);
    voice->is_used = false;
}

int brood__voice_open(struct supervisor *s, struct voice **ret_voice)
{
    struct voice *voice = s->voices.all;
    int r = 0;

    *ret_voice = NULL;
    if (!voice)
        return 0;
    while (voice->is_used) /* there are as many as there can be processes */
        voice++;
    voice->is_used = true;
    voice->worker = -1;
    voice->station = NULL;
    voice->number = 0;
    voice->kept_bytes = 0;
    for (unsigned i = 0; i < OUTPUT_PIPES; i++)
        voice->streams[i].fd = voice->ends[i] = -1;
    for (unsigned i = 0; i < s->voices.pipes && r == 0; i++)
        r = open_pipe(voice, i);
    if (r < 0) {
        brood__voice_close(s, voice);
        return brood_fail(r, "cannot make a pipe for a worker's output: %s (see ulimit -n)", strerror(-r));
    }
    *ret_voice = voice;
    return 0;
}

void brood__voice_take_on(struct supervisor *s, const struct voice *voice)
{
    if (!voice)
        return;
    (void)dup2(voice->ends[0], STDOUT_FILENO);
    (void)dup2(voice->ends[s->voices.pipes - 1], STDERR_FILENO);
    (void)signal(SIGPIPE, s->voices.sigpipe);
}

static uint64_t tag_of(const struct supervisor *s, const struct voice *voice, unsigned i)
{
    return TAG_VOICE + (uint64_t)(voice - s->voices.all) * OUTPUT_PIPES + i;
}

int brood__voice_listen(struct supervisor *s, struct voice *voice)
{
    int r = 0;

    if (!voice)
        return 0;
    close_ends(voice);
    for (unsigned i = 0; i < s->voices.pipes && r == 0; i++)
        r = brood__poller_add(s->poller, voice->streams[i].fd, tag_of(s, voice, i));
    return r;
}

void brood__voice_name(struct supervisor *s, struct voice *voice, unsigned worker)
{
    if (!voice)
        return;
    voice->worker = (int)worker;
    voice->station = s->shared->lanes[worker].station;
    for (unsigned i = 0; i < OUTPUT_PIPES; i++)
        atomic_store(&voice->station->output_taken[i], voice->streams[i].taken * 2);
}

void brood__voices_forget(struct supervisor *s)
{
    for (unsigned i = 0; s->voices.all && i < s->voices.count; i++)
        if (s->voices.all[i].is_used)
            for (unsigned pipe = 0; pipe < OUTPUT_PIPES; pipe++) {
                if (s->voices.all[i].streams[pipe].fd >= 0)
                    (void)close(s->voices.all[i].streams[pipe].fd);
                if (s->voices.all[i].ends[pipe] >= 0)
                    (void)close(s->voices.all[i].ends[pipe]);
            }
    for (unsigned i = 0; s->voices.prefixes && i < OUTPUT_PIPES; i++)
        brood__sink_close(&s->voices.sinks[i]);
}

/* ---- what is kept ---- */

/* Of the latest mark only: the other stream may still bring what an earlier task has printed. */
static void keep(struct voice *voice, const struct stream *stream, const char *text, size_t length)
{
    if (stream->number != voice->number)
        return;
    for (size_t i = 0; i < length; i++)
        if (text[i])
            voice->kept[voice->kept_bytes++ % CERTIFICATE_OUTPUT] = text[i];
}

void brood__voice_testify(const struct voice *voice, char ret_text[CERTIFICATE_OUTPUT])
{
    uint64_t length = !voice ? 0 : voice->kept_bytes < CERTIFICATE_OUTPUT ? voice->kept_bytes : CERTIFICATE_OUTPUT - 1;

    for (uint64_t i = 0; i < length; i++)
        ret_text[i] = voice->kept[(voice->kept_bytes - length + i) % CERTIFICATE_OUTPUT];
    ret_text[length] = '\0';
}

/* ---- what is handed on ---- */

static size_t write_prefix(const struct supervisor *s, const struct voice *voice, unsigned task, char to[PREFIX_BYTES])
{
    const struct board_task *entry = brood__board_entry(s->shared->board, task);
    char number[16] = "spare";
    int length;

    if (voice->worker >= 0)
        (void)snprintf(number, sizeof(number), "%d", voice->worker);
    length = snprintf(to, PREFIX_BYTES, "[%.15s-%s%s%.*s] ", s->options->name ? s->options->name : "brood", number,
                      entry ? " " : "", BROOD_TASK_NAME_MAX, entry ? entry->name : "");
    return (size_t)length < PREFIX_BYTES ? (size_t)length : PREFIX_BYTES - 1;
}

static struct sink *sink_of(struct supervisor *s, const struct voice *voice, const struct stream *stream)
{
    return &s->voices.sinks[stream - voice->streams];
}

static bool has_room(const struct sink *sink)
{
    return brood__sink_room(sink) >= VOICE_LINE + PREFIX_BYTES + 1;
}

/* Of the living there is room for all that is heard.  What the dead have left may find none, and then this is said. */
static void end_line(struct supervisor *s, struct voice *voice, struct stream *stream)
{
    struct sink *sink = sink_of(s, voice, stream);
    char prefix[PREFIX_BYTES];

    if (stream->line_bytes > 0 && has_room(sink)) {
        brood__sink_put(sink, prefix, write_prefix(s, voice, stream->task, prefix));
        brood__sink_put(sink, stream->line, stream->line_bytes);
        if (stream->line[stream->line_bytes - 1] != '\n')
            brood__sink_put(sink, "\n", 1);
    } else
        s->voices.lost[stream - voice->streams] += stream->line_bytes;
    stream->line_bytes = 0;
}

/* Up to the end of a line: how much of it. */
static size_t add_to_line(struct supervisor *s, struct voice *voice, struct stream *stream, const char *text, size_t length)
{
    const char *end = memchr(text, '\n', length);
    size_t room = VOICE_LINE - stream->line_bytes, taken = end ? (size_t)(end - text) + 1 : length;

    if (taken > room)
        taken = room;
    memcpy(stream->line + stream->line_bytes, text, taken);
    stream->line_bytes += taken;
    if (stream->line_bytes == VOICE_LINE || stream->line[stream->line_bytes - 1] == '\n')
        end_line(s, voice, stream);
    return taken;
}

static size_t say(struct supervisor *s, struct voice *voice, struct stream *stream, const char *text, size_t length)
{
    size_t taken = s->voices.prefixes ? add_to_line(s, voice, stream, text, length) : length;

    keep(voice, stream, text, taken);
    return taken;
}

static void heed_mark(struct supervisor *s, struct voice *voice, struct stream *stream, const char *text)
{
    struct mark mark;

    memcpy(&mark, text, sizeof(mark));
    end_line(s, voice, stream);
    stream->task = mark.task;
    stream->number = mark.number;
    if ((int32_t)(mark.number - voice->number) > 0) {
        voice->number = mark.number;
        voice->kept_bytes = 0;
    }
}

/* ---- listening ---- */

/* Looks at the next piece of what was read: how much of it was that; 0: there is not enough to say. */
static size_t hear_some(struct supervisor *s, struct voice *voice, struct stream *stream, const char *text, size_t length,
                        bool is_last)
{
    const char *zero = memchr(text, '\0', length);

    if (zero != text)
        return say(s, voice, stream, text, zero ? (size_t)(zero - text) : length);
    if (memcmp(text, MARK_MAGIC, length < MARK_MAGIC_BYTES ? length : MARK_MAGIC_BYTES) != 0)
        return say(s, voice, stream, text, 1);
    if (length < sizeof(struct mark))
        return is_last ? say(s, voice, stream, text, 1) : 0;
    heed_mark(s, voice, stream, text);
    return sizeof(struct mark);
}

/* False: there is no room for all of it.  Of the dead it goes on all the same, and `is_last` says that no more will come.
 */
static bool hear(struct supervisor *s, struct voice *voice, struct stream *stream, bool is_dead, bool is_last)
{
    size_t start = 0, taken = 1;
    bool has_place = true;

    while (start < stream->in_bytes && taken > 0) {
        has_place = is_dead || !s->voices.prefixes || has_room(sink_of(s, voice, stream));
        if (!has_place)
            break;
        taken = hear_some(s, voice, stream, stream->in + start, stream->in_bytes - start, is_last);
        start += taken;
    }
    stream->in_bytes -= start;
    memmove(stream->in, stream->in + start, stream->in_bytes);
    return has_place;
}

/* The worker adds up what was taken and what is there, and must not do that in between. */
static ssize_t take(struct voice *voice, struct stream *stream, size_t most)
{
    _Atomic uint64_t *taken = voice->station ? &voice->station->output_taken[stream - voice->streams] : NULL;
    size_t room = sizeof(stream->in) - stream->in_bytes;
    ssize_t length;

    if (taken) {
        atomic_store(taken, stream->taken * 2 | OUTPUT_TAKING);
        atomic_thread_fence(memory_order_seq_cst); /* pairs with the lock of the pipe, which the worker's FIONREAD takes */
    }
    do
        length = read(stream->fd, stream->in + stream->in_bytes, most < room ? most : room);
    while (length < 0 && errno == EINTR);
    if (length > 0) {
        stream->taken += (uint64_t)length;
        stream->in_bytes += (size_t)length;
    }
    if (taken)
        atomic_store(taken, stream->taken * 2);
    return length;
}

static void confess(struct voices *voices, unsigned i)
{
    char text[128];

    if (voices->lost[i] == 0 || !has_room(&voices->sinks[i]))
        return;
    (void)snprintf(text, sizeof(text), "brood: %llu bytes of workers that have died were lost: nobody read them in time\n",
                   (unsigned long long)voices->lost[i]);
    brood__sink_put(&voices->sinks[i], text, strlen(text));
    voices->lost[i] = 0;
}

static void flush(struct supervisor *s, unsigned i)
{
    struct voices *voices = &s->voices;

    if (voices->prefixes)
        confess(voices, i);
    if (!voices->prefixes || brood__sink_flush(&voices->sinks[i]) || voices->waits[i])
        return;
    voices->waits[i] = brood__poller_add_writable(s->poller, voices->sinks[i].fd, TAG_SINK + i) == 0;
}

static void pause_stream(struct supervisor *s, struct stream *stream)
{
    stream->is_paused = brood__poller_remove(s->poller, stream->fd) == 0;
}

void brood__voices_hear(struct supervisor *s, uint64_t tag)
{
    struct voice *voice = &s->voices.all[(tag - TAG_VOICE) / OUTPUT_PIPES];
    unsigned i = (unsigned)(tag - TAG_VOICE) % OUTPUT_PIPES;
    struct stream *stream = &voice->streams[i];
    ssize_t length;

    if (!voice->is_used || stream->fd < 0 || stream->is_paused)
        return;
    length = take(voice, stream, VOICE_READ);
    if (length == 0 || (length < 0 && errno != EAGAIN))
        close_stream(s, stream);
    else if (!hear(s, voice, stream, false, false))
        pause_stream(s, stream);
    flush(s, i);
}

static void resume(struct supervisor *s, struct voice *voice, unsigned i)
{
    struct stream *stream = &voice->streams[i];

    if (!voice->is_used || !stream->is_paused || !hear(s, voice, stream, false, false))
        return;
    stream->is_paused = brood__poller_add(s->poller, stream->fd, tag_of(s, voice, i)) < 0;
}

void brood__voices_hand_on(struct supervisor *s, unsigned i)
{
    struct voices *voices = &s->voices;

    voices->waits[i] = brood__sink_flush(&voices->sinks[i]) ? false : voices->waits[i];
    if (!voices->waits[i])
        (void)brood__poller_remove(s->poller, voices->sinks[i].fd);
    for (unsigned voice = 0; voice < voices->count; voice++)
        resume(s, &voices->all[voice], i);
    flush(s, i);
}

/* Other processes may have the pipe, too, and go on writing: what is there now is what the dead can have written. */
static void finish_stream(struct supervisor *s, struct voice *voice, struct stream *stream)
{
    ssize_t length = 1;
    int left = 0;

    if (stream->fd >= 0 && ioctl(stream->fd, FIONREAD, &left) < 0)
        left = 0;
    (void)hear(s, voice, stream, true, left == 0);
    while (left > 0 && length > 0) {
        length = take(voice, stream, (size_t)left);
        left -= (int)length;
        (void)hear(s, voice, stream, true, left <= 0 || length <= 0);
    }
    if (s->voices.prefixes)
        end_line(s, voice, stream);
}

void brood__voice_finish(struct supervisor *s, struct voice *voice)
{
    if (!voice)
        return;
    for (unsigned i = 0; i < s->voices.pipes; i++) {
        finish_stream(s, voice, &voice->streams[i]);
        flush(s, i);
    }
}

bool brood__voices_are_still(const struct supervisor *s)
{
    for (unsigned i = 0; s->voices.prefixes && i < OUTPUT_PIPES; i++)
        if (s->voices.sinks[i].used > 0)
            return false;
    return true;
}
