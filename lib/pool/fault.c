#include <dlfcn.h>
#include <execinfo.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "pool/fault.h"
#include "pool/limit.h"

#define STACK_BYTES 65536

/* Of this process: a child that a task forks has the handlers, and neither a number nor the pool's memory. */
static volatile pid_t owner;
static const struct shared *volatile pool;
static volatile unsigned self;
static struct certificate *volatile watched;

static char program[PATH_MAX]; /* this executable, which the loader knows by no name, or by whatever it was called with */

struct certificate *brood__fault_certificate(void)
{
    if (getpid() != owner)
        return NULL;
    if (!watched && pool)
        watched = brood__certificate(pool, brood__certificate_take_for(pool, self));
    return watched;
}

static const char *file_of(const struct link_map *map)
{
    return map->l_name && map->l_name[0] ? map->l_name : program[0] ? program : "?";
}

/* One line: the function if the program exports its name, and what addr2line(1) needs: the address as the file counts. That
 * of a caller is where it will return to, which may be behind the function, if its last instruction is the call. */
static size_t write_frame(char *to, size_t room, int number, const char *address)
{
    const struct link_map *map = NULL;
    Dl_info info;
    int length;

    if (dladdr1(address - (number > 0), &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || !map)
        length = snprintf(to, room, "#%d %p\n", number, (const void *)address);
    else if (!info.dli_sname)
        length = snprintf(to, room, "#%d %s+0x%zx\n", number, file_of(map), (size_t)address - (size_t)map->l_addr);
    else
        length =
            snprintf(to, room, "#%d %s+0x%zx (%s+0x%zx)\n", number, info.dli_sname,
                     (size_t)(address - (const char *)info.dli_saddr), file_of(map), (size_t)address - (size_t)map->l_addr);
    return length > 0 && (size_t)length < room ? (size_t)length : 0;
}

/* The frames above are the handler's. */
static int find_start(void *const *frames, int count, const void *interrupted)
{
    for (int i = 0; i < count; i++)
        if (frames[i] == interrupted)
            return i;
    return 0;
}

static const void *interrupted_by(const void *context)
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

void brood__fault_write_backtrace(struct certificate *certificate, const void *context)
{
    void *frames[FAULT_FRAMES_MAX];
    int count = backtrace(frames, FAULT_FRAMES_MAX), start = find_start(frames, count, interrupted_by(context));
    size_t used = 0, length;

    for (int i = start; i < count; i++) {
        length = write_frame(certificate->backtrace + used, sizeof(certificate->backtrace) - used, i - start, frames[i]);
        if (length == 0)
            break;
        used += length;
    }
    certificate->backtrace[used] = '\0';
}

/* Runs once: SA_RESETHAND.  A fault comes again when this returns, and then ends the process; a signal that somebody sent
 * has to be sent again. */
static void record(int number, siginfo_t *info, void *context)
{
    struct certificate *certificate = brood__fault_certificate();

    if (getpid() == owner)
        brood__limit_excuse();
    if (certificate) {
        certificate->fault_code = info->si_code;
        if (info->si_code > 0)
            certificate->fault_address = (uint64_t)(uintptr_t)info->si_addr;
        brood__fault_write_backtrace(certificate, context);
    }
    if (info->si_code <= 0)
        (void)raise(number);
}

/* A stack overflow leaves no room for a handler on the stack itself. */
static void give_stack(void)
{
    stack_t stack = {.ss_size = STACK_BYTES}, present;

    if (sigaltstack(NULL, &present) == 0 && !(present.ss_flags & SS_DISABLE))
        return;
    stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp != MAP_FAILED)
        (void)sigaltstack(&stack, NULL);
}

static void find_program(void)
{
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    program[length > 0 ? length : 0] = '\0';
}

void brood__fault_prepare(void)
{
    void *frame;

    (void)backtrace(&frame, 1);
}

void brood__fault_watch(const struct shared *shared, unsigned worker)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)}, present;

    owner = getpid();
    pool = shared;
    self = worker;
    watched = brood__certificate(shared, atomic_load(&shared->lanes[worker].station->certificate));
    brood__fault_prepare();
    find_program();
    give_stack();
    action.sa_sigaction = record;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if (sigaction(faults[i], NULL, &present) == 0 && present.sa_handler == SIG_DFL)
            (void)sigaction(faults[i], &action, NULL);
}
