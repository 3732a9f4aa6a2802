#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/goodbye.h"
#include "os/identity.h"
#include "os/lock.h"
#include "sync/queue.h"

#define QUEUES_AT_ONCE 8 /* who uses more by turns gives numbers back and gets new ones, if it has nothing in hand */

_Thread_local struct queue_member brood__queue_member;

/* Queues that one thread uses; `more` of them only while it has messages in hand in all of these. */
struct members {
    struct queue_member at[QUEUES_AT_ONCE];
    struct members *more;
};

/* All threads are in a list, so that who closes a queue finds those of other threads. */
struct thread {
    struct members members;
    unsigned next_leave;         /* where to look for a member to give back */
    struct queue_member *latest; /* the thread's brood__queue_member, a copy of one of these */
    struct thread *next, *before;
    bool is_listed;
};

static _Thread_local struct thread mine;
static struct thread *threads;
static struct lock threads_lock; /* around all of this, but for a thread's look at its own brood__queue_member */
static bool is_known;            /* this process can be reached by a heavy fence */
static pthread_key_t at_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct brood_queue *queue_of(const struct queue_member *member)
{
    return atomic_load_explicit(&member->queue, memory_order_relaxed);
}

static void forget(struct queue_member *member)
{
    atomic_store_explicit(&member->queue, NULL, memory_order_relaxed);
}

static void set(struct queue_member *member, const struct brood_queue *queue, uint64_t serial, unsigned owner)
{
    member->serial = serial;
    member->owner = owner;
    atomic_store_explicit(&member->queue, queue, memory_order_relaxed);
}

static void copy(struct queue_member *to, const struct queue_member *from)
{
    set(to, queue_of(from), from->serial, from->owner);
}

static void give_number_back(struct brood_queue *queue, unsigned owner)
{
    ring_store(&queue->users[owner - 1], 0);
    brood__fence_light(); /* pairs with the heavy one of who sets the bit and looks again */
    if (!(queue_gate(queue) & QUEUE_CROWDED))
        return;
    queue_gate_open(queue, QUEUE_CROWDED);
    brood__parker_wake(&queue->joiners);
}

/* Nobody else may have the number before its hand is empty. */
static void give_back(struct queue_member *member)
{
    struct brood_queue *queue = (struct brood_queue *)(uintptr_t)queue_of(member);

    forget(member);
    if (!queue || queue->serial != member->serial)
        return;
    ring_store(&queue_owner(queue, member->owner)->hand, 0);
    give_number_back(queue, member->owner);
}

/* ---- threads that end, and processes ---- */

static void unlist(struct thread *thread)
{
    *(thread->before ? &thread->before->next : &threads) = thread->next;
    if (thread->next)
        thread->next->before = thread->before;
    thread->is_listed = false;
}

static void free_more(struct thread *thread)
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
    struct thread *thread = argument;

    brood__lock(&threads_lock);
    if (thread->is_listed)
        unlist(thread);
    brood__unlock(&threads_lock);
    forget(thread->latest);
    for (struct members *members = &thread->members; members; members = members->more)
        for (int i = 0; i < QUEUES_AT_ONCE; i++)
            give_back(&members->at[i]);
    free_more(thread);
}

/* The thread that ends the process runs no destructors of keys: what it had in hand would look lost. */
static void leave_all_at_exit(void)
{
    if (mine.is_listed)
        leave_all(&mine);
}

/* The numbers are the parent's. */
static void forget_in_child(void)
{
    threads_lock = (struct lock){0};
    threads = NULL;
    is_known = false;
    free_more(&mine);
    memset(&mine, 0, sizeof(mine));
    forget(&brood__queue_member);
}

static void prepare(void)
{
    (void)pthread_key_create(&at_end, leave_all);
    (void)pthread_atfork(NULL, NULL, forget_in_child);
    brood__goodbye_call(leave_all_at_exit);
}

static void list(struct thread *thread)
{
    (void)pthread_once(&once, prepare);
    /* Where it cannot be reached, its sleepers may miss a wake-up, and look for themselves 20 ms later. */
    if (!is_known)
        (void)brood__fence_open();
    is_known = true;
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
static unsigned claim_number(struct brood_queue *queue)
{
    for (unsigned i = 0; i < BROOD_QUEUE_USERS_MAX; i++) {
        if (ring_load(&queue->users[i]) != 0)
            continue;
        /* Before the claim: a dead user whom nobody looks for would hold things up for ever. */
        raise_users_up(queue, i + 1);
        if (ring_swap(&queue->users[i], 0, brood__self()))
            return i + 1;
    }
    return 0;
}

static struct queue_member *find(struct brood_queue *queue)
{
    for (struct members *members = &mine.members; members; members = members->more)
        for (int i = 0; i < QUEUES_AT_ONCE; i++)
            if (queue_of(&members->at[i]) == queue && members->at[i].serial == queue->serial)
                return &members->at[i];
    return NULL;
}

/* A message that nobody has in hand would not be missed when its getter dies. */
static bool has_in_hand(const struct queue_member *member)
{
    const struct brood_queue *queue = queue_of(member);

    return queue && queue->serial == member->serial &&
           atomic_load_explicit(&queue_owner(queue, member->owner)->hand, memory_order_relaxed) != 0;
}

/* One that may be used for another queue; NULL: each has something in hand, or is in the middle of a call that a signal has
 * interrupted. */
static struct queue_member *vacate(struct members *members)
{
    for (unsigned i = 0; i < QUEUES_AT_ONCE; i++) {
        struct queue_member *member = &members->at[(mine.next_leave + i) % QUEUES_AT_ONCE];

        if (has_in_hand(member) || (queue_of(member) && queue_of(member) == queue_of(&brood__queue_member)))
            continue;
        mine.next_leave += i + 1;
        give_back(member);
        return member;
    }
    return NULL;
}

/* A place for one more member; NULL: there is no memory for it. */
static struct queue_member *make_room(void)
{
    struct members *members = &mine.members;
    struct queue_member *member = vacate(members);

    while (!member && members->more) {
        members = members->more;
        member = vacate(members);
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
        "%d threads have used the queue and may do so again: let some of them end, or call brood_queue_close() in "
        "a process that is done with it, or use a second queue",
        BROOD_QUEUE_USERS_MAX);
}

static const struct queue_member *add(struct brood_queue *queue, unsigned owner)
{
    struct queue_member *member = make_room();

    if (member)
        set(member, queue, queue->serial, owner);
    else
        give_number_back(queue, owner);
    return member;
}

/* -EAGAIN, -ETIMEDOUT: none was given back in time. */
static int await_number(struct brood_queue *queue, brood_deadline deadline)
{
    unsigned owner = claim_number(queue);

    if (owner == 0)
        brood__queue_look_for_dead(queue, true);
    while (owner == 0) {
        uint32_t seen = brood__parker_look(&queue->joiners);

        queue_gate_set(queue, QUEUE_CROWDED);
        (void)brood__fence_heavy();
        owner = claim_number(queue);
        if (owner != 0)
            break;
        if ((queue_gate(queue) & QUEUE_SHUT) && brood_queue_size(queue) == 0)
            return brood_fail(-ESHUTDOWN, "the queue is shut down, and nothing is left in it");
        if (brood__is_past(deadline))
            return no_number(deadline.ns > 0 ? -ETIMEDOUT : -EAGAIN);
        brood__parker_sleep(&queue->joiners, seen, NULL, 0, brood__sooner(deadline, brood__after_ns(LOOK_AGAIN_NS)));
        brood__queue_look_for_dead(queue, false);
    }
    return (int)owner;
}

int brood__queue_join_in(struct brood_queue *queue, brood_deadline deadline)
{
    const struct queue_member *member;
    int owner = 0;

    if (!queue)
        return brood_fail(-EBADF, "the queue is NULL: not open yet, or closed");
    member = find(queue);
    if (!member) {
        owner = await_number(queue, deadline);
        if (owner < 0)
            return owner;
    }
    brood__lock(&threads_lock);
    list(&mine);
    if (!member)
        member = add(queue, (unsigned)owner);
    if (member)
        copy(&brood__queue_member, member);
    brood__unlock(&threads_lock);
    return member ? (int)member->owner : brood_fail(-ENOMEM, "no memory to note one more queue that this thread uses");
}

static void leave(struct thread *thread, const struct brood_queue *queue)
{
    if (queue_of(thread->latest) == queue)
        forget(thread->latest);
    for (struct members *members = &thread->members; members; members = members->more)
        for (int i = 0; i < QUEUES_AT_ONCE; i++)
            if (queue_of(&members->at[i]) == queue)
                give_back(&members->at[i]);
}

void brood__queue_leave(struct brood_queue *queue)
{
    brood__lock(&threads_lock);
    for (struct thread *thread = threads; thread; thread = thread->next)
        leave(thread, queue);
    brood__unlock(&threads_lock);
}
