#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/fiemap.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/assert.h"
#include "os/filter.h"

/* 0: no filter can be made on this machine */
#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__ORDER_LITTLE_ENDIAN__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

#define X32_BIT 0x40000000u /* of x86-64's system calls: the same calls by other numbers */

/* Newer than some headers; the same number on all machines. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#define SYS_futex_requeue 456
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_removexattrat 466
#endif
#ifndef SYS_file_setattr
#define SYS_file_setattr 469
#endif

/* Their headers redefine what other headers define. */
#define SET_MODES2 0x402c542bu /* TCSETS2 */
#define SET_MODES2_DRAINED 0x402c542cu
#define SET_MODES2_FLUSHED 0x402c542du

/* Requests of ioctl without the last byte, which is the number within the family. */
#define IOCTLS_OF_TERMINALS 0x5400u
#define IOCTLS_OF_KEYBOARDS 0x4b00u
#define IOCTLS_OF_CONSOLES 0x5600u

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define NAMESPACES \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

#define SOCKET_TYPE 0xfu /* the type in socketpair's argument; the other bits are flags */

#if ARCHITECTURE

/* ---- the program ---- */

/* one and a half times what is used */
#define PROGRAM_MAX 1200

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short length;
};

#define GO_ON 0xffffffffu /* continue with the next rule; a rule's other decisions are actions of seccomp */

static uint32_t fail_with(int error)
{
    return SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA);
}

static void program_add(struct program *program, unsigned code, uint32_t value, size_t if_true, size_t if_false)
{
    brood__assert(program->length < PROGRAM_MAX && if_true <= UINT8_MAX && if_false <= UINT8_MAX);
    program->code[program->length++] = (struct sock_filter){(uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, value};
}

static void load(struct program *program, size_t offset)
{
    program_add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void program_finish(struct program *program, uint32_t action)
{
    program_add(program, BPF_RET | BPF_K, action, 0, 0);
}

/* A rule about a system call by its number, which is loaded before each rule. */
static void decide(struct program *program, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        program_add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        program_finish(program, action);
    }
}

#define REFUSE(program, error, ...) \
    decide((program), fail_with(error), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

#define ALLOW(program, ...) \
    decide((program), SECCOMP_RET_ALLOW, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* A call and one of its arguments: the lower half, which is all of an int, masked by `mask`. */
struct subject {
    int call;
    unsigned argument;
    uint32_t mask;
};

#define ALL_BITS UINT32_MAX

/* A rule about an argument: the decision if it has one of these values, and the decision otherwise.  One of the two is
 * GO_ON. */
static void decide_by(struct program *program, struct subject subject, uint32_t if_listed, uint32_t otherwise,
                      const uint32_t *values, size_t count)
{
    size_t end = otherwise == GO_ON ? 2 : 1; /* instructions after the values */

    program_add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)subject.call, 0, 2 + count + end + 1);
    load(program, offsetof(struct seccomp_data, args) + sizeof(uint64_t) * subject.argument);
    program_add(program, BPF_ALU | BPF_AND | BPF_K, subject.mask, 0, 0);
    for (size_t i = 0; i < count; i++)
        /* jumps over one instruction after the last */
        program_add(program, BPF_JMP | BPF_JEQ | BPF_K, values[i], count - i, 0);
    if (otherwise == GO_ON) {
        program_add(program, BPF_JMP | BPF_JA, 1, 0, 0);
        program_finish(program, if_listed);
    } else
        program_finish(program, otherwise);
    load(program, offsetof(struct seccomp_data, nr));
}

#define VALUES(...) (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

/* With one of these values the call fails; or with any other value. */
#define REFUSE_VALUES(program, error, call, argument, mask, ...) \
    decide_by((program), (struct subject){(call), (argument), (mask)}, fail_with(error), GO_ON, VALUES(__VA_ARGS__))
#define REFUSE_OTHERS(program, error, call, argument, mask, ...) \
    decide_by((program), (struct subject){(call), (argument), (mask)}, GO_ON, fail_with(error), VALUES(__VA_ARGS__))

/* With one of these values the call is allowed, whatever rules follow. */
#define ALLOW_VALUES(program, call, argument, mask, ...) \
    decide_by((program), (struct subject){(call), (argument), (mask)}, SECCOMP_RET_ALLOW, GO_ON, VALUES(__VA_ARGS__))

/* ---- the rules ---- */

static uint32_t self(void)
{
    return (uint32_t)getpid();
}

/* The number of a call means nothing if the call comes by another architecture's entry. */
static void program_begin(struct program *program)
{
    load(program, offsetof(struct seccomp_data, arch));
    program_add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    program_finish(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    program_add(program, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    program_finish(program, SECCOMP_RET_KILL_PROCESS);
#endif
}

/* Denies what would bypass the rest.  io_uring makes system calls that no filter sees, and clone3 keeps its flags in
 * memory that no filter can read (the C library then uses clone).  A child made with CLONE_PARENT would be the
 * supervisor's.  A worker without PDEATHSIG would outlive its supervisor, and a change among its real, effective and
 * saved user ids would clear it.  A worker that can be dumped can be traced by other processes of its user. */
static void refuse_ways_out(struct program *program)
{
    REFUSE(program, EPERM, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise,
           SYS_process_mrelease, SYS_pidfd_getfd, SYS_kcmp, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
           SYS_unshare, SYS_setns, SYS_setpgid, SYS_setsid, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid,
           SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_bpf, SYS_perf_event_open,
           SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key);
    REFUSE(program, ENOSYS, SYS_clone3);
    REFUSE_OTHERS(program, EPERM, SYS_clone, 0, NAMESPACES | CLONE_PARENT, 0);
    REFUSE_OTHERS(program, EPERM, SYS_prlimit64, 0, ALL_BITS, 0, self());
    REFUSE_OTHERS(program, EPERM, SYS_move_pages, 0, ALL_BITS, 0, self());
    REFUSE_OTHERS(program, EPERM, SYS_migrate_pages, 0, ALL_BITS, 0, self());
    REFUSE_VALUES(program, EPERM, SYS_prctl, 0, ALL_BITS, PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SCHED_CORE);
}

/* The kernel lets a process slow down all others of its user.  A thread id counts as another process; a thread passes 0
 * for itself. */
static void refuse_scheduling_of_others(struct program *program)
{
    static const int calls[] = {SYS_sched_setscheduler, SYS_sched_setparam, SYS_sched_setattr, SYS_sched_setaffinity};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        REFUSE_OTHERS(program, EPERM, calls[i], 0, ALL_BITS, 0, self());
    REFUSE_OTHERS(program, EPERM, SYS_setpriority, 0, ALL_BITS, PRIO_PROCESS);
    REFUSE_OTHERS(program, EPERM, SYS_setpriority, 1, ALL_BITS, 0, self());
    REFUSE_OTHERS(program, EPERM, SYS_ioprio_set, 0, ALL_BITS, IOPRIO_WHO_PROCESS);
    REFUSE_OTHERS(program, EPERM, SYS_ioprio_set, 1, ALL_BITS, 0, self());
}

/* Objects of System V belong to the user: a worker would reach the host's, and its own would stay after its end. */
static void refuse_objects_of_the_user(struct program *program)
{
    REFUSE(program, EPERM, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget,
           SYS_msgsnd, SYS_msgrcv, SYS_msgctl);
}

/* Writing to such a file takes memory without a mapping, which RLIMIT_AS does not count. */
static void refuse_memory_files(struct program *program)
{
    REFUSE(program, EPERM, SYS_memfd_create, SYS_memfd_secret);
}

/* Of a terminal, which may be the user's: its modes, its queues, its foreground group, and typed input.  Reading its
 * state is allowed. */
static void refuse_terminals(struct program *program)
{
    ALLOW_VALUES(program, SYS_ioctl, 1, ALL_BITS, TCGETS, TCGETA, TIOCOUTQ, TIOCGWINSZ, TIOCMGET, TIOCGPGRP, TIOCGSID,
                 TIOCGETD, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, FIOASYNC, FIOQSIZE);
    REFUSE_VALUES(program, EPERM, SYS_ioctl, 1, ~0xffu, IOCTLS_OF_TERMINALS, IOCTLS_OF_KEYBOARDS, IOCTLS_OF_CONSOLES);
    REFUSE_VALUES(program, EPERM, SYS_ioctl, 1, ALL_BITS, SET_MODES2, SET_MODES2_DRAINED, SET_MODES2_FLUSHED);
}

/* A datagram socket of a pair may send to any other socket that has a name. */
static void refuse_network(struct program *program)
{
    REFUSE(program, EACCES, SYS_socket, SYS_bind, SYS_connect, SYS_listen, SYS_accept, SYS_accept4);
    REFUSE_OTHERS(program, EACCES, SYS_socketpair, 0, ALL_BITS, AF_UNIX);
    REFUSE_OTHERS(program, EACCES, SYS_socketpair, 1, SOCKET_TYPE, SOCK_STREAM, SOCK_SEQPACKET);
}

/* The owner of a descriptor gets any signal that is configured, hence fcntl and ioctl.  0 is the worker's process group. */
static void refuse_signals_to_others(struct program *program)
{
    REFUSE(program, EPERM, SYS_tkill, SYS_pidfd_send_signal);
    REFUSE_OTHERS(program, EPERM, SYS_kill, 0, ALL_BITS, 0, self());
    REFUSE_OTHERS(program, EPERM, SYS_tgkill, 0, ALL_BITS, self());
    REFUSE_OTHERS(program, EPERM, SYS_rt_sigqueueinfo, 0, ALL_BITS, self());
    REFUSE_OTHERS(program, EPERM, SYS_rt_tgsigqueueinfo, 0, ALL_BITS, self());
    REFUSE_VALUES(program, EPERM, SYS_fcntl, 1, ALL_BITS, F_SETOWN, F_SETOWN_EX);
    REFUSE_VALUES(program, EPERM, SYS_ioctl, 1, ALL_BITS, FIOSETOWN, SIOCSPGRP);
}

static void refuse_processes(struct program *program)
{
#ifdef SYS_fork
    REFUSE(program, EPERM, SYS_fork, SYS_vfork);
#endif
    REFUSE(program, EPERM, SYS_execve, SYS_execveat);
    REFUSE_OTHERS(program, EPERM, SYS_clone, 0, CLONE_THREAD, CLONE_THREAD);
}

static void refuse_threads(struct program *program)
{
    REFUSE_OTHERS(program, EPERM, SYS_clone, 0, CLONE_THREAD, 0);
}

/* openat2 keeps its flags in memory that no filter can read; with ENOSYS callers use openat.  Binding a local socket
 * makes a file.  Every file system has requests of its own that change something through a read-only descriptor, so the
 * rules list what is allowed, not what is denied. */
static void refuse_writes(struct program *program)
{
    const uint32_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

#ifdef SYS_open
    REFUSE_OTHERS(program, EACCES, SYS_open, 1, writing, 0);
    REFUSE(program, EACCES, SYS_creat, SYS_rename, SYS_unlink, SYS_rmdir, SYS_mkdir, SYS_link, SYS_symlink, SYS_mknod,
           SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat);
#endif
    REFUSE_OTHERS(program, EACCES, SYS_openat, 2, writing, 0);
    REFUSE_OTHERS(program, EACCES, SYS_open_by_handle_at, 2, writing, 0);
    REFUSE_OTHERS(program, EACCES, SYS_mq_open, 1, writing, 0);
    REFUSE(program, ENOSYS, SYS_openat2);
    REFUSE(program, EACCES, SYS_truncate, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat, SYS_linkat, SYS_symlinkat,
           SYS_mknodat, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr,
           SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_setxattrat,
           SYS_removexattrat, SYS_file_setattr, SYS_mq_unlink, SYS_bind);
    REFUSE_VALUES(program, EACCES, SYS_fcntl, 1, ALL_BITS, F_SETLEASE, F_NOTIFY);
    REFUSE_OTHERS(program, EACCES, SYS_ioctl, 1, ALL_BITS, TCGETS, TCGETA, TIOCOUTQ, TIOCGWINSZ, TIOCMGET, TIOCGPGRP,
                  TIOCGSID, TIOCGETD, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, FIOASYNC, FIOQSIZE, FIGETBSZ, FS_IOC_GETFLAGS,
                  FS_IOC_GETVERSION, FS_IOC_FSGETXATTR, FS_IOC_FIEMAP, BLKGETSIZE, BLKGETSIZE64, BLKSSZGET, SIOCATMARK,
                  SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMTU,
                  SIOCGIFHWADDR, SIOCGIFINDEX);
}

/* ---- computation ---- */

/* By a path.  fstat of a descriptor is allowed: it is the same call with an empty path. */
static void refuse_paths(struct program *program)
{
#ifdef SYS_open
    REFUSE(program, EACCES, SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink);
#endif
    REFUSE(program, EACCES, SYS_openat, SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_faccessat, SYS_faccessat2,
           SYS_readlinkat, SYS_statfs, SYS_chdir, SYS_fchdir, SYS_getcwd, SYS_mq_open, SYS_inotify_init1);
    REFUSE_OTHERS(program, EACCES, SYS_newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH);
    REFUSE_OTHERS(program, EACCES, SYS_statx, 2, AT_EMPTY_PATH, AT_EMPTY_PATH);
    REFUSE(program, EACCES, SYS_socketpair);
}

static void allow_memory_and_threads(struct program *program)
{
    ALLOW(program, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_mincore, SYS_msync, SYS_mlock,
          SYS_munlock, SYS_membarrier, SYS_pkey_mprotect, SYS_pkey_alloc, SYS_pkey_free, SYS_get_mempolicy, SYS_mbind,
          SYS_set_mempolicy);
    ALLOW(program, SYS_futex, SYS_futex_waitv, SYS_futex_wake, SYS_futex_wait, SYS_futex_requeue, SYS_set_robust_list,
          SYS_rseq, SYS_set_tid_address, SYS_clone, SYS_exit, SYS_exit_group, SYS_gettid, SYS_sched_yield, SYS_getcpu,
          SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_setparam, SYS_sched_getscheduler,
          SYS_sched_setscheduler, SYS_sched_getattr, SYS_sched_setattr, SYS_sched_get_priority_max,
          SYS_sched_get_priority_min, SYS_sched_rr_get_interval, SYS_getpriority, SYS_setpriority);
#ifdef SYS_arch_prctl
    ALLOW(program, SYS_arch_prctl);
#endif
}

static void allow_clocks_and_signals(struct program *program)
{
    ALLOW(program, SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_times,
          SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete, SYS_getitimer,
          SYS_setitimer, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime);
    ALLOW(program, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait,
          SYS_rt_sigsuspend, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sigaltstack, SYS_restart_syscall,
          SYS_signalfd4, SYS_kill, SYS_tgkill);
#ifdef SYS_alarm
    ALLOW(program, SYS_time, SYS_alarm, SYS_pause);
#endif
}

static void allow_open_descriptors(struct program *program)
{
    ALLOW(program, SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
          SYS_preadv2, SYS_pwritev2, SYS_lseek, SYS_close, SYS_close_range, SYS_dup, SYS_dup3, SYS_fcntl, SYS_ioctl,
          SYS_fstat, SYS_newfstatat, SYS_statx, SYS_fstatfs, SYS_getdents64, SYS_fsync, SYS_fdatasync, SYS_sync_file_range,
          SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_readahead, SYS_flock, SYS_sendfile, SYS_splice, SYS_tee,
          SYS_vmsplice, SYS_copy_file_range, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
          SYS_shutdown, SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_getpeername);
    ALLOW(program, SYS_pipe2, SYS_eventfd2, SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
          SYS_epoll_pwait2);
#ifdef SYS_dup2
    ALLOW(program, SYS_dup2, SYS_pipe, SYS_poll, SYS_select, SYS_epoll_wait);
#endif
}

/* What a process may read about itself and the machine, and its own name. */
static void allow_questions(struct program *program)
{
    REFUSE_OTHERS(program, EPERM, SYS_prctl, 0, ALL_BITS, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_PDEATHSIG,
                  PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_CAPBSET_READ, PR_GET_TIMERSLACK,
                  PR_SET_TIMERSLACK);
    ALLOW(program, SYS_prctl, SYS_getpid, SYS_getppid, SYS_getpgid, SYS_getsid, SYS_getuid, SYS_geteuid, SYS_getgid,
          SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_capget, SYS_uname, SYS_sysinfo, SYS_getrandom,
          SYS_getrusage, SYS_prlimit64, SYS_getrlimit, SYS_umask);
#ifdef SYS_getpgrp
    ALLOW(program, SYS_getpgrp);
#endif
}

/* A call that is not on the list fails with ENOSYS: the C library then tries an older call, which may be on it. */
static void allow_computation(struct program *program)
{
    allow_memory_and_threads(program);
    allow_clocks_and_signals(program);
    allow_open_descriptors(program);
    allow_questions(program);
    program_finish(program, fail_with(ENOSYS));
}

static void write_program(struct program *program, unsigned flags)
{
    if (flags & FILTER_COMPUTE)
        flags |= FILTER_NO_NETWORK | FILTER_NO_PROCESSES | FILTER_READ_ONLY;
    program->length = 0;
    program_begin(program);
    refuse_ways_out(program);
    refuse_scheduling_of_others(program);
    refuse_objects_of_the_user(program);
    if (flags & FILTER_NO_MEMORY_FILES)
        refuse_memory_files(program);
    if (flags & FILTER_NO_NETWORK)
        refuse_network(program);
    if (flags & FILTER_NO_PROCESSES)
        refuse_processes(program);
    if (flags & FILTER_NO_THREADS)
        refuse_threads(program);
    if (flags & (FILTER_NO_PROCESSES | FILTER_NO_SIGNALS))
        refuse_signals_to_others(program);
    if (flags & FILTER_READ_ONLY)
        refuse_writes(program);
    refuse_terminals(program); /* the last rule about ioctl: it also allows some requests */
    if (flags & FILTER_COMPUTE) {
        refuse_paths(program);
        allow_computation(program);
    }
    program_finish(program, SECCOMP_RET_ALLOW);
}

/* TSYNC: for all threads of the process; it returns a thread that has a filter of its own. */
int brood__filter_enter(unsigned flags)
{
    struct program program;
    struct sock_fprog fprog = {.filter = program.code};
    long r;

    write_program(&program, flags);
    fprog.len = program.length;
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &fprog);
    return r < 0 ? -errno : r > 0 ? -EBUSY : 0;
}
#else
int brood__filter_enter(unsigned flags)
{
    (void)flags;
    return -ENOTSUP;
}
#endif

bool brood__filter_is_possible(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;

    return ARCHITECTURE && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}
