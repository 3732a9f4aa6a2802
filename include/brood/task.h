/* brood/task.h - a task: a function with a name, an argument type and a result type.
 *
 *     struct span { double from, to; long steps; };
 *
 *     BROOD_TASK(integrate, struct span, double)          // a name, an argument type, a result type
 *     {
 *         ...                                              // const struct span *arg, double *result
 *         return 0;                                        // or a negative errno; brood_fail() adds words
 *     }
 *
 * The body runs in a worker, which may be another process: the argument is copied to it and the result copied back, as
 * bytes.  A pointer in either means something only if it points into brood_alloc() memory.
 *
 * A task may fork().  The child of a worker process has none of the pool's memory, so that it cannot answer in the worker's
 * place: to touch `arg`, `result` or brood_alloc() memory there is SIGSEGV.  Copy what the child needs before the fork.
 *
 * A failure is a number and at most 127 bytes of words.  A task over bytes has room for more: what it has put into its
 * reply when it returns a negative errno reaches the host, too, be it of any size: brood_future_error_bytes().  So a
 * binding to another language hands its exceptions on, with their tracebacks: docs/examples/binding.c.
 *
 * A worker finds a task by its name, because a function has no common address in two executables.  BROOD_TASK registers
 * the name before main() runs; two tasks of one name are refused, with a message, when the first pool is opened.
 *
 * Plug-ins.  A shared object may have tasks: dlopen() registers them, and dlclose(), when it unloads the object, takes them
 * out again.  Before that, wait for the calls of them: a thread must not run code that is unloaded.  Workers that were
 * forked before it was loaded do not know its tasks, and fail them with -ENOENT and the name; so do threads, and the pools
 * that are opened later, when it is unloaded.  Workers that were forked in between keep their own copy, and still run them.
 */
#ifndef BROOD_TASK_H
#define BROOD_TASK_H

#include <brood/base.h>

BROOD_BEGIN

/* Where a task's result goes; valid while the task runs.  Use the functions: the fields are here for them alone. */
struct brood__large_result;

struct brood_task;

struct brood_reply {
    void *space;
    size_t room;                              /* bytes at `space` */
    size_t length;                            /* of the result */
    int error;                                /* 0, -EMSGSIZE, -ENOSPC, -EIO */
    struct brood__large_result *large_result; /* where more than that goes, or NULL */
    const struct brood_task *task;
    size_t held; /* bytes that brood_reply_space() has given last */
};

#define BROOD_ANY_SIZE SIZE_MAX /* arg_size or result_size of a task: any length below 4 GiB */
#define BROOD_TASK_NAME_MAX 111 /* bytes in a task's name */

/* Immutable, and lives until it is unregistered: the registry keeps the pointer. */
struct brood_task {
    const char *name;
    /* Runs in a worker.  0 is success; a negative errno, down to -4095, is failure.  `arg` may be read until it returns. */
    int (*run)(struct brood_bytes arg, struct brood_reply *reply);
    size_t arg_size; /* bytes of every argument, or BROOD_ANY_SIZE */
    /* Bytes of a result at most: that much is put aside for each call.  Or BROOD_ANY_SIZE, if it takes bytes: 1 KiB is put
     * aside, and memory for more is taken when the task asks for it. */
    size_t result_size;
};

/* Makes a task known by its name, as BROOD_TASK does by itself.  Register before a pool is opened: its forked workers know
 * what was registered by then.  0; -EEXIST: another task has that name; -EINVAL; -ENOMEM.  Callers: any thread. */
BROOD_API BROOD_MUST_USE int brood_task_register(const struct brood_task *task);

/* Takes it out again, as dlclose() does for tasks of BROOD_TASK: from now on this process does not know it.  No call of it
 * may be under way in a thread of this process.  0; -ENOENT: it is not registered; -EINVAL.  Callers: any thread. */
BROOD_API int brood_task_unregister(const struct brood_task *task);

/* The registered task of that name, or NULL.  Callers: any thread. */
BROOD_API const struct brood_task *brood_task_find(const char *name);

/* Room for a result of `size` bytes, which become the task's result; aligned for any type.  NULL, and the task's outcome
 * becomes -EMSGSIZE, if that is more than the task's result_size; -ENOSPC, if there is no memory for it; or -EIO, if a
 * task, or the worker's initializer, has closed the descriptor for large results (close_range(2), say).  The last call
 * counts: it is as with realloc(), the bytes that stood in the space stay, as many as fit, and the space may be elsewhere.
 * After a failure they are still where they were, and a call for less makes the task succeed.  Callers: the task's own
 * thread. */
BROOD_API void *brood_reply_space(struct brood_reply *reply, size_t size);

/* Copies `size` bytes to be the result.  0, -EMSGSIZE, -ENOSPC or -EIO. */
BROOD_API int brood_reply_set(struct brood_reply *reply, const void *result, size_t size);

/* The task that is to reply, as the worker has registered it.  So one function can run many tasks, as those of another
 * language, and have a context with each: a task that is the first member of a struct brings the rest of it along. */
BROOD_API const struct brood_task *brood_reply_task(const struct brood_reply *reply);

#ifndef __cplusplus

/* Defines a task; a body follows:  int (arg_type const *arg, result_type *result). */
#define BROOD_TASK(task_name, arg_type, result_type)      \
    BROOD_TASK_DECLARE(task_name, arg_type, result_type); \
    BROOD_TASK_DEFINE(task_name, arg_type, result_type)

/* The same in two parts: the declaration for a header, the definition, with the body, for one file that includes it. */
#define BROOD_TASK_DECLARE(task_name, arg_type, result_type) \
    union task_name##_task {                                 \
        struct brood_task task;                              \
        arg_type const *arg;                                 \
        result_type *result;                                 \
    };                                                       \
    extern const union task_name##_task task_name

#define BROOD_TASK_DEFINE(task_name, arg_type, result_type)                                                  \
    static int task_name##_body(arg_type const *arg, result_type *result);                                   \
    static int task_name##_run(struct brood_bytes arg, struct brood_reply *reply)                            \
    {                                                                                                        \
        /* brood_reply_space() in place: a map of tiny items comes here a hundred million times a second. */ \
        if (reply->room < sizeof(result_type)) {                                                             \
            brood_reply_space(reply, sizeof(result_type));                                                   \
            return 0;                                                                                        \
        }                                                                                                    \
        reply->length = sizeof(result_type);                                                                 \
        return task_name##_body((arg_type const *)arg.ptr, (result_type *)reply->space);                     \
    }                                                                                                        \
    BROOD__TASK(union, task_name, task_name##_run, sizeof(arg_type), sizeof(result_type))                    \
    static int task_name##_body(arg_type const *arg, result_type *result)

/* Defines a task whose argument and result have any length, the result at most `result_max` bytes, or
 * BROOD_ANY_SIZE; a body follows:
 * int (struct brood_bytes arg, struct brood_reply *reply).  Call it with brood_apply_bytes(). */
#define BROOD_TASK_BYTES(task_name, result_max) \
    BROOD_TASK_BYTES_DECLARE(task_name);        \
    BROOD_TASK_BYTES_DEFINE(task_name, result_max)

#define BROOD_TASK_BYTES_DECLARE(task_name) \
    struct task_name##_task {               \
        struct brood_task task;             \
    };                                      \
    extern const struct task_name##_task task_name

#define BROOD_TASK_BYTES_DEFINE(task_name, result_max)                              \
    static int task_name##_body(struct brood_bytes arg, struct brood_reply *reply); \
    BROOD__TASK(struct, task_name, task_name##_body, BROOD_ANY_SIZE, (result_max))  \
    static int task_name##_body(struct brood_bytes arg, struct brood_reply *reply)

/* The descriptor, and its registration before main(), or at dlopen(), until exit() or dlclose().  A failure is kept by the
 * registry and reported when a pool is opened. */
#define BROOD__TASK(tag, task_name, function, arg_bytes, result_bytes)                                \
    const tag task_name##_task task_name = {.task = {#task_name, function, arg_bytes, result_bytes}}; \
    BROOD__REGISTER(task_name, &task_name.task)

#define BROOD__REGISTER(task_name, pointer)                             \
    __attribute__((constructor)) static void task_name##_register(void) \
    {                                                                   \
        if (brood_task_register(pointer) < 0)                           \
            return;                                                     \
    }                                                                   \
    __attribute__((destructor)) static void task_name##_forget(void)    \
    {                                                                   \
        (void)brood_task_unregister(pointer);                           \
    }

/* `1 ? p : (t).arg` costs nothing, and compilers diagnose it unless p has the task's type. */
#define BROOD_IN(t, p) (1 ? (p) : (t).arg)
#define BROOD_OUT(t, p) (1 ? (p) : (t).result)

#endif /* !__cplusplus */

BROOD_END

#endif
