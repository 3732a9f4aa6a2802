#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "os/error.h"
#include "pool/task.h"

/* A list that only grows, at its head, by CAS: no lock that a fork could leave held. */
struct entry {
    const struct brood_task *task;
    struct entry *next;
};

static struct entry *_Atomic entries;
static _Atomic(const char *) doubled; /* the first name that was registered twice */

static const struct brood_task *find_between(const struct entry *entry, const struct entry *end, const char *name)
{
    while (entry != end && strcmp(entry->task->name, name) != 0)
        entry = entry->next;
    return entry != end ? entry->task : NULL;
}

const struct brood_task *brood_task_find(const char *name)
{
    return find_between(atomic_load_explicit(&entries, memory_order_acquire), NULL, name);
}

static int refuse_double(const struct brood_task *task)
{
    const char *none = NULL;

    atomic_compare_exchange_strong(&doubled, &none, task->name);
    return brood_fail(-EEXIST, "two tasks are named '%s': a worker finds a task by its name", task->name);
}

static int check(const struct brood_task *task)
{
    if (!task || !task->name || !task->name[0] || !task->run)
        return brood_fail(-EINVAL, "a task needs a name and a function");
    if (strlen(task->name) > BROOD_TASK_NAME_MAX)
        return brood_fail(-EINVAL, "a task's name has at most %d bytes: '%s'", BROOD_TASK_NAME_MAX, task->name);
    return 0;
}

/* Looks through what others have pushed since, each time that the push fails: of two tasks of one name one comes in. */
static int push(struct entry *entry)
{
    struct entry *looked_from = NULL;
    const struct brood_task *known;

    entry->next = atomic_load_explicit(&entries, memory_order_acquire);
    do {
        known = find_between(entry->next, looked_from, entry->task->name);
        if (known)
            return known == entry->task ? 1 : refuse_double(entry->task);
        looked_from = entry->next;
    } while (
        !atomic_compare_exchange_weak_explicit(&entries, &entry->next, entry, memory_order_acq_rel, memory_order_acquire));
    return 0;
}

int brood_task_register(const struct brood_task *task)
{
    struct entry *entry;
    int r = check(task);

    if (r < 0)
        return r;
    entry = malloc(sizeof(*entry));
    if (!entry)
        return brood_fail(-ENOMEM, "out of memory");
    entry->task = task;
    r = push(entry);
    if (r != 0)
        free(entry);
    return r < 0 ? r : 0;
}

int brood__tasks_check(void)
{
    const char *name = atomic_load(&doubled);

    return name ? brood_fail(-EEXIST, "two tasks are named '%s': a worker finds a task by its name", name) : 0;
}

/* What does not fit. */
static void *large_space(struct brood_reply *reply, size_t size)
{
    if (reply->spilled)
        reply->error = brood__spill_map(reply->spilled, size);
    else
        reply->error = brood_fail(-EMSGSIZE, "a result of %zu bytes; the task promised at most %zu", size, reply->room);
    reply->length = reply->error ? 0 : size;
    return reply->error ? NULL : reply->spilled->memory;
}

void *brood_reply_space(struct brood_reply *reply, size_t size)
{
    if (size > reply->room)
        return large_space(reply, size);
    reply->error = 0;
    reply->length = size;
    return reply->space;
}

int brood_reply_set(struct brood_reply *reply, const void *result, size_t size)
{
    void *space = brood_reply_space(reply, size);

    if (!space)
        return reply->error;
    if (size > 0)
        memcpy(space, result, size);
    return 0;
}

const struct brood_task *brood_reply_task(const struct brood_reply *reply)
{
    return reply->task;
}

int brood__task_outcome(int returned, struct brood_reply *reply)
{
    int error = reply->error;

    reply->error = 0;
    if (returned < -ERRNO_MAX)
        return brood_fail(-ERANGE, "the task returned %d, which is no negative errno", returned);
    return returned < 0 ? returned : error;
}

static int misfit(const struct brood_task *task, const char *name, size_t arg_bytes, size_t result_bytes)
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
                          size_t *length, struct brood__spilled *spilled)
{
    static struct brood__spilled nowhere; /* SPILL_NONE: it is never written */
    bool is_any = task && task->result_size == BROOD_ANY_SIZE;
    struct brood_reply reply = {.space = space,
                                .room = *length,
                                .spilled = !is_any   ? NULL
                                           : spilled ? spilled
                                                     : &nowhere,
                                .task = task};
    int r;

    *length = 0;
    if (!brood__task_fits(task, arg.len, reply.room))
        return misfit(task, name, arg.len, reply.room);
    brood__error_clear();
    r = brood__task_call(task, arg, &reply);
    if (r == 0)
        *length = reply.length;
    return r;
}
