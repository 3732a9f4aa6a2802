#include "sync/queue/queue_member.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/exit_hook.h"
#include "os/fence.h"
#include "os/identity.h"
#include "os/mutex.h"
#include "sync/queue/queue_reap.h"

/* A thread that uses more queues by turns gives back the number of one in which it has nothing in flight, and gets a new
 * one there later. */
#define QUEUES_AT_ONCE 8

_Thread_local struct queue_member brood__queue_member;

/* The queues that one thread uses; `more` of them only while it has messages in flight in all of these. */
struct members {
    struct queue_member at[QUEUES_AT_ONCE];
    struct members *more;
};

/* All threads that use queues are in a list, so that a thread that closes a queue finds the numbers of the others. */
struct queue_thread {
    struct members members;
    unsigned next_leave;         /* where to look for a member to give back */
    struct queue_member *latest; /* the thread's brood__queue_member, a copy of one of these */
    struct queue_thread *next, *before;
    bool is_listed;
};

static _Thread_local struct queue_thread mine;
static struct queue_thread *threads;
static struct lock threads_lock; /* around all of this; only a thread's look at its own brood__queue_member needs no lock */
static bool is_registered;       /* heavy fences reach this process */
static pthread_key_t at_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct brood_queue *queue_of(const struct queue_member *member)
{
    return atomic_load_explicit(&member->queue, memory_order_relaxed);
}

static void member_forget(struct queue_member *member)
{
    atomic_store_explicit(&member->queue, NULL, memory_order_relaxed);
}

static void member_set(struct queue_member *member, const struct brood_queue *queue, uint64_t serial, unsigned owner)
{
    member->serial = serial;
    member->owner = owner;
    atomic_store_explicit(&member->queue, queue, memory_order_relaxed);
}

static void member_copy(struct queue_member *to, const struct queue_member *from)
{
    member_set(to, queue_of(from), from->serial, from->owner);
}

static void member_give_number_back(struct brood_queue *queue, unsigned owner)
{
    ring_store(&queue->users[owner - 1], 0);
    brood__fence_light(); /* pairs with the heavy fence in member_await_number() */
    if (!(queue_gate(queue) & QUEUE_CROWDED))
        return;
    queue_gate_clear(queue, QUEUE_CROWDED);
    brood__parker_wake(&queue->joiners);
}

/* No other thread may get the number before it has nothing in flight. */
static void member_give_back(struct queue_member *member)
{
    struct brood_queue *queue = (struct brood_queue *)(uintptr_t)queue_of(member);

    member_forget(member);
    if (!queue || queue->serial != member->serial)
        return;
    ring_store(&queue_owner(queue, member->owner)->in_flight, 0);
    member_give_number_back(queue, member->owner);
}

/* ---- threads and processes that end ---- */

static void member_unlist(struct queue_thread *thread)
{
    *(thread->before ? &thread->before->next : &threads) = thread->next;
    if (thread->next)
        thread->next->before = thread->before;
    thread->is_listed = false;
}

static void free_more(struct queue_thread *thread)
{
    struct members *members = thread->members.more;

    thread->members.more = NULL;
    while (members) {
        struct members *more = members->more;

        free(members);
        members = more;
    }
}

static void leave_all(void *argument)
{
    struct queue_thread *thread = argument;

    brood__lock(&threads_lock);
    if (thread->is_listed)
        member_unlist(thread);
    brood__unlock(&threads_lock);
    member_forget(thread->latest);
    for (struct members *members = &thread->members; members; members = members->more)
        for (int i = 0; i < QUEUES_AT_ONCE; i++)
            member_give_back(&members->at[i]);
    free_more(thread);
}

/* The thread that ends the process runs no destructors of keys: what it had in flight would count as lost. */
static void leave_all_at_exit(void)
{
    if (mine.is_listed)
        leave_all(&mine);
}

/* The numbers belong to the parent. */
static void forget_in_child(void)
{
    threads_lock = (struct lock){0};
    threads = NULL;
    is_registered = false;
    free_more(&mine);
    memset(&mine, 0, sizeof(mine));
    member_forget(&brood__queue_member);
}

static void member_prepare(void)
{
    (void)pthread_key_create(&at_end, leave_all);
    (void)pthread_atfork(NULL, NULL, forget_in_child);
    brood__exit_hook_call(leave_all_at_exit);
}

static void member_list(struct queue_thread *thread)
{
    (void)pthread_once(&once, member_prepare);
    /* If heavy fences do not reach it, its sleepers may miss a wake-up; then they look by themselves 20 ms later. */
    if (!is_registered)
        (void)brood__fence_open();
    is_registered = true;
    if (thread->is_listed)
        return;
    thread->latest = &brood__queue_member;
    thread->before = NULL;
    thread->next = threads;
    if (threads)
        threads->before = thread;
    threads = thread;
    thread->is_listed = true;
    (void)pthread_setspecific(at_end, thread);
}

/* ---- numbers ---- */

static void raise_users_up(struct brood_queue *queue, unsigned owner)
{
    uint32_t up = atomic_load_explicit(&queue->users_up, memory_order_relaxed);

    while (up < owner &&
           !atomic_compare_exchange_weak_explicit(&queue->users_up, &up, owner, memory_order_release, memory_order_relaxed))
        ;
}

/* 0: all are in use. */
static unsigned member_claim_number(struct brood_queue *queue)
{
    for (unsigned i = 0; i < BROOD_QUEUE_USERS_MAX; i++) {
        if (ring_load(&queue->users[i]) != 0)
            continue;
        /* Before the claim: reapers look only at numbers up to this one. */
        raise_users_up(queue, i + 1);
        if (ring_swap(&queue->users[i], 0, brood__self()))
            return i + 1;
    }
    return 0;
}

static struct queue_member *member_find(struct brood_queue *queue)
{
    for (struct members *members = &mine.members; members; members = members->more)
        for (int i = 0; i < QUEUES_AT_ONCE; i++)
            if (queue_of(&members->at[i]) == queue && members->at[i].serial == queue->serial)
                return &members->at[i];
    return NULL;
}

/* A number with messages in flight is not given back: they would not be counted as lost if the thread dies. */
static bool member_has_in_flight(const struct queue_member *member)
{
    const struct brood_queue *queue = queue_of(member);

    return queue && queue->serial == member->serial &&
           atomic_load_explicit(&queue_owner(queue, member->owner)->in_flight, memory_order_relaxed) != 0;
}

/* A member that may be used for another queue; NULL: each has messages in flight, or is in the middle of a call that a
 * signal has interrupted. */
static struct queue_member *member_vacate(struct members *members)
{
    for (unsigned i = 0; i < QUEUES_AT_ONCE; i++) {
        struct queue_member *member = &members->at[(mine.next_leave + i) % QUEUES_AT_ONCE];

        if (member_has_in_flight(member) || (queue_of(member) && queue_of(member) == queue_of(&brood__queue_member)))
            continue;
        mine.next_leave += i + 1;
        member_give_back(member);
        return member;
    }
    return NULL;
}

/* Room for one more member; NULL: there is no memory for it. */
static struct queue_member *member_make_room(void)
{
    struct members *members = &mine.members;
    struct queue_member *member = member_vacate(members);

    while (!member && members->more) {
        members = members->more;
        member = member_vacate(members);
    }
    if (member)
        return member;
    members->more = calloc(1, sizeof(*members->more));
    return members->more ? &members->more->at[0] : NULL;
}

static int no_number(int r)
{
    return brood_fail(
        r,
        "%d threads have used the queue and may do so again: end some of them, or call brood_queue_close() in "
        "a process that is done with it, or use a second queue",
        BROOD_QUEUE_USERS_MAX);
}

static const struct queue_member *member_add(struct brood_queue *queue, unsigned owner)
{
    struct queue_member *member = member_make_room();

    if (member)
        member_set(member, queue, queue->serial, owner);
    else
        member_give_number_back(queue, owner);
    return member;
}

/* -EAGAIN, -ETIMEDOUT: no number was given back in time. */
static int member_await_number(struct brood_queue *queue, brood_deadline deadline)
{
    unsigned owner = member_claim_number(queue);
    struct slice slice = SLICE_FIRST;

    if (owner == 0)
        brood__queue_reap_all(queue, deadline);
    while (owner == 0) {
        uint32_t seen = brood__parker_look(&queue->joiners);

        queue_gate_set(queue, QUEUE_CROWDED);
        (void)brood__fence_heavy(); /* pairs with the light fence in member_give_number_back() */
        owner = member_claim_number(queue);
        if (owner != 0)
            break;
        if ((queue_gate(queue) & QUEUE_SHUT) && brood_queue_size(queue) == 0)
            return brood_fail(-ESHUTDOWN, "the queue is shut down, and nothing is left in it");
        if (brood__is_past(deadline))
            return no_number(too_late(deadline));
        if (brood__parker_sleep(&queue->joiners, seen, NULL, 0, slice_end(&slice, deadline)) == -ETIMEDOUT)
            (void)brood__queue_reap_some(queue, &slice, deadline);
    }
    return (int)owner;
}

int brood__queue_join_in(struct brood_queue *queue, brood_deadline deadline)
{
    const struct queue_member *member;
    int owner = 0;

    if (!queue)
        return brood_fail(-EBADF, "the queue is NULL: not open yet, or closed");
    owner = brood__namespaces_check(queue->namespaces, "the queue");
    if (owner < 0)
        return owner;
    member = member_find(queue);
    if (!member) {
        owner = member_await_number(queue, deadline);
        if (owner < 0)
            return owner;
    }
    brood__lock(&threads_lock);
    member_list(&mine);
    if (!member)
        member = member_add(queue, (unsigned)owner);
    if (member)
        member_copy(&brood__queue_member, member);
    brood__unlock(&threads_lock);
    return member ? (int)member->owner : brood_fail(-ENOMEM, "no memory to note one more queue that this thread uses");
}

static void member_leave(struct queue_thread *thread, const struct brood_queue *queue)
{
    if (queue_of(thread->latest) == queue)
        member_forget(thread->latest);
    for (struct members *members = &thread->members; members; members = members->more)
        for (int i = 0; i < QUEUES_AT_ONCE; i++)
            if (queue_of(&members->at[i]) == queue)
                member_give_back(&members->at[i]);
}

void brood__queue_leave(struct brood_queue *queue)
{
    brood__lock(&threads_lock);
    for (struct queue_thread *thread = threads; thread; thread = thread->next)
        member_leave(thread, queue);
    brood__unlock(&threads_lock);
}
