#include <execinfo.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "os/module.h"
#include "os/process_attributes.h"
#include "os/role.h"
#include "worker/fault.h"
#include "worker/limit.h"

#define STACK_BYTES 65536
#define WRITE_NS 1000000000 /* how long a handler may take */

/* `owner` is this process: a child that a task forks inherits the handlers, but neither a worker number nor the pool's
 * memory. */
static volatile pid_t owner;
static const struct shared *volatile pool;
static volatile unsigned self;
static struct certificate *volatile watched;

static char program[PATH_MAX]; /* this executable, for which the loader has no name, or only the name of the call */

struct certificate *brood__fault_certificate(void)
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
void brood__fault_write_backtrace(struct certificate *certificate, const void *context)
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

/* ---- faults ---- */

/* The thread that has faulted first, and its signal.  Written by that thread, before its handler does anything else;
 * read by handlers of this process.  Relaxed: each reader only compares the value with its own thread id. */
static _Atomic pid_t faulted_thread;
static volatile sig_atomic_t faulted_signal;

/* False: another thread has faulted first and its handler ends the process, so this thread waits; or this thread's own
 * handler has faulted, on an overwritten stack for example, and the first signal ends the process now. */
static bool fault_is_first(int number)
{
    pid_t none = 0, thread = gettid();

    if (atomic_compare_exchange_strong_explicit(&faulted_thread, &none, thread, memory_order_relaxed,
                                                memory_order_relaxed)) {
        faulted_signal = number;
        return true;
    }
    if (none == thread)
        (void)raise(faulted_signal);
    else
        for (;;)
            (void)pause();
    return false;
}

static void fault_report(int number, const siginfo_t *info, const void *context)
{
    struct certificate *certificate = brood__fault_certificate();

    brood__process_end_in(WRITE_NS, number);
    brood__limit_excuse();
    if (!certificate)
        return;
    certificate->fault_code = info->si_code;
    if (info->si_code > 0)
        certificate->fault_address = (uint64_t)(uintptr_t)info->si_addr;
    brood__fault_write_backtrace(certificate, context);
}

/* Runs once: SA_RESETHAND.  After it returns a fault occurs again and ends the process; a signal that a process has sent
 * is raised again.  SA_NODEFER: if the handler hangs, the same signal ends the process. */
static void fault_handler(int number, siginfo_t *info, void *context)
{
    if (getpid() == owner && fault_is_first(number))
        fault_report(number, info, context);
    if (info->si_code <= 0)
        (void)raise(number);
}

/* A stack overflow leaves no room for a handler on the stack itself. */
static void signal_stack_install(void)
{
    stack_t stack = {.ss_size = STACK_BYTES}, present;

    if (sigaltstack(NULL, &present) == 0 && !(present.ss_flags & SS_DISABLE))
        return;
    stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp != MAP_FAILED)
        (void)sigaltstack(&stack, NULL);
}

static void program_find(void)
{
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (length > 0) /* read before the sandbox may forbid it; a later failure keeps what was read */
        program[length] = '\0';
}

void brood__fault_prepare(void)
{
    void *frame;

    (void)backtrace(&frame, 1);
    program_find();
}

void brood__fault_watch(const struct shared *shared, unsigned worker)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER)}, present;

    brood__assert_worker();
    brood__assert(worker < shared->workers);
    owner = getpid();
    pool = shared;
    self = worker;
    watched = brood__certificate(
        shared, atomic_load_explicit(&shared->lanes[worker].worker_state->certificate, memory_order_relaxed));
    brood__fault_prepare();
    signal_stack_install();
    action.sa_sigaction = fault_handler;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if (sigaction(faults[i], NULL, &present) == 0 && present.sa_handler == SIG_DFL)
            (void)sigaction(faults[i], &action, NULL);
}
