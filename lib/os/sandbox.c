#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/process.h"
#include "os/sandbox.h"

/* The numbers of system calls mean something on one architecture only.  0: no filter can be made here. */
#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__ORDER_LITTLE_ENDIAN__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

#define X32_BIT 0x40000000u /* of x86-64's calls: the same ones, by other numbers */

/* Younger than the headers may be; the same number everywhere. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_removexattrat 466
#endif
#ifndef SYS_file_setattr
#define SYS_file_setattr 469
#endif

#define LANDLOCK_SCOPES_ABI 6
#define LANDLOCK_SCOPE_SOCKETS 1 /* abstract ones */
#define LANDLOCK_SCOPE_SIGNALS 2

#define CONFINED 1u
#define NO_NETWORK 2u
#define NO_PROCESSES 4u
#define READ_ONLY 8u

/* ---- the filter: a program that the kernel runs before each system call ---- */

/* Twice what is used. */
#define PROGRAM_MAX 512

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short length;
};

/* A condition on the lower half of an argument, which is all of an int. */
struct condition {
    unsigned argument;
    enum { HAS_ANY_OF, HAS_NONE_OF, IS, IS_NOT } relation;
    uint32_t value;
};

static void add(struct program *program, unsigned code, uint32_t value, unsigned if_true, unsigned if_false)
{
    assert(program->length < PROGRAM_MAX);
    program->code[program->length++] = (struct sock_filter){(uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, value};
}

static void load(struct program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void finish(struct program *program, uint32_t action)
{
    add(program, BPF_RET | BPF_K, action, 0, 0);
}

static void fail_with(struct program *program, int error)
{
    finish(program, SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA));
}

static void refuse(struct program *program, int error, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        fail_with(program, error);
    }
}

#define REFUSE(program, error, ...) \
    refuse((program), (error), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static void refuse_if(struct program *program, int error, int call, struct condition condition)
{
    bool is_bits = condition.relation == HAS_ANY_OF || condition.relation == HAS_NONE_OF;
    unsigned negated = condition.relation == HAS_NONE_OF || condition.relation == IS_NOT;

    add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4); /* another call: behind these four */
    load(program, offsetof(struct seccomp_data, args) + sizeof(uint64_t) * condition.argument);
    add(program, BPF_JMP | BPF_K | (is_bits ? BPF_JSET : BPF_JEQ), condition.value, negated, !negated);
    fail_with(program, error);
    load(program, offsetof(struct seccomp_data, nr));
}

#if ARCHITECTURE
/* The number of a call says nothing when it comes by another architecture's door. */
static void begin(struct program *program)
{
    load(program, offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    finish(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    add(program, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    finish(program, SECCOMP_RET_KILL_PROCESS);
#endif
}

/* What would reach around the rest: io_uring makes system calls that no filter sees, clone3 keeps its flags in memory that
 * none can read (the C library then uses clone), a worker without PDEATHSIG outlives its supervisor, and what it types into
 * a terminal the shell behind it runs. */
static void refuse_ways_out(struct program *program)
{
    REFUSE(program, EPERM, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_pidfd_getfd,
           SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_unshare, SYS_setns, SYS_setpgid, SYS_setsid,
           SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key);
    REFUSE(program, ENOSYS, SYS_clone3);
    refuse_if(program, EPERM, SYS_clone, (struct condition){0, HAS_ANY_OF, CLONE_NEWUSER});
    refuse_if(program, EPERM, SYS_prlimit64, (struct condition){0, IS_NOT, 0});
    refuse_if(program, EPERM, SYS_prctl, (struct condition){0, IS, PR_SET_PDEATHSIG});
    refuse_if(program, EPERM, SYS_ioctl, (struct condition){1, IS, TIOCSTI});
}

static void refuse_network(struct program *program)
{
    REFUSE(program, EACCES, SYS_socket, SYS_bind, SYS_connect, SYS_listen, SYS_accept, SYS_accept4);
}

/* A descriptor's owner gets a signal of anybody's choice, hence fcntl. */
static void refuse_processes(struct program *program)
{
    const struct condition to_others = {0, IS_NOT, (uint32_t)getpid()};

#ifdef SYS_fork
    REFUSE(program, EPERM, SYS_fork, SYS_vfork);
#endif
    REFUSE(program, EPERM, SYS_execve, SYS_execveat, SYS_tkill, SYS_pidfd_send_signal);
    refuse_if(program, EPERM, SYS_clone, (struct condition){0, HAS_NONE_OF, CLONE_THREAD});
    refuse_if(program, EPERM, SYS_kill, to_others);
    refuse_if(program, EPERM, SYS_tgkill, to_others);
    refuse_if(program, EPERM, SYS_rt_sigqueueinfo, to_others);
    refuse_if(program, EPERM, SYS_rt_tgsigqueueinfo, to_others);
    refuse_if(program, EPERM, SYS_fcntl, (struct condition){1, IS, F_SETOWN});
    refuse_if(program, EPERM, SYS_fcntl, (struct condition){1, IS, F_SETOWN_EX});
}

/* openat2 keeps its flags in memory that no filter can read; who gets ENOSYS uses openat. */
static void refuse_writes(struct program *program)
{
    const uint32_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

#ifdef SYS_open
    refuse_if(program, EACCES, SYS_open, (struct condition){1, HAS_ANY_OF, writing});
    REFUSE(program, EACCES, SYS_creat, SYS_rename, SYS_unlink, SYS_rmdir, SYS_mkdir, SYS_link, SYS_symlink, SYS_mknod,
           SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat);
#endif
    refuse_if(program, EACCES, SYS_openat, (struct condition){2, HAS_ANY_OF, writing});
    refuse_if(program, EACCES, SYS_open_by_handle_at, (struct condition){2, HAS_ANY_OF, writing});
    refuse_if(program, EACCES, SYS_mq_open, (struct condition){1, HAS_ANY_OF, writing});
    REFUSE(program, ENOSYS, SYS_openat2);
    REFUSE(program, EACCES, SYS_truncate, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat, SYS_linkat, SYS_symlinkat,
           SYS_mknodat, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr,
           SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_setxattrat,
           SYS_removexattrat, SYS_file_setattr, SYS_mq_unlink);
}

static void write_program(struct program *program, unsigned flags)
{
    program->length = 0;
    begin(program);
    refuse_ways_out(program);
    if (flags & NO_NETWORK)
        refuse_network(program);
    if (flags & NO_PROCESSES)
        refuse_processes(program);
    if (flags & READ_ONLY)
        refuse_writes(program);
    finish(program, SECCOMP_RET_ALLOW);
}
#else
static void write_program(struct program *program, unsigned flags)
{
    (void)flags;
    program->length = 0;
}
#endif

static bool has_filters(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;

    return ARCHITECTURE && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* TSYNC: for all threads of the process, or it returns one that has a filter of its own. */
static int enter_filter(unsigned flags)
{
    struct program program;
    struct sock_fprog fprog = {.filter = program.code};
    long r;

    write_program(&program, flags);
    fprog.len = program.length;
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &fprog);
    return r < 0 ? -errno : r > 0 ? -EBUSY : 0;
}

/* ---- Landlock: what lies beneath which path, and who is in reach ---- */

/* The headers may know less of it.  A kernel takes what it does not know while that is zero. */
struct rules_attributes {
    uint64_t files, network, scopes;
};

#define READING (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static int allow_reading(int rules, const char *path)
{
    struct landlock_path_beneath_attr beneath = {.allowed_access = READING};
    struct stat status = {0};
    int error = 0;

    beneath.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return brood_fail(-errno, "cannot let the workers read '%s': %s", path, strerror(errno));
    if (fstat(beneath.parent_fd, &status) == 0 && !S_ISDIR(status.st_mode))
        beneath.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR; /* which a file's rule may not speak of */
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
        error = errno;
    (void)close(beneath.parent_fd);
    return error ? brood_fail(-error, "cannot let the workers read '%s': Landlock: %s", path, strerror(error)) : 0;
}

/* With scopes, whoever is in a sandbox can also not trace or signal who is not: where the kernel knows them, they are a
 * second wall.  Without, only paths need Landlock.  Returns the descriptor, or 0: not needed. */
static int open_rules(const struct brood_sandbox *wanted)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct rules_attributes attributes = {.files = wanted->readable ? READING : 0};
    int rules, r = 0;

    if (version < 0 && wanted->readable)
        return brood_fail(-ENOTSUP, "a sandbox with .readable needs Landlock, which this kernel does not have");
    if (version >= LANDLOCK_SCOPES_ABI)
        attributes.scopes = LANDLOCK_SCOPE_SIGNALS | (wanted->no_network ? LANDLOCK_SCOPE_SOCKETS : 0);
    if (!attributes.files && !attributes.scopes)
        return 0;
    rules = brood__fd_not_standard((int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0));
    if (rules < 0)
        return brood_fail(-errno, "a sandbox cannot be made: Landlock: %s", strerror(errno));
    for (size_t i = 0; r == 0 && wanted->readable && wanted->readable[i]; i++)
        r = allow_reading(rules, wanted->readable[i]);
    if (r == 0)
        return rules;
    (void)close(rules);
    return r;
}

/* ---- limits and privileges ---- */

/* 0: as it was.  It also binds who could raise it: that is a capability. */
static int limit(int resource, uint64_t soft, uint64_t hard)
{
    struct rlimit present;

    if (soft == 0)
        return 0;
    if (getrlimit((__rlimit_resource_t)resource, &present) < 0)
        return -errno;
    if (present.rlim_max < hard)
        hard = present.rlim_max;
    present.rlim_cur = soft < hard ? soft : hard;
    present.rlim_max = hard;
    return setrlimit((__rlimit_resource_t)resource, &present) < 0 ? -errno : 0;
}

static uint64_t mapped_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;

    if (statm && fscanf(statm, "%lu", &pages) != 1)
        pages = 0;
    if (statm)
        (void)fclose(statm);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int limit_memory(uint64_t bytes)
{
    uint64_t mapped = mapped_bytes();

    if (bytes == 0 || bytes > RLIM_INFINITY - mapped)
        return 0;
    if (mapped == 0)
        return -ENOENT; /* no /proc */
    return limit(RLIMIT_AS, mapped + bytes, mapped + bytes);
}

static int enter_limits(const struct sandbox *sandbox)
{
    uint64_t seconds = (uint64_t)sandbox->cpu_seconds, files = (uint64_t)sandbox->open_files;
    int r = limit(RLIMIT_CPU, seconds, seconds + 1); /* SIGXCPU says what it was: SIGKILL comes a second later */

    if (r == 0)
        r = limit(RLIMIT_NOFILE, files, files);
    if (r == 0)
        r = limit(RLIMIT_FSIZE, sandbox->file_bytes, sandbox->file_bytes);
    return r == 0 ? limit_memory(sandbox->memory_bytes) : r;
}

static int drop_privileges(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* ---- a sandbox ---- */

int brood__sandbox_check(const struct brood_sandbox *wanted)
{
    if (wanted->size == 0 || wanted->size > sizeof(*wanted))
        return brood_fail(-EINVAL,
                          "a sandbox of %zu bytes, where this brood knows %zu: begin with BROOD_SANDBOX(), and link the "
                          "library that belongs to the header",
                          wanted->size, sizeof(*wanted));
    if (wanted->cpu_seconds < 0 || wanted->open_files < 0)
        return brood_fail(-EINVAL, "the limits of a sandbox cannot be negative; 0 means none");
    return 0;
}

int brood__sandbox_prepare(struct sandbox *ret_sandbox, const struct brood_sandbox *given)
{
    struct brood_sandbox wanted = {0};
    int rules;

    *ret_sandbox = SANDBOX_NONE;
    if (!given)
        return 0;
    memcpy(&wanted, given, given->size);
    if (!has_filters())
        return brood_fail(-ENOTSUP, "a sandbox needs seccomp filters, on x86-64 or arm64: there are none here");
    rules = open_rules(&wanted);
    if (rules < 0)
        return rules;
    *ret_sandbox = (struct sandbox){
        .memory_bytes = wanted.memory_bytes,
        .file_bytes = wanted.file_bytes,
        .cpu_seconds = wanted.cpu_seconds,
        .open_files = wanted.open_files,
        .flags = CONFINED | (wanted.no_network ? NO_NETWORK : 0) | (wanted.no_processes ? NO_PROCESSES : 0) |
                 (wanted.read_only ? READ_ONLY : 0),
        .rules = rules > 0 ? rules : -1,
    };
    return 0;
}

void brood__sandbox_drop(struct sandbox *sandbox)
{
    if (sandbox->rules >= 0)
        (void)close(sandbox->rules);
    *sandbox = SANDBOX_NONE;
}

int brood__sandbox_write(const struct sandbox *sandbox, char text[SANDBOX_TEXT])
{
    if (sandbox->rules >= 0 && fcntl(sandbox->rules, F_SETFD, 0) < 0)
        return -errno;
    (void)snprintf(text, SANDBOX_TEXT, "%llu,%llu,%d,%d,%u,%d", (unsigned long long)sandbox->memory_bytes,
                   (unsigned long long)sandbox->file_bytes, sandbox->cpu_seconds, sandbox->open_files, sandbox->flags,
                   sandbox->rules);
    return 0;
}

bool brood__sandbox_read(struct sandbox *ret_sandbox, const char *text)
{
    unsigned long long memory_bytes, file_bytes;
    struct sandbox sandbox;
    char rest;

    if (sscanf(text, "%llu,%llu,%d,%d,%u,%d%c", &memory_bytes, &file_bytes, &sandbox.cpu_seconds, &sandbox.open_files,
               &sandbox.flags, &sandbox.rules, &rest) != 6)
        return false;
    sandbox.memory_bytes = memory_bytes;
    sandbox.file_bytes = file_bytes;
    *ret_sandbox = sandbox;
    return sandbox.flags != 0;
}

/* The filter comes last: it may refuse what the others need. */
int brood__sandbox_enter(struct sandbox *sandbox)
{
    unsigned flags = sandbox->flags;
    int r = enter_limits(sandbox);

    if (r < 0)
        return brood_fail(r, "the limits of the sandbox: %s", strerror(-r));
    r = drop_privileges();
    if (r == 0 && sandbox->rules >= 0 && syscall(SYS_landlock_restrict_self, sandbox->rules, 0) < 0)
        r = -errno;
    brood__sandbox_drop(sandbox);
    if (r == 0)
        r = enter_filter(flags);
    return r < 0 ? brood_fail(r, "the sandbox cannot be entered: %s", strerror(-r)) : 0;
}
