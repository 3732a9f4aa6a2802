#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "os/assert.h"
#include "os/error.h"
#include "proto/task.h"

/* A list that only grows, at its head, by CAS: no lock that a fork could leave held.  It has one entry for each name,
 * which stays; the task comes and goes with the object that contains it.  So a search touches nothing that may be
 * unloaded. */
struct task_entry {
    /* Registering stores it, by CAS from NULL, release; unregistering stores NULL, by CAS; a search loads it, acquire. */
    _Atomic(const struct brood_task *) task;
    _Atomic uint32_t refused; /* how many more tasks of this name are registered; relaxed: a count */
    struct task_entry *next;
    char name[];
};

static struct task_entry *_Atomic entries;

/* Counts unregistered tasks: a worker that keeps pointers to tasks checks here whether one may be gone.  Unregistering
 * adds after it has removed the task, release; workers load it, acquire. */
_Atomic uint32_t brood__tasks_gone;

static struct task_entry *task_entry_find_between(struct task_entry *entry, const struct task_entry *end, const char *name)
{
    while (entry != end && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry != end ? entry : NULL;
}

static struct task_entry *task_entry_find(const char *name)
{
    return task_entry_find_between(atomic_load_explicit(&entries, memory_order_acquire), NULL, name);
}

const struct brood_task *brood_task_find(const char *name)
{
    struct task_entry *entry = task_entry_find(name);

    return entry ? atomic_load_explicit(&entry->task, memory_order_acquire) : NULL;
}

static int refuse_double(const char *name)
{
    return brood_fail(-EEXIST, "two tasks are named '%s': a worker finds a task by its name", name);
}

static int task_check(const struct brood_task *task)
{
    if (!task || !task->name || !task->name[0] || !task->run)
        return brood_fail(-EINVAL, "a task needs a name and a function");
    if (strlen(task->name) > BROOD_TASK_NAME_MAX)
        return brood_fail(-EINVAL, "a task's name has at most %d bytes: '%s'", BROOD_TASK_NAME_MAX, task->name);
    return 0;
}

static struct task_entry *entry_new(const char *name)
{
    size_t bytes = strlen(name) + 1;
    struct task_entry *entry = malloc(sizeof(*entry) + bytes);

    if (!entry)
        return NULL;
    atomic_init(&entry->task, NULL);
    atomic_init(&entry->refused, 0);
    memcpy(entry->name, name, bytes);
    return entry;
}

/* Pushes the entry, or finds one of the same name.  Each time that the push fails it searches what others have pushed
 * meanwhile: of two entries of one name one gets in.  Returns the entry in the list. */
static struct task_entry *entry_push(struct task_entry *entry)
{
    struct task_entry *looked_from = NULL, *known;

    entry->next = atomic_load_explicit(&entries, memory_order_acquire);
    do {
        known = task_entry_find_between(entry->next, looked_from, entry->name);
        if (known) {
            free(entry);
            return known;
        }
        looked_from = entry->next;
    } while (
        !atomic_compare_exchange_weak_explicit(&entries, &entry->next, entry, memory_order_acq_rel, memory_order_acquire));
    return entry;
}

/* The entry of that name, made if there is none.  NULL: out of memory. */
static struct task_entry *entry_get(const char *name)
{
    struct task_entry *entry = task_entry_find(name);

    if (entry)
        return entry;
    entry = entry_new(name);
    return entry ? entry_push(entry) : NULL;
}

int brood_task_register(const struct brood_task *task)
{
    const struct brood_task *known = NULL;
    struct task_entry *entry;
    int r = task_check(task);

    if (r < 0)
        return r;
    entry = entry_get(task->name);
    if (!entry)
        return brood_fail(-ENOMEM, "out of memory");
    if (atomic_compare_exchange_strong_explicit(&entry->task, &known, task, memory_order_acq_rel, memory_order_acquire) ||
        known == task)
        return 0;
    atomic_fetch_add_explicit(&entry->refused, 1, memory_order_relaxed);
    return refuse_double(task->name);
}

/* Unregisters one of the refused tasks. */
static bool forget_refused(struct task_entry *entry)
{
    uint32_t refused = atomic_load_explicit(&entry->refused, memory_order_relaxed);

    while (refused > 0 && !atomic_compare_exchange_weak_explicit(&entry->refused, &refused, refused - 1,
                                                                 memory_order_relaxed, memory_order_relaxed))
        ;
    return refused > 0;
}

int brood_task_unregister(const struct brood_task *task)
{
    const struct brood_task *known = task;
    int r = task_check(task);
    struct task_entry *entry = r == 0 ? task_entry_find(task->name) : NULL;

    if (r < 0)
        return r;
    if (entry &&
        atomic_compare_exchange_strong_explicit(&entry->task, &known, NULL, memory_order_acq_rel, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&brood__tasks_gone, 1, memory_order_release);
        return 0;
    }
    if (entry && forget_refused(entry))
        return 0;
    return brood_fail(-ENOENT, "the task '%s' is not registered", task->name);
}

int brood__tasks_check(void)
{
    for (struct task_entry *entry = atomic_load_explicit(&entries, memory_order_acquire); entry; entry = entry->next)
        if (atomic_load_explicit(&entry->refused, memory_order_relaxed) > 0)
            return refuse_double(entry->name);
    return 0;
}

/* Is the result in the large result's memory now? */
static bool is_large(const struct brood_reply *reply)
{
    return reply->held > reply->room;
}

/* Gets space for a result that does not fit into the slot.  After a failure there is no result, and the earlier bytes
 * are unchanged. */
static void *large_space(struct brood_reply *reply, size_t size)
{
    if (reply->large_result)
        reply->error = brood__large_map(reply->large_result, size);
    else
        reply->error =
            size <= reply->task->result_size
                ? brood_fail(-EMSGSIZE, "a result of %zu bytes, and the caller has room for %zu", size, reply->room)
                : brood_fail(-EMSGSIZE, "a result of %zu bytes; task '%s' promised at most %zu", size, reply->task->name,
                             reply->task->result_size);
    reply->length = reply->error ? 0 : size;
    if (reply->error)
        return NULL;
    if (!is_large(reply) && reply->held > 0)
        memcpy(reply->large_result->memory, reply->space, reply->held);
    reply->held = size;
    return reply->large_result->memory;
}

void *brood_reply_space(struct brood_reply *reply, size_t size)
{
    if (size > reply->room)
        return large_space(reply, size);
    if (is_large(reply) && size > 0)
        memcpy(reply->space, reply->large_result->memory, size);
    reply->error = 0;
    reply->length = reply->held = size;
    return reply->space;
}

int brood_reply_set(struct brood_reply *reply, const void *result, size_t size)
{
    void *space = brood_reply_space(reply, size);

    if (!space)
        return reply->error;
    if (size > 0)
        memmove(space, result, size); /* `result` may be what an earlier call returned */
    return 0;
}

const struct brood_task *brood_reply_task(const struct brood_reply *reply)
{
    return reply->task;
}

int brood__task_outcome(int returned, struct brood_reply *reply)
{
    int error = reply->error;

    brood__assert(error <= 0);
    reply->error = 0;
    if (returned < -ERRNO_MAX)
        return brood_fail(-ERANGE, "the task returned %d, which is no negative errno", returned);
    return returned < 0 ? returned : error;
}

static int refuse_sizes(const struct brood_task *task, const char *name, size_t arg_bytes, size_t result_bytes)
{
    if (!task)
        return brood_fail(-ENOENT, "the worker does not know the task '%s'", name);
    if (task->arg_size != arg_bytes)
        return brood_fail(-EPROTO, "task '%s' takes %zu bytes in the worker, and was given %zu", name, task->arg_size,
                          arg_bytes);
    return brood_fail(-EPROTO, "task '%s' gives %zu bytes in the worker, and the host expects %zu", name, task->result_size,
                      result_bytes);
}

int brood__task_run(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space, size_t *length)
{
    return brood__task_run_large(task, name, arg, space, length, NULL);
}

int brood__task_run_large(const struct brood_task *task, const char *name, struct brood_bytes arg, void *space,
                          size_t *length, struct brood__large_result *large_result)
{
    static struct brood__large_result nowhere; /* its region is LARGE_NONE, so it is never written */
    bool is_any = task && task->result_size == BROOD_ANY_SIZE;
    struct brood_reply reply = {.space = space,
                                .room = *length,
                                .large_result = !is_any        ? NULL
                                                : large_result ? large_result
                                                               : &nowhere,
                                .task = task};
    int r;

    *length = 0;
    if (!brood__task_fits(task, arg.len, reply.room))
        return refuse_sizes(task, name, arg.len, reply.room);
    brood__error_clear();
    r = brood__task_call(task, arg, &reply);
    if (r == 0 || task->arg_size == BROOD_ANY_SIZE) /* a failed task with arguments of any size keeps its reply */
        *length = reply.length;
    return r;
}
