#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os/identity.h"
#include "os/lock.h"
#include "sync/queue.h"

#define QUEUES_PER_THREAD 8 /* who uses more by turns gives numbers back and gets new ones */

_Thread_local struct queue_member brood__queue_member;

/* The queues that one thread uses.  All are in a list, so that who closes a queue finds those of other threads. */
struct thread {
    struct queue_member members[QUEUES_PER_THREAD]; /* the latest first */
    struct queue_member *latest;                    /* the thread's brood__queue_member, a copy of one of these */
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

/* Nobody else may have the number before its hand is empty. */
static void give_back(struct queue_member *member)
{
    struct brood_queue *queue = (struct brood_queue *)(uintptr_t)queue_of(member);

    forget(member);
    if (!queue || queue->serial != member->serial)
        return;
    ring_store(&queue_owner(queue, member->owner)->hand, 0);
    ring_store(&queue->users[member->owner - 1], 0);
}

/* ---- threads that end, and processes ---- */

static void unlist(struct thread *thread)
{
    *(thread->before ? &thread->before->next : &threads) = thread->next;
    if (thread->next)
        thread->next->before = thread->before;
    thread->is_listed = false;
}

static void leave_all(void *argument)
{
    struct thread *thread = argument;

    brood__lock(&threads_lock);
    if (thread->is_listed)
        unlist(thread);
    brood__unlock(&threads_lock);
    forget(thread->latest);
    for (int i = 0; i < QUEUES_PER_THREAD; i++)
        give_back(&thread->members[i]);
}

/* The thread that ends the process by exit() runs no destructors of keys: what it had in hand would look lost. */
__attribute__((destructor)) static void leave_all_at_exit(void)
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
    memset(&mine, 0, sizeof(mine));
    forget(&brood__queue_member);
}

static void prepare(void)
{
    (void)pthread_key_create(&at_end, leave_all);
    (void)pthread_atfork(NULL, NULL, forget_in_child);
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
    for (int i = 0; i < QUEUES_PER_THREAD; i++)
        if (queue_of(&mine.members[i]) == queue && mine.members[i].serial == queue->serial)
            return &mine.members[i];
    return NULL;
}

/* Makes room for a new one in front. */
static void add(struct brood_queue *queue, unsigned owner)
{
    give_back(&mine.members[QUEUES_PER_THREAD - 1]);
    for (int i = QUEUES_PER_THREAD - 1; i > 0; i--)
        copy(&mine.members[i], &mine.members[i - 1]);
    set(&mine.members[0], queue, queue->serial, owner);
}

static int no_number(void)
{
    return brood_fail(-EAGAIN, "%d threads use the queue already: let some of them end, or call brood_queue_close()",
                      BROOD_QUEUE_USERS_MAX);
}

int brood__queue_join_in(struct brood_queue *queue)
{
    const struct queue_member *member;
    unsigned owner = 0;

    if (!queue)
        return brood_fail(-EBADF, "the queue is NULL: not open yet, or closed");
    member = find(queue);
    if (!member) {
        owner = claim_number(queue);
        if (owner == 0) {
            brood__queue_look_for_dead(queue, true);
            owner = claim_number(queue);
        }
        if (owner == 0)
            return no_number();
    }
    brood__lock(&threads_lock);
    list(&mine);
    if (!member) {
        add(queue, owner);
        member = &mine.members[0];
    }
    copy(&brood__queue_member, member);
    brood__unlock(&threads_lock);
    return (int)member->owner;
}

static void leave(struct thread *thread, const struct brood_queue *queue)
{
    if (queue_of(thread->latest) == queue)
        forget(thread->latest);
    for (int i = 0; i < QUEUES_PER_THREAD; i++)
        if (queue_of(&thread->members[i]) == queue)
            give_back(&thread->members[i]);
}

void brood__queue_leave(struct brood_queue *queue)
{
    brood__lock(&threads_lock);
    for (struct thread *thread = threads; thread; thread = thread->next)
        leave(thread, queue);
    brood__unlock(&threads_lock);
}
