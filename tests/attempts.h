/* attempts.h - tasks that try to get out of a sandbox. */
#ifndef BROOD_TESTS_ATTEMPTS_H
#define BROOD_TESTS_ATTEMPTS_H

#include <brood.h>

enum what {
    /* about the network */
    MAKE_INTERNET_SOCKET,
    MAKE_LOCAL_SOCKET,
    /* about processes */
    FORK_CHILD,
    RUN_PROGRAM,
    SIGNAL_PARENT,
    SIGNAL_ALL,
    SIGNAL_BY_DESCRIPTOR,
    FORK_BY_CLONE3,
    LEAVE_CHILD_WITH_PARENT, /* which ends at once */
    /* about files: PATH */
    OPEN_TO_READ,
    OPEN_TO_WRITE,
    OPEN_TO_CREATE,
    OPEN_TO_TRUNCATE,
    OPEN_NAMELESS,
    OPEN_BY_OPENAT2,
    TRUNCATE,
    REMOVE,
    RENAME,
    MAKE_FOLDER,
    CHANGE_MODE,
    CHANGE_TIMES,
    /* about limits */
    HAVE_300_MIB,
    HAVE_32_MIB,
    HAVE_128_MIB,
    HAVE_MEMORY_FILE,
    HAVE_200_DESCRIPTORS,
    WRITE_100_KB, /* to PATH */
    RAISE_LIMIT,
    DEFY_LIMIT_OF_TIME, /* burns CPU time for ever, and ignores SIGXCPU */
    /* about the sandbox itself */
    TRACE_PARENT,
    READ_PARENTS_MEMORY,
    LIMIT_PARENT,
    OUTLIVE_PARENT,
    LEAVE_GROUP,
    USE_IO_URING,
    MAKE_NAMESPACE,
    REACH_SEGMENT_BY_DESCRIPTOR,
    BE_PRIVILEGED,
    /* what has to work */
    START_THREAD,
    SIGNAL_ITSELF,
    SCHEDULE_ITSELF,
    USE_PAIRS,
    ASK_BY_IOCTL,
    COMPUTE, /* with memory, threads, streams, the mathematical library, clocks */
    PRINT,
};

struct attempt {
    enum what what;
    char path[96];
};

struct held {
    int no_new_privileges, filters;
    unsigned long long capabilities;
};

BROOD_TASK_DECLARE(attempt, struct attempt, int); /* its result: the errno of the attempt, or 0 if it was successful */
BROOD_TASK_DECLARE(call_by_x32, int, int);        /* makes a system call of another ABI; its result */
BROOD_TASK_DECLARE(burn, int, int);               /* CPU time, for ever */
/* Forks children that take so many MiB each, one after the other; its result: how many of them live in the end. */
struct filling {
    int children, mib;
};
BROOD_TASK_DECLARE(fill_in_children, struct filling, int);
BROOD_TASK_DECLARE(holdings, int, struct held); /* what /proc says of the worker */

#endif
