#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/filter.h"
#include "os/process_attributes.h"
#include "os/sandbox.h"

/* Beside the flags of the filter. */
#define CONFINED 1u
#define EARLY 0x100u

/* ---- Landlock: what is allowed beneath which path, and which processes can be reached ---- */

#define LANDLOCK_MOVES_ABI 2
#define LANDLOCK_SCOPES_ABI 6
#define LANDLOCK_SCOPE_SOCKETS 1 /* abstract ones */
#define LANDLOCK_SCOPE_SIGNALS 2

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1u << 13)
#endif

/* The headers may have fewer fields.  A kernel accepts unknown fields that are zero. */
struct rules_attributes {
    uint64_t files, network, scopes;
};

#define READING (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static int allow(int rules, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr beneath = {.allowed_access = access};
    struct stat status = {0};
    int error = 0;

    beneath.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return brood_fail(-errno, "cannot let the workers read '%s': %s", path, strerror(errno));
    if (fstat(beneath.parent_fd, &status) == 0 && !S_ISDIR(status.st_mode))
        beneath.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR; /* a rule about a file must not contain it */
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
        error = errno;
    (void)close(beneath.parent_fd);
    return error ? brood_fail(-error, "cannot let the workers read '%s': Landlock: %s", path, strerror(error)) : 0;
}

/* Any rules keep a process from tracing those outside, and from opening their memory and descriptors.  If the kernel has
 * no rules with no other effect, these deny what no worker can do anyway: to make a block device. */
static struct rules_attributes attributes_for(const struct brood_sandbox *wanted, long version)
{
    struct rules_attributes attributes = {.files = wanted->readable ? READING : 0};

    if (version >= LANDLOCK_SCOPES_ABI)
        attributes.scopes = LANDLOCK_SCOPE_SIGNALS | (wanted->no_network ? LANDLOCK_SCOPE_SOCKETS : 0);
    if (!attributes.files && !attributes.scopes)
        attributes.files = LANDLOCK_ACCESS_FS_MAKE_BLOCK;
    if (attributes.files && version >= LANDLOCK_MOVES_ABI)
        attributes.files |= LANDLOCK_ACCESS_FS_REFER;
    return attributes;
}

/* Any rules about files forbid moving a file to another folder, unless they allow it. */
static int allow_what_is_wanted(int rules, const struct brood_sandbox *wanted, uint64_t files)
{
    int r = files & LANDLOCK_ACCESS_FS_REFER ? allow(rules, "/", LANDLOCK_ACCESS_FS_REFER) : 0;

    for (size_t i = 0; r == 0 && wanted->readable && wanted->readable[i]; i++)
        r = allow(rules, wanted->readable[i], READING);
    return r;
}

/* A descriptor; -1: this kernel has no Landlock. */
static int open_rules(int *ret_rules, const struct brood_sandbox *wanted, long version)
{
    struct rules_attributes attributes = attributes_for(wanted, version);
    int rules, r;

    *ret_rules = -1;
    if (version <= 0)
        return wanted->readable
                   ? brood_fail(-ENOTSUP, "a sandbox with .readable needs Landlock, which this kernel does not have")
                   : 0;
    rules = brood__fd_not_standard((int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0));
    if (rules < 0)
        return brood_fail(-errno, "a sandbox cannot be made: Landlock: %s", strerror(errno));
    r = allow_what_is_wanted(rules, wanted, attributes.files);
    if (r < 0)
        (void)close(rules);
    else
        *ret_rules = rules;
    return r;
}

/* ---- a user namespace: the same by other means ---- */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        error = errno;
    (void)close(fd);
    return -error;
}

static int keep_id(const char *path, unsigned id)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%u %u 1", id, id);
    return write_file(path, text);
}

/* A process in it may not trace a process outside, even of the same user.  Its own ids stay, and all others are mapped
 * to the overflow id.  If none can be made, the worker goes on without. */
static int enter_user_namespace(void)
{
    unsigned user = geteuid(), group = getegid();
    int r;

    if (unshare(CLONE_NEWUSER) < 0)
        return 0;
    if (prctl(PR_SET_DUMPABLE, 1) < 0) /* otherwise its files in /proc belong to root */
        return -errno;
    r = keep_id("/proc/self/uid_map", user);
    if (r == 0)
        (void)write_file("/proc/self/setgroups", "deny");
    return r == 0 ? keep_id("/proc/self/gid_map", group) : r;
}

/* ---- limits and privileges ---- */

/* 0: unchanged.  It also binds root, which could raise it: that takes a capability. */
static int limit_set(int resource, uint64_t soft, uint64_t hard)
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

static int limit_memory(uint64_t bytes, uint64_t mapped)
{
    if (bytes == 0 || bytes > RLIM_INFINITY - mapped)
        return 0;
    if (mapped == 0)
        return -ENOENT; /* no /proc */
    return limit_set(RLIMIT_AS, mapped + bytes, mapped + bytes);
}

static int forbid(int resource)
{
    return setrlimit((__rlimit_resource_t)resource, &(struct rlimit){0, 0}) < 0 ? -errno : 0;
}

/* What every sandbox denies: to leave a core file, and to raise its priority. */
static int forbid_resources(void)
{
    static const int resources[] = {RLIMIT_CORE, RLIMIT_NICE, RLIMIT_RTPRIO};
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(resources) / sizeof(resources[0]); i++)
        r = forbid(resources[i]);
    return r;
}

static int enter_limits(const struct sandbox *sandbox, uint64_t mapped)
{
    uint64_t seconds = (uint64_t)sandbox->cpu_seconds, files = (uint64_t)sandbox->open_files;
    int r = forbid_resources();

    if (r == 0)
        r = limit_set(RLIMIT_CPU, seconds, seconds + 1); /* SIGXCPU shows the cause: SIGKILL comes a second later */
    if (r == 0)
        r = limit_set(RLIMIT_NOFILE, files, files);
    if (r == 0)
        r = limit_set(RLIMIT_FSIZE, sandbox->file_bytes, sandbox->file_bytes);
    if (r == 0)
        r = limit_memory(sandbox->memory_bytes, mapped);
    return r < 0 ? brood_fail(r, "the limits of the sandbox: %s", strerror(-r)) : 0;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* Landlock and the capabilities apply to the calling thread only. */
static int drop_privileges(const struct sandbox *sandbox)
{
    int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;

    if (r == 0 && sandbox->rules < 0)
        r = enter_user_namespace();
    else if (r == 0 && syscall(SYS_landlock_restrict_self, sandbox->rules, 0) < 0)
        r = -errno;
    if (r == 0)
        r = drop_capabilities();
    if (r == 0)
        r = brood__process_become_undumpable();
    return r < 0 ? brood_fail(r, "the sandbox cannot be entered: %s", strerror(-r)) : 0;
}

/* ---- checks before and after ---- */

static int blame_threads(const struct sandbox *sandbox, int threads)
{
    bool by_initializer = !brood__sandbox_is_early(sandbox) && sandbox->threads <= 1;
    const char *reason = by_initializer ? "its initializer has started others: start threads in tasks, or set "
                                          ".confine_initializer"
                         : sandbox->is_execed
                             ? "a constructor of a library, or the program before brood_worker_main(), has started others, "
                               "and must not (set OPENBLAS_NUM_THREADS=1, for example)"
                             : "a handler of pthread_atfork(3) has started others, and must not, or use .worker";

    return brood_fail(-EBUSY, "the worker has %d threads, and a sandbox confines one: %s", threads, reason);
}

/* The kernel tells: a process can unshare its memory only if no other thread or process shares it. */
static int check_alone(const struct sandbox *sandbox)
{
    int threads = brood__process_threads();

    if (unshare(CLONE_VM) == 0 || (errno != EINVAL && threads == 1))
        return 0;
    if (threads == 1)
        return brood_fail(-EBUSY, "a sandbox cannot be entered while another process shares the worker's memory");
    if (threads == 0)
        return brood_fail(-EBUSY, "a sandbox cannot be entered: without /proc the worker's threads cannot be counted");
    return blame_threads(sandbox, threads);
}

/* Checks the result: the worker cannot reach the host's memory.  Other errors of the open do not matter. */
static int check_host_is_out_of_reach(pid_t host)
{
    char path[32];
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/mem", host);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES || errno == EPERM || errno == ENOENT || errno == ESRCH
                   ? 0
                   : brood_fail(-errno, "the sandbox cannot be checked: %s: %s", path, strerror(errno));
    (void)close(fd);
    return brood_fail(-ENOTSUP, "nothing keeps the worker out of the host's memory: a sandbox needs Landlock, user "
                                "namespaces or .host_undumpable");
}

/* A process that holds a terminal for writing and reading can read it.  So it is opened again for writing, where
 * allowed. */
static void stop_reading_from(int fd)
{
    int flags = isatty(fd) ? fcntl(fd, F_GETFL) : O_WRONLY, again;
    char path[32];

    if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
        return;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC | (flags & O_APPEND));
    if (again < 0)
        return;
    (void)dup2(again, fd);
    (void)close(again);
}

/* ---- a sandbox ---- */

/* What an older header lacks is zero; `given` may be NULL. */
static struct brood_sandbox whole(const struct brood_sandbox *given)
{
    struct brood_sandbox wanted = {0};

    if (given)
        memcpy(&wanted, given, given->size);
    return wanted;
}

static bool has_processes(const struct brood_sandbox *wanted)
{
    return !wanted->no_processes && wanted->syscalls != BROOD_SYSCALLS_COMPUTE;
}

int brood__sandbox_check(const struct brood_sandbox *given)
{
    struct brood_sandbox wanted;

    if (given->size == 0 || given->size > sizeof(*given))
        return brood_fail(-EINVAL,
                          "a sandbox of %zu bytes, where this brood knows %zu: begin with BROOD_SANDBOX(), and link the "
                          "library that belongs to the header",
                          given->size, sizeof(*given));
    wanted = whole(given);
    if (wanted.cpu_seconds < 0 || wanted.open_files < 0)
        return brood_fail(-EINVAL, "the limits of a sandbox cannot be negative; 0 means none");
    if ((unsigned)wanted.syscalls > BROOD_SYSCALLS_COMPUTE)
        return brood_fail(-EINVAL, "there is no list %d of system calls for a sandbox", (int)wanted.syscalls);
    if (wanted.cpu_seconds > 0 && has_processes(&wanted))
        return brood_fail(-EINVAL,
                          "a sandbox with .cpu_seconds needs .no_processes: the kernel counts the CPU time of each "
                          "process that a task forks from zero");
    return 0;
}

static unsigned flags_for(const struct brood_sandbox *wanted, long version)
{
    return CONFINED | (wanted->no_network ? FILTER_NO_NETWORK : 0) | (wanted->no_processes ? FILTER_NO_PROCESSES : 0) |
           (wanted->read_only ? FILTER_READ_ONLY : 0) | (wanted->syscalls == BROOD_SYSCALLS_COMPUTE ? FILTER_COMPUTE : 0) |
           (wanted->memory_bytes > 0 ? FILTER_NO_MEMORY_FILES : 0) | (wanted->no_threads ? FILTER_NO_THREADS : 0) |
           (version < LANDLOCK_SCOPES_ABI ? FILTER_NO_SIGNALS : 0) | (wanted->confine_initializer ? EARLY : 0);
}

int brood__sandbox_prepare(struct sandbox *ret_sandbox, const struct brood_sandbox *given, pid_t host)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct brood_sandbox wanted = whole(given);
    int rules, r;

    *ret_sandbox = SANDBOX_NONE;
    if (!given)
        return 0;
    if (!brood__filter_is_possible())
        return brood_fail(-ENOTSUP, "a sandbox needs seccomp filters, on x86-64 or arm64: there are none here");
    r = open_rules(&rules, &wanted, version);
    if (r < 0)
        return r;
    *ret_sandbox = (struct sandbox){
        .memory_bytes = wanted.memory_bytes,
        .file_bytes = wanted.file_bytes,
        .cpu_seconds = wanted.cpu_seconds,
        .open_files = wanted.open_files,
        .flags = flags_for(&wanted, version),
        .rules = rules,
        .host = host,
    };
    return 0;
}

bool brood__sandbox_hides_host(const struct brood_sandbox *given)
{
    return whole(given).host_undumpable;
}

bool brood__sandbox_is_early(const struct sandbox *sandbox)
{
    return sandbox->flags & EARLY;
}

void brood__sandbox_count_threads(struct sandbox *sandbox)
{
    sandbox->threads = sandbox->flags ? brood__process_threads() : 0;
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
    (void)snprintf(text, SANDBOX_TEXT, "%llu,%llu,%d,%d,%u,%d,%d", (unsigned long long)sandbox->memory_bytes,
                   (unsigned long long)sandbox->file_bytes, sandbox->cpu_seconds, sandbox->open_files, sandbox->flags,
                   sandbox->rules, sandbox->host);
    return 0;
}

bool brood__sandbox_read(struct sandbox *ret_sandbox, const char *text)
{
    unsigned long long memory_bytes, file_bytes;
    struct sandbox sandbox = {.is_execed = true};
    char rest;

    if (sscanf(text, "%llu,%llu,%d,%d,%u,%d,%d%c", &memory_bytes, &file_bytes, &sandbox.cpu_seconds, &sandbox.open_files,
               &sandbox.flags, &sandbox.rules, &sandbox.host, &rest) != 7)
        return false;
    sandbox.memory_bytes = memory_bytes;
    sandbox.file_bytes = file_bytes;
    *ret_sandbox = sandbox;
    return sandbox.flags != 0;
}

/* The mapped memory is measured while /proc can be read, and the filter comes last: it may deny what the other steps
 * need. */
int brood__sandbox_enter(struct sandbox *sandbox)
{
    uint64_t mapped = mapped_bytes();
    unsigned flags = sandbox->flags;
    int r = check_alone(sandbox);

    stop_reading_from(STDOUT_FILENO);
    stop_reading_from(STDERR_FILENO);
    if (r == 0)
        r = drop_privileges(sandbox);
    if (r == 0)
        r = check_host_is_out_of_reach(sandbox->host);
    if (r == 0)
        r = enter_limits(sandbox, mapped);
    brood__sandbox_drop(sandbox);
    if (r < 0)
        return r;
    r = brood__filter_enter(flags);
    return r < 0 ? brood_fail(r, "the sandbox cannot be entered: its filter: %s", strerror(-r)) : 0;
}
