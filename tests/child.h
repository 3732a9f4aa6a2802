/* child.h - a process of its own for a part of a test: to be killed, to be limited, or to be on the other side.
 *
 *     static void store_one(void *page)
 *     {
 *         ck_assert_int_eq(...);                  // a check that fails in a child fails the test
 *     }
 *
 *     pid_t pid = spawn(store_one, page);
 *     join(pid);                                  // or: put_to_death(pid)
 */
#ifndef BROOD_TESTS_CHILD_H
#define BROOD_TESTS_CHILD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* Is it allowed?  A child tries, and ends.  For main(), which may run before there is a test: tests that need what not
 * every user may do are a run of their own, which is seen to be skipped. */
static inline bool may_child(bool (*can)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(can() ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Can the kernel wait for several futexes?  Linux 5.16 can, where no sandbox denies it. */
static inline bool has_futex_waitv(void)
{
    return syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == EINVAL;
}

/* Calls body(argument) in a child, which then exits with 0. */
static inline pid_t spawn(void (*body)(void *), void *argument)
{
    pid_t pid = fork();

    ck_assert_msg(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        body(argument);
        _exit(0);
    }
    return pid;
}

/* Waits for a child, which must have ended well. */
static inline void join(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "the child ended with status %#x (signal %d)", (unsigned)status, WTERMSIG(status));
}

static inline void in_child(void (*body)(void *), void *argument)
{
    join(spawn(body, argument));
}

/* Kills a child, which must have lived until now. */
static inline void put_to_death(pid_t pid)
{
    int status;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "ended by itself, with status %#x", (unsigned)status);
}

static inline void pause_for_ever(void *unused)
{
    (void)unused;
    for (;;)
        (void)pause();
}

/* May a process trace its children here?  A sandbox may deny it. */
static inline bool may_trace(void)
{
    pid_t pid = spawn(pause_for_ever, NULL);
    bool may = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;

    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, __WALL);
    if (!may)
        (void)fprintf(stderr, "ptrace is not permitted here\n");
    return may;
}

/* From now on a timer kills this process with SIGALRM, at whatever instruction it is then. */
static inline void die_after_us(int us)
{
    struct itimerval once = {.it_value.tv_usec = us};

    ck_assert(signal(SIGALRM, SIG_DFL) != SIG_ERR);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &once, NULL), 0);
}

static inline void reap(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM, "not killed by its timer: %#x", (unsigned)status);
}

/* Zeroed memory that this process shares with the children that it forks. */
static inline void *shared_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

/* Two sides go step by step: each says that it has reached this one, and waits for the other, which may have no processor.
 * So they act at the same time, or nearly. */
static inline void meet(_Atomic uint32_t *own, const _Atomic uint32_t *other, uint32_t step)
{
    atomic_store(own, step);
    for (int i = 1; atomic_load(other) < step; i++)
        if (i % 1024 == 0)
            (void)sched_yield();
}

/* Not quite at the same time: each side is first in some steps, by all distances, if the two have different moduli. */
static inline void stagger(uint32_t step, uint32_t modulus)
{
    for (uint32_t i = step * 7919 % modulus; i > 0; i--)
        atomic_signal_fence(memory_order_seq_cst);
}

/* Until interrupt_no_more(), `handler` is called every 30 µs, between any two instructions of the calling thread: a rival
 * that gets in between also where both have one processor. */
static inline void interrupt_often(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    struct itimerval often = {.it_interval.tv_usec = 30, .it_value.tv_usec = 30};

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
}

static inline void interrupt_no_more(void)
{
    struct itimerval never = {.it_value.tv_usec = 0};

    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
}

/* How many descriptors with small numbers are open. */
static inline int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Of a thread, as /proc has it: 'S' for one that is blocked in the kernel, 'Z' for a zombie; '?': there is none.  With the
 * id of a process: its first thread. */
static inline char state_of(pid_t tid)
{
    char path[64], state = '?';
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", tid);
    file = fopen(path, "re");
    if (!file)
        return '?';
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    (void)fclose(file);
    return state;
}

static inline int is_asleep(pid_t tid)
{
    return state_of(tid) == 'S';
}

/* From now on the filter decides what the calling process may ask of the kernel. */
static inline void load_filter(struct sock_filter *code, size_t count)
{
    struct sock_fprog program = {.len = (unsigned short)count, .filter = code};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* From now on the kernel does so when the calling process makes that system call. */
static inline void filter_call(long number, unsigned action)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    load_filter(code, sizeof(code) / sizeof(code[0]));
}

/* From now on that system call fails with `error` in the calling process. */
static inline void deny(long number, int error)
{
    filter_call(number, SECCOMP_RET_ERRNO | (unsigned)error);
}

/* From now on that system call kills the calling process. */
static inline void die_of_call(long number)
{
    filter_call(number, SECCOMP_RET_KILL_PROCESS);
}

/* From now on the calling process and its children are without what valgrind 3.19 or qemu-user 7.2 does not know. */
static inline void be_emulated(void)
{
    static const long unknown[] = {SYS_pidfd_open, SYS_pidfd_send_signal, SYS_set_robust_list, SYS_io_uring_setup,
                                   449 /* futex_waitv */};

    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        deny(unknown[i], ENOSYS);
}

/* Does body(argument) call membarrier(2), so that it fences in other processes, too?  A filter kills for that. */
static inline int reaches_other_processes(void (*body)(void *), void *argument)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])), /* the low half, little-endian */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    pid_t pid = fork();
    int status;

    ck_assert_msg(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        load_filter(code, sizeof(code) / sizeof(code[0]));
        body(argument);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

#endif
