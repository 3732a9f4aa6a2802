#include <execinfo.h>
#include <limits.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "os/module.h"
#include "os/role.h"
#include "worker/certificate_writer.h"

/* `owner` is this process: a child that a task forks inherits the handlers, but neither a worker number nor the pool's
 * memory. */
static volatile pid_t owner;
static const struct shared *volatile pool;
static volatile unsigned self;
static struct certificate *volatile watched;

static char program[PATH_MAX]; /* this executable, for which the loader has no name, or only the name of the call */

struct certificate *brood__own_certificate(void)
{
    if (getpid() != owner)
        return NULL;
    if (!watched && pool)
        watched = brood__certificate(pool, brood__certificate_take_for(pool, self));
    return watched;
}

/* ---- text, without snprintf(3), which POSIX does not allow in a signal handler ---- */

struct text_buffer {
    char *to;
    size_t room, length;
    bool is_full; /* the last piece did not fit */
};

static void text_put(struct text_buffer *text, const char *piece)
{
    size_t length = strlen(piece);

    text->is_full |= length >= text->room - text->length;
    if (text->is_full)
        return;
    memcpy(text->to + text->length, piece, length);
    text->length += length;
}

static void text_put_number(struct text_buffer *text, const char *before, size_t number, unsigned base)
{
    char digits[2 + sizeof(number) * 3] = "", *at = digits + sizeof(digits) - 1;

    *at = '\0';
    do
        *--at = "0123456789abcdef"[number % base];
    while ((number /= base) > 0);
    text_put(text, before);
    text_put(text, at);
}

/* ---- frames ---- */

static void text_put_file(struct text_buffer *text, const struct module_place *place, size_t back)
{
    text_put(text, place->file && place->file[0] ? place->file : program[0] ? program : "?");
    text_put_number(text, "+0x", place->offset + back, 16);
}

/* Writes one line: the function, if the program exports its name, and what addr2line(1) needs, the address relative to
 * the file.  A caller's address is its return address, which may lie after the function if the call is its last
 * instruction.  A line that does not fit is left out. */
static bool text_put_frame(struct text_buffer *text, size_t number, const char *address)
{
    size_t back = number > 0, began = text->length;
    struct module_place place;

    text_put_number(text, "#", number, 10);
    text_put(text, " ");
    if (!brood__module_find(address - back, &place))
        text_put_number(text, "0x", (size_t)address, 16);
    else if (!place.name)
        text_put_file(text, &place, back);
    else {
        text_put(text, place.name);
        text_put_number(text, "+0x", place.into + back, 16);
        text_put(text, " (");
        text_put_file(text, &place, back);
        text_put(text, ")");
    }
    text_put(text, "\n");
    if (text->is_full)
        text->length = began;
    text->to[text->length] = '\0';
    return !text->is_full;
}

/* The frames before this one belong to the handler. */
static int frames_find_start(void *const *frames, int count, const void *interrupted)
{
    for (int i = 0; i < count; i++)
        if (frames[i] == interrupted)
            return i;
    return 0;
}

static const void *context_address(const void *context)
{
#if defined(__x86_64__)
    return context ? (const void *)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] : NULL;
#elif defined(__aarch64__)
    return context ? (const void *)((const ucontext_t *)context)->uc_mcontext.pc : NULL;
#else
    (void)context;
    return NULL;
#endif
}

/* Writes the interrupted instruction first: on an overwritten stack, looking for callers may cause a fault itself. */
void brood__backtrace_write(struct certificate *certificate, const void *context)
{
    struct text_buffer text = {.to = certificate->backtrace, .room = sizeof(certificate->backtrace)};
    const void *here = context_address(context);
    void *frames[CERTIFICATE_FRAMES_MAX];
    int count, start;

    if (here)
        (void)text_put_frame(&text, 0, here);
    count = backtrace(frames, CERTIFICATE_FRAMES_MAX);
    start = frames_find_start(frames, count, here);
    text.length = 0;
    for (int i = start; i < count && text_put_frame(&text, (size_t)(i - start), frames[i]); i++)
        ;
}

/* ---- before the first task ---- */

static void program_find(void)
{
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (length > 0) /* read before the sandbox may forbid it; a later failure keeps what was read */
        program[length] = '\0';
}

void brood__certificate_writer_prepare(void)
{
    void *frame;

    (void)backtrace(&frame, 1);
    program_find();
}

void brood__certificate_writer_open(const struct shared *shared, unsigned worker)
{
    brood__assert_worker();
    brood__assert(worker < shared->workers);
    owner = getpid();
    pool = shared;
    self = worker;
    watched = brood__certificate(
        shared, atomic_load_explicit(&shared->lanes[worker].worker_state->certificate, memory_order_relaxed));
    brood__certificate_writer_prepare();
}
