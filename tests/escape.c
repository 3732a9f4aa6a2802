/* escape.c - a worker that runs hostile code tries to get out of its sandbox, in every known way.
 *
 * An attempt is a function that runs in the worker, and a line of the table below.  Each is tried as this user and as an
 * ordinary one, with Landlock and as if the kernel had none, in forked and in exec'ed workers; every time it has to fail.
 * And each is tried in a worker that is not confined, where it has to get out: what fails there, too, shows nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#include "child.h"
#include "os/pidfd.h"
#include "support.h"

#define ORDINARY 65534

/* What a worker is told of what it may aim at. */
struct aim {
    int number; /* of the attempt */
    pid_t host, supervisor;
    uint64_t victim; /* the address of a word of the host's */
    int segment;     /* of System V, the host's */
    char folder[48]; /* the host's, with "file" and a socket for datagrams, "socket" */
};

/* ---- helpers ---- */

static int error_of(long r)
{
    return r < 0 ? errno : 0;
}

/* For those that may get through and still reach no process: the host looks whether it was hit. */
static int the_host_knows(void)
{
    return EPERM;
}

static const char *path_of(const struct aim *aim, const char *name)
{
    static char path[80];

    (void)snprintf(path, sizeof(path), "%s/%s", aim->folder, name);
    return path;
}

static const char *proc_of(pid_t pid, const char *name)
{
    static char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    return path;
}

static int open_and_close(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600), error = error_of(fd);

    if (fd >= 0)
        close(fd);
    return error;
}

static int ends_well(pid_t child)
{
    int status = 1;

    if (child == 0)
        _exit(0);
    return child < 0 ? errno : waitpid(child, &status, __WALL) == child && status == 0 ? 0 : ECHILD;
}

/* ---- the memory and the descriptors of others ---- */

static int write_memory(const struct aim *aim)
{
    int fd = open(proc_of(aim->host, "mem"), O_RDWR | O_CLOEXEC), error = error_of(fd);

    if (fd >= 0)
        error = pwrite(fd, &(int){1}, sizeof(int), (off_t)aim->victim) == sizeof(int) ? 0 : errno;
    if (fd >= 0)
        close(fd);
    return error;
}

static int open_supervisors_memory(const struct aim *aim)
{
    return open_and_close(proc_of(aim->supervisor, "mem"), O_RDONLY);
}

static int look_at_descriptor(const struct aim *aim)
{
    char target[64];

    return error_of(readlink(proc_of(aim->host, "fd/0"), target, sizeof(target)));
}

static int follow_root(const struct aim *aim)
{
    return open_and_close(proc_of(aim->host, "root/tmp"), O_RDONLY | O_DIRECTORY);
}

static int read_environment(const struct aim *aim)
{
    return open_and_close(proc_of(aim->host, "environ"), O_RDONLY);
}

static int write_by_vector(const struct aim *aim)
{
    int one = 1;
    struct iovec here = {&one, sizeof(one)}, there = {(void *)(uintptr_t)aim->victim, sizeof(one)};

    return error_of(process_vm_writev(aim->host, &here, 1, &there, 1, 0));
}

static int read_by_vector(const struct aim *aim)
{
    int one = 1;
    struct iovec here = {&one, sizeof(one)}, there = {(void *)(uintptr_t)aim->victim, sizeof(one)};

    return error_of(process_vm_readv(aim->host, &here, 1, &there, 1, 0));
}

static int trace(const struct aim *aim)
{
    return error_of(ptrace(PTRACE_SEIZE, aim->host, NULL, NULL));
}

static int be_traced(const struct aim *aim)
{
    (void)aim;
    return error_of(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int copy_descriptor(const struct aim *aim)
{
    int pidfd = brood__pidfd_open(aim->host);

    return pidfd < 0 ? -pidfd : error_of(syscall(SYS_pidfd_getfd, pidfd, 1, 0));
}

static int compare(const struct aim *aim)
{
    return error_of(syscall(SYS_kcmp, getpid(), aim->host, KCMP_VM, 0, 0));
}

static int advise_memory(const struct aim *aim)
{
    struct iovec there = {(void *)(uintptr_t)(aim->victim & ~UINT64_C(4095)), 4096};
    int pidfd = brood__pidfd_open(aim->host);

    return pidfd < 0 ? -pidfd : error_of(syscall(SYS_process_madvise, pidfd, &there, 1, MADV_COLD, 0));
}

static int move_pages_of_host(const struct aim *aim)
{
    void *page = (void *)(uintptr_t)aim->victim;
    int status;

    return error_of(syscall(SYS_move_pages, aim->host, 1, &page, NULL, &status, 0));
}

static int attach_segment(const struct aim *aim)
{
    return shmat(aim->segment, NULL, 0) == MAP_FAILED ? errno : 0;
}

static int remove_segment(const struct aim *aim)
{
    return error_of(shmctl(aim->segment, IPC_RMID, NULL));
}

static int make_segment(const struct aim *aim)
{
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), error = error_of(id);

    (void)aim;
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return error;
}

/* ---- signals ---- */

static int signal_host(const struct aim *aim)
{
    return error_of(kill(aim->host, SIGUSR1));
}

static int signal_supervisor(const struct aim *aim)
{
    return error_of(kill(aim->supervisor, 0));
}

static int signal_group(const struct aim *aim)
{
    return error_of(kill(-aim->host, SIGUSR1));
}

static int signal_thread(const struct aim *aim)
{
    return error_of(syscall(SYS_tkill, aim->host, SIGUSR1));
}

static int signal_thread_of_process(const struct aim *aim)
{
    return error_of(syscall(SYS_tgkill, aim->host, aim->host, SIGUSR1));
}

static int queue_signal(const struct aim *aim)
{
    return error_of(sigqueue(aim->host, SIGUSR1, (union sigval){.sival_int = 1}));
}

static int queue_signal_to_thread(const struct aim *aim)
{
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};

    return error_of(syscall(SYS_rt_tgsigqueueinfo, aim->host, aim->host, SIGUSR1, &info));
}

static int signal_by_pidfd(const struct aim *aim)
{
    int pidfd = brood__pidfd_open(aim->host);

    return pidfd < 0 ? -pidfd : error_of(syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0));
}

/* A descriptor that can be read from signals its owner. */
static int make_readable_and_signal(int ends[2])
{
    (void)fcntl(ends[0], F_SETSIG, SIGUSR1);
    (void)fcntl(ends[0], F_SETFL, O_ASYNC);
    (void)!write(ends[1], "", 1);
    return the_host_knows();
}

static int own_by_fcntl(const struct aim *aim)
{
    int ends[2];

    if (pipe(ends) < 0 || fcntl(ends[0], F_SETOWN, aim->host) < 0)
        return errno;
    return make_readable_and_signal(ends);
}

static int own_by_fcntl_ex(const struct aim *aim)
{
    struct f_owner_ex owner = {F_OWNER_PID, aim->host};
    int ends[2];

    if (pipe(ends) < 0 || fcntl(ends[0], F_SETOWN_EX, &owner) < 0)
        return errno;
    return make_readable_and_signal(ends);
}

static int own_by_request(const struct aim *aim, unsigned long request)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || ioctl(ends[0], request, &aim->host) < 0)
        return errno;
    return make_readable_and_signal(ends);
}

static int own_by_fiosetown(const struct aim *aim)
{
    return own_by_request(aim, FIOSETOWN);
}

static int own_by_siocspgrp(const struct aim *aim)
{
    return own_by_request(aim, SIOCSPGRP);
}

static int signal_from_child(const struct aim *aim)
{
    pid_t host = aim->host, child = fork(); /* a child has nothing of the pool's memory */

    if (child == 0)
        _exit(kill(host, SIGUSR1) < 0);
    return ends_well(child);
}

/* ---- processor time ---- */

static int idle_host(const struct aim *aim)
{
    return error_of(sched_setscheduler(aim->host, SCHED_IDLE, &(struct sched_param){0}));
}

static int set_parameters_of_host(const struct aim *aim)
{
    return error_of(sched_setparam(aim->host, &(struct sched_param){0}));
}

static int idle_host_by_attributes(const struct aim *aim)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = 48, .policy = SCHED_IDLE};

    return error_of(syscall(SYS_sched_setattr, aim->host, &attributes, 0));
}

static int bind_to_a_processor(const struct aim *aim)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    return error_of(sched_setaffinity(aim->host, sizeof(one), &one));
}

static int be_nicer(int which, unsigned target)
{
    return error_of(setpriority((__priority_which_t)which, target, 19));
}

static int renice_host(const struct aim *aim)
{
    return be_nicer(PRIO_PROCESS, (unsigned)aim->host);
}

static int renice_group(const struct aim *aim)
{
    return be_nicer(PRIO_PGRP, (unsigned)aim->host);
}

/* To what nearly all have, since it is about all. */
static int renice_user(const struct aim *aim)
{
    (void)aim;
    return error_of(setpriority(PRIO_USER, 0, 0));
}

static int delay_files_of_host(const struct aim *aim)
{
    return error_of(syscall(SYS_ioprio_set, 1, aim->host, 3 << 13));
}

static int delay_files_of_group(const struct aim *aim)
{
    return error_of(syscall(SYS_ioprio_set, 2, aim->host, 3 << 13));
}

static int limit_host(const struct aim *aim)
{
    return error_of(prlimit(aim->host, RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20}, NULL));
}

static int share_core(const struct aim *aim)
{
    return error_of(prctl(62 /* PR_SCHED_CORE */, 2 /* share to */, aim->host, 0, 0));
}

/* ---- out of the sandbox itself ---- */

static int outlive_supervisor(const struct aim *aim)
{
    (void)aim;
    return error_of(prctl(PR_SET_PDEATHSIG, 0));
}

static int be_dumpable(const struct aim *aim)
{
    (void)aim;
    return error_of(prctl(PR_SET_DUMPABLE, 1));
}

static int leave_session(const struct aim *aim)
{
    pid_t child = fork();

    (void)aim;
    if (child == 0)
        _exit(setsid() < 0);
    return ends_well(child);
}

static int leave_group(const struct aim *aim)
{
    pid_t child = fork();

    (void)aim;
    if (child == 0)
        _exit(setpgid(0, 0) < 0);
    return ends_well(child);
}

static int become_another(const struct aim *aim)
{
    (void)aim;
    return error_of(setresuid(getuid(), getuid(), getuid()));
}

static int make_user_namespace(const struct aim *aim)
{
    pid_t child = fork();

    (void)aim;
    if (child == 0)
        _exit(unshare(CLONE_NEWUSER) < 0);
    return ends_well(child);
}

static int fork_into_namespace(const struct aim *aim)
{
    (void)aim;
    return ends_well((pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int fork_by_clone3(const struct aim *aim)
{
    struct clone_args how = {.exit_signal = SIGCHLD};

    (void)aim;
    return ends_well((pid_t)syscall(SYS_clone3, &how, sizeof(how)));
}

static int use_io_uring(const struct aim *aim)
{
    struct io_uring_params parameters = {0};

    (void)aim;
    return error_of(syscall(SYS_io_uring_setup, 4, &parameters));
}

static int change_root(const struct aim *aim)
{
    (void)aim;
    return error_of(chroot("/"));
}

/* Whether root that has no capabilities gets them by executing something. */
static int gain_by_execution(const struct aim *aim)
{
    pid_t child = fork();

    (void)aim;
    if (child == 0) {
        (void)execl("/bin/sh", "sh", "-c", "exec chroot / /bin/true 2>/dev/null", (char *)NULL);
        _exit(1);
    }
    return ends_well(child);
}

static int use_keys(const struct aim *aim)
{
    (void)aim;
    return error_of(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1));
}

static int reach_segment_by_descriptor(const struct aim *aim)
{
    struct stat status;

    (void)aim;
    for (int fd = 3; fd < 1024; fd++)
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0)
            return 0;
    return EBADF;
}

/* ---- the network ---- */

static int make_socket(const struct aim *aim)
{
    (void)aim;
    return error_of(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static struct sockaddr_un socket_of(const struct aim *aim)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of(aim, "socket"));
    return address;
}

static int send_from_pair(const struct aim *aim)
{
    struct sockaddr_un address = socket_of(aim);
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
        return errno;
    return error_of(sendto(ends[0], "", 1, 0, (struct sockaddr *)&address, sizeof(address)));
}

static int send_from_raw_pair(const struct aim *aim)
{
    struct sockaddr_un address = socket_of(aim);
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0, ends) < 0)
        return errno;
    return error_of(sendto(ends[0], "", 1, 0, (struct sockaddr *)&address, sizeof(address)));
}

static int pass_descriptor_out(const struct aim *aim)
{
    struct sockaddr_un address = socket_of(aim);
    struct iovec byte = {"", 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } room = {{0}};
    struct msghdr message = {.msg_name = &address,
                             .msg_namelen = sizeof(address),
                             .msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof(room.bytes)};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
        return errno;
    *control = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(control), &ends[1], sizeof(int));
    return error_of(sendmsg(ends[0], &message, 0));
}

static int listen_in_pair(const struct aim *aim)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int ends[2];

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of(aim, "other"));
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return errno;
    return error_of(bind(ends[0], (struct sockaddr *)&address, sizeof(address)));
}

/* ---- processes ---- */

static int fork_child(const struct aim *aim)
{
    (void)aim;
    return ends_well(fork());
}

static int clone_child(const struct aim *aim)
{
    (void)aim;
    return ends_well((pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
}

static void *end_at_once(void *unused)
{
    return unused;
}

static int start_a_thread(const struct aim *aim)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, end_at_once, NULL);

    (void)aim;
    return error ? error : pthread_join(thread, NULL);
}

static int end_thread(void *unused)
{
    (void)unused;
    (void)syscall(SYS_exit, 0);
    return 0;
}

static _Alignas(16) char stack[65536];

static int clone_thread(const struct aim *aim)
{
    (void)aim;
    return error_of(
        clone(end_thread, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL));
}

/* A thread in all but name. */
static int clone_child_in_same_memory(const struct aim *aim)
{
    (void)aim;
    return ends_well(clone(end_thread, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL));
}

static int start_thread_by_timer(const struct aim *aim)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD};
    timer_t timer;

    (void)aim;
    return timer_create(CLOCK_MONOTONIC, &event, &timer) < 0 ? errno : timer_delete(timer);
}

static int vfork_child(const struct aim *aim)
{
    (void)aim;
    return ends_well(vfork());
}

static int leave_child_with_supervisor(const struct aim *aim)
{
    long child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);

    (void)aim;
    if (child == 0)
        _exit(0);
    return error_of(child);
}

static int leave_child_by_clone3(const struct aim *aim)
{
    struct clone_args how = {.flags = CLONE_PARENT};
    long child = syscall(SYS_clone3, &how, sizeof(how));

    (void)aim;
    if (child == 0)
        _exit(0);
    return error_of(child);
}

/* A thread's child is its process's, and so is one that is left by it. */
static void *leave_child_in_thread(void *error)
{
    *(int *)error = leave_child_with_supervisor(NULL);
    return NULL;
}

static int leave_child_by_thread(const struct aim *aim)
{
    pthread_t thread;
    int error = EPERM, r = pthread_create(&thread, NULL, leave_child_in_thread, &error);

    (void)aim;
    return r ? r : pthread_join(thread, NULL) ? EPERM : error;
}

/* ---- more than it may have ---- */

static int raise_limit_of_time(const struct aim *aim)
{
    (void)aim;
    return error_of(setrlimit(RLIMIT_CPU, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}));
}

static int raise_limit_of_time_by_prlimit(const struct aim *aim)
{
    (void)aim;
    return error_of(prlimit(getpid(), RLIMIT_CPU, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}, NULL));
}

/* ---- programs ---- */

/* Where it is not refused the worker is that program now, and dead. */
static int run_program(const struct aim *aim)
{
    (void)aim;
    return error_of(execl("/bin/true", "true", (char *)NULL));
}

/* ---- files ---- */

static int open_to_write(const struct aim *aim)
{
    return open_and_close(path_of(aim, "file"), O_WRONLY);
}

static int open_to_append(const struct aim *aim)
{
    return open_and_close(path_of(aim, "file"), O_RDWR | O_APPEND);
}

static int open_to_truncate(const struct aim *aim)
{
    return open_and_close(path_of(aim, "file"), O_RDONLY | O_TRUNC);
}

static int create_file(const struct aim *aim)
{
    return open_and_close(path_of(aim, "other"), O_RDONLY | O_CREAT);
}

static int create_nameless(const struct aim *aim)
{
    return open_and_close(aim->folder, O_TMPFILE | O_WRONLY);
}

static int create_by_openat2(const struct aim *aim)
{
    uint64_t how[3] = {O_WRONLY | O_CREAT, 0600, 0};

    return error_of(syscall(SYS_openat2, AT_FDCWD, path_of(aim, "other"), how, sizeof(how)));
}

static int create_by_creat(const struct aim *aim)
{
    return error_of(creat(path_of(aim, "other"), 0600));
}

static int cut_file(const struct aim *aim)
{
    return error_of(truncate(path_of(aim, "file"), 0));
}

static int remove_file(const struct aim *aim)
{
    return error_of(unlink(path_of(aim, "file")));
}

static int rename_file(const struct aim *aim)
{
    char from[80];

    (void)snprintf(from, sizeof(from), "%s", path_of(aim, "file"));
    return error_of(rename(from, path_of(aim, "other")));
}

static int link_file(const struct aim *aim)
{
    char from[80];

    (void)snprintf(from, sizeof(from), "%s", path_of(aim, "file"));
    return error_of(link(from, path_of(aim, "other")));
}

static int make_symlink(const struct aim *aim)
{
    return error_of(symlink("file", path_of(aim, "other")));
}

static int make_folder(const struct aim *aim)
{
    return error_of(mkdir(path_of(aim, "other"), 0700));
}

static int make_fifo(const struct aim *aim)
{
    return error_of(mkfifo(path_of(aim, "other"), 0600));
}

static int change_mode(const struct aim *aim)
{
    return error_of(chmod(path_of(aim, "file"), 0777));
}

static int change_owner(const struct aim *aim)
{
    return error_of(chown(path_of(aim, "file"), geteuid(), getegid()));
}

static int change_times(const struct aim *aim)
{
    return error_of(utimensat(AT_FDCWD, path_of(aim, "file"), NULL, 0));
}

static int set_attribute(const struct aim *aim)
{
    return error_of(setxattr(path_of(aim, "file"), "user.brood", "x", 1, 0));
}

static int change_by_descriptor(const struct aim *aim, int (*change)(int fd))
{
    int fd = open(path_of(aim, "file"), O_RDONLY | O_CLOEXEC), error = error_of(fd);

    if (fd >= 0) {
        error = error_of(change(fd));
        close(fd);
    }
    return error;
}

static int touch(int fd)
{
    return futimens(fd, NULL);
}

static int change_times_by_descriptor(const struct aim *aim)
{
    return change_by_descriptor(aim, touch);
}

static int flag(int fd)
{
    int flags = 0x80; /* FS_NOATIME_FL, which every user may set */

    return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int set_flags(const struct aim *aim)
{
    return change_by_descriptor(aim, flag);
}

static int number_version(int fd)
{
    return ioctl(fd, FS_IOC_SETVERSION, &(int){7});
}

static int set_version(const struct aim *aim)
{
    return change_by_descriptor(aim, number_version);
}

static int attribute(int fd)
{
    struct fsxattr attributes;

    return ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0 ? -1 : ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

static int set_file_attributes(const struct aim *aim)
{
    return change_by_descriptor(aim, attribute);
}

static int seal(int fd)
{
    char argument[128] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 16}; /* version 1, SHA-256, blocks of 4096 */

    return ioctl(fd, _IOW('f', 133, char[128]), argument);
}

static int enable_verity(const struct aim *aim)
{
    return change_by_descriptor(aim, seal);
}

static int lease(int fd)
{
    return fcntl(fd, F_SETLEASE, F_WRLCK);
}

static int take_lease(const struct aim *aim)
{
    return change_by_descriptor(aim, lease);
}

static int bind_socket(const struct aim *aim)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of(aim, "other"));
    return fd < 0 ? errno : error_of(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int make_message_queue(const struct aim *aim)
{
    char name[32];
    mqd_t queue;

    (void)snprintf(name, sizeof(name), "/brood-%d", aim->host);
    queue = mq_open(name, O_RDWR | O_CREAT, 0600, NULL);
    if (queue == (mqd_t)-1)
        return errno;
    mq_close(queue);
    return error_of(mq_unlink(name));
}

static int offer_host_to_the_oom_killer(const struct aim *aim)
{
    int fd = open(proc_of(aim->host, "oom_score_adj"), O_WRONLY | O_CLOEXEC), error = error_of(fd);

    if (fd >= 0)
        error = error_of(write(fd, "500", 3));
    if (fd >= 0)
        close(fd);
    return error;
}

/* The host looks for a core file in its folder. */
static int leave_core(const struct aim *aim)
{
    if (chdir(aim->folder) < 0)
        return errno;
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    (void)signal(SIGQUIT, SIG_DFL);
    raise(SIGQUIT);
    return the_host_knows();
}

/* ---- anything but computation ---- */

static int open_to_read(const struct aim *aim)
{
    return open_and_close(path_of(aim, "file"), O_RDONLY);
}

static int look_at_file(const struct aim *aim)
{
    struct stat status;

    return error_of(stat(path_of(aim, "file"), &status));
}

static int follow_link(const struct aim *aim)
{
    char target[64];

    (void)aim;
    return error_of(readlink("/proc/self/exe", target, sizeof(target)));
}

static int go_to_folder(const struct aim *aim)
{
    return error_of(chdir(aim->folder));
}

static int watch_folder(const struct aim *aim)
{
    int fd = inotify_init1(IN_CLOEXEC);

    return fd < 0 ? errno : error_of(inotify_add_watch(fd, aim->folder, IN_CREATE));
}

static int make_memory_file(const struct aim *aim)
{
    (void)aim;
    return error_of(memfd_create("brood", MFD_CLOEXEC));
}

static int make_pair(const struct aim *aim)
{
    int ends[2];

    (void)aim;
    return error_of(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
}

static int find_host(const struct aim *aim)
{
    int pidfd = brood__pidfd_open(aim->host);

    return pidfd < 0 ? -pidfd : 0;
}

static int adopt_processes(const struct aim *aim)
{
    (void)aim;
    return error_of(prctl(PR_SET_CHILD_SUBREAPER, 1));
}

/* ---- the terminal ---- */

static void ignore_terminal_stops(void)
{
    (void)signal(SIGTTIN, SIG_IGN);
    (void)signal(SIGTTOU, SIG_IGN);
}

static int take_terminal(const struct aim *aim)
{
    (void)aim;
    ignore_terminal_stops();
    return error_of(tcsetpgrp(STDOUT_FILENO, getpgrp()));
}

static int type_into_terminal(const struct aim *aim)
{
    (void)aim;
    return error_of(ioctl(STDOUT_FILENO, TIOCSTI, "x"));
}

static int change_modes(const struct aim *aim)
{
    struct termios modes;

    (void)aim;
    ignore_terminal_stops();
    if (tcgetattr(STDOUT_FILENO, &modes) < 0)
        return errno;
    modes.c_lflag &= ~(tcflag_t)ECHO;
    return error_of(tcsetattr(STDOUT_FILENO, TCSANOW, &modes));
}

static int change_discipline(const struct aim *aim)
{
    (void)aim;
    ignore_terminal_stops();
    return error_of(ioctl(STDOUT_FILENO, TIOCSETD, &(int){0}));
}

static int resize_terminal(const struct aim *aim)
{
    (void)aim;
    ignore_terminal_stops();
    return error_of(ioctl(STDOUT_FILENO, TIOCSWINSZ, &(struct winsize){.ws_row = 5, .ws_col = 5}));
}

static int claim_terminal(const struct aim *aim)
{
    (void)aim;
    return error_of(ioctl(STDOUT_FILENO, TIOCEXCL));
}

static int stop_terminal(const struct aim *aim)
{
    int error;

    (void)aim;
    ignore_terminal_stops();
    error = error_of(tcflow(STDOUT_FILENO, TCOOFF));
    (void)tcflow(STDOUT_FILENO, TCOON);
    return error;
}

static int forget_what_is_typed(const struct aim *aim)
{
    (void)aim;
    ignore_terminal_stops();
    return error_of(tcflush(STDOUT_FILENO, TCIFLUSH));
}

/* A line lies ready. */
static int read_terminal(const struct aim *aim)
{
    char line[16];

    (void)aim;
    ignore_terminal_stops();
    (void)tcsetpgrp(STDOUT_FILENO, getpgrp());
    return error_of(read(STDOUT_FILENO, line, sizeof(line)));
}

static int read_terminal_as_error(const struct aim *aim)
{
    char line[16];

    (void)aim;
    ignore_terminal_stops();
    return error_of(read(STDERR_FILENO, line, sizeof(line)));
}

/* ---- the table ---- */

/* What each sandbox leaves to be tried: no more is denied than the one thing. */
static const struct brood_sandbox plain = {.size = sizeof(plain)};
static const struct brood_sandbox no_network = {.size = sizeof(no_network), .no_network = true};
static const struct brood_sandbox no_processes = {.size = sizeof(no_processes), .no_processes = true};
static const struct brood_sandbox read_only = {.size = sizeof(read_only), .read_only = true};

static const struct brood_sandbox no_threads = {.size = sizeof(no_threads), .no_threads = true};
static const struct brood_sandbox one_thread = {.size = sizeof(one_thread), .no_threads = true, .no_processes = true};

/* A child would begin to count its CPU time anew. */
static const struct brood_sandbox little_time = {.size = sizeof(little_time), .cpu_seconds = 60, .no_processes = true};

static const struct brood_sandbox compute = {.size = sizeof(compute), .syscalls = BROOD_SYSCALLS_COMPUTE};

enum {
    ROOTS = 1,      /* only root gets out when it is not confined */
    PERHAPS = 2,    /* whether one that is not confined gets out depends on the kernel or the file system */
    NEVER_FREE = 4, /* it is not tried without a sandbox: it would hit others */
    TERMINAL = 8,   /* the host's standard descriptors are its controlling terminal */
    SCREEN = 16,    /* they are a terminal, but not the one that controls it */
    LETHAL = 32,    /* it is out when the worker has died */
};

static const struct escape {
    const char *name;
    int (*attempt)(const struct aim *aim); /* 0: it got out; else the errno */
    const struct brood_sandbox *sandbox;
    unsigned flags;
} escapes[] = {
    {"write into the host's memory by /proc", write_memory, &plain, 0},
    {"open the supervisor's memory", open_supervisors_memory, &plain, 0},
    {"look at a descriptor of the host", look_at_descriptor, &plain, 0},
    {"use the host's root by /proc", follow_root, &plain, 0},
    {"read the host's environment", read_environment, &plain, 0},
    {"write into the host's memory by process_vm_writev", write_by_vector, &plain, 0},
    {"read the host's memory by process_vm_readv", read_by_vector, &plain, 0},
    {"trace the host", trace, &plain, 0},
    {"be traced by the supervisor", be_traced, &plain, 0},
    {"copy a descriptor of the host", copy_descriptor, &plain, 0},
    {"compare itself with the host", compare, &plain, PERHAPS},
    {"advise the kernel about the host's memory", advise_memory, &plain, ROOTS},
    {"move the host's pages", move_pages_of_host, &plain, PERHAPS},
    {"attach the host's segment of System V", attach_segment, &plain, 0},
    {"remove the host's segment of System V", remove_segment, &plain, 0},
    {"make a segment that outlives it", make_segment, &plain, 0},

    {"signal the host", signal_host, &plain, 0},
    {"signal the supervisor", signal_supervisor, &plain, 0},
    {"signal the host's group", signal_group, &plain, 0},
    {"signal a thread of the host by tkill", signal_thread, &plain, 0},
    {"signal a thread of the host by tgkill", signal_thread_of_process, &plain, 0},
    {"queue a signal to the host", queue_signal, &plain, PERHAPS},
    {"queue a signal to a thread of the host", queue_signal_to_thread, &plain, 0},
    {"signal the host by a pidfd", signal_by_pidfd, &plain, 0},
    {"own a pipe in the host's name", own_by_fcntl, &plain, 0},
    {"own a pipe in the host's name by F_SETOWN_EX", own_by_fcntl_ex, &plain, 0},
    {"own a socket in the host's name by FIOSETOWN", own_by_fiosetown, &plain, 0},
    {"own a socket in the host's name by SIOCSPGRP", own_by_siocspgrp, &plain, 0},
    {"signal the host from a child", signal_from_child, &plain, 0},
    {"own a pipe in the host's name, without processes", own_by_fcntl, &no_processes, 0},
    {"own a socket in the host's name, without processes", own_by_fiosetown, &no_processes, 0},

    {"make the host idle", idle_host, &plain, 0},
    {"set the host's scheduling parameters", set_parameters_of_host, &plain, 0},
    {"make the host idle by sched_setattr", idle_host_by_attributes, &plain, 0},
    {"bind the host to a processor", bind_to_a_processor, &plain, 0},
    {"be more urgent than the host", renice_host, &plain, 0},
    {"be more urgent than the host's group", renice_group, &plain, 0},
    {"change the urgency of all processes of the user", renice_user, &plain, NEVER_FREE},
    {"delay the host's input and output", delay_files_of_host, &plain, 0},
    {"delay the input and output of the host's group", delay_files_of_group, &plain, 0},
    {"limit the host", limit_host, &plain, 0},
    {"share a core with the host", share_core, &plain, PERHAPS},

    {"outlive the supervisor", outlive_supervisor, &plain, 0},
    {"become dumpable", be_dumpable, &plain, 0},
    {"leave the session", leave_session, &plain, 0},
    {"leave the process group", leave_group, &plain, 0},
    {"change its user ids", become_another, &plain, 0},
    {"make a user namespace", make_user_namespace, &plain, PERHAPS},
    {"fork into a user namespace", fork_into_namespace, &plain, PERHAPS},
    {"fork by clone3", fork_by_clone3, &plain, 0},
    {"leave a child with the supervisor", leave_child_with_supervisor, &plain, 0},
    {"leave a child with the supervisor by clone3", leave_child_by_clone3, &plain, 0},
    {"leave a child with the supervisor from a thread", leave_child_by_thread, &plain, 0},
    {"use io_uring", use_io_uring, &plain, PERHAPS},
    {"use a capability", change_root, &plain, ROOTS},
    {"gain capabilities by executing a program", gain_by_execution, &plain, ROOTS},
    {"use the user's keys", use_keys, &plain, PERHAPS},
    {"reach a segment by a descriptor", reach_segment_by_descriptor, &plain, PERHAPS},

    {"make a socket", make_socket, &no_network, 0},
    {"send from a pair of datagrams", send_from_pair, &no_network, 0},
    {"send from a pair that is called raw", send_from_raw_pair, &no_network, 0},
    {"pass a descriptor from a pair of datagrams", pass_descriptor_out, &no_network, 0},
    {"listen in a pair", listen_in_pair, &no_network, 0},

    {"fork", fork_child, &no_processes, 0},
    {"fork by clone", clone_child, &no_processes, 0},
    {"fork by vfork", vfork_child, &no_processes, 0},
    {"fork by clone3, without processes", fork_by_clone3, &no_processes, 0},
    {"run a program", run_program, &no_processes, LETHAL},

    {"start a thread", start_a_thread, &no_threads, 0},
    {"start a thread by clone", clone_thread, &no_threads, 0},
    {"start a thread for a timer", start_thread_by_timer, &no_threads, 0},
    {"start a thread, without processes", start_a_thread, &one_thread, 0},
    {"start a thread, by clone, without processes", clone_thread, &one_thread, 0},
    {"have a child in the same memory", clone_child_in_same_memory, &one_thread, 0},
    {"fork, without threads and processes", fork_child, &one_thread, 0},

    {"use a child's CPU time", fork_child, &little_time, 0},
    {"use a child's CPU time by clone", clone_child, &little_time, 0},
    {"use a child's CPU time by vfork", vfork_child, &little_time, 0},
    {"raise its limit of CPU time", raise_limit_of_time, &little_time, ROOTS},
    {"raise its limit of CPU time by prlimit", raise_limit_of_time_by_prlimit, &little_time, ROOTS},

    {"open a file for writing", open_to_write, &read_only, 0},
    {"open a file for appending", open_to_append, &read_only, 0},
    {"truncate a file by opening it", open_to_truncate, &read_only, 0},
    {"create a file", create_file, &read_only, 0},
    {"create a file without a name", create_nameless, &read_only, PERHAPS},
    {"create a file by openat2", create_by_openat2, &read_only, 0},
    {"create a file by creat", create_by_creat, &read_only, 0},
    {"truncate a file", cut_file, &read_only, 0},
    {"remove a file", remove_file, &read_only, 0},
    {"rename a file", rename_file, &read_only, 0},
    {"link a file", link_file, &read_only, 0},
    {"make a symbolic link", make_symlink, &read_only, 0},
    {"make a folder", make_folder, &read_only, 0},
    {"make a fifo", make_fifo, &read_only, 0},
    {"change a file's mode", change_mode, &read_only, 0},
    {"change a file's owner", change_owner, &read_only, 0},
    {"change a file's times", change_times, &read_only, 0},
    {"change a file's times by a descriptor", change_times_by_descriptor, &read_only, 0},
    {"set an attribute of a file", set_attribute, &read_only, PERHAPS},
    {"set the flags of a file", set_flags, &read_only, PERHAPS},
    {"set the version of a file", set_version, &read_only, PERHAPS},
    {"set the attributes of a file by FSSETXATTR", set_file_attributes, &read_only, PERHAPS},
    {"seal a file by fs-verity", enable_verity, &read_only, PERHAPS},
    {"take a lease of a file", take_lease, &read_only, 0},
    {"bind a socket to a path", bind_socket, &read_only, 0},
    {"make a message queue", make_message_queue, &read_only, PERHAPS},
    {"offer the host to the OOM killer", offer_host_to_the_oom_killer, &read_only, 0},
    {"leave a core file", leave_core, &read_only, PERHAPS},

    {"open a file", open_to_read, &compute, 0},
    {"open a file for writing, computing only", open_to_write, &compute, 0},
    {"create a file, computing only", create_file, &compute, 0},
    {"look at a file", look_at_file, &compute, 0},
    {"follow a link", follow_link, &compute, 0},
    {"go to a folder", go_to_folder, &compute, 0},
    {"watch a folder", watch_folder, &compute, 0},
    {"make a file of memory", make_memory_file, &compute, 0},
    {"make a pair of sockets", make_pair, &compute, 0},
    {"make a socket, computing only", make_socket, &compute, 0},
    {"fork, computing only", fork_child, &compute, 0},
    {"run a program, computing only", run_program, &compute, LETHAL},
    {"signal the host, computing only", signal_host, &compute, 0},
    {"find the host", find_host, &compute, 0},
    {"adopt processes", adopt_processes, &compute, 0},
    {"write into the host's memory, computing only", write_memory, &compute, 0},

    {"take the terminal", take_terminal, &plain, TERMINAL},
    {"type into the terminal", type_into_terminal, &plain, TERMINAL | PERHAPS},
    {"change the terminal's modes", change_modes, &plain, TERMINAL},
    {"change the terminal's modes, reading only", change_modes, &read_only, TERMINAL},
    {"change the terminal's discipline", change_discipline, &plain, TERMINAL},
    {"resize the terminal", resize_terminal, &plain, TERMINAL},
    {"have the terminal for itself", claim_terminal, &plain, TERMINAL},
    {"stop the terminal", stop_terminal, &plain, TERMINAL},
    {"forget what was typed", forget_what_is_typed, &plain, TERMINAL},
    {"read what was typed", read_terminal, &plain, TERMINAL},
    {"read what was typed on a terminal of others", read_terminal, &plain, SCREEN},
    {"read what was typed by standard error", read_terminal_as_error, &plain, SCREEN},
};

#define ESCAPES (int)(sizeof(escapes) / sizeof(escapes[0]))

BROOD_TASK(escape, struct aim, int)
{
    *result = escapes[arg->number].attempt(arg);
    return 0;
}

BROOD_TASK(parent, int, int)
{
    *result = getppid() + *arg;
    return 0;
}

/* ---- the host, which is a child of the test ---- */

struct setting {
    const char *name;
    bool ordinary, execed, free;
    bool without_landlock, without_namespaces, undumpable;
    int landlock; /* the version that the kernel says it has; 0: its own */
};

enum { OUT = 0, HELD = 1, UNTRIED = 2 };

static volatile int victim = 0;
static volatile sig_atomic_t hits;
static int screen = -1; /* the other side of the terminal */

/* The library asks the kernel through this. */
static long landlock_version;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number == SYS_landlock_create_ruleset && landlock_version > 0 && a == 0)
        return landlock_version;
    return __real_syscall(number, a, b, c, d, e, f);
}

static void note_hit(int number)
{
    (void)number;
    hits = 1;
}

static void be_ordinary(void)
{
    ck_assert(setgroups(0, NULL) == 0 && setresgid(ORDINARY, ORDINARY, ORDINARY) == 0 &&
              setresuid(ORDINARY, ORDINARY, ORDINARY) == 0);
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* which a change of the user ends: else nothing could be attacked */
}

/* A line lies in it that is not read yet. */
static void be_at_a_terminal(bool controls)
{
    int terminal;

    ck_assert_int_ge(screen = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), 0);
    ck_assert(grantpt(screen) == 0 && unlockpt(screen) == 0);
    ck_assert_int_ge(terminal = open(ptsname(screen), O_RDWR | O_NOCTTY | O_CLOEXEC), 0);
    if (controls)
        ck_assert(setsid() > 0 && ioctl(terminal, TIOCSCTTY, 0) == 0);
    ck_assert_int_eq(write(screen, "secret\n", 7), 7);
    for (int fd = 0; fd < 3; fd++)
        ck_assert_int_eq(dup2(terminal, fd), fd);
}

static void take_setting(const struct setting *setting, unsigned flags)
{
    if (setting->ordinary)
        be_ordinary();
    if (flags & (TERMINAL | SCREEN))
        be_at_a_terminal(flags & TERMINAL);
    else
        (void)setpgid(0, 0);
    if (setting->without_landlock)
        deny(SYS_landlock_create_ruleset, ENOSYS);
    if (setting->without_namespaces)
        deny(SYS_unshare, EPERM);
    landlock_version = setting->landlock;
    ck_assert(signal(SIGUSR1, note_hit) != SIG_ERR);
}

static struct aim make_aim(int number)
{
    struct aim aim = {
        .number = number, .host = getpid(), .victim = (uintptr_t)&victim, .folder = "/tmp/brood-escape-XXXXXX"};
    struct sockaddr_un address;
    FILE *file;

    ck_assert_ptr_nonnull(mkdtemp(aim.folder));
    address = socket_of(&aim);
    ck_assert_int_eq(bind(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_ptr_nonnull(file = fopen(path_of(&aim, "file"), "we"));
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_ge(aim.segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), 0);
    return aim;
}

/* Was there anything but what it has made itself, or is left where it must be gone?  A core file, say. */
static bool remove_folder(const struct aim *aim)
{
    DIR *folder = opendir(aim->folder);
    struct dirent *entry;
    bool found = false;

    while (folder && (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        found |= strcmp(entry->d_name, "file") != 0 && strcmp(entry->d_name, "socket") != 0;
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
        (void)unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR);
    }
    if (folder)
        closedir(folder);
    (void)rmdir(aim->folder);
    (void)shmctl(aim->segment, IPC_RMID, NULL);
    return found;
}

static struct brood_pool *open_pool(const struct setting *setting, const struct brood_sandbox *sandbox)
{
    struct brood_sandbox wanted = *sandbox;
    struct brood_pool *pool = NULL;
    int r;

    wanted.host_undumpable = setting->undumpable;
    r = brood_pool_open(&pool, BROOD_POOL(.workers = 1, .sandbox = setting->free ? NULL : &wanted,
                                          .worker = setting->execed ? "/proc/self/exe" : NULL));
    if (r < 0)
        (void)fprintf(stderr, "%s: %s\n", setting->name, brood_error());
    return pool;
}

static int attempt(const struct setting *setting, int number)
{
    const struct escape *it = &escapes[number];
    struct brood_pool *pool;
    struct aim aim;
    int error = EPERM, r;
    bool is_hit;

    take_setting(setting, it->flags);
    aim = make_aim(number);
    pool = open_pool(setting, it->sandbox);
    if (!pool) {
        (void)remove_folder(&aim);
        return UNTRIED;
    }
    r = brood_apply(pool, parent, &aim.supervisor, &(int){0});
    if (r == 0)
        r = brood_apply(pool, escape, &error, &aim);
    (void)brood_pool_close(pool, BROOD_NOW);
    is_hit = remove_folder(&aim) || victim != 0 || hits;
    if (r == -EOWNERDEAD)
        return is_hit || it->flags & LETHAL ? OUT : HELD;
    if (r < 0)
        return UNTRIED;
    return error == 0 || is_hit ? OUT : HELD;
}

static int try_in(const struct setting *setting, int number)
{
    pid_t host = fork();
    int status;

    if (host == 0)
        _exit(attempt(setting, number));
    ck_assert_int_eq(waitpid(host, &status, 0), host);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) <= UNTRIED, "%s, %s: the host ended with %#x", setting->name,
                  escapes[number].name, (unsigned)status);
    ck_assert_msg(WEXITSTATUS(status) != UNTRIED, "%s, %s: it could not be tried", setting->name, escapes[number].name);
    return WEXITSTATUS(status);
}

/* ---- the tests ---- */

static const struct setting confined[] = {
    {.name = "as this user"},
    {.name = "as this user, without Landlock", .without_landlock = true},
    {.name = "as this user, exec'ed", .execed = true},
    {.name = "as an ordinary user", .ordinary = true},
    {.name = "as an ordinary user, without Landlock", .ordinary = true, .without_landlock = true},
    {.name = "as an ordinary user, without Landlock, exec'ed", .ordinary = true, .without_landlock = true, .execed = true},
    {.name = "as an ordinary user, with the first Landlock", .ordinary = true, .landlock = 1},
    {.name = "as an ordinary user, with a Landlock without scopes", .ordinary = true, .landlock = 5},
    {.name = "as an ordinary user, without Landlock and namespaces",
     .ordinary = true,
     .without_landlock = true,
     .without_namespaces = true,
     .undumpable = true},
};

static bool is_possible(const struct setting *setting)
{
    long version = __real_syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return (!setting->ordinary || geteuid() == 0) && setting->landlock <= (version < 0 ? 0 : version);
}

START_TEST(a_confined_worker_does_not_get_out)
{
    for (size_t i = 0; i < sizeof(confined) / sizeof(confined[0]); i++)
        if (is_possible(&confined[i]))
            ck_assert_msg(try_in(&confined[i], _i) == HELD, "%s it can %s", confined[i].name, escapes[_i].name);
}
END_TEST

static const struct setting unconfined[] = {
    {.name = "as this user, free", .free = true},
    {.name = "as an ordinary user, free", .ordinary = true, .free = true},
};

START_TEST(an_attempt_is_one_that_gets_out_where_nothing_holds_it)
{
    unsigned flags = escapes[_i].flags;

    for (size_t i = 0; i < sizeof(unconfined) / sizeof(unconfined[0]); i++) {
        bool is_root = geteuid() == 0 && !unconfined[i].ordinary;

        if (flags & NEVER_FREE || (flags & ROOTS && !is_root) || !is_possible(&unconfined[i]))
            continue;
        if (try_in(&unconfined[i], _i) == HELD && !(flags & PERHAPS))
            ck_abort_msg("%s it cannot %s", unconfined[i].name, escapes[_i].name);
    }
}
END_TEST

/* ---- threads that would not be confined ---- */

/* What has started one, or shares the worker's memory otherwise. */
enum stranger { OF_INITIALIZER, OF_FORK_HANDLER, SHARER, OF_CONSTRUCTOR, OF_EXECED_INITIALIZER, STRANGERS };

static void *stay(void *unused)
{
    pause_for_ever(unused);
    return NULL;
}

static void start_thread(void)
{
    pthread_t thread;

    (void)!pthread_create(&thread, NULL, stay, NULL);
}

static int share_memory(void *unused)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)pause();
    return unused != NULL;
}

static int start_stranger(void *context, void **ret_state)
{
    (void)ret_state;
    if (*(enum stranger *)context == SHARER)
        return clone(share_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL) < 0 ? -errno : 0;
    start_thread();
    return 0;
}

/* In an exec'ed worker, as a library's would. */
static __attribute__((constructor)) void start_thread_of_constructor(void)
{
    if (getenv("BROOD_WORKER") && getenv("ESCAPE_STRANGER") && atoi(getenv("ESCAPE_STRANGER")) == OF_CONSTRUCTOR)
        start_thread();
}

static int be_execed_worker(int argc, char **argv)
{
    enum stranger stranger = getenv("ESCAPE_STRANGER") ? (enum stranger)atoi(getenv("ESCAPE_STRANGER")) : STRANGERS;

    return brood_worker_main_with(
        argc, argv,
        BROOD_WORKER(.initializer = stranger == OF_EXECED_INITIALIZER ? start_stranger : NULL, .context = &stranger));
}

static struct brood_pool_options *options_for(enum stranger *stranger, const struct brood_sandbox *sandbox)
{
    static struct brood_pool_options options;
    char text[16];

    options = *BROOD_POOL(.workers = 1, .sandbox = sandbox);
    (void)snprintf(text, sizeof(text), "%d", (int)*stranger);
    ck_assert_int_eq(setenv("ESCAPE_STRANGER", text, 1), 0);
    if (*stranger == OF_FORK_HANDLER)
        ck_assert_int_eq(pthread_atfork(NULL, NULL, start_thread), 0);
    else if (*stranger == OF_CONSTRUCTOR || *stranger == OF_EXECED_INITIALIZER)
        options.worker = "/proc/self/exe";
    else {
        options.initializer = start_stranger;
        options.context = stranger;
    }
    return &options;
}

/* What the words say; and of them, what would not help is not said. */
static const char *const advice[STRANGERS] = {
    [OF_INITIALIZER] = "set .confine_initializer",
    [OF_FORK_HANDLER] = "pthread_atfork",
    [SHARER] = "shares the worker's memory",
    [OF_CONSTRUCTOR] = "a constructor of a library",
    [OF_EXECED_INITIALIZER] = "set .confine_initializer",
};

static void expect_advice(enum stranger stranger, const struct brood_sandbox *sandbox)
{
    struct brood_pool *pool = NULL;
    int r = brood_pool_open(&pool, options_for(&stranger, sandbox));

    ck_assert_msg(r == -EBUSY, "%d %s", r, brood_error());
    ck_assert_msg(stranger == SHARER || strstr(brood_error(), "2 threads"), "%s", brood_error());
    for (int i = 0; i < STRANGERS; i++)
        ck_assert_msg(!strstr(brood_error(), advice[i]) == !!strcmp(advice[i], advice[stranger]), "%s", brood_error());
}

/* In a process of its own, since a fork handler stays. */
static void open_with_stranger(void *context)
{
    expect_advice(*(enum stranger *)context, &plain);
}

START_TEST(a_worker_that_is_not_alone_in_its_memory_is_not_called_confined)
{
    in_child(open_with_stranger, &(enum stranger){(enum stranger)_i});
}
END_TEST

/* They are there before it. */
static void open_with_stranger_and_initializer_confined(void *context)
{
    static const struct brood_sandbox early = {.size = sizeof(early), .confine_initializer = true};

    expect_advice(*(enum stranger *)context, &early);
}

START_TEST(to_confine_the_initializer_is_not_advised_where_it_does_not_help)
{
    in_child(open_with_stranger_and_initializer_confined, &(enum stranger){OF_FORK_HANDLER});
    in_child(open_with_stranger_and_initializer_confined, &(enum stranger){OF_CONSTRUCTOR});
}
END_TEST

/* As where a filter refuses to say which processes share the memory. */
static void open_with_stranger_and_without_unshare(void *context)
{
    deny(SYS_unshare, EPERM);
    open_with_stranger(context);
}

START_TEST(threads_are_counted_where_the_kernel_does_not_say)
{
    in_child(open_with_stranger_and_without_unshare, &(enum stranger){OF_INITIALIZER});
}
END_TEST

/* ---- the initializer, confined ---- */

static struct aim early_aim; /* the worker has it from its host */

struct early {
    int error;
    pid_t worker;
};

static void *attempt_early(void *early)
{
    ((struct early *)early)->error = escapes[early_aim.number].attempt(&early_aim);
    return stay(NULL);
}

static int initialize_hostile(void *context, void **ret_state)
{
    struct early *early = *ret_state = calloc(1, sizeof(*early));
    pthread_t thread;

    early->error = INT_MAX;
    early->worker = getpid();
    early_aim.supervisor = getppid();
    return -pthread_create(&thread, NULL, context ? attempt_early : stay, early);
}

BROOD_TASK(what_came_of_it, int, struct early)
{
    const volatile struct early *early = brood_worker_state();

    while (early->error == *arg)
        rest();
    *result = (struct early){early->error, early->worker};
    return 0;
}

static struct early ask(struct brood_pool *pool)
{
    struct early early = {0};
    int r;

    do
        r = brood_apply(pool, what_came_of_it, &early, &(int){INT_MAX});
    while (r == -EOWNERDEAD);
    ck_assert_msg(r == 0, "%s", brood_error());
    ck_assert_msg(early.error != 0, "its initializer can %s", escapes[early_aim.number].name);
    return early;
}

/* The second one was a spare. */
static void confine_initializer(void *number)
{
    static struct brood_sandbox sandbox;
    struct brood_pool *pool = NULL;
    int r;

    early_aim = make_aim(*(int *)number);
    sandbox = *escapes[early_aim.number].sandbox;
    sandbox.confine_initializer = true;
    ck_assert(signal(SIGUSR1, note_hit) != SIG_ERR);
    r = brood_pool_open(&pool, BROOD_POOL(.workers = 1, .spares = 1, .sandbox = &sandbox, .initializer = initialize_hostile,
                                          .context = "hostile"));
    ck_assert_msg(r == 0, "%s", brood_error());
    ck_assert_int_eq(kill(ask(pool).worker, SIGKILL), 0);
    (void)ask(pool);
    (void)brood_pool_close(pool, BROOD_NOW);
    ck_assert(!remove_folder(&early_aim) && victim == 0 && !hits);
}

/* Where it may start one. */
START_TEST(a_confined_initializer_and_its_threads_do_not_get_out)
{
    if (!(escapes[_i].flags & (TERMINAL | SCREEN | LETHAL)) && escapes[_i].attempt != leave_core &&
        !escapes[_i].sandbox->no_threads)
        in_child(confine_initializer, &(int){_i});
}
END_TEST

/* ---- where nothing would hold it ---- */

static void open_where_nothing_holds(void *unused)
{
    static const struct setting setting = {.ordinary = true, .without_landlock = true, .without_namespaces = true};
    struct brood_pool *pool = NULL;
    int r;

    (void)unused;
    take_setting(&setting, 0);
    r = brood_pool_open(&pool, BROOD_POOL(.workers = 1, .sandbox = &plain));
    ck_assert_msg(r == -ENOTSUP, "%d %s", r, brood_error());
    ck_assert_msg(strstr(brood_error(), ".host_undumpable") != NULL, "%s", brood_error());
}

START_TEST(a_sandbox_that_leaves_the_host_in_reach_is_refused)
{
    if (geteuid() == 0)
        in_child(open_where_nothing_holds, NULL);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("escape");

    if (getenv("BROOD_WORKER"))
        return be_execed_worker(argc, argv);
    add_loop_tests(suite, "confined", 0, ESCAPES, a_confined_worker_does_not_get_out, NULL);
    add_loop_tests(suite, "unconfined", 0, ESCAPES, an_attempt_is_one_that_gets_out_where_nothing_holds_it, NULL);
    add_loop_tests(suite, "strangers", 0, STRANGERS, a_worker_that_is_not_alone_in_its_memory_is_not_called_confined, NULL);
    add_loop_tests(suite, "initializers", 0, ESCAPES, a_confined_initializer_and_its_threads_do_not_get_out, NULL);
    add_tests(suite, "entering", threads_are_counted_where_the_kernel_does_not_say,
              to_confine_the_initializer_is_not_advised_where_it_does_not_help,
              a_sandbox_that_leaves_the_host_in_reach_is_refused, NULL);
    return run_suite(suite);
}
