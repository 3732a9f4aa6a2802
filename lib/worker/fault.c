#include <sys/mman.h>
#include <unistd.h>

#include "os/process_attributes.h"
#include "os/role.h"
#include "worker/certificate_writer.h"
#include "worker/fault.h"
#include "worker/limit.h"

#define STACK_BYTES 65536
#define WRITE_NS 1000000000 /* how long a handler may take */

static volatile pid_t owner; /* this process: a child that a task forks inherits the handlers */

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
    struct certificate *certificate = brood__own_certificate();

    brood__process_end_in(WRITE_NS, number);
    brood__limit_excuse();
    if (!certificate)
        return;
    certificate->fault_code = info->si_code;
    if (info->si_code > 0)
        certificate->fault_address = (uint64_t)(uintptr_t)info->si_addr;
    brood__backtrace_write(certificate, context);
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

void brood__fault_watch(const struct shared *shared, unsigned worker)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER)}, present;

    brood__assert_worker();
    owner = getpid();
    brood__certificate_writer_open(shared, worker);
    signal_stack_install();
    action.sa_sigaction = fault_handler;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if (sigaction(faults[i], NULL, &present) == 0 && present.sa_handler == SIG_DFL)
            (void)sigaction(faults[i], &action, NULL);
}
