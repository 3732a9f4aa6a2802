#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "stepper.h"

#if defined(__x86_64__)

#define NO_CALL ULONG_MAX
#define SYSCALL_INSTRUCTION 0x050f

/* glibc reads these names from <sys/syscall.h>, which may be older than the kernel. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

/* The system call that its next step makes or goes on with. */
static unsigned long next_call(struct stepper *s)
{
    struct user_regs_struct registers;
    long code;

    ck_assert_int_eq(ptrace(PTRACE_GETREGS, s->pid, NULL, &registers), 0);
    s->instruction = registers.rip;
    if (s->goes_on)
        return registers.orig_rax;
    errno = 0;
    code = ptrace(PTRACE_PEEKTEXT, s->pid, (void *)registers.rip, NULL);
    ck_assert_int_eq(errno, 0);
    return (code & 0xffff) == SYSCALL_INSTRUCTION ? registers.rax : NO_CALL;
}

#else

#define NO_CALL 0UL

static unsigned long next_call(struct stepper *s)
{
    ck_abort_msg("process %d: the registers of this processor are not known", s->pid);
}

#endif

/* ---- waiting for it ---- */

#define LOOKS 10 /* as often in a row a sleeper has to be found asleep */

static bool may_sleep(unsigned long call)
{
    static const unsigned long calls[] = {SYS_futex,          SYS_futex_waitv, SYS_epoll_wait,
                                          SYS_epoll_pwait,    SYS_recvfrom,    SYS_epoll_pwait2,
                                          SYS_io_uring_enter, SYS_poll,        SYS_ppoll};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (calls[i] == call)
            return true;
    return false;
}

/* Has it made its step?  A signal, such as SIGCHLD, may come in between: it is let through. */
static bool has_stepped(const struct stepper *s, int status)
{
    ck_assert_msg(WIFSTOPPED(status), "process %d: status %#x after %lu steps", s->pid, (unsigned)status, s->steps);
    if (WSTOPSIG(status) == SIGTRAP)
        return true;
    ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, s->pid, NULL, WSTOPSIG(status)), 0);
    return false;
}

static void await_step(const struct stepper *s)
{
    int status;

    do
        ck_assert_int_eq(waitpid(s->pid, &status, __WALL), s->pid);
    while (!has_stepped(s, status));
}

/* False if it sleeps instead.  Who is about to look once more before it sleeps is called asleep, too, but not for long. */
static bool steps_or_sleeps(const struct stepper *s)
{
    int status, looks = 0;
    pid_t stopped;

    while (looks < LOOKS) {
        stopped = waitpid(s->pid, &status, __WALL | WNOHANG);
        ck_assert_int_ge(stopped, 0);
        if (stopped > 0 && has_stepped(s, status))
            return true;
        looks = stopped == 0 && is_asleep(s->pid) ? looks + 1 : 0;
        (void)sched_yield();
    }
    return false;
}

/* ---- what the header says ---- */

/* Going to and fro on one processor is several times as quick as waking each other on two. */
static void share_processor(struct stepper *s)
{
    cpu_set_t one;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(s->processors), &s->processors), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_int_eq(sched_setaffinity(s->pid, sizeof(one), &one), 0);
}

static void leave_processor(const struct stepper *s)
{
    ck_assert_int_eq(sched_setaffinity(0, sizeof(s->processors), &s->processors), 0);
}

void stepper_seize(struct stepper *ret_stepper, pid_t pid)
{
    struct stepper s = {.pid = pid, .goes_on = true};

    ck_assert_msg(ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0, "process %d: %s", pid, strerror(errno));
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    await_step(&s);
    ck_assert_msg(may_sleep(next_call(&s)), "process %d was awake", pid);
    share_processor(&s);
    *ret_stepper = s;
}

void stepper_watch_parent(pid_t parent)
{
    ck_assert_msg(ptrace(PTRACE_SEIZE, parent, NULL, PTRACE_O_TRACEFORK) == 0, "process %d: %s", parent, strerror(errno));
}

/* Signals, such as SIGCHLD, are let through until then. */
static void await_fork(pid_t parent)
{
    int status;

    for (;;) {
        ck_assert_int_eq(waitpid(parent, &status, __WALL), parent);
        ck_assert_msg(WIFSTOPPED(status), "process %d: status %#x", parent, (unsigned)status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8))
            return;
        ck_assert_int_eq(ptrace(PTRACE_CONT, parent, NULL, WSTOPSIG(status)), 0);
    }
}

void stepper_seize_child(struct stepper *ret_stepper, pid_t parent)
{
    struct stepper s = {.goes_on = false};
    unsigned long child;

    await_fork(parent);
    ck_assert_int_eq(ptrace(PTRACE_GETEVENTMSG, parent, NULL, &child), 0);
    ck_assert_int_eq(ptrace(PTRACE_DETACH, parent, NULL, NULL), 0);
    s.pid = (pid_t)child;
    await_step(&s);
    share_processor(&s);
    *ret_stepper = s;
}

bool stepper_step(struct stepper *s)
{
    unsigned long call = next_call(s);

    if (call == SYS_exit_group)
        return false;
    ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, s->pid, NULL, NULL), 0);
    if (may_sleep(call))
        s->is_asleep = !steps_or_sleeps(s);
    else
        await_step(s);
    s->was_call = call != NO_CALL;
    s->goes_on = false;
    s->steps++;
    return !s->is_asleep;
}

void stepper_await(struct stepper *s)
{
    await_step(s);
    s->is_asleep = false;
}

void stepper_kill(struct stepper *s)
{
    int status;

    if (!s->is_asleep)
        (void)next_call(s); /* for stepper_where() */
    ck_assert_int_eq(kill(s->pid, SIGKILL), 0);
    do
        ck_assert_int_eq(waitpid(s->pid, &status, __WALL), s->pid);
    while (!WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
    leave_processor(s);
}

void stepper_kill_child(struct stepper *s)
{
    siginfo_t info;

    if (!s->is_asleep)
        (void)next_call(s);
    ck_assert_int_eq(kill(s->pid, SIGKILL), 0);
    if (waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOWAIT) < 0)
        ck_assert_int_eq(errno, ECHILD); /* another thread has been quicker */
    leave_processor(s);
}

void stepper_release(struct stepper *s)
{
    if (ptrace(PTRACE_DETACH, s->pid, NULL, NULL) < 0)
        ck_assert_int_eq(errno, ESRCH); /* killed meanwhile, or asleep and about to be */
    leave_processor(s);
}

/* Static functions are in no table that the program itself reads. */
static void ask_addr2line(const char *object, unsigned long offset, char *ret_text, size_t size)
{
    char command[512];
    FILE *answer;

    (void)snprintf(command, sizeof(command), "addr2line -fips -e '%s' %#lx 2>/dev/null", object, offset);
    answer = popen(command, "re");
    if (answer && fgets(ret_text, (int)size, answer))
        ret_text[strcspn(ret_text, "\n")] = '\0';
    if (answer)
        (void)pclose(answer);
}

const char *stepper_where(const struct stepper *s)
{
    static char text[512];
    char function[256] = "?";
    Dl_info info;

    if (dladdr((void *)s->instruction, &info) == 0)
        info = (Dl_info){.dli_fname = "?"};
    else if (info.dli_sname)
        (void)snprintf(function, sizeof(function), "%s", info.dli_sname);
    else
        ask_addr2line(info.dli_fname, s->instruction - (unsigned long)info.dli_fbase, function, sizeof(function));
    (void)snprintf(text, sizeof(text), "step %lu%s, at %#lx: %s in %s", s->steps, s->is_asleep ? ", asleep" : "",
                   s->instruction, function, info.dli_fname);
    return text;
}

/* No check here: this is asked outside of any test. */
bool stepper_is_possible(void)
{
    bool is_possible = false;

#if defined(__x86_64__)
    pid_t pid = fork();

    while (pid == 0)
        (void)pause();
    if (pid > 0) {
        is_possible = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
#endif
    return is_possible;
}
